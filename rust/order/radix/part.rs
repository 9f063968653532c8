//! Sorting one part within a core's cache: by two digits of the keys, as wide as it takes to part the ranks
//! from one another, to and fro between the part and a room as large. What is then still together, by keys that
//! differ only below, is sorted by itself in the same way.

use super::scratch::scratch;
use crate::error::Result;
use crate::order::rank::Rank;
use crate::par::{CHUNK, Context};
use crate::simd::dispatch;

/// Bits of a digit at most: its counts, and the lines that are being filled, do not fill the first-level cache.
const DIGIT: u32 = 11;
const PLACES: usize = 1 << DIGIT;

/// Bits beyond those that would number the ranks: so few then share both digits that mending is nothing.
const SPARE: u32 = 8;

/// Fewer ranks than this are sorted by comparing.
const FEW: usize = 1 << 7;

/// A part of the result, and where the ranks are that it is made of.
pub(super) struct Part<'a, R> {
    pub(super) out: &'a mut [i64],
    /// Their room, where the result's own does not fit them.
    pub(super) own: &'a mut [R],
}

/// What sorting a part takes beside it.
pub(super) struct Room<R> {
    ranks: Vec<R>,
    /// Ranks by the lower and the upper digit, then where the next of each goes.
    counts: Box<[[u32; PLACES]; 2]>,
}

impl<R: Rank> Part<'_, R> {
    pub(super) fn len(&self) -> usize {
        self.out.len()
    }

    pub(super) fn ranks(&mut self) -> &mut [R] {
        R::within(self.out).unwrap_or(self.own)
    }

    /// The ranks, in memory of their own.
    pub(super) fn copied(&mut self, context: &Context<'_>) -> Result<Vec<R>> {
        let mut ranks = scratch(self.len());
        let from = &*self.ranks();
        context.map_chunks_mut(&mut ranks, CHUNK, |first, ranks| {
            ranks.copy_from_slice(&from[first..first + ranks.len()]);
        })?;
        Ok(ranks)
    }

    /// Parts of these lengths.
    pub(super) fn cut(self, lens: impl IntoIterator<Item = usize>) -> Vec<Self> {
        let Self { mut out, mut own } = self;
        let mut parts = Vec::new();
        for len in lens {
            let own_len = own.len().min(len);
            let (first, rest);
            (first, out) = out.split_at_mut(len);
            (rest, own) = own.split_at_mut(own_len);
            parts.push(Self { out: first, own: rest });
        }
        parts
    }

    /// Parts of at most `len` ranks.
    pub(super) fn pieces(self, len: usize) -> Vec<Self> {
        let whole = self.len();
        self.cut((0..whole).step_by(len).map(|start| len.min(whole - start)))
    }

    /// Sorts the ranks and writes their indices.
    pub(super) fn sort(mut self, room: &mut Room<R>) {
        sort(self.ranks(), room);
        dispatch(
            #[inline(always)]
            || match R::within(self.out) {
                Some(ranks) => ranks.iter_mut().for_each(|rank| *rank = R::from_low(rank.index())),
                None => self.out.iter_mut().zip(self.own).for_each(|(out, rank)| *out = rank.index() as i64),
            },
        );
    }
}

impl<R: Rank> Room<R> {
    /// Room for parts of at most `len` ranks.
    pub(super) fn new(len: usize) -> Self {
        Self { ranks: vec![R::LEAST; len], counts: Box::new([[0; PLACES]; 2]) }
    }
}

/// Sorts ranks that ascend within equal keys.
fn sort<R: Rank>(ranks: &mut [R], room: &mut Room<R>) {
    if ranks.len() < FEW {
        ranks.sort_unstable();
        return;
    }
    if ranks.is_sorted() {
        return;
    }
    // Where keys fall evenly the digits' places lie so that their lines drive one another out of the cache.
    if ranks.is_sorted_by(|a, b| a.key_bits() >= b.key_bits()) {
        ranks.reverse();
        ranks.chunk_by_mut(|a, b| a.key_bits() == b.key_bits()).for_each(<[R]>::reverse);
        return;
    }
    let (least, left) = dispatch(
        #[inline(always)]
        || by_digits(ranks, room),
    );
    if left > 0 {
        let upper = |rank: &R| (rank.key_bits() - least) >> left;
        for together in ranks.chunk_by_mut(|a, b| upper(a) == upper(b)) {
            if together.len() > 1 {
                sort(together, room);
            }
        }
    }
}

/// Sorts ranks by the two upper digits of what their keys are above the least; gives that and how many bits are
/// left below.
#[inline(always)]
fn by_digits<R: Rank>(ranks: &mut [R], room: &mut Room<R>) -> (u64, u32) {
    let (least, most) = extent(ranks);
    let bits = u64::BITS - (most - least).leading_zeros();
    let sorted = bits.min(ranks.len().ilog2() + SPARE).min(2 * DIGIT);
    let left = bits - sorted;
    let shift = left + sorted / 2;
    let mask = (1 << (sorted / 2)) - 1;
    let lower = |rank: R| ((rank.key_bits() - least) >> left) as usize & mask & (PLACES - 1);
    let upper = |rank: R| ((rank.key_bits() - least) >> shift) as usize & (PLACES - 1);

    let Room { ranks: near, counts } = room;
    let near = &mut near[..ranks.len()];
    let [lowers, uppers] = &mut **counts;
    lowers[..=mask].fill(0);
    let places = 1 << (sorted - sorted / 2);
    uppers[..places].fill(0);
    for &rank in &*ranks {
        lowers[lower(rank)] += 1;
        uppers[upper(rank)] += 1;
    }
    begin(&mut lowers[..=mask]);
    begin(&mut uppers[..places]);
    deal(ranks, near, lowers, lower);
    deal(near, ranks, uppers, upper);
    (least, left)
}

/// The least and the greatest key.
#[inline(always)]
pub(super) fn extent<R: Rank>(ranks: &[R]) -> (u64, u64) {
    let (mut least, mut most) = (u64::MAX, 0);
    for rank in ranks {
        least = least.min(rank.key_bits());
        most = most.max(rank.key_bits());
    }
    (least, most)
}

/// Makes counts the places where the first of each goes.
#[inline(always)]
fn begin(counts: &mut [u32]) {
    let mut start = 0;
    for count in counts {
        start += std::mem::replace(count, start);
    }
}

/// Moves every rank to its digit's next place.
#[inline(always)]
fn deal<R: Rank>(from: &[R], to: &mut [R], next: &mut [u32; PLACES], digit: impl Fn(R) -> usize) {
    for &rank in from {
        let next = &mut next[digit(rank)];
        to[*next as usize] = rank;
        *next += 1;
    }
}
