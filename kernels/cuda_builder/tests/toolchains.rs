//! Finding compilers, and what the build makes of them, with pretend toolchains of shell scripts.
#![cfg(unix)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cuda_builder::{
    Choice, CudaBuilder, Error, Manifest, Origin, Prepared, Refusal, Search, prepare, source_hash,
};
use tempfile::TempDir;

/// What the pretend cargo compiles: a kernel with launch bounds, or nothing but an error.
const PTX: &str =
    "//@launch f .maxntid 64, 1, 1\n.visible .entry f(\n\t.param .u32 f_param_0\n)\n{\n\tret;\n}\n";
const BROKEN: &str = "echo 'warning: odd' >&2; echo 'error[E0425]: cannot find value' >&2; exit 101";

/// Folders with pretend toolchains.
///
/// One at a time: a script cannot be started while another test's child still holds it open for writing.
struct Machine(TempDir, #[allow(dead_code, reason = "is held")] MutexGuard<'static, ()>);

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

impl Machine {
    fn new() -> Self {
        let guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        Machine(tempfile::tempdir().unwrap(), guard)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A toolchain of this release whose cargo runs `script`; with all that a usable one has.
    fn toolchain(&self, name: &str, release: &str, script: &str) -> PathBuf {
        let root = self.path(name);
        let version = format!("rustc {release} (0123abcd 2026-01-01)\\nrelease: {release}");
        let rustc = format!("case $1 in -vV) printf '{version}\\n';; *) echo '{}';; esac", root.display());
        executable(&root.join("bin/rustc"), &rustc);
        executable(&root.join("bin/cargo"), script);
        file(&root.join("lib/rustlib/src/rust/library/core/src/lib.rs"), "");
        root
    }

    /// A usable toolchain.
    fn good(&self, name: &str, release: &str) -> PathBuf {
        file(&self.path("ptx"), PTX);
        let script = format!(
            "while [ \"$1\" != --target-dir ]; do shift; done\n\
             mkdir -p \"$2/nvptx64-nvidia-cuda/release/deps\"\n\
             cp '{}' \"$2/nvptx64-nvidia-cuda/release/deps/kernels.s\"",
            self.path("ptx").display()
        );
        self.toolchain(name, release, &script)
    }

    /// The sources of a crate of kernels.
    fn kernels(&self) -> PathBuf {
        for name in ["Cargo.toml", "src/lib.rs", "cuda_std/Cargo.toml", "cuda_std/src/lib.rs"] {
            file(&self.path("kernels").join(name), "");
        }
        for name in ["cuda_std/macros/Cargo.toml", "cuda_std/macros/src/lib.rs"] {
            file(&self.path("kernels").join(name), "");
        }
        self.path("kernels")
    }

    /// A search in the folder `toolchains` of this machine and nowhere else.
    fn search(&self) -> Search {
        Search { toolchains: Some(self.path("toolchains")), ..Search::default() }
    }

    fn prepare(&self, choice: Choice, search: &Search) -> Result<Prepared, Error> {
        prepare(&self.path("kernels"), &["sm_80"], &self.path("target"), choice, search)
    }

    /// Makes the prebuilt PTX from the sources as they are.
    fn prebuild(&self) {
        let rustc = self.good("elsewhere", "1.96.0").join("bin/rustc");
        let compiler = Search { variable: Some(rustc), ..Search::default() }.find().unwrap();
        let builder = CudaBuilder::new(self.path("kernels")).target_folder(self.path("target"));
        let module = builder.compiler(compiler).build().unwrap();
        let hash = source_hash(&self.path("kernels")).unwrap();
        Manifest::write(&self.path("kernels/ptx"), &hash, &[module]).unwrap();
    }
}

fn file(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn executable(path: &Path, script: &str) {
    file(path, &format!("#!/bin/sh\n{script}\n"));
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn each_is_refused_for_its_own_reason() {
    let machine = Machine::new();
    machine.toolchain("toolchains/a-old", "1.94.1", "");
    fs::remove_file(machine.toolchain("toolchains/b-no-cargo", "1.95.0", "").join("bin/cargo")).unwrap();
    fs::remove_dir_all(machine.toolchain("toolchains/c-no-source", "1.95.0", "").join("lib")).unwrap();
    executable(&machine.path("toolchains/d-fails/bin/rustc"), "echo 'no default toolchain' >&2; exit 1");
    executable(&machine.path("toolchains/e-babbles/bin/rustc"), "echo hello");
    file(&machine.path("toolchains/f-not-executable/bin/rustc"), "");
    fs::create_dir_all(machine.path("toolchains/g-empty")).unwrap();
    machine.toolchain("toolchains/h-good", "1.97.0-nightly", "");

    let candidates = machine.search().candidates();
    let refusals: Vec<_> = candidates.iter().map(|candidate| candidate.usable.as_ref().err()).collect();
    let [old, cargo, source, fails, babbles, not_executable, good] = refusals[..] else {
        panic!("{candidates:?}")
    };
    assert_eq!(old, Some(&Refusal::TooOld));
    assert_eq!(cargo, Some(&Refusal::NoCargo));
    assert!(
        matches!(source, Some(Refusal::NoSource(path)) if path.ends_with("lib/rustlib/src/rust/library"))
    );
    assert!(matches!(fails, Some(Refusal::Broken(why)) if why.contains("no default toolchain")), "{fails:?}");
    assert!(matches!(babbles, Some(Refusal::Broken(why)) if why.contains("hello")), "{babbles:?}");
    assert!(matches!(not_executable, Some(Refusal::Broken(_))), "{not_executable:?}");
    assert_eq!(good, None);

    let text = candidates[0].to_string();
    assert!(text.contains("rustc 1.94.1") && text.ends_with("is older than 1.95"), "{text}");
    assert!(machine.search().find().unwrap().version.contains("1.97.0-nightly"));
}

#[test]
fn the_order_is_variable_active_rustup_system() {
    let machine = Machine::new();
    let nightly = machine.good("toolchains/nightly", "1.98.0-nightly");
    let older = machine.good("toolchains/older", "1.95.0");
    let stable = machine.good("toolchains/stable", "1.96.0");
    let system = machine.good("usr", "1.95.1");
    let mut search = Search {
        active: Some(stable.join("bin/rustc")),
        folders: vec![stable.join("bin"), system.join("bin"), machine.path("nowhere"), system.join("bin")],
        ..machine.search()
    };
    let order = |search: &Search| -> Vec<(Origin, PathBuf)> {
        search.candidates().into_iter().map(|candidate| (candidate.origin, candidate.rustc)).collect()
    };
    let expected = [
        (Origin::Active, stable.join("bin/rustc")),
        (Origin::Rustup, older.join("bin/rustc")),
        (Origin::Rustup, nightly.join("bin/rustc")),
        (Origin::System, system.join("bin/rustc")),
    ];
    assert_eq!(order(&search), expected);
    assert_eq!(search.find().unwrap().rustc, stable.join("bin/rustc"));

    search.variable = Some(system.join("bin/rustc"));
    assert_eq!(order(&search)[0], (Origin::Variable, system.join("bin/rustc")));
    assert_eq!(order(&search).len(), 4, "none is listed twice");
    assert_eq!(search.find().unwrap().cargo, system.join("bin/cargo"));
}

#[test]
fn no_other_is_taken_for_the_one_that_was_named() {
    let machine = Machine::new();
    machine.good("toolchains/good", "1.96.0");
    let search = Search { variable: Some(machine.path("missing/rustc")), ..machine.search() };
    let error = search.find().unwrap_err();
    assert!(matches!(error, Error::NotUsable { .. }));
    assert!(error.to_string().contains("TILEGRAD_DEVICE_RUSTC"), "{error}");

    machine.kernels();
    machine.prebuild();
    let error = machine.prepare(Choice::Auto, &search).unwrap_err();
    assert!(matches!(error, Error::NotUsable { .. }), "{error}");
}

#[test]
fn a_machine_without_compilers_says_so() {
    let machine = Machine::new();
    let search = Search { active: Some("no-such-rustc".into()), ..machine.search() };
    assert!(search.candidates().is_empty());
    let error = search.find().unwrap_err().to_string();
    assert!(error.contains("rustup component add rust-src") && error.contains("rust-web-src"), "{error}");

    machine.toolchain("toolchains/old", "1.63.0", "");
    let error = search.find().unwrap_err().to_string();
    assert!(error.contains("rustc 1.63.0") && error.contains("is older than 1.95"), "{error}");
}

#[test]
fn without_prebuilt_ptx_it_is_built() {
    let machine = Machine::new();
    machine.kernels();
    machine.good("toolchains/good", "1.96.0");
    for choice in [Choice::Auto, Choice::Build] {
        let prepared = machine.prepare(choice, &machine.search()).unwrap();
        let [(80, ptx)] = &prepared.modules[..] else { panic!("{prepared:?}") };
        assert!(ptx.contains(")\n.maxntid 64, 1, 1\n{") && !ptx.contains("@launch"), "{ptx}");
        assert!(prepared.provenance.starts_with("built from source by rustc 1.96.0"), "{prepared:?}");
        assert!(!prepared.is_stale && prepared.warning.is_none(), "{prepared:?}");
    }
}

#[test]
fn prebuilt_ptx_of_these_sources_is_taken_with_a_compiler_and_without() {
    let machine = Machine::new();
    machine.kernels();
    machine.prebuild();
    let prepared = machine.prepare(Choice::Auto, &machine.search()).unwrap();
    assert_eq!(prepared.modules.len(), 1);
    assert!(prepared.provenance.starts_with("prebuilt by rustc 1.96.0"), "{prepared:?}");
    assert!(!prepared.is_stale);
    assert_eq!(prepared.warning, None, "a compiler would have made the same");

    let asked = machine.prepare(Choice::Prebuilt, &machine.search()).unwrap();
    assert_eq!((asked.warning, asked.is_stale), (None, false), "what was asked for needs no warning");
    let error = machine.prepare(Choice::Build, &machine.search()).unwrap_err();
    assert!(matches!(error, Error::NoCompiler { .. }), "{error}");

    let rustc = machine.good("toolchains/good", "1.97.0").join("bin/rustc");
    assert_eq!(machine.prepare(Choice::Auto, &machine.search()).unwrap(), prepared);
    let named = Search { variable: Some(rustc), ..machine.search() };
    let built = machine.prepare(Choice::Auto, &named).unwrap().provenance;
    assert!(built.starts_with("built from source by rustc 1.97.0"), "{built}");
}

#[test]
fn older_prebuilt_ptx_builds_with_a_warning_and_is_marked() {
    let machine = Machine::new();
    let kernels = machine.kernels();
    machine.prebuild();
    file(&kernels.join("src/lib.rs"), "//! Changed.\n");
    for choice in [Choice::Auto, Choice::Prebuilt] {
        let prepared = machine.prepare(choice, &machine.search()).unwrap();
        assert!(prepared.is_stale && prepared.modules.len() == 1);
        assert!(prepared.provenance.ends_with("older than these sources"), "{prepared:?}");
        let warning = prepared.warning.unwrap();
        assert!(
            warning.contains("older than the kernels' sources") && warning.contains("cargo xtask kernels")
        );
        assert_eq!(warning.lines().count(), 1);
    }
}

#[test]
fn missing_or_damaged_prebuilt_ptx_still_builds() {
    let machine = Machine::new();
    let kernels = machine.kernels();
    let nothing = machine.prepare(Choice::Auto, &machine.search()).unwrap();
    assert!(nothing.modules.is_empty() && nothing.is_stale);
    assert!(nothing.warning.unwrap().contains("no prebuilt PTX either"));

    machine.prebuild();
    file(&kernels.join("ptx/kernels.sm_80.ptx"), "tampered");
    let damaged = machine.prepare(Choice::Prebuilt, &machine.search()).unwrap();
    assert!(damaged.modules.is_empty() && damaged.is_stale);
    assert!(damaged.provenance.contains("changed by hand"), "{}", damaged.provenance);
}

#[test]
fn what_does_not_compile_fails_where_it_has_to_be_compiled() {
    let machine = Machine::new();
    let kernels = machine.kernels();
    machine.prebuild();
    machine.toolchain("toolchains/broken", "1.96.0", BROKEN);
    assert_eq!(machine.prepare(Choice::Auto, &machine.search()).unwrap().warning, None);

    let error = machine.prepare(Choice::Build, &machine.search()).unwrap_err();
    assert!(matches!(error, Error::Compile { .. }), "{error}");
    file(&kernels.join("src/lib.rs"), "//! Changed.\n");
    let error = machine.prepare(Choice::Auto, &machine.search()).unwrap_err().to_string();
    assert!(error.contains("error[E0425]") && error.contains("warning: odd"), "all that was said: {error}");
}

#[test]
fn a_compiler_that_leaves_nothing_is_an_error() {
    let machine = Machine::new();
    machine.kernels();
    machine.toolchain("toolchains/idle", "1.96.0", "exit 0");
    let error = machine.prepare(Choice::Auto, &machine.search()).unwrap_err();
    assert!(matches!(error, Error::NoOutput { .. }), "{error}");
}

#[test]
fn the_outer_build_is_not_inherited() {
    let machine = Machine::new();
    machine.kernels();
    let script = format!("env > '{}'; exit 1", machine.path("environment").display());
    machine.toolchain("toolchains/curious", "1.96.0", &script);
    // Cargo sets CARGO_MANIFEST_DIR and others for this test itself.
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    machine.prepare(Choice::Build, &machine.search()).unwrap_err();
    let environment = fs::read_to_string(machine.path("environment")).unwrap();
    let value = |name: &str| environment.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    for name in ["CARGO_MANIFEST_DIR", "CARGO_PKG_NAME", "RUSTFLAGS", "RUSTUP_TOOLCHAIN", "CARGO_TARGET_DIR"]
    {
        assert_eq!(value(name), None, "{name}");
    }
    assert_eq!(value("RUSTC_BOOTSTRAP"), Some("1"));
    assert_eq!(value("RUSTC_WRAPPER"), Some(""));
    let flags = value("CARGO_ENCODED_RUSTFLAGS").unwrap();
    assert!(flags.contains("-Ctarget-cpu=sm_80"));
    // Both are needed for correct code.
    assert!(flags.contains("-Zmir-enable-passes=-JumpThreading"));
    assert!(flags.contains("-Cllvm-args=-simplifycfg-max-small-block-size=0"));
}

#[test]
fn an_architecture_that_is_none_is_an_error() {
    let error = CudaBuilder::new("kernels").arch("volta").build().unwrap_err();
    assert!(error.to_string().contains("sm_80"), "{error}");
}
