//! Errors as Python's exceptions, and panics kept out of Python.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::exceptions::{PyArithmeticError, PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use tilegrad::Error;

/// The exception for an error: ValueError for what can be put right in the call, OSError for files, ArithmeticError for
/// descent that diverges, and RuntimeError for devices.
pub(crate) fn to_python(error: Error) -> PyErr {
    let text = error.to_string();
    match error {
        Error::Setting(_) | Error::Data(_) | Error::Column(_) | Error::Shape { .. } => {
            PyValueError::new_err(text)
        }
        Error::Model { .. } | Error::Checkpoint { .. } => PyValueError::new_err(text),
        // With the system's number, Python takes the class that has it: FileNotFoundError, PermissionError.
        Error::File { source, .. } => match source.raw_os_error() {
            Some(number) => PyOSError::new_err((number, text)),
            None => PyErr::from(std::io::Error::new(source.kind(), text)),
        },
        Error::Output { .. } => PyOSError::new_err(text),
        Error::Diverged { .. } | Error::Unstable { .. } => PyArithmeticError::new_err(text),
        _ => PyRuntimeError::new_err(text),
    }
}

/// Work without Python's lock.
pub(crate) trait Guarded {
    /// Does `work` with Python's lock released; an error, and a panic too, becomes an exception.
    fn guarded<T: Send>(self, work: impl FnOnce() -> tilegrad::Result<T> + Send) -> PyResult<T>;
}

impl Guarded for Python<'_> {
    fn guarded<T: Send>(self, work: impl FnOnce() -> tilegrad::Result<T> + Send) -> PyResult<T> {
        match self.detach(|| catch_unwind(AssertUnwindSafe(work))) {
            Ok(result) => result.map_err(to_python),
            Err(panic) => Err(PyRuntimeError::new_err(format!(
                "a fault of tilegrad's, not of yours: {}; please report it",
                message(&*panic)
            ))),
        }
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (_, Some(text)) => text,
        _ => "a panic without a message",
    }
}
