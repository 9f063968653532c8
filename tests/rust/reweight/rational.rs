//! One criterion in exact rational numbers: the solver that fits on a screen, which the others are held
//! against.

use num_rational::BigRational as Q;
use num_traits::{Signed, ToPrimitive, Zero};
use puma_fast::reweight::{Bound, Options};

pub(super) fn q(x: f64) -> Q {
    Q::from_float(x).expect("finite")
}

/// The problem with one criterion and l2 > 0, in rationals. Infinite bounds are `None`.
pub(super) struct Exact {
    psi: Vec<Q>,
    b: Q,
    l1: Q,
    l2: Q,
    lower: Vec<Option<Q>>,
    upper: Vec<Option<Q>>,
}

impl Exact {
    pub(super) fn new(psi: &[f64], b: f64, options: &Options<'_, f64>) -> Self {
        let side = |bound: &Bound<'_, f64>| {
            let at = |j: usize| match bound {
                Bound::All(x) => *x,
                Bound::Each(x) => x[j],
            };
            (0..psi.len()).map(|j| Q::from_float(at(j))).collect()
        };
        Self {
            psi: psi.iter().map(|&x| q(x)).collect(),
            b: q(b),
            l1: q(options.l1.unwrap()),
            l2: q(options.l2.unwrap()),
            lower: side(&options.lower),
            upper: side(&options.upper),
        }
    }

    fn two_l2(&self) -> Q {
        &self.l2 + &self.l2
    }

    /// λ(z), by the formula of the module's page.
    fn weights(&self, z: &Q) -> Vec<Q> {
        let weight = |(j, psi): (usize, &Q)| {
            let v = z * psi;
            let over = v.abs() - &self.l1;
            let soft = if over.is_positive() { over * v.signum() } else { Q::zero() };
            let mut weight = soft / self.two_l2();
            if let Some(lower) = &self.lower[j] {
                weight = weight.max(lower.clone());
            }
            if let Some(upper) = &self.upper[j] {
                weight = weight.min(upper.clone());
            }
            weight
        };
        self.psi.iter().enumerate().map(weight).collect()
    }

    pub(super) fn residual(&self, weights: &[Q]) -> Q {
        self.psi.iter().zip(weights).map(|(p, w)| p * w).sum::<Q>() - &self.b
    }

    pub(super) fn objective(&self, weights: &[Q]) -> Q {
        let r = self.residual(weights);
        weights.iter().map(|w| w.abs() * &self.l1 + w * w * &self.l2).sum::<Q>() + &r * &r
    }

    /// λ at the root of slack·z + Ψᵀλ(z) = wanted: every kink is tried, the root is between two.
    fn root(&self, slack: &Q, wanted: &Q) -> Vec<Q> {
        let f = |z: &Q| slack * z + self.residual(&self.weights(z)) + &self.b - wanted;
        let mut kinks = vec![Q::zero()];
        for (j, psi) in self.psi.iter().enumerate().filter(|(_, psi)| !psi.is_zero()) {
            let ends = [&self.lower[j], &self.upper[j]].into_iter().flatten();
            for weight in ends.cloned().chain([Q::zero()]) {
                let v = weight.abs() * self.two_l2() + &self.l1;
                kinks.extend([&v / psi, -&v / psi]);
            }
        }
        kinks.sort();
        let step = q(1.0);
        kinks.insert(0, &kinks[0] - &step);
        kinks.push(kinks.last().unwrap() + &step);
        // F rises: the first kink where it is not negative ends the piece of the root.
        let end = kinks.partition_point(|z| f(z).is_negative()).clamp(1, kinks.len() - 1);
        let (left, right) = (&kinks[end - 1], &kinks[end]);
        let (low, high) = (f(left), f(right));
        let z = if low == high { left.clone() } else { left - &low * (right - left) / (&high - &low) };
        self.weights(&z)
    }

    pub(super) fn solve(&self) -> Vec<Q> {
        self.root(&q(0.5), &self.b)
    }

    /// The optimum under |r| ≤ limit.
    pub(super) fn solve_within(&self, limit: &Q) -> Vec<Q> {
        let soft = self.solve();
        let r = self.residual(&soft);
        if r.abs() <= *limit {
            return soft;
        }
        self.root(&Q::zero(), &(&self.b + limit * r.signum()))
    }
}

/// Every weight within `ulps` roundings of the largest one: a weight next to its kink is the small
/// difference of two larger numbers.
pub(super) fn assert_close(weights: &[f64], exact: &[Q], ulps: f64) {
    let largest = exact.iter().map(|w| w.to_f64().unwrap().abs()).fold(0.0, f64::max);
    for (j, (got, want)) in weights.iter().zip(exact).enumerate() {
        let error = (q(*got) - want).to_f64().unwrap().abs();
        assert!(error <= ulps * f64::EPSILON * largest, "weight {j}: {got:e}, off by {error:e}");
    }
}
