//! Few rows in doubles, small enough to stay in a core's cache: the working set, a sample, or all rows
//! of a small problem. Every shard holds the same copy and comes to the same answer.

use super::cholesky::Factor;
use super::dot::{Price, dot};
use super::panel::Panel;
use super::rows::Rows;
use crate::error::Result;
use crate::float::Float;
use crate::par::Context;
use crate::reweight::certificate::Term;
use crate::simd::dispatch;
use crate::vecmath::Dd;

/// l1 and l2 of the problem at hand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Prices {
    pub(super) l1: f64,
    pub(super) l2: f64,
}

impl Prices {
    /// λ at v = ψ·z, and whether it moves with v.
    #[inline(always)]
    pub(super) fn respond(self, v: Dd, [lower, upper]: [f64; 2]) -> (f64, bool) {
        let size = (v.hi.abs() - self.l1) + v.lo * v.hi.signum();
        let wanted = if size > 0.0 { (size / (2.0 * self.l2)).copysign(v.hi) } else { 0.0 };
        let weight = wanted.max(lower).min(upper);
        (weight, size > 0.0 && weight == wanted)
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Cache {
    pub(super) k: usize,
    /// Places among all rows, rising.
    pub(super) ids: Vec<usize>,
    rows: Vec<f64>,
    pub(super) bounds: Vec<[f64; 2]>,
    pub(super) weights: Vec<f64>,
}

impl Cache {
    /// No rows yet, for k criteria.
    pub(super) fn new(k: usize) -> Self {
        Self { k, ..Self::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    #[inline(always)]
    pub(super) fn row(&self, i: usize) -> &[f64] {
        &self.rows[i * self.k..(i + 1) * self.k]
    }

    pub(super) fn resting(&self, i: usize) -> f64 {
        let [lower, upper] = self.bounds[i];
        0f64.max(lower).min(upper)
    }

    /// Adds the rows `ids`, rising and none of them here yet, with their bounds times `share`.
    pub(super) fn add<T: Float>(
        &mut self,
        context: &Context<'_>,
        rows: &Rows<'_, T>,
        ids: &[usize],
        share: f64,
    ) -> Result<()> {
        let k = self.k;
        let mut merged = Self::new(k);
        let packed = rows.gather(context, ids)?;
        let mut fresh = ids.iter().zip(packed.chunks_exact(k + 2)).peekable();
        for i in 0..=self.len() {
            let until = self.ids.get(i).copied().unwrap_or(usize::MAX);
            while let Some((&id, packed)) = fresh.next_if(|(id, _)| **id < until) {
                let bounds = [packed[k] * share, packed[k + 1] * share];
                merged.push(id, &packed[..k], bounds, 0f64.max(bounds[0]).min(bounds[1]));
            }
            if i < self.len() {
                merged.push(until, self.row(i), self.bounds[i], self.weights[i]);
            }
        }
        *self = merged;
        Ok(())
    }

    /// Leaves the rows that `keep` tells by their place here.
    pub(super) fn retain(&mut self, keep: impl Fn(usize) -> bool) {
        let mut kept = Self::new(self.k);
        for i in (0..self.len()).filter(|&i| keep(i)) {
            kept.push(self.ids[i], self.row(i), self.bounds[i], self.weights[i]);
        }
        *self = kept;
    }

    fn push(&mut self, id: usize, row: &[f64], bounds: [f64; 2], weight: f64) {
        self.ids.push(id);
        self.rows.extend_from_slice(row);
        self.bounds.push(bounds);
        self.weights.push(weight);
    }

    /// ψ_i·z of every row.
    pub(super) fn pulls(&self, z: &[Dd]) -> Vec<Dd> {
        let [hi, lo] = Panel { rows: &self.rows, k: self.k, scale: 1.0 }.pairs(&Price::new(z));
        hi.into_iter().zip(lo).map(|(hi, lo)| Dd { hi, lo }).collect()
    }

    /// ψ_i·d of every row.
    pub(super) fn steps(&self, d: &[f64]) -> Vec<f64> {
        dispatch(
            #[inline(always)]
            || (0..self.len()).map(|i| dot(self.row(i), 1.0, d)).collect(),
        )
    }

    /// Σ ψ_iλ_i.
    pub(super) fn effect(&self, weights: &[f64]) -> Vec<Dd> {
        let mut sums = vec![Dd::default(); self.k];
        dispatch(
            #[inline(always)]
            || {
                for (i, &weight) in weights.iter().enumerate().filter(|(_, weight)| **weight != 0.0) {
                    for (sum, &x) in sums.iter_mut().zip(self.row(i)) {
                        let product = Dd::two_product(x, weight);
                        let total = Dd::two_sum(sum.hi, product.hi);
                        let tail = sum.lo + (total.lo + product.lo);
                        *sum = Dd::two_sum(total.hi, tail);
                    }
                }
            },
        );
        sums
    }

    /// ‖r + z/2‖² + Σ [g + g* − vλ] of this problem with the effect `target`.
    pub(super) fn gap(&self, prices: Prices, target: &[Dd], z: &[Dd], weights: &[f64]) -> f64 {
        let half = Dd::new(0.5);
        let effect = self.effect(weights);
        let mut misfit = 0.0;
        let mut residual = 0.0;
        for ((&effect, &b), &z) in effect.iter().zip(target).zip(z) {
            misfit += (effect - b + z * half).value().powi(2);
            residual += (effect - b).value().powi(2);
        }
        let (mut exact, mut bounded, mut excess) = (0.0, 0.0, 0.0f64);
        let (mut norm, mut squares) = (0.0, 0.0);
        for ((v, &weight), &bounds) in self.pulls(z).into_iter().zip(weights).zip(&self.bounds) {
            let term = Term::new(prices.l1, prices.l2, bounds, weight, v);
            exact += term.exact;
            bounded += term.bounded;
            excess = excess.max(term.excess);
            norm += weight.abs();
            squares += weight * weight;
        }
        let objective = residual + prices.l1 * norm + prices.l2 * squares;
        misfit + least_terms(prices, self.len(), objective, norm, [exact, bounded, excess])
    }

    /// Σ ψ_iψ_iᵀ over the rows of `which`, lower triangle.
    pub(super) fn square(&self, which: &[usize]) -> Vec<f64> {
        let k = self.k;
        let mut matrix = vec![0.0; k * k];
        dispatch(
            #[inline(always)]
            || {
                let mut fours = which.chunks_exact(4);
                for four in &mut fours {
                    let [a, b, c, d] = [0, 1, 2, 3].map(|i| self.row(four[i]));
                    for i in 0..k {
                        let slots = &mut matrix[i * k..=i * k + i];
                        let rows = a.iter().zip(b).zip(c).zip(d);
                        for (slot, (((x, y), z), w)) in slots.iter_mut().zip(rows) {
                            *slot += (a[i] * x + b[i] * y) + (c[i] * z + d[i] * w);
                        }
                    }
                }
                for &one in fours.remainder() {
                    let row = self.row(one);
                    for i in 0..k {
                        let slots = &mut matrix[i * k..=i * k + i];
                        slots.iter_mut().zip(row).for_each(|(slot, x)| *slot += row[i] * x);
                    }
                }
            },
        );
        matrix
    }

    /// ψ_i·ψ_j over the rows of `which`, lower triangle, with `ridge` on the diagonal.
    pub(super) fn products(&self, which: &[usize], ridge: f64) -> Vec<f64> {
        let size = which.len();
        let mut matrix = vec![0.0; size * size];
        dispatch(
            #[inline(always)]
            || {
                for (i, &row) in which.iter().enumerate() {
                    for (j, &other) in which[..=i].iter().enumerate() {
                        matrix[i * size + j] = dot(self.row(row), 1.0, self.row(other));
                    }
                    matrix[i * size + i] += ridge;
                }
            },
        );
        matrix
    }

    /// (2l2·∇²φ)⁻¹ where the rows of `free` move: Σψψᵀ + l2, as a factor.
    pub(super) fn curvature(&self, l2: f64, free: &[usize]) -> Factor {
        let square = self.square(free);
        let trace: f64 = (0..self.k).map(|c| square[c * self.k + c]).sum();
        // Where rounding of the sums outweighs l2 it is raised until the factorisation goes through.
        let mut ridge = l2;
        loop {
            let mut matrix = square.clone();
            (0..self.k).for_each(|c| matrix[c * self.k + c] += ridge);
            if let Some(factor) = Factor::new(matrix, self.k, 0.0) {
                return factor;
            }
            ridge = (ridge * 10.0).max(f64::EPSILON * trace).max(f64::MIN_POSITIVE);
        }
    }
}

/// Σ [g + g* − vλ] of `n` weights: `exact`, or what holds because no optimum has a larger 1-norm than
/// the prices and the objective allow (see [`crate::reweight::certificate`]).
pub(super) fn least_terms(
    prices: Prices,
    n: usize,
    objective: f64,
    norm: f64,
    [exact, bounded, excess]: [f64; 3],
) -> f64 {
    let by_l1 = if prices.l1 > 0.0 { objective / prices.l1 } else { f64::INFINITY };
    let by_l2 = if prices.l2 > 0.0 { (n as f64 * objective / prices.l2).sqrt() } else { f64::INFINITY };
    let radius = by_l1.min(by_l2);
    let radius = if radius.is_finite() { radius } else { 2.0 * norm };
    let bounded = if excess > 0.0 { radius * excess } else { 0.0 } + bounded;
    exact.min(bounded).max(0.0)
}
