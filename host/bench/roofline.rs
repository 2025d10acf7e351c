//! A roofline: what was timed, under what the machine can do at most.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::row::{Figures, Kind, Row};
use super::{Limits, Report};
use crate::report::significant;
use crate::{Error, Result};

/// Pixels: of the whole, of the part with the axes, of a line of the list below it.
const WIDTH: u32 = 800;
const PLOT: u32 = 480;
const LINE: u32 = 16;
/// Lines above the list, with an empty one.
const HEADINGS: u32 = 4;
/// Columns of the list.
const COLUMNS: usize = 2;
/// Height of letters, in the numbers at the points and in all else.
const SMALL: i32 = 12;
const TEXT: i32 = 13;

const ROOF: RGBColor = RGBColor(60, 60, 60);
const LEADER: RGBColor = RGBColor(150, 150, 150);

/// What stands for a kind of work: differently shaped, not only differently coloured.
fn colour(kind: Kind) -> &'static RGBColor {
    match kind {
        Kind::Kernel => &RGBColor(0, 90, 181),
        Kind::Operation => &RGBColor(200, 80, 0),
        Kind::Peer => &RGBColor(20, 120, 60),
    }
}

/// The least time that the limits allow for so much work, over the time that it took.
fn part_of_roof(figures: &Figures, limits: &Limits) -> f64 {
    figures.operations_per_second / roof(figures.intensity(), limits)
}

/// Operations a second that the limits allow at so many operations a byte.
fn roof(intensity: f64, limits: &Limits) -> f64 {
    (limits.bandwidth * intensity).min(limits.arithmetic.unwrap_or(f64::INFINITY))
}

/// A row for each name: the shape at which it comes nearest to the roof.
fn best(report: &Report) -> Vec<(&Row, &Figures)> {
    let mut best: Vec<(&Row, &Figures)> = Vec::new();
    for row in &report.results {
        let Some(figures) = row.figures().filter(|figures| figures.operations > 0) else { continue };
        let part = |figures: &Figures| part_of_roof(figures, &report.limits);
        match best.iter_mut().find(|(other, _)| other.name == row.name && other.kind == row.kind) {
            Some(other) if part(figures) > part(other.1) => *other = (row, figures),
            Some(_) => {}
            None => best.push((row, figures)),
        }
    }
    best
}

/// The picture, as SVG: white, so that it can be read on any page.
pub(super) fn draw(report: &Report) -> Result<String> {
    let points = best(report);
    let mut svg = String::new();
    let lines = points.len().div_ceil(COLUMNS) as u32;
    let size = (WIDTH, PLOT + LINE * (HEADINGS + lines + 1));
    let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
    let drawn = paint(&root, report, &points).and_then(|()| root.present());
    drop(root);
    match drawn {
        Ok(()) => Ok(svg),
        Err(reason) => {
            Err(Error::Setting(format!("the picture cannot be drawn: {reason}; leave --plot out")))
        }
    }
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

fn style(size: i32, colour: &'static RGBColor) -> TextStyle<'static> {
    TextStyle::from(("sans-serif", size).into_font()).color(colour)
}

fn paint(root: &Area<'_>, report: &Report, points: &[(&Row, &Figures)]) -> Drawn {
    root.fill(&WHITE)?;
    let limits = &report.limits;
    // Both axes in whole decades around what is drawn.
    let intensities = points.iter().map(|(_, figures)| figures.intensity());
    let rates = points.iter().map(|(_, figures)| figures.operations_per_second);
    let ridge = limits.arithmetic.map(|arithmetic| arithmetic / limits.bandwidth);
    let x = decades(intensities.chain(ridge).chain([0.1, 100.0]));
    let y = decades(rates.chain(limits.arithmetic).chain([roof(x.0, limits)]));

    let (plot, list) = root.split_vertically(PLOT);
    let title = format!("{}: {}", report.device, report.description);
    let mut chart = ChartBuilder::on(&plot)
        .margin(12)
        .margin_right(32)
        .caption(shortened(&title, 100), style(15, &BLACK))
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d((x.0..x.1).log_scale(), (y.0..y.1).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("operations for each byte that has to be moved")
        .y_desc("operations a second")
        .x_label_formatter(&|x| significant(*x, 1))
        .y_label_formatter(&|y| rate(*y).trim_end_matches("FLOP/s").to_owned())
        .label_style(style(TEXT, &BLACK))
        .axis_desc_style(style(TEXT, &BLACK))
        .light_line_style(RGBColor(240, 240, 240))
        .bold_line_style(RGBColor(215, 215, 215))
        .draw()?;

    // The slope ends where arithmetic takes over.
    let end = ridge.unwrap_or(x.1).min(x.1);
    let start = (y.0 / limits.bandwidth).max(x.0);
    let slope = [(start, limits.bandwidth * start), (end, roof(end, limits))];
    chart.draw_series(LineSeries::new(slope, ROOF.stroke_width(2)))?;
    if let Some(arithmetic) = limits.arithmetic {
        chart.draw_series(LineSeries::new([(end, arithmetic), (x.1, arithmetic)], ROOF.stroke_width(2)))?;
    }

    let at = |x: f64, y: f64| chart.backend_coord(&(x, y));
    let (left, top) = at(x.0, y.1);
    let (right, bottom) = at(x.1, y.0);
    let mut labels = Labels::within([left, top, right, bottom]);
    let centres: Vec<(i32, i32)> =
        points.iter().map(|(_, figures)| at(figures.intensity(), figures.operations_per_second)).collect();
    centres.iter().for_each(|&centre| labels.keep_free(centre));
    for (number, (&centre, (row, _))) in centres.iter().zip(points).enumerate() {
        marker(&plot, centre, row.kind)?;
        let text = (number + 1).to_string();
        let place = labels.place(centre, &text);
        if (place.0 - centre.0).abs().max((place.1 - centre.1).abs()) > 16 {
            plot.draw(&PathElement::new(vec![centre, place], LEADER))?;
        }
        let middle = Pos::new(HPos::Center, VPos::Center);
        plot.draw(&Text::new(text, place, style(SMALL, colour(row.kind)).pos(middle)))?;
    }
    describe(&list, points, limits)
}

/// What the lines are, and the numbers with what they stand for.
fn describe(list: &Area<'_>, points: &[(&Row, &Figures)], limits: &Limits) -> Drawn {
    let bandwidth = significant(1e-9 * limits.bandwidth, 4);
    let arithmetic = match limits.arithmetic {
        Some(arithmetic) => format!("{}, {}", rate(arithmetic), limits.arithmetic_of),
        None => limits.arithmetic_of.clone(),
    };
    let headings = [
        format!("Slope: {bandwidth} GB/s, {}.", limits.bandwidth_of),
        format!("Level: fp32 arithmetic, {arithmetic}."),
        "● kernel  ▲ operation of the engine  ■ peer; each at its best shape: operations a second (part of its limit)"
            .to_owned(),
    ];
    for (line, text) in headings.iter().enumerate() {
        let place = (16, line as i32 * LINE as i32);
        list.draw(&Text::new(shortened(text, 150), place, style(SMALL, &BLACK)))?;
    }
    let lines = points.len().div_ceil(COLUMNS).max(1);
    for (number, (row, figures)) in points.iter().enumerate() {
        let column = (number / lines) as u32 * WIDTH / COLUMNS as u32;
        let line = HEADINGS as usize + number % lines;
        let text = format!(
            "{}  {} {}: {} ({:.0} %)",
            number + 1,
            row.name,
            row.shape,
            rate(figures.operations_per_second),
            100.0 * part_of_roof(figures, limits)
        );
        let place = (column as i32 + 16, line as i32 * LINE as i32);
        list.draw(&Text::new(shortened(&text, 60), place, style(SMALL, colour(row.kind))))?;
    }
    Ok(())
}

fn marker(plot: &Area<'_>, (x, y): (i32, i32), kind: Kind) -> Drawn {
    let filled = colour(kind).filled();
    match kind {
        Kind::Kernel => plot.draw(&Circle::new((x, y), 4, filled)),
        Kind::Operation => plot.draw(&TriangleMarker::new((x, y), 6, filled)),
        Kind::Peer => plot.draw(&Rectangle::new([(x - 4, y - 4), (x + 4, y + 4)], filled)),
    }
}

/// The whole decades around some numbers above 0.
fn decades(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (mut least, mut most) = (f64::INFINITY, 0.0_f64);
    for value in values.filter(|value| value.is_finite() && *value > 0.0) {
        (least, most) = (least.min(value), most.max(value));
    }
    if least > most {
        return (1.0, 10.0);
    }
    (10_f64.powf(least.log10().floor()), 10_f64.powf((1.05 * most).log10().ceil()))
}

/// Operations a second with their unit.
fn rate(rate: f64) -> String {
    // A decade of an axis may lie a rounding below its power of ten.
    let (unit, name) = match 1.000_001 * rate {
        1e12.. => (1e12, "TFLOP/s"),
        1e9.. => (1e9, "GFLOP/s"),
        1e6.. => (1e6, "MFLOP/s"),
        1e3.. => (1e3, "kFLOP/s"),
        _ => (1.0, "FLOP/s"),
    };
    format!("{} {name}", significant(rate / unit, 3))
}

fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

/// Places for the numbers beside the points, none on another or on a point.
struct Labels {
    bounds: [i32; 4],
    taken: Vec<[i32; 4]>,
}

impl Labels {
    fn within(bounds: [i32; 4]) -> Self {
        Labels { bounds, taken: Vec::new() }
    }

    fn keep_free(&mut self, (x, y): (i32, i32)) {
        self.taken.push([x - 5, y - 5, x + 5, y + 5]);
    }

    /// The middle of a free place for a text, as near to the point as there is one.
    fn place(&mut self, (x, y): (i32, i32), text: &str) -> (i32, i32) {
        let (half_width, half_height) = (4 * text.len() as i32 + 1, SMALL / 2 + 1);
        for ring in 0..40 {
            for direction in 0..16 {
                let angle = f64::from(direction) * std::f64::consts::PI / 8.0;
                let radius = f64::from(12 + 6 * ring);
                let middle = (x + (radius * angle.cos()) as i32, y - (radius * angle.sin()) as i32);
                let place = [
                    middle.0 - half_width,
                    middle.1 - half_height,
                    middle.0 + half_width,
                    middle.1 + half_height,
                ];
                let [left, top, right, bottom] = self.bounds;
                let inside = place[0] >= left && place[1] >= top && place[2] <= right && place[3] <= bottom;
                if inside && !self.taken.iter().any(|other| overlap(&place, other)) {
                    self.taken.push(place);
                    return middle;
                }
            }
        }
        (x, y)
    }
}

fn overlap(a: &[i32; 4], b: &[i32; 4]) -> bool {
    a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_at_one_place_do_not_cover_each_other() {
        let mut labels = Labels::within([0, 0, 400, 400]);
        let points: Vec<(i32, i32)> = (0..60).map(|i| (200 + i % 3, 200 + i % 7)).collect();
        points.iter().for_each(|&point| labels.keep_free(point));
        for (number, &point) in points.iter().enumerate() {
            labels.place(point, &number.to_string());
        }
        let placed = &labels.taken[60..];
        assert_eq!(placed.len(), 60);
        for (i, place) in placed.iter().enumerate() {
            let others = labels.taken[..60].iter().chain(&placed[..i]);
            assert!(others.into_iter().all(|other| !overlap(place, other)), "{i}");
        }
    }

    #[test]
    fn axes_have_whole_decades() {
        assert_eq!(decades([0.3, 20.0].into_iter()), (0.1, 100.0));
        assert_eq!(decades([5.0, 99.0, f64::NAN, 0.0].into_iter()), (1.0, 1000.0));
        assert_eq!(decades(std::iter::empty()), (1.0, 10.0));
    }

    #[test]
    fn rates_have_units() {
        for (value, text) in [
            (51.2e12, "51.2 TFLOP/s"),
            (3e9, "3.00 GFLOP/s"),
            (2.5e6, "2.50 MFLOP/s"),
            (999.9999, "1.00 kFLOP/s"),
            (7.0, "7.00 FLOP/s"),
        ] {
            assert_eq!(rate(value), text);
        }
    }
}
