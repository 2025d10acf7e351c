//! C = op(A) op(B), a rung beside the ladder: k is shared out too, for products with too few tiles to fill a GPU.
//!
//! op(A) (m × k), op(B) (k × n), C (m × n).
//!
//! ```text
//!                        B                      a batch of 64 samples through a layer of 1000 × 1000
//!                      ┌───┬───┬──              has 16 tiles of 64 × 64, and a GPU wants hundreds
//!              split 0 │   │   │                of blocks: so 14 blocks share a tile, each with 72 of k
//!                      ├───┼───┼──
//!              split 1 │   │   │                partials[split] = A[:, range] B[range, :]
//!   A   0   1   …      ├───┼───┼──                                          launch 1: `matmul_split_k`
//!     ┌───┬───┬──      │ … │ … │
//!     │   │   │ …      └───┴───┴──              C = Σ partials, in an order that is always the same
//!     └───┴───┴──      C: 0   1   …                                  launch 2: `matmul_split_k_finish`
//! ```
//!
//! How many splits there are depends on the shape only, so the sums, too, are always the same. With one
//! split the partial sums are C, and there is nothing to finish.
//!
//! **Cost.** As the warp-tiled rung's, with smaller tiles: 64 × 64, and 4 × 8 elements for each of 128
//! threads. For each l 3 reads of four values and 32 fused multiply-adds, 11 a read; a step of 8 has 346
//! instructions for 256 multiply-adds (compute capability 9.0, ptxas 13.0): here it is blocks that are short.
//! The partial sums are written and read once: 8 bytes an element and split, for a product small enough that
//! they stay in the cache.
//!
//! **Barriers.** Those of the pipelined rung. Between the two launches there is nothing to say: the second
//! begins when the first is done. No atomics: their order would change from run to run.
//!
//! **What changed.** From the warp-tiled rung: blocks along k. Time not measured yet.
//!
//! **Run it.** `cargo test --release --test kernels matmul_split_k`

use cuda_std::prelude::*;

use super::epilogue::{Epilogue, Plain};
use super::pipelined::{Operand, Slots, accumulate};
use super::register_tiled::TILE_K;
use super::tile::{tile_grid, tile_start};
use super::vectorised::{Accumulators, pitch, store};
use super::warp_tiled::{THREADS, blocks_across, blocks_down, own};
use crate::reduce::strided::{LOADS, join, strided};

/// Rows and columns of a block's part of C.
pub const TILE: usize = 64;
/// Blocks that are enough for the largest GPU: two for each multiprocessor.
const BLOCKS: usize = 264;
/// Steps along k for which another block is worth its partial sums.
const LEAST_K: usize = 64;
/// Blocks of V × V elements that a thread has, from top to bottom.
const DOWN: usize = blocks_down(TILE);
/// Blocks of V × V elements that a thread has, from left to right.
const ACROSS: usize = blocks_across(TILE);
/// Groups of copies under way, besides the one that is waited for: a step is short here.
const PENDING: u32 = 2;
/// Slots for tiles.
const SLOTS: usize = PENDING as usize + 2;

/// Rows of a block of the second launch: a warp each.
pub const FINISH_ROWS: u32 = 8;
/// Columns of a block of the second launch: one a lane.
pub const FINISH_COLUMNS: u32 = 32;
/// Threads of a block of the second launch.
pub const FINISH_BLOCK: [u32; 3] = [FINISH_COLUMNS, FINISH_ROWS, 1];

/// How many blocks share a tile of an m × n product over k: a function of the shape only. At least 1.
pub fn splits(m: usize, n: usize, k: usize) -> usize {
    let tiles = (m.div_ceil(TILE) * n.div_ceil(TILE)).max(1);
    let wanted = (BLOCKS / tiles).min(k / LEAST_K).max(1);
    k.div_ceil(depth(k, wanted)).max(1)
}

/// Steps along k of each split but the last, which may have fewer.
#[inline(always)]
pub const fn depth(k: usize, splits: usize) -> usize {
    let share = k.div_ceil(splits).next_multiple_of(TILE_K);
    if share == 0 { TILE_K } else { share }
}

/// The grid of the first launch: tiles × splits.
pub fn grid(m: usize, n: usize, splits: usize) -> [u32; 3] {
    let [tiles, _, _] = tile_grid(m, n, TILE, TILE);
    [tiles, splits as u32, 1]
}

/// The grid of the second launch.
pub fn finish_grid(m: usize, n: usize) -> [u32; 3] {
    tile_grid(m, n, FINISH_ROWS as usize, FINISH_COLUMNS as usize)
}

#[inline(always)]
unsafe fn multiply(
    [m, n, k]: [u32; 3],
    [a_transposed, b_transposed]: [bool; 2],
    a: Global<f32>,
    b: Global<f32>,
    partials: GlobalMut<f32>,
) {
    let a_tiles = shared_array![f32; SLOTS * TILE_K * pitch(TILE)]; // (SLOTS × TILE_K × TILE), rows pitch(TILE) apart
    let b_tiles = shared_array![f32; SLOTS * TILE_K * pitch(TILE)]; // (SLOTS × TILE_K × TILE), rows pitch(TILE) apart
    let (m, n, k) = (m as usize, n as usize, k as usize);
    let (first_row, first_column) = tile_start(n, TILE, TILE);
    let split = thread::block_idx_y() as usize;
    let depth = depth(k, thread::grid_dim_y() as usize);
    let range = (split * depth).min(k)..((split + 1) * depth).min(k);
    let thread = thread::thread_idx_x() as usize;
    let (rows, columns) = own(thread, TILE);
    // SAFETY: the whole block is here; a block that runs has a row and a column; the elements are this thread's.
    unsafe {
        let acc: Accumulators<DOWN, ACROSS> = accumulate::<PENDING, _, _, _, _>(
            [thread, THREADS as usize],
            range,
            Operand { source: a, along_k: !a_transposed, lines: m, first: first_row, k },
            Slots { tiles: a_tiles, lines: TILE },
            rows,
            Operand { source: b, along_k: b_transposed, lines: n, first: first_column, k },
            Slots { tiles: b_tiles, lines: TILE },
            columns,
        );
        // The splits' results lie one below the other: (splits · m) × n.
        let before = split * m;
        let rows = rows.after(before + first_row);
        store(&acc, [before + m, n], rows, columns.after(first_column), Plain, partials);
    }
}

/// C = Σ partials, each element through the epilogue: partials (splits × m × n), c (m × n).
///
/// # Safety
/// The block is FINISH_BLOCK, the grid `finish_grid(m, n)`; the buffers have these sizes.
#[inline(always)]
pub unsafe fn finish<E: Epilogue>(
    [m, n, splits]: [u32; 3],
    partials: Global<f32>,
    epilogue: E,
    c: GlobalMut<f32>,
) {
    let (m, n) = (m as usize, n as usize);
    let (first_row, first_column) = tile_start(n, FINISH_ROWS as usize, FINISH_COLUMNS as usize);
    let row = first_row + thread::thread_idx_y() as usize;
    let column = first_column + thread::thread_idx_x() as usize;
    if row >= m || column >= n {
        return;
    }
    let mut acc = [0.0; LOADS];
    // SAFETY: row < m, column < n; no other thread has this element.
    unsafe {
        strided(0, splits as usize, 1, |slot, split| {
            acc[slot] += partials.read((split * m + row) * n + column)
        });
        c.write(row * n + column, epilogue.apply(join(acc), epilogue.bias(column)));
    }
}

/// A B over each split's range of k: a (m × k), b (k × n), partials (splits of the grid × m × n).
#[kernel(block = [THREADS, 1, 1], min_blocks = 4)]
pub unsafe fn matmul_split_k(
    m: u32,
    n: u32,
    k: u32,
    a: Global<f32>,
    b: Global<f32>,
    partials: GlobalMut<f32>,
) {
    multiply([m, n, k], [false, false], a, b, partials);
}

/// Aᵀ B over each split's range of k: a (k × m), b (k × n), partials (splits of the grid × m × n).
#[kernel(block = [THREADS, 1, 1], min_blocks = 4)]
pub unsafe fn matmul_split_k_tn(
    m: u32,
    n: u32,
    k: u32,
    a: Global<f32>,
    b: Global<f32>,
    partials: GlobalMut<f32>,
) {
    multiply([m, n, k], [true, false], a, b, partials);
}

/// A Bᵀ over each split's range of k: a (m × k), b (n × k), partials (splits of the grid × m × n).
#[kernel(block = [THREADS, 1, 1], min_blocks = 4)]
pub unsafe fn matmul_split_k_nt(
    m: u32,
    n: u32,
    k: u32,
    a: Global<f32>,
    b: Global<f32>,
    partials: GlobalMut<f32>,
) {
    multiply([m, n, k], [false, true], a, b, partials);
}

/// Aᵀ Bᵀ over each split's range of k: a (k × m), b (n × k), partials (splits of the grid × m × n).
#[kernel(block = [THREADS, 1, 1], min_blocks = 4)]
pub unsafe fn matmul_split_k_tt(
    m: u32,
    n: u32,
    k: u32,
    a: Global<f32>,
    b: Global<f32>,
    partials: GlobalMut<f32>,
) {
    multiply([m, n, k], [true, true], a, b, partials);
}

/// C = Σ partials: partials (splits × m × n), c (m × n).
#[kernel(block = FINISH_BLOCK)]
pub unsafe fn matmul_split_k_finish(m: u32, n: u32, splits: u32, partials: Global<f32>, c: GlobalMut<f32>) {
    finish([m, n, splits], partials, Plain, c);
}
