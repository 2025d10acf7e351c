//! Every engine against the reference: each operation at many shapes, element by element.
//!
//! Integers must come out bit for bit; reals within the bound γ_d Σ|terms| + u|result|, with d the depth that the
//! engine documents. Without a GPU the tests of the cuda engine are reported as ignored, by name; one test runs them
//! all on the simulated driver, in a process of its own.
//!
//! `TILEGRAD_ROOT` names the folder that holds `tests/data`, if that is not the one this was compiled in.

// Not `error > bound`: a NaN must fail.
#![allow(clippy::neg_cmp_op_on_partial_ord)]

use std::path::PathBuf;

use kernel_suite::{Data, Expected, Source, Tally, UNIT_ROUNDOFF, gamma, simulated};
use kernels::{descent, elementwise, reduce};
use libtest_mimic::{Arguments, Failed, Trial};
use tilegrad::engine::{Activation, Cpu, Cuda, Emulator, Engine, Layout, Loop, Moments};
use tilegrad::{Error, Result};

/// What a test says when it fails, or nothing.
type Outcome = std::result::Result<(), Failed>;

/// A test of an engine.
type Check<E> = fn(&Target<E>) -> Outcome;

/// An engine, and what it promises of its accuracy.
struct Target<E> {
    make: fn() -> Result<E>,
    /// Elements of the largest matrix that it manages in a test's time.
    most: usize,
    /// Depth of a dot product of n terms and one addition.
    dot: fn(n: usize) -> usize,
    /// Depth of a sum over m rows of an m × n matrix, and its division by m.
    column_sum: fn(m: usize, n: usize) -> usize,
    /// Roundings behind a matrix product's element with inner side k.
    product: fn(k: usize) -> usize,
    /// Relative error of sigmoid.
    sigmoid: f64,
}

impl<E> Clone for Target<E> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<E> Copy for Target<E> {}

/// The depth of the reference: its own roundings are far below one of `f32`.
const fn exact(_: usize) -> usize {
    1
}

const LOOP: Target<Loop> = Target {
    make: || Ok(Loop),
    most: usize::MAX,
    dot: exact,
    column_sum: |_, _| 1,
    product: exact,
    sigmoid: 0.0,
};

const CPU: Target<Cpu> = Target {
    make: || Ok(Cpu),
    most: usize::MAX,
    dot: |n| if n < 12 { 0 } else { n.min(4096).div_ceil(32) + 5 + 1 },
    column_sum: |m, n| if n < 12 { 0 } else { m.min(256) + 1 },
    product: |k| k,
    sigmoid: 6.0 * UNIT_ROUNDOFF,
};

const fn on_device<E>(make: fn() -> Result<E>, most: usize) -> Target<E> {
    Target {
        make,
        most,
        dot: |n| descent::matrix_vector::depth(n),
        column_sum: |m, n| {
            let row_blocks = descent::gradient::row_blocks(m, n);
            reduce::strip::depth(m, row_blocks) + reduce::strip::depth(row_blocks, 1) + 1
        },
        product: |k| k,
        sigmoid: elementwise::SIGMOID_ERROR as f64,
    }
}

/// Elements of the largest matrix for which the emulator takes a test's time.
const EMULATED: usize = 50_000;
const EMULATOR: Target<Emulator> = on_device(|| Ok(Emulator::new()), EMULATED);
const CUDA: Target<Cuda> = on_device(|| Cuda::open(0), usize::MAX);
const SIMULATED: Target<Cuda> = Target { most: EMULATED, ..CUDA };

/// Samples × features: none, one, odd, around the tiles', chunks' and vectors' sizes, tall, wide, fewer rows than threads.
const SHAPES: &[(usize, usize)] = &[
    (1, 1),
    (1, 7),
    (7, 1),
    (2, 3),
    (3, 31),
    (5, 32),
    (33, 65),
    (15, 16),
    (16, 17),
    (17, 15),
    (63, 8),
    (64, 10),
    (65, 9),
    (100, 127),
    (255, 33),
    (256, 16),
    (257, 64),
    (1000, 3),
    (2049, 5),
    (2, 4097),
    (3, 9001),
    (1, 32_769),
    (5, 33_000),
    (3000, 100),
    (1100, 1027),
    (1, 200_001),
    (200_001, 1),
];

/// (m, n, k), pairwise distinct but for the first.
const PRODUCTS: &[(usize, usize, usize)] = &[
    (1, 1, 1),
    (0, 5, 3),
    (5, 0, 3),
    (3, 5, 0),
    (1, 7, 3),
    (7, 1, 3),
    (2, 3, 1),
    (3, 2, 5),
    (15, 17, 16),
    (16, 15, 17),
    (17, 16, 15),
    (31, 33, 32),
    (33, 31, 1),
    (63, 65, 64),
    (65, 1, 63),
    (1, 64, 65),
    (5, 70, 129),
    (127, 6, 128),
    (129, 130, 4),
    (64, 100, 1000),
    (257, 255, 256),
    (1025, 3, 70),
    (2, 16_897, 3),
    (2, 1030, 515),
    (300, 301, 1100),
];

/// Values of an engine's matrix; of all engines but the reference they are exactly `f32`.
fn values<E: Engine>(
    engine: &E,
    matrix: &E::Matrix,
    shape: (usize, usize),
) -> std::result::Result<Vec<f32>, Failed> {
    if engine.shape(matrix) != shape {
        return Err(format!("the result is {:?}, expected {shape:?}", engine.shape(matrix)).into());
    }
    Ok(engine.read(matrix)?.into_iter().map(|value| value as f32).collect())
}

/// A matrix in both places: on the engine, and in `f64`.
struct Operand<E: Engine> {
    there: E::Matrix,
    here: Vec<f64>,
}

fn operand<E: Engine>(engine: &E, rows: usize, columns: usize, values: &[f32]) -> Result<Operand<E>> {
    let here = values.iter().copied().map(f64::from).collect();
    Ok(Operand { there: engine.upload(rows, columns, values)?, here })
}

/// The linear problem of a shape: X, y, w, b and e.
struct Problem<E: Engine> {
    shape: (usize, usize),
    data: Data,
    x: Operand<E>,
    y: Operand<E>,
    weights: Operand<E>,
    bias: Operand<E>,
    e: Operand<E>,
}

impl<E: Engine> Problem<E> {
    fn new(engine: &E, shape @ (m, n): (usize, usize), data: Data) -> Result<Self> {
        let mut source = Source::new((m * 1_000_003 + n) as u64);
        let mut make = |rows: usize, columns: usize| {
            operand(engine, rows, columns, &source.numbers(data, rows * columns))
        };
        let (x, y, e) = (make(m, n)?, make(m, 1)?, make(m, 1)?);
        Ok(Problem { shape, data, x, y, e, weights: make(n, 1)?, bias: make(1, 1)? })
    }

    /// Row i · w + b, and the sum of the terms' magnitudes.
    fn prediction(&self, i: usize) -> (f64, f64) {
        let n = self.shape.1;
        let mut sum = (self.bias.here[0], self.bias.here[0].abs());
        for (x, w) in self.x.here[i * n..][..n].iter().zip(&self.weights.here) {
            sum = (sum.0 + x * w, sum.1 + (x * w).abs());
        }
        sum
    }

    /// The error of each sample in exact arithmetic, and how far an engine's may be off.
    fn errors<T>(&self, target: &Target<T>) -> Vec<(f64, f64)> {
        let depth = (target.dot)(self.shape.1) + 1;
        let error = |(i, y): (usize, &f64)| {
            let (prediction, magnitude) = self.prediction(i);
            let error = prediction - y;
            (error, gamma(depth) * (magnitude + y.abs()) + UNIT_ROUNDOFF * error.abs())
        };
        self.y.here.iter().enumerate().map(error).collect()
    }

    /// Xᵀe / m and Σe / m (last) for errors that are known up to a bound.
    fn gradient<T>(&self, target: &Target<T>, errors: &[(f64, f64)]) -> Vec<Expected> {
        let (m, n) = self.shape;
        let depth = (target.column_sum)(m, n) + 1;
        let mut sums = vec![(0.0, 0.0); n + 1];
        for (i, &(error, off)) in errors.iter().enumerate() {
            for (j, sum) in sums.iter_mut().enumerate() {
                let x = if j < n { self.x.here[i * n + j] } else { 1.0 };
                sum.0 += x * error;
                sum.1 += x.abs() * (off + gamma(depth) * (error.abs() + off));
            }
        }
        let samples = m as f64;
        let expected = |(sum, off): (f64, f64)| {
            let value = sum / samples;
            match self.data {
                Data::Integers => Expected::exact(f64::from(value as f32)),
                Data::Reals => Expected { value, bound: off / samples + UNIT_ROUNDOFF * value.abs() },
            }
        };
        sums.into_iter().map(expected).collect()
    }
}

/// Runs `check` on a problem of each shape that the engine manages, with integers and reals.
fn at_each_shape<E: Engine>(
    target: &Target<E>,
    check: impl Fn(&E, Problem<E>, &mut Tally) -> Outcome,
) -> Outcome {
    let engine = (target.make)()?;
    for &shape in SHAPES.iter().filter(|(m, n)| m * n <= target.most) {
        for data in Data::ALL {
            check(&engine, Problem::new(&engine, shape, data)?, &mut Tally::default())
                .map_err(|failure| format!("{shape:?}, {}: {}", data.name(), text(&failure)))?;
        }
    }
    Ok(())
}

fn text(failure: &Failed) -> &str {
    failure.message().unwrap_or("failed")
}

fn upload_and_read<E: Engine>(target: &Target<E>) -> Outcome {
    let engine = (target.make)()?;
    for (rows, columns) in [(0, 0), (0, 3), (3, 0), (1, 1), (3, 5), (64, 33)] {
        let given = Source::new(1).numbers(Data::Reals, rows * columns);
        let matrix = engine.upload(rows, columns, &given)?;
        engine.synchronize()?;
        if values(&engine, &matrix, (rows, columns))? != given {
            return Err(format!("{rows} × {columns} came back changed").into());
        }
    }
    Ok(())
}

/// What was read of results can be put back, bit for bit.
fn read_and_restore<E: Engine>(target: &Target<E>) -> Outcome {
    let engine = (target.make)()?;
    for (rows, columns) in [(0, 3), (3, 0), (1, 1), (64, 33)] {
        let given = Source::new(1).numbers(Data::Reals, rows * columns);
        let mut matrix = engine.upload(rows, columns, &given)?;
        // Thirds: the loop's have more bits than it was given.
        let moments = Moments { mean: vec![0.0; columns], standard_deviation: vec![3.0; columns] };
        engine.standardise(&mut matrix, &moments)?;
        let read = engine.read(&matrix)?;
        let restored = engine.restore(rows, columns, &read)?;
        let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        if engine.shape(&restored) != (rows, columns) || bits(&engine.read(&restored)?) != bits(&read) {
            return Err(format!("{rows} × {columns} came back changed").into());
        }
    }
    let odd = [-0.0, f64::NAN, f64::NEG_INFINITY];
    let back = engine.read(&engine.restore(1, 3, &odd)?)?;
    if !(back[0] == 0.0 && back[0].is_sign_negative() && back[1].is_nan() && back[2] == odd[2]) {
        return Err(format!("{odd:?} came back as {back:?}").into());
    }
    // Nothing that an engine cannot hold is rounded in silence.
    match engine.restore(1, 2, &[f64::NAN, 0.1]) {
        Ok(matrix) if engine.read(&matrix)?[1] == 0.1 => {}
        Err(Error::Data(text)) if text.contains("1e-1 is no value of 32 bits") => {}
        other => return Err(format!("0.1: {:?}", other.map(drop)).into()),
    }
    match engine.restore(2, 2, &[1.0]) {
        Err(Error::Shape { problem, .. }) if problem.contains("1 values") => Ok(()),
        other => Err(format!("one value for 2 × 2: {:?}", other.map(drop)).into()),
    }
}

/// What each engine says of itself: its name, and what it runs on.
fn descriptions() -> Outcome {
    let same = |got: String, expected: String| {
        if got == expected { Ok(()) } else { Err(Failed::from(format!("{got:?}, expected {expected:?}"))) }
    };
    let arithmetic = Cpu.arithmetic();
    let set = arithmetic.strip_prefix("cpu, ").unwrap_or_default();
    if !["no AVX2", "AVX2", "AVX-512", "no NEON", "NEON", "scalar"].contains(&set) {
        return Err(format!("{arithmetic:?} names no instruction set").into());
    }
    for (threads, named) in [(1, "1 thread"), (2, "2 threads")] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
        same(pool.install(|| Cpu.description()), format!("cpu ({named}, {set})"))?;
    }
    let threads = match std::thread::available_parallelism()?.get() {
        1 => "1 thread".to_owned(),
        threads => format!("{threads} threads"),
    };
    let emulator = Emulator::new();
    same(emulator.description(), format!("emulator (the kernels' own source, {threads})"))?;
    same(emulator.arithmetic(), "emulator".to_owned())?;
    same(Loop.description(), "loop (plain loops in f64, 1 thread)".to_owned())?;
    same(Loop.arithmetic(), "loop".to_owned())
}

fn matrix_vector<E: Engine>(target: &Target<E>) -> Outcome {
    at_each_shape(target, |engine, problem, tally| {
        let out = engine.matrix_vector(&problem.x.there, &problem.weights.there, &problem.bias.there)?;
        let (m, n) = problem.shape;
        let expected: Vec<_> = (0..m)
            .map(|i| {
                let (value, magnitude) = problem.prediction(i);
                Expected::rounded(problem.data, value, magnitude, (target.dot)(n))
            })
            .collect();
        Ok(tally.compare(&"Xw + b", &values(engine, &out, (m, 1))?, &expected)?)
    })?;
    let engine = (target.make)()?;
    let (none, weights) = (engine.upload(0, 3, &[])?, engine.upload(3, 1, &[1.0, 2.0, 3.0])?);
    let bias = engine.upload(1, 1, &[5.0])?;
    let out = engine.matrix_vector(&none, &weights, &bias)?;
    same("no rows", &values(&engine, &out, (0, 1))?, &[])?;
    let (no_columns, no_weights) = (engine.upload(3, 0, &[])?, engine.upload(0, 1, &[])?);
    let out = engine.matrix_vector(&no_columns, &no_weights, &bias)?;
    same("no columns", &values(&engine, &out, (3, 1))?, &[5.0; 3])
}

/// Fails unless both have the same bits.
fn same(what: &str, got: &[f32], expected: &[f32]) -> Outcome {
    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    if bits(got) == bits(expected) {
        return Ok(());
    }
    let place = got.iter().zip(expected).position(|(a, b)| a.to_bits() != b.to_bits());
    Err(format!("{what}: not the same, first at element {place:?}").into())
}

fn gradient<E: Engine>(target: &Target<E>) -> Outcome {
    at_each_shape(target, |engine, problem, tally| {
        let gradient = engine.gradient(&problem.x.there, &problem.e.there)?;
        let errors: Vec<_> = problem.e.here.iter().map(|&error| (error, 0.0)).collect();
        let n = problem.shape.1;
        let expected = problem.gradient(target, &errors);
        Ok(tally.compare(&"Xᵀe / m", &values(engine, &gradient, (n, 1))?, &expected[..n])?)
    })
}

/// The worst that rounding can do: beside a large value small ones are lost, as many as an engine adds in a row.
fn large_beside_small<E: Engine>(target: &Target<E>) -> Outcome {
    let engine = (target.make)()?;
    let beside_large = |length: usize| {
        let mut values = vec![1.0; length];
        values[0] = 1.0 / UNIT_ROUNDOFF as f32;
        values
    };
    for shape @ (m, n) in
        [(3, 11), (2, 12), (1, 5000), (1, 40_000), (1000, 1), (1000, 16), (1500, 33), (1200, 700)]
    {
        if m * n > target.most {
            continue;
        }
        let problem = Problem {
            shape,
            data: Data::Reals,
            x: operand(&engine, m, n, &vec![1.0; m * n])?,
            y: operand(&engine, m, 1, &vec![0.0; m])?,
            weights: operand(&engine, n, 1, &beside_large(n))?,
            bias: operand(&engine, 1, 1, &[0.0])?,
            e: operand(&engine, m, 1, &beside_large(m))?,
        };
        let products = engine.matrix_vector(&problem.x.there, &problem.weights.there, &problem.bias.there)?;
        let (value, magnitude) = problem.prediction(0);
        let expected = vec![Expected::rounded(Data::Reals, value, magnitude, (target.dot)(n)); m];
        Tally::default().compare(
            &format!("{shape:?}, Xw"),
            &values(&engine, &products, (m, 1))?,
            &expected,
        )?;

        let gradient = engine.gradient(&problem.x.there, &problem.e.there)?;
        let errors: Vec<_> = problem.e.here.iter().map(|&error| (error, 0.0)).collect();
        let expected = problem.gradient(target, &errors);
        Tally::default().compare(
            &format!("{shape:?}, Xᵀe / m"),
            &values(&engine, &gradient, (n, 1))?,
            &expected[..n],
        )?;
    }
    Ok(())
}

/// One step of descent, and its cost, within the bound that follows from those of its parts.
fn descend<E: Engine>(target: &Target<E>) -> Outcome {
    const RATE: f64 = 0.5;
    at_each_shape(target, |engine, mut problem, tally| {
        let (m, n) = problem.shape;
        let samples = m as f64;
        let errors = problem.errors(target);
        let depth = (target.dot)(m).max((target.column_sum)(m, 1)) + 2;
        let cost = errors.iter().fold((0.0, 0.0), |(value, off), (error, error_off)| {
            let square_off = 2.0 * error.abs() * error_off + error_off * error_off;
            (value + error * error, off + square_off + gamma(depth) * (error * error + square_off))
        });
        let cost = Expected {
            value: cost.0 / (2.0 * samples),
            bound: cost.1 / (2.0 * samples) + 2.0 * UNIT_ROUNDOFF * cost.0 / (2.0 * samples),
        };

        let Problem { x, y, weights, bias, .. } = &mut problem;
        let before = engine.cost_linear(&x.there, &y.there, &weights.there, &bias.there)?;
        let history =
            engine.descend_linear(&x.there, &y.there, &mut weights.there, &mut bias.there, RATE, 1)?;
        let after = values(engine, &weights.there, (n, 1))?;
        let bias_after = values(engine, &bias.there, (1, 1))?;
        if history.len() != 1 {
            return Err(format!("one step has {} costs", history.len()).into());
        }
        tally.compare(&"cost before", &[before as f32], &[widened(cost)])?;
        tally.compare(&"cost of the step", &[history[0] as f32], &[widened(cost)])?;

        let step = |weight: f64, gradient: Expected| {
            let value = weight - RATE * gradient.value;
            let bound =
                RATE * gradient.bound + UNIT_ROUNDOFF * (RATE * gradient.value.abs() + 2.0 * value.abs());
            Expected { value, bound: bound.max(f64::MIN_POSITIVE) }
        };
        // With integers the sums are exact, but 1 / m need not be.
        let gradients = problem.gradient(target, &errors);
        let weights = problem.weights.here.iter().chain(&problem.bias.here);
        let expected: Vec<_> =
            weights.zip(gradients).map(|(&weight, gradient)| step(weight, gradient)).collect();
        tally.compare(&"weights", &after, &expected[..n])?;
        Ok(tally.compare(&"bias", &bias_after, &expected[n..])?)
    })
}

/// With room for the rounding of the cost itself to `f32`.
fn widened(expected: Expected) -> Expected {
    Expected { bound: expected.bound + UNIT_ROUNDOFF * expected.value + f64::MIN_POSITIVE, ..expected }
}

/// With small integers, m a power of two and a rate of 1/2, nothing is rounded at all.
fn descend_exactly<E: Engine>(target: &Target<E>) -> Outcome {
    let engine = (target.make)()?;
    for (m, n) in [(1, 1), (2, 3), (4, 33), (64, 17), (512, 5), (16, 100)] {
        let mut source = Source::new((m + n) as u64);
        let mut small = |length| -> Vec<f32> {
            source.numbers(Data::Integers, length).into_iter().map(|value| (value / 4.0).trunc()).collect()
        };
        let (x, y, weights, bias) = (small(m * n), small(m), small(n), small(1));
        fn run<E: Engine>(engine: &E, shape: (usize, usize), operands: [&[f32]; 4]) -> Result<Vec<f64>> {
            let (m, n) = shape;
            let [x, y, weights, bias] = operands;
            let (x, y) = (engine.upload(m, n, x)?, engine.upload(m, 1, y)?);
            let (mut weights, mut bias) = (engine.upload(n, 1, weights)?, engine.upload(1, 1, bias)?);
            let mut all = engine.descend_linear(&x, &y, &mut weights, &mut bias, 0.5, 1)?;
            all.extend(engine.read(&weights)?);
            all.extend(engine.read(&bias)?);
            Ok(all)
        }
        let got = run(&engine, (m, n), [&x, &y, &weights, &bias])?;
        let expected = run(&Loop, (m, n), [&x, &y, &weights, &bias])?;
        if got != expected {
            return Err(format!("{m} × {n}: {got:?}, expected {expected:?}").into());
        }
    }
    Ok(())
}

/// k steps at once are k times one step, no steps are none, and the costs are those that `cost_linear` gives.
fn descend_step_by_step<E: Engine>(target: &Target<E>) -> Outcome {
    let engine = (target.make)()?;
    let fresh = || Problem::new(&engine, (100, 13), Data::Reals);
    let (mut once, mut singly) = (fresh()?, fresh()?);
    let Problem { x, y, weights, bias, .. } = &mut once;
    let none = engine.descend_linear(&x.there, &y.there, &mut weights.there, &mut bias.there, 0.05, 0)?;
    if !none.is_empty() || engine.read(&weights.there)? != weights.here {
        return Err("no steps change something".into());
    }
    let history = engine.descend_linear(&x.there, &y.there, &mut weights.there, &mut bias.there, 0.05, 20)?;
    let end = engine.read(&weights.there)?;

    let Problem { x, y, weights, bias, .. } = &mut singly;
    for (step, &cost) in history.iter().enumerate() {
        let before = engine.cost_linear(&x.there, &y.there, &weights.there, &bias.there)?;
        if !((before - cost).abs() <= 1e-6 * cost) {
            return Err(format!("step {step}: cost_linear gives {before}, descend_linear {cost}").into());
        }
        let single =
            engine.descend_linear(&x.there, &y.there, &mut weights.there, &mut bias.there, 0.05, 1)?;
        if single != [cost] {
            return Err(format!("step {step}: alone its cost is {single:?}, among others {cost}").into());
        }
    }
    if engine.read(&weights.there)? != end || history.windows(2).any(|pair| !(pair[1] < pair[0])) {
        return Err("twenty steps are not twenty times one step, or their cost does not fall".into());
    }
    Ok(())
}

/// Columns far from 0 with little spread, constant columns and small ones: what an unstable formula gets wrong.
fn column_moments<E: Engine>(target: &Target<E>) -> Outcome {
    let engine = (target.make)()?;
    for &(m, n) in SHAPES.iter().filter(|(m, n)| m * n <= target.most) {
        let mut source = Source::new((m + 7 * n) as u64);
        let scale = |j: usize| [(0.0, 1.0), (1000.0, 1.0), (-3.0, 1e-3), (0.1, 0.0), (1e-6, 1e-9)][j % 5];
        let x: Vec<f32> = (0..m * n)
            .map(|place| {
                let (center, spread) = scale(place % n);
                center + spread * source.number(Data::Reals)
            })
            .collect();
        let got = engine.column_moments(&engine.upload(m, n, &x)?)?;
        let expected = Loop.column_moments(&Loop.upload(m, n, &x)?)?;
        let unit = gamma((target.column_sum)(m, n) + 16);
        for j in 0..n {
            let (mean, deviation) = (expected.mean[j], expected.standard_deviation[j]);
            let mean_off = (got.mean[j] - mean).abs();
            let deviation_off = (got.standard_deviation[j] - deviation).abs();
            let bound = unit * (mean.abs() + deviation);
            if !(mean_off <= bound) || !(deviation_off <= 2.0 * bound) {
                return Err(format!(
                    "{m} × {n}, column {j}: {} ± {}, expected {mean} ± {deviation}",
                    got.mean[j], got.standard_deviation[j]
                )
                .into());
            }
        }
    }
    Ok(())
}

fn standardise<E: Engine>(target: &Target<E>) -> Outcome {
    at_each_shape(target, |engine, mut problem, tally| {
        let (m, n) = problem.shape;
        let mut source = Source::new(n as u64);
        let moments = Moments {
            mean: (0..n).map(|_| f64::from(source.number(Data::Reals))).collect(),
            standard_deviation: (0..n).map(|_| f64::from(source.number(Data::Reals).abs()) + 0.1).collect(),
        };
        engine.standardise(&mut problem.x.there, &moments)?;
        let expected: Vec<_> = (0..m * n)
            .map(|place| {
                let (x, mean) = (problem.x.here[place], moments.mean[place % n]);
                let deviation = moments.standard_deviation[place % n];
                let value = (x - mean) / deviation;
                Expected { value, bound: gamma(4) * (x.abs() + mean.abs()) / deviation + f64::MIN_POSITIVE }
            })
            .collect();
        Ok(tally.compare(&"standardised", &values(engine, &problem.x.there, (m, n))?, &expected)?)
    })
}

/// The transpose of `values` (rows × columns).
fn transpose<T: Copy>(rows: usize, columns: usize, values: &[T]) -> Vec<T> {
    (0..rows * columns).map(|place| values[place % rows * columns + place / rows]).collect()
}

/// Σ aᵢₚ bₚⱼ and Σ|aᵢₚ bₚⱼ|, row by row.
fn product((m, n, k): (usize, usize, usize), a: &[f64], b: &[f64]) -> Vec<(f64, f64)> {
    let mut c = vec![(0.0, 0.0); m * n];
    for i in 0..m {
        for p in 0..k {
            for j in 0..n {
                let term = a[i * k + p] * b[p * n + j];
                c[i * n + j].0 += term;
                c[i * n + j].1 += term.abs();
            }
        }
    }
    c
}

fn matmul<E: Engine>(target: &Target<E>) -> Outcome {
    let engine = (target.make)()?;
    for &(m, n, k) in PRODUCTS.iter().filter(|(m, n, k)| m * n * k <= 100 * target.most.min(usize::MAX / 100))
    {
        for data in Data::ALL {
            let mut source = Source::new((m * 31 + n * 7 + k) as u64);
            let a = source.numbers(data, m * k);
            let b = source.numbers(data, k * n);
            let [a_wide, b_wide] =
                [&a, &b].map(|matrix| matrix.iter().copied().map(f64::from).collect::<Vec<_>>());
            let expected: Vec<_> = product((m, n, k), &a_wide, &b_wide)
                .into_iter()
                .map(|(value, magnitude)| Expected::rounded(data, value, magnitude, (target.product)(k)))
                .collect();
            for a_layout in [Layout::Plain, Layout::Transposed] {
                for b_layout in [Layout::Plain, Layout::Transposed] {
                    let a_there = match a_layout {
                        Layout::Plain => engine.upload(m, k, &a)?,
                        Layout::Transposed => engine.upload(k, m, &transpose(m, k, &a))?,
                    };
                    let b_there = match b_layout {
                        Layout::Plain => engine.upload(k, n, &b)?,
                        Layout::Transposed => engine.upload(n, k, &transpose(k, n, &b))?,
                    };
                    let c = engine.matmul(&a_there, a_layout, &b_there, b_layout)?;
                    let place = format!("{m} × {n} × {k}, {}, {a_layout:?} {b_layout:?}", data.name());
                    Tally::default().compare(&place, &values(&engine, &c, (m, n))?, &expected)?;
                }
            }
        }
    }
    Ok(())
}

fn dense<E: Engine>(target: &Target<E>) -> Outcome {
    let engine = (target.make)()?;
    for &(batch, units, inputs) in
        PRODUCTS.iter().filter(|(m, n, k)| m * n * k <= 100 * target.most.min(usize::MAX / 100))
    {
        for data in Data::ALL {
            let mut source = Source::new((batch * 31 + units * 7 + inputs) as u64);
            let mut make =
                |rows, columns| operand(&engine, rows, columns, &source.numbers(data, rows * columns));
            let (input, weights, bias) = (make(batch, inputs)?, make(inputs, units)?, make(1, units)?);
            let sums = product((batch, units, inputs), &input.here, &weights.here);
            for activation in [Activation::Identity, Activation::Relu, Activation::Sigmoid] {
                let expected: Vec<_> = sums
                    .iter()
                    .enumerate()
                    .map(|(place, &(sum, magnitude))| {
                        let bias = bias.here[place % units];
                        let depth = (target.product)(inputs) + 1;
                        let z = Expected::rounded(data, sum + bias, magnitude + bias.abs(), depth);
                        activated(activation, z, target.sigmoid)
                    })
                    .collect();
                let out = engine.dense(&input.there, &weights.there, &bias.there, activation)?;
                let place = format!("{batch} × {units} × {inputs}, {}, {activation:?}", data.name());
                Tally::default().compare(&place, &values(&engine, &out, (batch, units))?, &expected)?;
            }
        }
    }
    Ok(())
}

/// g(z) of a z that is known up to a bound. Sigmoid's slope is at most 1/4, and its own error relative to the result,
/// as long as that is a normal number.
fn activated(activation: Activation, z: Expected, sigmoid: f64) -> Expected {
    let value = activation.apply(z.value);
    match activation {
        Activation::Identity | Activation::Relu => Expected { value, ..z },
        Activation::Sigmoid => {
            let own = (sigmoid + UNIT_ROUNDOFF) * value + f64::from(f32::MIN_POSITIVE);
            Expected { value, bound: z.bound / 4.0 + own }
        }
    }
}

/// Sigmoid far out is 0 or 1, and a NaN shows in the result, on every engine.
fn dense_extremes<E: Engine>(target: &Target<E>) -> Outcome {
    let engine = (target.make)()?;
    let inputs = [-1e30, -1e4, -200.0, -0.0, 0.0, 200.0, 1e4, 1e30, f32::NAN];
    let input = engine.upload(inputs.len(), 1, &inputs)?;
    let (one, zero) = (engine.upload(1, 1, &[1.0])?, engine.upload(1, 1, &[0.0])?);
    for activation in [Activation::Identity, Activation::Relu, Activation::Sigmoid] {
        let out = engine.dense(&input, &one, &zero, activation)?;
        let got = values(&engine, &out, (inputs.len(), 1))?;
        for (&z, got) in inputs.iter().zip(got) {
            let expected = activation.apply(f64::from(z)) as f32;
            if !(got == expected || got.is_nan() && expected.is_nan()) {
                return Err(format!("{activation:?} of {z} is {got}, expected {expected}").into());
            }
        }
    }
    Ok(())
}

/// Operands of a wrong shape: an error that says both shapes.
fn wrong_shapes<E: Engine>(target: &Target<E>) -> Outcome {
    let engine = (target.make)()?;
    let make = |rows: usize, columns: usize| engine.upload(rows, columns, &vec![1.0; rows * columns]);
    let (x, y, w, b) = (make(4, 3)?, make(4, 1)?, make(3, 1)?, make(1, 1)?);
    let (tall, flat, empty) = (make(5, 1)?, make(1, 4)?, make(0, 3)?);
    let (none, moments) = (make(0, 1)?, Moments { mean: vec![0.0; 2], standard_deviation: vec![1.0; 2] });

    let refused = |what: &str, outcome: Result<()>, shapes: &[&str]| match outcome {
        Ok(()) => Err(Failed::from(format!("{what} was accepted"))),
        Err(Error::Shape { problem, .. }) if shapes.iter().all(|shape| problem.contains(shape)) => Ok(()),
        Err(error) => {
            Err(format!("{what}: {error} does not say {shapes:?}, or is no error of shapes").into())
        }
    };
    refused("upload", engine.upload(2, 2, &[1.0]).map(drop), &["1 values", "2 × 2"])?;
    refused("upload of too many", engine.upload(usize::MAX, 2, &[1.0]).map(drop), &["× 2"])?;
    refused("no rows", engine.column_moments(&empty).map(drop), &["0 × 3"])?;
    refused("other columns", engine.standardise(&mut make(4, 3)?, &moments), &["1 × 2", "4 × 3"])?;

    let descend = |x: &E::Matrix, y: &E::Matrix, mut w: E::Matrix, mut b: E::Matrix| {
        engine.descend_linear(x, y, &mut w, &mut b, 0.1, 1).map(drop)
    };
    refused("descent, y", descend(&x, &tall, make(3, 1)?, make(1, 1)?), &["5 × 1", "4 × 3"])?;
    refused("descent, y lying", descend(&x, &flat, make(3, 1)?, make(1, 1)?), &["1 × 4", "4 × 1"])?;
    refused("descent, weights", descend(&x, &y, make(4, 1)?, make(1, 1)?), &["4 × 1", "4 × 3"])?;
    refused("descent, bias", descend(&x, &y, make(3, 1)?, make(2, 1)?), &["2 × 1", "1 × 1"])?;
    refused("descent, no rows", descend(&empty, &none, make(3, 1)?, make(1, 1)?), &["0 × 3"])?;
    refused("cost, y", engine.cost_linear(&x, &tall, &w, &b).map(drop), &["5 × 1", "4 × 3"])?;
    refused("matrix_vector", engine.matrix_vector(&x, &tall, &b).map(drop), &["5 × 1", "4 × 3"])?;
    refused("matrix_vector, bias", engine.matrix_vector(&x, &w, &w).map(drop), &["3 × 1", "1 × 1"])?;
    refused("gradient", engine.gradient(&x, &tall).map(drop), &["5 × 1", "4 × 3"])?;
    refused("gradient, no rows", engine.gradient(&empty, &none).map(drop), &["0 × 3"])?;
    let plain = Layout::Plain;
    refused("matmul", engine.matmul(&x, plain, &y, plain).map(drop), &["4 × 3", "4 × 1"])?;
    let turned = engine.matmul(&x, Layout::Transposed, &w, plain).map(drop);
    refused("matmul, transposed", turned, &["4 × 3", "3 × 4", "3 × 1"])?;
    let identity = Activation::Identity;
    refused("dense, weights", engine.dense(&x, &y, &b, identity).map(drop), &["4 × 1", "4 × 3"])?;
    refused("dense, bias", engine.dense(&x, &w, &flat, identity).map(drop), &["1 × 4", "3 × 1"])?;

    for deviation in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let moments = Moments { mean: vec![0.0; 3], standard_deviation: vec![1.0, deviation, 1.0] };
        match engine.standardise(&mut make(4, 3)?, &moments) {
            Err(Error::Data(text)) if text.contains("column 1") => {}
            other => return Err(format!("a deviation of {deviation}: {other:?}").into()),
        }
    }
    Ok(())
}

/// The results of every operation on one problem.
fn all_operations<E: Engine>(engine: &E, shape: (usize, usize)) -> Result<Vec<Vec<u64>>> {
    let bits = |values: Vec<f64>| values.into_iter().map(f64::to_bits).collect::<Vec<_>>();
    let Problem { mut x, y, mut weights, mut bias, e, .. } = Problem::new(engine, shape, Data::Reals)?;
    let moments = engine.column_moments(&x.there)?;
    let mut results = vec![
        bits(moments.mean.clone()),
        bits(moments.standard_deviation.clone()),
        bits(engine.read(&engine.matrix_vector(&x.there, &weights.there, &bias.there)?)?),
        bits(engine.read(&engine.gradient(&x.there, &e.there)?)?),
        bits(vec![engine.cost_linear(&x.there, &y.there, &weights.there, &bias.there)?]),
        bits(engine.read(&engine.matmul(&x.there, Layout::Transposed, &y.there, Layout::Plain)?)?),
    ];
    results.push(bits(engine.descend_linear(
        &x.there,
        &y.there,
        &mut weights.there,
        &mut bias.there,
        0.001,
        3,
    )?));
    results.push(bits(engine.read(&weights.there)?));
    results.push(bits(engine.read(&bias.there)?));
    if moments.standard_deviation.iter().all(|&deviation| deviation > 0.0) {
        engine.standardise(&mut x.there, &moments)?;
        results.push(bits(engine.read(&x.there)?));
    }
    let units = shape.0.min(70);
    let mut source = Source::new(3);
    let mut make = |rows: usize, columns: usize| {
        engine.upload(rows, columns, &source.numbers(Data::Reals, rows * columns))
    };
    let (layer, layer_bias) = (make(shape.1, units)?, make(1, units)?);
    if shape.0 * shape.1 * units < 50_000_000 {
        for activation in [Activation::Identity, Activation::Sigmoid] {
            results.push(bits(engine.read(&engine.dense(&x.there, &layer, &layer_bias, activation)?)?));
        }
    }
    Ok(results)
}

/// The same operands give the same bits.
fn repeatable<E: Engine>(target: &Target<E>) -> Outcome {
    let engine = (target.make)()?;
    for shape in [(1, 1), (33, 65), (257, 64), (1000, 17)] {
        if all_operations(&engine, shape)? != all_operations(&engine, shape)? {
            return Err(format!("{shape:?}: two runs differ").into());
        }
    }
    Ok(())
}

/// The folder that holds `tests/data`.
fn root() -> PathBuf {
    std::env::var_os("TILEGRAD_ROOT").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from)
}

/// Descent on the diabetes data reaches what NumPy reaches in `f64`.
fn diabetes<E: Engine>(target: &Target<E>) -> Outcome {
    let engine = (target.make)()?;
    let read = |name: &str| std::fs::read_to_string(root().join("tests/data").join(name));
    let reference: serde_json::Value = serde_json::from_str(&read("reference.json")?)?;
    let reference = &reference["diabetes_linear"];
    let table = read("diabetes.csv")?;
    let rows: Vec<Vec<f32>> = table
        .lines()
        .skip(1)
        .map(|line| line.split(',').map(str::parse).collect())
        .collect::<std::result::Result<_, _>>()?;
    let (m, n) = (rows.len(), 10);
    let features: Vec<f32> = rows.iter().flat_map(|row| &row[..n]).copied().collect();
    let target_column: Vec<f32> = rows.iter().map(|row| row[n]).collect();

    let number = |value: &serde_json::Value| value.as_f64().ok_or("reference.json lacks a number");
    let close = |what: &str, got: f64, expected: &serde_json::Value| {
        let expected = number(expected)?;
        let within = (got - expected).abs() <= 1e-3 * expected.abs();
        if within { Ok(()) } else { Err(Failed::from(format!("{what} is {got}, NumPy has {expected}"))) }
    };
    let mut x = engine.upload(m, n, &features)?;
    let y = engine.upload(m, 1, &target_column)?;
    let moments = engine.column_moments(&x)?;
    engine.standardise(&mut x, &moments)?;
    let (mut weights, mut bias) = (engine.upload(n, 1, &vec![0.0; n])?, engine.upload(1, 1, &[0.0])?);
    let rate = number(&reference["rate"])?;
    let history = engine.descend_linear(&x, &y, &mut weights, &mut bias, rate, 1000)?;

    for (j, (mean, deviation)) in moments.mean.iter().zip(&moments.standard_deviation).enumerate() {
        close("a mean", *mean, &reference["mean"][j])?;
        close("a standard deviation", *deviation, &reference["std"][j])?;
    }
    for (iteration, cost) in [(0, "0"), (1, "1"), (10, "10"), (100, "100")] {
        close(&format!("the cost at {iteration}"), history[iteration], &reference["cost"][cost])?;
    }
    close("the cost at 1000", engine.cost_linear(&x, &y, &weights, &bias)?, &reference["cost"]["1000"])?;
    for (j, weight) in engine.read(&weights)?.into_iter().enumerate() {
        close(&format!("weight {j}"), weight, &reference["weights_standardised"][j])?;
    }
    close("the bias", engine.read(&bias)?[0], &reference["bias_standardised"])
}

/// σ(W₂ · ReLU(W₁X + b₁) + b₂) with samples as columns gives the numbers of our layers, which have samples as rows.
fn samples_as_columns<E: Engine>(target: &Target<E>) -> Outcome {
    let engine = (target.make)()?;
    let (samples, features, hidden, outputs) = (37, 12, 20, 5);
    let mut source = Source::new(11);
    let mut make = |rows: usize, columns: usize| source.numbers(Data::Reals, rows * columns);
    // As with samples as columns: X is features × samples, W₁ hidden × features, b₁ hidden × 1, …
    let (x, w1, b1) = (make(features, samples), make(hidden, features), make(hidden, 1));
    let (w2, b2) = (make(outputs, hidden), make(outputs, 1));

    // The course's formula in plain loops.
    let layer = |w: &[f32], b: &[f32], input: &[f64], inputs: usize, g: fn(f64) -> f64| -> Vec<f64> {
        let mut out = Vec::new(); // (units × samples)
        for unit in 0..b.len() {
            for sample in 0..samples {
                let terms =
                    (0..inputs).map(|i| f64::from(w[unit * inputs + i]) * input[i * samples + sample]);
                out.push(g(terms.sum::<f64>() + f64::from(b[unit])));
            }
        }
        out
    };
    let wide: Vec<f64> = x.iter().copied().map(f64::from).collect();
    let a1 = layer(&w1, &b1, &wide, features, |z| z.max(0.0));
    let a2 = layer(&w2, &b2, &a1, hidden, |z| 1.0 / (1.0 + (-z).exp()));

    // Two dense layers, with samples as rows: every matrix transposed.
    let x_rows = engine.upload(samples, features, &transpose(features, samples, &x))?;
    let w1_rows = engine.upload(features, hidden, &transpose(hidden, features, &w1))?;
    let w2_rows = engine.upload(hidden, outputs, &transpose(outputs, hidden, &w2))?;
    let (b1_row, b2_row) = (engine.upload(1, hidden, &b1)?, engine.upload(1, outputs, &b2)?);
    let a1_rows = engine.dense(&x_rows, &w1_rows, &b1_row, Activation::Relu)?;
    let a2_rows = engine.dense(&a1_rows, &w2_rows, &b2_row, Activation::Sigmoid)?;
    let by_rows = transpose(samples, outputs, &engine.read(&a2_rows)?);

    // And with samples as columns on the engine too: its products take either operand transposed.
    let activate = |z: Vec<f64>, b: &[f32], g: fn(f64) -> f64| -> Vec<f32> {
        z.iter().enumerate().map(|(place, z)| g(z + f64::from(b[place / samples])) as f32).collect()
    };
    let z1 = engine.matmul(&w1_rows, Layout::Transposed, &x_rows, Layout::Transposed)?;
    let a1_columns = engine.upload(hidden, samples, &activate(engine.read(&z1)?, &b1, |z| z.max(0.0)))?;
    let z2 = engine.matmul(&w2_rows, Layout::Transposed, &a1_columns, Layout::Plain)?;
    let by_columns = activate(engine.read(&z2)?, &b2, |z| 1.0 / (1.0 + (-z).exp()));

    for (place, expected) in a2.iter().enumerate() {
        for got in [by_rows[place], f64::from(by_columns[place])] {
            if !((got - expected).abs() <= 1e-5 * expected) {
                return Err(format!("element {place}: {got}, with samples as columns {expected}").into());
            }
        }
    }
    Ok(())
}

/// The cpu engine's results do not depend on the number of threads.
fn same_with_any_number_of_threads() -> Outcome {
    let shapes =
        [(1, 1), (3, 5), (442, 10), (3000, 100), (1100, 1027), (7, 40_000), (1, 200_001), (150_000, 3)];
    for shape in shapes {
        let with = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
            pool.install(|| Ok::<_, Failed>(all_operations(&Cpu, shape)?))
        };
        let one = with(1)?;
        for threads in [2, 3, 7] {
            if with(threads)? != one {
                return Err(format!("{shape:?}: {threads} threads give other bits than one").into());
            }
        }
    }
    for &(m, n, k) in PRODUCTS.iter().chain(&[(100, 1000, 1000), (700, 650, 900)]) {
        for layouts in 0..4 {
            let layout = |bit: usize| if layouts & bit == 0 { Layout::Plain } else { Layout::Transposed };
            let (a_layout, b_layout) = (layout(1), layout(2));
            let mut source = Source::new(k as u64);
            let ((a_rows, a_columns), (b_rows, b_columns)) = (a_layout.of((m, k)), b_layout.of((k, n)));
            let a = Cpu.upload(a_rows, a_columns, &source.numbers(Data::Reals, m * k))?;
            let b = Cpu.upload(b_rows, b_columns, &source.numbers(Data::Reals, k * n))?;
            let with = |threads: usize| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
                pool.install(|| values(&Cpu, &Cpu.matmul(&a, a_layout, &b, b_layout)?, (m, n)))
            };
            let one = with(1)?;
            for threads in [2, 3, 7] {
                same(&format!("{m} × {n} × {k}, {threads} threads"), &with(threads)?, &one)?;
            }
        }
    }
    Ok(())
}

/// The cpu engine's own exponential, over its whole range.
fn sigmoid_within_three_units() -> Outcome {
    let z: Vec<f32> = (-210_000..210_000).map(|step| step as f32 * 5e-4).collect();
    let input = Cpu.upload(z.len(), 1, &z)?;
    let out =
        Cpu.dense(&input, &Cpu.upload(1, 1, &[1.0])?, &Cpu.upload(1, 1, &[0.0])?, Activation::Sigmoid)?;
    let mut worst = 0.0_f64;
    for (&z, got) in z.iter().zip(Cpu.read(&out)?) {
        let expected = Activation::Sigmoid.apply(f64::from(z));
        let rounded = expected as f32;
        let unit = f64::from(rounded.next_up()) - f64::from(rounded);
        let units = (got - expected).abs() / unit;
        worst = worst.max(units);
        if !(units <= 3.0) {
            return Err(format!("sigmoid({z}) is {got}, off by {units:.2} units in the last place").into());
        }
    }
    if worst > 0.0 { Ok(()) } else { Err("nothing was compared".into()) }
}

/// The comparison itself fails on what is wrong by little: an element changed, a NaN, one left out.
fn the_comparison_can_fail() -> Outcome {
    let (m, n, k) = (17, 33, 64);
    let mut source = Source::new(5);
    let (a, b) = (source.numbers(Data::Reals, m * k), source.numbers(Data::Reals, k * n));
    let wide = |values: &[f32]| values.iter().copied().map(f64::from).collect::<Vec<_>>();
    let expected: Vec<_> = product((m, n, k), &wide(&a), &wide(&b))
        .into_iter()
        .map(|(value, magnitude)| Expected::rounded(Data::Reals, value, magnitude, k))
        .collect();
    let c = Cpu.matmul(&Cpu.upload(m, k, &a)?, Layout::Plain, &Cpu.upload(k, n, &b)?, Layout::Plain)?;
    let right = values(&Cpu, &c, (m, n))?;
    Tally::default().compare(&"as it is", &right, &expected)?;
    let place = 7 * n + 5;
    let changed = |value: f32| {
        let mut wrong = right.clone();
        wrong[place] = value;
        Tally::default().compare(&"changed", &wrong, &expected)
    };
    let off = expected[place].value + 2.0 * expected[place].bound;
    let swapped = right[place + 1];
    let fewer = Tally::default().compare(&"fewer", &right[1..], &expected);
    for (what, outcome) in [
        ("an element off by two bounds", changed(off as f32)),
        ("a NaN", changed(f32::NAN)),
        ("an element of another place", changed(swapped)),
        ("an element too few", fewer),
    ] {
        if outcome.is_ok() {
            return Err(format!("{what} was accepted").into());
        }
    }
    Ok(())
}

/// The tests of one engine; `missing` says why there is none.
fn trials<E: Engine + 'static>(name: &str, target: Target<E>, missing: Option<&str>) -> Vec<Trial> {
    let tests: [(&str, Check<E>); 17] = [
        ("upload_and_read", upload_and_read),
        ("read_and_restore", read_and_restore),
        ("matrix_vector", matrix_vector),
        ("gradient", gradient),
        ("large_beside_small", large_beside_small),
        ("descend", descend),
        ("descend_exactly", descend_exactly),
        ("descend_step_by_step", descend_step_by_step),
        ("column_moments", column_moments),
        ("standardise", standardise),
        ("matmul", matmul),
        ("dense", dense),
        ("dense_extremes", dense_extremes),
        ("wrong_shapes", wrong_shapes),
        ("repeatable", repeatable),
        ("diabetes", diabetes),
        ("samples_as_columns", samples_as_columns),
    ];
    let trial = |(test, run): (&str, Check<E>)| {
        Trial::test(format!("{test}/{name}"), move || run(&target)).with_ignored_flag(missing.is_some())
    };
    tests.into_iter().map(trial).collect()
}

fn main() {
    let arguments = Arguments::from_args();
    let cuda = Cuda::open(0);
    if let Err(reason) = &cuda {
        eprintln!("the tests of the cuda engine are ignored: {reason}");
    }
    let mut all = trials("loop", LOOP, None);
    all.extend(trials("cpu", CPU, None));
    all.extend(trials("emulator", EMULATOR, None));
    match &cuda {
        Ok(cuda) if simulated::is(&cuda.description()) => {
            all.extend(trials("simulated-cuda", SIMULATED, None));
        }
        _ => {
            let reason = cuda.err().map(|reason| reason.to_string());
            all.extend(trials("cuda", CUDA, reason.as_deref()));
            all.push(
                Trial::test("all/simulated-cuda", || Ok(simulated::run_tests("simulated-cuda")?))
                    .with_ignored_flag(simulated::library().is_err()),
            );
        }
    }
    all.extend([
        Trial::test("descriptions", descriptions),
        Trial::test("same_with_any_number_of_threads/cpu", same_with_any_number_of_threads),
        Trial::test("sigmoid_within_three_units/cpu", sigmoid_within_three_units),
        Trial::test("the_comparison_can_fail", the_comparison_can_fail),
    ]);
    libtest_mimic::run(&arguments, all).exit();
}
