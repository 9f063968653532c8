//! The pass that writes the weights at a price, and adds up what the certificate needs to know of their
//! rounding.

use super::passes::vectors;
use super::price::Terms;
use crate::fixed::{Grid, Steps, exponent, power_of_two};
use crate::float::Float;
use crate::lanes::{Counter, Kernel, Lanes, Tally, WIDTH, with_lanes};
use crate::vecmath::Dd;

/// A weight λ in double precision is within this times λ of its exact value, with two roundings.
pub(super) const ROUNDING: f64 = 8.0 * <f64 as Float>::ROUNDING.0;

/// What the pass needs: the price, and grids that hold its sums.
pub(super) struct Response {
    pub(super) price: Dd,
    l1: f64,
    l2: f64,
    room: [f64; 2],
    /// Whether past the caches.
    pub(super) streams: bool,
    /// Of doubles y|λ| is counted on the first grid; of singles λ is λ' + ρ with λ' in double precision,
    /// and y|ρ|, |ρ| and ρ² are counted on the three.
    pub(super) grids: [Grid; 3],
}

impl Response {
    /// For weights of the type `T`; `largest` is the largest y.
    pub(super) fn new<T: Float>(terms: &Terms, price: Dd, largest: f64) -> Self {
        let size = terms.size(price, largest, 0).max(terms.size(price, largest, 1));
        let top = exponent(size).max(-400) + 2;
        // Half of a single's last digit, but for those too small to have one.
        let top = if T::IS_SINGLE { (top - 24).max(top.min(-148)) } else { top };
        let grids = [top + exponent(largest) + 1, top, 2 * top].map(Grid::below);
        Self { price, l1: terms.l1, l2: terms.l2, room: terms.room, streams: false, grids }
    }

    /// The weights of `psi`, and their part of the certificate.
    pub(super) fn respond<I: Float, T: Float>(&self, psi: &[I], weights: &mut [T], scale: f64) -> Responded {
        let response = self;
        if self.room == [f64::INFINITY; 2] {
            with_lanes(Respond::<I, T, false> { psi, weights, scale, response })
        } else {
            with_lanes(Respond::<I, T, true> { psi, weights, scale, response })
        }
    }
}

/// The weights of `psi`.
struct Respond<'a, I, T, const BOXED: bool> {
    psi: &'a [I],
    weights: &'a mut [T],
    scale: f64,
    response: &'a Response,
}

#[derive(Clone, Copy)]
pub(super) struct Responded {
    /// On the three grids.
    pub(super) sums: [Steps; 3],
    /// Weights that are not 0 as rounded.
    pub(super) nonzero: usize,
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
        let per_two_l2 = lanes.splat(0.5 / response.l2);
        let room = response.room.map(|room| lanes.splat(room));
        let [effects, sizes, squares] = response.grids;
        let mut effect = Tally::new(lanes, effects);
        let mut rest = [effects, sizes, squares].map(|grid| Counter::<L, false>::new(lanes, grid));
        let mut nonzero = 0;
        let (psi, psi_tail) = vectors(self.psi);
        let (weights, weights_tail) = self.weights.as_chunks_mut();
        let mut last = [[T::ZERO; WIDTH]];
        for (psi, weights) in [(psi, weights), (psi_tail.as_slice(), &mut last)] {
            for (x, weights) in psi.iter().zip(weights) {
                lanes.prefetch(x);
                let e = lanes.mul(lanes.read(x), scale);
                let y = lanes.abs(e);
                // t·y − l1: the second term matters next to the threshold, where the first cancels.
                let pull = lanes.fma(low, y, lanes.fma(high, y, minus_l1));
                let mut size = lanes.mul(pull, per_two_l2);
                if BOXED {
                    size = lanes.min(size, lanes.select(lanes.greater(e, zero), room[0], room[1]));
                }
                let awake = lanes.greater(size, zero);
                let rounded = lanes.write(lanes.keep(awake, lanes.with_sign(size, e)));
                if response.streams {
                    lanes.stream(rounded, weights);
                } else {
                    *weights = rounded;
                }
                let written = lanes.abs(lanes.read(&rounded));
                if T::IS_SINGLE {
                    let off = lanes.sub(written, lanes.keep(awake, size));
                    rest[0].add_product(lanes, y, off);
                    rest[1].add(lanes, off);
                    rest[2].add_product(lanes, off, off);
                    nonzero += lanes.bits(lanes.greater(written, zero)).count_ones();
                } else {
                    effect.add_product(lanes, y, written);
                    nonzero += lanes.bits(awake).count_ones();
                }
            }
        }
        if response.streams {
            lanes.streamed();
        }
        weights_tail.copy_from_slice(&last[0][..weights_tail.len()]);
        let vectors = psi.len() + usize::from(psi_tail.is_some());
        let sums = if T::IS_SINGLE {
            rest.map(|rest| rest.steps(lanes, vectors))
        } else {
            [effect.steps(lanes, vectors), Steps::default(), Steps::default()]
        };
        Responded { sums, nonzero: nonzero as usize }
    }
}
