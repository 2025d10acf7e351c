//! Short rows: as many at a time as a vector has lanes, so that their products with the weights are added up together, and
//! what follows from the sums is computed for all of them.
//!
//! A row alone would spend most of its time on the sum across its own vector, and wait for it.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use super::super::Loss;
use super::passes::{FLUSH, Model, Products, Sums, View, judge, tree};
use super::simd::{LANES, MOST_LANES, padded, prefetch, sums_across};

/// Columns of a short row, at most.
pub(super) const SHORT: usize = 64;

/// How many elements ahead rows are fetched: eight kibibytes, so far that memory has answered when they are needed.
const AHEAD: usize = 2048;

/// Something that is done with rows of at most `WIDTH` columns, of which the mean is taken off if `CENTRED`.
trait Pass {
    type Output;

    fn run<const CENTRED: bool, const WIDTH: usize>(self) -> Self::Output;
}

/// Does `pass` with the narrowest vectors that the rows of `x` fit in, at most [`SHORT`] columns.
fn run<P: Pass>(x: View<'_>, pass: P) -> P::Output {
    match (x.mean.is_some(), x.columns) {
        (false, ..=16) => pass.run::<false, 16>(),
        (false, ..=32) => pass.run::<false, 32>(),
        (false, _) => pass.run::<false, SHORT>(),
        (true, ..=16) => pass.run::<true, 16>(),
        (true, ..=32) => pass.run::<true, 32>(),
        (true, _) => pass.run::<true, SHORT>(),
    }
}

/// The sums over all rows of `x`, of which each has at most [`SHORT`] columns. The gradient's bits are those that rows one by
/// one would give; what is summed in `f64` is summed in another order.
pub(super) fn short_rows(x: View<'_>, model: Model<'_>) -> Sums {
    struct All<'a>(View<'a>, Model<'a>);
    impl Pass for All<'_> {
        type Output = Sums;
        fn run<const CENTRED: bool, const WIDTH: usize>(self) -> Sums {
            let All(x, model) = self;
            let pass = |chunk| ShortRows::<CENTRED, WIDTH> { x, rows: x.chunk(chunk), model };
            tree(0..x.chunks(), &|chunk| Arch::new().dispatch(pass(chunk)), &Sums::merge)
        }
    }
    run(x, All(x, model))
}

/// Products of rows of which each has at most [`SHORT`] columns, with the bits that rows one by one would give.
pub(super) fn short_products<T>(products: Products<'_, T, impl Fn(f64) -> T>) {
    run(products.x, products);
}

impl<T, C: Fn(f64) -> T> Pass for Products<'_, T, C> {
    type Output = ();

    fn run<const CENTRED: bool, const WIDTH: usize>(self) {
        Arch::new().dispatch(ShortProducts::<_, _, CENTRED, WIDTH>(self));
    }
}

/// Rows of at most `WIDTH` columns.
struct ShortRows<'a, const CENTRED: bool, const WIDTH: usize> {
    x: View<'a>,
    rows: Range<usize>,
    model: Model<'a>,
}

/// The products of rows of at most `WIDTH` columns.
struct ShortProducts<'a, T, C, const CENTRED: bool, const WIDTH: usize>(Products<'a, T, C>);

/// `WIDTH` values as vectors; the first `WIDTH / S::F32_LANES` are used.
type Vectors<S, const WIDTH: usize> = [<S as Simd>::f32s; WIDTH];

/// Has cache lines fetched that are read [`AHEAD`] elements later than `rows`.
#[inline(always)]
fn fetch(rows: &[f32], lines: Range<usize>) {
    for line in lines {
        prefetch(rows, AHEAD + 16 * line);
    }
}

/// Sums in `f64`, one for each place of a group, so that none waits for another.
#[derive(Default)]
struct Totals {
    errors: [f64; MOST_LANES],
    cost: [f64; MOST_LANES],
}

/// What is done with a group of rows: as many as a vector has lanes.
struct Group<S: Simd, const CENTRED: bool, const WIDTH: usize> {
    simd: S,
    columns: usize,
    weights: Vectors<S, WIDTH>,
    mean: Vectors<S, WIDTH>,
}

impl<S: Simd, const CENTRED: bool, const WIDTH: usize> Group<S, CENTRED, WIDTH> {
    #[inline(always)]
    fn new(simd: S, x: View<'_>, weights: &[f32]) -> Self {
        let mean = padded(simd, x.mean.unwrap_or(&[]));
        Group { simd, columns: x.columns, weights: padded(simd, weights), mean }
    }

    /// The elements of a group.
    #[inline(always)]
    fn size(&self) -> usize {
        S::F32_LANES * self.columns
    }

    /// The rows of a group, where there is as much behind them as is read with them.
    #[inline(always)]
    fn rows<'a>(&self, values: &'a [f32], i: usize) -> Option<&'a [f32]> {
        let rows = &values[i * self.columns..];
        (rows.len() >= self.size() + WIDTH).then_some(rows)
    }

    /// A copy of `count` rows, and zeros behind them.
    #[inline(always)]
    fn copied(&self, values: &[f32], i: usize, count: usize) -> [f32; (MOST_LANES + 1) * SHORT] {
        let mut rows = [0.0; (MOST_LANES + 1) * SHORT];
        rows[..count * self.columns].copy_from_slice(&values[i * self.columns..][..count * self.columns]);
        rows
    }

    /// Row `r`, and as much of what follows it as fills the vectors: that meets weights of zero, and sums that are left out.
    #[inline(always)]
    fn row(&self, rows: &[f32], r: usize) -> Vectors<S, WIDTH> {
        let (values, _) = S::as_simd_f32s(&rows[r * self.columns..][..WIDTH]);
        let mut row = self.mean;
        for v in 0..const { WIDTH / S::F32_LANES } {
            row[v] = if CENTRED { self.simd.sub_f32s(values[v], self.mean[v]) } else { values[v] };
        }
        row
    }

    /// x·w of row `r` in vectors to be summed across: element j in partial sum j mod [`LANES`], then halves.
    #[inline(always)]
    fn products(&self, rows: &[f32], r: usize) -> S::f32s {
        let (simd, row) = (self.simd, self.row(rows, r));
        let lanes = const { min(LANES, WIDTH) / S::F32_LANES };
        let mut sums = [simd.splat_f32s(0.0); WIDTH];
        for v in 0..const { WIDTH / S::F32_LANES } {
            sums[v % lanes] = simd.mul_add_e_f32s(row[v], self.weights[v], sums[v % lanes]);
        }
        let mut half = lanes / 2;
        while half > 0 {
            for v in 0..half {
                sums[v] = simd.add_f32s(sums[v], sums[v + half]);
            }
            half /= 2;
        }
        sums[0]
    }

    /// x·w of all rows. One that holds an infinity or no number makes those of rows before it no numbers, as what follows a row
    /// meets weights of zero. The sums of a step are spoilt by such a row in any case.
    #[inline(always)]
    fn z(&self, rows: &[f32]) -> [f32; MOST_LANES] {
        let mut products = [self.simd.splat_f32s(0.0); MOST_LANES];
        for (r, products) in products.iter_mut().enumerate().take(S::F32_LANES) {
            *products = self.products(rows, r);
        }
        sums_across(self.simd, &products)
    }

    /// x·w of each row, whatever its neighbours hold.
    #[inline(always)]
    fn z_of_each(&self, rows: &[f32]) -> [f32; MOST_LANES] {
        let z = self.z(rows);
        if z.iter().all(|z| z.is_finite()) {
            return z;
        }
        let mut products = [self.simd.splat_f32s(0.0); MOST_LANES];
        for (r, products) in products.iter_mut().enumerate().take(S::F32_LANES) {
            *products = self.products(&self.copied(rows, r, 1), 0);
        }
        sums_across(self.simd, &products)
    }

    /// The errors of the first `count` rows, and 0 for the others; they and their costs are added to `totals`.
    #[inline(always)]
    fn errors(
        &self,
        loss: Loss,
        bias: f32,
        totals: &mut Totals,
        rows: &[f32],
        y: &[f32; MOST_LANES],
        count: usize,
    ) -> [f32; MOST_LANES] {
        let z = self.z(rows);
        let mut errors = [0.0; MOST_LANES];
        for r in 0..MOST_LANES {
            let (error, cost) = judge(loss, f64::from(z[r]) + f64::from(bias), f64::from(y[r]));
            let (error, cost) = if r < count { (error, cost) } else { (0.0, 0.0) };
            totals.errors[r] += error;
            totals.cost[r] += cost;
            errors[r] = error as f32;
        }
        errors
    }

    /// Adds the rows' products with their errors to `gradient`.
    #[inline(always)]
    fn add(&self, gradient: &mut Vectors<S, WIDTH>, rows: &[f32], errors: [f32; MOST_LANES]) {
        for (r, &error) in errors.iter().enumerate().take(S::F32_LANES) {
            let (row, error) = (self.row(rows, r), self.simd.splat_f32s(error));
            for v in 0..const { WIDTH / S::F32_LANES } {
                gradient[v] = self.simd.mul_add_e_f32s(row[v], error, gradient[v]);
            }
        }
    }
}

const fn min(a: usize, b: usize) -> usize {
    if a < b { a } else { b }
}

impl<const CENTRED: bool, const WIDTH: usize> WithSimd for ShortRows<'_, CENTRED, WIDTH> {
    type Output = Sums;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Sums {
        // A loss that is known, so that the squared error is computed with vectors.
        match self.model.loss {
            Loss::SquaredError => self.sums(simd, Loss::SquaredError),
            Loss::LogLoss => self.sums(simd, Loss::LogLoss),
        }
    }
}

impl<const CENTRED: bool, const WIDTH: usize> ShortRows<'_, CENTRED, WIDTH> {
    #[inline(always)]
    fn sums<S: Simd>(self, simd: S, loss: Loss) -> Sums {
        let Model { weights, bias, y, .. } = self.model;
        let values = self.x.values;
        let group = Group::<S, CENTRED, WIDTH>::new(simd, self.x, weights);
        let lines = group.size() / 16;
        let mut sums = Sums { gradient: vec![0.0; self.x.columns], errors: 0.0, cost: 0.0 };
        let mut totals = Totals::default();
        let mut start = self.rows.start;
        while start < self.rows.end {
            let end = (start + FLUSH).min(self.rows.end);
            let mut gradient = [simd.splat_f32s(0.0); WIDTH];
            let mut i = start;
            while i + S::F32_LANES <= end {
                let (Some(rows), Some(y)) = (group.rows(values, i), y[i..].first_chunk()) else { break };
                // In two bursts: of all at once too many would wait for memory.
                fetch(rows, 0..lines / 2);
                let errors = group.errors(loss, bias, &mut totals, rows, y, S::F32_LANES);
                fetch(rows, lines / 2..lines);
                group.add(&mut gradient, rows, errors);
                i += S::F32_LANES;
            }
            // What is too near the end to be read as all else is.
            while i < end {
                let count = S::F32_LANES.min(end - i);
                let (rows, mut last_y) = (group.copied(values, i, count), [0.0; MOST_LANES]);
                last_y[..count].copy_from_slice(&y[i..][..count]);
                let errors = group.errors(loss, bias, &mut totals, &rows, &last_y, count);
                group.add(&mut gradient, &rows, errors);
                i += count;
            }
            let gradient = pulp::bytemuck::cast_slice::<_, f32>(&gradient);
            for (sum, value) in sums.gradient.iter_mut().zip(gradient) {
                *sum += f64::from(*value);
            }
            start = end;
        }
        sums.errors = totals.errors.iter().sum();
        sums.cost = totals.cost.iter().sum();
        sums
    }
}

impl<T, C: Fn(f64) -> T, const CENTRED: bool, const WIDTH: usize> WithSimd
    for ShortProducts<'_, T, C, CENTRED, WIDTH>
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Products { x, first, weights, bias, out, convert } = self.0;
        let group = Group::<S, CENTRED, WIDTH>::new(simd, x, weights);
        for (number, out) in out.chunks_mut(S::F32_LANES).enumerate() {
            let i = first + number * S::F32_LANES;
            let z = match group.rows(x.values, i) {
                Some(rows) => {
                    fetch(rows, 0..group.size() / 16);
                    group.z_of_each(rows)
                }
                None => group.z_of_each(&group.copied(x.values, i, out.len())),
            };
            for (out, z) in out.iter_mut().zip(z) {
                *out = convert(f64::from(z) + f64::from(bias));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::passes::{AnyWidth, error_sums, products};
    use super::*;

    fn numbers(count: usize, seed: u32) -> Vec<f32> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / 4e6 - 2.0
        };
        (0..count).map(|_| next()).collect()
    }

    /// Many rows at a time, and rows as all others are: the same operations in the same order up to the gradient. The sums in
    /// `f64` are of the same terms: two orders differ by twice (m − 1)·2⁻⁵³ Σ|terms| at most.
    #[test]
    fn short_rows_give_what_rows_one_by_one_give() {
        for columns in [0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 20, 31, 32, 33, 47, 48, 49, 63, SHORT] {
            for rows in [1, 2, 5, 15, 16, 17, 255, 256, 257, 1000, 20_000] {
                let (values, y) = (numbers(rows * columns, 1), numbers(rows, 2));
                let (weights, mean) = (numbers(columns, 3), numbers(columns, 4));
                for mean in [None, Some(&mean[..])] {
                    let x = View::new(&values, rows, columns, mean);
                    let mut z = vec![0.0; rows];
                    let (weights, out, convert) = (&weights[..], &mut z[..], &|z| z);
                    let all = Products { x, first: 0, weights, bias: 0.25, out, convert };
                    match mean {
                        Some(_) => Arch::new().dispatch(AnyWidth::<_, _, true>(all)),
                        None => Arch::new().dispatch(AnyWidth::<_, _, false>(all)),
                    }
                    let mut short = vec![0.0; rows];
                    products(x, weights, 0.25, &mut short, |z| z);
                    assert_eq!(short, z, "{rows} × {columns}, {mean:?}");
                    for loss in [Loss::SquaredError, Loss::LogLoss] {
                        let place = format!("{rows} × {columns}, {loss:?}, {mean:?}");
                        let model = Model { loss, weights, bias: 0.25, y: &y };
                        let (short, others) = (short_rows(x, model), error_sums(x, model));
                        let bits = |sums: &Sums| -> Vec<u64> {
                            sums.gradient.iter().map(|sum| sum.to_bits()).collect()
                        };
                        assert_eq!(bits(&short), bits(&others), "{place}");
                        let judged = z.iter().zip(&y).map(|(&z, &y)| judge(loss, z, f64::from(y)));
                        let (errors, costs) = judged
                            .fold((0.0, 0.0), |sums, (e, cost)| (sums.0 + e.abs(), sums.1 + cost.abs()));
                        let factor = 2.0 * rows as f64 * f64::EPSILON / 2.0;
                        assert!((short.errors - others.errors).abs() <= factor * errors, "{place}");
                        assert!((short.cost - others.cost).abs() <= factor * costs, "{place}");
                    }
                }
            }
        }
    }

    /// What is read of the rows behind it does no harm to a row.
    #[test]
    fn a_row_that_holds_no_numbers_makes_no_other_none() {
        for columns in [1, 4, 15, 16, 20, 33, 63, SHORT] {
            let (rows, weights) = (100, numbers(columns, 3));
            let mut values = numbers(rows * columns, 1);
            for i in (7..rows).step_by(7) {
                values[i * columns..][..columns].fill([f32::NAN, f32::INFINITY][i % 2]);
            }
            let mut z = vec![0.0; rows];
            products(View::new(&values, rows, columns, None), &weights, 0.25, &mut z, |z| z);
            for (i, z) in z.iter().enumerate() {
                assert_eq!(z.is_finite(), i == 0 || i % 7 > 0, "row {i} of {columns} columns");
            }
        }
    }
}
