//! The kernel suite must notice every mutant: one that passes all checks shows something that no check looks at.

use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use cuda_std::{Emulator, Order};
use kernel_suite::{Data, Kernels, Rig, checks};
use libtest_mimic::{Arguments, Trial};
use mutants::{MUTANTS, Mutant};

/// The schedules in which the kernel suite runs.
const SCHEDULES: [Order; 3] = [Order::Forward, Order::Backward, Order::Shuffled(0x5eed)];
/// So many mistakes at least for each kernel.
const MISTAKES: usize = 4;
/// So much of the reason is printed.
const REASON: usize = 100;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let noticed = Arc::new(Mutex::new(Vec::new()));
    let mut trials = vec![Trial::test("every-kernel-has-mutants", every_kernel_has_mutants)];
    trials.extend(MUTANTS.iter().map(|mutant| {
        let noticed = Arc::clone(&noticed);
        let name = format!("{}/{}/{}", mutant.kernel, mutant.file, mutant.name.replace(' ', "-"));
        Trial::test(name, move || match notice(mutant) {
            Some(reason) => {
                noticed.lock().expect("no test panics while it holds the lock").push((mutant, reason));
                Ok(())
            }
            None => Err("the mutant passes all checks of its kernel".into()),
        })
    }));
    let conclusion = libtest_mimic::run(&arguments, trials);
    if !arguments.list {
        print(&mut noticed.lock().expect("no test panics while it holds the lock"));
    }
    conclusion.exit_code()
}

/// Why the kernel's check fails on the mutant; nothing if it does not.
fn notice(mutant: &Mutant) -> Option<String> {
    let mut kernels = Kernels::ours();
    (mutant.install)(&mut kernels);
    let checks = checks::all::<Emulator>();
    let check = checks.iter().find(|check| check.kernel == mutant.kernel)?;
    // The order of what tensor cores add does not show where nothing is cut off.
    let least_accurate = check.tensor_cores.then(Rig::least_accurate);
    SCHEDULES
        .into_iter()
        .map(Rig::emulator)
        .chain(least_accurate)
        .find_map(|rig| Data::ALL.into_iter().find_map(|data| check.run(&rig, &kernels, data).err()))
}

fn every_kernel_has_mutants() -> Result<(), libtest_mimic::Failed> {
    for kernel in Kernels::NAMES {
        let mutants = MUTANTS.iter().filter(|mutant| mutant.kernel == *kernel).count();
        if mutants < MISTAKES {
            return Err(format!("{kernel} has {mutants} mutants, not {MISTAKES}").into());
        }
    }
    Ok(())
}

fn print(noticed: &mut [(&Mutant, String)]) {
    noticed.sort_by_key(|(mutant, _)| (mutant.kernel, mutant.file, mutant.name));
    println!("{:22} {:28} {:33} noticed by", "kernel", "file", "mistake");
    for (mutant, reason) in noticed {
        let reason: String = reason.lines().next().unwrap_or_default().chars().take(REASON).collect();
        println!("{:22} {:28} {:33} {reason}", mutant.kernel, mutant.file, mutant.name);
    }
}
