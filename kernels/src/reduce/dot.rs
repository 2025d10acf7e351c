//! Dot product.
use cuda_std::prelude::*;

pub use super::block::grid;
use super::block::{THREADS, block_sum, grid_stride};
use super::strided::{LOADS, join};

/// The sum of a·b over the indices that each block visits: a, b (n), partials (blocks of the grid).
#[kernel(block = [THREADS, 1, 1])]
pub unsafe fn dot(n: u32, a: Global<f32>, b: Global<f32>, partials: GlobalMut<f32>) {
    let mut acc = [0.0; LOADS];
    grid_stride(n as usize, |slot, i| acc[slot] = mul_add(a.read(i), b.read(i), acc[slot]));
    let total = block_sum(join(acc));
    if thread::thread_idx_x() == 0 {
        partials.write(thread::block_idx_x() as usize, total);
    }
}
