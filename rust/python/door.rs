//! The one door between Python and the core: it frees the GIL, hands threads, Ctrl-C and the other
//! shards to the core, and turns refusals into Python's exceptions.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use pyo3::prelude::*;

use super::errors::to_python;
use super::shard::PyShard;
use crate::error::Error;
use crate::par::Context;
use crate::shard::Shards;

/// The least time between two looks at pending signals: each takes the GIL for a moment.
const POLL: Duration = Duration::from_millis(50);

/// Runs `work` without the GIL. It stays on the calling thread (only chunks enter the pool), because
/// Python delivers signals to its main thread alone.
pub(super) fn run<R: Send>(
    py: Python<'_>,
    n_threads: Option<usize>,
    shard: Option<&PyShard>,
    work: impl FnOnce(&Context<'_>) -> crate::Result<R> + Send,
) -> PyResult<R> {
    py.detach(|| {
        // What Python raised while the core ran: a signal's handler, or the callable between shards.
        let raised = RefCell::new(None);
        let last = Cell::new(Instant::now());
        let should_stop = || {
            if last.get().elapsed() < POLL {
                return false;
            }
            last.set(Instant::now());
            Python::attach(|py| {
                let signal = py.check_signals().err();
                let stop = signal.is_some();
                raised.replace(signal);
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
            let context = Context::new(n_threads, &should_stop)?.with_shards(shards);
            work(&context)
        });
        match (raised.into_inner(), result) {
            (Some(raised), _) => Err(raised),
            (None, result) => result.map_err(|error| to_python(&error)),
        }
    })
}
