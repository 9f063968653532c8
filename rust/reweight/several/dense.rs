//! Many weights that move: all rows are read at every step, in units of few passes.
//!
//! ∇φ is summed over all rows, exactly; its metric comes from equally spaced rows, of which every shard
//! holds a copy: the same problem with l2·m/n and the box times n/m for m of n rows. What the sample
//! does not know of the curvature the steps tell (L-BFGS: Nocedal, Math. Comp. 35(151), 1980), so no
//! k×k sum ever runs over all rows or between shards.

use std::ops::Range;

use super::cache::{Cache, Prices};
use super::cholesky::Factor;
use super::dot::Price;
use super::newton::{Budget, EASY, Goal, gradient, newton, responses};
use super::rows::{Rows, grid};
use crate::error::Result;
use crate::float::Float;
use crate::par::Context;
use crate::simd::dispatch;
use crate::vecmath::Dd;

/// l2 below this part of ‖Ψ‖_F²/k costs less than the gap asked for.
const LEAST: f64 = 1e-17;
/// l2 falls by this factor from stage to stage where kinks make a small one hard.
const FALL: f64 = 0.1;
/// Rows of a sample that move, for each criterion, from which its price is worth starting at.
const EACH: usize = 4;
/// ‖∇φ‖ relative to ‖b‖ to which a stage that is not the last is solved.
const LOOSE: f64 = 1e-3;
/// Passes in a row that do not halve ‖∇φ‖ before rounding is taken to be the reason.
const PATIENCE: usize = 20;
/// A step is taken where the slope along it has fallen to this part of what it was.
const FLAT: f64 = 0.9;

/// Rows that stand for all.
pub(super) struct Sample {
    cache: Cache,
    /// n/m.
    share: f64,
    /// The dual point that solves it.
    z: Vec<Dd>,
}

impl Sample {
    /// Equally spaced rows, about `size` of them.
    pub(super) fn new<T: Float>(
        context: &Context<'_>,
        rows: &Rows<'_, T>,
        size: usize,
        z: Vec<Dd>,
    ) -> Result<Self> {
        let stride = (rows.total / size).max(1);
        let ids: Vec<usize> = (0..rows.total).step_by(stride).collect();
        let share = rows.total as f64 / ids.len() as f64;
        let mut cache = Cache::new(rows.k);
        cache.add(context, rows, &ids, share)?;
        Ok(Self { cache, share, z })
    }

    /// The dual point that solves it, where at least `EACH` rows of it for each criterion move (`free` of
    /// them all): fewer say too little about the others.
    pub(super) fn price(&self, free: f64) -> Option<Vec<Dd>> {
        let moving = free * self.cache.len() as f64;
        (moving >= (EACH * self.cache.k) as f64).then(|| self.z.clone())
    }

    /// Solves the sample's problem, from where it stood; returns the share of the weights that move.
    pub(super) fn solve(&mut self, context: &Context<'_>, prices: Prices, b: &[Dd]) -> Result<f64> {
        let demand = b.iter().map(|b| b.value().powi(2)).sum::<f64>().sqrt();
        let prices = Prices { l2: prices.l2 / self.share, ..prices };
        let goal = Goal { prices, target: b, gap: 0.0 };
        let mut budget = Budget { unit: "step on a sample", used: 0, most: 60 };
        let free = newton(context, &mut self.cache, goal, &mut self.z, 1e-6 * demand, &mut budget)?;
        Ok(free as f64 / self.cache.len() as f64)
    }

    /// The curvature at its solution.
    fn metric(&self, prices: Prices) -> Metric {
        let l2 = prices.l2 / self.share;
        let free = responses(&self.cache, Prices { l2, ..prices }, &self.cache.pulls(&self.z)).1;
        Metric { factor: self.cache.curvature(l2, &free), l2, pairs: Vec::new() }
    }
}

/// An estimate of (∇²φ)⁻¹.
struct Metric {
    factor: Factor,
    l2: f64,
    /// Steps, what they changed of the gradient, and 1/(step·change).
    pairs: Vec<(Vec<f64>, Vec<f64>, f64)>,
}

impl Metric {
    /// −(∇²φ)⁻¹·gradient.
    fn direction(&self, gradient: &[f64]) -> Vec<f64> {
        let mut d: Vec<f64> = gradient.iter().map(|g| -g).collect();
        let mut parts = Vec::with_capacity(self.pairs.len());
        for (step, change, inverse) in self.pairs.iter().rev() {
            let part = inverse * inner(step, &d);
            d.iter_mut().zip(change).for_each(|(d, y)| *d -= part * y);
            parts.push(part);
        }
        self.factor.solve(&mut d);
        for d in &mut d {
            *d *= 2.0 * self.l2;
        }
        for ((step, change, inverse), part) in self.pairs.iter().zip(parts.into_iter().rev()) {
            let rest = part - inverse * inner(change, &d);
            d.iter_mut().zip(step).for_each(|(d, s)| *d += rest * s);
        }
        d
    }

    fn learn(&mut self, step: Vec<f64>, change: Vec<f64>) {
        let product = inner(&step, &change);
        if product > 0.0 {
            self.pairs.push((step, change, 1.0 / product));
        }
    }
}

fn inner(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// A dual point, the l2 it was found with, and ‖∇φ‖ there.
pub(super) struct Found {
    pub(super) z: Vec<Dd>,
    pub(super) l2: f64,
    pub(super) slope: f64,
}

/// Minimises φ over all rows until ‖∇φ‖² ≤ `gap`.
pub(super) fn solve<T: Float>(
    context: &Context<'_>,
    rows: &Rows<'_, T>,
    prices: Prices,
    b: &[Dd],
    sample: &mut Sample,
    gap: f64,
    budget: &mut Budget,
) -> Result<Found> {
    let typical = rows.squares / rows.k as f64;
    let least = prices.l2.max(LEAST * typical);
    let kinks = prices.l1 > 0.0 || rows.is_boxed(context)?;
    let mut l2 = if kinks { least.max(EASY * typical) } else { least };
    let demand = b.iter().map(|b| b.value().powi(2)).sum::<f64>().sqrt();
    sample.solve(context, Prices { l2, ..prices }, b)?;
    let mut z = sample.z.clone();
    loop {
        let last = l2 <= least;
        let wanted = if last { 0.3 * gap.sqrt() } else { LOOSE * demand };
        let now = Prices { l2, ..prices };
        let slope = descend(context, rows, now, b, &mut z, sample.metric(now), wanted, budget)?;
        if last || budget.is_spent() {
            return Ok(Found { z, l2, slope });
        }
        let before = sample.z.clone();
        l2 = (l2 * FALL).max(least);
        sample.solve(context, Prices { l2, ..prices }, b)?;
        // What the sample's solution moved by, from where all rows' is.
        for ((z, &now), &before) in z.iter_mut().zip(&sample.z).zip(&before) {
            *z = *z + (now - before);
        }
    }
}

#[allow(clippy::too_many_arguments)]
fn descend<T: Float>(
    context: &Context<'_>,
    rows: &Rows<'_, T>,
    prices: Prices,
    b: &[Dd],
    z: &mut Vec<Dd>,
    mut metric: Metric,
    wanted: f64,
    budget: &mut Budget,
) -> Result<f64> {
    let slope_at = |z: &[Dd]| -> Result<Vec<f64>> {
        let effect = effect(context, rows, prices, z)?;
        Ok(gradient(&effect, b, z).into_iter().map(Dd::value).collect())
    };
    let size = |g: &[f64]| inner(g, g).sqrt();
    let mut here = slope_at(z)?;
    budget.spend(context);
    let mut best = (size(&here), z.clone());
    let mut since = 0;
    while best.0 > wanted && since < PATIENCE && !budget.is_spent() {
        let direction = metric.direction(&here);
        let before = inner(&here, &direction);
        let mut t = 1.0;
        loop {
            let there: Vec<Dd> = z.iter().zip(&direction).map(|(&z, &d)| z + Dd::two_product(t, d)).collect();
            let slope = slope_at(&there)?;
            budget.spend(context);
            metric.learn(
                direction.iter().map(|d| t * d).collect(),
                slope.iter().zip(&here).map(|(there, here)| there - here).collect(),
            );
            let along = inner(&slope, &direction);
            since = if size(&slope) <= 0.5 * best.0 { 0 } else { since + 1 };
            if size(&slope) < best.0 {
                best = (size(&slope), there.clone());
            }
            let done = along <= FLAT * before.abs() || size(&slope) <= wanted;
            if done || since >= PATIENCE || budget.is_spent() {
                (*z, here) = (there, slope);
                break;
            }
            t *= before / (before - along);
        }
    }
    *z = best.1;
    Ok(best.0)
}

/// Ψᵀλ(z) over all rows of all shards.
fn effect<T: Float>(context: &Context<'_>, rows: &Rows<'_, T>, prices: Prices, z: &[Dd]) -> Result<Vec<Dd>> {
    let price = Price::new(z);
    let length = z.iter().map(|z| z.value().powi(2)).sum::<f64>().sqrt();
    let most =
        ((length * rows.longest * (1.0 + 1e-9) - prices.l1) / (2.0 * prices.l2)).max(rows.furthest_rest);
    let grid = grid(most);
    let parts = context.map_chunks(rows.n, rows.chunk(), |range| {
        rows.panel(range.clone()).effect(&responses_of(rows, prices, range, &price), grid)
    })?;
    rows.joined(context, &grid, parts)
}

/// λ(z) of this shard's rows.
pub(super) fn weights<T: Float>(
    context: &Context<'_>,
    rows: &Rows<'_, T>,
    prices: Prices,
    z: &[Dd],
) -> Result<Vec<T>> {
    let price = Price::new(z);
    let mut weights = vec![T::ZERO; rows.n];
    context.map_chunks_mut(&mut weights, rows.chunk(), |first, slots| {
        let weights = responses_of(rows, prices, first..first + slots.len(), &price);
        slots.iter_mut().zip(weights).for_each(|(slot, weight)| *slot = T::from_f64(weight + 0.0));
    })?;
    Ok(weights)
}

/// λ(z) of the rows of a chunk.
fn responses_of<T: Float>(
    rows: &Rows<'_, T>,
    prices: Prices,
    range: Range<usize>,
    price: &Price,
) -> Vec<f64> {
    let [hi, lo] = rows.panel(range.clone()).pairs(price);
    let mut weights = vec![0.0; hi.len()];
    dispatch(
        #[inline(always)]
        || {
            for (i, weight) in weights.iter_mut().enumerate() {
                let bounds = rows.bounds(range.start + i);
                *weight = prices.respond(Dd { hi: hi[i], lo: lo[i] }, bounds).0;
            }
        },
    );
    weights
}
