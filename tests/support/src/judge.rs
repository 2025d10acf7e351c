//! How far a result may lie from the reference.

use std::fmt::Display;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::{Data, Failure};

/// u, the unit roundoff of `f32`: 2⁻²⁴.
pub const UNIT_ROUNDOFF: f64 = 1.0 / (1 << 24) as f64;

/// γ_d = d·u / (1 − d·u): the relative error of d roundings (Higham, Accuracy and Stability, lemma 3.1).
pub fn gamma(depth: usize) -> f64 {
    let errors = depth as f64 * UNIT_ROUNDOFF;
    errors / (1.0 - errors)
}

/// Σ terms and Σ |terms|. (The standard library's sum of nothing is −0.)
pub fn sums(terms: impl Iterator<Item = f64>) -> (f64, f64) {
    terms.fold((0.0, 0.0), |(sum, magnitude), term| (sum + term, magnitude + term.abs()))
}

/// The reference for one element.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Expected {
    /// The value in `f64`.
    pub value: f64,
    /// The largest error that the rounding in `f32` explains. Infinite: any number will do, but no NaN.
    pub bound: f64,
}

impl Expected {
    /// A value that `f32` holds, which must come out with the same bits.
    pub fn exact(value: f64) -> Self {
        Expected { value, bound: 0.0 }
    }

    /// A value with terms of absolute sum `magnitude`, each with at most `depth` roundings, and one rounding more.
    ///
    /// On integers nothing is rounded before the last operation: the value must be exactly the rounded one. An infinite
    /// magnitude is that of a value that was not computed: [`Expected::any`].
    pub fn rounded(data: Data, value: f64, magnitude: f64, depth: usize) -> Self {
        Expected::of_rounded(data, value, magnitude, depth, 0.0)
    }

    /// As [`rounded`](Self::rounded), where the operands of each product were rounded before, by `rounding` of them at most.
    ///
    /// Each product is (1 + rounding)² of what it should be at most, and so is the sum that the roundings are of.
    pub fn of_rounded(data: Data, value: f64, magnitude: f64, depth: usize, rounding: f64) -> Self {
        let grown = (1.0 + rounding).powi(2);
        match data {
            // Not through the formula: 0 · ∞ is no number.
            _ if magnitude.is_infinite() => Expected::any(),
            Data::Integers => Expected::exact(f64::from(value as f32)),
            Data::Reals => {
                let of_terms = (gamma(depth) * grown + (grown - 1.0)) * magnitude;
                Expected { value, bound: of_terms + UNIT_ROUNDOFF * value.abs() }
            }
        }
    }

    /// Any number, but no NaN.
    pub fn any() -> Self {
        Expected { value: 0.0, bound: f64::INFINITY }
    }
}

/// What a check has seen.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Elements compared.
    pub elements: usize,
    /// Largest error over its bound; at most 1.
    pub worst: f64,
    squared_error: f64,
    squared_value: f64,
    bits: DefaultHasher,
}

impl Tally {
    /// ‖error‖ / ‖reference‖ over all elements (Frobenius).
    pub fn relative_norm(&self) -> f64 {
        if self.squared_error == 0.0 { 0.0 } else { (self.squared_error / self.squared_value).sqrt() }
    }

    /// A hash of the bits of all results, in order.
    pub fn digest(&self) -> u64 {
        self.bits.finish()
    }

    /// Compares an output with its reference, element by element. `place` says which output of which launch.
    ///
    /// # Errors
    /// Another number of elements, or an element farther off than its bound, which a NaN always is.
    pub fn compare(
        &mut self,
        place: &dyn Display,
        got: &[f32],
        expected: &[Expected],
    ) -> Result<(), Failure> {
        if got.len() != expected.len() {
            return Err(format!("{place}: {} elements, expected {}", got.len(), expected.len()));
        }
        for (index, (&got, expected)) in got.iter().zip(expected).enumerate() {
            got.to_bits().hash(&mut self.bits);
            self.elements += 1;
            let Expected { value, bound } = *expected;
            if bound == 0.0 {
                if got.to_bits() != (value as f32).to_bits() {
                    return Err(format!("{place}: element {index} is {got:e}, must be {value:e}"));
                }
                continue;
            }
            let error = (f64::from(got) - value).abs();
            // Not `error > bound`: NaN must fail.
            #[expect(clippy::neg_cmp_op_on_partial_ord)]
            if !(error <= bound) {
                return Err(format!(
                    "{place}: element {index} is {got:e}, reference {value:e}, error {error:.3e} > bound {bound:.3e}"
                ));
            }
            if bound.is_infinite() {
                continue; // a number is there, and no more is asked
            }
            self.worst = self.worst.max(error / bound);
            self.squared_error += error * error;
            self.squared_value += value * value;
        }
        Ok(())
    }
}
