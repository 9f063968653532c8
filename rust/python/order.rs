//! The way of `puma_fast.numeric.order` into [`crate::order`].

use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::arrays::{FloatArray, slice};
use super::door::run;
use crate::order::{self, Nan, Order, Prune};

/// Indices as NumPy has them.
type Indices<'py> = Bound<'py, PyArray1<i64>>;

impl<'a, 'py> FromPyObject<'a, 'py> for Nan {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        match &*object.extract::<std::borrow::Cow<'_, str>>()? {
            "raise" => Ok(Self::Raise),
            "last" => Ok(Self::Last),
            "first" => Ok(Self::First),
            other => Err(PyValueError::new_err(format!(
                "nan: must be \"raise\", \"last\" or \"first\"; got {other:?}"
            ))),
        }
    }
}

/// The best k of the scores; see `puma_fast.top_k`.
#[pyfunction]
#[allow(clippy::needless_pass_by_value)]
#[pyo3(signature = (scores, k, largest, nan, n_threads))]
pub(super) fn top_k<'py>(
    py: Python<'py>,
    scores: FloatArray<'py>,
    k: usize,
    largest: bool,
    nan: Nan,
    n_threads: Option<usize>,
) -> PyResult<Indices<'py>> {
    let order = Order { largest, nan };
    let indices = match &scores {
        FloatArray::F32(scores) => {
            let scores = slice("scores", scores)?;
            run(py, n_threads, None, |context| order::top_k(context, scores, k, order))?
        }
        FloatArray::F64(scores) => {
            let scores = slice("scores", scores)?;
            run(py, n_threads, None, |context| order::top_k(context, scores, k, order))?
        }
    };
    Ok(indices.into_pyarray(py))
}

/// The order of the scores; see `puma_fast.argsort`.
#[pyfunction]
#[allow(clippy::needless_pass_by_value)]
#[pyo3(signature = (scores, largest, nan, n_threads))]
pub(super) fn argsort<'py>(
    py: Python<'py>,
    scores: FloatArray<'py>,
    largest: bool,
    nan: Nan,
    n_threads: Option<usize>,
) -> PyResult<Indices<'py>> {
    let order = Order { largest, nan };
    let indices = match &scores {
        FloatArray::F32(scores) => {
            let scores = slice("scores", scores)?;
            run(py, n_threads, None, |context| order::argsort(context, scores, order))?
        }
        FloatArray::F64(scores) => {
            let scores = slice("scores", scores)?;
            run(py, n_threads, None, |context| order::argsort(context, scores, order))?
        }
    };
    Ok(indices.into_pyarray(py))
}

/// The samples kept; see `puma_fast.prune_by_margin`.
#[pyfunction]
#[allow(clippy::needless_pass_by_value, clippy::too_many_arguments)]
#[pyo3(signature = (margins, ratio, largest, nan, labels, min_per_class, protect, n_threads))]
pub(super) fn prune<'py>(
    py: Python<'py>,
    margins: FloatArray<'py>,
    ratio: f64,
    largest: bool,
    nan: Nan,
    labels: Option<PyReadonlyArray1<'py, i64>>,
    min_per_class: usize,
    protect: PyReadonlyArray1<'py, i64>,
    n_threads: Option<usize>,
) -> PyResult<Indices<'py>> {
    let labels = labels.as_ref().map(|labels| slice("labels", labels)).transpose()?;
    let protect = slice("protect", &protect)?;
    let plan = Prune { ratio, order: Order { largest, nan }, labels, min_per_class, protect };
    let kept = match &margins {
        FloatArray::F32(margins) => {
            let margins = slice("margins", margins)?;
            run(py, n_threads, None, |context| order::prune(context, margins, &plan))?
        }
        FloatArray::F64(margins) => {
            let margins = slice("margins", margins)?;
            run(py, n_threads, None, |context| order::prune(context, margins, &plan))?
        }
    };
    Ok(kept.into_pyarray(py))
}
