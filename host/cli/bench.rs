//! `tilegrad bench`: kernels and operations at fixed shapes. On the emulator: what they ask of the hardware; elsewhere:
//! how long they take.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use tilegrad::Error;
use tilegrad::bench::{
    Counted, Effort, Keep, Report, Scale, Selection, Settings, count, table, time_engine, time_gpu,
};
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
checked first; what is wrong gets no figure, and the exit code is 1. What was timed is in the file of --json as soon as it
was: when the driver fails, or the time is up, nothing is lost. TILEGRAD_CUBLAS names another cuBLAS than
the system's.

--rungs measures from which sizes on each of the product's kernels is the fastest on this GPU. Where TILEGRAD_RUNGS names the
file that its --json wrote, all commands and programs choose by it in place of estimates: results on other
kinds of GPU may then differ in their last bits.

Examples:
  tilegrad bench --device emulator
  tilegrad bench --device emulator --filter matmul --json counts.json
  tilegrad bench --device cuda --headline
  tilegrad bench --device cuda --json h200.json --plot h200.svg
  tilegrad bench --device cuda --rungs --json rungs.json"
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
    /// The few figures that one asks for first: the step of descent, the moments, large products, a small batch's layer
    #[arg(long, conflicts_with = "rungs")]
    headline: bool,
    /// On a GPU: the rungs of the matrix product alone, at many shapes, and from which sizes on each is the fastest
    #[arg(long)]
    rungs: bool,
    /// The commit to be named in the results [default: the one that the build was told, or unknown]
    #[arg(long, value_name = "TEXT")]
    commit: Option<String>,
}

/// Writes a report as JSON, in place of what was there.
fn write(json: &Output, report: &Report) -> tilegrad::Result<()> {
    let text = serde_json::to_string_pretty(report).map_err(|error| Error::File {
        action: "write",
        path: json.path().to_owned(),
        source: error.into(),
    })?;
    json.write((text + "\n").as_bytes())
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
                (self.headline, "--headline"),
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
        // Rungs are measured whatever was measured before; whether there is a GPU is seen at once.
        if !self.rungs {
            self.device.check()?;
        }
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
        let report = self.time(&mut |report| match &json {
            Some(json) if json.is_file() => write(json, report),
            _ => Ok(()),
        })?;
        if let Some(json) = json {
            write(&json, &report)?;
        }
        if let Some((plot, format)) = plot {
            plot.write(&report.roofline(format)?)?;
        }
        super::print(&report.text())?;
        if let Some(problem) = &report.problem {
            anyhow::bail!("{problem}; what was timed before is in the table");
        }
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

    fn time(&self, keep: Keep<'_>) -> tilegrad::Result<Report> {
        let selection = match (self.headline, self.rungs) {
            (true, _) => Selection::Headline,
            (false, true) => Selection::Rungs,
            (false, false) => Selection::All,
        };
        let (scale, effort) = match selection {
            _ if self.small => (Scale::Counted, Effort::LITTLE),
            Selection::Rungs => (Scale::Timed, Effort::SHORT),
            Selection::All | Selection::Headline => (Scale::Timed, Effort::FULL),
        };
        let commit =
            self.commit.clone().or(COMMIT.map(str::to_owned)).unwrap_or_else(|| "unknown".to_owned());
        let settings = Settings { scale, selection, effort, filter: self.filter.clone(), commit };
        let device = self.device.to_string();
        match self.device {
            Device::Cuda(index) => time_gpu(index, device, &settings, keep),
            Device::Loop => time_engine(&Loop, device, &settings, Some(LOOP_OPERATIONS), keep),
            Device::Cpu | Device::Emulator => time_engine(&Cpu, device, &settings, None, keep),
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
