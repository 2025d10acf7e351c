//! start + op(A) op(B): in tiles, a task each, and each tile by the `gemm` crate on one thread. Larger products on processors with
//! AVX2 and no AVX-512 are those of [`packed`].
//!
//! gemm's own threads share out one product so finely that a small batch gains little from them. Tiles cost packing: an
//! operand's lines are packed again for each tile that needs them, so tiles are as large as leaves enough of them.

use std::mem::MaybeUninit;
use std::slice;

use gemm::Parallelism;
use rayon::prelude::*;

use super::Matrix;
#[cfg(target_arch = "x86_64")]
use super::packed;
use super::passes::{RowMap, map_row};
use crate::Result;
use crate::engine::Layout;

/// Sides of a tile of C at most: its operands' blocks, packed, stay in a core's cache.
const MOST: [usize; 2] = [512, 256];
/// Sides that are halved are not below these.
const LEAST: [usize; 2] = [64, 128];
/// So many tiles are enough for the cores that there may be.
const ENOUGH: usize = 16;
/// Products of two numbers in a tile, at least, where C has more than one: about 20 µs of a core's time.
const WORK: usize = 4_000_000;

/// Rows and columns of C's tiles: a function of the shape alone, so that the bits do not depend on the threads.
fn tile(m: usize, n: usize, k: usize) -> [usize; 2] {
    let sides = [m, n];
    let mut tile = [m.clamp(1, MOST[0]), n.clamp(1, MOST[1])];
    let work = |[rows, columns]: [usize; 2]| rows.saturating_mul(columns).saturating_mul(k);
    while m.div_ceil(tile[0]) * n.div_ceil(tile[1]) < ENOUGH {
        // The longer side, in multiples of what gemm's kernels compute at once.
        let side = usize::from(tile[1] >= tile[0]);
        let mut halved = tile;
        halved[side] = tile[side].div_ceil(2).next_multiple_of(LEAST[side]);
        if halved[side] >= tile[side] || work(halved) < WORK {
            break;
        }
        tile = halved;
    }
    // A tile of a narrow or shallow product may be too small; rows are next to each other, so they are joined first.
    for side in [0, 1] {
        while tile[side] < sides[side] && work(tile) < WORK {
            tile[side] = (2 * tile[side]).min(sides[side]);
        }
    }
    tile
}

/// An operand of the product: rows of op(A), columns of op(B).
#[derive(Clone, Copy)]
pub(super) struct Operand<'a> {
    pub(super) values: &'a [f32],
    /// Elements from one line to the next, and from one of k to the next; one of them is 1.
    pub(super) line: usize,
    pub(super) step: usize,
}

impl<'a> Operand<'a> {
    /// The rows of op(matrix).
    pub(super) fn rows(matrix: &'a Matrix, layout: Layout) -> Self {
        let (line, step) = match layout {
            Layout::Plain => (matrix.columns, 1),
            Layout::Transposed => (1, matrix.columns),
        };
        Operand { values: &matrix.values, line, step }
    }

    /// The columns of op(matrix).
    pub(super) fn columns(matrix: &'a Matrix, layout: Layout) -> Self {
        let Operand { values, line, step } = Operand::rows(matrix, layout);
        Operand { values, line: step, step: line }
    }
}

/// What products are added to.
#[derive(Clone, Copy)]
pub(super) enum Start<'a> {
    Zeros,
    /// To each row of C.
    Row(&'a [f32]),
}

/// C, of which each task writes a part of its own.
#[derive(Clone, Copy)]
pub(super) struct Output {
    first: *mut f32,
    columns: usize,
}

// SAFETY: tasks write parts of C of their own, and C is borrowed as long as there are tasks.
unsafe impl Send for Output {}
// SAFETY: as above.
unsafe impl Sync for Output {}

impl Output {
    /// A matrix of so many columns.
    pub(super) fn new(values: &mut [MaybeUninit<f32>], columns: usize) -> Self {
        Output { first: values.as_mut_ptr().cast(), columns }
    }

    /// Writes to `count` elements of row `i`, from column `j` on, what products are added to.
    ///
    /// # Safety
    /// They lie in C, and nothing else uses them.
    #[inline(always)]
    pub(super) unsafe fn start(self, i: usize, j: usize, count: usize, start: Start<'_>) {
        // SAFETY: what the caller promises.
        let row = unsafe { slice::from_raw_parts_mut(self.at(i, j).cast::<MaybeUninit<f32>>(), count) };
        match start {
            Start::Zeros => row.fill(MaybeUninit::new(0.0)),
            Start::Row(values) => _ = row.write_copy_of_slice(&values[j..][..count]),
        }
    }

    /// `count` elements of row `i`, from column `j` on.
    ///
    /// # Safety
    /// They lie in C, nothing else uses them, and [`Output::start`] wrote them.
    #[inline(always)]
    pub(super) unsafe fn row<'a>(self, i: usize, j: usize, count: usize) -> &'a mut [f32] {
        // SAFETY: what the caller promises.
        unsafe { slice::from_raw_parts_mut(self.at(i, j), count) }
    }

    /// Element (i, j) of C, if it has one.
    #[inline(always)]
    fn at(self, i: usize, j: usize) -> *mut f32 {
        self.first.wrapping_add(i * self.columns + j)
    }
}

/// What a task of gemm's needs to know.
#[derive(Clone, Copy)]
struct Product<'a> {
    a: Operand<'a>,
    b: Operand<'a>,
    c: Output,
    k: usize,
    start: Start<'a>,
}

impl Product<'_> {
    /// Computes the tile of C of `rows` × `columns` from (i, j) on, and applies `map` to its rows.
    ///
    /// # Safety
    /// It lies in C, and no other thread uses it.
    unsafe fn compute(&self, [i, j]: [usize; 2], [rows, columns]: [usize; 2], map: impl RowMap) {
        let Product { a, b, c, k, start } = *self;
        for row in i..i + rows {
            // SAFETY: the row of the caller's tile.
            unsafe { c.start(row, j, columns, start) };
        }
        // SAFETY: the caller's tile lies in C, so its rows are rows of op(A) and its columns are columns of op(B), whose
        // elements lie where the strides say. All values are initialised, and C, borrowed mutably, overlaps no operand.
        unsafe {
            gemm::gemm(
                rows,
                columns,
                k,
                c.at(i, j),
                1,
                c.columns as isize,
                true,
                a.values.as_ptr().wrapping_add(i * a.line),
                a.step as isize,
                a.line as isize,
                b.values.as_ptr().wrapping_add(j * b.line),
                b.line as isize,
                b.step as isize,
                1.0,
                1.0,
                false,
                false,
                false,
                Parallelism::None,
            );
        }
        for row in i..i + rows {
            // SAFETY: as above.
            map_row(unsafe { c.row(row, j, columns) }, map);
        }
    }
}

/// `map` of start + op(A) op(B), applied while a part of it is in the cache. The shapes have been checked. Fails where there is no
/// memory for it, and names `operation`.
pub(super) fn multiply(
    operation: &'static str,
    start: Start<'_>,
    (a, a_layout): (&Matrix, Layout),
    (b, b_layout): (&Matrix, Layout),
    map: impl RowMap,
) -> Result<Matrix> {
    let (m, k) = a_layout.of(a.shape());
    let (inner, n) = b_layout.of(b.shape());
    assert!(inner == k, "the caller has checked the shapes");
    let (a, b) = (Operand::rows(a, a_layout), Operand::columns(b, b_layout));
    // SAFETY: tasks write to all parts of C.
    unsafe { Matrix::written(operation, m, n, |c| write(c, [m, n, k], a, b, start, map)) }
}

/// Writes C (m × n), with k numbers a line of either operand.
fn write(
    c: &mut [MaybeUninit<f32>],
    [m, n, k]: [usize; 3],
    a: Operand<'_>,
    b: Operand<'_>,
    start: Start<'_>,
    map: impl RowMap,
) {
    assert!(c.len() == m * n, "C is m × n");
    let c = Output::new(c, n);
    #[cfg(target_arch = "x86_64")]
    if let Some(simd) = pulp::x86::V3::try_new()
        && pulp::x86::V4::try_new().is_none()
        && packed::is_worth_it([m, n, k])
    {
        // SAFETY: C is m × n, and borrowed mutably until the product has been computed.
        return unsafe { packed::multiply(simd, c, [m, n, k], a, b, start, map) };
    }
    let tile = tile(m, n, k);
    let across = n.div_ceil(tile[1]);
    let product = Product { a, b, c, k, start };
    let compute = |index: usize| {
        let [i, j] = [index / across * tile[0], index % across * tile[1]];
        // SAFETY: the tiles lie in C, and no two overlap; C is borrowed mutably until the last task has ended.
        unsafe { product.compute([i, j], [tile[0].min(m - i), tile[1].min(n - j)], map) };
    };
    match m.div_ceil(tile[0]) * across {
        // To be handed to a thread of the pool and waited for costs as much as a small product.
        1 => compute(0),
        tiles => (0..tiles).into_par_iter().for_each(compute),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_are_enough_and_not_too_small() {
        assert_eq!(tile(64, 1000, 1000), [64, 128], "a small batch still has 8 tiles");
        assert_eq!(tile(2048, 2048, 2048), [512, 256]);
        assert_eq!(tile(128, 128, 128), [128, 128], "not worth a second task");
        assert_eq!(tile(100_000, 10, 10), [65_536, 10]);
        for m in [0, 1, 63, 64, 65, 512, 513, 5000] {
            for n in [0, 1, 63, 64, 65, 255, 257, 3000] {
                for k in [0, 1, 100, 10_000] {
                    let [rows, columns] = tile(m, n, k);
                    assert!(rows >= 1 && columns >= 1, "{m} {n} {k}");
                    let one = rows >= m && columns >= n;
                    assert!(one || rows * columns * k >= WORK, "{m} {n} {k}: {rows} × {columns}");
                }
            }
        }
    }
}
