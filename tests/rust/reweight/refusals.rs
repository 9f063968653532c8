//! Bad input is an error that names the argument and the place.

use puma_fast::reweight::{Options, column_sums};
use puma_fast::{Context, Error};

use super::{boxed, priced, try_solve};

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
