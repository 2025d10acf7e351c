//! The emulator as a device: its settings, its memory.

use super::buffer::Shadow;
use super::fault::Fault;
use super::global::{Global, GlobalMut};
use super::launch;
use super::order::Order;
use crate::launch::{Arguments, Buffer, Device, Element, Kernel, Parameters};

/// A GPU emulated on the CPU: each thread of a block a coroutine, every access checked.
///
/// ```
/// use cuda_std::{Device, Emulator, Order, prelude::*};
///
/// #[kernel(block = [32, 1, 1])]
/// unsafe fn double(x: Global<f32>, y: GlobalMut<f32>) {
///     let i = thread::thread_idx_x() as usize;
///     y.write(i, 2.0 * x.read(i));
/// }
///
/// let emulator = Emulator { order: Order::Backward, ..Emulator::default() };
/// let x = emulator.upload(&[1.0; 32])?;
/// let mut y = emulator.allocate(32)?;
/// emulator.launch(&DOUBLE, [1, 1, 1], (&x, &mut y))?;
/// assert_eq!(emulator.download(&y)?, [2.0; 32]);
/// # Ok::<(), cuda_std::Fault>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Emulator {
    /// Whether to look for races, for reads of shared memory that nothing has written, and for copies that have not
    /// been waited for. True unless set otherwise; everything else is always checked.
    pub races: bool,
    /// The order in which blocks and threads run. Forward unless set otherwise.
    pub order: Order,
    /// Bytes of each thread's stack: 256 KiB unless set otherwise, of which only what is used takes memory. A kernel
    /// that needs more (large local arrays, deep calls) ends the process with a segmentation fault.
    pub stack_bytes: usize,
    /// Whether to run the blocks of a launch one after another on the calling thread. They run on all cores of rayon's
    /// pool unless set otherwise. Results and faults are the same.
    pub serial: bool,
}

impl Default for Emulator {
    fn default() -> Self {
        Emulator { races: true, order: Order::Forward, stack_bytes: 256 << 10, serial: false }
    }
}

impl Emulator {
    /// Runs `kernel` on a grid of `grid` blocks. Done when it returns.
    ///
    /// Unlike [`Device::launch`] this is safe: every access is checked.
    ///
    /// # Errors
    /// The kernel did something wrong, and the buffers that it may write hold anything; or a GPU would refuse the
    /// launch. If several blocks do something wrong, it is the first of them in the order of the settings, whether
    /// they ran in parallel or not.
    pub fn launch<P: Parameters, A: Arguments<P, Emulator>>(
        &self,
        kernel: &Kernel<P>,
        grid: [u32; 3],
        arguments: A,
    ) -> Result<(), Fault> {
        launch::launch(self, kernel, grid, &arguments.bind())
    }
}

/// Memory of the emulator.
pub struct Memory<T> {
    values: Vec<T>,
    /// In a box: kernels have its address.
    shadow: Box<Shadow>,
}

impl<T> Memory<T> {
    fn range(&self, offset: usize, count: usize) -> Result<std::ops::Range<usize>, Fault> {
        match offset.checked_add(count) {
            Some(end) if end <= self.values.len() => Ok(offset..end),
            _ => Err(Fault::Copy { count, offset, length: self.values.len() }),
        }
    }
}

impl Device for Emulator {
    type Memory<T: Element> = Memory<T>;
    type Error = Fault;

    fn allocate<T: Element>(&self, length: usize) -> Result<Buffer<T, Self>, Fault> {
        let memory = |()| Fault::Memory { length, size: size_of::<T>() };
        let mut values: Vec<T> = bytemuck::allocation::try_zeroed_vec(length).map_err(memory)?;
        // All ones is NaN for floats: what is read before it is written shows.
        bytemuck::cast_slice_mut::<T, u8>(&mut values).fill(0xff);
        Ok(Buffer::from_memory(Memory { values, shadow: Box::new(Shadow::new(length).map_err(memory)?) }))
    }

    fn write<T: Element>(
        &self,
        buffer: &mut Buffer<T, Self>,
        offset: usize,
        values: &[T],
    ) -> Result<(), Fault> {
        let memory = buffer.memory_mut();
        let range = memory.range(offset, values.len())?;
        memory.values[range.clone()].copy_from_slice(values);
        memory.shadow.write(range);
        Ok(())
    }

    fn read<T: Element>(
        &self,
        buffer: &Buffer<T, Self>,
        offset: usize,
        values: &mut [T],
    ) -> Result<(), Fault> {
        let memory = buffer.memory();
        let range = memory.range(offset, values.len())?;
        values.copy_from_slice(&memory.values[range]);
        Ok(())
    }

    unsafe fn launch<P: Parameters, A: Arguments<P, Self>>(
        &self,
        kernel: &Kernel<P>,
        grid: [u32; 3],
        arguments: A,
    ) -> Result<(), Fault> {
        Emulator::launch(self, kernel, grid, arguments)
    }

    fn synchronize(&self) -> Result<(), Fault> {
        Ok(())
    }

    fn length<T: Element>(memory: &Memory<T>) -> usize {
        memory.values.len()
    }

    fn global<T: Element>(memory: &Memory<T>) -> Global<T> {
        Global::new(&memory.values, &memory.shadow)
    }

    fn global_mut<T: Element>(memory: &mut Memory<T>) -> GlobalMut<T> {
        memory.shadow.settle();
        GlobalMut::new(&mut memory.values, &memory.shadow)
    }
}
