//! NumPy arrays as slices, without a copy. The facade in `puma_fast.numeric` hands over aligned,
//! C-contiguous float32 or float64; anything else is refused here by name.

use numpy::{Element, PyReadonlyArray, PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;

/// A float array of either width, borrowed for the length of a call.
pub(super) enum FloatArray<'py> {
    F32(PyReadonlyArrayDyn<'py, f32>),
    F64(PyReadonlyArrayDyn<'py, f64>),
}

impl<'a, 'py> FromPyObject<'a, 'py> for FloatArray<'py> {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(array) = object.extract() {
            return Ok(Self::F32(array));
        }
        if let Ok(array) = object.extract() {
            return Ok(Self::F64(array));
        }
        let kind = object.get_type();
        Err(PyTypeError::new_err(format!("expected a float32 or float64 NumPy array, got {kind}")))
    }
}

/// The elements of `array` in row-major order.
pub(super) fn slice<'a, T: Element, D: numpy::ndarray::Dimension>(
    name: &str,
    array: &'a PyReadonlyArray<'_, T, D>,
) -> PyResult<&'a [T]> {
    if !array.is_c_contiguous() {
        return Err(PyValueError::new_err(format!(
            "{name} must be C-contiguous; pass numpy.ascontiguousarray({name})"
        )));
    }
    array.as_slice().map_err(|error| PyValueError::new_err(format!("{name}: {error}")))
}
