//! Arithmetic beyond `+`, `-`, `*` and `/`, which are rounded to nearest and never fused.

pub use crate::implementation::float::*;

/// `e^x`, with an error of at most 3 units in the last place on a GPU.
///
/// With k = ⌊x log₂ e⌉ and r = x − k ln 2, |r| ≤ 0.35: eˣ = 2ᵏ · 2^(r log₂ e). The reduction is exact to a quarter
/// of a unit (Cody and Waite: ln 2 in two parts), `ex2.approx` adds 2. Overflows to infinity, underflows to 0.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    const LOG2_E: f32 = core::f32::consts::LOG2_E;
    const LN_2_HIGH: f32 = 0.693_359_4; // 9 bits: k · LN_2_HIGH is exact
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    const ROUND: f32 = 12_582_912.0; // 1.5 · 2²³: adding it leaves no fraction

    // Comparisons, not `clamp` on the outside: a NaN must stay one.
    let x = if x > 89.0 { 89.0 } else { x };
    let x = if x < -104.0 { -104.0 } else { x };
    let rounded = mul_add(x, LOG2_E, ROUND);
    let k = rounded - ROUND;
    let r = mul_add(k, -LN_2_LOW, mul_add(k, -LN_2_HIGH, x));
    let power = exp2_approx(r * LOG2_E);
    // The last bits of `rounded` are k. 2ᵏ has no representation for k = 128 and k < −126: two factors that have.
    let k = rounded.to_bits().wrapping_sub(ROUND.to_bits()).cast_signed();
    let half = k >> 1;
    power * power_of_two(half) * power_of_two(k.wrapping_sub(half))
}

/// The two values of [`pack_bf16`], the low half first. Exact.
#[inline(always)]
pub fn unpack_bf16(pair: u32) -> [f32; 2] {
    [f32::from_bits(pair << 16), f32::from_bits(pair & 0xffff_0000)]
}

/// 2ᵏ for −126 ≤ k ≤ 127.
#[inline(always)]
fn power_of_two(k: i32) -> f32 {
    f32::from_bits(k.wrapping_add(127).cast_unsigned() << 23)
}
