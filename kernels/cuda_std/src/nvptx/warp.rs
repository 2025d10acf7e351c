//! The 32 threads that run together. None of this assembly is `pure`: LLVM may sink what is pure into code
//! that only some of the lanes run.

use core::arch::asm;

use super::thread::{block_dim_x, block_dim_y, thread_idx_x, thread_idx_y, thread_idx_z};
use crate::memory::SharedArray;
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

/// `mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32`
#[inline(always)]
pub fn mma_m16n8k16_bf16(a: [u32; 4], b: [u32; 2], c: [f32; 4]) -> [f32; 4] {
    let [mut d0, mut d1, mut d2, mut d3] = c;
    // SAFETY: arithmetic on the warp's registers.
    unsafe {
        asm!(
            "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 \
             {{{d0}, {d1}, {d2}, {d3}}}, {{{a0}, {a1}, {a2}, {a3}}}, {{{b0}, {b1}}}, {{{d0}, {d1}, {d2}, {d3}}};",
            d0 = inout(reg32) d0, d1 = inout(reg32) d1, d2 = inout(reg32) d2, d3 = inout(reg32) d3,
            a0 = in(reg32) a[0], a1 = in(reg32) a[1], a2 = in(reg32) a[2], a3 = in(reg32) a[3],
            b0 = in(reg32) b[0], b1 = in(reg32) b[1],
            options(nomem, nostack, preserves_flags),
        )
    };
    [d0, d1, d2, d3]
}

macro_rules! matrix_loads {
    ($($name:ident $transposed_name:ident $shape:literal [$($register:ident),*];)*) => { $(
        #[doc = concat!("`ldmatrix.sync.aligned.m8n8.", $shape, ".shared.b16`")]
        ///
        /// # Safety
        /// All 32 lanes come here; the rows are in range and aligned to 16 bytes, and no thread writes there at the same
        /// time.
        #[inline(always)]
        pub unsafe fn $name<T: Word, const N: usize>(
            from: SharedArray<T, N>,
            index: usize,
        ) -> [T; [$(stringify!($register)),*].len()] {
            $(let $register: u32;)*
            // SAFETY: the caller's promise.
            unsafe { matrix_loads!(@load concat!($shape, ".shared.b16"), from, index, [$($register),*]) };
            [$(T::from_bits($register)),*]
        }

        #[doc = concat!("`ldmatrix.sync.aligned.m8n8.", $shape, ".trans.shared.b16`")]
        ///
        /// # Safety
        #[doc = concat!("As `", stringify!($name), "`.")]
        #[inline(always)]
        pub unsafe fn $transposed_name<const N: usize>(
            from: SharedArray<u32, N>,
            index: usize,
        ) -> [u32; [$(stringify!($register)),*].len()] {
            $(let $register: u32;)*
            // SAFETY: the caller's promise.
            unsafe { matrix_loads!(@load concat!($shape, ".trans.shared.b16"), from, index, [$($register),*]) };
            [$($register),*]
        }
    )* };
    (@load $instruction:expr, $from:ident, $index:ident, [$first:ident $(, $register:ident)*]) => {
        asm!(
            concat!(
                "ldmatrix.sync.aligned.m8n8.", $instruction,
                " {{{", stringify!($first), "}", $(", {", stringify!($register), "}",)* "}}, [{address}];"
            ),
            $first = out(reg32) $first,
            $($register = out(reg32) $register,)*
            address = in(reg32) $from.element($index),
            options(nostack, preserves_flags),
        )
    };
}
matrix_loads! {
    ldmatrix_x1 ldmatrix_x1_transposed "x1" [a];
    ldmatrix_x2 ldmatrix_x2_transposed "x2" [a, b];
    ldmatrix_x4 ldmatrix_x4_transposed "x4" [a, b, c, d];
}
