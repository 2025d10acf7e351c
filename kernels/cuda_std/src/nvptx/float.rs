//! Arithmetic that is one instruction.

use core::arch::asm;

/// `fma.rn.f32`
#[inline(always)]
pub fn mul_add(a: f32, b: f32, c: f32) -> f32 {
    core::f32::math::mul_add(a, b, c)
}

/// `div.rn.f32`
#[inline(always)]
pub fn div(a: f32, b: f32) -> f32 {
    a / b
}

macro_rules! one_operand {
    ($($name:ident: $instruction:literal)*) => { $(
        /// The instruction of this name.
        #[inline(always)]
        pub fn $name(x: f32) -> f32 {
            let y: f32;
            // SAFETY: arithmetic on registers.
            unsafe {
                asm!(
                    concat!($instruction, " {y}, {x};"),
                    y = out(reg32) y,
                    x = in(reg32) x,
                    options(pure, nomem, nostack, preserves_flags),
                )
            };
            y
        }
    )* };
}
one_operand! {
    sqrt: "sqrt.rn.f32"
    rcp_approx: "rcp.approx.f32"
    rsqrt_approx: "rsqrt.approx.f32"
    exp2_approx: "ex2.approx.f32"
    to_tf32: "cvt.rna.tf32.f32"
}

/// `cvt.rn.bf16x2.f32`
#[inline(always)]
pub fn pack_bf16(low: f32, high: f32) -> u32 {
    let pair: u32;
    // SAFETY: arithmetic on registers.
    unsafe {
        asm!(
            "cvt.rn.bf16x2.f32 {pair}, {high}, {low};",
            pair = out(reg32) pair,
            high = in(reg32) high,
            low = in(reg32) low,
            options(pure, nomem, nostack, preserves_flags),
        )
    };
    pair
}
