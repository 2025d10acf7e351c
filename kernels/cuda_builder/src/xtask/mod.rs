//! The commands, and what they share.

pub mod bundle;
pub mod check;
pub mod kernels;
mod sass;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The error of a chore is for a person: what, where and the remedy, in one text.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The workspace's folder: cargo names this package's, two below.
pub fn workspace() -> Result<PathBuf> {
    let package = env::var_os("CARGO_MANIFEST_DIR").ok_or("run this as `cargo xtask`")?;
    Ok(fs::canonicalize(Path::new(&package).join("../.."))?)
}

/// cargo's target folder for the workspace.
pub fn target_folder(workspace: &Path) -> Result<PathBuf> {
    let metadata = run(cargo(workspace).args(["metadata", "--format-version=1", "--no-deps"]))?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata)?;
    let folder = metadata["target_directory"].as_str().ok_or("`cargo metadata` names no target folder")?;
    Ok(PathBuf::from(folder))
}

/// The cargo that runs this, in the workspace.
pub fn cargo(workspace: &Path) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace);
    command
}

/// Runs a command, its messages shown, and returns what it writes to its output.
pub fn run(command: &mut Command) -> Result<String> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cannot start {}: {error}", command.get_program().display()))?;
    if !output.status.success() {
        return Err(format!("{command:?} ended with {}", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}
