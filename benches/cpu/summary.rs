//! The table at the end: each operation beside OpenBLAS and beside what the machine can do.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tilegrad::bench::{Effort, Limits};
use tilegrad::report::{TextTable, significant};

use super::OpenBlas;
use super::turns::Ratio;

/// A time that criterion measured.
struct Timing {
    group: String,
    engine: String,
    shape: String,
    /// Median and, with 95 % confidence, from where to where it may be, in seconds.
    median: f64,
    interval: [f64; 2],
    /// Bytes or operations.
    bytes: Option<f64>,
    operations: Option<f64>,
}

/// Prints what was measured since `start`.
pub fn print(start: SystemTime, ratios: &[Ratio], peer: Option<&OpenBlas>) {
    let timings = timings(&folder(), start);
    if timings.is_empty() {
        return;
    }
    let limits = match Limits::of_cpu(&Effort::FULL) {
        Ok(limits) => limits,
        Err(error) => {
            return eprintln!("no summary, because the machine's limits could not be measured: {error}");
        }
    };
    let mut table = TextTable::new([
        "operation",
        "shape",
        "engine",
        "ms",
        "from",
        "to",
        "of its limit",
        "OpenBLAS / it",
        "quartiles",
    ]);
    for timing in &timings {
        let ratio = ratios.iter().find(|ratio| {
            timing.engine == "cpu" && (&ratio.group, &ratio.shape) == (&timing.group, &timing.shape)
        });
        let quartiles = |ratio: &Ratio| {
            let [lower, upper] = [ratio.of_rounds.lower_quartile, ratio.of_rounds.upper_quartile];
            format!("{} to {}", significant(lower, 3), significant(upper, 3))
        };
        let of_limit = match (timing.bytes, timing.operations, limits.arithmetic) {
            (Some(bytes), ..) => Some(bytes / timing.median / limits.bandwidth),
            (_, Some(operations), Some(peak)) => Some(operations / timing.median / peak),
            _ => None,
        };
        let text = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| significant(value, 3));
        let [from, to] = timing.interval;
        table.row([
            timing.group.clone(),
            timing.shape.clone(),
            timing.engine.clone(),
            significant(1e3 * timing.median, 3),
            significant(1e3 * from, 3),
            significant(1e3 * to, 3),
            text(of_limit),
            text(ratio.map(|ratio| ratio.of_rounds.median)),
            ratio.map_or_else(|| "-".to_owned(), quartiles),
        ]);
    }
    println!("\n{table}");
    println!("Medians, with the ends of their 95 % intervals. Limits, measured after them:");
    println!("  {} GB/s, {}", significant(limits.bandwidth / 1e9, 3), limits.bandwidth_of);
    if let Some(peak) = limits.arithmetic {
        println!("  {} GFLOP/s, {}", significant(peak / 1e9, 3), limits.arithmetic_of);
    }
    if let Some(peer) = peer {
        println!("Peer: {}.", peer.about);
    }
    if let Some(ratio) = ratios.first() {
        println!(
            "How many times as long it takes: median and quartiles of {} rounds of a turn each. Of a step it computes two
products without scaling, of a dense layer the product and the bias, and no sigmoid.",
            ratio.of_rounds.samples
        );
    }
}

/// Where criterion keeps what it measures.
fn folder() -> PathBuf {
    if let Some(named) = env::var_os("CRITERION_HOME") {
        return PathBuf::from(named);
    }
    // This program is target/release/deps/cpu-….
    let program = env::current_exe().unwrap_or_default();
    program.ancestors().nth(3).unwrap_or(Path::new("target")).join("criterion")
}

/// What was measured since `start`, in the order of the names.
fn timings(folder: &Path, start: SystemTime) -> Vec<Timing> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let is_new =
                || entry.metadata().and_then(|metadata| metadata.modified()).is_ok_and(|at| at >= start);
            if path.is_dir() {
                folders.push(path);
            } else if path.ends_with("new/benchmark.json") && is_new() {
                found.extend(timing(&path));
            }
        }
    }
    found.sort_by(|a, b| (&a.group, &a.shape, &a.engine).cmp(&(&b.group, &b.shape, &b.engine)));
    found
}

fn timing(benchmark: &Path) -> Option<Timing> {
    let json = |path: &Path| -> Option<serde_json::Value> {
        serde_json::from_str(&fs::read_to_string(path).ok()?).ok()
    };
    let names = json(benchmark)?;
    let median = &json(&benchmark.with_file_name("estimates.json"))?["median"];
    let text = |key: &str| names[key].as_str().map(str::to_owned);
    let seconds = |value: &serde_json::Value| value.as_f64().map(|nanoseconds| 1e-9 * nanoseconds);
    let interval = &median["confidence_interval"];
    Some(Timing {
        group: text("group_id")?,
        engine: text("function_id")?,
        shape: text("value_str")?,
        median: seconds(&median["point_estimate"])?,
        interval: [seconds(&interval["lower_bound"])?, seconds(&interval["upper_bound"])?],
        bytes: names["throughput"]["Bytes"].as_f64(),
        operations: names["throughput"]["Elements"].as_f64(),
    })
}
