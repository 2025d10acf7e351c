//! `tilegrad predict`.

use std::fmt::Write;
use std::path::PathBuf;

use clap::Args;
use tilegrad::data::{Output, Table};
use tilegrad::engine::{Choice, Engine, Job};
use tilegrad::models::FittedLinear;
use tilegrad::{Error, Result};

#[derive(Args)]
#[command(
    after_help = "The data must have the columns that the model was trained on, by name; their order does not matter,
and other columns, such as the target, are not looked at.

Examples:
  tilegrad predict --model price.safetensors --data new-houses.csv
  tilegrad predict --model price.safetensors --data new-houses.csv --out prices.csv --device cpu"
)]
pub(super) struct Options {
    /// Model file that `tilegrad train … --model` wrote
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    /// CSV file with the model's features
    #[arg(long, value_name = "FILE.csv")]
    data: PathBuf,
    /// Write the predictions to this CSV file [default: standard output]
    #[arg(long, value_name = "FILE.csv")]
    out: Option<PathBuf>,
    /// Where to compute: auto, loop, cpu, emulator, cuda or cuda:N. auto takes cuda if there is a usable GPU, else cpu
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: Choice,
}

impl Options {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let out = self.out.as_ref().map(Output::new).transpose()?;
        let inputs = [("these are the data", &self.data), ("this is the model", &self.model)];
        super::output::check(&inputs, out.as_ref().map(|out| ("the predictions", out)).as_slice())?;
        let model = FittedLinear::load(&self.model)?;
        let device = super::chosen(self.device)?;
        let table = Table::read_csv(&self.data, model.features()).map_err(|error| match error {
            Error::Column(text) => Error::Column(format!(
                "{text}; the model {} needs {}",
                self.model.display(),
                model.features().join(", ")
            )),
            other => other,
        })?;
        let predictions = device.run(Predict { model: &model, table: &table })?;
        let mut csv = "prediction\n".to_owned();
        for prediction in predictions {
            // The shortest digits that give the same number of 32 bits again.
            writeln!(csv, "{}", prediction as f32)?;
        }
        match out {
            Some(out) => Ok(out.write(csv.as_bytes())?),
            None => super::print(&csv),
        }
    }
}

/// Prediction, on any engine.
struct Predict<'a> {
    model: &'a FittedLinear,
    table: &'a Table,
}

impl Job for Predict<'_> {
    type Output = Vec<f64>;

    fn run<E: Engine>(self, engine: &E) -> Result<Vec<f64>> {
        self.model.predict(engine, self.table)
    }
}
