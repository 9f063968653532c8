//! ψ and both bounds as slices of equal length, a block at a time, for kernels over `Lanes`.

use std::ops::Range;

use super::super::Bound;
use super::super::problem::Problem;
use crate::float::Float;

/// Rows that a kernel takes at a time: a box for all samples is written out for so many. More would leave
/// the first-level cache, and the buffers the part of the heap that is not given back and cleared again.
pub(super) const BLOCK: usize = 1 << 11;

/// ψ, the lower and the upper bounds of neighbouring rows.
pub(super) type Rows<'a, T> = [&'a [T]; 3];

/// Calls `f` with the first row and the rows of every block of `range`.
pub(super) fn in_blocks<T: Float>(
    problem: &Problem<'_, T>,
    range: Range<usize>,
    mut f: impl FnMut(usize, Rows<'_, T>),
) {
    let room = BLOCK.min(range.len());
    let bounds = [problem.lower, problem.upper];
    let written = bounds.map(|bound| match bound {
        Bound::All(value) => vec![value; room],
        Bound::Each(_) => Vec::new(),
    });
    for first in range.clone().step_by(BLOCK) {
        let end = range.end.min(first + BLOCK);
        let column = |i: usize| match bounds[i] {
            Bound::All(_) => &written[i][..end - first],
            Bound::Each(values) => &values[first..end],
        };
        f(first, [problem.psi_of(first..end), column(0), column(1)]);
    }
}
