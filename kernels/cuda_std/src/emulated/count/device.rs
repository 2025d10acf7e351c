//! The emulator as a device that counts.

use std::sync::{Mutex, PoisonError};

use super::Counters;
use crate::emulated::emulator::{Emulator, Memory};
use crate::emulated::fault::Fault;
use crate::launch::{Arguments, Buffer, Device, Element, Kernel, Parameters};
use crate::memory::{Global, GlobalMut};

/// The emulator, as a device that adds up what its launches count: whatever runs on a [`Device`] can be counted.
///
/// ```
/// use cuda_std::{CountingEmulator, Device, prelude::*};
///
/// /// The first column of a matrix with rows of 32.
/// #[kernel(block = [32, 1, 1])]
/// unsafe fn first_column(x: Global<f32>, y: GlobalMut<f32>) {
///     let row = thread::thread_idx_x() as usize;
///     y.write(row, x.read(32 * row));
/// }
///
/// let emulator = CountingEmulator::default();
/// let x = emulator.upload(&[1.0; 32 * 32])?;
/// let mut y = emulator.allocate(32)?;
/// // SAFETY: within the buffers.
/// unsafe { emulator.launch(&FIRST_COLUMN, [1, 1, 1], (&x, &mut y))? };
/// let counters = emulator.take();
/// // Each value that is read comes in a sector of 32 bytes of its own; those that are written lie side by side.
/// assert_eq!((counters.global_loads.requests, counters.global_loads.sectors), (1, 32));
/// assert_eq!((counters.global_stores.requests, counters.global_stores.sectors), (1, 4));
/// assert_eq!(counters.global_loads.efficiency(), 4.0 / 32.0);
/// # Ok::<(), cuda_std::Fault>(())
/// ```
#[derive(Debug, Default)]
pub struct CountingEmulator {
    emulator: Emulator,
    counters: Mutex<Counters>,
}

impl CountingEmulator {
    /// A device on this emulator, with nothing counted.
    pub fn new(emulator: Emulator) -> Self {
        CountingEmulator { emulator, counters: Mutex::default() }
    }

    /// What was counted since the last call.
    pub fn take(&self) -> Counters {
        std::mem::take(&mut *self.counters.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Device for CountingEmulator {
    type Memory<T: Element> = Memory<T>;
    type Error = Fault;

    fn allocate<T: Element>(&self, length: usize) -> Result<Buffer<T, Self>, Fault> {
        Memory::new(length).map(Buffer::from_memory)
    }

    fn write<T: Element>(
        &self,
        buffer: &mut Buffer<T, Self>,
        offset: usize,
        values: &[T],
    ) -> Result<(), Fault> {
        buffer.memory_mut().write(offset, values)
    }

    fn read<T: Element>(
        &self,
        buffer: &Buffer<T, Self>,
        offset: usize,
        values: &mut [T],
    ) -> Result<(), Fault> {
        buffer.memory().read(offset, values)
    }

    unsafe fn launch<P: Parameters, A: Arguments<P, Self>>(
        &self,
        kernel: &Kernel<P>,
        grid: [u32; 3],
        arguments: A,
    ) -> Result<(), Fault> {
        let counters = self.emulator.count_bound(kernel, grid, &arguments.bind())?;
        *self.counters.lock().unwrap_or_else(PoisonError::into_inner) += counters;
        Ok(())
    }

    fn synchronize(&self) -> Result<(), Fault> {
        Ok(())
    }

    fn length<T: Element>(memory: &Memory<T>) -> usize {
        memory.length()
    }

    fn global<T: Element>(memory: &Memory<T>) -> Global<T> {
        memory.global()
    }

    fn global_mut<T: Element>(memory: &mut Memory<T>) -> GlobalMut<T> {
        memory.global_mut()
    }
}
