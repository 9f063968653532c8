//! The passes over ψ of a problem with one criterion, each a kernel over [`Lanes`]. In all of them
//! e_j = scale·ψ_j, turned to the wanted direction, and y_j = |e_j|.

use super::price::{Cuts, Response};
use crate::fixed::{Grid, Steps};
use crate::float::Float;
use crate::lanes::{Kernel, Lanes, Tally, WIDTH};

/// y is below 2^TOP: the scale is that of a sample's largest, and others may be larger.
pub(super) const TOP: i32 = 7;
/// Grids of y and y².
pub(super) const LENGTHS: Grid = Grid::below(TOP);
pub(super) const SQUARES: Grid = Grid::below(2 * TOP);

/// `psi` in vectors, the last one filled up with zeros, which add nothing to any sum.
fn vectors<T: Float>(psi: &[T]) -> (&[[T; WIDTH]], Option<[T; WIDTH]>) {
    let (full, rest) = psi.as_chunks();
    let tail = (!rest.is_empty()).then(|| {
        let mut tail = [T::ZERO; WIDTH];
        tail[..rest.len()].copy_from_slice(rest);
        tail
    });
    (full, tail)
}

/// A place for the attribute that makes a closure part of its kernel wherever it is called.
#[inline(always)]
fn inlined<F>(step: F) -> F {
    step
}

/// What every pass finds of its numbers.
#[derive(Clone, Copy)]
pub(super) struct Extent {
    /// Largest y; what is not finite is left out.
    pub(super) largest: f64,
    pub(super) finite: bool,
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

    #[inline(always)]
    fn see(&mut self, lanes: L, y: L::Floats) {
        self.largest = lanes.max(y, self.largest);
        self.poison = lanes.fma(y, lanes.splat(0.0), self.poison);
    }

    #[inline(always)]
    fn extent(self, lanes: L) -> Extent {
        let finite = lanes.store(self.poison).iter().all(|x| *x == 0.0);
        Extent { largest: lanes.largest(self.largest), finite }
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
        let mut step = inlined(
            #[inline(always)]
            |x: &[T; WIDTH]| {
                let y = lanes.abs(lanes.mul(lanes.read(x), scale));
                watch.see(lanes, y);
                squares.add_product::<T>(lanes, y, y);
            },
        );
        // Called here and not handed to an iterator, whose shims would not be compiled for the lanes.
        for x in full.iter().chain(&tail) {
            step(x);
        }
        let count = full.len() + usize::from(tail.is_some());
        (watch.extent(lanes), squares.steps(lanes, count))
    }
}

/// The samples that a price in the bracket may wake: their place in `psi` and e.
pub(super) struct Pick<'a, T> {
    pub(super) psi: &'a [T],
    pub(super) scale: f64,
    /// Those with y above it.
    pub(super) above: f64,
}

#[derive(Default)]
pub(super) struct Picked {
    pub(super) places: Vec<usize>,
    pub(super) values: Vec<f64>,
}

impl<T: Float> Kernel for Pick<'_, T> {
    type Output = (Extent, Picked);

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> Self::Output {
        let (scale, above) = (lanes.splat(self.scale), lanes.splat(self.above));
        let (full, tail) = vectors(self.psi);
        let mut watch = Watch::new(lanes);
        let mut picked = Picked::default();
        let mut step = inlined(
            #[inline(always)]
            |(at, x): (usize, &[T; WIDTH])| {
                let y = lanes.abs(lanes.mul(lanes.read(x), scale));
                watch.see(lanes, y);
                let mut bits = lanes.bits(lanes.greater(y, above));
                while bits != 0 {
                    let lane = bits.trailing_zeros() as usize;
                    picked.places.push(at * WIDTH + lane);
                    picked.values.push(x[lane].to_f64() * self.scale);
                    bits &= bits - 1;
                }
            },
        );
        for at_x in full.iter().chain(&tail).enumerate() {
            step(at_x);
        }
        (watch.extent(lanes), picked)
    }
}

/// The sums over the samples of which the bracket of prices leaves no doubt, and the others themselves.
/// Without a box (`BOXED` false) no sample is ever full.
pub(super) struct Sift<'a, T, const BOXED: bool> {
    pub(super) psi: &'a [T],
    pub(super) scale: f64,
    /// The cuts at the lowest and the highest price of the bracket.
    pub(super) surely: Cuts,
    pub(super) maybe: Cuts,
}

pub(super) struct Sifted {
    pub(super) extent: Extent,
    /// Σy and Σy² of the free samples; Σy of the full ones with e > 0 and with e < 0.
    pub(super) sums: [Steps; 4],
    /// e of the samples in doubt.
    pub(super) inside: Vec<f64>,
}

/// Vectors between two looks at the room for samples in doubt.
const BLOCK: usize = 128;

impl<T: Float, const BOXED: bool> Kernel for Sift<'_, T, BOXED> {
    type Output = Sifted;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> Sifted {
        let zero = lanes.splat(0.0);
        let scale = lanes.splat(self.scale);
        let [surely, maybe] = [&self.surely, &self.maybe].map(|cuts| lanes.splat(cuts.woken));
        let [surely_full, maybe_full] =
            [&self.surely, &self.maybe].map(|cuts| cuts.full.map(|full| lanes.splat(full)));
        let (full, tail) = vectors(self.psi);
        let mut watch = Watch::new(lanes);
        let mut free = Tally::new(lanes, LENGTHS);
        let mut squares = Tally::new(lanes, SQUARES);
        let mut stuck = [Tally::new(lanes, LENGTHS); 2];
        let mut step = inlined(
            #[inline(always)]
            |x: &[T; WIDTH], to: &mut [f64; WIDTH]| {
                let e = lanes.mul(lanes.read(x), scale);
                let y = lanes.abs(e);
                watch.see(lanes, y);
                let mut known = lanes.greater(y, surely);
                let mut doubtful = lanes.greater(y, maybe);
                if BOXED {
                    let positive = lanes.greater(e, zero);
                    let limit = |full: [L::Floats; 2]| lanes.select(positive, full[0], full[1]);
                    let is_full = lanes.greater(y, limit(surely_full));
                    known = lanes.except(known, lanes.greater(y, limit(maybe_full)));
                    doubtful = lanes.except(doubtful, is_full);
                    stuck[0].add(lanes, lanes.keep(lanes.and(is_full, positive), y));
                    stuck[1].add(lanes, lanes.keep(lanes.except(is_full, positive), y));
                }
                doubtful = lanes.except(doubtful, known);
                let y = lanes.keep(known, y);
                free.add(lanes, y);
                squares.add_product::<T>(lanes, y, y);
                lanes.compress(doubtful, e, to);
                lanes.bits(doubtful).count_ones() as usize
            },
        );
        let mut inside: Vec<f64> = Vec::new();
        let mut used = 0;
        for block in full.chunks(BLOCK).chain([tail.as_slice()]) {
            // A block adds at most all of its samples, and every vector is written whole.
            inside.resize(inside.len().max(used + (block.len() + 1) * WIDTH), 0.0);
            for x in block {
                if let Some(to) = inside[used..].first_chunk_mut() {
                    used += step(x, to);
                }
            }
        }
        inside.truncate(used);
        inside.shrink_to_fit();
        let count = full.len() + usize::from(tail.is_some());
        Sifted {
            extent: watch.extent(lanes),
            sums: [
                free.steps(lanes, count),
                squares.steps(lanes, count),
                stuck[0].steps(lanes, count),
                stuck[1].steps(lanes, count),
            ],
            inside,
        }
    }
}

/// The weights at a price, and what the certificate needs to know of them.
pub(super) struct Respond<'a, I, T, const BOXED: bool> {
    pub(super) psi: &'a [I],
    pub(super) weights: &'a mut [T],
    pub(super) scale: f64,
    pub(super) response: &'a Response,
}

#[derive(Clone, Copy)]
pub(super) struct Responded {
    /// Σeλ, Σ|λ| and Σλ² of the weights as rounded.
    pub(super) sums: [Steps; 3],
    pub(super) nonzero: usize,
    /// Most by which |2·l2·λ − (ty − l1)| exceeds `Response::ROUNDING` of ty − l1 on a free weight.
    pub(super) excess: f64,
}

impl<I: Float, T: Float, const BOXED: bool> Kernel for Respond<'_, I, T, BOXED> {
    type Output = Responded;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> Responded {
        let response = self.response;
        let zero = lanes.splat(0.0);
        let scale = lanes.splat(self.scale);
        let (high, low) = (lanes.splat(response.price.hi), lanes.splat(response.price.lo));
        let minus_l1 = lanes.splat(-response.l1);
        let (two_l2, per_two_l2) = (lanes.splat(2.0 * response.l2), lanes.splat(0.5 / response.l2));
        let room = response.room.map(|room| lanes.splat(room));
        let rounding = lanes.splat(f64::EPSILON - response.rounding);
        let (psi, psi_tail) = vectors(self.psi);
        let mut effect = Tally::new(lanes, response.effects);
        let mut norm = Tally::new(lanes, response.sizes);
        let mut squares = Tally::new(lanes, response.squares);
        let mut excess = zero;
        let mut nonzero = 0;
        let mut step = inlined(
            #[inline(always)]
            |x: &[I; WIDTH]| -> [T; WIDTH] {
                let e = lanes.mul(lanes.read(x), scale);
                let y = lanes.abs(e);
                // t·y − l1: the second term matters next to the threshold, where the first cancels.
                let pull = lanes.fma(low, y, lanes.fma(high, y, minus_l1));
                let woken = lanes.greater(pull, zero);
                let mut size = lanes.mul(pull, per_two_l2);
                let mut free = woken;
                if BOXED {
                    let limit = lanes.select(lanes.greater(e, zero), room[0], room[1]);
                    free = lanes.except(woken, lanes.greater(size, limit));
                    size = lanes.min(size, limit);
                }
                let weights: [T; WIDTH] =
                    lanes.write(lanes.keep(woken, lanes.with_sign(lanes.keep(woken, size), e)));
                let size = lanes.abs(lanes.read(&weights));
                effect.add_product::<I>(lanes, y, size);
                norm.add(lanes, size);
                squares.add(lanes, lanes.mul(size, size));
                let off = lanes.abs(lanes.fma(two_l2, size, lanes.sub(zero, pull)));
                excess = lanes.max(lanes.keep(free, lanes.fma(rounding, pull, off)), excess);
                nonzero += lanes.bits(lanes.greater(size, zero)).count_ones() as usize;
                weights
            },
        );
        let (weights, weights_tail) = self.weights.as_chunks_mut();
        for (x, weights) in psi.iter().zip(weights) {
            *weights = step(x);
        }
        if let Some(x) = &psi_tail {
            weights_tail.copy_from_slice(&step(x)[..weights_tail.len()]);
        }
        let count = psi.len() + usize::from(psi_tail.is_some());
        Responded {
            sums: [effect.steps(lanes, count), norm.steps(lanes, count), squares.steps(lanes, count)],
            nonzero,
            excess: lanes.largest(excess),
        }
    }
}
