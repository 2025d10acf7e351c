//! `tilegrad predict`.

use std::fmt::Write;
use std::io;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use tilegrad::data::{Output, Table};
use tilegrad::engine::{Choice, Engine, Job};
use tilegrad::models::{Model, Predictions};
use tilegrad::{Error, Result};

use super::output;
use super::source::Source;

#[derive(Args)]
#[command(
    after_help = "The data must have the columns that the model was trained on, by name; their order does not matter,
and other columns, such as the target, are not looked at. Of a regression the one column is `prediction`; of a
classification that is the class, and a column `probability of CLASS` follows for each.

Examples:
  tilegrad predict --model price.safetensors --data new-houses.csv
  tilegrad predict --model price.safetensors --data new-houses.csv --out prices.csv --device cpu
  tilegrad predict --model digits.safetensors --data scans.csv --json"
)]
pub(super) struct Options {
    /// Model file that `tilegrad train … --model` wrote
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    #[command(flatten)]
    source: Source,
    /// Where to compute: auto, loop, cpu, emulator, cuda or cuda:N. auto takes cuda if there is a usable GPU, else cpu
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: Choice,
    /// Write the predictions to this CSV file [default: standard output]
    #[arg(long, value_name = "FILE.csv")]
    out: Option<PathBuf>,
    /// Print one JSON object in place of CSV; with --out, as well as it
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Summary<'a> {
    model: &'a str,
    device: String,
    target: &'a str,
    samples: usize,
    #[serde(flatten)]
    predicted: Predicted<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Predicted<'a> {
    Values { predictions: Vec<f32> },
    Classes { classes: &'a [String], predictions: Vec<&'a str>, probabilities: Vec<&'a [f64]> },
}

impl Options {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let out = self.out.as_ref().map(Output::new).transpose()?;
        let inputs = [("these are the data", &self.source.data), ("this is the model", &self.model)];
        output::check(&inputs, out.as_ref().map(|out| ("the predictions", out)).as_slice())?;
        let model = Model::load(&self.model)?;
        let device = super::chosen(self.device)?;
        let table = self.source.reader().read_with(model.encoding());
        let table = super::needed_by(table, &self.model, &model, None)?;
        let predictions = device.run(Predict { model: &model, table: &table })?;
        if let Some(out) = &out {
            match out.write(csv(&predictions).as_bytes()) {
                // The reader of a pipe has read enough, as one of standard output may.
                Err(Error::File { source, .. }) if source.kind() == io::ErrorKind::BrokenPipe => {}
                written => written?,
            }
        }
        if self.json {
            super::print_json(&Summary {
                model: model.kind(),
                device: device.to_string(),
                target: model.target(),
                samples: table.rows(),
                predicted: Predicted::from(&predictions),
            })
        } else if out.is_none() {
            super::print(&csv(&predictions))
        } else {
            Ok(())
        }
    }
}

impl<'a> From<&'a Predictions> for Predicted<'a> {
    fn from(predictions: &'a Predictions) -> Self {
        match predictions {
            Predictions::Values(values) => {
                Predicted::Values { predictions: values.iter().map(|&value| value as f32).collect() }
            }
            Predictions::Classes { classes, labels, probabilities } => Predicted::Classes {
                classes,
                predictions: labels.iter().map(|&label| classes[label].as_str()).collect(),
                probabilities: probabilities.chunks_exact(classes.len()).collect(),
            },
        }
    }
}

/// The predictions, a row each. Numbers have the shortest digits that give the same number of 32 bits again.
fn csv(predictions: &Predictions) -> String {
    let mut csv = "prediction".to_owned();
    match predictions {
        Predictions::Values(values) => {
            csv.push('\n');
            for &value in values {
                let _ = writeln!(csv, "{}", value as f32);
            }
        }
        Predictions::Classes { classes, labels, probabilities } => {
            for class in classes {
                let _ = write!(csv, ",{}", field(&format!("probability of {class}")));
            }
            csv.push('\n');
            for (&label, row) in labels.iter().zip(probabilities.chunks_exact(classes.len())) {
                csv.push_str(&field(&classes[label]));
                for &probability in row {
                    let _ = write!(csv, ",{}", probability as f32);
                }
                csv.push('\n');
            }
        }
    }
    csv
}

/// Text as a field of CSV: quoted where it must be.
fn field(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) || text.trim() != text || text.is_empty() {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

/// Prediction, on any engine.
struct Predict<'a> {
    model: &'a Model,
    table: &'a Table,
}

impl Job for Predict<'_> {
    type Output = Predictions;

    fn run<E: Engine>(self, engine: &E) -> Result<Predictions> {
        self.model.predict(engine, self.table)
    }
}
