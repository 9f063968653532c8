//! The passes that read ψ of a problem with one criterion, each a kernel over [`Lanes`]. In all of them
//! e_j = scale·ψ_j, turned to the wanted direction, and y_j = |e_j|.

use crate::fixed::{Grid, Steps};
use crate::float::Float;
use crate::lanes::{Kernel, Lanes, Tally, WIDTH, with_lanes};

/// y is below 2^TOP: the scale is that of a sample's largest, and others may be larger.
pub(super) const TOP: i32 = 7;
/// Grids of y and y².
pub(super) const LENGTHS: Grid = Grid::below(TOP);
pub(super) const SQUARES: Grid = Grid::below(2 * TOP);

/// Samples that a gathering kernel takes at a time. It is given the room for all of them: with a call in
/// its loop, which growing takes, the sums would not stay in registers.
pub(super) const BLOCK: usize = 1 << 13;

/// `psi` in vectors, the last one filled up with zeros, which add nothing to any sum.
pub(super) fn vectors<T: Float, const N: usize>(psi: &[T]) -> (&[[T; N]], Option<[T; N]>) {
    let (full, rest) = psi.as_chunks();
    let tail = (!rest.is_empty()).then(|| {
        let mut tail = [T::ZERO; N];
        tail[..rest.len()].copy_from_slice(rest);
        tail
    });
    (full, tail)
}

/// What every pass finds of its numbers.
#[derive(Clone, Copy, Default)]
pub(super) struct Extent {
    /// Largest y; NaN is left out.
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
pub(super) struct Watch<L: Lanes> {
    largest: L::Floats,
    /// 0, or NaN once a number was not finite.
    poison: L::Floats,
}

impl<L: Lanes> Watch<L> {
    #[inline(always)]
    pub(super) fn new(lanes: L) -> Self {
        Self { largest: lanes.splat(0.0), poison: lanes.splat(0.0) }
    }

    #[inline(always)]
    pub(super) fn see(&mut self, lanes: L, y: L::Floats) {
        self.largest = lanes.max(y, self.largest);
        self.poison = lanes.fma(y, lanes.splat(0.0), self.poison);
    }

    #[inline(always)]
    pub(super) fn extent(self, lanes: L) -> Extent {
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
        let (full, tail) = vectors::<_, WIDTH>(self.psi);
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
        let (full, tail) = vectors::<_, WIDTH>(self.psi);
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
#[derive(Debug, Default)]
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
        let (largest, used) = with_lanes(Pick { psi, scale, above, hits: &mut hits });
        extent.largest = extent.largest.max(largest);
        for &hit in &hits[..used] {
            let e = psi[hit as usize].to_f64() * scale;
            extent.unfit |= !e.is_finite();
            picked.places.push(first + start + hit as usize);
            picked.values.push(e);
        }
    }
    (extent, picked)
}

/// [`pick`] of one block: the largest y that is a number, how many there are, and their places in `hits`,
/// those of what is not a number too.
struct Pick<'a, T> {
    psi: &'a [T],
    scale: f64,
    above: f64,
    hits: &'a mut [u32],
}

impl<T: Float> Kernel for Pick<'_, T> {
    type Output = (f64, usize);

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> Self::Output {
        let (scale, above) = (lanes.splat(self.scale), lanes.splat(self.above));
        let (full, tail) = vectors::<_, { 4 * WIDTH }>(self.psi);
        let mut largest = [lanes.splat(0.0); 4];
        let (mut at, mut used) = (0, 0);
        for part in [full, tail.as_slice()] {
            for many in part {
                let mut bits = 0;
                for (i, x) in many.as_chunks::<WIDTH>().0.iter().enumerate() {
                    lanes.prefetch(x);
                    let y = lanes.abs(lanes.mul(lanes.read(x), scale));
                    largest[i] = lanes.max(y, largest[i]);
                    bits |= lanes.bits(lanes.not_within(y, above)) << (i * WIDTH);
                }
                while bits != 0 {
                    self.hits[used] = at + bits.trailing_zeros();
                    used += 1;
                    bits &= bits - 1;
                }
                at += 4 * WIDTH as u32;
            }
        }
        (largest.map(|largest| lanes.largest(largest)).into_iter().fold(0.0, f64::max), used)
    }
}
