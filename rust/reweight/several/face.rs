//! Few weights that move, to the last digit: the primal problem by an active-set method.
//!
//! On a face (signs and bounds fixed) the optimum solves (ΨΨᵀ + l2)λ = Ψb − l1·sign/2, a system of as
//! many equations as weights move, and good where the dual's is not, for l2 = 0 above all. Weights that
//! reach zero or a bound leave the face, the one whose sign of the slope is most wrong enters: the
//! objective falls with every face, so none comes twice (Lawson and Hanson, "Solving Least Squares
//! Problems", 1974, chapter 23; with l1, Lee et al., NeurIPS 2006).

use super::cache::Cache;
use super::cholesky::Factor;
use super::newton::{Budget, Goal};
use crate::error::Result;
use crate::par::Context;
use crate::vecmath::Dd;

/// A slope this much beyond l1, relative to the largest, is rounding.
const SLACK: f64 = 1e-14;
/// A pivot below this part of its diagonal entry: the row depends on the others.
const DEPENDENT: f64 = 1e-12;
/// What is added to a dependent system, of its longest row's square.
const RIDGE: f64 = 1e-9;
/// Weights that may move beyond 2k; with more the dual's system is the better one.
const SPARE: usize = 64;
/// Steps of iterative refinement on a face.
const REFINEMENTS: usize = 3;

/// From the weights in `cache`, and leaving better ones there: z = −2r. `None` where too
/// many weights move or the budget is spent.
pub(super) fn descend(
    context: &Context<'_>,
    cache: &mut Cache,
    goal: Goal<'_>,
    budget: &mut Budget,
) -> Result<Option<Vec<Dd>>> {
    let (l1, l2) = (goal.prices.l1, goal.prices.l2);
    let mut weights = cache.weights.clone();
    // Which way a weight that moves leaves zero.
    let mut signs: Vec<f64> = weights
        .iter()
        .zip(&cache.bounds)
        .map(|(&w, &[lower, upper])| if w != 0.0 && lower < w && w < upper { w.signum() } else { 0.0 })
        .collect();
    let mut refined = 0;
    loop {
        context.check()?;
        if budget.is_spent() {
            return Ok(None);
        }
        let price: Vec<Dd> = cache
            .effect(&weights)
            .into_iter()
            .zip(goal.target)
            .map(|(effect, &b)| Dd::new(-2.0) * (effect - b))
            .collect();
        let pulls = cache.pulls(&price);
        let slope = |i: usize, sign: f64| {
            (pulls[i] - Dd::new(l1 * sign) - Dd::two_product(2.0 * l2, weights[i])).value()
        };
        let free: Vec<usize> = (0..cache.len()).filter(|&i| signs[i] != 0.0).collect();
        if refined >= REFINEMENTS || free.is_empty() {
            let largest = pulls.iter().map(|v| v.hi.abs()).fold(l1, f64::max);
            let Some((enters, sign)) = most_wrong(cache, &weights, &signs, slope, SLACK * largest) else {
                cache.weights = weights;
                return Ok(Some(price));
            };
            signs[enters] = sign;
            refined = 0;
            budget.spend(context);
            continue;
        }
        if free.len() > 2 * cache.k + SPARE {
            return Ok(None);
        }
        // Rows that depend on one another move along what the ridge leaves free until a weight is
        // stopped, or share alike.
        let longest =
            free.iter().map(|&i| cache.row(i).iter().map(|x| x * x).sum::<f64>()).fold(0.0, f64::max);
        let Some(factor) = Factor::new(cache.products(&free, l2), free.len(), DEPENDENT)
            .or_else(|| Factor::new(cache.products(&free, l2 + RIDGE * longest), free.len(), 0.0))
        else {
            return Ok(None);
        };
        let mut step: Vec<f64> = free.iter().map(|&i| 0.5 * slope(i, signs[i])).collect();
        factor.solve(&mut step);
        let mut share = 1.0;
        let mut leaves = None;
        for (&i, &step) in free.iter().zip(&step) {
            let end = if step > 0.0 {
                if l1 > 0.0 && signs[i] < 0.0 { cache.bounds[i][1].min(0.0) } else { cache.bounds[i][1] }
            } else if l1 > 0.0 && signs[i] > 0.0 {
                cache.bounds[i][0].max(0.0)
            } else {
                cache.bounds[i][0]
            };
            if weights[i] + step != weights[i] && (weights[i] + share * step - end) * step.signum() >= 0.0 {
                share = ((end - weights[i]) / step).clamp(0.0, share);
                leaves = Some((i, end));
            }
        }
        for (&i, &step) in free.iter().zip(&step) {
            weights[i] += share * step;
        }
        refined += 1;
        if let Some((i, end)) = leaves {
            weights[i] = end;
            signs[i] = 0.0;
            refined = 0;
            budget.spend(context);
        }
    }
}

/// The fixed weight that would gain most by moving, and the sign it would have.
fn most_wrong(
    cache: &Cache,
    weights: &[f64],
    signs: &[f64],
    slope: impl Fn(usize, f64) -> f64,
    slack: f64,
) -> Option<(usize, f64)> {
    let mut worst = (slack, None);
    for i in (0..cache.len()).filter(|&i| signs[i] == 0.0) {
        let ([lower, upper], weight) = (cache.bounds[i], weights[i]);
        let up = if weight < 0.0 { -1.0 } else { 1.0 };
        let down = if weight > 0.0 { 1.0 } else { -1.0 };
        if weight < upper && slope(i, up) > worst.0 {
            worst = (slope(i, up), Some((i, up)));
        }
        if weight > lower && -slope(i, down) > worst.0 {
            worst = (-slope(i, down), Some((i, down)));
        }
    }
    worst.1
}
