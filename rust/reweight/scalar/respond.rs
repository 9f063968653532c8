//! The pass that writes the weights of a line, and adds up what the certificate needs to know of them.

use super::super::certificate::{Certificate, Sums};
use super::super::passes::vectors;
use super::Equation;
use super::extents::Extents;
use super::line::Line;
use super::rows::{Rows, in_blocks};
use crate::error::Result;
use crate::fixed::{Fixed, Grid, Steps, exponent, power_of_two};
use crate::float::Float;
use crate::lanes::{Kernel, Lanes, Tally, WIDTH, with_lanes};
use crate::par::CHUNK;
use crate::vecmath::Dd;

/// Share of the objective below which what the price's rounding hides needs no second opinion.
const CERTAIN: f64 = 1e-24;
/// Rows from which on a pass for an exact certificate is worth saving.
const MANY: usize = 1 << 15;
/// Largest weight expected, over the largest one found, for the grids to leave the sums their digits.
const LOOSE: f64 = 1e6;

/// Grids of eλ, of |λ| and of λ².
#[derive(Clone, Copy)]
struct Grids([Grid; 3]);

/// What a chunk adds.
#[derive(Default)]
struct Written {
    sums: [Fixed; 3],
    nonzero: i64,
    largest: f64,
}

impl<T: Float> Equation<'_, '_, T> {
    /// Writes the weights of `line`, which answer to `price`. The certificate that follows from their
    /// rounding alone; `None` where that says too little.
    pub(super) fn respond(&self, line: &Line, price: Dd, weights: &mut [T]) -> Result<Option<Certificate>> {
        let (problem, Extents { rest, bound, .. }) = (self.problem, self.extents);
        let most = self.most_weight(line);
        let top = exponent(most) + 2;
        let grids =
            Grids([Grid::below(exponent(self.most(line)) + 3), Grid::below(top), Grid::below(2 * top)]);
        let scale = self.sign * problem.scale;
        let parts = self.context.map_chunks_mut(weights, CHUNK, |start, weights| {
            let mut written = Written::default();
            in_blocks(problem, start..start + weights.len(), |first, rows| {
                let weights = &mut weights[first - start..][..rows[0].len()];
                let (sums, nonzero, largest) = with_lanes(Respond { rows, weights, scale, line, grids });
                written.sums.iter_mut().zip(sums).for_each(|(sum, steps)| *sum += steps);
                written.nonzero += nonzero;
                written.largest = written.largest.max(largest);
            });
            written
        })?;
        let (mut sums, mut nonzero, mut found) = ([Fixed::default(); 3], [0], [0.0f64]);
        for part in parts {
            sums.iter_mut().zip(part.sums).for_each(|(sum, more)| *sum += more);
            nonzero[0] += part.nonzero;
            found[0] = found[0].max(part.largest);
        }
        let shards = self.context.shards();
        Fixed::over_shards(shards, &mut sums)?;
        shards.sum(&mut nonzero)?;
        shards.max(&mut found)?;
        let [effect, norm, squares]: [Dd; 3] = std::array::from_fn(|i| sums[i].value(&grids.0[i]));
        let (l1_norm, squares) = (norm.value(), squares.value());

        // A free weight is off by some roundings; one at rest or at its bound answers to the price but where
        // the price's own rounding hides on which side of the threshold it is.
        let rounding = T::ROUNDING.0 + 16.0 * <f64 as Float>::ROUNDING.0;
        let unseen = power_of_two(-98) * (problem.l1 + price.value().abs() * problem.largest);
        let rows = problem.rows as f64;
        let (rounded, hidden) = if problem.l2 > 0.0 {
            let off = 2.0 * problem.l2 * T::ROUNDING.0 * T::ROUNDING.1 + unseen;
            // (x + y)² ≤ 1.01x² + 101y².
            (
                1.01 * problem.l2 * rounding * rounding * squares,
                101.0 * rows * off * (off / (4.0 * problem.l2)),
            )
        } else {
            (0.0, rows * unseen * 2.0 * rest.max(bound))
        };
        let is_open = problem.l2 == 0.0 && self.extents.open != [0.0; 2];
        let certificate = Sums {
            effect: Dd::new(self.sign) * effect,
            l1_norm,
            squares,
            nonzero: nonzero[0] as usize,
            terms: rounded + hidden,
            bounded_terms: f64::INFINITY,
            excess: 0.0,
        }
        .judged(problem, price);
        let is_sharp = most <= LOOSE * found[0] || most == 0.0;
        let is_certain = hidden <= CERTAIN * certificate.objective;
        let is_enough = is_sharp && is_certain && !is_open && problem.rows >= MANY;
        Ok(is_enough.then_some(certificate))
    }
}

/// One block of rows and where its weights go.
struct Respond<'a, T> {
    rows: Rows<'a, T>,
    weights: &'a mut [T],
    /// Times this ψ is e.
    scale: f64,
    line: &'a Line,
    grids: Grids,
}

impl<T: Float> Kernel for Respond<'_, T> {
    type Output = ([Steps; 3], i64, f64);

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> Self::Output {
        let Self { rows, weights, scale, line, grids: Grids(grids) } = self;
        let [(psi, psi_tail), (lower, lower_tail), (upper, upper_tail)] = rows.map(vectors::<T, WIDTH>);
        let zero = lanes.splat(0.0);
        let scale = lanes.splat(scale);
        let [mut effect, mut norm, mut squares] = grids.map(|grid| Tally::new(lanes, grid));
        let mut largest = zero;
        let mut nonzero = 0;
        let (weights, weights_tail) = weights.as_chunks_mut();
        let mut last = [[T::ZERO; WIDTH]];
        let full = (psi, lower, upper, weights);
        let rest = (psi_tail.as_slice(), lower_tail.as_slice(), upper_tail.as_slice(), &mut last[..]);
        for (psi, lower, upper, weights) in [full, rest] {
            for (((x, lower), upper), weights) in psi.iter().zip(lower).zip(upper).zip(weights) {
                let e = lanes.mul(lanes.read(x), scale);
                let size = lanes.max(line.lanes(lanes, lanes.abs(e)), zero);
                let weight = lanes.max(lanes.with_sign(size, e), lanes.read(lower));
                // Adding 0 turns a weight of −0 into 0.
                let weight = lanes.add(lanes.min(weight, lanes.read(upper)), zero);
                *weights = lanes.store(weight).map(T::from_f64);
                let weight = lanes.read(weights);
                let size = lanes.abs(weight);
                effect.add_product(lanes, e, weight);
                norm.add(lanes, size);
                squares.add_product(lanes, size, size);
                largest = lanes.max(size, largest);
                nonzero += i64::from(lanes.held(lanes.greater(size, zero)));
            }
        }
        weights_tail.copy_from_slice(&last[0][..weights_tail.len()]);
        let count = psi.len() + usize::from(psi_tail.is_some());
        ([effect, norm, squares].map(|sum| sum.steps(lanes, count)), nonzero, lanes.largest(largest))
    }
}
