//! How one thread walks through its share of a sum: with several loads under way.
//!
//! ```text
//! index   first      + step     + 2·step   + 3·step  │ + 4·step  …       ragged end
//! slot      0           1          2          3      │    0      …         0   0   0
//!         └──────── one group: four loads ───────────┘
//! ```
//!
//! A load takes some 500 cycles, an addition 4. A thread that adds each value to the same accumulator before
//! it asks for the next waits nearly all the time. Here the loads of a group do not depend on each other and
//! go out together, each into an accumulator of its own. The sum is more accurate for it, too: its chains of
//! additions are a quarter as long.
//!
//! **Barriers.** None.
//!
//! **What it buys.** Against one load at a time: not measured yet.
//!
//! **Run it.** `cargo test --release --test kernels sum`

/// Loads of a thread that are under way together, each with an accumulator of its own.
pub const LOADS: usize = 4;

/// Calls `visit(slot, index)` for `index` = first, first + step, … below `end`, in groups of [`LOADS`].
///
/// The visits of a group have slots 0, 1, …, LOADS − 1 and do not depend on each other; those of the ragged
/// end have slot 0.
#[inline(always)]
pub fn strided(first: usize, end: usize, step: usize, mut visit: impl FnMut(usize, usize)) {
    let mut index = first;
    while index + (LOADS - 1) * step < end {
        for slot in 0..LOADS {
            visit(slot, index + slot * step);
        }
        index += LOADS * step;
    }
    while index < end {
        visit(0, index);
        index += step;
    }
}

/// The sum of the accumulators, as a tree.
#[inline(always)]
pub fn join(acc: [f32; LOADS]) -> f32 {
    (acc[0] + acc[1]) + (acc[2] + acc[3])
}

/// The longest chain of additions behind [`join`] for a thread that visits `count` indices.
pub const fn depth(count: usize) -> usize {
    count / LOADS + (LOADS - 1) + 2
}
