//! Positive definite systems of a Newton step or of a face.

use super::dot::dot;

/// The lower triangle L of LLᵀ, in the first `size` rows and columns of rows of `stride` numbers.
pub(super) struct Factor {
    lower: Vec<f64>,
    stride: usize,
    size: usize,
}

impl Factor {
    /// Factors a row-major matrix by its lower triangle. `None` where it is not positive definite.
    pub(super) fn new(matrix: Vec<f64>, size: usize) -> Option<Self> {
        let (factor, kept) = Self::independent(matrix, size, 0.0);
        (kept.len() == size).then_some(factor)
    }

    /// Factors `square`, positive semidefinite but for rounding, with `ridge` on the diagonal, which is raised
    /// where rounding outweighs it until the factorisation goes through.
    pub(super) fn ridged(square: &[f64], size: usize, mut ridge: f64) -> Self {
        let trace: f64 = (0..size).map(|i| square[i * size + i]).sum();
        loop {
            let mut matrix = square.to_vec();
            (0..size).for_each(|i| matrix[i * size + i] += ridge);
            if let Some(factor) = Self::new(matrix, size) {
                return factor;
            }
            ridge = (ridge * 10.0).max(f64::EPSILON * trace).max(f64::MIN_POSITIVE);
        }
    }

    /// Factors the rows and columns that do not depend on kept ones before them, and tells which: a pivot
    /// not above `least` of its diagonal entry is rounding.
    pub(super) fn independent(mut matrix: Vec<f64>, stride: usize, least: f64) -> (Self, Vec<usize>) {
        let mut kept: Vec<usize> = Vec::with_capacity(stride);
        for i in 0..stride {
            let size = kept.len();
            let (above, rest) = matrix.split_at_mut(i * stride);
            let row = &mut rest[..stride];
            let diagonal = row[i];
            for (j, &from) in kept.iter().enumerate() {
                let other = &above[j * stride..=j * stride + j];
                row[j] = (row[from] - dot(&row[..j], 1.0, &other[..j])) / other[j];
            }
            let pivot = diagonal - dot(&row[..size], 1.0, &row[..size]);
            if pivot > least * diagonal {
                row[size] = pivot.sqrt();
                matrix.copy_within(i * stride..=i * stride + size, size * stride);
                kept.push(i);
            }
        }
        (Self { lower: matrix, stride, size: kept.len() }, kept)
    }

    /// The same for the products of rows of `width` numbers with each other, from the rows: dependence shows
    /// in the products as its square, which is lost sooner (Gram and Schmidt, twice; see Giraud, Langou
    /// and Rozložník, Comput. Math. Appl. 50(7), 2005).
    pub(super) fn of_rows(mut rows: Vec<f64>, width: usize, least: f64) -> (Self, Vec<usize>) {
        let count = rows.len() / width;
        let stride = count.min(width);
        let mut kept: Vec<usize> = Vec::with_capacity(stride);
        let mut lower = vec![0.0; stride * stride];
        let length = |row: &[f64]| dot(row, 1.0, row).sqrt();
        for i in 0..count {
            let size = kept.len();
            if size == stride {
                break;
            }
            let (basis, rest) = rows.split_at_mut(i * width);
            let row = &mut rest[..width];
            let before = length(row);
            let parts = &mut lower[size * stride..][..stride];
            parts.fill(0.0);
            for _ in 0..2 {
                for (part, other) in parts.iter_mut().zip(basis.chunks_exact(width).take(size)) {
                    let along = dot(row, 1.0, other);
                    *part += along;
                    row.iter_mut().zip(other).for_each(|(x, y)| *x -= along * y);
                }
            }
            let after = length(row);
            if after > least * before {
                parts[size] = after;
                for x in row.iter_mut() {
                    *x /= after;
                }
                rows.copy_within(i * width..(i + 1) * width, size * width);
                kept.push(i);
            }
        }
        (Self { lower, stride, size: kept.len() }, kept)
    }

    /// Solves in place of `right`.
    pub(super) fn solve(&self, right: &mut [f64]) {
        let row = |i: usize| &self.lower[i * self.stride..=i * self.stride + i];
        for i in 0..self.size {
            right[i] = (right[i] - dot(&row(i)[..i], 1.0, &right[..i])) / row(i)[i];
        }
        for i in (0..self.size).rev() {
            right[i] /= row(i)[i];
            let solved = right[i];
            right[..i].iter_mut().zip(row(i)).for_each(|(slot, x)| *slot -= solved * x);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Factor;

    #[test]
    fn solves_and_refuses() {
        let mut right = [10.0, 8.0];
        Factor::new(vec![4.0, f64::NAN, 2.0, 3.0], 2).unwrap().solve(&mut right);
        assert!((right[0] - 1.75).abs() < 1e-15 && (right[1] - 1.5).abs() < 1e-15, "{right:?}");
        assert!(Factor::new(vec![1.0, 0.0, 2.0, 4.0], 2).is_none());
    }

    #[test]
    fn leaves_out_what_depends_on_what_came_before() {
        // Products of (1, 0), (2, 0), (1, 1) and (0, 0).
        let matrix = [[1.0, 0.0, 0.0, 0.0], [2.0, 4.0, 0.0, 0.0], [1.0, 2.0, 2.0, 0.0], [0.0; 4]].concat();
        let (factor, kept) = Factor::independent(matrix, 4, 1e-12);
        assert_eq!(kept, [0, 2]);
        let mut right = [3.0, 4.0];
        factor.solve(&mut right);
        assert_eq!(right, [2.0, 1.0]);
        let (factor, kept) = Factor::of_rows(vec![1.0, 0.0, 2.0, 0.0, 1.0, 1e-10, 0.0, 0.0], 2, 1e-12);
        assert_eq!(kept, [0, 2]);
        let mut right = [0.0, 1e-20];
        factor.solve(&mut right);
        assert!((right[0] + 1.0).abs() < 1e-5 && (right[1] - 1.0).abs() < 1e-5, "{right:?}");
    }
}
