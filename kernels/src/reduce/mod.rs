//! Reductions.
pub mod block;
pub mod column_moments;
pub mod column_sums;
pub mod dot;
pub mod strided;
pub mod strip;
pub mod sum;
