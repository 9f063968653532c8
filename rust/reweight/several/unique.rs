//! Whether the optimum is unique although l2 = 0: every weight that v = Ψz leaves undecided belongs to
//! one of at most k linearly independent rows.

use super::cache::Cache;
use super::dot::Price;
use super::rows::Rows;
use crate::error::Result;
use crate::float::Float;
use crate::par::Context;
use crate::vecmath::Dd;

/// A weight is undecided where |v| is this close to l1, relative to `l1_max`: what the solver leaves open.
const MARGIN: f64 = 1e-9;

pub(super) fn is_unique<T: Float>(
    context: &Context<'_>,
    rows: &Rows<'_, T>,
    l1: f64,
    l1_max: f64,
    z: &[Dd],
) -> Result<bool> {
    let (k, price, shards) = (rows.k, Price::new(z), context.shards());
    let parts = context.map_chunks(rows.n, rows.chunk(), |range| {
        let undecided = |&j: &usize| {
            let [lower, upper] = rows.bounds(j);
            lower < upper && (rows.dot(j, &price).abs() - l1).abs() <= MARGIN * l1_max
        };
        range.filter(undecided).take(k + 1).map(|j| rows.first + j).collect::<Vec<_>>()
    })?;
    let mut words = vec![u64::MAX; k + 1];
    for (slot, id) in words.iter_mut().zip(parts.into_iter().flatten()) {
        *slot = id as u64;
    }
    let ids: Vec<usize> =
        shards.gather(&words)?.into_iter().filter(|&id| id != u64::MAX).map(|id| id as usize).collect();
    if ids.len() > k {
        return Ok(false);
    }
    let mut undecided = Cache::new(k);
    undecided.add(context, rows, &ids, 1.0)?;
    let length = |row: &[f64]| row.iter().map(|x| x * x).sum::<f64>().sqrt();
    let mut basis: Vec<Vec<f64>> = Vec::with_capacity(k);
    for i in 0..undecided.len() {
        let mut row = undecided.row(i).to_vec();
        let before = length(&row);
        for other in &basis {
            let dot: f64 = row.iter().zip(other).map(|(a, b)| a * b).sum();
            row.iter_mut().zip(other).for_each(|(a, b)| *a -= dot * b);
        }
        let after = length(&row);
        if after <= 1e-9 * before {
            return Ok(false);
        }
        basis.push(row.into_iter().map(|x| x / after).collect());
    }
    Ok(true)
}
