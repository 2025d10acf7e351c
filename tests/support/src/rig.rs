//! A device to run kernels on, with bands around the buffers that no kernel may touch.

use cuda_std::{Arguments, Buffer, Device, Emulator, Kernel, Order, Parameters, TensorCores};

use crate::Failure;

/// What the guard bands hold: a NaN, so that reading it shows in the results.
const GUARD: u32 = 0x7fc0_5afe;

/// A device to run kernels on.
pub struct Rig<D: Device> {
    /// The device.
    pub device: D,
    /// Elements behind each buffer that no kernel may touch. Where the device knows each buffer's length, 0.
    pub guard: usize,
}

impl Rig<Emulator> {
    /// The emulator with all its checks, which know each buffer's length.
    pub fn emulator(order: Order) -> Self {
        Rig { device: Emulator { order, ..Emulator::default() }, guard: 0 }
    }

    /// The same with the least accurate tensor cores that there may be.
    pub fn least_accurate() -> Self {
        Rig { device: Emulator { tensor_cores: TensorCores::CutOff, ..Emulator::default() }, guard: 0 }
    }
}

impl<D: Device> Rig<D> {
    /// A buffer with these values, and the guard band behind them.
    ///
    /// # Errors
    /// The device's.
    pub fn upload(&self, values: &[f32]) -> Result<Buffer<f32, D>, Failure> {
        let mut all = values.to_vec();
        all.resize(values.len() + self.guard, f32::from_bits(GUARD));
        self.device.upload(&all).map_err(|error| error.to_string())
    }

    /// A buffer with these whole numbers, which no kernel writes.
    ///
    /// # Errors
    /// The device's.
    pub fn upload_words(&self, values: &[u32]) -> Result<Buffer<u32, D>, Failure> {
        self.device.upload(values).map_err(|error| error.to_string())
    }

    /// A buffer for `length` results, all NaN, and the guard band behind them.
    ///
    /// # Errors
    /// The device's.
    pub fn output(&self, length: usize) -> Result<Buffer<f32, D>, Failure> {
        self.upload(&vec![f32::NAN; length])
    }

    /// Runs `kernel`, and waits for it.
    ///
    /// # Errors
    /// The device's: a fault of the kernel.
    pub fn launch<P: Parameters, A: Arguments<P, D>>(
        &self,
        kernel: &Kernel<P>,
        grid: [u32; 3],
        arguments: A,
    ) -> Result<(), Failure> {
        // SAFETY: the checks pass buffers of the sizes that the kernels document.
        unsafe { self.device.launch(kernel, grid, arguments) }
            .and_then(|()| self.device.synchronize())
            .map_err(|error| error.to_string())
    }

    /// The values of a buffer, without its guard band.
    ///
    /// # Errors
    /// The device's, and a guard band that was written to.
    pub fn download(&self, buffer: &Buffer<f32, D>) -> Result<Vec<f32>, Failure> {
        let mut all = self.device.download(buffer).map_err(|error| error.to_string())?;
        let band = all.split_off(all.len() - self.guard);
        match band.iter().position(|value| value.to_bits() != GUARD) {
            None => Ok(all),
            Some(index) => Err(format!("element {} was written, of {}", all.len() + index, all.len())),
        }
    }
}
