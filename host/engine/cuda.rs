//! The engine on a GPU.

use cuda_std::Device;
use kernels::matmul::wgmma::MATMUL_WGMMA;

use super::DeviceEngine;
use crate::cuda::{Gpu, Version};
use crate::{Error, Result};

/// The kernels' PTX on an NVIDIA GPU.
pub type Cuda = DeviceEngine<Gpu>;

impl Cuda {
    /// An engine on GPU `index`, counted from 0.
    ///
    /// # Errors
    /// [`Error::Unusable`], with the reason: no driver, no such GPU, one of the two too old, PTX refused.
    pub fn open(index: usize) -> Result<Self> {
        let gpu = Gpu::open(index).map_err(|reason| Error::Unusable {
            device: if index == 0 { "cuda".to_owned() } else { format!("cuda:{index}") },
            reason: reason.to_string(),
        })?;
        let description = format!(
            "{} (compute capability {}, driver for CUDA {})",
            gpu.info().name,
            gpu.info().capability,
            gpu.info().driver
        );
        let capability = gpu.info().capability;
        // Its approximate functions may differ between generations of GPUs; all else is rounded as IEEE 754 says.
        let arithmetic = format!("cuda, compute capability {capability}");
        // A driver that is too old for the PTX with warpgroups' products leaves the kernels for all architectures.
        let architecture =
            if gpu.has(MATMUL_WGMMA.entry()) { capability } else { capability.min(Version::new(8, 9)) };
        Ok(DeviceEngine::on(gpu, description, arithmetic).for_architecture(architecture))
    }
}
