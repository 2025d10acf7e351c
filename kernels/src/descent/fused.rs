//! A whole step's pass over X in one kernel, which reads X once: Σ e (x − μ), Σe and Σ loss.
//!
//! X (m × n), y (m), μ and σ (n), w (n), b (1). For each row z = (x − μ)·(w / σ) + b, e and the loss from z and y
//! ([`loss`](super::loss)); then the row, weighted with e, is added up: partials (blocks × (n + 2)), in its last two
//! columns Σe and Σ loss. [`finish`](super::finish) does the rest.
//!
//! ```text
//!                     columns →   a warp has whole rows; a lane has the same columns of each of them,
//!                                 4 C of them: four neighbours, and four again 4 lanes further, …
//!  tile in        lane 0  1  2  …  31 │ 0  1 …                         (C = 8: up to 1024 columns)
//!  shared memory      ■■■■■■■■ … ■■■■ │ ■■■■■ …
//!                     │ read4: into registers, once
//!  z                  Σ x v over the lane's columns → Σ over the lanes: every lane gets z (`shuffle_xor`)
//!  e                  every lane, from z and y
//!  acc                acc += e x for the lane's columns: from the same registers
//! ```
//!
//! The two-pass step reads X for z, and again for the gradient, as all of z comes before any of it. But a row's part of
//! the gradient only needs that row's z. So the row stays where it is until its z is known: in the registers of the warp
//! that read it.
//!
//! ```text
//! wide     n > 128    a row a warp. n > 1024: warps / row = ⌈n / 1024⌉, which add up their parts of z in shared memory.
//! narrow   n ≤ 128    4 columns a lane, so ⌈n / 4⌉ lanes a row, rounded up to a power of two: several rows at a time in
//!                     a warp, and four of these after each other in a tile, so that something hides their shuffles.
//! ```
//!
//! **Copies.** Global memory takes some 700 ns to answer, so at 4.8 TB/s and 132 multiprocessors some 25 KB have to be
//! on their way to each of them all the time (Little's law). Registers could not hold that beside what is worked on.
//! So each warp has a ring of three tiles in shared memory, 4 KB each for wide rows: one is worked on while `cp.async`
//! fills two. With 12 warps that is 96 KB on their way. A row of 1000 values takes a warp some 270 instructions
//! (counted in the machine code for 9.0): a third of the time in which its 4 KB arrive at that rate. Rows of a multiple of 4 are copied 16 bytes at a time.
//! Others begin at any multiple of 4 bytes: there a lane has columns that are one lane's width apart, so that
//! neighbouring lanes copy neighbours, 4 bytes at a time, and read them without conflicts as well.
//!
//! **Barriers.** None in the loop, as long as a row is one warp's: a lane copies exactly those values that it will read, so that its
//! own wait is enough. A slot is filled again after a whole round, when what was read from it has gone into z.
//! Where several warps share a row there is one barrier a row: between the writing and the reading of the parts of z,
//! which have two places in turn. (Who is to write to a place again has passed the next barrier, and so everybody has
//! read.) All warps go through all rounds, with rows that count as nothing where there are none left.
//! At the end one: between the writing and the adding up of the warps' sums.
//!
//! **Blocks.** 132, one for each multiprocessor of an H100 or H200, of 12 warps: so many fit with the 160 registers
//! that a lane uses. That is exactly one wave; more blocks would not read faster, but write more partial sums. On a GPU
//! with another number of multiprocessors the last wave is not full. The number comes from the shape alone, as do the
//! bits. Rows are added up in order: a warp's, then the warps', then the blocks'.
//!
//! **Cost.** 4 bytes and 3 operations (x − μ, and two fused multiply-adds) a value: bound by memory. X and y are read
//! once; μ, σ and w once a warp, from the cache. A block writes 4 (n + 2) bytes: with 132 blocks 0.1 % of X at
//! 100 000 rows.
//!
//! **What changed.** From [`matrix_vector`](super::matrix_vector), [`error`](super::error) and
//! [`gradient`](super::gradient): half of the bytes, two launches for four. Time not measured yet.
//!
//! **Run it.** `cargo test --release --test kernels step`

use cuda_std::memory::{
    cp_async_commit, cp_async_or_zero, cp_async_wait_group, cp_async4_or_zero, dynamic_array, opaque,
};
use cuda_std::prelude::*;

use super::loss::{LogLoss, Loss, SquaredError};
use crate::reduce::block::WARP;
use crate::reduce::strip::rows_of_block;

/// Warps of a block.
const WARPS: usize = 12;
/// Threads of a block.
const THREADS: u32 = (WARPS * WARP) as u32;
/// Values of a vector: 16 bytes.
const V: usize = 4;
/// Tiles of a warp: one that is worked on, the others on their way.
const TILES: usize = 3;
/// Groups of copies under way when a tile is waited for.
const PENDING: u32 = TILES as u32 - 2;
/// One for each multiprocessor of an H100 or H200.
const BLOCKS: usize = 132;

/// Chunks of V × WARP columns of a wide row's tile.
const WIDE_CHUNKS: usize = 8;
/// Rows of a wide row's tile.
const WIDE_ROWS: usize = 1;
/// Columns of a warp in wide rows.
const WIDE_COLUMNS: usize = WIDE_CHUNKS * V * WARP;
/// Words of dynamic shared memory for wide rows.
const WIDE_WORDS: usize = words(WIDE_CHUNKS, WIDE_ROWS);

/// Chunks of V columns a lane of a narrow row's tile.
const NARROW_CHUNKS: usize = 1;
/// Rows that a lane has in a narrow row's tile, after each other.
const NARROW_ROWS: usize = 4;
/// Words of dynamic shared memory for narrow rows.
const NARROW_WORDS: usize = words(NARROW_CHUNKS, NARROW_ROWS);

/// The most columns of narrow rows: one warp's vectors.
pub const NARROW: usize = NARROW_CHUNKS * V * WARP;
/// The most columns of wide rows. What is longer does not fit into a block, and takes two passes.
pub const WIDEST: usize = WARPS * WIDE_COLUMNS;

/// Words of the tiles and of their rows' y, for each warp.
const fn words(chunks: usize, rows: usize) -> usize {
    WARPS * TILES * (tile(chunks, rows) + rows * WARP)
}

/// Words of a tile.
const fn tile(chunks: usize, rows: usize) -> usize {
    chunks * rows * V * WARP
}

/// Who has which row.
#[derive(Clone, Copy)]
pub struct Teams {
    /// Lanes of a row in a warp: a power of two.
    lanes: usize,
    /// Warps of a row; in one of them where it is shared.
    warps: usize,
    /// Chunks of V × lanes columns that a warp has of a row.
    chunks: usize,
    /// Rows of a lane in a tile.
    rows: usize,
}

impl Teams {
    /// For wide rows: n ≤ [`WIDEST`].
    #[inline(always)]
    #[must_use]
    pub const fn wide(n: usize) -> Self {
        let warps = n.div_ceil(WIDE_COLUMNS);
        Teams { lanes: WARP, warps: if warps == 0 { 1 } else { warps }, chunks: WIDE_CHUNKS, rows: WIDE_ROWS }
    }

    /// For narrow rows: n ≤ [`NARROW`].
    #[inline(always)]
    #[must_use]
    pub const fn narrow(n: usize) -> Self {
        let lanes = n.div_ceil(V * NARROW_CHUNKS).next_power_of_two();
        Teams { lanes, warps: 1, chunks: NARROW_CHUNKS, rows: NARROW_ROWS }
    }

    /// Rows that a warp, or the warps that share theirs, have in a tile.
    #[inline(always)]
    const fn rows_of_tile(self) -> usize {
        self.rows * (WARP / self.lanes)
    }

    /// Rows that a block has in its warps' tiles.
    #[inline(always)]
    const fn rows_of_round(self) -> usize {
        WARPS / self.warps * self.rows_of_tile()
    }

    /// Blocks that share m rows: a function of the shape only.
    #[must_use]
    pub fn blocks(self, m: usize) -> usize {
        m.div_ceil(self.rows_of_round()).clamp(1, BLOCKS)
    }

    /// The grid for m rows.
    #[must_use]
    pub fn grid(self, m: usize) -> [u32; 3] {
        [self.blocks(m) as u32, 1, 1]
    }

    /// The longest chain of roundings behind a row's z, with those of x − μ, of w / σ and of the bias.
    #[must_use]
    pub const fn depth_of_row(self) -> usize {
        2 + self.chunks + V.ilog2() as usize + self.lanes.ilog2() as usize + self.warps + 1
    }

    /// The longest chain of additions behind a block's sums over its share of m rows.
    #[must_use]
    pub const fn depth(self, m: usize, blocks: usize) -> usize {
        let rounds = m.div_ceil(blocks).div_ceil(self.rows_of_round());
        rounds * self.rows + (WARP / self.lanes).ilog2() as usize + WARPS / self.warps
    }
}

/// What a step's kernel is given.
#[derive(Clone, Copy)]
struct Step {
    m: usize,
    n: usize,
    x: Global<f32>,         // (m × n)
    y: Global<f32>,         // (m)
    mean: Global<f32>,      // (n)
    deviation: Global<f32>, // (n)
    weights: Global<f32>,   // (n)
    bias: Global<f32>,      // (1)
}

/// Which values are a lane's.
#[derive(Clone, Copy)]
struct Lane {
    /// Whether it copies and reads four neighbours at a time.
    vectors: bool,
    /// Its first row; the next ones follow in steps of `next_row` within a tile, and of `next_round`.
    row: usize,
    next_row: usize,
    next_round: usize,
    /// Rows from here on count as nothing.
    end: usize,
    /// Its first column; with vectors three neighbours follow, else three columns in steps of `lanes`; and then four again V ×
    /// `lanes` further.
    column: usize,
    lanes: usize,
    /// Where the first of them is in the shared memory; with vectors the next ones follow, else in steps of WARP; chunks
    /// and rows in steps of V × WARP.
    place: usize,
    /// Where y of its first row is; those of the next ones in steps of WARP.
    target: usize,
}

impl Lane {
    /// The row of this number in a round.
    #[inline(always)]
    fn row(self, round: usize, r: usize) -> usize {
        self.row + round * self.next_round + r * self.next_row
    }

    /// The place of a chunk in a slot.
    #[inline(always)]
    fn chunk<const CHUNKS: usize, const ROWS: usize>(self, slot: usize, r: usize, c: usize) -> usize {
        self.place + slot * tile(CHUNKS, ROWS) + (r * CHUNKS + c) * V * WARP
    }

    /// Starts the copies of a round's tile into a slot, and closes them as a group.
    ///
    /// # Safety
    /// The lane has read what was in the slot.
    #[inline(always)]
    unsafe fn copy<const CHUNKS: usize, const ROWS: usize, const WORDS: usize>(
        self,
        shared: SharedArray<f32, WORDS>,
        slot: usize,
        round: usize,
        step: Step,
    ) {
        // Opaque, so that the comparisons with it are made each time, and not all kept in registers.
        let columns = opaque(step.n.saturating_sub(self.column));
        for r in 0..ROWS {
            let row = self.row(round, r);
            let inside = row < self.end;
            let to = self.chunk::<CHUNKS, ROWS>(slot, r, 0);
            let source = row * step.n + self.column;
            // SAFETY: the lane's own places; nothing is read outside of X. Where rows are a multiple of 4 long, all of the
            // indices are.
            unsafe {
                if self.vectors {
                    for c in 0..CHUNKS {
                        let next = c * V * self.lanes;
                        let inside = inside && next < columns;
                        cp_async4_or_zero(shared, to + c * V * WARP, step.x, source + next, inside);
                    }
                } else {
                    for c in 0..CHUNKS * V {
                        let next = c * self.lanes;
                        let inside = inside && next < columns;
                        cp_async_or_zero(shared, to + c * WARP, step.x, source + next, inside);
                    }
                }
            }
            let to = self.target + (slot * ROWS + r) * WARP;
            // SAFETY: as above.
            unsafe { cp_async_or_zero(shared, to, step.y, row, inside) };
        }
        cp_async_commit();
    }
}

impl Step {
    /// The block's sums: partials (blocks of the grid × (n + 2)).
    ///
    /// # Safety
    /// All threads of the block call it together, and the buffers are as long as is said of them. `teams` have ROWS rows of a
    /// lane and room for n columns, and `WORDS` is `words(CHUNKS, ROWS)`.
    #[inline(always)]
    unsafe fn sum<L: Loss, const CHUNKS: usize, const ROWS: usize, const WORDS: usize>(
        self,
        teams: Teams,
        partials: GlobalMut<f32>,
    ) {
        let sums = shared_array![f32; 2 * WARPS]; // (2 × WARPS): Σe and Σ loss
        let parts = shared_array![f32; 2 * WARPS * NARROW_ROWS]; // (2 × WARPS × ROWS)
        let shared: SharedArray<f32, WORDS> = dynamic_array(0); // (WARPS × TILES × tile), (WARPS × TILES × ROWS × WARP)
        let Step { m, n, mean, deviation, weights, bias, .. } = self;
        let Teams { lanes, warps, .. } = teams;
        let (warp, lane) = (warp::warp_id() as usize, warp::lane_id() as usize);
        // Warps that are left over have no rows.
        let left_over = warp / warps == WARPS / warps;
        let (team, part) = (if left_over { 0 } else { warp / warps }, warp % warps);
        let (group, place) = (lane / lanes, lane % lanes);
        let rows = rows_of_block(m, thread::grid_dim_x() as usize, thread::block_idx_x() as usize);
        let rounds = rows.len().div_ceil(teams.rows_of_round());
        let vectors = n.is_multiple_of(V);
        let tiles = TILES * tile(CHUNKS, ROWS);
        let first = if vectors { V * place } else { place };
        let own = Lane {
            vectors,
            row: rows.start + team * teams.rows_of_tile() + group,
            next_row: WARP / lanes,
            next_round: teams.rows_of_round(),
            end: if left_over { 0 } else { rows.end },
            column: part * CHUNKS * V * lanes + first,
            lanes,
            place: warp * tiles + if vectors { V * lane } else { lane },
            target: WARPS * tiles + warp * TILES * ROWS * WARP + lane,
        };
        for slot in 0..TILES - 1 {
            // SAFETY: nothing was in the slot.
            unsafe { own.copy::<CHUNKS, ROWS, WORDS>(shared, slot, slot, self) };
        }

        // v = w / σ and μ for the lane's columns; zeros beyond n, so that zeros there stay zeros. All are loaded, if need be
        // from the last column, so that no load waits for a comparison.
        let (mut v, mut center) = ([[0.0; V]; CHUNKS], [[0.0; V]; CHUNKS]);
        if n > 0 && vectors {
            for c in 0..CHUNKS {
                let column = own.column + c * V * lanes;
                let there = column.min(n - V);
                // SAFETY: in range; n is a multiple of 4, and so are these.
                let (w, deviation) = unsafe { (weights.read4(there), deviation.read4(there)) };
                // SAFETY: as above.
                let mean = unsafe { mean.read4(there) };
                for k in 0..V {
                    v[c][k] = if column < n { w[k] / deviation[k] } else { 0.0 };
                    center[c][k] = if column < n { mean[k] } else { 0.0 };
                }
            }
        } else if n > 0 {
            for c in 0..CHUNKS {
                for k in 0..V {
                    let column = own.column + (c * V + k) * lanes;
                    let there = column.min(n - 1);
                    // SAFETY: in range.
                    let loaded = unsafe { [weights.read(there) / deviation.read(there), mean.read(there)] };
                    [v[c][k], center[c][k]] = if column < n { loaded } else { [0.0; 2] };
                }
            }
        }
        // SAFETY: there is one.
        let bias = unsafe { bias.read(0) };

        let mut acc = [[0.0; V]; CHUNKS];
        let (mut sum_of_errors, mut sum_of_losses) = (0.0, 0.0);
        let (mut slot, mut free) = (0, TILES - 1);
        for round in 0..rounds {
            cp_async_wait_group::<PENDING>();
            // SAFETY: what was in the slot has gone into the z of the round before.
            unsafe { own.copy::<CHUNKS, ROWS, WORDS>(shared, free, round + TILES - 1, self) };
            let mut values = [[[0.0; V]; CHUNKS]; ROWS];
            let mut z = [0.0; ROWS];
            for r in 0..ROWS {
                let from = own.chunk::<CHUNKS, ROWS>(slot, r, 0);
                // SAFETY: the lane's own copies, which it has waited for.
                unsafe {
                    if vectors {
                        for c in 0..CHUNKS {
                            values[r][c] = shared.read4(from + c * V * WARP);
                        }
                    } else {
                        for c in 0..CHUNKS {
                            for k in 0..V {
                                values[r][c][k] = shared.read(from + (c * V + k) * WARP);
                            }
                        }
                    }
                }
                let mut dot = [0.0; V];
                for c in 0..CHUNKS {
                    for k in 0..V {
                        values[r][c][k] -= center[c][k];
                        dot[k] = mul_add(values[r][c][k], v[c][k], dot[k]);
                    }
                }
                z[r] = (dot[0] + dot[1]) + (dot[2] + dot[3]);
            }
            let mut distance = lanes / 2;
            while distance > 0 {
                for r in 0..ROWS {
                    z[r] += warp::shuffle_xor(warp::FULL_MASK, z[r], distance as u32);
                }
                distance /= 2;
            }
            if warps > 1 {
                let place = (round % 2) * WARPS * ROWS;
                if lane == 0 {
                    for r in 0..ROWS {
                        // SAFETY: the warp's own place, which all have read two rounds ago, before the last barrier.
                        unsafe { parts.write(place + warp * ROWS + r, z[r]) };
                    }
                }
                thread::sync_threads();
                for r in 0..ROWS {
                    z[r] = 0.0;
                    for part in 0..warps {
                        // SAFETY: written before the barrier.
                        z[r] += unsafe { parts.read(place + (team * warps + part) * ROWS + r) };
                    }
                }
            }
            for r in 0..ROWS {
                let mut e = 0.0;
                if own.row(round, r) < own.end {
                    // SAFETY: the lane's own copy, which it has waited for.
                    let y = unsafe { shared.read(own.target + (slot * ROWS + r) * WARP) };
                    (e, sum_of_losses) = L::error(z[r] + bias, y, sum_of_losses);
                }
                sum_of_errors += e;
                for c in 0..CHUNKS {
                    for k in 0..V {
                        acc[c][k] = mul_add(e, values[r][c][k], acc[c][k]);
                    }
                }
            }
            free = slot;
            slot = if slot + 1 == TILES { 0 } else { slot + 1 };
        }

        // The groups of a warp that had the same columns of other rows.
        let mut distance = WARP / 2;
        while distance >= lanes {
            for c in 0..CHUNKS {
                for k in 0..V {
                    acc[c][k] += warp::shuffle_xor(warp::FULL_MASK, acc[c][k], distance as u32);
                }
            }
            sum_of_errors += warp::shuffle_xor(warp::FULL_MASK, sum_of_errors, distance as u32);
            sum_of_losses += warp::shuffle_xor(warp::FULL_MASK, sum_of_losses, distance as u32);
            distance /= 2;
        }
        // The warp's sums, in the order of the columns, where its tiles were.
        cp_async_wait_group::<0>();
        warp::sync_warp(warp::FULL_MASK);
        // SAFETY: a place a column; all lanes have read what they copied, and nothing is under way.
        unsafe {
            if group == 0 {
                for c in 0..CHUNKS {
                    let to = warp * tiles + c * V * lanes + first;
                    if vectors {
                        shared.write4(to, acc[c]);
                    } else {
                        for k in 0..V {
                            shared.write(to + k * lanes, acc[c][k]);
                        }
                    }
                }
            }
            if lane == 0 {
                sums.write(warp, sum_of_errors);
                sums.write(WARPS + warp, sum_of_losses);
            }
        }
        thread::sync_threads();
        let of_warp = CHUNKS * V * lanes;
        let mut column = thread::thread_idx_x() as usize;
        while column < n + 2 {
            let (part, place) = (column / of_warp, column % of_warp);
            let mut total = 0.0;
            for team in 0..WARPS / warps {
                // SAFETY: in range, and written before the barrier.
                total += unsafe {
                    if column < n {
                        shared.read((team * warps + part) * tiles + place)
                    } else {
                        sums.read((column - n) * WARPS + team * warps)
                    }
                };
            }
            // SAFETY: the block's row of the partial sums, and a thread has its own columns.
            unsafe { partials.write(thread::block_idx_x() as usize * (n + 2) + column, total) };
            column += THREADS as usize;
        }
    }
}

/// A step's sums with the squared error, of rows of at most [`WIDEST`] values: x (m × n), y (m), mean and deviation (n), weights (n),
/// bias (1), partials (blocks of the grid × (n + 2)).
#[kernel(block = [THREADS, 1, 1], shared = WIDE_WORDS * size_of::<f32>())]
pub unsafe fn squared_error_step(
    m: u32,
    n: u32,
    x: Global<f32>,
    y: Global<f32>,
    mean: Global<f32>,
    deviation: Global<f32>,
    weights: Global<f32>,
    bias: Global<f32>,
    partials: GlobalMut<f32>,
) {
    let step = Step { m: m as usize, n: n as usize, x, y, mean, deviation, weights, bias };
    step.sum::<SquaredError, WIDE_CHUNKS, WIDE_ROWS, WIDE_WORDS>(Teams::wide(n as usize), partials);
}

/// A step's sums with the squared error, of rows of at most [`NARROW`] values: x (m × n), y (m), mean and deviation (n), weights (n),
/// bias (1), partials (blocks of the grid × (n + 2)).
#[kernel(block = [THREADS, 1, 1], shared = NARROW_WORDS * size_of::<f32>())]
pub unsafe fn squared_error_step_narrow(
    m: u32,
    n: u32,
    x: Global<f32>,
    y: Global<f32>,
    mean: Global<f32>,
    deviation: Global<f32>,
    weights: Global<f32>,
    bias: Global<f32>,
    partials: GlobalMut<f32>,
) {
    let step = Step { m: m as usize, n: n as usize, x, y, mean, deviation, weights, bias };
    step.sum::<SquaredError, NARROW_CHUNKS, NARROW_ROWS, NARROW_WORDS>(Teams::narrow(n as usize), partials);
}

/// A step's sums with the log loss, of rows of at most [`WIDEST`] values: x (m × n), y (m), mean and deviation (n), weights (n),
/// bias (1), partials (blocks of the grid × (n + 2)).
#[kernel(block = [THREADS, 1, 1], shared = WIDE_WORDS * size_of::<f32>())]
pub unsafe fn log_loss_step(
    m: u32,
    n: u32,
    x: Global<f32>,
    y: Global<f32>,
    mean: Global<f32>,
    deviation: Global<f32>,
    weights: Global<f32>,
    bias: Global<f32>,
    partials: GlobalMut<f32>,
) {
    let step = Step { m: m as usize, n: n as usize, x, y, mean, deviation, weights, bias };
    step.sum::<LogLoss, WIDE_CHUNKS, WIDE_ROWS, WIDE_WORDS>(Teams::wide(n as usize), partials);
}

/// A step's sums with the log loss, of rows of at most [`NARROW`] values: x (m × n), y (m), mean and deviation (n), weights (n),
/// bias (1), partials (blocks of the grid × (n + 2)).
#[kernel(block = [THREADS, 1, 1], shared = NARROW_WORDS * size_of::<f32>())]
pub unsafe fn log_loss_step_narrow(
    m: u32,
    n: u32,
    x: Global<f32>,
    y: Global<f32>,
    mean: Global<f32>,
    deviation: Global<f32>,
    weights: Global<f32>,
    bias: Global<f32>,
    partials: GlobalMut<f32>,
) {
    let step = Step { m: m as usize, n: n as usize, x, y, mean, deviation, weights, bias };
    step.sum::<LogLoss, NARROW_CHUNKS, NARROW_ROWS, NARROW_WORDS>(Teams::narrow(n as usize), partials);
}
