//! The way of `puma_fast.numeric.order` into [`crate::order`]. Results lie in memory of NumPy's own
//! allocator, which asks for large pages, and are written without the GIL.

use numpy::{IntoPyArray, PyArray1, PyArrayMethods, PyReadonlyArray1};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::arrays::{FloatArray, slice};
use super::door::{run, run_telling};
use super::shard::PyShard;
use crate::float::Float;
use crate::order::{self, Access, First, Labels, Nan, Order, Prune, Selection};
use crate::par::Context;

/// Indices as NumPy has them.
type Indices<'py> = Bound<'py, PyArray1<i64>>;

/// The body, with the elements of the array called `$name`, whichever type they have.
macro_rules! with_floats {
    ($name:literal, $array:expr, |$elements:ident| $body:expr) => {
        match &$array {
            FloatArray::F32(array) => {
                let $elements = slice($name, array)?;
                $body
            }
            FloatArray::F64(array) => {
                let $elements = slice($name, array)?;
                $body
            }
        }
    };
}

impl<'a, 'py> FromPyObject<'a, 'py> for Nan {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        match object.extract::<std::borrow::Cow<'_, str>>().as_deref() {
            Ok("raise") => Ok(Self::Raise),
            Ok("last") => Ok(Self::Last),
            Ok("first") => Ok(Self::First),
            _ => {
                let got = object.repr()?;
                let message = format!("nan must be \"raise\", \"last\" or \"first\", got {got}");
                Err(PyValueError::new_err(message))
            }
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

/// Who calls: the threads, the shard and who hears of the progress.
struct Caller {
    n_threads: Option<usize>,
    shard: Option<PyShard>,
    progress: Option<Py<PyAny>>,
}

impl Caller {
    fn run<R: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&Context<'_>) -> crate::Result<R> + Send,
    ) -> PyResult<R> {
        run_telling(py, self.n_threads, self.shard.as_ref(), self.progress.as_ref(), work)
    }

    /// `len` indices that `write` writes.
    fn indices<'py>(
        &self,
        py: Python<'py>,
        len: usize,
        write: impl FnOnce(&Context<'_>, &mut [i64]) -> crate::Result<()> + Send,
    ) -> PyResult<Indices<'py>> {
        let array = PyArray1::zeros(py, [len], false);
        let mut view = array.try_readwrite()?;
        let out = view.as_slice_mut()?;
        self.run(py, |context| write(context, out))?;
        drop(view);
        Ok(array)
    }

    /// The positions of what `choose` selects.
    fn selected<'py, 'a>(
        &self,
        py: Python<'py>,
        choose: impl FnOnce(&Context<'_>) -> crate::Result<Selection<'a>> + Send,
    ) -> PyResult<Indices<'py>> {
        let selection = self.run(py, choose)?;
        self.indices(py, selection.len(), |context, out| selection.write(context, out))
    }
}

/// The best k of the scores; see `puma_fast.top_k`.
#[pyfunction]
#[allow(clippy::needless_pass_by_value, clippy::too_many_arguments)]
#[pyo3(signature = (scores, k, largest, nan, ranked, mapped, shard, progress, n_threads))]
pub(super) fn top_k<'py>(
    py: Python<'py>,
    scores: FloatArray<'py>,
    k: usize,
    largest: bool,
    nan: Nan,
    ranked: bool,
    mapped: bool,
    shard: Option<PyShard>,
    progress: Option<Py<PyAny>>,
    n_threads: Option<usize>,
) -> PyResult<Indices<'py>> {
    let (order, access) = (Order { largest, nan }, access(mapped));
    let caller = Caller { n_threads, shard, progress };
    with_floats!("scores", scores, |scores| {
        if !ranked {
            return caller.selected(py, |c| order::top_k_set(c, scores, k, order, access));
        }
        // More than there are is refused before memory for them is looked for.
        caller.run(py, |context| order::enough(context, scores.len(), "k", k))?;
        caller.indices(py, k, |c, out| order::top_k(c, scores, order, access, out))
    })
}

/// The first by one score without those by another; see `puma_fast.suspects`.
#[pyfunction]
#[allow(clippy::needless_pass_by_value, clippy::too_many_arguments)]
#[pyo3(signature = (influence, k, confidence, k_confident, nan, mapped, shard, progress, n_threads))]
pub(super) fn suspects<'py>(
    py: Python<'py>,
    influence: FloatArray<'py>,
    k: usize,
    confidence: FloatArray<'py>,
    k_confident: usize,
    nan: Nan,
    mapped: (bool, bool),
    shard: Option<PyShard>,
    progress: Option<Py<PyAny>>,
    n_threads: Option<usize>,
) -> PyResult<Indices<'py>> {
    let order = |largest| Order { largest, nan };
    let (mapped, mapped_other) = (access(mapped.0), access(mapped.1));
    let caller = Caller { n_threads, shard, progress };
    with_floats!("influence", influence, |scores| {
        let first = First { names: ["influence", "k"], scores, k, order: order(false), access: mapped };
        with_floats!("confidence", confidence, |scores| {
            let (names, order, access) = (["confidence", "k_confident"], order(true), mapped_other);
            let others = First { names, scores, k: k_confident, order, access };
            caller.selected(py, |context| order::filter(context, &first, &others, false))
        })
    })
}

/// The scores within bounds; see `puma_fast.select_scores`.
#[pyfunction]
#[allow(clippy::needless_pass_by_value, clippy::too_many_arguments)]
#[pyo3(signature = (scores, at_least, at_most, nan, shard, progress, n_threads))]
pub(super) fn select<'py>(
    py: Python<'py>,
    scores: FloatArray<'py>,
    at_least: f64,
    at_most: f64,
    nan: Nan,
    shard: Option<PyShard>,
    progress: Option<Py<PyAny>>,
    n_threads: Option<usize>,
) -> PyResult<Indices<'py>> {
    let caller = Caller { n_threads, shard, progress };
    with_floats!("scores", scores, |scores| {
        let (low, high) = (Float::from_f64(at_least), Float::from_f64(at_most));
        caller.selected(py, |context| order::select(context, scores, low, high, nan))
    })
}

/// The order of the scores; see `puma_fast.argsort`.
#[pyfunction]
#[allow(clippy::needless_pass_by_value)]
#[pyo3(signature = (scores, largest, nan, progress, n_threads))]
pub(super) fn argsort<'py>(
    py: Python<'py>,
    scores: FloatArray<'py>,
    largest: bool,
    nan: Nan,
    progress: Option<Py<PyAny>>,
    n_threads: Option<usize>,
) -> PyResult<Indices<'py>> {
    let order = Order { largest, nan };
    let caller = Caller { n_threads, shard: None, progress };
    with_floats!("scores", scores, |scores| {
        caller.indices(py, scores.len(), |c, out| order::argsort(c, scores, order, out))
    })
}

/// The samples kept; see `puma_fast.prune_by_margin`.
#[pyfunction]
#[allow(clippy::needless_pass_by_value, clippy::too_many_arguments)]
#[pyo3(signature = (margins, ratio, largest, nan, labels, min_per_class, protect, mapped, shard, progress, n_threads))]
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
    progress: Option<Py<PyAny>>,
    n_threads: Option<usize>,
) -> PyResult<Indices<'py>> {
    let labels = labels.as_ref().map(LabelArray::labels).transpose()?;
    let protect = slice("protect", &protect)?;
    let order = Order { largest, nan };
    let plan = Prune { ratio, order, labels, min_per_class, protect, access: access(mapped) };
    let caller = Caller { n_threads, shard, progress };
    with_floats!("margins", margins, |margins| {
        caller.selected(py, |context| order::prune(context, margins, &plan))
    })
}

/// The sums of the scores by group; see `puma_fast.group_sums`.
#[pyfunction]
#[allow(clippy::needless_pass_by_value)]
#[pyo3(signature = (scores, groups, n_groups, shard, progress, n_threads))]
pub(super) fn group_sums<'py>(
    py: Python<'py>,
    scores: FloatArray<'py>,
    groups: PyReadonlyArray1<'py, i64>,
    n_groups: usize,
    shard: Option<PyShard>,
    progress: Option<Py<PyAny>>,
    n_threads: Option<usize>,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let mut sums = vec![0.0; n_groups];
    let caller = Caller { n_threads, shard, progress };
    let groups = slice("groups", &groups)?;
    with_floats!("scores", scores, |scores| {
        caller.run(py, |c| order::group_sums(c, scores, groups, &mut sums))?;
    });
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
