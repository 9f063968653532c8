//! The only user of rayon. Work is cut into chunks of a fixed length, results are handed back in chunk
//! order, so nothing depends on the number of threads. Pools are keyed by process id: a forked child
//! (a `DataLoader` worker) builds its own, where an inherited pool would hang for ever.

use std::cell::Cell;
use std::ops::Range;
use std::sync::atomic::{AtomicPtr, Ordering};

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::shard::Shards;

/// Elements per chunk of a plain pass over an array: large enough to hide the hand-over, small enough
/// to stay in a core's cache beside its results.
pub const CHUNK: usize = 1 << 16;

/// Chunks handed out between two looks at the stop request; a plain pass over so many takes some
/// milliseconds, which keeps the answer to Ctrl-C far below a second.
pub const WAVE: usize = 128;

/// The most threads a call may ask for: more than any machine gains by, and pools are kept for good.
const MOST_THREADS: usize = 1024;

/// How far a call has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// One of what is counted.
    pub unit: &'static str,
    /// How many are done.
    pub done: usize,
    /// How many there will be, where that is known.
    pub total: Option<usize>,
}

/// How a call runs: its threads, its stop request, who hears of its progress and the other shards. The
/// first argument of every capability.
pub struct Context<'a> {
    threads: usize,
    should_stop: &'a dyn Fn() -> bool,
    hear: Option<&'a dyn Fn(Progress)>,
    /// How far the passes have come, where they are counted.
    counted: Cell<Option<Progress>>,
    shards: Shards<'a>,
}

impl<'a> Context<'a> {
    /// A context of `n_threads` threads (`None`: `RAYON_NUM_THREADS`, else all that this process may
    /// use) that gives up with [`Error::Interrupted`] once `should_stop` says so.
    ///
    /// # Errors
    /// [`Error::Parameter`] where `n_threads` is zero or absurd.
    pub fn new(n_threads: Option<usize>, should_stop: &'a dyn Fn() -> bool) -> Result<Self> {
        let threads = match n_threads {
            Some(threads @ (0 | MOST_THREADS..)) => {
                let rule = "must be at least 1 and below 1024, or left out";
                return Err(Error::parameter("n_threads", rule, threads));
            }
            Some(threads) => threads,
            None => default_threads(),
        };
        Ok(Self { threads, should_stop, hear: None, counted: Cell::new(None), shards: Shards::whole() })
    }

    /// The same for one of several shards of the data.
    #[must_use]
    pub fn with_shards(self, shards: Shards<'a>) -> Self {
        Self { shards, ..self }
    }

    /// The same with somebody who hears how far the call has come. It happens on the calling thread, as
    /// often as an iteration takes a step, so it has to be cheap: what takes longer waits for the next look
    /// at the stop request.
    #[must_use]
    pub fn with_progress(self, hear: &'a dyn Fn(Progress)) -> Self {
        Self { hear: Some(hear), ..self }
    }

    /// Says how far the call has come: `done` of `total`, one of which is a `unit`.
    pub fn progress(&self, unit: &'static str, done: usize, total: Option<usize>) {
        if let Some(hear) = self.hear {
            hear(Progress { unit, done, total });
        }
    }

    /// The same, saying by itself how far it has come, for work that is passes over data: from `start` on it
    /// counts what [`Context::map_chunks`] and [`Context::accumulate`] go over. The total need not be right:
    /// it rises once a pass begins that goes beyond it. None: nothing is counted.
    #[must_use]
    pub fn counting(&self, start: Option<Progress>) -> Self {
        if let Some(Progress { unit, done, total }) = start {
            self.progress(unit, done, total);
        }
        let Self { threads, should_stop, hear, shards, .. } = *self;
        Self { threads, should_stop, hear, counted: Cell::new(start), shards }
    }

    /// How far the passes have come, where they are counted.
    #[must_use]
    pub fn counted(&self) -> Option<Progress> {
        self.counted.get()
    }

    /// Counts passes over `more` as still to come, and no others.
    pub fn still(&self, more: usize) {
        if let Some(Progress { unit, done, .. }) = self.counted.get() {
            self.reach(Progress { unit, done, total: Some(done + more) });
        }
    }

    /// Counts a part of a pass that neither [`Context::map_chunks`] nor [`Context::accumulate`] makes.
    pub fn passed(&self, count: usize) {
        if let Some(Progress { unit, done, total }) = self.counted.get() {
            let done = done + count;
            self.reach(Progress { unit, done, total: total.map(|total| total.max(done)) });
        }
    }

    fn reach(&self, counted: Progress) {
        self.counted.set(Some(counted));
        self.progress(counted.unit, counted.done, counted.total);
    }

    /// Makes room in the total for a pass that begins.
    fn begin(&self, len: usize) {
        if let Some(Progress { done, total: Some(total), .. }) = self.counted.get()
            && total < done + len
        {
            self.still(len);
        }
    }

    /// This process's place among the shards of the data; the whole unless told otherwise.
    #[must_use]
    pub fn shards(&self) -> &Shards<'a> {
        &self.shards
    }

    /// Refuses to go on once the caller asked to stop. Called between the steps of an iteration.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub fn check(&self) -> Result<()> {
        if (self.should_stop)() { Err(Error::Interrupted) } else { Ok(()) }
    }

    /// `f` over the ranges `0..chunk, chunk..2·chunk, …` of `0..len`, results in that order.
    ///
    /// # Errors
    /// [`Error::Interrupted`], [`Error::Threads`].
    pub fn map_chunks<R: Send>(
        &self,
        len: usize,
        chunk: usize,
        f: impl Fn(Range<usize>) -> R + Sync,
    ) -> Result<Vec<R>> {
        let chunk = chunk.max(1);
        let count = len.div_ceil(chunk);
        let range = |i: usize| i * chunk..len.min((i + 1) * chunk);
        let mut results = Vec::with_capacity(count);
        self.begin(len);
        for first in (0..count).step_by(WAVE) {
            self.check()?;
            let wave = first..count.min(first + WAVE);
            let passed = range(first).start..range(wave.end - 1).end;
            if self.threads == 1 || wave.len() == 1 {
                results.extend(wave.map(|i| f(range(i))));
            } else {
                let part: Vec<R> = pool(self.threads)?
                    .install(|| wave.into_par_iter().with_max_len(1).map(|i| f(range(i))).collect());
                results.extend(part);
            }
            self.passed(passed.len());
        }
        Ok(results)
    }

    /// One accumulator for each thread, into which `f` has taken the ranges of 0..`len` in steps of `chunk`.
    /// Which range went into which is left open, so what is made of them must not depend on it: integers
    /// that are added up.
    ///
    /// # Errors
    /// [`Error::Interrupted`], [`Error::Threads`].
    pub fn accumulate<A: Send>(
        &self,
        len: usize,
        chunk: usize,
        new: impl Fn() -> A,
        f: impl Fn(&mut A, Range<usize>) + Sync,
    ) -> Result<Vec<A>> {
        let chunk = chunk.max(1);
        let lanes = self.threads.min(len.div_ceil(chunk)).max(1);
        let mut accumulators: Vec<A> = (0..lanes).map(|_| new()).collect();
        self.begin(len);
        for first in (0..len).step_by(chunk * lanes) {
            self.map_chunks_mut(&mut accumulators, 1, |lane, accumulator| {
                let start = len.min(first + lane * chunk);
                f(&mut accumulator[0], start..len.min(start + chunk));
            })?;
            self.passed((len - first).min(chunk * lanes));
        }
        Ok(accumulators)
    }

    /// How many threads there are, for work that is cut by them because its result does not show it.
    #[must_use]
    pub const fn threads(&self) -> usize {
        self.threads
    }

    /// `f(first index, chunk)` over consecutive mutable chunks of `out`; results in that order.
    ///
    /// # Errors
    /// [`Error::Interrupted`], [`Error::Threads`].
    pub fn map_chunks_mut<T: Send, R: Send>(
        &self,
        out: &mut [T],
        chunk: usize,
        f: impl Fn(usize, &mut [T]) -> R + Sync,
    ) -> Result<Vec<R>> {
        let chunk = chunk.max(1);
        let mut results = Vec::with_capacity(out.len().div_ceil(chunk));
        for (i, wave) in out.chunks_mut(chunk * WAVE).enumerate() {
            self.check()?;
            let first = i * chunk * WAVE;
            if self.threads == 1 || wave.len() <= chunk {
                results.extend(wave.chunks_mut(chunk).enumerate().map(|(j, c)| f(first + j * chunk, c)));
            } else {
                let part: Vec<R> = pool(self.threads)?.install(|| {
                    wave.par_chunks_mut(chunk)
                        .enumerate()
                        .with_max_len(1)
                        .map(|(j, c)| f(first + j * chunk, c))
                        .collect()
                });
                results.extend(part);
            }
        }
        Ok(results)
    }
}

/// `RAYON_NUM_THREADS` where it is a positive number, else what this process may use (affinity and
/// control groups counted).
fn default_threads() -> usize {
    std::env::var("RAYON_NUM_THREADS")
        .ok()
        .and_then(|value| value.parse().ok())
        .filter(|&threads| threads > 0)
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
        .min(MOST_THREADS - 1)
}

/// One pool of one process. The list only grows and its nodes are never freed: dropping an inherited
/// pool would join threads that do not exist in the child.
struct Node {
    process: u32,
    threads: usize,
    pool: rayon::ThreadPool,
    next: *const Node,
}

/// Head of the list. An atomic pointer rather than a lock, which a fork could leave locked for ever.
static POOLS: AtomicPtr<Node> = AtomicPtr::new(std::ptr::null_mut());

fn pool(threads: usize) -> Result<&'static rayon::ThreadPool> {
    let process = std::process::id();
    let head = POOLS.load(Ordering::Acquire);
    let mut at: *const Node = head;
    // SAFETY: nodes are published with Release after they are complete, and never freed or changed.
    while let Some(node) = unsafe { at.as_ref() } {
        if node.process == process && node.threads == threads {
            return Ok(&node.pool);
        }
        at = node.next;
    }
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|i| format!("puma-fast-{i}"))
        .build()
        .map_err(|error| Error::Threads { threads, reason: error.to_string() })?;
    let node = Box::into_raw(Box::new(Node { process, threads, pool, next: head }));
    let mut expected = head;
    while let Err(now) = POOLS.compare_exchange(expected, node, Ordering::AcqRel, Ordering::Acquire) {
        // SAFETY: the node is not published yet, so this thread alone refers to it.
        unsafe { (*node).next = now };
        expected = now;
    }
    // SAFETY: published nodes live as long as the process.
    Ok(unsafe { &(*node).pool })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_come_back_in_order_whatever_the_threads() {
        for threads in [1, 2, 7] {
            let context = Context::new(Some(threads), &|| false).unwrap();
            let ranges = context.map_chunks(1000, 7, |range| range).unwrap();
            assert!(ranges.windows(2).all(|pair| pair[0].end == pair[1].start));
            assert_eq!((ranges[0].start, ranges.last().unwrap().end), (0, 1000));
            let mut out = vec![0; 1000];
            context
                .map_chunks_mut(&mut out, 7, |first, chunk| {
                    for (i, slot) in chunk.iter_mut().enumerate() {
                        *slot = first + i;
                    }
                })
                .unwrap();
            assert!(out.iter().enumerate().all(|(i, &value)| i == value));
            let sums = context.accumulate(1000, 7, || 0, |sum, range| *sum += range.sum::<usize>()).unwrap();
            assert_eq!(sums.into_iter().sum::<usize>(), 999 * 1000 / 2);
        }
    }

    #[test]
    fn passes_are_counted_and_the_total_grows_with_them() {
        let heard = std::cell::RefCell::new(Vec::new());
        let hear = |Progress { unit, done, total }| heard.borrow_mut().push((unit, done, total.unwrap()));
        let plain = Context::new(Some(2), &|| false).unwrap().with_progress(&hear);
        plain.map_chunks(1000, 1, |_| ()).unwrap();
        assert!(plain.counted().is_none() && heard.borrow().is_empty());
        let context = plain.counting(Some(Progress { unit: "row", done: 0, total: Some(1500) }));
        context.map_chunks(1000, 7, |_| ()).unwrap();
        context.accumulate(1000, 300, || (), |(), _| ()).unwrap();
        context.still(10);
        context.passed(4);
        let rows = [
            (0, 1500),
            (896, 1500),
            (1000, 1500),
            (1000, 2000),
            (1600, 2000),
            (2000, 2000),
            (2000, 2010),
            (2004, 2010),
        ];
        assert_eq!(heard.into_inner(), rows.map(|(done, total)| ("row", done, total)));
    }

    #[test]
    fn a_stop_request_is_an_error() {
        let context = Context::new(Some(2), &|| true).unwrap();
        assert_eq!(context.map_chunks(10, 1, |_| ()), Err(Error::Interrupted));
    }
}
