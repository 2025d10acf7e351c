//! Ten classes: a dense network learns to read digits, by back-propagation on mini-batches.
//!
//!     cargo run --release --example 04_network

use tilegrad::data::Reader;
use tilegrad::engine::{Activation, Cpu};
use tilegrad::models::{EarlyStopping, Layers, MultilayerPerceptron};

fn main() -> tilegrad::Result<()> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/digits.csv");
    let (train, test) = Reader::new(path).target("digit").classes(true).read_split(0.2, 0)?;

    // 8 × 8 grey values, 64 hidden units, and, as the target has ten classes, softmax of ten. Adam is the default.
    let settings = MultilayerPerceptron::new()
        .layers(Layers::new([(64, Activation::Relu)]))
        .learning_rate(2e-3)
        .batch_size(32)
        .epochs(60)
        // Of the training samples a tenth is kept out, and the weights are those that did best on them.
        .early_stopping(EarlyStopping { validation_share: 0.1, patience: 10 });
    let model = settings.fit(&Cpu, &train)?;

    let accuracy = model.score(&Cpu, &test)?;
    println!("{} after {} epochs", model.layers(), model.training().iterations);
    println!("accuracy on the {} samples of the test: {accuracy:.3}", test.samples());
    assert!(accuracy > 0.9);
    Ok(())
}
