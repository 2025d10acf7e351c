//! The engines: one set of operations, four places where they run.
//!
//! | engine | what it is |
//! |---|---|
//! | [`Loop`] | plain loops in `f64`: the reference |
//! | [`Cpu`] | vectorised `f32` on all cores |
//! | [`Emulator`] | the kernels' own source, emulated |
//! | [`Cuda`] | the kernels' PTX on an NVIDIA GPU |

mod check;
mod choice;
mod cpu;
mod cuda;
mod device;
mod emulator;
mod matrix;
mod product;
mod reference;
mod rungs;
mod training;

pub use choice::{Choice, Device, Job};
pub use cpu::Cpu;
pub(crate) use cpu::Gram;
pub use cuda::Cuda;
pub use device::{DeviceEngine, DeviceMatrix};
pub use emulator::Emulator;
pub use matrix::HostMatrix;
pub use reference::Loop;
pub use rungs::{RUNGS_VARIABLE, Rungs};
pub use training::{Head, Update};

use std::sync::Arc;

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

/// The least accuracy that a caller accepts of a product. An engine may always give more: the loop and the cpu engine do.
///
/// | | operands are rounded to | error of an element of AB, at most |
/// |---|---|---|
/// | [`Fp32`](Self::Fp32) | – | γ_k (\|A\|\|B\|), γ_k = ku / (1 − ku), u = 2⁻²⁴ |
/// | [`Tf32`](Self::Tf32) | 11 bits | about 2⁻¹⁰ (\|A\|\|B\|) |
/// | [`Bf16`](Self::Bf16) | 8 bits | about 2⁻⁷ (\|A\|\|B\|) |
///
/// Sums are kept in `f32` in all of them. On a GPU, `Tf32` and `Bf16` let large products go to the tensor cores. Which
/// products do is decided by their shape alone; but how tensor cores add is not documented, so the last bits may
/// differ between generations of GPUs, and from the emulator. `Fp32` has the same bits on all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// As accurate as fused multiply-adds of `f32`.
    #[default]
    Fp32,
    /// As accurate as products of tf32, summed in `f32`.
    Tf32,
    /// As accurate as products of bf16, summed in `f32`.
    Bf16,
}

/// Whether an operand of a product is taken as it is or transposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// As it is stored, row-major.
    Plain,
    /// Its transpose, without making one.
    Transposed,
}

/// What descent makes small: the prediction ŷ of z = Xw + b, and the cost J of ŷ beside y. The gradient is that of both:
/// ∇w = Xᵀe / m, ∇b = Σe / m, with the error e = ŷ − y.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Linear regression: ŷ = z, J = Σe² / (2m).
    SquaredError,
    /// Logistic regression: ŷ = 1 / (1 + e⁻ᶻ), J = −Σ(y ln ŷ + (1 − y) ln(1 − ŷ)) / m, for labels y from 0 to 1.
    LogLoss,
}

impl std::fmt::Display for Loss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Loss::SquaredError => "squared error",
            Loss::LogLoss => "log loss",
        })
    }
}

impl Loss {
    /// ŷ of z.
    #[must_use]
    pub fn prediction(self, z: f64) -> f64 {
        match self {
            Loss::SquaredError => z,
            Loss::LogLoss => Activation::Sigmoid.apply(z),
        }
    }

    /// The share of one sample in m·J: e² / 2, or the log loss as max(z, 0) − yz + ln(1 + e^−|z|), which loses no digits
    /// and overflows nowhere.
    #[must_use]
    pub fn cost(self, z: f64, y: f64) -> f64 {
        match self {
            Loss::SquaredError => (z - y) * (z - y) / 2.0,
            Loss::LogLoss => z.max(0.0) - y * z + (-z.abs()).exp().ln_1p(),
        }
    }
}

/// The cost J that descent makes small: a loss, and a penalty for large weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Objective {
    /// The mean loss over the samples.
    pub loss: Loss,
    /// λ of the penalty λ/2 · Σw², over the weights, not the bias. It adds λw to ∇w. Of `f32`, at least 0.
    pub l2: f64,
}

impl From<Loss> for Objective {
    /// Without a penalty.
    fn from(loss: Loss) -> Self {
        Objective { loss, l2: 0.0 }
    }
}

impl Objective {
    /// The penalty, where Σw² is `squares`.
    fn penalty(self, squares: f64) -> f64 {
        self.l2 / 2.0 * squares
    }
}

/// What steps of descent came by: one value before each step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Descended {
    /// J.
    pub costs: Vec<f64>,
    /// The Euclidean length of the gradient, ‖(∇w, ∇b)‖₂, with the penalty's. On a device its squares are of `f32`: of
    /// what is below 10⁻²³ it is 0, of what is above 10¹⁹ infinite.
    pub gradient_norms: Vec<f64>,
}

/// What a feature's values are counted from and measured in: (x − mean) / deviation, column by column. X itself stays as
/// it is: see [`Engine::descend`].
#[derive(Clone, Debug)]
pub struct Scaling<M> {
    /// The mean of each column (n × 1).
    pub mean: M,
    /// What each column is divided by (n × 1).
    pub deviation: M,
}

/// What descent goes over.
#[derive(Debug)]
pub struct Samples<'a, M> {
    /// Samples × features (m × n).
    pub x: &'a M,
    /// How `x` is to be scaled as it is read; as it is, if `None`.
    pub scaling: Option<&'a Scaling<M>>,
    /// The target, or the labels (m × 1).
    pub y: &'a M,
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
    /// On a GPU the copy is not waited for, and that of 1 MiB or more runs beside what was queued before: to have the next
    /// block copied while the present one is computed on, upload it before reading what comes of the present one.
    ///
    /// # Errors
    /// `values` has another length, or there is no memory.
    fn upload(&self, rows: usize, columns: usize, values: &[f32]) -> Result<Self::Matrix>;

    /// As [`Engine::upload`], of values that others may read too: an engine that computes in the host's memory in `f32`
    /// takes them where they are, so that they are there only once.
    ///
    /// # Errors
    /// As [`Engine::upload`].
    fn share(&self, rows: usize, columns: usize, values: &Arc<Vec<f32>>) -> Result<Self::Matrix> {
        self.upload(rows, columns, values)
    }

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

    /// The scaling by `moments`, each rounded to `f32`, so that every engine has the same numbers.
    ///
    /// # Errors
    /// Another number of means than of deviations, one that is not finite in `f32`, a deviation that is not above 0 there,
    /// or the engine failed.
    fn scaling(&self, moments: &Moments) -> Result<Scaling<Self::Matrix>> {
        let narrow = |values: &[f64]| values.iter().map(|&value| value as f32).collect::<Vec<f32>>();
        let (mean, deviation) = (narrow(&moments.mean), narrow(&moments.standard_deviation));
        check::moments(&mean, &deviation)?;
        Ok(Scaling {
            mean: self.upload(mean.len(), 1, &mean)?,
            deviation: self.upload(deviation.len(), 1, &deviation)?,
        })
    }

    /// `steps` steps of full-batch gradient descent; returns the cost and the gradient's length before each.
    ///
    /// With z = Xw + b over m samples, and ŷ and J as [`Loss`] and [`Objective`] say: e = ŷ − y, ∇w = Xᵀe / m + λw, ∇b = Σe / m,
    /// w := w − α∇w, b := b − α∇b. `x` is m × n, `y` m × 1, `weights` n × 1, `bias` 1 × 1. With a scaling, X stands for
    /// the scaled values, and w is for these; X in memory is not changed. A value is taken as x − mean when it is read,
    /// so that means far from 0 cost no digits; the division is of weights and gradient. That rounds each product with a
    /// scaled value x by a few u relative, as scaling X first would, and by no more than 2⁻¹⁵⁰(|x|σ + 1/σ) beside that.
    ///
    /// # Errors
    /// Shapes that do not fit, m = 0, labels outside 0 to 1 for [`Loss::LogLoss`], or the engine failed.
    fn descend(
        &self,
        objective: impl Into<Objective>,
        samples: &Samples<'_, Self::Matrix>,
        weights: &mut Self::Matrix,
        bias: &mut Self::Matrix,
        learning_rate: f64,
        steps: usize,
    ) -> Result<Descended>;

    /// The cost J of [`Engine::descend`].
    ///
    /// # Errors
    /// As [`Engine::descend`].
    fn cost(
        &self,
        objective: impl Into<Objective>,
        samples: &Samples<'_, Self::Matrix>,
        weights: &Self::Matrix,
        bias: &Self::Matrix,
    ) -> Result<f64>;

    /// Xw + b (m × 1) for `x` m × n, `weights` n × 1, `bias` 1 × 1. `scaling` as in [`Engine::descend`].
    ///
    /// # Errors
    /// Shapes that do not fit, or the engine failed.
    fn matrix_vector(
        &self,
        x: &Self::Matrix,
        scaling: Option<&Scaling<Self::Matrix>>,
        weights: &Self::Matrix,
        bias: &Self::Matrix,
    ) -> Result<Self::Matrix>;

    /// Xᵀe / m (n × 1) for `x` m × n, `e` m × 1, m ≥ 1. `scaling` as in [`Engine::descend`].
    ///
    /// # Errors
    /// Shapes that do not fit, or the engine failed.
    fn gradient(
        &self,
        x: &Self::Matrix,
        scaling: Option<&Scaling<Self::Matrix>>,
        e: &Self::Matrix,
    ) -> Result<Self::Matrix>;

    /// op(A) op(B), with either operand transposed, at least as accurate as `precision`.
    ///
    /// # Errors
    /// Inner sides that differ, or the engine failed.
    fn matmul(
        &self,
        a: &Self::Matrix,
        a_layout: Layout,
        b: &Self::Matrix,
        b_layout: Layout,
        precision: Precision,
    ) -> Result<Self::Matrix>;

    /// A dense layer: g(A W + b) for `input` batch × n_in, `weights` n_in × units, `bias` 1 × units; the product
    /// at least as accurate as `precision`.
    ///
    /// # Errors
    /// Shapes that do not fit, or the engine failed.
    fn dense(
        &self,
        input: &Self::Matrix,
        weights: &Self::Matrix,
        bias: &Self::Matrix,
        activation: Activation,
        precision: Precision,
    ) -> Result<Self::Matrix>;

    /// Dense layers one after the other, each with the output of the one before as its input.
    ///
    /// Each element is within the bound of [`Engine::dense`], layer by layer. An engine may do several small layers at
    /// once, as accurate as fp32 and with sums in another order than one by one; which ones depends on the shapes alone.
    ///
    /// # Errors
    /// No layers, shapes that do not fit, or the engine failed.
    fn network(
        &self,
        input: &Self::Matrix,
        layers: &[Layer<'_, Self::Matrix>],
        precision: Precision,
    ) -> Result<Self::Matrix> {
        let (first, rest) = layers.split_first().ok_or_else(check::no_layers)?;
        let first = first.of(self, input, precision)?;
        rest.iter().try_fold(first, |input, layer| layer.of(self, &input, precision))
    }

    /// Rows of `x` (m × n) in the order of `rows`, which may name one several times: `rows.len()` × n. With a scaling each
    /// value is (x − mean) / deviation, rounded twice: the same bits on every engine that computes in `f32`.
    ///
    /// # Errors
    /// [`Error::Data`] for the first of `rows` that is no row of `x`; a scaling of another shape, or the engine failed.
    fn gather(
        &self,
        x: &Self::Matrix,
        scaling: Option<&Scaling<Self::Matrix>>,
        rows: &[u32],
    ) -> Result<Self::Matrix>;

    /// e = (ŷ − y) / m (m × k), J's derivative by z, for z = `z` (m × k), m ≥ 1, k ≥ 1; ŷ, J and the shape of `y` as
    /// [`Head`] says. J goes into row `at` of `costs` (steps × 1), which stays on the engine's side: nothing is waited for.
    ///
    /// A label that the head has no cost for makes J NaN, and e where it counts: one outside 0 to 1 for [`Head::Sigmoid`] its
    /// element, for [`Head::Softmax`] one that is not the number of a class its row. Labels are not refused, as that would take reading
    /// them back in each step: see to them once.
    ///
    /// An engine in `f32` has an element of ŷ within a few units in the last place and u·|z − max z|·ŷ, and J within
    /// such a share of the costs of the samples. No power overflows, however far out z is.
    ///
    /// # Errors
    /// Shapes that do not fit, or the engine failed.
    fn output_error(
        &self,
        head: Head,
        z: Self::Matrix,
        y: &Self::Matrix,
        costs: &mut Self::Matrix,
        at: usize,
    ) -> Result<Self::Matrix>;

    /// ŷ of `z`, as [`Head`] says: of the shape of `z`. Softmax takes a row's maximum off first.
    ///
    /// # Errors
    /// The engine failed.
    fn predictions(&self, head: Head, z: Self::Matrix) -> Result<Self::Matrix>;

    /// dZ = dA ⊙ g′ (m × n): back through the activation of a layer whose output was A = `output`, from
    /// dA = `gradient`, both m × n. g′ from the output: 1 for the identity; 1 where A > 0 and 0 elsewhere for ReLU, where
    /// dZ is then exactly dA and exactly 0; A(1 − A) for sigmoid.
    ///
    /// # Errors
    /// Shapes that differ, or the engine failed.
    fn backward(
        &self,
        activation: Activation,
        output: &Self::Matrix,
        gradient: Self::Matrix,
    ) -> Result<Self::Matrix>;

    /// Σ of each column of `x` (m × n): 1 × n. The gradient of a layer's bias is that of its dZ.
    ///
    /// # Errors
    /// The engine failed.
    fn column_sums(&self, x: &Self::Matrix) -> Result<Self::Matrix>;

    /// One step of `parameters` by `gradient`, of the same shape, as [`Update`] says. `state` is what the rule keeps
    /// from step to step ([`Update::states`]), each matrix of that shape too, and of zeros before the first step.
    ///
    /// # Errors
    /// Shapes that differ, another number of states than the rule has, Adam's step 0; or the engine failed.
    fn update(
        &self,
        rule: Update,
        parameters: &mut Self::Matrix,
        gradient: &Self::Matrix,
        state: &mut [Self::Matrix],
    ) -> Result<()>;
}

/// A dense layer of a network: g(A W + b).
#[derive(Debug)]
pub struct Layer<'a, M> {
    /// W: inputs × units.
    pub weights: &'a M,
    /// b: 1 × units.
    pub bias: &'a M,
    /// g
    pub activation: Activation,
}

impl<M> Layer<'_, M> {
    /// The layer's output for this input.
    fn of<E: Engine<Matrix = M> + ?Sized>(&self, engine: &E, input: &M, precision: Precision) -> Result<M> {
        engine.dense(input, self.weights, self.bias, self.activation, precision)
    }
}
