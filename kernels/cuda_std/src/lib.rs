//! What a kernel may call: one API, two implementations.
//!
//! On `nvptx64` each function is a PTX instruction. Everywhere else it is the emulator: each GPU thread a
//! coroutine, every access checked. A kernel's source does not know which of the two it is compiled for.
#![cfg_attr(target_arch = "nvptx64", no_std)]
#![cfg_attr(
    target_arch = "nvptx64",
    feature(abi_ptx, asm_experimental_arch, stdarch_nvptx, core_float_math)
)]

pub use cuda_std_macros::{kernel, shared_array};

#[cfg(not(target_arch = "nvptx64"))]
mod emulated;
#[cfg(not(target_arch = "nvptx64"))]
mod launch;
#[cfg(target_arch = "nvptx64")]
mod nvptx;

#[cfg(not(target_arch = "nvptx64"))]
use emulated as implementation;
#[cfg(target_arch = "nvptx64")]
use nvptx as implementation;

#[cfg(not(target_arch = "nvptx64"))]
pub use emulated::{Emulator, Fault, Order};
#[cfg(not(target_arch = "nvptx64"))]
pub use launch::{Arguments, Bind, Buffer, Device, Element, Kernel, Parameter, Parameters};

pub use implementation::{float, memory, thread, warp};
pub use memory::{Global, GlobalMut, SharedArray};

/// What nearly every kernel uses.
pub mod prelude {
    pub use crate::float::mul_add;
    pub use crate::memory::{Global, GlobalMut, SharedArray};
    pub use crate::{kernel, shared_array, thread, warp};
}
