//! How far the box lets the weights go, over all shards.

use super::super::problem::Problem;
use crate::error::Result;
use crate::float::Float;
use crate::par::{CHUNK, Context};
use crate::simd::{LANES, dispatch};

/// The largest of each.
#[derive(Clone, Copy)]
pub(super) struct Extents {
    /// |λ| of the weights at rest, which are 0 where the box allows it.
    pub(super) rest: f64,
    /// |bound| of the finite bounds.
    pub(super) bound: f64,
    /// y of the samples without a bound in the direction in which the price moves them, for b > 0 and b < 0.
    pub(super) open: [f64; 2],
}

impl Extents {
    pub(super) fn of<T: Float>(context: &Context<'_>, problem: &Problem<'_, T>) -> Result<Self> {
        let parts = context.map_chunks(problem.n, CHUNK, |range| {
            dispatch(
                #[inline(always)]
                || {
                    let mut most = [[0.0f64; LANES]; 4];
                    for first in range.clone().step_by(LANES) {
                        // Lanes past the end hold ψ = 0, and the bounds of a box for all.
                        let [psi, lower, upper] = problem.row_lanes(first, range.end);
                        for i in 0..LANES {
                            let y = psi[i].abs();
                            let no_lower = lower[i] == f64::NEG_INFINITY;
                            let no_upper = upper[i] == f64::INFINITY;
                            let below = if no_lower { 0.0 } else { lower[i].abs() };
                            let above = if no_upper { 0.0 } else { upper[i].abs() };
                            let [ahead, behind] =
                                if psi[i] > 0.0 { [no_upper, no_lower] } else { [no_lower, no_upper] };
                            let rest = 0f64.max(lower[i]).min(upper[i]).abs();
                            let bound = if below > above { below } else { above };
                            let found =
                                [rest, bound, if ahead { y } else { 0.0 }, if behind { y } else { 0.0 }];
                            for (most, found) in most.iter_mut().zip(found) {
                                most[i] = if found > most[i] { found } else { most[i] };
                            }
                        }
                    }
                    most.map(|most| most.into_iter().fold(0.0, f64::max))
                },
            )
        })?;
        let mut values = [0.0f64; 4];
        for part in parts {
            values.iter_mut().zip(part).for_each(|(most, found)| *most = most.max(found));
        }
        context.shards().max(&mut values)?;
        let [rest, bound, ahead, behind] = values;
        Ok(Self { rest, bound, open: [ahead, behind] })
    }
}
