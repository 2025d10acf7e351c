//! One thread an element: a ⊙ b, a ⊘ b, max(z, 0), σ(z), w − α∇w.
//!
//! The first page: what a kernel is. Every thread runs the same function; its index says which element is
//! its own.
//!
//! ```text
//! element   0 1 2 3 …  255 │ 256 257 …  511 │ 512 …  n − 1
//! thread    0 1 2 3 …  255 │   0   1 …  255 │   0 …    the rest has no element: `if i < n`
//! block           0        │        1       │     2
//! ```
//!
//! **Cost.** Each element is read once (twice with two inputs), written once, and costs one operation, or
//! some 20 for σ: 8 to 12 bytes for it. All are bound by memory. A warp's 32 threads read 32 neighbours: one
//! line of 128 bytes, nothing wasted.
//!
//! **Barriers.** None: no thread needs another's result.
//!
//! **What it buys.** Against a loop on the CPU: not measured yet.
//!
//! **Run it.** `cargo test --release --test kernels multiply` (`divide`, `relu`, `sigmoid`, `update`)

use cuda_std::prelude::*;

/// Threads of a block.
pub const THREADS: u32 = 256;

/// Largest relative error of [`sigmoid_of`] where its result is a normal number: 10 · 2⁻²⁴.
///
/// `exp` is off by at most 3 units in the last place, 6 · 2⁻²⁴, which come through 1 / (1 + e) or e / (1 + e) no larger; the
/// addition, the reciprocal and the product add 2⁻²⁴ each, and the reciprocal's second order less than one more.
pub const SIGMOID_ERROR: f32 = 10.0 / (1 << 24) as f32;

/// The grid for `n` elements.
pub fn grid(n: usize) -> [u32; 3] {
    [n.div_ceil(THREADS as usize) as u32, 1, 1]
}

/// The element of this thread.
#[inline(always)]
pub fn element() -> usize {
    thread::block_idx_x() as usize * THREADS as usize + thread::thread_idx_x() as usize
}

/// out = a ⊙ b, all of length n.
#[kernel(block = [THREADS, 1, 1])]
pub unsafe fn multiply(n: u32, a: Global<f32>, b: Global<f32>, out: GlobalMut<f32>) {
    let i = element();
    if i < n as usize {
        out.write(i, a.read(i) * b.read(i));
    }
}

/// out = a ⊘ b, all of length n.
#[kernel(block = [THREADS, 1, 1])]
pub unsafe fn divide(n: u32, a: Global<f32>, b: Global<f32>, out: GlobalMut<f32>) {
    let i = element();
    if i < n as usize {
        out.write(i, a.read(i) / b.read(i));
    }
}

/// out = max(z, 0), both of length n. A NaN stays a NaN.
#[kernel(block = [THREADS, 1, 1])]
pub unsafe fn relu(n: u32, z: Global<f32>, out: GlobalMut<f32>) {
    let i = element();
    if i < n as usize {
        out.write(i, relu_of(z.read(i)));
    }
}

/// out = 1 / (1 + e⁻ᶻ), both of length n.
#[kernel(block = [THREADS, 1, 1])]
pub unsafe fn sigmoid(n: u32, z: Global<f32>, out: GlobalMut<f32>) {
    let i = element();
    if i < n as usize {
        out.write(i, sigmoid_of(z.read(i)));
    }
}

/// w := w − α∇w, both of length n.
#[kernel(block = [THREADS, 1, 1])]
pub unsafe fn update(n: u32, learning_rate: f32, gradient: Global<f32>, weights: GlobalMut<f32>) {
    let i = element();
    if i < n as usize {
        weights.write(i, mul_add(-learning_rate, gradient.read(i), weights.read(i)));
    }
}

/// max(z, 0); a NaN stays a NaN.
#[inline(always)]
pub fn relu_of(z: f32) -> f32 {
    if z < 0.0 { 0.0 } else { z }
}

/// 1 / (1 + e⁻ᶻ): 1 at ∞, 0 at −∞; a NaN stays a NaN. See [`SIGMOID_ERROR`].
#[inline(always)]
pub fn sigmoid_of(z: f32) -> f32 {
    // Of e⁻ᶻ and eᶻ the one that cannot overflow.
    let e = float::exp(-z.abs());
    // 1 / (1 + e), for 1 + e from 1 to 2: one step of Newton's after the approximation leaves the rounding. A division
    // would be rounded as well, and takes many more instructions: it has to bear any numbers.
    let denominator = 1.0 + e;
    let guess = float::rcp_approx(denominator);
    let reciprocal = mul_add(guess, mul_add(-denominator, guess, 1.0), guess);
    (if z < 0.0 { e } else { 1.0 }) * reciprocal
}
