//! The checked problem: everything the solvers read has passed through [`Problem::new`], once.

use super::{Bound, Options};
use crate::error::{Error, Result};
use crate::float::Float;
use crate::par::{CHUNK, Context};
use crate::simd::{LANES, dispatch};
use crate::vecmath::{Dd, require_finite};

/// The problem in units in which the largest |ψ| is between 1 and 2.
///
/// (Ψ, b, l1, l2) → (cΨ, cb, c²l1, c²l2) leaves λ as it is. With c a power of two the change is exact,
/// squares neither overflow nor vanish, and scaled data give the same bits.
pub(super) struct Problem<'a, T> {
    psi: &'a [T],
    pub(super) n: usize,
    pub(super) k: usize,
    /// The effect wanted.
    pub(super) b: Vec<Dd>,
    pub(super) l1: f64,
    pub(super) l2: f64,
    pub(super) max_residual: f64,
    pub(super) lower: Bound<'a, T>,
    pub(super) upper: Bound<'a, T>,
    /// c.
    pub(super) scale: f64,
    /// Largest |ψ|.
    pub(super) largest: f64,
    /// ‖Ψ‖_F².
    pub(super) squares: f64,
    /// ‖2Ψb‖_∞.
    pub(super) l1_max: f64,
}

impl<'a, T: Float> Problem<'a, T> {
    pub(super) fn new(
        context: &Context<'_>,
        psi: &'a [T],
        b: &[Dd],
        options: &Options<'a, T>,
    ) -> Result<Self> {
        let k = b.len();
        if k == 0 || !psi.len().is_multiple_of(k) {
            return Err(Error::shape(
                "target",
                "needs one value for each column of psi_up, at least one",
                format!("{k} values for {} numbers in psi_up", psi.len()),
            ));
        }
        let n = psi.len() / k;
        if let Some(index) = b.iter().position(|x| !x.value().is_finite()) {
            return Err(Error::NotFinite { name: "target", index, value: b[index].value() });
        }
        check_prices(options, k)?;
        require_finite(context, "psi_up", psi)?;
        check_box(context, n, options)?;

        let largest = maximum(
            context,
            psi.len(),
            #[inline(always)]
            |i| psi[i].to_f64().abs(),
        )?;
        let scale = scale(largest, b);
        let mut problem = Self {
            psi,
            n,
            k,
            b: b.iter().map(|x| Dd { hi: x.hi * scale, lo: x.lo * scale }).collect(),
            l1: 0.0,
            l2: 0.0,
            max_residual: options.max_residual.map_or(f64::INFINITY, |limit| limit * scale),
            lower: options.lower,
            upper: options.upper,
            scale,
            largest: largest * scale,
            squares: 0.0,
            l1_max: 0.0,
        };
        let parts = context.map_chunks(psi.len(), CHUNK, |range| {
            psi[range].iter().map(|x| (x.to_f64() * scale).powi(2)).sum::<f64>()
        })?;
        problem.squares = parts.into_iter().sum();
        // One criterion's steepest sample is its largest.
        let steepest = if k == 1 {
            (problem.b[0] * Dd::new(problem.largest)).value().abs()
        } else {
            problem.steepest(context, &problem.b)?
        };
        problem.l1_max = 2.0 * steepest;
        problem.l1 = options.l1.map_or(0.05 * problem.l1_max, |l1| l1 * scale * scale);
        problem.l2 = options.l2.map_or(1e-3 * problem.squares / k as f64, |l2| l2 * scale * scale);
        Ok(problem)
    }

    /// ψ_j of a problem with one criterion.
    #[inline(always)]
    pub(super) fn psi(&self, j: usize) -> f64 {
        self.psi[j].to_f64() * self.scale
    }

    /// ψ of `LANES` samples of a problem with one criterion, 0 from `end` on.
    #[inline(always)]
    pub(super) fn psi_lanes(&self, first: usize, end: usize) -> [f64; LANES] {
        lanes(&self.psi[first..end]).map(|x| x * self.scale)
    }

    /// The row ψ_j.
    #[inline(always)]
    pub(super) fn row(&self, j: usize) -> impl ExactSizeIterator<Item = f64> + '_ {
        self.psi[j * self.k..(j + 1) * self.k].iter().map(|x| x.to_f64() * self.scale)
    }

    /// ψ_j·z, as if in twice the precision.
    #[inline(always)]
    pub(super) fn dot(&self, j: usize, z: &[Dd]) -> Dd {
        let mut sum = Dd::default();
        for (x, z) in self.row(j).zip(z) {
            let product = Dd::two_product(x, z.hi);
            let total = Dd::two_sum(sum.hi, product.hi);
            sum = Dd { hi: total.hi, lo: sum.lo + (total.lo + product.lo + x * z.lo) };
        }
        Dd::two_sum(sum.hi, sum.lo)
    }

    /// ‖Ψz‖_∞.
    pub(super) fn steepest(&self, context: &Context<'_>, z: &[Dd]) -> Result<f64> {
        maximum(
            context,
            self.n,
            #[inline(always)]
            |j| self.dot(j, z).value().abs(),
        )
    }

    /// The weight nearest to zero that the box allows.
    #[inline(always)]
    pub(super) fn resting(&self, j: usize) -> f64 {
        self.clip(j, 0.0)
    }

    /// `weight` moved into the box.
    #[inline(always)]
    pub(super) fn clip(&self, j: usize, weight: f64) -> f64 {
        weight.max(self.lower.at(j)).min(self.upper.at(j))
    }

    /// A value in units of the objective, in the caller's units.
    pub(super) fn unscaled(&self, value: f64) -> f64 {
        value / self.scale / self.scale
    }

    /// The residual of the resting weights, −b where the box allows zero.
    pub(super) fn resting_residual(&self, context: &Context<'_>) -> Result<Vec<Dd>> {
        // One box for all weights, with zero in it, leaves nothing to add up.
        let zero = matches!((self.lower, self.upper), (Bound::All(_), Bound::All(_)))
            && (self.n == 0 || self.resting(0) == 0.0);
        let parts = context.map_chunks(if zero { 0 } else { self.n }, (CHUNK / self.k).max(1), |range| {
            let mut sums = vec![Dd::default(); self.k];
            for j in range {
                let weight = self.resting(j);
                if weight != 0.0 {
                    for (sum, x) in sums.iter_mut().zip(self.row(j)) {
                        *sum = *sum + Dd::two_product(x, weight);
                    }
                }
            }
            sums
        })?;
        Ok((0..self.k).map(|c| parts.iter().map(|part| part[c]).sum::<Dd>() - self.b[c]).collect())
    }
}

/// The first `LANES` of `values`, filled up with zeros.
#[inline(always)]
pub(super) fn lanes<T: Float>(values: &[T]) -> [f64; LANES] {
    let mut lanes = [0.0; LANES];
    if let Some(full) = values.first_chunk::<LANES>() {
        lanes = full.map(T::to_f64);
    } else {
        lanes.iter_mut().zip(values).for_each(|(lane, x)| *lane = x.to_f64());
    }
    lanes
}

/// The largest of `value(0..len)`, 0 where there is none.
fn maximum(context: &Context<'_>, len: usize, value: impl Fn(usize) -> f64 + Sync) -> Result<f64> {
    let parts = context.map_chunks(len, CHUNK, |range| {
        dispatch(
            #[inline(always)]
            || range.map(&value).fold(0.0, f64::max),
        )
    })?;
    Ok(parts.into_iter().fold(0.0, f64::max))
}

/// The power of two that brings `largest` to between 1 and 2, as far as b stays finite under it.
fn scale(largest: f64, b: &[Dd]) -> f64 {
    let exponent = |x: f64| ((x.to_bits() >> 52) & 0x7ff) as i32 - 1023;
    if largest == 0.0 {
        return 1.0;
    }
    let room = b.iter().map(|x| 1000 - exponent(x.hi)).min().unwrap_or(0);
    2f64.powi((-exponent(largest)).min(room).clamp(-1022, 1022))
}

pub(super) fn check_prices<T: Float>(options: &Options<'_, T>, k: usize) -> Result<()> {
    if let Some(l1) = options.l1.filter(|l1| l1.is_nan() || *l1 < 0.0) {
        return Err(Error::parameter("l1", "must be at least 0; leave it out for 0.05·l1_max", l1));
    }
    if let Some(l2) = options.l2.filter(|l2| !l2.is_finite() || *l2 < 0.0) {
        return Err(Error::parameter(
            "l2",
            "must be finite and at least 0; leave it out for 1e-3·‖Ψ‖²/k",
            l2,
        ));
    }
    if let Some(limit) = options.max_residual {
        if limit.is_nan() || limit < 0.0 {
            return Err(Error::parameter("max_residual", "must be at least 0, or left out", limit));
        }
        if k > 1 {
            return Err(Error::parameter(
                "max_residual",
                "is offered for a single criterion only; leave it out and lower l1 and l2 instead",
                format!("{limit} with {k} criteria"),
            ));
        }
        if options.l1 == Some(f64::INFINITY) {
            return Err(Error::parameter(
                "max_residual",
                "cannot be met where l1 is infinite, which holds every weight at rest; pass a finite l1",
                limit,
            ));
        }
    }
    if !options.tol.is_finite() || options.tol <= 0.0 {
        return Err(Error::parameter("tol", "must be positive and finite", options.tol));
    }
    if options.max_iter == 0 {
        return Err(Error::parameter("max_iter", "must be at least 1", 0));
    }
    Ok(())
}

pub(super) fn check_box<T: Float>(context: &Context<'_>, n: usize, options: &Options<'_, T>) -> Result<()> {
    for (name, bound) in [("lower", options.lower), ("upper", options.upper)] {
        if let Bound::Each(values) = bound
            && values.len() != n
        {
            let got = format!("{} values for {n} samples", values.len());
            return Err(Error::shape(name, "needs one value for each row of psi_up, or a single one", got));
        }
    }
    let same = matches!((options.lower, options.upper), (Bound::All(_), Bound::All(_)));
    let bad = context.map_chunks(if same { n.min(1) } else { n }, CHUNK, |mut range| {
        range.find(|&j| {
            let (lower, upper) = (options.lower.at(j), options.upper.at(j));
            !(lower <= upper && lower < f64::INFINITY && upper > f64::NEG_INFINITY)
        })
    })?;
    match bad.into_iter().flatten().next() {
        None => Ok(()),
        Some(j) => Err(Error::parameter(
            "lower, upper",
            "every lower bound must be a number not above its upper bound, below inf, and every upper \
             bound above -inf; correct or swap them",
            format!("lower[{j}] = {}, upper[{j}] = {}", options.lower.at(j), options.upper.at(j)),
        )),
    }
}
