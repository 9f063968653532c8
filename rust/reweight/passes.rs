//! The passes that read ψ of a problem with one criterion, each a kernel over [`Lanes`]. In all of them
//! e_j = scale·ψ_j, turned to the wanted direction, and y_j = |e_j|.

use super::gather::unscaled;
use crate::fixed::{Grid, Steps};
use crate::float::Float;
use crate::lanes::{Kernel, Lanes, SINGLES, Tally, WIDTH, with_lanes};

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

/// Writes what `answer` makes of each vector of `psi`; how many there were.
#[inline(always)]
pub(super) fn each<L: Lanes, T: Float, const N: usize>(
    lanes: L,
    psi: &[T],
    weights: &mut [T],
    streams: bool,
    mut answer: impl FnMut(&[T; N]) -> [T; N],
) -> usize {
    let (full, tail) = vectors::<T, N>(psi);
    let (weights, rest) = weights.as_chunks_mut();
    for (x, weights) in full.iter().zip(weights) {
        lanes.prefetch(x);
        let answered = answer(x);
        if streams {
            lanes.stream(answered, weights);
        } else {
            *weights = answered;
        }
    }
    if let Some(tail) = &tail {
        rest.copy_from_slice(&answer(tail)[..rest.len()]);
    }
    full.len() + usize::from(tail.is_some())
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
    let raw = unscaled::<T>(above, scale);
    for (start, psi) in (0..).step_by(BLOCK).zip(psi.chunks(BLOCK)) {
        let (largest, used) = match T::typed(psi) {
            Ok(psi) => with_lanes(Pick { psi, above: raw.to_f64(), hits: &mut hits }),
            Err(psi) => with_lanes(Pick { psi, above: raw.to_f64() as f32, hits: &mut hits }),
        };
        extent.largest = extent.largest.max(largest * scale.abs());
        for &hit in &hits[..used] {
            let e = psi[hit as usize].to_f64() * scale;
            extent.unfit |= !e.is_finite();
            if e.abs() > above {
                picked.places.push(first + start + hit as usize);
                picked.values.push(e);
            }
        }
    }
    extent.unfit |= !extent.largest.is_finite();
    (extent, picked)
}

/// The largest size in one block that is a number, how many are above `above` or are none, and their places
/// in `hits`.
struct Pick<'a, T> {
    psi: &'a [T],
    above: T,
    hits: &'a mut [u32],
}

/// Notes the places from `at` on whose bits are set, behind the first `used`.
#[inline(always)]
fn note(mut bits: u32, at: u32, hits: &mut [u32], used: &mut usize) {
    while bits != 0 {
        hits[*used] = at + bits.trailing_zeros();
        *used += 1;
        bits &= bits - 1;
    }
}

/// Numbers that are looked at before the next is: all bits of an integer.
const MANY: usize = u32::BITS as usize;

impl Kernel for Pick<'_, f64> {
    type Output = (f64, usize);

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> Self::Output {
        let above = lanes.splat(self.above);
        let (full, tail) = vectors::<_, MANY>(self.psi);
        let mut largest = [lanes.splat(0.0); MANY / WIDTH];
        let (mut at, mut used) = (0, 0);
        for part in [full, tail.as_slice()] {
            for many in part {
                let mut bits = 0;
                for (i, x) in many.as_chunks::<WIDTH>().0.iter().enumerate() {
                    lanes.prefetch(x);
                    let size = lanes.abs(lanes.load(x));
                    largest[i] = lanes.max(size, largest[i]);
                    bits |= lanes.bits(lanes.not_within(size, above)) << (i * WIDTH);
                }
                note(bits, at, self.hits, &mut used);
                at += MANY as u32;
            }
        }
        (largest.map(|largest| lanes.largest(largest)).into_iter().fold(0.0, f64::max), used)
    }
}

impl Kernel for Pick<'_, f32> {
    type Output = (f64, usize);

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> Self::Output {
        let above = lanes.sixteen(self.above);
        let (full, tail) = vectors::<_, MANY>(self.psi);
        let mut largest = [lanes.sixteen(0.0); MANY / SINGLES];
        let (mut at, mut used) = (0, 0);
        for part in [full, tail.as_slice()] {
            for many in part {
                let mut bits = 0;
                for (i, x) in many.as_chunks::<SINGLES>().0.iter().enumerate() {
                    lanes.prefetch(x);
                    let size = lanes.abs_singles(lanes.singles(x));
                    largest[i] = lanes.max_singles(size, largest[i]);
                    bits |= lanes.chosen(lanes.beyond(size, above)) << (i * SINGLES);
                }
                note(bits, at, self.hits, &mut used);
                at += MANY as u32;
            }
        }
        let largest = largest.map(|largest| lanes.unpack_singles(largest));
        (largest.into_iter().flatten().fold(0.0, f32::max).into(), used)
    }
}
