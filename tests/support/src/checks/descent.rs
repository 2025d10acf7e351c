use cuda_std::Device;
use kernels::descent::{error, gradient as descent_gradient, matrix_vector as product};
use kernels::reduce::{block, strip};

use super::{Case, Shape, reduce, shapes};
use crate::{Data, Expected, Failure, Source, sums};

/// Around the edges of blocks and of what a warp takes in at a time, and six by seed.
pub fn matrix_vectors(source: &mut Source) -> Vec<Shape> {
    let mut cases = shapes(&[0, 1, 7, 8, 9, 30], &[0, 1, 31, 32, 33, 127, 128, 129]);
    cases.extend((0..3).map(|_| [source.size(2, 100), source.size(2, 1000), 1]));
    cases.extend((0..3).map(|_| [source.size(2, 1000), source.size(2, 20), 1]));
    cases
}

pub fn matrix_vector<D: Device>(case: &mut Case<D>, [m, n, _]: Shape) -> Result<(), Failure> {
    let &mut Case { rig, kernels, data, ref mut source, ref mut tally } = case;
    let (x, weights) = (source.numbers(data, m * n), source.numbers(data, n));
    let bias = source.numbers(data, 1);
    let expected: Vec<_> = (0..m)
        .map(|row| {
            let terms = (0..n).map(|i| f64::from(x[row * n + i]) * f64::from(weights[i]));
            let (value, magnitude) = sums(terms.chain([f64::from(bias[0])]));
            Expected::rounded(data, value, magnitude, product::depth(n))
        })
        .collect();
    let mut out = rig.output(m)?;
    let (x, weights, bias) = (rig.upload(&x)?, rig.upload(&weights)?, rig.upload(&bias)?);
    let arguments = (m as u32, n as u32, &x, &weights, &bias, &mut out);
    rig.launch(kernels.matrix_vector, product::grid(m), arguments)?;
    tally.compare(&format_args!("matrix_vector {m} x {n}"), &rig.download(&out)?, &expected)
}

/// Σ terms / divisor, with at most `depth` roundings behind a term.
fn total(data: Data, terms: impl Iterator<Item = f64>, depth: usize, divisor: f64) -> Expected {
    let (value, magnitude) = sums(terms);
    Expected::rounded(data, value / divisor, magnitude / divisor, depth)
}

/// A prediction and what it should be. Integers differ by 2 at most, so that the sum of a million squares is exact.
fn prediction_and_target(source: &mut Source, data: Data, m: usize) -> (Vec<f32>, Vec<f32>) {
    let y = source.numbers(data, m);
    let prediction = match data {
        Data::Integers => y.iter().map(|y| y + (source.number(data) / 4.0).trunc()).collect(),
        Data::Reals => source.numbers(data, m),
    };
    (prediction, y)
}

/// e = ŷ − y.
fn errors(prediction: &[f32], y: &[f32]) -> Vec<f64> {
    prediction.iter().zip(y).map(|(&prediction, &y)| f64::from(prediction) - f64::from(y)).collect()
}

pub fn linear_error<D: Device>(case: &mut Case<D>, [m, ..]: Shape) -> Result<(), Failure> {
    let &mut Case { rig, kernels, data, ref mut source, ref mut tally } = case;
    let (prediction, y) = prediction_and_target(source, data, m);
    let e = errors(&prediction, &y);
    let blocks = block::grid(m)[0] as usize;
    // The grid-stride loop: THREADS neighbours a block, round and round.
    let mut shares = vec![Vec::new(); blocks];
    for (i, &e) in e.iter().enumerate() {
        shares[i / block::THREADS as usize % blocks].push(e);
    }
    // e is rounded, and its square has that twice.
    let depth = block::depth(m, blocks);
    let squares_of = |share: &Vec<f64>| total(data, share.iter().map(|e| e * e), depth + 2, 1.0);
    let sum_of = |share: &Vec<f64>| total(data, share.iter().copied(), depth + 1, 1.0);
    let expected_error: Vec<_> = e.iter().map(|&e| Expected::rounded(data, e, 0.0, 0)).collect();
    let expected_squares: Vec<_> = shares.iter().map(squares_of).collect();
    let expected_sums: Vec<_> = shares.iter().map(sum_of).collect();

    let (mut error, mut squares, mut sums) = (rig.output(m)?, rig.output(blocks)?, rig.output(blocks)?);
    let (prediction, y) = (rig.upload(&prediction)?, rig.upload(&y)?);
    let arguments = (m as u32, &prediction, &y, &mut error, &mut squares, &mut sums);
    rig.launch(kernels.linear_error, error::grid(m), arguments)?;
    let place = format!("linear_error m = {m}");
    tally.compare(&format_args!("{place}: e"), &rig.download(&error)?, &expected_error)?;
    tally.compare(&format_args!("{place}: squares"), &rig.download(&squares)?, &expected_squares)?;
    tally.compare(&format_args!("{place}: sums"), &rig.download(&sums)?, &expected_sums)
}

pub fn linear_cost<D: Device>(case: &mut Case<D>, [m, ..]: Shape) -> Result<(), Failure> {
    /// Entries of the cost history, and the one that is to be written.
    const STEPS: usize = 4;
    const STEP: usize = 2;
    const UNTOUCHED: f32 = 7.0;
    let &mut Case { rig, kernels, data, ref mut source, ref mut tally } = case;
    let (prediction, y) = prediction_and_target(source, data, m);
    let e = errors(&prediction, &y);
    let blocks = block::grid(m)[0] as usize;
    let (mut error, mut squares, mut sums) = (rig.output(m)?, rig.output(blocks)?, rig.output(blocks)?);
    let (prediction, y) = (rig.upload(&prediction)?, rig.upload(&y)?);
    let arguments = (m as u32, &prediction, &y, &mut error, &mut squares, &mut sums);
    rig.launch(kernels.linear_error, error::grid(m), arguments)?;

    let (mut history, mut bias_gradient) = (rig.upload(&[UNTOUCHED; STEPS])?, rig.output(1)?);
    let arguments = (m as u32, blocks as u32, STEP as u32, &squares, &sums, &mut history, &mut bias_gradient);
    rig.launch(kernels.linear_cost, [1, 1, 1], arguments)?;
    // As in linear_error, and m and the quotient are rounded.
    let (samples, depth) = (m.max(1) as f64, reduce::depth(m));
    let mut expected_history = [Expected::exact(f64::from(UNTOUCHED)); STEPS];
    expected_history[STEP] = total(data, e.iter().map(|e| e * e), depth + 4, 2.0 * samples);
    let expected_gradient = [total(data, e.iter().copied(), depth + 3, samples)];
    let place = format!("linear_cost m = {m}");
    tally.compare(&format_args!("{place}: cost"), &rig.download(&history)?, &expected_history)?;
    tally.compare(&format_args!("{place}: ∇b"), &rig.download(&bias_gradient)?, &expected_gradient)
}

/// Xᵀe of the rows `rows`, divided by `divisor`.
fn gradient_of(
    data: Data,
    (x, e): (&[f32], &[f32]),
    n: usize,
    rows: std::ops::Range<usize>,
    depth: usize,
    divisor: f64,
) -> Vec<Expected> {
    (0..n)
        .map(|column| {
            let terms = rows.clone().map(|row| f64::from(x[row * n + column]) * f64::from(e[row]));
            total(data, terms, depth, divisor)
        })
        .collect()
}

pub fn gradient<D: Device>(case: &mut Case<D>, [m, n, _]: Shape) -> Result<(), Failure> {
    let &mut Case { rig, kernels, data, ref mut source, ref mut tally } = case;
    let (x, e) = (source.numbers(data, m * n), source.numbers(data, m));
    let blocks = descent_gradient::row_blocks(m, n);
    let depth = strip::depth(m, blocks);
    let expected: Vec<_> = (0..blocks)
        .flat_map(|block| gradient_of(data, (&x, &e), n, strip::rows_of_block(m, blocks, block), depth, 1.0))
        .collect();
    let mut partials = rig.output(blocks * n)?;
    let arguments = (m as u32, n as u32, &rig.upload(&x)?, &rig.upload(&e)?, &mut partials);
    rig.launch(kernels.gradient, descent_gradient::grid(m, n), arguments)?;
    tally.compare(&format_args!("gradient {m} x {n}"), &rig.download(&partials)?, &expected)
}

pub fn gradient_finish<D: Device>(case: &mut Case<D>, [m, n, _]: Shape) -> Result<(), Failure> {
    let &mut Case { rig, kernels, data, ref mut source, ref mut tally } = case;
    let (x, e) = (source.numbers(data, m * n), source.numbers(data, m));
    let blocks = descent_gradient::row_blocks(m, n);
    let depth = strip::depth(m, blocks) + strip::depth(blocks, 1) + 1;
    let expected = gradient_of(data, (&x, &e), n, 0..m, depth, m.max(1) as f64);
    let (mut partials, mut out) = (rig.output(blocks * n)?, rig.output(n)?);
    let arguments = (m as u32, n as u32, &rig.upload(&x)?, &rig.upload(&e)?, &mut partials);
    rig.launch(kernels.gradient, descent_gradient::grid(m, n), arguments)?;
    let arguments = (m as u32, n as u32, blocks as u32, &partials, &mut out);
    rig.launch(kernels.gradient_finish, descent_gradient::finish_grid(n), arguments)?;
    tally.compare(&format_args!("gradient_finish {m} x {n}"), &rig.download(&out)?, &expected)
}
