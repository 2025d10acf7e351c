//! The innermost loops, written once over `pulp`'s vectors and compiled for each instruction set.
//!
//! A function here is `#[inline(always)]` and takes the vectors' type as `S`, so that it becomes part of the pass
//! that `pulp::Arch::dispatch` compiled for the machine's instruction set. No loop needs `unsafe`, but for [`prefetch`].

use pulp::Simd;
#[cfg(target_arch = "x86_64")]
use pulp::bytemuck::cast;

use super::super::matrix::Aligned;

/// Partial sums of a dot product: element j goes to partial sum j mod 32, whatever the vectors' width.
pub(super) const LANES: usize = 32;

/// The lanes of the widest vectors.
pub(super) const MOST_LANES: usize = 16;

/// Elements of a cache line.
pub(super) const LINE: usize = 16;

/// Elements of a dot product after which its partial sums are added up and passed on to `f64`.
pub(super) const PIECE: usize = 4096;

/// Has the cache line of `values[at]` fetched, if there is one: what reads memory in bursts leaves it idle between them.
#[inline(always)]
pub(super) fn prefetch(values: &[f32], at: usize) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint, which neither reads nor faults: any address will do.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(values.as_ptr().wrapping_add(at).cast()) };
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = (values, at);
}

/// A row of X as it is or, if `CENTRED`, with a mean taken off each value when it is read. Both are as long as the vectors
/// of their [`Columns`].
#[derive(Clone, Copy)]
pub(super) struct Row<'a, const CENTRED: bool> {
    pub(super) values: &'a [f32],
    /// Not read unless `CENTRED`.
    pub(super) mean: &'a [f32],
}

/// Columns in whole vectors: what is behind the last column counts as zero.
#[derive(Clone, Copy)]
pub(super) struct Columns<S: Simd> {
    simd: S,
    columns: usize,
    /// The lanes of the last vector that are columns.
    last: S::m32s,
}

impl<S: Simd> Columns<S> {
    #[inline(always)]
    pub(super) fn new(simd: S, columns: usize) -> Self {
        let lanes = columns - columns.saturating_sub(1) / S::F32_LANES * S::F32_LANES;
        Columns { simd, columns, last: simd.mask_between_m32s(0, lanes as u32).mask() }
    }

    /// The elements of the vectors: as many as there are columns, or a few more.
    #[inline(always)]
    pub(super) fn length(&self) -> usize {
        self.columns.next_multiple_of(S::F32_LANES)
    }

    /// A copy of a value for each column, or of none, and zeros behind it.
    #[inline(always)]
    pub(super) fn padded(&self, values: &[f32]) -> Aligned<f32> {
        let mut padded = Aligned::zeros(self.length());
        padded[..values.len()].copy_from_slice(values);
        padded
    }

    /// A vector of a row, of which `mean` are the means.
    #[inline(always)]
    fn vector<const CENTRED: bool>(&self, values: S::f32s, mean: S::f32s) -> S::f32s {
        if CENTRED { self.simd.sub_f32s(values, mean) } else { values }
    }

    /// `values`, with zeros behind them in `copy` if they are fewer than the vectors' elements.
    #[inline(always)]
    pub(super) fn whole<'a>(&self, values: &'a [f32], copy: &'a mut Option<Aligned<f32>>) -> &'a [f32] {
        if values.len() == self.length() { values } else { copy.insert(self.padded(values)) }
    }

    /// [`Self::dots`] of as many rows at a time as there are registers for.
    #[inline(always)]
    pub(super) fn dots_of_group<const CENTRED: bool>(
        &self,
        [row0, row1, row2, row3]: [Row<'_, CENTRED>; 4],
        w: &[f32],
        next: [&[f32]; 2],
    ) -> [f64; 4] {
        if const { LANES / S::F32_LANES <= 2 } {
            return self.dots([row0, row1, row2, row3], w, next);
        }
        let [dot0, dot1] = self.dots([row0, row1], w, [next[0]]);
        let [dot2, dot3] = self.dots([row2, row3], w, [next[1]]);
        [dot0, dot1, dot2, dot3]
    }

    /// Σ xᵢ wᵢ of each row: at most PIECE / LANES fused steps and log₂ LANES additions deep in `f32`, the rest in `f64`. All
    /// rows have the same means. The rows `next` are fetched meanwhile.
    #[inline(always)]
    pub(super) fn dots<const CENTRED: bool, const ROWS: usize, const NEXT: usize>(
        &self,
        rows: [Row<'_, CENTRED>; ROWS],
        w: &[f32],
        next: [&[f32]; NEXT],
    ) -> [f64; ROWS] {
        let (w, _) = S::as_simd_f32s(w);
        let x = rows.map(|row| &S::as_simd_f32s(row.values).0[..w.len()]);
        let mean = if CENTRED { &S::as_simd_f32s(rows[0].mean).0[..w.len()] } else { x[0] };
        let mut products = [0.0; ROWS];
        let mut start = 0;
        while start < w.len() {
            let end = (start + const { PIECE / S::F32_LANES }).min(w.len());
            let x = x.map(|x| &x[start..end]);
            let next = next.map(|next| next.get(start * S::F32_LANES..).unwrap_or_default());
            let last = end == w.len();
            let sums =
                self.dots_of_piece::<CENTRED, ROWS, NEXT>(x, &mean[start..end], &w[start..end], last, next);
            for r in 0..ROWS {
                products[r] += f64::from(sums[r]);
            }
            start = end;
        }
        products
    }

    #[inline(always)]
    fn dots_of_piece<const CENTRED: bool, const ROWS: usize, const NEXT: usize>(
        &self,
        x: [&[S::f32s]; ROWS],
        mean: &[S::f32s],
        w: &[S::f32s],
        last: bool,
        next: [&[f32]; NEXT],
    ) -> [f32; ROWS] {
        let (simd, vectors) = (self.simd, const { LANES / S::F32_LANES });
        // The last vector is for what comes after this loop.
        let groups = (w.len() - usize::from(last)) / vectors;
        let mut sums = [[simd.splat_f32s(0.0); LANES]; ROWS]; // the first `vectors` of each are used
        for group in 0..groups {
            let at = group * vectors;
            for row in next {
                for line in 0..const { LANES / LINE } {
                    prefetch(row, group * LANES + line * LINE);
                }
            }
            let (mean, w) = (&mean[at..][..vectors], &w[at..][..vectors]);
            for r in 0..ROWS {
                let x = &x[r][at..][..vectors];
                for v in 0..vectors {
                    let x = self.vector::<CENTRED>(x[v], mean[v]);
                    sums[r][v] = simd.mul_add_e_f32s(x, w[v], sums[r][v]);
                }
            }
        }
        let done = groups * vectors;
        // The indices stay constants, so that the sums stay in registers.
        for v in 0..vectors {
            if done + v < w.len() {
                let last = last && done + v + 1 == w.len();
                for r in 0..ROWS {
                    let x = x[r][done + v];
                    let x = if last { simd.select_f32s(self.last, x, simd.splat_f32s(0.0)) } else { x };
                    let x = self.vector::<CENTRED>(x, mean[done + v]);
                    sums[r][v] = simd.mul_add_e_f32s(x, w[done + v], sums[r][v]);
                }
            }
        }
        let mut half = vectors / 2;
        while half > 0 {
            for sums in &mut sums {
                for v in 0..half {
                    sums[v] = simd.add_f32s(sums[v], sums[v + half]);
                }
            }
            half /= 2;
        }
        sums.map(|sums| simd.reduce_sum_f32s(sums[0]))
    }

    /// sums := sums + Σᵣ scalesᵣ rowsᵣ, in the order of the rows: `ROWS` fused steps for each element. All rows have the same
    /// means. The rows `next` are fetched meanwhile. Sums behind the last column are of what is there.
    #[inline(always)]
    pub(super) fn add_scaled<const CENTRED: bool, const ROWS: usize, const NEXT: usize>(
        &self,
        sums: &mut [f32],
        scales: [f32; ROWS],
        rows: [Row<'_, CENTRED>; ROWS],
        next: [&[f32]; NEXT],
    ) {
        let simd = self.simd;
        let (sums, _) = S::as_mut_simd_f32s(sums);
        let count = sums.len();
        let x = rows.map(|row| &S::as_simd_f32s(row.values).0[..count]);
        let mean = if CENTRED { &S::as_simd_f32s(rows[0].mean).0[..count] } else { x[0] };
        let scales = scales.map(|scale| simd.splat_f32s(scale));
        for (j, sum) in sums.iter_mut().enumerate() {
            if j % const { LINE.div_ceil(S::F32_LANES) } == 0 {
                for row in next {
                    prefetch(row, j * S::F32_LANES);
                }
            }
            for r in 0..ROWS {
                let x = self.vector::<CENTRED>(x[r][j], mean[j]);
                *sum = simd.mul_add_e_f32s(x, scales[r], *sum);
            }
        }
    }
}

/// The first `COUNT` values, and zeros where there are fewer, as vectors; as many as those are.
#[inline(always)]
pub(super) fn padded<S: Simd, const COUNT: usize>(simd: S, values: &[f32]) -> [S::f32s; COUNT] {
    let mut padded = [0.0; COUNT];
    let count = values.len().min(COUNT);
    padded[..count].copy_from_slice(&values[..count]);
    let (padded, _) = S::as_simd_f32s(&padded);
    let mut vectors = [simd.splat_f32s(0.0); COUNT];
    vectors[..padded.len()].copy_from_slice(padded);
    vectors
}

/// For each of as many vectors as there are lanes in one (the first of `vectors`) the sum of its lanes, with the bits of
/// `reduce_sum_f32s`.
#[inline(always)]
pub(super) fn sums_across<S: Simd>(simd: S, vectors: &[S::f32s; MOST_LANES]) -> [f32; MOST_LANES] {
    let mut sums = [0.0; MOST_LANES];
    #[cfg(target_arch = "x86_64")]
    {
        let token: &dyn std::any::Any = &simd;
        if let Some(simd) = token.downcast_ref::<pulp::x86::V4>() {
            let mut v = [simd.avx512f._mm512_setzero_ps(); 16];
            for r in 0..16 {
                v[r] = cast(vectors[r]);
            }
            return cast(x86::sums_across_16(*simd, v));
        }
        if let Some(simd) = token.downcast_ref::<pulp::x86::V3>() {
            let mut v = [simd.avx._mm256_setzero_ps(); 8];
            for r in 0..8 {
                v[r] = cast(vectors[r]);
            }
            let eight: [f32; 8] = cast(x86::sums_across_8(*simd, v));
            sums[..8].copy_from_slice(&eight);
            return sums;
        }
    }
    for r in 0..S::F32_LANES {
        sums[r] = simd.reduce_sum_f32s(vectors[r]);
    }
    sums
}

/// The lanes of several vectors summed at a time: each round puts the halves of two sums into one vector, so that what would
/// be four shuffles and four additions a vector is two and one.
#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{__m256, __m512};

    use pulp::x86::{V3, V4};

    // Of each four: the first two, the last two, those at even and those at odd places.
    const FIRST: i32 = 0b01_00_01_00;
    const LAST: i32 = 0b11_10_11_10;
    const EVEN: i32 = 0b10_00_10_00;
    const ODD: i32 = 0b11_01_11_01;

    #[inline(always)]
    pub(super) fn sums_across_16(simd: V4, mut v: [__m512; 16]) -> __m512 {
        let avx = simd.avx512f;
        for r in [0, 1, 2, 3, 8, 9, 10, 11] {
            let (a, b) = (v[r], v[r + 4]);
            let (first, last) =
                (avx._mm512_shuffle_f32x4::<FIRST>(a, b), avx._mm512_shuffle_f32x4::<LAST>(a, b));
            v[r] = avx._mm512_add_ps(first, last);
        }
        for r in [0, 1, 2, 3] {
            let (a, b) = (v[r], v[r + 8]);
            let (even, odd) = (avx._mm512_shuffle_f32x4::<EVEN>(a, b), avx._mm512_shuffle_f32x4::<ODD>(a, b));
            v[r] = avx._mm512_add_ps(even, odd);
        }
        for r in [0, 2] {
            let (a, b) = (v[r], v[r + 1]);
            v[r] =
                avx._mm512_add_ps(avx._mm512_shuffle_ps::<FIRST>(a, b), avx._mm512_shuffle_ps::<LAST>(a, b));
        }
        let (a, b) = (v[0], v[2]);
        avx._mm512_add_ps(avx._mm512_shuffle_ps::<EVEN>(a, b), avx._mm512_shuffle_ps::<ODD>(a, b))
    }

    #[inline(always)]
    pub(super) fn sums_across_8(simd: V3, mut v: [__m256; 8]) -> __m256 {
        let avx = simd.avx;
        for r in [0, 1, 2, 3] {
            let (a, b) = (v[r], v[r + 4]);
            let (first, last) =
                (avx._mm256_permute2f128_ps::<0x20>(a, b), avx._mm256_permute2f128_ps::<0x31>(a, b));
            v[r] = avx._mm256_add_ps(first, last);
        }
        for r in [0, 2] {
            let (a, b) = (v[r], v[r + 1]);
            v[r] =
                avx._mm256_add_ps(avx._mm256_shuffle_ps::<FIRST>(a, b), avx._mm256_shuffle_ps::<LAST>(a, b));
        }
        let (a, b) = (v[0], v[2]);
        avx._mm256_add_ps(avx._mm256_shuffle_ps::<EVEN>(a, b), avx._mm256_shuffle_ps::<ODD>(a, b))
    }
}

/// Adds d and d² to `sums` and `squares`, with d = row − origin in `f64`, and has the rows of `next` fetched.
#[inline(always)]
pub(super) fn add_deviations<const ROWS: usize, const NEXT: usize>(
    origin: &[f32],
    rows: [&[f32]; ROWS],
    next: [&[f32]; NEXT],
    sums: &mut [f64],
    squares: &mut [f64],
) {
    let (lines, rest) = origin.as_chunks::<LINE>();
    let (sum_lines, rest_sums) = sums.as_chunks_mut::<LINE>();
    let (square_lines, rest_squares) = squares.as_chunks_mut::<LINE>();
    for (number, ((origin, sums), squares)) in lines.iter().zip(sum_lines).zip(square_lines).enumerate() {
        for row in next {
            prefetch(row, number * LINE);
        }
        // In variables of their own, which are written once for all rows.
        let (mut deviations, mut of_squares) = (*sums, *squares);
        for row in rows {
            let row: &[f32; LINE] =
                row[number * LINE..].first_chunk().expect("rows are as long as their origin");
            for j in 0..LINE {
                let deviation = f64::from(row[j]) - f64::from(origin[j]);
                deviations[j] += deviation;
                of_squares[j] += deviation * deviation;
            }
        }
        (*sums, *squares) = (deviations, of_squares);
    }
    for row in rows {
        let row = &row[LINE * lines.len()..];
        for (((value, &origin), sum), square) in
            row.iter().zip(rest).zip(&mut *rest_sums).zip(&mut *rest_squares)
        {
            let deviation = f64::from(*value) - f64::from(origin);
            *sum += deviation;
            *square += deviation * deviation;
        }
    }
}

/// 1 / (1 + e⁻ᶻ) within 3 units in the last place, without branches.
#[inline(always)]
pub(super) fn sigmoid(z: f32) -> f32 {
    let power = exp_of_negative(-z.abs());
    let numerator = if z >= 0.0 { 1.0 } else { power };
    numerator / (1.0 + power)
}

/// eˣ for x ≤ 0: 2ⁿ · e^r with |r| ≤ ln 2 / 2 and the polynomial of Cephes' `expf` (S. Moshier, 1989).
#[inline(always)]
pub(super) fn exp_of_negative(x: f32) -> f32 {
    /// Added to a small number it leaves the nearest integer in the low bits.
    const ROUND: f32 = 12_582_912.0; // 1.5 · 2²³
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;

    // Below -104 the result is 0. Not `max`, which would lose a NaN.
    let x = if x < -104.0 { -104.0 } else { x };
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = (x - n * LN_2_HIGH) - n * LN_2_LOW;
    let mut p = 1.987_569_1e-4;
    for coefficient in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = p * r + coefficient;
    }
    let power = p * (r * r) + r + 1.0;
    // 2ⁿ in two factors, so that results below the normal numbers come out right.
    let n = (rounded.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
    let half = n >> 1;
    power * two_to_the(half) * two_to_the(n.wrapping_sub(half))
}

/// 2ⁿ for -126 ≤ n ≤ 127.
#[inline(always)]
fn two_to_the(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) as u32) << 23)
}

/// eˣ for x ≤ 0 in `f64` within 2 units in the last place, without branches; below -708, where results would no longer be
/// normal numbers, 0. 2ⁿ · e^r with |r| ≤ ln 2 / 2, and thirteen terms of the exponential series.
#[inline(always)]
pub(super) fn wide_exp_of_negative(x: f64) -> f64 {
    const ROUND: f64 = 6_755_399_441_055_744.0; // 1.5 · 2⁵²
    // The first 33 bits: their product with n is exact.
    const LN_2_HIGH: f64 = 0.693_147_180_369_123_8;
    const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;

    let rounded = x * std::f64::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = (x - n * LN_2_HIGH) - n * LN_2_LOW;
    // (e^r − 1 − r) / r², in pairs, which do not wait for each other.
    let pair = |k: u32| inverse_factorial(k) + r * inverse_factorial(k + 1);
    let (r2, r4) = (r * r, r * r * (r * r));
    let p = (pair(2) + r2 * pair(4)) + r4 * ((pair(6) + r2 * pair(8)) + r4 * (pair(10) + r2 * pair(12)));
    let power = 1.0 + (r + r2 * p);
    let n = rounded.to_bits().wrapping_sub(ROUND.to_bits());
    let scaled = power * f64::from_bits(n.wrapping_add(1023) << 52);
    if x < -708.0 { 0.0 } else { scaled }
}

/// 1 / k!
const fn inverse_factorial(k: u32) -> f64 {
    let (mut product, mut i) = (1.0, 2);
    while i <= k {
        product *= i as f64;
        i += 1;
    }
    1.0 / product
}

/// ln(1 + p) for 0 ≤ p ≤ 1 in `f64` within 3 units in the last place, without branches: 2 artanh(p / (2 + p)), and from
/// √2 − 1 on ln 2 + 2 artanh((p − 1) / (p + 3)), by eleven terms of its series.
#[inline(always)]
pub(super) fn ln_1p_of_unit(p: f64) -> f64 {
    let large = p > std::f64::consts::SQRT_2 - 1.0;
    let (numerator, denominator) = if large { (p - 1.0, p + 3.0) } else { (p, p + 2.0) };
    let s = numerator / denominator;
    let t = s * s;
    let pair = |k: u32| 1.0 / f64::from(2 * k + 1) + t * (1.0 / f64::from(2 * k + 3));
    let (t2, t4) = (t * t, t * t * (t * t));
    let rest = t * ((pair(1) + t2 * pair(3)) + t4 * ((pair(5) + t2 * pair(7)) + t4 * pair(9)));
    let base = if large { std::f64::consts::LN_2 } else { 0.0 };
    base + (2.0 * s + 2.0 * s * rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many units in the last place lie between two positive numbers.
    fn units(a: f64, b: f64) -> u64 {
        a.to_bits().abs_diff(b.to_bits())
    }

    /// The standard library's are within one unit, so that one more may be between the two.
    #[test]
    fn powers_and_logarithms_are_as_exact_as_they_say() {
        let steps = if cfg!(miri) { 100 } else { 100_000 };
        for i in 0..=steps {
            let part = f64::from(i) / f64::from(steps);
            for x in [-708.0 * part, -part, -1e-3 * part, -1e-10 * part] {
                assert!(units(wide_exp_of_negative(x), x.exp()) <= 3, "e^{x}");
            }
            for p in [part, 1e-3 * part, 1e-9 * part, 1e-300 * part] {
                assert!(units(ln_1p_of_unit(p), p.ln_1p()) <= 4, "ln(1 + {p})");
            }
        }
        assert_eq!([-709.0, -1e300, f64::NEG_INFINITY].map(wide_exp_of_negative), [0.0; 3]);
        assert_eq!([wide_exp_of_negative(-0.0), ln_1p_of_unit(0.0)], [1.0, 0.0]);
        assert!(wide_exp_of_negative(f64::NAN).is_nan() && ln_1p_of_unit(f64::NAN).is_nan());
    }
}
