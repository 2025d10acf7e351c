//! The cpu engine, and at small sizes the reference loops beside it: `cargo bench`, or `cargo bench -- descent`.
//!
//! Throughput of a descent step is that of reading X once; of products, a multiplication and an addition count as
//! two operations. Data are random, never zeros. Where there is an OpenBLAS, the same operations by it, and both by turns; at the
//! end a table with the ratios to it and to the machine's limits. How results are kept: benches/results/README.md.

mod openblas;
mod summary;
mod turns;

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
use turns::Turns;

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

/// What is measured, and with what.
struct Bench<'a> {
    criterion: &'a mut Criterion,
    turns: Turns,
}

/// An operation at a shape.
struct Compared {
    group: &'static str,
    shape: String,
    throughput: Throughput,
}

/// What an operation is compared with.
struct Peer<'a> {
    work: &'a mut dyn FnMut(),
    /// Whether criterion has not timed it yet, for another operation.
    is_new: bool,
}

impl Bench<'_> {
    /// Times the engine's work and the peer's by criterion, and then the two by turns.
    fn beside(&mut self, compared: Compared, name: &str, engine: &mut dyn FnMut(), peer: Option<Peer<'_>>) {
        let Compared { group, shape, throughput } = compared;
        let mut benchmarks = self.criterion.benchmark_group(group);
        benchmarks.throughput(throughput).sample_size(20);
        // Whether it was timed: it may not be what criterion was asked for.
        let mut time = |name: &str, work: &mut dyn FnMut()| {
            let mut was_timed = false;
            benchmarks.bench_function(BenchmarkId::new(name, &shape), |bencher| {
                was_timed = true;
                bencher.iter(&mut *work);
            });
            was_timed
        };
        let is_timed = time(name, engine);
        if let Some(Peer { work, is_new }) = peer {
            if is_new {
                time("OpenBLAS", work);
            }
            if is_timed {
                self.turns.compare(group, &shape, engine, work);
            }
        }
        benchmarks.finish();
    }
}

/// A step of descent; beside the cpu engine's, OpenBLAS' two products: e = X w − y, Xᵀe, w − α Xᵀe / m.
fn descent_step<E: Engine>(
    bench: &mut Bench<'_>,
    name: &str,
    engine: &E,
    peer: Option<&OpenBlas>,
    (m, n): (usize, usize),
) -> Result<()> {
    let mut numbers = ChaCha8Rng::seed_from_u64(1);
    // The peer's are where the cpu engine would have them: at cache lines, in huge pages.
    let values = Cpu.upload(m, n, &random(&mut numbers, m * n))?;
    let labels: Vec<f32> = random(&mut numbers, m).iter().map(|number| number.abs()).collect();
    let mut theirs = random(&mut numbers, n);
    let x = engine.upload(m, n, values.values())?;
    let y = engine.upload(m, 1, &labels)?;
    let mut weights = engine.upload(n, 1, &theirs)?;
    let mut bias = engine.upload(1, 1, &random(&mut numbers, 1))?;
    let moments = Moments { mean: vec![0.125; n], standard_deviation: vec![0.75; n] };
    let scaling = engine.scaling(&moments)?;
    let (mut error, mut gradient) = (vec![0.0; m], vec![0.0; n]);
    let mut peer = peer.map(|peer| {
        || {
            error.iter_mut().zip(&labels).for_each(|(error, y)| *error = -y);
            peer.matrix_vector([m, n], values.values(), false, &theirs, 1.0, &mut error);
            peer.matrix_vector([m, n], values.values(), true, &error, 0.0, &mut gradient);
            theirs.iter_mut().zip(&gradient).for_each(|(weight, sum)| *weight -= 1e-3 * sum / m as f32);
        }
    });
    let throughput = Throughput::Bytes((size_of::<f32>() * m * n) as u64);
    for (kind, loss, scaling) in [
        ("", Loss::SquaredError, None),
        (", scaled", Loss::SquaredError, Some(&scaling)),
        (", scaled, log loss", Loss::LogLoss, Some(&scaling)),
    ] {
        let samples = Samples { x: &x, scaling, y: &y };
        engine.descend(loss, &samples, &mut weights, &mut bias, 1e-3, 1)?;
        let compared = Compared {
            group: "descent_step",
            shape: format!("{m}x{n}{kind}"),
            throughput: throughput.clone(),
        };
        bench.beside(
            compared,
            name,
            &mut || _ = black_box(engine.descend(loss, &samples, &mut weights, &mut bias, 1e-3, 1)),
            peer.as_mut().map(|work| Peer { work, is_new: kind.is_empty() }),
        );
    }
    let compared = Compared { group: "column_moments", shape: format!("{m}x{n}"), throughput };
    bench.beside(compared, name, &mut || _ = black_box(engine.column_moments(&x)), None);
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
fn matrix_vector(bench: &mut Bench<'_>, peer: Option<&OpenBlas>, (m, n): (usize, usize)) -> Result<()> {
    let mut numbers = ChaCha8Rng::seed_from_u64(4);
    let x = Cpu.upload(m, n, &random(&mut numbers, m * n))?;
    let v = Cpu.upload(n, 1, &random(&mut numbers, n))?;
    let bias = Cpu.upload(1, 1, &[0.5])?;
    let mut out = vec![0.0; m];
    let mut peer = peer
        .map(|peer| || peer.matrix_vector([m, n], x.values(), false, v.values(), 0.0, black_box(&mut out)));
    let throughput = Throughput::Bytes((size_of::<f32>() * m * n) as u64);
    bench.beside(
        Compared { group: "matrix_vector", shape: format!("{m}x{n}"), throughput },
        "cpu",
        &mut || _ = black_box(Cpu.matrix_vector(&x, None, &v, &bias)),
        peer.as_mut().map(|work| Peer { work, is_new: true }),
    );
    Ok(())
}

/// Products and layers; of a layer OpenBLAS has the product onto the bias, and no activation.
fn product<E: Engine>(
    bench: &mut Bench<'_>,
    name: &str,
    engine: &E,
    peer: Option<&OpenBlas>,
    (m, n, k): (usize, usize, usize),
) -> Result<()> {
    let mut numbers = ChaCha8Rng::seed_from_u64(2);
    let left = Cpu.upload(m, k, &random(&mut numbers, m * k))?;
    let right = Cpu.upload(k, n, &random(&mut numbers, k * n))?;
    let start = random(&mut numbers, n);
    let a = engine.upload(m, k, left.values())?;
    let b = engine.upload(k, n, right.values())?;
    let bias = engine.upload(1, n, &start)?;
    let mut c = vec![0.0; m * n];
    for (group, activation) in MULTIPLYING {
        let compute = || match activation {
            None => engine.matmul(&a, Layout::Plain, &b, Layout::Plain, Precision::Fp32),
            Some(activation) => engine.dense(&a, &b, &bias, activation, Precision::Fp32),
        };
        compute()?;
        let mut peer = peer.map(|peer| {
            || {
                if activation.is_some() {
                    c.chunks_exact_mut(n).for_each(|row| row.copy_from_slice(&start));
                }
                let beta = if activation.is_some() { 1.0 } else { 0.0 };
                peer.product([m, n, k], left.values(), right.values(), beta, black_box(&mut c));
            }
        });
        let throughput = Throughput::Elements(2 * (m * n * k) as u64);
        bench.beside(
            Compared { group, shape: format!("{m}x{n}x{k}"), throughput },
            name,
            &mut || _ = black_box(compute()),
            peer.as_mut().map(|work| Peer { work, is_new: activation != Some(Activation::Sigmoid) }),
        );
    }
    Ok(())
}

/// Each operation at each shape. One that fails ends the run: it gets no figure.
fn every_shape(bench: &mut Bench<'_>, peer: Option<&OpenBlas>) -> Result<()> {
    for shape in DESCENT {
        descent_step(bench, "cpu", &Cpu, peer, shape)?;
        if shape.0 * shape.1 <= LOOP_MOST {
            descent_step(bench, "loop", &Loop, None, shape)?;
        }
        matrix_vector(bench, peer, shape)?;
    }
    fit(bench.criterion)?;
    for shape in PRODUCTS {
        product(bench, "cpu", &Cpu, peer, shape)?;
        if shape.0 * shape.1 * shape.2 <= LOOP_MOST {
            product(bench, "loop", &Loop, None, shape)?;
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
    let mut bench = Bench { criterion: &mut criterion, turns: Turns::from_args() };
    every_shape(&mut bench, peer.as_ref().ok()).expect("the operands are made to fit");
    let Turns { ratios, .. } = bench.turns;
    criterion.final_summary();
    summary::print(start, &ratios, peer.as_ref().ok());
}
