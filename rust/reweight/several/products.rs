//! Products of contiguous rows with a price, of [eight rows](super::panel) at a time.

use super::dot::Price;
use super::panel::{COLUMNS, Panel, across, octets, product};
use crate::float::Float;
use crate::lanes::{Kernel, Lanes, with_lanes};

/// ‖ψ‖² of some rows, the largest of these, the largest |ψ·z| and the largest number.
pub(super) struct Surveyed {
    pub(super) squares: Vec<f64>,
    pub(super) longest: f64,
    pub(super) steepest: f64,
    pub(super) largest: f64,
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

    /// ψ·z as above, written to `dots`, and what else is to be known of rows that nobody has looked at.
    pub(super) fn survey(self, z: &[f64], dots: &mut [f64]) -> Surveyed {
        with_lanes(Survey { panel: self, z, dots })
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
        let (n, z) = (panel.len(), octets([z]));
        let (mut dots, mut columns) = (vec![0.0; n], [lanes.splat(0.0); COLUMNS]);
        panel.each_eight(
            lanes,
            #[inline(always)]
            |first, eight| {
                let sums = eight.sums(
                    lanes,
                    &mut columns,
                    &z,
                    #[inline(always)]
                    |sum, x, z| product(lanes, sum, x, z),
                );
                lanes.write(across(lanes, &sums, 0), &mut dots[first..]);
            },
        );
        dots
    }
}

struct Survey<'a, T> {
    panel: Panel<'a, T>,
    z: &'a [f64],
    dots: &'a mut [f64],
}

impl<T: Float> Kernel for Survey<'_, T> {
    type Output = Surveyed;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> Surveyed {
        let Self { panel, z, dots } = self;
        let (z, zero) = (octets([z]), lanes.splat(0.0));
        let (mut squares, mut columns) = (vec![0.0; dots.len()], [zero; COLUMNS]);
        let (mut longest, mut steepest, mut largest) = (zero, zero, zero);
        panel.each_eight(
            lanes,
            #[inline(always)]
            |first, eight| {
                let sums = eight.sums(
                    lanes,
                    &mut columns,
                    &z,
                    #[inline(always)]
                    |[dot, square], x, [z]| {
                        *dot = lanes.add(*dot, lanes.mul(x, z));
                        *square = lanes.add(*square, lanes.mul(x, x));
                        largest = lanes.max(lanes.abs(x), largest);
                    },
                );
                let (dot, square) = (across(lanes, &sums, 0), across(lanes, &sums, 1));
                steepest = lanes.max(lanes.abs(dot), steepest);
                longest = lanes.max(square, longest);
                lanes.write(dot, &mut dots[first..]);
                lanes.write(square, &mut squares[first..]);
            },
        );
        Surveyed {
            squares,
            longest: lanes.largest(longest),
            steepest: lanes.largest(steepest),
            largest: lanes.largest(largest),
        }
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
        let (n, z) = (panel.len(), octets([&z.hi, &z.lo]));
        let (mut pulls, mut columns) = ([vec![0.0; n], vec![0.0; n]], [lanes.splat(0.0); COLUMNS]);
        panel.each_eight(
            lanes,
            #[inline(always)]
            |first, eight| {
                let mut sums = eight.sums(
                    lanes,
                    &mut columns,
                    &z,
                    #[inline(always)]
                    |[hi, lo], x, [price, more]| {
                        let product = lanes.mul(x, price);
                        let off = lanes.fma(x, price, lanes.sub(lanes.splat(-0.0), product));
                        let [sum, tail] = two_sum(lanes, *hi, product);
                        *hi = sum;
                        let rest = lanes.add(off, lanes.mul(x, more));
                        *lo = lanes.add(*lo, lanes.add(tail, rest));
                    },
                );
                for half in [4, 2, 1] {
                    for i in 0..half {
                        let ([hi, lo], [more, rest]) = (sums[i], sums[i + half]);
                        let [sum, tail] = two_sum(lanes, hi, more);
                        sums[i] = [sum, lanes.add(lo, lanes.add(rest, tail))];
                    }
                }
                let [hi, lo] = sums[0];
                for (part, x) in pulls.iter_mut().zip(two_sum(lanes, hi, lo)) {
                    lanes.write(x, &mut part[first..]);
                }
            },
        );
        pulls
    }
}

#[cfg(test)]
mod tests {
    use super::super::dot::{dot, dot_pair};
    use super::*;
    use crate::vecmath::Dd;

    #[test]
    fn eight_rows_at_a_time_have_the_bits_of_one() {
        let mut state = 1u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
        };
        for k in [2, 3, 4, 5, 7, 8, 9, 16, 17, 21, 32] {
            for n in [1, 8, 21] {
                let rows: Vec<f64> = (0..n * k).map(|_| next()).collect();
                let z: Vec<Dd> = (0..k).map(|_| Dd { hi: next(), lo: next() * 1e-17 }).collect();
                let (z, scale) = (Price::new(&z), 0.5);
                let panel = Panel { rows: &rows, k, scale };
                let (dots, pairs, mut again) = (panel.dots(&z.hi), panel.pairs(&z), vec![0.0; n]);
                let surveyed = panel.survey(&z.hi, &mut again);
                assert_eq!(again, dots);
                for (j, row) in rows.chunks_exact(k).enumerate() {
                    assert_eq!(dots[j], dot(row, scale, &z.hi));
                    let pair = dot_pair(row, scale, &z);
                    assert_eq!([pairs[0][j], pairs[1][j]], [pair.hi, pair.lo]);
                    let scaled: Vec<f64> = row.iter().map(|x| x * scale).collect();
                    assert_eq!(surveyed.squares[j], dot(&scaled, 1.0, &scaled));
                }
                let most = |values: &[f64]| values.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
                assert_eq!(surveyed.longest, most(&surveyed.squares));
                assert_eq!(surveyed.steepest, most(&dots));
                assert_eq!(surveyed.largest, scale * most(&rows));
            }
        }
    }
}
