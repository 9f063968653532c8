//! Bins of about equal weight, from a sample of the scores: few scores share the bin of a cut, however the
//! scores are spread. A key's bin is looked up by its distance from the sample's least key, cut down to
//! cells, which takes no branch.

use super::rank::Score;
use super::sample::positions;

/// Keys looked at.
const SAMPLE: usize = 1 << 13;

/// The most cells: those that are hit often fit the first-level cache.
const CELLS_LOG2: u32 = 15;

/// A key as a place on a line of equal cells.
pub trait Cells: Copy + Ord {
    /// How far the key lies behind `least` in cells of 2^`shift` keys; 0 before it.
    fn cell(self, least: Self, shift: u32) -> u32;

    /// The first key of a cell.
    fn start(least: Self, shift: u32, cell: usize) -> Self;

    /// The key before this one, which is not the first.
    #[must_use]
    fn before(self) -> Self;

    /// The shift by which the keys up to `self` take at most 2^`cells_log2` cells.
    fn shift(self, least: Self, cells_log2: u32) -> u32;
}

macro_rules! cells {
    ($key:ty) => {
        impl Cells for $key {
            #[inline(always)]
            fn cell(self, least: Self, shift: u32) -> u32 {
                (self.saturating_sub(least) >> shift).min(Self::from(u32::MAX)) as u32
            }

            fn start(least: Self, shift: u32, cell: usize) -> Self {
                least + ((cell as Self) << shift)
            }

            fn before(self) -> Self {
                self - 1
            }

            fn shift(self, least: Self, cells_log2: u32) -> u32 {
                (Self::BITS - (self - least).leading_zeros()).saturating_sub(cells_log2)
            }
        }
    };
}
cells!(u32);
cells!(u64);

/// The bins, numbered from the least key on.
pub(super) struct Bins<K> {
    least: K,
    shift: u32,
    /// The bin of each cell; what lies behind the last cell belongs to it.
    of_cell: Vec<u16>,
}

impl<K: Cells> Bins<K> {
    /// At most `count` bins for the keys that `key` makes of `scores`; none where there are no scores.
    pub(super) fn new<T: Score>(scores: &[T], count: usize, key: impl Fn(T) -> K) -> Option<Self> {
        let mut sample: Vec<K> = positions(scores.len(), SAMPLE).map(|i| key(scores[i])).collect();
        sample.sort_unstable();
        let (&least, &most) = (sample.first()?, sample.last()?);
        let shift = most.shift(least, CELLS_LOG2);
        let mut of_cell = vec![0; most.cell(least, shift) as usize + 1];
        let mut next = 0;
        for (before, key) in sample.iter().enumerate() {
            let cell = key.cell(least, shift) as usize;
            // The cells since the last one of the sample have as many keys before them as this one.
            if cell >= next {
                of_cell[next..=cell].fill((before * count / sample.len()) as u16);
                next = cell + 1;
            }
        }
        Some(Self { least, shift, of_cell })
    }

    /// The cell of a key.
    #[inline(always)]
    pub(super) fn cell(&self, key: K) -> u32 {
        key.cell(self.least, self.shift).min(self.of_cell.len() as u32 - 1)
    }

    /// The bin of a cell.
    #[inline(always)]
    pub(super) fn of(&self, cell: u32) -> usize {
        self.of_cell[cell as usize].into()
    }

    /// The least and the greatest key of a bin; the first bin and the last reach to the `ends` of the line.
    pub(super) fn edges(&self, bin: usize, [first, last]: [K; 2]) -> [K; 2] {
        let start = |cell| K::start(self.least, self.shift, cell);
        let from = self.of_cell.partition_point(|&of| usize::from(of) < bin);
        let to = self.of_cell.partition_point(|&of| usize::from(of) <= bin);
        [
            if from == 0 { first } else { start(from) },
            if to == self.of_cell.len() { last } else { start(to).before() },
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::float::Float;

    #[test]
    fn bins_rise_with_the_keys_and_lie_between_their_edges() {
        let normal = |i: u32| ((f64::from(i) + 0.5) / 20_000.0 - 0.5) * 8.0;
        let spreads: [&dyn Fn(u32) -> f64; 5] =
            [&normal, &|i| normal(i).exp(), &|i| normal(i).powi(9), &|i| 0.999 + 1e-9 * normal(i), &|_| 3.0];
        for spread in spreads {
            let scores: Vec<f64> = (0..20_000).map(spread).collect();
            let bins = Bins::new(&scores, 64, f64::key).unwrap();
            let ends = [f64::NEG_INFINITY, f64::INFINITY];
            let mut keys: Vec<u64> = scores.iter().chain(&ends).map(|score| score.key()).collect();
            keys.sort_unstable();
            let of: Vec<usize> = keys.iter().map(|&key| bins.of(bins.cell(key))).collect();
            assert!(of.is_sorted() && *of.last().unwrap() < 64);
            for (&key, &bin) in keys.iter().zip(&of) {
                let [first, last] = bins.edges(bin, [0, u64::MAX]);
                assert!(first <= key && key <= last);
                assert!(bin == 0 || bins.of(bins.cell(first - 1)) < bin);
                assert!(last == u64::MAX || bins.of(bins.cell(last + 1)) > bin);
            }
        }
        assert!(Bins::<u32>::new::<f32>(&[], 64, Float::key).is_none());
    }
}
