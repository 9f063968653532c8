//! One block of either type, in doubles.

use super::super::passes::{Extent, LENGTHS, SQUARES, Watch, vectors};
use super::super::price::{Cuts, Sums};
use crate::float::Float;
use crate::lanes::{Chosen, Kernel, Lanes, Split, WIDTH};

/// [`sift`](super::sift) of one block.
pub(super) struct Sift<'a, T, const BOXED: bool> {
    pub(super) psi: &'a [T],
    pub(super) scale: f64,
    /// The cuts at the lowest and the highest price of the bracket.
    pub(super) surely: Cuts,
    pub(super) maybe: Cuts,
    /// Where the samples in doubt go, with room for one vector more than there can be.
    pub(super) to: &'a mut [f64],
}

impl<T: Float, const BOXED: bool> Kernel for Sift<'_, T, BOXED> {
    type Output = (Extent, Sums, usize);

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> Self::Output {
        let scale = lanes.splat(self.scale);
        let [surely, maybe] = [&self.surely, &self.maybe].map(|cuts| lanes.splat(cuts.woken));
        let [surely_full, maybe_full] = [&self.surely, &self.maybe]
            .map(|cuts| [cuts.full[0], -cuts.full[1]].map(|full| lanes.splat(full)));
        // An integer, though the counters are given it as the bits of a double.
        let one = lanes.splat(f64::from_bits(1));
        let (full, tail) = vectors::<_, WIDTH>(self.psi);
        let mut watch = Watch::new(lanes);
        let mut sums = [Chosen::new(lanes); 4];
        let mut counts = [lanes.no_counts(); 3];
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
                    known = lanes.except(known, lanes.greater(e, maybe_full[0]));
                    known = lanes.except(known, lanes.greater(maybe_full[1], e));
                    let sides = [lanes.greater(e, surely_full[0]), lanes.greater(surely_full[1], e)];
                    for (i, side) in sides.into_iter().enumerate() {
                        doubtful = lanes.except(doubtful, side);
                        sums[2 + i].add(lanes, side, length);
                        counts[1 + i] = lanes.count_where(counts[1 + i], side, one);
                    }
                }
                doubtful = lanes.except(doubtful, known);
                sums[0].add(lanes, known, length);
                sums[1].add(lanes, known, Split::of_product(lanes, &SQUARES, y, y));
                counts[0] = lanes.count_where(counts[0], known, one);
                if let Some(to) = self.to[used..].first_chunk_mut() {
                    lanes.compress(doubtful, e, to);
                }
                used += lanes.held(doubtful) as usize;
            }
        }
        let [free, full, full_negative] = counts.map(|counts| lanes.unpack(counts).into_iter().sum::<u64>());
        let terms = [(&LENGTHS, free), (&SQUARES, free), (&LENGTHS, full), (&LENGTHS, full_negative)];
        let counts = [free, full, full_negative].map(u64::cast_signed);
        let mut found = Sums { counts, ..Sums::default() };
        for ((sum, chosen), (grid, count)) in found.lengths.iter_mut().zip(sums).zip(terms) {
            *sum += chosen.steps(lanes, grid, count);
        }
        (watch.extent(lanes), found, used)
    }
}
