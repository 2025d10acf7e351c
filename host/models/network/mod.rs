//! Dense networks: layers of matrix products, each with a bias and an activation, and their training.

mod architecture;
mod fitted;
mod initial;
mod layers;
mod trainer;

pub use architecture::Layers;
pub use fitted::FittedNetwork;
pub use layers::{DenseLayer, DenseNetwork};

use super::checkpoint::Subject;
use super::settings::builder_methods;
use super::training::About;
use super::{Checkpoints, Method, Optimiser, Progress, Scaler, Settings, Solver, Training};
use crate::data::{Dataset, held_back};
use crate::engine::{Activation, Engine, Head, Samples};
use crate::{Error, Result};
use trainer::{Outcome, Parameters, Task};

/// A dense network for regression, two classes or several: a multilayer perceptron, trained by back-propagation.
///
/// J is that of the last layer's [`Head`] and the penalty λ/2 · Σw². First weights, the order of the samples in each epoch,
/// and the samples that early stopping looks at are drawn by ChaCha8 with the seed: the same on every platform and engine.
/// The same data and settings give the same bits on the same engine.
///
/// The target of a regression is brought to mean 0 and deviation 1 for training, and the last layer to the target's own units
/// afterwards; costs are in these units, squared. The scaler learns from the features of all samples that are given; the
/// target's mean and deviation are of those that are trained on.
///
/// **Costs** ([`FittedNetwork::history`]): of each epoch the mean over its mini-batches, each before its step, with the
/// penalty at the epoch's begin; and, last, the cost of the model.
///
/// ```
/// use tilegrad::data::{Dataset, Table};
/// use tilegrad::engine::{Activation, Cpu};
/// use tilegrad::models::{Layers, MultilayerPerceptron};
///
/// // Which of two inputs is 1, but not both: no line tells these apart.
/// let inputs = Table::new(vec!["a".into(), "b".into()], vec![0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0])?;
/// let dataset = Dataset::labelled(inputs, "xor", &["no", "yes", "yes", "no"])?;
/// let layers = Layers::new([(8, Activation::Relu)]);
/// let settings = MultilayerPerceptron::new().layers(layers).learning_rate(0.05).epochs(300);
/// let model = settings.fit(&Cpu, &dataset)?;
/// assert_eq!(model.score(&Cpu, &dataset)?, 1.0);
/// # Ok::<(), tilegrad::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct MultilayerPerceptron {
    settings: Settings,
    layers: Layers,
    start: Option<FittedNetwork>,
}

builder_methods!(MultilayerPerceptron);

impl Default for MultilayerPerceptron {
    fn default() -> Self {
        MultilayerPerceptron {
            settings: Self::default_settings(),
            layers: Layers::new([(64, Activation::Relu)]),
            start: None,
        }
    }
}

impl MultilayerPerceptron {
    /// One hidden layer of 64 units with ReLU, and [`MultilayerPerceptron::default_settings`].
    pub fn new() -> Self {
        Self::default()
    }

    /// Adam with learning rate 0.001, 100 epochs of mini-batches of 32 samples, features scaled by [`Scale::ZScore`](super::Scale::ZScore), no
    /// penalty, seed 0.
    pub fn default_settings() -> Settings {
        Settings {
            learning_rate: 1e-3,
            epochs: 100,
            batch_size: Some(32),
            optimiser: Optimiser::adam(),
            ..Settings::default()
        }
    }

    /// The layers: hidden ones, and what comes last, if it is not to follow from the target.
    #[must_use]
    pub fn layers(mut self, layers: Layers) -> Self {
        self.layers = layers;
        self
    }

    /// Each step goes over all samples. These are then on the engine twice: as they are, and scaled.
    #[must_use]
    pub fn full_batch(mut self) -> Self {
        self.settings.batch_size = None;
        self
    }

    /// Begins at what `model` has learnt, of the same features and classes and with the same layers, rather than at random
    /// weights. The optimiser begins anew.
    #[must_use]
    pub fn warm_start(mut self, model: &FittedNetwork) -> Self {
        self.start = Some(model.clone());
        self
    }

    /// Trains on `dataset` on `engine`. A target of a data set without classes is a number, unless a last layer for
    /// classes was asked for: then each different value is one.
    ///
    /// # Errors
    /// - [`Error::Setting`]: what [`Settings::check`] refuses; [`Method::Gram`] or another solver than descent; a last layer
    ///   that does not fit the target; a warm start from another network.
    /// - [`Error::Data`]: fewer than two classes, too few samples for a validation share, or values too large for 32-bit
    ///   floating point.
    /// - [`Error::Unstable`]: the cost is no longer finite, or has grown beyond doubt: it is 100 times what it was before
    ///   the first step, or would be if z were 0, whichever is larger.
    /// - What the engine reports.
    pub fn fit<E: Engine>(&self, engine: &E, dataset: &Dataset) -> Result<FittedNetwork> {
        self.fit_watched(engine, dataset, |_| ())
    }

    /// As [`MultilayerPerceptron::fit`]; `progress` is called several times a second, or after each epoch.
    ///
    /// # Errors
    /// As [`MultilayerPerceptron::fit`].
    pub fn fit_watched<E: Engine>(
        &self,
        engine: &E,
        dataset: &Dataset,
        mut progress: impl FnMut(Progress),
    ) -> Result<FittedNetwork> {
        self.train(engine, dataset, None, &mut progress)
    }

    /// As [`MultilayerPerceptron::fit_watched`], with checkpoints, from which training goes on to the same bits. They are
    /// between epochs.
    ///
    /// # Errors
    /// As [`MultilayerPerceptron::fit`]; [`Error::Checkpoint`]: the checkpoint to go on from is of other data, settings or
    /// engine, or is beyond the epochs; or one cannot be written.
    pub fn fit_resumable<E: Engine>(
        &self,
        engine: &E,
        dataset: &Dataset,
        checkpoints: Checkpoints,
        mut progress: impl FnMut(Progress),
    ) -> Result<FittedNetwork> {
        self.train(engine, dataset, Some(checkpoints), &mut progress)
    }

    fn train<E: Engine>(
        &self,
        engine: &E,
        dataset: &Dataset,
        checkpoints: Option<Checkpoints>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<FittedNetwork> {
        let settings = &self.settings;
        self.check()?;
        let dataset = &self.target_of(dataset)?;
        let classes = dataset.classes().map(<[String]>::to_vec);
        let (units, head) = self.layers.output_for(dataset.target(), classes.as_ref().map(Vec::len))?;
        let layers = Layers::new(self.layers.hidden().iter().copied()).with_output(units, head);
        let checkpoints = checkpoints
            .map(|checkpoints| checkpoints.of(self.subject(engine, dataset, &layers), settings.epochs))
            .transpose()?;

        let rows = Rows::of(dataset, settings)?;
        let unit = match head {
            Head::Identity => Unit::of(dataset.y(), &rows.training),
            Head::Sigmoid | Head::Softmax => Unit { mean: 0.0, deviation: 1.0 },
        };
        let table = dataset.features();
        let x = engine.share(table.rows(), table.columns().len(), table.shared_values())?;
        let (scaler, constant) = Scaler::fit(settings.scale, engine, &x, table)?;
        let (scaling, y) =
            (scaler.on(engine)?, engine.upload(dataset.samples(), 1, &unit.of_all(dataset.y()))?);
        let begin = self.first_layers(dataset, &layers, &scaler, &unit)?;
        let upload = |layer: &DenseLayer| {
            Ok(Parameters {
                weights: engine.upload(layer.inputs, layer.units(), &layer.weights)?,
                bias: engine.upload(1, layer.units(), &layer.bias)?,
                activation: layer.activation,
            })
        };
        let begin = begin.iter().map(upload).collect::<Result<Vec<_>>>()?;
        let samples = Samples { x: &x, scaling: scaling.as_ref(), y: &y };
        let Rows { training, validation } = rows;
        let task = Task { engine, samples, head, settings, training, validation };
        let outcome = trainer::train(task, begin, checkpoints, progress)?;

        let Outcome { layers, mut history, mut validation, ending } = outcome;
        let square = unit.deviation * unit.deviation;
        history.iter_mut().chain(&mut validation).for_each(|cost| *cost *= square);
        let mut layers = layers.iter().map(|layer| read(engine, layer)).collect::<Result<Vec<_>>>()?;
        if let (Head::Identity, Some(last)) = (head, layers.last_mut()) {
            unit.put_into(last)?;
        }
        let training = Training {
            settings: settings.clone(),
            iterations: history.len() - 1,
            ending,
            engine: engine.arithmetic(),
            method: Method::Direct,
            samples: dataset.samples(),
            cost: history[history.len() - 1],
            constant_features: constant.iter().map(|&j| table.columns()[j].clone()).collect(),
        };
        let (encoding, target) = (dataset.encoding().clone(), dataset.target().to_owned());
        let about = About { encoding, target, scaler, training, history };
        Ok(FittedNetwork { about, classes, layers, head, validation })
    }

    fn check(&self) -> Result<()> {
        self.settings.check()?;
        if self.settings.method == Method::Gram {
            let text = "the method gram holds for linear regression alone: take direct for networks";
            return Err(Error::Setting(text.to_owned()));
        }
        if self.settings.solver != Solver::Descent {
            return Err(Error::Setting(format!(
                "the solver {} is not for networks: they are trained by descent",
                self.settings.solver
            )));
        }
        Ok(())
    }

    /// The data set, with classes if the last layer is for some.
    fn target_of(&self, dataset: &Dataset) -> Result<Dataset> {
        match (self.layers.output(), dataset.classes()) {
            (Some((_, Head::Sigmoid | Head::Softmax)), None) => dataset.clone().with_classes(),
            _ => Ok(dataset.clone()),
        }
    }

    /// The layers to begin with.
    fn first_layers(
        &self,
        dataset: &Dataset,
        layers: &Layers,
        scaler: &Scaler,
        unit: &Unit,
    ) -> Result<Vec<DenseLayer>> {
        let Some(start) = &self.start else {
            let (units, _) = layers.output().unwrap_or((1, Head::Identity));
            let all: Vec<_> =
                layers.hidden().iter().copied().chain([(units, Activation::Identity)]).collect();
            return initial::layers(dataset.features().columns().len(), &all, self.settings.seed);
        };
        let refuse = |what: &str, was: String, is: String| {
            Err(Error::Setting(format!(
                "the model to start from has the {what} {was}, and the network to train has {is}: a warm start needs the \
                 same ones, in the same order"
            )))
        };
        if start.features() != dataset.features().columns() {
            let (was, is) = (start.features(), dataset.features().columns());
            return refuse("features", format!("{was:?}"), format!("{is:?}"));
        }
        if start.classes() != dataset.classes() {
            return refuse("classes", format!("{:?}", start.classes()), format!("{:?}", dataset.classes()));
        }
        if start.layers() != *layers {
            return refuse("layers", start.layers().to_string(), layers.to_string());
        }
        let mut begin = start.layers.clone();
        if start.scaler() != scaler
            && let Some(first) = begin.first_mut()
        {
            rescale(first, start.scaler(), scaler)?;
        }
        if let (Head::Identity, Some(last)) = (start.head, begin.last_mut()) {
            unit.take_from(last)?;
        }
        Ok(begin)
    }

    /// What decides the bits of each step.
    fn subject<E: Engine>(&self, engine: &E, dataset: &Dataset, layers: &Layers) -> Subject {
        let mut settings = self.settings.entries(Method::Direct);
        settings.extend([("layers", layers.to_string().into()), ("seed", self.settings.seed.into())]);
        if let Some(start) = &self.start {
            settings.push(("model to start from", start.fingerprint().into()));
        }
        Subject::new("network", settings, engine, dataset)
    }
}

/// Which samples are trained on, and which early stopping looks at.
struct Rows {
    training: Vec<u32>,
    validation: Vec<u32>,
}

impl Rows {
    fn of(dataset: &Dataset, settings: &Settings) -> Result<Self> {
        let Ok(samples) = u32::try_from(dataset.samples()) else {
            return Err(Error::Data(format!(
                "{} samples are more than can be trained on at once: take at most {}",
                dataset.samples(),
                u32::MAX
            )));
        };
        let Some(stopping) = settings.early_stopping else {
            return Ok(Rows { training: (0..samples).collect(), validation: Vec::new() });
        };
        let held = held_back(dataset.samples(), stopping.validation_share, settings.seed)?;
        let (validation, training) = (0..samples).partition(|&row| held[row as usize]);
        Ok(Rows { training, validation })
    }
}

/// What the target is counted from and measured in while a regression is trained.
struct Unit {
    mean: f64,
    deviation: f64,
}

impl Unit {
    /// Mean and population deviation of these rows; a constant target is measured in 1.
    fn of(y: &[f32], rows: &[u32]) -> Self {
        let samples = rows.len() as f64;
        let values = || rows.iter().map(|&row| f64::from(y[row as usize]));
        let mean = values().sum::<f64>() / samples;
        let deviation = (values().map(|y| (y - mean) * (y - mean)).sum::<f64>() / samples).sqrt();
        match values().all(|value| value == f64::from(y[rows[0] as usize])) || deviation == 0.0 {
            true => Unit { mean, deviation: 1.0 },
            false => Unit { mean, deviation },
        }
    }

    fn of_all(&self, y: &[f32]) -> Vec<f32> {
        y.iter().map(|&y| ((f64::from(y) - self.mean) / self.deviation) as f32).collect()
    }

    /// Has the layer give y for what it gave (y − mean) / deviation for.
    fn put_into(&self, layer: &mut DenseLayer) -> Result<()> {
        layer.weights.iter_mut().for_each(|w| *w = (f64::from(*w) * self.deviation) as f32);
        layer.bias.iter_mut().for_each(|b| *b = (f64::from(*b) * self.deviation + self.mean) as f32);
        layer.check()
    }

    /// The way back.
    fn take_from(&self, layer: &mut DenseLayer) -> Result<()> {
        layer.weights.iter_mut().for_each(|w| *w = (f64::from(*w) / self.deviation) as f32);
        layer.bias.iter_mut().for_each(|b| *b = ((f64::from(*b) - self.mean) / self.deviation) as f32);
        layer.check()
    }
}

/// Has a layer on features as `old` scales them take them as `new` does.
fn rescale(layer: &mut DenseLayer, old: &Scaler, new: &Scaler) -> Result<()> {
    let units = layer.units();
    let mut bias: Vec<f64> = layer.bias.iter().copied().map(f64::from).collect();
    for (j, weights) in layer.weights.chunks_exact_mut(units).enumerate() {
        let shift = new.mean()[j] - old.mean()[j];
        let (was, is) = (old.standard_deviation()[j], new.standard_deviation()[j]);
        for (weight, bias) in weights.iter_mut().zip(&mut bias) {
            *bias += f64::from(*weight) / was * shift;
            *weight = (f64::from(*weight) / was * is) as f32;
        }
    }
    layer.bias.iter_mut().zip(bias).for_each(|(to, bias)| *to = bias as f32);
    layer.check()
}

/// A layer as it is on the engine.
fn read<E: Engine>(engine: &E, layer: &Parameters<E::Matrix>) -> Result<DenseLayer> {
    let narrow = |matrix| -> Result<Vec<f32>> {
        Ok(engine.read(matrix)?.into_iter().map(|value| value as f32).collect())
    };
    let (inputs, _) = engine.shape(&layer.weights);
    DenseLayer::new(inputs, narrow(&layer.weights)?, narrow(&layer.bias)?, layer.activation)
}
