//! ψ by size, for solves of one criterion that differ in l1 alone: a path.
//!
//! At any l1 the price depends on ψ through Σy and Σy² above a threshold, which rises with l1. One pass
//! gathers the samples between the thresholds of the least and the greatest l1, as a sample of them tells;
//! rungs, quantiles of that sample, divide them into shelves, and the sums above every rung are integers.
//! On which shelf the threshold of an l1 lies follows from the sign of F at the rungs, which are
//! the knots l1 = y·t(P, Q) of the sorted path thinned out; the root among the samples of that one shelf is
//! the root of a single solve, to the bit. So nothing has to be sorted: within a shelf the root asks for no
//! order.

use super::bracket::{Data, Found, Prices};
use super::passes::{Picked, TOP};
use super::price::{Cuts, Place, Sums, less};
use super::problem::check;
use super::sample::Sample;
use super::sift::sift;
use super::{Options, Result};
use crate::fixed::power_of_two;
use crate::float::Float;
use crate::par::{CHUNK, Context};
use crate::shard::Rows;
use crate::vecmath::Dd;

/// Prices from which on shelves cost less than a pass or two for each.
const WORTH: usize = 4;
/// Shelves: a root takes some readings of one of them.
const SHELVES: usize = 128;
/// Times this a price is below itself by more than its rounding, and by less than a double's.
const BELOW: Dd = Dd { hi: 1.0, lo: -power_of_two(-80) };

/// What solves of the same ψ and b share, see [`Options::ladder`].
#[derive(Debug)]
pub struct Ladder {
    own: usize,
    rows: Rows,
    wanted: Dd,
    l2: f64,
    scale: f64,
    largest: f64,
    /// Bounds of the shelves, falling: shelf i holds rungs[i] ≥ y > rungs[i + 1].
    rungs: Vec<f64>,
    /// The sums above each rung, over all shards.
    above: Vec<Sums>,
    /// This shard's samples, by chunks.
    chunks: Vec<Shelved>,
    /// The same with their places, where nothing else can have a weight.
    few: Option<Vec<Picked>>,
}

/// e of some samples by shelves.
#[derive(Debug)]
struct Shelved {
    values: Vec<f64>,
    /// Where each shelf ends.
    ends: Vec<usize>,
}

impl Ladder {
    /// For solves of `psi`, `b` and `options` at each of `l1s`; `None` where single solves are as good, or
    /// the problem is not one criterion with l2 > 0, without a box and `max_residual`.
    ///
    /// # Errors
    /// Those of [`solve`](super::solve).
    pub fn new<T: Float>(
        context: &Context<'_>,
        psi: &[T],
        b: &[Dd],
        l1s: &[f64],
        options: &Options<'_, T>,
    ) -> Result<Option<Self>> {
        check(context, psi.len(), b, options)?;
        let &[wanted] = b else { return Ok(None) };
        let known = || l1s.iter().copied().filter(|l1| l1.is_finite());
        let (least, greatest) = (known().fold(f64::INFINITY, f64::min), known().fold(0.0, f64::max));
        let frame = Prices::of_box(wanted, options).filter(Prices::is_plain);
        let (Some(frame), true) = (frame, known().count() >= WORTH && least >= 0.0) else { return Ok(None) };
        let Some((mut data, sample)) = Data::new(context, psi, wanted)? else { return Ok(None) };
        let Some((prices, _)) = data.prices(frame, &Options { l1: Some(least), ..*options })? else {
            return Ok(None);
        };
        loop {
            let scaled = |l1| prices.at(l1).scaled(data.scale);
            let (Some(low), Some(high)) = (scaled(least), scaled(greatest)) else { return Ok(None) };
            let (nothing, infinite) = (Dd::default(), Dd::new(f64::INFINITY));
            let guess = |terms| sample.guess(context, terms, data.sign * data.scale);
            let (lowest, highest) = (guess(&low)?, guess(&high)?);
            let few = lowest.is_few();
            let floor = lowest.least_awake(low.cuts(lowest.bracket(&low, nothing, infinite).1));
            let top = high.cuts(if few { nothing } else { highest.bracket(&high, nothing, infinite).0 });
            let Some(pass) = data.pass(&low, few, [top, floor])? else { return Ok(None) };
            if pass.largest >= power_of_two(TOP) {
                data.rescale(pass.largest);
                continue;
            }
            let rungs = rungs(&sample, data.scale, top.woken, floor.woken);
            let (chunks, sums) = shelve(context, &pass.inside, &rungs)?;
            let mut above = vec![pass.base];
            for shelf in &sums {
                let mut next = above[above.len() - 1];
                next.join(shelf);
                above.push(next);
            }
            return Ok(Some(Self {
                own: psi.len(),
                rows: data.rows,
                wanted,
                l2: prices.l2,
                scale: data.scale,
                largest: pass.largest,
                rungs,
                above,
                chunks,
                few: pass.few,
            }));
        }
    }

    /// The l2 of the problem, given or of ψ.
    #[must_use]
    pub const fn l2(&self) -> f64 {
        self.l2
    }

    /// The samples that may have a weight, with their places, where they are few.
    pub(super) fn few(&self) -> Option<&[Picked]> {
        self.few.as_deref()
    }

    /// What is known of `psi`, if it is that of the ladder.
    pub(super) fn data<'a, 'c, T: Float>(
        &self,
        context: &'c Context<'c>,
        psi: &'a [T],
        wanted: Dd,
    ) -> Option<Data<'a, 'c, T>> {
        let data =
            Data { context, psi, rows: self.rows, sign: wanted.hi.signum(), scale: self.scale, passes: 1 };
        (psi.len() == self.own && wanted == self.wanted).then_some(data)
    }

    /// The price; `None` where it is not on the ladder.
    pub(super) fn find<T: Float>(&self, data: &Data<'_, '_, T>, prices: &Prices) -> Result<Option<Found>> {
        let Some(terms) = prices.scaled(self.scale).filter(|_| prices.is_plain()) else { return Ok(None) };
        if terms.stays(self.largest) {
            return Ok(Some(Found::at_rest(terms, self.largest)));
        }
        let infinite = Dd::new(f64::INFINITY);
        // The price from which on a y above the rung is awake.
        let waking = |rung: f64| match rung {
            0.0 => infinite,
            f64::INFINITY => Dd::default(),
            _ => Dd::new(terms.l1) / Dd::new(rung),
        };
        let lowered = |price: Dd| if price == infinite { price } else { price * BELOW };
        // The root of the samples above a rung is at least the price that wakes the rung's own exactly where
        // the root of all is.
        let knots = self.rungs.iter().zip(&self.above);
        let passed = knots.map(|(&rung, above)| {
            let low = lowered(waking(rung));
            !less(terms.piece_root(above, low), low)
        });
        let passed = passed.take_while(|passed| *passed).count();
        let (Some(shelf), Some(&rung)) = (passed.checked_sub(1), self.rungs.get(passed)) else {
            return Ok(None);
        };
        let inside = self.chunks.iter().flat_map(|chunk| chunk.shelf(shelf)).copied().collect();
        let inside = data.of_all_shards(inside)?;
        let (low, high) = (lowered(waking(self.rungs[shelf])), waking(rung));
        let most = terms.demand + terms.demand;
        let high = if less(most, high) { most } else { high };
        Ok(match terms.root(data.context, &self.above[shelf], &inside, (low, high))? {
            Place::At(price, sums) => Some(Found { terms, price, sums, largest: self.largest, few: None }),
            Place::Above(_) | Place::Below(_) => None,
        })
    }
}

/// From `top` down to `floor`, in steps of equally many of the sample. What the sample has more often than
/// that gets a shelf of its own: no root is looked for among equals.
fn rungs(sample: &Sample, scale: f64, top: f64, floor: f64) -> Vec<f64> {
    let mut sizes: Vec<f64> = sample.sizes(scale).filter(|&y| floor < y && y <= top).collect();
    sizes.sort_unstable_by(|a, b| b.total_cmp(a));
    let mut rungs = vec![top];
    let mut last = top;
    for &y in sizes.iter().step_by((sizes.len() / SHELVES).max(1)) {
        let rung = if y == last { y.next_down() } else { y };
        if rung < last && rung > floor {
            rungs.push(rung);
            last = rung;
        }
    }
    rungs.push(floor);
    rungs
}

/// The samples by shelves, and the sums of each shelf over all shards.
fn shelve(context: &Context<'_>, inside: &[f64], rungs: &[f64]) -> Result<(Vec<Shelved>, Vec<Sums>)> {
    let shelves = rungs.len() - 1;
    let parts = context.map_chunks(inside.len(), CHUNK, |range| {
        let shelved = Shelved::new(&inside[range], rungs);
        let sums: Vec<Sums> = (0..shelves).map(|i| shelved.sums(i)).collect();
        (shelved, sums)
    })?;
    let mut sums = vec![Sums::default(); shelves];
    let mut chunks = Vec::with_capacity(parts.len());
    for (shelved, part) in parts {
        sums.iter_mut().zip(&part).for_each(|(sum, more)| sum.join(more));
        chunks.push(shelved);
    }
    for sum in &mut sums {
        sum.over_shards(context.shards())?;
    }
    Ok((chunks, sums))
}

impl Shelved {
    fn new(inside: &[f64], rungs: &[f64]) -> Self {
        let shelves = rungs.len() - 1;
        let which: Vec<u16> = inside
            .iter()
            .map(|e| {
                let y = e.abs();
                rungs[1..shelves].partition_point(|&rung| y <= rung) as u16
            })
            .collect();
        let mut ends = vec![0; shelves];
        for &shelf in &which {
            ends[usize::from(shelf)] += 1;
        }
        let mut end = 0;
        for slot in &mut ends {
            // For now where it begins.
            end += std::mem::replace(slot, end);
        }
        let mut values = vec![0.0; inside.len()];
        for (&e, shelf) in inside.iter().zip(which) {
            let at = &mut ends[usize::from(shelf)];
            values[*at] = e;
            *at += 1;
        }
        Self { values, ends }
    }

    fn shelf(&self, i: usize) -> &[f64] {
        let start = i.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.values[start..self.ends[i]]
    }

    /// The sums of one shelf, which is awake as a whole.
    fn sums(&self, i: usize) -> Sums {
        let all = Cuts { woken: 0.0, full: [f64::INFINITY; 2] };
        sift::<f64, false>(self.shelf(i), 1.0, all, all).sums
    }
}
