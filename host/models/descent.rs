//! Descent, whatever the model: in batches of steps, watched for divergence.

use std::time::{Duration, Instant};

use super::checkpoint::{Checkpoint, Writer};
use super::training::Ending;
use crate::engine::{Descended, Engine, Loss, Objective, Scaling};
use crate::{Error, Result};

/// Batches grow until one takes this long: often enough for a person who watches.
const BATCH_TIME: Duration = Duration::from_millis(50);
/// The most steps of a batch: engines keep the cost of each.
const LARGEST_BATCH: usize = 4096;
/// A cost this many times the lowest before it is divergence. Descent with a rate that is small enough never raises
/// the cost of these models, so anything well above rounding would do.
const GROWTH: f64 = 2.0;
/// Below this share of the first cost, costs are rounding errors, which may grow.
const NOISE: f64 = 1e-6;
/// Descent that ends this share of the lowest cost above it has diverged too, only slowly; see also [`SETTLED`].
const RISE: f64 = 0.01;
/// Below this share of the first cost, a rise at the end may be rounding errors.
const SETTLED: f64 = 1e-4;
/// Rounds of the power iteration: at least so many that an eigenvalue twice the others cannot hide, at most so many.
const ROUNDS: std::ops::Range<usize> = 20..200;
/// The power iteration ends when a round changes the eigenvalue by less than this share.
const CHANGE: f64 = 1e-4;

/// How far descent has come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Steps that have been done.
    pub iteration: usize,
    /// Steps to do.
    pub iterations: usize,
    /// The cost before the last step.
    pub cost: f64,
}

/// The first iteration whose cost shows divergence.
#[derive(Debug, PartialEq)]
pub(super) struct Growth {
    pub iteration: usize,
    pub first_cost: f64,
    pub cost: f64,
}

/// Costs, as they come, and whether they still fall.
#[derive(Default)]
pub(super) struct History {
    costs: Vec<f64>,
    lowest: f64,
}

impl History {
    /// An empty one, with room for the costs before each of `iterations` steps and after the last.
    fn new(iterations: usize) -> Result<Self> {
        let mut costs = Vec::new();
        if costs.try_reserve_exact(iterations.saturating_add(1)).is_err() {
            return Err(Error::Setting(format!(
                "there is no memory for the costs of {iterations} iterations: choose fewer"
            )));
        }
        Ok(History { costs, lowest: 0.0 })
    }

    /// Takes the costs of the next iterations; the first that shows divergence is an error.
    ///
    /// That is a cost that is not finite, or more than [`GROWTH`] times the lowest before it or the [`NOISE`] share of
    /// the first one.
    pub(super) fn extend(&mut self, costs: &[f64]) -> Result<(), Growth> {
        for &cost in costs {
            let first_cost = *self.costs.first().unwrap_or(&cost);
            if self.costs.is_empty() {
                self.lowest = cost;
            }
            let bound = GROWTH * self.lowest.max(NOISE * first_cost) + f64::from(f32::MIN_POSITIVE);
            // Written so that NaN is caught.
            if !(cost <= bound && cost.is_finite()) {
                return Err(Growth { iteration: self.costs.len(), first_cost, cost });
            }
            self.lowest = self.lowest.min(cost);
            self.costs.push(cost);
        }
        Ok(())
    }

    /// All costs. An error if they end well above the lowest: divergence too slow for [`History::extend`] to see, with
    /// the first iteration since which they are.
    pub(super) fn into_costs(self) -> Result<Vec<f64>, Growth> {
        let first_cost = self.costs.first().copied().unwrap_or(0.0);
        let bound =
            self.lowest + (RISE * self.lowest).max(SETTLED * first_cost) + f64::from(f32::MIN_POSITIVE);
        let iteration = self.costs.iter().rposition(|cost| *cost <= bound).map_or(0, |lower| lower + 1);
        match self.costs.get(iteration) {
            Some(&cost) => Err(Growth { iteration, first_cost, cost }),
            None => Ok(self.costs),
        }
    }
}

/// A model's parameters on an engine, and the way down.
pub(super) trait Descent<E: Engine> {
    /// The parameters, each with its name in checkpoints.
    fn parameters(&mut self) -> Vec<(String, &mut E::Matrix)>;

    /// Does `count` steps; gives the cost and the gradient's length before each.
    fn steps(&mut self, count: usize) -> Result<Descended>;
}

/// Does `iterations` steps in batches, from the start or from a checkpoint, and stops at the first batch that diverged, or
/// at the first step before which the gradient is no longer than `tolerance`.
///
/// How steps are put into batches depends on checkpoints and on the time that they take; what they compute does not. That
/// holds for where they end too: of a batch with a step that is not to be done, those before it are done again.
pub(super) fn descend<E: Engine>(
    engine: &E,
    descent: &mut impl Descent<E>,
    (iterations, tolerance): (usize, Option<f64>),
    checkpoints: Option<(Writer, Option<Checkpoint>)>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Result<(History, Ending), Growth>> {
    let mut history = History::new(iterations)?;
    let (mut writer, found) = checkpoints.unzip();
    if let (Some(writer), Some(found)) = (&writer, found.flatten()) {
        writer.restore(engine, descent, &found)?;
        if let Err(growth) = history.extend(found.costs()) {
            return Err(writer.damaged(format_args!(
                "its costs rise to {} at iteration {}",
                growth.cost, growth.iteration
            )));
        }
    }
    let mut batch = 1;
    let mut ending = None;
    loop {
        let done = history.costs.len();
        if done == iterations {
            ending = ending.or(Some(Ending::Epochs));
        }
        if let Some(writer) = &mut writer
            && writer.is_due(done, if ending.is_some() { done } else { iterations })
        {
            writer.write(engine, descent, &history.costs)?;
        }
        if let Some(ending) = ending {
            return Ok(Ok((history, ending)));
        }
        let left = writer.as_ref().map_or(usize::MAX, |writer| writer.steps_left(done));
        let count = batch.min(iterations - done).min(left);
        let start = Instant::now();
        let before = tolerance.map(|_| parameters(engine, descent)).transpose()?;
        let Descended { mut costs, gradient_norms } = descent.steps(count)?;
        let short = |norm: &f64| tolerance.is_some_and(|tolerance| *norm <= tolerance);
        let last = gradient_norms.iter().position(short);
        if let Some(last) = last {
            costs.truncate(last);
        }
        if let Err(growth) = history.extend(&costs) {
            return Ok(Err(growth));
        }
        if let (Some(last), Some(before)) = (last, before) {
            for ((_, matrix), values) in descent.parameters().into_iter().zip(before) {
                let (rows, columns) = engine.shape(matrix);
                *matrix = engine.restore(rows, columns, &values)?;
            }
            descent.steps(last)?;
            ending = Some(Ending::Tolerance);
        }
        if let Some(&cost) = costs.last() {
            progress(Progress { iteration: history.costs.len(), iterations, cost });
        }
        if start.elapsed() < BATCH_TIME {
            batch = (2 * batch).min(LARGEST_BATCH);
        }
    }
}

/// The parameters' values.
fn parameters<E: Engine>(engine: &E, descent: &mut impl Descent<E>) -> Result<Vec<Vec<f64>>> {
    descent.parameters().into_iter().map(|(_, matrix)| engine.read(matrix)).collect()
}

/// A learning rate with which descent converges on `x` (samples × features): about 1/(cλ + l2), in two digits, where λ is the
/// largest eigenvalue of AᵀA/m and A is X, scaled, with a column of ones for the bias. c is the largest second derivative of
/// a sample's loss by z: 1 for the squared error, 1/4 for the log loss. (J's curvature is at most cλ + l2, so any rate
/// below twice that lowers it in each step. For the squared error that is also the limit: beyond it the error along λ's
/// eigenvector grows.) `None` if λ is not a number that is finite.
///
/// λ is found by power iteration with the engine's own products, from a fixed start, and so from below.
pub(super) fn rate_that_would_do<E: Engine>(
    engine: &E,
    x: &E::Matrix,
    scaling: Option<&Scaling<E::Matrix>>,
    Objective { loss, l2 }: Objective,
) -> Result<Option<f64>> {
    let (samples, features) = engine.shape(x);
    let ones = engine.upload(samples, 1, &vec![1.0; samples])?;
    // Not symmetric, so that no eigenvector is likely to be at a right angle to it.
    let mut vector: Vec<f64> = (0..=features).map(|j| 1.0 + (j as f64 * 0.618_034).fract()).collect();
    let mut eigenvalue = 0.0;
    for round in 0..ROUNDS.end {
        let norm = vector.iter().map(|v| v * v).sum::<f64>().sqrt();
        if !(norm.is_finite() && norm > 0.0) {
            return Ok(None);
        }
        let unit: Vec<f32> = vector.iter().map(|v| (v / norm) as f32).collect();
        let weights = engine.upload(features, 1, &unit[..features])?;
        let bias = engine.upload(1, 1, &unit[features..])?;
        let image = engine.matrix_vector(x, scaling, &weights, &bias)?;
        let next = [
            engine.read(&engine.gradient(x, scaling, &image)?)?,
            engine.read(&engine.gradient(&ones, None, &image)?)?,
        ]
        .concat();
        let before = eigenvalue;
        eigenvalue = next.iter().map(|v| v * v).sum::<f64>().sqrt();
        vector = next;
        if round >= ROUNDS.start && (eigenvalue - before).abs() <= CHANGE * eigenvalue {
            break;
        }
    }
    let curvature = match loss {
        Loss::SquaredError => 1.0,
        Loss::LogLoss => 0.25,
    };
    let limit = two_digits(1.0 / (curvature * eigenvalue + l2));
    Ok((limit.is_finite() && limit >= f64::from(f32::MIN_POSITIVE)).then_some(limit))
}

/// `value` > 0 with two decimal digits, rounded down.
fn two_digits(value: f64) -> f64 {
    if !(value.is_finite() && value > 0.0) {
        return value;
    }
    let exponent = value.log10().floor() as i32 - 1;
    let digits = (value / 10_f64.powi(exponent)).floor();
    // Through text, so that 0.24 is not 0.24000000000000002.
    format!("{digits}e{exponent}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{HostMatrix, Loop};

    /// Steps of which only the costs are known.
    struct Costs<F>(F);

    impl<F: FnMut(usize) -> Vec<f64>> Descent<Loop> for Costs<F> {
        fn parameters(&mut self) -> Vec<(String, &mut HostMatrix<f64>)> {
            Vec::new()
        }

        fn steps(&mut self, count: usize) -> Result<Descended> {
            let costs = (self.0)(count);
            Ok(Descended { gradient_norms: vec![1.0; costs.len()], costs })
        }
    }

    fn watch(costs: &[f64]) -> Result<Vec<f64>, Growth> {
        let mut history = History::default();
        history.extend(costs)?;
        history.into_costs()
    }

    #[test]
    fn falling_costs_and_rounding_noise_are_not_divergence() {
        assert!(watch(&[4.0, 3.0, 3.0, 2.0, 2.01]).is_ok());
        assert!(watch(&[1.0, 1e-9, 3e-9, 1e-13, 9e-8]).is_ok());
        assert!(watch(&[0.0, 0.0, 1e-45]).is_ok());
    }

    #[test]
    fn the_first_cost_that_grows_or_is_no_number_is_found() {
        let found = |costs: &[f64]| watch(costs).unwrap_err().iteration;
        assert_eq!(found(&[1.0, 9.0]), 1);
        assert_eq!(found(&[9.0, 4.0, 2.0, 4.1, 100.0]), 3);
        assert_eq!(found(&[9.0, f64::NAN, 1.0]), 1);
        assert_eq!(found(&[f64::INFINITY]), 0);
    }

    #[test]
    fn slow_growth_is_found_at_the_end() {
        let slow: Vec<f64> = (0..50).map(|i| 10.0 * 1.001_f64.powi(i)).collect();
        let found = watch(&slow).unwrap_err();
        assert_eq!((found.iteration, found.first_cost), (10, 10.0));
        assert_eq!(watch(&[100.0, 2.0, 1.0, 1.005, 1.02, 1.03]).unwrap_err().iteration, 4);
        assert!(watch(&[100.0, 2.0, 1.0, 1.02, 1.005]).is_ok(), "it fell again");
        assert!(watch(&[1e6, 2.0, 1.0, 1.5]).is_ok(), "rounding");
    }

    #[test]
    fn more_costs_than_memory_are_refused() {
        let refused = descend(&Loop, &mut Costs(|_| unreachable!()), (usize::MAX, None), None, &mut |_| ());
        assert!(refused.err().unwrap().to_string().contains("choose fewer"));
    }

    #[test]
    fn batches_make_up_the_iterations_whatever_their_sizes() {
        let (mut next, mut last) = (0.0, 0);
        let mut costs = Costs(|steps| {
            let costs = (0..steps).map(|i| 1.0 / (1.0 + next + i as f64)).collect();
            next += steps as f64;
            costs
        });
        let history = descend(&Loop, &mut costs, (10_000, None), None, &mut |progress| {
            assert!(progress.iteration > last && progress.iterations == 10_000);
            last = progress.iteration;
        });
        let costs = history.unwrap().unwrap().0.into_costs().unwrap();
        assert_eq!((costs.len(), last), (10_000, 10_000));
        assert!(costs.windows(2).all(|pair| pair[1] < pair[0]));
    }

    /// Descent of w²/2 by hand, with a gradient of the length |w|.
    struct Parabola(HostMatrix<f64>);

    impl Descent<Loop> for Parabola {
        fn parameters(&mut self) -> Vec<(String, &mut HostMatrix<f64>)> {
            vec![("w".to_owned(), &mut self.0)]
        }

        fn steps(&mut self, count: usize) -> Result<Descended> {
            let mut descended = Descended::default();
            for _ in 0..count {
                let w = self.0.values()[0];
                descended.costs.push(w * w / 2.0);
                descended.gradient_norms.push(w.abs());
                self.0.values_mut()[0] = w / 2.0;
            }
            Ok(descended)
        }
    }

    #[test]
    fn the_tolerance_ends_descent_before_the_first_step_that_is_not_needed() {
        let ends = |tolerance, iterations| {
            let mut descent = Parabola(Loop.upload(1, 1, &[1.0]).unwrap());
            let run = descend(&Loop, &mut descent, (iterations, Some(tolerance)), None, &mut |_| ());
            let (history, ending) = run.unwrap().unwrap();
            (history.costs.len(), ending, descent.0.values()[0])
        };
        // Within batches of 1, 2, 4, 8 and 16 steps, at their begin, within them and at their end.
        for steps in 0..20 {
            let w = 0.5_f64.powi(steps);
            assert_eq!(ends(w, 100), (steps as usize, Ending::Tolerance, w));
            assert_eq!(ends(1.5 * w, 100), (steps as usize, Ending::Tolerance, w));
        }
        assert_eq!(ends(1e-9, 7), (7, Ending::Epochs, 0.5_f64.powi(7)));
    }

    #[test]
    fn batches_double_up_to_the_largest_while_they_are_fast() {
        /// The batches' sizes, if each takes as long as `wait` does, and what is said after each.
        fn batches(iterations: usize, wait: fn()) -> (Vec<usize>, Vec<(usize, f64)>) {
            let (mut sizes, mut said) = (Vec::new(), Vec::new());
            let mut costs = Costs(|steps| {
                wait();
                sizes.push(steps);
                vec![1.0; steps - 1].into_iter().chain([0.75]).collect()
            });
            let progress = &mut |progress: Progress| said.push((progress.iteration, progress.cost));
            descend(&Loop, &mut costs, (iterations, None), None, progress).unwrap().unwrap();
            (sizes, said)
        }
        let (sizes, said) = batches(50_000, || ());
        let (last, full) = sizes.split_last().unwrap();
        assert_eq!((sizes[0], full.iter().max()), (1, Some(&LARGEST_BATCH)), "{sizes:?}");
        // A batch that is not larger than the one before means that this machine was busy with other work.
        for pair in full.windows(2) {
            assert!(pair[1] == pair[0] || pair[1] == (2 * pair[0]).min(LARGEST_BATCH), "{sizes:?}");
        }
        assert!(*last <= 2 * full[full.len() - 1]);
        let mut done = 0;
        for (size, said) in sizes.iter().zip(said) {
            done += size;
            assert_eq!(said, (done, 0.75));
        }
        assert_eq!(batches(3, || std::thread::sleep(BATCH_TIME)).0, [1, 1, 1]);
    }

    #[test]
    fn the_rate_is_one_over_the_largest_eigenvalue() {
        // AᵀA/m of [[3, 1], [-3, 1]] is diag(9, 1).
        let x = Loop.upload(2, 1, &[3.0, -3.0]).unwrap();
        assert_eq!(rate_that_would_do(&Loop, &x, None, Loss::SquaredError.into()).unwrap(), Some(0.11));
        let with = |loss, l2| rate_that_would_do(&Loop, &x, None, Objective { loss, l2 }).unwrap();
        assert_eq!((with(Loss::LogLoss, 0.0), with(Loss::SquaredError, 1.0)), (Some(0.44), Some(0.1)));
        let x = Loop.upload(2, 1, &[0.0, 0.0]).unwrap();
        assert_eq!(rate_that_would_do(&Loop, &x, None, Loss::SquaredError.into()).unwrap(), Some(1.0));
    }

    #[test]
    fn rates_are_rounded_down_to_two_digits() {
        for (value, rounded) in [(0.2499, 0.24), (1.0, 1.0), (1234.0, 1200.0), (9.99e-7, 9.9e-7)] {
            assert_eq!(two_digits(value), rounded);
        }
        assert_eq!((two_digits(0.0), two_digits(f64::INFINITY)), (0.0, f64::INFINITY));
    }

    #[test]
    fn divergence_begins_just_beyond_each_threshold() {
        let smallest = f64::from(f32::MIN_POSITIVE);
        let ends = |costs: &[f64]| watch(costs).map(|costs| costs.len());
        let grown = |iteration, first_cost, cost| Err(Growth { iteration, first_cost, cost });
        // At once: above twice the lowest, but not below a millionth of the first, nor as small as a cost can be.
        let mut history = History::default();
        assert_eq!(history.extend(&[8.0, 1.0, 2.0, 1.5]), Ok(()));
        assert_eq!(history.extend(&[2.001]), Err(Growth { iteration: 4, first_cost: 8.0, cost: 2.001 }));
        assert_eq!(ends(&[1.0, 2.5]), grown(1, 1.0, 2.5));
        assert_eq!(ends(&[4.0, 1e-9, 7.99e-6]), Ok(3));
        assert_eq!(ends(&[4.0, 1e-9, 8.01e-6]), grown(2, 4.0, 8.01e-6));
        assert_eq!(ends(&[0.0, 0.99 * smallest]), Ok(2));
        assert_eq!(ends(&[0.0, 1.01 * smallest]), grown(1, 0.0, 1.01 * smallest));
        // At the end: a hundredth above the lowest, or a ten-thousandth of the first.
        assert_eq!(ends(&[1.5, 1.0, 1.0099]), Ok(3));
        assert_eq!(ends(&[1.5, 1.0, 1.0101]), grown(2, 1.5, 1.0101));
        assert_eq!(ends(&[1000.0, 1.0, 1.099]), Ok(3));
        assert_eq!(ends(&[1000.0, 1.0, 1.101, 1.102]), grown(2, 1000.0, 1.101));
    }

    #[test]
    fn an_eigenvalue_at_a_right_angle_to_the_start_is_found() {
        // The larger eigenvalue, 1.57, is twice the other, and its share of the start is a millionth.
        let x = Loop.upload(2, 1, &[0.757_604_4, -1.458_35]).unwrap();
        assert_eq!(rate_that_would_do(&Loop, &x, None, Loss::SquaredError.into()).unwrap(), Some(0.63));
        let x = Loop.upload(2, 1, &[1e20, -1e20]).unwrap();
        assert_eq!(
            rate_that_would_do(&Loop, &x, None, Loss::SquaredError.into()).unwrap(),
            None,
            "no rate that f32 holds is small enough"
        );
    }
}
