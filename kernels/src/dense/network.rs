//! A₃ = g₃(g₂(g₁(A₀ W₁ + b₁) W₂ + b₂) W₃ + b₃): three layers of a small network in one launch.
//!
//! A₀ (batch × n₀), Wₗ (nₗ₋₁ × nₗ), bₗ (nₗ), A₃ (batch × n₃).
//!
//! ```text
//!            32 columns, a lane each                 inside a block (4 warps):
//!          ┌────────┬────────┬───                    warp w sums k = 4w … 4w + 3, 4w + 16 … 4w + 19, …
//!   8 rows │ tile 0 │ tile 1 │          k ──▶        for 8 rows × its lane's column, in registers;
//!          ├────────┼────────┼───   A [r][k..k+4] ── 16 bytes, the same for all lanes
//!          │ tile 3 │ tile 4 │      W [k][column] ── 4 bytes a lane, neighbours
//!          └────────┴────────┴───                    then the four warps' sums are added up
//!   block b: tiles b, b + blocks, … of layer 1 ═ grid's barrier ═ of layer 2 ═ grid's barrier ═ of layer 3
//! ```
//!
//! **Cost.** A multiply-add a weight and sample, and each weight is read once for every 8 samples, mostly from the
//! cache. A network that is this small is bound by neither: three launches, or six if each product is split, take the
//! GPU some microseconds each before and after the work. Here there is one, and between layers the blocks wait for
//! each other.
//!
//! **Barriers.** Of a block: one after the warps' sums are written, one before the next tile overwrites them. Of the
//! grid, after the first and the second layer: each block arrives at a counter once its threads have written,
//! the last to arrive sets the counter back and moves the meeting's number on, for which the others wait. All blocks
//! have to be resident for that: a cooperative launch, and no more than [`BLOCKS`] of them.
//!
//! **What changed.** From the layer in one launch: the layers too. Against a launch a layer: not measured yet.
//!
//! **Run it.** `cargo test --release --test kernels network`

use cuda_std::prelude::*;

use crate::elementwise::{relu_of, sigmoid_of};

/// Layers of the network.
pub const LAYERS: usize = 3;
/// Rows of a tile: each thread has them all.
const ROWS: usize = 8;
/// Columns of a tile: one a lane.
const COLUMNS: usize = 32;
/// Warps of a block, which share a tile's range of k.
const WARPS: usize = 4;
/// Threads of a block.
const THREADS: usize = WARPS * COLUMNS;
/// Values of k that a warp takes at a time: 16 bytes of a row.
const STEP: usize = 4;
/// Blocks at most on a GPU: all have to be resident at once, 128 threads each.
pub const BLOCKS: usize = 128;
/// Words of the barrier between layers: who has arrived, and the number of the meeting. Both begin at 0.
pub const BARRIER: usize = 2;

/// g(z) = z, max(z, 0), 1 / (1 + e⁻ᶻ), as the kernel is told them.
pub const IDENTITY: u32 = 0;
/// See [`IDENTITY`].
pub const RELU: u32 = 1;
/// See [`IDENTITY`].
pub const SIGMOID: u32 = 2;

/// The grid for a batch and the widths n₁, n₂, n₃: as many blocks as the layer with most tiles has, up to `blocks`. Each
/// tile is computed in the same way whichever block has it, so the results do not depend on their number.
pub fn grid(batch: usize, widths: [usize; LAYERS], blocks: usize) -> [u32; 3] {
    let most = widths.map(|units| tiles(batch, units)).into_iter().max().unwrap_or(0);
    [most.min(blocks) as u32, 1, 1]
}

/// Elements of a row of the hidden layers' results: a multiple of 4, so that each row begins at 16 bytes.
pub const fn pitch(units: usize) -> usize {
    units.next_multiple_of(STEP)
}

/// Elements of `hidden` for a batch and the widths of the two hidden layers.
pub const fn hidden_elements(batch: usize, [first, second]: [usize; 2]) -> usize {
    batch * (pitch(first) + pitch(second))
}

/// The longest chain of additions behind one element before its bias is added.
pub const fn depth(inputs: usize) -> usize {
    inputs.div_ceil(WARPS * STEP) * STEP + WARPS
}

const fn tiles(batch: usize, units: usize) -> usize {
    batch.div_ceil(ROWS) * units.div_ceil(COLUMNS)
}

/// Where a layer's input or output is: rows `pitch` elements apart, from element `first` on.
#[derive(Clone, Copy)]
struct Rows<S> {
    source: S,
    first: usize,
    pitch: usize,
}

/// What a layer reads from: the network's input, or what the layer before has written.
trait Source: Copy {
    unsafe fn value(self, index: usize) -> f32;
    unsafe fn four(self, index: usize) -> [f32; 4];
}

impl Source for Global<f32> {
    #[inline(always)]
    unsafe fn value(self, index: usize) -> f32 {
        // SAFETY: the caller's promise.
        unsafe { self.read(index) }
    }
    #[inline(always)]
    unsafe fn four(self, index: usize) -> [f32; 4] {
        // SAFETY: the caller's promise.
        unsafe { self.read4(index) }
    }
}

impl Source for GlobalMut<f32> {
    #[inline(always)]
    unsafe fn value(self, index: usize) -> f32 {
        // SAFETY: the caller's promise.
        unsafe { self.read(index) }
    }
    #[inline(always)]
    unsafe fn four(self, index: usize) -> [f32; 4] {
        // SAFETY: the caller's promise.
        unsafe { self.read4(index) }
    }
}

impl<S: Source> Rows<S> {
    /// Four elements of a row from column k on; beyond the row they are 0.
    #[inline(always)]
    unsafe fn four(self, row: usize, k: usize, inputs: usize) -> [f32; STEP] {
        let first = self.first + row * self.pitch + k;
        // SAFETY: the row is there, and so are the elements that are read of it.
        unsafe {
            if (self.first | self.pitch).is_multiple_of(STEP) && k + STEP <= inputs {
                return self.source.four(first);
            }
            core::array::from_fn(|i| if k + i < inputs { self.source.value(first + i) } else { 0.0 })
        }
    }
}

/// This block's tiles of out = g(A W + b): `a` (batch × inputs), weights (inputs × units), bias (units), out (batch rows of
/// units, `pitch` apart).
#[inline(always)]
unsafe fn layer<S: Source>(
    [batch, inputs, units]: [usize; 3],
    a: Rows<S>,
    weights: Global<f32>,
    bias: Global<f32>,
    activation: u32,
    out: Rows<GlobalMut<f32>>,
    partial: SharedArray<f32, { WARPS * ROWS * COLUMNS }>,
) {
    let across = units.div_ceil(COLUMNS);
    let (thread, lane) = (thread::thread_idx_x() as usize, warp::lane_id() as usize);
    let warp = thread / COLUMNS;
    let mut tile = thread::block_idx_x() as usize;
    while tile < tiles(batch, units) {
        let (first_row, first_column) = (tile / across * ROWS, tile % across * COLUMNS);
        // Threads beyond the last row or column compute an element that is there, and do not write it.
        let column = (first_column + lane).min(units - 1);
        let mut acc = [0.0_f32; ROWS];
        let mut k = warp * STEP;
        while k < inputs {
            // SAFETY: rows, columns and k are within the matrices.
            unsafe {
                let w: [f32; STEP] = core::array::from_fn(|i| {
                    if k + i < inputs { weights.read((k + i) * units + column) } else { 0.0 }
                });
                for (r, acc) in acc.iter_mut().enumerate() {
                    let row = (first_row + r).min(batch - 1);
                    let four = a.four(row, k, inputs);
                    for i in 0..STEP {
                        *acc = mul_add(four[i], w[i], *acc);
                    }
                }
            }
            k += WARPS * STEP;
        }
        for r in 0..ROWS {
            // SAFETY: each thread has elements of its own; those of the tile before were read before the barrier below.
            unsafe { partial.write((warp * ROWS + r) * COLUMNS + lane, acc[r]) };
        }
        thread::sync_threads();
        for element in (thread..ROWS * COLUMNS).step_by(THREADS) {
            let (row, column) = (first_row + element / COLUMNS, first_column + element % COLUMNS);
            if row < batch && column < units {
                let mut sum = 0.0;
                for warp in 0..WARPS {
                    // SAFETY: written before the barrier.
                    sum += unsafe { partial.read(warp * ROWS * COLUMNS + element) };
                }
                // SAFETY: the column and the element are there, and the element is this thread's.
                unsafe {
                    let z = sum + bias.read(column);
                    let value = match activation {
                        RELU => relu_of(z),
                        SIGMOID => sigmoid_of(z),
                        _ => z,
                    };
                    out.source.write(out.first + row * out.pitch + column, value);
                }
            }
        }
        thread::sync_threads();
        tile += thread::grid_dim_x() as usize;
    }
}

/// Waits until all blocks are here, and have written what they wrote before.
#[inline(always)]
unsafe fn sync_grid(barrier: GlobalMut<u32>) {
    thread::sync_threads();
    if thread::thread_idx_x() == 0 {
        // SAFETY: the barrier has two words, of which the kernel's blocks make the same use.
        unsafe {
            let meeting = barrier.load_relaxed(1);
            if barrier.atomic_add_acquire_release(0, 1) == thread::grid_dim_x() - 1 {
                barrier.store_relaxed(0, 0);
                barrier.store_release(1, meeting.wrapping_add(1));
            } else {
                while barrier.load_acquire(1) == meeting {}
            }
        }
    }
    thread::sync_threads();
}

/// Three layers: input (batch × n0), weights l (n(l − 1) × n(l)), bias l (n(l)), barrier
/// ([`BARRIER`]), hidden ([`hidden_elements`]), out (batch × n3). `activations` has those of the layers, 8 bits each, the
/// first layer's lowest.
#[kernel(block = [THREADS as u32, 1, 1], cooperative)]
pub unsafe fn network(
    batch: u32,
    n0: u32,
    n1: u32,
    n2: u32,
    n3: u32,
    activations: u32,
    input: Global<f32>,
    weights1: Global<f32>,
    bias1: Global<f32>,
    weights2: Global<f32>,
    bias2: Global<f32>,
    weights3: Global<f32>,
    bias3: Global<f32>,
    barrier: GlobalMut<u32>,
    hidden: GlobalMut<f32>,
    out: GlobalMut<f32>,
) {
    let partial = shared_array![f32; WARPS * ROWS * COLUMNS]; // (WARPS × ROWS × COLUMNS)
    let (batch, n0) = (batch as usize, n0 as usize);
    let (n1, n2, n3) = (n1 as usize, n2 as usize, n3 as usize);
    let of_layer = |layer: u32| activations >> (8 * layer) & 0xff;
    let first = Rows { source: hidden, first: 0, pitch: pitch(n1) };
    let second = Rows { source: hidden, first: batch * pitch(n1), pitch: pitch(n2) };
    // SAFETY: the sizes are those of the buffers; hidden results are read after all blocks have written them.
    unsafe {
        let input = Rows { source: input, first: 0, pitch: n0 };
        layer([batch, n0, n1], input, weights1, bias1, of_layer(0), first, partial);
        sync_grid(barrier);
        layer([batch, n1, n2], first, weights2, bias2, of_layer(1), second, partial);
        sync_grid(barrier);
        let out = Rows { source: out, first: 0, pitch: n3 };
        layer([batch, n2, n3], second, weights3, bias3, of_layer(2), out, partial);
    }
}
