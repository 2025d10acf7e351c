//! The engine of everything that runs the kernels: the emulator and CUDA differ in the [`Device`] alone.
//!
//! All data stay on the device. A whole run of gradient descent is queued there, and only its costs are read back,
//! once, at the end. Every sum is added up in an order that the shapes alone decide, so the same operands give the
//! same bits.

mod descent;
mod network;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use cuda_std::{Arguments, Buffer, Device, Kernel, Parameters};
use kernels::descent::{finish, gradient};
use kernels::matmul::split_k;
use kernels::training::{backward, gather, output_error, softmax, update};
use kernels::{elementwise, reduce};

use super::product::{self, Rung};
use super::{
    Activation, Descended, Engine, Head, Layer, Layout, Moments, Objective, Precision, Rungs, Samples,
    Scaling, Update, check,
};
use crate::cuda::Version;
use crate::{Error, Result};

/// The most elements of a matrix: with this many every kernel's grid is within CUDA's limits.
const MOST_ELEMENTS: usize = (i32::MAX as usize) << 8;

/// An engine that runs the kernels on a device `D`, in `f32`.
pub struct DeviceEngine<D: Device> {
    device: D,
    /// The meeting place of the blocks of a network's launch, made when it is first wanted. Launches follow each other, so
    /// one will do.
    barrier: Mutex<Option<Buffer<u32, D>>>,
    description: String,
    arithmetic: String,
    /// Its compute capability, if it has one.
    architecture: Option<Version>,
    /// From which sizes on each of the product's kernels is taken, unless by estimates.
    rungs: Option<Rungs>,
    /// Tells this engine's matrices from those of another engine on the same type of device.
    identity: u64,
}

/// A row-major matrix in a device's memory. It belongs to the engine that made it.
pub struct DeviceMatrix<D: Device> {
    rows: u32,
    columns: u32,
    buffer: Buffer<f32, D>, // (rows × columns)
    engine: u64,
}

impl<D: Device> DeviceMatrix<D> {
    /// Rows and columns.
    #[must_use]
    pub fn shape(&self) -> (usize, usize) {
        (self.rows as usize, self.columns as usize)
    }
}

impl<D: Device> DeviceEngine<D> {
    /// An engine on `device`; `description` and `arithmetic` are what [`Engine`]'s methods of these names answer.
    #[must_use]
    pub fn on(device: D, description: String, arithmetic: String) -> Self {
        static ENGINES: AtomicU64 = AtomicU64::new(0);
        let identity = ENGINES.fetch_add(1, Ordering::Relaxed);
        let barrier = Mutex::new(None);
        DeviceEngine { device, barrier, description, arithmetic, architecture: None, rungs: None, identity }
    }

    /// The same engine with the fastest kernels for GPUs of this compute capability. Results have the same bits.
    #[must_use]
    pub fn for_architecture(self, capability: Version) -> Self {
        DeviceEngine { architecture: Some(capability), ..self }
    }

    /// The same engine that takes the product's kernels from these sizes on. Where they take tensor cores for
    /// [`Precision::Fp32`] results have other bits, and [`Engine::arithmetic`] says so.
    #[must_use]
    pub fn with_rungs(self, rungs: Rungs) -> Self {
        DeviceEngine { rungs: Some(rungs), ..self }
    }

    /// From which sizes on each of the product's kernels is taken.
    fn rungs(&self) -> Rungs {
        self.rungs.unwrap_or_else(|| Rungs::estimated(self.architecture))
    }

    /// Fails if one of `matrices` belongs to another engine: its memory may be in another place, and what was
    /// queued for it there is not waited for here.
    fn own<const N: usize>(&self, operation: &'static str, matrices: [&DeviceMatrix<D>; N]) -> Result<()> {
        if matrices.iter().all(|matrix| matrix.engine == self.identity) {
            return Ok(());
        }
        let problem =
            "a matrix belongs to another engine; read it there and upload it to this one".to_owned();
        Err(Error::Shape { operation, problem })
    }
}

/// Rows and columns as the kernels take them.
fn sides(operation: &'static str, (rows, columns): check::Shape) -> Result<(u32, u32)> {
    let too_large = || Error::Shape {
        operation,
        problem: format!(
            "a matrix of {rows} × {columns} is too large for the kernels, which take sides up to {} and {MOST_ELEMENTS} \
             elements; split it",
            u32::MAX
        ),
    };
    if check::elements(operation, (rows, columns), size_of::<f32>())? > MOST_ELEMENTS {
        return Err(too_large());
    }
    match (u32::try_from(rows), u32::try_from(columns)) {
        (Ok(rows), Ok(columns)) => Ok((rows, columns)),
        _ => Err(too_large()),
    }
}

/// What holds for every launch: each buffer is as long as the kernel and the sizes that it is given ask for.
fn long_enough<D: Device, const N: usize>(
    kernel: &'static str,
    buffers: [(&Buffer<f32, D>, usize); N],
) -> Result<()> {
    for (buffer, wanted) in buffers {
        if buffer.len() < wanted {
            let problem =
                format!("a buffer of {} values is given where the kernel uses {wanted}", buffer.len());
            return Err(Error::Shape { operation: kernel, problem });
        }
    }
    Ok(())
}

impl<D: Device> DeviceEngine<D>
where
    Error: From<D::Error>,
{
    fn allocate(&self, length: usize) -> Result<Buffer<f32, D>> {
        Ok(self.device.allocate(length)?)
    }

    /// A matrix with unspecified contents.
    fn matrix(&self, operation: &'static str, shape: check::Shape) -> Result<DeviceMatrix<D>> {
        let (rows, columns) = sides(operation, shape)?;
        let buffer = self.allocate(shape.0 * shape.1)?;
        Ok(DeviceMatrix { rows, columns, buffer, engine: self.identity })
    }

    /// Memory for the partial sums of an m × n product that is split along k.
    fn partials(&self, splits: usize, m: usize, n: usize) -> Result<Buffer<f32, D>> {
        // Not more than `splits` times C, which is small where there are several.
        self.allocate(splits * m * n)
    }

    /// # Safety
    /// The buffers are as long as the kernel asks for with this grid and these sizes.
    unsafe fn launch<P: Parameters, A: Arguments<P, D>>(
        &self,
        kernel: &Kernel<P>,
        grid: [u32; 3],
        arguments: A,
    ) -> Result<()> {
        if grid.contains(&0) {
            return Ok(());
        }
        // SAFETY: the caller's promise.
        Ok(unsafe { self.device.launch(kernel, grid, arguments) }?)
    }

    /// Calls `work` with the mean and the deviation of each of n columns, as the kernels take them: without a scaling
    /// zeros and ones, which change no bit.
    fn with_scaling<T>(
        &self,
        operation: &'static str,
        scaling: Option<&Scaling<DeviceMatrix<D>>>,
        n: u32,
        work: impl FnOnce(&Buffer<f32, D>, &Buffer<f32, D>) -> Result<T>,
    ) -> Result<T> {
        if let Some(Scaling { mean, deviation }) = scaling {
            self.own(operation, [mean, deviation])?;
            return work(&mean.buffer, &deviation.buffer);
        }
        work(&self.filled(0.0, n)?, &self.filled(1.0, n)?)
    }

    /// A column of n equal values.
    fn filled(&self, value: f32, n: u32) -> Result<Buffer<f32, D>> {
        Ok(self.device.upload(&vec![value; n as usize])?)
    }
}

impl<D: Device> Engine for DeviceEngine<D>
where
    Error: From<D::Error>,
{
    type Matrix = DeviceMatrix<D>;

    fn description(&self) -> String {
        self.description.clone()
    }

    fn arithmetic(&self) -> String {
        match self.rungs().arithmetic() {
            Some(rungs) => format!("{}, {rungs}", self.arithmetic),
            None => self.arithmetic.clone(),
        }
    }

    fn upload(&self, rows: usize, columns: usize, values: &[f32]) -> Result<Self::Matrix> {
        check::upload((rows, columns), values.len(), size_of::<f32>())?;
        let (rows, columns) = sides("upload", (rows, columns))?;
        Ok(DeviceMatrix { rows, columns, buffer: self.device.upload(values)?, engine: self.identity })
    }

    fn read(&self, matrix: &Self::Matrix) -> Result<Vec<f64>> {
        self.own("read", [matrix])?;
        Ok(self.device.download(&matrix.buffer)?.into_iter().map(f64::from).collect())
    }

    fn shape(&self, matrix: &Self::Matrix) -> (usize, usize) {
        matrix.shape()
    }

    fn synchronize(&self) -> Result<()> {
        Ok(self.device.synchronize()?)
    }

    fn column_moments(&self, x: &Self::Matrix) -> Result<Moments> {
        check::column_moments(x.shape())?;
        self.own("column_moments", [x])?;
        let (m, n) = (x.rows, x.columns);
        let (rows, columns) = x.shape();
        let grid = reduce::column_moments::grid(rows, columns);
        let row_blocks = grid[1];
        let mut means = self.allocate(row_blocks as usize * columns)?; // (row blocks × n)
        let mut squares = self.allocate(row_blocks as usize * columns)?; // (row blocks × n)
        let mut mean = self.allocate(columns)?;
        let mut standard_deviation = self.allocate(columns)?;
        // SAFETY: x is m × n; the others were made for it and the grid.
        unsafe {
            let arguments = (m, n, &x.buffer, &mut means, &mut squares);
            self.launch(&reduce::column_moments::COLUMN_MOMENTS, grid, arguments)
        }?;
        // SAFETY: as above.
        unsafe {
            let grid = reduce::column_moments::finish_grid(columns);
            let arguments = (m, n, row_blocks, &means, &squares, &mut mean, &mut standard_deviation);
            self.launch(&reduce::column_moments::COLUMN_MOMENTS_FINISH, grid, arguments)
        }?;
        let wide = |buffer| -> Result<Vec<f64>> {
            Ok(self.device.download(buffer)?.into_iter().map(f64::from).collect())
        };
        Ok(Moments { mean: wide(&mean)?, standard_deviation: wide(&standard_deviation)? })
    }

    fn descend(
        &self,
        objective: impl Into<Objective>,
        samples: &Samples<'_, Self::Matrix>,
        weights: &mut Self::Matrix,
        bias: &mut Self::Matrix,
        learning_rate: f64,
        steps: usize,
    ) -> Result<Descended> {
        let objective = objective.into();
        check::descent(self, "descend", samples, weights, bias)?;
        let Samples { x, scaling, y } = *samples;
        self.own("descend", [x, y, weights, bias])?;
        self.with_scaling("descend", scaling, x.columns, |mean, deviation| {
            let mut work = self.steps("descend", objective.loss, samples, [mean, deviation], steps)?;
            let rates = [learning_rate, objective.l2].map(|rate| rate as f32);
            self.device.repeat(steps, |_| -> Result<()> {
                self.run_pass(&mut work, &weights.buffer, &bias.buffer)?;
                self.run_finish(&mut work, rates, &mut weights.buffer, &mut bias.buffer)
            })?;
            let losses = self.device.download(&work.history)?;
            let squares = self.device.download(&work.squares)?;
            let mut descended = Descended::default();
            for (loss, squares) in losses.into_iter().zip(squares.chunks_exact(2 * work.step.len())) {
                let sum =
                    |which| squares.iter().skip(which).step_by(2).map(|&square| f64::from(square)).sum();
                descended.gradient_norms.push(f64::sqrt(sum(0)));
                descended.costs.push(f64::from(loss) + objective.penalty(sum(1)));
            }
            Ok(descended)
        })
    }

    fn cost(
        &self,
        objective: impl Into<Objective>,
        samples: &Samples<'_, Self::Matrix>,
        weights: &Self::Matrix,
        bias: &Self::Matrix,
    ) -> Result<f64> {
        let objective = objective.into();
        check::descent(self, "cost", samples, weights, bias)?;
        let Samples { x, scaling, y } = *samples;
        self.own("cost", [x, y, weights, bias])?;
        self.with_scaling("cost", scaling, x.columns, |mean, deviation| {
            let mut work = self.steps("cost", objective.loss, samples, [mean, deviation], 1)?;
            self.run_pass(&mut work, &weights.buffer, &bias.buffer)?;
            // A step of others, which nobody wants: the weights stay as they are.
            let (mut others, mut bias) = (self.filled(0.0, x.columns)?, self.filled(0.0, 1)?);
            self.run_finish(&mut work, [0.0; 2], &mut others, &mut bias)?;
            let loss = f64::from(self.device.download(&work.history)?[0]);
            if objective.l2 == 0.0 {
                return Ok(loss);
            }
            let weights = self.device.download(&weights.buffer)?;
            let squares = weights.into_iter().map(|weight| f64::from(weight) * f64::from(weight)).sum();
            Ok(loss + objective.penalty(squares))
        })
    }

    fn matrix_vector(
        &self,
        x: &Self::Matrix,
        scaling: Option<&Scaling<Self::Matrix>>,
        weights: &Self::Matrix,
        bias: &Self::Matrix,
    ) -> Result<Self::Matrix> {
        check::matrix_vector(self, x, scaling, weights, bias)?;
        self.own("matrix_vector", [x, weights, bias])?;
        let mut out = self.matrix("matrix_vector", (x.rows as usize, 1))?;
        self.with_scaling("matrix_vector", scaling, x.columns, |mean, deviation| {
            let mut folded = self.allocate(x.columns as usize)?;
            self.run_fold(&weights.buffer, deviation, &mut folded)?;
            self.run_matrix_vector(x, mean, &folded, &bias.buffer, &mut out.buffer)
        })?;
        Ok(out)
    }

    fn gradient(
        &self,
        x: &Self::Matrix,
        scaling: Option<&Scaling<Self::Matrix>>,
        e: &Self::Matrix,
    ) -> Result<Self::Matrix> {
        check::gradient(self, x, scaling, e)?;
        self.own("gradient", [x, e])?;
        let (rows, columns) = x.shape();
        let blocks = gradient::row_blocks(rows, columns);
        let mut partials = self.allocate(blocks * (columns + 2))?;
        // 0 − (−1) ∇w; the bias and the cost, here of the errors, are not wanted.
        let mut gradient = self.upload(columns, 1, &vec![0.0; columns])?;
        let (mut bias, mut history) = (self.filled(0.0, 1)?, self.allocate(1)?);
        let strips = finish::grid(columns)[0] as usize;
        let (mut squares, mut step) = (self.allocate(2 * strips)?, self.device.upload(&vec![0_u32; strips])?);
        self.with_scaling("gradient", scaling, x.columns, |mean, deviation| {
            self.run_gradient(x, mean, &e.buffer, &e.buffer, &mut partials)?;
            let grid = finish::grid(columns);
            let out = &mut gradient.buffer;
            let arguments = (
                x.rows,
                x.columns,
                blocks as u32,
                1,
                -1.0,
                0.0,
                &partials,
                deviation,
                out,
                &mut bias,
                &mut history,
                &mut squares,
                &mut step,
            );
            // SAFETY: x is m × n; the others were made for it and the grid, or compared with it.
            unsafe { self.launch(&finish::DESCENT_FINISH, grid, arguments) }
        })?;
        Ok(gradient)
    }

    fn matmul(
        &self,
        a: &Self::Matrix,
        a_layout: Layout,
        b: &Self::Matrix,
        b_layout: Layout,
        precision: Precision,
    ) -> Result<Self::Matrix> {
        let (m, n, k) = check::matmul(a.shape(), a_layout, b.shape(), b_layout)?;
        self.own("matmul", [a, b])?;
        let mut c = self.matrix("matmul", (m, n))?;
        let rung = product::rung(&self.rungs(), precision, [m, n, k]);
        let (kernel, grid) = (rung.product(a_layout, b_layout), rung.grid(m, n));
        let (rows, columns, steps) = (m as u32, n as u32, k as u32); // the sides of matrices: they fit
        match rung {
            Rung::SplitK { splits } if splits > 1 => {
                let mut partials = self.partials(splits, m, n)?;
                // SAFETY: op(A) is m × k and op(B) k × n, as was checked; the partial sums were made for the grid.
                unsafe {
                    self.launch(kernel, grid, (rows, columns, steps, &a.buffer, &b.buffer, &mut partials))
                }?;
                let arguments = (rows, columns, splits as u32, &partials, &mut c.buffer);
                let (finish, grid) = (&split_k::MATMUL_SPLIT_K_FINISH, split_k::finish_grid(m, n));
                // SAFETY: as above; C was made m × n.
                unsafe { self.launch(finish, grid, arguments) }?;
            }
            _ => {
                let arguments = (rows, columns, steps, &a.buffer, &b.buffer, &mut c.buffer);
                // SAFETY: op(A) is m × k and op(B) k × n, as was checked; C was made m × n.
                unsafe { self.launch(kernel, grid, arguments) }?;
            }
        }
        Ok(c)
    }

    fn dense(
        &self,
        input: &Self::Matrix,
        weights: &Self::Matrix,
        bias: &Self::Matrix,
        activation: Activation,
        precision: Precision,
    ) -> Result<Self::Matrix> {
        let (batch, units, inputs) = check::dense(input.shape(), weights.shape(), bias.shape())?;
        self.own("dense", [input, weights, bias])?;
        let mut out = self.matrix("dense", (batch, units))?;
        let rung = product::rung(&self.rungs(), precision, [batch, units, inputs]);
        let (rows, columns, steps) = (input.rows, weights.columns, input.columns);
        if let Some(kernel) = rung.layer(activation) {
            let arguments =
                (rows, columns, steps, &input.buffer, &weights.buffer, &bias.buffer, &mut out.buffer);
            // SAFETY: weights are inputs × units and bias 1 × units, as was checked; out was made batch × units.
            unsafe { self.launch(kernel, rung.grid(batch, units), arguments) }?;
            return Ok(out);
        }
        let kernel = rung.product(Layout::Plain, Layout::Plain);
        let grid = rung.grid(batch, units);
        let splits = grid[1];
        let mut partials = self.partials(splits as usize, batch, units)?;
        // SAFETY: as above; the partial sums were made for the grid.
        unsafe {
            self.launch(kernel, grid, (rows, columns, steps, &input.buffer, &weights.buffer, &mut partials))
        }?;
        let arguments = (rows, columns, splits, &partials, &bias.buffer, &mut out.buffer);
        // SAFETY: as above.
        unsafe {
            self.launch(product::layer_finish(activation), split_k::finish_grid(batch, units), arguments)
        }?;
        Ok(out)
    }

    fn network(
        &self,
        input: &Self::Matrix,
        layers: &[Layer<'_, Self::Matrix>],
        precision: Precision,
    ) -> Result<Self::Matrix> {
        let mut layers = layers;
        let mut output: Option<Self::Matrix> = None;
        while !layers.is_empty() {
            let input = output.as_ref().unwrap_or(input);
            let (done, rest) = match layers {
                [first, second, third, rest @ ..] if network::together(input, [first, second, third]) => {
                    (self.three_layers(input, [first, second, third])?, rest)
                }
                [layer, rest @ ..] => (layer.of(self, input, precision)?, rest),
                [] => break,
            };
            (output, layers) = (Some(done), rest);
        }
        output.ok_or_else(check::no_layers)
    }

    fn gather(
        &self,
        x: &Self::Matrix,
        scaling: Option<&Scaling<Self::Matrix>>,
        rows: &[u32],
    ) -> Result<Self::Matrix> {
        check::gather(self, x, scaling, rows)?;
        self.own("gather", [x])?;
        let (m, n) = (rows.len(), x.columns as usize);
        let mut out = self.matrix("gather", (m, n))?;
        let (rows, columns, grid) = (self.device.upload(rows)?, x.columns, gather::grid(m, n));
        let count = out.rows;
        match scaling {
            None => {
                let arguments = (count, columns, &x.buffer, &rows, &mut out.buffer);
                // SAFETY: the rows are rows of x, as was checked; out was made for as many of its columns.
                unsafe { self.launch(&gather::GATHER, grid, arguments) }?;
            }
            Some(Scaling { mean, deviation }) => {
                self.own("gather", [mean, deviation])?;
                let (mean, deviation) = (&mean.buffer, &deviation.buffer);
                let arguments = (count, columns, &x.buffer, mean, deviation, &rows, &mut out.buffer);
                // SAFETY: as above; mean and deviation were compared with x.
                unsafe { self.launch(&gather::GATHER_SCALED, grid, arguments) }?;
            }
        }
        Ok(out)
    }

    fn output_error(
        &self,
        head: Head,
        mut z: Self::Matrix,
        y: &Self::Matrix,
        costs: &mut Self::Matrix,
        at: usize,
    ) -> Result<Self::Matrix> {
        check::output_error(head, z.shape(), y.shape(), costs.shape(), at)?;
        self.own("output_error", [&z, y, costs])?;
        let (m, n) = z.shape();
        let (kernel, grid) = match head {
            Head::Identity => (&output_error::OUTPUT_ERROR_IDENTITY, output_error::grid(m, n)),
            Head::Sigmoid => (&output_error::OUTPUT_ERROR_SIGMOID, output_error::grid(m, n)),
            Head::Softmax => (&softmax::OUTPUT_ERROR_SOFTMAX, softmax::grid(m, n)),
        };
        let [blocks, ..] = grid;
        let mut partials = self.allocate(blocks as usize)?;
        let arguments = (z.rows, z.columns, &mut z.buffer, &y.buffer, &mut partials);
        // SAFETY: y was compared with z; the partial sums were made for the grid.
        unsafe { self.launch(kernel, grid, arguments) }?;
        let arguments = (z.rows, blocks, at as u32, &partials, &mut costs.buffer);
        // SAFETY: as above; the place was compared with the costs, which have that many rows at most.
        unsafe { self.launch(&output_error::COST, [1, 1, 1], arguments) }?;
        Ok(z)
    }

    fn predictions(&self, head: Head, mut z: Self::Matrix) -> Result<Self::Matrix> {
        self.own("predictions", [&z])?;
        let (m, n) = z.shape();
        match head {
            Head::Identity => Ok(z),
            Head::Sigmoid => {
                let mut out = self.matrix("predictions", (m, n))?;
                let count = u32::try_from(m * n).map_err(|_| Error::Shape {
                    operation: "predictions",
                    problem: format!("z of {m} × {n} has more than {} elements; take fewer rows", u32::MAX),
                })?;
                let arguments = (count, &z.buffer, &mut out.buffer);
                // SAFETY: out was made for as many elements as z has.
                unsafe { self.launch(&elementwise::SIGMOID, elementwise::grid(m * n), arguments) }?;
                Ok(out)
            }
            Head::Softmax => {
                let arguments = (z.rows, z.columns, &mut z.buffer);
                // SAFETY: z is that many rows and columns.
                unsafe { self.launch(&softmax::SOFTMAX, softmax::grid(m, n), arguments) }?;
                Ok(z)
            }
        }
    }

    fn backward(
        &self,
        activation: Activation,
        output: &Self::Matrix,
        mut gradient: Self::Matrix,
    ) -> Result<Self::Matrix> {
        check::backward(output.shape(), gradient.shape())?;
        self.own("backward", [output, &gradient])?;
        let kernel = match activation {
            Activation::Identity => return Ok(gradient),
            Activation::Relu => &backward::BACKWARD_RELU,
            Activation::Sigmoid => &backward::BACKWARD_SIGMOID,
        };
        let grid = backward::grid(gradient.buffer.len());
        let arguments = (output.rows, output.columns, &output.buffer, &mut gradient.buffer);
        // SAFETY: the gradient was compared with the output.
        unsafe { self.launch(kernel, grid, arguments) }?;
        Ok(gradient)
    }

    fn column_sums(&self, x: &Self::Matrix) -> Result<Self::Matrix> {
        use reduce::column_sums::{COLUMN_SUMS, finish_grid, grid, row_blocks};
        self.own("column_sums", [x])?;
        let (m, n) = x.shape();
        let mut sums = self.matrix("column_sums", (1, n))?;
        let blocks = row_blocks(m, n);
        if blocks == 1 {
            let arguments = (x.rows, x.columns, &x.buffer, &mut sums.buffer);
            // SAFETY: one row block has a sum for each column of x.
            unsafe { self.launch(&COLUMN_SUMS, grid(m, n), arguments) }?;
            return Ok(sums);
        }
        let mut partials = self.allocate(blocks * n)?; // (row blocks × n)
        let arguments = (x.rows, x.columns, &x.buffer, &mut partials);
        // SAFETY: the partial sums were made for the grid.
        unsafe { self.launch(&COLUMN_SUMS, grid(m, n), arguments) }?;
        let arguments = (blocks as u32, x.columns, &partials, &mut sums.buffer);
        // SAFETY: as above.
        unsafe { self.launch(&COLUMN_SUMS, finish_grid(n), arguments) }?;
        Ok(sums)
    }

    fn update(
        &self,
        rule: Update,
        parameters: &mut Self::Matrix,
        gradient: &Self::Matrix,
        state: &mut [Self::Matrix],
    ) -> Result<()> {
        check::update(rule, parameters.shape(), gradient.shape(), state.iter().map(DeviceMatrix::shape))?;
        self.own("update", [parameters, gradient])?;
        state.iter().try_for_each(|state| self.own("update", [state]))?;
        let (m, n, grid) = (parameters.rows, parameters.columns, update::grid(parameters.buffer.len()));
        let (gradient, weights) = (&gradient.buffer, &mut parameters.buffer);
        match (rule, state) {
            (Update::Descent { learning_rate, l2 }, _) => {
                let arguments = (m, n, learning_rate as f32, l2 as f32, gradient, weights);
                // SAFETY: the gradient was compared with the parameters.
                unsafe { self.launch(&update::UPDATE_DESCENT, grid, arguments) }
            }
            (Update::Momentum { learning_rate, momentum, l2 }, [velocity]) => {
                let [rate, momentum, l2] = [learning_rate, momentum, l2].map(|value| value as f32);
                let arguments = (m, n, rate, momentum, l2, gradient, weights, &mut velocity.buffer);
                // SAFETY: as above, and so was the state.
                unsafe { self.launch(&update::UPDATE_MOMENTUM, grid, arguments) }
            }
            (Update::Adam { learning_rate, beta1, beta2, epsilon, step, l2 }, [mean, square]) => {
                let (rate, epsilon) = Update::corrected([learning_rate, beta1, beta2, epsilon], step);
                let [keep1, keep2] = [beta1, beta2].map(|beta| beta as f32);
                let [take1, take2] = [beta1, beta2].map(|beta| (1.0 - beta) as f32);
                let [rate, epsilon, l2] = [rate, epsilon, l2].map(|value| value as f32);
                let (mean, square) = (&mut mean.buffer, &mut square.buffer);
                let arguments =
                    (m, n, rate, keep1, take1, keep2, take2, epsilon, l2, gradient, weights, mean, square);
                // SAFETY: as above.
                unsafe { self.launch(&update::UPDATE_ADAM, grid, arguments) }
            }
            _ => unreachable!("the number of states was checked"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Emulator, Loss};

    fn text<T>(result: Result<T>) -> String {
        result.err().map_or_else(|| "no error".to_owned(), |error| error.to_string())
    }

    #[test]
    fn products_by_hand_with_each_layout() {
        let engine = Emulator::new();
        let a = engine.upload(2, 3, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
        let a_transposed = engine.upload(3, 2, &[1.0, 4.0, 2.0, 5.0, 3.0, 6.0]).unwrap();
        let b = engine.upload(3, 1, &[7.0, 8.0, 9.0]).unwrap();
        let b_transposed = engine.upload(1, 3, &[7.0, 8.0, 9.0]).unwrap();
        for (a, a_layout) in [(&a, Layout::Plain), (&a_transposed, Layout::Transposed)] {
            for (b, b_layout) in [(&b, Layout::Plain), (&b_transposed, Layout::Transposed)] {
                let c = engine.matmul(a, a_layout, b, b_layout, Precision::Fp32).unwrap();
                assert_eq!(c.shape(), (2, 1));
                assert_eq!(engine.read(&c).unwrap(), [50.0, 122.0], "{a_layout:?} {b_layout:?}");
            }
        }
    }

    #[test]
    fn a_step_of_descent_by_hand() {
        let engine = Emulator::new();
        // ŷ = (1, 2), e = (1, −2): J = 5/4, ∇w = (1·1 + 2·(−2)) / 2 = −3/2, ∇b = −1/2.
        let x = engine.upload(2, 1, &[1.0, 2.0]).unwrap();
        let y = engine.upload(2, 1, &[0.0, 4.0]).unwrap();
        let mut weights = engine.upload(1, 1, &[1.0]).unwrap();
        let mut bias = engine.upload(1, 1, &[0.0]).unwrap();
        let over = Samples { x: &x, scaling: None, y: &y };
        let loss = Loss::SquaredError;
        assert_eq!(engine.cost(loss, &over, &weights, &bias).unwrap(), 1.25);
        let costs = engine.descend(loss, &over, &mut weights, &mut bias, 0.5, 1).unwrap().costs;
        assert_eq!(costs, [1.25]);
        assert_eq!(engine.read(&weights).unwrap(), [1.75]);
        assert_eq!(engine.read(&bias).unwrap(), [0.25]);
        let more = engine.descend(loss, &over, &mut weights, &mut bias, 0.0, 2).unwrap().costs;
        let cost = engine.cost(loss, &over, &weights, &bias).unwrap();
        assert_eq!(more, [cost, cost], "the history has the cost before each step");
        assert!(engine.descend(loss, &over, &mut weights, &mut bias, 0.5, 0).unwrap().costs.is_empty());
    }

    #[test]
    fn a_lower_precision_takes_the_tensor_cores() {
        let engine = Emulator::new();
        let [m, n, k] = [5 * 128, 4 * 128, 2]; // 20 tiles
        // 1 + 2⁻¹² is 1 in tf32, and 1 + 2⁻⁹ in bf16.
        let all =
            |rows, columns, value: f32| engine.upload(rows, columns, &vec![value; rows * columns]).unwrap();
        let (fine, coarse) = (1.0 + 2.0_f32.powi(-12), 1.0 + 2.0_f32.powi(-9));
        let ones = all(k, n, 1.0);
        let product = |value, precision| {
            let a = all(m, k, value);
            let c = engine.matmul(&a, Layout::Plain, &ones, Layout::Plain, precision).unwrap();
            let c = engine.read(&c).unwrap();
            let layer = engine.dense(&a, &ones, &all(1, n, 0.0), Activation::Identity, precision).unwrap();
            assert_eq!(engine.read(&layer).unwrap(), c, "{precision:?}");
            assert!(c.iter().all(|&element| element == c[0]), "{precision:?}");
            c[0] / 2.0
        };
        assert_eq!(product(fine, Precision::Fp32), f64::from(fine));
        assert_eq!(product(fine, Precision::Tf32), 1.0);
        assert_eq!(product(coarse, Precision::Tf32), f64::from(coarse));
        assert_eq!(product(coarse, Precision::Bf16), 1.0);
    }

    #[test]
    fn parts_of_a_step_by_hand() {
        let engine = Emulator::new();
        let x = engine.upload(2, 3, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
        let w = engine.upload(3, 1, &[1.0, 0.0, -1.0]).unwrap();
        let b = engine.upload(1, 1, &[10.0]).unwrap();
        let out = engine.matrix_vector(&x, None, &w, &b).unwrap();
        assert_eq!(engine.read(&out).unwrap(), [8.0, 8.0]);
        let e = engine.upload(2, 1, &[2.0, -4.0]).unwrap();
        let gradient = engine.gradient(&x, None, &e).unwrap();
        assert_eq!(gradient.shape(), (3, 1));
        assert_eq!(engine.read(&gradient).unwrap(), [-7.0, -8.0, -9.0]);
    }

    #[test]
    fn columns_are_scaled_by_their_moments_and_stay_as_they_are() {
        let engine = Emulator::new();
        let x = engine.upload(2, 2, &[1.0, 10.0, 3.0, 30.0]).unwrap();
        let moments = engine.column_moments(&x).unwrap();
        assert_eq!(moments, Moments { mean: vec![2.0, 20.0], standard_deviation: vec![1.0, 10.0] });
        let scaling = engine.scaling(&moments).unwrap();
        let (w, b) = (engine.upload(2, 1, &[3.0, 5.0]).unwrap(), engine.upload(1, 1, &[1.0]).unwrap());
        let out = engine.matrix_vector(&x, Some(&scaling), &w, &b).unwrap();
        assert_eq!(engine.read(&out).unwrap(), [-7.0, 9.0]);
        let e = engine.upload(2, 1, &[2.0, 4.0]).unwrap();
        let gradient = engine.gradient(&x, Some(&scaling), &e).unwrap();
        assert_eq!(engine.read(&gradient).unwrap(), [1.0, 1.0]);
        assert_eq!(engine.read(&x).unwrap(), [1.0, 10.0, 3.0, 30.0]);
    }

    #[test]
    fn a_dense_layer_by_hand() {
        let engine = Emulator::new();
        let input = engine.upload(1, 2, &[1.0, 2.0]).unwrap();
        let weights = engine.upload(2, 3, &[1.0, 0.0, -1.0, 1.0, -1.0, 0.5]).unwrap();
        let bias = engine.upload(1, 3, &[0.0, 1.0, 0.0]).unwrap();
        let layer = |activation| {
            engine.read(&engine.dense(&input, &weights, &bias, activation, Precision::Fp32).unwrap()).unwrap()
        };
        assert_eq!(layer(Activation::Identity), [3.0, -1.0, 0.0]);
        assert_eq!(layer(Activation::Relu), [3.0, 0.0, 0.0]);
        let sigmoid = layer(Activation::Sigmoid);
        assert!((sigmoid[0] - 0.952_574_126_822_433_1).abs() < 1e-6, "{sigmoid:?}");
        assert_eq!(sigmoid[2], 0.5);
    }

    #[test]
    fn empty_sides_give_empty_results_or_zeros() {
        let engine = Emulator::new();
        let empty = |rows, columns| engine.upload(rows, columns, &[]).unwrap();
        let c =
            engine.matmul(&empty(2, 0), Layout::Plain, &empty(0, 3), Layout::Plain, Precision::Fp32).unwrap();
        assert_eq!(engine.read(&c).unwrap(), [0.0; 6]);
        let c = engine.matmul(&empty(0, 2), Layout::Plain, &empty(2, 0), Layout::Plain, Precision::Fp32);
        assert_eq!(c.unwrap().shape(), (0, 0));
        let bias = engine.upload(1, 1, &[3.0]).unwrap();
        let out = engine.matrix_vector(&empty(2, 0), None, &empty(0, 1), &bias).unwrap();
        assert_eq!(engine.read(&out).unwrap(), [3.0, 3.0]);
        let out = engine.matrix_vector(&empty(0, 0), None, &empty(0, 1), &bias).unwrap();
        assert!(engine.read(&out).unwrap().is_empty());
        let moments = engine.column_moments(&empty(2, 0)).unwrap();
        assert!(moments.mean.is_empty() && moments.standard_deviation.is_empty());
        let scaling = engine.scaling(&moments).unwrap();
        let out = engine.matrix_vector(&empty(2, 0), Some(&scaling), &empty(0, 1), &bias).unwrap();
        assert_eq!(engine.read(&out).unwrap(), [3.0, 3.0]);
        // No features: the bias alone is trained.
        let (mut weights, mut bias) = (empty(0, 1), engine.upload(1, 1, &[0.0]).unwrap());
        let y = engine.upload(2, 1, &[1.0, 3.0]).unwrap();
        let over = Samples { x: &empty(2, 0), scaling: None, y: &y };
        let costs = engine.descend(Loss::SquaredError, &over, &mut weights, &mut bias, 1.0, 2).unwrap().costs;
        assert_eq!(costs, [2.5, 0.5]);
        assert_eq!(engine.read(&bias).unwrap(), [2.0]);
    }

    #[test]
    fn shapes_that_do_not_fit_are_refused_with_both_named() {
        let engine = Emulator::new();
        let of =
            |rows: usize, columns: usize| engine.upload(rows, columns, &vec![1.0; rows * columns]).unwrap();
        let two_by_three = of(2, 3);
        let refused =
            text(engine.matmul(&two_by_three, Layout::Plain, &two_by_three, Layout::Plain, Precision::Fp32));
        assert!(refused.contains("A is 2 × 3") && refused.contains("B is 2 × 3"), "{refused}");
        let refused = text(engine.matrix_vector(&two_by_three, None, &of(2, 1), &of(1, 1)));
        assert!(refused.contains("2 × 1") && refused.contains("2 × 3"), "{refused}");
        let refused = text(engine.gradient(&two_by_three, None, &of(3, 1)));
        assert!(refused.contains("3 × 1") && refused.contains("2 × 3"), "{refused}");
        let refused =
            text(engine.dense(&two_by_three, &of(2, 2), &of(1, 2), Activation::Relu, Precision::Fp32));
        assert!(refused.contains("2 × 2") && refused.contains("2 × 3"), "{refused}");
        let loss = Loss::SquaredError;
        let over = Samples { x: &two_by_three, scaling: None, y: &of(3, 1) };
        let refused = text(engine.descend(loss, &over, &mut of(3, 1), &mut of(1, 1), 0.1, 1));
        assert!(refused.contains("y is 3 × 1") && refused.contains("2 × 3"), "{refused}");
        let over = Samples { y: &of(2, 1), ..over };
        let refused = text(engine.cost(loss, &over, &of(3, 1), &of(2, 1)));
        assert!(refused.contains("bias is 2 × 1"), "{refused}");
        let refused = text(engine.upload(2, 2, &[0.0; 3]));
        assert!(refused.contains('3') && refused.contains("2 × 2"), "{refused}");
    }

    #[test]
    fn no_rows_is_an_error_where_there_would_be_a_division_by_zero() {
        let engine = Emulator::new();
        let empty = |rows, columns| engine.upload(rows, columns, &[]).unwrap();
        let bias = || engine.upload(1, 1, &[0.0]).unwrap();
        let weights = || engine.upload(2, 1, &[0.0; 2]).unwrap();
        assert!(text(engine.column_moments(&empty(0, 2))).contains("at least one row"));
        assert!(text(engine.gradient(&empty(0, 2), None, &empty(0, 1))).contains("at least one row"));
        let (x, y) = (empty(0, 2), empty(0, 1));
        let over = Samples { x: &x, scaling: None, y: &y };
        let loss = Loss::SquaredError;
        assert!(text(engine.cost(loss, &over, &weights(), &bias())).contains("at least one row"));
        let refused = engine.descend(loss, &over, &mut weights(), &mut bias(), 0.1, 1);
        assert!(text(refused).contains("at least one row"));
    }

    #[test]
    fn a_deviation_that_the_device_would_see_as_zero_is_refused() {
        let engine = Emulator::new();
        for deviation in [0.0, 1e-60, f64::NAN, -1.0] {
            let moments = Moments { mean: vec![0.0], standard_deviation: vec![deviation] };
            assert!(text(engine.scaling(&moments)).contains("column 0"), "{deviation}");
        }
    }

    #[test]
    fn what_is_too_large_for_the_kernels_is_refused_before_there_is_memory_for_it() {
        let engine = Emulator::new();
        let empty = |rows, columns| engine.upload(rows, columns, &[]);
        assert!(text(empty(1 << 32, 0)).contains("4294967296 × 0"));
        let (long, wide) = (empty((1 << 32) - 1, 0).unwrap(), empty(0, 1 << 20).unwrap());
        assert!(
            text(engine.matmul(&long, Layout::Plain, &wide, Layout::Plain, Precision::Fp32))
                .contains("too large")
        );
        let one = || engine.upload(1, 1, &[1.0]).unwrap();
        let over = Samples { x: &one(), scaling: None, y: &one() };
        let refused = engine.descend(Loss::SquaredError, &over, &mut one(), &mut one(), 0.1, 1 << 40);
        assert!(text(refused).contains("1099511627776"));
    }

    #[test]
    fn the_largest_matrix_is_taken_and_one_row_more_is_not() {
        let side = i32::MAX as usize;
        assert_eq!(sides("x", (side, 256)).unwrap(), (i32::MAX as u32, 256));
        assert!(text(sides("x", (side + 1, 256))).contains("too large"));
        assert_eq!(sides("x", (u32::MAX as usize, 2)).unwrap(), (u32::MAX, 2));
        assert!(text(sides("x", (0, 1 << 32))).contains("too large"));
    }

    #[test]
    fn a_buffer_that_is_too_short_is_refused_before_a_launch() {
        let engine = Emulator::new();
        let short = |refused: Result<()>, buffer: usize, wanted: usize| {
            let expected = format!("a buffer of {buffer} values is given where the kernel uses {wanted}");
            assert!(text(refused).contains(&expected), "{expected}");
        };
        let (x, y) = (engine.upload(2, 3, &[1.0; 6]).unwrap(), engine.upload(2, 1, &[1.0; 2]).unwrap());
        let buffer = |length| engine.allocate(length).unwrap();
        let multiply = |mean, weights, bias, out: usize| {
            engine.run_matrix_vector(&x, &buffer(mean), &buffer(weights), &buffer(bias), &mut buffer(out))
        };
        short(multiply(1, 3, 1, 2), 1, 3);
        short(multiply(3, 2, 1, 2), 2, 3);
        short(multiply(3, 3, 0, 2), 0, 1);
        short(multiply(3, 3, 1, 1), 1, 2);
        let tall = engine.upload(3000, 3, &[1.0; 9000]).unwrap();
        let row_blocks = gradient::row_blocks(3000, 3);
        assert!(row_blocks > 1);
        let add_up = |mean, error, losses, partials: usize| {
            let [mean, error, losses] = [mean, error, losses].map(buffer);
            engine.run_gradient(&tall, &mean, &error, &losses, &mut buffer(partials))
        };
        let partials = 5 * row_blocks;
        short(add_up(2, 3000, 3000, partials), 2, 3);
        short(add_up(3, 2999, 3000, partials), 2999, 3000);
        short(add_up(3, 3000, 2999, partials), 2999, 3000);
        short(add_up(3, 3000, 3000, partials - 1), partials - 1, partials);
        short(engine.run_fold(&buffer(2), &buffer(3), &mut buffer(3)), 2, 3);
        short(engine.run_fold(&buffer(3), &buffer(2), &mut buffer(3)), 2, 3);
        let (mean, deviation) = (buffer(3), buffer(3));
        let over = Samples { x: &x, scaling: None, y: &y };
        let mut steps = engine.steps("descend", Loss::SquaredError, &over, [&mean, &deviation], 4).unwrap();
        short(engine.run_pass(&mut steps, &buffer(2), &buffer(1)), 2, 3);
        short(engine.run_pass(&mut steps, &buffer(3), &buffer(0)), 0, 1);
        short(engine.run_finish(&mut steps, [0.1, 0.0], &mut buffer(2), &mut buffer(1)), 2, 3);
        short(engine.run_finish(&mut steps, [0.1, 0.0], &mut buffer(3), &mut buffer(0)), 0, 1);
    }

    #[test]
    fn a_matrix_of_another_engine_is_refused() {
        let (here, there) = (Emulator::new(), Emulator::new());
        let mut theirs = there.upload(1, 1, &[2.0]).unwrap();
        let ours = here.upload(1, 1, &[2.0]).unwrap();
        let another = |text: String| assert!(text.contains("another engine"), "{text}");
        another(text(here.read(&theirs)));
        another(text(here.matmul(&ours, Layout::Plain, &theirs, Layout::Plain, Precision::Fp32)));
        another(text(here.column_moments(&theirs)));
        another(text(here.gradient(&ours, None, &theirs)));
        another(text(here.matrix_vector(&ours, None, &theirs, &ours)));
        another(text(here.dense(&theirs, &ours, &ours, Activation::Identity, Precision::Fp32)));
        let over = Samples { x: &ours, scaling: None, y: &ours };
        let loss = Loss::SquaredError;
        another(text(here.cost(loss, &over, &ours, &theirs)));
        another(text(here.descend(loss, &over, &mut ours_again(&here), &mut theirs, 0.1, 1)));
        let moments = Moments { mean: vec![0.0], standard_deviation: vec![1.0] };
        let scaling = there.scaling(&moments).unwrap();
        another(text(here.matrix_vector(&ours, Some(&scaling), &ours, &ours)));
        another(text(here.cost(loss, &Samples { scaling: Some(&scaling), ..over }, &ours, &ours)));
    }

    fn ours_again(engine: &Emulator) -> DeviceMatrix<cuda_std::Emulator> {
        engine.upload(1, 1, &[1.0]).unwrap()
    }
}
