//! Ψᵀλ(z) of contiguous rows in one reading of them, in double precision: what a step of the
//! [dense route](super::dense) costs. Eight rows are priced, answered and counted while they are in a
//! core's nearest cache; where there are few criteria, in its registers.

use super::cache::Prices;
use super::dot::dot;
use super::panel::{Panel, across, column, each_column};
use crate::fixed::{Grid, Steps};
use crate::float::Float;
use crate::lanes::{Kernel, Lanes, Tally, WIDTH, with_lanes};

/// Up to so many criteria eight rows are kept as columns.
const COLUMNS: usize = 16;

/// λ at v = ψ·z of eight rows in a box.
#[inline(always)]
fn answer<L: Lanes>(lanes: L, prices: Prices, [lower, upper]: [[f64; WIDTH]; 2], v: L::Floats) -> L::Floats {
    let size = lanes.sub(lanes.abs(v), lanes.splat(prices.l1));
    let pull = lanes.mul(lanes.max(size, lanes.splat(0.0)), lanes.splat(0.5 / prices.l2));
    lanes.min(lanes.max(lanes.with_sign(pull, v), lanes.load(&lower)), lanes.load(&upper))
}

/// λ at v = ψ·z of rows whose bounds `bounds` gives, of eight from the one named.
pub(super) fn answers(prices: Prices, v: Vec<f64>, bounds: impl Fn(usize) -> [[f64; WIDTH]; 2]) -> Vec<f64> {
    with_lanes(Answers { prices, v, bounds })
}

struct Answers<B> {
    prices: Prices,
    v: Vec<f64>,
    bounds: B,
}

impl<B: Fn(usize) -> [[f64; WIDTH]; 2]> Kernel for Answers<B> {
    type Output = Vec<f64>;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> Vec<f64> {
        let Self { prices, mut v, bounds } = self;
        for (i, slots) in v.chunks_mut(WIDTH).enumerate() {
            let mut eight = [0.0; WIDTH];
            eight[..slots.len()].copy_from_slice(slots);
            let weights = lanes.store(answer(lanes, prices, bounds(i * WIDTH), lanes.load(&eight)));
            slots.copy_from_slice(&weights[..slots.len()]);
        }
        v
    }
}

/// See the [module](self).
pub(super) struct Respond<'a, T, B> {
    pub(super) panel: Panel<'a, T>,
    pub(super) z: &'a [f64],
    pub(super) prices: Prices,
    /// The lower and the upper bounds of eight rows from the one named.
    pub(super) bounds: B,
    pub(super) grid: Grid,
}

impl<T: Float, B: Fn(usize) -> [[f64; WIDTH]; 2]> Respond<'_, T, B> {
    /// Σψλ(z) over the rows, at most [`Grid::ROOM`] of them.
    pub(super) fn effect(self) -> Vec<Steps> {
        with_lanes(self)
    }

    #[inline(always)]
    fn by_columns<L: Lanes>(&self, lanes: L) -> Vec<Steps> {
        let Self { panel, z, .. } = *self;
        let (k, scale, zero) = (panel.k, lanes.splat(panel.scale), lanes.splat(0.0));
        let mut tallies = [Tally::new(lanes, self.grid); COLUMNS];
        let mut columns = [zero; COLUMNS];
        let mut eights = 0;
        panel.each_eight(
            #[inline(always)]
            |first, eight| {
                let mut sums = [zero; WIDTH];
                each_column(
                    k,
                    #[inline(always)]
                    |c, slot| {
                        columns[c] = lanes.mul(column(lanes, eight, k, c), scale);
                        sums[slot] = lanes.add(sums[slot], lanes.mul(columns[c], lanes.splat(z[c])));
                    },
                );
                let weights = answer(lanes, self.prices, (self.bounds)(first), across(lanes, sums));
                eights += 1;
                for (tally, &column) in tallies[..k].iter_mut().zip(&columns) {
                    tally.add(lanes, lanes.mul(column, weights));
                }
            },
        );
        tallies[..k].iter().map(|tally| tally.steps(lanes, eights)).collect()
    }

    #[inline(always)]
    fn by_rows<L: Lanes>(&self, lanes: L) -> Vec<Steps> {
        let Self { panel, z, .. } = *self;
        let (k, scale) = (panel.k, lanes.splat(panel.scale));
        let mut octets = vec![Tally::new(lanes, self.grid); k / WIDTH];
        let mut others = vec![Tally::new(lanes, self.grid); k % WIDTH];
        let mut eights = 0;
        panel.each_eight(
            #[inline(always)]
            |first, eight| {
                let mut v = [0.0; WIDTH];
                for (v, row) in v.iter_mut().zip(eight.chunks_exact(k)) {
                    *v = dot(row, panel.scale, z);
                }
                let weights = lanes.store(answer(lanes, self.prices, (self.bounds)(first), lanes.load(&v)));
                if weights == [0.0; WIDTH] {
                    return;
                }
                eights += 1;
                for (o, tally) in octets.iter_mut().enumerate() {
                    let mut sums = *tally;
                    for (row, &weight) in eight.chunks_exact(k).zip(&weights) {
                        let (columns, _) = row[o * WIDTH..].as_chunks::<WIDTH>();
                        let x = lanes.mul(lanes.read(&columns[0]), scale);
                        sums.add(lanes, lanes.mul(x, lanes.splat(weight)));
                    }
                    *tally = sums;
                }
                let weights = lanes.load(&weights);
                for (c, tally) in (k - k % WIDTH..).zip(&mut others) {
                    tally.add(lanes, lanes.mul(lanes.mul(column(lanes, eight, k, c), scale), weights));
                }
            },
        );
        let wide = octets.into_iter().flat_map(|tally| tally.by_lane(lanes, WIDTH * eights));
        let mut steps: Vec<Steps> = wide.collect();
        steps.extend(others.into_iter().map(|tally| tally.steps(lanes, eights)));
        steps
    }
}

impl<T: Float, B: Fn(usize) -> [[f64; WIDTH]; 2]> Kernel for Respond<'_, T, B> {
    type Output = Vec<Steps>;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> Vec<Steps> {
        if self.panel.k <= COLUMNS { self.by_columns(lanes) } else { self.by_rows(lanes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixed::Fixed;

    #[test]
    fn eight_rows_at_a_time_answer_like_one() {
        let mut state = 1u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
        };
        let prices = Prices { l1: 0.2, l2: 0.7 };
        for k in [2, 3, 8, 13, 16, 17, 32] {
            for n in [1, 8, 21] {
                let rows: Vec<f64> = (0..n * k).map(|_| next()).collect();
                let z: Vec<f64> = (0..k).map(|_| next()).collect();
                let (scale, grid) = (0.5, Grid::below(2));
                let panel = Panel { rows: &rows, k, scale };
                let bounds = |i: usize| [-0.3, 0.1].map(|bound| [bound + i as f64 / 100.0; WIDTH]);
                let weights: Vec<f64> = (rows.chunks_exact(k).enumerate())
                    .map(|(j, row)| {
                        let ([lower, upper], v) = (bounds(j / WIDTH * WIDTH), dot(row, scale, &z));
                        let pull = ((v.abs() - prices.l1).max(0.0) * (0.5 / prices.l2)).copysign(v);
                        pull.max(lower[j % WIDTH]).min(upper[j % WIDTH])
                    })
                    .collect();
                assert_eq!(answers(prices, panel.dots(&z), bounds), weights);
                let mut sums = vec![Fixed::default(); k];
                for (row, weight) in rows.chunks_exact(k).zip(&weights) {
                    for (sum, x) in sums.iter_mut().zip(row) {
                        *sum += grid.steps(x * scale * weight, 0.0);
                    }
                }
                let mut ours = vec![Fixed::default(); k];
                let effect = Respond { panel, z: &z, prices, bounds, grid }.effect();
                ours.iter_mut().zip(effect).for_each(|(sum, steps)| *sum += steps);
                assert_eq!(ours, sums, "k = {k}, n = {n}");
            }
        }
    }
}
