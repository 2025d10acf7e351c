//! A data set for the linear model made as small as it can be: as many samples as features, and two.
//!
//! The cost of the linear model and its gradient are sums over samples of products of two columns of A = (1 X y), so
//! AᵀA/m is all that they take of the data. Any other (1 X′ y′) of p samples with the same AᵀA/p has the same cost and the same
//! gradient at all weights, so descent on it takes the same steps, and each of them reads p × n numbers rather than
//! m × n. With p = n + 2 there always is one:
//!
//! 1. AᵀA = RᵀR with R upper triangular (Cholesky). The first column of A is ones, so that of R is (√m, 0, …, 0)ᵀ.
//! 2. The reflection H that takes (1, 0, …, 0)ᵀ to (1, …, 1)ᵀ/√p (Householder) makes that column constant and leaves
//!    RᵀR as it is.
//! 3. Divided by √(m/p), it is a column of ones.
//!
//! Means and standard deviations of the features can be read off R: √m times the mean is in its first row, and the rest of
//! the column has the length √m σ.
//!
//! AᵀA is summed in `f64` of values less their mean in the first rows, so that means far from 0 cost no digits. The
//! one rounding that is left, of X′ and y′ to `f32`, is as that of the standardised X itself.

use nalgebra::DMatrix;
use rayon::prelude::*;

use super::scaler::Constants;
use crate::data::Dataset;
use crate::engine::{Gram, HostMatrix, Moments};
use crate::models::{Scale, Scaler};
use crate::{Error, Result};

/// Rows from whose mean values are counted.
const FIRST: usize = 256;
/// Rows of R that are made before those below are made less of them.
const STRIP: usize = 32;

/// (1 X′ y′), without the ones.
pub(super) struct Compressed {
    pub samples: usize,
    /// Scaled, samples × features.
    pub x: Vec<f32>,
    pub y: Vec<f32>,
    pub scaler: Scaler,
    /// The numbers of the features that are constant.
    pub constant: Vec<usize>,
}

/// What of the samples so far is needed to make few of them. Bits do not depend on how many are handed in at a time.
pub(super) struct Compression {
    columns: Vec<String>,
    target: String,
    samples: usize,
    constants: Constants,
    /// Rows of (X y) that wait until there are [`FIRST`] of them.
    first: Vec<f32>,
    /// What is taken off each column of (1 X y), once that is known.
    shift: Vec<f64>,
    gram: Gram,
}

impl Compression {
    /// Of no samples, with the columns of `dataset`.
    ///
    /// # Errors
    /// There is no memory for (features + 2)² numbers of 64 bits.
    pub(super) fn new(dataset: &Dataset) -> Result<Self> {
        let columns = dataset.features().columns().to_vec();
        let gram = Gram::new(columns.len() + 2)?;
        let constants = Constants::default();
        let target = dataset.target().to_owned();
        Ok(Compression { columns, target, samples: 0, constants, first: Vec::new(), shift: Vec::new(), gram })
    }

    /// Adds samples.
    ///
    /// # Errors
    /// Other columns than before.
    pub(super) fn add(&mut self, block: &Dataset) -> Result<()> {
        let columns = block.features().columns();
        if columns != self.columns || block.target() != self.target {
            return Err(Error::Data(format!(
                "sample {} is the first of a block with the features {columns:?} and the target {:?}; those before have {:?} and \
                 {:?}: all blocks need the same, in the same order",
                self.samples + 1,
                block.target(),
                self.columns,
                self.target
            )));
        }
        self.samples += block.samples();
        self.constants.add(block.features().values().chunks_exact(columns.len()));
        let (x, y, n) = (block.features().values(), block.y(), columns.len());
        let mut held = 0;
        if self.shift.is_empty() {
            held = block.samples().min(FIRST - self.first.len() / (n + 1));
            for i in 0..held {
                self.first.extend(&x[i * n..][..n]);
                self.first.push(y[i]);
            }
            if self.first.len() < FIRST * (n + 1) {
                return Ok(());
            }
            self.add_first();
        }
        let shift = &self.shift;
        self.gram.add(block.samples() - held, |rows, part| {
            for (i, to) in rows.zip(part.chunks_exact_mut(n + 2)) {
                let i = held + i;
                fill(to, &x[i * n..][..n], y[i], shift);
            }
        });
        Ok(())
    }

    /// Adds the rows that waited, less their mean.
    fn add_first(&mut self) {
        let first = std::mem::take(&mut self.first);
        let width = self.columns.len() + 1;
        let count = first.len() / width;
        self.shift = vec![0.0; width + 1];
        for row in first.chunks_exact(width) {
            let sums = self.shift[1..].iter_mut().zip(row);
            sums.for_each(|(sum, &value)| *sum += f64::from(value) / count as f64);
        }
        let shift = &self.shift;
        self.gram.add(count, |rows, part| {
            for (i, to) in rows.zip(part.chunks_exact_mut(width + 1)) {
                let row = &first[i * width..][..width];
                fill(to, &row[..width - 1], row[width - 1], shift);
            }
        });
    }

    /// As few samples as there can be with the same cost and gradient, for features scaled as `scale` says.
    ///
    /// # Errors
    /// As [`Scaler::fit`].
    pub(super) fn finish(mut self, scale: Scale) -> Result<Compressed> {
        if self.shift.is_empty() {
            self.add_first();
        }
        let Compression { columns, samples, constants, shift, gram, .. } = self;
        let mut r = gram.finish()?;
        cholesky(&mut r);
        few(&mut r, samples, &shift, scale, &columns, &constants)
    }

    /// Means and covariances of all columns.
    ///
    /// # Errors
    /// As [`Scaler::fit`].
    pub(super) fn centred(mut self, scale: Scale) -> Result<Centred> {
        if self.shift.is_empty() {
            self.add_first();
        }
        let Compression { columns, target, samples, constants, shift, gram, .. } = self;
        let (n, m) = (columns.len(), samples as f64);
        let sums = gram.finish()?;
        let sum = |i: usize, j: usize| sums.values()[i * (n + 2) + j] / m;
        let mut covariance = DMatrix::zeros(n + 1, n + 1);
        for i in 0..=n {
            for j in i..=n {
                covariance[(i, j)] = sum(i + 1, j + 1) - sum(0, i + 1) * sum(0, j + 1);
            }
        }
        let mut deviation: Vec<f64> = (0..n).map(|j| covariance[(j, j)].max(0.0).sqrt()).collect();
        let mean: Vec<f64> = (0..=n).map(|j| shift[j + 1] + sum(0, j + 1)).collect();
        (0..n).filter(|j| constants.value(*j).is_some()).for_each(|j| deviation[j] = 0.0);
        let moments = Moments { mean: mean[..n].to_vec(), standard_deviation: deviation.clone() };
        let scaler = match scale {
            Scale::ZScore => Scaler::from_moments(moments, &columns, &constants)?.0,
            Scale::None => Scaler::none(n),
        };
        let constant: Vec<usize> = (0..n).filter(|j| deviation[*j] == 0.0).collect();
        // What rounding left of them.
        for &j in &constant {
            covariance.row_mut(j).fill(0.0);
            covariance.column_mut(j).fill(0.0);
        }
        Ok(Centred { target, mean, deviation, covariance, scaler, constant })
    }
}

/// Means and covariances of the columns of (X y), in `f64`.
pub(super) struct Centred {
    pub target: String,
    /// Of n + 1 columns.
    pub mean: Vec<f64>,
    /// Population standard deviations of the features.
    pub deviation: Vec<f64>,
    /// (n + 1) × (n + 1), with the divisor m. The upper triangle is there.
    pub covariance: DMatrix<f64>,
    pub scaler: Scaler,
    /// The numbers of the features that are constant.
    pub constant: Vec<usize>,
}

impl Centred {
    pub(super) fn is_constant(&self, j: usize) -> bool {
        self.deviation[j] == 0.0
    }
}

/// A row of A: 1, and x and y less their shift.
fn fill(to: &mut [f64], x: &[f32], y: f32, shift: &[f64]) {
    let last = x.len() + 1;
    to[0] = 1.0;
    for ((to, &x), shift) in to[1..last].iter_mut().zip(x).zip(&shift[1..last]) {
        *to = f64::from(x) - shift;
    }
    to[last] = f64::from(y) - shift[last];
}

/// (1 X′ y′) from R, of m samples whose columns were counted from `shift`.
fn few(
    r: &mut HostMatrix<f64>,
    m: usize,
    shift: &[f64],
    scale: Scale,
    columns: &[String],
    constants: &Constants,
) -> Result<Compressed> {
    let n = columns.len();
    let p = n + 2;
    let root = (m as f64).sqrt();
    let row = |i: usize| i * p;
    let mean = |r: &HostMatrix<f64>, j: usize| shift[j] + r.values()[j] / root;
    let moments = Moments {
        mean: (1..=n).map(|j| mean(r, j)).collect(),
        standard_deviation: (1..=n)
            .map(|j| (1..=j).map(|i| r.values()[row(i) + j].powi(2)).sum::<f64>().sqrt() / root)
            .collect(),
    };
    let (scaler, constant) = match scale {
        Scale::ZScore => Scaler::from_moments(moments, columns, constants)?,
        Scale::None => (Scaler::none(n), Vec::new()),
    };

    // From values less their shift to scaled ones, and from sums to means.
    let factor = (m as f64 / p as f64).sqrt();
    let means: Vec<f64> = (0..p).map(|j| mean(r, j)).collect();
    for (j, mean) in means.iter().enumerate().skip(1) {
        let (center, deviation) = match j <= n {
            true => (scaler.mean()[j - 1], scaler.standard_deviation()[j - 1]),
            false => (0.0, 1.0),
        };
        let is_constant = constant.binary_search(&(j - 1)).is_ok();
        for i in 0..p {
            let value = &mut r.values_mut()[row(i) + j];
            *value = match i {
                _ if is_constant => 0.0,
                0 => (mean - center) / deviation * root / factor,
                _ => *value / deviation / factor,
            };
        }
    }
    reflect(r);

    let rows = || r.values().chunks_exact(p);
    let mut x = Vec::with_capacity(p * n);
    rows().for_each(|row| x.extend(row[1..=n].iter().map(|&value| value as f32)));
    let y = rows().map(|row| row[n + 1] as f32).collect();
    Ok(Compressed { samples: p, x, y, scaler, constant })
}

/// R with RᵀR = G in place of the upper triangle of G = AᵀA. The lower triangle is 0 and stays so.
///
/// [`STRIP`] rows at a time: when they are rows of R, what all rows below have of them is taken off at once.
///
/// A pivot that is no more than the rounding errors in it means a column that depends on those before it: its row
/// of R is 0. That changes RᵀR by no more than rounding does, so no condition is asked of A.
fn cholesky(g: &mut HostMatrix<f64>) {
    let p = g.shape().0;
    let noise: Vec<f64> = (0..p).map(|j| p as f64 * f64::EPSILON * g.values()[j * p + j]).collect();
    for first in (0..p).step_by(STRIP) {
        let end = p.min(first + STRIP);
        let (done, rest) = g.values_mut().split_at_mut(end * p);
        let strip = &mut done[first * p..];
        for j in first..end {
            let (above, row) = strip.split_at_mut((j - first) * p);
            let row = &mut row[..p];
            subtract(row, j, above);
            if row[j] <= noise[j] {
                row.fill(0.0);
                continue;
            }
            let root = row[j].sqrt();
            row[j..].iter_mut().for_each(|value| *value /= root);
        }
        let strip = &*strip;
        let below = rest.par_chunks_exact_mut(p).enumerate();
        below.for_each(|(at, row)| subtract(row, end + at, strip));
    }
}

/// Takes off row i of G, from the diagonal on, what it has of the rows `above` of R, in their order.
fn subtract(row: &mut [f64], i: usize, above: &[f64]) {
    let p = row.len();
    let row = &mut row[i..];
    // Four at a time, so that a number of G is fetched and written once for them.
    for four in above.chunks(4 * p) {
        let mut rows = four.chunks_exact(p).map(|above| &above[i..]);
        if let [Some(a), Some(b), Some(c), Some(d)] = [0; 4].map(|_| rows.next()) {
            for ((((value, x), y), z), w) in row.iter_mut().zip(a).zip(b).zip(c).zip(d) {
                *value = *value - a[0] * x - b[0] * y - c[0] * z - d[0] * w;
            }
        } else {
            four.chunks_exact(p).map(|above| &above[i..]).for_each(|a| {
                row.iter_mut().zip(a).for_each(|(value, x)| *value -= a[0] * x);
            });
        }
    }
}

/// H R in place of R (p × p), with the symmetric orthogonal H = I − vvᵀ/v₁, v = (1, 0, …, 0)ᵀ − (1, …, 1)ᵀ/√p.
fn reflect(r: &mut HostMatrix<f64>) {
    let p = r.shape().0;
    let part = 1.0 / (p as f64).sqrt();
    let (first, rest) = r.values_mut().split_at_mut(p);
    // vᵀR
    let mut product: Vec<f64> = first.iter().map(|value| value * (1.0 - part)).collect();
    for row in rest.chunks_exact(p) {
        product.iter_mut().zip(row).for_each(|(sum, value)| *sum -= part * value);
    }
    first.iter_mut().zip(&product).for_each(|(value, product)| *value -= product);
    for row in rest.chunks_exact_mut(p) {
        row.iter_mut().zip(&product).for_each(|(value, product)| *value += product * part / (1.0 - part));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Table;
    use crate::engine::{Engine, Loop, Loss, Samples, Scaling};

    /// Unit roundoff of `f32`.
    const U: f64 = 1.0 / 16_777_216.0;

    /// Numbers that look random.
    fn numbers(count: usize, seed: u32) -> impl Iterator<Item = f32> {
        let mut state = seed;
        std::iter::repeat_with(move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        })
        .take(count)
    }

    /// All of `data` at once.
    fn compress(data: &Dataset, scale: Scale) -> Result<Compressed> {
        let mut compression = Compression::new(data)?;
        compression.add(data)?;
        compression.finish(scale)
    }

    /// Rows `rows` of `data`.
    fn part(data: &Dataset, rows: std::ops::Range<usize>) -> Dataset {
        let columns = data.features().columns().to_vec();
        let n = columns.len();
        let x = data.features().values()[rows.start * n..rows.end * n].to_vec();
        Dataset::new(Table::new(columns, x).unwrap(), data.target(), data.y()[rows].to_vec()).unwrap()
    }

    #[test]
    fn blocks_of_any_size_give_the_bits_of_all_at_once() {
        for (m, n) in [(3, 2), (256, 1), (300, 40), (9000, 3)] {
            let data = dataset(m, n);
            let all = compress(&data, Scale::ZScore).unwrap();
            for size in [1, 7, 255, 256, 257, 8192] {
                let mut compression = Compression::new(&data).unwrap();
                for first in (0..m).step_by(size) {
                    compression.add(&part(&data, first..m.min(first + size))).unwrap();
                }
                let blocks = compression.finish(Scale::ZScore).unwrap();
                assert_eq!((&blocks.x, &blocks.y), (&all.x, &all.y), "{m} × {n} in blocks of {size}");
                assert_eq!((&blocks.scaler, blocks.constant), (&all.scaler, all.constant.clone()));
            }
        }
    }

    #[test]
    fn a_block_with_other_columns_is_refused() {
        let mut compression = Compression::new(&dataset(5, 2)).unwrap();
        compression.add(&dataset(5, 2)).unwrap();
        let text = compression.add(&dataset(5, 3)).unwrap_err().to_string();
        assert!(
            text.contains("sample 6") && text.contains("\"x2\"") && text.contains("same order"),
            "{text}"
        );
    }

    /// m × n, columns with means and deviations of their own, and a target that depends on them.
    fn dataset(m: usize, n: usize) -> Dataset {
        let mut x: Vec<f32> = numbers(m * n, 7).collect();
        for row in x.chunks_exact_mut(n) {
            row.iter_mut()
                .enumerate()
                .for_each(|(j, value)| *value = *value * (j + 1) as f32 + 3.0 * j as f32);
        }
        let noise = numbers(m, 11);
        let y =
            x.chunks_exact(n).zip(noise).map(|(row, noise)| row.iter().sum::<f32>() + noise + 20.0).collect();
        let names = (0..n).map(|j| format!("x{j}")).collect();
        Dataset::new(Table::new(names, x).unwrap(), "y", y).unwrap()
    }

    fn length(values: impl IntoIterator<Item = f64>) -> f64 {
        values.into_iter().map(|value| value * value).sum::<f64>().sqrt()
    }

    /// Weights and bias after `steps` steps on the reference, which computes in `f64`, and the costs.
    fn descend(
        x: &HostMatrix<f64>,
        scaling: Option<&Scaling<HostMatrix<f64>>>,
        y: &[f32],
        rate: f64,
        steps: usize,
    ) -> (Vec<f64>, Vec<f64>) {
        let (m, n) = x.shape();
        let y = Loop.upload(m, 1, y).unwrap();
        let mut weights = Loop.upload(n, 1, &vec![0.0; n]).unwrap();
        let mut bias = Loop.upload(1, 1, &[0.0]).unwrap();
        let over = Samples { x, scaling, y: &y };
        let costs =
            Loop.descend(Loss::SquaredError, &over, &mut weights, &mut bias, rate, steps).unwrap().costs;
        ([Loop.read(&weights).unwrap(), Loop.read(&bias).unwrap()].concat(), costs)
    }

    /// The way down is that of all samples, within the bound that follows from the rounding of X′ and y′ to `f32`.
    ///
    /// Rounding changes each column of X′, and y′, by at most u of its length. With lengths divided by √p (rms) that moves
    /// component j of the gradient by at most u·rms(xⱼ)·(rms(e) + Σ rms(xₗ)|wₗ| + rms(y)) to first order. A step with
    /// a rate below 2/λ shortens what was wrong before it, so k steps are wrong by at most k·α times the largest.
    #[test]
    fn the_same_way_down() {
        for (m, n, scale) in
            [(400, 5, Scale::ZScore), (1000, 1, Scale::ZScore), (300, 40, Scale::None), (7, 9, Scale::ZScore)]
        {
            let data = dataset(m, n);
            let small = compress(&data, scale).unwrap();
            assert_eq!((small.samples, small.x.len(), small.y.len()), (n + 2, n * (n + 2), n + 2));

            let x = Loop.upload(m, n, data.features().values()).unwrap();
            let (scaler, _) = Scaler::fit(scale, &Loop, &x, data.features()).unwrap();
            for (ours, theirs) in [
                (small.scaler.mean(), scaler.mean()),
                (small.scaler.standard_deviation(), scaler.standard_deviation()),
            ] {
                assert!(
                    ours.iter().zip(theirs).all(|(a, b)| (a - b).abs() <= 2.0 * U * b.abs()),
                    "{ours:?} {theirs:?}"
                );
            }
            // The same scaler for both, so that only the samples differ.
            let scaling = small.scaler.on(&Loop).unwrap();
            let compressed = Loop.upload(n + 2, n, &small.x).unwrap();

            let rms =
                |values: &mut dyn Iterator<Item = f64>, count: usize| length(values) / (count as f64).sqrt();
            let (mean, deviation) = (small.scaler.mean(), small.scaler.standard_deviation());
            let scaled = |i: usize, j: usize| (x.values()[i * n + j] - mean[j]) / deviation[j];
            let column = |j: usize| rms(&mut (0..m).map(|i| scaled(i, j)), m);
            let columns: Vec<f64> = (0..n).map(column).chain([1.0]).collect();
            let rms_y = rms(&mut data.y().iter().map(|&value| f64::from(value)), m);
            // λ is at most the trace.
            let rate = 1.0 / columns.iter().map(|rms| rms * rms).sum::<f64>();
            for steps in [1, 50] {
                let (direct, costs) = descend(&x, scaling.as_ref(), data.y(), rate, steps);
                let (weights, small_costs) = descend(&compressed, None, &small.y, rate, steps);
                // Weights, errors and costs are at most as large as at the start, or at the end.
                let reach = columns.iter().zip(&direct).map(|(rms, w)| rms * w.abs()).sum::<f64>() + rms_y;
                let largest = (2.0 * costs[0]).sqrt();
                let bound = steps as f64
                    * rate
                    * length(columns.iter().copied())
                    * U
                    * 1.01
                    * (2.0 * largest + 2.0 * reach);
                let off = length(direct.iter().zip(&weights).map(|(a, b)| a - b));
                assert!(off <= bound, "{m} × {n}, {steps} steps: off by {off:e}, bound {bound:e}");
                for (a, b) in costs.iter().zip(&small_costs) {
                    let allowed = 4.0 * largest * (U * 2.0 * reach + bound * length(columns.iter().copied()));
                    assert!((a - b).abs() <= allowed, "{m} × {n}: cost {a}, {b}");
                }
            }
        }
    }

    #[test]
    fn constant_and_dependent_columns_and_few_samples_do_no_harm() {
        let columns = ["a", "c", "twice a", "d"].map(str::to_owned).to_vec();
        let x: Vec<f32> =
            numbers(50, 3).zip(numbers(50, 5)).flat_map(|(a, d)| [a, 0.1, 2.0 * a, d]).collect();
        let y: Vec<f32> = numbers(50, 9).collect();
        for samples in [1, 2, 3, 50] {
            let table = Table::new(columns.clone(), x[..4 * samples].to_vec()).unwrap();
            let data = Dataset::new(table, "y", y[..samples].to_vec()).unwrap();
            let small = compress(&data, Scale::ZScore).unwrap();
            assert!(small.x.iter().chain(&small.y).all(|value| value.is_finite()));
            assert!(small.x.iter().skip(1).step_by(4).all(|&value| value == 0.0), "{:?}", small.x);
            assert_eq!(small.constant, if samples == 1 { vec![0, 1, 2, 3] } else { vec![1] });
            let x = Loop.upload(small.samples, 4, &small.x).unwrap();
            let (weights, costs) = descend(&x, None, &small.y, 0.2, 300);
            assert_eq!(weights[1], 0.0);
            assert!((weights[0] - weights[2]).abs() <= 1e-5, "{weights:?}");
            let noise = 1e-12 * costs[0];
            assert!(costs.windows(2).all(|pair| pair[1] <= pair[0] + noise), "{costs:?}");
        }
    }

    #[test]
    fn a_mean_far_from_zero_costs_no_digits() {
        let columns = vec!["a".to_owned()];
        let x: Vec<f32> = numbers(600, 3).map(|value| 1e6 + (8.0 * value).round() / 8.0).collect();
        let y: Vec<f32> = x.iter().map(|value| 2.0 * (value - 1e6) + 5.0).collect();
        let data = Dataset::new(Table::new(columns, x.clone()).unwrap(), "y", y).unwrap();
        let small = compress(&data, Scale::ZScore).unwrap();
        let table = Loop.upload(600, 1, &x).unwrap();
        let moments = Loop.column_moments(&table).unwrap();
        let deviation = small.scaler.standard_deviation()[0];
        assert!((deviation - moments.standard_deviation[0]).abs() <= U * deviation);
        let (weights, costs) = descend(&Loop.upload(3, 1, &small.x).unwrap(), None, &small.y, 1.0, 60);
        // The mean itself is rounded to `f32`, by 1/32 at most, and y with it.
        assert!((weights[0] / deviation - 2.0).abs() <= 1e-6, "{weights:?}");
        assert!(costs[59] <= 1e-10, "{costs:?}");
    }
}
