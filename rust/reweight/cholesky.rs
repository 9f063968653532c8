//! The k×k positive definite system of a Newton step.

/// Solves `matrix`·x = `right` in place of `right` by Cholesky's factorisation, which overwrites the
/// lower triangle of the row-major `matrix`. `None` where rounding leaves a pivot that is not positive.
pub(super) fn solve(matrix: &mut [f64], right: &mut [f64]) -> Option<()> {
    let k = right.len();
    for i in 0..k {
        let (above, rest) = matrix.split_at_mut(i * k);
        let row = &mut rest[..k];
        for j in 0..i {
            let other = &above[j * k..j * k + j];
            let dot: f64 = row[..j].iter().zip(other).map(|(a, b)| a * b).sum();
            row[j] = (row[j] - dot) / above[j * k + j];
        }
        let pivot = row[i] - row[..i].iter().map(|a| a * a).sum::<f64>();
        if pivot.is_nan() || pivot <= 0.0 {
            return None;
        }
        row[i] = pivot.sqrt();
    }
    for i in 0..k {
        let dot: f64 = (0..i).map(|j| matrix[i * k + j] * right[j]).sum();
        right[i] = (right[i] - dot) / matrix[i * k + i];
    }
    for i in (0..k).rev() {
        let dot: f64 = (i + 1..k).map(|j| matrix[j * k + i] * right[j]).sum();
        right[i] = (right[i] - dot) / matrix[i * k + i];
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::solve;

    #[test]
    fn solves_and_refuses() {
        let mut right = [10.0, 8.0];
        assert_eq!(solve(&mut [4.0, f64::NAN, 2.0, 3.0], &mut right), Some(()));
        assert!((right[0] - 1.75).abs() < 1e-15 && (right[1] - 1.5).abs() < 1e-15, "{right:?}");
        assert_eq!(solve(&mut [1.0, 0.0, 2.0, 4.0], &mut [1.0, 1.0]), None);
    }
}
