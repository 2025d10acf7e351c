//! Sum.
use cuda_std::prelude::*;

pub use super::block::grid;
use super::block::{THREADS, block_sum, grid_stride};
use super::strided::{LOADS, join};

/// The sum of the values that each block visits: x (n), partials (blocks of the grid).
#[kernel(block = [THREADS, 1, 1])]
pub unsafe fn sum(n: u32, x: Global<f32>, partials: GlobalMut<f32>) {
    let mut acc = [0.0; LOADS];
    grid_stride(n as usize, |slot, i| acc[slot] += x.read(i));
    let total = block_sum(join(acc));
    if thread::thread_idx_x() == 0 {
        partials.write(thread::block_idx_x() as usize, total);
    }
}
