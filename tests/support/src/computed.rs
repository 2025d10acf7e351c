//! A number as `f32` arithmetic gives it: its value and how far off it may be, operation by operation.

use kernels::descent::loss::LN_1P_ERROR;

use crate::{Expected, UNIT_ROUNDOFF};

/// Half of the smallest step of `f32`: what rounding may do to a number that is no longer normal.
const HALF_STEP: f64 = 1.0 / (1_u128 << 75) as f64 / (1_u128 << 75) as f64;

/// Largest relative error of `exp` where its result is a normal number: 3 units in the last place.
const EXP_ERROR: f64 = 6.0 * UNIT_ROUNDOFF;

/// |what `f32` gives − `value`| ≤ `error`. Each operation is rounded once.
#[derive(Clone, Copy, Debug)]
pub struct Computed {
    /// In `f64`, whose own roundings are nothing beside the error.
    pub value: f64,
    /// The bound.
    pub error: f64,
}

impl From<f32> for Computed {
    fn from(value: f32) -> Self {
        Computed { value: value.into(), error: 0.0 }
    }
}

impl Computed {
    fn rounded(value: f64, error: f64) -> Self {
        Computed { value, error: error + UNIT_ROUNDOFF * (value.abs() + error) + HALF_STEP }
    }

    /// self + other
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self::rounded(self.value + other.value, self.error + other.error)
    }

    /// self − other
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self::rounded(self.value - other.value, self.error + other.error)
    }

    fn product(self, other: Self) -> (f64, f64) {
        let error =
            self.value.abs() * other.error + other.value.abs() * self.error + self.error * other.error;
        (self.value * other.value, error)
    }

    /// self × other
    #[must_use]
    pub fn times(self, other: Self) -> Self {
        let (value, error) = self.product(other);
        Self::rounded(value, error)
    }

    /// self × factor + term, rounded once
    #[must_use]
    pub fn times_plus(self, factor: Self, term: Self) -> Self {
        let (value, error) = self.product(factor);
        Self::rounded(value + term.value, error + term.error)
    }

    /// self / divisor
    #[must_use]
    pub fn over(self, divisor: Self) -> Self {
        let value = self.value / divisor.value;
        let error = (self.error + value.abs() * divisor.error) / (divisor.value.abs() - divisor.error);
        Self::rounded(value, error)
    }

    /// √self, for self ≥ 0
    #[must_use]
    pub fn sqrt(self) -> Self {
        let value = self.value.sqrt();
        let least = (self.value - self.error).max(0.0).sqrt();
        // √(a + b) ≤ √a + √b, and the slope where there is one.
        let error = self.error.sqrt().min(self.error / (value + least).max(f64::MIN_POSITIVE));
        Self::rounded(value, error)
    }

    /// e^self, for self ≤ 0; of results that are not normal a few of the smallest steps.
    #[must_use]
    pub fn exp(self) -> Self {
        let value = self.value.exp();
        let most = (self.value + self.error).exp();
        let error = (most - value) + most * EXP_ERROR;
        Computed { value, error: error + 8.0 * HALF_STEP }
    }

    /// ln(1 + self), for self ≥ 0: it grows less than self does.
    #[must_use]
    pub fn ln_1p(self) -> Self {
        let value = self.value.ln_1p();
        let error = self.error / (1.0 + self.value - self.error);
        Computed { value, error: error + f64::from(LN_1P_ERROR) * (value + error) }
    }

    /// The sum of terms, with at most `depth` additions behind each, in whatever order.
    #[must_use]
    pub fn sum(terms: impl Iterator<Item = Computed>, depth: usize) -> Self {
        let (mut value, mut error, mut magnitude) = (0.0, 0.0, 0.0);
        for term in terms {
            value += term.value;
            error += term.error;
            magnitude += term.value.abs() + term.error;
        }
        Computed { value, error: error + crate::gamma(depth) * magnitude }
    }

    /// As the reference of an element.
    #[must_use]
    pub fn expected(self) -> Expected {
        Expected { value: self.value, bound: self.error }
    }
}
