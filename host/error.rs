//! Everything that can go wrong, in words that name a remedy.

/// An error of this crate: what, where, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Shapes that do not fit together.
    #[error("{operation}: {problem}")]
    Shape {
        /// The operation that was asked for.
        operation: &'static str,
        /// The shapes, and which must agree.
        problem: String,
    },
    /// A setting outside what makes sense.
    #[error("{0}")]
    Setting(String),
    /// Input data that cannot be used.
    #[error("{0}")]
    Data(String),
    /// A file that cannot be read or written.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    File {
        /// "read" or "write".
        action: &'static str,
        /// The file.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A model file that is not one, or not one for this.
    #[error("{path}: {problem}", path = path.display())]
    Model {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong with it, and the remedy.
        problem: String,
    },
    /// Gradient descent left the numbers.
    #[error(
        "gradient descent diverged: the cost became {cost} at iteration {iteration} with learning rate \
         {learning_rate}; a rate below {suggestion:.3e} would converge"
    )]
    Diverged {
        /// The first iteration whose cost is not finite, or has grown past all bounds.
        iteration: usize,
        /// The cost there.
        cost: f64,
        /// The rate that was used.
        learning_rate: f64,
        /// A rate that would do: below 2 over the largest eigenvalue of XᵀX / m (with its bias column).
        suggestion: f64,
    },
    /// The device that was asked for cannot be used.
    #[error("device {device} cannot be used: {reason}")]
    Unusable {
        /// The device, as it was asked for.
        device: String,
        /// Why, and what to do about it.
        reason: String,
    },
    /// A kernel did something wrong on the emulator.
    #[error(transparent)]
    Emulator(#[from] cuda_std::Fault),
    /// The CUDA driver reported an error.
    #[error(transparent)]
    Cuda(#[from] crate::cuda::Error),
}
