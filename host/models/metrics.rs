//! How good predictions are.
//!
//! All of it in `f64`, on the host, in time m log m at most for m samples.

use rayon::prelude::*;
use serde::Serialize;

use crate::{Error, Result};

/// Metrics of a regression.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Regression {
    /// Samples that were predicted.
    pub samples: usize,
    /// R² = 1 − Σ(ŷ − y)² / Σ(y − ȳ)²: 1 is perfect, 0 no better than always ȳ. `None` where y is constant: it is not
    /// defined there.
    pub r2: Option<f64>,
    /// Root of the mean squared error, √(Σ(ŷ − y)² / m), in y's unit.
    pub rmse: f64,
    /// Mean absolute error, Σ|ŷ − y| / m, in y's unit.
    pub mae: f64,
}

/// Metrics of a classification in two or more classes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Classification {
    /// Samples that were predicted.
    pub samples: usize,
    /// The share of samples whose most probable class is theirs.
    pub accuracy: f64,
    /// Mean of −ln p of the sample's own class, a p of less than [`LEAST_PROBABILITY`] taken as that.
    pub log_loss: f64,
    /// The samples of each class (row), by the class that was predicted (column).
    pub confusion: Vec<Vec<usize>>,
    /// Of two classes: the probability that a sample of class 1 is given a higher probability than one of class 0, ties
    /// counting half: the area under the receiver operating characteristic. `None` where one of them has no sample, and
    /// for more classes.
    pub auc: Option<f64>,
}

impl Regression {
    /// R², for a target of this name.
    pub(super) fn score(&self, target: &str) -> Result<f64> {
        self.r2.ok_or_else(|| {
            Error::Data(format!(
                "R² is not defined, because the target {target:?} has the same value in every sample: look at the RMSE"
            ))
        })
    }
}

/// What a probability of a sample's own class counts as at least, so that one prediction that is sure and wrong does not
/// make the mean infinite: the distance of 1 from the next `f32`.
pub const LEAST_PROBABILITY: f64 = f32::EPSILON as f64;

/// The metrics of predictions ŷ of y.
///
/// # Errors
/// There are no samples, or not as many predictions as samples.
///
/// ```
/// use tilegrad::models::metrics;
///
/// let metrics = metrics::regression(&[1.0, 2.0, 3.0], &[1.0, 2.0, 4.0])?;
/// assert_eq!((metrics.r2, metrics.mae), (Some(0.5), 1.0 / 3.0));
/// # Ok::<(), tilegrad::Error>(())
/// ```
pub fn regression(y: &[f64], predictions: &[f64]) -> Result<Regression> {
    regression_of(y, predictions)
}

/// The metrics of predictions ŷ of y, which may be `f32`, so that none need be copied.
pub(super) fn regression_of<Y: Copy + Into<f64> + Sync>(y: &[Y], predictions: &[f64]) -> Result<Regression> {
    check("regression", y.len(), predictions.len())?;
    let (m, first) = (y.len() as f64, y[0].into());
    let [sum] = in_blocks(y, predictions, |y, _| [y.iter().map(|&y| y.into()).sum()]);
    let mean = sum / m;
    let [spread, squares, errors, others] = in_blocks(y, predictions, |y, predictions| {
        let (mut spread, mut squares, mut errors, mut others) = (0.0, 0.0, 0.0, 0.0);
        for (&y, prediction) in y.iter().zip(predictions) {
            let y: f64 = y.into();
            let (deviation, error) = (y - mean, prediction - y);
            spread += deviation * deviation;
            squares += error * error;
            errors += error.abs();
            others += f64::from(u8::from(y != first));
        }
        [spread, squares, errors, others]
    });
    Ok(Regression {
        samples: y.len(),
        // A constant has no spread but what rounding the mean leaves.
        r2: (others > 0.0).then_some(1.0 - squares / spread),
        rmse: (squares / m).sqrt(),
        mae: errors / m,
    })
}

/// The sums `of` blocks of samples, which are always the same, on all threads; added in order.
fn in_blocks<Y: Sync, const SUMS: usize>(
    y: &[Y],
    predictions: &[f64],
    of: impl Fn(&[Y], &[f64]) -> [f64; SUMS] + Sync,
) -> [f64; SUMS] {
    const BLOCK: usize = 1 << 14;
    let blocks = y.par_chunks(BLOCK).zip(predictions.par_chunks(BLOCK));
    let sums: Vec<_> = blocks.map(|(y, predictions)| of(y, predictions)).collect();
    sums.into_iter().fold([0.0; SUMS], |all, block| std::array::from_fn(|k| all[k] + block[k]))
}

/// The metrics of probabilities (m × classes, row by row) of the classes of m samples.
///
/// Of classes that are equally probable, the first counts as predicted.
///
/// # Errors
/// There are no samples, fewer than two classes, not as many probabilities as samples × classes, a label that is no
/// class, or a probability that is not within 0 to 1.
///
/// ```
/// use tilegrad::models::metrics;
///
/// let probabilities = [0.9, 0.1, 0.2, 0.8, 0.6, 0.4];
/// let metrics = metrics::classification(&[0, 1, 1], &probabilities, 2)?;
/// assert_eq!((metrics.accuracy, metrics.auc), (2.0 / 3.0, Some(1.0)));
/// assert_eq!(metrics.confusion, [[1, 0], [1, 1]]);
/// # Ok::<(), tilegrad::Error>(())
/// ```
pub fn classification(labels: &[usize], probabilities: &[f64], classes: usize) -> Result<Classification> {
    let refuse = |problem: String| Err(Error::Data(problem));
    if classes < 2 {
        return refuse(format!("a classification has at least 2 classes, not {classes}"));
    }
    check("classification", labels.len().saturating_mul(classes), probabilities.len())?;
    if let Some((i, label)) = labels.iter().enumerate().find(|(_, label)| **label >= classes) {
        return refuse(format!("sample {i} has class {label}, and the classes are 0 to {}", classes - 1));
    }
    if let Some(at) = probabilities.iter().position(|p| !(0.0..=1.0).contains(p)) {
        let (sample, class) = (at / classes, at % classes);
        return refuse(format!("{} is no probability (sample {sample}, class {class})", probabilities[at]));
    }
    let m = labels.len();
    let mut confusion = vec![vec![0; classes]; classes];
    let mut log_loss = 0.0;
    for (&label, row) in labels.iter().zip(probabilities.chunks_exact(classes)) {
        let first_of_largest =
            (0..classes).fold(0, |best, class| if row[class] > row[best] { class } else { best });
        confusion[label][first_of_largest] += 1;
        log_loss -= row[label].max(LEAST_PROBABILITY).ln();
    }
    let right: usize = (0..classes).map(|class| confusion[class][class]).sum();
    let auc = match classes {
        2 => area(labels, probabilities.iter().skip(1).step_by(2)),
        _ => None,
    };
    Ok(Classification {
        samples: m,
        accuracy: right as f64 / m as f64,
        log_loss: log_loss / m as f64,
        confusion,
        auc,
    })
}

/// The area under the curve, from the ranks of class 1 among all scores (Mann and Whitney, 1947); scores that are equal
/// share the mean of their ranks.
fn area<'a>(labels: &[usize], scores: impl Iterator<Item = &'a f64>) -> Option<f64> {
    let mut ranked: Vec<(f64, usize)> = scores.copied().zip(labels.iter().copied()).collect();
    ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
    let positive: usize = labels.iter().sum();
    let negative = labels.len() - positive;
    let mut ranks = 0.0;
    let mut below = 0;
    for group in ranked.chunk_by(|a, b| a.0 == b.0) {
        let ours: usize = group.iter().map(|(_, label)| label).sum();
        // Ranks below + 1 to below + group.len().
        ranks += ours as f64 * (below as f64 + (group.len() + 1) as f64 / 2.0);
        below += group.len();
    }
    let pairs = positive as f64 * negative as f64;
    (pairs > 0.0).then(|| (ranks - positive as f64 * (positive + 1) as f64 / 2.0) / pairs)
}

fn check(what: &str, wanted: usize, given: usize) -> Result<()> {
    if wanted == 0 {
        return Err(Error::Data(format!("metrics of a {what} need at least one sample")));
    }
    if wanted != given {
        return Err(Error::Data(format!("metrics of a {what}: {given} predictions are given for {wanted}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_regression_by_hand() {
        // Errors 1, −1, 2 of y with mean 4 and Σ(y − ȳ)² = 4 + 0 + 4.
        let metrics = regression(&[2.0, 4.0, 6.0], &[3.0, 3.0, 8.0]).unwrap();
        assert_eq!(metrics.r2, Some(0.25));
        assert_eq!(metrics.rmse, 2.0_f64.sqrt());
        assert_eq!(metrics.mae, 4.0 / 3.0);
        let constant = regression(&[0.1; 3], &[0.1; 3]).unwrap();
        assert_eq!((constant.r2, constant.rmse), (None, 0.0));
    }

    #[test]
    fn three_classes_by_hand() {
        let probabilities = [0.5, 0.25, 0.25, 0.5, 0.5, 0.0, 0.0, 0.25, 0.75];
        let metrics = classification(&[0, 1, 2], &probabilities, 3).unwrap();
        assert_eq!(metrics.confusion, [[1, 0, 0], [1, 0, 0], [0, 0, 1]], "of equal ones the first");
        assert_eq!(metrics.accuracy, 2.0 / 3.0);
        assert!((metrics.log_loss - (2.0 * 0.5_f64.ln() + 0.75_f64.ln()) / -3.0).abs() < 1e-15);
        assert_eq!(metrics.auc, None);
    }

    #[test]
    fn the_area_counts_pairs_and_half_of_ties() {
        let of = |scores: &[f64], labels: &[usize]| {
            let probabilities: Vec<f64> = scores.iter().flat_map(|p| [1.0 - p, *p]).collect();
            classification(labels, &probabilities, 2).unwrap().auc
        };
        assert_eq!(of(&[0.1, 0.2, 0.3, 0.4], &[0, 0, 1, 1]), Some(1.0));
        assert_eq!(of(&[0.1, 0.2, 0.3, 0.4], &[1, 1, 0, 0]), Some(0.0));
        assert_eq!(of(&[0.5, 0.5, 0.5], &[0, 1, 1]), Some(0.5));
        assert_eq!(of(&[0.5, 0.25, 0.5, 0.75], &[0, 0, 1, 1]), Some(0.875), "one tie among four pairs");
        assert_eq!(of(&[0.5, 0.25], &[1, 1]), None);
        // Every pair counted one by one.
        let scores: Vec<f64> = (0..60).map(|i| f64::from(i * 37 % 11) / 16.0).collect();
        let labels: Vec<usize> = (0..60).map(|i| usize::from(i * 7 % 5 < 2)).collect();
        let (mut pairs, mut wins) = (0.0, 0.0);
        for (p, _) in scores.iter().zip(&labels).filter(|(_, label)| **label == 1) {
            for (q, _) in scores.iter().zip(&labels).filter(|(_, label)| **label == 0) {
                pairs += 1.0;
                wins += if p > q {
                    1.0
                } else if p == q {
                    0.5
                } else {
                    0.0
                };
            }
        }
        assert_eq!(of(&scores, &labels), Some(wins / pairs));
    }

    #[test]
    fn a_prediction_that_is_sure_and_wrong_costs_no_more_than_it_can() {
        let metrics = classification(&[1], &[1.0, 0.0], 2).unwrap();
        assert_eq!(metrics.log_loss, -LEAST_PROBABILITY.ln());
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let text = |result: Result<Classification>| result.unwrap_err().to_string();
        assert!(regression(&[], &[]).unwrap_err().to_string().contains("at least one sample"));
        assert!(regression(&[1.0], &[]).unwrap_err().to_string().contains("0 predictions are given for 1"));
        assert!(text(classification(&[], &[], 2)).contains("at least one sample"));
        assert!(text(classification(&[0], &[1.0], 1)).contains("at least 2 classes"));
        assert!(text(classification(&[2], &[0.5, 0.5], 2)).contains("class 2"));
        assert!(text(classification(&[0], &[0.5, 1.5], 2)).contains("sample 0, class 1"));
        assert!(text(classification(&[0], &[f64::NAN, 0.5], 2)).contains("no probability"));
        assert!(text(classification(&[0], &[0.5; 3], 2)).contains("3 predictions are given for 2"));
    }
}
