//! Passes over a matrix in parallel: its rows are cut into chunks, and the chunks' sums are added in a tree.
//!
//! Chunks and tree depend on the shape only, so the results do not depend on the number of threads. Each chunk adds
//! in `f32` over at most [`FLUSH`] rows and passes its sums on to `f64`, where everything above is added.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::super::Loss;
use super::super::matrix::Aligned;
use super::short_rows::{SHORT, short_products, short_rows};
use super::simd::{Columns, Row, add_deviations, ln_1p_of_unit, wide_exp_of_negative};

/// Rows after which sums over rows go from `f32` to `f64`.
pub(super) const FLUSH: usize = 256;

/// Columns above which a block of [`GROUP`] rows does not stay in a core's cache.
const WIDE: usize = 32_768;

/// Rows taken together, so that the sums are loaded and stored once for all of them.
const GROUP: usize = 4;

/// Elements of a matrix that caches may hold: 8 MiB.
const CACHED: usize = 1 << 21;

/// Elements of X in a chunk, at least and at most: half a mebibyte, which is worth a task of its own, and two, of which
/// the sums are few beside it.
const CHUNK: [usize; 2] = [1 << 17, 1 << 19];

/// Chunks of a matrix that is neither small nor large.
const CHUNKS: usize = 256;

/// Rows of a chunk at least, so that its sums stay small beside it.
const CHUNK_ROWS: usize = 64;

/// Columns of a stripe, where columns are shared out as well.
const STRIPE: usize = 4096;

/// A row-major matrix, or a stripe of its columns, as it is or with a mean taken off each value as it is read.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) values: &'a [f32],
    rows: usize,
    stride: usize,
    first: usize,
    pub(super) columns: usize,
    /// Of all `stride` columns.
    pub(super) mean: Option<&'a [f32]>,
}

impl<'a> View<'a> {
    /// All of `values` (rows × columns), and the mean to take off each column.
    pub(super) fn new(values: &'a [f32], rows: usize, columns: usize, mean: Option<&'a [f32]>) -> Self {
        View { values, rows, stride: columns, first: 0, columns, mean }
    }

    /// Columns `range` of this view.
    fn stripe(self, range: Range<usize>) -> Self {
        View { first: self.first + range.start, columns: range.len(), ..self }
    }

    /// The values of row `i` as they are stored.
    #[inline(always)]
    fn stored(&self, i: usize) -> &'a [f32] {
        self.values_from(i, self.columns)
    }

    /// Row `i`, and as much of what is behind it as makes `length` values.
    #[inline(always)]
    fn values_from(&self, i: usize, length: usize) -> &'a [f32] {
        &self.values[i * self.stride + self.first..][..length]
    }

    /// Row `i` in whole vectors: with what is behind it, or with zeros in `copy` where there is not enough.
    #[inline(always)]
    fn whole<'b, S: Simd>(
        &self,
        i: usize,
        columns: &Columns<S>,
        copy: &'b mut Option<Aligned<f32>>,
    ) -> &'b [f32]
    where
        'a: 'b,
    {
        let length = columns.length();
        if i < self.rows_with(length) {
            self.values_from(i, length)
        } else {
            columns.whole(self.stored(i), copy)
        }
    }

    /// The mean of each column, if `CENTRED` says that there is one.
    fn mean<const CENTRED: bool>(&self) -> &'a [f32] {
        let mean = self.mean.filter(|_| CENTRED);
        mean.map_or(&[], |mean| &mean[self.first..][..self.columns])
    }

    /// How many rows have `length` values from their first one on, with what is behind them.
    fn rows_with(&self, length: usize) -> usize {
        match self.values.len().checked_sub(self.first + length) {
            Some(room) => room.checked_div(self.stride).map_or(self.rows, |rows| rows + 1).min(self.rows),
            None => 0,
        }
    }

    /// A group of rows from `i` on, as they are stored; the last before `end` in place of those that are not before it.
    #[inline(always)]
    fn following(&self, i: usize, end: usize) -> [&'a [f32]; GROUP] {
        std::array::from_fn(|r| self.stored((i + r).min(end - 1)))
    }

    fn rows_of_chunk(&self) -> usize {
        let [least, most] = CHUNK;
        let elements = (self.rows * self.columns / CHUNKS).clamp(least, most);
        (elements / self.columns.max(1)).max(CHUNK_ROWS)
    }

    pub(super) fn chunks(&self) -> usize {
        self.rows.div_ceil(self.rows_of_chunk()).max(1)
    }

    pub(super) fn chunk(&self, index: usize) -> Range<usize> {
        let rows = self.rows_of_chunk();
        index * rows..((index + 1) * rows).min(self.rows)
    }
}

/// `leaf` of each index in `range`, merged two by two in a tree that only the range decides.
pub(super) fn tree<T: Send>(
    range: Range<usize>,
    leaf: &(impl Fn(usize) -> T + Sync),
    merge: &(impl Fn(T, T) -> T + Sync),
) -> T {
    if range.len() <= 1 {
        return leaf(range.start);
    }
    let middle = range.start + range.len() / 2;
    let (left, right) =
        rayon::join(|| tree(range.start..middle, leaf, merge), || tree(middle..range.end, leaf, merge));
    merge(left, right)
}

/// Where the error of a sample comes from.
pub(super) trait Errors: Copy + Sync {
    /// One for each feature, if the errors follow from the features.
    fn weights(&self) -> &[f32];

    /// What the errors of samples from `i` on follow from, whose products with the weights `dots` computes.
    fn products<const ROWS: usize>(self, i: usize, dots: impl FnOnce() -> [f64; ROWS]) -> [f64; ROWS];

    /// The error of sample `i`, and its share of the cost.
    fn judge(self, i: usize, product: f64) -> (f64, f64);
}

/// e = ŷ − y of z = x·w + b, as the loss says.
#[derive(Clone, Copy)]
pub(super) struct Model<'a> {
    pub(super) loss: Loss,
    pub(super) weights: &'a [f32],
    pub(super) bias: f32,
    pub(super) y: &'a [f32],
}

/// The error and the cost of a sample from z and y.
#[inline(always)]
pub(super) fn judge(loss: Loss, z: f64, y: f64) -> (f64, f64) {
    match loss {
        Loss::SquaredError => (z - y, loss.cost(z, y)),
        Loss::LogLoss => {
            // As `Loss` has it, with one power for both, and nothing that vectors could not do.
            let power = wide_exp_of_negative(-z.abs());
            let prediction = if z < 0.0 { power } else { 1.0 } / (1.0 + power);
            (prediction - y, z.max(0.0) - y * z + ln_1p_of_unit(power))
        }
    }
}

impl Errors for Model<'_> {
    fn weights(&self) -> &[f32] {
        self.weights
    }

    #[inline(always)]
    fn products<const ROWS: usize>(self, _: usize, dots: impl FnOnce() -> [f64; ROWS]) -> [f64; ROWS] {
        dots().map(|dot| dot + f64::from(self.bias))
    }

    #[inline(always)]
    fn judge(self, i: usize, z: f64) -> (f64, f64) {
        judge(self.loss, z, f64::from(self.y[i]))
    }
}

/// Errors that are known already, and cost nothing.
#[derive(Clone, Copy)]
struct Known<'a>(&'a [f32]);

impl Errors for Known<'_> {
    fn weights(&self) -> &[f32] {
        &[]
    }

    #[inline(always)]
    fn products<const ROWS: usize>(self, i: usize, _: impl FnOnce() -> [f64; ROWS]) -> [f64; ROWS] {
        std::array::from_fn(|r| f64::from(self.0[i + r]))
    }

    #[inline(always)]
    fn judge(self, _: usize, error: f64) -> (f64, f64) {
        (error, 0.0)
    }
}

/// What a pass adds up over samples.
pub(super) struct Sums {
    /// Σ eᵢ xᵢⱼ for each column j.
    pub(super) gradient: Vec<f64>,
    /// Σ eᵢ
    pub(super) errors: f64,
    /// m times the cost.
    pub(super) cost: f64,
}

impl Sums {
    pub(super) fn merge(mut self, other: Sums) -> Sums {
        for (sum, value) in self.gradient.iter_mut().zip(&other.gradient) {
            *sum += value;
        }
        self.errors += other.errors;
        self.cost += other.cost;
        self
    }
}

/// Errors and their products with the rows, in one pass: a group of rows is read from memory for the errors and is
/// still in the cache for the gradient.
struct ErrorPass<'a, E, const CENTRED: bool> {
    x: View<'a>,
    rows: Range<usize>,
    errors: E,
}

impl<E: Errors, const CENTRED: bool> ErrorPass<'_, E, CENTRED> {
    /// The errors of samples from `i` on, whose products are these; they are added to `sums`, as are their costs. All errors
    /// together, so that they are computed with vectors.
    #[inline(always)]
    fn errors_of<const ROWS: usize>(&self, i: usize, products: [f64; ROWS], sums: &mut Sums) -> [f32; ROWS] {
        let (mut errors, mut costs) = ([0.0; ROWS], [0.0; ROWS]);
        for r in 0..ROWS {
            (errors[r], costs[r]) = self.errors.judge(i + r, products[r]);
        }
        for r in 0..ROWS {
            sums.errors += errors[r];
            sums.cost += costs[r];
        }
        errors.map(|error| error as f32)
    }
}

impl<E: Errors, const CENTRED: bool> WithSimd for ErrorPass<'_, E, CENTRED> {
    type Output = Sums;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Sums {
        let ErrorPass { x, rows, errors } = &self;
        let columns = Columns::new(simd, x.columns);
        let (weights, mean) = (columns.padded(errors.weights()), columns.padded(x.mean::<CENTRED>()));
        let with_room = x.rows_with(columns.length());
        let mut sums = Sums { gradient: vec![0.0; x.columns], errors: 0.0, cost: 0.0 };
        let mut gradient = columns.padded(&[]);
        let mut start = rows.start;
        while start < rows.end {
            let end = (start + FLUSH).min(rows.end);
            let mut i = start;
            while i + GROUP <= end.min(with_room) {
                let group: [Row<'_, CENTRED>; GROUP] = std::array::from_fn(|r| Row {
                    values: x.values_from(i + r, columns.length()),
                    mean: &mean,
                });
                // A half of the next rows is fetched here and the other below, so that memory is never idle.
                let [next0, next1, next2, next3] = x.following(i + GROUP, rows.end);
                let products = errors.products(i, || columns.dots_of_group(group, &weights, [next0, next2]));
                let errors = self.errors_of(i, products, &mut sums);
                columns.add_scaled(&mut gradient, errors, group, [next1, next3]);
                i += GROUP;
            }
            while i < end {
                let mut copy = None;
                let row = [Row::<CENTRED> { values: x.whole(i, &columns, &mut copy), mean: &mean }];
                let products = errors.products(i, || columns.dots(row, &weights, []));
                let errors = self.errors_of(i, products, &mut sums);
                columns.add_scaled(&mut gradient, errors, row, []);
                i += 1;
            }
            for (sum, value) in sums.gradient.iter_mut().zip(gradient.iter_mut()) {
                *sum += f64::from(std::mem::take(value));
            }
            start = end;
        }
        sums
    }
}

/// The sums over all rows of `x`, whose rows fit in the cache.
pub(super) fn error_sums(x: View<'_>, errors: impl Errors) -> Sums {
    fn sums<const CENTRED: bool>(x: View<'_>, errors: impl Errors) -> Sums {
        let pass = |chunk| ErrorPass::<_, CENTRED> { x, rows: x.chunk(chunk), errors };
        tree(0..x.chunks(), &|chunk| Arch::new().dispatch(pass(chunk)), &Sums::merge)
    }
    if x.mean.is_some() { sums::<true>(x, errors) } else { sums::<false>(x, errors) }
}

/// Σ eᵢ xᵢⱼ for each column j, for any number of columns.
pub(super) fn gradient_sums(x: View<'_>, errors: &[f32]) -> Vec<f64> {
    if x.columns <= WIDE {
        return error_sums(x, Known(errors)).gradient;
    }
    let mut gradient = vec![0.0; x.columns];
    gradient.par_chunks_mut(STRIPE).enumerate().for_each(|(stripe, out)| {
        let first = stripe * STRIPE;
        out.copy_from_slice(&error_sums(x.stripe(first..first + out.len()), Known(errors)).gradient);
    });
    gradient
}

/// The sums of a model's errors over all rows of `x`, for any number of columns.
pub(super) fn descent_sums(x: View<'_>, model: Model<'_>) -> Sums {
    if x.columns <= SHORT {
        return short_rows(x, model);
    }
    if x.columns <= WIDE {
        return error_sums(x, model);
    }
    let mut z = vec![0.0_f64; x.rows];
    products(x, model.weights, model.bias, &mut z, |product| product);
    let mut sums = Sums { gradient: Vec::new(), errors: 0.0, cost: 0.0 };
    let mut rounded = vec![0.0_f32; x.rows];
    for (i, (&z, rounded)) in z.iter().zip(&mut rounded).enumerate() {
        let (error, cost) = judge(model.loss, z, f64::from(model.y[i]));
        sums.errors += error;
        sums.cost += cost;
        *rounded = error as f32;
    }
    Sums { gradient: gradient_sums(x, &rounded), ..sums }
}

/// out := `convert`(row of x · w + b), row by row.
pub(super) fn products<T: Send>(
    x: View<'_>,
    weights: &[f32],
    bias: f32,
    out: &mut [T],
    convert: impl Fn(f64) -> T + Sync,
) {
    if x.columns > WIDE {
        out.par_iter_mut().enumerate().for_each(|(i, out)| {
            *out = convert(wide_dot(x.stored(i), x.mean, weights) + f64::from(bias));
        });
        return;
    }
    let rows = x.rows_of_chunk();
    out.par_chunks_mut(rows).enumerate().for_each(|(chunk, out)| {
        let products = Products { x, first: chunk * rows, weights, bias, out, convert: &convert };
        match x.mean.is_some() {
            _ if x.columns <= SHORT => short_products(products),
            true => Arch::new().dispatch(AnyWidth::<_, _, true>(products)),
            false => Arch::new().dispatch(AnyWidth::<_, _, false>(products)),
        }
    });
}

/// The products of the rows from `first` on, as many as there is room for.
pub(super) struct Products<'a, T, C> {
    pub(super) x: View<'a>,
    pub(super) first: usize,
    pub(super) weights: &'a [f32],
    pub(super) bias: f32,
    pub(super) out: &'a mut [T],
    pub(super) convert: &'a C,
}

/// They, of rows of any length.
pub(super) struct AnyWidth<'a, T, C, const CENTRED: bool>(pub(super) Products<'a, T, C>);

impl<T, C: Fn(f64) -> T, const CENTRED: bool> WithSimd for AnyWidth<'_, T, C, CENTRED> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Products { x, first, weights, bias, out, convert } = self.0;
        let columns = Columns::new(simd, x.columns);
        let (weights, mean) = (columns.padded(weights), columns.padded(x.mean::<CENTRED>()));
        let with_room = x.rows_with(columns.length()).saturating_sub(first).min(out.len());
        // Memory is read the fastest as one stream.
        let grouped = if x.values.len() <= CACHED { with_room / GROUP * GROUP } else { 0 };
        let (groups, rest) = out.split_at_mut(grouped);
        for (group, out) in groups.chunks_exact_mut(GROUP).enumerate() {
            let i = first + group * GROUP;
            let rows: [Row<'_, CENTRED>; GROUP] =
                std::array::from_fn(|r| Row { values: x.values_from(i + r, columns.length()), mean: &mean });
            let dots = columns.dots_of_group(rows, &weights, [&[]; 2]);
            for (out, dot) in out.iter_mut().zip(dots) {
                *out = convert(dot + f64::from(bias));
            }
        }
        let i = first + groups.len();
        for (r, out) in rest.iter_mut().enumerate() {
            let mut copy = None;
            let row = Row::<CENTRED> { values: x.whole(i + r, &columns, &mut copy), mean: &mean };
            let [dot] = columns.dots([row], &weights, []);
            *out = convert(dot + f64::from(bias));
        }
    }
}

/// Σ xᵢ wᵢ of one long row, on all threads.
fn wide_dot(x: &[f32], mean: Option<&[f32]>, w: &[f32]) -> f64 {
    struct Dot<'a> {
        x: &'a [f32],
        mean: Option<&'a [f32]>,
        w: &'a [f32],
    }
    impl WithSimd for Dot<'_> {
        type Output = f64;
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> f64 {
            let columns = Columns::new(simd, self.w.len());
            let [mut x, mut mean, mut w] = [None, None, None];
            let (values, w) = (columns.whole(self.x, &mut x), columns.whole(self.w, &mut w));
            let [dot] = match self.mean {
                Some(of) => columns.dots([Row::<true> { values, mean: columns.whole(of, &mut mean) }], w, []),
                None => columns.dots([Row::<false> { values, mean: &[] }], w, []),
            };
            dot
        }
    }
    let leaf = |chunk: usize| {
        let columns = chunk * WIDE..((chunk + 1) * WIDE).min(w.len());
        let mean = mean.map(|mean| &mean[columns.clone()]);
        Arch::new().dispatch(Dot { x: &x[columns.clone()], mean, w: &w[columns] })
    };
    tree(0..w.len().div_ceil(WIDE), &leaf, &|a, b| a + b)
}

/// Mean and sum of squared deviations of each column over `count` rows.
struct ColumnMoments {
    count: f64,
    mean: Vec<f64>,
    squares: Vec<f64>,
}

impl ColumnMoments {
    /// Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances" (1979).
    fn merge(mut self, other: ColumnMoments) -> ColumnMoments {
        let count = self.count + other.count;
        let (share, weight) = (other.count / count, self.count * other.count / count);
        for j in 0..self.mean.len() {
            let delta = other.mean[j] - self.mean[j];
            self.mean[j] += delta * share;
            self.squares[j] += other.squares[j] + delta * delta * weight;
        }
        self.count = count;
        self
    }
}

/// The moments of a chunk of rows in one read, about the chunk's first row.
///
/// That row is one of the samples, so its distance from the mean is at most √count standard deviations, and Σd² at most
/// count + 1 times Σ(x − x̄)². Each of the sums has at most `count` roundings, so of what is left, Σd² − (Σd)² / count, at most
/// some 3 count² 2⁻⁵³ is lost: where the first row alone is far off; else a few count 2⁻⁵³.
struct MomentsPass<'a> {
    x: View<'a>,
    rows: Range<usize>,
}

impl WithSimd for MomentsPass<'_> {
    type Output = ColumnMoments;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> ColumnMoments {
        let origin = self.x.stored(self.rows.start);
        let (mut mean, mut squares) = (vec![0.0; origin.len()], vec![0.0; origin.len()]);
        let mut i = self.rows.start;
        if self.x.columns <= SHORT && self.x.columns == self.x.stride {
            i += self.short_rows(origin, &mut mean, &mut squares);
        }
        while i + GROUP <= self.rows.end {
            let rows: [&[f32]; GROUP] = std::array::from_fn(|r| self.x.stored(i + r));
            let next = self.x.following(i + GROUP, self.rows.end);
            add_deviations(origin, rows, next, &mut mean, &mut squares);
            i += GROUP;
        }
        while i < self.rows.end {
            add_deviations(origin, [self.x.stored(i)], [], &mut mean, &mut squares);
            i += 1;
        }
        let count = self.rows.len() as f64;
        for ((mean, square), &origin) in mean.iter_mut().zip(&mut squares).zip(origin) {
            let left = *square - *mean * *mean / count;
            // Not `max`, which takes 0 where there is no number.
            *square = if left < 0.0 { 0.0 } else { left };
            *mean = f64::from(origin) + *mean / count;
        }
        ColumnMoments { count, mean, squares }
    }
}

impl MomentsPass<'_> {
    /// Adds the deviations of rows that are short: several of them count as one row, which is a whole number of vectors
    /// long. Says how many rows these are.
    #[inline(always)]
    fn short_rows(&self, origin: &[f32], sums: &mut [f64], squares: &mut [f64]) -> usize {
        /// Rows that count as one.
        const TOGETHER: usize = 8;
        /// Groups that are fetched ahead.
        const AHEAD: usize = 4;
        let length = TOGETHER * origin.len();
        let mut all = [0.0; 2 * TOGETHER * SHORT];
        let (all_sums, all_squares) = all[..2 * length].split_at_mut(length);
        let mut origins = [0.0; TOGETHER * SHORT];
        let origins = &mut origins[..length];
        origins.chunks_exact_mut(origin.len()).for_each(|to| to.copy_from_slice(origin));
        let values = &self.x.values[self.rows.start * origin.len()..];
        let groups = values[..self.rows.len() * origin.len()].chunks_exact(GROUP * length);
        let count = groups.len() * GROUP * TOGETHER;
        for (number, group) in groups.enumerate() {
            let mut rows = [group; GROUP];
            let mut next = [values.get((number + AHEAD) * GROUP * length..).unwrap_or_default(); GROUP];
            for r in 0..GROUP {
                rows[r] = &rows[r][r * length..][..length];
                next[r] = next[r].get(r * length..).unwrap_or_default();
            }
            add_deviations(origins, rows, next, all_sums, all_squares);
        }
        for (all, sums) in [(all_sums, sums), (all_squares, squares)] {
            for all in all.chunks_exact(sums.len()) {
                sums.iter_mut().zip(all).for_each(|(sum, value)| *sum += value);
            }
        }
        count
    }
}

/// Mean and population standard deviation of each column of `x`, which has at least one row, in one read.
pub(super) fn column_moments(x: View<'_>) -> (Vec<f64>, Vec<f64>) {
    let mut moments = vec![(0.0, 0.0); x.columns];
    moments.par_chunks_mut(STRIPE).enumerate().for_each(|(stripe, out)| {
        let first = stripe * STRIPE;
        let x = x.stripe(first..first + out.len());
        let leaf = |chunk| Arch::new().dispatch(MomentsPass { x, rows: x.chunk(chunk) });
        let sums = tree(0..x.chunks(), &leaf, &ColumnMoments::merge);
        for (out, (mean, square)) in out.iter_mut().zip(sums.mean.into_iter().zip(sums.squares)) {
            *out = (mean, (square / sums.count).sqrt());
        }
    });
    moments.into_iter().unzip()
}

/// The sums of a chunk's columns.
struct SumsPass<'a> {
    x: View<'a>,
    rows: Range<usize>,
}

impl WithSimd for SumsPass<'_> {
    type Output = Vec<f64>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Vec<f64> {
        let mut sums = vec![0.0; self.x.columns];
        for i in self.rows {
            for (sum, &value) in sums.iter_mut().zip(self.x.stored(i)) {
                *sum += f64::from(value);
            }
        }
        sums
    }
}

/// Σ of each column of `x`, in `f64`.
pub(super) fn column_sums(x: View<'_>) -> Vec<f64> {
    let leaf = |chunk| Arch::new().dispatch(SumsPass { x, rows: x.chunk(chunk) });
    let merge = |mut left: Vec<f64>, right: Vec<f64>| {
        left.iter_mut().zip(right).for_each(|(sum, value)| *sum += value);
        left
    };
    tree(0..x.chunks(), &leaf, &merge)
}

/// Applies `map` to a row; it is compiled for the machine's instruction set.
pub(super) fn map_row(row: &mut [f32], map: impl RowMap) {
    Arch::new().dispatch(RowPass { row, map });
}

/// A change of a row in place.
pub(super) trait RowMap: Copy + Send + Sync {
    /// Changes `row`. To be marked `#[inline(always)]`.
    fn apply(self, row: &mut [f32]);
}

struct RowPass<'a, M> {
    row: &'a mut [f32],
    map: M,
}

impl<M: RowMap> WithSimd for RowPass<'_, M> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        self.map.apply(self.row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_all_rows_once_in_pieces_that_are_worth_a_task() {
        for columns in [0, 1, 3, 40, 640, 2048, 5000, 32_768] {
            for rows in [0, 1, 63, 64, 65, 2000, 100_000, 10_000_000] {
                // Of the values only their places are used.
                let view = View { values: &[], rows, stride: columns, first: 0, columns, mean: None };
                let place = format!("{rows} × {columns}");
                let mut next = 0;
                for index in 0..view.chunks() {
                    let chunk = view.chunk(index);
                    assert_eq!(chunk.start, next, "{place}");
                    assert!(!chunk.is_empty() || rows == 0, "{place}: chunk {index} is empty");
                    let is_last = index + 1 == view.chunks();
                    let elements = chunk.len() * columns;
                    // A row less than asked for, as chunks are whole rows.
                    assert!(is_last || elements + columns > CHUNK[0] || columns == 0, "{place}: {elements}");
                    assert!(is_last || chunk.len() >= CHUNK_ROWS, "{place}: {} rows", chunk.len());
                    assert!(elements <= CHUNK[1] || chunk.len() <= CHUNK_ROWS, "{place}: {elements}");
                    next = chunk.end;
                }
                assert_eq!(next, rows, "{place}");
                // Between the limits there are about as many chunks as were asked for.
                if (CHUNK[0]..=CHUNK[1]).contains(&(rows * columns / CHUNKS)) && rows / CHUNKS > CHUNK_ROWS {
                    assert!(
                        view.chunks().abs_diff(CHUNKS) <= CHUNKS / 8,
                        "{place}: {} chunks",
                        view.chunks()
                    );
                }
            }
        }
    }

    /// What a pass over all of `x` adds up, by each instruction set that this machine has.
    fn sums_of<const CENTRED: bool>(x: View<'_>, errors: impl Errors) -> Vec<Sums> {
        let pass = || ErrorPass::<_, CENTRED> { x, rows: 0..x.rows, errors };
        let mut sums = vec![Simd::vectorize(pulp::Scalar::new(), pass())];
        #[cfg(target_arch = "x86_64")]
        {
            sums.extend(pulp::x86::V3::try_new().map(|simd| Simd::vectorize(simd, pass())));
            sums.extend(pulp::x86::V4::try_new().map(|simd| Simd::vectorize(simd, pass())));
        }
        sums
    }

    /// Of numbers so small that all sums are exact, in whatever order, between columns that are none.
    #[test]
    fn rows_end_where_their_columns_do_by_every_instruction_set() {
        for columns in [1, 5, 16, 31, 33, 64, 65, 100, 129, 1000, 4096, 4097, 5000] {
            for rows in [1, 3, 4, 9, 258] {
                let (first, stride) = (3, columns + 7);
                let number = |i: usize, j: usize| ((i * 7 + j * 13 + i * j) % 3) as f32 - 1.0;
                let mut values = vec![f32::NAN; rows * stride];
                for i in 0..rows {
                    (0..columns).for_each(|j| values[i * stride + first + j] = number(i, j));
                }
                let weights: Vec<f32> = (0..columns).map(|j| number(5, j)).collect();
                let means: Vec<f32> = (0..stride).map(|j| (j % 2) as f32).collect();
                let y: Vec<f32> = (0..rows).map(|i| i as f32).collect();
                for mean in [None, Some(&means[..])] {
                    let x = View { values: &values, rows, stride, first, columns, mean };
                    let model = Model { loss: Loss::SquaredError, weights: &weights, bias: 2.0, y: &y };
                    let value = |i, j| f64::from(number(i, j) - mean.map_or(0.0, |mean| mean[first + j]));
                    let error = |i: usize| {
                        let product: f64 = (0..columns).map(|j| value(i, j) * f64::from(weights[j])).sum();
                        product + 2.0 - i as f64
                    };
                    let errors: Vec<f64> = (0..rows).map(error).collect();
                    let gradient: Vec<f64> =
                        (0..columns).map(|j| (0..rows).map(|i| errors[i] * value(i, j)).sum()).collect();
                    let known: Vec<f32> = errors.iter().map(|&error| error as f32).collect();
                    let all = match mean {
                        Some(_) => [sums_of::<true>(x, model), sums_of::<true>(x, Known(&known))],
                        None => [sums_of::<false>(x, model), sums_of::<false>(x, Known(&known))],
                    };
                    for sums in all.into_iter().flatten() {
                        assert_eq!(sums.errors, errors.iter().sum::<f64>(), "{rows} × {columns}");
                        assert_eq!(sums.gradient, gradient, "{rows} × {columns}");
                    }
                    if columns > SHORT {
                        let mut z = vec![0.0; rows];
                        products(x, &weights, 2.0, &mut z, |z| z);
                        let expected: Vec<f64> = (0..rows).map(|i| errors[i] + i as f64).collect();
                        assert_eq!(z, expected, "{rows} × {columns}");
                    }
                }
            }
        }
    }
}
