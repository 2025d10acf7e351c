//! CUDA: the driver loaded at run time, GPUs, their memory, typed launches.
//!
//! This is the only place that names `cust`. From `cust` come the types of the driver's handles; its wrappers are
//! not used, because they read the driver's answer as a Rust enum of the codes of CUDA 11.4, and a newer code there
//! is undefined behaviour. `launch!` of `cust` also checks neither number nor types of arguments; here a
//! [`Kernel`](cuda_std::Kernel) carries them, and they are compared with the PTX before the first launch.
//!
//! The program needs no CUDA to build and no driver to start: see [`load`](driver::load).
//!
//! ```
//! use tilegrad::cuda::cuda_devices;
//!
//! match cuda_devices() {
//!     Ok(devices) => devices.iter().for_each(|gpu| println!("{} ({})", gpu.name, gpu.capability)),
//!     Err(reason) => println!("no CUDA: {reason}"),
//! }
//! ```

mod api;
mod cublas;
pub mod driver;
mod error;
mod event;
mod gpu;
mod graph;
mod info;
pub mod ptx;
mod shelf;
mod staging;

pub use cublas::{Arithmetic, BlasLayer, Cublas};
pub use error::{Error, Version};
pub use gpu::{Gpu, Memory};
pub use graph::Graph;
pub use info::{Clocks, GpuInfo, LEAST_CAPABILITY, cuda_devices};
