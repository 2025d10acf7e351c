//! A file, and how it is read.

use std::path::{Path, PathBuf};

use super::blocks::Blocks;
use super::chunks::{Bytes, Chunks};
use super::names::{Header, quoted};
#[cfg(feature = "parquet")]
use super::parquet;
use super::plan::{Encoded, Extent, Picked, Plan, Purpose, Rows, Source, Vocabulary};
use super::{Column, Dataset, Encoding, Table, csv, npy, repeated};
use crate::{Error, Result};

/// What kind of file it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// Told from its contents: the beginnings of the others are unmistakable, and what has none of them is CSV. A file that
    /// is named `.npy`, `.npz` or `.parquet` and is none of them is refused.
    #[default]
    Auto,
    /// Text, a sample a line, with separators between its values; as it is or compressed by gzip, which its contents tell.
    /// Line ends are `\n`, `\r\n` or `\r`; fields in quotation marks hold anything.
    Csv,
    /// An array of NumPy's: samples × features, of real numbers of any type up to 8 bytes. Its columns are `c1`, `c2`, ….
    Npy,
    /// Arrays of NumPy's by their names: the columns of `X` (or of the only one that has several) are `c1`, `c2`, …, and each
    /// array with one number for each row is a column of its name: `numpy.savez(file, X=X, y=y)` makes one with the
    /// target `y`.
    Npz,
    /// Columns by their names, as pandas, polars, Arrow and Spark write them. Each has numbers (whole, floating-point,
    /// decimal, or `false` and `true` as 0 and 1) or text, which is a category or a class; null is a missing value, as NaN
    /// is. Nested columns, dates and times are refused where they are asked for. Uncompressed, or compressed by Snappy,
    /// gzip, Zstandard or LZ4. Read by the feature `parquet`, which is on unless it was left out.
    Parquet,
}

impl Format {
    /// What a file is that begins so.
    fn of(start: &[u8]) -> Self {
        match start {
            _ if start.starts_with(npy::NPY) => Format::Npy,
            _ if npy::ZIP.iter().any(|magic| start.starts_with(magic)) => Format::Npz,
            _ if PARQUET.iter().any(|magic| start.starts_with(magic)) => Format::Parquet,
            _ => Format::Csv,
        }
    }

    /// What a file's name says that it is, if that is no text.
    fn named(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?;
        let others = [Format::Npy, Format::Npz, Format::Parquet];
        others.into_iter().find(|format| format.name().eq_ignore_ascii_case(extension))
    }

    fn name(self) -> &'static str {
        match self {
            Format::Auto => "auto",
            Format::Csv => "CSV",
            Format::Npy => "NPY",
            Format::Npz => "NPZ",
            Format::Parquet => "Parquet",
        }
    }
}

/// What a Parquet file begins with, and one that is encrypted.
pub(super) const PARQUET: [&[u8]; 2] = [b"PAR1", b"PARE"];

/// What stands between the values of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Separator {
    /// The one of `,` `;` tab `|` that the first line has most of.
    #[default]
    Auto,
    /// This one.
    Is(u8),
}

/// What becomes of a sample of which a value is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Missing {
    /// It is an error, which says where.
    #[default]
    Refuse,
    /// It is left out. [`Dataset::dropped`] counts them.
    Drop,
    /// The mean of the training samples that have the value stands for it; a missing target is refused.
    Mean,
}

/// A file, and how it is read.
///
/// ```no_run
/// use tilegrad::data::Reader;
///
/// let (train, test) = Reader::new("houses.csv").target("price").read_split(0.2, 0)?;
/// # Ok::<(), tilegrad::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Reader {
    path: PathBuf,
    format: Format,
    separator: Separator,
    header: bool,
    missing: Missing,
    categorical: Vec<String>,
    target: Option<String>,
    features: Option<Vec<String>>,
    classes: bool,
}

impl Reader {
    /// Of the file at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Reader {
            path: path.into(),
            format: Format::Auto,
            separator: Separator::Auto,
            header: true,
            missing: Missing::Refuse,
            categorical: Vec::new(),
            target: None,
            features: None,
            classes: false,
        }
    }

    /// What kind of file it is: told from its contents if not set.
    pub fn format(mut self, format: Format) -> Self {
        self.format = format;
        self
    }

    /// What stands between the values of a line.
    pub fn separator(mut self, separator: Separator) -> Self {
        self.separator = separator;
        self
    }

    /// Whether the first line holds the columns' names, as it does if this is not set. Without, they are `c1`, `c2`, ….
    pub fn header(mut self, header: bool) -> Self {
        self.header = header;
        self
    }

    /// What becomes of a sample of which a value is missing: refused if not set.
    pub fn missing(mut self, missing: Missing) -> Self {
        self.missing = missing;
        self
    }

    /// Columns of text of which each level becomes a feature (one-hot).
    pub fn categorical(mut self, columns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.categorical = columns.into_iter().map(Into::into).collect();
        self
    }

    /// The column that is learned, and not a feature.
    pub fn target(mut self, column: impl Into<String>) -> Self {
        self.target = Some(column.into());
        self
    }

    /// The columns to learn from, in this order: all but the target if not set.
    pub fn features<I: IntoIterator<Item: ToString>>(mut self, columns: I) -> Self {
        self.features = Some(columns.into_iter().map(|column| column.to_string()).collect());
        self
    }

    /// Whether the target is one of several classes, be they text or numbers, and not a number to predict.
    pub fn classes(mut self, classes: bool) -> Self {
        self.classes = classes;
        self
    }

    /// Reads a data set.
    ///
    /// # Errors
    /// - [`Error::Setting`]: no target is set, or a separator that is part of numbers or text.
    /// - [`Error::File`]: the file cannot be read.
    /// - [`Error::Column`]: a column that is not there.
    /// - [`Error::Data`]: a file that is empty, has no rows or is not what it is taken for; a row of another length than the
    ///   first; a value that is missing, not a number, not finite or beyond `f32`, with its line and column, the first of
    ///   them in the file; a target among the features or a column that is listed twice; no features at all; where all
    ///   columns are asked for, columns without a name; more than 10 000 levels or classes; no memory.
    pub fn read(&self) -> Result<Dataset> {
        let (mut read, header) = self.encoded()?;
        if self.missing == Missing::Mean {
            let means = read.means(&header)?;
            read.fill(means);
        }
        read.into_dataset(self.target_name()?)
    }

    /// Reads a data set and shares its samples between training and a test: see [`Dataset::split`]. Levels and classes
    /// are those of all samples; means that stand for missing values are those of the training samples.
    ///
    /// # Errors
    /// As [`Reader::read`] and [`Dataset::split`].
    pub fn read_split(&self, test_share: f64, seed: u64) -> Result<(Dataset, Dataset)> {
        let (mut train, header) = self.encoded()?;
        let mut test = train.split(test_share, seed)?;
        if self.missing == Missing::Mean {
            let means = train.means(&header)?;
            train.fill(means.clone());
            test.fill(means);
        }
        let target = self.target_name()?;
        Ok((train.into_dataset(target)?, test.into_dataset(target)?))
    }

    /// Reads the columns of `encoding` into its features, to predict from. Other columns may hold anything.
    ///
    /// What the encoding has a value for may be missing; what else is missing is refused, whatever was set: each row has its
    /// prediction.
    ///
    /// # Errors
    /// As [`Reader::read`]; a level that the encoding does not have.
    pub fn read_with(&self, encoding: &Encoding) -> Result<Table> {
        let reader = Reader { target: None, missing: Missing::Refuse, ..self.clone() };
        let mut source = reader.open()?;
        let plan = reader.plan_with(source.header(), encoding, false)?;
        let vocabulary = Vocabulary::given(&plan, encoding, None);
        let mut read = all(&mut *source, &plan, vocabulary)?.encode(source.header())?;
        read.fill(encoding.clone());
        read.into_table()
    }

    /// Reads the columns of `encoding` into its features and the target beside them, to evaluate a model: with `classes`,
    /// the target is one of those, in their order.
    ///
    /// What the encoding has a value for may be missing.
    ///
    /// # Errors
    /// As [`Reader::read`]; a level that the encoding does not have, and a class that is none of `classes`.
    pub fn dataset_with(&self, encoding: &Encoding, classes: Option<&[String]>) -> Result<Dataset> {
        let mut source = self.open()?;
        let plan = self.plan_with(source.header(), encoding, classes.is_some())?;
        let vocabulary = Vocabulary::given(&plan, encoding, classes);
        let mut read = all(&mut *source, &plan, vocabulary)?.encode(source.header())?;
        read.fill(encoding.clone());
        read.into_dataset(self.target_name()?)
    }

    /// Goes through the file block by block, of `samples` samples each (the last may have fewer), so that it need not fit
    /// in memory.
    ///
    /// Where there are categories, classes or means to be filled in, they must be known before the first block, and
    /// the file is read once to find them.
    ///
    /// # Errors
    /// As [`Reader::read`]; a file that cannot be read twice (a pipe) where that is needed; no samples in a block.
    pub fn blocks(&self, samples: usize) -> Result<Blocks> {
        Blocks::new(self.clone(), samples)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn missing_policy(&self) -> Missing {
        self.missing
    }

    /// All rows, before missing values are filled in.
    fn encoded(&self) -> Result<(Encoded, Header)> {
        let mut source = self.open()?;
        let plan = self.plan(source.header())?;
        let rows = all(&mut *source, &plan, Vocabulary::growing(&plan))?;
        let header = source.header().clone();
        Ok((rows.encode(&header)?, header))
    }

    pub(super) fn target_name(&self) -> Result<&str> {
        self.target.as_deref().ok_or_else(|| {
            Error::Setting("no target is set: name the column that is to be learned".to_owned())
        })
    }

    /// Opens the file as what it is.
    pub(super) fn open(&self) -> Result<Box<dyn Source + Send>> {
        if let Separator::Is(separator) = self.separator
            && (separator.is_ascii_alphanumeric()
                || !separator.is_ascii()
                || b"\"\r\n .+-\0".contains(&separator))
        {
            return Err(Error::Setting(format!(
                "{:?} cannot separate values: it is part of numbers or of text; take a comma, a semicolon, a tab or |",
                char::from(separator)
            )));
        }
        let path = &self.path;
        let bytes = Bytes::open(path)?;
        let is = Format::of(&bytes.start);
        let wrong = |text: String| Err(Error::Data(format!("{}: {text}", path.display())));
        if self.format != Format::Auto && self.format != is {
            let (asked, is) = (self.format.name(), is.name());
            return wrong(format!(
                "it is to be read as {asked}, but is {is}: say so, or leave the format to be found"
            ));
        }
        if let (Format::Auto, Format::Csv, Some(named)) = (self.format, is, Format::named(path)) {
            let name = named.name();
            return wrong(format!(
                "it is named as {name}, but its contents are not: name it as what it is, or get it again"
            ));
        }
        Ok(match is {
            Format::Npy => Box::new(npy::Arrays::open_npy(path, bytes.file)?),
            Format::Npz => Box::new(npy::Arrays::open_npz(path, bytes.file)?),
            #[cfg(feature = "parquet")]
            Format::Parquet => Box::new(parquet::Groups::open(path, bytes.file)?),
            #[cfg(not(feature = "parquet"))]
            Format::Parquet => {
                return wrong(
                    "it is Parquet, which this tilegrad was built without: build it with `cargo build --release --features \
                     parquet`, or write the data as CSV or NPY"
                        .to_owned(),
                );
            }
            _ => Box::new(csv::File::open(path, Chunks::new(bytes), self.separator, self.header)?),
        })
    }

    /// What is asked of the columns, whose features are yet to be found.
    pub(super) fn plan(&self, header: &Header) -> Result<Plan> {
        let target = self.target_name()?;
        let column = header.column(target)?;
        let names = match &self.features {
            Some(names) => names.clone(),
            None => header.all_names_but(column)?,
        };
        if names.is_empty() {
            return Err(
                header.error(&format!("no features to learn from: the target {target:?} is the only column"))
            );
        }
        if names.iter().any(|name| name == target) {
            return Err(Error::Data(format!(
                "the target {target:?} is among the features: a model would only learn to copy it; leave it out of \
                 the features"
            )));
        }
        if let Some(name) = repeated(&names) {
            return Err(Error::Data(format!("the feature {name:?} is listed twice")));
        }
        if let Some(name) = self.categorical.iter().find(|name| !names.contains(name)) {
            header.column(name)?;
            let shown = quoted(name);
            return Err(Error::Setting(match name == target {
                true => {
                    format!("the target {shown} is listed as a category, which is for features: leave it out")
                }
                false => format!(
                    "the column {shown} is listed as a category, but is no feature: list it among both or none"
                ),
            }));
        }
        let mut picked = Vec::with_capacity(names.len() + 1);
        for name in names {
            let text = self.categorical.contains(&name);
            let (missing, purpose) = (self.missing, Purpose::Learn);
            picked.push(Picked { column: header.column(&name)?, name, text, missing, purpose });
        }
        picked.push(self.picked_target(target, column, self.classes));
        Ok(Plan { picked, target: true })
    }

    /// What is asked of the columns by an encoding.
    fn plan_with(&self, header: &Header, encoding: &Encoding, classes: bool) -> Result<Plan> {
        let mut picked = Vec::with_capacity(encoding.columns().len() + 1);
        for column in encoding.columns() {
            let (text, fill) = match column {
                Column::Number { fill, .. } => (false, fill.is_some()),
                Column::Category { fill, .. } => (true, fill.is_some()),
            };
            let missing = match self.missing {
                _ if fill => Missing::Mean,
                Missing::Mean => Missing::Refuse,
                other => other,
            };
            let name = column.name().to_owned();
            let purpose = Purpose::Predict;
            picked.push(Picked { column: header.column(&name)?, name, text, missing, purpose });
        }
        if let Some(name) = repeated(encoding.features()) {
            return Err(Error::Data(format!("the column {name:?} is listed twice")));
        }
        if let Some(target) = &self.target {
            picked.push(self.picked_target(target, header.column(target)?, classes));
        }
        Ok(Plan { picked, target: self.target.is_some() })
    }

    fn picked_target(&self, name: &str, column: usize, classes: bool) -> Picked {
        let missing = if self.missing == Missing::Drop { Missing::Drop } else { Missing::Refuse };
        Picked { column, name: name.to_owned(), text: classes, missing, purpose: Purpose::Target }
    }
}

#[cfg(test)]
impl Reader {
    /// The most values that room is made for while the columns of `encoding` are read, and how often room is made.
    pub(super) fn room(&self, encoding: &Encoding) -> (usize, usize) {
        let mut source = self.open().unwrap();
        let plan = self.plan_with(source.header(), encoding, false).unwrap();
        let mut rows = Rows::new(Vocabulary::given(&plan, encoding, None), Extent::File);
        let (mut room, mut grown) = (0, 0);
        while rows.read(&mut *source, &plan).unwrap() {
            if rows.capacity() > room {
                (room, grown) = (rows.capacity(), grown + 1);
            }
        }
        (room, grown)
    }
}

/// All rows of a file.
fn all(source: &mut (dyn Source + Send), plan: &Plan, vocabulary: Vocabulary) -> Result<Rows> {
    let mut rows = Rows::new(vocabulary, Extent::File);
    rows.read_all(source, plan)?;
    Ok(rows)
}
