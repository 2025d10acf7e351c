//! AᵀA in `f64`, of rows that are handed in one after another: A need not be anywhere as a whole.
//!
//! Both operands of the product are A itself, so it is packed once, in panels of 24 columns: of four times [`ROWS`] on the
//! left, and of whole vectors on the right. In registers are the sums of 6 × 8 products, or of 6 × 24 with AVX-512.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::Result;
use crate::engine::HostMatrix;
use crate::engine::matrix::reserve;

/// Columns of a panel.
const PANEL: usize = 24;
/// Rows that one thread fills at a time: a slab has all their panels, one after the other.
const SLAB: usize = 16;
/// Slabs of a block.
const BLOCK: usize = 16;
/// Slabs over which sums stay in registers: a panel has 24 KiB in them, and stays in the first cache.
const DEPTH: usize = 8;
/// Rows of AᵀA of which the sums are in registers.
const ROWS: usize = 6;
/// Sides of the tiles that AᵀA is made of, in panels.
const TILE: usize = 5;
/// Pieces of work at a time, unless one group has more: enough for the threads of most machines, and little memory.
const PIECES: usize = 16;

/// A square part of AᵀA on or above the diagonal.
struct Tile {
    /// In panels.
    rows: Range<usize>,
    columns: Range<usize>,
    sum: HostMatrix<f64>,
}

/// AᵀA (n × n) of the rows so far.
///
/// Sums are in `f64`, |error| ≤ γ_m |Aᵀ||A| with u = 2⁻⁵³. How they are divided depends on the numbers of rows and columns
/// alone: the bits depend neither on the number of threads nor on how many rows are handed in at a time. There are, for each
/// group, a block of rows and tiles that are a little more than half of AᵀA: 16 groups for n up to 120, one from 361 on;
/// and AᵀA itself once the rows are no longer needed.
pub(crate) struct Gram {
    /// Columns of A.
    columns: usize,
    /// A slab a row: those of a block for each group.
    slabs: HostMatrix<f64>,
    /// Rows of A in them that have not been added yet.
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
        let panels = columns.div_ceil(PANEL);
        let starts = || (0..panels).step_by(TILE);
        let pairs: Vec<(usize, usize)> =
            starts().flat_map(|i| starts().filter(move |&j| j >= i).map(move |j| (i, j))).collect();
        let tile = |&(i, j): &(usize, usize)| {
            let (rows, columns) = (i..panels.min(i + TILE), j..panels.min(j + TILE));
            let sum = HostMatrix::filled("AᵀA", rows.len() * PANEL, columns.len() * PANEL, 0.0)?;
            Ok(Tile { rows, columns, sum })
        };
        let count = (PIECES / pairs.len().max(1)).max(1);
        // An odd number of panels, so that those of one place in several slabs do not share the sets of a cache.
        let slabs = HostMatrix::filled("AᵀA", count * BLOCK, (panels | 1) * PANEL * SLAB, 0.0)?;
        let groups = (0..count).map(|_| pairs.iter().map(tile).collect()).collect::<Result<_>>()?;
        Ok(Gram { columns, slabs, waiting: 0, groups })
    }

    /// Adds `count` rows, which `fill` writes, one after the other: those of the range that it is given, counted from the
    /// first of this call.
    pub(crate) fn add(&mut self, count: usize, fill: impl Fn(Range<usize>, &mut [f64]) + Sync) {
        let (n, size) = (self.columns, self.slabs.columns);
        let mut done = 0;
        while done < count && n > 0 {
            let places = self.waiting..(self.waiting + count - done).min(self.slabs.rows * SLAB);
            let first = places.start / SLAB;
            let slabs = &mut self.slabs.values[first * size..places.end.div_ceil(SLAB) * size];
            slabs.par_chunks_mut(size).enumerate().for_each_init(
                || vec![0.0; SLAB * n],
                |rows, (at, slab)| {
                    let start = (first + at) * SLAB;
                    let here = start.max(places.start)..places.end.min(start + SLAB);
                    let (from, rows) = (done + here.start - places.start, &mut rows[..here.len() * n]);
                    fill(from..from + here.len(), rows);
                    for (row, place) in rows.chunks_exact(n).zip(here.start - start..) {
                        let panels = slab.as_chunks_mut::<PANEL>().0.iter_mut().skip(place).step_by(SLAB);
                        row.chunks(PANEL).zip(panels).for_each(|(numbers, panel)| {
                            panel[..numbers.len()].copy_from_slice(numbers);
                        });
                    }
                },
            );
            (self.waiting, done) = (places.end, done + places.len());
            if self.waiting == self.slabs.rows * SLAB {
                self.add_waiting();
            }
        }
    }

    /// Adds the rows that wait, each block to its group.
    fn add_waiting(&mut self) {
        let (size, waiting) = (self.slabs.columns, std::mem::take(&mut self.waiting));
        let slabs = &mut self.slabs.values[..waiting.div_ceil(SLAB) * size];
        // Rows that the last slab lacks were those of another block.
        for places in slabs[waiting / SLAB * size..].chunks_exact_mut(SLAB * PANEL) {
            places[waiting % SLAB * PANEL..].fill(0.0);
        }
        let blocks = slabs.par_chunks(BLOCK * size.max(1)).zip(&mut self.groups);
        blocks.for_each(|(slabs, tiles)| {
            tiles.par_iter_mut().for_each(|tile| Arch::new().dispatch(Products { tile, slabs, size }));
        });
    }

    /// The upper triangle, with zeros below it.
    ///
    /// # Errors
    /// There is no memory.
    pub(crate) fn finish(mut self) -> Result<HostMatrix<f64>> {
        self.add_waiting();
        let Gram { columns: n, slabs, groups, .. } = self;
        drop(slabs);
        let mut whole = HostMatrix::filled("AᵀA", n, n, 0.0)?;
        // Group after group, so that the order of additions is always the same.
        for Tile { rows, columns, sum } in groups.into_iter().flatten() {
            let [top, left] = [rows.start, columns.start].map(|panel| panel * PANEL);
            for i in top..n.min(rows.end * PANEL) {
                // A tile on the diagonal has sums below it as well.
                let columns = left.max(i)..n.min(columns.end * PANEL);
                let sums = &sum.row(i - top)[columns.start - left..];
                whole.values[i * n..][columns].iter_mut().zip(sums).for_each(|(to, sum)| *to += sum);
            }
        }
        Ok(whole)
    }
}

/// Adds the tile's part of BᵀB for the block B of some slabs.
struct Products<'a> {
    tile: &'a mut Tile,
    slabs: &'a [f64],
    /// Numbers of a slab.
    size: usize,
}

/// Vectors of columns of which the sums are in registers.
const fn vectors<S: Simd>() -> usize {
    if S::F64_LANES == 8 { PANEL / 8 } else { 8 / S::F64_LANES }
}

/// The sums in registers; the first [`vectors`] of each row are used.
type Sums<S> = [[<S as Simd>::f64s; 8]; ROWS];

impl WithSimd for Products<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Products { tile: Tile { rows, columns, sum }, slabs, size } = self;
        let [down, across] = [ROWS, const { vectors::<S>() * S::F64_LANES }];
        let width = sum.columns;
        for slabs in slabs.chunks(DEPTH * size) {
            for (j, right) in columns.clone().flat_map(|j| (0..PANEL / across).map(move |right| (j, right))) {
                for (i, left) in rows.clone().flat_map(|i| (0..PANEL / down).map(move |left| (i, left))) {
                    let [row, column] = [i * PANEL + left * down, j * PANEL + right * across];
                    if row >= column + across {
                        continue; // all below the diagonal
                    }
                    let sums = multiply(simd, slabs, size, (i, left), (j, right));
                    let [row, column] = [row - rows.start * PANEL, column - columns.start * PANEL];
                    for (r, sums) in sums.iter().enumerate() {
                        let (to, _) =
                            S::as_mut_simd_f64s(&mut sum.values[(row + r) * width + column..][..across]);
                        for v in 0..const { vectors::<S>() } {
                            to[v] = simd.add_f64s(to[v], sums[v]);
                        }
                    }
                }
            }
        }
    }
}

/// The products of a part of one panel's columns by a part of another's: of the columns from [`ROWS`] · `left` on, and of the
/// [`vectors`] · `right` on.
#[inline(always)]
fn multiply<S: Simd>(
    simd: S,
    slabs: &[f64],
    size: usize,
    (i, left): (usize, usize),
    (j, right): (usize, usize),
) -> Sums<S> {
    let mut sums = [[simd.splat_f64s(0.0); 8]; ROWS];
    assert!(left < PANEL / ROWS && right < const { PANEL / (vectors::<S>() * S::F64_LANES) });
    for slab in slabs.chunks_exact(size) {
        let [a, b] = [i, j].map(|panel| slab[panel * SLAB * PANEL..][..SLAB * PANEL].as_chunks::<PANEL>().0);
        for (a, b) in a.iter().zip(b) {
            let a = &a.as_chunks::<ROWS>().0[left];
            let b = &S::as_simd_f64s(b).0[right * const { vectors::<S>() }..][..const { vectors::<S>() }];
            for r in 0..ROWS {
                let a = simd.splat_f64s(a[r]);
                for v in 0..const { vectors::<S>() } {
                    sums[r][v] = simd.mul_add_e_f64s(a, b[v], sums[r][v]);
                }
            }
        }
    }
    sums
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
