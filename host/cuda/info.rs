//! The GPUs that the driver sees.

use std::ffi::{CStr, c_char, c_int, c_uint};

use cust::sys::CUdevice;

use super::api::{self, call};
use super::{Error, Version, driver, ptx};

/// The least compute capability that the kernels are compiled for: Ampere.
pub const LEAST_CAPABILITY: Version = Version::new(8, 0);

/// One GPU, as the driver describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GpuInfo {
    /// Its number, as in `cuda:N`.
    pub index: usize,
    /// Its name, such as "NVIDIA H200".
    pub name: String,
    /// Its compute capability.
    pub capability: Version,
    /// Its streaming multiprocessors.
    pub multiprocessors: u32,
    /// Bytes of shared memory that one block may have.
    pub shared_bytes: usize,
    /// Its memory in bytes.
    pub memory: usize,
    /// Whether its memory corrects errors.
    pub ecc: bool,
    /// The newest CUDA version that the driver knows.
    pub driver: Version,
}

/// What the driver tells of a GPU's speed. It is what the GPU may reach, not what it has while it works.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clocks {
    /// The highest clock of the multiprocessors, in Hz.
    pub multiprocessor: f64,
    /// The highest clock of the memory, in Hz.
    pub memory: f64,
    /// The width of the way to the memory, in bits.
    pub bus: u32,
    /// Bytes of the second-level cache.
    pub cache: u32,
}

impl GpuInfo {
    /// Its clocks.
    ///
    /// # Errors
    /// The driver does not tell them.
    pub fn clocks(&self) -> Result<Clocks, Error> {
        let index = self.index;
        let mut device: CUdevice = 0;
        // SAFETY: `device` is a place for the handle.
        unsafe { call!(cuDeviceGet(&raw mut device, index as c_int), "GPU {index}") }?;
        let hertz = |attribute| Ok(1e3 * f64::from(self::attribute(index, device, attribute)?));
        Ok(Clocks {
            multiprocessor: hertz(api::CLOCK_RATE)?,
            memory: hertz(api::MEMORY_CLOCK_RATE)?,
            bus: attribute(index, device, api::MEMORY_BUS_WIDTH)?,
            cache: attribute(index, device, api::L2_CACHE_SIZE)?,
        })
    }

    /// Whether the kernels can run on this GPU with this driver; if so, the PTX for it, with its header: first that of the
    /// kernels for all GPUs, then that of others for this architecture alone, if the driver knows it.
    ///
    /// # Errors
    /// The GPU or the driver is too old, or this program carries no PTX for it.
    pub fn modules(&self) -> Result<Vec<(ptx::Header, &'static str)>, Error> {
        if self.capability < LEAST_CAPABILITY {
            let (name, capability) = (self.name.clone(), self.capability);
            return Err(Error::OldGpu { name, capability, needed: LEAST_CAPABILITY });
        }
        if ptx::PTX_IS_STALE && !ptx::PTX_MODULES.is_empty() {
            let problem = "the kernels' PTX in this program is older than their sources".to_owned();
            return Err(Error::Ptx { problem });
        }
        let mut chosen = ptx::choose(&ptx::PTX_MODULES, self.capability)?;
        let needed = |header: &ptx::Header| header.needed_cuda().filter(|&needed| self.driver < needed);
        if let Some((header, needed)) = chosen.first().and_then(|(header, _)| Some((header, needed(header)?)))
        {
            return Err(Error::OldDriver { driver: self.driver, ptx: header.version, needed });
        }
        chosen.retain(|(header, _)| needed(header).is_none());
        Ok(chosen)
    }
}

/// The GPUs of this machine, usable or not: [`GpuInfo::modules`] says which.
///
/// # Errors
/// There is no driver, it cannot start, or it sees no GPU.
pub fn cuda_devices() -> Result<Vec<GpuInfo>, Error> {
    let (driver, count) = start()?;
    (0..count).map(|index| describe(index, driver).map(|(info, _)| info)).collect()
}

/// GPU `index` and the driver's handle for it.
pub(super) fn device(index: usize) -> Result<(GpuInfo, CUdevice), Error> {
    let (driver, count) = start()?;
    if index >= count {
        return Err(Error::NoSuchGpu { index, count });
    }
    describe(index, driver)
}

/// Starts the driver: its CUDA version, and how many GPUs it sees (at least one).
fn start() -> Result<(Version, usize), Error> {
    driver::load()?;
    let mut version: c_int = 0;
    // SAFETY: `version` is a place for the number. This call alone may come before cuInit.
    unsafe { call!(cuDriverGetVersion(&raw mut version), "asking for the driver's version") }?;
    // SAFETY: the driver is loaded; it may be started more than once.
    match unsafe { call!(cuInit(0), "starting the driver") } {
        Err(Error::Call { code: api::NO_DEVICE, .. }) => return Err(Error::NoGpu),
        other => other?,
    }
    let mut count: c_int = 0;
    // SAFETY: `count` is a place for the number.
    unsafe { call!(cuDeviceGetCount(&raw mut count), "counting the GPUs") }?;
    if count <= 0 {
        return Err(Error::NoGpu);
    }
    let version = version.unsigned_abs();
    Ok((Version::new(version / 1000, version % 1000 / 10), count.unsigned_abs() as usize))
}

fn describe(index: usize, driver: Version) -> Result<(GpuInfo, CUdevice), Error> {
    let mut device: CUdevice = 0;
    // SAFETY: `device` is a place for the handle. `index` is below the driver's own count, an `i32`.
    unsafe { call!(cuDeviceGet(&raw mut device, index as c_int), "GPU {index}") }?;
    let mut name: [c_char; 256] = [0; 256];
    // SAFETY: `name` has room for the 255 characters that are asked for; the zero after them stays.
    unsafe { call!(cuDeviceGetName(name.as_mut_ptr(), 255, device), "GPU {index}") }?;
    // SAFETY: `name` ends with a zero.
    let name = unsafe { CStr::from_ptr(name.as_ptr()) }.to_string_lossy().into_owned();
    let mut memory: usize = 0;
    // SAFETY: `memory` is a place for the number.
    unsafe { call!(cuDeviceTotalMem_v2(&raw mut memory, device), "GPU {index}") }?;
    let attribute = |which| attribute(index, device, which);
    let capability =
        Version::new(attribute(api::COMPUTE_CAPABILITY_MAJOR)?, attribute(api::COMPUTE_CAPABILITY_MINOR)?);
    let multiprocessors = attribute(api::MULTIPROCESSOR_COUNT)?;
    let shared_bytes = attribute(api::SHARED_MEMORY_PER_BLOCK)? as usize;
    let ecc = attribute(api::ECC_ENABLED)? != 0;
    Ok((GpuInfo { index, name, capability, multiprocessors, shared_bytes, memory, ecc, driver }, device))
}

/// An attribute of a GPU, 0 if it is negative.
fn attribute(index: usize, device: CUdevice, attribute: c_uint) -> Result<u32, Error> {
    let mut value: c_int = 0;
    // SAFETY: `value` is a place for the number.
    unsafe {
        call!(cuDeviceGetAttribute(&raw mut value, attribute, device), "attribute {attribute} of GPU {index}")
    }?;
    Ok(value.max(0).unsigned_abs())
}
