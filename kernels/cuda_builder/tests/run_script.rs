//! The bundle's script, with pretend programs.
#![cfg(unix)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

const SCRIPT: &str = include_str!("../src/xtask/run.sh");

fn executable(path: &Path, script: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, script).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A bundle whose command ends with `cuda` for training on that device, and whose tests of the engines end with
/// `engines`.
fn bundle(cuda: u8, engines: u8) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("a bundle");
    executable(&root.join("run.sh"), SCRIPT);
    let command = format!(
        "#!/bin/sh\ncase \"$*\" in *cuda*) echo no GPU >&2; exit {cuda};; bench*) echo \"$*\";; esac\necho '{{}}'\n"
    );
    executable(&root.join("bin/tilegrad"), &command);
    executable(
        &root.join("bin/tests/kernels"),
        "#!/bin/sh\necho 'test sum/cuda ... ignored'\necho \"$TILEGRAD_ROOT\"\n",
    );
    executable(&root.join("bin/tests/engines"), &format!("#!/bin/sh\nexit {engines}\n"));
    executable(&root.join("bin/tests/determinism"), "#!/bin/sh\n");
    executable(&root.join("bin/tests/checkpoint"), "#!/bin/sh\n");
    fs::write(root.join("manifest.json"), "{\"commit\": \"0123\"}\n").unwrap();
    folder
}

fn run(folder: &Path, arguments: &[&str]) -> (Output, Option<Value>) {
    let output =
        Command::new(folder.join("a bundle/run.sh")).current_dir(folder).args(arguments).output().unwrap();
    let summary = fs::read_to_string(folder.join("results here/summary.json")).ok();
    (output, summary.map(|text| serde_json::from_str(&text).unwrap()))
}

fn sanitize(folder: &Path) -> (Output, Option<Value>) {
    let output = Command::new(folder.join("a bundle/run.sh"))
        .current_dir(folder)
        .args(["results here", "sanitize"])
        .env("COMPUTE_SANITIZER", folder.join("a bundle/compute-sanitizer"))
        .output()
        .unwrap();
    let summary = fs::read_to_string(folder.join("results here/summary.json")).ok();
    (output, summary.map(|text| serde_json::from_str(&text).unwrap()))
}

fn status<'a>(summary: &'a Value, step: &str) -> &'a str {
    let steps = summary["steps"].as_array().unwrap();
    steps.iter().find(|entry| entry["step"] == step).unwrap()["status"].as_str().unwrap()
}

#[test]
fn outcomes() {
    // One test, because a script cannot be started while another test's child still holds it open for writing.
    let folder = bundle(0, 0);
    let (output, summary) = run(folder.path(), &["results here"]);
    let summary = summary.unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(summary["bundle"]["commit"], "0123");
    assert_eq!(summary["failures"], 0);
    for step in [
        "doctor",
        "kernels",
        "engines",
        "determinism",
        "checkpoint",
        "train on loop",
        "train on cpu",
        "train on cuda",
        "compare",
        "headline on cuda",
        "rungs on cuda",
        "bench on cuda",
        "bench on cpu",
    ] {
        assert_eq!(status(&summary, step), "passed", "{step}");
    }
    let asked = fs::read_to_string(folder.path().join("results here/bench-cpu.md")).unwrap();
    let results = folder.path().join("results here");
    for text in ["--device cpu", "--commit 0123", &format!("--json {}/bench-cpu.json", results.display())] {
        assert!(asked.contains(text), "no {text:?} in {asked}");
    }
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("test sum/cuda ... ignored"), "skipped tests are said: {said}");
    let kernels = fs::read_to_string(folder.path().join("results here/kernels.txt")).unwrap();
    assert!(kernels.contains("/a bundle\n"), "tests find their data: {kernels}");

    let folder = bundle(3, 0);
    let (output, summary) = run(folder.path(), &["results here"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(status(&summary.unwrap(), "train on cuda"), "skipped");
    assert!(String::from_utf8(output.stdout).unwrap().contains("no GPU"), "the reason is said");
    // Tests that are ignored are no tests of a GPU; the simulated one's do not count.
    let kernels = folder.path().join("a bundle/bin/tests/kernels");
    let (output, summary) = run(folder.path(), &["--require-gpu", "results here", "kernels"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(status(&summary.unwrap(), "kernels on the GPU"), "failed");
    executable(
        &kernels,
        "#!/bin/sh\necho 'test all/simulated-gpu ... ignored'\necho 'test sum/gpu ... ok'\n",
    );
    let (output, summary) = run(folder.path(), &["--require-gpu", "results here", "kernels"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(summary.unwrap()["failures"], 0);

    // A kernel whose fault ends the tests: each one's is run by itself.
    let tests = "#!/bin/sh\ncase \"$*\" in --list) echo 'sum/reals/gpu: test'; echo 'dot/reals/gpu: test';; \
                 *sum/*) ;; *) echo 'an illegal address' >&2; exit 101;; esac\n";
    executable(&kernels, tests);
    let (output, summary) = run(folder.path(), &["results here", "kernels"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(status(&summary.unwrap(), "kernels"), "failed");
    let apart = fs::read_to_string(folder.path().join("results here/kernels-apart.txt")).unwrap();
    assert_eq!(apart, "sum/reals/gpu ok\ndot/reals/gpu failed: an illegal address\n");

    // Figures with nothing beside them are none where a GPU is required.
    let bench =
        "#!/bin/sh\nwhile [ \"$1\" != --json ]; do shift; done\necho 'none: cuBLAS takes no part' >\"$2\"\n";
    executable(&folder.path().join("a bundle/bin/tilegrad"), bench);
    for (arguments, code) in
        [(&["results here", "headline"][..], 0), (&["--require-gpu", "results here", "headline"], 1)]
    {
        assert_eq!(run(folder.path(), arguments).0.status.code(), Some(code), "{arguments:?}");
    }

    let folder = bundle(3, 0);
    let (output, summary) = run(folder.path(), &["--require-gpu", "results here", "train"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let summary = summary.unwrap();
    assert_eq!(status(&summary, "train on cuda"), "failed");
    assert_eq!(summary["steps"].as_array().unwrap().len(), 3, "only what was named");

    for (cuda, engines, failed) in [(1, 0, "train on cuda"), (0, 101, "engines")] {
        let folder = bundle(cuda, engines);
        let (output, summary) = run(folder.path(), &["results here"]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let summary = summary.unwrap();
        assert_eq!(status(&summary, failed), "failed");
        assert_eq!(status(&summary, "compare"), "passed", "the other steps are run all the same");
    }

    // Under compute-sanitizer: a clean log passes; findings, warnings (whose exit code is 0), a program that never came
    // to the GPU and a missing tool fail.
    let sanitizer = "#!/bin/sh\nlog=\nwhile [ $# -gt 0 ]; do case $1 in --log-file) log=$2; shift;; bin/*) break;; esac; \
                     shift; done\n\"$@\" || exit\n";
    let clean = "echo '========= ERROR SUMMARY: 0 errors' >\"$log\"\n";
    for (rest, code) in [
        (clean, 0),
        ("echo '========= ERROR SUMMARY: 2 errors' >\"$log\"; exit 86\n", 1),
        ("echo '========= RACECHECK SUMMARY: 1 hazard displayed (0 errors, 1 warning)' >\"$log\"\n", 1),
        (
            "echo '========= LEAK SUMMARY: 8 bytes leaked' >\"$log\"; echo '========= ERROR SUMMARY: 0 errors' >>\"$log\"\n",
            1,
        ),
        ("", 1),
    ] {
        let folder = bundle(0, 0);
        let root = folder.path().join("a bundle");
        executable(&root.join("bin/tests/kernels"), "#!/bin/sh\necho 'test sum/gpu ... ok'\n");
        executable(&root.join("compute-sanitizer"), &(sanitizer.to_owned() + rest));
        let (output, summary) = sanitize(folder.path());
        assert_eq!(output.status.code(), Some(code), "{rest}: {output:?}");
        let steps = summary.unwrap()["steps"].as_array().unwrap().len();
        assert!(steps >= 12, "four tools on three programs, not {steps}");
    }
    let folder = bundle(0, 0);
    executable(&folder.path().join("a bundle/compute-sanitizer"), &(sanitizer.to_owned() + clean));
    assert_eq!(sanitize(folder.path()).0.status.code(), Some(1), "a test of the GPU was ignored");
    let folder = bundle(0, 0);
    assert_eq!(sanitize(folder.path()).0.status.code(), Some(1), "there is no tool");

    let folder = bundle(0, 0);
    for wrong in [&[][..], &["--help"], &["results here", "dance"], &[""]] {
        let (output, summary) = run(folder.path(), wrong);
        assert_eq!(output.status.code(), Some(2), "{wrong:?}: {output:?}");
        assert!(summary.is_none(), "{wrong:?}");
    }
}
