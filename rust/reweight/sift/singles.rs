//! One block of singles, in integers: with e in units of [`UNIT`] a vector holds twice as many, and their
//! sums are exact as they are.

use super::super::passes::{LENGTHS, SQUARES, vectors};
use super::super::price::{Cuts, Sums};
use crate::fixed::power_of_two;
use crate::lanes::{Kernel, Lanes, Lengths, Powers, SINGLES};

/// [`sift`](super::sift) of one block. What is below [`LEAST`] units, and may be no whole number, is left in
/// doubt.
pub(super) struct SiftSingles<'a, const BOXED: bool> {
    psi: &'a [f32],
    scale: f32,
    surely: Ends,
    maybe: Ends,
    to: &'a mut [f32],
}

/// Cuts in units: a weight is not 0 where y is above `woken`, and full where e is above the first or below
/// the second of `full`.
struct Ends {
    woken: f32,
    full: [f32; 2],
}

impl Ends {
    /// None of them below `least`.
    fn new(cuts: &Cuts, least: f32) -> Self {
        // y is above a cut exactly when it is above the largest single that is not.
        let single = |cut: f64| {
            let near = (cut / UNIT) as f32;
            least.max(if f64::from(near) > cut / UNIT { near.next_down() } else { near })
        };
        Self { woken: single(cuts.woken), full: [single(cuts.full[0]), -single(cuts.full[1])] }
    }
}

pub(super) const UNIT: f64 = power_of_two(UNIT_EXPONENT);
const UNIT_EXPONENT: i32 = -29;
/// From here on all singles are whole numbers, and from there on they are too large for an integer.
const LEAST: f32 = (1 << 23) as f32;
const BEYOND: f32 = (1u32 << 31) as f32;

impl<'a, const BOXED: bool> SiftSingles<'a, BOXED> {
    /// At all prices between those of the cuts `surely` and `maybe`; `None` where no single holds the scale.
    pub(super) fn new(
        psi: &'a [f32],
        scale: f64,
        surely: &Cuts,
        maybe: &Cuts,
        to: &'a mut [f32],
    ) -> Option<Self> {
        let scale = (scale / UNIT) as f32;
        let (surely, maybe) = (Ends::new(surely, LEAST.next_down()), Ends::new(maybe, 0.0));
        scale.is_normal().then_some(Self { psi, scale, surely, maybe, to })
    }
}

impl<const BOXED: bool> Kernel for SiftSingles<'_, BOXED> {
    /// The largest y and the sums, unless a number was not finite or too large, and the samples in doubt.
    type Output = (Option<(f64, Sums)>, usize);

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> Self::Output {
        let scale = lanes.sixteen(self.scale);
        let [surely, maybe] = [&self.surely, &self.maybe].map(|ends| lanes.sixteen(ends.woken));
        let [surely_full, maybe_full] =
            [&self.surely, &self.maybe].map(|ends| ends.full.map(|full| lanes.sixteen(full)));
        let (full, tail) = vectors::<_, SINGLES>(self.psi);
        let mut largest = lanes.sixteen(0.0);
        let mut powers = Powers::new(lanes);
        let mut ends = [Lengths::new(lanes); 2];
        let mut counts = [lanes.no_counts(); 3];
        let mut used = 0;
        for part in [full, tail.as_slice()] {
            for x in part {
                lanes.prefetch(x);
                let e = lanes.mul_singles(lanes.singles(x), scale);
                let y = lanes.abs_singles(e);
                largest = lanes.max_singles(y, largest);
                // NaN is beyond both and never full, and then spoils the sums.
                let mut known = lanes.beyond(y, surely);
                let mut doubtful = lanes.beyond(y, maybe);
                if BOXED {
                    known = lanes.but(known, lanes.exceeds(e, maybe_full[0]));
                    known = lanes.but(known, lanes.exceeds(maybe_full[1], e));
                    let sides = [lanes.exceeds(e, surely_full[0]), lanes.exceeds(surely_full[1], e)];
                    for (i, side) in sides.into_iter().enumerate() {
                        doubtful = lanes.but(doubtful, side);
                        ends[i].add(lanes, lanes.keep_singles(side, y));
                        counts[1 + i] = lanes.count_chosen(counts[1 + i], side);
                    }
                }
                doubtful = lanes.but(doubtful, known);
                powers.add(lanes, lanes.keep_singles(known, y));
                counts[0] = lanes.count_chosen(counts[0], known);
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
        let [full, full_negative] = ends.map(|end| end.total(lanes));
        let counts = counts.map(|counts| lanes.counted(counts).cast_signed());
        let mut sums = Sums { counts, ..Sums::default() };
        let found = [
            (lengths, &LENGTHS, 1),
            (squares, &SQUARES, 2),
            (full, &LENGTHS, 1),
            (full_negative, &LENGTHS, 1),
        ];
        for (sum, (count, grid, power)) in sums.lengths.iter_mut().zip(found) {
            *sum += grid.steps_of(count, power * UNIT_EXPONENT);
        }
        (Some((f64::from(largest) * UNIT, sums)), used)
    }
}
