//! Few weights that move, to the last digit: the primal problem by an active-set method.
//!
//! On a face (signs and bounds fixed) the optimum solves (ΨΨᵀ + l2)λ = Ψb − l1·sign/2, a system of as
//! many equations as weights move, and good where the dual's is not, for l2 = 0 above all. Weights that
//! reach zero or a bound leave the face, the one that gains most by moving enters: the objective falls
//! with every face, so none comes twice (Lawson and Hanson, "Solving Least Squares Problems", 1974,
//! chapter 23; with l1, Lee et al., NeurIPS 2006).
//!
//! Everything is measured by the length of the row, for without prices a row and its c-fold are the same
//! row, and scores may differ by hundreds of orders of magnitude.

use super::cache::Cache;
use super::cholesky::Factor;
use super::newton::{Budget, Goal};
use crate::error::Result;
use crate::fixed::{exponent, power_of_two};
use crate::par::Context;
use crate::vecmath::Dd;

/// A slope this small, relative to the row's length and ‖b‖, is rounding of the price as a pair.
const SLACK: f64 = 1e-20;
/// A row this near to what others span, relative to its length, depends on them. Nearer ones have weights
/// so large that their rounding shows, others leave their own part undone: what is better is tried.
const DEPENDENT: [f64; 3] = [1e-12, 1e-9, 1e-14];
/// A fall of the objective by this part of it is rounding.
const ROUNDING: f64 = 1e-14;
/// Weights that may move beyond 2k where there is an l2; with more the dual's system is the better one.
const SPARE: usize = 64;
/// A pivot of products below this part of its diagonal entry may be rounding.
const PIVOT: f64 = 1e-12;
/// What is added to a dependent system, of its longest row's square.
const RIDGE: f64 = 1e-9;
/// Steps of iterative refinement on a face, of the weights and of the price.
const REFINEMENTS: usize = 3;

/// From the weights in `cache`, and leaving better ones there: the price that judges them, z = −2r but
/// for what rounding of the weights makes of it. `None` where the dual's system is the better one.
pub(super) fn descend(
    context: &Context<'_>,
    cache: &mut Cache,
    goal: Goal<'_>,
    budget: &mut Budget,
) -> Result<Option<Vec<Dd>>> {
    let mut best: Option<(f64, Vec<f64>, Vec<Dd>)> = None;
    for dependent in DEPENDENT {
        let Some((weights, price)) = walk(context, cache, goal, dependent, budget)? else { break };
        let gap = cache.gap(goal.prices, goal.target, &price, &weights);
        if best.as_ref().is_none_or(|(least, ..)| gap < *least) {
            best = Some((gap, weights, price));
        }
        if best.as_ref().is_some_and(|(least, ..)| *least <= goal.gap) || budget.is_spent() {
            break;
        }
    }
    Ok(best.map(|(_, weights, price)| {
        cache.weights = weights;
        price
    }))
}

/// From face to face until no weight gains by moving.
fn walk(
    context: &Context<'_>,
    cache: &Cache,
    goal: Goal<'_>,
    dependent: f64,
    budget: &mut Budget,
) -> Result<Option<(Vec<f64>, Vec<Dd>)>> {
    let mut walk = Walk::new(cache, goal);
    loop {
        context.check()?;
        let free: Vec<usize> = (0..cache.len()).filter(|&i| walk.signs[i] != 0.0).collect();
        if goal.prices.l2 > 0.0 && free.len() > 2 * cache.k + SPARE {
            return Ok(None);
        }
        let face = Face::new(&walk, free, dependent);
        let stopped = face.share(&mut walk)
            || (0..REFINEMENTS).any(|_| {
                let slopes = walk.slopes(&walk.price(), &face.ids);
                walk.advance(&face.ids, &face.steps(&slopes))
            });
        let ends = budget.is_spent() || walk.since > walk.cache.len();
        if stopped && !ends {
            budget.spend(context);
            continue;
        }
        let price = face.level(&walk, walk.price());
        if ends || !walk.enter(&price) {
            return Ok(Some((walk.weights, price)));
        }
        budget.spend(context);
    }
}

struct Walk<'a> {
    cache: &'a Cache,
    goal: Goal<'a>,
    weights: Vec<f64>,
    /// Which way a weight that moves leaves zero; 0 where it is fixed.
    signs: Vec<f64>,
    /// By what to multiply a slope to see what moving gains: a power of two near 1/√(‖ψ‖² + l2).
    units: Vec<f64>,
    /// Weights that came and went without a step in between.
    barred: Vec<bool>,
    /// The least objective, and how many weights have left since it fell to there.
    least: f64,
    since: usize,
}

/// The weights of a face that determine each other, the longest rows first.
struct Face {
    /// All that may move where some depend on others, and their system with a ridge.
    together: Option<(Vec<usize>, Factor)>,
    ids: Vec<usize>,
    units: Vec<f64>,
    factor: Factor,
}

impl<'a> Walk<'a> {
    fn new(cache: &'a Cache, goal: Goal<'a>) -> Self {
        let signs =
            cache.weights.iter().zip(&cache.bounds).map(|(&w, &[lower, upper])| {
                if w != 0.0 && lower < w && w < upper { w.signum() } else { 0.0 }
            });
        let units = (0..cache.len()).map(|i| {
            let length = cache.longest(i).max(goal.prices.l2.sqrt());
            power_of_two((-exponent(length)).min(1000))
        });
        Self {
            cache,
            goal,
            weights: cache.weights.clone(),
            signs: signs.collect(),
            units: units.collect(),
            barred: vec![false; cache.len()],
            least: f64::INFINITY,
            since: 0,
        }
    }

    /// −2r.
    fn price(&self) -> Vec<Dd> {
        let effect = self.cache.effect(&self.weights).into_iter();
        effect.zip(self.goal.target).map(|(effect, &b)| Dd::new(-2.0) * (effect - b)).collect()
    }

    fn objective(&self) -> f64 {
        let prices = self.goal.prices;
        let misfit: f64 = self.price().iter().map(|z| 0.25 * z.value().powi(2)).sum();
        misfit + self.weights.iter().map(|w| prices.l1 * w.abs() + prices.l2 * w * w).sum::<f64>()
    }

    /// −∂P/∂λ where the weight has the sign `sign`, for ψ·z = `pull`.
    fn slope(&self, i: usize, sign: f64, pull: Dd) -> f64 {
        let prices = self.goal.prices;
        (pull - Dd::new(prices.l1 * sign) - Dd::two_product(2.0 * prices.l2, self.weights[i])).value()
    }

    /// The slopes of the weights `ids`.
    fn slopes(&self, price: &[Dd], ids: &[usize]) -> Vec<f64> {
        let pulls = self.cache.pulls(price);
        ids.iter().map(|&i| self.slope(i, self.signs[i], pulls[i])).collect()
    }

    /// Moves the weights `ids` by `steps`, or as far as the first of them allows, which then leaves the
    /// face; returns whether one did.
    fn advance(&mut self, ids: &[usize], steps: &[f64]) -> bool {
        let l1 = self.goal.prices.l1;
        let mut share = 1.0;
        let mut leaves = None;
        for (&i, &step) in ids.iter().zip(steps) {
            let (weight, [lower, upper], sign) = (self.weights[i], self.cache.bounds[i], self.signs[i]);
            let end = if step > 0.0 {
                if l1 > 0.0 && sign < 0.0 { upper.min(0.0) } else { upper }
            } else if l1 > 0.0 && sign > 0.0 {
                lower.max(0.0)
            } else {
                lower
            };
            if weight + step != weight && (weight + share * step - end) * step.signum() >= 0.0 {
                share = ((end - weight) / step).clamp(0.0, share);
                leaves = Some((i, end));
            }
        }
        let mut moved = false;
        for (&i, &step) in ids.iter().zip(steps) {
            let there = self.weights[i] + share * step;
            moved |= there != self.weights[i];
            self.weights[i] = there;
        }
        if moved {
            self.barred.fill(false);
        }
        if let Some((i, end)) = leaves {
            self.weights[i] = end;
            self.signs[i] = 0.0;
            self.barred[i] = !moved;
            let objective = self.objective();
            self.since = if objective < self.least * (1.0 - ROUNDING) { 0 } else { self.since + 1 };
            self.least = self.least.min(objective);
        }
        leaves.is_some()
    }

    /// Frees the fixed weight that would gain most by moving; `false` where none would gain.
    fn enter(&mut self, price: &[Dd]) -> bool {
        let pulls = self.cache.pulls(price);
        let mut most = SLACK * self.goal.demand();
        let mut enters = None;
        for i in (0..self.cache.len()).filter(|&i| self.signs[i] == 0.0 && !self.barred[i]) {
            let ([lower, upper], weight) = (self.cache.bounds[i], self.weights[i]);
            let up = if weight < 0.0 { -1.0 } else { 1.0 };
            let down = if weight > 0.0 { 1.0 } else { -1.0 };
            let (rises, falls) = (self.slope(i, up, pulls[i]), -self.slope(i, down, pulls[i]));
            for (gain, sign, allowed) in [(rises, up, weight < upper), (falls, down, weight > lower)] {
                if allowed && gain * self.units[i] > most {
                    most = gain * self.units[i];
                    enters = Some((i, sign));
                }
            }
        }
        if let Some((i, sign)) = enters {
            self.signs[i] = sign;
        }
        enters.is_some()
    }
}

impl Face {
    fn new(walk: &Walk<'_>, mut free: Vec<usize>, dependent: f64) -> Self {
        let (cache, all) = (walk.cache, &walk.units);
        free.sort_by(|&i, &j| cache.longest(j).total_cmp(&cache.longest(i)).then(i.cmp(&j)));
        let units: Vec<f64> = free.iter().map(|&i| all[i]).collect();
        let (k, l2) = (cache.k, walk.goal.prices.l2);
        let quick = (l2 > 0.0 || free.len() <= k)
            .then(|| Factor::independent(cache.products(&free, &units, l2), free.len(), PIVOT))
            .filter(|(_, kept)| kept.len() == free.len());
        let (factor, kept) = quick.unwrap_or_else(|| {
            let rows = cache.scaled(&free, &units);
            // l2 is as if every row had a column of its own.
            let own = if l2 > 0.0 { free.len() } else { 0 };
            let mut wide = vec![0.0; free.len() * (k + own)];
            for (i, (wide, row)) in wide.chunks_exact_mut(k + own).zip(rows.chunks_exact(k)).enumerate() {
                wide[..k].copy_from_slice(row);
                if own > 0 {
                    wide[k + i] = l2.sqrt() * units[i];
                }
            }
            Factor::of_rows(wide, k + own, dependent)
        });
        let together = if kept.len() < free.len() && free.len() <= 2 * k + SPARE {
            let (ones, longest) = (vec![1.0; free.len()], cache.longest(free[0]));
            Factor::new(cache.products(&free, &ones, l2 + RIDGE * longest * longest), free.len())
                .map(|factor| (free.clone(), factor))
        } else {
            None
        };
        let (ids, units) = kept.iter().map(|&i| (free[i], units[i])).unzip();
        Self { together, ids, units, factor }
    }

    /// Moves rows that depend on one another together, so that they share what is left to do; returns
    /// whether one was stopped.
    fn share(&self, walk: &mut Walk<'_>) -> bool {
        let Some((free, factor)) = &self.together else { return false };
        let mut steps: Vec<f64> = walk.slopes(&walk.price(), free).iter().map(|slope| 0.5 * slope).collect();
        factor.solve(&mut steps);
        walk.advance(free, &steps)
    }

    /// The steps of the weights at which `slopes` vanish.
    fn steps(&self, slopes: &[f64]) -> Vec<f64> {
        let mut steps: Vec<f64> = slopes.iter().zip(&self.units).map(|(s, unit)| 0.5 * s * unit).collect();
        self.factor.solve(&mut steps);
        steps.iter().zip(&self.units).map(|(step, unit)| step * unit).collect()
    }

    /// The price nearest to `price` at which the slopes of the face vanish: a double cannot hold the
    /// weights that would bring them nearer, but the dual point needs no weights.
    fn level(&self, walk: &Walk<'_>, mut price: Vec<Dd>) -> Vec<Dd> {
        for _ in 0..REFINEMENTS {
            let slopes = walk.slopes(&price, &self.ids);
            for (&i, step) in self.ids.iter().zip(self.steps(&slopes)) {
                for (z, &x) in price.iter_mut().zip(walk.cache.row(i)) {
                    *z = *z - Dd::two_product(2.0 * step, x);
                }
            }
        }
        price
    }
}
