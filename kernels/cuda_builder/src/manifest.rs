//! The prebuilt PTX and what is known of it.

use std::fs;
use std::path::Path;
use std::process;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::build::{Module, flags};
use crate::ptx::{Entry, entries};
use crate::sources::text_hash;

/// The manifest's name beside the PTX.
pub const MANIFEST: &str = "manifest.json";

/// What is known of prebuilt PTX: what it was made from, and what is in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`source_hash`](crate::source_hash) of the sources that it was made from.
    pub sources: String,
    /// What compiled it: `rustc 1.96.0 (…)`.
    pub compiler: String,
    /// [`flags`] at that time.
    pub flags: Vec<String>,
    /// One file for each architecture.
    pub modules: Vec<Prebuilt>,
}

/// A file of prebuilt PTX.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prebuilt {
    /// The architecture: `sm_80`.
    pub arch: String,
    /// The file's name beside the manifest.
    pub file: String,
    /// The SHA-256 of the file, with line ends as `\n`.
    pub sha256: String,
    /// The kernels in it.
    pub entries: Vec<Entry>,
}

impl Manifest {
    /// Reads the manifest in `folder`.
    ///
    /// # Errors
    /// There is none, or it is not one.
    pub fn read(folder: &Path) -> Result<Self, Error> {
        let path = folder.join(MANIFEST);
        let text = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        serde_json::from_str(&text).map_err(|error| Error::Manifest { path, reason: error.to_string() })
    }

    /// Whether the PTX was made from sources with this hash, and with today's flags.
    pub fn is_current(&self, source_hash: &str) -> bool {
        self.sources == source_hash && self.flags == flags()
    }

    /// Reads the PTX that the manifest in `folder` names: architecture and text.
    ///
    /// # Errors
    /// A file is missing, or is not the one that the manifest is about.
    pub fn modules(&self, folder: &Path) -> Result<Vec<(String, String)>, Error> {
        let read = |module: &Prebuilt| {
            let path = folder.join(&module.file);
            let wrong = |reason: &str| Error::Manifest { path: path.clone(), reason: reason.to_string() };
            if !is_file_name(&module.file) {
                return Err(wrong("is not a plain file name"));
            }
            let text = fs::read_to_string(&path).map_err(Error::io("read", &path))?.replace("\r\n", "\n");
            if text_hash(text.as_bytes()) != module.sha256 {
                return Err(wrong("has been changed by hand: its hash is not the manifest's"));
            }
            if entries(&text)? != module.entries {
                return Err(wrong("has other kernels than the manifest says"));
            }
            Ok((module.arch.clone(), text))
        };
        self.modules.iter().map(read).collect()
    }

    /// Writes PTX and manifest into `folder`. Each file is complete at every moment, the manifest is the last,
    /// and PTX that it does not name is removed.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write(folder: &Path, source_hash: &str, modules: &[Module]) -> Result<Self, Error> {
        let prebuilt = |module: &Module| Prebuilt {
            arch: module.arch.clone(),
            file: format!("kernels.{}.ptx", module.arch),
            sha256: text_hash(module.ptx.as_bytes()),
            entries: module.entries.clone(),
        };
        let manifest = Manifest {
            sources: source_hash.to_string(),
            compiler: modules.first().map_or_else(String::new, |module| module.compiler.clone()),
            flags: flags(),
            modules: modules.iter().map(prebuilt).collect(),
        };
        fs::create_dir_all(folder).map_err(Error::io("write", folder))?;
        for (module, prebuilt) in modules.iter().zip(&manifest.modules) {
            replace(folder, &prebuilt.file, &module.ptx)?;
        }
        let json = manifest
            .to_json()
            .map_err(|error| Error::Manifest { path: folder.join(MANIFEST), reason: error.to_string() })?;
        replace(folder, MANIFEST, &json)?;
        for entry in fs::read_dir(folder).map_err(Error::io("read", folder))?.flatten() {
            let name = entry.file_name();
            let unknown = !manifest.modules.iter().any(|module| name == *module.file);
            if unknown && entry.path().extension().is_some_and(|extension| extension == "ptx") {
                fs::remove_file(entry.path()).map_err(Error::io("remove", &entry.path()))?;
            }
        }
        Ok(manifest)
    }

    /// The manifest as JSON with a line for each kernel, so that differences can be read.
    fn to_json(&self) -> serde_json::Result<String> {
        const NONE: &str = "\"entries\": []";
        let mut frame = self.clone();
        frame.modules.iter_mut().for_each(|module| module.entries.clear());
        let mut json = serde_json::to_string_pretty(&frame)? + "\n";
        for module in &self.modules {
            let lines: Vec<String> =
                module.entries.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
            let entries = format!("\"entries\": [\n        {}\n      ]", lines.join(",\n        "));
            json = json.replacen(NONE, &entries, 1);
        }
        Ok(json)
    }
}

fn is_file_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(['/', '\\', ':']) && name != ".."
}

/// Writes a file under a temporary name and renames it.
fn replace(folder: &Path, name: &str, text: &str) -> Result<(), Error> {
    let (path, temporary) = (folder.join(name), folder.join(format!(".{name}.{}", process::id())));
    let result = fs::write(&temporary, text).and_then(|()| fs::rename(&temporary, &path));
    result.map_err(|error| {
        // Already failing: what is left of the temporary file is not worth a second error.
        let _ = fs::remove_file(&temporary);
        Error::io("write", &path)(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(arch: &str) -> Module {
        let ptx =
            ".visible .entry f(\n\t.param .u32 f_param_0\n)\n.maxntid 32, 1, 1\n{\n\tret;\n}\n".to_string();
        let entries = entries(&ptx).unwrap();
        Module { arch: arch.into(), ptx, entries, compiler: "rustc 1.96.0".into(), messages: String::new() }
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("kernels.sm_70.ptx"), "old").unwrap();
        let modules = [module("sm_80"), module("sm_90a")];
        let written = Manifest::write(folder.path(), "abc", &modules).unwrap();
        let manifest = Manifest::read(folder.path()).unwrap();
        assert_eq!(manifest, written);
        assert!(manifest.is_current("abc") && !manifest.is_current("abd"));
        let texts = manifest.modules(folder.path()).unwrap();
        assert_eq!(texts[1], ("sm_90a".to_string(), modules[1].ptx.clone()));
        let mut names: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(
            names,
            ["kernels.sm_80.ptx", "kernels.sm_90a.ptx", MANIFEST],
            "nothing old or temporary is left"
        );

        let unix = &modules[0].ptx;
        fs::write(folder.path().join("kernels.sm_80.ptx"), unix.replace('\n', "\r\n")).unwrap();
        assert_eq!(
            manifest.modules(folder.path()).unwrap()[0].1,
            *unix,
            "a checkout with other line ends is the same"
        );
    }

    #[test]
    fn other_flags_make_it_out_of_date() {
        let folder = tempfile::tempdir().unwrap();
        let mut manifest = Manifest::write(folder.path(), "abc", &[module("sm_80")]).unwrap();
        manifest.flags.pop();
        assert!(!manifest.is_current("abc"));
    }

    #[test]
    fn files_that_do_not_fit_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let error = Manifest::read(folder.path()).unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "{error}");
        let good = Manifest::write(folder.path(), "abc", &[module("sm_80")]).unwrap();

        let mut other = good.clone();
        other.modules[0].entries[0].parameters.push("f32".into());
        let error = other.modules(folder.path()).unwrap_err().to_string();
        assert!(error.contains("other kernels"), "{error}");
        other.modules[0].file = "../kernels.sm_80.ptx".into();
        let error = other.modules(folder.path()).unwrap_err().to_string();
        assert!(error.contains("plain file name"), "{error}");

        fs::write(folder.path().join("kernels.sm_80.ptx"), "tampered").unwrap();
        let error = good.modules(folder.path()).unwrap_err().to_string();
        assert!(error.contains("changed by hand") && error.contains("cargo xtask kernels"), "{error}");
        fs::remove_file(folder.path().join("kernels.sm_80.ptx")).unwrap();
        assert!(matches!(good.modules(folder.path()), Err(Error::Io { .. })));

        for text in ["", "{}", "[1]", "{\"sources\": 3}"] {
            fs::write(folder.path().join(MANIFEST), text).unwrap();
            let error = Manifest::read(folder.path()).unwrap_err();
            assert!(matches!(error, Error::Manifest { .. }), "{text:?}: {error}");
        }
    }
}
