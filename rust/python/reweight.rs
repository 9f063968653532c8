//! The way of `puma_fast.numeric.reweight` into [`crate::reweight`].

use numpy::{
    Element, IntoPyArray, PyArray1, PyArrayMethods, PyReadonlyArray1, PyReadonlyArrayDyn,
    PyUntypedArrayMethods,
};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::arrays::{FloatArray, slice};
use super::door::{run, run_telling};
use super::shard::PyShard;
use crate::float::Float;
use crate::par::Context;
use crate::reweight::{self, Bound as Side, Facts, Options, column_sums, solve_into, solve_sparse};
use crate::vecmath::Dd;

/// The weights, and everything else about them by name.
type Solved<'py> = (Bound<'py, PyAny>, Bound<'py, PyDict>);

/// The effect wanted: the sum of the marked rows, or given outright.
enum Wanted<'a> {
    Rows32(&'a [f32]),
    Rows64(&'a [f64]),
    Given(&'a [f64]),
}

impl<'a> Wanted<'a> {
    fn of(
        psi_mk: Option<&'a FloatArray<'_>>,
        target: Option<&'a PyReadonlyArray1<'_, f64>>,
    ) -> PyResult<Self> {
        Ok(match (psi_mk, target) {
            (Some(FloatArray::F32(rows)), None) => Self::Rows32(slice("psi_mk", rows)?),
            (Some(FloatArray::F64(rows)), None) => Self::Rows64(slice("psi_mk", rows)?),
            (None, Some(values)) => Self::Given(slice("target", values)?),
            _ => return Err(PyTypeError::new_err("exactly one of psi_mk and target is needed")),
        })
    }

    fn effect(&self, context: &Context<'_>, columns: usize) -> crate::Result<Vec<Dd>> {
        match *self {
            Self::Rows32(rows) => column_sums(context, "psi_mk", rows, columns),
            Self::Rows64(rows) => column_sums(context, "psi_mk", rows, columns),
            Self::Given(values) => Ok(values.iter().copied().map(Dd::new).collect()),
        }
    }
}

/// Everything of a call but Ψ, its box and the weights.
struct Rest<'a> {
    wanted: Wanted<'a>,
    l1: Option<f64>,
    l2: Option<f64>,
    max_residual: Option<f64>,
    tol: f64,
    max_iter: usize,
    start: Option<&'a [f64]>,
    ladder: Option<&'a reweight::Ladder>,
    sparse: bool,
    shard: Option<&'a PyShard>,
    progress: Option<&'a Py<PyAny>>,
    n_threads: Option<usize>,
}

/// Solves the reweighting problem; see `puma_fast.solve_weights`.
#[pyfunction]
#[allow(clippy::too_many_arguments, clippy::needless_pass_by_value)]
#[pyo3(signature = (
    psi_up, psi_mk, target, lower, upper, l1, l2, max_residual, tol, max_iter, start, ladder, sparse, out,
    shard, progress, n_threads
))]
pub(super) fn solve_weights<'py>(
    py: Python<'py>,
    psi_up: FloatArray<'py>,
    psi_mk: Option<FloatArray<'py>>,
    target: Option<PyReadonlyArray1<'py, f64>>,
    lower: FloatArray<'py>,
    upper: FloatArray<'py>,
    l1: Option<f64>,
    l2: Option<f64>,
    max_residual: Option<f64>,
    tol: f64,
    max_iter: usize,
    start: Option<PyReadonlyArray1<'py, f64>>,
    ladder: Option<Py<Ladder>>,
    sparse: bool,
    out: Option<Bound<'py, PyAny>>,
    shard: Option<PyShard>,
    progress: Option<Py<PyAny>>,
    n_threads: Option<usize>,
) -> PyResult<Solved<'py>> {
    let wanted = Wanted::of(psi_mk.as_ref(), target.as_ref())?;
    let start = start.as_ref().map(|start| slice("start", start)).transpose()?;
    let (shard, progress) = (shard.as_ref(), progress.as_ref());
    let ladder = ladder.as_ref().map(|ladder| &ladder.get().0);
    let rest = Rest {
        wanted,
        l1,
        l2,
        max_residual,
        tol,
        max_iter,
        start,
        ladder,
        sparse,
        shard,
        progress,
        n_threads,
    };
    match (&psi_up, &lower, &upper) {
        (FloatArray::F32(psi), FloatArray::F32(lower), FloatArray::F32(upper)) => {
            solve_typed(py, psi, lower, upper, out, &rest)
        }
        (FloatArray::F64(psi), FloatArray::F64(lower), FloatArray::F64(upper)) => {
            solve_typed(py, psi, lower, upper, out, &rest)
        }
        _ => Err(PyTypeError::new_err("lower and upper must have the dtype of psi_up")),
    }
}

fn solve_typed<'py, T: Float + Element>(
    py: Python<'py>,
    psi: &PyReadonlyArrayDyn<'py, T>,
    lower: &PyReadonlyArrayDyn<'py, T>,
    upper: &PyReadonlyArrayDyn<'py, T>,
    out: Option<Bound<'py, PyAny>>,
    rest: &Rest<'_>,
) -> PyResult<Solved<'py>> {
    let columns = columns(psi);
    let rows = slice("psi_up", psi)?;
    let (lower, upper) = (side("lower", lower)?, side("upper", upper)?);
    let Rest { l1, l2, max_residual, tol, max_iter, start, ladder, .. } = *rest;
    let options = Options { l1, l2, lower, upper, max_residual, tol, max_iter, start, ladder };
    if rest.sparse {
        let solution = run_telling(py, rest.n_threads, rest.shard, rest.progress, |context| {
            solve_sparse(context, rows, &rest.wanted.effect(context, columns)?, &options)
        })?;
        let facts = facts(py, &solution.facts)?;
        let weights = (solution.weights.indices.into_pyarray(py), solution.weights.values.into_pyarray(py));
        return Ok((weights.into_pyobject(py)?.into_any(), facts));
    }
    // NumPy's allocator asks for huge pages, which fresh memory is mapped by several times faster.
    let out: Bound<'py, PyArray1<T>> = match out {
        Some(out) => out.cast_into()?,
        None => PyArray1::zeros(py, psi.shape()[0], false),
    };
    let mut writing = out
        .try_readwrite()
        .map_err(|error| PyValueError::new_err(format!("out cannot be written to: {error}")))?;
    let weights = writing.as_slice_mut()?;
    let known = run_telling(py, rest.n_threads, rest.shard, rest.progress, |context| {
        solve_into(context, rows, &rest.wanted.effect(context, columns)?, &options, weights)
    })?;
    drop(writing);
    Ok((out.into_any(), facts(py, &known)?))
}

/// What solves of one ψ that differ in l1 alone share.
#[pyclass(frozen, module = "puma_fast._core")]
pub(super) struct Ladder(reweight::Ladder);

#[pymethods]
impl Ladder {
    /// The l2 of the problem, given or of ψ.
    #[getter]
    fn l2(&self) -> f64 {
        self.0.l2()
    }
}

/// The ladder for solves without a box and `max_residual` at each of `l1s`, where it is worth its while.
#[pyfunction]
#[allow(clippy::too_many_arguments, clippy::needless_pass_by_value)]
#[pyo3(signature = (psi_up, psi_mk, target, l1s, l2, shard, n_threads))]
pub(super) fn ladder<'py>(
    py: Python<'py>,
    psi_up: FloatArray<'py>,
    psi_mk: Option<FloatArray<'py>>,
    target: Option<PyReadonlyArray1<'py, f64>>,
    l1s: PyReadonlyArray1<'py, f64>,
    l2: Option<f64>,
    shard: Option<PyShard>,
    n_threads: Option<usize>,
) -> PyResult<Option<Ladder>> {
    let wanted = Wanted::of(psi_mk.as_ref(), target.as_ref())?;
    let l1s = slice("l1s", &l1s)?;
    match &psi_up {
        FloatArray::F32(psi) => ladder_typed(py, psi, &wanted, l1s, l2, shard.as_ref(), n_threads),
        FloatArray::F64(psi) => ladder_typed(py, psi, &wanted, l1s, l2, shard.as_ref(), n_threads),
    }
}

fn ladder_typed<T: Float + Element>(
    py: Python<'_>,
    psi: &PyReadonlyArrayDyn<'_, T>,
    wanted: &Wanted<'_>,
    l1s: &[f64],
    l2: Option<f64>,
    shard: Option<&PyShard>,
    n_threads: Option<usize>,
) -> PyResult<Option<Ladder>> {
    let columns = columns(psi);
    let rows = slice("psi_up", psi)?;
    let ladder = run(py, n_threads, shard, |context| {
        let options = Options { l2, ..Options::default() };
        reweight::Ladder::new(context, rows, &wanted.effect(context, columns)?, l1s, &options)
    })?;
    Ok(ladder.map(Ladder))
}

/// The criteria.
fn columns<T: Element>(psi: &PyReadonlyArrayDyn<'_, T>) -> usize {
    if psi.ndim() == 1 { 1 } else { psi.shape()[1] }
}

/// What is known of the weights, by name.
fn facts<'py>(py: Python<'py>, known: &Facts) -> PyResult<Bound<'py, PyDict>> {
    let facts = PyDict::new(py);
    facts.set_item("status", known.status.as_str())?;
    facts.set_item("objective", known.objective)?;
    facts.set_item("gap", known.gap)?;
    facts.set_item("residual", PyArray1::from_slice(py, &known.residual))?;
    facts.set_item("price", PyArray1::from_slice(py, &known.price))?;
    facts.set_item("l1", known.l1)?;
    facts.set_item("l2", known.l2)?;
    facts.set_item("l1_max", known.l1_max)?;
    facts.set_item("l1_norm", known.l1_norm)?;
    facts.set_item("nnz", known.nonzero)?;
    facts.set_item("iterations", known.iterations)?;
    facts.set_item("unique", known.unique)?;
    facts.set_item("reach", known.reach)?;
    Ok(facts)
}

/// One side of the box: an array without dimensions holds for all weights.
fn side<'a, T: Float + Element>(name: &str, array: &'a PyReadonlyArrayDyn<'_, T>) -> PyResult<Side<'a, T>> {
    let values = slice(name, array)?;
    Ok(if array.ndim() == 0 { Side::All(values[0]) } else { Side::Each(values) })
}
