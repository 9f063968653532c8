//! Sorting by the digits of the keys, the lowest first. Each pass moves the ranks to their digit's place
//! and keeps the order they had, so ranks given by index come out in order when their keys are done: the
//! index bits need no pass. Threads take one block of ranks each, and where a block's ranks of a digit go
//! follows from counts, so the result does not show how many blocks there were.

mod scatter;
mod scratch;

use std::marker::PhantomData;
use std::ops::Range;

use scatter::Writer;
use scratch::scratch;

use super::rank::Rank;
use crate::error::Result;
use crate::par::{CHUNK, Context};
use crate::simd::dispatch;

/// Bits of a digit: the first-level cache has room for two lines of each place. (Eleven bits save one pass of
/// four, but every value then waits for the second level: 1.4 ns on Zen 5, against 0.8.)
const DIGIT: u32 = 8;
const PLACES: usize = 1 << DIGIT;

/// Fewer ranks than this are sorted by comparing.
const FEW: usize = 1 << 12;

/// Ranks that a block moves between two looks at the stop request.
const STEP: usize = 1 << 20;

/// A rank, or the index of a sample that has none.
type Ranked<R> = std::result::Result<R, usize>;

/// Writes the indices of `out.len()` ranks in order, where `rank` gives them by index, ascending within
/// equal keys; or gives the first refusal.
pub(super) fn sort<R: Rank>(
    context: &Context<'_>,
    rank: impl Fn(usize) -> Ranked<R> + Sync,
    out: &mut [i64],
) -> Result<Ranked<()>> {
    let len = out.len();
    if len < FEW {
        context.check()?;
        context.still(0);
        let ranks: Ranked<Vec<R>> = (0..len).map(&rank).collect();
        return Ok(ranks.map(|mut ranks| {
            ranks.sort_unstable();
            out.iter_mut().zip(ranks).for_each(|(out, rank)| *out = rank.index() as i64);
        }));
    }
    if let Some(falling) = run(context, len, &rank)? {
        let at = |i| rank(if falling { len - 1 - i } else { i }).map_or(0, |rank| rank.index() as i64);
        context.map_chunks_mut(out, CHUNK, |first, chunk| {
            chunk.iter_mut().enumerate().for_each(|(i, out)| *out = at(first + i));
        })?;
        context.still(0);
        return Ok(Ok(()));
    }
    let mut passes = Passes::new(context, len, rank);
    context.still((1 + passes.shifts.len()) * len);
    if let Err(index) = passes.count()? {
        return Ok(Err(index));
    }
    // A digit that all share moves nothing.
    let moving: Vec<usize> = (0..passes.shifts.len()).filter(|&d| !passes.is_shared(d)).collect();
    let (&last, others) = moving.split_last().expect("equal keys are a run");
    let recounted = if passes.blocks.len() > 1 { others.len() } else { 0 };
    context.still((moving.len() + recounted) * len);
    if others.is_empty() {
        passes.pass(last, None, out, |rank| rank.index() as i64)?;
        return Ok(Ok(()));
    }
    // The ranks go to and fro between two rooms, of which the result's own is one where they fit it.
    let mut near = scratch(len);
    let mut own = if others.len() > 1 && R::within(out).is_none() { scratch(len) } else { Vec::new() };
    for (pass, &d) in others.iter().enumerate() {
        let far = R::within(out).unwrap_or(&mut own);
        // The last of these passes leaves the ranks near.
        let to_near = (others.len() - pass) % 2 == 1;
        let (from, to) = if to_near { (far, &mut near[..]) } else { (&mut near[..], far) };
        passes.pass(d, (pass > 0).then_some(from), to, |rank| rank)?;
    }
    passes.pass(last, Some(&near), out, |rank| rank.index() as i64)?;
    Ok(Ok(()))
}

#[inline(always)]
fn digit<R: Rank>(rank: R, shift: u32) -> usize {
    (rank >> shift).low() & (PLACES - 1)
}

/// Whether the ranks rise (`Some(false)`) or fall (`Some(true)`) from the first to the last.
fn run<R: Rank>(
    context: &Context<'_>,
    len: usize,
    rank: &(impl Fn(usize) -> Ranked<R> + Sync),
) -> Result<Option<bool>> {
    for falling in [false, true] {
        let ordered = |i| matches!((rank(i), rank(i + 1)), (Ok(a), Ok(b)) if a != b && (b < a) == falling);
        // Most arrays show at their beginning that they are no run.
        if (0..FEW - 1).all(ordered)
            && context.map_chunks(len - 1, CHUNK, |mut range| range.all(ordered))?.into_iter().all(|ok| ok)
        {
            return Ok(Some(falling));
        }
    }
    Ok(None)
}

/// The passes over the ranks, each thread having one block of them.
struct Passes<'a, 'c, R, F> {
    context: &'a Context<'c>,
    /// Gives the ranks before they have moved.
    rank: F,
    blocks: Vec<Range<usize>>,
    /// Where each digit begins.
    shifts: Vec<u32>,
    /// How many ranks of each block have each value of each digit, before they have moved.
    counts: Vec<Vec<[usize; PLACES]>>,
    _rank: PhantomData<R>,
}

impl<'a, 'c, R: Rank, F: Fn(usize) -> Ranked<R> + Sync> Passes<'a, 'c, R, F> {
    fn new(context: &'a Context<'c>, len: usize, rank: F) -> Self {
        let count = context.threads().min(len / CHUNK).max(1);
        let blocks = (0..count).map(|b| len * b / count..len * (b + 1) / count).collect();
        let shifts: Vec<u32> = (R::BITS / 2..R::BITS).step_by(DIGIT as usize).collect();
        let counts = vec![vec![[0; PLACES]; shifts.len()]; count];
        Self { context, rank, blocks, shifts, counts, _rank: PhantomData }
    }

    /// Counts every digit in one read; the first refusal.
    fn count(&mut self) -> Result<Ranked<()>> {
        let mut lanes: Vec<_> = self.counts.iter_mut().map(|counts| (counts, Ok(()))).collect();
        in_steps(self.context, &self.blocks, &mut lanes, |range, (counts, refused)| {
            if refused.is_err() {
                return;
            }
            *refused = dispatch(
                #[inline(always)]
                || {
                    for i in range {
                        let rank = (self.rank)(i)?;
                        for (counts, &shift) in counts.iter_mut().zip(&self.shifts) {
                            counts[digit(rank, shift)] += 1;
                        }
                    }
                    Ok(())
                },
            );
        })?;
        Ok(lanes.into_iter().find_map(|(_, refused)| refused.err()).map_or(Ok(()), Err))
    }

    /// Whether all ranks share one value of a digit.
    fn is_shared(&self, d: usize) -> bool {
        let first = (0..PLACES).find(|&v| self.counts.iter().any(|counts| counts[d][v] > 0));
        first.is_some_and(|v| self.counts.iter().zip(&self.blocks).all(|(c, block)| c[d][v] == block.len()))
    }

    /// Moves every rank of `from` (none: they have not moved yet) to its place in `target` by digit d, made
    /// what is wanted there by `to`.
    fn pass<D: Copy + Send + Sync>(
        &self,
        d: usize,
        from: Option<&[R]>,
        target: &mut [D],
        to: impl Fn(R) -> D + Sync,
    ) -> Result<()> {
        let shift = self.shifts[d];
        let mut counts: Vec<[usize; PLACES]> = self.counts.iter().map(|counts| counts[d]).collect();
        if let Some(from) = from.filter(|_| self.blocks.len() > 1) {
            counts.fill([0; PLACES]);
            in_steps(self.context, &self.blocks, &mut counts, |range, counts| {
                from[range].iter().for_each(|&rank| counts[digit(rank, shift)] += 1);
            })?;
        }
        let mut writers = Writer::all(target, &counts);
        let rank = &self.rank;
        in_steps(self.context, &self.blocks, &mut writers, |range, writer| {
            let mut push = |rank: R| writer.push(digit(rank, shift), to(rank));
            match from {
                Some(from) => from[range].iter().for_each(|&rank| push(rank)),
                // A refusal was found when the digits were counted.
                None => dispatch(
                    #[inline(always)]
                    || range.for_each(|i| push(rank(i).unwrap_or(R::GREATEST))),
                ),
            }
        })
    }
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
            f(start..end.min(start + STEP), &mut state[0]);
        })?;
        let step = |block: &Range<usize>| block.len().saturating_sub(offset).min(STEP);
        context.passed(blocks.iter().map(step).sum());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(keys: &[u64], threads: usize) -> Vec<i64> {
        let context = Context::new(Some(threads), &|| false).unwrap();
        let mut out = vec![0; keys.len()];
        sort(&context, |i| Ok(keys[i] << 32 | i as u64), &mut out).unwrap().unwrap();
        out
    }

    #[test]
    fn every_pattern_and_length_is_sorted() {
        let noise = |i: u64| (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        for len in [0, 1, FEW as u64 - 1, FEW as u64, 70_001, 200_003] {
            let patterns: [&dyn Fn(u64) -> u64; 7] = [
                &noise,
                &|i| i,
                &|i| len - i,
                &|i| i % 20,
                &|i| u64::from(noise(i) % 100 > 94),
                &|_| 7,
                &|i| noise(i) & 0xffc0_0000,
            ];
            for (which, pattern) in patterns.into_iter().enumerate() {
                let keys: Vec<u64> = (0..len).map(pattern).collect();
                let mut expected: Vec<i64> = (0..len as i64).collect();
                expected.sort_by_key(|&i| keys[i as usize]);
                for threads in [1, 2, 7] {
                    assert_eq!(sorted(&keys, threads), expected, "pattern {which}, {len}, {threads} threads");
                }
            }
        }
    }
}
