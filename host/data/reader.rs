//! A file, and how it is read.

use std::path::PathBuf;

use super::{Column, Dataset, Encoding, Table, csv, repeated};
use crate::{Error, Result};

/// What kind of file it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// Told from its contents.
    #[default]
    Auto,
    /// Text, a sample a line, with separators between its values.
    Csv,
}

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
    /// The file cannot be read, is empty or has no rows; a column that is not there or is asked for twice; a row of
    /// another length than the header's, or a value that is missing, not a number, not finite or beyond `f32`, with
    /// its line and column; a target among the features, no features at all, and, where all columns are asked for, columns without
    /// a name.
    pub fn read(&self) -> Result<Dataset> {
        let (path, target) = (&self.path, self.target.as_deref().unwrap_or_default());
        let mut file = csv::File::open(path)?;
        let target_column = file.column(target)?;
        let names = match &self.features {
            Some(names) => names.clone(),
            None => file.all_names_but(target_column)?,
        };
        if names.is_empty() {
            return Err(Error::Data(format!(
                "{}: no features to learn from: the target {target:?} is the only column",
                path.display()
            )));
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
        let picked = names.iter().map(|name| file.column(name)).collect::<Result<Vec<_>>>()?;
        let (values, y) = file.read(&picked, Some(target_column))?;
        let dataset = Dataset::new(Table::new(names, values)?, target, y)?;
        if self.classes { dataset.with_classes() } else { Ok(dataset) }
    }

    /// Reads a data set and shares its samples between training and a test: see [`Dataset::split`]. Means that stand for
    /// missing values are those of the training samples.
    ///
    /// # Errors
    /// As [`Reader::read`] and [`Dataset::split`].
    pub fn read_split(&self, test_share: f64, seed: u64) -> Result<(Dataset, Dataset)> {
        self.read()?.split(test_share, seed)
    }

    /// Reads the columns of `encoding` into its features, to predict from. Other columns may hold anything.
    ///
    /// # Errors
    /// As [`Reader::read`].
    pub fn read_with(&self, encoding: &Encoding) -> Result<Table> {
        let mut file = csv::File::open(&self.path)?;
        let names = encoding.columns().iter().map(Column::name);
        let picked = names.map(|name| file.column(name)).collect::<Result<Vec<_>>>()?;
        let (values, _) = file.read(&picked, None)?;
        Table::new(encoding.features().to_vec(), values)
    }

    /// Reads the columns of `encoding` into its features and the target beside them, to evaluate a model: with `classes`,
    /// those that the model knows, in their order.
    ///
    /// # Errors
    /// As [`Reader::read`]; a class that is none of `classes`.
    pub fn dataset_with(&self, encoding: &Encoding, classes: Option<&[String]>) -> Result<Dataset> {
        let names = encoding.columns().iter().map(|column| column.name().to_owned());
        let dataset = self.clone().features(names).classes(classes.is_some()).read()?;
        dataset.with_encoding(encoding.clone())
    }
}
