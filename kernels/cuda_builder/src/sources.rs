//! The hash of what the PTX is made from.

use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::Error;

/// What the PTX is made from, relative to the folder of the kernels' crate: files, and folders with all in them.
const SOURCES: [&str; 6] = [
    "Cargo.toml",
    "src",
    "cuda_std/Cargo.toml",
    "cuda_std/src",
    "cuda_std/macros/Cargo.toml",
    "cuda_std/macros/src",
];

/// What of it only the host sees.
const HOST_ONLY: [&str; 2] = ["cuda_std/src/emulated", "cuda_std/src/launch.rs"];

/// The files and folders that the PTX is made from, for a build script to watch.
pub fn sources(kernels: &Path) -> Vec<PathBuf> {
    SOURCES.iter().map(|source| kernels.join(source)).collect()
}

/// The SHA-256 of the sources of the kernels in folder `kernels`, in hexadecimal.
///
/// It is the same on every machine: it depends on the files' names relative to that folder, taken in order of
/// their bytes, and on their contents with line ends as `\n`. What only the emulator uses does not count.
///
/// # Errors
/// A source cannot be read.
pub fn source_hash(kernels: &Path) -> Result<String, Error> {
    let mut files = Vec::new();
    for source in SOURCES {
        collect(kernels, source.to_string(), &mut files)?;
    }
    files.sort();
    let mut hash = Sha256::new();
    for name in files {
        let path = kernels.join(&name);
        let text = unix_lines(&fs::read(&path).map_err(Error::io("read", &path))?);
        hash.update(format!("{name}\0{}\0", text.len()));
        hash.update(text);
    }
    Ok(hexadecimal(&hash.finalize()))
}

/// The SHA-256 of a text with its line ends as `\n`, in hexadecimal.
pub(crate) fn text_hash(text: &[u8]) -> String {
    hexadecimal(&Sha256::digest(unix_lines(text)))
}

fn collect(root: &Path, name: String, files: &mut Vec<String>) -> Result<(), Error> {
    if HOST_ONLY.contains(&name.as_str()) {
        return Ok(());
    }
    let path = root.join(&name);
    if path.is_dir() {
        for entry in fs::read_dir(&path).map_err(Error::io("read", &path))? {
            let entry = entry.map_err(Error::io("read", &path))?.file_name();
            collect(root, format!("{name}/{}", entry.to_string_lossy()), files)?;
        }
    } else if name.ends_with(".rs") || name.ends_with(".toml") {
        files.push(name);
    }
    Ok(())
}

fn unix_lines(text: &[u8]) -> Vec<u8> {
    let mut result = Vec::with_capacity(text.len());
    for (i, &byte) in text.iter().enumerate() {
        if byte != b'\r' || text.get(i + 1) != Some(&b'\n') {
            result.push(byte);
        }
    }
    result
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, name: &str, text: &str) {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn kernels() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in ["Cargo.toml", "cuda_std/Cargo.toml", "cuda_std/macros/Cargo.toml"] {
            write(folder.path(), name, "[package]\n");
        }
        for name in ["src/lib.rs", "src/reduce/sum.rs", "cuda_std/src/lib.rs", "cuda_std/macros/src/lib.rs"] {
            write(folder.path(), name, "//! One.\n//! Two.\n");
        }
        folder
    }

    #[test]
    fn hash_depends_on_names_and_contents_only() {
        let (one, two) = (kernels(), kernels());
        let hash = source_hash(one.path()).unwrap();
        assert_eq!(hash.len(), 64);
        assert_eq!(hash, source_hash(two.path()).unwrap(), "the folder's own place does not matter");

        write(two.path(), "src/lib.rs", "//! One.\r\n//! Two.\r\n");
        assert_eq!(hash, source_hash(two.path()).unwrap(), "line ends do not matter");
        for name in
            ["cuda_std/src/emulated/mod.rs", "cuda_std/src/launch.rs", "src/notes.txt", "ptx/manifest.json"]
        {
            write(two.path(), name, "x");
        }
        assert_eq!(hash, source_hash(two.path()).unwrap(), "what the GPU does not see does not matter");

        write(two.path(), "src/reduce/sum.rs", "//! One.\n//! Two!\n");
        let changed = source_hash(two.path()).unwrap();
        assert_ne!(hash, changed);
        write(two.path(), "src/extra.rs", "");
        assert_ne!(changed, source_hash(two.path()).unwrap());
    }

    #[test]
    fn a_missing_source_is_an_error_with_its_name() {
        let folder = kernels();
        fs::remove_file(folder.path().join("cuda_std/Cargo.toml")).unwrap();
        let error = source_hash(folder.path()).unwrap_err().to_string();
        assert!(error.contains("cuda_std/Cargo.toml"), "{error}");
    }

    #[test]
    fn known_hash() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(text_hash(b""), empty);
        assert_eq!(text_hash(b"a\r\nb\r"), text_hash(b"a\nb\r"));
    }
}
