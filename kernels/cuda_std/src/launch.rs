//! Kernels with typed parameters, and what can launch them.

use std::ffi::c_void;

use crate::emulated::Writable;
use crate::memory::{Global, GlobalMut};

/// A value that kernels work on: plain bytes, no padding, any bit pattern valid.
pub trait Element: bytemuck::Pod + Send + Sync {}
impl<T: bytemuck::Pod + Send + Sync> Element for T {}

/// A place where kernels run: the emulator, or a GPU through CUDA.
///
/// A buffer belongs to the type of device that made it. One that is passed to a launch on another type does
/// not compile.
pub trait Device: Sized + 'static {
    /// Memory for values of type `T` on this device.
    type Memory<T: Element>;
    /// What can go wrong on this device.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Memory for `length` values, with unspecified contents.
    ///
    /// # Errors
    /// Out of memory.
    fn allocate<T: Element>(&self, length: usize) -> Result<Buffer<T, Self>, Self::Error>;

    /// Copies `values` into `buffer`, beginning at its element `offset`.
    ///
    /// # Errors
    /// The range does not fit, or the copy failed.
    fn write<T: Element>(
        &self,
        buffer: &mut Buffer<T, Self>,
        offset: usize,
        values: &[T],
    ) -> Result<(), Self::Error>;

    /// Copies elements of `buffer`, beginning at `offset`, into `values`, after all launched work is done.
    ///
    /// # Errors
    /// The range does not fit, the copy failed, or work launched before has failed.
    fn read<T: Element>(
        &self,
        buffer: &Buffer<T, Self>,
        offset: usize,
        values: &mut [T],
    ) -> Result<(), Self::Error>;

    /// Queues `kernel` on a grid of `grid` blocks; the block's shape is the kernel's own.
    ///
    /// Launches on one device run in the order of the calls. A grid with a zero side does nothing.
    ///
    /// # Errors
    /// The launch was refused. A fault while the kernel runs may be reported here or by a later call.
    ///
    /// # Safety
    /// For this grid and these arguments the kernel stays within the buffers that it is given. (The emulator
    /// checks this; a GPU does not.)
    unsafe fn launch<P: Parameters, A: Arguments<P, Self>>(
        &self,
        kernel: &Kernel<P>,
        grid: [u32; 3],
        arguments: A,
    ) -> Result<(), Self::Error>;

    /// Queues what `work` launches, `times` times. A GPU calls `work` some times, fewer if they are many, and repeats
    /// what it has launched by itself: so `work` must launch the same kernels with the same arguments each time, and do
    /// nothing else with the device. (A GPU refuses copies, new memory, waiting and repeating within; memory that
    /// `work` drops is freed when the last repetition is done.) What differs from step to step is kept on the device.
    ///
    /// # Errors
    /// The first one of `work`, or the device's: some repetitions may have been queued then.
    fn repeat<E: From<Self::Error>>(
        &self,
        times: usize,
        mut work: impl FnMut(&Self) -> Result<(), E>,
    ) -> Result<(), E> {
        (0..times).try_for_each(|_| work(self))
    }

    /// Whether this device has the kernel with this name in the PTX, which may be for one architecture alone:
    /// [`Kernel::arch`]. The emulator has all.
    fn has(&self, entry: &str) -> bool {
        let _ = entry;
        true
    }

    /// Bytes of shared memory that a block may have. The emulator's blocks may have all that a kernel's declaration allows.
    fn shared_bytes(&self) -> usize {
        usize::MAX
    }

    /// Blocks of 128 threads that are sure to be resident at once, as a cooperative launch asks for, whatever the kernel.
    /// All of an emulator's are.
    fn resident_blocks(&self) -> usize {
        usize::MAX
    }

    /// Waits until all launched work is done.
    ///
    /// # Errors
    /// Work launched before has failed.
    fn synchronize(&self) -> Result<(), Self::Error>;

    /// The number of values in `memory`.
    fn length<T: Element>(memory: &Self::Memory<T>) -> usize;

    /// The kernel parameter for memory that is only read.
    fn global<T: Element>(memory: &Self::Memory<T>) -> Global<T>;

    /// The kernel parameter for memory that is written.
    fn global_mut<T: Element>(memory: &mut Self::Memory<T>) -> GlobalMut<T>;

    /// Memory that holds a copy of `values`.
    ///
    /// # Errors
    /// As [`Device::allocate`] and [`Device::write`].
    fn upload<T: Element>(&self, values: &[T]) -> Result<Buffer<T, Self>, Self::Error> {
        let mut buffer = self.allocate(values.len())?;
        self.write(&mut buffer, 0, values)?;
        Ok(buffer)
    }

    /// All values of `buffer`, after all launched work is done.
    ///
    /// # Errors
    /// As [`Device::read`].
    fn download<T: Element>(&self, buffer: &Buffer<T, Self>) -> Result<Vec<T>, Self::Error> {
        let mut values = vec![T::zeroed(); buffer.len()];
        self.read(buffer, 0, &mut values)?;
        Ok(values)
    }
}

/// Values of type `T` in the memory of device `D`.
pub struct Buffer<T: Element, D: Device>(D::Memory<T>);

impl<T: Element, D: Device> Buffer<T, D> {
    /// For implementations of [`Device`]: a buffer on `memory`.
    pub fn from_memory(memory: D::Memory<T>) -> Self {
        Buffer(memory)
    }

    /// For implementations of [`Device`]: the memory under this buffer.
    pub fn memory(&self) -> &D::Memory<T> {
        &self.0
    }

    /// For implementations of [`Device`]: the memory under this buffer.
    pub fn memory_mut(&mut self) -> &mut D::Memory<T> {
        &mut self.0
    }

    /// The number of values.
    pub fn len(&self) -> usize {
        D::length(&self.0)
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Whether a GPU can run blocks of this many threads along x, y and z.
#[doc(hidden)]
pub const fn block_fits([x, y, z]: [u32; 3]) -> bool {
    x > 0 && y > 0 && z > 0 && x <= 1024 && y <= 1024 && z <= 64 && x * y * z <= 1024
}

/// A kernel: its name in the PTX, the shape of its blocks, its parameters' types, its body for the emulator.
///
/// Made by [`#[kernel]`](crate::kernel), in capitals beside the function.
pub struct Kernel<P> {
    path: &'static str,
    entry: &'static str,
    block: [u32; 3],
    cooperative: bool,
    shared_bytes: usize,
    arch: Option<&'static str>,
    body: fn(&P),
}

impl<P> Kernel<P> {
    /// For `#[kernel]`: a descriptor of a kernel.
    pub const fn new(path: &'static str, entry: &'static str, block: [u32; 3], body: fn(&P)) -> Self {
        Kernel { path, entry, block, cooperative: false, shared_bytes: 0, arch: None, body }
    }

    /// For `#[kernel]`: the same kernel, with blocks that may wait for each other.
    pub const fn cooperative(self) -> Self {
        Kernel { cooperative: true, ..self }
    }

    /// For `#[kernel]`: the same kernel, with so many bytes of dynamic shared memory for each block.
    pub const fn dynamic_shared(self, bytes: usize) -> Self {
        Kernel { shared_bytes: bytes, ..self }
    }

    /// For `#[kernel]`: the same kernel, in the PTX for this architecture alone.
    pub const fn only_for(self, arch: &'static str) -> Self {
        Kernel { arch: Some(arch), ..self }
    }

    /// The only architecture whose PTX has the kernel, such as `sm_90a`. None: that of every GPU has it. (The emulator runs
    /// either.)
    pub const fn arch(&self) -> Option<&'static str> {
        self.arch
    }

    /// Bytes of dynamic shared memory of a block.
    pub const fn shared_bytes(&self) -> usize {
        self.shared_bytes
    }

    /// Whether blocks wait for each other, so that all of them must be resident: a cooperative launch.
    pub const fn is_cooperative(&self) -> bool {
        self.cooperative
    }

    /// The kernel's path in Rust, for messages.
    pub const fn path(&self) -> &'static str {
        self.path
    }

    /// The kernel's name in the PTX.
    pub const fn entry(&self) -> &'static str {
        self.entry
    }

    /// Threads of a block, along x, y and z.
    pub const fn block(&self) -> [u32; 3] {
        self.block
    }

    pub(crate) const fn body(&self) -> fn(&P) {
        self.body
    }
}

/// An argument that a caller may pass on device `D` where a kernel has a parameter of type `P`.
#[diagnostic::on_unimplemented(
    message = "an argument of type `{Self}` cannot be passed to a parameter `{P}` of a kernel on device `{D}`",
    label = "not for a parameter `{P}`",
    note = "a `Global<T>` takes a `&Buffer<T, D>`, a `GlobalMut<T>` a `&mut Buffer<T, D>`, a number its own type"
)]
pub trait Bind<P, D: Device> {
    /// The value of the parameter.
    fn bind(self) -> P;
}

impl<T: Element, D: Device> Bind<Global<T>, D> for &Buffer<T, D> {
    fn bind(self) -> Global<T> {
        D::global(&self.0)
    }
}

impl<T: Element, D: Device> Bind<GlobalMut<T>, D> for &mut Buffer<T, D> {
    fn bind(self) -> GlobalMut<T> {
        D::global_mut(&mut self.0)
    }
}

/// A type that a kernel may have as a parameter: the GPU reads it from the address of the host's value.
///
/// # Safety
/// The type's first bytes on the host are its bytes on the GPU.
#[diagnostic::on_unimplemented(
    message = "a kernel cannot have a parameter of type `{Self}`",
    label = "not a kernel's parameter",
    note = "a kernel's parameters are `u32`, `i32`, `u64`, `f32`, `Global<T>` and `GlobalMut<T>`"
)]
pub unsafe trait Parameter: Copy + Sync {
    /// Its type in the PTX's parameter list.
    const PTX_TYPE: &'static str;

    /// For `#[kernel]`: the parameter with its name, for the emulator's faults.
    #[doc(hidden)]
    fn named(self, _name: &'static str) -> Self {
        self
    }

    /// For the emulator: the memory that the kernel may write.
    #[doc(hidden)]
    fn writable(&self) -> Option<Writable> {
        None
    }
}

macro_rules! scalar_parameters {
    ($($t:ty: $ptx:literal)*) => { $(
        impl<D: Device> Bind<$t, D> for $t {
            fn bind(self) -> $t {
                self
            }
        }
        // SAFETY: a scalar has the same bytes on both sides.
        unsafe impl Parameter for $t {
            const PTX_TYPE: &'static str = $ptx;
        }
    )* };
}
scalar_parameters!(u32: "u32" i32: "u32" f32: "f32" u64: "u64");

// SAFETY: `Global` begins with its pointer, which is all that it is on the GPU.
unsafe impl<T: Element> Parameter for Global<T> {
    const PTX_TYPE: &'static str = "u64";
    fn named(self, name: &'static str) -> Self {
        Global::named(self, name)
    }
}
// SAFETY: `GlobalMut` begins with its pointer, which is all that it is on the GPU.
unsafe impl<T: Element> Parameter for GlobalMut<T> {
    const PTX_TYPE: &'static str = "u64";
    fn named(self, name: &'static str) -> Self {
        GlobalMut::named(self, name)
    }
    fn writable(&self) -> Option<Writable> {
        Some(GlobalMut::writable(self))
    }
}

/// A tuple of parameters.
pub trait Parameters: Sync {
    /// The parameters' types in the PTX, in order.
    const PTX_TYPES: &'static [&'static str];

    /// The address of each parameter, as a launch through CUDA takes them.
    fn pointers(&mut self) -> Vec<*mut c_void>;

    /// For the emulator: the memory that the kernel may write.
    #[doc(hidden)]
    fn writable(&self) -> Vec<Writable>;
}

/// A tuple of arguments for a tuple of parameters, on device `D`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` are not arguments for a kernel with the parameters `{P}`",
    label = "another number of arguments"
)]
pub trait Arguments<P, D: Device> {
    /// The parameters' values.
    fn bind(self) -> P;
}

impl Parameters for () {
    const PTX_TYPES: &'static [&'static str] = &[];
    fn pointers(&mut self) -> Vec<*mut c_void> {
        Vec::new()
    }
    fn writable(&self) -> Vec<Writable> {
        Vec::new()
    }
}

impl<D: Device> Arguments<(), D> for () {
    fn bind(self) {}
}

macro_rules! tuples {
    ($($a:ident $p:ident $i:tt),*) => {
        impl<$($p: Parameter),*> Parameters for ($($p,)*) {
            const PTX_TYPES: &'static [&'static str] = &[$($p::PTX_TYPE),*];
            fn pointers(&mut self) -> Vec<*mut c_void> {
                vec![$((&raw mut self.$i).cast()),*]
            }
            fn writable(&self) -> Vec<Writable> {
                [$(self.$i.writable()),*].into_iter().flatten().collect()
            }
        }
        impl<Dev: Device, $($a: Bind<$p, Dev>, $p),*> Arguments<($($p,)*), Dev> for ($($a,)*) {
            fn bind(self) -> ($($p,)*) {
                ($(self.$i.bind(),)*)
            }
        }
    };
}
tuples!(A0 P0 0);
tuples!(A0 P0 0, A1 P1 1);
tuples!(A0 P0 0, A1 P1 1, A2 P2 2);
tuples!(A0 P0 0, A1 P1 1, A2 P2 2, A3 P3 3);
tuples!(A0 P0 0, A1 P1 1, A2 P2 2, A3 P3 3, A4 P4 4);
tuples!(A0 P0 0, A1 P1 1, A2 P2 2, A3 P3 3, A4 P4 4, A5 P5 5);
tuples!(A0 P0 0, A1 P1 1, A2 P2 2, A3 P3 3, A4 P4 4, A5 P5 5, A6 P6 6);
tuples!(A0 P0 0, A1 P1 1, A2 P2 2, A3 P3 3, A4 P4 4, A5 P5 5, A6 P6 6, A7 P7 7);
tuples!(A0 P0 0, A1 P1 1, A2 P2 2, A3 P3 3, A4 P4 4, A5 P5 5, A6 P6 6, A7 P7 7, A8 P8 8);
tuples!(A0 P0 0, A1 P1 1, A2 P2 2, A3 P3 3, A4 P4 4, A5 P5 5, A6 P6 6, A7 P7 7, A8 P8 8, A9 P9 9);
tuples!(A0 P0 0, A1 P1 1, A2 P2 2, A3 P3 3, A4 P4 4, A5 P5 5, A6 P6 6, A7 P7 7, A8 P8 8, A9 P9 9, A10 P10 10);
tuples!(A0 P0 0, A1 P1 1, A2 P2 2, A3 P3 3, A4 P4 4, A5 P5 5, A6 P6 6, A7 P7 7, A8 P8 8, A9 P9 9, A10 P10 10, A11 P11 11);
tuples!(A0 P0 0, A1 P1 1, A2 P2 2, A3 P3 3, A4 P4 4, A5 P5 5, A6 P6 6, A7 P7 7, A8 P8 8, A9 P9 9, A10 P10 10, A11 P11 11, A12 P12 12);
tuples!(A0 P0 0, A1 P1 1, A2 P2 2, A3 P3 3, A4 P4 4, A5 P5 5, A6 P6 6, A7 P7 7, A8 P8 8, A9 P9 9, A10 P10 10, A11 P11 11, A12 P12 12, A13 P13 13);
tuples!(A0 P0 0, A1 P1 1, A2 P2 2, A3 P3 3, A4 P4 4, A5 P5 5, A6 P6 6, A7 P7 7, A8 P8 8, A9 P9 9, A10 P10 10, A11 P11 11, A12 P12 12, A13 P13 13, A14 P14 14);
tuples!(A0 P0 0, A1 P1 1, A2 P2 2, A3 P3 3, A4 P4 4, A5 P5 5, A6 P6 6, A7 P7 7, A8 P8 8, A9 P9 9, A10 P10 10, A11 P11 11, A12 P12 12, A13 P13 13, A14 P14 14, A15 P15 15);
