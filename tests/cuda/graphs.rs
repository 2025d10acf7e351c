//! Work that is repeated, and the GPU's clock: the simulated driver's graphs and events, and the library on them.

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, c_uint};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use cuda_std::{Buffer, Device, Emulator};
use kernels::elementwise::{UPDATE, grid};
use tilegrad::cuda::{Error, Gpu};

use crate::driver::{Simulated, by_hand, call, simulated};

/// A stream that is being captured, in this mode.
fn capturing(driver: &Simulated, mode: c_uint) -> usize {
    let mut stream = 0_usize;
    assert_eq!(call!(driver.cuStreamCreate(&raw mut stream => *mut usize, 1 => c_uint)), 0);
    assert_eq!(call!(driver.cuStreamBeginCapture_v2(stream => usize, mode => c_uint)), 0);
    stream
}

pub fn captures_are_checked_as_the_driver_does() {
    let driver = by_hand();
    let end = |stream: usize| {
        let mut graph = 1_usize;
        let code = call!(driver.cuStreamEndCapture(stream => usize, &raw mut graph => *mut usize));
        (code, graph)
    };
    let free = |address: u64| call!(driver.cuMemFree_v2(address => u64));
    let mut address = 0_u64;
    let mut allocate = || call!(driver.cuMemAlloc_v2(&raw mut address => *mut u64, 8 => usize));
    assert_eq!(allocate(), 0);
    let stream = capturing(&driver, 1);
    assert_eq!(call!(driver.cuStreamBeginCapture_v2(stream => usize, 1 => c_uint)), 401);
    let (code, graph) = end(stream);
    assert!(code == 0 && graph > 1);
    assert_eq!(end(stream), (401, 0), "it is ended");
    assert_eq!(call!(driver.cuStreamBeginCapture_v2(stream => usize, 3 => c_uint)), 1, "no such mode");
    // What is unsafe spoils the capture of its thread, but where that is relaxed.
    for spoil in [&mut || free(0), &mut || call!(driver.cuStreamSynchronize(stream => usize))]
        as [&mut dyn FnMut() -> u32; _]
    {
        assert_eq!(call!(driver.cuStreamBeginCapture_v2(stream => usize, 1 => c_uint)), 0);
        assert_eq!((spoil(), end(stream)), (900, (901, 0)));
    }
    let relaxed = capturing(&driver, 2);
    assert_eq!((allocate(), end(relaxed).0), (0, 0));
    let foreign = capturing(&driver, 1);
    std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            assert_eq!(call!(driver.cuCtxSetCurrent(1 => usize)), 0);
            let mut address = 0_u64;
            let allocated = call!(driver.cuMemAlloc_v2(&raw mut address => *mut u64, 8 => usize));
            (allocated, end(foreign))
        });
        assert_eq!(other.join().expect("it does not panic"), (0, (908, 0)));
    });
    let mut exec = 0_usize;
    let mut instantiate = |graph: usize, flags: u64| call!(driver.cuGraphInstantiateWithFlags(&raw mut exec => *mut usize, graph => usize, flags => u64));
    assert_eq!((instantiate(stream, 0), instantiate(graph, 1), instantiate(graph, 0)), (400, 1, 0));
    let launch = |exec: usize, stream: usize| call!(driver.cuGraphLaunch(exec => usize, stream => usize));
    assert_eq!((launch(graph, stream), launch(exec, graph), launch(exec, stream)), (400, 400, 0));
    assert_eq!(call!(driver.cuGraphDestroy(exec => usize)), 400);
    assert_eq!(call!(driver.cuGraphDestroy(graph => usize)), 0);
    assert_eq!(launch(exec, stream), 0, "it does not need what it was made of");
    assert_eq!(call!(driver.cuGraphExecDestroy(exec => usize)), 0);
    assert_eq!(launch(exec, stream), 400);
}

pub fn events_are_checked_as_the_driver_does() {
    let driver = by_hand();
    let (mut stream, mut start, mut end) = (0_usize, 0_usize, 0_usize);
    assert_eq!(call!(driver.cuStreamCreate(&raw mut stream => *mut usize, 1 => c_uint)), 0);
    for event in [&mut start, &mut end] {
        assert_eq!(call!(driver.cuEventCreate(&raw mut *event => *mut usize, 0 => c_uint)), 0);
    }
    let mut milliseconds = -1.0_f32;
    let mut elapsed = |start: usize, end: usize| call!(driver.cuEventElapsedTime(&raw mut milliseconds => *mut f32, start => usize, end => usize));
    let record = |event: usize, stream: usize| call!(driver.cuEventRecord(event => usize, stream => usize));
    assert_eq!((elapsed(start, end), record(start, start), record(stream, stream)), (400, 400, 400));
    assert_eq!((record(start, stream), record(end, stream), elapsed(start, end)), (0, 0, 600));
    assert_eq!((call!(driver.cuEventSynchronize(end => usize)), elapsed(start, end)), (0, 0));
    assert!(milliseconds >= 0.0);
    let destroy = |event: usize| call!(driver.cuEventDestroy_v2(event => usize));
    assert_eq!((destroy(start), destroy(start), destroy(stream)), (0, 400, 400));
}

/// Values that an update works on.
const N: usize = 300;
const RATE: f32 = 0.1;

/// w := w − α∇w, `times` times.
fn updates<D: Device>(device: &D, times: usize) -> Result<Vec<f32>, D::Error> {
    let mut weights = device.upload(&[1.0_f32; N])?;
    let gradient = device.upload(&[0.3_f32; N])?;
    device.repeat(times, |device| update(device, &gradient, &mut weights))?;
    device.download(&weights)
}

fn update<D: Device>(
    device: &D,
    gradient: &Buffer<f32, D>,
    weights: &mut Buffer<f32, D>,
) -> Result<(), D::Error> {
    // SAFETY: both have N elements.
    unsafe { device.launch(&UPDATE, grid(N), (N as u32, RATE, gradient, weights)) }
}

fn opened(driver: &Simulated, script: &str) -> Gpu {
    driver.restart(script);
    Gpu::open(0).expect("nothing fails")
}

/// How often a function of the driver was called.
fn calls(driver: &Simulated, name: &str) -> u64 {
    driver.report().0["calls"][name].as_u64().unwrap_or(0)
}

pub fn repeated_work_is_a_loop_in_fewer_launches() {
    let driver = simulated();
    for times in [0, 1, 2, 64, 65, 128, 129, 130, 400] {
        let gpu = opened(&driver, "");
        let expected = updates(&Emulator::default(), times).expect("nothing fails");
        assert_eq!(updates(&gpu, times).expect("nothing fails"), expected, "{times}");
        drop(gpu);
        let report = driver.report();
        assert!(report.is_clean() && report.number("kernels") == times, "{times}: {report:?}");
        let (launches, graphs) = (calls(&driver, "cuLaunchKernel"), calls(&driver, "cuGraphLaunch"));
        let most = if times < 129 { times as u64 } else { 1 + 64 + 63 };
        assert!(launches <= most && (graphs > 0) == (times >= 129), "{times}: {launches}, {graphs}");
    }
}

pub fn an_old_driver_repeats_without_graphs() {
    let driver = simulated();
    let gpu = opened(&driver, "version=11030");
    assert_eq!(updates(&gpu, 200), updates(&Emulator::default(), 200).map_err(|_| unreachable!()));
    drop(gpu);
    assert!(driver.report().is_clean());
    assert_eq!((calls(&driver, "cuLaunchKernel"), calls(&driver, "cuStreamBeginCapture")), (200, 0));
}

/// What work that is repeated must not do, by what the refusal says.
type Forbidden = (&'static str, fn(&Gpu, &mut Buffer<f32, Gpu>) -> Result<(), Error>);

const FORBIDDEN: [Forbidden; 11] = [
    ("allocating memory", |gpu, _| gpu.allocate::<f32>(1).map(drop)),
    ("copying to the GPU", |gpu, buffer| gpu.write(buffer, 0, &[1.0])),
    ("copying from the GPU", |gpu, buffer| gpu.read(buffer, 0, &mut [0.0])),
    ("copying on the GPU", |gpu, buffer| {
        OWN.with_borrow_mut(|own| gpu.copy(own.as_ref().expect("the test puts it there"), buffer))
    }),
    ("waiting for the GPU", |gpu, _| gpu.synchronize()),
    ("repeating within it", |gpu, _| gpu.repeat(3, |_| Ok(()))),
    ("recording a graph", |gpu, _| gpu.record(1, |_| Ok(())).map(drop)),
    ("taking the time", |gpu, _| gpu.time(|_| Ok(())).map(drop)),
    ("asking for free memory", |gpu, _| gpu.memory().map(drop)),
    ("opening a GPU", |_, _| Gpu::open(0).map(drop)),
    ("a launch on another Gpu", |_, _| {
        OTHER.with_borrow_mut(|other| {
            let (gpu, gradient, weights) = other.as_mut().expect("the test puts it there");
            update(gpu, gradient, weights)
        })
    }),
];

/// A GPU with operands of an update.
type Other = (Gpu, Buffer<f32, Gpu>, Buffer<f32, Gpu>);

thread_local! {
    static OTHER: RefCell<Option<Other>> = const { RefCell::new(None) };
    static OWN: RefCell<Option<Buffer<f32, Gpu>>> = const { RefCell::new(None) };
}

pub fn what_is_no_launch_is_refused_in_repeated_work() {
    let driver = simulated();
    for (said, forbidden) in FORBIDDEN {
        // When it runs as it is, and while it is captured.
        for bad_call in [1, 2, 40] {
            let gpu = opened(&driver, "");
            let other = Gpu::open(0).expect("nothing fails");
            let [gradient, weights] = [0.0; 2].map(|x| other.upload(&[x; N]).expect("nothing fails"));
            OTHER.set(Some((other, gradient, weights)));
            OWN.set(Some(gpu.upload(&[2.0; N]).expect("nothing fails")));
            let gradient = gpu.upload(&[0.3_f32; N]).expect("nothing fails");
            let mut weights = gpu.upload(&[1.0_f32; N]).expect("nothing fails");
            let count = Cell::new(0);
            let repeated = gpu.repeat(1000, |gpu| {
                count.set(count.get() + 1);
                update(gpu, &gradient, &mut weights)?;
                if count.get() == bad_call { forbidden(gpu, &mut weights) } else { Ok(()) }
            });
            let error = repeated.expect_err(said);
            assert!(matches!(error, Error::Repeated { operation } if operation == said), "{said}: {error}");
            assert!(error.to_string().contains("do it before or after"), "{error}");
            assert_eq!(count.get(), bad_call, "{said}");
            assert_eq!(calls(&driver, "cuGraphLaunch"), 0);
            OTHER.set(None);
            OWN.set(None);
            assert_eq!(updates(&gpu, 200).expect(said), updates(&Emulator::default(), 200).expect(said));
            drop((gradient, weights, gpu));
            assert!(driver.report().is_clean(), "{said}: {:?}", driver.report());
        }
    }
}

pub fn uneven_work_is_refused() {
    let driver = simulated();
    let gpu = opened(&driver, "");
    let gradient = gpu.upload(&[0.3_f32; N]).expect("nothing fails");
    let mut weights = gpu.upload(&[1.0_f32; N]).expect("nothing fails");
    let mut first = true;
    let error = gpu
        .repeat(1000, |gpu| {
            if !std::mem::take(&mut first) {
                update(gpu, &gradient, &mut weights)?;
            }
            update(gpu, &gradient, &mut weights)
        })
        .expect_err("two launches, after one");
    assert_eq!(error, Error::Uneven { first: 1, later: 128, times: 64 });
    assert!(error.to_string().ends_with("must queue the same each time"), "{error}");
    assert_eq!(gpu.synchronize(), Ok(()));
    drop((gradient, weights, gpu));
    assert!(driver.report().is_clean() && driver.report().number("kernels") == 1);
}

pub fn work_that_fails_or_panics_leaves_the_gpu_usable() {
    let driver = simulated();
    for bad_call in [1, 2, 64] {
        let gpu = opened(&driver, "");
        let gradient = gpu.upload(&[0.3_f32; N]).expect("nothing fails");
        let mut weights = gpu.upload(&[1.0_f32; N]).expect("nothing fails");
        for panics in [false, true] {
            let mut count = 0;
            let repeated = catch_unwind(AssertUnwindSafe(|| {
                gpu.repeat(1000, |gpu| {
                    count += 1;
                    update(gpu, &gradient, &mut weights)?;
                    match count < bad_call {
                        true => Ok(()),
                        false if panics => resume_unwind(Box::new(())),
                        false => Err(Error::NoGpu),
                    }
                })
            }));
            assert!(if panics { repeated.is_err() } else { matches!(repeated, Ok(Err(Error::NoGpu))) });
            assert_eq!(updates(&gpu, 200), updates(&Emulator::default(), 200).map_err(|_| unreachable!()));
        }
        drop((gradient, weights, gpu));
        assert!(driver.report().is_clean(), "{:?}", driver.report());
    }
}

pub fn dropped_memory_lives_until_the_repetitions_are_done() {
    let driver = simulated();
    let gpu = opened(&driver, "");
    let gradient = gpu.upload(&[0.3_f32; N]).expect("nothing fails");
    let mut weights: Vec<_> = (0..66).map(|_| gpu.upload(&[1.0_f32; N]).expect("nothing fails")).collect();
    // The kernel is loaded when it is launched for the first time, which cannot be recorded.
    assert_eq!(update(&gpu, &gradient, &mut weights.pop().expect("the first")), Ok(()));
    // Each call drops what it has launched on.
    let graph = gpu.record(65, |gpu| update(gpu, &gradient, &mut weights.pop().expect("one a call")));
    let graph = graph.expect("nothing fails");
    // SAFETY: the buffers were dropped while it was recorded, but for the gradient.
    unsafe { graph.launch(2) }.expect("nothing fails");
    assert_eq!(gpu.synchronize(), Ok(()));
    assert_eq!((graph.launches(), driver.report().number("kernels")), (65, 131));
    // All weights and the gradient, and page-locked memory for uploads.
    assert_eq!(driver.report().0["kept"]["allocations"], 67 + 2);
    drop((graph, gradient, gpu));
    assert!(driver.report().is_clean(), "{:?}", driver.report());
}

pub fn other_threads_work_while_one_repeats() {
    let driver = simulated();
    let gpu = opened(&driver, "");
    let expected = updates(&Emulator::default(), 300).expect("nothing fails");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..5 {
                    assert_eq!(updates(&gpu, 300).expect("nothing fails"), expected);
                }
            });
        }
    });
    drop(gpu);
    assert!(driver.report().is_clean(), "{:?}", driver.report());
}

/// Repetitions in graphs, timed.
fn timed_updates() -> Result<Vec<f32>, Error> {
    let gpu = Gpu::open(0)?;
    let mut result = Ok(Vec::new());
    gpu.time(|gpu| {
        result = updates(gpu, 129);
        Ok::<(), Error>(())
    })?;
    result
}

pub fn every_call_may_fail_while_work_is_repeated() {
    let driver = simulated();
    driver.restart("");
    let numbers = timed_updates().expect("nothing fails");
    let order: Vec<String> = driver.report().order().into_iter().map(str::to_owned).collect();
    for call in
        ["cuStreamEndCapture", "cuGraphInstantiateWithFlags", "cuGraphExecDestroy", "cuEventElapsedTime"]
    {
        assert!(order.iter().any(|other| other == call), "{call} is not in {order:?}");
    }
    for number in 1..=order.len() {
        let call = order[number - 1].as_str();
        for (script, stays) in [
            (format!("fail=any:{number}=2"), false),
            (format!("fail=any:{number}=719"), true),
            (format!("lost={number}"), true),
        ] {
            driver.restart(&script);
            let first = timed_updates();
            let report = driver.report();
            assert!(report.is_clean() && report.struck() == Some(number), "{script}, {call}: {report:?}");
            match first {
                Ok(first) => assert_eq!(first, numbers, "{script}, {call}"),
                Err(error) if script.ends_with("=2") && !call.starts_with("cuCtx") => {
                    assert!(error.to_string().contains(&format!("{call} failed (")), "{script}: {error}");
                }
                Err(_) => {}
            }
            let again = timed_updates();
            if stays {
                assert!(again.is_err(), "{script}, {call}");
            } else {
                assert_eq!(again.as_ref(), Ok(&numbers), "{script}, {call}");
            }
            assert!(driver.report().is_clean(), "{script}, {call}: {:?}", driver.report());
        }
    }
}

pub fn a_fault_in_a_graph_names_its_kernel() {
    let driver = simulated();
    let gpu = opened(&driver, "kernel=100=700");
    let error = updates(&gpu, 200).expect_err("the hundredth kernel fails").to_string();
    assert!(
        error.contains("(700)") && error.contains("the last was kernels::elementwise::update"),
        "{error}"
    );
    drop(gpu);
    assert!(driver.report().is_clean(), "{:?}", driver.report());
}

pub fn work_is_timed() {
    let driver = simulated();
    let gpu = opened(&driver, "");
    let gradient = gpu.upload(&[0.3_f32; N]).expect("nothing fails");
    let mut weights = gpu.upload(&[1.0_f32; N]).expect("nothing fails");
    let mut time = |times: usize| {
        gpu.time(|gpu| gpu.repeat(times, |gpu| update(gpu, &gradient, &mut weights))).expect("nothing fails")
    };
    let (one, many) = (time(1), time(500));
    assert!(one > 0.0 && many > one && many < 60.0, "{one} s, {many} s");
    let failed = gpu.time(|_| Err::<(), _>(Error::NoGpu));
    assert_eq!(failed, Err(Error::NoGpu));
    drop((gradient, weights, gpu));
    assert!(driver.report().is_clean(), "{:?}", driver.report());
}
