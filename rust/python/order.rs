//! The way of `puma_fast.numeric.order` into [`crate::order`]. Results lie in memory of NumPy's own
//! allocator, which asks for large pages, and are written without the GIL.

use numpy::{Element, IntoPyArray, PyArray1, PyArrayMethods, PyReadonlyArray1, PyReadonlyArrayDyn};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::arrays::{FloatArray, slice};
use super::door::run;
use super::shard::PyShard;
use crate::order::rank::Score;
use crate::order::{self, Access, Labels, Nan, Order, Prune, Selection};
use crate::par::Context;

/// Indices as NumPy has them.
type Indices<'py> = Bound<'py, PyArray1<i64>>;

/// A float array of one type, borrowed.
type Floats<'py, T> = PyReadonlyArrayDyn<'py, T>;

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

/// Labels of any width that the core reads, borrowed.
#[derive(FromPyObject)]
pub(super) enum LabelArray<'py> {
    U8(PyReadonlyArray1<'py, u8>),
    I32(PyReadonlyArray1<'py, i32>),
    I64(PyReadonlyArray1<'py, i64>),
}

impl LabelArray<'_> {
    fn labels(&self) -> PyResult<Labels<'_>> {
        Ok(match self {
            Self::U8(labels) => Labels::U8(slice("labels", labels)?),
            Self::I32(labels) => Labels::I32(slice("labels", labels)?),
            Self::I64(labels) => Labels::I64(slice("labels", labels)?),
        })
    }
}

/// How a mapped file or an array in memory is read.
const fn access(mapped: bool) -> Access {
    if mapped { Access::Sequential } else { Access::Random }
}

/// `len` indices that `write` writes.
fn indices<'py>(
    py: Python<'py>,
    len: usize,
    n_threads: Option<usize>,
    shard: Option<&PyShard>,
    write: impl FnOnce(&Context<'_>, &mut [i64]) -> crate::Result<()> + Send,
) -> PyResult<Indices<'py>> {
    let array = PyArray1::zeros(py, [len], false);
    let mut view = array.try_readwrite()?;
    let out = view.as_slice_mut()?;
    run(py, n_threads, shard, |context| write(context, out))?;
    drop(view);
    Ok(array)
}

/// The positions of what `choose` selects.
fn selected<'py, 'a>(
    py: Python<'py>,
    n_threads: Option<usize>,
    shard: Option<&PyShard>,
    choose: impl FnOnce(&Context<'_>) -> crate::Result<Selection<'a>> + Send,
) -> PyResult<Indices<'py>> {
    let selection = run(py, n_threads, shard, choose)?;
    indices(py, selection.len(), n_threads, None, |context, out| selection.write(context, out))
}

/// The best k of the scores; see `puma_fast.top_k`.
#[pyfunction]
#[allow(clippy::needless_pass_by_value, clippy::too_many_arguments)]
#[pyo3(signature = (scores, k, largest, nan, ranked, mapped, shard, n_threads))]
pub(super) fn top_k<'py>(
    py: Python<'py>,
    scores: FloatArray<'py>,
    k: usize,
    largest: bool,
    nan: Nan,
    ranked: bool,
    mapped: bool,
    shard: Option<PyShard>,
    n_threads: Option<usize>,
) -> PyResult<Indices<'py>> {
    fn best<'py, T: Score + Element>(
        py: Python<'py>,
        scores: &Floats<'py, T>,
        (k, order, ranked, access): (usize, Order, bool, Access),
        shard: Option<&PyShard>,
        n_threads: Option<usize>,
    ) -> PyResult<Indices<'py>> {
        let scores = slice("scores", scores)?;
        if !ranked {
            return selected(py, n_threads, shard, |c| order::top_k_set(c, scores, k, order, access));
        }
        // More than there are is refused by the core; there is no need to find memory for them first.
        let rows = run(py, n_threads, shard, |context| context.shards().rows(scores.len()))?;
        let room = k.min(rows.total + 1);
        indices(py, room, n_threads, shard, |c, out| order::top_k(c, scores, order, access, out))
    }
    let how = (k, Order { largest, nan }, ranked, access(mapped));
    match &scores {
        FloatArray::F32(scores) => best(py, scores, how, shard.as_ref(), n_threads),
        FloatArray::F64(scores) => best(py, scores, how, shard.as_ref(), n_threads),
    }
}

/// The scores within bounds; see `puma_fast.select_scores`.
#[pyfunction]
#[allow(clippy::needless_pass_by_value)]
#[pyo3(signature = (scores, at_least, at_most, nan, shard, n_threads))]
pub(super) fn select<'py>(
    py: Python<'py>,
    scores: FloatArray<'py>,
    at_least: f64,
    at_most: f64,
    nan: Nan,
    shard: Option<PyShard>,
    n_threads: Option<usize>,
) -> PyResult<Indices<'py>> {
    fn within<'py, T: Score + Element>(
        py: Python<'py>,
        scores: &Floats<'py, T>,
        [low, high]: [f64; 2],
        nan: Nan,
        shard: Option<&PyShard>,
        n_threads: Option<usize>,
    ) -> PyResult<Indices<'py>> {
        let scores = slice("scores", scores)?;
        let (low, high) = (T::from_f64(low), T::from_f64(high));
        selected(py, n_threads, shard, |context| order::select(context, scores, low, high, nan))
    }
    match &scores {
        FloatArray::F32(scores) => within(py, scores, [at_least, at_most], nan, shard.as_ref(), n_threads),
        FloatArray::F64(scores) => within(py, scores, [at_least, at_most], nan, shard.as_ref(), n_threads),
    }
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
    fn sorted<'py, T: Score + Element>(
        py: Python<'py>,
        scores: &Floats<'py, T>,
        order: Order,
        n_threads: Option<usize>,
    ) -> PyResult<Indices<'py>> {
        let scores = slice("scores", scores)?;
        indices(py, scores.len(), n_threads, None, |c, out| order::argsort(c, scores, order, out))
    }
    match &scores {
        FloatArray::F32(scores) => sorted(py, scores, Order { largest, nan }, n_threads),
        FloatArray::F64(scores) => sorted(py, scores, Order { largest, nan }, n_threads),
    }
}

/// The samples kept; see `puma_fast.prune_by_margin`.
#[pyfunction]
#[allow(clippy::needless_pass_by_value, clippy::too_many_arguments)]
#[pyo3(signature = (margins, ratio, largest, nan, labels, min_per_class, protect, mapped, shard, n_threads))]
pub(super) fn prune<'py>(
    py: Python<'py>,
    margins: FloatArray<'py>,
    ratio: f64,
    largest: bool,
    nan: Nan,
    labels: Option<LabelArray<'py>>,
    min_per_class: usize,
    protect: PyReadonlyArray1<'py, i64>,
    mapped: bool,
    shard: Option<PyShard>,
    n_threads: Option<usize>,
) -> PyResult<Indices<'py>> {
    fn kept<'py, T: Score + Element>(
        py: Python<'py>,
        margins: &Floats<'py, T>,
        plan: &Prune<'_>,
        shard: Option<&PyShard>,
        n_threads: Option<usize>,
    ) -> PyResult<Indices<'py>> {
        let margins = slice("margins", margins)?;
        selected(py, n_threads, shard, |context| order::prune(context, margins, plan))
    }
    let labels = labels.as_ref().map(LabelArray::labels).transpose()?;
    let protect = slice("protect", &protect)?;
    let order = Order { largest, nan };
    let plan = Prune { ratio, order, labels, min_per_class, protect, access: access(mapped) };
    match &margins {
        FloatArray::F32(margins) => kept(py, margins, &plan, shard.as_ref(), n_threads),
        FloatArray::F64(margins) => kept(py, margins, &plan, shard.as_ref(), n_threads),
    }
}

/// The sums of the scores by group; see `puma_fast.group_sums`.
#[pyfunction]
#[allow(clippy::needless_pass_by_value)]
#[pyo3(signature = (scores, groups, n_groups, shard, n_threads))]
pub(super) fn group_sums<'py>(
    py: Python<'py>,
    scores: FloatArray<'py>,
    groups: PyReadonlyArray1<'py, i64>,
    n_groups: usize,
    shard: Option<PyShard>,
    n_threads: Option<usize>,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let mut sums = vec![0.0; n_groups];
    let groups = slice("groups", &groups)?;
    match &scores {
        FloatArray::F32(scores) => {
            let scores = slice("scores", scores)?;
            run(py, n_threads, shard.as_ref(), |c| order::group_sums(c, scores, groups, &mut sums))?;
        }
        FloatArray::F64(scores) => {
            let scores = slice("scores", scores)?;
            run(py, n_threads, shard.as_ref(), |c| order::group_sums(c, scores, groups, &mut sums))?;
        }
    }
    Ok(sums.into_pyarray(py))
}

/// What one selection has in common with another (`shared`), or not; see `puma_fast.intersection`.
#[pyfunction]
#[allow(clippy::needless_pass_by_value)]
#[pyo3(signature = (a, b, shared))]
pub(super) fn compare<'py>(
    py: Python<'py>,
    a: PyReadonlyArray1<'py, i64>,
    b: PyReadonlyArray1<'py, i64>,
    shared: bool,
) -> PyResult<Indices<'py>> {
    let (a, b) = (slice("a", &a)?, slice("b", &b)?);
    let both = if shared { order::intersection } else { order::difference };
    Ok(run(py, Some(1), None, |context| both(context, a, b))?.into_pyarray(py))
}

/// Shares in proportion to sizes; see `puma_fast.numeric.order.apportion`.
#[pyfunction]
#[allow(clippy::needless_pass_by_value)]
#[pyo3(signature = (sizes, total))]
pub(super) fn apportion(py: Python<'_>, sizes: Vec<usize>, total: usize) -> PyResult<Indices<'_>> {
    let shares = run(py, Some(1), None, |_| order::apportion(&sizes, total))?;
    let shares: Vec<i64> = shares.into_iter().map(|share| share as i64).collect();
    Ok(shares.into_pyarray(py))
}
