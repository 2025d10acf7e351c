//! A line through points: linear regression on a file, from reading it to a score on samples it has not seen.
//!
//!     cargo run --release --example 01_linear

use tilegrad::data::Reader;
use tilegrad::engine::Cpu;
use tilegrad::models::LinearRegression;

fn main() -> tilegrad::Result<()> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/diabetes.csv");
    // A fifth of the samples is kept for the test. Which ones is decided by the seed.
    let (train, test) = Reader::new(path).target("progression").read_split(0.2, 0)?;

    // ŷ = Xw + b, by 1000 steps of w := w − 0.1 Xᵀ(ŷ − y)/m, on all cores.
    let model = LinearRegression::new().learning_rate(0.1).iterations(1000).fit(&Cpu, &train)?;

    let costs = model.history();
    println!("the cost went from {:.0} to {:.0}", costs[0], costs[costs.len() - 1]);
    let (weights, bias) = model.raw();
    for (feature, weight) in model.features().iter().zip(&weights) {
        println!("{feature:>5} {weight:9.3}");
    }
    println!(" bias {bias:9.3}");

    let r2 = model.score(&Cpu, &test)?;
    println!("R² on the {} samples of the test: {r2:.3}", test.samples());
    assert!(r2 > 0.3);
    Ok(())
}
