//! Vectorised `f32` on all cores.

mod gram;
mod multiply;
#[cfg(target_arch = "x86_64")]
mod packed;
mod passes;
mod short_rows;
mod simd;
mod training;

use std::borrow::Cow;
use std::sync::Arc;

use pulp::Arch;
use rayon::prelude::*;

pub(crate) use self::gram::Gram;
use self::multiply::{Start, multiply};
use self::passes::{Model, RowMap, View};
use super::{
    Activation, Descended, Engine, Head, HostMatrix, Layout, Loss, Moments, Objective, Precision, Samples,
    Scaling, Update, check,
};
use crate::Result;

/// Vectorised `f32` on all threads of the current rayon pool.
///
/// **Descent** reads X once a step: a few rows are multiplied by w, and while they are in the cache they are added, each
/// times its error, to the gradient; the next ones are fetched meanwhile. Of up to 64 columns, as many rows are taken at
/// a time as a vector has lanes. Above 32 768 columns a block of rows does not stay in a core's cache, and there are two
/// passes. Scaling costs no pass: see [`Engine::descend`]. **Products** of matrices are those of the `gemm` crate, one a
/// tile of the result and the tiles on all threads, without copies of transposed operands; with AVX2 and no AVX-512 large
/// ones (48 rows, 192 columns, an inner side of 16, and 2²⁵ multiplications at least) are computed here from packed
/// operands, for which up to 8 MiB are kept, and 96 KiB a thread. A dense layer adds them to its bias, and applies the
/// activation while a part of the result is in the cache.
///
/// **Error.** With u = 2⁻²⁴, γ_d = d·u / (1 − d·u): dot products (`matrix_vector`, errors, costs) accumulate in
/// `f32` over at most d = 4096 / 32 + 5 = 133 steps, sums over samples (gradients) over at most d = 257, with the rounding of
/// the errors. Above that
/// sums are in `f64`, and a result is rounded once: |error| ≤ γ_d Σ|terms| + u |result| however long the sum is. A scaling
/// adds 2 to d. Predictions, costs and a bias' gradient are in `f64` from the dot products on, moments throughout. A matrix
/// product of inner side k has d = k, a dense layer d = k + 1; sigmoid is within 3 units in the last place, and softmax, of
/// what is left of z without the maximum, within 10. Sums of columns are in `f64`.
///
/// **Determinism.** What a sum is made of, and in which order, depends on the shapes only: the same
/// operands give the same bits with any number of threads, on the same kind of machine. Another instruction set or
/// cache size may give other bits.
///
/// ```
/// use tilegrad::engine::{Cpu, Engine, Loss, Samples};
///
/// let engine = Cpu;
/// let x = engine.upload(3, 1, &[1.0, 2.0, 3.0])?;
/// let y = engine.upload(3, 1, &[3.0, 5.0, 7.0])?;
/// let mut weights = engine.upload(1, 1, &[0.0])?;
/// let mut bias = engine.upload(1, 1, &[0.0])?;
/// let samples = Samples { x: &x, scaling: None, y: &y };
/// let costs = engine.descend(Loss::SquaredError, &samples, &mut weights, &mut bias, 0.1, 2000)?.costs;
/// assert!(costs[0] > 10.0 && costs[1999] < 1e-6);
/// assert!((engine.read(&weights)?[0] - 2.0).abs() < 1e-3);
/// # Ok::<(), tilegrad::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu;

/// See [`Engine::products_per_value`]. 7.4 in benches/results/intel-xeon-2-cores-2026-11-21.md, where a step takes 14.4
/// ms; less is taken because there are machines whose memory is faster, so that a step gains less.
const PRODUCTS_PER_VALUE: f64 = 4.0;

/// A matrix of the cpu engine.
type Matrix = HostMatrix<f32>;

impl Matrix {
    fn view(&self) -> View<'_> {
        View::new(&self.values, self.rows, self.columns, None)
    }

    /// With each value taken as the scaling says, but for its division by the deviations: see [`folded`].
    fn scaled<'a>(&'a self, scaling: Option<&'a Scaling<Matrix>>) -> View<'a> {
        View::new(&self.values, self.rows, self.columns, scaling.map(|scaling| scaling.mean.values()))
    }
}

/// w / deviation, to be multiplied by values that are not divided.
fn folded<'a>(weights: &'a Matrix, scaling: Option<&Scaling<Matrix>>) -> Cow<'a, [f32]> {
    let Some(Scaling { deviation, .. }) = scaling else { return Cow::Borrowed(&weights.values) };
    let quotients = weights.values.iter().zip(deviation.values());
    quotients.map(|(weight, deviation)| (f64::from(*weight) / f64::from(*deviation)) as f32).collect()
}

/// Σ of the squares.
fn squares(values: &[f32]) -> f64 {
    values.iter().map(|&value| f64::from(value) * f64::from(value)).sum()
}

/// Divides by the deviations what was summed of values that are not divided.
fn unfold(sums: &mut [f64], scaling: Option<&Scaling<Matrix>>) {
    let Some(Scaling { deviation, .. }) = scaling else { return };
    sums.iter_mut().zip(deviation.values()).for_each(|(sum, deviation)| *sum /= f64::from(*deviation));
}

impl Engine for Cpu {
    type Matrix = Matrix;

    fn description(&self) -> String {
        let threads = rayon::current_num_threads();
        let plural = if threads == 1 { "" } else { "s" };
        format!("cpu ({threads} thread{plural}, {})", instruction_set())
    }

    fn arithmetic(&self) -> String {
        format!("cpu, {}", instruction_set())
    }

    fn products_per_value(&self) -> Option<f64> {
        Some(PRODUCTS_PER_VALUE)
    }

    fn upload(&self, rows: usize, columns: usize, values: &[f32]) -> Result<Matrix> {
        Matrix::upload(rows, columns, values, |value| value)
    }

    fn share(&self, rows: usize, columns: usize, values: &Arc<Vec<f32>>) -> Result<Matrix> {
        Matrix::share(rows, columns, values)
    }

    fn read(&self, matrix: &Matrix) -> Result<Vec<f64>> {
        /// Values that are worth a task of their own.
        const MANY: usize = 1 << 16;
        Ok(matrix.values.par_iter().with_min_len(MANY).map(|&value| f64::from(value)).collect())
    }

    fn shape(&self, matrix: &Matrix) -> (usize, usize) {
        matrix.shape()
    }

    fn synchronize(&self) -> Result<()> {
        Ok(())
    }

    fn column_moments(&self, x: &Matrix) -> Result<Moments> {
        check::column_moments(x.shape())?;
        let (mean, standard_deviation) = passes::column_moments(x.view());
        Ok(Moments { mean, standard_deviation })
    }

    fn descend(
        &self,
        objective: impl Into<Objective>,
        samples: &Samples<'_, Matrix>,
        weights: &mut Matrix,
        bias: &mut Matrix,
        learning_rate: f64,
        steps: usize,
    ) -> Result<Descended> {
        let objective = objective.into();
        let Objective { loss, l2 } = objective;
        check::descent(self, "descend", samples, weights, bias)?;
        check::labels("descend", loss, &samples.y.values)?;
        let Samples { x, scaling, y } = *samples;
        let count = x.rows as f64;
        let mut descended = Descended::default();
        let mut all = || {
            for _ in 0..steps {
                let folded = folded(weights, scaling);
                let model = Model { loss, weights: &folded, bias: bias.values[0], y: &y.values };
                let mut sums = passes::descent_sums(x.scaled(scaling), model);
                unfold(&mut sums.gradient, scaling);
                descended.costs.push(sums.cost / count + objective.penalty(squares(&weights.values)));
                let bias_slope = sums.errors / count;
                let mut slopes = bias_slope * bias_slope;
                for (weight, sum) in weights.values.iter_mut().zip(&sums.gradient) {
                    let slope = sum / count + l2 * f64::from(*weight);
                    slopes += slope * slope;
                    *weight = (f64::from(*weight) - learning_rate * slope) as f32;
                }
                let bias = &mut bias.values[0];
                *bias = (f64::from(*bias) - learning_rate * bias_slope) as f32;
                descended.gradient_norms.push(slopes.sqrt());
            }
        };
        if x.view().chunks() > 1 {
            // On one of the threads that compute: from any other, each step would begin and end with a wait for one to wake.
            rayon::scope(|_| all());
        } else {
            all();
        }
        Ok(descended)
    }

    fn cost(
        &self,
        objective: impl Into<Objective>,
        samples: &Samples<'_, Matrix>,
        weights: &Matrix,
        bias: &Matrix,
    ) -> Result<f64> {
        let objective = objective.into();
        let loss = objective.loss;
        check::descent(self, "cost", samples, weights, bias)?;
        check::labels("cost", loss, &samples.y.values)?;
        let Samples { x, scaling, y } = *samples;
        let penalty = objective.penalty(squares(&weights.values));
        let weights = folded(weights, scaling);
        let model = Model { loss, weights: &weights, bias: bias.values[0], y: &y.values };
        Ok(passes::descent_sums(x.scaled(scaling), model).cost / x.rows as f64 + penalty)
    }

    fn matrix_vector(
        &self,
        x: &Matrix,
        scaling: Option<&Scaling<Matrix>>,
        weights: &Matrix,
        bias: &Matrix,
    ) -> Result<Matrix> {
        check::matrix_vector(self, x, scaling, weights, bias)?;
        let mut out = Matrix::filled("matrix_vector", x.rows, 1, 0.0)?;
        let weights = folded(weights, scaling);
        let narrow = |value| value as f32;
        passes::products(x.scaled(scaling), &weights, bias.values[0], &mut out.values, narrow);
        Ok(out)
    }

    fn gradient(&self, x: &Matrix, scaling: Option<&Scaling<Matrix>>, e: &Matrix) -> Result<Matrix> {
        check::gradient(self, x, scaling, e)?;
        let mut sums = passes::gradient_sums(x.scaled(scaling), &e.values);
        unfold(&mut sums, scaling);
        let mut gradient = Matrix::filled("gradient", x.columns, 1, 0.0)?;
        for (out, sum) in gradient.values.iter_mut().zip(sums) {
            *out = (sum / x.rows as f64) as f32;
        }
        Ok(gradient)
    }

    fn matmul(
        &self,
        a: &Matrix,
        a_layout: Layout,
        b: &Matrix,
        b_layout: Layout,
        _: Precision,
    ) -> Result<Matrix> {
        check::matmul(a.shape(), a_layout, b.shape(), b_layout)?;
        multiply("matmul", Start::Zeros, (a, a_layout), (b, b_layout), Identity)
    }

    fn dense(
        &self,
        input: &Matrix,
        weights: &Matrix,
        bias: &Matrix,
        activation: Activation,
        _: Precision,
    ) -> Result<Matrix> {
        check::dense(input.shape(), weights.shape(), bias.shape())?;
        let [input, weights] = [input, weights].map(|matrix| (matrix, Layout::Plain));
        let bias = Start::Row(&bias.values);
        match activation {
            Activation::Identity => multiply("dense", bias, input, weights, Identity),
            Activation::Relu => multiply("dense", bias, input, weights, Relu),
            Activation::Sigmoid => multiply("dense", bias, input, weights, Sigmoid),
        }
    }

    fn gather(&self, x: &Matrix, scaling: Option<&Scaling<Matrix>>, rows: &[u32]) -> Result<Matrix> {
        check::gather(self, x, scaling, rows)?;
        let mut out = Matrix::filled("gather", rows.len(), x.columns, 0.0)?;
        training::gather(x, scaling, rows, &mut out.values);
        Ok(out)
    }

    fn output_error(
        &self,
        head: Head,
        mut z: Matrix,
        y: &Matrix,
        costs: &mut Matrix,
        at: usize,
    ) -> Result<Matrix> {
        check::output_error(head, z.shape(), y.shape(), costs.shape(), at)?;
        costs.values[at] = (training::output_error(head, &mut z, &y.values) / z.rows as f64) as f32;
        Ok(z)
    }

    fn predictions(&self, head: Head, mut z: Matrix) -> Result<Matrix> {
        training::predictions(head, &mut z);
        Ok(z)
    }

    fn backward(&self, activation: Activation, output: &Matrix, mut gradient: Matrix) -> Result<Matrix> {
        check::backward(output.shape(), gradient.shape())?;
        training::backward(activation, &output.values, &mut gradient.values);
        Ok(gradient)
    }

    fn column_sums(&self, x: &Matrix) -> Result<Matrix> {
        let mut sums = Matrix::filled("column_sums", 1, x.columns, 0.0)?;
        for (out, sum) in sums.values.iter_mut().zip(passes::column_sums(x.view())) {
            *out = sum as f32;
        }
        Ok(sums)
    }

    fn update(
        &self,
        rule: Update,
        parameters: &mut Matrix,
        gradient: &Matrix,
        state: &mut [Matrix],
    ) -> Result<()> {
        check::update(rule, parameters.shape(), gradient.shape(), state.iter().map(Matrix::shape))?;
        training::update(rule, &mut parameters.values, &gradient.values, state);
        Ok(())
    }
}

/// The vector instructions in use.
fn instruction_set() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    match Arch::new() {
        Arch::Scalar => "no AVX2",
        Arch::V3(_) => "AVX2",
        _ => "AVX-512",
    }
    #[cfg(target_arch = "aarch64")]
    match Arch::new() {
        Arch::Scalar => "no NEON",
        _ => "NEON",
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        let _ = Arch::new();
        "scalar"
    }
}

/// Nothing.
#[derive(Clone, Copy)]
struct Identity;

impl RowMap for Identity {
    #[inline(always)]
    fn apply(self, _: &mut [f32]) {}
}

/// max(z, 0); NaN stays.
#[derive(Clone, Copy)]
struct Relu;

impl RowMap for Relu {
    #[inline(always)]
    fn apply(self, row: &mut [f32]) {
        for z in row {
            *z = if *z < 0.0 { 0.0 } else { *z };
        }
    }
}

/// 1 / (1 + e⁻ᶻ)
#[derive(Clone, Copy)]
struct Sigmoid;

impl RowMap for Sigmoid {
    #[inline(always)]
    fn apply(self, row: &mut [f32]) {
        for z in row {
            *z = simd::sigmoid(*z);
        }
    }
}
