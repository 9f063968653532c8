//! What a caller of `reweight` relies on.

mod bits;
mod certified;
mod edges;
mod exact;
mod many;
mod problems;
mod rational;
mod refusals;
mod without_prices;

use puma_fast::reweight::{Bound, Options, Solution, solve};
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
