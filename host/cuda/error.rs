//! What the driver says, with a remedy.

use std::fmt;

/// An error of CUDA: what was called and for what, what the driver said, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The driver's library cannot be loaded.
    #[error(
        "the CUDA driver {library} cannot be loaded: {reason}; install NVIDIA's driver on this machine, or choose \
         another device"
    )]
    NoDriver {
        /// The library that was looked for.
        library: String,
        /// What the system's loader said.
        reason: String,
    },
    /// The driver sees no GPU.
    #[error(
        "the CUDA driver sees no GPU; check that nvidia-smi lists one, and that CUDA_VISIBLE_DEVICES does not hide it"
    )]
    NoGpu,
    /// There is no GPU of that number.
    #[error("there is no CUDA device {index}: the driver sees {count}, counted from 0")]
    NoSuchGpu {
        /// The number that was asked for.
        index: usize,
        /// How many there are.
        count: usize,
    },
    /// The driver is older than the PTX.
    #[error(
        "the CUDA driver is too old: it knows CUDA {driver}, and the kernels' PTX {ptx} needs CUDA {needed}; update \
         NVIDIA's driver"
    )]
    OldDriver {
        /// The CUDA version of the driver.
        driver: Version,
        /// The version of the PTX.
        ptx: Version,
        /// The CUDA version that takes this PTX.
        needed: Version,
    },
    /// The GPU is older than the kernels ask for.
    #[error(
        "{name} has compute capability {capability}, and the kernels need {needed} (Ampere) or newer; choose another \
         device"
    )]
    OldGpu {
        /// The GPU.
        name: String,
        /// Its compute capability.
        capability: Version,
        /// The least that is needed.
        needed: Version,
    },
    /// This program carries no PTX that could run on the GPU.
    #[error("{problem}; build tilegrad where there is a device compiler (README.md says how)")]
    Ptx {
        /// What is wrong with the PTX.
        problem: String,
    },
    /// The driver refused the kernels' PTX.
    #[error("{failure}{}", if log.is_empty() { String::new() } else { format!("\nthe driver's compiler says:\n{log}") })]
    Jit {
        /// The call that failed.
        failure: Box<Error>,
        /// What the driver's compiler said.
        log: String,
    },
    /// A range outside a buffer.
    #[error("{operation} of {count} values beginning at {offset} does not fit a buffer of {length}")]
    Range {
        /// "write" or "read".
        operation: &'static str,
        /// The first element.
        offset: usize,
        /// The number of elements.
        count: usize,
        /// The length of the buffer.
        length: usize,
    },
    /// A buffer that another [`Gpu`](super::Gpu) made.
    #[error("{operation}: the buffer belongs to another Gpu; use it with the one that made it")]
    OtherGpu {
        /// "write" or "read".
        operation: &'static str,
    },
    /// More blocks than CUDA can count.
    #[error(
        "kernel {kernel}: a grid of {grid:?} blocks is beyond CUDA's limit of [2147483647, 65535, 65535]; split the \
         data"
    )]
    Grid {
        /// The kernel's path.
        kernel: &'static str,
        /// The grid.
        grid: [u32; 3],
    },
    /// Something else than a launch in work that is repeated.
    #[error(
        "{operation} has no place in work that is repeated, which only launches kernels on the Gpu that repeats it; do \
         it before or after"
    )]
    Repeated {
        /// What was asked for, such as "allocating memory".
        operation: &'static str,
    },
    /// Work that is repeated, and is not the same each time.
    #[error(
        "work that is repeated queued {first} launches at first, and {later} when it was called {times} more times; it \
         must queue the same each time"
    )]
    Uneven {
        /// Launches of the first call.
        first: usize,
        /// Launches of the later calls, all together.
        later: usize,
        /// How many later calls there were.
        times: usize,
    },
    /// cuBLAS cannot be used, or a call of it failed.
    #[error("{problem}; {remedy}")]
    Cublas {
        /// What is wrong.
        problem: String,
        /// What to do about it.
        remedy: &'static str,
    },
    /// A call of the driver failed.
    #[error("{call} failed ({about}): {name} ({code}): {text}; {}", remedy(*code))]
    Call {
        /// The driver's function.
        call: &'static str,
        /// What it was called for: the kernel, the sizes.
        about: String,
        /// The driver's code.
        code: u32,
        /// The driver's name for the code.
        name: String,
        /// The driver's text for the code.
        text: String,
    },
}

impl Error {
    /// Whether the driver keeps answering so until the process ends.
    #[must_use]
    pub fn is_sticky(&self) -> bool {
        matches!(self, Error::Call { code, .. } if is_sticky(*code))
    }
}

/// A version such as 13.0: of the driver, of PTX, of a GPU's compute capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The number before the point.
    pub major: u32,
    /// The number after it.
    pub minor: u32,
}

impl Version {
    /// The version `major`.`minor`.
    #[must_use]
    pub const fn new(major: u32, minor: u32) -> Self {
        Version { major, minor }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Codes after which, by NVIDIA's documentation, the process must be started anew to go on with CUDA.
const fn is_sticky(code: u32) -> bool {
    matches!(code, 214 | 220 | 226 | 700 | 702 | 710 | 714..=719)
}

/// What to do about a code of the driver.
fn remedy(code: u32) -> &'static str {
    match code {
        2 => "take fewer samples or features, or free memory on the GPU (nvidia-smi shows who uses it)",
        3 | 4 => {
            "the driver was not ready or is shutting down: use CUDA only between Gpu::open and the end of main"
        }
        34 => "this libcuda.so.1 is a toolkit's stub: let the loader find NVIDIA's driver before it",
        46 => {
            "another process has the GPU to itself, or its compute mode forbids use (nvidia-smi -q -d COMPUTE)"
        }
        100 | 101 => "check that nvidia-smi lists the GPU, and that CUDA_VISIBLE_DEVICES does not hide it",
        200 | 209 | 218 => {
            "the kernels' PTX does not suit this GPU and driver: update the driver, or build it anew"
        }
        214 | 220 => {
            "the hardware reported an error (nvidia-smi -q shows it): reset the GPU, then start anew"
        }
        221 => {
            "the driver's PTX compiler (libnvidia-ptxjitcompiler.so.1) is missing: install the whole driver"
        }
        222 => "the driver is older than the kernels' PTX: update NVIDIA's driver",
        223 => "compiling PTX is switched off: unset CUDA_DISABLE_PTX_JIT",
        500 => "the PTX is not of these kernels: build it anew",
        700 | 716..=718 => {
            "a kernel left its memory: CUDA is lost to this process, start it anew; run the same on the emulator or \
             under compute-sanitizer to find where"
        }
        701 => "the kernel's blocks need more registers or shared memory than this GPU has",
        702 => {
            "a kernel ran into the display's time limit: CUDA is lost to this process; use a GPU without a display"
        }
        710 | 714 | 715 | 719 => {
            "a kernel failed: CUDA is lost to this process, start it anew; run the same on the emulator or under \
             compute-sanitizer to find where"
        }
        720 => "the kernel's blocks wait for each other, and this GPU cannot run so many at once: take fewer",
        801 => "this driver lacks the function: update NVIDIA's driver",
        802 => "the system's services for CUDA are not ready (fabric manager?): wait, or start them",
        803 => "the driver's library and its kernel module are of different versions: restart the machine",
        804 => {
            "a library for forward compatibility (cuda-compat) is loaded, which this GPU does not support: take it out \
             of LD_LIBRARY_PATH, so that the driver's own libcuda.so.1 is found"
        }
        900..=908 => "only launches can be recorded: report this as a fault of tilegrad",
        999 => {
            "the driver does not know why: see whether nvidia-smi works and the nvidia_uvm module is loaded (dmesg)"
        }
        _ if is_sticky(code) => "CUDA is lost to this process: start it anew",
        _ => "NVIDIA's documentation of the driver API explains the code",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(code: u32) -> Error {
        Error::Call {
            call: "cuMemAlloc",
            about: "40 bytes".to_owned(),
            code,
            name: "CUDA_ERROR_X".to_owned(),
            text: "x".to_owned(),
        }
    }

    #[test]
    fn a_call_says_what_failed_and_what_to_do() {
        let Error::Call { .. } = call(2) else { unreachable!() };
        assert_eq!(
            call(2).to_string(),
            "cuMemAlloc failed (40 bytes): CUDA_ERROR_X (2): x; take fewer samples or features, or free memory on the \
             GPU (nvidia-smi shows who uses it)"
        );
    }

    #[test]
    fn each_code_has_its_remedy() {
        for (code, word) in [
            (2, "fewer samples"),
            (34, "stub"),
            (100, "CUDA_VISIBLE_DEVICES"),
            (218, "update the driver"),
            (222, "update NVIDIA's driver"),
            (226, "start it anew"),
            (700, "compute-sanitizer"),
            (702, "time limit"),
            (719, "start it anew"),
            (720, "take fewer"),
            (803, "restart the machine"),
            (804, "LD_LIBRARY_PATH"),
            (900, "fault of tilegrad"),
            (123_456, "documentation"),
        ] {
            let text = call(code).to_string();
            assert!(text.contains(word), "{code}: {text}");
        }
    }

    #[test]
    fn faults_of_kernels_are_sticky_and_others_not() {
        assert!([700, 702, 710, 714, 716, 719, 226].map(call).iter().all(Error::is_sticky));
        assert!(![0, 1, 2, 100, 218, 500, 701, 801].map(call).iter().any(Error::is_sticky));
        assert!(!Error::NoGpu.is_sticky());
    }

    #[test]
    fn the_log_of_the_drivers_compiler_is_shown_only_if_there_is_one() {
        let log = |log: &str| Error::Jit { failure: Box::new(call(218)), log: log.to_owned() }.to_string();
        assert!(log("ptxas error: line 3").ends_with("the driver's compiler says:\nptxas error: line 3"));
        assert!(!log("").contains("says"));
    }
}
