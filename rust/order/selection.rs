//! Samples chosen, in two steps: how many is known first, so that the caller can provide the memory (in
//! Python: NumPy does, which knows how to ask for large pages), then one pass writes the positions.

use std::ops::Range;

use super::bits;
use super::edge::tiles;
use super::scan::Marks;
use crate::error::{Error, Result};
use crate::par::{CHUNK, Context, Progress, WAVE};
use crate::simd::dispatch;

/// Writes the chosen samples of a range, as many as there is room for.
type Write<'a> = Box<dyn Fn(Range<usize>, &mut [i64]) + Send + Sync + 'a>;

/// The samples chosen, by chunk. Of a shard's: those among its own rows, as positions in the whole.
pub struct Selection<'a> {
    rows: usize,
    counts: Vec<usize>,
    write: Write<'a>,
    /// How far the passes had come that chose.
    reached: Option<Progress>,
}

impl<'a> Selection<'a> {
    /// `counts[i]` samples of chunk i of `rows` samples, which `write` writes.
    pub(super) fn new(
        context: &Context<'_>,
        rows: usize,
        counts: Vec<usize>,
        write: impl Fn(Range<usize>, &mut [i64]) + Send + Sync + 'a,
    ) -> Self {
        Self { rows, counts, write: Box::new(write), reached: context.counted() }
    }

    /// The same, where `mark` gives the bits of a tile and the first sample is number `first` of all.
    pub(super) fn marked(
        context: &Context<'_>,
        rows: usize,
        first: usize,
        counts: Vec<usize>,
        mark: impl for<'m> Fn(Range<usize>, &'m mut Marks) -> &'m [u64] + Send + Sync + 'a,
    ) -> Self {
        Self::new(context, rows, counts, move |range, out| {
            let (mut marks, mut at) = (Marks::NONE, 0);
            dispatch(
                #[inline(always)]
                || {
                    for tile in tiles(range) {
                        let start = first + tile.start;
                        at += bits::write(mark(tile, &mut marks), start, &mut out[at..]);
                    }
                },
            );
        })
    }

    /// The same, where the bits are known: the words of each chunk.
    pub(super) fn of_words(
        context: &Context<'_>,
        rows: usize,
        first: usize,
        counts: Vec<usize>,
        words: Vec<Vec<u64>>,
    ) -> Self {
        Self::new(context, rows, counts, move |range, out| {
            bits::write(&words[range.start / CHUNK], first + range.start, out);
        })
    }

    /// The same, where the positions are known, ascending.
    pub(super) fn of_positions(context: &Context<'_>, rows: usize, positions: Vec<i64>) -> Self {
        let mut counts = vec![0; rows.div_ceil(CHUNK)];
        for &position in &positions {
            counts[position as usize / CHUNK] += 1;
        }
        Self::new(context, rows, counts, move |range, out| {
            let start = positions.partition_point(|&position| position < range.start as i64);
            out.copy_from_slice(&positions[start..start + out.len()]);
        })
    }

    /// How many samples are chosen.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "nobody asks a selection whether it is empty")]
    pub fn len(&self) -> usize {
        self.counts.iter().sum()
    }

    /// Writes their positions, ascending.
    ///
    /// # Errors
    /// [`Error::Shape`] where `out` has another length; those of the pass.
    pub fn write(&self, context: &Context<'_>, out: &mut [i64]) -> Result<()> {
        if out.len() != self.len() {
            let got = format!("{} for {} samples", out.len(), self.len());
            return Err(Error::shape("out", "needs one place for each sample chosen", got));
        }
        let context = context.counting(self.reached);
        let mut rest = out;
        let mut parts: Vec<&mut [i64]> = Vec::with_capacity(self.counts.len());
        for &count in &self.counts {
            let (part, others) = rest.split_at_mut(count);
            parts.push(part);
            rest = others;
        }
        for (wave, parts) in parts.chunks_mut(WAVE).enumerate() {
            let first = wave * WAVE * CHUNK;
            context.map_chunks_mut(parts, 1, |chunk, part| {
                let start = first + chunk * CHUNK;
                if !part[0].is_empty() {
                    (self.write)(start..self.rows.min(start + CHUNK), part[0]);
                }
            })?;
            context.passed((self.rows - first).min(WAVE * CHUNK));
        }
        Ok(())
    }

    /// Their positions, ascending, in memory of their own.
    ///
    /// # Errors
    /// Those of the pass.
    pub fn positions(&self, context: &Context<'_>) -> Result<Vec<i64>> {
        let mut out = vec![0; self.len()];
        self.write(context, &mut out)?;
        Ok(out)
    }
}
