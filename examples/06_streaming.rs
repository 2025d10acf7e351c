//! A file larger than memory: read block by block, once, and no block is kept.
//!
//! The cost of a linear model takes no more of the samples than XᵀX, Xᵀy and the sums of the columns. They are added up over
//! the blocks, and descent goes over n + 2 samples that have the same ones.
//!
//!     cargo run --release --example 06_streaming

use tilegrad::data::Reader;
use tilegrad::engine::Cpu;
use tilegrad::models::{LinearRegression, Method};

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
    Ok(())
}
