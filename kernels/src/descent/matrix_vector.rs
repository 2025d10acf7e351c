//! z = (X − μ) v + b: X (m × n), μ and v (n), b (1), z (m).
//!
//! ```text
//!             column 0 … 31  32 … 63  64 … 95  96 … 127 │ 128 …
//! row 0  warp 0   lane 0 … 31, a column each, four loads under way │ …   → warp_sum → z₀
//! row 1  warp 1
//!  …      …       a block has 8 warps: 8 rows
//! ```
//!
//! **Cost.** X is read once: 4 bytes, a subtraction and one fused multiply-add an element. Bound by memory: v and μ stay in the
//! cache, z is small. One thread a row would make a warp read 32 rows at a time, each with a line of memory
//! of its own of which it uses 4 bytes; one warp a row reads whole lines. With few columns many lanes have
//! nothing to do.
//!
//! **Barriers.** None: a row is a warp's own. A warp below the last row returns as a whole, so the shuffles
//! of the others are not disturbed.
//!
//! **What changed.** From the dot product: one of them a warp, not one a grid, and a single launch. Time not
//! measured yet.
//!
//! **Run it.** `cargo test --release --test kernels matrix_vector`

use cuda_std::prelude::*;

use crate::reduce::block::{WARP, warp_sum};
use crate::reduce::strided::{self, LOADS, join, strided};

/// Rows of a block: one a warp.
const ROWS: usize = 8;
/// Threads of a block.
const THREADS: u32 = (ROWS * WARP) as u32;

/// The grid for m rows.
pub fn grid(m: usize) -> [u32; 3] {
    [m.div_ceil(ROWS) as u32, 1, 1]
}

/// The longest chain of additions behind one element of the result, the bias included.
pub const fn depth(n: usize) -> usize {
    strided::depth(n.div_ceil(WARP)) + WARP.ilog2() as usize + 1
}

/// out = (X − mean) weights + bias: x (m × n), mean and weights (n), bias (1), out (m).
#[kernel(block = [THREADS, 1, 1])]
pub unsafe fn matrix_vector(
    m: u32,
    n: u32,
    x: Global<f32>,
    mean: Global<f32>,
    weights: Global<f32>,
    bias: Global<f32>,
    out: GlobalMut<f32>,
) {
    let n = n as usize;
    let row = thread::block_idx_x() as usize * ROWS + warp::warp_id() as usize;
    if row >= m as usize {
        return; // the whole warp
    }
    let lane = warp::lane_id() as usize;
    let mut acc = [0.0; LOADS];
    strided(lane, n, WARP, |slot, column| {
        acc[slot] = mul_add(x.read(row * n + column) - mean.read(column), weights.read(column), acc[slot]);
    });
    let total = warp_sum(join(acc));
    if lane == 0 {
        out.write(row, total + bias.read(0));
    }
}
