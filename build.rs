//! Puts the kernels' PTX into the library, as constants in `OUT_DIR/ptx.rs`.

use std::env;
use std::fmt::Write;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use cuda_builder::{
    ARCHITECTURES, COMPILER_VARIABLE, Choice, Error, PTX_VARIABLE, Prepared, Search, prepare, sources,
};

/// The crate of the kernels, in the package's folder, where build scripts run.
const KERNELS: &str = "kernels";

fn main() -> ExitCode {
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    watch();
    match ptx(&out).and_then(|prepared| write(&out, &prepared)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let remedy = format!("to build with kernels/ptx as it is, set {PTX_VARIABLE}=prebuilt");
            let remedy = matches!(error, Error::Compile { .. }).then_some(remedy.as_str());
            for line in error.to_string().lines().chain(remedy) {
                println!("cargo::error={line}");
            }
            ExitCode::FAILURE
        }
    }
}

/// When to come here again.
fn watch() {
    let kernels = Path::new(KERNELS);
    for path in
        sources(kernels).into_iter().chain([kernels.join("ptx"), "build.rs".into(), "Cargo.lock".into()])
    {
        println!("cargo::rerun-if-changed={}", path.display());
    }
    for variable in [PTX_VARIABLE, COMPILER_VARIABLE, "RUSTUP_HOME"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
}

fn ptx(out: &Path) -> Result<Prepared, Error> {
    let prepared = prepare(
        Path::new(KERNELS),
        &ARCHITECTURES,
        &target_folder(out).join("nvptx"),
        Choice::from_environment()?,
        &Search::from_environment(),
    )?;
    if let Some(warning) = &prepared.warning {
        println!("cargo::warning={warning}");
    }
    Ok(prepared)
}

/// The target folder, so that all profiles share the kernels' build; cargo marks it as a cache.
fn target_folder(out: &Path) -> &Path {
    out.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file()).unwrap_or(out)
}

/// Writes the constants that `host/cuda` includes, and the PTX in gzip.
fn write(out: &Path, prepared: &Prepared) -> Result<(), Error> {
    let mut modules = String::new();
    for (capability, text) in &prepared.modules {
        let file = format!("sm_{capability}.ptx.gz");
        save(&out.join(&file), &compressed(text))?;
        // Writing to a string cannot fail.
        let _ =
            write!(modules, "\n    ({capability}, include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{file}\"))),");
    }
    let Prepared { provenance, is_stale, .. } = prepared;
    let constants = format!(
        "\
/// The kernels' PTX: compute capability (80 is 8.0) and text in gzip, ascending.
pub const COMPRESSED: &[(u32, &[u8])] = &[{modules}
];
/// Where the PTX comes from: built from source or prebuilt, compiler, hash of the sources.
pub const PTX_PROVENANCE: &str = {provenance:?};
/// Whether the PTX is missing or older than the kernels' sources, so that it must not be launched.
pub const PTX_IS_STALE: bool = {is_stale};
"
    );
    save(&out.join("ptx.rs"), constants.as_bytes())
}

fn compressed(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    // Writing to memory cannot fail.
    let _ = encoder.write_all(text.as_bytes());
    encoder.finish().unwrap_or_default()
}

fn save(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    fs::write(path, bytes).map_err(|source| Error::Io { what: "write", path: path.to_path_buf(), source })
}
