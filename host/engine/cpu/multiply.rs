//! C := C + op(A) op(B): C in tiles, a task each, and each tile by the `gemm` crate on one thread.
//!
//! gemm's own threads share out one product so finely that a small batch gains little from them. Tiles cost packing: an
//! operand's lines are packed again for each tile that needs them, so tiles are as large as leaves enough of them.

use std::slice;

use gemm::Parallelism;
use rayon::prelude::*;

use super::Matrix;
use super::passes::{RowMap, map_row};
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

/// An operand of the product as gemm takes it.
#[derive(Clone, Copy)]
struct Operand {
    first: *const f32,
    /// Elements from one column, and from one row, to the next of op(matrix).
    strides: [isize; 2],
}

impl Operand {
    fn new(matrix: &Matrix, layout: Layout) -> Self {
        let strides = match layout {
            Layout::Plain => [1, matrix.columns as isize],
            Layout::Transposed => [matrix.columns as isize, 1],
        };
        Operand { first: matrix.values.as_ptr(), strides }
    }
}

/// What a task needs to know.
#[derive(Clone, Copy)]
struct Product {
    a: Operand,
    b: Operand,
    /// C's first element, and its columns.
    c: (*mut f32, usize),
    k: usize,
}

// SAFETY: tasks read the operands, which are borrowed as long as there are tasks, and write tiles of C of their own.
unsafe impl Send for Product {}
// SAFETY: as above.
unsafe impl Sync for Product {}

impl Product {
    /// The tile of C of `rows` × `columns` from (i, j) on.
    ///
    /// # Safety
    /// It lies in C, and no other thread uses it.
    unsafe fn compute(&self, [i, j]: [usize; 2], [rows, columns]: [usize; 2]) {
        let Product { a, b, c: (c, n), k } = *self;
        // SAFETY: the caller's tile lies in C, so its rows are rows of op(A) and its columns are columns of op(B), whose
        // elements lie where the strides say. All values are initialised, and C, borrowed mutably, overlaps no operand.
        unsafe {
            gemm::gemm(
                rows,
                columns,
                k,
                c.add(i * n + j),
                1,
                n as isize,
                true,
                a.first.offset(i as isize * a.strides[1]),
                a.strides[0],
                a.strides[1],
                b.first.offset(j as isize * b.strides[0]),
                b.strides[0],
                b.strides[1],
                1.0,
                1.0,
                false,
                false,
                false,
                Parallelism::None,
            );
        }
    }

    /// Applies `map` to the rows of that tile.
    ///
    /// # Safety
    /// It lies in C, and no other thread uses it.
    unsafe fn map(&self, [i, j]: [usize; 2], [rows, columns]: [usize; 2], map: impl RowMap) {
        let (c, n) = self.c;
        for row in i..i + rows {
            // SAFETY: the row of the caller's tile; C is borrowed mutably.
            map_row(unsafe { slice::from_raw_parts_mut(c.add(row * n + j), columns) }, map);
        }
    }
}

/// C := `map` of C + op(A) op(B), while its tiles are in the cache. The shapes have been checked.
pub(super) fn multiply(
    c: &mut Matrix,
    a: &Matrix,
    a_layout: Layout,
    b: &Matrix,
    b_layout: Layout,
    map: impl RowMap,
) {
    let (m, k) = a_layout.of(a.shape());
    let (inner, n) = b_layout.of(b.shape());
    assert!(inner == k && c.shape() == (m, n), "the caller has checked the shapes");
    let tile = tile(m, n, k);
    let across = n.div_ceil(tile[1]);
    let product = Product {
        a: Operand::new(a, a_layout),
        b: Operand::new(b, b_layout),
        c: (c.values.as_mut_ptr(), n),
        k,
    };
    let compute = |index: usize| {
        let [i, j] = [index / across * tile[0], index % across * tile[1]];
        let sides = [tile[0].min(m - i), tile[1].min(n - j)];
        // SAFETY: the tiles lie in C, and no two overlap; C is borrowed mutably until the last task has ended.
        unsafe {
            product.compute([i, j], sides);
            product.map([i, j], sides, map);
        }
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
