//! Every kernel and every operation at fixed shapes: what the emulator counts of it, or how long it takes.
//!
//! [`cases`] lists the kernels with their shapes, for any device. [`count`] runs them on an emulator that counts; the
//! table of the counts is `kernels/counters.txt`, and a test compares it with the kernels as they are. [`time_gpu`] and
//! [`time_engine`] time what runs on a machine, beside its limits and what others have there: a [`Report`].

mod cases;
mod counts;
mod kernels;
mod limits;
mod operations;
mod peers;
mod report;
mod roofline;
mod row;
mod rungs;
mod spread;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rayon::prelude::*;

pub use cases::{Case, Floor, Launch, Scale, Shape, cases};
pub use counts::{Counted, count, table};
pub use limits::Limits;
pub use report::{GpuFacts, Keep, Report, Selection, Settings, time_engine, time_gpu};
pub use row::{Against, Figures, Kind, Outcome, Row};
pub use spread::{Effort, Spread};

/// A number in [−1, 1) from 24 random bits.
#[must_use]
pub fn symmetric(bits: u32) -> f32 {
    const STEPS: f32 = (1_u32 << 23) as f32;
    (bits >> 8) as f32 / STEPS - 1.0
}

/// Random numbers, the same in every run.
fn operand(length: usize) -> Vec<f32> {
    /// Numbers of one stream: streams are made side by side.
    const STREAM: usize = 1 << 20;
    let mut values = vec![0.0; length];
    values.par_chunks_mut(STREAM).enumerate().for_each(|(number, values)| {
        let mut random = ChaCha8Rng::seed_from_u64(length as u64);
        random.set_stream(number as u64);
        values.fill_with(|| symmetric(random.next_u32()));
    });
    values
}
