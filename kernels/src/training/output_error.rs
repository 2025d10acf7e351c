//! The last layer's error e = (ŷ − y) / m in the place of z, and the cost J of the batch: z, y and e (m × n).
//!
//! ```text
//! identity   ŷ = z       J = Σ (ŷ − y)² / 2m
//! sigmoid    ŷ = σ(z)    J = Σ [max(z, 0) − y z + ln(1 + e^−|z|)] / m
//!
//! z, y   │ block 0 │ block 1 │ … │ block B−1 │ block 0 │ …     a grid-stride loop: e of each element where z was
//! losses   each block: 256 threads, a share each → tree → partials[block]
//! cost     one block: Σ partials / m → costs[at]
//! ```
//!
//! e is dJ/dz for both, which is why they are done together with their cost: see [`loss`](crate::descent::loss). With 1/m
//! in e, no gradient after it needs it. The costs of all steps stay on the GPU, one behind the other.
//!
//! **Cost.** 12 bytes an element and 5 operations, or some 50 for the sigmoid: bound by memory.
//!
//! **Barriers.** Those of `block_sum`. No thread returns before it.
//!
//! **What changed.** From [`descent::error`](crate::descent::error): e takes the place of z, and the losses are added up
//! at once and never written, which saves 8 bytes of 20 an element. Time not measured yet.
//!
//! **Run it.** `cargo test --release --test kernels output_error` (`cost`)

use cuda_std::prelude::*;

use crate::descent::loss::{LogLoss, Loss, SquaredError};
use crate::reduce::block::{self, THREADS, block_sum, grid_stride};
use crate::reduce::strided::{LOADS, join};

/// The grid for m × n elements.
pub fn grid(m: usize, n: usize) -> [u32; 3] {
    block::grid(m * n)
}

/// The log loss where the label has one: from 0 to 1. Of another, e and the loss are NaN, which the host sees in the cost:
/// a kernel has no other way to refuse.
struct LogLossOfLabel;

impl Loss for LogLossOfLabel {
    #[inline(always)]
    fn error(z: f32, y: f32, sum: f32) -> (f32, f32) {
        LogLoss::error(z, if (0.0..=1.0).contains(&y) { y } else { f32::NAN }, sum)
    }
}

/// e of the elements that this block visits, and the sum of their losses.
///
/// # Safety
/// As for the kernels.
#[inline(always)]
unsafe fn error<L: Loss>(m: u32, n: u32, z: GlobalMut<f32>, y: Global<f32>, partials: GlobalMut<f32>) {
    let mut acc = [0.0; LOADS];
    grid_stride(m as usize * n as usize, |slot, i| {
        // SAFETY: in range; each element is visited by one thread.
        unsafe {
            let (e, sum) = L::error(z.read(i), y.read(i), acc[slot]);
            acc[slot] = sum;
            z.write(i, e / m as f32);
        }
    });
    let total = block_sum(join(acc));
    if thread::thread_idx_x() == 0 {
        // SAFETY: each block has a partial sum of its own.
        unsafe { partials.write(thread::block_idx_x() as usize, total) };
    }
}

/// z := (z − y) / m, and Σ (z − y)² / 2 of each block: z and y (m × n), partials (blocks of the grid).
#[kernel(block = [THREADS, 1, 1])]
pub unsafe fn output_error_identity(
    m: u32,
    n: u32,
    z: GlobalMut<f32>,
    y: Global<f32>,
    partials: GlobalMut<f32>,
) {
    error::<SquaredError>(m, n, z, y, partials);
}

/// z := (σ(z) − y) / m, and the sum of each block's log losses: z and y (m × n), partials (blocks of the grid). A y outside 0
/// to 1 makes its e and the sum NaN.
#[kernel(block = [THREADS, 1, 1])]
pub unsafe fn output_error_sigmoid(
    m: u32,
    n: u32,
    z: GlobalMut<f32>,
    y: Global<f32>,
    partials: GlobalMut<f32>,
) {
    error::<LogLossOfLabel>(m, n, z, y, partials);
}

/// `costs[at] := Σ partials / m`, on a grid of one block: partials (blocks), costs (more than `at`).
#[kernel(block = [THREADS, 1, 1])]
pub unsafe fn cost(m: u32, blocks: u32, at: u32, partials: Global<f32>, costs: GlobalMut<f32>) {
    let mut acc = [0.0; LOADS];
    grid_stride(blocks as usize, |slot, i| acc[slot] += partials.read(i));
    let total = block_sum(join(acc));
    if thread::thread_idx_x() == 0 {
        costs.write(at as usize, total / m.max(1) as f32);
    }
}
