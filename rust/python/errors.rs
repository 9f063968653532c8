//! The one map from the core's refusals to the exceptions that Python's users expect.

use pyo3::PyErr;
use pyo3::exceptions::{PyKeyboardInterrupt, PyRuntimeError, PyValueError};

use crate::Error;

pub(super) fn to_python(error: &Error) -> PyErr {
    let message = error.to_string();
    match error {
        Error::Shape { .. } | Error::NotFinite { .. } | Error::Parameter { .. } => {
            PyValueError::new_err(message)
        }
        Error::Threads { .. } => PyRuntimeError::new_err(message),
        Error::Interrupted => PyKeyboardInterrupt::new_err(message),
    }
}
