//! μⱼ = Σᵢ xᵢⱼ / m and σⱼ = √(Σᵢ (xᵢⱼ − μⱼ)² / m) for each column j of X (m × n), in one pass over X.
//!
//! ```text
//! thread     count, mean, squares of its rows     push:  Welford, one value at a time
//!   ↓ 4 slots, then 8 threads of a column         merge: Chan, two sets of values at a time
//! block      mean, squares of the row block       → means, squares (row blocks × n)
//!   ↓ launch 2
//! column     mean, squares of all rows            → mean, standard deviation (n)
//! ```
//!
//! The textbook's Σx² − (Σx)²/m would also do with one pass, but takes the difference of two large numbers:
//! with a mean of 1000 deviations `f32` has hardly a digit of the variance left. Here only differences from a
//! running mean are squared. With n values so far, their mean μ and M = Σ(x − μ)²:
//!
//! ```text
//! push x      δ = x − μ      μ' = μ + δ/n'                M' = M + δ (x − μ')
//! merge a, b  δ = μb − μa    μ' = μa + δ nb/(na + nb)     M' = Ma + Mb + δ² na nb/(na + nb)
//! ```
//!
//! (Welford, Technometrics 4, 1962; Chan, Golub and LeVeque, The American Statistician 37, 1983.) A constant
//! column comes out with exactly its value and exactly 0.
//!
//! **Cost.** 4 bytes, some 5 operations and a reciprocal an element: bound by memory. Two passes would read
//! X twice.
//!
//! **Barriers.** One, in `merge_rows`: each thread writes its own moments before it, threads with y = 0 read
//! their column's after it. All threads of a block call it.
//!
//! **What changed.** From the column sums: three values a column, and a merge that is not an addition.
//! Against two passes: not measured yet.
//!
//! **Run it.** `cargo test --release --test kernels column_moments`

use cuda_std::prelude::*;

use super::strided::LOADS;
use super::strip::{BLOCK, COLUMNS, ROWS, column, rows, rows_of_block, visit_rows};
pub use super::strip::{finish_grid, grid, row_blocks};

/// Count, mean and sum of squared deviations of some values.
#[derive(Clone, Copy)]
struct Moments {
    count: f32,
    mean: f32,
    squares: f32,
}

impl Moments {
    const NONE: Moments = Moments { count: 0.0, mean: 0.0, squares: 0.0 };

    /// One more value (Welford).
    #[inline(always)]
    fn push(&mut self, x: f32) {
        self.count += 1.0;
        let before = x - self.mean;
        self.mean = mul_add(before, 1.0 / self.count, self.mean);
        self.squares = mul_add(before, x - self.mean, self.squares);
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
            squares: mul_add(apart * apart, self.count * share, self.squares + other.squares),
        }
    }
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
#[kernel(block = BLOCK)]
pub unsafe fn column_moments(m: u32, n: u32, x: Global<f32>, means: GlobalMut<f32>, squares: GlobalMut<f32>) {
    let n = n as usize;
    let column = column();
    let mut own = [Moments::NONE; LOADS];
    if column < n {
        visit_rows(rows(m as usize), |slot, row| own[slot].push(x.read(row * n + column)));
    }
    let all = merge_rows(own[0].merge(own[1]).merge(own[2].merge(own[3])));
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
