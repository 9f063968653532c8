//! The way of `puma_fast.numeric.reweight` into [`crate::reweight`].

use numpy::{Element, IntoPyArray, PyReadonlyArray1, PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::arrays::{FloatArray, slice};
use super::door::run;
use crate::float::Float;
use crate::reweight::{Bound as Side, Options, column_sums, solve};
use crate::vecmath::Dd;

/// The weights, and everything else about them by name.
type Solved<'py> = (Bound<'py, PyAny>, Bound<'py, PyDict>);

/// The effect wanted: the sum of the marked rows, or given outright.
enum Wanted<'a> {
    Rows32(&'a [f32]),
    Rows64(&'a [f64]),
    Given(&'a [f64]),
}

/// Everything of a call but Ψ and its box.
struct Rest<'a> {
    wanted: Wanted<'a>,
    l1: Option<f64>,
    l2: Option<f64>,
    max_residual: Option<f64>,
    tol: f64,
    max_iter: usize,
    n_threads: Option<usize>,
}

/// Solves the reweighting problem; see `puma_fast.solve_weights`.
#[pyfunction]
#[allow(clippy::too_many_arguments, clippy::needless_pass_by_value)]
#[pyo3(signature = (psi_up, psi_mk, target, lower, upper, l1, l2, max_residual, tol, max_iter, n_threads))]
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
    n_threads: Option<usize>,
) -> PyResult<Solved<'py>> {
    let wanted = match (&psi_mk, &target) {
        (Some(FloatArray::F32(rows)), None) => Wanted::Rows32(slice("psi_mk", rows)?),
        (Some(FloatArray::F64(rows)), None) => Wanted::Rows64(slice("psi_mk", rows)?),
        (None, Some(values)) => Wanted::Given(slice("target", values)?),
        _ => return Err(PyTypeError::new_err("exactly one of psi_mk and target is needed")),
    };
    let rest = Rest { wanted, l1, l2, max_residual, tol, max_iter, n_threads };
    match (&psi_up, &lower, &upper) {
        (FloatArray::F32(psi), FloatArray::F32(lower), FloatArray::F32(upper)) => {
            solve_typed(py, psi, lower, upper, &rest)
        }
        (FloatArray::F64(psi), FloatArray::F64(lower), FloatArray::F64(upper)) => {
            solve_typed(py, psi, lower, upper, &rest)
        }
        _ => Err(PyTypeError::new_err("lower and upper must have the dtype of psi_up")),
    }
}

fn solve_typed<'py, T: Float + Element>(
    py: Python<'py>,
    psi: &PyReadonlyArrayDyn<'py, T>,
    lower: &PyReadonlyArrayDyn<'py, T>,
    upper: &PyReadonlyArrayDyn<'py, T>,
    rest: &Rest<'_>,
) -> PyResult<Solved<'py>> {
    let columns = if psi.ndim() == 1 { 1 } else { psi.shape()[1] };
    let rows = slice("psi_up", psi)?;
    let (lower, upper) = (side("lower", lower)?, side("upper", upper)?);
    let solution = run(py, rest.n_threads, None, |context| {
        let b = match rest.wanted {
            Wanted::Rows32(rows) => column_sums(context, "psi_mk", rows, columns)?,
            Wanted::Rows64(rows) => column_sums(context, "psi_mk", rows, columns)?,
            Wanted::Given(values) => values.iter().copied().map(Dd::new).collect(),
        };
        let Rest { l1, l2, max_residual, tol, max_iter, .. } = *rest;
        let options = Options { l1, l2, lower, upper, max_residual, tol, max_iter };
        solve(context, rows, &b, &options)
    })?;
    let facts = PyDict::new(py);
    facts.set_item("status", solution.status.as_str())?;
    facts.set_item("objective", solution.objective)?;
    facts.set_item("gap", solution.gap)?;
    facts.set_item("residual", solution.residual.into_pyarray(py))?;
    facts.set_item("l1", solution.l1)?;
    facts.set_item("l2", solution.l2)?;
    facts.set_item("l1_max", solution.l1_max)?;
    facts.set_item("l1_norm", solution.l1_norm)?;
    facts.set_item("nnz", solution.nonzero)?;
    facts.set_item("iterations", solution.iterations)?;
    facts.set_item("unique", solution.unique)?;
    facts.set_item("reach", solution.reach)?;
    Ok((solution.weights.into_pyarray(py).into_any(), facts))
}

/// One side of the box: an array without dimensions holds for all weights.
fn side<'a, T: Float + Element>(name: &str, array: &'a PyReadonlyArrayDyn<'_, T>) -> PyResult<Side<'a, T>> {
    let values = slice(name, array)?;
    Ok(if array.ndim() == 0 { Side::All(values[0]) } else { Side::Each(values) })
}
