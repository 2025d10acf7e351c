//! Mini-batches of a file that is gone through block by block: the same model as in memory, bit for bit.

use std::fs;
use std::path::PathBuf;

use tilegrad::data::{Blocks, Dataset, Output, Reader};
use tilegrad::engine::{Cpu, Engine, Loop};
use tilegrad::models::{
    Checkpoints, EarlyStopping, Ending, LinearRegression, LogisticRegression, MultilayerPerceptron,
    Optimiser, Scale, Schedule, Solver,
};
use tilegrad::{Error, Result};

use super::data;

/// Samples that are shuffled together: neither data set has a multiple of them, nor are they one of a batch.
const BUFFER: usize = 100;

fn diabetes() -> Reader {
    Reader::new(data("diabetes.csv")).target("progression")
}

fn breast_cancer() -> Reader {
    Reader::new(data("breast_cancer.csv")).target("benign").classes(true)
}

fn digits() -> Reader {
    Reader::new(data("digits.csv")).target("digit").classes(true)
}

/// In blocks of another size than what is shuffled together.
fn blocks(reader: &Reader) -> Blocks {
    reader.blocks(64).unwrap()
}

fn linear() -> LinearRegression {
    LinearRegression::new().learning_rate(0.05).epochs(4).batch_size(16).shuffle_buffer(BUFFER)
}

fn logistic() -> LogisticRegression {
    LogisticRegression::new().learning_rate(0.1).epochs(3).batch_size(16).shuffle_buffer(BUFFER)
}

fn network(layers: &str) -> MultilayerPerceptron {
    MultilayerPerceptron::new()
        .layers(layers.parse().unwrap())
        .epochs(3)
        .batch_size(24)
        .shuffle_buffer(BUFFER)
}

/// That a model of a file and one of the same samples in memory are the same, with all that they know of themselves.
macro_rules! same {
    ($engine:expr, $settings:expr, $reader:expr) => {{
        let (settings, reader) = ($settings, $reader);
        let whole = settings.fit($engine, &reader.read().unwrap()).unwrap();
        let streamed = settings.fit_stream($engine, &blocks(&reader)).unwrap();
        assert_eq!(streamed, whole);
        whole
    }};
}

#[test]
fn linear_regression_has_the_bits_of_training_in_memory() {
    fn check<E: Engine>(engine: &E) {
        same!(engine, linear(), diabetes());
        same!(engine, linear().optimiser(Optimiser::adam()).schedule(Schedule::Cosine).l2(0.1), diabetes());
        let scale = linear().scale(Scale::None).optimiser(Optimiser::momentum()).learning_rate(1e-6);
        same!(engine, scale, diabetes());
    }
    check(&Cpu);
    check(&Loop);
    let ended = same!(&Cpu, linear().learning_rate(0.01).tolerance(20.0).epochs(100), diabetes());
    assert_eq!(ended.training().ending, Ending::Tolerance);
    assert!(ended.training().iterations < 100);
}

#[test]
fn logistic_regression_has_the_bits_of_training_in_memory() {
    same!(&Cpu, logistic(), breast_cancer());
    same!(&Cpu, logistic().optimiser(Optimiser::adam()).learning_rate(0.01), digits());
    let begun = logistic().fit(&Cpu, &digits().read().unwrap()).unwrap();
    same!(&Cpu, logistic().warm_start(&begun), digits());
}

#[test]
fn networks_have_the_bits_of_training_in_memory() {
    same!(&Cpu, network("8:relu,1:identity"), diabetes());
    same!(&Cpu, network("8:relu,1:sigmoid"), breast_cancer());
    same!(&Cpu, network("16:relu,10:softmax").l2(1e-3), digits());
    same!(&Loop, network("4:sigmoid,1:identity").epochs(1), diabetes());
}

/// All samples in one stretch is what training in memory does anyway; what the scaler learns of many is near what it learns
/// of all, and the order is another.
#[test]
fn the_shuffle_buffer_is_all_samples_in_memory_and_a_block_of_a_file() {
    let reader = diabetes();
    let plain = || LinearRegression::new().learning_rate(0.05).epochs(4).batch_size(16);
    let dataset = reader.read().unwrap();
    let weights = |model: Result<tilegrad::models::FittedLinear>| model.unwrap().weights().to_vec();
    let all = weights(plain().fit(&Cpu, &dataset));
    assert_eq!(weights(plain().shuffle_buffer(442).fit(&Cpu, &dataset)), all);
    assert_eq!(weights(plain().fit_stream(&Cpu, &reader.blocks(1000).unwrap())), all);
    let parts = weights(plain().shuffle_buffer(BUFFER).fit(&Cpu, &dataset));
    assert_ne!(parts, all);
    assert_eq!(weights(plain().fit_stream(&Cpu, &reader.blocks(BUFFER).unwrap())), parts);
    // Without shuffling: a buffer that holds one batch, of which the order changes nothing but rounding.
    let near = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-9 * a.abs().max(1.0));
    let one = |seed| plain().shuffle_buffer(16).seed(seed).fit(&Loop, &dataset);
    assert!(near(&weights(one(1)), &weights(one(2))));
}

#[test]
fn one_pass_is_enough_for_linear_regression_without_mini_batches() {
    let reader = diabetes();
    let plain = LinearRegression::new;
    for settings in [plain(), plain().solver(Solver::Normal)] {
        let streamed = settings.fit_stream(&Cpu, &blocks(&reader)).unwrap();
        assert_eq!(streamed, settings.fit_blocks(&Cpu, &blocks(&reader)).unwrap());
    }
    let refused = plain().optimiser(Optimiser::adam()).fit_stream(&Cpu, &blocks(&reader)).unwrap_err();
    assert!(refused.to_string().contains("mini-batches"), "{refused}");
}

#[test]
fn streamed_training_goes_on_from_a_checkpoint_of_either_kind() {
    let (folder, reader) = (tempfile::tempdir().unwrap(), breast_cancer());
    let settings = |epochs| network("6:relu,1:sigmoid").optimiser(Optimiser::adam()).epochs(epochs);
    let dataset = reader.read().unwrap();
    let whole = settings(6).fit(&Cpu, &dataset).unwrap();
    let file = |name: &str| Output::new(folder.path().join(name)).unwrap();
    let begun = |name| Checkpoints::begin(file(name)).unwrap().every(1);
    let found = |name| Checkpoints::resume(file(name)).unwrap();
    for name in ["a", "b"] {
        settings(2).fit_stream_resumable(&Cpu, &blocks(&reader), begun(name), |_| ()).unwrap();
        assert_eq!(found(name).found().unwrap().iteration(), 2);
    }
    let on = settings(6).fit_stream_resumable(&Cpu, &blocks(&reader), found("a"), |_| ()).unwrap();
    assert_eq!(on, whole);
    assert_eq!(settings(6).fit_resumable(&Cpu, &dataset, found("b"), |_| ()).unwrap(), whole);
    settings(3).fit_resumable(&Cpu, &dataset, begun("c"), |_| ()).unwrap();
    let on = settings(6).fit_stream_resumable(&Cpu, &blocks(&reader), found("c"), |_| ()).unwrap();
    assert_eq!(on, whole);
    let other = settings(6).shuffle_buffer(BUFFER + 1);
    let refused = other.fit_stream_resumable(&Cpu, &blocks(&reader), found("c"), |_| ()).unwrap_err();
    assert!(refused.to_string().contains("the shuffle buffer was 100, and is 101"), "{refused}");
    let one_pass =
        LinearRegression::new().fit_stream_resumable(&Cpu, &blocks(&diabetes()), begun("d"), |_| ());
    assert!(one_pass.unwrap_err().to_string().contains("set a batch size"));
}

#[test]
fn what_needs_all_samples_at_once_is_refused_with_what_to_do() {
    let text = |error: Error| error.to_string();
    let stopping = EarlyStopping { validation_share: 0.1, patience: 3 };
    let (numbers, classes) = (blocks(&diabetes()), blocks(&breast_cancer()));
    let full = LogisticRegression::new().fit_stream(&Cpu, &classes).unwrap_err();
    assert!(text(full).contains("set a batch size for mini-batches"));
    let full = MultilayerPerceptron::new().layers("1:sigmoid".parse().unwrap()).full_batch();
    let full = full.fit_stream(&Cpu, &classes).unwrap_err();
    assert!(text(full).contains("set a batch size for mini-batches"));
    let newton = LogisticRegression::new().solver(Solver::Newton).fit_stream(&Cpu, &classes).unwrap_err();
    assert!(text(newton).contains("take the solver descent with a batch size"));
    let stopped = logistic().early_stopping(stopping).fit_stream(&Cpu, &classes).unwrap_err();
    assert!(text(stopped).contains("leave it out; a tolerance ends"));
    let without = logistic().fit_stream(&Cpu, &numbers).unwrap_err();
    assert!(text(without).contains("have the reader take it as classes"));
    let without = network("4:relu,10:softmax").fit_stream(&Cpu, &numbers).unwrap_err();
    assert!(text(without).contains("have the reader take it as classes"));
    assert!(text(linear().fit_stream(&Cpu, &classes).unwrap_err()).contains("a regression needs numbers"));
    let small = diabetes().blocks(8).unwrap();
    assert!(text(linear_in_blocks().fit_stream(&Cpu, &small).unwrap_err()).contains("holds no batch of 16"));
}

/// Shuffled within the blocks.
fn linear_in_blocks() -> LinearRegression {
    LinearRegression::new().learning_rate(0.05).epochs(4).batch_size(16)
}

/// A copy of diabetes.csv, and where it is.
fn copied(folder: &tempfile::TempDir) -> (PathBuf, String) {
    let (path, text) = (folder.path().join("copy.csv"), fs::read_to_string(data("diabetes.csv")).unwrap());
    fs::write(&path, &text).unwrap();
    (path, text)
}

#[test]
fn a_file_that_changes_while_it_is_trained_on_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let last = |text: &str| text.lines().last().unwrap().to_owned() + "\n";
    let changes: [fn(&str, &str) -> String; 3] = [
        |text, last| text.strip_suffix(last).unwrap().to_owned(),
        |text, last| text.to_owned() + last,
        |text, last| text.to_owned() + &last.repeat(200),
    ];
    for change in changes {
        let (path, text) = copied(&folder);
        let blocks = Reader::new(&path).target("progression").blocks(BUFFER).unwrap();
        let mut changed = 0;
        let trained = linear_in_blocks().epochs(50).fit_stream_watched(&Cpu, &blocks, |_| {
            fs::write(&path, change(&text, &last(&text))).unwrap();
            changed += 1;
        });
        let error = trained.unwrap_err().to_string();
        assert!(error.contains("copy.csv: the file has changed while it was trained on"), "{error}");
        assert_eq!(changed, 1);
    }
}

#[test]
fn what_cannot_be_read_ends_training_with_what_and_where() {
    let folder = tempfile::tempdir().unwrap();
    let (path, text) = copied(&folder);
    let line = text.lines().count() + 1;
    fs::write(&path, text.clone() + &text.lines().last().unwrap().replace('.', "x") + "\n").unwrap();
    let blocks = Reader::new(&path).target("progression").blocks(BUFFER).unwrap();
    let mut steps = 0;
    let error = linear_in_blocks().fit_stream_watched(&Cpu, &blocks, |_| steps += 1).unwrap_err().to_string();
    assert!(error.contains(&format!("line {line}")), "{error}");
    assert_eq!(steps, 0);
    // In the middle of training.
    fs::write(&path, &text).unwrap();
    let blocks = Reader::new(&path).target("progression").blocks(BUFFER).unwrap();
    let trained = linear_in_blocks().epochs(50).fit_stream_watched(&Cpu, &blocks, |_| {
        fs::remove_file(&path).unwrap_or_default();
    });
    let error = trained.unwrap_err().to_string();
    assert!(error.contains("cannot read") && error.contains("copy.csv"), "{error}");
    // A rate that is too large ends the reading too.
    fs::write(&path, &text).unwrap();
    let error = linear_in_blocks().learning_rate(1e3).fit_stream(&Cpu, &blocks).unwrap_err();
    assert!(matches!(error, Error::Unstable { .. }), "{error}");
}

/// What is held back teaches nothing, and the scaler neither.
#[test]
fn a_scaler_learns_from_the_samples_that_are_trained_on_alone() {
    let dataset = diabetes().read().unwrap();
    let stopping = EarlyStopping { validation_share: 0.25, patience: 100 };
    let fit = |dataset: &Dataset| {
        let settings = LinearRegression::new().epochs(3).early_stopping(stopping);
        settings.fit(&Cpu, dataset).unwrap()
    };
    let model = fit(&dataset);
    let all = LinearRegression::new().epochs(3).optimiser(Optimiser::adam()).fit(&Cpu, &dataset).unwrap();
    assert_ne!(model.scaler(), all.scaler());
    let n = dataset.features().columns().len();
    // Samples that change nothing of the scaler are those held back.
    let mut held = 0;
    for row in (0..442).step_by(17) {
        let mut values = dataset.features().values().to_vec();
        values[row * n..][..n].iter_mut().for_each(|x| *x += 1.0);
        let table = tilegrad::data::Table::new(dataset.features().columns().to_vec(), values).unwrap();
        let other = fit(&Dataset::new(table, "progression", dataset.y().to_vec()).unwrap());
        let same = other.scaler() == model.scaler();
        assert_eq!(same, other.history()[..3] == model.history()[..3], "row {row}");
        held += usize::from(same);
    }
    assert!((1..=15).contains(&held), "{held} of 26 rows, of which a quarter is held back");
}
