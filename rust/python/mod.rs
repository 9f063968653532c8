//! The only place that names pyo3 or numpy. Functions here do no arithmetic: arrays in, one call of
//! the core through [`door::run`], arrays out. `puma_fast.numeric` wraps every one of them.

mod arrays;
mod door;
mod errors;
mod kmeans;
mod order;
mod reweight;
mod shard;

use pyo3::prelude::*;

/// The compiled module, private to the package.
#[pymodule(gil_used = false)]
mod _core {
    use super::PyModuleMethods;
    #[pymodule_export]
    use super::kmeans::kmeans_py;
    #[pymodule_export]
    use super::order::{apportion, argsort, compare, group_sums, prune, select, suspects, top_k};
    #[pymodule_export]
    use super::reweight::{Ladder, ladder, solve_weights};

    #[pymodule_init]
    fn init(module: &super::Bound<'_, super::PyModule>) -> super::PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        module.add("build_profile", if cfg!(debug_assertions) { "debug" } else { "release" })?;
        module.add("simd_level", crate::simd::level().as_str())
    }
}
