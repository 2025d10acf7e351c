//! Driving the compiler.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Error;
use crate::compiler::{Compiler, Search};
use crate::ptx::{Entry, entries, finish};
use crate::sources::text_hash;

const TARGET: &str = "nvptx64-nvidia-cuda";

/// Flags of rustc for every crate of the kernels, `core` included, after `-Ctarget-cpu`.
///
/// The two in the middle are for correctness. LLVM does not know that `asm!` with `shfl.sync` or a barrier must
/// stay where all threads of a warp meet; without these flags such an instruction was seen duplicated into both arms of
/// a divergent `if`.
const RUSTC_FLAGS: [&str; 4] = [
    // The PTX is the assembly; nothing is left to link.
    "-Clinker=true",
    "-Zmir-enable-passes=-JumpThreading",
    "-Cllvm-args=-simplifycfg-max-small-block-size=0",
    // Without it the loops over accumulators stay rolled, and these go to the stack. The longest such loop writes a
    // thread's 128 elements of the warp-tiled layer, with a sigmoid for each.
    "-Cllvm-args=-unroll-threshold=16000",
];

/// Settings of cargo's release profile: one unit with all of `core` that it needs, and a trap for a panic.
const PROFILE: [&str; 8] = [
    "panic=\"immediate-abort\"",
    "lto=\"fat\"",
    "codegen-units=1",
    "opt-level=3",
    "debug=0",
    "debug-assertions=false",
    "overflow-checks=false",
    "incremental=false",
];

/// Variables of cargo that say where crates come from and how to talk; all others are of the outer build.
const CARGO_KEEPS: [&str; 7] = [
    "CARGO_HOME",
    "CARGO_HTTP_",
    "CARGO_NET_",
    "CARGO_REGISTRIES_",
    "CARGO_REGISTRY_",
    "CARGO_SOURCE_",
    "CARGO_TERM_",
];

/// What is passed to the compiler, for every architecture: PTX that was made with other flags is out of date.
pub fn flags() -> Vec<String> {
    let profile = PROFILE.iter().map(|setting| format!("profile.release.{setting}"));
    RUSTC_FLAGS.iter().map(ToString::to_string).chain(profile).collect()
}

/// Compiles a crate of kernels to PTX.
///
/// ```no_run
/// let module = cuda_builder::CudaBuilder::new("kernels").arch("sm_80").build()?;
/// println!("{} kernels in {} bytes of PTX", module.entries.len(), module.ptx.len());
/// # Ok::<(), cuda_builder::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct CudaBuilder {
    kernels: PathBuf,
    arch: String,
    compiler: Option<Compiler>,
    target_folder: Option<PathBuf>,
    example: Option<String>,
}

/// Kernels as PTX.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// The architecture: `sm_80`.
    pub arch: String,
    /// The PTX, finished.
    pub ptx: String,
    /// The kernels in it.
    pub entries: Vec<Entry>,
    /// What compiled it: `rustc 1.96.0 (…)`.
    pub compiler: String,
    /// What the compiler said while it did.
    pub messages: String,
}

impl CudaBuilder {
    /// A builder for the crate in folder `kernels`, for `sm_80` (compute capability 8.0, and any later GPU).
    pub fn new(kernels: impl Into<PathBuf>) -> Self {
        CudaBuilder {
            kernels: kernels.into(),
            arch: "sm_80".to_string(),
            compiler: None,
            target_folder: None,
            example: None,
        }
    }

    /// The architecture to compile for, such as `sm_80` or `sm_90a`.
    pub fn arch(mut self, arch: &str) -> Self {
        self.arch = arch.to_string();
        self
    }

    /// The compiler, in place of the one that [`Search`] finds.
    pub fn compiler(mut self, compiler: Compiler) -> Self {
        self.compiler = Some(compiler);
        self
    }

    /// Where the compiler's files are kept from one build to the next, in place of `target/nvptx` under the
    /// current folder. It must not be the target folder of a cargo that waits for this build.
    pub fn target_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.target_folder = Some(folder.into());
        self
    }

    /// Compiles this example of the crate, which is a `cdylib`, in place of its library.
    pub fn example(mut self, name: &str) -> Self {
        self.example = Some(name.to_string());
        self
    }

    /// Compiles. The PTX depends on the sources, the flags and the compiler only, not on the machine.
    ///
    /// Crates that are needed and not yet in cargo's store are fetched; `Cargo.lock` is never changed.
    ///
    /// # Errors
    /// No compiler, or the compiler refuses the kernels, or its PTX is not as expected.
    pub fn build(self) -> Result<Module, Error> {
        compute_capability(&self.arch)?;
        let compiler = match self.compiler {
            Some(compiler) => compiler,
            None => Search::from_environment().find()?,
        };
        let kernels = fs::canonicalize(&self.kernels).map_err(Error::io("read", &self.kernels))?;
        let folder = self.target_folder.unwrap_or_else(|| Path::new("target").join("nvptx"));
        // The PTX has one name in it: a folder for each architecture, compiler and checkout.
        let identity = format!("{}\0{}", compiler.version, kernels.display());
        let folder = folder.join(format!("{}-{}", self.arch, &text_hash(identity.as_bytes())[..8]));
        fs::create_dir_all(&folder).map_err(Error::io("write", &folder))?;
        let folder = fs::canonicalize(&folder).map_err(Error::io("read", &folder))?;

        let output = command(&compiler, &kernels, &self.arch, &folder, self.example.as_deref())
            .output()
            .map_err(Error::io("start", &compiler.cargo))?;
        let messages = String::from_utf8_lossy(&output.stderr).into_owned();
        if !output.status.success() {
            return Err(Error::Compile { arch: self.arch, compiler: compiler.version, messages });
        }
        let release = folder.join(TARGET).join("release");
        let path = match &self.example {
            None => release.join("deps/kernels.s"),
            Some(name) => newest(&release.join("examples"), &format!("{name}-"))?,
        };
        let raw = fs::read_to_string(&path).map_err(|_| Error::NoOutput { path })?;
        let ptx = finish(&raw)?;
        no_machine_paths(&ptx, [kernels.as_path(), &folder])?;
        Ok(Module { entries: entries(&ptx)?, arch: self.arch, ptx, compiler: compiler.version, messages })
    }
}

/// The number of an architecture: 80 for `sm_80`, 90 for `sm_90a`.
///
/// # Errors
/// It is not the name of one.
pub fn compute_capability(arch: &str) -> Result<u32, Error> {
    let number = arch.strip_prefix("sm_").map(|rest| rest.trim_end_matches(['a', 'f']));
    number
        .filter(|digits| matches!(digits.len(), 2..=3) && digits.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| Error::Architecture(arch.to_string()))
}

/// The assembly in `folder` that was written last, of those whose names begin so: cargo adds a hash to examples' names.
fn newest(folder: &Path, prefix: &str) -> Result<PathBuf, Error> {
    let entries = fs::read_dir(folder).map_err(Error::io("read", folder))?.flatten();
    let paths = entries.map(|entry| entry.path()).filter(|path| {
        let name = path.file_name().map(OsStr::to_string_lossy).unwrap_or_default();
        name.starts_with(prefix) && name.ends_with(".s")
    });
    let written = |path: &PathBuf| fs::metadata(path).and_then(|file| file.modified()).ok();
    paths.max_by_key(written).ok_or_else(|| Error::NoOutput { path: folder.join(format!("{prefix}*.s")) })
}

fn command(compiler: &Compiler, kernels: &Path, arch: &str, folder: &Path, example: Option<&str>) -> Command {
    let mut command = Command::new(&compiler.cargo);
    for (name, _) in env::vars_os().filter(|(name, _)| belongs_to_outer_build(name)) {
        command.env_remove(name);
    }
    let mut rustflags = format!("-Ctarget-cpu={arch}");
    for flag in RUSTC_FLAGS {
        rustflags.push('\x1f');
        rustflags += flag;
    }
    command
        .current_dir(kernels)
        .env("RUSTC", &compiler.rustc)
        // The flags are unstable; this lets a stable compiler take them.
        .env("RUSTC_BOOTSTRAP", "1")
        // Empty: also not the wrapper that a configuration file names.
        .env("RUSTC_WRAPPER", "")
        .env("RUSTC_WORKSPACE_WRAPPER", "")
        .env("CARGO_ENCODED_RUSTFLAGS", rustflags)
        .env("CARGO_BUILD_BUILD_DIR", folder)
        .args(["rustc", "--release", "--locked", "--quiet", "--color=never"])
        .args(["-Zbuild-std=core", "-Zpanic-immediate-abort", "--target", TARGET, "--target-dir"])
        .arg(folder);
    for setting in PROFILE {
        command.arg("--config").arg(format!("profile.release.{setting}"));
    }
    match example {
        None => command.args(["--lib", "--crate-type=cdylib"]),
        Some(name) => command.args(["--example", name]),
    };
    command.args(["--", "--emit=asm"]);
    command
}

/// Whether a variable of the environment tells how the outer build goes, and would disturb the inner one.
fn belongs_to_outer_build(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    let of_cargo = name.starts_with("CARGO") && !CARGO_KEEPS.iter().any(|keep| name.starts_with(keep));
    let of_rust = name.starts_with("RUST") && name != "RUSTUP_HOME" && name != "RUSTUP_DIST_SERVER";
    of_cargo
        || of_rust
        || ["MAKEFLAGS", "MFLAGS", "TARGET", "HOST", "OUT_DIR", "PROFILE", "DEBUG", "OPT_LEVEL"]
            .contains(&name)
}

fn no_machine_paths<'a>(ptx: &str, folders: impl IntoIterator<Item = &'a Path>) -> Result<(), Error> {
    for folder in folders {
        let text = folder.to_string_lossy();
        if let Some(line) = ptx.lines().position(|line| line.contains(&*text)) {
            return Err(Error::MachinePath { line: line + 1, path: folder.to_path_buf() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn architectures_are_numbers_with_a_prefix() {
        assert_eq!(compute_capability("sm_80").unwrap(), 80);
        assert_eq!(compute_capability("sm_90a").unwrap(), 90);
        assert_eq!(compute_capability("sm_120").unwrap(), 120);
        for wrong in ["", "sm_", "80", "sm_8", "sm_x0", "sm_+80", "compute_80", "sm_80 ", "sm_1234"] {
            assert!(matches!(compute_capability(wrong), Err(Error::Architecture(_))), "{wrong:?}");
        }
    }

    #[test]
    fn the_outer_build_does_not_reach_the_inner_one() {
        for name in [
            "RUSTFLAGS",
            "RUSTC",
            "RUSTC_WRAPPER",
            "RUSTUP_TOOLCHAIN",
            "CARGO",
            "CARGO_TARGET_DIR",
            "CARGO_MAKEFLAGS",
        ] {
            assert!(belongs_to_outer_build(OsStr::new(name)), "{name}");
        }
        for name in ["PATH", "HOME", "CARGO_HOME", "CARGO_NET_OFFLINE", "RUSTUP_HOME", "HTTPS_PROXY"] {
            assert!(!belongs_to_outer_build(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn paths_of_the_machine_are_found() {
        let folder = Path::new("/somewhere/else");
        assert!(no_machine_paths(".version 7.0\n", [folder]).is_ok());
        let error = no_machine_paths("a\n.file \"/somewhere/else/lib.rs\"\n", [folder]).unwrap_err();
        assert!(matches!(error, Error::MachinePath { line: 2, .. }), "{error}");
    }
}
