//! Several criteria: what the duality gap promises.

use proptest::prelude::*;
use puma_fast::reweight::{Options, Status};

use super::problems::{moderate, with_sides};
use super::{boxed, priced, solve_with};

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn several_criteria_are_certified(
        k in 2..5usize,
        (psi, lower, upper) in with_sides(60),
        b in prop::collection::vec(-10.0..10.0f64, 4),
        (l1, l2) in (moderate(), moderate()),
        open in any::<bool>(),
    ) {
        let n = psi.len() / k;
        let mut options = priced(l1, l2);
        if !open {
            options = boxed(options, &lower[..n], &upper[..n]);
        }
        let solution = solve_with(&psi[..n * k], &b[..k], &options);
        let demand: f64 = b[..k].iter().map(|x| x * x).sum();
        if n > 0 {
            // Without l2 rounding may end it a little early, and the status says so.
            let allowed = if solution.facts.status == Status::Stalled { 1e-11 } else { 1.001e-14 };
            prop_assert!(solution.facts.gap <= allowed * demand, "{solution:?}");
        }
    }

    #[test]
    fn without_prices_rows_of_any_length_and_many_alike_are_certified(
        k in 2..9usize,
        (rows, lower, upper) in with_sides(60),
        entries in prop::collection::vec(-4.0..4.0f64, 60 * 8),
        lengths in prop::collection::vec(-300i32..1, 60),
        b in prop::collection::vec(-10.0..10.0f64, 8),
    ) {
        let n = rows.len();
        // Every third row is the first one, longer or shorter.
        let psi: Vec<f64> = (0..n * k)
            .map(|i| entries[if i / k % 3 == 0 { i % k } else { i }] * 2f64.powi(lengths[i / k]))
            .collect();
        let solution = solve_with(&psi, &b[..k], &boxed(priced(0.0, 0.0), &lower, &upper));
        let demand: f64 = b[..k].iter().map(|x| x * x).sum();
        prop_assert!(solution.facts.gap <= 1.001e-14 * demand, "{solution:?}");
        for (w, (l, u)) in solution.weights.iter().zip(lower.iter().zip(&upper)) {
            prop_assert!(l <= w && w <= u);
        }
    }
}

#[test]
fn slow_convergence_is_a_status() {
    let psi: Vec<f64> = (0..600).map(|i| f64::from(i * 7919 % 1009) / 300.0 - 1.7).collect();
    let options = Options { max_iter: 1, ..priced(3.0, 1e-6) };
    let short = solve_with(&psi, &[30.0, -20.0, 5.0], &options);
    let full = solve_with(&psi, &[30.0, -20.0, 5.0], &priced(3.0, 1e-6));
    assert_eq!((short.facts.status, full.facts.status), (Status::MaxIter, Status::Solved));
    assert!(
        short.facts.gap > full.facts.gap && short.facts.objective - short.facts.gap <= full.facts.objective,
        "{short:?}"
    );
}
