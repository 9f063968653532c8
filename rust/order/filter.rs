//! The first samples of one order without those of another, or only those, where each sample has two scores:
//! the filter of PUMA's Algorithm 2, which looks among the samples that hurt most for those of which the model
//! is not sure. Two cuts and one look at whoever lies within the first; neither selection is written down.

use super::rank::{self, Rank, RankOf, Score};
use super::sampled::Within;
use super::{Access, Order, cut, enough, together, within};
use crate::error::{Error, Result};
use crate::par::{CHUNK, Context};

/// The first `k` samples of an order.
#[derive(Clone, Copy, Debug)]
pub struct First<'a, T> {
    /// What the scores and `k` are called in messages.
    pub names: [&'static str; 2],
    /// One score for each sample.
    pub scores: &'a [T],
    /// How many.
    pub k: usize,
    /// Which come first.
    pub order: Order,
    /// Where the scores lie.
    pub access: Access,
}

/// The positions of those of the first of one order that are (`shared`) or are not among the first of
/// `others`, ascending: [`intersection`](super::intersection) or [`difference`](super::difference) of two
/// [`top_k_set`](super::top_k_set)s. Of a shard's samples those are given that are chosen in the whole.
///
/// # Errors
/// Those of [`top_k`](super::top_k), by the names of the scores at fault; [`Error::Shape`] where a sample has
/// only one of the scores.
///
/// # Examples
/// ```
/// use puma_fast::order::{Access, First, Nan, Order, filter};
/// let context = puma_fast::Context::new(Some(1), &|| false)?;
/// let [low, high] = [false, true].map(|largest| Order { largest, nan: Nan::Raise });
/// let access = Access::Random;
/// let hurting = First { names: ["influence", "k"], scores: &[-3.0, -2.0, 0.5, 1.0], k: 2, order: low, access };
/// let sure = First { names: ["confidence", "k"], scores: &[0.99, 0.3, 0.5, 0.9], k: 2, order: high, access };
/// assert_eq!(filter(&context, &hurting, &sure, false)?, [1]);
/// # Ok::<(), puma_fast::Error>(())
/// ```
pub fn filter<T: Score, U: Score>(
    context: &Context<'_>,
    first: &First<'_, T>,
    others: &First<'_, U>,
    shared: bool,
) -> Result<Vec<i64>> {
    let (len, other) = (first.scores.len(), others.scores.len());
    let alike = if len == other {
        Ok(())
    } else {
        let got = format!("{other} for {len} of {}", first.names[0]);
        Err(Error::shape(others.names[0], "needs one score for each sample", got))
    };
    together(context, alike)?;
    let rows = enough(context, len, first.names[1], first.k)?;
    enough(context, len, others.names[1], others.k)?;
    if rank::is_narrow(rows.total) {
        filtered::<T, T::Narrow, U, U::Narrow>(context, first, others, shared, rows.first)
    } else {
        filtered::<T, T::Wide, U, U::Wide>(context, first, others, shared, rows.first)
    }
}

fn filtered<T: Score, R: RankOf<T::Key>, U: Score, S: RankOf<U::Key>>(
    context: &Context<'_>,
    first: &First<'_, T>,
    others: &First<'_, U>,
    shared: bool,
    start: usize,
) -> Result<Vec<i64>> {
    let Within { cut: last, ranks, .. } = cut::<T, R>(context, first)?;
    let last_other = cut::<U, S>(context, others)?.cut;
    // Of others that are refused none is left: the second cut has seen them all.
    let stays = |i: usize| {
        let rank = others.order.rank::<U, S>(others.scores[i], start + i);
        rank.is_ok_and(|rank| Some(rank) <= last_other) == shared
    };
    if let Some(ranks) = ranks {
        let chosen = ranks.into_iter().map(Rank::index).filter(|&i| stays(i));
        return Ok(chosen.map(|i| i as i64).collect());
    }
    let chunks = context.map_chunks(first.scores.len(), CHUNK, |range| {
        let mut chosen = Vec::new();
        within(first.scores, start, first.order, last, range, |i| {
            if stays(i) {
                chosen.push((start + i) as i64);
            }
        });
        chosen
    })?;
    Ok(chunks.concat())
}
