//! Where ranks come from: scores, or ranks that stand somewhere.

use std::ops::Range;

use crate::order::rank::{Rank, RankOf, Score};
use crate::order::{Nan, Order, is_nan};

/// Ranks at hand at once.
pub(super) const TILE: usize = 1 << 8;

/// Ranks by number, ascending within equal keys.
pub(in crate::order) trait Source<R: Rank>: Sync {
    /// Writes those from number `first` on.
    fn fill(&self, first: usize, ranks: &mut [R]);

    /// The first of a range that has none.
    fn refused(&self, range: Range<usize>) -> Option<usize>;

    /// Calls `f` with those of a range, tile by tile, and the number of the first.
    #[inline(always)]
    fn tiles(&self, range: Range<usize>, mut f: impl FnMut(usize, &[R])) {
        let mut tile = [R::LEAST; TILE];
        for start in range.clone().step_by(TILE) {
            let tile = &mut tile[..TILE.min(range.end - start)];
            self.fill(start, tile);
            f(start, tile);
        }
    }
}

impl<R: Rank> Source<R> for [R] {
    #[inline(always)]
    fn fill(&self, first: usize, ranks: &mut [R]) {
        ranks.copy_from_slice(&self[first..first + ranks.len()]);
    }

    fn refused(&self, _: Range<usize>) -> Option<usize> {
        None
    }
}

/// The ranks of scores in an order.
pub(in crate::order) struct Ordered<'a, T> {
    pub(in crate::order) scores: &'a [T],
    pub(in crate::order) order: Order,
}

impl<T: Score, R: RankOf<T::Key>> Source<R> for Ordered<'_, T> {
    #[inline(always)]
    fn fill(&self, first: usize, ranks: &mut [R]) {
        // In a variable the order is known to stay what it is while ranks are written.
        let order = self.order;
        let scores = &self.scores[first..first + ranks.len()];
        for (rank, (&score, index)) in ranks.iter_mut().zip(scores.iter().zip(first..)) {
            *rank = R::new(order.key(score), index);
        }
    }

    #[inline(always)]
    fn refused(&self, range: Range<usize>) -> Option<usize> {
        let scores = &self.scores[range.clone()];
        let any =
            self.order.nan == Nan::Raise && scores.iter().fold(false, |any, &score| any | is_nan(score));
        if any { range.zip(scores).find(|(_, score)| is_nan(**score)).map(|(i, _)| i) } else { None }
    }
}
