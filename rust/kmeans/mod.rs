//! k-means: k centers c_j that make the inertia Σ_i min_j ‖x_i − c_j‖² small.
//!
//! Greedy k-means++ (Arthur and Vassilvitskii, "k-means++: the advantages of careful seeding", SODA 2007,
//! with 2 + ⌊ln k⌋ candidates for each center, as scikit-learn does it), then Lloyd's iteration.
//!
//! Half squared distances come from rounded products in tiles of registers, which is fast; where their
//! error bound leaves more than one center possible, those are compared directly in `f64`. A label is
//! therefore the argmin of ‖x − c‖² formed in `f64`, equal ones in favour of the lowest center, whatever the
//! blocks, the threads or the instruction set. Rows that provably keep their label are not looked at
//! (bounds.rs), and all that is summed over rows is summed as integers (sums.rs, exact.rs), so that the
//! order of adding cannot matter, rows that change clusters are added and taken away without drift, and
//! shards of the data give the bits of the whole.

mod bounds;
mod exact;
mod kernel;
mod lloyd;
mod matrix;
mod near;
mod panel;
mod rows;
mod seed;
mod short;
mod sums;

use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;
use rows::Rows;

use crate::error::{Error, Result};
use crate::float::Float;
use crate::par::Context;

/// Where the centers begin.
#[derive(Clone, Copy, Debug)]
pub enum Start<'a> {
    /// Greedy k-means++, `n_init` times; the result of least inertia is kept.
    Seeded {
        /// Seed of the generator (xoshiro256++, the same on every machine).
        seed: u64,
        /// How many starts.
        n_init: usize,
    },
    /// These centers, k × d in row-major order.
    Given(&'a [f64]),
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// k.
    pub n_clusters: usize,
    /// Where the centers begin.
    pub start: Start<'a>,
    /// Assignments allowed, at least 1.
    pub max_iter: usize,
    /// Also stops once the centers' squared shift, summed, is at most `tol` times the mean variance of a
    /// column of X.
    pub tol: f64,
    /// Whether rows that provably keep their label are skipped. It changes no bit of the result.
    pub bounds: bool,
}

/// How the iteration ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// No label changed any more, or the centers moved by no more than the tolerance.
    Converged,
    /// The assignments allowed were not enough.
    MaxIter,
    /// As [`Status::Converged`], but some clusters hold no row: X has too few distinct rows.
    EmptyClusters,
}

impl Status {
    /// The word for it in Python.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Converged => "converged",
            Self::MaxIter => "max_iter",
            Self::EmptyClusters => "empty_clusters",
        }
    }
}

/// Clusters of the rows of X.
#[derive(Clone, Debug)]
pub struct KMeans {
    /// The cluster of each row: the nearest of `centers`.
    pub labels: Vec<i32>,
    /// k × d, row-major.
    pub centers: Vec<f64>,
    /// Σ_i ‖x_i − c_{label i}‖², formed directly.
    pub inertia: f64,
    /// Assignments made until the iteration ended.
    pub n_iter: usize,
    /// How it ended.
    pub status: Status,
}

/// Clusters the rows of the matrix `x` (n × `columns`, row-major).
///
/// # Errors
/// [`Error::NotFinite`]; [`Error::Shape`] where `x` has no column, fewer rows than clusters, or given
/// centers of another shape; [`Error::Parameter`] for no cluster, no iteration, no start, a tolerance that
/// is negative or NaN, or values too large to square.
///
/// # Examples
/// ```
/// use puma_fast::kmeans::{Options, Start, kmeans};
/// let context = puma_fast::Context::new(Some(1), &|| false)?;
/// let start = Start::Seeded { seed: 0, n_init: 1 };
/// let options = Options { n_clusters: 2, start, max_iter: 300, tol: 1e-4, bounds: true };
/// let result = kmeans(&context, &[0.0, 1.0, 10.0, 11.0], 1, &options)?;
/// assert_eq!(result.inertia, 1.0);
/// # Ok::<(), puma_fast::Error>(())
/// ```
pub fn kmeans<T: Float>(
    context: &Context<'_>,
    x: &[T],
    columns: usize,
    options: &Options<'_>,
) -> Result<KMeans> {
    agreed(context, check(x, columns, options))?;
    let rows = Rows::new(context, x, columns, options.n_clusters)?;
    match options.start {
        Start::Given(centers) => lloyd::run(context, &rows, centers.to_vec(), None, options),
        Start::Seeded { seed, n_init } => {
            let mut generator = Xoshiro256PlusPlus::seed_from_u64(seed);
            let mut run = || {
                let (centers, nearest) = seed::centers(context, &rows, options.n_clusters, &mut generator)?;
                lloyd::run(context, &rows, centers, Some(&nearest), options)
            };
            let mut best = run()?;
            for _ in 1..n_init {
                let next = run()?;
                if next.inertia < best.inertia {
                    best = next;
                }
            }
            Ok(best)
        }
    }
}

/// What every shard found right; an error on all of them where it is one on any.
fn agreed<R>(context: &Context<'_>, own: Result<R>) -> Result<R> {
    let mut refused = [i64::from(own.is_err())];
    context.shards().sum(&mut refused)?;
    if own.is_ok() && refused[0] > 0 {
        let rule = "must be given what the call accepts everywhere; see the error of the other";
        return Err(Error::parameter("shard", rule, format!("{} refusals", refused[0])));
    }
    own
}

fn check<T>(x: &[T], columns: usize, options: &Options<'_>) -> Result<()> {
    let k = options.n_clusters;
    if columns == 0 || !x.len().is_multiple_of(columns) {
        let got = format!("{} values in rows of {columns}", x.len());
        return Err(Error::shape("X", "needs at least one column and whole rows", got));
    }
    if k == 0 {
        return Err(Error::parameter("n_clusters", "must be at least 1", k));
    }
    if i32::try_from(k).is_err() {
        return Err(Error::parameter("n_clusters", "must be below 2147483648", k));
    }
    if options.max_iter == 0 {
        return Err(Error::parameter("max_iter", "must be at least 1", 0));
    }
    if options.tol.is_nan() || options.tol < 0.0 {
        return Err(Error::parameter("tol", "must be a number, at least 0", options.tol));
    }
    match options.start {
        Start::Seeded { n_init: 0, .. } => Err(Error::parameter("n_init", "must be at least 1", 0)),
        Start::Given(centers) if centers.len() != k * columns => {
            let got = format!("{} values for {k} centers of {columns} columns", centers.len());
            Err(Error::shape("init", "must be one row for each cluster, as wide as X", got))
        }
        Start::Given(centers) => match centers.iter().position(|c| !c.is_finite()) {
            Some(index) => Err(Error::NotFinite { name: "init", index, value: centers[index] }),
            None => Ok(()),
        },
        Start::Seeded { .. } => Ok(()),
    }
}
