//! What a caller of `reweight` relies on, against a solver in exact rational numbers that fits on a
//! screen.

use num_rational::BigRational as Q;
use num_traits::{Signed, ToPrimitive, Zero};
use proptest::prelude::*;

use puma_fast::reweight::{Bound, Ladder, Options, Solution, Status, column_sums, solve};
use puma_fast::vecmath::Dd;
use puma_fast::{Context, Error, Float};

fn solve_with<T: Float>(psi: &[T], b: &[f64], options: &Options<'_, T>) -> Solution<Vec<T>> {
    try_solve(psi, b, options).unwrap()
}

fn try_solve<T: Float>(psi: &[T], b: &[f64], options: &Options<'_, T>) -> Result<Solution<Vec<T>>, Error> {
    let context = Context::new(Some(2), &|| false).unwrap();
    let b: Vec<Dd> = b.iter().copied().map(Dd::new).collect();
    solve(&context, psi, &b, options)
}

fn priced(l1: f64, l2: f64) -> Options<'static, f64> {
    Options { l1: Some(l1), l2: Some(l2), ..Options::default() }
}

fn boxed<'a>(options: Options<'a, f64>, lower: &'a [f64], upper: &'a [f64]) -> Options<'a, f64> {
    Options { lower: Bound::Each(lower), upper: Bound::Each(upper), ..options }
}

fn q(x: f64) -> Q {
    Q::from_float(x).expect("finite")
}

/// The problem with one criterion and l2 > 0, in rationals. Infinite bounds are `None`.
struct Exact {
    psi: Vec<Q>,
    b: Q,
    l1: Q,
    l2: Q,
    lower: Vec<Option<Q>>,
    upper: Vec<Option<Q>>,
}

impl Exact {
    fn new(psi: &[f64], b: f64, options: &Options<'_, f64>) -> Self {
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

    fn residual(&self, weights: &[Q]) -> Q {
        self.psi.iter().zip(weights).map(|(p, w)| p * w).sum::<Q>() - &self.b
    }

    fn objective(&self, weights: &[Q]) -> Q {
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

    fn solve(&self) -> Vec<Q> {
        self.root(&q(0.5), &self.b)
    }

    /// The optimum under |r| ≤ limit.
    fn solve_within(&self, limit: &Q) -> Vec<Q> {
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
fn assert_close(weights: &[f64], exact: &[Q], ulps: f64) {
    let largest = exact.iter().map(|w| w.to_f64().unwrap().abs()).fold(0.0, f64::max);
    for (j, (got, want)) in weights.iter().zip(exact).enumerate() {
        let error = (q(*got) - want).to_f64().unwrap().abs();
        assert!(error <= ulps * f64::EPSILON * largest, "weight {j}: {got:e}, off by {error:e}");
    }
}

fn scores(largest: usize) -> impl Strategy<Value = Vec<f64>> {
    let score = prop_oneof![
        6 => -4.0..4.0f64,
        2 => prop::sample::select(vec![0.0, 0.5, -0.5, 1.0, -1.0, 3.0]),
        1 => (-300i32..0).prop_map(|e| 2f64.powi(e)),
    ];
    prop::collection::vec(score, 1..largest)
}

fn price() -> impl Strategy<Value = f64> {
    prop_oneof![Just(0.0), 1e-6..20.0f64, (-60i32..4).prop_map(|e| 2f64.powi(e))]
}

/// Prices at which a gap relative to ‖b‖² means something: none, or not next to nothing.
fn moderate() -> impl Strategy<Value = f64> {
    prop_oneof![Just(0.0), 1e-3..20.0f64]
}

fn positive() -> impl Strategy<Value = f64> {
    prop_oneof![1e-6..20.0f64, (-60i32..4).prop_map(|e| 2f64.powi(e))]
}

/// Boxes of every kind: around zero, beside it, a single point, open to one side.
fn sides(n: usize) -> impl Strategy<Value = (Vec<f64>, Vec<f64>)> {
    let side = (-2.0..2.0f64, prop_oneof![Just(0.0), 0.0..3.0f64], 0..4u8).prop_map(|(low, width, open)| {
        let lower = if open == 1 { f64::NEG_INFINITY } else { low };
        (lower, if open == 2 { f64::INFINITY } else { low + width })
    });
    prop::collection::vec(side, n).prop_map(|sides| sides.into_iter().unzip())
}

fn with_sides(largest: usize) -> impl Strategy<Value = (Vec<f64>, Vec<f64>, Vec<f64>)> {
    scores(largest).prop_flat_map(|psi| {
        let n = psi.len();
        (Just(psi), sides(n)).prop_map(|(psi, (lower, upper))| (psi, lower, upper))
    })
}

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
fn two_hundred_samples_against_rationals() {
    let psi: Vec<f64> = (0..200).map(|i| f64::from(i * 7919 % 1009) / 300.0 - 1.7).collect();
    for (l1, l2) in [(0.0, 1.0), (0.3, 1e-3), (5.0, 1e-6), (40.0, 1e-30), (1e-9, 1e3)] {
        let options = priced(l1, l2);
        let solution = solve_with(&psi, &[37.0], &options);
        assert_close(&solution.weights, &Exact::new(&psi, 37.0, &options).solve(), 4.0);
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

#[test]
fn a_tiny_box_keeps_its_norm() {
    let options =
        Options { lower: Bound::All(-1.1741218805443996e-248), ..priced(0.0, 1.93059212368942e-197) };
    for limit in [None, Some(f64::MAX)] {
        let options = Options { max_residual: limit, ..options };
        let solution = solve_with(&[1.75, 3.875], &[-2.0], &options);
        assert_eq!(solution.facts.l1_norm, solution.weights.iter().map(|w| w.abs()).sum::<f64>());
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
    let solution = solve_with(&[1.75, 2.625], &[0.25390625], &options);
    let wanted = [1.75, 2.625].map(|x| x * 0.25390625 / (1.75 * 1.75 + 2.625 * 2.625));
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
fn infinite_l1_holds_the_box() {
    let options = boxed(priced(f64::INFINITY, 0.0), &[-1.0, 0.5], &[1.0, 2.0]);
    assert_eq!(solve_with(&[1.0, 1.0], &[9.0], &options).weights, [0.0, 0.5]);
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

#[test]
fn refusals_name_the_argument_and_the_place() {
    let refused = |psi: &[f64], b: &[f64], options: &Options<'_, f64>| {
        try_solve(psi, b, options).unwrap_err().to_string()
    };
    let plain = priced(1.0, 1.0);
    assert!(refused(&[1.0, f64::NAN], &[1.0], &plain).contains("psi_up[1] is NaN"));
    assert!(refused(&[1.0], &[f64::INFINITY], &plain).contains("target[0] is inf"));
    assert!(refused(&[1.0], &[1.0], &priced(-1.0, 1.0)).starts_with("l1 must be at least 0"));
    assert!(refused(&[1.0], &[1.0], &priced(1.0, f64::NAN)).starts_with("l2 must be finite"));
    assert!(refused(&[1.0; 3], &[1.0; 2], &plain).starts_with("target needs one value"));
    let crossed = boxed(plain, &[0.0, 2.0], &[1.0, 1.0]);
    assert!(refused(&[1.0; 2], &[1.0], &crossed).contains("lower[1] = 2, upper[1] = 1"));
    assert!(refused(&[1.0; 3], &[1.0], &crossed).starts_with("lower needs one value for each row"));
    let within = |limit| Options { max_residual: Some(limit), ..plain };
    assert!(refused(&[1.0], &[1.0], &within(-1.0)).starts_with("max_residual must be at least 0"));
    assert!(refused(&[1.0; 2], &[1.0; 2], &within(1.0)).contains("single criterion"));
    let held = Options { l1: Some(f64::INFINITY), ..within(1.0) };
    assert!(refused(&[1.0], &[1.0], &held).contains("pass a finite l1"));
    assert!(refused(&[1.0], &[1.0], &Options { tol: 0.0, ..plain }).starts_with("tol"));
    assert!(refused(&[1.0], &[1.0], &Options { max_iter: 0, ..plain }).starts_with("max_iter"));
    let context = Context::new(Some(1), &|| false).unwrap();
    assert!(matches!(
        column_sums(&context, "psi_mk", &[1.0; 3], 2),
        Err(Error::Shape { name: "psi_mk", .. })
    ));
}
