//! Every level of instructions gives the same.

use puma_fast::Context;
use puma_fast::order::{Labels, Nan, Order, Prune, select};
use puma_fast::simd::{Level, force};

use super::{NEVER, argsort, many, plan, prune, top_k};

#[test]
fn every_level_of_instructions_gives_the_same() {
    let scores = many("noise");
    let narrow: Vec<f32> = scores.iter().map(|&score| score as f32).collect();
    let context = Context::new(Some(2), NEVER).unwrap();
    let order = Order { largest: false, nan: Nan::Raise };
    let labels: Vec<u8> = (0..scores.len()).map(|i| (i * i % 7) as u8).collect();
    let labelled = Prune { labels: Some(Labels::U8(&labels)), ..plan(0.3, order) };
    let all = || {
        [
            top_k(&context, &narrow, 20_000, order).unwrap(),
            top_k(&context, &scores, 100_000, order).unwrap(),
            argsort(&context, &narrow, order).unwrap(),
            argsort(&context, &scores, order).unwrap(),
            prune(&context, &scores, &labelled).unwrap(),
            prune(&context, &narrow, &plan(0.6, order)).unwrap(),
            select(&context, &narrow, 0.25, 0.5, Nan::Raise).unwrap().positions(&context).unwrap(),
        ]
    };
    let expected = all();
    for level in Level::ALL {
        force(level);
        assert_eq!(all(), expected, "{level:?}");
    }
}
