//! Cluster sums that are exact whatever the order: every value becomes an integer once, and integers add
//! without rounding. So a sum depends on the labels alone, rows that move are added here and taken away
//! there without drift, and neither threads nor shards can be told from the result.

use super::assign::Move;
use super::rows::Rows;
use crate::error::Result;
use crate::float::Float;
use crate::par::Context;
use crate::simd::dispatch;

/// Bits of a value at most: up to here the rounding below is one addition.
const MOST_BITS: u32 = 50;

/// 1.5·2⁵²: adding it to |v| < 2⁵¹ leaves v, rounded to an integer, in the low bits.
const ROUNDING: f64 = 6_755_399_441_055_744.0;

/// Most partial sums of one update; each is k × d.
const PARTS: usize = 16;

pub(super) struct Sums {
    /// Σ (x − μ)·scale·steps, each term rounded to an integer; k × d.
    totals: Vec<i64>,
    counts: Vec<usize>,
    /// How finely a scaled value is resolved; a power of two.
    steps: f64,
}

impl Sums {
    /// Sums of no rows.
    pub(super) fn new<T: Float>(rows: &Rows<'_, T>, k: usize) -> Self {
        // n values of at most 2^bits each stay below 2⁶².
        let bits = MOST_BITS.min(62 - rows.len.next_power_of_two().trailing_zeros());
        Self { totals: vec![0; k * rows.columns], counts: vec![0; k], steps: (1u64 << bits) as f64 }
    }

    /// Follows the rows that moved.
    pub(super) fn apply<T: Float>(
        &mut self,
        context: &Context<'_>,
        rows: &Rows<'_, T>,
        labels: &[i32],
        moves: &[Move],
    ) -> Result<()> {
        let columns = rows.columns;
        let chunk = moves.len().div_ceil(PARTS).max(rows.chunk()).max(self.counts.len());
        let parts = context.map_chunks(moves.len(), chunk, |range| {
            let mut part = vec![0; self.totals.len()];
            for Move { row, from } in &moves[range] {
                let to = labels[*row] as usize;
                self.add(rows, *row, &mut part[to * columns..(to + 1) * columns], 1);
                if let Some(from) = from {
                    self.add(rows, *row, &mut part[from * columns..(from + 1) * columns], -1);
                }
            }
            part
        })?;
        for part in parts {
            self.totals.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
        }
        for Move { row, from } in moves {
            self.counts[labels[*row] as usize] += 1;
            if let Some(from) = from {
                self.counts[*from] -= 1;
            }
        }
        Ok(())
    }

    /// Adds a row, `sign` times, to the sum of one cluster.
    fn add<T: Float>(&self, rows: &Rows<'_, T>, row: usize, sum: &mut [i64], sign: i64) {
        let (x, mean, scale, steps) = (rows.row(row), &rows.mean, rows.scale, self.steps);
        dispatch(
            #[inline(always)]
            || {
                for ((sum, x), mean) in sum.iter_mut().zip(x).zip(mean) {
                    let rounded = (x.to_f64() - mean) * scale * steps + ROUNDING;
                    *sum += sign * (rounded.to_bits() as i64 - ROUNDING.to_bits() as i64);
                }
            },
        );
    }

    /// The mean of each cluster. Empty ones take the farthest rows, farthest first, as in scikit-learn;
    /// where every row lies on its center there is nothing to take and they repeat the largest cluster's.
    pub(super) fn centers<T: Float>(
        &self,
        context: &Context<'_>,
        rows: &Rows<'_, T>,
        labels: &[i32],
        old: &[f64],
    ) -> Result<Vec<f64>> {
        let empty: Vec<usize> = (0..self.counts.len()).filter(|&c| self.counts[c] == 0).collect();
        if empty.is_empty() {
            return Ok(self.means(rows));
        }
        let columns = rows.columns;
        let mut moved = Self { totals: self.totals.clone(), counts: self.counts.clone(), steps: self.steps };
        for (to, row) in empty.into_iter().zip(farthest(context, rows, labels, old, self.empty())?) {
            let from = labels[row] as usize;
            self.add(rows, row, &mut moved.totals[from * columns..(from + 1) * columns], -1);
            self.add(rows, row, &mut moved.totals[to * columns..(to + 1) * columns], 1);
            moved.counts[from] -= 1;
            moved.counts[to] += 1;
        }
        Ok(moved.means(rows))
    }

    /// How many clusters hold no row.
    pub(super) fn empty(&self) -> usize {
        self.counts.iter().filter(|&&count| count == 0).count()
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

/// The `count` rows farthest from their centers, farthest first, equal ones by position; none where all lie
/// on them.
fn farthest<T: Float>(
    context: &Context<'_>,
    rows: &Rows<'_, T>,
    labels: &[i32],
    centers: &[f64],
    count: usize,
) -> Result<Vec<usize>> {
    let distances = distances(context, rows, labels, centers)?;
    let mut far: Vec<(f64, usize)> = distances.into_iter().zip(0..).collect();
    let farther = |a: &(f64, usize), b: &(f64, usize)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
    if count < far.len() {
        far.select_nth_unstable_by(count, farther);
        far.truncate(count);
    }
    far.sort_unstable_by(farther);
    if far.first().is_none_or(|&(distance, _)| distance == 0.0) {
        return Ok(Vec::new());
    }
    Ok(far.into_iter().map(|(_, row)| row).collect())
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
        let distance = |row: usize| {
            let label = labels[row] as usize;
            rows.distance(row, &centers[label * columns..(label + 1) * columns])
        };
        range.map(distance).collect::<Vec<_>>()
    })?;
    Ok(parts.concat())
}
