//! Few rows in doubles, small enough to stay in a core's cache: the working set, a sample, or all rows
//! of a small problem. Every shard holds the same copy and comes to the same answer.

use super::certificate::Judged;
use super::cholesky::Factor;
use super::dot::{Price, dot};
use super::panel::Panel;
use super::rows::Rows;
use super::square::square;
use crate::error::Result;
use crate::float::Float;
use crate::par::Context;
use crate::reweight::certificate::{Certificate, Term};
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
        // Divided before it is known whether there is anything to divide: a choice, not a branch.
        let free = (size / (2.0 * self.l2)).copysign(v.hi);
        let wanted = if size > 0.0 { free } else { 0.0 };
        let weight = wanted.max(lower).min(upper);
        (weight, size > 0.0 && weight == wanted)
    }

    /// Whether they keep an optimum's 1-norm from growing.
    pub(super) fn bound_weights(self) -> bool {
        self.l1 > 0.0 || self.l2 > 0.0
    }

    /// Without prices only what the weights do is seen, and a row and its c-fold are the same row, so a
    /// weight counts by the largest |ψ| of its row.
    #[inline(always)]
    pub(super) fn measure<T: Float>(self, row: &[T], scale: f64) -> Measure {
        Measure(if self.bound_weights() { 1.0 } else { longest(row) * scale })
    }
}

/// What the weight of one row counts in a sum that bounds all weights.
#[derive(Clone, Copy)]
pub(super) struct Measure(f64);

impl Measure {
    #[inline(always)]
    pub(super) fn length(self, weight: f64) -> f64 {
        if weight == 0.0 { 0.0 } else { weight.abs() * self.0 }
    }

    /// |v| − l1 for each unit of length.
    #[inline(always)]
    pub(super) fn excess(self, excess: f64) -> f64 {
        if excess > 0.0 { excess / self.0 } else { 0.0 }
    }
}

/// The largest |x|.
#[inline(always)]
fn longest<T: Float>(row: &[T]) -> f64 {
    row.iter().fold(0.0, |most, x| most.max(x.to_f64().abs()))
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

    fn with_room(k: usize, rows: usize) -> Self {
        Self {
            k,
            ids: Vec::with_capacity(rows),
            rows: Vec::with_capacity(rows * k),
            bounds: Vec::with_capacity(rows),
            weights: Vec::with_capacity(rows),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    #[inline(always)]
    pub(super) fn row(&self, i: usize) -> &[f64] {
        &self.rows[i * self.k..(i + 1) * self.k]
    }

    /// The largest |ψ| of a row.
    pub(super) fn longest(&self, i: usize) -> f64 {
        longest(self.row(i))
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
        let mut merged = Self::with_room(k, self.len() + ids.len());
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
    pub(super) fn retain(&mut self, keep: impl Fn(&Self, usize) -> bool) {
        let mut kept = Self::with_room(self.k, self.len());
        for i in (0..self.len()).filter(|&i| keep(self, i)) {
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
        let [mut hi, mut lo] = [(); 2].map(|()| vec![0.0; self.k]);
        dispatch(
            #[inline(always)]
            || {
                for (i, &weight) in weights.iter().enumerate().filter(|(_, weight)| **weight != 0.0) {
                    for ((hi, lo), &x) in hi.iter_mut().zip(&mut lo).zip(self.row(i)) {
                        let product = Dd::two_product(x, weight);
                        let total = Dd::two_sum(*hi, product.hi);
                        let sum = Dd::two_sum(total.hi, *lo + (total.lo + product.lo));
                        (*hi, *lo) = (sum.hi, sum.lo);
                    }
                }
            },
        );
        hi.into_iter().zip(lo).map(|(hi, lo)| Dd { hi, lo }).collect()
    }

    /// The duality gap of `weights` at z, of this problem with the effect `target`.
    pub(super) fn gap(&self, prices: Prices, target: &[Dd], z: &[Dd], weights: &[f64]) -> f64 {
        self.judge(prices, target, z, weights, self.len(), [0.0; 3]).gap
    }

    /// What `weights` achieve at z, where of `n` rows all others rest at zero and add `others` to the terms.
    pub(super) fn judge(
        &self,
        prices: Prices,
        target: &[Dd],
        z: &[Dd],
        weights: &[f64],
        n: usize,
        others: [f64; 3],
    ) -> Certificate {
        let [mut exact, mut bounded, mut excess] = others;
        let [mut norm, mut length, mut squares] = [Dd::default(); 3];
        let mut nonzero = 0;
        for (i, (v, &weight)) in self.pulls(z).into_iter().zip(weights).enumerate() {
            let term = Term::new(prices.l1, prices.l2, self.bounds[i], weight, v);
            exact += term.exact;
            bounded += term.bounded;
            let measure = prices.measure(self.row(i), 1.0);
            excess = excess.max(measure.excess(term.excess));
            length = length + Dd::new(measure.length(weight));
            norm = norm + Dd::new(weight.abs());
            squares = squares + Dd::two_product(weight, weight);
            nonzero += usize::from(weight != 0.0);
        }
        let [l1_norm, length, squares] = [norm, length, squares].map(Dd::value);
        let judged = Judged { effect: self.effect(weights), l1_norm, squares, nonzero };
        judged.certificate(prices, target, z, |objective, misfit| {
            least_gap(prices, n, objective, length, misfit, [exact, bounded, excess])
        })
    }

    /// The rows of `which`, each times its unit.
    pub(super) fn scaled(&self, which: &[usize], units: &[f64]) -> Vec<f64> {
        which.iter().zip(units).flat_map(|(&i, unit)| self.row(i).iter().map(move |x| x * unit)).collect()
    }

    /// ψ_i·ψ_j over the rows of `which`, each times its unit, lower triangle, with l2 on the diagonal.
    pub(super) fn products(&self, which: &[usize], units: &[f64], l2: f64) -> Vec<f64> {
        let (k, size, rows) = (self.k, which.len(), self.scaled(which, units));
        let row = |i: usize| &rows[i * k..(i + 1) * k];
        let mut matrix = vec![0.0; size * size];
        dispatch(
            #[inline(always)]
            || {
                for (i, unit) in units.iter().enumerate() {
                    for j in 0..=i {
                        matrix[i * size + j] = dot(row(i), 1.0, row(j));
                    }
                    matrix[i * size + i] += l2 * unit * unit;
                }
            },
        );
        matrix
    }

    /// (2l2·∇²φ)⁻¹ where the rows of `free` move: Σψψᵀ + l2, as a factor.
    pub(super) fn curvature(&self, context: &Context<'_>, l2: f64, free: &[usize]) -> Result<Factor> {
        Ok(Factor::ridged(&square(context, &self.rows, self.k, free)?, self.k, l2))
    }
}

/// P − D of `n` weights with the objective P, Σ of their lengths `length` (see [`Prices::measure`]),
/// ‖r + z/2‖² `misfit` and the sums of their terms: with `exact`, or with what holds because no optimum is
/// longer than the prices and the objective allow (see [`crate::reweight::certificate`]), without prices
/// than twice `length`.
pub(super) fn least_gap(
    prices: Prices,
    n: usize,
    objective: f64,
    length: f64,
    misfit: f64,
    [exact, bounded, excess]: [f64; 3],
) -> f64 {
    let by_l1 = if prices.l1 > 0.0 { objective / prices.l1 } else { f64::INFINITY };
    let by_l2 = if prices.l2 > 0.0 { (n as f64 * objective / prices.l2).sqrt() } else { f64::INFINITY };
    let radius = by_l1.min(by_l2);
    let radius = if radius.is_finite() { radius } else { 2.0 * length };
    let bounded = if excess > 0.0 { radius * excess } else { 0.0 } + bounded;
    misfit + exact.min(bounded).max(0.0)
}
