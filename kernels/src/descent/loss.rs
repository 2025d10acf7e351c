//! What a sample costs, and the error that its row of X is weighted with in the gradient.
//!
//! ```text
//! squared error   ŷ = z      J = Σ (ŷ − y)² / 2m
//! log loss        ŷ = σ(z)   J = −Σ [y ln ŷ + (1 − y) ln(1 − ŷ)] / m  =  Σ [max(z, 0) − y z + ln(1 + e^−|z|)] / m
//!
//! z = Xw + b, and for both   e = ŷ − y,   ∇w = Xᵀe / m,   ∇b = Σe / m
//! ```
//!
//! The second form of the log loss has no ln 0 and no e^∞: where a sample is on its right side by far, it is e^−|z|
//! to the last digits, and on the wrong side |z|.
//!
//! **Cost.** Two operations a sample, or some 50 for the log loss: X has n values a sample, so that is nothing.
//!
//! **Barriers.** None.
//!
//! **What it buys.** One kernel for both, with the choice made when it is compiled.
//!
//! **Run it.** `cargo test --release --test kernels step`

use cuda_std::prelude::*;

use crate::elementwise::sigmoid_of;

/// A loss. Both are summed so that J = Σ / m.
pub trait Loss {
    /// e of a sample, and `sum` with the sample's share of m J added.
    fn error(z: f32, y: f32, sum: f32) -> (f32, f32);
}

/// (z − y)² / 2, for linear regression.
pub struct SquaredError;

/// −y ln σ(z) − (1 − y) ln(1 − σ(z)), for logistic regression.
pub struct LogLoss;

impl Loss for SquaredError {
    #[inline(always)]
    fn error(z: f32, y: f32, sum: f32) -> (f32, f32) {
        let e = z - y;
        (e, mul_add(0.5 * e, e, sum)) // the half is exact
    }
}

impl Loss for LogLoss {
    #[inline(always)]
    fn error(z: f32, y: f32, sum: f32) -> (f32, f32) {
        let right = if z > 0.0 { z } else { 0.0 };
        let loss = mul_add(-y, z, right) + ln_1p(float::exp(-z.abs()));
        (sigmoid_of(z) - y, sum + loss)
    }
}

/// Largest relative error of [`ln_1p`]: 8 · 2⁻²⁴.
///
/// s has two roundings and so 2u. ln(1 + t) grows with s at most as s^(1 + 2·1/8): 2.5u. The sum's parts behind the 1
/// are 0.04 of it at most, their roundings together less than u; the product with 2s adds u, the last sum u, and what
/// is left out of the series is 2⁻²⁷. That is 6u.
pub const LN_1P_ERROR: f32 = 8.0 / (1 << 24) as f32;

/// ln(1 + t) for 0 ≤ t ≤ 1; a NaN stays a NaN.
///
/// With s = t / (2 + t) ≤ 1/3: ln(1 + t) = 2 artanh s = 2 s (1 + s²/3 + s⁴/5 + …). With s² ≤ 1/9, what comes after
/// s¹⁴/15 is less than 2⁻²⁷ of the sum. `lg2.approx` of 1 + t would lose what 1 + t rounds away: all of it where t is
/// small.
#[inline(always)]
pub fn ln_1p(t: f32) -> f32 {
    /// 1/15, 1/13, … 1/3
    const SERIES: [f32; 7] = [1.0 / 15.0, 1.0 / 13.0, 1.0 / 11.0, 1.0 / 9.0, 1.0 / 7.0, 1.0 / 5.0, 1.0 / 3.0];
    let s = t / (2.0 + t);
    let square = s * s;
    let mut sum = 0.0;
    for i in 0..SERIES.len() {
        sum = mul_add(sum, square, SERIES[i]);
    }
    let twice = 2.0 * s;
    mul_add(twice, square * sum, twice)
}
