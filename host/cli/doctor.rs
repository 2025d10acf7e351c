//! `tilegrad doctor`.

use std::fmt::Write;
use std::thread::available_parallelism;

use clap::Args;
use serde::Serialize;
use tilegrad::cuda::ptx::{Header, PTX_IS_STALE, PTX_MODULES, PTX_PROVENANCE};
use tilegrad::cuda::{GpuInfo, cuda_devices};
use tilegrad::engine::{Choice, Device};

use super::one_line;

/// Bytes of a GiB.
const GIB: f64 = (1_u64 << 30) as f64;

#[derive(Args)]
#[command(after_help = "Examples:
  tilegrad doctor
  tilegrad doctor --json")]
pub(super) struct Options {
    /// Print one JSON object in place of text
    #[arg(long)]
    json: bool,
}

impl Options {
    /// Says what can be used here, and why the rest cannot.
    pub(super) fn run(self) -> anyhow::Result<()> {
        let findings = Findings::new();
        if self.json { super::print_json(&findings) } else { super::print(&findings.text()?) }
    }
}

/// What was found, as `--json` prints it.
#[derive(Serialize)]
struct Findings {
    version: &'static str,
    architecture: &'static str,
    system: &'static str,
    cpu_threads: usize,
    engines: Vec<Found>,
    /// What `--device auto` takes.
    auto: String,
    /// The version of CUDA that the driver is for, if there is one to use.
    driver: Option<String>,
    gpus: Vec<FoundGpu>,
    ptx: Ptx,
    compilers: Vec<String>,
}

/// An engine, and whether it can be used.
#[derive(Serialize)]
struct Found {
    device: String,
    usable: bool,
    /// What it runs on, or why it cannot.
    description: String,
}

#[derive(Serialize)]
struct FoundGpu {
    index: usize,
    name: String,
    compute_capability: String,
    multiprocessors: u32,
    memory_bytes: u64,
    ecc: bool,
    usable: bool,
    /// The PTX that it takes, or why there is none for it.
    description: String,
}

#[derive(Serialize)]
struct Ptx {
    provenance: &'static str,
    stale: bool,
    modules: Vec<Module>,
}

#[derive(Serialize)]
struct Module {
    architecture: String,
    kernels: usize,
    /// The CUDA version that a driver needs.
    needs: Option<String>,
}

impl Findings {
    fn new() -> Self {
        let gpus = cuda_devices();
        let gpus = gpus.as_deref();
        let cuda = match gpus {
            Ok(gpus) => (0..gpus.len()).map(Device::Cuda).collect(),
            Err(_) => vec![Device::Cuda(0)],
        };
        let modules = PTX_MODULES.iter().map(|(architecture, module)| {
            let header = Header::of(module);
            Module {
                architecture: header
                    .map_or_else(|| format!("sm_{architecture}"), |header| header.to_string()),
                kernels: module.matches(".entry").count(),
                needs: header.and_then(|header| header.needed_cuda()).map(|cuda| cuda.to_string()),
            }
        });
        Findings {
            version: env!("CARGO_PKG_VERSION"),
            architecture: std::env::consts::ARCH,
            system: std::env::consts::OS,
            cpu_threads: available_parallelism().map_or(1, usize::from),
            engines: [Device::Loop, Device::Cpu, Device::Emulator]
                .into_iter()
                .chain(cuda)
                .map(Found::new)
                .collect(),
            auto: match Choice::Auto.device() {
                Ok((device, _)) => device.to_string(),
                Err(reason) => format!("nothing: {}", one_line(&reason)),
            },
            driver: gpus.ok().and_then(|gpus| gpus.first()).map(|gpu| gpu.driver.to_string()),
            gpus: gpus.unwrap_or_default().iter().map(FoundGpu::new).collect(),
            ptx: Ptx { provenance: PTX_PROVENANCE, stale: PTX_IS_STALE, modules: modules.collect() },
            compilers: cuda_builder::candidates().iter().map(one_line).collect(),
        }
    }

    fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        let Findings { version, architecture, system, cpu_threads, .. } = self;
        writeln!(text, "tilegrad {version} on {architecture} {system}, {cpu_threads} CPU threads\n")?;

        writeln!(text, "Engines (--device):")?;
        for Found { device, usable, description } in &self.engines {
            match usable {
                true => writeln!(text, "  usable    {description}")?,
                false => writeln!(text, "  unusable  {device}: {description}")?,
            }
        }
        writeln!(text, "  auto takes {}\n", self.auto)?;

        match &self.driver {
            None => writeln!(text, "CUDA driver: none to use, see above")?,
            Some(version) => writeln!(text, "CUDA driver: for CUDA {version}")?,
        }
        for gpu in &self.gpus {
            let FoundGpu { index, name, compute_capability, multiprocessors, description, .. } = gpu;
            writeln!(
                text,
                "  GPU {index}: {name}, compute capability {compute_capability}, {multiprocessors} multiprocessors, \
                 {:.0} GiB{}: {}{description}",
                gpu.memory_bytes as f64 / GIB,
                if gpu.ecc { " with ECC" } else { "" },
                if gpu.usable { "usable with " } else { "" },
            )?;
        }
        writeln!(text, "\nPTX of the kernels: {}", self.ptx.provenance)?;
        if self.ptx.stale {
            writeln!(text, "  it cannot be used: it is missing, or older than the kernels' sources")?;
        }
        for Module { architecture, kernels, needs } in &self.ptx.modules {
            let needs =
                needs.as_ref().map_or(String::new(), |cuda| format!(", for drivers from CUDA {cuda} on"));
            writeln!(text, "  {architecture}: {kernels} kernels{needs}")?;
        }

        writeln!(text, "\nCompilers for the kernels (the first that is usable is taken):")?;
        for compiler in &self.compilers {
            writeln!(text, "  {compiler}")?;
        }
        if self.compilers.is_empty() {
            writeln!(text, "  none found: the prebuilt PTX serves; README.md says how to get one")?;
        }
        Ok(text)
    }
}

impl Found {
    /// Opened in earnest: that is what an engine must stand.
    fn new(device: Device) -> Self {
        let (usable, description) = match device.description() {
            Ok(description) => (true, description),
            Err(tilegrad::Error::Unusable { reason, .. }) => (false, one_line(&reason)),
            Err(error) => (false, one_line(&error)),
        };
        Found { device: device.to_string(), usable, description }
    }
}

impl FoundGpu {
    fn new(gpu: &GpuInfo) -> Self {
        let (usable, description) = match gpu.modules() {
            Ok(modules) => {
                let targets: Vec<_> = modules.iter().map(|(header, _)| header.to_string()).collect();
                (true, format!("PTX for {}", targets.join(" and ")))
            }
            Err(reason) => (false, one_line(&reason)),
        };
        FoundGpu {
            index: gpu.index,
            name: gpu.name.clone(),
            compute_capability: gpu.capability.to_string(),
            multiprocessors: gpu.multiprocessors,
            memory_bytes: gpu.memory as u64,
            ecc: gpu.ecc,
            usable,
            description,
        }
    }
}
