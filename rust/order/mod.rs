//! Exact order of scores: the best k, all of them sorted, or the part of a data set that is kept.
//!
//! Samples are compared by (score, index): equal scores go by position, lowest first, and −0 equals +0.
//! No two samples are equal in this order, so each result is unique: it cannot depend on threads, on
//! chunks or on the method, and whichever method is fastest may be used. NaN has no place among the
//! numbers; the caller says what is to become of it.

mod prune;
mod quotas;
pub mod rank;
mod sample;
mod select;
mod sort;

use std::ops::Range;

pub use prune::{Prune, prune};
use rank::{RankOf, Score};

use crate::error::{Error, Result};
use crate::par::Context;

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

impl Order {
    /// The ranks of the samples `range`, or the index of the first NaN where NaN is refused.
    fn ranks<T: Score, R: RankOf<T::Key>>(
        self,
        scores: &[T],
        range: Range<usize>,
    ) -> impl Iterator<Item = std::result::Result<R, usize>> {
        scores[range.clone()].iter().zip(range).map(move |(&score, index)| self.rank(score, index))
    }

    #[inline(always)]
    fn rank<T: Score, R: RankOf<T::Key>>(self, score: T, index: usize) -> std::result::Result<R, usize> {
        let is_nan = score.to_f64().is_nan();
        Ok(match self.nan {
            Nan::Raise if is_nan => return Err(index),
            Nan::Last if is_nan => R::new(R::LAST, index),
            Nan::First if is_nan => R::new(R::FIRST, index),
            _ if self.largest => R::new(!score.key(), index),
            _ => R::new(score.key(), index),
        })
    }
}

/// Refusal of the NaN at `index` of the argument `name`.
fn nan_at(name: &'static str, index: usize) -> Error {
    Error::parameter(
        name,
        "a NaN has no place in the order; drop the sample, or say where NaN belongs (nan=\"last\" or \"first\")",
        format!("NaN at index {index}"),
    )
}

/// The indices of the `k` scores that come first, best first.
///
/// O(n + k log k) on average: a sample gives a bound that few beyond the best k pass.
///
/// # Errors
/// [`Error::Parameter`] where `k` exceeds the number of scores or NaN is refused; those of the passes.
///
/// # Examples
/// ```
/// use puma_fast::order::{Nan, Order, top_k};
/// let context = puma_fast::Context::new(Some(1), &|| false)?;
/// let largest = Order { largest: true, nan: Nan::Raise };
/// assert_eq!(top_k(&context, &[1.0, 3.0, 3.0, 2.0], 3, largest)?, [1, 2, 3]);
/// # Ok::<(), puma_fast::Error>(())
/// ```
pub fn top_k<T: Score>(context: &Context<'_>, scores: &[T], k: usize, order: Order) -> Result<Vec<i64>> {
    if k > scores.len() {
        let got = format!("k = {k} of {} scores", scores.len());
        return Err(Error::parameter("k", "must be at most the number of scores", got));
    }
    if rank::is_narrow(scores.len()) {
        top_ranks::<T, T::Narrow>(context, scores, k, order)
    } else {
        top_ranks::<T, T::Wide>(context, scores, k, order)
    }
}

fn top_ranks<T: Score, R: RankOf<T::Key>>(
    context: &Context<'_>,
    scores: &[T],
    k: usize,
    order: Order,
) -> Result<Vec<i64>> {
    let best = select::best::<T, R>(context, scores, k, order)?;
    sort::indices(context, best.len(), |range| best[range].iter().copied().map(Ok))?
        .map_err(|index| nan_at("scores", index))
}

/// The indices of all scores in order. Equal scores keep their places, so this is a stable sort.
///
/// # Errors
/// [`Error::Parameter`] where NaN is refused; those of the passes.
///
/// # Examples
/// ```
/// use puma_fast::order::{Nan, Order, argsort};
/// let context = puma_fast::Context::new(Some(1), &|| false)?;
/// let ascending = Order { largest: false, nan: Nan::Last };
/// assert_eq!(argsort(&context, &[2.0, f32::NAN, 0.0, -0.0], ascending)?, [2, 3, 0, 1]);
/// # Ok::<(), puma_fast::Error>(())
/// ```
pub fn argsort<T: Score>(context: &Context<'_>, scores: &[T], order: Order) -> Result<Vec<i64>> {
    let sorted = if rank::is_narrow(scores.len()) {
        sort::indices(context, scores.len(), |range| order.ranks::<T, T::Narrow>(scores, range))?
    } else {
        sort::indices(context, scores.len(), |range| order.ranks::<T, T::Wide>(scores, range))?
    };
    sorted.map_err(|index| nan_at("scores", index))
}
