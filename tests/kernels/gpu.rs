//! The same tests on a GPU. Without one they are ignored, by name.
//!
//! In any case one test runs them all again on the simulated driver, in a process of its own, where they have names
//! that say so.

use std::sync::Arc;

use cuda_std::Device;
use kernel_suite::checks::{self, Check};
use kernel_suite::{Data, Rig, simulated};
use libtest_mimic::Trial;
use tilegrad::cuda::Gpu;

use crate::{Results, trial};

/// Elements behind each buffer that no kernel may touch: more than a tile or a block reaches beyond an edge.
const GUARD: usize = 4096;

/// Names of devices in the tests' names.
const GPU: &str = "gpu";
const SIMULATED: &str = "simulated-gpu";
/// A kernel's that is for another architecture than that of the GPU here.
const ELSEWHERE: &str = "other-architecture";

pub fn trials(results: &Arc<Results>) -> Vec<Trial> {
    let gpu = Gpu::open(0);
    match &gpu {
        Ok(gpu) => eprintln!("the tests on a GPU run on {}", gpu.info().name),
        Err(reason) => eprintln!("the tests on a GPU are ignored: {reason}"),
    }
    let name = if gpu.as_ref().is_ok_and(|gpu| simulated::is(&gpu.info().name)) { SIMULATED } else { GPU };
    let mut trials = Vec::new();
    for check in checks::all::<Gpu>() {
        for data in Data::ALL {
            trials.push(match &gpu {
                Ok(gpu) if !gpu.has(check.kernel) => ignored(
                    &check,
                    data,
                    ELSEWHERE,
                    format!("{} has no PTX with this kernel", gpu.info().name),
                ),
                Ok(gpu) => {
                    let device = gpu.clone();
                    trial(name, &check, data, results, move || Ok(Rig { device, guard: GUARD }))
                }
                Err(reason) => ignored(&check, data, name, reason.to_string()),
            });
        }
    }
    if name == GPU {
        let all = || Ok(simulated::run_tests(SIMULATED)?);
        trials.push(
            Trial::test(format!("all/{SIMULATED}"), all).with_ignored_flag(simulated::library().is_err()),
        );
    }
    trials
}

/// A test that is reported as ignored, and fails where it is run all the same (`--ignored`).
fn ignored(check: &Check<Gpu>, data: Data, name: &str, reason: String) -> Trial {
    Trial::test(format!("{}/{}/{name}", check.kernel, data.name()), || Err(reason.into()))
        .with_ignored_flag(true)
}
