//! What the rungs share: which tile of C is a block's, and where an element of op(S) stands in memory.
//!
//! ```text
//!             columns →
//!           ┌─────────┬─────────┬─────────┐
//!       rows│ block 0 │ block 1 │ block 2 │         m × n elements of C,
//!         ↓ ├─────────┼─────────┼─────────┤         tile by tile, row by row;
//!           │ block 3 │ block 4 │ block 5 │         the last tiles may reach beyond C
//!           └─────────┴─────────┴─────────┘
//! ```
//!
//! **Cost.** Two 32-bit divisions a thread, once.
//!
//! **Barriers.** None.
//!
//! **Run it.** `cargo test --release --test kernels matmul`

use cuda_std::prelude::*;

/// A grid with one block for each `rows` × `columns` tile of an m × n matrix, row by row.
///
/// All blocks lie along x, the only side of a grid that may be longer than 65 535: up to 2³¹ − 1, more than any
/// matrix that fits in memory needs.
pub fn tile_grid(m: usize, n: usize, rows: usize, columns: usize) -> [u32; 3] {
    [(m.div_ceil(rows) * n.div_ceil(columns)) as u32, 1, 1]
}

/// Row and column of this block's first element, for a grid from `tile_grid`. n is not 0 in a running block.
#[inline(always)]
pub fn tile_start(n: usize, rows: usize, columns: usize) -> (usize, usize) {
    let tiles = n.div_ceil(columns) as u32;
    let block = thread::block_idx_x();
    ((block / tiles) as usize * rows, (block % tiles) as usize * columns)
}

/// Where op(S)\[row\]\[column\] stands in S, for op(S) rows × columns.
#[inline(always)]
pub fn place<const TRANSPOSED: bool>(rows: usize, columns: usize, row: usize, column: usize) -> usize {
    if TRANSPOSED { column * rows + row } else { row * columns + column }
}
