use std::ops::Range;

use cuda_std::{Device, Global, GlobalMut, Kernel};
use kernels::descent::fused::{NARROW, Teams, WIDEST};
use kernels::descent::loss::LN_1P_ERROR;
use kernels::descent::{error, finish, gradient, matrix_vector as product};
use kernels::reduce::strip;

use super::elementwise::sigmoid_of;
use super::{Case, Shape, shapes};
use crate::{Data, Expected, Failure, Source, UNIT_ROUNDOFF, gamma, sums};

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
    let (mean, bias) = (source.numbers(data, n), source.numbers(data, 1));
    let expected: Vec<_> = (0..m)
        .map(|row| {
            let centered = |i: usize| f64::from(x[row * n + i]) - f64::from(mean[i]);
            let terms = (0..n).map(|i| centered(i) * f64::from(weights[i]));
            let (value, magnitude) = sums(terms.chain([f64::from(bias[0])]));
            // The differences are rounded, too.
            Expected::rounded(data, value, magnitude, product::depth(n) + 1)
        })
        .collect();
    let mut out = rig.output(m)?;
    let (x, mean) = (rig.upload(&x)?, rig.upload(&mean)?);
    let (weights, bias) = (rig.upload(&weights)?, rig.upload(&bias)?);
    let arguments = (m as u32, n as u32, &x, &mean, &weights, &bias, &mut out);
    rig.launch(kernels.matrix_vector, product::grid(m), arguments)?;
    tally.compare(&format_args!("matrix_vector {m} x {n}"), &rig.download(&out)?, &expected)
}

pub fn gradient<D: Device>(case: &mut Case<D>, [m, n, _]: Shape) -> Result<(), Failure> {
    let &mut Case { rig, kernels, data, ref mut source, ref mut tally } = case;
    let (x, mean) = (source.numbers(data, m * n), source.numbers(data, n));
    let (e, losses) = (source.numbers(data, m), source.numbers(data, m));
    let blocks = gradient::row_blocks(m, n);
    // The difference is rounded, too.
    let depth = strip::depth(m, blocks) + 1;
    let sum = |rows: Range<usize>, term: &dyn Fn(usize) -> f64| {
        let (value, magnitude) = sums(rows.map(term));
        Expected::rounded(data, value, magnitude, depth)
    };
    let mut expected = Vec::new();
    for rows in (0..blocks).map(|block| strip::rows_of_block(m, blocks, block)) {
        for column in 0..n {
            let centered = |row: usize| f64::from(x[row * n + column]) - f64::from(mean[column]);
            expected.push(sum(rows.clone(), &|row| centered(row) * f64::from(e[row])));
        }
        expected.push(sum(rows.clone(), &|row| e[row].into()));
        expected.push(sum(rows, &|row| losses[row].into()));
    }
    let mut partials = rig.output(blocks * (n + 2))?;
    let (x, mean) = (rig.upload(&x)?, rig.upload(&mean)?);
    let arguments = (m as u32, n as u32, &x, &mean, &rig.upload(&e)?, &rig.upload(&losses)?, &mut partials);
    rig.launch(kernels.gradient, gradient::grid(m, n), arguments)?;
    tally.compare(&format_args!("gradient {m} x {n}"), &rig.download(&partials)?, &expected)
}

type Errors = Kernel<(u32, In, In, GlobalMut<f32>, GlobalMut<f32>)>;

/// e and the loss of each of m samples, with a y from 0 to 1 where the loss asks for it.
pub fn errors<D: Device>(
    kernel: &Errors,
    loss: Loss,
    case: &mut Case<D>,
    [m, ..]: Shape,
) -> Result<(), Failure> {
    let (z, mut y) = (case.source.numbers(case.data, m), case.source.numbers(case.data, m));
    if loss as usize == log_loss as Loss as usize {
        y.iter_mut().for_each(|y| *y = y.abs() / 8.0);
    }
    errors_at(kernel, loss, case, &z, &y)
}

fn errors_at<D: Device>(
    kernel: &Errors,
    loss: Loss,
    case: &mut Case<D>,
    z: &[f32],
    y: &[f32],
) -> Result<(), Failure> {
    let &mut Case { rig, data, ref mut tally, .. } = case;
    let m = z.len();
    let samples = z.iter().zip(y);
    let expected: Vec<_> = samples.map(|(&z, &y)| loss(data, Expected::exact(z.into()), y.into())).collect();
    // The loss is a sum, or a product, which is rounded.
    let rounded = |loss: Expected| match loss.bound {
        0.0 => loss,
        bound => Expected { bound: bound + UNIT_ROUNDOFF * (loss.value + bound), ..loss },
    };
    let (mut errors, mut losses) = (rig.output(m)?, rig.output(m)?);
    let arguments = (m as u32, &rig.upload(z)?, &rig.upload(y)?, &mut errors, &mut losses);
    rig.launch(kernel, error::grid(m), arguments)?;
    let place = format!("{} m = {m}", kernel.entry());
    let expected_errors: Vec<_> = expected.iter().map(|expected| expected[0]).collect();
    let expected_losses: Vec<_> = expected.iter().map(|expected| rounded(expected[1])).collect();
    tally.compare(&format_args!("{place}: errors"), &rig.download(&errors)?, &expected_errors)?;
    tally.compare(&format_args!("{place}: losses"), &rig.download(&losses)?, &expected_losses)
}

/// z from 0 to far out, where the loss is beside nothing or straight.
const FAR_OUT: [f32; 14] = [0.0, 1e-30, 1e-8, 0.1, 1.0, 3.0, 10.0, 17.5, 40.0, 88.0, 100.0, 104.0, 1e4, 1e18];

/// Samples far out on either side, for both targets. And no number stays none.
pub fn far_out<D: Device>(case: &mut Case<D>) -> Result<(), Failure> {
    let z: Vec<f32> = FAR_OUT.iter().flat_map(|&z| [z, z, -z, -z]).collect();
    let y: Vec<f32> = (0..z.len()).map(|i| (i % 2) as f32).collect();
    errors_at(case.kernels.log_loss, log_loss, case, &z, &y)?;
    let rig = case.rig;
    let (mut errors, mut losses) = (rig.output(1)?, rig.output(1)?);
    let arguments = (1, &rig.upload(&[f32::NAN])?, &rig.upload(&[1.0])?, &mut errors, &mut losses);
    rig.launch(case.kernels.log_loss, error::grid(1), arguments)?;
    match (rig.download(&errors)?[0], rig.download(&losses)?[0]) {
        (error, loss) if error.is_nan() && loss.is_nan() => Ok(()),
        got => Err(format!("NaN became {got:?}")),
    }
}

type In = Global<f32>;
type Step = Kernel<(u32, u32, In, In, In, In, In, In, GlobalMut<f32>)>;

/// A loss, as its reference gives it: e and the loss from z and y.
pub type Loss = fn(Data, Expected, f64) -> [Expected; 2];

/// (z − y)² / 2.
pub fn squared_error(data: Data, z: Expected, y: f64) -> [Expected; 2] {
    let e = z.value - y;
    if data == Data::Integers {
        return [Expected::exact(e), Expected::exact(e * e / 2.0)];
    }
    let off = z.bound + UNIT_ROUNDOFF * (e.abs() + z.bound);
    [Expected { value: e, bound: off }, Expected { value: e * e / 2.0, bound: off * (e.abs() + off / 2.0) }]
}

/// max(z, 0) − y z + ln(1 + e^−|z|), whose slope σ(z) − y is between −1 and 1. e^−|z| is off by 6u, and ln(1 + t) by no more
/// than t, relatively.
pub fn log_loss(_: Data, z: Expected, y: f64) -> [Expected; 2] {
    let sigmoid = sigmoid_of(z.value, z.bound);
    let e = sigmoid.value - y;
    let error = Expected { value: e, bound: sigmoid.bound + UNIT_ROUNDOFF * (e.abs() + sigmoid.bound) };
    let (straight, bent) = (z.value.max(0.0) - y * z.value, (-z.value.abs()).exp().ln_1p());
    let roundings = (f64::from(LN_1P_ERROR) + 6.0 * UNIT_ROUNDOFF) * bent + UNIT_ROUNDOFF * straight;
    let bound = z.bound * (1.0 + UNIT_ROUNDOFF) + roundings + f64::from(f32::from_bits(4));
    [error, Expected { value: straight + bent, bound }]
}

/// What a step's pass over X starts from.
struct Samples {
    n: usize,
    x: Vec<f32>,         // (m × n)
    y: Vec<f32>,         // (m)
    mean: Vec<f32>,      // (n)
    deviation: Vec<f32>, // (n)
    weights: Vec<f32>,   // (n)
    bias: f32,
}

impl Samples {
    /// Random ones. Of integers x − μ, w / σ and z are exact, and e is small, so that its sums are, too.
    fn random(source: &mut Source, data: Data, loss: Loss, [m, n]: [usize; 2]) -> Self {
        let (x, mean) = (source.numbers(data, m * n), source.numbers(data, n));
        let deviation = (0..n).map(|_| match data {
            Data::Integers => [0.5, 1.0, 2.0][source.size(0, 2)],
            Data::Reals => 2.0 + source.number(data),
        });
        let deviation = deviation.collect();
        let logistic = loss as usize == log_loss as Loss as usize;
        // So that z stays where the sigmoid bends.
        let shrink = if logistic { 0.5_f32.powi(n.max(1).ilog2() as i32 / 2) } else { 1.0 };
        let small = |source: &mut Source| match data {
            Data::Integers => (source.number(data) / 4.0).trunc(),
            Data::Reals => source.number(data),
        };
        let weights = (0..n).map(|_| small(source) * shrink).collect();
        let mut samples = Samples { n, x, y: Vec::new(), mean, deviation, weights, bias: small(source) };
        samples.y = (0..m)
            .map(|row| match data {
                _ if logistic => source.size(0, 1) as f32,
                Data::Integers => samples.z(data, row, 0).value as f32 + small(source),
                Data::Reals => source.number(data),
            })
            .collect();
        samples
    }

    /// x − μ.
    fn centered(&self, row: usize, column: usize) -> f64 {
        f64::from(self.x[row * self.n + column]) - f64::from(self.mean[column])
    }

    /// z of a row.
    fn z(&self, data: Data, row: usize, depth: usize) -> Expected {
        let weight = |j: usize| f64::from(self.weights[j]) / f64::from(self.deviation[j]);
        let terms = (0..self.n).map(|j| self.centered(row, j) * weight(j));
        let (value, magnitude) = sums(terms.chain([f64::from(self.bias)]));
        match data {
            Data::Integers => Expected::exact(value),
            Data::Reals => Expected { value, bound: gamma(depth) * magnitude },
        }
    }

    /// The sums over `rows` of e (x − μ), e and the loss, for `depth` additions.
    fn sums(
        &self,
        data: Data,
        loss: Loss,
        rows: Range<usize>,
        row_depth: usize,
        depth: usize,
    ) -> Vec<Expected> {
        let mut all = vec![Expected::exact(0.0); self.n + 2];
        for row in rows {
            let [e, loss] = loss(data, self.z(data, row, row_depth), f64::from(self.y[row]));
            let mut add = |column: usize, term: Expected, factor: f64| {
                let all: &mut Expected = &mut all[column];
                all.value += term.value * factor;
                // x − μ is rounded, and so is each addition; for the latter, of what may be there at most.
                all.bound += (term.bound + gamma(depth + 2) * (term.value.abs() + term.bound)) * factor.abs();
            };
            for column in 0..self.n {
                add(column, e, self.centered(row, column));
            }
            add(self.n, e, 1.0);
            add(self.n + 1, loss, 1.0);
        }
        let exact = data == Data::Integers && all.iter().all(|sum| sum.value.fract() * 2.0 % 1.0 == 0.0);
        if exact { all.iter().map(|sum| Expected::exact(sum.value)).collect() } else { all }
    }

    /// Launches a step's kernel on `blocks` blocks, and compares its sums.
    fn check<D: Device>(
        &self,
        kernel: &Step,
        teams: Teams,
        loss: Loss,
        case: &mut Case<D>,
        blocks: usize,
    ) -> Result<(), Failure> {
        let &mut Case { rig, data, ref mut tally, .. } = case;
        let (m, n) = (self.y.len(), self.n);
        let depth = teams.depth(m, blocks);
        let rows = |block| strip::rows_of_block(m, blocks, block);
        let expected: Vec<_> = (0..blocks)
            .flat_map(|block| self.sums(data, loss, rows(block), teams.depth_of_row(), depth))
            .collect();
        let mut partials = rig.output(blocks * (n + 2))?;
        let (x, y) = (rig.upload(&self.x)?, rig.upload(&self.y)?);
        let (mean, deviation) = (rig.upload(&self.mean)?, rig.upload(&self.deviation)?);
        let (weights, bias) = (rig.upload(&self.weights)?, rig.upload(&[self.bias])?);
        let arguments = (m as u32, n as u32, &x, &y, &mean, &deviation, &weights, &bias, &mut partials);
        rig.launch(kernel, [blocks as u32, 1, 1], arguments)?;
        let place = format_args!("{} {m} x {n}, {blocks} blocks", kernel.entry());
        tally.compare(&place, &rig.download(&partials)?, &expected)
    }
}

/// [m, n, blocks] around the edges of what the lanes, the warps and the blocks of a wide row's kernel take in, each slot for tiles
/// used more than once; two by seed.
pub fn wide_shapes(source: &mut Source) -> Vec<Shape> {
    let mut cases =
        vec![[0, 0, 1], [5, 0, 2], [0, 3, 1], [1, 3, 1], [1, 1, 2], [11, 10, 1], [12, 30, 1], [13, 31, 1]];
    cases.extend([
        [50, 33, 1],
        [150, 8, 2],
        [30, 129, 3],
        [62, 128, 1],
        [40, 1000, 1],
        [26, 1001, 2],
        [13, 1023, 1],
    ]);
    cases.extend([
        [62, 1024, 1],
        [25, 1025, 1],
        [30, 2052, 1],
        [9, 5001, 1],
        [3, WIDEST - 3, 2],
        [5, WIDEST, 1],
    ]);
    cases.extend((0..2).map(|_| [source.size(2, 60), source.size(2, 1100), source.size(1, 3)]));
    cases
}

/// The same for a narrow row's kernel.
pub fn narrow_shapes(source: &mut Source) -> Vec<Shape> {
    let mut cases = vec![[0, 0, 1], [5, 0, 2], [0, 3, 1], [1, 2, 2], [383, 1, 1], [1537, 3, 1], [1536, 4, 1]];
    cases.extend([
        [769, 5, 1],
        [442, 10, 1],
        [1000, 8, 2],
        [250, 16, 1],
        [400, 30, 1],
        [193, 31, 1],
        [96, 33, 1],
    ]);
    cases.extend([[97, 64, 2], [300, 100, 1], [49, 127, 1], [250, NARROW, 1]]);
    cases.extend((0..3).map(|_| [source.size(2, 900), source.size(2, NARROW), source.size(1, 3)]));
    cases
}

/// A step's pass over X, rows of at most as many values as the kernel takes.
fn step<D: Device>(
    kernel: &Step,
    teams: fn(usize) -> Teams,
    most: usize,
    loss: Loss,
    case: &mut Case<D>,
    [m, n, blocks]: Shape,
) -> Result<(), Failure> {
    let (n, blocks) = (n.min(most), blocks.max(1));
    let samples = Samples::random(&mut case.source, case.data, loss, [m, n]);
    samples.check(kernel, teams(n), loss, case, blocks)
}

/// A step with rows of any length that fits.
pub fn wide<D: Device>(kernel: &Step, loss: Loss, case: &mut Case<D>, shape: Shape) -> Result<(), Failure> {
    step(kernel, Teams::wide, WIDEST, loss, case, shape)
}

/// A step with narrow rows.
pub fn narrow<D: Device>(kernel: &Step, loss: Loss, case: &mut Case<D>, shape: Shape) -> Result<(), Failure> {
    step(kernel, Teams::narrow, NARROW, loss, case, shape)
}

/// Samples of one feature whose z is far out on either side, for both targets; one launch each, so that a small loss is
/// seen beside a large one. And no number stays none.
pub fn log_loss_special<D: Device>(kernel: &Step, case: &mut Case<D>) -> Result<(), Failure> {
    let sample = |z: f32, y: f32| Samples {
        n: 1,
        x: vec![z],
        y: vec![y],
        mean: vec![0.0],
        deviation: vec![1.0],
        weights: vec![1.0],
        bias: 0.0,
    };
    // Exact z, and bounds for the rest.
    case.data = Data::Integers;
    for z in FAR_OUT {
        for (z, y) in [(z, 0.0), (z, 1.0), (-z, 0.0), (-z, 1.0)] {
            sample(z, y).check(kernel, Teams::wide(1), log_loss, case, 1)?;
        }
    }
    let rig = case.rig;
    let mut partials = rig.output(3)?;
    let one = rig.upload(&[1.0])?;
    let arguments = (1, 1, &rig.upload(&[f32::NAN])?, &one, &one, &one, &one, &one, &mut partials);
    rig.launch(kernel, [1, 1, 1], arguments)?;
    let got = rig.download(&partials)?;
    if got.iter().all(|sum| sum.is_nan()) { Ok(()) } else { Err(format!("NaN became {got:?}")) }
}

/// [m, n, blocks] around the edges of a strip of the n + 2 sums, and three by seed.
pub fn finish_shapes(source: &mut Source) -> Vec<Shape> {
    let columns = strip::COLUMNS as usize;
    let mut cases =
        vec![[0, 0, 1], [1, 0, 132], [3, 1, 5], [0, 4, 2], [8, columns - 3, 9], [64, columns - 2, 33]];
    cases.extend([[5, columns - 1, 132], [100, columns, 1], [7, columns + 1, 40], [16, 3, 0]]);
    cases.extend((0..3).map(|_| [source.size(2, 900), source.size(2, 200), source.size(2, 132)]));
    cases
}

pub fn descent_finish<D: Device>(case: &mut Case<D>, [m, n, blocks]: Shape) -> Result<(), Failure> {
    /// Entries of the cost history, and the one that is to be written.
    const STEPS: usize = 4;
    const UNTOUCHED: f32 = 7.0;
    let &mut Case { rig, kernels, data, ref mut source, ref mut tally } = case;
    // Any but the last, and now and then past it.
    let now = source.size(1, STEPS);
    // To divide and to multiply by without rounding.
    let m = if data == Data::Integers { m.next_power_of_two() } else { m };
    let deviation: Vec<f32> = match data {
        Data::Integers => (0..n).map(|_| [0.5, 1.0, 2.0][source.size(0, 2)]).collect(),
        Data::Reals => (0..n).map(|_| 2.0 + source.number(data)).collect(),
    };
    let rate: f32 = if data == Data::Integers { 0.5 } else { 0.1 };
    let (partials, weights) = (source.numbers(data, blocks * (n + 2)), source.numbers(data, n));
    let bias = source.number(data);
    let samples = m.max(1) as f64;
    let l2: f32 = if data == Data::Integers { 0.25 } else { 0.3 };
    // m is rounded, and so are the quotients by it and by σ.
    let depth = strip::depth(blocks, 1) + 3;
    let sum_of = |column: usize| sums((0..blocks).map(|block| f64::from(partials[block * (n + 2) + column])));
    // The slope along a weight or, past them, along the bias, and the size of its terms.
    let slope = |column: usize| {
        let (sum, size) = sum_of(column);
        let (deviation, weight) = if column < n { (deviation[column], weights[column]) } else { (1.0, 0.0) };
        let (by, penalty) = (f64::from(deviation) * samples, f64::from(l2) * f64::from(weight));
        (sum / by + penalty, size / by + penalty.abs())
    };
    let moved = |from: f32, column: usize| {
        let ((slope, size), rate) = (slope(column), f64::from(rate));
        Expected::rounded(data, f64::from(from) - rate * slope, rate * size, depth + 1)
    };
    let expected_weights: Vec<_> = (0..n).map(|j| moved(weights[j], j)).collect();
    let expected_bias = [moved(bias, n)];
    let (sum, size) = sum_of(n + 1);
    let mut expected_history = [Expected::exact(f64::from(UNTOUCHED)); STEPS];
    let strips = finish::grid(n)[0] as usize;
    let mut expected_squares = vec![Expected::exact(f64::from(UNTOUCHED)); 2 * strips * STEPS];
    if now < STEPS {
        expected_history[now] = Expected::rounded(data, sum / samples, size / samples, depth);
        for strip in 0..strips {
            let columns = strip * strip::COLUMNS as usize..(n + 1).min((strip + 1) * strip::COLUMNS as usize);
            let slopes = columns.clone().map(slope).fold((0.0, 0.0), |(squares, sizes), (slope, size)| {
                (squares + slope * slope, sizes + size * size)
            });
            let weights: f64 =
                columns.filter(|j| *j < n).map(|j| f64::from(weights[j]).powi(2)).fold(0.0, |a, b| a + b);
            let at = 2 * (now * strips + strip);
            // A square has the error of its factor twice, and five additions. Squares of integers over m need not fit.
            expected_squares[at] = Expected::rounded(Data::Reals, slopes.0, slopes.1, 2 * (depth + 1) + 6);
            expected_squares[at + 1] = Expected::rounded(Data::Reals, weights, weights, 6);
        }
    }

    let (partials, deviation) = (rig.upload(&partials)?, rig.upload(&deviation)?);
    let (mut weights, mut bias) = (rig.upload(&weights)?, rig.upload(&[bias])?);
    let mut history = rig.upload(&[UNTOUCHED; STEPS])?;
    let mut squares = rig.upload(&vec![UNTOUCHED; expected_squares.len()])?;
    let device = &rig.device;
    let mut step = device.upload(&vec![now as u32; strips]).map_err(|error| error.to_string())?;
    let sizes = (m as u32, n as u32, blocks as u32);
    let arguments = (
        sizes.0,
        sizes.1,
        sizes.2,
        STEPS as u32,
        rate,
        l2,
        &partials,
        &deviation,
        &mut weights,
        &mut bias,
        &mut history,
        &mut squares,
        &mut step,
    );
    rig.launch(kernels.descent_finish, finish::grid(n), arguments)?;
    let place = format!("descent_finish {m} x {n}, {blocks} blocks");
    tally.compare(&format_args!("{place}: weights"), &rig.download(&weights)?, &expected_weights)?;
    tally.compare(&format_args!("{place}: bias"), &rig.download(&bias)?, &expected_bias)?;
    tally.compare(&format_args!("{place}: history"), &rig.download(&history)?, &expected_history)?;
    tally.compare(&format_args!("{place}: squares"), &rig.download(&squares)?, &expected_squares)?;
    let step = device.download(&step).map_err(|error| error.to_string())?;
    match step.iter().all(|step| *step as usize == (now + 1).min(STEPS)) {
        true => Ok(()),
        false => Err(format!("{place}: the step after {now} of {STEPS} is {step:?}")),
    }
}
