//! Σ e (x − μ), Σe and Σ loss over the samples: X (m × n), μ (n), e and losses (m), partials (row blocks × (n + 2)).
//!
//! ```text
//!                        strip of 32 columns
//!               e, loss ┌────────────────────┐
//! row block  0  │  │    │ block: Σ over rows │ → partials[0] (n + 2)          columns 0 … n − 1   Σ e (x − μ)
//!            1  │  │    │       e · (x − μ)  │ → partials[1]                  column  n           Σ e
//!            …  │  │    │                    │                                column  n + 1       Σ loss
//!                       └────────────────────┘
//! ```
//!
//! X is not transposed: a product with Xᵀ is a sum of columns, each row weighted with its error. Σe is that of a column
//! of ones. [`finish`](super::finish) makes ∇w and the rest of it.
//!
//! **Cost.** X is read once: 4 bytes, a subtraction and one fused multiply-add an element, bound by memory. The 32
//! lanes of a warp read the same eᵢ, one value from the cache.
//!
//! **Barriers.** Those of `strip_sum`, which all threads of a block call.
//!
//! **What changed.** From the column sums: a weight a row. Against a transposed copy of X and a matrix-vector
//! product: not measured yet.
//!
//! **Run it.** `cargo test --release --test kernels gradient`

use cuda_std::prelude::*;

use crate::reduce::strip::{self, BLOCK, column, rows, strip_sum};

/// Blocks that share the rows of an m × n matrix: a function of the shape only.
pub fn row_blocks(m: usize, n: usize) -> usize {
    strip::row_blocks(m, n + 2)
}

/// The grid for an m × n matrix: strips of the n + 2 sums × row blocks.
pub fn grid(m: usize, n: usize) -> [u32; 3] {
    strip::grid(m, n + 2)
}

/// The sums over each row block: x (m × n), mean (n), error and losses (m), partials (row blocks of the grid × (n + 2)).
#[kernel(block = BLOCK)]
pub unsafe fn gradient(
    m: u32,
    n: u32,
    x: Global<f32>,
    mean: Global<f32>,
    error: Global<f32>,
    losses: Global<f32>,
    partials: GlobalMut<f32>,
) {
    let n = n as usize;
    let (column, sums) = (column(), n + 2);
    let center = if column < n { mean.read(column) } else { 0.0 };
    let total = strip_sum(rows(m as usize), column < sums, |row, acc| {
        if column < n {
            mul_add(x.read(row * n + column) - center, error.read(row), acc)
        } else {
            acc + if column == n { error.read(row) } else { losses.read(row) }
        }
    });
    if thread::thread_idx_y() == 0 && column < sums {
        partials.write(thread::block_idx_y() as usize * sums + column, total);
    }
}
