//! The duality gap and the sums of weights on all rows of all shards, as in
//! [`crate::reweight::certificate`], with sums that no order of the terms changes.

use std::ops::Range;

use super::cache::{Prices, least_gap};
use super::dot::Price;
use super::effect::{Given, effect};
use super::exact::add_all;
use super::rows::{Rows, grid};
use crate::error::Result;
use crate::fixed::{Exact, Fixed, Grid, Steps, exponent};
use crate::float::Float;
use crate::lanes::{Kernel, Lanes, Tally, WIDTH, with_lanes};
use crate::par::Context;
use crate::reweight::certificate::{Certificate, Term};
use crate::simd::dispatch;
use crate::vecmath::Dd;

/// Where more than one in so many weights of a chunk is not zero, all its rows are looked at together.
const FEW: usize = 8;
/// The largest weight times the largest |ψ| may be so many times |b| before the sum of effects, of 98
/// bits, becomes less precise than the price.
const ROOM: f64 = (1u64 << 30) as f64;
/// Largest exponent of weights of which the squares can be counted.
const WIDE: i32 = 400;

/// What the rows of a chunk add, to each sum its terms.
#[derive(Default)]
struct Terms {
    exact: Vec<f64>,
    bounded: Vec<f64>,
    excess: f64,
}

/// The sums over chunks: of |λ|, λ², both kinds of terms and, where [`least_gap`] needs them, lengths.
#[derive(Default)]
struct Sums {
    terms: [Exact; 5],
    excess: f64,
    nonzero: usize,
}

/// What the weights come to.
pub(super) struct Judged {
    /// Ψᵀλ.
    pub(super) effect: Vec<Dd>,
    pub(super) l1_norm: f64,
    /// ‖λ‖².
    pub(super) squares: f64,
    pub(super) nonzero: usize,
}

impl Judged {
    /// The certificate with the gap that `gap` makes of the objective and ‖r + z/2‖².
    pub(super) fn certificate(
        self,
        prices: Prices,
        b: &[Dd],
        z: &[Dd],
        gap: impl FnOnce(f64, f64) -> f64,
    ) -> Certificate {
        let Self { effect, l1_norm, squares, nonzero } = self;
        let residual: Vec<Dd> = effect.into_iter().zip(b).map(|(effect, &b)| effect - b).collect();
        let misfits = residual.iter().zip(z).map(|(&r, &z)| (r + z * Dd::new(0.5)).value().powi(2));
        let misfit = misfits.sum();
        let priced = if l1_norm == 0.0 { 0.0 } else { prices.l1 * l1_norm };
        let objective =
            residual.iter().map(|r| r.value().powi(2)).sum::<f64>() + priced + prices.l2 * squares;
        let gap = gap(objective, misfit);
        Certificate { residual, objective, gap, l1_norm, nonzero }
    }
}

/// The terms of the rows of a chunk with their weights.
fn terms<T: Float>(
    rows: &Rows<'_, T>,
    prices: Prices,
    range: Range<usize>,
    price: &Price,
    weights: &[f64],
    nonzero: usize,
) -> Terms {
    if nonzero > range.len() / FEW {
        return all_terms(rows, prices, range, price, weights);
    }
    let first = range.start;
    let least = prices.l1 - rows.rounding(price);
    // A weight of zero below l1 in a box that allows it adds nothing.
    let adds = |mut some: Range<usize>| some.any(|j| weights[j - first] != 0.0 || rows.resting(j) != 0.0);
    let mut terms = Terms::default();
    for (j, v) in rows.pulls_where(range, price, least, adds) {
        let term = Term::new(prices.l1, prices.l2, rows.bounds(j), weights[j - first], v);
        terms.exact.push(term.exact);
        terms.bounded.push(term.bounded);
        terms.excess = terms.excess.max(rows.measure(prices, j).excess(term.excess));
    }
    terms
}

/// The same, of eight rows at a time.
fn all_terms<T: Float>(
    rows: &Rows<'_, T>,
    prices: Prices,
    range: Range<usize>,
    price: &Price,
    weights: &[f64],
) -> Terms {
    let (n, first) = (range.len(), range.start);
    let whole = n.next_multiple_of(WIDTH);
    let padded = |mut values: Vec<f64>| {
        values.resize(whole, 0.0);
        values
    };
    let [hi, lo] = rows.panel(range).pairs(price).map(padded);
    let weights = padded(weights.to_vec());
    let [mut exact, mut bounded, mut excess] = [(); 3].map(|()| vec![0.0; whole]);
    dispatch(
        #[inline(always)]
        || {
            for at in (0..whole).step_by(WIDTH) {
                let eight = |values: &[f64]| -> [f64; WIDTH] { std::array::from_fn(|i| values[at + i]) };
                let [hi, lo, weights] = [&hi, &lo, &weights].map(|values| eight(values));
                let [lower, upper] = rows.bounds_of_eight(first + at);
                let mut found = [[0.0; WIDTH]; 3];
                for i in 0..WIDTH {
                    let v = Dd { hi: hi[i], lo: lo[i] };
                    let term = Term::new(prices.l1, prices.l2, [lower[i], upper[i]], weights[i], v);
                    found[0][i] = term.exact;
                    found[1][i] = term.bounded;
                    found[2][i] = term.excess;
                }
                exact[at..at + WIDTH].copy_from_slice(&found[0]);
                bounded[at..at + WIDTH].copy_from_slice(&found[1]);
                excess[at..at + WIDTH].copy_from_slice(&found[2]);
            }
        },
    );
    exact.truncate(n);
    bounded.truncate(n);
    let open = excess[..n].iter().enumerate().filter(|(_, excess)| **excess > 0.0);
    let excess = open.map(|(i, &excess)| rows.measure(prices, first + i).excess(excess)).fold(0.0, f64::max);
    Terms { exact, bounded, excess }
}

/// The largest |ψ_jcλ_j| of all shards, or a bound of it that the sum's precision bears.
fn largest_effect<T: Float>(
    context: &Context<'_>,
    rows: &Rows<'_, T>,
    b: &[Dd],
    weights: &[T],
) -> Result<f64> {
    let heaviest = context.map_chunks(rows.n, rows.chunk(), |range| {
        weights[range].iter().fold(0.0, |most: f64, weight| most.max(weight.to_f64().abs()))
    })?;
    let mut most = [heaviest.into_iter().fold(0.0, f64::max)];
    context.shards().max(&mut most)?;
    let demand = b.iter().map(|b| b.hi.abs()).fold(0.0, f64::max);
    if most[0] * rows.largest <= ROOM * demand {
        return Ok(most[0] * rows.largest);
    }
    // Where rows differ by more orders of magnitude than a grid spans, a small row with a large weight
    // would be lost beside the largest of each.
    let parts = context
        .map_chunks(rows.n, rows.chunk(), |range| rows.largest_effect(range.clone(), &weights[range]))?;
    most = [parts.into_iter().fold(0.0, f64::max)];
    context.shards().max(&mut most)?;
    Ok(most[0])
}

/// Judges this shard's `weights`, together with those of the other shards, at the price z.
pub(super) fn certify<T: Float>(
    context: &Context<'_>,
    rows: &Rows<'_, T>,
    prices: Prices,
    b: &[Dd],
    z: &[Dd],
    weights: &[T],
) -> Result<Certificate> {
    let price = Price::new(z);
    let grid = grid(largest_effect(context, rows, b, weights)?);
    let parts = context.map_chunks(rows.n, rows.chunk(), |range| {
        let weights: Vec<f64> = weights[range.clone()].iter().map(|w| w.to_f64()).collect();
        let steps = effect(rows.panel(range.clone()), Given(&weights), grid, true);
        let nonzero = weights.iter().filter(|weight| **weight != 0.0).count();
        let Terms { exact, bounded, excess } = terms(rows, prices, range.clone(), &price, &weights, nonzero);
        let mut sums = Sums { excess, nonzero, ..Sums::default() };
        if sums.nonzero > 0 {
            let [sizes, squares]: [Vec<f64>; 2] =
                [weights.iter().map(|w| w.abs()).collect(), weights.iter().map(|w| w * w).collect()];
            add_all(&mut sums.terms[0], &sizes);
            add_all(&mut sums.terms[1], &squares);
            if !prices.bound_weights() {
                let lengths = range.zip(&weights).map(|(j, &weight)| rows.measure(prices, j).length(weight));
                add_all(&mut sums.terms[4], &lengths.collect::<Vec<_>>());
            }
        }
        add_all(&mut sums.terms[2], &exact);
        add_all(&mut sums.terms[3], &bounded);
        (steps, sums)
    })?;
    let mut all = Sums::default();
    let mut steps = Vec::with_capacity(parts.len());
    for (part, sums) in parts {
        steps.push(part);
        all.terms.iter_mut().zip(&sums.terms).for_each(|(sum, more)| sum.join(more));
        all.excess = all.excess.max(sums.excess);
        all.nonzero += sums.nonzero;
    }
    let shards = context.shards();
    let effect = rows.joined(context, &grid, steps)?;
    Exact::over_shards(shards, &mut all.terms)?;
    let mut excess = [all.excess];
    shards.max(&mut excess)?;
    let mut nonzero = [all.nonzero as i64];
    shards.sum(&mut nonzero)?;
    let [l1_norm, squares, exact, bounded, length] = all.terms.map(|sum| sum.value().value());
    let judged = Judged { effect, l1_norm, squares, nonzero: nonzero[0] as usize };
    Ok(judged.certificate(prices, b, z, |objective, misfit| {
        least_gap(prices, rows.total, objective, length, misfit, [exact, bounded, excess[0]])
    }))
}

/// The same of weights that are λ(z), to rounding, and have the effect `effect`, without a look at a row: no
/// term is above the square of what rounding moved its v by, in units of 4l2. `None` where that may be more
/// than `enough`, or sums leave the range of doubles.
#[allow(clippy::too_many_arguments)]
pub(super) fn certify_answers<T: Float>(
    context: &Context<'_>,
    rows: &Rows<'_, T>,
    prices: Prices,
    b: &[Dd],
    z: &[Dd],
    weights: &[T],
    effect: &[Dd],
    enough: f64,
) -> Result<Option<Certificate>> {
    let most = rows.most(prices, z);
    if exponent(most).abs() > WIDE || !T::from_f64(2.0 * most).to_f64().is_finite() {
        return Ok(None);
    }
    let grids = [1, 2].map(|power| Grid::below(power * (exponent(most) + 2)));
    let parts = context
        .map_chunks(rows.n, rows.chunk(), |range| with_lanes(Norms { weights: &weights[range], grids }))?;
    let (mut sums, mut nonzero) = ([Fixed::default(); 2], [0]);
    for (steps, more) in parts {
        sums.iter_mut().zip(steps).for_each(|(sum, steps)| *sum += steps);
        nonzero[0] += more;
    }
    Fixed::over_shards(context.shards(), &mut sums)?;
    context.shards().sum(&mut nonzero)?;
    let [l1_norm, squares] = [0, 1].map(|i| sums[i].value(&grids[i]).value());
    let (roundoff, least) = T::ROUNDING;
    let n = rows.total as f64;
    // Weights are rounded to their type, after three roundings as doubles.
    let moved = (roundoff + 1.5 * f64::EPSILON) * squares.sqrt() + n.sqrt() * roundoff * least;
    let rounding = 0.5 * rows.rounding(&Price::new(z)) * (n / prices.l2).sqrt();
    let terms = (moved * prices.l2.sqrt() + rounding).powi(2);
    let judged = Judged { effect: effect.to_vec(), l1_norm, squares, nonzero: nonzero[0] as usize };
    let certificate = judged.certificate(prices, b, z, |_, misfit| misfit + terms);
    Ok((certificate.gap <= enough).then_some(certificate))
}

/// Σ|λ|, Σλ² and how many are not zero.
struct Norms<'a, T> {
    weights: &'a [T],
    grids: [Grid; 2],
}

impl<T: Float> Kernel for Norms<'_, T> {
    type Output = ([Steps; 2], i64);

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> Self::Output {
        let Self { weights, grids } = self;
        let zero = lanes.splat(0.0);
        let [mut sizes, mut squares] = grids.map(|grid| Tally::new(lanes, grid));
        let mut nonzero = 0;
        let (eights, rest) = weights.as_chunks::<WIDTH>();
        let mut last = [T::ZERO; WIDTH];
        last[..rest.len()].copy_from_slice(rest);
        for eight in eights.iter().chain([&last]) {
            let size = lanes.abs(lanes.read(eight));
            sizes.add(lanes, size);
            squares.add_product(lanes, size, size);
            nonzero += i64::from(lanes.held(lanes.greater(size, zero)));
        }
        ([sizes, squares].map(|sum| sum.steps(lanes, eights.len() + 1)), nonzero)
    }
}
