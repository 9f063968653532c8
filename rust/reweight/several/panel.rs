//! Eight rows side by side, a lane for each: what a row costs beside its numbers (sums across lanes,
//! loops of k turns) is shared by eight. Products have the bits of [`super::dot`], so it does not matter
//! which rows are looked at together.

use super::dot::Price;
use crate::fixed::{Grid, Steps};
use crate::float::Float;
use crate::lanes::{Kernel, Lanes, Tally, WIDTH, with_lanes};

/// Contiguous rows of k numbers, each to be multiplied by `scale`.
#[derive(Clone, Copy)]
pub(super) struct Panel<'a, T> {
    pub(super) rows: &'a [T],
    pub(super) k: usize,
    pub(super) scale: f64,
}

impl<T: Float> Panel<'_, T> {
    /// ψ·z of every row, as [`super::dot::dot`] forms it.
    pub(super) fn dots(self, z: &[f64]) -> Vec<f64> {
        with_lanes(Dots { panel: self, z })
    }

    /// ψ·z of every row as a pair, as [`super::dot::dot_pair`] forms it: the high and the low parts.
    pub(super) fn pairs(self, z: &Price) -> [Vec<f64>; 2] {
        with_lanes(Pairs { panel: self, z })
    }

    /// ‖ψ‖² of every row, and the largest number of all.
    pub(super) fn sizes(self) -> (Vec<f64>, f64) {
        with_lanes(Sizes { panel: self })
    }

    /// Σψλ over the rows, at most [`Grid::ROOM`] of them.
    pub(super) fn effect(self, weights: &[f64], grid: Grid) -> Vec<Steps> {
        with_lanes(Effect { panel: self, weights, grid })
    }

    fn len(self) -> usize {
        self.rows.len() / self.k
    }

    /// Calls `f` with the place of the first of eight rows and those rows, the last ones filled up with
    /// rows of zeros.
    #[inline(always)]
    pub(super) fn each_eight(self, mut f: impl FnMut(usize, &[T])) {
        let mut eights = self.rows.chunks_exact(WIDTH * self.k);
        let mut first = 0;
        for eight in &mut eights {
            f(first, eight);
            first += WIDTH;
        }
        if !eights.remainder().is_empty() {
            let mut filled = eights.remainder().to_vec();
            filled.resize(WIDTH * self.k, T::ZERO);
            f(first, &filled);
        }
    }
}

/// Column `c` of eight rows.
#[inline(always)]
pub(super) fn column<L: Lanes, T: Float>(lanes: L, eight: &[T], k: usize, c: usize) -> L::Floats {
    let last = &eight[..=(WIDTH - 1) * k + c];
    lanes.load(&std::array::from_fn(|i| last[i * k + c].to_f64()))
}

#[inline(always)]
fn put<L: Lanes>(lanes: L, x: L::Floats, to: &mut [f64]) {
    let x = lanes.store(x);
    to.copy_from_slice(&x[..to.len()]);
}

/// Adds up what [`super::dot::dot`] keeps in eight lanes.
#[inline(always)]
pub(super) fn across<L: Lanes>(lanes: L, sums: [L::Floats; WIDTH]) -> L::Floats {
    let [a, b, c, d, e, f, g, h] = sums;
    let even = lanes.add(lanes.add(a, e), lanes.add(c, g));
    lanes.add(even, lanes.add(lanes.add(b, f), lanes.add(d, h)))
}

/// Calls `f` with every column and its place among the eight sums of a row.
#[inline(always)]
pub(super) fn each_column(k: usize, mut f: impl FnMut(usize, usize)) {
    for head in (0..k - k % WIDTH).step_by(WIDTH) {
        for slot in 0..WIDTH {
            f(head + slot, slot);
        }
    }
    for slot in 0..k % WIDTH {
        f(k - k % WIDTH + slot, slot);
    }
}

struct Dots<'a, T> {
    panel: Panel<'a, T>,
    z: &'a [f64],
}

impl<T: Float> Kernel for Dots<'_, T> {
    type Output = Vec<f64>;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> Vec<f64> {
        let Self { panel, z } = self;
        let (k, scale, n) = (panel.k, lanes.splat(panel.scale), panel.len());
        let mut dots = vec![0.0; n];
        panel.each_eight(
            #[inline(always)]
            |first, eight| {
                let mut sums = [lanes.splat(0.0); WIDTH];
                each_column(
                    k,
                    #[inline(always)]
                    |c, slot| {
                        let x = lanes.mul(column(lanes, eight, k, c), scale);
                        sums[slot] = lanes.add(sums[slot], lanes.mul(x, lanes.splat(z[c])));
                    },
                );
                put(lanes, across(lanes, sums), &mut dots[first..n.min(first + WIDTH)]);
            },
        );
        dots
    }
}

struct Sizes<'a, T> {
    panel: Panel<'a, T>,
}

impl<T: Float> Kernel for Sizes<'_, T> {
    type Output = (Vec<f64>, f64);

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> (Vec<f64>, f64) {
        let panel = self.panel;
        let (k, scale, n) = (panel.k, lanes.splat(panel.scale), panel.len());
        let mut squares = vec![0.0; n];
        let mut largest = lanes.splat(0.0);
        panel.each_eight(
            #[inline(always)]
            |first, eight| {
                let mut sums = [lanes.splat(0.0); WIDTH];
                each_column(
                    k,
                    #[inline(always)]
                    |c, slot| {
                        let x = lanes.mul(column(lanes, eight, k, c), scale);
                        sums[slot] = lanes.add(sums[slot], lanes.mul(x, x));
                        largest = lanes.max(lanes.abs(x), largest);
                    },
                );
                put(lanes, across(lanes, sums), &mut squares[first..n.min(first + WIDTH)]);
            },
        );
        (squares, lanes.largest(largest))
    }
}

struct Pairs<'a, T> {
    panel: Panel<'a, T>,
    z: &'a Price,
}

/// a + b and its rounding error.
#[inline(always)]
fn two_sum<L: Lanes>(lanes: L, a: L::Floats, b: L::Floats) -> [L::Floats; 2] {
    let hi = lanes.add(a, b);
    let b_part = lanes.sub(hi, a);
    [hi, lanes.add(lanes.sub(a, lanes.sub(hi, b_part)), lanes.sub(b, b_part))]
}

impl<T: Float> Kernel for Pairs<'_, T> {
    type Output = [Vec<f64>; 2];

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> [Vec<f64>; 2] {
        let Self { panel, z } = self;
        let (k, scale, n) = (panel.k, lanes.splat(panel.scale), panel.len());
        let mut pulls = [vec![0.0; n], vec![0.0; n]];
        panel.each_eight(
            #[inline(always)]
            |first, eight| {
                let (mut hi, mut lo) = ([lanes.splat(0.0); WIDTH], [lanes.splat(0.0); WIDTH]);
                each_column(
                    k,
                    #[inline(always)]
                    |c, slot| {
                        let x = lanes.mul(column(lanes, eight, k, c), scale);
                        let price = lanes.splat(z.hi[c]);
                        let product = lanes.mul(x, price);
                        let off = lanes.fma(x, price, lanes.sub(lanes.splat(-0.0), product));
                        let [sum, tail] = two_sum(lanes, hi[slot], product);
                        hi[slot] = sum;
                        let rest = lanes.add(off, lanes.mul(x, lanes.splat(z.lo[c])));
                        lo[slot] = lanes.add(lo[slot], lanes.add(tail, rest));
                    },
                );
                for half in [4, 2, 1] {
                    for i in 0..half {
                        let [sum, tail] = two_sum(lanes, hi[i], hi[i + half]);
                        hi[i] = sum;
                        lo[i] = lanes.add(lo[i], lanes.add(lo[i + half], tail));
                    }
                }
                let last = n.min(first + WIDTH);
                for (part, x) in pulls.iter_mut().zip(two_sum(lanes, hi[0], lo[0])) {
                    put(lanes, x, &mut part[first..last]);
                }
            },
        );
        pulls
    }
}

struct Effect<'a, T> {
    panel: Panel<'a, T>,
    weights: &'a [f64],
    grid: Grid,
}

impl<T: Float> Kernel for Effect<'_, T> {
    type Output = Vec<Steps>;

    /// Whole eights of columns lie side by side in a row; of the others a lane is a row.
    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> Vec<Steps> {
        let Self { panel, weights, grid } = self;
        let (k, scale) = (panel.k, lanes.splat(panel.scale));
        let mut octets = vec![Tally::new(lanes, grid); k / WIDTH];
        let mut others = vec![Tally::new(lanes, grid); k % WIDTH];
        let mut eights = 0;
        panel.each_eight(
            #[inline(always)]
            |first, eight| {
                let given = &weights[first..weights.len().min(first + WIDTH)];
                if given.iter().all(|&weight| weight == 0.0) {
                    return;
                }
                let mut own = [0.0; WIDTH];
                own[..given.len()].copy_from_slice(given);
                eights += 1;
                for (o, tally) in octets.iter_mut().enumerate() {
                    let mut sums = *tally;
                    for (row, weight) in own.iter().enumerate() {
                        let (columns, _) = eight[row * k + o * WIDTH..].as_chunks::<WIDTH>();
                        let x = lanes.mul(lanes.read(&columns[0]), scale);
                        sums.add_product(lanes, x, lanes.splat(*weight));
                    }
                    *tally = sums;
                }
                let own = lanes.load(&own);
                for (c, tally) in (k - k % WIDTH..).zip(&mut others) {
                    tally.add_product(lanes, lanes.mul(column(lanes, eight, k, c), scale), own);
                }
            },
        );
        let wide = octets.into_iter().flat_map(|tally| tally.by_lane(lanes, WIDTH * eights));
        let mut steps: Vec<Steps> = wide.collect();
        steps.extend(others.into_iter().map(|tally| tally.steps(lanes, eights)));
        steps
    }
}

#[cfg(test)]
mod tests {
    use super::super::dot::{dot, dot_pair};
    use super::*;
    use crate::fixed::Fixed;
    use crate::vecmath::Dd;

    #[test]
    fn eight_rows_at_a_time_have_the_bits_of_one() {
        let mut state = 1u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
        };
        for k in [2, 3, 7, 8, 9, 16, 21, 32] {
            for n in [1, 8, 21] {
                let rows: Vec<f64> = (0..n * k).map(|_| next()).collect();
                let z: Vec<Dd> = (0..k).map(|_| Dd { hi: next(), lo: next() * 1e-17 }).collect();
                let weights: Vec<f64> = (0..n).map(|j| if j % 3 == 0 { 0.0 } else { next() }).collect();
                let (z, scale, grid) = (Price::new(&z), 0.5, Grid::below(2));
                let panel = Panel { rows: &rows, k, scale };
                let (dots, pairs, sizes) = (panel.dots(&z.hi), panel.pairs(&z), panel.sizes());
                let mut sums = vec![Fixed::default(); k];
                for (j, row) in rows.chunks_exact(k).enumerate() {
                    assert_eq!(dots[j], dot(row, scale, &z.hi));
                    let pair = dot_pair(row, scale, &z);
                    assert_eq!([pairs[0][j], pairs[1][j]], [pair.hi, pair.lo]);
                    let scaled: Vec<f64> = row.iter().map(|x| x * scale).collect();
                    assert_eq!(sizes.0[j], dot(&scaled, 1.0, &scaled));
                    for (sum, x) in sums.iter_mut().zip(&scaled) {
                        let product = Dd::two_product(*x, weights[j]);
                        *sum += grid.steps(product.hi, product.lo);
                    }
                }
                assert_eq!(sizes.1, rows.iter().fold(0.0, |most: f64, x| most.max((x * scale).abs())));
                let mut ours = vec![Fixed::default(); k];
                ours.iter_mut().zip(panel.effect(&weights, grid)).for_each(|(sum, steps)| *sum += steps);
                let values = |sums: &[Fixed]| -> Vec<[f64; 2]> {
                    sums.iter().map(|sum| sum.value(&grid)).map(|v| [v.hi, v.lo]).collect()
                };
                assert_eq!(values(&ours), values(&sums));
            }
        }
    }
}
