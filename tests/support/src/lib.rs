//! What every kernel must do, on whatever device: shapes, data, references, bounds.
//!
//! A [check](checks::all) launches a kernel at many shapes and compares every element with a reference in `f64`. The
//! kernels come in a table, [`Kernels`], so that the same checks judge ours and their mutants.

pub mod checks;
mod computed;
mod data;
mod judge;
mod kernels_under_test;
mod memory;
mod rig;
pub mod simulated;

pub use computed::Computed;
pub use data::{Data, Source};
pub use judge::{Expected, Tally, UNIT_ROUNDOFF, gamma, sums};
pub use kernels_under_test::Kernels;
pub use memory::Counting;
pub use rig::Rig;

/// What went wrong, for people.
pub type Failure = String;
