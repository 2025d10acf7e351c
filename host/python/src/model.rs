//! Trained models.

use std::path::PathBuf;

use numpy::{IntoPyArray, PyArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use tilegrad::data::{Output, Table};
use tilegrad::engine::{Engine, Job};
use tilegrad::models::{Model, Predictions};

use crate::error::{Guarded, to_python};
use crate::{Matrix, Samples, Vector, run, table};

/// A trained model of any kind: `tilegrad.Model`.
///
/// It predicts, and is saved to the file that the command reads and writes as well. Needs NumPy alone.
#[pyclass(frozen, name = "Model", module = "tilegrad")]
pub(crate) struct PyModel(pub(crate) Model);

struct Predict<'a>(&'a Model, Table);

impl Job for Predict<'_> {
    type Output = Predictions;

    fn run<E: Engine>(self, engine: &E) -> tilegrad::Result<Predictions> {
        self.0.predict(engine, &self.1)
    }
}

impl PyModel {
    fn predictions(&self, py: Python<'_>, x: &Samples<'_>, device: &str) -> PyResult<Predictions> {
        let table = table(x, self.0.features()).map_err(to_python)?;
        py.guarded(|| run(device, Predict(&self.0, table)))
    }
}

#[pymethods]
impl PyModel {
    /// Reads a model file.
    #[staticmethod]
    fn load(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        py.guarded(|| Model::load(path)).map(PyModel)
    }

    /// Writes the model to a file, whole or not at all.
    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        py.guarded(|| self.0.save(&Output::new(path)?))
    }

    /// A model from the bytes of a file.
    #[staticmethod]
    fn from_bytes(py: Python<'_>, bytes: &[u8]) -> PyResult<Self> {
        py.guarded(|| Model::from_bytes(bytes)).map(PyModel)
    }

    /// The bytes that `save` writes.
    fn to_bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let bytes: Vec<u8> = py.guarded(|| self.0.to_bytes())?;
        Ok(PyBytes::new(py, &bytes))
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, (Bound<'py, PyBytes>,))> {
        Ok((py.get_type::<Self>().getattr("from_bytes")?, (self.to_bytes(py)?,)))
    }

    fn __repr__(&self) -> String {
        let (kind, target) = (self.0.kind(), self.0.target());
        format!("Model(kind={kind:?}, target={target:?}, features={})", self.0.features().len())
    }

    /// "linear", "logistic" or "network".
    #[getter]
    fn kind(&self) -> &'static str {
        self.0.kind()
    }

    /// The features' names, in the order of X's columns.
    #[getter]
    fn features(&self) -> Vec<String> {
        self.0.features().to_vec()
    }

    /// The target's name.
    #[getter]
    fn target(&self) -> &str {
        self.0.target()
    }

    /// The classes' names, in the order of their numbers, or None if the target is a number.
    #[getter]
    fn classes(&self) -> Option<Vec<String>> {
        self.0.classes().map(<[String]>::to_vec)
    }

    /// How it was trained: JSON, as in the model file.
    #[getter]
    fn training(&self) -> PyResult<String> {
        serde_json::to_string(self.0.training()).map_err(|error| PyValueError::new_err(error.to_string()))
    }

    /// The cost before each step and after the last; with mini-batches, of each epoch the mean of its batches' costs, each
    /// before its step. Empty for a model from a file.
    #[getter]
    fn history<'py>(&self, py: Python<'py>) -> Vector<'py> {
        self.0.history().to_vec().into_pyarray(py)
    }

    /// Weights (features × columns of z) and biases for features in their own units; not of a network.
    fn raw<'py>(&self, py: Python<'py>) -> PyResult<(Matrix<'py>, Vector<'py>)> {
        let (weights, bias) = match &self.0 {
            Model::Linear(model) => {
                let (weights, bias) = model.raw();
                (weights, vec![bias])
            }
            Model::Logistic(model) => model.raw(),
            Model::Network(_) => {
                return Err(PyValueError::new_err(
                    "a network has the weights of each layer, and none of the features alone: they are in its file",
                ));
            }
        };
        let shape = [weights.len() / bias.len(), bias.len()];
        Ok((weights.into_pyarray(py).reshape(shape)?, bias.into_pyarray(py)))
    }

    /// For each row of x (samples × features): the target's value, or the number of the class.
    #[pyo3(signature = (x, device = "auto"))]
    fn predict<'py>(&self, py: Python<'py>, x: Samples<'py>, device: &str) -> PyResult<Bound<'py, PyAny>> {
        Ok(match self.predictions(py, &x, device)? {
            Predictions::Values(values) => values.into_pyarray(py).into_any(),
            Predictions::Classes { labels, .. } => labels.into_pyarray(py).into_any(),
        })
    }

    /// For each row of x (samples × features), the probability of each class: samples × classes.
    #[pyo3(signature = (x, device = "auto"))]
    fn probabilities<'py>(&self, py: Python<'py>, x: Samples<'py>, device: &str) -> PyResult<Matrix<'py>> {
        match self.predictions(py, &x, device)? {
            Predictions::Classes { classes, labels, probabilities } => {
                probabilities.into_pyarray(py).reshape([labels.len(), classes.len()])
            }
            Predictions::Values(_) => Err(PyValueError::new_err(
                "a regression has no classes, and so no probabilities: call predict",
            )),
        }
    }
}
