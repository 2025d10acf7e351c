//! Back-propagation: mini-batches through dense layers and back, on any engine.
//!
//! With A₀ a batch of X, scaled, A_l = g_l(A_{l−1} W_l + b_l), and z the last layer's output before its [`Head`]:
//!
//! | | |
//! |---|---|
//! | at the end | dZ = (ŷ − y) / batch |
//! | each layer, from the last | dW = A_{l−1}ᵀ dZ, db = Σ of dZ's columns, dA = dZ Wᵀ |
//! | to the one before | dZ = dA ⊙ g′(A) |
//!
//! (D. Rumelhart, G. Hinton and R. Williams, "Learning representations by back-propagating errors", 1986.) Each gradient is
//! one product. X stays on the engine, costs are read back once for many steps: a step waits for nothing on the host.
//!
//! **Costs.** Of an epoch: the mean of its batches' costs, each before its step and counted by its samples, and the
//! penalty λ/2 · Σw² before the epoch's first step. With the full batch that is J before the step.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use super::super::batches::{Batches, Cut};
use super::super::checkpoint::{Checkpoint, Writer};
use super::super::descent::Descent;
use super::super::source::{All, Source, Stretch};
use super::super::training::{Ending, Run};
use super::super::{Progress, Settings};
use crate::engine::{Activation, Descended, Engine, Head, Layout, Precision, Update};
use crate::{Error, Result};

/// Epochs between looks at the costs grow until they take this long.
const LOOK: Duration = Duration::from_millis(50);
/// The most steps between looks: engines keep the cost of each.
const MOST_STEPS: usize = 4096;
/// A cost so many times that before the first step, or that of z = 0 if it is larger, is divergence beyond doubt: noisy
/// batches and optimisers with momentum may well go up for a while.
const GROWTH: f64 = 100.0;
/// Samples that are predicted at once where no gradient is wanted.
const BLOCK: usize = 8192;

/// A layer's numbers on an engine.
pub(in super::super) struct Parameters<M> {
    /// W: inputs × units.
    pub weights: M,
    /// b: 1 × units.
    pub bias: M,
    /// g; of the last layer the identity.
    pub activation: Activation,
}

/// What is trained on, and how.
pub(in super::super) struct Task<'a, E: Engine> {
    pub engine: &'a E,
    /// The samples: at least one and, if the settings have early stopping, one that it looks at.
    pub source: &'a Source<'a, E>,
    /// The mean square of the target.
    pub target_square: f64,
    pub head: Head,
    pub settings: &'a Settings,
}

/// What training came to.
pub(in super::super) struct Outcome<M> {
    /// The layers after the last step or, with early stopping, those of the lowest validation cost.
    pub layers: Vec<Parameters<M>>,
    /// Costs are of each epoch, and last that of the layers.
    pub run: Run,
}

/// Trains `layers` from where they are.
///
/// The optimiser's step i of N counts batches over all epochs. The same task gives the same bits on the same engine, with
/// checkpoints or without, however many threads it has.
///
/// # Errors
/// [`Error::Unstable`] where a cost is not finite, or is [`GROWTH`] times what it was; [`Error::Data`] where it is not finite
/// before the first step; what checkpoints and the engine report.
pub(in super::super) fn train<E: Engine>(
    task: Task<'_, E>,
    layers: Vec<Parameters<E::Matrix>>,
    checkpoints: Option<(Writer, Option<Checkpoint>)>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Outcome<E::Matrix>> {
    let (engine, epochs) = (task.engine, task.settings.epochs);
    let mut trainer = Trainer::new(task, layers)?;
    let watch = Watch::new(&trainer)?;
    let mut history = Vec::new();
    let (mut writer, found) = checkpoints.unzip();
    if let (Some(writer), Some(found)) = (&writer, found.flatten()) {
        history.extend_from_slice(found.costs());
        trainer.resume(writer, &found)?;
    }
    let mut many = 1;
    while trainer.ending.is_none() && history.len() < epochs {
        let done = history.len();
        if let Some(writer) = &mut writer
            && writer.is_due(done, epochs)
        {
            writer.write(engine, &mut trainer, &history)?;
        }
        let left = writer.as_ref().map_or(usize::MAX, |writer| writer.steps_left(done));
        let start = Instant::now();
        let Descended { costs, .. } = trainer.steps(many.min(epochs - done).min(left))?;
        watch.check(done, &costs)?;
        history.extend(costs);
        if let Some(&cost) = history.last() {
            progress(Progress { iteration: history.len(), iterations: epochs, cost });
        }
        if start.elapsed() < LOOK {
            many = (2 * many).min(MOST_STEPS / trainer.batches.count()).max(1);
        }
    }
    if let Some(writer) = &mut writer
        && history.len() == epochs
        && writer.is_due(epochs, epochs)
    {
        writer.write(engine, &mut trainer, &history)?;
    }
    trainer.finish(&watch, history)
}

/// What a cost may be.
struct Watch {
    first: f64,
    most: f64,
    learning_rate: f64,
}

impl Watch {
    /// From the cost before the first step: of the first shuffle buffer, so that no pass over a file goes by for it alone.
    fn new<E: Engine>(trainer: &Trainer<'_, E>) -> Result<Self> {
        let Task { engine, target_square, head, settings, .. } = &trainer.task;
        let first = trainer.first_cost()?;
        if !first.is_finite() {
            return Err(Error::Data(format!(
                "the cost is {first} before the first step: values of the features or of the target are too large for \
                 32-bit floating point: use a larger unit"
            )));
        }
        let (_, columns) = engine.shape(&trainer.layers[trainer.layers.len() - 1].weights.value);
        let of_zero = match head {
            Head::Identity => target_square / 2.0,
            Head::Sigmoid => columns as f64 * std::f64::consts::LN_2,
            Head::Softmax => (columns as f64).ln(),
        };
        let most = GROWTH * first.max(of_zero) + f64::from(f32::MIN_POSITIVE);
        Ok(Watch { first, most, learning_rate: settings.learning_rate })
    }

    /// Refuses costs of the epochs after `done` that are beyond doubt.
    fn check(&self, done: usize, costs: &[f64]) -> Result<()> {
        // Written so that NaN is caught.
        match costs.iter().position(|cost| !(*cost <= self.most && cost.is_finite())) {
            None => Ok(()),
            Some(epoch) => Err(Error::Unstable {
                epoch: done + epoch,
                first_cost: self.first,
                cost: costs[epoch],
                learning_rate: self.learning_rate,
            }),
        }
    }
}

/// Numbers on their way down.
struct Parameter<M> {
    value: M,
    /// What the optimiser keeps.
    state: Vec<M>,
    /// Those of the lowest validation cost, with early stopping.
    best: Option<M>,
}

struct Layer<M> {
    weights: Parameter<M>,
    bias: Parameter<M>,
    activation: Activation,
    /// Zeros like the weights, for the penalty.
    zeros: Option<M>,
}

impl<M> Layer<M> {
    fn parameters(&mut self) -> [(&'static str, &mut Parameter<M>); 2] {
        [("weights", &mut self.weights), ("bias", &mut self.bias)]
    }
}

/// dW and db of each layer.
type Gradients<M> = Vec<[M; 2]>;

struct Trainer<'a, E: Engine> {
    task: Task<'a, E>,
    batches: Batches,
    /// All samples that are trained on, if each step takes all of them.
    full: Option<All<'a, E::Matrix>>,
    layers: Vec<Layer<E::Matrix>>,
    /// Epochs that have been done.
    done: usize,
    validation: Vec<f64>,
    /// The same, for checkpoints.
    validation_there: E::Matrix,
    ending: Option<Ending>,
}

/// A copy of a matrix.
fn copy<E: Engine>(engine: &E, matrix: &E::Matrix) -> Result<E::Matrix> {
    let (rows, _) = engine.shape(matrix);
    engine.gather(matrix, None, &(0..rows as u32).collect::<Vec<_>>())
}

fn zeros<E: Engine>(engine: &E, (rows, columns): (usize, usize)) -> Result<E::Matrix> {
    engine.upload(rows, columns, &vec![0.0; rows * columns])
}

impl<'a, E: Engine> Trainer<'a, E> {
    fn new(task: Task<'a, E>, layers: Vec<Parameters<E::Matrix>>) -> Result<Self> {
        let (engine, settings) = (task.engine, task.settings);
        let stopping = settings.early_stopping.is_some();
        let states = settings.rule(0, 1, true).states();
        let parameter = |value: E::Matrix| -> Result<Parameter<E::Matrix>> {
            let shape = engine.shape(&value);
            let state = (0..states).map(|_| zeros(engine, shape)).collect::<Result<_>>()?;
            let best = stopping.then(|| copy(engine, &value)).transpose()?;
            Ok(Parameter { value, state, best })
        };
        let layer = |Parameters { weights, bias, activation }: Parameters<E::Matrix>| {
            let shape = engine.shape(&weights);
            let zeros = (settings.l2 > 0.0).then(|| zeros(engine, shape)).transpose()?;
            Ok(Layer { weights: parameter(weights)?, bias: parameter(bias)?, activation, zeros })
        };
        let layers = layers.into_iter().map(layer).collect::<Result<Vec<_>>>()?;
        let source = task.source;
        let batches = Batches::new(source.samples(), source.buffer(), settings.batch_size, settings.seed);
        let full = batches.is_full().then(|| source.all(engine)).transpose()?;
        let validation_there = zeros(engine, (0, 1))?;
        let validation = Vec::new();
        Ok(Trainer { task, batches, full, layers, done: 0, validation, validation_there, ending: None })
    }

    /// Goes on from a checkpoint.
    fn resume(&mut self, writer: &Writer, found: &Checkpoint) -> Result<()> {
        let engine = self.task.engine;
        self.done = found.costs().len();
        if self.task.settings.early_stopping.is_some() {
            self.validation_there = zeros(engine, (self.done, 1))?;
        }
        writer.restore(engine, self, found)?;
        self.validation = engine.read(&self.validation_there)?;
        Ok(())
    }

    /// The output of each layer, the last one's before its head.
    fn forward(&self, input: &E::Matrix) -> Result<Vec<E::Matrix>> {
        let mut outputs: Vec<E::Matrix> = Vec::with_capacity(self.layers.len());
        for Layer { weights, bias, activation, .. } in &self.layers {
            let input = outputs.last().unwrap_or(input);
            let (weights, bias) = (&weights.value, &bias.value);
            outputs.push(self.task.engine.dense(input, weights, bias, *activation, Precision::Fp32)?);
        }
        Ok(outputs)
    }

    /// The gradients of J without the penalty on a batch, and J into `costs`.
    fn gradients(
        &self,
        x: &E::Matrix,
        y: &E::Matrix,
        costs: &mut E::Matrix,
        at: usize,
    ) -> Result<Gradients<E::Matrix>> {
        let Task { engine, head, .. } = &self.task;
        let mut outputs = self.forward(x)?;
        let z = outputs.pop().expect("there is at least one layer");
        let mut error = engine.output_error(*head, z, y, costs, at)?;
        let mut gradients = Vec::with_capacity(self.layers.len());
        for layer in self.layers.iter().rev() {
            let output = outputs.pop();
            let input = output.as_ref().unwrap_or(x);
            let (turned, plain) = (Layout::Transposed, Layout::Plain);
            let weights = engine.matmul(input, turned, &error, plain, Precision::Fp32)?;
            gradients.push([weights, engine.column_sums(&error)?]);
            if let Some(output) = &output {
                let below = engine.matmul(&error, plain, &layer.weights.value, turned, Precision::Fp32)?;
                let activation = self.layers[outputs.len()].activation;
                error = engine.backward(activation, output, below)?;
            }
        }
        gradients.reverse();
        Ok(gradients)
    }

    /// One step of the optimiser, step `i` of all.
    fn update(&mut self, i: usize, gradients: &Gradients<E::Matrix>) -> Result<()> {
        let Task { engine, settings, .. } = &self.task;
        let steps = settings.epochs * self.batches.count();
        for (layer, gradients) in self.layers.iter_mut().zip(gradients) {
            for ((name, parameter), gradient) in layer.parameters().into_iter().zip(gradients) {
                let rule = settings.rule(i, steps, name == "weights");
                engine.update(rule, &mut parameter.value, gradient, &mut parameter.state)?;
            }
        }
        Ok(())
    }

    /// sums := sums + share · (the gradient of J, with the penalty).
    fn add_up(
        &self,
        sums: &mut Gradients<E::Matrix>,
        gradients: &Gradients<E::Matrix>,
        share: f64,
    ) -> Result<()> {
        let Task { engine, settings, .. } = &self.task;
        let add = |factor: f64| Update::Descent { learning_rate: -factor, l2: 0.0 };
        for ((sums, gradients), layer) in sums.iter_mut().zip(gradients).zip(&self.layers) {
            for (sum, gradient) in sums.iter_mut().zip(gradients) {
                engine.update(add(share), sum, gradient, &mut [])?;
            }
            if settings.l2 > 0.0 {
                engine.update(add(share * settings.l2), &mut sums[0], &layer.weights.value, &mut [])?;
            }
        }
        Ok(())
    }

    /// Whether these gradients together are no longer than the tolerance.
    fn is_short(&self, sums: &Gradients<E::Matrix>, tolerance: f64) -> Result<bool> {
        let mut squares = 0.0;
        for sum in sums.iter().flatten() {
            squares += self.task.engine.read(sum)?.iter().map(|value| value * value).sum::<f64>();
        }
        Ok(squares.sqrt() <= tolerance)
    }

    /// One epoch, its costs into `costs` from `at` on. With the full batch it may end before its step, which is then not
    /// done and not counted.
    fn epoch(&mut self, costs: &mut E::Matrix, at: usize) -> Result<()> {
        let (engine, source) = (self.task.engine, self.task.source);
        let tolerance = self.task.settings.tolerance;
        let mut sums = tolerance.map(|_| self.no_gradients()).transpose()?;
        match self.full.take() {
            Some(all) => {
                self.step(0, all.matrices(), costs, at, &mut sums)?;
                self.full = Some(all);
                if self.ending.is_some() {
                    return Ok(());
                }
            }
            None => {
                let (mut order, mut b) = (self.batches.order(self.done), 0);
                source.each(engine, &mut |stretch| {
                    for rows in order.of(stretch.rows).chunks(self.batches.size()) {
                        let (x, y) = stretch.gather(engine, rows)?;
                        self.step(b, (&x, &y), costs, at, &mut sums)?;
                        b += 1;
                    }
                    Ok(ControlFlow::Continue(()))
                })?;
            }
        }
        self.done += 1;
        if let (Some(sums), Some(tolerance)) = (&sums, tolerance)
            && !self.batches.is_full()
            && self.is_short(sums, tolerance)?
        {
            self.ending = Some(Ending::Tolerance);
        }
        self.validate()
    }

    /// The step of batch `b` of an epoch, unless it is the full batch, whose gradient may be short enough to end before it.
    fn step(
        &mut self,
        b: usize,
        (x, y): (&E::Matrix, &E::Matrix),
        costs: &mut E::Matrix,
        at: usize,
        sums: &mut Option<Gradients<E::Matrix>>,
    ) -> Result<()> {
        let gradients = self.gradients(x, y, costs, at + b)?;
        if let (Some(sums), Some(tolerance)) = (sums, self.task.settings.tolerance) {
            self.add_up(sums, &gradients, self.batches.cut().share(b))?;
            if self.batches.is_full() && self.is_short(sums, tolerance)? {
                self.ending = Some(Ending::Tolerance);
                return Ok(());
            }
        }
        self.update(self.done * self.batches.count() + b, &gradients)
    }

    fn no_gradients(&self) -> Result<Gradients<E::Matrix>> {
        let engine = self.task.engine;
        let like = |parameter: &Parameter<E::Matrix>| zeros(engine, engine.shape(&parameter.value));
        self.layers.iter().map(|layer| Ok([like(&layer.weights)?, like(&layer.bias)?])).collect()
    }

    /// Looks at the validation rows, if there is early stopping.
    fn validate(&mut self) -> Result<()> {
        let (engine, source) = (self.task.engine, self.task.source);
        let (Some(stopping), Some(held)) = (self.task.settings.early_stopping, source.validation()) else {
            return Ok(());
        };
        // As a value of `f32`, in which it is kept.
        let cost = f64::from(self.loss_of(&held)? as f32);
        let lowest = self.validation.iter().copied().fold(f64::INFINITY, f64::min);
        self.validation.push(cost);
        let narrow: Vec<f32> = self.validation.iter().map(|&cost| cost as f32).collect();
        self.validation_there = engine.upload(narrow.len(), 1, &narrow)?;
        if cost < lowest {
            for parameter in
                self.layers.iter_mut().flat_map(Layer::parameters).map(|(_, parameter)| parameter)
            {
                parameter.best = Some(copy(engine, &parameter.value)?);
            }
        } else if self.validation.len() - best(&self.validation) >= stopping.patience {
            self.ending = Some(Ending::Patience);
        }
        Ok(())
    }

    /// The costs of the samples of `stretch`, without the penalty, into `costs` from `at` on: of as many at once as a cut by
    /// [`BLOCK`] says. Gives where to go on.
    fn look(&self, stretch: &Stretch<'_, E::Matrix>, costs: &mut E::Matrix, mut at: usize) -> Result<usize> {
        let Task { engine, head, .. } = &self.task;
        for rows in stretch.rows.chunks(BLOCK) {
            let (x, y) = stretch.gather(*engine, rows)?;
            let z = self.forward(&x)?.pop().expect("there is at least one layer");
            engine.output_error(*head, z, &y, costs, at)?;
            at += 1;
        }
        Ok(at)
    }

    /// The mean cost of the samples of one stretch, without the penalty.
    fn loss_of(&self, stretch: &Stretch<'_, E::Matrix>) -> Result<f64> {
        let (engine, samples) = (self.task.engine, stretch.rows.len());
        let cut = Cut::new(samples, samples, BLOCK);
        let mut costs = zeros(engine, (cut.count(), 1))?;
        self.look(stretch, &mut costs, 0)?;
        Ok(cut.mean(&engine.read(&costs)?))
    }

    /// The mean cost of all samples that are trained on, without the penalty.
    fn loss(&self) -> Result<f64> {
        let (engine, source) = (self.task.engine, self.task.source);
        let cut = Cut::new(source.samples(), source.buffer(), BLOCK);
        let (mut costs, mut at) = (zeros(engine, (cut.count(), 1))?, 0);
        source.each(engine, &mut |stretch| {
            at = self.look(stretch, &mut costs, at)?;
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(cut.mean(&engine.read(&costs)?))
    }

    /// Each layer's Σw² / (2 · its inputs) into `penalties` from `at` on: what the squared error beside zeros is.
    fn penalty(&self, penalties: &mut E::Matrix, at: usize) -> Result<()> {
        let engine = self.task.engine;
        for (l, layer) in self.layers.iter().enumerate() {
            if let Some(zeros) = &layer.zeros {
                let weights = copy(engine, &layer.weights.value)?;
                engine.output_error(Head::Identity, weights, zeros, penalties, at + l)?;
            }
        }
        Ok(())
    }

    /// λ/2 · Σw² of what [`Trainer::penalty`] wrote for each layer.
    fn penalty_of(&self, penalties: &[f64]) -> f64 {
        let inputs = |layer: &Layer<E::Matrix>| self.task.engine.shape(&layer.weights.value).0 as f64;
        let squares = self.layers.iter().zip(penalties).map(|(layer, share)| inputs(layer) * share);
        self.task.settings.l2 * squares.sum::<f64>()
    }

    /// λ/2 · Σw² as the weights are.
    fn penalty_now(&self) -> Result<f64> {
        let mut penalties = zeros(self.task.engine, (self.layers.len(), 1))?;
        self.penalty(&mut penalties, 0)?;
        Ok(self.penalty_of(&self.task.engine.read(&penalties)?))
    }

    /// J of all that is trained on.
    fn cost(&self) -> Result<f64> {
        Ok(self.loss()? + self.penalty_now()?)
    }

    /// J of the first samples that are shuffled together.
    fn first_cost(&self) -> Result<f64> {
        let mut first = None;
        self.task.source.each(self.task.engine, &mut |stretch| {
            first = Some(self.loss_of(stretch)?);
            Ok(ControlFlow::Break(()))
        })?;
        Ok(first.unwrap_or(0.0) + self.penalty_now()?)
    }

    fn finish(mut self, watch: &Watch, mut history: Vec<f64>) -> Result<Outcome<E::Matrix>> {
        for parameter in self.layers.iter_mut().flat_map(Layer::parameters).map(|(_, parameter)| parameter) {
            if let Some(best) = parameter.best.take() {
                parameter.value = best;
            }
        }
        let last = self.cost()?;
        watch.check(history.len(), &[last])?;
        history.push(last);
        let plain = |layer: Layer<E::Matrix>| Parameters {
            weights: layer.weights.value,
            bias: layer.bias.value,
            activation: layer.activation,
        };
        let ending = self.ending.unwrap_or(Ending::Epochs);
        let layers = self.layers.into_iter().map(plain).collect();
        Ok(Outcome { layers, run: Run { history, validation: self.validation, ending } })
    }
}

/// The number of the lowest cost, of equal ones the first; counted from 1.
fn best(costs: &[f64]) -> usize {
    let lower = |best: usize, k: usize| if costs[k] < costs[best] { k } else { best };
    (0..costs.len()).fold(0, lower) + 1
}

impl<E: Engine> Descent<E> for Trainer<'_, E> {
    fn parameters(&mut self) -> Vec<(String, &mut E::Matrix)> {
        let mut all = Vec::new();
        for (l, layer) in self.layers.iter_mut().enumerate() {
            for (name, Parameter { value, state, best }) in layer.parameters() {
                let name = format!("layer.{l}.{name}");
                all.extend(
                    state.iter_mut().enumerate().map(|(s, state)| (format!("{name}.state.{s}"), state)),
                );
                all.extend(best.iter_mut().map(|best| (format!("{name}.best"), best)));
                all.push((name, value));
            }
        }
        if self.task.settings.early_stopping.is_some() {
            all.push(("validation".to_owned(), &mut self.validation_there));
        }
        all
    }

    /// Does `count` epochs, or fewer if training ends; gives the cost of each. Lengths of gradients stay here.
    fn steps(&mut self, count: usize) -> Result<Descended> {
        let engine = self.task.engine;
        let (batches, layers, before) = (self.batches.count(), self.layers.len(), self.done);
        let mut costs = zeros(engine, (count * batches, 1))?;
        let mut penalties = zeros(engine, (count * layers, 1))?;
        for epoch in 0..count {
            self.penalty(&mut penalties, epoch * layers)?;
            self.epoch(&mut costs, epoch * batches)?;
            if self.ending.is_some() {
                break;
            }
        }
        let (costs, penalties) = (engine.read(&costs)?, engine.read(&penalties)?);
        let epochs = costs.chunks(batches).zip(penalties.chunks(layers)).take(self.done - before);
        let costs =
            epochs.map(|(costs, penalties)| self.batches.cut().mean(costs) + self.penalty_of(penalties));
        let costs = costs.collect();
        Ok(Descended { costs, gradient_norms: Vec::new() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Dataset, Output, Table};
    use crate::engine::{Cpu, HostMatrix, Loop, Loss, Samples};
    use crate::models::source::{Rows, Whole};
    use crate::models::{Checkpoints, EarlyStopping, MultilayerPerceptron, Optimiser, Schedule};

    type Wide = HostMatrix<f64>;

    /// Values that differ, in [−1, 1).
    fn values(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|i| ((i + 7 * seed) as f32 * 0.618_034).fract() * 2.0 - 1.0).collect()
    }

    const ROWS: usize = 23;
    const FEATURES: usize = 5;

    /// Samples on an engine, without scaling.
    fn data<E: Engine>(engine: &E, head: Head, units: usize) -> Source<'static, E> {
        let y: Vec<f32> = match head {
            Head::Identity => values(ROWS * units, 3),
            Head::Sigmoid => values(ROWS * units, 3).iter().map(|y| f32::from(*y > 0.1)).collect(),
            Head::Softmax => (0..ROWS).map(|i| (i * i % units) as f32).collect(),
        };
        source(engine, &values(ROWS * FEATURES, 1), &y, 0)
    }

    /// The last `held` samples are held back.
    fn source<E: Engine>(engine: &E, x: &[f32], y: &[f32], held: usize) -> Source<'static, E> {
        let rows = x.len() / FEATURES;
        let buffer = rows - held;
        let training = (0..buffer as u32).collect();
        let validation = (buffer as u32..rows as u32).collect();
        Source::Whole(Whole {
            x: engine.upload(rows, FEATURES, x).unwrap(),
            scaling: None,
            y: engine.upload(rows, y.len() / rows, y).unwrap(),
            rows: Rows { training, validation },
            buffer,
        })
    }

    fn whole<'a, E: Engine>(source: &'a Source<'static, E>) -> (&'a E::Matrix, &'a E::Matrix) {
        match source {
            Source::Whole(Whole { x, y, .. }) => (x, y),
            Source::Streamed(_) => panic!("no test streams here"),
        }
    }

    fn layers<E: Engine>(engine: &E, units: &[(usize, Activation)]) -> Vec<Parameters<E::Matrix>> {
        let mut inputs = FEATURES;
        let mut layers = Vec::new();
        for (l, &(units, activation)) in units.iter().enumerate() {
            let weights = engine.upload(inputs, units, &values(inputs * units, 10 + l)).unwrap();
            let bias = engine.upload(1, units, &values(units, 20 + l)).unwrap();
            layers.push(Parameters { weights, bias, activation });
            inputs = units;
        }
        layers
    }

    fn task<'a, E: Engine>(
        engine: &'a E,
        source: &'a Source<'a, E>,
        head: Head,
        settings: &'a Settings,
    ) -> Task<'a, E> {
        // The mean square of values in [−1, 1).
        Task { engine, source, target_square: 1.0 / 3.0, head, settings }
    }

    fn plain(learning_rate: f64, epochs: usize) -> Settings {
        Settings { learning_rate, epochs, ..Settings::default() }
    }

    /// (J(w + h) − J(w − h)) / 2h is off by h²/6 times the third derivative, which is of the order of 10 with these numbers,
    /// and by the rounding of J, ε(J + 1)/h: with h = 10⁻⁵ both are below 10⁻⁸. No ReLU's z is within h of its corner.
    #[test]
    fn gradients_are_differences_of_costs_for_each_activation_and_head() {
        const STEP: f64 = 1e-5;
        let hidden = [Activation::Identity, Activation::Relu, Activation::Sigmoid];
        for (head, units) in
            [(Head::Identity, 1), (Head::Identity, 2), (Head::Sigmoid, 1), (Head::Softmax, 3)]
        {
            for activation in hidden {
                for l2 in [0.0, 0.3] {
                    let settings = Settings { l2, ..plain(0.1, 1) };
                    let data = data(&Loop, head, units);
                    let of = [(4, activation), (3, Activation::Sigmoid), (units, Activation::Identity)];
                    let mut trainer =
                        Trainer::new(task(&Loop, &data, head, &settings), layers(&Loop, &of)).unwrap();
                    let mut sums = trainer.no_gradients().unwrap();
                    let mut costs = Loop.upload(1, 1, &[0.0]).unwrap();
                    let (x, y) = whole(&data);
                    let gradients = trainer.gradients(x, y, &mut costs, 0).unwrap();
                    trainer.add_up(&mut sums, &gradients, 1.0).unwrap();
                    let mut compared = 0;
                    for (l, sums) in sums.iter().enumerate() {
                        for (which, sum) in sums.iter().enumerate() {
                            let gradient = Loop.read(sum).unwrap();
                            for (i, gradient) in gradient.iter().enumerate() {
                                let mut moved = |by: f64| {
                                    let [weights, bias] =
                                        trainer.layers[l].parameters().map(|(_, parameter)| parameter);
                                    let value: &mut Wide =
                                        if which == 0 { &mut weights.value } else { &mut bias.value };
                                    value.values_mut()[i] += by;
                                    let cost = trainer.cost().unwrap();
                                    let [weights, bias] =
                                        trainer.layers[l].parameters().map(|(_, parameter)| parameter);
                                    let value: &mut Wide =
                                        if which == 0 { &mut weights.value } else { &mut bias.value };
                                    value.values_mut()[i] -= by;
                                    cost
                                };
                                let difference = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
                                assert!(
                                    (gradient - difference).abs() <= 1e-8,
                                    "{head}, {activation}, λ = {l2}, layer {l}, {which}, {i}: {gradient}, {difference}"
                                );
                                compared += usize::from(gradient.abs() > 1e-3);
                            }
                        }
                    }
                    assert!(compared > 20, "gradients of 0 say nothing");
                }
            }
        }
    }

    /// A network of one layer is linear or logistic regression: the same costs and numbers as the engine's own descent.
    #[test]
    fn one_layer_goes_the_way_of_the_engine_s_descent() {
        for (head, loss) in [(Head::Identity, Loss::SquaredError), (Head::Sigmoid, Loss::LogLoss)] {
            let (settings, data) = (plain(0.3, 40), data(&Loop, head, 1));
            let begin = layers(&Loop, &[(1, Activation::Identity)]);
            let mut weights = Loop.upload(FEATURES, 1, &values(FEATURES, 10)).unwrap();
            let mut bias = Loop.upload(1, 1, &values(1, 20)).unwrap();
            let outcome = train(task(&Loop, &data, head, &settings), begin, None, &mut |_| ()).unwrap();
            let (x, y) = whole(&data);
            let over = Samples { x, scaling: None, y };
            let mut costs = Loop.descend(loss, &over, &mut weights, &mut bias, 0.3, 40).unwrap().costs;
            costs.push(Loop.cost(loss, &over, &weights, &bias).unwrap());
            assert_eq!(outcome.run.history.len(), 41);
            let all = |costs: &[f64], weights: &Wide, bias: &Wide| {
                [costs, weights.values(), bias.values()].concat()
            };
            let layer = &outcome.layers[0];
            let ours = all(&outcome.run.history, &layer.weights, &layer.bias);
            for (ours, theirs) in ours.iter().zip(all(&costs, &weights, &bias)) {
                assert!((ours - theirs).abs() < 1e-13, "{head}: {ours}, {theirs}");
            }
        }
    }

    #[test]
    fn an_epoch_s_cost_counts_each_sample_once_and_the_last_batch_is_taken() {
        // With a rate so small that nothing moves.
        let data = data(&Loop, Head::Softmax, 3);
        let of = [(4, Activation::Relu), (3, Activation::Identity)];
        let cost = |settings: &Settings| {
            train(task(&Loop, &data, Head::Softmax, settings), layers(&Loop, &of), None, &mut |_| ())
                .unwrap()
                .run
                .history[0]
        };
        let full = cost(&plain(1e-30, 1));
        let penalised = cost(&Settings { l2: 0.5, ..plain(1e-30, 1) });
        let squares: f64 =
            layers(&Loop, &of).iter().flat_map(|l| l.weights.values().to_vec()).map(|w| w * w).sum();
        assert!((penalised - full - 0.25 * squares).abs() < 1e-12, "λ/2 Σw²");
        for size in [1, 4, 10, 22, 23, 24, 1000] {
            for l2 in [0.0, 0.5] {
                let expected = if l2 > 0.0 { penalised } else { full };
                let batches = cost(&Settings { batch_size: Some(size), l2, ..plain(1e-30, 1) });
                assert!((batches - expected).abs() < 1e-12, "{size}: {batches}, {expected}");
            }
        }
    }

    /// Each step by hand: the batches of the epoch's order, each with the rate of its step.
    #[test]
    fn steps_go_over_the_epoch_s_batches_with_the_schedule_s_rates() {
        let data = data(&Loop, Head::Identity, 1);
        let schedule = Schedule::Step { every: 2, factor: 0.5 };
        let settings = Settings { batch_size: Some(10), schedule, l2: 0.2, seed: 5, ..plain(0.4, 2) };
        let begin = layers(&Loop, &[(1, Activation::Identity)]);
        let (mut w, mut b) = (begin[0].weights.values().to_vec(), begin[0].bias.values()[0]);
        let outcome = train(task(&Loop, &data, Head::Identity, &settings), begin, None, &mut |_| ()).unwrap();
        let (batches, rows) = (Batches::new(ROWS, ROWS, Some(10), 5), (0..ROWS as u32).collect::<Vec<_>>());
        let (x, y) = whole(&data);
        let mut step = 0;
        for epoch in 0..2 {
            for rows in batches.order(epoch).of(&rows).chunks(10) {
                let rate = 0.4 * 0.5_f64.powi(step / 2);
                let (mut gradient, mut bias) = (vec![0.0; FEATURES], 0.0);
                for &row in rows {
                    let x = &x.values()[row as usize * FEATURES..][..FEATURES];
                    let z: f64 = x.iter().zip(&w).map(|(x, w)| x * w).sum::<f64>() + b;
                    let e = (z - y.values()[row as usize]) / rows.len() as f64;
                    gradient.iter_mut().zip(x).for_each(|(g, x)| *g += e * x);
                    bias += e;
                }
                w.iter_mut().zip(&gradient).for_each(|(w, g)| *w -= rate * (g + 0.2 * *w));
                b -= rate * bias;
                step += 1;
            }
        }
        assert_eq!(step, 6, "10, 10 and 3 samples, twice");
        let layer = &outcome.layers[0];
        let got = layer.weights.values().iter().chain(layer.bias.values());
        for (got, expected) in got.zip(w.iter().chain([&b])) {
            assert!((got - expected).abs() < 1e-13, "{got}, {expected}");
        }
    }

    #[test]
    fn training_ends_before_the_step_whose_gradient_is_short() {
        let data = data(&Loop, Head::Identity, 1);
        let run = |settings: &Settings| {
            let begin = layers(&Loop, &[(1, Activation::Identity)]);
            train(task(&Loop, &data, Head::Identity, settings), begin, None, &mut |_| ()).unwrap()
        };
        let tolerance = Some(0.01);
        let ended = run(&Settings { tolerance, l2: 0.1, ..plain(0.5, 500) });
        assert_eq!(ended.run.ending, Ending::Tolerance);
        let steps = ended.run.history.len() - 1;
        assert!(steps > 3 && steps < 400, "{steps}");
        // Descent moves by α times the gradient: the step not done would have moved that little, the one before more.
        let after = |steps| {
            let layer = &run(&Settings { l2: 0.1, ..plain(0.5, steps) }).layers[0];
            [layer.weights.values(), layer.bias.values()].concat()
        };
        let length = |from: Vec<f64>, to: Vec<f64>| {
            from.iter().zip(&to).map(|(from, to)| (to - from) * (to - from)).sum::<f64>().sqrt() / 0.5
        };
        assert!(length(after(steps), after(steps + 1)) <= 0.01);
        assert!(length(after(steps - 1), after(steps)) > 0.01);
        assert_eq!([ended.layers[0].weights.values(), ended.layers[0].bias.values()].concat(), after(steps));
        // One batch of all samples: the same gradients, seen after their steps.
        let batches = run(&Settings { tolerance, l2: 0.1, batch_size: Some(ROWS), ..plain(0.5, 500) });
        assert_eq!(
            (batches.run.ending, batches.run.history.len()),
            (Ending::Tolerance, ended.run.history.len() + 1)
        );
        let never = run(&Settings { tolerance: Some(1e-30), ..plain(0.5, 20) });
        assert_eq!((never.run.ending, never.run.history.len()), (Ending::Epochs, 21));
    }

    #[test]
    fn early_stopping_keeps_the_layers_of_the_lowest_validation_cost() {
        let data = source(&Loop, &values(ROWS * FEATURES, 1), &values(ROWS, 3), ROWS - 12);
        let of = [(16, Activation::Sigmoid), (1, Activation::Identity)];
        let run = |epochs, patience| {
            let early_stopping = Some(EarlyStopping { validation_share: 0.5, patience });
            let settings = Settings { early_stopping, batch_size: Some(4), ..plain(0.3, epochs) };
            let task = task(&Loop, &data, Head::Identity, &settings);
            train(task, layers(&Loop, &of), None, &mut |_| ()).unwrap()
        };
        let stopped = run(10_000, 6);
        let lowest = best(&stopped.run.validation);
        assert_eq!(stopped.run.ending, Ending::Patience);
        assert_eq!((stopped.run.validation.len(), stopped.run.history.len()), (lowest + 6, lowest + 7));
        let at_best = run(lowest, 6);
        assert_eq!(at_best.run.validation, stopped.run.validation[..lowest]);
        for (kept, best) in stopped.layers.iter().zip(&at_best.layers) {
            assert_eq!(
                (kept.weights.values(), kept.bias.values()),
                (best.weights.values(), best.bias.values())
            );
        }
        assert_eq!(
            stopped.run.history.last(),
            at_best.run.history.last(),
            "the cost is that of the layers kept"
        );
    }

    #[test]
    fn what_grows_beyond_doubt_is_refused_and_noise_is_not() {
        let data = data(&Cpu, Head::Identity, 1);
        let of = [(4, Activation::Relu), (1, Activation::Identity)];
        let run = |settings: Settings| {
            train(task(&Cpu, &data, Head::Identity, &settings), layers(&Cpu, &of), None, &mut |_| ())
        };
        for rate in [1e3, 1e20] {
            match run(plain(rate, 50)).map(|_| ()) {
                Err(error @ Error::Unstable { .. }) => {
                    assert!(error.to_string().contains("a tenth of the learning rate"))
                }
                other => panic!("{rate}: {other:?}"),
            }
        }
        let noisy = Settings { batch_size: Some(1), optimiser: Optimiser::momentum(), ..plain(0.02, 30) };
        assert!(run(noisy).is_ok());
        let huge = source(&Cpu, &[1e38; 2 * FEATURES], &[0.0; 2], 0);
        let settings = plain(0.1, 1);
        let task = task(&Cpu, &huge, Head::Identity, &settings);
        let refused = train(task, layers(&Cpu, &of), None, &mut |_| ()).map(|_| ()).unwrap_err();
        assert!(matches!(&refused, Error::Data(text) if text.contains("use a larger unit")), "{refused}");
    }

    /// Training in one go, and stopped after each number of epochs and resumed.
    #[test]
    fn resumed_training_has_the_same_bits() {
        let folder = tempfile::tempdir().unwrap();
        let table = Table::new(["a", "b", "c"].map(str::to_owned).to_vec(), values(40 * 3, 5)).unwrap();
        let dataset = Dataset::new(table, "y", values(40, 6)).unwrap();
        let stopping = EarlyStopping { validation_share: 0.25, patience: 100 };
        let settings = |epochs: usize| {
            let all = MultilayerPerceptron::new().learning_rate(0.02).batch_size(7).l2(0.01).epochs(epochs);
            [
                all.clone(),
                all.clone().optimiser(Optimiser::momentum()).early_stopping(stopping),
                all.clone().optimiser(Optimiser::Descent).schedule(Schedule::Step { every: 9, factor: 0.7 }),
                all.full_batch().tolerance(1e-9),
            ]
        };
        for (k, whole) in settings(6).into_iter().enumerate() {
            let whole = whole.fit(&Cpu, &dataset).unwrap();
            for first in 1..=5 {
                let file = || Output::new(folder.path().join(format!("{k}-{first}"))).unwrap();
                let begun = Checkpoints::begin(file()).unwrap().every(2);
                settings(first)[k].fit_resumable(&Cpu, &dataset, begun, |_| ()).unwrap();
                let resumed = Checkpoints::resume(file()).unwrap();
                assert_eq!(resumed.found().unwrap().iteration(), first);
                let resumed = settings(6)[k].fit_resumable(&Cpu, &dataset, resumed, |_| ()).unwrap();
                assert_eq!(resumed, whole, "{k}, {first}");
            }
        }
        let other = settings(6)[0].clone().seed(1);
        let resumed = Checkpoints::resume(Output::new(folder.path().join("0-3")).unwrap()).unwrap();
        let refused = other.fit_resumable(&Cpu, &dataset, resumed, |_| ()).unwrap_err().to_string();
        assert!(refused.contains("the seed was 0, and is 1"), "{refused}");
    }
}
