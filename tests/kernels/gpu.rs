//! The same tests on a GPU. Without one they are ignored, by name.

use std::sync::Arc;

use cuda_std::Emulator;
use kernel_suite::Data;
use kernel_suite::checks;
use libtest_mimic::Trial;

use crate::Results;

pub fn trials(_results: &Arc<Results>) -> Vec<Trial> {
    let mut trials = Vec::new();
    for check in checks::all::<Emulator>() {
        trials.extend(Data::ALL.map(|data| {
            Trial::test(format!("{}/{}/gpu", check.kernel, data.name()), || Ok(())).with_ignored_flag(true)
        }));
    }
    trials
}
