//! A library that answers as NVIDIA's `libcuda.so.1` does, and runs the kernels on the emulator.
//!
//! It lets everything that talks to the driver be tested where there is no GPU. It is loaded as the real one is:
//!
//! ```sh
//! cargo build --release -p simulated_driver
//! TILEGRAD_CUDA_DRIVER=target/release/libsimulated_driver.so target/release/tilegrad doctor
//! ```
//!
//! Each function that tilegrad calls is here, and checks what NVIDIA's documentation of the driver API says that it
//! checks: handles, contexts, ranges, sizes. Beyond that:
//!
//! * A module is accepted if its kernels are ours: the same names, types of parameters, threads of a block.
//! * Streams are queues. Kernels and copies in them run when somebody waits for the stream, and no earlier: a missing
//!   wait shows, since its results are not there yet. Freeing memory does not wait (the real driver may).
//! * Memory is the emulator's. A kernel's access beyond an allocation, or to one that was freed, is found at the
//!   access, even where a guard band or a neighbour would be hit; allocations are never at a place again.
//! * A stream can be captured, as a graph of kernels. Whatever might be unsafe on a thread that captures (memory, modules,
//!   waiting) is refused there and spoils the capture, except in the relaxed mode.
//! * Events take the host's time at which the work before them was done, which says nothing about a GPU.
//! * A kernel's fault is told on standard error in the emulator's words, and becomes a sticky error: from then on
//!   each call that needs a context answers it, until the process ends.
//!
//! # Not imitated
//! PTX is not compiled: what a kernel does comes from the Rust sources that the PTX was made of (tests/ptx_interpreter runs
//! the PTX). No limits of registers or
//! shared memory, no time. Pageable memory is copied to the GPU's side at once and copied back as late as page-locked memory,
//! which is read when its copy's turn comes. That every record of an event is in one stream after another is not checked.
//! Whole allocations only are kernels' parameters, and values of 4 bytes only are copied. No contexts but the primary
//! ones, no default stream, graphs of anything but kernels, memory pools, copies between GPUs; whatever of that
//! tilegrad comes to use has to be added.
//!
//! # The script
//! The environment variable `SIMULATED_CUDA` says what is to be there and what is to fail, in words between blanks:
//!
//! | word | meaning | without it |
//! |---|---|---|
//! | `gpus=N` | so many GPUs | 1 |
//! | `version=V` | the driver's CUDA version, 1000 × major + 10 × minor | 13000 |
//! | `capability=C` | the GPUs' compute capability, 10 × major + minor | 80 |
//! | `memory=BYTES` | the memory of each GPU | 1 GiB |
//! | `multiprocessors=N` | its multiprocessors | 108 |
//! | `shared=BYTES` | the shared memory that one block may have | 163 KiB |
//! | `fail=CALL:K=CODE` | the K-th call of CALL, from 1, answers CODE; again for another | |
//! | `fail=any:K=CODE` | the K-th call of all does | |
//! | `kernel=K=CODE` | the K-th kernel that runs ends with CODE, which stays | |
//! | `garble=K` | the K-th kernel that runs leaves a NaN at the beginning of its last buffer | |
//! | `cublas=V` | the version of cuBLAS | 120304 |
//! | `spoil=K` | the K-th product of cuBLAS that is asked for comes out wrong | |
//! | `lost=K` | from the K-th call of all on, each answers 999: the GPU is gone (NVIDIA documents no code for that) | |
//!
//! A call that fails by the script does nothing, but a wait with a code that does not stay: it ends when all is done.
//! Without `=CODE` a call answers the code that fits it; with `=0` it says that it did its work, and did nothing, as if
//! it had been left out. Functions have the names of NVIDIA's documentation, without
//! `_v2`. `cuGetErrorName` and `cuGetErrorString` do not count and never fail. A function that is missing is no
//! matter of a script: rename it in a copy of the library, as tests/cuda.rs does.
//!
//! # The report
//! When the process ends, a JSON object goes to the file that `SIMULATED_CUDA_REPORT` names:
//!
//! | key | value |
//! |---|---|
//! | `calls` | the number of calls of each function |
//! | `order` | the first 10 000 calls, in order |
//! | `kernels` | kernels that ran |
//! | `struck` | the number of the call (among all) in which the script's first fault came, or null |
//! | `outside` | accesses outside allocations, by kernels or copies |
//! | `kept` | contexts, streams, events, graphs (also instantiated ones), modules, allocations (also of page-locked memory) and handles and descriptions of cuBLAS that nobody has tried to give back |
//!
//! For tests in one process, [`simulated_driver_restart`] begins anew with a script, and [`simulated_driver_report`]
//! gives the report.

mod blas;
mod calls;
mod kernels;
mod memory;
mod script;

use blas::Lt;
pub use blas::*;
pub use calls::*;

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::ffi::{CStr, c_char, c_int};
use std::sync::{LazyLock, Mutex, MutexGuard};
use std::thread::ThreadId;
use std::time::Instant;

use cuda_std::Fault;
use serde_json::json;

use kernels::{KERNELS, Run};
use memory::Heap;
use script::{Script, stays};

const SUCCESS: u32 = 0;
const INVALID_VALUE: u32 = 1;
const OUT_OF_MEMORY: u32 = 2;
const NOT_INITIALIZED: u32 = 3;
const NO_DEVICE: u32 = 100;
const INVALID_DEVICE: u32 = 101;
const INVALID_CONTEXT: u32 = 201;
const NO_BINARY_FOR_GPU: u32 = 209;
const INVALID_PTX: u32 = 218;
const UNSUPPORTED_PTX_VERSION: u32 = 222;
const INVALID_HANDLE: u32 = 400;
const ILLEGAL_STATE: u32 = 401;
const NOT_FOUND: u32 = 500;
const NOT_READY: u32 = 600;
const ILLEGAL_ADDRESS: u32 = 700;
const LAUNCH_FAILED: u32 = 719;
const COOPERATIVE_LAUNCH_TOO_LARGE: u32 = 720;
const STREAM_CAPTURE_UNSUPPORTED: u32 = 900;
const STREAM_CAPTURE_INVALIDATED: u32 = 901;
const STREAM_CAPTURE_WRONG_THREAD: u32 = 908;

/// Calls whose order the report has.
const ORDER: usize = 10_000;

/// Handles are multiples of this; a function's is its module's, plus one, plus the kernel's number.
const HANDLE: u64 = 0x1000;

/// What an answer is: nothing, or a code.
type Answer = Result<(), u32>;

/// Work in a stream.
enum Work {
    ToDevice {
        address: u64,
        words: Vec<f32>,
    },
    /// From page-locked memory, which is read when its turn comes.
    PinnedToDevice {
        address: u64,
        from: usize,
        words: usize,
    },
    ToHost {
        to: usize,
        address: u64,
        words: usize,
    },
    OnDevice {
        to: u64,
        from: u64,
        words: usize,
    },
    Kernel(Launch),
    /// The event's handle, and which of its records this is.
    Event(u64, u64),
    /// Nothing that follows runs before this record of the event.
    Wait(u64, u64),
}

/// A kernel with its grid and its parameters' bits.
#[derive(Clone)]
struct Launch {
    kernel: &'static dyn Run,
    grid: [u32; 3],
    bits: Vec<u64>,
}

/// What lives in a context.
enum Kind {
    Stream(Stream),
    Event(Event),
    Graph(Vec<Launch>),
    /// A graph that can be launched.
    Exec(Vec<Launch>),
    Module,
    Memory,
    /// Of the host, page-locked.
    Pinned(Vec<u32>),
    /// A handle of cuBLAS.
    Blas {
        stream: u64,
    },
    /// What cuBLASLt is asked with.
    Lt(Lt),
}

#[derive(Default)]
struct Stream {
    queue: VecDeque<Work>,
    capture: Option<Capture>,
}

/// A capture that was begun and not ended.
struct Capture {
    thread: ThreadId,
    /// Whether what might be unsafe is allowed on that thread.
    relaxed: bool,
    /// `None` once something has spoilt it.
    launches: Option<Vec<Launch>>,
}

struct Event {
    /// Whether it takes times.
    timed: bool,
    /// How often it was recorded.
    records: u64,
    /// The last record that the GPU has come to, and when.
    done: Option<(u64, Instant)>,
}

impl Event {
    /// Whether this record is done, or a later one.
    fn is_done(&self, record: u64) -> bool {
        self.done.is_some_and(|(done, _)| done >= record)
    }
}

struct Object {
    device: c_int,
    kind: Kind,
    /// Whether somebody has tried to give it back.
    offered: bool,
}

/// What is never given back, by kind.
#[derive(Clone, Copy, Default)]
struct Kept {
    streams: usize,
    events: usize,
    graphs: usize,
    modules: usize,
    allocations: usize,
    handles: usize,
}

impl Kept {
    fn add(&mut self, object: &Object) {
        let count = match object.kind {
            _ if object.offered => return,
            Kind::Stream(_) => &mut self.streams,
            Kind::Event(_) => &mut self.events,
            Kind::Graph(_) | Kind::Exec(_) => &mut self.graphs,
            Kind::Module => &mut self.modules,
            Kind::Memory | Kind::Pinned(_) => &mut self.allocations,
            Kind::Blas { .. } | Kind::Lt(_) => &mut self.handles,
        };
        *count += 1;
    }
}

struct Driver {
    script: Script,
    calls: BTreeMap<&'static str, usize>,
    order: Vec<&'static str>,
    all: usize,
    kernels: usize,
    /// Products of cuBLAS that were asked for.
    products: usize,
    struck: Option<usize>,
    outside: usize,

    started: bool,
    /// The code that stays.
    fault: Option<u32>,
    /// How often each GPU's primary context is held.
    holds: BTreeMap<c_int, usize>,
    /// Holds that nobody has tried to give back.
    contexts: i64,
    /// By handle or address.
    objects: BTreeMap<u64, Object>,
    heap: Heap,
    handles: u64,
    /// What went with its context.
    gone: Kept,
}

static DRIVER: LazyLock<Mutex<Driver>> = LazyLock::new(|| {
    // Miri has no end of a process to wait for.
    #[cfg(not(miri))]
    // SAFETY: `at_exit` may be called at any time, and once.
    unsafe {
        atexit(at_exit)
    };
    Mutex::new(Driver::new(&std::env::var("SIMULATED_CUDA").unwrap_or_default()))
});

#[cfg(not(miri))]
unsafe extern "C" {
    fn atexit(function: extern "C" fn()) -> c_int;
}

#[cfg(not(miri))]
extern "C" fn at_exit() {
    if let Some(file) = std::env::var_os("SIMULATED_CUDA_REPORT")
        && let Err(error) = std::fs::write(&file, lock().report())
    {
        eprintln!("simulated driver: {}: {error}", file.to_string_lossy());
    }
}

fn lock() -> MutexGuard<'static, Driver> {
    DRIVER.lock().expect("a panic would have ended the process")
}

thread_local! {
    /// The current context: the GPU's number plus one, or 0.
    static CURRENT: Cell<usize> = const { Cell::new(0) };
}

/// What a call needs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    Nothing,
    /// `cuInit` before it.
    Start,
    /// A current context, and no fault that stays.
    Context,
}

/// A call: counted, failed if the script says so, checked, then done.
fn call(name: &'static str, needs: Needs, body: impl FnOnce(&mut Driver) -> Answer) -> u32 {
    let mut driver = lock();
    driver.enter(name, needs).and_then(|()| body(&mut driver)).err().unwrap_or(SUCCESS)
}

/// The same for a call that gives an object back, which counts as offered however it ends.
fn give_back(name: &'static str, object: u64, body: impl FnOnce(&mut Driver) -> Answer) -> u32 {
    if let Some(object) = lock().objects.get_mut(&object) {
        object.offered = true;
    }
    call(name, Needs::Context, body)
}

impl Driver {
    fn new(script: &str) -> Self {
        Driver {
            script: Script::of(script),
            calls: BTreeMap::new(),
            order: Vec::new(),
            all: 0,
            kernels: 0,
            products: 0,
            struck: None,
            outside: 0,
            started: false,
            fault: None,
            holds: BTreeMap::new(),
            contexts: 0,
            objects: BTreeMap::new(),
            heap: Heap::default(),
            handles: 0,
            gone: Kept::default(),
        }
    }

    fn enter(&mut self, name: &'static str, needs: Needs) -> Answer {
        let count = self.calls.entry(name).or_default();
        *count += 1;
        self.all += 1;
        if self.order.len() < ORDER {
            self.order.push(name);
        }
        if let Some(code) = self.script.call(name, self.all, *count) {
            self.struck = self.struck.or(Some(self.all));
            if stays(code) {
                self.fault = self.fault.or(Some(code));
            } else if code != SUCCESS
                && ["cuStreamSynchronize", "cuEventSynchronize"].contains(&name)
                && !self.script.lost(self.all)
            {
                // Who waits in vain may free what a copy writes to: it must not be written later.
                self.run_all();
            }
            return Err(code);
        }
        match needs {
            Needs::Start if !self.started => Err(NOT_INITIALIZED),
            Needs::Context if !self.started => Err(NOT_INITIALIZED),
            Needs::Context => self.fault.map_or_else(|| self.device().map(|_| ()), Err),
            _ => Ok(()),
        }
    }

    /// The GPU of the current context.
    fn device(&self) -> Result<c_int, u32> {
        let device = CURRENT.get() as c_int - 1;
        if self.holds.contains_key(&device) { Ok(device) } else { Err(INVALID_CONTEXT) }
    }

    /// A new object in the current context: its handle.
    fn object(&mut self, kind: Kind) -> Result<u64, u32> {
        let device = self.device()?;
        self.handles += 1;
        let handle = self.handles * HANDLE;
        self.objects.insert(handle, Object { device, kind, offered: false });
        Ok(handle)
    }

    /// Forgets an object of the current context.
    fn remove(&mut self, handle: u64, is: impl Fn(&Kind) -> bool) -> Answer {
        let device = self.device()?;
        match self.objects.get(&handle) {
            Some(object) if object.device == device && is(&object.kind) => {
                self.objects.remove(&handle);
                Ok(())
            }
            _ => Err(INVALID_HANDLE),
        }
    }

    /// Destroys a GPU's context with all that is in it.
    fn destroy(&mut self, device: c_int) {
        for (address, object) in self.objects.extract_if(.., |_, object| object.device == device) {
            self.gone.add(&object);
            if matches!(object.kind, Kind::Memory) {
                self.heap.free(address);
            }
        }
    }

    /// A stream of the current context.
    fn stream(&mut self, stream: u64) -> Result<&mut Stream, u32> {
        let device = self.device()?;
        match self.objects.get_mut(&stream) {
            Some(Object { device: theirs, kind: Kind::Stream(stream), .. }) if *theirs == device => {
                Ok(stream)
            }
            _ => Err(INVALID_HANDLE),
        }
    }

    /// The queue of a stream, for what cannot be captured here.
    fn queue(&mut self, stream: u64) -> Result<&mut VecDeque<Work>, u32> {
        let stream = self.stream(stream)?;
        if let Some(capture) = &mut stream.capture {
            capture.launches = None;
            return Err(STREAM_CAPTURE_UNSUPPORTED);
        }
        Ok(&mut stream.queue)
    }

    /// Queues a kernel, or adds it to the capture.
    fn enqueue(&mut self, stream: u64, launch: Launch) -> Answer {
        let stream = self.stream(stream)?;
        match &mut stream.capture {
            None => stream.queue.push_back(Work::Kernel(launch)),
            Some(Capture { launches: Some(launches), .. }) => launches.push(launch),
            Some(_) => return Err(STREAM_CAPTURE_INVALIDATED),
        }
        Ok(())
    }

    /// Refuses what might be unsafe on a thread that captures, and spoils the capture.
    fn safe_in_capture(&mut self) -> Answer {
        let ours = std::thread::current().id();
        let mut answer = Ok(());
        for object in self.objects.values_mut() {
            if let Kind::Stream(Stream { capture: Some(capture), .. }) = &mut object.kind
                && capture.thread == ours
                && !capture.relaxed
            {
                capture.launches = None;
                answer = Err(STREAM_CAPTURE_UNSUPPORTED);
            }
        }
        answer
    }

    /// Runs what is queued in a stream.
    fn run(&mut self, stream: u64) -> Answer {
        while self.step(stream)? {}
        Ok(())
    }

    /// Runs what is next in a stream; whether there was anything.
    fn step(&mut self, stream: u64) -> Result<bool, u32> {
        let Some(work) = self.stream(stream)?.queue.pop_front() else { return Ok(false) };
        if let Err(code) = self.work(work) {
            self.fault = Some(code);
            return Err(code);
        }
        Ok(true)
    }

    /// Runs what is before this record of an event, if it is not done.
    fn reach(&mut self, event: u64, record: u64) -> Answer {
        let pending = |object: &Object| match &object.kind {
            Kind::Event(event) => !event.is_done(record),
            _ => false,
        };
        while self.objects.get(&event).is_some_and(pending) {
            let behind = self.objects.iter().find_map(|(&handle, object)| match &object.kind {
                Kind::Stream(stream) => {
                    let ours = |work: &Work| matches!(work, Work::Event(of, which) if (*of, *which) == (event, record));
                    stream.queue.iter().any(ours).then_some(handle)
                }
                _ => None,
            });
            // In no queue: it is being run, or its stream is gone.
            let Some(stream) = behind else { return Ok(()) };
            self.step(stream)?;
        }
        Ok(())
    }

    fn run_all(&mut self) {
        let streams: Vec<u64> = self.objects.keys().copied().collect();
        for stream in streams {
            // A fault stays, and the next call answers it.
            let _ = self.run(stream);
        }
    }

    fn work(&mut self, work: Work) -> Answer {
        let done = match work {
            Work::ToDevice { address, words } => self.heap.write(address, &words).ok_or(ILLEGAL_ADDRESS),
            Work::PinnedToDevice { address, from, words } => {
                // SAFETY: it was there when the copy was queued, and is not freed before the stream has been waited for.
                let words = unsafe { std::slice::from_raw_parts(from as *const f32, words) }.to_vec();
                self.heap.write(address, &words).ok_or(ILLEGAL_ADDRESS)
            }
            Work::ToHost { to, address, words } => {
                // SAFETY: the caller keeps `to`, of that many words, until the stream has been waited for.
                let to = unsafe { std::slice::from_raw_parts_mut(to as *mut f32, words) };
                self.heap.read(address, to).ok_or(ILLEGAL_ADDRESS)
            }
            Work::OnDevice { to, from, words } => {
                let mut moved = vec![0.0; words];
                let moved = self.heap.read(from, &mut moved).and_then(|()| self.heap.write(to, &moved));
                moved.ok_or(ILLEGAL_ADDRESS)
            }
            Work::Event(event, record) => {
                // One that was destroyed meanwhile is nobody's concern.
                if let Some(Object { kind: Kind::Event(event), .. }) = self.objects.get_mut(&event) {
                    event.done = Some((record, Instant::now()));
                }
                Ok(())
            }
            Work::Wait(event, record) => self.reach(event, record),
            Work::Kernel(Launch { kernel, grid, bits }) => {
                self.kernels += 1;
                if let Some(code) = self.script.kernel(self.kernels) {
                    self.struck = self.struck.or(Some(self.all));
                    return Err(code);
                }
                let done = kernel.run(&bits, &mut self.heap, grid).map_err(|fault| {
                    eprintln!("simulated driver: {fault}");
                    if leaves_memory(&fault) { ILLEGAL_ADDRESS } else { LAUNCH_FAILED }
                });
                let last = kernel.types().iter().rposition(|name| *name == "u64");
                if let (true, Some(last)) = (self.script.garbles(self.kernels), last) {
                    self.heap.write(bits[last], &[f32::NAN]).ok_or(ILLEGAL_ADDRESS)?;
                }
                done
            }
        };
        if done == Err(ILLEGAL_ADDRESS) {
            self.outside += 1;
        }
        done
    }

    fn report(&self) -> String {
        let mut kept = self.gone;
        self.objects.values().for_each(|object| kept.add(object));
        let report = json!({
            "calls": self.calls,
            "order": self.order,
            "kernels": self.kernels,
            "struck": self.struck,
            "outside": self.outside,
            "kept": {
                "contexts": self.contexts,
                "streams": kept.streams,
                "events": kept.events,
                "graphs": kept.graphs,
                "modules": kept.modules,
                "allocations": kept.allocations,
                "handles": kept.handles,
            },
        });
        report.to_string()
    }
}

/// Whether a kernel went beyond an allocation: the emulator says so in words alone.
fn leaves_memory(fault: &Fault) -> bool {
    matches!(fault, Fault::Kernel { what, .. } if what.starts_with("global ") && what.contains(", which has "))
}

/// Forgets everything and begins anew with `script`, as if the process had just been started.
///
/// # Safety
/// `script` ends with a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn simulated_driver_restart(script: *const c_char) {
    // SAFETY: the caller's promise.
    let script = unsafe { CStr::from_ptr(script) }.to_str().expect("a script is UTF-8");
    *lock() = Driver::new(script);
}

/// Writes the report as it is now, and a zero byte; returns its length, and writes nothing if it is not below `room`.
///
/// # Safety
/// `place` has room for `room` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn simulated_driver_report(place: *mut c_char, room: usize) -> usize {
    let report = lock().report();
    if report.len() < room {
        // SAFETY: the caller's promise.
        unsafe {
            place.cast::<u8>().copy_from_nonoverlapping(report.as_ptr(), report.len());
            place.add(report.len()).write(0);
        }
    }
    report.len()
}
