//! Rows as the products read them: each padded with zeros to whole vectors and begun on a cache line.

use crate::float::Float;

/// Values to which a row is padded: a vector of any instruction set and type divides them.
const PADDED: usize = 16;

/// Bytes of a cache line, and of the longest vector.
const LINE: usize = 64;

pub(super) struct Matrix<T> {
    values: Vec<T>,
    /// Where the first row begins.
    start: usize,
    rows: usize,
    pub(super) stride: usize,
}

impl<T: Float> Matrix<T> {
    pub(super) fn zeros(rows: usize, columns: usize) -> Self {
        let stride = columns.next_multiple_of(PADDED);
        let values = vec![T::ZERO; rows * stride + PADDED];
        let start = values.as_ptr().align_offset(LINE).min(PADDED);
        Self { values, start, rows, stride }
    }

    pub(super) fn values(&self) -> &[T] {
        &self.values[self.start..self.start + self.rows * self.stride]
    }

    pub(super) fn values_mut(&mut self) -> &mut [T] {
        &mut self.values[self.start..self.start + self.rows * self.stride]
    }

    #[inline(always)]
    pub(super) fn row(&self, row: usize) -> &[T] {
        &self.values[self.start + row * self.stride..][..self.stride]
    }
}
