//! A network that has been trained.

use sha2::{Digest, Sha256};

use super::super::predictions::{labels, truth};
use super::super::training::{About, about_methods};
use super::super::{Metrics, Predictions, metrics};
use super::{DenseLayer, DenseNetwork, Layers};
use crate::data::{Dataset, Table};
use crate::engine::{Engine, Head};
use crate::{Error, Result};

/// Rows that are predicted at once: what is between layers is kept for these alone.
const BLOCK: usize = 8192;

/// A network that has been trained: it predicts, and can be saved.
#[derive(Clone, Debug, PartialEq)]
pub struct FittedNetwork {
    pub(in super::super) about: About,
    pub(in super::super) classes: Option<Vec<String>>,
    /// The last one with the identity, for the head.
    pub(in super::super) layers: Vec<DenseLayer>,
    pub(in super::super) head: Head,
}

about_methods!(FittedNetwork);

impl FittedNetwork {
    /// The classes' names, in the order of their numbers. `None` for a regression.
    pub fn classes(&self) -> Option<&[String]> {
        self.classes.as_deref()
    }

    /// Its layers, in words.
    pub fn layers(&self) -> Layers {
        let Some((last, hidden)) = self.layers.split_last() else { return Layers::new([]) };
        let hidden = hidden.iter().map(|layer| (layer.units(), layer.activation()));
        Layers::new(hidden).with_output(last.units(), self.head)
    }

    /// The numbers of each layer, on scaled features. The last layer's activation is the identity; its head follows.
    pub fn dense_layers(&self) -> &[DenseLayer] {
        &self.layers
    }

    /// What the last layer's outputs are.
    pub fn head(&self) -> Head {
        self.head
    }

    /// What the network predicts for each row of `x`: the target in its own units, or the probabilities of the classes.
    ///
    /// # Errors
    /// Columns other than the model's features in the model's order; values so far from those that the model was
    /// trained on that a prediction is not finite; or what the engine reports.
    pub fn predict<E: Engine>(&self, engine: &E, x: &Table) -> Result<Predictions> {
        match &self.classes {
            None => Ok(Predictions::Values(self.outputs(engine, x)?)),
            Some(classes) => Ok(Predictions::of_classes(classes, self.probabilities(engine, x)?)),
        }
    }

    /// The probability of each class for each row of `x`: rows × classes, row by row.
    ///
    /// # Errors
    /// As [`FittedNetwork::predict`]; [`Error::Data`] for a regression, which has no classes.
    pub fn probabilities<E: Engine>(&self, engine: &E, x: &Table) -> Result<Vec<f64>> {
        let outputs = self.outputs(engine, x)?;
        match self.head {
            Head::Identity => Err(Error::Data(format!(
                "the network predicts the number {:?}, and numbers have no probabilities: take its predictions",
                self.target()
            ))),
            Head::Sigmoid => Ok(outputs.into_iter().flat_map(|second| [1.0 - second, second]).collect()),
            Head::Softmax => Ok(outputs),
        }
    }

    /// How good the predictions for `dataset` are. Its classes are compared with the model's by name.
    ///
    /// # Errors
    /// As [`FittedNetwork::predict`]; another target than the model's, or a class that the model does not know.
    pub fn evaluate<E: Engine>(&self, engine: &E, dataset: &Dataset) -> Result<Metrics> {
        let Some(classes) = &self.classes else {
            let y = truth(&self.about, dataset)?;
            let predictions = self.outputs(engine, dataset.features())?;
            return Ok(Metrics::Regression(metrics::regression_of(y, &predictions)?));
        };
        let labels = labels(&self.about, classes, dataset)?;
        let probabilities = self.probabilities(engine, dataset.features())?;
        Ok(Metrics::Classification(metrics::classification(&labels, &probabilities, classes.len())?))
    }

    /// R² of a regression, the accuracy of a classification.
    ///
    /// # Errors
    /// As [`FittedNetwork::evaluate`]; [`Error::Data`]: a target that is constant, for which R² is not defined.
    pub fn score<E: Engine>(&self, engine: &E, dataset: &Dataset) -> Result<f64> {
        match self.evaluate(engine, dataset)? {
            Metrics::Regression(metrics) => metrics.score(dataset.target()),
            Metrics::Classification(metrics) => Ok(metrics.accuracy),
        }
    }

    /// What the head gives (rows × units of the last layer), row by row.
    fn outputs<E: Engine>(&self, engine: &E, table: &Table) -> Result<Vec<f64>> {
        self.about.check(table)?;
        let units = self.layers.last().map_or(1, DenseLayer::units);
        let network = DenseNetwork::new(engine, &self.layers)?;
        let x = engine.share(table.rows(), table.columns().len(), table.shared_values())?;
        let scaling = self.about.scaler.on(engine)?;
        let rows = u32::try_from(table.rows())
            .map_err(|_| Error::Data(format!("{} rows are too many at once: split them", table.rows())))?;
        let mut outputs = Vec::new();
        for block in (0..rows).collect::<Vec<_>>().chunks(BLOCK) {
            let z = network.forward(engine, &engine.gather(&x, scaling.as_ref(), block)?)?;
            let values = engine.read(&engine.predictions(self.head, z)?)?;
            if let Some(place) = values.iter().position(|value| !(*value as f32).is_finite()) {
                return Err(self.about.beyond(block[0] as usize + place / units));
            }
            outputs.extend(values);
        }
        Ok(outputs)
    }

    /// What tells it from others: SHA-256 of its numbers, in hexadecimal digits.
    pub(super) fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        for DenseLayer { weights, bias, .. } in &self.layers {
            hash.update(bytemuck::cast_slice(weights));
            hash.update(bytemuck::cast_slice(bias));
        }
        hash.update(bytemuck::cast_slice(self.scaler().mean()));
        hash.update(bytemuck::cast_slice(self.scaler().standard_deviation()));
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
