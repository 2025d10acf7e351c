//! What is done to an element of a product before it is written: nothing, or g(z) with z = acc + b[column].
//!
//! ```text
//!   registers                                             global memory
//!   acc ─────▶ + b[column] ─────▶ g: identity, ReLU, σ ─────▶ C[row][column]
//! ```
//!
//! The epilogue is a type parameter of a product: each kernel is compiled with its own and has no `if` for it.
//!
//! **Cost.** 4 bytes a column for b, read once a thread. In kernels of their own the bias and g would each
//! read and write every element once more: 16 bytes an element that are saved.
//!
//! **Barriers.** None: a thread works on what it computed.
//!
//! **What it buys.** Against separate kernels: not measured yet.
//!
//! **Run it.** `cargo test --release --test kernels dense`

use core::marker::PhantomData;

use cuda_std::prelude::*;

use crate::elementwise::{relu_of, sigmoid_of};

/// What a product does to each element before it writes it.
pub trait Epilogue: Copy {
    /// What the elements of a column share.
    ///
    /// # Safety
    /// The product has that column.
    unsafe fn bias(self, column: usize) -> f32;

    /// The element, from the product's sum and its column's bias.
    fn apply(self, sum: f32, bias: f32) -> f32;
}

/// Nothing.
#[derive(Clone, Copy)]
pub struct Plain;

impl Epilogue for Plain {
    #[inline(always)]
    unsafe fn bias(self, _: usize) -> f32 {
        0.0
    }
    #[inline(always)]
    fn apply(self, sum: f32, _: f32) -> f32 {
        sum
    }
}

/// g(sum + b), for a layer of a network.
#[derive(Clone, Copy)]
pub struct Layer<G> {
    bias: Global<f32>, // (columns)
    activation: PhantomData<G>,
}

impl<G> Layer<G> {
    /// The epilogue with this bias, an element a column.
    #[inline(always)]
    pub fn new(bias: Global<f32>) -> Self {
        Layer { bias, activation: PhantomData }
    }
}

impl<G: Activation> Epilogue for Layer<G> {
    #[inline(always)]
    unsafe fn bias(self, column: usize) -> f32 {
        // SAFETY: the caller's promise.
        unsafe { self.bias.read(column) }
    }
    #[inline(always)]
    fn apply(self, sum: f32, bias: f32) -> f32 {
        G::apply(sum + bias)
    }
}

/// g of a layer.
pub trait Activation: Copy {
    /// g(z)
    fn apply(z: f32) -> f32;
}

/// g(z) = z
#[derive(Clone, Copy)]
pub struct Identity;
/// g(z) = max(z, 0)
#[derive(Clone, Copy)]
pub struct Relu;
/// g(z) = 1 / (1 + e⁻ᶻ)
#[derive(Clone, Copy)]
pub struct Sigmoid;

impl Activation for Identity {
    #[inline(always)]
    fn apply(z: f32) -> f32 {
        z
    }
}
impl Activation for Relu {
    #[inline(always)]
    fn apply(z: f32) -> f32 {
        relu_of(z)
    }
}
impl Activation for Sigmoid {
    #[inline(always)]
    fn apply(z: f32) -> f32 {
        sigmoid_of(z)
    }
}
