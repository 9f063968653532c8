//! Tests by promise, one module per capability.

mod kmeans;
mod order;
mod reweight;
mod shards;
