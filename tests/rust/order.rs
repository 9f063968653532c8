//! Order: equal to a plain stable sort, unique, independent of threads.

mod filter;
mod levels;
mod prune;
mod shards;
mod sort;
mod told;

use proptest::prelude::*;
use puma_fast::order::rank::Score;
use puma_fast::order::{self, Access, Nan, Order, Prune};
use puma_fast::{Context, Result};

const NEVER: &dyn Fn() -> bool = &|| false;

fn with_threads<R: PartialEq + std::fmt::Debug>(call: impl Fn(&Context<'_>) -> R) -> R {
    let [one, two, seven] = [1, 2, 7].map(|n| call(&Context::new(Some(n), NEVER).unwrap()));
    assert_eq!(one, two);
    assert_eq!(one, seven);
    one
}

fn argsort<T: Score>(context: &Context<'_>, scores: &[T], order: Order) -> Result<Vec<i64>> {
    let mut out = vec![0; scores.len()];
    order::argsort(context, scores, order, &mut out).map(|()| out)
}

/// The best k by every road: ranked by a sample, ranked by narrowing, and as a set, which must agree.
fn top_k<T: Score>(context: &Context<'_>, scores: &[T], k: usize, order: Order) -> Result<Vec<i64>> {
    let mut out = vec![0; k];
    order::top_k(context, scores, order, Access::Random, &mut out)?;
    let mut narrowed = vec![0; k];
    order::top_k(context, scores, order, Access::Sequential, &mut narrowed)?;
    assert_eq!(out, narrowed);
    let mut ascending = out.clone();
    ascending.sort_unstable();
    for access in [Access::Random, Access::Sequential] {
        let set = order::top_k_set(context, scores, k, order, access)?;
        assert_eq!(set.positions(context)?, ascending);
    }
    Ok(out)
}

/// The samples kept by either road, in memory and read from the first to the last, which must agree.
fn prune<T: Score>(context: &Context<'_>, margins: &[T], plan: &Prune<'_>) -> Result<Vec<i64>> {
    let [one, other] = [Access::Random, Access::Sequential]
        .map(|access| order::prune(context, margins, &Prune { access, ..*plan })?.positions(context));
    assert_eq!(one, other);
    one
}

/// What is pruned unless a test says otherwise.
fn plan(ratio: f64, order: Order) -> Prune<'static> {
    Prune { ratio, order, labels: None, min_per_class: 0, protect: &[], access: Access::Random }
}

/// The order in one line: a stable sort in which NaN equals NaN.
fn naive<T: Score>(scores: &[T], Order { largest, nan }: Order) -> Vec<i64> {
    let mut order: Vec<i64> = (0..scores.len() as i64).collect();
    order.sort_by(|&a, &b| {
        let (a, b) = (scores[a as usize].to_f64(), scores[b as usize].to_f64());
        let by_nan = a.is_nan().cmp(&b.is_nan());
        let by_nan = if nan == Nan::First { by_nan.reverse() } else { by_nan };
        let by_value = a.partial_cmp(&b).unwrap_or(std::cmp::Ordering::Equal);
        by_nan.then(if largest { by_value.reverse() } else { by_value })
    });
    order
}

/// Few values, so that ties are the rule, and every special one.
fn score() -> impl Strategy<Value = f32> {
    prop_oneof![
        4 => (-3i8..4).prop_map(f32::from),
        2 => any::<f32>().prop_map(|x| if x.is_nan() { 0.5 } else { x }),
        1 => prop::sample::select(vec![0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::MIN_POSITIVE, 1e-45]),
    ]
}

fn order(nan: Nan) -> impl Strategy<Value = Order> {
    any::<bool>().prop_map(move |largest| Order { largest, nan })
}

/// Enough scores for several chunks, a bound by sample and several parts of a sort.
fn many(pattern: &str) -> Vec<f64> {
    let len = 200_003u64;
    let noise = |i: u64| ((i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 11) as f64 / (1u64 << 53) as f64;
    let score = |i: u64| match pattern {
        "noise" => noise(i),
        "rising" => i as f64,
        "falling" => -(i as f64),
        "falling by steps" => -((i / 3) as f64),
        "crowded" => noise(i).mul_add(1e-6, if i.is_multiple_of(1000) { noise(i + len) * 1e9 } else { 1.0 }),
        "few values" => (i * i % 20) as f64,
        "nearly all equal" => f64::from(noise(i) > 0.95),
        "one outlier" => noise(i) + if i == 99_999 { 1e30 } else { 0.0 },
        "nearly all zero" => noise(i) * [1.0, 0.0, -0.0][(i % 100).min(1 + i % 2) as usize],
        "subnormal in f32" => noise(i) * 1e-42,
        "subnormal in f64" => noise(i) * 1e-310,
        "infinite" => [f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0][(i % 4) as usize],
        _ => 7.0,
    };
    (0..len).map(score).collect()
}
