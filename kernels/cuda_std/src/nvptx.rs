//! The API as PTX instructions.

/// Where a thread is, and the barrier of its block.
pub mod thread {
    use core::arch::nvptx as intrinsics;

    /// This thread's index in its block along x.
    #[inline(always)]
    pub fn thread_idx_x() -> u32 {
        // SAFETY: reads a special register.
        unsafe { intrinsics::_thread_idx_x() }
    }
    /// This thread's index in its block along y.
    #[inline(always)]
    pub fn thread_idx_y() -> u32 {
        // SAFETY: reads a special register.
        unsafe { intrinsics::_thread_idx_y() }
    }
    /// This block's index in the grid along x.
    #[inline(always)]
    pub fn block_idx_x() -> u32 {
        // SAFETY: reads a special register.
        unsafe { intrinsics::_block_idx_x() }
    }
    /// This block's index in the grid along y.
    #[inline(always)]
    pub fn block_idx_y() -> u32 {
        // SAFETY: reads a special register.
        unsafe { intrinsics::_block_idx_y() }
    }
    /// Threads of a block along x.
    #[inline(always)]
    pub fn block_dim_x() -> u32 {
        // SAFETY: reads a special register.
        unsafe { intrinsics::_block_dim_x() }
    }
    /// Threads of a block along y.
    #[inline(always)]
    pub fn block_dim_y() -> u32 {
        // SAFETY: reads a special register.
        unsafe { intrinsics::_block_dim_y() }
    }
    /// Blocks of the grid along x.
    #[inline(always)]
    pub fn grid_dim_x() -> u32 {
        // SAFETY: reads a special register.
        unsafe { intrinsics::_grid_dim_x() }
    }
    /// Waits until every thread of the block arrives here.
    #[inline(always)]
    pub fn sync_threads() {
        // SAFETY: a barrier touches no memory of Rust's.
        unsafe { intrinsics::_syncthreads() }
    }
}

/// The 32 threads that run together.
pub mod warp {
    use core::arch::asm;

    /// This thread's place in its warp.
    #[inline(always)]
    pub fn lane_id() -> u32 {
        super::thread::thread_idx_x() % 32
    }
}

/// Arithmetic that the GPU does in one instruction.
pub mod float {
    /// `a * b + c`, rounded once.
    #[inline(always)]
    pub fn mul_add(a: f32, b: f32, c: f32) -> f32 {
        core::f32::math::mul_add(a, b, c)
    }
}

/// Global and shared memory.
pub mod memory {
    use core::arch::asm;

    /// Global memory that a kernel reads.
    #[repr(transparent)]
    #[derive(Clone, Copy)]
    pub struct Global<T>(*const T);

    /// Global memory that a kernel reads and writes.
    #[repr(transparent)]
    #[derive(Clone, Copy)]
    pub struct GlobalMut<T>(*mut T);
}
