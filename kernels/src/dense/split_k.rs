//! A_out = g(Σ partials + b): the second launch of a layer whose product was split along k.
//!
//! partials (splits × batch × units), b (units), A_out (batch × units).
//!
//! ```text
//!  launch 1: `matmul_split_k`                     launch 2: one of these, a thread an element
//!  partials[0] ┌──────┐
//!  partials[1] ├──────┤ ── Σ ──▶ acc ──▶ + b[column] ──▶ g ──▶ A_out
//!       …      └──────┘
//! ```
//!
//! **Cost.** 4 bytes an element and split, from the cache for layers that are small enough to be split, and
//! 4 to write. Bound by the launch itself for a batch of 64 and 1000 units.
//!
//! **Barriers.** None.
//!
//! **What changed.** From the layer in one launch: the epilogue waits for the sum over the splits, the first
//! place where the element is whole. Against a third launch for it: not measured yet.
//!
//! **Run it.** `cargo test --release --test kernels dense_split_k`

use cuda_std::prelude::*;

use crate::matmul::epilogue::{Identity, Layer, Relu, Sigmoid};
use crate::matmul::split_k::{FINISH_BLOCK, finish};

pub use crate::matmul::split_k::finish_grid;

/// Σ partials + b: partials (splits × batch × units), bias (units), out (batch × units).
#[kernel(block = FINISH_BLOCK)]
pub unsafe fn dense_split_k_identity(
    batch: u32,
    units: u32,
    splits: u32,
    partials: Global<f32>,
    bias: Global<f32>,
    out: GlobalMut<f32>,
) {
    finish([batch, units, splits], partials, Layer::<Identity>::new(bias), out);
}

/// max(Σ partials + b, 0): partials (splits × batch × units), bias (units), out (batch × units).
#[kernel(block = FINISH_BLOCK)]
pub unsafe fn dense_split_k_relu(
    batch: u32,
    units: u32,
    splits: u32,
    partials: Global<f32>,
    bias: Global<f32>,
    out: GlobalMut<f32>,
) {
    finish([batch, units, splits], partials, Layer::<Relu>::new(bias), out);
}

/// σ(Σ partials + b): partials (splits × batch × units), bias (units), out (batch × units).
#[kernel(block = FINISH_BLOCK)]
pub unsafe fn dense_split_k_sigmoid(
    batch: u32,
    units: u32,
    splits: u32,
    partials: Global<f32>,
    bias: Global<f32>,
    out: GlobalMut<f32>,
) {
    finish([batch, units, splits], partials, Layer::<Sigmoid>::new(bias), out);
}
