//! Dense layers of a neural network.

pub mod tiled;
