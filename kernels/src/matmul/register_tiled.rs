//! C = A B, the third rung: a square of C in each thread's registers.
//!
//! A (m × k), B (k × n), C (m × n).
//!
//! ```text
//!                     B │  128   │ 8             thread (x, y) of 16 × 16 has 8 × 8 elements of the block's
//!                       ├────────┤               128 × 128: rows y, y + 16, …, columns x, x + 16, …
//!        A              │x x x … │
//!       ───┬───┬────    ┌────────┐ C             for each l of a tile:
//!          │128│        │y       │                 8 values of A and 8 of B, shared memory → registers
//!          │ 8 │        │y · ·   │                 64 fused multiply-adds, registers only
//!       ───┴───┴────    └────────┘
//! ```
//!
//! A value of shared memory that is read is used 8 times. Neighbours in x read neighbours of B's tile, 16
//! banks; the two y of a warp read one value of A's tile each, 9 apart: no conflicts. The copies go along the
//! tiles; a warp that writes 4 rows of A's, 8 values each and 9 apart, meets three of the banks twice.
//!
//! **Cost.** For each l 16 reads of shared memory and 64 fused multiply-adds: 4 for a read, where the tiled
//! rung has half of one. From global memory a value is used 128 times: 32 operations a byte, four times the
//! tiled rung's. The sums stay in 64 registers, which leaves room for two blocks on a multiprocessor.
//!
//! **Barriers.** As in the tiled rung: between the two of a step the tiles are only read. All threads go
//! through all steps.
//!
//! **What changed.** From the tiled rung: 64 elements a thread in place of one, for 8 times the
//! multiply-adds a read. Time not measured yet.
//!
//! **Run it.** `cargo test --release --test kernels matmul_register_tiled`

use cuda_std::prelude::*;

use super::tile::{place, tile_grid, tile_start};

/// Rows and columns of a block's part of C.
pub const TILE: u32 = 128;
/// Columns of A's tile, rows of B's.
pub const TILE_K: usize = 8;
/// Threads of a block along x and along y.
const SIDE: u32 = 16;
/// Rows and columns of a thread's part of C.
const OWN: usize = (TILE / SIDE) as usize;
/// Distance between the rows of A's tile: one more than a row. (With a multiple of 4 the assembler would read four
/// neighbours at once, which is the next rung's idea, and run out of registers.)
const A_PITCH: usize = TILE_K + 1;
/// [`TILE`], to index with.
const T: usize = TILE as usize;
/// [`SIDE`], to index with.
const S: usize = SIDE as usize;

/// The grid for an m × n product.
pub fn grid(m: usize, n: usize) -> [u32; 3] {
    tile_grid(m, n, T, T)
}

/// Copies a tile of S, `WIDTH` columns wide, to shared memory; zeros where the tile leaves S.
#[inline(always)]
unsafe fn stage<const WIDTH: usize, const PITCH: usize, const N: usize>(
    tile: SharedArray<f32, N>,
    source: Global<f32>,
    [rows, columns]: [usize; 2],
    [first_row, first_column]: [usize; 2],
) {
    let thread = thread::thread_idx_y() as usize * S + thread::thread_idx_x() as usize;
    for copy in 0..T * TILE_K / (S * S) {
        let element = copy * S * S + thread;
        let (row, column) = (first_row + element / WIDTH, first_column + element % WIDTH);
        let inside = row < rows && column < columns;
        // SAFETY: inside S; each thread has elements of the tile of its own.
        unsafe {
            let value = if inside { source.read(place::<false>(rows, columns, row, column)) } else { 0.0 };
            tile.write(element / WIDTH * PITCH + element % WIDTH, value);
        }
    }
}

/// C = A B: a (m × k), b (k × n), c (m × n).
#[kernel(block = [SIDE, SIDE, 1], min_blocks = 2)]
pub unsafe fn matmul_register_tiled(
    m: u32,
    n: u32,
    k: u32,
    a: Global<f32>,
    b: Global<f32>,
    c: GlobalMut<f32>,
) {
    let a_tile = shared_array![f32; T * A_PITCH]; // (T × TILE_K), rows A_PITCH apart
    let b_tile = shared_array![f32; T * TILE_K]; // (TILE_K × T)
    let (m, n, k) = (m as usize, n as usize, k as usize);
    let (first_row, first_column) = tile_start(n, T, T);
    let (x, y) = (thread::thread_idx_x() as usize, thread::thread_idx_y() as usize);
    let mut acc = [[0.0; OWN]; OWN]; // (OWN × OWN)
    let mut start = 0;
    while start < k {
        stage::<TILE_K, A_PITCH, _>(a_tile, a, [m, k], [first_row, start]);
        stage::<T, T, _>(b_tile, b, [k, n], [start, first_column]);
        thread::sync_threads();
        for l in 0..TILE_K {
            let mut a_own = [0.0; OWN];
            let mut b_own = [0.0; OWN];
            for i in 0..OWN {
                a_own[i] = a_tile.read((y + S * i) * A_PITCH + l);
                b_own[i] = b_tile.read(l * T + x + S * i);
            }
            for i in 0..OWN {
                for j in 0..OWN {
                    acc[i][j] = mul_add(a_own[i], b_own[j], acc[i][j]);
                }
            }
        }
        thread::sync_threads();
        start += TILE_K;
    }
    for i in 0..OWN {
        for j in 0..OWN {
            let (row, column) = (first_row + y + S * i, first_column + x + S * j);
            if row < m && column < n {
                c.write(row * n + column, acc[i][j]);
            }
        }
    }
}
