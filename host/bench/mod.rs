//! Every kernel at fixed shapes, and what the emulator counts of it.
//!
//! [`cases`] lists the kernels with their shapes, for any device. [`count`] runs them on an emulator that counts; the
//! table of the counts is `kernels/counters.txt`, and a test compares it with the kernels as they are.

mod cases;
mod counts;

pub use cases::{Case, Floor, Launch, Scale, Shape, cases};
pub use counts::{Counted, count, table};

/// A number in [−1, 1) from 24 random bits.
#[must_use]
pub fn symmetric(bits: u32) -> f32 {
    const STEPS: f32 = (1_u32 << 23) as f32;
    (bits >> 8) as f32 / STEPS - 1.0
}
