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

use std::ops::Range;

use super::problem::{Problem, lanes};
use crate::error::Result;
use crate::fixed::{Counts, Fixed, Grid, Steps, exponent, power_of_two};
use crate::float::Float;
use crate::par::{CHUNK, Context};
use crate::simd::{LANES, dispatch};
use crate::vecmath::Dd;

/// What the weights achieve, in the units of [`Problem`] (weights have no units).
pub(super) struct Certificate {
    pub(super) residual: Vec<Dd>,
    pub(super) objective: f64,
    pub(super) gap: f64,
    pub(super) l1_norm: f64,
    pub(super) nonzero: usize,
}

/// The sums over all rows.
pub(super) struct Sums {
    pub(super) effect: Dd,
    pub(super) l1_norm: f64,
    pub(super) squares: f64,
    pub(super) nonzero: usize,
    /// Σ of the Fenchel–Young terms with l2 as it is.
    pub(super) terms: f64,
    /// The same without l2 in g*, where that is finite, and Σ(g − vλ) where it is not …
    pub(super) bounded_terms: f64,
    /// … with the largest |v_j| − l1 among the latter.
    pub(super) excess: f64,
}

/// Every sum is of terms that were scaled to be below 2, squares of such among them.
const SCALED: Grid = Grid::below(2);

/// What some neighbouring rows add to the sums; rows past the end add nothing.
struct Block<const BOUNDED: bool> {
    weight: [f64; LANES],
    /// ψλ, rounded, and the rest.
    effect: [[f64; LANES]; 2],
    exact: [f64; LANES],
    /// These two only where `BOUNDED`, which costs as much as all the rest.
    bounded: [f64; LANES],
    excess: [f64; LANES],
}

impl<const BOUNDED: bool> Block<BOUNDED> {
    #[inline(always)]
    fn at<T: Float>(problem: &Problem<'_, T>, weights: &[T], price: Dd, first: usize, end: usize) -> Self {
        let ([psi, lower, upper], weight) = (problem.row_lanes(first, end), lanes(&weights[first..end]));
        let none = [0.0; LANES];
        let mut block = Self { weight, effect: [none; 2], exact: none, bounded: none, excess: none };
        for i in 0..LANES {
            let effect = Dd::two_product(psi[i], weight[i]);
            let product = Dd::two_product(psi[i], price.hi);
            let v = Dd::two_sum(product.hi, product.lo + psi[i] * price.lo);
            let term = Term::new(problem.l1, problem.l2, [lower[i], upper[i]], weight[i], v);
            block.effect[0][i] = effect.hi;
            block.effect[1][i] = effect.lo;
            block.exact[i] = term.exact;
            if BOUNDED {
                block.bounded[i] = term.bounded;
                block.excess[i] = term.excess;
            }
        }
        if end - first < LANES {
            // The box is the same past the end, and may have no place for 0.
            for terms in [&mut block.exact, &mut block.bounded, &mut block.excess] {
                terms[end - first..].fill(0.0);
            }
        }
        block
    }
}

/// The largest |λ|, |ψλ|, terms of both kinds and excess of a range.
#[inline(always)]
fn largest<T: Float, const BOUNDED: bool>(
    problem: &Problem<'_, T>,
    weights: &[T],
    price: Dd,
    range: Range<usize>,
) -> [f64; 5] {
    let mut most = [[0.0f64; LANES]; 5];
    for first in range.clone().step_by(LANES) {
        let block = Block::<BOUNDED>::at(problem, weights, price, first, range.end);
        let found = [&block.weight, &block.effect[0], &block.exact, &block.bounded, &block.excess];
        for (most, found) in most.iter_mut().zip(found) {
            for i in 0..LANES {
                most[i] = if found[i].abs() > most[i] { found[i].abs() } else { most[i] };
            }
        }
    }
    most.map(|most| most.into_iter().fold(0.0, f64::max))
}

/// The sums of λψ, |λ|, λ² and both kinds of terms of a range, each times its power of two, and the
/// number of weights that are not zero.
#[inline(always)]
fn counted<T: Float, const BOUNDED: bool>(
    problem: &Problem<'_, T>,
    weights: &[T],
    price: Dd,
    [weight, effect, exact, bounded]: [f64; 4],
    range: Range<usize>,
) -> ([Steps; 5], i64) {
    let mut sums = [Counts::new(SCALED); 5];
    let mut nonzero = [0i64; LANES];
    for first in range.clone().step_by(LANES) {
        let block = Block::<BOUNDED>::at(problem, weights, price, first, range.end);
        for i in 0..LANES {
            sums[0].add(i, Dd { hi: block.effect[0][i] * effect, lo: block.effect[1][i] * effect });
            let size = block.weight[i].abs() * weight;
            sums[1].add(i, Dd::new(size));
            sums[2].add(i, Dd::two_product(size, size));
            sums[3].add(i, Dd::new(block.exact[i] * exact));
            if BOUNDED {
                sums[4].add(i, Dd::new(block.bounded[i] * bounded));
            }
        }
        for (nonzero, weight) in nonzero.iter_mut().zip(block.weight) {
            *nonzero += i64::from(weight != 0.0);
        }
    }
    (sums.map(|sum| sum.steps()), nonzero.iter().sum())
}

/// Share of the objective below which the gap needs no second opinion.
const CERTAIN: f64 = 1e-20;

/// For one criterion: the smaller of both bounds, the second only where the first leaves something.
pub(super) fn certify_one<T: Float>(
    context: &Context<'_>,
    problem: &Problem<'_, T>,
    weights: &[T],
    price: Dd,
) -> Result<Certificate> {
    if problem.l2 > 0.0 {
        let certificate = certify::<T, false>(context, problem, weights, price)?;
        if certificate.gap <= CERTAIN * certificate.objective {
            return Ok(certificate);
        }
    }
    certify::<T, true>(context, problem, weights, price)
}

/// The same on every shard, to some 98 bits below the largest term of each sum, which a first pass finds.
fn certify<T: Float, const BOUNDED: bool>(
    context: &Context<'_>,
    problem: &Problem<'_, T>,
    weights: &[T],
    price: Dd,
) -> Result<Certificate> {
    let parts = context.map_chunks(problem.n, CHUNK, |range| {
        dispatch(
            #[inline(always)]
            || largest::<T, BOUNDED>(problem, weights, price, range),
        )
    })?;
    let mut most = [0.0f64; 5];
    for part in &parts {
        most.iter_mut().zip(part).for_each(|(most, &found)| *most = most.max(found));
    }
    context.shards().max(&mut most)?;
    let [weight, effect, exact, bounded, excess] = most;
    let most = [weight, effect, exact, bounded];
    let scales = most.map(|most| power_of_two(-exponent(most)));

    let parts = context.map_chunks(problem.n, CHUNK, |range| {
        dispatch(
            #[inline(always)]
            || counted::<T, BOUNDED>(problem, weights, price, scales, range),
        )
    })?;
    let (mut sums, mut nonzero) = ([Fixed::default(); 5], [0i64]);
    for (part, count) in parts {
        sums.iter_mut().zip(part).for_each(|(sum, steps)| *sum += steps);
        nonzero[0] += count;
    }
    Fixed::over_shards(context.shards(), &mut sums)?;
    context.shards().sum(&mut nonzero)?;
    // A sum with a term that is not finite has counted nonsense.
    let value = |sum: Fixed, most: f64, scale: f64| {
        let sum = sum.value(&SCALED);
        if most == f64::INFINITY { Dd::new(most) } else { Dd { hi: sum.hi / scale, lo: sum.lo / scale } }
    };
    let total = Sums {
        effect: value(sums[0], effect, scales[1]),
        l1_norm: value(sums[1], weight, scales[0]).value(),
        squares: value(sums[2], weight, scales[0]).value() / scales[0],
        nonzero: nonzero[0] as usize,
        terms: value(sums[3], exact, scales[2]).value(),
        bounded_terms: if BOUNDED { value(sums[4], bounded, scales[3]).value() } else { f64::INFINITY },
        excess,
    };
    Ok(total.judged(problem, price))
}

/// p(r) + p*(−z) + zr of p(r) = r² on |r| ≤ limit, where |z| > 2·limit: 0 at r = −limit·sign z.
pub(super) fn binding_misfit(r: Dd, z: Dd, limit: f64) -> f64 {
    let (against, size) = if z.hi > 0.0 { (-r, z) } else { (r, -z) };
    let room = Dd::new(limit) - against;
    (room * (size - Dd::new(limit) - against)).value().abs()
}

/// A gap in the caller's units, where a bound that is not 0 does not underflow to 0.
pub(super) fn unscaled_gap(gap: f64, scale: f64) -> f64 {
    let unscaled = gap / scale / scale;
    if gap > 0.0 && unscaled < f64::MIN_POSITIVE { unscaled.next_up() } else { unscaled }
}

impl Sums {
    /// The certificate that these sums over all rows make.
    pub(super) fn judged<T: Float>(self, problem: &Problem<'_, T>, price: Dd) -> Certificate {
        let residual = self.effect - problem.b[0];
        let priced = if self.l1_norm == 0.0 { 0.0 } else { problem.l1 * self.l1_norm };
        let objective = residual.value().powi(2) + priced + problem.l2 * self.squares;
        let misfit = if price.value().abs() <= 2.0 * problem.max_residual {
            (residual + price * Dd::new(0.5)).value().powi(2)
        } else {
            binding_misfit(residual, price, problem.max_residual)
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
            residual: vec![residual],
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
    // Lazy operators would be branches in a loop that has none.
    #[allow(clippy::needless_bitwise_bool)]
    pub(super) fn new(l1: f64, l2: f64, [lower, upper]: [f64; 2], weight: f64, v: Dd) -> Self {
        // Every case is worked out and the right one selected, so that the loop around it is vectorised.
        let clip = |x: f64| x.max(lower).min(upper);
        let sign = 1f64.copysign(v.hi);
        // soft(v, l1), the part of v that l1 does not take.
        let pull = (v.hi.abs() - l1) + v.lo * sign;
        let rests = pull <= 0.0;
        let ideal = (pull * (0.5 / l2)).copysign(v.hi);
        let best = clip(if rests { 0.0 } else { ideal });
        let apart = fenchel(l1, l2, weight, best, v);
        // l2·(weight − ideal)², with the rounding of both told apart.
        let size = Dd { hi: v.hi * sign, lo: v.lo * sign };
        let off = (Dd::two_product(2.0 * l2, weight.abs()) - (size - Dd::new(l1))).value();
        let rounding = off * (off * (0.25 / l2));
        let answers = !rests & (best == ideal) & (weight * v.hi >= 0.0);
        let exact = if answers { rounding } else { apart };
        let exact = if best.abs() == f64::INFINITY { f64::INFINITY } else { exact };

        let free_of_l2 = clip(f64::INFINITY.copysign(v.hi));
        let is_open = free_of_l2.abs() == f64::INFINITY;
        let quadratic = l2 * weight * weight;
        let slope = (v.hi - l1.copysign(weight)) + v.lo;
        let linear = if weight == 0.0 { 0.0 } else { -slope * weight };
        let closed = fenchel(l1, 0.0, weight, free_of_l2, v);
        let bounded = quadratic + if is_open { linear } else { closed };
        Self {
            exact,
            bounded: if rests { apart } else { bounded },
            excess: if is_open & !rests { pull } else { 0.0 },
        }
    }
}

/// g(weight) − g(best) − v·(weight − best), where `best` maximises v·λ − g(λ) in the box.
#[inline(always)]
fn fenchel(l1: f64, l2: f64, weight: f64, best: f64, v: Dd) -> f64 {
    let step = weight - best;
    let sign = if best == 0.0 { weight } else { best };
    let slope = (v.hi - l1.copysign(sign)) + v.lo;
    let agree = step * (l2 * step + (2.0 * l2 * best - slope));
    let opposed = l1 * (weight.abs() - best.abs()) + step * (l2 * (weight + best) - v.value());
    let term = if weight * best >= 0.0 { agree } else { opposed };
    if step == 0.0 { 0.0 } else { term.max(0.0) }
}

/// Whether one criterion's optimum is unique although l2 = 0: at most one weight is left undecided by
/// v = ψz, and that row has an effect.
pub(super) fn is_unique<T: Float>(
    context: &Context<'_>,
    problem: &Problem<'_, T>,
    price: Dd,
) -> Result<bool> {
    let l1 = problem.l1;
    let undecided = |j: usize| {
        let v = problem.dot(j, price);
        let distance = (v.hi.abs() - l1) + v.lo * v.hi.signum();
        // z is known to twice the precision of a double.
        problem.lower.at(j) < problem.upper.at(j) && distance.abs() <= 1e-25 * l1
    };
    let parts = context.map_chunks(problem.n, CHUNK, |range| {
        // Few are near enough to be looked at in twice the precision, and in most chunks none is.
        let is_near = |psi: f64| ((psi * price.hi).abs() - l1).abs() <= 1e-12 * l1;
        let any = dispatch(
            #[inline(always)]
            || {
                let mut any = false;
                for first in range.clone().step_by(LANES) {
                    for psi in problem.psi_lanes(first, range.end) {
                        any |= is_near(psi);
                    }
                }
                any
            },
        );
        let range = if any { range } else { 0..0 };
        range.filter(|&j| is_near(problem.psi(j)) && undecided(j)).take(2).collect::<Vec<_>>()
    })?;
    // A row without effect is one too many: its weight is undecided whatever the others are.
    let count = |j: usize| if problem.psi(j) == 0.0 { 2 } else { 1 };
    let mut undecided = [parts.into_iter().flatten().map(count).sum::<i64>()];
    context.shards().sum(&mut undecided)?;
    Ok(undecided[0] <= 1)
}
