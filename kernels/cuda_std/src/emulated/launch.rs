//! Kernels with typed parameters, and the emulator that runs them.

use std::cell::{Cell, RefCell};
use std::sync::Once;

use rayon::prelude::*;

use super::fault::Fault;
use super::memory_impl::{Global, GlobalMut};
use super::schedule::run_block;
use crate::launch::{Arguments, Buffer, Device, Element, Kernel, Parameters};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dims {
    pub grid: [u32; 3],
    pub block: [u32; 3],
}

/// The order in which a block's threads run between barriers. A correct kernel does not care.
#[derive(Clone, Copy, Debug, Default)]
pub enum Order {
    #[default]
    Forward,
    Backward,
    Shuffled(u64),
}

impl Order {
    pub(crate) fn warps(self, count: usize) -> Vec<usize> {
        let mut warps: Vec<usize> = (0..count).collect();
        match self {
            Order::Forward => {}
            Order::Backward => warps.reverse(),
            Order::Shuffled(mut seed) => {
                for i in (1..count).rev() {
                    seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    warps.swap(i, (seed >> 33) as usize % (i + 1));
                }
            }
        }
        warps
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Emulator {
    pub races: bool,
    pub order: Order,
    pub stack_bytes: usize,
    /// Run blocks one after another on the calling thread.
    pub serial: bool,
}

impl Default for Emulator {
    fn default() -> Self {
        Emulator { races: true, order: Order::Forward, stack_bytes: 256 << 10, serial: false }
    }
}

impl Emulator {
    /// Runs `kernel` on a grid of `grid` blocks, and reports the first fault.
    ///
    /// # Errors
    /// The kernel did something wrong.
    pub fn launch<P: Parameters, A: Arguments<P, Emulator>>(
        &self,
        kernel: &Kernel<P>,
        grid: [u32; 3],
        arguments: A,
    ) -> Result<(), Fault> {
        note_panic_places();
        let parameters = arguments.bind();
        let body = kernel.body();
        let dims = Dims { grid, block: kernel.block() };
        let [x, y, z] = grid;
        let one = |block: u32| {
            let index = [block % x, block / x % y, block / (x * y)];
            IN_KERNEL.set(true);
            let result = run_block(self, kernel.path(), dims, index, &|| body(&parameters));
            IN_KERNEL.set(false);
            result.err()
        };
        let blocks = x * y * z;
        let fault = if self.serial {
            (0..blocks).find_map(one)
        } else {
            (0..blocks).into_par_iter().find_map_first(one)
        };
        fault.map_or(Ok(()), Err)
    }
}

/// Memory of the emulator.
pub struct Memory<T> {
    values: Vec<T>,
}

impl Device for Emulator {
    type Memory<T: Element> = Memory<T>;
    type Error = Fault;

    fn allocate<T: Element>(&self, length: usize) -> Result<Buffer<T, Self>, Fault> {
        // All ones is NaN for floats: use before writing shows.
        let mut values = vec![T::zeroed(); length];
        bytemuck::cast_slice_mut::<T, u8>(&mut values).fill(0xff);
        Ok(Buffer::from_memory(Memory { values }))
    }

    fn write<T: Element>(&self, buffer: &mut Buffer<T, Self>, offset: usize, values: &[T]) -> Result<(), Fault> {
        buffer.memory_mut().values[offset..offset + values.len()].copy_from_slice(values);
        Ok(())
    }

    fn read<T: Element>(&self, buffer: &Buffer<T, Self>, offset: usize, values: &mut [T]) -> Result<(), Fault> {
        values.copy_from_slice(&buffer.memory().values[offset..offset + values.len()]);
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
        Global::new(&memory.values)
    }

    fn global_mut<T: Element>(memory: &mut Memory<T>) -> GlobalMut<T> {
        GlobalMut::new(&mut memory.values)
    }
}

thread_local! {
    static IN_KERNEL: Cell<bool> = const { Cell::new(false) };
    static PANIC_PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// A panic in a kernel becomes a `Fault`: its place is kept and nothing is printed.
fn note_panic_places() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if IN_KERNEL.get() {
                PANIC_PLACE.set(info.location().map(|place| place.to_string()));
            } else {
                previous(info)
            }
        }));
    });
}

pub(crate) fn take_panic_place() -> Option<String> {
    PANIC_PLACE.take()
}

