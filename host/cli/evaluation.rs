//! How good a model is: in words, in JSON, in pictures.

use std::fmt::Write;

use serde::Serialize;
use tilegrad::Result;
use tilegrad::data::{Blocks, Dataset};
use tilegrad::engine::{Engine, Job};
use tilegrad::models::metrics::{Classification, Regression};
use tilegrad::models::{Metrics, Model, Predictions};
use tilegrad::report::{Page, Plot, TextTable, significant};

/// Significant digits of metrics.
const DIGITS: usize = 4;
/// The most classes whose confusion matrix is printed as text.
const MOST_CLASSES: usize = 20;

/// A model's metrics on samples, with its predictions if they were asked for.
pub(super) struct Evaluation {
    pub metrics: Metrics,
    predictions: Option<Predictions>,
    actual: Vec<f32>,
}

/// Evaluation, on any engine.
pub(super) struct Evaluate<'a> {
    pub model: &'a Model,
    pub dataset: &'a Dataset,
    /// Whether the predictions are wanted as well.
    pub predictions: bool,
}

impl Job for Evaluate<'_> {
    type Output = Evaluation;

    fn run<E: Engine>(self, engine: &E) -> Result<Evaluation> {
        let Evaluate { model, dataset, predictions } = self;
        let wanted = predictions && model.classes().is_none();
        Ok(Evaluation {
            metrics: model.evaluate(engine, dataset)?,
            predictions: wanted.then(|| model.predict(engine, dataset.features())).transpose()?,
            actual: if wanted { dataset.y().to_vec() } else { Vec::new() },
        })
    }
}

/// Evaluation on samples that come block by block, on any engine.
pub(super) struct EvaluateBlocks<'a> {
    pub model: &'a Model,
    pub blocks: &'a Blocks,
}

impl Job for EvaluateBlocks<'_> {
    /// With the number of samples that were left out.
    type Output = (Evaluation, usize);

    fn run<E: Engine>(self, engine: &E) -> Result<Self::Output> {
        let (mut sums, mut counts) = (Sums::default(), Counts::default());
        let mut dropped = 0;
        for block in self.blocks {
            let block = block?;
            dropped += block.dropped();
            match self.model.evaluate(engine, &block)? {
                Metrics::Regression(metrics) => sums.add(&metrics, block.y()),
                Metrics::Classification(metrics) => counts.add(metrics),
            }
        }
        let metrics = match counts.metrics() {
            Some(metrics) => Metrics::Classification(metrics),
            None => Metrics::Regression(sums.metrics()),
        };
        Ok((Evaluation { metrics, predictions: None, actual: Vec::new() }, dropped))
    }
}

/// What the metrics of a classification of all blocks are made of.
#[derive(Default)]
struct Counts {
    samples: usize,
    log_losses: f64,
    confusion: Vec<Vec<usize>>,
}

impl Counts {
    fn add(&mut self, metrics: Classification) {
        self.samples += metrics.samples;
        self.log_losses += metrics.samples as f64 * metrics.log_loss;
        if self.confusion.is_empty() {
            self.confusion = metrics.confusion;
            return;
        }
        let counts = self.confusion.iter_mut().flatten();
        counts.zip(metrics.confusion.iter().flatten()).for_each(|(all, more)| *all += more);
    }

    /// Without the area under the curve, for which all predictions must be there at once. None if there was nothing.
    fn metrics(self) -> Option<Classification> {
        let Counts { samples, log_losses, confusion } = self;
        let m = samples as f64;
        let right: usize = confusion.iter().enumerate().map(|(class, row)| row[class]).sum();
        (samples > 0).then(|| Classification {
            samples,
            accuracy: right as f64 / m,
            log_loss: log_losses / m,
            confusion,
            auc: None,
        })
    }
}

/// What the metrics of a regression of all blocks are made of.
#[derive(Default)]
struct Sums {
    samples: usize,
    squared_errors: f64,
    errors: f64,
    mean: f64,
    /// Σ(y − ȳ)²
    spread: f64,
}

impl Sums {
    /// Means and spreads are put together as by Chan, Golub and LeVeque (1983).
    fn add(&mut self, metrics: &Regression, y: &[f32]) {
        let (before, m) = (self.samples as f64, y.len() as f64);
        self.squared_errors += m * metrics.rmse.powi(2);
        self.errors += m * metrics.mae;
        let mean = y.iter().map(|&y| f64::from(y)).sum::<f64>() / m;
        let spread: f64 = y.iter().map(|&y| (f64::from(y) - mean).powi(2)).sum();
        let difference = mean - self.mean;
        self.spread += spread + difference * difference * before * m / (before + m);
        self.mean += difference * m / (before + m);
        self.samples += y.len();
    }

    fn metrics(&self) -> Regression {
        let m = self.samples as f64;
        Regression {
            samples: self.samples,
            r2: (self.spread > 0.0).then(|| 1.0 - self.squared_errors / self.spread),
            rmse: (self.squared_errors / m).sqrt(),
            mae: self.errors / m,
        }
    }
}

/// The metrics as `--json` prints them: with the names of the confusion matrix' rows and columns.
#[derive(Serialize)]
pub(super) struct Measured<'a> {
    #[serde(flatten)]
    metrics: &'a Metrics,
    #[serde(skip_serializing_if = "Option::is_none")]
    classes: Option<&'a [String]>,
}

impl Evaluation {
    pub(super) fn measured<'a>(&'a self, model: &'a Model) -> Measured<'a> {
        Measured { metrics: &self.metrics, classes: model.classes() }
    }

    pub(super) fn samples(&self) -> usize {
        match &self.metrics {
            Metrics::Regression(metrics) => metrics.samples,
            Metrics::Classification(metrics) => metrics.samples,
        }
    }

    /// The standard deviation of a target of numbers, unless it is constant: R² is 1 − (RMSE / it)².
    pub(super) fn deviation(&self) -> Option<f64> {
        match &self.metrics {
            Metrics::Regression(metrics) => metrics.r2.map(|r2| metrics.rmse / (1.0 - r2).sqrt()),
            Metrics::Classification(_) => None,
        }
    }

    /// Names of metrics with their values.
    pub(super) fn pairs(&self) -> Vec<(&'static str, String)> {
        let number = |value: f64| significant(value, DIGITS);
        match &self.metrics {
            Metrics::Regression(metrics) => vec![
                (
                    "R²",
                    metrics
                        .r2
                        .map_or("not defined: the target is constant, as 32-bit numbers".to_owned(), number),
                ),
                ("RMSE", number(metrics.rmse)),
                ("MAE", number(metrics.mae)),
            ],
            Metrics::Classification(metrics) => {
                let mut pairs = vec![
                    ("accuracy", format!("{} %", number(100.0 * metrics.accuracy))),
                    ("log loss", number(metrics.log_loss)),
                ];
                pairs.extend(metrics.auc.map(|auc| ("AUC", number(auc))));
                pairs
            }
        }
    }

    /// A line: `on` which samples, and how good.
    pub(super) fn line(&self, on: &str) -> String {
        let pairs = self.pairs().into_iter().map(|(name, value)| format!("{name} {value}"));
        format!("on {on}: {}\n", pairs.collect::<Vec<_>>().join(", "))
    }

    /// The confusion matrix as text, if there is one, of not too many classes.
    pub(super) fn matrix(&self, classes: &[String]) -> String {
        let Metrics::Classification(metrics) = &self.metrics else { return String::new() };
        if classes.len() > MOST_CLASSES {
            return String::new();
        }
        let titles =
            ["actual \\ predicted".to_owned()].into_iter().chain(classes.iter().map(|name| plain(name)));
        let mut table = TextTable::new(titles);
        for (class, counts) in classes.iter().zip(&metrics.confusion) {
            table.row([plain(class)].into_iter().chain(counts.iter().map(usize::to_string)));
        }
        let mut text = String::new();
        let _ = write!(text, "\n{table}");
        text
    }

    /// Predictions against what is true, of `samples` in words.
    pub(super) fn plot(&self, model: &Model, samples: &str) -> Option<Plot> {
        let (target, samples) = (model.target().to_owned(), samples.to_owned());
        match (&self.metrics, &self.predictions) {
            (Metrics::Classification(metrics), _) => Some(Plot::ConfusionMatrix {
                target,
                samples,
                classes: model.classes().unwrap_or_default().to_vec(),
                counts: metrics.confusion.clone(),
            }),
            (Metrics::Regression(_), Some(Predictions::Values(predicted))) => Some(Plot::Predictions {
                target,
                samples,
                actual: self.actual.iter().map(|&y| y.into()).collect(),
                predicted: predicted.clone(),
            }),
            _ => None,
        }
    }
}

/// A table of metrics, a column for each of `evaluations` with what it is of.
pub(super) fn table(page: &mut Page, evaluations: &[(&str, &Evaluation)]) {
    let titles =
        ["metric".to_owned()].into_iter().chain(evaluations.iter().map(|(name, _)| (*name).to_owned()));
    let Some((_, first)) = evaluations.first() else { return };
    let mut rows = vec![
        ["samples".to_owned()]
            .into_iter()
            .chain(evaluations.iter().map(|(_, evaluation)| evaluation.samples().to_string()))
            .collect::<Vec<String>>(),
    ];
    for (name, _) in first.pairs() {
        // A share of one class has no area under the curve.
        let value = |evaluation: &Evaluation| {
            let pairs = evaluation.pairs();
            pairs.into_iter().find(|(other, _)| *other == name).map_or("–".to_owned(), |(_, value)| value)
        };
        rows.push(
            [name.to_owned()]
                .into_iter()
                .chain(evaluations.iter().map(|(_, evaluation)| value(evaluation)))
                .collect(),
        );
    }
    page.table(titles, rows);
}

/// What a file holds, for a terminal: without characters that would steer it.
pub(super) fn plain(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tilegrad::models::metrics;

    #[test]
    fn blocks_have_the_metrics_of_all_samples_together() {
        let y: Vec<f32> = (0..50).map(|i| 1000.0 + (i * 37 % 23) as f32).collect();
        let predictions: Vec<f64> = (0..50).map(|i| 1000.0 + f64::from(i * 41 % 19)).collect();
        let of = |y: &[f32], predictions: &[f64]| {
            metrics::regression(&y.iter().map(|&y| y.into()).collect::<Vec<f64>>(), predictions).unwrap()
        };
        let mut sums = Sums::default();
        for (y, predictions) in y.chunks(7).zip(predictions.chunks(7)) {
            sums.add(&of(y, predictions), y);
        }
        let (together, whole) = (sums.metrics(), of(&y, &predictions));
        assert_eq!(together.samples, 50);
        for (one, other) in [
            (together.r2.unwrap(), whole.r2.unwrap()),
            (together.rmse, whole.rmse),
            (together.mae, whole.mae),
        ] {
            assert!((one - other).abs() <= 1e-12 * other.abs(), "{one}, {other}");
        }
    }

    #[test]
    fn blocks_have_the_counts_of_all_samples_together() {
        let labels: Vec<usize> = (0..50).map(|i| i * i % 3).collect();
        let probabilities: Vec<f64> = (0..50)
            .flat_map(|i| {
                let first = f64::from(i * 17 % 50) / 50.0;
                [first, (1.0 - first) / 4.0, (1.0 - first) * 0.75]
            })
            .collect();
        let mut counts = Counts::default();
        for (labels, probabilities) in labels.chunks(7).zip(probabilities.chunks(21)) {
            counts.add(metrics::classification(labels, probabilities, 3).unwrap());
        }
        let (together, whole) =
            (counts.metrics().unwrap(), metrics::classification(&labels, &probabilities, 3).unwrap());
        assert_eq!((together.samples, &together.confusion), (50, &whole.confusion));
        assert_eq!(together.accuracy, whole.accuracy);
        assert!((together.log_loss - whole.log_loss).abs() <= 1e-12 * whole.log_loss);
        assert_eq!(Counts::default().metrics(), None);
    }
}
