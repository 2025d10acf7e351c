//! The driver's functions that tilegrad calls, each with the checks that NVIDIA's documentation has for it.
#![allow(non_snake_case)]
#![allow(clippy::missing_safety_doc, reason = "NVIDIA's documentation says what each asks of its caller")]

use std::ffi::{CStr, c_char, c_int, c_uint, c_ulonglong, c_void};

use crate::Needs::{Context, Nothing, Start};
use crate::*;

/// What stands for a context, a stream, a module or a function: a number, in the driver's type.
type Handle = *mut c_void;

/// As many as an A100 has.
pub(crate) const MULTIPROCESSORS: c_int = 108;
/// Registers that it has.
const REGISTERS: u64 = 65_536;
/// Bytes of shared memory that one of its blocks may have.
pub(crate) const SHARED_BYTES: c_int = 163 << 10;

static CODES: &[(u32, &CStr, &CStr)] = &[
    (1, c"CUDA_ERROR_INVALID_VALUE", c"invalid argument"),
    (2, c"CUDA_ERROR_OUT_OF_MEMORY", c"out of memory"),
    (3, c"CUDA_ERROR_NOT_INITIALIZED", c"initialization error"),
    (4, c"CUDA_ERROR_DEINITIALIZED", c"driver shutting down"),
    (46, c"CUDA_ERROR_DEVICE_UNAVAILABLE", c"CUDA-capable device(s) is/are busy or unavailable"),
    (100, c"CUDA_ERROR_NO_DEVICE", c"no CUDA-capable device is detected"),
    (101, c"CUDA_ERROR_INVALID_DEVICE", c"invalid device ordinal"),
    (201, c"CUDA_ERROR_INVALID_CONTEXT", c"invalid device context"),
    (209, c"CUDA_ERROR_NO_BINARY_FOR_GPU", c"no kernel image is available for execution on the device"),
    (214, c"CUDA_ERROR_ECC_UNCORRECTABLE", c"uncorrectable ECC error encountered"),
    (218, c"CUDA_ERROR_INVALID_PTX", c"a PTX JIT compilation failed"),
    (
        222,
        c"CUDA_ERROR_UNSUPPORTED_PTX_VERSION",
        c"the provided PTX was compiled with an unsupported toolchain.",
    ),
    (400, c"CUDA_ERROR_INVALID_HANDLE", c"invalid resource handle"),
    (401, c"CUDA_ERROR_ILLEGAL_STATE", c"the operation cannot be performed in the present state"),
    (500, c"CUDA_ERROR_NOT_FOUND", c"named symbol not found"),
    (600, c"CUDA_ERROR_NOT_READY", c"device not ready"),
    (700, c"CUDA_ERROR_ILLEGAL_ADDRESS", c"an illegal memory access was encountered"),
    (701, c"CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", c"too many resources requested for launch"),
    (719, c"CUDA_ERROR_LAUNCH_FAILED", c"unspecified launch failure"),
    (
        803,
        c"CUDA_ERROR_SYSTEM_DRIVER_MISMATCH",
        c"system has unsupported display driver / cuda driver combination",
    ),
    (720, c"CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE", c"too many blocks in cooperative launch"),
    (801, c"CUDA_ERROR_NOT_SUPPORTED", c"operation not supported"),
    (900, c"CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", c"operation not permitted when stream is capturing"),
    (
        901,
        c"CUDA_ERROR_STREAM_CAPTURE_INVALIDATED",
        c"operation failed due to a previous error during capture",
    ),
    (
        908,
        c"CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD",
        c"attempt to terminate a thread-local capture sequence from another thread",
    ),
    (999, c"CUDA_ERROR_UNKNOWN", c"unknown error"),
];

/// Writes to a place that the caller gives.
///
/// # Safety
/// `place` is null or a place for a `T`.
pub(crate) unsafe fn put<T>(place: *mut T, value: T) -> Answer {
    if place.is_null() {
        return Err(INVALID_VALUE);
    }
    // SAFETY: the caller's promise.
    unsafe { place.write(value) };
    Ok(())
}

/// The text of a code, by `pick`.
fn describe(
    code: u32,
    place: *mut *const c_char,
    pick: impl Fn(&(u32, &'static CStr, &'static CStr)) -> &'static CStr,
) -> u32 {
    let found = CODES.iter().find(|known| known.0 == code);
    // SAFETY: the caller of the driver gives a place for the address.
    let put = unsafe { put(place, found.map_or(std::ptr::null(), |known| pick(known).as_ptr())) };
    if found.is_some() && put.is_ok() { SUCCESS } else { INVALID_VALUE }
}

/// The name of a code; null and `INVALID_VALUE` if it is unknown.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGetErrorName(code: u32, name: *mut *const c_char) -> u32 {
    describe(code, name, |known| known.1)
}

/// The text of a code; null and `INVALID_VALUE` if it is unknown.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGetErrorString(code: u32, text: *mut *const c_char) -> u32 {
    describe(code, text, |known| known.2)
}

/// Starts the driver. `flags` must be 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuInit(flags: c_uint) -> u32 {
    call("cuInit", Nothing, |driver| {
        if flags != 0 {
            return Err(INVALID_VALUE);
        }
        if driver.script.gpus == 0 {
            return Err(NO_DEVICE);
        }
        driver.started = true;
        Ok(())
    })
}

/// 1000 × major + 10 × minor of the newest CUDA version that the driver knows. May come before `cuInit`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDriverGetVersion(version: *mut c_int) -> u32 {
    // SAFETY: the caller gives a place for the number.
    call("cuDriverGetVersion", Nothing, |driver| unsafe { put(version, driver.script.version) })
}

/// The number of GPUs.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetCount(count: *mut c_int) -> u32 {
    // SAFETY: the caller gives a place for the number.
    call("cuDeviceGetCount", Start, |driver| unsafe { put(count, driver.script.gpus) })
}

impl Driver {
    fn known(&self, device: c_int) -> Answer {
        if (0..self.script.gpus).contains(&device) { Ok(()) } else { Err(INVALID_DEVICE) }
    }
}

/// The handle of a GPU by its number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGet(device: *mut c_int, ordinal: c_int) -> u32 {
    call("cuDeviceGet", Start, |driver| {
        driver.known(ordinal)?;
        // SAFETY: the caller gives a place for the handle.
        unsafe { put(device, ordinal) }
    })
}

/// A GPU's name, with a zero byte at its end, in at most `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetName(name: *mut c_char, length: c_int, device: c_int) -> u32 {
    call("cuDeviceGetName", Start, |driver| {
        driver.known(device)?;
        let room = usize::try_from(length).ok().filter(|&room| room > 0 && !name.is_null());
        let room = room.ok_or(INVALID_VALUE)?;
        let text = format!("Simulated GPU {device}");
        let length = text.len().min(room - 1);
        // SAFETY: the caller's room is `room` bytes.
        unsafe {
            name.cast::<u8>().copy_from_nonoverlapping(text.as_ptr(), length);
            name.add(length).write(0);
        }
        Ok(())
    })
}

/// A GPU's memory in bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceTotalMem_v2(bytes: *mut usize, device: c_int) -> u32 {
    call("cuDeviceTotalMem", Start, |driver| {
        driver.known(device)?;
        // SAFETY: the caller gives a place for the number.
        unsafe { put(bytes, driver.script.memory) }
    })
}

/// An attribute of a GPU: those that tilegrad asks for.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetAttribute(value: *mut c_int, attribute: c_uint, device: c_int) -> u32 {
    call("cuDeviceGetAttribute", Start, |driver| {
        driver.known(device)?;
        let number = match attribute {
            13 => 1_410_000,                     // CLOCK_RATE
            16 => driver.script.multiprocessors, // MULTIPROCESSOR_COUNT
            32 => 1,                             // ECC_ENABLED
            36 => 1_215_000,                     // MEMORY_CLOCK_RATE
            37 => 5120,                          // GLOBAL_MEMORY_BUS_WIDTH
            38 => 40 << 20,                      // L2_CACHE_SIZE
            97 => driver.script.shared,          // MAX_SHARED_MEMORY_PER_BLOCK_OPTIN
            75 => driver.script.capability / 10,
            76 => driver.script.capability % 10,
            _ => return Err(INVALID_VALUE),
        };
        // SAFETY: the caller gives a place for the number.
        unsafe { put(value, number) }
    })
}

/// A hold on a GPU's primary context.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDevicePrimaryCtxRetain(context: *mut usize, device: c_int) -> u32 {
    call("cuDevicePrimaryCtxRetain", Start, |driver| {
        driver.known(device)?;
        // A process whose work has failed gets no context to go on with.
        driver.fault.map_or(Ok(()), Err)?;
        // SAFETY: the caller gives a place for the handle.
        unsafe { put(context, device as usize + 1) }?;
        *driver.holds.entry(device).or_default() += 1;
        driver.contexts += 1;
        Ok(())
    })
}

/// Gives a hold back. The last one destroys the context and all that is in it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDevicePrimaryCtxRelease_v2(device: c_int) -> u32 {
    lock().contexts -= 1;
    call("cuDevicePrimaryCtxRelease", Start, |driver| {
        driver.known(device)?;
        let holds = driver.holds.get_mut(&device).ok_or(INVALID_CONTEXT)?;
        *holds -= 1;
        if *holds == 0 {
            driver.holds.remove(&device);
            driver.destroy(device);
        }
        Ok(())
    })
}

/// Makes a context current on this thread; none if it is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxSetCurrent(context: Handle) -> u32 {
    let context = context.addr();
    call("cuCtxSetCurrent", Start, |driver| {
        driver.fault.map_or(Ok(()), Err)?;
        if context > 0 && !driver.holds.contains_key(&(context as c_int - 1)) {
            return Err(INVALID_CONTEXT);
        }
        CURRENT.set(context);
        Ok(())
    })
}

/// Loads the kernels from PTX. The option 5 is a buffer for messages, 6 its size; others are not looked at.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleLoadDataEx(
    module: *mut usize,
    image: *const c_char,
    count: c_uint,
    keys: *const c_uint,
    values: *const *mut c_void,
) -> u32 {
    let option = |wanted: c_uint| {
        // SAFETY: the caller gives `count` keys and values.
        (0..count as usize).find_map(|i| unsafe { (*keys.add(i) == wanted).then(|| *values.add(i)) })
    };
    let say = |text: &str| {
        if let (Some(log), Some(room)) = (option(5), option(6)) {
            let length = text.len().min(room.addr().saturating_sub(1));
            // SAFETY: the caller's buffer has `room` bytes.
            unsafe {
                log.cast::<u8>().copy_from_nonoverlapping(text.as_ptr(), length);
                log.cast::<u8>().add(length).write(0);
            }
        }
    };
    let answer = call("cuModuleLoadDataEx", Context, |driver| {
        driver.safe_in_capture()?;
        // SAFETY: PTX ends with a zero byte.
        let ptx = unsafe { CStr::from_ptr(image) }.to_str().map_err(|_| INVALID_PTX)?;
        driver.takes(ptx)?;
        // Miri would take many minutes to read all kernels.
        if !cfg!(miri)
            && let Some(problem) = problem(ptx)
        {
            say(&format!("ptxas error   : {problem}"));
            return Err(INVALID_PTX);
        }
        let handle = driver.object(Kind::Module)?;
        // SAFETY: the caller gives a place for the handle.
        unsafe { put(module, handle as usize) }
    });
    if answer == INVALID_PTX && lock().struck.is_some() {
        say("ptxas application ptx input, line 9; error   : the script has this module rejected");
    }
    answer
}

impl Driver {
    /// Whether the driver knows the PTX's version and the GPU is of its architecture, or newer unless it ends with an "a".
    fn takes(&self, ptx: &str) -> Answer {
        let after = |directive: &str| {
            ptx.lines().find_map(|line| line.strip_prefix(directive)).map(str::trim).ok_or(INVALID_PTX)
        };
        let (major, minor) = after(".version")?.split_once('.').ok_or(INVALID_PTX)?;
        let number = |text: &str| text.parse::<i32>().map_err(|_| INVALID_PTX);
        // PTX 7.x came with CUDA 11.x, and so on.
        if 1000 * (number(major)? + 4) + 10 * number(minor)? > self.script.version {
            return Err(UNSUPPORTED_PTX_VERSION);
        }
        let target = after(".target")?.strip_prefix("sm_").ok_or(INVALID_PTX)?;
        let architecture = number(target.trim_end_matches(|c: char| !c.is_ascii_digit()))?;
        let takes = match target.ends_with('a') {
            true => architecture == self.script.capability,
            false => architecture <= self.script.capability,
        };
        if takes { Ok(()) } else { Err(NO_BINARY_FOR_GPU) }
    }
}

/// What keeps this PTX from being ours.
fn problem(ptx: &str) -> Option<String> {
    let entries = match cuda_builder::entries(ptx) {
        Ok(entries) => entries,
        Err(error) => return Some(error.to_string()),
    };
    for entry in &entries {
        let name = &entry.name;
        let Some(kernel) = KERNELS.iter().find(|kernel| kernel.entry() == name) else {
            return Some(format!("kernel {name} is not in tests/simulated_driver/src/kernels.rs"));
        };
        if entry.parameters != kernel.types() || entry.max_threads != Some(kernel.block()) {
            return Some(format!(
                "kernel {name} takes {:?} in blocks of {:?}, not {:?} in blocks of {:?}",
                entry.parameters,
                entry.max_threads,
                kernel.types(),
                kernel.block()
            ));
        }
    }
    None
}

/// Unloads a module.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleUnload(module: Handle) -> u32 {
    give_back("cuModuleUnload", module.addr() as u64, |driver| {
        driver.safe_in_capture()?;
        driver.remove(module.addr() as u64, |kind| matches!(kind, Kind::Module))
    })
}

/// The handle of a kernel by its name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleGetFunction(
    function: *mut usize,
    module: Handle,
    name: *const c_char,
) -> u32 {
    call("cuModuleGetFunction", Context, |driver| {
        driver.module(module.addr() as u64)?;
        // SAFETY: a name ends with a zero byte.
        let name = unsafe { CStr::from_ptr(name) }.to_bytes();
        let found = KERNELS.iter().position(|kernel| kernel.entry().as_bytes() == name).ok_or(NOT_FOUND)?;
        // SAFETY: the caller gives a place for the handle.
        unsafe { put(function, module.addr() + 1 + found) }
    })
}

/// Allows a kernel more dynamic shared memory, the one attribute that is set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuFuncSetAttribute(function: Handle, attribute: c_uint, value: c_int) -> u32 {
    const MAX_DYNAMIC_SHARED_SIZE_BYTES: c_uint = 8;
    call("cuFuncSetAttribute", Context, |driver| {
        driver.kernel(function.addr() as u64)?;
        if attribute != MAX_DYNAMIC_SHARED_SIZE_BYTES || !(0..=driver.script.shared).contains(&value) {
            return Err(INVALID_VALUE);
        }
        Ok(())
    })
}

impl Driver {
    /// Whether this is a module of the current context.
    fn module(&self, handle: u64) -> Answer {
        let device = self.device()?;
        match self.objects.get(&handle) {
            Some(object) if object.device == device && matches!(object.kind, Kind::Module) => Ok(()),
            _ => Err(INVALID_HANDLE),
        }
    }

    /// The kernel of a function's handle, whose module is loaded.
    fn kernel(&self, function: u64) -> Result<&'static dyn Run, u32> {
        self.module(function - function % HANDLE)?;
        let number = (function % HANDLE).checked_sub(1).ok_or(INVALID_HANDLE)?;
        KERNELS.get(number as usize).copied().ok_or(INVALID_HANDLE)
    }
}

/// A stream. `flags` are 0 or 1, which are the same here: there is no default stream.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamCreate(stream: *mut usize, flags: c_uint) -> u32 {
    call("cuStreamCreate", Context, |driver| {
        if flags > 1 {
            return Err(INVALID_VALUE);
        }
        let handle = driver.object(Kind::Stream(Stream::default()))?;
        // SAFETY: the caller gives a place for the handle.
        unsafe { put(stream, handle as usize) }
    })
}

/// Waits for a stream: here its work is done.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamSynchronize(stream: Handle) -> u32 {
    call("cuStreamSynchronize", Context, |driver| {
        driver.safe_in_capture()?;
        driver.queue(stream.addr() as u64)?;
        driver.run(stream.addr() as u64)
    })
}

/// Destroys a stream, after its work.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamDestroy_v2(stream: Handle) -> u32 {
    give_back("cuStreamDestroy", stream.addr() as u64, |driver| {
        driver.run(stream.addr() as u64)?;
        driver.remove(stream.addr() as u64, |kind| matches!(kind, Kind::Stream(_)))
    })
}

/// Memory of the current context's GPU, with unspecified contents.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemAlloc_v2(address: *mut u64, bytes: usize) -> u32 {
    call("cuMemAlloc", Context, |driver| {
        driver.safe_in_capture()?;
        if bytes == 0 {
            return Err(INVALID_VALUE);
        }
        if bytes > driver.script.memory - driver.heap.used() {
            return Err(OUT_OF_MEMORY);
        }
        let device = driver.device()?;
        let start = driver.heap.allocate(bytes).ok_or(OUT_OF_MEMORY)?;
        driver.objects.insert(start, Object { device, kind: Kind::Memory, offered: false });
        // SAFETY: the caller gives a place for the address.
        unsafe { put(address, start) }
    })
}

/// Frees memory. What still uses it is not waited for.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemFree_v2(address: u64) -> u32 {
    give_back("cuMemFree", address, |driver| {
        driver.safe_in_capture()?;
        driver.heap.free(address).ok_or(INVALID_VALUE)?;
        driver.objects.remove(&address);
        Ok(())
    })
}

/// Page-locked memory of the host. No flags are known here.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemHostAlloc(start: *mut Handle, bytes: usize, flags: c_uint) -> u32 {
    call("cuMemHostAlloc", Context, |driver| {
        driver.safe_in_capture()?;
        if bytes == 0 || flags != 0 {
            return Err(INVALID_VALUE);
        }
        let device = driver.device()?;
        let mut words = vec![0_u32; bytes.div_ceil(4)];
        let memory = words.as_mut_ptr();
        let address = memory.expose_provenance() as u64;
        driver.objects.insert(address, Object { device, kind: Kind::Pinned(words), offered: false });
        // SAFETY: the caller gives a place for the address.
        unsafe { put(start, memory.cast()) }
    })
}

/// Frees page-locked memory. What still reads it is not waited for.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemFreeHost(start: Handle) -> u32 {
    give_back("cuMemFreeHost", start.addr() as u64, |driver| {
        driver.safe_in_capture()?;
        driver.remove(start.addr() as u64, |kind| matches!(kind, Kind::Pinned(_)))
    })
}

/// Bytes of memory that are free, and all.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemGetInfo_v2(free: *mut usize, total: *mut usize) -> u32 {
    call("cuMemGetInfo", Context, |driver| {
        let memory = driver.script.memory;
        // SAFETY: the caller gives two places for numbers.
        unsafe { put(free, memory - driver.heap.used()).and_then(|()| put(total, memory)) }
    })
}

impl Driver {
    /// Whether so many bytes of the host's memory are page-locked.
    fn is_pinned(&self, start: usize, bytes: usize) -> bool {
        let before = self.objects.range(..=start as u64).next_back();
        before.is_some_and(|(&first, object)| match &object.kind {
            Kind::Pinned(words) => start + bytes <= first as usize + 4 * words.len(),
            _ => false,
        })
    }

    /// Whether whole words are to be copied, between a host's place and one allocation.
    fn check_copy(&mut self, device: u64, host: usize, bytes: usize) -> Answer {
        let whole = bytes.is_multiple_of(4) && device.is_multiple_of(4) && host.is_multiple_of(4);
        if whole && host != 0 && self.heap.holds(device, bytes) {
            return Ok(());
        }
        self.outside += 1;
        Err(INVALID_VALUE)
    }
}

/// Queues a copy from the host, whose memory is read before the call returns unless it is page-locked.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyHtoDAsync_v2(to: u64, from: *const u8, bytes: usize, stream: Handle) -> u32 {
    call("cuMemcpyHtoDAsync", Context, |driver| {
        driver.check_copy(to, from.addr(), bytes)?;
        let work = if driver.is_pinned(from.addr(), bytes) {
            Work::PinnedToDevice { address: to, from: from.expose_provenance(), words: bytes / 4 }
        } else {
            // SAFETY: the caller gives `bytes` bytes; they are aligned, as was checked.
            let words = unsafe { std::slice::from_raw_parts(from.cast::<f32>(), bytes / 4) }.to_vec();
            Work::ToDevice { address: to, words }
        };
        driver.queue(stream.addr() as u64)?.push_back(work);
        Ok(())
    })
}

/// Queues a copy to the host.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyDtoHAsync_v2(to: *mut u8, from: u64, bytes: usize, stream: Handle) -> u32 {
    call("cuMemcpyDtoHAsync", Context, |driver| {
        driver.check_copy(from, to.addr(), bytes)?;
        let work = Work::ToHost { to: to.expose_provenance(), address: from, words: bytes / 4 };
        driver.queue(stream.addr() as u64)?.push_back(work);
        Ok(())
    })
}

/// Queues a copy between two places of the GPU's memory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyDtoDAsync_v2(to: u64, from: u64, bytes: usize, stream: Handle) -> u32 {
    call("cuMemcpyDtoDAsync", Context, |driver| {
        // Neither is the host's: any address but 0 does for that.
        driver.check_copy(to, 4, bytes)?;
        driver.check_copy(from, 4, bytes)?;
        let work = Work::OnDevice { to, from, words: bytes / 4 };
        driver.queue(stream.addr() as u64)?.push_back(work);
        Ok(())
    })
}

/// Queues a kernel. The values of its parameters are read before the call returns.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuLaunchKernel(
    function: Handle,
    grid_x: c_uint,
    grid_y: c_uint,
    grid_z: c_uint,
    block_x: c_uint,
    block_y: c_uint,
    block_z: c_uint,
    shared_bytes: c_uint,
    stream: Handle,
    parameters: *const *const c_void,
    extra: *const *const c_void,
) -> u32 {
    call("cuLaunchKernel", Context, |driver| {
        if !extra.is_null() {
            return Err(INVALID_VALUE);
        }
        let (grid, block) = ([grid_x, grid_y, grid_z], [block_x, block_y, block_z]);
        // SAFETY: the caller's promise is the driver's.
        unsafe { driver.launch(function.addr(), grid, block, shared_bytes, stream.addr(), parameters) }
    })
}

/// The same for a kernel whose blocks wait for each other: refused if they cannot all be resident.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuLaunchCooperativeKernel(
    function: Handle,
    grid_x: c_uint,
    grid_y: c_uint,
    grid_z: c_uint,
    block_x: c_uint,
    block_y: c_uint,
    block_z: c_uint,
    shared_bytes: c_uint,
    stream: Handle,
    parameters: *const *const c_void,
) -> u32 {
    call("cuLaunchCooperativeKernel", Context, |driver| {
        let (grid, block) = ([grid_x, grid_y, grid_z], [block_x, block_y, block_z]);
        let product = |sides: [u32; 3]| sides.map(u64::from).iter().product::<u64>();
        // As if each thread had as many registers as it can have.
        let threads = product(block).max(1);
        let of_one = REGISTERS / (255 * threads);
        let resident = u64::from(driver.script.multiprocessors.unsigned_abs()) * of_one;
        if product(grid) > resident {
            return Err(COOPERATIVE_LAUNCH_TOO_LARGE);
        }
        // SAFETY: the caller's promise is the driver's.
        unsafe { driver.launch(function.addr(), grid, block, shared_bytes, stream.addr(), parameters) }
    })
}

impl Driver {
    /// # Safety
    /// There is a pointer for each of the kernel's parameters, to a value of its width.
    unsafe fn launch(
        &mut self,
        function: usize,
        grid: [u32; 3],
        block: [u32; 3],
        shared_bytes: u32,
        stream: usize,
        parameters: *const *const c_void,
    ) -> Answer {
        let kernel = self.kernel(function as u64)?;
        let limits = [i32::MAX as u32, 65535, 65535];
        let beyond = grid.iter().zip(limits).any(|(&blocks, limit)| blocks == 0 || blocks > limit);
        // Kernels are written for one shape of block and so much dynamic shared memory.
        let shared_bytes = shared_bytes as usize;
        if beyond || block != kernel.block() || shared_bytes != kernel.shared_bytes() || parameters.is_null()
        {
            return Err(INVALID_VALUE);
        }
        let bits = kernel.types().iter().enumerate().map(|(index, name)| {
            // SAFETY: the caller's promise.
            unsafe {
                let value = *parameters.add(index);
                if name.ends_with("64") {
                    value.cast::<u64>().read()
                } else {
                    value.cast::<u32>().read().into()
                }
            }
        });
        let launch = Launch { kernel, grid, bits: bits.collect() };
        self.enqueue(stream as u64, launch)
    }
}

/// Begins a capture: what is launched in the stream does not run, but becomes a graph.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamBeginCapture_v2(stream: Handle, mode: c_uint) -> u32 {
    const RELAXED: c_uint = 2;
    call("cuStreamBeginCapture", Context, |driver| {
        let stream = driver.stream(stream.addr() as u64)?;
        if mode > RELAXED {
            return Err(INVALID_VALUE);
        }
        if stream.capture.is_some() {
            return Err(ILLEGAL_STATE);
        }
        let thread = std::thread::current().id();
        stream.capture = Some(Capture { thread, relaxed: mode == RELAXED, launches: Some(Vec::new()) });
        Ok(())
    })
}

/// Ends a capture. One that was spoilt gives no graph.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamEndCapture(stream: Handle, graph: *mut usize) -> u32 {
    call("cuStreamEndCapture", Context, |driver| {
        // SAFETY: the caller gives a place for the handle.
        unsafe { put(graph, 0) }?;
        let stream = driver.stream(stream.addr() as u64)?;
        let capture = stream.capture.take().ok_or(ILLEGAL_STATE)?;
        if !capture.relaxed && capture.thread != std::thread::current().id() {
            return Err(STREAM_CAPTURE_WRONG_THREAD);
        }
        let launches = capture.launches.ok_or(STREAM_CAPTURE_INVALIDATED)?;
        let handle = driver.object(Kind::Graph(launches))?;
        // SAFETY: as above.
        unsafe { put(graph, handle as usize) }
    })
}

/// Makes a graph that can be launched. No flags are known here.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphInstantiateWithFlags(
    exec: *mut usize,
    graph: Handle,
    flags: c_ulonglong,
) -> u32 {
    call("cuGraphInstantiateWithFlags", Context, |driver| {
        driver.safe_in_capture()?;
        let device = driver.device()?;
        let launches = match driver.objects.get(&(graph.addr() as u64)) {
            Some(Object { device: theirs, kind: Kind::Graph(launches), .. }) if *theirs == device => {
                launches.clone()
            }
            _ => return Err(INVALID_HANDLE),
        };
        if flags != 0 {
            return Err(INVALID_VALUE);
        }
        let handle = driver.object(Kind::Exec(launches))?;
        // SAFETY: the caller gives a place for the handle.
        unsafe { put(exec, handle as usize) }
    })
}

/// Queues all that is in a graph.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphLaunch(exec: Handle, stream: Handle) -> u32 {
    call("cuGraphLaunch", Context, |driver| {
        let device = driver.device()?;
        let launches = match driver.objects.get(&(exec.addr() as u64)) {
            Some(Object { device: theirs, kind: Kind::Exec(launches), .. }) if *theirs == device => {
                launches.clone()
            }
            _ => return Err(INVALID_HANDLE),
        };
        driver.queue(stream.addr() as u64)?.extend(launches.into_iter().map(Work::Kernel));
        Ok(())
    })
}

/// Destroys a graph. What was instantiated from it stays.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphDestroy(graph: Handle) -> u32 {
    give_back("cuGraphDestroy", graph.addr() as u64, |driver| {
        driver.remove(graph.addr() as u64, |kind| matches!(kind, Kind::Graph(_)))
    })
}

/// Destroys a graph that can be launched; what was launched of it goes on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphExecDestroy(exec: Handle) -> u32 {
    give_back("cuGraphExecDestroy", exec.addr() as u64, |driver| {
        driver.remove(exec.addr() as u64, |kind| matches!(kind, Kind::Exec(_)))
    })
}

/// An event: with the flag 2 one that takes no times.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventCreate(event: *mut usize, flags: c_uint) -> u32 {
    call("cuEventCreate", Context, |driver| {
        if ![0, 2].contains(&flags) {
            return Err(INVALID_VALUE);
        }
        let kind = Kind::Event(Event { timed: flags == 0, records: 0, done: None });
        let handle = driver.object(kind)?;
        // SAFETY: the caller gives a place for the handle.
        unsafe { put(event, handle as usize) }
    })
}

impl Driver {
    /// An event of the current context.
    fn event(&mut self, event: u64) -> Result<&mut Event, u32> {
        let device = self.device()?;
        match self.objects.get_mut(&event) {
            Some(Object { device: theirs, kind: Kind::Event(event), .. }) if *theirs == device => Ok(event),
            _ => Err(INVALID_HANDLE),
        }
    }
}

/// Queues an event behind the work in a stream.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventRecord(event: Handle, stream: Handle) -> u32 {
    call("cuEventRecord", Context, |driver| {
        let handle = event.addr() as u64;
        let record = driver.event(handle)?.records + 1;
        driver.queue(stream.addr() as u64)?.push_back(Work::Event(handle, record));
        driver.event(handle)?.records = record;
        Ok(())
    })
}

/// Waits until the work before an event is done.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventSynchronize(event: Handle) -> u32 {
    call("cuEventSynchronize", Context, |driver| {
        driver.safe_in_capture()?;
        let handle = event.addr() as u64;
        let record = driver.event(handle)?.records;
        driver.reach(handle, record)
    })
}

/// Has what is queued in a stream from now on wait for an event's last record; for nothing, if it has none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamWaitEvent(stream: Handle, event: Handle, flags: c_uint) -> u32 {
    call("cuStreamWaitEvent", Context, |driver| {
        if flags != 0 {
            return Err(INVALID_VALUE);
        }
        let handle = event.addr() as u64;
        let record = driver.event(handle)?.records;
        let queue = driver.queue(stream.addr() as u64)?;
        if record > 0 {
            queue.push_back(Work::Wait(handle, record));
        }
        Ok(())
    })
}

/// The milliseconds between two events whose work is done.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventElapsedTime(milliseconds: *mut f32, start: Handle, end: Handle) -> u32 {
    call("cuEventElapsedTime", Context, |driver| {
        let mut at = |event: Handle| match *driver.event(event.addr() as u64)? {
            Event { timed: false, .. } | Event { records: 0, .. } => Err(INVALID_HANDLE),
            Event { records, done: Some((done, at)), .. } if done == records => Ok(at),
            _ => Err(NOT_READY),
        };
        let passed = at(end)?.saturating_duration_since(at(start)?);
        // SAFETY: the caller gives a place for the number.
        unsafe { put(milliseconds, 1e3 * passed.as_secs_f32()) }
    })
}

/// Destroys an event.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventDestroy_v2(event: Handle) -> u32 {
    give_back("cuEventDestroy", event.addr() as u64, |driver| {
        driver.remove(event.addr() as u64, |kind| matches!(kind, Kind::Event(_)))
    })
}
