//! One criterion, the general way: any box, any l1 and l2.
//!
//! With y_j = |ψ_j| and a price t = |z| the weights are λ_j = ±(t·y_j − l1)₊ / 2l2, moved into the box: a
//! threshold at m = l1/t, and above it a ramp. This is a continuous quadratic knapsack with one slack
//! (Cominetti, Mascarenhas and Silva, Math. Prog. Comp. 6, 2014), and its price is the root of
//!
//! ```text
//! F(t) = slack·t + Σ_j e_jλ_j(t) − wanted,   e_j = ±ψ_j,
//! ```
//!
//! increasing and piecewise linear. slack = 1/2 is the problem itself; slack = 0 the equation
//! |Ψᵀλ − b| = max_residual. A price held in one double is not enough: weights next to the threshold
//! lose all digits. So a price is written as a threshold and a slope above it,
//!
//! ```text
//! |λ_j| = ramp·(y_j − m) + s·y_j,   ramp = l1 / (2·l2·m),   t = l1/m + 2·l2·s,
//! ```
//!
//! where y_j − m is exact next to the threshold. First Newton's method, kept in bounds by bisection of
//! the floats, finds m; then s is found on what is left. The form does not change where a price is
//! zero: l1 = 0 is ramp = 0 (ridge, m = 0); l2 = 0 is ramp = ∞, where weights above the threshold are
//! at their bounds and s shares what is left among the ties at it; l1 = l2 = 0 (minimum norm) is both.
//!
//! Where there are many rows, a `sample` of them says between which two prices the root is, one pass leaves
//! the few rows that those two do not agree about (`doubt`), and the root is found on these. What a miss
//! costs is the same search on all rows. `respond` writes the weights, and the certificate with them.

mod doubt;
mod extents;
mod line;
mod respond;
mod root;
mod rows;
mod sample;

use super::certificate::{Certificate, certify_one};
use super::problem::Problem;
use super::{Answer, Status};
use crate::error::Result;
use crate::fixed::Exact;
use crate::float::Float;
use crate::par::{CHUNK, Context};
use crate::vecmath::Dd;

use doubt::Doubt;
use extents::Extents;
use line::Line;

/// F, on the side of the prices that is needed.
struct Equation<'a, 'p, T> {
    context: &'a Context<'a>,
    problem: &'a Problem<'p, T>,
    /// sign z.
    sign: f64,
    slack: f64,
    wanted: Dd,
    passes: usize,
    /// Where some rows are all that F still asks for.
    doubt: Option<Doubt>,
    extents: Extents,
}

/// A root: the line of the weights and the price t.
type Root = (Line, Dd);

/// Solves, and writes the weights to `weights`.
pub(super) fn solve<T: Float>(
    context: &Context<'_>,
    problem: &Problem<'_, T>,
    weights: &mut [T],
) -> Result<(Answer, Certificate)> {
    let extents = Extents::of(context, problem)?;
    let resting = problem.resting_residual(context, problem.largest * extents.rest)?;
    let distance = if resting.hi < 0.0 { -resting } else { resting };
    let sign = if resting.hi > 0.0 { -1.0 } else { 1.0 };
    let wanted = Dd::new(sign) * problem.b[0];
    let mut equation =
        Equation { context, problem, sign, slack: 0.5, wanted, passes: 1, doubt: None, extents };
    // Compared as rounded, like l1_max itself; the price is kept where l1 does forbid all weights.
    let stays = 2.0 * (distance.value() * problem.largest) <= problem.l1;
    let (mut line, mut price) = if stays {
        let price = distance + distance;
        let over = (price * Dd::new(problem.largest) - Dd::new(problem.l1)).value() > 0.0;
        let cap = Dd::new((problem.l1 / problem.largest).next_down());
        (Line::resting(), if over { cap } else { price })
    } else {
        equation.root(problem.largest)?
    };

    let mut reach = None;
    if distance.value() > problem.max_residual {
        let limit = Dd::new(problem.max_residual);
        let missing = equation.wanted - equation.evaluate(&line)?.effect;
        if missing.value() > problem.max_residual {
            equation.slack = 0.0;
            equation.wanted = equation.wanted - limit;
            equation.doubt = None;
            let most = equation.evaluate(&Line::saturated())?;
            if most.unbounded || (most.effect - equation.wanted).value() >= 0.0 {
                // The price of the hard equation is above the soft one, which lies next to `line`.
                let start = if stays { problem.largest } else { line.threshold.next_up() };
                (line, price) = equation.root(start)?;
            } else {
                line = Line::saturated();
                let least = equation.least()?;
                let (most, least) = (equation.sign * most.effect.value(), equation.sign * least);
                reach = Some((most.min(least), most.max(least)));
            }
        }
    }
    let answers = reach.is_none();
    let price = Dd::new(equation.sign) * price;
    let certificate = match equation.respond(&line, price, weights)? {
        Some(certificate) if answers => certificate,
        _ => certify_one(context, problem, weights, price)?,
    };
    let status = if answers { Status::Solved } else { Status::Infeasible };
    Ok((Answer { price: vec![price], status, iterations: equation.passes, reach }, certificate))
}

impl<T: Float> Equation<'_, '_, T> {
    /// The least effect that the box allows.
    fn least(&self) -> Result<f64> {
        let (problem, sign) = (self.problem, self.sign);
        let parts = self.context.map_chunks(problem.n, CHUNK, |range| {
            let mut sum = Exact::default();
            for j in range {
                let e = sign * problem.psi(j);
                let bound = if e > 0.0 { problem.lower.at(j) } else { problem.upper.at(j) };
                // Exact sums know one infinity, and this one is negative.
                sum.add(if e == 0.0 { 0.0 } else { -e * bound });
            }
            sum
        })?;
        let mut all = [Exact::default()];
        for part in &parts {
            all[0].join(part);
        }
        Exact::over_shards(self.context.shards(), &mut all)?;
        Ok(-all[0].value().value())
    }
}
