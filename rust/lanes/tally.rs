//! Sums in lanes that no order of the terms changes: the steps of a [`Grid`] are counted, at most
//! `Grid::ROOM` terms a lane.

use super::{Lanes, WIDTH};
use crate::fixed::{Grid, Steps};

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

/// Terms on both grids, for sums over several choices of them.
#[derive(Clone, Copy)]
pub(crate) struct Split<L: Lanes> {
    coarse: L::Floats,
    fine: L::Floats,
}

impl<L: Lanes> Split<L> {
    /// The terms `x`.
    #[inline(always)]
    pub(crate) fn of(lanes: L, grid: &Grid, x: L::Floats) -> Self {
        let high = lanes.splat(grid.high);
        let coarse = lanes.add(x, high);
        let left = lanes.sub(x, lanes.sub(coarse, high));
        Self { coarse, fine: lanes.add(left, lanes.splat(grid.low)) }
    }

    /// The terms a·b.
    #[inline(always)]
    pub(crate) fn of_product(lanes: L, grid: &Grid, a: L::Floats, b: L::Floats) -> Self {
        let high = lanes.splat(grid.high);
        let coarse = lanes.fma(a, b, high);
        let left = lanes.fma(a, b, lanes.sub(high, coarse));
        Self { coarse, fine: lanes.add(left, lanes.splat(grid.low)) }
    }
}

/// The sum of chosen terms, at most `Grid::ROOM` in all lanes together.
#[derive(Clone, Copy)]
pub(crate) struct Chosen<L: Lanes> {
    coarse: L::Counts,
    fine: L::Counts,
}

impl<L: Lanes> Chosen<L> {
    #[inline(always)]
    pub(crate) fn new(lanes: L) -> Self {
        Self { coarse: lanes.no_counts(), fine: lanes.no_counts() }
    }

    /// Counts the terms where the mask holds.
    #[inline(always)]
    pub(crate) fn add(&mut self, lanes: L, mask: L::Mask, terms: Split<L>) {
        self.coarse = lanes.count_where(self.coarse, mask, terms.coarse);
        self.fine = lanes.count_where(self.fine, mask, terms.fine);
    }

    /// The steps of so many terms.
    #[inline(always)]
    pub(crate) fn steps(self, lanes: L, grid: &Grid, terms: u64) -> Steps {
        let counted = |counts: L::Counts, zero: f64| {
            let none = zero.to_bits().wrapping_mul(terms);
            let all = lanes.unpack(counts).into_iter().fold(0, u64::wrapping_add);
            i128::from(all.wrapping_sub(none).cast_signed())
        };
        Steps { high: counted(self.coarse, grid.high), low: counted(self.fine, grid.low) }
    }
}

/// Σy of singles y that are integers below 2^31, at most 2^9 of each lane.
#[derive(Clone, Copy)]
pub(crate) struct Lengths<L: Lanes> {
    /// Both lanes of each pair of them …
    both: L::Counts,
    /// … and the odd one alone.
    odd: L::Counts,
}

impl<L: Lanes> Lengths<L> {
    #[inline(always)]
    pub(crate) fn new(lanes: L) -> Self {
        Self { both: lanes.no_counts(), odd: lanes.no_counts() }
    }

    /// Counts the terms `y`; the pairs of them and the odd ones.
    #[inline(always)]
    pub(crate) fn add(&mut self, lanes: L, y: L::Sixteen) -> [L::Counts; 2] {
        let both = lanes.whole(y);
        let odd = lanes.odd(both);
        self.both = lanes.plus(self.both, both);
        self.odd = lanes.plus(self.odd, odd);
        [both, odd]
    }

    #[inline(always)]
    pub(crate) fn total(self, lanes: L) -> i128 {
        let (both, odd) = (lanes.unpack(self.both), lanes.unpack(self.odd));
        let pairs = both.into_iter().zip(odd);
        pairs.map(|(both, odd)| i128::from(both.wrapping_sub(odd << 32)) + i128::from(odd)).sum()
    }
}

/// Σy and Σy² of the like.
#[derive(Clone, Copy)]
pub(crate) struct Powers<L: Lanes> {
    lengths: Lengths<L>,
    /// Of the even and of the odd lanes, wrapping around …
    squares: [L::Counts; 2],
    /// … and of all lanes with so little error that it says how often.
    rough: L::Sixteen,
}

impl<L: Lanes> Powers<L> {
    #[inline(always)]
    pub(crate) fn new(lanes: L) -> Self {
        Self { lengths: Lengths::new(lanes), squares: [lanes.no_counts(); 2], rough: lanes.sixteen(0.0) }
    }

    #[inline(always)]
    pub(crate) fn add(&mut self, lanes: L, y: L::Sixteen) {
        self.rough = lanes.fma_singles(y, y, self.rough);
        let [even, odd] = self.lengths.add(lanes, y);
        let [evens, odds] = self.squares;
        self.squares = [lanes.plus(evens, lanes.square_even(even)), lanes.plus(odds, lanes.square_even(odd))];
    }

    /// Whether all y were finite.
    #[inline(always)]
    pub(crate) fn is_finite(&self, lanes: L) -> bool {
        lanes.unpack_singles(self.rough).iter().all(|x| x.is_finite())
    }

    /// Σy and Σy².
    #[inline(always)]
    pub(crate) fn totals(self, lanes: L) -> [i128; 2] {
        let [even, odd] = self.squares.map(|squares| lanes.unpack(squares));
        let rough = lanes.unpack_singles(self.rough);
        let turn = (1u128 << 64) as f64;
        let squares = even.into_iter().zip(odd).flat_map(|(even, odd)| [even, odd]).zip(rough);
        let squares = squares.map(|(square, rough)| {
            let turns = ((f64::from(rough) - square as f64) / turn).round() as i128;
            i128::from(square) + (turns << 64)
        });
        [self.lengths.total(lanes), squares.sum()]
    }
}
