//! A data set cut over several processes, each of which holds consecutive rows of it. One primitive
//! crosses between them, an elementwise sum of integers: it is exact and associative, so results depend
//! neither on where the cuts are nor on the order in which a network adds. Floats travel as their bits.
//!
//! Every shard makes the same calls in the same order, so what is decided between two of them may depend
//! on reduced values alone.

use crate::error::{Error, Result};

/// Adds each element of a slice over all shards, in place, wrapping around.
pub type Sum<'a> = &'a dyn Fn(&mut [i64]) -> Result<()>;

/// This process's place among the shards of a data set.
#[derive(Clone, Copy)]
pub struct Shards<'a> {
    index: usize,
    count: usize,
    sum: Option<Sum<'a>>,
}

/// Where a shard's rows stand in the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rows {
    /// Rows of the shards before this one.
    pub first: usize,
    /// Rows of all shards.
    pub total: usize,
}

impl<'a> Shards<'a> {
    /// A data set that is not cut.
    #[must_use]
    pub const fn whole() -> Self {
        Self { index: 0, count: 1, sum: None }
    }

    /// Shard `index` of `count`, which `sum` connects.
    ///
    /// # Errors
    /// [`Error::Parameter`] where `index` is not below `count`.
    pub fn new(index: usize, count: usize, sum: Sum<'a>) -> Result<Self> {
        if index >= count {
            let rule = "index must be below count, which is at least 1";
            return Err(Error::parameter("shard", rule, format!("index {index}, count {count}")));
        }
        Ok(Self { index, count, sum: Some(sum) })
    }

    /// Whether there is no other shard to speak to.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.sum.is_none()
    }

    /// This shard's number, from 0.
    #[must_use]
    pub const fn index(&self) -> usize {
        self.index
    }

    /// How many shards there are.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.count
    }

    /// Adds each of `values` over all shards, wrapping around.
    ///
    /// # Errors
    /// Those of the connection.
    pub fn sum(&self, values: &mut [i64]) -> Result<()> {
        self.sum.map_or(Ok(()), |sum| sum(values))
    }

    /// `values` of every shard, one shard after another. All must have equally many.
    ///
    /// # Errors
    /// Those of the connection.
    pub fn gather(&self, values: &[u64]) -> Result<Vec<u64>> {
        let mut all = vec![0i64; values.len() * self.count];
        let own = self.index * values.len();
        for (slot, &value) in all[own..].iter_mut().zip(values) {
            *slot = value.cast_signed();
        }
        self.sum(&mut all)?;
        Ok(all.into_iter().map(i64::cast_unsigned).collect())
    }

    /// The largest of each of `values` over all shards; no NaN among them.
    ///
    /// # Errors
    /// Those of the connection.
    pub fn max(&self, values: &mut [f64]) -> Result<()> {
        if self.is_whole() {
            return Ok(());
        }
        let bits: Vec<u64> = values.iter().map(|value| value.to_bits()).collect();
        let all = self.gather(&bits)?;
        for others in all.chunks_exact(values.len().max(1)) {
            for (value, &other) in values.iter_mut().zip(others) {
                *value = value.max(f64::from_bits(other));
            }
        }
        Ok(())
    }

    /// Where this shard's `len` rows stand.
    ///
    /// # Errors
    /// Those of the connection.
    pub fn rows(&self, len: usize) -> Result<Rows> {
        let lengths = self.gather(&[len as u64])?;
        let first = lengths[..self.index].iter().sum::<u64>() as usize;
        Ok(Rows { first, total: lengths.iter().sum::<u64>() as usize })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_is_its_own_sum() {
        let whole = Shards::whole();
        assert_eq!(whole.gather(&[7, u64::MAX]).unwrap(), [7, u64::MAX]);
        assert_eq!(whole.rows(5).unwrap(), Rows { first: 0, total: 5 });
    }

    #[test]
    fn a_shard_finds_its_rows_and_the_largest_values() {
        // The other shard (index 0) holds 3 rows and the values −1 and 2.
        let sum = |values: &mut [i64]| {
            let other: &[u64] = if values.len() == 2 { &[3] } else { &[(-1f64).to_bits(), 2f64.to_bits()] };
            for (slot, &value) in values.iter_mut().zip(other) {
                *slot = slot.wrapping_add(value.cast_signed());
            }
            Ok(())
        };
        let shards = Shards::new(1, 2, &sum).unwrap();
        assert_eq!(shards.rows(4).unwrap(), Rows { first: 3, total: 7 });
        let mut values = [-5.0, 9.0];
        shards.max(&mut values).unwrap();
        assert_eq!(values, [-1.0, 9.0]);
        assert!(Shards::new(2, 2, &sum).is_err());
    }
}
