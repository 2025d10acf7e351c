//! Dense layers of a neural network.

pub mod network;
pub mod split_k;
pub mod tensor_core;
pub mod tiled;
pub mod warp_tiled;
pub mod wgmma;
