//! kmeans: every label is the nearest center, the centers are the means of their rows.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use puma_fast::kmeans::{Options, Start, Status, kmeans};
use puma_fast_fuzz::{Number, agreed, doubles};

#[derive(Arbitrary, Debug)]
struct Input {
    x: Vec<Number>,
    columns: u8,
    n_clusters: u8,
    max_iter: u8,
    seed: u64,
    repeat: u8,
}

fuzz_target!(|input: Input| {
    let columns = usize::from(input.columns % 40);
    let mut x = doubles(&input.x).repeat(usize::from(input.repeat % 16));
    x.truncate(x.len() - x.len().checked_rem(columns).unwrap_or(0));
    let start = Start::Seeded { seed: input.seed, n_init: 1 };
    let n_clusters = usize::from(input.n_clusters % 20);
    let max_iter = usize::from(input.max_iter);
    let options = Options { n_clusters, start, max_iter, tol: 0.0 };
    let Ok(result) = agreed(|context| kmeans(context, &x, columns, &options)) else { return };

    let distance =
        |row: &[f64], center: &[f64]| -> f64 { row.iter().zip(center).map(|(x, c)| (x - c) * (x - c)).sum() };
    // Centers are as fine as the largest value allows.
    let grain = 1e-9 * x.iter().fold(0.0, |largest: f64, x| largest.max(x.abs()));
    let mut inertia = 0.0;
    for (row, &label) in x.chunks_exact(columns).zip(&result.labels) {
        let own = distance(row, &result.centers[label as usize * columns..][..columns]);
        for center in result.centers.chunks_exact(columns) {
            assert!(
                own <= distance(row, center) * (1.0 + 1e-12) + grain * grain,
                "a nearer center was passed over"
            );
        }
        inertia += own;
    }
    let rounding = 1e-9 * inertia + grain * grain * x.len() as f64;
    let equal = inertia == result.inertia || (inertia - result.inertia).abs() <= rounding;
    assert!(equal, "{inertia} is not {}", result.inertia);
    if result.status == Status::Converged {
        assert!((0..n_clusters as i32).all(|label| result.labels.contains(&label)), "a cluster is empty");
    }
});
