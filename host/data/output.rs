//! Files that are written whole or not at all.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// The start of the name that a file has until it is whole.
const PREFIX: &str = ".tilegrad-";

/// A path that can be written to: checked before the work, written after it.
///
/// The contents go to a temporary file in the same folder, which then takes the path's name. Whoever looks sees
/// the old file or the new one, never a part.
#[derive(Clone, Debug)]
pub struct Output {
    path: PathBuf,
    /// The file itself where the path is a symbolic link.
    real: PathBuf,
    /// A device or a pipe: there is nothing to rename, so it is written to as it is.
    special: bool,
}

impl Output {
    /// Checks that `path` can be written to, leaving nothing behind.
    ///
    /// # Errors
    /// It is a folder, is write-protected, or its folder does not exist or cannot be written to.
    pub fn new(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_owned();
        let refuse = |problem: String| Error::Output { path: path.clone(), problem };
        if path.file_name().is_none() {
            return Err(refuse("this is not the name of a file".to_owned()));
        }
        if path.to_string_lossy().ends_with(std::path::is_separator) {
            return Err(refuse("this is the name of a folder: give the name of a file in it".to_owned()));
        }
        let mut special = false;
        let mut real = path.clone();
        if let Ok(found) = fs::metadata(&path) {
            if found.is_dir() {
                return Err(refuse("this is a folder: give the name of a file in it".to_owned()));
            }
            if found.permissions().readonly() {
                return Err(refuse(
                    "the file is there and is write-protected: choose another name or remove it".to_owned(),
                ));
            }
            special = !found.is_file();
            real = fs::canonicalize(&path).map_err(|source| refuse(source.to_string()))?;
        }
        let output = Output { path: path.clone(), real, special };
        let folder = output.folder();
        if !folder.exists() {
            return Err(refuse(format!("there is no folder {}: make it first", folder.display())));
        }
        if !special {
            output.temporary().map_err(|source| {
                refuse(format!("nothing can be written to the folder {}: {source}", folder.display()))
            })?;
        }
        Ok(output)
    }

    /// The path, as it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether this and `other` are the same file.
    pub fn is_same_file(&self, other: impl AsRef<Path>) -> bool {
        let whole = |path: &Path| fs::canonicalize(path).or_else(|_| std::path::absolute(path));
        !self.special && whole(&self.real).ok() == whole(other.as_ref()).ok()
    }

    /// Writes `contents`, in place of what was there.
    ///
    /// # Errors
    /// The system refused, for example because the disk is full; what was there before is there still.
    pub fn write(&self, contents: &[u8]) -> Result<()> {
        self.try_write(contents).map_err(|source| Error::File {
            action: "write",
            path: self.path.clone(),
            source,
        })
    }

    fn try_write(&self, contents: &[u8]) -> std::io::Result<()> {
        if self.special {
            return fs::OpenOptions::new().write(true).open(&self.real)?.write_all(contents);
        }
        let mut file = self.temporary()?;
        file.write_all(contents)?;
        file.as_file().sync_all()?;
        if let Ok(found) = fs::metadata(&self.real) {
            file.as_file().set_permissions(found.permissions())?;
        }
        file.persist(&self.real).map_err(|error| error.error)?;
        Ok(())
    }

    fn folder(&self) -> &Path {
        match self.real.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        }
    }

    fn temporary(&self) -> std::io::Result<tempfile::NamedTempFile> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(PREFIX);
        // What any new file has, less the user's mask; the default is for the owner alone.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        builder.tempfile_in(self.folder())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_check_leaves_nothing_and_a_write_leaves_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let output = Output::new(folder.path().join("out")).unwrap();
        assert!(names(folder.path()).is_empty());
        output.write(b"one").unwrap();
        output.write(b"two").unwrap();
        assert_eq!(fs::read(output.path()).unwrap(), b"two");
        assert_eq!(names(folder.path()), ["out"]);
    }

    #[test]
    fn folders_and_paths_without_one_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let text = |path: &Path| Output::new(path).unwrap_err().to_string();
        assert!(text(folder.path()).contains("this is a folder"));
        assert!(text(&folder.path().join("none/out")).contains("make it first"));
        assert!(text(Path::new("")).contains("not the name of a file"));
        assert!(text(Path::new("..")).contains("not the name of a file"));
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_and_devices_are_written_to_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        fs::write(folder.path().join("file"), "old").unwrap();
        std::os::unix::fs::symlink("file", &link).unwrap();
        let output = Output::new(&link).unwrap();
        output.write(b"new").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(folder.path().join("file")).unwrap(), b"new");
        assert!(output.is_same_file(folder.path().join("file")));
        Output::new("/dev/null").unwrap().write(b"gone").unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }

    #[cfg(unix)]
    #[test]
    fn a_write_protected_file_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
        assert!(Output::new(&path).unwrap_err().to_string().contains("write-protected"));
    }
}
