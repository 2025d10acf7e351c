//! From the name of a device to an engine: the only place that names every engine's type.
//!
//! ```
//! use tilegrad::Result;
//! use tilegrad::engine::{Device, Engine, Job};
//!
//! struct Describe;
//!
//! impl Job for Describe {
//!     type Output = String;
//!
//!     fn run<E: Engine>(self, engine: &E) -> Result<String> {
//!         Ok(engine.description())
//!     }
//! }
//!
//! let device: Device = "cpu".parse().map_err(tilegrad::Error::Setting)?;
//! assert!(device.run(Describe)?.starts_with("cpu"));
//! # Ok::<(), tilegrad::Error>(())
//! ```

use std::fmt;
use std::str::FromStr;

use super::{Cpu, Cuda, Emulator, Engine, Loop, Rungs};
use crate::cuda::{GpuInfo, cuda_devices};
use crate::{Error, Result};

/// An engine by name: "loop", "cpu", "emulator", "cuda", "cuda:1".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// [`Loop`]
    Loop,
    /// [`Cpu`]
    Cpu,
    /// [`Emulator`]
    Emulator,
    /// [`Cuda`] on the GPU of this number, from 0.
    Cuda(usize),
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Loop => f.write_str("loop"),
            Device::Cpu => f.write_str("cpu"),
            Device::Emulator => f.write_str("emulator"),
            Device::Cuda(0) => f.write_str("cuda"),
            Device::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

impl FromStr for Device {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        // A list may have spaces after its commas.
        let name = name.trim();
        match name {
            "loop" => Ok(Device::Loop),
            "cpu" => Ok(Device::Cpu),
            "emulator" => Ok(Device::Emulator),
            "cuda" => Ok(Device::Cuda(0)),
            _ => {
                name.strip_prefix("cuda:").and_then(|index| index.parse().ok()).map(Device::Cuda).ok_or_else(
                    || "the devices are loop, cpu, emulator, cuda and cuda:N (GPU N, from 0)".to_owned(),
                )
            }
        }
    }
}

/// A device, or "auto".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// A GPU if one can be used, else the CPU's cores.
    Auto,
    /// This one, and no other in its place.
    Named(Device),
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "auto" => Ok(Choice::Auto),
            _ => name.parse().map(Choice::Named).map_err(|text: String| text.replacen("are", "are auto,", 1)),
        }
    }
}

impl Choice {
    /// The device to use, and why if that was not said: a line for people.
    ///
    /// Takes no time to speak of, so that a device that cannot be used is known before long work on the data.
    ///
    /// # Errors
    /// [`Error::Unusable`]: the device that was asked for by name cannot be used.
    pub fn device(self) -> Result<(Device, Option<String>)> {
        match self {
            Choice::Named(device) => device.check().map(|()| (device, None)),
            Choice::Auto => {
                let (device, why) = Device::automatic();
                device.check()?;
                Ok((device, Some(format!("device: {device}, {why}"))))
            }
        }
    }
}

fn first_usable_gpu() -> Result<GpuInfo, crate::cuda::Error> {
    let mut first_reason = None;
    for gpu in cuda_devices()? {
        match gpu.modules() {
            Ok(_) => return Ok(gpu),
            Err(reason) => first_reason = first_reason.or(Some(reason)),
        }
    }
    Err(first_reason.unwrap_or(crate::cuda::Error::NoGpu))
}

impl Device {
    /// What [`Choice::Auto`] takes, and why: the first GPU that can be used, else the CPU's cores.
    pub fn automatic() -> (Self, String) {
        match first_usable_gpu() {
            Ok(gpu) => (Device::Cuda(gpu.index), format!("because there is a GPU: {}", gpu.name)),
            Err(reason) => (Device::Cpu, format!("because there is no GPU to use: {reason}")),
        }
    }

    /// Whether the device can be used, as far as can be told without opening it, and a file that
    /// [`RUNGS_VARIABLE`](super::RUNGS_VARIABLE) names with it.
    ///
    /// # Errors
    /// [`Error::Unusable`], with the reason.
    pub fn check(self) -> Result<()> {
        let Device::Cuda(index) = self else { return Ok(()) };
        let unusable = |reason: String| Error::Unusable { device: self.to_string(), reason };
        let gpus = cuda_devices().map_err(|reason| unusable(reason.to_string()))?;
        match gpus.get(index) {
            Some(gpu) => {
                gpu.modules().map_err(|reason| unusable(reason.to_string()))?;
                Rungs::named(gpu).map(drop).map_err(unusable)
            }
            None => {
                let missing = crate::cuda::Error::NoSuchGpu { index, count: gpus.len() };
                Err(unusable(missing.to_string()))
            }
        }
    }

    /// Does `job` on the device's engine.
    ///
    /// # Errors
    /// The device cannot be used, or what the job reports.
    pub fn run<J: Job>(self, job: J) -> Result<J::Output> {
        match self {
            Device::Loop => job.run(&Loop),
            Device::Cpu => job.run(&Cpu),
            Device::Emulator => job.run(&Emulator::new()),
            Device::Cuda(index) => job.run(&Cuda::open(index)?),
        }
    }

    /// What the device's engine runs on, beginning with the device's name.
    ///
    /// # Errors
    /// The device cannot be used.
    pub fn description(self) -> Result<String> {
        struct Describe;
        impl Job for Describe {
            type Output = String;
            fn run<E: Engine>(self, engine: &E) -> Result<String> {
                Ok(engine.description())
            }
        }
        self.run(Describe).map(|description| self.titled(&description))
    }

    /// An engine's description with the device's name before it, if it does not begin so.
    pub fn titled(self, description: &str) -> String {
        let name = self.to_string();
        if description.starts_with(&name) { description.to_owned() } else { format!("{name}: {description}") }
    }
}

/// Work that any engine can do.
pub trait Job {
    /// What it gives.
    type Output;

    /// Does it on `engine`.
    ///
    /// # Errors
    /// What the engine reports, and what the job finds wrong.
    fn run<E: Engine>(self, engine: &E) -> Result<Self::Output>;
}
