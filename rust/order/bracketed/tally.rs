//! What is counted on the way: samples by class and bin, and the cuts that follow from the counts.

use super::super::balanced::by_first;
use super::super::brackets::{BEHIND, BINS};

/// The share of the samples, and the least of them, that may share the bins of the cuts.
const FEW_SHARE: usize = 8;
const LEAST_FEW: usize = 1 << 16;

/// With few rows neighbours are often counted in the same place, and one would wait for the other: so these
/// many counters take turns where there are at most so many rows.
const TURNS: usize = 4;
const FEW_ROWS: usize = 64;

/// What one thread has seen.
pub(super) struct Tally {
    /// Samples by row and bin, a few times over.
    pub(super) counts: Vec<u32>,
    turns: usize,
    /// The first sample of each row.
    pub(super) firsts: Vec<usize>,
    /// The rows without one.
    unseen: Vec<u32>,
    /// The greatest distance from the least label.
    pub(super) furthest: u64,
    pub(super) refused: Option<usize>,
    pub(super) chunks: Vec<Chunk>,
}

/// What is known of a chunk.
pub(super) struct Chunk {
    pub(super) number: usize,
    /// One bit for each sample that stays.
    pub(super) words: Vec<u64>,
    /// Row, bin and place of each sample within its class's bracket.
    pub(super) listed: Vec<u32>,
}

/// The cut of one row, which is in some bin: the first `need` of the `count` samples in it go.
#[derive(Clone, Copy)]
pub(super) struct Cut {
    pub(super) bin: u32,
    pub(super) need: usize,
    pub(super) count: usize,
}

impl Tally {
    pub(super) fn new(rows: usize) -> Self {
        let turns = if rows <= FEW_ROWS { TURNS } else { 1 };
        Self {
            counts: vec![0; turns * rows * BINS],
            turns,
            firsts: vec![usize::MAX; rows],
            unseen: (0..rows as u32).collect(),
            furthest: 0,
            refused: None,
            chunks: Vec::new(),
        }
    }

    #[inline(always)]
    pub(super) fn count(&mut self, codes: &[u32]) {
        let turn = if self.turns == 1 { 0 } else { self.firsts.len() * BINS };
        let (together, rest) = codes.as_chunks::<TURNS>();
        for codes in together {
            for (i, &code) in codes.iter().enumerate() {
                self.counts[i * turn + code as usize] += 1;
            }
        }
        for &code in rest {
            self.counts[code as usize] += 1;
        }
    }

    /// Notes the first sample of each row that has its first, which `first` finds.
    pub(super) fn meet(&mut self, first: impl Fn(usize) -> usize) {
        let rows = self.firsts.len();
        let Self { counts, turns, firsts, unseen, .. } = self;
        unseen.retain(|&row| {
            let row = row as usize;
            let of_turn = |turn: usize| &counts[(turn * rows + row) * BINS..][..BINS];
            let none = (0..*turns).all(|turn| of_turn(turn).iter().all(|&count| count == 0));
            if !none {
                firsts[row] = first(row);
            }
            none
        });
    }

    /// Takes in what another has seen; of its counts all turns into the first.
    pub(super) fn add(&mut self, other: Self) {
        let size = self.firsts.len() * BINS;
        for counts in other.counts.chunks_exact(size) {
            self.counts.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
        self.firsts.iter_mut().zip(&other.firsts).for_each(|(first, &other)| *first = other.min(*first));
        self.furthest = self.furthest.max(other.furthest);
        self.refused = self.refused.into_iter().chain(other.refused).min();
        self.chunks.extend(other.chunks);
    }

    /// The sizes of the classes and their rows, in the order of their first samples.
    pub(super) fn classes(&self) -> (Vec<usize>, Vec<usize>) {
        let rows = by_first(&self.firsts);
        (rows.iter().map(|&row| self.size(row)).collect(), rows)
    }

    fn row(&self, row: usize) -> &[u32] {
        &self.counts[row * BINS..][..BINS]
    }

    fn size(&self, row: usize) -> usize {
        self.row(row).iter().map(|&count| count as usize).sum()
    }

    /// The cut of each row; None where one lies outside its bracket, or where too many of the `len` samples
    /// share the bins of the cuts.
    pub(super) fn cuts(&self, rows: &[usize], quotas: &[usize], len: usize) -> Option<Vec<Cut>> {
        let mut cuts = vec![Cut { bin: BEHIND, need: 0, count: 0 }; self.firsts.len()];
        let mut shared = 0;
        for (&row, &quota) in rows.iter().zip(quotas) {
            let counts = self.row(row);
            let mut need = quota;
            let bin = counts.iter().position(|&count| {
                let within = need < count as usize;
                need -= if within { 0 } else { count as usize };
                within
            });
            // Where all go that may, none may be behind.
            let behind = BEHIND as usize;
            let bin = if counts[behind] == 0 { bin.unwrap_or(behind) } else { bin? };
            if bin == 0 || bin == behind && need > 0 {
                return None;
            }
            let count = if bin == behind { 0 } else { counts[bin] as usize };
            shared += count;
            cuts[row] = Cut { bin: bin as u32, need, count };
        }
        (shared <= (len / FEW_SHARE).max(LEAST_FEW)).then_some(cuts)
    }
}
