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
use super::short::{Centers, Found, SHORT};
use crate::float::Float;
use crate::simd::dispatch;

pub(super) struct Panel<'a, T> {
    rows: &'a Rows<'a, T>,
    /// The centers, k × d.
    centers: &'a [f64],
    /// b_j, rounded; none where rows are short.
    rounded: Matrix<T>,
    /// b_j for short rows.
    short: Option<Centers>,
    /// ½‖b_j‖².
    halves: Vec<f64>,
    bound: ErrorBound,
}

impl<'a, T: Float> Panel<'a, T> {
    pub(super) fn new(rows: &'a Rows<'a, T>, centers: &'a [f64]) -> Self {
        let columns = rows.columns;
        let k = centers.len() / columns;
        let half = |square: f64| square / 2.0;
        if rows.are_short() {
            let b: Vec<f64> = centers.chunks_exact(columns).flat_map(|center| rows.placed(center)).collect();
            let origin = [0.0; SHORT];
            let halves: Vec<f64> =
                b.chunks_exact(columns).map(|b| half(squared_distance(b, &origin[..columns], 1.0))).collect();
            let bound = ErrorBound::new::<f64>(columns, largest_norm(&halves));
            let short = Some(Centers::new(&b, &halves));
            return Self { rows, centers, rounded: Matrix::zeros(0, columns), short, halves, bound };
        }
        let mut rounded = Matrix::zeros(k, columns);
        let stride = rounded.stride;
        for (out, center) in rounded.values_mut().chunks_exact_mut(stride).zip(centers.chunks_exact(columns))
        {
            out.iter_mut().zip(rows.placed(center)).for_each(|(out, b)| *out = T::from_f64(b));
        }
        let origin = vec![0.0; stride];
        let halves: Vec<f64> = (0..k).map(|j| half(squared_distance(rounded.row(j), &origin, 1.0))).collect();
        let bound = ErrorBound::new::<T>(stride, largest_norm(&halves));
        Self { rows, centers, rounded, short: None, halves, bound }
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

    /// Calls `each(j, [h_j of the rows])` for all centers.
    pub(super) fn values(&self, rows: [usize; ROWS], each: impl FnMut(usize, &Lanes)) {
        match &self.short {
            Some(short) => short.values(&self.rows.tiles, rows, self.len(), each),
            None => self.long_values(rows, 0..self.len(), each),
        }
    }

    #[inline(always)]
    fn long_values(&self, rows: [usize; ROWS], range: Range<usize>, mut each: impl FnMut(usize, &Lanes)) {
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
        if let Some(short) = &self.short {
            return short.nearest_two(&self.rows.tiles, rows, range);
        }
        let (mut least, mut second) = ([f64::INFINITY; ROWS], [f64::INFINITY; ROWS]);
        // Numbers of centers as doubles, so that all lanes have one width.
        let mut center = [0.0; ROWS];
        self.long_values(
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
        Found { least, center: center.map(|j| j as i32), second }
    }

    /// Where the rows are short: calls `each(first, labels, certain)` for the rows in `range`, eight at a
    /// time; bit i of `certain` says that no other center can be as near to row `first` + i.
    pub(super) fn label_short(
        &self,
        range: Range<usize>,
        mut each: impl FnMut(usize, &[i32; ROWS], u32),
    ) -> bool {
        let Some(short) = &self.short else { return false };
        let gap = 2.0 * self.bound.of(self.rows.largest_norm);
        let tiles = range.start / ROWS..range.end.div_ceil(ROWS);
        short.label(
            &self.rows.tiles,
            tiles,
            gap,
            #[inline(always)]
            |tile, labels, certain| each(range.start + tile * ROWS, labels, certain),
        );
        true
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
        let mut values = vec![0.0; self.len()];
        if self.short.is_none() {
            let a = self.rows.centred.row(row);
            dispatch(
                #[inline(always)]
                || {
                    for (j, value) in values.iter_mut().enumerate() {
                        *value = self.halves[j] - product(a, self.rounded.row(j));
                    }
                },
            );
        }
        let possible = values.iter().copied().fold(f64::INFINITY, f64::min) + 2.0 * self.error(row);
        // Values that overflowed (NaN, infinite) rule nothing out.
        let possible = (0..self.len())
            .filter(|&j| values[j].partial_cmp(&possible) != Some(Ordering::Greater))
            .map(|j| (self.distance(row, j), j));
        possible.min_by(|a, b| a.0.total_cmp(&b.0)).map_or(0, |(_, j)| j)
    }
}

fn largest_norm(halves: &[f64]) -> f64 {
    2.0 * halves.iter().copied().fold(0.0, f64::max)
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
