//! What the GPU does in one instruction. The approximate ones are rounded to nearest here.

use super::count::count_operation;

/// `a * b + c`, rounded once: the same bits on every engine.
#[inline]
pub fn mul_add(a: f32, b: f32, c: f32) -> f32 {
    count_operation(|counters| &mut counters.multiply_adds);
    a.mul_add(b, c)
}

/// `a / b`, rounded to nearest: the same bits on every engine.
#[inline]
pub fn div(a: f32, b: f32) -> f32 {
    count_operation(|counters| &mut counters.divisions);
    a / b
}

/// √x, rounded to nearest: the same bits on every engine.
#[inline]
pub fn sqrt(x: f32) -> f32 {
    count_operation(|counters| &mut counters.divisions);
    x.sqrt()
}

/// 1/x. On a GPU within a unit in the last place (PTX ISA, `rcp.approx.f32`).
#[inline]
pub fn rcp_approx(x: f32) -> f32 {
    count_operation(|counters| &mut counters.approximations);
    (1.0 / f64::from(x)) as f32
}

/// 1/√x. On a GPU within a relative error of 2^-22.9 (PTX ISA, `rsqrt.approx.f32`).
#[inline]
pub fn rsqrt_approx(x: f32) -> f32 {
    count_operation(|counters| &mut counters.approximations);
    (1.0 / f64::from(x).sqrt()) as f32
}

/// 2ˣ. On a GPU within 2 units in the last place (PTX ISA, `ex2.approx.f32`).
#[inline]
pub fn exp2_approx(x: f32) -> f32 {
    count_operation(|counters| &mut counters.approximations);
    f64::from(x).exp2() as f32
}

/// Two values rounded to bf16 (8 bits of significand, the exponents of `f32`), ties to even: `low` in the low half. A
/// NaN becomes 0x7fff.
#[inline]
pub fn pack_bf16(low: f32, high: f32) -> u32 {
    count_operation(|counters| &mut counters.conversions);
    let round = |x: f32| {
        let bits = x.to_bits();
        if x.is_nan() { 0x7fff } else { bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16 }
    };
    round(low) | round(high) << 16
}

/// `x` rounded to the 10 fraction bits of tf32, ties away from zero.
#[inline]
pub fn to_tf32(x: f32) -> f32 {
    count_operation(|counters| &mut counters.conversions);
    if x.is_finite() { f32::from_bits(x.to_bits().wrapping_add(0x1000) & !0x1fff) } else { x }
}
