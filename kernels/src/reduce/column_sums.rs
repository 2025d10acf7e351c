//! sⱼ = Σᵢ xᵢⱼ for each column j of X (m × n).
//!
//! ```text
//! launch 1   X (m × n)                   → partials (row blocks × n), on the grid of m × n
//! launch 2   partials (row blocks × n)   → sums (1 × n), the same kernel with one row block
//! ```
//!
//! Which thread adds what: see [`strip`](super::strip).
//!
//! **Cost.** 4 bytes and one addition an element: bound by memory.
//!
//! **Barriers.** Those of `strip_sum`, which all threads of a block call.
//!
//! **What changed.** From the sum: the results are n, and neighbours in memory belong to different ones.
//! Time not measured yet.
//!
//! **Run it.** `cargo test --release --test kernels column_sums`

use cuda_std::prelude::*;

use super::strip::{BLOCK, column, rows, strip_sum};
pub use super::strip::{finish_grid, grid, row_blocks};

/// Sums of x's columns over each row block: x (m × n), partials (row blocks of the grid × n).
#[kernel(block = BLOCK)]
pub unsafe fn column_sums(m: u32, n: u32, x: Global<f32>, partials: GlobalMut<f32>) {
    let n = n as usize;
    let column = column();
    let total = strip_sum(rows(m as usize), column < n, |row, acc| acc + x.read(row * n + column));
    if thread::thread_idx_y() == 0 && column < n {
        partials.write(thread::block_idx_y() as usize * n + column, total);
    }
}
