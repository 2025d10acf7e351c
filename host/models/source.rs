//! What mini-batches are drawn from: samples on the engine, or a file that is gone through block by block in each epoch.
//!
//! Both give the same samples in the same stretches, the shuffle buffers, with the same numbers learnt of them before the
//! first step: training on either has the same bits.
//!
//! ```text
//! another thread   reads block 1 ─ reads block 2 ──── reads block 3 …
//! this one                        uploads, trains on 1 ─ uploads, trains on 2 …
//! ```
//!
//! Memory holds two blocks: one that is trained on and one that is being read. On a GPU the steps on a block are only
//! queued, so that the next one is uploaded, from page-locked memory, while they run.

use std::ops::ControlFlow;
use std::sync::mpsc::sync_channel;
use std::thread;

use super::checkpoint::Fingerprint;
use super::scaler::{Constants, Merged};
use super::{Scale, Scaler, Settings, Solver};
use crate::data::{Blocks, Dataset, Encoding, held_back};
use crate::engine::{Engine, Moments, Scaling};
use crate::{Error, Result};

/// Where training's samples are.
pub(super) enum Source<'a, E: Engine> {
    Whole(Whole<E>),
    Streamed(Streamed<'a, E>),
}

/// All samples, on the engine.
pub(super) struct Whole<E: Engine> {
    pub x: E::Matrix,
    pub scaling: Option<Scaling<E::Matrix>>,
    /// In the unit of training.
    pub y: E::Matrix,
    pub rows: Rows,
    /// Samples that are shuffled together, at most.
    pub buffer: usize,
}

/// A file whose blocks are the shuffle buffers.
pub(super) struct Streamed<'a, E: Engine> {
    blocks: &'a Blocks,
    samples: usize,
    buffer: usize,
    scaling: Option<Scaling<E::Matrix>>,
    unit: Unit,
}

/// Samples that are shuffled together, on the engine.
pub(super) struct Stretch<'a, M> {
    x: &'a M,
    scaling: Option<&'a Scaling<M>>,
    y: &'a M,
    /// Which of them, in their order.
    pub rows: &'a [u32],
}

/// What is done with a stretch, and whether to go on.
type Visit<'v, M> = dyn FnMut(&Stretch<'_, M>) -> Result<ControlFlow<()>> + 'v;

impl<M> Stretch<'_, M> {
    /// Samples of these rows, scaled, and their targets.
    pub(super) fn gather<E: Engine<Matrix = M>>(&self, engine: &E, rows: &[u32]) -> Result<(M, M)> {
        Ok((engine.gather(self.x, self.scaling, rows)?, engine.gather(self.y, None, rows)?))
    }
}

/// All samples that are trained on, scaled, and their targets: as they are on the engine, if that is what they are.
pub(super) enum All<'a, M> {
    Given(&'a M, &'a M),
    Made(M, M),
}

impl<M> All<'_, M> {
    pub(super) fn matrices(&self) -> (&M, &M) {
        match self {
            All::Given(x, y) => (x, y),
            All::Made(x, y) => (x, y),
        }
    }
}

/// Which samples are trained on, and which early stopping looks at.
pub(super) struct Rows {
    pub training: Vec<u32>,
    pub validation: Vec<u32>,
}

impl Rows {
    pub(super) fn of(dataset: &Dataset, settings: &Settings) -> Result<Self> {
        let samples = numbered(dataset.samples())?;
        let Some(stopping) = settings.early_stopping else {
            return Ok(Rows { training: (0..samples).collect(), validation: Vec::new() });
        };
        let held = held_back(dataset.samples(), stopping.validation_share, settings.seed)?;
        let (validation, training) = (0..samples).partition(|&row| held[row as usize]);
        Ok(Rows { training, validation })
    }
}

/// So many samples, if their rows can be told by 32 bits.
fn numbered(samples: usize) -> Result<u32> {
    u32::try_from(samples).map_err(|_| {
        Error::Data(format!(
            "{samples} samples are more than can be trained on at once: take at most {}, or go through the file block by block",
            u32::MAX
        ))
    })
}

/// What is known of the samples before the first step.
pub(super) struct Facts {
    pub encoding: Encoding,
    pub target: String,
    /// All of them, those that are held back too.
    pub samples: usize,
    pub scaler: Scaler,
    /// The numbers of the features that are constant.
    pub constant: Vec<usize>,
    pub unit: Unit,
    /// The mean square of the target, in that unit.
    pub target_square: f64,
    pub fingerprint: Option<String>,
}

/// What is asked of the samples before the first step.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    /// A target of mean 0 and deviation 1.
    pub unit: bool,
    pub fingerprint: bool,
}

/// What the target is counted from and measured in while it is trained on.
#[derive(Clone, Copy)]
pub(super) struct Unit {
    pub mean: f64,
    pub deviation: f64,
}

impl Unit {
    /// The target's own.
    const OWN: Unit = Unit { mean: 0.0, deviation: 1.0 };

    fn of_all(self, y: &[f32]) -> Vec<f32> {
        y.iter().map(|&y| ((f64::from(y) - self.mean) / self.deviation) as f32).collect()
    }
}

/// What is learnt of the samples that are trained on, stretch by stretch.
struct Lesson<'a> {
    settings: &'a Settings,
    features: Merged,
    constants: Constants,
    target: Merged,
    target_constants: Constants,
}

impl<'a> Lesson<'a> {
    fn new(settings: &'a Settings) -> Self {
        Lesson {
            settings,
            features: Merged::default(),
            constants: Constants::default(),
            target: Merged::default(),
            target_constants: Constants::default(),
        }
    }

    /// Learns from these rows of `dataset`, which `x` holds on the engine and nothing else.
    fn learn<E: Engine>(
        &mut self,
        engine: &E,
        dataset: &Dataset,
        rows: impl ExactSizeIterator<Item = usize> + Clone,
        x: &E::Matrix,
    ) -> Result<()> {
        let samples = rows.len();
        if self.settings.scale == Scale::ZScore {
            let (values, n) = (dataset.features().values(), dataset.features().columns().len());
            self.constants.add(rows.clone().map(|row| &values[row * n..][..n]));
            self.features.add(samples, engine.column_moments(x)?);
        }
        let y = dataset.y();
        self.target_constants.add(rows.clone().map(|row| &y[row..=row]));
        let values = || rows.clone().map(|row| f64::from(y[row]));
        let mean = values().sum::<f64>() / samples as f64;
        let square = values().map(|y| (y - mean) * (y - mean)).sum::<f64>() / samples as f64;
        self.target.add(samples, Moments { mean: vec![mean], standard_deviation: vec![square.sqrt()] });
        Ok(())
    }

    fn facts(
        self,
        (encoding, target): (&Encoding, &str),
        samples: usize,
        wanted: Wanted,
        fingerprint: Option<String>,
    ) -> Result<Facts> {
        let columns = encoding.features();
        let (scaler, constant) = match (self.settings.scale, self.features.finish()) {
            (Scale::ZScore, Some(moments)) => Scaler::from_moments(moments, columns, &self.constants)?,
            _ => (Scaler::none(columns.len()), Vec::new()),
        };
        let (mean, deviation) = match self.target.finish() {
            Some(moments) => (moments.mean[0], moments.standard_deviation[0]),
            None => (0.0, 0.0),
        };
        let is_constant = deviation == 0.0 || self.target_constants.value(0).is_some();
        let unit = match wanted.unit {
            true => Unit { mean, deviation: if is_constant { 1.0 } else { deviation } },
            false => Unit::OWN,
        };
        let [mean, deviation] = [(mean - unit.mean) / unit.deviation, deviation / unit.deviation];
        let target_square = mean * mean + deviation * deviation;
        let (encoding, target) = (encoding.clone(), target.to_owned());
        Ok(Facts { encoding, target, samples, scaler, constant, unit, target_square, fingerprint })
    }
}

impl<'a, E: Engine> Source<'a, E> {
    /// All of `dataset`, less what early stopping holds back: nothing is learnt from that.
    pub(super) fn whole(
        engine: &E,
        dataset: &Dataset,
        settings: &Settings,
        wanted: Wanted,
    ) -> Result<(Self, Facts)> {
        let (table, rows) = (dataset.features(), Rows::of(dataset, settings)?);
        let buffer = match settings.batch_size {
            Some(_) => settings.shuffle_buffer.unwrap_or(usize::MAX).min(rows.training.len()),
            None => rows.training.len(),
        };
        let x = engine.share(table.rows(), table.columns().len(), table.shared_values())?;
        let mut lesson = Lesson::new(settings);
        for rows in rows.training.chunks(buffer.max(1)) {
            let part = (rows.len() < table.rows()).then(|| engine.gather(&x, None, rows)).transpose()?;
            let numbers = rows.iter().map(|&row| row as usize);
            lesson.learn(engine, dataset, numbers, part.as_ref().unwrap_or(&x))?;
        }
        let fingerprint = wanted.fingerprint.then(|| Fingerprint::of(dataset));
        let of = (dataset.encoding(), dataset.target());
        let facts = lesson.facts(of, dataset.samples(), wanted, fingerprint)?;
        let y = engine.upload(dataset.samples(), 1, &facts.unit.of_all(dataset.y()))?;
        Ok((Source::Whole(Whole { x, scaling: facts.scaler.on(engine)?, y, rows, buffer }), facts))
    }

    /// The file of `blocks`, after one pass over it.
    ///
    /// # Errors
    /// [`Error::Setting`]: settings for which all samples must be there at once; [`Error::Data`]: no target.
    pub(super) fn streamed(
        engine: &E,
        blocks: &'a Blocks,
        settings: &Settings,
        wanted: Wanted,
    ) -> Result<(Self, Facts)> {
        streams(settings)?;
        let buffer = settings.shuffle_buffer.unwrap_or(blocks.samples());
        Settings { shuffle_buffer: Some(buffer), ..settings.clone() }.check()?;
        let (mut lesson, mut fingerprint, mut samples) =
            (Lesson::new(settings), wanted.fingerprint.then(Fingerprint::default), 0);
        let mut columns: Option<Vec<String>> = None;
        ahead(blocks, buffer, &mut |block| {
            numbered(block.samples())?;
            let table = block.features();
            if columns.get_or_insert_with(|| table.columns().to_vec()) != table.columns() {
                return Err(changed(blocks, samples));
            }
            let x = engine.share(table.rows(), table.columns().len(), table.shared_values())?;
            lesson.learn(engine, &block, 0..block.samples(), &x)?;
            if let Some(fingerprint) = &mut fingerprint {
                fingerprint.add(&block);
            }
            samples += block.samples();
            Ok(ControlFlow::Continue(()))
        })?;
        let fingerprint = fingerprint.map(Fingerprint::finish);
        let facts = lesson.facts((blocks.encoding(), blocks.target()?), samples, wanted, fingerprint)?;
        let scaling = facts.scaler.on(engine)?;
        Ok((Source::Streamed(Streamed { blocks, samples, buffer, scaling, unit: facts.unit }), facts))
    }

    /// Samples that are trained on.
    pub(super) fn samples(&self) -> usize {
        match self {
            Source::Whole(whole) => whole.rows.training.len(),
            Source::Streamed(streamed) => streamed.samples,
        }
    }

    /// Samples that are shuffled together, at most.
    pub(super) fn buffer(&self) -> usize {
        match self {
            Source::Whole(whole) => whole.buffer,
            Source::Streamed(streamed) => streamed.buffer,
        }
    }

    /// Shows `visit` all samples that are trained on, stretch by stretch in their order, until it breaks off.
    pub(super) fn each(&self, engine: &E, visit: &mut Visit<'_, E::Matrix>) -> Result<()> {
        match self {
            Source::Whole(Whole { x, scaling, y, rows, buffer }) => {
                for rows in rows.training.chunks((*buffer).max(1)) {
                    if visit(&Stretch { x, scaling: scaling.as_ref(), y, rows })?.is_break() {
                        break;
                    }
                }
                Ok(())
            }
            Source::Streamed(streamed) => streamed.each(engine, visit),
        }
    }

    /// The samples that early stopping looks at.
    pub(super) fn validation(&self) -> Option<Stretch<'_, E::Matrix>> {
        match self {
            Source::Whole(Whole { x, scaling, y, rows, .. }) => {
                Some(Stretch { x, scaling: scaling.as_ref(), y, rows: &rows.validation })
            }
            Source::Streamed(_) => None,
        }
    }

    /// All samples that are trained on, at once.
    pub(super) fn all(&self, engine: &E) -> Result<All<'_, E::Matrix>> {
        let Source::Whole(Whole { x, scaling, y, rows, .. }) = self else {
            return Err(full_batch());
        };
        let training = &rows.training;
        if scaling.is_none() && training.len() == engine.shape(x).0 {
            return Ok(All::Given(x, y));
        }
        let stretch = Stretch { x, scaling: scaling.as_ref(), y, rows: training };
        stretch.gather(engine, training).map(|(x, y)| All::Made(x, y))
    }
}

impl<E: Engine> Streamed<'_, E> {
    fn each(&self, engine: &E, visit: &mut Visit<'_, E::Matrix>) -> Result<()> {
        let (mut rows, mut seen): (Vec<u32>, usize) = (Vec::new(), 0);
        let mut broken = false;
        ahead(self.blocks, self.buffer, &mut |block| {
            let (table, samples) = (block.features(), block.samples());
            seen += samples;
            let expected = self.buffer.min((self.samples + samples).saturating_sub(seen));
            if samples != expected || table.columns() != self.blocks.encoding().features() {
                return Err(changed(self.blocks, self.samples));
            }
            rows.clear();
            rows.extend(0..numbered(samples)?);
            let x = engine.share(samples, table.columns().len(), table.shared_values())?;
            let y = engine.upload(samples, 1, &self.unit.of_all(block.y()))?;
            drop(block);
            let stretch = Stretch { x: &x, scaling: self.scaling.as_ref(), y: &y, rows: &rows };
            let next = visit(&stretch)?;
            broken = next.is_break();
            Ok(next)
        })?;
        match broken || seen == self.samples {
            true => Ok(()),
            false => Err(changed(self.blocks, self.samples)),
        }
    }
}

/// Shows `visit` the file's blocks of so many samples, until it breaks off. While it looks at one, the next is read.
fn ahead(
    blocks: &Blocks,
    samples: usize,
    visit: &mut dyn FnMut(Dataset) -> Result<ControlFlow<()>>,
) -> Result<()> {
    thread::scope(|scope| {
        // Without room: a block that is read waits with its reader, so that there are no more than two.
        let (sender, receiver) = sync_channel(0);
        let read = move || {
            for block in blocks.of(samples) {
                // Nobody takes it any more after an error, or at a break.
                if sender.send(block).is_err() {
                    break;
                }
            }
        };
        thread::Builder::new().name("reader".to_owned()).spawn_scoped(scope, read).map_err(|source| {
            Error::Data(format!("{}: no thread to read it with: {source}", blocks.path().display()))
        })?;
        for block in receiver {
            if visit(block?)?.is_break() {
                break;
            }
        }
        Ok(())
    })
}

/// The error for a file that is not what it was in the first pass.
fn changed(blocks: &Blocks, samples: usize) -> Error {
    Error::Data(format!(
        "{}: the file has changed while it was trained on: it had {samples} samples before; leave it as it is, and train \
         again",
        blocks.path().display()
    ))
}

fn full_batch() -> Error {
    Error::Setting(
        "the full batch goes over all samples in each step, and blocks are not kept: set a batch size for mini-batches"
            .to_owned(),
    )
}

/// Refuses settings for which all samples must be there at once.
fn streams(settings: &Settings) -> Result<()> {
    if settings.solver != Solver::Descent {
        return Err(Error::Setting(format!(
            "the solver {} goes over all samples at once, and blocks are not kept: take the solver descent with a batch size",
            settings.solver
        )));
    }
    if settings.early_stopping.is_some() {
        return Err(Error::Setting(
            "early stopping holds samples back for validation, and blocks are not kept: leave it out; a tolerance ends \
             training early too"
                .to_owned(),
        ));
    }
    match settings.batch_size {
        Some(_) => Ok(()),
        None => Err(full_batch()),
    }
}
