//! Matrix products C = op(A) op(B), a ladder: each rung computes the same with one more idea.

pub mod naive;
pub mod tile;
pub mod tiled;
