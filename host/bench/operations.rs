//! The engines' operations as their callers see them, by the host's clock.

use std::time::Instant;

use kernel_suite::{UNIT_ROUNDOFF, gamma};
use kernels::elementwise::SIGMOID_ERROR;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::row::{Figures, Kind, Outcome, Row};
use super::{Effort, Scale, symmetric};
use crate::engine::{Activation, Engine, Layout, Loop, Loss, Precision, Samples};
use crate::models::{DenseLayer, DenseNetwork};
use crate::{Error, Result};

/// An operation and a shape.
pub(super) struct Operation {
    pub(super) name: &'static str,
    pub(super) sides: [usize; 3],
    work: Work,
}

#[derive(Clone, Copy)]
enum Work {
    Descent,
    Moments,
    Product,
    /// Layers of these units, one after the other; the last has a sigmoid, the others ReLU.
    Layers(&'static [usize]),
}

/// The operations with their shapes of this scale.
pub(super) fn operations(scale: Scale) -> Vec<Operation> {
    let (table, products, batches): (_, &[_], _) = match scale {
        Scale::Counted => ([1024, 64, 1], &[[256, 256, 64], [100, 60, 50]], [[1, 64, 64], [16, 64, 64]]),
        Scale::Timed => (
            [100_000, 1000, 1],
            &[[4096, 4096, 4096], [2048, 2048, 2048], [1024, 1024, 1024], [64, 1000, 1000]],
            [[1, 1000, 1000], [64, 1000, 1000]],
        ),
    };
    let operation = |name, sides, work| Operation { name, sides, work };
    let mut all = vec![
        operation("descent step", table, Work::Descent),
        operation("column moments", table, Work::Moments),
    ];
    all.extend(products.iter().map(|&sides| operation("matmul", sides, Work::Product)));
    all.extend(products.iter().map(|&sides| operation("dense sigmoid", sides, Work::Layers(&[]))));
    all.extend(batches.map(|sides| operation("network of 3 layers", sides, Work::Layers(&[256, 64]))));
    all
}

impl Operation {
    fn shape(&self) -> String {
        let [m, n, k] = self.sides;
        match self.work {
            Work::Descent | Work::Moments => format!("{m}×{n}"),
            Work::Product | Work::Layers([]) => format!("{m}×{n}×{k}"),
            Work::Layers(hidden) => {
                let all: Vec<String> = [k].iter().chain(hidden).chain(&[n]).map(usize::to_string).collect();
                format!("{m}: {}", all.join("→"))
            }
        }
    }

    /// Inputs and units of each layer.
    fn layers(&self) -> Vec<[usize; 2]> {
        let [_, n, k] = self.sides;
        let hidden = if let Work::Layers(hidden) = self.work { hidden } else { &[] };
        let sides: Vec<usize> = [k].iter().chain(hidden).chain(&[n]).copied().collect();
        sides.windows(2).map(|pair| [pair[0], pair[1]]).collect()
    }

    /// Bytes that have to be moved, and operations.
    pub(super) fn floor(&self) -> (u64, u64) {
        let [m, n, _] = self.sides;
        let (values, operations) = match self.work {
            Work::Descent => (m * n + m + 2 * n, 4 * m * n),
            Work::Moments => (m * n + 2 * n, 4 * m * n),
            Work::Product | Work::Layers(_) => {
                let layers = self.layers();
                let weights: usize = layers.iter().map(|[inputs, units]| inputs * units).sum();
                let bias: usize = match self.work {
                    Work::Layers(_) => layers.iter().map(|[_, units]| units).sum(),
                    _ => 0,
                };
                let outside: usize = layers.first().map_or(0, |[inputs, _]| m * inputs) + m * n;
                (weights + bias + outside, 2 * m * weights)
            }
        };
        ((size_of::<f32>() * values) as u64, operations as u64)
    }
}

/// Checks an operation, and times it if it is right.
///
/// # Errors
/// The engine's. A wrong result is none: it stands in its row.
pub(super) fn time<E: Engine>(engine: &E, operation: &Operation, effort: &Effort) -> Result<Row> {
    let (bytes, operations) = operation.floor();
    let done = match operation.work {
        Work::Descent => descent(engine, operation, effort)?,
        Work::Moments => moments(engine, operation, effort)?,
        Work::Product | Work::Layers(_) => layers(engine, operation, effort)?,
    };
    let outcome = match done {
        Ok((worst, spread)) => Outcome::Right(Figures::new(spread, bytes, operations, Some(worst))),
        Err(problem) => Outcome::Wrong { problem },
    };
    Ok(Row {
        kind: Kind::Operation,
        name: operation.name.to_owned(),
        shape: operation.shape(),
        sides: operation.sides,
        outcome,
        against: Vec::new(),
    })
}

/// The largest error over its bound and the times, or what is wrong.
type Done = Result<(f64, super::Spread), String>;

/// Random numbers, the same in every run.
struct Source(ChaCha8Rng);

impl Source {
    fn new() -> Self {
        Source(ChaCha8Rng::seed_from_u64(7))
    }

    fn reals(&mut self, length: usize) -> Vec<f32> {
        (0..length).map(|_| symmetric(self.0.next_u32())).collect()
    }

    /// From −1 to 1: sums of many products of them are exact.
    fn integers(&mut self, length: usize) -> Vec<f32> {
        (0..length).map(|_| (self.0.next_u32() % 3) as f32 - 1.0).collect()
    }
}

fn absolute(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&value| value.abs() as f32).collect()
}

/// Compares with what is expected, each within its bound; the largest error over its bound.
fn compare(what: &str, got: &[f64], expected: &[f64], bounds: &[f64]) -> Result<f64, String> {
    if got.len() != expected.len() {
        return Err(format!("{what}: {} values, expected {}", got.len(), expected.len()));
    }
    let mut worst = 0.0_f64;
    for (i, ((&got, &expected), &bound)) in got.iter().zip(expected).zip(bounds).enumerate() {
        let error = (got - expected).abs();
        // Not `error > bound`: NaN must fail.
        #[expect(clippy::neg_cmp_op_on_partial_ord)]
        if !(error <= bound) {
            return Err(format!(
                "{what}: element {i} is {got:e}, reference {expected:e}, error {error:.3e} > bound {bound:.3e}"
            ));
        }
        if error > 0.0 {
            worst = worst.max(error / bound);
        }
    }
    Ok(worst)
}

/// Seconds of `work`, which does it as often as it is told, until the engine is done.
fn clock<E: Engine>(
    engine: &E,
    effort: &Effort,
    mut work: impl FnMut(usize) -> Result<()>,
) -> Result<super::Spread> {
    effort.measure(1, |times| {
        let start = Instant::now();
        work(times)?;
        engine.synchronize()?;
        Ok::<f64, Error>(start.elapsed().as_secs_f64())
    })
}

/// One step on small integers, whose sums are exact in any order; then steps as callers ask for them, many at a time.
fn descent<E: Engine>(engine: &E, operation: &Operation, effort: &Effort) -> Result<Done> {
    const RATE: f64 = 0.5;
    const LOSS: Loss = Loss::SquaredError;
    let [m, n, _] = operation.sides;
    let mut source = Source::new();
    let (x, y) = (source.integers(m * n), source.integers(m));
    let (start, start_bias) = (source.integers(n), source.integers(1));

    let reference = {
        let (x_there, y_there) = (Loop.upload(m, n, &x)?, Loop.upload(m, 1, &y)?);
        let (mut weights, mut bias) = (Loop.upload(n, 1, &start)?, Loop.upload(1, 1, &start_bias)?);
        let z = Loop.read(&Loop.matrix_vector(&x_there, None, &weights, &bias)?)?;
        let errors: Vec<f64> = z.iter().zip(&y).map(|(z, y)| z - f64::from(*y)).collect();
        let samples = Samples { x: &x_there, scaling: None, y: &y_there };
        Loop.descend(LOSS, &samples, &mut weights, &mut bias, RATE, 1)?;
        let magnitudes: Vec<f32> = x.iter().map(|x| x.abs()).collect();
        let x_magnitudes = Loop.upload(m, n, &magnitudes)?;
        let mut magnitudes =
            Loop.read(&Loop.gradient(&x_magnitudes, None, &Loop.upload(m, 1, &absolute(&errors))?)?)?;
        magnitudes.push(errors.iter().map(|error| error.abs()).sum::<f64>() / m as f64);
        let after = [Loop.read(&weights)?, Loop.read(&bias)?].concat();
        let before = start.iter().chain(&start_bias).map(|&value| f64::from(value));
        let bounds = before.zip(&after).zip(&magnitudes).map(|((before, after), magnitude)| {
            // A sum below 2²⁴ of integers is exact; else any order of additions is allowed for.
            let sum = if magnitude * m as f64 * UNIT_ROUNDOFF < 1.0 { 0.0 } else { gamma(m) * magnitude };
            let update = (after - before).abs();
            RATE * sum + UNIT_ROUNDOFF * (4.0 * update + 2.0 * after.abs()) + f64::MIN_POSITIVE
        });
        let bounds: Vec<f64> = bounds.collect();
        (after, bounds)
    };

    let (x, y) = (engine.upload(m, n, &x)?, engine.upload(m, 1, &y)?);
    let (mut weights, mut bias) = (engine.upload(n, 1, &start)?, engine.upload(1, 1, &start_bias)?);
    let samples = Samples { x: &x, scaling: None, y: &y };
    engine.descend(LOSS, &samples, &mut weights, &mut bias, RATE, 1)?;
    let got = [engine.read(&weights)?, engine.read(&bias)?].concat();
    let worst = match compare("weights and bias", &got, &reference.0, &reference.1) {
        Ok(worst) => worst,
        Err(problem) => return Ok(Err(problem)),
    };
    // A call of many steps: what it does once for all of them is not a step's.
    let effort = Effort { sample: 25.0 * effort.sample, ..*effort };
    let spread = clock(engine, &effort, |times| {
        engine.descend(LOSS, &samples, &mut weights, &mut bias, RATE, times).map(drop)
    })?;
    Ok(Ok((worst, spread)))
}

fn moments<E: Engine>(engine: &E, operation: &Operation, effort: &Effort) -> Result<Done> {
    let [m, n, _] = operation.sides;
    let x = Source::new().reals(m * n);
    let expected = Loop.column_moments(&Loop.upload(m, n, &x)?)?;
    let x = engine.upload(m, n, &x)?;
    let got = engine.column_moments(&x)?;
    // Values are at most 1; any order of updates is allowed for. A mean that is off by ε puts the deviation off by 2ε.
    let bound = gamma(m + 16);
    let (means, deviations) = (vec![bound; n], vec![3.0 * bound; n]);
    let worst = compare("means", &got.mean, &expected.mean, &means).and_then(|worst| {
        let of_deviations =
            compare("deviations", &got.standard_deviation, &expected.standard_deviation, &deviations)?;
        Ok(worst.max(of_deviations))
    });
    match worst {
        Err(problem) => Ok(Err(problem)),
        Ok(worst) => {
            let spread = clock(engine, effort, |times| {
                (0..times).try_for_each(|_| engine.column_moments(&x).map(drop))
            })?;
            Ok(Ok((worst, spread)))
        }
    }
}

/// A product or layers: some rows of the output against the loops in `f64`.
fn layers<E: Engine>(engine: &E, operation: &Operation, effort: &Effort) -> Result<Done> {
    /// Rows of the output that are looked at.
    const ROWS: usize = 16;
    let [m, _, k] = operation.sides;
    let mut source = Source::new();
    let input = source.reals(m * k);
    let is_product = matches!(operation.work, Work::Product);
    let sides = operation.layers();
    let numbers: Vec<(Vec<f32>, Vec<f32>)> = sides
        .iter()
        .map(|&[inputs, units]| {
            let bias = if is_product { vec![0.0; units] } else { source.reals(units) };
            (source.reals(inputs * units), bias)
        })
        .collect();
    let activation = |layer: usize| match layer + 1 == sides.len() {
        _ if is_product => Activation::Identity,
        true => Activation::Sigmoid,
        false => Activation::Relu,
    };

    // Rows spread over all of them, the last among them.
    let rows: Vec<usize> = (0..ROWS.min(m)).map(|i| (i + 1) * m / ROWS.min(m) - 1).collect();
    let mut values: Vec<f32> = rows.iter().flat_map(|&row| &input[row * k..(row + 1) * k]).copied().collect();
    let (mut expected, mut bounds) = (Vec::new(), vec![0.0; values.len()]);
    for (layer, ([inputs, units], (weights, bias))) in sides.iter().zip(&numbers).enumerate() {
        let (inputs, units) = (*inputs, *units);
        let there = Loop.upload(rows.len(), inputs, &values)?;
        let layer_weights = Loop.upload(inputs, units, weights)?;
        expected = Loop.read(&Loop.dense(
            &there,
            &layer_weights,
            &Loop.upload(1, units, bias)?,
            activation(layer),
            Precision::Fp32,
        )?)?;
        // |A||W| + |b|, and what the input is off by goes through |W|. A rounding of the reference's input to f32, which
        // a layer behind the first has, is one more.
        let magnitudes: Vec<f32> = weights.iter().map(|weight| weight.abs()).collect();
        let magnitudes = Loop.upload(inputs, units, &magnitudes)?;
        let through = |values: Vec<f32>| -> Result<Vec<f64>> {
            let values = Loop.upload(rows.len(), inputs, &values)?;
            Loop.read(&Loop.matmul(&values, Layout::Plain, &magnitudes, Layout::Plain, Precision::Fp32)?)
        };
        let size = through(values.iter().map(|value| value.abs()).collect())?;
        let off = through(bounds.iter().map(|&bound| bound as f32).collect())?;
        let of_sum =
            |i: usize| gamma(inputs + 4) * (size[i] + f64::from(bias[i % units].abs()) + off[i]) + off[i];
        bounds = (0..expected.len())
            .map(|i| match activation(layer) {
                // As in kernels::elementwise; σ is nowhere steeper than 1/4.
                Activation::Sigmoid => {
                    of_sum(i) / 4.0 + f64::from(SIGMOID_ERROR) * expected[i] + f64::MIN_POSITIVE
                }
                _ => of_sum(i) + UNIT_ROUNDOFF * expected[i].abs(),
            })
            .collect();
        values = expected.iter().map(|&value| value as f32).collect();
    }

    let (input, columns) = (engine.upload(m, k, &input)?, operation.sides[1]);
    let looked_at = |output: &E::Matrix| -> Result<Result<f64, String>> {
        let all = engine.read(output)?;
        let got: Vec<f64> =
            rows.iter().flat_map(|&row| &all[row * columns..(row + 1) * columns]).copied().collect();
        Ok(compare(operation.name, &got, &expected, &bounds))
    };
    let run: Box<dyn Fn() -> Result<E::Matrix>> = if is_product {
        let weights = engine.upload(k, operation.sides[1], &numbers[0].0)?;
        let input = &input;
        Box::new(move || engine.matmul(input, Layout::Plain, &weights, Layout::Plain, Precision::Fp32))
    } else {
        let layers = numbers.into_iter().zip(&sides).enumerate();
        let layers = layers.map(|(layer, ((weights, bias), &[inputs, _]))| {
            DenseLayer::new(inputs, weights, bias, activation(layer))
        });
        let network = DenseNetwork::new(engine, &layers.collect::<Result<Vec<_>>>()?)?;
        let input = &input;
        Box::new(move || network.forward(engine, input))
    };
    match looked_at(&run()?)? {
        Err(problem) => Ok(Err(problem)),
        Ok(worst) => {
            let spread = clock(engine, effort, |times| (0..times).try_for_each(|_| run().map(drop)))?;
            Ok(Ok((worst, spread)))
        }
    }
}
