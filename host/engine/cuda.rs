//! The engine on a GPU.

use super::DeviceEngine;
use crate::cuda::Gpu;
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
        Ok(DeviceEngine::on(gpu, description, arithmetic).for_architecture(capability))
    }
}
