//! The kernels of tilegrad: one idea a file, in reading order.
//!
//! The same source is compiled to PTX for the GPU and runs, checked, on the emulator of [`cuda_std`].
//!
//! | file | the idea |
//! |---|---|
//! | [`elementwise`] | one thread an element; neighbours read neighbours |
//! | [`reduce::strided`] | several loads under way |
//! | [`reduce::block`] | threads work together: shuffles, shared memory, a barrier |
//! | [`reduce::sum`] | a reduction in two launches, with the same bits on every run |
//! | [`reduce::dot`] | a product fused into it |
//! | [`reduce::strip`] | reductions along columns: strips × row blocks |
//! | [`reduce::column_sums`] | the simplest of them |
//! | [`reduce::column_moments`] | mean and deviation in one pass, without losing digits |
//! | [`descent::matrix_vector`] | Xw + b: a warp a row |
//! | [`descent::loss`] | what a sample costs, and its error: for linear and for logistic regression |
//! | [`descent::error`] | both of every sample |
//! | [`descent::gradient`] | Xᵀe: weighted column sums |
//! | [`descent::fused`] | a whole step's pass over X, read once: a row stays in registers until its error is known |
//! | [`descent::finish`] | the rest of the step, which counts itself: the same launches every time |
//! | [`matmul::tile`] | what the rungs of the product share |
//! | [`matmul::naive`] | the product, everything from global memory |
//! | [`matmul::tiled`] | tiles in shared memory: each value is read once for 32 threads |
//! | [`matmul::register_tiled`] | 64 elements a thread, in registers |
//! | [`matmul::epilogue`] | what is done to an element before it is written |
//! | [`matmul::vectorised`] | four values a load |
//! | [`matmul::pipelined`] | the next tiles are copied while these are multiplied |
//! | [`matmul::warp_tiled`] | a tile a warp, 128 elements a thread; operands transposed on the way |
//! | [`matmul::tensor_core`] | tensor cores, on operands rounded to 11 bits |
//! | [`matmul::tf32x3`] | three such products, as accurate as one of fp32 |
//! | [`matmul::wgmma`] | the same by four warps together, from shared memory (compute capability 9.0a) |
//! | [`matmul::bf16`] | operands rounded to 8 bits |
//! | [`matmul::split_k`] | blocks along k, for products with few tiles |
//! | [`dense::tiled`] | a layer of a network: bias and activation in the product's epilogue |
//! | [`dense::warp_tiled`] | the same by the best rung |
//! | [`dense::tensor_core`] | the same with the tensor cores |
//! | [`dense::wgmma`] | the same by warpgroups |
//! | [`dense::split_k`] | the same after a split product |
//! | [`dense::network`] | three layers in one launch, for small networks |
//! | [`training::fours`] | four elements a thread |
//! | [`training::team`] | a few lanes a row |
//! | [`training::gather`] | the rows of a batch, scaled on the way |
//! | [`training::output_error`] | the last layer's error in the place of z, and the batch's cost |
//! | [`training::softmax`] | the same for classes: a row's elements depend on each other |
//! | [`training::backward`] | a gradient through an activation |
//! | [`training::update`] | a step of the parameters: descent, momentum, Adam |
//!
//! Each file begins with the formula and its shapes, who computes what, the bytes and operations and so the
//! limit, what the barriers keep apart, what changed from the file before, and the command that runs it.
//!
//! # What all kernels keep to
//!
//! * Matrices are row-major `f32`; sizes are `u32`, indices are `usize`, as m × n may not fit in 32 bits.
//! * Any size may be 0. A sum of nothing is 0, and so is a mean.
//! * The grid comes from the kernel's own file: `grid(…)`, a function of the shape only; [`dense::network`]'s
//!   also of how many blocks may wait for each other, which changes no bit. The block's shape is a part of the
//!   kernel.
//! * No floating-point atomics: results have the same bits on every run, and, but for `exp` and the tensor cores, on
//!   the emulator as well.
//! * `depth(…)` is the longest chain of roundings behind a result, for bounds on its error.
#![cfg_attr(target_arch = "nvptx64", no_std)]
#![cfg_attr(target_arch = "nvptx64", feature(abi_ptx, asm_experimental_arch))]
#![deny(missing_docs, unsafe_op_in_unsafe_fn, clippy::undocumented_unsafe_blocks)]
#![allow(clippy::needless_range_loop, reason = "indices say which value meets which")]
#![allow(clippy::too_many_arguments, reason = "a launch passes numbers and buffers, one by one")]

pub mod dense;
pub mod descent;
pub mod elementwise;
pub mod matmul;
pub mod reduce;
pub mod training;
