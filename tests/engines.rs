//! Every engine against the reference: each operation at many shapes, element by element.
//!
//! Integers must come out bit for bit; reals within the bound γ_d Σ|terms| + u|result|, with d the depth that the
//! engine documents. Without a GPU the tests of the cuda engine are reported as ignored, by name; one test runs them
//! all on the simulated driver, in a process of its own.
//!
//! `TILEGRAD_ROOT` names the folder that holds `tests/data`, if that is not the one this was compiled in.

// Not `error > bound`: a NaN must fail.
#![allow(clippy::neg_cmp_op_on_partial_ord)]

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use cuda_std::TensorCores;
use kernel_suite::{Data, Expected, Source, Tally, UNIT_ROUNDOFF, gamma, simulated};
use kernels::descent::fused::{self, Teams};
use kernels::{descent, elementwise, reduce};
use libtest_mimic::{Arguments, Failed, Trial};
use tilegrad::engine::{
    Activation, Cpu, Cuda, Emulator, Engine, Layout, Loop, Loss, Moments, Precision, RUNGS_VARIABLE, Rungs,
    Samples, Scaling,
};
use tilegrad::{Error, Result};

#[path = "engines/training.rs"]
mod training;

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
    /// Relative error of sigmoid, and of a power eˣ for x ≤ 0.
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
    dot: |n| n.min(4096).div_ceil(32) + 5 + 1,
    column_sum: |m, _| m.min(256) + 1,
    product: |k| k,
    sigmoid: 6.0 * UNIT_ROUNDOFF,
};

/// Who has which row in the pass over X of a step, if it is one.
fn teams(n: usize) -> Option<Teams> {
    let teams = if n <= fused::NARROW { Teams::narrow } else { Teams::wide };
    (n <= fused::WIDEST).then(|| teams(n))
}

const fn on_device<E>(make: fn() -> Result<E>, most: usize) -> Target<E> {
    Target {
        make,
        most,
        dot: |n| teams(n).map_or(0, Teams::depth_of_row).max(descent::matrix_vector::depth(n)),
        column_sum: |m, n| {
            let two_passes = descent::gradient::row_blocks(m, n);
            let [one_pass, two_passes] = [
                teams(n).map_or((0, 1), |teams| (teams.depth(m, teams.blocks(m)), teams.blocks(m))),
                (reduce::strip::depth(m, two_passes), two_passes),
            ]
            .map(|(depth, blocks)| depth + reduce::strip::depth(blocks, 1) + 1);
            one_pass.max(two_passes)
        },
        product: |k| k,
        sigmoid: elementwise::SIGMOID_ERROR as f64,
    }
}

/// Elements of the largest matrix for which the emulator takes a test's time.
const EMULATED: usize = 50_000;
const EMULATOR: Target<Emulator> = on_device(|| Ok(Emulator::new()), EMULATED);

/// No rung but the first.
const NEVER: Rungs = Rungs { split_k: None, warp_tiled: None, tf32x3: None, wgmma: None, tensor_cores: None };
const ALWAYS: Option<NonZeroUsize> = NonZeroUsize::new(1);

/// The emulator that takes one of the product's rungs wherever it may, with the least accurate tensor cores that there may be.
const BY_RUNG: [(&str, Target<Emulator>); 5] = [
    ("emulator-tiled", by_rung(|| Ok(with_rungs(NEVER)))),
    ("emulator-split-k", by_rung(|| Ok(with_rungs(Rungs { split_k: ALWAYS, ..NEVER })))),
    ("emulator-warp-tiled", by_rung(|| Ok(with_rungs(Rungs { warp_tiled: ALWAYS, ..NEVER })))),
    ("emulator-tf32x3", by_rung(|| Ok(with_rungs(Rungs { tf32x3: ALWAYS, ..NEVER })))),
    ("emulator-wgmma", by_rung(|| Ok(with_rungs(Rungs { wgmma: ALWAYS, ..NEVER })))),
];

fn with_rungs(rungs: Rungs) -> Emulator {
    let emulator = cuda_std::Emulator { tensor_cores: TensorCores::CutOff, ..cuda_std::Emulator::default() };
    Emulator::with(emulator).with_rungs(rungs)
}

const fn by_rung(make: fn() -> Result<Emulator>) -> Target<Emulator> {
    on_device(make, EMULATED / 5)
}

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

/// A scaling in both places.
struct Scaled<E: Engine> {
    there: Scaling<E::Matrix>,
    mean: Vec<f64>,
    deviation: Vec<f64>,
}

/// What a problem is made of: its numbers, the loss, and whether it is scaled.
#[derive(Clone, Copy, Debug)]
struct Kind {
    data: Data,
    loss: Loss,
    scaled: bool,
}

const fn kind(data: Data, loss: Loss, scaled: bool) -> Kind {
    Kind { data, loss, scaled }
}

const INTEGERS: Kind = kind(Data::Integers, Loss::SquaredError, false);
const REALS: Kind = kind(Data::Reals, Loss::SquaredError, false);
const SCALED: Kind = kind(Data::Reals, Loss::SquaredError, true);
const LOGISTIC: Kind = kind(Data::Reals, Loss::LogLoss, false);
const LOGISTIC_SCALED: Kind = kind(Data::Reals, Loss::LogLoss, true);

/// Means and deviations of scaled columns: as they should be; means far from 0, where values have few digits left, none of
/// which may be lost; deviations that are tiny and huge.
const COLUMNS: [(f32, f32); 6] =
    [(0.0, 1.0), (1e6, 1.0), (-3.0, 1e-3), (0.0, 1e-30), (-1e5, 0.3), (1e9, 1e12)];

/// The problem of a shape: X, y, w, b and e.
struct Problem<E: Engine> {
    shape: (usize, usize),
    kind: Kind,
    x: Operand<E>,
    scaling: Option<Scaled<E>>,
    y: Operand<E>,
    weights: Operand<E>,
    bias: Operand<E>,
    e: Operand<E>,
}

/// What descent goes over.
fn over<'a, E: Engine>(
    x: &'a Operand<E>,
    scaling: &'a Option<Scaled<E>>,
    y: &'a Operand<E>,
) -> Samples<'a, E::Matrix> {
    Samples { x: &x.there, scaling: scaling.as_ref().map(|scaling| &scaling.there), y: &y.there }
}

impl<E: Engine> Problem<E> {
    fn new(engine: &E, shape @ (m, n): (usize, usize), kind: Kind) -> Result<Self> {
        let mut source = Source::new((m * 1_000_003 + n) as u64);
        let mut numbers = |length: usize| source.numbers(kind.data, length);
        let (mut x, mut y, e) = (numbers(m * n), numbers(m), numbers(m));
        let mut scaling = None;
        if kind.scaled {
            let column = |j: usize| COLUMNS[j % COLUMNS.len()];
            for (place, value) in x.iter_mut().enumerate() {
                let (mean, deviation) = column(place % n);
                *value = mean + deviation * *value;
            }
            let mean: Vec<f64> = (0..n).map(|j| column(j).0.into()).collect();
            let deviation: Vec<f64> = (0..n).map(|j| column(j).1.into()).collect();
            let moments = Moments { mean: mean.clone(), standard_deviation: deviation.clone() };
            scaling = Some(Scaled { there: engine.scaling(&moments)?, mean, deviation });
        }
        if kind.loss == Loss::LogLoss {
            y.iter_mut().enumerate().for_each(|(i, y)| *y = [0.0, 1.0, y.abs().min(1.0)][i % 3]);
        }
        let (x, y, e) = (operand(engine, m, n, &x)?, operand(engine, m, 1, &y)?, operand(engine, m, 1, &e)?);
        let weights = operand(engine, n, 1, &numbers(n))?;
        let bias = operand(engine, 1, 1, &numbers(1))?;
        Ok(Problem { shape, kind, x, scaling, y, weights, bias, e })
    }

    fn scaling(&self) -> Option<&Scaling<E::Matrix>> {
        self.scaling.as_ref().map(|scaling| &scaling.there)
    }

    /// Roundings more of a product with a scaled value: of the difference, of 1/σ, of the quotient.
    fn roundings(&self) -> usize {
        if self.scaling.is_some() { 3 } else { 0 }
    }

    /// A value of X, scaled, and what may be lost of it below the normal numbers: in products with w, and with e.
    fn value(&self, i: usize, j: usize) -> (f64, [f64; 2]) {
        /// Half of the smallest number above 0.
        const TINY: f64 = 7.1e-46;
        let x = self.x.here[i * self.shape.1 + j];
        let Some(Scaled { mean, deviation, .. }) = &self.scaling else { return (x, [0.0; 2]) };
        let scaled = (x - mean[j]) / deviation[j];
        (scaled, [TINY * (1.0 + scaled.abs() * deviation[j]), TINY / deviation[j]])
    }

    /// Row i · w + b, and the sum of the terms' magnitudes.
    fn prediction(&self, i: usize) -> (f64, f64) {
        let mut sum = (self.bias.here[0], self.bias.here[0].abs());
        for (j, w) in self.weights.here.iter().enumerate() {
            let (x, lost) = self.value(i, j);
            sum = (sum.0 + x * w, sum.1 + (x * w).abs() + lost[0] / UNIT_ROUNDOFF);
        }
        sum
    }

    /// z of sample i, and how far an engine's may be off.
    fn z<T>(&self, target: &Target<T>, i: usize) -> (f64, f64) {
        let depth = (target.dot)(self.shape.1) + 1 + self.roundings();
        let (z, magnitude) = self.prediction(i);
        (z, gamma(depth) * magnitude)
    }

    /// The error of each sample in exact arithmetic, and how far an engine's may be off. Sigmoid's slope is at most 1/4.
    fn errors<T>(&self, target: &Target<T>) -> Vec<(f64, f64)> {
        let error = |(i, y): (usize, &f64)| {
            let (z, off) = self.z(target, i);
            let (prediction, off) = match self.kind.loss {
                Loss::SquaredError => (z, off + gamma((target.dot)(self.shape.1) + 1) * y.abs()),
                Loss::LogLoss => {
                    let sigmoid = Activation::Sigmoid.apply(z);
                    let own = (target.sigmoid + UNIT_ROUNDOFF) * sigmoid + f64::from(f32::MIN_POSITIVE);
                    (sigmoid, off / 4.0 + own)
                }
            };
            let error = prediction - y;
            (error, off + UNIT_ROUNDOFF * error.abs())
        };
        self.y.here.iter().enumerate().map(error).collect()
    }

    /// J in exact arithmetic, and how far an engine's may be off.
    fn cost<T>(&self, target: &Target<T>, errors: &[(f64, f64)]) -> Expected {
        let m = self.shape.0;
        let depth = (target.dot)(m).max((target.column_sum)(m, self.shape.1)) + 2;
        let (mut cost, mut off) = (0.0, 0.0);
        for (i, (error, error_off)) in errors.iter().enumerate() {
            let (share, magnitude, share_off) = match self.kind.loss {
                Loss::SquaredError => {
                    let share = error * error / 2.0;
                    (share, share, error.abs() * error_off + error_off * error_off / 2.0)
                }
                Loss::LogLoss => {
                    let ((z, z_off), y) = (self.z(target, i), self.y.here[i]);
                    let share = Loss::LogLoss.cost(z, y);
                    // The slope is e, at most 1. What is added up is max(z, 0), yz and the logarithm.
                    let magnitude = z.max(0.0) + (y * z).abs() + (-z.abs()).exp().ln_1p();
                    (share, magnitude, z_off + gamma(8) * magnitude)
                }
            };
            cost += share;
            off += share_off + gamma(depth) * (magnitude + share_off);
        }
        let samples = m as f64;
        Expected { value: cost / samples, bound: off / samples + 2.0 * UNIT_ROUNDOFF * cost / samples }
    }

    /// Xᵀe / m and Σe / m (last) for errors that are known up to a bound.
    fn gradient<T>(&self, target: &Target<T>, errors: &[(f64, f64)]) -> Vec<Expected> {
        let (m, n) = self.shape;
        let depth = (target.column_sum)(m, n) + 1 + self.roundings();
        let mut sums = vec![(0.0, 0.0); n + 1];
        for (i, &(error, off)) in errors.iter().enumerate() {
            for (j, sum) in sums.iter_mut().enumerate() {
                let (x, lost) = if j < n { self.value(i, j) } else { (1.0, [0.0; 2]) };
                sum.0 += x * error;
                sum.1 += x.abs() * (off + gamma(depth) * (error.abs() + off)) + lost[1];
            }
        }
        let samples = m as f64;
        let expected = |(sum, off): (f64, f64)| {
            let value = sum / samples;
            match self.kind.data {
                Data::Integers => Expected::exact(f64::from(value as f32)),
                Data::Reals => Expected { value, bound: off / samples + UNIT_ROUNDOFF * value.abs() },
            }
        };
        sums.into_iter().map(expected).collect()
    }
}

/// Runs `check` on a problem of each shape that the engine manages, and of each kind.
fn at_each_shape<E: Engine>(
    target: &Target<E>,
    kinds: &[Kind],
    check: impl Fn(&E, Problem<E>, &mut Tally) -> Outcome,
) -> Outcome {
    let engine = (target.make)()?;
    for &shape in SHAPES.iter().filter(|(m, n)| m * n <= target.most) {
        for &kind in kinds {
            check(&engine, Problem::new(&engine, shape, kind)?, &mut Tally::default())
                .map_err(|failure| format!("{shape:?}, {kind:?}: {}", text(&failure)))?;
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
        let shared = Arc::new(given);
        if values(&engine, &engine.share(rows, columns, &shared)?, (rows, columns))? != *shared {
            return Err(format!("{rows} × {columns} was shared and came back changed").into());
        }
    }
    // What is shared is not changed.
    let (given, one) = (Arc::new(vec![1.0]), engine.upload(1, 1, &[1.0])?);
    let (mut weights, mut bias) = (engine.share(1, 1, &given)?, engine.upload(1, 1, &[0.5])?);
    let samples = Samples { x: &one, scaling: None, y: &one };
    engine.descend(Loss::SquaredError, &samples, &mut weights, &mut bias, 0.5, 1)?;
    match (engine.read(&weights)?[0], given[0]) {
        (0.75, 1.0) => Ok(()),
        (weight, given) => Err(format!("the weight is {weight}, what was shared {given}").into()),
    }
}

/// What was read of results can be put back, bit for bit.
fn read_and_restore<E: Engine>(target: &Target<E>) -> Outcome {
    let engine = (target.make)()?;
    for (rows, columns) in [(0, 3), (3, 0), (1, 1), (64, 33)] {
        let given = Source::new(1).numbers(Data::Reals, rows * columns);
        let matrix = engine.upload(rows, columns, &given)?;
        // Products of fractions: the loop's have more bits than it was given.
        let square = engine.matmul(&matrix, Layout::Transposed, &matrix, Layout::Plain, Precision::Fp32)?;
        let read = engine.read(&square)?;
        let restored = engine.restore(columns, columns, &read)?;
        let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        if engine.shape(&restored) != (columns, columns) || bits(&engine.read(&restored)?) != bits(&read) {
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
    at_each_shape(target, &[INTEGERS, REALS, SCALED], |engine, problem, tally| {
        let (x, scaling) = (&problem.x.there, problem.scaling());
        let out = engine.matrix_vector(x, scaling, &problem.weights.there, &problem.bias.there)?;
        let (m, n) = problem.shape;
        let expected: Vec<_> = (0..m)
            .map(|i| {
                let (value, magnitude) = problem.prediction(i);
                let depth = (target.dot)(n) + problem.roundings();
                Expected::rounded(problem.kind.data, value, magnitude, depth)
            })
            .collect();
        Ok(tally.compare(&"Xw + b", &values(engine, &out, (m, 1))?, &expected)?)
    })?;
    let engine = (target.make)()?;
    let (none, weights) = (engine.upload(0, 3, &[])?, engine.upload(3, 1, &[1.0, 2.0, 3.0])?);
    let bias = engine.upload(1, 1, &[5.0])?;
    let out = engine.matrix_vector(&none, None, &weights, &bias)?;
    same("no rows", &values(&engine, &out, (0, 1))?, &[])?;
    let (no_columns, no_weights) = (engine.upload(3, 0, &[])?, engine.upload(0, 1, &[])?);
    let out = engine.matrix_vector(&no_columns, None, &no_weights, &bias)?;
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
    at_each_shape(target, &[INTEGERS, REALS, SCALED], |engine, problem, tally| {
        let gradient = engine.gradient(&problem.x.there, problem.scaling(), &problem.e.there)?;
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
            kind: REALS,
            x: operand(&engine, m, n, &vec![1.0; m * n])?,
            scaling: None,
            y: operand(&engine, m, 1, &vec![0.0; m])?,
            weights: operand(&engine, n, 1, &beside_large(n))?,
            bias: operand(&engine, 1, 1, &[0.0])?,
            e: operand(&engine, m, 1, &beside_large(m))?,
        };
        let x = &problem.x.there;
        let products = engine.matrix_vector(x, None, &problem.weights.there, &problem.bias.there)?;
        let (value, magnitude) = problem.prediction(0);
        let expected = vec![Expected::rounded(Data::Reals, value, magnitude, (target.dot)(n)); m];
        Tally::default().compare(
            &format!("{shape:?}, Xw"),
            &values(&engine, &products, (m, 1))?,
            &expected,
        )?;

        let gradient = engine.gradient(x, None, &problem.e.there)?;
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
    let kinds = [INTEGERS, REALS, SCALED, LOGISTIC, LOGISTIC_SCALED];
    at_each_shape(target, &kinds, |engine, mut problem, tally| {
        let (n, loss) = (problem.shape.1, problem.kind.loss);
        let errors = problem.errors(target);
        let cost = problem.cost(target, &errors);

        let Problem { x, scaling, y, weights, bias, .. } = &mut problem;
        let over = over(x, scaling, y);
        let before = engine.cost(loss, &over, &weights.there, &bias.there)?;
        let history = engine.descend(loss, &over, &mut weights.there, &mut bias.there, RATE, 1)?.costs;
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
            let samples = Samples { x: &x, scaling: None, y: &y };
            let mut all =
                engine.descend(Loss::SquaredError, &samples, &mut weights, &mut bias, 0.5, 1)?.costs;
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

/// k steps at once are k times one step, no steps are none, and the costs are those that `cost` gives.
fn descend_step_by_step<E: Engine>(target: &Target<E>) -> Outcome {
    const RATE: f64 = 0.05;
    let engine = (target.make)()?;
    for kind in [REALS, SCALED, LOGISTIC, LOGISTIC_SCALED] {
        let fresh = || Problem::new(&engine, (100, 13), kind);
        let loss = kind.loss;
        let (mut once, mut singly) = (fresh()?, fresh()?);
        let Problem { x, scaling, y, weights, bias, .. } = &mut once;
        let samples = over(x, scaling, y);
        let none = engine.descend(loss, &samples, &mut weights.there, &mut bias.there, RATE, 0)?.costs;
        if !none.is_empty() || engine.read(&weights.there)? != weights.here {
            return Err("no steps change something".into());
        }
        let history = engine.descend(loss, &samples, &mut weights.there, &mut bias.there, RATE, 20)?.costs;
        let end = engine.read(&weights.there)?;

        let Problem { x, scaling, y, weights, bias, .. } = &mut singly;
        let samples = over(x, scaling, y);
        for (step, &cost) in history.iter().enumerate() {
            let before = engine.cost(loss, &samples, &weights.there, &bias.there)?;
            if !((before - cost).abs() <= 1e-6 * cost) {
                return Err(format!("{kind:?}, step {step}: cost gives {before}, descend {cost}").into());
            }
            let single = engine.descend(loss, &samples, &mut weights.there, &mut bias.there, RATE, 1)?.costs;
            if single != [cost] {
                return Err(format!(
                    "{kind:?}, step {step}: alone its cost is {single:?}, among others {cost}"
                )
                .into());
            }
        }
        if engine.read(&weights.there)? != end || history.windows(2).any(|pair| !(pair[1] < pair[0])) {
            return Err(
                format!("{kind:?}: twenty steps are not twenty times one, or costs do not fall").into()
            );
        }
        if engine.read(&x.there)? != x.here {
            return Err(format!("{kind:?}: descent changed X").into());
        }
    }
    Ok(())
}

/// Both losses with a scaling, by hand: every number but the logarithm is exact.
fn descend_by_hand<E: Engine>(target: &Target<E>) -> Outcome {
    let engine = (target.make)()?;
    let x = engine.upload(2, 1, &[1.0, 5.0])?;
    // Scaled, x is (−1, 1).
    let scaling = engine.scaling(&Moments { mean: vec![3.0], standard_deviation: vec![2.0] })?;
    let y = engine.upload(2, 1, &[0.0, 1.0])?;
    let samples = Samples { x: &x, scaling: Some(&scaling), y: &y };
    for (loss, cost, after) in [
        // w = 0, b = 1/2: e = (1/2, −1/2), J = 1/8, ∇w = −1/2, ∇b = 0.
        (Loss::SquaredError, 0.125, [0.25, 0.5]),
        // w = 0, b = 0: ŷ = 1/2, e = (1/2, −1/2), J = ln 2, ∇w = −1/2, ∇b = 0.
        (Loss::LogLoss, std::f64::consts::LN_2, [0.25, 0.0]),
    ] {
        let mut weights = engine.upload(1, 1, &[0.0])?;
        let mut bias = engine.upload(1, 1, &[after[1]])?;
        let before = engine.cost(loss, &samples, &weights, &bias)?;
        let costs = engine.descend(loss, &samples, &mut weights, &mut bias, 0.5, 1)?.costs;
        let got = [engine.read(&weights)?, engine.read(&bias)?].concat();
        let near = |got: f64| (got - cost).abs() <= 2.0 * UNIT_ROUNDOFF * cost;
        if got != after.map(f64::from) || !near(before) || costs.len() != 1 || !near(costs[0]) {
            return Err(
                format!("{loss}: {got:?}, costs {before}, {costs:?}; expected {after:?}, {cost}").into()
            );
        }
    }
    Ok(())
}

/// z as large as there is: no power overflows, and the log loss grows as |z| does.
fn log_loss_far_out<E: Engine>(target: &Target<E>) -> Outcome {
    let engine = (target.make)()?;
    for far in [100.0_f32, 1e4, 1e30] {
        let x = engine.upload(4, 1, &[far, -far, far, -far])?;
        let y = engine.upload(4, 1, &[1.0, 0.0, 0.0, 1.0])?;
        let samples = Samples { x: &x, scaling: None, y: &y };
        let (mut weights, mut bias) = (engine.upload(1, 1, &[1.0])?, engine.upload(1, 1, &[0.0])?);
        let cost = engine.cost(Loss::LogLoss, &samples, &weights, &bias)?;
        let costs = engine.descend(Loss::LogLoss, &samples, &mut weights, &mut bias, 1.0, 1)?.costs;
        // Two are right, the others wrong by 1: J = (0 + 0 + z + z) / 4, ∇w = (0 + 0 + z + z) / 4, ∇b = 0.
        let half = f64::from(far) / 2.0;
        let got = [cost, costs[0], 1.0 - engine.read(&weights)?[0], half + engine.read(&bias)?[0]];
        if !got.iter().all(|got| (got - half).abs() <= gamma(8) * half) {
            return Err(format!("z of ±{far}: {got:?}, expected {half}").into());
        }
    }
    // Where everything is right the cost is e^−|z|, to full precision until that is below one of `f32`.
    let x = engine.upload(1, 1, &[10.0])?;
    let samples = Samples { x: &x, scaling: None, y: &engine.upload(1, 1, &[1.0])? };
    let cost =
        engine.cost(Loss::LogLoss, &samples, &engine.upload(1, 1, &[1.0])?, &engine.upload(1, 1, &[0.0])?)?;
    let expected = (-10.0_f64).exp().ln_1p();
    if !((cost - expected).abs() <= gamma(16) * expected) {
        return Err(format!("a small cost is {cost:e}, expected {expected:e}").into());
    }
    Ok(())
}

/// Labels that the log loss has no value for are refused, with the first; the squared error takes any.
fn labels_from_0_to_1<E: Engine>(target: &Target<E>) -> Outcome {
    let engine = (target.make)()?;
    let x = engine.upload(3, 1, &[1.0, 2.0, 3.0])?;
    let (mut weights, mut bias) = (engine.upload(1, 1, &[0.5])?, engine.upload(1, 1, &[0.0])?);
    for wrong in [-0.001, 1.001, 2.0, f32::INFINITY, f32::NAN] {
        let y = engine.upload(3, 1, &[0.5, wrong, 7.0])?;
        let samples = Samples { x: &x, scaling: None, y: &y };
        let cost = engine.cost(Loss::LogLoss, &samples, &weights, &bias).map(drop);
        let descent = engine.descend(Loss::LogLoss, &samples, &mut weights, &mut bias, 0.1, 1).map(drop);
        for outcome in [cost, descent] {
            match outcome {
                Err(Error::Data(text))
                    if text.contains("label of sample 1") && text.contains("write 0 for one class") => {}
                other => return Err(format!("a label of {wrong}: {other:?}").into()),
            }
        }
        if wrong.is_finite() {
            engine.cost(Loss::SquaredError, &samples, &weights, &bias)?;
        }
    }
    if engine.read(&weights)? != [0.5] {
        return Err("descent that was refused changed the weights".into());
    }
    let y = engine.upload(3, 1, &[0.0, 1.0, 0.5])?;
    engine.cost(Loss::LogLoss, &Samples { x: &x, scaling: None, y: &y }, &weights, &bias)?;
    Ok(())
}

/// The reference's gradients against differences of its costs, in `f64`.
///
/// (J(w + h) − J(w − h)) / 2h is off by h²/6 times the third derivative, at most Σ|x|³/m for these losses, and by the
/// rounding of J, a few ε(J + 1)/h: with h = 10⁻⁵ and these numbers both are below 10⁻⁹.
fn gradients_are_differences_of_costs() -> Outcome {
    const STEP: f64 = 1e-5;
    for kind in [REALS, SCALED, LOGISTIC, LOGISTIC_SCALED] {
        let mut problem = Problem::new(&Loop, (37, 6), kind)?;
        let Problem { x, scaling, y, weights, bias, .. } = &mut problem;
        let samples = over(x, scaling, y);
        let parameters = [&*weights.here, &*bias.here].concat();
        let cost = |parameters: &[f64]| -> Result<f64> {
            let (weights, bias) =
                (Loop.restore(6, 1, &parameters[..6])?, Loop.restore(1, 1, &parameters[6..])?);
            Loop.cost(kind.loss, &samples, &weights, &bias)
        };
        Loop.descend(kind.loss, &samples, &mut weights.there, &mut bias.there, 1.0, 1)?;
        let after = [Loop.read(&weights.there)?, Loop.read(&bias.there)?].concat();
        for j in 0..7 {
            let moved = |step: f64| {
                let mut moved = parameters.clone();
                moved[j] += step;
                cost(&moved)
            };
            let difference = (moved(STEP)? - moved(-STEP)?) / (2.0 * STEP);
            let gradient = parameters[j] - after[j];
            if !((gradient - difference).abs() <= 1e-9) {
                return Err(format!(
                    "{kind:?}, {j}: the gradient is {gradient}, differences say {difference}"
                )
                .into());
            }
        }
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
                    let c = engine.matmul(&a_there, a_layout, &b_there, b_layout, Precision::Fp32)?;
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
                let out =
                    engine.dense(&input.there, &weights.there, &bias.there, activation, Precision::Fp32)?;
                let place = format!("{batch} × {units} × {inputs}, {}, {activation:?}", data.name());
                Tally::default().compare(&place, &values(&engine, &out, (batch, units))?, &expected)?;
            }
        }
    }
    Ok(())
}

/// Of the rungs for fp32 those of tensor cores give other bits, and the engine says so: a checkpoint of the one is none of the other.
fn tensor_cores_alone_change_bits() -> Outcome {
    let mut source = Source::new(5);
    let [a, b] = [(); 2].map(|()| source.numbers(Data::Reals, 130 * 130));
    let of = |engine: &Emulator| -> std::result::Result<Vec<f32>, Failed> {
        let [a, b] = [&a, &b].map(|values| engine.upload(130, 130, values));
        let c = engine.matmul(&a?, Layout::Plain, &b?, Layout::Plain, Precision::Fp32)?;
        values(engine, &c, (130, 130))
    };
    let simple = Emulator::new();
    let expected = of(&simple)?;
    for (name, target) in BY_RUNG {
        let engine = (target.make)()?;
        let is_other = ["emulator-tf32x3", "emulator-wgmma"].contains(&name);
        if (of(&engine)? != expected) != is_other {
            return Err(format!("{name}: bits differ, or do not").into());
        }
        if (engine.arithmetic() != simple.arithmetic()) != is_other {
            return Err(format!("{name}: {}", engine.arithmetic()).into());
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
        let out = engine.dense(&input, &one, &zero, activation, Precision::Fp32)?;
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
    let none = make(0, 1)?;

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
    let moments = Moments { mean: vec![0.0; 2], standard_deviation: vec![1.0; 3] };
    refused("other deviations", engine.scaling(&moments).map(drop), &["1 × 3", "1 × 2"])?;

    let descend = |x: &E::Matrix, y: &E::Matrix, mut w: E::Matrix, mut b: E::Matrix| {
        let samples = Samples { x, scaling: None, y };
        engine.descend(Loss::SquaredError, &samples, &mut w, &mut b, 0.1, 1).map(drop)
    };
    refused("descent, y", descend(&x, &tall, make(3, 1)?, make(1, 1)?), &["5 × 1", "4 × 3"])?;
    refused("descent, y lying", descend(&x, &flat, make(3, 1)?, make(1, 1)?), &["1 × 4", "4 × 1"])?;
    refused("descent, weights", descend(&x, &y, make(4, 1)?, make(1, 1)?), &["4 × 1", "4 × 3"])?;
    refused("descent, bias", descend(&x, &y, make(3, 1)?, make(2, 1)?), &["2 × 1", "1 × 1"])?;
    refused("descent, no rows", descend(&empty, &none, make(3, 1)?, make(1, 1)?), &["0 × 3"])?;
    let samples = Samples { x: &x, scaling: None, y: &tall };
    let loss = Loss::SquaredError;
    refused("cost, y", engine.cost(loss, &samples, &w, &b).map(drop), &["5 × 1", "4 × 3"])?;
    refused("matrix_vector", engine.matrix_vector(&x, None, &tall, &b).map(drop), &["5 × 1", "4 × 3"])?;
    refused("matrix_vector, bias", engine.matrix_vector(&x, None, &w, &w).map(drop), &["3 × 1", "1 × 1"])?;
    refused("gradient", engine.gradient(&x, None, &tall).map(drop), &["5 × 1", "4 × 3"])?;
    refused("gradient, no rows", engine.gradient(&empty, None, &none).map(drop), &["0 × 3"])?;
    for (wrong, shapes) in [
        (Scaling { mean: make(2, 1)?, deviation: make(3, 1)? }, ["mean is 2 × 1", "4 × 3"]),
        (Scaling { mean: make(3, 1)?, deviation: make(1, 3)? }, ["deviation is 1 × 3", "4 × 3"]),
    ] {
        let scaling = Some(&wrong);
        let samples = Samples { scaling, y: &y, ..samples };
        refused("cost, scaling", engine.cost(loss, &samples, &w, &b).map(drop), &shapes)?;
        let (mut w, mut b) = (make(3, 1)?, make(1, 1)?);
        let descent = engine.descend(loss, &samples, &mut w, &mut b, 0.1, 1).map(drop);
        refused("descent, scaling", descent, &shapes)?;
        refused("product, scaling", engine.matrix_vector(&x, scaling, &w, &b).map(drop), &shapes)?;
        refused("gradient, scaling", engine.gradient(&x, scaling, &y).map(drop), &shapes)?;
    }
    let plain = Layout::Plain;
    refused("matmul", engine.matmul(&x, plain, &y, plain, Precision::Fp32).map(drop), &["4 × 3", "4 × 1"])?;
    let turned = engine.matmul(&x, Layout::Transposed, &w, plain, Precision::Fp32).map(drop);
    refused("matmul, transposed", turned, &["4 × 3", "3 × 4", "3 × 1"])?;
    let identity = Activation::Identity;
    refused(
        "dense, weights",
        engine.dense(&x, &y, &b, identity, Precision::Fp32).map(drop),
        &["4 × 1", "4 × 3"],
    )?;
    refused(
        "dense, bias",
        engine.dense(&x, &w, &flat, identity, Precision::Fp32).map(drop),
        &["1 × 4", "3 × 1"],
    )?;

    let (small, large) = (1e-60, 1e60); // no numbers of 32 bits
    for (mean, deviation) in
        [0.0, -1.0, f64::NAN, f64::INFINITY, small, large].map(|d| (0.0, d)).into_iter().chain([(large, 1.0)])
    {
        let moments = Moments { mean: vec![0.0, mean, 0.0], standard_deviation: vec![1.0, deviation, 1.0] };
        match engine.scaling(&moments) {
            Err(Error::Data(text)) if text.contains("column 1") => {}
            other => return Err(format!("{mean} ± {deviation}: {:?}", other.map(drop)).into()),
        }
    }
    Ok(())
}

/// The results of every operation on one problem.
fn all_operations<E: Engine>(engine: &E, shape: (usize, usize)) -> Result<Vec<Vec<u64>>> {
    let bits = |values: Vec<f64>| values.into_iter().map(f64::to_bits).collect::<Vec<_>>();
    let mut results = Vec::new();
    for kind in [REALS, SCALED, LOGISTIC_SCALED] {
        let Problem { x, scaling, y, mut weights, mut bias, e, .. } = Problem::new(engine, shape, kind)?;
        let (loss, samples) = (kind.loss, over(&x, &scaling, &y));
        let (there, scaling) = (&x.there, samples.scaling);
        results.push(bits(engine.read(&engine.matrix_vector(
            there,
            scaling,
            &weights.there,
            &bias.there,
        )?)?));
        results.push(bits(engine.read(&engine.gradient(there, scaling, &e.there)?)?));
        results.push(bits(vec![engine.cost(loss, &samples, &weights.there, &bias.there)?]));
        let history = engine.descend(loss, &samples, &mut weights.there, &mut bias.there, 0.001, 3)?.costs;
        results.extend([bits(history), bits(engine.read(&weights.there)?), bits(engine.read(&bias.there)?)]);
    }
    let Problem { x, y, .. } = Problem::new(engine, shape, REALS)?;
    let moments = engine.column_moments(&x.there)?;
    results.extend([bits(moments.mean), bits(moments.standard_deviation)]);
    let product = engine.matmul(&x.there, Layout::Transposed, &y.there, Layout::Plain, Precision::Fp32)?;
    results.push(bits(engine.read(&product)?));
    let units = shape.0.min(70);
    let mut source = Source::new(3);
    let mut make = |rows: usize, columns: usize| {
        engine.upload(rows, columns, &source.numbers(Data::Reals, rows * columns))
    };
    let (layer, layer_bias) = (make(shape.1, units)?, make(1, units)?);
    if shape.0 * shape.1 * units < 50_000_000 {
        for activation in [Activation::Identity, Activation::Sigmoid] {
            results.push(bits(engine.read(&engine.dense(
                &x.there,
                &layer,
                &layer_bias,
                activation,
                Precision::Fp32,
            )?)?));
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
    let x = engine.upload(m, n, &features)?;
    let y = engine.upload(m, 1, &target_column)?;
    let moments = engine.column_moments(&x)?;
    let scaling = engine.scaling(&moments)?;
    let samples = Samples { x: &x, scaling: Some(&scaling), y: &y };
    let loss = Loss::SquaredError;
    let (mut weights, mut bias) = (engine.upload(n, 1, &vec![0.0; n])?, engine.upload(1, 1, &[0.0])?);
    let rate = number(&reference["rate"])?;
    let history = engine.descend(loss, &samples, &mut weights, &mut bias, rate, 1000)?.costs;

    for (j, (mean, deviation)) in moments.mean.iter().zip(&moments.standard_deviation).enumerate() {
        close("a mean", *mean, &reference["mean"][j])?;
        close("a standard deviation", *deviation, &reference["std"][j])?;
    }
    for (iteration, cost) in [(0, "0"), (1, "1"), (10, "10"), (100, "100")] {
        close(&format!("the cost at {iteration}"), history[iteration], &reference["cost"][cost])?;
    }
    close("the cost at 1000", engine.cost(loss, &samples, &weights, &bias)?, &reference["cost"]["1000"])?;
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
    let a1_rows = engine.dense(&x_rows, &w1_rows, &b1_row, Activation::Relu, Precision::Fp32)?;
    let a2_rows = engine.dense(&a1_rows, &w2_rows, &b2_row, Activation::Sigmoid, Precision::Fp32)?;
    let by_rows = transpose(samples, outputs, &engine.read(&a2_rows)?);

    // And with samples as columns on the engine too: its products take either operand transposed.
    let activate = |z: Vec<f64>, b: &[f32], g: fn(f64) -> f64| -> Vec<f32> {
        z.iter().enumerate().map(|(place, z)| g(z + f64::from(b[place / samples])) as f32).collect()
    };
    let z1 = engine.matmul(&w1_rows, Layout::Transposed, &x_rows, Layout::Transposed, Precision::Fp32)?;
    let a1_columns = engine.upload(hidden, samples, &activate(engine.read(&z1)?, &b1, |z| z.max(0.0)))?;
    let z2 = engine.matmul(&w2_rows, Layout::Transposed, &a1_columns, Layout::Plain, Precision::Fp32)?;
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
    for shape in [(32, 10), (300, 700), (70_000, 3), (1, 150_000)] {
        let with = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
            pool.install(|| Ok::<_, Failed>(training::all_training(&Cpu, shape)?))
        };
        let one = with(1)?;
        for threads in [2, 3, 7] {
            if with(threads)? != one {
                return Err(format!("training, {shape:?}: {threads} threads give other bits than one").into());
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
                pool.install(|| {
                    values(&Cpu, &Cpu.matmul(&a, a_layout, &b, b_layout, Precision::Fp32)?, (m, n))
                })
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
    let out = Cpu.dense(
        &input,
        &Cpu.upload(1, 1, &[1.0])?,
        &Cpu.upload(1, 1, &[0.0])?,
        Activation::Sigmoid,
        Precision::Fp32,
    )?;
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
    let c = Cpu.matmul(
        &Cpu.upload(m, k, &a)?,
        Layout::Plain,
        &Cpu.upload(k, n, &b)?,
        Layout::Plain,
        Precision::Fp32,
    )?;
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
    let tests: [(&str, Check<E>); 19] = [
        ("upload_and_read", upload_and_read),
        ("read_and_restore", read_and_restore),
        ("matrix_vector", matrix_vector),
        ("gradient", gradient),
        ("large_beside_small", large_beside_small),
        ("descend", descend),
        ("descend_exactly", descend_exactly),
        ("descend_step_by_step", descend_step_by_step),
        ("descend_by_hand", descend_by_hand),
        ("log_loss_far_out", log_loss_far_out),
        ("labels_from_0_to_1", labels_from_0_to_1),
        ("column_moments", column_moments),
        ("matmul", matmul),
        ("dense", dense),
        ("dense_extremes", dense_extremes),
        ("wrong_shapes", wrong_shapes),
        ("repeatable", repeatable),
        ("diabetes", diabetes),
        ("samples_as_columns", samples_as_columns),
    ];
    trials_of(name, target, missing, tests)
}

fn trials_of<E: Engine + 'static, const N: usize>(
    name: &str,
    target: Target<E>,
    missing: Option<&str>,
    tests: [(&str, Check<E>); N],
) -> Vec<Trial> {
    let trial = |(test, run): (&str, Check<E>)| {
        Trial::test(format!("{test}/{name}"), move || run(&target)).with_ignored_flag(missing.is_some())
    };
    tests.into_iter().map(trial).collect()
}

/// The tests of what training adds.
fn training_trials<E: Engine + 'static>(name: &str, target: Target<E>, missing: Option<&str>) -> Vec<Trial> {
    let tests: [(&str, Check<E>); 11] = [
        ("gather", training::gather),
        ("gather_of_what_is_not_there", training::gather_of_what_is_not_there),
        ("column_sums", training::column_sums),
        ("backward", training::backward),
        ("heads", training::heads),
        ("heads_far_out", training::heads_far_out),
        ("labels_that_are_no_class", training::labels_that_are_no_class),
        ("update", training::update),
        ("update_exactly", training::update_exactly),
        ("wrong_shapes_in_training", training::wrong_shapes_in_training),
        ("training_is_repeatable", training::training_is_repeatable),
    ];
    trials_of(name, target, missing, tests)
}

fn main() {
    let arguments = Arguments::from_args();
    let cuda = Cuda::open(0);
    if let Err(reason) = &cuda {
        assert!(
            std::env::var_os(RUNGS_VARIABLE).is_none(),
            "with {RUNGS_VARIABLE} there must be a GPU: {reason}"
        );
        eprintln!("the tests of the cuda engine are ignored: {reason}");
    }
    let mut all = trials("loop", LOOP, None);
    all.extend(trials("cpu", CPU, None));
    all.extend(training_trials("loop", LOOP, None));
    all.extend(training_trials("cpu", CPU, None));
    all.extend(trials("emulator", EMULATOR, None));
    for (name, target) in BY_RUNG {
        let tests: [(&str, Check<Emulator>); 3] =
            [("matmul", matmul), ("dense", dense), ("dense_extremes", dense_extremes)];
        all.extend(trials_of(name, target, None, tests));
    }
    all.extend(training_trials("emulator", EMULATOR, None));
    match &cuda {
        Ok(cuda) if simulated::is(&cuda.description()) => {
            all.extend(trials("simulated-cuda", SIMULATED, None));
            all.extend(training_trials("simulated-cuda", SIMULATED, None));
        }
        _ => {
            let reason = cuda.err().map(|reason| reason.to_string());
            all.extend(trials("cuda", CUDA, reason.as_deref()));
            all.extend(training_trials("cuda", CUDA, reason.as_deref()));
            all.push(
                Trial::test("all/simulated-cuda", || Ok(simulated::run_tests("simulated-cuda")?))
                    .with_ignored_flag(simulated::library().is_err()),
            );
        }
    }
    all.extend([
        Trial::test("descriptions", descriptions),
        Trial::test("tensor_cores_alone_change_bits/emulator", tensor_cores_alone_change_bits),
        Trial::test("gradients_are_differences_of_costs/loop", gradients_are_differences_of_costs),
        Trial::test("same_with_any_number_of_threads/cpu", same_with_any_number_of_threads),
        Trial::test("sigmoid_within_three_units/cpu", sigmoid_within_three_units),
        Trial::test("the_comparison_can_fail", the_comparison_can_fail),
    ]);
    libtest_mimic::run(&arguments, all).exit();
}
