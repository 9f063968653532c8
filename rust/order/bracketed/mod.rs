//! Pruning of few classes in memory. A sample brackets each class's cut; one pass counts the samples of each
//! class before and behind its bracket and, by bins, within, marks those behind and lists those within. That
//! gives the classes, their quotas and the bin of each class's cut; the few samples of that bin are ranked. The
//! marks are then written as positions. A sample that misleads is noticed, and balanced.rs goes another way.

mod tally;
mod tile;

use std::ops::Range;

use super::balanced::Balanced;
use super::bits::{self, Places};
use super::brackets::{BEHIND, BINS, Grid, Line, Sample};
use super::classes::{Label, extent};
use super::rank::{Rank, RankOf, Score};
use super::selection::Selection;
use super::{Nan, is_nan, nan_at};
use crate::error::Result;
use crate::par::{CHUNK, Context};
use crate::simd::dispatch;
use tally::{Chunk, Cut, Tally};
use tile::{TILE, Tile, ask_for};

/// Samples of one look at the stop request.
const STEP: usize = 4 * CHUNK;

impl<T: Score, L: Label> Balanced<'_, T, L> {
    /// What [`Balanced::kept`] gives, where about `ratio` of each class goes. None where this method is of no use.
    pub(super) fn bracketed<'s>(
        &self,
        context: &Context<'_>,
        ratio: f64,
        quotas: impl Fn(&[usize], Vec<usize>) -> Result<Vec<usize>>,
    ) -> Result<Option<Selection<'s>>> {
        let len = self.margins.len();
        let Some(sample) = Sample::new(self, None) else { return Ok(None) };
        context.still(2 * len);
        let mut grid = sample.grid(ratio);
        let mut tally = self.tally(context, &grid)?;
        if tally.furthest >= grid.lines.len() as u64 {
            // The sample has not seen all labels.
            let extents = context.map_chunks(len, CHUNK, |range| extent(&self.labels[range]))?;
            let all = extents.into_iter().flatten().reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
            let Some(sample) = Sample::new(self, all) else { return Ok(None) };
            context.still(2 * len);
            grid = sample.grid(ratio);
            tally = self.tally(context, &grid)?;
        }
        if let Some(index) = tally.refused {
            return Err(nan_at("margins", index));
        }
        let (sizes, rows) = tally.classes();
        let mut class_of = vec![0; tally.firsts.len()];
        rows.iter().enumerate().for_each(|(class, &row)| class_of[row] = class);
        let quotas =
            quotas(&sizes, self.protected.iter().map(|&i| class_of[grid.row(self.labels[i])]).collect())?;
        self.release(&grid, &mut tally);
        let Some(cuts) = tally.cuts(&rows, &quotas, len) else { return Ok(None) };
        let marks = self.behind_cuts(context, tally.chunks, &cuts)?;
        let counts = marks.iter().map(|words| bits::count(words)).collect();
        Ok(Some(Selection::of_words(context, len, 0, counts, marks)))
    }

    /// A score turned about so that those that go first are the least.
    #[inline(always)]
    pub(super) fn turned(&self, score: T) -> T {
        if self.order.largest { -score } else { score }
    }

    /// The bin of a score by its class's line. NaN comes before all numbers or behind them.
    #[inline(always)]
    fn bin(&self, score: T, line: Line<T>) -> u32 {
        let bin = self.turned(score).bin(line);
        let nan = if self.order.nan == Nan::First { 0 } else { BEHIND };
        if is_nan(score) { nan } else { bin }
    }

    /// Goes over all samples.
    fn tally(&self, context: &Context<'_>, grid: &Grid<T>) -> Result<Tally> {
        let rows = grid.lines.len();
        let tallies = context.accumulate(
            self.margins.len(),
            STEP,
            || Tally::new(rows),
            |tally, range| {
                for start in range.clone().step_by(CHUNK) {
                    let chunk = start..range.end.min(start + CHUNK);
                    dispatch(
                        #[inline(always)]
                        || self.chunk(grid, tally, chunk.clone()),
                    );
                    tally.meet(|row| {
                        chunk.start + chunk.clone().position(|i| grid.row(self.labels[i]) == row).unwrap_or(0)
                    });
                }
            },
        )?;
        let mut all = Tally::new(rows);
        for tally in tallies {
            all.add(tally);
        }
        all.chunks.sort_unstable_by_key(|chunk| chunk.number);
        Ok(all)
    }

    /// Goes over one chunk.
    #[inline(always)]
    fn chunk(&self, grid: &Grid<T>, tally: &mut Tally, range: Range<usize>) {
        let mut words = Vec::with_capacity(CHUNK / 64);
        let mut listed = Vec::new();
        let (mut tile, mut places) = (Tile::new(), Places::new());
        let (mut scores, mut labels) = ([T::ZERO; TILE], [self.labels[range.start]; TILE]);
        for start in range.clone().step_by(TILE) {
            let of_tile = start..range.end.min(start + TILE);
            let (own, own_labels) = (&self.margins[of_tile.clone()], &self.labels[of_tile]);
            let len = own.len();
            if let (Ok(own), Ok(labels)) = (own.try_into(), own_labels.try_into()) {
                tile.fill(self, grid, own, labels);
            } else {
                scores[..len].copy_from_slice(own);
                labels[..len].copy_from_slice(own_labels);
                tile.fill(self, grid, &scores, &labels);
                tile.end(len);
            }
            tally.furthest = tally.furthest.max(tile.furthest);
            if tile.any_nan && self.order.nan == Nan::Raise {
                let first = own.iter().position(|&score| is_nan(score)).map(|i| start + i);
                tally.refused = tally.refused.into_iter().chain(first).min();
            }
            // The next tile is on its way while this one is counted.
            let next = range.end.min(start + TILE)..range.end.min(start + 2 * TILE);
            ask_for(&self.margins[next.clone()]);
            ask_for(&self.labels[next]);
            tally.count(&tile.codes[..len]);
            words.extend(&tile.behind[..len.div_ceil(64)]);
            let within = places.of(&tile.within);
            listed.extend(within.map(|i| tile.codes[i] << 16 | (start - range.start + i) as u32));
        }
        tally.chunks.push(Chunk { number: range.start / CHUNK, words, listed });
    }

    /// Takes the protected samples out of the counts.
    fn release(&self, grid: &Grid<T>, tally: &mut Tally) {
        for &i in self.protected {
            let row = grid.row(self.labels[i]);
            let bin = self.bin(self.margins[i], grid.lines[row]);
            tally.counts[row * BINS + bin as usize] -= 1;
        }
    }

    /// One bit for each sample that stays, by chunk.
    fn behind_cuts(
        &self,
        context: &Context<'_>,
        mut chunks: Vec<Chunk>,
        cuts: &[Cut],
    ) -> Result<Vec<Vec<u64>>> {
        let codes: Vec<u32> = cuts.iter().zip(0..).map(|(cut, row)| row * BINS as u32 + cut.bin).collect();
        let shared = context.map_chunks_mut(&mut chunks, 1, |_, chunk| {
            let Chunk { number, words, listed } = &mut chunk[0];
            // Written item by item, the words would wait for one another; bytes do not.
            let mut bytes = vec![0u8; words.len() * 64];
            let mut shared = 0;
            for at in 0..listed.len() {
                let item = listed[at];
                let code = item >> 16;
                let cut = codes[code as usize / BINS];
                bytes[item as usize % CHUNK] = u8::from(code > cut);
                // Written whether or not it counts, so that nothing is decided.
                listed[shared] = item;
                shared += usize::from(code == cut);
            }
            for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
                *word |= bits::packed(bytes);
            }
            // In a loop of their own the scores, which lie far apart, are fetched together.
            let rank = |&item: &u32| {
                let i = *number * CHUNK + item as usize % CHUNK;
                ((item >> 16) as usize / BINS, T::Narrow::new(self.order.key(self.margins[i]), i))
            };
            listed[..shared].iter().map(rank).collect::<Vec<(usize, T::Narrow)>>()
        })?;
        let mut marks: Vec<Vec<u64>> = chunks.into_iter().map(|chunk| chunk.words).collect();
        let mut mark = |i: usize| marks[i / CHUNK][i % CHUNK / 64] |= 1 << (i % 64);
        // The ranks that share the bin of their class's cut, class by class.
        let mut ends: Vec<usize> =
            cuts.iter().scan(0, |end, cut| Some(std::mem::replace(end, *end + cut.count))).collect();
        let mut ranks = vec![T::Narrow::LEAST; cuts.iter().map(|cut| cut.count).sum()];
        for (row, rank) in shared.into_iter().flatten() {
            if self.protected.is_empty() || self.protected.binary_search(&rank.index()).is_err() {
                ranks[ends[row]] = rank;
                ends[row] += 1;
            }
        }
        for (cut, end) in cuts.iter().zip(ends) {
            let ranks = &mut ranks[end - cut.count..end];
            if cut.need < ranks.len() {
                let (_, first, others) = ranks.select_nth_unstable(cut.need);
                mark(first.index());
                for rank in others {
                    mark(rank.index());
                }
            }
        }
        self.protected.iter().for_each(|&i| mark(i));
        Ok(marks)
    }
}

impl<T> Grid<T> {
    /// The row of a label, whose bits are cut down to those of a row.
    #[inline(always)]
    fn row<L: Label>(&self, label: L) -> usize {
        label.into().wrapping_sub(self.least) as usize & (self.lines.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Order;
    use super::super::sample::positions;
    use super::*;

    const ASCENDING: Order = Order { largest: false, nan: Nan::Raise };

    fn kept(margins: &[f32], labels: &[i64]) -> Option<Vec<i64>> {
        let context = Context::new(Some(2), &|| false).unwrap();
        let all = Balanced { margins, labels, order: ASCENDING, protected: &[] };
        let half = |sizes: &[usize], _| Ok(sizes.iter().map(|size| size / 2).collect());
        let kept = all.bracketed(&context, 0.5, half).unwrap();
        kept.map(|kept| kept.positions(&context).unwrap())
    }

    fn naive(margins: &[f32], labels: &[i64]) -> Vec<i64> {
        let mut classes = labels.to_vec();
        classes.sort_unstable();
        classes.dedup();
        let mut kept = Vec::new();
        for class in classes {
            let mut members: Vec<usize> = (0..labels.len()).filter(|&i| labels[i] == class).collect();
            members.sort_by(|&a, &b| margins[a].total_cmp(&margins[b]));
            kept.extend(members[members.len() / 2..].iter().map(|&i| i as i64));
        }
        kept.sort_unstable();
        kept
    }

    #[test]
    fn one_pass_does_for_few_classes_also_for_those_that_the_sample_has_not_seen() {
        let noise = |i: usize| ((i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as f32;
        let margins: Vec<f32> = (0..300_000).map(noise).collect();
        let mut labels: Vec<i64> = (0..margins.len()).map(|i| (i * i % 7) as i64 - 3).collect();
        assert_eq!(kept(&margins, &labels).unwrap(), naive(&margins, &labels));
        let mut seen = vec![false; margins.len()];
        positions(margins.len(), 1 << 15).for_each(|i| seen[i] = true);
        let stray = seen.iter().position(|seen| !seen).unwrap();
        for label in [200, -60] {
            labels[stray] = label;
            assert_eq!(kept(&margins, &labels).unwrap(), naive(&margins, &labels));
        }
        labels[stray] = 1 << 40;
        assert!(kept(&margins, &labels).is_none(), "too far apart for a table");
    }

    #[test]
    fn a_sample_that_misleads_is_noticed() {
        let len = 300_000;
        // Small exactly where the sample looks, so that every bracket lies too low.
        let mut margins: Vec<f32> = (0..len).map(|i| 1e6 + i as f32).collect();
        positions(len, len.div_ceil(16)).for_each(|i| margins[i] = i as f32);
        assert!(kept(&margins, &vec![0; len]).is_none());
    }
}
