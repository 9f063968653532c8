//! Sorting, the best k and selecting by bounds, by every road.

use proptest::prelude::*;
use puma_fast::order::{Nan, Order, select};
use puma_fast::{Context, Error};

use super::{NEVER, argsort, many, naive, order, plan, prune, score, top_k, with_threads};

#[test]
fn large_arrays_of_every_pattern_equal_a_plain_sort() {
    for pattern in [
        "noise",
        "rising",
        "falling",
        "falling by steps",
        "crowded",
        "few values",
        "nearly all equal",
        "one outlier",
        "nearly all zero",
        "subnormal in f32",
        "subnormal in f64",
        "infinite",
        "constant",
    ] {
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
    assert_eq!(error.to_string(), "k must be at most the number of scores, got 3 of 2 scores");
}

#[test]
fn a_stop_request_ends_each_function() {
    let context = Context::new(Some(2), &|| true).unwrap();
    let order = Order { largest: true, nan: Nan::Raise };
    assert_eq!(top_k(&context, &[1.0], 1, order), Err(Error::Interrupted));
    assert_eq!(argsort(&context, &[1.0], order), Err(Error::Interrupted));
    let plan = plan(0.5, order);
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
    fn selecting_by_bounds_equals_comparing(
        scores in prop::collection::vec(prop_oneof![3 => score(), 1 => Just(f32::NAN)], 0..60),
        bounds in [score(), score()],
        first in any::<bool>(),
    ) {
        let nan = if first { Nan::First } else { Nan::Last };
        let chosen = with_threads(|c| select(c, &scores, bounds[0], bounds[1], nan)?.positions(c)).unwrap();
        let within = |x: f32| if x.is_nan() { first } else { bounds[0] <= x && x <= bounds[1] };
        let expected: Vec<i64> = (0..).zip(&scores).filter(|(_, x)| within(**x)).map(|(i, _)| i).collect();
        prop_assert_eq!(chosen, expected);
    }
}
