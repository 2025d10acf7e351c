//! Finding a compiler for the kernels.
//!
//! Any rustc since 1.95 will do that has its library's source beside it, because `core` has to be compiled for
//! the GPU too: rustup's component `rust-src`, or a distribution's package of that source.

use std::collections::HashSet;
use std::env;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Error;

/// The environment variable with the path of the rustc to compile kernels with; `cargo` is beside it.
pub const COMPILER_VARIABLE: &str = "TILEGRAD_DEVICE_RUSTC";

/// The oldest release that has what the kernels and their flags need.
const OLDEST: (u32, u32) = (1, 95);

/// A compiler that can compile kernels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiler {
    /// The program `rustc`.
    pub rustc: PathBuf,
    /// The program `cargo` of the same release.
    pub cargo: PathBuf,
    /// What `rustc --version` says.
    pub version: String,
}

/// Where a compiler was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Named in the environment.
    Variable,
    /// The toolchain of rustup that is active here.
    Active,
    /// Another toolchain of rustup.
    Rustup,
    /// A program on the path, or in the system's folders.
    System,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Origin::Variable => COMPILER_VARIABLE,
            Origin::Active => "active toolchain",
            Origin::Rustup => "rustup toolchain",
            Origin::System => "system",
        })
    }
}

/// Why a compiler cannot compile kernels.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It does not start, or does not answer as rustc does.
    #[error("does not work: {0}")]
    Broken(String),
    /// It is too old.
    #[error("is older than {}.{}", OLDEST.0, OLDEST.1)]
    TooOld,
    /// There is no cargo with it.
    #[error("has no cargo beside it")]
    NoCargo,
    /// Its library's source is missing.
    #[error("has no library source in {}: install rust-src for it", .0.display())]
    NoSource(PathBuf),
}

/// A compiler that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The program `rustc`.
    pub rustc: PathBuf,
    /// Where it was found.
    pub origin: Origin,
    /// What `rustc --version` says, if it says something.
    pub version: Option<String>,
    /// The compiler, or why it cannot be used.
    pub usable: Result<Compiler, Refusal>,
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} ({}, {})",
            self.rustc.display(),
            self.origin,
            self.version.as_deref().unwrap_or("no version")
        )?;
        match &self.usable {
            Ok(_) => f.write_str(" is usable"),
            Err(refusal) => write!(f, " {refusal}"),
        }
    }
}

/// Where to look for a compiler.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// The rustc that was asked for by name. If there is one, no other is taken.
    pub variable: Option<PathBuf>,
    /// The active rustc; may be a name to be looked for on the path.
    pub active: Option<PathBuf>,
    /// rustup's folder of toolchains.
    pub toolchains: Option<PathBuf>,
    /// Folders in which a rustc may lie.
    pub folders: Vec<PathBuf>,
}

impl Search {
    /// The places that this process's environment names, and the system's folders.
    pub fn from_environment() -> Self {
        let path = env::var_os("PATH").unwrap_or_default();
        let mut folders: Vec<PathBuf> =
            env::split_paths(&path).filter(|folder| folder.is_absolute()).collect();
        folders.extend(["/usr/local/bin", "/usr/bin"].map(PathBuf::from));
        let rustup = env::var_os("RUSTUP_HOME").map(PathBuf::from);
        Search {
            variable: env::var_os(COMPILER_VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from),
            active: Some(env::var_os("RUSTC").map_or_else(|| "rustc".into(), PathBuf::from)),
            toolchains: rustup
                .or_else(|| Some(env::home_dir()?.join(".rustup")))
                .map(|home| home.join("toolchains")),
            folders,
        }
    }

    /// Every compiler in these places, in the order of preference, each usable or with the reason why not.
    pub fn candidates(&self) -> Vec<Candidate> {
        let mut candidates = Vec::new();
        let mut seen = HashSet::new();
        let mut add = |rustc: PathBuf, sysroot: Result<PathBuf, Refusal>, origin| {
            let identity = sysroot.as_ref().map_or_else(|_| rustc.clone(), Clone::clone);
            if seen.insert(fs::canonicalize(&identity).unwrap_or(identity)) {
                candidates.push(examine(rustc, sysroot, origin));
            }
        };
        if let Some(rustc) = &self.variable {
            add(rustc.clone(), sysroot_of(rustc), Origin::Variable);
        }
        let active = self.active.as_deref().and_then(|rustc| sysroot_of(rustc).ok());
        for toolchain in self.toolchains(active.as_deref()) {
            let origin = if Some(&toolchain) == active.as_ref() { Origin::Active } else { Origin::Rustup };
            add(program(&toolchain.join("bin"), "rustc"), Ok(toolchain), origin);
        }
        for folder in &self.folders {
            let rustc = program(folder, "rustc");
            if rustc.is_file() {
                let sysroot = sysroot_of(&rustc);
                add(rustc, sysroot, Origin::System);
            }
        }
        candidates
    }

    /// The compiler to take.
    ///
    /// # Errors
    /// None is usable, or the one that was asked for by name is not.
    pub fn find(&self) -> Result<Compiler, Error> {
        let candidates = self.candidates();
        if let Some(first) = candidates.first()
            && first.origin == Origin::Variable
        {
            return first.usable.clone().map_err(|_| Error::NotUsable { candidate: Box::new(first.clone()) });
        }
        match candidates.iter().find_map(|candidate| candidate.usable.as_ref().ok()) {
            Some(compiler) => Ok(compiler.clone()),
            None => Err(Error::NoCompiler { candidates }),
        }
    }

    /// rustup's toolchains: the active one, then releases by name, then nightlies, whose flags may have changed.
    fn toolchains(&self, active: Option<&Path>) -> Vec<PathBuf> {
        let Some(folder) = &self.toolchains else { return Vec::new() };
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let mut toolchains: Vec<PathBuf> = entries
            .map(|entry| entry.path())
            .filter(|path| program(&path.join("bin"), "rustc").is_file())
            .collect();
        toolchains.sort_by_key(|path| {
            let name = path.file_name().unwrap_or_default().to_os_string();
            (Some(path.as_path()) != active, name.to_string_lossy().starts_with("nightly"), name)
        });
        toolchains
    }
}

/// Every compiler on this machine that could compile kernels, in the order of preference: the one named in
/// [`COMPILER_VARIABLE`], rustup's toolchains (the active one first), those on the path and the system's.
pub fn candidates() -> Vec<Candidate> {
    Search::from_environment().candidates()
}

fn examine(rustc: PathBuf, sysroot: Result<PathBuf, Refusal>, origin: Origin) -> Candidate {
    let mut version = None;
    let usable = (|| {
        let said = ask(&rustc, "-vV")?;
        let first = said.lines().next().unwrap_or_default();
        let release = said.lines().find_map(|line| line.strip_prefix("release: "));
        let release = release
            .and_then(parse_release)
            .ok_or_else(|| Refusal::Broken(format!("it answers {first:?}")))?;
        let version = version.insert(first.to_string());
        if release < OLDEST {
            return Err(Refusal::TooOld);
        }
        let cargo = program(rustc.parent().unwrap_or(Path::new("")), "cargo");
        if !cargo.is_file() {
            return Err(Refusal::NoCargo);
        }
        let source = sysroot?.join("lib/rustlib/src/rust/library");
        if !source.join("core/src/lib.rs").is_file() {
            return Err(Refusal::NoSource(source));
        }
        Ok(Compiler { rustc: rustc.clone(), cargo, version: version.clone() })
    })();
    Candidate { rustc, origin, version, usable }
}

fn sysroot_of(rustc: &Path) -> Result<PathBuf, Refusal> {
    ask(rustc, "--print=sysroot").map(|answer| PathBuf::from(answer.trim_end()))
}

fn ask(rustc: &Path, question: &str) -> Result<String, Refusal> {
    let output =
        Command::new(rustc).arg(question).output().map_err(|error| Refusal::Broken(error.to_string()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let first = said.lines().next().unwrap_or("no message");
        return Err(Refusal::Broken(format!("`rustc {question}` ends with {}: {first}", output.status)));
    }
    String::from_utf8(output.stdout).map_err(|error| Refusal::Broken(error.to_string()))
}

/// Major and minor number of a release such as `1.97.0-nightly`.
fn parse_release(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn program(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}{}", env::consts::EXE_SUFFIX))
}
