//! The names of a file's columns, and names and fields as messages show them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// Names that a message lists before it only counts the rest.
const NAMES_LISTED: usize = 20;
/// Characters of a field that a message quotes.
const CHARACTERS_QUOTED: usize = 40;
/// Characters of a name that is compared with others: what that takes grows with their product.
const CHARACTERS_COMPARED: usize = 200;

/// A file's columns, and where it is.
#[derive(Clone, Debug)]
pub(super) struct Header {
    pub path: PathBuf,
    pub names: Vec<String>,
    by_name: HashMap<String, usize>,
    /// What may be the reason where a column is not there.
    pub hint: String,
    /// What a place in the file is called: "line" or "row".
    pub place: &'static str,
}

impl Header {
    /// Columns of these names; fails with the first that has the name of one before it. Columns without a name may be
    /// there, but cannot be asked for.
    pub(super) fn new(
        path: &Path,
        names: Vec<String>,
        place: &'static str,
    ) -> Result<Self, (usize, usize, String)> {
        let mut by_name = HashMap::new();
        for (j, name) in names.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
            if let Some(first) = by_name.insert(name.clone(), j) {
                return Err((first, j, name.clone()));
            }
        }
        Ok(Header { path: path.to_owned(), names, by_name, hint: String::new(), place })
    }

    /// `count` columns named `c1`, `c2`, ….
    pub(super) fn numbered(path: &Path, count: usize, place: &'static str) -> Self {
        let names: Vec<String> = (1..=count).map(|j| format!("c{j}")).collect();
        let by_name = names.iter().cloned().zip(0..).collect();
        Header { path: path.to_owned(), names, by_name, hint: String::new(), place }
    }

    /// The number of the column named `name`, from 0.
    pub(super) fn column(&self, name: &str) -> Result<usize> {
        self.by_name.get(name).copied().ok_or_else(|| {
            let mut text = format!("there is no column {}", quoted(name));
            if let Some(near) = nearest(name, self.by_name.keys()) {
                text += &format!(" (did you mean {}?)", quoted(near));
            }
            text += &format!("; the columns are: {}{}", listed(&self.names), self.hint);
            Error::Column(format!("{}: {text}", self.path.display()))
        })
    }

    /// The names of all columns but number `column`.
    pub(super) fn all_names_but(&self, column: usize) -> Result<Vec<String>> {
        let others = || self.names.iter().enumerate().filter(|(j, _)| *j != column);
        if let Some((j, _)) = others().find(|(_, name)| name.is_empty()) {
            return Err(self.error(&format!(
                "column {} has no name (an index that was written with the data?): name it, or list the features \
                 to learn from",
                j + 1
            )));
        }
        Ok(others().map(|(_, name)| name.clone()).collect())
    }

    /// What is wrong with the file's contents.
    pub(super) fn error(&self, problem: &str) -> Error {
        Error::Data(format!("{}: {problem}", self.path.display()))
    }
}

/// A text in quotation marks on one line, cut if it is long.
pub(super) fn quoted(text: &str) -> String {
    if text.chars().count() <= CHARACTERS_QUOTED {
        return format!("{text:?}");
    }
    let beginning: String = text.chars().take(CHARACTERS_QUOTED).collect();
    format!("{:?}", beginning + "…")
}

/// The names, with commas between them.
pub(super) fn listed(names: &[String]) -> String {
    let mut text = names.iter().take(NAMES_LISTED).map(|name| shown(name)).collect::<Vec<_>>().join(", ");
    if names.len() > NAMES_LISTED {
        text += &format!(", … ({} in all)", names.len());
    }
    text
}

/// A name as it is, or in quotation marks if it would not be clear where it ends.
fn shown(name: &str) -> String {
    let plain = !name.is_empty()
        && name.chars().count() <= CHARACTERS_QUOTED
        && name.chars().all(|c| !c.is_control() && !c.is_whitespace() && !"\",".contains(c));
    if plain { name.to_owned() } else { quoted(name) }
}

/// The name among `names` that `name` may have been meant to be.
pub(super) fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a String>) -> Option<&'a String> {
    const LIKENESS: f64 = 0.6;
    let short = |name: &str| name.chars().nth(CHARACTERS_COMPARED).is_none();
    let lower = name.to_lowercase();
    names
        .filter(|other| short(name) && short(other))
        .map(|other| (strsim::normalized_damerau_levenshtein(&lower, &other.to_lowercase()), other))
        .filter(|(likeness, _)| *likeness >= LIKENESS)
        .max_by(|one, other| one.0.total_cmp(&other.0).then(other.1.cmp(one.1)))
        .map(|(_, other)| other)
}
