//! A cut between ranks as bounds on floats, so that the scan compares nothing but scores: before the
//! cut's own index an equal score lies within, behind it only a better one does.

use std::ops::Range;

use super::rank::{RankOf, Score};
use super::scan::{Bounds, Found, TILE};
use super::{Nan, Order};
use crate::error::Result;
use crate::par::{CHUNK, Context};

/// The number counted in a chunk, and the ranks listed.
pub(super) type Part<R> = (usize, Vec<R>);

/// Where a window begins or ends.
#[derive(Clone, Copy, Debug)]
struct Edge<T> {
    /// The score, turned about so that larger comes first; NaN: nothing lies before the edge.
    score: T,
    /// The sample at the edge.
    index: usize,
    /// Whether equal scores lie before the edge up to `index`, or behind `index`.
    upto: bool,
}

impl<T: Score> Edge<T> {
    const NONE: Self = Self { score: T::NAN, index: usize::MAX, upto: true };

    /// The score that samples from `start` on, up to the next edge, must reach.
    fn at(self, start: usize) -> T {
        if (start <= self.index) == self.upto { self.score } else { self.score.above() }
    }
}

/// A range of ranks: those up to one edge are counted, those after it up to another are listed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window<T> {
    negate: bool,
    nan: bool,
    sure: Edge<T>,
    least: Edge<T>,
}

impl<T: Score> Window<T> {
    /// Counts the ranks up to `sure` and lists the others up to `least`. None where an edge is no number.
    pub(super) fn between<R: RankOf<T::Key>>(order: Order, sure: Option<R>, least: R) -> Option<Self> {
        let edge = |rank: R| {
            let key = rank.key();
            if key == R::FIRST || key == R::LAST {
                return None;
            }
            let score = T::of_key(if order.largest { !key } else { key });
            let score = if order.largest { score } else { -score };
            Some(Edge { score, index: rank.index(), upto: true })
        };
        Some(Self {
            negate: !order.largest,
            // A NaN that is refused is listed to be found.
            nan: order.nan != Nan::Last,
            sure: sure.map_or(Some(Edge::NONE), edge)?,
            least: edge(least)?,
        })
    }

    /// Lists the scores from `low` to `high`, and NaN if `nan`.
    pub(super) fn of_scores(low: T, high: T, nan: bool) -> Self {
        let sure = Edge { score: high.above(), ..Edge::NONE };
        Self { negate: false, nan, sure, least: Edge { score: low, ..Edge::NONE } }
    }

    /// Lists what `self`, which counts nothing, does not list.
    pub(super) fn others(self) -> Self {
        let least = Edge { score: -self.least.score, upto: !self.least.upto, ..self.least };
        Self { negate: !self.negate, nan: !self.nan, least, ..self }
    }

    /// Scans the samples `range`, the first of `scores` being number `first` of all. Calls `each` with the
    /// position of a tile and the positions listed within it; returns how many are counted.
    pub(super) fn scan(
        &self,
        scores: &[T],
        first: usize,
        range: Range<usize>,
        found: &mut Found,
        mut each: impl FnMut(usize, &[u32]),
    ) -> usize {
        let mut ends = [self.sure, self.least]
            .map(|edge| edge.index.saturating_add(1).saturating_sub(first).clamp(range.start, range.end));
        ends.sort_unstable();
        let (mut start, mut counted) = (range.start, 0);
        for end in [ends[0], ends[1], range.end] {
            let bounds = Bounds {
                negate: self.negate,
                nan: self.nan,
                sure: self.sure.at(first + start),
                least: self.least.at(first + start),
            };
            for start in (start..end).step_by(TILE) {
                counted += T::scan(&scores[start..end.min(start + TILE)], &bounds, found);
                each(start, found.positions());
            }
            start = end;
        }
        counted
    }

    /// The number counted and the ranks listed, by chunk; or the index of a NaN that is refused.
    pub(super) fn ranks<R: RankOf<T::Key>>(
        &self,
        context: &Context<'_>,
        scores: &[T],
        first: usize,
        order: Order,
    ) -> Result<std::result::Result<Vec<Part<R>>, usize>> {
        let chunks = context.map_chunks(scores.len(), CHUNK, |range| {
            let (mut ranks, mut refused) = (Vec::new(), None);
            let counted = self.scan(scores, first, range, &mut Found::new(), |tile, positions| {
                for i in positions.iter().map(|&position| tile + position as usize) {
                    match order.rank(scores[i], first + i) {
                        Ok(rank) => ranks.push(rank),
                        Err(index) => refused = refused.or(Some(index)),
                    }
                }
            });
            refused.map_or(Ok((counted, ranks)), Err)
        })?;
        Ok(chunks.into_iter().collect())
    }
}
