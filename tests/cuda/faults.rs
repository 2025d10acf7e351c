//! Every call of a whole training fails once: on the command, and in a process that goes on.

use tilegrad::Result;
use tilegrad::data::{Dataset, Table};
use tilegrad::engine::{Cuda, Emulator, Engine};
use tilegrad::models::LinearRegression;

use crate::driver::{Simulated, simulated};
use crate::{Place, Run};

/// Two steps, so that the number of calls does not depend on the time: a batch of one step is followed by no more
/// than twice as many.
const TRAIN: &str =
    "train linear --data small.csv --target y --iterations 2 --device cuda --model model --history history";

/// The calls of a training on the command without faults, and what it writes.
struct Whole {
    run: Run,
    files: [Vec<u8>; 2],
}

impl Whole {
    fn new() -> Self {
        let place = Place::new();
        let run = place.run("", TRAIN);
        assert!(run.code == 0 && run.report.is_clean() && run.report.struck().is_none(), "{run:?}");
        Whole { run, files: [place.read("model"), place.read("history")] }
    }

    /// A training in which a fault must come in call `number` (if it is given), end with `code`, and keep nothing.
    fn fails(&self, script: &str, number: Option<usize>, code: i32) -> Run {
        let place = Place::new();
        let run = place.run(script, TRAIN);
        assert_eq!(run.code, code, "{script}: {run:?}");
        assert!(run.report.struck().is_some(), "{script} comes too late: {run:?}");
        assert!(number.is_none_or(|number| run.report.struck() == Some(number)), "{script}: {run:?}");
        assert!(run.report.is_clean(), "{script}: {run:?}");
        if code == 0 {
            let files = [place.read("model"), place.read("history")];
            assert!(files == self.files, "{script}: {run:?}");
        } else {
            assert_eq!(place.files(), ["small.csv"], "{script}: {run:?}");
            assert_eq!(run.stdout, "", "{script}: {run:?}");
            assert_eq!(run.stderr.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{run:?}");
        }
        run
    }
}

/// The number of calls until the engine is there: a failure of one of them makes the device unusable.
fn opening(order: &[&str]) -> usize {
    1 + order.iter().position(|&call| call == "cuStreamCreate").expect("a stream is made")
}

/// Calls that give something back.
const DONE_WITH: [&str; 6] = [
    "cuMemFree",
    "cuMemFreeHost",
    "cuEventDestroy",
    "cuStreamDestroy",
    "cuModuleUnload",
    "cuDevicePrimaryCtxRelease",
];

/// Whether the call with this index gives something back, or comes before that to make it possible. Its failure is
/// nobody's concern: what was wanted is done by then, or the next call fails too.
fn gives_back(order: &[&str], index: usize) -> bool {
    let next = order.get(index + 1).copied().unwrap_or("");
    match order[index] {
        call if DONE_WITH.contains(&call) => true,
        // Before the first thing is given back that its work may use.
        "cuStreamSynchronize" => {
            let next = if next == "cuCtxSetCurrent" { order.get(index + 2).copied() } else { Some(next) };
            next.is_some_and(|next| DONE_WITH.contains(&next))
        }
        "cuCtxSetCurrent" => {
            DONE_WITH.contains(&next) || next == "cuStreamSynchronize" && gives_back(order, index + 1)
        }
        _ => false,
    }
}

/// The exit code where call `index` fails, with a code that stays or not.
fn exit_code(order: &[&str], index: usize, stays: bool) -> i32 {
    let of = |index| if index < opening(order) { 3 } else { 1 };
    if !gives_back(order, index) {
        return of(index);
    }
    // A fault that stays is met by the next call that wants something.
    let met = (index..order.len()).find(|&later| !gives_back(order, later));
    met.filter(|_| stays).map_or(0, of)
}

pub fn the_command_survives_every_call_that_fails() {
    let whole = Whole::new();
    let order = whole.run.report.order();
    assert!(order.len() > 100, "that is no whole training: {order:?}");
    for (index, call) in order.iter().enumerate() {
        // It may be asked for again: see the test of allocations.
        if *call == "cuMemAlloc" {
            continue;
        }
        let number = index + 1;
        let stays = ["cuStreamSynchronize", "cuMemcpyHtoDAsync", "cuMemcpyDtoHAsync"].contains(call);
        let code = exit_code(&order, index, stays);
        let run = whole.fails(&format!("fail=any:{number}"), Some(number), code);
        if code != 0 && !gives_back(&order, index) {
            assert!(run.stderr.contains(&format!("{call} failed (")), "{call} is not named: {run:?}");
        }
    }
}

pub fn the_command_survives_every_allocation_that_fails() {
    let whole = Whole::new();
    let allocations = whole.run.report.0["calls"]["cuMemAlloc"].as_u64().expect("there are some");
    assert!(allocations > 5, "{allocations}");
    for number in 1..=allocations {
        // One that fails is asked for again where there was memory to be given back.
        let script = format!("fail=cuMemAlloc:{number} fail=cuMemAlloc:{}", number + 1);
        let run = whole.fails(&script, None, 1);
        assert!(run.stderr.contains("cuMemAlloc failed (") && run.stderr.contains("take fewer"), "{run:?}");
    }
}

pub fn the_command_survives_every_kernel_that_fails() {
    let whole = Whole::new();
    for number in 1..=whole.run.report.number("kernels") {
        let run = whole.fails(&format!("kernel={number}=700"), None, 1);
        assert!(run.stderr.contains("CUDA_ERROR_ILLEGAL_ADDRESS (700)"), "{run:?}");
        assert!(run.stderr.contains("after launches; the last was kernels::"), "{run:?}");
    }
}

/// A training and a prediction in this process: all their numbers.
fn work<E: Engine>(engine: &E) -> Result<Vec<u64>> {
    let names = ["a", "b"].map(str::to_owned).to_vec();
    let features = Table::new(names, vec![1.0, 2.0, 2.0, 1.0, 3.0, 5.0, 4.0, 4.0])?;
    let dataset = Dataset::new(features, "y", vec![3.0, 5.0, 4.0, 9.0])?;
    let model = LinearRegression::new().iterations(2).fit(engine, &dataset)?;
    let predictions = model.predict(engine, dataset.features())?;
    let all = [model.weights(), &[model.bias()], model.history(), &predictions].concat();
    Ok(all.into_iter().map(f64::to_bits).collect())
}

fn on_cuda() -> Result<Vec<u64>> {
    work(&Cuda::open(0)?)
}

/// The numbers and the calls without faults.
fn undisturbed(driver: &Simulated) -> (Vec<u64>, Vec<String>) {
    driver.restart("");
    let numbers = on_cuda().expect("nothing fails");
    assert_eq!(numbers, work(&Emulator::new()).expect("nothing fails"));
    let report = driver.report();
    assert!(report.is_clean(), "{report:?}");
    (numbers, report.order().into_iter().map(str::to_owned).collect())
}

pub fn a_process_goes_on_after_every_call_that_fails() {
    let driver = simulated();
    let (numbers, order) = undisturbed(&driver);
    for number in 1..=order.len() {
        let call = order[number - 1].as_str();
        // Out of memory stays with nobody.
        driver.restart(&format!("fail=any:{number}=2"));
        let first = on_cuda();
        let report = driver.report();
        assert_eq!(report.struck(), Some(number), "{call}");
        assert!(report.is_clean(), "{call}: {report:?}");
        if let Ok(first) = first {
            assert_eq!(first, numbers, "call {number}, {call}");
        }
        assert_eq!(on_cuda().expect(call), numbers, "call {number}, {call}");
        assert!(driver.report().is_clean(), "{call}");
    }
}

pub fn a_process_stays_refused_after_every_fault_that_stays() {
    let driver = simulated();
    let (numbers, order) = undisturbed(&driver);
    let retained = order.iter().position(|call| call == "cuDevicePrimaryCtxRetain").expect("it is called");
    for number in retained + 1..=order.len() {
        driver.restart(&format!("fail=any:{number}=719"));
        let first = on_cuda();
        assert!(driver.report().is_clean(), "call {number}: {:?}", driver.report());
        match first {
            Ok(first) => assert_eq!(first, numbers, "call {number}"),
            Err(error) => assert!(error.to_string().contains("CUDA_ERROR_LAUNCH_FAILED (719)"), "{error}"),
        }
        let again = on_cuda().expect_err("the fault stays").to_string();
        assert!(again.starts_with("device cuda cannot be used: ") && again.contains("(719)"), "{again}");
        assert!(driver.report().is_clean(), "call {number}: {:?}", driver.report());
    }
    // As in a process that is started anew.
    driver.restart("");
    assert_eq!(on_cuda().expect("nothing fails"), numbers);
}

pub fn a_process_stays_refused_once_the_gpu_is_lost() {
    let driver = simulated();
    let (numbers, order) = undisturbed(&driver);
    for number in 1..=order.len() {
        driver.restart(&format!("lost={number}"));
        match on_cuda() {
            Ok(first) => assert_eq!(first, numbers, "call {number}"),
            Err(error) => assert!(error.to_string().contains("CUDA_ERROR_UNKNOWN (999)"), "{error}"),
        }
        assert!(on_cuda().is_err(), "call {number}");
        assert!(driver.report().is_clean(), "call {number}: {:?}", driver.report());
    }
}
