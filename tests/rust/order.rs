//! Order: equal to a plain stable sort, unique, independent of threads.

use std::cell::RefCell;

use proptest::prelude::*;
use puma_fast::order::rank::Score;
use puma_fast::order::{self, Access, First, Labels, Nan, Order, Prune, group_sums, select};
use puma_fast::par::Progress;
use puma_fast::simd::{Level, force};
use puma_fast::{Context, Error, Result};

use crate::shards::in_shards;

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

#[test]
fn large_arrays_of_every_pattern_equal_a_plain_sort() {
    for pattern in [
        "noise",
        "rising",
        "falling",
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
    fn pruning_equals_a_sort_of_each_class(
        samples in prop::collection::vec((score(), 0i64..4), 1..60),
        ratio in 0.0f64..=1.0,
        largest in any::<bool>(),
    ) {
        let (scores, labels): (Vec<f32>, Vec<i64>) = samples.into_iter().unzip();
        let order = Order { largest, nan: Nan::Raise };
        let plan = Prune { labels: Some(Labels::I64(&labels)), ..plan(ratio, order) };
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
        let plan = Prune { labels: Some(Labels::I64(&renamed)), ..plan };
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
        let plan = Prune { labels: Some(Labels::I64(&labels)), min_per_class, protect: &protect, ..plan(ratio, order) };
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
fn a_large_pruning_depends_neither_on_threads_nor_on_the_road() {
    for pattern in ["noise", "few values", "nearly all equal", "infinite"] {
        let mut margins = many(pattern);
        margins[70_000] = f64::NAN;
        let narrow: Vec<f32> = margins.iter().map(|&margin| margin as f32).collect();
        for classes in [1i64, 7, 3000, 100_000] {
            // Squares leave many classes without samples, and those that have some uneven.
            let labels: Vec<i64> = (0..margins.len() as i64).map(|i| i * i % classes - 1000).collect();
            for (largest, nan, ratio) in [(true, Nan::Last, 0.3), (false, Nan::First, 0.995)] {
                let plan = Prune {
                    labels: Some(Labels::I64(&labels)),
                    min_per_class: usize::from(largest),
                    protect: &[5, 70_001, 5],
                    ..plan(ratio, Order { largest, nan })
                };
                let kept = with_threads(|c| prune(c, &margins, &plan)).unwrap();
                let gone = (ratio * margins.len() as f64).round_ties_even() as usize;
                assert_eq!(kept.len(), margins.len() - gone, "{pattern}, {classes} classes");
                let narrow = with_threads(|c| prune(c, &narrow, &plan)).unwrap();
                assert_eq!(narrow.len(), kept.len());
                let refusing = Prune { order: Order { largest, nan: Nan::Raise }, ..plan };
                let error = with_threads(|c| prune(c, &margins, &refusing)).unwrap_err();
                assert!(error.to_string().contains("NaN at index 70000"), "{error}");
            }
        }
    }
}

#[test]
fn a_pruning_that_makes_no_sense_is_refused_by_name() {
    let context = Context::new(Some(1), NEVER).unwrap();
    let margins = [0.1, f64::NAN, 0.3];
    let order = Order { largest: true, nan: Nan::Raise };
    let plan = plan(0.5, order);
    let refused = |plan: &Prune<'_>| prune(&context, &margins, plan).unwrap_err().to_string();
    assert!(refused(&plan).starts_with("margins must hold no NaN"), "{}", refused(&plan));
    for (plan, words) in [
        (Prune { ratio: 1.5, ..plan }, ["ratio", "between 0 and 1", "1.5"]),
        (Prune { ratio: f64::NAN, ..plan }, ["ratio", "between 0 and 1", "NaN"]),
        (
            Prune { ratio: 1.0, protect: &[0], ..plan },
            ["ratio", "protect fewer", "that is 3, where 2 may go"],
        ),
        (Prune { ratio: 1.0, min_per_class: 2, ..plan }, ["ratio", "min_per_class", "where 1 may go"]),
        (
            Prune { labels: Some(Labels::U8(&[1, 2])), ..plan },
            ["labels", "one label for each", "2 labels for 3"],
        ),
        (Prune { protect: &[3], ..plan }, ["protect", "positions", "3 with 3"]),
        (Prune { protect: &[-1], ..plan }, ["protect", "positions", "-1 with 3"]),
    ] {
        let message = refused(&plan);
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
    }
}

/// `values` cut into `count` parts, an empty one among them.
fn cut<T>(values: &[T], count: usize) -> Vec<&[T]> {
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

/// One function, with all it needs but the context.
type Call<'a> = Box<dyn Fn(&Context<'_>) -> Result<Vec<i64>> + 'a>;

#[test]
fn every_function_tells_of_its_passes_to_the_end_and_changes_nothing() {
    let scores: Vec<f32> = many("noise").into_iter().map(|score| score as f32).collect();
    let equal = vec![1.0f32; scores.len()];
    let labels: Vec<i64> = (0..scores.len() as i64).map(|i| (i * i % 7) << 40).collect();
    let groups: Vec<i64> = (0..scores.len() as i64).map(|i| i % 7).collect();
    let order = Order { largest: true, nan: Nan::Raise };
    let narrow: Vec<i64> = groups.iter().map(|&group| group + 3).collect();
    let first = |scores, k, access| First { names: ["scores", "k"], scores, k, order, access };
    let top = |c: &Context<'_>, scores: &[f32], k, access| {
        let mut out = vec![0; k];
        order::top_k(c, scores, order, access, &mut out).map(|()| out)
    };
    let pruned = |c: &Context<'_>, labels, access| {
        let plan = Prune { labels: Some(Labels::I64(labels)), access, ..plan(0.3, order) };
        order::prune(c, &scores, &plan)?.positions(c)
    };
    let (random, sequential) = (Access::Random, Access::Sequential);
    let calls: Vec<(&str, Call<'_>)> = vec![
        ("few", Box::new(|c| top(c, &scores, 100, random))),
        ("many", Box::new(|c| top(c, &scores, 100_000, random))),
        ("mapped", Box::new(|c| top(c, &scores, 100_000, sequential))),
        ("equal", Box::new(|c| top(c, &equal, 100_000, sequential))),
        ("set", Box::new(|c| order::top_k_set(c, &scores, 100_000, order, random)?.positions(c))),
        ("select", Box::new(|c| select(c, &scores, 0.5, 0.7, Nan::Raise)?.positions(c))),
        (
            "filter",
            Box::new(|c| {
                let [one, two] = [(9000, random), (100, sequential)].map(|(k, a)| first(&scores, k, a));
                order::filter(c, &one, &two, false)?.positions(c)
            }),
        ),
        ("argsort", Box::new(|c| argsort(c, &scores, order))),
        ("sorted", Box::new(|c| argsort(c, &equal, order))),
        ("prune", Box::new(|c| order::prune(c, &scores, &plan(0.3, order))?.positions(c))),
        ("balanced", Box::new(|c| pruned(c, &narrow, random))),
        ("far labels", Box::new(|c| pruned(c, &labels, random))),
        ("mapped labels", Box::new(|c| pruned(c, &narrow, sequential))),
        (
            "groups",
            Box::new(|c| {
                let mut sums = [0.0; 7];
                group_sums(c, &scores, &groups, &mut sums)?;
                Ok(sums.map(|sum| sum.to_bits().cast_signed()).to_vec())
            }),
        ),
    ];
    for (what, call) in calls {
        for threads in [1, 2] {
            let silent = call(&Context::new(Some(threads), NEVER).unwrap()).unwrap();
            let heard = RefCell::new(Vec::new());
            let hear = |progress| heard.borrow_mut().push(progress);
            let told = call(&Context::new(Some(threads), NEVER).unwrap().with_progress(&hear)).unwrap();
            assert_eq!(told, silent, "{what}");
            let heard = heard.into_inner();
            let done: Vec<usize> = heard.iter().map(|progress| progress.done).collect();
            assert!(done.is_sorted() && done[0] < *done.last().unwrap(), "{what}: {heard:?}");
            assert!(heard.iter().all(|p| p.unit == "sample" && Some(p.done) <= p.total), "{what}: {heard:?}");
            let Progress { done, total, .. } = *heard.last().unwrap();
            assert_eq!(Some(done), total, "{what}: {heard:?}");
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

proptest! {
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
