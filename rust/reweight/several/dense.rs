//! Many weights that move: all rows are read at every step, in units of few passes.
//!
//! ∇φ is summed over all rows, exactly; its metric comes from equally spaced rows, of which every shard
//! holds a copy: the same problem with l2·m/n and the box times n/m for m of n rows. What the sample
//! does not know of the curvature the steps tell (L-BFGS: Nocedal, Math. Comp. 35(151), 1980), so a k×k
//! sum runs over all rows and between shards only where criteria are so few that it is [free](super::curved).

use std::ops::Range;

use super::cache::Prices;
use super::cholesky::Factor;
use super::curved::{FEW, PRODUCTS, curved};
use super::dot::Price;
use super::effect::{Answers, Given, Written, effect};
use super::metric::{Metric, SAMPLE, Sample, inner};
use super::newton::{Budget, EASY, SOFT, gradient};
use super::panel::octets;
use super::rows::{Rows, grid, joined};
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
/// The same with all rows' curvature, of which a last step ends far below that: weights as near to the
/// optimum as those of a working set.
const SURE: f64 = 0.1;
/// Rows of the sample: one in so many, at most so many for each criterion.
const STRIDE: usize = 32;
const MOST_EACH: usize = 1024;
/// What rounding may add to ∇φ, of what is asked of it.
const ROUNDING: f64 = 0.01;
/// Passes in a row that do not halve ‖∇φ‖ before rounding is taken to be the reason.
const PATIENCE: usize = 20;
/// A step is taken where the slope along it has fallen to this part of what it was.
const FLAT: f64 = 0.9;

/// Weights are written once ‖∇φ‖ is expected within so many times what is asked for.
const NEARLY: f64 = 10.0;

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
    let mut l2 = if kinks && least < SOFT * EASY * typical { EASY * typical } else { least };
    let demand = b.iter().map(|b| b.value().powi(2)).sum::<f64>().sqrt();
    let size = (rows.total / STRIDE).min(MOST_EACH * rows.k).max(SAMPLE);
    let mut sample = Sample::new(context, rows, size, start)?;
    sample.solve(context, Prices { l2, ..prices }, b)?;
    let mut z = sample.z.clone();
    loop {
        let last = l2 <= least;
        let enough = if rows.k <= FEW { SURE } else { ENOUGH };
        let wanted = if last { enough * gap.sqrt() } else { LOOSE * demand };
        let prices = Prices { l2, ..prices };
        let mut descent = Descent { context, rows, prices, b, wanted, weights };
        // Without kinks a step with all rows' curvature is the last.
        let before = if kinks { demand } else { f64::INFINITY };
        let (Point { z: ended, mut effect, slope, .. }, is_written) =
            descent.run(z, sample.metric(context, prices)?, before, budget)?;
        if last || budget.is_spent() {
            // What was written last may be of another point, or not what was added up.
            if !is_written || T::IS_SINGLE {
                (effect, _) = descent.effect(&ended, Written::Rounded)?;
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
    /// Σψψᵀ over the rows that move, where that was added up too.
    square: Option<Vec<f64>>,
}

impl<T: Float> Descent<'_, '_, T> {
    /// To where ‖∇φ‖ was least, and whether the weights there are written. `before` is what ‖∇φ‖ was a step
    /// ago, as far as that can be told.
    fn run(
        &mut self,
        z: Vec<Dd>,
        mut metric: Metric,
        mut before: f64,
        budget: &mut Budget,
    ) -> Result<(Point, bool)> {
        let mut written = self.expected(f64::INFINITY, before);
        let mut here = self.look(z, written, budget)?;
        let l2 = self.prices.l2;
        if let Some(square) = here.square.take() {
            metric = Metric::new(Factor::ridged(&square, self.rows.k, l2), l2);
        }
        let (mut best, mut is_written, mut since) = (here.clone(), written != Written::No, 0);
        while best.slope > self.wanted && since < PATIENCE && !budget.is_spent() {
            let direction = metric.direction(&here.gradient);
            let along_here = inner(&here.gradient, &direction);
            let mut t = 1.0;
            loop {
                let step = here.z.iter().zip(&direction);
                let there = step.map(|(&z, &d)| z + Dd::two_product(t, d)).collect();
                written = self.expected(best.slope, before);
                let mut there = self.look(there, written, budget)?;
                before = best.slope;
                let is_half = there.slope <= 0.5 * best.slope;
                since = if is_half { 0 } else { since + 1 };
                match there.square.take() {
                    Some(square) if is_half => {
                        metric = Metric::new(Factor::ridged(&square, self.rows.k, l2), l2);
                    }
                    // Next to kinks the curvature of a point can lead nowhere; what steps tell does not.
                    _ => metric.learn(
                        direction.iter().map(|d| t * d).collect(),
                        there.gradient.iter().zip(&here.gradient).map(|(there, here)| there - here).collect(),
                    ),
                }
                if there.slope < best.slope {
                    best = there.clone();
                    is_written = written != Written::No;
                } else {
                    is_written &= written == Written::No;
                }
                let along = inner(&there.gradient, &direction);
                let done = along <= FLAT * along_here.abs() || there.slope <= self.wanted;
                if done || since >= PATIENCE || budget.is_spent() {
                    here = there;
                    break;
                }
                t *= along_here / (along_here - along);
            }
        }
        Ok((best, is_written))
    }

    /// Whether to write the weights of the next point, ‖∇φ‖ having fallen from `before` to `slope`: next to
    /// short rows that takes its time, so not where another point is sure to follow.
    fn expected(&self, slope: f64, before: f64) -> Written {
        let fall = (slope / before).min(1.0);
        let is_last = self.rows.k > FEW || slope * fall * fall <= NEARLY * self.wanted;
        if is_last { Written::Yes } else { Written::No }
    }

    /// One step: a pass over all rows.
    fn look(&mut self, z: Vec<Dd>, written: Written, budget: &mut Budget) -> Result<Point> {
        let (effect, square) = self.effect(&z, written)?;
        budget.spend(self.context);
        let gradient: Vec<f64> = gradient(&effect, self.b, &z).into_iter().map(Dd::value).collect();
        let slope = inner(&gradient, &gradient).sqrt();
        Ok(Point { z, effect, gradient, slope, square })
    }

    /// Writes λ(z) of this shard's rows and adds up Ψᵀλ over all rows of all shards, of λ as `written`; where
    /// there are few criteria Σψψᵀ over the rows that move, too.
    fn effect(&mut self, z: &[Dd], written: Written) -> Result<(Vec<Dd>, Option<Vec<f64>>)> {
        let Self { context, rows, prices, .. } = *self;
        let (price, k) = (Price::new(z), rows.k);
        let (grid, octets) = (grid(rows.most(prices, z)), octets([&price.hi]));
        let quick = self.is_precise(&price);
        let fine = grid.coarse_error(rows.total) * (k as f64).sqrt() > ROUNDING * self.wanted;
        // As rounded the curvature is known to a small part of l2, which is a part of it.
        let is_known = PRODUCTS.coarse_error(rows.total) * k as f64 <= ROUNDING * prices.l2;
        let is_curved = k <= FEW && quick && !fine && is_known;
        let parts = context.map_chunks_mut(self.weights, rows.chunk(), |first, to| {
            let range = first..first + to.len();
            let panel = rows.panel(range.clone());
            if quick {
                let [lower, upper] = rows.box_of(range);
                let answers = Answers { z: &octets, prices, lower, upper, to, written };
                return if is_curved {
                    curved(panel, answers, grid)
                } else {
                    effect(panel, answers, grid, fine)
                };
            }
            let mut weights = responses(rows, prices, range, &price);
            for (slot, weight) in to.iter_mut().zip(&mut weights) {
                *slot = T::from_f64(*weight + 0.0);
                if written == Written::Rounded {
                    *weight = slot.to_f64();
                }
            }
            effect(panel, Given(&weights), grid, fine)
        })?;
        let products = if is_curved { k * (k + 1) / 2 } else { 0 };
        let sums = joined(context, k + products, parts)?;
        let effect = sums[..k].iter().map(|sum| sum.value(&grid)).collect();
        let mut products = sums[k..].iter().map(|sum| sum.value(&PRODUCTS).value());
        let square = is_curved.then(|| {
            let mut square = vec![0.0; k * k];
            for row in 0..k {
                square[row * k..=row * k + row].iter_mut().zip(&mut products).for_each(|(slot, x)| *slot = x);
            }
            square
        });
        Ok((effect, square))
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
