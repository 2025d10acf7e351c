//! What a kernel may call: one API, two implementations.
//!
//! On `nvptx64` each function is a PTX instruction. Everywhere else it is the emulator: each GPU thread a
//! coroutine, every access checked. A kernel's source does not know which of the two it is compiled for.
#![cfg_attr(target_arch = "nvptx64", no_std)]
#![cfg_attr(target_arch = "nvptx64", feature(asm_experimental_arch, stdarch_nvptx, core_float_math))]

pub use cuda_std_macros::{kernel, shared_array};

#[cfg(not(target_arch = "nvptx64"))]
mod emulated;
pub mod float;
#[cfg(not(target_arch = "nvptx64"))]
mod launch;
#[cfg(target_arch = "nvptx64")]
mod nvptx;
mod word;

#[cfg(not(target_arch = "nvptx64"))]
use emulated as implementation;
#[cfg(target_arch = "nvptx64")]
use nvptx as implementation;

#[cfg(not(target_arch = "nvptx64"))]
pub use emulated::{Emulator, Fault, Order};
#[cfg(not(target_arch = "nvptx64"))]
#[doc(hidden)]
pub use launch::block_fits;
#[cfg(not(target_arch = "nvptx64"))]
pub use launch::{Arguments, Bind, Buffer, Device, Element, Kernel, Parameter, Parameters};

pub use implementation::{memory, thread};
pub use memory::{Global, GlobalMut, SharedArray};
pub use word::Word;

/// The 32 threads that run together.
pub mod warp {
    pub use crate::implementation::warp::*;

    /// All 32 lanes of a warp.
    pub const FULL_MASK: u32 = u32::MAX;
}

/// What nearly every kernel uses.
pub mod prelude {
    pub use crate::float::{self, mul_add};
    pub use crate::memory::{self, Global, GlobalMut, SharedArray};
    pub use crate::{kernel, shared_array, thread, warp};
}
