//! Linear and logistic regression in mini-batches, with other optimisers, schedules, early stopping, and of more than two
//! classes: networks of one layer, trained as networks are.

use super::network::{Outcome, Parameters, train};
use super::regression::{Affine, Task, Trained};
use super::source::{Facts, Source};
use super::{Checkpoints, Method, Progress, Settings, Solver, network};
use crate::engine::{Activation, Engine, Head};
use crate::{Error, Result};

/// Whether descent with these settings, for z of so many columns, is beyond full-batch descent at one rate.
pub(super) fn is_needed(settings: &Settings, columns: usize) -> bool {
    settings.solver == Solver::Descent && (!settings.is_plain_descent() || columns > 1)
}

/// Refuses settings that make no sense, alone or together.
pub(super) fn check(settings: &Settings, columns: usize) -> Result<()> {
    settings.check()?;
    let (solver, plain) = (settings.solver, settings.is_plain_descent());
    if settings.method == Method::Gram && (solver != Solver::Descent || !plain || columns > 1) {
        return Err(Error::Setting(
            "the method gram holds for full-batch descent of linear regression at one rate: take direct with mini-batches, \
             other optimisers, schedules, early stopping, several classes and other solvers"
                .to_owned(),
        ));
    }
    match solver == Solver::Descent || plain {
        true => Ok(()),
        false => Err(Error::Setting(format!(
            "the solver {solver} takes no mini-batches, optimiser, schedule or early stopping: take the solver descent, or \
             leave these out"
        ))),
    }
}

/// Training of z = Xw + b of one column, or of one for each class, over samples of which `facts` are known.
pub(super) fn descend<E: Engine>(
    engine: &E,
    task: &Task<'_>,
    head: Head,
    (source, facts): (&Source<'_, E>, &Facts),
    checkpoints: Option<Checkpoints>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Trained> {
    let Facts { scaler, constant, target_square, fingerprint, .. } = facts;
    let fingerprint = fingerprint.clone().unwrap_or_default();
    let checkpoints = checkpoints
        .map(|checkpoints| checkpoints.of(task.subject(engine, fingerprint), task.settings.epochs))
        .transpose()?;
    let start = task.begin(scaler, constant)?;
    let features = task.encoding.features();
    let narrow = |values: &[f64]| values.iter().map(|&value| value as f32).collect::<Vec<f32>>();
    let layer = Parameters {
        weights: engine.upload(features.len(), task.outputs, &narrow(&start.weights))?,
        bias: engine.upload(1, task.outputs, &narrow(&start.bias))?,
        activation: Activation::Identity,
    };
    let work = network::Task { engine, source, target_square: *target_square, head, settings: task.settings };
    let Outcome { layers, run } = train(work, vec![layer], checkpoints, progress)?;
    let affine = Affine { weights: engine.read(&layers[0].weights)?, bias: engine.read(&layers[0].bias)? };
    task.trained(engine, scaler.clone(), constant, affine, run)
}

#[cfg(test)]
mod tests {
    use crate::data::{Dataset, Output, Table};
    use crate::engine::{Cpu, Loop};
    use crate::models::{
        Checkpoints, EarlyStopping, Ending, FittedLogistic, LinearRegression, LogisticRegression, Method,
        Optimiser, Schedule,
    };

    fn values(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|i| ((i + 7 * seed) as f32 * 0.618_034).fract() * 2.0 - 1.0).collect()
    }

    fn table(rows: usize) -> Table {
        Table::new(["a", "b"].map(str::to_owned).to_vec(), values(2 * rows, 1)).unwrap()
    }

    fn numbers(rows: usize) -> Dataset {
        let table = table(rows);
        let y = table.values().chunks(2).map(|x| 3.0 + 2.0 * x[0] - x[1]).collect();
        Dataset::new(table, "y", y).unwrap()
    }

    fn classes(rows: usize, count: usize) -> Dataset {
        let table = table(rows);
        let of = |x: &[f32]| ((x[0] + 1.0) / 2.0 * count as f32) as usize;
        let labels: Vec<String> = table.values().chunks(2).map(|x| format!("class {}", of(x))).collect();
        Dataset::labelled(table, "kind", &labels).unwrap()
    }

    #[test]
    fn one_batch_of_all_samples_is_the_full_batch() {
        let (data, rows) = (numbers(60), 60);
        let full = LinearRegression::new().epochs(50).fit(&Loop, &data).unwrap();
        let batch = LinearRegression::new().epochs(50).batch_size(rows).fit(&Loop, &data).unwrap();
        let near = |ours: &[f64], theirs: &[f64]| {
            assert_eq!(ours.len(), theirs.len());
            assert!(ours.iter().zip(theirs).all(|(a, b)| (a - b).abs() < 1e-12), "{ours:?}, {theirs:?}");
        };
        near(full.weights(), batch.weights());
        near(full.history(), batch.history());
        let labelled = classes(60, 2);
        let full = LogisticRegression::new().epochs(50).fit(&Loop, &labelled).unwrap();
        let batch = LogisticRegression::new().epochs(50).batch_size(rows).fit(&Loop, &labelled).unwrap();
        near(full.weights(), batch.weights());
        near(full.history(), batch.history());
    }

    #[test]
    fn every_optimiser_finds_the_line_in_mini_batches() {
        let data = numbers(100);
        for (optimiser, rate) in
            [(Optimiser::Descent, 0.1), (Optimiser::momentum(), 0.02), (Optimiser::adam(), 0.05)]
        {
            let settings =
                LinearRegression::new().optimiser(optimiser).learning_rate(rate).batch_size(16).epochs(200);
            let schedule = Schedule::Cosine;
            let (weights, bias) = settings.schedule(schedule).fit(&Cpu, &data).unwrap().raw();
            let off = (weights[0] - 2.0).abs() + (weights[1] + 1.0).abs() + (bias - 3.0).abs();
            assert!(off < 1e-3, "{optimiser}: {weights:?}, {bias}");
        }
    }

    /// The gradient of the softmax' cost is 0 where it has ended, and the classes' weights together stay 0.
    #[test]
    fn several_classes_are_told_apart_by_softmax() {
        let data = classes(120, 3);
        let model = LogisticRegression::new().learning_rate(1.0).epochs(3000).fit(&Cpu, &data).unwrap();
        assert_eq!((model.classes().len(), model.weights().len(), model.bias().len()), (3, 6, 3));
        assert!(model.score(&Cpu, &data).unwrap() > 0.95);
        assert!(model.weights().chunks(3).all(|weights| weights.iter().sum::<f64>().abs() < 1e-3));
        assert!((model.history()[0] - 3.0_f64.ln()).abs() < 1e-6);
        let read = FittedLogistic::from_bytes(&model.to_bytes().unwrap()).unwrap();
        assert_eq!(
            read.probabilities(&Cpu, data.features()).unwrap(),
            model.probabilities(&Cpu, data.features()).unwrap()
        );
        let warm = LogisticRegression::new().epochs(1).warm_start(&model).fit(&Cpu, &data).unwrap();
        assert!((warm.history()[0] - model.training().cost).abs() < 1e-6);
        let stopped = LogisticRegression::new()
            .learning_rate(1.0)
            .epochs(3000)
            .tolerance(0.02)
            .fit(&Cpu, &data)
            .unwrap();
        assert_eq!(stopped.training().ending, Ending::Tolerance);
        assert!(stopped.training().iterations < 3000);
    }

    #[test]
    fn resumed_training_has_the_same_bits() {
        let folder = tempfile::tempdir().unwrap();
        let data = classes(50, 3);
        let stopping = EarlyStopping { validation_share: 0.2, patience: 50 };
        let settings = |epochs| {
            let all = LogisticRegression::new().optimiser(Optimiser::adam()).batch_size(8).epochs(epochs);
            all.early_stopping(stopping)
        };
        let file = || Output::new(folder.path().join("checkpoint")).unwrap();
        settings(4).fit_resumable(&Cpu, &data, Checkpoints::begin(file()).unwrap().every(3), |_| ()).unwrap();
        let resumed =
            settings(9).fit_resumable(&Cpu, &data, Checkpoints::resume(file()).unwrap(), |_| ()).unwrap();
        assert_eq!(resumed, settings(9).fit(&Cpu, &data).unwrap());
    }

    #[test]
    fn the_gram_matrix_is_for_full_batch_descent_alone() {
        let refused =
            LinearRegression::new().method(Method::Gram).batch_size(8).fit(&Cpu, &numbers(30)).unwrap_err();
        assert!(refused.to_string().contains("take direct with mini-batches"), "{refused}");
    }
}
