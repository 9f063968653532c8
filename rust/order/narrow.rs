//! The cut after the first q ranks of each class, by narrowing: histograms of a digit tell in which bin
//! the cut lies, the next digit is counted within that bin alone, and once few ranks are left they are
//! looked at one by one. Memory stays constant and every read runs from the first score to the last, so
//! the scores may lie in a file larger than memory; histograms add up over shards, so may they there.

use std::ops::Range;

use super::rank::{Rank, RankOf, Score};
use super::{Order, nan_at};
use crate::error::Result;
use crate::par::{CHUNK, Context};
use crate::shard::Rows;
use crate::simd::dispatch;

/// Scores taken into one accumulator between two looks at the stop request.
const STEP: usize = 1 << 20;

/// Counters of a histogram over all classes: 1 MB, a second-level cache.
const COUNTERS_LOG2: u32 = 17;

/// A share of the ranks, and the most and the least ranks, that are looked at one by one.
const FEW_SHARE: usize = 16;
const MOST_FEW: usize = 1 << 21;
const LEAST_FEW: usize = 1 << 16;

/// The samples that compete, each within its class.
pub(super) struct Pool<'a, T, C> {
    /// What the scores are called in messages.
    pub(super) name: &'static str,
    pub(super) scores: &'a [T],
    pub(super) order: Order,
    /// Where these scores stand in all.
    pub(super) rows: Rows,
    /// The samples that take no part, ascending.
    pub(super) out: Vec<usize>,
    /// The class of a sample.
    pub(super) class_of: C,
}

impl<T: Score, C: Fn(usize) -> usize + Sync> Pool<'_, T, C> {
    /// The samples of `range` that take no part.
    pub(super) fn out_of(&self, range: Range<usize>) -> impl Iterator<Item = usize> {
        let from = self.out.partition_point(|&i| i < range.start);
        let to = self.out.partition_point(|&i| i < range.end);
        self.out[from..to].iter().copied()
    }

    /// The runs of samples of `range` that take part; after each but the last stands one that does not.
    pub(super) fn runs(&self, range: Range<usize>) -> impl Iterator<Item = Range<usize>> {
        let mut start = range.start;
        self.out_of(range.clone()).chain([range.end]).map(move |end| {
            let run = start..end;
            start = end + 1;
            run
        })
    }

    /// Calls `f` with the class and the rank of each sample of `range`; the first NaN where it is refused.
    #[inline(always)]
    pub(super) fn visit<R: RankOf<T::Key>>(
        &self,
        range: Range<usize>,
        mut f: impl FnMut(usize, R),
    ) -> std::result::Result<(), usize> {
        for run in self.runs(range) {
            for i in run {
                f((self.class_of)(i), self.order.rank(self.scores[i], self.rows.first + i)?);
            }
        }
        Ok(())
    }
}

/// Where the classes are cut.
pub(super) struct Cuts<R> {
    /// The last rank within, by class; none where nothing is.
    pub(super) last: Vec<Option<R>>,
    /// How many of these scores lie within, by chunk.
    pub(super) counts: Vec<usize>,
}

/// What is known of one class's cut.
#[derive(Clone, Copy)]
struct Open<R> {
    /// The bits of the cut found so far, the others nought.
    base: R,
    /// Which of the ranks with these bits is the cut, from 1. 0: the class has none within.
    need: usize,
    /// How many ranks have these bits.
    inside: usize,
}

/// The cuts after the first `quotas[c]` of the `sizes[c]` samples of each class c of the pool.
pub(super) fn cuts<T: Score, R: RankOf<T::Key>, C: Fn(usize) -> usize + Sync>(
    context: &Context<'_>,
    pool: &Pool<'_, T, C>,
    quotas: &[usize],
    sizes: &[usize],
) -> Result<Cuts<R>> {
    let mut open: Vec<Open<R>> = quotas
        .iter()
        .zip(sizes)
        .map(|(&need, &size)| Open {
            base: R::LEAST,
            need,
            // Nothing is to be found out of a class that is taken whole or not at all.
            inside: if 0 < need && need < size { size } else { 0 },
        })
        .collect();
    let few = if context.shards().is_whole() {
        (pool.rows.total / FEW_SHARE).clamp(LEAST_FEW, MOST_FEW)
    } else {
        LEAST_FEW
    };
    let index_bits = usize::BITS - pool.rows.total.leading_zeros();
    let digit = COUNTERS_LOG2.saturating_sub(usize::BITS - quotas.len().leading_zeros()).clamp(4, 16);
    let mut shift = R::BITS;
    while shift > 0 && open.iter().map(|class| class.inside).sum::<usize>() > few {
        // Between the key and the bits that an index can have there is nothing to count.
        let floor = if shift > R::BITS / 2 { R::BITS / 2 } else { 0 };
        let from = if shift == R::BITS / 2 { index_bits } else { shift };
        let to = from.saturating_sub(digit).max(floor);
        let counts = histograms(context, pool, &open, [shift, from, to])?;
        for (class, counts) in open.iter_mut().zip(counts.chunks_exact(1 << (from - to))) {
            if class.inside == 0 {
                continue;
            }
            for (bin, &count) in counts.iter().enumerate() {
                if class.need <= count as usize {
                    class.base = class.base | R::from_low(bin) << to;
                    class.inside = count as usize;
                    break;
                }
                class.need -= count as usize;
            }
        }
        shift = to;
    }
    look(context, pool, &open, shift)
}

/// The bits of `rank` above `shift`; a shift of the whole width leaves none.
#[inline(always)]
fn prefix<R: Rank>(rank: R, shift: u32) -> R {
    if shift == R::BITS { R::LEAST } else { rank >> shift }
}

/// How many ranks of each class with its bits above `shift` have each value of the bits from `to` up to
/// `from`, over all shards.
fn histograms<T: Score, R: RankOf<T::Key>, C: Fn(usize) -> usize + Sync>(
    context: &Context<'_>,
    pool: &Pool<'_, T, C>,
    open: &[Open<R>],
    [shift, from, to]: [u32; 3],
) -> Result<Vec<i64>> {
    let bins = 1usize << (from - to);
    let prefixes: Vec<R> = open.iter().map(|class| prefix(class.base, shift)).collect();
    let lanes = context.accumulate(
        pool.scores.len(),
        STEP,
        || (vec![0i64; open.len() * bins], None),
        |(counts, refused): &mut (Vec<i64>, Option<usize>), range| {
            let seen = dispatch(
                #[inline(always)]
                || {
                    pool.visit(range, |class, rank: R| {
                        if prefix(rank, shift) == prefixes[class] {
                            counts[class * bins + ((rank >> to).low() & (bins - 1))] += 1;
                        }
                    })
                },
            );
            *refused = seen.err().into_iter().chain(*refused).min();
        },
    )?;
    let mut all = vec![0i64; open.len() * bins];
    for (counts, _) in &lanes {
        for (sum, count) in all.iter_mut().zip(counts) {
            *sum += count;
        }
    }
    refuse(context, pool.name, lanes.iter().filter_map(|(_, refused)| *refused).min())?;
    context.shards().sum(&mut all)?;
    Ok(all)
}

/// Refuses the first NaN of all shards, on every one of them.
pub(super) fn refuse(context: &Context<'_>, name: &'static str, refused: Option<usize>) -> Result<()> {
    let found = context.shards().gather(&[refused.map_or(u64::MAX, |index| index as u64)])?;
    match found.into_iter().find(|&index| index != u64::MAX) {
        Some(index) => Err(nan_at(name, index as usize)),
        None => Ok(()),
    }
}

/// Looks at the ranks with their class's bits above `shift` one by one.
fn look<T: Score, R: RankOf<T::Key>, C: Fn(usize) -> usize + Sync>(
    context: &Context<'_>,
    pool: &Pool<'_, T, C>,
    open: &[Open<R>],
    shift: u32,
) -> Result<Cuts<R>> {
    // A class that is taken whole is cut behind every rank.
    let whole = |class: &Open<R>| class.need > 0 && class.inside == 0;
    let prefixes: Vec<R> =
        open.iter().map(|class| if whole(class) { R::GREATEST } else { prefix(class.base, shift) }).collect();
    let chunks = context.map_chunks(pool.scores.len(), CHUNK, |range| {
        let (mut before, mut equal) = (0, Vec::new());
        let seen = dispatch(
            #[inline(always)]
            || {
                pool.visit(range, |class, rank: R| {
                    let own = prefix(rank, shift);
                    before += usize::from(own < prefixes[class]);
                    if own == prefixes[class] && open[class].inside > 0 {
                        equal.push((class as u32, rank));
                    }
                })
            },
        );
        (before, equal, seen.err())
    })?;
    refuse(context, pool.name, chunks.iter().find_map(|(_, _, refused)| *refused))?;
    let mut equal: Vec<Vec<R>> = vec![Vec::new(); open.len()];
    let own = chunks.iter().flat_map(|(_, equal, _)| equal);
    if context.shards().is_whole() {
        own.for_each(|&(class, rank)| equal[class as usize].push(rank));
    } else {
        let words: Vec<u64> = own
            .flat_map(|&(class, rank)| {
                let [high, low] = rank.to_words();
                [u64::from(class), high, low]
            })
            .collect();
        for member in concatenated(context, &words)?.chunks_exact(3) {
            equal[member[0] as usize].push(R::from_words([member[1], member[2]]));
        }
    }
    let last: Vec<Option<R>> = open
        .iter()
        .zip(&mut equal)
        .map(|(class, equal)| match (class.need, class.inside) {
            (0, _) => None,
            (_, 0) => Some(R::GREATEST),
            (need, _) => Some(*equal.select_nth_unstable(need - 1).1),
        })
        .collect();
    let within = |&&(class, rank): &&(u32, R)| Some(rank) <= last[class as usize];
    let counts =
        chunks.iter().map(|(before, equal, _)| before + equal.iter().filter(within).count()).collect();
    Ok(Cuts { last, counts })
}

/// `values` of every shard, which may be of different lengths, one shard after another.
pub(super) fn concatenated(context: &Context<'_>, values: &[u64]) -> Result<Vec<u64>> {
    let rows = context.shards().rows(values.len())?;
    let mut all = vec![0i64; rows.total];
    for (slot, &value) in all[rows.first..].iter_mut().zip(values) {
        *slot = value.cast_signed();
    }
    context.shards().sum(&mut all)?;
    Ok(all.into_iter().map(i64::cast_unsigned).collect())
}
