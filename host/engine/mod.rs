//! The engines: one set of operations, four places where they run.
//!
//! | engine | what it is |
//! |---|---|
//! | [`Loop`] | plain loops in `f64`: the reference |
//! | [`Cpu`] | vectorised `f32` on all cores |
//! | [`Emulator`] | the kernels' own source, emulated |
//! | [`Cuda`] | the kernels' PTX on an NVIDIA GPU |

mod check;
mod cpu;
mod cuda;
mod device;
mod emulator;
mod matrix;
mod product;
mod reference;

pub use cpu::Cpu;
pub(crate) use cpu::gram;
pub use cuda::Cuda;
pub use device::{DeviceEngine, DeviceMatrix};
pub use emulator::Emulator;
pub use matrix::HostMatrix;
pub use reference::Loop;

use crate::{Error, Result};

/// What the epilogue of a dense layer applies to each element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// g(z) = z
    Identity,
    /// g(z) = max(z, 0)
    Relu,
    /// g(z) = 1 / (1 + e⁻ᶻ)
    Sigmoid,
}

/// Whether an operand of a product is taken as it is or transposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// As it is stored, row-major.
    Plain,
    /// Its transpose, without making one.
    Transposed,
}

/// Mean and population standard deviation of each column.
#[derive(Clone, Debug, PartialEq)]
pub struct Moments {
    /// The mean of each column.
    pub mean: Vec<f64>,
    /// The population standard deviation (divisor m) of each column.
    pub standard_deviation: Vec<f64>,
}

/// The operations that models are made of. Data stay on the engine's side between them.
///
/// On every engine the same operation on the same operands gives the same bits, however often and on however many
/// threads; engines differ from each other within the bounds that each documents. Operands that do not fit are
/// refused with [`Error::Shape`] and both shapes, and nothing is changed then. A side may be 0
/// wherever the formula has a value for it.
pub trait Engine {
    /// A row-major matrix on the engine's side; a vector is a matrix of one column.
    type Matrix;

    /// What this engine runs on, for people: "cpu (2 threads, AVX2)", "NVIDIA H200 (CUDA 13.0)".
    fn description(&self) -> String;

    /// What decides the bits of its results: engines that answer the same, on machines of the same kind, give the same
    /// bits. "cpu, AVX2".
    fn arithmetic(&self) -> String;

    /// How many products of two numbers, of those that AᵀA is summed of, the host computes in the time in which a step
    /// of descent here goes over one value of X. `None` where that has not been measured. For
    /// [`Method::Auto`](crate::models::Method::Auto).
    fn products_per_value(&self) -> Option<f64> {
        None
    }

    /// A `rows` × `columns` matrix with a copy of `values`, row by row.
    ///
    /// # Errors
    /// `values` has another length, or there is no memory.
    fn upload(&self, rows: usize, columns: usize, values: &[f32]) -> Result<Self::Matrix>;

    /// The values of a matrix, row by row (exact: `f32` in `f64`, or the reference's own `f64`).
    ///
    /// # Errors
    /// The engine failed, now or in an operation queued before.
    fn read(&self, matrix: &Self::Matrix) -> Result<Vec<f64>>;

    /// The matrix that [`Engine::read`] gave `values` of, on an engine of the same [arithmetic](Engine::arithmetic).
    ///
    /// # Errors
    /// As [`Engine::upload`], or a value that is none of this engine's.
    fn restore(&self, rows: usize, columns: usize, values: &[f64]) -> Result<Self::Matrix> {
        let narrow: Vec<f32> = values.iter().map(|&value| value as f32).collect();
        let differs = |(value, narrow): &(&f64, &f32)| **value != f64::from(**narrow) && !value.is_nan();
        match values.iter().zip(&narrow).find(differs) {
            None => self.upload(rows, columns, &narrow),
            Some((value, _)) => Err(Error::Data(format!(
                "restore: {value:e} is no value of 32 bits, so it was not read from this engine; restore what was"
            ))),
        }
    }

    /// Rows and columns of a matrix.
    fn shape(&self, matrix: &Self::Matrix) -> (usize, usize);

    /// Waits until all queued operations are done.
    ///
    /// # Errors
    /// One of them failed.
    fn synchronize(&self) -> Result<()>;

    /// Mean and population standard deviation of each column of `x` (m × n), m ≥ 1.
    ///
    /// # Errors
    /// `x` has no rows, or the engine failed.
    fn column_moments(&self, x: &Self::Matrix) -> Result<Moments>;

    /// x := (x − mean) / standard deviation, column by column. A deviation of 0 is an error of the caller's.
    ///
    /// # Errors
    /// `moments` is not of x's columns, holds a zero deviation, or the engine failed.
    fn standardise(&self, x: &mut Self::Matrix, moments: &Moments) -> Result<()>;

    /// `steps` steps of full-batch gradient descent for the linear model; returns the cost before each.
    ///
    /// With e = Xw + b − y over m samples: J = Σe² / (2m), ∇w = Xᵀe / m, ∇b = Σe / m,
    /// w := w − α∇w, b := b − α∇b. `x` is m × n, `y` m × 1, `weights` n × 1, `bias` 1 × 1.
    ///
    /// # Errors
    /// Shapes that do not fit, m = 0, or the engine failed.
    fn descend_linear(
        &self,
        x: &Self::Matrix,
        y: &Self::Matrix,
        weights: &mut Self::Matrix,
        bias: &mut Self::Matrix,
        learning_rate: f64,
        steps: usize,
    ) -> Result<Vec<f64>>;

    /// The cost J = Σ(Xw + b − y)² / (2m) of the linear model.
    ///
    /// # Errors
    /// As [`Engine::descend_linear`].
    fn cost_linear(
        &self,
        x: &Self::Matrix,
        y: &Self::Matrix,
        weights: &Self::Matrix,
        bias: &Self::Matrix,
    ) -> Result<f64>;

    /// Xw + b (m × 1) for `x` m × n, `weights` n × 1, `bias` 1 × 1.
    ///
    /// # Errors
    /// Shapes that do not fit, or the engine failed.
    fn matrix_vector(
        &self,
        x: &Self::Matrix,
        weights: &Self::Matrix,
        bias: &Self::Matrix,
    ) -> Result<Self::Matrix>;

    /// Xᵀe / m (n × 1) for `x` m × n, `e` m × 1, m ≥ 1.
    ///
    /// # Errors
    /// Shapes that do not fit, or the engine failed.
    fn gradient(&self, x: &Self::Matrix, e: &Self::Matrix) -> Result<Self::Matrix>;

    /// op(A) op(B), with either operand transposed.
    ///
    /// # Errors
    /// Inner sides that differ, or the engine failed.
    fn matmul(
        &self,
        a: &Self::Matrix,
        a_layout: Layout,
        b: &Self::Matrix,
        b_layout: Layout,
    ) -> Result<Self::Matrix>;

    /// A dense layer: g(A W + b) for `input` batch × n_in, `weights` n_in × units, `bias` 1 × units.
    ///
    /// # Errors
    /// Shapes that do not fit, or the engine failed.
    fn dense(
        &self,
        input: &Self::Matrix,
        weights: &Self::Matrix,
        bias: &Self::Matrix,
        activation: Activation,
    ) -> Result<Self::Matrix>;
}
