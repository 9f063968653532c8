//! Sorting by the digits of the keys, the lowest first. Each pass moves the ranks to their digit's place
//! and keeps the order they had, so ranks given by index come out in order when their keys are done: the
//! index bits need no pass. Threads take one block of ranks each, and where a block's ranks of a digit go
//! follows from counts, so the result does not show how many blocks there were.

mod scatter;
mod scratch;

use std::ops::Range;

use scatter::Writer;
use scratch::scratch;

use super::rank::Rank;
use crate::error::Result;
use crate::par::{CHUNK, Context};
use crate::simd::dispatch;

/// Bits of a digit: as many places as a writer's lines fit the second-level cache.
const DIGIT: u32 = 11;
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
        return Ok(Ok(()));
    }
    let shifts: Vec<u32> = (R::BITS / 2..R::BITS).step_by(DIGIT as usize).collect();
    let mut blocks = Block::cut(len, context.threads());
    let mut counts = vec![vec![[0; PLACES]; shifts.len()]; blocks.len()];
    let refused = in_steps(context, &mut blocks, &mut counts, |range, counts| {
        dispatch(
            #[inline(always)]
            || {
                for i in range {
                    let rank = rank(i)?;
                    for (counts, &shift) in counts.iter_mut().zip(&shifts) {
                        counts[digit(rank, shift)] += 1;
                    }
                }
                Ok(())
            },
        )
    })?;
    if let Err(index) = refused {
        return Ok(Err(index));
    }
    // A digit that all share moves nothing.
    let shared = |d: usize| (0..PLACES).any(|v| counts.iter().map(|c| c[d][v]).sum::<usize>() == len);
    let moving: Vec<usize> = (0..shifts.len()).filter(|&d| !shared(d)).collect();
    let (&last, others) = moving.split_last().expect("equal keys are a run");

    let ranked = |i| rank(i).unwrap_or(R::GREATEST);
    let mut from: Vec<R> = Vec::new();
    let mut to: Vec<R> = Vec::new();
    for (pass, &d) in others.iter().enumerate() {
        let first = pass == 0;
        if to.is_empty() {
            to = scratch(len);
        }
        let own = if first || blocks.len() == 1 {
            counts.iter().map(|counts| counts[d]).collect()
        } else {
            count(context, &mut blocks, &from, shifts[d])?
        };
        if first {
            scatter(context, &mut blocks, &own, &mut to, shifts[d], ranked, |rank| rank)?;
        } else {
            scatter(context, &mut blocks, &own, &mut to, shifts[d], |i| from[i], |rank| rank)?;
        }
        std::mem::swap(&mut from, &mut to);
    }
    let own = if others.is_empty() || blocks.len() == 1 {
        counts.iter().map(|counts| counts[last]).collect()
    } else {
        count(context, &mut blocks, &from, shifts[last])?
    };
    let index = |rank: R| rank.index() as i64;
    if others.is_empty() {
        scatter(context, &mut blocks, &own, out, shifts[last], ranked, index)?;
    } else {
        scatter(context, &mut blocks, &own, out, shifts[last], |i| from[i], index)?;
    }
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

/// A thread's part of the ranks.
struct Block {
    range: Range<usize>,
}

impl Block {
    fn cut(len: usize, threads: usize) -> Vec<Self> {
        let blocks = threads.min(len / CHUNK).max(1);
        (0..blocks).map(|b| Self { range: len * b / blocks..len * (b + 1) / blocks }).collect()
    }
}

/// Calls `f` with steps of each block's range and the block's state; the first refusal.
fn in_steps<S: Send>(
    context: &Context<'_>,
    blocks: &mut [Block],
    states: &mut [S],
    f: impl Fn(Range<usize>, &mut S) -> Ranked<()> + Sync,
) -> Result<Ranked<()>> {
    let longest = blocks.iter().map(|block| block.range.len()).max().unwrap_or(0);
    let mut lanes: Vec<(&Block, &mut S, Ranked<()>)> =
        blocks.iter().zip(states).map(|(block, state)| (block, state, Ok(()))).collect();
    for offset in (0..longest).step_by(STEP) {
        context.map_chunks_mut(&mut lanes, 1, |_, lane| {
            let (block, state, refused) = &mut lane[0];
            let start = block.range.end.min(block.range.start + offset);
            let step = start..block.range.end.min(start + STEP);
            if refused.is_ok() {
                *refused = f(step, state);
            }
        })?;
    }
    Ok(lanes.into_iter().find_map(|(_, _, refused)| refused.err()).map_or(Ok(()), Err))
}

/// Each block's counts of one digit.
fn count<R: Rank>(
    context: &Context<'_>,
    blocks: &mut [Block],
    ranks: &[R],
    shift: u32,
) -> Result<Vec<[usize; PLACES]>> {
    let mut counts = vec![[0; PLACES]; blocks.len()];
    let counted = in_steps(context, blocks, &mut counts, |range, counts| {
        ranks[range].iter().for_each(|&rank| counts[digit(rank, shift)] += 1);
        Ok(())
    })?;
    debug_assert!(counted.is_ok());
    Ok(counts)
}

/// Moves every rank to its digit's place in `target`, made what is wanted there by `to`.
fn scatter<R: Rank, D: Copy + Send + Sync + Default>(
    context: &Context<'_>,
    blocks: &mut [Block],
    counts: &[[usize; PLACES]],
    target: &mut [D],
    shift: u32,
    rank: impl Fn(usize) -> R + Sync,
    to: impl Fn(R) -> D + Sync,
) -> Result<()> {
    let mut writers = Writer::all(target, counts);
    let moved = in_steps(context, blocks, &mut writers, |range, writer| {
        dispatch(
            #[inline(always)]
            || {
                for i in range {
                    let rank = rank(i);
                    writer.push(digit(rank, shift), to(rank));
                }
            },
        );
        Ok(())
    })?;
    debug_assert!(moved.is_ok());
    writers.iter_mut().for_each(Writer::finish);
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
