//! The prebuilt PTX has exactly the kernels of the crate, with the parameters and the blocks of their descriptors.

use std::collections::BTreeMap;
use std::path::Path;

use cuda_builder::Manifest;
use cuda_std::{Kernel, Parameters};
use kernels::{dense, descent, elementwise, matmul, reduce, training};

/// The name and the architecture.
type Key = (String, String);
/// The types of the parameters and the threads of a block.
type Signature = (Vec<String>, Option<[u32; 3]>);

/// The architecture for the kernels of all GPUs.
const OF_ALL: &str = "sm_80";

fn signature<P: Parameters>(kernel: &Kernel<P>) -> (Key, Signature) {
    let parameters = P::PTX_TYPES.iter().map(ToString::to_string).collect();
    let key = (kernel.entry().to_string(), kernel.arch().unwrap_or(OF_ALL).to_string());
    (key, (parameters, Some(kernel.block())))
}

#[test]
fn entries_are_the_descriptors() {
    let descriptors = BTreeMap::from([
        signature(&elementwise::MULTIPLY),
        signature(&elementwise::DIVIDE),
        signature(&elementwise::RELU),
        signature(&elementwise::SIGMOID),
        signature(&elementwise::UPDATE),
        signature(&reduce::sum::SUM),
        signature(&reduce::dot::DOT),
        signature(&reduce::column_sums::COLUMN_SUMS),
        signature(&reduce::column_moments::COLUMN_MOMENTS),
        signature(&reduce::column_moments::COLUMN_MOMENTS_FINISH),
        signature(&descent::matrix_vector::MATRIX_VECTOR),
        signature(&descent::error::SQUARED_ERROR),
        signature(&descent::error::LOG_LOSS),
        signature(&descent::gradient::GRADIENT),
        signature(&descent::fused::SQUARED_ERROR_STEP),
        signature(&descent::fused::SQUARED_ERROR_STEP_NARROW),
        signature(&descent::fused::LOG_LOSS_STEP),
        signature(&descent::fused::LOG_LOSS_STEP_NARROW),
        signature(&descent::finish::DESCENT_FINISH),
        signature(&matmul::naive::MATMUL_NAIVE),
        signature(&matmul::naive::MATMUL_NAIVE_TN),
        signature(&matmul::naive::MATMUL_NAIVE_NT),
        signature(&matmul::naive::MATMUL_NAIVE_TT),
        signature(&matmul::tiled::MATMUL_TILED),
        signature(&matmul::tiled::MATMUL_TILED_TN),
        signature(&matmul::tiled::MATMUL_TILED_NT),
        signature(&matmul::tiled::MATMUL_TILED_TT),
        signature(&matmul::register_tiled::MATMUL_REGISTER_TILED),
        signature(&matmul::vectorised::MATMUL_VECTORISED),
        signature(&matmul::pipelined::MATMUL_PIPELINED),
        signature(&matmul::warp_tiled::MATMUL_WARP_TILED),
        signature(&matmul::warp_tiled::MATMUL_WARP_TILED_TN),
        signature(&matmul::warp_tiled::MATMUL_WARP_TILED_NT),
        signature(&matmul::warp_tiled::MATMUL_WARP_TILED_TT),
        signature(&matmul::tensor_core::MATMUL_TF32),
        signature(&matmul::tensor_core::MATMUL_TF32_TN),
        signature(&matmul::tensor_core::MATMUL_TF32_NT),
        signature(&matmul::tensor_core::MATMUL_TF32_TT),
        signature(&matmul::tf32x3::MATMUL_TF32X3),
        signature(&matmul::tf32x3::MATMUL_TF32X3_TN),
        signature(&matmul::tf32x3::MATMUL_TF32X3_NT),
        signature(&matmul::tf32x3::MATMUL_TF32X3_TT),
        signature(&matmul::wgmma::MATMUL_WGMMA),
        signature(&matmul::wgmma::MATMUL_WGMMA_TN),
        signature(&matmul::wgmma::MATMUL_WGMMA_NT),
        signature(&matmul::wgmma::MATMUL_WGMMA_TT),
        signature(&matmul::bf16::MATMUL_BF16),
        signature(&matmul::bf16::MATMUL_BF16_TN),
        signature(&matmul::bf16::MATMUL_BF16_NT),
        signature(&matmul::bf16::MATMUL_BF16_TT),
        signature(&matmul::split_k::MATMUL_SPLIT_K),
        signature(&matmul::split_k::MATMUL_SPLIT_K_TN),
        signature(&matmul::split_k::MATMUL_SPLIT_K_NT),
        signature(&matmul::split_k::MATMUL_SPLIT_K_TT),
        signature(&matmul::split_k::MATMUL_SPLIT_K_FINISH),
        signature(&dense::tiled::DENSE_IDENTITY),
        signature(&dense::tiled::DENSE_RELU),
        signature(&dense::tiled::DENSE_SIGMOID),
        signature(&dense::warp_tiled::DENSE_WARP_TILED_IDENTITY),
        signature(&dense::warp_tiled::DENSE_WARP_TILED_RELU),
        signature(&dense::warp_tiled::DENSE_WARP_TILED_SIGMOID),
        signature(&dense::tensor_core::DENSE_TF32_IDENTITY),
        signature(&dense::tensor_core::DENSE_TF32_RELU),
        signature(&dense::tensor_core::DENSE_TF32_SIGMOID),
        signature(&dense::tensor_core::DENSE_TF32X3_IDENTITY),
        signature(&dense::tensor_core::DENSE_TF32X3_RELU),
        signature(&dense::tensor_core::DENSE_TF32X3_SIGMOID),
        signature(&dense::wgmma::DENSE_WGMMA_IDENTITY),
        signature(&dense::wgmma::DENSE_WGMMA_RELU),
        signature(&dense::wgmma::DENSE_WGMMA_SIGMOID),
        signature(&dense::tensor_core::DENSE_BF16_IDENTITY),
        signature(&dense::tensor_core::DENSE_BF16_RELU),
        signature(&dense::tensor_core::DENSE_BF16_SIGMOID),
        signature(&dense::split_k::DENSE_SPLIT_K_IDENTITY),
        signature(&dense::split_k::DENSE_SPLIT_K_RELU),
        signature(&dense::split_k::DENSE_SPLIT_K_SIGMOID),
        signature(&dense::network::NETWORK),
        signature(&training::gather::GATHER),
        signature(&training::gather::GATHER_SCALED),
        signature(&training::output_error::OUTPUT_ERROR_IDENTITY),
        signature(&training::output_error::OUTPUT_ERROR_SIGMOID),
        signature(&training::output_error::COST),
        signature(&training::softmax::SOFTMAX),
        signature(&training::softmax::OUTPUT_ERROR_SOFTMAX),
        signature(&training::backward::BACKWARD_RELU),
        signature(&training::backward::BACKWARD_SIGMOID),
        signature(&training::update::UPDATE_DESCENT),
        signature(&training::update::UPDATE_MOMENTUM),
        signature(&training::update::UPDATE_ADAM),
    ]);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels/ptx");
    let manifest = Manifest::read(&folder).unwrap();
    manifest.modules(&folder).unwrap();
    let mut entries = BTreeMap::new();
    for module in manifest.modules {
        for entry in module.entries {
            let key = (entry.name, module.arch.clone());
            entries.insert(key, (entry.parameters, entry.max_threads));
        }
    }
    assert_eq!(entries, descriptors);
}

/// Sums with them would depend on the order in which threads come.
#[test]
fn no_kernel_has_a_floating_point_atomic() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels/ptx");
    let mut modules = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "ptx") {
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(text.contains("fma.rn.f32"), "{}", path.display());
            let mut instructions =
                text.lines().filter(|line| line.contains("atom.") || line.contains("red."));
            let float = instructions
                .find(|line| [".f16", ".bf16", ".f32", ".f64"].iter().any(|of| line.contains(of)));
            assert_eq!(float, None, "{}", path.display());
            modules += 1;
        }
    }
    assert!(modules > 0);
}
