//! The checked problem: everything the solvers read has passed through [`Problem::new`], once.

use std::ops::Range;

use super::passes::{Extent, Measure, SQUARES, Scan};
use super::{Bound, Options};
use crate::error::{Error, Result};
use crate::fixed::{Counts, Fixed, Grid, exponent, power_of_two};
use crate::float::Float;
use crate::lanes::with_lanes;
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
    /// Rows of all shards, and the first of this one among them.
    pub(super) rows: usize,
    pub(super) first: usize,
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
    /// ‖2Ψb‖_∞.
    pub(super) l1_max: f64,
}

impl<'a, T: Float> Problem<'a, T> {
    /// The problem of arguments that [`check`] has let pass.
    pub(super) fn new(
        context: &Context<'_>,
        psi: &'a [T],
        b: &[Dd],
        options: &Options<'a, T>,
    ) -> Result<Self> {
        let k = b.len();
        let n = psi.len() / k;
        let parts = context.map_chunks(psi.len(), CHUNK, |range| with_lanes(Scan { psi: &psi[range] }))?;
        let largest = largest_of(context, psi, parts.into_iter())?.unwrap_or(f64::INFINITY);
        // Where the residual alone decides, l2 does not, however large: ψ keeps its digits.
        let prices = if options.max_residual.is_none() { [options.l1, options.l2] } else { [None; 2] };
        let scale = scale(largest, b, prices);
        let place = context.shards().rows(n)?;
        let mut problem = Self {
            psi,
            n,
            rows: place.total,
            first: place.first,
            b: b.iter().map(|x| Dd { hi: x.hi * scale, lo: x.lo * scale }).collect(),
            l1: 0.0,
            l2: 0.0,
            max_residual: options.max_residual.map_or(f64::INFINITY, |limit| limit * scale),
            lower: options.lower,
            upper: options.upper,
            scale,
            largest: largest * scale,
            l1_max: 0.0,
        };
        // The steepest sample is the largest.
        problem.l1_max = 2.0 * (problem.b[0] * Dd::new(problem.largest)).value().abs();
        problem.l1 = options.l1.map_or(0.05 * problem.l1_max, |l1| l1 * scale * scale);
        problem.l2 = match options.l2 {
            Some(l2) => l2 * scale * scale,
            None => 1e-3 * problem.squares(context)? / k as f64,
        };
        Ok(problem)
    }

    /// ‖Ψ‖_F².
    fn squares(&self, context: &Context<'_>) -> Result<f64> {
        let (psi, scale) = (self.psi, self.scale);
        let parts =
            context.map_chunks(psi.len(), CHUNK, |range| with_lanes(Measure { psi: &psi[range], scale }))?;
        let mut squares = [Fixed::default()];
        for (_, steps) in parts {
            squares[0] += steps;
        }
        Fixed::over_shards(context.shards(), &mut squares)?;
        Ok(squares[0].value(&SQUARES).value())
    }

    /// ψ_j of a problem with one criterion.
    #[inline(always)]
    pub(super) fn psi(&self, j: usize) -> f64 {
        self.psi[j].to_f64() * self.scale
    }

    /// ψ of some samples of a problem with one criterion, before scaling.
    pub(super) fn psi_of(&self, range: Range<usize>) -> &'a [T] {
        &self.psi[range]
    }

    /// ψ of `LANES` samples of a problem with one criterion, 0 from `end` on.
    #[inline(always)]
    pub(super) fn psi_lanes(&self, first: usize, end: usize) -> [f64; LANES] {
        lanes(&self.psi[first..end]).map(|x| x * self.scale)
    }

    /// ψ and both bounds of `LANES` samples; each ψ is 0 from `end` on.
    #[inline(always)]
    pub(super) fn row_lanes(&self, first: usize, end: usize) -> [[f64; LANES]; 3] {
        [self.psi_lanes(first, end), self.lower.lanes(first, end), self.upper.lanes(first, end)]
    }

    /// ψ_j·z, as if in twice the precision.
    #[inline(always)]
    pub(super) fn dot(&self, j: usize, z: Dd) -> Dd {
        let product = Dd::two_product(self.psi(j), z.hi);
        Dd::two_sum(product.hi, product.lo + self.psi(j) * z.lo)
    }

    /// A value in units of the objective, in the caller's units.
    pub(super) fn unscaled(&self, value: f64) -> f64 {
        value / self.scale / self.scale
    }

    /// The residual of the resting weights, −b where the box allows zero. No |ψ_jλ_j| of theirs is above
    /// `held`.
    pub(super) fn resting_residual(&self, context: &Context<'_>, held: f64) -> Result<Dd> {
        let grid = Grid::below(exponent(held) + 1);
        let parts = context.map_chunks(if held == 0.0 { 0 } else { self.n }, CHUNK, |range| {
            dispatch(
                #[inline(always)]
                || {
                    let mut effect = Counts::new(grid);
                    for first in range.clone().step_by(LANES) {
                        // Lanes past the end hold ψ = 0, which adds nothing.
                        let [psi, lower, upper] = self.row_lanes(first, range.end);
                        for i in 0..LANES {
                            effect.add(i, Dd::two_product(psi[i], 0f64.max(lower[i]).min(upper[i])));
                        }
                    }
                    effect.steps()
                },
            )
        })?;
        let mut effect = [Fixed::default()];
        for steps in parts {
            effect[0] += steps;
        }
        Fixed::over_shards(context.shards(), &mut effect)?;
        Ok(effect[0].value(&grid) - self.b[0])
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

/// The largest y of all shards, from what a pass over `psi` found. What is not finite is refused by its
/// place; `None` where only its product with the scale is not.
pub(super) fn largest_of<T: Float>(
    context: &Context<'_>,
    psi: &[T],
    parts: impl Iterator<Item = Extent>,
) -> Result<Option<f64>> {
    let mut all = Extent::default();
    parts.for_each(|part| all.join(part));
    let mut values = [all.largest, f64::from(u8::from(all.unfit))];
    context.shards().max(&mut values)?;
    let [largest, unfit] = values;
    if unfit != 0.0 {
        require_finite_everywhere(context, "psi_up", psi)?;
        return Ok(None);
    }
    Ok(Some(largest))
}

/// The power of two that brings `largest` to between 1 and 2, as far as b and finite prices, which take its
/// square, stay far below the largest double: where they do not, Σψ² is nothing beside l2, or |ψb| beside l1.
pub(super) fn scale(largest: f64, b: &[Dd], prices: [Option<f64>; 2]) -> f64 {
    if largest == 0.0 {
        return 1.0;
    }
    let finite = prices.into_iter().flatten().filter(|price| price.is_finite());
    let room = finite.map(|price| (800 - exponent(price)) / 2);
    let room = b.iter().map(|x| 1000 - exponent(x.hi)).chain(room).min().unwrap_or(0);
    power_of_two((-exponent(largest)).min(room).clamp(-1022, 1022))
}

/// The power of two that brings `largest` to between 1 and 2 where it and `demand` stay in the middle of
/// the doubles' range under it, so that squares do too.
pub(super) fn scale_of(largest: f64, demand: Dd) -> Option<f64> {
    let [size, ratio] = [exponent(largest), exponent(demand.hi) - exponent(largest)];
    (size.abs() <= 900 && ratio.abs() <= 500).then(|| power_of_two(-size))
}

/// Refuses arguments that make no problem, before any pass over `psi`, which has `len` numbers.
pub(super) fn check<T: Float>(
    context: &Context<'_>,
    len: usize,
    b: &[Dd],
    options: &Options<'_, T>,
) -> Result<()> {
    let k = b.len();
    if k == 0 || !len.is_multiple_of(k) {
        return Err(Error::shape(
            "target",
            "needs one value for each column of psi_up, at least one",
            format!("{k} values for {len} numbers in psi_up"),
        ));
    }
    if let Some(index) = b.iter().position(|x| !x.value().is_finite()) {
        return Err(Error::NotFinite { name: "target", index, value: b[index].value() });
    }
    if let Some(start) = options.start
        && (start.len() != k || start.iter().any(|z| !z.is_finite()))
    {
        let rule = "needs the finite price of an earlier solve, one number for each column of psi_up";
        let got = match start.iter().position(|z| !z.is_finite()) {
            Some(index) => format!("start[{index}] = {}", start[index]),
            None => format!("{} for {k}", start.len()),
        };
        return Err(Error::shape("start", rule, got));
    }
    check_prices(options, k)?;
    check_box(context, len / k, options)
}

/// Refuses the first NaN or infinity of the values of all shards, by name and index in the whole: on
/// every shard, so that none waits for the others.
pub(super) fn require_finite_everywhere<T: Float>(
    context: &Context<'_>,
    name: &'static str,
    values: &[T],
) -> Result<()> {
    let own = require_finite(context, name, values);
    let shards = context.shards();
    if shards.is_whole() {
        return own;
    }
    let first = shards.rows(values.len())?.first;
    let found = match own {
        Ok(()) => [u64::MAX, 0],
        Err(Error::NotFinite { index, value, .. }) => [(first + index) as u64, value.to_bits()],
        Err(other) => return Err(other),
    };
    let all = shards.gather(&found)?;
    match all.chunks_exact(2).min_by_key(|found| found[0]) {
        Some(&[index, bits]) if index != u64::MAX => {
            Err(Error::NotFinite { name, index: index as usize, value: f64::from_bits(bits) })
        }
        _ => Ok(()),
    }
}

fn check_prices<T: Float>(options: &Options<'_, T>, k: usize) -> Result<()> {
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

fn check_box<T: Float>(context: &Context<'_>, n: usize, options: &Options<'_, T>) -> Result<()> {
    for (name, bound) in [("lower", options.lower), ("upper", options.upper)] {
        if let Bound::Each(values) = bound
            && values.len() != n
        {
            let got = format!("{} values for {n} samples", values.len());
            return Err(Error::shape(name, "needs one value for each row of psi_up, or a single one", got));
        }
    }
    let same = matches!((options.lower, options.upper), (Bound::All(_), Bound::All(_)));
    let is_good = |j: usize| {
        let (lower, upper) = (options.lower.at(j), options.upper.at(j));
        (lower <= upper) && (lower < f64::INFINITY) && (upper > f64::NEG_INFINITY)
    };
    let bad = context.map_chunks(if same { n.min(1) } else { n }, CHUNK, |mut range| {
        // No early exit, so that the loop is vectorised; the place is looked for only when needed.
        let all_good = dispatch(
            #[inline(always)]
            || {
                let mut all_good = true;
                for j in range.clone() {
                    all_good &= is_good(j);
                }
                all_good
            },
        );
        if all_good { None } else { range.find(|&j| !is_good(j)) }
    })?;
    let shards = context.shards();
    let first = shards.rows(n)?.first;
    let own = bad.into_iter().flatten().next();
    let found = own.map_or([u64::MAX, 0, 0], |j| {
        let (lower, upper) = (options.lower.at(j), options.upper.at(j));
        [(first + j) as u64, lower.to_bits(), upper.to_bits()]
    });
    match shards.gather(&found)?.chunks_exact(3).min_by_key(|found| found[0]) {
        Some(&[j, lower, upper]) if j != u64::MAX => Err(Error::parameter(
            "lower, upper",
            "do not fit: every lower bound must be a number not above its upper bound, below inf, and every \
             upper bound above -inf; correct or swap them",
            format!("lower[{j}] = {}, upper[{j}] = {}", f64::from_bits(lower), f64::from_bits(upper)),
        )),
        _ => Ok(()),
    }
}
