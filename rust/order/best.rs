//! The best k: the cut after them, by a sample or by histograms, and what lies before it, sorted or as a set.

use super::bits::Places;
use super::edge::{Front, tiles};
use super::narrow::{self, Pool, cuts};
use super::rank::{RankOf, Score, by_width};
use super::sampled::{self, Within};
use super::scan::Marks;
use super::selection::Selection;
use super::{Access, First, Order, counting, nan_at, radix};
use crate::error::{Error, Result};
use crate::par::{CHUNK, Context};
use crate::shard::Rows;
use crate::simd::dispatch;

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
    let context = &counting(context, (searches(context, access) + 1) * scores.len());
    by_width!(rows.total, ranked::<T>(context, scores, order, access, out))
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
    let context = &counting(context, (searches(context, access) + 1) * scores.len());
    by_width!(rows.total, set::<T>(context, scores, k, order, access))
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

/// How often scores are read until their cut is known, unless a sample misleads or too many are equal.
pub(super) fn searches(context: &Context<'_>, access: Access) -> usize {
    if access == Access::Random && context.shards().is_whole() { 1 } else { 2 }
}

/// The cut after the first `k`, by whichever road is open.
pub(super) fn cut<T: Score, R: RankOf<T::Key>>(
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
    Ok(Within { cut: cuts.last[0], counts: cuts.counts, ranks: None, marks: None })
}

fn ranked<T: Score, R: RankOf<T::Key>>(
    context: &Context<'_>,
    scores: &[T],
    order: Order,
    access: Access,
    out: &mut [i64],
) -> Result<()> {
    let first = context.shards().rows(scores.len())?.first;
    let Within { cut, ranks, counts, .. } =
        cut::<T, R>(context, &First { names: ["scores", "k"], scores, k: out.len(), order, access })?;
    let mut ranks = match ranks {
        Some(ranks) => ranks,
        None => listed(context, scores, first, &Front::<T, R>::new(order, cut), &counts)?,
    };
    if !context.shards().is_whole() {
        let words: Vec<u64> = ranks.iter().flat_map(|rank| rank.to_words()).collect();
        let words = narrow::concatenated(context, &words)?;
        ranks = words.chunks_exact(2).map(|rank| R::from_words([rank[0], rank[1]])).collect();
    }
    radix::sort(context, &ranks[..], out)?.map_err(|index| nan_at("scores", index))
}

/// The ranks of a front by index, of which `counts` lie in each chunk.
fn listed<T: Score, R: RankOf<T::Key>>(
    context: &Context<'_>,
    scores: &[T],
    first: usize,
    front: &Front<T, R>,
    counts: &[usize],
) -> Result<Vec<R>> {
    let chunks = context.map_chunks(scores.len(), CHUNK, |range| {
        let mut ranks = Vec::with_capacity(counts[range.start / CHUNK]);
        let (mut marks, mut places) = (Marks::NONE, Places::new());
        dispatch(
            #[inline(always)]
            || {
                for tile in tiles(range) {
                    let (scores, start) = (&scores[tile.clone()], first + tile.start);
                    let within = places.of(front.mark(scores, start, &mut marks));
                    ranks.extend(within.map(|i| R::new(front.order.key(scores[i]), start + i)));
                }
            },
        );
        ranks
    })?;
    Ok(chunks.concat())
}

fn set<'a, T: Score, R: RankOf<T::Key>>(
    context: &Context<'_>,
    scores: &'a [T],
    k: usize,
    order: Order,
    access: Access,
) -> Result<Selection<'a>> {
    let first = context.shards().rows(scores.len())?.first;
    let Within { cut, counts, ranks, marks } =
        cut::<T, R>(context, &First { names: ["scores", "k"], scores, k, order, access })?;
    if let Some(ranks) = ranks {
        let positions = ranks.into_iter().map(|rank| rank.index() as i64).collect();
        return Ok(Selection::of_positions(context, scores.len(), positions));
    }
    if let Some(marks) = marks {
        return Ok(Selection::of_words(context, scores.len(), first, counts, marks));
    }
    let front = Front::<T, R>::new(order, cut);
    Ok(Selection::marked(context, scores.len(), first, counts, move |tile, marks| {
        front.mark(&scores[tile.clone()], first + tile.start, marks)
    }))
}
