//! A_out = g(A W + b), a layer of a network: A (batch × inputs), W (inputs × units), b (units), g one of
//! identity, ReLU and sigmoid.
//!
//! ```text
//!               W │ tile │                 the product, and which thread has which element:
//!                 ├──────┤ ↓               as in matmul/tiled.rs
//!     A ─┬──────┬ ┌──────┐
//!        │ tile │ │ acc  │  epilogue, in registers:   z = acc + b[column]
//!       ─┴──────┴ └──────┘                            A_out[row][column] = g(z)
//! ```
//!
//! **Cost.** As the product, and 4 bytes a column for b.
//!
//! **Barriers.** Those of the product. The epilogue has none: a thread writes what it computed.
//!
//! **What changed.** From the tiled product: the epilogue. Against separate kernels: not measured yet.
//!
//! **Run it.** `cargo test --release --test kernels dense`

use cuda_std::prelude::*;

use crate::matmul::epilogue::{Activation, Epilogue, Identity, Layer, Relu, Sigmoid};
use crate::matmul::tile::tile_start;
use crate::matmul::tiled::{TILE, element};

pub use crate::matmul::tiled::grid;

#[inline(always)]
unsafe fn layer<G: Activation>(
    [batch, units, inputs]: [u32; 3],
    input: Global<f32>,
    weights: Global<f32>,
    bias: Global<f32>,
    out: GlobalMut<f32>,
) {
    let (m, n, k) = (batch as usize, units as usize, inputs as usize);
    let (first_row, first_column) = tile_start(n, TILE as usize, TILE as usize);
    let row = first_row + thread::thread_idx_y() as usize;
    let column = first_column + thread::thread_idx_x() as usize;
    // SAFETY: the whole block is here; row < batch and column < units where it reads and writes.
    unsafe {
        let acc = element::<false, false>([m, n, k], [first_row, first_column], input, weights);
        if row < m && column < n {
            let epilogue = Layer::<G>::new(bias);
            out.write(row * n + column, epilogue.apply(acc, epilogue.bias(column)));
        }
    }
}

/// A W + b: input (batch × inputs), weights (inputs × units), bias (units), out (batch × units).
#[kernel(block = [TILE, TILE, 1])]
pub unsafe fn dense_identity(
    batch: u32,
    units: u32,
    inputs: u32,
    input: Global<f32>,
    weights: Global<f32>,
    bias: Global<f32>,
    out: GlobalMut<f32>,
) {
    layer::<Identity>([batch, units, inputs], input, weights, bias, out);
}

/// max(A W + b, 0): input (batch × inputs), weights (inputs × units), bias (units), out (batch × units).
#[kernel(block = [TILE, TILE, 1])]
pub unsafe fn dense_relu(
    batch: u32,
    units: u32,
    inputs: u32,
    input: Global<f32>,
    weights: Global<f32>,
    bias: Global<f32>,
    out: GlobalMut<f32>,
) {
    layer::<Relu>([batch, units, inputs], input, weights, bias, out);
}

/// σ(A W + b): input (batch × inputs), weights (inputs × units), bias (units), out (batch × units).
#[kernel(block = [TILE, TILE, 1])]
pub unsafe fn dense_sigmoid(
    batch: u32,
    units: u32,
    inputs: u32,
    input: Global<f32>,
    weights: Global<f32>,
    bias: Global<f32>,
    out: GlobalMut<f32>,
) {
    layer::<Sigmoid>([batch, units, inputs], input, weights, bias, out);
}
