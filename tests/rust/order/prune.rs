//! Pruning: of each class its share, what is protected stays, and what makes no sense is refused.

use proptest::prelude::*;
use puma_fast::Context;
use puma_fast::order::{Labels, Nan, Order, Prune};

use super::{NEVER, many, naive, plan, prune, score, with_threads};

proptest! {
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
