//! Dense networks: layers of matrix products, each with a bias and an activation, and their training.

mod architecture;
mod fitted;
mod initial;
mod layers;
mod trainer;

pub use architecture::Layers;
pub use fitted::FittedNetwork;
pub use layers::{DenseLayer, DenseNetwork};

use super::checkpoint::{Given, Subject};
use super::predictions::numbers_without_classes;
use super::settings::builder_methods;
use super::source::{Facts, Source, Unit, Wanted};
use super::training::{About, Run, watched_methods};
use super::{Checkpoints, Method, Optimiser, Progress, Scaler, Settings, Solver, Training};
use crate::data::{Blocks, Dataset};
use crate::engine::{Activation, Engine, Head};
use crate::{Error, Result};
pub(super) use trainer::{Outcome, Parameters, Task, train};

/// A dense network for regression, two classes or several: a multilayer perceptron, trained by back-propagation.
///
/// J is that of the last layer's [`Head`] and the penalty λ/2 · Σw². First weights, the order of the samples in each epoch,
/// and the samples that early stopping looks at are drawn by ChaCha8 with the seed: the same on every platform and engine.
/// The same data and settings give the same bits on the same engine.
///
/// The target of a regression is brought to mean 0 and deviation 1 for training, and the last layer to the target's own units
/// afterwards; costs are in these units, squared. Neither the scaler nor the target's mean and deviation are of samples that
/// early stopping holds back.
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
watched_methods!(MultilayerPerceptron, FittedNetwork);

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

    /// Each step goes over all samples. If they are scaled, they are then on the engine twice: as they are, and scaled.
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

    fn train<E: Engine>(
        &self,
        engine: &E,
        dataset: &Dataset,
        checkpoints: Option<Checkpoints>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<FittedNetwork> {
        self.check()?;
        let dataset = &self.target_of(dataset)?;
        let (layers, head) = self.all_layers(dataset.target(), dataset.classes())?;
        let wanted = Wanted { unit: head == Head::Identity, fingerprint: checkpoints.is_some() };
        let over = Source::whole(engine, dataset, &self.settings, wanted)?;
        self.train_on(engine, over, (&layers, head, dataset.classes()), checkpoints, progress)
    }

    fn train_stream<E: Engine>(
        &self,
        engine: &E,
        blocks: &Blocks,
        checkpoints: Option<Checkpoints>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<FittedNetwork> {
        self.check()?;
        if let (Some((_, Head::Sigmoid | Head::Softmax)), None) = (self.layers.output(), blocks.classes()) {
            return Err(numbers_without_classes(blocks.target()?));
        }
        let (layers, head) = self.all_layers(blocks.target()?, blocks.classes())?;
        let wanted = Wanted { unit: head == Head::Identity, fingerprint: checkpoints.is_some() };
        let over = Source::streamed(engine, blocks, &self.settings, wanted)?;
        self.train_on(engine, over, (&layers, head, blocks.classes()), checkpoints, progress)
    }

    fn train_on<E: Engine>(
        &self,
        engine: &E,
        (source, facts): (Source<'_, E>, Facts),
        (layers, head, classes): (&Layers, Head, Option<&[String]>),
        checkpoints: Option<Checkpoints>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<FittedNetwork> {
        let settings = &self.settings;
        let checkpoints = checkpoints
            .map(|checkpoints| checkpoints.of(self.subject(engine, &facts, layers), settings.epochs))
            .transpose()?;
        let upload = |layer: &DenseLayer| {
            Ok(Parameters {
                weights: engine.upload(layer.inputs, layer.units(), &layer.weights)?,
                bias: engine.upload(1, layer.units(), &layer.bias)?,
                activation: layer.activation,
            })
        };
        let begin = self.first_layers(&facts, classes, layers)?;
        let begin = begin.iter().map(upload).collect::<Result<Vec<_>>>()?;
        let task = Task { engine, source: &source, target_square: facts.target_square, head, settings };
        let outcome = train(task, begin, checkpoints, progress)?;

        let Facts { encoding, target, samples, scaler, constant, unit, .. } = facts;
        let Outcome { layers, run: Run { mut history, mut validation, ending } } = outcome;
        let square = unit.deviation * unit.deviation;
        history.iter_mut().chain(&mut validation).for_each(|cost| *cost *= square);
        let mut layers = layers.iter().map(|layer| read(engine, layer)).collect::<Result<Vec<_>>>()?;
        if let (Head::Identity, Some(last)) = (head, layers.last_mut()) {
            put_into(unit, last)?;
        }
        let training = Training {
            settings: settings.clone(),
            iterations: history.len() - 1,
            ending,
            engine: engine.arithmetic(),
            method: Method::Direct,
            samples,
            cost: history[history.len() - 1],
            constant_features: constant.iter().map(|&j| encoding.features()[j].clone()).collect(),
        };
        let about = About { encoding, target, scaler, training, history, validation };
        Ok(FittedNetwork { about, classes: classes.map(<[String]>::to_vec), layers, head })
    }

    /// The hidden layers and the last one, for this target.
    fn all_layers(&self, target: &str, classes: Option<&[String]>) -> Result<(Layers, Head)> {
        let (units, head) = self.layers.output_for(target, classes.map(<[String]>::len))?;
        Ok((Layers::new(self.layers.hidden().iter().copied()).with_output(units, head), head))
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
        facts: &Facts,
        classes: Option<&[String]>,
        layers: &Layers,
    ) -> Result<Vec<DenseLayer>> {
        let (features, scaler) = (facts.encoding.features(), &facts.scaler);
        let Some(start) = &self.start else {
            let (units, _) = layers.output().unwrap_or((1, Head::Identity));
            let all: Vec<_> =
                layers.hidden().iter().copied().chain([(units, Activation::Identity)]).collect();
            return initial::layers(features.len(), &all, self.settings.seed);
        };
        let refuse = |what: &str, was: String, is: String| {
            Err(Error::Setting(format!(
                "the model to start from has the {what} {was}, and the network to train has {is}: a warm start needs the \
                 same ones, in the same order"
            )))
        };
        if start.features() != features {
            return refuse("features", format!("{:?}", start.features()), format!("{features:?}"));
        }
        if start.classes() != classes {
            return refuse("classes", format!("{:?}", start.classes()), format!("{classes:?}"));
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
            take_from(facts.unit, last)?;
        }
        Ok(begin)
    }

    /// What decides the bits of each step.
    fn subject<E: Engine>(&self, engine: &E, facts: &Facts, layers: &Layers) -> Subject {
        let mut settings = self.settings.entries(Method::Direct);
        settings.extend([("layers", layers.to_string().into()), ("seed", self.settings.seed.into())]);
        if let Some(start) = &self.start {
            settings.push(("model to start from", start.fingerprint().into()));
        }
        let given = Given {
            target: &facts.target,
            features: facts.encoding.features(),
            samples: facts.samples,
            fingerprint: facts.fingerprint.clone().unwrap_or_default(),
        };
        Subject::new("network", settings, engine, given)
    }
}

/// Has the layer give y for what it gave (y − mean) / deviation for.
fn put_into(unit: Unit, layer: &mut DenseLayer) -> Result<()> {
    layer.weights.iter_mut().for_each(|w| *w = (f64::from(*w) * unit.deviation) as f32);
    layer.bias.iter_mut().for_each(|b| *b = (f64::from(*b) * unit.deviation + unit.mean) as f32);
    layer.check()
}

/// The way back.
fn take_from(unit: Unit, layer: &mut DenseLayer) -> Result<()> {
    layer.weights.iter_mut().for_each(|w| *w = (f64::from(*w) / unit.deviation) as f32);
    layer.bias.iter_mut().for_each(|b| *b = ((f64::from(*b) - unit.mean) / unit.deviation) as f32);
    layer.check()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Table;
    use crate::engine::{Cpu, Loop};
    use crate::models::source::Rows;
    use crate::models::{EarlyStopping, Ending, Metrics, Model, Predictions, Scale};

    /// Values that differ, in [−1, 1).
    fn values(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|i| ((i + 7 * seed) as f32 * 0.618_034).fract() * 2.0 - 1.0).collect()
    }

    fn table(rows: usize) -> Table {
        let names = ["a", "b", "c"].map(str::to_owned).to_vec();
        // Features of their own units.
        let units = [(3.0, 100.0), (0.01, -5.0), (1.0, 0.0)];
        let values = values(3 * rows, 1).into_iter().enumerate();
        Table::new(names, values.map(|(i, x)| x * units[i % 3].0 + units[i % 3].1).collect()).unwrap()
    }

    fn numbers(rows: usize) -> Dataset {
        let table = table(rows);
        let y = table
            .values()
            .chunks(3)
            .map(|x| 1000.0 + 20.0 * (x[0] - 100.0) * x[2] + 500.0 * (x[1] + 5.0))
            .collect();
        Dataset::new(table, "y", y).unwrap()
    }

    fn classes(rows: usize, count: usize) -> Dataset {
        let table = table(rows);
        let names = ["red", "amber", "green"];
        let of = |x: &[f32]| names[((x[0] - 97.0) / 6.0 * count as f32) as usize % count];
        let labels: Vec<&str> = table.values().chunks(3).map(of).collect();
        Dataset::labelled(table, "light", &labels).unwrap()
    }

    fn small() -> MultilayerPerceptron {
        MultilayerPerceptron::new()
            .layers(Layers::new([(16, Activation::Relu)]))
            .learning_rate(0.02)
            .epochs(60)
    }

    fn values_of(predictions: Predictions) -> Vec<f64> {
        match predictions {
            Predictions::Values(values) => values,
            Predictions::Classes { probabilities, .. } => probabilities,
        }
    }

    #[test]
    fn a_regression_predicts_in_the_target_s_own_units() {
        let data = numbers(200);
        let model = small().fit(&Cpu, &data).unwrap();
        assert!(model.score(&Cpu, &data).unwrap() > 0.98);
        // J is half of the mean squared error, in the target's units.
        let Metrics::Regression(metrics) = model.evaluate(&Cpu, &data).unwrap() else {
            panic!("a regression")
        };
        let half = metrics.rmse * metrics.rmse / 2.0;
        assert!((model.training().cost / half - 1.0).abs() < 1e-3, "{} {half}", model.training().cost);
        assert_eq!((model.history().len(), model.history()[60]), (61, model.training().cost));
        // A target in other units, powers of two, is learnt in the same way.
        let moved = data.y().iter().map(|y| y * 4.0).collect();
        let moved = Dataset::new(data.features().clone(), "y", moved).unwrap();
        let other = small().fit(&Cpu, &moved).unwrap();
        let [ours, theirs] =
            [&model, &other].map(|model| values_of(model.predict(&Cpu, data.features()).unwrap()));
        assert!(
            ours.iter().zip(theirs).all(|(ours, theirs)| (4.0 * ours - theirs).abs() < 1e-3 * theirs.abs())
        );
        assert!(
            model.probabilities(&Cpu, data.features()).unwrap_err().to_string().contains("no probabilities")
        );
    }

    #[test]
    fn a_constant_target_is_predicted() {
        let data = Dataset::new(table(40), "y", vec![7.0; 40]).unwrap();
        let model = small().epochs(200).fit(&Cpu, &data).unwrap();
        let predictions = values_of(model.predict(&Cpu, data.features()).unwrap());
        assert!(predictions.iter().all(|y| (y - 7.0).abs() < 0.05), "{predictions:?}");
    }

    #[test]
    fn two_and_more_classes_are_told_apart() {
        for (count, head) in [(2, Head::Sigmoid), (3, Head::Softmax)] {
            let data = classes(200, count);
            let model = small().fit(&Cpu, &data).unwrap();
            assert_eq!((model.head(), model.classes()), (head, data.classes()));
            assert!(model.score(&Cpu, &data).unwrap() > 0.97);
            let probabilities = model.probabilities(&Cpu, data.features()).unwrap();
            assert!(probabilities.chunks(count).all(|row| (row.iter().sum::<f64>() - 1.0).abs() < 1e-6));
            let Metrics::Classification(metrics) = model.evaluate(&Cpu, &data).unwrap() else {
                panic!("classes")
            };
            assert!((model.training().cost - metrics.log_loss).abs() < 1e-4);
        }
        // Two classes as two columns, and numbers that are classes.
        let two = small().layers("8:relu,2:softmax".parse().unwrap()).fit(&Cpu, &classes(200, 2)).unwrap();
        assert!(two.score(&Cpu, &classes(200, 2)).unwrap() > 0.97);
        let zero_one = Dataset::new(table(60), "y", (0..60).map(|i| (i % 2) as f32).collect()).unwrap();
        let model = small().layers("4:relu,1:sigmoid".parse().unwrap()).fit(&Cpu, &zero_one).unwrap();
        assert_eq!(model.classes().unwrap(), ["0", "1"]);
    }

    #[test]
    fn the_same_bits_on_any_number_of_threads_and_others_with_another_seed() {
        let data = classes(300, 3);
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| small().epochs(3).fit(&Cpu, &data).unwrap())
        };
        let one = with(1);
        assert!(one == with(2) && one == with(7));
        assert_ne!(one.dense_layers(), small().epochs(3).seed(1).fit(&Cpu, &data).unwrap().dense_layers());
    }

    #[test]
    fn a_warm_start_goes_on_from_what_was_learnt() {
        let data = numbers(200);
        let model = small().fit(&Cpu, &data).unwrap();
        // A rate so small that nothing moves: the numbers come through the target's units, and another scaler, and back.
        let still = small().epochs(1).learning_rate(1e-30);
        let other = data.y().iter().enumerate().map(|(i, y)| if i % 2 == 0 { 2.0 * y } else { *y }).collect();
        let other = Dataset::new(data.features().clone(), "y", other).unwrap();
        for still in [still.clone(), still.clone().scale(Scale::None)] {
            let same = still.warm_start(&model).fit(&Cpu, &other).unwrap();
            let [ours, theirs] =
                [&model, &same].map(|model| values_of(model.predict(&Cpu, data.features()).unwrap()));
            // Features of 100 ± 3 that are not scaled lose their digits to the mean.
            let off = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(off < 0.05, "{off}");
        }
        let first =
            |settings: MultilayerPerceptron| settings.epochs(1).fit(&Cpu, &data).unwrap().history()[0];
        let (warm, cold) = (first(small().warm_start(&model)), first(small()));
        assert!(warm < cold / 10.0, "{warm}, {cold}");
        let refused = |settings: MultilayerPerceptron, data: &Dataset| {
            settings.warm_start(&model).fit(&Cpu, data).unwrap_err().to_string()
        };
        let layers = refused(small().layers(Layers::new([(15, Activation::Relu)])), &data);
        assert!(
            layers.contains("has the layers 16:relu,1:identity, and the network to train has 15:relu"),
            "{layers}"
        );
        assert!(refused(small(), &classes(50, 3)).contains("has the classes None"));
        let one = Table::new(vec!["d".to_owned()], vec![1.0, 2.0]).unwrap();
        assert!(
            refused(small(), &Dataset::new(one, "y", vec![1.0, 2.0]).unwrap()).contains("has the features")
        );
    }

    #[test]
    fn early_stopping_holds_back_the_samples_of_the_seed() {
        let stopping = EarlyStopping { validation_share: 0.2, patience: 3 };
        let data = numbers(100);
        let model = small().epochs(2000).early_stopping(stopping).fit(&Cpu, &data).unwrap();
        assert_eq!(model.training().ending, Ending::Patience);
        assert_eq!(model.validation_history().len(), model.training().iterations);
        let settings = Settings { early_stopping: Some(stopping), ..Settings::default() };
        let rows = Rows::of(&data, &settings).unwrap();
        assert_eq!((rows.training.len(), rows.validation.len()), (80, 20));
        // What is held back teaches nothing, neither the weights nor the scaler nor the target's unit.
        let (mut x, mut y) = (data.features().values().to_vec(), data.y().to_vec());
        for &row in &rows.validation {
            y[row as usize] += 1e5;
            x[3 * row as usize] += 1e3;
        }
        let x = Table::new(data.features().columns().to_vec(), x).unwrap();
        let other = Dataset::new(x, "y", y).unwrap();
        let epochs = |data: &Dataset| {
            let settings = small().epochs(3).early_stopping(EarlyStopping { patience: 100, ..stopping });
            settings.fit(&Cpu, data).unwrap().history()[..3].to_vec()
        };
        assert_eq!(epochs(&data), epochs(&other));
        let one = Dataset::new(table(1), "y", vec![1.0]).unwrap();
        assert!(
            small()
                .early_stopping(stopping)
                .fit(&Cpu, &one)
                .unwrap_err()
                .to_string()
                .contains("two are needed")
        );
    }

    #[test]
    fn settings_that_are_not_for_networks_are_refused() {
        let data = numbers(10);
        let text = |settings: Settings| {
            MultilayerPerceptron::new().with_settings(settings).fit(&Loop, &data).unwrap_err().to_string()
        };
        let fine = MultilayerPerceptron::default_settings;
        assert!(text(Settings { method: Method::Gram, ..fine() }).contains("linear regression alone"));
        assert!(
            text(Settings { solver: Solver::Newton, ..fine() })
                .contains("the solver newton is not for networks")
        );
        assert!(text(Settings { epochs: 0, ..fine() }).contains("at least 1"));
        let softmax = small().layers("4:relu,3:softmax".parse().unwrap()).fit(&Loop, &classes(30, 2));
        assert!(softmax.unwrap_err().to_string().contains("for which it must be 1:sigmoid"));
        let one = Dataset::labelled(table(4), "light", &["red"; 4]).unwrap();
        assert!(small().fit(&Loop, &one).unwrap_err().to_string().contains("one class"));
    }

    #[test]
    fn a_network_comes_back_from_its_file_bit_for_bit() {
        for data in [numbers(30), classes(30, 2), classes(30, 3)] {
            let model = small().epochs(2).fit(&Cpu, &data).unwrap();
            let bytes = model.to_bytes().unwrap();
            let read = FittedNetwork::from_bytes(&bytes).unwrap();
            let (features, cpu) = (data.features(), &Cpu);
            assert_eq!(read.predict(cpu, features).unwrap(), model.predict(cpu, features).unwrap());
            assert_eq!(read.to_bytes().unwrap(), bytes);
            assert_eq!(
                (read.layers(), read.training(), read.classes()),
                (model.layers(), model.training(), data.classes())
            );
            assert_eq!(Model::from_bytes(&bytes).unwrap(), Model::Network(read));
            assert_eq!(Model::from(model).to_bytes().unwrap(), bytes);
        }
    }

    #[test]
    fn no_length_and_no_flipped_bit_of_a_file_is_a_panic() {
        let model = small()
            .layers(Layers::new([(2, Activation::Sigmoid)]))
            .epochs(1)
            .fit(&Cpu, &classes(30, 3))
            .unwrap();
        let bytes = model.to_bytes().unwrap();
        for length in 0..bytes.len() {
            assert!(FittedNetwork::from_bytes(&bytes[..length]).is_err(), "{length}");
        }
        for bit in 0..8 * bytes.len() {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let _ = FittedNetwork::from_bytes(&bytes);
        }
    }

    #[test]
    fn files_that_do_not_hold_a_network_are_refused() {
        let model = small()
            .layers(Layers::new([(2, Activation::Relu)]))
            .epochs(1)
            .fit(&Cpu, &classes(30, 3))
            .unwrap();
        let bytes = model.to_bytes().unwrap();
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let header = std::str::from_utf8(&bytes[8..8 + length]).unwrap();
        let changed = |from: &str, to: &str| {
            assert!(header.contains(from), "{header}");
            let header = header.replacen(from, to, 1);
            let bytes =
                [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &bytes[8 + length..]].concat();
            FittedNetwork::from_bytes(&bytes).unwrap_err().to_string()
        };
        for (from, to, problem) in [
            ("2:relu,3:softmax", "2:relu,4:softmax", "it must be 3:softmax"),
            ("2:relu,3:softmax", "3:relu,3:softmax", "layer.0.weights is F32 [3, 2], not F32 [3, 3]"),
            ("2:relu,3:softmax", "2:tanh,3:softmax", "layer 1 (\"2:tanh\")"),
            ("2:relu,3:softmax", "2:relu,2:relu,3:softmax", "layer.1.weights is"),
            (r#"\"layers\""#, r#"\"tiers\""#, "without layers"),
            (r#"\"classes\""#, r#"\"kinds\""#, "is a number"),
            ("layer.1.bias", "layer.1.bios", "`layer.1.bias` not found"),
            (r#"\"kind\":\"network\""#, r#"\"kind\":\"linear\""#, "of kind \"linear\""),
        ] {
            let refused = changed(from, to);
            assert!(refused.contains(problem), "{to}: {refused}");
        }
    }

    #[test]
    fn rows_too_far_out_and_other_columns_are_refused() {
        let model = small().epochs(1).fit(&Cpu, &numbers(30)).unwrap();
        let names = ["a", "b", "c"].map(str::to_owned).to_vec();
        let far = Table::new(names, vec![100.0, -5.0, 0.0, 3e38, 3e38, 3e38]).unwrap();
        assert!(
            model.predict(&Cpu, &far).unwrap_err().to_string().contains("row 2: the prediction is beyond")
        );
        let other = Table::new(vec!["a".to_owned()], vec![1.0]).unwrap();
        assert!(model.predict(&Cpu, &other).unwrap_err().to_string().contains("was trained on the columns"));
    }
}
