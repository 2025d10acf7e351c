//! The kernels that the checks launch: ours, or mutants in the place of some of them.

use cuda_std::{Global, GlobalMut, Kernel};
use kernels::{dense, descent, elementwise, matmul, reduce, training};

type In = Global<f32>;
type Out = GlobalMut<f32>;

macro_rules! table {
    ($($name:ident: ($($parameter:ty),*) = $kernel:path;)*) => {
        /// A table of all kernels.
        #[derive(Clone, Copy)]
        pub struct Kernels {
            $(
                #[doc = concat!("[`", stringify!($kernel), "`]")]
                pub $name: &'static Kernel<($($parameter,)*)>,
            )*
        }

        impl Kernels {
            /// The kernels of this project.
            pub fn ours() -> Self {
                Kernels { $($name: &$kernel),* }
            }

            /// The names of all kernels.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name)),*];
        }
    };
}

table! {
    multiply: (u32, In, In, Out) = elementwise::MULTIPLY;
    divide: (u32, In, In, Out) = elementwise::DIVIDE;
    relu: (u32, In, Out) = elementwise::RELU;
    sigmoid: (u32, In, Out) = elementwise::SIGMOID;
    update: (u32, f32, In, Out) = elementwise::UPDATE;
    sum: (u32, In, Out) = reduce::sum::SUM;
    dot: (u32, In, In, Out) = reduce::dot::DOT;
    column_sums: (u32, u32, In, Out) = reduce::column_sums::COLUMN_SUMS;
    column_moments: (u32, u32, In, Out, Out) = reduce::column_moments::COLUMN_MOMENTS;
    column_moments_finish: (u32, u32, u32, In, In, Out, Out) = reduce::column_moments::COLUMN_MOMENTS_FINISH;
    matrix_vector: (u32, u32, In, In, In, In, Out) = descent::matrix_vector::MATRIX_VECTOR;
    squared_error: (u32, In, In, Out, Out) = descent::error::SQUARED_ERROR;
    log_loss: (u32, In, In, Out, Out) = descent::error::LOG_LOSS;
    gradient: (u32, u32, In, In, In, In, Out) = descent::gradient::GRADIENT;
    squared_error_step: (u32, u32, In, In, In, In, In, In, Out) = descent::fused::SQUARED_ERROR_STEP;
    squared_error_step_narrow: (u32, u32, In, In, In, In, In, In, Out) = descent::fused::SQUARED_ERROR_STEP_NARROW;
    log_loss_step: (u32, u32, In, In, In, In, In, In, Out) = descent::fused::LOG_LOSS_STEP;
    log_loss_step_narrow: (u32, u32, In, In, In, In, In, In, Out) = descent::fused::LOG_LOSS_STEP_NARROW;
    descent_finish: (u32, u32, u32, u32, f32, f32, In, In, Out, Out, Out, Out, GlobalMut<u32>) = descent::finish::DESCENT_FINISH;
    matmul_naive: (u32, u32, u32, In, In, Out) = matmul::naive::MATMUL_NAIVE;
    matmul_naive_tn: (u32, u32, u32, In, In, Out) = matmul::naive::MATMUL_NAIVE_TN;
    matmul_naive_nt: (u32, u32, u32, In, In, Out) = matmul::naive::MATMUL_NAIVE_NT;
    matmul_naive_tt: (u32, u32, u32, In, In, Out) = matmul::naive::MATMUL_NAIVE_TT;
    matmul_tiled: (u32, u32, u32, In, In, Out) = matmul::tiled::MATMUL_TILED;
    matmul_tiled_tn: (u32, u32, u32, In, In, Out) = matmul::tiled::MATMUL_TILED_TN;
    matmul_tiled_nt: (u32, u32, u32, In, In, Out) = matmul::tiled::MATMUL_TILED_NT;
    matmul_tiled_tt: (u32, u32, u32, In, In, Out) = matmul::tiled::MATMUL_TILED_TT;
    matmul_register_tiled: (u32, u32, u32, In, In, Out) = matmul::register_tiled::MATMUL_REGISTER_TILED;
    matmul_vectorised: (u32, u32, u32, In, In, Out) = matmul::vectorised::MATMUL_VECTORISED;
    matmul_pipelined: (u32, u32, u32, In, In, Out) = matmul::pipelined::MATMUL_PIPELINED;
    matmul_warp_tiled: (u32, u32, u32, In, In, Out) = matmul::warp_tiled::MATMUL_WARP_TILED;
    matmul_warp_tiled_tn: (u32, u32, u32, In, In, Out) = matmul::warp_tiled::MATMUL_WARP_TILED_TN;
    matmul_warp_tiled_nt: (u32, u32, u32, In, In, Out) = matmul::warp_tiled::MATMUL_WARP_TILED_NT;
    matmul_warp_tiled_tt: (u32, u32, u32, In, In, Out) = matmul::warp_tiled::MATMUL_WARP_TILED_TT;
    matmul_tf32: (u32, u32, u32, In, In, Out) = matmul::tensor_core::MATMUL_TF32;
    matmul_tf32_tn: (u32, u32, u32, In, In, Out) = matmul::tensor_core::MATMUL_TF32_TN;
    matmul_tf32_nt: (u32, u32, u32, In, In, Out) = matmul::tensor_core::MATMUL_TF32_NT;
    matmul_tf32_tt: (u32, u32, u32, In, In, Out) = matmul::tensor_core::MATMUL_TF32_TT;
    matmul_tf32x3: (u32, u32, u32, In, In, Out) = matmul::tf32x3::MATMUL_TF32X3;
    matmul_tf32x3_tn: (u32, u32, u32, In, In, Out) = matmul::tf32x3::MATMUL_TF32X3_TN;
    matmul_tf32x3_nt: (u32, u32, u32, In, In, Out) = matmul::tf32x3::MATMUL_TF32X3_NT;
    matmul_tf32x3_tt: (u32, u32, u32, In, In, Out) = matmul::tf32x3::MATMUL_TF32X3_TT;
    matmul_wgmma: (u32, u32, u32, In, In, Out) = matmul::wgmma::MATMUL_WGMMA;
    matmul_wgmma_tn: (u32, u32, u32, In, In, Out) = matmul::wgmma::MATMUL_WGMMA_TN;
    matmul_wgmma_nt: (u32, u32, u32, In, In, Out) = matmul::wgmma::MATMUL_WGMMA_NT;
    matmul_wgmma_tt: (u32, u32, u32, In, In, Out) = matmul::wgmma::MATMUL_WGMMA_TT;
    matmul_bf16: (u32, u32, u32, In, In, Out) = matmul::bf16::MATMUL_BF16;
    matmul_bf16_tn: (u32, u32, u32, In, In, Out) = matmul::bf16::MATMUL_BF16_TN;
    matmul_bf16_nt: (u32, u32, u32, In, In, Out) = matmul::bf16::MATMUL_BF16_NT;
    matmul_bf16_tt: (u32, u32, u32, In, In, Out) = matmul::bf16::MATMUL_BF16_TT;
    matmul_split_k: (u32, u32, u32, In, In, Out) = matmul::split_k::MATMUL_SPLIT_K;
    matmul_split_k_tn: (u32, u32, u32, In, In, Out) = matmul::split_k::MATMUL_SPLIT_K_TN;
    matmul_split_k_nt: (u32, u32, u32, In, In, Out) = matmul::split_k::MATMUL_SPLIT_K_NT;
    matmul_split_k_tt: (u32, u32, u32, In, In, Out) = matmul::split_k::MATMUL_SPLIT_K_TT;
    matmul_split_k_finish: (u32, u32, u32, In, Out) = matmul::split_k::MATMUL_SPLIT_K_FINISH;
    dense_identity: (u32, u32, u32, In, In, In, Out) = dense::tiled::DENSE_IDENTITY;
    dense_relu: (u32, u32, u32, In, In, In, Out) = dense::tiled::DENSE_RELU;
    dense_sigmoid: (u32, u32, u32, In, In, In, Out) = dense::tiled::DENSE_SIGMOID;
    dense_warp_tiled_identity: (u32, u32, u32, In, In, In, Out) = dense::warp_tiled::DENSE_WARP_TILED_IDENTITY;
    dense_warp_tiled_relu: (u32, u32, u32, In, In, In, Out) = dense::warp_tiled::DENSE_WARP_TILED_RELU;
    dense_warp_tiled_sigmoid: (u32, u32, u32, In, In, In, Out) = dense::warp_tiled::DENSE_WARP_TILED_SIGMOID;
    dense_tf32_identity: (u32, u32, u32, In, In, In, Out) = dense::tensor_core::DENSE_TF32_IDENTITY;
    dense_tf32_relu: (u32, u32, u32, In, In, In, Out) = dense::tensor_core::DENSE_TF32_RELU;
    dense_tf32_sigmoid: (u32, u32, u32, In, In, In, Out) = dense::tensor_core::DENSE_TF32_SIGMOID;
    dense_tf32x3_identity: (u32, u32, u32, In, In, In, Out) = dense::tensor_core::DENSE_TF32X3_IDENTITY;
    dense_tf32x3_relu: (u32, u32, u32, In, In, In, Out) = dense::tensor_core::DENSE_TF32X3_RELU;
    dense_tf32x3_sigmoid: (u32, u32, u32, In, In, In, Out) = dense::tensor_core::DENSE_TF32X3_SIGMOID;
    dense_wgmma_identity: (u32, u32, u32, In, In, In, Out) = dense::wgmma::DENSE_WGMMA_IDENTITY;
    dense_wgmma_relu: (u32, u32, u32, In, In, In, Out) = dense::wgmma::DENSE_WGMMA_RELU;
    dense_wgmma_sigmoid: (u32, u32, u32, In, In, In, Out) = dense::wgmma::DENSE_WGMMA_SIGMOID;
    dense_bf16_identity: (u32, u32, u32, In, In, In, Out) = dense::tensor_core::DENSE_BF16_IDENTITY;
    dense_bf16_relu: (u32, u32, u32, In, In, In, Out) = dense::tensor_core::DENSE_BF16_RELU;
    dense_bf16_sigmoid: (u32, u32, u32, In, In, In, Out) = dense::tensor_core::DENSE_BF16_SIGMOID;
    dense_split_k_identity: (u32, u32, u32, In, In, Out) = dense::split_k::DENSE_SPLIT_K_IDENTITY;
    dense_split_k_relu: (u32, u32, u32, In, In, Out) = dense::split_k::DENSE_SPLIT_K_RELU;
    dense_split_k_sigmoid: (u32, u32, u32, In, In, Out) = dense::split_k::DENSE_SPLIT_K_SIGMOID;
    gather: (u32, u32, In, Global<u32>, Out) = training::gather::GATHER;
    gather_scaled: (u32, u32, In, In, In, Global<u32>, Out) = training::gather::GATHER_SCALED;
    output_error_identity: (u32, u32, Out, In, Out) = training::output_error::OUTPUT_ERROR_IDENTITY;
    output_error_sigmoid: (u32, u32, Out, In, Out) = training::output_error::OUTPUT_ERROR_SIGMOID;
    output_error_softmax: (u32, u32, Out, In, Out) = training::softmax::OUTPUT_ERROR_SOFTMAX;
    cost: (u32, u32, u32, In, Out) = training::output_error::COST;
    softmax: (u32, u32, Out) = training::softmax::SOFTMAX;
    backward_relu: (u32, u32, In, Out) = training::backward::BACKWARD_RELU;
    backward_sigmoid: (u32, u32, In, Out) = training::backward::BACKWARD_SIGMOID;
    update_descent: (u32, u32, f32, f32, In, Out) = training::update::UPDATE_DESCENT;
    update_momentum: (u32, u32, f32, f32, f32, In, Out, Out) = training::update::UPDATE_MOMENTUM;
    update_adam: (u32, u32, f32, f32, f32, f32, f32, f32, f32, In, Out, Out, Out) = training::update::UPDATE_ADAM;
    network: (u32, u32, u32, u32, u32, u32, In, In, In, In, In, In, In, GlobalMut<u32>, Out, Out) = dense::network::NETWORK;
}
