//! The equation of the price, for one criterion, l2 > 0 and one box for all samples that contains 0.
//!
//! With e_j = ±ψ_j turned to the wanted direction and y_j = |e_j|, the weights at a price t ≥ 0 are
//! λ_j = ±min((t·y_j − l1)₊ / 2l2, room), and t is the root of the increasing, piecewise linear
//!
//! ```text
//! F(t) = min(t/2, max_residual) + Σ_j y_j|λ_j(t)| − |b|.
//! ```
//!
//! On a piece, with P = Σy and Q = Σy² over the free samples and K = Σ y·room over the full ones,
//!
//! ```text
//! t = (2·l2·(|b| − K) + l1·P) / (l2 + Q)                        where t ≤ 2·max_residual,
//! t = (2·l2·(|b| − max_residual − K) + l1·P) / Q                beyond.
//! ```
//!
//! P, Q and K are integer sums, so a piece gives the same t whoever added it up in whatever order.

use super::passes::{LENGTHS, SQUARES};
use super::sift::{Sifted, sift};
use crate::error::Result;
use crate::fixed::Fixed;
use crate::float::Float;
use crate::par::{CHUNK, Context};
use crate::shard::Shards;
use crate::vecmath::Dd;

/// Newton steps taken on trust; from then on every second one is a bisection.
const TRUST: usize = 12;

/// The numbers of the problem, scaled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) l1: f64,
    pub(super) l2: f64,
    /// |b| > 0.
    pub(super) demand: Dd,
    /// Largest residual allowed.
    pub(super) limit: f64,
    /// Largest |λ| allowed where e > 0 and where e < 0.
    pub(super) room: [f64; 2],
    /// Samples that each one stands for: 1, but for those of a sample.
    pub(super) share: f64,
}

/// What a price means for a sample, exactly: its y lies above `woken` when its weight is not 0, above
/// `full` (for e > 0 and for e < 0) when the weight is all that the box allows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Cuts {
    pub(super) woken: f64,
    pub(super) full: [f64; 2],
}

/// The sums over any number of samples at one price.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums {
    /// Σy and Σy² of the free samples; Σy of the full ones with e > 0 and with e < 0.
    pub(super) lengths: [Fixed; 4],
    /// How many are free, full with e > 0 and full with e < 0.
    pub(super) counts: [i64; 3],
}

impl Sums {
    pub(super) fn join(&mut self, other: &Self) {
        self.lengths.iter_mut().zip(other.lengths).for_each(|(sum, more)| *sum += more);
        self.counts.iter_mut().zip(other.counts).for_each(|(count, more)| *count += more);
    }

    /// The same over all shards.
    pub(super) fn over_shards(&mut self, shards: &Shards<'_>) -> Result<()> {
        Fixed::over_shards(shards, &mut self.lengths)?;
        shards.sum(&mut self.counts)
    }
}

/// What the exact weights at a price amount to; |λ| = slope·y − start on the free samples.
pub(super) struct Totals {
    pub(super) effect: Dd,
    pub(super) norm: Dd,
    pub(super) squares: Dd,
    pub(super) slope: Dd,
    pub(super) start: Dd,
}

/// Where the root is.
pub(super) enum Place {
    /// With the sums there.
    At(Dd, Sums),
    /// Above the bracket, by Newton's method there.
    Above(Dd),
    /// Below the bracket, likewise.
    Below(Dd),
}

pub(super) fn less(a: Dd, b: Dd) -> bool {
    a.hi < b.hi || (a.hi == b.hi && a.lo < b.lo)
}

impl Terms {
    /// Whether the box limits any weight.
    pub(super) fn is_boxed(&self) -> bool {
        self.room != [f64::INFINITY; 2]
    }

    pub(super) fn cuts(&self, price: Dd) -> Cuts {
        if price.hi <= 0.0 {
            return Cuts { woken: f64::INFINITY, full: [f64::INFINITY; 2] };
        }
        // Nor is a y of 0, such as fills up a vector, ever above a cut.
        let below = |x: f64| if x == 0.0 { x } else { x.next_down() };
        let threshold = |size: Dd| {
            if price.hi == f64::INFINITY { Dd::default() } else { size / price }
        };
        // y > x exactly when y is above the largest double that is not above x …
        let woken = threshold(Dd::new(self.l1));
        let woken = if woken.lo < 0.0 { below(woken.hi) } else { woken.hi };
        let full = self.room.map(|room| {
            // Nor does an infinite price fill what has no bound.
            if room == f64::INFINITY {
                return room;
            }
            // … and y ≥ x exactly when it is above the largest one below x.
            let full = threshold(Dd::new(self.l1) + Dd::two_product(2.0 * self.l2, room));
            if !full.hi.is_finite() {
                return f64::INFINITY;
            }
            if full.lo > 0.0 { full.hi } else { below(full.hi) }
        });
        Cuts { woken, full }
    }

    /// The root of the linear piece whose sums these are, on the side of the limit on which `price` is.
    pub(super) fn piece_root(&self, sums: &Sums, price: Dd) -> Dd {
        let share = Dd::new(self.share);
        let [free, squares, full, full_negative] = sums.lengths;
        let mut held = Dd::default();
        for (sum, room) in [full, full_negative].into_iter().zip(self.room) {
            if room.is_finite() {
                held = held + sum.value(&LENGTHS) * Dd::new(room) * share;
            }
        }
        let beyond = self.is_beyond(price);
        let limit = if beyond { Dd::new(self.limit) } else { Dd::default() };
        let slack = if beyond { Dd::default() } else { Dd::new(self.l2) };
        let wanted = Dd::new(2.0 * self.l2) * (self.demand - limit - held)
            + Dd::new(self.l1) * free.value(&LENGTHS) * share;
        let steepness = slack + squares.value(&SQUARES) * share;
        if steepness.hi > 0.0 {
            wanted / steepness
        } else {
            Dd::new(if wanted.hi > 0.0 { f64::INFINITY } else { 0.0 })
        }
    }

    /// Σeλ, Σ|λ| and Σλ² of the exact weights at `price`, where the sums are these.
    pub(super) fn totals(&self, sums: &Sums, price: Dd) -> Totals {
        let line = [price, Dd::new(self.l1)].map(|x| x / Dd::new(2.0 * self.l2));
        let [slope, start] = if sums.counts[0] > 0 { line } else { [Dd::default(); 2] };
        let [free, squares, full @ ..] = sums.lengths;
        let [count, counts @ ..] = sums.counts.map(|count| Dd::new(count as f64));
        let free = free.value(&LENGTHS);
        // λ = slope·y − start on the free samples.
        let effect = slope * squares.value(&SQUARES) - start * free;
        let norm = slope * free - start * count;
        let mut totals = Totals { effect, norm, squares: slope * effect - start * norm, slope, start };
        for ((sum, count), room) in full.into_iter().zip(counts).zip(self.room) {
            if count.hi > 0.0 {
                let room = Dd::new(room);
                totals.effect = totals.effect + sum.value(&LENGTHS) * room;
                totals.norm = totals.norm + count * room;
                totals.squares = totals.squares + count * room * room;
            }
        }
        totals
    }

    fn is_beyond(&self, price: Dd) -> bool {
        price.hi > 2.0 * self.limit
    }

    /// The root of F among prices between `low` and `high`, with `base` the sums over the samples that
    /// are the same at all of them and `inside` the others. Newton's method from above; without a box
    /// and a limit F is convex and it never overshoots.
    pub(super) fn root(
        &self,
        context: &Context<'_>,
        base: &Sums,
        inside: &[f64],
        (mut low, mut high): (Dd, Dd),
    ) -> Result<Place> {
        let step = |price: Dd| -> Result<(Dd, Sums)> {
            let sums = self.sums(context, base, inside, &self.cuts(price))?;
            Ok((self.piece_root(&sums, price), sums))
        };
        let mut from = high;
        let (mut next, mut sums) = step(high)?;
        if less(high, next) {
            return Ok(Place::Above(next));
        }
        let mut low_is_known = false;
        let mut round = 0;
        loop {
            round += 1;
            if self.is_beyond(next) == self.is_beyond(from) && self.cuts(next) == self.cuts(from) {
                return Ok(Place::At(next, sums));
            }
            if !low_is_known && !less(low, next) {
                (next, sums) = step(low)?;
                if less(next, low) {
                    return Ok(Place::Below(next));
                }
                if next == low {
                    return Ok(Place::At(low, sums));
                }
                low_is_known = true;
                from = low;
                continue;
            }
            let usable = less(low, next) && less(next, high);
            if !usable || (round >= TRUST && round % 2 == 1) {
                let half = middle(low.hi, high.hi);
                if half == low.hi || half == high.hi {
                    let price = if usable { next } else { high };
                    return Ok(Place::At(price, step(price)?.1));
                }
                next = Dd::new(half);
            }
            from = next;
            (next, sums) = step(from)?;
            if less(from, next) {
                (low, low_is_known) = (from, true);
            } else if less(next, from) {
                high = from;
            } else {
                return Ok(Place::At(from, sums));
            }
        }
    }

    fn sums(&self, context: &Context<'_>, base: &Sums, inside: &[f64], cuts: &Cuts) -> Result<Sums> {
        let parts = context
            .map_chunks(inside.len(), CHUNK, |range| self.sift(&inside[range], 1.0, cuts, cuts).sums)?;
        let mut sums = *base;
        for part in parts {
            sums.join(&part);
        }
        Ok(sums)
    }

    /// One chunk of a pass, at all prices between those of the cuts.
    pub(super) fn sift<T: Float>(&self, psi: &[T], scale: f64, surely: &Cuts, maybe: &Cuts) -> Sifted {
        if self.is_boxed() {
            sift::<T, true>(psi, scale, *surely, *maybe)
        } else {
            sift::<T, false>(psi, scale, *surely, *maybe)
        }
    }

    /// λ's size at y, before rounding.
    #[inline(always)]
    pub(super) fn size(&self, price: Dd, y: f64, side: usize) -> f64 {
        let pull = price.lo.mul_add(y, price.hi.mul_add(y, -self.l1));
        (pull.max(0.0) / (2.0 * self.l2)).min(self.room[side])
    }
}

/// The float halfway between two that are not negative, counted in floats: at most 63 halvings separate
/// neighbours, whatever the range.
pub(super) fn middle(low: f64, high: f64) -> f64 {
    f64::from_bits(u64::midpoint(low.to_bits(), high.to_bits()))
}
