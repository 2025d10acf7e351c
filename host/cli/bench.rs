//! `tilegrad bench`: each kernel at fixed shapes. On the emulator: what it asks of the hardware.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use tilegrad::Error;
use tilegrad::bench::{Counted, count, table};
use tilegrad::data::Output;

use super::device::Device;

#[derive(Args)]
#[command(
    after_help = "On the emulator: counts, the same in every run, which kernels/counters.txt holds for all kernels.

Examples:
  tilegrad bench --device emulator
  tilegrad bench --device emulator --filter matmul --json counts.json"
)]
pub(super) struct Options {
    /// Where the kernels run: emulator
    #[arg(long, value_name = "DEVICE", default_value = "emulator")]
    device: Device,
    /// Only kernels whose name contains this
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    filter: String,
    /// Write all counts to this file as well, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What `--json` writes.
#[derive(Serialize)]
struct Report {
    device: String,
    kernels: Vec<Counted>,
}

impl Options {
    pub(super) fn run(self) -> anyhow::Result<()> {
        if self.device != Device::Emulator {
            return Err(Error::Setting(format!(
                "timing the kernels on {} is not built yet; `--device emulator` counts what they do",
                self.device
            ))
            .into());
        }
        let output = self.json.map(Output::new).transpose()?;
        let kernels = count(cuda_std::Emulator::default(), &self.filter)?;
        let text = table(&kernels);
        if let Some(output) = output {
            let report = Report { device: self.device.to_string(), kernels };
            output.write((serde_json::to_string_pretty(&report)? + "\n").as_bytes())?;
        }
        super::print(&text)
    }
}
