//! What is said of one piece of work.

use serde::Serialize;

use super::{Limits, Spread};

/// What a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A kernel by itself, by the GPU's clock.
    Kernel,
    /// Kernels that do a piece of work together, one after the other, by the GPU's clock.
    Sequence,
    /// An operation of an engine as its callers see it, by the host's clock.
    Operation,
    /// The same work by another library.
    Peer,
}

/// A piece of work, and what came out.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// What it is about.
    pub kind: Kind,
    /// The kernel's, the kernels', the operation's or the peer's name.
    pub name: String,
    /// Sizes, as the kernel's file names them.
    pub shape: String,
    #[serde(skip)]
    pub(super) sides: [usize; 3],
    /// Figures, if the result was right.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// How many times as long the peers take for the same work.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub against: Vec<Against>,
}

/// How many times as long a peer takes: above 1 the peer is slower.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Against {
    /// The peer's name.
    pub peer: String,
    /// Its median over ours.
    pub ratio: f64,
}

/// Right or wrong, found before it was timed.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Outcome {
    /// It was right, and then timed.
    Right(Figures),
    /// It was wrong, and was not timed.
    Wrong {
        /// Which element, and by how much.
        problem: String,
    },
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// Times, in seconds.
    pub seconds: Spread,
    /// Bytes that have to be moved: each operand once.
    pub bytes: u64,
    /// Operations of the formula.
    pub operations: u64,
    /// Bytes a second, by those that have to be moved.
    pub bytes_per_second: f64,
    /// Operations a second.
    pub operations_per_second: f64,
    /// Of the bandwidth that was measured in the same run.
    pub of_bandwidth: Option<f64>,
    /// Of the arithmetic in the limits.
    pub of_arithmetic: Option<f64>,
    /// The largest error over its bound, in the check before. Peers are checked where all is exact: none.
    pub error_over_bound: Option<f64>,
}

impl Figures {
    pub(super) fn new(seconds: Spread, bytes: u64, operations: u64, error_over_bound: Option<f64>) -> Self {
        Figures {
            seconds,
            bytes,
            operations,
            bytes_per_second: bytes as f64 / seconds.median,
            operations_per_second: operations as f64 / seconds.median,
            of_bandwidth: None,
            of_arithmetic: None,
            error_over_bound,
        }
    }

    /// Operations a byte: how far right in a roofline.
    #[must_use]
    pub fn intensity(&self) -> f64 {
        self.operations as f64 / self.bytes as f64
    }
}

impl Row {
    /// Its figures, if it was right.
    #[must_use]
    pub fn figures(&self) -> Option<&Figures> {
        match &self.outcome {
            Outcome::Right(figures) => Some(figures),
            Outcome::Wrong { .. } => None,
        }
    }

    /// Adds what part of the limits it reaches.
    pub(super) fn compare(&mut self, limits: &Limits) {
        if let Outcome::Right(figures) = &mut self.outcome {
            figures.of_bandwidth = Some(figures.bytes_per_second / limits.bandwidth);
            figures.of_arithmetic =
                limits.arithmetic.map(|arithmetic| figures.operations_per_second / arithmetic);
        }
    }
}
