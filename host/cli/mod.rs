//! The command: its options, its exit codes, and what it prints where.
//!
//! Results go to standard output, everything else to standard error. Exit codes: 0 ok, 1 failed while running,
//! 2 wrong usage or bad input, 3 the device that was asked for is not usable.

mod bench;
mod compare;
mod contours;
mod doctor;
mod evaluate;
mod evaluation;
mod manual;
mod output;
mod predict;
mod source;
mod train;
mod training;

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{Parser, Subcommand};
use serde::Serialize;
use tilegrad::Error;
use tilegrad::data::Column;
use tilegrad::engine::{Choice, Device};
use tilegrad::models::Model;

#[derive(Parser)]
#[command(
    name = "tilegrad",
    version,
    about = "Vectorised machine learning on NVIDIA GPUs, in Rust down to the kernels",
    after_help = "Exit codes: 0 ok, 1 failed while running, 2 wrong usage or bad input, 3 the device is not usable.",
    disable_help_subcommand = true
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Say nothing on standard error but errors and warnings: no progress, and not which device was taken
    #[arg(long, short, global = true)]
    quiet: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Train a model on the samples of a file
    #[command(
        subcommand,
        after_help = "Examples:
  tilegrad train linear --data tests/data/diabetes.csv --target progression
  tilegrad train logistic --help"
    )]
    Train(Box<train::Model>),
    /// Predict with a trained model
    Predict(predict::Options),
    /// Say how good a trained model is on the samples of a file
    Evaluate(evaluate::Options),
    /// Draw descent's path over the cost of two features, as they are and scaled
    Contours(contours::Options),
    /// Compare the engines: one descent step and one dense layer on each
    Compare(compare::Options),
    /// Say what each kernel asks of the hardware, at fixed shapes
    Bench(bench::Options),
    /// Say which engines can be used here, and why others cannot
    Doctor(doctor::Options),
    /// Print the completions of a shell: commands, options and their values
    Completions(manual::Completions),
    /// Print the manual page, of all commands
    Man(manual::Manual),
}

/// Whether `--quiet` was given.
static QUIET: AtomicBool = AtomicBool::new(false);

/// Runs the command that the arguments of the program ask for.
pub(crate) fn main() -> ExitCode {
    let arguments = Arguments::parse();
    QUIET.store(arguments.quiet, Ordering::Relaxed);
    let result = match arguments.command {
        Command::Train(model) => model.run(),
        Command::Predict(options) => options.run(),
        Command::Evaluate(options) => options.run(),
        Command::Contours(options) => options.run(),
        Command::Compare(options) => options.run(),
        Command::Bench(options) => options.run(),
        Command::Doctor(options) => options.run(),
        Command::Completions(options) => options.run(),
        Command::Man(options) => options.run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if reader_has_gone(&error) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error}"));
            ExitCode::from(exit_code(&error))
        }
    }
}

/// Whether the program that our standard output went to has read enough (`| head`).
fn reader_has_gone(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn exit_code(error: &anyhow::Error) -> u8 {
    match error.downcast_ref::<Error>() {
        Some(
            Error::Setting(_)
            | Error::Data(_)
            | Error::Column(_)
            | Error::Model { .. }
            | Error::Checkpoint { .. }
            | Error::Output { .. }
            | Error::File { action: "read", .. },
        ) => 2,
        Some(Error::Unusable { .. }) => 3,
        _ => 1,
    }
}

/// Writes a result to standard output.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::File { action: "write", path: "to standard output".into(), source: error }.into())
        }
        result => Ok(result?),
    }
}

/// Prints `value` as the one JSON object of `--json`.
fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    print(&(serde_json::to_string_pretty(value)? + "\n"))
}

/// Whether progress is shown: on a terminal only.
fn shows_progress() -> bool {
    !QUIET.load(Ordering::Relaxed) && io::stderr().is_terminal()
}

/// Writes a note to standard error, unless that shall be quiet.
fn note(text: &str) {
    if !QUIET.load(Ordering::Relaxed) {
        say(text);
    }
}

/// Writes a line to standard error. That nobody reads it must not stop the work.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// The device to use; says on standard error which one `auto` is, and why.
fn chosen(choice: Choice) -> tilegrad::Result<Device> {
    let (device, why) = choice.device()?;
    if let Some(why) = why {
        note(&one_line(&why));
    }
    Ok(device)
}

/// A message without line breaks.
fn one_line(message: &impl std::fmt::Display) -> String {
    message.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// "1 sample", "2 samples".
fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// What was read for `model`; where a column is not there, the message says which ones are needed: its features, and the
/// target if that is to be there too.
fn needed_by<T>(
    read: tilegrad::Result<T>,
    path: &Path,
    model: &Model,
    target: Option<&str>,
) -> tilegrad::Result<T> {
    read.map_err(|error| match error {
        Error::Column(text) => {
            let columns: Vec<&str> = model.encoding().columns().iter().map(Column::name).collect();
            let target = target.map_or(String::new(), |target| format!(", and its target {target}"));
            let (path, columns) = (path.display(), columns.join(", "));
            Error::Column(format!("{text}; the model {path} needs {columns}{target}"))
        }
        other => other,
    })
}

/// A number of things of which there must be one.
fn at_least_1(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(0) => Err("there must be at least 1".to_owned()),
        Ok(count) => Ok(count),
        Err(error) => Err(format!("this must be a whole number, at least 1 ({error})")),
    }
}
