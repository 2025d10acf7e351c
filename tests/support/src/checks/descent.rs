use cuda_std::Device;
use kernels::descent::{error, gradient as descent_gradient, matrix_vector as product};
use kernels::reduce::{block, strip};

use super::{reduce, shapes};
use crate::{Data, Expected, Failure, Kernels, Rig, Source, Tally, sums};

pub fn matrix_vector<D: Device>(rig: &Rig<D>, kernels: &Kernels, data: Data) -> Result<Tally, Failure> {
    let (mut source, mut tally) = (Source::new(21), Tally::default());
    let mut cases = shapes(&[0, 1, 7, 8, 9, 30], &[0, 1, 31, 32, 33, 127, 128, 129]);
    cases.extend([(source.size(2, 100), source.size(2, 1000)), (source.size(2, 1000), source.size(2, 20))]);
    for (m, n) in cases {
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
        tally.compare(&format_args!("matrix_vector {m} x {n}"), &rig.download(&out)?, &expected)?;
    }
    Ok(tally)
}

/// Σ terms / divisor, with at most `depth` roundings behind a term.
fn total(data: Data, terms: impl Iterator<Item = f64>, depth: usize, divisor: f64) -> Expected {
    let (value, magnitude) = sums(terms);
    Expected::rounded(data, value / divisor, magnitude / divisor, depth)
}

pub fn linear_error<D: Device>(rig: &Rig<D>, kernels: &Kernels, data: Data) -> Result<Tally, Failure> {
    let (mut source, mut tally) = (Source::new(22), Tally::default());
    for m in reduce::sizes(&mut source) {
        let (prediction, y) = (source.numbers(data, m), source.numbers(data, m));
        let e: Vec<f64> = prediction.iter().zip(&y).map(|(&p, &y)| f64::from(p) - f64::from(y)).collect();
        let expected: Vec<_> = e.iter().map(|&e| Expected::rounded(data, e, 0.0, 0)).collect();
        let blocks = block::grid(m)[0] as usize;
        let (mut error, mut squares, mut sums) = (rig.output(m)?, rig.output(blocks)?, rig.output(blocks)?);
        let (prediction, y) = (rig.upload(&prediction)?, rig.upload(&y)?);
        let arguments = (m as u32, &prediction, &y, &mut error, &mut squares, &mut sums);
        rig.launch(kernels.linear_error, error::grid(m), arguments)?;
        tally.compare(&format_args!("linear_error m = {m}"), &rig.download(&error)?, &expected)?;
        // The partial sums, block by block: the thread of index i is i modulo the threads of the grid.
        let threads = block::THREADS as usize;
        let terms = |block: usize| {
            (e.iter().enumerate()).filter(move |(i, _)| i / threads % blocks == block).map(|(_, &e)| e)
        };
        let depth = block::depth(m, blocks);
        let mut expected_squares = Vec::new();
        let mut expected_sums = Vec::new();
        for block in 0..if m > 100_000 { 0 } else { blocks } {
            expected_squares.push(total(data, terms(block).map(|e| e * e), depth + 2, 1.0));
            expected_sums.push(total(data, terms(block), depth + 1, 1.0));
        }
        let (squares, sums) = (rig.download(&squares)?, rig.download(&sums)?);
        let compared = expected_squares.len();
        tally.compare(
            &format_args!("linear_error m = {m}: squares"),
            &squares[..compared],
            &expected_squares,
        )?;
        tally.compare(&format_args!("linear_error m = {m}: sums"), &sums[..compared], &expected_sums)?;
    }
    Ok(tally)
}

pub fn linear_cost<D: Device>(rig: &Rig<D>, kernels: &Kernels, data: Data) -> Result<Tally, Failure> {
    const STEPS: usize = 4;
    const STEP: usize = 2;
    let (mut source, mut tally) = (Source::new(23), Tally::default());
    for m in reduce::sizes(&mut source) {
        let (prediction, y) = (source.numbers(data, m), source.numbers(data, m));
        let e: Vec<f64> = prediction.iter().zip(&y).map(|(&p, &y)| f64::from(p) - f64::from(y)).collect();
        let blocks = block::grid(m)[0] as usize;
        let (mut error, mut squares, mut sums) = (rig.output(m)?, rig.output(blocks)?, rig.output(blocks)?);
        let (prediction, y) = (rig.upload(&prediction)?, rig.upload(&y)?);
        let arguments = (m as u32, &prediction, &y, &mut error, &mut squares, &mut sums);
        rig.launch(kernels.linear_error, error::grid(m), arguments)?;

        let (mut history, mut bias_gradient) = (rig.upload(&[7.0; STEPS])?, rig.output(1)?);
        let arguments =
            (m as u32, blocks as u32, STEP as u32, &squares, &sums, &mut history, &mut bias_gradient);
        rig.launch(kernels.linear_cost, [1, 1, 1], arguments)?;
        let (samples, depth) = (m.max(1) as f64, reduce::depth(m));
        let mut expected = [Expected::exact(7.0); STEPS];
        // e is rounded, and its square has that twice; then the divisor and the division.
        expected[STEP] = total(data, e.iter().map(|e| e * e), depth + 4, 2.0 * samples);
        tally.compare(&format_args!("linear_cost m = {m}: cost"), &rig.download(&history)?, &expected)?;
        let expected = [total(data, e.iter().copied(), depth + 3, samples)];
        tally.compare(&format_args!("linear_cost m = {m}: ∇b"), &rig.download(&bias_gradient)?, &expected)?;
    }
    Ok(tally)
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

pub fn gradient<D: Device>(rig: &Rig<D>, kernels: &Kernels, data: Data) -> Result<Tally, Failure> {
    let (mut source, mut tally) = (Source::new(24), Tally::default());
    for (m, n) in reduce::matrices(&mut source) {
        let (x, e) = (source.numbers(data, m * n), source.numbers(data, m));
        let blocks = descent_gradient::row_blocks(m, n);
        let depth = strip::depth(m, blocks);
        let expected: Vec<_> = (0..blocks)
            .flat_map(|block| {
                gradient_of(data, (&x, &e), n, strip::rows_of_block(m, blocks, block), depth, 1.0)
            })
            .collect();
        let mut partials = rig.output(blocks * n)?;
        let arguments = (m as u32, n as u32, &rig.upload(&x)?, &rig.upload(&e)?, &mut partials);
        rig.launch(kernels.gradient, descent_gradient::grid(m, n), arguments)?;
        tally.compare(&format_args!("gradient {m} x {n}"), &rig.download(&partials)?, &expected)?;
    }
    Ok(tally)
}

pub fn gradient_finish<D: Device>(rig: &Rig<D>, kernels: &Kernels, data: Data) -> Result<Tally, Failure> {
    let (mut source, mut tally) = (Source::new(25), Tally::default());
    for (m, n) in reduce::matrices(&mut source) {
        let (x, e) = (source.numbers(data, m * n), source.numbers(data, m));
        let blocks = descent_gradient::row_blocks(m, n);
        let depth = strip::depth(m, blocks) + strip::depth(blocks, 1) + 1;
        let expected = gradient_of(data, (&x, &e), n, 0..m, depth, m.max(1) as f64);
        let (mut partials, mut out) = (rig.output(blocks * n)?, rig.output(n)?);
        let arguments = (m as u32, n as u32, &rig.upload(&x)?, &rig.upload(&e)?, &mut partials);
        rig.launch(kernels.gradient, descent_gradient::grid(m, n), arguments)?;
        let arguments = (m as u32, n as u32, blocks as u32, &partials, &mut out);
        rig.launch(kernels.gradient_finish, descent_gradient::finish_grid(n), arguments)?;
        tally.compare(&format_args!("gradient_finish {m} x {n}"), &rig.download(&out)?, &expected)?;
    }
    Ok(tally)
}
