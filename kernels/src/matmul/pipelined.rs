//! C = A B, the fifth rung: the next tiles are on their way while these are multiplied.
//!
//! A (m × k), B (k × n), C (m × n).
//!
//! ```text
//! slot 0   copy tile 0 │ multiply 0 │ copy tile 2 │ multiply 2 │            `cp.async`: from global to shared
//! slot 1               │ copy tile 1│ multiply 1  │ copy tile 3│            memory, past the registers
//!                      ▲            ▲             ▲
//!                      wait for the slot's copies, barrier
//! ```
//!
//! The copies run on while the thread computes: it starts them, closes them as a group, and waits for the
//! group a step later. The tiles have two slots each, used in turn. Which thread has which element of C is as
//! in the vectorised rung. The copies see an operand as lines along k: the rows of A, the columns of B.
//!
//! ```text
//! lines lie along memory (B, Aᵀ)         16 bytes a copy, to the same place in a row of the tile
//! k lies along memory (A, Bᵀ)            4 bytes a copy, turned on the way: the lanes of a warp copy
//!                                        8 values of k for each of 4 lines, to 32 different banks
//! ```
//!
//! Lines beyond the last are copies of it: what is computed from them is not written. Beyond k there are
//! zeros. So inside a matrix's rows nothing is compared but l with k. Where rows are not a multiple of 4 long
//! the copies of 16 bytes are four of 4 bytes, as their places are not aligned.
//!
//! **Cost.** As in the rung before, but nobody should wait for global memory: with 16 warps on a multiprocessor
//! of 128 units, a step's 512 multiply-adds a thread take 2048 cycles at the least, while a copy is expected within
//! 1000. No register holds a value on its way.
//!
//! **Barriers.** One a step, before the tiles are multiplied. It says two things: everybody's copies into this
//! slot have arrived (each thread has waited for its own), and everybody is done with the other slot, which is
//! filled again from then on. All threads go through all steps.
//!
//! **What changed.** From the vectorised rung: the copies, and a barrier less. Time not measured yet.
//!
//! **Run it.** `cargo test --release --test kernels matmul_pipelined`

use core::ops::Range;

use cuda_std::memory::{cp_async_commit, cp_async_or_zero, cp_async_wait_group, cp_async4_or_zero, opaque};
use cuda_std::prelude::*;

use super::epilogue::Plain;
use super::register_tiled::TILE_K;
use super::tile::tile_start;
use super::vectorised::{Accumulators, BLOCKS, Lines, SIDE, T, V, multiply_tiles, pitch, store};

pub use super::vectorised::{TILE, grid};

/// Threads of a block.
const THREADS: u32 = SIDE * SIDE;
/// Groups of copies under way, besides the one that is waited for.
const PENDING: u32 = 0;
/// Slots for tiles: the one that is multiplied, and those that copies go to.
const SLOTS: usize = PENDING as usize + 2;

/// An operand of a product as lines along k: the rows of op(A), the columns of op(B).
#[derive(Clone, Copy)]
pub struct Operand {
    /// The matrix.
    pub source: Global<f32>,
    /// Whether neighbours in memory are neighbours along k: in A, and in Bᵀ.
    pub along_k: bool,
    /// How many lines there are: at least one.
    pub lines: usize,
    /// The block's first.
    pub first: usize,
    /// How long they are.
    pub k: usize,
}

impl Operand {
    /// The value of a line at l.
    ///
    /// # Safety
    /// The operand has that line, and l < k.
    #[inline(always)]
    pub unsafe fn value(self, line: usize, l: usize) -> f32 {
        // SAFETY: the caller's promise.
        unsafe { self.source.read(if self.along_k { line * self.k + l } else { l * self.lines + line }) }
    }

    /// Starts the copies of a tile of `lines` lines, from `start` on along k, into `tile` from `to` on; `thread` of
    /// `threads` starts its share. Zeros from `end` on.
    ///
    /// # Safety
    /// `end` is at most k; nothing touches the tile before the copies have been waited for.
    #[inline(always)]
    unsafe fn copy<const N: usize>(
        self,
        tile: SharedArray<f32, N>, // (TILE_K × lines), rows pitch(lines) apart
        to: usize,
        lines: usize,
        [thread, threads]: [usize; 2],
        start: usize,
        end: usize,
    ) {
        // SAFETY: lines are clamped to the last, and nothing is read from `end` on.
        unsafe {
            if self.along_k {
                let (l, line) = (thread % TILE_K, thread / TILE_K);
                let to = opaque(to + l * pitch(lines) + line);
                for step in (0..lines).step_by(threads / TILE_K) {
                    let source = (self.first + line + step).min(self.lines - 1) * self.k + start + l;
                    cp_async_or_zero(tile, to + step, self.source, source, start + l < end);
                }
            } else if self.lines.is_multiple_of(V) {
                let (l, line) = (thread / (lines / V), thread % (lines / V) * V);
                let to = opaque(to + l * pitch(lines) + line);
                let first = (self.first + line).min(self.lines - V);
                for step in (0..TILE_K).step_by(threads / (lines / V)) {
                    let index = to + step * pitch(lines);
                    let l = start + l + step;
                    cp_async4_or_zero(tile, index, self.source, l * self.lines + first, l < end);
                }
            } else {
                // Opaque, so that nothing of this is kept in registers for where it is not needed.
                let (l, line) = (opaque(thread) / lines, opaque(thread) % lines);
                let first = (self.first + line).min(self.lines - 1);
                for step in (0..TILE_K).step_by(threads / lines) {
                    let index = to + (l + step) * pitch(lines) + line;
                    let l = start + l + step;
                    cp_async_or_zero(tile, index, self.source, l * self.lines + first, l < end);
                }
            }
        }
    }
}

/// The block's tiles: an operand's slots, each TILE_K × lines.
#[derive(Clone, Copy)]
pub struct Slots<const N: usize> {
    /// All slots.
    pub tiles: SharedArray<f32, N>,
    /// Lines of a tile.
    pub lines: usize,
}

impl<const N: usize> Slots<N> {
    /// Where a slot begins.
    #[inline(always)]
    fn slot(self, slot: usize) -> usize {
        slot * TILE_K * pitch(self.lines)
    }
}

/// The sums of a thread's elements over a range of k.
///
/// # Safety
/// All `threads` of the block call it together, `thread` says which one this is; the slots hold PENDING + 2 tiles; the
/// range ends at k or before.
#[inline(always)]
#[expect(clippy::too_many_arguments)]
pub unsafe fn accumulate<
    const PENDING: u32,
    const DOWN: usize,
    const ACROSS: usize,
    const A: usize,
    const B: usize,
>(
    [thread, threads]: [usize; 2],
    range: Range<usize>,
    a: Operand,
    a_slots: Slots<A>,
    rows: Lines,
    b: Operand,
    b_slots: Slots<B>,
    columns: Lines,
) -> Accumulators<DOWN, ACROSS> {
    let slots = PENDING as usize + 2;
    let mut acc = [[[[0.0; V]; V]; ACROSS]; DOWN];
    let copy = |slot, start| {
        if start < range.end {
            // SAFETY: nobody uses this slot until these copies have been waited for.
            unsafe {
                a.copy(a_slots.tiles, a_slots.slot(slot), a_slots.lines, [thread, threads], start, range.end);
                b.copy(b_slots.tiles, b_slots.slot(slot), b_slots.lines, [thread, threads], start, range.end);
            }
        }
        cp_async_commit();
    };
    for slot in 0..slots - 1 {
        copy(slot, range.start + slot * TILE_K);
    }
    let (mut slot, mut free) = (0, slots - 1);
    let mut start = range.start;
    while start < range.end {
        cp_async_wait_group::<PENDING>();
        thread::sync_threads();
        copy(free, start + (slots - 1) * TILE_K);
        // SAFETY: this slot's copies have been waited for, by all threads.
        unsafe {
            multiply_tiles(
                &mut acc,
                (a_slots.tiles, a_slots.slot(slot), pitch(a_slots.lines)),
                (b_slots.tiles, b_slots.slot(slot), pitch(b_slots.lines)),
                rows,
                columns,
            );
        }
        free = slot;
        slot = if slot + 1 == slots { 0 } else { slot + 1 };
        start += TILE_K;
    }
    acc
}

/// C = A B: a (m × k), b (k × n), c (m × n).
#[kernel(block = [THREADS, 1, 1], min_blocks = 2)]
pub unsafe fn matmul_pipelined(m: u32, n: u32, k: u32, a: Global<f32>, b: Global<f32>, c: GlobalMut<f32>) {
    let a_tiles = shared_array![f32; SLOTS * TILE_K * pitch(T)]; // (SLOTS × TILE_K × T), rows pitch(T) apart
    let b_tiles = shared_array![f32; SLOTS * TILE_K * pitch(T)]; // (SLOTS × TILE_K × T), rows pitch(T) apart
    let (m, n, k) = (m as usize, n as usize, k as usize);
    let (first_row, first_column) = tile_start(n, T, T);
    let thread = thread::thread_idx_x() as usize;
    let (x, y) = (thread % SIDE as usize, thread / SIDE as usize);
    // This thread's part of C, counted from the block's.
    let (rows, columns) =
        (Lines { first: V * y, step: T / BLOCKS }, Lines { first: V * x, step: T / BLOCKS });
    let acc: Accumulators<BLOCKS, BLOCKS> = accumulate::<PENDING, _, _, _, _>(
        [thread, THREADS as usize],
        0..k,
        Operand { source: a, along_k: true, lines: m, first: first_row, k },
        Slots { tiles: a_tiles, lines: T },
        rows,
        Operand { source: b, along_k: false, lines: n, first: first_column, k },
        Slots { tiles: b_tiles, lines: T },
        columns,
    );
    store(&acc, [m, n], rows.after(first_row), columns.after(first_column), Plain, c);
}
