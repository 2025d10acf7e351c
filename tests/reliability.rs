//! RELIABILITY.md names tests; each of them must be there.

use std::fs;
use std::path::Path;

#[test]
fn the_tests_that_are_named_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("RELIABILITY.md")).expect("the file is there");
    let named: Vec<(&str, &str)> =
        text.split('`').skip(1).step_by(2).filter_map(|code| code.split_once(".rs::")).collect();
    assert!(named.len() > 40, "only {} tests are named", named.len());
    for (file, test) in named {
        let source = fs::read_to_string(root.join(format!("{file}.rs")))
            .unwrap_or_else(|error| panic!("{file}.rs: {error}"));
        let defined = ["fn ", "const ", "Trial::test(\"", "Trial::test(format!(\""]
            .iter()
            .any(|before| source.contains(&format!("{before}{test}")));
        assert!(defined, "RELIABILITY.md names {test}, which is not in {file}.rs");
    }
}
