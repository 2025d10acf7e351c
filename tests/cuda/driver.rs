//! The simulated driver by its functions, and the library's GPU on it, in this process.

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::ptr::null_mut;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cuda_std::{Buffer, Device};
use kernels::matmul::wgmma::MATMUL_WGMMA;
use libloading::{Library, Symbol};
use tilegrad::cuda::ptx::{self, choose};
use tilegrad::cuda::{Error, Gpu, cuda_devices};

use crate::Report;

/// The simulated driver that this process has loaded. One test at a time has it.
pub struct Simulated {
    library: Library,
    _turn: MutexGuard<'static, ()>,
}

pub fn simulated() -> Simulated {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let path = kernel_suite::simulated::library().expect("it was there when the tests began");
    // SAFETY: it is the library that `tilegrad::cuda` has loaded, or will.
    let library = unsafe { Library::new(path) }.expect("it can be loaded");
    Simulated { library, _turn: turn }
}

impl Simulated {
    /// The function of this name.
    ///
    /// # Safety
    /// `F` is its type.
    pub unsafe fn function<F>(&self, name: &CStr) -> Symbol<'_, F> {
        // SAFETY: the caller's promise.
        unsafe { self.library.get(name.to_bytes_with_nul()) }.expect("the library has it")
    }

    /// As in a process that was just started with this script.
    pub fn restart(&self, script: &str) {
        let script = CString::new(script).expect("no zero byte");
        // SAFETY: the function has this type, and a script ends with a zero byte.
        unsafe {
            self.function::<unsafe extern "C" fn(*const c_char)>(c"simulated_driver_restart")(
                script.as_ptr(),
            );
        }
    }

    pub fn report(&self) -> Report {
        let mut text = vec![0_u8; 1 << 20];
        // SAFETY: the function has this type, and the room is as long as is said.
        let length = unsafe {
            type F = unsafe extern "C" fn(*mut c_char, usize) -> usize;
            self.function::<F>(c"simulated_driver_report")(text.as_mut_ptr().cast(), text.len())
        };
        Report(serde_json::from_slice(&text[..length]).expect("the report is JSON"))
    }
}

/// Calls a function of the driver by its symbol: the arguments with their types, and its answer.
macro_rules! call {
    ($driver:ident.$name:ident($($argument:expr => $type:ty),* $(,)?)) => {{
        let name = CStr::from_bytes_with_nul(concat!(stringify!($name), "\0").as_bytes()).expect("a name");
        // SAFETY: these are the function's types, and the test gives what it asks for.
        unsafe { $driver.function::<unsafe extern "C" fn($($type),*) -> u32>(name)($($argument),*) }
    }};
}

pub(crate) use call;

/// The driver started by hand, with a current context.
pub fn by_hand() -> Simulated {
    let driver = simulated();
    driver.restart("");
    let mut context = 0;
    assert_eq!(call!(driver.cuDeviceGetCount(&raw mut context as *mut c_int => *mut c_int)), 3);
    assert_eq!(call!(driver.cuInit(0 => c_uint)), 0);
    assert_eq!(call!(driver.cuCtxSetCurrent(1 => usize)), 201);
    assert_eq!(call!(driver.cuDevicePrimaryCtxRetain(&raw mut context => *mut usize, 0 => c_int)), 0);
    assert_eq!(call!(driver.cuCtxSetCurrent(context => usize)), 0);
    driver
}

pub fn work_runs_when_it_is_waited_for_and_no_earlier() {
    let driver = by_hand();
    let (mut stream, mut address) = (0_usize, 0_u64);
    assert_eq!(call!(driver.cuStreamCreate(&raw mut stream => *mut usize, 1 => c_uint)), 0);
    assert_eq!(call!(driver.cuMemAlloc_v2(&raw mut address => *mut u64, 8 => usize)), 0);
    let (from, mut to) = ([1.5_f32, -2.0], [0.0_f32; 2]);
    let bytes = size_of_val(&from);
    let copy_there = |bytes: usize, stream: usize| call!(driver.cuMemcpyHtoDAsync_v2(address => u64, from.as_ptr() => *const f32, bytes => usize, stream => usize));
    assert_eq!(copy_there(bytes, stream), 0);
    let place = to.as_mut_ptr();
    let back = call!(driver.cuMemcpyDtoHAsync_v2(place => *mut f32, address => u64, bytes => usize, stream => usize));
    assert_eq!((back, to), (0, [0.0; 2]));
    assert_eq!(call!(driver.cuStreamSynchronize(stream => usize)), 0);
    assert_eq!(to, from);
    // What does not fit, is not there, or is given back twice.
    assert_eq!(copy_there(12, stream), 1);
    assert_eq!(copy_there(bytes, stream + 1), 400);
    assert_eq!(call!(driver.cuMemFree_v2(address + 4 => u64)), 1);
    assert_eq!(call!(driver.cuMemFree_v2(address => u64)), 0);
    assert_eq!(call!(driver.cuMemFree_v2(address => u64)), 1);
    assert_eq!(call!(driver.cuStreamDestroy_v2(stream => usize)), 0);
    assert_eq!(call!(driver.cuStreamDestroy_v2(stream => usize)), 400);
    assert_eq!(call!(driver.cuDevicePrimaryCtxRelease_v2(0 => c_int)), 0);
    assert_eq!(call!(driver.cuStreamSynchronize(stream => usize)), 201);
}

/// Loads PTX: the driver's answer, its log, the module.
fn load(driver: &Simulated, ptx: &str) -> (u32, String, usize) {
    let image = CString::new(ptx).expect("no zero byte");
    let (mut module, mut log) = (0_usize, vec![0_u8; 1000]);
    let room = std::ptr::without_provenance_mut(log.len());
    let (keys, values) = ([5, 6], [log.as_mut_ptr().cast::<c_void>(), room]);
    let code = call!(driver.cuModuleLoadDataEx(
        &raw mut module => *mut usize,
        image.as_ptr() => *const c_char,
        2 => c_uint,
        keys.as_ptr() => *const c_uint,
        values.as_ptr() => *const *mut c_void,
    ));
    let log = CStr::from_bytes_until_nul(&log).expect("a zero byte").to_string_lossy().into_owned();
    (code, log, module)
}

/// The kernel of that name in a module: the driver's answer, the function.
fn function(driver: &Simulated, module: usize, name: &CStr) -> (u32, usize) {
    let mut function = 0_usize;
    let code = call!(driver.cuModuleGetFunction(
        &raw mut function => *mut usize,
        module => usize,
        name.as_ptr() => *const c_char,
    ));
    (code, function)
}

pub fn launches_that_no_gpu_takes_are_refused() {
    let driver = by_hand();
    let mut stream = 0_usize;
    assert_eq!(call!(driver.cuStreamCreate(&raw mut stream => *mut usize, 1 => c_uint)), 0);
    let (_, _, module) = load(&driver, ptx::PTX_MODULES[0].1);
    assert_eq!(function(&driver, module, c"rule").0, 500);
    let (found, relu) = function(&driver, module, c"relu");
    assert_eq!(found, 0);
    let (none, nowhere) = (0_u32, 0_u64);
    let parameters =
        [(&raw const none).cast::<c_void>(), (&raw const nowhere).cast(), (&raw const nowhere).cast()];
    let launch = |function: usize, [x, y, z]: [u32; 3], threads: u32, shared: u32, stream: usize| {
        call!(driver.cuLaunchKernel(
            function => usize, x => c_uint, y => c_uint, z => c_uint, threads => c_uint, 1 => c_uint, 1 => c_uint,
            shared => c_uint, stream => usize, parameters.as_ptr() => *const *const c_void, null_mut() => *mut c_void,
        ))
    };
    let [threads, ..] = kernels::elementwise::RELU.block();
    assert_eq!(launch(relu, [1, 1, 1], threads, 0, stream), 0);
    assert_eq!(launch(module, [1, 1, 1], threads, 0, stream), 400, "a module is no function");
    assert_eq!(launch(relu, [1, 1, 1], threads, 0, module), 400, "a module is no stream");
    assert_eq!(launch(relu, [1, 0, 1], threads, 0, stream), 1, "no blocks");
    assert_eq!(launch(relu, [1, 65536, 1], threads, 0, stream), 1, "too many blocks");
    assert_eq!(launch(relu, [1, 1, 1], 2 * threads, 0, stream), 1, "the kernel's bounds are exceeded");
    assert_eq!(launch(relu, [1, 1, 1], threads, 4, stream), 1, "the kernel has no such memory");
    let together = |blocks: u32| {
        call!(driver.cuLaunchCooperativeKernel(
            relu => usize, blocks => c_uint, 1 => c_uint, 1 => c_uint, threads => c_uint, 1 => c_uint, 1 => c_uint,
            0 => c_uint, stream => usize, parameters.as_ptr() => *const *const c_void,
        ))
    };
    // Of each multiprocessor's registers a thread may have 255.
    let resident = 108 * (65_536 / (255 * threads));
    assert_eq!((together(resident), together(resident + 1)), (0, 720));
    assert_eq!(call!(driver.cuStreamSynchronize(stream => usize)), 0);
    assert_eq!(call!(driver.cuModuleUnload(module => usize)), 0);
    assert_eq!(launch(relu, [1, 1, 1], threads, 0, stream), 400, "its module is gone");
    assert_eq!(driver.report().number("kernels"), 2);
}

pub fn a_module_of_other_kernels_is_refused() {
    let driver = by_hand();
    let (_, ptx) = ptx::PTX_MODULES[0];
    let (code, log, _) = load(&driver, ptx);
    assert_eq!((code, log.as_str()), (0, ""));
    let changed = |from: &str, to: &str| {
        assert!(ptx.contains(from), "{from} is not in the PTX");
        load(&driver, &ptx.replacen(from, to, 1))
    };
    for (from, to, code, said) in [
        (".entry relu(", ".entry rule(", 218, "kernel rule is not in tests/simulated_driver"),
        (".param .u32 relu_param_0", ".param .u64 relu_param_0", 218, "kernel relu takes"),
        (
            ".visible .entry relu(",
            ".visible .entry more()\n{\nret;\n}\n.visible .entry relu(",
            218,
            "kernel more",
        ),
        (".target sm_80", ".target sm_90", 209, ""),
        (".version 7", ".version 17", 222, ""),
        (".version", ".virgin", 218, ""),
    ] {
        let (answer, log, _) = changed(from, to);
        assert_eq!(answer, code, "{to}: {log}");
        assert!(log.contains(said) && log.is_empty() == said.is_empty(), "{to}: {log}");
    }
}

pub fn what_is_kept_is_reported() {
    let driver = simulated();
    driver.restart("");
    let gpu = Gpu::open(0).expect("nothing fails");
    let kept = |driver: &Simulated| driver.report().0["kept"].to_string();
    assert_eq!(
        kept(&driver),
        r#"{"allocations":0,"contexts":1,"events":0,"graphs":0,"handles":0,"modules":0,"streams":1}"#
    );
    let buffer: Buffer<f32, Gpu> = gpu.allocate(3).expect("nothing fails");
    std::mem::forget(buffer);
    std::mem::forget(gpu.record(1, |_| Ok::<(), Error>(())).expect("nothing fails"));
    drop(gpu);
    assert_eq!(
        kept(&driver),
        r#"{"allocations":1,"contexts":1,"events":0,"graphs":1,"handles":0,"modules":0,"streams":1}"#
    );
}

pub fn a_kernel_beyond_its_memory_is_found() {
    let driver = simulated();
    driver.restart("");
    let gpu = Gpu::open(0).expect("nothing fails");
    let x = gpu.upload(&[-1.0_f32; 10]).expect("nothing fails");
    let mut out: Buffer<f32, Gpu> = gpu.allocate(10).expect("nothing fails");
    // SAFETY: this is what the kernel must not be given; the simulated driver finds out.
    let queued = unsafe { gpu.launch(&kernels::elementwise::RELU, [1, 1, 1], (11_u32, &x, &mut out)) };
    assert_eq!(queued, Ok(()), "a launch does not wait");
    let fault = gpu.synchronize().expect_err("element 10 of 10");
    assert!(fault.is_sticky() && fault.to_string().contains("kernels::elementwise::relu"), "{fault}");
    assert!(gpu.allocate::<f32>(1).is_err_and(|error| error.is_sticky()));
    assert!(gpu.download(&x).is_err_and(|error| error.is_sticky()));
    drop((x, out, gpu));
    let report = driver.report();
    assert_eq!(report.number("outside"), 1, "{report:?}");
    assert!(report.0["kept"].as_object().expect("an object").values().all(|count| count == 0), "{report:?}");
}

pub fn wrong_ranges_and_owners_are_refused() {
    let driver = simulated();
    driver.restart("");
    let (gpu, other) = (Gpu::open(0).expect("nothing fails"), Gpu::open(0).expect("nothing fails"));
    let mut buffer = gpu.upload(&[0.0_f32; 10]).expect("nothing fails");
    let refused = gpu.write(&mut buffer, 8, &[0.0; 3]).expect_err("it does not fit").to_string();
    assert_eq!(refused, "write of 3 values beginning at 8 does not fit a buffer of 10");
    assert!(gpu.read(&buffer, usize::MAX, &mut [0.0]).is_err_and(|e| matches!(e, Error::Range { .. })));
    assert!(other.read(&buffer, 0, &mut [0.0]).is_err_and(|e| matches!(e, Error::OtherGpu { .. })));
    for length in [1 << 40, usize::MAX] {
        let refused = gpu.allocate::<f32>(length).err().expect("there is not so much").to_string();
        assert!(refused.contains("1073741784 bytes of 1073741824 are free"), "{refused}");
    }
    gpu.write(&mut buffer, 8, &[1.0, 2.0]).expect("it fits");
    let mut values = [9.0; 3];
    gpu.read(&buffer, 7, &mut values).expect("it fits");
    assert_eq!(values, [0.0, 1.0, 2.0]);
    let mut copied = gpu.upload(&[7.0_f32; 11]).expect("nothing fails");
    assert_eq!(gpu.copy(&buffer, &mut copied), Ok(()));
    assert_eq!(gpu.download(&copied).map(|values| (values[9], values[10])), Ok((2.0, 7.0)));
    assert!(gpu.copy(&copied, &mut buffer).is_err_and(|e| matches!(e, Error::Range { .. })), "11 into 10");
    assert!(other.copy(&buffer, &mut copied).is_err_and(|e| matches!(e, Error::OtherGpu { .. })));
    drop(copied);
    let empty: Buffer<f32, Gpu> = gpu.allocate(0).expect("nothing is always there");
    assert_eq!(gpu.copy(&empty, &mut buffer), Ok(()));
    assert_eq!(gpu.download(&empty), Ok(vec![]));
    // SAFETY: a kernel does nothing for 0 elements.
    let launch =
        |grid| unsafe { gpu.launch(&kernels::elementwise::RELU, grid, (0_u32, &empty, &mut buffer)) };
    let mut launch = launch;
    assert_eq!(launch([1, 0, 1]), Ok(()), "no blocks, no launch");
    assert!(launch([1, 65536, 1]).is_err_and(|e| matches!(e, Error::Grid { .. })));
    assert_eq!(launch([1, 1, 1]), Ok(()));
    assert_eq!(gpu.synchronize(), Ok(()));
    // What was dropped is kept.
    assert_eq!(gpu.memory(), Ok(((1 << 30) - 84, 1 << 30)));
    assert_eq!(Gpu::open(1).err(), Some(Error::NoSuchGpu { index: 1, count: 1 }));
    drop((buffer, empty, gpu, other));
    assert!(driver.report().is_clean(), "{:?}", driver.report());
}

pub fn threads_share_a_gpu() {
    let driver = simulated();
    driver.restart("");
    let gpu = Gpu::open(0).expect("nothing fails");
    std::thread::scope(|scope| {
        for seed in 0..4 {
            let gpu = gpu.clone();
            scope.spawn(move || {
                for round in 0..10 {
                    let values = vec![(seed * 100 + round) as f32; 1000];
                    let x = gpu.upload(&values).expect("nothing fails");
                    let mut out = gpu.allocate(1000).expect("nothing fails");
                    let grid = kernels::elementwise::grid(1000);
                    // SAFETY: both have 1000 elements.
                    unsafe { gpu.launch(&kernels::elementwise::RELU, grid, (1000_u32, &x, &mut out)) }
                        .expect("nothing fails");
                    assert_eq!(gpu.download(&out), Ok(values));
                }
            });
        }
    });
    drop(gpu);
    assert!(driver.report().is_clean(), "{:?}", driver.report());
}

pub fn the_modules_are_those_for_the_gpu_that_the_driver_tells_of() {
    let driver = simulated();
    let [sm_80, sm_90a, sm_100f] =
        ["sm_80", "sm_90a", "sm_100f"].map(|target| format!(".version 8.8\n.target {target}\n"));
    let modules = [(80, sm_80.as_str()), (90, sm_90a.as_str()), (100, sm_100f.as_str())];
    // "a" has kernels of its own for that architecture alone, "f" runs on newer ones of its family, the others on all newer ones.
    for (capability, of_all, of_newer) in [
        (80, &[80][..], &[][..]),
        (89, &[80], &[]),
        (90, &[80, 90], &[]),
        (100, &[100], &[100]),
        (103, &[100], &[100]),
        (120, &[80], &[]),
    ] {
        driver.restart(&format!("capability={capability}"));
        let gpu = cuda_devices().expect("there is a GPU").remove(0);
        let chosen = |modules| match choose(modules, gpu.capability) {
            Ok(chosen) => {
                chosen.iter().map(|(header, _)| 10 * header.target.major + header.target.minor).collect()
            }
            Err(error) => {
                let text = error.to_string();
                assert!(text.contains("PTX for sm_90, sm_100, and none of that runs on"), "{text}");
                Vec::new()
            }
        };
        assert_eq!(chosen(&modules), of_all, "{capability}");
        assert_eq!(chosen(&modules[1..]), of_newer, "{capability}");
        let none = choose(&[], gpu.capability).expect_err("there is none").to_string();
        assert!(none.contains("built without the kernels' PTX"), "{none}");
        let damaged = choose(&[(80, ".version 8\n.target sm_80\n")], gpu.capability);
        assert!(
            damaged.is_err_and(|error| error.to_string().contains("architecture 80 has no readable header"))
        );
    }
}

pub fn kernels_for_one_architecture_are_refused_elsewhere() {
    let driver = simulated();
    let run = |script: &str| {
        driver.restart(script);
        let gpu = Gpu::open(0)?;
        let entry = MATMUL_WGMMA.entry();
        let has = gpu.has(entry);
        let (a, b) = (gpu.upload(&[1.0, 2.0])?, gpu.upload(&[3.0, 4.0])?);
        let mut c = gpu.allocate(1)?;
        // SAFETY: a product of one row and one column over two.
        let launched = unsafe { gpu.launch(&MATMUL_WGMMA, [1; 3], (1, 1, 2, &a, &b, &mut c)) };
        assert_eq!(launched.is_ok(), has, "{script}");
        launched.and_then(|()| gpu.download(&c))
    };
    assert_eq!(run("capability=90"), Ok(vec![11.0]));
    // PTX for sm_90a came with CUDA 12.0.
    for script in ["capability=80", "capability=89", "capability=100", "capability=90 version=11080"] {
        let refused =
            run(script).expect_err("another architecture, or a driver that does not know it").to_string();
        assert!(refused.contains("kernel matmul_wgmma is for sm_90a alone"), "{script}: {refused}");
    }
    assert!(driver.report().is_clean(), "{:?}", driver.report());
}
