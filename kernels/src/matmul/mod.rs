//! Matrix products C = op(A) op(B), a ladder: each rung computes the same with one more idea.

pub mod bf16;
pub mod epilogue;
pub mod naive;
pub mod pipelined;
pub mod register_tiled;
pub mod split_k;
pub mod tensor_core;
pub mod tf32x3;
pub mod tile;
pub mod tiled;
pub mod vectorised;
pub mod warp_tiled;
pub mod wgmma;
