//! The rest of a step: with ∇w = Σ/(m σ) + λw and ∇b = Σe/m, w := w − α∇w, b := b − α∇b; Σ loss / m into the history, and
//! beside it the parts of ‖(∇w, ∇b)‖² and Σw², of w before the step.
//!
//! ```text
//! partials (blocks × (n + 2))    columns 0 … n − 1        n          n + 1
//!                                Σ e (x − μ)              Σe         Σ loss
//!                                   ↓                     ↓            ↓            Σ over the blocks, as in `strip`
//!                                weights               bias       history[step]
//!                                   ↓ ∇w², w²           ↓ ∇b²
//! squares (steps × strips × 2)   Σ over a strip's 32 columns, by one warp; and step[strip] := step[strip] + 1
//! ```
//!
//! The step's number lies in the device's memory, once for each block, and this kernel counts it on: so the launches of a
//! step are the same in every step, and a GPU can repeat them without the host. With a full history it counts no further.
//! The host adds up the strips' squares when it reads the history: λ/2 Σw² is the penalty in the cost, and the length of
//! the gradient says where descent may end, at no way to the host and back in a step. Each square is of `f32`: of slopes below
//! 10⁻²³ it is 0.
//!
//! **Cost.** 4 bytes and an addition a partial sum, most of which are in the cache, as they have just been written; ten
//! shuffles and 8 bytes a strip for the squares. Bound by the time of the launch and of one way to the cache and back: not
//! measured yet.
//!
//! **Barriers.** Those of `strip_sum`, which all threads of a block call. What follows is done by the block's first warp, all
//! of it, past the last column too, as the shuffles ask. A block's `step` belongs to its first thread.
//!
//! **What changed.** From the column sums' second launch: weights, bias and cost are done in it, not in launches of their own.
//!
//! **Run it.** `cargo test --release --test kernels descent_finish`

use cuda_std::prelude::*;

use crate::reduce::block::warp_sum;
use crate::reduce::strip::{BLOCK, COLUMNS, column, strip_sum};

/// The grid for n columns: strips of the n + 2 sums.
pub fn grid(n: usize) -> [u32; 3] {
    [(n + 2).div_ceil(COLUMNS as usize) as u32, 1, 1]
}

/// Updates weights (n), bias (1), history (steps), squares (steps × strips × 2) and step (strips) with what
/// [`fused`](super::fused) or [`gradient`](super::gradient) sums up over m rows: partials (blocks × (n + 2)), deviation (n).
#[kernel(block = BLOCK)]
pub unsafe fn descent_finish(
    m: u32,
    n: u32,
    blocks: u32,
    steps: u32,
    learning_rate: f32,
    l2: f32,
    partials: Global<f32>,
    deviation: Global<f32>,
    weights: GlobalMut<f32>,
    bias: GlobalMut<f32>,
    history: GlobalMut<f32>,
    squares: GlobalMut<f32>,
    step: GlobalMut<u32>,
) {
    let n = n as usize;
    let (column, sums) = (column(), n + 2);
    let total =
        strip_sum(0..blocks as usize, column < sums, |block, acc| acc + partials.read(block * sums + column));
    if thread::thread_idx_y() != 0 {
        return;
    }
    let average = total / m.max(1) as f32;
    let (mut slope, mut weight) = (0.0, 0.0);
    if column < n {
        weight = weights.read(column);
        slope = mul_add(l2, weight, average / deviation.read(column));
        weights.write(column, mul_add(-learning_rate, slope, weight));
    } else if column == n {
        slope = average;
        bias.write(0, mul_add(-learning_rate, slope, bias.read(0)));
    }
    let (slopes, magnitudes) = (warp_sum(slope * slope), warp_sum(weight * weight));
    let (strip, strips) = (thread::block_idx_x() as usize, thread::grid_dim_x() as usize);
    let first = thread::thread_idx_x() == 0;
    let now = warp::shuffle_idx(warp::FULL_MASK, if first { step.read(strip) } else { 0 }, 0);
    if now >= steps {
        return;
    }
    if column == n + 1 {
        history.write(now as usize, average);
    }
    if first {
        let at = 2 * (now as usize * strips + strip);
        squares.write(at, slopes);
        squares.write(at + 1, magnitudes);
        step.write(strip, now + 1);
    }
}
