//! The rows of a batch: `out[i] = X[rows[i]]`, or `(X[rows[i]] − μ) ⊘ σ`, for X (M × n), rows (m), out (m × n).
//!
//! ```text
//! rows      7        2        9          a team of lanes a row, as in `team`; where n is a multiple of four, each lane
//!           ↓        ↓        ↓          takes four neighbours at a time
//! X[7] ──▶ out[0]   out[1]   out[2]
//! ```
//!
//! A batch is drawn anew in each epoch, so its rows lie anywhere; each of them is in one piece. Scaled on the way, X itself
//! stays as it is, in its own units.
//!
//! **Cost.** 8 bytes a value, and 4 a row for its number; with scaling two operations a value, and μ and σ from the
//! cache. Bound by memory. Rows of less than 32 bytes are read with what lies beside them.
//!
//! **Barriers.** None.
//!
//! **What changed.** From `elementwise`: where a thread reads comes from memory, too. Against rows that are copied on the host
//! and sent, 4 bytes a value over PCIe become 8 in the GPU's memory; time not measured yet.
//!
//! **Run it.** `cargo test --release --test kernels gather`

use cuda_std::prelude::*;

use super::fours::V;
use super::team::{first_row, lanes, place, rows_of_block};
use crate::reduce::block::THREADS;

/// Lanes of a row of n values, and how many neighbours each takes at a time.
#[inline(always)]
fn team(n: usize) -> (usize, usize) {
    let width = if n.is_multiple_of(V) { V } else { 1 };
    (lanes(n / width), width)
}

/// The grid for m rows of n values.
pub fn grid(m: usize, n: usize) -> [u32; 3] {
    [m.div_ceil(rows_of_block(team(n).0)) as u32, 1, 1]
}

/// What is done to a value on the way.
trait Scale: Copy {
    /// To the value of this column.
    unsafe fn one(self, x: f32, column: usize) -> f32;
    /// To four from this column on, a multiple of 4.
    unsafe fn four(self, x: [f32; V], column: usize) -> [f32; V];
}

/// Nothing.
#[derive(Clone, Copy)]
struct Plain;

impl Scale for Plain {
    #[inline(always)]
    unsafe fn one(self, x: f32, _: usize) -> f32 {
        x
    }
    #[inline(always)]
    unsafe fn four(self, x: [f32; V], _: usize) -> [f32; V] {
        x
    }
}

/// (x − μ) / σ of its column.
#[derive(Clone, Copy)]
struct Scaled {
    mean: Global<f32>,      // (n)
    deviation: Global<f32>, // (n)
}

impl Scale for Scaled {
    #[inline(always)]
    unsafe fn one(self, x: f32, column: usize) -> f32 {
        // SAFETY: the caller's promise: there is such a column.
        unsafe { (x - self.mean.read(column)) / self.deviation.read(column) }
    }
    #[inline(always)]
    unsafe fn four(self, x: [f32; V], column: usize) -> [f32; V] {
        // SAFETY: as above, and with the first of four all are there.
        let (mean, deviation) = unsafe { (self.mean.read4(column), self.deviation.read4(column)) };
        let mut scaled = x;
        for i in 0..V {
            scaled[i] = (x[i] - mean[i]) / deviation[i];
        }
        scaled
    }
}

/// This thread's part of a row.
///
/// # Safety
/// As for the kernels.
#[inline(always)]
unsafe fn copy(m: u32, n: u32, x: Global<f32>, scale: impl Scale, rows: Global<u32>, out: GlobalMut<f32>) {
    let n = n as usize;
    let (lanes, width) = team(n);
    let (team, lane) = place(lanes);
    let row = first_row(lanes) + team;
    if row >= m as usize {
        return;
    }
    // SAFETY: the row is there.
    let (from, to) = (unsafe { rows.read(row) } as usize * n, row * n);
    let mut column = lane * width;
    while column < n {
        // SAFETY: the caller's promise: X has the row. Each lane has columns of its own, and where it takes four, n is a
        // multiple of four.
        unsafe {
            if width == V {
                out.write4(to + column, scale.four(x.read4(from + column), column));
            } else {
                out.write(to + column, scale.one(x.read(from + column), column));
            }
        }
        column += lanes * width;
    }
}

/// The rows as they are: x (M × n), rows (m), each less than M, out (m × n).
#[kernel(block = [THREADS, 1, 1])]
pub unsafe fn gather(m: u32, n: u32, x: Global<f32>, rows: Global<u32>, out: GlobalMut<f32>) {
    copy(m, n, x, Plain, rows, out);
}

/// The rows scaled: x (M × n), mean and deviation (n), rows (m), each less than M, out (m × n).
#[kernel(block = [THREADS, 1, 1])]
pub unsafe fn gather_scaled(
    m: u32,
    n: u32,
    x: Global<f32>,
    mean: Global<f32>,
    deviation: Global<f32>,
    rows: Global<u32>,
    out: GlobalMut<f32>,
) {
    copy(m, n, x, Scaled { mean, deviation }, rows, out);
}
