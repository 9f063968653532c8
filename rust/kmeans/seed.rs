//! Greedy k-means++: each next center is drawn from the rows with probability proportional to the squared
//! distance D² from the centers so far, a few times, and the draw that leaves the least Σ D² is taken.
//!
//! A row needs no look at a candidate c that is at least twice as far from the row's own center as the row
//! is (triangle inequality; Raff, "Exact acceleration of k-means++ and k-means‖", IJCAI 2021), which spares
//! most of the work where there are clusters, and changes no bit of the result.

use rand::Rng;

use super::rows::{Rows, squared_distance};
use crate::error::Result;
use crate::float::Float;
use crate::par::Context;
use crate::simd::dispatch;

/// The nearest center so far.
#[derive(Clone, Copy)]
struct Nearest {
    distance: f64,
    center: u32,
}

/// A row that may become a center.
struct Candidate {
    center: Vec<f64>,
    /// Its squared distances from the centers so far.
    gaps: Vec<f64>,
}

impl Candidate {
    fn new<T: Float>(rows: &Rows<'_, T>, row: usize, centers: &[f64]) -> Self {
        let gap = |center: &[f64]| rows.distance(row, center);
        let gaps = centers.chunks_exact(rows.columns).map(gap).collect();
        Self { center: rows.row(row).iter().map(|x| x.to_f64()).collect(), gaps }
    }

    /// The squared distance of `row` from this candidate where it is nearer than its center.
    #[inline(always)]
    fn nearer<T: Float>(&self, x: &[T], scale: f64, nearest: Nearest, twice: f64) -> Option<f64> {
        if self.gaps.get(nearest.center as usize).is_some_and(|gap| *gap >= twice * nearest.distance) {
            return None;
        }
        let distance = squared_distance(x, &self.center, scale);
        (distance < nearest.distance).then_some(distance)
    }
}

/// `k` rows as centers, k × d.
pub(super) fn centers<T: Float>(
    context: &Context<'_>,
    rows: &Rows<'_, T>,
    k: usize,
    generator: &mut impl Rng,
) -> Result<Vec<f64>> {
    let trials = 2 + (k as f64).ln() as usize;
    // (2 times the distance)², and room for the rounding of both distances.
    let twice = 4.0 * (1.0 + 8.0 * (rows.columns as f64 + 3.0) * f64::EPSILON);
    let mut nearest = vec![Nearest { distance: f64::INFINITY, center: u32::MAX }; rows.len];
    let mut centers = Vec::with_capacity(k * rows.columns);
    let first = below(generator, rows.len);
    let mut sums = take(context, rows, &mut nearest, &Candidate::new(rows, first, &centers), 0, twice)?;
    centers.extend(rows.row(first).iter().map(|x| x.to_f64()));
    for number in 1..k {
        let candidates: Vec<Candidate> = (0..trials)
            .map(|_| Candidate::new(rows, draw(generator, &sums, &nearest, rows.chunk()), &centers))
            .collect();
        // One pass over the rows for all candidates.
        let left = context.map_chunks(rows.len, rows.chunk(), |range| {
            let mut left = vec![0.0; trials];
            dispatch(
                #[inline(always)]
                || {
                    for row in range {
                        let (x, nearest) = (rows.row(row), nearest[row]);
                        for (left, candidate) in left.iter_mut().zip(&candidates) {
                            *left +=
                                candidate.nearer(x, rows.scale, nearest, twice).unwrap_or(nearest.distance);
                        }
                    }
                },
            );
            left
        })?;
        let total = |trial: usize| left.iter().map(|chunk| chunk[trial]).sum::<f64>();
        let best = (0..trials).min_by(|&a, &b| total(a).total_cmp(&total(b))).unwrap_or(0);
        sums = take(context, rows, &mut nearest, &candidates[best], number as u32, twice)?;
        centers.extend(&candidates[best].center);
    }
    Ok(centers)
}

/// Makes `candidate` the center `number`; Σ D² of each chunk.
fn take<T: Float>(
    context: &Context<'_>,
    rows: &Rows<'_, T>,
    nearest: &mut [Nearest],
    candidate: &Candidate,
    number: u32,
    twice: f64,
) -> Result<Vec<f64>> {
    context.map_chunks_mut(nearest, rows.chunk(), |first, chunk| {
        dispatch(
            #[inline(always)]
            || {
                let mut sum = 0.0;
                for (i, nearest) in chunk.iter_mut().enumerate() {
                    let x = rows.row(first + i);
                    if let Some(distance) = candidate.nearer(x, rows.scale, *nearest, twice) {
                        *nearest = Nearest { distance, center: number };
                    }
                    sum += nearest.distance;
                }
                sum
            },
        )
    })
}

/// A row drawn with probability proportional to its squared distance; any row where all are zero.
fn draw(generator: &mut impl Rng, sums: &[f64], nearest: &[Nearest], chunk: usize) -> usize {
    let total: f64 = sums.iter().sum();
    let mut target = uniform(generator) * total;
    if total <= 0.0 {
        return below(generator, nearest.len());
    }
    // Rounding may leave the target at the very end; then it is the last row that can be drawn.
    let mut last = 0;
    for (c, &sum) in sums.iter().enumerate().filter(|(_, sum)| **sum > 0.0) {
        let rows = c * chunk..nearest.len().min((c + 1) * chunk);
        let here = target < sum;
        for row in rows.filter(|&row| nearest[row].distance > 0.0) {
            last = row;
            if here {
                target -= nearest[row].distance;
                if target < 0.0 {
                    return row;
                }
            }
        }
        if here {
            return last;
        }
        target -= sum;
    }
    last
}

/// A number in [0, 1), of 53 random bits.
fn uniform(generator: &mut impl Rng) -> f64 {
    (generator.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// A number in 0..len.
fn below(generator: &mut impl Rng, len: usize) -> usize {
    ((uniform(generator) * len as f64) as usize).min(len - 1)
}
