//! C = op(A) op(B) with the tensor cores, the eighth rung: three products of 11 bits are as good as one of 24.
//!
//! op(A) (m × k), op(B) (k × n), C (m × n).
//!
//! ```text
//!   a = a₁ + a₂:   a₁ = a rounded to tf32,  a₂ = a − a₁ (exact), of which 11 bits are kept; b the same
//!
//!   a b ≈ a₂ b₁ + a₁ b₂  +  a₁ b₁             not a₂ b₂: at most 2⁻²² |a b|
//!         └── first ───┘    └ last ┘
//!
//!   sum of 8 of k:   t = mma(a₂, b₁, 0),  t = mma(a₁, b₂, t),  t = mma(a₁, b₁, t),  then acc += t, rounded to nearest
//! ```
//!
//! The small products come first: the other way round, what they add would be lost in the rounding of the sum. And the
//! sum over k leaves the tensor cores every 8 of k, as they are known to cut sums off rather than to round them, which all
//! errs to the same side and grows with k. (H. Ootomo and R. Yokota, Recovering single precision accuracy from Tensor
//! Cores while surpassing the FP32 theoretical peak performance, 2022, has both.)
//!
//! **Error.** With u = 2⁻²⁴: a − a₁ is at most 2¹² of a's last places, so 12 bits or a power of 2, and what is left of it
//! after 11 bits is off by at most one last place: 2u |a|. The same for b, and a₂ b₂ is at most 4u |a b|: 8u in all. Of
//! the three `mma` the last has nearly all of the sum, and is off by up to 14u ([`roundings`]); the first two, 2⁻¹⁰ of it,
//! and all terms of second order are within one u more. That makes 23u, and a rounding for each 8 of k: [`depth`]. It is
//! no more than what a sum of k fused multiply-adds may be off for k ≥ [`LEAST_K`]. As in all such bounds, but sooner,
//! there is more error where numbers underflow: tf32 has nothing below 2⁻¹³⁶, and so a value is off by up to 2⁻¹³⁶, which
//! is more than 2u of it below 2⁻¹¹³.
//!
//! **Cost.** As the rung before, with three times as many products. In the machine code for compute capability 9.0a
//! (ptxas 13.0, C = A B) a step of 8 along k has 341 instructions: 96 products, 96 operations that take 32 values a lane
//! apart, 128 additions of sums, 8 loads. By the data sheet's peak a product keeps a quarter of a multiprocessor's tensor
//! cores busy for 4 cycles, so 384 for what takes 341 to issue. 255 registers: two blocks on a multiprocessor.
//!
//! **Barriers.** Those of the rung before.
//!
//! **What changed.** From the rung before: three products, and the sum over k by additions. Time not measured yet.
//!
//! **Run it.** `cargo test --release --test kernels matmul_tf32x3`
//!
//! [`roundings`]: super::tensor_core::roundings

use cuda_std::memory::{keep_loop, opaque};
use cuda_std::prelude::*;
use cuda_std::warp::mma_m16n8k8;

use super::epilogue::Plain;
use super::tensor_core::{
    Accumulators, Fragments, ROWS, SHARED, SPANS, STEP, STEPS, THREADS, Way, all_spans, half_up, multiply,
    rows,
};
use super::vectorised::V;

pub use super::tensor_core::{TILE, grid};

/// The longest chain of roundings behind a result, in roundings of `f32`.
pub fn depth(k: usize) -> usize {
    k.div_ceil(STEP) + 23
}

/// From this k on the error is within the bound for a sum of k fused multiply-adds: [`depth`] is at most k.
pub const LEAST_K: usize = 27;

/// The bits of an `f32` that tf32 has.
const KEPT: u32 = !0x1fff;

/// a₁ and a₂. Of ∞ and NaN, and of what rounds up to ∞, a₂ is not finite.
#[inline(always)]
pub fn parts<const N: usize>(values: [f32; N]) -> [[f32; N]; 2] {
    let big = values.map(|x| f32::from_bits(half_up(x).to_bits() & KEPT));
    let mut small = values;
    for i in 0..N {
        small[i] -= big[i];
    }
    [big, small]
}

/// Three products of tf32.
#[derive(Clone, Copy)]
pub struct Tf32x3;

impl Way for Tf32x3 {
    #[inline(always)]
    unsafe fn multiply(
        acc: &mut Accumulators,
        a: impl Fn(usize, usize) -> Fragments,
        b: impl Fn(usize, usize) -> Fragments,
    ) {
        // A loop, so that the second step's values take no registers while the first is multiplied; a short counter too.
        for step in 0..opaque(STEPS) as u32 {
            keep_loop();
            let step = step as usize;
            let [a, b] = [all_spans(&a, step), all_spans(&b, step)];
            for pair in (0..ROWS).step_by(2) {
                let a = [parts(rows(&a, pair)), parts(rows(&a, pair + 1))];
                for j in 0..SPANS * V {
                    let [b_big, b_small] = parts(b[j / V][j % V]);
                    // Both rows' first products, then the second: each waits for the one before.
                    let mut sums = [[0.0; 4]; 2];
                    for i in 0..2 {
                        sums[i] = mma_m16n8k8(a[i][1], b_big, sums[i]);
                    }
                    for i in 0..2 {
                        sums[i] = mma_m16n8k8(a[i][0], b_small, sums[i]);
                    }
                    for i in 0..2 {
                        sums[i] = mma_m16n8k8(a[i][0], b_big, sums[i]);
                    }
                    for i in 0..2 {
                        for element in 0..4 {
                            acc[pair + i][j][element] += sums[i][element];
                        }
                    }
                }
            }
        }
    }
}

/// C = A B: a (m × k), b (k × n), c (m × n).
#[kernel(block = [THREADS, 1, 1], min_blocks = 2, shared = SHARED)]
pub unsafe fn matmul_tf32x3(m: u32, n: u32, k: u32, a: Global<f32>, b: Global<f32>, c: GlobalMut<f32>) {
    multiply::<Tf32x3, _>([m, n, k], [false, false], a, b, Plain, c);
}

/// C = Aᵀ B: a (k × m), b (k × n), c (m × n).
#[kernel(block = [THREADS, 1, 1], min_blocks = 2, shared = SHARED)]
pub unsafe fn matmul_tf32x3_tn(m: u32, n: u32, k: u32, a: Global<f32>, b: Global<f32>, c: GlobalMut<f32>) {
    multiply::<Tf32x3, _>([m, n, k], [true, false], a, b, Plain, c);
}

/// C = A Bᵀ: a (m × k), b (n × k), c (m × n).
#[kernel(block = [THREADS, 1, 1], min_blocks = 2, shared = SHARED)]
pub unsafe fn matmul_tf32x3_nt(m: u32, n: u32, k: u32, a: Global<f32>, b: Global<f32>, c: GlobalMut<f32>) {
    multiply::<Tf32x3, _>([m, n, k], [false, true], a, b, Plain, c);
}

/// C = Aᵀ Bᵀ: a (k × m), b (n × k), c (m × n).
#[kernel(block = [THREADS, 1, 1], min_blocks = 2, shared = SHARED)]
pub unsafe fn matmul_tf32x3_tt(m: u32, n: u32, k: u32, a: Global<f32>, b: Global<f32>, c: GlobalMut<f32>) {
    multiply::<Tf32x3, _>([m, n, k], [true, true], a, b, Plain, c);
}
