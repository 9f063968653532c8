//! A cut between ranks as bounds on floats, so that the scan compares nothing but scores: up to the cut's own
//! index an equal score lies within, behind it only a better one does.

use std::ops::Range;

use super::bits;
use super::rank::{RankOf, Score};
use super::scan::{BLOCK, Bounds, Marks, TILE};
use super::{Nan, Order};

/// Where a window ends.
#[derive(Clone, Copy, Debug)]
struct Edge<T> {
    /// The score, turned about so that larger comes first; NaN: nothing lies before the edge.
    score: T,
    /// The last sample of this score that lies before the edge.
    index: usize,
}

impl<T: Score> Edge<T> {
    const NONE: Self = Self { score: T::NAN, index: usize::MAX };

    /// The score that samples from `start` on, up to the edge's own, must reach.
    fn at(self, start: usize) -> T {
        if start <= self.index { self.score } else { self.score.above() }
    }

    /// The first place behind the edge's own sample among the `len` from `first` on, of which some come before.
    fn behind(self, first: usize, len: usize) -> Option<usize> {
        self.index.saturating_add(1).checked_sub(first).filter(|&place| 0 < place && place < len)
    }
}

/// Two ranges of ranks, one within the other: those up to one edge, and those up to another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window<T> {
    negate: bool,
    nan: bool,
    sure: Edge<T>,
    least: Edge<T>,
}

impl<T: Score> Window<T> {
    /// The ranks up to `sure` and those up to `least`, which comes after. None where an edge is no number.
    pub(super) fn between<R: RankOf<T::Key>>(order: Order, sure: Option<R>, least: R) -> Option<Self> {
        let edge = |rank: R| {
            let key = rank.key();
            if key == R::FIRST || key == R::LAST {
                return None;
            }
            let score = T::of_key(if order.largest { !key } else { key });
            let score = if order.largest { score } else { -score };
            Some(Edge { score, index: rank.index() })
        };
        Some(Self {
            negate: !order.largest,
            // A NaN that is refused is marked to be found.
            nan: order.nan != Nan::Last,
            sure: sure.map_or(Some(Edge::NONE), edge)?,
            least: edge(least)?,
        })
    }

    /// The scores above `high` and those from `low` on, NaN among these if `nan`.
    pub(super) fn of_scores(low: T, high: T, nan: bool) -> Self {
        let sure = Edge { score: high.above(), ..Edge::NONE };
        Self { negate: false, nan, sure, least: Edge { score: low, ..Edge::NONE } }
    }

    /// Marks a tile of scores, the first of which is number `first` of all.
    #[inline(always)]
    pub(super) fn mark(&self, scores: &[T], first: usize, marks: &mut Marks) {
        let scan = |place: usize, marks: &mut Marks| {
            let (sure, least) = (self.sure.at(first + place), self.least.at(first + place));
            T::scan(scores, &Bounds { negate: self.negate, nan: self.nan, sure, least }, marks);
        };
        scan(0, marks);
        let behind = [self.sure, self.least].map(|edge| edge.behind(first, scores.len()));
        if behind != [None; 2] {
            let mut others = Marks::NONE;
            if let Some(place) = behind[0] {
                scan(place, &mut others);
                bits::splice(&mut marks.sure, &others.sure, place);
            }
            if let Some(place) = behind[1] {
                scan(place, &mut others);
                bits::splice(&mut marks.least, &others.least, place);
            }
        }
    }
}

/// The tiles of a range.
pub(super) fn tiles(range: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let end = range.end;
    range.step_by(TILE).map(move |start| start..end.min(start + TILE))
}

/// The words that hold a tile's bits.
pub(super) const fn words(tile: &Range<usize>) -> usize {
    (tile.end - tile.start).div_ceil(BLOCK)
}

/// The samples up to a cut.
pub(super) struct Front<T, R> {
    pub(super) order: Order,
    cut: Option<R>,
    /// The same as bounds, where the cut is a number.
    window: Option<Window<T>>,
}

impl<T: Score, R: RankOf<T::Key>> Front<T, R> {
    pub(super) fn new(order: Order, cut: Option<R>) -> Self {
        Self { order, cut, window: cut.and_then(|cut| Window::between(order, None, cut)) }
    }

    /// The samples within of a tile of scores, the first of which is number `first` of all, as bits.
    #[inline(always)]
    pub(super) fn mark<'m>(&self, scores: &[T], first: usize, marks: &'m mut Marks) -> &'m mut [u64] {
        if let Some(window) = &self.window {
            window.mark(scores, first, marks);
        } else {
            marks.least.fill(0);
            for (i, &score) in scores.iter().enumerate() {
                let within =
                    self.order.rank::<T, R>(score, first + i).is_ok_and(|rank| Some(rank) <= self.cut);
                marks.least[i / BLOCK] |= u64::from(within) << (i % BLOCK);
            }
        }
        &mut marks.least[..scores.len().div_ceil(BLOCK)]
    }
}
