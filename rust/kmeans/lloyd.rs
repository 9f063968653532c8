//! Lloyd's iteration ("Least squares quantization in PCM", IEEE Trans. Inf. Theory 28(2), 1982).

use super::bounds::{Block, Drift, Move};
use super::panel::Panel;
use super::rows::Rows;
use super::sums::{Sums, distances};
use super::{KMeans, Options, Status, exact};
use crate::error::Result;
use crate::float::Float;
use crate::par::Context;

/// What progress counts.
const ITERATION: &str = "iteration";

/// From `centers` to a fixed point, or to the tolerance, or to the iterations allowed. Where the nearest
/// of them is `known` for each row, the first assignment is.
pub(super) fn run<T: Float>(
    context: &Context<'_>,
    rows: &Rows<'_, T>,
    mut centers: Vec<f64>,
    known: Option<&[u32]>,
    options: &Options<'_>,
) -> Result<KMeans> {
    let k = options.n_clusters;
    context.progress(ITERATION, 0, None);
    let mut blocks = Block::all(rows.len, rows.columns, k, options.bounds, known);
    let mut moves = match known {
        Some(known) => {
            let step = |(row, known): (usize, &u32)| Move { row, from: None, to: *known as usize };
            known.iter().enumerate().map(step).collect()
        }
        None => assign(context, rows, &centers, None, &mut blocks)?,
    };
    let mut sums = Sums::new(rows, k);
    let mut least_shift = None;
    let mut status = Status::MaxIter;
    let mut n_iter = 1;
    let drift = loop {
        if sums.apply(context, rows, &moves)? == 0 {
            status = Status::Converged;
            break None;
        }
        let least_shift = match least_shift {
            Some(shift) => shift,
            None => *least_shift.insert(tolerated(context, rows, &sums, options.tol)?),
        };
        let means = sums.centers(context, rows, || labels(&blocks), &centers)?;
        let shift: f64 =
            means.iter().zip(&centers).map(|(new, old)| ((new - old) * rows.scale).powi(2)).sum();
        let drift = Drift::new(&centers, &means, rows.columns, rows.scale);
        centers = means;
        if shift <= least_shift {
            status = Status::Converged;
            break Some(drift);
        }
        if n_iter == options.max_iter {
            break Some(drift);
        }
        context.progress(ITERATION, n_iter, None);
        n_iter += 1;
        moves = assign(context, rows, &centers, Some(&drift), &mut blocks)?;
    };
    if let Some(drift) = drift {
        // The centers moved last; the labels returned are theirs.
        let moves = assign(context, rows, &centers, Some(&drift), &mut blocks)?;
        sums.apply(context, rows, &moves)?;
    }
    if status == Status::Converged && sums.some_empty() {
        status = Status::EmptyClusters;
    }
    let labels = labels(&blocks);
    let squares = distances(context, rows, &labels, &centers)?;
    let inertia = exact::total(context, &squares, rows.total)? / rows.scale / rows.scale;
    Ok(KMeans { labels, centers, inertia, n_iter, status })
}

/// The squared shift of all centers at which the iteration ends, in units of 1/scale².
fn tolerated<T: Float>(context: &Context<'_>, rows: &Rows<'_, T>, sums: &Sums, tol: f64) -> Result<f64> {
    if tol == 0.0 {
        return Ok(0.0);
    }
    let norms = exact::total(context, &rows.norms, rows.total)?;
    Ok(tol * sums.mean_variance(rows, norms))
}

/// Puts every row with its nearest center; says which rows moved.
fn assign<T: Float>(
    context: &Context<'_>,
    rows: &Rows<'_, T>,
    centers: &[f64],
    drift: Option<&Drift>,
    blocks: &mut [Block],
) -> Result<Vec<Move>> {
    let panel = Panel::new(rows, centers);
    let moves = context.map_chunks_mut(blocks, 1, |_, blocks| {
        blocks.iter_mut().map(|block| block.assign(&panel, drift)).collect::<Vec<_>>()
    })?;
    Ok(moves.into_iter().flatten().flatten().collect())
}

fn labels(blocks: &[Block]) -> Vec<i32> {
    blocks.iter().flat_map(|block| &block.labels).copied().collect()
}
