//! `tilegrad train`.

use std::fmt::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tilegrad::Result;
use tilegrad::data::{Dataset, Output};
use tilegrad::engine::{Choice, Engine, Job};
use tilegrad::models::{Checkpoint, Checkpoints, FittedLinear, LinearRegression, Progress};
use tilegrad::report::{TextTable, duration, significant};

#[derive(Subcommand)]
pub(super) enum Model {
    /// Linear regression by full-batch gradient descent
    #[command(after_help = "Examples:
  tilegrad train linear --data tests/data/diabetes.csv --target progression
  tilegrad train linear --data houses.csv --target price --features rooms,area --model price.safetensors
  tilegrad train linear --data houses.csv --target price --device emulator --iterations 100 --json
  tilegrad train linear --data houses.csv --target price --checkpoint price.checkpoint --resume

The last one can be stopped at any moment and started again: it goes on from its last checkpoint, to the same model bit
for bit as if it had never stopped. With --resume, data, target, features, learning rate, scale, method and device must
be those of the checkpoint; only --iterations and --every may be others. Training that diverges leaves the checkpoint
before it did: remove it, and begin anew with another learning rate.")]
    Linear(Linear),
}

#[derive(Args)]
pub(super) struct Linear {
    /// CSV file whose first line names its columns
    #[arg(long, value_name = "FILE.csv")]
    data: PathBuf,
    /// Column to predict
    #[arg(long, value_name = "COLUMN")]
    target: String,
    /// Columns to predict from, separated by commas [default: all but the target]
    #[arg(long, value_name = "A,B,…", value_delimiter = ',')]
    features: Option<Vec<String>>,
    /// Learning rate: a number above 0
    #[arg(long, value_name = "RATE", default_value = "0.1", value_parser = rate, allow_hyphen_values = true)]
    learning_rate: f64,
    /// Descent steps: at least 1
    #[arg(long, value_name = "N", default_value = "1000", value_parser = super::at_least_1, allow_hyphen_values = true)]
    iterations: usize,
    /// How features are scaled: zscore is (x − mean) / standard deviation
    #[arg(long, value_name = "HOW", default_value = "zscore")]
    scale: Scale,
    /// What each step goes over: direct takes all samples; gram takes features + 2 samples made of them, with the same
    /// cost and gradient; auto takes gram where that saves time, and says so
    #[arg(long, value_name = "METHOD", default_value = "auto")]
    method: Method,
    /// Where to compute: auto, loop, cpu, emulator, cuda or cuda:N. auto takes cuda if there is a usable GPU, else cpu
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: Choice,
    /// Write the model to this file, for `tilegrad predict`
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Write the cost before each step, and after the last, to this CSV file
    #[arg(long, value_name = "FILE.csv")]
    history: Option<PathBuf>,
    /// Write checkpoints to this file: before the first step, every so often, and after the last
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// Steps from one checkpoint to the next: at least 1 [default: about 10 seconds]
    #[arg(long, value_name = "N", requires = "checkpoint", value_parser = super::at_least_1, allow_hyphen_values = true)]
    every: Option<usize>,
    /// Go on from the checkpoint if there is one, else begin
    #[arg(long, requires = "checkpoint")]
    resume: bool,
    /// Print one JSON object in place of text
    #[arg(long)]
    json: bool,
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

/// [`tilegrad::models::Scale`] on the command line.
#[derive(Clone, Copy, ValueEnum)]
pub(super) enum Scale {
    Zscore,
    None,
}

impl From<Scale> for tilegrad::models::Scale {
    fn from(scale: Scale) -> Self {
        match scale {
            Scale::Zscore => Self::ZScore,
            Scale::None => Self::None,
        }
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate.is_finite() => Ok(rate),
        _ => Err("a learning rate is a number above 0, such as 0.1".to_owned()),
    }
}

impl Linear {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let output = |path: &Option<PathBuf>| path.as_ref().map(Output::new).transpose();
        let (model_file, history_file) = (output(&self.model)?, output(&self.history)?);
        let checkpoint_file = output(&self.checkpoint)?;
        let outputs = [
            ("the model", &model_file),
            ("the history", &history_file),
            ("the checkpoint", &checkpoint_file),
        ];
        let outputs: Vec<(&str, &Output)> =
            outputs.iter().filter_map(|(name, output)| Some((*name, output.as_ref()?))).collect();
        super::output::check(&[("these are the data", &self.data)], &outputs)?;
        let checkpoints = checkpoint_file.map(|output| self.checkpoints(output)).transpose()?;
        let device = super::chosen(self.device)?;
        let features: Option<Vec<String>> =
            self.features.map(|names| names.iter().map(|name| name.trim().to_owned()).collect());
        let dataset = Dataset::read_csv(&self.data, self.target.trim(), features.as_deref())?;

        let settings = LinearRegression::new()
            .learning_rate(self.learning_rate)
            .iterations(self.iterations)
            .scale(self.scale.into())
            .method(self.method.into());
        let done = checkpoints.as_ref().and_then(Checkpoints::found).map_or(0, Checkpoint::iteration);
        let bar = bar(self.iterations, done);
        let trained = device.run(Fit { settings: &settings, dataset: &dataset, checkpoints, bar })?;

        let model = &trained.model;
        for name in &model.training().constant_features {
            super::say(&format!(
                "warning: feature {name:?} has the same value in every sample, so nothing can be learnt from it: its \
                 weight is 0"
            ));
        }
        // Files first: that nobody reads the text must not lose them.
        if let Some(output) = &model_file {
            model.save(output)?;
        }
        if let Some(output) = &history_file {
            let mut csv = "iteration,cost\n".to_owned();
            for (iteration, cost) in model.history().iter().enumerate() {
                writeln!(csv, "{iteration},{cost}")?;
            }
            output.write(csv.as_bytes())?;
        }
        if self.json {
            let device = device.to_string();
            let summary = Summary::new(model, &device, trained.time);
            super::print_json(&summary)
        } else {
            super::print(&text(&trained))
        }
    }

    /// The checkpoints in `output`; says where training goes on.
    fn checkpoints(&self, output: Output) -> Result<Checkpoints> {
        let file = output.path().display().to_string();
        let mut checkpoints =
            if self.resume { Checkpoints::resume(output)? } else { Checkpoints::begin(output)? };
        if let Some(every) = self.every {
            checkpoints = checkpoints.every(every);
        }
        if self.resume {
            super::note(&match checkpoints.found() {
                Some(found) => {
                    format!("resume: {file} is of iteration {}: going on from there", found.iteration())
                }
                None => format!("resume: there is no file {file} yet: beginning"),
            });
        }
        Ok(checkpoints)
    }
}

/// Training, on any engine.
struct Fit<'a> {
    settings: &'a LinearRegression,
    dataset: &'a Dataset,
    checkpoints: Option<Checkpoints>,
    bar: ProgressBar,
}

impl Job for Fit<'_> {
    type Output = Trained;

    fn run<E: Engine>(self, engine: &E) -> Result<Self::Output> {
        let start = Instant::now();
        let watch = |progress: Progress| {
            self.bar.set_message(significant(progress.cost, 6));
            self.bar.set_position(progress.iteration as u64);
        };
        let fitted = match self.checkpoints {
            None => self.settings.fit_watched(engine, self.dataset, watch),
            Some(checkpoints) => self.settings.fit_resumable(engine, self.dataset, checkpoints, watch),
        };
        self.bar.finish_and_clear();
        Ok(Trained { model: fitted?, engine: engine.description(), time: start.elapsed() })
    }
}

/// What training gave.
struct Trained {
    model: FittedLinear,
    /// The engine's description.
    engine: String,
    time: Duration,
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
    iterations: usize,
    learning_rate: f64,
    cost: f64,
    weights: Vec<f64>,
    bias: f64,
    weights_standardised: &'a [f64],
    bias_standardised: f64,
    seconds: f64,
}

impl<'a> Summary<'a> {
    fn new(model: &'a FittedLinear, device: &'a str, time: Duration) -> Self {
        let (weights, bias) = model.raw();
        Summary {
            model: "linear",
            device,
            method: model.training().method.to_string(),
            samples: model.training().samples,
            features: model.features(),
            target: model.target(),
            iterations: model.training().iterations,
            learning_rate: model.training().settings.learning_rate,
            cost: model.training().cost,
            weights,
            bias,
            weights_standardised: model.weights(),
            bias_standardised: model.bias(),
            seconds: time.as_secs_f64(),
        }
    }
}

/// The result for people.
fn text(Trained { model, engine, time }: &Trained) -> String {
    const DIGITS: usize = 6;
    let training = model.training();
    let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let (weights, bias) = model.raw();
    let mut table = TextTable::new(["feature", "weight", "standardised"]);
    for ((name, weight), standardised) in model.features().iter().zip(weights).zip(model.weights()) {
        table.row([name.clone(), significant(weight, DIGITS), significant(*standardised, DIGITS)]);
    }
    table.row(["(bias)".to_owned(), significant(bias, DIGITS), significant(model.bias(), DIGITS)]);
    format!(
        "linear regression: {}, {}, {} in {} on {}{}\n\
         cost {}, from {} before the first step\n\n\
         {table}\n\
         weight: change of {} for one unit of the feature; standardised: for one standard deviation\n",
        count(training.samples, "sample"),
        count(model.features().len(), "feature"),
        count(training.iterations, "step"),
        duration(*time),
        engine,
        match training.method {
            tilegrad::models::Method::Gram =>
                format!(", over {} samples with the same gradient", model.features().len() + 2),
            _ => String::new(),
        },
        significant(training.cost, 7),
        significant(model.history()[0], 7),
        model.target(),
    )
}
