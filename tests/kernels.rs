//! Every kernel at every shape, on the emulator in three schedules and on the GPU where there is one; what multiplies with tensor
//! cores, on an emulator with the least accurate ones that there may be as well. (Its PTX on an interpreter:
//! tests/interpreted.rs.)
//!
//! `cargo test --release --test kernels matmul_tiled` runs the tests whose names contain `matmul_tiled`. Without a
//! GPU its tests are reported as ignored, by name.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard};

use cuda_std::{Device, Emulator, Order};
use kernel_suite::checks::{self, Check};
use kernel_suite::{Data, Kernels, Rig, Tally};
use libtest_mimic::{Arguments, Failed, Trial};

#[path = "kernels/checker.rs"]
mod checker;
#[path = "kernels/gpu.rs"]
mod gpu;

/// The order in which a block's threads run must not matter.
const SCHEDULES: [(&str, Order); 3] = [
    ("emulator-forward", Order::Forward),
    ("emulator-backward", Order::Backward),
    ("emulator-shuffled", Order::Shuffled(0x5eed)),
];

/// Bounds on the error of tensor cores are for the least accurate ones that were found.
const LEAST_ACCURATE: &str = "cut-off-emulator";

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let results = Arc::new(Results::default());
    let mut trials = checker::trials();
    for (name, order) in SCHEDULES {
        for check in checks::all::<Emulator>() {
            trials.extend(
                Data::ALL.map(|data| trial(name, &check, data, &results, move || Ok(Rig::emulator(order)))),
            );
        }
    }
    for check in checks::all::<Emulator>().iter().filter(|check| check.tensor_cores) {
        trials.extend(
            Data::ALL.map(|data| trial(LEAST_ACCURATE, check, data, &results, || Ok(Rig::least_accurate()))),
        );
    }
    trials.push(Trial::test("matmul/rungs-agree/emulator", || {
        Ok(checks::rungs_agree(&Rig::emulator(Order::Forward), &Kernels::ours())?)
    }));
    trials.extend(gpu::trials(&results));
    let conclusion = libtest_mimic::run(&arguments, trials);
    if !arguments.list {
        results.print();
    }
    conclusion.exit_code()
}

/// The test `kernel/data/device`.
fn trial<D: Device>(
    device: &'static str,
    check: &Check<D>,
    data: Data,
    results: &Arc<Results>,
    rig: impl FnOnce() -> Result<Rig<D>, Failed> + Send + 'static,
) -> Trial {
    let check = *check;
    let Check { kernel, approximate, .. } = check;
    let results = Arc::clone(results);
    Trial::test(format!("{kernel}/{}/{device}", data.name()), move || {
        let tally = check.run(&rig()?, &Kernels::ours(), data)?;
        results.add(kernel, data, device, approximate, tally)
    })
}

/// What the tests have seen, over all devices.
#[derive(Default)]
struct Results(Mutex<Tallies>);

/// By kernel and data, what each device gave.
type Tallies = BTreeMap<(&'static str, Data), Vec<(&'static str, Tally)>>;

impl Results {
    fn lock(&self) -> MutexGuard<'_, Tallies> {
        self.0.lock().expect("no test panics while it holds the lock")
    }

    /// Keeps a result, which must have the same bits as those from other devices.
    ///
    /// Approximate instructions and the sums of tensor cores are each kind's own.
    fn add(
        &self,
        kernel: &'static str,
        data: Data,
        device: &'static str,
        approximate: bool,
        tally: Tally,
    ) -> Result<(), Failed> {
        let mut results = self.lock();
        let others = results.entry((kernel, data)).or_default();
        let differs = others.iter().find(|(other, others)| {
            let kind = |device: &str| device.split('-').next().map(str::to_owned);
            let comparable = !approximate || kind(device) == kind(other);
            comparable && others.digest() != tally.digest()
        });
        let outcome = match differs {
            Some((other, _)) => Err(format!("not the same bits as on {other}").into()),
            None => Ok(()),
        };
        others.push((device, tally));
        outcome
    }

    /// One line a kernel: how near to its bound it came.
    fn print(&self) {
        let results = self.lock();
        println!(
            "kernel                   data      elements  largest error/bound  relative norm of the error"
        );
        for ((kernel, data), tallies) in results.iter() {
            let worst = tallies.iter().map(|(_, tally)| tally.worst).fold(0.0, f64::max);
            let norm = tallies.iter().map(|(_, tally)| tally.relative_norm()).fold(0.0, f64::max);
            let elements = tallies[0].1.elements;
            println!("{kernel:24} {:9} {elements:8}  {worst:19.3}  {norm:.1e}", data.name());
        }
    }
}
