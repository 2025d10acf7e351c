//! `tilegrad bench` on the simulated driver. Its times say nothing; what is checked, refused and written does.

use serde_json::Value;

use crate::{Place, Run};

/// The command at small shapes, with what is given more; its JSON.
fn bench(script: &str, more: &str) -> (Run, Value) {
    let place = Place::new();
    let run =
        place.run(script, &format!("bench --device cuda --small --json times.json --plot roof.svg {more}"));
    let written = place.path("times.json").exists();
    assert_eq!(written, place.path("roof.svg").exists(), "{run:?}");
    assert!(run.report.is_clean(), "{run:?}");
    let json =
        if written { String::from_utf8(place.read("times.json")).expect("UTF-8") } else { "null".to_owned() };
    let picture =
        if written { String::from_utf8(place.read("roof.svg")).expect("UTF-8") } else { String::new() };
    assert!(!picture.contains("NaN") && !picture.contains("inf"), "{picture}");
    (run, serde_json::from_str(&json).expect("JSON"))
}

pub fn kernels_are_timed_if_they_are_right() {
    let (run, report) = bench("", "--filter relu");
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{run:?}");
    assert!(run.stdout.contains("Kernels, by the GPU's clock"), "{}", run.stdout);
    let gpu = &report["gpu"];
    assert_eq!((&gpu["name"], &gpu["multiprocessors"]), (&"Simulated GPU 0".into(), &108.into()));
    assert_eq!((&gpu["driver_cuda"], &gpu["clock_hz"]), (&"13.0".into(), &1.41e9.into()));
    // 108 multiprocessors of 64 lanes, two operations each.
    assert_eq!(report["limits"]["arithmetic"], 2.0 * 108.0 * 64.0 * 1.41e9);
    assert!(report["limits"]["bandwidth"].as_f64().is_some_and(|bandwidth| bandwidth > 0.0));
    let results = report["results"].as_array().expect("a list");
    let of = |name: &str| results.iter().filter(|row| row["name"] == name).count();
    assert_eq!((of("relu"), of("dense_relu")), (2, 2), "{report}");
    for row in results {
        assert_eq!(row["kind"], "kernel");
        assert!(row["seconds"]["median"].as_f64().is_some_and(|median| median > 0.0), "{row}");
        assert!(row["error_over_bound"].as_f64().is_some_and(|part| part <= 1.0), "{row}");
    }
    // Two sets of the small operands at least; graphs, not single launches.
    assert!(results[0]["seconds"]["repeats"].as_u64().is_some_and(|repeats| repeats >= 1), "{report}");
    assert!(run.report.0["calls"]["cuGraphLaunch"].as_u64().is_some_and(|launches| launches > 0), "{run:?}");
}

pub fn operations_are_timed_on_the_engine() {
    let (run, report) = bench("", "--filter moments");
    assert_eq!(run.code, 0, "{run:?}");
    let results = report["results"].as_array().expect("a list");
    let operations =
        results.iter().filter(|row| row["kind"] == "operation" && row["name"] == "column moments");
    assert_eq!(operations.count(), 1, "{report}");
    assert!(run.stdout.contains("Operations of the engine, by the host's clock"), "{}", run.stdout);
}

pub fn a_driver_that_fails_ends_the_bench() {
    for (script, said) in [
        ("fail=cuGraphInstantiateWithFlags:1", "cuGraphInstantiateWithFlags failed"),
        ("fail=cuEventRecord:1", "cuEventRecord failed"),
        ("fail=cuMemcpyDtoDAsync:1=1", "cuMemcpyDtoDAsync failed"),
        ("kernel=9=719", "(719)"),
        ("lost=100", "(999)"),
    ] {
        let (run, report) = bench(script, "--filter relu");
        assert_eq!((run.code, run.stdout.as_str()), (1, ""), "{script}: {run:?}");
        assert!(run.stderr.contains(said) && report.is_null(), "{script}: {run:?}");
    }
}
