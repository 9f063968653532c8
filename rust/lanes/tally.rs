//! Sums in lanes that no order of the terms changes: the steps of a [`Grid`] are counted, at most
//! `Grid::ROOM` terms a lane.

use super::{Lanes, WIDTH};
use crate::fixed::{Grid, Steps, power_of_two};

/// Steps of the coarse grid and, where `FINE`, of the fine one in what the coarse one leaves; else for terms
/// that need no more digits.
#[derive(Clone, Copy)]
pub(crate) struct Counter<L: Lanes, const FINE: bool> {
    grid: Grid,
    high: L::Floats,
    low: L::Floats,
    coarse: L::Counts,
    fine: L::Counts,
}

/// Both grids.
pub(crate) type Tally<L> = Counter<L, true>;

impl<L: Lanes, const FINE: bool> Counter<L, FINE> {
    #[inline(always)]
    pub(crate) fn new(lanes: L, grid: Grid) -> Self {
        Self {
            grid,
            high: lanes.splat(grid.high),
            low: lanes.splat(grid.low),
            coarse: lanes.no_counts(),
            fine: lanes.no_counts(),
        }
    }

    /// Counts the terms `x`.
    #[inline(always)]
    pub(crate) fn add(&mut self, lanes: L, x: L::Floats) {
        let coarse = lanes.add(x, self.high);
        self.coarse = lanes.count(self.coarse, coarse);
        if FINE {
            let left = lanes.sub(x, lanes.sub(coarse, self.high));
            self.fine = lanes.count(self.fine, lanes.add(left, self.low));
        }
    }

    /// Counts the terms a·b.
    #[inline(always)]
    pub(crate) fn add_product(&mut self, lanes: L, a: L::Floats, b: L::Floats) {
        let coarse = lanes.fma(a, b, self.high);
        self.coarse = lanes.count(self.coarse, coarse);
        if FINE {
            let left = lanes.fma(a, b, lanes.sub(self.high, coarse));
            self.fine = lanes.count(self.fine, lanes.add(left, self.low));
        }
    }

    /// The steps counted in `vectors` vectors.
    #[inline(always)]
    pub(crate) fn steps(self, lanes: L, vectors: usize) -> Steps {
        let all = self.by_lane(lanes, vectors).into_iter();
        all.fold(Steps::default(), |sum, lane| Steps { high: sum.high + lane.high, low: sum.low + lane.low })
    }

    /// The same of each lane.
    #[inline(always)]
    pub(crate) fn by_lane(self, lanes: L, vectors: usize) -> [Steps; WIDTH] {
        let counted = |counts: L::Counts, zero: f64| {
            let none = zero.to_bits().wrapping_mul(vectors as u64);
            lanes.unpack(counts).map(|lane| i128::from(lane.wrapping_sub(none).cast_signed()))
        };
        let high = counted(self.coarse, self.grid.high);
        let low = if FINE { counted(self.fine, self.grid.low) } else { [0; WIDTH] };
        std::array::from_fn(|i| Steps { high: high[i], low: low[i] })
    }
}

/// Sizes that singles may have for 2^10 of them a lane to be added without rounding: x itself is a multiple
/// of 2^−40 and Σx below 2^12; x² is a multiple of 2^−80, and of [`Squares`] `high` stays below 2^16 and
/// `low`, 2^10 halves of its last digit, below 2^−28.
pub(crate) const HOLDS: std::ops::Range<f64> = power_of_two(-17)..4.0;

/// Σx² of numbers of so few digits that nothing is lost: `high` always has the same last digit, 2^−37, and
/// what it cannot take goes to `low`. See [`HOLDS`].
#[derive(Clone, Copy)]
pub(crate) struct Squares<L: Lanes> {
    high: L::Floats,
    low: L::Floats,
}

impl<L: Lanes> Squares<L> {
    const ZERO: f64 = power_of_two(15);

    #[inline(always)]
    pub(crate) fn new(lanes: L) -> Self {
        Self { high: lanes.splat(Self::ZERO), low: lanes.splat(0.0) }
    }

    #[inline(always)]
    pub(crate) fn add(&mut self, lanes: L, x: L::Floats) {
        let high = lanes.fma(x, x, self.high);
        self.low = lanes.add(self.low, lanes.fma(x, x, lanes.sub(self.high, high)));
        self.high = high;
    }

    /// The steps of the sum on a grid that has all its digits.
    #[inline(always)]
    pub(crate) fn steps(self, lanes: L, grid: &Grid) -> Steps {
        let [high, low] = [lanes.sub(self.high, lanes.splat(Self::ZERO)), self.low];
        let steps = |x: f64| grid.whole_steps(x).low;
        Steps { high: 0, low: [high, low].map(|x| lanes.store(x).map(steps).iter().sum::<i128>()).iter().sum() }
    }
}
