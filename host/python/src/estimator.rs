//! Training.

use std::fmt::Display;

use numpy::{AllowTypeChange, PyArrayLike1};
use pyo3::prelude::*;
use serde_json::{Map, Value, json};
use tilegrad::data::Dataset;
use tilegrad::engine::{Engine, Job};
use tilegrad::models::{
    Layers, LinearRegression, LogisticRegression, Model, MultilayerPerceptron, Optimiser, Settings,
};
use tilegrad::{Error, Result};

use crate::error::{Guarded, to_python};
use crate::model::PyModel;
use crate::{Samples, run, table};

/// A training: what it is told, and the samples.
struct Fit {
    kind: String,
    settings: Settings,
    layers: Option<Layers>,
    dataset: Dataset,
}

impl Job for Fit {
    type Output = Model;

    fn run<E: Engine>(self, engine: &E) -> Result<Model> {
        let Fit { kind, settings, layers, dataset } = self;
        match kind.as_str() {
            "linear" => Ok(LinearRegression::new().with_settings(settings).fit(engine, &dataset)?.into()),
            "logistic" => Ok(LogisticRegression::new().with_settings(settings).fit(engine, &dataset)?.into()),
            "network" => {
                let network = MultilayerPerceptron::new().with_settings(settings);
                let network = match layers {
                    Some(layers) => network.layers(layers),
                    None => network,
                };
                Ok(network.fit(engine, &dataset)?.into())
            }
            _ => Err(Error::Setting(format!(
                "there is no kind of model {kind:?}: there are linear, logistic and network"
            ))),
        }
    }
}

/// The settings that `json` names; those that it does not are as [`Settings::default`] has them.
fn settings(json: &str) -> Result<Settings> {
    let refuse =
        |name: &str, problem: &dyn Display| Err(Error::Setting(format!("the setting {name}: {problem}")));
    let object = |settings: &Settings| match serde_json::to_value(settings) {
        Ok(Value::Object(fields)) => fields,
        _ => unreachable!("settings are a JSON object"),
    };
    let given: Map<String, Value> =
        serde_json::from_str(json).map_err(|error| Error::Setting(format!("the settings: {error}")))?;
    let mut settings = Settings::default();
    for (name, value) in given {
        let value = match (name.as_str(), value.as_str()) {
            ("optimiser", Some("momentum")) => json!(Optimiser::momentum()),
            ("optimiser", Some("adam")) => json!(Optimiser::adam()),
            _ => value,
        };
        let mut fields = object(&settings);
        match fields.get_mut(&name) {
            Some(place) => *place = value,
            None => return refuse(&name, &"there is none of this name"),
        }
        // One by one, so that the message names the one that is wrong.
        settings = match serde_json::from_value(Value::Object(fields)) {
            Ok(settings) => settings,
            Err(problem) => return refuse(&name, &problem),
        };
    }
    Ok(settings)
}

/// Trains a model of this kind on x (samples × features) and y (samples: numbers, or with `classes`
/// the numbers of the classes, from 0); a network with these layers, in words: "64:relu,10:softmax".
#[pyfunction]
#[pyo3(signature = (kind, settings, device, x, y, features, target, classes = None, layers = None))]
#[expect(clippy::too_many_arguments, reason = "Python names them in the call")]
pub(crate) fn fit(
    py: Python<'_>,
    kind: String,
    settings: &str,
    device: &str,
    x: Samples<'_>,
    y: PyArrayLike1<'_, f32, AllowTypeChange>,
    features: Vec<String>,
    target: String,
    classes: Option<Vec<String>>,
    layers: Option<&str>,
) -> PyResult<PyModel> {
    let settings = self::settings(settings).map_err(to_python)?;
    let layers = layers.map(str::parse).transpose().map_err(to_python)?;
    let table = table(&x, &features).map_err(to_python)?;
    let y = y.as_array().to_vec();
    py.guarded(|| {
        let dataset = Dataset::new(table, target, y)?;
        let dataset = match classes {
            Some(classes) => dataset.with_class_names(classes)?,
            None => dataset,
        };
        run(device, Fit { kind, settings, layers, dataset })
    })
    .map(PyModel)
}
