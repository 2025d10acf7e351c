//! C = op(A) op(B) with the tensor cores, the seventh rung: a warp multiplies matrices, of values with 11 bits (tf32).
//!
//! op(A) (m × k), op(B) (k × n), C (m × n). Lines are rows of op(A) and columns of op(B).
//!
//! ```text
//!  a block: 128 × 128      a warp: 64 × 64, as 4 × 8 products of 16 × 8       a lane's part of 8 lines × 8 of k
//!  ┌────────┬────────┐     ┌───┬───┬───┬ …
//!  │ warp 0 │ warp 1 │     │8  │8  │8  │     `mma`, a step of 8 along k:             k  0 1 2 3   4 5 6 7
//!  │ 64 × 64│        │  16 │   │   │   │     16 × 8 of C += 16 × 8 · 8 × 8            ┌─────────┬─────────┐
//!  ├────────┼────────┤     ├───┼───┼───┼ …                                     line g │    q    │    q    │
//!  │ warp 2 │ warp 3 │  16 │   │   │   │                                              └─────────┴─────────┘
//!  └────────┴────────┘     └───┴───┴───┴ …                                             lane = 4 g + q
//! ```
//!
//! The tensor cores take tf32: the exponents of `f32`, with 10 bits of fraction. They would ignore the other 13, which is
//! an error of up to 2⁻¹⁰, always towards zero. So values are rounded on their way from shared memory: at most 2⁻¹¹,
//! to either side. The sum over k is kept in `f32`. See [`ROUNDING`] and [`depth`] for the error.
//!
//! The tiles are copied as they lie in memory, 16 bytes a copy, into four slots; nothing is turned on the way. Each kind
//! has its own way to the registers, and an order in shared memory in which neither copies nor loads meet in a bank:
//!
//! ```text
//! k lies along memory (A, Bᵀ)        (TILE × TILE_K): `ldmatrix`, 16 lines × 8 of k at a time;
//!                                    a line's four chunks of 16 bytes stand in the order c ^ (line / 2 mod 4)
//! lines lie along memory (B, Aᵀ)     (TILE_K × TILE): a load of four values is of four lines;
//!                                    a row's chunks of 16 bytes stand in the order c ^ (k mod 4)
//! ```
//!
//! Which line is which of the product's is free, as long as C is written accordingly: of 32 lines, the four of a chunk are
//! in four different matrices of 8. So a lane's results are fours that lie together in a row of C, in both cases.
//!
//! **Not finite.** A value may round up to infinity, and ∞ or NaN among the operands need not come through the tensor
//! cores as `f32` has them. Where a sum is not finite its element is computed again, by fused multiply-adds from global
//! memory: it is what the rungs before have, to the bit. So it is infinite or NaN only where theirs is. (It may be finite
//! where theirs is not: where what overflows there takes part in the same `mma` as what brings it back.)
//!
//! **Cost.** For 8 of k a warp has 32 products and 8 loads of 16 bytes a lane: four products, 4096 multiply-adds, a
//! load. In the machine code for compute capability 9.0a (ptxas 13.0, C = A B) a tile of 16 has 64 products, 128 operations
//! to round, 16 loads; of its 745 instructions more than half belong to copies of 4 bytes, which only rows that are not
//! a multiple of 4 long need. A block reads 16 KiB for 16 of k: 32 operations a byte, from the second cache for all but
//! the first block that wants them. 64 KiB of shared memory and 240 registers at most: two blocks on a multiprocessor.
//!
//! **Barriers.** Those of the pipelined rung: one for each tile, with two groups of copies under way besides.
//!
//! **What changed.** From the warp-tiled rung: the tensor cores in place of fused multiply-adds; dynamic shared memory.
//! Time not measured yet.
//!
//! **Run it.** `cargo test --release --test kernels matmul_tf32`

use cuda_std::memory::{
    cp_async_commit, cp_async_or_zero, cp_async_wait_group, cp_async4_or_zero, dynamic_array, keep_loop,
    opaque,
};
use cuda_std::prelude::*;
use cuda_std::warp::{ldmatrix_x4, mma_m16n8k8};

use super::epilogue::{Epilogue, Plain};
use super::pipelined::Operand;
use super::tile::{tile_grid, tile_start};
use super::vectorised::{V, store_four};

/// Rows and columns of a block's part of C.
pub const TILE: usize = 128;
/// Columns of A and rows of B that are multiplied at a time.
pub const TILE_K: usize = 16;
/// Of k, what one `mma` of tf32 multiplies.
pub const STEP: usize = 8;
/// Steps of a tile.
pub const STEPS: usize = TILE_K / STEP;
/// Lines that a fragment has parts of.
pub const GROUP: usize = 8;
/// Lanes that share a line of a fragment.
pub const QUAD: usize = 4;
/// Lines whose order is changed together: V groups.
pub const SPAN: usize = V * GROUP;
/// Warps of a block, from top to bottom and from left to right.
const WARPS: [usize; 2] = [2, 2];
/// Rows and columns of a warp's part of C.
const WARP_TILE: usize = TILE / WARPS[0];
/// Threads of a block.
pub const THREADS: u32 = 32 * (WARPS[0] * WARPS[1]) as u32;
/// Groups of copies under way, besides the one that is waited for.
const PENDING: u32 = 2;
/// Slots for tiles.
const SLOTS: usize = PENDING as usize + 2;
/// Values of a tile.
const VALUES: usize = TILE * TILE_K;
/// Bytes of dynamic shared memory: the slots for the tiles of both operands.
pub const SHARED: usize = 2 * SLOTS * VALUES * size_of::<f32>();

/// The largest relative error of a value rounded to tf32: 2⁻¹¹.
pub const ROUNDING: f64 = 1.0 / (1 << 11) as f64;

/// So many roundings of `f32`, 2⁻²⁴ each, are as much as one `mma` of so many products may be off.
///
/// How the tensor cores add is not documented. Assumed is the least accurate way that was found by experiment, that of
/// compute capability 8.0 to 8.9 (Microsoft's MMA-Sim, a model of tensor cores to the bit): half of the products and C, then
/// the other half and that. Each is cut off one bit below the last of the largest one's 24, `products` / 2 + 1 cuts of 2⁻²⁴, and the
/// sum at its 24th, 2⁻²³, relative to Σ |·|. To be measured here.
pub const fn roundings(products: usize) -> usize {
    products + 6
}

/// The longest chain of roundings in a sum, from rounded operands on.
pub fn depth(k: usize) -> usize {
    k.div_ceil(STEP) * roundings(STEP)
}

/// The grid for an m × n product.
pub fn grid(m: usize, n: usize) -> [u32; 3] {
    tile_grid(m, n, TILE, TILE)
}

/// A lane's part of 8 lines over 8 of k: its line's values at k = q and q + 4.
pub type Fragment = [f32; 2];
/// A lane's parts of a span of lines over 8 of k, a fragment for each 8 lines.
pub type Fragments = [Fragment; V];
/// Spans of a warp's part of C, from top to bottom and from left to right.
pub const SPANS: usize = WARP_TILE / SPAN;
/// A lane's elements of C: for each 16 rows and 8 columns, (g, 2q), (g, 2q + 1), (g + 8, 2q), (g + 8, 2q + 1).
pub type Accumulators = [[[f32; 4]; WARP_TILE / GROUP]; ROWS];
/// Rows of `mma`s in a warp's part of C: 16 rows each.
pub const ROWS: usize = WARP_TILE / (2 * GROUP);

/// The i-th 16 rows of all spans, as `mma` takes them: two fragments.
#[inline(always)]
pub fn rows(spans: &[Fragments; SPANS], i: usize) -> [f32; 4] {
    let [above, below] = [0, 1].map(|half| spans[2 * i / V][2 * i % V + half]);
    [above[0], below[0], above[1], below[1]]
}

/// The fragments of all spans over a step.
#[inline(always)]
pub fn all_spans(load: impl Fn(usize, usize) -> Fragments, step: usize) -> [Fragments; SPANS] {
    let mut spans = [[[0.0; 2]; V]; SPANS];
    for (span, fragments) in spans.iter_mut().enumerate() {
        *fragments = load(step, span);
    }
    spans
}

/// A way to multiply.
pub trait Way: Copy {
    /// acc += A B over a tile; `a` and `b` give the fragments of a step's span.
    ///
    /// # Safety
    /// The whole warp calls it together.
    unsafe fn multiply(
        acc: &mut Accumulators,
        a: impl Fn(usize, usize) -> Fragments,
        b: impl Fn(usize, usize) -> Fragments,
    );
}

/// Half of the last place of tf32, in the last places of `f32`.
const HALF: u32 = 1 << 12;

/// Not more than half a place away from zero: what the tensor cores leave of it is x rounded to tf32, ties away from
/// zero. Only for numbers: of ∞ and NaN it makes anything.
///
/// An addition, where `cvt.rna.tf32.f32` is five instructions (ptxas 13.0, compute capability 9.0).
#[inline(always)]
pub fn half_up(x: f32) -> f32 {
    f32::from_bits(x.to_bits().wrapping_add(HALF))
}

/// As [`half_up`]; of ∞ and NaN a NaN.
#[inline(always)]
fn rounded(x: f32) -> f32 {
    mul_add(x, 0.0, half_up(x))
}

/// Operands rounded to tf32.
#[derive(Clone, Copy)]
pub struct Tf32;

impl Way for Tf32 {
    #[inline(always)]
    unsafe fn multiply(
        acc: &mut Accumulators,
        a: impl Fn(usize, usize) -> Fragments,
        b: impl Fn(usize, usize) -> Fragments,
    ) {
        for step in 0..STEPS {
            let [a, b] = [all_spans(&a, step), all_spans(&b, step)];
            let b = b.map(|span| span.map(|values| values.map(rounded)));
            for i in 0..acc.len() {
                let a = rows(&a, i).map(rounded);
                for j in 0..acc[i].len() {
                    acc[i][j] = mma_m16n8k8(a, b[j / V][j % V], acc[i][j]);
                }
            }
        }
    }
}

/// Where line `line` of a group stands among the chunks of a span: two neighbours are half a span apart, so that what
/// four lanes have of a row of C lies together.
#[inline(always)]
pub const fn chunk(line: usize) -> usize {
    line / 2 + line % 2 * (GROUP / 2)
}

/// The line that group `group` has at `line`.
#[inline(always)]
pub const fn line_of(group: usize, line: usize) -> usize {
    group / V * SPAN + V * chunk(line) + group % V
}

/// Where a chunk of a line stands among the line's, for k along memory: eight lines at the same k are in all banks.
#[inline(always)]
const fn in_line(chunk: usize, line: usize) -> usize {
    chunk ^ (line / 2 % (TILE_K / V))
}

/// Where a chunk of a row stands among the row's, for lines along memory: two chunks at four k are in all banks.
#[inline(always)]
const fn in_row(chunk: usize, row: usize) -> usize {
    chunk ^ (row % QUAD)
}

/// An operand with its slots in shared memory, as one thread uses them.
#[derive(Clone, Copy)]
struct Tiles {
    operand: Operand,
    slots: SharedArray<f32, { SLOTS * VALUES }>, // (SLOTS × TILE × TILE_K), or (SLOTS × TILE_K × TILE)
}

impl Tiles {
    /// Starts this thread's share of the copies of the tile from `start` on along k. Zeros from k on.
    ///
    /// # Safety
    /// Nothing touches the slot before the copies have been waited for.
    #[inline(always)]
    unsafe fn copy(self, thread: usize, slot: usize, start: usize) {
        let (Operand { source, along_k, lines, first, k }, tile) = (self.operand, self.slots);
        let threads = THREADS as usize;
        // Opaque, so that no places are kept in registers from tile to tile.
        let (thread, to) = (opaque(thread), slot * VALUES);
        // SAFETY: lines are clamped to the last, and nothing is read from k on.
        unsafe {
            if along_k && k.is_multiple_of(V) {
                const CHUNKS: usize = TILE_K / V;
                let (c, place) = (thread % CHUNKS, thread / CHUNKS);
                let (l, line) = (start + c * V, first + line_of(place / GROUP, place % GROUP));
                let to = opaque(to + place * TILE_K + in_line(c, place) * V);
                for step in (0..TILE).step_by(threads / CHUNKS) {
                    let line = (line + step).min(lines - 1);
                    cp_async4_or_zero(tile, to + step * TILE_K, source, line * k + l, l < k);
                }
            } else if along_k {
                let (l, place) = (thread % TILE_K, thread / TILE_K);
                let to = opaque(to + place * TILE_K + in_line(l / V, place) * V + l % V);
                let l = start + l;
                for group in 0..TILE / GROUP {
                    let line = (first + line_of(group, place)).min(lines - 1);
                    cp_async_or_zero(tile, to + group * GROUP * TILE_K, source, line * k + l, l < k);
                }
            } else if lines.is_multiple_of(V) {
                const CHUNKS: usize = TILE / V;
                let (c, row) = (thread % CHUNKS, thread / CHUNKS);
                let line = (first + c * V).min(lines - V);
                let to = opaque(to + row * TILE + in_row(c, row) * V);
                for step in (0..TILE_K).step_by(threads / CHUNKS) {
                    let l = start + row + step;
                    cp_async4_or_zero(tile, to + step * TILE, source, l * lines + line, l < k);
                }
            } else {
                let line = (first + thread).min(lines - 1);
                for row in 0..TILE_K {
                    let to = to + row * TILE + in_row(thread / V, row) * V + thread % V;
                    let l = start + row;
                    cp_async_or_zero(tile, to, source, l * lines + line, l < k);
                }
            }
        }
    }

    /// The lane's fragments of a step of a slot's tile, of the span that begins at line `from`.
    ///
    /// # Safety
    /// The whole warp calls it together; the slot's copies have been waited for, by all threads.
    #[inline(always)]
    unsafe fn load(self, lane: usize, slot: usize, step: usize, from: usize) -> Fragments {
        let tile = slot * VALUES;
        let mut fragments = [[0.0; 2]; V];
        // SAFETY: the caller's promise.
        unsafe {
            if self.operand.along_k {
                // Where a line of one of four matrices of 8 lines × 4 of k begins: 8 lines and the next, then at the next k.
                let (matrix, line) = (lane / GROUP, lane % GROUP);
                let c = in_line(step * (STEP / V) + matrix / 2, line);
                let tile = opaque(tile + (matrix % 2 * GROUP + line) * TILE_K + c * V) + from * TILE_K;
                for pair in 0..V / 2 {
                    let [above, below, above_next, below_next] =
                        ldmatrix_x4(self.slots, tile + pair * 2 * GROUP * TILE_K);
                    fragments[2 * pair] = [above, above_next];
                    fragments[2 * pair + 1] = [below, below_next];
                }
            } else {
                let (line, quad) = (lane / QUAD, lane % QUAD);
                let tile = opaque(tile + (step * STEP + quad) * TILE + in_row(chunk(line), quad) * V) + from;
                for half in 0..2 {
                    let values = self.slots.read4(tile + half * QUAD * TILE);
                    for i in 0..V {
                        fragments[i][half] = values[i];
                    }
                }
            }
        }
        fragments
    }
}

/// The slot of a tile.
#[inline(always)]
fn slot(tile: u32) -> usize {
    tile as usize % SLOTS
}

/// Starts this thread's share of the copies of both operands' tiles, as a group; an empty one beyond k.
///
/// # Safety
/// As [`Tiles::copy`].
#[inline(always)]
unsafe fn copy([a, b]: [Tiles; 2], thread: usize, tile: u32) {
    let (slot, start) = (slot(tile), tile as usize * TILE_K);
    if start < a.operand.k {
        // SAFETY: the caller's promise.
        unsafe {
            a.copy(thread, slot, start);
            b.copy(thread, slot, start);
        }
    }
    cp_async_commit();
}

/// Where a lane's elements are: of C's rows the i-th of `mma` and the upper or lower half, of its columns a four.
#[derive(Clone, Copy)]
pub struct Place {
    /// The lane's first row.
    pub row: usize,
    /// The lane's first column.
    pub column: usize,
}

impl Place {
    /// The lane's first element, in the tile of its warp.
    #[inline(always)]
    fn of(warp: usize, lane: usize, [first_row, first_column]: [usize; 2]) -> Self {
        let (line, quad) = (lane / QUAD, lane % QUAD);
        Place {
            row: first_row + warp / WARPS[1] * WARP_TILE + line_of(0, line),
            column: first_column + warp % WARPS[1] * WARP_TILE + line_of(0, 2 * quad),
        }
    }

    /// The row of elements 2 half and 2 half + 1 of the i-th 16 rows.
    #[inline(always)]
    fn row(self, i: usize, half: usize) -> usize {
        self.row + line_of(2 * i + half, 0)
    }

    /// The column of elements `next` and 2 + `next` of the j-th 8 columns.
    #[inline(always)]
    fn column(self, j: usize, next: usize) -> usize {
        self.column + line_of(j, next)
    }
}

/// C = op(A) op(B), each element through the epilogue.
///
/// # Safety
/// The block has `THREADS` threads and `SHARED` bytes of dynamic shared memory, all threads call it together; a and b are
/// as stored, c (m × n), the epilogue has n columns.
#[inline(always)]
pub unsafe fn multiply<W: Way, E: Epilogue>(
    [m, n, k]: [u32; 3],
    [a_transposed, b_transposed]: [bool; 2],
    a: Global<f32>,
    b: Global<f32>,
    epilogue: E,
    c: GlobalMut<f32>,
) {
    let (m, n, k) = (m as usize, n as usize, k as usize);
    let (first_row, first_column) = tile_start(n, TILE, TILE);
    // 32 bits of each are enough, and registers are scarce here.
    let (first_row, first_column) = (opaque(first_row), opaque(first_column));
    let a = Tiles {
        operand: Operand { source: a, along_k: !a_transposed, lines: m, first: first_row, k },
        slots: dynamic_array(0),
    };
    let b = Tiles {
        operand: Operand { source: b, along_k: b_transposed, lines: n, first: first_column, k },
        slots: dynamic_array(SLOTS * VALUES),
    };
    let thread = thread::thread_idx_x() as usize;
    let (warp, lane) = (thread / 32, thread % 32);
    let [a_from, b_from] = [warp / WARPS[1], warp % WARPS[1]].map(|place| place * WARP_TILE);

    let mut acc: Accumulators = [[[0.0; 4]; _]; _];
    // A loop, as the copies are much code.
    for tile in 0..opaque(SLOTS - 1) as u32 {
        keep_loop();
        // SAFETY: nobody uses the slot until these copies have been waited for.
        unsafe { copy([a, b], thread, tile) };
    }
    for tile in 0..k.div_ceil(TILE_K) as u32 {
        cp_async_wait_group::<PENDING>();
        thread::sync_threads();
        // SAFETY: everybody is done with that slot; nobody uses it until these copies have been waited for.
        unsafe { copy([a, b], thread, tile + (SLOTS as u32 - 1)) };
        let slot = slot(tile);
        // SAFETY: this slot's copies have been waited for, by all threads, and the whole block is here.
        unsafe {
            W::multiply(
                &mut acc,
                |step, span| a.load(lane, slot, step, a_from + span * SPAN),
                |step, span| b.load(lane, slot, step, b_from + span * SPAN),
            )
        };
    }
    // Opaque, so that nothing of this is kept in registers meanwhile.
    let thread = opaque(thread);
    let place = Place::of(thread / 32, thread % 32, [first_row, first_column]);
    // SAFETY: the elements are this lane's alone.
    unsafe {
        store(&acc, [m, n], place, epilogue, c);
        again_if_not_finite(&acc, [m, n, k], place, [a.operand, b.operand], epilogue, c);
    }
}

/// Writes the lane's elements of C (m × n), after the epilogue.
///
/// # Safety
/// The elements are this lane's alone; the epilogue has n columns.
#[inline(always)]
pub unsafe fn store<E: Epilogue, const ROWS: usize, const COLUMNS: usize>(
    acc: &[[[f32; 4]; COLUMNS]; ROWS],
    [m, n]: [usize; 2],
    place: Place,
    epilogue: E,
    c: GlobalMut<f32>,
) {
    for four in 0..COLUMNS / V {
        for next in 0..2 {
            let column = place.column(four * V, next);
            let mut bias = [0.0; V];
            for x in 0..V {
                if column + x < n {
                    // SAFETY: a column of C.
                    bias[x] = unsafe { epilogue.bias(column + x) };
                }
            }
            for i in 0..ROWS {
                for half in 0..2 {
                    let row = place.row(i, half);
                    let mut values = [0.0; V];
                    for x in 0..V {
                        values[x] = epilogue.apply(acc[i][four * V + x][2 * half + next], bias[x]);
                    }
                    if row < m {
                        // SAFETY: inside C; in rows of a multiple of 4 all four are, with the first.
                        unsafe { store_four(values, row * n + column, n, column, c) };
                    }
                }
            }
        }
    }
}

/// Computes elements whose sums are not finite again, by fused multiply-adds.
///
/// # Safety
/// As `store`.
#[inline(always)]
pub unsafe fn again_if_not_finite<E: Epilogue, const ROWS: usize, const COLUMNS: usize>(
    acc: &[[[f32; 4]; COLUMNS]; ROWS],
    [m, n, k]: [usize; 3],
    place: Place,
    [a, b]: [Operand; 2],
    epilogue: E,
    c: GlobalMut<f32>,
) {
    // A bit for each element, so that one piece of code is there for all.
    let mut elements = 0_u128;
    for i in 0..ROWS {
        for j in 0..COLUMNS {
            for element in 0..4 {
                let bit = 4 * (COLUMNS * i + j) + element;
                elements |= u128::from(!acc[i][j][element].is_finite()) << bit;
            }
        }
    }
    while elements != 0 {
        let bit = elements.trailing_zeros() as usize;
        elements &= elements - 1;
        let (i, j) = (bit / (4 * COLUMNS), bit / 4 % COLUMNS);
        let (row, column) = (place.row(i, bit / 2 % 2), place.column(j, bit % 2));
        if row < m && column < n {
            let mut sum = 0.0;
            // SAFETY: the row and the column are inside C, l < k, and the element is this lane's.
            unsafe {
                for l in 0..opaque(k) {
                    sum = mul_add(a.value(row, l), b.value(column, l), sum);
                }
                c.write(row * n + column, epilogue.apply(sum, epilogue.bias(column)));
            }
        }
    }
}

/// C = A B: a (m × k), b (k × n), c (m × n).
#[kernel(block = [THREADS, 1, 1], min_blocks = 2, shared = SHARED)]
pub unsafe fn matmul_tf32(m: u32, n: u32, k: u32, a: Global<f32>, b: Global<f32>, c: GlobalMut<f32>) {
    multiply::<Tf32, _>([m, n, k], [false, false], a, b, Plain, c);
}

/// C = Aᵀ B: a (k × m), b (k × n), c (m × n).
#[kernel(block = [THREADS, 1, 1], min_blocks = 2, shared = SHARED)]
pub unsafe fn matmul_tf32_tn(m: u32, n: u32, k: u32, a: Global<f32>, b: Global<f32>, c: GlobalMut<f32>) {
    multiply::<Tf32, _>([m, n, k], [true, false], a, b, Plain, c);
}

/// C = A Bᵀ: a (m × k), b (n × k), c (m × n).
#[kernel(block = [THREADS, 1, 1], min_blocks = 2, shared = SHARED)]
pub unsafe fn matmul_tf32_nt(m: u32, n: u32, k: u32, a: Global<f32>, b: Global<f32>, c: GlobalMut<f32>) {
    multiply::<Tf32, _>([m, n, k], [false, true], a, b, Plain, c);
}

/// C = Aᵀ Bᵀ: a (k × m), b (n × k), c (m × n).
#[kernel(block = [THREADS, 1, 1], min_blocks = 2, shared = SHARED)]
pub unsafe fn matmul_tf32_tt(m: u32, n: u32, k: u32, a: Global<f32>, b: Global<f32>, c: GlobalMut<f32>) {
    multiply::<Tf32, _>([m, n, k], [true, true], a, b, Plain, c);
}
