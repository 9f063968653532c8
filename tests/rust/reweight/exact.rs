//! One criterion: the weights of rational numbers, to rounding.

use num_rational::BigRational as Q;
use num_traits::{Signed, ToPrimitive};
use proptest::prelude::*;
use puma_fast::reweight::{Options, Status};

use super::problems::{positive, price, scores, with_sides};
use super::rational::{Exact, assert_close, q};
use super::{boxed, priced, solve_with};

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn one_criterion_is_exact(psi in scores(60), b in -10.0..10.0f64, l1 in price(), l2 in positive()) {
        let options = priced(l1, l2);
        let solution = solve_with(&psi, &[b], &options);
        let exact = Exact::new(&psi, b, &options);
        assert_close(&solution.weights, &exact.solve(), 8.0);
        prop_assert!(solution.facts.gap <= 1e-24 * solution.facts.objective + 1e-30 * b * b, "{solution:?}");
    }

    #[test]
    fn a_box_is_exact((psi, lower, upper) in with_sides(40), b in -10.0..10.0f64, l1 in price(), l2 in positive()) {
        let options = boxed(priced(l1, l2), &lower, &upper);
        let solution = solve_with(&psi, &[b], &options);
        for (w, (l, u)) in solution.weights.iter().zip(lower.iter().zip(&upper)) {
            prop_assert!(l <= w && w <= u);
        }
        let exact = Exact::new(&psi, b, &options);
        assert_close(&solution.weights, &exact.solve(), 16.0);
    }

    #[test]
    fn a_residual_limit_is_exact(
        (psi, lower, upper) in with_sides(30),
        b in -10.0..10.0f64,
        (l1, l2) in (price(), positive()),
        limit in prop_oneof![Just(0.0), 0.0..5.0f64],
    ) {
        let options = Options { max_residual: Some(limit), ..boxed(priced(l1, l2), &lower, &upper) };
        let solution = solve_with(&psi, &[b], &options);
        let exact = Exact::new(&psi, b, &options);
        let wanted = exact.solve_within(&q(limit));
        let missed = exact.residual(&wanted).abs() - q(limit);
        if solution.facts.status == Status::Infeasible {
            prop_assert!(missed.to_f64().unwrap() > -1e-14, "{missed}");
            let (least, most) = solution.facts.reach.unwrap();
            prop_assert!(least - 1e-9 <= b - solution.facts.residual[0].abs() || b + solution.facts.residual[0].abs() <= most + 1e-9);
        } else {
            let size: f64 = psi.iter().zip(&solution.weights).map(|(p, w)| (p * w).abs()).sum();
            prop_assert!(solution.facts.residual[0].abs() <= limit + 1e-15 * (size + b.abs()));
            assert_close(&solution.weights, &wanted, 64.0);
        }
    }

    #[test]
    fn the_gap_bounds_the_error(psi in scores(40), b in -10.0..10.0f64, l1 in price(), l2 in positive()) {
        let options = priced(l1, l2);
        let solution = solve_with(&psi, &[b], &options);
        let exact = Exact::new(&psi, b, &options);
        let weights: Vec<Q> = solution.weights.iter().map(|&w| q(w)).collect();
        let best = exact.solve();
        let excess = exact.objective(&weights) - exact.objective(&best);
        prop_assert!(!excess.is_negative());
        prop_assert!(excess.to_f64().unwrap() <= solution.facts.gap * (1.0 + 1e-6) + 1e-60 * solution.facts.objective);
        let distance: Q = weights.iter().zip(&best).map(|(a, b)| (a - b) * (a - b)).sum();
        prop_assert!(distance.to_f64().unwrap() <= solution.facts.gap / l2 * (1.0 + 1e-6) + 1e-60);
    }
}

#[test]
fn two_hundred_samples_against_rationals() {
    let psi: Vec<f64> = (0..200).map(|i| f64::from(i * 7919 % 1009) / 300.0 - 1.7).collect();
    for (l1, l2) in [(0.0, 1.0), (0.3, 1e-3), (5.0, 1e-6), (40.0, 1e-30), (1e-9, 1e3)] {
        let options = priced(l1, l2);
        let solution = solve_with(&psi, &[37.0], &options);
        assert_close(&solution.weights, &Exact::new(&psi, 37.0, &options).solve(), 4.0);
    }
}
