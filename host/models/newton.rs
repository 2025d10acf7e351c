//! Newton's method for logistic regression: iteratively reweighted least squares.
//!
//! With A = (X 1), X scaled, β the weights and the bias of each column of z, and p the probabilities, J's gradient and
//! second derivatives are
//!
//! | | two classes | K classes, z = Aβ of K columns |
//! |---|---|---|
//! | ∇J | Aᵀ(p − y)/m + λw | Aᵀ(p_k − y_k)/m + λw_k |
//! | H | Aᵀ diag(p(1 − p)) A/m + λI | Aᵀ diag(p_k(δ_kl − p_l)) A/m + λI, for each k and l |
//!
//! and a step is β := β − H⁻¹∇J, halved until J falls (J. Nelder and R. Wedderburn, "Generalized Linear Models", 1972). The
//! bias has no λ. All of it on the host, in `f64`; how sums are divided depends on the shape alone.
//!
//! **K classes** have the same probabilities with any one vector added to all columns of β, along which H is singular:
//! there H is given the size of its diagonal, which changes no step from β = 0.
//!
//! **Where there is no minimum.** Without a penalty J falls for ever, and β grows, if a β tells all samples' classes apart. Such a β is
//! met on the way, as every sample has its own class as the most probable one once J < ln 2 / m, and it proves that
//! there is none. Where a β tells some samples apart, and the others' z stay between (quasi-complete separation: A. Albert and J. Anderson,
//! "On the existence of maximum likelihood estimates in logistic regression models", 1984), z goes on by about 1 in each step
//! until H is singular in `f64`: the steps do not end. Both are refused, as dependent columns are, with a remedy.

use nalgebra::{Cholesky, DMatrix, DVector};
use rayon::prelude::*;

use super::logistic::softmax;
use super::regression::Affine;
use super::training::Ending;
use super::{Progress, Scaler, Settings};
use crate::data::Dataset;
use crate::engine::{Gram, Loss};
use crate::{Error, Result};

/// The most steps. Those to a minimum are some ten.
const STEPS: usize = 100;
/// A step that changes no z by more is the last.
const STILL: f64 = 1e-8;
/// Halvings of a step.
const HALVINGS: usize = 40;
/// Samples that a thread takes at once.
const ROWS: usize = 512;
/// A pivot below this share of the diagonal is rounding errors.
const PIVOT: f64 = 1e-13;

/// The samples, and what is asked of β.
struct Problem<'a> {
    dataset: &'a Dataset,
    scaler: &'a Scaler,
    l2: f64,
    /// n + 1
    width: usize,
    /// Columns of z.
    k: usize,
}

/// J, its gradient, and how far each sample is on its own side.
struct Slope {
    cost: f64,
    gradient: DVector<f64>, // column after column of z, each with its bias last
    /// The least of z of a sample's own class less that of any other.
    margin: f64,
}

/// The minimum of J from `start` on, and J before each step and at the end.
///
/// # Errors
/// [`Error::Data`]: there is no minimum, or more than one.
pub(super) fn minimise(
    dataset: &Dataset,
    scaler: &Scaler,
    settings: &Settings,
    start: &Affine,
    progress: &mut dyn FnMut(Progress),
) -> Result<(Affine, Vec<f64>, Ending)> {
    let k = start.bias.len();
    let width = dataset.features().columns().len() + 1;
    let problem = Problem { dataset, scaler, l2: settings.l2, width, k };
    let mut beta = DVector::from_fn(width * k, |at, _| match (at / width, at % width) {
        (column, j) if j + 1 < width => start.weights[j * k + column],
        (column, _) => start.bias[column],
    });
    let mut slope = problem.slope(&beta);
    let mut costs = vec![slope.cost];
    let steps = settings.epochs.min(STEPS);
    let ending = loop {
        problem.check(&slope)?;
        let done = costs.len() - 1;
        if settings.tolerance.is_some_and(|tolerance| slope.gradient.norm() <= tolerance) {
            break Ending::Tolerance;
        }
        if done == settings.epochs {
            break Ending::Epochs;
        }
        if done == steps {
            return Err(problem.no_minimum());
        }
        let step = problem.step(&beta, &slope)?;
        let moved = problem.largest(&step);
        let Some((next, at)) = problem.halved(&beta, &step, slope.cost) else {
            // Nothing near is lower: rounding alone is left, or H was noise.
            if moved <= STILL.sqrt() {
                break Ending::Converged;
            }
            return Err(problem.no_minimum());
        };
        // A part of a small step that lowers nothing: rounding alone is left there as well.
        let still = moved <= STILL || (at.cost == slope.cost && moved <= STILL.sqrt());
        (beta, slope) = (next, at);
        costs.push(slope.cost);
        progress(Progress { iteration: done + 1, iterations: settings.epochs, cost: slope.cost });
        if still {
            break Ending::Converged;
        }
    };
    let n = width - 1;
    let weights = (0..n * k).map(|at| beta[(at % k) * width + at / k]).collect();
    let bias = (0..k).map(|column| beta[column * width + n]).collect();
    Ok((Affine { weights, bias }, costs, ending))
}

impl Problem<'_> {
    /// Row i of A.
    fn row(&self, i: usize, to: &mut [f64]) {
        let n = self.width - 1;
        let values = &self.dataset.features().values()[i * n..][..n];
        let moments = self.scaler.mean().iter().zip(self.scaler.standard_deviation());
        for ((to, &value), (mean, deviation)) in to.iter_mut().zip(values).zip(moments) {
            *to = (f64::from(value) - mean) / deviation;
        }
        to[n] = 1.0;
    }

    /// z of a row of A.
    fn outputs(&self, row: &[f64], beta: &DVector<f64>, z: &mut [f64]) {
        for (z, beta) in z.iter_mut().zip(beta.as_slice().chunks_exact(self.width)) {
            *z = row.iter().zip(beta).map(|(a, b)| a * b).sum();
        }
    }

    /// Calls `visit` for each sample with its row of A and its class, a block of samples on a thread; what it makes of each block, in
    /// order.
    fn blocks<T: Send>(
        &self,
        visit: impl Fn(&mut T, &[f64], usize) + Sync,
        new: impl Fn() -> T + Sync,
    ) -> Vec<T> {
        let m = self.dataset.samples();
        let block = |first: usize| {
            let (mut block, mut row) = (new(), vec![0.0; self.width]);
            for i in first..m.min(first + ROWS) {
                self.row(i, &mut row);
                visit(&mut block, &row, self.dataset.y()[i] as usize);
            }
            block
        };
        (0..m.div_ceil(ROWS)).into_par_iter().map(|at| block(at * ROWS)).collect()
    }

    fn slope(&self, beta: &DVector<f64>) -> Slope {
        let (width, m) = (self.width, self.dataset.samples() as f64);
        let new = || Slope { cost: 0.0, gradient: DVector::zeros(width * self.k), margin: f64::INFINITY };
        let visit = |slope: &mut Slope, row: &[f64], class: usize| {
            let mut z = vec![0.0; self.k];
            self.outputs(row, beta, &mut z);
            let (cost, margin) = loss(&z, class);
            slope.cost += cost;
            slope.margin = slope.margin.min(margin);
            probabilities(&mut z);
            for (column, p) in z.iter().enumerate() {
                let error = p - share(self.k, column, class);
                let sums = &mut slope.gradient.as_mut_slice()[column * width..][..width];
                sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += error * value);
            }
        };
        let mut whole = new();
        for block in self.blocks(visit, new) {
            whole.cost += block.cost;
            whole.gradient += block.gradient;
            whole.margin = whole.margin.min(block.margin);
        }
        whole.cost /= m;
        whole.gradient /= m;
        for at in (0..width * self.k).filter(|at| at % width + 1 < width) {
            whole.cost += self.l2 / 2.0 * beta[at] * beta[at];
            whole.gradient[at] += self.l2 * beta[at];
        }
        whole
    }

    /// AᵀSA of rows that `fill` writes for a sample, from its row of A and its probabilities.
    fn gram(
        &self,
        beta: &DVector<f64>,
        columns: usize,
        fill: impl Fn(&[f64], &[f64], &mut [f64]) + Sync,
    ) -> Result<DMatrix<f64>> {
        let mut gram = Gram::new(columns)?;
        gram.add(self.dataset.samples(), |rows, part| {
            let (mut row, mut z) = (vec![0.0; self.width], vec![0.0; self.k]);
            for (i, to) in rows.zip(part.chunks_exact_mut(columns)) {
                self.row(i, &mut row);
                self.outputs(&row, beta, &mut z);
                probabilities(&mut z);
                fill(&row, &z, to);
            }
        });
        let sums = gram.finish()?;
        // The upper triangle is there.
        Ok(DMatrix::from_fn(columns, columns, |i, j| sums.values()[i.min(j) * columns + i.max(j)]))
    }

    fn curvature(&self, beta: &DVector<f64>) -> Result<DMatrix<f64>> {
        let (width, m) = (self.width, self.dataset.samples() as f64);
        let weighted = |weight: f64, row: &[f64], to: &mut [f64]| {
            let root = weight.max(0.0).sqrt();
            to.iter_mut().zip(row).for_each(|(to, value)| *to = root * value);
        };
        let mut curvature = if self.k == 1 {
            self.gram(beta, width, |row, p, to| weighted(p[0] * (1.0 - p[0]), row, to))?
        } else {
            // diag(p) − ppᵀ: the second part is that of rows p ⊗ a.
            let mut whole = -self.gram(beta, width * self.k, |row, p, to| {
                for (to, p) in to.chunks_exact_mut(width).zip(p) {
                    to.iter_mut().zip(row).for_each(|(to, value)| *to = p * value);
                }
            })?;
            for column in 0..self.k {
                let part = self.gram(beta, width, |row, p, to| weighted(p[column], row, to))?;
                let mut block = whole.view_mut((column * width, column * width), (width, width));
                block += part;
            }
            whole
        };
        curvature /= m;
        let weights = (0..width * self.k).filter(|at| at % width + 1 < width);
        weights.for_each(|at| curvature[(at, at)] += self.l2);
        if self.k > 1 {
            let size = curvature.trace() / (width * self.k) as f64 / self.k as f64;
            for at in 0..width * self.k {
                // With a penalty only the biases have no size of their own there.
                if self.l2 == 0.0 || at % width + 1 == width {
                    (0..self.k).for_each(|column| curvature[(at, column * width + at % width)] += size);
                }
            }
        }
        Ok(curvature)
    }

    /// H⁻¹∇J
    fn step(&self, beta: &DVector<f64>, slope: &Slope) -> Result<DVector<f64>> {
        let mut curvature = self.curvature(beta)?;
        // A constant column is 0 in all of A: its weight stays as it is.
        for at in 0..curvature.nrows() {
            if curvature[(at, at)] == 0.0 {
                curvature[(at, at)] = 1.0;
            }
        }
        let diagonal = curvature.diagonal();
        let factor = Cholesky::new(curvature).ok_or_else(|| self.no_minimum())?;
        let pivots = factor.l_dirty().diagonal();
        let noise = pivots.iter().zip(diagonal.iter()).any(|(pivot, size)| pivot * pivot <= PIVOT * size);
        if noise {
            return Err(self.no_minimum());
        }
        Ok(factor.solve(&slope.gradient))
    }

    /// The largest change of a z by `step`.
    fn largest(&self, step: &DVector<f64>) -> f64 {
        let visit = |largest: &mut f64, row: &[f64], _| {
            let mut z = vec![0.0; self.k];
            self.outputs(row, step, &mut z);
            *largest = z.iter().fold(*largest, |largest, z| largest.max(z.abs()));
        };
        self.blocks(visit, || 0.0).into_iter().fold(0.0, f64::max)
    }

    /// β less the step, or less the largest half of a half … of it with a lower cost.
    fn halved(&self, beta: &DVector<f64>, step: &DVector<f64>, cost: f64) -> Option<(DVector<f64>, Slope)> {
        (0..HALVINGS).map(|halvings| 0.5_f64.powi(halvings as i32)).find_map(|share| {
            let next = beta - step * share;
            let slope = self.slope(&next);
            (slope.cost <= cost).then_some((next, slope))
        })
    }

    /// Refuses classes that are told apart, where nothing holds β back.
    fn check(&self, slope: &Slope) -> Result<()> {
        if !slope.cost.is_finite() {
            return Err(Error::Data(
                "the cost is beyond 64-bit floating point: use a larger unit, or scale the features"
                    .to_owned(),
            ));
        }
        match self.l2 == 0.0 && slope.margin > 0.0 {
            false => Ok(()),
            true => Err(Error::Data(format!(
                "weights tell the classes of {:?} apart without an error, so the cost has no minimum: it falls for ever as \
                 the weights grow; set an L2 penalty, such as 1e-3, or train by descent",
                self.dataset.target()
            ))),
        }
    }

    fn no_minimum(&self) -> Error {
        Error::Data(format!(
            "the cost has no single minimum for {:?}: features depend on each other, or tell some samples apart without an \
             error, so that weights grow for ever; set an L2 penalty, such as 1e-3, or train by descent",
            self.dataset.target()
        ))
    }
}

/// y of a column of z: 1 for a sample of its class.
fn share(k: usize, column: usize, class: usize) -> f64 {
    f64::from(if k == 1 { class == 1 } else { class == column })
}

/// The loss of a sample, and z of its own class less the largest of the others.
fn loss(z: &[f64], class: usize) -> (f64, f64) {
    if let [z] = *z {
        let y = class as f64;
        return (Loss::LogLoss.cost(z, y), if class == 1 { z } else { -z });
    }
    let largest = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = z.iter().map(|z| (z - largest).exp()).sum();
    let others = z.iter().enumerate().filter(|(column, _)| *column != class).map(|(_, z)| *z);
    (sum.ln() + largest - z[class], z[class] - others.fold(f64::NEG_INFINITY, f64::max))
}

fn probabilities(z: &mut [f64]) {
    match z {
        [z] => *z = Loss::LogLoss.prediction(*z),
        z => softmax(z),
    }
}
