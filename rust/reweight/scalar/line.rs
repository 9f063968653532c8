//! The weights as a function of y = |ψ|, and what one reading of some rows finds at such a line.

use std::ops::Range;

use crate::fixed::{Counts, Fixed, Grid};
use crate::lanes::Lanes;
use crate::simd::LANES;
use crate::vecmath::Dd;

use super::super::passes::SQUARES;

/// The weights' size as a function of y = |ψ|.
#[derive(Clone, Copy)]
pub(super) struct Line {
    pub(super) ramp: f64,
    pub(super) threshold: f64,
    pub(super) slope: Dd,
}

impl Line {
    /// |λ| before the box, negative below the threshold.
    #[inline(always)]
    pub(super) fn at(&self, y: f64) -> f64 {
        let above = y - self.threshold;
        // An infinite ramp says nothing about a sample exactly at the threshold.
        let ramp = if above == 0.0 { 0.0 } else { self.ramp * above };
        (self.slope.hi * y + ramp) + self.slope.lo * y
    }

    /// The same of eight samples.
    #[inline(always)]
    pub(super) fn lanes<L: Lanes>(&self, lanes: L, y: L::Floats) -> L::Floats {
        let above = lanes.sub(y, lanes.splat(self.threshold));
        let apart = lanes.greater(lanes.abs(above), lanes.splat(0.0));
        let ramp = lanes.keep(apart, lanes.mul(lanes.splat(self.ramp), above));
        let slope = lanes.mul(lanes.splat(self.slope.hi), y);
        lanes.add(lanes.add(slope, ramp), lanes.mul(lanes.splat(self.slope.lo), y))
    }

    /// Every weight at rest, and the start of the slope where l1 = 0.
    pub(super) const fn resting() -> Self {
        Self { ramp: 0.0, threshold: 0.0, slope: Dd::new(0.0) }
    }

    /// Every weight as far as the box lets it go.
    pub(super) const fn saturated() -> Self {
        Self { ramp: f64::INFINITY, threshold: 0.0, slope: Dd::new(0.0) }
    }
}

/// What is found at a line, over all shards.
#[derive(Clone, Copy, Default)]
pub(super) struct Value {
    /// Σ e_jλ_j over the finite weights.
    pub(super) effect: Dd,
    /// A weight is infinite.
    pub(super) unbounded: bool,
    /// Σ y_j² over the weights that grow with the slope, the number of those that were read one by one, and
    /// the share of all in the effect, Σ|e_jλ_j|.
    pub(super) free: f64,
    pub(super) count: i64,
    pub(super) mass: f64,
}

/// The same as integers: Σ e_jλ_j, Σ y_j² and Σ|e_jλ_j|; the free weights and the infinite ones.
#[derive(Clone, Copy, Default)]
pub(super) struct Counted {
    pub(super) sums: [Fixed; 3],
    pub(super) counts: [i64; 2],
}

impl Counted {
    /// The sums over the rows of `range`, kept in lanes so that the loop is vectorised. `rows` has the ψ,
    /// lower and upper bounds of `LANES` of them, 0 for each ψ past the end.
    #[inline(always)]
    pub(super) fn of(
        line: &Line,
        sign: f64,
        grid: Grid,
        range: Range<usize>,
        rows: impl Fn(usize, usize) -> [[f64; LANES]; 3],
    ) -> Self {
        let mut sums = [grid, SQUARES, grid].map(Counts::new);
        let (mut count, mut unbounded) = ([0i64; LANES], [0i64; LANES]);
        for first in range.clone().step_by(LANES) {
            let [psi, lower, upper] = rows(first, range.end);
            for i in 0..LANES {
                let e = sign * psi[i];
                let raw = line.at(e.abs());
                let signed = raw.max(0.0).copysign(e);
                let weight = signed.max(lower[i]).min(upper[i]);
                let infinite = weight.is_infinite() && e != 0.0;
                unbounded[i] += i64::from(infinite);
                let product = Dd::two_product(e, if weight.is_infinite() { 0.0 } else { weight });
                sums[0].add(i, product);
                let above = if e > 0.0 { signed >= lower[i] } else { signed > lower[i] };
                let below = if e > 0.0 { signed < upper[i] } else { signed <= upper[i] };
                let grows = above && below && raw >= 0.0 && e != 0.0;
                sums[1].add(i, if grows { Dd::two_product(e, e) } else { Dd::default() });
                count[i] += i64::from(grows);
                sums[2].add(i, Dd::new(if grows { product.hi.abs() } else { 0.0 }));
            }
        }
        let mut counted =
            Self { sums: Default::default(), counts: [count.iter().sum(), unbounded.iter().sum()] };
        counted.sums.iter_mut().zip(sums).for_each(|(sum, lanes)| *sum += lanes.steps());
        counted
    }

    pub(super) fn joined(mut self, other: Self) -> Self {
        self.sums.iter_mut().zip(other.sums).for_each(|(sum, more)| *sum += more);
        self.counts.iter_mut().zip(other.counts).for_each(|(count, more)| *count += more);
        self
    }
}
