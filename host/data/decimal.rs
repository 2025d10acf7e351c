//! Numbers and fields of plain text, fast: the ends of fields are looked for 64 bytes at a time, and a number's digits are read
//! together. A crate that reads numbers finds their ends itself, each behind the one before; here no number waits for another.

#[cfg(target_arch = "x86_64")]
use pulp::x86::V3;

/// What the processor reads fields with.
pub(super) trait Instructions: Copy {
    /// A bit for each byte of the block that is one of three.
    fn matches(self, block: &[u8; BLOCK], bytes: [u8; 3]) -> u64;

    /// The number that is `text[from..to]` if it is plain: digits, of which some may be behind a point, with or without a
    /// minus. It is certain if the doubt that is given with it is 0: so many doubts can be looked at once.
    fn plain(self, text: &[u8], from: usize, to: usize) -> Option<(f32, u64)>;
}

/// What is done with the best instructions that the processor has.
pub(super) trait Work {
    type Output;

    /// This, and all of its callees that read text, must be inlined, to be compiled for these instructions.
    fn run(self, instructions: impl Instructions) -> Self::Output;
}

/// Does `work` with the best instructions that this processor has.
pub(super) fn best<W: Work>(work: W) -> W::Output {
    #[cfg(target_arch = "x86_64")]
    if let Some(simd) = V3::try_new() {
        struct Vectors<W>(W, V3);
        impl<W: Work> pulp::NullaryFnOnce for Vectors<W> {
            type Output = W::Output;

            #[inline(always)]
            fn call(self) -> W::Output {
                self.0.run(self.1)
            }
        }
        return simd.vectorize(Vectors(work, simd));
    }
    work.run(Words)
}

/// What ends a field: a separator, or the end of a line.
pub(super) struct Ends<'a, I> {
    text: &'a [u8],
    separator: u8,
    instructions: I,
    /// Where the stretch begins that has been looked at, and where the next one does.
    stretch: usize,
    behind: usize,
    /// The ends in it, as places in it; how many there are, and how many have been passed.
    ends: [u16; STRETCH + AT_ONCE],
    count: usize,
    passed: usize,
}

/// Bytes looked at together.
const BLOCK: usize = 64;

/// Bytes whose ends are found before the fields are read: what the processor could not foresee is where a block has no more
/// of them, and that stops it once a stretch, not once a block. Of a line that a stretch cuts, the ends are found twice.
const STRETCH: usize = 64 * BLOCK;

/// Ends of a block that are noted without a look at how many there are.
const AT_ONCE: usize = 8;

impl<'a, I: Instructions> Ends<'a, I> {
    #[inline(always)]
    pub(super) fn new(text: &'a [u8], separator: u8, instructions: I) -> Self {
        let ends = [0; STRETCH + AT_ONCE];
        Ends { text, separator, instructions, stretch: 0, behind: 0, ends, count: 0, passed: 0 }
    }

    #[inline(always)]
    pub(super) fn instructions(&self) -> I {
        self.instructions
    }

    /// The next end; the text's own end if there is no other.
    #[inline(always)]
    pub(super) fn next(&mut self) -> usize {
        while self.passed == self.count {
            if self.behind >= self.text.len() {
                return self.text.len();
            }
            self.look();
        }
        let end = self.stretch + usize::from(self.ends[self.passed]);
        self.passed += 1;
        end
    }

    /// The next `count` ends, the fields of a line from `begin` on, if they are all in a stretch: where that begins, and
    /// their places in it. They are not passed.
    #[inline(always)]
    pub(super) fn of_line(&mut self, begin: usize, count: usize) -> Option<(usize, &[u16])> {
        if self.count - self.passed < count && self.stretch < begin {
            self.behind = begin;
            self.look();
        }
        Some((self.stretch, self.ends[..self.count].get(self.passed..self.passed + count)?))
    }

    /// Passes the next `count` ends, which are in this stretch.
    #[inline(always)]
    pub(super) fn pass(&mut self, count: usize) {
        self.passed = (self.passed + count).min(self.count);
    }

    /// Passes what is before `at`.
    pub(super) fn skip(&mut self, at: usize) {
        if at >= self.behind {
            (self.behind, self.count, self.passed) = (at, 0, 0);
        }
        while self.passed < self.count && self.stretch + usize::from(self.ends[self.passed]) < at {
            self.passed += 1;
        }
    }

    /// Finds the ends of the next stretch.
    #[inline(always)]
    fn look(&mut self) {
        let bytes = [self.separator, b'\n', b'\r'];
        (self.stretch, self.count, self.passed) = (self.behind, 0, 0);
        let rest = &self.text[self.stretch..];
        let stretch = &rest[..rest.len().min(STRETCH)];
        self.behind += stretch.len();
        let (blocks, rest) = stretch.as_chunks();
        for (number, block) in blocks.iter().enumerate() {
            self.note(BLOCK * number, self.instructions.matches(block, bytes));
        }
        if !rest.is_empty() {
            self.note(BLOCK * blocks.len(), last_matches(rest, bytes));
        }
    }

    /// Notes the ends of the block at `first` of the stretch.
    #[inline(always)]
    fn note(&mut self, first: usize, mut ends: u64) {
        let behind = self.count + ends.count_ones() as usize;
        loop {
            // What is noted beyond the last is overwritten by the next block.
            for end in &mut self.ends[self.count..][..AT_ONCE] {
                *end = (first + ends.trailing_zeros() as usize) as u16;
                ends &= ends.wrapping_sub(1);
            }
            self.count += AT_ONCE;
            if self.count >= behind {
                break;
            }
        }
        self.count = behind;
    }
}

/// A bit for each byte of less than a block that is one of three.
#[cold]
#[inline(never)]
fn last_matches(rest: &[u8], bytes: [u8; 3]) -> u64 {
    let mut block = [0; BLOCK];
    block[..rest.len()].copy_from_slice(rest);
    // None is a zero byte: for a separator, `Reader` sees to it.
    Words.matches(&block, bytes)
}

/// The number that is `text[from..to]`, if it is one and finite: the nearest `f32`, with the bits that `str::parse` gives.
#[inline(always)]
pub(super) fn number(instructions: impl Instructions, text: &[u8], from: usize, to: usize) -> Option<f32> {
    match instructions.plain(text, from, to) {
        Some((number, 0)) => Some(number),
        _ => any(text, from, to),
    }
}

/// Any number, with blanks around it.
#[cold]
#[inline(never)]
fn any(text: &[u8], from: usize, to: usize) -> Option<f32> {
    let text = text.get(from..to)?;
    let begin = text.iter().position(|&byte| byte != b' ')?;
    let end = text.iter().rposition(|&byte| byte != b' ')? + 1;
    fast_float2::parse(&text[begin..end]).ok().filter(|number: &f32| number.is_finite())
}

/// Places behind the point, at most; and a number of 16 digits may have none.
const PLACES: usize = 16;

/// The nearest `f64` of 1, ⅒, … 10⁻¹⁵; of a number that has no point, 1.
const TENTHS: [f64; PLACES + 1] = [
    1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-11, 1e-12, 1e-13, 1e-14, 1e-15, 1.0,
];

/// The nearest `f32` of `integer` · `tenth`, with this bit for its sign, and whether there is a doubt that it is.
///
/// The integer is below 2⁵³ and exact. The error of `tenth` is at most one unit in the product's last place, and that of
/// the product half a unit more. The nearest `f32` of what is so near to the number is the number's own, unless halfway
/// between two `f32` is as near. No number is so small or so large that `f32` has fewer digits.
#[inline(always)]
fn rounded(integer: u64, tenth: f64, sign: u32) -> (f32, u64) {
    /// Of an `f64`, the bits of the mantissa that `f32` has not; if only the first is set, it lies halfway.
    const BEYOND: u64 = (1 << 29) - 1;
    const HALFWAY: u64 = 1 << 28;
    let product = integer.cast_signed() as f64 * tenth;
    // Two units on both sides of halfway are 0 to 4; what is taken off leaves the highest bit to them alone.
    let near = (product.to_bits().wrapping_sub(HALFWAY - 2) & BEYOND).wrapping_sub(5) & (1 << 63);
    let number = f32::from_bits((product as f32).to_bits() | sign);
    (number, integer >> 53 | near)
}

/// Sixteen bytes in a vector.
#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{__m128i, __m256i};

    use bytemuck::cast;
    use pulp::x86::V3;

    use super::{BLOCK, Instructions, PLACES, TENTHS, rounded};

    /// From place `n` on: what keeps the last `n` + 1 of 16 bytes.
    const LAST: [u8; 31] = {
        let mut last = [0; 31];
        let mut i = 15;
        while i < 31 {
            last[i] = 0xff;
            i += 1;
        }
        last
    };

    /// For each number of bytes behind a point: where each of 16 bytes comes from when the point is taken out, and what is
    /// before it moves to its place. A high bit gives zero.
    const WITHOUT_POINT: [[u8; 16]; PLACES + 1] = {
        let mut from = [[0; 16]; PLACES + 1];
        let mut places = 0;
        while places <= PLACES {
            let mut i = 0;
            while i < 16 {
                let kept = places == PLACES || 15 - i < places;
                from[places][i] = if kept { i as u8 } else { (i as u8).wrapping_sub(1) };
                i += 1;
            }
            places += 1;
        }
        from
    };

    /// What a byte is worth as a digit.
    const fn worth(byte: u8) -> i8 {
        byte.wrapping_sub(b'0').cast_signed()
    }

    impl Instructions for V3 {
        #[inline(always)]
        fn matches(self, block: &[u8; BLOCK], bytes: [u8; 3]) -> u64 {
            // No closures: they would not be compiled for these instructions.
            let (avx, avx2) = (self.avx, self.avx2);
            let halves: [__m256i; 2] = cast(*block);
            let mut found = [avx._mm256_setzero_si256(); 2];
            for byte in bytes {
                let byte = avx._mm256_set1_epi8(byte.cast_signed());
                for h in 0..2 {
                    found[h] = avx2._mm256_or_si256(found[h], avx2._mm256_cmpeq_epi8(halves[h], byte));
                }
            }
            let [low, high] = found;
            u64::from(avx2._mm256_movemask_epi8(low).cast_unsigned())
                | u64::from(avx2._mm256_movemask_epi8(high).cast_unsigned()) << 32
        }

        /// A number of at most 16 bytes that is not among the first of the text.
        #[inline(always)]
        fn plain(self, text: &[u8], from: usize, to: usize) -> Option<(f32, u64)> {
            let V3 { sse2, ssse3, sse4_1, .. } = self;
            let beyond_first = to.wrapping_sub(from + 1);
            let bytes: &[u8; 16] = text[..to].last_chunk()?;
            let last: &[u8; 16] = LAST.get(beyond_first..)?.first_chunk()?;
            // Where a byte is the first of the number, as the highest bit of 16.
            let first = |mask: u32| mask << beyond_first;

            // Digits as what they are worth, and zeros before the number and in place of a minus.
            let values = sse2._mm_sub_epi8(cast(*bytes), sse2._mm_set1_epi8(b'0'.cast_signed()));
            let values = sse2._mm_and_si128(values, cast(*last));
            let minus = sse2._mm_cmpeq_epi8(values, sse2._mm_set1_epi8(worth(b'-')));
            let points = sse2._mm_cmpeq_epi8(values, sse2._mm_set1_epi8(worth(b'.')));
            let values = sse2._mm_andnot_si128(minus, values);
            let minus = sse2._mm_movemask_epi8(minus).cast_unsigned();
            let points = sse2._mm_movemask_epi8(points).cast_unsigned();
            let places = points.leading_zeros() as usize - 16;
            let values = ssse3._mm_shuffle_epi8(values, cast(WITHOUT_POINT[places]));
            let beyond = sse2._mm_max_epu8(values, sse2._mm_set1_epi8(10));
            let no_digits = sse2._mm_movemask_epi8(sse2._mm_cmpeq_epi8(values, beyond)).cast_unsigned();
            // A point or a minus that has no digit behind it, a point that has none before it, a minus that is not the first.
            let misplaced = (points | minus | first(points) | first(points) >> 1 & first(minus)) & 1 << 15
                | first(minus) & !(1 << 15);

            // Pairs of digits, fours, eights.
            let pairs = ssse3._mm_maddubs_epi16(values, sse2._mm_set1_epi16(0x01_0a));
            let fours = sse2._mm_madd_epi16(pairs, sse2._mm_set1_epi32(0x0001_0064));
            let fours = sse4_1._mm_packus_epi32(fours, fours);
            let eights: __m128i = sse2._mm_madd_epi16(fours, sse2._mm_set1_epi32(0x0001_2710));
            let [eights, _]: [u64; 2] = cast(eights);
            let integer = (eights & 0xffff_ffff) * 100_000_000 + (eights >> 32);
            let (number, doubt) = rounded(integer, TENTHS[places], first(minus) << 16);
            Some((number, doubt | u64::from(no_digits | misplaced)))
        }
    }
}

/// Eight bytes in a word: what every processor has.
#[derive(Clone, Copy)]
struct Words;

impl Instructions for Words {
    #[inline(always)]
    fn matches(self, block: &[u8; BLOCK], bytes: [u8; 3]) -> u64 {
        let bit = |(place, byte): (usize, &u8)| u64::from(bytes.contains(byte)) << place;
        block.iter().enumerate().map(bit).fold(0, |found, bit| found | bit)
    }

    /// A number of at most eight digits and as many behind the point that is not among the last of the text.
    #[inline(always)]
    fn plain(self, text: &[u8], from: usize, to: usize) -> Option<(f32, u64)> {
        let minus = *text.get(from)? == b'-';
        let (from, sign) = (from + usize::from(minus), u32::from(minus) << 31);
        let before = digits(text, from)?;
        let whole = (no_digits(before).trailing_zeros() / 8) as usize;
        let point = from + whole;
        if whole == 0 || point > to {
            return None;
        }
        let before = value(before << (64 - 8 * whole));
        if point == to {
            return Some(rounded(before, 1.0, sign));
        }
        let places = to - point - 1;
        if text[point] != b'.' || !(1..=8).contains(&places) {
            return None;
        }
        let behind = digits(text, point + 1)? << (64 - 8 * places);
        if no_digits(behind) != 0 {
            return None;
        }
        Some(rounded(before * 10_u64.pow(places as u32) + value(behind), TENTHS[places], sign))
    }
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

    /// What the processor has, and what every processor has.
    fn on_both<W: Work<Output: PartialEq + std::fmt::Debug> + Copy>(work: W) -> W::Output {
        let output = work.run(Words);
        assert_eq!(best(work), output);
        output
    }

    fn check(text: &str) {
        #[derive(Clone, Copy)]
        struct Number<'a>(&'a str, usize, usize);
        impl Work for Number<'_> {
            type Output = Option<u32>;
            fn run(self, instructions: impl Instructions) -> Option<u32> {
                number(instructions, self.0.as_bytes(), self.1, self.2).map(f32::to_bits)
            }
        }
        let expected = text.trim_matches(' ').parse().ok().filter(|number: &f32| number.is_finite());
        let expected = expected.map(f32::to_bits);
        // What is before and behind a number, and nothing.
        for (text, from) in [
            (text.to_owned(), 0),
            (format!("1,{text},23456789012345"), 2),
            (format!("7\n{text}"), 2),
            (format!("1234567,9.87654321,{text}\n1234567890123456"), 19),
            (format!("-.1234567890,.-{text}"), 15),
        ] {
            let to = from + text[from..].find([',', '\n']).unwrap_or(text.len() - from);
            assert_eq!(on_both(Number(&text, from, to)), expected, "{text:?}");
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
                (["", "-"][next() as usize % 2], next() % 10_u64.pow(next() as u32 % 9), next() % 17);
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
    fn what_is_no_number_is_none_in_any_way() {
        let mut state = 5_u64;
        let mut next = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        for text in ["1-2", "1-", "-1-", "-5.", "1.-2", ".-5", "-.5", "--5", "-", "-.", "..", "1..2", "-1.5-"]
        {
            check(text);
        }
        for _ in 0..if cfg!(miri) { 100 } else { 200_000 } {
            let length = next(19);
            // More digits than other bytes, so that there are numbers among them.
            let bytes =
                (0..length).map(|_| b"0123456789012345678901234567890123456789..-+e /:"[next(48) as usize]);
            check(&String::from_utf8(bytes.collect()).unwrap());
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
        #[derive(Clone, Copy)]
        struct Found<'a>(&'a [u8], usize, usize);
        impl Work for Found<'_> {
            type Output = Vec<usize>;
            fn run(self, instructions: impl Instructions) -> Vec<usize> {
                let mut ends = Ends::new(self.0, b',', instructions);
                ends.skip(self.1);
                (0..self.2).map(|_| ends.next()).collect()
            }
        }
        let text: Vec<u8> = (0..1000_usize).map(|i| b"a,b\n\rc;d\0e"[i * i / 7 % 10]).collect();
        for length in [0, 1, 63, 64, 65, 127, 128, 200, 1000] {
            let text = &text[..length];
            for from in [0, 1, 50, 63, 64, 65, 130, length].into_iter().filter(|from| *from <= length) {
                let ends = (from..length).filter(|&i| b",\n\r".contains(&text[i]));
                let expected: Vec<usize> = ends.chain([length, length]).collect();
                assert_eq!(on_both(Found(text, from, expected.len())), expected);
            }
        }
    }
}
