//! Uploads that nobody waits for, and memory that is used again: the library's GPU on the simulated driver, in whose
//! streams nothing runs before somebody waits for it.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use cuda_std::{Buffer, Device};
use kernels::elementwise::{MULTIPLY, grid};
use tilegrad::cuda::{Error, Gpu};
use tilegrad::data::Reader;
use tilegrad::engine::Cuda;
use tilegrad::models::{LinearRegression, Scale};

use crate::driver::{Simulated, simulated};

/// Values of a large upload: 1 MiB, of which eight fill a half.
const LARGE: usize = 1 << 18;
/// Values of a small one.
const SMALL: usize = 1 << 14;

fn opened(driver: &Simulated, script: &str) -> Gpu {
    driver.restart(script);
    Gpu::open(0).expect("nothing fails")
}

fn calls(driver: &Simulated, name: &str) -> u64 {
    driver.report().0["calls"][name].as_u64().unwrap_or(0)
}

/// `length` numbers that tell uploads apart.
fn numbers(which: usize, length: usize) -> Vec<f32> {
    (0..length).map(|i| (i % 1021) as f32 + 0.5 * which as f32).collect()
}

/// x ⊙ x
fn square(gpu: &Gpu, x: &Buffer<f32, Gpu>) -> Result<Buffer<f32, Gpu>, Error> {
    let mut out = gpu.allocate(x.len())?;
    // SAFETY: both have that many elements.
    unsafe { gpu.launch(&MULTIPLY, grid(x.len()), (x.len() as u32, x, x, &mut out)) }?;
    Ok(out)
}

fn squared(values: &[f32]) -> Vec<f32> {
    values.iter().map(|value| value * value).collect()
}

pub fn uploads_wait_for_nothing() {
    let driver = simulated();
    let gpu = opened(&driver, "");
    // The first launch loads the kernel, and the first uploads make room.
    for length in [SMALL, LARGE] {
        let x = gpu.upload(&numbers(0, length)).expect("nothing fails");
        square(&gpu, &x).expect("nothing fails");
    }
    assert_eq!(gpu.synchronize(), Ok(()));
    let before = driver.report();
    let sent: Vec<_> = (1..5)
        .map(|which| {
            let values = numbers(which, [SMALL, LARGE][which % 2]);
            let x = gpu.upload(&values).expect("nothing fails");
            (squared(&values), square(&gpu, &x).expect("nothing fails"))
        })
        .collect();
    let after = driver.report();
    assert_eq!(after.number("kernels"), before.number("kernels"), "somebody waited");
    for name in ["cuStreamSynchronize", "cuEventSynchronize"] {
        assert_eq!(after.0["calls"][name], before.0["calls"][name], "somebody waited");
    }
    for (expected, out) in sent {
        assert_eq!(gpu.download(&out), Ok(expected));
    }
    drop(gpu);
    assert!(driver.report().is_clean(), "{:?}", driver.report());
}

pub fn page_locked_memory_is_used_again_when_it_was_read() {
    for length in [SMALL, LARGE, 7 * LARGE] {
        let driver = simulated();
        let gpu = opened(&driver, "");
        let all: Vec<_> = (0..40).map(|which| numbers(which, length + which)).collect();
        let there: Vec<_> = all.iter().map(|values| gpu.upload(values).expect("nothing fails")).collect();
        assert!(length == SMALL || calls(&driver, "cuEventSynchronize") > 0, "all fitted");
        assert_eq!(calls(&driver, "cuMemHostAlloc"), 2, "two halves");
        for (values, buffer) in all.iter().zip(&there) {
            assert!(gpu.download(buffer).as_ref() == Ok(values), "{length}");
        }
    }
}

pub fn memory_is_used_again_after_those_who_had_it() {
    let driver = simulated();
    let gpu = opened(&driver, "");
    let values = numbers(1, LARGE);
    let x = gpu.upload(&values).expect("nothing fails");
    let out = square(&gpu, &x).expect("nothing fails");
    let allocated = calls(&driver, "cuMemAlloc");
    drop(x);
    let next = numbers(2, LARGE);
    let y = gpu.upload(&next).expect("nothing fails");
    assert_eq!(calls(&driver, "cuMemAlloc"), allocated, "it is the same memory");
    // These wait for a half, and so have the copies run that were queued first, beside the kernel.
    let more: Vec<_> =
        (3..20).map(|which| gpu.upload(&numbers(which, LARGE + 1)).expect("there is room")).collect();
    assert!(gpu.download(&out) == Ok(squared(&values)), "the copy came before the kernel");
    assert!(gpu.download(&y) == Ok(next));
    // The same in the kernels' own stream: each square goes where the last but one was.
    let mut expected: Vec<f32> = numbers(3, SMALL).iter().map(|value| value / 2048.0).collect();
    let mut last = gpu.upload(&expected).expect("nothing fails");
    for _ in 0..5 {
        last = square(&gpu, &last).expect("nothing fails");
        expected = squared(&expected);
    }
    assert!(gpu.download(&last) == Ok(expected));
    drop((more, out, y, last, gpu));
    assert!(driver.report().is_clean(), "{:?}", driver.report());
}

/// What comes of `work` where each call of `call` is left out, once each.
fn without_each<T: PartialEq + std::fmt::Debug>(
    driver: &Simulated,
    call: &str,
    work: impl Fn(&Gpu) -> Result<T, Error>,
) -> Vec<bool> {
    let right = work(&opened(driver, ""));
    assert!(right.is_ok(), "{right:?}");
    let count = calls(driver, call);
    (1..=count).map(|number| work(&opened(driver, &format!("fail={call}:{number}=0"))) != right).collect()
}

/// The simulated driver would show each wait that the library had forgotten.
pub fn a_wait_that_is_left_out_shows() {
    let driver = simulated();
    // Of the kernel, for the copy of what it reads: into new memory, and over what was there.
    let copied = |gpu: &Gpu| {
        let sent = [1, 2].map(|which| {
            let x = gpu.upload(&numbers(which, LARGE))?;
            gpu.download(&square(gpu, &x)?)
        });
        sent.into_iter().collect::<Result<Vec<_>, _>>()
    };
    let shows = without_each(&driver, "cuStreamWaitEvent", copied);
    assert!(shows[0] && shows[shows.len() - 1], "{shows:?}");
    // Of the copy, for the kernel that read its memory before.
    let used_again = |gpu: &Gpu| {
        let x = gpu.upload(&numbers(1, LARGE))?;
        let out = square(gpu, &x)?;
        drop(x);
        let y = gpu.upload(&numbers(2, LARGE))?;
        // These wait for a half, and so have the copies run that were queued first.
        let more: Vec<_> =
            (3..20).map(|which| gpu.upload(&numbers(which, LARGE + 1))).collect::<Result<_, _>>()?;
        let read = (gpu.download(&out)?, gpu.download(&y)?);
        drop(more);
        Ok(read)
    };
    let shows = without_each(&driver, "cuStreamWaitEvent", used_again);
    assert!(shows[1], "the first is the kernel's, for x; the second that of y's copy: {shows:?}");
}

pub fn memory_that_is_kept_is_given_back_where_it_is_wanted() {
    let driver = simulated();
    // An eighth may be kept.
    let gpu = opened(&driver, "memory=16000000");
    let x = gpu.upload(&numbers(1, 400_000)).expect("there is room");
    drop(x);
    assert_eq!(calls(&driver, "cuMemFree"), 0, "it is kept");
    let all = gpu.allocate::<f32>(3_900_000);
    assert!(all.is_ok() && calls(&driver, "cuMemFree") == 1, "{:?}", all.err());
    drop(all);
    assert_eq!(calls(&driver, "cuMemFree"), 2, "it is too much to keep");
    match gpu.allocate::<f32>(4_100_000).err() {
        Some(Error::Call { about, .. }) if about.contains("16000000 bytes of 16000000 are free") => {}
        other => panic!("{other:?}"),
    }
    drop(gpu);
    assert!(driver.report().is_clean(), "{:?}", driver.report());
}

/// Features of the samples that are streamed, and samples of a block: 1 MiB, a large upload.
const BLOCK: (usize, usize) = (64, 4096);

/// Writes a file of so many blocks.
fn write_blocks(folder: &Path, blocks: usize) -> PathBuf {
    let path = folder.join(format!("{blocks}.csv"));
    let names: Vec<String> = (0..BLOCK.0).map(|j| format!("x{j}")).collect();
    let mut text = names.join(",") + ",y\n";
    for i in 0..blocks * BLOCK.1 {
        for j in 0..BLOCK.0 {
            let _ = write!(text, "{},", (i * (j + 3) + i / 7) % 10);
        }
        let _ = writeln!(text, "{}", i % 13);
    }
    fs::write(&path, text).expect("there is room");
    path
}

/// Steps on a block are queued and the next one is uploaded meanwhile: however many blocks there are, an epoch waits for the
/// GPU as often. And the model is that of training in memory.
pub fn an_epoch_of_a_streamed_file_waits_for_no_block() {
    let (driver, folder) = (simulated(), tempfile::tempdir().expect("a folder for temporary files"));
    let settings = |epochs| {
        let settings = LinearRegression::new().learning_rate(1e-4).scale(Scale::None);
        settings.batch_size(2048).epochs(epochs)
    };
    let waits = |blocks, epochs| {
        let reader = Reader::new(write_blocks(folder.path(), blocks)).target("y");
        driver.restart("");
        let engine = Cuda::open(0).expect("nothing fails");
        let blocks = reader.blocks(BLOCK.1).expect("the file is there");
        let streamed = settings(epochs).fit_stream(&engine, &blocks).expect("nothing fails");
        let waits: u64 = ["cuStreamSynchronize", "cuEventSynchronize", "cuCtxSynchronize"]
            .map(|name| calls(&driver, name))
            .iter()
            .sum();
        (waits, reader, engine, streamed)
    };
    let (of_two, reader, engine, streamed) = waits(2, 1);
    let dataset = reader.read().expect("the file is there");
    let whole = settings(1).shuffle_buffer(BLOCK.1).fit(&engine, &dataset).expect("nothing fails");
    assert_eq!((streamed.weights(), streamed.history()), (whole.weights(), whole.history()));
    drop(engine);
    let [again, one, one_again] = [(2, 2), (1, 1), (1, 2)].map(|(blocks, epochs)| waits(blocks, epochs).0);
    assert_eq!(again - of_two, one_again - one);
}

/// Uploads of all kinds, with what comes of them.
fn work(gpu: &Gpu) -> Result<Vec<f32>, Error> {
    let mut sums = Vec::new();
    for which in 0..4 {
        let small = square(gpu, &gpu.upload(&numbers(which, SMALL))?)?;
        let large = gpu.upload(&numbers(which, LARGE))?;
        sums.extend([gpu.download(&small)?.iter().sum::<f32>(), gpu.download(&large)?.iter().sum()]);
    }
    Ok(sums)
}

pub fn every_call_of_an_upload_may_fail() {
    let driver = simulated();
    let expected = work(&opened(&driver, "")).expect("nothing fails");
    let all = driver.report().order().len();
    for number in 1..=all {
        driver.restart(&format!("fail=any:{number}"));
        let done = Gpu::open(0).and_then(|gpu| work(&gpu));
        assert!(done.as_ref().is_ok_and(|sums| *sums == expected) || done.is_err(), "call {number}");
        let report = driver.report();
        assert!(report.struck() == Some(number) && report.is_clean(), "call {number}: {report:?}");
    }
}

pub fn an_upload_that_failed_leaves_the_gpu_usable() {
    let driver = simulated();
    for script in ["fail=cuMemcpyHtoDAsync:2=2", "fail=cuEventRecord:2=2", "fail=cuStreamWaitEvent:1=2"] {
        let gpu = opened(&driver, script);
        assert!(work(&gpu).is_err(), "{script}");
        let again = work(&gpu).expect(script);
        assert_eq!(again, work(&opened(&driver, "")).expect("nothing fails"), "{script}");
    }
}
