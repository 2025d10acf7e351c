//! Reductions along columns: a block owns a strip of columns and a range of rows.
//!
//! ```text
//!              strip 0      strip 1     …           inside a block (32 × 8 threads):
//!            ┌────────────┬────────────┬──
//! row block 0│ block (0,0)│ block (1,0)│            thread (x, y) goes down column x,
//!            ├────────────┼────────────┼──          rows y, y + 8, y + 16, …
//! row block 1│ block (0,1)│ block (1,1)│            a warp (y fixed) reads 32 neighbours of one row
//!            ├────────────┼────────────┼──
//!            │            │            │            then the eight threads of a column are added up
//! ```
//!
//! X is row-major, so one thread a column would be right too: its warp reads neighbours all the same. But
//! with 1000 columns that is 1000 threads, and a GPU wants 200 000 of them: the rows are shared out as well.
//! How many row blocks there are depends on the shape only, and so does every bit of the result.
//!
//! **Cost.** X is read once: 4 bytes an element for an operation or two. Bound by memory. A matrix of fewer
//! than 32 columns leaves lanes idle.
//!
//! **Barriers.** One, between the writing of a thread's partial sum and the reading of its column's eight.
//! Threads right of the last column take part with nothing.
//!
//! **What it buys.** Row blocks against one block a strip: not measured yet.
//!
//! **Run it.** `cargo test --release --test kernels column_sums`

use core::ops::Range;

use cuda_std::prelude::*;

use super::strided::{self, LOADS, join, strided};

/// Columns of a strip: one a lane, so that a warp reads one line of memory.
pub const COLUMNS: u32 = 32;
/// Rows that a block reads at a time.
pub const ROWS: u32 = 8;
/// Threads of a block.
pub const BLOCK: [u32; 3] = [COLUMNS, ROWS, 1];
/// Rows for which another block is worth its partial results.
pub const ROWS_OF_BLOCK: usize = 256;
/// A wave on the 132 multiprocessors of an H100 or H200, six blocks of 40 registers a thread on each.
const BLOCKS: usize = 132 * 6;

/// Blocks that share the rows of an m × n matrix: a function of the shape only.
pub fn row_blocks(m: usize, n: usize) -> usize {
    share_rows(BLOCKS, m, n)
}

/// The same where at most `blocks` run at a time: no more of them than that, so that there is no second wave.
pub fn share_rows(blocks: usize, m: usize, n: usize) -> usize {
    let strips = n.div_ceil(COLUMNS as usize).max(1);
    (blocks / strips).min(m.div_ceil(ROWS_OF_BLOCK)).max(1)
}

/// The grid for an m × n matrix: strips of columns × row blocks.
pub fn grid(m: usize, n: usize) -> [u32; 3] {
    [n.div_ceil(COLUMNS as usize) as u32, row_blocks(m, n) as u32, 1]
}

/// The grid that finishes the row blocks' partial results: strips of columns × one block.
pub fn finish_grid(n: usize) -> [u32; 3] {
    [n.div_ceil(COLUMNS as usize) as u32, 1, 1]
}

/// The longest chain of additions behind a column's sum over m rows in `row_blocks` blocks.
pub const fn depth(m: usize, row_blocks: usize) -> usize {
    strided::depth(m.div_ceil(row_blocks).div_ceil(ROWS as usize)) + ROWS as usize
}

/// The rows of row block `block` of `blocks`, of m.
#[inline(always)]
pub fn rows_of_block(m: usize, blocks: usize, block: usize) -> Range<usize> {
    let rows = m.div_ceil(blocks);
    let first = (block * rows).min(m);
    first..(first + rows).min(m)
}

/// The column of this thread; it may be past the last.
#[inline(always)]
pub fn column() -> usize {
    thread::block_idx_x() as usize * COLUMNS as usize + thread::thread_idx_x() as usize
}

/// The rows of this thread's block, of m.
#[inline(always)]
pub fn rows(m: usize) -> Range<usize> {
    rows_of_block(m, thread::grid_dim_y() as usize, thread::block_idx_y() as usize)
}

/// Calls `visit(slot, row)` for this thread's share of `rows`.
#[inline(always)]
pub fn visit_rows(rows: Range<usize>, visit: impl FnMut(usize, usize)) {
    strided(rows.start + thread::thread_idx_y() as usize, rows.end, ROWS as usize, visit);
}

/// The sum of `term(row, acc)` over `rows` for this thread's column, in the threads with y = 0; the other
/// threads get a part of it. `term` adds the row's term to `acc`. All threads of the block call it together.
#[inline(always)]
pub fn strip_sum(rows: Range<usize>, inside: bool, term: impl Fn(usize, f32) -> f32) -> f32 {
    let partial = shared_array![f32; (ROWS * COLUMNS) as usize]; // (ROWS × COLUMNS)
    let (x, y) = (thread::thread_idx_x() as usize, thread::thread_idx_y() as usize);
    let mut acc = [0.0; LOADS];
    if inside {
        visit_rows(rows, |slot, row| acc[slot] = term(row, acc[slot]));
    }
    // SAFETY: each thread has an element of its own.
    unsafe { partial.write(y * COLUMNS as usize + x, join(acc)) };
    thread::sync_threads();
    let mut total = 0.0;
    if y == 0 {
        for row in 0..ROWS as usize {
            // SAFETY: in range; written before the barrier.
            total += unsafe { partial.read(row * COLUMNS as usize + x) };
        }
    }
    total
}
