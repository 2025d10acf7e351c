//! `tilegrad train`.

use std::fmt::Write;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tilegrad::data::{Blocks, Column, Dataset};
use tilegrad::engine::{Choice, Device, Engine, Head, Job};
use tilegrad::models::{
    Checkpoint, Checkpoints, EarlyStopping, Ending, Layers, LinearRegression, LogisticRegression,
    Model as Fitted, MultilayerPerceptron, Optimiser, Progress, Settings, Solver,
};
use tilegrad::report::{Page, Picture, Plot, TextTable, duration, significant};
use tilegrad::{Error, Result};

use super::count;
use super::evaluation::{self, Evaluate, EvaluateBlocks, Evaluation, Measured, plain};
use super::output::{self, Files, Outputs};
use super::source::{self, Lesson, Shares};
use super::training::Training;

/// Significant digits of weights.
const DIGITS: usize = 6;
/// The most classes that weights are shown for.
const MOST_COLUMNS: usize = 10;
/// The most features that a page describes.
const MOST_FEATURES: usize = 200;

#[derive(Subcommand)]
pub(super) enum Model {
    /// Linear regression: a number, as a sum of the features times weights
    #[command(after_help = "Examples:
  tilegrad train linear --data tests/data/diabetes.csv --target progression
  tilegrad train linear --data houses.csv --target price --features rooms,area --model price.safetensors
  tilegrad train linear --data houses.csv --target price --categorical town --missing mean --test-share 0.2
  tilegrad train linear --data houses.csv --target price --test-share 0.2 --plot price.svg --report price.html
  tilegrad train linear --data larger-than-memory.csv --target price --stream --model price.safetensors
  tilegrad train linear --data larger-than-memory.csv --target price --stream --batch-size 256 --epochs 5
  tilegrad train linear --data houses.csv --target price --device emulator --iterations 100 --json
  tilegrad train linear --data houses.csv --target price --checkpoint price.checkpoint --resume

The last one can be stopped at any moment and started again: it goes on from its last checkpoint, to the same model bit
for bit as if it had never stopped. With --resume, data, target, features, learning rate, scale, method and device must
be those of the checkpoint; only --every may be another, and --iterations with a schedule that is constant or goes by steps.
Training that diverges leaves the checkpoint before it did: remove it, and begin anew with another learning rate.")]
    Linear(Linear),
    /// Logistic regression: which of two or more classes, with the probability of each
    #[command(
        after_help = "The target's values are the classes, be they numbers or text; of two, the second one in their order is the one
whose probability the weights are for.

Examples:
  tilegrad train logistic --data tests/data/breast_cancer.csv --target benign --learning-rate 0.5
  tilegrad train logistic --data flowers.csv --target species --test-share 0.2 --model species.safetensors
  tilegrad train logistic --data flowers.csv --target species --test-share 0.2 --plot species.png --json
  tilegrad train logistic --data larger-than-memory.csv --target clicked --stream --batch-size 256 --epochs 5"
    )]
    Logistic(Logistic),
    /// Dense network: a number or a class, through layers of units, by back-propagation
    #[command(
        after_help = "Layers are listed from the first to the last, each as UNITS:ACTIVATION. Hidden ones have relu, sigmoid or identity. The
last one decides what is learnt: 1:identity a number, 1:sigmoid which of two classes, K:softmax which of K.

Examples:
  tilegrad train network --data tests/data/digits.csv --target digit --layers 64:relu,10:softmax --test-share 0.2
  tilegrad train network --data houses.csv --target price --layers 32:relu,16:relu,1:identity --model price.safetensors
  tilegrad train network --data flowers.csv --target species --layers 16:relu,3:softmax --validation-share 0.1
  tilegrad train network --data clicks.csv --target clicked --layers 32:relu,1:sigmoid --optimiser momentum \\
    --learning-rate 0.01 --schedule cosine --l2 1e-4 --batch-size 64 --epochs 50 --plot clicks.svg"
    )]
    Network(Network),
}

/// What all kinds of models are trained with.
#[derive(Args)]
pub(super) struct Common {
    #[command(flatten)]
    lesson: Lesson,
    #[command(flatten)]
    training: Training,
    /// Where to compute: auto, loop, cpu, emulator, cuda or cuda:N. auto takes cuda if there is a usable GPU, else cpu
    #[arg(long, value_name = "DEVICE", default_value = "auto", help_heading = "Training")]
    device: Choice,
    #[command(flatten)]
    outputs: Outputs,
}

#[derive(Args)]
pub(super) struct Linear {
    #[command(flatten)]
    common: Common,
    /// What each step goes over: direct takes all samples; gram takes features + 2 samples made of them, with the same
    /// cost and gradient; auto takes gram where that saves time, and says so
    #[arg(long, value_name = "METHOD", default_value = "auto", help_heading = "Training")]
    method: Method,
    /// How the weights are found: descent, or normal for the normal equations, which need no learning rate
    #[arg(long, value_enum, value_name = "SOLVER", default_value = "descent", help_heading = "Training")]
    solver: LinearSolver,
}

#[derive(Args)]
pub(super) struct Logistic {
    #[command(flatten)]
    common: Common,
    /// How the weights are found: descent, or newton for Newton's method, which needs no learning rate
    #[arg(long, value_enum, value_name = "SOLVER", default_value = "descent", help_heading = "Training")]
    solver: LogisticSolver,
}

#[derive(Args)]
pub(super) struct Network {
    /// The layers: UNITS:ACTIVATION of each, separated by commas, such as 64:relu,10:softmax
    #[arg(long, value_name = "LAYERS", allow_hyphen_values = true, help_heading = "Training")]
    layers: Layers,
    #[command(flatten)]
    common: Common,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LinearSolver {
    Descent,
    Normal,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogisticSolver {
    Descent,
    Newton,
}

#[derive(Clone, Copy, ValueEnum)]
enum Method {
    Auto,
    Direct,
    Gram,
}

impl From<Method> for tilegrad::models::Method {
    fn from(method: Method) -> Self {
        match method {
            Method::Auto => Self::Auto,
            Method::Direct => Self::Direct,
            Method::Gram => Self::Gram,
        }
    }
}

/// An estimator of any kind.
enum Estimator {
    Linear(LinearRegression),
    Logistic(LogisticRegression),
    Network(Layers, Box<MultilayerPerceptron>),
}

impl Model {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let (common, estimator) = match self {
            Model::Linear(Linear { common, method, solver }) => {
                let solver = match solver {
                    LinearSolver::Descent => Solver::Descent,
                    LinearSolver::Normal => Solver::Normal,
                };
                let settings = Settings { method: method.into(), solver, ..Settings::default() };
                (common, Estimator::Linear(LinearRegression::new().with_settings(settings)))
            }
            Model::Logistic(Logistic { common, solver }) => {
                let solver = match solver {
                    LogisticSolver::Descent => Solver::Descent,
                    LogisticSolver::Newton => Solver::Newton,
                };
                let settings = Settings { solver, ..Settings::default() };
                (common, Estimator::Logistic(LogisticRegression::new().with_settings(settings)))
            }
            Model::Network(Network { layers, common }) => {
                let estimator = MultilayerPerceptron::new().layers(layers.clone());
                (common, Estimator::Network(layers, Box::new(estimator)))
            }
        };
        common.run(estimator)
    }
}

impl Estimator {
    fn settings(&self) -> &Settings {
        match self {
            Estimator::Linear(estimator) => estimator.settings(),
            Estimator::Logistic(estimator) => estimator.settings(),
            Estimator::Network(_, estimator) => estimator.settings(),
        }
    }

    fn with_settings(self, settings: Settings) -> Self {
        match self {
            Estimator::Linear(estimator) => Estimator::Linear(estimator.with_settings(settings)),
            Estimator::Logistic(estimator) => Estimator::Logistic(estimator.with_settings(settings)),
            Estimator::Network(layers, estimator) => {
                Estimator::Network(layers, Box::new(estimator.with_settings(settings)))
            }
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Estimator::Linear(_) => "linear",
            Estimator::Logistic(_) => "logistic",
            Estimator::Network(..) => "network",
        }
    }

    /// Whether the target is one of several classes.
    fn classifies(&self) -> bool {
        match self {
            Estimator::Linear(_) => false,
            Estimator::Logistic(_) => true,
            Estimator::Network(layers, _) => layers.output().is_some_and(|(_, head)| head != Head::Identity),
        }
    }

    /// Training on a file that is gone through block by block.
    fn fit_stream<E: Engine>(
        &self,
        engine: &E,
        blocks: &Blocks,
        checkpoints: Option<Checkpoints>,
        watch: impl FnMut(Progress),
    ) -> Result<Fitted> {
        match self {
            Estimator::Linear(estimator) => {
                estimator.fit_stream_resumable(engine, blocks, checkpoints, watch).map(Fitted::from)
            }
            Estimator::Logistic(estimator) => {
                estimator.fit_stream_resumable(engine, blocks, checkpoints, watch).map(Fitted::from)
            }
            Estimator::Network(_, estimator) => {
                estimator.fit_stream_resumable(engine, blocks, checkpoints, watch).map(Fitted::from)
            }
        }
    }

    fn warm_start(self, model: &Fitted) -> Result<Self> {
        match (self, model) {
            (Estimator::Linear(estimator), Fitted::Linear(model)) => {
                Ok(Estimator::Linear(estimator.warm_start(model)))
            }
            (Estimator::Logistic(estimator), Fitted::Logistic(model)) => {
                Ok(Estimator::Logistic(estimator.warm_start(model)))
            }
            (Estimator::Network(layers, estimator), Fitted::Network(model)) => {
                Ok(Estimator::Network(layers, Box::new(estimator.warm_start(model))))
            }
            (estimator, model) => Err(Error::Setting(format!(
                "--warm-start: training of kind {} cannot begin at a model of kind {}: give one of the same kind",
                estimator.kind(),
                model.kind()
            ))),
        }
    }

    fn fit<E: Engine>(
        &self,
        engine: &E,
        dataset: &Dataset,
        checkpoints: Option<Checkpoints>,
        watch: impl FnMut(Progress),
    ) -> Result<Fitted> {
        match self {
            Estimator::Linear(estimator) => {
                estimator.fit_resumable(engine, dataset, checkpoints, watch).map(Fitted::from)
            }
            Estimator::Logistic(estimator) => {
                estimator.fit_resumable(engine, dataset, checkpoints, watch).map(Fitted::from)
            }
            Estimator::Network(_, estimator) => {
                estimator.fit_resumable(engine, dataset, checkpoints, watch).map(Fitted::from)
            }
        }
    }
}

impl Common {
    fn run(self, estimator: Estimator) -> anyhow::Result<()> {
        let settings = self.training.settings(estimator.settings().clone(), self.lesson.seed)?;
        self.only_what_the_solver_takes(settings.solver)?;
        settings.check()?;
        self.only_what_streams(&estimator, &settings)?;
        let mut estimator = estimator.with_settings(settings);
        let files = self.outputs.files(&self.inputs())?;
        let checkpoints = self.outputs.checkpoints()?;
        let device = super::chosen(self.device)?;
        if let Some(path) = &self.training.warm_start {
            estimator = estimator.warm_start(&Fitted::load(path)?)?;
        }
        let samples = match self.lesson.stream {
            true => Samples::Blocks(self.lesson.blocks(estimator.classifies())?),
            false => Samples::Whole(self.lesson.read(estimator.classifies())?),
        };
        if let Samples::Blocks(blocks) = &samples {
            let mut settings = estimator.settings().clone();
            let features = blocks.encoding().features().len();
            let buffer = settings.batch_size.map(|batch| source::shuffle_buffer(features, batch));
            settings.shuffle_buffer = settings.shuffle_buffer.or(buffer);
            estimator = estimator.with_settings(settings);
        }
        if let Some(warning) = samples.too_many_classes() {
            super::say(&warning);
        }
        let done = checkpoints.as_ref().and_then(Checkpoints::found).map_or(0, Checkpoint::iteration);
        let job = Fit {
            bar: bar(estimator.settings().epochs, done),
            estimator: &estimator,
            samples: &samples,
            resumed: checkpoints.as_ref().and_then(|checkpoints| self.outputs.resumed(checkpoints)),
            checkpoints,
            predictions: files.pictures(),
        };
        let trained = device.run(job)?;

        for name in &trained.model.training().constant_features {
            super::say(&format!(
                "warning: feature {name:?} has the same value in every sample, as 32-bit numbers, so nothing can be learnt from \
                 it{}",
                if estimator.kind() == "network" { "" } else { ": its weight is 0" }
            ));
        }
        if let Some(warning) = trained.stalled(device) {
            super::say(&warning);
        }
        // Files first: that nobody reads the text must not lose them.
        self.write(&files, &trained, &samples, device)?;
        if self.outputs.json {
            super::print_json(&Summary::new(&trained, &device.to_string()))
        } else {
            super::print(&trained.text(files.model.is_some()))
        }
    }

    fn inputs(&self) -> Vec<(&'static str, &std::path::PathBuf)> {
        let model =
            self.training.warm_start.iter().map(|path| ("this is the model that training begins at", path));
        [("these are the data", &self.lesson.source.data)].into_iter().chain(model).collect()
    }

    /// Refuses options for descent where there is none, and for steps where there are none.
    fn only_what_the_solver_takes(&self, solver: Solver) -> Result<()> {
        let mut options = self.training.of_descent();
        if self.outputs.checkpoint.is_some() {
            options.push("--checkpoint");
        }
        match options.first() {
            Some(option) if solver != Solver::Descent => Err(Error::Setting(format!(
                "{option} is for descent, and --solver {solver} does not descend: leave one of them out"
            ))),
            _ => match self.training.of_steps().first() {
                Some(option) if solver == Solver::Normal => Err(Error::Setting(format!(
                    "{option} is for steps, and --solver {solver} takes none: leave one of them out"
                ))),
                _ => Ok(()),
            },
        }
    }

    /// Refuses what cannot be done block by block.
    fn only_what_streams(&self, estimator: &Estimator, settings: &Settings) -> Result<()> {
        if !self.lesson.stream {
            return Ok(());
        }
        let (linear, batches) = (matches!(estimator, Estimator::Linear(_)), settings.batch_size.is_some());
        let problem = if settings.solver == Solver::Newton {
            "keeps no samples, and --solver newton goes over all of them at once: take --solver descent with --batch-size"
        } else if !linear && !batches {
            "keeps no samples, and the full batch takes all of them in each step: give --batch-size"
        } else if self.lesson.test_share.is_some() {
            "holds no samples back: leave --test-share out, and evaluate the model on another file"
        } else if settings.early_stopping.is_some() {
            "holds no samples back: leave --validation-share out; --tolerance ends training early too"
        } else if self.outputs.checkpoint.is_some() && !batches {
            "has no checkpoints without mini-batches, as the steps go over few samples and take little time: leave --checkpoint \
             out, or give --batch-size"
        } else {
            return Ok(());
        };
        Err(Error::Setting(format!("--stream {problem}")))
    }

    fn write(
        &self,
        files: &Files,
        trained: &Trained,
        samples: &Samples,
        device: Device,
    ) -> anyhow::Result<()> {
        let Trained { model, .. } = trained;
        if let Some(output) = &files.model {
            model.save(output)?;
        }
        if let Some(output) = &files.history {
            output.write(history(model).as_bytes())?;
        }
        if let Some((output, format)) = &files.plot {
            let title = format!("{} of {}", output::kind(model.kind()), model.target());
            output.write(&Picture::new(title, trained.plots()).bytes(*format)?)?;
        }
        if let Some(output) = &files.report {
            output.write(self.page(trained, samples, device)?.html().as_bytes())?;
        }
        Ok(())
    }

    /// The page of `--report`.
    fn page(&self, trained: &Trained, samples: &Samples, device: Device) -> Result<Page> {
        let Trained { model, engine, time, .. } = trained;
        let (training, settings) = (model.training(), &model.training().settings);
        let mut page = Page::new(format!("{} of {}", output::kind(model.kind()), model.target()));
        let or_none = |value: Option<String>| value.unwrap_or_else(|| "none".to_owned());
        page.section("Settings");
        let mut pairs: Vec<(&str, String)> = Vec::new();
        pairs.extend(layers(model).map(|layers| ("layers", layers)));
        pairs.push(("solver", settings.solver.to_string()));
        if settings.solver == Solver::Descent {
            let batch = settings.batch_size.map_or("all samples".to_owned(), |size| count(size, "sample"));
            let shuffled = match (settings.batch_size, settings.shuffle_buffer) {
                (None, _) => "none".to_owned(),
                (Some(_), None) => "all".to_owned(),
                (Some(_), Some(samples)) => samples.to_string(),
            };
            let stopping = settings.early_stopping.map(|EarlyStopping { validation_share, patience }| {
                format!("on a share of {validation_share}, patience {}", count(patience, "epoch"))
            });
            pairs.extend([
                ("learning rate", settings.learning_rate.to_string()),
                ("batch", batch),
                ("samples that are shuffled together", shuffled),
                ("optimiser", settings.optimiser.to_string()),
                ("schedule of the learning rate", settings.schedule.to_string()),
                ("early stopping", or_none(stopping)),
                ("method", training.method.to_string()),
            ]);
        }
        if settings.solver != Solver::Normal {
            pairs.extend([
                ("passes over the samples, at most", settings.epochs.to_string()),
                ("passes that were done", training.iterations.to_string()),
                ("tolerance", or_none(settings.tolerance.map(|tolerance| tolerance.to_string()))),
            ]);
        }
        pairs.extend([
            ("L2 penalty", settings.l2.to_string()),
            ("scale", settings.scale.to_string()),
            ("seed", settings.seed.to_string()),
            ("device", device.titled(engine)),
            ("time", duration(*time)),
        ]);
        page.pairs(pairs);
        self.describe_data(&mut page, trained);
        page.section("Metrics").text(match &trained.test {
            Some(_) => "The test share was held back: neither weights nor scaling nor means are of it.",
            None if trained.streamed => {
                "On the training data, which says little of how good the model is on others: evaluate it on another file."
            }
            None => {
                "On the training data, which says little of how good the model is on others: hold some back with \
                 --test-share."
            }
        });
        let mut evaluations = vec![("training data", &trained.train)];
        evaluations.extend(trained.test.as_ref().map(|test| ("test share", test)));
        evaluation::table(&mut page, &evaluations);
        if let Some(classes) = model.classes() {
            page.text(&format!("Classes, in their order: {}.", classes.join(", ")));
        }
        page.section("Pictures");
        for plot in trained.plots() {
            page.plot(plot)?;
        }
        Self::describe_features(&mut page, samples);
        Ok(page)
    }

    fn describe_data(&self, page: &mut Page, trained: &Trained) {
        let model = &trained.model;
        let (columns, features) = (model.encoding().columns(), model.features());
        let categories = columns.iter().filter(|column| matches!(column, Column::Category { .. })).count();
        let filled = columns.iter().filter(|column| match column {
            Column::Number { fill, .. } => fill.is_some(),
            Column::Category { fill, .. } => fill.is_some(),
        });
        let missing = match trained.dropped {
            0 => format!("{:?}", self.lesson.missing).to_lowercase(),
            dropped => format!("drop: {} left out", count(dropped, "sample")),
        };
        let target = match model.classes() {
            Some(classes) => format!("{}, one of {} classes", model.target(), classes.len()),
            None => model.target().to_owned(),
        };
        page.section("Data").pairs([
            ("file", self.lesson.source.data.display().to_string()),
            ("target", target),
            ("columns", format!("{}, of which {categories} of categories", columns.len())),
            ("features", features.len().to_string()),
            ("training samples", trained.train.samples().to_string()),
            (
                "of which for validation",
                Validation::of(model).map_or(0, |validation| validation.samples).to_string(),
            ),
            ("test samples", trained.test.as_ref().map_or(0, Evaluation::samples).to_string()),
            ("missing values", missing),
            ("columns with a mean for missing values", filled.count().to_string()),
        ]);
    }

    /// Mean and deviation of each feature, where the samples are in memory.
    fn describe_features(page: &mut Page, samples: &Samples) {
        let Samples::Whole(shares) = samples else { return };
        let features = shares.train.features().columns();
        page.section("Features");
        let moments = moments(&shares.train);
        let rows = features.iter().zip(&moments).take(MOST_FEATURES).map(|(name, (mean, deviation))| {
            vec![name.clone(), significant(*mean, DIGITS), significant(*deviation, DIGITS)]
        });
        page.table(["feature", "mean", "standard deviation"], rows);
        page.text(&match features.len().saturating_sub(MOST_FEATURES) {
            0 => "Of the training samples.".to_owned(),
            more => format!("Of the training samples; {more} more features are not shown."),
        });
    }
}

/// The costs as CSV: before each step (of an epoch with mini-batches the mean) and after the last, and beside them, if there
/// are, those on the validation share.
fn history(model: &Fitted) -> String {
    let validation = model.validation_history();
    let mut csv = match validation {
        [] => "iteration,cost\n".to_owned(),
        _ => "iteration,cost,validation_cost\n".to_owned(),
    };
    for (iteration, cost) in model.history().iter().enumerate() {
        let _ = write!(csv, "{iteration},{cost}");
        if !validation.is_empty() {
            csv.push(',');
        }
        // The first is known after the first epoch.
        if let Some(cost) = iteration.checked_sub(1).and_then(|epoch| validation.get(epoch)) {
            let _ = write!(csv, "{cost}");
        }
        csv.push('\n');
    }
    csv
}

/// Mean and standard deviation of each feature, in `f64`.
fn moments(dataset: &Dataset) -> Vec<(f64, f64)> {
    let table = dataset.features();
    let columns = table.columns().len();
    let mut sums = vec![(0.0, 0.0); columns];
    let m = table.rows() as f64;
    for row in table.values().chunks_exact(columns) {
        sums.iter_mut().zip(row).for_each(|((sum, _), &x)| *sum += f64::from(x));
    }
    sums.iter_mut().for_each(|(sum, _)| *sum /= m);
    for row in table.values().chunks_exact(columns) {
        sums.iter_mut().zip(row).for_each(|((mean, squares), &x)| *squares += (f64::from(x) - *mean).powi(2));
    }
    sums.into_iter().map(|(mean, squares)| (mean, (squares / m).sqrt())).collect()
}

/// What is learnt from: all of it in memory, or block by block.
enum Samples {
    Whole(Shares),
    Blocks(Blocks),
}

impl Samples {
    /// What is said of a target that is more likely a number than one of so many classes.
    fn too_many_classes(&self) -> Option<String> {
        /// With fewer samples than that for each class on the average, most classes have next to nothing to learn from.
        const FEW: usize = 3;
        // A file that is streamed has samples enough.
        let Samples::Whole(Shares { train, .. }) = self else { return None };
        let (classes, samples) = (train.classes()?.len(), train.samples());
        (classes > 2 && samples < FEW * classes).then(|| {
            format!(
                "warning: the target {:?} has {classes} different values in {samples} training samples, and each is a class of its own; if \
                 it is a number, take train linear, or a network that ends with 1:identity",
                train.target()
            )
        })
    }
}

/// Training, on any engine.
struct Fit<'a> {
    estimator: &'a Estimator,
    samples: &'a Samples,
    checkpoints: Option<Checkpoints>,
    /// What to say of the checkpoint that training goes on from.
    resumed: Option<String>,
    bar: ProgressBar,
    /// Whether predictions are wanted, for pictures.
    predictions: bool,
}

impl Job for Fit<'_> {
    type Output = Trained;

    fn run<E: Engine>(self, engine: &E) -> Result<Self::Output> {
        let start = Instant::now();
        // Where there is progress, or an error of the steps, the checkpoint was not refused.
        let mut resumed = self.resumed;
        let mut say_resumed = || {
            if let Some(text) = resumed.take() {
                super::note(&text);
            }
        };
        let watch = |progress: Progress| {
            say_resumed();
            self.bar.set_message(significant(progress.cost, 6));
            self.bar.set_position(progress.iteration as u64);
        };
        let fitted = match self.samples {
            Samples::Whole(shares) => self.estimator.fit(engine, &shares.train, self.checkpoints, watch),
            Samples::Blocks(blocks) => self.estimator.fit_stream(engine, blocks, self.checkpoints, watch),
        };
        self.bar.finish_and_clear();
        if !matches!(fitted, Err(Error::Checkpoint { .. } | Error::Data(_) | Error::Setting(_))) {
            say_resumed();
        }
        let (model, time) = (fitted?, start.elapsed());
        let Shares { train, test } = match self.samples {
            Samples::Whole(shares) => shares,
            Samples::Blocks(blocks) => {
                let (train, dropped) = EvaluateBlocks { model: &model, blocks }.run(engine)?;
                let engine = engine.description();
                return Ok(Trained { model, engine, time, dropped, train, test: None, streamed: true });
            }
        };
        // A picture shows what was held back, if anything was.
        let evaluate = |dataset, predictions| Evaluate { model: &model, dataset, predictions }.run(engine);
        let test = test.as_ref().map(|test| evaluate(test, self.predictions)).transpose()?;
        let dropped = train.dropped();
        let train = evaluate(train, self.predictions && test.is_none())?;
        Ok(Trained { model, engine: engine.description(), time, dropped, train, test, streamed: false })
    }
}

/// What training gave.
struct Trained {
    model: Fitted,
    /// The engine's description.
    engine: String,
    time: Duration,
    /// Samples that were left out, as a value is missing.
    dropped: usize,
    train: Evaluation,
    test: Option<Evaluation>,
    /// From a file that is not kept, of which no share can be held back.
    streamed: bool,
}

/// A progress bar on a terminal, nothing elsewhere.
fn bar(iterations: usize, done: usize) -> ProgressBar {
    if !super::shows_progress() {
        return ProgressBar::hidden();
    }
    let style =
        ProgressStyle::with_template("{bar:40} {human_pos}/{human_len} steps, cost {msg}, {eta} left");
    let bar = ProgressBar::new(iterations as u64).with_position(done as u64);
    // What was done before says nothing of the speed.
    bar.reset_eta();
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// What `--json` prints.
#[derive(Serialize)]
struct Summary<'a> {
    model: &'a str,
    device: &'a str,
    method: String,
    samples: usize,
    features: &'a [String],
    target: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    classes: Option<&'a [String]>,
    solver: Solver,
    iterations: usize,
    /// Why training ended.
    ending: Ending,
    /// That of descent.
    #[serde(skip_serializing_if = "Option::is_none")]
    learning_rate: Option<f64>,
    cost: f64,
    #[serde(flatten)]
    weights: Option<Weights>,
    /// A network's layers, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    layers: Option<String>,
    seconds: f64,
    /// What the samples said that early stopping kept out of the steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    validation: Option<Validation>,
    /// The metrics on the training data, those that were kept out among them.
    train: Measured<'a>,
    /// Those on what was held back.
    #[serde(skip_serializing_if = "Option::is_none")]
    test: Option<Measured<'a>>,
}

/// The samples that early stopping kept out of the steps, and the least cost on them, whose weights are the model's.
#[derive(Serialize)]
struct Validation {
    samples: usize,
    /// None before the first step.
    cost: Option<f64>,
    /// Steps, or epochs with mini-batches, that had been done.
    iteration: usize,
}

impl Validation {
    fn of(model: &Fitted) -> Option<Self> {
        let training = model.training();
        let stopping = training.settings.early_stopping?;
        // Of equal costs the first, as training keeps its weights.
        let costs = model.validation_history().iter().copied().zip(1..);
        let lowest = costs.reduce(|lowest, other| if other.0 < lowest.0 { other } else { lowest });
        Some(Validation {
            samples: stopping.kept_out(training.samples),
            cost: lowest.map(|(cost, _)| cost),
            iteration: lowest.map_or(0, |(_, iteration)| iteration),
        })
    }

    /// A line for people: `steps` is what the model's iterations are.
    fn line(&self, steps: &str) -> String {
        let Validation { samples, cost, iteration } = self;
        let kept = match cost {
            Some(cost) => format!(
                ": cost {} on them after {}, the lowest, whose weights were kept",
                significant(*cost, 7),
                count(*iteration, steps)
            ),
            None => String::new(),
        };
        format!("{} kept out of the steps for validation{kept}\n", count(*samples, "sample"))
    }
}

/// The weights of models that have one for each feature, or one for each feature and class.
#[derive(Serialize)]
struct Weights {
    weights: Numbers,
    bias: Numbers,
    weights_standardised: Numbers,
    bias_standardised: Numbers,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Numbers {
    One(f64),
    List(Vec<f64>),
    /// A list for each feature.
    Rows(Vec<Vec<f64>>),
}

impl Numbers {
    /// Features × columns.
    fn matrix(values: &[f64], columns: usize) -> Self {
        match columns {
            1 => Numbers::List(values.to_vec()),
            _ => Numbers::Rows(values.chunks_exact(columns).map(<[f64]>::to_vec).collect()),
        }
    }

    /// One for each column.
    fn vector(values: &[f64]) -> Self {
        match values {
            [value] => Numbers::One(*value),
            _ => Numbers::List(values.to_vec()),
        }
    }
}

impl Weights {
    fn of(model: &Fitted) -> Option<Self> {
        let (raw, raw_bias, weights, bias) = match model {
            Fitted::Linear(model) => {
                let (raw, raw_bias) = model.raw();
                (raw, vec![raw_bias], model.weights(), vec![model.bias()])
            }
            Fitted::Logistic(model) => {
                let (raw, raw_bias) = model.raw();
                (raw, raw_bias, model.weights(), model.bias().to_vec())
            }
            Fitted::Network(_) => return None,
        };
        let columns = bias.len();
        Some(Weights {
            weights: Numbers::matrix(&raw, columns),
            bias: Numbers::vector(&raw_bias),
            weights_standardised: Numbers::matrix(weights, columns),
            bias_standardised: Numbers::vector(&bias),
        })
    }
}

/// A network's layers, in words.
fn layers(model: &Fitted) -> Option<String> {
    match model {
        Fitted::Network(model) => Some(model.layers().to_string()),
        _ => None,
    }
}

impl<'a> Summary<'a> {
    fn new(trained: &'a Trained, device: &'a str) -> Self {
        let Trained { model, time, train, test, .. } = trained;
        let training = model.training();
        let solver = training.settings.solver;
        Summary {
            model: model.kind(),
            device,
            method: training.method.to_string(),
            samples: training.samples,
            features: model.features(),
            target: model.target(),
            classes: model.classes(),
            solver,
            iterations: training.iterations,
            ending: training.ending,
            learning_rate: (solver == Solver::Descent).then_some(training.settings.learning_rate),
            cost: training.cost,
            weights: Weights::of(model),
            layers: layers(model),
            seconds: time.as_secs_f64(),
            validation: Validation::of(model),
            train: train.measured(model),
            test: test.as_ref().map(|test| test.measured(model)),
        }
    }
}

impl Trained {
    /// What to say where descent in `f32` has left a linear model's bias beside the target.
    ///
    /// A step takes α·e off the bias b, e being how far it is from the best one (features are centred, or their part is in e
    /// as well). The sum is rounded to b itself once α·|e| is below half a unit in b's last place, which is at most |b|·2⁻²⁴.
    /// So e may stay at |b|·2⁻²⁴/α. Momentum β adds up steps until they are 1/(1 − β) times as long. Adam's length is not
    /// the error's. R² is less by (e/σ)², σ the target's deviation: at the hundredth of it that is passed over here, by 10⁻⁴.
    fn stalled(&self, device: Device) -> Option<String> {
        const PASSED_OVER: f64 = 0.01;
        let (Fitted::Linear(model), Some(deviation)) = (&self.model, self.train.deviation()) else {
            return None;
        };
        let settings = &model.training().settings;
        let rate = settings.learning_rate
            * match settings.optimiser {
                Optimiser::Descent => 1.0,
                Optimiser::Momentum { momentum } => 1.0 / (1.0 - momentum),
                _ => return None,
            };
        if settings.solver != Solver::Descent || device == Device::Loop {
            return None;
        }
        let half_unit = f64::from(f32::EPSILON) / 2.0;
        let left = model.bias().abs() * half_unit / rate;
        (left > PASSED_OVER * deviation).then(|| {
            let number = |value| significant(value, 2);
            format!(
                "warning: the target {:?} is large beside its spread: descent in 32-bit floating point cannot bring the bias, \
                 {}, nearer than about {} to the best one, and the target's standard deviation is {}: subtract a constant \
                 near its mean from the target, or take --solver normal, or --device loop, which computes in 64 bits",
                model.target(),
                number(model.bias()),
                number(left),
                number(deviation)
            )
        })
    }

    /// The cost's history, and what was predicted of the samples that were held back, or else of all.
    fn plots(&self) -> Vec<Plot> {
        let step = match self.model.training().settings.batch_size {
            Some(_) => "epoch",
            None => "iteration",
        };
        let training = self.model.history().to_vec();
        let history = (training.len() > 1).then(|| Plot::CostHistory {
            training,
            validation: self.model.validation_history().to_vec(),
            step,
        });
        let (name, evaluation) = match &self.test {
            Some(test) => ("test share", test),
            None => ("training data", &self.train),
        };
        let samples = format!("{name}, {}", count(evaluation.samples(), "sample"));
        history.into_iter().chain(evaluation.plot(&self.model, &samples)).collect()
    }

    /// The result for people; `saved` if the model was written to a file.
    fn text(&self, saved: bool) -> String {
        let Trained { model, engine, time, train, test, .. } = self;
        let training = model.training();
        let steps = match (training.settings.solver, training.settings.batch_size) {
            (Solver::Normal, _) => "by the normal equations".to_owned(),
            (_, Some(_)) => count(training.iterations, "epoch"),
            (_, None) => count(training.iterations, "step"),
        };
        let gram =
            training.method == tilegrad::models::Method::Gram && training.settings.solver == Solver::Descent;
        let mut text = format!(
            "{}: {}, {}, {steps} in {} on {engine}{}\n",
            output::kind(model.kind()),
            count(training.samples, "sample"),
            count(model.features().len(), "feature"),
            duration(*time),
            match gram {
                true => format!(", over {} samples with the same gradient", model.features().len() + 2),
                false => String::new(),
            },
        );
        if self.dropped > 0 {
            let _ = writeln!(text, "{} left out, as a value is missing", count(self.dropped, "sample"));
        }
        let _ = write!(text, "cost {}", significant(training.cost, 7));
        if let [first, _, ..] = model.history() {
            let when = match training.settings.batch_size {
                Some(_) => "in the first epoch, the mean of its batches before their steps",
                None => "before the first step",
            };
            let _ = write!(text, ", from {} {when}", significant(*first, 7));
        }
        text.push('\n');
        text.push_str(&ending(training));
        let validation = Validation::of(model);
        let steps = if training.settings.batch_size.is_some() { "epoch" } else { "step" };
        text.extend(validation.as_ref().map(|validation| validation.line(steps)));
        let among = if validation.is_some() { ", validation samples among it" } else { "" };
        match test {
            Some(test) => {
                text.push_str(&train.line(&format!("the training share{among}")));
                text.push_str(&test.line(&format!("the test share, {}", count(test.samples(), "sample"))));
            }
            None => {
                let remedy = match self.streamed {
                    true => "evaluate it on another file for a test",
                    false => "--test-share holds others back for a test",
                };
                text.push_str(&train.line(&format!("the training data{among} ({remedy})")));
            }
        }
        text.push_str(&test.as_ref().unwrap_or(train).matrix(model.classes().unwrap_or_default()));
        text.push('\n');
        text.push_str(&weights(model, saved));
        text
    }
}

/// Why training ended, where it was not that all was done.
fn ending(training: &tilegrad::models::Training) -> String {
    match training.ending {
        Ending::Epochs => String::new(),
        Ending::Tolerance => "ended: the gradient is no longer than the tolerance\n".to_owned(),
        Ending::Patience => "ended: the cost on the validation share no longer fell\n".to_owned(),
        Ending::Converged => "ended: Newton's method is at the minimum\n".to_owned(),
        Ending::Cholesky => "solved: the normal equations, by a Cholesky factorisation\n".to_owned(),
        Ending::Qr { rank } => {
            format!(
                "solved: by a QR factorisation of rank {rank}, as the normal equations are too ill-conditioned\n"
            )
        }
    }
}

/// The weights for people; `saved` if the model was written to a file.
fn weights(model: &Fitted, saved: bool) -> String {
    let features = || model.features().iter().map(|name| plain(name));
    let number = |value: &f64| significant(*value, DIGITS);
    let single = |raw: &[f64], raw_bias: f64, weights: &[f64], bias: f64| {
        let mut table = TextTable::new(["feature", "weight", "standardised"]);
        for ((name, weight), standardised) in features().zip(raw).zip(weights) {
            table.row([name, number(weight), number(standardised)]);
        }
        table.row(["(bias)".to_owned(), number(&raw_bias), number(&bias)]);
        table
    };
    match model {
        Fitted::Linear(model) => {
            let (raw, bias) = model.raw();
            format!(
                "{}\nweight: change of {} for one unit of the feature; standardised: for one standard deviation\n",
                single(&raw, bias, model.weights(), model.bias()),
                plain(model.target())
            )
        }
        Fitted::Logistic(model) => {
            let (raw, bias) = model.raw();
            match (model.classes(), model.bias()) {
                ([_, class], [standardised]) => format!(
                    "{}\nweight: change of ln(p / (1 − p)), p the probability of {}, for one unit of the feature; \
                     standardised: for one standard deviation\n",
                    single(&raw, bias[0], model.weights(), *standardised),
                    plain(class)
                ),
                (classes, _) if classes.len() <= MOST_COLUMNS => {
                    let titles = classes.iter().map(|class| plain(class));
                    let mut table = TextTable::new(["feature".to_owned()].into_iter().chain(titles));
                    for (name, row) in features().zip(raw.chunks_exact(classes.len())) {
                        table.row([name].into_iter().chain(row.iter().map(number)));
                    }
                    table.row(["(bias)".to_owned()].into_iter().chain(bias.iter().map(number)));
                    format!(
                        "{table}\nweight: change of the class' z for one unit of the feature; probabilities are softmax(z)\n"
                    )
                }
                _ if saved => "The weights are in the model's file, and in what --json prints.\n".to_owned(),
                _ => "The weights are too many for here: --model writes them to a file, and --json prints them.\n".to_owned(),
            }
        }
        Fitted::Network(model) => {
            let mut table = TextTable::new(["layer", "inputs", "units", "activation", "weights and biases"]);
            let last = model.dense_layers().len();
            for (i, layer) in model.dense_layers().iter().enumerate() {
                let activation = match i + 1 == last {
                    true => model.head().to_string(),
                    false => layer.activation().to_string(),
                };
                let numbers = (layer.inputs() + 1) * layer.units();
                let [inputs, units] = [layer.inputs(), layer.units()].map(|n| n.to_string());
                table.row([(i + 1).to_string(), inputs, units, activation, numbers.to_string()]);
            }
            table.to_string()
        }
    }
}
