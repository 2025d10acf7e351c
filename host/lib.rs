//! Vectorised machine learning on NVIDIA GPUs, in Rust down to the kernels.

mod error;
mod memory;

pub mod bench;
pub mod cuda;
pub mod data;
pub mod engine;
pub mod models;
pub mod report;

pub use error::Error;

/// The result of what can fail in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
