//! Lloyd's iteration ("Least squares quantization in PCM", IEEE Trans. Inf. Theory 28(2), 1982).

use super::assign::assign;
use super::rows::Rows;
use super::sums::{Sums, distances};
use super::{KMeans, Options, Status};
use crate::error::Result;
use crate::float::Float;
use crate::par::Context;

/// From `centers` to a fixed point, or to the tolerance, or to the iterations allowed.
pub(super) fn run<T: Float>(
    context: &Context<'_>,
    rows: &Rows<'_, T>,
    mut centers: Vec<f64>,
    options: &Options<'_>,
) -> Result<KMeans> {
    let mean_variance = rows.norms.iter().sum::<f64>() / rows.norms.len() as f64 / rows.columns as f64;
    let least_shift = options.tol * mean_variance;
    let mut labels = vec![-1; rows.len];
    let mut sums = Sums::new(rows, options.n_clusters);
    let mut status = Status::MaxIter;
    let mut labelled = false;
    let mut n_iter = 0;
    while n_iter < options.max_iter {
        n_iter += 1;
        let moves = assign(context, rows, &centers, &mut labels)?;
        if moves.is_empty() {
            (status, labelled) = (Status::Converged, true);
            break;
        }
        sums.apply(context, rows, &labels, &moves)?;
        let means = sums.centers(context, rows, &labels, &centers)?;
        let shift: f64 =
            means.iter().zip(&centers).map(|(new, old)| ((new - old) * rows.scale).powi(2)).sum();
        centers = means;
        if shift <= least_shift {
            status = Status::Converged;
            break;
        }
    }
    if !labelled {
        // The centers moved last; the labels returned are theirs.
        let moves = assign(context, rows, &centers, &mut labels)?;
        sums.apply(context, rows, &labels, &moves)?;
    }
    if status == Status::Converged && sums.empty() > 0 {
        status = Status::EmptyClusters;
    }
    let inertia = distances(context, rows, &labels, &centers)?.iter().sum::<f64>() / rows.scale / rows.scale;
    Ok(KMeans { labels, centers, inertia, n_iter, status })
}
