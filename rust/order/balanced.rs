//! Pruning class by class in memory: one pass counts the samples of each class in bins of about equal
//! weight, which gives the classes, their sizes and the bin of each class's cut; a second marks what lies
//! behind it and lists the few in that bin, of which the cut is chosen; the marks are then written as
//! positions. Where there are few classes `bracketed` does with one pass. Files and shards go the way of
//! narrow.rs, which keeps no marks.

use std::ops::Range;

use super::bins::{Bins, Cells};
use super::bits;
use super::classes::{Label, extent};
use super::rank::{Rank, RankOf, Score};
use super::selection::Selection;
use super::{Nan, Order, is_nan, nan_at};
use crate::error::Result;
use crate::par::{CHUNK, Context};
use crate::simd::dispatch;

/// Counters over all classes: 512 KB, half a second-level cache.
const COUNTERS: usize = 1 << 17;

/// The most and the least bins of a class; with fewer too much would share a cut's bin.
const MOST_BINS: usize = 1 << 9;
const LEAST_BINS: usize = 1 << 4;

/// Samples for each bin.
const PER_BIN: usize = 1 << 6;

/// The share of the samples, and the least of them, that may share the bins of the cuts.
const FEW_SHARE: usize = 8;
const LEAST_FEW: usize = 1 << 16;

/// Samples that are prepared in one loop and used in the next, and those of one look at the stop request.
const TILE: usize = 1 << 10;
const STEP: usize = 1 << 20;

/// What is pruned, all of it in memory.
pub(super) struct Balanced<'a, T, L> {
    pub(super) margins: &'a [T],
    pub(super) labels: &'a [L],
    pub(super) order: Order,
    /// The samples that stay, ascending.
    pub(super) protected: &'a [usize],
}

/// The samples of each class by bin. Classes have a row each, by label from the least on.
struct Histogram<K> {
    least: i64,
    bins: Bins<K>,
    bins_log2: u32,
    tally: Tally,
}

/// What one thread has counted.
struct Tally {
    counts: Vec<u32>,
    /// The first sample of each row.
    firsts: Vec<usize>,
    refused: Option<usize>,
}

/// The cut of one row: up to `low` samples go, from `high` on they stay, and of those between, which are
/// listed, the first `need` go.
#[derive(Clone, Copy)]
struct Cut<K> {
    edges: [K; 2],
    need: usize,
}

impl<T: Score, L: Label> Balanced<'_, T, L> {
    /// The samples that stay, where `quotas` says from the sizes of the classes, in the order of their
    /// first samples, and the classes of the protected samples how many of each go. None where this
    /// method is of no use.
    pub(super) fn kept<'s>(
        &self,
        context: &Context<'_>,
        quotas: impl Fn(&[usize], Vec<usize>) -> Result<Vec<usize>>,
    ) -> Result<Option<Selection<'s>>> {
        let Some(mut histogram) = self.histogram(context)? else { return Ok(None) };
        if let Some(index) = histogram.tally.refused {
            return Err(nan_at("margins", index));
        }
        let (sizes, rows) = histogram.classes();
        let mut class_of = vec![0; histogram.tally.firsts.len()];
        rows.iter().enumerate().for_each(|(class, &row)| class_of[row] = class);
        let row = |i: usize| (self.labels[i].into() - histogram.least) as usize;
        let quotas = quotas(&sizes, self.protected.iter().map(|&i| class_of[row(i)]).collect())?;
        for &i in self.protected {
            let at = histogram.at(row(i), histogram.bins.cell(self.order.key(self.margins[i])));
            histogram.tally.counts[at] -= 1;
        }
        let Some(cuts) = histogram.cuts::<T>(&rows, &quotas, self.margins.len()) else { return Ok(None) };
        let marks = self.marks(context, histogram.least, &cuts)?;
        let counts = marks.iter().map(|words| bits::count(words)).collect();
        Ok(Some(Selection::of_words(context, self.margins.len(), 0, counts, marks)))
    }

    fn histogram(&self, context: &Context<'_>) -> Result<Option<Histogram<T::Key>>> {
        let extents = context.map_chunks(self.labels.len(), CHUNK, |range| extent(&self.labels[range]))?;
        let extents = extents.into_iter().flatten();
        let Some((least, most)) = extents.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))) else {
            return Ok(None);
        };
        let (least, most): (i64, i64) = (least.into(), most.into());
        if most.abs_diff(least) >= (COUNTERS / LEAST_BINS) as u64 {
            return Ok(None);
        }
        let rows = (most - least) as usize + 1;
        let useful = (self.margins.len() / PER_BIN).clamp(1, MOST_BINS);
        let bins_log2 = useful.min(COUNTERS / rows).ilog2();
        let Some(bins) = Bins::new(self.margins, 1 << bins_log2, |score| self.order.key(score)) else {
            return Ok(None);
        };
        let none =
            || Tally { counts: vec![0; rows << bins_log2], firsts: vec![usize::MAX; rows], refused: None };
        let mut histogram = Histogram { least, bins, bins_log2, tally: none() };
        let tallies = context.accumulate(self.margins.len(), STEP, none, |tally, range| {
            dispatch(
                #[inline(always)]
                || {
                    for start in range.clone().step_by(TILE) {
                        self.count(&histogram, tally, start..range.end.min(start + TILE));
                    }
                },
            );
        })?;
        for tally in &tallies {
            histogram.tally.add(tally);
        }
        Ok(Some(histogram))
    }

    /// Counts one tile.
    #[inline(always)]
    fn count(&self, histogram: &Histogram<T::Key>, tally: &mut Tally, tile: Range<usize>) {
        let (mut cells, mut rows) = ([0; TILE], [0; TILE]);
        let mut any_nan = false;
        let scores = &self.margins[tile.clone()];
        for (cell, &score) in cells.iter_mut().zip(scores) {
            *cell = histogram.bins.cell(self.order.key(score));
            any_nan |= is_nan(score);
        }
        for (row, &label) in rows.iter_mut().zip(&self.labels[tile.clone()]) {
            *row = label.into().wrapping_sub(histogram.least) as u32;
        }
        if any_nan && self.order.nan == Nan::Raise {
            let first = scores.iter().position(|&score| is_nan(score)).map(|i| tile.start + i);
            tally.refused = tally.refused.into_iter().chain(first).min();
        }
        for ((&cell, &row), i) in cells.iter().zip(&rows).zip(tile) {
            let count = &mut tally.counts[histogram.at(row as usize, cell)];
            // A row's first sample is the first of its bin too, which is seldom the case.
            if *count == 0 {
                let first = &mut tally.firsts[row as usize];
                *first = i.min(*first);
            }
            *count += 1;
        }
    }

    /// One bit for each sample that stays, by chunk.
    fn marks(&self, context: &Context<'_>, least: i64, cuts: &[Cut<T::Key>]) -> Result<Vec<Vec<u64>>> {
        let edges: Vec<[T::Key; 2]> = cuts.iter().map(|cut| cut.edges).collect();
        let chunks = context.map_chunks(self.margins.len(), CHUNK, |range| {
            let mut words = vec![0u64; range.len().div_ceil(64)];
            let mut listed: Vec<(u32, T::Narrow)> = Vec::new();
            dispatch(
                #[inline(always)]
                || {
                    for (start, words) in range.clone().step_by(TILE).zip(words.chunks_mut(TILE / 64)) {
                        let tile = start..range.end.min(start + TILE);
                        self.mark(least, &edges, tile, words, &mut listed);
                    }
                },
            );
            (words, listed)
        })?;
        let (mut marks, listed): (Vec<_>, Vec<_>) = chunks.into_iter().unzip();
        let mut mark = |i: usize| marks[i / CHUNK][i % CHUNK / 64] |= 1 << (i % 64);
        let mut of_row: Vec<Vec<T::Narrow>> = vec![Vec::new(); cuts.len()];
        for &(row, rank) in listed.iter().flatten() {
            of_row[row as usize].push(rank);
        }
        for (cut, mut ranks) in cuts.iter().zip(of_row) {
            if !self.protected.is_empty() {
                ranks.retain(|rank| self.protected.binary_search(&rank.index()).is_err());
            }
            if cut.need < ranks.len() {
                let (_, first, others) = ranks.select_nth_unstable(cut.need);
                mark(first.index());
                for rank in others {
                    mark(rank.index());
                }
            }
        }
        for &i in self.protected {
            mark(i);
        }
        Ok(marks)
    }

    /// Marks one tile, and lists what lies between its row's edges.
    #[inline(always)]
    fn mark(
        &self,
        least: i64,
        edges: &[[T::Key; 2]],
        tile: Range<usize>,
        words: &mut [u64],
        listed: &mut Vec<(u32, T::Narrow)>,
    ) {
        let (mut keys, mut lows, mut highs) =
            ([T::Narrow::FIRST; TILE], [T::Narrow::FIRST; TILE], [T::Narrow::LAST; TILE]);
        let (mut stay, mut open) = ([0; TILE], [0; TILE]);
        let (scores, labels) = (&self.margins[tile.clone()], &self.labels[tile.clone()]);
        let row = |label: L| label.into().wrapping_sub(least) as usize;
        for (key, &score) in keys.iter_mut().zip(scores) {
            *key = self.order.key(score);
        }
        for ((low, high), &label) in lows.iter_mut().zip(&mut highs).zip(labels) {
            [*low, *high] = edges[row(label)];
        }
        for i in 0..TILE {
            stay[i] = u8::from(keys[i] > highs[i]);
            open[i] = u8::from(keys[i] >= lows[i]) & u8::from(keys[i] <= highs[i]);
        }
        // Behind the end nothing is.
        stay[scores.len()..].fill(0);
        open[scores.len()..].fill(0);
        let (stay, open) = (stay.as_chunks().0, open.as_chunks().0);
        for (((word, stay), open), first) in words.iter_mut().zip(stay).zip(open).zip((0..).step_by(64)) {
            *word = bits::packed(stay);
            let mut open = bits::packed(open);
            while open != 0 {
                let i = first + open.trailing_zeros() as usize;
                listed
                    .push((row(labels[i]) as u32, T::Narrow::new(self.order.key(scores[i]), tile.start + i)));
                open &= open - 1;
            }
        }
    }
}

/// The rows that have samples, in the order of their first ones.
pub(super) fn by_first(firsts: &[usize]) -> Vec<usize> {
    let mut rows: Vec<usize> = (0..firsts.len()).filter(|&row| firsts[row] < usize::MAX).collect();
    rows.sort_unstable_by_key(|&row| firsts[row]);
    rows
}

impl<K: Cells> Histogram<K> {
    #[inline(always)]
    fn at(&self, row: usize, cell: u32) -> usize {
        row << self.bins_log2 | self.bins.of(cell)
    }

    /// The sizes of the classes and their rows, in the order of their first samples.
    fn classes(&self) -> (Vec<usize>, Vec<usize>) {
        let rows = by_first(&self.tally.firsts);
        let size = |&row: &usize| self.row(row).iter().map(|&count| count as usize).sum();
        (rows.iter().map(size).collect(), rows)
    }

    fn row(&self, row: usize) -> &[u32] {
        &self.tally.counts[row << self.bins_log2..(row + 1) << self.bins_log2]
    }

    /// The cut of each row; None where too many of the `len` samples share the bins of the cuts.
    fn cuts<T: Score<Key = K>>(&self, rows: &[usize], quotas: &[usize], len: usize) -> Option<Vec<Cut<K>>> {
        let (first, last) = (T::Narrow::FIRST, T::Narrow::LAST);
        let mut cuts = vec![Cut { edges: [first, last], need: 0 }; self.tally.firsts.len()];
        let mut shared = 0;
        for (&row, &quota) in rows.iter().zip(quotas) {
            let mut need = quota;
            let cut = self.row(row).iter().position(|&count| {
                let within = need < count as usize;
                need -= if within { 0 } else { count as usize };
                within
            });
            // A row of which all go has no bin of a cut; only the last key of all can then be listed.
            let Some(bin) = cut else {
                cuts[row] = Cut { edges: [last; 2], need: usize::MAX };
                continue;
            };
            shared += self.row(row)[bin] as usize;
            cuts[row] = Cut { edges: self.bins.edges(bin, [first, last]), need };
        }
        (shared <= (len / FEW_SHARE).max(LEAST_FEW)).then_some(cuts)
    }
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(sum, count)| *sum += count);
        self.firsts.iter_mut().zip(&other.firsts).for_each(|(first, &other)| *first = other.min(*first));
        self.refused = self.refused.into_iter().chain(other.refused).min();
    }
}
