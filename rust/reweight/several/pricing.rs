//! A pass over the rows that are not in the working set: which of them would move at the price z, and
//! what they add to the duality gap. In double precision; only rows next to or above l1 are looked at
//! twice, with the price as a pair.

use super::cache::Prices;
use super::dot::Price;
use super::exact::add_all;
use super::rows::Rows;
use crate::error::Result;
use crate::fixed::Exact;
use crate::float::Float;
use crate::par::Context;
use crate::reweight::certificate::Term;
use crate::vecmath::Dd;

/// What the rows outside the working set say, of all shards but for the rows themselves.
pub(super) struct Priced {
    /// Rows here that would move: how far |v| is above l1, and their places among all rows.
    pub(super) violators: Vec<(f64, usize)>,
    /// Σ of their terms of the gap, see [`Term`].
    pub(super) terms: [f64; 3],
    /// How many rows would move.
    pub(super) count: usize,
}

#[derive(Default)]
struct Part {
    violators: Vec<(f64, usize)>,
    exact: Vec<f64>,
    bounded: Vec<f64>,
    excess: f64,
}

/// Prices every row that `is_known` does not exclude by its place among all rows.
pub(super) fn price<T: Float>(
    context: &Context<'_>,
    rows: &Rows<'_, T>,
    prices: Prices,
    z: &[Dd],
    known: &[usize],
) -> Result<Priced> {
    let price = Price::new(z);
    let least = prices.l1 - rows.rounding(&price);
    let parts = context.map_chunks(rows.n, rows.chunk(), |range| {
        let pulls = rows.pulls_where(range, &price, least, |_| false);
        let mut part = Part::default();
        for (j, v) in pulls {
            part.look(rows, prices, v, j, known);
        }
        part
    })?;
    let mut all = Part::default();
    let mut sums: [Exact; 2] = Default::default();
    for part in parts {
        all.violators.extend(part.violators);
        add_all(&mut sums[0], &part.exact);
        add_all(&mut sums[1], &part.bounded);
        all.excess = all.excess.max(part.excess);
    }
    let shards = context.shards();
    Exact::over_shards(shards, &mut sums)?;
    let mut excess = [all.excess];
    shards.max(&mut excess)?;
    let mut count = [all.violators.len() as i64];
    shards.sum(&mut count)?;
    let [exact, bounded] = sums.map(|sum| sum.value().value());
    Ok(Priced { violators: all.violators, terms: [exact, bounded, excess[0]], count: count[0] as usize })
}

impl Part {
    /// The second look, at row `j` with ψ·z = `v`.
    fn look<T: Float>(&mut self, rows: &Rows<'_, T>, prices: Prices, v: Dd, j: usize, known: &[usize]) {
        let (bounds, rest) = (rows.bounds(j), rows.resting(j));
        if prices.respond(v, bounds).0 == rest || known.binary_search(&(rows.first + j)).is_ok() {
            return;
        }
        let term = Term::new(prices.l1, prices.l2, bounds, rest, v);
        self.exact.push(term.exact);
        self.bounded.push(term.bounded);
        self.excess = self.excess.max(rows.measure(prices, j).excess(term.excess));
        self.violators.push((v.hi.abs() - prices.l1, rows.first + j));
    }
}

/// The places of the `most` rows of all shards that are furthest above l1, rising; of equals the first.
pub(super) fn furthest(
    context: &Context<'_>,
    mut violators: Vec<(f64, usize)>,
    most: usize,
) -> Result<Vec<usize>> {
    let best_first = |a: &(f64, usize), b: &(f64, usize)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
    if violators.len() > most {
        violators.select_nth_unstable_by(most, best_first);
        violators.truncate(most);
    }
    let shards = context.shards();
    if !shards.is_whole() {
        let mut words = vec![u64::MAX; 2 * most];
        for (slots, (excess, id)) in words.chunks_exact_mut(2).zip(&violators) {
            slots.copy_from_slice(&[excess.to_bits(), *id as u64]);
        }
        let all = shards.gather(&words)?;
        violators = all
            .chunks_exact(2)
            .filter(|pair| pair[1] != u64::MAX)
            .map(|pair| (f64::from_bits(pair[0]), pair[1] as usize))
            .collect();
        violators.sort_unstable_by(best_first);
        violators.truncate(most);
    }
    let mut ids: Vec<usize> = violators.into_iter().map(|(_, id)| id).collect();
    ids.sort_unstable();
    Ok(ids)
}
