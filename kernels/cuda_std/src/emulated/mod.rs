//! The API as an emulator: each GPU thread a coroutine, every access checked.

mod fault;
mod launch;
mod memory_impl;
mod schedule;
mod warp_impl;

pub use fault::Fault;
pub use launch::{Emulator, Order};

/// Global and shared memory.
pub mod memory {
    pub use super::memory_impl::{
        Global, GlobalMut, SharedArray, SharedSite, cp_async, cp_async_commit, cp_async_wait_all,
        cp_async_wait_group, cp_async4,
    };
}

/// The 32 threads that run together.
pub mod warp {
    use super::schedule::lane;
    pub use super::warp_impl::{
        all, any, ballot, mma_m16n8k8, shuffle_down, shuffle_idx, shuffle_up, shuffle_xor, sync_warp,
    };
    /// This thread's place in its warp.
    #[inline]
    pub fn lane_id() -> u32 {
        lane().thread % 32
    }
    /// This thread's warp in its block.
    #[inline]
    pub fn warp_id() -> u32 {
        lane().thread / 32
    }
}

/// Arithmetic that the GPU does in one instruction.
pub mod float {
    /// `a * b + c`, rounded once.
    #[inline]
    pub fn mul_add(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }
    /// `a / b`, rounded to nearest.
    #[inline]
    pub fn div(a: f32, b: f32) -> f32 {
        a / b
    }
    /// √x, rounded to nearest.
    #[inline]
    pub fn sqrt(x: f32) -> f32 {
        x.sqrt()
    }
    /// 1/√x, with an error of at most 2 units in the last place on a GPU.
    #[inline]
    pub fn rsqrt_approx(x: f32) -> f32 {
        (1.0 / f64::from(x).sqrt()) as f32
    }
    /// 2ˣ, with an error of at most 2 units in the last place on a GPU.
    #[inline]
    pub fn exp2_approx(x: f32) -> f32 {
        f64::from(x).exp2() as f32
    }
    /// `x` with the 10 fraction bits of tf32, ties away from zero.
    #[inline]
    pub fn to_tf32(x: f32) -> f32 {
        if x.is_finite() { f32::from_bits((x.to_bits() + 0x1000) & !0x1fff) } else { x }
    }
}

/// Where a thread is, and the barrier of its block.
pub mod thread {
    use super::schedule::{State, lane};
    use std::panic::Location;
    /// See the GPU's special register of this name.
    #[inline]
    pub fn thread_idx_x() -> u32 {
        lane().thread_idx[0]
    }
    /// See the GPU's special register of this name.
    #[inline]
    pub fn thread_idx_y() -> u32 {
        lane().thread_idx[1]
    }
    /// See the GPU's special register of this name.
    #[inline]
    pub fn thread_idx_z() -> u32 {
        lane().thread_idx[2]
    }
    /// See the GPU's special register of this name.
    #[inline]
    pub fn block_idx_x() -> u32 {
        lane().block().index[0]
    }
    /// See the GPU's special register of this name.
    #[inline]
    pub fn block_idx_y() -> u32 {
        lane().block().index[1]
    }
    /// See the GPU's special register of this name.
    #[inline]
    pub fn block_idx_z() -> u32 {
        lane().block().index[2]
    }
    /// See the GPU's special register of this name.
    #[inline]
    pub fn block_dim_x() -> u32 {
        lane().block().dims.block[0]
    }
    /// See the GPU's special register of this name.
    #[inline]
    pub fn block_dim_y() -> u32 {
        lane().block().dims.block[1]
    }
    /// See the GPU's special register of this name.
    #[inline]
    pub fn block_dim_z() -> u32 {
        lane().block().dims.block[2]
    }
    /// See the GPU's special register of this name.
    #[inline]
    pub fn grid_dim_x() -> u32 {
        lane().block().dims.grid[0]
    }
    /// See the GPU's special register of this name.
    #[inline]
    pub fn grid_dim_y() -> u32 {
        lane().block().dims.grid[1]
    }
    /// See the GPU's special register of this name.
    #[inline]
    pub fn grid_dim_z() -> u32 {
        lane().block().dims.grid[2]
    }

    /// Waits until every thread of the block arrives here.
    #[track_caller]
    pub fn sync_threads() {
        let lane = lane();
        lane.wait(State::Barrier(Location::caller()));
    }
}
