//! The cpu engine, and at small sizes the reference loops beside it: `cargo bench`, or `cargo bench -- descent`.
//!
//! Throughput of a descent step is that of reading X once; of products, a multiplication and an addition count as
//! two operations. Data are random, never zeros. Where there is an OpenBLAS, the same operations by it; at the end a table
//! with the ratios to it and to the machine's limits. How results are kept: benches/results/README.md.

mod openblas;
mod summary;

use std::hint::black_box;
use std::time::SystemTime;

use criterion::{BenchmarkId, Criterion, Throughput};
use openblas::OpenBlas;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use tilegrad::Result;
use tilegrad::data::{Dataset, Table};
use tilegrad::engine::{Activation, Cpu, Engine, Layout, Loop, Loss, Moments, Precision, Samples};
use tilegrad::models::{LinearRegression, Method};

/// Samples × features of a descent step.
const DESCENT: [(usize, usize); 4] = [(100_000, 1000), (1_000_000, 20), (10_000, 100), (442, 10)];

/// Samples × features of a whole training.
const FIT: (usize, usize) = (100_000, 1000);

/// Iterations of a whole training: what a step takes is a difference, what comes before it the rest.
const ITERATIONS: [(Method, [usize; 2]); 2] = [(Method::Direct, [1, 101]), (Method::Gram, [1, 10_001])];

/// Rows, columns and inner side of a product; batch, units and inputs of a dense layer.
const PRODUCTS: [(usize, usize, usize); 4] =
    [(64, 1000, 1000), (1024, 1024, 1024), (2048, 2048, 2048), (128, 128, 128)];

/// Products, and layers with their activation.
const MULTIPLYING: [(&str, Option<Activation>); 3] =
    [("matmul", None), ("dense", Some(Activation::Identity)), ("dense_sigmoid", Some(Activation::Sigmoid))];

/// Elements of X, and terms of a product, up to which the loops take part.
const LOOP_MOST: usize = 3_000_000;

/// `length` numbers from −1 to 1.
fn random(random: &mut ChaCha8Rng, length: usize) -> Vec<f32> {
    (0..length).map(|_| (random.next_u32() >> 8) as f32 / (1 << 23) as f32 - 1.0).collect()
}

fn descent_step<E: Engine>(
    criterion: &mut Criterion,
    name: &str,
    engine: &E,
    (m, n): (usize, usize),
) -> Result<()> {
    let mut numbers = ChaCha8Rng::seed_from_u64(1);
    let x = engine.upload(m, n, &random(&mut numbers, m * n))?;
    let labels: Vec<f32> = random(&mut numbers, m).iter().map(|number| number.abs()).collect();
    let y = engine.upload(m, 1, &labels)?;
    let mut weights = engine.upload(n, 1, &random(&mut numbers, n))?;
    let mut bias = engine.upload(1, 1, &random(&mut numbers, 1))?;
    let moments = Moments { mean: vec![0.125; n], standard_deviation: vec![0.75; n] };
    let scaling = engine.scaling(&moments)?;
    let mut group = criterion.benchmark_group("descent_step");
    group.throughput(Throughput::Bytes((size_of::<f32>() * m * n) as u64)).sample_size(20);
    for (kind, loss, scaling) in [
        ("", Loss::SquaredError, None),
        (", scaled", Loss::SquaredError, Some(&scaling)),
        (", scaled, log loss", Loss::LogLoss, Some(&scaling)),
    ] {
        let samples = Samples { x: &x, scaling, y: &y };
        engine.descend(loss, &samples, &mut weights, &mut bias, 1e-3, 1)?;
        group.bench_function(BenchmarkId::new(name, format!("{m}x{n}{kind}")), |bencher| {
            bencher.iter(|| black_box(engine.descend(loss, &samples, &mut weights, &mut bias, 1e-3, 1)));
        });
    }
    group.finish();

    let mut group = criterion.benchmark_group("column_moments");
    group.throughput(Throughput::Bytes((size_of::<f32>() * m * n) as u64)).sample_size(20);
    group.bench_function(BenchmarkId::new(name, format!("{m}x{n}")), |bencher| {
        bencher.iter(|| black_box(engine.column_moments(&x)));
    });
    group.finish();
    Ok(())
}

/// Training over all samples, and over few that are made of them.
fn fit(criterion: &mut Criterion) -> Result<()> {
    let (m, n) = FIT;
    let mut numbers = ChaCha8Rng::seed_from_u64(3);
    let names = (0..n).map(|j| format!("x{j}")).collect();
    let table = Table::new(names, random(&mut numbers, m * n))?;
    let dataset = Dataset::new(table, "y", random(&mut numbers, m))?;
    let mut group = criterion.benchmark_group("linear_fit");
    group.sample_size(10);
    for (method, iterations) in ITERATIONS {
        for iterations in iterations {
            let settings = LinearRegression::new().learning_rate(0.1).iterations(iterations).method(method);
            settings.fit(&Cpu, &dataset)?;
            let name = format!("{m}x{n}, {iterations} iterations");
            group.bench_function(BenchmarkId::new(method.to_string(), name), |bencher| {
                bencher.iter(|| black_box(settings.fit(&Cpu, &dataset)));
            });
        }
    }
    group.finish();
    Ok(())
}

/// X v for a tall X, as a step of descent and a prediction need it.
fn matrix_vector(criterion: &mut Criterion, peer: Option<&OpenBlas>, (m, n): (usize, usize)) -> Result<()> {
    let mut numbers = ChaCha8Rng::seed_from_u64(4);
    let (x, v) = (random(&mut numbers, m * n), random(&mut numbers, n));
    let mut group = criterion.benchmark_group("matrix_vector");
    group.throughput(Throughput::Bytes((size_of::<f32>() * m * n) as u64)).sample_size(20);
    if let Some(peer) = peer {
        let mut out = vec![0.0; m];
        group.bench_function(BenchmarkId::new("OpenBLAS", format!("{m}x{n}")), |bencher| {
            bencher.iter(|| peer.matrix_vector([m, n], &x, false, &v, 0.0, black_box(&mut out)));
        });
    }
    let x = Cpu.upload(m, n, &x)?;
    let v = Cpu.upload(n, 1, &v)?;
    let bias = Cpu.upload(1, 1, &[0.5])?;
    group.bench_function(BenchmarkId::new("cpu", format!("{m}x{n}")), |bencher| {
        bencher.iter(|| black_box(Cpu.matrix_vector(&x, None, &v, &bias)));
    });
    group.finish();
    Ok(())
}

/// A step of descent by two products of OpenBLAS: e = X w − y, Xᵀe, w − α Xᵀe / m.
fn descent_step_peer(criterion: &mut Criterion, peer: &OpenBlas, (m, n): (usize, usize)) {
    let mut numbers = ChaCha8Rng::seed_from_u64(1);
    let x = random(&mut numbers, m * n);
    let y: Vec<f32> = random(&mut numbers, m).iter().map(|number| number.abs()).collect();
    let mut weights = random(&mut numbers, n);
    let (mut error, mut gradient) = (vec![0.0; m], vec![0.0; n]);
    let mut group = criterion.benchmark_group("descent_step");
    group.throughput(Throughput::Bytes((size_of::<f32>() * m * n) as u64)).sample_size(20);
    group.bench_function(BenchmarkId::new("OpenBLAS", format!("{m}x{n}")), |bencher| {
        bencher.iter(|| {
            error.iter_mut().zip(&y).for_each(|(error, y)| *error = -y);
            peer.matrix_vector([m, n], &x, false, &weights, 1.0, &mut error);
            peer.matrix_vector([m, n], &x, true, &error, 0.0, &mut gradient);
            weights.iter_mut().zip(&gradient).for_each(|(weight, sum)| *weight -= 1e-3 * sum / m as f32);
        });
    });
    group.finish();
}

/// Products by OpenBLAS; of a dense layer it has the product onto the bias, and no activation.
fn product_peer(criterion: &mut Criterion, peer: &OpenBlas, (m, n, k): (usize, usize, usize)) {
    let mut numbers = ChaCha8Rng::seed_from_u64(2);
    let (a, b) = (random(&mut numbers, m * k), random(&mut numbers, k * n));
    let (bias, mut c) = (random(&mut numbers, n), vec![0.0; m * n]);
    for (operation, activation) in MULTIPLYING {
        let mut group = criterion.benchmark_group(operation);
        group.throughput(Throughput::Elements(2 * (m * n * k) as u64)).sample_size(20);
        group.bench_function(BenchmarkId::new("OpenBLAS", format!("{m}x{n}x{k}")), |bencher| {
            bencher.iter(|| {
                if activation.is_some() {
                    c.chunks_exact_mut(n).for_each(|row| row.copy_from_slice(&bias));
                }
                let beta = if activation.is_some() { 1.0 } else { 0.0 };
                peer.product([m, n, k], &a, &b, beta, black_box(&mut c));
            });
        });
        group.finish();
    }
}

fn product<E: Engine>(
    criterion: &mut Criterion,
    name: &str,
    engine: &E,
    (m, n, k): (usize, usize, usize),
) -> Result<()> {
    let mut numbers = ChaCha8Rng::seed_from_u64(2);
    let a = engine.upload(m, k, &random(&mut numbers, m * k))?;
    let b = engine.upload(k, n, &random(&mut numbers, k * n))?;
    let bias = engine.upload(1, n, &random(&mut numbers, n))?;
    for (operation, activation) in MULTIPLYING {
        let compute = || match activation {
            None => engine.matmul(&a, Layout::Plain, &b, Layout::Plain, Precision::Fp32),
            Some(activation) => engine.dense(&a, &b, &bias, activation, Precision::Fp32),
        };
        compute()?;
        let mut group = criterion.benchmark_group(operation);
        group.throughput(Throughput::Elements(2 * (m * n * k) as u64)).sample_size(20);
        group.bench_function(BenchmarkId::new(name, format!("{m}x{n}x{k}")), |bencher| {
            bencher.iter(|| black_box(compute()));
        });
        group.finish();
    }
    Ok(())
}

/// Each operation at each shape. One that fails ends the run: it gets no figure.
fn every_shape(criterion: &mut Criterion, peer: Option<&OpenBlas>) -> Result<()> {
    for shape in DESCENT {
        descent_step(criterion, "cpu", &Cpu, shape)?;
        if shape.0 * shape.1 <= LOOP_MOST {
            descent_step(criterion, "loop", &Loop, shape)?;
        }
        if let Some(peer) = peer {
            descent_step_peer(criterion, peer, shape);
        }
        matrix_vector(criterion, peer, shape)?;
    }
    fit(criterion)?;
    for shape in PRODUCTS {
        product(criterion, "cpu", &Cpu, shape)?;
        if shape.0 * shape.1 * shape.2 <= LOOP_MOST {
            product(criterion, "loop", &Loop, shape)?;
        }
        if let Some(peer) = peer {
            product_peer(criterion, peer, shape);
        }
    }
    Ok(())
}

fn main() {
    let peer = OpenBlas::open();
    match &peer {
        Ok(peer) => eprintln!("Peer: {}", peer.about),
        Err(reason) => eprintln!("No OpenBLAS to compare with: {reason}"),
    }
    let start = SystemTime::now();
    let mut criterion = Criterion::default().configure_from_args();
    every_shape(&mut criterion, peer.as_ref().ok()).expect("the operands are made to fit");
    criterion.final_summary();
    summary::print(start, peer.as_ref().ok());
}
