//! Numbers and fields of plain text, fast: the ends of fields are looked for 64 bytes at a time, and digits are read eight at a
//! time. A crate that reads numbers finds their ends itself, each behind the one before; here no number waits for another.

/// What ends a field: a separator, or the end of a line.
pub(super) struct Ends<'a> {
    text: &'a [u8],
    separator: u8,
    /// The block looked at, and the ends in it that have not been passed, a bit each.
    block: usize,
    ends: u64,
}

/// Bytes looked at together.
const BLOCK: usize = 64;

impl<'a> Ends<'a> {
    pub(super) fn new(text: &'a [u8], separator: u8) -> Self {
        Ends { text, separator, block: 0, ends: ends(text, 0, separator) }
    }

    /// The first end at or behind `from`, which no call before was behind of; the text's own end if there is no other.
    #[inline(always)]
    pub(super) fn next(&mut self, from: usize) -> usize {
        loop {
            while self.ends != 0 {
                let end = self.block + self.ends.trailing_zeros() as usize;
                self.ends &= self.ends - 1;
                if end >= from {
                    return end;
                }
            }
            if self.block >= self.text.len() {
                return self.text.len();
            }
            self.block += BLOCK;
            self.ends = ends(self.text, self.block, self.separator);
        }
    }
}

/// The ends in the block at `at`.
#[inline(always)]
fn ends(text: &[u8], at: usize, separator: u8) -> u64 {
    let rest = &text[at.min(text.len())..];
    match rest.first_chunk() {
        Some(block) => matches(block, [separator, b'\n', b'\r']),
        None => {
            let mut block = [0; BLOCK];
            block[..rest.len()].copy_from_slice(rest);
            // No end is a zero byte, for which `Reader` sees that no separator is.
            matches(&block, [separator, b'\n', b'\r'])
        }
    }
}

/// A bit for each byte of the block that is one of three.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn matches(block: &[u8; BLOCK], bytes: [u8; 3]) -> u64 {
    use std::arch::x86_64::{__m128i, _mm_cmpeq_epi8, _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi8};
    let mut found = 0;
    for (place, sixteen) in block.as_chunks::<16>().0.iter().enumerate() {
        let sixteen: __m128i = bytemuck::cast(*sixteen);
        // SAFETY: every processor of this architecture has these instructions, SSE2.
        let bits = unsafe {
            let [a, b, c] = bytes.map(|byte| _mm_cmpeq_epi8(sixteen, _mm_set1_epi8(byte.cast_signed())));
            _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(a, b), c))
        };
        found |= u64::from(bits.cast_unsigned()) << (16 * place);
    }
    found
}

/// A bit for each byte of the block that is one of three.
#[cfg(not(target_arch = "x86_64"))]
fn matches(block: &[u8; BLOCK], bytes: [u8; 3]) -> u64 {
    let bit = |(place, byte): (usize, &u8)| u64::from(bytes.contains(byte)) << place;
    block.iter().enumerate().map(bit).fold(0, |found, bit| found | bit)
}

/// The number that is `text[from..to]`, if it is one: the nearest `f32`, with the bits that `str::parse` gives.
#[inline(always)]
pub(super) fn number(text: &[u8], from: usize, to: usize) -> Option<f32> {
    plain(text, from, to).or_else(|| any(&text[from..to]))
}

/// Any number, with blanks around it.
#[cold]
fn any(text: &[u8]) -> Option<f32> {
    let begin = text.iter().position(|&byte| byte != b' ')?;
    let end = text.iter().rposition(|&byte| byte != b' ')? + 1;
    fast_float2::parse(&text[begin..end]).ok()
}

/// Powers of ten, which are exact.
const POWERS: [(u64, f64); 9] = {
    let mut powers = [(1, 1.0); 9];
    let mut k = 1;
    while k < 9 {
        powers[k] = (10 * powers[k - 1].0, 10.0 * powers[k - 1].1);
        k += 1;
    }
    powers
};

/// A number of at most eight digits and as many behind the point, without blanks and exponent, and not the last of the text.
///
/// Its digits are an integer below 2⁵³, so that the quotient by a power of ten is the `f64` that is nearest to the number. The
/// `f32` that is nearest to that is nearest to the number too, unless the quotient lies halfway between two `f32`, where the
/// number may be on either side: that is left to [`any`]. No quotient is so small or so large that `f32` has fewer digits.
#[inline(always)]
fn plain(text: &[u8], from: usize, to: usize) -> Option<f32> {
    let negative = *text.get(from)? == b'-';
    let from = from + usize::from(negative);
    let before = digits(text, from)?;
    let whole = (no_digits(before).trailing_zeros() / 8) as usize;
    let point = from + whole;
    if whole == 0 || point > to {
        return None;
    }
    let before = value(before << (64 - 8 * whole));
    let quotient = if point == to {
        before as f64
    } else {
        let places = to - point - 1;
        if text[point] != b'.' || !(1..=8).contains(&places) {
            return None;
        }
        let behind = digits(text, point + 1)? << (64 - 8 * places);
        let (power, divisor) = POWERS[places];
        let integer = before * power + value(behind);
        if no_digits(behind) != 0 || integer > 1 << 53 {
            return None;
        }
        integer as f64 / divisor
    };
    /// Of an `f64`, the bits of the mantissa that `f32` has not; if only the first is set, it lies halfway.
    const BEYOND: u64 = (1 << 29) - 1;
    if quotient.to_bits() & BEYOND == 1 << 28 {
        return None;
    }
    Some(f32::from_bits((quotient as f32).to_bits() | (u32::from(negative) << 31)))
}

/// Eight bytes, the first of them in the lowest byte; digits as what they are worth.
#[inline(always)]
fn digits(text: &[u8], at: usize) -> Option<u64> {
    let bytes: &[u8; 8] = text.get(at..)?.first_chunk()?;
    Some(u64::from_le_bytes(*bytes) ^ 0x3030_3030_3030_3030)
}

/// The highest bit of each byte that is above 9 is set, up to the first of them; what is behind it may be set as well.
#[inline(always)]
fn no_digits(bytes: u64) -> u64 {
    (bytes.wrapping_add(0x7676_7676_7676_7676) | bytes) & 0x8080_8080_8080_8080
}

/// The number of eight digits: pairs of them, fours, all.
#[inline(always)]
fn value(digits: u64) -> u64 {
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = pairs.wrapping_mul(100).wrapping_add(pairs >> 16) & 0x0000_ffff_0000_ffff;
    fours.wrapping_mul(10_000).wrapping_add(fours >> 32) & 0xffff_ffff
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) {
        let expected = text.trim_matches(' ').parse::<f32>().ok().map(f32::to_bits);
        // What is behind a number, and nothing.
        for (text, from) in
            [(text.to_owned(), 0), (format!("1,{text},23456789012345"), 2), (format!("7\n{text}"), 2)]
        {
            let to = from + text.len().min(text[from..].find(',').unwrap_or(text.len() - from));
            let got = number(text.as_bytes(), from, to).map(f32::to_bits);
            assert_eq!(got, expected, "{text:?}");
        }
    }

    #[test]
    fn numbers_are_those_of_the_standard_library() {
        for text in [
            "0",
            "-0",
            "0.0",
            "-0.0",
            "5.",
            ".5",
            "-.5",
            "+5",
            "--5",
            "-",
            ".",
            "",
            " ",
            " 5",
            "5 ",
            "- 5",
            "1 2",
            "1.2.3",
            "1:2",
            "12345678",
            "123456789",
            "1.12345678",
            "1.123456789",
            "99999999.99999999",
            "90071992.54740992",
            "90071992.54740993",
            "00000000.00000001",
            "1e5",
            "1.5e-3",
            "1e",
            "inf",
            "NaN",
            "-infinity",
            "0x10",
            "1_000",
            "16777217",
            "16777219",
            "1.00000006",
            "٣",
            "1/2",
            "1;5",
            "\u{b2}",
            "3.4028236e38",
            "1e39",
        ] {
            check(text);
        }
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 32
        };
        for _ in 0..if cfg!(miri) { 100 } else { 200_000 } {
            let (sign, whole, places) =
                (["", "-"][next() as usize % 2], next() % 10_u64.pow(next() as u32 % 9), next() % 11);
            let behind = next() << 32 | next();
            match places {
                0 => check(&format!("{sign}{whole}")),
                _ => check(&format!(
                    "{sign}{whole}.{:0width$}",
                    behind % 10_u64.pow(places as u32),
                    width = places as usize
                )),
            }
        }
    }

    #[test]
    fn halfway_is_rounded_to_even_and_its_neighbours_to_their_sides() {
        // m + ½ units of the last place for 24 bits, with as many places as that takes, and with a digit more or less.
        for exponent in 1..=8_i32 {
            for mantissa in [1 << 23, (1 << 23) + 1, (1 << 24) - 1, 12_345_679] {
                let halfway = (2 * mantissa + 1) as f64 / 2.0_f64.powi(exponent);
                let text = format!("{halfway}");
                check(&text);
                check(&format!("-{text}"));
                check(&format!("{text}{}1", if text.contains('.') { "" } else { "." }));
                check(&format!("{}", halfway - 1e-8));
            }
        }
    }

    #[test]
    fn ends_are_all_found_in_order() {
        let text: Vec<u8> = (0..1000_usize).map(|i| b"a,b\n\rc;d\0e"[i * i / 7 % 10]).collect();
        for length in [0, 1, 63, 64, 65, 127, 128, 200, 1000] {
            let text = &text[..length];
            let expected: Vec<usize> =
                (0..length).filter(|&i| b",\n\r".contains(&text[i])).chain([length, length]).collect();
            let mut ends = Ends::new(text, b',');
            let found: Vec<usize> = expected.iter().map(|_| ends.next(0)).collect();
            assert_eq!(found, expected);
            let mut ends = Ends::new(text, b',');
            for from in (0..length).step_by(50) {
                assert_eq!(ends.next(from), *expected.iter().find(|&&end| end >= from).unwrap());
            }
        }
    }
}
