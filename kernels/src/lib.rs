//! The kernels, in reading order.
#![cfg_attr(target_arch = "nvptx64", no_std)]
#![cfg_attr(target_arch = "nvptx64", feature(abi_ptx, asm_experimental_arch))]
use cuda_std::prelude::*;

/// Threads of a block.
const THREADS: u32 = 256;

/// `y ← a·x + y`.
#[kernel(block = [THREADS, 1, 1])]
pub unsafe fn axpy(n: u32, a: f32, x: Global<f32>, y: GlobalMut<f32>) {
    let tile = shared_array![f32; THREADS as usize];
    let i = (thread::block_idx_x() * thread::block_dim_x() + thread::thread_idx_x()) as usize;
    tile.write(thread::thread_idx_x() as usize, 0.0);
    thread::sync_threads();
    if i < n as usize {
        y.write(i, mul_add(a, x.read(i), y.read(i)));
    }
}
