//! Tests by promise, one module per capability.

mod reweight;
