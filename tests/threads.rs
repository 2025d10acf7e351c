//! Several threads at once: on one engine, on an engine each, on one simulated GPU, on GPUs that come and go. Each must
//! have the results that it would have alone, to the bit.

use std::sync::Barrier;

use kernel_suite::{Data, Source, simulated};
use libtest_mimic::{Arguments, Failed, Trial};
use tilegrad::Result;
use tilegrad::cuda::Gpu;
use tilegrad::data::{Dataset, Table};
use tilegrad::engine::{Activation, Cpu, Cuda, Emulator, Engine, Layout, Loop, Precision};
use tilegrad::models::LinearRegression;

const THREADS: u64 = 6;
const ROUNDS: u64 = 4;

fn main() {
    let arguments = Arguments::from_args();
    let library = simulated::library();
    match &library {
        // SAFETY: no other thread is there yet.
        Ok(library) => unsafe { std::env::set_var(simulated::DRIVER, library) },
        Err(reason) => eprintln!("the tests on a simulated GPU are ignored: {reason}"),
    }
    let on = |test: Trial| test.with_ignored_flag(library.is_err());
    let trials = vec![
        Trial::test("one-engine/loop", || one_engine(&Loop)),
        Trial::test("one-engine/cpu", || one_engine(&Cpu)),
        Trial::test("one-engine/emulator", || one_engine(&Emulator::new())),
        on(Trial::test("one-engine/simulated-gpu", || one_engine(&Cuda::open(0)?))),
        Trial::test("own-engines/cpu", || own_engines(|| Ok(Cpu))),
        Trial::test("own-engines/emulator", || own_engines(|| Ok(Emulator::new()))),
        on(Trial::test("own-engines/simulated-gpu", || own_engines(|| Cuda::open(0)))),
        Trial::test("pools/cpu", pools),
        on(Trial::test("open-and-drop/simulated-gpu", open_and_drop)),
    ];
    libtest_mimic::run(&arguments, trials).exit();
}

/// A training, a prediction and a layer with numbers of this seed: the bits of all results.
fn work<E: Engine>(engine: &E, seed: u64) -> Result<Vec<u64>> {
    let (rows, columns) = (40 + seed as usize, 3);
    let mut source = Source::new(seed);
    let features = Table::new(
        (0..columns).map(|j| format!("x{j}")).collect(),
        source.numbers(Data::Reals, rows * columns),
    )?;
    let dataset = Dataset::new(features, "y", source.numbers(Data::Reals, rows))?;
    let model = LinearRegression::new().learning_rate(0.01).iterations(3).fit(engine, &dataset)?;
    let predictions = model.predict(engine, dataset.features())?;
    let x = engine.upload(rows, columns, dataset.features().values())?;
    let products = engine.matmul(&x, Layout::Transposed, &x, Layout::Plain, Precision::Fp32)?;
    let bias = engine.upload(1, columns, &source.numbers(Data::Reals, columns))?;
    let layer = engine.read(&engine.dense(&x, &products, &bias, Activation::Relu, Precision::Fp32)?)?;
    let all = [model.weights(), &[model.bias()], model.history(), &predictions, &layer].concat();
    Ok(all.into_iter().map(f64::to_bits).collect())
}

/// Runs `each` on [`THREADS`] threads at once, with another number for each, and gives on what first failed.
fn at_once(each: impl Fn(u64) -> Result<(), Failed> + Sync) -> Result<(), Failed> {
    let start = Barrier::new(THREADS as usize);
    let each = &|thread| {
        start.wait();
        each(thread)
    };
    std::thread::scope(|scope| {
        let spawn = |thread| scope.spawn(move || each(thread));
        let threads: Vec<_> = (0..THREADS).map(spawn).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| Failed::from("a thread panicked"))?)
    })
}

fn same(thread: u64, got: &[u64], alone: &[u64]) -> Result<(), Failed> {
    if got == alone { Ok(()) } else { Err(format!("thread {thread} has other results than alone").into()) }
}

/// All threads use one engine.
fn one_engine<E: Engine + Sync>(engine: &E) -> Result<(), Failed> {
    let alone: Vec<_> = (0..THREADS).map(|seed| work(engine, seed)).collect::<Result<_>>()?;
    at_once(|thread| {
        (0..ROUNDS).try_for_each(|_| same(thread, &work(engine, thread)?, &alone[thread as usize]))
    })
}

/// Each thread uses engines of its own, one after another.
fn own_engines<E: Engine>(engine: impl Fn() -> Result<E> + Sync) -> Result<(), Failed> {
    let alone: Vec<_> = (0..THREADS).map(|seed| work(&engine()?, seed)).collect::<Result<_>>()?;
    at_once(|thread| {
        (0..ROUNDS).try_for_each(|_| same(thread, &work(&engine()?, thread)?, &alone[thread as usize]))
    })
}

/// Each thread has a pool of another number of threads.
fn pools() -> Result<(), Failed> {
    let alone: Vec<_> = (0..THREADS).map(|seed| work(&Cpu, seed)).collect::<Result<_>>()?;
    at_once(|thread| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1 + thread as usize).build()?;
        same(thread, &pool.install(|| work(&Cpu, thread))?, &alone[thread as usize])
    })
}

/// GPUs are opened and dropped by several threads while others compute, a clone dropped on another thread than the
/// one that opened it.
fn open_and_drop() -> Result<(), Failed> {
    let alone: Vec<_> = (0..THREADS).map(|seed| work(&Emulator::new(), seed)).collect::<Result<_>>()?;
    at_once(|thread| {
        for _ in 0..ROUNDS {
            let gpu = Gpu::open(0)?;
            let clone = gpu.clone();
            std::thread::scope(|scope| scope.spawn(move || drop(clone)).join())
                .map_err(|_| Failed::from("a drop panicked"))?;
            same(
                thread,
                &work(&Cuda::on(gpu, String::new(), String::new()), thread)?,
                &alone[thread as usize],
            )?;
        }
        Ok(())
    })
}
