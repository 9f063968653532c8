//! The duality gap and the sums of weights on all rows of all shards, as in
//! [`crate::reweight::certificate`], with sums that no order of the terms changes.

use std::ops::Range;

use super::cache::{Prices, least_gap};
use super::dot::Price;
use super::exact::add_all;
use super::rows::{Rows, grid};
use crate::error::Result;
use crate::fixed::Exact;
use crate::float::Float;
use crate::par::Context;
use crate::reweight::certificate::{Certificate, Term};
use crate::vecmath::Dd;

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

/// The terms of the rows of a chunk with their weights.
fn terms<T: Float>(
    rows: &Rows<'_, T>,
    prices: Prices,
    range: Range<usize>,
    price: &Price,
    weights: &[f64],
) -> Terms {
    let first = range.start;
    let least = prices.l1 - rows.rounding(price);
    // A weight of zero below l1 in a box that allows it adds nothing.
    let adds = |j: usize, v: f64| weights[j - first] != 0.0 || v.abs() >= least || rows.resting(j) != 0.0;
    let mut terms = Terms::default();
    for (j, v) in rows.pulls_where(range, price, adds) {
        let term = Term::new(prices.l1, prices.l2, rows.bounds(j), weights[j - first], v);
        terms.exact.push(term.exact);
        terms.bounded.push(term.bounded);
        terms.excess = terms.excess.max(rows.measure(prices, j).excess(term.excess));
    }
    terms
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
    // Not the largest weight times the largest row: where rows differ by more orders of magnitude than
    // a grid spans, a small row with a large weight would be lost.
    let most = context
        .map_chunks(rows.n, rows.chunk(), |range| rows.largest_effect(range.clone(), &weights[range]))?;
    let mut largest = [most.into_iter().fold(0.0, f64::max)];
    context.shards().max(&mut largest)?;
    let grid = grid(largest[0]);
    let parts = context.map_chunks(rows.n, rows.chunk(), |range| {
        let weights: Vec<f64> = weights[range.clone()].iter().map(|w| w.to_f64()).collect();
        let steps = rows.panel(range.clone()).effect(&weights, grid);
        let Terms { exact, bounded, excess } = terms(rows, prices, range.clone(), &price, &weights);
        let mut sums = Sums { excess, ..Sums::default() };
        sums.nonzero = weights.iter().filter(|weight| **weight != 0.0).count();
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
    let residual: Vec<Dd> = effect.into_iter().zip(b).map(|(effect, &b)| effect - b).collect();
    let misfit: f64 = residual.iter().zip(z).map(|(&r, &z)| (r + z * Dd::new(0.5)).value().powi(2)).sum();
    let priced = if l1_norm == 0.0 { 0.0 } else { prices.l1 * l1_norm };
    let objective = residual.iter().map(|r| r.value().powi(2)).sum::<f64>() + priced + prices.l2 * squares;
    let gap = least_gap(prices, rows.total, objective, length, misfit, [exact, bounded, excess[0]]);
    Ok(Certificate { residual, objective, gap, l1_norm, nonzero: nonzero[0] as usize })
}
