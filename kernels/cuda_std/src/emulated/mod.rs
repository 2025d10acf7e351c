//! The API as an emulator: each GPU thread a coroutine, every access checked.
//!
//! | file | what it holds |
//! |---|---|
//! | `thread`, `warp`, `warpgroup`, `matrix`, `tensor_cores`, `float`, `global`, `atomic`, `shared`, `copy` | what kernels call |
//! | `emulator`, `order`, `fault` | the host's side: settings, memory, what went wrong |
//! | `launch` | a grid: blocks in parallel, or all resident at once |
//! | `count` | what a launch does, counted as the hardware would |
//! | `run`, `block`, `lane`, `coroutine` | the scheduler, a block, a thread, what it runs in |
//! | `shadow`, `release`, `buffer` | who touched which element, and what that is ordered with |

mod atomic;
mod block;
mod buffer;
mod copy;
mod coroutine;
mod count;
mod emulator;
mod fault;
pub mod float;
mod global;
mod lane;
mod launch;
mod matrix;
mod order;
mod release;
mod run;
mod shadow;
mod shared;
mod tensor_cores;
pub mod thread;
pub mod warp;
pub mod warpgroup;

pub(crate) use buffer::Writable;
pub use count::{Counters, CountingEmulator, GlobalRequests, SharedRequests};
pub use emulator::Emulator;
pub use fault::Fault;
pub use order::Order;
pub use tensor_cores::TensorCores;

/// Global and shared memory, and the copies between them.
pub mod memory {
    pub use super::copy::{
        cp_async, cp_async_commit, cp_async_or_zero, cp_async_wait_all, cp_async_wait_group, cp_async4,
        cp_async4_or_zero,
    };
    pub use super::global::{Global, GlobalMut};
    #[doc(hidden)]
    pub use super::shared::SharedSite;
    pub use super::shared::{SharedArray, dynamic_array, keep_loop, opaque};
}
