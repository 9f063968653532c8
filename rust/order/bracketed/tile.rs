//! Some samples at once, small enough for the first-level cache, in loops that take no branch.

use super::super::balanced::Balanced;
use super::super::bits;
use super::super::brackets::{BEHIND, BINS, Grid, Line};
use super::super::classes::Label;
use super::super::is_nan;
use super::super::rank::Score;
use crate::simd::prefetch;

/// Samples whose bins are found in one loop and used in the next: all of it fits the first-level cache.
pub(super) const TILE: usize = 1 << 10;

/// Words of marks of a tile.
const WORDS: usize = TILE / 64;

/// What is found of some samples at once, in loops that take no branch.
pub(super) struct Tile<T> {
    rows: [u32; TILE],
    lines: [Line<T>; TILE],
    /// Row and bin.
    pub(super) codes: [u32; TILE],
    pub(super) behind: [u64; WORDS],
    pub(super) within: [u64; WORDS],
    pub(super) furthest: u64,
    pub(super) any_nan: bool,
}

impl<T: Score> Tile<T> {
    pub(super) const fn new() -> Self {
        Self {
            rows: [0; TILE],
            lines: [T::WHOLE; TILE],
            codes: [0; TILE],
            behind: [0; WORDS],
            within: [0; WORDS],
            furthest: 0,
            any_nan: false,
        }
    }

    #[inline(always)]
    pub(super) fn fill<L: Label>(
        &mut self,
        all: &Balanced<'_, T, L>,
        grid: &Grid<T>,
        scores: &[T; TILE],
        labels: &[L; TILE],
    ) {
        let mut furthest = 0;
        for (row, &label) in self.rows.iter_mut().zip(labels) {
            let distance = label.into().wrapping_sub(grid.least).cast_unsigned();
            furthest = distance.max(furthest);
            *row = distance as u32 & (grid.lines.len() - 1) as u32;
        }
        self.furthest = furthest;
        let lines = &grid.lines[..];
        for (line, &row) in self.lines.iter_mut().zip(&self.rows) {
            *line = lines[row as usize & (lines.len() - 1)];
        }
        let mut any_nan = false;
        for (((code, &row), &line), &score) in
            self.codes.iter_mut().zip(&self.rows).zip(&self.lines).zip(scores)
        {
            any_nan |= is_nan(score);
            *code = row * BINS as u32 + all.bin(score, line);
        }
        self.any_nan = any_nan;
        let (mut behind, mut within) = ([0; TILE], [0; TILE]);
        for ((behind, within), &code) in behind.iter_mut().zip(&mut within).zip(&self.codes) {
            let bin = code % BINS as u32;
            *behind = u8::from(bin == BEHIND);
            *within = u8::from(bin.wrapping_sub(1) < BEHIND - 1);
        }
        let bytes = behind.as_chunks().0.iter().zip(within.as_chunks().0);
        for ((words, others), (behind, within)) in self.behind.iter_mut().zip(&mut self.within).zip(bytes) {
            *words = bits::packed(behind);
            *others = bits::packed(within);
        }
    }

    /// Unmarks what lies behind the first `len` samples.
    pub(super) fn end(&mut self, len: usize) {
        for words in [&mut self.behind, &mut self.within] {
            words[len.div_ceil(64)..].fill(0);
            words[len / 64] &= (1 << (len % 64)) - 1;
        }
    }
}

/// Asks for all lines of cache that hold `values`.
#[inline(always)]
pub(super) fn ask_for<V>(values: &[V]) {
    const LINE: usize = 64;
    for value in values.iter().step_by(LINE / size_of::<V>()) {
        prefetch(value);
    }
}
