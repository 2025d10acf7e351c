//! The driver's functions that are used here, and the check of their codes.
//!
//! `cust` gives the types of handles. Its own declarations return a Rust enum of the codes of CUDA 11.4, so that any
//! newer code would be undefined behaviour, in its safe wrappers too. These declarations return the code as the
//! number that it is; they end at the same trampolines.

use std::ffi::{CStr, c_char, c_int, c_uint, c_ulonglong, c_void};

use cust::sys::{
    CUcontext, CUdevice, CUdeviceptr, CUevent, CUfunction, CUgraph, CUgraphExec, CUmodule, CUstream,
};

use super::Error;

/// `CU_STREAM_NON_BLOCKING`: a stream that does not wait for the default stream.
pub(super) const STREAM_NON_BLOCKING: c_uint = 1;
/// `CU_EVENT_DISABLE_TIMING`: an event that is only waited for.
pub(super) const EVENT_WITHOUT_TIME: c_uint = 2;
/// `CU_STREAM_CAPTURE_MODE_THREAD_LOCAL`: what is unsafe while a stream is captured is refused on that thread alone.
pub(super) const CAPTURE_THREAD_LOCAL: c_uint = 1;
/// `CU_JIT_ERROR_LOG_BUFFER`: where the compiler's messages go.
pub(super) const JIT_ERROR_LOG_BUFFER: c_uint = 5;
/// `CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES`: how many bytes may go there.
pub(super) const JIT_ERROR_LOG_BUFFER_SIZE_BYTES: c_uint = 6;
/// `CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT`
pub(super) const MULTIPROCESSOR_COUNT: c_uint = 16;
/// `CU_DEVICE_ATTRIBUTE_CLOCK_RATE`, in kHz
pub(super) const CLOCK_RATE: c_uint = 13;
/// `CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE`, in kHz
pub(super) const MEMORY_CLOCK_RATE: c_uint = 36;
/// `CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH`, in bits
pub(super) const MEMORY_BUS_WIDTH: c_uint = 37;
/// `CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE`, in bytes
pub(super) const L2_CACHE_SIZE: c_uint = 38;
/// `CU_DEVICE_ATTRIBUTE_ECC_ENABLED`
pub(super) const ECC_ENABLED: c_uint = 32;
/// `CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN`, in bytes
pub(super) const SHARED_MEMORY_PER_BLOCK: c_uint = 97;
/// `CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES`: needed above 48 KiB.
pub(super) const MAX_DYNAMIC_SHARED_BYTES: c_uint = 8;
/// `CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR`
pub(super) const COMPUTE_CAPABILITY_MAJOR: c_uint = 75;
/// `CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR`
pub(super) const COMPUTE_CAPABILITY_MINOR: c_uint = 76;
/// `CUDA_ERROR_OUT_OF_MEMORY`
pub(super) const OUT_OF_MEMORY: u32 = 2;
/// `CUDA_ERROR_NO_DEVICE`
pub(super) const NO_DEVICE: u32 = 100;

unsafe extern "C" {
    pub(super) fn cuInit(flags: c_uint) -> u32;
    pub(super) fn cuDriverGetVersion(version: *mut c_int) -> u32;
    pub(super) fn cuGetErrorName(code: u32, name: *mut *const c_char) -> u32;
    pub(super) fn cuGetErrorString(code: u32, text: *mut *const c_char) -> u32;
    pub(super) fn cuDeviceGetCount(count: *mut c_int) -> u32;
    pub(super) fn cuDeviceGet(device: *mut CUdevice, ordinal: c_int) -> u32;
    pub(super) fn cuDeviceGetName(name: *mut c_char, length: c_int, device: CUdevice) -> u32;
    pub(super) fn cuDeviceGetAttribute(value: *mut c_int, attribute: c_uint, device: CUdevice) -> u32;
    pub(super) fn cuDeviceTotalMem_v2(bytes: *mut usize, device: CUdevice) -> u32;
    pub(super) fn cuDevicePrimaryCtxRetain(context: *mut CUcontext, device: CUdevice) -> u32;
    pub(super) fn cuDevicePrimaryCtxRelease_v2(device: CUdevice) -> u32;
    pub(super) fn cuCtxSetCurrent(context: CUcontext) -> u32;
    pub(super) fn cuModuleLoadDataEx(
        module: *mut CUmodule,
        image: *const c_void,
        options: c_uint,
        keys: *mut c_uint,
        values: *mut *mut c_void,
    ) -> u32;
    pub(super) fn cuModuleUnload(module: CUmodule) -> u32;
    pub(super) fn cuModuleGetFunction(
        function: *mut CUfunction,
        module: CUmodule,
        name: *const c_char,
    ) -> u32;
    pub(super) fn cuFuncSetAttribute(function: CUfunction, attribute: c_uint, value: c_int) -> u32;
    pub(super) fn cuStreamCreate(stream: *mut CUstream, flags: c_uint) -> u32;
    pub(super) fn cuStreamSynchronize(stream: CUstream) -> u32;
    pub(super) fn cuStreamWaitEvent(stream: CUstream, event: CUevent, flags: c_uint) -> u32;
    pub(super) fn cuStreamDestroy_v2(stream: CUstream) -> u32;
    pub(super) fn cuMemAlloc_v2(address: *mut CUdeviceptr, bytes: usize) -> u32;
    pub(super) fn cuMemFree_v2(address: CUdeviceptr) -> u32;
    pub(super) fn cuMemHostAlloc(start: *mut *mut c_void, bytes: usize, flags: c_uint) -> u32;
    pub(super) fn cuMemFreeHost(start: *mut c_void) -> u32;
    pub(super) fn cuMemGetInfo_v2(free: *mut usize, total: *mut usize) -> u32;
    pub(super) fn cuMemcpyHtoDAsync_v2(
        to: CUdeviceptr,
        from: *const c_void,
        bytes: usize,
        stream: CUstream,
    ) -> u32;
    pub(super) fn cuMemcpyDtoHAsync_v2(
        to: *mut c_void,
        from: CUdeviceptr,
        bytes: usize,
        stream: CUstream,
    ) -> u32;
    pub(super) fn cuMemcpyDtoDAsync_v2(
        to: CUdeviceptr,
        from: CUdeviceptr,
        bytes: usize,
        stream: CUstream,
    ) -> u32;
    pub(super) fn cuLaunchKernel(
        function: CUfunction,
        grid_x: c_uint,
        grid_y: c_uint,
        grid_z: c_uint,
        block_x: c_uint,
        block_y: c_uint,
        block_z: c_uint,
        shared_bytes: c_uint,
        stream: CUstream,
        parameters: *mut *mut c_void,
        extra: *mut *mut c_void,
    ) -> u32;
    pub(super) fn cuLaunchCooperativeKernel(
        function: CUfunction,
        grid_x: c_uint,
        grid_y: c_uint,
        grid_z: c_uint,
        block_x: c_uint,
        block_y: c_uint,
        block_z: c_uint,
        shared_bytes: c_uint,
        stream: CUstream,
        parameters: *mut *mut c_void,
    ) -> u32;
    pub(super) fn cuStreamBeginCapture_v2(stream: CUstream, mode: c_uint) -> u32;
    pub(super) fn cuStreamEndCapture(stream: CUstream, graph: *mut CUgraph) -> u32;
    pub(super) fn cuGraphInstantiateWithFlags(
        exec: *mut CUgraphExec,
        graph: CUgraph,
        flags: c_ulonglong,
    ) -> u32;
    pub(super) fn cuGraphLaunch(exec: CUgraphExec, stream: CUstream) -> u32;
    pub(super) fn cuGraphExecDestroy(exec: CUgraphExec) -> u32;
    pub(super) fn cuGraphDestroy(graph: CUgraph) -> u32;
    pub(super) fn cuEventCreate(event: *mut CUevent, flags: c_uint) -> u32;
    pub(super) fn cuEventRecord(event: CUevent, stream: CUstream) -> u32;
    pub(super) fn cuEventSynchronize(event: CUevent) -> u32;
    pub(super) fn cuEventElapsedTime(milliseconds: *mut f32, start: CUevent, end: CUevent) -> u32;
    pub(super) fn cuEventDestroy_v2(event: CUevent) -> u32;
}

/// Calls a function of the driver and checks its code; the text after it says what the call was for.
///
/// The call itself is unsafe, and stands in the caller's `unsafe` block.
macro_rules! call {
    ($function:ident($($argument:expr),* $(,)?), $($about:tt)+) => {
        $crate::cuda::api::check(
            stringify!($function),
            $crate::cuda::api::$function($($argument),*),
            || format!($($about)+),
        )
    };
}
pub(super) use call;

/// An error if `code` is one.
pub(super) fn check(call: &'static str, code: u32, about: impl FnOnce() -> String) -> Result<(), Error> {
    if code == 0 {
        return Ok(());
    }
    let call = call.trim_end_matches("_v2");
    let name = said(cuGetErrorName, code).unwrap_or_else(|| "an error without a name".to_owned());
    let text = said(cuGetErrorString, code).unwrap_or_else(|| "the driver has no text for it".to_owned());
    Err(Error::Call { call, about: about(), code, name, text })
}

/// What the driver says of a code.
fn said(ask: unsafe extern "C" fn(u32, *mut *const c_char) -> u32, code: u32) -> Option<String> {
    let mut text = std::ptr::null();
    // SAFETY: `text` is a place for the address of a string that lives as long as the driver.
    let answer = unsafe { ask(code, &raw mut text) };
    if answer != 0 || text.is_null() {
        return None;
    }
    // SAFETY: the driver answered 0, so `text` is the address of a string that ends with a zero byte.
    Some(unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}
