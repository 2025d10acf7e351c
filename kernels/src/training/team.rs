//! A few lanes a row: which lanes of a warp go along which row of a matrix (m × n).
//!
//! ```text
//! n = 6:    lane   0 1 2 3 4 5 6 7 │ 8 9 …  15 │ 16 …     eight lanes a row, four rows a warp;
//!           column 0 1 2 3 4 5 · · │ 0 1 …   · │ 0 …      two lanes of eight have nothing to do
//!           row    first           │ first + 1 │
//!
//! n = 100:  lane   0 1 2 3 …                   31         a warp a row, more than once along it
//!           column 0 1 2 3 … 31, 32 …   63, 64 …
//! ```
//!
//! With a warp for each row, 6 of 32 lanes would work on rows of 6 values. With a thread for each row, neighbours would
//! read what lies n values apart.
//!
//! **Cost.** A team's sum takes log₂ lanes shuffles.
//!
//! **Barriers.** None, but all lanes of a warp shuffle together: teams without a row take part.
//!
//! **What it buys.** Against a warp a row: not measured yet.
//!
//! **Run it.** `cargo test --release --test kernels softmax` (`gather`)

use cuda_std::prelude::*;

use crate::reduce::block::{THREADS, WARP};

/// Lanes that share a row of `values`: a power of two, of which less than half is idle.
#[inline(always)]
pub const fn lanes(values: usize) -> usize {
    let values = if values > WARP { WARP } else { values };
    values.next_power_of_two()
}

/// Rows that a block works on at a time.
#[inline(always)]
pub const fn rows_of_block(lanes: usize) -> usize {
    THREADS as usize / lanes
}

/// The row of this warp's first team, of the rows that its block works on first; each next team has the next row.
#[inline(always)]
pub fn first_row(lanes: usize) -> usize {
    thread::block_idx_x() as usize * rows_of_block(lanes) + warp::warp_id() as usize * (WARP / lanes)
}

/// This lane's team in its warp, and its place in the team.
#[inline(always)]
pub fn place(lanes: usize) -> (usize, usize) {
    let lane = warp::lane_id() as usize;
    (lane / lanes, lane % lanes)
}

/// Joins a value of each of the team's lanes: with that of the lane half a team away, then a quarter, and so on to the
/// neighbour. `join` takes what a lane has so far and the distance to its partner, and shuffles. Where `join(a, b)` is
/// `join(b, a)`, all lanes end with the same. All lanes of a warp call it together.
#[inline(always)]
pub fn of_team<T: Copy>(lanes: usize, value: T, join: impl Fn(T, u32) -> T) -> T {
    let (mut value, mut distance) = (value, lanes as u32 / 2);
    while distance > 0 {
        value = join(value, distance);
        distance /= 2;
    }
    value
}

/// The sum over the team, in all its lanes. All lanes of a warp call it together.
#[inline(always)]
pub fn team_sum(lanes: usize, value: f32) -> f32 {
    of_team(lanes, value, |sum, distance| sum + warp::shuffle_xor(warp::FULL_MASK, sum, distance))
}
