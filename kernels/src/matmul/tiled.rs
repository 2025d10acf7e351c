//! C = op(A) op(B), the second rung: tiles of A and B in shared memory.
//!
//! op(A) (m × k), op(B) (k × n), C (m × n).
//!
//! ```text
//!                        B  │ tile │
//!                           │32 × 32            a block owns 32 × 32 elements of C, one a thread;
//!                           ├──────┤ ↓          it goes along k, a tile of A and of B at a time:
//!                           │      │
//!      A ───┬──────┬────    ┌──────┐ C            copy both tiles, one element a thread
//!           │ tile │ →      │ block│              barrier
//!        ───┴──────┴────    └──────┘              32 fused multiply-adds a thread
//!            32 × 32                              barrier
//! ```
//!
//! Every value that is copied is used by 32 threads. Whichever way S (A or B) is stored, neighbours in x
//! read neighbours in memory; a transposed tile is turned as it is written. Its rows lie 33 apart, so that
//! the 32 lanes of a warp write a column to 32 different banks. What lies beyond an edge is 0, which adds
//! nothing: the inner loop has no `if`.
//!
//! **Cost.** 8 bytes of global memory for 32 fused multiply-adds: 8 operations a byte, 32 times the naive
//! rung's. Now shared memory is the limit: two reads for each multiply-add, and in the time of one read an
//! SM can start four multiply-adds. So this rung reaches an eighth of the peak at best.
//!
//! **Barriers.** Between the two of a step the tiles are only read; from the second to the next step's first
//! each thread writes its own two elements. All threads go through all steps, those beyond the edges of C
//! too.
//!
//! **What changed.** From the naive rung: a 32nd of the reads from global memory. Time not measured yet.
//!
//! **Run it.** `cargo test --release --test kernels matmul_tiled`

use cuda_std::prelude::*;

use super::tile::{place, tile_grid, tile_start};

/// Rows and columns of a block's part of C, and of the tiles of A and B.
pub const TILE: u32 = 32;
/// [`TILE`], to index with.
const T: usize = TILE as usize;
/// Distance between the rows of a tile: one more than a row, so that a column lies in 32 different banks.
const PITCH: usize = T + 1;

/// The grid for an m × n product.
pub fn grid(m: usize, n: usize) -> [u32; 3] {
    tile_grid(m, n, T, T)
}

/// Copies a tile of op(S) to shared memory, one element a thread; zeros where the tile leaves op(S).
#[inline(always)]
unsafe fn stage<const TRANSPOSED: bool>(
    tile: SharedArray<f32, { T * PITCH }>,
    source: Global<f32>,
    [rows, columns]: [usize; 2],
    [first_row, first_column]: [usize; 2],
) {
    let (x, y) = (thread::thread_idx_x() as usize, thread::thread_idx_y() as usize);
    // Neighbours in x read neighbours in memory, whichever way S is stored.
    let (r, c) = if TRANSPOSED { (x, y) } else { (y, x) };
    let (row, column) = (first_row + r, first_column + c);
    let inside = row < rows && column < columns;
    // SAFETY: inside op(S); each thread has an element of the tile of its own.
    unsafe {
        let value = if inside { source.read(place::<TRANSPOSED>(rows, columns, row, column)) } else { 0.0 };
        tile.write(r * PITCH + c, value);
    }
}

/// op(A) op(B) at this thread's element, which may lie outside of C.
///
/// # Safety
/// The block is (TILE, TILE, 1) and all of its threads call it together; a (m × k) and b (k × n) as stored.
#[inline(always)]
pub unsafe fn element<const A_TRANSPOSED: bool, const B_TRANSPOSED: bool>(
    [m, n, k]: [usize; 3],
    [first_row, first_column]: [usize; 2],
    a: Global<f32>,
    b: Global<f32>,
) -> f32 {
    let a_tile = shared_array![f32; T * PITCH]; // (T × T), rows PITCH apart
    let b_tile = shared_array![f32; T * PITCH]; // (T × T), rows PITCH apart
    let (x, y) = (thread::thread_idx_x() as usize, thread::thread_idx_y() as usize);
    let mut acc = 0.0;
    let mut start = 0;
    while start < k {
        // SAFETY: the tiles are not read before the barrier.
        unsafe {
            stage::<A_TRANSPOSED>(a_tile, a, [m, k], [first_row, start]);
            stage::<B_TRANSPOSED>(b_tile, b, [k, n], [start, first_column]);
        }
        thread::sync_threads();
        for l in 0..T {
            // SAFETY: in range; written before the barrier.
            acc = unsafe { mul_add(a_tile.read(y * PITCH + l), b_tile.read(l * PITCH + x), acc) };
        }
        thread::sync_threads();
        start += T;
    }
    acc
}

#[inline(always)]
unsafe fn multiply<const A_TRANSPOSED: bool, const B_TRANSPOSED: bool>(
    [m, n, k]: [u32; 3],
    a: Global<f32>,
    b: Global<f32>,
    c: GlobalMut<f32>,
) {
    let (m, n, k) = (m as usize, n as usize, k as usize);
    let (first_row, first_column) = tile_start(n, T, T);
    let row = first_row + thread::thread_idx_y() as usize;
    let column = first_column + thread::thread_idx_x() as usize;
    // SAFETY: the whole block is here; row < m and column < n where it writes.
    unsafe {
        let acc = element::<A_TRANSPOSED, B_TRANSPOSED>([m, n, k], [first_row, first_column], a, b);
        if row < m && column < n {
            c.write(row * n + column, acc);
        }
    }
}

/// C = A B: a (m × k), b (k × n), c (m × n).
#[kernel(block = [TILE, TILE, 1])]
pub unsafe fn matmul_tiled(m: u32, n: u32, k: u32, a: Global<f32>, b: Global<f32>, c: GlobalMut<f32>) {
    multiply::<false, false>([m, n, k], a, b, c);
}

/// C = Aᵀ B: a (k × m), b (k × n), c (m × n).
#[kernel(block = [TILE, TILE, 1])]
pub unsafe fn matmul_tiled_tn(m: u32, n: u32, k: u32, a: Global<f32>, b: Global<f32>, c: GlobalMut<f32>) {
    multiply::<true, false>([m, n, k], a, b, c);
}

/// C = A Bᵀ: a (m × k), b (n × k), c (m × n).
#[kernel(block = [TILE, TILE, 1])]
pub unsafe fn matmul_tiled_nt(m: u32, n: u32, k: u32, a: Global<f32>, b: Global<f32>, c: GlobalMut<f32>) {
    multiply::<false, true>([m, n, k], a, b, c);
}

/// C = Aᵀ Bᵀ: a (k × m), b (n × k), c (m × n).
#[kernel(block = [TILE, TILE, 1])]
pub unsafe fn matmul_tiled_tt(m: u32, n: u32, k: u32, a: Global<f32>, b: Global<f32>, c: GlobalMut<f32>) {
    multiply::<true, true>([m, n, k], a, b, c);
}
