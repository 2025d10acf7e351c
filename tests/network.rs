//! Networks on real data: what they reach, and that engines agree.

use std::path::Path;
use std::time::Instant;

use tilegrad::data::{Dataset, Reader, Table};
use tilegrad::engine::{Cpu, Emulator, Engine, Loop};
use tilegrad::models::{DenseLayer, LinearRegression, MultilayerPerceptron, Optimiser};

fn file(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn digits() -> (Dataset, Dataset) {
    Reader::new(file("digits.csv")).target("digit").classes(true).read_split(0.2, 0).unwrap()
}

fn digits_network() -> MultilayerPerceptron {
    MultilayerPerceptron::new().layers("64:relu,10:softmax".parse().unwrap())
}

/// With the default settings and seed 0; the time is reported, as it is that of the machine.
#[test]
fn digits_are_told_apart() {
    let (train, test) = digits();
    let start = Instant::now();
    let model = digits_network().fit(&Cpu, &train).unwrap();
    let seconds = start.elapsed().as_secs_f64();
    let (training, accuracy) = (model.score(&Cpu, &train).unwrap(), model.score(&Cpu, &test).unwrap());
    println!(
        "accuracy {training:.4} (training), {accuracy:.4} (test), cost {:.2e}, in {seconds:.2} s",
        model.training().cost
    );
    assert!(accuracy >= 0.96, "{accuracy}");
}

/// The first 20 steps, of 32 samples each.
const STEPS: usize = 20;

/// The first samples of the digits, as many as there are in these steps.
fn first_digits() -> Dataset {
    let (train, _) = digits();
    let (names, samples) = (train.features().columns().to_vec(), 32 * STEPS);
    let features = Table::new(names, train.features().values()[..64 * samples].to_vec()).unwrap();
    Dataset::new(features, "digit", train.y()[..samples].to_vec()).unwrap().with_classes().unwrap()
}

/// The numbers of all layers, and the costs.
fn after_20_steps<E: Engine>(engine: &E, settings: &MultilayerPerceptron, data: &Dataset) -> [Vec<f64>; 2] {
    let model = settings.fit(engine, data).unwrap();
    let numbers = |layer: &DenseLayer| [layer.weights(), layer.bias()].concat();
    let all = model.dense_layers().iter().flat_map(numbers).map(f64::from).collect();
    [all, model.history().to_vec()]
}

fn length(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|value| value * value).sum::<f64>().sqrt()
}

/// Every engine against the loop in `f64`.
///
/// From X to an element of a step some 250 roundings follow each other: 2 of the scaling, 65 and 65 of the layers' sums, about
/// 10 of softmax, 10 and 64 on the way back, 33 of the gradient's sum, a few of the update. Each is at most u = 2⁻²⁴ of
/// what is added up, and that is a few times as long as its sum; a step carries on what the steps before were off by. So after
/// 20 steps the numbers are off by a few times 20 · 250 · u = 3·10⁻⁴ of how far they went, at most; rounding is as often up
/// as down, and what is seen is a hundredth of that.
///
/// Adam divides a gradient by its own length, so an element which is all rounding errors moves as far as others do, in any
/// direction; but there are few, and together (by their Euclidean length) the same bound holds.
fn agrees_with_the_loop<E: Engine>(engine: &E) {
    const BOUND: f64 = 3e-4;
    let data = first_digits();
    for optimiser in [Optimiser::Descent, Optimiser::momentum(), Optimiser::adam()] {
        let settings =
            digits_network().epochs(1).optimiser(optimiser).l2(1e-3).learning_rate(match optimiser {
                Optimiser::Descent => 0.1,
                Optimiser::Momentum { .. } => 0.02,
                Optimiser::Adam { .. } => 1e-3,
            });
        let before = after_20_steps(&Loop, &settings.clone().learning_rate(1e-30), &data);
        let [loops, ours] =
            [after_20_steps(&Loop, &settings, &data), after_20_steps(engine, &settings, &data)];
        let apart = |one: &[f64], other: &[f64]| length(one.iter().zip(other).map(|(a, b)| a - b));
        let (moved, off) = (apart(&before[0], &loops[0]), apart(&ours[0], &loops[0]));
        println!(
            "{}, {optimiser}: {:.1e} of the way, costs {:?}",
            engine.description(),
            off / moved,
            ours[1]
        );
        assert!(off <= BOUND * moved, "{optimiser}: {off:e} off after {moved:e}");
        assert!(loops[1][1] < 0.9 * before[1][1], "{optimiser}: 20 steps lower the cost");
        for (ours, loops) in ours[1].iter().zip(&loops[1]) {
            assert!((ours - loops).abs() <= BOUND * loops, "{optimiser}: cost {ours}, on the loop {loops}");
        }
    }
}

#[test]
fn twenty_steps_on_the_cpu_are_those_of_the_loop() {
    agrees_with_the_loop(&Cpu);
}

#[test]
fn twenty_steps_on_the_emulator_are_those_of_the_loop() {
    agrees_with_the_loop(&Emulator::new());
}

/// Against linear and logistic regression on real data: more layers are no worse.
#[test]
fn regression_and_two_classes_on_real_data() {
    let diabetes = Reader::new(file("diabetes.csv")).target("progression");
    let (train, test) = diabetes.read_split(0.2, 0).unwrap();
    let settings =
        MultilayerPerceptron::new().layers("16:relu,1:identity".parse().unwrap()).epochs(150).l2(0.01);
    let (network, test_share) = (settings.fit(&Cpu, &train).unwrap(), &test);
    let linear = LinearRegression::new().fit(&Cpu, &train).unwrap();
    let [ours, theirs] = [network.score(&Cpu, test_share).unwrap(), linear.score(&Cpu, test_share).unwrap()];
    println!("diabetes: R² {ours:.3}, linear {theirs:.3}");
    assert!(ours > theirs - 0.1);
    let cancer = Reader::new(file("breast_cancer.csv")).target("benign").classes(true);
    let (train, test) = cancer.read_split(0.2, 0).unwrap();
    let settings = MultilayerPerceptron::new().layers("16:relu,1:sigmoid".parse().unwrap()).epochs(40);
    let accuracy = settings.fit(&Cpu, &train).unwrap().score(&Cpu, &test).unwrap();
    println!("breast cancer: accuracy {accuracy:.3}");
    assert!(accuracy >= 0.94);
}
