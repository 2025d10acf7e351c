//! The command on the simulated driver: its results, and its words and exit codes where the driver fails.

use std::fs;

use serde_json::Value;

use crate::{Place, Run};
use kernel_suite::simulated;

const TRAIN: &str = "train linear --data small.csv --target y --iterations 2 --device cuda --model model";

/// Training with a script must end with `code` and a message with each of `texts`, give everything back and leave no
/// file.
fn refused(script: &str, code: i32, texts: &[&str]) -> Run {
    let place = Place::new();
    let run = place.run(script, TRAIN);
    assert_eq!((run.code, run.stdout.as_str()), (code, ""), "{script}: {run:?}");
    for text in texts {
        assert!(run.stderr.contains(text), "{script}: no {text:?} in {run:?}");
    }
    assert_eq!(run.stderr.matches("error: ").count(), 1, "{run:?}");
    assert!(run.report.0.is_null() || run.report.is_clean(), "{script}: {run:?}");
    assert_eq!(place.files(), ["small.csv"]);
    run
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

pub fn training_and_prediction_are_the_emulators_bit_for_bit() {
    let place = Place::new();
    let data = include_str!("../data/diabetes.csv");
    fs::write(place.path("diabetes.csv"), data).expect("the folder can be written to");
    let mut results = Vec::new();
    for device in ["cuda", "emulator"] {
        let run = |line: &str| {
            let run = place.run("", &format!("{line} --device {device}"));
            assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{run:?}");
            assert!(run.report.0.is_null() == (device == "emulator"), "{run:?}");
            assert!(run.report.0.is_null() || run.report.is_clean(), "{run:?}");
            run.stdout
        };
        let trained =
            run("train linear --data diabetes.csv --target progression --iterations 100 --model model \
                           --history history --json");
        let mut trained = json(&trained);
        assert_eq!(trained["device"].take(), device);
        trained["seconds"].take();
        let predicted = run("predict --model model --data diabetes.csv");
        assert_eq!(predicted.lines().count(), data.lines().count());
        results.push((trained, place.read("history"), predicted));
    }
    assert!(results[0] == results[1], "{results:?}");
}

/// By mini-batches, through every head and rule; the last batch of an epoch is smaller.
pub fn networks_learn_as_on_the_emulator_bit_for_bit() {
    let place = Place::new();
    let classes = "a,b,kind\n1,2,red\n2,1,blue\n3,5,green\n4,4,red\n0,1,blue\n2,2,green\n5,1,red\n";
    fs::write(place.path("classes.csv"), classes).expect("the folder can be written to");
    for (data, more) in [
        ("classes.csv --target kind", "--layers 5:relu,3:softmax --optimiser adam --batch-size 3"),
        (
            "small.csv --target y",
            "--layers 4:sigmoid,1:identity --optimiser momentum --l2 0.01 --batch-size 3",
        ),
    ] {
        let on = |device: &str| {
            let line = format!(
                "train network --data {data} {more} --epochs 4 --model m --history h --device {device}"
            );
            let run = place.run("", &line);
            assert_eq!(run.code, 0, "{run:?}");
            assert!(run.report.0.is_null() || run.report.is_clean(), "{run:?}");
            let history = String::from_utf8(place.read("h")).expect("it is text");
            let predicted = place.run(
                "",
                &format!(
                    "predict --model m --data {} --device {device}",
                    data.split(' ').next().unwrap_or(data)
                ),
            );
            assert_eq!(predicted.code, 0, "{predicted:?}");
            (history, predicted.stdout)
        };
        assert_eq!(on("cuda"), on("emulator"), "{more}");
    }
}

/// The step for wide rows has 149 KiB of shared memory, more than compute capability 8.6, 8.9 and 12.0 have.
pub fn a_gpu_with_little_shared_memory_goes_over_the_samples_twice() {
    let place = Place::new();
    let columns: Vec<String> = (0..200).map(|j| format!("x{j}")).collect();
    let row = |i: usize| (0..201).map(|j| format!("{}", (7 * i + j * j) % 11)).collect::<Vec<_>>().join(",");
    let rows: Vec<String> = (0..30).map(row).collect();
    let text = format!("{},y\n{}\n", columns.join(","), rows.join("\n"));
    fs::write(place.path("wide.csv"), text).expect("the folder can be written to");
    let costs = |script: &str| {
        let line = "train linear --data wide.csv --target y --learning-rate 0.001 --iterations 20 --history h \
                    --device cuda";
        let run = place.run(script, line);
        assert_eq!(run.code, 0, "{run:?}");
        let calls = run.report.0["calls"]["cuFuncSetAttribute"].as_u64().unwrap_or(0);
        let history = String::from_utf8(place.read("h")).expect("it is text");
        let costs = history
            .lines()
            .skip(1)
            .map(|line| line.rsplit(',').next().and_then(|cost| cost.parse::<f64>().ok()).expect("a cost"));
        (calls, costs.collect::<Vec<_>>())
    };
    let ((once, one), (never, two)) = (costs(""), costs("capability=89 shared=101376"));
    assert!(once > 0 && never == 0, "{once} and {never} kernels ask for more shared memory");
    assert!(one.len() == two.len() && one.len() >= 20, "{one:?} {two:?}");
    assert!(one.iter().zip(&two).all(|(one, two)| (one - two).abs() <= 1e-5 * one), "{one:?} {two:?}");
}

pub fn a_gpu_of_few_multiprocessors_takes_fewer_blocks() {
    let place = Place::new();
    // Twelve blocks are sure to be resident, as many as the suite asks for; the networks have 15 and 16 tiles.
    let run = place.run("multiprocessors=6", "bench --device cuda --small --filter network");
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{}", run.stdout);
    assert!(run.stdout.contains("network of 3 layers"), "{}", run.stdout);
}

/// Training of 12 steps on a device, with the checkpoint in "c" and the rest to be added.
const CHECKPOINTED: &str =
    "train linear --data small.csv --target y --history h --json --model m --iterations 12 --device";

pub fn training_goes_on_from_a_checkpoint_to_the_same_bits() {
    let place = Place::new();
    let run = |line: &str| {
        let run = place.run("", &format!("{CHECKPOINTED} {line}"));
        assert_eq!(run.code, 0, "{run:?}");
        assert!(run.report.is_clean(), "{run:?}");
        let mut summary = json(&run.stdout);
        summary["seconds"].take();
        (summary, place.read("m"), place.read("h"))
    };
    let never_stopped = run("cuda");
    for stop in [1, 2, 5, 11, 12] {
        let part = CHECKPOINTED.replace("12", &stop.to_string());
        let part = place.run("", &format!("{part} cuda --checkpoint c --every 2"));
        assert!(part.code == 0 && part.report.is_clean(), "{part:?}");
        assert!(run("cuda --checkpoint c --resume") == never_stopped, "from {stop}");
        if stop < 12 {
            fs::remove_file(place.path("c")).expect("it is there");
        }
    }
    // The emulator's bits are the same here; what is promised is promised for one engine.
    let run = place.run("", &format!("{CHECKPOINTED} emulator --checkpoint c --resume"));
    assert_eq!(run.code, 2, "{run:?}");
    assert!(
        run.stderr.contains("the engine was cuda, compute capability 8.0, and is emulator now"),
        "{run:?}"
    );
}

pub fn training_that_fails_leaves_a_checkpoint() {
    let place = Place::new();
    let run = |script: &str, more: &str| place.run(script, &format!("{CHECKPOINTED} cuda{more}"));
    assert_eq!(run("", "").code, 0);
    let never_stopped = (place.read("m"), place.read("h"));
    let mut iterations = Vec::new();
    // Kernels and waits, early and late.
    for script in
        ["kernel=3=700", "kernel=20=719", "fail=cuMemcpyDtoHAsync:20", "lost=200", "fail=cuLaunchKernel:22"]
    {
        let failed = run(script, " --checkpoint c --every 1");
        assert_eq!((failed.code, failed.stdout.as_str()), (1, ""), "{script}: {failed:?}");
        let left = tilegrad::models::Checkpoint::load(place.path("c"));
        iterations.push(left.expect("it is whole").iteration());
        let resumed = run("", " --checkpoint c --every 1 --resume");
        assert_eq!(resumed.code, 0, "{script}: {resumed:?}");
        assert!((place.read("m"), place.read("h")) == never_stopped, "{script}");
        fs::remove_file(place.path("c")).expect("it is there");
    }
    assert!(iterations.contains(&0) && iterations.iter().any(|iteration| *iteration > 3), "{iterations:?}");
}

pub fn compare_takes_part() {
    let line = "compare --samples 70 --features 9 --iterations 1 --devices loop,cuda --json";
    let run = Place::new().run("", line);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.report.is_clean(), "{run:?}");
    let row = &json(&run.stdout)["engines"][1];
    assert!(row["description"].as_str().is_some_and(|text| text.contains("Simulated GPU 0")), "{row}");
    for work in ["descent", "dense"] {
        assert!(row[work]["difference"].as_f64().is_some_and(|difference| difference < 1e-5), "{row}");
    }
}

pub fn doctor_and_auto_know_the_gpu() {
    let place = Place::new();
    let doctor = place.run("", "doctor");
    assert_eq!(doctor.code, 0, "{doctor:?}");
    assert!(doctor.report.is_clean(), "{doctor:?}");
    for text in [
        "usable    cuda: Simulated GPU 0 (compute capability 8.0, driver for CUDA 13.0)",
        "auto takes cuda",
        "CUDA driver: for CUDA 13.0",
        "GPU 0: Simulated GPU 0, compute capability 8.0, 108 multiprocessors, 1 GiB with ECC: usable",
    ] {
        assert!(doctor.stdout.contains(text), "no {text:?} in {}", doctor.stdout);
    }
    let auto = "train linear --data small.csv --target y --iterations 2 --json";
    let run = place.run("", auto);
    assert_eq!(run.stderr, "device: cuda, because there is a GPU: Simulated GPU 0\n", "{run:?}");
    let run = place.run("capability=75", auto);
    assert!(
        run.stderr.starts_with("device: cpu, because there is no GPU to use: Simulated GPU 0"),
        "{run:?}"
    );
    assert_eq!(json(&run.stdout)["device"], "cpu");
}

pub fn one_of_several_gpus_is_chosen() {
    let place = Place::new();
    let doctor = place.run("gpus=2", "doctor").stdout;
    assert!(doctor.contains("cuda:1: Simulated GPU 1"), "{doctor}");
    let line = "train linear --data small.csv --target y --iterations 2 --device cuda:";
    let run = place.run("gpus=2", &format!("{line}1"));
    assert!(run.code == 0 && run.stdout.contains("Simulated GPU 1") && run.report.is_clean(), "{run:?}");
    let run = place.run("gpus=2", &format!("{line}2"));
    assert_eq!(run.code, 3, "{run:?}");
    assert!(run.stderr.contains("there is no CUDA device 2: the driver sees 2"), "{run:?}");
}

pub fn an_old_driver_is_refused() {
    refused(
        "version=10020",
        3,
        &["device cuda cannot be used: ", "it knows CUDA 10.2", "needs CUDA 11.0", "update NVIDIA's driver"],
    );
}

pub fn an_old_gpu_is_refused() {
    refused(
        "capability=75",
        3,
        &["Simulated GPU 0 has compute capability 7.5", "the kernels need 8.0", "choose another device"],
    );
}

pub fn no_gpu_is_refused() {
    refused("gpus=0", 3, &["the CUDA driver sees no GPU", "nvidia-smi"]);
}

pub fn a_driver_that_does_not_start_is_refused() {
    refused("fail=cuInit:1", 3, &["cuInit failed", "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH (803)", "restart"]);
}

/// A copy of the library in which the symbol has another name.
pub fn without(symbol: &str, place: &Place) -> std::path::PathBuf {
    let library = simulated::library().expect("it was there when the tests began");
    let mut bytes = fs::read(library).expect("the library can be read");
    let name = format!("\0{symbol}\0");
    let places: Vec<usize> = bytes
        .windows(name.len())
        .enumerate()
        .filter_map(|(at, window)| (window == name.as_bytes()).then_some(at))
        .collect();
    assert!(!places.is_empty(), "{symbol} is no name in the library");
    places.into_iter().for_each(|at| bytes[at + 1] = b'x');
    let copy = place.path("libcuda.so.1");
    fs::write(&copy, bytes).expect("the folder can be written to");
    copy
}

pub fn a_missing_function_is_named() {
    for (symbol, code) in [("cuDeviceGetCount", 3), ("cuModuleLoadDataEx", 3), ("cuMemAlloc_v2", 1)] {
        let (elsewhere, place) = (Place::new(), Place::new());
        let run = place.run_on(&without(symbol, &elsewhere), "", TRAIN);
        assert_eq!((run.code, run.stdout.as_str()), (code, ""), "{run:?}");
        let call = format!("{} failed", symbol.trim_end_matches("_v2"));
        for text in [&call, "(801)", "this driver lacks the function: update NVIDIA's driver"] {
            assert!(run.stderr.contains(text), "no {text:?} in {run:?}");
        }
        assert!(run.report.is_clean(), "{run:?}");
        assert_eq!(place.files(), ["small.csv"]);
    }
}

pub fn a_rejected_module_shows_the_compilers_log() {
    refused(
        "fail=cuModuleLoadDataEx:1=218",
        3,
        &[
            "cuModuleLoadDataEx failed (loading kernel ",
            " on GPU 0, Simulated GPU 0): CUDA_ERROR_INVALID_PTX (218)",
            "the driver's compiler says:\nptxas application ptx input, line 9; error",
        ],
    );
}

pub fn a_driver_that_does_not_know_the_ptx_is_refused() {
    let texts = ["CUDA_ERROR_UNSUPPORTED_PTX_VERSION (222)", "older than the kernels' PTX"];
    let run = refused("fail=cuModuleLoadDataEx:1=222", 3, &texts);
    assert!(!run.stderr.contains("compiler says"), "there is no log: {run:?}");
}

pub fn too_little_memory_says_how_much_there_is() {
    let texts = [
        "cuMemAlloc failed (",
        " bytes of 40 are free)",
        "CUDA_ERROR_OUT_OF_MEMORY (2)",
        "take fewer samples",
    ];
    refused("memory=40", 1, &texts);
    refused(
        "fail=cuMemAlloc:3 fail=cuMemAlloc:4",
        1,
        &["cuMemAlloc failed (", " bytes of 1073741824 are free)"],
    );
}

pub fn a_refused_launch_names_the_kernel() {
    let texts = [
        "cuLaunchKernel failed (kernel kernels::descent::fused::squared_error_step_narrow on a grid of ",
        "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES (701)",
        "need more registers or shared memory",
    ];
    refused("fail=cuLaunchKernel:3=701", 1, &texts);
}

pub fn a_kernel_that_fails_is_named_by_the_next_call() {
    // The first kernel that runs, found by the wait for its results.
    let texts = [
        "cuStreamSynchronize failed (copying from the GPU, after launches; the last was \
         kernels::reduce::column_moments::column_moments_finish",
        "CUDA_ERROR_LAUNCH_FAILED (719)",
        "start it anew",
    ];
    refused("kernel=1=719", 1, &texts);
}

pub fn a_kernel_that_leaves_its_memory_is_named_by_the_next_call() {
    let texts = ["after launches; the last was ", "CUDA_ERROR_ILLEGAL_ADDRESS (700)", "compute-sanitizer"];
    refused("kernel=6=700", 1, &texts);
    refused("fail=cuStreamSynchronize:2=700", 1, &texts);
}

pub fn a_lost_gpu_ends_the_work() {
    refused("lost=1", 3, &["device cuda cannot be used", "CUDA_ERROR_UNKNOWN (999)", "nvidia-smi works"]);
    refused("lost=80", 1, &["failed", "CUDA_ERROR_UNKNOWN (999)", "nvidia-smi works"]);
}

pub fn what_the_driver_says_is_told_with_what_to_do() {
    for (call, code, exit, remedy) in [
        ("cuInit", 34, 3, "a toolkit's stub"),
        ("cuInit", 802, 3, "fabric manager"),
        ("cuInit", 804, 3, "cuda-compat"),
        ("cuDevicePrimaryCtxRetain", 46, 3, "another process has the GPU to itself"),
        ("cuModuleLoadDataEx", 221, 3, "install the whole driver"),
        ("cuModuleLoadDataEx", 223, 3, "unset CUDA_DISABLE_PTX_JIT"),
        ("cuLaunchKernel", 720, 1, "this GPU cannot run so many at once"),
        ("cuStreamSynchronize", 214, 1, "reset the GPU"),
        ("cuStreamSynchronize", 702, 1, "use a GPU without a display"),
        ("cuStreamSynchronize", 226, 1, "start it anew"),
        ("cuStreamSynchronize", 909, 1, "NVIDIA's documentation of the driver API"),
    ] {
        refused(
            &format!("fail={call}:1={code}"),
            exit,
            &[&format!("{call} failed"), &format!("({code})"), remedy],
        );
    }
}

pub fn a_failed_prediction_writes_nothing() {
    let place = Place::new();
    assert_eq!(place.run("", TRAIN).code, 0);
    let line = "predict --model model --data small.csv --out predictions --device cuda";
    for script in ["kernel=1=700", "fail=cuMemAlloc:2", "fail=cuLaunchKernel:1"] {
        let run = place.run(script, line);
        assert_eq!((run.code, run.stdout.as_str()), (1, ""), "{script}: {run:?}");
        assert!(run.report.is_clean(), "{script}: {run:?}");
        assert_eq!(place.files(), ["model", "small.csv"], "{script}");
    }
    assert_eq!(place.run("", line).code, 0);
    assert_eq!(place.files(), ["model", "predictions", "small.csv"]);
}
