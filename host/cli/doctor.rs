//! `tilegrad doctor`.

use std::fmt::Write;
use std::thread::available_parallelism;

use tilegrad::cuda::ptx::{Header, PTX_IS_STALE, PTX_MODULES, PTX_PROVENANCE};
use tilegrad::cuda::{GpuInfo, Version, cuda_devices};
use tilegrad::engine::Device;

use super::one_line;

/// Bytes of a GiB.
const GIB: f64 = (1_u64 << 30) as f64;

/// Says what can be used here, and why the rest cannot.
pub(super) fn run() -> anyhow::Result<()> {
    let mut text = format!(
        "tilegrad {} on {} {}, {} CPU threads\n\n",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::ARCH,
        std::env::consts::OS,
        available_parallelism().map_or(1, usize::from),
    );
    let gpus = cuda_devices();
    engines(&mut text, gpus.as_deref())?;
    driver(&mut text, gpus.as_deref())?;
    ptx(&mut text)?;
    compilers(&mut text)?;
    super::print(&text)
}

type Gpus<'a> = Result<&'a [GpuInfo], &'a tilegrad::cuda::Error>;

fn engines(text: &mut String, gpus: Gpus<'_>) -> anyhow::Result<()> {
    let cuda = match gpus {
        Ok(gpus) => (0..gpus.len()).map(Device::Cuda).collect(),
        Err(_) => vec![Device::Cuda(0)],
    };
    writeln!(text, "Engines (--device):")?;
    for device in [Device::Loop, Device::Cpu, Device::Emulator].into_iter().chain(cuda) {
        // Opened in earnest: that is what an engine must stand.
        match device.description() {
            Ok(description) => writeln!(text, "  usable    {description}")?,
            Err(tilegrad::Error::Unusable { reason, .. }) => {
                writeln!(text, "  unusable  {device}: {}", one_line(&reason))?;
            }
            Err(error) => writeln!(text, "  unusable  {device}: {}", one_line(&error))?,
        }
    }
    writeln!(text, "  auto takes {}\n", Device::automatic().0)?;
    Ok(())
}

fn driver(text: &mut String, gpus: Gpus<'_>) -> anyhow::Result<()> {
    match gpus {
        Err(_) => writeln!(text, "CUDA driver: none to use, see above\n")?,
        Ok(gpus) => {
            let version = gpus.first().map_or(Version::new(0, 0), |gpu| gpu.driver);
            writeln!(text, "CUDA driver: for CUDA {version}")?;
            for gpu in gpus {
                let usable = match gpu.module() {
                    Ok((header, _)) => format!("usable with PTX for {}", header.target),
                    Err(reason) => one_line(&reason),
                };
                writeln!(
                    text,
                    "  GPU {}: {}, compute capability {}, {} multiprocessors, {:.0} GiB{}: {usable}",
                    gpu.index,
                    gpu.name,
                    gpu.capability,
                    gpu.multiprocessors,
                    gpu.memory as f64 / GIB,
                    if gpu.ecc { " with ECC" } else { "" },
                )?;
            }
            writeln!(text)?;
        }
    }
    Ok(())
}

fn ptx(text: &mut String) -> anyhow::Result<()> {
    writeln!(text, "PTX of the kernels: {PTX_PROVENANCE}")?;
    if PTX_IS_STALE {
        writeln!(text, "  it cannot be used: it is missing, or older than the kernels' sources")?;
    }
    for (architecture, module) in PTX_MODULES {
        let header = Header::of(module);
        let needs = header.and_then(|header| header.needed_cuda());
        let needs = needs.map_or(String::new(), |cuda| format!(", for drivers from CUDA {cuda} on"));
        writeln!(text, "  sm_{architecture}: {} kernels{needs}", module.matches(".entry").count())?;
    }
    writeln!(text)?;
    Ok(())
}

fn compilers(text: &mut String) -> anyhow::Result<()> {
    let found = cuda_builder::candidates();
    writeln!(text, "Compilers for the kernels (the first that is usable is taken):")?;
    for compiler in &found {
        writeln!(text, "  {}", one_line(compiler))?;
    }
    if found.is_empty() {
        writeln!(text, "  none found: the prebuilt PTX serves; README.md says how to get one")?;
    }
    Ok(())
}
