//! A_out = g(A W + b) by the best rung: A (batch × inputs), W (inputs × units), b (units), A_out (batch × units).
//!
//! ```text
//!               W │ tile │                 the product, and which thread has which elements:
//!                 ├──────┤ ↓               as in matmul/warp_tiled.rs
//!     A ─┬──────┬ ┌──────┐
//!        │ tile │ │ acc  │  epilogue, in registers:   z = acc + b[column]
//!       ─┴──────┴ └──────┘                            A_out[row][column] = g(z)
//! ```
//!
//! **Cost.** As the product, and 16 values of b a thread, each read once and used for 8 rows.
//!
//! **Barriers.** Those of the product.
//!
//! **What changed.** From the tiled layer: the rung under it. Against the product and separate kernels: not
//! measured yet.
//!
//! **Run it.** `cargo test --release --test kernels dense_warp_tiled`

use cuda_std::prelude::*;

use crate::matmul::epilogue::{Identity, Layer, Relu, Sigmoid};
use crate::matmul::warp_tiled::{THREADS, multiply};

pub use crate::matmul::warp_tiled::{TILE, grid};

/// A W + b: input (batch × inputs), weights (inputs × units), bias (units), out (batch × units).
#[kernel(block = [THREADS, 1, 1], min_blocks = 2)]
pub unsafe fn dense_warp_tiled_identity(
    batch: u32,
    units: u32,
    inputs: u32,
    input: Global<f32>,
    weights: Global<f32>,
    bias: Global<f32>,
    out: GlobalMut<f32>,
) {
    multiply([batch, units, inputs], [false, false], input, weights, Layer::<Identity>::new(bias), out);
}

/// max(A W + b, 0): input (batch × inputs), weights (inputs × units), bias (units), out (batch × units).
#[kernel(block = [THREADS, 1, 1], min_blocks = 2)]
pub unsafe fn dense_warp_tiled_relu(
    batch: u32,
    units: u32,
    inputs: u32,
    input: Global<f32>,
    weights: Global<f32>,
    bias: Global<f32>,
    out: GlobalMut<f32>,
) {
    multiply([batch, units, inputs], [false, false], input, weights, Layer::<Relu>::new(bias), out);
}

/// σ(A W + b): input (batch × inputs), weights (inputs × units), bias (units), out (batch × units).
#[kernel(block = [THREADS, 1, 1], min_blocks = 2)]
pub unsafe fn dense_warp_tiled_sigmoid(
    batch: u32,
    units: u32,
    inputs: u32,
    input: Global<f32>,
    weights: Global<f32>,
    bias: Global<f32>,
    out: GlobalMut<f32>,
) {
    multiply([batch, units, inputs], [false, false], input, weights, Layer::<Sigmoid>::new(bias), out);
}
