//! AᵀA in `f64`, from blocks of rows that are made when they are needed: A need not be anywhere as a whole.

use std::ops::Range;

use gemm::Parallelism;
use rayon::prelude::*;

use crate::Result;
use crate::engine::HostMatrix;

/// Rows of a block: with a tile's columns they fit into a core's cache.
const BLOCK: usize = 256;
/// Sides of the tiles that AᵀA is made of.
const TILE: usize = 256;
/// Pieces of work, at least, where there are so many rows: more than a processor has cores.
const PIECES: usize = 64;

/// A square part of AᵀA on or above the diagonal.
struct Tile {
    rows: Range<usize>,
    columns: Range<usize>,
    sum: HostMatrix<f64>,
}

/// The upper triangle of AᵀA (n × n), with zeros below it, for A m × n. `fill` writes rows of A, one after the other.
///
/// Sums are in `f64`, |error| ≤ γ_m |Aᵀ||A| with u = 2⁻⁵³. How they are divided depends on the shape alone, so the bits
/// do not depend on the number of threads. Beside the result there is one block for each group of rows, and as much
/// again as half the result.
///
/// # Errors
/// There is no memory.
pub(crate) fn gram(
    (m, n): (usize, usize),
    fill: impl Fn(Range<usize>, &mut [f64]) + Sync,
) -> Result<HostMatrix<f64>> {
    let mut whole = HostMatrix::filled("AᵀA", n, n, 0.0)?;
    let starts = || (0..n).step_by(TILE);
    let pairs: Vec<(usize, usize)> =
        starts().flat_map(|i| starts().filter(move |&j| j >= i).map(move |j| (i, j))).collect();
    let blocks = m.div_ceil(BLOCK);
    let groups = PIECES.div_ceil(pairs.len().max(1)).min(blocks).max(1);
    let tiles = |&(i, j): &(usize, usize)| {
        let (rows, columns) = (i..n.min(i + TILE), j..n.min(j + TILE));
        let sum = HostMatrix::filled("AᵀA", rows.len(), columns.len(), 0.0)?;
        Ok(Tile { rows, columns, sum })
    };
    let mut work = Vec::new();
    for _ in 0..groups {
        let block = HostMatrix::filled("AᵀA", BLOCK.min(m), n, 0.0)?;
        work.push((block, pairs.iter().map(tiles).collect::<Result<Vec<Tile>>>()?));
    }
    work.par_iter_mut().enumerate().for_each(|(group, (block, tiles))| {
        for start in (group..blocks).step_by(groups).map(|block| block * BLOCK) {
            let rows = start..m.min(start + BLOCK);
            // A few rows for each thread.
            block.values[..rows.len() * n].par_chunks_mut(16 * n.max(1)).enumerate().for_each(
                |(at, part)| {
                    let first = start + 16 * at;
                    fill(first..first + part.len() / n.max(1), part);
                },
            );
            tiles.par_iter_mut().for_each(|tile| add_products(tile, block, rows.len()));
        }
    });
    // Group after group, so that the order of additions is always the same.
    for tile in work.iter().flat_map(|(_, tiles)| tiles) {
        for (at, i) in tile.rows.clone().enumerate() {
            let to = &mut whole.values[i * n..][tile.columns.clone()];
            // A tile on the diagonal has both triangles.
            let below = i.saturating_sub(tile.columns.start);
            to.iter_mut().zip(tile.sum.row(at)).skip(below).for_each(|(to, sum)| *to += sum);
        }
    }
    Ok(whole)
}

/// Adds the tile's part of BᵀB for the first `rows` rows of the block B.
fn add_products(tile: &mut Tile, block: &HostMatrix<f64>, rows: usize) {
    let n = block.columns;
    let (i, j) = (tile.rows.len(), tile.columns.len());
    assert!(rows <= block.rows && tile.rows.end <= n && tile.columns.end <= n && tile.sum.shape() == (i, j));
    // SAFETY: the left operand is i × rows, its element (a, r) at B's row r and column tile.rows.start + a; the right one
    // is rows × j, its element (r, b) at row r and column tile.columns.start + b. All lie in the block, as was asserted.
    // `sum` holds i × j values and is borrowed mutably, so it overlaps neither; all values are initialised.
    unsafe {
        gemm::gemm(
            i,
            j,
            rows,
            tile.sum.values.as_mut_ptr(),
            1,
            j as isize,
            true,
            block.values.as_ptr().add(tile.rows.start),
            n as isize,
            1,
            block.values.as_ptr().add(tile.columns.start),
            1,
            n as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_integers_are_exact_at_every_size_and_with_any_number_of_threads() {
        for (m, n) in [(0, 3), (1, 1), (5, 0), (3, 7), (255, 2), (257, 5), (20_000, 3), (300, 257), (70, 513)]
        {
            let a = |i: usize, j: usize| ((i * 7 + j * 13 + i * j) % 17) as f64 - 8.0;
            let fill = |rows: Range<usize>, part: &mut [f64]| {
                assert_eq!(part.len(), rows.len() * n);
                for (at, i) in rows.enumerate() {
                    (0..n).for_each(|j| part[at * n + j] = a(i, j));
                }
            };
            for threads in [1, 2, 3] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let got = pool.install(|| gram((m, n), fill)).unwrap();
                for i in 0..n {
                    for j in 0..n {
                        let product = |row| a(row, i) * a(row, j);
                        let expected = if j < i { 0.0 } else { (0..m).map(product).sum() };
                        assert_eq!(got.row(i)[j], expected, "{m} × {n}: {i}, {j}");
                    }
                }
            }
        }
    }

    #[test]
    fn more_than_memory_is_refused() {
        let refused = gram((1, 1 << 40), |_, _| ()).unwrap_err().to_string();
        assert!(refused.contains("AᵀA"), "{refused}");
    }
}
