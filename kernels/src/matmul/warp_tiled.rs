//! C = op(A) op(B), the sixth rung: a tile for each warp, and 8 × 16 elements of C for each thread.
//!
//! op(A) (m × k), op(B) (k × n), C (m × n).
//!
//! ```text
//!  a block: 128 × 128         a warp: 64 × 64, by lanes             a thread: 2 × 4 blocks of 4 × 4
//!  ┌─────────┬─────────┐      ┌─────────────┬─────────────┬ …         0    16    32    48
//!  │ warp 0  │ warp 1  │      │ 0  1 16 17  │ 0  1 16 17  │      0  ■■■■  ■■■■  ■■■■  ■■■■
//!  │ 64 × 64 │         │      │ 2  3 18 19  │ 2  3 18 19  │
//!  ├─────────┼─────────┤      │ …           │ …           │     32  ■■■■  ■■■■  ■■■■  ■■■■
//!  │ warp 2  │ warp 3  │      │14 15 30 31  │14 15 30 31  │
//!  └─────────┴─────────┘      ├─────────────┼─────────────┼ …      4 × 4 elements each
//! ```
//!
//! Shared memory is what the rungs before are bound by: 4 reads of four values for 64 multiply-adds. With
//! 8 × 16 elements a thread there are 6 for 128; a block has half the threads for it, with twice the
//! registers. The lanes of a warp lie close together, 8 × 4, so that a read brings few different values: 8 times
//! four of A's, 4 times four of B's. And they lie so that lanes n and n ^ 1 want the same of A, and n and
//! n ^ 2 the same of B: such a read is served in half the time on some GPUs.
//!
//! Either operand may be transposed, at no cost but for how its tiles are copied (see the pipelined rung): in
//! shared memory they look the same.
//!
//! **Cost.** For each l 6 reads of shared memory and 128 fused multiply-adds: 21 a read. The reads need at most
//! 24 cycles of a multiprocessor's shared memory for what its 128 units compute in 32. In the machine code for
//! compute capability 9.0 (ptxas 13.0, C = A B, rows of a multiple of 4) a step has 1161 instructions: 1024
//! multiply-adds, 48 reads, 10 copies; the other 79 are addresses, comparisons, waiting and the loop. If nothing
//! else held it up, that is 0.88 of the peak. 229 registers and 128 threads: two blocks on a multiprocessor,
//! whose barriers do not coincide.
//!
//! **Barriers.** As in the pipelined rung: one a step. Two groups of copies are under way besides the tiles
//! in use.
//!
//! **What changed.** From the pipelined rung: 128 elements a thread in place of 64, in a warp's own tile;
//! a third slot; operands may be transposed; an epilogue. Time not measured yet.
//!
//! **Run it.** `cargo test --release --test kernels matmul_warp_tiled`

use cuda_std::prelude::*;

use super::epilogue::{Epilogue, Plain};
use super::pipelined::{Operand, Slots, accumulate};
use super::register_tiled::TILE_K;
use super::tile::{tile_grid, tile_start};
use super::vectorised::{Accumulators, Lines, V, pitch, store};

/// Rows and columns of a block's part of C.
pub const TILE: usize = 128;
/// Lanes of a warp, from top to bottom and from left to right of a V × V part of its tile.
const LANES: [usize; 2] = [8, 4];
/// Warps of a block, from top to bottom and from left to right.
const WARPS: [usize; 2] = [2, 2];
/// Threads of a block.
pub const THREADS: u32 = (WARPS[0] * WARPS[1] * LANES[0] * LANES[1]) as u32;
/// Blocks of V × V elements that a thread has, from top to bottom.
const DOWN: usize = blocks_down(TILE);
/// Blocks of V × V elements that a thread has, from left to right.
const ACROSS: usize = blocks_across(TILE);
/// Groups of copies under way, besides the one that is waited for.
const PENDING: u32 = 1;
/// Slots for tiles.
const SLOTS: usize = PENDING as usize + 2;

/// Blocks of V × V elements from top to bottom that a thread has of a tile with so many rows.
pub const fn blocks_down(rows: usize) -> usize {
    rows / (WARPS[0] * LANES[0] * V)
}

/// Blocks of V × V elements from left to right that a thread has of a tile with so many columns.
pub const fn blocks_across(columns: usize) -> usize {
    columns / (WARPS[1] * LANES[1] * V)
}

/// The grid for an m × n product.
pub fn grid(m: usize, n: usize) -> [u32; 3] {
    tile_grid(m, n, TILE, TILE)
}

/// Rows and columns of a thread in the block's tile of `tile` × `tile`.
#[inline(always)]
pub fn own(thread: usize, tile: usize) -> (Lines, Lines) {
    let lanes = LANES[0] * LANES[1];
    let (warp, lane) = (thread / lanes, thread % lanes);
    // Bits of the lane: 3, 2, 1 say which of 8 rows of lanes, 4 and 0 which of 4 columns.
    let (down, across) = (lane / 2 % LANES[0], lane / (2 * LANES[0]) * 2 + lane % 2);
    let row = warp / WARPS[1] * (tile / WARPS[0]) + down * V;
    let column = warp % WARPS[1] * (tile / WARPS[1]) + across * V;
    (Lines { first: row, step: LANES[0] * V }, Lines { first: column, step: LANES[1] * V })
}

/// C = op(A) op(B), each element through the epilogue.
///
/// # Safety
/// The block has `THREADS` threads, which all call it together; a and b are as stored, c (m × n).
#[inline(always)]
pub unsafe fn multiply<E: Epilogue>(
    [m, n, k]: [u32; 3],
    [a_transposed, b_transposed]: [bool; 2],
    a: Global<f32>,
    b: Global<f32>,
    epilogue: E,
    c: GlobalMut<f32>,
) {
    let a_tiles = shared_array![f32; SLOTS * TILE_K * pitch(TILE)]; // (SLOTS × TILE_K × TILE), rows pitch(TILE) apart
    let b_tiles = shared_array![f32; SLOTS * TILE_K * pitch(TILE)]; // (SLOTS × TILE_K × TILE), rows pitch(TILE) apart
    let (m, n, k) = (m as usize, n as usize, k as usize);
    let (first_row, first_column) = tile_start(n, TILE, TILE);
    let thread = thread::thread_idx_x() as usize;
    let (rows, columns) = own(thread, TILE);
    // SAFETY: the whole block is here; a block that runs has a row and a column; the elements are this thread's.
    unsafe {
        let acc: Accumulators<DOWN, ACROSS> = accumulate::<PENDING, _, _, _, _>(
            [thread, THREADS as usize],
            0..k,
            Operand { source: a, along_k: !a_transposed, lines: m, first: first_row, k },
            Slots { tiles: a_tiles, lines: TILE },
            rows,
            Operand { source: b, along_k: b_transposed, lines: n, first: first_column, k },
            Slots { tiles: b_tiles, lines: TILE },
            columns,
        );
        store(&acc, [m, n], rows.after(first_row), columns.after(first_column), epilogue, c);
    }
}

/// C = A B: a (m × k), b (k × n), c (m × n).
#[kernel(block = [THREADS, 1, 1], min_blocks = 2)]
pub unsafe fn matmul_warp_tiled(m: u32, n: u32, k: u32, a: Global<f32>, b: Global<f32>, c: GlobalMut<f32>) {
    multiply([m, n, k], [false, false], a, b, Plain, c);
}

/// C = Aᵀ B: a (k × m), b (k × n), c (m × n).
#[kernel(block = [THREADS, 1, 1], min_blocks = 2)]
pub unsafe fn matmul_warp_tiled_tn(
    m: u32,
    n: u32,
    k: u32,
    a: Global<f32>,
    b: Global<f32>,
    c: GlobalMut<f32>,
) {
    multiply([m, n, k], [true, false], a, b, Plain, c);
}

/// C = A Bᵀ: a (m × k), b (n × k), c (m × n).
#[kernel(block = [THREADS, 1, 1], min_blocks = 2)]
pub unsafe fn matmul_warp_tiled_nt(
    m: u32,
    n: u32,
    k: u32,
    a: Global<f32>,
    b: Global<f32>,
    c: GlobalMut<f32>,
) {
    multiply([m, n, k], [false, true], a, b, Plain, c);
}

/// C = Aᵀ Bᵀ: a (k × m), b (n × k), c (m × n).
#[kernel(block = [THREADS, 1, 1], min_blocks = 2)]
pub unsafe fn matmul_warp_tiled_tt(
    m: u32,
    n: u32,
    k: u32,
    a: Global<f32>,
    b: Global<f32>,
    c: GlobalMut<f32>,
) {
    multiply([m, n, k], [true, true], a, b, Plain, c);
}
