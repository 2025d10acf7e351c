//! Steps of gradient descent, queued on a device.

use cuda_std::{Buffer, Device, Global, GlobalMut, Kernel};
use kernels::{descent, elementwise};

use super::{DeviceEngine, DeviceMatrix, long_enough, sides};
use crate::engine::{Loss, Samples, check};
use crate::{Error, Result};

type In = Global<f32>;
type Out = GlobalMut<f32>;
type OnePass = Kernel<(u32, u32, In, In, In, In, In, In, Out)>;
type Errors = Kernel<(u32, In, In, Out, Out)>;

/// What steps of gradient descent work on, on the device, for `x` of m × n.
pub(super) struct Steps<'a, D: Device> {
    x: &'a DeviceMatrix<D>,
    y: &'a DeviceMatrix<D>,
    mean: &'a Buffer<f32, D>,      // (n)
    deviation: &'a Buffer<f32, D>, // (n)
    pass: Pass<D>,
    /// Blocks that share the rows.
    blocks: u32,
    partials: Buffer<f32, D>,    // (blocks × (n + 2))
    pub history: Buffer<f32, D>, // (steps)
    pub squares: Buffer<f32, D>, // (steps × strips × 2)
    pub step: Buffer<u32, D>,    // (strips): the next one
}

/// How a step goes over X.
enum Pass<D: Device> {
    /// Once.
    One(&'static OnePass),
    /// Twice, as a row, or a few of them, do not fit into a block.
    Two {
        error: &'static Errors,
        weights: Buffer<f32, D>, // (n), divided by the deviations
        z: Buffer<f32, D>,       // (m)
        errors: Buffer<f32, D>,  // (m)
        losses: Buffer<f32, D>,  // (m)
    },
}
impl<D: Device> DeviceEngine<D>
where
    Error: From<D::Error>,
{
    /// Prepares `count` steps over samples that were checked.
    pub(super) fn steps<'a>(
        &self,
        operation: &'static str,
        loss: Loss,
        samples: &Samples<'a, DeviceMatrix<D>>,
        [mean, deviation]: [&'a Buffer<f32, D>; 2],
        count: usize,
    ) -> Result<Steps<'a, D>> {
        use descent::{error, fused, gradient};
        let &Samples { x, y, .. } = samples;
        let (steps, _) = sides(operation, (count, 1))?; // the history is a column of that many costs
        if loss == Loss::LogLoss {
            check::labels(operation, loss, &self.device.download(&y.buffer)?)?;
        }
        let (m, n) = x.shape();
        let one = |teams: fused::Teams, squared_error, log_loss| {
            let kernel = if loss == Loss::SquaredError { squared_error } else { log_loss };
            (Pass::One(kernel), teams.blocks(m))
        };
        let (pass, blocks) = if n <= fused::NARROW {
            one(fused::Teams::narrow(n), &fused::SQUARED_ERROR_STEP_NARROW, &fused::LOG_LOSS_STEP_NARROW)
        } else if n <= fused::WIDEST && self.device.shared_bytes() >= fused::SQUARED_ERROR_STEP.shared_bytes()
        {
            one(fused::Teams::wide(n), &fused::SQUARED_ERROR_STEP, &fused::LOG_LOSS_STEP)
        } else {
            let error = if loss == Loss::SquaredError { &error::SQUARED_ERROR } else { &error::LOG_LOSS };
            let [z, errors, losses] = [self.allocate(m)?, self.allocate(m)?, self.allocate(m)?];
            let pass = Pass::Two { error, weights: self.allocate(n)?, z, errors, losses };
            (pass, gradient::row_blocks(m, n))
        };
        let partials = self.allocate(blocks * (n + 2))?;
        let (steps, strips) = (steps as usize, descent::finish::grid(n)[0] as usize);
        let (history, squares) = (self.allocate(steps)?, self.allocate(2 * strips * steps)?);
        let step = self.device.upload(&vec![0_u32; strips])?;
        Ok(Steps { x, y, mean, deviation, pass, blocks: blocks as u32, partials, history, squares, step })
    }

    /// The sums of a step from these weights.
    pub(super) fn run_pass(
        &self,
        steps: &mut Steps<'_, D>,
        weights: &Buffer<f32, D>,
        bias: &Buffer<f32, D>,
    ) -> Result<()> {
        let &mut Steps { x, y, mean, deviation, ref mut pass, blocks, ref mut partials, .. } = steps;
        let (m, n) = (x.rows, x.columns);
        long_enough("descend", [(&y.buffer, m as usize), (weights, n as usize), (bias, 1)])?;
        match pass {
            Pass::One(kernel) => {
                let arguments = (m, n, &x.buffer, &y.buffer, mean, deviation, weights, bias, partials);
                // SAFETY: x is m × n, the others were compared with it, and the partial sums made for the grid.
                unsafe { self.launch(kernel, [blocks, 1, 1], arguments) }
            }
            Pass::Two { error, weights: folded, z, errors, losses } => {
                self.run_fold(weights, deviation, folded)?;
                self.run_matrix_vector(x, mean, folded, bias, z)?;
                let arguments = (m, &*z, &y.buffer, &mut *errors, &mut *losses);
                // SAFETY: as above; these were made for m samples.
                unsafe { self.launch(error, descent::error::grid(m as usize), arguments) }?;
                self.run_gradient(x, mean, errors, losses, partials)
            }
        }
    }

    /// The rest of the step, with a learning rate and λ of the penalty. `deviation` has a value for each of the weights.
    pub(super) fn run_finish(
        &self,
        steps: &mut Steps<'_, D>,
        [learning_rate, l2]: [f32; 2],
        weights: &mut Buffer<f32, D>,
        bias: &mut Buffer<f32, D>,
    ) -> Result<()> {
        let Steps { x, deviation, blocks, partials, history, squares, step, .. } = steps;
        long_enough("descend", [(weights, x.columns as usize), (bias, 1)])?;
        let (grid, count) = (descent::finish::grid(x.columns as usize), history.len() as u32);
        let arguments = (
            x.rows,
            x.columns,
            *blocks,
            count,
            learning_rate,
            l2,
            &*partials,
            *deviation,
            weights,
            bias,
            history,
            squares,
            step,
        );
        // SAFETY: x is m × n; the others were made for it, for the grid and for so many steps, or compared with it.
        unsafe { self.launch(&descent::finish::DESCENT_FINISH, grid, arguments) }
    }

    /// folded = weights ⊘ deviation.
    pub(super) fn run_fold(
        &self,
        weights: &Buffer<f32, D>,
        deviation: &Buffer<f32, D>,
        folded: &mut Buffer<f32, D>,
    ) -> Result<()> {
        let n = folded.len();
        long_enough("divide", [(weights, n), (deviation, n)])?;
        // SAFETY: the others were compared with the result.
        unsafe {
            self.launch(&elementwise::DIVIDE, elementwise::grid(n), (n as u32, weights, deviation, folded))
        }
    }

    /// out = (X − mean) weights + bias.
    pub(super) fn run_matrix_vector(
        &self,
        x: &DeviceMatrix<D>,
        mean: &Buffer<f32, D>,
        weights: &Buffer<f32, D>,
        bias: &Buffer<f32, D>,
        out: &mut Buffer<f32, D>,
    ) -> Result<()> {
        let (m, n) = (x.rows, x.columns);
        let (rows, columns) = x.shape();
        long_enough("matrix_vector", [(mean, columns), (weights, columns), (bias, 1), (out, rows)])?;
        let grid = descent::matrix_vector::grid(rows);
        let arguments = (m, n, &x.buffer, mean, weights, bias, out);
        // SAFETY: x is m × n; the others were compared with it.
        unsafe { self.launch(&descent::matrix_vector::MATRIX_VECTOR, grid, arguments) }
    }

    /// Each row block's Σ error (X − mean), Σ error and Σ losses.
    pub(super) fn run_gradient(
        &self,
        x: &DeviceMatrix<D>,
        mean: &Buffer<f32, D>,
        error: &Buffer<f32, D>,
        losses: &Buffer<f32, D>,
        partials: &mut Buffer<f32, D>,
    ) -> Result<()> {
        let (m, n) = (x.rows, x.columns);
        let (rows, columns) = x.shape();
        let sums = descent::gradient::row_blocks(rows, columns) * (columns + 2);
        long_enough("gradient", [(mean, columns), (error, rows), (losses, rows), (partials, sums)])?;
        let grid = descent::gradient::grid(rows, columns);
        let arguments = (m, n, &x.buffer, mean, error, losses, partials);
        // SAFETY: x is m × n; the others were compared with it and the grid.
        unsafe { self.launch(&descent::gradient::GRADIENT, grid, arguments) }
    }
}
