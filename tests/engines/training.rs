//! The operations that training adds.

use tilegrad::engine::{Head, Update};

use super::*;

/// (m, k): batch and columns.
const BATCHES: &[(usize, usize)] =
    &[(1, 1), (1, 10), (2, 3), (32, 10), (33, 65), (64, 1), (257, 33), (1000, 7), (20_000, 5)];

/// Smallest absolute error worth the name: of results below the normal numbers.
const TINY: f64 = f32::MIN_POSITIVE as f64;

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().copied().map(f64::from).collect()
}

fn within(value: f64, bound: f64) -> Expected {
    Expected { value, bound: bound * (1.0 + 1e-6) }
}

/// Numbers of rows, some of them twice, and not all.
fn some_rows(count: usize, of: usize, source: &mut Source) -> Vec<u32> {
    (0..count).map(|_| source.size(0, of - 1) as u32).collect()
}

/// Rows as they are, bit for bit; scaled ones with the two roundings that the formula has in `f32`.
pub(super) fn gather<E: Engine>(target: &Target<E>) -> Outcome {
    let engine = (target.make)()?;
    for &(m, n) in SHAPES.iter().filter(|(m, n)| m * n <= target.most) {
        for count in [0, 1, 33.min(2 * m), m] {
            let mut source = Source::new((m * 31 + n) as u64);
            let rows = some_rows(count, m, &mut source);
            let x = source.numbers(Data::Reals, m * n);
            let moments = Moments {
                mean: (0..n).map(|j| [0.5, -3.0, 1e6][j % 3]).collect(),
                standard_deviation: (0..n).map(|j| [1.0, 1e-3, 7.0][j % 3]).collect(),
            };
            let (there, scaling) = (engine.upload(m, n, &x)?, engine.scaling(&moments)?);
            let chosen = || rows.iter().flat_map(|&row| x[row as usize * n..][..n].iter().enumerate());
            let plain: Vec<f32> = chosen().map(|(_, value)| *value).collect();
            let place = format!("{m} × {n}, {count} rows");
            same(&place, &values(&engine, &engine.gather(&there, None, &rows)?, (count, n))?, &plain)?;
            let scaled = values(&engine, &engine.gather(&there, Some(&scaling), &rows)?, (count, n))?;
            let column = |j: usize| (moments.mean[j] as f32, moments.standard_deviation[j] as f32);
            if engine.arithmetic() == "loop" {
                let expected: Vec<f32> = chosen()
                    .map(|(j, &value)| {
                        ((f64::from(value) - f64::from(column(j).0)) / f64::from(column(j).1)) as f32
                    })
                    .collect();
                same(&place, &scaled, &expected)?;
            } else {
                let expected: Vec<f32> =
                    chosen().map(|(j, value)| (value - column(j).0) / column(j).1).collect();
                same(&place, &scaled, &expected)?;
            }
        }
    }
    Ok(())
}

/// A row that is not there is refused, wherever it is in the list, and a scaling of another shape.
pub(super) fn gather_of_what_is_not_there<E: Engine>(target: &Target<E>) -> Outcome {
    let engine = (target.make)()?;
    let (x, empty) = (engine.upload(3, 2, &[1.0; 6])?, engine.upload(0, 2, &[])?);
    for (rows, place) in [(vec![3], "row 3 (number 0"), (vec![0, 2, u32::MAX], "(number 2")] {
        match engine.gather(&x, None, &rows) {
            Err(Error::Data(text)) if text.contains(place) && text.contains("x of 3 × 2") => {}
            other => return Err(format!("{rows:?}: {:?}", other.map(drop)).into()),
        }
    }
    if engine.gather(&empty, None, &[0]).is_ok() {
        return Err("a row of none was found".into());
    }
    let wrong = Scaling { mean: engine.upload(3, 1, &[0.0; 3])?, deviation: engine.upload(2, 1, &[1.0; 2])? };
    match engine.gather(&x, Some(&wrong), &[0]) {
        Err(Error::Shape { problem, .. }) if problem.contains("mean is 3 × 1") => Ok(()),
        other => Err(format!("another scaling: {:?}", other.map(drop)).into()),
    }
}

pub(super) fn column_sums<E: Engine>(target: &Target<E>) -> Outcome {
    let engine = (target.make)()?;
    let empty = [(0, 3), (3, 0), (0, 0)];
    for &(m, n) in SHAPES.iter().chain(&empty).filter(|(m, n)| m * n <= target.most) {
        for data in Data::ALL {
            let x = Source::new((m + n) as u64).numbers(data, m * n);
            let sums = engine.column_sums(&engine.upload(m, n, &x)?)?;
            let expected: Vec<_> = (0..n)
                .map(|j| {
                    let column = (0..m).map(|i| f64::from(x[i * n + j]));
                    let magnitude = column.clone().map(f64::abs).sum();
                    // Not `sum`, which begins at −0.
                    Expected::rounded(
                        data,
                        column.fold(0.0, |sum, x| sum + x),
                        magnitude,
                        (target.column_sum)(m, n),
                    )
                })
                .collect();
            let place = format!("{m} × {n}, {}", data.name());
            Tally::default().compare(&place, &values(&engine, &sums, (1, n))?, &expected)?;
        }
    }
    Ok(())
}

/// Exact for the identity and ReLU; for sigmoid dA · (A · (1 − A)) is rounded three times.
pub(super) fn backward<E: Engine>(target: &Target<E>) -> Outcome {
    let engine = (target.make)()?;
    let empty = [(0, 3), (3, 0)];
    for &(m, n) in BATCHES.iter().chain(&empty).filter(|(m, n)| m * n <= target.most) {
        let mut source = Source::new((m * 5 + n) as u64);
        let [output, gradient] = [source.numbers(Data::Reals, m * n), source.numbers(Data::Reals, m * n)];
        for activation in [Activation::Identity, Activation::Relu, Activation::Sigmoid] {
            let output: Vec<f32> = match activation {
                Activation::Sigmoid => output.iter().map(|value| value.abs().fract()).collect(),
                _ => output.clone(),
            };
            let expected: Vec<_> = output
                .iter()
                .zip(&gradient)
                .map(|(&a, &d)| {
                    let (a, d) = (f64::from(a), f64::from(d));
                    match activation {
                        Activation::Identity => Expected::exact(d),
                        Activation::Relu => Expected::exact(if a > 0.0 { d } else { 0.0 }),
                        Activation::Sigmoid => {
                            let value = d * (a * (1.0 - a));
                            within(value, gamma(3) * value.abs() + TINY)
                        }
                    }
                })
                .collect();
            let back = engine.backward(
                activation,
                &engine.upload(m, n, &output)?,
                engine.upload(m, n, &gradient)?,
            )?;
            let place = format!("{m} × {n}, {activation}");
            Tally::default().compare(&place, &values(&engine, &back, (m, n))?, &expected)?;
        }
    }
    // Where ReLU is shut nothing comes through, not even what is beyond the numbers.
    let output = engine.upload(1, 6, &[0.0, -0.0, 1e-45, 3.0, 0.0, f32::NAN])?;
    let gradient = engine.upload(1, 6, &[f32::INFINITY, f32::NAN, -2.0, f32::INFINITY, 1.0, 1.0])?;
    let back = values(&engine, &engine.backward(Activation::Relu, &output, gradient)?, (1, 6))?;
    same("ReLU", &back, &[0.0, 0.0, -2.0, f32::INFINITY, 0.0, 0.0])
}

/// A head's z and y of this shape, with small integers or reals.
fn judged(head: Head, data: Data, (m, k): (usize, usize)) -> [Vec<f32>; 2] {
    let mut source = Source::new((m * 13 + k) as u64);
    let z = source.numbers(data, m * k);
    let y = match head {
        Head::Identity => source.numbers(data, m * k),
        Head::Sigmoid => source.numbers(data, m * k).iter().map(|value| value.abs().min(1.0)).collect(),
        Head::Softmax => (0..m).map(|_| source.size(0, k - 1) as f32).collect(),
    };
    [z, y]
}

/// A row's ŷ with its bound, and ln Σeᶻ of what is below the maximum with its own.
fn softmax<T>(target: &Target<T>, row: &[f64]) -> (Vec<Expected>, Expected) {
    let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let below: Vec<f64> = row.iter().map(|z| largest - z).collect();
    let sum: f64 = below.iter().map(|below| (-below).exp()).sum();
    // Of a power: its own error, and the difference's rounding, which a power makes relative.
    let off = |below: f64| target.sigmoid + UNIT_ROUNDOFF * below;
    let mean: f64 = below.iter().map(|&below| (-below).exp() / sum * off(below)).sum();
    let depth = gamma((target.dot)(row.len()) + 3);
    let share = |&below: &f64| {
        let value = (-below).exp() / sum;
        within(value, value * (off(below) + mean + depth) + TINY)
    };
    (below.iter().map(share).collect(), within(sum.ln(), mean + depth * (1.0 + sum.ln())))
}

/// ŷ of z, each with its bound, and the cost of a sample with its own; `label` gives y of a column.
fn row_of_head<T>(
    target: &Target<T>,
    head: Head,
    z: &[f64],
    y: &[f64],
) -> (Vec<Expected>, Vec<f64>, Expected) {
    match head {
        Head::Identity => {
            let predictions = z.iter().map(|&z| Expected::exact(z)).collect();
            let cost: f64 = z.iter().zip(y).map(|(z, y)| Loss::SquaredError.cost(*z, *y)).sum();
            (predictions, y.to_vec(), within(cost, gamma((target.dot)(z.len()) + 4) * cost))
        }
        Head::Sigmoid => {
            let sigmoid = |&z: &f64| {
                let value = Loss::LogLoss.prediction(z);
                within(value, (target.sigmoid + UNIT_ROUNDOFF) * value + TINY)
            };
            let costs = z.iter().zip(y).map(|(&z, &y)| {
                let magnitude = z.max(0.0) + (y * z).abs() + (-z.abs()).exp().ln_1p();
                (Loss::LogLoss.cost(z, y), magnitude)
            });
            let (cost, magnitude) = costs.fold((0.0, 0.0), |sum, cost| (sum.0 + cost.0, sum.1 + cost.1));
            let bound = (gamma((target.dot)(z.len()) + 8) + target.sigmoid) * magnitude;
            (z.iter().map(sigmoid).collect(), y.to_vec(), within(cost, bound))
        }
        Head::Softmax => {
            let (predictions, logarithm) = softmax(target, z);
            let class = y[0] as usize;
            let largest = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let below = largest - z[class];
            let one = (0..z.len()).map(|j| if j == class { 1.0 } else { 0.0 }).collect();
            (
                predictions,
                one,
                within(logarithm.value + below, logarithm.bound + gamma(3) * (below + logarithm.value)),
            )
        }
    }
}

const HEADS: [Head; 3] = [Head::Identity, Head::Sigmoid, Head::Softmax];

/// e, J and ŷ of each head. With integers and m a power of two, the identity's are exact.
pub(super) fn heads<E: Engine>(target: &Target<E>) -> Outcome {
    let engine = (target.make)()?;
    for &(m, k) in BATCHES.iter().filter(|(m, k)| m * k <= target.most) {
        for (head, data) in HEADS.into_iter().flat_map(|head| Data::ALL.map(|data| (head, data))) {
            let [z, y] = judged(head, data, (m, k));
            let columns = head.target_columns(k);
            let there = engine.upload(m, columns, &y)?;
            let mut costs = engine.upload(3, 1, &[-1.0, -2.0, -3.0])?;
            let error = engine.output_error(head, engine.upload(m, k, &z)?, &there, &mut costs, 1)?;
            let predictions = engine.predictions(head, engine.upload(m, k, &z)?)?;
            let (z, y, samples) = (wide(&z), wide(&y), m as f64);
            let (mut expected_errors, mut expected_predictions) = (Vec::new(), Vec::new());
            let (mut cost, mut bound) = (0.0, 0.0);
            for (z, y) in z.chunks(k).zip(y.chunks(columns)) {
                let (predictions, targets, share) = row_of_head(target, head, z, y);
                for (prediction, y) in predictions.iter().zip(targets) {
                    let error = (prediction.value - y) / samples;
                    expected_errors
                        .push(within(error, prediction.bound / samples + gamma(3) * error.abs() + TINY));
                }
                expected_predictions.extend(predictions);
                (cost, bound) = (cost + share.value, bound + share.bound);
            }
            let depth = (target.dot)(m).max((target.column_sum)(m, k)) + 3;
            bound = bound + gamma(depth) * (cost + bound) + TINY;
            let place = format!("{m} × {k}, {head}, {}", data.name());
            let exact = head == Head::Identity && data == Data::Integers && m.is_power_of_two();
            if exact {
                expected_errors.iter_mut().for_each(|expected| expected.bound = 0.0);
                bound = 0.0;
            }
            Tally::default().compare(&place, &values(&engine, &error, (m, k))?, &expected_errors)?;
            Tally::default().compare(
                &place,
                &values(&engine, &predictions, (m, k))?,
                &expected_predictions,
            )?;
            let costs = values(&engine, &costs, (3, 1))?;
            let around =
                [Expected::exact(-1.0), within(cost / samples, bound / samples), Expected::exact(-3.0)];
            Tally::default().compare(&format!("{place}, costs"), &costs, &around)?;
        }
    }
    Ok(())
}

/// z as large as there is overflows nothing; costs grow as z does, and small ones are not lost.
pub(super) fn heads_far_out<E: Engine>(target: &Target<E>) -> Outcome {
    let engine = (target.make)()?;
    let judge = |head: Head, z: &[f32], y: &[f32]| -> std::result::Result<(Vec<f32>, f64), Failed> {
        let mut costs = engine.upload(1, 1, &[f32::NAN])?;
        let there = engine.upload(1, y.len(), y)?;
        let error = engine.output_error(head, engine.upload(1, z.len(), z)?, &there, &mut costs, 0)?;
        Ok((values(&engine, &error, (1, z.len()))?, engine.read(&costs)?[0]))
    };
    for far in [1e3_f32, 1e10, 1e30] {
        for (head, z, y, errors, cost) in [
            (Head::Softmax, vec![far, -far, 0.0], 0.0, vec![0.0, 0.0, 0.0], 0.0),
            (Head::Softmax, vec![far, 0.0, -far], 1.0, vec![1.0, -1.0, 0.0], f64::from(far)),
            (Head::Sigmoid, vec![far], 1.0, vec![0.0], 0.0),
            (Head::Sigmoid, vec![far], 0.0, vec![1.0], f64::from(far)),
            (Head::Sigmoid, vec![-far], 1.0, vec![-1.0], f64::from(far)),
        ] {
            let got = judge(head, &z, &[y])?;
            if got != (errors.clone(), cost) {
                return Err(format!("{head} of {z:?}, {y}: {got:?}, expected {errors:?}, {cost}").into());
            }
        }
    }
    // ln(1 + e⁻ᵈ) keeps its digits down to one unit of `f32` beside 1.
    for (head, z, y) in [(Head::Softmax, vec![10.0, 0.0], 0.0), (Head::Sigmoid, vec![10.0], 1.0)] {
        let (cost, expected) = (judge(head, &z, &[y])?.1, (-10.0_f64).exp().ln_1p());
        if !((cost - expected).abs() <= (gamma(16) + target.sigmoid) * expected + UNIT_ROUNDOFF) {
            return Err(format!("{head}: a small cost is {cost:e}, expected {expected:e}").into());
        }
    }
    Ok(())
}

/// A label without a cost makes the cost NaN, and its element of e, or its row for softmax, and no other.
pub(super) fn labels_that_are_no_class<E: Engine>(target: &Target<E>) -> Outcome {
    let engine = (target.make)()?;
    let none = [-1.0, 3.0, 0.5, 1e30, f32::NAN, f32::INFINITY];
    let outside = [-0.001, 1.001, f32::NAN, f32::INFINITY];
    let (softmax, sigmoid) =
        (none.map(|label| (Head::Softmax, label)), outside.map(|label| (Head::Sigmoid, label)));
    for (head, wrong) in softmax.into_iter().chain(sigmoid) {
        let columns = head.target_columns(3);
        let mut y = vec![1.0; 2 * columns];
        y[columns] = wrong;
        let (z, y) = (engine.upload(2, 3, &[1.0, 2.0, 3.0, 3.0, 2.0, 1.0])?, engine.upload(2, columns, &y)?);
        let mut costs = engine.upload(1, 1, &[0.0])?;
        let error = values(&engine, &engine.output_error(head, z, &y, &mut costs, 0)?, (2, 3))?;
        let nan = error.iter().map(|error| error.is_nan()).collect::<Vec<_>>();
        let rest = head == Head::Softmax;
        if nan != [false, false, false, true, rest, rest] || !engine.read(&costs)?[0].is_nan() {
            return Err(
                format!("{head}, a label of {wrong}: {error:?}, cost {:?}", engine.read(&costs)?).into()
            );
        }
    }
    Ok(())
}

/// Parameters, gradient and states after a step, each with its bound.
fn stepped(rule: Update, w: f64, gradient: f64, state: [f64; 2]) -> [Expected; 3] {
    let after = |value: f64, off: f64| within(value, off + UNIT_ROUNDOFF * value.abs() + TINY);
    let none = Expected::exact(0.0);
    // The rates are rounded to `f32` too.
    match rule {
        Update::Descent { learning_rate, l2 } => {
            let magnitude = learning_rate * (gradient.abs() + l2 * w.abs());
            [after(w - learning_rate * (gradient + l2 * w), gamma(6) * magnitude), none, none]
        }
        Update::Momentum { learning_rate, momentum, l2 } => {
            let magnitude = momentum * state[0].abs() + gradient.abs() + l2 * w.abs();
            let v = after(momentum * state[0] + gradient + l2 * w, gamma(5) * magnitude);
            let off = learning_rate * (v.bound + gamma(3) * v.value.abs());
            [after(w - learning_rate * v.value, off), v, none]
        }
        Update::Adam { learning_rate, beta1, beta2, epsilon, step, l2 } => {
            let (g, magnitude) = (gradient + l2 * w, gradient.abs() + l2 * w.abs());
            let m = beta1 * state[0] + (1.0 - beta1) * g;
            let m = after(m, gamma(6) * (beta1 * state[0].abs() + (1.0 - beta1) * magnitude));
            let v = beta2 * state[1] + (1.0 - beta2) * g * g;
            let v = after(v, gamma(10) * (beta2 * state[1] + (1.0 - beta2) * magnitude * magnitude));
            let [first, second] = [beta1, beta2].map(|beta| 1.0 - beta.powf(step as f64));
            let divisor = (v.value / second).sqrt() + epsilon;
            let divisor_off = v.bound / (v.value * second).sqrt() + gamma(6) * divisor;
            let change = learning_rate * (m.value / first) / divisor;
            let off = learning_rate * (m.bound / first) / divisor + change.abs() * divisor_off / divisor;
            [after(w - change, 1.01 * off + gamma(6) * change.abs()), m, v]
        }
    }
}

const RULES: [Update; 6] = [
    Update::Descent { learning_rate: 0.1, l2: 0.0 },
    Update::Descent { learning_rate: 0.03, l2: 0.7 },
    Update::Momentum { learning_rate: 0.1, momentum: 0.9, l2: 0.0 },
    Update::Momentum { learning_rate: 0.03, momentum: 0.5, l2: 0.7 },
    Update::Adam { learning_rate: 1e-3, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, step: 1, l2: 0.0 },
    Update::Adam { learning_rate: 0.1, beta1: 0.8, beta2: 0.95, epsilon: 1e-3, step: 1000, l2: 0.3 },
];

pub(super) fn update<E: Engine>(target: &Target<E>) -> Outcome {
    let engine = (target.make)()?;
    let shapes = [(0, 3), (1, 1), (3, 5), (64, 33), (257, 64), (601, 331)];
    for (m, n) in shapes.into_iter().filter(|(m, n)| m * n <= target.most) {
        for rule in RULES {
            let mut source = Source::new((m + 3 * n) as u64);
            let [w, gradient, first, second] = [(); 4].map(|()| source.numbers(Data::Reals, m * n));
            // Sums of squares are not negative.
            let second: Vec<f32> = second.into_iter().map(f32::abs).collect();
            let states = [&first, &second];
            let mut there = engine.upload(m, n, &w)?;
            let mut state: Vec<_> = states[..rule.states()]
                .iter()
                .map(|values| engine.upload(m, n, values))
                .collect::<Result<_>>()?;
            engine.update(rule, &mut there, &engine.upload(m, n, &gradient)?, &mut state)?;
            let at = |i: usize| {
                let [w, gradient, first, second] =
                    [&w, &gradient, &first, &second].map(|values| f64::from(values[i]));
                stepped(rule, w, gradient, [first, second])
            };
            for (which, matrix) in std::iter::once(&there).chain(&state).enumerate() {
                let expected: Vec<_> = (0..m * n).map(|i| at(i)[which]).collect();
                let place = format!("{m} × {n}, {rule:?}, {which}");
                Tally::default().compare(&place, &values(&engine, matrix, (m, n))?, &expected)?;
            }
        }
    }
    Ok(())
}

/// Small integers, with rates that are powers of two: nothing is rounded.
pub(super) fn update_exactly<E: Engine>(target: &Target<E>) -> Outcome {
    let engine = (target.make)()?;
    let mut source = Source::new(4);
    let [w, gradient, v] = [(); 3].map(|()| source.numbers(Data::Integers, 33 * 17));
    let run = |rule: Update| -> std::result::Result<Vec<f32>, Failed> {
        let mut there = engine.upload(33, 17, &w)?;
        let mut state = Vec::new();
        if rule.states() == 1 {
            state.push(engine.upload(33, 17, &v)?);
        }
        let gradient = engine.upload(33, 17, &gradient)?;
        engine.update(rule, &mut there, &gradient, &mut state)?;
        engine.update(rule, &mut there, &gradient, &mut state)?;
        values(&engine, &there, (33, 17))
    };
    let twice = |step: fn(f32, f32, f32) -> (f32, f32)| -> Vec<f32> {
        let both = |((&w, &gradient), &v): ((&f32, &f32), &f32)| {
            let (w, v) = step(w, gradient, v);
            step(w, gradient, v).0
        };
        w.iter().zip(&gradient).zip(&v).map(both).collect()
    };
    let descent = run(Update::Descent { learning_rate: 0.5, l2: 2.0 })?;
    same("descent", &descent, &twice(|w, g, v| (w - 0.5 * (g + 2.0 * w), v)))?;
    let momentum = run(Update::Momentum { learning_rate: 0.25, momentum: 0.5, l2: 1.0 })?;
    same(
        "momentum",
        &momentum,
        &twice(|w, g, v| {
            let v = 0.5 * v + g + w;
            (w - 0.25 * v, v)
        }),
    )
}

pub(super) fn wrong_shapes_in_training<E: Engine>(target: &Target<E>) -> Outcome {
    let engine = (target.make)()?;
    let make = |rows: usize, columns: usize| engine.upload(rows, columns, &vec![0.5; rows * columns]);
    let refused = |what: &str, outcome: Result<()>, shapes: &[&str]| match outcome {
        Err(Error::Shape { problem, .. }) if shapes.iter().all(|shape| problem.contains(shape)) => Ok(()),
        other => Err(Failed::from(format!("{what}: {other:?} does not say {shapes:?}"))),
    };
    let judge = |head: Head, z: E::Matrix, y: E::Matrix, mut costs: E::Matrix, at: usize| {
        engine.output_error(head, z, &y, &mut costs, at).map(drop)
    };
    for (head, y, asked) in [
        (Head::Identity, make(4, 1)?, "4 × 3"),
        (Head::Sigmoid, make(3, 3)?, "4 × 3"),
        (Head::Softmax, make(4, 3)?, "4 × 1"),
    ] {
        let shape = engine.shape(&y);
        let got = format!("y is {} × {}", shape.0, shape.1);
        refused("y", judge(head, make(4, 3)?, y, make(1, 1)?, 0), &[&got, asked])?;
    }
    let y = || make(4, 3);
    refused("costs, at", judge(Head::Identity, y()?, y()?, make(2, 1)?, 2), &["2 × 1", "row 2"])?;
    refused("costs, lying", judge(Head::Identity, y()?, y()?, make(1, 2)?, 0), &["1 × 2"])?;
    refused("no rows", judge(Head::Identity, make(0, 3)?, make(0, 3)?, make(1, 1)?, 0), &["0 × 3"])?;
    refused("no columns", judge(Head::Softmax, make(4, 0)?, make(4, 1)?, make(1, 1)?, 0), &["4 × 0"])?;
    let back = engine.backward(Activation::Relu, &make(4, 3)?, make(3, 4)?).map(drop);
    refused("backward", back, &["3 × 4", "4 × 3"])?;

    let update = |rule: Update, gradient: E::Matrix, mut state: Vec<E::Matrix>| -> Result<()> {
        let mut w = make(2, 3)?;
        let outcome = engine.update(rule, &mut w, &gradient, &mut state);
        assert_eq!(engine.read(&w)?, [0.5; 6], "what was refused changed something");
        outcome
    };
    let [descent, _, momentum, _, adam, _] = RULES;
    refused("update", update(descent, make(3, 2)?, vec![]), &["3 × 2", "2 × 3"])?;
    refused("a state too many", update(descent, make(2, 3)?, vec![make(2, 3)?]), &["1 states", "keeps 0"])?;
    refused("no state", update(momentum, make(2, 3)?, vec![]), &["0 states", "keeps 1"])?;
    refused("another state", update(momentum, make(2, 3)?, vec![make(3, 2)?]), &["3 × 2", "2 × 3"])?;
    refused("the second", update(adam, make(2, 3)?, vec![make(2, 3)?, make(2, 1)?]), &["2 × 1", "2 × 3"])?;
    let zero = Update::Adam { learning_rate: 0.1, beta1: 0.9, beta2: 0.9, epsilon: 0.1, step: 0, l2: 0.0 };
    match update(zero, make(2, 3)?, vec![make(2, 3)?, make(2, 3)?]) {
        Err(Error::Setting(text)) if text.contains("counted from 1") => Ok(()),
        other => Err(format!("step 0: {other:?}").into()),
    }
}

/// The bits of every operation on one problem.
pub(super) fn all_training<E: Engine>(engine: &E, (m, k): (usize, usize)) -> Result<Vec<Vec<u64>>> {
    let bits = |matrix: &E::Matrix| -> Result<Vec<u64>> {
        Ok(engine.read(matrix)?.into_iter().map(f64::to_bits).collect())
    };
    let mut results = Vec::new();
    for head in HEADS {
        let [z, y] = judged(head, Data::Reals, (m, k));
        let (x, y) = (engine.upload(m, k, &z)?, engine.upload(m, head.target_columns(k), &y)?);
        let mut costs = engine.upload(1, 1, &[0.0])?;
        let error = engine.output_error(head, engine.upload(m, k, &z)?, &y, &mut costs, 0)?;
        results.extend([bits(&error)?, bits(&costs)?, bits(&engine.column_sums(&x)?)?]);
        results.push(bits(&engine.predictions(head, engine.upload(m, k, &z)?)?)?);
        results.push(bits(&engine.backward(Activation::Sigmoid, &x, error)?)?);
    }
    let [w, gradient] = judged(Head::Identity, Data::Reals, (m, k));
    let gradient = engine.upload(m, k, &gradient)?;
    for rule in RULES {
        let mut w = engine.upload(m, k, &w)?;
        let zeros = || engine.upload(m, k, &vec![0.0; m * k]);
        let mut state = (0..rule.states()).map(|_| zeros()).collect::<Result<Vec<_>>>()?;
        engine.update(rule, &mut w, &gradient, &mut state)?;
        results.push(bits(&w)?);
    }
    let rows = some_rows(m, m, &mut Source::new(9));
    let scaling = engine.scaling(&Moments { mean: vec![0.25; k], standard_deviation: vec![3.0; k] })?;
    results.push(bits(&engine.gather(&gradient, Some(&scaling), &rows)?)?);
    Ok(results)
}

pub(super) fn training_is_repeatable<E: Engine>(target: &Target<E>) -> Outcome {
    let engine = (target.make)()?;
    for shape in [(1, 1), (33, 65), (257, 33)] {
        if all_training(&engine, shape)? != all_training(&engine, shape)? {
            return Err(format!("{shape:?}: two runs differ").into());
        }
    }
    Ok(())
}
