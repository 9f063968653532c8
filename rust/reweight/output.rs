//! Where the weights go: one for each row, or those that are not zero.

use crate::float::Float;

/// Weights of which most are zero.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sparse<T> {
    /// The rows with a weight that is not zero, ascending.
    pub indices: Vec<i64>,
    /// Their weights.
    pub values: Vec<T>,
}

impl<T> Extend<(i64, T)> for Sparse<T> {
    fn extend<I: IntoIterator<Item = (i64, T)>>(&mut self, entries: I) {
        for (index, value) in entries {
            self.indices.push(index);
            self.values.push(value);
        }
    }
}

/// Where the weights go.
pub(super) enum Output<'o, T> {
    Dense(&'o mut [T]),
    Sparse(&'o mut Sparse<T>),
}

impl<T: Float> Output<'_, T> {
    /// Takes one weight for each row.
    pub(super) fn take(&mut self, all: &[T]) {
        match self {
            Self::Dense(weights) => weights.copy_from_slice(all),
            Self::Sparse(sparse) => {
                sparse.extend((0..).zip(all.iter().copied()).filter(|(_, weight)| weight.to_f64() != 0.0));
            }
        }
    }
}
