//! Models on real data, on every engine that runs on a CPU. References are those of `tests/data/reference.py`, in 64 bits.

#[path = "models/streaming.rs"]
mod streaming;

use serde_json::Value;
use tilegrad::data::{Dataset, Output, Table};
use tilegrad::engine::{Cpu, Emulator, Engine, Loop, Loss, Objective, Samples};
use tilegrad::models::{
    Checkpoints, EarlyStopping, Ending, FittedLogistic, LinearRegression, LogisticRegression, Method, Model,
    Optimiser, Scale, Solver,
};

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

fn normal() -> LinearRegression {
    LinearRegression::new().solver(Solver::Normal)
}

fn newton() -> LogisticRegression {
    LogisticRegression::new().solver(Solver::Newton)
}

/// The condition of the correlations is some 500, and sums are in 64 bits; what is left is that the file's numbers are
/// rounded to 32 bits, u = 6·10⁻⁸ of each: 3·10⁻⁵ at most.
#[test]
fn the_normal_equations_give_least_squares() {
    let (data, reference) = (diabetes(), reference("diabetes_linear")["least_squares"].take());
    let (expected, bias) = (numbers(&reference["weights"]), reference["bias"].as_f64().unwrap());
    for scale in [Scale::ZScore, Scale::None] {
        let model = normal().scale(scale).fit(&Cpu, &data).unwrap();
        let (weights, ours) = model.raw();
        let relative = weights.iter().zip(&expected).map(|(a, b)| (a / b - 1.0).abs()).fold(0.0, f64::max);
        assert!(relative < 1e-4 && (ours / bias - 1.0).abs() < 1e-4, "{weights:?}, {ours}");
        assert_eq!((model.training().ending, model.training().iterations), (Ending::Cholesky, 0));
        assert!((model.score(&Loop, &data).unwrap() - reference["r2"].as_f64().unwrap()).abs() < 1e-6);
        let y = data.y().iter().map(|&y| f64::from(y));
        let errors =
            model.predict(&Loop, data.features()).unwrap().into_iter().zip(y).map(|(p, y)| (p - y).powi(2));
        let cost = errors.sum::<f64>() / (2 * data.samples()) as f64;
        assert!((model.training().cost / cost - 1.0).abs() < 1e-6);
    }
}

#[test]
fn the_normal_equations_of_blocks_are_those_of_all_samples() {
    let data = diabetes();
    let n = data.features().columns().len();
    let blocks = data.features().values().chunks(100 * n).zip(data.y().chunks(100)).map(|(x, y)| {
        let table = Table::new(data.features().columns().to_vec(), x.to_vec())?;
        Dataset::new(table, data.target(), y.to_vec())
    });
    let whole = normal().fit(&Loop, &data).unwrap();
    assert_eq!(normal().fit_blocks(&Loop, blocks).unwrap().weights(), whole.weights());
}

/// Twice a, a + b, and a constant, beside a and b.
fn collinear() -> Dataset {
    let columns = ["a", "b", "twice a", "a + b", "c"].map(str::to_owned).to_vec();
    let (a, b) = (random(60, 1), random(60, 2));
    // Sums of multiples of 2⁻¹⁰ are exact.
    let round = |value: f32| (value * 1024.0).round() / 1024.0;
    let rows = a.iter().zip(&b).map(|(a, b)| (round(*a), round(*b)));
    let x = rows.clone().flat_map(|(a, b)| [a, b, 2.0 * a, a + b, 7.0]).collect();
    let y = rows.zip(random(60, 3)).map(|((a, b), noise)| 3.0 * a - b + 2.0 + 0.1 * noise).collect();
    Dataset::new(Table::new(columns, x).unwrap(), "y", y).unwrap()
}

#[test]
fn dependent_columns_go_to_qr_and_have_the_shortest_weights() {
    let data = collinear();
    let model = normal().fit(&Loop, &data).unwrap();
    assert_eq!(model.training().ending, Ending::Qr { rank: 2 });
    assert_eq!(model.weights()[4], 0.0);
    assert!(
        (model.weights()[0] - model.weights()[2]).abs() < 1e-9,
        "one column twice: {:?}",
        model.weights()
    );
    // Descent from 0 stays among the combinations of samples, and so goes to the shortest weights too.
    let descent = LinearRegression::new().learning_rate(0.3).iterations(20_000).fit(&Loop, &data).unwrap();
    assert!(off(model.weights(), descent.weights()) < 1e-6, "{:?} {:?}", model.weights(), descent.weights());
    assert!((model.training().cost - descent.training().cost).abs() < 1e-9);
    let refused = normal().fit_blocks(&Loop, [Ok(data.clone())]).unwrap_err().to_string();
    assert!(refused.contains("depend on each other") && refused.contains("L2"), "{refused}");
    let ridge = normal().l2(0.01).fit_blocks(&Loop, [Ok(data)]).unwrap();
    assert_eq!(ridge.training().ending, Ending::Cholesky);
}

#[test]
fn a_penalty_has_the_same_minimum_by_the_normal_equations_and_by_descent() {
    let x = Table::new(vec!["a".into(), "b".into()], random(80, 11)).unwrap();
    let two = Dataset::new(x, "y", random(40, 12)).unwrap();
    for (data, scale, l2) in
        [(collinear(), Scale::ZScore, 0.05), (collinear(), Scale::ZScore, 1e-9), (two, Scale::None, 0.05)]
    {
        let solved = normal().l2(l2).scale(scale).fit(&Loop, &data).unwrap();
        let steps = LinearRegression::new().l2(l2).scale(scale).learning_rate(0.2).iterations(20_000);
        let descended = steps.fit(&Loop, &data).unwrap();
        let difference = off(solved.weights(), descended.weights());
        assert!(difference < 1e-5, "{scale}, {l2}: {difference}");
        assert!((solved.training().cost - descended.training().cost).abs() < 1e-9);
    }
}

/// The length of J's gradient at a model of two classes, by the loop.
fn gradient_norm(model: &FittedLogistic, data: &Dataset, l2: f64) -> f64 {
    let (m, n) = (data.samples(), model.weights().len());
    let x = Loop.upload(m, n, data.features().values()).unwrap();
    let y = Loop.upload(m, 1, data.y()).unwrap();
    let scaling = model.scaler().on(&Loop).unwrap();
    let (mut weights, mut bias) =
        (Loop.restore(n, 1, model.weights()).unwrap(), Loop.restore(1, 1, model.bias()).unwrap());
    let over = Samples { x: &x, scaling: scaling.as_ref(), y: &y };
    let objective = Objective { loss: Loss::LogLoss, l2 };
    Loop.descend(objective, &over, &mut weights, &mut bias, 1.0, 1).unwrap().gradient_norms[0]
}

/// Two classes that overlap.
fn overlapping() -> Dataset {
    let (x, noise) = (random(200, 4), random(100, 5));
    let y =
        x.chunks(2).zip(&noise).map(|(x, noise)| f32::from(x[0] - 0.5 * x[1] + 0.7 * noise > 0.0)).collect();
    Dataset::new(Table::new(vec!["a".into(), "b".into()], x).unwrap(), "y", y).unwrap()
}

#[test]
fn newton_ends_where_the_gradient_is_0() {
    for (data, l2) in [(breast_cancer(), 1e-3), (overlapping(), 0.0), (overlapping(), 0.1)] {
        let model = newton().l2(l2).fit(&Cpu, &data).unwrap();
        let training = model.training();
        assert_eq!(training.ending, Ending::Converged);
        assert!(training.iterations < 20 && model.history().len() == training.iterations + 1);
        assert!(model.history().windows(2).all(|pair| pair[1] <= pair[0]), "{:?}", model.history());
        let norm = gradient_norm(&model, &data, l2);
        assert!(norm < 1e-9, "{norm}");
    }
    let early = newton().tolerance(1e-3).fit(&Cpu, &overlapping()).unwrap();
    assert_eq!(early.training().ending, Ending::Tolerance);
    assert!(gradient_norm(&early, &overlapping(), 0.0) <= 1e-3);
    let warm =
        newton().warm_start(&newton().fit(&Cpu, &overlapping()).unwrap()).fit(&Cpu, &overlapping()).unwrap();
    assert!(warm.training().iterations <= 1);
}

#[test]
fn newton_refuses_what_has_no_single_minimum_with_the_remedy() {
    let of = |x: &[f32], y: &[f32]| {
        let columns = (0..x.len() / y.len()).map(|j| format!("x{j}")).collect();
        Dataset::new(Table::new(columns, x.to_vec()).unwrap(), "y", y.to_vec()).unwrap()
    };
    let told_apart = of(&[1.0, 2.0, 3.0, 4.0], &[0.0, 0.0, 1.0, 1.0]);
    let all_but_two = of(&[1.0, 2.0, 2.0, 3.0], &[0.0, 0.0, 1.0, 1.0]);
    let three = of(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[0.0, 0.0, 1.0, 1.0, 2.0, 2.0]);
    let twice = of(&[1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 4.0, 4.0], &[0.0, 1.0, 0.0, 1.0]);
    let apart = "tell the classes of \"y\" apart";
    let none = "no single minimum";
    for (data, words) in [
        (&told_apart, apart),
        (&all_but_two, none),
        (&three, apart),
        (&breast_cancer(), apart),
        (&twice, none),
    ] {
        let refused = newton().fit(&Loop, data).unwrap_err().to_string();
        assert!(refused.contains(words) || data.target() == "benign", "{refused}");
        assert!(refused.contains("set an L2 penalty"), "{refused}");
        assert_eq!(newton().l2(0.01).fit(&Loop, data).unwrap().training().ending, Ending::Converged);
    }
}

/// Three classes that overlap.
fn three_classes() -> Dataset {
    let (x, noise) = (random(300, 8), random(150, 9));
    let y = x
        .chunks(2)
        .zip(&noise)
        .map(|(x, noise)| (1.5 * (1.0 + x[0] + 0.6 * noise)).floor().clamp(0.0, 2.0))
        .collect();
    Dataset::new(Table::new(vec!["a".into(), "b".into()], x).unwrap(), "y", y)
        .unwrap()
        .with_classes()
        .unwrap()
}

/// J of three classes, as its formula is written.
fn softmax_cost(data: &Dataset, model: &FittedLogistic, weights: &[f64], bias: &[f64], l2: f64) -> f64 {
    let n = data.features().columns().len();
    let k = bias.len();
    let (mean, deviation) = (model.scaler().mean(), model.scaler().standard_deviation());
    let mut sum = 0.0;
    for (x, &y) in data.features().values().chunks(n).zip(data.y()) {
        let z = |class: usize| {
            (0..n).map(|j| (f64::from(x[j]) - mean[j]) / deviation[j] * weights[j * k + class]).sum::<f64>()
                + bias[class]
        };
        sum += (0..k).map(|class| z(class).exp()).sum::<f64>().ln() - z(y as usize);
    }
    sum / data.samples() as f64 + l2 / 2.0 * weights.iter().map(|w| w * w).sum::<f64>()
}

/// Central differences at h = 10⁻⁵ are right to 10⁻¹⁰, as above.
#[test]
fn softmax_by_newton_has_no_slope_left_and_descent_goes_there_too() {
    const H: f64 = 1e-5;
    let data = three_classes();
    for l2 in [0.0, 0.02] {
        let model = newton().l2(l2).fit(&Loop, &data).unwrap();
        assert_eq!((model.training().ending, model.weights().len()), (Ending::Converged, 6));
        let (weights, bias) = (model.weights(), model.bias());
        let at_end = softmax_cost(&data, &model, weights, bias, l2);
        assert!((at_end - model.training().cost).abs() < 1e-12);
        for at in 0..weights.len() + bias.len() {
            let cost = |h: f64| {
                let (mut weights, mut bias) = (weights.to_vec(), bias.to_vec());
                match at < weights.len() {
                    true => weights[at] += h,
                    false => bias[at - 6] += h,
                }
                softmax_cost(&data, &model, &weights, &bias, l2)
            };
            let slope = (cost(H) - cost(-H)) / (2.0 * H);
            assert!(slope.abs() < 1e-8, "{l2}, {at}: {slope}");
        }
        let descent =
            LogisticRegression::new().l2(l2).learning_rate(1.0).iterations(3000).fit(&Loop, &data).unwrap();
        assert!(off(weights, descent.weights()) < 1e-4 && off(bias, descent.bias()) < 1e-4);
        let momentum = LogisticRegression::new().l2(l2).optimiser(Optimiser::momentum()).iterations(1000);
        assert!(off(weights, momentum.fit(&Cpu, &data).unwrap().weights()) < 1e-3);
        let read = FittedLogistic::from_bytes(&model.to_bytes().unwrap()).unwrap();
        let probabilities = read.probabilities(&Cpu, data.features()).unwrap();
        assert_eq!(probabilities, model.probabilities(&Cpu, data.features()).unwrap());
        assert!(probabilities.chunks(3).all(|p| (p.iter().sum::<f64>() - 1.0).abs() < 1e-12));
    }
}

#[test]
fn digits_are_told_apart_by_softmax_regression() {
    let digits = Dataset::read_csv(data("digits.csv"), "digit", None).unwrap();
    let (train, test) = digits.with_classes().unwrap().split(0.2, 0).unwrap();
    let settings = LogisticRegression::new().learning_rate(0.01).epochs(20).batch_size(32);
    let model = settings.optimiser(Optimiser::adam()).fit(&Cpu, &train).unwrap();
    let accuracy = model.score(&Cpu, &test).unwrap();
    assert!(accuracy > 0.94, "{accuracy}");
    assert_eq!(model.evaluate(&Cpu, &test).unwrap().confusion.len(), 10);
}

#[test]
fn linear_regression_by_mini_batches_momentum_and_adam_is_near_least_squares() {
    let data = diabetes();
    let r2 = normal().fit(&Cpu, &data).unwrap().score(&Cpu, &data).unwrap();
    for (optimiser, rate) in
        [(Optimiser::Descent, 0.01), (Optimiser::momentum(), 0.001), (Optimiser::adam(), 1.0)]
    {
        let settings =
            LinearRegression::new().optimiser(optimiser).learning_rate(rate).epochs(200).batch_size(64);
        let score = settings.fit(&Cpu, &data).unwrap().score(&Cpu, &data).unwrap();
        assert!(score > r2 - 0.02 && score <= r2 + 1e-9, "{optimiser}: {score}, {r2}");
    }
    let stopping = EarlyStopping { validation_share: 0.2, patience: 3 };
    let settings = LinearRegression::new().learning_rate(0.05).batch_size(16).early_stopping(stopping);
    let model = settings.fit(&Cpu, &data).unwrap();
    assert_eq!(model.training().ending, Ending::Patience);
    assert_eq!(model.validation_history().len(), model.training().iterations);
}

#[test]
fn settings_that_do_not_go_together_are_refused() {
    let (data, classes) = (diabetes(), overlapping());
    let linear = |settings: LinearRegression| settings.fit(&Loop, &data).unwrap_err().to_string();
    let logistic = |settings: LogisticRegression| settings.fit(&Loop, &classes).unwrap_err().to_string();
    let new = LinearRegression::new;
    assert!(linear(new().solver(Solver::Newton)).contains("newton is for logistic"));
    assert!(linear(new().method(Method::Gram).batch_size(8)).contains("method gram"));
    assert!(linear(normal().method(Method::Gram)).contains("method gram"));
    assert!(logistic(LogisticRegression::new().solver(Solver::Normal)).contains("normal is for linear"));
    let blocks = new().batch_size(8).fit_blocks(&Loop, [Ok(data.clone())]).unwrap_err().to_string();
    assert!(blocks.contains("blocks are not kept"), "{blocks}");
    let folder = tempfile::tempdir().unwrap();
    let output = Output::new(folder.path().join("checkpoint")).unwrap();
    let kept = normal().fit_resumable(&Loop, &data, Checkpoints::begin(output).unwrap(), |_| ());
    assert!(kept.unwrap_err().to_string().contains("no steps to go on from"));
}
