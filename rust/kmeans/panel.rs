//! Centers as the products read them, and what the products can be trusted for.
//!
//! With a = (x − μ)·scale and b_j = (c_j − μ)·scale the nearest center minimises h_j = ½‖b_j‖² − a·b_j, half
//! the squared distance but for ½‖a‖². A product computes it from rounded a and b_j; where two centers
//! differ by no more than the error of both, ‖x − c_j‖² itself decides.

use std::cmp::Ordering;
use std::ops::Range;

use super::kernel::{Lanes, ROWS, product, products};
use super::matrix::Matrix;
use super::rows::{Rows, squared_distance};
use crate::float::Float;
use crate::simd::dispatch;

pub(super) struct Panel<'a, T> {
    rows: &'a Rows<'a, T>,
    /// The centers, k × d.
    centers: &'a [f64],
    /// b_j, rounded.
    rounded: Matrix<T>,
    /// ½‖b_j‖².
    halves: Vec<f64>,
    bound: ErrorBound,
}

/// For each of eight rows the least h, its center and the second least among some centers.
pub(super) struct Found {
    pub(super) least: Lanes,
    /// Numbers of centers as doubles, so that all lanes have one width.
    pub(super) center: Lanes,
    pub(super) second: Lanes,
}

impl<'a, T: Float> Panel<'a, T> {
    pub(super) fn new(rows: &'a Rows<'a, T>, centers: &'a [f64]) -> Self {
        let columns = rows.columns;
        let k = centers.len() / columns;
        let mut rounded = Matrix::zeros(k, columns);
        let stride = rounded.stride;
        for (out, center) in rounded.values_mut().chunks_exact_mut(stride).zip(centers.chunks_exact(columns))
        {
            for ((out, c), mean) in out.iter_mut().zip(center).zip(&rows.mean) {
                *out = T::from_f64((c - mean) * rows.scale);
            }
        }
        let origin = vec![0.0; stride];
        let halves: Vec<f64> = (0..k).map(|j| squared_distance(rounded.row(j), &origin, 1.0) / 2.0).collect();
        let bound = ErrorBound::new::<T>(stride, 2.0 * halves.iter().copied().fold(0.0, f64::max));
        Self { rows, centers, rounded, halves, bound }
    }

    pub(super) fn len(&self) -> usize {
        self.halves.len()
    }

    pub(super) fn center(&self, j: usize) -> &'a [f64] {
        &self.centers[j * self.rows.columns..(j + 1) * self.rows.columns]
    }

    /// ‖x − c‖²·scale², from which all that is certain follows.
    pub(super) fn distance(&self, row: usize, center: usize) -> f64 {
        self.rows.distance(row, self.center(center))
    }

    /// Calls `each(j, [h_j of the rows])` for the centers in `range`.
    #[inline(always)]
    pub(super) fn values(
        &self,
        rows: [usize; ROWS],
        range: Range<usize>,
        mut each: impl FnMut(usize, &Lanes),
    ) {
        let stride = self.rounded.stride;
        let centers = &self.rounded.values()[range.start * stride..range.end * stride];
        let halves = &self.halves[range.clone()];
        products(
            rows.map(|row| self.rows.centred.row(row)),
            centers,
            stride,
            #[inline(always)]
            |j, products| {
                let mut values = *products;
                for value in &mut values {
                    *value = halves[j] - *value;
                }
                each(range.start + j, &values);
            },
        );
    }

    /// The nearest two of the centers in `range`, as far as the products tell.
    pub(super) fn nearest_two(&self, rows: [usize; ROWS], range: Range<usize>) -> Found {
        let mut found =
            Found { least: [f64::INFINITY; ROWS], center: [0.0; ROWS], second: [f64::INFINITY; ROWS] };
        let Found { least, center, second } = &mut found;
        self.values(
            rows,
            range,
            #[inline(always)]
            |j, values| {
                // One selection per loop: that is what becomes one instruction for all lanes.
                let mut other = *values;
                for lane in 0..ROWS {
                    other[lane] = if values[lane] > least[lane] { values[lane] } else { least[lane] };
                }
                for lane in 0..ROWS {
                    second[lane] = if other[lane] < second[lane] { other[lane] } else { second[lane] };
                }
                for lane in 0..ROWS {
                    center[lane] = if values[lane] < least[lane] { j as f64 } else { center[lane] };
                }
                for lane in 0..ROWS {
                    least[lane] = if values[lane] < least[lane] { values[lane] } else { least[lane] };
                }
            },
        );
        found
    }

    /// How far h of this row can be from half of the distance as formed directly, but for ½‖a‖².
    #[inline(always)]
    pub(super) fn error(&self, row: usize) -> f64 {
        self.bound.of(self.rows.norms[row])
    }

    /// The least and the largest that ‖x − c‖²·scale² can be for a center of this h.
    #[inline(always)]
    pub(super) fn square(&self, row: usize, value: f64) -> (f64, f64) {
        let (norm, error) = (self.rows.norms[row], self.error(row));
        (norm + 2.0 * (value - error), norm + 2.0 * (value + error))
    }

    /// h of a center at this squared distance, as well as it can be told.
    #[inline(always)]
    pub(super) fn value(&self, row: usize, square: f64) -> f64 {
        (square - self.rows.norms[row]) / 2.0
    }

    /// The nearest of all centers, where the products cannot tell: the lowest of equally near ones.
    pub(super) fn decide(&self, row: usize) -> usize {
        let a = self.rows.centred.row(row);
        let mut values = vec![0.0; self.len()];
        dispatch(
            #[inline(always)]
            || {
                for (j, value) in values.iter_mut().enumerate() {
                    *value = self.halves[j] - product(a, self.rounded.row(j));
                }
            },
        );
        let possible = values.iter().copied().fold(f64::INFINITY, f64::min) + 2.0 * self.error(row);
        // Values that overflowed (NaN, infinite) rule nothing out.
        let possible = (0..self.len())
            .filter(|&j| values[j].partial_cmp(&possible) != Some(Ordering::Greater))
            .map(|j| (self.distance(row, j), j));
        possible.min_by(|a, b| a.0.total_cmp(&b.0)).map_or(0, |(_, j)| j)
    }
}

/// How far h as computed can be from half of ‖x − c‖²·scale² as computed directly, less ½‖a‖².
struct ErrorBound {
    /// max ‖b_j‖.
    radius: f64,
    /// Rounding of the product and of its factors, in the precision of the rows.
    product: f64,
    /// Rounding of ‖a‖².
    norm: f64,
    /// Rounding of the distance formed directly.
    direct: f64,
    /// Underflow.
    underflow: f64,
}

impl ErrorBound {
    fn new<T: Float>(stride: usize, largest_norm: f64) -> Self {
        let (unit, least) = T::ROUNDING;
        let d = stride as f64;
        // A sum of d products in at least 4 lanes (16 for short rows, which are added in one) goes through
        // p = d/4 + 32 additions at most and is off by at most p·u/(1 − p·u) of Σ|a||b| ≤ ‖a‖‖b‖ (Higham,
        // Accuracy and Stability of Numerical Algorithms, 2nd ed., Eq. 3.5); the rounding of a and b adds
        // 2u, of ½‖b‖² as much, with room to spare. Beyond p·u = 1/20 the denominator is not negligible
        // and nothing is claimed.
        let additions = d / 4.0 + 32.0;
        let claimed = additions * unit < 0.05 && largest_norm < f64::from(f32::MAX).sqrt();
        Self {
            radius: largest_norm.sqrt(),
            product: if claimed { (1.25 * additions + 8.0) * unit } else { f64::INFINITY },
            norm: 4.0 * unit,
            direct: (2.0 * d + 8.0) * (f64::EPSILON / 2.0),
            underflow: 8.0 * (d + 1.0) * least,
        }
    }

    /// For a row of this ‖a‖².
    #[inline(always)]
    fn of(&self, norm: f64) -> f64 {
        let reach = norm.sqrt() + self.radius;
        // Where nothing is claimed and all centers lie on μ, ∞·0 is NaN: that claims nothing either.
        self.product * reach * self.radius
            + self.norm * norm
            + self.direct * reach * reach
            + self.underflow * (1.0 + reach)
    }
}
