//! Samples chosen, in two steps: how many is known first, so that the caller can provide the memory (in
//! Python: NumPy does, which knows how to ask for large pages), then one pass writes the positions.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::par::{CHUNK, Context};

/// Writes the chosen samples of a range, as many as there is room for.
type Write<'a> = Box<dyn Fn(Range<usize>, &mut [i64]) + Send + Sync + 'a>;

/// The samples chosen, by chunk. Of a shard's: those among its own rows, as positions in the whole.
pub struct Selection<'a> {
    rows: usize,
    counts: Vec<usize>,
    write: Write<'a>,
}

impl<'a> Selection<'a> {
    /// `counts[i]` samples of chunk i of `rows` samples, which `write` writes.
    pub(super) fn new(
        rows: usize,
        counts: Vec<usize>,
        write: impl Fn(Range<usize>, &mut [i64]) + Send + Sync + 'a,
    ) -> Self {
        Self { rows, counts, write: Box::new(write) }
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
        let mut rest = out;
        let mut parts: Vec<&mut [i64]> = Vec::with_capacity(self.counts.len());
        for &count in &self.counts {
            let (part, others) = rest.split_at_mut(count);
            parts.push(part);
            rest = others;
        }
        context.map_chunks_mut(&mut parts, 1, |chunk, part| {
            let start = chunk * CHUNK;
            if !part[0].is_empty() {
                (self.write)(start..self.rows.min(start + CHUNK), part[0]);
            }
        })?;
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
