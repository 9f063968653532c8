//! What is known of the curvature of φ beforehand, from rows that stand for all.

use super::cache::{Cache, Prices};
use super::cholesky::Factor;
use super::newton::{Budget, Goal, newton, responses};
use super::rows::Rows;
use crate::error::Result;
use crate::float::Float;
use crate::par::Context;
use crate::vecmath::Dd;

/// Fewest rows of a sample.
pub(super) const SAMPLE: usize = 4096;
/// Rows of a sample that move, for each criterion, from which its price is worth starting at.
const EACH: usize = 4;
/// ‖∇φ‖ relative to ‖b‖ to which its problem is solved: it is another one than that of all rows by more.
const LOOSE: f64 = 1e-3;
/// Halvings by which a point on a ray is found: the sample knows no more digits of it.
const HALVINGS: usize = 16;

/// Rows that stand for all.
pub(super) struct Sample {
    cache: Cache,
    /// n/m.
    share: f64,
    /// The dual point that solves it.
    pub(super) z: Vec<Dd>,
}

impl Sample {
    /// Equally spaced rows, about `size` of them.
    pub(super) fn new<T: Float>(
        context: &Context<'_>,
        rows: &Rows<'_, T>,
        size: usize,
        z: Vec<Dd>,
    ) -> Result<Self> {
        let stride = (rows.total / size).max(1);
        let ids: Vec<usize> = (0..rows.total).step_by(stride).collect();
        let share = rows.total as f64 / ids.len() as f64;
        let mut cache = Cache::new(rows.k);
        cache.add(context, rows, &ids, share)?;
        Ok(Self { cache, share, z })
    }

    /// The dual point that solves it, where at least `EACH` rows of it for each criterion move (`free` of
    /// them all): fewer say too little about the others.
    pub(super) fn price(&self, free: f64) -> Option<Vec<Dd>> {
        let moving = free * self.cache.len() as f64;
        (moving >= (EACH * self.cache.k) as f64).then(|| self.z.clone())
    }

    /// Where on the ray through z φ of the sample is least, in units of z, at which it falls no more.
    pub(super) fn along(&self, prices: Prices, b: &[Dd], z: &[Dd]) -> f64 {
        let prices = Prices { l2: prices.l2 / self.share, ..prices };
        let pulls = self.cache.pulls(z);
        let squares: f64 = z.iter().map(|z| z.value().powi(2)).sum();
        let gain: f64 = z.iter().zip(b).map(|(z, b)| z.value() * b.value()).sum();
        let slope = |t: f64| {
            let effects = pulls.iter().zip(&self.cache.bounds);
            let effects = effects.map(|(&v, &bounds)| v.hi * prices.respond(Dd::new(t * v.hi), bounds).0);
            0.5 * t * squares + effects.sum::<f64>() - gain
        };
        let (mut low, mut high) = (0.0, 1.0);
        for _ in 0..HALVINGS {
            let t = 0.5 * (low + high);
            *if slope(t) < 0.0 { &mut low } else { &mut high } = t;
        }
        high
    }

    /// Solves the sample's problem, from where it stood; returns the share of the weights that move.
    pub(super) fn solve(&mut self, context: &Context<'_>, prices: Prices, b: &[Dd]) -> Result<f64> {
        let demand = b.iter().map(|b| b.value().powi(2)).sum::<f64>().sqrt();
        let prices = Prices { l2: prices.l2 / self.share, ..prices };
        let goal = Goal { prices, target: b, gap: 0.0 };
        let mut budget = Budget { unit: "step on a sample", used: 0, most: 60 };
        let free = newton(context, &mut self.cache, goal, &mut self.z, LOOSE * demand, &mut budget)?;
        Ok(free as f64 / self.cache.len() as f64)
    }

    /// The curvature at its solution.
    pub(super) fn metric(&self, context: &Context<'_>, prices: Prices) -> Result<Metric> {
        let l2 = prices.l2 / self.share;
        let free = responses(&self.cache, Prices { l2, ..prices }, &self.cache.pulls(&self.z)).1;
        Ok(Metric::new(self.cache.curvature(context, l2, &free)?, l2))
    }
}

/// An estimate of (∇²φ)⁻¹.
pub(super) struct Metric {
    factor: Factor,
    l2: f64,
    /// Steps, what they changed of the gradient, and 1/(step·change).
    pairs: Vec<(Vec<f64>, Vec<f64>, f64)>,
}

impl Metric {
    /// Of the curvature of which `factor` is (2l2·∇²φ).
    pub(super) fn new(factor: Factor, l2: f64) -> Self {
        Self { factor, l2, pairs: Vec::new() }
    }

    /// −(∇²φ)⁻¹·gradient.
    pub(super) fn direction(&self, gradient: &[f64]) -> Vec<f64> {
        let mut d: Vec<f64> = gradient.iter().map(|g| -g).collect();
        let mut parts = Vec::with_capacity(self.pairs.len());
        for (step, change, inverse) in self.pairs.iter().rev() {
            let part = inverse * inner(step, &d);
            d.iter_mut().zip(change).for_each(|(d, y)| *d -= part * y);
            parts.push(part);
        }
        self.factor.solve(&mut d);
        for d in &mut d {
            *d *= 2.0 * self.l2;
        }
        for ((step, change, inverse), part) in self.pairs.iter().zip(parts.into_iter().rev()) {
            let rest = part - inverse * inner(change, &d);
            d.iter_mut().zip(step).for_each(|(d, s)| *d += rest * s);
        }
        d
    }

    pub(super) fn learn(&mut self, step: Vec<f64>, change: Vec<f64>) {
        let product = inner(&step, &change);
        if product > 0.0 {
            self.pairs.push((step, change, 1.0 / product));
        }
    }
}

pub(super) fn inner(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
