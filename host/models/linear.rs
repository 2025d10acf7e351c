//! Linear regression.

use super::checkpoint::{Fingerprint, Subject};
use super::gram::{Centred, Compression};
use super::predictions::{numbers_not, numbers_of, truth};
use super::regression::{self, Affine, Prepared, Start, Task, Trained};
use super::settings::builder_methods;
use super::source::{Facts, Source, Wanted};
use super::training::{About, Run, about_methods, watched_methods};
use super::{Checkpoints, Method, Progress, Settings, Solver, metrics, normal, stepwise};
use crate::data::{Blocks, Dataset, Encoding, Table};
use crate::engine::{Engine, Head, Loss};
use crate::{Error, Result};

/// Linear regression: ŷ = Xw + b with the w and b that make J = Σ(ŷ − y)² / (2m) + λ/2 Σw² small.
///
/// **How.** [`Solver::Normal`] takes the minimum from the normal equations, of sums in `f64` over one pass; [`Training`](super::Training) says
/// whether by Cholesky or, where columns depend on each other so much that this would lose digits, by QR: of several
/// minima the weights that are shortest, for features measured in their deviations. Otherwise it is descent: over all
/// samples at a constant rate, or else as a network of one layer.
///
/// [`Method`] says what the steps of full-batch descent go over. Each step is w := w − α (Xᵀe/m + λw), b := b − α Σe/m,
/// with e = ŷ − y over all m samples, from w = 0 and b = 0 or a warm start. The same data and settings give the same
/// bits on the same engine.
///
/// ```
/// use tilegrad::models::{LinearRegression, Scale};
///
/// let settings = LinearRegression::new().learning_rate(0.1).iterations(1000).scale(Scale::ZScore);
/// # let _ = settings;
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LinearRegression {
    settings: Settings,
    start: Option<Start>,
}

builder_methods!(LinearRegression);
watched_methods!(LinearRegression, FittedLinear);

impl LinearRegression {
    /// What [`Settings::default`] says.
    pub fn new() -> Self {
        Self::default()
    }

    /// What each step goes over: all samples, or a few that say the same.
    #[must_use]
    pub fn method(mut self, method: Method) -> Self {
        self.settings.method = method;
        self
    }

    /// Begins at what `model` has learnt, of the same features, rather than at 0.
    #[must_use]
    pub fn warm_start(mut self, model: &FittedLinear) -> Self {
        self.start = Some(Start::of(&model.about, &model.affine));
        self
    }

    /// Trains on `dataset` on `engine`. The cpu engine reads the data set's own values; others have a copy.
    ///
    /// # Errors
    /// - [`Error::Setting`]: what [`Settings::check`] refuses, [`Solver::Newton`], [`Method::Gram`] with anything but plain
    ///   full-batch descent, or a warm start from other features.
    /// - [`Error::Data`]: a target of classes, or values too large for 32-bit floating point.
    /// - [`Error::Diverged`]: the learning rate is too large, be it by little, so that the cost ends above its lowest;
    ///   says from which iteration, and what rate would do.
    /// - What the engine reports.
    pub fn fit<E: Engine>(&self, engine: &E, dataset: &Dataset) -> Result<FittedLinear> {
        self.fit_watched(engine, dataset, |_| ())
    }

    /// Trains with [`Method::Gram`], or [`Solver::Normal`], on samples that come block by block, and are not
    /// kept: there may be more of them than fit in memory, which holds one block and (features + 2)² numbers
    /// twice. How they are cut into blocks changes no bit.
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
    /// As [`LinearRegression::fit`]; [`Error::Data`]: no blocks, blocks with other columns, or, with [`Solver::Normal`],
    /// columns that depend on each other; [`Error::Setting`]: what goes over the samples in each step was asked for; and
    /// the first error among the blocks.
    pub fn fit_blocks<E: Engine>(
        &self,
        engine: &E,
        blocks: impl IntoIterator<Item = Result<Dataset>>,
    ) -> Result<FittedLinear> {
        self.check()?;
        let settings = &self.settings;
        if settings.solver == Solver::Descent
            && (settings.method == Method::Direct || !settings.is_plain_descent())
        {
            return Err(Error::Setting(
                "descent over all samples needs them in each step, and blocks are not kept: take the method gram with the full \
                 batch at one rate, the solver normal, or mini-batches of a file, with a batch size"
                    .to_owned(),
            ));
        }
        let mut blocks = blocks.into_iter();
        let Some(first) = blocks.next() else {
            return Err(Error::Data("there are no blocks of samples to learn from".to_owned()));
        };
        let first = first?;
        numbers_of(&first)?;
        let mut compression = Compression::new(&first)?;
        compression.add(&first)?;
        let (encoding, target) = (first.encoding().clone(), first.target().to_owned());
        let mut samples = first.samples();
        drop(first);
        for block in blocks {
            let block = block?;
            samples += block.samples();
            compression.add(&block)?;
        }
        let task = self.task(&encoding, &target, samples, Method::Gram);
        if settings.solver == Solver::Normal {
            return self.solve(engine, &task, &compression.centred(settings.scale)?, None);
        }
        let small = Prepared::few(engine, compression.finish(settings.scale)?)?;
        regression::descend(engine, &task, small, None, &mut |_| ()).map(FittedLinear::from)
    }

    fn train<E: Engine>(
        &self,
        engine: &E,
        dataset: &Dataset,
        checkpoints: Option<Checkpoints>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<FittedLinear> {
        let settings = &self.settings;
        self.check()?;
        numbers_of(dataset)?;
        if stepwise::is_needed(settings, 1) {
            let wanted = Wanted { unit: false, fingerprint: checkpoints.is_some() };
            let over = Source::whole(engine, dataset, settings, wanted)?;
            return self.by_steps(engine, over, checkpoints, progress);
        }
        let table = dataset.features();
        let (samples, features) = (table.rows(), table.columns().len());
        let found = checkpoints.as_ref().and_then(Checkpoints::found);
        let resumed = found.and_then(|found| found.setting(Settings::METHOD));
        let method = match settings.solver == Solver::Normal {
            true => Method::Direct,
            false => settings.method.resolve(engine, (samples, features), settings.epochs, resumed),
        };
        let task = self.task(dataset.encoding(), dataset.target(), samples, method);
        if settings.solver == Solver::Normal {
            task.without_checkpoints(checkpoints)?;
            return self.solve(engine, &task, &normal::centred(dataset, settings.scale)?, Some(dataset));
        }
        let checkpoints = checkpoints
            .map(|checkpoints| checkpoints.of(self.subject(engine, dataset, method), settings.epochs))
            .transpose()?;

        let prepared = match method {
            Method::Gram => {
                let mut compression = Compression::new(dataset)?;
                compression.add(dataset)?;
                Prepared::few(engine, compression.finish(settings.scale)?)?
            }
            _ => Prepared::direct(engine, settings.scale, table, dataset.y())?,
        };
        regression::descend(engine, &task, prepared, checkpoints, progress).map(FittedLinear::from)
    }

    fn train_stream<E: Engine>(
        &self,
        engine: &E,
        blocks: &Blocks,
        checkpoints: Option<Checkpoints>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<FittedLinear> {
        let settings = &self.settings;
        self.check()?;
        numbers_not(blocks.classes(), blocks.target()?)?;
        if settings.batch_size.is_some() {
            let wanted = Wanted { unit: false, fingerprint: checkpoints.is_some() };
            let over = Source::streamed(engine, blocks, settings, wanted)?;
            return self.by_steps(engine, over, checkpoints, progress);
        }
        match checkpoints {
            None => self.fit_blocks(engine, blocks),
            Some(_) => Err(Error::Setting(
                "one pass over a file has no checkpoints, as the steps go over few samples and take little time: leave the \
                 checkpoint out, or set a batch size for mini-batches"
                    .to_owned(),
            )),
        }
    }

    /// As a network of one layer.
    fn by_steps<E: Engine>(
        &self,
        engine: &E,
        (source, facts): (Source<'_, E>, Facts),
        checkpoints: Option<Checkpoints>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<FittedLinear> {
        let task = self.task(&facts.encoding, &facts.target, facts.samples, Method::Direct);
        stepwise::descend(engine, &task, Head::Identity, (&source, &facts), checkpoints, progress)
            .map(FittedLinear::from)
    }

    /// Refuses settings that make no sense, or not together.
    fn check(&self) -> Result<()> {
        let settings = &self.settings;
        if settings.solver == Solver::Newton {
            return Err(Error::Setting(
                "the solver newton is for logistic regression: take normal, or descent, for linear regression".to_owned(),
            ));
        }
        stepwise::check(settings, 1)
    }

    /// The normal equations.
    fn solve<E: Engine>(
        &self,
        engine: &E,
        task: &Task<'_>,
        centred: &Centred,
        dataset: Option<&Dataset>,
    ) -> Result<FittedLinear> {
        let solution = normal::solve(centred, &self.settings, dataset)?;
        let affine = Affine { weights: solution.weights, bias: vec![solution.bias] }.of_raw(&centred.scaler);
        let run = Run::new(vec![solution.cost], solution.ending);
        task.trained(engine, centred.scaler.clone(), &centred.constant, affine, run).map(FittedLinear::from)
    }

    fn task<'a>(
        &'a self,
        encoding: &'a Encoding,
        target: &'a str,
        samples: usize,
        method: Method,
    ) -> Task<'a> {
        let (settings, start) = (&self.settings, self.start.as_ref());
        let (model, loss) = ("linear", Loss::SquaredError);
        Task { model, settings, loss, encoding, target, samples, method, start, outputs: 1 }
    }

    /// What decides the bits of each step.
    pub(super) fn subject<E: Engine>(&self, engine: &E, dataset: &Dataset, method: Method) -> Subject {
        let task = self.task(dataset.encoding(), dataset.target(), dataset.samples(), method);
        task.subject(engine, Fingerprint::of(dataset))
    }
}

/// A linear model that has been trained: it predicts, and can be saved.
#[derive(Clone, Debug, PartialEq)]
pub struct FittedLinear {
    pub(super) about: About,
    pub(super) affine: Affine,
}

about_methods!(FittedLinear);

impl From<Trained> for FittedLinear {
    fn from(Trained { about, affine }: Trained) -> Self {
        FittedLinear { about, affine }
    }
}

impl FittedLinear {
    /// Predicts the target for each row of `x`, in the target's own units. What is sent to the engine is scaled there.
    ///
    /// # Errors
    /// Columns other than the model's features in the model's order; values so far from those that the model was
    /// trained on that a prediction is not finite; or what the engine reports.
    pub fn predict<E: Engine>(&self, engine: &E, x: &Table) -> Result<Vec<f64>> {
        self.affine.outputs(engine, &self.about, x)
    }

    /// R², RMSE and MAE of the predictions for `dataset`.
    ///
    /// # Errors
    /// As [`FittedLinear::predict`]; another target than the model's.
    pub fn evaluate<E: Engine>(&self, engine: &E, dataset: &Dataset) -> Result<metrics::Regression> {
        let y = truth(&self.about, dataset)?;
        metrics::regression_of(y, &self.predict(engine, dataset.features())?)
    }

    /// R² of the predictions for `dataset`: 1 is perfect, 0 no better than the mean of its target.
    ///
    /// # Errors
    /// As [`FittedLinear::evaluate`]; [`Error::Data`]: the target is constant there, for which R² is not defined.
    pub fn score<E: Engine>(&self, engine: &E, dataset: &Dataset) -> Result<f64> {
        self.evaluate(engine, dataset)?.score(dataset.target())
    }

    /// The weight of each scaled feature (target's units per standard deviation).
    pub fn weights(&self) -> &[f64] {
        &self.affine.weights
    }

    /// The bias for scaled features: the prediction where each feature has its mean.
    pub fn bias(&self) -> f64 {
        self.affine.bias[0]
    }

    /// The weights (target's units per feature's unit) and the bias for data as they are, without scaling.
    pub fn raw(&self) -> (Vec<f64>, f64) {
        let Affine { weights, bias } = self.affine.to_raw(&self.about.scaler);
        (weights, bias[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Loop;
    use crate::models::{Ending, Scale, Training};

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
            let model = settings.clone().method(method).fit_blocks(&Loop, blocks()).unwrap();
            assert_eq!((&model.affine, model.history()), (&at_once.affine, at_once.history()));
            assert_eq!((model.scaler(), model.training().samples), (at_once.scaler(), 442));
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
        let as_said = Settings { learning_rate: 0.25, epochs: 7, scale: Scale::None, ..Settings::default() };
        assert_eq!(settings.settings(), &as_said);
        let settings = LinearRegression::new().learning_rate(0.25).iterations(7);
        let model = settings.fit(&Loop, &data).unwrap();
        assert_eq!((model.features(), model.target()), (data.features().columns(), "y"));
        assert_eq!((model.scaler().scale(), model.scaler().mean()), (Scale::ZScore, &[4.25, 6.5][..]));
        assert_eq!((model.weights(), model.bias()), (&model.affine.weights[..], model.affine.bias[0]));
        assert_eq!(model.history().len(), 8);
        assert_eq!(model.training().cost, model.history()[7]);
        let Training { settings: told, iterations, ending, samples, constant_features, .. } =
            model.training().clone();
        assert_eq!((&told, iterations, ending, samples), (settings.settings(), 7, Ending::Epochs, 4));
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
