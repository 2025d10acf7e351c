//! Why features are scaled: descent on the same data, as it is and in standard deviations.
//!
//! The cost of features with different units is a long valley. A step short enough for its steep sides is much too short
//! along it. Scaled, it is nearly round. `tilegrad contours` draws it.
//!
//!     cargo run --release --example 02_scaling

use tilegrad::Error;
use tilegrad::data::Dataset;
use tilegrad::engine::Cpu;
use tilegrad::models::{LinearRegression, Scale};

fn main() -> tilegrad::Result<()> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/diabetes.csv");
    let features = ["bmi", "bp"].map(String::from);
    let dataset = Dataset::read_csv(path, "progression", Some(&features))?;

    let scaled = LinearRegression::new().learning_rate(0.1).iterations(200).fit(&Cpu, &dataset)?;

    // The rate that did for scaled features is far too large for these; the error says which one would do.
    let as_it_is = LinearRegression::new().scale(Scale::None).iterations(200);
    let Err(Error::Diverged { suggestion: Some(rate), .. }) =
        as_it_is.clone().learning_rate(0.1).fit(&Cpu, &dataset)
    else {
        panic!("descent on features of about 26 and 95 diverges at a rate of 0.1");
    };
    let unscaled = as_it_is.learning_rate(rate).fit(&Cpu, &dataset)?;

    println!("iteration   cost, scaled (rate 0.1)   cost, not scaled (rate {rate:.1e})");
    for iteration in [0, 1, 10, 50, 100, 200] {
        println!(
            "{iteration:9}   {:23.1}   {:.1}",
            scaled.history()[iteration],
            unscaled.history()[iteration]
        );
    }
    assert!(scaled.history()[200] < unscaled.history()[200]);
    Ok(())
}
