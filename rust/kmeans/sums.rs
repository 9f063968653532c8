//! Cluster sums that are exact whatever the order: every value becomes an integer once, and integers add
//! without rounding. So a sum depends on the labels alone, rows that move are added here and taken away
//! there without drift, and neither threads nor shards can be told from the result.

use super::bounds::Move;
use super::exact::{self, integer};
use super::rows::{Rows, squared_distance};
use crate::error::Result;
use crate::float::Float;
use crate::par::Context;
use crate::simd::dispatch;

/// Most partial sums of one update; each is k × d.
const PARTS: usize = 16;

#[derive(Clone)]
pub(super) struct Sums {
    /// Σ (x − μ)·scale·steps, each term rounded to an integer; k × d.
    totals: Vec<i64>,
    counts: Vec<i64>,
    /// How finely a scaled value is resolved; a power of two.
    steps: f64,
}

impl Sums {
    /// Sums of no rows.
    pub(super) fn new<T: Float>(rows: &Rows<'_, T>, k: usize) -> Self {
        let steps = (1u64 << exact::bits(rows.total)) as f64;
        Self { totals: vec![0; k * rows.columns], counts: vec![0; k], steps }
    }

    /// Follows the rows that moved, of all shards; how many they are.
    pub(super) fn apply<T: Float>(
        &mut self,
        context: &Context<'_>,
        rows: &Rows<'_, T>,
        moves: &[Move],
    ) -> Result<usize> {
        let k = self.counts.len();
        let chunk = moves.len().div_ceil(PARTS).max(rows.chunk()).max(k);
        let parts = context.map_chunks(moves.len(), chunk, |range| {
            let mut part = vec![0; self.totals.len() + k];
            dispatch(
                #[inline(always)]
                || {
                    for step in &moves[range] {
                        self.add(rows, *step, &mut part);
                    }
                },
            );
            part
        })?;
        let mut changes = vec![0; self.totals.len() + k + 1];
        for part in parts {
            changes.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
        }
        changes[self.totals.len() + k] = moves.len() as i64;
        context.shards().sum(&mut changes)?;
        self.totals.iter_mut().chain(&mut self.counts).zip(&changes).for_each(|(sum, part)| *sum += part);
        Ok(changes[self.totals.len() + k] as usize)
    }

    /// Moves a row from the sum and count of one cluster to those of another.
    #[inline(always)]
    fn add<T: Float>(&self, rows: &Rows<'_, T>, step: Move, sums: &mut [i64]) {
        let (x, mean, factor, columns) = (rows.row(step.row), &rows.mean, rows.scale, rows.columns);
        let steps = self.steps;
        let (sums, counts) = sums.split_at_mut(self.totals.len());
        counts[step.to] += 1;
        let integer = |x: T, mean: f64| integer((x.to_f64() - mean) * factor * steps);
        for ((sum, x), mean) in sums[step.to * columns..].iter_mut().zip(x).zip(mean) {
            *sum += integer(*x, *mean);
        }
        if let Some(from) = step.from {
            counts[from] -= 1;
            for ((sum, x), mean) in sums[from * columns..].iter_mut().zip(x).zip(mean) {
                *sum -= integer(*x, *mean);
            }
        }
    }

    /// The mean of each cluster. Empty ones take the farthest rows, farthest first, as in scikit-learn;
    /// where every row lies on its center there is nothing to take and they repeat the largest cluster's.
    pub(super) fn centers<T: Float>(
        &self,
        context: &Context<'_>,
        rows: &Rows<'_, T>,
        labels: impl FnOnce() -> Vec<i32>,
        old: &[f64],
    ) -> Result<Vec<f64>> {
        let empty: Vec<usize> = (0..self.counts.len()).filter(|&c| self.counts[c] == 0).collect();
        if empty.is_empty() {
            return Ok(self.means(rows));
        }
        let (labels, mut moves) = (labels(), Vec::new());
        for (to, place) in empty.iter().zip(farthest(context, rows, &labels, old, empty.len())?) {
            if (rows.first..rows.first + rows.len).contains(&place) {
                let row = place - rows.first;
                moves.push(Move { row, from: Some(labels[row] as usize), to: *to });
            }
        }
        let mut moved = self.clone();
        moved.apply(context, rows, &moves)?;
        Ok(moved.means(rows))
    }

    /// Whether some cluster holds no row.
    pub(super) fn some_empty(&self) -> bool {
        self.counts.contains(&0)
    }

    /// The variance of a column of X, on the mean over columns, in units of 1/scale²; `norms` is Σ‖x − μ‖².
    pub(super) fn mean_variance<T: Float>(&self, rows: &Rows<'_, T>, norms: f64) -> f64 {
        let n = rows.total as f64;
        let column = |c: usize| self.totals.iter().skip(c).step_by(rows.columns).sum::<i64>() as f64;
        let offset: f64 = (0..rows.columns).map(|c| (column(c) / self.steps / n).powi(2)).sum();
        ((norms / n - offset) / rows.columns as f64).max(0.0)
    }

    fn means<T: Float>(&self, rows: &Rows<'_, T>) -> Vec<f64> {
        let largest = (0..self.counts.len()).rev().max_by_key(|&c| self.counts[c]).unwrap_or(0);
        let mean_of = |c: usize| {
            let source = if self.counts[c] == 0 { largest } else { c };
            let sum = &self.totals[source * rows.columns..(source + 1) * rows.columns];
            let parts = self.counts[source] as f64 * self.steps;
            sum.iter().zip(&rows.mean).map(move |(&sum, mean)| mean + sum as f64 / parts / rows.scale)
        };
        (0..self.counts.len()).flat_map(mean_of).collect()
    }
}

/// The places of the `count` rows farthest from their centers, farthest first, equal ones by place; none
/// where all lie on them.
fn farthest<T: Float>(
    context: &Context<'_>,
    rows: &Rows<'_, T>,
    labels: &[i32],
    centers: &[f64],
    count: usize,
) -> Result<Vec<usize>> {
    let farther = |a: &(f64, usize), b: &(f64, usize)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
    let first = |mut far: Vec<(f64, usize)>| {
        if count < far.len() {
            far.select_nth_unstable_by(count, farther);
            far.truncate(count);
        }
        far.sort_unstable_by(farther);
        far
    };
    let distances = distances(context, rows, labels, centers)?;
    let own = first(distances.into_iter().zip(rows.first..).collect());
    // Every shard hands in as many; rows that it does not have lie at distance 0, behind all others.
    let mut sent = vec![0; 2 * count];
    for (pair, (distance, place)) in sent.chunks_exact_mut(2).zip(&own) {
        pair.copy_from_slice(&[distance.to_bits(), *place as u64]);
    }
    let all = context.shards().gather(&sent)?;
    let all = all.chunks_exact(2).map(|pair| (f64::from_bits(pair[0]), pair[1] as usize));
    let far = first(all.filter(|&(distance, _)| distance > 0.0).collect());
    Ok(far.into_iter().map(|(_, place)| place).collect())
}

/// Each row's squared distance from its center, in units of 1/scale².
pub(super) fn distances<T: Float>(
    context: &Context<'_>,
    rows: &Rows<'_, T>,
    labels: &[i32],
    centers: &[f64],
) -> Result<Vec<f64>> {
    let columns = rows.columns;
    let parts = context.map_chunks(rows.len, rows.chunk(), |range| {
        let mut distances = vec![0.0; range.len()];
        dispatch(
            #[inline(always)]
            || {
                for (distance, row) in distances.iter_mut().zip(range) {
                    let center = &centers[labels[row] as usize * columns..][..columns];
                    *distance = squared_distance(rows.row(row), center, rows.scale);
                }
            },
        );
        distances
    })?;
    Ok(parts.concat())
}
