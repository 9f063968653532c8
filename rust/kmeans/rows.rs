//! The rows as the method reads them: as given, for everything exact, and centred and scaled in their
//! own precision, for the matrix product. Distances between centred rows lose nothing to a far origin,
//! and with values of at most 1 nothing overflows.

use crate::error::{Error, Result};
use crate::float::Float;
use crate::par::Context;
use crate::simd::{LANES, dispatch};

/// Values per chunk of a pass over rows.
const CHUNK_VALUES: usize = 1 << 18;

/// The largest value accepted: sums of values do not overflow.
const LARGEST: f64 = 1e290;

/// The least spread accepted: its inverse does not overflow.
const SMALLEST: f64 = 1e-290;

/// Steps per unit of spread to which the mean is rounded.
const MEAN_STEPS: f64 = 4096.0;

/// 2⁵²: larger doubles are integers already.
const EXACT_INTEGERS: f64 = 4_503_599_627_370_496.0;

pub(super) struct Rows<'a, T> {
    pub(super) x: &'a [T],
    pub(super) len: usize,
    pub(super) columns: usize,
    /// μ, near the mean row.
    pub(super) mean: Vec<f64>,
    /// A power of two: (x − μ)·scale lies in [−1, 1], give or take a
    /// step of the mean's rounding. Squared distances are in its square.
    pub(super) scale: f64,
    /// (x − μ)·scale, rounded.
    pub(super) centred: Vec<T>,
    /// ‖(x − μ)·scale‖² of each row.
    pub(super) norms: Vec<f64>,
}

impl<'a, T: Float> Rows<'a, T> {
    pub(super) fn new(context: &Context<'_>, x: &'a [T], columns: usize) -> Result<Self> {
        let len = x.len() / columns;
        let mut rows = Self {
            x,
            len,
            columns,
            mean: vec![0.0; columns],
            scale: 1.0,
            centred: vec![T::ZERO; x.len()],
            norms: vec![0.0; len],
        };
        let sums = context.map_chunks(len, rows.chunk(), |range| {
            let mut sums = vec![0.0; columns];
            for row in range {
                rows.row(row).iter().zip(&mut sums).for_each(|(x, sum)| *sum += x.to_f64());
            }
            sums
        })?;
        for sums in sums {
            rows.mean.iter_mut().zip(sums).for_each(|(mean, sum)| *mean += sum);
        }
        rows.mean.iter_mut().for_each(|mean| *mean /= len as f64);
        let extremes = context.map_chunks(len, rows.chunk(), |range| {
            let (mut largest, mut spread) = (0.0f64, 0.0f64);
            for row in range {
                for (x, mean) in rows.row(row).iter().zip(&rows.mean) {
                    largest = largest.max(x.to_f64().abs());
                    spread = spread.max((x.to_f64() - mean).abs());
                }
            }
            (largest, spread)
        })?;
        let (largest, spread) =
            extremes.into_iter().fold((0.0f64, 0.0f64), |(a, b), (c, d)| (a.max(c), b.max(d)));
        if largest > LARGEST {
            return Err(Error::parameter("X", "values must be at most 1e290 in size; rescale them", largest));
        }
        if spread > 0.0 && spread < SMALLEST {
            let rule = "values must differ from their mean by 1e-290 or more, or not at all; rescale them";
            return Err(Error::parameter("X", rule, spread));
        }
        if spread > 0.0 {
            rows.scale = 2f64.powi(-(spread.log2().ceil() as i32));
            // A mean of few digits serves as well and leaves x − μ, and with it the sums, exact where x
            // has few digits itself (integers, float32).
            for mean in &mut rows.mean {
                let steps = *mean * rows.scale * MEAN_STEPS;
                if steps.abs() < EXACT_INTEGERS {
                    *mean = steps.round() / MEAN_STEPS / rows.scale;
                }
            }
        }

        let (chunk, mean, scale) = (rows.chunk(), &rows.mean, rows.scale);
        context.map_chunks_mut(&mut rows.centred, chunk * columns, |first, out| {
            let x = &x[first..first + out.len()];
            dispatch(
                #[inline(always)]
                || {
                    for (row, out) in x.chunks_exact(columns).zip(out.chunks_exact_mut(columns)) {
                        for ((out, x), mean) in out.iter_mut().zip(row).zip(mean) {
                            *out = T::from_f64((x.to_f64() - mean) * scale);
                        }
                    }
                },
            );
        })?;
        let centred = &rows.centred;
        context.map_chunks_mut(&mut rows.norms, chunk, |first, out| {
            let rows = centred[first * columns..].chunks_exact(columns);
            let origin = vec![0.0; columns];
            dispatch(
                #[inline(always)]
                || {
                    out.iter_mut()
                        .zip(rows)
                        .for_each(|(norm, row)| *norm = squared_distance(row, &origin, 1.0));
                },
            );
        })?;
        Ok(rows)
    }

    /// Rows per chunk of a pass.
    pub(super) fn chunk(&self) -> usize {
        (CHUNK_VALUES / self.columns).clamp(1, 4096)
    }

    pub(super) fn row(&self, row: usize) -> &'a [T] {
        &self.x[row * self.columns..(row + 1) * self.columns]
    }

    /// ‖x − c‖²·scale².
    pub(super) fn distance(&self, row: usize, center: &[f64]) -> f64 {
        dispatch(
            #[inline(always)]
            || squared_distance(self.row(row), center, self.scale),
        )
    }

    /// A center relative to the mean, as the matrix product reads it.
    pub(super) fn centre(&self, center: &[f64]) -> impl Iterator<Item = T> {
        center.iter().zip(&self.mean).map(|(c, mean)| T::from_f64((c - mean) * self.scale))
    }
}

/// ‖(x − c)·scale‖² in `f64`, added in an order that the length alone decides.
#[inline(always)]
pub(super) fn squared_distance<T: Float>(x: &[T], center: &[f64], scale: f64) -> f64 {
    let mut lanes = [0.0; LANES];
    let term = |x: T, c: f64| {
        let difference = (x.to_f64() - c) * scale;
        difference * difference
    };
    let (blocks, rest) = x.as_chunks::<LANES>();
    let (center_blocks, center_rest) = center.as_chunks::<LANES>();
    for (x, c) in blocks.iter().zip(center_blocks) {
        for i in 0..LANES {
            lanes[i] += term(x[i], c[i]);
        }
    }
    for (i, (&x, &c)) in rest.iter().zip(center_rest).enumerate() {
        lanes[i] += term(x, c);
    }
    lanes.into_iter().sum()
}
