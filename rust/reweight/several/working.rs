//! Few weights that move: the rows that might are gathered into a working set and solved there, in
//! cache; a pass over all rows then says which others would move at that price. The furthest above l1
//! join, those well below it leave, until none would move.

use super::cache::{Cache, Prices};
use super::newton::{Budget, Goal, solve};
use super::pricing::{furthest, price};
use super::rows::Rows;
use crate::error::Result;
use crate::float::Float;
use crate::par::Context;
use crate::reweight::Status;
use crate::vecmath::Dd;

/// A row leaves once |ψ·z| is this much below l1 …
const SLACK: f64 = 1e-3;
/// … in the first so many rounds: later none may, so that none comes and goes for ever.
const LEAVING: usize = 12;
/// Rounds after which only rounding can be left.
const ROUNDS: usize = 60;
/// Where a solve that begins near its end takes l2 up from, as part of ‖Ψ‖_F²/k.
pub(super) const NEAR: f64 = 1e-6;

/// The best weights found, all others at rest, and the price that judges them.
pub(super) struct Found {
    pub(super) cache: Cache,
    pub(super) z: Vec<Dd>,
    /// What the others add to the terms of the gap.
    pub(super) others: [f64; 3],
    pub(super) gap: f64,
    pub(super) status: Status,
}

/// Where a solve begins.
pub(super) struct Begin<'a> {
    /// The first working set.
    pub(super) ids: &'a [usize],
    pub(super) z: Vec<Dd>,
    /// Where l2 is taken up, as part of ‖Ψ‖_F²/k: [`EASY`](super::newton::EASY) or [`NEAR`].
    pub(super) start: f64,
}

/// Rows that cost little beside a pass: some twenty Newton steps of w·k·(k + 40) flops to n·k.
pub(super) fn few(k: usize, total: usize) -> usize {
    (4 * k).max(32).max(total / (20 * (k + 40)))
}

/// Solves from `begin`. `None` where it outgrows `most` rows.
#[allow(clippy::too_many_arguments)]
pub(super) fn working_set<T: Float>(
    context: &Context<'_>,
    rows: &Rows<'_, T>,
    prices: Prices,
    rest: &[Dd],
    begin: Begin<'_>,
    most: usize,
    gap: f64,
    budget: &mut Budget,
) -> Result<Option<Found>> {
    let mut cache = Cache::new(rows.k);
    cache.add(context, rows, begin.ids, 1.0)?;
    let (mut z, mut start) = (begin.z, begin.start);
    let mut best: Option<Found> = None;
    for round in 0..ROUNDS {
        let resting: Vec<f64> = (0..cache.len()).map(|i| cache.resting(i)).collect();
        // What is left for the working set: b − Σ_{others} ψλ.
        let target: Vec<Dd> = cache.effect(&resting).into_iter().zip(rest).map(|(own, &r)| own - r).collect();
        let goal = Goal { prices, target: &target, gap: 0.3 * gap };
        z = solve(context, &mut cache, goal, z, start, budget)?;
        start = NEAR;
        let priced = price(context, rows, prices, &z, &cache.ids)?;
        let judged = cache.judge(prices, &target, &z, &cache.weights, rows.total, priced.terms);
        // At z = 0 the gap is the objective: none is negative.
        let total = judged.gap.min(judged.objective);
        let status = if total <= gap {
            Status::Solved
        } else if budget.is_spent() {
            Status::MaxIter
        } else {
            Status::Stalled
        };
        let is_last = status != Status::Stalled || priced.count == 0;
        let is_best = best.as_ref().is_none_or(|best| total < best.gap);
        if is_last && is_best {
            return Ok(Some(Found { cache, z, others: priced.terms, gap: total, status }));
        }
        if is_best {
            let (cache, z) = (cache.clone(), z.clone());
            best = Some(Found { cache, z, others: priced.terms, gap: total, status });
        }
        if is_last {
            return Ok(best.map(|best| Found { status, ..best }));
        }
        if round < LEAVING {
            let pulls = cache.pulls(&z);
            cache.retain(|cache, i| {
                cache.weights[i] != cache.resting(i) || pulls[i].hi.abs() >= (1.0 - SLACK) * prices.l1
            });
        }
        let room = (2 * cache.len()).max(few(rows.k, rows.total));
        let joining = furthest(context, priced.violators, room)?;
        if cache.len() + joining.len() > most {
            return Ok(None);
        }
        cache.add(context, rows, &joining, 1.0)?;
    }
    Ok(best)
}
