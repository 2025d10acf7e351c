//! What all trained models know of themselves.

use serde::{Deserialize, Serialize};

use super::{Method, Scaler, Settings};
use crate::data::{Encoding, Table};
use crate::{Error, Result};

/// How a model was trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// What it was told.
    pub settings: Settings,
    /// The number of steps or, with mini-batches, of epochs, that were done.
    pub iterations: usize,
    /// Why it ended after these.
    pub ending: Ending,
    /// The engine's [arithmetic](crate::engine::Engine::arithmetic). Not how many threads it had: the model is the same
    /// with any number.
    pub engine: String,
    /// What each step went over.
    pub method: Method,
    /// The number of samples.
    pub samples: usize,
    /// The cost of the model, with the penalty.
    pub cost: f64,
    /// Features that were the same in all samples, from which nothing can be learnt (see [`Scaler`]).
    pub constant_features: Vec<String>,
}

/// Why training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ending {
    /// All epochs were done.
    Epochs,
    /// The gradient was no longer than the tolerance.
    Tolerance,
    /// The cost on the validation share had not fallen for as many epochs as the patience.
    Patience,
    /// Newton's method was at the minimum.
    Converged,
    /// The normal equations were solved by a Cholesky factorisation.
    Cholesky,
    /// The normal equations were too ill-conditioned, and X itself was factorised (QR, then singular values).
    Qr {
        /// The rank of X less its means: with fewer than the features, the shortest of the weights was taken.
        rank: usize,
    },
}

/// What every trained model has beside its numbers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct About {
    pub encoding: Encoding,
    pub target: String,
    pub scaler: Scaler,
    pub training: Training,
    pub history: Vec<f64>,
    /// The cost, without the penalty, on the validation share after each epoch.
    pub validation: Vec<f64>,
}

impl About {
    pub(super) fn features(&self) -> &[String] {
        self.encoding.features()
    }

    /// Refuses tables with other columns than the features.
    pub(super) fn check(&self, x: &Table) -> Result<()> {
        match x.columns() == self.features() {
            true => Ok(()),
            false => Err(Error::Data(format!(
                "the model was trained on the columns {:?}, in this order; these data have {:?}",
                self.features(),
                x.columns()
            ))),
        }
    }

    /// The error for a row whose prediction is not finite.
    pub(super) fn beyond(&self, row: usize) -> Error {
        Error::Data(format!(
            "row {}: the prediction is beyond 32-bit floating point, because values there are too far from those that \
             the model was trained on",
            row + 1
        ))
    }
}

/// How training went, with the costs on its way.
pub(super) struct Run {
    /// The cost before each step, and after the last.
    pub history: Vec<f64>,
    /// The cost, without the penalty, on the validation share after each epoch.
    pub validation: Vec<f64>,
    pub ending: Ending,
}

impl Run {
    /// One without early stopping.
    pub(super) fn new(history: Vec<f64>, ending: Ending) -> Self {
        Run { history, validation: Vec::new(), ending }
    }
}

/// What trained models say of themselves, for one that has a field `about`.
macro_rules! about_methods {
    ($model:ty) => {
        impl $model {
            /// The features' names, in the order of the weights.
            pub fn features(&self) -> &[String] {
                self.about.features()
            }

            /// How the columns of a file become the features.
            pub fn encoding(&self) -> &$crate::data::Encoding {
                &self.about.encoding
            }

            /// The target's name.
            pub fn target(&self) -> &str {
                &self.about.target
            }

            /// The scaler.
            pub fn scaler(&self) -> &$crate::models::Scaler {
                &self.about.scaler
            }

            /// How the model was trained.
            pub fn training(&self) -> &$crate::models::Training {
                &self.about.training
            }

            /// The cost before each step, and after the last: iterations + 1 values. With mini-batches the values before the
            /// last are of epochs: the mean of the costs of an epoch's batches, each before its step. Empty for a model from
            /// a file.
            pub fn history(&self) -> &[f64] {
                &self.about.history
            }

            /// The cost, without the penalty, on the validation share after each epoch. Empty without early stopping, and for a
            /// model from a file.
            pub fn validation_history(&self) -> &[f64] {
                &self.about.validation
            }
        }
    };
}
pub(super) use about_methods;

/// Ways to train that all estimators have, for one that has methods `train` and `train_stream` and gives a model of this type.
macro_rules! watched_methods {
    ($estimator:ty, $model:ty) => {
        impl $estimator {
            /// As [`Self::fit`]; `progress` is called several times a second, or after each epoch that takes longer.
            ///
            /// # Errors
            /// As [`Self::fit`].
            pub fn fit_watched<E: $crate::engine::Engine>(
                &self,
                engine: &E,
                dataset: &$crate::data::Dataset,
                mut progress: impl FnMut($crate::models::Progress),
            ) -> $crate::Result<$model> {
                self.train(engine, dataset, None, &mut progress)
            }

            /// As [`Self::fit_watched`], with checkpoints if there are any, from which training goes on to the same bits. With
            /// mini-batches they are between epochs.
            ///
            /// # Errors
            /// As [`Self::fit`]; [`Error::Checkpoint`](crate::Error::Checkpoint): the checkpoint to go on from is of other
            /// data, settings or engine, or is beyond the iterations; or one cannot be written.
            pub fn fit_resumable<E: $crate::engine::Engine>(
                &self,
                engine: &E,
                dataset: &$crate::data::Dataset,
                checkpoints: impl Into<Option<$crate::models::Checkpoints>>,
                mut progress: impl FnMut($crate::models::Progress),
            ) -> $crate::Result<$model> {
                self.train(engine, dataset, checkpoints.into(), &mut progress)
            }

            /// Trains on a file that is gone through block by block and not kept, so that it need not fit in memory. That
            /// holds two blocks: one that is trained on, and one that is read meanwhile.
            ///
            /// With mini-batches there is a pass over the file for each epoch, one before them to learn the features' scale,
            /// and one after for the model's cost. Samples are shuffled within stretches of
            /// [`shuffle_buffer`](crate::models::Settings::shuffle_buffer) or, where that is not set, within the blocks.
            /// Training on the same samples in memory, with the same shuffle buffer, gives the same model, bit for bit.
            /// Linear regression without mini-batches goes over the file once, as its `fit_blocks`.
            ///
            /// On a GPU the steps on a block are queued, and the next one is copied from page-locked memory while they run.
            ///
            /// # Errors
            /// As [`Self::fit`]; [`Error::Setting`](crate::Error::Setting): settings for which all samples must be there at
            /// once, such as early stopping; [`Error::Data`](crate::Error::Data): a target of classes that the reader does
            /// not [take as such](crate::data::Reader::classes), or a file that changes meanwhile; and what reading reports.
            pub fn fit_stream<E: $crate::engine::Engine>(
                &self,
                engine: &E,
                blocks: &$crate::data::Blocks,
            ) -> $crate::Result<$model> {
                self.fit_stream_watched(engine, blocks, |_| ())
            }

            /// As [`Self::fit_stream`]; `progress` is called as in [`Self::fit_watched`].
            ///
            /// # Errors
            /// As [`Self::fit_stream`].
            pub fn fit_stream_watched<E: $crate::engine::Engine>(
                &self,
                engine: &E,
                blocks: &$crate::data::Blocks,
                mut progress: impl FnMut($crate::models::Progress),
            ) -> $crate::Result<$model> {
                self.train_stream(engine, blocks, None, &mut progress)
            }

            /// As [`Self::fit_stream_watched`], with checkpoints between epochs. One of training in memory with the same
            /// shuffle buffer can be gone on with, and the other way round.
            ///
            /// # Errors
            /// As [`Self::fit_stream`] and [`Self::fit_resumable`]; [`Error::Setting`](crate::Error::Setting): there are no
            /// mini-batches.
            pub fn fit_stream_resumable<E: $crate::engine::Engine>(
                &self,
                engine: &E,
                blocks: &$crate::data::Blocks,
                checkpoints: impl Into<Option<$crate::models::Checkpoints>>,
                mut progress: impl FnMut($crate::models::Progress),
            ) -> $crate::Result<$model> {
                self.train_stream(engine, blocks, checkpoints.into(), &mut progress)
            }
        }
    };
}
pub(super) use watched_methods;
