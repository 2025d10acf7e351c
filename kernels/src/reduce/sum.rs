//! s = Σ xᵢ over n values.
//!
//! ```text
//! x        │ block 0 │ block 1 │ … │ block B−1 │ block 0 │ block 1 │ …       a grid-stride loop
//! launch 1   each block: 256 threads, a share each → tree → partials[block]
//! launch 2   the same kernel with x = partials on a grid of one block      → partials[0] = s
//! ```
//!
//! **Cost.** 4 bytes and one addition a value: bound by memory, by far (a GPU does ten operations or more in
//! the time in which it reads a byte). The second launch reads at most 1024 values.
//!
//! **Barriers.** Those of `block_sum`. No thread returns before it: one without values brings 0.
//!
//! **What changed.** From elementwise: threads work together. Against one atomic addition a thread: the same
//! bits on every run; time not measured yet.
//!
//! **Run it.** `cargo test --release --test kernels sum`

use cuda_std::prelude::*;

pub use super::block::grid;
use super::block::{THREADS, block_sum, grid_stride};
use super::strided::{LOADS, join};

/// The sum of the values that each block visits: x (n), partials (blocks of the grid).
#[kernel(block = [THREADS, 1, 1])]
pub unsafe fn sum(n: u32, x: Global<f32>, partials: GlobalMut<f32>) {
    let mut acc = [0.0; LOADS];
    grid_stride(n as usize, |slot, i| acc[slot] += x.read(i));
    let total = block_sum(join(acc));
    if thread::thread_idx_x() == 0 {
        partials.write(thread::block_idx_x() as usize, total);
    }
}
