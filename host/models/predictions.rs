//! What models predict, and how good that is.

use serde::Serialize;

use super::metrics;
use super::training::About;
use crate::data::Dataset;
use crate::{Error, Result};

/// What a model predicts for the rows of a table.
#[derive(Clone, Debug, PartialEq)]
pub enum Predictions {
    /// The target's value, in its own units, for each row.
    Values(Vec<f64>),
    /// One of several classes for each row.
    Classes {
        /// The classes' names.
        classes: Vec<String>,
        /// The number of the most probable class of each row: of equally probable ones, the first.
        labels: Vec<usize>,
        /// The probability of each class: rows × classes, row by row.
        probabilities: Vec<f64>,
    },
}

impl Predictions {
    /// Classes, from their probabilities (rows × classes).
    pub(super) fn of_classes(classes: &[String], probabilities: Vec<f64>) -> Self {
        let labels = probabilities.chunks_exact(classes.len()).map(most_probable).collect();
        Predictions::Classes { classes: classes.to_vec(), labels, probabilities }
    }
}

/// The number of the largest of `probabilities`: of equal ones, the first.
pub(super) fn most_probable(probabilities: &[f64]) -> usize {
    (0..probabilities.len()).fold(0, |best, k| if probabilities[k] > probabilities[best] { k } else { best })
}

/// How good predictions are, of a regression or of a classification.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Metrics {
    /// Of values.
    Regression(metrics::Regression),
    /// Of classes.
    Classification(metrics::Classification),
}

/// The values of the target of a regression, to compare predictions with.
pub(super) fn truth<'a>(about: &About, dataset: &'a Dataset) -> Result<&'a [f32]> {
    same_target(about, dataset)?;
    numbers_of(dataset)?;
    Ok(dataset.y())
}

/// The class of each sample, as the model numbers them, to compare predictions with. Classes are compared by name.
pub(super) fn labels(about: &About, classes: &[String], dataset: &Dataset) -> Result<Vec<usize>> {
    same_target(about, dataset)?;
    let labelled = dataset.clone().with_classes()?;
    let theirs = labelled.classes().unwrap_or_default();
    let numbers = theirs.iter().map(|name| {
        classes.iter().position(|class| class == name).ok_or_else(|| {
            Error::Data(format!(
                "the target {:?} has the class {name:?}, and the model knows {}",
                dataset.target(),
                classes.join(", ")
            ))
        })
    });
    let numbers = numbers.collect::<Result<Vec<usize>>>()?;
    Ok(labelled.y().iter().map(|&y| numbers[y as usize]).collect())
}

/// Refuses classes where numbers are needed.
pub(super) fn numbers_of(dataset: &Dataset) -> Result<()> {
    numbers_not(dataset.classes(), dataset.target())
}

/// Refuses these classes of a target, where numbers are needed.
pub(super) fn numbers_not(classes: Option<&[String]>, target: &str) -> Result<()> {
    match classes {
        None => Ok(()),
        Some(classes) => Err(Error::Data(format!(
            "the target {target:?} is one of {} classes, and a regression needs numbers: train a classifier, or read the \
             target as numbers",
            classes.len()
        ))),
    }
}

/// The error for a file's target of numbers, where classes are needed before the first block.
pub(super) fn numbers_without_classes(target: &str) -> Error {
    Error::Data(format!(
        "the target {target:?} is read as numbers, and its classes must be known before the first block: have the reader take \
         it as classes"
    ))
}

fn same_target(about: &About, dataset: &Dataset) -> Result<()> {
    match about.target == dataset.target() {
        true => Ok(()),
        false => Err(Error::Data(format!(
            "the model predicts {:?}, and the target of these data is {:?}",
            about.target,
            dataset.target()
        ))),
    }
}
