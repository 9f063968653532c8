//! What changes no bit of the weights, or flips or rounds them.

use proptest::prelude::*;
use puma_fast::Context;
use puma_fast::reweight::{Ladder, Options, column_sums, solve};
use puma_fast::vecmath::Dd;

use super::problems::{positive, price, scores, with_sides};
use super::{boxed, priced, solve_with};

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn signs_and_powers_of_two_change_no_bit(
        (psi, lower, upper) in with_sides(40),
        b in -10.0..10.0f64,
        (l1, l2) in (price(), price()),
        power in -400i32..400,
    ) {
        let options = boxed(priced(l1, l2), &lower, &upper);
        let weights = solve_with(&psi, &[b], &options).weights;
        let mirrored: Vec<f64> = psi.iter().map(|x| -x).collect();
        prop_assert_eq!(&solve_with(&mirrored, &[-b], &options).weights, &weights);
        let c = 2f64.powi(power);
        let scaled: Vec<f64> = psi.iter().map(|x| c * x).collect();
        let exact = scaled.iter().zip(&psi).all(|(s, x)| s / c == *x) && (l1 * c * c) / c / c == l1 && (l2 * c * c) / c / c == l2;
        if exact {
            let options = boxed(priced(l1 * c * c, l2 * c * c), &lower, &upper);
            prop_assert_eq!(&solve_with(&scaled, &[c * b], &options).weights, &weights);
        }
    }

    #[test]
    fn a_ladder_changes_no_bit(
        psi in scores(60),
        b in -10.0..10.0f64,
        l1s in prop::collection::vec(price(), 4..9),
        l2 in positive(),
    ) {
        let context = Context::new(Some(1), &|| false).unwrap();
        let options = priced(0.0, l2);
        let ladder = Ladder::new(&context, &psi, &[Dd::new(b)], &l1s, &options).unwrap();
        for l1 in l1s {
            let alone = solve_with(&psi, &[b], &priced(l1, l2));
            let shared = solve_with(&psi, &[b], &Options { ladder: ladder.as_ref(), ..priced(l1, l2) });
            prop_assert_eq!(&shared.weights, &alone.weights);
            prop_assert_eq!((shared.facts.gap, shared.facts.price), (alone.facts.gap, alone.facts.price));
        }
    }

    #[test]
    fn a_flipped_sample_gets_the_flipped_weight(psi in scores(40), b in -10.0..10.0f64, (l1, l2) in (price(), price()), at in 0..40usize) {
        let options = priced(l1, l2);
        let mut wanted = solve_with(&psi, &[b], &options).weights;
        let (mut flipped, at) = (psi.clone(), at % psi.len());
        flipped[at] = -flipped[at];
        wanted[at] = -wanted[at];
        prop_assert_eq!(solve_with(&flipped, &[b], &options).weights, wanted);
    }
}

#[test]
fn threads_change_no_bit() {
    let values = |n: usize| (0..n).map(|i| ((i * 2_654_435_761) % 1_000_003) as f64 / 5e5 - 1.0).collect();
    let psi: Vec<f64> = values(300_000);
    for k in [1, 3] {
        for options in [Options::default(), priced(0.5, 0.0), priced(0.0, 0.0)] {
            let bits = |threads| {
                let context = Context::new(Some(threads), &|| false).unwrap();
                let b = column_sums(&context, "psi_mk", &psi[..3000], k).unwrap();
                let solution = solve(&context, &psi, &b, &options).unwrap();
                let bits: Vec<u64> = solution.weights.iter().map(|w| w.to_bits()).collect();
                (bits, solution.facts.gap.to_bits(), solution.facts.objective.to_bits())
            };
            let one = bits(1);
            assert!(bits(2) == one && bits(7) == one, "k = {k}");
        }
    }
}

#[test]
fn extreme_magnitudes_keep_their_weights() {
    let psi = [1.0, -0.75, 0.5, 0.25];
    let wanted = solve_with(&psi, &[2.0], &Options::default()).weights;
    for power in [-1040, -700, -500, 500, 700, 1020] {
        let c = 2f64.powi(power / 2) * 2f64.powi(power - power / 2);
        let scaled = psi.map(|x| c * x);
        let solution = solve_with(&scaled, &[2.0 * c], &Options::default());
        assert_eq!(solution.weights, wanted, "2^{power}");
    }
}

#[test]
fn single_precision_is_the_rounded_double() {
    let psi: Vec<f32> = (0..5000).map(|i| (i * 37 % 1009) as f32 / 300.0 - 1.7).collect();
    let wide: Vec<f64> = psi.iter().map(|&x| f64::from(x)).collect();
    let narrow = solve_with(&psi, &[70.0], &Options::default());
    let double = solve_with(&wide, &[70.0], &Options::default());
    assert!(narrow.weights.iter().zip(&double.weights).all(|(&a, &b)| a == b as f32));
    assert!(
        narrow.facts.gap > double.facts.gap && narrow.facts.gap <= 1e-10 * narrow.facts.objective,
        "{}",
        narrow.facts.gap
    );
}
