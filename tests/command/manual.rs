//! What the command says of itself, and what it keeps to itself.

use super::{Place, SMALL, json, train, words};

/// Every command that does something.
pub const COMMANDS: [&str; 12] = [
    "train linear",
    "train logistic",
    "train network",
    "predict",
    "evaluate",
    "contours",
    "compare",
    "bench",
    "doctor",
    "completions",
    "man",
    "",
];

pub fn completions_are_there_for_every_shell() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = place.succeeds(&["completions", shell]);
        for word in ["tilegrad", "evaluate", "contours", "test-share", "optimiser"] {
            assert!(script.contains(word), "no {word} in {shell}'s");
        }
    }
    place.refuses(2, &["required arguments were not provided"], &["completions"]);
}

pub fn the_manual_has_every_command() {
    let page = Place::new().succeeds(&["man"]);
    assert!(page.contains(".TH tilegrad 1"), "{page}");
    for command in COMMANDS.iter().filter(|command| !command.is_empty()) {
        assert!(page.contains(&format!(".SH \"TILEGRAD {}\"", command.to_uppercase())), "{command}");
    }
    for text in ["\\-\\-test\\-share", "\\-\\-layers", "EXIT STATUS", "NOTES AND EXAMPLES"] {
        assert!(page.contains(text), "no {text:?}");
    }
}

pub fn every_command_has_help_with_examples() {
    let place = Place::new();
    for command in COMMANDS {
        let arguments: Vec<&str> =
            command.split(' ').filter(|word| !word.is_empty()).chain(["--help"]).collect();
        let help = place.succeeds(&arguments);
        if command.is_empty() {
            assert!(help.contains("Exit codes: 0 ok"), "{help}");
        } else {
            assert!(help.contains("Examples:\n  tilegrad "), "{help}");
        }
        assert!(help.contains("--quiet"), "{help}");
    }
}

pub fn quiet_says_nothing_but_what_is_wrong() {
    let place = Place::with("data.csv", "a,c,y\n1,7,3\n2,7,5\n3,7,4\n");
    let arguments = words("train linear --data data.csv --target y");
    let run = place.run(&arguments);
    assert!(run.stderr.contains("device: ") && run.stderr.contains("warning: "), "{run:?}");
    for quiet in ["--quiet", "-q"] {
        let run = place.run(&[&arguments[..], &[quiet]].concat());
        assert!(
            !run.stderr.contains("device: ") && run.stderr.starts_with("warning: feature \"c\""),
            "{run:?}"
        );
    }
    // Before the command too.
    let run = place.run(&[&["--quiet"], &train("data.csv", &["--resume", "--checkpoint", "c"])[..]].concat());
    assert!(run.code == 0 && !run.stderr.contains("resume: "), "{run:?}");
    let run = place.run(&words("--quiet predict --model none --data data.csv"));
    assert!(run.code == 2 && run.stderr.starts_with("error: "), "{run:?}");
}

pub fn doctor_prints_json_if_asked_for() {
    let out = json(&Place::with("data.csv", SMALL).succeeds(&["doctor", "--json"]));
    let engines = out["engines"].as_array().expect("a list");
    let usable = |device: &str| engines.iter().any(|e| e["device"] == device && e["usable"] == true);
    assert!(usable("loop") && usable("cpu") && usable("emulator"), "{out}");
    assert!(engines.iter().any(|e| e["device"] == "cuda"), "{out}");
    assert_eq!(out["version"], env!("CARGO_PKG_VERSION"));
    assert!(out["ptx"]["modules"].is_array() && out["auto"].is_string(), "{out}");
}
