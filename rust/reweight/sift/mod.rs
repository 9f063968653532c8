//! The pass that brackets the price: sums over the samples that are the same at all prices of the bracket,
//! and the others themselves. As in `passes`, e_j = scale·ψ_j, turned to the wanted direction, and y_j = |e_j|.

mod doubles;
mod singles;

use super::gather::{SPARE, gather, unscaled};
use super::passes::Extent;
use super::price::{Cuts, Sums};
use crate::float::Float;
use crate::lanes::with_lanes;

use doubles::Sift;
use singles::{SiftSingles, UNIT};

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
        let mut sums = None;
        if let Err(psi) = T::typed(psi) {
            self.singles.resize(room.max(self.singles.len()), 0.0);
            let sifting = SiftSingles::<BOXED>::new(psi, scale, &surely, &maybe, &mut self.singles);
            if let Some((found, used)) = sifting.map(with_lanes) {
                // What it leaves in doubt beyond the bracket is meant to be little.
                sums = found.filter(|_| used <= rows / 4).map(|(largest, sums)| {
                    all.extent.join(Extent { largest, unfit: false });
                    all.inside.extend(self.singles[..used].iter().map(|&e| f64::from(e) * UNIT));
                    sums
                });
            }
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

#[cfg(test)]
mod tests {
    use super::super::passes::pick;
    use super::super::passes::{LENGTHS, SQUARES};
    use super::*;
    use crate::fixed::Exact;
    use crate::simd::{Level, force};
    use crate::vecmath::Dd;

    /// The exact sums of Σy and Σy² over the free, Σy over the full of both sides, and how many each are.
    #[derive(Default)]
    struct Twin {
        sums: [Exact; 4],
        counts: [i64; 3],
    }

    impl Twin {
        /// One after the other.
        fn take(&mut self, e: f64, cuts: &Cuts) {
            let (y, side) = (e.abs(), usize::from(e < 0.0));
            if y > cuts.full[side] {
                self.sums[2 + side].add(y);
                self.counts[1 + side] += 1;
            } else if y > cuts.woken {
                self.sums[0].add(y);
                self.sums[1].add_pair(Dd::two_product(y, y));
                self.counts[0] += 1;
            }
        }
    }

    fn assert_like_the_twin<T: Float, const BOXED: bool>(psi: &[T], scale: f64, surely: Cuts, maybe: Cuts) {
        let largest = psi.iter().fold(0.0, |most, x| (x.to_f64() * scale).abs().max(most));
        for level in Level::ALL {
            force(level);
            let found = sift::<T, BOXED>(psi, scale, surely, maybe);
            assert!(!found.extent.unfit);
            assert_eq!(found.extent.largest, largest);
            // At either price what was added up and what is in doubt make up the whole.
            for cuts in [surely, maybe] {
                let (mut wanted, mut ours) = (Twin::default(), Twin::default());
                psi.iter().for_each(|x| wanted.take(x.to_f64() * scale, &cuts));
                found.inside.iter().for_each(|&e| ours.take(e, &cuts));
                let grids = [LENGTHS, SQUARES, LENGTHS, LENGTHS];
                for (i, grid) in grids.iter().enumerate() {
                    ours.sums[i].add_pair(found.sums.lengths[i].value(grid));
                    let off = (ours.sums[i].value() - wanted.sums[i].value()).value().abs();
                    assert!(off <= grid.error(psi.len()), "{surely:?} {maybe:?} {level:?}, sum {i}: {off:e}");
                }
                let counts: [i64; 3] = std::array::from_fn(|i| ours.counts[i] + found.sums.counts[i]);
                assert_eq!(counts, wanted.counts, "{surely:?} {maybe:?} {level:?}");
            }
        }
    }

    /// Brackets of a threshold, each with boxes that hold all, some, none, and no side or one.
    fn assert_all_like_the_twin<T: Float>(psi: &[T], scale: f64) {
        let infinite = f64::INFINITY;
        for (low, high) in [
            (0.0, 0.0),
            (0.25, 0.3),
            (1e-3, 0.1),
            (1e-30, 1e-20),
            (0.5, infinite),
            (1.6, 1.65),
            (infinite, infinite),
        ] {
            let [surely, maybe] = [high, low].map(|woken| Cuts { woken, full: [infinite; 2] });
            assert_like_the_twin::<T, false>(psi, scale, surely, maybe);
            for (first, second) in [(1.0, 1.0), (1.1, 3.0), (1.1, infinite), (1e3, 1.0), (infinite, infinite)]
            {
                let full =
                    |woken: f64| [first, second].map(|far| if woken == 0.0 { woken } else { woken * far });
                let [surely, maybe] = [high, low].map(|woken| Cuts { woken, full: full(woken) });
                assert_like_the_twin::<T, true>(psi, scale, surely, maybe);
            }
            for level in Level::ALL {
                force(level);
                let awake = psi.iter().map(|x| x.to_f64() * scale).filter(|e| e.abs() > low);
                let (extent, picked) = pick(psi, scale, low, 10);
                assert!(!extent.unfit);
                assert!(picked.values.iter().copied().eq(awake));
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
                assert_all_like_the_twin(&psi, scale);
                assert_all_like_the_twin(&psi.iter().map(|&x| x as f32).collect::<Vec<_>>(), scale);
            }
        }
    }

    #[test]
    fn what_is_not_finite_is_found() {
        for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for at in [0, 77, 8999] {
                let mut psi = vec![1.0f32; 9000];
                psi[at] = bad;
                let cuts = Cuts { woken: 0.1, full: [0.5; 2] };
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
