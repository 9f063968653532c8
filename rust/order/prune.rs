//! Which samples of a data set are kept when a share of them is pruned by margin (or any score), class by
//! class: read the labels for the classes and their quotas, find each class's cut, write what lies behind.

use super::balanced::Balanced;
use super::best::searches;
use super::classes::{Classes, Label, Labels, Numbers};
use super::edge::{Front, words};
use super::narrow::{Cuts, Pool, cuts};
use super::quotas::{Class, quotas, total_limit};
use super::rank::{self, Rank, RankOf, Score, by_width};
use super::scan::BLOCK;
use super::selection::Selection;
use super::{Access, Order, counting, sampled, together};
use crate::error::{Error, Result};
use crate::par::{CHUNK, Context};
use crate::shard::Rows;

/// Passes by class: the classes, their bins, the cuts and the writing.
const PASSES: usize = 4;

/// What is pruned.
#[derive(Clone, Copy, Debug)]
pub struct Prune<'a> {
    /// The share of all samples that goes, in [0, 1].
    pub ratio: f64,
    /// The samples that come first in this order go first.
    pub order: Order,
    /// The class of each sample, where classes are to shrink alike.
    pub labels: Option<Labels<'a>>,
    /// Samples that each class keeps (or all it has, where that is fewer).
    pub min_per_class: usize,
    /// Samples that stay, as positions in the whole data set.
    pub protect: &'a [i64],
    /// Where the margins lie.
    pub access: Access,
}

/// The samples kept: all but the round(`ratio` · n) that go (halves to even).
///
/// With labels, class c gives less than one sample more or fewer than `ratio` · n_c, by largest
/// remainders, equal ones in favour of the class whose first sample comes first; so the labels' names do
/// not matter. Classes that cannot give so many (protected samples, `min_per_class`) give what they can,
/// the others the difference. Of a shard's samples those are given that are kept in the whole.
///
/// # Errors
/// [`Error::Parameter`] for a ratio outside [0, 1] or more than the samples that may go, for an index to
/// protect that no sample has, or where NaN is refused; [`Error::Shape`] for labels of another length.
///
/// # Examples
/// ```
/// use puma_fast::order::{Access, Labels, Nan, Order, Prune, prune};
/// let context = puma_fast::Context::new(Some(1), &|| false)?;
/// let order = Order { largest: true, nan: Nan::Raise };
/// let labels = Some(Labels::U8(&[7, 7, 8, 8]));
/// let plan = Prune { ratio: 0.5, order, labels, min_per_class: 0, protect: &[], access: Access::Random };
/// assert_eq!(prune(&context, &[0.4, 0.3, 0.2, 0.1], &plan)?.positions(&context)?, [1, 3]);
/// # Ok::<(), puma_fast::Error>(())
/// ```
pub fn prune<'a, T: Score>(
    context: &Context<'_>,
    margins: &'a [T],
    plan: &Prune<'a>,
) -> Result<Selection<'a>> {
    let rows = context.shards().rows(margins.len())?;
    together(context, check(plan, margins.len(), rows))?;
    let reads = if plan.labels.is_some() { PASSES } else { searches(context, plan.access) + 1 };
    let context = &counting(context, reads * margins.len());
    match plan.labels {
        None => by_class(context, margins, plan, rows, &[rows.total], |_| 0),
        Some(Labels::U8(labels)) => labelled(context, margins, plan, rows, labels),
        Some(Labels::I32(labels)) => labelled(context, margins, plan, rows, labels),
        Some(Labels::I64(labels)) => labelled(context, margins, plan, rows, labels),
    }
}

fn check(plan: &Prune<'_>, len: usize, rows: Rows) -> Result<()> {
    if !(0.0..=1.0).contains(&plan.ratio) {
        return Err(Error::parameter("ratio", "must lie between 0 and 1", plan.ratio));
    }
    if let Some(labels) = plan.labels.filter(|labels| labels.len() != len) {
        let got = format!("{} labels for {len} margins", labels.len());
        return Err(Error::shape("labels", "needs one label for each margin", got));
    }
    let is_sample = |&&id: &&i64| usize::try_from(id).is_ok_and(|id| id < rows.total);
    if let Some(id) = plan.protect.iter().find(|id| !is_sample(id)) {
        let rule = "must hold positions of samples, from 0 to one less than their number";
        return Err(Error::parameter("protect", rule, format!("{id} with {} samples", rows.total)));
    }
    Ok(())
}

fn labelled<'a, T: Score, L: Label>(
    context: &Context<'_>,
    margins: &'a [T],
    plan: &Prune<'a>,
    rows: Rows,
    labels: &'a [L],
) -> Result<Selection<'a>> {
    if plan.access == Access::Random && context.shards().is_whole() && rank::is_narrow(rows.total) {
        let protected = &protected(plan, rows, margins.len());
        let balanced = Balanced { margins, labels, order: plan.order, protected };
        let quotas = |sizes: &[usize], protected: Vec<usize>| {
            let gone = gone(context, plan, rows.total, sizes, protected.into_iter())?;
            Ok(gone.into_iter().map(|(quota, _)| quota).collect())
        };
        if let Some(kept) = balanced.bracketed(context, plan.ratio, quotas)? {
            return Ok(kept);
        }
        context.still(PASSES * margins.len());
        if let Some(kept) = balanced.kept(context, quotas)? {
            return Ok(kept);
        }
        context.still(PASSES * margins.len());
    }
    let mut classes = Classes::new(context, labels, rows.first)?;
    let sizes = std::mem::take(&mut classes.sizes);
    match classes.numbers(context, labels)? {
        Numbers::Table { least, numbers } => {
            let class_of = move |i: usize| numbers[(labels[i].into() - least) as usize] as usize;
            by_class(context, margins, plan, rows, &sizes, class_of)
        }
        Numbers::Kept(kept) => by_class(context, margins, plan, rows, &sizes, move |i| kept[i] as usize),
    }
}

fn by_class<'a, T: Score, C: Fn(usize) -> usize + Send + Sync + 'a>(
    context: &Context<'_>,
    margins: &'a [T],
    plan: &Prune<'a>,
    rows: Rows,
    sizes: &[usize],
    class_of: C,
) -> Result<Selection<'a>> {
    let protected = protected(plan, rows, margins.len());
    let quotas = gone(context, plan, rows.total, sizes, protected.iter().map(|&i| class_of(i)))?;
    let (quotas, free): (Vec<usize>, Vec<usize>) = quotas.into_iter().unzip();
    let pool = Pool { name: "margins", scores: margins, order: plan.order, rows, out: protected, class_of };
    by_width!(rows.total, kept::<T>(context, pool, plan.access, &quotas, &free))
}

/// The protected samples among the `len` of this shard, ascending.
fn protected(plan: &Prune<'_>, rows: Rows, len: usize) -> Vec<usize> {
    let mut protected: Vec<usize> = plan
        .protect
        .iter()
        .filter_map(|&id| (id as usize).checked_sub(rows.first).filter(|&id| id < len))
        .collect();
    protected.sort_unstable();
    protected.dedup();
    protected
}

/// How many samples of each class go, and how many may, where `protected` are the classes of this
/// shard's protected samples.
fn gone(
    context: &Context<'_>,
    plan: &Prune<'_>,
    len: usize,
    sizes: &[usize],
    protected: impl Iterator<Item = usize>,
) -> Result<Vec<(usize, usize)>> {
    let mut stay = vec![0i64; sizes.len()];
    protected.for_each(|class| stay[class] += 1);
    context.shards().sum(&mut stay)?;
    let free: Vec<usize> = sizes.iter().zip(&stay).map(|(size, &stay)| size - stay as usize).collect();
    let limits: Vec<Class> = sizes
        .iter()
        .zip(&free)
        .map(|(&size, &free)| Class { size, limit: free.min(size.saturating_sub(plan.min_per_class)) })
        .collect();
    let total = (plan.ratio * len as f64).round_ties_even() as usize;
    let limit = total_limit(&limits);
    if total > limit {
        let rule = "asks for more samples than may go; lower it, or protect fewer (protect, min_per_class)";
        let got = format!("{} of {len} samples, that is {total}, where {limit} may go", plan.ratio);
        return Err(Error::parameter("ratio", rule, got));
    }
    Ok(quotas(&limits, plan.ratio, total).into_iter().zip(free).collect())
}

fn kept<'a, T: Score, R: RankOf<T::Key>>(
    context: &Context<'_>,
    pool: Pool<'a, T, impl Fn(usize) -> usize + Send + Sync + 'a>,
    access: Access,
    quotas: &[usize],
    free: &[usize],
) -> Result<Selection<'a>> {
    let (len, first) = (pool.scores.len(), pool.rows.first);
    let plain = quotas.len() == 1 && pool.out.is_empty() && access == Access::Random;
    let sampled = if plain && quotas[0] > 0 && context.shards().is_whole() {
        sampled::cut::<T, R>(context, pool.name, pool.scores, quotas[0], pool.order)?
    } else {
        None
    };
    let Cuts { last, mut counts } = match sampled {
        Some(found) => Cuts { last: vec![found.cut], counts: found.counts },
        None => cuts(context, &pool, quotas, free)?,
    };
    for (chunk, count) in counts.iter_mut().enumerate() {
        *count = CHUNK.min(len - chunk * CHUNK) - *count;
    }
    // One class: the scan finds what lies up to its cut, and the others stay.
    if let [cut] = last[..] {
        let front = Front::<T, R>::new(pool.order, cut);
        return Ok(Selection::marked(context, len, first, counts, move |tile, marks| {
            let stay = front.mark(&pool.scores[tile.clone()], first + tile.start, marks);
            for word in &mut *stay {
                *word = !*word;
            }
            if let Some(word) = stay.last_mut().filter(|_| tile.len() % BLOCK > 0) {
                *word &= (1 << (tile.len() % BLOCK)) - 1;
            }
            for i in pool.out_of(tile.clone()) {
                stay[(i - tile.start) / BLOCK] |= 1 << ((i - tile.start) % BLOCK);
            }
            stay
        }));
    }
    // The first rank that is kept, by class.
    let bounds: Vec<R> = last.into_iter().map(|last| last.map_or(R::LEAST, Rank::next)).collect();
    Ok(Selection::marked(context, len, first, counts, move |tile, marks| {
        let words = words(&tile);
        marks.least[..words].fill(0);
        for run in pool.runs(tile.clone()) {
            for i in run {
                let rank = pool.order.rank::<T, R>(pool.scores[i], first + i);
                debug_assert!(rank.is_ok(), "a NaN that is refused was found before");
                let stays = rank.is_ok_and(|rank| rank >= bounds[(pool.class_of)(i)]);
                marks.least[(i - tile.start) / BLOCK] |= u64::from(stays) << ((i - tile.start) % BLOCK);
            }
        }
        for i in pool.out_of(tile.clone()) {
            marks.least[(i - tile.start) / BLOCK] |= 1 << ((i - tile.start) % BLOCK);
        }
        &marks.least[..words]
    }))
}
