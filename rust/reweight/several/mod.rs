//! Several criteria: the k numbers of the dual price z, by one of two routes.
//!
//! One pass reads Ψ and forms 2Ψb, the pulls on the weights at rest, of which the largest is l1_max.
//!
//! * All rows of a small problem, or the [working set](working) where few weights move, are solved in
//!   cache: [Newton's method](newton) on the dual with l2 continued down, then, where l2 is too small for
//!   it, an [active-set method](face) on the primal. A [pricing](pricing) pass over all rows, at the cost
//!   of a product Ψz, says what is missing; two to seven suffice as a rule.
//! * Where many weights move, every step reads [all rows](dense), with the metric of a sample or, of up to
//!   four criteria, with the [curvature](curved) of all rows, summed in the same reading.
//!
//! The cost model: a working set of w rows costs about 20 Newton steps of w·k² flops in one thread, the
//! dense route about 8 passes; w is at least the number of weights that move. So the working set is
//! taken where at most an eighth of the weights can move, as told by the pulls at rest (they only fall
//! as z does), else by the sample's solution, unless of up to four criteria that is near already. It then begins at that price or, where too few rows of the
//! sample move to tell it, at the best price on the way from that of the weights at rest to zero.
//!
//! Who finds the weights also says what they achieve, without another look at the rows: a pricing pass
//! has added up what the rows outside the working set leave, and the last step of the dense route what
//! its weights do.
//!
//! Sums over rows are integers ([`crate::fixed`]) and everything else is computed alike on every shard,
//! so neither threads nor shards nor instruction sets change a bit.

mod cache;
mod certificate;
mod cholesky;
mod curved;
mod dense;
mod dot;
mod effect;
mod exact;
mod face;
mod metric;
mod newton;
mod panel;
mod pricing;
mod products;
mod rows;
mod square;
mod unique;
mod working;

use super::certificate::{Certificate, unscaled_gap};
use super::{Facts, Options, Status};
use crate::error::Result;
use crate::float::Float;
use crate::par::Context;
use crate::simd::dispatch;
use crate::vecmath::Dd;

use cache::Prices;
use certificate::{certify, certify_answers};
use curved::FEW;
use metric::{SAMPLE, Sample};
use newton::{Budget, EASY, SOFT};
use pricing::{furthest, price};
use rows::{Pulls, Rows};
use working::{Begin, Found, NEAR, working_set};

/// Rows up to which the whole problem is a working set.
const SMALL: usize = 2048;
/// The working-set route is for at most one in so many weights that move.
const SPARSE: usize = 8;
/// Numbers up to which what a descent over all rows leaves unsolved is taken up as one working set: 64 MB.
const RESCUED: usize = 1 << 23;
/// Rows of the first sample for each criterion.
const SAMPLE_EACH: usize = 32;
/// Rows this much below l1 are taken into a first working set of which the price is a guess.
const WIDER: f64 = 0.97;

/// What progress counts.
const STEP: &str = "step";

/// The price that judges the weights, how they were found and what is known of them.
struct Answer {
    z: Vec<Dd>,
    status: Status,
    certificate: Option<Certificate>,
}

/// Solves the checked problem of [`crate::reweight`] for more than one criterion: every weight of this shard
/// is written to `weights`.
///
/// From `options.start`, the price of a similar problem (the next one of a path, say), the working set
/// begins with the rows that would move at it, and few passes are left.
pub(super) fn solve<T: Float>(
    context: &Context<'_>,
    psi: &[T],
    b: &[Dd],
    options: &Options<'_, T>,
    weights: &mut [T],
) -> Result<Facts> {
    context.progress(STEP, 0, None);
    let (rows, b, pulls) = Rows::new(context, psi, b, options)?;
    let (l1_max, scale) = (rows.steepest, rows.scale);
    let unscaled = |value: f64| value / scale / scale;
    let prices = Prices {
        l1: options.l1.map_or(0.05 * l1_max, |l1| l1 * scale * scale),
        l2: options.l2.map_or(1e-3 * rows.squares / rows.k as f64, |l2| l2 * scale * scale),
    };
    let mut budget = Budget { unit: STEP, used: 0, most: options.max_iter };
    let start = options.start.map(|z| z.iter().map(|&z| Dd::new(z * scale)).collect());
    let solver = Solver { context, rows: &rows, b: &b, prices, start, tol: options.tol };
    let Answer { z, status, certificate } = solver.solve(&pulls, l1_max, &mut budget, weights)?;
    drop(pulls);
    let certificate = match certificate {
        Some(known) => known,
        None => certify(context, &rows, prices, &b, &z, weights)?,
    };
    let Certificate { residual, objective, gap, l1_norm, nonzero } = certificate;
    let unique = prices.l2 > 0.0 || unique::is_unique(context, &rows, prices.l1, l1_max, &z)?;
    Ok(Facts {
        price: z.iter().map(|z| z.value() / scale).collect(),
        residual: residual.iter().map(|r| r.value() / scale).collect(),
        objective: unscaled(objective),
        // At z = 0 the gap is the objective: none is negative.
        gap: unscaled_gap(gap.min(objective), scale),
        l1: options.l1.unwrap_or_else(|| unscaled(prices.l1)),
        l2: options.l2.unwrap_or_else(|| unscaled(prices.l2)),
        l1_max: unscaled(l1_max),
        l1_norm,
        nonzero,
        iterations: budget.used,
        unique,
        reach: None,
        status,
    })
}

struct Solver<'a, T> {
    context: &'a Context<'a>,
    rows: &'a Rows<'a, T>,
    b: &'a [Dd],
    prices: Prices,
    start: Option<Vec<Dd>>,
    tol: f64,
}

impl<T: Float> Solver<'_, T> {
    /// `l1_max` is the largest of `pulls` on all shards.
    fn solve(&self, pulls: &Pulls, l1_max: f64, budget: &mut Budget, weights: &mut [T]) -> Result<Answer> {
        let (context, rows, prices) = (self.context, self.rows, self.prices);
        let rest = self.resting_residual()?;
        let z: Vec<Dd> = rest.iter().map(|&r| Dd::new(-2.0) * r).collect();
        let mut priced = if rows.rests_at_zero { None } else { Some(price(context, rows, prices, &z, &[])?) };
        let count = match &priced {
            Some(priced) => priced.count,
            None => self.count(pulls)?,
        };
        if count == 0 {
            return Ok(self.at_rest(z, l1_max, weights));
        }
        // A box that keeps weights from zero may ask for more than b does.
        let squares = |effect: &[Dd]| effect.iter().map(|x| x.value().powi(2)).sum::<f64>();
        let gap = self.tol * squares(self.b).max(squares(&rest));
        if rows.total <= SMALL.max(SPARSE * rows.k) {
            let begin = self.start.clone().unwrap_or_else(|| z.clone());
            return Ok(match self.all_rows(begin, &rest, gap, budget)? {
                Some(found) => self.scattered(found, weights),
                None => self.at_rest(z, l1_max, weights),
            });
        }
        let (mut sample, mut start) = (None, self.start.clone());
        let mut sparse = count <= rows.total / SPARSE;
        if !sparse {
            let size = SAMPLE.max(SAMPLE_EACH * rows.k);
            let mut drawn =
                Sample::new(context, rows, size, self.start.clone().unwrap_or_else(|| z.clone()))?;
            let typical = rows.squares / rows.k as f64;
            let softened = Prices { l2: prices.l2.max(1e-6 * typical), ..prices };
            let free = drawn.solve(context, softened, self.b)?;
            // With all rows' curvature in a step few steps are left of a sample's price.
            let is_quick = rows.k <= FEW && prices.l2 >= SOFT * EASY * typical && drawn.price(free).is_some();
            sparse = free <= 1.0 / SPARSE as f64 && !is_quick;
            start = start.or_else(|| drawn.price(free));
            sample = Some(drawn);
        }
        if sparse {
            let most = (rows.total / 2).max(SMALL);
            let few = working::few(rows.k, rows.total);
            let (ids, begin, start) = if let Some(start) = &start {
                let moving = price(context, rows, prices, start, &[])?;
                (furthest(context, moving.violators, moving.count.clamp(few, most))?, start.clone(), NEAR)
            } else if let Some(priced) = priced.take() {
                (furthest(context, priced.violators, few)?, z.clone(), EASY)
            } else if let Some(sample) = &sample {
                // On the way from z to 0 all pulls fall alike, so those at rest tell who moves there.
                let t = sample.along(prices, self.b, &z);
                let moving = self.violators(pulls, WIDER * prices.l1 / t)?;
                let there = z.iter().map(|&z| z * Dd::new(t)).collect();
                (furthest(context, moving, few.max(rows.total / SPARSE))?, there, EASY)
            } else {
                (furthest(context, self.violators(pulls, prices.l1)?, few)?, z.clone(), EASY)
            };
            let begin = Begin { ids: &ids, z: begin, start };
            let found = working_set(context, rows, prices, &rest, begin, most, gap, budget)?;
            if let Some(found) = found {
                return Ok(self.scattered(found, weights));
            }
        }
        let start = sample.map_or(z, |sample| sample.z);
        let found = dense::solve(context, rows, prices, self.b, start, gap, budget, weights)?;
        let reached = found.slope * found.slope;
        if reached > gap
            && !budget.is_spent()
            && rows.total.saturating_mul(rows.k) <= RESCUED
            && let Some(found) = self.all_rows(found.z.clone(), &rest, gap, budget)?
            && found.gap < reached
        {
            return Ok(self.scattered(found, weights));
        }
        let status = if reached <= gap {
            Status::Solved
        } else if budget.is_spent() {
            Status::MaxIter
        } else {
            Status::Stalled
        };
        let certificate = if found.l2 == prices.l2 {
            certify_answers(context, rows, prices, self.b, &found.z, weights, &found.effect, gap)?
        } else {
            None
        };
        Ok(Answer { z: found.z, status, certificate })
    }

    /// A working set of all rows, from `z`.
    fn all_rows(&self, z: Vec<Dd>, rest: &[Dd], gap: f64, budget: &mut Budget) -> Result<Option<Found>> {
        let all: Vec<usize> = (0..self.rows.total).collect();
        let begin = Begin { ids: &all, z, start: EASY };
        working_set(self.context, self.rows, self.prices, rest, begin, usize::MAX, gap, budget)
    }

    /// How many rows would move at rest, where that is at zero: compared as rounded, like l1_max itself.
    fn count(&self, pulls: &Pulls) -> Result<usize> {
        let l1 = self.prices.l1;
        let parts = self.context.map_chunks(pulls.len(), self.rows.chunk(), |range| {
            dispatch(
                #[inline(always)]
                || range.map(|j| i64::from(pulls.size(j) > l1)).sum::<i64>(),
            )
        })?;
        let mut count = [parts.into_iter().sum()];
        self.context.shards().sum(&mut count)?;
        Ok(count[0] as usize)
    }

    /// The rows here that would move at rest if l1 were `level`: how far they are above it, and their places
    /// among all rows.
    fn violators(&self, pulls: &Pulls, level: f64) -> Result<Vec<(f64, usize)>> {
        let first = self.rows.first;
        let parts = self.context.map_chunks(pulls.len(), self.rows.chunk(), |range| {
            let over = range.filter(|&j| pulls.size(j) > level);
            over.map(|j| (pulls.size(j) - level, first + j)).collect::<Vec<_>>()
        })?;
        Ok(parts.into_iter().flatten().collect())
    }

    /// Ψᵀλ − b of the weights at rest.
    fn resting_residual(&self) -> Result<Vec<Dd>> {
        if self.rows.rests_at_zero {
            return Ok(self.b.iter().map(|&b| -b).collect());
        }
        let effect = self.rows.effect(self.context, self.rows.furthest_rest, |j| self.rows.resting(j))?;
        Ok(effect.into_iter().zip(self.b).map(|(effect, &b)| effect - b).collect())
    }

    /// No weight moves at z.
    fn at_rest(&self, mut z: Vec<Dd>, l1_max: f64, weights: &mut [T]) -> Answer {
        let rows = self.rows;
        if self.prices.l1 < l1_max * (1.0 + 1e-9) {
            // A hair less, so that no rounding lifts |ψ_j·z| above l1.
            let hair = Dd::new(1.0 - (rows.k + 8) as f64 * f64::EPSILON);
            for z in &mut z {
                *z = *z * hair;
            }
        }
        let status = match () {
            () if rows.total == 0 => Status::Empty,
            () if rows.largest == 0.0 => Status::NoEffect,
            () => Status::Solved,
        };
        self.rest(weights);
        Answer { z, status, certificate: None }
    }

    fn rest(&self, weights: &mut [T]) {
        if self.rows.rests_at_zero {
            weights.fill(T::ZERO);
            return;
        }
        for (j, slot) in weights.iter_mut().enumerate() {
            *slot = T::from_f64(self.rows.resting(j));
        }
    }

    /// The weights of a working set in their places, all others at rest.
    fn scattered(&self, found: Found, weights: &mut [T]) -> Answer {
        let Found { cache, z, others, status, .. } = found;
        self.rest(weights);
        let rows = self.rows;
        let written: Vec<T> = cache.weights.iter().map(|weight| T::from_f64(weight + 0.0)).collect();
        let here = rows.first..rows.first + rows.n;
        for (&id, &weight) in cache.ids.iter().zip(&written).filter(|(id, _)| here.contains(id)) {
            weights[id - rows.first] = weight;
        }
        let certificate = rows.rests_at_zero.then(|| {
            let written: Vec<f64> = written.into_iter().map(T::to_f64).collect();
            cache.judge(self.prices, self.b, &z, &written, rows.total, others)
        });
        Answer { z, status, certificate }
    }
}
