//! The first samples of one order without those of another, or only those, where each sample has two scores:
//! the filter of PUMA's Algorithm 2, which looks among the samples that hurt most for those of which the model
//! is not sure. Two cuts and one look at both scores of each sample; neither selection is written down.

use super::best::{cut, enough, searches};
use super::bits;
use super::edge::{Front, tiles};
use super::rank::{Rank, RankOf, Score, by_width};
use super::scan::{BLOCK, Marks};
use super::selection::Selection;
use super::{Access, Order, counting, together};
use crate::error::{Error, Result};
use crate::par::{CHUNK, Context};
use crate::simd::dispatch;

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

/// Those of the first of one order that are (`shared`) or are not among the first of `others`:
/// [`intersection`](super::intersection) or [`difference`](super::difference) of two
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
/// assert_eq!(filter(&context, &hurting, &sure, false)?.positions(&context)?, [1]);
/// # Ok::<(), puma_fast::Error>(())
/// ```
pub fn filter<T: Score, U: Score>(
    context: &Context<'_>,
    first: &First<'_, T>,
    others: &First<'_, U>,
    shared: bool,
) -> Result<Selection<'static>> {
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
    let searches = searches(context, first.access) + searches(context, others.access);
    let context = &counting(context, (searches + 2) * len);
    by_width!(rows.total, filtered::<T, U>(context, first, others, shared, rows.first))
}

fn filtered<T: Score, R: RankOf<T::Key>, U: Score, S: RankOf<U::Key>>(
    context: &Context<'_>,
    first: &First<'_, T>,
    others: &First<'_, U>,
    shared: bool,
    start: usize,
) -> Result<Selection<'static>> {
    let one = cut::<T, R>(context, first)?;
    let two = cut::<U, S>(context, others)?;
    let len = first.scores.len();
    if let Some(ranks) = one.ranks {
        // Of others that are refused none is left: the second cut has seen them all.
        let place = |i: usize| S::new(others.order.key(others.scores[i]), start + i);
        let stays = |&i: &usize| (Some(place(i)) <= two.cut) == shared;
        let chosen = ranks.into_iter().map(Rank::index).filter(stays).map(|i| i as i64).collect();
        return Ok(Selection::of_positions(context, len, chosen));
    }
    let front = Front::<T, R>::new(first.order, one.cut);
    let other = Front::<U, S>::new(others.order, two.cut);
    let chosen = context.map_chunks(len, CHUNK, |range| {
        let (mut marks, mut other_marks, mut count) = (Marks::NONE, Marks::NONE, 0);
        let mut words = Vec::with_capacity(CHUNK / BLOCK);
        dispatch(
            #[inline(always)]
            || {
                for tile in tiles(range) {
                    let place = start + tile.start;
                    let within = one
                        .known(&tile)
                        .unwrap_or_else(|| front.mark(&first.scores[tile.clone()], place, &mut marks));
                    let within_other = two
                        .known(&tile)
                        .unwrap_or_else(|| other.mark(&others.scores[tile.clone()], place, &mut other_marks));
                    let both = within.iter().zip(within_other);
                    let before = words.len();
                    words.extend(both.map(|(one, two)| one & if shared { *two } else { !*two }));
                    count += bits::count(&words[before..]);
                }
            },
        );
        (count, words)
    })?;
    let (counts, chosen): (Vec<usize>, Vec<Vec<u64>>) = chosen.into_iter().unzip();
    Ok(Selection::of_words(context, len, start, counts, chosen))
}
