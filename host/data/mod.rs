//! Data: tables of numbers with named columns, from CSV files, and files that are written whole or not at all.
//!
//! | file | holds |
//! |---|---|
//! | [`Table`] | the numbers of chosen columns, row-major |
//! | [`Dataset`] | a table of features and the target beside it |
//! | [`Output`] | a path that is checked before the work and written after it |

mod csv;
mod output;

pub(crate) use output::Kept;
pub use output::Output;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use crate::{Error, Result};

/// The first of `names` that is there twice.
pub(crate) fn repeated(names: &[String]) -> Option<&String> {
    let mut seen = HashSet::new();
    names.iter().find(|name| !seen.insert(*name))
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
        if let Some(i) = values.iter().position(|value| !value.is_finite()) {
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

    /// Reads the columns named `columns`, in that order, from a CSV file whose first line names its columns. Other
    /// columns may hold anything.
    ///
    /// # Errors
    /// The file cannot be read, is empty or has no rows; a column that is not there or is asked for twice; a row of
    /// another length than the header's, or a value that is missing, not a number, not finite or beyond `f32`, with
    /// its line and column.
    pub fn read_csv(path: impl AsRef<Path>, columns: &[String]) -> Result<Self> {
        let mut file = csv::File::open(path.as_ref())?;
        let picked = columns.iter().map(|name| file.column(name)).collect::<Result<Vec<_>>>()?;
        let (values, _) = file.read(&picked, None)?;
        Table::new(columns.to_vec(), values)
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

/// What a model is trained on: features (samples × features) and the target (one value a sample).
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    features: Table,
    target: String,
    y: Vec<f32>,
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
        if let Some(i) = y.iter().position(|value| !value.is_finite()) {
            return Err(Error::Data(format!(
                "row {}, target {target:?}: {} is not a finite number",
                i + 1,
                y[i]
            )));
        }
        if features.columns().contains(&target) {
            return Err(Error::Data(format!("the target {target:?} is among the features")));
        }
        Ok(Dataset { features, target, y })
    }

    /// Reads a data set from a CSV file whose first line names its columns: the column `target`, and `features`, or
    /// all other columns if that is `None`.
    ///
    /// # Errors
    /// As [`Table::read_csv`]; besides a target among the features, no features at all, and, with `features` `None`,
    /// columns without a name.
    pub fn read_csv(path: impl AsRef<Path>, target: &str, features: Option<&[String]>) -> Result<Self> {
        let path = path.as_ref();
        let mut file = csv::File::open(path)?;
        let target_column = file.column(target)?;
        let names = match features {
            Some(names) => names.to_vec(),
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
        Dataset::new(Table::new(names, values)?, target, y)
    }

    /// The features: samples × features.
    pub fn features(&self) -> &Table {
        &self.features
    }

    /// The target's name.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The target's values, one for each sample.
    pub fn y(&self) -> &[f32] {
        &self.y
    }

    /// The number of samples.
    pub fn samples(&self) -> usize {
        self.y.len()
    }
}
