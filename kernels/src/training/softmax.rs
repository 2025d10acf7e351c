//! ŷ = softmax(z) of each row, and with y the class of each row: `e = (ŷ − [column = y]) / m` in the place of z, and the
//! cross-entropy `J = −Σ ln ŷ[y] / m`, for z (m × n).
//!
//! ```text
//! row of z    z₀ z₁ z₂ … zₙ₋₁        a team of lanes a row, as in `team`; three ways along it
//! 1. max      M = max z, at column c   (the leftmost, if there are several)
//! 2. sum      t = Σ e^(zⱼ − M) over all columns but c
//! 3. ŷⱼ = e^(zⱼ − M) / (1 + t)         −ln ŷ[y] = (M − z[y]) + ln(1 + t)
//! ```
//!
//! Less the maximum, no power overflows, and one of them is 1. That one is left out of the sum: where the right class is far
//! ahead, the loss is t to the last digits, which 1 + t would have rounded away. Both parts of a loss are at least 0, so
//! nothing is lost in their sum. A y that is no column makes its row and its loss NaN.
//!
//! **Cost.** 8 bytes an element, the second and the third reading of a row being from the cache, and some 40 operations:
//! two exponentials and two divisions. Bound by memory where the cache holds the rows under way.
//!
//! **Barriers.** Those of `block_sum`. All lanes of a warp come to its shuffles: those without a row have no columns.
//!
//! **What changed.** From [`output_error`](super::output_error): a row's elements depend on each other. Time not measured
//! yet.
//!
//! **Run it.** `cargo test --release --test kernels softmax`

use cuda_std::prelude::*;

use super::team::{first_row, lanes, of_team, place, rows_of_block, team_sum};
use crate::descent::loss::ln_1p;
use crate::reduce::block::{MAX_BLOCKS, THREADS, WARP, block_sum};
use crate::reduce::strided::{LOADS, join, strided};

/// The grid for m rows of n values: a function of the shape only, so the order of the additions is too.
pub fn grid(m: usize, n: usize) -> [u32; 3] {
    [m.div_ceil(rows_of_block(lanes(n))).clamp(1, MAX_BLOCKS) as u32, 1, 1]
}

/// Calls `visit(row, lane)` for the rows of this team, of m. All lanes of a warp are called as often, since they shuffle
/// together: one without a row has m for it.
#[inline(always)]
fn visit_rows(m: usize, lanes: usize, mut visit: impl FnMut(usize, usize)) {
    let (team, lane) = place(lanes);
    let mut first = first_row(lanes);
    while first < m {
        let row = first + team;
        visit(if row < m { row } else { m }, lane);
        first += thread::grid_dim_x() as usize * rows_of_block(lanes);
    }
}

/// A row of z, as a lane of its team sees it.
#[derive(Clone, Copy)]
struct Row {
    z: GlobalMut<f32>,
    /// Where it begins.
    start: usize,
    /// How many values it has: none, if there is no such row.
    columns: usize,
    lane: usize,
    lanes: usize,
}

impl Row {
    #[inline(always)]
    fn new(z: GlobalMut<f32>, [m, n]: [usize; 2], row: usize, lane: usize, lanes: usize) -> Self {
        Row { z, start: row * n, columns: if row < m { n } else { 0 }, lane, lanes }
    }

    /// Whether this is the number of a column.
    #[inline(always)]
    fn has(self, class: f32) -> bool {
        let column = class as u32;
        column as f32 == class && (column as usize) < self.columns
    }

    /// Calls `visit(slot, column, z)` for the columns of this lane; `slot` is the accumulator of [`LOADS`] to add to.
    #[inline(always)]
    fn visit(self, mut visit: impl FnMut(usize, usize, f32)) {
        strided(self.lane, self.columns, self.lanes, |slot, column| {
            // SAFETY: a column of a row that is there.
            visit(slot, column, unsafe { self.z.read(self.start + column) });
        });
    }

    /// The largest value, and the sum of e^(z − largest) over the other columns.
    #[inline(always)]
    fn normaliser(self) -> (f32, f32) {
        let (mut most, mut at) = ([f32::NEG_INFINITY; LOADS], [u32::MAX; LOADS]);
        self.visit(|slot, column, z| {
            if z > most[slot] {
                (most[slot], at[slot]) = (z, column as u32);
            }
        });
        let mut largest = (most[0], at[0]);
        for slot in 1..LOADS {
            largest = larger(largest, (most[slot], at[slot]));
        }
        let (most, at) = of_team(self.lanes, largest, |(most, at), distance| {
            let other = warp::shuffle_xor(warp::FULL_MASK, most, distance);
            larger((most, at), (other, warp::shuffle_xor(warp::FULL_MASK, at, distance)))
        });
        let mut acc = [0.0; LOADS];
        self.visit(|slot, column, z| {
            if column as u32 != at {
                acc[slot] += float::exp(z - most);
            }
        });
        (most, team_sum(self.lanes, join(acc)))
    }
}

/// The larger of two values with their columns; of equal ones that on the left.
#[inline(always)]
fn larger(a: (f32, u32), b: (f32, u32)) -> (f32, u32) {
    if b.0 > a.0 || (b.0 == a.0 && b.1 < a.1) { b } else { a }
}

/// ln(1 + t) for 0 ≤ t < 2³², within [`LN_1P_ERROR`](crate::descent::loss::LN_1P_ERROR); a NaN stays a NaN.
///
/// Beyond 1 it is k ln 2 + ln f of 1 + t = 2ᵏ f, k ≥ 1, 1 ≤ f < 2: the sum 1 + t is off by u, which is 1.5 u of a logarithm
/// of at least ln 2; ln f, at most half of the whole, by 8 u; ln 2 as `f32` by 0.1 u, and the last rounding adds u.
#[inline(always)]
pub fn ln_1p_of_sum(t: f32) -> f32 {
    const FRACTION: u32 = (1 << 23) - 1;
    let beyond = t > 1.0;
    let bits = (1.0 + t).to_bits();
    let fraction = f32::from_bits(bits & FRACTION | 1.0_f32.to_bits()) - 1.0;
    let ln = ln_1p(if beyond { fraction } else { t });
    let k = (bits >> 23).wrapping_sub(127) as f32;
    if beyond { mul_add(k, core::f32::consts::LN_2, ln) } else { ln }
}

/// z := softmax(z), row by row: z (m × n).
#[kernel(block = [THREADS, 1, 1])]
pub unsafe fn softmax(m: u32, n: u32, z: GlobalMut<f32>) {
    let (m, n) = (m as usize, n as usize);
    let lanes = lanes(n);
    visit_rows(m, lanes, |row, lane| {
        let row = Row::new(z, [m, n], row, lane, lanes);
        let (most, others) = row.normaliser();
        row.visit(|_, column, value| {
            z.write(row.start + column, float::exp(value - most) / (1.0 + others));
        });
    });
}

/// `z := (softmax(z) − [column = y]) / m`, row by row, and the sum of each block's cross-entropies: z (m × n), y (m), whole
/// numbers less than n, partials (blocks of the grid).
#[kernel(block = [THREADS, 1, 1])]
pub unsafe fn output_error_softmax(
    m: u32,
    n: u32,
    z: GlobalMut<f32>,
    y: Global<f32>,
    partials: GlobalMut<f32>,
) {
    let samples = m as f32;
    let (m, n) = (m as usize, n as usize);
    let lanes = lanes(n);
    let mut losses = 0.0;
    visit_rows(m, lanes, |row, lane| {
        let class = if row < m { y.read(row) } else { 0.0 };
        let row = Row::new(z, [m, n], row, lane, lanes);
        let (most, others) = row.normaliser();
        let others = if row.has(class) { others } else { f32::NAN };
        let mut behind = f32::INFINITY;
        row.visit(|_, column, value| {
            let right = column as f32 == class;
            if right {
                behind = most - value;
            }
            let target = if right { 1.0 } else { 0.0 };
            let e = float::exp(value - most) / (1.0 + others) - target;
            z.write(row.start + column, e / samples);
        });
        let behind = of_team(lanes, behind, |least, distance| {
            let other = warp::shuffle_xor(warp::FULL_MASK, least, distance);
            if other < least { other } else { least }
        });
        if lane == 0 && row.columns > 0 {
            losses += behind + ln_1p_of_sum(others);
        }
    });
    let total = block_sum(losses);
    if thread::thread_idx_x() == 0 {
        partials.write(thread::block_idx_x() as usize, total);
    }
}

/// The longest chain of additions behind a row's t.
pub const fn depth_of_row(n: usize) -> usize {
    let lanes = lanes(n);
    crate::reduce::strided::depth(n.div_ceil(lanes)) + lanes.ilog2() as usize
}

/// The longest chain of additions behind a block's sum when `blocks` blocks share m rows of n values.
pub const fn depth(m: usize, n: usize, blocks: usize) -> usize {
    let rows = blocks * rows_of_block(lanes(n));
    m.div_ceil(rows) + WARP.ilog2() as usize + (THREADS as usize / WARP).ilog2() as usize
}
