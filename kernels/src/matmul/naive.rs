//! C = op(A) op(B), the first rung: one thread an element, and everything from global memory. op(A) (m × k),
//! op(B) (k × n), C (m × n).
//!
//! ```text
//!                       B  column j ↓            thread (x, y) of a block of 32 × 8:
//!                     ┌─────┬─┬───────┐          row i = 8·tile + y, column j = 32·tile + x
//!                     │     │ │       │ k
//!                     └─────┴─┴───────┘          c = Σ_l  A[i,l] · B[l,j]
//!   A  ┌─────────┐    ┌─────┬─┬───────┐ C
//! row i├─────────┤    ├─────┼c┼───────┤
//!      └─────────┘    └─────┴─┴───────┘
//!           k
//! ```
//!
//! **Cost.** A thread reads 8 bytes for each fused multiply-add: 0.25 operations a byte, where a GPU needs
//! ten or more to be busy. Bound by the memory's path, the caches' for the most part: the lanes of a warp
//! have the same i, so A is one value for all of them, and B is one line. With B transposed they read
//! `B[j, l]`, k values apart: 32 lines for 32 values. A transposed costs nothing more: still one value for all
//! lanes.
//!
//! **Barriers.** None. Threads beyond the edges of C return at once.
//!
//! **What it buys.** It is the rung that the others are measured against: not measured yet.
//!
//! **Run it.** `cargo test --release --test kernels matmul_naive`

use cuda_std::prelude::*;

use super::tile::{place, tile_grid, tile_start};

/// Rows of a block's part of C.
pub const TILE_ROWS: u32 = 8;
/// Columns of a block's part of C.
pub const TILE_COLUMNS: u32 = 32;

/// The grid for an m × n product.
pub fn grid(m: usize, n: usize) -> [u32; 3] {
    tile_grid(m, n, TILE_ROWS as usize, TILE_COLUMNS as usize)
}

#[inline(always)]
unsafe fn multiply<const A_TRANSPOSED: bool, const B_TRANSPOSED: bool>(
    [m, n, k]: [u32; 3],
    a: Global<f32>,
    b: Global<f32>,
    c: GlobalMut<f32>,
) {
    let (m, n, k) = (m as usize, n as usize, k as usize);
    let (first_row, first_column) = tile_start(n, TILE_ROWS as usize, TILE_COLUMNS as usize);
    let row = first_row + thread::thread_idx_y() as usize;
    let column = first_column + thread::thread_idx_x() as usize;
    if row >= m || column >= n {
        return;
    }
    let mut acc = 0.0;
    for l in 0..k {
        // SAFETY: row < m, column < n, l < k.
        let (a, b) = unsafe {
            (a.read(place::<A_TRANSPOSED>(m, k, row, l)), b.read(place::<B_TRANSPOSED>(k, n, l, column)))
        };
        acc = mul_add(a, b, acc);
    }
    // SAFETY: row < m, column < n; no other thread has this element.
    unsafe { c.write(row * n + column, acc) };
}

/// C = A B: a (m × k), b (k × n), c (m × n).
#[kernel(block = [TILE_COLUMNS, TILE_ROWS, 1])]
pub unsafe fn matmul_naive(m: u32, n: u32, k: u32, a: Global<f32>, b: Global<f32>, c: GlobalMut<f32>) {
    multiply::<false, false>([m, n, k], a, b, c);
}

/// C = Aᵀ B: a (k × m), b (k × n), c (m × n).
#[kernel(block = [TILE_COLUMNS, TILE_ROWS, 1])]
pub unsafe fn matmul_naive_tn(m: u32, n: u32, k: u32, a: Global<f32>, b: Global<f32>, c: GlobalMut<f32>) {
    multiply::<true, false>([m, n, k], a, b, c);
}

/// C = A Bᵀ: a (m × k), b (n × k), c (m × n).
#[kernel(block = [TILE_COLUMNS, TILE_ROWS, 1])]
pub unsafe fn matmul_naive_nt(m: u32, n: u32, k: u32, a: Global<f32>, b: Global<f32>, c: GlobalMut<f32>) {
    multiply::<false, true>([m, n, k], a, b, c);
}

/// C = Aᵀ Bᵀ: a (k × m), b (n × k), c (m × n).
#[kernel(block = [TILE_COLUMNS, TILE_ROWS, 1])]
pub unsafe fn matmul_naive_tt(m: u32, n: u32, k: u32, a: Global<f32>, b: Global<f32>, c: GlobalMut<f32>) {
    multiply::<true, true>([m, n, k], a, b, c);
}
