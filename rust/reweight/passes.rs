//! The passes that read ψ of a problem with one criterion, each a kernel over [`Lanes`]. In all of them
//! e_j = scale·ψ_j, turned to the wanted direction, and y_j = |e_j|.

use super::price::{Cuts, Sums};
use crate::fixed::{Fixed, Grid, Steps};
use crate::float::Float;
use crate::lanes::{HOLDS, Kernel, Lanes, Squares, Tally, WIDTH, with_lanes};

/// y is below 2^TOP: the scale is that of a sample's largest, and others may be larger.
pub(super) const TOP: i32 = 7;
/// Grids of y and y².
pub(super) const LENGTHS: Grid = Grid::below(TOP);
pub(super) const SQUARES: Grid = Grid::below(2 * TOP);

/// Samples that a gathering kernel takes at a time. It is given the room for all of them: with a call in
/// its loop, which growing takes, the sums would not stay in registers.
const BLOCK: usize = 1 << 13;

/// `psi` in vectors, the last one filled up with zeros, which add nothing to any sum.
pub(super) fn vectors<T: Float>(psi: &[T]) -> (&[[T; WIDTH]], Option<[T; WIDTH]>) {
    let (full, rest) = psi.as_chunks();
    let tail = (!rest.is_empty()).then(|| {
        let mut tail = [T::ZERO; WIDTH];
        tail[..rest.len()].copy_from_slice(rest);
        tail
    });
    (full, tail)
}

/// What every pass finds of its numbers.
#[derive(Clone, Copy, Default)]
pub(super) struct Extent {
    /// Largest y; what is not finite is left out.
    pub(super) largest: f64,
    /// A number is not finite.
    pub(super) unfit: bool,
}

impl Extent {
    pub(super) fn join(&mut self, other: Self) {
        self.largest = self.largest.max(other.largest);
        self.unfit |= other.unfit;
    }
}

#[derive(Clone, Copy)]
struct Watch<L: Lanes> {
    largest: L::Floats,
    /// 0, or NaN once a number was not finite.
    poison: L::Floats,
}

impl<L: Lanes> Watch<L> {
    #[inline(always)]
    fn new(lanes: L) -> Self {
        Self { largest: lanes.splat(0.0), poison: lanes.splat(0.0) }
    }

    /// Sees the largest alone.
    #[inline(always)]
    fn look(&mut self, lanes: L, y: L::Floats) {
        self.largest = lanes.max(y, self.largest);
    }

    #[inline(always)]
    fn see(&mut self, lanes: L, y: L::Floats) {
        self.look(lanes, y);
        self.poison = lanes.fma(y, lanes.splat(0.0), self.poison);
    }

    #[inline(always)]
    fn extent(self, lanes: L) -> Extent {
        let unfit = lanes.store(self.poison).iter().any(|x| *x != 0.0);
        Extent { largest: lanes.largest(self.largest), unfit }
    }
}

/// The largest |ψ|.
pub(super) struct Scan<'a, T> {
    pub(super) psi: &'a [T],
}

impl<T: Float> Kernel for Scan<'_, T> {
    type Output = Extent;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> Extent {
        let (full, tail) = vectors(self.psi);
        let mut watch = Watch::new(lanes);
        for part in [full, tail.as_slice()] {
            for x in part {
                lanes.prefetch(x);
                watch.see(lanes, lanes.abs(lanes.read(x)));
            }
        }
        watch.extent(lanes)
    }
}

/// The largest y and Σy².
pub(super) struct Measure<'a, T> {
    pub(super) psi: &'a [T],
    pub(super) scale: f64,
}

impl<T: Float> Kernel for Measure<'_, T> {
    type Output = (Extent, Steps);

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> Self::Output {
        let scale = lanes.splat(self.scale);
        let (full, tail) = vectors(self.psi);
        let mut watch = Watch::new(lanes);
        let mut squares = Tally::new(lanes, SQUARES);
        for part in [full, tail.as_slice()] {
            for x in part {
                lanes.prefetch(x);
                let y = lanes.abs(lanes.mul(lanes.read(x), scale));
                watch.see(lanes, y);
                squares.add_product(lanes, y, y);
            }
        }
        let count = full.len() + usize::from(tail.is_some());
        (watch.extent(lanes), squares.steps(lanes, count))
    }
}

/// The samples that a price in the bracket may wake: their place in `psi` and e.
#[derive(Default)]
pub(super) struct Picked {
    pub(super) places: Vec<usize>,
    pub(super) values: Vec<f64>,
}

/// The samples of `psi` with y above `above`, `psi` beginning at the place `first`.
pub(super) fn pick<T: Float>(psi: &[T], scale: f64, above: f64, first: usize) -> (Extent, Picked) {
    let mut extent = Extent::default();
    let mut picked = Picked::default();
    let mut hits = vec![0; BLOCK];
    for (start, psi) in (0..).step_by(BLOCK).zip(psi.chunks(BLOCK)) {
        let (found, used) = with_lanes(Pick { psi, scale, above, hits: &mut hits });
        extent.join(found);
        for &hit in &hits[..used] {
            picked.places.push(first + start + hit as usize);
            picked.values.push(psi[hit as usize].to_f64() * scale);
        }
    }
    (extent, picked)
}

/// [`pick`] of one block: how many there are, and their places in `hits`.
struct Pick<'a, T> {
    psi: &'a [T],
    scale: f64,
    above: f64,
    hits: &'a mut [u32],
}

impl<T: Float> Kernel for Pick<'_, T> {
    type Output = (Extent, usize);

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> Self::Output {
        let (scale, above) = (lanes.splat(self.scale), lanes.splat(self.above));
        let (full, tail) = vectors(self.psi);
        let mut watch = Watch::new(lanes);
        let (mut at, mut used) = (0, 0);
        for part in [full, tail.as_slice()] {
            for x in part {
                lanes.prefetch(x);
                let y = lanes.abs(lanes.mul(lanes.read(x), scale));
                watch.see(lanes, y);
                let mut bits = lanes.bits(lanes.greater(y, above));
                while bits != 0 {
                    self.hits[used] = at + bits.trailing_zeros();
                    used += 1;
                    bits &= bits - 1;
                }
                at += WIDTH as u32;
            }
        }
        (watch.extent(lanes), used)
    }
}

/// The sums over the samples of which the bracket of prices leaves no doubt, and the others themselves.
/// Without a box (`BOXED` false) no sample is ever full. `FEW` is for numbers of few digits: the cuts and
/// y must be within [`Squares::HOLDS`], and what is not finite shows in Σy.
struct Sift<'a, T, const BOXED: bool, const FEW: bool> {
    psi: &'a [T],
    scale: f64,
    /// The cuts at the lowest and the highest price of the bracket.
    surely: Cuts,
    maybe: Cuts,
    /// Where the samples in doubt go, with room for one vector more than there can be.
    to: &'a mut [f64],
}

#[derive(Default)]
pub(super) struct Sifted {
    pub(super) extent: Extent,
    pub(super) sums: Sums,
    /// e of the samples in doubt.
    pub(super) inside: Vec<f64>,
}

/// The sums of `psi` at all prices between those of the cuts.
pub(super) fn sift<T: Float, const BOXED: bool>(psi: &[T], scale: f64, surely: Cuts, maybe: Cuts) -> Sifted {
    let mut sifted = Sifted::default();
    let mut buffer = vec![0.0; BLOCK.min(psi.len()) + WIDTH];
    for psi in psi.chunks(BLOCK) {
        // Singles that are too small to be added without loss are left in doubt.
        let sure = surely.at_least(HOLDS.start);
        let to = &mut buffer;
        let few = T::IS_SINGLE.then(|| with_lanes(Sift::<T, BOXED, true> { psi, scale, surely: sure, maybe, to }));
        let (extent, sums, used) = few
            .filter(|(extent, _, used)| !extent.unfit && extent.largest < HOLDS.end && *used <= psi.len() / 4)
            .unwrap_or_else(|| {
                let to = &mut buffer;
                with_lanes(Sift::<T, BOXED, false> { psi, scale, surely, maybe, to })
            });
        sifted.extent.join(extent);
        sifted.sums.join(&sums);
        sifted.inside.extend_from_slice(&buffer[..used]);
    }
    sifted
}

/// Σy in lanes: a plain sum where nothing is lost in it.
#[derive(Clone, Copy)]
struct Lengths<L: Lanes, const FEW: bool> {
    plain: L::Floats,
    tally: Tally<L>,
}

impl<L: Lanes, const FEW: bool> Lengths<L, FEW> {
    #[inline(always)]
    fn new(lanes: L) -> Self {
        Self { plain: lanes.splat(0.0), tally: Tally::new(lanes, LENGTHS) }
    }

    #[inline(always)]
    fn add(&mut self, lanes: L, y: L::Floats) {
        if FEW {
            self.plain = lanes.add(self.plain, y);
        } else {
            self.tally.add(lanes, y);
        }
    }

    #[inline(always)]
    fn sum(self, lanes: L, vectors: usize) -> Fixed {
        let mut sum = Fixed::default();
        if FEW {
            lanes.store(self.plain).into_iter().for_each(|x| sum += LENGTHS.whole_steps(x));
        } else {
            sum += self.tally.steps(lanes, vectors);
        }
        sum
    }
}

impl<T: Float, const BOXED: bool, const FEW: bool> Kernel for Sift<'_, T, BOXED, FEW> {
    type Output = (Extent, Sums, usize);

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> Self::Output {
        let zero = lanes.splat(0.0);
        let scale = lanes.splat(self.scale);
        let [surely, maybe] = [&self.surely, &self.maybe].map(|cuts| lanes.splat(cuts.woken));
        let [surely_full, maybe_full] =
            [&self.surely, &self.maybe].map(|cuts| cuts.full.map(|full| lanes.splat(full)));
        let (full, tail) = vectors(self.psi);
        let mut watch = Watch::new(lanes);
        let mut lengths = [Lengths::<L, FEW>::new(lanes); 3];
        let mut squares = Tally::new(lanes, SQUARES);
        let mut few_squares = Squares::new(lanes);
        let mut counts = [0; 3];
        let mut used = 0;
        for part in [full, tail.as_slice()] {
            for x in part {
                lanes.prefetch(x);
                let e = lanes.mul(lanes.read(x), scale);
                let y = lanes.abs(e);
                if FEW {
                    watch.look(lanes, y);
                } else {
                    watch.see(lanes, y);
                }
                let mut known = lanes.escapes(y, surely);
                let mut doubtful = lanes.greater(y, maybe);
                if BOXED {
                    let positive = lanes.greater(e, zero);
                    let limit = |full: [L::Floats; 2]| lanes.select(positive, full[0], full[1]);
                    let is_full = lanes.greater(y, limit(surely_full));
                    known = lanes.except(known, lanes.greater(y, limit(maybe_full)));
                    doubtful = lanes.except(doubtful, is_full);
                    let sides = [lanes.and(is_full, positive), lanes.except(is_full, positive)];
                    for (i, side) in sides.into_iter().enumerate() {
                        lengths[1 + i].add(lanes, lanes.keep(side, y));
                        counts[1 + i] += lanes.bits(side).count_ones();
                    }
                }
                doubtful = lanes.except(doubtful, known);
                let y = lanes.keep(known, y);
                lengths[0].add(lanes, y);
                if FEW {
                    few_squares.add(lanes, y);
                } else {
                    squares.add_product(lanes, y, y);
                }
                counts[0] += lanes.bits(known).count_ones();
                if let Some(to) = self.to[used..].first_chunk_mut() {
                    lanes.compress(doubtful, e, to);
                }
                used += lanes.bits(doubtful).count_ones() as usize;
            }
        }
        let vectors = full.len() + usize::from(tail.is_some());
        let mut extent = watch.extent(lanes);
        extent.unfit |= FEW && !lanes.store(lengths[0].plain).iter().all(|x| x.is_finite());
        let mut all_squares = Fixed::default();
        all_squares +=
            if FEW { few_squares.steps(lanes, &SQUARES) } else { squares.steps(lanes, vectors) };
        let [free, full, full_negative] = lengths.map(|lengths| lengths.sum(lanes, vectors));
        let sums = Sums { lengths: [free, all_squares, full, full_negative], counts: counts.map(i64::from) };
        (extent, sums, used)
    }
}
