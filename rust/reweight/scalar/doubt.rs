//! Two prices and the rows that they disagree about.
//!
//! Between two prices most weights are all the while at rest, at the same bound or free. What the first two
//! add to F is a number, and the free ones add a line: Σ eλ = ramp·(Σy² − m·Σy) + s·Σy². So one pass over
//! the data leaves few rows to read again, and F is as exact as before.

use super::super::passes::{LENGTHS, SQUARES, vectors};
use super::Equation;
use super::line::Line;
use super::rows::{BLOCK, Rows, in_blocks};
use crate::error::Result;
use crate::fixed::{Fixed, Grid, Steps, exponent};
use crate::float::Float;
use crate::lanes::{Kernel, Lanes, Tally, WIDTH, with_lanes};
use crate::par::CHUNK;
use crate::vecmath::Dd;

/// The rows in doubt, and what the others add.
pub(super) struct Doubt {
    /// e, the lower and the upper bounds of this shard's.
    pub(super) rows: [Vec<f64>; 3],
    pub(super) rest: Rest,
}

/// What the rows beyond doubt add, over all shards.
#[derive(Clone, Copy, Default)]
pub(super) struct Rest {
    /// Σ eλ of those at rest or at a bound.
    held: Dd,
    /// Σ y and Σ y² of the free ones.
    lengths: Dd,
    pub(super) squares: Dd,
    /// A weight is infinite.
    pub(super) unbounded: bool,
}

impl Rest {
    /// Σ eλ of the free ones at a line.
    pub(super) fn free(&self, line: &Line) -> Dd {
        if self.squares.hi == 0.0 {
            return Dd::default();
        }
        let above = self.squares - Dd::new(line.threshold) * self.lengths;
        Dd::new(line.ramp) * above + line.slope * self.squares
    }

    /// Σ eλ of all.
    pub(super) fn effect(&self, line: &Line) -> Dd {
        self.held + self.free(line)
    }
}

impl<T: Float> Equation<'_, '_, T> {
    /// The rows that the lines of two prices do not agree about, of all rows or of those in doubt so far.
    pub(super) fn divide(&mut self, low: &Line, high: &Line) -> Result<Doubt> {
        let held = Grid::below(exponent(self.most(high)) + 2);
        let parts = if let Some(Doubt { rows, .. }) = &self.doubt {
            self.context.map_chunks(rows[0].len(), CHUNK, |range| {
                let (mut divided, mut to) = (Divided::default(), room());
                for first in range.clone().step_by(BLOCK) {
                    let block = first..range.end.min(first + BLOCK);
                    let rows = rows.each_ref().map(|row| &row[block.clone()]);
                    divided.take(Divide { rows, scale: 1.0, low, high, held, to: &mut to });
                }
                divided
            })?
        } else {
            self.passes += 1;
            let scale = self.sign * self.problem.scale;
            self.context.map_chunks(self.problem.n, CHUNK, |range| {
                let (mut divided, mut to) = (Divided::default(), room());
                in_blocks(self.problem, range, |_, rows| {
                    divided.take(Divide { rows, scale, low, high, held, to: &mut to });
                });
                divided
            })?
        };
        let mut all = Divided::default();
        for part in parts {
            all.sums.iter_mut().zip(part.sums).for_each(|(sum, more)| *sum += more);
            all.infinite += part.infinite;
            all.rows.iter_mut().zip(part.rows).for_each(|(rows, more)| rows.extend(more));
        }
        let shards = self.context.shards();
        Fixed::over_shards(shards, &mut all.sums)?;
        let mut infinite = [all.infinite];
        shards.sum(&mut infinite)?;
        let before = self.doubt.as_ref().map_or(Rest::default(), |doubt| doubt.rest);
        let [bound, lengths, squares] = all.sums;
        Ok(Doubt {
            rows: all.rows,
            rest: Rest {
                held: before.held + bound.value(&held),
                lengths: before.lengths + lengths.value(&LENGTHS),
                squares: before.squares + squares.value(&SQUARES),
                unbounded: before.unbounded || infinite[0] > 0,
            },
        })
    }
}

/// What a chunk is divided into.
#[derive(Default)]
struct Divided {
    rows: [Vec<f64>; 3],
    /// Σ eλ of the rows that are held, Σ y and Σ y² of the free ones.
    sums: [Fixed; 3],
    /// Rows held by no bound.
    infinite: i64,
}

impl Divided {
    fn take<T: Float>(&mut self, divide: Divide<'_, T>) {
        let Divide { to, .. } = divide;
        let (sums, infinite, used) = with_lanes(Divide { to: &mut *to, ..divide });
        self.sums.iter_mut().zip(sums).for_each(|(sum, steps)| *sum += steps);
        self.infinite += infinite;
        self.rows.iter_mut().zip(to).for_each(|(rows, to)| rows.extend_from_slice(&to[..used]));
    }
}

/// Room for the rows in doubt of a block, and for one vector more than there can be.
type Room = [Vec<f64>; 3];

fn room() -> Room {
    std::array::from_fn(|_| vec![0.0; BLOCK + WIDTH])
}

/// One block of rows, the two lines, and where the rows in doubt go.
struct Divide<'a, T> {
    rows: Rows<'a, T>,
    /// Times this ψ is e.
    scale: f64,
    low: &'a Line,
    high: &'a Line,
    held: Grid,
    to: &'a mut Room,
}

impl<T: Float> Kernel for Divide<'_, T> {
    type Output = ([Steps; 3], i64, usize);

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> Self::Output {
        let Self { rows, scale, low, high, held, to } = self;
        let [(psi, psi_tail), (lower, lower_tail), (upper, upper_tail)] = rows.map(vectors::<T, WIDTH>);
        let (zero, most) = (lanes.splat(0.0), lanes.splat(f64::MAX));
        let scale = lanes.splat(scale);
        let mut bound = Tally::new(lanes, held);
        let mut lengths = Tally::new(lanes, LENGTHS);
        let mut squares = Tally::new(lanes, SQUARES);
        let (mut infinite, mut used) = (0, 0);
        let tails = (psi_tail.as_slice(), lower_tail.as_slice(), upper_tail.as_slice());
        for (psi, lower, upper) in [(psi, lower, upper), tails] {
            for ((x, lower), upper) in psi.iter().zip(lower).zip(upper) {
                let e = lanes.mul(lanes.read(x), scale);
                let (lower, upper) = (lanes.read(lower), lanes.read(upper));
                let y = lanes.abs(e);
                // The box, turned to where the price moves the weight.
                let negative = lanes.greater(zero, e);
                let least = lanes.select(negative, lanes.sub(zero, upper), lower);
                let limit = lanes.select(negative, lanes.sub(zero, lower), upper);
                let least = lanes.max(least, zero);
                let first = lanes.max(low.lanes(lanes, y), zero);
                let last = lanes.max(high.lanes(lanes, y), zero);
                let moves = lanes.greater(lanes.min(last, limit), least);
                let stops = lanes.greater(limit, first);
                // At rest, or from the first price on as far as the box lets it go.
                let weight = lanes.select(moves, limit, lanes.min(least, limit));
                let between = lanes.and(moves, stops);
                let free = lanes.and(between, lanes.greater(first, least));
                let free = lanes.except(free, lanes.greater(last, limit));
                let is_held = lanes.except(lanes.greater(y, zero), between);
                let is_open = lanes.and(is_held, lanes.greater(weight, most));
                infinite += i64::from(lanes.held(is_open));
                bound.add_product(lanes, y, lanes.keep(lanes.except(is_held, is_open), weight));
                let counted = lanes.keep(free, y);
                lengths.add(lanes, counted);
                squares.add_product(lanes, counted, counted);
                let doubtful = lanes.except(between, free);
                let bits = lanes.bits(doubtful);
                if bits != 0 {
                    for (to, x) in to.iter_mut().zip([e, lower, upper]) {
                        if let Some(to) = to[used..].first_chunk_mut() {
                            lanes.compress(doubtful, x, to);
                        }
                    }
                }
                used += bits.count_ones() as usize;
            }
        }
        let count = psi.len() + usize::from(psi_tail.is_some());
        ([bound, lengths, squares].map(|sum| sum.steps(lanes, count)), infinite, used)
    }
}
