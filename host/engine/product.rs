//! Which rung of the ladder computes a product: chosen by its shape, the precision and the [sizes](Rungs) from which on each is
//! the fastest on a GPU.
//!
//! All rungs for fp32 but split-K and the tensor cores add an element's products in the same order, so the choice among them does not
//! change a bit (but for the sign of a zero that underflow has left). Whether a product is split, and in how many, is
//! decided by the shape alone. As long as no sizes have been measured, whether tensor cores are used is decided by shape and
//! precision alone as well: results have the same bits on every architecture and on the emulator, but those of tensor cores,
//! which have the same bits on GPUs of one kind only, as how they add is their own.

use cuda_std::{Global, GlobalMut, Kernel};
use kernels::dense;
use kernels::matmul::{bf16, split_k, tensor_core, tf32x3, tiled, warp_tiled, wgmma};

use super::rungs::reaches;
use super::{Activation, Layout, Precision, Rungs};

/// A kernel for a product: m, n, k, A, B, C.
pub(super) type Product = Kernel<(u32, u32, u32, Global<f32>, Global<f32>, GlobalMut<f32>)>;
/// A kernel for a layer: batch, units, inputs, input, weights, bias, out.
pub(super) type Layer = Kernel<(u32, u32, u32, Global<f32>, Global<f32>, Global<f32>, GlobalMut<f32>)>;
/// A kernel that finishes a layer whose product was split: batch, units, splits, partials, bias, out.
pub(super) type LayerFinish = Kernel<(u32, u32, u32, Global<f32>, Global<f32>, GlobalMut<f32>)>;

/// A rung of the ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rung {
    /// Tiles of 32 × 32.
    Tiled,
    /// Tiles of 64 × 64, and so many blocks for each of them.
    SplitK {
        /// Blocks that share a tile's range of k; at least 1.
        splits: usize,
    },
    /// Tiles of 128 × 128.
    WarpTiled,
    /// Tiles of 128 × 128 by the tensor cores.
    TensorCores(Way),
}

/// How the tensor cores multiply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Operands of 11 bits.
    Tf32,
    /// Three products of operands of 11 bits: as good as fp32.
    Tf32x3,
    /// The same by warpgroups, which compute capability 9.0 alone has.
    Wgmma,
    /// Operands of 8 bits.
    Bf16,
}

/// How tensor cores compute a product, if they do.
fn way(rungs: &Rungs, precision: Precision, [m, n, k]: [usize; 3]) -> Option<Way> {
    let tiles = m.div_ceil(tensor_core::TILE) * n.div_ceil(tensor_core::TILE);
    // Over a shorter k three products are not as accurate as fp32.
    let fits = |from, least_k| reaches(tiles, from) && k >= least_k;
    match precision {
        Precision::Fp32 if fits(rungs.wgmma, wgmma::LEAST_K) => Some(Way::Wgmma),
        Precision::Fp32 => fits(rungs.tf32x3, tf32x3::LEAST_K).then_some(Way::Tf32x3),
        Precision::Tf32 => fits(rungs.tensor_cores, 1).then_some(Way::Tf32),
        Precision::Bf16 => fits(rungs.tensor_cores, 1).then_some(Way::Bf16),
    }
}

/// The rung for an m × n product over k.
pub(super) fn rung(rungs: &Rungs, precision: Precision, [m, n, k]: [usize; 3]) -> Rung {
    if let Some(way) = way(rungs, precision, [m, n, k]) {
        return Rung::TensorCores(way);
    }
    let tiles = m.div_ceil(warp_tiled::TILE) * n.div_ceil(warp_tiled::TILE);
    match split_k::splits(m, n, k) {
        1 if reaches(tiles, rungs.warp_tiled) => Rung::WarpTiled,
        1 if !reaches(m.min(n), rungs.split_k) => Rung::Tiled,
        splits => Rung::SplitK { splits },
    }
}

impl Rung {
    /// The kernel for the product.
    pub(super) fn product(self, a: Layout, b: Layout) -> &'static Product {
        let [plain, a_transposed, b_transposed, both] = match self {
            Rung::Tiled => [
                &tiled::MATMUL_TILED,
                &tiled::MATMUL_TILED_TN,
                &tiled::MATMUL_TILED_NT,
                &tiled::MATMUL_TILED_TT,
            ],
            Rung::SplitK { .. } => [
                &split_k::MATMUL_SPLIT_K,
                &split_k::MATMUL_SPLIT_K_TN,
                &split_k::MATMUL_SPLIT_K_NT,
                &split_k::MATMUL_SPLIT_K_TT,
            ],
            Rung::WarpTiled => [
                &warp_tiled::MATMUL_WARP_TILED,
                &warp_tiled::MATMUL_WARP_TILED_TN,
                &warp_tiled::MATMUL_WARP_TILED_NT,
                &warp_tiled::MATMUL_WARP_TILED_TT,
            ],
            Rung::TensorCores(Way::Tf32) => [
                &tensor_core::MATMUL_TF32,
                &tensor_core::MATMUL_TF32_TN,
                &tensor_core::MATMUL_TF32_NT,
                &tensor_core::MATMUL_TF32_TT,
            ],
            Rung::TensorCores(Way::Tf32x3) => [
                &tf32x3::MATMUL_TF32X3,
                &tf32x3::MATMUL_TF32X3_TN,
                &tf32x3::MATMUL_TF32X3_NT,
                &tf32x3::MATMUL_TF32X3_TT,
            ],
            Rung::TensorCores(Way::Wgmma) => [
                &wgmma::MATMUL_WGMMA,
                &wgmma::MATMUL_WGMMA_TN,
                &wgmma::MATMUL_WGMMA_NT,
                &wgmma::MATMUL_WGMMA_TT,
            ],
            Rung::TensorCores(Way::Bf16) => {
                [&bf16::MATMUL_BF16, &bf16::MATMUL_BF16_TN, &bf16::MATMUL_BF16_NT, &bf16::MATMUL_BF16_TT]
            }
        };
        match (a, b) {
            (Layout::Plain, Layout::Plain) => plain,
            (Layout::Transposed, Layout::Plain) => a_transposed,
            (Layout::Plain, Layout::Transposed) => b_transposed,
            (Layout::Transposed, Layout::Transposed) => both,
        }
    }

    /// The grid for the product's kernel.
    pub(super) fn grid(self, m: usize, n: usize) -> [u32; 3] {
        match self {
            Rung::Tiled => tiled::grid(m, n),
            Rung::SplitK { splits } => split_k::grid(m, n, splits),
            Rung::WarpTiled => warp_tiled::grid(m, n),
            Rung::TensorCores(Way::Wgmma) => wgmma::grid(m, n),
            Rung::TensorCores(_) => tensor_core::grid(m, n),
        }
    }

    /// The kernel for a whole layer; none for a rung that finishes it in a second launch.
    pub(super) fn layer(self, activation: Activation) -> Option<&'static Layer> {
        let [identity, relu, sigmoid] = match self {
            Rung::Tiled => {
                [&dense::tiled::DENSE_IDENTITY, &dense::tiled::DENSE_RELU, &dense::tiled::DENSE_SIGMOID]
            }
            Rung::SplitK { .. } => return None,
            Rung::WarpTiled => [
                &dense::warp_tiled::DENSE_WARP_TILED_IDENTITY,
                &dense::warp_tiled::DENSE_WARP_TILED_RELU,
                &dense::warp_tiled::DENSE_WARP_TILED_SIGMOID,
            ],
            Rung::TensorCores(Way::Tf32) => [
                &dense::tensor_core::DENSE_TF32_IDENTITY,
                &dense::tensor_core::DENSE_TF32_RELU,
                &dense::tensor_core::DENSE_TF32_SIGMOID,
            ],
            Rung::TensorCores(Way::Tf32x3) => [
                &dense::tensor_core::DENSE_TF32X3_IDENTITY,
                &dense::tensor_core::DENSE_TF32X3_RELU,
                &dense::tensor_core::DENSE_TF32X3_SIGMOID,
            ],
            Rung::TensorCores(Way::Wgmma) => [
                &dense::wgmma::DENSE_WGMMA_IDENTITY,
                &dense::wgmma::DENSE_WGMMA_RELU,
                &dense::wgmma::DENSE_WGMMA_SIGMOID,
            ],
            Rung::TensorCores(Way::Bf16) => [
                &dense::tensor_core::DENSE_BF16_IDENTITY,
                &dense::tensor_core::DENSE_BF16_RELU,
                &dense::tensor_core::DENSE_BF16_SIGMOID,
            ],
        };
        Some(match activation {
            Activation::Identity => identity,
            Activation::Relu => relu,
            Activation::Sigmoid => sigmoid,
        })
    }
}

/// The kernel that finishes a layer whose product was split.
pub(super) fn layer_finish(activation: Activation) -> &'static LayerFinish {
    match activation {
        Activation::Identity => &dense::split_k::DENSE_SPLIT_K_IDENTITY,
        Activation::Relu => &dense::split_k::DENSE_SPLIT_K_RELU,
        Activation::Sigmoid => &dense::split_k::DENSE_SPLIT_K_SIGMOID,
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;
    use crate::cuda::Version;

    fn everywhere() -> [Rungs; 4] {
        [None, Some(Version::new(8, 0)), Some(Version::new(8, 9)), Some(Version::new(9, 0))]
            .map(Rungs::estimated)
    }

    #[test]
    fn shapes_take_the_rung_that_fills_a_gpu() {
        let [emulator, .., hopper] = everywhere();
        let rung_of = |shape| rung(&hopper, Precision::Fp32, shape);
        assert_eq!(rung_of([4096, 4096, 4096]), Rung::WarpTiled);
        assert_eq!(rung_of([64, 1000, 1000]), Rung::SplitK { splits: 14 });
        assert_eq!(rung_of([700, 700, 60]), Rung::SplitK { splits: 1 });
        assert_eq!(rung_of([5, 7, 60]), Rung::Tiled);
        for (m, n, k) in [(0, 0, 0), (0, 5, 5), (5, 0, 5), (5, 5, 0), (1, usize::MAX >> 40, 1)] {
            assert!(
                rung(&emulator, Precision::Fp32, [m, n, k])
                    .grid(m, n)
                    .iter()
                    .all(|&side| side <= i32::MAX as u32),
                "{m} {n} {k}"
            );
        }
    }

    #[test]
    fn tensor_cores_are_for_callers_who_accept_them_and_products_that_fill_them() {
        for rungs in everywhere() {
            let rung_of = |precision, shape| rung(&rungs, precision, shape);
            assert_eq!(rung_of(Precision::Tf32, [4096, 4096, 4096]), Rung::TensorCores(Way::Tf32));
            assert_eq!(rung_of(Precision::Bf16, [4096, 4096, 4096]), Rung::TensorCores(Way::Bf16));
            // 5 × 4 tiles, and 3 × 6.
            assert_eq!(rung_of(Precision::Tf32, [513, 512, 1]), Rung::TensorCores(Way::Tf32));
            for shape in [[384, 768, 60], [64, 1000, 1000], [5, 7, 60], [0, 5000, 60], [5000, 5000, 0]] {
                let fp32 = rung_of(Precision::Fp32, shape);
                assert!(!matches!(fp32, Rung::TensorCores(_)), "{shape:?}");
                assert_eq!(rung_of(Precision::Tf32, shape), fp32, "{shape:?}");
                assert_eq!(rung_of(Precision::Bf16, shape), fp32, "{shape:?}");
            }
        }
    }

    #[test]
    fn measured_sizes_decide() {
        let [small, large] = [3, 10].map(NonZeroUsize::new);
        let rungs =
            Rungs { split_k: small, warp_tiled: small, tf32x3: small, wgmma: large, ..everywhere()[0] };
        let rung_of = |shape| rung(&rungs, Precision::Fp32, shape);
        assert_eq!(rung_of([2, 100, 100]), Rung::Tiled);
        assert_eq!(rung_of([3, 100, 100]), Rung::SplitK { splits: 1 });
        assert_eq!(rung_of([300, 100, 10]), Rung::WarpTiled, "too short for three products");
        assert_eq!(rung_of([300, 100, 100]), Rung::TensorCores(Way::Tf32x3));
        assert_eq!(rung_of([300, 500, 100]), Rung::TensorCores(Way::Wgmma));
        let none = Rungs { split_k: None, warp_tiled: None, tf32x3: None, wgmma: None, tensor_cores: None };
        for precision in [Precision::Fp32, Precision::Tf32, Precision::Bf16] {
            assert_eq!(rung(&none, precision, [9000, 9000, 100]), Rung::Tiled);
        }
    }

    #[test]
    fn three_products_are_taken_for_fp32_only_where_they_are_as_accurate() {
        let one = NonZeroUsize::new(1);
        let never = Rungs::estimated(None);
        for k in 0..10_000 {
            let way = |rungs| way(&rungs, Precision::Fp32, [1, 1, k]);
            let as_accurate = tf32x3::depth(k) <= k;
            assert_eq!(as_accurate, k >= tf32x3::LEAST_K, "{k}");
            let by_warps = way(Rungs { tf32x3: one, ..never });
            assert_eq!(by_warps, as_accurate.then_some(Way::Tf32x3), "{k}");
            let as_accurate = wgmma::depth(k) <= k;
            assert_eq!(as_accurate, k >= wgmma::LEAST_K, "{k}");
            let by_warpgroups = way(Rungs { wgmma: one, ..never });
            assert_eq!(by_warpgroups, as_accurate.then_some(Way::Wgmma), "{k}");
            assert_eq!(way(Rungs { tf32x3: one, wgmma: one, ..never }), by_warpgroups.or(by_warps), "{k}");
            assert_eq!(way(never), None);
        }
    }

    #[test]
    fn the_architecture_does_not_decide_about_splits() {
        let split = |rung| if let Rung::SplitK { splits } = rung { splits } else { 1 };
        let sides = [1, 31, 33, 64, 65, 130, 700, 1000, 1500, 2000, 8000, 20_000, 100_000];
        for m in sides {
            for n in sides {
                for k in [1, 60, 128, 1000, 5000] {
                    for rungs in everywhere() {
                        let splits = split(rung(&rungs, Precision::Fp32, [m, n, k]));
                        assert_eq!(splits, split_k::splits(m, n, k), "{m} {n} {k}");
                    }
                }
            }
        }
    }

    #[test]
    fn splits_cover_k_and_fill_a_gpu_without_flooding_it() {
        for m in [1, 60, 64, 65, 300, 1000] {
            for n in [1, 64, 100, 1000] {
                for k in [0, 1, 63, 64, 127, 128, 129, 1000, 1001, 100_000] {
                    let splits = split_k::splits(m, n, k);
                    let depth = split_k::depth(k, splits);
                    assert!(splits * depth >= k, "{m} {n} {k}: all of k");
                    assert!((splits - 1) * depth < k.max(1), "{m} {n} {k}: no split without work");
                    let [tiles, blocks, _] = split_k::grid(m, n, splits);
                    assert!(
                        splits == 1 || tiles * blocks <= 264,
                        "{m} {n} {k}: {tiles} tiles, {splits} splits"
                    );
                }
            }
        }
    }
}
