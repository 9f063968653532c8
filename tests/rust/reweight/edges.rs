//! Where a problem ends: nothing to weigh or to want, numbers next to the largest and the least.

use num_traits::Signed;
use puma_fast::reweight::{Bound, Options, Status};

use super::{boxed, priced, solve_with};

#[test]
fn nothing_to_weigh() {
    let solution = solve_with::<f64>(&[], &[2.0], &Options::default());
    assert_eq!(
        (solution.facts.status, solution.facts.residual[0], solution.facts.objective),
        (Status::Empty, -2.0, 4.0)
    );
    assert_eq!(solution.facts.gap, 0.0);
    let within = |limit| Options { max_residual: Some(limit), ..Options::default() };
    assert_eq!(solve_with::<f64>(&[], &[2.0], &within(2.0)).facts.status, Status::Empty);
    let solution = solve_with::<f64>(&[], &[2.0], &within(1.0));
    assert_eq!((solution.facts.status, solution.facts.reach), (Status::Infeasible, Some((0.0, 0.0))));
    assert_eq!(solve_with::<f64>(&[], &[1.0, 2.0], &Options::default()).facts.status, Status::Empty);
}

#[test]
fn no_effect_leaves_weights_at_rest() {
    for k in [1, 2] {
        let options = boxed(priced(1.0, 1.0), &[-1.0, 0.5], &[1.0, 2.0]);
        let solution = solve_with(&vec![0.0; 2 * k], &vec![3.0; k], &options);
        assert_eq!((solution.facts.status, solution.weights), (Status::NoEffect, vec![0.0, 0.5]));
        assert_eq!(solution.facts.residual, vec![-3.0; k]);
    }
}

#[test]
fn nothing_wanted_nothing_done() {
    for k in [1, 2] {
        let solution = solve_with(&[1.0, -2.0, 3.0, 4.0], &vec![0.0; k], &priced(0.0, 0.0));
        assert!(solution.weights.iter().all(|&w| w == 0.0));
        assert_eq!((solution.facts.objective, solution.facts.gap, solution.facts.nonzero), (0.0, 0.0, 0));
    }
    let options = Options { max_residual: Some(2.0), ..priced(0.0, 5.0) };
    assert_eq!(solve_with(&[1.0], &[2.0], &priced(4.0, 5.0)).weights, [0.0]);
    assert!(solve_with(&[1.0], &[2.0], &options).weights[0] > 0.0);
}

#[test]
fn from_l1_max_on_all_weights_are_zero() {
    let psi = [0.3, -0.7, 0.1, 0.9, 0.2, -0.4];
    for k in [1, 2, 3] {
        let b = &[1.1, -0.3, 0.7][..k];
        let l1_max = solve_with(&psi, b, &priced(1.0, 1.0)).facts.l1_max;
        for l2 in [0.0, 1e-300, 1.0] {
            for l1 in [l1_max, l1_max.next_up(), 1e300, f64::INFINITY] {
                let solution = solve_with(&psi, b, &priced(l1, l2));
                assert!(solution.weights.iter().all(|&w| w == 0.0), "l1 = {l1:e}: {solution:?}");
                assert!(solution.facts.gap <= 1e-28, "{solution:?}");
            }
            let below = solve_with(&psi, b, &priced(l1_max * (1.0 - 1e-9), l2));
            assert!(below.facts.nonzero > 0, "{below:?}");
        }
    }
}

#[test]
fn a_tiny_box_keeps_its_norm() {
    let options = Options {
        lower: Bound::All(-1.174_121_880_544_399_6e-248),
        ..priced(0.0, 1.930_592_123_689_42e-197)
    };
    for limit in [None, Some(f64::MAX)] {
        let options = Options { max_residual: limit, ..options };
        let solution = solve_with(&[1.75, 3.875], &[-2.0], &options);
        assert_eq!(solution.facts.l1_norm, solution.weights.iter().map(Signed::abs).sum::<f64>());
        assert!(solution.facts.gap <= 1e-14 * solution.facts.objective, "{solution:?}");
    }
}

#[test]
fn a_box_next_to_the_largest_number_is_none() {
    let psi = [-1.625, 4.125, -0.75, 14.5, -29.5];
    let open = solve_with(&psi, &[3.25], &Options::default());
    let boxed = solve_with(&psi, &[3.25], &Options { upper: Bound::All(f64::MAX), ..Options::default() });
    assert_eq!((boxed.weights, boxed.facts.l1_norm), (open.weights, open.facts.l1_norm));
}

#[test]
fn prices_next_to_the_largest_number_keep_the_weights() {
    let options =
        Options { upper: Bound::All(3.875), max_residual: Some(1.67e-308), ..priced(21.76, f64::MAX) };
    let solution = solve_with(&[1.75, 2.625], &[0.253_906_25], &options);
    let wanted = [1.75, 2.625].map(|x| x * 0.253_906_25 / (1.75 * 1.75 + 2.625 * 2.625));
    for (w, wanted) in solution.weights.iter().zip(wanted) {
        assert!((w - wanted).abs() < 1e-14, "{solution:?}");
    }
    assert_eq!(solution.facts.l1_norm, solution.weights.iter().sum::<f64>());
}

#[test]
fn sums_that_overflow_have_an_infinite_gap() {
    let (lower, upper) = ([f64::MAX; 4], [f64::INFINITY; 4]);
    let solution = solve_with(&[-0.001; 4], &[0.0], &boxed(priced(1.0, 1.0), &lower, &upper));
    assert_eq!((solution.weights, solution.facts.gap), (vec![f64::MAX; 4], f64::INFINITY));

    let tiny = f64::from_bits(1);
    let options =
        Options { upper: Bound::All(tiny), max_residual: Some(tiny), l1: Some(0.0), ..Options::default() };
    let solution = solve_with(&[-1.625, -4.625], &[7e170], &options);
    assert_eq!((solution.facts.status, solution.facts.gap), (Status::Solved, f64::INFINITY));
}

#[test]
fn an_unreachable_limit_is_a_status() {
    let options = Options { max_residual: Some(0.5), ..boxed(priced(1.0, 1.0), &[-1.0; 2], &[2.0; 2]) };
    let solution = solve_with(&[1.0, -3.0], &[9.0], &options);
    assert_eq!((solution.facts.status, solution.facts.reach), (Status::Infeasible, Some((-7.0, 5.0))));
    assert_eq!(
        (solution.weights, solution.facts.residual, solution.facts.gap),
        (vec![2.0, -1.0], vec![-4.0], f64::INFINITY)
    );
}

#[test]
fn a_limit_that_no_price_meets_holds_the_box() {
    let psi = [1.75, 1.0, f64::EPSILON, 5e-324, 0.0];
    let options =
        Options { upper: Bound::All(0.0), max_residual: Some(f64::MIN_POSITIVE), ..Options::default() };
    let solution = solve_with(&psi, &[f64::EPSILON], &options);
    assert_eq!((solution.facts.status, solution.weights), (Status::Infeasible, vec![0.0; 5]));
}

#[test]
fn infinite_l1_holds_the_box() {
    let options = boxed(priced(f64::INFINITY, 0.0), &[-1.0, 0.5], &[1.0, 2.0]);
    assert_eq!(solve_with(&[1.0, 1.0], &[9.0], &options).weights, [0.0, 0.5]);
}
