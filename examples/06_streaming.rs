//! A file larger than memory: read block by block, and no block is kept.
//!
//! The cost of a linear model takes no more of the samples than XᵀX, Xᵀy and the sums of the columns. They are added up over
//! the blocks, in one pass, and descent goes over n + 2 samples that have the same ones. Other models are trained in
//! mini-batches: with a pass for each epoch, and samples shuffled within each block.
//!
//!     cargo run --release --example 06_streaming

use tilegrad::data::Reader;
use tilegrad::engine::Cpu;
use tilegrad::models::{LinearRegression, LogisticRegression, Method};

fn main() -> tilegrad::Result<()> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/diabetes.csv");
    let reader = Reader::new(path).target("progression");

    let streamed = LinearRegression::new().fit_blocks(&Cpu, &reader.blocks(100)?)?;
    let whole = LinearRegression::new().method(Method::Gram).fit(&Cpu, &reader.read()?)?;

    println!(
        "{} samples, in blocks of 100: cost {:.3}",
        streamed.training().samples,
        streamed.training().cost
    );
    // How the samples are cut into blocks changes no bit.
    assert_eq!(streamed.weights(), whole.weights());
    println!("the same weights, bit for bit, as with all samples in memory");

    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/breast_cancer.csv");
    let reader = Reader::new(path).target("benign").classes(true);
    let settings = LogisticRegression::new().batch_size(32).epochs(10).shuffle_buffer(128);

    let streamed = settings.fit_stream(&Cpu, &reader.blocks(128)?)?;
    let dataset = reader.read()?;
    println!(
        "{} samples, in mini-batches of 32: accuracy {:.3}",
        dataset.samples(),
        streamed.score(&Cpu, &dataset)?
    );
    // Shuffled within the same stretches, training in memory takes the same steps.
    assert_eq!(streamed, settings.fit(&Cpu, &dataset)?);
    println!("the same model, bit for bit, as with all samples in memory");
    Ok(())
}
