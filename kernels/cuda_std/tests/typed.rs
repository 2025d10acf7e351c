//! What must not compile, with the compiler's words: `compile_fail/*.stderr`.
//!
//! Each release of the compiler has words of its own. Those here are of one release; with another the test finds out
//! that the mistakes do not compile, and leaves the words alone. After a change of release:
//! `TRYBUILD=overwrite cargo test -p cuda_std --test typed`.

use std::path::Path;
use std::{env, fs, io};

/// The compiler whose words are recorded.
const RELEASE: &str = "rustc 1.95.";

#[test]
fn mistakes_do_not_compile() -> io::Result<()> {
    let compiler = env::var_os("RUSTC").unwrap_or("rustc".into());
    let version = std::process::Command::new(compiler).arg("--version").output()?.stdout;
    let recorded = Path::new("tests/compile_fail");
    if String::from_utf8_lossy(&version).starts_with(RELEASE) {
        trybuild::TestCases::new().compile_fail(recorded.join("*.rs"));
        return Ok(());
    }
    let cases = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compile_fail");
    fs::create_dir_all(&cases)?;
    for case in fs::read_dir(recorded)? {
        let case = case?.path();
        if case.extension().is_some_and(|extension| extension == "rs") {
            fs::copy(&case, cases.join(case.file_name().unwrap_or_default()))?;
        }
    }
    // trybuild takes any error as it is, and records it beside the copy.
    // SAFETY: this is the only test of this program; nothing else looks at its environment.
    unsafe { env::set_var("TRYBUILD", "overwrite") };
    trybuild::TestCases::new().compile_fail(cases.join("*.rs"));
    Ok(())
}
