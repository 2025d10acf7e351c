//! The numbers on an axis: which ones, and how they are written.

use std::ops::Range;

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};

use super::significant;

/// What rounding may do to a number on an axis, in steps.
const SLACK: f64 = 1e-6;
/// Digits of a number on an axis, where that many tell it from its neighbours; and at most.
const DIGITS: usize = 4;
const MOST_DIGITS: usize = 8;
/// Powers of ten from one end to the other of an axis up to which it has numbers between them too.
const FEW: i32 = 3;
/// About so many numbers has a logarithmic axis with more.
const MANY: i32 = 8;

/// An axis with these numbers, and none that plotters would choose.
pub(super) struct Ticked<R> {
    pub axis: R,
    pub ticks: Vec<f64>,
}

impl<R: Ranged<ValueType = f64>> Ranged for Ticked<R> {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, pixels: (i32, i32)) -> i32 {
        self.axis.map(value, pixels)
    }

    fn key_points<H: KeyPointHint>(&self, hint: H) -> Vec<f64> {
        if hint.weight().allow_light_points() { Vec::new() } else { self.ticks.clone() }
    }

    fn range(&self) -> Range<f64> {
        self.axis.range()
    }

    fn axis_pixel_range(&self, pixels: (i32, i32)) -> Range<i32> {
        self.axis.axis_pixel_range(pixels)
    }
}

/// Round numbers from `least` to `most`, about so many.
pub(super) fn ticks(least: f64, most: f64, count: usize) -> Vec<f64> {
    let rough = (most - least) / count as f64;
    let decade = 10.0_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .map(|part| part * decade)
        .into_iter()
        .find(|step| *step >= (1.0 - SLACK) * rough);
    let Some(step) = step.filter(|step| step.is_finite() && *step > 0.0) else { return Vec::new() };
    // A round number at an end is there, whatever its rounding.
    let first = (least / step - SLACK).ceil();
    (0..=2 * count)
        .map(|i| (first + i as f64) * step)
        .take_while(|value| *value <= most + SLACK * step)
        .collect()
}

/// Round numbers for a logarithmic axis from `least` to `most`: powers of ten, and where these are few, 2 and 5 of each.
pub(super) fn decades(least: f64, most: f64) -> Vec<f64> {
    let (first, last) = (least.log10().floor() as i32, most.log10().ceil() as i32);
    let (parts, every): (&[f64], i32) = match last - first {
        ..=FEW => (&[1.0, 2.0, 5.0], 1),
        powers => (&[1.0], (powers + MANY - 1) / MANY),
    };
    let powers = (first..=last).filter(|power| power % every == 0).map(|power| 10.0_f64.powi(power));
    let numbers = powers.flat_map(|power| parts.iter().map(move |part| part * power));
    numbers.filter(|number| (least..=most).contains(number)).collect()
}

/// A number as it stands on an axis: few digits, no zeros behind them.
pub(super) fn number(value: f64) -> String {
    written(value, DIGITS)
}

/// How all of `ticks` are written so that no two look alike.
pub(super) fn numbers(ticks: &[f64]) -> impl Fn(f64) -> String + use<> {
    let largest = ticks.iter().fold(0.0_f64, |largest, tick| largest.max(tick.abs()));
    let closest = ticks.windows(2).map(|pair| pair[1] - pair[0]).fold(largest, f64::min);
    let digits = (largest / closest).log10().ceil() as usize + 1;
    let digits = digits.clamp(DIGITS, MOST_DIGITS);
    move |value| written(value, digits)
}

fn written(value: f64, digits: usize) -> String {
    // What is left of 0 by rounding.
    if value.abs() < 1e-300 {
        return "0".to_owned();
    }
    let text = significant(value, digits);
    let (digits, exponent) = match text.split_once('e') {
        Some((digits, exponent)) => (digits, format!("e{exponent}")),
        None => (text.as_str(), String::new()),
    };
    let digits = match digits.contains('.') {
        true => digits.trim_end_matches('0').trim_end_matches('.'),
        false => digits,
    };
    format!("{digits}{exponent}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_on_axes_are_short() {
        for (value, text) in [
            (0.0, "0"),
            (1e-320, "0"),
            (1500.0, "1500"),
            (0.25, "0.25"),
            (-3.0, "-3"),
            (1e12, "1e12"),
            (2.5e-7, "2.5e-7"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn no_two_numbers_of_an_axis_look_alike() {
        for (least, most) in [
            (3.99, 4.01),
            (1000.0, 1000.3),
            (-1e6, -1e6 + 2.0),
            (0.0, 300.0),
            (-1e-7, 1e-7),
            (1e12, 1.000_01e12),
        ] {
            let ticks = ticks(least, most, 8);
            let mut texts: Vec<String> = ticks.iter().copied().map(numbers(&ticks)).collect();
            assert!(texts.len() > 3 && texts.iter().all(|text| text.len() < 12), "{texts:?}");
            texts.dedup();
            assert_eq!(texts.len(), ticks.len(), "{texts:?}");
        }
        for few in [&[][..], &[0.0], &[7.0]] {
            assert!(few.iter().copied().map(numbers(few)).all(|text| text.len() == 1));
        }
    }

    #[test]
    fn axes_have_round_numbers() {
        assert_eq!(ticks(-0.3, 2.1, 5), [0.0, 0.5, 1.0, 1.5, 2.0]);
        assert_eq!(ticks(0.0, 3.0, 3), [0.0, 1.0, 2.0, 3.0]);
        assert!(ticks(0.0, 0.0, 5).is_empty());
        assert!(ticks(0.0, f64::INFINITY, 5).is_empty());
        assert_eq!(ticks(1e-9, 3e-9, 2).len(), 3);
    }

    #[test]
    fn logarithmic_axes_have_powers_of_ten_and_what_is_between_few() {
        assert_eq!(decades(0.08, 2.5), [0.1, 0.2, 0.5, 1.0, 2.0]);
        assert_eq!(decades(0.5, 2e4), [1.0, 10.0, 100.0, 1000.0, 1e4]);
        let wide = decades(1e-90, 1e90);
        assert!((6..=10).contains(&wide.len()) && wide.contains(&1.0), "{wide:?}");
    }
}
