//! A filter is the comparison of two sets.

use puma_fast::Context;
use puma_fast::order::{self, Access, First, Nan, Order};

use super::shards::cut;
use super::{NEVER, many, naive, with_threads};
use crate::shards::in_shards;

#[test]
fn a_filter_is_the_comparison_of_two_sets_on_every_road() {
    let whole = Context::new(Some(2), NEVER).unwrap();
    let [low, high] = [false, true].map(|largest| Order { largest, nan: Nan::Last });
    let mut one = many("noise");
    one[77_777] = f64::NAN;
    let other: Vec<f32> = many("few values").into_iter().map(|score| score as f32).collect();
    for (k, k_other) in [(0, 9), (700, 100_000), (50_000, 50_000), (150_000, 0), (9, one.len())] {
        let [first, second] = [naive(&one, low), naive(&other, high)];
        let second: std::collections::HashSet<i64> = second[..k_other].iter().copied().collect();
        let mut first = first[..k].to_vec();
        first.sort_unstable();
        for shared in [false, true] {
            let expected: Vec<i64> =
                first.iter().copied().filter(|position| second.contains(position) == shared).collect();
            let filtered = |context: &Context<'_>, one: &[f64], other: &[f32], access| {
                let first = First { names: ["one", "k"], scores: one, k, order: low, access };
                let others = First { names: ["other", "k"], scores: other, k: k_other, order: high, access };
                order::filter(context, &first, &others, shared)?.positions(context)
            };
            for access in [Access::Random, Access::Sequential] {
                assert_eq!(
                    with_threads(|c| filtered(c, &one, &other, access)).unwrap(),
                    expected,
                    "{k}, {k_other}"
                );
            }
            assert_eq!(expected, {
                let sets = [
                    order::top_k_set(&whole, &one, k, low, Access::Random)
                        .unwrap()
                        .positions(&whole)
                        .unwrap(),
                    order::top_k_set(&whole, &other, k_other, high, Access::Random)
                        .unwrap()
                        .positions(&whole)
                        .unwrap(),
                ];
                let compared = if shared { order::intersection } else { order::difference };
                compared(&whole, &sets[0], &sets[1]).unwrap()
            });
            for count in [1, 2, 7] {
                let (one, other) = (cut(&one, count), cut(&other, count));
                let parts = in_shards(count, |i, c| filtered(c, one[i], other[i], Access::Random).unwrap());
                assert_eq!(parts.concat(), expected, "{count} shards");
            }
        }
    }
}
