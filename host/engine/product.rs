//! Which rung of the ladder computes a product: chosen by its shape, the precision and the device's architecture.
//!
//! All rungs for fp32 but split-K add an element's products in the same order, so the choice among them does not change a bit (but
//! for the sign of a zero that underflow has left).
//! Whether a product is split, and in how many, is decided by the shape alone: results have the same bits on every
//! architecture and on the emulator.
//!
//! The same holds for the tensor cores: whether they are used is decided by shape and precision alone. How they add is their own,
//! so they have the same bits on GPUs of one kind only. That is one of the reasons why fp32 does not use them
//! yet; the other is that neither their speed nor their error was measured: see [`TF32X3_TILES`].

use cuda_std::{Global, GlobalMut, Kernel};
use kernels::dense;
use kernels::matmul::{bf16, split_k, tensor_core, tf32x3, tiled, warp_tiled, wgmma};

use super::{Activation, Layout, Precision};
use crate::cuda::Version;

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

/// From which sizes on a rung is taken, on one architecture.
struct Row {
    /// The oldest compute capability that the row is for.
    since: Version,
    /// So many tiles of 128 × 128 make the warp-tiled rung the fastest.
    warp_tiled: usize,
    /// A side this long, both of C's, makes split-K faster than the tiled rung.
    split_k: usize,
}

/// Newest architecture first, to be made by `tilegrad bench --device cuda --rungs`. **Not measured**: each figure is an estimate. `warp_tiled` is the number of
/// multiprocessors (A100: 108, H100 and H200: 132), below which some of them would have no tile. `split_k` is half of a
/// tile's side and one: with less, more than half of a tile's columns or rows would be computed for nothing.
const TABLE: [Row; 2] = [
    Row { since: Version::new(9, 0), warp_tiled: 132, split_k: 33 },
    Row { since: Version::new(8, 0), warp_tiled: 108, split_k: 33 },
];

/// With so many tiles of 128 × 128 the tensor cores are the fastest for tf32 and bf16. **Not measured**: an estimate. By
/// their data sheets they compute seven times as fast as fused multiply-adds (H200: 494 TFLOP/s, tf32, to 67), so
/// on 19 of 132 multiprocessors as fast as these on all.
const TENSOR_CORE_TILES: usize = 19;
/// With so many tiles three products of tf32 are the fastest for fp32: by warps, and by warpgroups where there are such. None
/// while that and their error have not been measured on a GPU: the bound on it rests on how tensor cores are thought to add.
const TF32X3_TILES: [Option<usize>; 2] = [None, None];
/// The compute capability that has products of warpgroups.
const HOPPER: Version = Version::new(9, 0);

/// How tensor cores compute a product, if they do.
fn way(
    precision: Precision,
    [by_warps, by_warpgroups]: [Option<usize>; 2],
    [m, n, k]: [usize; 3],
) -> Option<Way> {
    let tiles = m.div_ceil(tensor_core::TILE) * n.div_ceil(tensor_core::TILE);
    let fits = |least_tiles, least_k| tiles >= least_tiles && k >= least_k;
    match precision {
        Precision::Fp32 if by_warpgroups.is_some_and(|least| fits(least, wgmma::LEAST_K)) => Some(Way::Wgmma),
        Precision::Fp32 => by_warps.filter(|&least| fits(least, tf32x3::LEAST_K)).map(|_| Way::Tf32x3),
        Precision::Tf32 => fits(TENSOR_CORE_TILES, 1).then_some(Way::Tf32),
        Precision::Bf16 => fits(TENSOR_CORE_TILES, 1).then_some(Way::Bf16),
    }
}

/// The rung for an m × n product over k on a device of this architecture; the emulator has none, and takes the oldest.
pub(super) fn rung(architecture: Option<Version>, precision: Precision, [m, n, k]: [usize; 3]) -> Rung {
    let [by_warps, by_warpgroups] = TF32X3_TILES;
    let by_warpgroups = by_warpgroups.filter(|_| architecture == Some(HOPPER));
    if let Some(way) = way(precision, [by_warps, by_warpgroups], [m, n, k]) {
        return Rung::TensorCores(way);
    }
    let [.., oldest] = &TABLE;
    let row = TABLE.iter().find(|row| architecture.is_some_and(|ours| ours >= row.since)).unwrap_or(oldest);
    let tiles = m.div_ceil(warp_tiled::TILE) * n.div_ceil(warp_tiled::TILE);
    match split_k::splits(m, n, k) {
        1 if tiles >= row.warp_tiled => Rung::WarpTiled,
        1 if m.min(n) < row.split_k => Rung::Tiled,
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
    use super::*;

    #[test]
    fn shapes_take_the_rung_that_fills_a_gpu() {
        let rung_of = |shape| rung(Some(HOPPER), Precision::Fp32, shape);
        assert_eq!(rung_of([4096, 4096, 4096]), Rung::WarpTiled);
        assert_eq!(rung_of([64, 1000, 1000]), Rung::SplitK { splits: 14 });
        assert_eq!(rung_of([700, 700, 60]), Rung::SplitK { splits: 1 });
        assert_eq!(rung_of([5, 7, 60]), Rung::Tiled);
        for (m, n, k) in [(0, 0, 0), (0, 5, 5), (5, 0, 5), (5, 5, 0), (1, usize::MAX >> 40, 1)] {
            assert!(
                rung(None, Precision::Fp32, [m, n, k]).grid(m, n).iter().all(|&side| side <= i32::MAX as u32),
                "{m} {n} {k}"
            );
        }
    }

    #[test]
    fn tensor_cores_are_for_callers_who_accept_them_and_products_that_fill_them() {
        let everywhere = [None, Some(Version::new(8, 0)), Some(HOPPER)];
        for architecture in everywhere {
            let rung_of = |precision, shape| rung(architecture, precision, shape);
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
    fn three_products_are_taken_for_fp32_only_where_they_are_as_accurate() {
        for k in 0..10_000 {
            let as_accurate = tf32x3::depth(k) <= k;
            assert_eq!(as_accurate, k >= tf32x3::LEAST_K, "{k}");
            let by_warps = way(Precision::Fp32, [Some(1), None], [1, 1, k]);
            assert_eq!(by_warps, as_accurate.then_some(Way::Tf32x3), "{k}");
            let as_accurate = wgmma::depth(k) <= k;
            assert_eq!(as_accurate, k >= wgmma::LEAST_K, "{k}");
            let by_warpgroups = way(Precision::Fp32, [None, Some(1)], [1, 1, k]);
            assert_eq!(by_warpgroups, as_accurate.then_some(Way::Wgmma), "{k}");
            assert_eq!(way(Precision::Fp32, [Some(1); 2], [1, 1, k]), by_warpgroups.or(by_warps), "{k}");
            assert_eq!(way(Precision::Fp32, [None; 2], [10_000, 10_000, k]), None);
        }
    }

    #[test]
    fn the_architecture_does_not_decide_about_splits() {
        let split = |rung| if let Rung::SplitK { splits } = rung { splits } else { 1 };
        let sides = [1, 31, 33, 64, 65, 130, 700, 1000, 1500, 2000, 8000, 20_000, 100_000];
        for m in sides {
            for n in sides {
                for k in [1, 60, 128, 1000, 5000] {
                    let everywhere = [None, Some(Version::new(8, 0)), Some(Version::new(8, 9)), Some(HOPPER)];
                    for architecture in everywhere {
                        let splits = split(rung(architecture, Precision::Fp32, [m, n, k]));
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
