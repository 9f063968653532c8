//! The pass that writes the weights at a price, and adds up what the certificate needs to know of their
//! rounding.

use super::passes::each;
use super::price::{Cuts, Terms};
use super::spare::{Certain, SPARED, buffer};
use crate::fixed::{Grid, Steps, exponent};
use crate::float::Float;
use crate::lanes::{Counter, Kernel, Lanes, Tally, with_lanes};
use crate::vecmath::Dd;

/// A weight λ in double precision is within this times λ of its exact value, with two roundings.
pub(super) const ROUNDING: f64 = 8.0 * <f64 as Float>::ROUNDING.0;

/// Bytes of a line of the caches.
const LINE: usize = 64;

/// Bytes of weights that no cache keeps until they are read.
const MUCH: usize = 1 << 25;

/// What the pass needs: the price, and grids that hold its sums.
#[derive(Clone, Copy)]
pub(super) struct Response {
    pub(super) price: Dd,
    l1: f64,
    l2: f64,
    room: [f64; 2],
    /// Whether past the caches.
    streams: bool,
    /// Of singles, where most weights follow from these.
    certain: Option<Certain>,
    /// Of doubles y|λ| is counted on the first grid; of singles λ is λ' + ρ with λ' in double precision,
    /// and y|ρ|, |ρ| and ρ² are counted on the three.
    pub(super) grids: [Grid; 3],
}

impl Response {
    /// For weights of the type `T`, none above `size`; `largest` is the largest y.
    pub(super) fn new<T: Float>(terms: &Terms, price: Dd, largest: f64, size: f64) -> Self {
        let top = exponent(size).max(-400) + 2;
        // Half of a single's last digit, but for those too small to have one.
        let top = if T::IS_SINGLE { (top - 24).max(top.min(-148)) } else { top };
        let grids = [top + exponent(largest) + 1, top, 2 * top].map(Grid::below);
        Self { price, l1: terms.l1, l2: terms.l2, room: terms.room, streams: false, certain: None, grids }
    }

    /// The same for so many bytes of weights.
    pub(super) const fn streaming(self, bytes: usize) -> Self {
        Self { streams: bytes >= MUCH, ..self }
    }

    /// The same where most singles rest or are full, at the price of `cuts`: the others are looked at alone.
    pub(super) fn sparing(self, cuts: &Cuts, scale: f64) -> Self {
        Self { certain: Some(Certain::new(cuts, self.room, scale)), ..self }
    }

    /// The weights of `psi`, and their part of the certificate.
    pub(super) fn respond<T: Float>(&self, psi: &[T], weights: &mut [T], scale: f64) -> Responded {
        // What goes past the caches goes by whole lines of them.
        let lines = if self.streams { weights.as_ptr().align_offset(LINE).min(weights.len()) } else { 0 };
        let (head, psi) = psi.split_at(lines);
        let (to, weights) = weights.split_at_mut(lines);
        let (first, mut all) = (self.run(head, to, scale), self.run(psi, weights, scale));
        all.join(&first);
        if self.streams {
            with_lanes(Publish);
        }
        all
    }

    fn run<T: Float>(&self, psi: &[T], weights: &mut [T], scale: f64) -> Responded {
        let (response, is_boxed) = (self, self.is_boxed());
        match (T::typed(psi), T::typed_mut(weights)) {
            (Ok(psi), Ok(weights)) if is_boxed => {
                with_lanes(Answer::<_, true> { psi, weights, scale, response })
            }
            (Ok(psi), Ok(weights)) => with_lanes(Answer::<_, false> { psi, weights, scale, response }),
            (Err(psi), Err(weights)) if let Some(certain) = &self.certain => {
                self.spare(psi, weights, scale, certain)
            }
            (Err(psi), Err(weights)) if is_boxed => {
                with_lanes(Answer::<_, true> { psi, weights, scale, response })
            }
            (Err(psi), Err(weights)) => with_lanes(Answer::<_, false> { psi, weights, scale, response }),
            _ => unreachable!("both are of one type"),
        }
    }

    /// The weights of singles most of which are certain.
    fn spare(&self, psi: &[f32], weights: &mut [f32], scale: f64, certain: &Certain) -> Responded {
        let alone = Self { streams: false, certain: None, ..*self };
        let is_boxed = self.is_boxed();
        let (mut uncertain, mut from) = (buffer(psi.len()), buffer(psi.len()));
        let mut all = Responded::default();
        for (psi, to) in psi.chunks(SPARED).zip(weights.chunks_mut(SPARED)) {
            let used = certain.uncertain(psi, &mut uncertain, is_boxed);
            all.join(&alone.run(&uncertain[..used], &mut from[..used], scale));
            all.nonzero += certain.spread(psi, &from, to, self.streams, is_boxed);
        }
        all
    }

    fn is_boxed(&self) -> bool {
        self.room != [f64::INFINITY; 2]
    }
}

#[derive(Clone, Copy, Default)]
pub(super) struct Responded {
    /// On the three grids.
    pub(super) sums: [Steps; 3],
    /// Weights that are not 0 as rounded.
    pub(super) nonzero: usize,
}

impl Responded {
    fn join(&mut self, other: &Self) {
        for (sum, more) in self.sums.iter_mut().zip(other.sums) {
            *sum = Steps { high: sum.high + more.high, low: sum.low + more.low };
        }
        self.nonzero += other.nonzero;
    }
}

/// Lets other threads see what was streamed.
struct Publish;

impl Kernel for Publish {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        lanes.streamed();
    }
}

/// What turns e into |λ|, in double precision.
struct Line<L: Lanes, const BOXED: bool> {
    high: L::Floats,
    low: L::Floats,
    minus_l1: L::Floats,
    per_two_l2: L::Floats,
    room: [L::Floats; 2],
}

impl<L: Lanes, const BOXED: bool> Line<L, BOXED> {
    #[inline(always)]
    fn new(lanes: L, response: &Response) -> Self {
        Self {
            high: lanes.splat(response.price.hi),
            low: lanes.splat(response.price.lo),
            minus_l1: lanes.splat(-response.l1),
            per_two_l2: lanes.splat(0.5 / response.l2),
            room: response.room.map(|room| lanes.splat(room)),
        }
    }

    /// |λ|, or what is not positive for a weight at rest.
    #[inline(always)]
    fn size(&self, lanes: L, e: L::Floats, y: L::Floats) -> L::Floats {
        // t·y − l1: the second term matters next to the threshold, where the first cancels.
        let pull = lanes.fma(self.low, y, lanes.fma(self.high, y, self.minus_l1));
        let size = lanes.mul(pull, self.per_two_l2);
        if BOXED {
            let positive = lanes.greater(e, lanes.splat(0.0));
            lanes.min(size, lanes.select(positive, self.room[0], self.room[1]))
        } else {
            size
        }
    }
}

/// The weights of doubles, or of singles and what their rounding changes.
struct Answer<'a, T, const BOXED: bool> {
    psi: &'a [T],
    weights: &'a mut [T],
    scale: f64,
    response: &'a Response,
}

impl<const BOXED: bool> Kernel for Answer<'_, f64, BOXED> {
    type Output = Responded;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> Responded {
        let Self { response, .. } = self;
        let (scale, zero) = (lanes.splat(self.scale), lanes.splat(0.0));
        let line = Line::<L, BOXED>::new(lanes, response);
        let mut effect = Tally::new(lanes, response.grids[0]);
        let mut nonzero = 0;
        let vectors = each(
            lanes,
            self.psi,
            self.weights,
            response.streams,
            #[inline(always)]
            |x| {
                let e = lanes.mul(lanes.load(x), scale);
                let size = line.size(lanes, e, lanes.abs(e));
                let awake = lanes.greater(size, zero);
                let weight = lanes.keep(awake, lanes.with_sign(size, e));
                effect.add_product(lanes, e, weight);
                nonzero += lanes.held(awake);
                lanes.store(weight)
            },
        );
        let sums = [effect.steps(lanes, vectors), Steps::default(), Steps::default()];
        Responded { sums, nonzero: nonzero as usize }
    }
}

impl<const BOXED: bool> Kernel for Answer<'_, f32, BOXED> {
    type Output = Responded;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> Responded {
        let Self { response, .. } = self;
        let (scale, zero) = (lanes.splat(self.scale.abs()), lanes.splat(0.0));
        let (sign, none) = (lanes.sixteen(1f32.copysign(self.scale as f32)), lanes.sixteen(0.0));
        let line = Line::<L, BOXED>::new(lanes, response);
        let mut sums = response.grids.map(|grid| Counter::<L, false>::new(lanes, grid));
        let mut nonzero = 0;
        let vectors = each(
            lanes,
            self.psi,
            self.weights,
            response.streams,
            #[inline(always)]
            |x| {
                let x = lanes.mul_singles(lanes.singles(x), sign);
                let ([e, f], [y, z]) = (lanes.halves(x), lanes.halves(lanes.abs_singles(x)));
                let [y, z] = [lanes.mul(y, scale), lanes.mul(z, scale)];
                let sizes = [line.size(lanes, e, y), line.size(lanes, f, z)];
                let sizes = [lanes.max(sizes[0], zero), lanes.max(sizes[1], zero)];
                let rounded = lanes.join(sizes);
                let awake = lanes.beyond(rounded, none);
                nonzero += lanes.held_singles(awake);
                let written = lanes.halves(rounded);
                for (i, y) in [y, z].into_iter().enumerate() {
                    let off = lanes.sub(written[i], sizes[i]);
                    sums[0].add_product(lanes, y, off);
                    sums[1].add(lanes, off);
                    sums[2].add_product(lanes, off, off);
                }
                lanes.unpack_singles(lanes.keep_singles(awake, lanes.sign_singles(rounded, x)))
            },
        );
        Responded { sums: sums.map(|sum| sum.steps(lanes, 2 * vectors)), nonzero: nonzero as usize }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixed::{Exact, Fixed};
    use crate::simd::{Level, force};

    /// One weight after the other, the sums exact: Σeλ of doubles; of singles Σyρ, Σρ and Σρ².
    fn twin<T: Float>(terms: &Terms, price: Dd, psi: &[T], scale: f64) -> (Vec<T>, [Exact; 3], usize) {
        let mut sums: [Exact; 3] = std::array::from_fn(|_| Exact::default());
        let mut nonzero = 0;
        let weights = psi.iter().map(|x| {
            let e = x.to_f64() * scale;
            let pull = price.lo.mul_add(e.abs(), price.hi.mul_add(e.abs(), -terms.l1));
            let size = (pull * (0.5 / terms.l2)).min(terms.room[usize::from(e < 0.0)]).max(0.0);
            let weight = T::from_f64(if size > 0.0 { size.copysign(e) } else { 0.0 });
            let off = weight.to_f64().abs() - size;
            let products = if T::IS_SINGLE {
                [Dd::two_product(e.abs(), off), Dd::new(off), Dd::two_product(off, off)]
            } else {
                [Dd::two_product(e, weight.to_f64()), Dd::default(), Dd::default()]
            };
            sums.iter_mut().zip(products).for_each(|(sum, x)| sum.add_pair(x));
            nonzero += usize::from(weight.to_f64() != 0.0);
            weight
        });
        let weights = weights.collect();
        (weights, sums, nonzero)
    }

    fn assert_like_the_twin<T: Float>(psi: &[T], largest: f64) {
        let price = Dd { hi: 0.9, lo: 3e-18 };
        for (l1, room) in [(0.3, [f64::INFINITY; 2]), (0.0, [f64::INFINITY; 2]), (0.3, [0.25, 0.5])] {
            let terms = Terms { l1, l2: 0.7, demand: Dd::new(1.0), limit: f64::INFINITY, room, share: 1.0 };
            let size = terms.size(price, largest, 0).max(terms.size(price, largest, 1));
            let response = Response::new::<T>(&terms, price, largest, size);
            for scale in [0.5, -0.5] {
                let (wanted, exact, nonzero) = twin(&terms, price, psi, scale);
                let sparing = response.sparing(&terms.cuts(price), scale);
                let ways = [
                    (response, 0, 0),
                    (response, MUCH, 0),
                    (response, MUCH, 3),
                    (sparing, 0, 1),
                    (sparing, MUCH, 3),
                ];
                for (level, (response, bytes, offset)) in
                    Level::ALL.into_iter().flat_map(|level| ways.map(|way| (level, way)))
                {
                    force(level);
                    let mut weights = vec![T::from_f64(7.0); offset + psi.len()];
                    let found = response.streaming(bytes).respond(psi, &mut weights[offset..], scale);
                    assert!(weights[offset..].iter().zip(&wanted).all(|(a, b)| a.key() == b.key()));
                    assert_eq!(found.nonzero, nonzero);
                    for ((steps, exact), grid) in found.sums.into_iter().zip(&exact).zip(response.grids) {
                        let mut sum = Fixed::default();
                        sum += steps;
                        let off = (sum.value(&grid) - exact.value()).value().abs();
                        let bound =
                            if T::IS_SINGLE { grid.coarse_error(psi.len()) } else { grid.error(psi.len()) };
                        assert!(off <= bound, "{off:e} above {bound:e}");
                    }
                }
            }
        }
    }

    #[test]
    fn vectors_of_weights_equal_one_after_the_other() {
        let mut state = 3u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
        };
        for len in [0, 1, 15, 16, 17, 1003] {
            let mut psi: Vec<f64> = (0..len).map(|_| 2.0 * next()).collect();
            for (x, extreme) in psi.iter_mut().zip([0.0, -0.0, 5e-324, -1e-300, 1e-30, 2.0 / 3.0, -2.0 / 3.0])
            {
                *x = extreme;
            }
            assert_like_the_twin(&psi, 1.0);
            assert_like_the_twin(&psi.iter().map(|&x| x as f32).collect::<Vec<_>>(), 1.0);
        }
    }
}
