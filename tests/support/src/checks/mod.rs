//! One check a kernel.

mod dense;
mod descent;
mod elementwise;
mod matmul;
mod reduce;

use cuda_std::Device;

use crate::{Data, Failure, Kernels, Rig, Tally};

/// Launches a kernel at many shapes and compares every element of its results with the reference.
pub struct Check<D: Device> {
    /// The kernel's name.
    pub kernel: &'static str,
    /// Whether it uses `ex2.approx`, whose last bits are the GPU's own.
    pub approximate: bool,
    /// The check: of a kernel in the table, on a device, with numbers of one kind.
    pub run: fn(&Rig<D>, &Kernels, Data) -> Result<Tally, Failure>,
}

/// The checks of all kernels.
pub fn all<D: Device>() -> Vec<Check<D>> {
    let mut checks = Vec::new();
    let mut add = |kernel, run| checks.push(Check { kernel, approximate: kernel.ends_with("sigmoid"), run });
    add("multiply", elementwise::multiply);
    add("relu", elementwise::relu);
    add("sigmoid", elementwise::sigmoid);
    add("update", elementwise::update);
    add("standardise", elementwise::standardise);
    add("sum", reduce::sum);
    add("dot", reduce::dot);
    add("column_sums", reduce::column_sums);
    add("column_moments", reduce::column_moments);
    add("column_moments_finish", reduce::column_moments_finish);
    add("matrix_vector", descent::matrix_vector);
    add("linear_error", descent::linear_error);
    add("linear_cost", descent::linear_cost);
    add("gradient", descent::gradient);
    add("gradient_finish", descent::gradient_finish);
    add("matmul_naive", |rig, kernels, data| matmul::naive(rig, kernels.matmul_naive, false, false, data));
    add("matmul_naive_tn", |rig, kernels, data| {
        matmul::naive(rig, kernels.matmul_naive_tn, true, false, data)
    });
    add("matmul_naive_nt", |rig, kernels, data| {
        matmul::naive(rig, kernels.matmul_naive_nt, false, true, data)
    });
    add("matmul_naive_tt", |rig, kernels, data| {
        matmul::naive(rig, kernels.matmul_naive_tt, true, true, data)
    });
    add("matmul_tiled", |rig, kernels, data| matmul::tiled(rig, kernels.matmul_tiled, false, false, data));
    add("matmul_tiled_tn", |rig, kernels, data| {
        matmul::tiled(rig, kernels.matmul_tiled_tn, true, false, data)
    });
    add("matmul_tiled_nt", |rig, kernels, data| {
        matmul::tiled(rig, kernels.matmul_tiled_nt, false, true, data)
    });
    add("matmul_tiled_tt", |rig, kernels, data| {
        matmul::tiled(rig, kernels.matmul_tiled_tt, true, true, data)
    });
    add("dense_identity", |rig, kernels, data| dense::identity(rig, kernels.dense_identity, data));
    add("dense_relu", |rig, kernels, data| dense::relu(rig, kernels.dense_relu, data));
    add("dense_sigmoid", |rig, kernels, data| dense::sigmoid(rig, kernels.dense_sigmoid, data));
    checks
}

/// All (m, n) with m from `rows` and n from `columns`, but not m = n.
fn shapes(rows: &[usize], columns: &[usize]) -> Vec<(usize, usize)> {
    let all = rows.iter().flat_map(|&m| columns.iter().map(move |&n| (m, n)));
    all.filter(|(m, n)| m != n).collect()
}
