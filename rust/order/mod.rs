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
pub mod bins;
mod bits;
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

use std::ops::Range;

pub use classes::Labels;
use edge::Window;
pub use filter::{First, filter};
pub use groups::group_sums;
use narrow::{Pool, cuts};
pub use prune::{Prune, prune};
pub use quotas::apportion;
use rank::{RankOf, Score};
use sampled::Within;
use scan::Found;
pub use selection::Selection;
pub use sets::{difference, intersection};

use crate::error::{Error, Result};
use crate::par::{CHUNK, Context};
use crate::shard::Rows;

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
    #[inline(always)]
    fn rank<T: Score, R: RankOf<T::Key>>(self, score: T, index: usize) -> std::result::Result<R, usize> {
        if score.to_f64().is_nan() {
            return match self.nan {
                Nan::Raise => Err(index),
                Nan::Last => Ok(R::new(R::LAST, index)),
                Nan::First => Ok(R::new(R::FIRST, index)),
            };
        }
        let key = score.key();
        Ok(R::new(if self.largest { !key } else { key }, index))
    }
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

/// Writes the positions of the `out.len()` scores that come first, best first. All shards get the same,
/// as positions in the whole.
///
/// # Errors
/// [`Error::Parameter`] where there are fewer scores or NaN is refused; those of the passes.
///
/// # Examples
/// ```
/// use puma_fast::order::{Access, Nan, Order, top_k};
/// let context = puma_fast::Context::new(Some(1), &|| false)?;
/// let largest = Order { largest: true, nan: Nan::Raise };
/// let mut best = [0; 3];
/// top_k(&context, &[1.0, 3.0, 3.0, 2.0], largest, Access::Random, &mut best)?;
/// assert_eq!(best, [1, 2, 3]);
/// # Ok::<(), puma_fast::Error>(())
/// ```
pub fn top_k<T: Score>(
    context: &Context<'_>,
    scores: &[T],
    order: Order,
    access: Access,
    out: &mut [i64],
) -> Result<()> {
    let rows = enough(context, scores.len(), "k", out.len())?;
    if rank::is_narrow(rows.total) {
        ranked::<T, T::Narrow>(context, scores, order, access, out)
    } else {
        ranked::<T, T::Wide>(context, scores, order, access, out)
    }
}

/// The same as a set: the positions ascending, which saves the sorting. Of a shard's scores those are
/// given that are among the best of the whole.
///
/// # Errors
/// Those of [`top_k`].
pub fn top_k_set<'a, T: Score>(
    context: &Context<'_>,
    scores: &'a [T],
    k: usize,
    order: Order,
    access: Access,
) -> Result<Selection<'a>> {
    let rows = enough(context, scores.len(), "k", k)?;
    if rank::is_narrow(rows.total) {
        set::<T, T::Narrow>(context, scores, k, order, access)
    } else {
        set::<T, T::Wide>(context, scores, k, order, access)
    }
}

/// Where `len` scores stand in the whole, which must have at least `k`, the argument called `name`.
///
/// # Errors
/// [`Error::Parameter`] where there are fewer; those of the connection between shards.
pub fn enough(context: &Context<'_>, len: usize, name: &'static str, k: usize) -> Result<Rows> {
    let rows = context.shards().rows(len)?;
    if k > rows.total {
        let got = format!("{k} of {} scores", rows.total);
        return Err(Error::parameter(name, "must be at most the number of scores", got));
    }
    Ok(rows)
}

/// The cut after the first `k`, by whichever road is open.
fn cut<T: Score, R: RankOf<T::Key>>(
    context: &Context<'_>,
    &First { names: [name, _], scores, k, order, access }: &First<'_, T>,
) -> Result<Within<R>> {
    if 0 < k
        && access == Access::Random
        && context.shards().is_whole()
        && let Some(found) = sampled::cut(context, name, scores, k, order)?
    {
        return Ok(found);
    }
    let rows = context.shards().rows(scores.len())?;
    let pool = Pool { name, scores, order, rows, out: Vec::new(), class_of: |_| 0 };
    let cuts = cuts(context, &pool, &[k], &[rows.total])?;
    Ok(Within { cut: cuts.last[0], counts: cuts.counts, ranks: None })
}

/// Calls `each` with the position of every score of `range` that lies within the cut, ascending.
fn within<T: Score, R: RankOf<T::Key>>(
    scores: &[T],
    first: usize,
    order: Order,
    cut: Option<R>,
    range: Range<usize>,
    mut each: impl FnMut(usize),
) {
    let Some(cut) = cut else { return };
    if let Some(window) = Window::between(order, None, cut) {
        window.scan(scores, first, range, &mut Found::new(), |tile, positions| {
            for &position in positions {
                each(tile + position as usize);
            }
        });
    } else {
        for i in range {
            if order.rank::<T, R>(scores[i], first + i).is_ok_and(|rank| rank <= cut) {
                each(i);
            }
        }
    }
}

fn ranked<T: Score, R: RankOf<T::Key>>(
    context: &Context<'_>,
    scores: &[T],
    order: Order,
    access: Access,
    out: &mut [i64],
) -> Result<()> {
    let first = context.shards().rows(scores.len())?.first;
    let Within { cut, ranks, .. } =
        cut::<T, R>(context, &First { names: ["scores", "k"], scores, k: out.len(), order, access })?;
    let mut ranks = match ranks {
        Some(ranks) => ranks,
        None => context
            .map_chunks(scores.len(), CHUNK, |range| {
                let mut ranks = Vec::new();
                within(scores, first, order, cut, range, |i| {
                    ranks.extend(order.rank::<T, R>(scores[i], first + i));
                });
                ranks
            })?
            .concat(),
    };
    if !context.shards().is_whole() {
        let words: Vec<u64> = ranks.iter().flat_map(|rank| rank.to_words()).collect();
        let words = narrow::concatenated(context, &words)?;
        ranks = words.chunks_exact(2).map(|rank| R::from_words([rank[0], rank[1]])).collect();
    }
    radix::sort(context, |i| Ok(ranks[i]), out)?.map_err(|index| nan_at("scores", index))
}

fn set<'a, T: Score, R: RankOf<T::Key>>(
    context: &Context<'_>,
    scores: &'a [T],
    k: usize,
    order: Order,
    access: Access,
) -> Result<Selection<'a>> {
    let first = context.shards().rows(scores.len())?.first;
    let Within { cut, counts, ranks } =
        cut::<T, R>(context, &First { names: ["scores", "k"], scores, k, order, access })?;
    Ok(match ranks {
        Some(ranks) => {
            let ends = counts.iter().scan(0, |end, count| {
                *end += count;
                Some(*end)
            });
            let ends: Vec<usize> = ends.collect();
            Selection::new(scores.len(), counts, move |range, out| {
                let ranks = &ranks[..ends[range.start / CHUNK]];
                let own = &ranks[ranks.len() - out.len()..];
                out.iter_mut().zip(own).for_each(|(place, rank)| *place = rank.index() as i64);
            })
        }
        None => Selection::new(scores.len(), counts, move |range, out| {
            let mut places = out.iter_mut();
            within(scores, first, order, cut, range, |i| {
                places.by_ref().take(1).for_each(|place| *place = (first + i) as i64);
            });
        }),
    })
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
    let first = context.shards().rows(scores.len())?.first;
    let window = Window::of_scores(low, high, nan != Nan::Last);
    let chunks = context.map_chunks(scores.len(), CHUNK, |range| {
        let (mut count, mut refused) = (0, None);
        window.scan(scores, 0, range, &mut Found::new(), |tile, positions| {
            count += positions.len();
            if nan == Nan::Raise && refused.is_none() {
                let mut listed = positions.iter().map(|&position| tile + position as usize);
                refused = listed.find(|&i| scores[i].to_f64().is_nan());
            }
        });
        (count, refused)
    })?;
    let refused = chunks.iter().find_map(|(_, refused)| *refused);
    narrow::refuse(context, "scores", refused.map(|i| first + i))?;
    let counts = chunks.into_iter().map(|(count, _)| count).collect();
    Ok(Selection::new(scores.len(), counts, move |range, out| {
        let mut places = out.iter_mut();
        window.scan(scores, 0, range, &mut Found::new(), |tile, positions| {
            for (&position, place) in positions.iter().zip(&mut places) {
                *place = (first + tile + position as usize) as i64;
            }
        });
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
    let sorted = if rank::is_narrow(scores.len()) {
        radix::sort(context, |i| order.rank::<T, T::Narrow>(scores[i], i), out)?
    } else {
        radix::sort(context, |i| order.rank::<T, T::Wide>(scores[i], i), out)?
    };
    sorted.map_err(|index| nan_at("scores", index))
}
