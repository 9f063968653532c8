//! k-means: labels are the true nearest centres, centres the means, the end a fixed point, threads without
//! a trace.

use std::cell::RefCell;
use std::sync::{Barrier, Mutex};

use proptest::prelude::*;
use puma_fast::kmeans::{KMeans, Options, Start, Status, kmeans};
use puma_fast::par::Progress;
use puma_fast::simd::{Level, force};
use puma_fast::{Context, Error, Float, Shards};

const NEVER: &dyn Fn() -> bool = &|| false;

fn seeded(n_clusters: usize) -> Options<'static> {
    Options {
        n_clusters,
        start: Start::Seeded { seed: 0, n_init: 1 },
        max_iter: 300,
        tol: 1e-4,
        bounds: true,
    }
}

/// The result, after a look at 1, 2 and 7 threads.
fn run<T: Float>(x: &[T], columns: usize, options: &Options<'_>) -> Result<KMeans, Error> {
    let [one, two, seven] =
        [1, 2, 7].map(|n| kmeans(&Context::new(Some(n), NEVER).unwrap(), x, columns, options));
    assert_eq!(format!("{one:?}"), format!("{two:?}"));
    assert_eq!(format!("{one:?}"), format!("{seven:?}"));
    one
}

fn distance<T: Float>(x: &[T], center: &[f64]) -> f64 {
    x.iter().zip(center).map(|(x, c)| (x.to_f64() - c).powi(2)).sum()
}

/// The label is that of the nearest center, up to the rounding of the distance itself, and inertia adds up.
fn assert_labels_are_nearest<T: Float>(x: &[T], columns: usize, result: &KMeans) {
    let mut inertia = 0.0;
    for (row, &label) in x.chunks_exact(columns).zip(&result.labels) {
        let distances: Vec<f64> = result.centers.chunks_exact(columns).map(|c| distance(row, c)).collect();
        let own = distances[label as usize];
        let least = distances.iter().copied().fold(f64::INFINITY, f64::min);
        assert!(own <= least * (1.0 + 1e-12), "{own} is not the least of {distances:?}");
        inertia += own;
    }
    assert!((result.inertia - inertia).abs() <= 1e-12 * inertia, "{} {inertia}", result.inertia);
}

/// Where no label changed any more, each center is the mean of its rows.
fn assert_centers_are_means<T: Float>(x: &[T], columns: usize, result: &KMeans) {
    let spread = x.iter().map(|x| x.to_f64().abs()).fold(0.0, f64::max);
    for (j, center) in result.centers.chunks_exact(columns).enumerate() {
        let rows = x.chunks_exact(columns).zip(&result.labels).filter(|(_, label)| **label as usize == j);
        let (mut count, mut mean) = (0.0, vec![0.0; columns]);
        for (row, _) in rows {
            count += 1.0;
            mean.iter_mut().zip(row).for_each(|(mean, x)| *mean += x.to_f64());
        }
        for (center, sum) in center.iter().zip(mean) {
            assert!((center - sum / count).abs() <= 1e-13 * spread, "{center} {}", sum / count);
        }
    }
}

fn noise(i: u64) -> f64 {
    let mixed = (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed ^ mixed >> 31).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 11) as f64 / (1u64 << 53) as f64
}

/// Rows around `k` points, off the origin by `offset`.
fn blobs(rows: usize, columns: usize, k: usize, offset: f64) -> Vec<f64> {
    (0..rows * columns)
        .map(|at| {
            let (row, column) = (at / columns, at % columns);
            let center = noise((1 << 40) + ((row % k) * columns + column) as u64);
            offset + 4.0 * center + noise(at as u64)
        })
        .collect()
}

#[test]
fn clusters_are_found_at_any_width_and_far_from_the_origin() {
    for (columns, k, offset) in [(1, 3, 0.0), (2, 8, 0.0), (17, 5, 1e3), (64, 8, -1e6), (300, 40, 0.0)] {
        let x = blobs(1500, columns, k, offset);
        let options = Options { tol: 0.0, ..seeded(k) };
        let wide = run(&x, columns, &options).unwrap();
        assert_eq!(wide.status, Status::Converged);
        assert_labels_are_nearest(&x, columns, &wide);
        assert_centers_are_means(&x, columns, &wide);
        let narrow: Vec<f32> = x.iter().map(|&x| x as f32).collect();
        let narrow_result = run(&narrow, columns, &options).unwrap();
        assert_labels_are_nearest(&narrow, columns, &narrow_result);
        assert_centers_are_means(&narrow, columns, &narrow_result);
    }
}

#[test]
fn size_does_not_matter() {
    let x = blobs(400, 6, 4, 0.0);
    let plain = run(&x, 6, &seeded(4)).unwrap();
    for exponent in [-900, -300, 300, 900] {
        let factor = 2f64.powi(exponent);
        let scaled: Vec<f64> = x.iter().map(|x| x * factor).collect();
        let result = run(&scaled, 6, &seeded(4)).unwrap();
        assert_eq!(result.labels, plain.labels);
        assert!(result.centers.iter().zip(&plain.centers).all(|(a, b)| *a == b * factor));
    }
    let tiny: Vec<f32> = x.iter().map(|&x| (x * 1e-36) as f32).collect();
    assert_eq!(run(&tiny, 6, &seeded(4)).unwrap().labels, plain.labels);
}

#[test]
fn inertia_falls_with_every_iteration() {
    let x = blobs(2000, 5, 30, 0.0);
    let at = |max_iter| run(&x, 5, &Options { max_iter, tol: 0.0, ..seeded(9) }).unwrap();
    let mut last = at(1);
    assert_eq!((last.status, last.n_iter), (Status::MaxIter, 1));
    for max_iter in 2..200 {
        let next = at(max_iter);
        assert!(next.inertia <= last.inertia * (1.0 + 1e-14));
        last = next;
        if last.status == Status::Converged {
            assert!(last.n_iter > 5);
            return;
        }
    }
    panic!("no end");
}

#[test]
fn more_starts_are_never_worse_and_seeds_differ() {
    let x = blobs(600, 3, 40, 0.0);
    let inertia = |seed, n_init| {
        run(&x, 3, &Options { start: Start::Seeded { seed, n_init }, ..seeded(12) }).unwrap().inertia
    };
    assert!(inertia(0, 8) <= inertia(0, 1));
    assert!((0..8).any(|seed| inertia(seed, 1) != inertia(0, 1)));
    assert!((0..8).any(|seed| inertia(seed, 8) < inertia(seed, 1)));
}

#[test]
fn a_row_between_two_centers_goes_to_the_lower_one() {
    // The distances are equal exactly, and the product far from exact.
    let x: Vec<f32> = (0..200).flat_map(|i| [0.0, 1000.0 + i as f32, -3.0]).collect();
    let centers: Vec<f64> = (0..2).flat_map(|j| [f64::from(2 * j - 1), 1100.0, -3.0]).collect();
    let options = Options {
        n_clusters: 2,
        start: Start::Given(&centers),
        max_iter: 1,
        tol: f64::INFINITY,
        bounds: true,
    };
    let swapped: Vec<f64> = centers.chunks_exact(3).rev().flatten().copied().collect();
    for start in [&centers, &swapped] {
        // Every row goes to cluster 0, so cluster 1 is empty and takes the row farthest from 1100.
        let result = run(&x, 3, &Options { start: Start::Given(start), ..options }).unwrap();
        assert_labels_are_nearest(&x, 3, &result);
        assert_eq!(result.centers[4], 1000.0);
    }
}

#[test]
fn empty_clusters_take_the_farthest_rows() {
    let x = [0.0, 1.0, 2.0, 3.0, 50.0, 60.0];
    let start = Start::Given(&[1.0, 1e6, 1e7]);
    let result = run(&x, 1, &Options { start, max_iter: 1, ..seeded(3) }).unwrap();
    // All rows went to center 0; 60 and then 50 were taken out of it.
    assert_eq!(result.centers, [1.5, 60.0, 50.0]);
    assert_eq!(result.labels, [0, 0, 0, 0, 2, 1]);
}

#[test]
fn too_few_distinct_rows_are_said_so() {
    let equal = run(&[3.5f32; 20], 2, &seeded(4)).unwrap();
    assert_eq!((equal.status, equal.inertia), (Status::EmptyClusters, 0.0));
    assert_eq!(equal.labels, [0; 10]);
    assert_eq!(equal.centers, [3.5; 8]);
    // A mean that no double is: the last digit of a center may be off, and nothing else.
    let tenths = run(&[0.1; 30], 3, &seeded(4)).unwrap();
    assert_eq!(tenths.status, Status::EmptyClusters);
    assert!(tenths.inertia < 1e-31 && tenths.labels.iter().all(|&label| label == tenths.labels[0]));
    let two = run(&[1.0, 1.0, 5.0, 5.0, 1.0], 1, &seeded(3)).unwrap();
    assert_eq!((two.status, two.inertia), (Status::EmptyClusters, 0.0));
    assert_eq!(two.labels[0], two.labels[4]);
    assert_ne!(two.labels[0], two.labels[2]);
}

#[test]
fn as_many_clusters_as_rows_and_a_single_one() {
    let x = [5.0, 1.0, 3.0];
    let all = run(&x, 1, &seeded(3)).unwrap();
    assert_eq!((all.inertia, all.status), (0.0, Status::Converged));
    let one = run(&x, 1, &seeded(1)).unwrap();
    assert_eq!((one.centers, one.inertia, one.labels), (vec![3.0], 8.0, vec![0, 0, 0]));
    assert_eq!(run(&x[..1], 1, &seeded(1)).unwrap().inertia, 0.0);
}

#[test]
fn bad_input_is_refused_by_name() {
    let x = [1.0, 2.0, 3.0, 4.0];
    let refused =
        |x: &[f64], columns, options: &Options<'_>| run(x, columns, options).unwrap_err().to_string();
    for (message, words) in [
        (refused(&[1.0, f64::NAN], 1, &seeded(1)), ["X[1]", "NaN", "finite"]),
        (refused(&[], 1, &seeded(1)), ["X", "n_clusters rows", "0 rows for 1"]),
        (refused(&[], 0, &seeded(1)), ["X", "one column", "rows of 0"]),
        (refused(&x, 2, &seeded(3)), ["X", "fewer clusters", "2 rows for 3"]),
        (refused(&x, 1, &seeded(0)), ["n_clusters", "at least 1", "0"]),
        (refused(&x, 1, &Options { max_iter: 0, ..seeded(1) }), ["max_iter", "at least 1", "0"]),
        (refused(&x, 1, &Options { tol: -1.0, ..seeded(1) }), ["tol", "at least 0", "-1"]),
        (refused(&x, 1, &Options { tol: f64::NAN, ..seeded(1) }), ["tol", "a number", "NaN"]),
        (
            refused(&x, 1, &Options { start: Start::Seeded { seed: 0, n_init: 0 }, ..seeded(1) }),
            ["n_init", "at least 1", "0"],
        ),
        (
            refused(&x, 2, &Options { start: Start::Given(&[0.0]), ..seeded(1) }),
            ["init", "as wide as X", "1 values for 1 centers of 2"],
        ),
        (
            refused(&x, 1, &Options { start: Start::Given(&[f64::INFINITY]), ..seeded(1) }),
            ["init[0]", "inf", "finite"],
        ),
        (refused(&[1e300, 0.0], 1, &seeded(1)), ["X", "1e290", "rescale"]),
        (refused(&[1e-300, 0.0], 1, &seeded(1)), ["X", "1e-290", "rescale"]),
    ] {
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
    }
    let stop = Context::new(Some(2), &|| true).unwrap();
    assert!(matches!(kmeans(&stop, &x, 1, &seeded(2)), Err(Error::Interrupted)));
}

/// Every way through the method that must not show: instruction sets, bounds, threads.
fn bits<T: Float>(x: &[T], columns: usize, options: &Options<'_>) -> String {
    let results: Vec<String> = [false, true]
        .into_iter()
        .flat_map(|bounds| [Level::Scalar, Level::Avx2, Level::Avx512].map(|level| (bounds, level)))
        .map(|(bounds, level)| {
            force(level);
            let context = Context::new(Some(2), NEVER).unwrap();
            format!("{:?}", kmeans(&context, x, columns, &Options { bounds, ..*options }).unwrap())
        })
        .collect();
    force(Level::Avx512);
    assert!(results.iter().all(|result| *result == results[0]));
    results[0].clone()
}

/// Runs `run` once for each part of the rows, all at the same time, connected by a barrier.
fn in_shards<T: Float>(parts: &[&[T]], run: impl Fn(&Context<'_>, &[T]) -> KMeans + Sync) -> Vec<KMeans> {
    let barrier = Barrier::new(parts.len());
    let given = Mutex::new(vec![Vec::new(); parts.len()]);
    let one = |index: usize| {
        let sum = |values: &mut [i64]| {
            given.lock().unwrap()[index] = values.to_vec();
            barrier.wait();
            let all = given.lock().unwrap().clone();
            for (i, value) in values.iter_mut().enumerate() {
                *value = all.iter().fold(0, |sum: i64, other| sum.wrapping_add(other[i]));
            }
            barrier.wait();
            Ok(())
        };
        let shards = Shards::new(index, parts.len(), &sum).unwrap();
        run(&Context::new(Some(1), NEVER).unwrap().with_shards(shards), parts[index])
    };
    std::thread::scope(|scope| {
        let one = &one;
        let threads: Vec<_> = (0..parts.len()).map(|index| scope.spawn(move || one(index))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// The rows cut into `count` parts at places that `seed` draws, empty parts among them.
fn cut<T>(x: &[T], columns: usize, count: usize, seed: u64) -> Vec<&[T]> {
    let rows = x.len() / columns;
    let edge = |i: usize| (noise(seed.wrapping_add(i as u64)) * (rows + 1) as f64) as usize;
    let mut edges: Vec<usize> = (1..count).map(edge).chain([0, rows]).collect();
    edges.sort_unstable();
    edges.windows(2).map(|pair| &x[pair[0] * columns..pair[1] * columns]).collect()
}

fn assert_shards_do_not_show<T: Float>(x: &[T], columns: usize, options: &Options<'_>) {
    let whole = kmeans(&Context::new(Some(1), NEVER).unwrap(), x, columns, options).unwrap();
    for (count, seed) in [(1, 0), (2, 1), (2, 2), (7, 3), (7, 4)] {
        let parts = cut(x, columns, count, seed << 20);
        let results = in_shards(&parts, |context, part| kmeans(context, part, columns, options).unwrap());
        let mut labels: Vec<i32> = Vec::new();
        for result in results {
            labels.extend(&result.labels);
            let same = KMeans { labels: whole.labels.clone(), ..result };
            assert_eq!(format!("{same:?}"), format!("{whole:?}"));
        }
        assert_eq!(labels, whole.labels);
    }
}

#[test]
fn neither_bounds_nor_instruction_sets_change_a_bit() {
    for (rows, columns, k, groups) in
        [(3000, 2, 40, 60), (2500, 9, 30, 12), (1200, 17, 8, 40), (900, 100, 60, 25), (600, 784, 30, 50)]
    {
        let x = blobs(rows, columns, groups, 3.0);
        let options = Options { tol: 0.0, ..seeded(k) };
        bits(&x, columns, &options);
        let narrow: Vec<f32> = x.iter().map(|&x| x as f32).collect();
        bits(&narrow, columns, &options);
        // Few distinct values: ties everywhere.
        let coarse: Vec<f32> = x.iter().map(|x| x.round() as f32).collect();
        bits(&coarse, columns, &options);
        let start = coarse[..k * columns].iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
        bits(&coarse, columns, &Options { start: Start::Given(&start), ..options });
    }
}

#[test]
fn adversarial_rows_are_clustered_the_same_every_way() {
    let columns = 24;
    let base = blobs(400, columns, 5, 0.0);
    let offset: Vec<f64> = base.iter().map(|x| x + 1e9).collect();
    let outlier: Vec<f64> =
        base.iter().enumerate().map(|(i, x)| if i < columns { 1e30 } else { *x }).collect();
    let subnormal: Vec<f32> = base.iter().map(|x| (x * 1e-41) as f32).collect();
    let mixed: Vec<f64> =
        base.iter().enumerate().map(|(i, x)| x * [1e-30, 1.0, 1e30][i % columns % 3]).collect();
    let equal = vec![0.1f32; 200 * columns];
    let few: Vec<f64> = base[..3 * columns].repeat(50);
    for k in [1, 7, 30] {
        let options = seeded(k);
        bits(&offset, columns, &options);
        bits(&outlier, columns, &options);
        bits(&subnormal, columns, &options);
        bits(&mixed, columns, &options);
        bits(&equal, columns, &options);
        bits(&few, columns, &options);
        let far: Vec<f64> = (0..k * columns).map(|i| if i < columns { 1e300 } else { i as f64 }).collect();
        bits(&base, columns, &Options { start: Start::Given(&far), ..options });
    }
}

#[test]
fn shards_give_the_bits_of_the_whole() {
    for (columns, k, tol) in [(1, 3, 0.0), (5, 9, 1e-3), (40, 30, 0.0)] {
        let x = blobs(500, columns, 12, -2.0);
        let start = Start::Seeded { seed: 5, n_init: 2 };
        assert_shards_do_not_show(&x, columns, &Options { start, tol, ..seeded(k) });
        let narrow: Vec<f32> = x.iter().map(|x| x.round() as f32).collect();
        // Far centers leave clusters empty, which take rows of any shard.
        let far: Vec<f64> =
            (0..k * columns).map(|i| if i < columns { 0.0 } else { 1e5 + i as f64 }).collect();
        let start = Start::Given(&far);
        assert_shards_do_not_show(&narrow, columns, &Options { start, max_iter: 4, ..seeded(k) });
    }
    assert_shards_do_not_show(&[0.1; 60], 3, &seeded(4));
}

#[test]
fn the_order_of_the_rows_does_not_matter() {
    let (columns, k) = (6, 7);
    let x = blobs(700, columns, 30, 0.0);
    let start: Vec<f64> = x[..k * columns].to_vec();
    let options = Options { start: Start::Given(&start), tol: 0.0, ..seeded(k) };
    let plain = run(&x, columns, &options).unwrap();
    let reversed: Vec<f64> = x.chunks_exact(columns).rev().flatten().copied().collect();
    let mut other = run(&reversed, columns, &options).unwrap();
    other.labels.reverse();
    assert_eq!(other.labels, plain.labels);
    assert!((other.inertia - plain.inertia).abs() <= 1e-13 * plain.inertia);
}

/// The least inertia of all ways to put the rows into at most `k` clusters.
fn best_partition(x: &[f64], columns: usize, k: usize) -> f64 {
    let rows = x.len() / columns;
    let mut labels = vec![0; rows];
    let mut best = f64::INFINITY;
    loop {
        let inertia: f64 = (0..k)
            .map(|j| {
                let members = || x.chunks_exact(columns).zip(&labels).filter(|(_, label)| **label == j);
                let count = members().count() as f64;
                (0..columns)
                    .map(|c| {
                        let mean = members().map(|(row, _)| row[c]).sum::<f64>() / count;
                        members().map(|(row, _)| (row[c] - mean).powi(2)).sum::<f64>()
                    })
                    .sum::<f64>()
            })
            .sum();
        best = best.min(inertia);
        let Some(next) = labels.iter().position(|&label| label + 1 < k) else { return best };
        labels[..next].fill(0);
        labels[next] += 1;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn many_starts_find_the_best_partition(
        x in prop::collection::vec(-8i8..8, 4..9).prop_map(|x| x.into_iter().map(f64::from).collect::<Vec<_>>()),
        k in 1usize..4,
    ) {
        let options = Options { start: Start::Seeded { seed: 1, n_init: 40 }, tol: 0.0, ..seeded(k) };
        let context = Context::new(Some(1), NEVER).unwrap();
        let inertia = kmeans(&context, &x, 1, &options).unwrap().inertia;
        let best = best_partition(&x, 1, k);
        prop_assert!((inertia - best).abs() <= 1e-12 * (1.0 + best), "{} {}", inertia, best);
    }

    #[test]
    fn labels_are_nearest_whatever_the_data(
        columns in 1usize..20,
        k in 1usize..6,
        values in prop::collection::vec(prop_oneof![
            (-2i8..3).prop_map(f32::from), -1e3f32..1e3, Just(0.0), Just(1e18), Just(1e-30),
        ], 200),
        seed in any::<u64>(),
    ) {
        let x = &values[..values.len() / columns * columns];
        let options = Options { start: Start::Seeded { seed, n_init: 1 }, ..seeded(k) };
        let result = run(x, columns, &options).unwrap();
        assert_labels_are_nearest(x, columns, &result);
        prop_assert!(result.labels.iter().all(|&label| (label as usize) < k));
        // Equal rows carry equal labels.
        for (a, label) in x.chunks_exact(columns).zip(&result.labels) {
            for (b, other) in x.chunks_exact(columns).zip(&result.labels) {
                prop_assert!(a != b || label == other);
            }
        }
    }
}

#[test]
fn progress_counts_centers_and_iterations_and_changes_nothing() {
    let x = blobs(3000, 3, 20, 0.0);
    let options = Options { max_iter: 5, tol: 0.0, ..seeded(20) };
    let heard = RefCell::new(Vec::new());
    let hear = |progress| heard.borrow_mut().push(progress);
    let told = kmeans(&Context::new(Some(2), NEVER).unwrap().with_progress(&hear), &x, 3, &options).unwrap();
    assert_eq!(format!("{told:?}"), format!("{:?}", run(&x, 3, &options).unwrap()));
    let centers = (1..20).map(|done| Progress { unit: "center", done, total: Some(20) });
    let iterations = (0..told.n_iter).map(|done| Progress { unit: "iteration", done, total: None });
    assert_eq!(heard.into_inner(), centers.chain(iterations).collect::<Vec<_>>());
}
