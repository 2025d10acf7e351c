//! The data that a command reads: which file, how, and what of it.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use tilegrad::Result;
use tilegrad::data::{Blocks, Dataset, Format, Missing, Reader, Separator};

/// Samples of a block: 1000 features take 64 MiB.
const BLOCK: usize = 16_384;

/// The most samples that are shuffled together, and the most values of features in them (64 MiB), where that is not said.
const SHUFFLED: (usize, usize) = (65_536, 1 << 24);

/// How many samples with so many features are shuffled together if they come block by block: at least a batch.
pub(super) fn shuffle_buffer(features: usize, batch: usize) -> usize {
    let (samples, values) = SHUFFLED;
    samples.min(values / features.max(1)).max(batch)
}

/// A file, and how it is read.
#[derive(Args)]
#[command(next_help_heading = "Data")]
pub(super) struct Source {
    /// File with a sample in each row, whose first row names the columns
    #[arg(long, value_name = "FILE")]
    pub data: PathBuf,
    /// What kind of file it is; auto tells it from its contents. Parquet is read by a build with the feature of that name
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "auto")]
    format: FormatName,
    /// What separates the values of a CSV file: auto (the one of , ; tab and | that the first line has most of) or one
    /// character, or tab
    #[arg(long, value_name = "CHAR", default_value = "auto", value_parser = separator)]
    separator: Separator,
    /// The first row is a sample: columns are named c1, c2, …
    #[arg(long)]
    no_header: bool,
}

/// [`Format`] on the command line.
#[derive(Clone, Copy, ValueEnum)]
enum FormatName {
    Auto,
    Csv,
    Npy,
    Npz,
    Parquet,
}

/// [`Missing`] on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum MissingPolicy {
    /// It is an error, which says where
    Refuse,
    /// The sample is left out
    Drop,
    /// The mean of the training samples stands for it
    Mean,
}

fn separator(text: &str) -> Result<Separator, String> {
    match text {
        "auto" => Ok(Separator::Auto),
        "tab" | "\\t" => Ok(Separator::Is(b'\t')),
        _ => match text.as_bytes() {
            [byte] => Ok(Separator::Is(*byte)),
            _ => Err("a separator is one ASCII character such as , or ; or the word tab, or auto".to_owned()),
        },
    }
}

impl Source {
    pub(super) fn reader(&self) -> Reader {
        let format = match self.format {
            FormatName::Auto => Format::Auto,
            FormatName::Csv => Format::Csv,
            FormatName::Npy => Format::Npy,
            FormatName::Npz => Format::Npz,
            FormatName::Parquet => Format::Parquet,
        };
        Reader::new(&self.data).format(format).separator(self.separator).header(!self.no_header)
    }
}

impl From<MissingPolicy> for Missing {
    fn from(policy: MissingPolicy) -> Self {
        match policy {
            MissingPolicy::Refuse => Missing::Refuse,
            MissingPolicy::Drop => Missing::Drop,
            MissingPolicy::Mean => Missing::Mean,
        }
    }
}

/// What a model learns from.
#[derive(Args)]
#[command(next_help_heading = "Data")]
pub(super) struct Lesson {
    #[command(flatten)]
    pub source: Source,
    /// Column to predict
    #[arg(long, value_name = "COLUMN")]
    pub target: String,
    /// Columns to predict from, separated by commas; a name with a comma in double quotes [default: all but the target]
    #[arg(long, value_name = "A,B,…")]
    pub features: Option<Vec<String>>,
    /// Columns of text, separated by commas: each of its values becomes a feature that is 1 or 0
    #[arg(long, value_name = "A,B,…")]
    categorical: Vec<String>,
    /// What becomes of a sample of which a value is missing (empty, or NA): refuse is an error that says where; drop
    /// leaves it out; mean takes the mean of the training samples
    #[arg(long, value_enum, value_name = "POLICY", default_value = "refuse", hide_possible_values = true)]
    pub missing: MissingPolicy,
    /// Hold back this share of the samples, above 0 and below 1, and evaluate the model on them
    #[arg(long, value_name = "SHARE", allow_hyphen_values = true, value_parser = share)]
    pub test_share: Option<f64>,
    /// Decides which samples are held back, their order in mini-batches, and a network's first weights
    #[arg(long, value_name = "N", default_value = "0", value_parser = seed, allow_hyphen_values = true)]
    pub seed: u64,
    /// Go through the file block by block, for files larger than memory: in one pass for linear regression without
    /// mini-batches, else once for each epoch
    #[arg(long)]
    pub stream: bool,
}

/// A share of the samples.
pub(super) fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if share > 0.0 && share < 1.0 => Ok(share),
        _ => Err("a share is a number above 0 and below 1, such as 0.2".to_owned()),
    }
}

fn seed(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("a seed is a whole number from 0 to {}", u64::MAX))
}

/// The names in the lists that an option was given, which may have spaces after their commas.
pub(super) fn names(lists: &[String]) -> Vec<String> {
    lists.iter().flat_map(|list| split(list)).collect()
}

/// What stands between commas; what is in double quotes may have commas, and doubled quotes.
fn split(list: &str) -> Vec<String> {
    let mut names = vec![String::new()];
    let (mut quoted, mut characters) = (false, list.chars().peekable());
    while let Some(character) = characters.next() {
        let name = names.last_mut().expect("there is one from the beginning");
        match character {
            ',' if !quoted => names.push(String::new()),
            '"' if quoted && characters.next_if_eq(&'"').is_none() => quoted = false,
            '"' if !quoted && name.trim().is_empty() => quoted = true,
            other => name.push(other),
        }
    }
    names.iter().map(|name| name.trim().to_owned()).collect()
}

/// The samples to train on, and those that were held back.
pub(super) struct Shares {
    pub train: Dataset,
    pub test: Option<Dataset>,
}

impl Lesson {
    /// How the file is read: with `classes`, the target is one of several.
    pub(super) fn reader(&self, classes: bool) -> Reader {
        let reader = self.source.reader().target(self.target.trim()).classes(classes);
        let reader = reader.missing(self.missing.into()).categorical(names(&self.categorical));
        match &self.features {
            Some(features) => reader.features(names(features)),
            None => reader,
        }
    }

    /// The file, to be gone through block by block: with `classes`, the target is one of several.
    pub(super) fn blocks(&self, classes: bool) -> Result<Blocks> {
        self.reader(classes).blocks(BLOCK)
    }

    /// Reads the file.
    pub(super) fn read(&self, classes: bool) -> Result<Shares> {
        let reader = self.reader(classes);
        match self.test_share {
            None => Ok(Shares { train: reader.read()?, test: None }),
            Some(share) => {
                let (train, test) = reader.read_split(share, self.seed)?;
                Ok(Shares { train, test: Some(test) })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn a_name_may_hold_a_comma_if_it_is_quoted() {
        let cases: [(&str, &[&str]); 9] = [
            ("a", &["a"]),
            ("a, b ,c", &["a", "b", "c"]),
            ("\"a,1\",b", &["a,1", "b"]),
            ("b, \"a,1\"", &["b", "a,1"]),
            ("\"q\"\"x\",b", &["q\"x", "b"]),
            ("q\"x,b", &["q\"x", "b"]),
            ("\"a,1", &["a,1"]),
            ("", &[""]),
            ("a,", &["a", ""]),
        ];
        for (list, names) in cases {
            assert_eq!(split(list), names, "{list}");
        }
    }
}
