//! The duality gap and the sums of weights on all rows of all shards, as in
//! [`crate::reweight::certificate`], with sums that no order of the terms changes.

use super::cache::{Prices, least_terms};
use super::dot::Price;
use super::rows::{Rows, grid};
use crate::error::Result;
use crate::fixed::{Exact, Steps};
use crate::float::Float;
use crate::par::Context;
use crate::reweight::certificate::{Certificate, Term};
use crate::simd::dispatch;
use crate::vecmath::Dd;

/// The scalar sums of a chunk.
#[derive(Default)]
struct Sums {
    norm: Exact,
    squares: Exact,
    exact: Exact,
    bounded: Exact,
    excess: f64,
    nonzero: usize,
}

impl Sums {
    fn add(&mut self, prices: Prices, bounds: [f64; 2], weight: f64, v: Dd) {
        let term = Term::new(prices.l1, prices.l2, bounds, weight, v);
        self.exact.add(term.exact);
        self.bounded.add(term.bounded);
        self.excess = self.excess.max(term.excess);
        if weight != 0.0 {
            self.norm.add(weight.abs());
            self.squares.add(weight * weight);
            self.nonzero += 1;
        }
    }

    fn join(&mut self, other: &Self) {
        self.norm.join(&other.norm);
        self.squares.join(&other.squares);
        self.exact.join(&other.exact);
        self.bounded.join(&other.bounded);
        self.excess = self.excess.max(other.excess);
        self.nonzero += other.nonzero;
    }
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
    let least = prices.l1 - rows.rounding(&price);
    let most = context.map_chunks(rows.n, 1 << 16, |range| {
        weights[range].iter().map(|w| w.to_f64().abs()).fold(0.0, f64::max)
    })?;
    let mut largest = [most.into_iter().fold(0.0, f64::max)];
    context.shards().max(&mut largest)?;
    let grid = grid(largest[0]);
    let parts = context.map_chunks(rows.n, rows.chunk(), |range| {
        dispatch(
            #[inline(always)]
            || {
                let (mut steps, mut sums) = (vec![Steps::default(); rows.k], Sums::default());
                for j in range {
                    let weight = weights[j].to_f64();
                    // A weight of zero below l1 in a box that allows it adds nothing.
                    if weight == 0.0 && rows.dot(j, &price).abs() < least && rows.resting(j) == 0.0 {
                        continue;
                    }
                    rows.add(&grid, &mut steps, j, weight);
                    sums.add(prices, rows.bounds(j), weight, rows.dot_pair(j, &price));
                }
                (steps, sums)
            },
        )
    })?;
    let mut all = Sums::default();
    let mut steps = Vec::with_capacity(parts.len());
    for (part, sums) in parts {
        steps.push(part);
        all.join(&sums);
    }
    let shards = context.shards();
    let effect = rows.joined(context, &grid, steps)?;
    let mut sums = [all.norm, all.squares, all.exact, all.bounded];
    Exact::over_shards(shards, &mut sums)?;
    let mut excess = [all.excess];
    shards.max(&mut excess)?;
    let mut nonzero = [all.nonzero as i64];
    shards.sum(&mut nonzero)?;
    let [l1_norm, squares, exact, bounded] = sums.map(|sum| sum.value().value());
    let residual: Vec<Dd> = effect.into_iter().zip(b).map(|(effect, &b)| effect - b).collect();
    let misfit: f64 = residual.iter().zip(z).map(|(&r, &z)| (r + z * Dd::new(0.5)).value().powi(2)).sum();
    let priced = if l1_norm == 0.0 { 0.0 } else { prices.l1 * l1_norm };
    let objective = residual.iter().map(|r| r.value().powi(2)).sum::<f64>() + priced + prices.l2 * squares;
    let terms = least_terms(prices, rows.total, objective, l1_norm, [exact, bounded, excess[0]]);
    Ok(Certificate { residual, objective, gap: misfit + terms, l1_norm, nonzero: nonzero[0] as usize })
}
