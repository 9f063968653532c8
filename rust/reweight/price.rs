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

use super::passes::{LENGTHS, SQUARES, Sifted, sift};
use super::respond::{Respond, Responded};
use crate::error::Result;
use crate::fixed::{Fixed, Grid, exponent};
use crate::float::Float;
use crate::lanes::with_lanes;
use crate::par::Context;
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
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Cuts {
    pub(super) woken: f64,
    pub(super) full: [f64; 2],
}

/// The sums of [`Sift`] over any number of samples.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums([Fixed; 4]);

impl Sums {
    pub(super) fn add(&mut self, sifted: &Sifted) {
        self.0.iter_mut().zip(sifted.sums).for_each(|(sum, more)| *sum += more);
    }

    /// With Σy and Σy² of more free samples.
    pub(super) fn with(mut self, more: &[Fixed]) -> Self {
        self.0.iter_mut().zip(more).for_each(|(sum, &more)| *sum += more);
        self
    }

    pub(super) fn fixed(&mut self) -> &mut [Fixed] {
        &mut self.0
    }
}

/// Where the root is.
pub(super) enum Place {
    At(Dd),
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
        let threshold = |size: Dd| {
            if price.hi == f64::INFINITY { Dd::default() } else { size / price }
        };
        // y > x exactly when y is above the largest double that is not above x …
        let woken = threshold(Dd::new(self.l1));
        let woken = if woken.lo < 0.0 { woken.hi.next_down() } else { woken.hi };
        let full = self.room.map(|room| {
            if room == f64::INFINITY {
                return room;
            }
            // … and y ≥ x exactly when it is above the largest one below x.
            let full = threshold(Dd::new(self.l1) + Dd::two_product(2.0 * self.l2, room));
            if full.lo > 0.0 { full.hi } else { full.hi.next_down() }
        });
        Cuts { woken, full }
    }

    /// The root of the linear piece whose sums these are, on the side of the limit on which `price` is.
    pub(super) fn piece_root(&self, sums: &Sums, price: Dd) -> Dd {
        let share = Dd::new(self.share);
        let [free, squares, full, full_negative] = sums.0;
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
        inside: &[Vec<f64>],
        (mut low, mut high): (Dd, Dd),
    ) -> Result<Place> {
        let step = |price: Dd| -> Result<Dd> {
            let sums = self.sums(context, base, inside, &self.cuts(price))?;
            Ok(self.piece_root(&sums, price))
        };
        let mut from = high;
        let mut next = step(high)?;
        if less(high, next) {
            return Ok(Place::Above(next));
        }
        let mut low_is_known = false;
        let mut round = 0;
        loop {
            round += 1;
            if self.is_beyond(next) == self.is_beyond(from) && self.cuts(next) == self.cuts(from) {
                return Ok(Place::At(next));
            }
            if !low_is_known && !less(low, next) {
                let there = step(low)?;
                if less(there, low) {
                    return Ok(Place::Below(there));
                }
                if there == low {
                    return Ok(Place::At(low));
                }
                low_is_known = true;
                from = low;
                next = there;
                continue;
            }
            let usable = less(low, next) && less(next, high);
            if !usable || (round >= TRUST && round % 2 == 1) {
                let half = middle(low.hi, high.hi);
                if half == low.hi || half == high.hi {
                    return Ok(Place::At(if usable { next } else { high }));
                }
                next = Dd::new(half);
            }
            from = next;
            next = step(from)?;
            if less(from, next) {
                (low, low_is_known) = (from, true);
            } else if less(next, from) {
                high = from;
            } else {
                return Ok(Place::At(from));
            }
        }
    }

    fn sums(&self, context: &Context<'_>, base: &Sums, inside: &[Vec<f64>], cuts: &Cuts) -> Result<Sums> {
        let parts = context.map_chunks(inside.len(), 8, |range| {
            let mut sums = Sums::default();
            for psi in &inside[range] {
                sums.add(&self.sift(psi, 1.0, cuts, cuts));
            }
            sums
        })?;
        let mut sums = *base;
        for part in parts {
            sums.0.iter_mut().zip(part.0).for_each(|(sum, more)| *sum += more);
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

/// What the last pass needs: the price, and grids that hold its sums.
pub(super) struct Response {
    pub(super) price: Dd,
    pub(super) l1: f64,
    pub(super) l2: f64,
    pub(super) room: [f64; 2],
    /// A free weight λ is within `rounding`·λ of its exact value and, where it is subnormal, within
    /// `underflow` more: it takes two roundings in double precision and one to its type.
    pub(super) rounding: f64,
    pub(super) underflow: f64,
    /// Whether effects are counted on both grids.
    pub(super) fine: bool,
    /// Grids of y|λ|, of |λ| and of λ².
    pub(super) effects: Grid,
    pub(super) sizes: Grid,
    pub(super) squares: Grid,
}

impl Response {
    /// For weights of the type `T`; `largest` is the largest y.
    pub(super) fn new<T: Float>(terms: &Terms, price: Dd, largest: f64) -> Self {
        let size = terms.size(price, largest, 0).max(terms.size(price, largest, 1));
        let top = exponent(size).max(-400) + 2;
        Self {
            price,
            l1: terms.l1,
            l2: terms.l2,
            room: terms.room,
            rounding: 8.0 * T::ROUNDING.0,
            underflow: T::ROUNDING.0 * T::ROUNDING.1,
            // Singles round by more than the coarse grid does.
            fine: !T::IS_SINGLE,
            effects: Grid::below(top + exponent(largest) + 1),
            sizes: Grid::below(top),
            squares: Grid::below(2 * top),
        }
    }

    /// The weights of `psi`, and their part of the certificate.
    pub(super) fn respond<I: Float, T: Float>(&self, psi: &[I], weights: &mut [T], scale: f64) -> Responded {
        let response = self;
        match (self.room != [f64::INFINITY; 2], self.fine) {
            (true, true) => with_lanes(Respond::<I, T, true, true> { psi, weights, scale, response }),
            (true, false) => with_lanes(Respond::<I, T, true, false> { psi, weights, scale, response }),
            (false, true) => with_lanes(Respond::<I, T, false, true> { psi, weights, scale, response }),
            (false, false) => with_lanes(Respond::<I, T, false, false> { psi, weights, scale, response }),
        }
    }

    /// The most by which counting can have changed the effect of so many weights.
    pub(super) fn effect_error(&self, terms: usize) -> f64 {
        if self.fine { self.effects.error(terms) } else { self.effects.coarse_error(terms) }
    }
}

/// The float halfway between two that are not negative, counted in floats: at most 63 halvings separate
/// neighbours, whatever the range.
pub(super) fn middle(low: f64, high: f64) -> f64 {
    f64::from_bits(u64::midpoint(low.to_bits(), high.to_bits()))
}
