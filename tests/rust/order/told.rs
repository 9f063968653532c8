//! Every function says how far it has come.

use std::cell::RefCell;

use puma_fast::order::{self, Access, First, Labels, Nan, Order, Prune, group_sums, select};
use puma_fast::par::Progress;
use puma_fast::{Context, Result};

use super::{NEVER, argsort, many, plan};

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
