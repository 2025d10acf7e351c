//! Everything that can go wrong, in words that name a remedy.

use std::path::{Path, PathBuf};

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
    #[error("{}", plain(.0))]
    Data(String),
    /// A column that the data do not have.
    #[error("{}", plain(.0))]
    Column(String),
    /// A file that cannot be read or written.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    File {
        /// "read" or "write".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A path that output cannot go to, found before the work is begun.
    #[error("cannot write {path}: {problem}", path = path.display())]
    Output {
        /// The path that was asked for.
        path: PathBuf,
        /// Why, and the remedy.
        problem: String,
    },
    /// A model file that is not one, or not one for this.
    #[error("{path}: {problem}", path = path.display(), problem = plain(problem))]
    Model {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and the remedy.
        problem: String,
    },
    /// A checkpoint that training cannot go on from.
    #[error("{path}: {problem}", path = path.display(), problem = plain(problem))]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// Why, and the remedy.
        problem: String,
    },
    /// Gradient descent left the numbers.
    #[error(
        "gradient descent diverged at iteration {iteration}: with learning rate {} the cost went from {first_cost:.6e} \
         to {cost:.6e}; {}",
        rate(*.learning_rate),
        remedy(*.suggestion)
    )]
    Diverged {
        /// The first iteration whose cost is not finite, or has grown: iteration i is before step i, from 0.
        iteration: usize,
        /// The cost before the first step.
        first_cost: f64,
        /// The cost at that iteration.
        cost: f64,
        /// The rate that was used.
        learning_rate: f64,
        /// A rate that would do: half of 2/λ, with λ the largest eigenvalue of XᵀX/m (X with a column of ones for
        /// the bias), or a quarter of it for the log loss; below 2/λ descent converges. `None` if λ is beyond the
        /// numbers.
        suggestion: Option<f64>,
    },
    /// Training in mini-batches, or with another optimiser than plain descent, left the numbers.
    #[error(
        "training diverged in epoch {epoch}: with learning rate {} the cost went from {first_cost:.6e} to {cost:.6e}; try \
         a tenth of the learning rate, and standardise the features if they are not",
        rate(*.learning_rate)
    )]
    Unstable {
        /// The first epoch whose cost is not finite or has grown beyond doubt, counted from 0.
        epoch: usize,
        /// The cost before the first step.
        first_cost: f64,
        /// The cost of that epoch.
        cost: f64,
        /// The rate that was used.
        learning_rate: f64,
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

impl Error {
    /// A file that cannot be read. Where there is none, the text says which folder a relative path begins at.
    pub(crate) fn unreadable(path: &Path, source: std::io::Error) -> Self {
        use std::io::ErrorKind::{IsADirectory, NotFound, PermissionDenied};
        let kind = source.kind();
        let text = match (kind, std::env::current_dir()) {
            (NotFound, Ok(folder)) if path.is_relative() => {
                Some(format!("there is no such file (the current folder is {})", folder.display()))
            }
            (NotFound, _) => Some("there is no such file".to_owned()),
            (IsADirectory, _) => Some("this is a folder: give the name of a file in it".to_owned()),
            (PermissionDenied, _) => Some("it is not allowed: have its owner permit it".to_owned()),
            _ => None,
        };
        let source = text.map_or(source, |text| std::io::Error::new(kind, text));
        Error::File { action: "read", path: path.to_owned(), source }
    }
}

/// A text that quotes a file, which may hold anything: escaped where a terminal would not show it, and without its
/// middle if it is long.
fn plain(text: &str) -> String {
    /// Characters kept of the beginning, which says what, and of the end, which says what to do.
    const KEPT: (usize, usize) = (1200, 300);
    let characters = text.chars().count();
    let cut = (characters > KEPT.0 + KEPT.1).then(|| KEPT.0..characters - KEPT.1);
    let mut plain = String::with_capacity(text.len().min(4 * (KEPT.0 + KEPT.1)));
    for (i, character) in text.chars().enumerate() {
        match &cut {
            Some(cut) if i == cut.start => plain.push('…'),
            Some(cut) if cut.contains(&i) => {}
            _ if character.is_control() => plain.extend(character.escape_default()),
            _ => plain.push(character),
        }
    }
    plain
}

fn remedy(suggestion: Option<f64>) -> String {
    match suggestion {
        Some(suggestion) => format!("a learning rate of {} would do", rate(suggestion)),
        None => "no learning rate is small enough for values this large: standardise the features".to_owned(),
    }
}

/// A rate without a long row of zeros.
pub(crate) fn rate(rate: f64) -> String {
    if (1e-4..1e7).contains(&rate) { rate.to_string() } else { format!("{rate:e}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_holds_neither_floods_nor_steers_the_terminal() {
        let name = format!("\x1b[2J\n{}", "ä".repeat(5000));
        let (path, problem) = (PathBuf::from("file"), format!("there is {name}; remove it"));
        for error in [
            Error::Data(problem.clone()),
            Error::Column(problem.clone()),
            Error::Model { path: path.clone(), problem: problem.clone() },
            Error::Checkpoint { path, problem },
        ] {
            let text = error.to_string();
            assert!(text.contains("there is \\u{1b}[2J\\nää") && text.ends_with("ä; remove it"), "{text}");
            assert!(text.contains("ä…ä") && text.chars().count() < 1600, "{text}");
        }
        assert_eq!(Error::Data("a line, \"b\": ü".to_owned()).to_string(), "a line, \"b\": ü");
    }
}
