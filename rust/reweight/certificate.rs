//! The duality gap of given weights λ at a given dual point z, whoever found them.
//!
//! P(λ) − D(z) = ‖r + z/2‖² + Σ_j [g_j(λ_j) + g_j*(v_j) − v_jλ_j],   r = Ψᵀλ − b,  v = Ψz
//!
//! is a sum of terms that are never negative (Fenchel–Young), each formed here without cancellation, so
//! a gap far below the rounding of P and D themselves is told as it is. Weights are judged as returned,
//! rounded to their type.
//!
//! Where l2 is zero (or too small to help) and a bound is infinite, g_j*(v_j) is infinite as soon as
//! |v_j| exceeds l1 by a rounding error. But an optimum has l1‖λ‖₁ ≤ P(λ) =: l1·B, so the problem may be
//! restricted to ‖λ‖₁ ≤ B without changing it, and those terms together become
//! Σ(g_j(λ_j) − v_jλ_j) + B·max(|v_j| − l1)₊. The smaller of both bounds is reported.

use super::problem::Problem;
use crate::error::Result;
use crate::fixed::Exact;
use crate::float::Float;
use crate::par::{CHUNK, Context};
use crate::vecmath::Dd;

/// What the weights achieve, in the units of [`Problem`] (weights have no units).
pub(super) struct Certificate {
    pub(super) residual: Vec<Dd>,
    pub(super) objective: f64,
    pub(super) gap: f64,
    pub(super) l1_norm: f64,
    pub(super) nonzero: usize,
}

/// The sums of one pass over the rows.
struct Sums {
    effect: Vec<Dd>,
    l1_norm: f64,
    squares: f64,
    nonzero: usize,
    /// Σ of the Fenchel–Young terms with l2 as it is.
    terms: f64,
    /// The same without l2 in g*, where that is finite, and Σ(g − vλ) where it is not …
    bounded_terms: f64,
    /// … with the largest |v_j| − l1 among the latter.
    excess: f64,
}

/// For one criterion, by exact sums, the same on every shard.
pub(super) fn certify_one<T: Float>(
    context: &Context<'_>,
    problem: &Problem<'_, T>,
    weights: &[T],
    price: Dd,
) -> Result<Certificate> {
    let parts = context.map_chunks(problem.n, CHUNK, |range| {
        let mut sums: [Exact; 5] = Default::default();
        let (mut nonzero, mut largest) = (0, 0.0f64);
        for j in range {
            let (weight, v) = (weights[j].to_f64(), problem.dot(j, &[price]));
            let [effect, l1_norm, squares, all, all_bounded] = &mut sums;
            if weight != 0.0 {
                effect.add_pair(Dd::two_product(problem.psi(j), weight));
                l1_norm.add(weight.abs());
                squares.add(weight * weight);
                nonzero += 1;
            }
            let term =
                Term::new(problem.l1, problem.l2, [problem.lower.at(j), problem.upper.at(j)], weight, v);
            all.add(term.exact);
            all_bounded.add(term.bounded);
            largest = largest.max(term.excess);
        }
        (sums, nonzero, largest)
    })?;
    let mut sums: [Exact; 5] = Default::default();
    let (mut nonzero, mut excess) = ([0i64], [0.0f64]);
    for (part, count, largest) in &parts {
        sums.iter_mut().zip(part).for_each(|(sum, more)| sum.join(more));
        nonzero[0] += count;
        excess[0] = excess[0].max(*largest);
    }
    Exact::over_shards(context.shards(), &mut sums)?;
    context.shards().sum(&mut nonzero)?;
    context.shards().max(&mut excess)?;
    let [effect, l1_norm, squares, terms, bounded_terms] = sums.map(|sum| sum.value());
    let total = Sums {
        effect: vec![effect],
        l1_norm: l1_norm.value(),
        squares: squares.value(),
        nonzero: nonzero[0] as usize,
        terms: terms.value(),
        bounded_terms: bounded_terms.value(),
        excess: excess[0],
    };
    Ok(total.judged(problem, &[price]))
}

/// p(r) + p*(−z) + zr of p(r) = r² on |r| ≤ limit, where |z| > 2·limit: 0 at r = −limit·sign z.
pub(super) fn binding_misfit(r: Dd, z: Dd, limit: f64) -> f64 {
    let (against, size) = if z.hi > 0.0 { (-r, z) } else { (r, -z) };
    let room = Dd::new(limit) - against;
    (room * (size - Dd::new(limit) - against)).value().abs()
}

impl Sums {
    /// The certificate that these sums over all rows make.
    fn judged<T: Float>(self, problem: &Problem<'_, T>, price: &[Dd]) -> Certificate {
        let residual: Vec<Dd> = self.effect.iter().zip(&problem.b).map(|(&effect, &b)| effect - b).collect();
        let priced = if self.l1_norm == 0.0 { 0.0 } else { problem.l1 * self.l1_norm };
        let objective =
            residual.iter().map(|r| r.value().powi(2)).sum::<f64>() + priced + problem.l2 * self.squares;
        let misfit = if price[0].value().abs() <= 2.0 * problem.max_residual {
            let half = Dd::new(0.5);
            residual.iter().zip(price).map(|(&r, &z)| (r + z * half).value().powi(2)).sum()
        } else {
            binding_misfit(residual[0], price[0], problem.max_residual)
        };
        // ‖λ*‖₁ is bounded by what either price leaves of the objective, ‖λ‖₁ ≤ √n·‖λ‖₂ for the second.
        let by_l1 = if problem.l1 > 0.0 { objective / problem.l1 } else { f64::INFINITY };
        let by_l2 = if problem.l2 > 0.0 {
            (problem.rows as f64 * objective / problem.l2).sqrt()
        } else {
            f64::INFINITY
        };
        let radius = by_l1.min(by_l2);
        let radius = if radius.is_finite() { radius } else { 2.0 * self.l1_norm };
        let bounded = if self.excess > 0.0 { radius * self.excess } else { 0.0 } + self.bounded_terms;
        Certificate {
            residual,
            objective,
            gap: misfit + self.terms.min(bounded).max(0.0),
            l1_norm: self.l1_norm,
            nonzero: self.nonzero,
        }
    }
}

/// g(λ) + g*(v) − vλ of one weight.
pub(super) struct Term {
    /// As it is.
    pub(super) exact: f64,
    /// Without l2 in g*, where that is finite, and g(λ) − vλ where it is not …
    pub(super) bounded: f64,
    /// … with |v| − l1 then.
    pub(super) excess: f64,
}

impl Term {
    #[inline(always)]
    pub(super) fn new(l1: f64, l2: f64, [lower, upper]: [f64; 2], weight: f64, v: Dd) -> Self {
        let clip = |x: f64| x.max(lower).min(upper);
        // soft(v, l1), the part of v that l1 does not take.
        let pull = (v.hi.abs() - l1) + v.lo * v.hi.signum();
        if pull <= 0.0 {
            let term = fenchel(l1, l2, weight, clip(0.0), v);
            return Self { exact: term, bounded: term, excess: 0.0 };
        }
        let ideal = (pull / (2.0 * l2)).copysign(v.hi);
        let best = clip(ideal);
        let exact = if best.is_infinite() {
            f64::INFINITY
        } else if best == ideal && weight * v.hi >= 0.0 {
            // l2·(weight − ideal)², with the rounding of both told apart.
            let size = if v.hi < 0.0 { -v } else { v };
            let off = Dd::two_product(2.0 * l2, weight.abs()) - (size - Dd::new(l1));
            off.value() * (off.value() / (4.0 * l2))
        } else {
            fenchel(l1, l2, weight, best, v)
        };
        let free_of_l2 = clip(f64::INFINITY.copysign(v.hi));
        let quadratic = l2 * weight * weight;
        if free_of_l2.is_finite() {
            return Self { exact, bounded: quadratic + fenchel(l1, 0.0, weight, free_of_l2, v), excess: 0.0 };
        }
        let slope = (v.hi - l1.copysign(weight)) + v.lo;
        let linear = if weight == 0.0 { 0.0 } else { -slope * weight };
        Self { exact, bounded: quadratic + linear, excess: pull }
    }
}

/// g(weight) − g(best) − v·(weight − best), where `best` maximises v·λ − g(λ) in the box.
#[inline(always)]
fn fenchel(l1: f64, l2: f64, weight: f64, best: f64, v: Dd) -> f64 {
    let step = weight - best;
    if step == 0.0 {
        return 0.0;
    }
    let term = if weight * best >= 0.0 {
        let sign = if best == 0.0 { weight } else { best };
        let slope = (v.hi - l1.copysign(sign)) + v.lo;
        step * (l2 * step + (2.0 * l2 * best - slope))
    } else {
        l1 * (weight.abs() - best.abs()) + step * (l2 * (weight + best) - v.value())
    };
    term.max(0.0)
}

/// Whether one criterion's optimum is unique although l2 = 0: at most one weight is left undecided by
/// v = ψz, and that row has an effect.
pub(super) fn is_unique<T: Float>(
    context: &Context<'_>,
    problem: &Problem<'_, T>,
    price: Dd,
) -> Result<bool> {
    let parts = context.map_chunks(problem.n, CHUNK, |range| {
        let undecided = |&j: &usize| {
            let v = problem.dot(j, &[price]);
            let distance = (v.hi.abs() - problem.l1) + v.lo * v.hi.signum();
            // z is known to twice the precision of a double.
            problem.lower.at(j) < problem.upper.at(j) && distance.abs() <= 1e-25 * problem.l1
        };
        range.filter(undecided).take(2).collect::<Vec<_>>()
    })?;
    // A row without effect is one too many: its weight is undecided whatever the others are.
    let count = |j: usize| if problem.psi(j) == 0.0 { 2 } else { 1 };
    let mut undecided = [parts.into_iter().flatten().map(count).sum::<i64>()];
    context.shards().sum(&mut undecided)?;
    Ok(undecided[0] <= 1)
}
