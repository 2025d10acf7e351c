//! Checkpoints: training that was stopped goes on from the last one, to the same bits.
//!
//! See [`format`](super::format) for what they share with model files. The metadata say which training it is: the
//! fields of [`Subject`]. The tensors: `costs`, before each step that has been done, and the model's parameters with
//! every bit that the engine has of them. Scalers are not in it: the same data give the same one.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::descent::Descent;
use super::format::{Format, Tensor, load};
use crate::data::{Dataset, Kept, Output};
use crate::engine::Engine;
use crate::{Error, Result};

/// What a checkpoint is.
const FORMAT: Format = Format { version: 1, name: "checkpoint", remedy: "remove it to begin anew" };
/// The kind of file.
const KIND: &str = "checkpoint";
/// The tensor of the costs; the others are the model's.
const COSTS: &str = "costs";
/// How long training goes on without a checkpoint, unless that is said in steps.
const EVERY: Duration = Duration::from_secs(10);
/// Letters of a value that are shown: what a file says may be long.
const SHOWN: usize = 80;

/// Where training leaves checkpoints, how often, and the one that it goes on from.
///
/// A checkpoint is written before the first step, every so often, and after the last step; each takes the place of the
/// one before, in one instant, so that whenever the process ends the file holds a whole one. From it training goes
/// on to the same model and the same costs, bit for bit, as if it had never stopped. That holds for the same data,
/// settings, [arithmetic](Engine::arithmetic) of the engine and version of this crate; all else is refused. Only
/// the number of iterations may be another, to train for longer, where the schedule of the learning rate does not depend on it.
///
/// Training that diverges leaves the last checkpoint before it did, and diverges again from there: remove the file, and
/// begin anew with another learning rate.
///
/// As long as this exists, the file is locked against other processes that would write checkpoints to it. (Some network
/// file systems have no locks.) A checkpoint takes 8 bytes for each step done, beside the parameters.
///
/// ```
/// use tilegrad::data::{Dataset, Output, Table};
/// use tilegrad::engine::Loop;
/// use tilegrad::models::{Checkpoint, Checkpoints, LinearRegression};
///
/// let folder = tempfile::tempdir()?;
/// let file = folder.path().join("marks.checkpoint");
/// let hours = Table::new(vec!["hours".into()], vec![1.0, 2.0, 3.0, 4.0])?;
/// let dataset = Dataset::new(hours, "marks", vec![30.0, 50.0, 70.0, 90.0])?;
///
/// let begun = Checkpoints::begin(Output::new(&file)?)?.every(10);
/// LinearRegression::new().iterations(35).fit_resumable(&Loop, &dataset, begun, |_| ())?;
/// assert_eq!(Checkpoint::load(&file)?.iteration(), 35);
///
/// let settings = LinearRegression::new().iterations(100);
/// let resumed = Checkpoints::resume(Output::new(&file)?)?;
/// let model = settings.fit_resumable(&Loop, &dataset, resumed, |_| ())?;
/// assert_eq!(model, settings.fit(&Loop, &dataset)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Checkpoints {
    kept: Kept,
    every: Option<usize>,
    found: Option<Checkpoint>,
}

impl Checkpoints {
    /// Those of a training that begins: the file must not be there.
    ///
    /// # Errors
    /// The file is there, or is no regular file, or another process has it.
    pub fn begin(output: Output) -> Result<Self> {
        let kept = output.keep()?;
        if kept.is_there() {
            let problem =
                "the file is there already: resume from it (--resume), or remove it to begin anew".to_owned();
            return Err(Error::Checkpoint { path: kept.path().to_owned(), problem });
        }
        Ok(Checkpoints { kept, every: None, found: None })
    }

    /// Those of a training that goes on from what the file holds, or begins if there is no file.
    ///
    /// # Errors
    /// As [`Checkpoint::load`]; or the file is no regular file, or another process has it.
    pub fn resume(output: Output) -> Result<Self> {
        let kept = output.keep()?;
        let found = kept.is_there().then(|| Checkpoint::load(kept.path())).transpose()?;
        Ok(Checkpoints { kept, every: None, found })
    }

    /// A checkpoint every so many steps, at least 1, in place of one about every 10 s.
    pub fn every(mut self, steps: usize) -> Self {
        self.every = Some(steps);
        self
    }

    /// The checkpoint that training goes on from.
    pub fn found(&self) -> Option<&Checkpoint> {
        self.found.as_ref()
    }

    /// Those of the training of `subject` for `iterations`, and the checkpoint that it goes on from.
    pub(super) fn of(self, subject: Subject, iterations: usize) -> Result<(Writer, Option<Checkpoint>)> {
        let Checkpoints { kept, every, found } = self;
        if every == Some(0) {
            return Err(Error::Setting("there must be at least 1 step between checkpoints".to_owned()));
        }
        let last = found.as_ref().map(Checkpoint::iteration);
        let writer = Writer { kept, every, subject, last, since: Instant::now() };
        let Some(found) = found else { return Ok((writer, None)) };
        if let Some((what, was, is)) = found.subject.difference(&writer.subject) {
            return Err(writer.refuse(format!(
                "this checkpoint is of another training: {what} was {was}, and is {is} now; go on with what it was, or \
                 remove the file to begin anew"
            )));
        }
        if found.iteration() > iterations {
            return Err(writer.refuse(format!(
                "this checkpoint is of iteration {}, and training was to end at iteration {iterations}: ask for at \
                 least {} iterations, or remove the file to begin anew",
                found.iteration(),
                found.iteration()
            )));
        }
        Ok((writer, Some(found)))
    }
}

/// What a checkpoint file holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    subject: Subject,
    costs: Vec<f64>,
    parameters: BTreeMap<String, Vec<f64>>,
}

impl Checkpoint {
    /// Reads a checkpoint.
    ///
    /// # Errors
    /// The file cannot be read, is cut short, is no checkpoint of this crate's, or has another version.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        load(path, Self::parse, |problem| Error::Checkpoint { path: path.to_owned(), problem })
    }

    /// As [`Checkpoint::load`], from the file's bytes.
    ///
    /// # Errors
    /// As [`Checkpoint::load`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let path = PathBuf::from("the bytes given");
        Self::parse(bytes).map_err(|problem| Error::Checkpoint { path, problem })
    }

    /// Steps that had been done.
    pub fn iteration(&self) -> usize {
        self.costs.len()
    }

    /// The cost before each of these steps.
    pub fn costs(&self) -> &[f64] {
        &self.costs
    }

    /// What a setting of the training was.
    pub(super) fn setting(&self, name: &str) -> Option<&str> {
        self.subject.settings.get(name)?.as_str()
    }

    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let (_, subject, tensors): (_, Subject, _) = FORMAT.read(&[KIND], bytes)?;
        let costs = tensors.numbers(COSTS, None, f64::is_finite)?;
        let names = tensors.names().into_iter().filter(|name| name != COSTS);
        let parameters =
            names.map(|name| tensors.numbers(&name, None, f64::is_finite).map(|values| (name, values)));
        Ok(Checkpoint { parameters: parameters.collect::<Result<_, _>>()?, subject, costs })
    }
}

/// Which training it is. Two of one subject have the same bits after the same number of steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Subject {
    /// The version of this crate.
    tilegrad: String,
    model: String,
    /// The engine's [arithmetic](Engine::arithmetic).
    engine: String,
    settings: BTreeMap<String, Value>,
    target: String,
    features: Vec<String>,
    samples: usize,
    /// [`Fingerprint`] of the samples.
    data: String,
}

/// What tells samples from others: SHA-256 of that of the features' values and that of the target's, in hexadecimal
/// digits. However they are cut into blocks, it is the same.
#[derive(Default)]
pub(super) struct Fingerprint {
    features: Sha256,
    target: Sha256,
}

impl Fingerprint {
    pub(super) fn of(dataset: &Dataset) -> String {
        let mut fingerprint = Self::default();
        fingerprint.add(dataset);
        fingerprint.finish()
    }

    /// Adds the samples of a block.
    pub(super) fn add(&mut self, block: &Dataset) {
        self.features.update(bytemuck::cast_slice(block.features().values()));
        self.target.update(bytemuck::cast_slice(block.y()));
    }

    pub(super) fn finish(self) -> String {
        let both = Sha256::new().chain_update(self.features.finalize()).chain_update(self.target.finalize());
        both.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The samples of a training.
pub(super) struct Given<'a> {
    pub target: &'a str,
    pub features: &'a [String],
    pub samples: usize,
    pub fingerprint: String,
}

impl Subject {
    /// Training of `model` with these settings, each with its name in words.
    pub(super) fn new(
        model: &str,
        settings: Vec<(&str, Value)>,
        engine: &impl Engine,
        given: Given<'_>,
    ) -> Self {
        Subject {
            tilegrad: env!("CARGO_PKG_VERSION").to_owned(),
            model: model.to_owned(),
            engine: engine.arithmetic(),
            settings: settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            target: given.target.to_owned(),
            features: given.features.to_vec(),
            samples: given.samples,
            data: given.fingerprint,
        }
    }

    /// The first in which `now` differs from this: what it is, what it was, what it is now.
    fn difference(&self, now: &Subject) -> Option<(String, String, String)> {
        let mut pairs = vec![
            ("tilegrad's version".to_owned(), self.tilegrad.clone(), now.tilegrad.clone()),
            ("the model".to_owned(), self.model.clone(), now.model.clone()),
            ("the engine".to_owned(), self.engine.clone(), now.engine.clone()),
        ];
        let names: BTreeSet<&String> = self.settings.keys().chain(now.settings.keys()).collect();
        let text = |value: Option<&Value>| match value {
            None => "not set".to_owned(),
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
        };
        for name in names {
            pairs.push((format!("the {name}"), text(self.settings.get(name)), text(now.settings.get(name))));
        }
        pairs.push(("the target".to_owned(), format!("{:?}", self.target), format!("{:?}", now.target)));
        let count = |subject: &Subject| subject.features.len().to_string();
        pairs.push(("the number of features".to_owned(), count(self), count(now)));
        let features = self.features.iter().zip(&now.features).enumerate();
        pairs.extend(
            features
                .map(|(j, (was, is))| (format!("feature {}", j + 1), format!("{was:?}"), format!("{is:?}"))),
        );
        pairs.push(("the number of samples".to_owned(), self.samples.to_string(), now.samples.to_string()));
        pairs.push(("the fingerprint of the data".to_owned(), self.data.clone(), now.data.clone()));
        let short = |text: String| text.chars().take(SHOWN).collect::<String>();
        let differs = pairs.into_iter().find(|(_, was, is)| was != is);
        differs.map(|(what, was, is)| (what, short(was), short(is)))
    }
}

/// Writes a training's checkpoints.
pub(super) struct Writer {
    kept: Kept,
    every: Option<usize>,
    subject: Subject,
    /// The iteration of the checkpoint in the file.
    last: Option<usize>,
    /// When it was written, or this began.
    since: Instant,
}

impl Writer {
    /// Steps to do before the next checkpoint, at most, after `done`.
    pub(super) fn steps_left(&self, done: usize) -> usize {
        self.every.map_or(usize::MAX, |every| every - done % every)
    }

    /// Whether there is to be a checkpoint after `done` steps of `iterations`.
    pub(super) fn is_due(&self, done: usize, iterations: usize) -> bool {
        let regular = match self.every {
            Some(every) => done.is_multiple_of(every),
            None => done == 0 || self.since.elapsed() >= EVERY,
        };
        (regular || done == iterations) && self.last != Some(done)
    }

    /// Writes a checkpoint: `costs` of the steps that have been done, and the parameters after them.
    pub(super) fn write<E: Engine>(
        &mut self,
        engine: &E,
        descent: &mut impl Descent<E>,
        costs: &[f64],
    ) -> Result<()> {
        let mut parameters = Vec::new();
        for (name, matrix) in descent.parameters() {
            parameters.push((name, engine.read(matrix)?));
        }
        // Beyond the numbers: the next cost will say so. The checkpoint before is worth more.
        if !parameters.iter().flat_map(|(_, values)| values).all(|value| value.is_finite()) {
            return Ok(());
        }
        let mut tensors = vec![Tensor::vector(COSTS, costs)];
        tensors.extend(parameters.iter().map(|(name, values)| Tensor::vector(name, values)));
        let bytes = FORMAT.to_bytes(KIND, &self.subject, &tensors)?;
        self.kept.write(&bytes).map_err(|error| match (error, self.last) {
            (Error::File { action, path, source }, Some(last)) => {
                let text =
                    format!("{source}; the checkpoint of iteration {last} is still there: mend this and resume from it");
                Error::File { action, path, source: io::Error::new(source.kind(), text) }
            }
            (error, _) => error,
        })?;
        (self.last, self.since) = (Some(costs.len()), Instant::now());
        Ok(())
    }

    /// Puts the parameters of `found` back.
    pub(super) fn restore<E: Engine>(
        &self,
        engine: &E,
        descent: &mut impl Descent<E>,
        found: &Checkpoint,
    ) -> Result<()> {
        for (name, matrix) in descent.parameters() {
            let (rows, columns) = engine.shape(matrix);
            let Some(values) = found.parameters.get(&name).filter(|values| values.len() == rows * columns)
            else {
                return Err(
                    self.damaged(format_args!("it does not hold the {} numbers of {name}", rows * columns))
                );
            };
            *matrix = engine.restore(rows, columns, values).map_err(|error| match error {
                Error::Data(problem) => self.damaged(problem),
                error => error,
            })?;
        }
        Ok(())
    }

    /// The error for a checkpoint whose contents cannot be.
    pub(super) fn damaged(&self, what: impl std::fmt::Display) -> Error {
        self.refuse(FORMAT.damaged(what))
    }

    fn refuse(&self, problem: String) -> Error {
        Error::Checkpoint { path: self.kept.path().to_owned(), problem }
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::data::Table;
    use crate::engine::{Cpu, Loop};
    use crate::models::{FittedLinear, LinearRegression, Method};

    fn dataset() -> Dataset {
        let columns = vec!["a".to_owned(), "b".to_owned()];
        let table = Table::new(columns, vec![1.0, 2.0, 2.0, 1.0, 3.0, 5.0, 4.0, 4.0]).unwrap();
        Dataset::new(table, "y", vec![3.0, 5.0, 4.0, 9.0]).unwrap()
    }

    fn settings() -> LinearRegression {
        LinearRegression::new().iterations(5)
    }

    /// A folder, and the file of the checkpoints in it.
    fn place() -> (TempDir, Output) {
        let folder = tempfile::tempdir().unwrap();
        let output = Output::new(folder.path().join("checkpoint")).unwrap();
        (folder, output)
    }

    fn fit<E: Engine>(
        settings: &LinearRegression,
        engine: &E,
        checkpoints: Result<Checkpoints>,
    ) -> Result<FittedLinear> {
        settings.fit_resumable(engine, &dataset(), checkpoints?.every(1), |_| ())
    }

    fn text<T>(result: Result<T>) -> String {
        result.err().map_or_else(|| "no error".to_owned(), |error| error.to_string())
    }

    /// What resuming says of a checkpoint of `subject` with these tensors.
    fn resumed<E: Engine>(engine: &E, subject: &Subject, tensors: &[(&str, &[f64])]) -> String {
        let (_folder, output) = place();
        let tensors: Vec<Tensor> =
            tensors.iter().map(|(name, values)| Tensor::vector(*name, values)).collect();
        output.write(&FORMAT.to_bytes(KIND, subject, &tensors).unwrap()).unwrap();
        text(fit(&settings(), engine, Checkpoints::resume(output)))
    }

    #[test]
    fn a_checkpoint_is_written_before_the_first_step_every_so_many_and_after_the_last() {
        let (_folder, output) = place();
        let written = || Checkpoint::load(output.path()).unwrap().iteration();
        let checkpoints = Checkpoints::begin(output.clone()).unwrap().every(7);
        let mut seen = 0;
        let watch = |progress: crate::models::Progress| {
            // That of this iteration itself comes after this call.
            assert_eq!(written(), (progress.iteration - 1) / 7 * 7, "{progress:?}");
            seen += 1;
        };
        let model = settings().iterations(20).fit_resumable(&Loop, &dataset(), checkpoints, watch).unwrap();
        assert!(seen >= 3);
        let last = Checkpoint::load(output.path()).unwrap();
        assert_eq!((last.iteration(), last.costs()), (20, &model.history()[..20]));
        let never = Checkpoints::resume(output).unwrap().every(0);
        let refused = text(settings().fit_resumable(&Loop, &dataset(), never, |_| ()));
        assert!(refused.contains("at least 1 step"), "{refused}");
    }

    #[test]
    fn steps_are_counted_to_the_next_checkpoint_or_it_waits_for_its_time() {
        let writer = |every: fn(Checkpoints) -> Checkpoints| {
            let (folder, output) = place();
            let checkpoints = every(Checkpoints::begin(output).unwrap());
            (checkpoints.of(settings().subject(&Loop, &dataset(), Method::Direct), 20).unwrap().0, folder)
        };
        let due = |writer: &Writer| (0..=20).filter(|done| writer.is_due(*done, 20)).collect::<Vec<_>>();
        let (counted, _folder) = writer(|checkpoints| checkpoints.every(7));
        assert_eq!([0, 1, 6, 7, 20].map(|done| counted.steps_left(done)), [7, 6, 1, 7, 1]);
        assert_eq!(due(&counted), [0, 7, 14, 20]);
        let (mut timed, _folder) = writer(|checkpoints| checkpoints);
        assert_eq!((timed.steps_left(0), due(&timed)), (usize::MAX, vec![0, 20]));
        timed.last = Some(0);
        assert_eq!(due(&timed), [20]);
        timed.since -= EVERY;
        assert_eq!(due(&timed), (1..=20).collect::<Vec<_>>());
    }

    #[test]
    fn no_length_and_no_flipped_bit_is_a_panic() {
        let (_folder, output) = place();
        fit(&settings(), &Cpu, Checkpoints::begin(output.clone())).unwrap();
        let bytes = std::fs::read(output.path()).unwrap();
        let whole = Checkpoint::from_bytes(&bytes).unwrap();
        for length in 0..bytes.len() {
            assert!(Checkpoint::from_bytes(&bytes[..length]).is_err(), "{length}");
        }
        for bit in 0..8 * bytes.len() {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            // A flip may give another training's; any answer but a panic will do.
            if let Ok(other) = Checkpoint::from_bytes(&bytes) {
                let _ = other.subject.difference(&whole.subject);
            }
        }
    }

    #[test]
    fn contents_that_cannot_be_are_refused() {
        let on_cpu = settings().subject(&Cpu, &dataset(), Method::Direct);
        let (costs, weights, bias) =
            (("costs", &[60.0, 50.0][..]), ("weights", &[0.5, 1.0][..]), ("bias", &[0.0][..]));
        assert_eq!(resumed(&Cpu, &on_cpu, &[costs, weights, bias]), "no error");
        for (tensors, problem) in [
            (vec![weights, bias], "`costs` not found"),
            (vec![costs, bias], "it does not hold the 2 numbers of weights"),
            (vec![costs, weights, ("bias", &[0.0; 2])], "it does not hold the 1 numbers of bias"),
            (vec![("costs", &[3.0, f64::NAN]), weights, bias], "costs holds NaN"),
            (vec![costs, ("weights", &[0.5, f64::INFINITY]), bias], "weights holds inf"),
            (vec![("costs", &[3.0, 1.0, 7.0]), weights, bias], "its costs rise to 7 at iteration 2"),
            (vec![costs, ("weights", &[0.5, 0.1]), bias], "1e-1 is no value of 32 bits"),
            (
                vec![("costs", &[3.0; 6]), weights, bias],
                "is of iteration 6, and training was to end at iteration 5",
            ),
        ] {
            let refused = resumed(&Cpu, &on_cpu, &tensors);
            assert!(refused.contains("checkpoint: ") && refused.contains(problem), "{refused}");
            assert!(refused.contains("remove"), "{refused}");
        }
    }

    #[test]
    fn a_checkpoint_of_another_training_is_refused_with_what_differs() {
        let subject = settings().subject(&Loop, &dataset(), Method::Direct);
        let tensors: [(&str, &[f64]); 3] = [("costs", &[]), ("weights", &[0.0; 2]), ("bias", &[0.0])];
        type Change<'a> = &'a dyn Fn(&mut Subject);
        let with = |change: Change| {
            let mut other = subject.clone();
            change(&mut other);
            resumed(&Loop, &other, &tensors)
        };
        assert_eq!(with(&|_| ()), "no error");
        let version = with(&|other| other.tilegrad = "0.0.7".to_owned());
        assert!(version.contains("tilegrad's version was 0.0.7, and is 0."), "{version}");
        let changes: [(&str, Change); 9] = [
            ("the model was cubic, and is linear now", &|other| other.model = "cubic".to_owned()),
            ("the engine was cpu, AVX2, and is loop now", &|other| other.engine = "cpu, AVX2".to_owned()),
            ("the learning rate was 0.25, and is 0.1 now", &|other| {
                other.settings.insert("learning rate".to_owned(), 0.25.into());
            }),
            ("the scale was not set, and is zscore now", &|other| {
                other.settings.remove("scale");
            }),
            ("the momentum was 0.9, and is not set now", &|other| {
                other.settings.insert("momentum".to_owned(), 0.9.into());
            }),
            ("the target was \"z\", and is \"y\" now", &|other| other.target = "z".to_owned()),
            ("the number of features was 1, and is 2 now", &|other| other.features.truncate(1)),
            ("feature 2 was \"c\", and is \"b\" now", &|other| other.features[1] = "c".to_owned()),
            ("the number of samples was 5, and is 4 now", &|other| other.samples = 5),
        ];
        for (problem, change) in changes {
            let refused = with(change);
            assert!(refused.contains(&format!("another training: {problem}; go on with")), "{refused}");
        }
        let data = with(&|other| other.data = "0".repeat(1000));
        let (zeros, digits) = ("0".repeat(SHOWN), &subject.data);
        assert!(
            data.contains(&format!("the fingerprint of the data was {zeros}, and is {digits} now")),
            "{data}"
        );
    }

    #[test]
    fn training_that_diverges_leaves_a_checkpoint_from_which_it_diverges_again() {
        // Numbers overflow; they grow; they grow too slowly to be noticed before the end.
        for (rate, iterations, left) in [(1e300, 5, 0), (3.0, 50, 1), (1.1727, 30, 30)] {
            let settings = settings().learning_rate(rate).iterations(iterations);
            let (_folder, output) = place();
            let never_stopped = text(settings.fit(&Cpu, &dataset()));
            assert!(never_stopped.contains("diverged"), "{rate}: {never_stopped}");
            assert_eq!(text(fit(&settings, &Cpu, Checkpoints::begin(output.clone()))), never_stopped);
            assert_eq!(Checkpoint::load(output.path()).unwrap().iteration(), left, "{rate}");
            assert_eq!(text(fit(&settings, &Cpu, Checkpoints::resume(output))), never_stopped);
        }
    }
}
