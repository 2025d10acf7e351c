//! Makes the mutants: copies of the kernels' files, each with one mistake, as modules of this crate.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

#[path = "mutations.rs"]
mod mutations;

use mutations::{GROUPS, Group};

fn main() {
    let kernels = Path::new(&variable("CARGO_MANIFEST_DIR")).join("../../kernels/src");
    let out = PathBuf::from(variable("OUT_DIR"));
    println!("cargo::rerun-if-changed=mutations.rs");
    println!("cargo::rerun-if-changed={}", kernels.display());

    let (mut modules, mut table) = (String::new(), String::new());
    let mistakes = GROUPS.iter().flat_map(|group| group.mistakes.iter().map(move |mistake| (group, mistake)));
    for (number, (group, mistake)) in mistakes.enumerate() {
        let mutant = format!("mutant_{number}");
        let sources: Vec<_> = files(group)
            .map(|file| (file, fs::read_to_string(kernels.join(file)).expect("a file of the kernels")))
            .collect();
        writeln!(modules, "#[allow(warnings, clippy::all)] mod {mutant} {{").expect("memory");
        for (file, source) in &sources {
            let source = if *file == group.file { mutate(source, group, mistake) } else { source.clone() };
            let copy = out.join(&mutant).join(file);
            fs::create_dir_all(copy.parent().expect("a folder")).expect("a folder for the mutant");
            fs::write(&copy, redirect(&source, file, group, &mutant)).expect("a place for the mutant");
        }
        modules += &declare(group, &out.join(&mutant));
        writeln!(modules, "}}").expect("memory");
        for kernel in group.kernels {
            let home =
                sources.iter().find(|(_, source)| source.contains(&format!("pub unsafe fn {kernel}(")));
            let Some((home, _)) = home else { panic!("{kernel} is not in {} or its users", group.file) };
            writeln!(
                table,
                "    Mutant {{ kernel: {kernel:?}, file: {:?}, name: {:?}, \
                 install: |kernels| kernels.{kernel} = &{mutant}::{}::{} }},",
                group.file,
                mistake[0],
                module(home),
                kernel.to_uppercase(),
            )
            .expect("memory");
        }
    }
    let generated = format!("{modules}\n/// All mutants.\npub static MUTANTS: &[Mutant] = &[\n{table}];\n");
    fs::write(out.join("mutants.rs"), generated).expect("a place for the table");
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"))
}

/// The file with the mistakes and those that use it.
fn files(group: &Group) -> impl Iterator<Item = &'static str> {
    [group.file].into_iter().chain(group.users.iter().copied())
}

/// The path of a file's module: "reduce::sum" for "reduce/sum.rs".
fn module(file: &str) -> String {
    file.trim_end_matches(".rs").replace('/', "::")
}

/// The modules of the copies in `folder`, in the places that the originals have in their crate.
fn declare(group: &Group, folder: &Path) -> String {
    let mut parents: BTreeMap<String, String> = BTreeMap::new();
    for file in files(group) {
        let module = module(file);
        let (parent, name) = module.rsplit_once("::").unwrap_or(("", &module));
        let path = folder.join(file);
        *parents.entry(parent.to_owned()).or_default() += &format!("#[path = {path:?}] pub mod {name};\n");
    }
    parents
        .into_iter()
        .map(|(parent, modules)| match parent.as_str() {
            "" => modules,
            _ => format!("pub mod {parent} {{\n{modules}}}\n"),
        })
        .collect()
}

/// The file with its mistake. The text to replace must occur once: a mutation that no longer applies is an error.
fn mutate(source: &str, group: &Group, [name, from, to]: &[&str; 3]) -> String {
    let found = source.matches(from).count();
    assert!(
        found == 1,
        "mutation `{name}` of {}: its text occurs {found} times, not once: {from}",
        group.file
    );
    source.replacen(from, to, 1)
}

/// Makes a copy refer to the kernels crate for everything that is not copied with it.
fn redirect(source: &str, file: &str, group: &Group, mutant: &str) -> String {
    let module_path = module(file);
    let parent = module_path.rsplit_once("::").map_or(String::new(), |(parent, _)| format!("{parent}::"));
    let mut text =
        source.replace("crate::", "::kernels::").replace("super::", &format!("::kernels::{parent}"));
    for copied in files(group) {
        let copied = module(copied);
        text = text.replace(&format!("::kernels::{copied}::"), &format!("crate::{mutant}::{copied}::"));
    }
    text
}
