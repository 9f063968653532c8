//! The one door between Python and the core: it frees the GIL, hands threads and Ctrl-C to the core,
//! and turns refusals into Python's exceptions.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use pyo3::prelude::*;

use super::errors::to_python;
use crate::par::Context;

/// The least time between two looks at pending signals: each takes the GIL for a moment.
const POLL: Duration = Duration::from_millis(50);

/// Runs `work` without the GIL. It stays on the calling thread (only chunks enter the pool), because
/// Python delivers signals to its main thread alone.
pub(super) fn run<R: Send>(
    py: Python<'_>,
    n_threads: Option<usize>,
    work: impl FnOnce(&Context<'_>) -> crate::Result<R> + Send,
) -> PyResult<R> {
    py.detach(|| {
        let pending = RefCell::new(None);
        let last = Cell::new(Instant::now());
        let should_stop = || {
            if last.get().elapsed() < POLL {
                return false;
            }
            last.set(Instant::now());
            Python::attach(|py| {
                let signal = py.check_signals().err();
                let stop = signal.is_some();
                pending.replace(signal);
                stop
            })
        };
        let result = Context::new(n_threads, &should_stop).and_then(|context| work(&context));
        match (pending.into_inner(), result) {
            (Some(interrupt), _) => Err(interrupt),
            (None, result) => result.map_err(|error| to_python(&error)),
        }
    })
}
