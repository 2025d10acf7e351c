//! e = ŷ − y, J = Σe² / (2m), ∇b = Σe / m: ŷ, y, e (m).
//!
//! ```text
//! linear_error   ŷ, y → e, and each block's Σe² and Σe        a share a thread, as in `sum`
//! linear_cost    the blocks' Σe² and Σe → J, ∇b               one block
//! ```
//!
//! **Cost.** 12 bytes and 3 operations a sample, bound by memory; against X's 4n bytes a sample it is
//! nothing. The cost goes to `history[step]` on the device, so that no step waits for the host.
//!
//! **Barriers.** Those of `block_sum`, called twice: its last barrier keeps the calls apart.
//!
//! **What changed.** From the sum: three results from one pass over the data. Against three kernels: not
//! measured yet.
//!
//! **Run it.** `cargo test --release --test kernels linear_`

use cuda_std::prelude::*;

pub use crate::reduce::block::grid;
use crate::reduce::block::{THREADS, block_sum, grid_stride};
use crate::reduce::strided::{LOADS, join};

/// e = ŷ − y, and over the indices that each block visits Σe² and Σe: prediction, y, error (m),
/// square_partials and sum_partials (blocks of the grid).
#[kernel(block = [THREADS, 1, 1])]
pub unsafe fn linear_error(
    m: u32,
    prediction: Global<f32>,
    y: Global<f32>,
    error: GlobalMut<f32>,
    square_partials: GlobalMut<f32>,
    sum_partials: GlobalMut<f32>,
) {
    let mut squares = [0.0; LOADS];
    let mut sums = [0.0; LOADS];
    grid_stride(m as usize, |slot, i| {
        let e = prediction.read(i) - y.read(i);
        error.write(i, e);
        squares[slot] = mul_add(e, e, squares[slot]);
        sums[slot] += e;
    });
    let square = block_sum(join(squares));
    let sum = block_sum(join(sums));
    if thread::thread_idx_x() == 0 {
        square_partials.write(thread::block_idx_x() as usize, square);
        sum_partials.write(thread::block_idx_x() as usize, sum);
    }
}

/// J = Σe² / (2m) at history\[step\] and ∇b = Σe / m at bias_gradient\[0\], from [`LINEAR_ERROR`]'s partial
/// sums (blocks). One block.
#[kernel(block = [THREADS, 1, 1])]
pub unsafe fn linear_cost(
    m: u32,
    blocks: u32,
    step: u32,
    square_partials: Global<f32>,
    sum_partials: Global<f32>,
    history: GlobalMut<f32>,
    bias_gradient: GlobalMut<f32>,
) {
    let mut squares = [0.0; LOADS];
    let mut sums = [0.0; LOADS];
    grid_stride(blocks as usize, |slot, i| {
        squares[slot] += square_partials.read(i);
        sums[slot] += sum_partials.read(i);
    });
    let square = block_sum(join(squares));
    let sum = block_sum(join(sums));
    if thread::thread_idx_x() == 0 {
        let samples = m.max(1) as f32;
        history.write(step as usize, square / (2.0 * samples));
        bias_gradient.write(0, sum / samples);
    }
}
