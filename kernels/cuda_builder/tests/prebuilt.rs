//! The prebuilt PTX of the project is that of its sources.

use std::path::{Path, PathBuf};

use cuda_builder::{ARCHITECTURES, Manifest, flags, source_hash};

fn kernels() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn it_was_made_from_these_sources() {
    let manifest = Manifest::read(&kernels().join("ptx")).unwrap();
    let hash = source_hash(&kernels()).unwrap();
    assert_eq!(
        manifest.sources, hash,
        "kernels/ptx is older than the kernels' sources; run `cargo xtask kernels`, which needs a rustc with its \
         library source, and commit kernels/ptx"
    );
    assert_eq!(manifest.flags, flags(), "the flags have changed since; run `cargo xtask kernels`");
}

#[test]
fn it_is_whole() {
    let manifest = Manifest::read(&kernels().join("ptx")).unwrap();
    let modules = manifest.modules(&kernels().join("ptx")).unwrap();
    let archs: Vec<&str> = modules.iter().map(|(arch, _)| arch.as_str()).collect();
    assert_eq!(archs, ARCHITECTURES);
    for module in &manifest.modules {
        assert!(!module.entries.is_empty());
        for entry in &module.entries {
            assert!(entry.max_threads.is_some(), "kernel {} has no launch bounds", entry.name);
        }
    }
}

#[test]
fn it_names_no_machine() {
    let manifest = Manifest::read(&kernels().join("ptx")).unwrap();
    for (arch, text) in manifest.modules(&kernels().join("ptx")).unwrap() {
        for (number, line) in text.lines().enumerate() {
            assert!(!line.contains(".rs") && !line.contains("/home"), "{arch}, line {}: {line}", number + 1);
        }
    }
}
