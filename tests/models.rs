//! Models on real data, on every engine that runs on a CPU. References are those of `tests/data/reference.py`, in 64 bits.

use serde_json::Value;
use tilegrad::data::{Dataset, Table};
use tilegrad::engine::{Cpu, Emulator, Engine, Loop, Loss, Objective, Samples};
use tilegrad::models::{Ending, FittedLogistic, LinearRegression, LogisticRegression, Method, Model, Scale};

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

fn diabetes() -> Dataset {
    Dataset::read_csv(data("diabetes.csv"), "progression", None).unwrap()
}

/// Numbers in −1 to 1 that look random.
fn random(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    std::iter::repeat_with(next).take(count).collect()
}

/// Central differences of J with h = 10⁻⁵ are off by h² J‴/6 and by rounding, 2⁻⁵³ J / h: 10⁻¹⁰ each, for the values here.
#[test]
fn the_gradient_is_that_of_finite_differences() {
    const H: f64 = 1e-5;
    let (m, n) = (30, 4);
    let x = Loop.upload(m, n, &random(m * n, 1)).unwrap();
    let scaling = Loop.scaling(&Loop.column_moments(&x).unwrap()).unwrap();
    let labels: Vec<f32> = random(m, 2).iter().map(|y| f32::from(*y > 0.0)).collect();
    let y = Loop.upload(m, 1, &labels).unwrap();
    let start: Vec<f64> = random(n + 1, 3).iter().map(|&value| value.into()).collect();
    for (loss, l2, scaling) in [
        (Loss::SquaredError, 0.0, None),
        (Loss::SquaredError, 0.3, Some(&scaling)),
        (Loss::LogLoss, 0.0, Some(&scaling)),
        (Loss::LogLoss, 0.3, None),
    ] {
        let over = Samples { x: &x, scaling, y: &y };
        let objective = Objective { loss, l2 };
        let cost = |at: &[f64]| {
            let (weights, bias) =
                (Loop.restore(n, 1, &at[..n]).unwrap(), Loop.restore(1, 1, &at[n..]).unwrap());
            Loop.cost(objective, &over, &weights, &bias).unwrap()
        };
        let differences: Vec<f64> = (0..=n)
            .map(|j| {
                let at = |h| {
                    let mut at = start.clone();
                    at[j] += h;
                    cost(&at)
                };
                (at(H) - at(-H)) / (2.0 * H)
            })
            .collect();
        let (mut weights, mut bias) =
            (Loop.restore(n, 1, &start[..n]).unwrap(), Loop.restore(1, 1, &start[n..]).unwrap());
        let descended = Loop.descend(objective, &over, &mut weights, &mut bias, 1.0, 1).unwrap();
        let after = [Loop.read(&weights).unwrap(), Loop.read(&bias).unwrap()].concat();
        let gradient: Vec<f64> = start.iter().zip(&after).map(|(before, after)| before - after).collect();
        assert!(off(&gradient, &differences) < 1e-8, "{objective:?}: {gradient:?}, {differences:?}");
        let norm = gradient.iter().map(|slope| slope * slope).sum::<f64>().sqrt();
        assert!((descended.gradient_norms[0] - norm).abs() < 1e-12);
        assert!((descended.costs[0] - cost(&start)).abs() < 1e-12);
    }
}

/// The penalty and the gradient's length are those of the loop on each engine, at 33 features too, which are two strips.
/// Slopes are within γ₁₄₀ of the sum of their terms, which are some ten times as large as they.
#[test]
fn costs_and_lengths_of_the_gradient_are_those_of_the_loop() {
    fn run<E: Engine>(engine: &E, n: usize, loss: Loss) -> (Vec<f64>, Vec<f64>, f64) {
        let m = 50;
        let x = engine.upload(m, n, &random(m * n, 5)).unwrap();
        let labels: Vec<f32> = random(m, 6).iter().map(|y| f32::from(*y > 0.0)).collect();
        let y = engine.upload(m, 1, &labels).unwrap();
        let mut weights = engine.upload(n, 1, &random(n, 7)).unwrap();
        let mut bias = engine.upload(1, 1, &[0.5]).unwrap();
        let over = Samples { x: &x, scaling: None, y: &y };
        let objective = Objective { loss, l2: 0.25 };
        let steps = engine.descend(objective, &over, &mut weights, &mut bias, 0.05, 5).unwrap();
        (steps.costs, steps.gradient_norms, engine.cost(objective, &over, &weights, &bias).unwrap())
    }
    for (n, loss) in [(3, Loss::SquaredError), (33, Loss::SquaredError), (33, Loss::LogLoss)] {
        let truth = run(&Loop, n, loss);
        for (ours, engine) in [(run(&Cpu, n, loss), "cpu"), (run(&Emulator::new(), n, loss), "emulator")] {
            let worst = off(&ours.0, &truth.0).max(off(&ours.1, &truth.1)).max((ours.2 - truth.2).abs());
            assert!(worst < 1e-4, "{engine}, {n} features: off by {worst}");
        }
    }
}

#[test]
fn the_tolerance_stops_where_the_gradient_is_short_enough_with_either_method() {
    let data = diabetes();
    for method in [Method::Direct, Method::Gram] {
        let settings = LinearRegression::new().iterations(5000).method(method).l2(0.1).tolerance(1e-2);
        let model = settings.fit(&Cpu, &data).unwrap();
        let training = model.training();
        assert_eq!(training.ending, Ending::Tolerance);
        assert!(training.iterations > 10 && training.iterations < 5000, "{}", training.iterations);
        assert_eq!(model.history().len(), training.iterations + 1);
        // One step fewer was not enough, and the same steps without a tolerance are the same model.
        let counted = LinearRegression::new().method(method).l2(0.1);
        let same = counted.clone().iterations(training.iterations).fit(&Cpu, &data).unwrap();
        assert_eq!((same.weights(), same.bias()), (model.weights(), model.bias()));
        let longer = counted.iterations(training.iterations + 1).tolerance(1e-2).fit(&Cpu, &data).unwrap();
        assert_eq!(longer.weights(), model.weights());
    }
}

/// With a penalty and columns of deviation 1 that are uncorrelated, w = r/(1 + λ), by hand.
#[test]
fn the_penalty_shortens_weights_and_leaves_the_bias() {
    let x =
        Table::new(vec!["a".into(), "b".into()], vec![1.0, 1.0, 1.0, -1.0, -1.0, 1.0, -1.0, -1.0]).unwrap();
    let data = Dataset::new(x, "y", vec![10.0, 4.0, 6.0, 0.0]).unwrap(); // 5 + 2a + 3b
    let settings = LinearRegression::new().learning_rate(0.5).scale(Scale::None).l2(0.5);
    let model = settings.fit(&Loop, &data).unwrap();
    assert!(off(model.weights(), &[2.0 / 1.5, 2.0]) < 1e-12 && (model.bias() - 5.0).abs() < 1e-12);
    // ((2 − 4/3)² + 1²)/2 + λ/2 ((4/3)² + 2²)
    let cost = (4.0 / 9.0 + 1.0) / 2.0 + 0.25 * (16.0 / 9.0 + 4.0);
    assert!((model.training().cost - cost).abs() < 1e-12);
}

#[test]
fn a_warm_start_goes_on_where_the_model_was() {
    let data = diabetes();
    let of = |iterations| LinearRegression::new().iterations(iterations);
    let half = of(300).fit(&Loop, &data).unwrap();
    let whole = of(600).fit(&Cpu, &data).unwrap();
    let half_on_cpu = of(300).fit(&Cpu, &data).unwrap();
    let warm = of(300).warm_start(&half_on_cpu).fit(&Cpu, &data).unwrap();
    assert_eq!((warm.weights(), warm.bias()), (whole.weights(), whole.bias()));
    assert_eq!(warm.history()[0], half_on_cpu.training().cost);
    // Weights for other units are the same model: the first cost is the last.
    let unscaled = LinearRegression::new().scale(Scale::None).learning_rate(1e-9).iterations(1);
    let moved = unscaled.warm_start(&half).fit(&Loop, &data).unwrap();
    let (first, last) = (moved.history()[0], half.training().cost);
    assert!((first - last).abs() < 1e-5 * last, "{first}, {last}");
    let other =
        Dataset::new(Table::new(vec!["z".into()], vec![1.0, 2.0]).unwrap(), "y", vec![1.0, 2.0]).unwrap();
    let refused = of(1).warm_start(&half).fit(&Loop, &other).unwrap_err().to_string();
    assert!(refused.contains("warm start needs the same"), "{refused}");
}

#[test]
fn what_is_no_classification_is_refused() {
    let of = |y: Vec<f32>| {
        let x = Table::new(vec!["a".into()], (0..y.len()).map(|i| i as f32).collect()).unwrap();
        Dataset::new(x, "y", y).unwrap()
    };
    let refused =
        |settings: LogisticRegression, data: &Dataset| settings.fit(&Loop, data).unwrap_err().to_string();
    let new = LogisticRegression::new;
    assert!(refused(new(), &of(vec![3.0, 3.0])).contains("nothing to tell apart"));
    let classes = of(vec![0.0, 1.0, 1.0]).with_classes().unwrap();
    let text = LinearRegression::new().fit(&Loop, &classes).unwrap_err().to_string();
    assert!(text.contains("2 classes") && text.contains("train a classifier"), "{text}");
    let model = new().fit(&Loop, &classes).unwrap();
    let text = model.evaluate(&Loop, &of(vec![0.0, 2.0])).unwrap_err().to_string();
    assert!(text.contains("class \"2\"") && text.contains("knows 0, 1"), "{text}");
    let x = Table::new(vec!["a".into()], vec![1.0, 2.0]).unwrap();
    let other = Dataset::new(x, "z", vec![0.0, 1.0]).unwrap();
    assert!(model.score(&Loop, &other).unwrap_err().to_string().contains("predicts \"y\""));
    let yes_no = Dataset::labelled(of(vec![0.0; 3]).features().clone(), "y", &["n", "y", "y"]).unwrap();
    let text = refused(new().warm_start(&model), &yes_no);
    assert!(text.contains("classes 0, 1") && text.contains("n, y"), "{text}");
}

#[test]
fn a_rate_that_is_too_large_for_the_log_loss_is_refused_with_one_that_does() {
    let settings = LogisticRegression::new().scale(Scale::None).iterations(50).learning_rate(1.0);
    let error = settings.clone().fit(&Loop, &breast_cancer()).unwrap_err();
    let tilegrad::Error::Diverged { suggestion: Some(rate), .. } = error else { panic!("{error:?}") };
    let costs = settings.learning_rate(rate).fit(&Loop, &breast_cancer()).unwrap().history().to_vec();
    assert!(costs.windows(2).all(|pair| pair[1] <= pair[0] * (1.0 + 1e-12)), "{rate}");
}
