//! Ten thousand trainings in one process, on every engine, good ones and failing ones: afterwards the process holds no
//! more memory, files or threads than after the first thousand.
//!
//! `SOAK_TRAININGS=N` makes it another number. Memory is counted in two ways: the bytes that this program has allocated
//! and not freed, and on Linux the resident set, which also counts stacks, the simulated driver and what is lost
//! between allocations.

use std::ffi::{CString, c_char};
use std::fs;

use kernel_suite::{Counting, simulated};
use libloading::Library;
use tilegrad::data::{Dataset, Table};
use tilegrad::engine::{Cpu, Cuda, Emulator, Engine, Loop};
use tilegrad::models::LinearRegression;
use tilegrad::{Error, Result};

/// The share of the trainings after which growth counts: by then all that is kept for later is there.
const SETTLED: usize = 10;
/// Growth of the bytes allocated that is let pass: lists that are kept from launch to launch may still become longer.
const BYTES: isize = 16 << 10;
/// Growth of the resident set that is let pass: what is lost between allocations.
const RESIDENT: isize = 4 << 20;
/// One training in so many diverges. That takes as long as twenty others, since a rate that would do is looked for.
const DIVERGING: usize = 97;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What the process holds. Only bytes are known where there is no `/proc`.
#[derive(Debug)]
struct Held {
    bytes: isize,
    resident: isize,
    files: usize,
    threads: usize,
}

impl Held {
    fn now() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let kibibytes =
            status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next());
        let resident = kibibytes.map_or(0, |number| number.parse::<isize>().expect("a number") << 10);
        drop(status);
        let entries = |folder| fs::read_dir(folder).map_or(0, Iterator::count);
        let (files, threads) = (entries("/proc/self/fd"), entries("/proc/self/task"));
        Held { bytes: Counting::live(), resident, files, threads }
    }
}

/// The simulated driver, if tilegrad loads one on this kind of machine.
struct Driver(Library);

impl Driver {
    fn load() -> Option<Self> {
        let path = simulated::library().map_err(|reason| eprintln!("no trainings on cuda: {reason}")).ok()?;
        // SAFETY: no other thread is there yet.
        unsafe { std::env::set_var(simulated::DRIVER, &path) };
        // SAFETY: it is the library that tilegrad will load.
        Some(Driver(unsafe { Library::new(path) }.expect("it can be loaded")))
    }

    /// As in a process that was just started with this script.
    fn restart(&self, script: &str) {
        let script = CString::new(script).expect("no zero byte");
        // SAFETY: the function has this type, and a script ends with a zero byte.
        unsafe {
            self.0
                .get::<unsafe extern "C" fn(*const c_char)>(b"simulated_driver_restart\0")
                .expect("the library has it")(script.as_ptr());
        }
    }
}

fn dataset() -> Result<Dataset> {
    let names = ["a", "b"].map(str::to_owned).to_vec();
    let features = Table::new(names, vec![1.0, 2.0, 2.0, 1.0, 3.0, 5.0, 4.0, 4.0])?;
    Dataset::new(features, "y", vec![3.0, 5.0, 4.0, 9.0])
}

/// A training and a prediction: bits of all their numbers.
fn train<E: Engine>(engine: &E, rate: f64) -> Result<Vec<u64>> {
    let dataset = dataset()?;
    let model = LinearRegression::new().learning_rate(rate).iterations(3).fit(engine, &dataset)?;
    let predictions = model.predict(engine, dataset.features())?;
    let all = [model.weights(), &[model.bias()], model.history(), &predictions].concat();
    Ok(all.into_iter().map(f64::to_bits).collect())
}

/// What trainings without faults give, by engine.
struct Expected {
    on_loop: Vec<u64>,
    on_cpu: Vec<u64>,
    on_emulator: Vec<u64>,
}

/// Training number `i`: an engine in turn; some diverge, and of those on cuda every second meets a fault of the driver.
fn training(i: usize, driver: Option<&Driver>, expected: &Expected) {
    let diverges = i.is_multiple_of(DIVERGING);
    let rate = if diverges { 1e6 } else { 0.1 };
    let faulty = (i / 4).is_multiple_of(2);
    let (result, expected) = match (i % 4, driver) {
        (0, _) => (train(&Loop, rate), &expected.on_loop),
        (1, _) => (train(&Cpu, rate), &expected.on_cpu),
        (3, Some(driver)) => {
            // The faults go through all calls of a training, and are of three kinds.
            let call = 1 + i / 8 % 300;
            driver.restart(&match (faulty, i / 8 % 3) {
                (false, _) => String::new(),
                (_, 0) => format!("fail=any:{call}=2"),
                (_, 1) => format!("fail=any:{call}=719"),
                _ => format!("lost={call}"),
            });
            (Cuda::open(0).and_then(|engine| train(&engine, rate)), &expected.on_emulator)
        }
        _ => (train(&Emulator::new(), rate), &expected.on_emulator),
    };
    match result {
        Ok(numbers) => assert_eq!((diverges, &numbers), (false, expected), "training {i}"),
        Err(Error::Diverged { .. }) => assert!(diverges, "training {i}"),
        Err(error) => assert!(i % 4 == 3 && driver.is_some() && faulty, "training {i}: {error}"),
    }
}

fn main() {
    let trainings =
        std::env::var("SOAK_TRAININGS").map_or(10_000, |number| number.parse().expect("a number"));
    let driver = Driver::load();
    let expected = Expected {
        on_loop: train(&Loop, 0.1).expect("nothing fails"),
        on_cpu: train(&Cpu, 0.1).expect("nothing fails"),
        on_emulator: train(&Emulator::new(), 0.1).expect("nothing fails"),
    };
    let settled = trainings / SETTLED;
    (0..settled).for_each(|i| training(i, driver.as_ref(), &expected));
    let before = Held::now();
    (settled..trainings).for_each(|i| training(i, driver.as_ref(), &expected));
    let after = Held::now();
    println!("after {settled} trainings {before:?}\nafter {trainings} trainings {after:?}");
    assert!(after.bytes - before.bytes <= BYTES, "memory is not given back");
    assert!(after.resident - before.resident <= RESIDENT, "the process grows");
    assert_eq!((after.files, after.threads), (before.files, before.threads), "files or threads are left");
}
