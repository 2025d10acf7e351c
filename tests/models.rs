//! Models on real data, on every engine that runs on a CPU. References are those of `tests/data/reference.py`, in 64 bits.

use serde_json::Value;
use tilegrad::data::Dataset;
use tilegrad::engine::{Cpu, Emulator, Engine, Loop};
use tilegrad::models::{FittedLogistic, LogisticRegression, Model};

fn data(name: &str) -> String {
    format!("{}/tests/data/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn breast_cancer() -> Dataset {
    Dataset::read_csv(data("breast_cancer.csv"), "benign", None).unwrap()
}

fn reference(name: &str) -> Value {
    let text = std::fs::read_to_string(data("reference.json")).unwrap();
    serde_json::from_str::<Value>(&text).unwrap()[name].take()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

/// The largest difference.
fn off(ours: &[f64], theirs: &[f64]) -> f64 {
    assert_eq!(ours.len(), theirs.len());
    ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

fn breast_cancer_on<E: Engine>(engine: &E, iterations: usize) -> FittedLogistic {
    let settings = LogisticRegression::new().learning_rate(0.5).iterations(iterations);
    settings.fit(engine, &breast_cancer()).unwrap()
}

/// 1000 steps of Lipschitz gradients at a rate below 2/λ: what rounds off in a step is not made larger by those after
/// it, so it is at most the sum of them, 1000 · α · γ · rms(x) rms(e) ≈ 1000 · 0.5 · 133u · 1 · 0.2 = 8·10⁻⁴.
#[test]
fn breast_cancer_reaches_the_reference() {
    fn check<E: Engine>(engine: &E, bound: f64) {
        let reference = reference("breast_cancer_logistic");
        let model = breast_cancer_on(engine, 1000);
        let weights = off(model.weights(), &numbers(&reference["weights_standardised"]));
        let bias = off(model.bias(), &[reference["bias_standardised"].as_f64().unwrap()]);
        assert!(weights <= bound && bias <= bound, "{}: off by {weights}, {bias}", engine.description());
        for (iteration, cost) in reference["cost"].as_object().unwrap() {
            let ours = model.history()[iteration.parse::<usize>().unwrap()];
            let cost = cost.as_f64().unwrap();
            assert!((ours - cost).abs() <= bound * cost, "cost {iteration}: {ours}, not {cost}");
        }
        let metrics = model.evaluate(engine, &breast_cancer()).unwrap();
        assert_eq!(metrics.accuracy, reference["accuracy"].as_f64().unwrap());
        assert!(metrics.auc.unwrap() > 0.99);
        assert!((metrics.log_loss - model.training().cost).abs() <= bound);
        assert_eq!(model.classes(), ["0", "1"]);
    }
    check(&Loop, 1e-5);
    check(&Cpu, 1e-3);
}

/// As above: 5 · 0.5 · 133u · 0.5 = 10⁻⁵.
#[test]
fn on_the_emulator_logistic_regression_is_that_of_the_loop() {
    let (emulated, looped) = (breast_cancer_on(&Emulator::new(), 5), breast_cancer_on(&Loop, 5));
    let bound = 1e-5;
    assert!(off(emulated.weights(), looped.weights()) <= bound);
    assert!(off(emulated.bias(), looped.bias()) <= bound);
    assert!(off(emulated.history(), looped.history()) <= bound);
}

#[test]
fn a_model_from_a_file_predicts_the_same_bits() {
    let data = breast_cancer();
    let model = Model::from(breast_cancer_on(&Cpu, 20));
    let read = Model::from_bytes(&model.to_bytes().unwrap()).unwrap();
    assert_eq!(read.predict(&Cpu, data.features()).unwrap(), model.predict(&Cpu, data.features()).unwrap());
    assert_eq!(read.evaluate(&Cpu, &data).unwrap(), model.evaluate(&Cpu, &data).unwrap());
}
