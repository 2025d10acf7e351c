//! s = Σ aᵢ bᵢ over n pairs.
//!
//! ```text
//! a, b     │ block 0 │ block 1 │ … │ block B−1 │ block 0 │ …
//! launch 1   each block: acc := a·b + acc, a share a thread → tree → partials[block]
//! launch 2   `sum` over the partials, one block                     → s
//! ```
//!
//! **Cost.** 8 bytes and one fused multiply-add a pair: bound by memory.
//!
//! **Barriers.** Those of `block_sum`.
//!
//! **What changed.** From the sum: the product is fused into the addition, rounded once, and is never
//! written to memory. Against `multiply` and then `sum` that saves 8 of 16 bytes a pair; time not measured
//! yet.
//!
//! **Run it.** `cargo test --release --test kernels dot`

use cuda_std::prelude::*;

pub use super::block::grid;
use super::block::{THREADS, block_sum, grid_stride};
use super::strided::{LOADS, join};

/// The sum of a·b over the indices that each block visits: a, b (n), partials (blocks of the grid).
#[kernel(block = [THREADS, 1, 1])]
pub unsafe fn dot(n: u32, a: Global<f32>, b: Global<f32>, partials: GlobalMut<f32>) {
    let mut acc = [0.0; LOADS];
    grid_stride(n as usize, |slot, i| acc[slot] = mul_add(a.read(i), b.read(i), acc[slot]));
    let total = block_sum(join(acc));
    if thread::thread_idx_x() == 0 {
        partials.write(thread::block_idx_x() as usize, total);
    }
}
