//! The fuzz targets without a fuzzer: the committed seeds, and random edits of them.
//!
//! What fails here or under cargo-fuzz becomes a seed (`tests/fuzz/seeds`), so that it is tried every time.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use kernel_suite::Kernels;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestRunner};

/// The package of the fuzz targets.
const FUZZ: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz");

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let files = files(&Path::new(FUZZ).join("seeds").join(target));
    assert!(!files.is_empty(), "no seeds for {target}");
    let committed = files.iter().map(|file| std::fs::read(file).expect("a seed"));
    let of_today = properties::files_of_today().into_iter().filter(|(taken_by, ..)| *taken_by == target);
    committed.chain(of_today.map(|(.., bytes)| bytes)).collect()
}

/// One change of a text.
#[derive(Clone, Debug)]
enum Edit {
    /// Another byte in the place of one.
    Set(Index, u8),
    /// So many bytes removed.
    Remove(Index, usize),
    /// A part of another text put in.
    Insert(Index, Vec<u8>),
}

impl Edit {
    fn apply(&self, text: &mut Vec<u8>) {
        let place = |index: &Index| index.index(text.len() + 1);
        match self {
            Edit::Set(index, byte) => {
                let place = place(index);
                text.splice(place..(place + 1).min(text.len()), [*byte]);
            }
            Edit::Remove(index, count) => {
                let place = place(index);
                text.drain(place..(place + count).min(text.len()));
            }
            Edit::Insert(index, part) => {
                let place = place(index);
                text.splice(place..place, part.iter().copied());
            }
        }
    }
}

/// A seed with a few edits.
fn edited(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let part = (select(seeds.clone()), any::<Index>(), 0..40_usize).prop_map(|(seed, begin, length)| {
        let begin = begin.index(seed.len() + 1);
        seed[begin..(begin + length).min(seed.len())].to_vec()
    });
    let edit = prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(index, byte)| Edit::Set(index, byte)),
        (any::<Index>(), 1..40_usize).prop_map(|(index, count)| Edit::Remove(index, count)),
        (any::<Index>(), part).prop_map(|(index, part)| Edit::Insert(index, part)),
    ];
    (select(seeds), vec(edit, 0..8)).prop_map(|(mut text, edits)| {
        edits.iter().for_each(|edit| edit.apply(&mut text));
        text
    })
}

/// The property holds for all seeds and for `cases` texts of each strategy.
fn holds(target: &str, cases: u32, property: fn(&[u8])) {
    let seeds = seeds(target);
    for seed in &seeds {
        property(seed);
    }
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let texts = prop_oneof![4 => edited(seeds), 1 => vec(any::<u8>(), 0..64)];
    let result = runner.run(&texts, |text| {
        property(&text);
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn checkpoint() {
    holds("checkpoint", 3000, properties::checkpoint);
}

/// From seeds of a format that is not read any more, everything is refused at once.
#[test]
fn the_files_among_the_seeds_are_of_today() {
    let mut old = Vec::new();
    for (target, name, today) in properties::files_of_today() {
        if std::fs::read(Path::new(FUZZ).join("seeds").join(target).join(name)).ok() != Some(today.clone()) {
            let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
            std::fs::write(&path, today).expect("room for a small file");
            old.push(format!("cp {} tests/fuzz/seeds/{target}/{name}", path.display()));
        }
    }
    assert!(old.is_empty(), "the formats have changed; take new seeds:\n{}", old.join("\n"));
}

#[test]
fn csv() {
    holds("csv", 10_000, properties::csv);
}

#[test]
fn encoding() {
    holds("encoding", 10_000, properties::encoding);
}

#[test]
fn launch() {
    holds("launch", 300, properties::launch);
}

#[test]
fn model() {
    holds("model", 10_000, properties::model);
}

#[test]
fn parquet() {
    holds("parquet", 10_000, properties::parquet);
}

#[test]
fn reader() {
    holds("reader", 10_000, properties::reader);
}

/// A property that is not fuzzed, or a target that is no property here, would be forgotten.
#[test]
fn each_property_is_a_fuzz_target() {
    let properties: BTreeSet<String> = properties::ALL.iter().map(|(name, _)| (*name).to_owned()).collect();
    let targets = files(&Path::new(FUZZ).join("targets"));
    let stems = targets.iter().map(|file| file.file_stem().expect("a name").to_string_lossy().into_owned());
    assert_eq!(stems.collect::<BTreeSet<_>>(), properties);
    let package = std::fs::read_to_string(Path::new(FUZZ).join("Cargo.toml")).expect("the package");
    for (name, _) in properties::ALL {
        assert!(package.contains(&format!("path = \"targets/{name}.rs\"")), "Cargo.toml lacks {name}");
    }
}

/// The first byte can choose each kernel that there is PTX for.
#[test]
fn each_kernel_is_launched() {
    let launched: BTreeSet<&str> =
        (0..=u8::MAX).map(|byte| properties::Launch::from_bytes(&[byte]).check.kernel).collect();
    assert_eq!(launched, Kernels::NAMES.iter().copied().collect());
    let ptx = |arch: &str| {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../kernels/ptx");
        std::fs::read_to_string(format!("{folder}/kernels.{arch}.ptx")).expect("the prebuilt PTX")
    };
    let ptx = ["sm_80", "sm_90a"].map(ptx).concat();
    let entries = ptx.lines().filter_map(|line| line.split_once(".entry ")?.1.split('(').next());
    let entries: BTreeSet<&str> = entries.map(str::trim).collect();
    assert_eq!(launched, entries);
}
