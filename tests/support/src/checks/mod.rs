//! One check a kernel.

mod dense;
mod descent;
mod elementwise;
mod matmul;
mod network;
mod reduce;
mod training;

use cuda_std::Device;
pub use matmul::rungs_agree;
pub use network::network_widths;

use crate::{Data, Failure, Kernels, Rig, Source, Tally};

/// The sides of a launch: m, n and k. Those that a kernel does not have are 1.
pub type Shape = [usize; 3];

/// What launches are made of, and what was seen of them.
pub struct Case<'a, D: Device> {
    /// Where they run.
    pub rig: &'a Rig<D>,
    /// The kernels to launch.
    pub kernels: &'a Kernels,
    /// The kind of numbers to compute with.
    pub data: Data,
    /// Where the numbers come from.
    pub source: Source,
    /// The results so far.
    pub tally: Tally,
}

/// Launches a kernel and compares every element of its results with the reference.
pub struct Check<D: Device> {
    /// The kernel's name.
    pub kernel: &'static str,
    /// Whether it uses `ex2.approx` or the tensor cores, whose last bits are the GPU's own.
    pub approximate: bool,
    /// Whether it multiplies with the tensor cores.
    pub tensor_cores: bool,
    /// How many of a shape's sides it has: the first so many.
    pub sides: usize,
    /// The shapes of the suite.
    shapes: fn(&mut Source) -> Vec<Shape>,
    /// Launches it at any shape.
    pub at: fn(&mut Case<D>, Shape) -> Result<(), Failure>,
    /// Launches it with numbers that are special.
    special: fn(&mut Case<D>) -> Result<(), Failure>,
}

impl<D: Device> Check<D> {
    /// Launches the kernel of the table at all shapes of the suite: around the edges of what it works in, and some by
    /// seed.
    ///
    /// # Errors
    /// A launch that failed, or a result that is wrong.
    pub fn run(&self, rig: &Rig<D>, kernels: &Kernels, data: Data) -> Result<Tally, Failure> {
        let mut source = Source::new(1);
        let shapes = (self.shapes)(&mut source);
        let mut case = Case { rig, kernels, data, source, tally: Tally::default() };
        for shape in shapes {
            (self.at)(&mut case, shape)?;
        }
        (self.special)(&mut case)?;
        Ok(case.tally)
    }
}

impl<D: Device> Clone for Check<D> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<D: Device> Copy for Check<D> {}

/// The checks of all kernels.
pub fn all<D: Device>() -> Vec<Check<D>> {
    let mut checks = Vec::new();
    let mut add = |kernel: &'static str, sides, shapes, at| {
        let tensor_cores = ["tf32", "wgmma", "bf16"].iter().any(|way| kernel.contains(way));
        let approximate = kernel == "network"
            || (kernel.ends_with("sigmoid") && kernel != "backward_sigmoid")
            || kernel.ends_with("softmax")
            || kernel.starts_with("log_loss")
            || tensor_cores;
        let special: fn(&mut Case<D>) -> Result<(), Failure> = match kernel {
            "relu" => elementwise::relu_special,
            "sigmoid" => elementwise::sigmoid_special,
            "log_loss" => descent::far_out,
            "softmax" => training::softmax_special,
            "output_error_sigmoid" => training::output_error_sigmoid_special,
            "output_error_softmax" => training::output_error_softmax_special,
            "log_loss_step" => |case| descent::log_loss_special(case.kernels.log_loss_step, case),
            "log_loss_step_narrow" => {
                |case| descent::log_loss_special(case.kernels.log_loss_step_narrow, case)
            }
            _ => specials(kernel),
        };
        checks.push(Check { kernel, approximate, tensor_cores, sides, shapes, at, special });
    };
    add("multiply", 1, elementwise::sizes, elementwise::multiply);
    add("divide", 1, elementwise::sizes, elementwise::divide);
    add("relu", 1, elementwise::sizes, elementwise::relu);
    add("sigmoid", 1, elementwise::sizes, elementwise::sigmoid);
    add("update", 1, elementwise::sizes, elementwise::update);
    add("sum", 1, reduce::sizes, reduce::sum);
    add("dot", 1, reduce::sizes, reduce::dot);
    add("column_sums", 2, reduce::matrices, reduce::column_sums);
    add("column_moments", 2, reduce::matrices, reduce::column_moments);
    add("column_moments_finish", 2, reduce::matrices, reduce::column_moments_finish);
    add("matrix_vector", 2, descent::matrix_vectors, descent::matrix_vector);
    add("squared_error", 1, elementwise::sizes, |case, shape| {
        descent::errors(case.kernels.squared_error, descent::squared_error, case, shape)
    });
    add("log_loss", 1, elementwise::sizes, |case, shape| {
        descent::errors(case.kernels.log_loss, descent::log_loss, case, shape)
    });
    macro_rules! steps {
        ($($kernel:ident $check:ident $shapes:ident $loss:ident;)*) => { $(
            add(stringify!($kernel), 3, descent::$shapes, |case, shape| {
                descent::$check(case.kernels.$kernel, descent::$loss, case, shape)
            });
        )* };
    }
    steps! {
        squared_error_step wide wide_shapes squared_error;
        squared_error_step_narrow narrow narrow_shapes squared_error;
        log_loss_step wide wide_shapes log_loss;
        log_loss_step_narrow narrow narrow_shapes log_loss;
    }
    add("descent_finish", 3, descent::finish_shapes, descent::descent_finish);
    add("gradient", 2, reduce::matrices, descent::gradient);
    macro_rules! products {
        ($shapes:path, $grid:path, $accuracy:path: $($kernel:ident $a_transposed:literal $b_transposed:literal;)*) => { $(
            add(stringify!($kernel), 3, $shapes, |case, shape| {
                let transposed = [$a_transposed, $b_transposed];
                matmul::product(case.kernels.$kernel, $grid, transposed, $accuracy, case, shape)
            });
        )* };
    }
    products! { matmul::naive_shapes, kernels::matmul::naive::grid, matmul::FP32:
        matmul_naive false false;
        matmul_naive_tn true false;
        matmul_naive_nt false true;
        matmul_naive_tt true true;
    }
    products! { matmul::tile_shapes, kernels::matmul::tiled::grid, matmul::FP32:
        matmul_tiled false false;
        matmul_tiled_tn true false;
        matmul_tiled_nt false true;
        matmul_tiled_tt true true;
    }
    products! { matmul::large_shapes, kernels::matmul::register_tiled::grid, matmul::FP32: matmul_register_tiled false false; }
    products! { matmul::large_shapes, kernels::matmul::vectorised::grid, matmul::FP32: matmul_vectorised false false; }
    products! { matmul::large_shapes, kernels::matmul::pipelined::grid, matmul::FP32: matmul_pipelined false false; }
    products! { matmul::large_shapes, kernels::matmul::warp_tiled::grid, matmul::FP32:
        matmul_warp_tiled false false;
        matmul_warp_tiled_tn true false;
        matmul_warp_tiled_nt false true;
        matmul_warp_tiled_tt true true;
    }
    products! { matmul::tensor_core_shapes, kernels::matmul::tensor_core::grid, matmul::TF32:
        matmul_tf32 false false;
        matmul_tf32_tn true false;
        matmul_tf32_nt false true;
        matmul_tf32_tt true true;
    }
    products! { matmul::tensor_core_shapes, kernels::matmul::tf32x3::grid, matmul::TF32X3:
        matmul_tf32x3 false false;
        matmul_tf32x3_tn true false;
        matmul_tf32x3_nt false true;
        matmul_tf32x3_tt true true;
    }
    products! { matmul::wgmma_shapes, kernels::matmul::wgmma::grid, matmul::WGMMA:
        matmul_wgmma false false;
        matmul_wgmma_tn true false;
        matmul_wgmma_nt false true;
        matmul_wgmma_tt true true;
    }
    products! { matmul::tensor_core_shapes, kernels::matmul::bf16::grid, matmul::BF16:
        matmul_bf16 false false;
        matmul_bf16_tn true false;
        matmul_bf16_nt false true;
        matmul_bf16_tt true true;
    }
    macro_rules! splits {
        ($($kernel:ident $a_transposed:literal $b_transposed:literal;)*) => { $(
            add(stringify!($kernel), 3, matmul::split_k_shapes, |case, shape| {
                matmul::split(case.kernels.$kernel, [$a_transposed, $b_transposed], case, shape)
            });
        )* };
    }
    splits! {
        matmul_split_k false false;
        matmul_split_k_tn true false;
        matmul_split_k_nt false true;
        matmul_split_k_tt true true;
    }
    add("matmul_split_k_finish", 3, matmul::finish_shapes, matmul::split_k_finish);
    macro_rules! layers {
        ($shapes:path, $grid:path, $accuracy:path: $($kernel:ident $activation:expr;)*) => { $(
            add(stringify!($kernel), 3, $shapes, |case, shape| {
                dense::layer(case.kernels.$kernel, $grid, $accuracy, $activation, case, shape)
            });
        )* };
    }
    layers! { matmul::tile_shapes, kernels::dense::tiled::grid, matmul::FP32:
        dense_identity std::convert::identity;
        dense_relu dense::relu;
        dense_sigmoid dense::sigmoid;
    }
    layers! { matmul::large_shapes, kernels::dense::warp_tiled::grid, matmul::FP32:
        dense_warp_tiled_identity std::convert::identity;
        dense_warp_tiled_relu dense::relu;
        dense_warp_tiled_sigmoid dense::sigmoid;
    }
    layers! { matmul::tensor_core_shapes, kernels::dense::tensor_core::grid, matmul::TF32:
        dense_tf32_identity std::convert::identity;
        dense_tf32_relu dense::relu;
        dense_tf32_sigmoid dense::sigmoid;
    }
    layers! { matmul::tensor_core_shapes, kernels::dense::tensor_core::grid, matmul::TF32X3:
        dense_tf32x3_identity std::convert::identity;
        dense_tf32x3_relu dense::relu;
        dense_tf32x3_sigmoid dense::sigmoid;
    }
    layers! { matmul::wgmma_shapes, kernels::dense::wgmma::grid, matmul::WGMMA:
        dense_wgmma_identity std::convert::identity;
        dense_wgmma_relu dense::relu;
        dense_wgmma_sigmoid dense::sigmoid;
    }
    layers! { matmul::tensor_core_shapes, kernels::dense::tensor_core::grid, matmul::BF16:
        dense_bf16_identity std::convert::identity;
        dense_bf16_relu dense::relu;
        dense_bf16_sigmoid dense::sigmoid;
    }
    macro_rules! finishes {
        ($($kernel:ident $activation:expr;)*) => { $(
            add(stringify!($kernel), 3, matmul::finish_shapes, |case, shape| {
                dense::finish(case.kernels.$kernel, $activation, case, shape)
            });
        )* };
    }
    finishes! {
        dense_split_k_identity std::convert::identity;
        dense_split_k_relu dense::relu;
        dense_split_k_sigmoid dense::sigmoid;
    }
    add("network", 3, network::shapes, network::network);
    add("gather", 3, training::gathers, training::gather);
    add("gather_scaled", 3, training::gathers, training::gather_scaled);
    add("output_error_identity", 2, training::outputs, |case, shape| {
        training::output_error(case.kernels.output_error_identity, descent::squared_error, case, shape)
    });
    add("output_error_sigmoid", 2, training::outputs, |case, shape| {
        training::output_error(case.kernels.output_error_sigmoid, descent::log_loss, case, shape)
    });
    add("output_error_softmax", 2, training::classes, training::output_error_softmax);
    add("cost", 3, training::costs, training::cost);
    add("softmax", 2, training::classes, training::softmax);
    add("backward_relu", 2, training::fours, training::backward_relu);
    add("backward_sigmoid", 2, training::fours, training::backward_sigmoid);
    add("update_descent", 2, training::fours, training::update_descent);
    add("update_momentum", 2, training::fours, training::update_momentum);
    add("update_adam", 2, training::fours, training::update_adam);
    checks
}

/// Numbers that are special for the tensor cores: those that are not finite, or not once they are rounded.
fn specials<D: Device>(kernel: &str) -> fn(&mut Case<D>) -> Result<(), Failure> {
    macro_rules! products {
        ($check:ident: $($kernel:ident $a_transposed:literal $b_transposed:literal;)*) => {
            $(if kernel == stringify!($kernel) {
                return |case| matmul::$check(case.kernels.$kernel, [$a_transposed, $b_transposed], case);
            })*
        };
    }
    products! { not_finite:
        matmul_tf32 false false;
        matmul_tf32_tn true false;
        matmul_tf32_nt false true;
        matmul_tf32_tt true true;
        matmul_bf16 false false;
        matmul_bf16_tn true false;
        matmul_bf16_nt false true;
        matmul_bf16_tt true true;
    }
    products! { tf32x3_special:
        matmul_tf32x3 false false;
        matmul_tf32x3_tn true false;
        matmul_tf32x3_nt false true;
        matmul_tf32x3_tt true true;
    }
    products! { wgmma_special:
        matmul_wgmma false false;
        matmul_wgmma_tn true false;
        matmul_wgmma_nt false true;
        matmul_wgmma_tt true true;
    }
    macro_rules! layers {
        ($($kernel:ident $activation:expr, $of_others:expr;)*) => {
            $(if kernel == stringify!($kernel) {
                return |case| dense::not_finite(case.kernels.$kernel, ($activation, $of_others), case);
            })*
        };
    }
    layers! {
        dense_tf32_identity std::convert::identity, std::convert::identity;
        dense_tf32_relu dense::relu, elementwise::relu_of;
        dense_tf32_sigmoid dense::sigmoid, elementwise::sigmoid_of_others;
        dense_tf32x3_identity std::convert::identity, std::convert::identity;
        dense_tf32x3_relu dense::relu, elementwise::relu_of;
        dense_tf32x3_sigmoid dense::sigmoid, elementwise::sigmoid_of_others;
        dense_wgmma_identity std::convert::identity, std::convert::identity;
        dense_wgmma_relu dense::relu, elementwise::relu_of;
        dense_wgmma_sigmoid dense::sigmoid, elementwise::sigmoid_of_others;
        dense_bf16_identity std::convert::identity, std::convert::identity;
        dense_bf16_relu dense::relu, elementwise::relu_of;
        dense_bf16_sigmoid dense::sigmoid, elementwise::sigmoid_of_others;
    }
    |_| Ok(())
}

/// All (m, n) with m from `rows` and n from `columns`, but not m = n.
fn shapes(rows: &[usize], columns: &[usize]) -> Vec<Shape> {
    let all = rows.iter().flat_map(|&m| columns.iter().map(move |&n| [m, n, 1]));
    all.filter(|[m, n, _]| m != n).collect()
}
