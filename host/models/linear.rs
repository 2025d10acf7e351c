//! Linear regression by full-batch gradient descent.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::checkpoint::{Checkpoint, Subject, Writer};
use super::descent::{Descent, History};
use super::gram::{Compressed, Compression};
use super::{Checkpoints, Method, Progress, Scale, Scaler, descent};
use crate::data::{Dataset, Table};
use crate::engine::{Engine, Loss, Samples, Scaling};
use crate::{Error, Result};

/// Steps with which a learning rate is tried before it is suggested.
const TRIAL_STEPS: usize = 10;
/// What descent makes small.
const LOSS: Loss = Loss::SquaredError;
/// The name of a setting in checkpoints.
const METHOD: &str = "method";

/// Linear regression: ŷ = Xw + b with the w and b that gradient descent finds for J = Σ(ŷ − y)² / (2m).
///
/// [`Method`] says what the steps go over. Each step is w := w − α Xᵀe/m, b := b − α Σe/m, with e = ŷ − y over all m samples, from w = 0 and b = 0. The same
/// data and settings give the same bits on the same engine.
///
/// ```
/// use tilegrad::models::{LinearRegression, Scale};
///
/// let settings = LinearRegression::new().learning_rate(0.1).iterations(1000).scale(Scale::ZScore);
/// # let _ = settings;
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct LinearRegression {
    learning_rate: f64,
    iterations: usize,
    scale: Scale,
    method: Method,
}

impl Default for LinearRegression {
    fn default() -> Self {
        LinearRegression { learning_rate: 0.1, iterations: 1000, scale: Scale::ZScore, method: Method::Auto }
    }
}

impl LinearRegression {
    /// Learning rate 0.1, 1000 iterations, features scaled by [`Scale::ZScore`], [`Method::Auto`].
    pub fn new() -> Self {
        Self::default()
    }

    /// The learning rate α: finite and above 0.
    pub fn learning_rate(mut self, learning_rate: f64) -> Self {
        self.learning_rate = learning_rate;
        self
    }

    /// The number of steps: at least 1.
    pub fn iterations(mut self, iterations: usize) -> Self {
        self.iterations = iterations;
        self
    }

    /// How features are scaled before descent.
    pub fn scale(mut self, scale: Scale) -> Self {
        self.scale = scale;
        self
    }

    /// What each step goes over: all samples, or a few that say the same.
    pub fn method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    /// Trains on `dataset` on `engine`. The cpu engine reads the data set's own values; others have a copy.
    ///
    /// # Errors
    /// - [`Error::Setting`]: a learning rate that is not finite and above 0 (in `f32`), or no iterations.
    /// - [`Error::Data`]: values too large for 32-bit floating point.
    /// - [`Error::Diverged`]: the learning rate is too large, be it by little, so that the cost ends above its lowest;
    ///   says from which iteration, and what rate would do.
    /// - What the engine reports.
    pub fn fit<E: Engine>(&self, engine: &E, dataset: &Dataset) -> Result<FittedLinear> {
        self.fit_watched(engine, dataset, |_| ())
    }

    /// As [`LinearRegression::fit`]; `progress` is called several times a second.
    ///
    /// # Errors
    /// As [`LinearRegression::fit`].
    pub fn fit_watched<E: Engine>(
        &self,
        engine: &E,
        dataset: &Dataset,
        mut progress: impl FnMut(Progress),
    ) -> Result<FittedLinear> {
        self.train(engine, dataset, None, &mut progress)
    }

    /// As [`LinearRegression::fit_watched`], with checkpoints, from which training goes on to the same bits.
    ///
    /// # Errors
    /// As [`LinearRegression::fit`]; [`Error::Checkpoint`]: the checkpoint to go on from is of other data, settings or
    /// engine, or is beyond the iterations; or one cannot be written.
    pub fn fit_resumable<E: Engine>(
        &self,
        engine: &E,
        dataset: &Dataset,
        checkpoints: Checkpoints,
        mut progress: impl FnMut(Progress),
    ) -> Result<FittedLinear> {
        self.train(engine, dataset, Some(checkpoints), &mut progress)
    }

    /// Trains with [`Method::Gram`] on samples that come block by block, and are not kept: there may be more of them than
    /// fit in memory, which holds one block and (features + 2)² numbers twice. How they are cut into blocks changes no
    /// bit.
    ///
    /// ```
    /// use tilegrad::data::{Dataset, Table};
    /// use tilegrad::engine::Cpu;
    /// use tilegrad::models::LinearRegression;
    ///
    /// let block = |hours: Vec<f32>| {
    ///     let marks: Vec<f32> = hours.iter().map(|hours| 20.0 * hours + 10.0).collect();
    ///     Dataset::new(Table::new(vec!["hours".into()], hours)?, "marks", marks)
    /// };
    /// let blocks = [vec![1.0, 2.0], vec![3.0, 4.0, 5.0]].map(block);
    /// let model = LinearRegression::new().fit_blocks(&Cpu, blocks)?;
    /// assert!((model.raw().0[0] - 20.0).abs() < 1e-4);
    /// # Ok::<(), tilegrad::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`LinearRegression::fit`]; [`Error::Data`]: no blocks, or blocks with other columns; [`Error::Setting`]:
    /// [`Method::Direct`] was asked for; and the first error among the blocks.
    pub fn fit_blocks<E: Engine>(
        &self,
        engine: &E,
        blocks: impl IntoIterator<Item = Result<Dataset>>,
    ) -> Result<FittedLinear> {
        descent::check(self.learning_rate, self.iterations)?;
        if self.method == Method::Direct {
            return Err(Error::Setting(
                "the method direct goes over all samples in each step, and blocks are not kept: take the method gram"
                    .to_owned(),
            ));
        }
        let mut blocks = blocks.into_iter();
        let Some(first) = blocks.next() else {
            return Err(Error::Data("there are no blocks of samples to learn from".to_owned()));
        };
        let first = first?;
        let mut compression = Compression::new(&first)?;
        compression.add(&first)?;
        let (columns, target) = (first.features().columns().to_vec(), first.target().to_owned());
        let mut samples = first.samples();
        drop(first);
        for block in blocks {
            let block = block?;
            samples += block.samples();
            compression.add(&block)?;
        }
        let small = few(engine, compression.finish(self.scale)?)?;
        let about = About { columns: &columns, target: &target, samples, method: Method::Gram };
        self.run(engine, about, small, None, &mut |_| ())
    }

    fn train<E: Engine>(
        &self,
        engine: &E,
        dataset: &Dataset,
        checkpoints: Option<Checkpoints>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<FittedLinear> {
        descent::check(self.learning_rate, self.iterations)?;
        let table = dataset.features();
        let (samples, features) = (table.rows(), table.columns().len());
        let resumed =
            checkpoints.as_ref().and_then(Checkpoints::found).and_then(|found| found.setting(METHOD));
        let method = self.method.resolve(engine, (samples, features), self.iterations, resumed);
        let checkpoints = checkpoints
            .map(|checkpoints| checkpoints.of(self.subject(engine, dataset, method), self.iterations))
            .transpose()?;

        let prepared = match method {
            Method::Gram => {
                let mut compression = Compression::new(dataset)?;
                compression.add(dataset)?;
                few(engine, compression.finish(self.scale)?)?
            }
            _ => {
                let x = engine.share(samples, features, table.shared_values())?;
                let (scaler, constant) = Scaler::fit(self.scale, engine, &x, table)?;
                let (scaling, y) = (scaler.on(engine)?, engine.upload(samples, 1, dataset.y())?);
                Prepared { x, scaling, y, scaler, constant }
            }
        };
        let about = About { columns: table.columns(), target: dataset.target(), samples, method };
        self.run(engine, about, prepared, checkpoints, progress)
    }

    /// Descent over what was prepared.
    fn run<E: Engine>(
        &self,
        engine: &E,
        about: About<'_>,
        prepared: Prepared<E>,
        checkpoints: Option<(Writer, Option<Checkpoint>)>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<FittedLinear> {
        let About { columns, target, samples, method } = about;
        let Prepared { x, scaling, y, scaler, constant } = &prepared;
        let features = columns.len();
        let over = &Samples { x, scaling: scaling.as_ref(), y };
        let zeros = |learning_rate| {
            let weights = engine.upload(features, 1, &vec![0.0; features])?;
            let bias = engine.upload(1, 1, &[0.0])?;
            Ok::<_, Error>(Steps { engine, over, weights, bias, learning_rate })
        };
        let mut descent = zeros(self.learning_rate)?;

        let run = descent::descend(engine, &mut descent, self.iterations, checkpoints, progress)?;
        let Steps { weights, bias, .. } = descent;
        // The cost after the last step is watched as the others are.
        let run = match run {
            Ok(mut history) => {
                let last = engine.cost(LOSS, over, &weights, &bias)?;
                history.extend(&[last]).and_then(|()| history.into_costs())
            }
            Err(growth) => Err(growth),
        };
        let history = match run {
            Ok(history) => history,
            Err(growth) if growth.iteration == 0 => {
                return Err(Error::Data(format!(
                    "the cost is {} before the first step: the values of the target {:?} are too large for 32-bit \
                     floating point: use a larger unit",
                    growth.cost, target
                )));
            }
            Err(growth) => {
                let suggestion = descent::rate_that_would_do(engine, x, scaling.as_ref())?;
                // A rate is only suggested if it does: sums of a huge target overflow with any.
                if let Some(rate) = suggestion {
                    let costs = zeros(rate)?.steps(TRIAL_STEPS)?;
                    if History::default().extend(&costs).is_err() {
                        return Err(Error::Data(format!(
                            "the cost goes from {:.6e} to {:.6e} whatever the learning rate: the values of the target \
                             {:?} are too large for 32-bit floating point: use a larger unit",
                            growth.first_cost, growth.cost, target
                        )));
                    }
                }
                return Err(Error::Diverged {
                    iteration: growth.iteration,
                    first_cost: growth.first_cost,
                    cost: growth.cost,
                    learning_rate: self.learning_rate,
                    suggestion,
                });
            }
        };

        let weights = engine.read(&weights)?;
        let bias = engine.read(&bias)?[0];
        let (raw, raw_bias) = scaler.to_raw(&weights, bias);
        if !weights.iter().chain([&bias]).chain(&raw).chain([&raw_bias]).all(|value| value.is_finite()) {
            return Err(Error::Data("the weights are beyond floating point: use other units".to_owned()));
        }
        Ok(FittedLinear {
            features: columns.to_vec(),
            target: target.to_owned(),
            scaler: scaler.clone(),
            weights,
            bias,
            training: Training {
                learning_rate: self.learning_rate,
                iterations: self.iterations,
                engine: engine.arithmetic(),
                method,
                samples,
                cost: history[self.iterations],
                constant_features: constant.iter().map(|&j| columns[j].clone()).collect(),
            },
            history,
        })
    }

    /// What decides the bits of each step.
    pub(super) fn subject<E: Engine>(&self, engine: &E, dataset: &Dataset, method: Method) -> Subject {
        let settings = [
            ("loss", LOSS.to_string().into()),
            ("learning rate", self.learning_rate.into()),
            ("scale", self.scale.to_string().into()),
            (METHOD, method.to_string().into()),
        ];
        Subject::new("linear", settings, engine, dataset)
    }
}

/// What a model is trained on, in words.
struct About<'a> {
    columns: &'a [String],
    target: &'a str,
    samples: usize,
    method: Method,
}

/// What the steps go over, on an engine.
struct Prepared<E: Engine> {
    x: E::Matrix,
    scaling: Option<Scaling<E::Matrix>>,
    y: E::Matrix,
    scaler: Scaler,
    /// The numbers of the features that are constant.
    constant: Vec<usize>,
}

/// The few samples on the engine. They are scaled already.
fn few<E: Engine>(engine: &E, compressed: Compressed) -> Result<Prepared<E>> {
    let Compressed { samples, x, y, scaler, constant } = compressed;
    let x = engine.share(samples, x.len() / samples, &Arc::new(x))?;
    Ok(Prepared { x, scaling: None, y: engine.upload(samples, 1, &y)?, scaler, constant })
}

/// Weights and bias on their way down, with what the way goes over.
struct Steps<'a, E: Engine> {
    engine: &'a E,
    over: &'a Samples<'a, E::Matrix>,
    weights: E::Matrix, // (n)
    bias: E::Matrix,    // (1)
    learning_rate: f64,
}

impl<E: Engine> Descent<E> for Steps<'_, E> {
    fn parameters(&mut self) -> Vec<(String, &mut E::Matrix)> {
        vec![("weights".to_owned(), &mut self.weights), ("bias".to_owned(), &mut self.bias)]
    }

    fn steps(&mut self, count: usize) -> Result<Vec<f64>> {
        let Steps { engine, over, weights, bias, learning_rate } = self;
        engine.descend(LOSS, over, weights, bias, *learning_rate, count)
    }
}

/// How a model was trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// The learning rate α.
    pub learning_rate: f64,
    /// The number of steps.
    pub iterations: usize,
    /// The engine's [arithmetic](Engine::arithmetic). Not how many threads it had: the model is the same with any number.
    pub engine: String,
    /// What each step went over.
    pub method: Method,
    /// The number of samples.
    pub samples: usize,
    /// The cost after the last step.
    pub cost: f64,
    /// Features that were the same in all samples, whose weight therefore stayed 0 (see [`Scaler`]).
    pub constant_features: Vec<String>,
}

/// A linear model that has been trained: it predicts, and can be saved.
#[derive(Clone, Debug, PartialEq)]
pub struct FittedLinear {
    pub(super) features: Vec<String>,
    pub(super) target: String,
    pub(super) scaler: Scaler,
    pub(super) weights: Vec<f64>,
    pub(super) bias: f64,
    pub(super) training: Training,
    pub(super) history: Vec<f64>,
}

impl FittedLinear {
    /// Predicts the target for each row of `x`, in the target's own units. What is sent to the engine is scaled there.
    ///
    /// # Errors
    /// Columns other than the model's features in the model's order; values so far from those that the model was
    /// trained on that a prediction is not finite; or what the engine reports.
    pub fn predict<E: Engine>(&self, engine: &E, x: &Table) -> Result<Vec<f64>> {
        if x.columns() != self.features {
            return Err(Error::Data(format!(
                "the model was trained on the columns {:?}, in this order; these data have {:?}",
                self.features,
                x.columns()
            )));
        }
        let narrow = |values: &[f64]| values.iter().map(|&value| value as f32).collect::<Vec<f32>>();
        let features = self.features.len();
        let x = engine.share(x.rows(), features, x.shared_values())?;
        let scaling = self.scaler.on(engine)?;
        let weights = engine.upload(features, 1, &narrow(&self.weights))?;
        let bias = engine.upload(1, 1, &narrow(&[self.bias]))?;
        let predictions = engine.read(&engine.matrix_vector(&x, scaling.as_ref(), &weights, &bias)?)?;
        match predictions.iter().position(|value| !(*value as f32).is_finite()) {
            None => Ok(predictions),
            Some(row) => Err(Error::Data(format!(
                "row {}: the prediction is beyond 32-bit floating point, because values there are too far from those \
                 that the model was trained on",
                row + 1
            ))),
        }
    }

    /// The features' names, in the order of the weights.
    pub fn features(&self) -> &[String] {
        &self.features
    }

    /// The target's name.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The scaler.
    pub fn scaler(&self) -> &Scaler {
        &self.scaler
    }

    /// The weight of each scaled feature (target's units per standard deviation).
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// The bias for scaled features: the prediction where each feature has its mean.
    pub fn bias(&self) -> f64 {
        self.bias
    }

    /// The weights (target's units per feature's unit) and the bias for data as they are, without scaling.
    pub fn raw(&self) -> (Vec<f64>, f64) {
        self.scaler.to_raw(&self.weights, self.bias)
    }

    /// How the model was trained.
    pub fn training(&self) -> &Training {
        &self.training
    }

    /// The cost before each step, and after the last: iterations + 1 values. Empty for a model from a file.
    pub fn history(&self) -> &[f64] {
        &self.history
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Loop;

    fn diabetes() -> Dataset {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/diabetes.csv");
        Dataset::read_csv(path, "progression", None).unwrap()
    }

    fn dataset(columns: &[&str], values: &[f32], y: &[f32]) -> Dataset {
        let table = Table::new(columns.iter().map(ToString::to_string).collect(), values.to_vec()).unwrap();
        Dataset::new(table, "y", y.to_vec()).unwrap()
    }

    #[test]
    fn the_rate_that_is_suggested_converges_and_a_little_more_than_twice_it_does_not() {
        let data = diabetes();
        for scale in [Scale::ZScore, Scale::None] {
            let fit = |rate| {
                LinearRegression::new().learning_rate(rate).iterations(2000).scale(scale).fit(&Loop, &data)
            };
            let Err(Error::Diverged { iteration, suggestion: Some(rate), .. }) = fit(1e6) else {
                panic!("a rate of 1e6 must diverge");
            };
            assert_eq!(iteration, 1);
            let costs = fit(rate).unwrap().history().to_vec();
            assert!(costs.windows(2).all(|pair| pair[1] <= pair[0] * (1.0 + 1e-12)));
            assert!(matches!(fit(2.2 * rate), Err(Error::Diverged { .. })), "{scale:?}: {rate}");
        }
    }

    #[test]
    fn a_rate_only_just_too_large_is_divergence_even_if_the_cost_has_not_doubled() {
        // λ is 1, so 2 is the limit.
        let data = dataset(&["a"], &[1.0, 2.0, 3.0], &[5.0, 6.0, 9.0]);
        let fit = |rate| LinearRegression::new().learning_rate(rate).fit(&Loop, &data);
        assert!(matches!(fit(2.0001), Err(Error::Diverged { suggestion: Some(1.0), .. })));
        assert!(fit(1.999).is_ok());
    }

    #[test]
    fn a_target_whose_sums_overflow_is_said_to_be_too_large_not_the_rate() {
        let data = dataset(&["a"], &[1.0, 2.0, 3.0], &[3e38, -3e38, 3e38]);
        let text = LinearRegression::new().fit(&crate::engine::Cpu, &data).unwrap_err().to_string();
        assert!(text.contains("target \"y\" are too large"), "{text}");
    }

    #[test]
    fn an_infinite_rate_and_one_that_f32_cannot_hold_are_refused_or_diverge() {
        let data = diabetes();
        let fit = |rate| LinearRegression::new().learning_rate(rate).iterations(3).fit(&Loop, &data);
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-60] {
            assert!(matches!(fit(rate), Err(Error::Setting(_))), "{rate}");
        }
        assert!(matches!(fit(1e300), Err(Error::Diverged { iteration: 1, .. })));
        let none = LinearRegression::new().iterations(0).fit(&Loop, &data);
        assert!(matches!(none, Err(Error::Setting(_))));
    }

    #[test]
    fn a_constant_feature_changes_nothing_and_is_said() {
        let with = dataset(&["a", "c"], &[1.0, 7.1, 2.0, 7.1, 4.0, 7.1], &[1.0, 2.0, 5.0]);
        let without = dataset(&["a"], &[1.0, 2.0, 4.0], &[1.0, 2.0, 5.0]);
        let with = LinearRegression::new().fit(&Loop, &with).unwrap();
        let without = LinearRegression::new().fit(&Loop, &without).unwrap();
        assert_eq!(with.training().constant_features, ["c"]);
        assert_eq!(with.weights(), [without.weights()[0], 0.0]);
        assert_eq!((with.bias(), with.history()), (without.bias(), without.history()));
    }

    #[test]
    fn one_sample_gives_its_own_target() {
        let model = LinearRegression::new().fit(&Loop, &dataset(&["a"], &[3.0], &[5.0])).unwrap();
        let x = Table::new(vec!["a".to_owned()], vec![3.0, 100.0]).unwrap();
        assert!(model.predict(&Loop, &x).unwrap().iter().all(|value| (value - 5.0).abs() < 1e-4));
    }

    #[test]
    fn predictions_are_those_of_the_raw_weights() {
        let data = diabetes();
        let model = LinearRegression::new().fit(&Loop, &data).unwrap();
        let (weights, bias) = model.raw();
        let predictions = model.predict(&Loop, data.features()).unwrap();
        for (row, prediction) in data.features().values().chunks(weights.len()).zip(predictions) {
            let raw = bias + row.iter().zip(&weights).map(|(x, w)| f64::from(*x) * w).sum::<f64>();
            assert!((raw - prediction).abs() < 1e-4 * raw.abs());
        }
        let other = Table::new(vec!["age".to_owned()], vec![1.0]).unwrap();
        assert!(model.predict(&Loop, &other).is_err());
    }

    #[test]
    fn blocks_give_the_model_of_all_samples_at_once() {
        let data = diabetes();
        let (columns, n) = (data.features().columns(), data.features().columns().len());
        let block = |(x, y): (&[f32], &[f32])| {
            Dataset::new(Table::new(columns.to_vec(), x.to_vec())?, data.target(), y.to_vec())
        };
        let blocks = || data.features().values().chunks(100 * n).zip(data.y().chunks(100)).map(block);
        let settings = LinearRegression::new().iterations(50);
        let at_once = settings.clone().method(Method::Gram).fit(&Loop, &data).unwrap();
        for method in [Method::Auto, Method::Gram] {
            assert_eq!(settings.clone().method(method).fit_blocks(&Loop, blocks()).unwrap(), at_once);
        }
        let refused = |settings: LinearRegression, blocks: Vec<Result<Dataset>>| {
            settings.fit_blocks(&Loop, blocks).unwrap_err().to_string()
        };
        assert!(refused(settings.clone().method(Method::Direct), vec![]).contains("take the method gram"));
        assert!(refused(settings.clone(), vec![]).contains("no blocks"));
        let failed = Err(Error::Data("line 7 is bad".to_owned()));
        assert_eq!(refused(settings, blocks().take(1).chain([failed]).collect()), "line 7 is bad");
    }

    #[test]
    fn a_model_says_what_it_was_trained_on_and_how() {
        let data = dataset(&["a", "b"], &[1.0, 5.0, 3.0, 8.0, 4.0, 6.0, 9.0, 7.0], &[1.0, 4.0, 3.0, 9.0]);
        let settings = LinearRegression::new().learning_rate(0.25).iterations(7).scale(Scale::None);
        assert_eq!(
            settings,
            LinearRegression { learning_rate: 0.25, iterations: 7, scale: Scale::None, method: Method::Auto }
        );
        let settings = LinearRegression::new().learning_rate(0.25).iterations(7);
        let model = settings.fit(&Loop, &data).unwrap();
        assert_eq!((model.features(), model.target()), (data.features().columns(), "y"));
        assert_eq!((model.scaler().scale(), model.scaler().mean()), (Scale::ZScore, &[4.25, 6.5][..]));
        assert_eq!((model.weights(), model.bias()), (&model.weights[..], model.bias));
        assert_eq!(model.history().len(), 8);
        assert_eq!(model.training().cost, model.history()[7]);
        let Training { learning_rate, iterations, samples, constant_features, .. } = model.training().clone();
        assert_eq!((learning_rate, iterations, samples), (0.25, 7, 4));
        assert!(constant_features.is_empty() && model.training().engine == Loop.arithmetic());
        // One step from 0 with a rate of 1/4 leaves 3/4 of the mean of y, 4.25, as the bias' error.
        assert!((model.bias() - 4.25 * (1.0 - 0.75_f64.powi(7))).abs() < 1e-12, "{}", model.bias());
    }

    #[test]
    fn a_first_cost_that_overflows_is_the_targets_fault() {
        let data = dataset(&["a"], &[1.0, 2.0], &[3e38, 2e38]);
        let text =
            LinearRegression::new().fit(&crate::engine::Emulator::new(), &data).unwrap_err().to_string();
        assert!(text.contains("before the first step") && text.contains("target \"y\""), "{text}");
    }
}
