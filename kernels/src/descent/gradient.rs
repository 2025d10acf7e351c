//! Xᵀe / m.
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
