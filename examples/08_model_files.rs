//! A model file: written here, read here, and by any program that reads safetensors. `09_python.py` reads it in Python.
//!
//!     cargo run --release --example 08_model_files

use tilegrad::data::{Output, Reader};
use tilegrad::engine::Cpu;
use tilegrad::models::{LogisticRegression, Model, Predictions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/breast_cancer.csv");
    let reader = Reader::new(path).target("benign").classes(true);
    let trained = LogisticRegression::new().learning_rate(0.5).fit(&Cpu, &reader.read()?)?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("model.safetensors");
    trained.save(&Output::new(&file)?)?;

    // The file says of which kind the model is, and how the columns of a file become its features.
    let model = Model::load(&file)?;
    println!("{}: {} from {} features", model.kind(), model.target(), model.features().len());
    let samples = Reader::new(path).read_with(model.encoding())?;
    let Predictions::Classes { classes, labels, .. } = model.predict(&Cpu, &samples)? else {
        panic!("logistic regression predicts classes");
    };
    println!("the first sample is of class {:?}", classes[labels[0]]);
    assert_eq!(labels, trained.predict(&Cpu, &samples)?);
    Ok(())
}
