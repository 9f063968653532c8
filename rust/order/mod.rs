//! Exact order of scores: the best k, all of them sorted, those within bounds, or the part of a data set
//! that is kept; what two selections share; and sums by group.
//!
//! Samples are compared by (score, index): equal scores go by position, lowest first, and −0 equals +0.
//! No two samples are equal in this order, so each result is unique: it cannot depend on threads, on
//! chunks, on shards or on the method, and whichever method is fastest may be used. NaN has no place among
//! the numbers; the caller says what is to become of it.
//!
//! Everything but sorting is the search for a cut between ranks, by a sample and one scan (sampled.rs)
//! or by histograms (narrow.rs), and a pass that writes what lies before or behind it.

mod balanced;
mod best;
pub mod bins;
mod bits;
mod bracketed;
pub mod brackets;
mod classes;
mod edge;
mod filter;
mod groups;
mod narrow;
mod prune;
mod quotas;
mod radix;
pub mod rank;
mod sample;
mod sampled;
pub mod scan;
mod selection;
mod sets;

pub use best::{enough, top_k, top_k_set};
pub use classes::Labels;
use edge::{Window, tiles, words};
pub use filter::{First, filter};
pub use groups::group_sums;
pub use prune::{Prune, prune};
pub use quotas::apportion;
use rank::{RankOf, Score, by_width};
use scan::Marks;
pub use selection::Selection;
pub use sets::{difference, intersection};

use crate::error::{Error, Result};
use crate::par::{CHUNK, Context, Progress};
use crate::simd::dispatch;

/// What is to become of NaN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nan {
    /// Refuse it, naming the first.
    Raise,
    /// It comes after every number, in both directions.
    Last,
    /// It comes before every number, in both directions.
    First,
}

/// Which scores come first, and what is to become of NaN.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    /// The largest scores come first.
    pub largest: bool,
    /// NaN's place.
    pub nan: Nan,
}

/// Where the scores lie, which decides how they may be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// In memory: a sample may be taken here and there.
    Random,
    /// In a file mapped into memory: read from the first score to the last.
    Sequential,
}

impl Order {
    /// The key by which a score comes first or last, a NaN that is to be refused being last.
    #[inline(always)]
    fn key<T: Score>(self, score: T) -> T::Key {
        let key = score.key();
        let key = if self.largest { !key } else { key };
        let nan = if self.nan == Nan::First { T::Narrow::FIRST } else { T::Narrow::LAST };
        if is_nan(score) { nan } else { key }
    }

    /// The place of a score, or the index of a NaN that is to be refused.
    #[inline(always)]
    fn rank<T: Score, R: RankOf<T::Key>>(self, score: T, index: usize) -> std::result::Result<R, usize> {
        if self.nan == Nan::Raise && is_nan(score) {
            return Err(index);
        }
        Ok(R::new(self.key(score), index))
    }
}

/// Whether a score is NaN.
#[inline(always)]
#[allow(clippy::eq_op, reason = "the definition, which compares lanes at once")]
fn is_nan<T: Score>(score: T) -> bool {
    score != score
}

/// Refusal of the NaN at `index` of the argument `name`.
fn nan_at(name: &'static str, index: usize) -> Error {
    Error::parameter(
        name,
        "must hold no NaN, which has no place in the order; drop the sample, or say where NaN belongs \
         (nan=\"last\" or \"first\")",
        format!("NaN at index {index}"),
    )
}

/// The same context, saying how many samples it has gone over, of `total` in all passes.
fn counting<'a>(context: &Context<'a>, total: usize) -> Context<'a> {
    context.counting(Some(Progress { unit: "sample", done: 0, total: Some(total) }))
}

/// `result`, where no shard has a refusal: a shard that went on alone would wait for ever.
fn together<T>(context: &Context<'_>, result: Result<T>) -> Result<T> {
    let refused = context.shards().gather(&[u64::from(result.is_err())])?;
    match refused.into_iter().position(|refused| refused == 1) {
        Some(index) if result.is_ok() => {
            let rule =
                "cannot go on where another shard refused its part of the data; its own message says why";
            Err(Error::parameter("shard", rule, format!("a refusal of shard {index}")))
        }
        _ => result,
    }
}

/// The scores from `low` to `high`. NaN is none of them, unless it comes first, before every bound. Of a
/// shard's scores the positions are those in the whole.
///
/// # Errors
/// [`Error::Parameter`] where a bound is NaN or NaN is refused; those of the pass.
///
/// # Examples
/// ```
/// use puma_fast::order::{Nan, select};
/// let context = puma_fast::Context::new(Some(1), &|| false)?;
/// let chosen = select(&context, &[0.2, 0.9, 0.5], 0.5, f64::INFINITY, Nan::Raise)?;
/// assert_eq!(chosen.positions(&context)?, [1, 2]);
/// # Ok::<(), puma_fast::Error>(())
/// ```
pub fn select<'a, T: Score>(
    context: &Context<'_>,
    scores: &'a [T],
    low: T,
    high: T,
    nan: Nan,
) -> Result<Selection<'a>> {
    for (name, bound) in [("at_least", low), ("at_most", high)] {
        if bound.to_f64().is_nan() {
            return Err(Error::parameter(name, "must be a number, or left out", "NaN"));
        }
    }
    let context = &counting(context, 2 * scores.len());
    let first = context.shards().rows(scores.len())?.first;
    let window = Window::of_scores(low, high, nan != Nan::Last);
    let chunks = context.map_chunks(scores.len(), CHUNK, |range| {
        let (mut count, mut refused, mut marks) = (0, None, Marks::NONE);
        dispatch(
            #[inline(always)]
            || {
                for tile in tiles(range) {
                    window.mark(&scores[tile.clone()], tile.start, &mut marks);
                    count += bits::count(marks.only_least(words(&tile)));
                    if nan == Nan::Raise && marks.any_nan && refused.is_none() {
                        refused = tile.clone().find(|&i| is_nan(scores[i])).map(|i| first + i);
                    }
                }
            },
        );
        (count, refused)
    })?;
    narrow::refuse(context, "scores", chunks.iter().find_map(|(_, refused)| *refused))?;
    let counts = chunks.into_iter().map(|(count, _)| count).collect();
    Ok(Selection::marked(context, scores.len(), first, counts, move |tile, marks| {
        window.mark(&scores[tile.clone()], tile.start, marks);
        marks.only_least(words(&tile))
    }))
}

/// Writes the positions of all scores in order. Equal scores keep their places, so this is a stable sort.
///
/// # Errors
/// [`Error::Shape`] where `out` has another length; [`Error::Parameter`] where NaN is refused; those of the
/// passes.
///
/// # Examples
/// ```
/// use puma_fast::order::{Nan, Order, argsort};
/// let context = puma_fast::Context::new(Some(1), &|| false)?;
/// let ascending = Order { largest: false, nan: Nan::Last };
/// let mut sorted = [0; 4];
/// argsort(&context, &[2.0, f32::NAN, 0.0, -0.0], ascending, &mut sorted)?;
/// assert_eq!(sorted, [2, 3, 0, 1]);
/// # Ok::<(), puma_fast::Error>(())
/// ```
pub fn argsort<T: Score>(context: &Context<'_>, scores: &[T], order: Order, out: &mut [i64]) -> Result<()> {
    if out.len() != scores.len() {
        let got = format!("{} for {} scores", out.len(), scores.len());
        return Err(Error::shape("out", "needs one place for each score", got));
    }
    by_width!(scores.len(), sorted::<T>(&counting(context, 0), scores, order, out))
}

fn sorted<T: Score, R: RankOf<T::Key>>(
    context: &Context<'_>,
    scores: &[T],
    order: Order,
    out: &mut [i64],
) -> Result<()> {
    radix::sort::<R>(context, &radix::Ordered { scores, order }, out)?
        .map_err(|index| nan_at("scores", index))
}
