//! From the price of one criterion to its weights, and to the certificate that goes with them.
//!
//! One pass writes the weights and adds up what they achieve as rounded; where few can have one, only
//! those are looked at.

use super::bracket::{Data, Found};
use super::certificate::{binding_misfit, unscaled_gap};
use super::passes::Picked;
use super::price::{Terms, Totals};
use super::respond::{ROUNDING, Responded, Response};
use super::spare::APART;
use super::{Facts, Output, Status};
use crate::error::Result;
use crate::fixed::{Fixed, power_of_two};
use crate::float::Float;
use crate::par::CHUNK;
use crate::vecmath::Dd;

/// Most by which t·y may exceed 2·l2 times the weight it makes, for the weight to keep its digits.
const LOSS: f64 = 4096.0;

/// Samples for one whose weight moves with the price, from which on the others are worth being told apart.
const SPARSE: i64 = 2;

impl<T: Float> Data<'_, '_, T> {
    /// Writes the weights at the price found for `l1` and `l2`, to `few` samples where no other can have
    /// one; `None`, with nothing written, where what rounding leaves of the price would show in them.
    pub(super) fn weigh(
        &self,
        (l1, l2): (f64, f64),
        found: &Found,
        few: Option<&[Picked]>,
        output: &mut Output<'_, T>,
    ) -> Result<Option<Facts>> {
        let &Found { terms, price, sums, largest, .. } = found;
        let totals = terms.totals(&sums, price);
        // No weight is larger than the steepest one could be, nor than all together.
        let steepest = terms.size(price, largest, 0).max(terms.size(price, largest, 1));
        let unsure = self.rows.total as f64 * power_of_two(-90) * totals.slope.value();
        let size = steepest.min(2.0 * totals.norm.value() + unsure);
        // A free sample whose weight the price cannot tell from none has lost them all.
        let is_free = size > 0.0 || sums.counts[0] > 0;
        let is_lost = is_free && price.hi * largest > LOSS * 2.0 * terms.l2 * size;
        if is_lost || price.hi == f64::INFINITY || T::from_f64(size).to_f64().is_infinite() {
            return Ok(None);
        }
        let response = Response::new::<T>(&terms, price, largest, size);
        let is_certain = sums.counts[0] < self.rows.total as i64 / SPARSE;
        let response = if T::IS_SINGLE && is_certain {
            response.sparing(&terms.cuts(price), self.sign * self.scale)
        } else {
            response
        };
        let parts = match few {
            Some(few) => self.scatter(&response, few, terms.cuts(price).woken * (1.0 - APART), output)?,
            None => self.respond(&response, output)?,
        };
        let facts = self.judge(&terms, &response, &totals, &parts, largest)?;
        Ok(Some(Facts { l1, l2, ..facts }))
    }

    /// The weights of all samples.
    fn respond(&self, response: &Response, output: &mut Output<'_, T>) -> Result<Vec<Responded>> {
        let (psi, scale) = (self.psi, self.sign * self.scale);
        match output {
            Output::Dense(weights) => {
                let response = response.streaming(size_of_val(&**weights));
                self.context.map_chunks_mut(weights, CHUNK, |first, weights| {
                    response.respond(&psi[first..first + weights.len()], weights, scale)
                })
            }
            Output::Sparse(sparse) => {
                let parts = self.context.map_chunks(psi.len(), CHUNK, |range| {
                    let mut weights = vec![T::ZERO; range.len()];
                    let responded = response.respond(&psi[range.clone()], &mut weights, scale);
                    let kept = range.zip(weights).filter(|(_, weight)| weight.to_f64() != 0.0);
                    (responded, kept.map(|(place, weight)| (place as i64, weight)).collect::<Vec<_>>())
                })?;
                Ok(parts
                    .into_iter()
                    .map(|(responded, kept)| {
                        sparse.extend(kept);
                        responded
                    })
                    .collect())
            }
        }
    }

    /// The weights where only `few` have one, and none but those of them with y above `least`.
    fn scatter(
        &self,
        response: &Response,
        few: &[Picked],
        least: f64,
        output: &mut Output<'_, T>,
    ) -> Result<Vec<Responded>> {
        if let Output::Dense(weights) = output {
            self.context.map_chunks_mut(weights, CHUNK, |_, weights| weights.fill(T::ZERO))?;
        }
        let mut parts = Vec::with_capacity(few.len());
        for Picked { places, values } in few {
            let awake = places.iter().zip(values).filter(|(_, e)| e.abs() > least);
            let (places, psi): (Vec<usize>, Vec<T>) =
                awake.map(|(&place, _)| (place, self.psi[place])).unzip();
            let mut weights = vec![T::ZERO; psi.len()];
            parts.push(response.respond(&psi, &mut weights, self.sign * self.scale));
            for (place, weight) in places.into_iter().zip(weights) {
                match output {
                    Output::Dense(slots) => slots[place] = weight,
                    Output::Sparse(sparse) if weight.to_f64() != 0.0 => {
                        sparse.extend([(place as i64, weight)]);
                    }
                    Output::Sparse(_) => {}
                }
            }
        }
        Ok(parts)
    }

    /// The certificate, from the sums at the price and what the last pass found of the weights' rounding.
    fn judge(
        &self,
        terms: &Terms,
        response: &Response,
        exact: &Totals,
        parts: &[Responded],
        largest: f64,
    ) -> Result<Facts> {
        let mut counted = [Fixed::default(); 3];
        let mut nonzero = [0i64];
        for part in parts {
            counted.iter_mut().zip(part.sums).for_each(|(sum, steps)| *sum += steps);
            nonzero[0] += part.nonzero as i64;
        }
        let shards = self.context.shards();
        Fixed::over_shards(shards, &mut counted)?;
        shards.sum(&mut nonzero)?;
        let rows = self.rows.total;
        let price = response.price;
        let [first, second, third] = std::array::from_fn(|i| counted[i].value(&response.grids[i]));
        let (mut effect, mut error) = (first, response.grids[0].error(rows));
        let (mut l1_norm, mut squares, mut off) = (exact.norm, exact.squares, 0.0);
        if T::IS_SINGLE {
            effect = exact.effect + first;
            error = response.grids[0].coarse_error(rows) + ROUNDING * exact.effect.value();
            l1_norm = exact.norm + second;
            // Σλ² with λ = λ' + ρ, where ρ is 0 but on the free samples.
            let mixed = exact.slope * first - exact.start * second;
            squares = exact.squares + mixed + mixed + third;
            off = (third.value() + response.grids[2].coarse_error(rows)).sqrt();
        }
        // What no weight is left of, as rounded, is not the small difference of two sums.
        let (effect, [l1_norm, squares]) = if nonzero[0] == 0 {
            (Dd::default(), [0.0; 2])
        } else {
            (effect, [l1_norm, squares].map(|sum| sum.value().max(0.0)))
        };
        let residual = effect - terms.demand;
        let misfit = if price.value() <= 2.0 * terms.limit {
            ((residual + price * Dd::new(0.5)).value().abs() + error).powi(2)
        } else {
            binding_misfit(residual, price, terms.limit)
        };
        // Of the Fenchel-Young terms only rounding is left: l2·(λ_j − (ty_j − l1)/2l2)² on free weights,
        // and where a weight rests next to the threshold what the price's own rounding lets through.
        let off = off + 1.01 * ROUNDING * squares.sqrt();
        let awake = terms.size(price, largest, 0).max(terms.size(price, largest, 1)) > 0.0;
        let unseen = if awake { power_of_two(-98) * (terms.l1 + price.hi * largest) } else { 0.0 };
        let terms_left = terms.l2 * off * off + rows as f64 * unseen * (unseen / (4.0 * terms.l2));
        let unscaled = |value: f64| value / self.scale / self.scale;
        let objective = residual.value().powi(2) + terms.l1 * l1_norm + terms.l2 * squares;
        let gap = unscaled_gap(misfit + terms_left, self.scale);
        Ok(Facts {
            status: Status::Solved,
            residual: vec![self.sign * residual.value() / self.scale],
            objective: unscaled(objective),
            // Sums that overflow say nothing.
            gap: if gap.is_nan() { f64::INFINITY } else { gap },
            l1: unscaled(terms.l1),
            l2: unscaled(terms.l2),
            l1_max: unscaled(2.0 * (terms.demand * Dd::new(largest)).value()),
            l1_norm,
            nonzero: nonzero[0] as usize,
            iterations: self.passes,
            unique: true,
            reach: None,
            price: vec![self.sign * price.value() / self.scale],
        })
    }
}
