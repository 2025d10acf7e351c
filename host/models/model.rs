//! A model of any kind.

use super::{FittedLinear, FittedLogistic, FittedNetwork, Metrics, Predictions, Training};
use crate::Result;
use crate::data::{Dataset, Encoding, Table};
use crate::engine::Engine;

/// A trained model of any kind, as a model file holds one.
#[derive(Clone, Debug, PartialEq)]
pub enum Model {
    /// Linear regression.
    Linear(FittedLinear),
    /// Logistic regression.
    Logistic(FittedLogistic),
    /// A dense network.
    Network(FittedNetwork),
}

impl Model {
    /// The kind's name: `linear`, `logistic` or `network`.
    pub fn kind(&self) -> &'static str {
        match self {
            Model::Linear(_) => "linear",
            Model::Logistic(_) => "logistic",
            Model::Network(_) => "network",
        }
    }

    /// The features' names, in the order of the weights.
    pub fn features(&self) -> &[String] {
        match self {
            Model::Linear(model) => model.features(),
            Model::Logistic(model) => model.features(),
            Model::Network(model) => model.features(),
        }
    }

    /// How the columns of a file become the features.
    pub fn encoding(&self) -> &Encoding {
        match self {
            Model::Linear(model) => model.encoding(),
            Model::Logistic(model) => model.encoding(),
            Model::Network(model) => model.encoding(),
        }
    }

    /// The target's name.
    pub fn target(&self) -> &str {
        match self {
            Model::Linear(model) => model.target(),
            Model::Logistic(model) => model.target(),
            Model::Network(model) => model.target(),
        }
    }

    /// The classes' names, if the target is one of several.
    pub fn classes(&self) -> Option<&[String]> {
        match self {
            Model::Linear(_) => None,
            Model::Logistic(model) => Some(model.classes()),
            Model::Network(model) => model.classes(),
        }
    }

    /// How it was trained.
    pub fn training(&self) -> &Training {
        match self {
            Model::Linear(model) => model.training(),
            Model::Logistic(model) => model.training(),
            Model::Network(model) => model.training(),
        }
    }

    /// The cost before each step, and after the last; with mini-batches, of each epoch the mean of its batches' costs, each
    /// before its step. Empty for a model from a file.
    pub fn history(&self) -> &[f64] {
        match self {
            Model::Linear(model) => model.history(),
            Model::Logistic(model) => model.history(),
            Model::Network(model) => model.history(),
        }
    }

    /// The cost, without the penalty, on the validation share after each epoch. Empty without early stopping, and for a
    /// model from a file.
    pub fn validation_history(&self) -> &[f64] {
        match self {
            Model::Linear(model) => model.validation_history(),
            Model::Logistic(model) => model.validation_history(),
            Model::Network(model) => model.validation_history(),
        }
    }

    /// What it predicts for each row of `x`.
    ///
    /// # Errors
    /// As [`FittedLinear::predict`], [`FittedLogistic::probabilities`] and [`FittedNetwork::predict`].
    pub fn predict<E: Engine>(&self, engine: &E, x: &Table) -> Result<Predictions> {
        match self {
            Model::Linear(model) => model.predict(engine, x).map(Predictions::Values),
            Model::Logistic(model) => {
                Ok(Predictions::of_classes(model.classes(), model.probabilities(engine, x)?))
            }
            Model::Network(model) => model.predict(engine, x),
        }
    }

    /// How good its predictions for `dataset` are.
    ///
    /// # Errors
    /// As [`FittedLinear::evaluate`], [`FittedLogistic::evaluate`] and [`FittedNetwork::evaluate`].
    pub fn evaluate<E: Engine>(&self, engine: &E, dataset: &Dataset) -> Result<Metrics> {
        match self {
            Model::Linear(model) => model.evaluate(engine, dataset).map(Metrics::Regression),
            Model::Logistic(model) => model.evaluate(engine, dataset).map(Metrics::Classification),
            Model::Network(model) => model.evaluate(engine, dataset),
        }
    }
}

impl From<FittedLinear> for Model {
    fn from(model: FittedLinear) -> Self {
        Model::Linear(model)
    }
}

impl From<FittedLogistic> for Model {
    fn from(model: FittedLogistic) -> Self {
        Model::Logistic(model)
    }
}

impl From<FittedNetwork> for Model {
    fn from(model: FittedNetwork) -> Self {
        Model::Network(model)
    }
}
