//! The emulator as a device: its settings, its memory.

use super::buffer::Shadow;
use super::count::Counters;
use super::fault::Fault;
use super::global::{Global, GlobalMut};
use super::launch;
use super::order::Order;
use super::tensor_cores::TensorCores;
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
    /// How the tensor cores make their sums. Exact unless set otherwise.
    pub tensor_cores: TensorCores,
}

impl Default for Emulator {
    fn default() -> Self {
        Emulator {
            races: true,
            order: Order::Forward,
            stack_bytes: 256 << 10,
            serial: false,
            tensor_cores: TensorCores::Exact,
        }
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
        launch::launch(self, kernel, grid, &arguments.bind(), false).map(|_| ())
    }

    /// Runs `kernel` as [`Emulator::launch`] does, and counts what a GPU would do for it. Takes several times as long.
    ///
    /// ```
    /// use cuda_std::{Device, Emulator, prelude::*};
    ///
    /// #[kernel(block = [32, 1, 1])]
    /// unsafe fn turn(x: Global<f32>, y: GlobalMut<f32>) {
    ///     let tile = shared_array![f32; 32 * 32];
    ///     let column = thread::thread_idx_x() as usize;
    ///     for row in 0..32 {
    ///         tile.write(32 * row + column, x.read(32 * row + column));
    ///     }
    ///     thread::sync_threads();
    ///     for row in 0..32 {
    ///         y.write(32 * row + column, tile.read(32 * column + row));
    ///     }
    /// }
    ///
    /// let emulator = Emulator::default();
    /// let x = emulator.upload(&[1.0; 32 * 32])?;
    /// let mut y = emulator.allocate(32 * 32)?;
    /// let counters = emulator.count(&TURN, [1, 1, 1], (&x, &mut y))?;
    /// assert_eq!(counters.global_loads.sectors_per_request(), 4.0);
    /// // The lanes of a warp read a column of the tile: 32 words of one bank.
    /// assert_eq!(counters.shared_loads.wavefronts, 32 * 32);
    /// assert_eq!(counters.shared_stores.conflicts(), 0);
    /// # Ok::<(), cuda_std::Fault>(())
    /// ```
    ///
    /// # Errors
    /// As [`Emulator::launch`].
    pub fn count<P: Parameters, A: Arguments<P, Emulator>>(
        &self,
        kernel: &Kernel<P>,
        grid: [u32; 3],
        arguments: A,
    ) -> Result<Counters, Fault> {
        self.count_bound(kernel, grid, &arguments.bind())
    }

    /// [`Emulator::count`] with the parameters' values.
    pub(super) fn count_bound<P: Parameters>(
        &self,
        kernel: &Kernel<P>,
        grid: [u32; 3],
        parameters: &P,
    ) -> Result<Counters, Fault> {
        launch::launch(self, kernel, grid, parameters, true)
    }
}

/// Memory of the emulator.
pub struct Memory<T> {
    values: Vec<T>,
    /// In a box: kernels have its address.
    shadow: Box<Shadow>,
}

impl<T: Element> Memory<T> {
    pub(super) fn new(length: usize) -> Result<Self, Fault> {
        let memory = |()| Fault::Memory { length, size: size_of::<T>() };
        let mut values: Vec<T> = bytemuck::allocation::try_zeroed_vec(length).map_err(memory)?;
        // All ones is NaN for floats: what is read before it is written shows.
        bytemuck::cast_slice_mut::<T, u8>(&mut values).fill(0xff);
        Ok(Memory { values, shadow: Box::new(Shadow::new(length).map_err(memory)?) })
    }

    fn range(&self, offset: usize, count: usize) -> Result<std::ops::Range<usize>, Fault> {
        match offset.checked_add(count) {
            Some(end) if end <= self.values.len() => Ok(offset..end),
            _ => Err(Fault::Copy { count, offset, length: self.values.len() }),
        }
    }

    pub(super) fn write(&mut self, offset: usize, values: &[T]) -> Result<(), Fault> {
        let range = self.range(offset, values.len())?;
        self.values[range.clone()].copy_from_slice(values);
        self.shadow.write(range);
        Ok(())
    }

    pub(super) fn read(&self, offset: usize, values: &mut [T]) -> Result<(), Fault> {
        let range = self.range(offset, values.len())?;
        values.copy_from_slice(&self.values[range]);
        Ok(())
    }

    pub(super) fn length(&self) -> usize {
        self.values.len()
    }

    pub(super) fn global(&self) -> Global<T> {
        Global::new(&self.values, &self.shadow)
    }

    pub(super) fn global_mut(&mut self) -> GlobalMut<T> {
        self.shadow.settle();
        GlobalMut::new(&mut self.values, &self.shadow)
    }
}

impl Device for Emulator {
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
        Emulator::launch(self, kernel, grid, arguments)
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
