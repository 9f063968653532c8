//! The nearest center of every row: one matrix product for all, then certainty.
//!
//! With a = (x − μ)·scale and b_j = (c_j − μ)·scale the nearest center minimises ‖b_j‖² − 2a·b_j. The
//! product computes it from rounded a and b_j; every center whose value lies within twice the error bound
//! of the least may be the nearest, and where there are several, ‖x − c_j‖² itself decides.

use std::cmp::Ordering;

use gemm::{Parallelism, gemm};

use super::rows::{Rows, squared_distance};
use crate::error::Result;
use crate::float::Float;
use crate::par::Context;

/// Multiplications per chunk: many chunks are done between two looks at the stop request, and all of them
/// together have to stay well below a second.
const CHUNK_PRODUCTS: usize = 1 << 25;

/// A row that changed clusters, and the one that it left (none in the first assignment).
#[derive(Clone, Copy, Debug)]
pub(super) struct Move {
    pub(super) row: usize,
    pub(super) from: Option<usize>,
}

/// Puts every row with its nearest center, the lowest of equally near ones; says which rows moved.
pub(super) fn assign<T: Float>(
    context: &Context<'_>,
    rows: &Rows<'_, T>,
    centers: &[f64],
    labels: &mut [i32],
) -> Result<Vec<Move>> {
    let (columns, k) = (rows.columns, centers.len() / rows.columns);
    let centred: Vec<T> = centers.chunks_exact(columns).flat_map(|center| rows.centre(center)).collect();
    let origin = vec![0.0; columns];
    let norms: Vec<f64> =
        centred.chunks_exact(columns).map(|center| squared_distance(center, &origin, 1.0)).collect();
    let bound = ErrorBound::new::<T>(columns, norms.iter().copied().fold(0.0, f64::max));
    let chunk = (CHUNK_PRODUCTS / (k * columns)).clamp(32, rows.chunk().max(32));
    let moves = context.map_chunks_mut(labels, chunk, |first, labels| {
        let products =
            products(&rows.centred[first * columns..][..labels.len() * columns], &centred, columns);
        let mut values = vec![0.0; k];
        let mut moves = Vec::new();
        for (i, (label, products)) in labels.iter_mut().zip(products.chunks_exact(k)).enumerate() {
            let row = first + i;
            let mut least = f64::INFINITY;
            for ((value, product), norm) in values.iter_mut().zip(products).zip(&norms) {
                *value = norm - 2.0 * product.to_f64();
                least = least.min(*value);
            }
            let possible = least + 2.0 * bound.of(rows.norms[row]);
            let nearest = nearest(rows, row, centers, &values, possible) as i32;
            if nearest != *label {
                moves.push(Move { row, from: usize::try_from(*label).ok() });
                *label = nearest;
            }
        }
        moves
    })?;
    Ok(moves.concat())
}

/// The nearest among the centers whose `values` are at most `possible`.
fn nearest<T: Float>(
    rows: &Rows<'_, T>,
    row: usize,
    centers: &[f64],
    values: &[f64],
    possible: f64,
) -> usize {
    // Values that overflowed (NaN, infinite) rule nothing out.
    let mut candidates =
        (0..values.len()).filter(|&j| values[j].partial_cmp(&possible) != Some(Ordering::Greater));
    let first = candidates.next().unwrap_or(0);
    let Some(second) = candidates.next() else { return first };
    let distance = |j: usize| rows.distance(row, &centers[j * rows.columns..(j + 1) * rows.columns]);
    let (mut best, mut least) = (first, distance(first));
    for j in std::iter::once(second).chain(candidates) {
        let distance = distance(j);
        if distance < least {
            (best, least) = (j, distance);
        }
    }
    best
}

/// x·cᵀ for all rows of `x` and `centers`, row-major.
fn products<T: Float>(x: &[T], centers: &[T], columns: usize) -> Vec<T> {
    let (m, k) = (x.len() / columns, centers.len() / columns);
    let mut out = vec![T::ZERO; m * k];
    // SAFETY: x is m × columns, centers k × columns and out m × k, all row-major and contiguous, as the
    // strides say; T is f32 or f64, which gemm knows.
    unsafe {
        gemm(
            m,
            k,
            columns,
            out.as_mut_ptr(),
            1,
            k as isize,
            false,
            x.as_ptr(),
            1,
            columns as isize,
            centers.as_ptr(),
            columns as isize,
            1,
            T::ZERO,
            T::from_f64(1.0),
            false,
            false,
            false,
            Parallelism::None,
        );
    }
    out
}

/// How far ‖b‖² − 2a·b as computed can be from ‖x − c‖² as computed, but for the part that all centers
/// share.
struct ErrorBound {
    /// max ‖b_j‖.
    radius: f64,
    /// Rounding of the product and of its factors, in the precision of the rows.
    product: f64,
    /// Rounding of the distance formed directly.
    direct: f64,
    /// Underflow.
    underflow: f64,
}

impl ErrorBound {
    fn new<T: Float>(columns: usize, largest_norm: f64) -> Self {
        let (unit, least) = T::ROUNDING;
        let d = columns as f64;
        // A sum of d products, added in any order, is off by at most d·u/(1 − d·u) of Σ|a||b| ≤ ‖a‖‖b‖
        // (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., Eq. 3.5). It counts twice; the
        // rounding of a and b adds 2u and of ‖b‖² another 2u, with room to spare. Beyond d·u = 1/20 the
        // denominator is not negligible and nothing is claimed.
        let claimed = d * unit < 0.05;
        Self {
            radius: largest_norm.sqrt(),
            product: if claimed { (3.0 * d + 24.0) * unit } else { f64::INFINITY },
            direct: (2.0 * d + 8.0) * (f64::EPSILON / 2.0),
            underflow: 8.0 * (d + 1.0) * least,
        }
    }

    /// For a row of this ‖a‖².
    #[inline(always)]
    fn of(&self, norm: f64) -> f64 {
        let reach = norm.sqrt() + self.radius;
        self.product * reach * self.radius + self.direct * reach * reach + self.underflow * (1.0 + reach)
    }
}
