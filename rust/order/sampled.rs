//! The cut after the first k ranks by a sample: two of its quantiles very likely enclose the cut, so one
//! scan counts what lies before them and lists the little between. An unlucky sample is noticed, and
//! the cut found by narrowing.

use std::ops::Range;

use super::bits::{self, Places};
use super::edge::{Window, tiles, words};
use super::rank::{Rank, RankOf, Score};
use super::sample::positions;
use super::scan::{BLOCK, Marks};
use super::{Nan, Order, is_nan, nan_at};
use crate::error::Result;
use crate::par::{CHUNK, Context};
use crate::simd::dispatch;

/// Ranks looked at. A share is known from m of them to about 1/√m, so little lies between the quantiles.
const SAMPLE: usize = 1 << 15;

/// Fewer scores than this are narrowed down at once: a sample of them says too little.
const LEAST: usize = 1 << 14;

/// Standard deviations between the cut expected and the quantiles taken.
const DEVIATIONS: f64 = 4.0;

/// The least n / k for which everything up to the cut is listed, so that no second scan is needed.
const FEW: usize = 64;

/// What lies up to a cut.
pub(super) struct Within<R> {
    /// The last rank within; none where nothing is.
    pub(super) cut: Option<R>,
    /// How many ranks lie within, by chunk.
    pub(super) counts: Vec<usize>,
    /// The ranks within by index, where they were listed anyway.
    pub(super) ranks: Option<Vec<R>>,
    /// Else, where they were marked, one bit for each sample within, by chunk.
    pub(super) marks: Option<Vec<Vec<u64>>>,
}

impl<R> Within<R> {
    /// The bits of a tile, where they are known.
    #[inline(always)]
    pub(super) fn known(&self, tile: &Range<usize>) -> Option<&[u64]> {
        let marks = &self.marks.as_ref()?[tile.start / CHUNK];
        Some(&marks[tile.start % CHUNK / BLOCK..][..words(tile)])
    }
}

/// What a scan finds in a chunk.
struct Found<R> {
    /// How many ranks lie before the window.
    before: usize,
    /// One bit for each of them, where some may.
    marks: Vec<u64>,
    /// The ranks in the window.
    listed: Vec<R>,
}

/// The cut after the first `k` of the ranks, 0 < `k`; None where a sample is of no use.
pub(super) fn cut<T: Score, R: RankOf<T::Key>>(
    context: &Context<'_>,
    name: &'static str,
    scores: &[T],
    k: usize,
    order: Order,
) -> Result<Option<Within<R>>> {
    let Some((sure, least)) = bracket::<T, R>(scores, k, order) else { return Ok(None) };
    let Some(window) = Window::between(order, sure, least) else { return Ok(None) };
    let marked = sure.is_some();
    let chunks =
        context.map_chunks(scores.len(), CHUNK, |range| found(scores, order, &window, marked, range))?;
    let chunks: std::result::Result<Vec<Found<R>>, usize> = chunks.into_iter().collect();
    let mut chunks = chunks.map_err(|index| nan_at(name, index))?;
    let before: usize = chunks.iter().map(|chunk| chunk.before).sum();
    let listed = || chunks.iter().flat_map(|chunk| &chunk.listed).copied().collect::<Vec<R>>();
    let mut ranks = listed();
    let need = k.wrapping_sub(before).wrapping_sub(1);
    if need >= ranks.len() {
        return Ok(None);
    }
    let cut = *ranks.select_nth_unstable(need).1;
    let within = |chunk: &Found<R>| chunk.listed.iter().filter(|&&rank| rank <= cut).count();
    let counts = chunks.iter().map(|chunk| chunk.before + within(chunk)).collect();
    let (ranks, marks) = if marked {
        for Found { marks, listed, .. } in &mut chunks {
            for rank in listed {
                let place = rank.index() % CHUNK;
                marks[place / BLOCK] |= u64::from(*rank <= cut) << (place % BLOCK);
            }
        }
        (None, Some(chunks.into_iter().map(|chunk| chunk.marks).collect()))
    } else {
        (Some(up_to(listed(), cut)), None)
    };
    Ok(Some(Within { cut: Some(cut), counts, ranks, marks }))
}

/// The `ranks` up to a cut, by index as before.
fn up_to<R: Rank>(mut ranks: Vec<R>, cut: R) -> Vec<R> {
    let mut len = 0;
    for i in 0..ranks.len() {
        // Written whether or not it stays, so that nothing is decided.
        ranks[len] = ranks[i];
        len += usize::from(ranks[i] <= cut);
    }
    ranks.truncate(len);
    ranks
}

/// What there is in a range; or the first NaN, if refused.
fn found<T: Score, R: RankOf<T::Key>>(
    scores: &[T],
    order: Order,
    window: &Window<T>,
    marked: bool,
    range: Range<usize>,
) -> std::result::Result<Found<R>, usize> {
    let room = if marked { CHUNK / BLOCK } else { 0 };
    let mut found = Found { before: 0, marks: Vec::with_capacity(room), listed: Vec::new() };
    let (mut refused, mut marks, mut places) = (None, Marks::NONE, Places::new());
    dispatch(
        #[inline(always)]
        || {
            for tile in tiles(range) {
                let (scores, start) = (&scores[tile.clone()], tile.start);
                window.mark(scores, start, &mut marks);
                if marks.any_nan && order.nan == Nan::Raise && refused.is_none() {
                    refused = scores.iter().position(|&score| is_nan(score)).map(|i| start + i);
                }
                let words = words(&tile);
                if marked {
                    found.before += bits::count(&marks.sure[..words]);
                    found.marks.extend(&marks.sure[..words]);
                }
                let listed = places.of(marks.only_least(words));
                found.listed.extend(listed.map(|i| R::new(order.key(scores[i]), start + i)));
            }
        },
    );
    refused.map_or(Ok(found), Err)
}

/// Two ranks between which the `k`-th very likely lies; the first is left out where few lie before it.
fn bracket<T: Score, R: RankOf<T::Key>>(scores: &[T], k: usize, order: Order) -> Option<(Option<R>, R)> {
    let len = scores.len();
    let few = k <= len / FEW;
    if len < LEAST {
        return None;
    }
    let count = (len / 4).min(if few { SAMPLE / 4 } else { SAMPLE });
    // A NaN that is to be refused is found by the scan; here it may simply be left out.
    let mut sample: Vec<R> = positions(len, count).filter_map(|i| order.rank(scores[i], i).ok()).collect();
    let share = k as f64 / len as f64;
    let expected = share * count as f64;
    let margin = DEVIATIONS * (expected * (1.0 - share)).sqrt() + DEVIATIONS;
    let last = (expected + margin) as usize;
    if last >= sample.len() {
        return None;
    }
    let (before, &mut last, _) = sample.select_nth_unstable(last);
    let first = (expected - margin) as usize;
    Some(if few || first == 0 { (None, last) } else { (Some(*before.select_nth_unstable(first).1), last) })
}

#[cfg(test)]
mod tests {
    use super::super::Nan;
    use super::*;

    const ASCENDING: Order = Order { largest: false, nan: Nan::Raise };

    #[test]
    fn a_sample_that_misleads_is_noticed() {
        let context = Context::new(Some(2), &|| false).unwrap();
        let len = 1 << 17;
        let mut seen = vec![false; len];
        positions(len, SAMPLE / 4).for_each(|i| seen[i] = true);
        // Small exactly where the sample looks: the quantile is far too low for the best k.
        let scores: Vec<f32> = seen.iter().map(|&seen| f32::from(!seen)).collect();
        let seen_places: Vec<usize> = (0..len).filter(|&i| seen[i]).collect();
        for k in [1, 500, len / FEW] {
            let found = cut::<f32, u64>(&context, "scores", &scores, k, ASCENDING).unwrap();
            if let Some(found) = found {
                let places: Vec<usize> = found.ranks.unwrap().into_iter().map(Rank::index).collect();
                assert_eq!(places, seen_places[..k]);
            }
        }
        // The sample sees nothing of the best k: far more than k pass, and the first of them are right.
        let scores: Vec<f32> = seen.iter().map(|&seen| f32::from(seen)).collect();
        let found = cut::<f32, u64>(&context, "scores", &scores, 100, ASCENDING).unwrap().unwrap();
        assert_eq!(found.ranks.unwrap().len(), 100);
    }

    #[test]
    fn counts_by_chunk_add_up_whatever_the_share() {
        let context = Context::new(Some(2), &|| false).unwrap();
        let scores: Vec<f64> = (0..200_000u64).map(|i| (i * i % 1009) as f64).collect();
        for k in [1, 77, 3000, 50_000, 100_000, 190_000] {
            let found = cut::<f64, u128>(&context, "scores", &scores, k, ASCENDING).unwrap().unwrap();
            assert_eq!(found.counts.iter().sum::<usize>(), k);
            let rank = |i| ASCENDING.rank::<f64, u128>(scores[i], i).unwrap();
            assert_eq!((0..scores.len()).filter(|&i| Some(rank(i)) <= found.cut).count(), k);
        }
    }
}
