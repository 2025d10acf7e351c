//! One training on every engine, by name; and how to write what runs on all of them.
//!
//!     cargo run --release --example 05_engines

use std::time::Instant;

use tilegrad::data::Dataset;
use tilegrad::engine::{Device, Engine, Job};
use tilegrad::models::LinearRegression;

/// Work for any engine: it is compiled for each, and chosen by the device's name at run time.
struct Train<'a>(&'a Dataset);

impl Job for Train<'_> {
    type Output = Vec<f64>;

    fn run<E: Engine>(self, engine: &E) -> tilegrad::Result<Vec<f64>> {
        // Few steps: the emulator runs each GPU thread, and checks each of its accesses to memory.
        let model = LinearRegression::new().iterations(20).fit(engine, self.0)?;
        Ok(model.weights().to_vec())
    }
}

fn main() -> tilegrad::Result<()> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/diabetes.csv");
    let dataset = Dataset::read_csv(path, "progression", None)?;

    let reference = Device::Loop.run(Train(&dataset))?;
    for device in [Device::Loop, Device::Cpu, Device::Emulator, Device::Cuda(0)] {
        if let Err(reason) = device.check() {
            println!("{device:>9}: {reason}");
            continue;
        }
        let start = Instant::now();
        let weights = device.run(Train(&dataset))?;
        let difference = weights.iter().zip(&reference).map(|(w, r)| (w - r).abs()).fold(0.0, f64::max);
        println!(
            "{device:>9}: {:7.1} ms, weights within {difference:.1e} of the loop's",
            1e3 * start.elapsed().as_secs_f64()
        );
        assert!(difference < 1e-3);
    }
    Ok(())
}
