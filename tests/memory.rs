//! The memory of a training on the cpu engine: X once, and a tenth of it for all else, from the library and from the
//! command, with both methods; and in blocks, in one pass and in mini-batches, a quarter of the file.
//!
//! What the library asks for is counted byte by byte. Of the command there is the peak of its resident set, on Linux, less
//! that of a training on a few numbers. `realloc` counts as the difference: the system moves the pages of what is large.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use kernel_suite::Counting;
use tilegrad::Result;
use tilegrad::data::{Dataset, Reader, Table};
use tilegrad::engine::{Cpu, Engine};
use tilegrad::models::{LinearRegression, LogisticRegression, Method};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Samples and features: so many that what does not grow with them is little beside X.
const SHAPE: (usize, usize) = (100_000, 640);
/// Threads: what each needs for products of matrices is counted too.
const THREADS: usize = 2;
/// As few samples as `gram` is taken for by itself: what it needs is the most beside X there.
const FEW: usize = 36 * (SHAPE.1 + 2);
/// Samples of a block.
const BLOCK: usize = 1024;
/// Bytes of X.
const X: isize = (SHAPE.0 * SHAPE.1 * size_of::<f32>()).cast_signed();

/// Numbers that look random.
fn numbers() -> impl Iterator<Item = u32> {
    let mut state = 1_u32;
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 16
    })
}

/// Writes `samples` × n numbers of two digits and a target.
fn write_csv(path: &Path, samples: usize, features: usize) -> std::io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for j in 0..features {
        write!(file, "x{j},")?;
    }
    file.write_all(b"y\n")?;
    let texts: Vec<String> = (0..100).map(|number| format!("{}.{},", number / 10, number % 10)).collect();
    let mut numbers = numbers();
    for sample in 0..samples {
        for number in numbers.by_ref().take(features) {
            file.write_all(texts[number as usize % texts.len()].as_bytes())?;
        }
        file.write_all(if sample % 3 == 0 { b"0.5\n" } else { b"1.5\n" })?;
    }
    file.flush()
}

fn settings(method: Method) -> LinearRegression {
    LinearRegression::new().learning_rate(1e-3).iterations(3).method(method)
}

/// Fails unless `peak` is X and not much more.
fn once(what: &str, peak: isize) {
    println!("{what}: {:.3} of X", peak as f64 / X as f64);
    assert!(peak <= X + X / 10, "{what} has {peak} bytes at a time, X is {X}");
}

/// A file of four times the memory that is allowed: in blocks it gives the model that all of it gives.
fn stream(file: &Path) -> Result<()> {
    let allowed = std::fs::metadata(file).expect("it is there").len().cast_signed() as isize / 4;
    let reader = Reader::new(file).target("y");
    let (streamed, peak) =
        Counting::peak_of(|| settings(Method::Gram).fit_blocks(&Cpu, &reader.blocks(BLOCK)?));
    println!("in blocks: {:.3} of the file", peak as f64 / (4 * allowed) as f64);
    assert!(peak <= allowed, "in blocks has {peak} bytes at a time, {allowed} are allowed");
    let whole = settings(Method::Gram).fit(&Cpu, &reader.read()?)?;
    assert_eq!(streamed?.raw(), whole.raw());
    Ok(())
}

/// The same in mini-batches, which are shuffled within the blocks.
fn stream_batches(file: &Path) -> Result<()> {
    let allowed = std::fs::metadata(file).expect("it is there").len().cast_signed() as isize / 4;
    let reader = Reader::new(file).target("y").classes(true);
    let settings = LogisticRegression::new().epochs(1).batch_size(64).shuffle_buffer(BLOCK);
    let (streamed, peak) = Counting::peak_of(|| settings.fit_stream(&Cpu, &reader.blocks(BLOCK)?));
    println!("in mini-batches: {:.3} of the file", peak as f64 / (4 * allowed) as f64);
    assert!(peak <= allowed, "in mini-batches has {peak} bytes at a time, {allowed} are allowed");
    assert_eq!(streamed?, settings.fit(&Cpu, &reader.read()?)?);
    Ok(())
}

/// Training and predicting beside the data set, and a data set from a file.
fn library(file: &Path) -> Result<()> {
    let (dataset, peak) = Counting::peak_of(|| Dataset::read_csv(file, "y", None));
    let dataset = dataset?;
    once("reading", peak);
    assert!(peak >= X);
    for method in [Method::Direct, Method::Gram] {
        let (model, more) = Counting::peak_of(|| settings(method).fit(&Cpu, &dataset));
        once(&format!("training, {method}"), X + more);
        let (predictions, more) = Counting::peak_of(|| model?.predict(&Cpu, dataset.features()));
        assert_eq!(predictions?.len(), SHAPE.0);
        once("predicting", X + more);
    }
    // The counting sees a copy, and a divergence (with its search for a rate that would do) makes none.
    let (_, more) = Counting::peak_of(|| Cpu.upload(SHAPE.0, SHAPE.1, dataset.features().values()).map(drop));
    assert!(more >= X);
    let diverging = settings(Method::Direct).learning_rate(1e6);
    let (outcome, more) = Counting::peak_of(|| diverging.fit(&Cpu, &dataset));
    assert!(outcome.is_err());
    once("diverging", X + more);

    let features = dataset.features();
    let columns = features.columns().to_vec();
    let values = features.values().to_vec();
    let (made, more) =
        Counting::peak_of(|| Dataset::new(Table::new(columns, values)?, "y", dataset.y().to_vec()));
    once("a data set of values in memory", X + more);

    let columns = features.columns().to_vec();
    let values = features.values()[..FEW * SHAPE.1].to_vec();
    let few = Dataset::new(Table::new(columns, values)?, "y", dataset.y()[..FEW].to_vec())?;
    let (model, more) = Counting::peak_of(|| settings(Method::Gram).fit(&Cpu, &few));
    model?;
    let x = (FEW * SHAPE.1 * size_of::<f32>()).cast_signed();
    println!("training on few samples, gram: {:.3} of X", 1.0 + more as f64 / x as f64);
    assert!(more <= x / 10, "{more} bytes beside an X of {x}");
    assert_eq!(Arc::strong_count(made?.features().shared_values()), 1);
    Ok(())
}

/// The most bytes that a training by the command has had so far.
#[cfg(target_os = "linux")]
fn command(file: &Path, method: Method) -> isize {
    let program = std::env::var_os("TILEGRAD_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_tilegrad").into());
    let mut command = Command::new(program);
    command.args(["train", "linear", "--target", "y", "--device", "cpu", "--learning-rate", "1e-3"]);
    command.args(["--iterations", "3", "--method", &method.to_string(), "--data"]).arg(file);
    command.env("RAYON_NUM_THREADS", THREADS.to_string());
    let output = command.output().expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // SAFETY: all zeros are a value of this type.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the place is one for such a value.
    let done = unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage) };
    assert_eq!(done, 0);
    usage.ru_maxrss as isize * 1024
}

fn main() {
    let folder = tempfile::tempdir().expect("there is room");
    let [small, large] = ["small.csv", "large.csv"].map(|name| folder.path().join(name));
    write_csv(&small, 50, 4).expect("there is room");
    write_csv(&large, SHAPE.0, SHAPE.1).expect("there is room");
    // First, as a process that is started has the peak of the one that starts it.
    #[cfg(target_os = "linux")]
    {
        let least = command(&small, Method::Direct);
        for method in [Method::Direct, Method::Gram] {
            once(&format!("the command, {method}"), command(&large, method) - least);
        }
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(THREADS).build().expect("there are threads");
    pool.install(|| {
        library(&large)?;
        stream(&large)?;
        stream_batches(&large)
    })
    .expect("the data are good");
}
