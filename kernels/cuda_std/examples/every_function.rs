//! Calls everything that a kernel may call, so that both implementations are known to have it, with the same types.
//!
//! The host builds this with the tests. For the GPU, with the flags that `cuda_builder` uses:
//! `cargo rustc -p cuda_std --example every_function --release -Zbuild-std=core --target nvptx64-nvidia-cuda -- --emit=asm`
#![cfg_attr(target_arch = "nvptx64", no_std)]
#![cfg_attr(target_arch = "nvptx64", feature(abi_ptx, asm_experimental_arch))]

use cuda_std::memory::{
    cp_async, cp_async_commit, cp_async_or_zero, cp_async_wait_all, cp_async_wait_group, cp_async4,
    cp_async4_or_zero, dynamic_array, keep_loop, opaque,
};
use cuda_std::warpgroup::{
    Accumulators, fence_proxy_async, wgmma_commit, wgmma_fence, wgmma_m64n128k8, wgmma_wait,
};
use cuda_std::{prelude::*, warp::FULL_MASK};

const THREADS: u32 = 256;

/// Arithmetic.
#[kernel(block = [THREADS, 1, 1], min_blocks = 2)]
pub unsafe fn floats(x: Global<f32>, y: GlobalMut<f32>) {
    let value = x.read(0);
    y.write(0, mul_add(value, value, value));
    y.write(1, float::div(1.0, value));
    y.write(2, float::sqrt(value));
    y.write(3, float::rsqrt_approx(value) + float::rcp_approx(value));
    y.write(4, float::exp2_approx(value));
    y.write(5, float::exp(value));
    y.write(6, float::to_tf32(value));
    let [low, high] = float::unpack_bf16(float::pack_bf16(value, -value));
    y.write(7, low - high);
}

/// Where a thread is.
#[kernel(block = [8, 8, 2])]
pub unsafe fn places(y: GlobalMut<u32>) {
    use thread::*;
    y.write(0, thread_idx_x() + thread_idx_y() + thread_idx_z());
    y.write(1, block_idx_x() + block_idx_y() + block_idx_z());
    y.write(2, block_dim_x() + block_dim_y() + block_dim_z());
    y.write(3, grid_dim_x() + grid_dim_y() + grid_dim_z());
    y.write(4, warp::lane_id() + warp::warp_id());
    sync_threads();
}

/// Operations of a warp.
#[kernel(block = [THREADS, 1, 1])]
pub unsafe fn warps(x: Global<f32>, y: GlobalMut<f32>, z: GlobalMut<u32>) {
    let value = x.read(thread::thread_idx_x() as usize);
    let sum = value + warp::shuffle_down(FULL_MASK, value, 1) + warp::shuffle_xor(FULL_MASK, value, 2);
    let word =
        warp::shuffle_up(FULL_MASK, 7_u32, 3) + warp::shuffle_idx(FULL_MASK, -7_i32, 4).cast_unsigned();
    warp::sync_warp(FULL_MASK);
    z.write(0, word + warp::ballot(FULL_MASK, sum > 0.0));
    if warp::all(FULL_MASK, sum > 1.0) || warp::any(FULL_MASK, sum < -1.0) {
        z.write(1, 1);
    }
    let [a, b, c, d] = warp::mma_m16n8k8([value; 4], [sum; 2], [0.0; 4]);
    y.write(0, a + b + c + d);
}

/// Shared memory and copies into it.
#[kernel(block = [THREADS, 1, 1])]
pub unsafe fn shared(x: Global<f32>, y: GlobalMut<f32>) {
    let tile = shared_array![f32; 4 * THREADS as usize];
    let count = shared_array![u32; 1];
    let i = thread::thread_idx_x() as usize;
    cp_async(tile, i, x, i);
    cp_async_commit();
    cp_async_wait_group::<1>();
    cp_async4(tile, 4 * i, x, 4 * i);
    cp_async_or_zero(tile, i, x, i, i < 8);
    cp_async4_or_zero(tile, opaque(4 * i), x, 4 * i, i < 8);
    for step in 0..opaque(2) {
        keep_loop();
        cp_async(tile, step, x, step);
    }
    cp_async_wait_all();
    thread::sync_threads();
    count.write(0, 1);
    tile.write4(4 * i, x.read4(4 * i));
    tile.write(i, tile.read(i) + count.read(0) as f32);
    y.write4(4 * i, tile.read4(4 * i));
    y.write4(4 * i, y.read4(4 * i));
}

/// Dynamic shared memory: two arrays, 96 KiB.
#[kernel(block = [THREADS, 1, 1], shared = 96 << 10)]
pub unsafe fn dynamic(x: Global<f32>, y: GlobalMut<f32>) {
    let values = dynamic_array::<f32, { 12 << 10 }>(0);
    let words = dynamic_array::<u32, { 12 << 10 }>(12 << 10);
    let i = thread::thread_idx_x() as usize;
    values.write(i, x.read(i));
    words.write(i, 7);
    thread::sync_threads();
    y.write(i, values.read(i ^ 1) + words.read(i ^ 2) as f32);
}

/// Dynamic shared memory in another kernel of the module.
#[kernel(block = [THREADS, 1, 1], shared = 4 * THREADS as usize)]
pub unsafe fn dynamic_copy(x: Global<f32>, y: GlobalMut<f32>) {
    let values = dynamic_array::<f32, { THREADS as usize }>(0);
    let i = thread::thread_idx_x() as usize;
    cp_async(values, i, x, i);
    cp_async_wait_all();
    y.write(i, values.read(i));
}

/// The tensor cores, and the loads for them.
#[kernel(block = [32, 1, 1])]
pub unsafe fn matrices(x: Global<f32>, y: GlobalMut<f32>) {
    let tile = shared_array![f32; 128];
    let halves = shared_array![u32; 128];
    let lane = warp::lane_id() as usize;
    tile.write4(4 * lane, x.read4(4 * lane));
    halves.write(lane, float::pack_bf16(x.read(lane), 1.0));
    thread::sync_threads();
    let a = warp::ldmatrix_x4(tile, 4 * lane);
    let b = warp::ldmatrix_x2(tile, lane % 16 * 4);
    let [c] = warp::ldmatrix_x1(tile, lane % 8 * 4);
    let product = warp::mma_m16n8k8(a, b, [c; 4]);
    let a = warp::ldmatrix_x4_transposed(halves, 4 * lane);
    let [low, high] = warp::ldmatrix_x2_transposed(halves, lane % 16 * 4);
    let [other] = warp::ldmatrix_x1_transposed(halves, lane % 8 * 4);
    y.write4(4 * lane, warp::mma_m16n8k16_bf16(a, [low ^ other, high], product));
}

/// The tensor cores by warpgroups, with a tile of 16 KiB.
#[kernel(block = [THREADS, 1, 1], shared = 16 << 10, arch = "sm_90a")]
pub unsafe fn warpgroups(x: Global<f32>, y: GlobalMut<f32>) {
    let tile = dynamic_array::<f32, { 4 << 10 }>(0);
    let i = thread::thread_idx_x() as usize;
    for word in (4 * i..4 << 10).step_by(4 * THREADS as usize) {
        tile.write4(word, x.read4(word));
    }
    fence_proxy_async();
    thread::sync_threads();
    let a = [x.read4(4 * i)];
    let (mut sums, mut others) = (Accumulators::new(), Accumulators::default());
    wgmma_fence(&mut sums, &[]);
    wgmma_fence(&mut others, &[]);
    for k in (0..32).step_by(8) {
        wgmma_m64n128k8(&mut sums, k > 0, a[0], tile, 0, k);
    }
    wgmma_m64n128k8(&mut others, false, a[0], tile, 0, 0);
    wgmma_commit();
    wgmma_wait(&mut sums, &a);
    wgmma_wait(&mut others, &a);
    for (four, other) in sums.values().into_iter().zip(others.values()) {
        y.write4(4 * i, four);
        y.write4(4 * i, other);
    }
}

/// Atomics.
#[kernel(block = [THREADS, 1, 1], cooperative)]
pub unsafe fn atomics(x: GlobalMut<f32>, y: GlobalMut<u32>) {
    x.atomic_add(0, x.read(1));
    y.store_relaxed(0, y.load_relaxed(1));
    y.store_release(2, y.load_acquire(3));
    y.write(4, y.atomic_add(5, 1) + y.atomic_add_acquire_release(6, 1));
}
