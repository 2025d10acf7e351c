//! e and the loss of each sample, from z = Xw + b and y: z, y, e, losses (m).
//!
//! ```text
//! z, y    0 1 2 3 …  255 │ 256 257 …         a thread a sample, as in `elementwise`
//! e, loss 0 1 2 3 …  255 │ 256 257 …         which loss: see `loss`
//! ```
//!
//! **Cost.** 16 bytes a sample, bound by memory; against X's 4n bytes a sample it is little.
//!
//! **Barriers.** None.
//!
//! **What changed.** From elementwise: two results from one pass. What adds them up is [`gradient`](super::gradient).
//!
//! **Run it.** `cargo test --release --test kernels squared_error` (`log_loss`)

use cuda_std::prelude::*;

use super::loss::{LogLoss, Loss, SquaredError};
pub use crate::elementwise::grid;
use crate::elementwise::{THREADS, element};

/// e and the loss of this thread's sample.
///
/// # Safety
/// All four have m elements.
#[inline(always)]
unsafe fn error<L: Loss>(
    m: u32,
    z: Global<f32>,
    y: Global<f32>,
    error: GlobalMut<f32>,
    losses: GlobalMut<f32>,
) {
    let i = element();
    if i < m as usize {
        // SAFETY: in range; each thread has a sample of its own.
        unsafe {
            let (e, loss) = L::error(z.read(i), y.read(i), 0.0);
            error.write(i, e);
            losses.write(i, loss);
        }
    }
}

/// e = z − y and e² / 2: z, y, errors and losses (m).
#[kernel(block = [THREADS, 1, 1])]
pub unsafe fn squared_error(
    m: u32,
    z: Global<f32>,
    y: Global<f32>,
    errors: GlobalMut<f32>,
    losses: GlobalMut<f32>,
) {
    error::<SquaredError>(m, z, y, errors, losses);
}

/// e = σ(z) − y and −y ln σ(z) − (1 − y) ln(1 − σ(z)): z, y, errors and losses (m).
#[kernel(block = [THREADS, 1, 1])]
pub unsafe fn log_loss(
    m: u32,
    z: Global<f32>,
    y: Global<f32>,
    errors: GlobalMut<f32>,
    losses: GlobalMut<f32>,
) {
    error::<LogLoss>(m, z, y, errors, losses);
}
