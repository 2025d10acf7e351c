use std::io;
use std::path::{Path, PathBuf};

use crate::compiler::Candidate;

/// Why there is no PTX.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written, or a program not started.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried: "read", "write", "start".
        what: &'static str,
        /// The file or program.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },

    /// No compiler on this machine can compile kernels.
    #[error(
        "no compiler on this machine can compile the kernels to PTX.{}\nWhat would: `rustup component add \
         rust-src`, or Debian's packages rustc-web, cargo-web and rust-web-src, or any rustc with its library source, \
         named in {}",
        list(candidates),
        crate::COMPILER_VARIABLE
    )]
    NoCompiler {
        /// What was looked at, each with the reason why it was refused.
        candidates: Vec<Candidate>,
    },

    /// The compiler that was asked for by name is not usable. Another is not taken in its place.
    #[error("{} asks for a compiler that is not usable: {candidate}", crate::COMPILER_VARIABLE)]
    NotUsable {
        /// The compiler, with the reason.
        candidate: Box<Candidate>,
    },

    /// The name of an architecture is not like `sm_80` or `sm_90a`.
    #[error("{0:?} is no GPU architecture; they are named like \"sm_80\" or \"sm_90a\"")]
    Architecture(String),

    /// The compiler refused the kernels.
    #[error("the kernels do not compile for {arch} with {compiler}:\n{messages}")]
    Compile {
        /// The architecture.
        arch: String,
        /// The compiler and its version.
        compiler: String,
        /// All that it said.
        messages: String,
    },

    /// The compiler was content and yet there is no PTX.
    #[error("the compiler was content and left no PTX at {}; remove that target folder and build again", path.display())]
    NoOutput {
        /// Where it should be.
        path: PathBuf,
    },

    /// Launch bounds for a kernel that the PTX does not have.
    #[error("launch bounds for kernel {name:?}, which the PTX does not have; is its function exported?")]
    UnknownKernel {
        /// The kernel's name in the bounds.
        name: String,
    },

    /// A line of the PTX is not as expected.
    #[error("line {line} of the PTX cannot be understood: {reason}: {text:?}")]
    Ptx {
        /// The line's number, from 1.
        line: usize,
        /// What is wrong with it.
        reason: &'static str,
        /// The line.
        text: String,
    },

    /// The PTX names a folder of the machine that compiled it, so that it cannot be reproduced elsewhere.
    #[error("line {line} of the PTX names the folder {}, so it could not be reproduced on another machine", path.display())]
    MachinePath {
        /// The line's number, from 1.
        line: usize,
        /// The folder.
        path: PathBuf,
    },

    /// The prebuilt PTX does not fit its manifest, or the manifest cannot be read.
    #[error("{}: {reason}; `cargo xtask kernels` writes it anew", path.display())]
    Manifest {
        /// The manifest, or the file that it names.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },

    /// The environment variable that chooses between prebuilt and built PTX has another value.
    #[error(
        "{}={value:?} is neither \"prebuilt\" nor \"build\"; unset it to let the build choose",
        crate::PTX_VARIABLE
    )]
    Setting {
        /// The value.
        value: String,
    },
}

impl Error {
    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        let path = path.to_path_buf();
        move |source| Error::Io { what, path, source }
    }
}

fn list(candidates: &[Candidate]) -> String {
    candidates.iter().map(|candidate| format!("\n  {candidate}")).collect()
}
