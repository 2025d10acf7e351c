//! From one value a thread to one value a block: a tree.
//!
//! ```text
//! lane       0   1   2   3   …  31        warp_sum: five steps, each with half the distance;
//! + 16 away  s   s   s   s                registers only, no shared memory, no barrier
//! +  8 away  s   s   s   s
//!   …
//! +  1 away  Σ   ·   ·   ·
//!
//! warp       0   1   2   …   7            block_sum: lane 0 of each warp writes its Σ to shared memory,
//! partial    Σ   Σ   Σ       Σ            and every warp adds up the eight of them
//! ```
//!
//! **Cost.** 10 shuffles and 2 barriers a thread, whatever the number of values that went before.
//!
//! **Barriers.** All threads of the block call `block_sum`, none may have returned. Between its barriers
//! `partial` is only read; outside of them lane 0 of each warp may write its own element. The second barrier
//! is for the next call, which is the same array.
//!
//! **What it buys.** Shuffles against a tree in shared memory with a barrier a step: not measured yet.
//!
//! **Run it.** `cargo test --release --test kernels sum`

use cuda_std::prelude::*;

use super::strided::{self, strided};

/// Threads of a warp.
pub const WARP: usize = 32;
/// Threads of a block.
pub const THREADS: u32 = 256;
/// Warps of a block.
const WARPS: usize = THREADS as usize / WARP;
/// Enough blocks to fill the largest GPU; few enough for one block to add up their partial sums.
pub const MAX_BLOCKS: usize = 1024;

/// The grid for n values: a function of n only, so the order of the additions is too.
pub fn grid(n: usize) -> [u32; 3] {
    let blocks = n.div_ceil(THREADS as usize * strided::LOADS).clamp(1, MAX_BLOCKS);
    [blocks as u32, 1, 1]
}

/// The longest chain of additions behind a block's sum when `blocks` blocks share n values.
pub const fn depth(n: usize, blocks: usize) -> usize {
    strided::depth(n.div_ceil(blocks * THREADS as usize)) + WARP.ilog2() as usize + WARPS.ilog2() as usize
}

/// Calls `visit(slot, index)` for this thread's share of `0..n` in a grid of blocks of [`THREADS`].
#[inline(always)]
pub fn grid_stride(n: usize, visit: impl FnMut(usize, usize)) {
    let threads = THREADS as usize;
    let first = thread::block_idx_x() as usize * threads + thread::thread_idx_x() as usize;
    strided(first, n, thread::grid_dim_x() as usize * threads, visit);
}

/// The sum of a warp's values, in its lane 0; the other lanes get parts of it.
#[inline(always)]
pub fn warp_sum(mut value: f32) -> f32 {
    let mut distance = WARP as u32 / 2;
    while distance > 0 {
        value += warp::shuffle_down(warp::FULL_MASK, value, distance);
        distance /= 2;
    }
    value
}

/// The sum of the block's values, in lane 0 of each warp. All [`THREADS`] threads call it together.
#[inline(always)]
pub fn block_sum(value: f32) -> f32 {
    let partial = shared_array![f32; WARPS]; // (WARPS)
    let (lane, warp) = (warp::lane_id() as usize, warp::warp_id() as usize);
    let value = warp_sum(value);
    if lane == 0 {
        // SAFETY: warp < WARPS, and no other warp writes there.
        unsafe { partial.write(warp, value) };
    }
    thread::sync_threads();
    // SAFETY: in range; written before the barrier.
    let value = if lane < WARPS { unsafe { partial.read(lane) } } else { 0.0 };
    // The next call may write to `partial`.
    thread::sync_threads();
    warp_sum(value)
}
