//! Many weights that move: all rows are read at every step, in units of few passes.
//!
//! ∇φ is summed over all rows, exactly; its metric comes from equally spaced rows, of which every shard
//! holds a copy: the same problem with l2·m/n and the box times n/m for m of n rows. What the sample
//! does not know of the curvature the steps tell (L-BFGS: Nocedal, Math. Comp. 35(151), 1980), so no
//! k×k sum ever runs over all rows or between shards.

use std::ops::Range;

use super::cache::Prices;
use super::dot::Price;
use super::effect::{Answers, Given, effect};
use super::metric::{Metric, SAMPLE, Sample, inner};
use super::newton::{Budget, EASY, gradient};
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
/// ‖∇φ‖ relative to ‖b‖ to which a stage that is not the last is solved.
const LOOSE: f64 = 1e-3;
/// ‖∇φ‖ of the last stage, of what the gap allows: the rest is for the rounding of the weights.
const ENOUGH: f64 = 0.9;
/// Rows of the sample: one in so many, at most so many for each criterion.
const STRIDE: usize = 32;
const MOST_EACH: usize = 1024;
/// What rounding may add to ∇φ, of what is asked of it.
const ROUNDING: f64 = 0.01;
/// Passes in a row that do not halve ‖∇φ‖ before rounding is taken to be the reason.
const PATIENCE: usize = 20;
/// A step is taken where the slope along it has fallen to this part of what it was.
const FLAT: f64 = 0.9;

/// The dual point at which a descent ended.
pub(super) struct Found {
    pub(super) z: Vec<Dd>,
    /// The l2 it was found with.
    pub(super) l2: f64,
    /// ‖∇φ‖ there.
    pub(super) slope: f64,
    /// Ψᵀλ of the weights as written.
    pub(super) effect: Vec<Dd>,
}

/// Minimises φ over all rows until ‖∇φ‖² ≤ `gap`, and writes λ(z) of this shard's rows to `weights`. A sample's
/// solution, sought from `start`, is where it begins.
#[allow(clippy::too_many_arguments)]
pub(super) fn solve<T: Float>(
    context: &Context<'_>,
    rows: &Rows<'_, T>,
    prices: Prices,
    b: &[Dd],
    start: Vec<Dd>,
    gap: f64,
    budget: &mut Budget,
    weights: &mut [T],
) -> Result<Found> {
    let typical = rows.squares / rows.k as f64;
    let least = prices.l2.max(LEAST * typical);
    let kinks = prices.l1 > 0.0 || rows.is_boxed(context)?;
    let mut l2 = if kinks { least.max(EASY * typical) } else { least };
    let demand = b.iter().map(|b| b.value().powi(2)).sum::<f64>().sqrt();
    let size = (rows.total / STRIDE).min(MOST_EACH * rows.k).max(SAMPLE);
    let mut sample = Sample::new(context, rows, size, start)?;
    sample.solve(context, Prices { l2, ..prices }, b)?;
    let mut z = sample.z.clone();
    loop {
        let last = l2 <= least;
        let wanted = if last { ENOUGH * gap.sqrt() } else { LOOSE * demand };
        let prices = Prices { l2, ..prices };
        let mut descent = Descent { context, rows, prices, b, wanted, weights };
        let (Point { z: ended, mut effect, slope, .. }, is_last) =
            descent.run(z, sample.metric(context, prices)?, budget)?;
        if last || budget.is_spent() {
            // What was written last may be of another point, or not what was added up.
            if !is_last || T::IS_SINGLE {
                effect = descent.effect(&ended, true)?;
            }
            return Ok(Found { z: ended, l2, slope, effect });
        }
        let before = sample.z.clone();
        l2 = (l2 * FALL).max(least);
        sample.solve(context, Prices { l2, ..prices }, b)?;
        // What the sample's solution moved by, from where all rows' is.
        let moved = sample.z.iter().zip(&before).map(|(&now, &before)| now - before);
        z = ended.iter().zip(moved).map(|(&z, moved)| z + moved).collect();
    }
}

/// The descent of one stage: φ of one l2.
struct Descent<'a, 'c, T> {
    context: &'a Context<'c>,
    rows: &'a Rows<'a, T>,
    prices: Prices,
    b: &'a [Dd],
    /// The ‖∇φ‖ that is small enough.
    wanted: f64,
    /// λ(z) of the point that was looked at last.
    weights: &'a mut [T],
}

/// A point that was looked at.
#[derive(Clone)]
struct Point {
    z: Vec<Dd>,
    effect: Vec<Dd>,
    gradient: Vec<f64>,
    slope: f64,
}

impl<T: Float> Descent<'_, '_, T> {
    /// To where ‖∇φ‖ was least; whether that was looked at last.
    fn run(&mut self, z: Vec<Dd>, mut metric: Metric, budget: &mut Budget) -> Result<(Point, bool)> {
        let mut here = self.look(z, budget)?;
        let (mut best, mut is_last, mut since) = (here.clone(), true, 0);
        while best.slope > self.wanted && since < PATIENCE && !budget.is_spent() {
            let direction = metric.direction(&here.gradient);
            let before = inner(&here.gradient, &direction);
            let mut t = 1.0;
            loop {
                let step = here.z.iter().zip(&direction);
                let there = step.map(|(&z, &d)| z + Dd::two_product(t, d)).collect();
                let there = self.look(there, budget)?;
                metric.learn(
                    direction.iter().map(|d| t * d).collect(),
                    there.gradient.iter().zip(&here.gradient).map(|(there, here)| there - here).collect(),
                );
                since = if there.slope <= 0.5 * best.slope { 0 } else { since + 1 };
                is_last = there.slope < best.slope;
                if is_last {
                    best = there.clone();
                }
                let along = inner(&there.gradient, &direction);
                let done = along <= FLAT * before.abs() || there.slope <= self.wanted;
                if done || since >= PATIENCE || budget.is_spent() {
                    here = there;
                    break;
                }
                t *= before / (before - along);
            }
        }
        Ok((best, is_last))
    }

    /// One step: a pass over all rows.
    fn look(&mut self, z: Vec<Dd>, budget: &mut Budget) -> Result<Point> {
        let effect = self.effect(&z, false)?;
        budget.spend(self.context);
        let gradient: Vec<f64> = gradient(&effect, self.b, &z).into_iter().map(Dd::value).collect();
        let slope = inner(&gradient, &gradient).sqrt();
        Ok(Point { z, effect, gradient, slope })
    }

    /// Writes λ(z) of this shard's rows and adds up Ψᵀλ over all rows of all shards, of λ `rounded` to its
    /// type or not.
    fn effect(&mut self, z: &[Dd], rounded: bool) -> Result<Vec<Dd>> {
        let Self { context, rows, prices, .. } = *self;
        let price = Price::new(z);
        let grid = grid(rows.most(prices, z));
        let quick = self.is_precise(&price);
        let parts = context.map_chunks_mut(self.weights, rows.chunk(), |first, to| {
            let range = first..first + to.len();
            let panel = rows.panel(range.clone());
            if quick {
                let [lower, upper] = rows.box_of(range);
                return effect(panel, Answers { z: &price.hi, prices, lower, upper, to, rounded }, grid);
            }
            let mut weights = responses(rows, prices, range, &price);
            for (slot, weight) in to.iter_mut().zip(&mut weights) {
                *slot = T::from_f64(*weight + 0.0);
                if rounded {
                    *weight = slot.to_f64();
                }
            }
            effect(panel, Given(&weights), grid)
        })?;
        rows.joined(context, &grid, parts)
    }

    /// Whether ∇φ in double precision is as good as asked for; l2 makes the rounding of Ψz larger.
    fn is_precise(&self, price: &Price) -> bool {
        let Self { rows, prices, wanted, .. } = self;
        rows.rounding(price) * rows.squares.sqrt() / (2.0 * prices.l2) <= ROUNDING * wanted
    }
}

/// λ(z) of the rows of a chunk, with Ψz as pairs.
fn responses<T: Float>(rows: &Rows<'_, T>, prices: Prices, range: Range<usize>, price: &Price) -> Vec<f64> {
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
