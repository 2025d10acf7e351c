//! RELIABILITY.md names tests; each of them must be there.

use std::fs;
use std::path::Path;

#[test]
fn the_tests_that_are_named_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("RELIABILITY.md")).expect("the file is there");
    let codes = text.split('`').skip(1).step_by(2);
    let named: Vec<(&str, &str)> = codes
        .filter_map(|code| code.split_once("::"))
        .filter(|(file, _)| file.ends_with(".rs") || file.ends_with(".py"))
        .collect();
    assert!(named.len() > 80, "only {} tests are named", named.len());
    for (file, test) in named {
        let source = fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        let defined = ["fn ", "const ", "def ", "Trial::test(\"", "Trial::test(format!(\""]
            .iter()
            .any(|before| source.contains(&format!("{before}{test}")));
        assert!(defined, "RELIABILITY.md names {test}, which is not in {file}");
    }
}
