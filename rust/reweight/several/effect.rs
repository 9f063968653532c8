//! Ψᵀλ of contiguous rows in one reading of them, exactly: what a step of the [dense
//! route](super::dense) costs. Eight rows are priced, answered and counted while they are in a core's
//! nearest cache; where there are few criteria, in its registers.

use super::cache::Prices;
use super::panel::{COLUMNS, Octet, Panel, dots_of_columns, load};
use crate::fixed::{Grid, Steps};
use crate::float::Float;
use crate::lanes::{Counter, Kernel, Lanes, WIDTH, with_lanes};
use crate::reweight::Bound;

/// The weights of eight rows from `first`; `pulls` gives ψ·z of them.
pub(super) trait Weights {
    fn of_eight<L: Lanes>(
        &mut self,
        lanes: L,
        first: usize,
        pulls: impl FnOnce(&[Octet<1>]) -> L::Floats,
    ) -> L::Floats;
}

/// Weights that are known.
pub(super) struct Given<'a>(pub(super) &'a [f64]);

impl Weights for Given<'_> {
    #[inline(always)]
    fn of_eight<L: Lanes>(
        &mut self,
        lanes: L,
        first: usize,
        _: impl FnOnce(&[Octet<1>]) -> L::Floats,
    ) -> L::Floats {
        load(lanes, &self.0[first..])
    }
}

/// Weights λ(z) in a box, written down as they come.
pub(super) struct Answers<'a, T> {
    pub(super) z: &'a [Octet<1>],
    pub(super) prices: Prices,
    pub(super) lower: Bound<'a, T>,
    pub(super) upper: Bound<'a, T>,
    pub(super) to: &'a mut [T],
    pub(super) written: Written,
}

/// What becomes of weights beside their effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// Nothing.
    No,
    /// They are written down …
    Yes,
    /// … and count as written, rounded to their type.
    Rounded,
}

/// The bounds of eight rows from `first`.
#[inline(always)]
fn bounds_of_eight<L: Lanes, T: Float>(lanes: L, bound: Bound<'_, T>, first: usize) -> L::Floats {
    match bound {
        Bound::All(value) => lanes.splat(value.to_f64()),
        Bound::Each(values) => load(lanes, &values[first..]),
    }
}

impl<T: Float> Weights for Answers<'_, T> {
    #[inline(always)]
    fn of_eight<L: Lanes>(
        &mut self,
        lanes: L,
        first: usize,
        pulls: impl FnOnce(&[Octet<1>]) -> L::Floats,
    ) -> L::Floats {
        let v = pulls(self.z);
        self.answer(lanes, first, v).0
    }
}

impl<T: Float> Answers<'_, T> {
    /// The weights that count of eight rows from `first` with ψ·z = v, and which of them move with v.
    #[inline(always)]
    pub(super) fn answer<L: Lanes>(&mut self, lanes: L, first: usize, v: L::Floats) -> (L::Floats, L::Mask) {
        let lower = bounds_of_eight(lanes, self.lower, first);
        let upper = bounds_of_eight(lanes, self.upper, first);
        let size = lanes.sub(lanes.abs(v), lanes.splat(self.prices.l1));
        let zero = lanes.splat(0.0);
        let pull = lanes.mul(lanes.max(size, zero), lanes.splat(0.5 / self.prices.l2));
        let wanted = lanes.with_sign(pull, v);
        let inside = lanes.except(lanes.greater(size, zero), lanes.greater(lower, wanted));
        let moves = lanes.except(inside, lanes.greater(wanted, upper));
        let mut weights = lanes.min(lanes.max(wanted, lower), upper);
        if self.written != Written::No {
            // No weight is −0.
            weights = lanes.add(weights, zero);
            lanes.write(weights, &mut self.to[first..]);
        }
        if self.written == Written::Rounded {
            weights = lanes.rounded::<T>(weights);
        }
        (weights, moves)
    }
}

/// Σψλ over the rows of `panel`, at most [`Grid::ROOM`] of them, to the last bit of `grid` or, not `fine`, of
/// its coarse half.
pub(super) fn effect<T: Float>(
    panel: Panel<'_, T>,
    weights: impl Weights,
    grid: Grid,
    fine: bool,
) -> Vec<Steps> {
    if fine {
        with_lanes(Effect::<_, _, true> { panel, weights, grid })
    } else {
        with_lanes(Effect::<_, _, false> { panel, weights, grid })
    }
}

struct Effect<'a, T, W, const FINE: bool> {
    panel: Panel<'a, T>,
    weights: W,
    grid: Grid,
}

impl<T: Float, W: Weights, const FINE: bool> Effect<'_, T, W, FINE> {
    #[inline(always)]
    fn by_columns<L: Lanes>(self, lanes: L) -> Vec<Steps> {
        let Self { panel, mut weights, grid } = self;
        let k = panel.k;
        let mut tallies = [Counter::<L, FINE>::new(lanes, grid); COLUMNS];
        let mut columns = [lanes.splat(0.0); COLUMNS];
        let mut eights = 0;
        panel.each_eight(
            lanes,
            #[inline(always)]
            |first, eight| {
                eight.turn(lanes, &mut columns);
                let weights = weights.of_eight(
                    lanes,
                    first,
                    #[inline(always)]
                    |z| dots_of_columns(lanes, &columns[..k], z),
                );
                eights += 1;
                for (tally, &column) in tallies[..k].iter_mut().zip(&columns) {
                    tally.add_product(lanes, column, weights);
                }
            },
        );
        tallies[..k].iter().map(|tally| tally.steps(lanes, eights)).collect()
    }

    /// Columns lie side by side in a row; what is past the last of them is not looked at again.
    #[inline(always)]
    fn by_rows<L: Lanes>(self, lanes: L) -> Vec<Steps> {
        let Self { panel, mut weights, grid } = self;
        let k = panel.k;
        let scale = lanes.splat(panel.scale);
        let mut octets = vec![Counter::<L, FINE>::new(lanes, grid); k.div_ceil(WIDTH)];
        let mut eights = 0;
        panel.each_eight(
            lanes,
            #[inline(always)]
            |first, eight| {
                let weights = lanes.store(weights.of_eight(
                    lanes,
                    first,
                    #[inline(always)]
                    |z| eight.dots_of_rows(lanes, z),
                ));
                if weights == [0.0; WIDTH] {
                    return;
                }
                eights += 1;
                for (i, weights) in weights.as_chunks::<4>().0.iter().enumerate() {
                    let [(a, a_rest), (b, b_rest), (c, c_rest), (d, d_rest)] = eight.four(i);
                    for ((((tally, a), b), c), d) in octets.iter_mut().zip(a).zip(b).zip(c).zip(d) {
                        let mut sums = *tally;
                        for (x, &weight) in [a, b, c, d].into_iter().zip(weights) {
                            let x = lanes.mul(lanes.read(x), scale);
                            sums.add_product(lanes, x, lanes.splat(weight));
                        }
                        *tally = sums;
                    }
                    if let (false, Some(tally)) = (a_rest.is_empty(), octets.last_mut()) {
                        for (x, &weight) in [a_rest, b_rest, c_rest, d_rest].into_iter().zip(weights) {
                            let x = lanes.mul(load(lanes, x), scale);
                            tally.add_product(lanes, x, lanes.splat(weight));
                        }
                    }
                }
            },
        );
        let steps = octets.into_iter().flat_map(|tally| tally.by_lane(lanes, WIDTH * eights));
        steps.take(k).collect()
    }
}

impl<T: Float, W: Weights, const FINE: bool> Kernel for Effect<'_, T, W, FINE> {
    type Output = Vec<Steps>;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> Vec<Steps> {
        if self.panel.k <= COLUMNS { self.by_columns(lanes) } else { self.by_rows(lanes) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::dot::dot;
    use super::super::panel::octets;
    use super::*;
    use crate::fixed::Fixed;
    use crate::vecmath::Dd;

    #[test]
    fn eight_rows_at_a_time_answer_like_one() {
        let mut state = 1u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
        };
        let prices = Prices { l1: 0.2, l2: 0.7 };
        for k in [2, 3, 4, 6, 8, 13, 16, 17, 32] {
            for n in [1, 8, 21] {
                let rows: Vec<f64> = (0..n * k).map(|_| next()).collect();
                let z: Vec<f64> = (0..k).map(|_| next()).collect();
                let (scale, grid) = (0.5, Grid::below(2));
                let panel = Panel { rows: &rows, k, scale };
                let bounds = [-0.3, 0.1].map(|at| (0..n).map(|i| at + i as f64 / 100.0).collect::<Vec<_>>());
                let weights: Vec<f64> = (rows.chunks_exact(k).enumerate())
                    .map(|(j, row)| {
                        let v = dot(row, scale, &z);
                        let pull = ((v.abs() - prices.l1).max(0.0) * (0.5 / prices.l2)).copysign(v);
                        pull.max(bounds[0][j]).min(bounds[1][j])
                    })
                    .collect();
                let sum = |weights: &[f64]| {
                    let mut sums = vec![Fixed::default(); k];
                    for (row, &weight) in rows.chunks_exact(k).zip(weights) {
                        for (sum, x) in sums.iter_mut().zip(row) {
                            let product = Dd::two_product(x * scale, weight);
                            *sum += grid.steps(product.hi, product.lo);
                        }
                    }
                    sums.iter().map(|sum| sum.value(&grid)).collect::<Vec<_>>()
                };
                let total = |steps: Vec<Steps>| {
                    let fixed = |steps| {
                        let mut sum = Fixed::default();
                        sum += steps;
                        sum.value(&grid)
                    };
                    steps.into_iter().map(fixed).collect::<Vec<_>>()
                };
                let mut own = vec![1.0; n];
                let [lower, upper] = bounds.each_ref().map(|bounds| Bound::Each(bounds));
                let answers =
                    Answers { z: &octets([&z]), prices, lower, upper, to: &mut own, written: Written::Yes };
                assert_eq!(total(effect(panel, answers, grid, true)), sum(&weights), "k = {k}, n = {n}");
                assert_eq!(own, weights);
                assert_eq!(total(effect(panel, Given(&weights), grid, true)), sum(&weights));
                let coarse = total(effect(panel, Given(&weights), grid, false));
                for (coarse, fine) in coarse.iter().zip(sum(&weights)) {
                    assert!((*coarse - fine).value().abs() <= grid.coarse_error(n));
                }
                let (mut single, bound) = (vec![1f32; n], Bound::All);
                let (lower, upper) = (bound(f32::NEG_INFINITY), bound(f32::INFINITY));
                let answers = Answers {
                    z: &octets([&z]),
                    prices,
                    lower,
                    upper,
                    to: &mut single,
                    written: Written::Rounded,
                };
                let steps = effect(panel, answers, grid, true);
                let free = |row: &[f64]| {
                    let v = dot(row, scale, &z);
                    (((v.abs() - prices.l1).max(0.0) * (0.5 / prices.l2)).copysign(v) + 0.0) as f32
                };
                assert_eq!(single, rows.chunks_exact(k).map(free).collect::<Vec<_>>());
                let single: Vec<f64> = single.into_iter().map(f64::from).collect();
                assert_eq!(total(steps), sum(&single));
            }
        }
    }
}
