//! Greedy k-means++: each next center is drawn from the rows with probability proportional to the squared
//! distance D² from the centers so far, a few times, and the draw that leaves the least Σ D² is taken.
//!
//! A row needs no look at a candidate c that is at least twice as far from the row's own center as the row
//! is (triangle inequality; Raff, "Exact acceleration of k-means++ and k-means‖", IJCAI 2021), and no exact
//! distance where the product's error bound keeps it above D². Neither changes a bit of the result: sums of
//! D² are sums of integers, and a draw is an integer below such a sum.

use rand::Rng;

use super::exact;
use super::kernel::ROWS;
use super::panel::Panel;
use super::rows::{Rows, squared_distance};
use crate::error::Result;
use crate::float::Float;
use crate::par::Context;
use crate::simd::dispatch;

/// The nearest center so far, at this squared distance.
#[derive(Clone, Copy)]
pub(super) struct Nearest {
    pub(super) distance: f64,
    pub(super) center: u32,
}

/// What a chunk of rows says of the candidates.
struct Look {
    /// By how much each lessens Σ D², in steps.
    gains: Vec<i64>,
    /// The rows that are nearer to a candidate than to their center: candidate, row, squared distance.
    nearer: Vec<(usize, usize, f64)>,
}

/// `k` rows as centers, k × d, and the nearest of them for every row.
pub(super) fn centers<T: Float>(
    context: &Context<'_>,
    rows: &Rows<'_, T>,
    k: usize,
    generator: &mut impl Rng,
) -> Result<(Vec<f64>, Vec<Nearest>)> {
    let trials = 2 + (k as f64).ln() as usize;
    // (2 times the distance)², and room for the rounding of both distances.
    let twice = 4.0 * (1.0 + 8.0 * (rows.columns as f64 + 3.0) * f64::EPSILON);
    let mut centers = rows.fetch(context, &[below(generator, rows.total as u64) as usize])?;
    let parts = context.map_chunks(rows.len, rows.chunk(), |range| {
        range.map(|row| Nearest { distance: rows.distance(row, &centers), center: 0 }).collect::<Vec<_>>()
    })?;
    let mut nearest = parts.concat();
    for number in 1..k {
        let weights = Weights::new(context, rows, &nearest)?;
        let places = weights.draw(context, rows, &nearest, trials, generator)?;
        let candidates = rows.fetch(context, &places)?;
        // For each center so far the least squared distance of a candidate from it.
        let gaps: Vec<f64> = dispatch(
            #[inline(always)]
            || {
                let gap = |center: &[f64]| {
                    let gaps = candidates.chunks_exact(rows.columns);
                    gaps.map(|c| squared_distance(c, center, rows.scale)).fold(f64::INFINITY, f64::min)
                };
                centers.chunks_exact(rows.columns).map(gap).collect()
            },
        );
        let panel = Panel::new(rows, &candidates);
        let looks = context.map_chunks(rows.len, rows.chunk(), |range| {
            let near = |&row: &usize| {
                let Nearest { distance, center } = nearest[row];
                gaps[center as usize] < twice * distance
            };
            look(&panel, &range.filter(near).collect::<Vec<_>>(), &nearest, weights.steps)
        })?;
        let mut gains = vec![0; trials];
        for look in &looks {
            gains.iter_mut().zip(&look.gains).for_each(|(sum, gain)| *sum += gain);
        }
        context.shards().sum(&mut gains)?;
        let best = (0..trials).rev().max_by_key(|&trial| gains[trial]).unwrap_or(0);
        for &(trial, row, distance) in looks.iter().flat_map(|look| &look.nearer) {
            if trial == best {
                nearest[row] = Nearest { distance, center: number as u32 };
            }
        }
        centers.extend(panel.center(best));
    }
    Ok((centers, nearest))
}

/// Compares some rows with all candidates, eight rows at a time.
fn look<T: Float>(panel: &Panel<'_, T>, members: &[usize], nearest: &[Nearest], steps: f64) -> Look {
    let mut look = Look { gains: vec![0; panel.len()], nearer: Vec::new() };
    for eight in members.chunks(ROWS) {
        let rows: [usize; ROWS] = std::array::from_fn(|lane| eight[lane.min(eight.len() - 1)]);
        // A candidate of at least this value is no nearer than the row's own center; NaN says nothing.
        let far = rows.map(|row| panel.value(row, nearest[row].distance) + 2.0 * panel.error(row));
        panel.values(rows, |trial, values| {
            for (lane, &row) in eight.iter().enumerate() {
                let own = nearest[row].distance;
                if values[lane] >= far[lane] {
                    continue;
                }
                let distance = panel.distance(row, trial);
                if distance < own {
                    look.gains[trial] += (own * steps) as i64 - (distance * steps) as i64;
                    look.nearer.push((trial, row, distance));
                }
            }
        });
    }
    look
}

/// D² as integers, by chunks of rows.
struct Weights {
    /// Per unit of D².
    steps: f64,
    /// Of each chunk.
    sums: Vec<i64>,
}

impl Weights {
    fn new<T: Float>(context: &Context<'_>, rows: &Rows<'_, T>, nearest: &[Nearest]) -> Result<Self> {
        let largest = context.map_chunks(rows.len, rows.chunk(), |range| {
            nearest[range].iter().map(|nearest| nearest.distance).fold(0.0, f64::max)
        })?;
        let mut largest = [exact::largest(&largest)];
        context.shards().max(&mut largest)?;
        let steps = exact::steps(largest[0], exact::bits(rows.total));
        let sums = context.map_chunks(rows.len, rows.chunk(), |range| {
            nearest[range].iter().map(|nearest| (nearest.distance * steps) as i64).sum()
        })?;
        Ok(Self { steps, sums })
    }

    /// Places drawn with probability proportional to D²; any where all are zero.
    fn draw<T: Float>(
        &self,
        context: &Context<'_>,
        rows: &Rows<'_, T>,
        nearest: &[Nearest],
        count: usize,
        generator: &mut impl Rng,
    ) -> Result<Vec<usize>> {
        let shards = context.shards();
        let sums = shards.gather(&[self.sums.iter().sum::<i64>().cast_unsigned()])?;
        let total: u64 = sums.iter().sum();
        if total == 0 {
            return Ok((0..count).map(|_| below(generator, rows.total as u64) as usize).collect());
        }
        let before: u64 = sums[..shards.index()].iter().sum();
        let mine = before..before + sums[shards.index()];
        let mut places = vec![0; count];
        for place in &mut places {
            let target = below(generator, total);
            if mine.contains(&target) {
                let row = self.find(nearest, rows.chunk(), (target - before).cast_signed());
                *place = (rows.first + row) as i64;
            }
        }
        shards.sum(&mut places)?;
        Ok(places.into_iter().map(|place| place as usize).collect())
    }

    /// The row in whose share of the sum `target` falls.
    fn find(&self, nearest: &[Nearest], chunk: usize, mut target: i64) -> usize {
        let passes = |target: &mut i64, weight: i64| {
            let beyond = *target >= weight;
            *target -= if beyond { weight } else { 0 };
            beyond
        };
        let first = self.sums.iter().take_while(|sum| passes(&mut target, **sum)).count() * chunk;
        let weight = |nearest: &Nearest| (nearest.distance * self.steps) as i64;
        first + nearest[first..].iter().take_while(|nearest| passes(&mut target, weight(nearest))).count()
    }
}

/// An integer in 0..`len`, every one equally likely to within 2⁻⁶⁴.
fn below(generator: &mut impl Rng, len: u64) -> u64 {
    ((u128::from(generator.next_u64()) * u128::from(len)) >> 64) as u64
}
