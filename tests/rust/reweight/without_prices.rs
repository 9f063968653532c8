//! Without l1, l2 or both, or next to it: the limits have closed forms.

use puma_fast::reweight::Options;

use super::{boxed, priced, solve_with};

#[test]
fn ridge_has_its_closed_form() {
    let solution = solve_with(&[1.0, 2.0, -2.0], &[12.0], &priced(0.0, 3.0));
    assert_eq!(solution.weights, [1.0, 2.0, -2.0]);
    assert!(solution.facts.unique);
}

#[test]
fn without_l2_the_largest_scores_share() {
    let solution = solve_with(&[1.0, 2.0, -0.5], &[3.0], &priced(2.0, 0.0));
    // s = b/M − l1/2M² on the one largest score.
    assert_eq!(solution.weights, [0.0, 1.25, 0.0]);
    assert!(solution.facts.unique && solution.facts.gap <= 1e-28, "{solution:?}");
    let solution = solve_with(&[-2.0, 2.0, 1.0, 2.0], &[3.0], &priced(2.0, 0.0));
    assert!((solution.weights[1] - 1.25 / 3.0).abs() < 1e-16, "{solution:?}");
    assert_eq!(solution.weights[0], -solution.weights[1]);
    assert_eq!((solution.weights[2], solution.weights[3]), (0.0, solution.weights[1]));
    assert!(!solution.facts.unique);
}

#[test]
fn without_l2_a_box_is_filled_from_the_largest() {
    // Saturate 4 and 3 (effect 7), the rest of 8 − l1/2·2 to the two twos, of which one has less room.
    let options = boxed(priced(1.0, 0.0), &[0.0; 5], &[1.0, 1.0, 0.05, 1.0, 1.0]);
    let solution = solve_with(&[4.0, 3.0, 2.0, 2.0, 1.0], &[8.0], &options);
    assert_eq!(&solution.weights[..3], [1.0, 1.0, 0.05]);
    let effect = 8.0 - 0.5 * 1.0 / 2.0; // r = −l1 / 2|ψ| at the tied score
    assert!((solution.weights[3] - (effect - 7.1) / 2.0).abs() < 1e-15, "{solution:?}");
    assert_eq!(solution.weights[4], 0.0);
    assert!(!solution.facts.unique && solution.facts.gap <= 1e-28, "{solution:?}");
}

#[test]
fn tiny_l2_is_continuous_with_none() {
    let psi = [4.0, 3.0, 2.0, 2.0, 1.0];
    let upper = [1.0, 1.0, 0.05, 1.0, 1.0];
    for b in [8.0, 7.35, 30.0, 0.2] {
        for options in [boxed(priced(1.0, 0.0), &[0.0; 5], &upper), priced(1.0, 0.0), priced(0.0, 0.0)] {
            let limit = solve_with(&psi, &[b], &options).weights;
            for l2 in [1e-300, 1e-100, 1e-30, 1e-18] {
                let near = solve_with(&psi, &[b], &Options { l2: Some(l2), ..options });
                for (w, v) in near.weights.iter().zip(&limit) {
                    assert!(
                        (w - v).abs() <= 1e-15 * (1.0 + v.abs()),
                        "b = {b}, l2 = {l2:e}: {near:?}, {limit:?}"
                    );
                }
                assert!(near.facts.gap <= 1e-28 * b * b, "{near:?}");
            }
        }
    }
}

#[test]
fn free_weights_take_the_least_norm() {
    let solution = solve_with(&[3.0, -4.0], &[50.0], &priced(0.0, 0.0));
    assert_eq!((solution.weights, solution.facts.residual), (vec![6.0, -8.0], vec![0.0]));
    assert!(!solution.facts.unique);
    let options = boxed(priced(0.0, 0.0), &[-1.0; 2], &[1.0; 2]);
    let solution = solve_with(&[3.0, -4.0], &[50.0], &options);
    assert_eq!((solution.weights, solution.facts.residual), (vec![1.0, -1.0], vec![-43.0]));
    assert!(solution.facts.unique && solution.facts.gap == 0.0);
    // Minimum norm with k = 2: Ψ(ΨᵀΨ)⁻¹b.
    let solution = solve_with(&[1.0, 0.0, 1.0, 0.0, 0.0, 2.0], &[4.0, 6.0], &priced(0.0, 0.0));
    for (w, wanted) in solution.weights.iter().zip([2.0, 2.0, 3.0]) {
        assert!((w - wanted).abs() < 1e-14, "{solution:?}");
    }
}
