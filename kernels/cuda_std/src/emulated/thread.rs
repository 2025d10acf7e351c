//! Where a thread is, and the barrier of its block.

use std::panic::Location;

use super::lane::{State, lane};

macro_rules! indices {
    ($($name:ident: |$lane:ident| $value:expr, $doc:literal;)*) => { $(
        #[doc = $doc]
        #[inline]
        pub fn $name() -> u32 {
            let $lane = lane();
            $value
        }
    )* };
}
indices! {
    thread_idx_x: |lane| lane.index[0], "This thread's index in its block, along x.";
    thread_idx_y: |lane| lane.index[1], "This thread's index in its block, along y.";
    thread_idx_z: |lane| lane.index[2], "This thread's index in its block, along z.";
    block_idx_x: |lane| lane.block().index[0], "This block's index in the grid, along x.";
    block_idx_y: |lane| lane.block().index[1], "This block's index in the grid, along y.";
    block_idx_z: |lane| lane.block().index[2], "This block's index in the grid, along z.";
    block_dim_x: |lane| lane.block().launch().block[0], "Threads of a block along x.";
    block_dim_y: |lane| lane.block().launch().block[1], "Threads of a block along y.";
    block_dim_z: |lane| lane.block().launch().block[2], "Threads of a block along z.";
    grid_dim_x: |lane| lane.block().launch().grid[0], "Blocks of the grid along x.";
    grid_dim_y: |lane| lane.block().launch().grid[1], "Blocks of the grid along y.";
    grid_dim_z: |lane| lane.block().launch().grid[2], "Blocks of the grid along z.";
}

/// Waits until every thread of the block arrives here. What was read and written before, in shared and in global
/// memory, is ordered before what any thread of the block does after.
///
/// Every thread must come, to the same place in the source: on the GPU this is `barrier.sync.aligned`.
#[track_caller]
pub fn sync_threads() {
    lane().wait(State::Barrier(Location::caller()));
}
