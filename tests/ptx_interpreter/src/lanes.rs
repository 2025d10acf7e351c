//! What an instruction makes of the 32 registers of a warp: arithmetic as the PTX ISA defines it.
//!
//! None of this comes from `cuda_std`: the kernels' emulator and this interpreter agree where both follow NVIDIA's manual.

/// A 32-bit register of each lane.
pub type Words = [u32; 32];
/// A 64-bit register of each lane.
pub type Longs = [u64; 32];

/// `Words -> Words`, lane by lane.
macro_rules! word1 {
    (|$a:ident| $result:expr) => {
        |a: &Words| {
            std::array::from_fn(|lane| {
                let $a = a[lane];
                $result
            })
        }
    };
}
/// `Words, Words -> Words`, lane by lane.
macro_rules! word2 {
    (|$a:ident, $b:ident| $result:expr) => {
        |a: &Words, b: &Words| {
            std::array::from_fn(|lane| {
                let ($a, $b) = (a[lane], b[lane]);
                $result
            })
        }
    };
}
/// `f32, f32 -> f32`, lane by lane.
macro_rules! float2 {
    (|$a:ident, $b:ident| $result:expr) => {
        word2!(|a, b| {
            let ($a, $b) = (f32::from_bits(a), f32::from_bits(b));
            f32::to_bits($result)
        })
    };
}
/// `f32 -> f32`, lane by lane.
macro_rules! float1 {
    (|$a:ident| $result:expr) => {
        word1!(|a| {
            let $a = f32::from_bits(a);
            f32::to_bits($result)
        })
    };
}
/// `Longs, Longs -> Longs`, lane by lane.
macro_rules! long2 {
    (|$a:ident, $b:ident| $result:expr) => {
        |a: &Longs, b: &Longs| {
            std::array::from_fn(|lane| {
                let ($a, $b) = (a[lane], b[lane]);
                $result
            })
        }
    };
}

/// `setp` lane by lane: a bit for each.
macro_rules! test {
    ($registers:ty, |$a:ident, $b:ident| $result:expr) => {
        |a: &$registers, b: &$registers| {
            (0..32).fold(0, |lanes, lane| {
                let ($a, $b) = (a[lane], b[lane]);
                lanes | u32::from($result) << lane
            })
        }
    };
}
/// `setp` of signed numbers.
macro_rules! test_signed {
    ($registers:ty, $operator:tt) => {
        test!($registers, |a, b| a.cast_signed() $operator b.cast_signed())
    };
}

pub type Word1 = fn(&Words) -> Words;
pub type Word2 = fn(&Words, &Words) -> Words;
pub type Word3 = fn(&Words, &Words, &Words) -> Words;
pub type Long1 = fn(&Longs) -> Longs;
pub type Long2 = fn(&Longs, &Longs) -> Longs;
pub type Long3 = fn(&Longs, &Longs, &Longs) -> Longs;
/// A 64-bit value and a number of bits.
pub type LongByWord = fn(&Longs, &Words) -> Longs;
/// A 64-bit value, a position and a number of bits.
pub type LongField = fn(&Longs, &Words, &Words) -> Longs;
pub type Widen1 = fn(&Words) -> Longs;
pub type Widen2 = fn(&Words, &Words) -> Longs;
pub type Narrow = fn(&Longs) -> Words;
/// A bit for each lane.
pub type TestWords = fn(&Words, &Words) -> u32;
pub type TestLongs = fn(&Longs, &Longs) -> u32;
pub type Predicate2 = fn(u32, u32) -> u32;

/// The instructions with one 32-bit operand and a 32-bit result.
pub fn word1(opcode: &str) -> Option<Word1> {
    Some(match opcode {
        "mov.b32" | "mov.u32" | "mov.s32" | "mov.f32" | "mov.b16" | "mov.u16" => |a| *a,
        "not.b32" => word1!(|a| !a),
        "neg.s32" => word1!(|a| a.wrapping_neg()),
        "popc.b32" => word1!(|a| a.count_ones()),
        "clz.b32" => word1!(|a| a.leading_zeros()),
        "neg.f32" => word1!(|a| a ^ 0x8000_0000),
        "abs.f32" => word1!(|a| a & 0x7fff_ffff),
        "sqrt.rn.f32" => float1!(|a| a.sqrt()),
        // Approximate: rounded to nearest here.
        "rcp.approx.f32" => float1!(|a| (1.0 / f64::from(a)) as f32),
        "rsqrt.approx.f32" => float1!(|a| (1.0 / f64::from(a).sqrt()) as f32),
        "ex2.approx.f32" => float1!(|a| f64::from(a).exp2() as f32),
        "cvt.rna.tf32.f32" => float1!(|a| round_to_tf32(a)),
        "cvt.rn.f32.u32" => word1!(|a| (a as f32).to_bits()),
        "cvt.rn.f32.s32" => word1!(|a| (a.cast_signed() as f32).to_bits()),
        // Rust's conversion saturates, and makes 0 of what is no number, as `cvt` does.
        "cvt.rzi.u32.f32" => word1!(|a| f32::from_bits(a) as u32),
        "cvt.u16.u32" | "cvt.u32.u16" => word1!(|a| a & 0xffff),
        _ => return None,
    })
}

/// The instructions with two 32-bit operands and a 32-bit result.
pub fn word2(opcode: &str) -> Option<Word2> {
    Some(match opcode {
        "add.s32" | "add.u32" => word2!(|a, b| a.wrapping_add(b)),
        "sub.s32" | "sub.u32" => word2!(|a, b| a.wrapping_sub(b)),
        "mul.lo.s32" | "mul.lo.u32" => word2!(|a, b| a.wrapping_mul(b)),
        "mul.wide.u16" => word2!(|a, b| (a & 0xffff) * (b & 0xffff)),
        // The manual leaves open what a division by zero gives.
        "div.u32" => word2!(|a, b| a.checked_div(b).unwrap_or(u32::MAX)),
        "min.u32" => word2!(|a, b| a.min(b)),
        "max.u32" => word2!(|a, b| a.max(b)),
        "and.b32" => word2!(|a, b| a & b),
        "or.b32" => word2!(|a, b| a | b),
        "xor.b32" => word2!(|a, b| a ^ b),
        "shl.b32" => word2!(|a, b| a.checked_shl(b).unwrap_or(0)),
        "shr.u32" | "shr.b32" => word2!(|a, b| a.checked_shr(b).unwrap_or(0)),
        "shr.s32" => word2!(|a, b| (a.cast_signed() >> b.min(31)).cast_unsigned()),
        "add.s16" | "add.u16" => word2!(|a, b| a.wrapping_add(b) & 0xffff),
        "and.b16" => word2!(|a, b| a & b & 0xffff),
        "or.b16" => word2!(|a, b| (a | b) & 0xffff),
        "shl.b16" => word2!(|a, b| a.checked_shl(b).unwrap_or(0) & 0xffff),
        "shr.u16" => word2!(|a, b| (a & 0xffff).checked_shr(b).unwrap_or(0)),
        "add.f32" | "add.rn.f32" => float2!(|a, b| a + b),
        "sub.f32" | "sub.rn.f32" => float2!(|a, b| a - b),
        "mul.f32" | "mul.rn.f32" => float2!(|a, b| a * b),
        "div.rn.f32" => float2!(|a, b| a / b),
        "min.f32" => float2!(|a, b| minimum(a, b)),
        "max.f32" => float2!(|a, b| -minimum(-a, -b)),
        // The first operand goes to the upper half.
        "cvt.rn.bf16x2.f32" => word2!(|a, b| round_to_bf16(a) << 16 | round_to_bf16(b)),
        _ => return None,
    })
}

/// The instructions with three 32-bit operands and a 32-bit result.
pub fn word3(opcode: &str) -> Option<Word3> {
    macro_rules! word3 {
        (|$a:ident, $b:ident, $c:ident| $result:expr) => {
            |a: &Words, b: &Words, c: &Words| {
                std::array::from_fn(|lane| {
                    let ($a, $b, $c) = (a[lane], b[lane], c[lane]);
                    $result
                })
            }
        };
    }
    Some(match opcode {
        "fma.rn.f32" => {
            word3!(|a, b, c| f32::from_bits(a).mul_add(f32::from_bits(b), f32::from_bits(c)).to_bits())
        }
        "mad.lo.s32" | "mad.lo.u32" => word3!(|a, b, c| a.wrapping_mul(b).wrapping_add(c)),
        "bfe.u32" => {
            // Position and length are the last eight bits of their operands.
            word3!(|a, b, c| field(u64::from(a), b & 0xff, c & 0xff, 32) as u32)
        }
        _ => return None,
    })
}

/// The instructions with one 64-bit operand and a 64-bit result.
pub fn long1(opcode: &str) -> Option<Long1> {
    Some(match opcode {
        // An address of global memory is its generic address.
        "mov.b64" | "mov.u64" | "cvta.global.u64" | "cvta.to.global.u64" => |a| *a,
        "neg.s64" => |a| a.map(u64::wrapping_neg),
        "not.b64" => |a| a.map(|a| !a),
        _ => return None,
    })
}

/// The instructions with two 64-bit operands and a 64-bit result.
pub fn long2(opcode: &str) -> Option<Long2> {
    Some(match opcode {
        "add.s64" | "add.u64" => long2!(|a, b| a.wrapping_add(b)),
        "sub.s64" | "sub.u64" => long2!(|a, b| a.wrapping_sub(b)),
        "mul.lo.s64" | "mul.lo.u64" => long2!(|a, b| a.wrapping_mul(b)),
        "div.u64" => long2!(|a, b| a.checked_div(b).unwrap_or(u64::MAX)),
        "min.u64" => long2!(|a, b| a.min(b)),
        "max.u64" => long2!(|a, b| a.max(b)),
        "and.b64" => long2!(|a, b| a & b),
        "or.b64" => long2!(|a, b| a | b),
        "xor.b64" => long2!(|a, b| a ^ b),
        _ => return None,
    })
}

/// The instructions with three 64-bit operands and a 64-bit result.
pub fn long3(opcode: &str) -> Option<Long3> {
    Some(match opcode {
        "mad.lo.s64" | "mad.lo.u64" => {
            |a, b, c| std::array::from_fn(|lane| a[lane].wrapping_mul(b[lane]).wrapping_add(c[lane]))
        }
        _ => return None,
    })
}

/// Shifts of 64-bit values.
pub fn long_by_word(opcode: &str) -> Option<LongByWord> {
    macro_rules! shift {
        (|$a:ident, $b:ident| $result:expr) => {
            |a: &Longs, b: &Words| {
                std::array::from_fn(|lane| {
                    let ($a, $b) = (a[lane], b[lane]);
                    $result
                })
            }
        };
    }
    Some(match opcode {
        "shl.b64" => shift!(|a, b| a.checked_shl(b).unwrap_or(0)),
        "shr.u64" | "shr.b64" => shift!(|a, b| a.checked_shr(b).unwrap_or(0)),
        "shr.s64" => shift!(|a, b| (a.cast_signed() >> b.min(63)).cast_unsigned()),
        _ => return None,
    })
}

/// Bits of 64-bit values.
pub fn long_field(opcode: &str) -> Option<LongField> {
    Some(match opcode {
        "bfe.u64" => |a, b, c| std::array::from_fn(|lane| field(a[lane], b[lane] & 0xff, c[lane] & 0xff, 64)),
        _ => return None,
    })
}

/// The instructions with one 32-bit operand and a 64-bit result.
pub fn widen1(opcode: &str) -> Option<Widen1> {
    Some(match opcode {
        "cvt.u64.u32" => |a| a.map(u64::from),
        _ => return None,
    })
}

/// The instructions with two 32-bit operands and a 64-bit result.
pub fn widen2(opcode: &str) -> Option<Widen2> {
    Some(match opcode {
        "mul.wide.u32" => |a, b| std::array::from_fn(|lane| u64::from(a[lane]) * u64::from(b[lane])),
        _ => return None,
    })
}

/// The instructions with one 64-bit operand and a 32-bit result.
pub fn narrow(opcode: &str) -> Option<Narrow> {
    Some(match opcode {
        "cvt.u32.u64" => |a| a.map(|a| a as u32),
        "cvt.u16.u64" => |a| a.map(|a| a as u32 & 0xffff),
        "cvt.rn.f32.u64" => |a| a.map(|a| (a as f32).to_bits()),
        "popc.b64" => |a| a.map(u64::count_ones),
        "clz.b64" => |a| a.map(u64::leading_zeros),
        _ => return None,
    })
}

/// The instructions on predicates.
pub fn predicate2(opcode: &str) -> Option<Predicate2> {
    Some(match opcode {
        "and.pred" => |a, b| a & b,
        "or.pred" => |a, b| a | b,
        _ => return None,
    })
}

/// `setp` of values of up to 32 bits.
pub fn test_words(opcode: &str) -> Option<TestWords> {
    // Comparisons of Rust are false where one side is no number, and `!=` is true, which `neu` is, not `ne`.
    macro_rules! test_floats {
        ($operator:tt) => { test!(Words, |a, b| f32::from_bits(a) $operator f32::from_bits(b)) };
    }
    macro_rules! test_or_none {
        ($operator:tt) => {
            test!(Words, |a, b| {
                let (a, b) = (f32::from_bits(a), f32::from_bits(b));
                a $operator b || a.is_nan() || b.is_nan()
            })
        };
    }
    Some(match opcode.strip_prefix("setp.")? {
        "eq.b16" | "eq.s16" | "eq.u16" => test!(Words, |a, b| a & 0xffff == b & 0xffff),
        "ne.b16" | "ne.s16" | "ne.u16" => test!(Words, |a, b| a & 0xffff != b & 0xffff),
        "eq.b32" | "eq.s32" | "eq.u32" => test!(Words, |a, b| a == b),
        "ne.b32" | "ne.s32" | "ne.u32" => test!(Words, |a, b| a != b),
        "lt.u32" => test!(Words, |a, b| a < b),
        "le.u32" => test!(Words, |a, b| a <= b),
        "gt.u32" => test!(Words, |a, b| a > b),
        "ge.u32" => test!(Words, |a, b| a >= b),
        "lt.s32" => test_signed!(Words, <),
        "le.s32" => test_signed!(Words, <=),
        "gt.s32" => test_signed!(Words, >),
        "ge.s32" => test_signed!(Words, >=),
        "eq.f32" => test_floats!(==),
        "lt.f32" => test_floats!(<),
        "le.f32" => test_floats!(<=),
        "gt.f32" => test_floats!(>),
        "ge.f32" => test_floats!(>=),
        "neu.f32" => test_floats!(!=),
        "equ.f32" => test_or_none!(==),
        "ltu.f32" => test_or_none!(<),
        "leu.f32" => test_or_none!(<=),
        "gtu.f32" => test_or_none!(>),
        "geu.f32" => test_or_none!(>=),
        _ => return None,
    })
}

/// `mov.b64 a, {low, high}`
pub fn pack(low: &Words, high: &Words) -> Longs {
    std::array::from_fn(|lane| u64::from(low[lane]) | u64::from(high[lane]) << 32)
}

/// `setp` of 64-bit values.
pub fn test_longs(opcode: &str) -> Option<TestLongs> {
    Some(match opcode.strip_prefix("setp.")? {
        "eq.b64" | "eq.s64" | "eq.u64" => test!(Longs, |a, b| a == b),
        "ne.b64" | "ne.s64" | "ne.u64" => test!(Longs, |a, b| a != b),
        "lt.u64" => test!(Longs, |a, b| a < b),
        "le.u64" => test!(Longs, |a, b| a <= b),
        "gt.u64" => test!(Longs, |a, b| a > b),
        "ge.u64" => test!(Longs, |a, b| a >= b),
        "lt.s64" => test_signed!(Longs, <),
        "le.s64" => test_signed!(Longs, <=),
        "gt.s64" => test_signed!(Longs, >),
        "ge.s64" => test_signed!(Longs, >=),
        _ => return None,
    })
}

/// `length` bits from `position` on, of a value of `bits` bits; those beyond it are 0.
fn field(value: u64, position: u32, length: u32, bits: u32) -> u64 {
    let value = if position >= bits { 0 } else { value >> position };
    if length >= bits { value } else { value & ((1 << length) - 1) }
}

/// The smaller; the other one where one is no number; -0 before +0.
fn minimum(a: f32, b: f32) -> f32 {
    match a.partial_cmp(&b) {
        None if a.is_nan() => b,
        None => a,
        Some(std::cmp::Ordering::Less) => a,
        Some(std::cmp::Ordering::Greater) => b,
        Some(std::cmp::Ordering::Equal) => f32::from_bits(a.to_bits() | b.to_bits()),
    }
}

/// To ten bits of fraction, ties away from zero.
fn round_to_tf32(a: f32) -> f32 {
    if a.is_finite() { f32::from_bits((a.to_bits() + (1 << 12)) & !0x1fff) } else { a }
}

/// The upper half of a value rounded to seven bits of fraction, ties to even.
fn round_to_bf16(bits: u32) -> u32 {
    if f32::from_bits(bits).is_nan() {
        return 0x7fff;
    }
    let (kept, rest) = (bits >> 16, bits & 0xffff);
    kept + u32::from(rest > 0x8000 || (rest == 0x8000 && kept & 1 == 1))
}
