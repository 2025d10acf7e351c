use cuda_std::Device;
use kernels::reduce::strided::LOADS;
use kernels::reduce::{block, column_moments as moments, column_sums, strip};

use super::{Case, Shape, shapes};
use crate::{Data, Expected, Failure, Source, gamma, sums};

/// What a block takes in at a time.
const CHUNK: usize = block::THREADS as usize * LOADS;

/// Around the edges of blocks, more than once round the largest grid, and four by seed.
pub fn sizes(source: &mut Source) -> Vec<Shape> {
    let block = block::THREADS as usize;
    let mut sizes = vec![0, 1, block - 1, block, block + 1, CHUNK - 1, CHUNK, CHUNK + 1];
    // As many blocks as there may be, each of whose threads has a second group of loads, and some a ragged end.
    sizes.push(2 * block::MAX_BLOCKS * CHUNK + 3 * block + 5);
    sizes.extend((0..4).map(|_| source.size(2, 20 * CHUNK)));
    sizes.into_iter().map(|n| [n, 1, 1]).collect()
}

/// The longest chain of additions in a sum of n values, and then of the blocks' sums.
pub fn depth(n: usize) -> usize {
    let blocks = block::grid(n)[0] as usize;
    block::depth(n, blocks) + block::depth(blocks, 1)
}

pub fn sum<D: Device>(case: &mut Case<D>, [n, ..]: Shape) -> Result<(), Failure> {
    let &mut Case { rig, kernels, data, ref mut source, ref mut tally } = case;
    let x = source.numbers(data, n);
    let (value, magnitude) = sums(x.iter().map(|&x| f64::from(x)));
    let blocks = block::grid(n)[0];
    let (mut partials, mut total) = (rig.output(blocks as usize)?, rig.output(1)?);
    rig.launch(kernels.sum, block::grid(n), (n as u32, &rig.upload(&x)?, &mut partials))?;
    rig.download(&partials)?;
    rig.launch(kernels.sum, [1, 1, 1], (blocks, &partials, &mut total))?;
    let expected = [Expected::rounded(data, value, magnitude, depth(n))];
    tally.compare(&format_args!("sum n = {n}"), &rig.download(&total)?, &expected)
}

pub fn dot<D: Device>(case: &mut Case<D>, [n, ..]: Shape) -> Result<(), Failure> {
    let &mut Case { rig, kernels, data, ref mut source, ref mut tally } = case;
    let (a, b) = (source.numbers(data, n), source.numbers(data, n));
    let (value, magnitude) = sums(a.iter().zip(&b).map(|(&a, &b)| f64::from(a) * f64::from(b)));
    let blocks = block::grid(n)[0];
    let (mut partials, mut total) = (rig.output(blocks as usize)?, rig.output(1)?);
    let (a, b) = (rig.upload(&a)?, rig.upload(&b)?);
    rig.launch(kernels.dot, block::grid(n), (n as u32, &a, &b, &mut partials))?;
    rig.download(&partials)?;
    rig.launch(kernels.sum, [1, 1, 1], (blocks, &partials, &mut total))?;
    let expected = [Expected::rounded(data, value, magnitude, depth(n))];
    tally.compare(&format_args!("dot n = {n}"), &rig.download(&total)?, &expected)
}

/// Around the edges of strips and of row blocks, and six by seed.
pub fn matrices(source: &mut Source) -> Vec<Shape> {
    let (rows, columns) = (strip::ROWS as usize, strip::COLUMNS as usize);
    let block = strip::ROWS_OF_BLOCK;
    let edges = [
        0,
        1,
        rows - 1,
        rows,
        rows + 1,
        rows * LOADS + 3,
        block - 1,
        block,
        block + 1,
        2 * block + 1,
        4 * block + 3,
    ];
    let mut cases = shapes(&edges, &[0, 1, columns - 1, columns, columns + 1]);
    // So many row blocks that each thread which adds them up has a second group of loads, and some a ragged end.
    cases.push([(2 * LOADS * rows + 3) * block, 2, 1]);
    cases.extend((0..3).map(|_| [source.size(2, 700), source.size(2, 200), 1]));
    cases.extend((0..3).map(|_| [source.size(2, 7000), source.size(2, 10), 1]));
    cases
}

pub fn column_sums<D: Device>(case: &mut Case<D>, [m, n, _]: Shape) -> Result<(), Failure> {
    let &mut Case { rig, kernels, data, ref mut source, ref mut tally } = case;
    let x = source.numbers(data, m * n);
    let blocks = column_sums::row_blocks(m, n);
    let expected: Vec<_> = (0..n)
        .map(|column| {
            let (value, magnitude) = sums((0..m).map(|row| f64::from(x[row * n + column])));
            Expected::rounded(data, value, magnitude, strip::depth(m, blocks) + strip::depth(blocks, 1))
        })
        .collect();
    let (mut partials, mut total) = (rig.output(blocks * n)?, rig.output(n)?);
    let arguments = (m as u32, n as u32, &rig.upload(&x)?, &mut partials);
    rig.launch(kernels.column_sums, column_sums::grid(m, n), arguments)?;
    rig.download(&partials)?;
    let arguments = (blocks as u32, n as u32, &partials, &mut total);
    rig.launch(kernels.column_sums, column_sums::finish_grid(n), arguments)?;
    tally.compare(&format_args!("column_sums {m} x {n}"), &rig.download(&total)?, &expected)
}

/// A matrix whose columns are hard in different ways: around 0; a mean of a thousand deviations; constant.
fn hard_matrix(source: &mut Source, data: Data, m: usize, n: usize) -> Vec<f32> {
    let offsets: Vec<f32> = (0..n).map(|_| source.number(data)).collect();
    let mut x = source.numbers(data, m * n);
    for (i, x) in x.iter_mut().enumerate() {
        match i % n % 3 {
            0 => {}
            1 => *x += 1000.0 * offsets[i % n],
            _ => *x = 1000.0 * offsets[i % n],
        }
    }
    x
}

/// Mean, sum of squared deviations and largest magnitude of a column's rows, in two passes.
fn two_passes(x: &[f32], n: usize, column: usize, rows: std::ops::Range<usize>) -> (f64, f64, f64) {
    let values = || rows.clone().map(|row| f64::from(x[row * n + column]));
    let mean = sums(values()).0 / rows.len().max(1) as f64;
    let (squares, _) = sums(values().map(|value| (value - mean).powi(2)));
    (mean, squares, values().map(f64::abs).fold(0.0, f64::max))
}

/// The mean of values of at most `largest`, rounded `depth` times by u times that. That of equal values is exact.
fn mean_of(mean: f64, squares: f64, largest: f64, depth: usize) -> Expected {
    if squares == 0.0 {
        Expected::exact(mean)
    } else {
        Expected { value: mean, bound: gamma(depth) * largest }
    }
}

/// The standard deviation: running means that are off by ε put it off by 2ε (Chan and Lewis: a relative error of
/// the variance of 2 ε / σ). That of equal values is exactly 0.
fn deviation_of(squares: f64, m: usize, largest: f64, depth: usize) -> Expected {
    if squares == 0.0 {
        return Expected::exact(0.0);
    }
    let value = (squares / m as f64).sqrt();
    Expected { value, bound: gamma(depth) * (2.0 * largest + value) }
}

pub fn column_moments<D: Device>(case: &mut Case<D>, [m, n, _]: Shape) -> Result<(), Failure> {
    let &mut Case { rig, kernels, data, ref mut source, ref mut tally } = case;
    let x = hard_matrix(source, data, m, n);
    let blocks = moments::row_blocks(m, n);
    let depth = moments::depth(m, blocks);
    let (mut expected_means, mut expected_deviations) = (Vec::new(), Vec::new());
    for block in 0..blocks {
        let rows = strip::rows_of_block(m, blocks, block);
        for column in 0..n {
            let (mean, squares, largest) = two_passes(&x, n, column, rows.clone());
            expected_means.push(mean_of(mean, squares, largest, depth));
            expected_deviations.push(deviation_of(squares, rows.len(), largest, depth));
        }
    }
    let (mut means, mut squares) = (rig.output(blocks * n)?, rig.output(blocks * n)?);
    let arguments = (m as u32, n as u32, &rig.upload(&x)?, &mut means, &mut squares);
    rig.launch(kernels.column_moments, moments::grid(m, n), arguments)?;
    let deviations: Vec<f32> = (rig.download(&squares)?.iter().enumerate())
        .map(|(i, &squares)| {
            let rows = strip::rows_of_block(m, blocks, i / n).len().max(1);
            (f64::from(squares) / rows as f64).sqrt() as f32
        })
        .collect();
    let place = format!("column_moments {m} x {n}");
    tally.compare(&format_args!("{place}: means"), &rig.download(&means)?, &expected_means)?;
    tally.compare(&format_args!("{place}: deviations"), &deviations, &expected_deviations)
}

pub fn column_moments_finish<D: Device>(case: &mut Case<D>, [m, n, _]: Shape) -> Result<(), Failure> {
    let &mut Case { rig, kernels, data, ref mut source, ref mut tally } = case;
    let x = hard_matrix(source, data, m, n);
    let blocks = moments::row_blocks(m, n);
    let depth = moments::depth(m, blocks) + moments::finish_depth(blocks);
    let (mut expected_mean, mut expected_deviation) = (Vec::new(), Vec::new());
    for column in 0..n {
        let (mean, squares, largest) = two_passes(&x, n, column, 0..m);
        expected_mean.push(mean_of(mean, squares, largest, depth));
        expected_deviation.push(deviation_of(squares, m, largest, depth));
    }
    let (mut means, mut squares) = (rig.output(blocks * n)?, rig.output(blocks * n)?);
    let arguments = (m as u32, n as u32, &rig.upload(&x)?, &mut means, &mut squares);
    rig.launch(kernels.column_moments, moments::grid(m, n), arguments)?;
    let (mut mean, mut deviation) = (rig.output(n)?, rig.output(n)?);
    let arguments = (m as u32, n as u32, blocks as u32, &means, &squares, &mut mean, &mut deviation);
    rig.launch(kernels.column_moments_finish, moments::finish_grid(n), arguments)?;
    let place = format!("column_moments_finish {m} x {n}");
    tally.compare(&format_args!("{place}: mean"), &rig.download(&mean)?, &expected_mean)?;
    tally.compare(&format_args!("{place}: deviation"), &rig.download(&deviation)?, &expected_deviation)
}
