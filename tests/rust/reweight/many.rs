//! So many samples that a bracket is sifted, in one box for all: the weights are those of the price, the price
//! is the root, and threads, shards and instruction sets give the same bits.

use puma_fast::reweight::{Bound, Facts, Options, Status, solve};
use puma_fast::simd::{Level, force};
use puma_fast::vecmath::Dd;
use puma_fast::{Context, Float};

use crate::shards::in_shards;

const MANY: usize = 40_000;

/// Numbers between −1 and 1, few of them large.
fn drawn() -> Vec<f64> {
    let mut state = 7u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    };
    (0..MANY).map(|_| next() * next() * next()).collect()
}

/// ψ that a sample, a sum or a threshold may stumble over.
fn patterns() -> Vec<(&'static str, Vec<f64>)> {
    let drawn = drawn();
    let each = |f: &dyn Fn(usize, f64) -> f64| drawn.iter().enumerate().map(|(i, &x)| f(i, x)).collect();
    let mut sorted = drawn.clone();
    sorted.sort_by(f64::total_cmp);
    let reversed = sorted.iter().rev().copied().collect();
    vec![
        ("ties", each(&|_, x| (x * 8.0).round() / 8.0)),
        ("one outlier", each(&|i, x| if i == 31_000 { 1e4 } else { x })),
        ("zeros", each(&|i, x| if i % 100 == 7 { x } else { 0.0 })),
        ("subnormals", each(&|i, x| if i % 3 == 0 { x } else { x * 1e-40 })),
        ("one value", each(&|i, x| if i % 20 == 3 { x } else { -0.25 })),
        ("signed zeros", each(&|i, x| if i % 2 == 0 { x } else { 0f64.copysign(x) })),
        ("sorted", sorted),
        ("reversed", reversed),
        ("as drawn", drawn),
    ]
}

/// The weights and what is known of them, in bits.
fn bits<T: Float>(weights: &[T], facts: &Facts) -> (Vec<T::Key>, [u64; 3], usize, Status) {
    let known = [facts.gap, facts.objective, facts.price[0]].map(f64::to_bits);
    (weights.iter().map(|weight| weight.key()).collect(), known, facts.nonzero, facts.status)
}

/// One weight after the other, at the price.
fn assert_answers<T: Float>(
    what: &str,
    psi: &[T],
    b: f64,
    options: &Options<'_, T>,
    (weights, facts): (&[T], &Facts),
) {
    let (Bound::All(lower), Bound::All(upper)) = (options.lower, options.upper) else {
        unreachable!("for all")
    };
    let (l1, l2, price) = (options.l1.unwrap(), options.l2.unwrap(), facts.price[0]);
    let (mut effect, mut size) = (0.0, b);
    for (j, (psi, weight)) in psi.iter().zip(weights).enumerate() {
        let pull = price * psi.to_f64();
        let free = ((pull.abs() - l1).max(0.0) / (2.0 * l2)).copysign(pull);
        let wanted = free.max(lower.to_f64()).min(upper.to_f64());
        // The price is told as one double.
        let (rounding, least) = T::ROUNDING;
        let bound =
            4.0 * f64::EPSILON * (pull.abs() + l1) / (2.0 * l2) + 1.01 * rounding * (wanted.abs() + least);
        let off = (weight.to_f64() - wanted).abs();
        assert!(off <= bound, "{what}, weight {j}: {weight:?} for {wanted:e}");
        assert!(weight.to_f64() != 0.0 || weight.to_f64().is_sign_positive(), "{what}, weight {j} is −0");
        effect += psi.to_f64() * wanted;
        size += (psi.to_f64() * wanted).abs() + psi.to_f64().abs() * f64::EPSILON * pull.abs() / l2;
    }
    let slack = (price / 2.0).min(options.max_residual.unwrap_or(f64::INFINITY));
    assert!((slack + effect - b).abs() <= 1e-12 * size, "{what}: {slack:e} + {effect:e} is not {b:e}");
    assert_eq!(facts.nonzero, weights.iter().filter(|weight| weight.to_f64() != 0.0).count(), "{what}");
}

fn assert_box<T: Float>(name: &str, psi: &[T]) {
    let alone = |threads, b, options: &Options<'_, T>| {
        let context = Context::new(Some(threads), &|| false).unwrap();
        solve(&context, psi, &[Dd::new(b)], options).unwrap()
    };
    let b: f64 = psi.iter().map(|x| x.to_f64().abs()).sum::<f64>() / 100.0;
    let open = alone(1, b, &Options::default()).facts;
    let prices = Options { l1: Some(open.l1), l2: Some(open.l2), ..Options::default() };
    let mean = open.l1_norm / psi.len() as f64;
    let infinite = f64::INFINITY;
    for (lower, upper, limit) in [
        (-2.0 * mean, 3.0 * mean, None),
        (-30.0 * mean, 40.0 * mean, None),
        (0.0, mean, None),
        (-mean, infinite, None),
        (0.0, 0.0, None),
        (-1e30, 1e30, None),
        (-1e-30, 1e-30, None),
        (-20.0 * mean, 30.0 * mean, Some(b / 2.0)),
    ] {
        let [lower, upper] = [lower, upper].map(|bound| Bound::All(T::from_f64(bound)));
        let options = Options { lower, upper, max_residual: limit, ..prices };
        let what = format!("{name}, {lower:?} to {upper:?}");
        force(Level::Avx512);
        let solution = alone(1, b, &options);
        let wanted = bits(&solution.weights, &solution.facts);
        if solution.facts.status == Status::Solved {
            assert_answers(&what, psi, b, &options, (&solution.weights, &solution.facts));
        } else {
            assert!(limit.is_some() && solution.facts.status == Status::Infeasible, "{what}");
        }
        for (threads, level) in [(2, Level::Avx512), (7, Level::Avx512), (1, Level::Avx2), (1, Level::Scalar)]
        {
            force(level);
            let same = alone(threads, b, &options);
            assert!(bits(&same.weights, &same.facts) == wanted, "{what}: {threads} threads, {level:?}");
        }
        for count in [2, 7] {
            let parts = in_shards(count, |index, context| {
                let own = &psi[index * MANY / count..(index + 1) * MANY / count];
                solve(context, own, &[Dd::new(b)], &options).unwrap()
            });
            let facts = parts[0].facts.clone();
            let weights: Vec<T> = parts.into_iter().flat_map(|part| part.weights).collect();
            assert!(bits(&weights, &facts) == wanted, "{what}: {count} shards");
        }
    }
}

#[test]
fn doubles_in_one_box_answer_to_the_price() {
    patterns().iter().for_each(|(name, psi)| assert_box(name, psi));
}

#[test]
fn singles_in_one_box_answer_to_the_price() {
    for (name, psi) in patterns() {
        assert_box(name, &psi.iter().map(|&x| x as f32).collect::<Vec<_>>());
    }
}
