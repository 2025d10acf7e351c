//! Files that the command writes.

use std::path::PathBuf;

use clap::Args;
use tilegrad::data::Output;
use tilegrad::models::Checkpoints;
use tilegrad::report::Format;
use tilegrad::{Error, Result};

/// What training writes.
#[derive(Args)]
#[command(next_help_heading = "Output")]
pub(super) struct Outputs {
    /// Write the model to this file, for `tilegrad predict` and `tilegrad evaluate`
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Write the cost before each step, and after the last, to this CSV file; with mini-batches, for each epoch the mean of
    /// the costs of its batches before their steps
    #[arg(long, value_name = "FILE.csv")]
    history: Option<PathBuf>,
    /// Draw the cost's history, and predicted against actual values or the confusion matrix, as SVG or PNG
    #[arg(long, value_name = "FILE.svg|png")]
    plot: Option<PathBuf>,
    /// Write a page with settings, data, metrics and pictures, which needs no other file
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// Write checkpoints to this file: before the first step, every so often, and after the last
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Option<PathBuf>,
    /// Steps from one checkpoint to the next: at least 1 [default: about 10 seconds]
    #[arg(long, value_name = "N", requires = "checkpoint", value_parser = super::at_least_1, allow_hyphen_values = true)]
    every: Option<usize>,
    /// Go on from the checkpoint if there is one, else begin
    #[arg(long, requires = "checkpoint")]
    resume: bool,
    /// Print one JSON object in place of text
    #[arg(long)]
    pub json: bool,
}

/// The files of [`Outputs`], checked.
pub(super) struct Files {
    pub model: Option<Output>,
    pub history: Option<Output>,
    pub plot: Option<(Output, Format)>,
    pub report: Option<Output>,
}

impl Files {
    /// Whether there are pictures to draw.
    pub(super) fn pictures(&self) -> bool {
        self.plot.is_some() || self.report.is_some()
    }
}

impl Outputs {
    /// Checks that all can be written, over none of `inputs` and none over another.
    pub(super) fn files(&self, inputs: &[(&str, &PathBuf)]) -> Result<Files> {
        let output = |path: &Option<PathBuf>| path.as_ref().map(Output::new).transpose();
        let files = Files {
            model: output(&self.model)?,
            history: output(&self.history)?,
            plot: self.plot.as_ref().map(picture).transpose()?,
            report: output(&self.report)?,
        };
        let checkpoint = output(&self.checkpoint)?;
        let outputs = [
            ("the model", files.model.as_ref()),
            ("the history", files.history.as_ref()),
            ("the plot", files.plot.as_ref().map(|(output, _)| output)),
            ("the report", files.report.as_ref()),
            ("the checkpoint", checkpoint.as_ref()),
        ];
        let outputs: Vec<_> =
            outputs.into_iter().filter_map(|(name, output)| Some((name, output?))).collect();
        check(inputs, &outputs)?;
        Ok(files)
    }

    /// The checkpoints that were asked for; says if there are none to go on from.
    pub(super) fn checkpoints(&self) -> Result<Option<Checkpoints>> {
        let Some(path) = &self.checkpoint else { return Ok(None) };
        let (file, output) = (path.display(), Output::new(path)?);
        let mut checkpoints =
            if self.resume { Checkpoints::resume(output)? } else { Checkpoints::begin(output)? };
        if let Some(every) = self.every {
            checkpoints = checkpoints.every(every);
        }
        if self.resume && checkpoints.found().is_none() {
            super::note(&format!("resume: there is no file {file} yet: beginning"));
        }
        Ok(Some(checkpoints))
    }

    /// What to say once training goes on from the checkpoint, which it may yet refuse.
    pub(super) fn resumed(&self, checkpoints: &Checkpoints) -> Option<String> {
        let (file, found) = (self.checkpoint.as_ref()?.display(), checkpoints.found()?);
        Some(format!("resume: {file} is of iteration {}: going on from there", found.iteration()))
    }
}

/// A path that a picture can be written to, and what kind it asks for.
pub(super) fn picture(path: &PathBuf) -> Result<(Output, Format)> {
    let format = Format::of(path)?;
    Ok((Output::new(path)?, format))
}

/// Refuses outputs that are an input ("these are the data") or another output ("the model").
pub(super) fn check(inputs: &[(&str, &PathBuf)], outputs: &[(&str, &Output)]) -> Result<()> {
    for (i, (name, output)) in outputs.iter().enumerate() {
        let refuse = |problem| Err(Error::Output { path: output.path().to_owned(), problem });
        if let Some((input, _)) = inputs.iter().find(|(_, path)| output.is_same_file(path)) {
            return refuse(format!("{input}, which would be lost: choose another name"));
        }
        if let Some((other, _)) = outputs[i + 1..].iter().find(|(_, other)| output.is_same_file(other.path()))
        {
            return refuse(format!("{name} and {other} cannot go to the same file"));
        }
    }
    Ok(())
}

/// What a kind of model is called.
pub(super) fn kind(kind: &str) -> &str {
    match kind {
        "linear" => "linear regression",
        "logistic" => "logistic regression",
        "network" => "dense network",
        other => other,
    }
}
