//! The engine on a GPU.

use std::path::PathBuf;

use cuda_std::Device as _;
use kernels::matmul::wgmma::MATMUL_WGMMA;

use super::{Device, DeviceEngine, RUNGS_VARIABLE, Rungs};
use crate::cuda::{Gpu, GpuInfo};
use crate::{Error, Result};

/// The kernels' PTX on an NVIDIA GPU.
pub type Cuda = DeviceEngine<Gpu>;

impl Cuda {
    /// An engine on GPU `index`, counted from 0. From which sizes on each of the product's kernels is taken is estimated, or read
    /// from the file that [`RUNGS_VARIABLE`] names.
    ///
    /// # Errors
    /// [`Error::Unusable`], with the reason: no driver, no such GPU, one of the two too old, PTX refused; or the named file
    /// cannot be read, or is of another GPU.
    pub fn open(index: usize) -> Result<Self> {
        Cuda::open_with(index, Rungs::named)
    }

    /// The same by estimates, whatever the variable names: for who is about to measure.
    ///
    /// # Errors
    /// [`Error::Unusable`], with the reason.
    pub(crate) fn open_unmeasured(index: usize) -> Result<Self> {
        Cuda::open_with(index, |_| Ok(None))
    }

    fn open_with(
        index: usize,
        named: impl FnOnce(&GpuInfo) -> Result<Option<(Rungs, PathBuf)>, String>,
    ) -> Result<Self> {
        let unusable = |reason| Error::Unusable { device: Device::Cuda(index).to_string(), reason };
        let gpu = Gpu::open(index).map_err(|reason| unusable(reason.to_string()))?;
        let GpuInfo { name, capability, driver, .. } = gpu.info();
        let (rungs, source) = match named(gpu.info()).map_err(unusable)? {
            None => (None, String::new()),
            Some((rungs, path)) if rungs.wgmma.is_some() && !gpu.has(MATMUL_WGMMA.entry()) => {
                return Err(unusable(format!(
                    "{RUNGS_VARIABLE} names {}, which takes a kernel that this driver is too old for: update it, or measure again",
                    path.display()
                )));
            }
            Some((rungs, path)) => (Some(rungs), format!(", rungs as measured in {}", path.display())),
        };
        let description =
            format!("{name} (compute capability {capability}, driver for CUDA {driver}{source})");
        // Its approximate functions may differ between generations of GPUs; all else is rounded as IEEE 754 says.
        let arithmetic = format!("cuda, compute capability {capability}");
        let capability = *capability;
        let engine = DeviceEngine::on(gpu, description, arithmetic).for_architecture(capability);
        Ok(match rungs {
            Some(rungs) => engine.with_rungs(rungs),
            None => engine,
        })
    }
}
