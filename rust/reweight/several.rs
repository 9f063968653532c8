//! Several criteria: Newton's method on the k-dimensional dual.
//!
//! Each proximal step i with centre c and weight ρ (Li, Sun and Toh, SIAM J. Optim. 28(1), 2018)
//!
//! ```text
//! minimise over λ in the box   P(λ) + ρ‖λ − c‖²
//! ```
//!
//! has the dual φ(z) = ‖z‖²/4 + Σ_j h_j*(ψ_j·z) − b·z, h_j = g_j + ρ(· − c_j)², with
//! λ_j(z) = clip(soft(ψ_j·z + 2ρc_j, l1) / 2(l2 + ρ)) and
//!
//! ```text
//! ∇φ = z/2 + Ψᵀλ(z) − b,   ∇²φ = I/2 + Σ_{free} ψ_jψ_jᵀ / 2(l2 + ρ).
//! ```
//!
//! φ is piecewise quadratic, so Newton's method with a line search ends after finitely many steps. Where
//! l2 is large enough by itself one step with ρ = 0 is the whole solve. Otherwise ρ starts large and
//! falls, each step started where the last one ended; with l1 = l2 = 0 and no box the centres stay in
//! the range of Ψ, so the limit is the solution of minimum norm.

use super::certificate::{Certificate, certify};
use super::problem::Problem;
use super::{Answer, Status, cholesky};
use crate::error::Result;
use crate::float::Float;
use crate::par::{CHUNK, Context};
use crate::simd::dispatch;
use crate::vecmath::Dd;

/// With l2 below this part of ‖Ψ‖_F²/k Newton's method alone would creep along the kinks of the dual;
/// there proximal steps take over, beginning with ρ at this part of it.
const EASY: f64 = 1e-3;
/// ρ falls by this factor from one proximal step to the next …
const FALL: f64 = 0.1;
/// … down to this part of ‖Ψ‖_F²/k; below it rounding of the weights outweighs the gain.
const LEAST: f64 = 1e-9;
/// Proximal steps without a smaller gap after which rounding is taken to be the reason.
const PATIENCE: usize = 4;
/// ‖∇φ‖ relative to ‖b‖ below which nothing but rounding is seen.
const FLOOR: f64 = 1e-15;
/// Halvings of a Newton step after which it is given up.
const HALVINGS: usize = 40;

/// One proximal step.
struct Step<'a, 'p, T> {
    problem: &'a Problem<'p, T>,
    rho: f64,
    centre: &'a [f64],
}

/// φ and its derivatives at a dual point.
struct Point {
    price: Vec<Dd>,
    value: Dd,
    gradient: Vec<Dd>,
    /// Σ_{free} ψψᵀ.
    curvature: Vec<f64>,
}

impl Point {
    fn gradient_norm(&self) -> f64 {
        self.gradient.iter().map(|g| g.value().powi(2)).sum::<f64>().sqrt()
    }
}

pub(super) fn solve<T: Float>(
    context: &Context<'_>,
    problem: &Problem<'_, T>,
    tol: f64,
    max_iter: usize,
) -> Result<Answer<T>> {
    if let Some(answer) = at_rest(context, problem)? {
        return Ok(answer);
    }
    let demand: f64 = problem.b.iter().map(|b| b.value().powi(2)).sum();
    let typical = problem.squares / problem.k as f64;
    let easy = problem.l2 >= EASY * typical;
    let mut rho = if easy { 0.0 } else { EASY * typical };
    let mut weights: Vec<f64> = (0..problem.n).map(|j| problem.resting(j)).collect();
    let mut centre = weights.clone();
    let mut price = vec![Dd::default(); problem.k];
    let (mut iterations, mut since) = (0, 0);
    let mut best: Option<(f64, Vec<f64>, Vec<Dd>)> = None;
    let status = loop {
        let step = Step { problem, rho, centre: &centre };
        // With ρ = 0 the gap is ‖∇φ‖²; with ρ > 0 it falls only in proportion to ‖∇φ‖.
        let goal = 0.1 * if easy { tol.sqrt() } else { tol.max(FLOOR) } * demand.sqrt();
        price = step.newton(context, price, &mut weights, goal, max_iter, &mut iterations)?;

        let Certificate { residual, gap, .. } = certify(context, problem, &weights, &price)?;
        let minus_two = Dd::new(-2.0);
        let from_residual: Vec<Dd> = residual.iter().map(|&r| minus_two * r).collect();
        let other = certify(context, problem, &weights, &from_residual)?.gap;
        let (gap, judge) = if other < gap { (other, from_residual) } else { (gap, price.clone()) };
        since += 1;
        if best.as_ref().is_none_or(|(least, ..)| gap < *least) {
            best = Some((gap, weights.clone(), judge));
            since = 0;
        }
        if gap <= tol * demand {
            break Status::Solved;
        }
        if iterations >= max_iter {
            break Status::MaxIter;
        }
        if since >= PATIENCE || easy {
            break Status::Stalled;
        }
        rho = (rho * FALL).max(LEAST * typical);
        std::mem::swap(&mut centre, &mut weights);
    };
    let (_, weights, price) = best.unwrap_or((f64::INFINITY, weights, price));
    let weights = weights.into_iter().map(|w| T::from_f64(w + 0.0)).collect();
    Ok(Answer { weights, price, status, iterations, reach: None })
}

/// The answer where l1 forbids every weight to move.
fn at_rest<T: Float>(context: &Context<'_>, problem: &Problem<'_, T>) -> Result<Option<Answer<T>>> {
    let half = problem.resting_residual(context)?;
    let mut price: Vec<Dd> = half.iter().map(|&r| Dd::new(-2.0) * r).collect();
    // Formed and rounded as l1_max is, so that l1 = l1_max gives zero.
    let most = 2.0 * problem.steepest(context, &half)?;
    if most > problem.l1 {
        return Ok(None);
    }
    // A hair less, so that no rounding lifts |ψ_j·z| above l1.
    if most > problem.l1 * (1.0 - 1e-15) {
        price = price.into_iter().map(|z| z * Dd::new(1.0 - 1e-15)).collect();
    }
    let weights = (0..problem.n).map(|j| T::from_f64(problem.resting(j))).collect();
    Ok(Some(Answer { weights, price, status: Status::Solved, iterations: 0, reach: None }))
}

impl<T: Float> Step<'_, '_, T> {
    /// Minimises φ from `price` until ‖∇φ‖ ≤ `goal`, no step lowers φ, or `iterations` is at its limit.
    /// Leaves λ(z) in `weights`.
    fn newton(
        &self,
        context: &Context<'_>,
        price: Vec<Dd>,
        weights: &mut [f64],
        goal: f64,
        max_iter: usize,
        iterations: &mut usize,
    ) -> Result<Vec<Dd>> {
        let mut here = self.evaluate(context, price, weights)?;
        while here.gradient_norm() > goal && *iterations < max_iter {
            *iterations += 1;
            let direction = self.direction(&here);
            let descent: f64 = here.gradient.iter().zip(&direction).map(|(g, d)| g.value() * d).sum();
            let noise = 1e-15 * here.value.value().abs();
            let mut length = 1.0;
            let mut accepted = None;
            for _ in 0..HALVINGS {
                let moved: Vec<Dd> =
                    here.price.iter().zip(&direction).map(|(&z, d)| z + Dd::new(length * d)).collect();
                let next = self.evaluate(context, moved, weights)?;
                let change = (next.value - here.value).value();
                if change <= 1e-4 * length * descent
                    || (change.abs() <= noise && next.gradient_norm() < here.gradient_norm())
                {
                    accepted = Some(next);
                    break;
                }
                if length * descent.abs() <= noise {
                    break;
                }
                length *= 0.5;
            }
            let Some(next) = accepted else {
                self.evaluate(context, here.price.clone(), weights)?;
                break;
            };
            here = next;
        }
        Ok(here.price)
    }

    /// −(∇²φ)⁻¹∇φ.
    fn direction(&self, point: &Point) -> Vec<f64> {
        let k = self.problem.k;
        let l2 = self.problem.l2 + self.rho;
        let trace: f64 = (0..k).map(|c| point.curvature[c * k + c]).sum();
        // The system is multiplied by 2·l2. Where the rounding of the sums outweighs that diagonal, it
        // is raised until the factorisation goes through; the line search judges the direction.
        let mut ridge = l2;
        loop {
            let mut matrix = point.curvature.clone();
            (0..k).for_each(|c| matrix[c * k + c] += ridge);
            let mut direction: Vec<f64> = point.gradient.iter().map(|g| -2.0 * l2 * g.value()).collect();
            if cholesky::solve(&mut matrix, &mut direction).is_some() {
                return direction;
            }
            ridge = (ridge * 10.0).max(f64::EPSILON * trace);
        }
    }

    fn evaluate(&self, context: &Context<'_>, price: Vec<Dd>, weights: &mut [f64]) -> Result<Point> {
        let (problem, k) = (self.problem, self.problem.k);
        // At least so many rows that the k×k sums of a chunk cost less than its rows, and never so many
        // chunks that their sums outgrow the data.
        let chunk = (CHUNK / k).max(4 * k).max(problem.n.div_ceil(64));
        let parts = context.map_chunks_mut(weights, chunk, |first, slots| {
            dispatch(
                #[inline(always)]
                || {
                    let mut value = Dd::default();
                    let mut effect = vec![Dd::default(); k];
                    let mut curvature = vec![0.0; k * k];
                    let mut row = vec![0.0; k];
                    for (j, slot) in (first..).zip(slots) {
                        let (weight, conjugate, free) = self.respond(j, problem.dot(j, &price));
                        *slot = weight;
                        value = value + conjugate;
                        if weight == 0.0 && !free {
                            continue;
                        }
                        row.iter_mut().zip(problem.row(j)).for_each(|(slot, x)| *slot = x);
                        for (sum, &x) in effect.iter_mut().zip(&row) {
                            let product = Dd::two_product(x, weight);
                            let total = Dd::two_sum(sum.hi, product.hi);
                            *sum = Dd { hi: total.hi, lo: sum.lo + (total.lo + product.lo) };
                        }
                        if free {
                            for (c, &x) in row.iter().enumerate() {
                                let target = &mut curvature[c * k..=c * k + c];
                                target.iter_mut().zip(&row).for_each(|(slot, y)| *slot += x * y);
                            }
                        }
                    }
                    (value, effect, curvature)
                },
            )
        })?;
        let mut value = Dd::default();
        let mut gradient: Vec<Dd> = problem.b.iter().map(|&b| -b).collect();
        let mut curvature = vec![0.0; k * k];
        for (part, effect, square) in parts {
            value = value + part;
            gradient.iter_mut().zip(effect).for_each(|(sum, x)| *sum = *sum + x);
            curvature.iter_mut().zip(square).for_each(|(sum, x)| *sum += x);
        }
        for ((&z, &b), slope) in price.iter().zip(&problem.b).zip(&mut gradient) {
            value = value + z * (z * Dd::new(0.25) - b);
            *slope = *slope + z * Dd::new(0.5);
        }
        Ok(Point { price, value, gradient, curvature })
    }

    /// λ_j, h_j*(v), and whether λ_j moves with v.
    #[inline(always)]
    fn respond(&self, j: usize, v: Dd) -> (f64, Dd, bool) {
        let (l1, l2) = (self.problem.l1, self.problem.l2 + self.rho);
        let shift = 2.0 * self.rho * self.centre[j];
        let pull = Dd::two_sum(v.hi, shift);
        let size = (pull.hi.abs() - l1) + (pull.lo + v.lo) * pull.hi.signum();
        let wanted = if size > 0.0 { (size / (2.0 * l2)).copysign(pull.hi) } else { 0.0 };
        let weight = self.problem.clip(j, wanted);
        // The terms of ρc² are the same at every z and left out.
        let linear = v + Dd::new(shift) - Dd::new(l1.copysign(weight));
        let conjugate = if weight == 0.0 {
            Dd::default()
        } else {
            Dd::new(weight) * (linear - Dd::two_product(l2, weight))
        };
        (weight, conjugate, size > 0.0 && weight == wanted)
    }
}
