//! dZ = dA ⊙ g′(Z), with g′ from the layer's output A = g(Z): A and dA (m × n); dZ takes dA's place.
//!
//! ```text
//! identity   g′ = 1                      nothing to do, so no kernel
//! ReLU       g′ = 1 where A > 0, else 0
//! sigmoid    g′ = A (1 − A)
//!
//! element   0 1 2 3 │ 4 5 6 7 │ …        four elements a thread, as in `fours`
//! ```
//!
//! Z itself is not kept: ReLU and σ say with their value what their slope is.
//!
//! **Cost.** 12 bytes an element and one to three operations: bound by memory.
//!
//! **Barriers.** None.
//!
//! **What changed.** From `elementwise`: vectors, and the result where an operand was. Time not measured yet.
//!
//! **Run it.** `cargo test --release --test kernels backward`

use cuda_std::prelude::*;

pub use super::fours::grid;
use super::fours::{V, first, read, write};
use crate::elementwise::THREADS;

/// dZ of this thread's elements.
///
/// # Safety
/// Both have m × n elements.
#[inline(always)]
unsafe fn through(
    m: u32,
    n: u32,
    output: Global<f32>,
    gradient: GlobalMut<f32>,
    slope: impl Fn(f32, f32) -> f32,
) {
    let (first, count) = (first(), m as usize * n as usize);
    // SAFETY: both have that many elements, and each thread has its own.
    unsafe {
        let (a, mut d) = (read(output, first, count), read(gradient, first, count));
        for i in 0..V {
            d[i] = slope(d[i], a[i]);
        }
        write(d, gradient, first, count);
    }
}

/// gradient := gradient where output > 0, else 0: both (m × n).
#[kernel(block = [THREADS, 1, 1])]
pub unsafe fn backward_relu(m: u32, n: u32, output: Global<f32>, gradient: GlobalMut<f32>) {
    // A gradient that is no number stays none where it comes through.
    through(m, n, output, gradient, |d, a| if a > 0.0 { d } else { 0.0 });
}

/// gradient := gradient ⊙ output ⊙ (1 − output): both (m × n).
#[kernel(block = [THREADS, 1, 1])]
pub unsafe fn backward_sigmoid(m: u32, n: u32, output: Global<f32>, gradient: GlobalMut<f32>) {
    through(m, n, output, gradient, |d, a| d * (a * (1.0 - a)));
}
