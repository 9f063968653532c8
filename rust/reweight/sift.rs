//! The pass that brackets the price: sums over the samples that are the same at all prices of the bracket,
//! and the others themselves. As in `passes`, e_j = scale·ψ_j, turned to the wanted direction, and y_j = |e_j|.

use super::gather::{SPARE, gather, unscaled};
use super::passes::{Extent, LENGTHS, SQUARES, Watch, vectors};
use super::price::{Cuts, Sums};
use crate::fixed::power_of_two;
use crate::float::Float;
use crate::lanes::{Chosen, Kernel, Lanes, Powers, SINGLES, Split, WIDTH, with_lanes};

#[derive(Default)]
pub(super) struct Sifted {
    pub(super) extent: Extent,
    pub(super) sums: Sums,
    /// e of the samples in doubt.
    pub(super) inside: Vec<f64>,
}

/// The sums over the samples of which the bracket of prices leaves no doubt, at all prices between those of
/// the cuts, and the others themselves. Without a box (`BOXED` false) no sample is ever full.
///
/// Where most samples are asleep at all prices, the others are brought together first.
pub(super) fn sift<T: Float, const BOXED: bool>(psi: &[T], scale: f64, surely: Cuts, maybe: Cuts) -> Sifted {
    let mut sifted = Sifter::<BOXED> { scale, surely, maybe, ..Sifter::default() };
    let above = unscaled::<T>(maybe.woken, scale);
    let mut awake = vec![T::ZERO; BLOCK.min(psi.len()) + HELD + SPARE];
    let (mut rows, mut used, mut largest, mut gathers) = (0, 0, 0.0f64, true);
    for psi in psi.chunks(BLOCK) {
        let share = if gathers {
            let (more, found) = gather(psi, above, &mut awake[used..]);
            largest = largest.max(found);
            used += more;
            rows += psi.len();
            if used > HELD {
                sifted.take(&awake[..used], rows);
                (rows, used) = (0, 0);
            }
            more
        } else {
            sifted.take(psi, psi.len())
        };
        gathers = share <= psi.len() / 2;
    }
    sifted.take(&awake[..used], rows);
    let largest = largest * scale.abs();
    sifted.all.extent.join(Extent { largest, unfit: !largest.is_finite() });
    sifted.all
}

/// Samples read at a time; with those held back no more than integers count.
const BLOCK: usize = 1 << 12;
/// Samples held back until there are more of them.
const HELD: usize = 1 << 10;

/// What was found so far.
#[derive(Default)]
struct Sifter<const BOXED: bool> {
    scale: f64,
    surely: Cuts,
    maybe: Cuts,
    /// Where samples in doubt go first.
    doubles: Vec<f64>,
    singles: Vec<f32>,
    all: Sifted,
}

impl<const BOXED: bool> Sifter<BOXED> {
    /// Takes `psi`, which is all that matters of so many rows; how many are awake.
    fn take<T: Float>(&mut self, psi: &[T], rows: usize) -> usize {
        let Self { scale, surely, maybe, ref mut all, .. } = *self;
        let (room, before) = (psi.len() + SPARE, all.inside.len());
        let units = SiftSingles::units(scale).filter(|_| !BOXED);
        let mut sums = None;
        if let (Some(units), Err(psi)) = (units, T::typed(psi)) {
            self.singles.resize(room.max(self.singles.len()), 0.0);
            let cuts = [surely.woken, maybe.woken];
            let (found, used) = with_lanes(SiftSingles::new(psi, units, cuts, &mut self.singles));
            // What it leaves in doubt beyond the bracket is meant to be little.
            sums = found.filter(|_| used <= rows / 4).map(|(largest, sums)| {
                all.extent.join(Extent { largest, unfit: false });
                all.inside.extend(self.singles[..used].iter().map(|&e| f64::from(e) * UNIT));
                sums
            });
        }
        let sums = sums.unwrap_or_else(|| {
            self.doubles.resize(room.max(self.doubles.len()), 0.0);
            let to = &mut self.doubles;
            let (extent, sums, used) = with_lanes(Sift::<T, BOXED> { psi, scale, surely, maybe, to });
            all.extent.join(extent);
            all.inside.extend_from_slice(&self.doubles[..used]);
            sums
        });
        all.sums.join(&sums);
        sums.counts.iter().sum::<i64>() as usize + all.inside.len() - before
    }
}

/// [`sift`] of one block.
struct Sift<'a, T, const BOXED: bool> {
    psi: &'a [T],
    scale: f64,
    /// The cuts at the lowest and the highest price of the bracket.
    surely: Cuts,
    maybe: Cuts,
    /// Where the samples in doubt go, with room for one vector more than there can be.
    to: &'a mut [f64],
}

impl<T: Float, const BOXED: bool> Kernel for Sift<'_, T, BOXED> {
    type Output = (Extent, Sums, usize);

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> Self::Output {
        let zero = lanes.splat(0.0);
        let scale = lanes.splat(self.scale);
        let [surely, maybe] = [&self.surely, &self.maybe].map(|cuts| lanes.splat(cuts.woken));
        let [surely_full, maybe_full] =
            [&self.surely, &self.maybe].map(|cuts| cuts.full.map(|full| lanes.splat(full)));
        let (full, tail) = vectors::<_, WIDTH>(self.psi);
        let mut watch = Watch::new(lanes);
        let mut sums = [Chosen::new(lanes); 4];
        let mut counts = [0; 3];
        let mut used = 0;
        for part in [full, tail.as_slice()] {
            for x in part {
                lanes.prefetch(x);
                let e = lanes.mul(lanes.read(x), scale);
                let y = lanes.abs(e);
                watch.see(lanes, y);
                let length = Split::of(lanes, &LENGTHS, y);
                let mut known = lanes.greater(y, surely);
                let mut doubtful = lanes.greater(y, maybe);
                if BOXED {
                    let positive = lanes.greater(e, zero);
                    let limit = |full: [L::Floats; 2]| lanes.select(positive, full[0], full[1]);
                    let is_full = lanes.greater(y, limit(surely_full));
                    known = lanes.except(known, lanes.greater(y, limit(maybe_full)));
                    doubtful = lanes.except(doubtful, is_full);
                    let sides = [lanes.and(is_full, positive), lanes.except(is_full, positive)];
                    for (i, side) in sides.into_iter().enumerate() {
                        sums[2 + i].add(lanes, side, length);
                        counts[1 + i] += lanes.held(side);
                    }
                }
                doubtful = lanes.except(doubtful, known);
                sums[0].add(lanes, known, length);
                sums[1].add(lanes, known, Split::of_product(lanes, &SQUARES, y, y));
                counts[0] += lanes.held(known);
                if let Some(to) = self.to[used..].first_chunk_mut() {
                    lanes.compress(doubtful, e, to);
                }
                used += lanes.held(doubtful) as usize;
            }
        }
        let [free, full, full_negative] = counts;
        let terms = [(&LENGTHS, free), (&SQUARES, free), (&LENGTHS, full), (&LENGTHS, full_negative)];
        let mut found = Sums { counts: counts.map(i64::from), ..Sums::default() };
        for ((sum, chosen), (grid, count)) in found.lengths.iter_mut().zip(sums).zip(terms) {
            *sum += chosen.steps(lanes, grid, count);
        }
        (watch.extent(lanes), found, used)
    }
}

/// [`sift`] of one block of singles without a box, in integers: e is in units of [`UNIT`], and what is
/// below [`LEAST`] of them, and may be no whole number, is left in doubt.
struct SiftSingles<'a> {
    psi: &'a [f32],
    scale: f32,
    surely: f32,
    maybe: f32,
    to: &'a mut [f32],
}

const UNIT: f64 = power_of_two(UNIT_EXPONENT);
const UNIT_EXPONENT: i32 = -29;
/// From here on all singles are whole numbers, and from there on they are too large for an integer.
const LEAST: f32 = (1 << 23) as f32;
const BEYOND: f32 = (1u32 << 31) as f32;

impl<'a> SiftSingles<'a> {
    /// The scale to units, where a single holds it.
    fn units(scale: f64) -> Option<f32> {
        Some((scale / UNIT) as f32).filter(|units| units.is_normal())
    }

    fn new(psi: &'a [f32], scale: f32, cuts: [f64; 2], to: &'a mut [f32]) -> Self {
        // y is above a cut exactly when it is above the largest single that is not.
        let [surely, maybe] = cuts.map(|cut| {
            let near = (cut / UNIT) as f32;
            if f64::from(near) > cut / UNIT { near.next_down() } else { near }
        });
        Self { psi, scale, surely: surely.max(LEAST.next_down()), maybe, to }
    }
}

impl Kernel for SiftSingles<'_> {
    /// The largest y and the sums, unless a number was not finite or too large, and the samples in doubt.
    type Output = (Option<(f64, Sums)>, usize);

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> Self::Output {
        let [scale, surely, maybe] = [self.scale, self.surely, self.maybe].map(|x| lanes.sixteen(x));
        let (full, tail) = vectors::<_, SINGLES>(self.psi);
        let mut largest = lanes.sixteen(0.0);
        let mut powers = Powers::new(lanes);
        let (mut count, mut used) = (0, 0);
        for part in [full, tail.as_slice()] {
            for x in part {
                lanes.prefetch(x);
                let e = lanes.mul_singles(lanes.singles(x), scale);
                let y = lanes.abs_singles(e);
                largest = lanes.max_singles(y, largest);
                // NaN is beyond both, and then spoils the sums.
                let known = lanes.beyond(y, surely);
                let doubtful = lanes.but(lanes.beyond(y, maybe), known);
                powers.add(lanes, lanes.keep_singles(known, y));
                count += lanes.held_singles(known);
                if let Some(to) = self.to[used..].first_chunk_mut() {
                    lanes.compress_singles(doubtful, e, to);
                }
                used += lanes.held_singles(doubtful) as usize;
            }
        }
        let largest = lanes.unpack_singles(largest).into_iter().fold(0.0, f32::max);
        if !powers.is_finite(lanes) || largest >= BEYOND {
            return (None, used);
        }
        let [lengths, squares] = powers.totals(lanes);
        let mut sums = Sums { counts: [i64::from(count), 0, 0], ..Sums::default() };
        sums.lengths[0] += LENGTHS.steps_of(lengths, UNIT_EXPONENT);
        sums.lengths[1] += SQUARES.steps_of(squares, 2 * UNIT_EXPONENT);
        (Some((f64::from(largest) * UNIT, sums)), used)
    }
}

#[cfg(test)]
mod tests {
    use super::super::passes::pick;
    use super::*;
    use crate::fixed::Exact;
    use crate::simd::{Level, force};
    use crate::vecmath::Dd;

    fn assert_like_the_twin<T: Float>(psi: &[T], scale: f64) {
        let none = [f64::INFINITY; 2];
        for (low, high) in [
            (0.0, 0.0),
            (0.25, 0.3),
            (1e-3, 0.1),
            (1e-30, 1e-20),
            (0.5, f64::INFINITY),
            (1.6, 1.65),
            (f64::INFINITY, f64::INFINITY),
        ] {
            let awake = || psi.iter().map(|x| x.to_f64() * scale).filter(|e| e.abs() > low);
            let mut exact: [Exact; 2] = std::array::from_fn(|_| Exact::default());
            for e in awake() {
                exact[0].add(e.abs());
                exact[1].add_pair(Dd::two_product(e, e));
            }
            for level in Level::ALL {
                force(level);
                let [surely, maybe] = [high, low].map(|woken| Cuts { woken, full: none });
                let found = sift::<T, false>(psi, scale, surely, maybe);
                assert!(!found.extent.unfit);
                assert_eq!(
                    found.extent.largest,
                    psi.iter().fold(0.0, |most, x| (x.to_f64() * scale).abs().max(most))
                );
                let mut ours = [LENGTHS, SQUARES].map(|_| Exact::default());
                for (i, grid) in [LENGTHS, SQUARES].iter().enumerate() {
                    ours[i].add_pair(found.sums.lengths[i].value(grid));
                }
                for &e in &found.inside {
                    assert!(low < e.abs());
                    ours[0].add(e.abs());
                    ours[1].add_pair(Dd::two_product(e, e));
                }
                for ((ours, exact), grid) in ours.iter().zip(&exact).zip([LENGTHS, SQUARES]) {
                    let off = (ours.value() - exact.value()).value().abs();
                    assert!(off <= grid.error(psi.len()), "{low} {high} {level:?}: {off:e}");
                }
                assert_eq!(found.sums.counts[0] as usize + found.inside.len(), awake().count());
                let (extent, picked) = pick(psi, scale, low, 10);
                assert!(!extent.unfit);
                assert!(picked.values.iter().copied().eq(awake()));
            }
        }
    }

    #[test]
    fn what_is_sifted_and_picked_equals_one_after_the_other() {
        let mut state = 5u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
        };
        let mut patterns: Vec<Vec<f64>> =
            [1, 31, 9001].iter().map(|&len| (0..len).map(|_| 7.0 * next()).collect()).collect();
        let many = patterns[2].clone();
        // An outlier, numbers that are no whole units, ties, zeros of both signs, the cuts themselves.
        patterns.push(many.iter().enumerate().map(|(i, x)| if i == 4000 { 300.0 } else { *x }).collect());
        patterns.push(many.iter().map(|x| x * 1e-3).collect());
        patterns.push(many.iter().map(|x| (x / 7.0).powi(40)).collect());
        patterns.push(vec![1.0; 9000]);
        patterns.push([0.0, -0.0, 1.0, 1.2, -1.2, 4.0, -15.999_999, 16.0, 1e-40, 0.0625].repeat(100));
        for psi in patterns {
            for scale in [0.25, -0.25] {
                assert_like_the_twin(&psi, scale);
                assert_like_the_twin(&psi.iter().map(|&x| x as f32).collect::<Vec<_>>(), scale);
            }
        }
    }

    #[test]
    fn what_is_not_finite_is_found() {
        for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for at in [0, 77, 8999] {
                let mut psi = vec![1.0f32; 9000];
                psi[at] = bad;
                let cuts = Cuts { woken: 0.1, full: [f64::INFINITY; 2] };
                for level in Level::ALL {
                    force(level);
                    assert!(sift::<f32, false>(&psi, 1.0, cuts, cuts).extent.unfit);
                    assert!(sift::<f32, true>(&psi, 1.0, cuts, cuts).extent.unfit);
                    assert!(pick(&psi, 1.0, 2.0, 0).0.unfit);
                }
            }
        }
    }
}
