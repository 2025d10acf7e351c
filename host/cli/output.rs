//! Files that the command writes.

use std::path::PathBuf;

use tilegrad::data::Output;
use tilegrad::report::Format;
use tilegrad::{Error, Result};

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
