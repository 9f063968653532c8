//! The other shards of a data set, reached through a Python callable.

use numpy::{PyArray1, PyReadonlyArray1};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// `puma_fast.Shard`, read by its attributes.
#[derive(FromPyObject)]
pub(super) struct PyShard {
    pub(super) index: usize,
    pub(super) count: usize,
    reduce: Py<PyAny>,
}

impl PyShard {
    /// Asks Python for the sum of `values` over all shards. Takes the GIL for the length of the call.
    pub(super) fn sum(&self, values: &mut [i64]) -> PyResult<()> {
        Python::attach(|py| {
            // A one of each shard's own tells a sum over all from a mean, a maximum or what one shard put in.
            let own = PyArray1::from_iter(py, values.iter().copied().chain([1]));
            let reduced = self.reduce.bind(py).call1((own,))?;
            let reduced: PyReadonlyArray1<'_, i64> = reduced.extract().map_err(|_| {
                let got = match (reduced.getattr("dtype"), reduced.getattr("shape")) {
                    (Ok(dtype), Ok(shape)) => format!("dtype {dtype}, shape {shape}"),
                    _ => reduced.get_type().to_string(),
                };
                PyValueError::new_err(format!("shard.reduce must give a 1-D int64 NumPy array, got {got}"))
            })?;
            let sums = reduced.as_array();
            if sums.len() != values.len() + 1 {
                return Err(PyValueError::new_err(format!(
                    "shard.reduce must give as many values as it got, {}; got {}",
                    values.len() + 1,
                    sums.len()
                )));
            }
            if sums[values.len()] != self.count as i64 {
                return Err(PyValueError::new_err(format!(
                    "shard.reduce must add up the arrays of all {} shards, but a 1 from each became {}; give the \
                     elementwise sum, such as all_reduce with SUM",
                    self.count,
                    sums[values.len()]
                )));
            }
            for (value, &sum) in values.iter_mut().zip(sums) {
                *value = sum;
            }
            Ok(())
        })
    }
}
