//! `tilegrad evaluate`.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use tilegrad::data::Output;
use tilegrad::engine::Choice;
use tilegrad::models::Model;
use tilegrad::report::{Page, Picture};

use super::evaluation::{self, Evaluate, Measured};
use super::output;
use super::source::{MissingPolicy, Source};

#[derive(Args)]
#[command(
    after_help = "The data must have the columns that the model was trained on, and its target, by name. R², RMSE and MAE of a
regression; accuracy, log loss, confusion matrix and, of two classes, the area under the curve (AUC) of a classification.
Samples that the model was trained on say little of how good it is on others: hold some back with train … --test-share.

Examples:
  tilegrad evaluate --model price.safetensors --data sold-since.csv
  tilegrad evaluate --model price.safetensors --data sold-since.csv --plot predictions.svg --report price.html
  tilegrad evaluate --model digits.safetensors --data digits-test.csv --json"
)]
pub(super) struct Options {
    /// Model file that `tilegrad train … --model` wrote
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    #[command(flatten)]
    source: Source,
    /// What becomes of a sample of which a value is missing that the model has no mean for: refuse or drop
    #[arg(long, value_enum, value_name = "POLICY", default_value = "refuse", value_parser = missing)]
    missing: MissingPolicy,
    /// Where to compute: auto, loop, cpu, emulator, cuda or cuda:N. auto takes cuda if there is a usable GPU, else cpu
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: Choice,
    /// Draw predicted against actual values, or the confusion matrix, as SVG or PNG
    #[arg(long, value_name = "FILE.svg|png")]
    plot: Option<PathBuf>,
    /// Write a page with the metrics and the picture, which needs no other file
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// Print one JSON object in place of text
    #[arg(long)]
    json: bool,
}

fn missing(text: &str) -> Result<MissingPolicy, String> {
    match text {
        "refuse" => Ok(MissingPolicy::Refuse),
        "drop" => Ok(MissingPolicy::Drop),
        _ => Err("this is refuse or drop; means are those that the model was trained with".to_owned()),
    }
}

/// What `--json` prints.
#[derive(Serialize)]
struct Summary<'a> {
    model: &'a str,
    device: String,
    target: &'a str,
    dropped: usize,
    metrics: Measured<'a>,
}

impl Options {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let plot = self.plot.as_ref().map(output::picture).transpose()?;
        let report = self.report.as_ref().map(Output::new).transpose()?;
        let outputs =
            [("the plot", plot.as_ref().map(|(output, _)| output)), ("the report", report.as_ref())];
        let outputs: Vec<_> =
            outputs.into_iter().filter_map(|(name, output)| Some((name, output?))).collect();
        let inputs = [("these are the data", &self.source.data), ("this is the model", &self.model)];
        output::check(&inputs, &outputs)?;

        let model = Model::load(&self.model)?;
        let device = super::chosen(self.device)?;
        let reader = self.source.reader().target(model.target()).missing(self.missing.into());
        let dataset = reader.dataset_with(model.encoding(), model.classes());
        let dataset = super::needed_by(dataset, &self.model, &model, Some(model.target()))?;
        let predictions = plot.is_some() || report.is_some();
        let evaluation = device.run(Evaluate { model: &model, dataset: &dataset, predictions })?;

        let kind = output::kind(model.kind());
        let file = self.source.data.file_name().unwrap_or_default().to_string_lossy();
        let samples = format!("{file}, {}", super::count(evaluation.samples(), "sample"));
        let picture = evaluation.plot(&model, &samples);
        if let (Some((output, format)), Some(plot)) = (&plot, &picture) {
            let title = format!("{kind} of {}", model.target());
            output.write(&Picture::new(title, vec![plot.clone()]).bytes(*format)?)?;
        }
        if let Some(output) = &report {
            let mut page = Page::new(format!("{kind} of {}, evaluated", model.target()));
            page.section("Model and data").pairs([
                ("model", format!("{}: {kind}", self.model.display())),
                ("data", self.source.data.display().to_string()),
                ("samples left out, as a value is missing", dataset.dropped().to_string()),
                ("device", device.to_string()),
            ]);
            page.section("Metrics");
            evaluation::table(&mut page, &[(&*file, &evaluation)]);
            if let Some(plot) = picture {
                page.plot(plot)?;
            }
            output.write(page.html().as_bytes())?;
        }
        if self.json {
            return super::print_json(&Summary {
                model: model.kind(),
                device: device.to_string(),
                target: model.target(),
                dropped: dataset.dropped(),
                metrics: evaluation.measured(&model),
            });
        }
        let mut text =
            format!("{kind} of {}\n{}", evaluation::plain(model.target()), evaluation.line(&samples));
        text.push_str(&evaluation.matrix(model.classes().unwrap_or_default()));
        super::print(&text)
    }
}
