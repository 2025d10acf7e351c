//! Networks on real data: what they reach, and that engines agree.

use std::path::Path;
use std::time::Instant;

use tilegrad::data::{Dataset, Reader};
use tilegrad::engine::Cpu;
use tilegrad::models::MultilayerPerceptron;

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
