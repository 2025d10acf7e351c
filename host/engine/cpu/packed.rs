//! start + op(A) op(B) for processors with AVX2 and no AVX-512: op(A) is packed once, by all threads, and each task packs
//! the columns of op(B) that it needs.
//!
//! The `gemm` crate packs both again for each of its calls, which are a tile of C each: see benches/NOTES.md for what that
//! is in figures. A tile in registers is 6 × 16: twelve sums, two vectors of B and one number of A at a time. For 384 of k
//! the panel of B that it multiplies by stays in the first cache, and a block of A's panels in the second. After Goto and
//! van de Geijn, "Anatomy of high-performance matrix multiplication" (2008).

use std::cell::Cell;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::multiply::{Operand, Output, Start};
use super::passes::RowMap;
use super::simd::{LINE, prefetch};
use crate::engine::matrix::Aligned;

/// Rows of a tile in registers, and of a panel of op(A).
const ROWS: usize = 6;
/// Columns of a tile in registers, and of a panel of op(B).
const COLUMNS: usize = 16;
/// Of k, in a panel: one of op(B) has 24 KiB.
const DEPTH: usize = 384;
/// Of k, that are multiplied before the next of A are fetched.
const UNROLLED: usize = 8;
/// Of k, that A is fetched ahead.
const AHEAD: usize = 128;
/// Columns of C in a task, at most.
const WIDE: usize = 4 * COLUMNS;
/// Rows whose panels of op(A) stay in the second cache, 144 KiB, while all of the task's panels of op(B) are multiplied by them.
const TALL: usize = 16 * ROWS;
/// Rows of op(A) that are packed at a time, at most.
const BLOCK: usize = 24 * TALL;
/// Numbers of op(A) that are packed at a time, at most: 8 MiB.
const PACKED: usize = 1 << 21;
const _: () = assert!(BLOCK * DEPTH <= PACKED, "there is room for a block");

/// Room for op(A), kept from one product to the next: the system clears fresh memory page by page, which takes as long as a
/// small product.
static ROOM: Mutex<Option<Aligned<f32>>> = Mutex::new(None);

thread_local! {
    /// Room for a task's columns of op(B), kept as well.
    static STRIP: Cell<Option<Aligned<f32>>> = const { Cell::new(None) };
}

/// The sums of a tile; the first COLUMNS / S::F32_LANES of each row are used.
type Sums<S> = [[<S as Simd>::f32s; COLUMNS]; ROWS];

/// Adds the products of one column of op(A) and one row of op(B).
#[inline(always)]
fn add_products<S: Simd>(simd: S, sums: &mut Sums<S>, a: &[f32; ROWS], b: &[f32; COLUMNS]) {
    let (b, _) = S::as_simd_f32s(b);
    for r in 0..ROWS {
        let a = simd.splat_f32s(a[r]);
        for v in 0..const { COLUMNS / S::F32_LANES } {
            sums[r][v] = simd.mul_add_e_f32s(a, b[v], sums[r][v]);
        }
    }
}

/// The product of two panels.
#[inline(always)]
fn multiply_panels<S: Simd>(simd: S, a: &[f32], b: &[f32]) -> Sums<S> {
    let mut sums = [[simd.splat_f32s(0.0); COLUMNS]; ROWS];
    let (a, a_rest) = a.as_chunks::<ROWS>().0.as_chunks::<UNROLLED>();
    let (b, b_rest) = b.as_chunks::<COLUMNS>().0.as_chunks::<UNROLLED>();
    for (a, b) in a.iter().zip(b) {
        for line in 0..const { UNROLLED * ROWS / LINE } {
            prefetch(a.as_flattened(), AHEAD * ROWS + line * LINE);
        }
        for (a, b) in a.iter().zip(b) {
            add_products(simd, &mut sums, a, b);
        }
    }
    for (a, b) in a_rest.iter().zip(b_rest) {
        add_products(simd, &mut sums, a, b);
    }
    sums
}

/// Packs `lines` of `operand`, and of k the numbers `of_k`, in panels of `SIDE` lines: in a panel follows for each of k one number of
/// each line. Zeros fill the last panel.
fn pack<const SIDE: usize>(
    panels: &mut [f32],
    operand: Operand<'_>,
    lines: Range<usize>,
    of_k: Range<usize>,
) {
    /// Of k, that is fetched ahead where the numbers of a line lie apart, and where they are next to each other.
    const NEXT: [usize; 2] = [24, 4 * LINE];
    let Operand { values, line, step } = operand;
    let size = SIDE * of_k.len();
    if !lines.len().is_multiple_of(SIDE) {
        panels[lines.len() / SIDE * size..].fill(0.0);
    }
    if line == 1 {
        for (place, k) in of_k.enumerate() {
            let first = k * step + lines.start;
            for at in (0..lines.len()).step_by(LINE) {
                prefetch(values, first + NEXT[0] * step + at);
            }
            let (whole, rest) = values[first..][..lines.len()].as_chunks::<SIDE>();
            let mut places =
                panels.chunks_exact_mut(size).map(|panel| &mut panel.as_chunks_mut::<SIDE>().0[place]);
            for (numbers, place) in whole.iter().zip(&mut places) {
                *place = *numbers;
            }
            if let Some(place) = places.next() {
                place[..rest.len()].copy_from_slice(rest);
            }
        }
        return;
    }
    for (panel, first) in panels.chunks_mut(size).zip(lines.clone().step_by(SIDE)) {
        // So many of k at a time that the cache lines that are written stay in the first cache.
        let pieces = panel.as_chunks_mut::<SIDE>().0.chunks_mut(LINE);
        for (places, k) in pieces.zip(of_k.clone().step_by(LINE)) {
            for r in 0..SIDE.min(lines.end - first) {
                let at = (first + r) * line + k;
                prefetch(values, at + NEXT[1]);
                let numbers = &values[at..][..places.len()];
                places.iter_mut().zip(numbers).for_each(|(place, &number)| place[r] = number);
            }
        }
    }
}

/// Rows of op(A) in panels: for [`DEPTH`] of k all panels, then for the next.
struct Panels<'a> {
    packed: &'a [f32],
    /// Those of C, too.
    rows: Range<usize>,
    of_k: Range<usize>,
}

impl<'a> Panels<'a> {
    /// Packs them at the beginning of `room`.
    fn pack(room: &'a mut [f32], a: Operand<'_>, rows: Range<usize>, of_k: Range<usize>) -> Self {
        /// Rows that are worth a task of their own.
        const MANY: usize = 4 * ROWS;
        let padded = rows.len().next_multiple_of(ROWS);
        let packed = &mut room[..padded * of_k.len()];
        packed.par_chunks_mut(padded * DEPTH).enumerate().for_each(|(layer, panels)| {
            let (from, deep) = (of_k.start + layer * DEPTH, panels.len() / padded);
            panels.par_chunks_mut(MANY * deep).enumerate().for_each(|(task, panels)| {
                let first = rows.start + task * MANY;
                pack::<ROWS>(panels, a, first..rows.end.min(first + MANY), from..from + deep);
            });
        });
        Panels { packed, rows, of_k }
    }

    /// The panel of the rows from `row` on, and of k the numbers `of_k`.
    fn panel(&self, row: usize, of_k: &Range<usize>) -> &[f32] {
        let padded = self.rows.len().next_multiple_of(ROWS);
        let layer = &self.packed[padded * (of_k.start - self.of_k.start)..];
        &layer[(row - self.rows.start) * of_k.len()..][..ROWS * of_k.len()]
    }
}

/// A task: a part of C.
struct Part<'a, M> {
    c: Output,
    a: &'a Panels<'a>,
    b: Operand<'a>,
    rows: Range<usize>,
    columns: Range<usize>,
    /// What C's rows are before the first of k.
    start: Start<'a>,
    /// What is done to them after the last, k − 1.
    map: M,
    k: usize,
}

impl<M: RowMap> WithSimd for Part<'_, M> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Part { c, a, b, rows, columns, start, map, k } = self;
        // Blocks of about the same size.
        let tall = rows.len().div_ceil(rows.len().div_ceil(TALL)).next_multiple_of(ROWS);
        let mut strip = STRIP.take().unwrap_or_else(|| Aligned::zeros(WIDE * DEPTH));
        for from in a.of_k.clone().step_by(DEPTH) {
            let of_k = from..a.of_k.end.min(from + DEPTH);
            let panels = &mut strip[..columns.len().next_multiple_of(COLUMNS) * of_k.len()];
            pack::<COLUMNS>(panels, b, columns.clone(), of_k.clone());
            for block in rows.clone().step_by(tall) {
                let block = block..rows.end.min(block + tall);
                if of_k.start == 0 {
                    for i in block.clone() {
                        // SAFETY: the task's part of C, which no other uses.
                        unsafe { c.start(i, columns.start, columns.len(), start) };
                    }
                }
                for (j, b) in columns.clone().step_by(COLUMNS).zip(panels.chunks(COLUMNS * of_k.len())) {
                    let count = COLUMNS.min(columns.end - j);
                    for i in block.clone().step_by(ROWS) {
                        let high = ROWS.min(block.end - i);
                        for r in 0..high {
                            // SAFETY: as above, and written to above or by an earlier task.
                            prefetch(unsafe { c.row(i + r, j, count) }, 0);
                        }
                        let sums = multiply_panels(simd, a.panel(i, &of_k), b);
                        for (r, sums) in sums.iter().enumerate().take(high) {
                            // SAFETY: as above.
                            add_sums(simd, unsafe { c.row(i + r, j, count) }, sums);
                        }
                    }
                }
                if of_k.end == k {
                    for i in block {
                        // SAFETY: as above.
                        map.apply(unsafe { c.row(i, columns.start, columns.len()) });
                    }
                }
            }
        }
        STRIP.set(Some(strip));
    }
}

/// Adds a row of a tile to one of C, of at most [`COLUMNS`].
#[inline(always)]
fn add_sums<S: Simd>(simd: S, row: &mut [f32], sums: &[S::f32s; COLUMNS]) {
    if row.len() == COLUMNS {
        let (row, _) = S::as_mut_simd_f32s(row);
        for v in 0..const { COLUMNS / S::F32_LANES } {
            row[v] = simd.add_f32s(row[v], sums[v]);
        }
    } else {
        let mut line = [0.0; COLUMNS];
        let (vectors, _) = S::as_mut_simd_f32s(&mut line);
        vectors.copy_from_slice(&sums[..const { COLUMNS / S::F32_LANES }]);
        row.iter_mut().zip(line).for_each(|(c, sum)| *c += sum);
    }
}

/// C (m × n) := `map` of start + op(A) op(B), with k numbers a line of either. Each number of C is summed over [`DEPTH`] of k at a
/// time, whatever m, n and the number of threads are.
///
/// # Safety
/// `c` is of an m × n matrix that nothing else uses; m, n and k are not 0.
pub(super) unsafe fn multiply<S: Simd>(
    simd: S,
    c: Output,
    [m, n, k]: [usize; 3],
    a: Operand<'_>,
    b: Operand<'_>,
    start: Start<'_>,
    map: impl RowMap,
) {
    // Blocks of about the same size.
    let most = m.div_ceil(m.div_ceil(BLOCK)).next_multiple_of(TALL).min(m.next_multiple_of(ROWS));
    let depth = (PACKED / most / DEPTH * DEPTH).min(k);
    let kept = ROOM.lock().unwrap_or_else(PoisonError::into_inner).take();
    let mut room =
        kept.filter(|room| room.len() >= most * depth).unwrap_or_else(|| Aligned::zeros(most * depth));
    for first in (0..m).step_by(most) {
        let rows = first..m.min(first + most);
        let [tall, wide] = part([rows.len(), n]);
        let across = n.div_ceil(wide);
        for from in (0..k).step_by(depth) {
            let of_k = from..k.min(from + depth);
            let a = Panels::pack(&mut room, a, rows.clone(), of_k);
            let (parts, next) = (rows.len().div_ceil(tall) * across, AtomicUsize::new(0));
            // Parts do not overlap, and the next of k are added when all have been computed. Who has computed one takes the next,
            // so that a thread that begins late has fewer.
            let threads = rayon::current_num_threads().min(parts);
            (0..threads).into_par_iter().with_max_len(1).for_each(|_| {
                let taken = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
                for part in taken.take_while(|&part| part < parts) {
                    let [i, j] = [rows.start + part / across * tall, part % across * wide];
                    let (rows, columns) = (i..rows.end.min(i + tall), j..n.min(j + wide));
                    simd.vectorize(Part { c, a: &a, b, rows, columns, start, map, k });
                }
            });
        }
    }
    *ROOM.lock().unwrap_or_else(PoisonError::into_inner) = Some(room);
}

/// Rows and columns of a task: as large as leaves enough of them for the threads. The bits do not depend on it.
fn part([rows, columns]: [usize; 2]) -> [usize; 2] {
    /// Rows that are worth packing columns of op(B) for once more.
    const LEAST: usize = 2 * TALL;
    let enough = 4 * rayon::current_num_threads();
    let mut wide = WIDE;
    let down = enough.div_ceil(columns.div_ceil(wide)).min(rows / LEAST).max(1);
    while wide > COLUMNS && down * columns.div_ceil(wide) < enough {
        wide /= 2;
    }
    [rows.div_ceil(down).next_multiple_of(ROWS), wide]
}

/// Whether a product is so large, and no side so small, that packing pays.
pub(super) fn is_worth_it([m, n, k]: [usize; 3]) -> bool {
    /// Products of two numbers.
    const WORK: usize = 1 << 25;
    m >= 8 * ROWS && n >= 3 * WIDE && k >= 16 && m.saturating_mul(n).saturating_mul(k) >= WORK
}

#[cfg(test)]
mod tests {
    use super::super::Matrix;
    use super::*;
    use crate::engine::Layout;

    #[derive(Clone, Copy)]
    struct Doubled;

    impl RowMap for Doubled {
        #[inline(always)]
        fn apply(self, row: &mut [f32]) {
            row.iter_mut().for_each(|value| *value *= 2.0);
        }
    }

    fn matrix(rows: usize, columns: usize, seed: usize) -> Matrix {
        let values: Vec<f32> =
            (0..rows * columns).map(|i| ((i * 7 + i / 5 + seed) % 5) as f32 - 2.0).collect();
        Matrix::upload(rows, columns, &values, |value| value).unwrap()
    }

    fn computed(simd: impl Simd, start: Start<'_>, a: (&Matrix, Layout), b: (&Matrix, Layout)) -> Matrix {
        let ((m, k), (_, n)) = (a.1.of(a.0.shape()), b.1.of(b.0.shape()));
        let (a, b) = (Operand::rows(a.0, a.1), Operand::columns(b.0, b.1));
        // SAFETY: C is m × n, this function's own, and all of it is written to.
        let c = unsafe {
            Matrix::written("test", m, n, |c| {
                multiply(simd, Output::new(c, n), [m, n, k], a, b, start, Doubled);
            })
        };
        c.unwrap()
    }

    /// Sums of integers so small that they are exact, by each instruction set that this machine has: tiles that end within
    /// panels, several of k, several blocks of rows and of columns, and more of k than is packed at a time.
    #[test]
    fn products_of_small_integers_are_exact() {
        for [m, n, k] in [
            [1, 1, 1],
            [6, 16, 256],
            [7, 17, 257],
            [64, 100, 600],
            [97, 257, 33],
            [BLOCK + 1, 33, 20],
            [13, 700, DEPTH + 1],
            [13, 70, 2 * DEPTH],
            [13, 700, 2 * DEPTH + 1],
            [BLOCK + 1, 5, 3 * DEPTH + 1],
        ] {
            for layouts in [Layout::Plain, Layout::Transposed]
                .map(|a| [Layout::Plain, Layout::Transposed].map(|b| (a, b)))
                .concat()
            {
                let ((a_rows, a_columns), (b_rows, b_columns)) = (layouts.0.of((m, k)), layouts.1.of((k, n)));
                let (a, b, bias) =
                    (matrix(a_rows, a_columns, 1), matrix(b_rows, b_columns, 2), matrix(1, n, 3));
                let at = |matrix: &Matrix, layout, i: usize, j: usize| match layout {
                    Layout::Plain => matrix.row(i)[j],
                    Layout::Transposed => matrix.row(j)[i],
                };
                let (start, given) = (Start::Row(bias.row(0)), ((&a, layouts.0), (&b, layouts.1)));
                let mut all = vec![computed(pulp::Scalar::new(), start, given.0, given.1)];
                all.extend(pulp::x86::V3::try_new().map(|simd| computed(simd, start, given.0, given.1)));
                all.extend(pulp::x86::V4::try_new().map(|simd| computed(simd, start, given.0, given.1)));
                for i in 0..m {
                    for j in 0..n {
                        let product: f32 =
                            (0..k).map(|p| at(&a, layouts.0, i, p) * at(&b, layouts.1, p, j)).sum();
                        let expected = 2.0 * (bias.row(0)[j] + product);
                        for c in &all {
                            assert_eq!(c.row(i)[j], expected, "{m} × {n} × {k}, {layouts:?}: {i}, {j}");
                        }
                    }
                }
            }
        }
    }
}
