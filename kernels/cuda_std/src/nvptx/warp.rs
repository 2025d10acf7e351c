//! The 32 threads that run together. None of this assembly is `pure`: LLVM may sink what is pure into code
//! that only some of the lanes run.

use core::arch::asm;

use super::thread::{block_dim_x, block_dim_y, thread_idx_x, thread_idx_y, thread_idx_z};
use crate::word::Word;

/// `%laneid`
#[inline(always)]
pub fn lane_id() -> u32 {
    let lane: u32;
    // SAFETY: reads a special register that never changes.
    unsafe { asm!("mov.u32 {}, %laneid;", out(reg32) lane, options(pure, nomem, nostack, preserves_flags)) };
    lane
}

/// From the thread's index: `%warpid` may change while a thread runs.
#[inline(always)]
pub fn warp_id() -> u32 {
    (thread_idx_x() + block_dim_x() * (thread_idx_y() + block_dim_y() * thread_idx_z())) / 32
}

/// `bar.warp.sync`
#[inline(always)]
pub fn sync_warp(mask: u32) {
    // SAFETY: a barrier; as it is not `nomem`, no access moves past it.
    unsafe { asm!("bar.warp.sync {};", in(reg32) mask, options(nostack, preserves_flags)) }
}

macro_rules! shuffles {
    ($($name:ident: $mode:literal $clamp:literal)*) => { $(
        /// The shuffle of this name.
        #[inline(always)]
        pub fn $name<T: Word>(mask: u32, value: T, operand: u32) -> T {
            let result: u32;
            // SAFETY: exchanges registers.
            unsafe {
                asm!(
                    concat!("shfl.sync.", $mode, ".b32 {result}, {value}, {operand}, ", $clamp, ", {mask};"),
                    result = out(reg32) result,
                    value = in(reg32) value.to_bits(),
                    operand = in(reg32) operand,
                    mask = in(reg32) mask,
                    options(nostack, preserves_flags),
                )
            };
            T::from_bits(result)
        }
    )* };
}
shuffles! {
    shuffle_down: "down" "31"
    shuffle_up: "up" "0"
    shuffle_xor: "bfly" "31"
    shuffle_idx: "idx" "31"
}

/// `vote.sync.ballot.b32`
#[inline(always)]
pub fn ballot(mask: u32, vote: bool) -> u32 {
    let votes: u32;
    // SAFETY: exchanges registers.
    unsafe {
        asm!(
            "{{ .reg .pred %vote; setp.ne.u32 %vote, {vote}, 0; vote.sync.ballot.b32 {votes}, %vote, {mask}; }}",
            votes = out(reg32) votes,
            vote = in(reg32) u32::from(vote),
            mask = in(reg32) mask,
            options(nostack, preserves_flags),
        )
    };
    votes
}

/// From the ballot.
#[inline(always)]
pub fn all(mask: u32, vote: bool) -> bool {
    ballot(mask, !vote) == 0
}

/// From the ballot.
#[inline(always)]
pub fn any(mask: u32, vote: bool) -> bool {
    ballot(mask, vote) != 0
}

/// `mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32`
#[inline(always)]
pub fn mma_m16n8k8(a: [f32; 4], b: [f32; 2], c: [f32; 4]) -> [f32; 4] {
    let [mut d0, mut d1, mut d2, mut d3] = c;
    // SAFETY: arithmetic on the warp's registers.
    unsafe {
        asm!(
            "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 \
             {{{d0}, {d1}, {d2}, {d3}}}, {{{a0}, {a1}, {a2}, {a3}}}, {{{b0}, {b1}}}, {{{d0}, {d1}, {d2}, {d3}}};",
            d0 = inout(reg32) d0, d1 = inout(reg32) d1, d2 = inout(reg32) d2, d3 = inout(reg32) d3,
            a0 = in(reg32) a[0], a1 = in(reg32) a[1], a2 = in(reg32) a[2], a3 = in(reg32) a[3],
            b0 = in(reg32) b[0], b1 = in(reg32) b[1],
            options(nomem, nostack, preserves_flags),
        )
    };
    [d0, d1, d2, d3]
}
