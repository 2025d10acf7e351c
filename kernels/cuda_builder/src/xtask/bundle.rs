//! `cargo xtask bundle`: what a GPU machine without Rust needs.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Result, cargo, run, target_folder, workspace};

/// The tests that make sense where there is a GPU: the others test the command's errors and the compiler's.
const TESTS: [&str; 4] = ["kernels", "engines", "determinism", "checkpoint"];

/// The script that runs everything in the bundle.
const SCRIPT: &str = include_str!("run.sh");

/// A bundle stays small enough to be copied in seconds; one that grows past this holds what it should not.
const MOST_BYTES: u64 = 64 << 20;

/// What is in a bundle.
#[derive(Serialize)]
struct Contents {
    /// The commit that it was built from.
    commit: String,
    /// Whether files differed from that commit.
    modified: bool,
    /// The compiler of the host's part.
    rustc: String,
    /// Everything but this list.
    files: Vec<File>,
}

#[derive(Serialize)]
struct File {
    path: String,
    bytes: u64,
    sha256: String,
}

/// Builds, strips and collects.
pub fn bundle() -> Result<()> {
    let workspace = workspace()?;
    let target = target_folder(&workspace)?;
    let new = target.join("bundle.new");
    if new.exists() {
        fs::remove_dir_all(&new)?;
    }
    fs::create_dir_all(&new)?;

    let build = ["build", "--release", "--package=tilegrad", "--bins"];
    for (name, program) in executables(&workspace, &build)? {
        place(&program, &new.join("bin").join(name))?;
    }
    let mut build = vec!["test", "--release", "--no-run", "--package=tilegrad"];
    for test in TESTS {
        build.extend(["--test", test]);
    }
    for (name, program) in
        executables(&workspace, &build)?.into_iter().filter(|(name, _)| TESTS.contains(&&**name))
    {
        place(&program, &new.join("bin/tests").join(name))?;
    }
    if has_benches(&workspace)? {
        let build = ["bench", "--no-run", "--package=tilegrad", "--bench=*"];
        for (name, program) in
            executables(&workspace, &build)?.into_iter().filter(|(name, _)| name != "tilegrad")
        {
            place(&program, &new.join("bin/benches").join(name))?;
        }
    }
    copy(&workspace.join("tests/data"), &new.join("tests/data"))?;
    write_script(&new.join("run.sh"))?;

    let mut files = Vec::new();
    list(&new, "", &mut files)?;
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let bytes: u64 = files.iter().map(|file| file.bytes).sum();
    if bytes > MOST_BYTES {
        return Err(format!(
            "the bundle has {bytes} bytes, more than {MOST_BYTES}: what in it is not needed?"
        )
        .into());
    }
    let (commit, modified) = commit(&workspace);
    let rustc = run(Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())).arg("--version"))?;
    let contents = Contents { commit, modified, rustc: rustc.trim_end().to_string(), files };
    fs::write(new.join("manifest.json"), serde_json::to_string_pretty(&contents)? + "\n")?;

    let bundle = target.join("bundle");
    if bundle.exists() {
        fs::remove_dir_all(&bundle)?;
    }
    fs::rename(&new, &bundle)?;
    println!(
        "{}: {} files, {:.1} MiB",
        bundle.display(),
        contents.files.len(),
        bytes as f64 / f64::from(1 << 20)
    );
    Ok(())
}

/// Runs cargo and returns the executables of the root package that it says it made, by the names of their targets.
fn executables(workspace: &Path, arguments: &[&str]) -> Result<Vec<(String, PathBuf)>> {
    let said = run(cargo(workspace).args(arguments).arg("--message-format=json-render-diagnostics"))?;
    let mut executables = Vec::new();
    for line in said.lines().filter(|line| line.starts_with('{')) {
        let message: Value = serde_json::from_str(line)?;
        if let (Some(name), Some(program)) =
            (message["target"]["name"].as_str(), message["executable"].as_str())
        {
            executables.push((name.to_string(), PathBuf::from(program)));
        }
    }
    Ok(executables)
}

fn has_benches(workspace: &Path) -> Result<bool> {
    let metadata = run(cargo(workspace).args(["metadata", "--format-version=1", "--no-deps"]))?;
    let metadata: Value = serde_json::from_str(&metadata)?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let mut targets = packages
        .filter(|package| package["name"] == "tilegrad")
        .flat_map(|package| package["targets"].as_array().into_iter().flatten());
    Ok(targets.any(|target| target["kind"][0] == "bench"))
}

/// Copies an executable without its symbols.
fn place(from: &Path, to: &Path) -> Result<()> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::copy(from, to)?;
    run(Command::new("strip").arg(to))
        .map_err(|error| format!("{error} (`strip` comes with the linker, in binutils)"))?;
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}

fn write_script(path: &Path) -> Result<()> {
    fs::write(path, SCRIPT)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

fn list(root: &Path, folder: &str, files: &mut Vec<File>) -> Result<()> {
    for entry in fs::read_dir(root.join(folder))? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_str().ok_or_else(|| format!("the name {name:?} is not Unicode"))?;
        let path = if folder.is_empty() { name.to_string() } else { format!("{folder}/{name}") };
        if entry.file_type()?.is_dir() {
            list(root, &path, files)?;
        } else {
            let contents = fs::read(entry.path())?;
            let sha256 = Sha256::digest(&contents).iter().map(|byte| format!("{byte:02x}")).collect();
            files.push(File { path, bytes: contents.len() as u64, sha256 });
        }
    }
    Ok(())
}

/// The commit that is checked out, and whether files differ from it.
fn commit(workspace: &Path) -> (String, bool) {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").current_dir(workspace).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_string())
    };
    let commit = git(&["rev-parse", "HEAD"]).unwrap_or_else(|| "unknown: not in a git checkout".to_string());
    (commit, git(&["status", "--porcelain"]).is_none_or(|changes| !changes.is_empty()))
}
