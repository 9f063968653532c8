//! Sorting in parallel by a sample: its quantiles cut the ranks into parts of about one cache's size,
//! each of which is sorted by itself. Ranks are all different, so equal scores cannot swell a part.

use std::ops::Range;

use super::rank::Rank;
use super::sample::positions;
use crate::error::Result;
use crate::par::{CHUNK, Context};

/// Ranks per part: a part and its results stay in a core's cache.
const PART: usize = 1 << 15;

/// The most parts: beyond, finding a rank's part would cost more than sorting it.
const MOST_PARTS: usize = 1 << 12;

/// Sampled ranks per part; with 32 of them the largest of many parts is about twice the mean.
const PER_PART: usize = 32;

/// A rank, or the index of a sample that has none.
type Ranked<R> = std::result::Result<R, usize>;

/// The indices of `len` ranks in order, where `ranks` gives those of a range; or the first refusal.
pub(super) fn indices<R: Rank, I: Iterator<Item = Ranked<R>>>(
    context: &Context<'_>,
    len: usize,
    ranks: impl Fn(Range<usize>) -> I + Sync,
) -> Result<Ranked<Vec<i64>>> {
    let splitters = splitters(len, &ranks);
    let chunks = context.map_chunks(len, CHUNK, |range| {
        ranks(range).collect::<Ranked<Vec<R>>>().map(|ranks| Grouped::new(&ranks, &splitters))
    })?;
    let chunks: Vec<Grouped<R>> = match chunks.into_iter().collect::<Ranked<_>>() {
        Ok(chunks) => chunks,
        Err(index) => return Ok(Err(index)),
    };
    let parts = context.map_chunks(splitters.len() + 1, 1, |part| {
        let mut ranks: Vec<R> = Vec::new();
        for chunk in &chunks {
            ranks.extend_from_slice(chunk.part(part.start));
        }
        ranks.sort_unstable();
        ranks.into_iter().map(|rank| rank.index() as i64).collect::<Vec<_>>()
    })?;
    Ok(Ok(parts.concat()))
}

/// Ranks that cut all into parts of about [`PART`]; none where one part is enough.
fn splitters<R: Rank, I: Iterator<Item = Ranked<R>>>(
    len: usize,
    ranks: &impl Fn(Range<usize>) -> I,
) -> Vec<R> {
    let parts = (len / PART).clamp(1, MOST_PARTS);
    if parts == 1 {
        return Vec::new();
    }
    // A refusal is met again by the pass over all ranks.
    let mut sample: Vec<R> =
        positions(len, parts * PER_PART).flat_map(|i| ranks(i..i + 1)).filter_map(Ranked::ok).collect();
    sample.sort_unstable();
    sample.chunks(PER_PART).skip(1).map(|chunk| chunk[0]).collect()
}

/// One chunk's ranks by part: those of part p are `ranks[ends[p − 1]..ends[p]]`.
struct Grouped<R> {
    ranks: Vec<R>,
    ends: Vec<usize>,
}

impl<R: Rank> Grouped<R> {
    /// A counting sort by part.
    fn new(ranks: &[R], splitters: &[R]) -> Self {
        let parts: Vec<usize> =
            ranks.iter().map(|rank| splitters.partition_point(|splitter| splitter <= rank)).collect();
        let mut ends = vec![0; splitters.len() + 1];
        for &part in &parts {
            ends[part] += 1;
        }
        let mut start = 0;
        for end in &mut ends {
            start += std::mem::replace(end, start);
        }
        // Now each entry is where its part begins; placing the ranks moves it to where the part ends.
        let mut grouped = ranks.to_vec();
        for (&rank, &part) in ranks.iter().zip(&parts) {
            grouped[ends[part]] = rank;
            ends[part] += 1;
        }
        Self { ranks: grouped, ends }
    }

    fn part(&self, part: usize) -> &[R] {
        let start = if part == 0 { 0 } else { self.ends[part - 1] };
        &self.ranks[start..self.ends[part]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_of_one_size_whatever_the_values() {
        let len = 64 * PART;
        let sizes = |rank: &(dyn Fn(usize) -> u64 + Sync)| {
            let splitters = splitters(len, &|range| range.map(|i| Ok(rank(i))));
            let ranks: Vec<u64> = (0..len).map(rank).collect();
            let grouped = Grouped::new(&ranks, &splitters);
            (0..=splitters.len()).map(|part| grouped.part(part).len()).max().unwrap()
        };
        let scattered = |i: usize| (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32 << 32 | i as u64;
        for (name, largest) in [
            ("scattered", sizes(&scattered)),
            ("rising", sizes(&|i| i as u64)),
            ("falling", sizes(&|i| (len - i) as u64)),
            ("all equal scores", sizes(&|i| 7 << 32 | i as u64)),
            ("a saw whose period is the stride", sizes(&|i| ((i % 1024) as u64) << 32 | i as u64)),
        ] {
            assert!(largest < 4 * PART, "{name}: {largest}");
        }
    }
}
