//! solve_weights: weights in their box, figures that are those of the weights, a certificate that holds.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use puma_fast::reweight::{Bound, Options, Status, solve};
use puma_fast::vecmath::Dd;
use puma_fast_fuzz::{Number, agreed, doubles};

#[derive(Arbitrary, Debug)]
struct Input {
    psi: Vec<Number>,
    b: [Number; 3],
    criteria: u8,
    l1: Option<Number>,
    l2: Option<Number>,
    lower: Option<Number>,
    upper: Option<Number>,
    max_residual: Option<Number>,
    max_iter: u8,
}

fuzz_target!(|input: Input| {
    let k = usize::from(input.criteria % 3) + 1;
    let mut psi = doubles(&input.psi);
    psi.truncate(psi.len() / k * k);
    let b: Vec<Dd> = input.b[..k].iter().map(|b| Dd::new(b.0)).collect();
    let options = Options {
        l1: input.l1.map(|l1| l1.0),
        l2: input.l2.map(|l2| l2.0),
        lower: Bound::All(input.lower.map_or(f64::NEG_INFINITY, |lower| lower.0)),
        upper: Bound::All(input.upper.map_or(f64::INFINITY, |upper| upper.0)),
        max_residual: input.max_residual.map(|bound| bound.0),
        max_iter: usize::from(input.max_iter),
        ..Options::default()
    };
    let Ok(solution) = agreed(|context| solve(context, &psi, &b, &options)) else { return };

    let (lower, upper) = (options.lower, options.upper);
    let (Bound::All(lower), Bound::All(upper)) = (lower, upper) else { unreachable!("one bound for all") };
    assert_eq!(solution.weights.len(), psi.len() / k);
    assert!(
        solution.weights.iter().all(|w| (lower..=upper).contains(w)),
        "a weight leaves its box: {:?}",
        solution.weights
    );
    assert!(solution.facts.gap >= 0.0, "the gap is {}", solution.facts.gap);
    let l1_norm: f64 = solution.weights.iter().map(|w| w.abs()).sum();
    assert!(
        l1_norm.is_infinite() || (l1_norm - solution.facts.l1_norm).abs() <= 1e-9 * l1_norm,
        "{l1_norm} is not {}",
        solution.facts.l1_norm
    );
    assert!(solution.facts.status != Status::MaxIter || k > 1, "one criterion takes no count of steps");
});
