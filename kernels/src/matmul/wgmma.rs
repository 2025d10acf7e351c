//! C = op(A) op(B) as the rung before, where a warpgroup multiplies matrices (compute capability 9.0a).
//!
//! op(A) (m × k), op(B) (k × n), C (m × n). Lines are rows of op(A) and columns of op(B).
//!
//! ```text
//!  a block: 128 × 128            shared memory, a tile of 32 along k             a line: 128 bytes, 8 chunks of 4 values
//!  ┌─────────────────────┐
//!  │ 0: warps 0–3        │       A (128 lines), as they are                      line 0 │ 0 1 2 3 4 5 6 7
//!  │    64 × 128         │       B (128 lines), rounded to tf32: b₁                   1 │ 1 0 3 2 5 4 7 6
//!  ├─────────────────────┤       B (128 lines), what is left:    b₂                   2 │ 2 3 0 1 6 7 4 5
//!  │ 1: warps 4–7        │                                                            … │ chunk c stands at c ^ (its place mod 8)
//!  └─────────────────────┘
//!
//!  global ──registers──▶ shared ┬─ A: `ldmatrix` ──▶ registers: a₁, a₂ ┐
//!                               └─ B: b₁, b₂ ──────────────────────────┴─▶ `wgmma`: 64 × 128 += 64 × 8 · 8 × 128
//! ```
//!
//! The tensor cores of compute capability 9.0 have their full speed only with `wgmma`: one instruction of 128 threads, which
//! takes B from shared memory, where it stands in a fixed order along k, and works on while the threads do other things. A
//! may come from registers, so it is taken apart there, by the warp that multiplies it; B is taken apart on its way to shared
//! memory, once for both warpgroups.
//!
//! The operands come through registers: for B that is the way to take it apart, and for lines along memory (B, Aᵀ) to turn it,
//! 4 × 4 values a thread. While a tile is multiplied the next goes from registers to shared memory, and the one after it is
//! loaded. Which line stands at which place of a tile is free: the four of a thread are in four different groups of 8, as in the
//! rung for tf32, so that no stores meet in a bank.
//!
//! **Error.** That of the rung before, but that the sum leaves the tensor cores every 32 of k. Of its 12 products the 8 small
//! ones come first; the last 4 are off by up to 11u each, u = 2⁻²⁴: nine terms cut off one bit below the last of the largest
//! one's 24, and the sum at its last. (Microsoft's MMA-Sim has two bits there on this architecture.) That makes 44u, 8u for
//! what is not multiplied, 2u for the small products and terms of second order, and a rounding for each 32 of k: [`depth`].
//!
//! **Not finite.** As in the rung for tf32.
//!
//! **Cost.** A tile is 128 × 128 × 32 × 3 multiply-adds: 1536 cycles of a multiprocessor's tensor cores at the data sheet's
//! peak (1024 a cycle). For it a block reads 32 KiB: 21 bytes a cycle, from the second cache for all but the first block that
//! wants them. Through shared memory, 128 bytes a cycle, go 160 KiB: 48 to store, 16 for A, and 96 for B, which each of the
//! 24 `wgmma` reads again (4 KiB in 64 cycles: half of what there is). That is 1280 cycles of 1536. A block has 96 KiB of
//! shared memory, and a multiprocessor to itself: a thread has 64 elements of C, and 64 of their sums over this tile.
//!
//! **Barriers.** One for each tile, with what comes before it:
//!
//! ```text
//!  stores of tile t      ──fence, barrier──▶  `ldmatrix` and `wgmma` of tile t (the fence: `wgmma` reads by a way of its own)
//!  `ldmatrix` and `wgmma` of tile t − 1 ──wait, barrier──▶  stores of tile t + 1, into the same slot
//! ```
//!
//! **What changed.** From the rung before: `wgmma`, and what it wants. Time not measured yet.
//!
//! **Run it.** `cargo test --release --test kernels matmul_wgmma`

use cuda_std::memory::{dynamic_array, opaque};
use cuda_std::prelude::*;
use cuda_std::warp::ldmatrix_x4;
use cuda_std::warpgroup::{
    Accumulators, fence_proxy_async, wgmma_commit, wgmma_fence, wgmma_m64n128k8, wgmma_wait,
};

use super::epilogue::{Epilogue, Plain};
use super::pipelined::Operand;
use super::tensor_core::{GROUP, Place, QUAD, SPAN, again_if_not_finite, line_of, store};
use super::tf32x3::parts;
use super::tile::{tile_grid, tile_start};
use super::vectorised::V;

/// Rows and columns of a block's part of C.
pub const TILE: usize = 128;
/// Columns of A and rows of B that are multiplied at a time: lines of 128 bytes.
pub const TILE_K: usize = 32;
/// Of k, what one `wgmma` multiplies.
const STEP: usize = 8;
/// Steps of a tile.
const STEPS: usize = TILE_K / STEP;
/// Chunks of a line.
const CHUNKS: usize = TILE_K / V;
/// Threads of a warpgroup.
const WARPGROUP: usize = 128;
/// Rows of a warpgroup's part of C, and of one of its warps.
const WARPGROUP_ROWS: usize = 64;
const WARP_ROWS: usize = 16;
/// Threads of a block: warpgroups from top to bottom.
pub const THREADS: u32 = (TILE / WARPGROUP_ROWS * WARPGROUP) as u32;
/// Lines of an operand that have a chunk each of a thread's.
const LINES: usize = TILE * CHUNKS / THREADS as usize;
/// Slots for tiles.
const SLOTS: usize = 2;
/// Values of an operand's tile.
const VALUES: usize = TILE * TILE_K;
/// Values of a slot: A, b₁ and b₂.
const SLOT: usize = 3 * VALUES;
/// Bytes of dynamic shared memory.
pub const SHARED: usize = SLOTS * SLOT * size_of::<f32>();

/// The longest chain of roundings behind a result, in roundings of `f32`.
pub fn depth(k: usize) -> usize {
    k.div_ceil(TILE_K) + STEPS * (STEP + 3) + 10
}

/// From this k on the error is within the bound for a sum of k fused multiply-adds: [`depth`] is at most k.
pub const LEAST_K: usize = 56;

/// The grid for an m × n product.
pub fn grid(m: usize, n: usize) -> [u32; 3] {
    tile_grid(m, n, TILE, TILE)
}

/// The slots of the block.
type Slots = SharedArray<f32, { SLOTS * SLOT }>;
/// A thread's part of an operand's tile: of four lines a chunk each.
type Chunks = [[f32; V]; LINES];

/// Where in its group a line of a span stands: lines n to n + 3 at the same place of four groups, as [`line_of`] has it.
#[inline(always)]
const fn place_of(line: usize) -> usize {
    let chunk = line / V;
    2 * chunk % GROUP + chunk / (GROUP / 2)
}

/// A thread's share of an operand.
#[derive(Clone, Copy)]
struct Share {
    operand: Operand,
    /// The chunk of each line.
    chunk: usize,
    /// The first line, and how far the next is.
    line: usize,
    next: usize,
    /// Where the first line's chunk stands in a tile, and how far the next is.
    to: usize,
    next_to: usize,
}

impl Share {
    #[inline(always)]
    fn of(operand: Operand, thread: usize) -> Self {
        let (chunk, line, next, place, next_place) = if operand.along_k {
            // Neighbours have neighbouring chunks of a line.
            let (chunk, line) = (thread % CHUNKS, thread / CHUNKS);
            (chunk, line, SPAN, line % V * GROUP + place_of(line), SPAN)
        } else {
            // Neighbours have neighbouring fours of lines, at the same four of k.
            let (chunk, four) = (thread / (TILE / V), thread % (TILE / V));
            (chunk, V * four, 1, V * four / SPAN * SPAN + place_of(V * four % SPAN), GROUP)
        };
        let to = place * TILE_K + V * (chunk ^ (place % GROUP));
        Share { operand, chunk, line, next, to, next_to: next_place * TILE_K }
    }

    /// The chunks of a tile. Zeros from k on.
    #[inline(always)]
    fn load(self, tile: u32) -> Chunks {
        let Operand { source, along_k, lines, first, k } = self.operand;
        let l = tile as usize * TILE_K + V * self.chunk;
        let mut chunks = [[0.0; V]; LINES];
        // Opaque, so that no places are kept in registers from tile to tile.
        let line = opaque(first + self.line);
        // SAFETY: lines are clamped to the last, and nothing is read from k on.
        unsafe {
            if along_k && k.is_multiple_of(V) {
                if l < k {
                    for x in 0..LINES {
                        chunks[x] = source.read4((line + x * self.next).min(lines - 1) * k + l);
                    }
                }
            } else if !along_k && lines.is_multiple_of(V) {
                let line = line.min(lines - V);
                for y in 0..V {
                    if l + y < k {
                        let values = source.read4((l + y) * lines + line);
                        for x in 0..LINES {
                            chunks[x][y] = values[x];
                        }
                    }
                }
            } else {
                for y in 0..V {
                    if l + y < k {
                        for x in 0..LINES {
                            chunks[x][y] = self.operand.value((line + x * self.next).min(lines - 1), l + y);
                        }
                    }
                }
            }
        }
        chunks
    }

    /// Puts values of the chunks in their places in the tile that begins at `tile`.
    ///
    /// # Safety
    /// Nothing uses the tile meanwhile.
    #[inline(always)]
    unsafe fn store(self, slots: Slots, tile: usize, chunks: impl Fn(usize) -> [f32; V]) {
        let to = opaque(tile + self.to);
        for x in 0..LINES {
            // SAFETY: the place is in the tile, and this thread's alone.
            unsafe { slots.write4(to + x * self.next_to, chunks(x)) };
        }
    }
}

/// Puts a tile of both operands into a slot, B in two parts.
///
/// # Safety
/// Nothing uses the slot meanwhile.
#[inline(always)]
unsafe fn fill(slots: Slots, slot: usize, [a, b]: [Share; 2], [a_chunks, b_chunks]: &[Chunks; 2]) {
    // SAFETY: the caller's promise.
    unsafe {
        a.store(slots, slot, |x| a_chunks[x]);
        b.store(slots, slot + VALUES, |x| parts(b_chunks[x])[0]);
        b.store(slots, slot + 2 * VALUES, |x| parts(b_chunks[x])[1]);
    }
}

/// Where the slot of a tile begins.
#[inline(always)]
fn slot(tile: u32) -> usize {
    tile as usize % SLOTS * SLOT
}

/// C = op(A) op(B), each element through the epilogue.
///
/// # Safety
/// The block has `THREADS` threads and `SHARED` bytes of dynamic shared memory, all threads call it together; a and b are
/// as stored, c (m × n), the epilogue has n columns.
#[inline(always)]
pub unsafe fn multiply<E: Epilogue>(
    [m, n, k]: [u32; 3],
    [a_transposed, b_transposed]: [bool; 2],
    a: Global<f32>,
    b: Global<f32>,
    epilogue: E,
    c: GlobalMut<f32>,
) {
    let (m, n, k) = (m as usize, n as usize, k as usize);
    let (first_row, first_column) = tile_start(n, TILE, TILE);
    let (first_row, first_column) = (opaque(first_row), opaque(first_column));
    let a = Operand { source: a, along_k: !a_transposed, lines: m, first: first_row, k };
    let b = Operand { source: b, along_k: b_transposed, lines: n, first: first_column, k };
    let thread = thread::thread_idx_x() as usize;
    let shares = [Share::of(a, thread), Share::of(b, thread)];
    let slots: Slots = dynamic_array(0);
    let (warp, lane) = (thread / 32, thread % 32);
    // The line of one of four matrices of 8 lines × 4 of k: 8 lines and the next, then at the next k.
    let (matrix, line) = (lane / GROUP, lane % GROUP);
    let from = (warp * WARP_ROWS + matrix % 2 * GROUP + line) * TILE_K;

    let mut acc = [[[0.0; 4]; TILE / GROUP]; 1];
    let tiles = k.div_ceil(TILE_K) as u32;
    // SAFETY: nobody uses the slot before the first barrier.
    unsafe { fill(slots, slot(0), shares, &shares.map(|share| share.load(0))) };
    fence_proxy_async();
    let mut next = shares.map(|share| share.load(1));
    for tile in 0..tiles {
        thread::sync_threads();
        let this = slot(tile);
        let mut fragments = [[[0.0; 4]; STEPS]; 2];
        for step in 0..STEPS {
            let c = step * (STEP / V) + matrix / 2;
            // SAFETY: this tile is there, and the whole warp is here.
            let a = unsafe { ldmatrix_x4(slots, this + from + V * (c ^ line)) };
            [fragments[0][step], fragments[1][step]] = parts(a);
        }
        let [big, small] = fragments;
        let [b_big, b_small] = [this + VALUES, this + 2 * VALUES];
        let mut sums = Accumulators::new();
        wgmma_fence(&mut sums, [big, small].as_flattened());
        // SAFETY: this tile is there, nobody writes to it until the products have been waited for, and the whole warpgroup is here.
        unsafe {
            for step in 0..STEPS {
                wgmma_m64n128k8(&mut sums, step > 0, small[step], slots, b_big, step * STEP);
                wgmma_m64n128k8(&mut sums, true, big[step], slots, b_small, step * STEP);
            }
            for step in 0..STEPS {
                wgmma_m64n128k8(&mut sums, true, big[step], slots, b_big, step * STEP);
            }
        }
        wgmma_commit();
        // SAFETY: everybody is done with the other slot, and nobody uses it before the next barrier.
        unsafe { fill(slots, slot(tile + 1), shares, &next) };
        fence_proxy_async();
        next = shares.map(|share| share.load(tile + 2));
        wgmma_wait(&mut sums, [big, small].as_flattened());
        let sums = sums.values();
        for j in 0..sums.len() {
            for element in 0..4 {
                acc[0][j][element] += sums[j][element];
            }
        }
    }
    // Opaque, so that nothing of this is kept in registers meanwhile.
    let thread = opaque(thread);
    let (warp, lane) = (thread / 32, thread % 32);
    let place = Place {
        row: first_row + line_of(warp * WARP_ROWS / GROUP, lane / QUAD),
        column: first_column + line_of(0, 2 * (lane % QUAD)),
    };
    // SAFETY: the elements are this lane's alone.
    unsafe {
        store(&acc, [m, n], place, epilogue, c);
        again_if_not_finite(&acc, [m, n, k], place, [a, b], epilogue, c);
    }
}

/// C = A B: a (m × k), b (k × n), c (m × n).
#[kernel(block = [THREADS, 1, 1], min_blocks = 1, shared = SHARED, arch = "sm_90a")]
pub unsafe fn matmul_wgmma(m: u32, n: u32, k: u32, a: Global<f32>, b: Global<f32>, c: GlobalMut<f32>) {
    multiply([m, n, k], [false, false], a, b, Plain, c);
}

/// C = Aᵀ B: a (k × m), b (k × n), c (m × n).
#[kernel(block = [THREADS, 1, 1], min_blocks = 1, shared = SHARED, arch = "sm_90a")]
pub unsafe fn matmul_wgmma_tn(m: u32, n: u32, k: u32, a: Global<f32>, b: Global<f32>, c: GlobalMut<f32>) {
    multiply([m, n, k], [true, false], a, b, Plain, c);
}

/// C = A Bᵀ: a (m × k), b (n × k), c (m × n).
#[kernel(block = [THREADS, 1, 1], min_blocks = 1, shared = SHARED, arch = "sm_90a")]
pub unsafe fn matmul_wgmma_nt(m: u32, n: u32, k: u32, a: Global<f32>, b: Global<f32>, c: GlobalMut<f32>) {
    multiply([m, n, k], [false, true], a, b, Plain, c);
}

/// C = Aᵀ Bᵀ: a (k × m), b (n × k), c (m × n).
#[kernel(block = [THREADS, 1, 1], min_blocks = 1, shared = SHARED, arch = "sm_90a")]
pub unsafe fn matmul_wgmma_tt(m: u32, n: u32, k: u32, a: Global<f32>, b: Global<f32>, c: GlobalMut<f32>) {
    multiply([m, n, k], [true, true], a, b, Plain, c);
}
