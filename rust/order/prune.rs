//! Which samples of a data set are kept when a share of them is pruned by margin (or any score), class by
//! class.

use std::collections::HashMap;

use super::quotas::{Class, quotas, total_limit};
use super::rank::{self, RankOf, Score};
use super::{Order, nan_at};
use crate::error::{Error, Result};
use crate::par::{CHUNK, Context};

/// What is pruned.
#[derive(Clone, Copy, Debug)]
pub struct Prune<'a> {
    /// The share of all samples that goes, in [0, 1].
    pub ratio: f64,
    /// The samples that come first in this order go first.
    pub order: Order,
    /// The class of each sample, where classes are to shrink alike.
    pub labels: Option<&'a [i64]>,
    /// Samples that each class keeps (or all it has, where that is fewer).
    pub min_per_class: usize,
    /// Indices of samples that stay.
    pub protect: &'a [i64],
}

/// The indices of the samples kept, ascending: all but the round(`ratio` · n) that go (halves to even).
///
/// With labels, class c gives less than one sample more or fewer than `ratio` · n_c, by largest
/// remainders, equal ones in favour of the class whose first sample comes first; so the labels' names do
/// not matter. Classes that cannot give so many (protected samples, `min_per_class`) give what they can,
/// the others the difference.
///
/// # Errors
/// [`Error::Parameter`] for a ratio outside [0, 1] or more than the samples that may go, for an index to
/// protect that no sample has, or where NaN is refused; [`Error::Shape`] for labels of another length.
///
/// # Examples
/// ```
/// use puma_fast::order::{Nan, Order, Prune, prune};
/// let context = puma_fast::Context::new(Some(1), &|| false)?;
/// let order = Order { largest: true, nan: Nan::Raise };
/// let plan = Prune { ratio: 0.5, order, labels: Some(&[7, 7, 8, 8]), min_per_class: 0, protect: &[] };
/// assert_eq!(prune(&context, &[0.4, 0.3, 0.2, 0.1], &plan)?, [1, 3]);
/// # Ok::<(), puma_fast::Error>(())
/// ```
pub fn prune<T: Score>(context: &Context<'_>, margins: &[T], plan: &Prune<'_>) -> Result<Vec<i64>> {
    if rank::is_narrow(margins.len()) {
        prune_ranked::<T, T::Narrow>(context, margins, plan)
    } else {
        prune_ranked::<T, T::Wide>(context, margins, plan)
    }
}

fn prune_ranked<T: Score, R: RankOf<T::Key>>(
    context: &Context<'_>,
    margins: &[T],
    plan: &Prune<'_>,
) -> Result<Vec<i64>> {
    let len = margins.len();
    if !(0.0..=1.0).contains(&plan.ratio) {
        return Err(Error::parameter("ratio", "must lie between 0 and 1", plan.ratio));
    }
    let classes = Classes::new(len, plan.labels)?;
    let mut stays = protected(len, plan.protect)?;
    let mut free = vec![0; classes.sizes.len()];
    for (i, _) in stays.iter().enumerate().filter(|(_, stays)| !**stays) {
        free[classes.of(i)] += 1;
    }
    let limits: Vec<Class> = classes
        .sizes
        .iter()
        .zip(&free)
        .map(|(&size, &free)| Class { size, limit: free.min(size.saturating_sub(plan.min_per_class)) })
        .collect();
    let total = (plan.ratio * len as f64).round_ties_even() as usize;
    if total > total_limit(&limits) {
        return Err(Error::parameter(
            "ratio",
            "asks for more samples than may go; lower it, or protect fewer (protect, min_per_class)",
            format!(
                "{} of {len} samples, that is {total}, where {} may go",
                plan.ratio,
                total_limit(&limits)
            ),
        ));
    }
    let quotas = quotas(&limits, plan.ratio, total);

    // A counting sort by class: those of class c are ranks[starts[c]..starts[c + 1]].
    let mut starts = vec![0; free.len() + 1];
    for (c, &count) in free.iter().enumerate() {
        starts[c + 1] = starts[c] + count;
    }
    let all = context.map_chunks(len, CHUNK, |range| {
        plan.order.ranks::<T, R>(margins, range).collect::<std::result::Result<Vec<R>, usize>>()
    })?;
    let all: Vec<R> = all
        .into_iter()
        .collect::<std::result::Result<Vec<_>, _>>()
        .map_err(|index| nan_at("margins", index))?
        .concat();
    let mut ranks = all.clone();
    let mut next = starts.clone();
    for (i, &rank) in all.iter().enumerate().filter(|(i, _)| !stays[*i]) {
        let slot = &mut next[classes.of(i)];
        ranks[*slot] = rank;
        *slot += 1;
    }
    let gone = context.map_chunks(quotas.len(), 1, |class| {
        let mut ranks = ranks[starts[class.start]..starts[class.end]].to_vec();
        let quota = quotas[class.start];
        if quota < ranks.len() {
            ranks.select_nth_unstable(quota);
            ranks.truncate(quota);
        }
        ranks
    })?;
    stays.fill(true);
    for rank in gone.into_iter().flatten() {
        stays[rank.index()] = false;
    }
    Ok(stays.into_iter().zip(0..).filter_map(|(stays, i)| stays.then_some(i)).collect())
}

/// The classes by number, in the order of their first samples.
struct Classes {
    /// The class of each sample; empty where all are of one.
    numbers: Vec<u32>,
    sizes: Vec<usize>,
}

impl Classes {
    fn new(len: usize, labels: Option<&[i64]>) -> Result<Self> {
        let Some(labels) = labels else { return Ok(Self { numbers: Vec::new(), sizes: vec![len] }) };
        if labels.len() != len {
            let got = format!("{} labels for {len} margins", labels.len());
            return Err(Error::shape("labels", "needs one label for each margin", got));
        }
        let (mut seen, mut sizes) = (HashMap::new(), Vec::new());
        let numbers = labels
            .iter()
            .map(|label| {
                let number = *seen.entry(label).or_insert(sizes.len());
                if number == sizes.len() {
                    sizes.push(0);
                }
                sizes[number] += 1;
                number as u32
            })
            .collect();
        Ok(Self { numbers, sizes })
    }

    fn of(&self, sample: usize) -> usize {
        self.numbers.get(sample).map_or(0, |&number| number as usize)
    }
}

/// Which samples are protected.
fn protected(len: usize, ids: &[i64]) -> Result<Vec<bool>> {
    let mut stays = vec![false; len];
    for &id in ids {
        let Some(stays) = usize::try_from(id).ok().and_then(|i| stays.get_mut(i)) else {
            let got = format!("{id} with {len} samples");
            let rule = "must hold positions of samples, from 0 to one less than their number";
            return Err(Error::parameter("protect", rule, got));
        };
        *stays = true;
    }
    Ok(stays)
}
