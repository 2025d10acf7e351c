//! One step of the parameters w (m × n) by their gradient g, with g := g + λw before, for the penalty λ/2 Σw²:
//!
//! ```text
//! descent    w := w − α g
//! momentum   v := μ v + g          w := w − α v
//! Adam       p := β₁ p + (1 − β₁) g
//!            q := β₂ q + (1 − β₂) g²
//!            w := w − α′ p / (√q + ε′)     α′ = α √(1 − β₂ᵗ) / (1 − β₁ᵗ),  ε′ = ε √(1 − β₂ᵗ)
//!
//! element   0 1 2 3 │ 4 5 6 7 │ …        four elements a thread, as in `fours`
//! ```
//!
//! (Momentum as in Polyak, 1964; Adam as in Kingma and Ba, ICLR 2015, which calls p and q m and v, in the form at the end of
//! its section 2.) What depends on the step's number t alone comes from the host, which has it in 64 bits.
//!
//! **Cost.** 12, 20 and 28 bytes an element: each of w, g and the state is read once, and what changes is written once. Bound
//! by memory, though Adam has a division and a square root.
//!
//! **Barriers.** None.
//!
//! **What changed.** From `elementwise::update`: the penalty and the state in the same pass. In kernels of its own each
//! operation would read and write it all once more: for Adam 28 bytes instead of some 80. Time not measured yet.
//!
//! **Run it.** `cargo test --release --test kernels update_`

use cuda_std::prelude::*;

pub use super::fours::grid;
use super::fours::{V, first, read, write};
use crate::elementwise::THREADS;

/// w := w − α (g + λw): gradient and weights (m × n).
#[kernel(block = [THREADS, 1, 1])]
pub unsafe fn update_descent(
    m: u32,
    n: u32,
    learning_rate: f32,
    l2: f32,
    gradient: Global<f32>,
    weights: GlobalMut<f32>,
) {
    let (first, count) = (first(), m as usize * n as usize);
    let (g, mut w) = (read(gradient, first, count), read(weights, first, count));
    for i in 0..V {
        w[i] = mul_add(-learning_rate, mul_add(l2, w[i], g[i]), w[i]);
    }
    write(w, weights, first, count);
}

/// v := μv + g + λw, w := w − αv: gradient, weights and velocity (m × n).
#[kernel(block = [THREADS, 1, 1])]
pub unsafe fn update_momentum(
    m: u32,
    n: u32,
    learning_rate: f32,
    momentum: f32,
    l2: f32,
    gradient: Global<f32>,
    weights: GlobalMut<f32>,
    velocity: GlobalMut<f32>,
) {
    let (first, count) = (first(), m as usize * n as usize);
    let (g, mut w) = (read(gradient, first, count), read(weights, first, count));
    let mut v = read(velocity, first, count);
    for i in 0..V {
        v[i] = mul_add(momentum, v[i], mul_add(l2, w[i], g[i]));
        w[i] = mul_add(-learning_rate, v[i], w[i]);
    }
    write(v, velocity, first, count);
    write(w, weights, first, count);
}

/// Adam's step: gradient, weights, mean and square (m × n). The learning rate and ε are α′ and ε′ of the step; with β₁ comes
/// 1 − β₁, likewise with β₂, as made in more than 32 bits: β₂ is nearly 1.
#[kernel(block = [THREADS, 1, 1])]
pub unsafe fn update_adam(
    m: u32,
    n: u32,
    learning_rate: f32,
    beta1: f32,
    rest1: f32,
    beta2: f32,
    rest2: f32,
    epsilon: f32,
    l2: f32,
    gradient: Global<f32>,
    weights: GlobalMut<f32>,
    mean: GlobalMut<f32>,
    square: GlobalMut<f32>,
) {
    let (first, count) = (first(), m as usize * n as usize);
    let (g, mut w) = (read(gradient, first, count), read(weights, first, count));
    let (mut p, mut q) = (read(mean, first, count), read(square, first, count));
    for i in 0..V {
        let g = mul_add(l2, w[i], g[i]);
        p[i] = mul_add(beta1, p[i], rest1 * g);
        q[i] = mul_add(beta2, q[i], rest2 * (g * g));
        w[i] = mul_add(-learning_rate, p[i] / (float::sqrt(q[i]) + epsilon), w[i]);
    }
    write(p, mean, first, count);
    write(q, square, first, count);
    write(w, weights, first, count);
}
