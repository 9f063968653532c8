//! top_k and argsort against a sort by (score, index).

#![no_main]

use std::cmp::Ordering;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use puma_fast::order::{Nan, Order, argsort, top_k};
use puma_fast_fuzz::{Number, agreed, doubles, singles};

#[derive(Arbitrary, Debug)]
struct Input {
    scores: Vec<Number>,
    k: u16,
    largest: bool,
    nan: u8,
    /// How often the scores are repeated: long inputs take other roads than short ones.
    repeat: u8,
}

fuzz_target!(|input: Input| {
    let nan = [Nan::Raise, Nan::Last, Nan::First][usize::from(input.nan % 3)];
    let order = Order { largest: input.largest, nan };
    let scores = doubles(&input.scores).repeat(usize::from(input.repeat));
    let k = usize::from(input.k) % (scores.len() + 2);
    let narrow: Vec<f32> = singles(&input.scores).repeat(usize::from(input.repeat));
    let widened: Vec<f64> = narrow.iter().map(|&score| f64::from(score)).collect();

    let wide = (
        agreed(|context| top_k(context, &scores, k, order)),
        agreed(|context| argsort(context, &scores, order)),
    );
    let half = (
        agreed(|context| top_k(context, &narrow, k, order)),
        agreed(|context| argsort(context, &narrow, order)),
    );
    for (scores, (top, all)) in [(&scores, wide), (&widened, half)] {
        if nan == Nan::Raise && scores.iter().any(|score| score.is_nan()) {
            assert!(all.is_err(), "a NaN was let through");
            continue;
        }
        let mut expected: Vec<usize> = (0..scores.len()).collect();
        expected.sort_by(|&a, &b| compare(scores[a], scores[b], order));
        let expected: Vec<i64> = expected.into_iter().map(|index| index as i64).collect();
        assert_eq!(all.expect("the scores are in order"), expected);
        match top {
            Ok(top) => assert_eq!(top, expected[..k]),
            Err(_) => assert!(k > scores.len()),
        }
    }
});

fn compare(a: f64, b: f64, order: Order) -> Ordering {
    let numbers = match (a.is_nan(), b.is_nan()) {
        (false, false) => a.partial_cmp(&b).expect("both are numbers"),
        (a, b) => return if order.nan == Nan::First { b.cmp(&a) } else { a.cmp(&b) },
    };
    if order.largest { numbers.reverse() } else { numbers }
}
