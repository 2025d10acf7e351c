//! tilegrad for Python: the native module `tilegrad._native`, as small as it can be.
//!
//! It has one function that trains, one that learns the means and deviations of columns, and the class `Model`, which is a trained
//! model of any kind. Settings come as JSON, in the words of [`tilegrad::models::Settings`], and arrays as anything that NumPy
//! makes arrays of `float32` of. All else is Python: `host/python/package/tilegrad`.
//!
//! Python's lock is released while an engine works. No panic crosses into Python: it would be a fault of this crate, and
//! arrives as a RuntimeError that says so.

mod error;
mod estimator;
mod model;

use numpy::{AllowTypeChange, PyArray1, PyArray2, PyArrayLike2, ToPyArray};
use pyo3::prelude::*;
use tilegrad::data::Table;
use tilegrad::engine::{Choice, Engine, Job};
use tilegrad::models::{Scale, Scaler};

use crate::error::Guarded;
use crate::model::PyModel;

/// What NumPy makes an array of `f32` with two axes of; it copies where it is none.
type Samples<'py> = PyArrayLike2<'py, f32, AllowTypeChange>;

/// A table of the values of `x` (samples × features), whose columns have these names.
fn table(x: &Samples<'_>, names: &[String]) -> tilegrad::Result<Table> {
    let x = x.as_array();
    if x.ncols() != names.len() {
        return Err(tilegrad::Error::Data(format!(
            "X has {} features, but there are {} names: {names:?}",
            x.ncols(),
            names.len()
        )));
    }
    let values = match x.as_slice() {
        Some(values) => values.to_vec(),
        None => x.iter().copied().collect(),
    };
    Table::new(names.to_vec(), values)
}

/// Does `job` on the device of this name, "auto" among them.
fn run<J: Job>(device: &str, job: J) -> tilegrad::Result<J::Output> {
    let choice: Choice = device.parse().map_err(tilegrad::Error::Setting)?;
    choice.device()?.0.run(job)
}

/// The mean and the population standard deviation of each column.
struct Moments(Table);

impl Job for Moments {
    type Output = Scaler;

    fn run<E: Engine>(self, engine: &E) -> tilegrad::Result<Scaler> {
        let table = &self.0;
        let x = engine.share(table.rows(), table.columns().len(), table.shared_values())?;
        Ok(Scaler::fit(Scale::ZScore, engine, &x, table)?.0)
    }
}

/// A vector, as NumPy has it.
type Vector<'py> = Bound<'py, PyArray1<f64>>;

/// A matrix, row-major, as NumPy has it.
type Matrix<'py> = Bound<'py, PyArray2<f64>>;

/// The mean of each column of x (samples × features), and its population standard deviation, or 1 where a column has one
/// value only.
#[pyfunction]
fn moments<'py>(
    py: Python<'py>,
    x: Samples<'py>,
    features: Vec<String>,
    device: &str,
) -> PyResult<(Vector<'py>, Vector<'py>)> {
    let table = table(&x, &features).map_err(error::to_python)?;
    let scaler = py.guarded(|| run(device, Moments(table)))?;
    Ok((scaler.mean().to_pyarray(py), scaler.standard_deviation().to_pyarray(py)))
}

/// The device that "auto" stands for here, or `device` itself if it can be used: a name, and what it runs on.
#[pyfunction]
#[pyo3(name = "device")]
fn resolved_device(py: Python<'_>, device: &str) -> PyResult<(String, String)> {
    py.guarded(|| {
        let choice: Choice = device.parse().map_err(tilegrad::Error::Setting)?;
        let (device, _) = choice.device()?;
        Ok((device.to_string(), device.description()?))
    })
}

#[pymodule]
#[pyo3(name = "_native")]
mod native {
    #[pymodule_export]
    use super::estimator::fit;
    #[pymodule_export]
    use super::{PyModel, moments, resolved_device};

    #[pymodule_init]
    fn init(module: &pyo3::Bound<'_, pyo3::types::PyModule>) -> pyo3::PyResult<()> {
        use pyo3::types::PyModuleMethods;
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
