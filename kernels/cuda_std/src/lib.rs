//! What a kernel may call: one API, two implementations.
//!
//! On `nvptx64` each function here is a PTX instruction or a few. Everywhere else it is an emulator of the GPU: each
//! thread a coroutine, every access checked. A kernel's source does not know which of the two it is compiled for.
//!
//! ```
//! use cuda_std::{Device, Emulator, prelude::*};
//!
//! /// y ← a x + y
//! #[kernel(block = [256, 1, 1])]
//! unsafe fn axpy(n: u32, a: f32, x: Global<f32>, y: GlobalMut<f32>) {
//!     let i = (thread::block_idx_x() * thread::block_dim_x() + thread::thread_idx_x()) as usize;
//!     if i <= n as usize {
//!         y.write(i, mul_add(a, x.read(i), y.read(i)));
//!     }
//! }
//!
//! let emulator = Emulator::default();
//! let x = emulator.upload(&[1.0; 1000])?;
//! let mut y = emulator.upload(&[2.0; 1000])?;
//! let fault = emulator.launch(&AXPY, [4, 1, 1], (1000, 3.0, &x, &mut y)).unwrap_err();
//! assert!(fault.to_string().ends_with("global read of element 1000 of `x`, which has 1000"));
//! # Ok::<(), cuda_std::Fault>(())
//! ```
//!
//! [`#[kernel]`](kernel) makes of a function an entry of the PTX, and on the host a typed descriptor (`AXPY` above) from
//! which any [`Device`] launches: arguments of another order, number, type or mutability, or a buffer of another
//! device, do not compile.
//!
//! # How to read a fault
//!
//! ```text
//! kernel kernels::reduce::sum block (3,0,0) thread (32,0,0) at kernels/src/reduce/sum.rs:41:28: race: shared read of
//! element 0 of the array of kernels/src/reduce/sum.rs:30:20, which thread (0,0,0) wrote at
//! kernels/src/reduce/sum.rs:36:14 with no barrier in between
//! ```
//!
//! Who (kernel, block, thread), where (file, line, column), what, and where there are two, the other one. Elements of
//! shared memory are named by the `shared_array!` that made them, those of global memory by the kernel's parameter.
//!
//! # What the emulator finds
//!
//! - accesses out of range, vectors that are not aligned, reads of global or shared memory that nothing has written;
//! - races: in shared memory between barriers, in global memory between threads of a block and between blocks, of
//!   plain accesses with atomic ones. `sync_threads`, `sync_warp`, release and acquire order what they order on a GPU;
//! - threads that do not all come to a barrier, to the same one; lanes that do not agree on a warp's operation or its
//!   mask, or take a value from a lane that takes no part;
//! - `cp_async` copies that are used before they are waited for, by the rules of commit groups;
//! - `wgmma` without its fences, of memory that is written before it was waited for, or not by all warps of a warpgroup;
//! - threads that wait for what never comes, and blocks that wait for blocks which need not be running;
//! - panics, and launches that every GPU refuses: too large a block or a grid, more than 48 KiB of shared arrays, or 163 KiB
//!   with the dynamic ones.
//!
//! A kernel may have a race that no schedule shows in its results: it is found all the same, in any [`Order`]. What is
//! found depends on the data: only what a thread does can be checked.
//!
//! # What is not modelled
//!
//! - Time, caches, occupancy, registers: nothing here says how fast a kernel is. What it asks of the hardware can be
//!   counted: [`Emulator::count`].
//! - Memory that is weaker than its order: accesses take place one after another. A mistake in ordering shows as a race,
//!   not as a stale value. Release and acquire are followed from element to element with two approximations that can
//!   only hide a race: an acquire counts for every earlier release of its element, and what a thread does between a
//!   release and the next barrier counts as released.
//! - Three or more blocks that read an element before another writes it: two readers are remembered. With release and
//!   acquire, a race with the third may be missed.
//! - Fences but that for `wgmma`, and atomics other than addition, load and store; generic addresses; clusters,
//!   tensor maps; of `wgmma` other shapes and layouts than [`warpgroup`]'s.
//! - Shared arrays count against the limit when they are reached; on a GPU, all that the kernel mentions count.
//! - Threads that have returned do not take part in a barrier on a GPU either; here their absence is a fault, because
//!   `barrier.sync.aligned` wants whole warps. A shuffle from a lane that takes no part is a fault even if its
//!   value is not used.
//! - A loop that never ends and touches no memory hangs the emulator too.
//! - `ex2.approx` and `rsqrt.approx` are rounded to nearest here; the tensor cores' sums are made in `f64`.
//!   All other arithmetic gives the same bits as the GPU: `mul_add` is fused, `a * b + c` is not.
//!
//! # Why this crate is here
//!
//! The names and the shape of the API are those of the Rust-CUDA project, but its published `cuda_std` 0.2 only compiles
//! with a plug-in for a compiler of December 2021 and LLVM 7. This crate needs rustc's own `nvptx64-nvidia-cuda` target,
//! and nothing at all on the host.
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
pub use emulated::{
    Counters, CountingEmulator, Emulator, Fault, GlobalRequests, Order, SharedRequests, TensorCores,
};
#[cfg(not(target_arch = "nvptx64"))]
#[doc(hidden)]
pub use launch::block_fits;
#[cfg(not(target_arch = "nvptx64"))]
pub use launch::{Arguments, Bind, Buffer, Device, Element, Kernel, Parameter, Parameters};

pub use implementation::{memory, thread, warpgroup};
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
