//! Shards give what the whole gives, and refuse together.

use puma_fast::Context;
use puma_fast::order::{self, Access, Labels, Nan, Order, Prune, group_sums, select};

use super::{NEVER, many, plan, prune, top_k};
use crate::shards::in_shards;

/// `values` cut into `count` parts, an empty one among them.
pub(super) fn cut<T>(values: &[T], count: usize) -> Vec<&[T]> {
    let edge = |i: usize| values.len() * i * i / (count * count);
    (0..count)
        .map(|i| match i {
            0 if count > 2 => &values[..edge(2)],
            1 if count > 2 => &[][..],
            _ => &values[edge(i)..edge(i + 1)],
        })
        .collect()
}

#[test]
fn shards_give_what_the_whole_gives() {
    for pattern in ["noise", "few values", "nearly all equal", "infinite"] {
        let mut scores = many(pattern);
        scores[77_777] = f64::NAN;
        let labels: Vec<i32> = (0..scores.len() as i64).map(|i| (i * i % 7) as i32).collect();
        let groups: Vec<i64> = labels.iter().map(|&label| label.into()).collect();
        let order = Order { largest: true, nan: Nan::Last };
        let protect = [5, 150_000, 77_777];
        let whole = Context::new(Some(2), NEVER).unwrap();
        let pruning =
            |labels| Prune { labels: Some(Labels::I32(labels)), protect: &protect, ..plan(0.3, order) };
        let kept = prune(&whole, &scores, &pruning(&labels)).unwrap();
        let best = top_k(&whole, &scores, 5000, order).unwrap();
        let chosen = select(&whole, &scores, 0.0, 0.5, Nan::First).unwrap().positions(&whole).unwrap();
        let finite: Vec<f64> = scores.iter().map(|x| if x.is_finite() { *x } else { 0.25 }).collect();
        let sums_of = |context: &Context<'_>, finite: &[f64], groups: &[i64]| {
            let mut sums = [0.0; 7];
            group_sums(context, finite, groups, &mut sums).map(|()| sums.map(f64::to_bits))
        };
        let sums = sums_of(&whole, &finite, &groups).unwrap();
        for count in [1, 2, 7] {
            let (scores, labels, groups) = (cut(&scores, count), cut(&labels, count), cut(&groups, count));
            let finite = cut(&finite, count);
            assert_eq!(scores.concat().len(), labels.concat().len());
            let kept_by = in_shards(count, |i, c| prune(c, scores[i], &pruning(labels[i])).unwrap());
            assert_eq!(kept_by.concat(), kept, "{pattern} in {count}");
            let best_by = in_shards(count, |i, c| {
                let mut out = vec![0; 5000];
                order::top_k(c, scores[i], order, Access::Random, &mut out).map(|()| out).unwrap()
            });
            assert!(best_by.iter().all(|part| *part == best), "{pattern} in {count}");
            let chosen_by = in_shards(count, |i, c| select(c, scores[i], 0.0, 0.5, Nan::First)?.positions(c));
            assert_eq!(chosen_by.into_iter().map(Result::unwrap).collect::<Vec<_>>().concat(), chosen);
            let sums_by = in_shards(count, |i, c| sums_of(c, finite[i], groups[i]).unwrap());
            assert!(sums_by.iter().all(|part| *part == sums), "{pattern} in {count}");
        }
    }
}

#[test]
fn a_refusal_in_one_shard_is_one_in_all() {
    let parts: [&[f32]; 2] = [&[1.0, 2.0], &[3.0, f32::NAN, 4.0]];
    let order = Order { largest: true, nan: Nan::Raise };
    let mut refusals = in_shards(2, |i, c| {
        let short = [0u8; 2];
        let labelled = Prune { labels: Some(Labels::U8(&short)), ..plan(0.5, order) };
        let mut sums = [0.0];
        [
            order::top_k(c, parts[i], order, Access::Random, &mut [0; 2]).unwrap_err().to_string(),
            prune(c, parts[i], &plan(0.5, order)).unwrap_err().to_string(),
            select(c, parts[i], 0.0, 1.0, Nan::Raise).map(|_| ()).unwrap_err().to_string(),
            prune(c, parts[i], &labelled).unwrap_err().to_string(),
            group_sums(c, parts[i], &vec![0; parts[i].len()], &mut sums).unwrap_err().to_string(),
        ]
    });
    let second = refusals.pop().unwrap();
    let first = refusals.pop().unwrap();
    for (a, b) in first.iter().zip(&second).take(3) {
        assert!(a == b && a.contains("NaN at index 3"), "{a} / {b}");
    }
    assert!(first[3].contains("another shard") && second[3].contains("one label for each"), "{first:?}");
    assert!(first[4].contains("another shard") && second[4].contains("scores[1] is NaN"), "{second:?}");
}
