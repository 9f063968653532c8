//! The numeric core of puma-fast: what is asked of arrays of numbers, away from any model.
//!
//! A trained model's samples j = 1…n carry influences ψ_j ∈ ℝᵏ on k criteria. Three questions follow:
//!
//! * [`reweight`]: which weights λ on the remaining samples make up for the removal of marked ones,
//!   λ* = argmin ‖Ψᵀλ − b‖² + l1·‖λ‖₁ + l2·‖λ‖² subject to lower ≤ λ ≤ upper
//!   (PUMA, AAAI 2022, Eq. 10), with a duality gap that bounds the error.
//! * [`order`]: the best k of millions of scores, their order, or the kept part of a training set, in a
//!   total order that leaves nothing to chance.
//! * [`kmeans`]: the clusters of a class, by which samples are marked for removal (Appendix A).
//!
//! Every function takes a [`par::Context`] first (threads, stop request, shards) and plain slices; results
//! do not depend on the number of threads. Python reaches the crate through the feature `python`.

pub mod error;
pub mod float;
pub mod kmeans;
pub mod order;
pub mod par;
pub mod reweight;
pub mod shard;
pub mod simd;
pub mod vecmath;

#[cfg(feature = "python")]
mod python;

pub use error::{Error, Result};
pub use float::Float;
pub use par::Context;
pub use shard::Shards;
