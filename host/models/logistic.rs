//! Logistic regression.

use super::checkpoint::Fingerprint;
use super::predictions::{labels, most_probable, numbers_without_classes};
use super::regression::{self, Affine, Prepared, Start, Task, Trained};
use super::settings::builder_methods;
use super::source::{Facts, Source, Wanted};
use super::training::{About, Run, about_methods, watched_methods};
use super::{Checkpoints, Method, Progress, Scaler, Settings, Solver, metrics, newton, stepwise};
use crate::data::{Blocks, Dataset, Encoding, Table};
use crate::engine::{Engine, Head, Loss};
use crate::{Error, Result};

/// Logistic regression: classes from z = Xw + b.
///
/// Of **two classes**, the second has the probability ŷ = 1 / (1 + e⁻ᶻ), and J = −Σ(y ln ŷ + (1 − y) ln(1 − ŷ)) /
/// m + λ/2 Σw², with y = 1 for the second class and 0 for the first. Each step of full-batch descent is w := w −
/// α (Xᵀe/m + λw), b := b − α Σe/m, with e = ŷ − y over all m samples, from w = 0 and b = 0 or a warm start. The
/// same data and settings give the same bits on the same engine.
///
/// Of **K > 2 classes**, z has a column for each, the probabilities are its softmax, p = eᶻ / Σeᶻ, and J = −Σ ln
/// p of each sample's own class / m + λ/2 Σw².
///
/// **How.** [`Solver::Newton`] goes to the minimum in some ten steps, on the host in `f64`; it is refused where
/// there is none, as for classes that weights tell apart without an error, unless there is a penalty. Otherwise
/// it is descent: of two classes over all samples at a constant rate as said. Mini-batches, other optimisers than
/// plain descent, schedules, early stopping and more classes go the way of a network of one layer: see
/// [`MultilayerPerceptron`](super::MultilayerPerceptron) for what the costs are then.
///
/// Classes are those of [`Dataset::classes`]; of a data set without, each different value of the target is one.
///
/// ```
/// use tilegrad::data::{Dataset, Table};
/// use tilegrad::engine::Loop;
/// use tilegrad::models::LogisticRegression;
///
/// let width = Table::new(vec!["width".into()], vec![1.0, 2.0, 3.0, 4.0])?;
/// let dataset = Dataset::labelled(width, "kind", &["apple", "apple", "pear", "pear"])?;
/// let model = LogisticRegression::new().learning_rate(1.0).fit(&Loop, &dataset)?;
/// assert_eq!(model.classes(), ["apple", "pear"]);
/// assert_eq!(model.predict(&Loop, dataset.features())?, [0, 0, 1, 1]);
/// # Ok::<(), tilegrad::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogisticRegression {
    settings: Settings,
    start: Option<Start>,
}

builder_methods!(LogisticRegression);
watched_methods!(LogisticRegression, FittedLogistic);

impl LogisticRegression {
    /// What [`Settings::default`] says.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins at what `model` has learnt, of the same features and classes, rather than at 0.
    #[must_use]
    pub fn warm_start(mut self, model: &FittedLogistic) -> Self {
        self.start = Some(Start::of(&model.about, &model.affine).with_classes(&model.classes));
        self
    }

    /// Trains on `dataset` on `engine`. The cpu engine reads the data set's own values; others have a copy.
    ///
    /// # Errors
    /// - [`Error::Setting`]: what [`Settings::check`] refuses, [`Method::Gram`], [`Solver::Normal`], checkpoints with
    ///   [`Solver::Newton`], or a warm start from other features or classes.
    /// - [`Error::Data`]: fewer than two classes, with [`Solver::Newton`] a cost that has no single minimum,
    ///   or values too large for 32-bit floating point.
    /// - [`Error::Diverged`], or [`Error::Unstable`] as for networks: the learning rate is too large, so that
    ///   the cost grows; says from which iteration, and what rate would do.
    /// - What the engine reports.
    pub fn fit<E: Engine>(&self, engine: &E, dataset: &Dataset) -> Result<FittedLogistic> {
        self.fit_watched(engine, dataset, |_| ())
    }

    fn train<E: Engine>(
        &self,
        engine: &E,
        dataset: &Dataset,
        checkpoints: Option<Checkpoints>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<FittedLogistic> {
        self.check()?;
        let settings = &self.settings;
        let dataset = &dataset.clone().with_classes()?;
        let classes = dataset.classes().unwrap_or_default();
        let (head, outputs) = self.output(classes, dataset.target())?;
        if stepwise::is_needed(settings, outputs) {
            let wanted = Wanted { unit: false, fingerprint: checkpoints.is_some() };
            let over = Source::whole(engine, dataset, settings, wanted)?;
            return self.by_steps(engine, over, (head, outputs, classes), checkpoints, progress);
        }
        let task = self.task(dataset.encoding(), dataset.target(), dataset.samples(), outputs);
        let trained = match settings.solver {
            Solver::Newton => {
                task.without_checkpoints(checkpoints)?;
                newton(engine, &task, dataset, progress)?
            }
            _ => {
                let subject = || task.subject(engine, Fingerprint::of(dataset));
                let checkpoints =
                    checkpoints.map(|checkpoints| checkpoints.of(subject(), settings.epochs)).transpose()?;
                let prepared = Prepared::direct(engine, settings.scale, dataset.features(), dataset.y())?;
                regression::descend(engine, &task, prepared, checkpoints, progress)?
            }
        };
        Ok(FittedLogistic::of(trained, classes))
    }

    fn train_stream<E: Engine>(
        &self,
        engine: &E,
        blocks: &Blocks,
        checkpoints: Option<Checkpoints>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<FittedLogistic> {
        self.check()?;
        let target = blocks.target()?;
        let classes = blocks.classes().ok_or_else(|| numbers_without_classes(target))?;
        let (head, outputs) = self.output(classes, target)?;
        let wanted = Wanted { unit: false, fingerprint: checkpoints.is_some() };
        let over = Source::streamed(engine, blocks, &self.settings, wanted)?;
        self.by_steps(engine, over, (head, outputs, classes), checkpoints, progress)
    }

    /// As a network of one layer.
    fn by_steps<E: Engine>(
        &self,
        engine: &E,
        (source, facts): (Source<'_, E>, Facts),
        (head, outputs, classes): (Head, usize, &[String]),
        checkpoints: Option<Checkpoints>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<FittedLogistic> {
        let task = self.task(&facts.encoding, &facts.target, facts.samples, outputs);
        let trained = stepwise::descend(engine, &task, head, (&source, &facts), checkpoints, progress)?;
        Ok(FittedLogistic::of(trained, classes))
    }

    /// Refuses settings that make no sense, or are not for this model.
    fn check(&self) -> Result<()> {
        self.settings.check()?;
        if self.settings.method == Method::Gram {
            return Err(Error::Setting(
                "the method gram holds for the squared error alone: take direct for logistic regression"
                    .to_owned(),
            ));
        }
        match self.settings.solver == Solver::Normal {
            false => Ok(()),
            true => Err(Error::Setting(
                "the solver normal is for linear regression: take newton, or descent, for logistic regression"
                    .to_owned(),
            )),
        }
    }

    /// What z of these classes is, and its columns; refuses classes that do not fit.
    fn output(&self, classes: &[String], target: &str) -> Result<(Head, usize)> {
        check_classes(classes, target)?;
        let (head, outputs) = match classes.len() {
            2 => (Head::Sigmoid, 1),
            count => (Head::Softmax, count),
        };
        stepwise::check(&self.settings, outputs)?;
        if let Some(start) = &self.start {
            start.check_classes(classes)?;
        }
        Ok((head, outputs))
    }

    fn task<'a>(
        &'a self,
        encoding: &'a Encoding,
        target: &'a str,
        samples: usize,
        outputs: usize,
    ) -> Task<'a> {
        let (settings, start) = (&self.settings, self.start.as_ref());
        let (model, loss, method) = ("logistic", Loss::LogLoss, Method::Direct);
        Task { model, settings, loss, encoding, target, samples, method, start, outputs }
    }
}

/// Newton's method, on the host.
fn newton<E: Engine>(
    engine: &E,
    task: &Task<'_>,
    dataset: &Dataset,
    progress: &mut dyn FnMut(Progress),
) -> Result<Trained> {
    let table = dataset.features();
    let x = engine.share(table.rows(), table.columns().len(), table.shared_values())?;
    let (scaler, constant) = Scaler::fit(task.settings.scale, engine, &x, table)?;
    drop(x);
    let start = task.begin(&scaler, &constant)?;
    let (affine, history, ending) = newton::minimise(dataset, &scaler, task.settings, &start, progress)?;
    task.trained(engine, scaler, &constant, affine, Run::new(history, ending))
}

/// Refuses targets of one class.
fn check_classes(classes: &[String], target: &str) -> Result<()> {
    match classes {
        [] | [_] => Err(Error::Data(format!(
            "the target {target:?} has the class {:?} in every sample: there is nothing to tell apart",
            classes.concat()
        ))),
        _ => Ok(()),
    }
}

/// A logistic model that has been trained: it predicts, and can be saved.
///
/// Of two classes it has one column of weights, for z of the second class.
#[derive(Clone, Debug, PartialEq)]
pub struct FittedLogistic {
    pub(super) about: About,
    pub(super) classes: Vec<String>,
    pub(super) affine: Affine,
}

about_methods!(FittedLogistic);

impl FittedLogistic {
    fn of(Trained { about, affine }: Trained, classes: &[String]) -> Self {
        FittedLogistic { about, classes: classes.to_vec(), affine }
    }

    /// The classes' names, in the order of their numbers.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// The number of the most probable class for each row of `x`: of equally probable ones, the first.
    ///
    /// # Errors
    /// As [`FittedLogistic::probabilities`].
    pub fn predict<E: Engine>(&self, engine: &E, x: &Table) -> Result<Vec<usize>> {
        let probabilities = self.probabilities(engine, x)?;
        Ok(probabilities.chunks_exact(self.classes.len()).map(most_probable).collect())
    }

    /// The probability of each class for each row of `x`: rows × classes, row by row. z is computed on the engine, and the
    /// probabilities of z on the host, in `f64`.
    ///
    /// # Errors
    /// Columns other than the model's features in the model's order; values so far from those that the model was
    /// trained on that z is not finite; or what the engine reports.
    pub fn probabilities<E: Engine>(&self, engine: &E, x: &Table) -> Result<Vec<f64>> {
        let mut z = self.affine.outputs(engine, &self.about, x)?;
        if self.affine.bias.len() == 1 {
            let of = |z: f64| Loss::LogLoss.prediction(z);
            return Ok(z.into_iter().flat_map(|z| [of(-z), of(z)]).collect());
        }
        z.chunks_exact_mut(self.classes.len()).for_each(softmax);
        Ok(z)
    }

    /// Accuracy, log loss, confusion matrix and, of two classes, the area under the curve, of the predictions for
    /// `dataset`. Its classes are compared with the model's by name.
    ///
    /// # Errors
    /// As [`FittedLogistic::probabilities`]; another target than the model's, or a class that the model does not know.
    pub fn evaluate<E: Engine>(&self, engine: &E, dataset: &Dataset) -> Result<metrics::Classification> {
        let labels = labels(&self.about, &self.classes, dataset)?;
        let probabilities = self.probabilities(engine, dataset.features())?;
        metrics::classification(&labels, &probabilities, self.classes.len())
    }

    /// The accuracy of the predictions for `dataset`: the share of samples whose most probable class is theirs.
    ///
    /// # Errors
    /// As [`FittedLogistic::evaluate`].
    pub fn score<E: Engine>(&self, engine: &E, dataset: &Dataset) -> Result<f64> {
        Ok(self.evaluate(engine, dataset)?.accuracy)
    }

    /// The weights of each scaled feature: features × columns of z, row by row. Of two classes there is one column.
    pub fn weights(&self) -> &[f64] {
        &self.affine.weights
    }

    /// The biases for scaled features, one for each column of z.
    pub fn bias(&self) -> &[f64] {
        &self.affine.bias
    }

    /// Weights and biases for data as they are, without scaling.
    pub fn raw(&self) -> (Vec<f64>, Vec<f64>) {
        let Affine { weights, bias } = self.affine.to_raw(&self.about.scaler);
        (weights, bias)
    }
}

/// The softmax of z, in its place: eᶻ / Σeᶻ, with the largest z taken off each first.
pub(super) fn softmax(z: &mut [f64]) {
    let largest = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    z.iter_mut().for_each(|z| *z = (*z - largest).exp());
    let sum: f64 = z.iter().sum();
    z.iter_mut().for_each(|z| *z /= sum);
}
