//! Compiles the kernels to PTX with rustc's NVPTX target.
//!
//! [`CudaBuilder`] compiles a crate of kernels for one architecture. [`prepare`] is what the host's build script
//! does with it: the prebuilt PTX, whose [`Manifest`] tells what it was made from, or where the sources have changed since,
//! PTX from source. [`candidates`] says which compilers this machine has, and why each can or cannot be used.
//!
//! The program of this package, `cargo xtask`, refreshes the prebuilt PTX, runs ptxas over it, and bundles the
//! project for a GPU machine without Rust.

mod build;
mod compiler;
mod error;
mod manifest;
mod prepare;
mod ptx;
mod sources;

pub use build::{CudaBuilder, Module, compute_capability, flags};
pub use compiler::{COMPILER_VARIABLE, Candidate, Compiler, Origin, Refusal, Search, candidates};
pub use error::Error;
pub use manifest::{MANIFEST, Manifest, Prebuilt};
pub use prepare::{Choice, PTX_VARIABLE, Prepared, prepare};
pub use ptx::{Entry, entries, finish};
pub use sources::{source_hash, sources};

/// The architectures that the kernels are compiled for.
pub const ARCHITECTURES: [&str; 2] = ["sm_80", "sm_90a"];
