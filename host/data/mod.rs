//! Data: tables of numbers with named columns, from files, and files that are written whole or not at all.
//!
//! | type | holds |
//! |---|---|
//! | [`Table`] | the numbers of chosen columns, row-major |
//! | [`Dataset`] | a table of features and the target beside it: numbers, or classes |
//! | [`Reader`] | a file, and how it is read |
//! | [`Encoding`] | how a file's columns became features: part of a model |
//! | [`Output`] | a path that is checked before the work and written after it |

mod blocks;
mod cells;
mod chunks;
mod classes;
mod csv;
mod decimal;
mod encoding;
mod names;
mod npy;
mod output;
#[cfg(feature = "parquet")]
mod parquet;
mod plan;
mod reader;
mod split;

pub use blocks::{Blocks, BlocksIter};
pub use encoding::{Column, Encoding};
pub(crate) use output::Kept;
pub use output::Output;
pub use reader::{Format, Missing, Reader, Separator};
pub(crate) use split::{below, held_back, share_of};

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use names::listed;
use rayon::prelude::*;

use crate::{Error, Result};

/// The first of `names` that is there twice.
pub(crate) fn repeated(names: &[String]) -> Option<&String> {
    let mut seen = HashSet::new();
    names.iter().find(|name| !seen.insert(*name))
}

/// The first of `values` that is not finite. Pieces are looked at whole, which vectors do, all at a time.
fn not_finite(values: &[f32]) -> Option<usize> {
    const PIECE: usize = 1 << 16;
    // One more in the exponent reaches the sign's bit if all of its bits are set, as in what is not finite.
    let beyond = |value: &f32| (value.to_bits() & f32::INFINITY.to_bits()) + (1 << 23);
    let any = |values: &[f32]| values.iter().fold(0, |all, value| all | beyond(value)) >> 31 == 1;
    let piece = values.par_chunks(PIECE).position_first(any)?;
    values.iter().skip(piece * PIECE).position(|value| !value.is_finite()).map(|i| piece * PIECE + i)
}

/// Numbers in rows and named columns: samples × features, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    columns: Vec<String>,
    rows: usize,
    /// Shared with the engines that compute where they are.
    values: Arc<Vec<f32>>,
}

impl Table {
    /// A table of `values`, row by row: as many rows as there are values for.
    ///
    /// # Errors
    /// No columns, a name that is empty or there twice, values that do not fill the last row, a value that is not
    /// finite.
    ///
    /// ```
    /// use tilegrad::data::Table;
    ///
    /// let table = Table::new(vec!["width".into(), "height".into()], vec![1.0, 2.0, 3.0, 4.0])?;
    /// assert_eq!(table.rows(), 2);
    /// # Ok::<(), tilegrad::Error>(())
    /// ```
    pub fn new(columns: Vec<String>, values: Vec<f32>) -> Result<Self> {
        if columns.is_empty() {
            return Err(Error::Data("a table needs at least one column".to_owned()));
        }
        if let Some(j) = columns.iter().position(String::is_empty) {
            return Err(Error::Data(format!("column {} has no name", j + 1)));
        }
        if let Some(name) = repeated(&columns) {
            return Err(Error::Data(format!("there are two columns named {name:?}")));
        }
        if !values.len().is_multiple_of(columns.len()) {
            return Err(Error::Data(format!(
                "{} values do not fill rows of {} columns",
                values.len(),
                columns.len()
            )));
        }
        if let Some(i) = not_finite(&values) {
            return Err(Error::Data(format!(
                "row {}, column {:?}: {} is not a finite number",
                i / columns.len() + 1,
                columns[i % columns.len()],
                values[i]
            )));
        }
        let rows = values.len() / columns.len();
        Ok(Table { columns, rows, values: Arc::new(values) })
    }

    /// Reads the columns of numbers named `columns`, in that order: [`Reader::read_with`] with nothing else asked for.
    ///
    /// # Errors
    /// As [`Reader::read_with`].
    pub fn read_csv(path: impl AsRef<Path>, columns: &[String]) -> Result<Self> {
        Reader::new(path.as_ref()).read_with(&Encoding::numbers(columns))
    }

    /// The columns' names, in order.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The values, row by row: rows × columns.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The values for [`Engine::share`](crate::engine::Engine::share), which does not copy them where it need not.
    pub fn shared_values(&self) -> &Arc<Vec<f32>> {
        &self.values
    }
}

/// What a model is trained on: features (samples × features) and the target (one value a sample), a number or a class.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    features: Table,
    target: String,
    y: Vec<f32>,
    classes: Option<Vec<String>>,
    encoding: Encoding,
    dropped: usize,
}

impl Dataset {
    /// A data set of a table of features and the target's values, one for each row.
    ///
    /// # Errors
    /// No rows, another number of target values than of rows, a value that is not finite, or a target that has the
    /// name of a feature.
    ///
    /// ```
    /// use tilegrad::data::{Dataset, Table};
    ///
    /// let features = Table::new(vec!["hours".into()], vec![1.0, 2.0, 3.0])?;
    /// let dataset = Dataset::new(features, "marks", vec![20.0, 40.0, 60.0])?;
    /// assert_eq!(dataset.samples(), 3);
    /// # Ok::<(), tilegrad::Error>(())
    /// ```
    pub fn new(features: Table, target: impl Into<String>, y: Vec<f32>) -> Result<Self> {
        let target = target.into();
        if features.rows() == 0 {
            return Err(Error::Data("there are no samples to learn from".to_owned()));
        }
        if y.len() != features.rows() {
            return Err(Error::Data(format!("{} target values for {} samples", y.len(), features.rows())));
        }
        if let Some(i) = not_finite(&y) {
            return Err(Error::Data(format!(
                "row {}, target {target:?}: {} is not a finite number",
                i + 1,
                y[i]
            )));
        }
        if features.columns().contains(&target) {
            return Err(Error::Data(format!("the target {target:?} is among the features")));
        }
        let encoding = Encoding::numbers(features.columns());
        Ok(Dataset { features, target, y, classes: None, encoding, dropped: 0 })
    }

    /// A data set whose target is one of several classes, by their names. [`Dataset::classes`] says how they are numbered.
    ///
    /// # Errors
    /// As [`Dataset::new`]; and more than 10 000 classes.
    ///
    /// ```
    /// use tilegrad::data::{Dataset, Table};
    ///
    /// let features = Table::new(vec!["width".into()], vec![1.0, 2.0, 3.0])?;
    /// let dataset = Dataset::labelled(features, "kind", &["pear", "apple", "pear"])?;
    /// assert_eq!(dataset.classes(), Some(&["apple".to_owned(), "pear".to_owned()][..]));
    /// assert_eq!(dataset.y(), [1.0, 0.0, 1.0]);
    /// # Ok::<(), tilegrad::Error>(())
    /// ```
    pub fn labelled(features: Table, target: impl Into<String>, labels: &[impl AsRef<str>]) -> Result<Self> {
        let (y, classes) = classes::numbered(labels.iter().map(AsRef::as_ref))?;
        Ok(Dataset { classes: Some(classes), ..Dataset::new(features, target, y)? })
    }

    /// The same samples with the target's values taken for classes: each different number is one. A data set that has
    /// classes stays as it is.
    ///
    /// # Errors
    /// More than 10 000 different values.
    ///
    /// ```
    /// use tilegrad::data::{Dataset, Table};
    ///
    /// let features = Table::new(vec!["width".into()], vec![1.0, 2.0, 3.0])?;
    /// let dataset = Dataset::new(features, "kind", vec![5.0, 2.0, 5.0])?.with_classes()?;
    /// assert_eq!(dataset.classes(), Some(&["2".to_owned(), "5".to_owned()][..]));
    /// assert_eq!(dataset.y(), [1.0, 0.0, 1.0]);
    /// # Ok::<(), tilegrad::Error>(())
    /// ```
    pub fn with_classes(mut self) -> Result<Self> {
        if self.classes.is_none() {
            let (y, names) = classes::of_numbers(&self.y)?;
            (self.y, self.classes) = (y, Some(names));
        }
        Ok(self)
    }

    /// The same samples with `classes` as the names of the classes whose numbers, from 0, the target holds.
    ///
    /// # Errors
    /// A target that holds something else than their numbers, or a name that is there twice.
    pub fn with_class_names(mut self, classes: Vec<String>) -> Result<Self> {
        classes::check(&self.y, &classes)?;
        self.classes = Some(classes);
        Ok(self)
    }

    /// The same samples, whose features came of columns by `encoding`.
    ///
    /// # Errors
    /// An encoding with other features.
    pub fn with_encoding(mut self, encoding: Encoding) -> Result<Self> {
        if encoding.features() != self.features.columns() {
            return Err(Error::Data(format!(
                "the encoding gives the features {}, but these are {}",
                listed(encoding.features()),
                listed(self.features.columns())
            )));
        }
        self.encoding = encoding;
        Ok(self)
    }

    /// Shares the samples between training (the first) and a test (the second), which has round(`test_share` · samples)
    /// of them, but at least one, and not all.
    ///
    /// The samples of the test are the first of a shuffle (Durstenfeld's) by ChaCha8 with `seed`: the same on every
    /// platform. Both shares keep the order of the samples. Values that no other data set shares are not copied but for
    /// those of the test. Where missing values are to be filled in, use [`Reader::read_split`], which takes
    /// means of the training samples only.
    ///
    /// # Errors
    /// [`Error::Setting`]: a share that is not above 0 and below 1. [`Error::Data`]: fewer than two samples, or no
    /// memory.
    pub fn split(self, test_share: f64, seed: u64) -> Result<(Dataset, Dataset)> {
        let held = split::held_back(self.samples(), test_share, seed)?;
        let Dataset { features, target, mut y, classes, encoding, dropped } = self;
        let Table { columns, rows, values } = features;
        let mut values = Arc::unwrap_or_clone(values);
        let test_values = split::take_out(&mut values, columns.len(), &held)?;
        let test_y = split::take_out(&mut y, 1, &held)?;
        values.shrink_to_fit();
        let part = |values: Vec<f32>, y: Vec<f32>| {
            let features = Table { columns: columns.clone(), rows: y.len(), values: Arc::new(values) };
            let (target, classes, encoding) = (target.clone(), classes.clone(), encoding.clone());
            Dataset { features, target, y, classes, encoding, dropped }
        };
        debug_assert_eq!(y.len() + test_y.len(), rows);
        Ok((part(values, y), part(test_values, test_y)))
    }

    /// Reads the column `target`, and `features` or all other columns, all of numbers: [`Reader::read`] with nothing
    /// else asked for.
    ///
    /// # Errors
    /// As [`Reader::read`].
    pub fn read_csv(path: impl AsRef<Path>, target: &str, features: Option<&[String]>) -> Result<Self> {
        let reader = Reader::new(path.as_ref()).target(target);
        match features {
            Some(features) => reader.features(features).read(),
            None => reader.read(),
        }
    }

    /// The features: samples × features.
    pub fn features(&self) -> &Table {
        &self.features
    }

    /// The target's name.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The target's values, one for each sample: numbers, or the number of the class in [`Dataset::classes`].
    pub fn y(&self) -> &[f32] {
        &self.y
    }

    /// The names of the classes, if the target is one of several: sorted by number if all are numbers, else as text.
    /// Numbers that are equal (`1` and `1.0`) are one class.
    pub fn classes(&self) -> Option<&[String]> {
        self.classes.as_deref()
    }

    /// How the columns of the file became the features; of values in memory, columns of numbers.
    pub fn encoding(&self) -> &Encoding {
        &self.encoding
    }

    /// The number of samples.
    pub fn samples(&self) -> usize {
        self.y.len()
    }

    /// The rows of the file that were left out because a value is missing: see [`Missing::Drop`].
    pub fn dropped(&self) -> usize {
        self.dropped
    }
}
