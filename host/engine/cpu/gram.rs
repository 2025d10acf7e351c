//! AᵀA in `f64`, of rows that are handed in one after another: A need not be anywhere as a whole.

use std::ops::Range;

use gemm::Parallelism;
use rayon::prelude::*;

use crate::Result;
use crate::engine::HostMatrix;
use crate::engine::matrix::reserve;

/// Rows of a block: with a tile's columns they fit into a core's cache.
const BLOCK: usize = 256;
/// Sides of the tiles that AᵀA is made of.
const TILE: usize = 128;
/// Pieces of work at a time, unless one group has more: enough for the threads of most machines, and little memory.
const PIECES: usize = 16;
/// Rows that one thread fills at a time.
const FILLED: usize = 16;

/// A square part of AᵀA on or above the diagonal.
struct Tile {
    rows: Range<usize>,
    columns: Range<usize>,
    sum: HostMatrix<f64>,
}

/// AᵀA (n × n) of the rows so far.
///
/// Sums are in `f64`, |error| ≤ γ_m |Aᵀ||A| with u = 2⁻⁵³. How they are divided depends on the numbers of rows and columns
/// alone: the bits depend neither on the number of threads nor on how many rows are handed in at a time. There are, for each
/// group, a block of rows and tiles that are a little more than half of AᵀA: 16 groups for n up to 128, one from 385 on;
/// and AᵀA itself once the rows are no longer needed.
pub(crate) struct Gram {
    /// Rows that have not been added yet (a block for each group).
    rows: HostMatrix<f64>,
    /// How many.
    waiting: usize,
    /// Each with a sum of its own, of every so manieth block.
    groups: Vec<Vec<Tile>>,
}

impl Gram {
    /// That of no rows of `columns` numbers.
    ///
    /// # Errors
    /// There is no memory.
    pub(crate) fn new(columns: usize) -> Result<Self> {
        // What will be the largest: that there is no room for it is better known now than after all rows.
        drop(reserve::<f64>("AᵀA", columns, columns)?);
        let starts = || (0..columns).step_by(TILE);
        let pairs: Vec<(usize, usize)> =
            starts().flat_map(|i| starts().filter(move |&j| j >= i).map(move |j| (i, j))).collect();
        let tile = |&(i, j): &(usize, usize)| {
            let (rows, columns) = (i..columns.min(i + TILE), j..columns.min(j + TILE));
            let sum = HostMatrix::filled("AᵀA", rows.len(), columns.len(), 0.0)?;
            Ok(Tile { rows, columns, sum })
        };
        let count = (PIECES / pairs.len().max(1)).max(1);
        let rows = HostMatrix::filled("AᵀA", count * BLOCK, columns, 0.0)?;
        let groups = (0..count).map(|_| pairs.iter().map(tile).collect()).collect::<Result<_>>()?;
        Ok(Gram { rows, waiting: 0, groups })
    }

    /// Adds `count` rows, which `fill` writes, one after the other: those of the range that it is given, counted from the
    /// first of this call.
    pub(crate) fn add(&mut self, count: usize, fill: impl Fn(Range<usize>, &mut [f64]) + Sync) {
        let n = self.rows.columns;
        let mut done = 0;
        while done < count && n > 0 {
            let taken = (count - done).min(self.rows.rows - self.waiting);
            let room = &mut self.rows.values[self.waiting * n..][..taken * n];
            room.par_chunks_mut(FILLED * n).enumerate().for_each(|(at, part)| {
                let first = done + FILLED * at;
                fill(first..first + part.len() / n, part);
            });
            (self.waiting, done) = (self.waiting + taken, done + taken);
            if self.waiting == self.rows.rows {
                self.add_waiting();
            }
        }
    }

    /// Adds the rows that wait, each block to its group.
    fn add_waiting(&mut self) {
        let (n, waiting) = (self.rows.columns, std::mem::take(&mut self.waiting));
        let rows = &self.rows.values[..waiting * n];
        let blocks = rows.par_chunks(BLOCK * n.max(1)).zip(&mut self.groups);
        blocks.for_each(|(block, tiles)| tiles.par_iter_mut().for_each(|tile| add_products(tile, block, n)));
    }

    /// The upper triangle, with zeros below it.
    ///
    /// # Errors
    /// There is no memory.
    pub(crate) fn finish(mut self) -> Result<HostMatrix<f64>> {
        self.add_waiting();
        let Gram { rows, groups, .. } = self;
        let n = rows.columns;
        drop(rows);
        let mut whole = HostMatrix::filled("AᵀA", n, n, 0.0)?;
        // Group after group, so that the order of additions is always the same.
        for tile in groups.iter().flatten() {
            for (at, i) in tile.rows.clone().enumerate() {
                let to = &mut whole.values[i * n..][tile.columns.clone()];
                // A tile on the diagonal has both triangles.
                let below = i.saturating_sub(tile.columns.start);
                to.iter_mut().zip(tile.sum.row(at)).skip(below).for_each(|(to, sum)| *to += sum);
            }
        }
        Ok(whole)
    }
}

/// Adds the tile's part of BᵀB for the block B of rows of n numbers.
fn add_products(tile: &mut Tile, block: &[f64], n: usize) {
    let rows = block.len() / n;
    let (i, j) = (tile.rows.len(), tile.columns.len());
    assert!(tile.rows.end <= n && tile.columns.end <= n && tile.sum.shape() == (i, j));
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
            block.as_ptr().add(tile.rows.start),
            n as isize,
            1,
            block.as_ptr().add(tile.columns.start),
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
    fn small_integers_are_exact_at_every_size_however_many_threads_and_rows_at_a_time() {
        for (m, n) in
            [(0, 3), (1, 1), (5, 0), (3, 7), (255, 2), (257, 5), (20_000, 3), (2500, 257), (70, 513)]
        {
            let a = |i: usize, j: usize| ((i * 7 + j * 13 + i * j) % 17) as f64 - 8.0;
            for (threads, at_a_time) in [(1, m), (2, 1000), (3, 1)] {
                let mut gram = Gram::new(n).unwrap();
                let mut add = |first: usize, count: usize| {
                    gram.add(count, |rows, part| {
                        assert_eq!(part.len(), rows.len() * n);
                        for (at, i) in rows.enumerate() {
                            (0..n).for_each(|j| part[at * n + j] = a(first + i, j));
                        }
                    });
                };
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| {
                    for first in (0..m).step_by(at_a_time.max(1)) {
                        add(first, at_a_time.min(m - first));
                    }
                });
                let got = pool.install(|| gram.finish()).unwrap();
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
        let refused = Gram::new(1 << 40).err().unwrap().to_string();
        assert!(refused.contains("AᵀA"), "{refused}");
    }
}
