//! C = A B, the fourth rung: four values a load, from global memory and from shared memory.
//!
//! A (m × k), B (k × n), C (m × n).
//!
//! ```text
//!                     B │    128     │ 8         thread (x, y) of 16 × 16 has 2 × 2 blocks of 4 × 4 elements:
//!                       ├────────────┤           rows    4y … 4y + 3  and  64 + 4y …,
//!        A              │ xxxx  xxxx │           columns 4x … 4x + 3  and  64 + 4x …
//!       ───┬───┬────    ┌────────────┐ C
//!          │128│        │ ■■■■  ■■■■ │ y         for each l of a tile: 2 reads of four of A's tile,
//!          │ 8 │        │            │           2 of B's, and 64 fused multiply-adds
//!          │   │        │ ■■■■  ■■■■ │ y
//!       ───┴───┴────    └────────────┘
//! ```
//!
//! Neighbours in a row of A are four values of k, but a thread wants four rows at one k. So A's tile is
//! turned as it is written: row l of the tile holds column l of A. The rows of both tiles lie 132 apart: with
//! 4 banks from one to the next, the 32 lanes that write a turned vector's values meet 32 different banks.
//!
//! Four values are loaded at once only if a matrix's rows are a multiple of 4 long: then every row begins at
//! a multiple of 16 bytes, and four neighbours are all inside or all outside. Else they are loaded one by one.
//! The length of the rows decides, so all threads go the same way.
//!
//! **Cost.** For each l 4 reads of shared memory and 64 fused multiply-adds: 16 a read, four times the rung
//! before. Each read moves four times as much, though: a multiprocessor's shared memory gives a warp 16 bytes
//! a lane in 4 cycles, so the 4 reads need 16 cycles, as many as the 64 multiply-adds where there are 128
//! units for them (8.6, 8.9, 9.0), and half as many where there are 64 (8.0).
//!
//! **Barriers.** As in the rung before.
//!
//! **What changed.** From the register-tiled rung: a quarter of the instructions that load and store. Time
//! not measured yet.
//!
//! **Run it.** `cargo test --release --test kernels matmul_vectorised`

use cuda_std::memory::opaque;
use cuda_std::prelude::*;

use super::epilogue::{Epilogue, Plain};
use super::register_tiled::TILE_K;
use super::tile::tile_start;

pub use super::register_tiled::{TILE, grid};

/// [`TILE`], to index with.
pub const T: usize = TILE as usize;
/// Threads of a block along x and along y.
pub const SIDE: u32 = 16;
/// Values of a vector: 16 bytes.
pub const V: usize = 4;
/// Blocks of V × V elements that a thread has, down and across.
pub const BLOCKS: usize = T / (V * SIDE as usize);

/// Distance between the rows of a tile that is `lines` wide.
#[inline(always)]
pub const fn pitch(lines: usize) -> usize {
    lines + V
}

/// The sums of a thread: DOWN × ACROSS blocks of V × V.
pub type Accumulators<const DOWN: usize, const ACROSS: usize> = [[[[f32; V]; V]; ACROSS]; DOWN];

/// The rows or the columns of a thread: groups of V, the first of them at `first`, the next `step` further.
#[derive(Clone, Copy)]
pub struct Lines {
    /// First row or column of the first group.
    pub first: usize,
    /// From a group to the next.
    pub step: usize,
}

impl Lines {
    /// The same lines, counted from `start` lines before.
    #[inline(always)]
    pub fn after(self, start: usize) -> Self {
        Lines { first: start + self.first, ..self }
    }
}

/// Four neighbours of a row of S; zeros where they leave S.
#[inline(always)]
unsafe fn four(source: Global<f32>, [rows, columns]: [usize; 2], [row, column]: [usize; 2]) -> [f32; V] {
    let mut values = [0.0; V];
    if row < rows {
        let first = row * columns + column;
        if columns.is_multiple_of(V) {
            if column < columns {
                // SAFETY: a multiple of 4; with the first all four are inside.
                values = unsafe { source.read4(first) };
            }
        } else {
            for i in 0..V {
                if column + i < columns {
                    // SAFETY: inside S.
                    values[i] = unsafe { source.read(first + i) };
                }
            }
        }
    }
    values
}

/// acc += the product of a tile of A, turned, and one of B. In shared memory they begin at `a_from` and `b_from`, with
/// rows `a_pitch` and `b_pitch` apart.
///
/// # Safety
/// Both tiles have been written, before a barrier, and have the thread's rows and columns.
#[inline(always)]
pub unsafe fn multiply_tiles<const DOWN: usize, const ACROSS: usize, const A: usize, const B: usize>(
    acc: &mut Accumulators<DOWN, ACROSS>,
    (a_tile, a_from, a_pitch): (SharedArray<f32, A>, usize, usize), // (TILE_K × rows)
    (b_tile, b_from, b_pitch): (SharedArray<f32, B>, usize, usize), // (TILE_K × columns)
    rows: Lines,
    columns: Lines,
) {
    let (a_from, b_from) = (opaque(a_from + rows.first), opaque(b_from + columns.first));
    for l in 0..TILE_K {
        let mut a = [[0.0; V]; DOWN];
        let mut b = [[0.0; V]; ACROSS];
        // SAFETY: the caller's promise.
        unsafe {
            for i in 0..DOWN {
                a[i] = a_tile.read4(a_from + l * a_pitch + i * rows.step);
            }
            for j in 0..ACROSS {
                b[j] = b_tile.read4(b_from + l * b_pitch + j * columns.step);
            }
        }
        for i in 0..DOWN {
            for j in 0..ACROSS {
                for row in 0..V {
                    for column in 0..V {
                        let sum = acc[i][j][row][column];
                        acc[i][j][row][column] = mul_add(a[i][row], b[j][column], sum);
                    }
                }
            }
        }
    }
}

/// Writes the thread's elements of C (m × n), after the epilogue.
///
/// # Safety
/// The elements are this thread's alone; the epilogue has n columns.
#[inline(always)]
pub unsafe fn store<const DOWN: usize, const ACROSS: usize, E: Epilogue>(
    acc: &Accumulators<DOWN, ACROSS>,
    [m, n]: [usize; 2],
    rows: Lines,
    columns: Lines,
    epilogue: E,
    c: GlobalMut<f32>,
) {
    for j in 0..ACROSS {
        let column = columns.first + j * columns.step;
        let mut bias = [0.0; V];
        for x in 0..V {
            if column + x < n {
                // SAFETY: a column of C.
                bias[x] = unsafe { epilogue.bias(column + x) };
            }
        }
        for i in 0..DOWN {
            for y in 0..V {
                let row = rows.first + i * rows.step + y;
                let mut values = acc[i][j][y];
                for x in 0..V {
                    values[x] = epilogue.apply(values[x], bias[x]);
                }
                if row < m {
                    // SAFETY: inside C; in rows of a multiple of 4 all four are, with the first.
                    unsafe { store_four(values, row * n + column, n, column, c) };
                }
            }
        }
    }
}

/// Writes four neighbours of a row of C, as far as they are inside; the first is at `index`, in `column` of n.
///
/// # Safety
/// The row is one of C, the column a multiple of 4, and the elements are this thread's alone.
#[inline(always)]
pub unsafe fn store_four(values: [f32; V], index: usize, n: usize, column: usize, c: GlobalMut<f32>) {
    if n.is_multiple_of(V) {
        if column < n {
            // SAFETY: a multiple of 4; with the first all four are inside.
            unsafe { c.write4(index, values) };
        }
    } else {
        for x in 0..V {
            if column + x < n {
                // SAFETY: inside C.
                unsafe { c.write(index + x, values[x]) };
            }
        }
    }
}

/// C = A B: a (m × k), b (k × n), c (m × n).
#[kernel(block = [SIDE, SIDE, 1], min_blocks = 2)]
pub unsafe fn matmul_vectorised(m: u32, n: u32, k: u32, a: Global<f32>, b: Global<f32>, c: GlobalMut<f32>) {
    let a_tile = shared_array![f32; TILE_K * pitch(T)]; // (TILE_K × T), rows pitch(T) apart
    let b_tile = shared_array![f32; TILE_K * pitch(T)]; // (TILE_K × T), rows pitch(T) apart
    let (m, n, k) = (m as usize, n as usize, k as usize);
    let (first_row, first_column) = tile_start(n, T, T);
    let (x, y) = (thread::thread_idx_x() as usize, thread::thread_idx_y() as usize);
    let thread = y * SIDE as usize + x;
    // One vector of each tile is this thread's to copy: of A row `a_row`, of B row `b_row`.
    let (a_row, a_column) = (thread / (TILE_K / V), thread % (TILE_K / V) * V);
    let (b_row, b_column) = (thread / (T / V), thread % (T / V) * V);
    // This thread's part of C, counted from the block's.
    let (rows, columns) =
        (Lines { first: V * y, step: T / BLOCKS }, Lines { first: V * x, step: T / BLOCKS });
    let mut acc: Accumulators<BLOCKS, BLOCKS> = [[[[0.0; V]; V]; BLOCKS]; BLOCKS];
    let mut start = 0;
    while start < k {
        let turned = four(a, [m, k], [first_row + a_row, start + a_column]);
        for i in 0..V {
            a_tile.write((a_column + i) * pitch(T) + a_row, turned[i]);
        }
        b_tile.write4(b_row * pitch(T) + b_column, four(b, [k, n], [start + b_row, first_column + b_column]));
        thread::sync_threads();
        multiply_tiles(&mut acc, (a_tile, 0, pitch(T)), (b_tile, 0, pitch(T)), rows, columns);
        thread::sync_threads();
        start += TILE_K;
    }
    store(&acc, [m, n], rows.after(first_row), columns.after(first_column), Plain, c);
}
