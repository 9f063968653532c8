//! Problems of every kind to draw from.

use proptest::prelude::*;

pub(super) fn scores(largest: usize) -> impl Strategy<Value = Vec<f64>> {
    let score = prop_oneof![
        6 => -4.0..4.0f64,
        2 => prop::sample::select(vec![0.0, 0.5, -0.5, 1.0, -1.0, 3.0]),
        1 => (-300i32..0).prop_map(|e| 2f64.powi(e)),
    ];
    prop::collection::vec(score, 1..largest)
}

pub(super) fn price() -> impl Strategy<Value = f64> {
    prop_oneof![Just(0.0), 1e-6..20.0f64, (-60i32..4).prop_map(|e| 2f64.powi(e))]
}

/// Prices at which a gap relative to ‖b‖² means something: none, or not next to nothing.
pub(super) fn moderate() -> impl Strategy<Value = f64> {
    prop_oneof![Just(0.0), 1e-3..20.0f64]
}

pub(super) fn positive() -> impl Strategy<Value = f64> {
    prop_oneof![1e-6..20.0f64, (-60i32..4).prop_map(|e| 2f64.powi(e))]
}

/// Boxes of every kind: around zero, beside it, a single point, open to one side.
pub(super) fn sides(n: usize) -> impl Strategy<Value = (Vec<f64>, Vec<f64>)> {
    let side = (-2.0..2.0f64, prop_oneof![Just(0.0), 0.0..3.0f64], 0..4u8).prop_map(|(low, width, open)| {
        let lower = if open == 1 { f64::NEG_INFINITY } else { low };
        (lower, if open == 2 { f64::INFINITY } else { low + width })
    });
    prop::collection::vec(side, n).prop_map(|sides| sides.into_iter().unzip())
}

pub(super) fn with_sides(largest: usize) -> impl Strategy<Value = (Vec<f64>, Vec<f64>, Vec<f64>)> {
    scores(largest).prop_flat_map(|psi| {
        let n = psi.len();
        (Just(psi), sides(n)).prop_map(|(psi, (lower, upper))| (psi, lower, upper))
    })
}
