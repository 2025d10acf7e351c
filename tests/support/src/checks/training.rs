use cuda_std::{Device, Global, GlobalMut, Kernel};
use kernels::elementwise::THREADS;
use kernels::reduce::block;
use kernels::reduce::strided::LOADS;
use kernels::training::fours::V;
use kernels::training::softmax::{self, depth_of_row};
use kernels::training::{backward, gather, output_error, update};

use super::elementwise::sigmoid_of;
use super::{Case, Shape, descent, reduce, shapes};
use crate::{Computed, Data, Expected, Failure, Source};

type In = Global<f32>;
type Out = GlobalMut<f32>;

/// [m, n, rows of X] around the edges of teams, warps and blocks, with vectors and without; four by seed.
pub fn gathers(source: &mut Source) -> Vec<Shape> {
    let mut cases = vec![[0, 3, 0], [0, 4, 5], [3, 0, 2], [1, 1, 1], [257, 1, 9], [31, 2, 40], [33, 3, 7]];
    cases.extend([
        [65, 4, 3],
        [64, 5, 100],
        [129, 8, 20],
        [13, 10, 20],
        [17, 31, 5],
        [16, 32, 6],
        [9, 33, 6],
    ]);
    cases.extend([[8, 127, 3], [10, 128, 12], [7, 132, 8], [5, 1001, 4], [5, 1000, 6]]);
    cases.extend((0..4).map(|_| [source.size(1, 300), source.size(1, 60), source.size(1, 300)]));
    cases
}

/// Which rows: any, and some more than once.
fn rows(source: &mut Source, m: usize, of: usize) -> Vec<u32> {
    let mut rows: Vec<u32> = (0..m).map(|_| source.size(0, of - 1) as u32).collect();
    if let [first, .., last] = &mut rows[..] {
        (*first, *last) = (of as u32 - 1, 0);
    }
    rows
}

pub fn gather<D: Device>(case: &mut Case<D>, [m, n, of]: Shape) -> Result<(), Failure> {
    let &mut Case { rig, kernels, data, ref mut source, ref mut tally } = case;
    let of = of.max(1);
    let (x, rows) = (source.numbers(data, of * n), rows(source, m, of));
    let gathered = rows.iter().flat_map(|&row| x[row as usize * n..][..n].iter());
    let expected: Vec<_> = gathered.map(|&x| Expected::exact(x.into())).collect();
    let mut out = rig.output(m * n)?;
    let arguments = (m as u32, n as u32, &rig.upload(&x)?, &rig.upload_words(&rows)?, &mut out);
    rig.launch(kernels.gather, gather::grid(m, n), arguments)?;
    tally.compare(&format_args!("gather {m} x {n} of {of}"), &rig.download(&out)?, &expected)
}

pub fn gather_scaled<D: Device>(case: &mut Case<D>, [m, n, of]: Shape) -> Result<(), Failure> {
    let &mut Case { rig, kernels, data, ref mut source, ref mut tally } = case;
    let of = of.max(1);
    let (x, rows) = (source.numbers(data, of * n), rows(source, m, of));
    let mean = source.numbers(data, n);
    let deviation: Vec<f32> = match data {
        Data::Integers => (0..n).map(|_| [0.5, 1.0, 2.0][source.size(0, 2)]).collect(),
        Data::Reals => (0..n).map(|_| 2.0 + source.number(data)).collect(),
    };
    let expected: Vec<_> = (rows.iter())
        .flat_map(|&row| {
            let (x, mean, deviation) = (&x[row as usize * n..][..n], &mean, &deviation);
            (0..n).map(move |j| {
                let value = (f64::from(x[j]) - f64::from(mean[j])) / f64::from(deviation[j]);
                // The difference is rounded, and so is the quotient.
                Expected::rounded(data, value, value.abs(), 1)
            })
        })
        .collect();
    let mut out = rig.output(m * n)?;
    let (mean, deviation) = (rig.upload(&mean)?, rig.upload(&deviation)?);
    let (x, rows) = (rig.upload(&x)?, rig.upload_words(&rows)?);
    let arguments = (m as u32, n as u32, &x, &mean, &deviation, &rows, &mut out);
    rig.launch(kernels.gather_scaled, gather::grid(m, n), arguments)?;
    tally.compare(&format_args!("gather_scaled {m} x {n} of {of}"), &rig.download(&out)?, &expected)
}

/// m × n around the edges of a block of `each` elements a thread, and four by seed.
fn around_blocks(source: &mut Source, each: usize) -> Vec<Shape> {
    let block = THREADS as usize * each;
    let mut cases = vec![[0, 3, 1], [3, 0, 1], [1, 1, 1], [1, 3, 1], [2, 2, 1], [5, 1, 1], [7, 31, 1]];
    cases.extend([[block - 1, 1, 1], [block / 2, 2, 1], [1, block + 1, 1], [block + 3, 1, 1], [block, 2, 1]]);
    cases.extend((0..4).map(|_| [source.size(2, 200), source.size(2, 60), 1]));
    cases
}

/// For passes of four elements a thread.
pub fn fours(source: &mut Source) -> Vec<Shape> {
    around_blocks(source, V)
}

/// For the errors of the last layer.
pub fn outputs(source: &mut Source) -> Vec<Shape> {
    let mut shapes = around_blocks(source, LOADS);
    // As many blocks as there may be, each of whose threads has a second group of loads.
    shapes.push([2 * block::MAX_BLOCKS + 1, block::THREADS as usize * LOADS, 1]);
    shapes
}

type OutputError = Kernel<(u32, u32, Out, In, Out)>;

/// Launches the kernel, and compares the errors and the blocks' sums of losses.
fn output_errors<D: Device>(
    case: &mut Case<D>,
    kernel: &OutputError,
    [m, n]: [usize; 2],
    grid: [u32; 3],
    [z, y]: [&[f32]; 2],
    errors: &[Expected],
    losses: &[Expected],
) -> Result<(), Failure> {
    let Case { rig, tally, .. } = case;
    let (mut e, mut partials) = (rig.upload(z)?, rig.output(grid[0] as usize)?);
    rig.launch(kernel, grid, (m as u32, n as u32, &mut e, &rig.upload(y)?, &mut partials))?;
    let place = format!("{} {m} x {n}", kernel.entry());
    tally.compare(&format_args!("{place}: errors"), &rig.download(&e)?, errors)?;
    tally.compare(&format_args!("{place}: losses"), &rig.download(&partials)?, losses)
}

/// The elements that each block visits in a grid-stride loop.
fn visits(count: usize, blocks: usize) -> Vec<Vec<usize>> {
    let mut visits = vec![Vec::new(); blocks];
    for i in 0..count {
        visits[i / block::THREADS as usize % blocks].push(i);
    }
    visits
}

/// e / m and the sums of losses, for a head that goes element by element.
pub fn output_error<D: Device>(
    kernel: &OutputError,
    loss: descent::Loss,
    case: &mut Case<D>,
    [m, n, _]: Shape,
) -> Result<(), Failure> {
    let data = case.data;
    let logistic = kernel.entry().ends_with("sigmoid");
    // Of integers the quotients are exact for powers of two alone, and rounded once for others; sums of squares are exact.
    let (z, mut y) = (case.source.numbers(data, m * n), case.source.numbers(data, m * n));
    if logistic {
        y.iter_mut().for_each(|y| *y = y.abs() / 8.0);
    }
    let both: Vec<_> =
        z.iter().zip(&y).map(|(&z, &y)| loss(data, Expected::exact(z.into()), y.into())).collect();
    let samples = Computed::from(m as f32);
    let errors: Vec<_> = (both.iter())
        .map(|[e, _]| match e.bound {
            0.0 => Expected::exact(f64::from((e.value / m as f64) as f32)),
            bound => Computed { value: e.value, error: bound }.over(samples).expected(),
        })
        .collect();
    let grid = output_error::grid(m, n);
    let depth = block::depth(m * n, grid[0] as usize) + 1;
    let losses: Vec<_> = visits(m * n, grid[0] as usize)
        .into_iter()
        .map(|visits| {
            let exact = visits.iter().all(|&i| both[i][1].bound == 0.0);
            let terms =
                visits.into_iter().map(|i| Computed { value: both[i][1].value, error: both[i][1].bound });
            let sum = Computed::sum(terms, depth);
            if exact { Expected::exact(sum.value) } else { sum.expected() }
        })
        .collect();
    output_errors(case, kernel, [m, n], grid, [&z, &y], &errors, &losses)
}

/// Partial sums, of which there may be more than a block has threads: [m, blocks, at].
pub fn costs(source: &mut Source) -> Vec<Shape> {
    let mut cases = vec![[0, 1, 0], [1, 0, 3], [1, 1, 0], [7, 255, 1], [64, 256, 2], [100, 257, 0]];
    cases.push([1000, 1024, 5]);
    cases.extend((0..4).map(|_| [source.size(1, 1000), source.size(1, 1024), source.size(0, 20)]));
    cases
}

pub fn cost<D: Device>(case: &mut Case<D>, [m, blocks, at]: Shape) -> Result<(), Failure> {
    let &mut Case { rig, kernels, data, ref mut source, ref mut tally } = case;
    let (partials, costs) = (source.numbers(data, blocks), source.numbers(data, at + 3));
    let mut out = rig.upload(&costs)?;
    let samples = m.max(1) as f64;
    let (value, magnitude) = crate::sums(partials.iter().map(|&sum| f64::from(sum)));
    let mean = Expected::rounded(data, value / samples, magnitude / samples, reduce::depth(blocks));
    let arguments = (m as u32, blocks as u32, at as u32, &rig.upload(&partials)?, &mut out);
    rig.launch(kernels.cost, [1, 1, 1], arguments)?;
    let mut expected: Vec<_> = costs.iter().map(|&cost| Expected::exact(cost.into())).collect();
    expected[at] = mean;
    tally.compare(&format_args!("cost {m} of {blocks} at {at}"), &rig.download(&out)?, &expected)
}

/// m × n around the edges of teams, warps and blocks, more than once round the largest grid, and six by seed.
pub fn classes(source: &mut Source) -> Vec<Shape> {
    let mut cases = shapes(&[0, 1, 7, 8, 9, 33], &[1, 2, 3, 5, 10, 16, 31, 32, 33, 130]);
    cases.extend([[257, 2, 1], [3, 1000, 1], [2, 4099, 1], [block::MAX_BLOCKS * 8 + 5, 17, 1]]);
    cases.extend((0..3).map(|_| [source.size(2, 300), source.size(2, 12), 1]));
    cases.extend((0..3).map(|_| [source.size(2, 40), source.size(2, 300), 1]));
    cases
}

/// ŷ of a row of z, and the sum behind the 1 in its denominator.
fn softmax_of(z: &[f32]) -> (Vec<Computed>, Computed, f32) {
    let most = z.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let at = z.iter().position(|&z| z == most);
    let powers: Vec<_> = z.iter().map(|&z| Computed::from(z).minus(most.into()).exp()).collect();
    let terms = powers.iter().enumerate().filter(|(column, _)| Some(*column) != at).map(|(_, power)| *power);
    let others = Computed::sum(terms, depth_of_row(z.len()));
    let total = Computed::from(1.0).plus(others);
    (powers.into_iter().map(|power| power.over(total)).collect(), others, most)
}

/// z of classes: integers leave ties, and reals are stretched to where some powers are nothing beside the others.
fn logits(source: &mut Source, data: Data, count: usize) -> Vec<f32> {
    let mut z = source.numbers(data, count);
    if data == Data::Reals {
        z.iter_mut().enumerate().for_each(|(i, z)| *z *= [1.0, 20.0, 3.0][i % 3]);
    }
    z
}

pub fn softmax<D: Device>(case: &mut Case<D>, [m, n, _]: Shape) -> Result<(), Failure> {
    let z = logits(&mut case.source, case.data, m * n);
    softmax_at(case, [m, n], &z)
}

fn softmax_at<D: Device>(case: &mut Case<D>, [m, n]: [usize; 2], z: &[f32]) -> Result<(), Failure> {
    let Case { rig, kernels, tally, .. } = case;
    let expected: Vec<_> =
        z.chunks(n.max(1)).flat_map(|row| softmax_of(row).0).map(Computed::expected).collect();
    let mut out = rig.upload(z)?;
    rig.launch(kernels.softmax, softmax::grid(m, n), (m as u32, n as u32, &mut out))?;
    tally.compare(&format_args!("softmax {m} x {n}"), &rig.download(&out)?, &expected)
}

/// Rows far from 0, far apart, all alike; no number stays none, in its own row alone.
pub fn softmax_special<D: Device>(case: &mut Case<D>) -> Result<(), Failure> {
    softmax_at(case, [FAR.len() / 3, 3], &FAR)?;
    softmax_at(case, [PEAKS, PEAKS], &peaks())?;
    let rig = case.rig;
    let mut out = rig.upload(&[0.0, f32::NAN, 1.0, 2.0])?;
    rig.launch(case.kernels.softmax, softmax::grid(2, 2), (2, 2, &mut out))?;
    match rig.download(&out)?[..] {
        [a, b, c, d] if a.is_nan() && b.is_nan() && c < d && c + d <= 1.000_001 => Ok(()),
        ref got => Err(format!("softmax of NaN: {got:?}")),
    }
}

/// More columns than a warp takes in at a time, and some.
const PEAKS: usize = 150;

/// In each column a value beside which all others of its row are nothing, and whose power alone would overflow.
fn peaks() -> Vec<f32> {
    let mut z: Vec<f32> = (0..PEAKS * PEAKS).map(|i| (i % 7) as f32).collect();
    (0..PEAKS).for_each(|row| z[row * (PEAKS + 1)] = 500.0);
    z
}

/// Rows of three.
const FAR: [f32; 18] = [
    1e4, 1e4, 1e4, -1e30, 0.0, 1e30, 500.0, 400.0, 300.0, -500.0, -500.0, -490.0, 0.0, -17.5, -40.0, 88.0,
    104.0, -104.0,
];

pub fn output_error_softmax<D: Device>(case: &mut Case<D>, [m, n, _]: Shape) -> Result<(), Failure> {
    let n = n.max(1);
    let z = logits(&mut case.source, case.data, m * n);
    let y: Vec<f32> = (0..m).map(|_| case.source.size(0, n - 1) as f32).collect();
    output_error_softmax_at(case, [m, n], &z, &y)
}

fn output_error_softmax_at<D: Device>(
    case: &mut Case<D>,
    [m, n]: [usize; 2],
    z: &[f32],
    y: &[f32],
) -> Result<(), Failure> {
    let samples = Computed::from(m as f32);
    let (mut errors, mut losses) = (Vec::new(), Vec::new());
    for (row, &class) in z.chunks(n).zip(y) {
        let (predictions, others, most) = softmax_of(row);
        let target = |column: usize| Computed::from(if column as f32 == class { 1.0 } else { 0.0 });
        let error = |(column, ŷ): (usize, &Computed)| ŷ.minus(target(column)).over(samples).expected();
        errors.extend(predictions.iter().enumerate().map(error));
        losses.push(Computed::from(most).minus(row[class as usize].into()).plus(others.ln_1p()));
    }
    let grid = softmax::grid(m, n);
    let blocks = grid[0] as usize;
    let rows = kernels::training::team::rows_of_block(kernels::training::team::lanes(n));
    let sums: Vec<_> = (0..blocks)
        .map(|block| {
            let starts = (block * rows..m).step_by(blocks * rows);
            let of_block = starts.flat_map(|first| &losses[first..m.min(first + rows)]).copied();
            Computed::sum(of_block, softmax::depth(m, n, blocks)).expected()
        })
        .collect();
    output_errors(case, case.kernels.output_error_softmax, [m, n], grid, [z, y], &errors, &sums)
}

/// The same rows for each class, one launch each, so that a small loss is seen beside a large one; classes that are none;
/// no number.
pub fn output_error_softmax_special<D: Device>(case: &mut Case<D>) -> Result<(), Failure> {
    for row in FAR.chunks(3) {
        for class in 0..3 {
            output_error_softmax_at(case, [1, 3], row, &[class as f32])?;
        }
    }
    let second: Vec<f32> = (0..PEAKS).map(|row| ((row + 1) % PEAKS) as f32).collect();
    output_error_softmax_at(case, [PEAKS, PEAKS], &peaks(), &second)?;
    let kernel = case.kernels.output_error_softmax;
    let grid = softmax::grid(2, 2);
    const TWO_TO_THE_32ND: f32 = 4_294_967_296.0;
    let none = [2.0, -1.0, 0.5, TWO_TO_THE_32ND, f32::MAX, f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
    labels_without_loss(case, kernel, grid, &[0.5, 1.0, 2.0, -1.0], &none)?;
    match two_rows(case, kernel, grid, &[0.5, 1.0, 0.5, f32::NAN], 0.0)? {
        (_, cost) if cost.is_nan() => Ok(()),
        (_, cost) => Err(format!("the cost of NaN is {cost}")),
    }
}

/// Labels beyond 0 to 1.
pub fn output_error_sigmoid_special<D: Device>(case: &mut Case<D>) -> Result<(), Failure> {
    let none = [
        0.0_f32.next_down(),
        1.0_f32.next_up(),
        -1.0,
        2.0,
        f32::MAX,
        f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
    ];
    let kernel = case.kernels.output_error_sigmoid;
    labels_without_loss(case, kernel, output_error::grid(2, 1), &[0.5, -1.0], &none)
}

/// A row beside one with a label that has no loss has the errors that it has beside any other; the errors of that one and
/// the cost are NaN.
fn labels_without_loss<D: Device>(
    case: &Case<D>,
    kernel: &OutputError,
    grid: [u32; 3],
    z: &[f32],
    labels: &[f32],
) -> Result<(), Failure> {
    let n = z.len() / 2;
    let (usual, _) = two_rows(case, kernel, grid, z, 1.0)?;
    for &label in labels {
        let (errors, cost) = two_rows(case, kernel, grid, z, label)?;
        let (beside, of_label) = errors.split_at(n);
        if beside != &usual[..n] || !of_label.iter().all(|e| e.is_nan()) || !cost.is_nan() {
            let place = format!("{}, second label {label}", kernel.entry());
            return Err(format!("{place}: errors {errors:?}, cost {cost}; beside another label {usual:?}"));
        }
    }
    Ok(())
}

/// The errors and the cost of z (2 × n) with the labels 0 and `label`.
fn two_rows<D: Device>(
    case: &Case<D>,
    kernel: &OutputError,
    grid: [u32; 3],
    z: &[f32],
    label: f32,
) -> Result<(Vec<f32>, f32), Failure> {
    let rig = case.rig;
    let (mut e, mut partials, mut costs) = (rig.upload(z)?, rig.output(1)?, rig.output(1)?);
    let y = rig.upload(&[0.0, label])?;
    rig.launch(kernel, grid, (2, (z.len() / 2) as u32, &mut e, &y, &mut partials))?;
    rig.launch(case.kernels.cost, [1, 1, 1], (2, 1, 0, &partials, &mut costs))?;
    Ok((rig.download(&e)?, rig.download(&costs)?[0]))
}

pub fn backward_relu<D: Device>(case: &mut Case<D>, [m, n, _]: Shape) -> Result<(), Failure> {
    let output: Vec<f32> = case.source.numbers(case.data, m * n).iter().map(|z| z.max(0.0)).collect();
    backward(case, case.kernels.backward_relu, [m, n], &output, |d, a| {
        Expected::exact(if a > 0.0 { d.into() } else { 0.0 })
    })
}

pub fn backward_sigmoid<D: Device>(case: &mut Case<D>, [m, n, _]: Shape) -> Result<(), Failure> {
    let values = case.source.numbers(case.data, m * n);
    // Sixteenths are as exact as integers.
    let output: Vec<f32> = match case.data {
        Data::Integers => values.iter().map(|value| (value + 8.0) / 16.0).collect(),
        Data::Reals => values.iter().map(|&value| sigmoid_of(value.into(), 0.0).value as f32).collect(),
    };
    let data = case.data;
    backward(case, case.kernels.backward_sigmoid, [m, n], &output, |d, a| {
        let (d, a) = (Computed::from(d), Computed::from(a));
        let slope = d.times(a.times(Computed::from(1.0).minus(a)));
        if data == Data::Integers { Expected::exact(slope.value) } else { slope.expected() }
    })
}

fn backward<D: Device>(
    case: &mut Case<D>,
    kernel: &Kernel<(u32, u32, In, Out)>,
    [m, n]: [usize; 2],
    output: &[f32],
    expected: impl Fn(f32, f32) -> Expected,
) -> Result<(), Failure> {
    let &mut Case { rig, data, ref mut source, ref mut tally, .. } = case;
    let gradient = source.numbers(data, m * n);
    let expected: Vec<_> = gradient.iter().zip(output).map(|(&d, &a)| expected(d, a)).collect();
    let mut out = rig.upload(&gradient)?;
    let arguments = (m as u32, n as u32, &rig.upload(output)?, &mut out);
    rig.launch(kernel, backward::grid(m * n), arguments)?;
    tally.compare(&format_args!("{} {m} x {n}", kernel.entry()), &rig.download(&out)?, &expected)
}

/// A learning rate, a momentum, a penalty: integers stay exact with these.
fn rates(data: Data) -> [f32; 3] {
    match data {
        Data::Integers => [0.5, 0.25, 0.125],
        Data::Reals => [0.1, 0.9, 0.01],
    }
}

/// As the reference of an element; of integers nothing is rounded.
fn of(data: Data, computed: Computed) -> Expected {
    match data {
        Data::Integers => Expected::exact(computed.value),
        Data::Reals => computed.expected(),
    }
}

/// g + λw
fn penalised(l2: f32, w: f32, g: f32) -> Computed {
    Computed::from(l2).times_plus(w.into(), g.into())
}

pub fn update_descent<D: Device>(case: &mut Case<D>, [m, n, _]: Shape) -> Result<(), Failure> {
    let &mut Case { rig, kernels, data, ref mut source, ref mut tally } = case;
    let [rate, _, l2] = rates(data);
    let (g, w) = (source.numbers(data, m * n), source.numbers(data, m * n));
    let step = |(&g, &w): (&f32, &f32)| Computed::from(-rate).times_plus(penalised(l2, w, g), w.into());
    let expected: Vec<_> = g.iter().zip(&w).map(step).map(|step| of(data, step)).collect();
    let mut out = rig.upload(&w)?;
    let arguments = (m as u32, n as u32, rate, l2, &rig.upload(&g)?, &mut out);
    rig.launch(kernels.update_descent, update::grid(m * n), arguments)?;
    tally.compare(&format_args!("update_descent {m} x {n}"), &rig.download(&out)?, &expected)
}

pub fn update_momentum<D: Device>(case: &mut Case<D>, [m, n, _]: Shape) -> Result<(), Failure> {
    let &mut Case { rig, kernels, data, ref mut source, ref mut tally } = case;
    let [rate, momentum, l2] = rates(data);
    let mut numbers = || source.numbers(data, m * n);
    let (g, w, v) = (numbers(), numbers(), numbers());
    let (mut expected_v, mut expected_w) = (Vec::new(), Vec::new());
    for i in 0..m * n {
        let v = Computed::from(momentum).times_plus(v[i].into(), penalised(l2, w[i], g[i]));
        expected_v.push(of(data, v));
        expected_w.push(of(data, Computed::from(-rate).times_plus(v, w[i].into())));
    }
    let (mut w, mut v) = (rig.upload(&w)?, rig.upload(&v)?);
    let arguments = (m as u32, n as u32, rate, momentum, l2, &rig.upload(&g)?, &mut w, &mut v);
    rig.launch(kernels.update_momentum, update::grid(m * n), arguments)?;
    let place = format!("update_momentum {m} x {n}");
    tally.compare(&format_args!("{place}: velocity"), &rig.download(&v)?, &expected_v)?;
    tally.compare(&format_args!("{place}: weights"), &rig.download(&w)?, &expected_w)
}

pub fn update_adam<D: Device>(case: &mut Case<D>, [m, n, _]: Shape) -> Result<(), Failure> {
    let &mut Case { rig, kernels, data, ref mut source, ref mut tally } = case;
    let [rate, _, l2] = rates(data);
    let (beta1, beta2, epsilon) = (0.9_f32, 0.999_f32, 1e-3_f32);
    let rest = |beta: f32| (1.0 - f64::from(beta)) as f32;
    let mut numbers = || source.numbers(data, m * n);
    let (g, w, p) = (numbers(), numbers(), numbers());
    let q: Vec<f32> = numbers().iter().map(|q| q.abs()).collect();
    let (mut expected_p, mut expected_q, mut expected_w) = (Vec::new(), Vec::new(), Vec::new());
    for i in 0..m * n {
        let g = penalised(l2, w[i], g[i]);
        let p = Computed::from(beta1).times_plus(p[i].into(), Computed::from(rest(beta1)).times(g));
        let q = Computed::from(beta2).times_plus(q[i].into(), Computed::from(rest(beta2)).times(g.times(g)));
        let step = p.over(q.sqrt().plus(epsilon.into()));
        expected_p.push(p.expected());
        expected_q.push(q.expected());
        expected_w.push(Computed::from(-rate).times_plus(step, w[i].into()).expected());
    }
    let (mut w, mut p, mut q) = (rig.upload(&w)?, rig.upload(&p)?, rig.upload(&q)?);
    let arguments = (
        m as u32,
        n as u32,
        rate,
        beta1,
        rest(beta1),
        beta2,
        rest(beta2),
        epsilon,
        l2,
        &rig.upload(&g)?,
        &mut w,
        &mut p,
        &mut q,
    );
    rig.launch(kernels.update_adam, update::grid(m * n), arguments)?;
    let place = format!("update_adam {m} x {n}");
    tally.compare(&format_args!("{place}: means"), &rig.download(&p)?, &expected_p)?;
    tally.compare(&format_args!("{place}: squares"), &rig.download(&q)?, &expected_q)?;
    tally.compare(&format_args!("{place}: weights"), &rig.download(&w)?, &expected_w)
}
