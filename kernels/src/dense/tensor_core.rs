//! A_out = g(A W + b) with the tensor cores: A (batch × inputs), W (inputs × units), b (units), A_out (batch × units).
//!
//! ```text
//!               W │ tile │                 the product, and which lane has which elements:
//!                 ├──────┤ ↓               as in matmul/tensor_core.rs
//!     A ─┬──────┬ ┌──────┐
//!        │ tile │ │ acc  │  epilogue, in registers:   z = acc + b[column]
//!       ─┴──────┴ └──────┘                            A_out[row][column] = g(z)
//! ```
//!
//! In tf32, in three products of tf32, and in bf16.
//!
//! **Cost.** As the product, and 16 values of b a lane, each read once and used for 8 rows.
//!
//! **Barriers.** Those of the product.
//!
//! **What changed.** From the warp-tiled layer: the rung under it. Time not measured yet.
//!
//! **Run it.** `cargo test --release --test kernels dense_tf32` (`dense_bf16`)

use cuda_std::prelude::*;

use crate::matmul::bf16::Bf16;
use crate::matmul::epilogue::{Identity, Layer, Relu, Sigmoid};
use crate::matmul::tensor_core::{SHARED, THREADS, Tf32, multiply};
use crate::matmul::tf32x3::Tf32x3;

pub use crate::matmul::tensor_core::{TILE, grid};

/// A W + b in tf32: input (batch × inputs), weights (inputs × units), bias (units), out (batch × units).
#[kernel(block = [THREADS, 1, 1], min_blocks = 2, shared = SHARED)]
pub unsafe fn dense_tf32_identity(
    batch: u32,
    units: u32,
    inputs: u32,
    input: Global<f32>,
    weights: Global<f32>,
    bias: Global<f32>,
    out: GlobalMut<f32>,
) {
    let epilogue = Layer::<Identity>::new(bias);
    multiply::<Tf32, _>([batch, units, inputs], [false, false], input, weights, epilogue, out);
}

/// max(A W + b, 0) in tf32: input (batch × inputs), weights (inputs × units), bias (units), out (batch × units).
#[kernel(block = [THREADS, 1, 1], min_blocks = 2, shared = SHARED)]
pub unsafe fn dense_tf32_relu(
    batch: u32,
    units: u32,
    inputs: u32,
    input: Global<f32>,
    weights: Global<f32>,
    bias: Global<f32>,
    out: GlobalMut<f32>,
) {
    let epilogue = Layer::<Relu>::new(bias);
    multiply::<Tf32, _>([batch, units, inputs], [false, false], input, weights, epilogue, out);
}

/// σ(A W + b) in tf32: input (batch × inputs), weights (inputs × units), bias (units), out (batch × units).
#[kernel(block = [THREADS, 1, 1], min_blocks = 2, shared = SHARED)]
pub unsafe fn dense_tf32_sigmoid(
    batch: u32,
    units: u32,
    inputs: u32,
    input: Global<f32>,
    weights: Global<f32>,
    bias: Global<f32>,
    out: GlobalMut<f32>,
) {
    let epilogue = Layer::<Sigmoid>::new(bias);
    multiply::<Tf32, _>([batch, units, inputs], [false, false], input, weights, epilogue, out);
}

/// A W + b in three products of tf32: input (batch × inputs), weights (inputs × units), bias (units), out (batch × units).
#[kernel(block = [THREADS, 1, 1], min_blocks = 2, shared = SHARED)]
pub unsafe fn dense_tf32x3_identity(
    batch: u32,
    units: u32,
    inputs: u32,
    input: Global<f32>,
    weights: Global<f32>,
    bias: Global<f32>,
    out: GlobalMut<f32>,
) {
    let epilogue = Layer::<Identity>::new(bias);
    multiply::<Tf32x3, _>([batch, units, inputs], [false, false], input, weights, epilogue, out);
}

/// max(A W + b, 0) in three products of tf32: input (batch × inputs), weights (inputs × units), bias (units), out (batch × units).
#[kernel(block = [THREADS, 1, 1], min_blocks = 2, shared = SHARED)]
pub unsafe fn dense_tf32x3_relu(
    batch: u32,
    units: u32,
    inputs: u32,
    input: Global<f32>,
    weights: Global<f32>,
    bias: Global<f32>,
    out: GlobalMut<f32>,
) {
    let epilogue = Layer::<Relu>::new(bias);
    multiply::<Tf32x3, _>([batch, units, inputs], [false, false], input, weights, epilogue, out);
}

/// σ(A W + b) in three products of tf32: input (batch × inputs), weights (inputs × units), bias (units), out (batch × units).
#[kernel(block = [THREADS, 1, 1], min_blocks = 2, shared = SHARED)]
pub unsafe fn dense_tf32x3_sigmoid(
    batch: u32,
    units: u32,
    inputs: u32,
    input: Global<f32>,
    weights: Global<f32>,
    bias: Global<f32>,
    out: GlobalMut<f32>,
) {
    let epilogue = Layer::<Sigmoid>::new(bias);
    multiply::<Tf32x3, _>([batch, units, inputs], [false, false], input, weights, epilogue, out);
}

/// A W + b in bf16: input (batch × inputs), weights (inputs × units), bias (units), out (batch × units).
#[kernel(block = [THREADS, 1, 1], min_blocks = 2, shared = SHARED)]
pub unsafe fn dense_bf16_identity(
    batch: u32,
    units: u32,
    inputs: u32,
    input: Global<f32>,
    weights: Global<f32>,
    bias: Global<f32>,
    out: GlobalMut<f32>,
) {
    let epilogue = Layer::<Identity>::new(bias);
    multiply::<Bf16, _>([batch, units, inputs], [false, false], input, weights, epilogue, out);
}

/// max(A W + b, 0) in bf16: input (batch × inputs), weights (inputs × units), bias (units), out (batch × units).
#[kernel(block = [THREADS, 1, 1], min_blocks = 2, shared = SHARED)]
pub unsafe fn dense_bf16_relu(
    batch: u32,
    units: u32,
    inputs: u32,
    input: Global<f32>,
    weights: Global<f32>,
    bias: Global<f32>,
    out: GlobalMut<f32>,
) {
    let epilogue = Layer::<Relu>::new(bias);
    multiply::<Bf16, _>([batch, units, inputs], [false, false], input, weights, epilogue, out);
}

/// σ(A W + b) in bf16: input (batch × inputs), weights (inputs × units), bias (units), out (batch × units).
#[kernel(block = [THREADS, 1, 1], min_blocks = 2, shared = SHARED)]
pub unsafe fn dense_bf16_sigmoid(
    batch: u32,
    units: u32,
    inputs: u32,
    input: Global<f32>,
    weights: Global<f32>,
    bias: Global<f32>,
    out: GlobalMut<f32>,
) {
    let epilogue = Layer::<Sigmoid>::new(bias);
    multiply::<Bf16, _>([batch, units, inputs], [false, false], input, weights, epilogue, out);
}
