//! The way of `puma_fast.numeric.kmeans` into [`crate::kmeans`].

use numpy::{
    Element, IntoPyArray, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray2, PyReadonlyArrayDyn,
    PyUntypedArrayMethods,
};
use pyo3::prelude::*;

use super::arrays::{FloatArray, slice};
use super::door::run_telling;
use super::shard::PyShard;
use crate::float::Float;
use crate::kmeans::{self, Options, Start};

/// Labels, centers, inertia, iterations, status.
type Clusters<'py> = (Bound<'py, PyArray1<i32>>, Bound<'py, PyArray2<f64>>, f64, usize, &'static str);

/// Clusters the rows of X; see `puma_fast.kmeans`.
#[pyfunction]
#[allow(clippy::needless_pass_by_value, clippy::too_many_arguments)]
#[pyo3(name = "kmeans", signature = (x, n_clusters, init, n_init, max_iter, tol, seed, n_threads, shard, progress, bounds))]
pub(super) fn kmeans_py<'py>(
    py: Python<'py>,
    x: FloatArray<'py>,
    n_clusters: usize,
    init: Option<PyReadonlyArray2<'py, f64>>,
    n_init: usize,
    max_iter: usize,
    tol: f64,
    seed: u64,
    n_threads: Option<usize>,
    shard: Option<PyShard>,
    progress: Option<Py<PyAny>>,
    bounds: bool,
) -> PyResult<Clusters<'py>> {
    let start = match &init {
        Some(centers) => Start::Given(slice("init", centers)?),
        None => Start::Seeded { seed, n_init },
    };
    let options = Options { n_clusters, start, max_iter, tol, bounds };
    match &x {
        FloatArray::F32(x) => clusters(py, x, &options, n_threads, shard.as_ref(), progress.as_ref()),
        FloatArray::F64(x) => clusters(py, x, &options, n_threads, shard.as_ref(), progress.as_ref()),
    }
}

fn clusters<'py, T: Float + Element>(
    py: Python<'py>,
    x: &PyReadonlyArrayDyn<'py, T>,
    options: &Options<'_>,
    n_threads: Option<usize>,
    shard: Option<&PyShard>,
    progress: Option<&Py<PyAny>>,
) -> PyResult<Clusters<'py>> {
    let columns = x.shape().last().copied().unwrap_or(0);
    let rows = slice("X", x)?;
    let result = run_telling(py, n_threads, shard, progress, |context| {
        kmeans::kmeans(context, rows, columns, options)
    })?;
    let centers = result.centers.into_pyarray(py).reshape([options.n_clusters, columns])?;
    Ok((result.labels.into_pyarray(py), centers, result.inertia, result.n_iter, result.status.as_str()))
}
