//! prune: the size, the quotas, the protected samples and the order of what is kept.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use puma_fast::order::{Nan, Order, Prune, prune};
use puma_fast_fuzz::{Number, agreed, doubles};

#[derive(Arbitrary, Debug)]
struct Input {
    samples: Vec<(Number, u8)>,
    ratio: u8,
    largest: bool,
    classes: Option<u8>,
    min_per_class: u8,
    protect: Vec<u16>,
}

fuzz_target!(|input: Input| {
    let margins = doubles(&input.samples.iter().map(|sample| sample.0).collect::<Vec<_>>());
    let n = margins.len();
    let classes = input.classes.map(|classes| i64::from(classes.max(1)));
    let labels: Option<Vec<i64>> =
        classes.map(|classes| input.samples.iter().map(|sample| i64::from(sample.1) % classes).collect());
    let mut protect: Vec<i64> = input.protect.iter().map(|&p| i64::from(p) % (n as i64).max(1)).collect();
    protect.sort_unstable();
    protect.dedup();
    let order = Order { largest: input.largest, nan: Nan::Last };
    let ratio = f64::from(input.ratio) / 255.0;
    let min_per_class = usize::from(input.min_per_class);
    let plan = Prune { ratio, order, labels: labels.as_deref(), min_per_class, protect: &protect };
    let Ok(kept) = agreed(|context| prune(context, &margins, &plan)) else { return };

    assert!(kept.windows(2).all(|pair| pair[0] < pair[1]), "kept positions rise");
    assert!(protect.iter().all(|p| kept.binary_search(p).is_ok()), "a protected sample is gone");
    // Within a class whoever is first in the order goes first: nobody stays before one who goes.
    let is_kept = |i: usize| kept.binary_search(&(i as i64)).is_ok();
    let before = |a: usize, b: usize| {
        let (x, y) = (margins[a], margins[b]);
        match (x.is_nan(), y.is_nan()) {
            (false, false) if x == y => a < b,
            (false, false) => (x > y) == input.largest,
            (true, true) => a < b,
            (x, _) => !x,
        }
    };
    let class = |i: usize| labels.as_ref().map_or(0, |labels| labels[i]);
    for gone in (0..n).filter(|&i| !is_kept(i)) {
        for stays in (0..n).filter(|&i| is_kept(i) && class(i) == class(gone)) {
            assert!(protect.contains(&(stays as i64)) || before(gone, stays), "{stays} comes before {gone}");
        }
    }
});
