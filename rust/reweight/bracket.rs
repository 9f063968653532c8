//! One criterion, the fast way: for l2 > 0 and one box for all samples that contains 0.
//!
//! A sample gives a bracket of prices. One pass over ψ adds up what is the same at all of them and
//! gathers the few samples that are not; the root of [`Terms`] among these is exact. Where nearly all
//! weights stay 0 the bracket begins at the price 0 and the gathered samples are all that matters. A
//! bracket that misses the root says on which side, and the next one follows Newton's method there.
//! A second pass writes the weights and forms the certificate from them as they are rounded.
//!
//! Every sum is one of integers, so threads, instruction sets and shards give the same bits. What this
//! way does not do well it leaves to `scalar`: an l2 so small that the price alone loses the weights.

use super::certificate::binding_misfit;
use super::passes::{Extent, Measure, Picked, SQUARES, TOP, pick};
use super::price::{Place, Sums, Terms};
use super::problem::{largest_of, scale_of};
use super::respond::{ROUNDING, Responded, Response};
use super::sample::{Guess, Sample};
use super::scalar::middle;
use super::{Bound, Facts, Options, Output, Status};
use crate::error::Result;
use crate::fixed::{Fixed, exponent, power_of_two};
use crate::float::Float;
use crate::lanes::with_lanes;
use crate::par::{CHUNK, Context};
use crate::shard::Rows;
use crate::vecmath::Dd;

/// Half the width of the bracket after a miss, relative; four times as much after each further one.
const SECOND: f64 = 1.0 / 256.0;
/// Misses after which everything that is not ruled out is gathered.
const TRIES: i32 = 4;
/// Half the width of the bracket around the price of an earlier solve.
const WARM: f64 = 1.0 / 4096.0;
/// Most by which t·y may exceed 2·l2 times the weight it makes, for the weight to keep its digits.
const LOSS: f64 = 4096.0;

/// ψ and what is known of it.
struct Data<'a, 'c, T> {
    context: &'c Context<'c>,
    psi: &'a [T],
    rows: Rows,
    sample: Sample,
    /// 1 or −1, as b.
    sign: f64,
    /// A power of two.
    scale: f64,
    passes: usize,
}

/// The problem's numbers before scaling, b turned to be positive.
struct Prices {
    l1: f64,
    l2: f64,
    demand: Dd,
    limit: f64,
    room: [f64; 2],
}

/// What a pass finds in a bracket.
struct Pass {
    base: Sums,
    inside: Vec<f64>,
    /// This shard's samples inside, where nothing else can have a weight.
    few: Option<Vec<Picked>>,
    largest: f64,
}

/// The price with the sums there, largest y, and the samples that may have a weight where they are few.
struct Found {
    terms: Terms,
    price: Dd,
    sums: Sums,
    largest: f64,
    few: Option<Vec<Picked>>,
}

/// Solves and writes the weights to `output`; `None`, with nothing written, where `scalar` must do it.
pub(super) fn solve<T: Float>(
    context: &Context<'_>,
    psi: &[T],
    wanted: Dd,
    options: &Options<'_, T>,
    output: &mut Output<'_, T>,
) -> Result<Option<Facts>> {
    let (Bound::All(lower), Bound::All(upper)) = (options.lower, options.upper) else { return Ok(None) };
    let room = [upper.to_f64(), -lower.to_f64()];
    let rows = context.shards().rows(psi.len())?;
    if room.iter().any(|&room| room < 0.0) || wanted.value() == 0.0 || rows.total == 0 {
        return Ok(None);
    }
    let sample = Sample::draw(context, psi, rows)?;
    let demand = if wanted.hi < 0.0 { -wanted } else { wanted };
    let Some(scale) = sample.largest().and_then(|largest| scale_of(largest, demand)) else { return Ok(None) };
    let sign = wanted.hi.signum();
    let mut data = Data { context, psi, rows, sample, sign, scale, passes: 0 };

    // Prices left out follow from all of ψ; where both are given no pass is spent on that.
    let mut largest = None;
    let (mut l1, mut l2) = (options.l1, options.l2);
    if l1.is_none() || l2.is_none() {
        let Some((measured, squares)) = data.measure()? else { return Ok(None) };
        largest = Some(measured);
        let (squares, l1_max) =
            (squares.value(), 2.0 * (demand * Dd::new(data.scale) * Dd::new(measured)).value());
        l1 = l1.or(Some(0.05 * l1_max / data.scale / data.scale));
        l2 = l2.or(Some(1e-3 * squares / data.scale / data.scale));
    }
    let (Some(l1), Some(l2)) = (l1, l2) else { return Ok(None) };
    let prices = Prices { l1, l2, demand, limit: options.max_residual.unwrap_or(f64::INFINITY), room };
    let start = options.start.and_then(|price| price.first()).map(|price| price.abs());
    let Some(found) = data.find(&prices, start, largest)? else { return Ok(None) };
    let Found { terms, price, sums, largest, few } = found;

    // What rounding leaves of the price must not show in the weights.
    let size = terms.size(price, largest, 0).max(terms.size(price, largest, 1));
    let is_lost = size > 0.0 && price.hi * largest > LOSS * 2.0 * terms.l2 * size;
    if is_lost || T::from_f64(size).to_f64().is_infinite() {
        return Ok(None);
    }
    let response = Response::new::<T>(&terms, price, largest);
    let parts = match few {
        Some(few) => data.scatter(&response, &few, output)?,
        None => data.respond(&response, output)?,
    };
    let mut facts = data.judge(&terms, &response, &sums, &parts, largest)?;
    (facts.l1, facts.l2) = (l1, l2);
    Ok(Some(facts))
}

impl Prices {
    /// `None` where scaled numbers would leave their range.
    fn scaled(&self, scale: f64) -> Option<Terms> {
        let terms = Terms {
            l1: self.l1 * scale * scale,
            l2: self.l2 * scale * scale,
            demand: self.demand * Dd::new(scale),
            limit: self.limit * scale,
            room: self.room,
            share: 1.0,
        };
        let l1_is_kept = self.l1 == 0.0 || terms.l1.is_normal();
        (terms.l2.is_normal() && l1_is_kept && terms.demand.hi.is_normal()).then_some(terms)
    }
}

impl<T: Float> Data<'_, '_, T> {
    /// The largest y of a pass over all shards.
    fn extent(&self, parts: impl Iterator<Item = Extent>) -> Result<Option<f64>> {
        largest_of(self.context, self.psi, parts)
    }

    /// Takes a scale that suits `largest`, where the sample's largest was far below.
    fn rescale(&mut self, largest: f64) {
        self.scale *= power_of_two(-exponent(largest));
    }

    /// The largest y and Σy².
    fn measure(&mut self) -> Result<Option<(f64, Dd)>> {
        loop {
            self.passes += 1;
            let (psi, scale) = (self.psi, self.scale);
            let parts = self
                .context
                .map_chunks(psi.len(), CHUNK, |range| with_lanes(Measure { psi: &psi[range], scale }))?;
            let Some(largest) = self.extent(parts.iter().map(|(extent, _)| *extent))? else {
                return Ok(None);
            };
            if largest >= power_of_two(TOP) {
                self.rescale(largest);
                continue;
            }
            let mut squares = [Fixed::default()];
            for (_, steps) in &parts {
                squares[0] += *steps;
            }
            Fixed::over_shards(self.context.shards(), &mut squares)?;
            return Ok(Some((largest, squares[0].value(&SQUARES))));
        }
    }

    /// The price. `largest`, of y, is known where ψ was measured.
    fn find(&mut self, prices: &Prices, start: Option<f64>, largest: Option<f64>) -> Result<Option<Found>> {
        let Some(terms) = prices.scaled(self.scale) else { return Ok(None) };
        if let Some(largest) = largest.filter(|&largest| terms.stays(largest)) {
            return Ok(Some(Found::at_rest(terms, largest)));
        }
        // The root is between these two, whatever the sample says.
        let infinite = Dd::new(f64::INFINITY);
        let soft = terms.limit >= terms.demand.value();
        let (mut low, mut high) = (Dd::default(), if soft { terms.demand + terms.demand } else { infinite });
        let mut guess = match start.map(|price| price * self.scale).filter(|price| price.is_normal()) {
            Some(price) => Guess::around(price, WARM, low, high),
            None => self.sample.guess(self.context, &terms, self.sign * self.scale)?,
        };
        for miss in 0.. {
            self.passes += 1;
            let bracket = guess.bracket(&terms, low, high);
            let Some(Pass { base, inside, few, largest }) = self.pass(&terms, &guess, bracket)? else {
                return Ok(None);
            };
            if largest >= power_of_two(TOP) {
                let unscaled = largest / self.scale;
                self.rescale(largest);
                return self.find(prices, start, Some(unscaled * self.scale));
            }
            if terms.stays(largest) {
                return Ok(Some(Found::at_rest(terms, largest)));
            }
            let estimate = match terms.root(self.context, &base, &inside, bracket)? {
                Place::At(price, sums) => return Ok(Some(Found { terms, price, sums, largest, few })),
                Place::Above(estimate) => {
                    low = bracket.1;
                    estimate
                }
                Place::Below(estimate) => {
                    high = bracket.0;
                    estimate
                }
            };
            if low.hi >= high.hi {
                // No price meets the limit.
                return Ok(None);
            }
            let within = low.hi < estimate.hi && estimate.hi < high.hi;
            let center = if within { estimate.hi } else { middle(low.hi, high.hi) };
            guess = if miss < TRIES {
                Guess::around(center, SECOND * power_of_two(2 * miss), low, high)
            } else {
                Guess::Between(low, high)
            };
        }
        Ok(None)
    }

    /// One pass over ψ: `None` where the scale does not fit.
    fn pass(&self, terms: &Terms, guess: &Guess, bracket: (Dd, Dd)) -> Result<Option<Pass>> {
        let (psi, scale) = (self.psi, self.sign * self.scale);
        let cuts = (terms.cuts(bracket.0), terms.cuts(bracket.1));
        let (mut base, mut inside, mut few) = (Sums::default(), Vec::new(), None);
        let largest = if let Guess::Few(above) = *guess {
            let above = above.min(cuts.1.woken);
            let parts = self.context.map_chunks(psi.len(), CHUNK, |range| {
                let first = range.start;
                pick(&psi[range], scale, above, first)
            })?;
            let (extents, picked): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
            inside.extend(picked.iter().flat_map(|picked: &Picked| &picked.values));
            few = Some(picked);
            self.extent(extents.into_iter())?
        } else {
            let parts = self
                .context
                .map_chunks(psi.len(), CHUNK, |range| terms.sift(&psi[range], scale, &cuts.0, &cuts.1))?;
            let largest = self.extent(parts.iter().map(|part| part.extent))?;
            for part in parts {
                base.join(&part.sums);
                inside.extend(part.inside);
            }
            base.over_shards(self.context.shards())?;
            largest
        };
        let Some(largest) = largest else { return Ok(None) };
        if !self.context.shards().is_whole() {
            inside = self.gather(&inside)?;
        }
        Ok(Some(Pass { base, inside, few, largest }))
    }

    /// The numbers of all shards, in the order of the rows.
    fn gather(&self, own: &[f64]) -> Result<Vec<f64>> {
        let shards = self.context.shards();
        let mut bits: Vec<u64> = own.iter().map(|x| x.to_bits()).collect();
        let lengths = shards.gather(&[bits.len() as u64])?;
        let most = lengths.iter().copied().max().unwrap_or(0) as usize;
        bits.resize(most, 0);
        let all = shards.gather(&bits)?;
        let parts = all.chunks(most.max(1)).zip(&lengths);
        let own = parts.flat_map(|(part, &length)| &part[..length as usize]);
        Ok(own.map(|&x| f64::from_bits(x)).collect())
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

    /// The weights where only `few` have one.
    fn scatter(
        &self,
        response: &Response,
        few: &[Picked],
        output: &mut Output<'_, T>,
    ) -> Result<Vec<Responded>> {
        if let Output::Dense(weights) = output {
            self.context.map_chunks_mut(weights, CHUNK, |_, weights| weights.fill(T::ZERO))?;
        }
        let mut parts = Vec::with_capacity(few.len());
        for Picked { places, .. } in few {
            let psi: Vec<T> = places.iter().map(|&place| self.psi[place]).collect();
            let mut weights = vec![T::ZERO; psi.len()];
            parts.push(response.respond(&psi, &mut weights, self.sign * self.scale));
            for (&place, weight) in places.iter().zip(weights) {
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
        sums: &Sums,
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
        let (price, exact) = (response.price, terms.totals(sums, response.price));
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
        let (l1_norm, squares) = (l1_norm.value(), squares.value());
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
        Ok(Facts {
            weights: (),
            status: Status::Solved,
            residual: vec![self.sign * residual.value() / self.scale],
            objective: unscaled(objective),
            gap: unscaled(misfit + terms_left),
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

impl Found {
    /// No weight at all: the price is all of the demand, or as much as l1 bears.
    fn at_rest(terms: Terms, largest: f64) -> Self {
        let price = terms.demand + terms.demand;
        let over = (price * Dd::new(largest) - Dd::new(terms.l1)).value() > 0.0;
        let price = if over { Dd::new((terms.l1 / largest).next_down()) } else { price };
        Self { terms, price, sums: Sums::default(), largest, few: Some(Vec::new()) }
    }
}

impl Terms {
    /// Whether l1 forbids every weight. Compared as rounded, like l1_max itself.
    fn stays(&self, largest: f64) -> bool {
        2.0 * (self.demand * Dd::new(largest)).value() <= self.l1 && self.limit >= self.demand.value()
    }
}

impl Guess {
    /// The prices within `width`, relative, of one that lies between `low` and `high`.
    fn around(price: f64, width: f64, low: Dd, high: Dd) -> Self {
        let (from, to) = (price * (1.0 - width), price * (1.0 + width));
        let from = if from > low.hi { Dd::new(from) } else { low };
        Self::Between(from, if to < high.hi { Dd::new(to) } else { high })
    }

    fn bracket(&self, terms: &Terms, low: Dd, high: Dd) -> (Dd, Dd) {
        match *self {
            Self::Few(above) if above > 0.0 => (low, Dd::new(terms.l1) / Dd::new(above)),
            Self::Few(_) => (low, high),
            Self::Between(from, to) => (from, if to.hi > high.hi { high } else { to }),
        }
    }
}
