//! Checkpoints: training that is killed, at any moment, goes on to the same bits.
//!
//! `TILEGRAD_BIN` and `TILEGRAD_ROOT` as in tests/command.rs. Without a GPU the tests on cuda are reported as ignored.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Trial};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde_json::Value;
use tempfile::TempDir;
use tilegrad::data::{Dataset, Output};
use tilegrad::engine::{Cpu, Cuda, Emulator, Engine, Loop};
use tilegrad::models::{Checkpoint, Checkpoints, LinearRegression, Method, Scale};

fn main() {
    let arguments = Arguments::from_args();
    let no_gpu = tilegrad::cuda::Gpu::open(0).is_err();
    macro_rules! trials {
        ($($name:ident)*) => {
            vec![$(Trial::test(stringify!($name), || {
                $name();
                Ok(())
            })),*]
        };
    }
    let mut trials = trials! {
        resume_without_a_file_begins_and_says_so
        another_number_of_iterations_goes_on_or_is_refused
        a_file_that_is_there_is_not_overwritten
        wrong_usage_is_refused
        another_training_is_refused
        files_that_are_no_checkpoint_are_refused
        a_checkpoint_is_no_model
        other_files_are_not_overwritten
        a_full_disk_leaves_the_checkpoint_before
        divergence_is_the_same_after_resuming
        a_checkpoint_comes_by_itself_and_one_process_has_the_file
    };
    // 200 in all where there is no GPU. One in ten comes within a write: of few kills that may be none.
    for (device, kills, cut_writes) in
        [("cpu", 140, 5), ("loop", 40, 0), ("emulator", 20, 0), ("cuda", 20, 0)]
    {
        let ignored = device == "cuda" && no_gpu;
        let killed = move || {
            killed_training_loses_nothing(device, kills, cut_writes);
            Ok(())
        };
        trials.push(
            Trial::test(format!("killed_training_loses_nothing/{device}"), killed).with_ignored_flag(ignored),
        );
        let resumed = move || {
            match device {
                "cpu" => resumes_from_every_iteration(&Cpu),
                "loop" => resumes_from_every_iteration(&Loop),
                "emulator" => resumes_from_every_iteration(&Emulator::new()),
                _ => resumes_from_every_iteration(&Cuda::open(0)?),
            }
            Ok(())
        };
        trials.push(
            Trial::test(format!("resumes_from_every_iteration/{device}"), resumed).with_ignored_flag(ignored),
        );
    }
    libtest_mimic::run(&arguments, trials).exit();
}

/// Data that can be learnt from.
const SMALL: &str = "a,b,y\n1,2,3\n2,1,5\n3,5,4\n4,4,9\n";
/// Training on them with checkpoints; the device and the rest are to be added.
const TRAIN: &str = "train linear --data small.csv --target y --checkpoint c";

/// A file of tests/data.
fn data(name: &str) -> String {
    let root =
        std::env::var_os("TILEGRAD_ROOT").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    fs::read_to_string(root.join("tests/data").join(name)).expect("the file is there")
}

/// A folder in which the command runs, with small.csv in it.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        // In memory where that can be: what a killed process has written is there also without the disk, for which the
        // tests would wait most of the time.
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let place = Place(folder.expect("a folder for temporary files"));
        place.write("small.csv", SMALL);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, contents: impl AsRef<[u8]>) {
        fs::write(self.path(name), contents).expect("the folder can be written to");
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn remove(&self, names: &[&str]) {
        names.iter().for_each(|name| fs::remove_file(self.path(name)).expect("it is there"));
    }

    /// The names of its files.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).expect("the folder is there");
        let mut names: Vec<String> = entries
            .map(|entry| entry.expect("it can be listed").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// The iteration of the checkpoint.
    fn iteration(&self) -> usize {
        Checkpoint::load(self.path("c")).unwrap_or_else(|error| panic!("{error}")).iteration()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.args(arguments).current_dir(self.0.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn spawn(&self, arguments: &[&str]) -> Child {
        self.command(arguments).spawn().expect("the program starts")
    }

    fn run(&self, line: &str) -> Run {
        Run::of(self.spawn(&line.split(' ').collect::<Vec<_>>()))
    }

    /// Runs the command, which must succeed; gives what it says on standard error.
    fn succeeds(&self, line: &str) -> String {
        let run = self.run(line);
        assert_eq!(run.code, Some(0), "{line}: {run:?}");
        run.stderr
    }

    /// Runs the command, which must end with `code` and this error, and change no file.
    fn refuses(&self, code: i32, error: &str, line: &str) {
        let before: Vec<_> =
            self.names().into_iter().map(|name| (fs::read(self.path(&name)).ok(), name)).collect();
        let run = self.run(line);
        assert_eq!((run.code, run.stdout.as_str()), (Some(code), ""), "{line}: {run:?}");
        let errors: Vec<&str> = run.stderr.lines().filter_map(|line| line.strip_prefix("error: ")).collect();
        assert_eq!(errors, [error], "{line}: {run:?}");
        let after: Vec<_> =
            self.names().into_iter().map(|name| (fs::read(self.path(&name)).ok(), name)).collect();
        assert!(before == after, "{line}: files have changed: {:?}", self.names());
    }
}

/// The program under test.
fn program() -> PathBuf {
    std::env::var_os("TILEGRAD_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_tilegrad").into()).into()
}

/// How a run of the command went.
#[derive(Debug)]
struct Run {
    /// None if a signal ended it.
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Run {
    /// Waits for the end.
    fn of(child: Child) -> Self {
        let output = child.wait_with_output().expect("it ends");
        let run = Run {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("output is UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("messages are UTF-8"),
        };
        assert!(!run.stderr.contains("panicked"), "{run:?}");
        run
    }

    /// What `--json` printed, but for the time.
    fn json(&self) -> Value {
        let mut json: Value =
            serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"));
        json["seconds"].take();
        json
    }
}

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Trains with a checkpoint at each step, and kills the process at `kills` random moments; goes on each time, and begins
/// anew when training has come to its end. At least `cut_writes` of the kills are to come while a file is written.
///
/// After each kill there is a whole checkpoint of the same training, no older than the one before; at each end the
/// model, the costs and the output are those of training that never stopped.
fn killed_training_loses_nothing(device: &str, kills: usize, cut_writes: usize) {
    /// How long the steps of a training take, about, all its checkpoints written.
    const STEPS_TIME: Duration = Duration::from_millis(300);
    /// Steps by which that is found out, and the fewest of a training.
    const FEWEST: usize = 30;
    /// The most.
    const MOST: usize = 3000;
    /// Kills as soon as the process is there.
    const AT_ONCE: usize = 5;

    let place = Place::new();
    place.write("data.csv", data("diabetes.csv"));
    // Printed to a file: a pipe that nobody reads would stop the process when it is full.
    let run = |iterations: usize, more: &str| {
        let out = fs::File::create(place.path("out")).expect("the folder can be written to");
        let line = format!(
            "train linear --data data.csv --target progression --device {device} --iterations {iterations} {more}"
        );
        let mut command = place.command(&line.split(' ').collect::<Vec<_>>());
        command.stdout(out).spawn().expect("the program starts")
    };
    let end = |child: Child| {
        let run = Run::of(child);
        Run { stdout: String::from_utf8_lossy(&place.read("out")).into_owned(), ..run }
    };
    let resume = "--checkpoint c --every 1 --resume --model m --history h --json";
    let time = |iterations: usize| {
        let start = Instant::now();
        let run = end(run(iterations, resume));
        assert_eq!(run.code, Some(0), "{run:?}");
        start.elapsed()
    };
    // With all steps, and with none left to do; the shortest, since the machine may do other work.
    let times = [(); 3].map(|()| {
        let times = (time(FEWEST), time(FEWEST));
        place.remove(&["c", "m", "h"]);
        times
    });
    let shortest = |which: fn(&(Duration, Duration)) -> Duration| {
        times.iter().map(which).min().unwrap_or_default().as_secs_f64()
    };
    let (whole, rest) = (shortest(|times| times.0), shortest(|times| times.1));
    let step = (whole - rest).max(1e-6) / FEWEST as f64;
    let iterations = ((STEPS_TIME.as_secs_f64() / step) as usize).clamp(FEWEST, MOST);
    let never_stopped = end(run(iterations, "--model m --history h --json")).json();
    let (model, history) = (place.read("m"), place.read("h"));
    place.remove(&["m", "h"]);
    let lines = std::str::from_utf8(&history).expect("it is a CSV file").lines().skip(1);
    let costs: Vec<f64> = lines
        .map(|line| line.split(',').nth(1).and_then(|cost| cost.parse().ok()).expect("a cost"))
        .collect();

    let mut random = ChaCha8Rng::seed_from_u64(7);
    let (mut killed, mut ended, mut before_the_first, mut cut) = (0, 0, 0, 0);
    let mut seen = BTreeSet::new();
    let mut last: Option<usize> = None;
    let steps = step * iterations as f64;
    // Without and with a checkpoint to go on from: longer after a kill that came too soon for another, else shorter.
    let mut stretch = [1.0, 1.0];
    while killed < kills {
        // At first at once; then about when there is the first checkpoint; then when there may be another.
        let at_once = killed < AT_ONCE;
        let moments = match last {
            _ if at_once => 0.0..0.0,
            None => 0.0..1.1 * rest,
            Some(_) => 0.5 * rest..rest + 0.3 * steps,
        };
        let part = f64::from(random.next_u32()) / f64::from(u32::MAX);
        let stretch = &mut stretch[usize::from(last.is_some())];
        let moment = *stretch * (moments.start + part * (moments.end - moments.start));
        let mut child = run(iterations, resume);
        std::thread::sleep(Duration::from_secs_f64(moment));
        child.kill().expect("a process of ours");
        let run = end(child);
        match run.code {
            None => {
                killed += 1;
                let found = place.path("c").exists().then(|| {
                    Checkpoint::load(place.path("c"))
                        .unwrap_or_else(|error| panic!("after kill {killed}: {error}"))
                });
                let iteration = found.as_ref().map(Checkpoint::iteration);
                assert!(iteration >= last, "kill {killed}: from {last:?} back to {iteration:?}");
                if let Some(found) = found {
                    assert_eq!(bits(found.costs()), bits(&costs[..found.iteration()]), "kill {killed}");
                }
                before_the_first += usize::from(iteration.is_none());
                *stretch *= if iteration > last { 0.9 } else { 1.2 };
                seen.extend(iteration);
                last = iteration;
                // It came late: the machine does other work.
                if at_once && last.take().is_some() {
                    place.remove(&["c"]);
                }
            }
            Some(0) => {
                ended += 1;
                *stretch *= 0.7;
                assert!(place.read("m") == model && place.read("h") == history, "training {ended} differs");
                assert_eq!(run.json(), never_stopped, "training {ended}");
                assert_eq!(place.iteration(), iterations);
                assert_eq!(
                    place.names(),
                    ["c", "data.csv", "h", "m", "out", "small.csv"],
                    "what was left is removed"
                );
                place.remove(&["c", "m", "h"]);
                last = None;
            }
            Some(code) => panic!("code {code} after {killed} kills: {run:?}"),
        }
        let parts = place.names().iter().filter(|name| name.ends_with(".part")).count();
        assert!(parts <= 2, "{:?}", place.names());
        cut += usize::from(parts > 0);
    }
    // The rest of the last one.
    let run = end(run(iterations, resume));
    assert_eq!(run.json(), never_stopped, "{run:?}");
    assert!(place.read("m") == model && place.read("h") == history);
    assert_eq!(place.names(), ["c", "data.csv", "h", "m", "out", "small.csv"]);

    // The kills came when they should.
    let summary = format!(
        "{device}: {killed} kills: {before_the_first} before the first checkpoint, {cut} within a write, at {} \
         iterations of {iterations}; {ended} trainings ended before",
        seen.len()
    );
    println!("{summary}");
    assert!(before_the_first >= 1 && cut >= cut_writes && seen.len() >= kills / 10, "{summary}");
}

/// Goes on from a checkpoint before the first step, after each step, and after the last, on one engine.
fn resumes_from_every_iteration<E: Engine>(engine: &E) {
    const ITERATIONS: usize = 12;
    let place = Place::new();
    place.write("diabetes.csv", data("diabetes.csv"));
    let dataset = Dataset::read_csv(place.path("diabetes.csv"), "progression", None).expect("it is good");
    for (scale, rate, method) in [
        (Scale::ZScore, 0.1, Method::Direct),
        (Scale::ZScore, 0.1, Method::Gram),
        (Scale::None, 1e-5, Method::Direct),
    ] {
        let settings = LinearRegression::new().iterations(ITERATIONS).learning_rate(rate);
        let settings = settings.scale(scale).method(method);
        let never_stopped = settings.fit(engine, &dataset).expect("it converges");
        let (file, copy) = (place.path("c"), |iteration: usize| place.path(&format!("c{iteration}")));
        let output = |path: &Path| Output::new(path).expect("it can be written");

        let checkpoints = Checkpoints::begin(output(&file)).expect("there is none").every(1);
        let mut copied = 0;
        let watched = settings.fit_resumable(engine, &dataset, checkpoints, |progress| {
            // The checkpoint of this iteration comes after this call.
            copied += fs::copy(&file, copy(progress.iteration - 1)).map_or(0, |_| 1);
        });
        assert_eq!((watched.expect("it converges"), copied), (never_stopped.clone(), ITERATIONS));
        fs::rename(&file, copy(ITERATIONS)).expect("a file of ours");
        for iteration in 0..=ITERATIONS {
            let checkpoints = Checkpoints::resume(output(&copy(iteration))).expect("it is good");
            assert_eq!(checkpoints.found().map(Checkpoint::iteration), Some(iteration));
            let resumed =
                settings.fit_resumable(engine, &dataset, checkpoints, |_| ()).expect("it converges");
            assert_eq!(bits(resumed.history()), bits(never_stopped.history()), "from {iteration}");
            let bytes = |model: &tilegrad::models::FittedLinear| model.to_bytes().expect("names are short");
            assert!(bytes(&resumed) == bytes(&never_stopped), "from {iteration}");
            fs::remove_file(copy(iteration)).expect("it is there");
        }
    }
}

fn resume_without_a_file_begins_and_says_so() {
    let place = Place::new();
    let line = format!("{TRAIN} --resume --device cpu");
    assert_eq!(place.succeeds(&line), "resume: there is no file c yet: beginning\n");
    assert_eq!(place.succeeds(&line), "resume: c is of iteration 1000: going on from there\n");
    // Nothing is said of going on from what is refused.
    let refused = place.run(&format!("{line} --learning-rate 0.2"));
    assert!(refused.stderr.starts_with("error: c: this checkpoint is of another training"), "{refused:?}");
    assert_eq!(place.names(), ["c", "small.csv"]);
    // Nor does a checkpoint change what is printed elsewhere.
    place.remove(&["c"]);
    let run = place.run(&format!("{TRAIN} --device cpu --json"));
    let without = place.run("train linear --data small.csv --target y --device cpu --json");
    assert_eq!((run.json(), run.stderr.as_str()), (without.json(), ""));
}

fn another_number_of_iterations_goes_on_or_is_refused() {
    let place = Place::new();
    for device in ["loop", "cpu", "emulator"] {
        let train = format!("{TRAIN} --device {device} --history h");
        place.succeeds(&format!("{train} --iterations 40 --every 7"));
        assert_eq!(place.iteration(), 40);
        place.succeeds(&format!("{train} --iterations 61 --resume --every 1000 --model m"));
        assert_eq!(place.iteration(), 61);
        let resumed = (place.read("h"), place.read("m"));
        place.refuses(
            2,
            "c: this checkpoint is of iteration 61, and training was to end at iteration 60: ask for at least 61 \
             iterations, or remove the file to begin anew",
            &format!("{train} --iterations 60 --resume --model m"),
        );
        place.remove(&["c", "h", "m"]);
        let whole = "train linear --data small.csv --target y --history h --model m --iterations 61 --device";
        place.succeeds(&format!("{whole} {device}"));
        assert!(resumed == (place.read("h"), place.read("m")), "{device}");
        place.remove(&["h", "m"]);
    }
}

fn a_file_that_is_there_is_not_overwritten() {
    let place = Place::new();
    for contents in ["anything", ""] {
        place.write("c", contents);
        place.refuses(
            2,
            "c: the file is there already: resume from it (--resume), or remove it to begin anew",
            &format!("{TRAIN} --device cpu"),
        );
    }
}

fn wrong_usage_is_refused() {
    let place = Place::new();
    let train = "train linear --data small.csv --target y --device cpu";
    for option in ["--resume", "--every 5"] {
        let missing = "the following required arguments were not provided:";
        place.refuses(2, missing, &format!("{train} {option}"));
    }
    for every in ["0", "-1", "1.5", "often"] {
        let run = place.run(&format!("{train} --checkpoint c --every {every}"));
        assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""), "{run:?}");
        let wrong = format!("error: invalid value '{every}' for '--every <N>': ");
        assert!(run.stderr.starts_with(&wrong) && run.stderr.contains("at least 1"), "{run:?}");
    }
    assert_eq!(place.names(), ["small.csv"]);
}

fn another_training_is_refused() {
    let place = Place::new();
    place.succeeds(&format!("{TRAIN} --device loop --iterations 5"));
    place.write(
        "same.csv",
        format!("remark,{}", SMALL.replacen('\n', "\nwords,", 4).trim_end_matches("words,")),
    );
    place.write("data.csv", SMALL.replace("5,4", "5,4.0001"));
    place.write("long.csv", format!("{SMALL}4,4,9\n"));
    let train = |options: &str| format!("train linear --checkpoint c --resume --iterations 9 {options}");
    for (options, problem) in [
        (
            "--data small.csv --target y --device loop --learning-rate 0.2",
            "the learning rate was 0.1, and is 0.2 now",
        ),
        ("--data small.csv --target y --device loop --scale none", "the scale was zscore, and is none now"),
        ("--data small.csv --target y --device emulator", "the engine was loop, and is emulator now"),
        ("--data small.csv --target a --device loop", "the target was \"y\", and is \"a\" now"),
        ("--data small.csv --target y --device loop --features b,a", "feature 1 was \"a\", and is \"b\" now"),
        (
            "--data small.csv --target y --device loop --features a",
            "the number of features was 2, and is 1 now",
        ),
        ("--data long.csv --target y --device loop", "the number of samples was 4, and is 5 now"),
    ] {
        let error = format!(
            "c: this checkpoint is of another training: {problem}; go on with what it was, or remove the file to \
             begin anew"
        );
        place.refuses(2, &error, &train(options));
    }
    let run = place.run(&train("--data data.csv --target y --device loop"));
    assert_eq!(run.code, Some(2), "{run:?}");
    let (before, after) =
        run.stderr.split_once("the fingerprint of the data was ").expect("it says what differs");
    let digits = |text: &str| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let (was, rest) = after.split_once(", and is ").expect("both are said");
    let (is, _) = rest.split_once(" now; go on").expect("the remedy comes next");
    assert!(before.ends_with("of another training: ") && digits(was) && digits(is) && was != is, "{run:?}");
    // The same numbers from a file with another column: the same training.
    place.succeeds(&train("--data same.csv --target y --device loop --features a,b"));
    // And on the cpu, which says its instructions.
    place.remove(&["c"]);
    place.succeeds(&format!("{TRAIN} --device cpu --iterations 5"));
    let run = place.run(&train("--data small.csv --target y --device loop"));
    assert!(run.code == Some(2) && run.stderr.contains("the engine was cpu, "), "{run:?}");
}

fn files_that_are_no_checkpoint_are_refused() {
    let place = Place::new();
    let line = format!("{TRAIN} --device loop --iterations 5");
    place.succeeds(&format!("{line} --model m"));
    let (whole, resume) = (place.read("c"), format!("{line} --resume"));
    let refused = |contents: &[u8], problem: &str| {
        place.write("c", contents);
        let run = place.run(&resume);
        assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""), "{run:?}");
        assert!(
            run.stderr.starts_with("error: c: ") && run.stderr.contains(problem),
            "no {problem:?} in {run:?}"
        );
        assert!(
            place.read("c") == contents && place.names() == ["c", "m", "small.csv"],
            "{:?}",
            place.names()
        );
    };
    refused(SMALL.as_bytes(), "this is no checkpoint, or a damaged one");
    refused(b"", "this is no checkpoint, or a damaged one");
    refused(
        &place.read("m"),
        "this is a file of kind \"linear\"; a checkpoint, of kind \"checkpoint\", is needed",
    );
    refused(&whole[..whole.len() - 1], "does not have the length that its header says");
    for length in (0..whole.len()).step_by(whole.len() / 20) {
        refused(&whole[..length], "");
    }
    let version = br#"\"version\":"#;
    let at = whole.windows(version.len()).position(|window| window == version).expect("it is in the file");
    let mut newer = whole.clone();
    newer[at + version.len()] = b'2';
    refused(&newer, "the checkpoint has version 2, but tilegrad ");
    place.remove(&["c"]);
    fs::create_dir(place.path("c")).expect("there is none");
    place.refuses(2, "cannot write c: this is a folder: give the name of a file in it", &resume);
    let null = "train linear --data small.csv --target y --device cpu --checkpoint /dev/null";
    if Path::new("/dev/null").exists() {
        place.refuses(2, "cannot write /dev/null: this is a device or a pipe: give the name of a file", null);
    }
}

fn a_checkpoint_is_no_model() {
    let place = Place::new();
    place.succeeds(&format!("{TRAIN} --device cpu --iterations 5"));
    place.refuses(
        2,
        "c: this is a file of kind \"checkpoint\"; a model file, of kind \"linear\" or \"logistic\" or \"network\", \
         is needed",
        "predict --model c --data small.csv --device cpu",
    );
}

fn other_files_are_not_overwritten() {
    let place = Place::new();
    let train = "train linear --data small.csv --target y --device cpu --resume";
    place.refuses(
        2,
        "cannot write ./small.csv: these are the data, which would be lost: choose another name",
        &format!("{train} --checkpoint ./small.csv"),
    );
    for what in ["model", "history"] {
        place.refuses(
            2,
            &format!("cannot write x: the {what} and the checkpoint cannot go to the same file"),
            &format!("{train} --{what} x --checkpoint ./x"),
        );
    }
    place.refuses(
        2,
        "cannot write none/c: there is no folder none: make it first",
        &format!("{train} --checkpoint none/c"),
    );
}

/// With a limit on the size of files, since a checkpoint grows by each step.
#[cfg(unix)]
fn a_full_disk_leaves_the_checkpoint_before() {
    let place = Place::new();
    let mut command = Command::new("sh");
    let line = format!(
        "trap '' XFSZ; ulimit -f 8; exec \"$0\" {TRAIN} --device cpu --iterations 2000 --every 10 --model m"
    );
    command.arg("-c").arg(line).arg(program()).current_dir(place.0.path());
    let run =
        Run::of(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("there is a shell"));
    assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""), "{run:?}");
    let last = place.iteration();
    assert!(last >= 100 && last.is_multiple_of(10) && last < 2000, "{last}");
    let error = format!(
        "error: cannot write c: File too large (os error 27); the checkpoint of iteration {last} is still there: mend \
         this and resume from it\n"
    );
    assert_eq!(run.stderr, error);
    assert_eq!(place.names(), ["c", "small.csv"]);

    place.succeeds(&format!("{TRAIN} --device cpu --iterations 2000 --resume --model m"));
    let resumed = place.read("m");
    place.succeeds("train linear --data small.csv --target y --device cpu --iterations 2000 --model m");
    assert!(place.read("m") == resumed);
}

#[cfg(not(unix))]
fn a_full_disk_leaves_the_checkpoint_before() {}

fn divergence_is_the_same_after_resuming() {
    let place = Place::new();
    for device in ["loop", "cpu", "emulator"] {
        // At once; soon; only at the end.
        for (rate, iterations) in [("1e300", 50), ("3", 50), ("1.1727", 30)] {
            let options = format!("--learning-rate {rate} --iterations {iterations} --device {device}");
            let never_stopped = place.run(&format!("train linear --data small.csv --target y {options}"));
            assert_eq!(never_stopped.code, Some(1), "{never_stopped:?}");
            assert!(
                never_stopped.stderr.starts_with("error: gradient descent diverged"),
                "{never_stopped:?}"
            );
            let first = place.run(&format!("{TRAIN} {options} --every 1"));
            assert_eq!((first.code, &first.stderr), (Some(1), &never_stopped.stderr));
            let left = place.read("c");
            let again = place.run(&format!("{TRAIN} {options} --every 1 --resume"));
            let resumed = format!("resume: c is of iteration {}: going on from there\n", place.iteration());
            assert_eq!((again.code, again.stderr), (Some(1), resumed + &never_stopped.stderr));
            assert!(place.read("c") == left, "there is nothing newer to keep");
            place.remove(&["c"]);
        }
    }
}

/// A process that ends with the test, also where that fails.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Without `--every`. The process runs for longer than anyone waits, and is killed.
fn a_checkpoint_comes_by_itself_and_one_process_has_the_file() {
    let place = Place::new();
    let line = format!("{TRAIN} --device emulator --iterations 10000000");
    let start = Instant::now();
    let running = Running(place.spawn(&line.split(' ').collect::<Vec<_>>()));
    let wait_for = |condition: &dyn Fn() -> bool| {
        while !condition() {
            assert!(start.elapsed() < Duration::from_secs(120), "{:?}", place.names());
            std::thread::sleep(Duration::from_millis(20));
        }
        start.elapsed()
    };
    wait_for(&|| place.path("c").exists());
    assert_eq!(place.iteration(), 0, "there is one before the first step");
    // Short, if they were not refused.
    let late = format!("{TRAIN} --device emulator --iterations 3");
    let taken =
        "cannot write c: another process is writing to this file: wait until it has ended, or choose another";
    place.refuses(2, taken, &format!("{late} --resume"));
    place.refuses(2, taken, &late);
    let time = wait_for(&|| place.iteration() > 0);
    assert!(time >= Duration::from_secs(9), "{time:?}");
    place.refuses(2, taken, &format!("{late} --resume"));
    drop(running);
    let done = place.iteration();
    place.succeeds(&format!("{TRAIN} --device emulator --iterations {} --resume", done + 1));
}
