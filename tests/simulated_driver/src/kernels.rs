//! The kernels by the names of their entries, launched on the emulator from the bare bits that a driver gets.

use cuda_std::{Bind, Emulator, Fault, Global, GlobalMut, Kernel, Parameter, Parameters};
use kernels::{dense, descent, elementwise, matmul, reduce, training};

use crate::memory::Heap;

/// A kernel whose parameters' types are forgotten.
pub trait Run: Sync {
    /// Its name in the PTX.
    fn entry(&self) -> &'static str;
    /// Threads of a block.
    fn block(&self) -> [u32; 3];
    /// Bytes of dynamic shared memory of a block.
    fn shared_bytes(&self) -> usize;
    /// The types of its parameters in the PTX.
    fn types(&self) -> &'static [&'static str];
    /// Runs it on a grid, with the bits of each parameter.
    fn run(&self, bits: &[u64], heap: &mut Heap, grid: [u32; 3]) -> Result<(), Fault>;
}

/// A parameter made of the bits that were passed.
trait Raw {
    fn of(bits: u64, heap: &mut Heap) -> Self;
}

impl Raw for u32 {
    fn of(bits: u64, _: &mut Heap) -> Self {
        bits as u32
    }
}

impl Raw for f32 {
    fn of(bits: u64, _: &mut Heap) -> Self {
        f32::from_bits(bits as u32)
    }
}

impl Raw for Global<f32> {
    fn of(bits: u64, heap: &mut Heap) -> Self {
        heap.global(bits)
    }
}

impl Raw for Global<u32> {
    fn of(bits: u64, heap: &mut Heap) -> Self {
        heap.global(bits).words()
    }
}

impl Raw for GlobalMut<f32> {
    fn of(bits: u64, heap: &mut Heap) -> Self {
        heap.global_mut(bits)
    }
}

impl Raw for GlobalMut<u32> {
    fn of(bits: u64, heap: &mut Heap) -> Self {
        heap.global_mut(bits).words()
    }
}

/// An argument that is the parameter already.
struct Bound<P>(P);

impl<P> Bind<P, Emulator> for Bound<P> {
    fn bind(self) -> P {
        self.0
    }
}

macro_rules! run {
    ($($p:ident $i:tt),*) => {
        impl<$($p: Raw + Parameter),*> Run for Kernel<($($p,)*)> {
            fn entry(&self) -> &'static str {
                Kernel::entry(self)
            }
            fn block(&self) -> [u32; 3] {
                Kernel::block(self)
            }
            fn shared_bytes(&self) -> usize {
                Kernel::shared_bytes(self)
            }
            fn types(&self) -> &'static [&'static str] {
                <($($p,)*)>::PTX_TYPES
            }
            fn run(&self, bits: &[u64], heap: &mut Heap, grid: [u32; 3]) -> Result<(), Fault> {
                Emulator::default().launch(self, grid, ($(Bound($p::of(bits[$i], heap)),)*))
            }
        }
    };
}
run!(P0 0, P1 1, P2 2);
run!(P0 0, P1 1, P2 2, P3 3);
run!(P0 0, P1 1, P2 2, P3 3, P4 4);
run!(P0 0, P1 1, P2 2, P3 3, P4 4, P5 5);
run!(P0 0, P1 1, P2 2, P3 3, P4 4, P5 5, P6 6);
run!(P0 0, P1 1, P2 2, P3 3, P4 4, P5 5, P6 6, P7 7);
run!(P0 0, P1 1, P2 2, P3 3, P4 4, P5 5, P6 6, P7 7, P8 8);
run!(P0 0, P1 1, P2 2, P3 3, P4 4, P5 5, P6 6, P7 7, P8 8, P9 9, P10 10);
run!(P0 0, P1 1, P2 2, P3 3, P4 4, P5 5, P6 6, P7 7, P8 8, P9 9, P10 10, P11 11, P12 12);
run!(P0 0, P1 1, P2 2, P3 3, P4 4, P5 5, P6 6, P7 7, P8 8, P9 9, P10 10, P11 11, P12 12, P13 13, P14 14, P15 15);

/// All kernels. A module of PTX with any other is refused.
pub static KERNELS: &[&dyn Run] = &[
    &elementwise::MULTIPLY,
    &elementwise::DIVIDE,
    &elementwise::RELU,
    &elementwise::SIGMOID,
    &elementwise::UPDATE,
    &reduce::sum::SUM,
    &reduce::dot::DOT,
    &reduce::column_sums::COLUMN_SUMS,
    &reduce::column_moments::COLUMN_MOMENTS,
    &reduce::column_moments::COLUMN_MOMENTS_FINISH,
    &descent::matrix_vector::MATRIX_VECTOR,
    &descent::error::SQUARED_ERROR,
    &descent::error::LOG_LOSS,
    &descent::gradient::GRADIENT,
    &descent::fused::SQUARED_ERROR_STEP,
    &descent::fused::SQUARED_ERROR_STEP_NARROW,
    &descent::fused::LOG_LOSS_STEP,
    &descent::fused::LOG_LOSS_STEP_NARROW,
    &descent::finish::DESCENT_FINISH,
    &matmul::naive::MATMUL_NAIVE,
    &matmul::naive::MATMUL_NAIVE_TN,
    &matmul::naive::MATMUL_NAIVE_NT,
    &matmul::naive::MATMUL_NAIVE_TT,
    &matmul::tiled::MATMUL_TILED,
    &matmul::tiled::MATMUL_TILED_TN,
    &matmul::tiled::MATMUL_TILED_NT,
    &matmul::tiled::MATMUL_TILED_TT,
    &matmul::register_tiled::MATMUL_REGISTER_TILED,
    &matmul::vectorised::MATMUL_VECTORISED,
    &matmul::pipelined::MATMUL_PIPELINED,
    &matmul::warp_tiled::MATMUL_WARP_TILED,
    &matmul::warp_tiled::MATMUL_WARP_TILED_TN,
    &matmul::warp_tiled::MATMUL_WARP_TILED_NT,
    &matmul::warp_tiled::MATMUL_WARP_TILED_TT,
    &matmul::tensor_core::MATMUL_TF32,
    &matmul::tensor_core::MATMUL_TF32_TN,
    &matmul::tensor_core::MATMUL_TF32_NT,
    &matmul::tensor_core::MATMUL_TF32_TT,
    &matmul::tf32x3::MATMUL_TF32X3,
    &matmul::tf32x3::MATMUL_TF32X3_TN,
    &matmul::tf32x3::MATMUL_TF32X3_NT,
    &matmul::tf32x3::MATMUL_TF32X3_TT,
    &matmul::wgmma::MATMUL_WGMMA,
    &matmul::wgmma::MATMUL_WGMMA_TN,
    &matmul::wgmma::MATMUL_WGMMA_NT,
    &matmul::wgmma::MATMUL_WGMMA_TT,
    &matmul::bf16::MATMUL_BF16,
    &matmul::bf16::MATMUL_BF16_TN,
    &matmul::bf16::MATMUL_BF16_NT,
    &matmul::bf16::MATMUL_BF16_TT,
    &matmul::split_k::MATMUL_SPLIT_K,
    &matmul::split_k::MATMUL_SPLIT_K_TN,
    &matmul::split_k::MATMUL_SPLIT_K_NT,
    &matmul::split_k::MATMUL_SPLIT_K_TT,
    &matmul::split_k::MATMUL_SPLIT_K_FINISH,
    &dense::tiled::DENSE_IDENTITY,
    &dense::tiled::DENSE_RELU,
    &dense::tiled::DENSE_SIGMOID,
    &dense::warp_tiled::DENSE_WARP_TILED_IDENTITY,
    &dense::warp_tiled::DENSE_WARP_TILED_RELU,
    &dense::warp_tiled::DENSE_WARP_TILED_SIGMOID,
    &dense::tensor_core::DENSE_TF32_IDENTITY,
    &dense::tensor_core::DENSE_TF32_RELU,
    &dense::tensor_core::DENSE_TF32_SIGMOID,
    &dense::tensor_core::DENSE_TF32X3_IDENTITY,
    &dense::tensor_core::DENSE_TF32X3_RELU,
    &dense::tensor_core::DENSE_TF32X3_SIGMOID,
    &dense::wgmma::DENSE_WGMMA_IDENTITY,
    &dense::wgmma::DENSE_WGMMA_RELU,
    &dense::wgmma::DENSE_WGMMA_SIGMOID,
    &dense::tensor_core::DENSE_BF16_IDENTITY,
    &dense::tensor_core::DENSE_BF16_RELU,
    &dense::tensor_core::DENSE_BF16_SIGMOID,
    &dense::split_k::DENSE_SPLIT_K_IDENTITY,
    &dense::split_k::DENSE_SPLIT_K_RELU,
    &dense::split_k::DENSE_SPLIT_K_SIGMOID,
    &dense::network::NETWORK,
    &training::gather::GATHER,
    &training::gather::GATHER_SCALED,
    &training::output_error::OUTPUT_ERROR_IDENTITY,
    &training::output_error::OUTPUT_ERROR_SIGMOID,
    &training::output_error::COST,
    &training::softmax::SOFTMAX,
    &training::softmax::OUTPUT_ERROR_SOFTMAX,
    &training::backward::BACKWARD_RELU,
    &training::backward::BACKWARD_SIGMOID,
    &training::update::UPDATE_DESCENT,
    &training::update::UPDATE_MOMENTUM,
    &training::update::UPDATE_ADAM,
];
