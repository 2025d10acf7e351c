//! C = op(A) op(B) with the tensor cores, beside the ladder: operands rounded to 8 bits (bf16), twice as many a product.
//!
//! op(A) (m × k), op(B) (k × n), C (m × n), all `f32` in memory.
//!
//! ```text
//!   a lane's values of a line at  k = q, q + 4     and  q + 8, q + 12        as loaded for two products of 8
//!                                 └──┬──┘               └────┬────┘
//!   pairs of bf16:                 2q, 2q + 1       2q + 8, 2q + 9           as one product of 16 names them
//! ```
//!
//! The sum over k may go in any order, if it is the same for both operands: so the pairs are made of what the lane has.
//!
//! **Cost.** Half the products of the rung for tf32, of as many cycles each. The operands are read as `f32`: the bytes are
//! the same, and they are what bounds it (see the tf32 rung), unless one day they lie in memory as bf16.
//!
//! **Barriers.** Those of the tf32 rung.
//!
//! **What changed.** From the tf32 rung: 8 bits in place of 11, [`ROUNDING`]. Time not measured yet.
//!
//! **Run it.** `cargo test --release --test kernels matmul_bf16`

use cuda_std::float::pack_bf16;
use cuda_std::prelude::*;
use cuda_std::warp::mma_m16n8k16_bf16;

use super::epilogue::Plain;
use super::tensor_core::{
    Accumulators, Fragments, SHARED, STEP, THREADS, Way, all_spans, multiply, roundings, rows,
};
use super::vectorised::V;

pub use super::tensor_core::{TILE, grid};

/// The largest relative error of a value rounded to bf16: 2⁻⁸.
pub const ROUNDING: f64 = 1.0 / (1 << 8) as f64;

/// The longest chain of roundings in a sum, from rounded operands on, in roundings of `f32`.
pub fn depth(k: usize) -> usize {
    k.div_ceil(2 * STEP) * roundings(2 * STEP)
}

/// Operands rounded to bf16.
#[derive(Clone, Copy)]
pub struct Bf16;

impl Way for Bf16 {
    #[inline(always)]
    unsafe fn multiply(
        acc: &mut Accumulators,
        a: impl Fn(usize, usize) -> Fragments,
        b: impl Fn(usize, usize) -> Fragments,
    ) {
        let [a, a_next] = [0, 1].map(|step| all_spans(&a, step));
        let [b, b_next] = [0, 1].map(|step| all_spans(&b, step));
        for i in 0..acc.len() {
            let [[x0, y0, x1, y1], [x2, y2, x3, y3]] = [rows(&a, i), rows(&a_next, i)];
            let a = [pack_bf16(x0, x1), pack_bf16(y0, y1), pack_bf16(x2, x3), pack_bf16(y2, y3)];
            for j in 0..acc[i].len() {
                let b = [&b, &b_next].map(|b| b[j / V][j % V]).map(|[low, high]| pack_bf16(low, high));
                acc[i][j] = mma_m16n8k16_bf16(a, b, acc[i][j]);
            }
        }
    }
}

/// C = A B: a (m × k), b (k × n), c (m × n).
#[kernel(block = [THREADS, 1, 1], min_blocks = 2, shared = SHARED)]
pub unsafe fn matmul_bf16(m: u32, n: u32, k: u32, a: Global<f32>, b: Global<f32>, c: GlobalMut<f32>) {
    multiply::<Bf16, _>([m, n, k], [false, false], a, b, Plain, c);
}

/// C = Aᵀ B: a (k × m), b (k × n), c (m × n).
#[kernel(block = [THREADS, 1, 1], min_blocks = 2, shared = SHARED)]
pub unsafe fn matmul_bf16_tn(m: u32, n: u32, k: u32, a: Global<f32>, b: Global<f32>, c: GlobalMut<f32>) {
    multiply::<Bf16, _>([m, n, k], [true, false], a, b, Plain, c);
}

/// C = A Bᵀ: a (m × k), b (n × k), c (m × n).
#[kernel(block = [THREADS, 1, 1], min_blocks = 2, shared = SHARED)]
pub unsafe fn matmul_bf16_nt(m: u32, n: u32, k: u32, a: Global<f32>, b: Global<f32>, c: GlobalMut<f32>) {
    multiply::<Bf16, _>([m, n, k], [false, true], a, b, Plain, c);
}

/// C = Aᵀ Bᵀ: a (k × m), b (n × k), c (m × n).
#[kernel(block = [THREADS, 1, 1], min_blocks = 2, shared = SHARED)]
pub unsafe fn matmul_bf16_tt(m: u32, n: u32, k: u32, a: Global<f32>, b: Global<f32>, c: GlobalMut<f32>) {
    multiply::<Bf16, _>([m, n, k], [true, true], a, b, Plain, c);
}
