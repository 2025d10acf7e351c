//! A file that is gone through block by block, as often as is needed.

use std::path::Path;

use super::plan::{
    ColumnSums, Extent, Plan, Rows, Sorted, Source, Vocabulary, check_levels, encoding, no_rows,
};
use super::{Dataset, Encoding, Missing, Reader};
use crate::{Error, Result};

/// A file that is gone through block by block, in its order, as often as is needed: each iteration begins at its first
/// sample. Memory holds a block, and some MiB of the file around it. Training in mini-batches goes through it once in each epoch
/// (see [`fit_stream`](crate::models::LogisticRegression::fit_stream)).
///
/// ```no_run
/// use tilegrad::data::Reader;
/// use tilegrad::engine::Cpu;
/// use tilegrad::models::LinearRegression;
///
/// let blocks = Reader::new("larger-than-memory.csv").target("price").blocks(65_536)?;
/// let model = LinearRegression::new().fit_blocks(&Cpu, &blocks)?;
/// # Ok::<(), tilegrad::Error>(())
/// ```
#[derive(Debug)]
pub struct Blocks {
    reader: Reader,
    samples: usize,
    encoding: Encoding,
    classes: Option<Vec<String>>,
}

impl Blocks {
    pub(super) fn new(reader: Reader, samples: usize) -> Result<Self> {
        if samples == 0 {
            return Err(Error::Setting("a block needs one sample at least".to_owned()));
        }
        let path = reader.path();
        if !path.metadata().map_err(|source| Error::unreadable(path, source))?.is_file() {
            return Err(Error::Data(format!(
                "{}: this is no file that can be gone through again: write what comes from there to a file first",
                path.display()
            )));
        }
        let mut source = reader.open()?;
        let plan = reader.plan(source.header())?;
        let (encoding, classes) = survey(&mut *source, &plan, reader.missing_policy() == Missing::Mean)?;
        Ok(Blocks { reader, samples, encoding, classes })
    }

    /// How the columns become the features of each block.
    pub fn encoding(&self) -> &Encoding {
        &self.encoding
    }

    /// The names of the classes, if the target is one of several: see [`Dataset::classes`].
    pub fn classes(&self) -> Option<&[String]> {
        self.classes.as_deref()
    }

    /// The target's name.
    ///
    /// # Errors
    /// [`Error::Setting`]: the reader has none.
    pub fn target(&self) -> Result<&str> {
        self.reader.target_name()
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        self.reader.path()
    }

    /// The file in blocks of so many samples, at least one, rather than what they were asked for.
    pub(crate) fn of(&self, samples: usize) -> BlocksIter<'_> {
        BlocksIter { blocks: self, samples: samples.max(1), state: State::Begin }
    }

    /// The most samples that a block has: each but the last has as many.
    pub fn samples(&self) -> usize {
        self.samples
    }
}

/// What must be known before the first block: the file is only read if that is more than names.
fn survey(source: &mut dyn Source, plan: &Plan, means: bool) -> Result<(Encoding, Option<Vec<String>>)> {
    let header = source.header().clone();
    let mut sums = ColumnSums::new(plan);
    let mut rows = Rows::new(Vocabulary::growing(plan), Extent::Block);
    if means || plan.picked.iter().any(|picked| picked.text) {
        let mut any = false;
        while rows.read(source, plan)? {
            any |= rows.count(plan) > 0;
            rows.sum(&mut sums);
        }
        if !any {
            return Err(no_rows(&header, rows.dropped));
        }
    }
    let Sorted { columns, classes, orders } = rows.vocabulary.sorted();
    check_levels(&header, &columns)?;
    // Features of one name are refused before a column without a value, as they are where there is no survey.
    let without = encoding(&header, columns.clone())?;
    let encoding = if means { sums.means(&orders).encoding(&header, columns)? } else { without };
    Ok((encoding, classes))
}

impl<'a> IntoIterator for &'a Blocks {
    type Item = Result<Dataset>;
    type IntoIter = BlocksIter<'a>;

    fn into_iter(self) -> BlocksIter<'a> {
        self.of(self.samples)
    }
}

/// The blocks of [`Blocks`], from the first on. After an error there are no more.
pub struct BlocksIter<'a> {
    blocks: &'a Blocks,
    /// Those of each block, but for the last.
    samples: usize,
    state: State,
}

enum State {
    Begin,
    Reading(Box<Reading>),
    End,
}

struct Reading {
    source: Box<dyn Source + Send>,
    plan: Plan,
    rows: Rows,
    /// Rows at the begin that were handed out.
    taken: usize,
}

impl Reading {
    fn begin(blocks: &Blocks) -> Result<Self> {
        let source = blocks.reader.open()?;
        let plan = blocks.reader.plan(source.header())?;
        let vocabulary = Vocabulary::given(&plan, &blocks.encoding, blocks.classes());
        let rows = Rows::new(vocabulary, Extent::Block);
        Ok(Reading { source, plan, rows, taken: 0 })
    }

    /// The next block; none at the end.
    fn block(&mut self, blocks: &Blocks, samples: usize) -> Result<Option<Dataset>> {
        let mut more = true;
        // One more than the block has, so that rows that are dropped at the end belong to the last block.
        while more && self.rows.count(&self.plan) - self.taken <= samples {
            self.rows.forget(&self.plan, std::mem::take(&mut self.taken));
            more = self.rows.read(&mut *self.source, &self.plan)?;
        }
        let count = samples.min(self.rows.count(&self.plan) - self.taken);
        if count == 0 {
            return Ok(None);
        }
        let (rows, taken) = self.rows.take(&self.plan, self.taken..self.taken + count);
        self.taken = taken;
        let mut encoded = rows.encode(self.source.header())?;
        encoded.fill(blocks.encoding.clone());
        Ok(Some(encoded.into_dataset(blocks.reader.target_name()?)?))
    }
}

impl Iterator for BlocksIter<'_> {
    type Item = Result<Dataset>;

    fn next(&mut self) -> Option<Result<Dataset>> {
        let first = matches!(self.state, State::Begin);
        if first {
            match Reading::begin(self.blocks) {
                Ok(reading) => self.state = State::Reading(Box::new(reading)),
                Err(error) => {
                    self.state = State::End;
                    return Some(Err(error));
                }
            }
        }
        let State::Reading(reading) = &mut self.state else { return None };
        let block = match reading.block(self.blocks, self.samples) {
            Ok(None) if first => Err(no_rows(reading.source.header(), reading.rows.dropped)),
            Ok(block) => Ok(block?),
            Err(error) => Err(error),
        };
        if block.is_err() {
            self.state = State::End;
        }
        Some(block)
    }
}
