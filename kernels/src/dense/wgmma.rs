//! A_out = g(A W + b) by warpgroups: A (batch × inputs), W (inputs × units), b (units), A_out (batch × units).
//!
//! ```text
//!               W │ tile │                 the product, and which lane has which elements:
//!                 ├──────┤ ↓               as in matmul/wgmma.rs
//!     A ─┬──────┬ ┌──────┐
//!        │ tile │ │ acc  │  epilogue, in registers:   z = acc + b[column]
//!       ─┴──────┴ └──────┘                            A_out[row][column] = g(z)
//! ```
//!
//! **Cost.** As the product, and 32 values of b a lane, each read once and used for 2 rows.
//!
//! **Barriers.** Those of the product.
//!
//! **What changed.** From the layer in three products of tf32: the rung under it. Time not measured yet.
//!
//! **Run it.** `cargo test --release --test kernels dense_wgmma`

use cuda_std::prelude::*;

use crate::matmul::epilogue::{Identity, Layer, Relu, Sigmoid};
use crate::matmul::wgmma::{SHARED, THREADS, multiply};

pub use crate::matmul::wgmma::{TILE, grid};

/// A W + b: input (batch × inputs), weights (inputs × units), bias (units), out (batch × units).
#[kernel(block = [THREADS, 1, 1], min_blocks = 1, shared = SHARED, arch = "sm_90a")]
pub unsafe fn dense_wgmma_identity(
    batch: u32,
    units: u32,
    inputs: u32,
    input: Global<f32>,
    weights: Global<f32>,
    bias: Global<f32>,
    out: GlobalMut<f32>,
) {
    let epilogue = Layer::<Identity>::new(bias);
    multiply([batch, units, inputs], [false, false], input, weights, epilogue, out);
}

/// max(A W + b, 0): input (batch × inputs), weights (inputs × units), bias (units), out (batch × units).
#[kernel(block = [THREADS, 1, 1], min_blocks = 1, shared = SHARED, arch = "sm_90a")]
pub unsafe fn dense_wgmma_relu(
    batch: u32,
    units: u32,
    inputs: u32,
    input: Global<f32>,
    weights: Global<f32>,
    bias: Global<f32>,
    out: GlobalMut<f32>,
) {
    let epilogue = Layer::<Relu>::new(bias);
    multiply([batch, units, inputs], [false, false], input, weights, epilogue, out);
}

/// σ(A W + b): input (batch × inputs), weights (inputs × units), bias (units), out (batch × units).
#[kernel(block = [THREADS, 1, 1], min_blocks = 1, shared = SHARED, arch = "sm_90a")]
pub unsafe fn dense_wgmma_sigmoid(
    batch: u32,
    units: u32,
    inputs: u32,
    input: Global<f32>,
    weights: Global<f32>,
    bias: Global<f32>,
    out: GlobalMut<f32>,
) {
    let epilogue = Layer::<Sigmoid>::new(bias);
    multiply([batch, units, inputs], [false, false], input, weights, epilogue, out);
}
