//! What the build script of the host's crate does: the prebuilt PTX if it is of these sources, else PTX from source.

use std::env;
use std::path::Path;

use crate::Error;
use crate::build::{CudaBuilder, compute_capability};
use crate::compiler::{Compiler, Search};
use crate::manifest::Manifest;
use crate::sources::source_hash;

/// The environment variable that chooses: `prebuilt`, `build`, or unset for the prebuilt if it is of the sources.
pub const PTX_VARIABLE: &str = "TILEGRAD_PTX";

/// Where the PTX is to come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// Prebuilt if that was made from these sources; else, or if a compiler was named, from source.
    #[default]
    Auto,
    /// Prebuilt, also with a compiler.
    Prebuilt,
    /// From source, or not at all.
    Build,
}

impl Choice {
    /// The choice that the environment makes.
    ///
    /// # Errors
    /// It is not one.
    pub fn from_environment() -> Result<Self, Error> {
        match env::var_os(PTX_VARIABLE) {
            None => Ok(Choice::Auto),
            Some(value) => value.to_string_lossy().parse(),
        }
    }
}

impl std::str::FromStr for Choice {
    type Err = Error;

    fn from_str(value: &str) -> Result<Self, Error> {
        match value {
            "" => Ok(Choice::Auto),
            "prebuilt" => Ok(Choice::Prebuilt),
            "build" => Ok(Choice::Build),
            other => Err(Error::Setting { value: other.to_string() }),
        }
    }
}

/// PTX for the host's crate, and where it comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prepared {
    /// Compute capability (80 is 8.0) and PTX, ascending.
    pub modules: Vec<(u32, String)>,
    /// One line for people: built or prebuilt, by which compiler, from which sources.
    pub provenance: String,
    /// Whether the PTX is missing or older than the sources, so that it must not be launched.
    pub is_stale: bool,
    /// What the user should be told, in one line.
    pub warning: Option<String>,
}

/// PTX of the crate in folder `kernels`, whose prebuilt PTX is in its folder `ptx`, for each of `archs`.
///
/// Where it has to be made from source and there is no compiler, the prebuilt PTX is taken, older than the sources or not there
/// at all: a build without a GPU does not need it. [`Prepared::is_stale`] then keeps it from being launched.
///
/// # Errors
/// The kernels do not compile; what was asked for by name cannot be had; the sources cannot be read.
pub fn prepare(
    kernels: &Path,
    archs: &[&str],
    target_folder: &Path,
    choice: Choice,
    search: &Search,
) -> Result<Prepared, Error> {
    let hash = source_hash(kernels)?;
    match choice {
        Choice::Prebuilt => return Ok(prebuilt(kernels, &hash, None)),
        Choice::Auto if search.variable.is_none() => {
            let prepared = prebuilt(kernels, &hash, None);
            if !prepared.is_stale {
                return Ok(prepared);
            }
        }
        Choice::Auto | Choice::Build => (),
    }
    match search.find().and_then(|compiler| built(kernels, archs, target_folder, &hash, &compiler)) {
        Err(Error::NoCompiler { .. }) if choice == Choice::Auto => {
            let reason = "no compiler on this machine can compile the kernels (`tilegrad doctor` lists them)";
            Ok(prebuilt(kernels, &hash, Some(reason)))
        }
        result => result,
    }
}

fn built(
    kernels: &Path,
    archs: &[&str],
    target_folder: &Path,
    hash: &str,
    compiler: &Compiler,
) -> Result<Prepared, Error> {
    let build = |arch: &&str| {
        let builder = CudaBuilder::new(kernels).arch(arch).target_folder(target_folder);
        Ok((compute_capability(arch)?, builder.compiler(compiler.clone()).build()?.ptx))
    };
    let mut modules: Vec<(u32, String)> = archs.iter().map(build).collect::<Result<_, Error>>()?;
    modules.sort();
    let provenance = format!("built from source by {}, sources {}", compiler.version, short(hash));
    Ok(Prepared { modules, provenance, is_stale: false, warning: None })
}

/// The prebuilt PTX, taken because of `reason` although it is not of these sources; none if that is for the caller to see.
fn prebuilt(kernels: &Path, hash: &str, reason: Option<&str>) -> Prepared {
    let folder = kernels.join("ptx");
    let read = || {
        let manifest = Manifest::read(&folder)?;
        let mut modules = Vec::new();
        for (arch, text) in manifest.modules(&folder)? {
            modules.push((compute_capability(&arch)?, text));
        }
        modules.sort();
        Ok((manifest, modules))
    };
    let because = reason.map(|reason| format!("{reason}; ")).unwrap_or_default();
    match read() {
        Ok((manifest, modules)) => {
            let is_stale = !manifest.is_current(hash);
            let (age, warning) = match is_stale {
                false => ("", None),
                true => (
                    ", older than these sources",
                    Some(format!(
                        "{because}the prebuilt PTX in kernels/ptx is older than the kernels' sources, so --device cuda will \
                         refuse it: run `cargo xtask kernels` where there is a compiler for it"
                    )),
                ),
            };
            let Manifest { compiler, sources, .. } = manifest;
            let provenance = format!("prebuilt by {compiler}, sources {}{age}", short(&sources));
            Prepared { modules, provenance, is_stale, warning }
        }
        Err(error) => {
            let text = Error::to_string(&error);
            let problem = text.lines().next().unwrap_or_default();
            let warning =
                format!("{because}no prebuilt PTX either ({problem}), so --device cuda will not run");
            let provenance = format!("none: {problem}");
            Prepared { modules: Vec::new(), provenance, is_stale: true, warning: Some(warning) }
        }
    }
}

fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}
