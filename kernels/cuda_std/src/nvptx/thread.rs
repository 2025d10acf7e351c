//! Where a thread is, and the barrier of its block.

use core::arch::nvptx as intrinsics;

macro_rules! special_registers {
    ($($name:ident: $intrinsic:ident)*) => { $(
        /// The special register of this name.
        #[inline(always)]
        pub fn $name() -> u32 {
            // SAFETY: reads a special register.
            unsafe { intrinsics::$intrinsic() }
        }
    )* };
}
special_registers! {
    thread_idx_x: _thread_idx_x thread_idx_y: _thread_idx_y thread_idx_z: _thread_idx_z
    block_idx_x: _block_idx_x block_idx_y: _block_idx_y block_idx_z: _block_idx_z
    block_dim_x: _block_dim_x block_dim_y: _block_dim_y block_dim_z: _block_dim_z
    grid_dim_x: _grid_dim_x grid_dim_y: _grid_dim_y grid_dim_z: _grid_dim_z
}

/// `barrier.sync 0`
#[inline(always)]
pub fn sync_threads() {
    // SAFETY: a barrier touches no memory of Rust's.
    unsafe { intrinsics::_syncthreads() }
}
