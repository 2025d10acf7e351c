//! Two classes: logistic regression, and what there is to know of a classifier besides its accuracy.
//!
//!     cargo run --release --example 03_logistic

use tilegrad::data::Reader;
use tilegrad::engine::Cpu;
use tilegrad::models::LogisticRegression;

fn main() -> tilegrad::Result<()> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/breast_cancer.csv");
    let (train, test) = Reader::new(path).target("benign").classes(true).read_split(0.2, 0)?;

    let model = LogisticRegression::new().learning_rate(0.5).iterations(1000).l2(1e-3).fit(&Cpu, &train)?;

    let metrics = model.evaluate(&Cpu, &test)?;
    println!("on the {} samples of the test:", test.samples());
    println!(
        "  accuracy {:.3}, log loss {:.3}, area under the curve {:.3}",
        metrics.accuracy,
        metrics.log_loss,
        metrics.auc.unwrap_or(f64::NAN)
    );
    println!("  of each class (row), how many were taken for each (column): {:?}", metrics.confusion);
    let probabilities = model.probabilities(&Cpu, test.features())?;
    println!(
        "  the first sample is of class {:?} with probability {:.3}",
        model.classes()[1],
        probabilities[1]
    );
    assert!(metrics.accuracy > 0.9);
    Ok(())
}
