//! The normal equations: the minimum of the cost of linear regression in one solution.
//!
//! With X and y less their means, X divided by its deviations, and C = XᵀX/m, c = Xᵀy/m, the weights w of these columns
//! are those with (C + Λ) w = c, Λ the penalty's part. C is summed in `f64` in one pass over the samples.
//!
//! **Cholesky.** C + Λ = LLᵀ, if κ₁(C + Λ) = ‖C + Λ‖₁ ‖(C + Λ)⁻¹‖₁ is at most [`CONDITION`]: the error in w that rounding makes is
//! then below some 10⁻⁸ of w (N. Higham, *Accuracy and Stability of Numerical Algorithms*, 2002, chapters 10 and 20).
//!
//! **QR.** Otherwise X itself is factorised, whose condition is the square root of C's: R of X, of the rows √(mΛ), and of y beside
//! them, block after block of rows (Householder; Golub and Van Loan, *Matrix Computations*, 2013, section 5.3), and R by
//! its singular values. Those that are no more than what rounding X to `f32` can make of 0 count as 0, and of all w
//! that are left the shortest is taken.

use nalgebra::{Cholesky, DMatrix, DVector};

use super::gram::{Centred, Compression};
use super::training::Ending;
use super::{Scale, Settings};
use crate::data::Dataset;
use crate::{Error, Result};

/// The largest condition of C + Λ that is left to Cholesky: 2²⁶, the root of what `f64` resolves.
const CONDITION: f64 = 67_108_864.0;
/// Half the distance of 1 from the next `f32`.
const UNIT: f64 = f32::EPSILON as f64 / 2.0;
/// Rows that are factorised at once, for each column.
const ROWS: usize = 4;

/// Weights and bias for data in their own units.
pub(super) struct Solution {
    pub weights: Vec<f64>,
    pub bias: f64,
    /// J of them.
    pub cost: f64,
    pub ending: Ending,
}

/// The minimum of J. `dataset` is what `centred` was made of, if it is still there.
///
/// # Errors
/// [`Error::Data`]: columns that depend on each other, and no data set to factorise.
pub(super) fn solve(centred: &Centred, settings: &Settings, dataset: Option<&Dataset>) -> Result<Solution> {
    let n = centred.deviation.len();
    let deviation = |j: usize| if centred.is_constant(j) { 1.0 } else { centred.deviation[j] };
    let entry = |i: usize, j: usize| centred.covariance[(i.min(j), i.max(j))] / (deviation(i) * deviation(j));
    // Of scaled weights, the columns' own; of weights in the data's units, w / σ.
    let penalty = |j: usize| match settings.scale {
        Scale::ZScore => settings.l2,
        Scale::None => settings.l2 / (deviation(j) * deviation(j)),
    };
    let covariance = DMatrix::from_fn(n, n, entry);
    let matrix = DMatrix::from_fn(n, n, |i, j| match i == j {
        // A constant column is 0, and its weight is to be 0.
        true if centred.is_constant(i) => 1.0,
        true => covariance[(i, j)] + penalty(i),
        false => covariance[(i, j)],
    });
    let right = DVector::from_fn(n, |j, _| centred.covariance[(j, n)] / deviation(j));
    let (weights, ending) = match well_conditioned(&matrix) {
        Some(factor) => (factor.solve(&right), Ending::Cholesky),
        None => {
            let Some(dataset) = dataset else {
                return Err(Error::Data(format!(
                    "columns depend on each other so much that {} cannot be predicted from sums alone, and blocks are not \
                     kept: leave some of the features out, set an L2 penalty, or train on all samples at once",
                    centred.target
                )));
            };
            factorise(centred, dataset, &deviation, &penalty)?
        }
    };
    let squares: f64 = weights.iter().enumerate().map(|(j, w)| penalty(j) * w * w).sum();
    let explained = (&covariance * &weights).dot(&weights) - 2.0 * right.dot(&weights);
    let cost = ((centred.covariance[(n, n)] + explained).max(0.0) + squares) / 2.0;
    let weights: Vec<f64> = weights.iter().enumerate().map(|(j, weight)| weight / deviation(j)).collect();
    let shift: f64 = weights.iter().zip(&centred.mean).map(|(weight, mean)| weight * mean).sum();
    Ok(Solution { bias: centred.mean[n] - shift, weights, cost, ending })
}

/// The factor of a matrix, unless its condition is too large for it.
fn well_conditioned(matrix: &DMatrix<f64>) -> Option<Cholesky<f64, nalgebra::Dyn>> {
    let norm =
        |matrix: &DMatrix<f64>| matrix.column_iter().map(|column| column.lp_norm(1)).fold(0.0, f64::max);
    let factor = Cholesky::new(matrix.clone())?;
    let condition = norm(matrix) * norm(&factor.inverse());
    (condition <= CONDITION).then_some(factor)
}

/// The shortest of the weights with the lowest cost, by R of the samples and its singular values.
fn factorise(
    centred: &Centred,
    dataset: &Dataset,
    deviation: &dyn Fn(usize) -> f64,
    penalty: &dyn Fn(usize) -> f64,
) -> Result<(DVector<f64>, Ending)> {
    let n = centred.deviation.len();
    let root = (dataset.samples() as f64).sqrt();
    // (√Λ 0), as far as it is one.
    let mut r = DMatrix::zeros(n + 1, n + 1);
    (0..n).for_each(|j| r[(j, j)] = penalty(j).sqrt());
    let rows = dataset.features().values().chunks_exact(n).zip(dataset.y()).collect::<Vec<_>>();
    for block in rows.chunks(ROWS * (n + 1)) {
        let value = |i: usize, j: usize| {
            let (value, scale) = match j < n {
                true => (block[i].0[j], deviation(j)),
                false => (*block[i].1, 1.0),
            };
            (f64::from(value) - centred.mean[j]) / scale / root
        };
        let mut stacked = DMatrix::zeros(n + 1 + block.len(), n + 1);
        stacked.rows_mut(0, n + 1).copy_from(&r);
        for i in 0..block.len() {
            for j in 0..=n {
                stacked[(n + 1 + i, j)] = if j < n && centred.is_constant(j) { 0.0 } else { value(i, j) };
            }
        }
        r = stacked.qr().r();
    }
    let right = r.view((0, n), (n, 1)).into_owned();
    let left = r.view((0, 0), (n, n)).into_owned();
    let decomposition = left.try_svd(true, true, f64::EPSILON, 0).ok_or_else(|| {
        Error::Data("the singular values of the features were not found: set an L2 penalty".to_owned())
    })?;
    // ‖δX‖ of X rounded to `f32`, in these columns' units: each value is off by at most u of itself.
    let noise: f64 = (0..n)
        .filter(|&j| !centred.is_constant(j))
        .map(|j| 1.0 + (centred.mean[j] / deviation(j)).powi(2))
        .sum::<f64>()
        .sqrt()
        * UNIT;
    let rank = decomposition.singular_values.iter().filter(|value| **value > noise).count();
    let weights = decomposition.solve(&right, noise).map_err(|problem| Error::Data(problem.to_owned()))?;
    Ok((weights.column(0).into_owned(), Ending::Qr { rank }))
}

/// All of `dataset`, centred.
///
/// # Errors
/// As [`Compression::centred`].
pub(super) fn centred(dataset: &Dataset, scale: Scale) -> Result<Centred> {
    let mut compression = Compression::new(dataset)?;
    compression.add(dataset)?;
    compression.centred(scale)
}
