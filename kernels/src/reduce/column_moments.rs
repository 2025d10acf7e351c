//! μⱼ = Σᵢ xᵢⱼ / m and σⱼ = √(Σᵢ (xᵢⱼ − μⱼ)² / m) for each column j of X (m × n), in one pass over X.
//!
//! ```text
//! thread     16 rows in registers: mean, then squares       two passes, over registers
//!   ↓ its groups, then 8 threads of a column                merge: Chan, two sets of values at a time
//! block      mean, squares of the row block                 → means, squares (row blocks × n)
//!   ↓ launch 2
//! column     mean, squares of all rows                      → mean, standard deviation (n)
//! ```
//!
//! The textbook's Σx² − (Σx)²/m would also do with one pass, but takes the difference of two large numbers:
//! with a mean of 1000 deviations `f32` has hardly a digit of the variance left. Here only differences from a
//! mean of their own 16 are squared, and groups are merged. With n values, their mean μ and M = Σ(x − μ)²:
//!
//! ```text
//! group       μ = x₀ + Σ(x − x₀)/n                                  M = Σ(x − μ)²
//! merge a, b  δ = μb − μa            μ' = μa + δ nb/(na + nb)       M' = Ma + Mb + δ² na nb/(na + nb)
//! ```
//!
//! (Chan, Golub and LeVeque, The American Statistician 37, 1983.) A constant column comes out with exactly its value
//! and exactly 0: its differences are 0, and so is every δ.
//!
//! **Cost.** X is read once: 4 bytes and 4 operations an element, and a sixteenth of a merge with its one division: bound
//! by memory. To take each value into a running mean (Welford, Technometrics 4, 1962) would need a division a value,
//! some 10 instructions. A group's 16 loads go out together: with 4 blocks of 256 threads on a multiprocessor 64 KB
//! can be on their way, where some 25 are needed (see `descent::fused`). 528 blocks are one wave of these on 132
//! multiprocessors; with 1000 columns 512 of them have work, 97 %.
//!
//! **Barriers.** One, in `merge_rows`: each thread writes its own moments before it, threads with y = 0 read
//! their column's after it. All threads of a block call it.
//!
//! **What changed.** From the column sums: three values a column, a merge that is not an addition, groups in registers.
//! Against two passes: not measured yet.
//!
//! **Run it.** `cargo test --release --test kernels column_moments`

use core::ops::Range;

use cuda_std::memory::opaque;
use cuda_std::prelude::*;

use super::strided::{LOADS, join};
pub use super::strip::finish_grid;
use super::strip::{self, BLOCK, COLUMNS, ROWS, column, rows, rows_of_block, visit_rows};

/// Rows that a thread has in registers.
const GROUP: usize = 16;
/// Blocks that a multiprocessor runs at a time: up to 64 registers a thread.
const RESIDENT: u32 = 4;
/// A wave on the 132 multiprocessors of an H100 or H200.
const BLOCKS: usize = 132 * RESIDENT as usize;

/// Blocks that share the rows of an m × n matrix: a function of the shape only.
pub fn row_blocks(m: usize, n: usize) -> usize {
    strip::share_rows(BLOCKS, m, n)
}

/// The grid for an m × n matrix: strips of columns × row blocks.
pub fn grid(m: usize, n: usize) -> [u32; 3] {
    [n.div_ceil(COLUMNS as usize) as u32, row_blocks(m, n) as u32, 1]
}

/// How often a mean over m rows is rounded, by u times the column's largest magnitude each time, in `row_blocks` blocks.
///
/// In a group the differences are at most twice that large, and have a chain of 7 roundings; the mean has one more. A
/// merge rounds a difference and the mean, both weighted with their shares: twice at most.
pub const fn depth(m: usize, row_blocks: usize) -> usize {
    let groups = m.div_ceil(row_blocks).div_ceil(ROWS as usize).div_ceil(GROUP);
    15 + 2 * (groups + ROWS as usize)
}

/// How often more in the second launch.
pub const fn finish_depth(row_blocks: usize) -> usize {
    2 * (row_blocks.div_ceil(ROWS as usize) + ROWS as usize)
}

/// Count, mean and sum of squared deviations of some values.
#[derive(Clone, Copy)]
struct Moments {
    count: f32,
    mean: f32,
    squares: f32,
}

impl Moments {
    const NONE: Moments = Moments { count: 0.0, mean: 0.0, squares: 0.0 };

    /// Those of the first `count` values, at least one; the others are as the first.
    #[inline(always)]
    fn of(values: [f32; GROUP], count: usize) -> Self {
        let first = values[0];
        let mut sums = [0.0; LOADS];
        for i in 0..GROUP {
            sums[i % LOADS] += values[i] - first;
        }
        let mean = first + join(sums) / count as f32;
        let mut squares = [0.0; LOADS];
        for i in 0..GROUP {
            let apart = if i < count { values[i] - mean } else { 0.0 };
            squares[i % LOADS] = mul_add(apart, apart, squares[i % LOADS]);
        }
        Moments { count: count as f32, mean, squares: join(squares) }
    }

    /// The moments of both sets of values (Chan).
    #[inline(always)]
    fn merge(self, other: Moments) -> Moments {
        let count = self.count + other.count;
        if count == 0.0 {
            return Moments::NONE;
        }
        let apart = other.mean - self.mean;
        let share = other.count / count;
        Moments {
            count,
            mean: mul_add(apart, share, self.mean),
            // Not of apart², which may be too large where one of the sets is empty.
            squares: mul_add(apart * share, apart * self.count, self.squares + other.squares),
        }
    }
}

/// The moments of this thread's rows of a column.
///
/// # Safety
/// `rows` and `column` are of x (m × n).
#[inline(always)]
unsafe fn own_rows(x: Global<f32>, n: usize, rows: Range<usize>, column: usize) -> Moments {
    let step = ROWS as usize;
    let mut all = Moments::NONE;
    let mut row = rows.start + thread::thread_idx_y() as usize;
    while row + (GROUP - 1) * step < rows.end {
        let mut values = [0.0; GROUP];
        // Opaque, so that not all of the distances are kept in registers.
        let (mut place, next) = (row * n + column, step * opaque(n));
        for i in 0..GROUP {
            // SAFETY: before the rows' end.
            values[i] = unsafe { x.read(place) };
            place += next;
        }
        all = all.merge(Moments::of(values, GROUP));
        row += GROUP * step;
    }
    if row < rows.end {
        let count = (rows.end - row).div_ceil(step);
        let mut values = [0.0; GROUP];
        for i in 0..GROUP {
            let row = row + if i < count { i * step } else { 0 };
            // SAFETY: before the rows' end.
            values[i] = unsafe { x.read(row * n + column) };
        }
        all = all.merge(Moments::of(values, count));
    }
    all
}

/// The moments of the block's strip, in the threads with y = 0, from each thread's own.
#[inline(always)]
fn merge_rows(own: Moments) -> Moments {
    let counts = shared_array![f32; (ROWS * COLUMNS) as usize]; // (ROWS × COLUMNS)
    let means = shared_array![f32; (ROWS * COLUMNS) as usize]; // (ROWS × COLUMNS)
    let squares = shared_array![f32; (ROWS * COLUMNS) as usize]; // (ROWS × COLUMNS)
    let (x, y) = (thread::thread_idx_x() as usize, thread::thread_idx_y() as usize);
    let place = y * COLUMNS as usize + x;
    // SAFETY: each thread has an element of its own.
    unsafe {
        counts.write(place, own.count);
        means.write(place, own.mean);
        squares.write(place, own.squares);
    }
    thread::sync_threads();
    let mut all = own;
    if y == 0 {
        for row in 1..ROWS as usize {
            let place = row * COLUMNS as usize + x;
            // SAFETY: in range; written before the barrier.
            all = all.merge(unsafe {
                Moments { count: counts.read(place), mean: means.read(place), squares: squares.read(place) }
            });
        }
    }
    all
}

/// Means and sums of squared deviations of x's columns over each row block: x (m × n), means and squares
/// (row blocks of the grid × n).
#[kernel(block = BLOCK, min_blocks = RESIDENT)]
pub unsafe fn column_moments(m: u32, n: u32, x: Global<f32>, means: GlobalMut<f32>, squares: GlobalMut<f32>) {
    let n = n as usize;
    let column = column();
    let own = if column < n { own_rows(x, n, rows(m as usize), column) } else { Moments::NONE };
    let all = merge_rows(own);
    if thread::thread_idx_y() == 0 && column < n {
        let place = thread::block_idx_y() as usize * n + column;
        means.write(place, all.mean);
        squares.write(place, all.squares);
    }
}

/// Mean and population standard deviation of each column of m rows, from the row blocks' partial results: means
/// and squares (row_blocks × n), mean and standard_deviation (n).
#[kernel(block = BLOCK)]
pub unsafe fn column_moments_finish(
    m: u32,
    n: u32,
    row_blocks: u32,
    means: Global<f32>,
    squares: Global<f32>,
    mean: GlobalMut<f32>,
    standard_deviation: GlobalMut<f32>,
) {
    let (m, n, blocks) = (m as usize, n as usize, row_blocks as usize);
    let column = column();
    let mut own = Moments::NONE;
    if column < n {
        visit_rows(0..blocks, |_, block| {
            let place = block * n + column;
            let count = rows_of_block(m, blocks, block).len() as f32;
            own = own.merge(Moments { count, mean: means.read(place), squares: squares.read(place) });
        });
    }
    let all = merge_rows(own);
    if thread::thread_idx_y() == 0 && column < n {
        mean.write(column, all.mean);
        let variance = if m == 0 { 0.0 } else { all.squares / m as f32 };
        standard_deviation.write(column, float::sqrt(variance));
    }
}
