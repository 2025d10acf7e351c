//! Files that are written whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::{Error, Result};

/// How the name of a file starts until it is whole; the name that it will have comes next.
const PREFIX: &str = ".tilegrad-";
/// Letters of the file's own name in that of its temporary file, so that names do not grow too long for the system.
const LETTERS: usize = 40;
/// Random letters after that.
const RANDOM: usize = 8;
/// How it ends.
const SUFFIX: &str = ".part";

/// A path that can be written to: checked before the work, written after it.
///
/// The contents go to a temporary file in the same folder, which then takes the path's name. Whoever looks sees
/// the old file or the new one, never a part. File and folder are synchronised, so that this should hold after a loss of
/// power too; no test cuts the power.
///
/// A process that is killed leaves its temporary file. The next check of the same path removes it: temporary files are
/// locked as long as their process lives, so that no other process' is taken for one left behind.
#[derive(Clone, Debug)]
pub struct Output {
    path: PathBuf,
    /// The file itself where the path is a symbolic link; of what is no file, the path.
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
            // The link of an open pipe (/dev/stdout, /dev/fd/63) leads to a name that is in no folder.
            if !special {
                real = fs::canonicalize(&path).map_err(|source| refuse(source.to_string()))?;
            }
        }
        let output = Output { path: path.clone(), real, special };
        let folder = output.folder();
        if !folder.exists() {
            return Err(refuse(format!("there is no folder {}: make it first", folder.display())));
        }
        if !special {
            output.remove_left_behind();
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

    /// Whether it is a file, which can be written again and again, and not a device or a pipe.
    pub fn is_file(&self) -> bool {
        !self.special
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

    fn try_write(&self, contents: &[u8]) -> io::Result<()> {
        if self.special {
            return fs::OpenOptions::new().write(true).open(&self.real)?.write_all(contents);
        }
        self.replace(contents, NamedTempFile::persist).map(drop)
    }

    /// Puts a new file in the path's place by `persist`, and gives the file, locked.
    fn replace(
        &self,
        contents: &[u8],
        persist: fn(NamedTempFile, PathBuf) -> Result<File, tempfile::PersistError>,
    ) -> io::Result<File> {
        let mut temporary = self.temporary()?;
        // Not through `temporary`, whose errors name a file that nobody knows.
        temporary.as_file_mut().write_all(contents)?;
        if let Ok(found) = fs::metadata(&self.real) {
            temporary.as_file().set_permissions(found.permissions())?;
        }
        temporary.as_file().sync_all()?;
        let file = persist(temporary, self.real.clone()).map_err(|error| error.error)?;
        // Without this the new name may be lost with the power. Some systems do not let folders be opened.
        #[cfg(unix)]
        if let Ok(folder) = File::open(self.folder()) {
            folder.sync_all()?;
        }
        Ok(file)
    }

    /// Keeps the path for this process, which writes it several times. No other process can keep it meanwhile.
    ///
    /// # Errors
    /// Another process keeps it; it is a device or a pipe, or cannot be opened.
    pub(crate) fn keep(self) -> Result<Kept> {
        let refuse =
            |problem: &str| Err(Error::Output { path: self.path.clone(), problem: problem.to_owned() });
        if self.special {
            return refuse("this is a device or a pipe: give the name of a file");
        }
        loop {
            let file = match fs::OpenOptions::new().read(true).write(true).open(&self.real) {
                Ok(file) => file,
                Err(source) if source.kind() == io::ErrorKind::NotFound => {
                    return Ok(Kept { output: self, file: None });
                }
                Err(source) => return Err(Error::unreadable(&self.path, source)),
            };
            if lock(&file) == Some(false) {
                return refuse(
                    "another process is writing to this file: wait until it has ended, or choose another",
                );
            }
            // The other process may have put a new one in its place, and ended.
            if is_at(&file, &self.real) {
                return Ok(Kept { output: self, file: Some(file) });
            }
        }
    }

    fn folder(&self) -> &Path {
        match self.real.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        }
    }

    /// How the names of this path's temporary files start.
    fn prefix(&self) -> String {
        let name = self.real.file_name().unwrap_or_default().to_string_lossy();
        format!("{PREFIX}{}-", name.chars().take(LETTERS).collect::<String>())
    }

    /// A new file beside the path, locked. It is removed when it is dropped.
    fn temporary(&self) -> io::Result<NamedTempFile> {
        let prefix = self.prefix();
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix).rand_bytes(RANDOM).suffix(SUFFIX);
        // What any new file has, less the user's mask; the default is for the owner alone.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        loop {
            let temporary = builder.tempfile_in(self.folder())?;
            // Before it was locked another process may have taken it for one left behind.
            if lock(temporary.as_file()) != Some(false) && is_at(temporary.as_file(), temporary.path()) {
                return Ok(temporary);
            }
        }
    }

    /// Removes temporary files of this path whose processes have ended.
    fn remove_left_behind(&self) {
        let prefix = self.prefix();
        let is_ours = |name: &str| {
            let random = name.strip_prefix(&prefix).and_then(|rest| rest.strip_suffix(SUFFIX));
            random.is_some_and(|random| {
                random.len() == RANDOM && random.bytes().all(|b| b.is_ascii_alphanumeric())
            })
        };
        // What cannot be listed, opened or removed does no harm.
        for entry in fs::read_dir(self.folder()).into_iter().flatten().flatten() {
            if !is_ours(&entry.file_name().to_string_lossy())
                || !entry.file_type().is_ok_and(|kind| kind.is_file())
            {
                continue;
            }
            if let Ok(file) = fs::OpenOptions::new().read(true).write(true).open(entry.path())
                && lock(&file) == Some(true)
                && is_at(&file, &entry.path())
            {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// A path that one process writes again and again: the file that is there is locked.
#[derive(Debug)]
pub(crate) struct Kept {
    output: Output,
    file: Option<File>,
}

impl Kept {
    /// The path, as it was given.
    pub(crate) fn path(&self) -> &Path {
        self.output.path()
    }

    /// Whether there is a file.
    pub(crate) fn is_there(&self) -> bool {
        self.file.is_some()
    }

    /// Writes `contents`, in place of what was there.
    ///
    /// # Errors
    /// The system refused, or another process has made the file since this one looked; what was there before is there
    /// still.
    pub(crate) fn write(&mut self, contents: &[u8]) -> Result<()> {
        let persist = if self.is_there() { NamedTempFile::persist } else { NamedTempFile::persist_noclobber };
        let path = self.path().to_owned();
        // The file before stays locked until this one, which is, has taken its place.
        self.file = Some(self.output.replace(contents, persist).map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => Error::Output {
                path,
                problem: "another process has made this file meanwhile: choose another".to_owned(),
            },
            _ => Error::File { action: "write", path, source },
        })?);
        Ok(())
    }
}

/// Locks a file: whether that was done, or another process has it. None where the file system has no locks.
fn lock(file: &File) -> Option<bool> {
    match file.try_lock() {
        Ok(()) => Some(true),
        Err(fs::TryLockError::WouldBlock) => Some(false),
        Err(fs::TryLockError::Error(_)) => None,
    }
}

/// Whether `path` still names `file`.
fn is_at(file: &File, path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let identity = |found: io::Result<fs::Metadata>| found.ok().map(|found| (found.dev(), found.ino()));
        identity(file.metadata()).is_some_and(|ours| identity(fs::symlink_metadata(path)) == Some(ours))
    }
    #[cfg(not(unix))]
    {
        let _ = file;
        path.exists()
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

    #[test]
    fn what_a_killed_process_left_is_removed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let output = Output::new(folder.path().join("out")).unwrap();
        let alive = output.temporary().unwrap();
        for name in [
            ".tilegrad-out-0123abCD.part",
            ".tilegrad-out-012abc.part",
            ".tilegrad-out-notes.t.part",
            ".tilegrad-out-0123abCD",
            ".tilegrad-out-x-0123abCD.part",
            ".tilegrad-other-0123abCD.part",
        ] {
            fs::write(folder.path().join(name), "a part").unwrap();
        }
        let before = names(folder.path());
        Output::new(output.path()).unwrap();
        let gone: Vec<String> =
            before.iter().filter(|name| !names(folder.path()).contains(name)).cloned().collect();
        assert_eq!(gone, [".tilegrad-out-0123abCD.part"]);
        assert!(alive.path().exists());
    }

    #[test]
    fn one_process_at_a_time_keeps_a_path() {
        let folder = tempfile::tempdir().unwrap();
        let output = Output::new(folder.path().join("out")).unwrap();
        let mut kept = output.clone().keep().unwrap();
        let mut late = output.clone().keep().unwrap();
        kept.write(b"one").unwrap();
        // Neither was there when both began; the first to write has it.
        assert!(late.write(b"lost").unwrap_err().to_string().contains("another process has made this file"));
        for text in [b"two", b"six"] {
            kept.write(text).unwrap();
            let refused = output.clone().keep().unwrap_err().to_string();
            assert!(refused.contains("another process is writing to this file"), "{refused}");
            assert_eq!(fs::read(output.path()).unwrap(), text);
        }
        drop(kept);
        assert!(output.keep().unwrap().is_there());
        assert_eq!(names(folder.path()), ["out"]);
    }

    #[test]
    fn a_name_as_long_as_the_system_takes_can_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let name = "ä".repeat(127);
        Output::new(folder.path().join(&name)).unwrap().write(b"x").unwrap();
        assert_eq!(names(folder.path()), [name]);
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

    #[cfg(target_os = "linux")]
    #[test]
    fn an_open_pipe_is_written_to() {
        use std::io::Read;
        use std::os::fd::AsRawFd;
        let (mut reader, writer) = std::io::pipe().unwrap();
        let output = Output::new(format!("/dev/fd/{}", writer.as_raw_fd())).unwrap();
        assert!(!output.is_file());
        output.write(b"through it").unwrap();
        drop(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "through it");
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
