//! The API as an emulator: each GPU thread a coroutine, every access checked.
//!
//! | file | what it holds |
//! |---|---|
//! | `thread`, `warp`, `float`, `global`, `shared`, `copy` | what kernels call |
//! | `block` | a block's threads, and the scheduler that runs them in turn |
//! | `launch` | a grid: blocks in parallel, or all resident at once |
//! | `shadow`, `release` | who touched what, and what that is ordered with |
//! | `emulator`, `fault` | the host's side |

mod block;
mod copy;
mod emulator;
mod fault;
pub mod float;
mod global;
mod launch;
mod release;
mod shadow;
mod shared;
pub mod thread;
pub mod warp;

pub use emulator::{Emulator, Order};
pub use fault::Fault;
pub(crate) use global::Writable;

/// Global and shared memory, and the copies between them.
pub mod memory {
    pub use super::copy::{cp_async, cp_async_commit, cp_async_wait_all, cp_async_wait_group, cp_async4};
    pub use super::global::{Global, GlobalMut};
    pub use super::shared::SharedArray;
    #[doc(hidden)]
    pub use super::shared::SharedSite;
}
