//! Dense layers.
pub mod tiled;
