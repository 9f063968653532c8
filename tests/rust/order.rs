//! Order: equal to a plain stable sort, unique, independent of threads.

use proptest::prelude::*;
use puma_fast::order::rank::Score;
use puma_fast::order::{Nan, Order, Prune, argsort, prune, top_k};
use puma_fast::{Context, Error};

const NEVER: &dyn Fn() -> bool = &|| false;

fn with_threads<R: PartialEq + std::fmt::Debug>(call: impl Fn(&Context<'_>) -> R) -> R {
    let [one, two, seven] = [1, 2, 7].map(|n| call(&Context::new(Some(n), NEVER).unwrap()));
    assert_eq!(one, two);
    assert_eq!(one, seven);
    one
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
        "few values" => (i * i % 20) as f64,
        "nearly all equal" => f64::from(noise(i) > 0.95),
        "infinite" => [f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0][(i % 4) as usize],
        _ => 7.0,
    };
    (0..len).map(score).collect()
}

#[test]
fn large_arrays_of_every_pattern_equal_a_plain_sort() {
    for pattern in ["noise", "rising", "falling", "few values", "nearly all equal", "infinite", "constant"] {
        let wide = many(pattern);
        let narrow: Vec<f32> = wide.iter().map(|&score| score as f32).collect();
        for largest in [false, true] {
            let order = Order { largest, nan: Nan::Raise };
            assert_eq!(with_threads(|c| argsort(c, &wide, order)).unwrap(), naive(&wide, order), "{pattern}");
            let expected = naive(&narrow, order);
            assert_eq!(with_threads(|c| argsort(c, &narrow, order)).unwrap(), expected, "{pattern}");
            for k in [0, 1, 10, 3000, 25_000, 100_000, narrow.len() - 1, narrow.len()] {
                assert_eq!(
                    with_threads(|c| top_k(c, &narrow, k, order)).unwrap(),
                    expected[..k],
                    "{pattern} {k}"
                );
            }
        }
    }
}

#[test]
fn nan_is_refused_by_its_first_place_or_put_where_asked() {
    let mut scores = many("noise");
    scores[150_000] = f64::NAN;
    scores[170_000] = -f64::NAN;
    for k in [0, 5, 100_000] {
        let order = Order { largest: true, nan: Nan::Raise };
        let message = with_threads(|c| top_k(c, &scores, k, order)).unwrap_err().to_string();
        assert!(message.contains("scores") && message.contains("index 150000"), "{message}");
    }
    for nan in [Nan::Last, Nan::First] {
        for largest in [false, true] {
            let order = Order { largest, nan };
            let sorted = with_threads(|c| argsort(c, &scores, order)).unwrap();
            let ends = if nan == Nan::Last { &sorted[scores.len() - 2..] } else { &sorted[..2] };
            assert_eq!(ends, [150_000, 170_000]);
            assert_eq!(with_threads(|c| top_k(c, &scores, 9, order)).unwrap(), sorted[..9]);
        }
    }
}

#[test]
fn more_than_there_is_cannot_be_taken() {
    let context = Context::new(Some(1), NEVER).unwrap();
    let error = top_k(&context, &[1.0, 2.0], 3, Order { largest: true, nan: Nan::Raise }).unwrap_err();
    assert_eq!(error.to_string(), "k: must be at most the number of scores; got k = 3 of 2 scores");
}

#[test]
fn a_stop_request_ends_each_function() {
    let context = Context::new(Some(2), &|| true).unwrap();
    let order = Order { largest: true, nan: Nan::Raise };
    assert_eq!(top_k(&context, &[1.0], 1, order), Err(Error::Interrupted));
    assert_eq!(argsort(&context, &[1.0], order), Err(Error::Interrupted));
    let plan = Prune { ratio: 0.5, order, labels: None, min_per_class: 0, protect: &[] };
    assert_eq!(prune(&context, &[1.0], &plan), Err(Error::Interrupted));
}

proptest! {
    #[test]
    fn small_arrays_equal_a_plain_sort(
        scores in prop::collection::vec(score(), 0..60), order in order(Nan::Raise), share in 0.0f64..=1.0,
    ) {
        let expected = naive(&scores, order);
        prop_assert_eq!(with_threads(|c| argsort(c, &scores, order)).unwrap(), expected.clone());
        let k = (share * scores.len() as f64) as usize;
        prop_assert_eq!(with_threads(|c| top_k(c, &scores, k, order)).unwrap(), expected[..k].to_vec());
        let wide: Vec<f64> = scores.iter().map(|&score| f64::from(score)).collect();
        prop_assert_eq!(with_threads(|c| top_k(c, &wide, k, order)).unwrap(), expected[..k].to_vec());
    }

    #[test]
    fn nan_goes_to_the_end_that_was_asked_for(
        scores in prop::collection::vec(prop_oneof![3 => score(), 1 => Just(f32::NAN)], 0..40),
        order in prop_oneof![order(Nan::Last), order(Nan::First)],
    ) {
        prop_assert_eq!(with_threads(|c| argsort(c, &scores, order)).unwrap(), naive(&scores, order));
    }

    #[test]
    fn the_largest_and_the_smallest_are_all(scores in prop::collection::vec(score(), 1..60), at in 0usize..60) {
        let k = at % scores.len();
        let context = Context::new(Some(1), NEVER).unwrap();
        let side = |largest, k| top_k(&context, &scores, k, Order { largest, nan: Nan::Raise }).unwrap();
        // Ties across the cut are to be had from both sides, so only what lies strictly within is shared out.
        let largest = side(true, k);
        let smallest = side(false, scores.len() - k);
        let cut = largest.last().map(|&i| scores[i as usize]);
        for (score, i) in scores.iter().zip(0i64..) {
            prop_assert!(largest.contains(&i) != smallest.contains(&i) || Some(*score) == cut);
        }
    }

    #[test]
    fn pruning_equals_a_sort_of_each_class(
        samples in prop::collection::vec((score(), 0i64..4), 1..60),
        ratio in 0.0f64..=1.0,
        largest in any::<bool>(),
    ) {
        let (scores, labels): (Vec<f32>, Vec<i64>) = samples.into_iter().unzip();
        let order = Order { largest, nan: Nan::Raise };
        let plan = Prune { ratio, order, labels: Some(&labels), min_per_class: 0, protect: &[] };
        let kept = with_threads(|c| prune(c, &scores, &plan)).unwrap();
        let total = (ratio * scores.len() as f64).round_ties_even() as usize;
        prop_assert_eq!(kept.len(), scores.len() - total);
        prop_assert!(kept.windows(2).all(|pair| pair[0] < pair[1]));
        for class in 0..4 {
            let of_class: Vec<i64> =
                naive(&scores, order).into_iter().filter(|&i| labels[i as usize] == class).collect();
            let gone = of_class.iter().filter(|i| !kept.contains(i)).count();
            prop_assert!((gone as f64 - ratio * of_class.len() as f64).abs() < 1.0);
            prop_assert!(of_class[..gone].iter().all(|i| !kept.contains(i)), "the first of a class go");
        }
        // The names of the classes do not matter.
        let renamed: Vec<i64> = labels.iter().map(|label| [70, -5, i64::MAX, 0][*label as usize]).collect();
        let plan = Prune { labels: Some(&renamed), ..plan };
        prop_assert_eq!(with_threads(|c| prune(c, &scores, &plan)).unwrap(), kept);
    }

    #[test]
    fn what_is_protected_stays_and_classes_keep_their_least(
        samples in prop::collection::vec((score(), 0i64..4), 1..60),
        protect in prop::collection::vec(0i64..60, 0..10),
        ratio in 0.0f64..=1.0,
        min_per_class in 0usize..4,
    ) {
        let (scores, labels): (Vec<f32>, Vec<i64>) = samples.into_iter().unzip();
        let protect: Vec<i64> = protect.into_iter().map(|i| i % scores.len() as i64).collect();
        let order = Order { largest: true, nan: Nan::Raise };
        let plan = Prune { ratio, order, labels: Some(&labels), min_per_class, protect: &protect };
        let total = (ratio * scores.len() as f64).round_ties_even() as usize;
        match with_threads(|c| prune(c, &scores, &plan)) {
            Ok(kept) => {
                prop_assert_eq!(kept.len(), scores.len() - total);
                prop_assert!(protect.iter().all(|i| kept.contains(i)));
                for class in 0..4 {
                    let all = labels.iter().filter(|&&label| label == class).count();
                    let left = kept.iter().filter(|&&i| labels[i as usize] == class).count();
                    prop_assert!(left >= all.min(min_per_class));
                }
            }
            Err(error) => {
                let may_go: usize = (0..4).map(|class| {
                    let of_class = || (0..scores.len()).filter(|&i| labels[i] == class);
                    let free = of_class().filter(|&i| !protect.contains(&(i as i64))).count();
                    free.min(of_class().count().saturating_sub(min_per_class))
                }).sum();
                prop_assert!(total > may_go, "{}", error);
            }
        }
    }
}

#[test]
fn a_large_pruning_does_not_depend_on_threads() {
    let margins = many("few values");
    let labels: Vec<i64> = (0..margins.len() as i64).map(|i| i * i % 7).collect();
    let order = Order { largest: true, nan: Nan::Raise };
    let plan = Prune { ratio: 0.3, order, labels: Some(&labels), min_per_class: 1, protect: &[5] };
    let kept = with_threads(|c| prune(c, &margins, &plan)).unwrap();
    assert_eq!(kept.len(), margins.len() - (0.3 * margins.len() as f64).round_ties_even() as usize);
}

#[test]
fn a_pruning_that_makes_no_sense_is_refused_by_name() {
    let context = Context::new(Some(1), NEVER).unwrap();
    let margins = [0.1, f64::NAN, 0.3];
    let order = Order { largest: true, nan: Nan::Raise };
    let plan = Prune { ratio: 0.5, order, labels: None, min_per_class: 0, protect: &[] };
    let refused = |plan: &Prune<'_>| prune(&context, &margins, plan).unwrap_err().to_string();
    assert!(refused(&plan).starts_with("margins: a NaN"), "{}", refused(&plan));
    for (plan, words) in [
        (Prune { ratio: 1.5, ..plan }, ["ratio", "between 0 and 1", "1.5"]),
        (Prune { ratio: f64::NAN, ..plan }, ["ratio", "between 0 and 1", "NaN"]),
        (
            Prune { ratio: 1.0, protect: &[0], ..plan },
            ["ratio", "protect fewer", "that is 3, where 2 may go"],
        ),
        (Prune { ratio: 1.0, min_per_class: 2, ..plan }, ["ratio", "min_per_class", "where 1 may go"]),
        (Prune { labels: Some(&[1, 2]), ..plan }, ["labels", "one label for each", "2 labels for 3"]),
        (Prune { protect: &[3], ..plan }, ["protect", "positions", "3 with 3"]),
        (Prune { protect: &[-1], ..plan }, ["protect", "positions", "-1 with 3"]),
    ] {
        let message = refused(&plan);
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
    }
}
