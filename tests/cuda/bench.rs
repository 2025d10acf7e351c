//! `tilegrad bench` on the simulated driver. Its times say nothing; what is checked, refused and written does.

use std::fs;
use std::path::Path;

use kernel_suite::simulated;
use serde_json::Value;

use crate::command::without;
use crate::{Place, Run};

/// The command at small shapes, with what is given more; its JSON.
fn bench(script: &str, more: &str) -> (Run, Value) {
    bench_beside(None, script, more)
}

/// The same beside this cuBLAS.
fn bench_beside(cublas: Option<&Path>, script: &str, more: &str) -> (Run, Value) {
    let place = Place::new();
    let driver = simulated::library().expect("it was there when the tests began");
    let cublas = cublas.unwrap_or(Path::new("/nonexistent/libcublas.so"));
    let run = place.run_with(
        &driver,
        cublas,
        script,
        &format!("bench --device cuda --small --json times.json --plot roof.svg {more}"),
    );
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
    let both = "matmul_split_k + dense_split_k_relu";
    assert_eq!((of("relu"), of("dense_relu"), of(both)), (2, 2, 2), "{report}");
    assert_eq!((&report["complete"], &report["problem"]), (&true.into(), &Value::Null));
    for row in results {
        assert_eq!(row["kind"], if row["name"] == both { "sequence" } else { "kernel" });
        assert!(row["seconds"]["median"].as_f64().is_some_and(|median| median > 0.0), "{row}");
        assert!(row["error_over_bound"].as_f64().is_some_and(|part| part <= 1.0), "{row}");
    }
    // Two sets of the small operands at least; graphs, not single launches.
    assert!(results[0]["seconds"]["repeats"].as_u64().is_some_and(|repeats| repeats >= 1), "{report}");
    assert!(run.report.0["calls"]["cuGraphLaunch"].as_u64().is_some_and(|launches| launches > 0), "{run:?}");
}

pub fn rungs_are_compared() {
    let (run, report) = bench("capability=90", "--rungs");
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{run:?}");
    let results = report["results"].as_array().expect("a list");
    let whole = "matmul_split_k + matmul_split_k_finish";
    for (kernel, count) in
        [("matmul_tiled", 2), ("matmul_split_k", 0), (whole, 2), ("matmul_wgmma", 2), ("matmul_bf16", 2)]
    {
        assert_eq!(results.iter().filter(|row| row["name"] == kernel).count(), count, "{kernel}: {report}");
    }
    let (_, table) = run.stdout.split_once("## Rungs").expect("there is such a part");
    assert!(table.contains("256×256×64") && table.contains("for fp32"), "{table}");
    assert!(table.contains("- split-K in place of the tiled rung, by the shorter side of C: "), "{table}");
    // 50 along k is too short for three products by warpgroups to be as accurate as fp32.
    let [_, _, _, _, short, wgmma] = table
        .lines()
        .find(|line| line.starts_with("100×60×50"))
        .expect("it is there")
        .split_whitespace()
        .take(6)
        .collect::<Vec<_>>()[..]
    else {
        panic!("{table}")
    };
    assert!(short != "–" && wgmma == "–", "{table}");
    let (run, report) = bench("", "--rungs");
    assert_eq!((run.code, &report["missing"]), (0, &serde_json::json!(["matmul_wgmma"])), "{run:?}");
    assert!(
        run.stdout.contains("Not on this GPU, for which they have no PTX: matmul_wgmma."),
        "{}",
        run.stdout
    );
}

/// What was measured decides on the GPU it was measured on; elsewhere, and if it is not whole, it is refused, but for measuring again.
pub fn measured_rungs_are_taken() {
    const HOPPER: &str = "capability=90";
    let mut place = Place::new();
    let measure = "bench --device cuda --small --rungs --json rungs.json";
    let run = place.run(HOPPER, measure);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    let mut report: Value = serde_json::from_slice(&place.read("rungs.json")).expect("JSON");
    let sizes = report["rungs"].as_object().expect("an object");
    assert_eq!(sizes.len(), 5, "{sizes:?}");
    let filtered = "bench --device cuda --small --rungs --filter tiled --json some.json";
    assert_eq!(place.run(HOPPER, filtered).code, 0);
    let some: Value = serde_json::from_slice(&place.read("some.json")).expect("JSON");
    assert_eq!((&some["complete"], &some["rungs"]), (&true.into(), &Value::Null), "not of all rungs");

    let row = |i: usize| (0..65).map(|j| format!("{}", (7 * i + j * j) % 11)).collect::<Vec<_>>().join(",");
    let names: Vec<String> = (0..64).map(|j| format!("x{j}")).collect();
    let rows: Vec<String> = (0..70).map(row).collect();
    let text = format!("{},y\n{}\n", names.join(","), rows.join("\n"));
    fs::write(place.path("wide.csv"), text).expect("the folder can be written to");
    let train = "train network --data wide.csv --target y --layers 64:sigmoid,11:softmax --epochs 2 --batch-size 70 \
                 --learning-rate 0.01 --history h --device cuda";
    let costs = |place: &Place| {
        let run = place.run(HOPPER, train);
        assert_eq!(run.code, 0, "{}", run.stderr);
        String::from_utf8(place.read("h")).expect("it is text")
    };
    let estimated = costs(&place);
    report["shapes"] = "timed".into();
    for sizes in [["split_k", "warp_tiled"], ["split_k", "wgmma"]] {
        for (rung, size) in report["rungs"].as_object_mut().expect("an object") {
            *size = sizes.contains(&rung.as_str()).then_some(1).into();
        }
        fs::write(place.path("rungs.json"), report.to_string()).expect("the folder can be written to");
        place.rungs = Some("rungs.json");
        // Products of tensor cores are as good, and others.
        assert_eq!(costs(&place) == estimated, sizes[1] == "warp_tiled", "{estimated}");
        let doctor = place.run(HOPPER, "doctor").stdout;
        assert!(doctor.contains("driver for CUDA 13.0, rungs as measured in rungs.json)"), "{doctor}");
    }
    for (script, problem) in [
        ("capability=90 gpus=0", "no GPU"),
        ("", "takes a kernel that this driver is too old for: update it, or measure again"),
    ] {
        let run = place.run(script, train);
        assert!(run.code == 3 && run.stderr.contains(problem), "{script}: {} {}", run.code, run.stderr);
    }
    report["gpu"]["name"] = "NVIDIA T4".into();
    fs::write(place.path("rungs.json"), report.to_string()).expect("the folder can be written to");
    for line in [train, "bench --device cuda --small --filter relu"] {
        let run = place.run(HOPPER, line);
        let problem = "TILEGRAD_RUNGS names rungs.json, which was measured on NVIDIA T4, and this is Simulated GPU 0; unset it, or \
                       measure the rungs of this GPU: tilegrad bench --device cuda --rungs --json FILE";
        assert!(run.code == 3 && run.stderr.contains(problem), "{line}: {} {}", run.code, run.stderr);
    }
    let run = place.run(HOPPER, measure);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "measured again");
}

pub fn the_headline_is_of_the_figures_that_are_asked_for_first() {
    let (run, report) = beside_cublas("capability=90", "--headline");
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{run:?}");
    let results = report["results"].as_array().expect("a list");
    for (name, peer) in [
        ("squared_error_step + descent_finish", Some("two cublasSgemv")),
        ("column_moments", None),
        ("matmul_warp_tiled", Some("cublasSgemm")),
        ("matmul_tf32x3", Some("cublasSgemm")),
        ("matmul_wgmma", Some("cublasSgemm")),
        ("matmul_split_k + dense_split_k_sigmoid", Some("cublasLtMatmul bias + our sigmoid")),
        ("descent step", Some("two cublasSgemv")),
    ] {
        let row = results.iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("no {name}"));
        assert_eq!(row["against"][0]["peer"].as_str(), peer, "{row}");
    }
    assert!(results.iter().all(|row| row["name"] != "relu"), "{report}");
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

pub fn a_wrong_result_gets_no_figure() {
    // Kernels run once in their check, in the order of the list; layers once each.
    for (script, filter, name, kind) in
        [("garble=1", "relu", "relu", "kernel"), ("garble=1", "layers", "network of 3 layers", "operation")]
    {
        let (run, report) = bench(script, &format!("--filter {filter}"));
        assert_eq!(run.code, 1, "{run:?}");
        let wrong = format!("error: 1 result is wrong, and without figures: {name} at ");
        assert!(run.stderr.contains(&wrong), "{run:?}");
        assert!(run.stdout.contains("WRONG: ") && run.stdout.contains("NaN"), "{}", run.stdout);
        let results = report["results"].as_array().expect("a list");
        let (right, wrong): (Vec<&Value>, _) = results.iter().partition(|row| row["problem"].is_null());
        assert_eq!((wrong.len(), &wrong[0]["kind"]), (1, &kind.into()), "{report}");
        assert!(wrong[0]["seconds"].is_null(), "{report}");
        assert!(!right.is_empty() && right.iter().all(|row| median(row) > 0.0), "{report}");
    }
    let (run, report) = bench("capability=90 garble=1", "--rungs");
    assert_eq!((run.code, &report["complete"], &report["rungs"]), (1, &true.into(), &Value::Null));
}

pub fn a_driver_that_tells_no_clock_leaves_arithmetic_out() {
    let (run, _) = bench("", "--filter network");
    // The limits ask for the clocks with four attributes, and then the facts about the GPU do.
    let asked = run.report.0["calls"]["cuDeviceGetAttribute"].as_u64().expect("a number");
    let (run, report) = bench(&format!("fail=cuDeviceGetAttribute:{}", asked - 7), "--filter network");
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.stdout.contains("Arithmetic: the driver does not tell the clock"), "{}", run.stdout);
    assert!(
        report["limits"]["arithmetic"].is_null() && report["limits"]["bandwidth"].is_number(),
        "{report}"
    );
    assert!(report["results"][0]["of_arithmetic"].is_null(), "{report}");
    let (_, report) = bench(&format!("fail=cuDeviceGetAttribute:{}", asked - 3), "--filter network");
    assert!(report["limits"]["arithmetic"].is_number() && report["gpu"]["clock_hz"].is_null(), "{report}");
}

pub fn a_driver_that_fails_ends_the_bench() {
    for (script, said) in [
        ("fail=cuGraphInstantiateWithFlags:1", "cuGraphInstantiateWithFlags failed"),
        ("fail=cuGraphInstantiateWithFlags:1=801", "lacks the function: update NVIDIA's driver"),
        ("fail=cuEventElapsedTime:1", "cuEventElapsedTime failed"),
        ("fail=cuMemcpyDtoDAsync:1=1", "cuMemcpyDtoDAsync failed"),
        ("kernel=9=719", "(719)"),
        ("lost=100", "(999)"),
    ] {
        let (run, report) = bench(script, "--filter relu");
        assert_eq!(run.code, 1, "{script}: {run:?}");
        assert!(run.stderr.contains(said), "{script}: {run:?}");
        match report["results"].as_array() {
            None => assert_eq!(run.stdout, "", "{script}: {run:?}"),
            Some(_) => assert_eq!(report["complete"], false, "{script}: {report}"),
        }
    }
}

pub fn what_was_timed_before_a_driver_failed_is_kept() {
    let (run, report) = bench("fail=cuGraphInstantiateWithFlags:3", "--filter relu");
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stderr.contains("cuGraphInstantiateWithFlags failed"), "{run:?}");
    assert!(run.stderr.contains("what was timed before is in the table"), "{run:?}");
    let results = report["results"].as_array().expect("a list");
    assert_eq!((results.len(), &report["complete"]), (2, &false.into()), "{report}");
    assert!(results.iter().all(|row| row["name"] == "relu" && median(row) > 0.0), "{report}");
    let problem = report["problem"].as_str().expect("a text");
    assert!(problem.contains("cuGraphInstantiateWithFlags failed"), "{problem}");
    assert!(run.stdout.contains("**Not complete**"), "{}", run.stdout);
}

/// The driver's library is cuBLAS as well: both have the same memory.
fn beside_cublas(script: &str, more: &str) -> (Run, Value) {
    bench_beside(Some(&simulated::library().expect("it was there when the tests began")), script, more)
}

pub fn cublas_is_timed_on_the_same_work() {
    let split = "matmul_split_k + matmul_split_k_finish";
    let layers =
        |epilogue: &str| ["", " TF32", " bf16"].map(|way| &*format!("cublasLtMatmul{way} {epilogue}").leak());
    for (filter, name, peers) in [
        ("matmul_naive", "matmul_naive", &["cublasSgemm", "cublasGemmEx TF32", "cublasGemmEx bf16"][..]),
        ("naive_tn", "matmul_naive_tn", &["cublasSgemm tn", "cublasGemmEx TF32 tn", "cublasGemmEx bf16 tn"]),
        ("naive_nt", "matmul_naive_nt", &["cublasSgemm nt", "cublasGemmEx TF32 nt", "cublasGemmEx bf16 nt"]),
        ("naive_tt", "matmul_naive_tt", &["cublasSgemm tt", "cublasGemmEx TF32 tt", "cublasGemmEx bf16 tt"]),
        ("split_k", split, &["cublasSgemm", "cublasGemmEx TF32", "cublasGemmEx bf16"]),
        ("dense_identity", "dense_identity", &layers("bias")),
        ("dense_relu", "dense_relu", &layers("bias ReLU")),
        ("dense_sigmoid", "dense_sigmoid", &layers("bias + our sigmoid")),
        ("sigmoid", "dense sigmoid", &layers("bias + our sigmoid")),
        ("dense_split", "matmul_split_k + dense_split_k_relu", &layers("bias ReLU")),
        ("matrix_vector", "matrix_vector", &["cublasSgemv"]),
        ("gradient", "gradient", &["cublasSgemv t"]),
        ("descent", "descent step", &["two cublasSgemv"]),
        ("log_loss_step", "log_loss_step + descent_finish", &["two cublasSgemv"]),
    ] {
        let (run, report) = beside_cublas("", &format!("--filter {filter}"));
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{filter}: {run:?}");
        let said = report["peers"][0].as_str().expect("a text");
        assert!(said.starts_with("cuBLAS, version 120304, from /"), "{said}");
        let results = report["results"].as_array().expect("a list");
        let row =
            results.iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("no {name}: {report}"));
        let against = row["against"].as_array().unwrap_or_else(|| panic!("{name} stands alone: {report}"));
        let names: Vec<&str> = against.iter().map(|peer| peer["peer"].as_str().expect("a name")).collect();
        assert_eq!(names, peers, "{filter}");
        for peer in against {
            let theirs = results
                .iter()
                .find(|other| other["name"] == peer["peer"] && other["shape"] == row["shape"])
                .expect("it has a row");
            assert_eq!((&theirs["kind"], &theirs["error_over_bound"]), (&"peer".into(), &Value::Null));
            let ratio = median(theirs) / median(row);
            assert!((peer["ratio"].as_f64().expect("a number") / ratio - 1.0).abs() < 1e-9, "{peer}");
        }
    }
}

fn median(row: &Value) -> f64 {
    row["seconds"]["median"].as_f64().unwrap_or_else(|| panic!("no figure: {row}"))
}

pub fn cublas_that_cannot_be_used_takes_no_part() {
    let place = Place::new();
    let library = simulated::library().expect("it was there when the tests began");
    let incomplete = without("cublasGemmEx", &place);
    for (cublas, script, said) in [
        (Path::new("/nonexistent/libcublas.so"), "", "/nonexistent/libcublas.so cannot be loaded"),
        (&incomplete, "", "has no cublasGemmEx; install that of CUDA 11 or later"),
        (&library, "cublas=10203", "is version 10203, and 11 is the oldest"),
        (&library, "fail=cublasCreate:1", "cublasCreate failed"),
        (&library, "fail=cublasLtCreate:1", "cublasLtCreate failed"),
        (&library, "fail=cublasGetVersion:1", "CUBLAS_STATUS_EXECUTION_FAILED (13)"),
    ] {
        let (run, report) = bench_beside(Some(cublas), script, "--filter matrix_vector");
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{said}: {run:?}");
        let peers = report["peers"][0].as_str().expect("a text");
        assert!(peers.starts_with("none: cuBLAS takes no part, for ") && peers.contains(said), "{peers}");
        assert!(run.stdout.contains(said), "{}", run.stdout);
        let results = report["results"].as_array().expect("a list");
        assert!(results.iter().all(|row| row["kind"] != "peer" && row.get("against").is_none()), "{report}");
    }
}

pub fn a_cublas_that_is_wrong_or_fails_gets_no_figure() {
    for (script, said) in [
        ("spoil=1", "must be"),
        (
            "fail=cublasSgemm:1",
            "cublasSgemm failed (a product of 256 × 256 over 64): CUBLAS_STATUS_EXECUTION_FAILED",
        ),
        ("fail=cublasSgemm:3=15", "CUBLAS_STATUS_NOT_SUPPORTED (15)"),
        ("fail=cublasSetStream:1=1", "cublasSetStream failed: CUBLAS_STATUS_NOT_INITIALIZED"),
        ("fail=cublasSetWorkspace:1=7", "cublasSetWorkspace failed"),
    ] {
        let (run, report) = beside_cublas(script, "--filter matmul_register_tiled");
        assert_eq!(run.code, 1, "{script}: {run:?}");
        assert!(
            run.stderr.contains("error: 1 result is wrong, and without figures: cublasSgemm at 256×256×64"),
            "{run:?}"
        );
        let results = report["results"].as_array().expect("a list");
        let row = results.iter().find(|row| row["name"] == "cublasSgemm").expect("it is there");
        assert!(row["seconds"].is_null(), "{row}");
        assert!(row["problem"].as_str().is_some_and(|problem| problem.contains(said)), "{script}: {row}");
        let ours = results.iter().find(|row| row["kind"] == "kernel").expect("it is there");
        assert_eq!(ours["against"].as_array().map(Vec::len), Some(2), "{ours}");
    }
}

pub fn a_layer_of_cublas_that_fails_gets_no_figure() {
    for (script, said) in [
        ("spoil=1", "must be"),
        ("fail=cublasLtMatmulDescCreate:1=3", "cublasLtMatmulDescCreate failed"),
        ("fail=cublasLtMatmulDescSetAttribute:1=7", "cublasLtMatmulDescSetAttribute failed"),
        ("fail=cublasLtMatmulDescSetAttribute:2=7", "cublasLtMatmulDescSetAttribute failed"),
        ("fail=cublasLtMatrixLayoutCreate:3=3", "cublasLtMatrixLayoutCreate failed"),
        ("fail=cublasLtMatmulPreferenceCreate:1=3", "cublasLtMatmulPreferenceCreate failed"),
        ("fail=cublasLtMatmulPreferenceSetAttribute:1=7", "cublasLtMatmulPreferenceSetAttribute failed"),
        ("fail=cublasLtMatmulAlgoGetHeuristic:1=15", "CUBLAS_STATUS_NOT_SUPPORTED (15)"),
        ("fail=cublasLtMatmul:1", "cublasLtMatmul failed (a layer of 256 × 256 over 64)"),
        ("fail=cublasLtMatmul:3=15", "CUBLAS_STATUS_NOT_SUPPORTED (15)"),
    ] {
        let (run, report) = beside_cublas(script, "--filter dense_relu");
        assert_eq!(run.code, 1, "{script}: {run:?}");
        let wrong = "error: 1 result is wrong, and without figures: cublasLtMatmul bias ReLU at 256×256×64";
        assert!(run.stderr.contains(wrong), "{script}: {run:?}");
        let results = report["results"].as_array().expect("a list");
        let row = results.iter().find(|row| row["name"] == "cublasLtMatmul bias ReLU").expect("it is there");
        assert!(row["problem"].as_str().is_some_and(|problem| problem.contains(said)), "{script}: {row}");
        let ours = results.iter().find(|row| row["kind"] == "kernel").expect("it is there");
        assert_eq!(ours["against"].as_array().map(Vec::len), Some(2), "{ours}");
    }
}
