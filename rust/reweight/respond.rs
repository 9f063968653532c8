//! The pass that writes the weights at a price, and adds up what the certificate needs to know of them.

use super::passes::vectors;
use super::price::Response;
use crate::fixed::Steps;
use crate::float::Float;
use crate::lanes::{Counter, Kernel, Lanes, Tally, WIDTH};

/// The weights of `psi`. Their effects are counted on the fine grid too where `FINE`; those of singles
/// round by more than the coarse one, which the certificate is told.
pub(super) struct Respond<'a, I, T, const BOXED: bool, const FINE: bool> {
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
}

impl<I: Float, T: Float, const BOXED: bool, const FINE: bool> Kernel for Respond<'_, I, T, BOXED, FINE> {
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
        let (psi, psi_tail) = vectors(self.psi);
        let mut effect = Counter::<L, FINE>::new(lanes, response.effects);
        let mut norm = Tally::new(lanes, response.sizes);
        let mut squares = Tally::new(lanes, response.squares);
        let mut nonzero = 0;
        let (weights, weights_tail) = self.weights.as_chunks_mut();
        let mut last = [[T::ZERO; WIDTH]];
        for (psi, weights) in [(psi, weights), (psi_tail.as_slice(), &mut last)] {
            for (x, weights) in psi.iter().zip(weights) {
                let e = lanes.mul(lanes.read(x), scale);
                let y = lanes.abs(e);
                // t·y − l1: the second term matters next to the threshold, where the first cancels.
                let pull = lanes.max(lanes.fma(low, y, lanes.fma(high, y, minus_l1)), zero);
                let mut size = lanes.mul(pull, per_two_l2);
                if BOXED {
                    size = lanes.min(size, lanes.select(lanes.greater(e, zero), room[0], room[1]));
                }
                let awake = lanes.greater(size, zero);
                *weights = lanes.write(lanes.keep(awake, lanes.with_sign(size, e)));
                let size = lanes.abs(lanes.read(weights));
                effect.add_product(lanes, y, size);
                norm.add(lanes, size);
                squares.add_product(lanes, size, size);
                nonzero += lanes.bits(lanes.greater(size, zero)).count_ones() as usize;
            }
        }
        weights_tail.copy_from_slice(&last[0][..weights_tail.len()]);
        let count = psi.len() + usize::from(psi_tail.is_some());
        Responded {
            sums: [effect.steps(lanes, count), norm.steps(lanes, count), squares.steps(lanes, count)],
            nonzero,
        }
    }
}
