//! How many samples each class gives up so that the classes shrink alike and the sum is exact: the
//! method of largest remainders (Hamilton's method of apportionment), with the most that a class can
//! give as a limit.

use crate::error::{Error, Result};

/// What one class has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Class {
    /// Its samples.
    pub(super) size: usize,
    /// The most it can give.
    pub(super) limit: usize,
}

/// Quotas that add up to `total` ≈ `ratio` · Σ size, at most the limits, each less than one off
/// `ratio` · size where no limit stands in the way. Where one does, the other classes give the difference
/// in proportion to their sizes. Equal remainders go by the order of the classes.
///
/// `total` must be at most the sum of the limits.
pub(super) fn quotas(classes: &[Class], ratio: f64, total: usize) -> Vec<usize> {
    let mut quotas: Vec<usize> = classes.iter().map(|class| class.limit).collect();
    let mut open: Vec<usize> = (0..classes.len()).collect();
    let mut open_ratio = ratio;
    let mut open_total = total;
    loop {
        let share = |c: usize| open_ratio * classes[c].size as f64;
        let before = open.len();
        let fits: Vec<usize> =
            open.iter().copied().filter(|&c| share(c) <= classes[c].limit as f64).collect();
        if fits.len() == before {
            for &c in &open {
                quotas[c] = share(c) as usize;
            }
            let given: usize = open.iter().map(|&c| quotas[c]).sum();
            open.retain(|&c| quotas[c] < classes[c].limit);
            hand_out(&mut quotas, open, open_total - given, |c| share(c).fract());
            return quotas;
        }
        open = fits;
        let limited: usize = total_limit(classes) - open.iter().map(|&c| classes[c].limit).sum::<usize>();
        let open_size: usize = open.iter().map(|&c| classes[c].size).sum();
        open_total = total - limited;
        open_ratio = open_total as f64 / open_size as f64;
    }
}

/// Gives one each of what is `left` to those of `open` with the largest remainders.
fn hand_out<K: PartialOrd>(
    quotas: &mut [usize],
    mut open: Vec<usize>,
    left: usize,
    remainder: impl Fn(usize) -> K,
) {
    open.sort_by(|&a, &b| remainder(b).partial_cmp(&remainder(a)).unwrap_or(std::cmp::Ordering::Equal));
    for c in open.into_iter().take(left) {
        quotas[c] += 1;
    }
}

/// Shares `total` out over classes of these `sizes` in proportion, by largest remainders; equal ones go by
/// the order of the classes.
///
/// # Errors
/// [`Error::Parameter`] where `total` exceeds the sum of the sizes.
///
/// # Examples
/// ```
/// assert_eq!(puma_fast::order::apportion(&[50, 30, 20], 7)?, [4, 2, 1]);
/// # Ok::<(), puma_fast::Error>(())
/// ```
pub fn apportion(sizes: &[usize], total: usize) -> Result<Vec<usize>> {
    let all: usize = sizes.iter().sum();
    if total > all {
        let got = format!("{total} of {all}");
        return Err(Error::parameter("total", "must be at most the sum of the sizes", got));
    }
    // In integers, where equal remainders are equal.
    let share = |c: usize| sizes[c] as u128 * total as u128;
    let whole = all.max(1) as u128;
    let mut shares: Vec<usize> = (0..sizes.len()).map(|c| (share(c) / whole) as usize).collect();
    let left = total - shares.iter().sum::<usize>();
    hand_out(&mut shares, (0..sizes.len()).collect(), left, |c| share(c) % whole);
    Ok(shares)
}

/// The most that all classes can give.
pub(super) fn total_limit(classes: &[Class]) -> usize {
    classes.iter().map(|class| class.limit).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn free(sizes: &[usize]) -> Vec<Class> {
        sizes.iter().map(|&size| Class { size, limit: size }).collect()
    }

    #[test]
    fn the_largest_remainders_get_what_is_left() {
        // Shares 1.2, 1.8, 2.5 and 0.5: wholes 1, 1, 2, 0, so two are left, for .8 and the first .5.
        assert_eq!(quotas(&free(&[12, 18, 25, 5]), 0.1, 6), [1, 2, 3, 0]);
        assert_eq!(quotas(&free(&[5, 25, 18, 12]), 0.1, 6), [1, 2, 2, 1]);
    }

    #[test]
    fn what_one_class_cannot_give_the_others_give_in_proportion() {
        let classes =
            [Class { size: 10, limit: 1 }, Class { size: 10, limit: 10 }, Class { size: 20, limit: 20 }];
        assert_eq!(quotas(&classes, 0.5, 20), [1, 6, 13]);
        assert_eq!(quotas(&classes, 0.775, 31), [1, 10, 20]);
    }

    proptest! {
        #[test]
        fn the_sum_is_exact_and_no_quota_is_one_off(
            sizes in prop::collection::vec(0usize..200, 1..30),
            ratio in prop_oneof![0.0f64..=1.0, Just(0.0), Just(0.1), Just(0.3), Just(0.5), Just(1.0)],
        ) {
            let total = (ratio * sizes.iter().sum::<usize>() as f64).round_ties_even() as usize;
            let quotas = quotas(&free(&sizes), ratio, total);
            prop_assert_eq!(quotas.iter().sum::<usize>(), total);
            for (quota, size) in quotas.into_iter().zip(sizes) {
                prop_assert!(quota <= size);
                prop_assert!((quota as f64 - ratio * size as f64).abs() < 1.0);
            }
        }

        #[test]
        fn limits_hold_and_the_sum_stays_exact(
            pairs in prop::collection::vec((0usize..50, 0usize..50), 1..20), ratio in 0.0f64..=1.0,
        ) {
            let classes: Vec<Class> =
                pairs.iter().map(|&(a, b)| Class { size: a.max(b), limit: a.min(b) }).collect();
            let all = classes.iter().map(|class| class.size).sum::<usize>() as f64;
            let total = (ratio * all).round_ties_even() as usize;
            prop_assume!(total <= total_limit(&classes));
            let quotas = quotas(&classes, ratio, total);
            prop_assert_eq!(quotas.iter().sum::<usize>(), total);
            prop_assert!(quotas.iter().zip(&classes).all(|(quota, class)| *quota <= class.limit));
        }
    }
}
