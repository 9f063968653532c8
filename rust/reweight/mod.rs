//! Reweighting: the weights of the remaining samples that make up for the removal of the marked ones
//! (PUMA, AAAI 2022, Eq. 10).
//!
//! ψ_j ∈ ℝᵏ is the influence of sample j on k criteria, Ψ the matrix of rows ψ_j, b the effect wanted
//! (the sum of the marked samples' own influences, or a target). Solved is
//!
//! ```text
//! minimise P(λ) = ‖Ψᵀλ − b‖² + l1·‖λ‖₁ + l2·‖λ‖²   subject to   lower ≤ λ ≤ upper
//! ```
//!
//! and for k = 1 also with |Ψᵀλ − b| ≤ max_residual. The dual has only k unknowns z, whatever n is:
//!
//! ```text
//! maximise D(z) = b·z − ‖z‖²/4 − Σ_j g_j*(ψ_j·z),   g_j(x) = l1|x| + l2x² on [lower_j, upper_j]
//! ```
//!
//! and every weight follows from it, λ_j = clip(soft(ψ_j·z, l1) / 2l2, lower_j, upper_j).
//! Where k = 1 the one number z is found exactly, by `bracket` in two passes over ψ or, for the boxes and
//! prices it does not take, by `scalar`; solves that differ in l1 alone share a [`Ladder`]. Where k > 1
//! `several` finds the vector z by Newton's method. The weights are judged as returned, by a duality gap
//! that `certificate` gives any weights. The promise: P(λ) − min P ≤ gap, hence ‖λ − λ*‖₂ ≤ √(gap / l2).

mod bracket;
mod certificate;
mod gather;
mod ladder;
mod output;
mod passes;
mod price;
mod problem;
mod respond;
mod sample;
mod scalar;
mod several;
mod sift;
mod spare;
mod weigh;

use crate::error::{Error, Result};
use crate::fixed::Exact;
use crate::float::Float;
use crate::par::{CHUNK, Context};
use crate::simd::LANES;
use crate::vecmath::Dd;

use certificate::{Certificate, is_unique, unscaled_gap};
pub use ladder::Ladder;
use output::Output;
pub use output::Sparse;
use problem::{Problem, check, lanes, require_finite_everywhere};

/// One side of the box: the same number for all samples or one for each.
#[derive(Clone, Copy, Debug)]
pub enum Bound<'a, T> {
    /// The same for every weight.
    All(T),
    /// One for each weight.
    Each(&'a [T]),
}

impl<T: Float> Bound<'_, T> {
    /// The bound of weight `j`.
    #[inline(always)]
    pub(crate) fn at(&self, j: usize) -> f64 {
        match self {
            Self::All(value) => value.to_f64(),
            Self::Each(values) => values[j].to_f64(),
        }
    }

    /// The bounds of `LANES` weights, 0 from `end` on.
    #[inline(always)]
    pub(crate) fn lanes(&self, first: usize, end: usize) -> [f64; LANES] {
        match self {
            Self::All(value) => [value.to_f64(); LANES],
            Self::Each(values) => lanes(&values[first..end]),
        }
    }
}

/// What may be asked beyond the data.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a, T> {
    /// Price of ‖λ‖₁, absolute; left out: 0.05 of the price from which λ = 0.
    pub l1: Option<f64>,
    /// Price of ‖λ‖², absolute; left out: 1e-3·‖Ψ‖_F²/k.
    pub l2: Option<f64>,
    /// Smallest weights allowed.
    pub lower: Bound<'a, T>,
    /// Largest weights allowed.
    pub upper: Bound<'a, T>,
    /// Largest |Ψᵀλ − b| allowed; k = 1 only.
    pub max_residual: Option<f64>,
    /// k > 1: solved once the gap, before weights are rounded to their type, is at most `tol`·‖r‖², where r
    /// is b or, if that is longer, the residual of the weights at rest. For k = 1 the answer is exact.
    pub tol: f64,
    /// k > 1: Newton steps allowed.
    pub max_iter: usize,
    /// Where to begin: the dual point z of a solve of a similar problem, k numbers. Saves time where it
    /// is near and changes no bit of the answer for k = 1.
    pub start: Option<&'a [f64]>,
    /// k = 1: what solves that differ in l1 alone share. Saves time and changes no bit of the answer.
    pub ladder: Option<&'a Ladder>,
}

impl<T: Float> Default for Options<'_, T> {
    fn default() -> Self {
        Self {
            l1: None,
            l2: None,
            lower: Bound::All(T::from_f64(f64::NEG_INFINITY)),
            upper: Bound::All(T::from_f64(f64::INFINITY)),
            max_residual: None,
            tol: 1e-14,
            max_iter: 1000,
            start: None,
            ladder: None,
        }
    }
}

/// How a solve ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// To rounding (k = 1) or to `tol` (k > 1).
    Solved,
    /// `max_iter` steps were not enough; the best point is returned with its gap.
    MaxIter,
    /// Rounding stops progress above `tol`; the best point is returned with its gap.
    Stalled,
    /// No sample to weigh.
    Empty,
    /// Every ψ_j is zero, so no weight changes anything.
    NoEffect,
    /// No weights in the box bring the residual down to `max_residual`; the nearest are returned.
    Infeasible,
}

impl Status {
    /// The status as a word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Solved => "solved",
            Self::MaxIter => "max_iter",
            Self::Stalled => "stalled",
            Self::Empty => "empty",
            Self::NoEffect => "no_effect",
            Self::Infeasible => "infeasible",
        }
    }
}

/// The weights, as `W`, and what is known about them.
#[derive(Clone, Debug)]
pub struct Solution<W> {
    /// λ: one per row of Ψ, or the sparse rows.
    pub weights: W,
    /// What they achieve.
    pub facts: Facts,
}

/// What is known about weights.
#[derive(Clone, Debug)]
pub struct Facts {
    /// How the solve ended.
    pub status: Status,
    /// Ψᵀλ − b of the weights returned.
    pub residual: Vec<f64>,
    /// P(λ) of the weights returned.
    pub objective: f64,
    /// P(λ) − D(z) ≥ P(λ) − min P. Where l1 = l2 = 0 and a bound is infinite: against all weights of
    /// at most twice the 1-norm, for k > 1 of at most twice Σ|λ_j|·max|ψ_j|. Infinite where the status is
    /// `Infeasible`.
    pub gap: f64,
    /// The l1 used.
    pub l1: f64,
    /// The l2 used.
    pub l2: f64,
    /// ‖2Ψb‖_∞: from this l1 on λ = 0 (where the box allows 0).
    pub l1_max: f64,
    /// ‖λ‖₁.
    pub l1_norm: f64,
    /// Weights that are not zero.
    pub nonzero: usize,
    /// Passes over the data (k = 1) or Newton steps (k > 1).
    pub iterations: usize,
    /// Whether no other weights are as good; `false` where that could not be shown.
    pub unique: bool,
    /// What Ψᵀλ can be within the box, where the status is `Infeasible`.
    pub reach: Option<(f64, f64)>,
    /// The dual point z, k numbers, which `Options::start` takes.
    pub price: Vec<f64>,
}

/// What a solver says of its weights: the dual point they came from, in the units of [`Problem`].
struct Answer {
    price: Vec<Dd>,
    status: Status,
    iterations: usize,
    reach: Option<(f64, f64)>,
}

/// The sums of the k columns of row-major `rows`, over all shards, exact and then rounded to twice the
/// precision of a double: b of the marked samples.
///
/// # Errors
/// [`Error::Shape`] where `rows` is not a whole number of rows, [`Error::NotFinite`] by `name`.
pub fn column_sums<T: Float>(
    context: &Context<'_>,
    name: &'static str,
    rows: &[T],
    k: usize,
) -> Result<Vec<Dd>> {
    if k == 0 || !rows.len().is_multiple_of(k) {
        return Err(Error::shape(name, "must have as many columns as psi_up", rows.len()));
    }
    require_finite_everywhere(context, name, rows)?;
    let parts = context.map_chunks(rows.len() / k, (CHUNK / k).max(1), |range| {
        let mut sums = vec![Exact::default(); k];
        for row in rows[range.start * k..range.end * k].chunks_exact(k) {
            sums.iter_mut().zip(row).for_each(|(sum, x)| sum.add(x.to_f64()));
        }
        sums
    })?;
    let mut sums = vec![Exact::default(); k];
    for part in parts {
        sums.iter_mut().zip(&part).for_each(|(sum, more)| sum.join(more));
    }
    Exact::over_shards(context.shards(), &mut sums)?;
    Ok(sums.iter().map(Exact::value).collect())
}

/// Solves the problem of the [module](self) for `psi`, n rows of k = `b.len()` numbers.
///
/// ```
/// use puma_fast::{Context, reweight::{Options, solve}, vecmath::Dd};
/// let context = Context::new(Some(1), &|| false)?;
/// let options = Options { l1: Some(0.0), l2: Some(1.0), ..Options::default() };
/// let solution = solve(&context, &[3.0, 4.0], &[Dd::new(26.0)], &options)?;
/// assert_eq!(solution.weights, [3.0, 4.0]); // ψb / (l2 + ‖ψ‖²)
/// # Ok::<(), puma_fast::Error>(())
/// ```
///
/// On a shard of the data `psi` and the weights are the shard's own rows, everything else is of all.
///
/// # Errors
/// [`Error::Shape`], [`Error::NotFinite`] and [`Error::Parameter`] name the argument that is at fault.
pub fn solve<T: Float>(
    context: &Context<'_>,
    psi: &[T],
    b: &[Dd],
    options: &Options<'_, T>,
) -> Result<Solution<Vec<T>>> {
    let mut weights = vec![T::ZERO; psi.len() / b.len().max(1)];
    let facts = solve_to(context, psi, b, options, Output::Dense(&mut weights))?;
    Ok(Solution { weights, facts })
}

/// [`solve`], with the weights written to `weights`, one for each row.
///
/// # Errors
/// Those of [`solve`]; what was written to `weights` by then is undefined.
pub fn solve_into<T: Float>(
    context: &Context<'_>,
    psi: &[T],
    b: &[Dd],
    options: &Options<'_, T>,
    weights: &mut [T],
) -> Result<Facts> {
    if weights.len() * b.len() != psi.len() {
        return Err(Error::shape("out", "needs one weight for each row of psi_up", weights.len()));
    }
    solve_to(context, psi, b, options, Output::Dense(weights))
}

/// [`solve`], for the weights that are not zero alone.
///
/// # Errors
/// Those of [`solve`].
pub fn solve_sparse<T: Float>(
    context: &Context<'_>,
    psi: &[T],
    b: &[Dd],
    options: &Options<'_, T>,
) -> Result<Solution<Sparse<T>>> {
    let mut weights = Sparse { indices: Vec::new(), values: Vec::new() };
    let facts = solve_to(context, psi, b, options, Output::Sparse(&mut weights))?;
    Ok(Solution { weights, facts })
}

fn solve_to<T: Float>(
    context: &Context<'_>,
    psi: &[T],
    b: &[Dd],
    options: &Options<'_, T>,
    mut output: Output<'_, T>,
) -> Result<Facts> {
    check(context, psi.len(), b, options)?;
    if let [b] = b
        && let Some(facts) = bracket::solve(context, psi, *b, options, &mut output)?
    {
        return Ok(facts);
    }
    let mut all = Vec::new();
    let weights = match &mut output {
        Output::Dense(weights) => &mut **weights,
        Output::Sparse(_) => {
            all = vec![T::ZERO; psi.len() / b.len()];
            &mut all
        }
    };
    if b.len() > 1 {
        let facts = several::solve(context, psi, b, options, weights)?;
        if let Output::Sparse(_) = output {
            output.take(&all);
        }
        return Ok(facts);
    }
    let problem = Problem::new(context, psi, b, options)?;
    let (answer, certificate) = scalar::solve(context, &problem, weights)?;
    if let Output::Sparse(_) = output {
        output.take(&all);
    }
    let unique = problem.l2 > 0.0 || is_unique(context, &problem, answer.price[0])?;
    let Certificate { residual, objective, gap, l1_norm, nonzero } = certificate;
    let status = match answer.status {
        Status::Solved if problem.rows == 0 => Status::Empty,
        Status::Solved if problem.largest == 0.0 => Status::NoEffect,
        status => status,
    };
    Ok(Facts {
        residual: residual.iter().map(|r| r.value() / problem.scale).collect(),
        objective: problem.unscaled(objective),
        // Sums that overflow say nothing; no objective is negative.
        gap: if status == Status::Infeasible || gap.is_nan() {
            f64::INFINITY
        } else {
            unscaled_gap(gap.min(objective), problem.scale)
        },
        l1: options.l1.unwrap_or_else(|| problem.unscaled(problem.l1)),
        l2: options.l2.unwrap_or_else(|| problem.unscaled(problem.l2)),
        l1_max: problem.unscaled(problem.l1_max),
        l1_norm,
        nonzero,
        iterations: answer.iterations,
        unique,
        reach: answer.reach.map(|(low, high)| (low / problem.scale, high / problem.scale)),
        price: answer.price.iter().map(|z| z.value() / problem.scale).collect(),
        status,
    })
}
