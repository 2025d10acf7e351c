//! How a model is trained: the options that all kinds share.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use tilegrad::models::{EarlyStopping, Optimiser, Schedule, Settings};
use tilegrad::{Error, Result};

use super::source::share;

/// Epochs without a lower cost before training ends, where nothing else is said.
const PATIENCE: usize = 10;

#[derive(Args)]
#[command(next_help_heading = "Training")]
pub(super) struct Training {
    /// Learning rate: a number above 0 [default: 0.1; of a network 0.001]
    #[arg(long, value_name = "RATE", value_parser = rate, allow_hyphen_values = true)]
    learning_rate: Option<f64>,
    /// Passes over the samples, each of which is a step unless there are mini-batches: at least 1 [default: 1000; of
    /// a network 100]
    #[arg(long, visible_alias = "epochs", value_name = "N", value_parser = super::at_least_1, allow_hyphen_values = true)]
    iterations: Option<usize>,
    /// How features are scaled: zscore is (x − mean) / standard deviation, of the training share
    #[arg(long, value_name = "HOW", default_value = "zscore")]
    scale: Scale,
    /// Samples of a mini-batch, or all [default: all; of a network 32]
    #[arg(long, value_name = "N", value_parser = batch, allow_hyphen_values = true)]
    batch_size: Option<Batch>,
    /// Samples that are shuffled together for mini-batches: each stretch of so many, as they are in the file, in an order
    /// of its own in each epoch [default: all; with --stream 65536, or as many as take 64 MiB]
    #[arg(long, value_name = "SAMPLES", value_parser = super::at_least_1, allow_hyphen_values = true)]
    shuffle_buffer: Option<usize>,
    /// How weights go down along the gradient [default: descent; of a network adam]
    #[arg(long, visible_alias = "optimizer", value_enum, value_name = "OPTIMISER")]
    optimiser: Option<OptimiserName>,
    /// How much of a step is kept for the next, from 0 to below 1, for --optimiser momentum [default: 0.9]
    #[arg(long, value_name = "SHARE", value_parser = momentum, allow_hyphen_values = true)]
    momentum: Option<f64>,
    /// How the learning rate changes: constant; cosine, to 0; step:EVERY:FACTOR, times FACTOR after every EVERY steps;
    /// exponential:FACTOR, to FACTOR of it in the end; inverse-time:DECAY, to 1 / (1 + DECAY) of it in the end
    #[arg(long, value_name = "SCHEDULE", value_parser = schedule)]
    schedule: Option<Schedule>,
    /// Penalty λ: λ/2 times the sum of the squared weights is added to the cost [default: 0]
    #[arg(long, value_name = "LAMBDA", value_parser = at_least_0, allow_hyphen_values = true)]
    l2: Option<f64>,
    /// End where the length of the cost's gradient is at most this
    #[arg(long, value_name = "LENGTH", value_parser = above_0, allow_hyphen_values = true)]
    tolerance: Option<f64>,
    /// Keep this share of the training samples out of the steps, and end when the cost on it no longer falls; the model has
    /// the weights of the epoch where that cost was the lowest
    #[arg(long, value_name = "SHARE", value_parser = share, allow_hyphen_values = true)]
    validation_share: Option<f64>,
    /// Epochs to wait for a lower cost on the validation share [default: 10]
    #[arg(long, value_name = "N", value_parser = super::at_least_1, allow_hyphen_values = true)]
    patience: Option<usize>,
    /// Begin at the weights of this model, of the same kind and features
    #[arg(long, value_name = "MODEL")]
    pub warm_start: Option<PathBuf>,
}

/// The samples of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Batch {
    All,
    Of(usize),
}

fn batch(text: &str) -> Result<Batch, String> {
    match text {
        "all" => Ok(Batch::All),
        _ => super::at_least_1(text).map(Batch::Of).map_err(|error| format!("{error}, or all")),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OptimiserName {
    Descent,
    Momentum,
    Adam,
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

impl Training {
    /// `settings` with what was given.
    pub(super) fn settings(&self, settings: Settings, seed: u64) -> Result<Settings> {
        if self.momentum.is_some() && self.optimiser != Some(OptimiserName::Momentum) {
            return Err(Error::Setting(
                "--momentum is for --optimiser momentum: add that, or leave --momentum out".to_owned(),
            ));
        }
        if self.patience.is_some() && self.validation_share.is_none() {
            return Err(Error::Setting(
                "--patience waits for the cost on a validation share: add --validation-share 0.1, or leave it out"
                    .to_owned(),
            ));
        }
        let optimiser = match self.optimiser {
            None => settings.optimiser,
            Some(OptimiserName::Descent) => Optimiser::Descent,
            Some(OptimiserName::Momentum) => {
                self.momentum.map_or(Optimiser::momentum(), |momentum| Optimiser::Momentum { momentum })
            }
            Some(OptimiserName::Adam) => Optimiser::adam(),
        };
        let stopping = |validation_share| EarlyStopping {
            validation_share,
            patience: self.patience.unwrap_or(PATIENCE),
        };
        Ok(Settings {
            learning_rate: self.learning_rate.unwrap_or(settings.learning_rate),
            epochs: self.iterations.unwrap_or(settings.epochs),
            batch_size: match self.batch_size {
                None => settings.batch_size,
                Some(Batch::All) => None,
                Some(Batch::Of(samples)) => Some(samples),
            },
            shuffle_buffer: self.shuffle_buffer.or(settings.shuffle_buffer),
            scale: self.scale.into(),
            optimiser,
            schedule: self.schedule.unwrap_or(settings.schedule),
            l2: self.l2.unwrap_or(settings.l2),
            tolerance: self.tolerance.or(settings.tolerance),
            early_stopping: self.validation_share.map(stopping).or(settings.early_stopping),
            seed,
            ..settings
        })
    }

    /// The options for descent that were given.
    pub(super) fn of_descent(&self) -> Vec<&'static str> {
        let options = [
            ("--learning-rate", self.learning_rate.is_some()),
            ("--batch-size", self.batch_size.is_some()),
            ("--shuffle-buffer", self.shuffle_buffer.is_some()),
            ("--optimiser", self.optimiser.is_some()),
            ("--schedule", self.schedule.is_some()),
            ("--validation-share", self.validation_share.is_some()),
        ];
        options.into_iter().filter_map(|(name, given)| given.then_some(name)).collect()
    }

    /// The options for steps of any kind that were given, Newton's too.
    pub(super) fn of_steps(&self) -> Vec<&'static str> {
        let options = [
            ("--iterations", self.iterations.is_some()),
            ("--tolerance", self.tolerance.is_some()),
            ("--warm-start", self.warm_start.is_some()),
        ];
        options.into_iter().filter_map(|(name, given)| given.then_some(name)).collect()
    }
}

fn number(text: &str, fits: fn(f64) -> bool, otherwise: &str) -> Result<f64, String> {
    text.parse().ok().filter(|number| fits(*number)).ok_or_else(|| otherwise.to_owned())
}

pub(super) fn rate(text: &str) -> Result<f64, String> {
    let fits = |rate: f64| rate > 0.0 && rate.is_finite();
    number(text, fits, "a learning rate is a number above 0, such as 0.1")
}

fn momentum(text: &str) -> Result<f64, String> {
    number(text, |share| (0.0..1.0).contains(&share), "a momentum is a number from 0 to below 1, such as 0.9")
}

fn at_least_0(text: &str) -> Result<f64, String> {
    let fits = |penalty: f64| penalty >= 0.0 && penalty.is_finite();
    number(text, fits, "a penalty is a number of at least 0, such as 0.01")
}

fn above_0(text: &str) -> Result<f64, String> {
    let fits = |length: f64| length > 0.0 && length.is_finite();
    number(text, fits, "a tolerance is a number above 0, such as 1e-4")
}

fn schedule(text: &str) -> Result<Schedule, String> {
    const FORMS: &str = "a schedule is constant, cosine, step:EVERY:FACTOR, exponential:FACTOR or inverse-time:DECAY, such as \
         step:100:0.5";
    let parts: Vec<&str> = text.split(':').collect();
    let number = |text: &str| text.parse::<f64>().ok();
    let schedule = match parts[..] {
        ["constant"] => Some(Schedule::Constant),
        ["cosine"] => Some(Schedule::Cosine),
        ["step", every, factor] => {
            every.parse().ok().and_then(|every| Some(Schedule::Step { every, factor: number(factor)? }))
        }
        ["exponential", factor] => number(factor).map(|factor| Schedule::Exponential { factor }),
        ["inverse-time", decay] => number(decay).map(|decay| Schedule::InverseTime { decay }),
        _ => None,
    };
    schedule.ok_or_else(|| FORMS.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_is_what_its_text_says() {
        assert_eq!(schedule("step:100:0.5"), Ok(Schedule::Step { every: 100, factor: 0.5 }));
        assert_eq!(schedule("exponential:0.01"), Ok(Schedule::Exponential { factor: 0.01 }));
        assert_eq!(schedule("inverse-time:9"), Ok(Schedule::InverseTime { decay: 9.0 }));
        assert_eq!(
            (schedule("cosine"), schedule("constant")),
            (Ok(Schedule::Cosine), Ok(Schedule::Constant))
        );
        for text in [
            "",
            "step",
            "step:100",
            "step:-1:0.5",
            "step:1.5:0.5",
            "cosine:1",
            "linear",
            "exponential:x",
            ":",
        ] {
            assert!(schedule(text).unwrap_err().contains("step:100:0.5"), "{text}");
        }
    }
}
