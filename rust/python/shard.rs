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
            let own = PyArray1::from_slice(py, values);
            let reduced = self.reduce.bind(py).call1((own,))?;
            let reduced: PyReadonlyArray1<'_, i64> = reduced.extract().map_err(|_| {
                let kind = reduced.get_type();
                PyValueError::new_err(format!("shard.reduce must give a 1-D int64 array, got {kind}"))
            })?;
            let sums = reduced.as_array();
            if sums.len() != values.len() {
                return Err(PyValueError::new_err(format!(
                    "shard.reduce must give as many values as it got, {}; got {}",
                    values.len(),
                    sums.len()
                )));
            }
            for (value, &sum) in values.iter_mut().zip(sums) {
                *value = sum;
            }
            Ok(())
        })
    }
}
