//! The one door between Python and the core: it frees the GIL, hands threads, Ctrl-C and the other
//! shards to the core, tells Python how far the core has come, and turns refusals into Python's exceptions.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use pyo3::prelude::*;

use super::errors::to_python;
use super::shard::PyShard;
use crate::error::Error;
use crate::par::{Context, Progress};
use crate::shard::Shards;

/// The least time between two looks at pending signals: each takes the GIL for a moment.
const POLL: Duration = Duration::from_millis(50);

/// The least time between two reports of progress: nobody sees more.
const REPORT: Duration = Duration::from_millis(200);

/// Runs `work` without the GIL. It stays on the calling thread (only chunks enter the pool), because
/// Python delivers signals to its main thread alone.
pub(super) fn run<R: Send>(
    py: Python<'_>,
    n_threads: Option<usize>,
    shard: Option<&PyShard>,
    work: impl FnOnce(&Context<'_>) -> crate::Result<R> + Send,
) -> PyResult<R> {
    run_telling(py, n_threads, shard, None, work)
}

/// The same for work that takes its time: `progress` is called with what is done, how much there is (or
/// None) and what is counted. What it raises ends the call.
pub(super) fn run_telling<R: Send>(
    py: Python<'_>,
    n_threads: Option<usize>,
    shard: Option<&PyShard>,
    progress: Option<&Py<PyAny>>,
    work: impl FnOnce(&Context<'_>) -> crate::Result<R> + Send,
) -> PyResult<R> {
    py.detach(|| {
        // What Python raised while the core ran: a signal's handler, or a callable.
        let raised = RefCell::new(None);
        let (looked, told) = (Cell::new(Instant::now()), Cell::new(Instant::now()));
        // The core only notes how far it has come; Python hears of it when the GIL is taken for signals.
        let reached = Cell::new(None);
        let hear = |progress: Progress| reached.set(Some(progress));
        let tell = |py: Python<'_>| match (progress, reached.get()) {
            (Some(progress), Some(Progress { unit, done, total })) if told.get().elapsed() >= REPORT => {
                told.set(Instant::now());
                progress.call1(py, (done, total, unit)).map(drop)
            }
            _ => Ok(()),
        };
        let should_stop = || {
            if looked.get().elapsed() < POLL {
                return false;
            }
            looked.set(Instant::now());
            Python::attach(|py| {
                let error = py.check_signals().and_then(|()| tell(py)).err();
                let stop = error.is_some();
                raised.replace(error);
                stop
            })
        };
        let sum = |values: &mut [i64]| match shard.map_or(Ok(()), |shard| shard.sum(values)) {
            Ok(()) => Ok(()),
            Err(error) => {
                raised.replace(Some(error));
                Err(Error::Interrupted)
            }
        };
        let shards = match shard {
            Some(shard) => Shards::new(shard.index, shard.count, &sum),
            None => Ok(Shards::whole()),
        };
        let result = shards.and_then(|shards| {
            let context = Context::new(n_threads, &should_stop)?.with_progress(&hear).with_shards(shards);
            work(&context)
        });
        match (raised.into_inner(), result) {
            (Some(raised), _) => Err(raised),
            (None, result) => result.map_err(|error| to_python(&error)),
        }
    })
}
