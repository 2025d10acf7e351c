//! How the columns of a file become features.

use serde::{Deserialize, Serialize};

use super::names::{listed, quoted};
use super::repeated;
use crate::{Error, Result};

/// One column of a file, and the features that it becomes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Column {
    /// Numbers: one feature, of the column's name.
    Number {
        /// The column's name.
        name: String,
        /// What stands for a missing value: the mean of the training samples'. `None`: a missing value is refused.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fill: Option<f64>,
    },
    /// Text of which there are few: one feature `name=level` for each level, 1 where the text is that level, else 0.
    Category {
        /// The column's name.
        name: String,
        /// The levels, sorted as text and none twice.
        levels: Vec<String>,
        /// What stands for a missing value: the share of each level among the training samples, which is the mean of
        /// its feature. `None`: a missing value is refused.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fill: Option<Vec<f64>>,
    },
}

impl Column {
    /// The column's name in the file.
    pub fn name(&self) -> &str {
        match self {
            Column::Number { name, .. } | Column::Category { name, .. } => name,
        }
    }

    /// The number of features that it becomes.
    pub fn width(&self) -> usize {
        match self {
            Column::Number { .. } => 1,
            Column::Category { levels, .. } => levels.len(),
        }
    }

    /// The column with these values for missing ones, one for each of its features.
    pub(super) fn filled(self, fills: &[f32]) -> Self {
        match self {
            Column::Number { name, .. } => Column::Number { name, fill: Some(f64::from(fills[0])) },
            Column::Category { name, levels, .. } => {
                Column::Category { name, levels, fill: Some(fills.iter().map(|&fill| fill.into()).collect()) }
            }
        }
    }

    fn features(&self) -> Vec<String> {
        match self {
            Column::Number { name, .. } => vec![name.clone()],
            Column::Category { name, levels, .. } => {
                levels.iter().map(|level| format!("{name}={level}")).collect()
            }
        }
    }

    fn problem(&self) -> Option<String> {
        let finite = |fill: &f64| (*fill as f32).is_finite();
        let (name, wrong) = match self {
            Column::Number { name, fill } => (
                name,
                (!fill.iter().all(finite))
                    .then(|| "stands for a missing number with no finite one".to_owned()),
            ),
            Column::Category { name, levels, fill } => {
                let wrong = if levels.is_empty() {
                    Some("has no levels".to_owned())
                } else if !levels.is_sorted_by(|one, next| one < next) {
                    Some("has levels that are not sorted, or are there twice".to_owned())
                } else {
                    fill.as_ref().filter(|fill| fill.len() != levels.len() || !fill.iter().all(finite)).map(
                        |fill| {
                            format!("has {} levels, but {} finite shares of them", levels.len(), fill.len())
                        },
                    )
                };
                (name, wrong)
            }
        };
        if name.is_empty() {
            return Some("a column has no name".to_owned());
        }
        wrong.map(|wrong| format!("the column {} {wrong}", quoted(name)))
    }
}

/// How the columns of a file become features: part of a model, so that what it is asked to predict becomes numbers as
/// what it learned from did.
///
/// Columns are in the order of their features. As JSON it is the list of its columns.
///
/// ```
/// use tilegrad::data::{Column, Encoding};
///
/// let levels = vec!["blue".to_owned(), "red".to_owned()];
/// let encoding = Encoding::new(vec![
///     Column::Number { name: "size".into(), fill: None },
///     Column::Category { name: "colour".into(), levels, fill: None },
/// ])?;
/// assert_eq!(encoding.features(), ["size", "colour=blue", "colour=red"]);
/// # Ok::<(), tilegrad::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Column>", into = "Vec<Column>")]
pub struct Encoding {
    columns: Vec<Column>,
    features: Vec<String>,
}

impl Encoding {
    /// An encoding of `columns`.
    ///
    /// # Errors
    /// [`Error::Data`]: no columns; a name that is empty; two features of one name; levels that are none, not sorted or
    /// there twice; values for missing ones that are not finite (in `f32`) or not one for each feature.
    pub fn new(columns: Vec<Column>) -> Result<Self> {
        if columns.is_empty() {
            return Err(Error::Data("no columns to learn from".to_owned()));
        }
        if let Some(problem) = columns.iter().find_map(Column::problem) {
            return Err(Error::Data(problem));
        }
        let features: Vec<String> = columns.iter().flat_map(Column::features).collect();
        let names: Vec<String> = columns.iter().map(|column| column.name().to_owned()).collect();
        if let Some(name) = repeated(&names).or_else(|| repeated(&features)) {
            return Err(Error::Data(format!("there are two features named {}", quoted(name))));
        }
        Ok(Encoding { columns, features })
    }

    /// Columns of numbers of these names, which are not empty and none twice, without values for missing ones.
    pub(crate) fn numbers(names: &[String]) -> Self {
        let columns = names.iter().map(|name| Column::Number { name: name.clone(), fill: None }).collect();
        Encoding { columns, features: names.to_vec() }
    }

    /// The columns, in the order of their features.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The features' names, in order: `column` for numbers, `column=level` for each level of a category.
    pub fn features(&self) -> &[String] {
        &self.features
    }
}

impl TryFrom<Vec<Column>> for Encoding {
    type Error = Error;

    fn try_from(columns: Vec<Column>) -> Result<Self> {
        Encoding::new(columns)
    }
}

impl From<Encoding> for Vec<Column> {
    fn from(encoding: Encoding) -> Self {
        encoding.columns
    }
}

/// What is said of a text that is none of `known`.
pub(super) fn unknown(text: &str, known: &[String]) -> String {
    format!("{} is unknown: those learned from are {}", quoted(text), listed(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn category(levels: &[&str], fill: Option<Vec<f64>>) -> Column {
        Column::Category { name: "c".into(), levels: levels.iter().map(ToString::to_string).collect(), fill }
    }

    #[test]
    fn json_brings_back_the_same() {
        let columns = vec![
            Column::Number { name: "a".into(), fill: Some(f64::from(0.1_f32)) },
            category(&["x", "y"], Some(vec![0.25, 0.75])),
            Column::Number { name: "b".into(), fill: None },
        ];
        let encoding = Encoding::new(columns).unwrap();
        let text = serde_json::to_string(&encoding).unwrap();
        assert_eq!(serde_json::from_str::<Encoding>(&text).unwrap(), encoding);
        assert!(text.starts_with(r#"[{"kind":"number","name":"a","fill":0.1"#), "{text}");
    }

    #[test]
    fn what_does_not_hold_together_is_refused() {
        let number = |name: &str| Column::Number { name: name.into(), fill: None };
        for (columns, problem) in [
            (vec![], "no columns"),
            (vec![number("")], "a column has no name"),
            (vec![number("a"), number("a")], "two features named \"a\""),
            (vec![category(&["x"], None), number("c=x")], "two features named \"c=x\""),
            (vec![category(&[], None)], "the column \"c\" has no levels"),
            (vec![category(&["y", "x"], None)], "not sorted"),
            (vec![category(&["x", "x"], None)], "not sorted, or are there twice"),
            (vec![category(&["x", "y"], Some(vec![1.0]))], "2 levels, but 1"),
            (vec![Column::Number { name: "a".into(), fill: Some(1e39) }], "no finite one"),
        ] {
            let json = serde_json::to_string(&columns).unwrap();
            let text = Encoding::new(columns).unwrap_err().to_string();
            assert!(text.contains(problem), "{text}");
            assert!(serde_json::from_str::<Encoding>(&json).is_err());
        }
    }
}
