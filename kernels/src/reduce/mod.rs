//! Many values to few: sums, dot products, moments of columns.
//!
//! All reductions take two launches: each block writes one partial result, and one block a result adds them
//! up. There are no atomic additions, and grids depend on the shape only, so the order of the additions is
//! always the same: a result has the same bits on every run and every GPU.

pub mod block;
pub mod column_moments;
pub mod column_sums;
pub mod dot;
pub mod strided;
pub mod strip;
pub mod sum;
