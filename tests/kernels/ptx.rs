//! The same tests on the PTX itself, by an interpreter: what the compiler made of the kernels, and the assembly that the
//! emulator never sees.

use std::sync::{Arc, LazyLock};

use kernel_suite::{Data, Rig, checks};
use libtest_mimic::{Failed, Trial};
use ptx_interpreter::{Interpreter, Module, Order};
use tilegrad::cuda::ptx::PTX_MODULES;

use crate::{Results, trial};

/// The order in which a block's warps run must not matter.
const ORDERS: [(&str, Order); 2] = [("ptx-forward", Order::Forward), ("ptx-backward", Order::Backward)];

/// The module that this program carries, read once.
static MODULE: LazyLock<Result<Arc<Module>, String>> = LazyLock::new(|| {
    let [(_, text)] = PTX_MODULES else { return Err(format!("{} modules of PTX, expected one", PTX_MODULES.len())) };
    Module::of(text).map(Arc::new).map_err(|fault| fault.to_string())
});

pub fn trials(results: &Arc<Results>) -> Vec<Trial> {
    let mut trials = Vec::new();
    for (name, order) in ORDERS {
        for check in checks::all::<Interpreter>() {
            trials.extend(Data::ALL.map(|data| {
                trial(name, &check, data, results, move || {
                    let module = MODULE.as_ref().map_err(|fault| Failed::from(fault.as_str()))?;
                    Ok(Rig { device: Interpreter::new(Arc::clone(module), order), guard: 0 })
                })
            }));
        }
    }
    trials
}
