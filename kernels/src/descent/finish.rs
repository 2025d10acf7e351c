//! The rest of a step: w := w − α Σ/(m σ), b := b − α Σe/m, and J = Σ loss / m into the history.
//!
//! ```text
//! partials (blocks × (n + 2))    columns 0 … n − 1        n          n + 1
//!                                Σ e (x − μ)              Σe         Σ loss
//!                                   ↓                     ↓            ↓            Σ over the blocks, as in `strip`
//!                                weights               bias       history[step], and step := step + 1
//! ```
//!
//! The step's number lies in the device's memory, and this kernel counts it on: so the launches of a step are the same
//! in every step, and a GPU can repeat them without the host. With a full history it counts no further.
//!
//! **Cost.** 4 bytes and an addition a partial sum, most of which are in the cache, as they have just been written.
//! Bound by the time of the launch and of one way to the cache and back: not measured yet.
//!
//! **Barriers.** Those of `strip_sum`, which all threads of a block call. `step` belongs to one thread of the grid.
//!
//! **What changed.** From the column sums' second launch: weights, bias and cost are done in it, not in launches of their own.
//!
//! **Run it.** `cargo test --release --test kernels descent_finish`

use cuda_std::prelude::*;

use crate::reduce::strip::{BLOCK, COLUMNS, column, strip_sum};

/// The grid for n columns: strips of the n + 2 sums.
pub fn grid(n: usize) -> [u32; 3] {
    [(n + 2).div_ceil(COLUMNS as usize) as u32, 1, 1]
}

/// Updates weights (n), bias (1), history (steps) and step (1) with what [`fused`](super::fused) or [`gradient`](super::gradient) sums
/// up over m rows: partials
/// (blocks × (n + 2)), deviation (n).
#[kernel(block = BLOCK)]
pub unsafe fn descent_finish(
    m: u32,
    n: u32,
    blocks: u32,
    steps: u32,
    learning_rate: f32,
    partials: Global<f32>,
    deviation: Global<f32>,
    weights: GlobalMut<f32>,
    bias: GlobalMut<f32>,
    history: GlobalMut<f32>,
    step: GlobalMut<u32>,
) {
    let n = n as usize;
    let (column, sums) = (column(), n + 2);
    let total =
        strip_sum(0..blocks as usize, column < sums, |block, acc| acc + partials.read(block * sums + column));
    if thread::thread_idx_y() != 0 || column >= sums {
        return;
    }
    let average = total / m.max(1) as f32;
    if column < n {
        let weight = mul_add(-learning_rate, average / deviation.read(column), weights.read(column));
        weights.write(column, weight);
    } else if column == n {
        bias.write(0, mul_add(-learning_rate, average, bias.read(0)));
    } else {
        let now = step.read(0);
        if now < steps {
            history.write(now as usize, average);
            step.write(0, now + 1);
        }
    }
}
