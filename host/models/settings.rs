//! What every estimator is told: how to descend, what to add to the cost, when to stop.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Method, Scale};
use crate::error::rate;
use crate::{Error, Result};

/// How parameters go down along the gradient g of a step, with the learning rate α.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Optimiser {
    /// w := w − αg
    #[default]
    Descent,
    /// v := μv + g, w := w − αv, from v = 0 (Polyak, 1964, as it is written in Sutskever and others, 2013).
    Momentum {
        /// μ: from 0 to below 1.
        momentum: f64,
    },
    /// m := β₁m + (1 − β₁)g, v := β₂v + (1 − β₂)g², w := w − α m̂ / (√v̂ + ε), with m̂ = m / (1 − β₁ᵗ) and
    /// v̂ = v / (1 − β₂ᵗ) at step t, from 1 (Kingma and Ba, 2015).
    Adam {
        /// β₁: from 0 to below 1.
        beta1: f64,
        /// β₂: from 0 to below 1.
        beta2: f64,
        /// ε: above 0.
        epsilon: f64,
    },
}

impl Optimiser {
    /// Momentum with μ = 0.9.
    #[must_use]
    pub fn momentum() -> Self {
        Optimiser::Momentum { momentum: 0.9 }
    }

    /// Adam with the values of its paper: β₁ = 0.9, β₂ = 0.999, ε = 10⁻⁸.
    #[must_use]
    pub fn adam() -> Self {
        Optimiser::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 }
    }

    fn check(self) -> Result<()> {
        let share = |name: &str, value: f64| match (0.0..1.0).contains(&value) {
            true => Ok(()),
            false => Err(Error::Setting(format!("{name} must be a number from 0 to below 1, not {value}"))),
        };
        match self {
            Optimiser::Descent => Ok(()),
            Optimiser::Momentum { momentum } => share("the momentum", momentum),
            Optimiser::Adam { beta1, beta2, epsilon } => {
                share("Adam's beta1", beta1)?;
                share("Adam's beta2", beta2)?;
                match epsilon.is_finite() && epsilon >= f64::from(f32::MIN_POSITIVE) {
                    true => Ok(()),
                    false => Err(Error::Setting(format!(
                        "Adam's epsilon must be a number above 0, such as 1e-8, not {epsilon}"
                    ))),
                }
            }
        }
    }
}

impl fmt::Display for Optimiser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Optimiser::Descent => f.write_str("descent"),
            Optimiser::Momentum { momentum } => write!(f, "momentum {momentum}"),
            Optimiser::Adam { beta1, beta2, epsilon } => write!(f, "adam {beta1}, {beta2}, {epsilon:e}"),
        }
    }
}

/// The learning rate of step i of N, counted from 0, as a share of α.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// 1
    #[default]
    Constant,
    /// factor^⌊i / every⌋
    Step {
        /// Steps with one rate: at least 1.
        every: usize,
        /// Above 0, to 1.
        factor: f64,
    },
    /// factor^(i / N): the rate ends at about `factor` of what it began with.
    Exponential {
        /// Above 0, to 1.
        factor: f64,
    },
    /// (1 + cos(πi / N)) / 2 (Loshchilov and Hutter, 2017, without restarts).
    Cosine,
    /// 1 / (1 + decay · i / N)
    InverseTime {
        /// At least 0.
        decay: f64,
    },
}

impl Schedule {
    /// The share of the learning rate at step `i` of `steps`, counted from 0.
    ///
    /// ```
    /// use tilegrad::models::Schedule;
    ///
    /// assert_eq!(Schedule::Step { every: 10, factor: 0.5 }.at(25, 100), 0.25);
    /// assert_eq!(Schedule::InverseTime { decay: 3.0 }.at(100, 100), 0.25);
    /// ```
    #[must_use]
    pub fn at(self, i: usize, steps: usize) -> f64 {
        let share = i as f64 / steps.max(1) as f64;
        match self {
            Schedule::Constant => 1.0,
            Schedule::Step { every, factor } => factor.powf((i / every.max(1)) as f64),
            Schedule::Exponential { factor } => factor.powf(share),
            Schedule::Cosine => (1.0 + (std::f64::consts::PI * share).cos()) / 2.0,
            Schedule::InverseTime { decay } => 1.0 / (1.0 + decay * share),
        }
    }

    fn check(self) -> Result<()> {
        let refuse = |text: String| Err(Error::Setting(text));
        match self {
            Schedule::Step { every: 0, .. } => {
                refuse("a schedule in steps keeps each rate for at least 1 step".to_owned())
            }
            Schedule::Step { factor, .. } | Schedule::Exponential { factor }
                if !(factor > 0.0 && factor <= 1.0) =>
            {
                refuse(format!("the schedule's factor must be a number above 0, and at most 1, not {factor}"))
            }
            Schedule::InverseTime { decay } if !(decay >= 0.0 && decay.is_finite()) => {
                refuse(format!("the schedule's decay must be a number of at least 0, not {decay}"))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Schedule::Constant => f.write_str("constant"),
            Schedule::Step { every, factor } => write!(f, "step {factor} every {every}"),
            Schedule::Exponential { factor } => write!(f, "exponential {factor}"),
            Schedule::Cosine => f.write_str("cosine"),
            Schedule::InverseTime { decay } => write!(f, "inverse-time {decay}"),
        }
    }
}

/// Training ends before the last epoch if the cost on samples that are kept out of it no longer falls; the parameters are
/// those with the lowest such cost.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct EarlyStopping {
    /// The share of the samples that is kept out: above 0, below 1. Which ones is decided by the seed.
    pub validation_share: f64,
    /// Epochs without a lower cost after which training ends: at least 1.
    pub patience: usize,
}

impl EarlyStopping {
    /// How many of `samples` samples are kept out: the nearest number to the share, but at least one, and not all.
    pub fn kept_out(&self, samples: usize) -> usize {
        crate::data::share_of(samples, self.validation_share)
    }
}

/// How the parameters are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Solver {
    /// Gradient descent, as the other settings say.
    #[default]
    Descent,
    /// Linear regression alone: the minimum of the cost from the normal equations (XᵀX + mλI) w = Xᵀy.
    Normal,
    /// Logistic regression alone: Newton's method, on the host in `f64`, to the minimum of the cost.
    Newton,
}

impl fmt::Display for Solver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Solver::Descent => "descent",
            Solver::Normal => "normal",
            Solver::Newton => "newton",
        })
    }
}

/// What every estimator is told.
///
/// **The penalty.** J is the mean loss and λ/2 · Σw², over all weights and no bias; weights are those of the scaled
/// features. In scikit-learn's terms, m samples: `Ridge(alpha)` has alpha = mλ, `LogisticRegression(C)` has C = 1 / (mλ),
/// and `MLPClassifier(alpha)` and `MLPRegressor(alpha)` have alpha = mλ.
///
/// **The tolerance.** Full batch: training ends at the first step before which the Euclidean length of J's gradient by
/// all weights and biases, ‖(∇w, ∇b)‖₂, is at most the tolerance; that step is not done. Mini-batches: after the first
/// epoch over which the mean of the batches' gradients has at most that length.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The learning rate α: finite and above 0.
    pub learning_rate: f64,
    /// Passes over the samples, at least 1. With the full batch, each is a step.
    pub epochs: usize,
    /// Samples of a mini-batch, at least 1; `None`: all samples in each step.
    pub batch_size: Option<usize>,
    /// Samples that are shuffled together in each epoch of mini-batches, at least a batch: each stretch of so many consecutive
    /// ones in an order of its own, one stretch after the other, and no batch goes over the end of one. `None`: all samples
    /// or, of a file that is gone through in blocks, each block.
    pub shuffle_buffer: Option<usize>,
    /// How features are scaled before descent.
    pub scale: Scale,
    /// What each step of full-batch descent of linear regression goes over.
    pub method: Method,
    /// How parameters go down.
    pub optimiser: Optimiser,
    /// How the learning rate changes.
    pub schedule: Schedule,
    /// λ of the penalty: at least 0.
    pub l2: f64,
    /// The length of the gradient at which training ends: above 0. `None`: it goes on to the last epoch.
    pub tolerance: Option<f64>,
    /// When training ends before the last epoch because it no longer helps on other samples.
    pub early_stopping: Option<EarlyStopping>,
    /// Decides first weights, the order of the samples, and which are kept out.
    pub seed: u64,
    /// How the parameters are found.
    pub solver: Solver,
}

impl Default for Settings {
    /// Learning rate 0.1, 1000 steps of full-batch descent, features scaled by [`Scale::ZScore`], no penalty.
    fn default() -> Self {
        Settings {
            learning_rate: 0.1,
            epochs: 1000,
            batch_size: None,
            shuffle_buffer: None,
            scale: Scale::ZScore,
            method: Method::Auto,
            optimiser: Optimiser::Descent,
            schedule: Schedule::Constant,
            l2: 0.0,
            tolerance: None,
            early_stopping: None,
            seed: 0,
            solver: Solver::Descent,
        }
    }
}

impl Settings {
    /// Refuses what makes no sense, with the remedy.
    ///
    /// # Errors
    /// [`Error::Setting`]: a value outside what its field says.
    pub fn check(&self) -> Result<()> {
        let refuse = |text: String| Err(Error::Setting(text));
        let smallest = f64::from(f32::MIN_POSITIVE);
        if !(self.learning_rate.is_finite() && self.learning_rate >= smallest) {
            return refuse(format!(
                "the learning rate must be a number above 0 (and at least {:e}), not {}",
                f32::MIN_POSITIVE,
                rate(self.learning_rate)
            ));
        }
        if self.epochs == 0 {
            return refuse("there must be at least 1 iteration".to_owned());
        }
        if self.batch_size == Some(0) {
            return refuse("a batch must have at least 1 sample".to_owned());
        }
        match (self.shuffle_buffer, self.batch_size) {
            (None, _) => {}
            (Some(_), None) => {
                return refuse(
                    "a shuffle buffer is for mini-batches, and the full batch is not shuffled: set a batch size, or leave the \
                     shuffle buffer out"
                        .to_owned(),
                );
            }
            (Some(buffer), Some(size)) if buffer < size => {
                return refuse(format!(
                    "a shuffle buffer of {buffer} samples holds no batch of {size}: set at least that many, or smaller batches"
                ));
            }
            (Some(_), Some(_)) => {}
        }
        if !(self.l2 >= 0.0 && (self.l2 as f32).is_finite()) {
            return refuse(format!(
                "the L2 penalty must be a number of at least 0, in range of 32-bit floating point, not {:e}",
                self.l2
            ));
        }
        if let Some(tolerance) = self.tolerance
            && !(tolerance > 0.0 && tolerance.is_finite())
        {
            return refuse(format!("the tolerance must be a number above 0, such as 1e-4, not {tolerance}"));
        }
        if let Some(EarlyStopping { validation_share, patience }) = self.early_stopping {
            if !(validation_share > 0.0 && validation_share < 1.0) {
                return refuse(format!(
                    "the validation share must be a number above 0 and below 1, such as 0.1, not {validation_share}"
                ));
            }
            if patience == 0 {
                return refuse("early stopping needs a patience of at least 1 epoch".to_owned());
            }
        }
        self.optimiser.check()?;
        self.schedule.check()
    }

    /// Whether each step goes over all samples at one rate and nothing is kept between steps, as
    /// [`Engine::descend`](crate::engine::Engine::descend) does.
    pub(super) fn is_plain_descent(&self) -> bool {
        self.batch_size.is_none()
            && self.optimiser == Optimiser::Descent
            && self.schedule == Schedule::Constant
            && self.early_stopping.is_none()
    }

    /// What decides the bits of each step, for checkpoints: names in words, and values. The number of epochs is not
    /// among them, unless the schedule depends on it. `method` is what [`Method::Auto`] was resolved to.
    pub(super) fn entries(&self, method: Method) -> Vec<(&'static str, Value)> {
        let mut entries = vec![
            ("learning rate", self.learning_rate.into()),
            ("scale", self.scale.to_string().into()),
            (Self::METHOD, method.to_string().into()),
            ("L2 penalty", self.l2.into()),
        ];
        let set = [
            ("batch size", self.batch_size.map(Value::from)),
            ("shuffle buffer", self.shuffle_buffer.map(Value::from)),
            ("tolerance", self.tolerance.map(Value::from)),
            ("optimiser", (self.optimiser != Optimiser::Descent).then(|| self.optimiser.to_string().into())),
            ("schedule", (self.schedule != Schedule::Constant).then(|| self.schedule.to_string().into())),
            ("validation share", self.early_stopping.map(|stopping| stopping.validation_share.into())),
            ("patience", self.early_stopping.map(|stopping| stopping.patience.into())),
        ];
        entries.extend(set.into_iter().filter_map(|(name, value)| Some((name, value?))));
        if !self.is_plain_descent() {
            entries.push(("seed", self.seed.into()));
        }
        if !matches!(self.schedule, Schedule::Constant | Schedule::Step { .. }) {
            entries.push(("number of epochs", self.epochs.into()));
        }
        entries
    }

    /// The name of the method among [`Settings::entries`].
    pub(super) const METHOD: &str = "method";
}

/// The builder methods that all estimators have, for one that has a field `settings`.
macro_rules! builder_methods {
    ($estimator:ty) => {
        impl $estimator {
            /// The learning rate α: finite and above 0.
            #[must_use]
            pub fn learning_rate(mut self, learning_rate: f64) -> Self {
                self.settings.learning_rate = learning_rate;
                self
            }

            /// The number of steps of full-batch descent, at least 1: another name of [`Self::epochs`].
            #[must_use]
            pub fn iterations(self, iterations: usize) -> Self {
                self.epochs(iterations)
            }

            /// The number of passes over the samples: at least 1. With the full batch, each is a step.
            #[must_use]
            pub fn epochs(mut self, epochs: usize) -> Self {
                self.settings.epochs = epochs;
                self
            }

            /// Mini-batches of so many samples, at least 1, in place of the full batch.
            #[must_use]
            pub fn batch_size(mut self, samples: usize) -> Self {
                self.settings.batch_size = Some(samples);
                self
            }

            /// The number of consecutive samples that are shuffled together in each epoch of mini-batches: at least a batch.
            /// See [`Settings`](crate::models::Settings::shuffle_buffer).
            #[must_use]
            pub fn shuffle_buffer(mut self, samples: usize) -> Self {
                self.settings.shuffle_buffer = Some(samples);
                self
            }

            /// How the parameters are found.
            #[must_use]
            pub fn solver(mut self, solver: $crate::models::Solver) -> Self {
                self.settings.solver = solver;
                self
            }

            /// How features are scaled before descent.
            #[must_use]
            pub fn scale(mut self, scale: $crate::models::Scale) -> Self {
                self.settings.scale = scale;
                self
            }

            /// How parameters go down along the gradient.
            #[must_use]
            pub fn optimiser(mut self, optimiser: $crate::models::Optimiser) -> Self {
                self.settings.optimiser = optimiser;
                self
            }

            /// How the learning rate changes from step to step.
            #[must_use]
            pub fn schedule(mut self, schedule: $crate::models::Schedule) -> Self {
                self.settings.schedule = schedule;
                self
            }

            /// λ of the penalty λ/2 · Σw² in the cost: at least 0. See [`Settings`](crate::models::Settings).
            #[must_use]
            pub fn l2(mut self, l2: f64) -> Self {
                self.settings.l2 = l2;
                self
            }

            /// Training ends where the gradient is at most so long. See [`Settings`](crate::models::Settings).
            #[must_use]
            pub fn tolerance(mut self, tolerance: f64) -> Self {
                self.settings.tolerance = Some(tolerance);
                self
            }

            /// Training ends where the cost on samples that are kept out of it no longer falls.
            #[must_use]
            pub fn early_stopping(mut self, stopping: $crate::models::EarlyStopping) -> Self {
                self.settings.early_stopping = Some(stopping);
                self
            }

            /// Decides first weights, the order of the samples, and which are kept out.
            #[must_use]
            pub fn seed(mut self, seed: u64) -> Self {
                self.settings.seed = seed;
                self
            }

            /// All settings.
            pub fn settings(&self) -> &$crate::models::Settings {
                &self.settings
            }

            /// The same estimator with these settings, all of them.
            #[must_use]
            pub fn with_settings(mut self, settings: $crate::models::Settings) -> Self {
                self.settings = settings;
                self
            }
        }
    };
}
pub(super) use builder_methods;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_begin_at_1_and_fall_as_their_formulas_say() {
        for schedule in [
            Schedule::Constant,
            Schedule::Step { every: 3, factor: 0.5 },
            Schedule::Exponential { factor: 0.01 },
            Schedule::Cosine,
            Schedule::InverseTime { decay: 4.0 },
        ] {
            assert_eq!(schedule.at(0, 10), 1.0, "{schedule}");
            assert!((1..10).all(|i| schedule.at(i, 10) <= schedule.at(i - 1, 10)), "{schedule}");
        }
        assert_eq!(Schedule::Step { every: 3, factor: 0.5 }.at(8, 10), 0.25);
        assert!((Schedule::Exponential { factor: 0.01 }.at(5, 10) - 0.1).abs() < 1e-15);
        assert!((Schedule::Cosine.at(5, 10) - 0.5).abs() < 1e-15);
        assert_eq!(Schedule::InverseTime { decay: 4.0 }.at(5, 10), 1.0 / 3.0);
    }

    #[test]
    fn each_setting_that_makes_no_sense_is_refused_by_name() {
        let fine = Settings::default;
        let stopping = |validation_share, patience| Some(EarlyStopping { validation_share, patience });
        let adam = |beta1, beta2, epsilon| Optimiser::Adam { beta1, beta2, epsilon };
        fine().check().unwrap();
        Settings { learning_rate: f64::from(f32::MIN_POSITIVE), ..fine() }.check().unwrap();
        for (settings, words) in [
            (Settings { learning_rate: 0.0, ..fine() }, "learning rate"),
            (Settings { learning_rate: f64::from(f32::MIN_POSITIVE) / 2.0, ..fine() }, "learning rate"),
            (Settings { learning_rate: f64::NAN, ..fine() }, "learning rate"),
            (Settings { epochs: 0, ..fine() }, "at least 1 iteration"),
            (Settings { batch_size: Some(0), ..fine() }, "at least 1 sample"),
            (Settings { shuffle_buffer: Some(8), ..fine() }, "the full batch is not shuffled"),
            (Settings { batch_size: Some(8), shuffle_buffer: Some(7), ..fine() }, "holds no batch of 8"),
            (Settings { batch_size: Some(8), shuffle_buffer: Some(0), ..fine() }, "holds no batch of 8"),
            (Settings { l2: -1.0, ..fine() }, "L2 penalty"),
            (Settings { l2: f64::NAN, ..fine() }, "L2 penalty"),
            (Settings { l2: 1e300, ..fine() }, "L2 penalty"),
            (Settings { tolerance: Some(0.0), ..fine() }, "tolerance"),
            (Settings { tolerance: Some(f64::INFINITY), ..fine() }, "tolerance"),
            (Settings { early_stopping: stopping(0.0, 1), ..fine() }, "validation share"),
            (Settings { early_stopping: stopping(1.0, 1), ..fine() }, "validation share"),
            (Settings { early_stopping: stopping(0.5, 0), ..fine() }, "patience"),
            (Settings { optimiser: Optimiser::Momentum { momentum: 1.0 }, ..fine() }, "momentum"),
            (Settings { optimiser: adam(1.0, 0.9, 1e-8), ..fine() }, "beta1"),
            (Settings { optimiser: adam(0.9, -0.1, 1e-8), ..fine() }, "beta2"),
            (Settings { optimiser: adam(0.9, 0.9, 0.0), ..fine() }, "epsilon"),
            (Settings { schedule: Schedule::Step { every: 0, factor: 0.5 }, ..fine() }, "at least 1 step"),
            (Settings { schedule: Schedule::Step { every: 1, factor: 0.0 }, ..fine() }, "factor"),
            (Settings { schedule: Schedule::Exponential { factor: 1.5 }, ..fine() }, "factor"),
            (Settings { schedule: Schedule::InverseTime { decay: -1.0 }, ..fine() }, "decay"),
        ] {
            let refused = settings.check().unwrap_err().to_string();
            assert!(refused.contains(words), "{refused}");
        }
    }

    #[test]
    fn a_setting_that_changes_the_bits_is_among_the_entries() {
        let fine = Settings::default;
        let entries = |settings: &Settings| settings.entries(Method::Direct);
        assert_eq!(entries(&Settings { epochs: 7, ..fine() }), entries(&fine()));
        for settings in [
            Settings { learning_rate: 0.2, ..fine() },
            Settings { batch_size: Some(8), ..fine() },
            Settings { scale: Scale::None, ..fine() },
            Settings { optimiser: Optimiser::adam(), ..fine() },
            Settings { schedule: Schedule::Cosine, ..fine() },
            Settings { l2: 0.1, ..fine() },
            Settings { tolerance: Some(1e-3), ..fine() },
            Settings { early_stopping: Some(EarlyStopping { validation_share: 0.1, patience: 3 }), ..fine() },
            Settings { batch_size: Some(8), seed: 1, ..fine() },
        ] {
            assert_ne!(entries(&settings), entries(&fine()), "{settings:?}");
        }
        let cosine = |epochs| entries(&Settings { schedule: Schedule::Cosine, epochs, ..fine() });
        assert_ne!(cosine(5), cosine(6));
    }
}
