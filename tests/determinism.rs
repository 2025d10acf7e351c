//! The promise that results are repeatable: the same training gives the same bytes, run after run, on one thread and
//! on two.
//!
//! Each run is a process of its own, so that nothing is carried over. The data are large enough that work is divided:
//! several chunks for the cpu's threads, several blocks a kernel on the emulator. `TILEGRAD_BIN` names the program to
//! test, if it is not the one this was compiled with. What needs a GPU is ignored without one.

use std::fs;
use std::path::Path;
use std::process::Command;

use kernel_suite::simulated;
use libtest_mimic::{Arguments, Failed, Trial};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use tilegrad::cuda::Gpu;

/// Processes a device.
const RUNS: usize = 20;

fn main() {
    let arguments = Arguments::from_args();
    let on = |device: &'static str, method: &'static str, shape: [usize; 2], iterations: usize| {
        Trial::test(format!("twenty_runs_on_one_and_two_threads/{device}-{method}"), move || {
            repeatable(device, method, shape, iterations)
        })
    };
    let trials = vec![
        on("loop", "direct", [1000, 20], 20),
        on("cpu", "direct", [20_000, 70], 50),
        on("cpu", "gram", [20_000, 70], 50),
        on("emulator", "direct", [700, 13], 3),
        on("simulated-cuda", "direct", [700, 13], 3).with_ignored_flag(simulated::library().is_err()),
        on("cuda", "direct", [20_000, 70], 50).with_ignored_flag(Gpu::open(0).is_err()),
        Trial::test("other_data_give_other_bytes", other_data),
    ];
    libtest_mimic::run(&arguments, trials).exit();
}

/// A table of numbers that are neither round nor ordered, with a target that depends on them.
fn table([samples, features]: [usize; 2], seed: u64) -> String {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut text: String = (0..features).map(|j| format!("x{j},")).collect();
    text += "y\n";
    for _ in 0..samples {
        let mut sum = 0.0;
        for j in 0..features {
            let x = f64::from(random.next_u32()) / f64::from(u32::MAX) * (1 + j) as f64 - 0.3;
            sum += x * if j % 2 == 0 { 1.5 } else { -0.7 };
            text += &format!("{x:.6},");
        }
        text += &format!("{:.6}\n", sum + f64::from(random.next_u32() % 1000) / 500.0);
    }
    text
}

/// What a training and a prediction leave: the model, the costs, the predictions.
fn outputs(
    folder: &Path,
    [device, method]: [&str; 2],
    iterations: usize,
    threads: usize,
) -> Result<[Vec<u8>; 3], Failed> {
    let (simulated, device) = match device {
        "simulated-cuda" => (true, "cuda"),
        device => (false, device),
    };
    let run = |line: &str| -> Result<String, Failed> {
        let program =
            std::env::var_os("TILEGRAD_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_tilegrad").into());
        let mut command = Command::new(program);
        command.args(line.split(' ')).current_dir(folder).env("RAYON_NUM_THREADS", threads.to_string());
        if simulated {
            command.env(simulated::DRIVER, simulated::library()?);
        }
        let output = command.output().map_err(|error| error.to_string())?;
        match output.status.success() {
            true => Ok(String::from_utf8(output.stdout)?),
            false => Err(format!("{line}: {}", String::from_utf8_lossy(&output.stderr)).into()),
        }
    };
    let said = run(&format!(
        "train linear --data data.csv --target y --iterations {iterations} --device {device} --method {method} \
         --model model --history history"
    ))?;
    if device == "cpu" && !said.contains(&format!("on cpu ({threads} thread")) {
        return Err(format!("not on {threads} threads: {said}").into());
    }
    run(&format!("predict --model model --data data.csv --out predictions --device {device}"))?;
    let read = |name| fs::read(folder.join(name)).map_err(|error| error.to_string());
    Ok([read("model")?, read("history")?, read("predictions")?])
}

fn repeatable(device: &str, method: &str, shape: [usize; 2], iterations: usize) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("data.csv"), table(shape, 1))?;
    let first = outputs(folder.path(), [device, method], iterations, 1)?;
    for run in 1..RUNS {
        let threads = 1 + run % 2;
        let next = outputs(folder.path(), [device, method], iterations, threads)?;
        for (i, name) in ["model", "history", "predictions"].into_iter().enumerate() {
            if next[i] != first[i] {
                return Err(format!("run {run}, on {threads} threads: another {name} than the first").into());
            }
        }
    }
    Ok(())
}

/// The comparison can fail: data that differ in one number give another model.
fn other_data() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let text = table([1000, 20], 1);
    fs::write(folder.path().join("data.csv"), &text)?;
    let first = outputs(folder.path(), ["cpu", "direct"], 5, 1)?;
    let (names, numbers) = text.split_once('\n').ok_or("there is a line of names")?;
    let changed = format!("{names}\n{}", numbers.replacen('5', "6", 1));
    fs::write(folder.path().join("data.csv"), changed)?;
    match outputs(folder.path(), ["cpu", "direct"], 5, 1)? == first {
        true => Err("the same bytes from other data".into()),
        false => Ok(()),
    }
}
