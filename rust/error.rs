//! Every refusal of the crate. A message names the argument, the rule, the value and the way out, in the words
//! of the Python package; slow convergence is never an error but a status in the result.

use thiserror::Error;

/// Result of every fallible function of the crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a call was refused.
#[derive(Debug, Error, Clone, PartialEq)]
pub enum Error {
    /// Lengths or dimensions that do not fit together.
    #[error("{}", refusal(name, rule, got))]
    Shape {
        /// The argument at fault.
        name: &'static str,
        /// The rule it breaks, as what is said of the argument, and behind a semicolon the way out.
        rule: &'static str,
        /// What was given.
        got: String,
    },
    /// A NaN or an infinity where numbers are needed.
    #[error(
        "{name}[{index}] is {value}: every value must be finite; \
         drop or replace the sample before the call"
    )]
    NotFinite {
        /// The argument at fault.
        name: &'static str,
        /// Flat (row-major) index of the first such value.
        index: usize,
        /// The value, as a double.
        value: f64,
    },
    /// A parameter outside its range.
    #[error("{}", refusal(name, rule, got))]
    Parameter {
        /// The argument at fault.
        name: &'static str,
        /// The rule it breaks, as what is said of the argument, and behind a semicolon the way out.
        rule: &'static str,
        /// What was given.
        got: String,
    },
    /// The thread pool could not be started.
    #[error("could not start {threads} threads: {reason}; pass a smaller n_threads")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// What the operating system said.
        reason: String,
    },
    /// The caller asked to stop (Ctrl-C in Python).
    #[error("interrupted")]
    Interrupted,
}

/// The argument, the rule, what was given, and the way out, where there is one to tell.
fn refusal(name: &str, rule: &str, got: &str) -> String {
    match rule.split_once("; ") {
        Some((rule, way_out)) => format!("{name} {rule}, got {got}; {way_out}"),
        None => format!("{name} {rule}, got {got}"),
    }
}

impl Error {
    /// A [`Error::Parameter`] with its value printed.
    pub(crate) fn parameter(name: &'static str, rule: &'static str, got: impl std::fmt::Display) -> Self {
        Self::Parameter { name, rule, got: got.to_string() }
    }

    /// A [`Error::Shape`] with its value printed.
    pub(crate) fn shape(name: &'static str, rule: &'static str, got: impl std::fmt::Display) -> Self {
        Self::Shape { name, rule, got: got.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_ends_with_the_way_out() {
        let error = Error::parameter("l1", "must be at least 0; leave it out", -1);
        assert_eq!(error.to_string(), "l1 must be at least 0, got -1; leave it out");
        assert_eq!(Error::shape("out", "needs one place", 2).to_string(), "out needs one place, got 2");
    }
}
