use cuda_std::{Device, Global, GlobalMut, Kernel};
use kernels::matmul::{naive, tiled};

use super::{Case, Shape};
use crate::{Expected, Failure, Source, sums};

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

/// Σ and Σ|·| of the products behind each element of op(A) op(B), row by row.
pub fn reference(
    [m, n, k]: Shape,
    [a_transposed, b_transposed]: [bool; 2],
    a: &[f32],
    b: &[f32],
) -> Vec<(f64, f64)> {
    let mut elements = Vec::with_capacity(m * n);
    for row in 0..m {
        for column in 0..n {
            let terms = (0..k).map(|l| {
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
    grid: fn(usize, usize) -> [u32; 3],
    transposed: [bool; 2],
    case: &mut Case<D>,
    [m, n, k]: Shape,
) -> Result<(), Failure> {
    let &mut Case { rig, data, ref mut source, ref mut tally, .. } = case;
    let (a, b) = (source.numbers(data, m * k), source.numbers(data, k * n));
    let expected: Vec<_> = reference([m, n, k], transposed, &a, &b)
        .into_iter()
        .map(|(value, magnitude)| Expected::rounded(data, value, magnitude, k))
        .collect();
    let mut c = rig.output(m * n)?;
    let arguments = (m as u32, n as u32, k as u32, &rig.upload(&a)?, &rig.upload(&b)?, &mut c);
    rig.launch(kernel, grid(m, n), arguments)?;
    let place = format_args!("{} m, n, k = {m}, {n}, {k}", kernel.entry());
    tally.compare(&place, &rig.download(&c)?, &expected)
}
