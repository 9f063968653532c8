//! The rows as the method reads them: as given, for everything exact, and centred and scaled in their
//! own precision, for the matrix product. Distances between centred rows lose nothing to a far origin,
//! and with values of at most 1 nothing overflows.

use super::agreed;
use super::matrix::Matrix;
use super::short::{SHORT, Tiles};
use crate::error::{Error, Result};
use crate::float::Float;
use crate::lanes::WIDTH;
use crate::par::Context;
use crate::simd::{LANES, dispatch};

/// Values per chunk of a pass over rows.
const CHUNK_VALUES: usize = 1 << 18;

/// The largest value accepted: sums of values do not overflow.
const LARGEST: f64 = 1e290;

/// The least range accepted: its inverse does not overflow.
const SMALLEST: f64 = 1e-290;

/// Rows whose mean is μ; any point near the middle of the data would do.
const MEAN_ROWS: usize = 1024;

/// Steps per unit of range to which μ is rounded.
const MEAN_STEPS: f64 = 4096.0;

/// 2⁵²: larger doubles are integers already.
const EXACT_INTEGERS: f64 = 4_503_599_627_370_496.0;

pub(super) struct Rows<'a, T> {
    pub(super) x: &'a [T],
    /// Rows of this shard.
    pub(super) len: usize,
    /// Rows of the shards before this one.
    pub(super) first: usize,
    /// Rows of all shards.
    pub(super) total: usize,
    pub(super) columns: usize,
    /// μ, near the mean row.
    pub(super) mean: Vec<f64>,
    /// A power of two: (x − μ)·scale lies in [−1, 1]. Squared distances are in its square.
    pub(super) scale: f64,
    /// (x − μ)·scale, rounded; no rows where they are short.
    pub(super) centred: Matrix<T>,
    /// (x − μ)·scale of short rows, in doubles; none where they are long.
    pub(super) tiles: Tiles,
    /// ‖(x − μ)·scale‖² of each row.
    pub(super) norms: Vec<f64>,
    /// The largest of them.
    pub(super) largest_norm: f64,
}

impl<'a, T: Float> Rows<'a, T> {
    pub(super) fn new(context: &Context<'_>, x: &'a [T], columns: usize, k: usize) -> Result<Self> {
        let len = x.len() / columns;
        let place = context.shards().rows(len)?;
        if place.total < k {
            let got = format!("{} rows for {k} clusters", place.total);
            return Err(Error::shape("X", "needs at least n_clusters rows; ask for fewer clusters", got));
        }
        let mut rows = Self {
            x,
            len,
            first: place.first,
            total: place.total,
            columns,
            mean: vec![0.0; columns],
            scale: 1.0,
            centred: Matrix::zeros(if columns > SHORT { len } else { 0 }, columns),
            tiles: Tiles::zeros(if columns > SHORT { 0 } else { len }, columns),
            norms: vec![0.0; len],
            largest_norm: 0.0,
        };
        let (low, high) = rows.extremes(context)?;
        let range = low.iter().zip(&high).map(|(low, high)| high - low).fold(0.0, f64::max);
        let largest = low.iter().chain(&high).map(|x| x.abs()).fold(0.0, f64::max);
        if largest > LARGEST {
            let got = format!("{largest:e}");
            return Err(Error::parameter("X", "values must be at most 1e290 in size; rescale them", got));
        }
        if range > 0.0 && range < SMALLEST {
            let rule = "values of a column must differ by 1e-290 or more, or not at all; rescale them";
            return Err(Error::parameter("X", rule, format!("{range:e}")));
        }
        if range > 0.0 {
            rows.scale = 2f64.powi(-(range.log2().ceil() as i32));
        }
        rows.mean = rows.middle(context, &low, &high)?;
        rows.norms = if rows.are_short() { rows.lay_side_by_side(context)? } else { rows.centre(context)? };
        rows.largest_norm = rows.norms.iter().copied().fold(0.0, f64::max);
        Ok(rows)
    }

    /// The least and the largest value of each column over all shards.
    fn extremes(&self, context: &Context<'_>) -> Result<(Vec<f64>, Vec<f64>)> {
        let columns = self.columns;
        let parts = context.map_chunks(self.len, self.chunk(), |range| {
            let chunk = &self.x[range.start * columns..range.end * columns];
            let (mut low, mut high) = (chunk[..columns].to_vec(), chunk[..columns].to_vec());
            let finite = dispatch(
                #[inline(always)]
                || {
                    // Several short rows make a long one.
                    let wide = if columns > SHORT { columns } else { columns * LANES };
                    let (whole, rest) = chunk.split_at(chunk.len() / wide * wide);
                    let (mut lows, mut highs) = (low.repeat(wide / columns), high.repeat(wide / columns));
                    let finite = extend(whole, &mut lows, &mut highs) & extend(rest, &mut low, &mut high);
                    extend(&lows, &mut low, &mut high);
                    extend(&highs, &mut low, &mut high);
                    finite
                },
            );
            let bad = || chunk.iter().position(|x| !x.to_f64().is_finite()).unwrap_or(0);
            if finite { Ok((low, high)) } else { Err(range.start * columns + bad()) }
        })?;
        // The negated least values go along with the largest.
        let mut extremes = vec![f64::NEG_INFINITY; 2 * columns];
        let mut own = Ok(());
        for part in parts {
            match part {
                Ok((low, high)) => {
                    let values = low.iter().map(|x| -x.to_f64()).chain(high.iter().map(|x| x.to_f64()));
                    extremes.iter_mut().zip(values).for_each(|(a, b)| *a = a.max(b));
                }
                Err(index) => {
                    own = Err(Error::NotFinite { name: "X", index, value: self.x[index].to_f64() });
                    break;
                }
            }
        }
        agreed(context, own)?;
        context.shards().max(&mut extremes)?;
        Ok((extremes[..columns].iter().map(|x| -x).collect(), extremes[columns..].to_vec()))
    }

    /// The mean of some rows, whose sum is one of integers.
    fn middle(&self, context: &Context<'_>, low: &[f64], high: &[f64]) -> Result<Vec<f64>> {
        let middle: Vec<f64> = low.iter().zip(high).map(|(low, high)| f64::midpoint(*low, *high)).collect();
        let count = self.total.min(MEAN_ROWS);
        let steps = EXACT_INTEGERS / MEAN_ROWS as f64;
        let mut sums = vec![0; self.columns];
        for row in (0..count).map(|i| (i as u128 * self.total as u128 / count as u128) as usize) {
            if (self.first..self.first + self.len).contains(&row) {
                for ((sum, x), middle) in sums.iter_mut().zip(self.row(row - self.first)).zip(&middle) {
                    *sum += ((x.to_f64() - middle) * self.scale * steps).round() as i64;
                }
            }
        }
        context.shards().sum(&mut sums)?;
        // A mean of few digits serves as well and leaves x − μ, and with it the sums, exact where x
        // has few digits itself (integers, float32).
        let rounded = |(middle, sum): (&f64, &i64)| {
            let mean = middle + *sum as f64 / steps / count as f64 / self.scale;
            let steps = mean * self.scale * MEAN_STEPS;
            let few = steps.abs() < EXACT_INTEGERS && *sum != 0;
            if few { steps.round() / MEAN_STEPS / self.scale } else { mean }
        };
        let mean = middle.iter().zip(&sums).map(rounded);
        Ok(mean.zip(low.iter().zip(high)).map(|(mean, (low, high))| mean.clamp(*low, *high)).collect())
    }

    /// Whether the rows lie in `tiles`.
    pub(super) fn are_short(&self) -> bool {
        self.columns <= SHORT
    }

    /// Fills `tiles`; the norms.
    fn lay_side_by_side(&mut self, context: &Context<'_>) -> Result<Vec<f64>> {
        let (x, columns, mean, scale) = (self.x, self.columns, &self.mean, self.scale);
        let chunk = self.chunk().div_ceil(WIDTH) * columns;
        let norms = context.map_chunks_mut(&mut self.tiles.values, chunk, |first, out| {
            let rows = x[first * WIDTH..].chunks(WIDTH * columns);
            let mut norms = Vec::with_capacity(out.len() / columns);
            dispatch(
                #[inline(always)]
                || {
                    for (rows, tile) in rows.zip(out.chunks_exact_mut(columns)) {
                        let mut norm = [0.0; WIDTH];
                        for (c, (column, mean)) in tile.iter_mut().zip(mean).enumerate() {
                            for (value, x) in column.iter_mut().zip(rows.iter().skip(c).step_by(columns)) {
                                *value = (x.to_f64() - mean) * scale;
                            }
                            for (norm, value) in norm.iter_mut().zip(column) {
                                *norm += *value * *value;
                            }
                        }
                        norms.push(norm);
                    }
                },
            );
            norms
        })?;
        let mut norms = norms.concat().into_flattened();
        norms.truncate(self.len);
        Ok(norms)
    }

    /// Fills `centred`; the norms.
    fn centre(&mut self, context: &Context<'_>) -> Result<Vec<f64>> {
        let (x, columns, mean, scale) = (self.x, self.columns, &self.mean, self.scale);
        let (chunk, stride) = (self.chunk(), self.centred.stride);
        let origin = vec![0.0; stride];
        let norms = context.map_chunks_mut(self.centred.values_mut(), chunk * stride, |first, out| {
            let rows = x[first / stride * columns..].chunks_exact(columns);
            dispatch(
                #[inline(always)]
                || {
                    let centre = |(row, out): (&[T], &mut [T])| {
                        for ((out, x), mean) in out.iter_mut().zip(row).zip(mean) {
                            *out = T::from_f64((x.to_f64() - mean) * scale);
                        }
                        squared_distance(out, &origin, 1.0)
                    };
                    rows.zip(out.chunks_exact_mut(stride)).map(centre).collect::<Vec<_>>()
                },
            )
        })?;
        Ok(norms.concat())
    }

    /// Rows per chunk of a pass.
    pub(super) fn chunk(&self) -> usize {
        (CHUNK_VALUES / self.columns).clamp(1, 4096)
    }

    pub(super) fn row(&self, row: usize) -> &'a [T] {
        &self.x[row * self.columns..(row + 1) * self.columns]
    }

    /// (c − μ)·scale.
    pub(super) fn placed(&self, center: &[f64]) -> impl Iterator<Item = f64> {
        center.iter().zip(&self.mean).map(|(c, mean)| (c - mean) * self.scale)
    }

    /// Rows of any shard, by their place in the whole.
    pub(super) fn fetch(&self, context: &Context<'_>, places: &[usize]) -> Result<Vec<f64>> {
        let mut bits = vec![0; places.len() * self.columns];
        for (slots, place) in bits.chunks_exact_mut(self.columns).zip(places) {
            if (self.first..self.first + self.len).contains(place) {
                for (slot, x) in slots.iter_mut().zip(self.row(place - self.first)) {
                    *slot = x.to_f64().to_bits().cast_signed();
                }
            }
        }
        context.shards().sum(&mut bits)?;
        Ok(bits.into_iter().map(|bits| f64::from_bits(bits.cast_unsigned())).collect())
    }

    /// ‖x − c‖²·scale².
    pub(super) fn distance(&self, row: usize, center: &[f64]) -> f64 {
        dispatch(
            #[inline(always)]
            || squared_distance(self.row(row), center, self.scale),
        )
    }
}

/// Extends the range of each column by some rows; whether all their values are finite.
#[inline(always)]
fn extend<T: Float>(rows: &[T], low: &mut [T], high: &mut [T]) -> bool {
    let mut finite = true;
    for row in rows.chunks_exact(low.len()) {
        for ((&x, low), high) in row.iter().zip(&mut *low).zip(&mut *high) {
            *low = if x < *low { x } else { *low };
            *high = if x > *high { x } else { *high };
            finite &= x.to_f64().is_finite();
        }
    }
    finite
}

/// ‖(x − c)·scale‖² in `f64`, added in an order that the length alone decides.
#[inline(always)]
pub(super) fn squared_distance<T: Float>(x: &[T], center: &[f64], scale: f64) -> f64 {
    let term = |x: T, c: f64| {
        let difference = (x.to_f64() - c) * scale;
        difference * difference
    };
    let (blocks, rest) = x.as_chunks::<LANES>();
    let (center_blocks, center_rest) = center.as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for (x, c) in blocks.iter().zip(center_blocks) {
        for i in 0..LANES {
            lanes[i] += term(x[i], c[i]);
        }
    }
    let whole = if blocks.is_empty() { 0.0 } else { lanes.into_iter().sum() };
    rest.iter().zip(center_rest).fold(whole, |sum, (&x, &c)| sum + term(x, c))
}
