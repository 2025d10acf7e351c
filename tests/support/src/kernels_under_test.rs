//! The kernels that the checks launch: ours, or mutants in the place of some of them.

use cuda_std::{Global, GlobalMut, Kernel};
use kernels::{dense, descent, elementwise, matmul, reduce};

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
    relu: (u32, In, Out) = elementwise::RELU;
    sigmoid: (u32, In, Out) = elementwise::SIGMOID;
    update: (u32, f32, In, Out) = elementwise::UPDATE;
    standardise: (u32, u32, In, In, Out) = elementwise::STANDARDISE;
    sum: (u32, In, Out) = reduce::sum::SUM;
    dot: (u32, In, In, Out) = reduce::dot::DOT;
    column_sums: (u32, u32, In, Out) = reduce::column_sums::COLUMN_SUMS;
    column_moments: (u32, u32, In, Out, Out) = reduce::column_moments::COLUMN_MOMENTS;
    column_moments_finish: (u32, u32, u32, In, In, Out, Out) = reduce::column_moments::COLUMN_MOMENTS_FINISH;
    matrix_vector: (u32, u32, In, In, In, Out) = descent::matrix_vector::MATRIX_VECTOR;
    linear_error: (u32, In, In, Out, Out, Out) = descent::error::LINEAR_ERROR;
    linear_cost: (u32, u32, u32, In, In, Out, Out) = descent::error::LINEAR_COST;
    gradient: (u32, u32, In, In, Out) = descent::gradient::GRADIENT;
    gradient_finish: (u32, u32, u32, In, Out) = descent::gradient::GRADIENT_FINISH;
    matmul_naive: (u32, u32, u32, In, In, Out) = matmul::naive::MATMUL_NAIVE;
    matmul_naive_tn: (u32, u32, u32, In, In, Out) = matmul::naive::MATMUL_NAIVE_TN;
    matmul_naive_nt: (u32, u32, u32, In, In, Out) = matmul::naive::MATMUL_NAIVE_NT;
    matmul_naive_tt: (u32, u32, u32, In, In, Out) = matmul::naive::MATMUL_NAIVE_TT;
    matmul_tiled: (u32, u32, u32, In, In, Out) = matmul::tiled::MATMUL_TILED;
    matmul_tiled_tn: (u32, u32, u32, In, In, Out) = matmul::tiled::MATMUL_TILED_TN;
    matmul_tiled_nt: (u32, u32, u32, In, In, Out) = matmul::tiled::MATMUL_TILED_NT;
    matmul_tiled_tt: (u32, u32, u32, In, In, Out) = matmul::tiled::MATMUL_TILED_TT;
    dense_identity: (u32, u32, u32, In, In, In, Out) = dense::tiled::DENSE_IDENTITY;
    dense_relu: (u32, u32, u32, In, In, In, Out) = dense::tiled::DENSE_RELU;
    dense_sigmoid: (u32, u32, u32, In, In, In, Out) = dense::tiled::DENSE_SIGMOID;
}
