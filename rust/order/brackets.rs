//! Bins about the cuts of classes: a sample gives each class a bracket of scores in which its cut very likely
//! lies, cut into bins; what lies before a bracket and what lies behind it have a bin each. The bin of a score
//! never falls where the score rises, and that is all that is asked of it.

use super::balanced::Balanced;
use super::classes::{Label, extent};
use super::is_nan;
use super::rank::Score;
use super::sample::positions;

/// Bins of each class.
pub(super) const BINS: usize = 16;

/// The bin behind a bracket; the one before it is number 0.
pub(super) const BEHIND: u32 = BINS as u32 - 1;

/// Samples looked at: as many as give each class about `PER_CLASS`, where that is between the bounds.
const PER_CLASS: usize = 1 << 11;
const SAMPLE: [usize; 2] = [1 << 15, 1 << 17];

/// Standard deviations between the cut expected and the ends of its bracket.
const DEVIATIONS: f64 = 4.0;

/// Samples for each one looked at, at the least: short arrays are not read twice for it.
const SHARE: usize = 16;

/// Fewer samples of a class than this say nothing about its cut: all of the class is within the bracket.
const LEAST: usize = 16;

/// The most labels that a table has rows for. Of more classes a sample says less: the brackets are wide, and to
/// count all samples by bins (balanced.rs) is quicker.
const MOST_ROWS: u64 = 1 << 8;

/// Where a class's bins lie: a score's place is (score − low) · scale.
pub(super) type Line<T> = [T; 2];

/// A score that has a bin.
pub trait Binned: Copy {
    /// A line by which all but huge scores have the first inner bin.
    const WHOLE: [Self; 2];

    /// The bin of a score that is a number.
    fn bin(self, line: [Self; 2]) -> u32;

    /// The line by which the scores from `low` to `high`, and hardly others, have the inner bins; also those as
    /// far again beyond an end that is `open`.
    fn line(low: Self, high: Self, open: [bool; 2]) -> [Self; 2];
}

macro_rules! binned {
    ($float:ty) => {
        impl Binned for $float {
            const WHOLE: [Self; 2] = [0.0, <$float>::MIN_POSITIVE];

            #[inline(always)]
            fn bin(self, [low, scale]: [Self; 2]) -> u32 {
                /// Added to a place, it leaves the nearest whole number in the last bits.
                const ONES: $float = 1.0 / <$float>::EPSILON;
                const LAST: $float = BEHIND as $float;
                // The first inner bin begins at a half.
                let place = (self - low) * scale + 0.75;
                let place = if place > 0.0 { place } else { 0.0 };
                let place = if place < LAST { place } else { LAST };
                (place + ONES).to_bits() as u32 & BEHIND
            }

            fn line(low: Self, high: Self, open: [bool; 2]) -> [Self; 2] {
                let [low, high] = [low, high].map(|end| end.clamp(<$float>::MIN, <$float>::MAX));
                let width = high - low;
                let further = open.map(|open| if open { width } else { 0.0 });
                let [low, high] =
                    [low - further[0], high + further[1]].map(|end| end.clamp(<$float>::MIN, <$float>::MAX));
                // The places from 0.75 to a quarter before the last bin's beginning.
                let scale = (BEHIND as $float - 1.5) / (high - low);
                [low, scale.clamp(<$float>::MIN_POSITIVE, <$float>::MAX)]
            }
        }
    };
}
binned!(f32);
binned!(f64);

/// The line of each row, which are the labels from `least` on; as many as a power of two.
pub(super) struct Grid<T> {
    pub(super) least: i64,
    pub(super) lines: Vec<Line<T>>,
}

/// What a sample says of each row.
pub(super) struct Sample<T: Score> {
    least: i64,
    /// The keys, by row, of the scores that may go, turned about so that those that go first are the least.
    keys: Vec<Vec<T::Key>>,
    /// How many were seen of each row.
    seen: Vec<usize>,
}

impl<T: Score> Sample<T> {
    /// Looks at some of the samples `all`, whose labels lie from the first of `labels` to the second (none: as
    /// far as some samples show). None where the labels are too far apart, or there are none.
    pub(super) fn new<L: Label>(all: &Balanced<'_, T, L>, labels: Option<(L, L)>) -> Option<Self> {
        let len = all.labels.len();
        let some = || positions(len, SAMPLE[0]).map(|i| all.labels[i]).collect::<Vec<L>>();
        let (least, most) = labels.or_else(|| extent(&some()))?;
        let (least, most): (i64, i64) = (least.into(), most.into());
        let width = most.abs_diff(least);
        if width >= MOST_ROWS {
            return None;
        }
        let classes = width as usize + 1;
        let rows = classes.next_power_of_two();
        let least = least.min(i64::MAX - (rows as i64 - 1));
        let count = (classes * PER_CLASS).clamp(SAMPLE[0], SAMPLE[1]).min(len.div_ceil(SHARE));
        let row = |label: L| label.into().wrapping_sub(least) as usize;
        let mut sample = Self { least, keys: vec![Vec::new(); rows], seen: vec![0; rows] };
        // In loops of their own the samples, which lie far apart, are fetched together.
        let rows: Vec<usize> = positions(len, count).map(|i| row(all.labels[i])).collect();
        let scores: Vec<T> = positions(len, count).map(|i| all.turned(all.margins[i])).collect();
        for ((row, score), i) in rows.into_iter().zip(scores).zip(positions(len, count)) {
            let Some(keys) = sample.keys.get_mut(row) else { continue };
            sample.seen[row] += 1;
            if !is_nan(score) && all.protected.binary_search(&i).is_err() {
                keys.push(score.key());
            }
        }
        Some(sample)
    }

    /// Brackets about the cuts after `ratio` of each row.
    pub(super) fn grid(mut self, ratio: f64) -> Grid<T> {
        let lines = self.keys.iter_mut().zip(&self.seen).map(|(keys, &seen)| {
            let count = keys.len();
            if count < LEAST {
                return T::WHOLE;
            }
            // What is protected stays, and the others go in its place.
            let share = (ratio * seen as f64 / count as f64).min(1.0);
            let expected = share * count as f64;
            let margin = DEVIATIONS * (expected * (1.0 - share)).sqrt() + DEVIATIONS;
            let mut at = |place: f64| {
                let place = (place.max(0.0) as usize).min(count - 1);
                T::of_key(*keys.select_nth_unstable(place).1)
            };
            let (low, high) = (at(expected - margin), at(expected + margin));
            T::line(low, high, [expected < margin, expected + margin >= count as f64])
        });
        Grid { least: self.least, lines: lines.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rise<T: Binned + PartialOrd>(scores: &[T], ends: [usize; 2]) {
        assert!(scores.is_sorted());
        for open in [[false; 2], [true, false], [false, true], [true; 2]] {
            let line = T::line(scores[ends[0]], scores[ends[1]], open);
            let bins: Vec<u32> = scores.iter().map(|score| score.bin(line)).collect();
            assert!(bins.is_sorted() && bins[scores.len() - 1] <= BEHIND, "{bins:?}");
            assert!(ends[0] < 3 || bins[ends[0]] > 0 && bins[ends[1]] < BEHIND, "{bins:?}");
            let whole: Vec<u32> = scores.iter().map(|score| score.bin(T::WHOLE)).collect();
            assert!(whole.is_sorted());
        }
    }

    #[test]
    fn bins_rise_with_the_scores_and_the_bracket_has_the_inner_ones() {
        let ends: [f64; 8] =
            [f64::NEG_INFINITY, f64::MIN, -1e300, -5e-324, 0.0, 5e-324, f64::MAX, f64::INFINITY];
        let normal = |i: i32| f64::from(i - 1000) / 250.0;
        let spreads: [&dyn Fn(i32) -> f64; 6] = [
            &normal,
            &|i| normal(i).exp(),
            &|i| normal(i).powi(9),
            &|i| 0.999 + 1e-9 * normal(i),
            &|i| 1e-310 * normal(i),
            &|_| 3.0,
        ];
        for spread in spreads {
            let mut scores: Vec<f64> = (0..2000).map(spread).chain(ends).collect();
            scores.sort_unstable_by(f64::total_cmp);
            let narrow: Vec<f32> = scores.iter().map(|&score| score as f32).collect();
            for ends in [[3, 2004], [900, 1100], [1000, 1000], [0, 2007], [0, 0]] {
                rise(&scores, ends);
                rise(&narrow, ends);
            }
        }
        assert_eq!((-0.0f32).bin([0.0, 1.0]), 0.0f32.bin([0.0, 1.0]));
    }
}
