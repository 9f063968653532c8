//! Dealing ranks to parts by the upper bits of their keys: counted first, so that consecutive values of those
//! bits make up parts of near-equal size, and moved then, once. Threads take one block of ranks each, and where
//! a block's ranks go follows from the counts.

use std::ops::{Range, RangeInclusive};

use super::part::Part;
use super::scatter::Writer;
use super::source::TILE;
use super::{STEP, Source};
use crate::error::Result;
use crate::order::rank::Rank;
use crate::par::{CHUNK, Context};
use crate::simd::dispatch;

/// Bytes of a part that fits the second-level cache of one core, twice and with room to spare.
const PART: usize = 1 << 18;

/// The least that a part is worth, in ranks.
const LEAST: usize = 1 << 12;

/// Parts for each thread, where there are so few ranks that threads would go without.
const EACH: usize = 4;

/// More parts than this cost more to deal to than smaller ones save (their lines leave the first-level cache).
const MOST: usize = 512;

/// So many times finer than the parts are the counts, as bits, ...
const FINER: u32 = 8;

/// ... but no finer than a table in the second-level cache.
const FINEST: u32 = 16;

/// So many times the size of the others may a part have before it is dealt again, ...
const UNEVEN: usize = 8;

/// ... but no more than are sorted within a moment.
const LARGEST: usize = 1 << 26;

/// Ranks by which a key is sought that many share, and how many of them must.
const SAMPLE: usize = 256;
const MANY: usize = 32;

/// How ranks are dealt.
pub(super) struct Split {
    /// Ranks of a part.
    pub(super) share: usize,
}

impl Split {
    /// A way to deal `len` ranks.
    pub(super) fn new<R: Rank>(context: &Context<'_>, len: usize) -> Self {
        let cached = PART / size_of::<R>();
        let share = (len / (EACH * context.threads())).clamp(LEAST, cached).max(len / MOST);
        Self { share }
    }

    /// The size of a part from which on it is dealt again.
    pub(super) fn largest(&self) -> usize {
        (UNEVEN * self.share).min(LARGEST).max(self.share)
    }

    /// Moves the ranks, whose keys are in `keys`, to `whole`, which it cuts into parts, each before the next.
    pub(super) fn deal<'a, R: Rank>(
        &self,
        context: &Context<'_>,
        mut whole: Part<'a, R>,
        keys: &RangeInclusive<u64>,
        source: &(impl Source<R> + ?Sized),
    ) -> Result<Vec<Part<'a, R>>> {
        let len = whole.len();
        let bits = ((len / self.share).max(1).ilog2() + FINER).min(FINEST);
        let (least, span) = (*keys.start(), keys.end() - keys.start());
        let shift = (u64::BITS - span.leading_zeros()).saturating_sub(bits);
        let last = span >> shift;
        let common = common(len, source);
        // For a tile at once, so that several go together.
        let prefixes = move |ranks: &[R], prefixes: &mut [u32; TILE]| {
            for (prefix, rank) in prefixes.iter_mut().zip(ranks) {
                let key = rank.key_bits();
                // Never beyond the last, not even where somebody writes to the scores meanwhile.
                *prefix = (key.wrapping_sub(least) >> shift).min(last) as u32;
                // The common key has a prefix of its own, between those of the keys before and after it.
                *prefix += u32::from(key >= common) + u32::from(key > common);
            }
        };
        let last = last as usize + 2;

        // Counts of 32 bits are twice as many to the cache, and enough for a block.
        let blocks = context.threads().min(len / CHUNK).max(len.div_ceil(1 << 31)).max(1);
        let blocks: Vec<Range<usize>> =
            (0..blocks).map(|b| len * b / blocks..len * (b + 1) / blocks).collect();
        let mut counts = vec![vec![0u32; last + 1]; blocks.len()];
        in_steps(
            context,
            &blocks,
            &mut counts,
            #[inline(always)]
            |range, counts| {
                // Copies, which no count that is written could change.
                let (prefixes, counts, mut of_tile) = (prefixes, &mut counts[..], [0; TILE]);
                source.tiles(range, |_, ranks| {
                    prefixes(ranks, &mut of_tile);
                    of_tile[..ranks.len()].iter().for_each(|&prefix| counts[prefix as usize] += 1);
                });
            },
        )?;

        let (mut places, mut lens) = (Vec::with_capacity(last + 1), vec![0]);
        for prefix in 0..=last {
            let count: usize = counts.iter().map(|counts| counts[prefix] as usize).sum();
            let part = lens.len() - 1;
            if lens[part] > 0 && lens[part] + count > self.share {
                lens.push(count);
            } else {
                lens[part] += count;
            }
            places.push((lens.len() - 1) as u16);
        }
        let rooms: Vec<Vec<usize>> = counts
            .iter()
            .map(|counts| {
                let mut rooms = vec![0; lens.len()];
                places
                    .iter()
                    .zip(counts)
                    .for_each(|(&place, &count)| rooms[place as usize] += count as usize);
                rooms
            })
            .collect();
        drop(counts);
        let mut writers = Writer::all(whole.ranks(), &rooms);
        in_steps(
            context,
            &blocks,
            &mut writers,
            #[inline(always)]
            |range, writer| {
                let (prefixes, places, mut of_tile) = (prefixes, &places[..], [0; TILE]);
                source.tiles(range, |_, ranks| {
                    prefixes(ranks, &mut of_tile);
                    let places = of_tile.iter().map(|&prefix| places[prefix as usize] as usize);
                    writer.extend(places.zip(ranks.iter().copied()));
                });
            },
        )?;
        drop(writers);
        Ok(whole.cut(lens))
    }
}

/// A key that many share, as far as a sample shows; else one that is greater than most.
fn common<R: Rank>(len: usize, source: &(impl Source<R> + ?Sized)) -> u64 {
    let mut keys: Vec<u64> = (0..SAMPLE)
        .map(|i| {
            let mut rank = [R::LEAST];
            source.fill(len / SAMPLE * i, &mut rank);
            rank[0].key_bits()
        })
        .collect();
    keys.sort_unstable();
    let longest = keys.chunk_by(|a, b| a == b).max_by_key(|equal| equal.len());
    longest.filter(|equal| equal.len() >= MANY).map_or(u64::MAX, |equal| equal[0])
}

/// Calls `f` with steps of each block and the block's state.
fn in_steps<S: Send>(
    context: &Context<'_>,
    blocks: &[Range<usize>],
    states: &mut [S],
    f: impl Fn(Range<usize>, &mut S) + Sync,
) -> Result<()> {
    let longest = blocks.iter().map(Range::len).max().unwrap_or(0);
    for offset in (0..longest).step_by(STEP) {
        context.map_chunks_mut(states, 1, |block, state| {
            let Range { start, end } = blocks[block];
            let start = end.min(start + offset);
            dispatch(
                #[inline(always)]
                || f(start..end.min(start + STEP), &mut state[0]),
            );
        })?;
        let step = |block: &Range<usize>| block.len().saturating_sub(offset).min(STEP);
        context.passed(blocks.iter().map(step).sum());
    }
    Ok(())
}
