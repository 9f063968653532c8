//! Positive definite systems of a Newton step.

use super::dot::dot;

/// The lower triangle L of LLᵀ.
pub(super) struct Factor {
    lower: Vec<f64>,
    size: usize,
}

impl Factor {
    /// Factors a row-major matrix by its lower triangle. `None` where a pivot is not above `least` of
    /// its diagonal entry: what is left of it is rounding.
    pub(super) fn new(mut matrix: Vec<f64>, size: usize, least: f64) -> Option<Self> {
        for i in 0..size {
            let (above, rest) = matrix.split_at_mut(i * size);
            let row = &mut rest[..size];
            for j in 0..i {
                let other = &above[j * size..=j * size + j];
                row[j] = (row[j] - dot(&row[..j], 1.0, &other[..j])) / other[j];
            }
            let pivot = row[i] - dot(&row[..i], 1.0, &row[..i]);
            if pivot.is_nan() || pivot <= least * row[i] {
                return None;
            }
            row[i] = pivot.sqrt();
        }
        Some(Self { lower: matrix, size })
    }

    /// Solves in place of `right`.
    pub(super) fn solve(&self, right: &mut [f64]) {
        let (lower, size) = (&self.lower, self.size);
        for i in 0..size {
            let row = &lower[i * size..=i * size + i];
            right[i] = (right[i] - dot(&row[..i], 1.0, &right[..i])) / row[i];
        }
        for i in (0..size).rev() {
            let row = &lower[i * size..=i * size + i];
            right[i] /= row[i];
            let solved = right[i];
            right[..i].iter_mut().zip(row).for_each(|(slot, x)| *slot -= solved * x);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Factor;

    #[test]
    fn solves_and_refuses() {
        let mut right = [10.0, 8.0];
        Factor::new(vec![4.0, f64::NAN, 2.0, 3.0], 2, 0.0).unwrap().solve(&mut right);
        assert!((right[0] - 1.75).abs() < 1e-15 && (right[1] - 1.5).abs() < 1e-15, "{right:?}");
        assert!(Factor::new(vec![1.0, 0.0, 2.0, 4.0], 2, 0.0).is_none());
    }
}
