//! A GPU: its context, the kernels' modules, one stream, memory.

use std::collections::HashMap;
use std::ffi::{CStr, CString, c_int, c_uint, c_void};
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cuda_std::{Arguments, Buffer, Device, Element, Global, GlobalMut, Kernel, Parameters};
use cust::sys::{CUcontext, CUdevice, CUdeviceptr, CUfunction, CUmodule, CUstream};

use super::api::{self, call};
use super::event::Event;
use super::ptx::{self, Parts};
use super::shelf::{Kept, Shelf};
use super::staging::{LARGE, Staging};
use super::{Error, GpuInfo, graph, info};

/// Bytes for the messages of the driver's PTX compiler.
const LOG_BYTES: usize = 16 << 10;

/// The most blocks of a grid along x, y and z.
const GRID_LIMIT: [u32; 3] = [i32::MAX as u32, 65535, 65535];

/// Shared memory that a kernel has without asking for more.
const STATIC_SHARED_BYTES: usize = 48 << 10;

/// One GPU. Clones are the same GPU, stream and kernels. A kernel is compiled by the driver when it is launched for the first
/// time, which takes some milliseconds, or tenths of a second for a large one; drivers keep what they compiled.
///
/// Everything that is launched or copied goes to one stream and runs there in the order of the calls; but the copy of a large
/// upload (1 MiB or more), to memory that nothing else uses, runs beside what was queued before, and what is launched after
/// it waits for it on the GPU. Memory that is dropped is kept, up to an eighth of the GPU's, for what asks for exactly as
/// much, or until the driver has no more. A GPU may be used
/// from several threads: each call makes the GPU's context current on the thread that it is made on, and leaves it so.
///
/// The context is the device's primary one, shared with other users of CUDA in the process. After an error that
/// [`Error::is_sticky`], every further call fails until the process ends.
#[derive(Clone)]
pub struct Gpu {
    session: Arc<Session>,
}

/// A kernel's path and its grid, for messages.
pub(super) type Launched = (&'static str, [u32; 3]);

/// What a GPU holds, in the order in which it is given back.
pub(super) struct Session {
    /// What was launched last, to name when the driver reports that something went wrong.
    last_launch: Mutex<Option<Launched>>,
    /// For uploads, made when they are first wanted: small ones, and large ones.
    staging: [Mutex<Option<Staging>>; 2],
    pub(super) stream: Stream,
    /// Memory to be used again.
    shelf: Mutex<Shelf>,
    functions: Mutex<HashMap<&'static str, Function>>,
    pub(super) context: Arc<Context>,
    /// The kernels for all GPUs, and those for this one's architecture alone.
    ptx: Vec<Parts>,
    about: String,
    info: GpuInfo,
}

// SAFETY: the driver's functions may be called from any thread; handles are not tied to the one that made them. Each
// call makes the context current first, and the tables are behind locks.
unsafe impl Send for Session {}
// SAFETY: as above.
unsafe impl Sync for Session {}

/// A hold on a device's primary context.
pub(super) struct Context {
    handle: CUcontext,
    device: CUdevice,
}

// SAFETY: as for `Session`: a context may be made current on any thread.
unsafe impl Send for Context {}
// SAFETY: as above.
unsafe impl Sync for Context {}

impl Context {
    fn retain(device: CUdevice, about: &str) -> Result<Arc<Self>, Error> {
        let mut handle: CUcontext = std::ptr::null_mut();
        // SAFETY: `handle` is a place for the handle; `device` came from the driver.
        unsafe { call!(cuDevicePrimaryCtxRetain(&raw mut handle, device), "a context on {about}") }?;
        Ok(Arc::new(Context { handle, device }))
    }

    /// Makes the context current on this thread; `after` says what came before.
    fn enter(&self, after: impl FnOnce() -> String) -> Result<(), Error> {
        // SAFETY: the context is held until `self` is dropped.
        unsafe { call!(cuCtxSetCurrent(self.handle), "choosing the context{}", after()) }
    }

    /// The same before something is given back. A failure there, or of what follows, leaves nothing to do: the driver
    /// has lost the context, which frees all that is in it, and the next call that can report it does.
    pub(super) fn enter_to_give_back(&self) {
        // SAFETY: as in `enter`.
        unsafe { api::cuCtxSetCurrent(self.handle) };
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: this gives back the one hold that `retain` took.
        unsafe { api::cuDevicePrimaryCtxRelease_v2(self.device) };
    }
}

struct Module {
    handle: CUmodule,
    context: Arc<Context>,
}

/// A kernel that is loaded, in a module of its own.
struct Function {
    handle: CUfunction,
    _module: Module,
}

impl Module {
    /// Has the driver compile `ptx`; `about` says what that is. The context is current.
    fn load(context: &Arc<Context>, ptx: &str, about: &str) -> Result<Self, Error> {
        let image = CString::new(ptx)
            .map_err(|_| Error::Ptx { problem: "the kernels' PTX holds a zero byte".to_owned() })?;
        let mut log = vec![0_u8; LOG_BYTES];
        let mut keys = [api::JIT_ERROR_LOG_BUFFER, api::JIT_ERROR_LOG_BUFFER_SIZE_BYTES];
        // A number is passed as the bits of a pointer; one byte is kept back for the zero at the end.
        let mut values = [log.as_mut_ptr().cast::<c_void>(), std::ptr::without_provenance_mut(LOG_BYTES - 1)];
        let mut handle: CUmodule = std::ptr::null_mut();
        // SAFETY: `image` ends with a zero byte; there are as many values as keys, each of its key's kind, and the
        // buffer outlives the call.
        let loaded = unsafe {
            call!(
                cuModuleLoadDataEx(
                    &raw mut handle,
                    image.as_ptr().cast(),
                    keys.len() as c_uint,
                    keys.as_mut_ptr(),
                    values.as_mut_ptr(),
                ),
                "{about}"
            )
        };
        loaded.map_err(|failure| {
            let text = CStr::from_bytes_until_nul(&log).unwrap_or_default();
            Error::Jit { failure: Box::new(failure), log: text.to_string_lossy().trim().to_owned() }
        })?;
        Ok(Module { handle, context: Arc::clone(context) })
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        self.context.enter_to_give_back();
        // SAFETY: the module was loaded into this context, and its kernels have run, if there were any: the stream went first.
        unsafe { api::cuModuleUnload(self.handle) };
    }
}

pub(super) struct Stream {
    handle: CUstream,
    context: Arc<Context>,
}

impl Stream {
    /// A stream of the context, which is current; `about` says where or for what.
    pub(super) fn new(context: &Arc<Context>, about: &str) -> Result<Self, Error> {
        let mut handle: CUstream = std::ptr::null_mut();
        // SAFETY: `handle` is a place for the handle.
        unsafe { call!(cuStreamCreate(&raw mut handle, api::STREAM_NON_BLOCKING), "a stream {about}") }?;
        Ok(Stream { handle, context: Arc::clone(context) })
    }

    pub(super) fn handle(&self) -> CUstream {
        self.handle
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.context.enter_to_give_back();
        // SAFETY: the stream was made in this context. Waiting lets its kernels end before their module goes.
        unsafe {
            api::cuStreamSynchronize(self.handle);
            api::cuStreamDestroy_v2(self.handle);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind the locks is valid at any time.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Session {
    pub(super) fn enter(&self) -> Result<(), Error> {
        self.context.enter(|| self.after_launches())
    }

    /// The same for what must not be in work that is repeated.
    fn enter_for(&self, operation: &'static str) -> Result<(), Error> {
        graph::refuse(operation)?;
        self.enter()
    }

    /// Waits for the stream; `doing` says for what.
    fn wait(&self, doing: &str) -> Result<(), Error> {
        // SAFETY: the stream lives as long as the session.
        unsafe { call!(cuStreamSynchronize(self.stream.handle), "{doing}{}", self.after_launches()) }
    }

    /// For messages: the kernel that was launched last.
    pub(super) fn after_launches(&self) -> String {
        match *lock(&self.last_launch) {
            Some((kernel, grid)) => format!(", after launches; the last was {kernel} on a grid of {grid:?}"),
            None => String::new(),
        }
    }

    /// Notes what runs last, for messages.
    pub(super) fn note(&self, launch: Launched) {
        *lock(&self.last_launch) = Some(launch);
    }

    /// Queues a copy of `values` to memory that nothing but what was queued before uses. The context is current.
    fn stage(&self, values: &[u8], to: &Place) -> Result<(), Error> {
        let large = values.len() >= LARGE;
        let mut kept = lock(&self.staging[usize::from(large)]);
        // Taken out, and put back when nothing went wrong: what is dropped waits for its copies.
        let mut staging = match kept.take() {
            Some(staging) => staging,
            None if large => Staging::large(&self.context)?,
            None => Staging::small(&self.context, self.stream.handle)?,
        };
        if let (true, Some(idle)) = (large, &to.idle) {
            staging.wait_for(idle)?;
        }
        // SAFETY: there are as many bytes, as it was allocated for them. Its owner's memory is used again, or freed, after
        // what is in the GPU's stream: after this copy, for which that stream waits.
        unsafe { staging.send(values, to.address, || self.after_launches()) }?;
        if large {
            staging.hold_up(self.stream.handle)?;
        }
        *kept = Some(staging);
        Ok(())
    }

    /// The kernel's handle, compiled and its parameters compared at the first use.
    fn function<P: Parameters>(&self, kernel: &Kernel<P>) -> Result<CUfunction, Error> {
        let mut functions = lock(&self.functions);
        if let Some(function) = functions.get(kernel.entry()) {
            return Ok(function.handle);
        }
        let entry = kernel.entry();
        let parts = self.ptx.iter().find(|parts| parts.has(entry)).ok_or_else(|| match kernel.arch() {
            Some(arch) => {
                let problem =
                    format!("kernel {entry} is for {arch} alone, and {} has no PTX for that", self.about);
                Error::Ptx { problem }
            }
            None => ptx::no_kernel(entry),
        })?;
        let ptx = parts.module(entry)?;
        ptx::check_parameters(&ptx, kernel.entry(), P::PTX_TYPES)?;
        let about = format!("loading kernel {} on {}", kernel.path(), self.about);
        let module = Module::load(&self.context, &ptx, &about)?;
        let name = CString::new(kernel.entry())
            .map_err(|_| Error::Ptx { problem: format!("{:?} is no name of a kernel", kernel.entry()) })?;
        let mut function: CUfunction = std::ptr::null_mut();
        // SAFETY: `name` ends with a zero byte, and the module lives as long as the function.
        unsafe {
            call!(
                cuModuleGetFunction(&raw mut function, module.handle, name.as_ptr()),
                "kernel {}",
                kernel.path()
            )
        }?;
        if kernel.shared_bytes() > STATIC_SHARED_BYTES {
            // SAFETY: the handle is the module's.
            unsafe {
                call!(
                    cuFuncSetAttribute(
                        function,
                        api::MAX_DYNAMIC_SHARED_BYTES,
                        kernel.shared_bytes() as c_int
                    ),
                    "kernel {} wants {} bytes of dynamic shared memory",
                    kernel.path(),
                    kernel.shared_bytes()
                )
            }?;
        }
        functions.insert(kernel.entry(), Function { handle: function, _module: module });
        Ok(function)
    }
}

/// Memory on a GPU, given back when dropped. It keeps the GPU's context.
pub struct Memory<T> {
    place: Place,
    length: usize,
    values: PhantomData<T>,
}

/// Where memory is, and who gave it.
pub(super) struct Place {
    /// 0 if there are no bytes.
    address: CUdeviceptr,
    bytes: usize,
    /// If it was used before: the point in the stream after which it no longer was.
    idle: Option<Event>,
    session: Arc<Session>,
}

impl<T> Memory<T> {
    /// The address of element `offset` of `count`, if they are within the memory and it is of `gpu`.
    pub(super) fn range(
        &self,
        operation: &'static str,
        gpu: &Gpu,
        offset: usize,
        count: usize,
    ) -> Result<CUdeviceptr, Error> {
        if !Arc::ptr_eq(&self.place.session, &gpu.session) {
            return Err(Error::OtherGpu { operation });
        }
        let length = self.length;
        if offset.checked_add(count).is_none_or(|end| end > length) {
            return Err(Error::Range { operation, offset, count, length });
        }
        Ok(self.place.address + (offset * size_of::<T>()) as CUdeviceptr)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.address == 0 {
            return;
        }
        let place = Place {
            address: std::mem::take(&mut self.address),
            bytes: self.bytes,
            idle: self.idle.take(),
            session: Arc::clone(&self.session),
        };
        // In work that is repeated it is freed later: this is then the drop of nothing.
        if let Some(mut place) = graph::keep(place) {
            place.free();
        }
    }
}

impl Place {
    /// Puts it on the shelf. What is queued may use it still: what gets it next comes after that in the stream.
    fn free(&mut self) {
        let session = Arc::clone(&self.session);
        let mut shelf = lock(&session.shelf);
        let idle = if shelf.has_room(self.bytes) { self.mark() } else { Err(()) };
        let address = std::mem::take(&mut self.address);
        match idle {
            Ok(idle) => shelf.put(self.bytes, Kept { address, idle }),
            Err(()) => {
                session.context.enter_to_give_back();
                // SAFETY: the address came from cuMemAlloc in this context. Waiting lets the kernels that use it end.
                unsafe {
                    api::cuStreamSynchronize(session.stream.handle);
                    api::cuMemFree_v2(address);
                }
            }
        }
    }

    /// Marks the end of its use, where an upload in another stream may ask for that. Fails where the driver does.
    fn mark(&mut self) -> Result<Option<Event>, ()> {
        if self.bytes < LARGE {
            return Ok(None);
        }
        let session = &self.session;
        session.context.enter_to_give_back();
        let idle = match self.idle.take() {
            Some(event) => event,
            None => Event::without_time(&session.context).map_err(drop)?,
        };
        idle.record_in(session.stream.handle, String::new).map_err(drop)?;
        Ok(Some(idle))
    }
}

impl Gpu {
    /// Opens GPU `index`, counted from 0, and sees whether its driver takes the kernels.
    ///
    /// # Errors
    /// There is no driver, no such GPU, one of the two is too old, or the driver refuses the PTX: each says what
    /// to do about it.
    pub fn open(index: usize) -> Result<Gpu, Error> {
        graph::refuse("opening a GPU")?;
        let (info, device) = info::device(index)?;
        let modules = info.modules()?;
        let about = format!("GPU {index}, {}", info.name);
        let context = Context::retain(device, &about)?;
        context.enter(String::new)?;
        // Miri would take many minutes to read all kernels, and can run none.
        let ptx: Vec<_> =
            modules.iter().map(|(_, ptx)| Parts::of(if cfg!(miri) { "" } else { ptx })).collect();
        for parts in &ptx {
            if let Some(kernel) = parts.shortest() {
                Module::load(
                    &context,
                    &parts.module(kernel)?,
                    &format!("loading kernel {kernel} on {about}"),
                )?;
            }
        }
        let stream = Stream::new(&context, &format!("on {about}"))?;
        let shelf = Mutex::new(Shelf::new(info.memory, &context));
        let (functions, last_launch, staging) = Default::default();
        let session = Session { last_launch, staging, stream, shelf, functions, context, ptx, about, info };
        Ok(Gpu { session: Arc::new(session) })
    }

    /// What the driver says about this GPU.
    #[must_use]
    pub fn info(&self) -> &GpuInfo {
        &self.session.info
    }

    /// Queues a copy of `from` to the beginning of `to`, both in this GPU's memory.
    ///
    /// # Errors
    /// `to` is shorter, one of the two belongs to another GPU, this is in work that is repeated, or the driver's.
    pub fn copy<T: Element>(&self, from: &Buffer<T, Self>, to: &mut Buffer<T, Self>) -> Result<(), Error> {
        let there = from.memory().range("read", self, 0, from.len())?;
        let here = to.memory().range("write", self, 0, from.len())?;
        let bytes = from.len() * size_of::<T>();
        if bytes == 0 {
            return Ok(());
        }
        self.session.enter_for("copying on the GPU")?;
        // SAFETY: both ranges are `bytes` long, and their owners wait for the stream before they give them back.
        unsafe {
            call!(
                cuMemcpyDtoDAsync_v2(here, there, bytes, self.session.stream.handle),
                "{bytes} bytes{}",
                self.session.after_launches()
            )
        }
    }

    pub(super) fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// Bytes of the GPU's memory that are free, and all of them.
    ///
    /// # Errors
    /// The driver reports an error.
    pub fn memory(&self) -> Result<(usize, usize), Error> {
        self.session.enter_for("asking for free memory")?;
        let (mut free, mut total) = (0, 0);
        // SAFETY: both are places for a number.
        unsafe { call!(cuMemGetInfo_v2(&raw mut free, &raw mut total), "asking for free memory") }?;
        Ok((free, total))
    }
}

impl Device for Gpu {
    type Memory<T: Element> = Memory<T>;
    type Error = Error;

    fn allocate<T: Element>(&self, length: usize) -> Result<Buffer<T, Self>, Error> {
        // A size beyond counting is asked for all the same: the driver refuses it as it does any that is too large.
        let bytes = length.saturating_mul(size_of::<T>());
        let mut place = Place { address: 0, bytes, idle: None, session: Arc::clone(&self.session) };
        if bytes > 0 {
            self.session.enter_for("allocating memory")?;
            let kept = lock(&self.session.shelf).take(bytes);
            match kept {
                Some(kept) => (place.address, place.idle) = (kept.address, kept.idle),
                None => place.address = self.new_memory(bytes, length)?,
            }
        }
        Ok(Buffer::from_memory(Memory { place, length, values: PhantomData }))
    }

    /// Memory that holds a copy of `values`, which nobody waits for: what is launched from now on finds it there. A large
    /// copy runs beside what was launched before.
    fn upload<T: Element>(&self, values: &[T]) -> Result<Buffer<T, Self>, Error> {
        let buffer = self.allocate(values.len())?;
        if size_of_val(values) > 0 {
            let place = &buffer.memory().place;
            self.session.enter_for("copying to the GPU")?;
            self.session.stage(bytemuck::cast_slice(values), place)?;
        }
        Ok(buffer)
    }

    fn write<T: Element>(
        &self,
        buffer: &mut Buffer<T, Self>,
        offset: usize,
        values: &[T],
    ) -> Result<(), Error> {
        let address = buffer.memory().range("write", self, offset, values.len())?;
        let bytes = size_of_val(values);
        if bytes == 0 {
            return Ok(());
        }
        self.session.enter_for("copying to the GPU")?;
        let stream = self.session.stream.handle;
        // SAFETY: `values` are `bytes` long, and so is the range at `address`, which was checked; both live until
        // the copy is done, which is waited for below.
        unsafe {
            call!(
                cuMemcpyHtoDAsync_v2(address, values.as_ptr().cast(), bytes, stream),
                "{bytes} bytes{}",
                self.session.after_launches()
            )
        }?;
        self.session.wait("copying to the GPU")
    }

    fn read<T: Element>(
        &self,
        buffer: &Buffer<T, Self>,
        offset: usize,
        values: &mut [T],
    ) -> Result<(), Error> {
        let address = buffer.memory().range("read", self, offset, values.len())?;
        let bytes = size_of_val(values);
        if bytes == 0 {
            return Ok(());
        }
        self.session.enter_for("copying from the GPU")?;
        let stream = self.session.stream.handle;
        // SAFETY: as in `write`; any bytes are valid values of an `Element`. Should the wait fail, the driver has done
        // with `values` all the same: it fills memory that is not pinned before the copy's call returns.
        unsafe {
            call!(
                cuMemcpyDtoHAsync_v2(values.as_mut_ptr().cast(), address, bytes, stream),
                "{bytes} bytes{}",
                self.session.after_launches()
            )
        }?;
        self.session.wait("copying from the GPU")
    }

    unsafe fn launch<P: Parameters, A: Arguments<P, Self>>(
        &self,
        kernel: &Kernel<P>,
        grid: [u32; 3],
        arguments: A,
    ) -> Result<(), Error> {
        if grid.contains(&0) {
            return Ok(());
        }
        if grid.iter().zip(GRID_LIMIT).any(|(&blocks, limit)| blocks > limit) {
            return Err(Error::Grid { kernel: kernel.path(), grid });
        }
        let session = &self.session;
        session.enter()?;
        let stream = graph::stream(session)?;
        let function = session.function(kernel)?;
        let mut parameters = arguments.bind();
        let mut pointers = parameters.pointers();
        let ([grid_x, grid_y, grid_z], [block_x, block_y, block_z]) = (grid, kernel.block());
        let shared_bytes = kernel.shared_bytes() as c_uint;
        let addresses = pointers.as_mut_ptr();
        let about = || format!("kernel {} on a grid of {grid:?}{}", kernel.path(), session.after_launches());
        // SAFETY: there is a pointer for each parameter in the PTX, to a value of its size; the driver copies the
        // values before it returns. The caller answers for the kernel.
        unsafe {
            if kernel.is_cooperative() {
                // Refused if not all blocks can be resident at once: they wait for each other.
                call!(
                    cuLaunchCooperativeKernel(
                        function,
                        grid_x,
                        grid_y,
                        grid_z,
                        block_x,
                        block_y,
                        block_z,
                        shared_bytes,
                        stream,
                        addresses,
                    ),
                    "{}",
                    about()
                )
            } else {
                call!(
                    cuLaunchKernel(
                        function,
                        grid_x,
                        grid_y,
                        grid_z,
                        block_x,
                        block_y,
                        block_z,
                        shared_bytes,
                        stream,
                        addresses,
                        std::ptr::null_mut(),
                    ),
                    "{}",
                    about()
                )
            }
        }?;
        graph::launched(session, (kernel.path(), grid));
        Ok(())
    }

    fn repeat<E: From<Error>>(
        &self,
        times: usize,
        mut work: impl FnMut(&Self) -> Result<(), E>,
    ) -> Result<(), E> {
        self.repeat_work(times, &mut work)
    }

    fn shared_bytes(&self) -> usize {
        self.info().shared_bytes
    }

    fn resident_blocks(&self) -> usize {
        // 65 536 registers a multiprocessor on all from compute capability 8.0 on, and 255 at most of each of 128 threads.
        2 * self.info().multiprocessors as usize
    }

    fn has(&self, entry: &str) -> bool {
        self.session.ptx.iter().any(|parts| parts.has(entry))
    }

    fn synchronize(&self) -> Result<(), Error> {
        self.session.enter_for("waiting for the GPU")?;
        self.session.wait("waiting for the GPU")
    }

    fn length<T: Element>(memory: &Memory<T>) -> usize {
        memory.length
    }

    fn global<T: Element>(memory: &Memory<T>) -> Global<T> {
        Global::from_address(memory.place.address, memory.length)
    }

    fn global_mut<T: Element>(memory: &mut Memory<T>) -> GlobalMut<T> {
        GlobalMut::from_address(memory.place.address, memory.length)
    }
}

impl Gpu {
    /// The address of memory from the driver; if it has none, after it got back what lies on the shelf. The context is
    /// current.
    fn new_memory(&self, bytes: usize, length: usize) -> Result<CUdeviceptr, Error> {
        let session = &self.session;
        let mut address = 0;
        let mut ask = || {
            // SAFETY: `address` is a place for the address.
            unsafe { call!(cuMemAlloc_v2(&raw mut address, bytes), "{bytes} bytes for {length} values") }
        };
        let mut asked = ask();
        let mut shelf = lock(&session.shelf);
        if let (Err(Error::Call { code: api::OUT_OF_MEMORY, .. }), false) = (&asked, shelf.is_empty()) {
            session.wait("freeing memory")?;
            shelf.clear();
            asked = ask();
        }
        drop(shelf);
        asked.map_err(|error| self.explain_memory(error))?;
        Ok(address)
    }

    /// Adds to an error of too little memory how much there is.
    fn explain_memory(&self, error: Error) -> Error {
        match (error, self.memory()) {
            (Error::Call { call, about, code: api::OUT_OF_MEMORY, name, text }, Ok((free, total))) => {
                Error::Call {
                    call,
                    about: format!("{about}; {free} bytes of {total} are free"),
                    code: api::OUT_OF_MEMORY,
                    name,
                    text,
                }
            }
            (error, _) => error,
        }
    }
}
