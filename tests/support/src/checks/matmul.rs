use std::ops::Range;

use cuda_std::{Device, Global, GlobalMut, Kernel};
use kernels::matmul::{
    bf16, naive, pipelined, register_tiled, split_k, tensor_core, tf32x3, tiled, vectorised, warp_tiled,
    wgmma,
};
use kernels::reduce::strided;
use rayon::prelude::*;

use super::{Case, Shape};
use crate::{Data, Expected, Failure, Kernels, Rig, Source, Tally, UNIT_ROUNDOFF, sums};

/// The grid for an m × n product.
type Grid = fn(usize, usize) -> [u32; 3];

type Product = Kernel<(u32, u32, u32, Global<f32>, Global<f32>, GlobalMut<f32>)>;

/// Around the edges of a block of the naive kernels, and six by seed.
pub fn naive_shapes(source: &mut Source) -> Vec<Shape> {
    let (rows, columns) = (naive::TILE_ROWS as usize, naive::TILE_COLUMNS as usize);
    let m = [0, 1, rows - 1, rows, rows + 1];
    let n = [0, 1, columns - 1, columns, columns + 1];
    shapes(source, m, n, [0, 1, 2, 5, 40])
}

/// Around the edges of a tile in all three sizes.
pub fn tile_shapes(source: &mut Source) -> Vec<Shape> {
    let tile = tiled::TILE as usize;
    let edges = [0, 1, tile - 1, tile, tile + 1];
    shapes(source, edges, edges, edges)
}

/// Around the edges of a tile of 128 × 128.
pub fn large_shapes(source: &mut Source) -> Vec<Shape> {
    edges(source, warp_tiled::TILE, register_tiled::TILE_K)
}

/// Around the edges of a tile of the tensor cores' rungs.
pub fn tensor_core_shapes(source: &mut Source) -> Vec<Shape> {
    edges(source, tensor_core::TILE, tensor_core::TILE_K)
}

/// Around the edges of a tile of a warpgroup's products; and several tiles along k where both sides of C are multiples of 4.
pub fn wgmma_shapes(source: &mut Source) -> Vec<Shape> {
    let (tile, step) = (wgmma::TILE, wgmma::TILE_K);
    let mut shapes = edges(source, tile, step);
    shapes.extend([[tile + 4, tile, 5 * step], [tile, tile + 4, 3 * step + 1]]);
    shapes
}

/// Around the edges of a tile of split-K, the longest along k again so that each of several splits uses each slot again.
pub fn split_k_shapes(source: &mut Source) -> Vec<Shape> {
    let step = register_tiled::TILE_K;
    let mut shapes = edges(source, split_k::TILE, step);
    let long = shapes.iter().filter(|[_, _, k]| *k >= step).map(|[m, n, k]| [*m, *n, MOST_SPLITS * k]);
    shapes.extend(long.collect::<Vec<_>>());
    shapes
}

/// Around the edges of a tile, with steps of `step` along k: each side at each of its edges three times, with others of
/// the other two. Rows of a multiple of 4 and others, for loads of four values; steps enough to use each slot for tiles
/// again. Four by seed.
fn edges(source: &mut Source, tile: usize, step: usize) -> Vec<Shape> {
    let sides = [0, 1, tile - 1, tile, tile + 1, tile + 4];
    let depths = [0, 1, step - 1, 5 * step, step + 1, step + 4];
    let mut shapes = Vec::new();
    for (n, k) in [(1, 2), (2, 5), (5, 3)] {
        shapes.extend((0..6).map(|m| [sides[m], sides[(m + n) % 6], depths[(m + k) % 6]]));
    }
    let most = tile + 22;
    shapes
        .extend((0..4).map(|_| [source.size(2, most), source.size(2, most), source.size(2, 15 * step / 2)]));
    shapes
}

/// [m, n, splits] around the edges of a block that adds up the splits.
pub fn finish_shapes(source: &mut Source) -> Vec<Shape> {
    let (rows, columns) = (split_k::FINISH_ROWS as usize, split_k::FINISH_COLUMNS as usize);
    let m = [0, 1, rows - 1, rows, rows + 1];
    let n = [0, 1, columns - 1, columns, columns + 1];
    shapes(source, m, n, [0, 1, strided::LOADS, strided::LOADS + 2, 11])
}

/// All [m, n, k] of these sizes that are pairwise distinct, and six by seed.
fn shapes(source: &mut Source, m: [usize; 5], n: [usize; 5], k: [usize; 5]) -> Vec<Shape> {
    let mut shapes = Vec::new();
    for m in m {
        for n in n.into_iter().filter(|&n| n != m) {
            shapes.extend(k.into_iter().filter(|&k| k != m && k != n).map(|k| [m, n, k]));
        }
    }
    shapes.extend((0..6).map(|_| [source.size(2, 80), source.size(2, 80), source.size(2, 200)]));
    shapes
}

/// So many splits at most.
const MOST_SPLITS: usize = 5;

/// Multiply-adds of a reference: of a product with more, only some elements are computed.
const MOST_PRODUCTS: usize = 1 << 26;

/// Whether element `index` is computed where one in `one_in` is: never by rows or columns, always the same.
fn is_chosen(index: usize, one_in: usize) -> bool {
    let scattered = (index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    scattered.is_multiple_of(one_in as u64)
}

/// Σ and Σ|·| of the products behind each element of op(A) op(B) over a range of k, row by row.
///
/// Of a product that is too large to compute here, some elements by chance; of the others Σ|·| is infinite, and so is
/// their bound: of them is only asked that they are there.
pub fn reference(
    [m, n, k]: Shape,
    steps: Range<usize>,
    [a_transposed, b_transposed]: [bool; 2],
    a: &[f32],
    b: &[f32],
) -> Vec<(f64, f64)> {
    let one_in = (m * n * steps.len()).div_ceil(MOST_PRODUCTS).max(1);
    let element = |index: usize| {
        if !is_chosen(index, one_in) {
            return (0.0, f64::INFINITY);
        }
        let (row, column) = (index / n, index % n);
        let terms = steps.clone().map(|l| {
            let a = if a_transposed { a[l * m + row] } else { a[row * k + l] };
            let b = if b_transposed { b[column * k + l] } else { b[l * n + column] };
            f64::from(a) * f64::from(b)
        });
        sums(terms)
    };
    (0..m * n).into_par_iter().map(element).collect()
}

/// How far sums of products may be off.
#[derive(Clone, Copy)]
pub struct Accuracy {
    /// By how much of themselves the operands are rounded before.
    rounding: f64,
    /// The roundings of a sum over k.
    depth: fn(usize) -> usize,
}

/// Fused multiply-adds, one after the other.
pub const FP32: Accuracy = Accuracy { rounding: 0.0, depth: |k| k };
/// Operands of 11 bits.
pub const TF32: Accuracy = Accuracy { rounding: tensor_core::ROUNDING, depth: tensor_core::depth };
/// Three products of operands of 11 bits.
pub const TF32X3: Accuracy = Accuracy { rounding: 0.0, depth: tf32x3::depth };
/// The same by warpgroups.
pub const WGMMA: Accuracy = Accuracy { rounding: 0.0, depth: wgmma::depth };
/// Operands of 8 bits.
pub const BF16: Accuracy = Accuracy { rounding: bf16::ROUNDING, depth: bf16::depth };

impl Accuracy {
    /// The reference for a sum of k products, and of `more` terms.
    pub fn expected(self, data: Data, (value, magnitude): (f64, f64), k: usize, more: usize) -> Expected {
        Expected::of_rounded(data, value, magnitude, (self.depth)(k) + more, self.rounding)
    }
}

/// A product from a kernel with the grid of `grid`.
pub fn product<D: Device>(
    kernel: &Product,
    grid: Grid,
    transposed: [bool; 2],
    accuracy: Accuracy,
    case: &mut Case<D>,
    [m, n, k]: Shape,
) -> Result<(), Failure> {
    let &mut Case { rig, data, ref mut source, ref mut tally, .. } = case;
    let (a, b) = (source.numbers(data, m * k), source.numbers(data, k * n));
    let expected: Vec<_> = reference([m, n, k], 0..k, transposed, &a, &b)
        .into_iter()
        .map(|sums| accuracy.expected(data, sums, k, 0))
        .collect();
    let mut c = rig.output(m * n)?;
    let arguments = (m as u32, n as u32, k as u32, &rig.upload(&a)?, &rig.upload(&b)?, &mut c);
    rig.launch(kernel, grid(m, n), arguments)?;
    let place = format_args!("{} m, n, k = {m}, {n}, {k}", kernel.entry());
    tally.compare(&place, &rig.download(&c)?, &expected)
}

/// A product in up to five splits.
pub fn split<D: Device>(
    kernel: &Product,
    transposed: [bool; 2],
    case: &mut Case<D>,
    [m, n, k]: Shape,
) -> Result<(), Failure> {
    let &mut Case { rig, data, ref mut source, ref mut tally, .. } = case;
    let splits = source.size(1, MOST_SPLITS);
    let (a, b) = (source.numbers(data, m * k), source.numbers(data, k * n));
    let depth = split_k::depth(k, splits);
    let mut expected = Vec::new();
    for split in 0..splits {
        let steps = (split * depth).min(k)..((split + 1) * depth).min(k);
        let sums = reference([m, n, k], steps, transposed, &a, &b);
        expected.extend(sums.into_iter().map(|(sum, size)| Expected::rounded(data, sum, size, depth)));
    }
    let mut partials = rig.output(splits * m * n)?;
    let arguments = (m as u32, n as u32, k as u32, &rig.upload(&a)?, &rig.upload(&b)?, &mut partials);
    rig.launch(kernel, split_k::grid(m, n, splits), arguments)?;
    let place = format_args!("{} m, n, k, splits = {m}, {n}, {k}, {splits}", kernel.entry());
    tally.compare(&place, &rig.download(&partials)?, &expected)
}

/// Partial sums (splits × m × n), what they add up to, and with how many roundings.
pub fn partial_sums(
    source: &mut Source,
    data: Data,
    [m, n, splits]: Shape,
) -> (Vec<f32>, Vec<(f64, f64)>, usize) {
    let partials = source.numbers(data, splits * m * n);
    let terms = |element| (0..splits).map(move |split| split * m * n + element);
    let expected = (0..m * n).map(|element| sums(terms(element).map(|i| f64::from(partials[i]))));
    let expected = expected.collect();
    (partials, expected, strided::depth(splits))
}

/// The sum over the splits.
pub fn split_k_finish<D: Device>(case: &mut Case<D>, [m, n, splits]: Shape) -> Result<(), Failure> {
    let &mut Case { rig, kernels, data, ref mut source, ref mut tally } = case;
    let (partials, sums, depth) = partial_sums(source, data, [m, n, splits]);
    let expected: Vec<_> =
        sums.into_iter().map(|(sum, size)| Expected::rounded(data, sum, size, depth)).collect();
    let mut c = rig.output(m * n)?;
    let arguments = (m as u32, n as u32, splits as u32, &rig.upload(&partials)?, &mut c);
    rig.launch(kernels.matmul_split_k_finish, split_k::finish_grid(m, n), arguments)?;
    let place = format_args!("matmul_split_k_finish m, n, splits = {m}, {n}, {splits}");
    tally.compare(&place, &rig.download(&c)?, &expected)
}

/// Rows of A in [`NotFinite`], one value for each of the first of k; small whole numbers after.
const NOT_FINITE: [[f32; 3]; 11] = [
    [f32::INFINITY, 1.0, 2.0],
    [f32::NEG_INFINITY, 1.0, 2.0],
    [f32::INFINITY, f32::NEG_INFINITY, 0.0],
    [f32::NAN, 1.0, 2.0],
    // What a GPU's arithmetic makes, and its negative: rounding them as integers would overflow.
    [f32::from_bits(0x7fff_ffff), 1.0, 2.0],
    [f32::from_bits(0xffff_ffff), 1.0, 2.0],
    // Of these 8 and 11 bits are infinity.
    [f32::MAX, 0.0, 0.0],
    [0.0, -f32::MAX, 0.0],
    [f32::from_bits(0x7f7f_f000), 0.0, -1.0],
    // In the first column their difference, which is 0: what follows is seen.
    [f32::MAX, f32::MAX, 0.0],
    [3.0, 2.0, 1.0],
];

/// Operands that are not finite, or nearly so, and what fused multiply-adds make of them.
pub struct NotFinite {
    /// The sides of the product.
    pub shape: Shape,
    /// op(A), as stored.
    pub a: Vec<f32>,
    /// op(B), as stored.
    pub b: Vec<f32>,
    /// op(A) op(B).
    pub product: Vec<f32>,
}

impl NotFinite {
    /// Those with k so long.
    pub fn of(k: usize, transposed: [bool; 2]) -> NotFinite {
        // Beyond the middle of a tile, so that a lane has such elements in each part of what it has.
        let [m, n] = [NOT_FINITE.len(), 70];
        let a = |row: usize, l: usize| {
            NOT_FINITE[row].get(l).copied().unwrap_or(((5 * row + 3 * l * l) % 11) as f32 - 5.0)
        };
        let b = |l: usize, column: usize| match (l, column % 5) {
            (1, 3) => f32::INFINITY,
            (_, 4) => 0.0,
            _ => [1.0, -1.0, 2.0, 1.0][(l + column) % 4],
        };
        let sum = |row, column| (0..k).fold(0.0, |sum, l| a(row, l).mul_add(b(l, column), sum));
        let stored = |rows: usize, columns: usize, transposed: bool, at: &dyn Fn(usize, usize) -> f32| {
            let index = |i| if transposed { (i % rows, i / rows) } else { (i / columns, i % columns) };
            (0..rows * columns).map(index).map(|(row, column)| at(row, column)).collect::<Vec<_>>()
        };
        NotFinite {
            shape: [m, n, k],
            a: stored(m, k, transposed[0], &a),
            b: stored(k, n, transposed[1], &b),
            product: stored(m, n, false, &sum),
        }
    }

    /// Few enough of k for what is left of a group of multiply-adds, and such groups with and without more behind them.
    pub const DEPTHS: [usize; 3] = [5, 40, 43];
}

/// op(A) op(B) with operands that are not finite, or nearly so: the same as from fused multiply-adds.
pub fn not_finite<D: Device>(
    kernel: &Product,
    transposed: [bool; 2],
    case: &mut Case<D>,
) -> Result<(), Failure> {
    for k in NotFinite::DEPTHS {
        let NotFinite { shape: [m, n, _], a, b, product } = NotFinite::of(k, transposed);
        let mut c = case.rig.output(m * n)?;
        let arguments = (m as u32, n as u32, k as u32, &case.rig.upload(&a)?, &case.rig.upload(&b)?, &mut c);
        case.rig.launch(kernel, tensor_core::grid(m, n), arguments)?;
        for (i, (got, expected)) in case.rig.download(&c)?.into_iter().zip(product).enumerate() {
            if got != expected && !(got.is_nan() && expected.is_nan()) {
                let (name, row, column) = (kernel.entry(), i / n, i % n);
                return Err(format!(
                    "{name} not finite, k = {k}: {row}, {column} is {got:e}, must be {expected:e}"
                ));
            }
        }
    }
    Ok(())
}

/// As [`as_good_as_fp32`], for the rung of one warp after another.
pub fn tf32x3_special<D: Device>(
    kernel: &Product,
    transposed: [bool; 2],
    case: &mut Case<D>,
) -> Result<(), Failure> {
    corrections_first(8, kernel, case)?;
    as_good_as_fp32([tf32x3::LEAST_K, 47], kernel, transposed, case)
}

/// As [`as_good_as_fp32`], for the rung of warpgroups.
pub fn wgmma_special<D: Device>(
    kernel: &Product,
    transposed: [bool; 2],
    case: &mut Case<D>,
) -> Result<(), Failure> {
    corrections_first(wgmma::TILE_K, kernel, case)?;
    as_good_as_fp32([wgmma::LEAST_K, 101], kernel, transposed, case)
}

/// What one sum on the tensor cores takes of k, where it matters that the products of small parts come first.
///
/// All operands are x = x₁ + x₂. With u = 2⁻²⁴: products x₁² have so few bits that none is cut off. What the small ones have made is
/// cut off once, by u, and the sums with them are cut off where they leave the tensor cores, twice for 8 of k and four times
/// for 32: 2u of what they are by then, 6u at most. Products of two small parts, which are left out, are a quarter of u. In the other order the small products would each lose nearly u of the whole
/// sum: 16u for 8 of k, 64u for 32.
fn corrections_first<D: Device>(k: usize, kernel: &Product, case: &mut Case<D>) -> Result<(), Failure> {
    let [m, n] = [20, 12];
    let x = 1.0 + 2.0_f32.powi(-10) + 1007.0 * 2.0_f32.powi(-23);
    let value = k as f64 * f64::from(x) * f64::from(x);
    let expected = vec![Expected { value, bound: 8.0 * UNIT_ROUNDOFF * value }; m * n];
    let [a, b] = [m * k, k * n].map(|length| case.rig.upload(&vec![x; length]));
    let mut c = case.rig.output(m * n)?;
    let arguments = (m as u32, n as u32, k as u32, &a?, &b?, &mut c);
    case.rig.launch(kernel, tensor_core::grid(m, n), arguments)?;
    let place = format_args!("{} of small parts, k = {k}", kernel.entry());
    case.tally.compare(&place, &case.rig.download(&c)?, &expected)
}

/// Three products of 11 bits are as good as one of 24, with operands of very different sizes and near the largest number.
fn as_good_as_fp32<D: Device>(
    depths: [usize; 2],
    kernel: &Product,
    transposed: [bool; 2],
    case: &mut Case<D>,
) -> Result<(), Failure> {
    for k in depths {
        let [m, n] = [20, 12];
        let mut numbers = |length: usize, largest: usize| -> Vec<f32> {
            let mut number = || {
                let exponent = case.source.size(127 - 40, 127 + largest) as u32;
                let exponent = if largest > 0 && exponent.is_multiple_of(16) { 254 } else { exponent };
                let fraction = case.source.size(0, (1 << 24) - 1) as u32;
                f32::from_bits(fraction >> 23 << 31 | exponent << 23 | fraction & 0x7f_ffff)
            };
            (0..length).map(|_| number()).collect()
        };
        // So that a sum of k products of 2¹²⁸ is less than the largest number.
        let scale = (k + 1).next_power_of_two() as f32;
        let a = numbers(m * k, 30);
        let b: Vec<f32> = numbers(k * n, 0).into_iter().map(|b| b / scale).collect();
        let sums = reference([m, n, k], 0..k, transposed, &a, &b);
        let expected: Vec<_> = sums.into_iter().map(|sums| FP32.expected(Data::Reals, sums, k, 0)).collect();
        let mut c = case.rig.output(m * n)?;
        let arguments = (m as u32, n as u32, k as u32, &case.rig.upload(&a)?, &case.rig.upload(&b)?, &mut c);
        case.rig.launch(kernel, tensor_core::grid(m, n), arguments)?;
        let place = format_args!("{} of many sizes m, n, k = {m}, {n}, {k}", kernel.entry());
        case.tally.compare(&place, &case.rig.download(&c)?, &expected)?;
    }
    not_finite(kernel, transposed, case)
}

/// Every rung adds an element's products in the same order: the same bits, on reals too.
///
/// # Errors
/// A rung has other bits than the first, or a wrong result.
pub fn rungs_agree<D: Device>(rig: &Rig<D>, kernels: &Kernels) -> Result<(), Failure> {
    let rungs: [(&Product, Grid); 7] = [
        (kernels.matmul_naive, naive::grid),
        (kernels.matmul_tiled, tiled::grid),
        (kernels.matmul_register_tiled, register_tiled::grid),
        (kernels.matmul_vectorised, vectorised::grid),
        (kernels.matmul_pipelined, pipelined::grid),
        (kernels.matmul_warp_tiled, warp_tiled::grid),
        (kernels.matmul_split_k, |m, n| split_k::grid(m, n, 1)),
    ];
    let mut bits = Vec::new();
    for (kernel, grid) in rungs {
        let (source, tally) = (Source::new(2), Tally::default());
        let mut case = Case { rig, kernels, data: Data::Reals, source, tally };
        for shape in [[130, 68, 41], [67, 131, 100]] {
            product(kernel, grid, [false, false], FP32, &mut case, shape)?;
        }
        bits.push((kernel.entry(), case.tally.digest()));
    }
    match bits.iter().find(|(_, digest)| *digest != bits[0].1) {
        Some((name, _)) => Err(format!("{name} has other bits than {}", bits[0].0)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tally;

    /// Of a product that is too large to be computed, elements that are not are any number, and the others are judged.
    #[test]
    fn of_a_large_product_some_elements_are_judged() {
        let shape = [300, 300, 1000];
        assert!(shape.iter().product::<usize>() > MOST_PRODUCTS);
        for data in Data::ALL {
            let mut source = Source::new(3);
            let (a, b) =
                (source.numbers(data, shape[0] * shape[2]), source.numbers(data, shape[2] * shape[1]));
            let sums = reference(shape, 0..shape[2], [false; 2], &a, &b);
            let right: Vec<f32> = sums.iter().map(|(sum, _)| *sum as f32).collect();
            let is_judged = |(_, magnitude): &(f64, f64)| magnitude.is_finite();
            let judged = sums.iter().filter(|sums| is_judged(sums)).count();
            assert!(judged > right.len() / 3 && judged < right.len() * 2 / 3, "{judged} of {}", right.len());
            for accuracy in [FP32, TF32, TF32X3, WGMMA, BF16] {
                let expected: Vec<_> =
                    sums.iter().map(|&sums| accuracy.expected(data, sums, shape[2], 1)).collect();
                let accepts = |got: &[f32]| Tally::default().compare(&"test", got, &expected).is_ok();
                assert!(accepts(&right), "{data:?}");
                for at in [sums.iter().position(is_judged), sums.iter().position(|sums| !is_judged(sums))] {
                    let mut wrong = right.clone();
                    wrong[at.unwrap()] = f32::NAN;
                    assert!(!accepts(&wrong), "{data:?}: no number at {at:?}");
                    wrong[at.unwrap()] = 1e9;
                    assert_eq!(accepts(&wrong), !is_judged(&sums[at.unwrap()]), "{data:?}: {at:?}");
                }
            }
        }
    }
}
