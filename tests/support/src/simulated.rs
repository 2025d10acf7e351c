//! The simulated driver (tests/simulated_driver), which tests load in place of NVIDIA's.

use std::path::PathBuf;
use std::process::Command;

use crate::Failure;

/// The environment variable that names the driver to load.
pub const DRIVER: &str = "TILEGRAD_CUDA_DRIVER";

/// The one that tells it what to be.
const SCRIPT: &str = "SIMULATED_CUDA";

/// What the names of simulated GPUs begin with.
const NAME: &str = "Simulated GPU";

/// Whether the GPU of this name is simulated.
#[must_use]
pub fn is(gpu: &str) -> bool {
    gpu.starts_with(NAME)
}

/// The simulated driver, which cargo builds beside the tests that name it among their dependencies.
///
/// # Errors
/// It is not there, or tilegrad loads no driver on this kind of machine.
pub fn library() -> Result<PathBuf, Failure> {
    if !cfg!(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))) {
        return Err("tilegrad loads no driver on this kind of machine".to_owned());
    }
    let test = std::env::current_exe().map_err(|error| error.to_string())?;
    let library = test.with_file_name("libsimulated_driver.so");
    match library.exists() {
        true => Ok(library),
        false => Err(format!(
            "there is no {}: `cargo test` builds it from tests/simulated_driver",
            library.display()
        )),
    }
}

/// Runs those tests of this executable whose names contain `filter`, in a process with the simulated driver.
///
/// # Errors
/// One of them failed, or there are none.
pub fn run_tests(filter: &str) -> Result<(), Failure> {
    let test = std::env::current_exe().map_err(|error| error.to_string())?;
    // Of the one compute capability that has all kernels.
    let run = Command::new(test).arg(filter).env(DRIVER, library()?).env(SCRIPT, "capability=90").output();
    let run = run.map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&run.stdout);
    if !run.status.success() || said.contains("test result: ok. 0 passed") {
        return Err(format!("{}\n{said}{}", run.status, String::from_utf8_lossy(&run.stderr)));
    }
    Ok(())
}
