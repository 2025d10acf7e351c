//! What must hold for any bytes. Each function takes what a fuzzer came up with, and panics where a promise is broken.
//!
//! They are called from two places: by cargo-fuzz (`tests/fuzz`), and by this crate's own test, which goes through the
//! committed seeds and through random edits of them on every `cargo test`.

mod checkpoint;
mod csv;
mod launch;
mod model;
mod reader;

pub use checkpoint::checkpoint;
pub use csv::csv;
pub use launch::{Launch, launch};
pub use model::model;
pub use reader::{encoding, parquet, reader};

use std::cell::RefCell;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

use tempfile::NamedTempFile;
use tilegrad::data::{Dataset, Output, Table};
use tilegrad::engine::Loop;
use tilegrad::models::{Checkpoints, LinearRegression, LogisticRegression, Scale};

/// A property, by the name of its fuzz target.
pub type Property = (&'static str, fn(&[u8]));

/// All properties.
pub const ALL: &[Property] = &[
    ("checkpoint", checkpoint),
    ("csv", csv),
    ("encoding", encoding),
    ("launch", launch),
    ("model", model),
    ("parquet", parquet),
    ("reader", reader),
];

/// Files that are written today, of the training that [`checkpoint`](fn@checkpoint) resumes: the fuzz target that takes
/// them, a name, and the bytes.
pub fn files_of_today() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    /// The steps that were done.
    const DONE: usize = 3;
    let folder = tempfile::tempdir().expect("a place for a folder");
    let path = folder.path().join("checkpoint");
    let output = Output::new(&path).expect("a new file in it");
    checkpoint::train(Checkpoints::begin(output).expect("there is none yet"), DONE)
        .expect("data to learn from");
    let model = |scale| {
        let settings = LinearRegression::new().learning_rate(0.01).iterations(DONE).scale(scale);
        let model = settings.fit(&Loop, &dataset()).expect("data to learn from");
        model.to_bytes().expect("short names")
    };
    let classes = LogisticRegression::new().iterations(DONE).fit(&Loop, &labelled()).expect("two classes");
    vec![
        ("checkpoint", "three-steps.checkpoint", std::fs::read(path).expect("what training wrote")),
        ("model", "scaled.safetensors", model(Scale::ZScore)),
        ("model", "not-scaled.safetensors", model(Scale::None)),
        ("model", "two-classes.safetensors", classes.to_bytes().expect("short names")),
    ]
}

fn dataset() -> Dataset {
    let x = Table::new(vec!["a".into(), "b".into()], vec![1.0, -2.0, 3.0, 0.5, 7.0, 1.5]).expect("a table");
    Dataset::new(x, "y", vec![2.0, 4.0, 9.0]).expect("a data set")
}

/// The same with classes in place of numbers.
fn labelled() -> Dataset {
    Dataset::labelled(dataset().features().clone(), "y", &["no", "yes", "no"]).expect("a data set")
}

/// No message is longer.
const LONGEST_MESSAGE: usize = 8192;

thread_local! {
    static FILE: RefCell<NamedTempFile> = RefCell::new(NamedTempFile::new().expect("a place for a file"));
}

/// A file with these contents, until this thread asks for the next one.
fn file(contents: &[u8]) -> PathBuf {
    FILE.with_borrow(|file| {
        // Not cut to nothing first: ext4 then waits for the disk when the file is closed.
        let open = OpenOptions::new().write(true).create(true).truncate(false).open(file.path());
        let mut open = open.expect("a file of our own");
        open.write_all(contents).expect("room for a small file");
        open.set_len(contents.len() as u64).expect("room for a small file");
        file.path().to_owned()
    })
}

/// Where messages say a problem is that was found in bytes rather than in a file.
const BYTES: &str = "the bytes given";

/// The message of an error at `place`, without the place: it must be one line that a screen holds and a terminal takes
/// for text.
fn message(error: &tilegrad::Error, place: &str) -> String {
    let text = error.to_string();
    assert!(text.len() <= LONGEST_MESSAGE, "a message of {} bytes: {text:.200}", text.len());
    assert!(!text.contains(char::is_control), "a message with a control character: {text:?}");
    let message = text.strip_prefix(place).and_then(|rest| rest.strip_prefix(": "));
    message.unwrap_or_else(|| panic!("the message does not begin with {place}: {text}")).to_owned()
}
