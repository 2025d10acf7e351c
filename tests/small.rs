//! The engines on a few numbers, little enough for Miri, which looks for undefined behaviour where they do without the
//! compiler's checks: memory that begins at a cache line, products, launches, the calls of CUDA's driver.
//!
//! ```sh
//! MIRIFLAGS="-Zmiri-permissive-provenance -Zmiri-tree-borrows -Zmiri-ignore-leaks" \
//!     cargo +nightly miri test --test small
//! ```
//!
//! Rayon's pool asks for the second and third flag, the emulator for the first. Under Miri the driver is the simulated
//! one, linked; otherwise tests/cuda.rs loads it, and the test here is left out.

use tilegrad::Result;
use tilegrad::data::{Dataset, Table};
use tilegrad::engine::{Activation, Cpu, Emulator, Engine, Layout, Loop, Loss, Precision, Samples};
use tilegrad::models::LinearRegression;

#[cfg(miri)]
extern crate simulated_driver;

/// The bits of what one step and a prediction give.
fn train<E: Engine>(engine: &E) -> Result<Vec<f64>> {
    let features = Table::new(vec!["a".to_owned()], vec![1.0, 2.0, 6.0])?;
    let dataset = Dataset::new(features, "y", vec![3.0, 5.0, 4.0])?;
    let model = LinearRegression::new().iterations(1).fit(engine, &dataset)?;
    let predictions = model.predict(engine, dataset.features())?;
    Ok([model.weights(), &[model.bias()], model.history(), &predictions].concat())
}

fn near(got: &[f64], expected: &[f64]) {
    assert_eq!(got.len(), expected.len());
    for (got, expected) in got.iter().zip(expected) {
        assert!((got - expected).abs() <= 1e-5 * expected.abs(), "{got} is not near {expected}");
    }
}

/// Rows of more than a vector and less than two, so that there are groups of rows, single ones, and tails.
#[test]
fn every_operation_of_the_cpu_engine() {
    fn all<E: Engine>(engine: &E) -> Result<Vec<f64>> {
        let (rows, columns) = (5, 19);
        let values: Vec<f32> = (0..rows * columns).map(|i| ((i * 7 + i / 5) % 13) as f32 - 6.0).collect();
        let x = engine.upload(rows, columns, &values)?;
        let y = engine.upload(rows, 1, &[0.0, 1.0, 1.0, 0.25, 0.0])?;
        let scaling = engine.scaling(&engine.column_moments(&x)?)?;
        let mut weights = engine.upload(columns, 1, &values[2..][..columns])?;
        let mut bias = engine.upload(1, 1, &[0.5])?;
        let mut results = Vec::new();
        for scaling in [None, Some(&scaling)] {
            results.extend(engine.read(&engine.matrix_vector(&x, scaling, &weights, &bias)?)?);
            results.extend(engine.read(&engine.gradient(&x, scaling, &y)?)?);
            for loss in [Loss::SquaredError, Loss::LogLoss] {
                let samples = Samples { x: &x, scaling, y: &y };
                results.extend(engine.descend(loss, &samples, &mut weights, &mut bias, 1e-3, 1)?.costs);
                results.extend(engine.read(&weights)?);
                results.push(engine.cost(loss, &samples, &weights, &bias)?);
            }
        }
        let units = engine.upload(columns, 2, &values[..2 * columns])?;
        results.extend(engine.read(&engine.matmul(
            &x,
            Layout::Plain,
            &units,
            Layout::Plain,
            Precision::Fp32,
        )?)?);
        results.extend(engine.read(&engine.matmul(
            &units,
            Layout::Transposed,
            &x,
            Layout::Transposed,
            Precision::Fp32,
        )?)?);
        let shift = engine.upload(1, 2, &[0.25, -0.25])?;
        for activation in [Activation::Identity, Activation::Relu, Activation::Sigmoid] {
            let layer = engine.read(&engine.dense(&x, &units, &shift, activation, Precision::Fp32)?)?;
            results.extend(layer.iter().filter(|value| value.abs() > 1e-3));
        }
        Ok(results)
    }
    near(&all(&Cpu).unwrap(), &all(&Loop).unwrap());
}

#[test]
fn training_on_the_cpu() {
    near(&train(&Cpu).unwrap(), &train(&Loop).unwrap());
}

#[test]
#[cfg_attr(miri, ignore = "takes Miri many minutes, with its launches of 256 threads")]
fn training_on_the_emulator() {
    near(&train(&Emulator::new()).unwrap(), &train(&Loop).unwrap());
}

/// No launch: Miri takes minutes to find a kernel in the PTX.
#[cfg(miri)]
#[test]
fn memory_through_the_driver() {
    use tilegrad::engine::Cuda;

    let engine = Cuda::open(0).unwrap();
    let a = engine.upload(2, 3, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
    assert_eq!(engine.read(&a).unwrap(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    engine.synchronize().unwrap();
    drop((a, engine));
    assert!(Cuda::open(1).is_err());
}
