//! Sorting in two steps. By the upper bits of their keys the ranks are dealt, once, through memory, to parts
//! of near-equal size, each part before the next; then every part is sorted by itself within a core's cache.
//! Ranks given by index keep their order within equal keys, so the index bits need no sorting. No two ranks
//! are equal, so the result shows neither where the parts begin nor which thread took them.

mod part;
mod scatter;
mod scratch;
mod source;
mod split;

use std::ops::{Range, RangeInclusive};
use std::sync::Mutex;

use part::{Part, Room};
use scratch::scratch;
pub(super) use source::{Ordered, Source};
use split::Split;

use super::rank::Rank;
use crate::error::Result;
use crate::par::{CHUNK, Context};
use crate::simd::dispatch;

/// Fewer ranks than this are sorted by comparing.
const FEW: usize = 1 << 12;

/// Ranks that a thread handles between two looks at the stop request.
const STEP: usize = 1 << 20;

/// Writes the indices of the ranks in order, as many as there is room for; or gives the first refusal.
pub(super) fn sort<R: Rank>(
    context: &Context<'_>,
    source: &(impl Source<R> + ?Sized),
    out: &mut [i64],
) -> Result<std::result::Result<(), usize>> {
    let len = out.len();
    context.check()?;
    // For the extent of the keys, to count, to deal and to sort.
    context.still(4 * len);
    let keys = match extent(context, len, source)? {
        Ok(keys) => keys,
        Err(index) => return Ok(Err(index)),
    };
    if len < FEW {
        let mut ranks = vec![R::LEAST; len];
        source.fill(0, &mut ranks);
        ranks.sort_unstable();
        out.iter_mut().zip(ranks).for_each(|(out, rank)| *out = rank.index() as i64);
        context.still(0);
        return Ok(Ok(()));
    }
    if run(context, len, source)? {
        context.map_chunks_mut(out, CHUNK, |first, out| {
            source.tiles(first..first + out.len(), |start, ranks| {
                let out = &mut out[start - first..][..ranks.len()];
                out.iter_mut().zip(ranks).for_each(|(out, rank)| *out = rank.index() as i64);
            });
        })?;
        context.still(0);
        return Ok(Ok(()));
    }
    // The ranks live in the result's own room where they fit it.
    let mut own = if R::within(out).is_some() { Vec::new() } else { scratch(len) };
    let whole = Part { out, own: &mut own };
    let split = Split::new::<R>(context, len);
    let mut parts = split.deal(context, whole, &keys, source)?;
    let mut ready = Vec::with_capacity(parts.len());
    while let Some(mut part) = parts.pop() {
        if part.len() <= split.largest() {
            ready.push(part);
            continue;
        }
        context.still(2 * part.len() + len);
        match extent(context, part.len(), &*part.ranks())? {
            // So many share their upper bits that the next ones are asked.
            Ok(keys) if keys.start() < keys.end() => {
                let ranks = part.copied(context)?;
                parts.extend(split.deal(context, part, &keys, &ranks[..])?);
            }
            // In order already, and so is any piece of it.
            _ => ready.extend(part.pieces(split.share)),
        }
    }
    context.still(ready.iter().map(Part::len).sum());
    each(context, ready)?;
    Ok(Ok(()))
}

/// Whether the keys rise or stay, from the first to the last.
fn run<R: Rank>(context: &Context<'_>, len: usize, source: &(impl Source<R> + ?Sized)) -> Result<bool> {
    let rising = |range: Range<usize>| {
        let (mut rising, mut before) = (true, 0);
        dispatch(
            #[inline(always)]
            || {
                // The one before the range belongs to it.
                source.tiles(range.start.saturating_sub(1)..range.end, |_, ranks| {
                    rising &= before <= ranks[0].key_bits();
                    for pair in ranks.windows(2) {
                        rising &= pair[0].key_bits() <= pair[1].key_bits();
                    }
                    before = ranks[ranks.len() - 1].key_bits();
                });
            },
        );
        rising
    };
    // Most arrays show at their beginning that they are no run.
    Ok(rising(0..FEW) && context.map_chunks(len, CHUNK, rising)?.into_iter().all(|rising| rising))
}

/// The least and the greatest key, or the first refusal.
fn extent<R: Rank>(
    context: &Context<'_>,
    len: usize,
    source: &(impl Source<R> + ?Sized),
) -> Result<std::result::Result<RangeInclusive<u64>, usize>> {
    let chunks = context.map_chunks(len, CHUNK, |range| {
        let (mut least, mut most) = (u64::MAX, 0);
        dispatch(
            #[inline(always)]
            || {
                if let Some(index) = source.refused(range.clone()) {
                    return Err(index);
                }
                source.tiles(range, |_, ranks| {
                    let of_tile = part::extent(ranks);
                    (least, most) = (least.min(of_tile.0), most.max(of_tile.1));
                });
                Ok((least, most))
            },
        )
    })?;
    let chunks: std::result::Result<Vec<(u64, u64)>, usize> = chunks.into_iter().collect();
    Ok(chunks.map(|chunks| {
        let (least, most) = chunks.into_iter().fold((u64::MAX, 0), |a, b| (a.0.min(b.0), a.1.max(b.1)));
        least..=most
    }))
}

/// Sorts each part and writes its indices. Threads take them as they come.
fn each<R: Rank>(context: &Context<'_>, parts: Vec<Part<'_, R>>) -> Result<()> {
    let longest = parts.iter().map(Part::len).max().unwrap_or(0);
    let threads = context.threads().min(parts.len());
    let mut rooms: Vec<Room<R>> = (0..threads).map(|_| Room::new(longest)).collect();
    let parts = Mutex::new(parts.into_iter());
    let next = || parts.lock().ok()?.next();
    loop {
        let done = context.map_chunks_mut(&mut rooms, 1, |_, room| {
            let mut done = 0;
            while done < STEP
                && let Some(part) = next()
            {
                done += part.len();
                part.sort(&mut room[0]);
            }
            done
        })?;
        match done.into_iter().sum() {
            0 => return Ok(()),
            done => context.passed(done),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::rank::RankOf;

    fn sorted<R: RankOf<u32>>(keys: &[u32], threads: usize) -> Vec<i64> {
        let context = Context::new(Some(threads), &|| false).unwrap();
        let mut out = vec![0; keys.len()];
        let ranks: Vec<R> = keys.iter().zip(0..).map(|(&key, i)| R::new(key, i)).collect();
        sort(&context, &ranks[..], &mut out).unwrap().unwrap();
        out
    }

    #[test]
    fn every_pattern_and_length_is_sorted_at_either_width() {
        let noise = |i: u32| (u64::from(i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32;
        for len in [0, 1, FEW as u32 - 1, FEW as u32, 70_001, 200_003] {
            let patterns: [&dyn Fn(u32) -> u32; 10] = [
                &noise,
                &|i| i,
                &|i| len - i,
                &|i| i % 20,
                &|i| if noise(i) % 100 < 95 { 7 } else { noise(i + len) },
                &|_| 7,
                &|i| noise(i) & 0xffc0_0000,
                // Nearly all share their upper bits, and differ below.
                &|i| if i == len / 2 { u32::MAX } else { noise(i) >> 18 },
                // In parts and in digits few values, each of many ranks that differ in the last bit.
                &|i| ((noise(i) % 5) << 29) | (noise(i + len) % 2),
                &|i| u32::MAX - (noise(i) >> 16) * u32::from(i % 7 == 0),
            ];
            for (which, pattern) in patterns.into_iter().enumerate() {
                let keys: Vec<u32> = (0..len).map(pattern).collect();
                let mut expected: Vec<i64> = (0..i64::from(len)).collect();
                expected.sort_by_key(|&i| keys[i as usize]);
                for threads in [1, 2, 7] {
                    let what = format!("pattern {which}, {len}, {threads} threads");
                    assert_eq!(sorted::<u64>(&keys, threads), expected, "{what}");
                    assert_eq!(sorted::<u128>(&keys, threads), expected, "{what}, wide");
                }
            }
        }
    }
}
