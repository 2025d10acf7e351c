//! Training that may be killed at any moment: it goes on from its last checkpoint, to the same bits.
//!
//!     cargo run --release --example 07_checkpoints

use tilegrad::data::{Dataset, Output};
use tilegrad::engine::Cpu;
use tilegrad::models::{Checkpoint, Checkpoints, LinearRegression};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/diabetes.csv");
    let dataset = Dataset::read_csv(path, "progression", None)?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("diabetes.checkpoint");

    // 600 iterations, and the process ends.
    let first = LinearRegression::new().iterations(600);
    let begun = Checkpoints::begin(Output::new(&file)?)?.every(250);
    first.fit_resumable(&Cpu, &dataset, begun, |_| ())?;
    println!("the checkpoint is of iteration {}", Checkpoint::load(&file)?.iteration());

    // Another process goes on, to 1000.
    let all = LinearRegression::new().iterations(1000);
    let resumed = all.fit_resumable(&Cpu, &dataset, Checkpoints::resume(Output::new(&file)?)?, |_| ())?;

    assert_eq!(resumed, all.fit(&Cpu, &dataset)?);
    println!("resumed, and trained at one go: the same model, bit for bit");
    Ok(())
}
