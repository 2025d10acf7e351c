//! `tilegrad bench`: kernels and operations at fixed shapes. On the emulator: what they ask of the hardware; elsewhere:
//! how long they take.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use tilegrad::Error;
use tilegrad::bench::{Counted, Effort, Report, Scale, Settings, count, table, time_engine, time_gpu};
use tilegrad::data::Output;
use tilegrad::engine::{Cpu, Device, Loop};

/// What the loops get through in seconds: what asks for more is left out there.
const LOOP_OPERATIONS: u64 = 1_000_000_000;

/// The commit, if the build was told.
const COMMIT: Option<&str> = option_env!("TILEGRAD_COMMIT");

#[derive(Args)]
#[command(
    after_help = "On the emulator: counts, the same in every run, which kernels/counters.txt holds for all kernels.
On cuda: each kernel by the GPU's clock and each operation by the host's, beside the bandwidth of a copy and cuBLAS, if it
is there. On cpu and loop: the operations, beside the bandwidth of reading and the arithmetic of the cores. Each is
checked first; what is wrong gets no figure, and the exit code is 1. TILEGRAD_CUBLAS names another cuBLAS than the
system's.

Examples:
  tilegrad bench --device emulator
  tilegrad bench --device emulator --filter matmul --json counts.json
  tilegrad bench --device cuda --json h200.json --plot h200.svg
  tilegrad bench --device cuda --rungs"
)]
pub(super) struct Options {
    /// Where it runs: emulator (counts), cuda, cuda:N, cpu, loop (times)
    #[arg(long, value_name = "DEVICE", default_value = "emulator")]
    device: Device,
    /// Only what has this in its name
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    filter: String,
    /// Write everything to this file as well, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw what was timed under the limits of the machine, as SVG or PNG
    #[arg(long, value_name = "FILE.svg|png")]
    plot: Option<PathBuf>,
    /// Time at the small shapes of the counts, a few times: whether all is right, not how fast it is
    #[arg(long)]
    small: bool,
    /// On a GPU: the rungs of the matrix product alone, at many shapes, and from which sizes on each is the fastest
    #[arg(long)]
    rungs: bool,
    /// The commit to be named in the results [default: the one that the build was told, or unknown]
    #[arg(long, value_name = "TEXT")]
    commit: Option<String>,
}

/// What `--json` writes on the emulator.
#[derive(Serialize)]
struct Counts {
    device: String,
    kernels: Vec<Counted>,
}

impl Options {
    pub(super) fn run(self) -> anyhow::Result<()> {
        if self.device == Device::Emulator {
            for (given, option) in [
                (self.plot.is_some(), "--plot"),
                (self.small, "--small"),
                (self.rungs, "--rungs"),
                (self.commit.is_some(), "--commit"),
            ] {
                if given {
                    return Err(Error::Setting(format!(
                        "{option} is for what is timed, and the emulator counts: leave it out, or choose another device"
                    ))
                    .into());
                }
            }
            return self.count();
        }
        if self.rungs && !matches!(self.device, Device::Cuda(_)) {
            return Err(Error::Setting(format!(
                "--rungs is for kernels on a GPU, and {} has none: leave it out, or choose cuda",
                self.device
            ))
            .into());
        }
        self.device.check()?;
        let json = self.json.as_ref().map(Output::new).transpose()?;
        let plot = self.plot.as_ref().map(super::output::picture).transpose()?;
        if let (Some(json), Some((plot, _))) = (&json, &plot)
            && json.is_same_file(plot.path())
        {
            return Err(Error::Setting(format!(
                "--json and --plot name the same file, {}: give two",
                plot.path().display()
            ))
            .into());
        }
        let report = self.time()?;
        if let Some(json) = json {
            json.write((serde_json::to_string_pretty(&report)? + "\n").as_bytes())?;
        }
        if let Some((plot, format)) = plot {
            plot.write(&report.roofline(format)?)?;
        }
        super::print(&report.text())?;
        match report.wrong().as_slice() {
            [] => Ok(()),
            wrong => anyhow::bail!(
                "{} wrong, and without figures: {}; the table says what is wrong with each",
                if wrong.len() == 1 {
                    "1 result is".to_owned()
                } else {
                    format!("{} results are", wrong.len())
                },
                wrong.join(", ")
            ),
        }
    }

    fn time(&self) -> tilegrad::Result<Report> {
        let (scale, effort) = match (self.small, self.rungs) {
            (true, _) => (Scale::Counted, Effort::LITTLE),
            (false, true) => (Scale::Timed, Effort::SHORT),
            (false, false) => (Scale::Timed, Effort::FULL),
        };
        let commit =
            self.commit.clone().or(COMMIT.map(str::to_owned)).unwrap_or_else(|| "unknown".to_owned());
        let settings = Settings { scale, rungs: self.rungs, effort, filter: self.filter.clone(), commit };
        let device = self.device.to_string();
        match self.device {
            Device::Cuda(index) => time_gpu(index, device, &settings),
            Device::Loop => time_engine(&Loop, device, &settings, Some(LOOP_OPERATIONS)),
            Device::Cpu | Device::Emulator => time_engine(&Cpu, device, &settings, None),
        }
    }

    fn count(self) -> anyhow::Result<()> {
        let output = self.json.map(Output::new).transpose()?;
        let kernels = count(cuda_std::Emulator::default(), &self.filter)?;
        let text = table(&kernels);
        if let Some(output) = output {
            let counts = Counts { device: self.device.to_string(), kernels };
            output.write((serde_json::to_string_pretty(&counts)? + "\n").as_bytes())?;
        }
        super::print(&text)
    }
}
