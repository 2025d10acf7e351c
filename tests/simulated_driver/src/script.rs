//! What the driver is to be, and where it is to fail: the words of `SIMULATED_CUDA`, as the crate's header has them.

use std::ffi::c_int;

use crate::calls::{MULTIPROCESSORS, SHARED_BYTES};

/// A script, from its words.
#[derive(Debug)]
pub struct Script {
    pub gpus: i32,
    pub version: i32,
    pub capability: i32,
    pub memory: usize,
    pub multiprocessors: c_int,
    pub shared: c_int,
    pub cublas: i32,
    spoil: usize,
    garble: usize,
    fail: Vec<Fail>,
    kernel: Option<(usize, u32)>,
    lost: usize,
}

/// `fail=CALL:K=CODE`
#[derive(Debug)]
struct Fail {
    /// `None` for any call.
    call: Option<String>,
    at: usize,
    /// `None` for the code that fits the call.
    code: Option<u32>,
}

/// What answers each call of a GPU that was lost.
const LOST: u32 = 999;

impl Script {
    /// Reads a script.
    ///
    /// # Panics
    /// A word means nothing: a script with a slip must not pass for one without faults.
    pub fn of(text: &str) -> Script {
        let mut script = Script {
            gpus: 1,
            version: 13000,
            capability: 80,
            memory: 1 << 30,
            multiprocessors: MULTIPROCESSORS,
            shared: SHARED_BYTES,
            cublas: 120_304,
            spoil: 0,
            garble: 0,
            fail: Vec::new(),
            kernel: None,
            lost: usize::MAX,
        };
        for word in text.split_whitespace() {
            script.word(word).unwrap_or_else(|| panic!("SIMULATED_CUDA: {word:?} means nothing"));
        }
        script
    }

    fn word(&mut self, word: &str) -> Option<()> {
        let (key, value) = word.split_once('=')?;
        match key {
            "gpus" => self.gpus = value.parse().ok()?,
            "version" => self.version = value.parse().ok()?,
            "capability" => self.capability = value.parse().ok()?,
            "multiprocessors" => self.multiprocessors = value.parse().ok()?,
            "shared" => self.shared = value.parse().ok()?,
            "memory" => self.memory = value.parse().ok()?,
            "cublas" => self.cublas = value.parse().ok()?,
            "garble" => self.garble = value.parse().ok()?,
            "spoil" => self.spoil = value.parse().ok()?,
            "lost" => self.lost = value.parse().ok()?,
            "kernel" => {
                let (at, code) = value.split_once('=')?;
                self.kernel = Some((at.parse().ok()?, code.parse().ok()?));
            }
            "fail" => {
                let (call, at) = value.split_once(':')?;
                let (at, code) = at.split_once('=').map_or((at, None), |(at, code)| (at, Some(code)));
                self.fail.push(Fail {
                    call: (call != "any").then(|| call.to_owned()),
                    at: at.parse().ok()?,
                    code: code.map(str::parse).transpose().ok()?,
                });
            }
            _ => return None,
        }
        Some(())
    }

    /// Whether the GPU is gone by this call, counted among all.
    pub fn lost(&self, of_all: usize) -> bool {
        of_all >= self.lost
    }

    /// What a call is to answer in place of its work: the `of_all`-th of all calls, the `of_its`-th of this name.
    pub fn call(&self, name: &str, of_all: usize, of_its: usize) -> Option<u32> {
        if self.lost(of_all) {
            return Some(LOST);
        }
        let fail = self.fail.iter().find(|fail| match &fail.call {
            None => fail.at == of_all,
            Some(call) => call == name && fail.at == of_its,
        })?;
        Some(fail.code.unwrap_or_else(|| fitting(name)))
    }

    /// Whether the `number`-th product of cuBLAS is to be wrong.
    pub fn spoils(&self, number: usize) -> bool {
        self.spoil == number
    }

    /// Whether the `number`-th kernel that runs is to leave something wrong.
    pub fn garbles(&self, number: usize) -> bool {
        self.garble == number
    }

    /// How the `number`-th kernel that runs is to end.
    pub fn kernel(&self, number: usize) -> Option<u32> {
        self.kernel.filter(|&(at, _)| at == number).map(|(_, code)| code)
    }
}

/// The code that a call is likeliest to fail with, among those that NVIDIA's documentation lists for it.
fn fitting(name: &str) -> u32 {
    match name {
        "cuInit" => 803,                                                  // SYSTEM_DRIVER_MISMATCH
        "cuDriverGetVersion" => 1,                                        // INVALID_VALUE
        "cuDeviceGetCount" => 4,                                          // DEINITIALIZED
        "cuDevicePrimaryCtxRetain" => 2,                                  // OUT_OF_MEMORY
        "cuDevicePrimaryCtxRelease" => 201,                               // INVALID_CONTEXT
        "cuCtxSetCurrent" => 201,                                         // INVALID_CONTEXT
        "cuModuleLoadDataEx" => 218,                                      // INVALID_PTX
        "cuModuleGetFunction" => 500,                                     // NOT_FOUND
        "cuFuncSetAttribute" => 1,                                        // INVALID_VALUE
        "cuModuleUnload" => 201,                                          // INVALID_CONTEXT
        "cuStreamCreate" => 2,                                            // OUT_OF_MEMORY
        "cuStreamDestroy" => 400,                                         // INVALID_HANDLE
        "cuMemAlloc" => 2,                                                // OUT_OF_MEMORY
        "cuMemHostAlloc" => 2,                                            // OUT_OF_MEMORY
        "cuMemFree" | "cuMemFreeHost" => 1,                               // INVALID_VALUE
        "cuMemGetInfo" => 201,                                            // INVALID_CONTEXT
        "cuLaunchKernel" | "cuLaunchCooperativeKernel" => 701,            // LAUNCH_OUT_OF_RESOURCES
        "cuStreamSynchronize" | "cuEventSynchronize" => 719,              // LAUNCH_FAILED, of what ran before
        "cuStreamBeginCapture" => 1,                                      // INVALID_VALUE
        "cuStreamEndCapture" => 901,                                      // STREAM_CAPTURE_INVALIDATED
        "cuGraphInstantiateWithFlags" => 2,                               // OUT_OF_MEMORY
        "cuGraphLaunch" => 1,                                             // INVALID_VALUE
        "cuGraphDestroy" | "cuGraphExecDestroy" => 1,                     // INVALID_VALUE
        "cuEventCreate" => 2,                                             // OUT_OF_MEMORY
        "cuStreamWaitEvent" => 400,                                       // INVALID_HANDLE
        "cuEventRecord" | "cuEventElapsedTime" | "cuEventDestroy" => 400, // INVALID_HANDLE
        "cuMemcpyHtoDAsync" | "cuMemcpyDtoHAsync" | "cuMemcpyDtoDAsync" => 700, // ILLEGAL_ADDRESS, of what ran before
        "cublasCreate" => 3,                                                    // ALLOC_FAILED
        name if name.starts_with("cublas") => 13,                               // EXECUTION_FAILED
        name if name.starts_with("cuDevice") => 101,                            // INVALID_DEVICE
        name => panic!("no code fits {name}"),
    }
}

/// Whether a code stays: by NVIDIA's documentation of `CUresult`, any further work with CUDA then returns the same
/// error until the process ends.
pub fn stays(code: u32) -> bool {
    matches!(code, 214 | 220 | 226 | 700 | 702 | 710 | 714..=719)
}
