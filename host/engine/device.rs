//! The engine of everything that runs the kernels: the emulator and CUDA differ in the [`Device`] alone.
//!
//! All data stay on the device. A whole run of gradient descent is queued there, and only its costs are read back,
//! once, at the end. Every sum is added up in an order that the shapes alone decide, so the same operands give the
//! same bits.

use std::sync::atomic::{AtomicU64, Ordering};

use cuda_std::{Arguments, Buffer, Device, Kernel, Parameters};
use kernels::matmul::split_k;
use kernels::{descent, elementwise, reduce};

use super::product::{self, Rung};
use super::{Activation, Engine, Layout, Loss, Moments, Samples, Scaling, check};
use crate::cuda::Version;
use crate::{Error, Result};

/// The most elements of a matrix: with this many every kernel's grid is within CUDA's limits.
const MOST_ELEMENTS: usize = (i32::MAX as usize) << 8;

/// An engine that runs the kernels on a device `D`, in `f32`.
pub struct DeviceEngine<D: Device> {
    device: D,
    description: String,
    arithmetic: String,
    /// Its compute capability, if it has one.
    architecture: Option<Version>,
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
        DeviceEngine { device, description, arithmetic, architecture: None, identity }
    }

    /// The same engine with the fastest kernels for GPUs of this compute capability. Results have the same bits.
    #[must_use]
    pub fn for_architecture(self, capability: Version) -> Self {
        DeviceEngine { architecture: Some(capability), ..self }
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

/// What the steps of gradient descent work in, on the device, for `x` of m × n.
struct Workspace<D: Device> {
    prediction: Buffer<f32, D>,      // (m)
    error: Buffer<f32, D>,           // (m)
    square_partials: Buffer<f32, D>, // (blocks of linear_error)
    sum_partials: Buffer<f32, D>,    // (blocks of linear_error)
    history: Buffer<f32, D>,         // (steps)
    bias_gradient: Buffer<f32, D>,   // (1)
    partials: Buffer<f32, D>,        // (row blocks × n)
    gradient: Buffer<f32, D>,        // (n)
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

    fn workspace(&self, (m, n): (u32, u32), steps: usize) -> Result<Workspace<D>> {
        let (rows, columns) = (m as usize, n as usize);
        let blocks = descent::error::grid(rows)[0] as usize;
        Ok(Workspace {
            prediction: self.allocate(rows)?,
            error: self.allocate(rows)?,
            square_partials: self.allocate(blocks)?,
            sum_partials: self.allocate(blocks)?,
            history: self.allocate(steps)?,
            bias_gradient: self.allocate(1)?,
            partials: self.allocate(descent::gradient::row_blocks(rows, columns) * columns)?,
            gradient: self.allocate(columns)?,
        })
    }

    /// out = Xw + b.
    fn run_matrix_vector(
        &self,
        x: &DeviceMatrix<D>,
        weights: &Buffer<f32, D>,
        bias: &Buffer<f32, D>,
        out: &mut Buffer<f32, D>,
    ) -> Result<()> {
        let (m, n) = (x.rows, x.columns);
        let (rows, columns) = x.shape();
        long_enough("matrix_vector", [(weights, columns), (bias, 1), (out, rows)])?;
        let grid = descent::matrix_vector::grid(rows);
        // SAFETY: x is m × n; the others were compared with it.
        unsafe {
            self.launch(&descent::matrix_vector::MATRIX_VECTOR, grid, (m, n, &x.buffer, weights, bias, out))
        }
    }

    /// e = prediction − y, and J of it at `history[step]`, and ∇b.
    fn run_error(&self, y: &DeviceMatrix<D>, work: &mut Workspace<D>, step: usize) -> Result<()> {
        let Workspace { prediction, error, square_partials, sum_partials, history, bias_gradient, .. } = work;
        let (m, rows) = (y.rows, y.rows as usize);
        let grid = descent::error::grid(rows);
        let blocks = grid[0] as usize;
        long_enough(
            "linear_error",
            [
                (&y.buffer, rows),
                (prediction, rows),
                (error, rows),
                (square_partials, blocks),
                (sum_partials, blocks),
                (history, step + 1),
                (bias_gradient, 1),
            ],
        )?;
        // SAFETY: the lengths were compared with m and the grid.
        unsafe {
            self.launch(
                &descent::error::LINEAR_ERROR,
                grid,
                (m, &*prediction, &y.buffer, error, &mut *square_partials, &mut *sum_partials),
            )
        }?;
        let arguments = (m, grid[0], step as u32, &*square_partials, &*sum_partials, history, bias_gradient);
        // SAFETY: as above; `history` has an element `step`, which is a `u32`: `steps` is the side of a matrix.
        unsafe { self.launch(&descent::error::LINEAR_COST, [1, 1, 1], arguments) }
    }

    /// gradient = Xᵀe / m, by way of `partials`.
    fn run_gradient(
        &self,
        x: &DeviceMatrix<D>,
        error: &Buffer<f32, D>,
        partials: &mut Buffer<f32, D>,
        gradient: &mut Buffer<f32, D>,
    ) -> Result<()> {
        let (m, n) = (x.rows, x.columns);
        let (rows, columns) = x.shape();
        let grid = descent::gradient::grid(rows, columns);
        let row_blocks = grid[1];
        long_enough(
            "gradient",
            [(error, rows), (partials, row_blocks as usize * columns), (gradient, columns)],
        )?;
        // SAFETY: x is m × n; the others were compared with it and the grid.
        unsafe { self.launch(&descent::gradient::GRADIENT, grid, (m, n, &x.buffer, error, &mut *partials)) }?;
        let grid = descent::gradient::finish_grid(columns);
        let arguments = (m, n, row_blocks, &*partials, gradient);
        // SAFETY: as above.
        unsafe { self.launch(&descent::gradient::GRADIENT_FINISH, grid, arguments) }
    }

    /// A copy of `x`, scaled, if there is a scaling. INTERIM: the kernels will scale values as they read them.
    fn scaled(
        &self,
        operation: &'static str,
        x: &DeviceMatrix<D>,
        scaling: Option<&Scaling<DeviceMatrix<D>>>,
    ) -> Result<Option<DeviceMatrix<D>>> {
        let Some(Scaling { mean, deviation }) = scaling else { return Ok(None) };
        self.own(operation, [x, mean, deviation])?;
        let buffer = self.device.upload(&self.device.download(&x.buffer)?)?;
        let mut copy = DeviceMatrix { rows: x.rows, columns: x.columns, buffer, engine: self.identity };
        let grid = elementwise::grid(copy.buffer.len());
        let arguments = (x.rows, x.columns, &mean.buffer, &deviation.buffer, &mut copy.buffer);
        // SAFETY: x is m × n; the scaling was compared with its columns.
        unsafe { self.launch(&elementwise::STANDARDISE, grid, arguments) }?;
        Ok(Some(copy))
    }

    /// Fails if y holds what the loss does not take. INTERIM: reads y back.
    fn check_labels(&self, operation: &'static str, loss: Loss, y: &DeviceMatrix<D>) -> Result<()> {
        match loss {
            Loss::SquaredError => Ok(()),
            Loss::LogLoss => check::labels(operation, loss, &self.device.download(&y.buffer)?),
        }
    }

    /// prediction = ŷ of z = Xw + b; gives the cost, if the kernels that follow will not. INTERIM: the log loss' cost is
    /// computed by the host.
    fn run_prediction(
        &self,
        loss: Loss,
        x: &DeviceMatrix<D>,
        y: &DeviceMatrix<D>,
        weights: &Buffer<f32, D>,
        bias: &Buffer<f32, D>,
        prediction: &mut Buffer<f32, D>,
    ) -> Result<Option<f64>> {
        if loss == Loss::SquaredError {
            self.run_matrix_vector(x, weights, bias, prediction)?;
            return Ok(None);
        }
        let mut z = self.allocate(x.rows as usize)?;
        self.run_matrix_vector(x, weights, bias, &mut z)?;
        let (scores, labels) = (self.device.download(&z)?, self.device.download(&y.buffer)?);
        let costs = scores.iter().zip(&labels).map(|(&z, &y)| loss.cost(z.into(), y.into()));
        let cost = costs.sum::<f64>() / f64::from(x.rows);
        let grid = elementwise::grid(z.len());
        // SAFETY: z and the prediction have x's rows.
        unsafe { self.launch(&elementwise::SIGMOID, grid, (x.rows, &z, prediction)) }?;
        Ok(Some(cost))
    }

    /// w := w − α∇w.
    fn run_update(
        &self,
        learning_rate: f32,
        gradient: &Buffer<f32, D>,
        weights: &mut DeviceMatrix<D>,
    ) -> Result<()> {
        let n = weights.rows; // one column
        let grid = elementwise::grid(n as usize);
        long_enough("update", [(gradient, n as usize)])?;
        // SAFETY: the gradient was compared with the weights, which are n × 1.
        unsafe { self.launch(&elementwise::UPDATE, grid, (n, learning_rate, gradient, &mut weights.buffer)) }
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
        self.arithmetic.clone()
    }

    fn upload(&self, rows: usize, columns: usize, values: &[f32]) -> Result<Self::Matrix> {
        check::upload((rows, columns), values.len(), size_of::<f32>())?;
        let mut matrix = self.matrix("upload", (rows, columns))?;
        self.device.write(&mut matrix.buffer, 0, values)?;
        Ok(matrix)
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
        loss: Loss,
        samples: &Samples<'_, Self::Matrix>,
        weights: &mut Self::Matrix,
        bias: &mut Self::Matrix,
        learning_rate: f64,
        steps: usize,
    ) -> Result<Vec<f64>> {
        check::descent(self, "descend", samples, weights, bias)?;
        let Samples { x, scaling, y } = *samples;
        self.own("descend", [x, y, weights, bias])?;
        self.check_labels("descend", loss, y)?;
        sides("descend", (steps, 1))?; // the history is a column of that many costs
        let scaled = self.scaled("descend", x, scaling)?;
        let x = scaled.as_ref().unwrap_or(x);
        let learning_rate = learning_rate as f32;
        let mut work = self.workspace((x.rows, x.columns), steps)?;
        let mut costs = Vec::new();
        for step in 0..steps {
            let prediction = &mut work.prediction;
            costs.extend(self.run_prediction(loss, x, y, &weights.buffer, &bias.buffer, prediction)?);
            self.run_error(y, &mut work, step)?;
            self.run_gradient(x, &work.error, &mut work.partials, &mut work.gradient)?;
            self.run_update(learning_rate, &work.gradient, weights)?;
            self.run_update(learning_rate, &work.bias_gradient, bias)?;
        }
        match loss {
            Loss::SquaredError => {
                Ok(self.device.download(&work.history)?.into_iter().map(f64::from).collect())
            }
            Loss::LogLoss => Ok(costs),
        }
    }

    fn cost(
        &self,
        loss: Loss,
        samples: &Samples<'_, Self::Matrix>,
        weights: &Self::Matrix,
        bias: &Self::Matrix,
    ) -> Result<f64> {
        check::descent(self, "cost", samples, weights, bias)?;
        let Samples { x, scaling, y } = *samples;
        self.own("cost", [x, y, weights, bias])?;
        self.check_labels("cost", loss, y)?;
        let scaled = self.scaled("cost", x, scaling)?;
        let x = scaled.as_ref().unwrap_or(x);
        let mut work = self.workspace((x.rows, 0), 1)?;
        let prediction = &mut work.prediction;
        if let Some(cost) = self.run_prediction(loss, x, y, &weights.buffer, &bias.buffer, prediction)? {
            return Ok(cost);
        }
        self.run_error(y, &mut work, 0)?;
        let mut cost = [0.0_f32];
        self.device.read(&work.history, 0, &mut cost)?;
        Ok(f64::from(cost[0]))
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
        let scaled = self.scaled("matrix_vector", x, scaling)?;
        let x = scaled.as_ref().unwrap_or(x);
        let mut out = self.matrix("matrix_vector", (x.rows as usize, 1))?;
        self.run_matrix_vector(x, &weights.buffer, &bias.buffer, &mut out.buffer)?;
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
        let scaled = self.scaled("gradient", x, scaling)?;
        let x = scaled.as_ref().unwrap_or(x);
        let (rows, columns) = x.shape();
        let mut partials = self.allocate(descent::gradient::row_blocks(rows, columns) * columns)?;
        let mut gradient = self.matrix("gradient", (columns, 1))?;
        self.run_gradient(x, &e.buffer, &mut partials, &mut gradient.buffer)?;
        Ok(gradient)
    }

    fn matmul(
        &self,
        a: &Self::Matrix,
        a_layout: Layout,
        b: &Self::Matrix,
        b_layout: Layout,
    ) -> Result<Self::Matrix> {
        let (m, n, k) = check::matmul(a.shape(), a_layout, b.shape(), b_layout)?;
        self.own("matmul", [a, b])?;
        let mut c = self.matrix("matmul", (m, n))?;
        let rung = product::rung(self.architecture, m, n, k);
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
    ) -> Result<Self::Matrix> {
        let (batch, units, inputs) = check::dense(input.shape(), weights.shape(), bias.shape())?;
        self.own("dense", [input, weights, bias])?;
        let mut out = self.matrix("dense", (batch, units))?;
        let rung = product::rung(self.architecture, batch, units, inputs);
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Emulator;

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
                let c = engine.matmul(a, a_layout, b, b_layout).unwrap();
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
        let costs = engine.descend(loss, &over, &mut weights, &mut bias, 0.5, 1).unwrap();
        assert_eq!(costs, [1.25]);
        assert_eq!(engine.read(&weights).unwrap(), [1.75]);
        assert_eq!(engine.read(&bias).unwrap(), [0.25]);
        let more = engine.descend(loss, &over, &mut weights, &mut bias, 0.0, 2).unwrap();
        let cost = engine.cost(loss, &over, &weights, &bias).unwrap();
        assert_eq!(more, [cost, cost], "the history has the cost before each step");
        assert!(engine.descend(loss, &over, &mut weights, &mut bias, 0.5, 0).unwrap().is_empty());
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
        let layer =
            |activation| engine.read(&engine.dense(&input, &weights, &bias, activation).unwrap()).unwrap();
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
        let c = engine.matmul(&empty(2, 0), Layout::Plain, &empty(0, 3), Layout::Plain).unwrap();
        assert_eq!(engine.read(&c).unwrap(), [0.0; 6]);
        let c = engine.matmul(&empty(0, 2), Layout::Plain, &empty(2, 0), Layout::Plain);
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
        let costs = engine.descend(Loss::SquaredError, &over, &mut weights, &mut bias, 1.0, 2).unwrap();
        assert_eq!(costs, [2.5, 0.5]);
        assert_eq!(engine.read(&bias).unwrap(), [2.0]);
    }

    #[test]
    fn shapes_that_do_not_fit_are_refused_with_both_named() {
        let engine = Emulator::new();
        let of =
            |rows: usize, columns: usize| engine.upload(rows, columns, &vec![1.0; rows * columns]).unwrap();
        let two_by_three = of(2, 3);
        let refused = text(engine.matmul(&two_by_three, Layout::Plain, &two_by_three, Layout::Plain));
        assert!(refused.contains("A is 2 × 3") && refused.contains("B is 2 × 3"), "{refused}");
        let refused = text(engine.matrix_vector(&two_by_three, None, &of(2, 1), &of(1, 1)));
        assert!(refused.contains("2 × 1") && refused.contains("2 × 3"), "{refused}");
        let refused = text(engine.gradient(&two_by_three, None, &of(3, 1)));
        assert!(refused.contains("3 × 1") && refused.contains("2 × 3"), "{refused}");
        let refused = text(engine.dense(&two_by_three, &of(2, 2), &of(1, 2), Activation::Relu));
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
        assert!(text(engine.matmul(&long, Layout::Plain, &wide, Layout::Plain)).contains("too large"));
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
        short(engine.run_matrix_vector(&x, &buffer(2), &buffer(1), &mut buffer(2)), 2, 3);
        short(engine.run_matrix_vector(&x, &buffer(3), &buffer(0), &mut buffer(2)), 0, 1);
        short(engine.run_matrix_vector(&x, &buffer(3), &buffer(1), &mut buffer(1)), 1, 2);
        short(engine.run_gradient(&x, &buffer(1), &mut buffer(3), &mut buffer(3)), 1, 2);
        let tall = engine.upload(3000, 3, &[1.0; 9000]).unwrap();
        let row_blocks = descent::gradient::row_blocks(3000, 3);
        assert!(row_blocks > 1);
        let partials = 3 * row_blocks;
        short(
            engine.run_gradient(&tall, &buffer(3000), &mut buffer(partials - 1), &mut buffer(3)),
            partials - 1,
            partials,
        );
        let mut work = engine.workspace((2, 3), 4).unwrap();
        short(engine.run_error(&y, &mut work, 4), 4, 5);
        let mut weights = engine.upload(3, 1, &[1.0; 3]).unwrap();
        short(engine.run_update(0.1, &buffer(2), &mut weights), 2, 3);
    }

    #[test]
    fn a_matrix_of_another_engine_is_refused() {
        let (here, there) = (Emulator::new(), Emulator::new());
        let mut theirs = there.upload(1, 1, &[2.0]).unwrap();
        let ours = here.upload(1, 1, &[2.0]).unwrap();
        let another = |text: String| assert!(text.contains("another engine"), "{text}");
        another(text(here.read(&theirs)));
        another(text(here.matmul(&ours, Layout::Plain, &theirs, Layout::Plain)));
        another(text(here.column_moments(&theirs)));
        another(text(here.gradient(&ours, None, &theirs)));
        another(text(here.matrix_vector(&ours, None, &theirs, &ours)));
        another(text(here.dense(&theirs, &ours, &ours, Activation::Identity)));
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
