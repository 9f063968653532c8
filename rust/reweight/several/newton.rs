//! Newton's method on the dual of the rows in a [`Cache`], with l2 continued down.
//!
//! ```text
//! φ(z) = ‖z‖²/4 + Σ g_j*(ψ_j·z) − b·z,   ∇φ = z/2 + Ψᵀλ(z) − b,   ∇²φ = I/2 + Σ_{free} ψ_jψ_jᵀ / 2l2
//! ```
//!
//! φ is piecewise quadratic. Where l2 is small its pieces are narrow and Newton's method alone would
//! creep along the kinks, so it begins with a large l2 and divides it by ten from stage to stage.

use super::cache::{Cache, Prices};
use super::cholesky::Factor;
use super::face;
use crate::error::Result;
use crate::par::Context;
use crate::vecmath::Dd;

/// From this part of ‖Ψ‖_F²/k on l2 is large enough to begin with.
pub(super) const EASY: f64 = 1e-3;
/// It need not be taken up from there where it is at least this part of that.
pub(super) const SOFT: f64 = 0.1;
/// l2 falls by this factor from stage to stage …
const FALL: f64 = 0.1;
/// … down to this part of ‖Ψ‖_F²/k where fewer than k rows move: the weights' rounding would grow.
const LEAST: f64 = 1e-10;
/// The same where k rows move and the system is as good as Ψ: below it rounding of z counts.
const LEAST_FULL: f64 = 1e-16;
/// ‖∇φ‖ relative to ‖b‖ to which a stage that is not the last is solved.
const LOOSE: f64 = 1e-4;
/// Steps in a row that do not halve ‖∇φ‖ before rounding is taken to be the reason.
const PATIENCE: usize = 4;
/// Evaluations of one line search.
const TRIALS: usize = 40;

/// Newton steps, counted over a whole solve.
pub(super) struct Budget {
    /// One of them, as progress names it.
    pub(super) unit: &'static str,
    pub(super) used: usize,
    pub(super) most: usize,
}

impl Budget {
    pub(super) fn is_spent(&self) -> bool {
        self.used >= self.most
    }

    /// Counts a step.
    pub(super) fn spend(&mut self, context: &Context<'_>) {
        self.used += 1;
        context.progress(self.unit, self.used, None);
    }
}

/// What is asked of a solve.
#[derive(Clone, Copy)]
pub(super) struct Goal<'a> {
    pub(super) prices: Prices,
    /// b, less what weights elsewhere give.
    pub(super) target: &'a [Dd],
    /// The duality gap that is small enough.
    pub(super) gap: f64,
}

impl Goal<'_> {
    pub(super) fn demand(&self) -> f64 {
        self.target.iter().map(|b| b.value().powi(2)).sum::<f64>().sqrt()
    }
}

/// Solves the problem of `cache` from `z`, leaving the weights there; returns z.
pub(super) fn solve(
    context: &Context<'_>,
    cache: &mut Cache,
    goal: Goal<'_>,
    z: Vec<Dd>,
    start: f64,
    budget: &mut Budget,
) -> Result<Vec<Dd>> {
    let Prices { l1, l2 } = goal.prices;
    let squares: f64 = (0..cache.len()).flat_map(|i| cache.row(i)).map(|x| x * x).sum();
    let typical = (squares / cache.k as f64).max(f64::MIN_POSITIVE);
    let kinks = l1 > 0.0 || cache.bounds.iter().any(|b| b[0].is_finite() || b[1].is_finite());
    let mut least = l2.max(LEAST * typical);
    let mut softened = if kinks { least.max(start * typical) } else { least };
    let mut best = (f64::INFINITY, cache.weights.clone(), z.clone());
    let mut z = z;
    loop {
        let last = softened <= least;
        let prices = Prices { l1, l2: softened };
        // With l2 as it is the gap is ‖∇φ‖²; a softened one leaves more.
        let wanted =
            if last { 0.1 * goal.gap.sqrt().min(1e-13 * goal.demand()) } else { LOOSE * goal.demand() };
        let free = newton(context, cache, Goal { prices, ..goal }, &mut z, wanted, budget)?;
        if last {
            let gap = cache.gap(goal.prices, goal.target, &z, &cache.weights);
            if gap < best.0 {
                best = (gap, cache.weights.clone(), z.clone());
            }
            if best.0 > goal.gap
                && !budget.is_spent()
                && let Some(price) = face::descend(context, cache, goal, budget)?
            {
                let gap = cache.gap(goal.prices, goal.target, &price, &cache.weights);
                if gap < best.0 {
                    best = (gap, cache.weights.clone(), price);
                }
            }
            if best.0 <= goal.gap || budget.is_spent() || free < cache.k || softened <= l2 {
                break;
            }
            let lower = l2.max(LEAST_FULL * typical);
            if least <= lower {
                break;
            }
            least = lower;
        }
        softened = (softened * FALL).max(least);
    }
    let (_, weights, z) = best;
    cache.weights = weights;
    Ok(z)
}

/// Minimises φ from `z` until ‖∇φ‖ ≤ `wanted` or nothing is gained; returns how many rows move.
pub(super) fn newton(
    context: &Context<'_>,
    cache: &mut Cache,
    goal: Goal<'_>,
    z: &mut [Dd],
    wanted: f64,
    budget: &mut Budget,
) -> Result<usize> {
    let (mut least, mut since) = (f64::INFINITY, 0);
    loop {
        context.check()?;
        let pulls = cache.pulls(z);
        let (weights, free) = responses(cache, goal.prices, &pulls);
        cache.weights = weights;
        let gradient = gradient(&cache.effect(&cache.weights), goal.target, z);
        let size = gradient.iter().map(|g| g.value().powi(2)).sum::<f64>().sqrt();
        since = if size <= 0.5 * least { 0 } else { since + 1 };
        least = least.min(size);
        if size <= wanted
            || since > PATIENCE && size <= LOOSE * goal.demand()
            || since > TRIALS
            || budget.is_spent()
        {
            return Ok(free.len());
        }
        budget.spend(context);
        let direction = direction(context, cache, goal.prices.l2, &gradient, &free)?;
        let step = line_search(cache, goal, z, &pulls, &direction, &free);
        for (z, d) in z.iter_mut().zip(&direction) {
            *z = *z + Dd::two_product(step, *d);
        }
    }
}

/// λ(v) of every row, and the rows that move.
pub(super) fn responses(cache: &Cache, prices: Prices, pulls: &[Dd]) -> (Vec<f64>, Vec<usize>) {
    let mut free = Vec::new();
    let weights = pulls.iter().zip(&cache.bounds).enumerate().map(|(i, (&v, &bounds))| {
        let (weight, moves) = prices.respond(v, bounds);
        if moves {
            free.push(i);
        }
        weight
    });
    (weights.collect(), free)
}

/// z/2 + effect − b.
pub(super) fn gradient(effect: &[Dd], b: &[Dd], z: &[Dd]) -> Vec<Dd> {
    effect.iter().zip(b).zip(z).map(|((&effect, &b), &z)| effect - b + z * Dd::new(0.5)).collect()
}

/// −(∇²φ)⁻¹∇φ.
fn direction(
    context: &Context<'_>,
    cache: &Cache,
    l2: f64,
    gradient: &[Dd],
    free: &[usize],
) -> Result<Vec<f64>> {
    let mut direction: Vec<f64> = gradient.iter().map(|g| g.value()).collect();
    if free.len() < cache.k
        && let Some(factor) = Factor::new(cache.products(free, &vec![1.0; free.len()], l2), free.len())
    {
        // By the matrix inversion lemma, as small as there are rows that move.
        let mut weights: Vec<f64> = {
            let all = cache.steps(&direction);
            free.iter().map(|&i| all[i]).collect()
        };
        factor.solve(&mut weights);
        for (&i, weight) in free.iter().zip(weights) {
            direction.iter_mut().zip(cache.row(i)).for_each(|(d, x)| *d -= weight * x);
        }
        for d in &mut direction {
            *d *= -2.0;
        }
    } else {
        cache.curvature(context, l2, free)?.solve(&mut direction);
        for d in &mut direction {
            *d *= -2.0 * l2;
        }
    }
    Ok(direction)
}

/// How far to go along `direction`: 1 where φ still falls there (or no kink is passed), else to where
/// its slope is a tenth of what it was. φ is convex, so it is lower in both cases.
fn line_search(
    cache: &Cache,
    goal: Goal<'_>,
    z: &[Dd],
    pulls: &[Dd],
    direction: &[f64],
    free: &[usize],
) -> f64 {
    let moves = cache.steps(direction);
    let squares: f64 = direction.iter().map(|d| d * d).sum();
    let pairs = z.iter().zip(goal.target).zip(direction);
    let base: Dd = pairs.map(|((&z, &b), &d)| (z * Dd::new(0.5) - b) * Dd::new(d)).sum();
    let slope = |t: f64| {
        let mut sum = base.value() + 0.5 * t * squares;
        let (mut same, mut count) = (true, 0);
        for (i, ((&v, &move_), &bounds)) in pulls.iter().zip(&moves).zip(&cache.bounds).enumerate() {
            let step = Dd::two_product(t, move_);
            let total = Dd::two_sum(v.hi, step.hi);
            let there = Dd::two_sum(total.hi, total.lo + (v.lo + step.lo));
            let (weight, moves) = goal.prices.respond(there, bounds);
            sum += weight * move_;
            if moves {
                same &= free.get(count) == Some(&i);
                count += 1;
            } else {
                same &= weight == cache.weights[i];
            }
        }
        (sum, same && count == free.len())
    };
    let before = slope(0.0).0;
    let (at_one, same) = slope(1.0);
    if same || before >= 0.0 || at_one <= 0.1 * before.abs() {
        return 1.0;
    }
    // φ' is increasing: a secant step, and bisection where that gains too little.
    let ((mut low, mut at_low), (mut high, mut at_high)) = ((0.0, before), (1.0, at_one));
    for trial in 0..TRIALS {
        let secant = low + (high - low) * (at_low / (at_low - at_high));
        let t = if trial % 2 == 0 { secant } else { 0.5 * (low + high) };
        let here = slope(t).0;
        if here.abs() <= 0.1 * before.abs() {
            return t;
        }
        if here < 0.0 {
            (low, at_low) = (t, here);
        } else {
            (high, at_high) = (t, here);
        }
    }
    if low > 0.0 { low } else { high }
}
