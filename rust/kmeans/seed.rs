//! Greedy k-means++: each next center is drawn from the rows with probability proportional to the squared
//! distance D² from the centers so far, a few times, and the draw that leaves the least Σ D² is taken.
//!
//! Short rows are all compared with all candidates, a tile after another: that costs less than to ask which
//! of them need it. A long row needs no look at a candidate c that is at least twice as far from the row's
//! own center as the row is (triangle inequality; Raff, "Exact acceleration of k-means++ and k-means‖",
//! IJCAI 2021), and no exact distance where the product's error bound keeps it above D². Neither changes a
//! bit of the result: sums of D² are sums of integers, and a draw is an integer below such a sum.

use rand::Rng;

use super::exact::{self, integer};
use super::kernel::ROWS;
use super::near::{self, Near};
use super::panel::Panel;
use super::rows::{Rows, squared_distance};
use crate::error::Result;
use crate::float::Float;
use crate::lanes::WIDTH;
use crate::par::Context;
use crate::simd::dispatch;

/// What a chunk of long rows says of the candidates.
struct Look {
    /// By how much each lessens Σ D², in steps.
    gains: Vec<i64>,
    /// The rows that are nearer to a candidate than to their center: candidate, row, squared distance.
    nearer: Vec<(usize, usize, f64)>,
}

/// `k` rows as centers, k × d, and the number of the nearest of them for every row.
pub(super) fn centers<T: Float>(
    context: &Context<'_>,
    rows: &Rows<'_, T>,
    k: usize,
    generator: &mut impl Rng,
) -> Result<(Vec<f64>, Vec<u32>)> {
    let trials = 2 + (k as f64).ln() as usize;
    let mut near = Near::all(rows.len);
    let mut centers = rows.fetch(context, &[below(generator, rows.total as u64) as usize])?;
    if rows.are_short() {
        take(context, rows, &mut near, &centers, 0)?;
    } else {
        context.map_chunks_mut(&mut near, tiles(rows), |first, near| {
            for (tile, near) in (first..).zip(near) {
                let here = rows.len.min((tile + 1) * WIDTH) - tile * WIDTH;
                for (lane, square) in near.squares[..here].iter_mut().enumerate() {
                    *square = rows.distance(tile * WIDTH + lane, &centers);
                }
            }
        })?;
    }
    for number in 1..k {
        context.progress("center", number, Some(k));
        let weights = Weights::new(context, rows, &near)?;
        let places = weights.draw(context, rows, &near, trials, generator)?;
        let candidates = rows.fetch(context, &places)?;
        let candidate = |best: usize| &candidates[best * rows.columns..(best + 1) * rows.columns];
        let best = if rows.are_short() {
            let best = least_left(context, rows, &near, &candidates, weights.steps)?;
            take(context, rows, &mut near, candidate(best), number as u32)?;
            best
        } else {
            let looks = looks(context, rows, &near, &centers, &candidates, weights.steps)?;
            let gains = looks.iter().map(|look| &look.gains);
            let best = most(context, gains, trials)?;
            for &(trial, row, square) in looks.iter().flat_map(|look| &look.nearer) {
                if trial == best {
                    let (near, lane) = (&mut near[row / WIDTH], row % WIDTH);
                    (near.squares[lane], near.centers[lane]) = (square, number as u32);
                }
            }
            best
        };
        centers.extend(candidate(best));
    }
    let mut nearest: Vec<u32> = near.iter().flat_map(|near| near.centers).collect();
    nearest.truncate(rows.len);
    Ok((centers, nearest))
}

/// Tiles per chunk of a pass.
fn tiles<T: Float>(rows: &Rows<'_, T>) -> usize {
    rows.chunk().div_ceil(WIDTH)
}

/// The first of the candidates whose gain, added over chunks and shards, is largest.
fn most<'a>(
    context: &Context<'_>,
    gains: impl Iterator<Item = &'a Vec<i64>>,
    trials: usize,
) -> Result<usize> {
    let mut sums = vec![0; trials];
    for gains in gains {
        sums.iter_mut().zip(gains).for_each(|(sum, gain)| *sum += gain);
    }
    context.shards().sum(&mut sums)?;
    Ok((0..trials).rev().max_by_key(|&trial| sums[trial]).unwrap_or(0))
}

/// The candidate that leaves short rows the least Σ D².
fn least_left<T: Float>(
    context: &Context<'_>,
    rows: &Rows<'_, T>,
    near: &[Near],
    candidates: &[f64],
    steps: f64,
) -> Result<usize> {
    let columns = rows.columns;
    let points: Vec<f64> = candidates.chunks_exact(columns).flat_map(|c| rows.placed(c)).collect();
    let gains = context.map_chunks(near.len(), tiles(rows), |range| {
        let values = &rows.tiles.values[range.start * columns..range.end * columns];
        let left = near::left(values, &near[range], &points, columns, steps);
        left.into_iter().map(|left| -left).collect::<Vec<_>>()
    })?;
    most(context, gains.iter(), candidates.len() / columns)
}

/// Makes `center` the center of all short rows to which it is the nearest.
fn take<T: Float>(
    context: &Context<'_>,
    rows: &Rows<'_, T>,
    near: &mut [Near],
    center: &[f64],
    number: u32,
) -> Result<()> {
    let point: Vec<f64> = rows.placed(center).collect();
    let columns = rows.columns;
    context.map_chunks_mut(near, tiles(rows), |first, near| {
        let values = &rows.tiles.values[first * columns..(first + near.len()) * columns];
        near::take(values, near, &point, number);
    })?;
    Ok(())
}

/// Compares long rows with all candidates, where those can be nearer than the row's center.
fn looks<T: Float>(
    context: &Context<'_>,
    rows: &Rows<'_, T>,
    near: &[Near],
    centers: &[f64],
    candidates: &[f64],
    steps: f64,
) -> Result<Vec<Look>> {
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
    // (2 times the distance)², and room for the rounding of both distances.
    let twice = 4.0 * (1.0 + 8.0 * (rows.columns as f64 + 3.0) * f64::EPSILON);
    let panel = Panel::new(rows, candidates);
    context.map_chunks(rows.len, rows.chunk(), |range| {
        let close = |&row: &usize| {
            let (near, lane) = (&near[row / WIDTH], row % WIDTH);
            gaps[near.centers[lane] as usize] < twice * near.squares[lane]
        };
        look(&panel, &range.filter(close).collect::<Vec<_>>(), near, steps)
    })
}

/// Compares some rows with all candidates, eight rows at a time.
fn look<T: Float>(panel: &Panel<'_, T>, members: &[usize], near: &[Near], steps: f64) -> Look {
    let mut look = Look { gains: vec![0; panel.len()], nearer: Vec::new() };
    let square = |row: usize| near[row / WIDTH].squares[row % WIDTH];
    for eight in members.chunks(ROWS) {
        let rows: [usize; ROWS] = std::array::from_fn(|lane| eight[lane.min(eight.len() - 1)]);
        // A candidate of at least this value is no nearer than the row's own center; NaN says nothing.
        let far = rows.map(|row| panel.value(row, square(row)) + 2.0 * panel.error(row));
        panel.values(rows, |trial, values| {
            for (lane, &row) in eight.iter().enumerate() {
                if values[lane] >= far[lane] {
                    continue;
                }
                let (own, distance) = (square(row), panel.distance(row, trial));
                if distance < own {
                    look.gains[trial] += integer(own * steps) - integer(distance * steps);
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
    fn new<T: Float>(context: &Context<'_>, rows: &Rows<'_, T>, near: &[Near]) -> Result<Self> {
        let largest = context.map_chunks(near.len(), tiles(rows), |range| near::largest(&near[range]))?;
        let mut largest = [exact::largest(&largest)];
        context.shards().max(&mut largest)?;
        let steps = exact::steps(largest[0], exact::bits(rows.total));
        let sums = context.map_chunks(near.len(), tiles(rows), |range| near::weight(&near[range], steps))?;
        Ok(Self { steps, sums })
    }

    /// Places drawn with probability proportional to D²; any where all are zero.
    fn draw<T: Float>(
        &self,
        context: &Context<'_>,
        rows: &Rows<'_, T>,
        near: &[Near],
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
                let row = self.find(near, tiles(rows), (target - before).cast_signed());
                *place = (rows.first + row) as i64;
            }
        }
        shards.sum(&mut places)?;
        Ok(places.into_iter().map(|place| place as usize).collect())
    }

    /// The row in whose share of the sum `target` falls.
    fn find(&self, near: &[Near], chunk: usize, mut target: i64) -> usize {
        let passes = |target: &mut i64, weight: i64| {
            let beyond = *target >= weight;
            *target -= if beyond { weight } else { 0 };
            beyond
        };
        let first = self.sums.iter().take_while(|sum| passes(&mut target, **sum)).count() * chunk;
        let weights = near[first..].iter().flat_map(|near| near.weights(self.steps));
        first * WIDTH + weights.take_while(|&weight| passes(&mut target, weight)).count()
    }
}

/// An integer in 0..`len`, every one equally likely to within 2⁻⁶⁴.
fn below(generator: &mut impl Rng, len: u64) -> u64 {
    ((u128::from(generator.next_u64()) * u128::from(len)) >> 64) as u64
}
