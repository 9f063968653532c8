//! The ranks that come first, by a bound that a sample gives: one pass, and few ranks kept.

use super::rank::{RankOf, Score};
use super::sample::positions;
use super::{Order, nan_at};
use crate::error::Result;
use crate::par::{CHUNK, Context};

/// Ranks looked at to find the bound. The share of a bound found in m ranks is known to about 1/√m, so
/// the surplus that passes it is small.
const SAMPLE: usize = 1 << 14;

/// The ranks of the `k` scores that come first, in no order.
pub(super) fn best<T: Score, R: RankOf<T::Key>>(
    context: &Context<'_>,
    scores: &[T],
    k: usize,
    order: Order,
) -> Result<Vec<R>> {
    let mut kept = match bound(scores, k, order) {
        Some(bound) => within(context, scores, order, |rank: &R| *rank <= bound)?,
        None => Vec::new(),
    };
    if kept.len() < k || k == 0 {
        // No bound, or one that the sample set too low. With k = 0 the pass still looks for NaN.
        kept = within(context, scores, order, |_: &R| k > 0)?;
    }
    if k < kept.len() {
        kept.select_nth_unstable(k);
        kept.truncate(k);
    }
    Ok(kept)
}

/// A rank that the best `k` very likely reach and few others do; none where that would save nothing.
fn bound<T: Score, R: RankOf<T::Key>>(scores: &[T], k: usize, order: Order) -> Option<R> {
    let len = scores.len();
    if k == 0 || k > len / 8 || len < 4 * SAMPLE {
        return None;
    }
    // A NaN that is to be refused is found by the pass; here it may simply be left out.
    let mut sample: Vec<R> = positions(len, SAMPLE).filter_map(|i| order.rank(scores[i], i).ok()).collect();
    let expected = k as f64 / len as f64 * SAMPLE as f64;
    let at = (expected + 5.0 * expected.sqrt() + 5.0) as usize;
    (at < sample.len()).then(|| *sample.select_nth_unstable(at).1)
}

/// The ranks that pass `keep`, by index.
fn within<T: Score, R: RankOf<T::Key>>(
    context: &Context<'_>,
    scores: &[T],
    order: Order,
    keep: impl Fn(&R) -> bool + Sync,
) -> Result<Vec<R>> {
    let parts = context.map_chunks(scores.len(), CHUNK, |range| {
        let mut kept = Vec::new();
        for rank in order.ranks::<T, R>(scores, range) {
            let rank = rank?;
            if keep(&rank) {
                kept.push(rank);
            }
        }
        Ok(kept)
    })?;
    let parts: std::result::Result<Vec<Vec<R>>, usize> = parts.into_iter().collect();
    Ok(parts.map_err(|index| nan_at("scores", index))?.concat())
}

#[cfg(test)]
mod tests {
    use super::super::Nan;
    use super::super::rank::Rank;
    use super::*;

    const ASCENDING: Order = Order { largest: false, nan: Nan::Raise };

    #[test]
    fn the_wide_ranks_of_huge_arrays_choose_the_same() {
        let context = Context::new(Some(2), &|| false).unwrap();
        let scores: Vec<f32> = (0..200_000u64).map(|i| (i * i % 1009) as f32).collect();
        let mut narrow: Vec<u64> = best(&context, &scores, 77, ASCENDING).unwrap();
        let mut wide: Vec<u128> = best(&context, &scores, 77, ASCENDING).unwrap();
        narrow.sort_unstable();
        wide.sort_unstable();
        assert!(narrow.into_iter().map(Rank::index).eq(wide.into_iter().map(Rank::index)));
    }

    #[test]
    fn a_sample_that_misleads_costs_time_only() {
        let context = Context::new(Some(2), &|| false).unwrap();
        let len = 8 * SAMPLE;
        let mut seen = vec![false; len];
        positions(len, SAMPLE).for_each(|i| seen[i] = true);
        assert_eq!(seen.iter().filter(|&&seen| seen).count(), SAMPLE);
        // Small exactly where the sample looks: the bound is far too low for the best k.
        let scores: Vec<f32> = seen.iter().map(|&seen| f32::from(!seen)).collect();
        for k in [1, SAMPLE / 2, SAMPLE - 1, SAMPLE] {
            let best: Vec<u64> = best(&context, &scores, k, ASCENDING).unwrap();
            assert_eq!(best.len(), k);
            assert!(best.into_iter().all(|rank| seen[rank.index()]));
        }
        // The sample sees nothing of the best k: everything passes the bound.
        let scores: Vec<f32> = seen.iter().map(|&seen| f32::from(seen)).collect();
        let best: Vec<u64> = best(&context, &scores, 100, ASCENDING).unwrap();
        assert_eq!(best.len(), 100);
        assert!(best.into_iter().all(|rank| !seen[rank.index()]));
    }
}
