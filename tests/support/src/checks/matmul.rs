use std::ops::Range;

use cuda_std::{Device, Global, GlobalMut, Kernel};
use kernels::matmul::{naive, pipelined, register_tiled, split_k, tiled, vectorised, warp_tiled};
use kernels::reduce::strided;

use super::{Case, Shape};
use crate::{Data, Expected, Failure, Kernels, Rig, Source, Tally, sums};

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
    edges(source, warp_tiled::TILE)
}

/// Around the edges of a tile of split-K.
pub fn split_k_shapes(source: &mut Source) -> Vec<Shape> {
    edges(source, split_k::TILE)
}

/// Around the edges of a tile: each side at each of its edges three times, with others of the other two. Rows of a
/// multiple of 4 and others, for loads of four values; steps enough to use each slot for tiles again. Four by seed.
fn edges(source: &mut Source, tile: usize) -> Vec<Shape> {
    let step = register_tiled::TILE_K;
    let sides = [0, 1, tile - 1, tile, tile + 1, tile + 4];
    let depths = [0, 1, step - 1, 5 * step, step + 1, step + 4];
    let mut shapes = Vec::new();
    for (n, k) in [(1, 2), (2, 5), (5, 3)] {
        shapes.extend((0..6).map(|m| [sides[m], sides[(m + n) % 6], depths[(m + k) % 6]]));
    }
    let most = tile + 22;
    shapes.extend((0..4).map(|_| [source.size(2, most), source.size(2, most), source.size(2, 60)]));
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
    let mut elements = Vec::with_capacity(m * n);
    for row in 0..m {
        for column in 0..n {
            if !is_chosen(row * n + column, one_in) {
                elements.push((0.0, f64::INFINITY));
                continue;
            }
            let terms = steps.clone().map(|l| {
                let a = if a_transposed { a[l * m + row] } else { a[row * k + l] };
                let b = if b_transposed { b[column * k + l] } else { b[l * n + column] };
                f64::from(a) * f64::from(b)
            });
            elements.push(sums(terms));
        }
    }
    elements
}

/// A product from a kernel with the grid of `grid`.
pub fn product<D: Device>(
    kernel: &Product,
    grid: Grid,
    transposed: [bool; 2],
    case: &mut Case<D>,
    [m, n, k]: Shape,
) -> Result<(), Failure> {
    let &mut Case { rig, data, ref mut source, ref mut tally, .. } = case;
    let (a, b) = (source.numbers(data, m * k), source.numbers(data, k * n));
    let expected: Vec<_> = reference([m, n, k], 0..k, transposed, &a, &b)
        .into_iter()
        .map(|(value, magnitude)| Expected::rounded(data, value, magnitude, k))
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
    let splits = source.size(1, 5);
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
            product(kernel, grid, [false, false], &mut case, shape)?;
        }
        bits.push((kernel.entry(), case.tally.digest()));
    }
    match bits.iter().find(|(_, digest)| *digest != bits[0].1) {
        Some((name, _)) => Err(format!("{name} has other bits than {}", bits[0].0)),
        None => Ok(()),
    }
}
