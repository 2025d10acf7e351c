//! ∇w = Xᵀe / m: X (m × n), e (m), ∇w (n).
//!
//! ```text
//!                    strip of 32 columns
//!               e  ┌────────────────────┐
//! row block  0  │  │ block: Σ over rows │ → partials[0] (n)
//!            1  │  │         x · e      │ → partials[1]          launch 1: `gradient`
//!            …  │  │                    │
//!                  └────────────────────┘
//!                    Σ over row blocks / m → ∇w                 launch 2: `gradient_finish`
//! ```
//!
//! X is not transposed: a product with Xᵀ is a sum of columns, each row weighted with its error.
//!
//! **Cost.** X is read once: 4 bytes and one fused multiply-add an element, bound by memory. The 32 lanes of
//! a warp read the same eᵢ, one value from the cache.
//!
//! **Barriers.** Those of `strip_sum`, which all threads of a block call.
//!
//! **What changed.** From the column sums: a weight a row. Against a transposed copy of X and a matrix-vector
//! product: not measured yet.
//!
//! **Run it.** `cargo test --release --test kernels gradient`

use cuda_std::prelude::*;

use crate::reduce::strip::{BLOCK, column, rows, strip_sum};
pub use crate::reduce::strip::{finish_grid, grid, row_blocks};

/// Xᵀe over each row block: x (m × n), error (m), partials (row blocks of the grid × n).
#[kernel(block = BLOCK)]
pub unsafe fn gradient(m: u32, n: u32, x: Global<f32>, error: Global<f32>, partials: GlobalMut<f32>) {
    let n = n as usize;
    let column = column();
    let total = strip_sum(rows(m as usize), column < n, |row, acc| {
        mul_add(x.read(row * n + column), error.read(row), acc)
    });
    if thread::thread_idx_y() == 0 && column < n {
        partials.write(thread::block_idx_y() as usize * n + column, total);
    }
}

/// ∇w = Xᵀe / m from the row blocks' partial sums: partials (row_blocks × n), gradient (n).
#[kernel(block = BLOCK)]
pub unsafe fn gradient_finish(
    m: u32,
    n: u32,
    row_blocks: u32,
    partials: Global<f32>,
    gradient: GlobalMut<f32>,
) {
    let n = n as usize;
    let column = column();
    let total =
        strip_sum(0..row_blocks as usize, column < n, |block, acc| acc + partials.read(block * n + column));
    if thread::thread_idx_y() == 0 && column < n {
        gradient.write(column, total / m.max(1) as f32);
    }
}
