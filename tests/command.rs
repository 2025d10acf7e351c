//! The command as people use it: what it prints, what it writes, what it refuses and with which exit code.
//!
//! `TILEGRAD_BIN` names the program to test and `TILEGRAD_ROOT` the folder that holds `tests/data`, if these are not
//! the ones this was compiled with. Without a GPU the test of `--device cuda` is reported as ignored.

#[path = "command/manual.rs"]
mod manual;
#[path = "command/models.rs"]
mod models;
#[path = "command/options.rs"]
mod options;
#[path = "command/parquet.rs"]
mod parquet;
#[path = "command/pictures.rs"]
mod pictures;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use libtest_mimic::{Arguments, Trial};
use serde_json::Value;
use tempfile::TempDir;

use manual::*;
use models::*;
use options::*;
use parquet::*;
use pictures::*;

fn main() {
    let arguments = Arguments::from_args();
    macro_rules! trials {
        ($($name:ident)*) => {
            vec![$(Trial::test(stringify!($name), || {
                $name();
                Ok(())
            })),*]
        };
    }
    let mut trials = trials! {
        training_on_the_loop_reaches_the_reference
        training_on_the_cpu_reaches_the_reference
        training_on_the_emulator_reaches_the_reference
        few_samples_made_of_all_reach_the_reference_on_every_engine
        auto_goes_over_few_samples_where_that_saves_time
        json_has_exactly_the_promised_keys
        the_text_shows_cost_weights_and_time
        results_go_to_standard_output_and_only_they
        without_scaling_weights_are_the_same_in_both_units
        chosen_features_are_used_in_their_order
        the_same_training_gives_the_same_model_file
        predictions_come_from_the_model_whatever_the_columns_order
        predictions_are_the_same_on_every_engine
        a_constant_column_is_scaled_safely_and_said
        a_number_that_is_taken_for_classes_is_said
        a_target_that_is_large_beside_its_spread_is_said
        one_sample_can_be_trained_on
        the_version_is_said
        wrong_usage_is_refused
        a_missing_file_is_refused
        a_folder_is_refused_as_data
        an_empty_file_is_refused
        a_header_without_data_is_refused
        a_ragged_row_is_refused
        text_in_a_number_column_is_refused
        a_missing_value_is_refused
        nan_is_refused
        infinity_is_refused
        a_number_beyond_f32_is_refused
        what_is_not_utf8_is_refused
        columns_of_one_name_are_refused
        an_unknown_target_is_refused
        an_unknown_feature_is_refused
        a_target_among_the_features_is_refused
        a_feature_listed_twice_is_refused
        data_that_are_only_the_target_are_refused
        other_separators_are_recognised
        values_too_large_to_compute_with_are_refused
        zero_iterations_are_refused
        wrong_learning_rates_are_refused
        a_huge_learning_rate_diverges_and_the_suggested_one_does_not
        unscaled_data_diverge_and_the_suggested_rate_does_not
        divergence_leaves_the_old_files
        a_device_that_is_none_is_refused
        cuda_without_a_gpu_is_code_3
        auto_says_what_it_takes_and_why
        output_that_cannot_be_written_is_refused_before_the_work
        output_over_the_input_is_refused
        a_full_disk_is_a_failure
        an_interrupted_training_leaves_nothing
        a_missing_model_is_refused
        a_model_that_is_none_is_refused
        a_model_cut_short_is_refused
        a_model_with_flipped_bits_never_panics
        a_model_of_another_version_is_refused
        data_that_do_not_fit_the_model_are_refused
        predictions_beyond_f32_are_refused
        a_reader_that_goes_away_ends_it_quietly
        compare_measures_every_engine
        compare_without_the_loop_has_no_reference
        compare_scales_as_train_does
        compare_refuses_wrong_options
        bench_counts_on_the_emulator
        bench_times_operations_that_are_right
        bench_refuses_what_it_cannot_do
        doctor_lists_every_engine
        logistic_regression_reaches_the_reference
        metrics_are_of_the_training_data_unless_others_were_held_back
        the_seed_decides_what_is_held_back
        classes_are_told_apart_with_their_probabilities
        predictions_are_json_if_asked_for
        a_model_is_evaluated_on_other_data
        evaluation_refuses_what_does_not_fit
        columns_of_text_become_features
        missing_values_are_dealt_with_as_asked
        files_are_read_as_asked
        shares_that_make_no_sense_are_refused
        settings_that_make_no_sense_are_refused
        weights_of_many_classes_are_where_it_says
        a_warm_start_goes_on_from_a_model
        early_stopping_shows_the_validation_cost_of_every_kind_of_model
        a_solver_without_steps_says_how_it_ended_and_no_learning_rate
        a_network_learns_digits
        networks_predict_numbers_and_two_classes
        a_file_is_trained_on_block_by_block
        the_normal_equations_take_one_pass
        mini_batches_of_a_file_that_is_not_kept_give_the_model_of_training_in_memory
        streamed_training_goes_on_from_its_checkpoint
        training_is_drawn
        evaluation_is_drawn
        a_page_has_everything_and_fetches_nothing
        hostile_names_stay_text
        pictures_that_cannot_be_written_are_refused_before_the_work
        contours_show_why_scaling_matters
        contours_refuse_what_cannot_be_drawn
        completions_are_there_for_every_shell
        the_manual_has_every_command
        every_command_has_help_with_examples
        quiet_says_nothing_but_what_is_wrong
        doctor_prints_json_if_asked_for
        every_option_refuses_what_it_cannot_take
        no_option_is_without_a_test_of_bad_input
        a_class_may_have_any_name
    };
    #[cfg(target_os = "linux")]
    trials.extend(trials! { predictions_go_through_a_pipe_by_its_name });
    #[cfg(feature = "parquet")]
    trials
        .extend(trials! { parquet_is_trained_on_as_the_same_csv_is parquet_that_cannot_be_used_is_refused });
    #[cfg(not(feature = "parquet"))]
    trials.extend(trials! { parquet_is_refused_by_a_build_without_it });
    trials.push(
        Trial::test("training_on_cuda_reaches_the_reference", || {
            reaches_the_reference("cuda", "auto");
            Ok(())
        })
        .with_ignored_flag(tilegrad::cuda::Gpu::open(0).is_err()),
    );
    libtest_mimic::run(&arguments, trials).exit();
}

/// The features of diabetes.csv.
const FEATURES: &str = "age,sex,bmi,bp,s1,s2,s3,s4,s5,s6";
/// Training on them.
const DIABETES: &str = "train linear --data diabetes.csv --target progression";
/// Small data that can be learnt from, for tests of something else.
const SMALL: &str = "a,b,y\n1,2,3\n2,1,5\n3,5,4\n4,4,9\n";

/// A file of tests/data.
fn data(name: &str) -> String {
    let root =
        std::env::var_os("TILEGRAD_ROOT").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    fs::read_to_string(root.join("tests/data").join(name)).expect("the file is there")
}

/// The arguments in a line without quotation marks.
fn words(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}

/// A folder in which the command runs, with diabetes.csv in it.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Place(tempfile::tempdir().expect("a folder for temporary files"));
        place.write("diabetes.csv", data("diabetes.csv"));
        place
    }

    fn with(name: &str, contents: impl AsRef<[u8]>) -> Self {
        let place = Place::new();
        place.write(name, contents);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, contents: impl AsRef<[u8]>) {
        fs::write(self.path(name), contents).expect("the folder can be written to");
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Everything that is there, with the contents of files.
    fn snapshot(&self) -> Vec<(PathBuf, Option<Vec<u8>>)> {
        let entries = fs::read_dir(self.0.path()).expect("the folder is there");
        let mut all: Vec<_> = entries
            .map(|entry| entry.expect("it can be listed").path())
            .map(|path| (path.clone(), fs::read(path).ok()))
            .collect();
        all.sort();
        all
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let program =
            std::env::var_os("TILEGRAD_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_tilegrad").into());
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.0.path()).env("RUST_BACKTRACE", "1");
        command
    }

    fn run(&self, arguments: &[&str]) -> Run {
        Run::of(self.command(arguments).output().expect("the program starts"), arguments)
    }

    /// Runs the command, which must succeed; gives what it prints.
    fn succeeds(&self, arguments: &[&str]) -> String {
        let run = self.run(arguments);
        assert_eq!(run.code, 0, "{run:?}");
        run.stdout
    }

    /// Runs the command, which must end with `code` and a message with each of `texts`, and change no file.
    fn refuses(&self, code: i32, texts: &[&str], arguments: &[&str]) {
        let before = self.snapshot();
        let run = self.run(arguments);
        assert_eq!(run.code, code, "{run:?}");
        assert_eq!(run.stdout, "", "{run:?}");
        let message = run.stderr.lines().find(|line| line.starts_with("error: ")).unwrap_or("");
        for text in texts {
            assert!(message.contains(text), "no {text:?} in {run:?}");
        }
        assert!(before == self.snapshot(), "files have changed: {:?}", self.snapshot());
    }
}

/// How a run of the command went.
#[derive(Debug)]
#[allow(dead_code)]
struct Run {
    arguments: Vec<String>,
    code: i32,
    stdout: String,
    stderr: String,
}

impl Run {
    fn of(output: Output, arguments: &[&str]) -> Self {
        let run = Run {
            arguments: arguments.iter().map(ToString::to_string).collect(),
            // None if a signal ended it.
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).expect("output is UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("messages are UTF-8"),
        };
        assert!((0..=3).contains(&run.code), "{run:?}");
        assert!(!run.stderr.contains("panicked") && !run.stderr.contains("backtrace"), "{run:?}");
        run
    }
}

/// `train linear` on `file` with the target y, on the cpu, and options.
fn train<'a>(file: &'a str, options: &[&'a str]) -> Vec<&'a str> {
    [&["train", "linear", "--data", file, "--target", "y", "--device", "cpu"], options].concat()
}

/// Training on a file with this text must be refused as bad input, with a message with these texts.
fn refused_data(contents: impl AsRef<[u8]>, texts: &[&str]) {
    let place = Place::with("data.csv", contents);
    place.refuses(2, texts, &train("data.csv", &["--model", "model", "--history", "history.csv"]));
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn close(got: &Value, expected: &Value) {
    match (got, expected) {
        (Value::Array(got), Value::Array(expected)) => {
            assert_eq!(got.len(), expected.len());
            got.iter().zip(expected).for_each(|(got, expected)| close(got, expected));
        }
        _ => {
            let (got, expected) = (got.as_f64().expect("a number"), expected.as_f64().expect("a number"));
            assert!((got - expected).abs() <= 1e-3 * expected.abs(), "{got}, not {expected}");
        }
    }
}

fn column(csv: &str, name: &str) -> Vec<f64> {
    let mut lines = csv.lines();
    let header = lines.next().expect("a header");
    let j = header.split(',').position(|title| title == name).unwrap_or_else(|| panic!("{name} in {header}"));
    lines.map(|line| line.split(',').nth(j).and_then(|field| field.parse().ok()).expect("a number")).collect()
}

fn reaches_the_reference(device: &str, method: &str) {
    let reference = json(&data("reference.json"));
    let reference = &reference["diabetes_linear"];
    let place = Place::new();
    let out = place.succeeds(&words(&format!(
        "{DIABETES} --learning-rate 0.1 --iterations 1000 --device {device} --method {method} --history history.csv \
         --json"
    )));
    let out = json(&out);
    assert_eq!(out["model"], "linear");
    assert_eq!(out["device"], device);
    assert_eq!(out["method"], if method == "auto" { "direct" } else { method });
    assert_eq!(out["samples"], 442);
    assert_eq!(out["features"], reference["features"]);
    assert_eq!(out["target"], "progression");
    assert_eq!(out["iterations"], 1000);
    assert_eq!(out["learning_rate"], 0.1);
    close(&out["cost"], &reference["cost"]["1000"]);
    close(&out["weights"], &reference["weights_raw"]);
    close(&out["bias"], &reference["bias_raw"]);
    close(&out["weights_standardised"], &reference["weights_standardised"]);
    close(&out["bias_standardised"], &reference["bias_standardised"]);
    assert!(out["seconds"].as_f64().is_some_and(|seconds| seconds > 0.0 && seconds < 60.0));

    let history = place.read("history.csv");
    assert!(history.starts_with("iteration,cost\n0,"));
    let costs = column(&history, "cost");
    assert_eq!((costs.len(), column(&history, "iteration")[1000]), (1001, 1000.0));
    for iteration in [0, 1, 10, 100, 1000] {
        close(&costs[iteration].into(), &reference["cost"][iteration.to_string()]);
    }
    assert_eq!(out["cost"], costs[1000]);
}

fn training_on_the_loop_reaches_the_reference() {
    reaches_the_reference("loop", "auto");
}

fn training_on_the_cpu_reaches_the_reference() {
    reaches_the_reference("cpu", "auto");
}

fn training_on_the_emulator_reaches_the_reference() {
    reaches_the_reference("emulator", "auto");
}

fn few_samples_made_of_all_reach_the_reference_on_every_engine() {
    for device in ["loop", "cpu", "emulator"] {
        reaches_the_reference(device, "gram");
    }
    let out = Place::new().succeeds(&words(&format!("{DIABETES} --method gram --device loop")));
    assert!(out.contains("442 samples") && out.contains("over 12 samples with the same gradient"), "{out}");
}

fn auto_goes_over_few_samples_where_that_saves_time() {
    // 442 × 10 values take no time, unless a million times.
    let place = Place::new();
    let method = |arguments: &str| {
        let run = place.run(&words(&format!("{DIABETES} --device cpu --json {arguments}")));
        assert_eq!(run.code, 0, "{run:?}");
        json(&run.stdout)["method"].as_str().map(str::to_owned)
    };
    assert_eq!(method("--iterations 100").as_deref(), Some("direct"));
    assert_eq!(method("--iterations 100000").as_deref(), Some("gram"));
    // What was begun is gone on with.
    assert_eq!(method("--iterations 100 --checkpoint c").as_deref(), Some("direct"));
    assert_eq!(method("--iterations 100000 --checkpoint c --resume").as_deref(), Some("direct"));
    let other =
        [words(DIABETES), words("--device cpu --method gram --iterations 100001 --checkpoint c --resume")];
    place.refuses(2, &["of another training: the method was direct, and is gram now"], &other.concat());
}

fn json_has_exactly_the_promised_keys() {
    let place = Place::with("data.csv", SMALL);
    let out = json(&place.succeeds(&train("data.csv", &["--json"])));
    let keys: Vec<&str> = out.as_object().expect("an object").keys().map(String::as_str).collect();
    let mut promised = words(
        "model device method samples features target solver iterations ending learning_rate cost weights bias weights_standardised bias_standardised seconds train",
    );
    promised.sort_unstable();
    assert_eq!(keys, promised);
}

fn the_text_shows_cost_weights_and_time() {
    let out = Place::new().succeeds(&words(&format!("{DIABETES} --device loop")));
    for text in [
        "442 samples, 10 features, 1000 steps in ",
        "cost 1431.8",
        "bmi         5.6435",
        "(bias)     -290.10",
    ] {
        assert!(out.contains(text), "no {text:?} in {out}");
    }
}

fn results_go_to_standard_output_and_only_they() {
    let place = Place::with("data.csv", SMALL);
    let run = place.run(&train("data.csv", &["--model", "model"]));
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "nothing is on a terminal here");
    let run = place.run(&["predict", "--model", "model", "--data", "data.csv", "--device", "loop"]);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    assert_eq!(column(&run.stdout, "prediction").len(), 4);
}

fn without_scaling_weights_are_the_same_in_both_units() {
    let place = Place::with("data.csv", SMALL);
    let out =
        json(&place.succeeds(&train("data.csv", &["--scale", "none", "--learning-rate", "0.05", "--json"])));
    assert_eq!((&out["weights"], &out["bias"]), (&out["weights_standardised"], &out["bias_standardised"]));
}

fn chosen_features_are_used_in_their_order() {
    let place = Place::with("data.csv", "name,a,b,y\nx,1,2,3\nz,2,1,5\nw,3,5,4\n");
    let out = json(&place.succeeds(&train("data.csv", &["--features", "b, a", "--json"])));
    assert_eq!(out["features"], json(r#"["b", "a"]"#));
}

fn the_same_training_gives_the_same_model_file() {
    let place = Place::new();
    for name in ["one", "two"] {
        place.succeeds(&words(&format!("{DIABETES} --device cpu --model {name}")));
    }
    let read = |name: &str| fs::read(place.path(name)).expect("the model is there");
    assert_eq!(read("one"), read("two"));
}

/// A folder with a model of diabetes.csv in "model".
fn trained() -> Place {
    let place = Place::new();
    place.succeeds(&words(&format!("{DIABETES} --device cpu --model model")));
    place
}

fn predictions_come_from_the_model_whatever_the_columns_order() {
    let place = trained();
    place.succeeds(&words("predict --model model --data diabetes.csv --out one.csv --device cpu"));
    let original = data("diabetes.csv");
    // The target taken away, the columns turned round, a column of words put in.
    let turned: Vec<String> = original
        .lines()
        .enumerate()
        .map(|(i, line)| {
            let mut fields: Vec<&str> = line.split(',').take(10).collect();
            fields.insert(3, if i == 0 { "remark" } else { "words" });
            fields.reverse();
            fields.join(",")
        })
        .collect();
    place.write("turned.csv", turned.join("\r\n"));
    let two = place.succeeds(&["predict", "--model", "model", "--data", "turned.csv", "--device", "cpu"]);
    assert_eq!(place.read("one.csv"), two);

    // They are what the weights in the data's units give.
    let out = json(&place.succeeds(&words(&format!("{DIABETES} --device cpu --json"))));
    let mut expected = vec![out["bias"].as_f64().expect("a number"); 442];
    for (name, weight) in FEATURES.split(',').zip(out["weights"].as_array().expect("weights")) {
        for (sum, x) in expected.iter_mut().zip(column(&original, name)) {
            *sum += weight.as_f64().expect("a number") * x;
        }
    }
    for (got, expected) in column(&two, "prediction").iter().zip(expected) {
        assert!((got - expected).abs() <= 1e-4 * expected.abs(), "{got}, not {expected}");
    }
}

fn predictions_are_the_same_on_every_engine() {
    let place = trained();
    let predict = |device: &str| {
        let csv =
            place.succeeds(&words(&format!("predict --model model --data diabetes.csv --device {device}")));
        column(&csv, "prediction")
    };
    let expected = predict("loop");
    for device in ["cpu", "emulator"] {
        for (got, expected) in predict(device).iter().zip(&expected) {
            assert!((got - expected).abs() <= 1e-5 * expected.abs(), "{device}: {got}, not {expected}");
        }
    }
}

fn a_constant_column_is_scaled_safely_and_said() {
    let with = Place::with("data.csv", "a,c,y\n1,7.1,3\n2,7.1,5\n3,7.1,4\n");
    let without = Place::with("data.csv", "a,y\n1,3\n2,5\n3,4\n");
    let plain = json(&without.succeeds(&train("data.csv", &["--json"])));
    for device in ["loop", "cpu", "emulator"] {
        let options = ["--device", device, "--iterations", "50", "--json"];
        let arguments = [&["train", "linear", "--data", "data.csv", "--target", "y"], &options[..]].concat();
        let run = with.run(&arguments);
        assert_eq!(run.code, 0, "{run:?}");
        assert!(run.stderr.contains("warning: feature \"c\" has the same value in every sample"), "{run:?}");
        assert_eq!(json(&run.stdout)["weights"][1], 0.0, "{device}");
    }
    let out = json(&with.succeeds(&train("data.csv", &["--json"])));
    assert_eq!(out["weights"][0], plain["weights"][0]);
    assert_eq!(out["cost"], plain["cost"]);
    // Constant only once they are rounded.
    with.write("large.csv", "a,c,y\n1,1000000001,3\n2,1000000002,5\n3,1000000003,4\n");
    let run = with.run(&train("large.csv", &[]));
    assert!(
        run.stderr.contains("\"c\" has the same value in every sample, as 32-bit numbers, so"),
        "{run:?}"
    );
}

fn a_number_that_is_taken_for_classes_is_said() {
    let place = Place::with("data.csv", "x,y\n1,0.5\n2,0.7\n3,0.9\n4,0.5\n5,1.1\n");
    let warning = "warning: the target \"y\" has 4 different values in 5 training samples, and each is a class of its own; if it is a number";
    for model in ["logistic --iterations 2", "network --epochs 2 --layers 4:softmax"] {
        let run = place.run(&words(&format!("train {model} --data data.csv --target y --quiet")));
        assert!(run.code == 0 && run.stderr.contains(warning), "{model}: {run:?}");
    }
    place.write("data.csv", "x,y\n1,a\n2,a\n3,a\n4,b\n5,b\n6,b\n7,c\n8,c\n");
    let run = place.run(&words("train logistic --data data.csv --target y --iterations 2 --quiet"));
    assert!(run.code == 0 && run.stderr.contains("3 different values in 8 training samples"), "{run:?}");
    // Two classes of two samples, and three of three each, are what they are.
    for rows in ["1,a\n2,b\n", "1,a\n2,a\n3,a\n4,b\n5,b\n6,b\n7,c\n8,c\n9,c\n"] {
        place.write("data.csv", format!("x,y\n{rows}"));
        let run = place.run(&words("train logistic --data data.csv --target y --iterations 2 --quiet"));
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{run:?}");
    }
}

fn a_target_that_is_large_beside_its_spread_is_said() {
    // Features of the size of 1, and a target whose spread of 3 is beside 1e7.
    let rows = (0..1000).map(|i| f64::from(i * 377 % 1000) / 250.0 - 2.0);
    let csv: String = rows.map(|x| format!("{x},{}\n", 1e7 + 3.0 * x)).collect();
    let place = Place::with("data.csv", format!("x,y\n{csv}"));
    let warning = "warning: the target \"y\" is large beside its spread";
    let run = |options: &str| {
        let run = place.run(&words(&format!("train linear --data data.csv --target y --quiet {options}")));
        assert_eq!(run.code, 0, "{run:?}");
        (json(&run.stdout)["train"]["r2"].as_f64().expect("it is a number"), run.stderr)
    };
    for method in ["direct", "gram"] {
        let (r2, stderr) = run(&format!("--device cpu --method {method} --json"));
        assert!(r2 < 0.5, "{method}: R² {r2}: does descent come nearer now?");
        assert!(stderr.contains(warning) && stderr.contains("--solver normal"), "{stderr}");
    }
    // Each remedy that it names is one.
    for remedy in ["--device cpu --solver normal", "--device loop"] {
        let (r2, stderr) = run(&format!("{remedy} --json"));
        assert!(r2 > 0.98 && !stderr.contains(warning), "{remedy}: R² {r2}, {stderr}");
    }
    place.write("data.csv", "x,y\n1,5\n2,9\n3,11\n4,17\n");
    assert_eq!(run("--device cpu --json").1, "");
    for device in ["cpu", "emulator"] {
        let run = place.run(&words(&format!("{DIABETES} --device {device} --quiet")));
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{device}");
    }
}

fn one_sample_can_be_trained_on() {
    let place = Place::with("data.csv", "a,y\n1,3\n");
    let run = place.run(&train("data.csv", &["--json"]));
    assert!(run.stderr.contains("warning: feature \"a\""), "{run:?}");
    assert!(json(&run.stdout)["cost"].as_f64().is_some_and(|cost| cost < 1e-6), "{run:?}");
}

fn the_version_is_said() {
    assert!(Place::new().succeeds(&["--version"]).starts_with("tilegrad "));
}

fn wrong_usage_is_refused() {
    let place = Place::with("data.csv", SMALL);
    for arguments in [
        &[][..],
        &["train"],
        &["train", "linear"],
        &["train", "linear", "--data", "data.csv"],
        &["train", "linear", "--data", "data.csv", "--target", "y", "--scale", "minmax"],
        &["train", "linear", "--data", "data.csv", "--target", "y", "--method", "magic"],
        &["train", "linear", "--data", "data.csv", "--target", "y", "--what"],
        &["train", "logarithmic", "--data", "data.csv", "--target", "y"],
        &["predict", "--data", "data.csv"],
        &["fly"],
    ] {
        let run = place.run(arguments);
        assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{run:?}");
    }
}

fn a_missing_file_is_refused() {
    let place = Place::new();
    place.refuses(
        2,
        &["cannot read none.csv: there is no such file (the current folder is "],
        &train("none.csv", &["--model", "model"]),
    );
}

fn a_folder_is_refused_as_data() {
    let place = Place::new();
    fs::create_dir(place.path("folder")).expect("a folder can be made");
    place.refuses(
        2,
        &["cannot read folder: this is a folder: give the name of a file"],
        &train("folder", &[]),
    );
}

fn an_empty_file_is_refused() {
    refused_data("", &["data.csv: the file is empty", "columns' names must come first"]);
    refused_data("\u{feff}\r\n\r\n", &["data.csv: the file is empty"]);
}

fn a_header_without_data_is_refused() {
    refused_data("a,b,y\n", &["data.csv: there is a header but no data"]);
}

fn a_ragged_row_is_refused() {
    refused_data("a,y\n1,2\n\n3\n", &["data.csv: line 4 has 1 field, but the header has 2"]);
    refused_data("a,y\r\n1,2\r\n3,4,5\r\n", &["data.csv: line 3 has 3 fields, but the header has 2"]);
}

fn text_in_a_number_column_is_refused() {
    refused_data(
        "a,y\n1,2\nten,4\n",
        &["data.csv: line 3, column \"a\": \"ten\" is not a number", "as a category, or leave it out"],
    );
    refused_data(
        "a,y\n1,2\n3,four\n",
        &["data.csv: line 3, column \"y\": \"four\" is not a number", "or predict another column"],
    );
    refused_data("a,y\n\"1,5\",2\n", &["column \"a\": \"1,5\" is not a number: write a point"]);
}

fn a_missing_value_is_refused() {
    refused_data(
        "a,y\n1,\n",
        &[
            "data.csv: line 2, column \"y\": the value is missing",
            "fill in a value, or have such samples dropped",
        ],
    );
    refused_data(
        "a,y\n n/a ,1\n",
        &["data.csv: line 2, column \"a\": the value is missing (\"n/a\")", "dropped or the mean taken"],
    );
}

fn nan_is_refused() {
    refused_data("a,y\n1,2\nNaN,4\n", &["data.csv: line 3, column \"a\": \"NaN\" is not a finite number"]);
}

fn infinity_is_refused() {
    refused_data("a,y\n1,-inf\n", &["data.csv: line 2, column \"y\": \"-inf\" is not a finite number"]);
    refused_data(
        "a,y\nInfinity,1\n",
        &["data.csv: line 2, column \"a\": \"Infinity\" is not a finite number"],
    );
    // It is not missing, so what is done about missing values is no remedy.
    let place = Place::with("data.csv", "a,y\n1,2\n2,3\ninf,1\n");
    for policy in ["refuse", "drop", "mean"] {
        let arguments = train("data.csv", &["--missing", policy]);
        place.refuses(2, &["\"inf\" is not a finite number: remove the line, or write"], &arguments);
        assert!(!place.run(&arguments).stderr.contains("dropped"));
    }
}

fn a_number_beyond_f32_is_refused() {
    refused_data("a,y\n1e39,1\n", &["data.csv: line 2, column \"a\": \"1e39\" is beyond the largest number"]);
}

fn what_is_not_utf8_is_refused() {
    refused_data(b"a,y\n1,\xff\n", &["data.csv: line 2, column 2: this is not UTF-8 text: save the file as"]);
    let utf16: Vec<u8> = "\u{feff}a,y\n1,2\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    refused_data(utf16, &["this is not UTF-8 text"]);
}

fn columns_of_one_name_are_refused() {
    refused_data("a,y,a\n1,2,3\n", &["data.csv: line 1: columns 1 and 3 are both named \"a\": rename"]);
}

fn an_unknown_target_is_refused() {
    refused_data(
        "age,Y\n1,2\n",
        &["there is no column \"y\" (did you mean \"Y\"?); the columns are: age, Y"],
    );
}

fn an_unknown_feature_is_refused() {
    let place = Place::with("data.csv", "height,width,y\n1,2,3\n");
    place.refuses(
        2,
        &["there is no column \"heigth\" (did you mean \"height\"?)"],
        &train("data.csv", &["--features", "width,heigth"]),
    );
}

fn a_target_among_the_features_is_refused() {
    let place = Place::with("data.csv", SMALL);
    place.refuses(
        2,
        &["the target \"y\" is among the features", "leave it out"],
        &train("data.csv", &["--features", "a,y", "--model", "model"]),
    );
}

fn a_feature_listed_twice_is_refused() {
    let place = Place::with("data.csv", SMALL);
    place.refuses(2, &["the feature \"a\" is listed twice"], &train("data.csv", &["--features", "a,b,a"]));
}

fn data_that_are_only_the_target_are_refused() {
    refused_data("y\n1\n", &["data.csv: no features to learn from"]);
}

fn other_separators_are_recognised() {
    for contents in ["a;y\n1;2\n2;3\n", "a\ty\n1\t2\n2\t3\n", "a|y\n1|2\n2|3\n"] {
        let out = json(&Place::with("data.csv", contents).succeeds(&train("data.csv", &["--json"])));
        assert_eq!((&out["features"][0], &out["samples"]), (&"a".into(), &2.into()));
    }
    refused_data("1,2\n3,4\n", &["the first line holds numbers, but must hold the columns' names"]);
}

fn values_too_large_to_compute_with_are_refused() {
    let place = Place::with("data.csv", "a,y\n3e38,1\n-3e38,2\n");
    let on = |device| {
        ["train", "linear", "--data", "data.csv", "--target", "y", "--device", device, "--model", "model"]
    };
    place.refuses(2, &["feature \"a\": its values are too large"], &on("emulator"));
    let place = Place::with("data.csv", "a,y\n1,3e38\n2,-3e38\n3,1\n");
    place.refuses(2, &["the values of the target \"y\" are too large"], &on("emulator"));
    let place = Place::with("data.csv", "a,y\n1e-30,1\n3e-30,2\n");
    place.refuses(2, &["feature \"a\": its values differ by too little"], &on("cpu"));
}

fn zero_iterations_are_refused() {
    let place = Place::with("data.csv", SMALL);
    for iterations in ["0", "-5", "1.5", "many", "99999999999999999999999"] {
        place.refuses(
            2,
            &[&format!("invalid value '{iterations}' for '--iterations <N>'"), "at least 1"],
            &train("data.csv", &["--iterations", iterations, "--model", "model"]),
        );
    }
}

fn wrong_learning_rates_are_refused() {
    let place = Place::with("data.csv", SMALL);
    for rate in ["0", "-1", "-0.5", "nan", "inf", "-inf", "fast"] {
        place.refuses(
            2,
            &[&format!(
                "invalid value '{rate}' for '--learning-rate <RATE>': a learning rate is a number above 0"
            )],
            &train("data.csv", &["--learning-rate", rate, "--model", "model"]),
        );
    }
    let tiny = train("data.csv", &["--learning-rate", "1e-60"]);
    place.refuses(2, &["the learning rate must be a number above 0"], &tiny);
}

/// The rate that a message of divergence suggests.
fn suggested(message: &str) -> &str {
    let (_, rest) =
        message.split_once("a learning rate of ").unwrap_or_else(|| panic!("no rate in {message}"));
    rest.split_once(" would do").expect("the message goes on").0
}

fn a_huge_learning_rate_diverges_and_the_suggested_one_does_not() {
    let place = Place::new();
    for device in ["loop", "cpu", "emulator"] {
        let with = |rate: &str| {
            place.run(&words(&format!(
                "{DIABETES} --device {device} --iterations 100 --learning-rate {rate} --model model --json"
            )))
        };
        for rate in ["1e6", "1e300", "0.6"] {
            let run = with(rate);
            assert_eq!((run.code, run.stdout.as_str()), (1, ""), "{run:?}");
            assert!(run.stderr.contains("gradient descent diverged at iteration "), "{run:?}");
            assert!(!place.path("model").exists(), "{run:?}");
            let run = with(suggested(&run.stderr));
            assert_eq!(run.code, 0, "{run:?}");
            assert!(json(&run.stdout)["cost"].as_f64().is_some_and(|cost| cost < 1500.0), "{run:?}");
            fs::remove_file(place.path("model")).expect("a model was written");
        }
        // Just above the limit, 2/λ: the cost rises, but does not double.
        let run = with("0.498");
        assert_eq!(run.code, 1, "{run:?}");
        let run = with("1e6");
        assert!(run.stderr.contains("diverged at iteration 1: with learning rate 1000000 "), "{run:?}");
    }
}

fn unscaled_data_diverge_and_the_suggested_rate_does_not() {
    let place = Place::new();
    let with = |rate: &str| {
        place.run(&words(&format!("{DIABETES} --device cpu --scale none --learning-rate {rate} --json")))
    };
    let run = with("0.1");
    assert_eq!(run.code, 1, "{run:?}");
    let run = with(suggested(&run.stderr));
    assert!(json(&run.stdout)["cost"].as_f64().is_some_and(|cost| cost < 14537.0), "{run:?}");
}

fn divergence_leaves_the_old_files() {
    let place = Place::with("data.csv", SMALL);
    place.write("model", "an old model");
    place.write("history.csv", "an old history");
    place.refuses(
        1,
        &["gradient descent diverged"],
        &train("data.csv", &["--learning-rate", "1e9", "--model", "model", "--history", "history.csv"]),
    );
}

fn a_device_that_is_none_is_refused() {
    let place = Place::with("data.csv", SMALL);
    for device in ["tpu", "cuda:", "cuda:x", "cuda:-1", "CPU", ""] {
        let arguments = ["train", "linear", "--data", "data.csv", "--target", "y", "--device", device];
        place.refuses(
            2,
            &["'--device <DEVICE>': the devices are auto, loop, cpu, emulator, cuda"],
            &arguments,
        );
    }
}

/// The command where the driver, if there is one, sees no GPU.
fn without_gpus(place: &Place, arguments: &[&str]) -> Run {
    let mut command = place.command(arguments);
    Run::of(command.env("CUDA_VISIBLE_DEVICES", "").output().expect("the program starts"), arguments)
}

fn cuda_without_a_gpu_is_code_3() {
    let place = trained();
    for device in ["cuda", "cuda:0", "cuda:99"] {
        for line in [
            format!("{DIABETES} --model new --device {device}"),
            format!("predict --model model --data diabetes.csv --out new --device {device}"),
            format!("compare --samples 10 --features 2 --devices {device}"),
        ] {
            let run = without_gpus(&place, &words(&line));
            assert_eq!((run.code, run.stdout.as_str()), (3, ""), "{run:?}");
            let name = if device == "cuda:0" { "cuda" } else { device };
            assert!(run.stderr.starts_with(&format!("error: device {name} cannot be used: ")), "{run:?}");
            assert!(!place.path("new").exists());
        }
    }
}

fn auto_says_what_it_takes_and_why() {
    let place = Place::with("data.csv", SMALL);
    let run = without_gpus(&place, &["train", "linear", "--data", "data.csv", "--target", "y", "--json"]);
    assert_eq!((run.code, run.stderr.lines().count()), (0, 1), "{run:?}");
    assert!(run.stderr.starts_with("device: cpu, because there is no GPU to use: "), "{run:?}");
    assert_eq!(json(&run.stdout)["device"], "cpu");
}

fn output_that_cannot_be_written_is_refused_before_the_work() {
    let place = Place::with("data.csv", SMALL);
    fs::create_dir(place.path("folder")).expect("a folder can be made");
    for (path, text) in [
        ("none/out", "cannot write none/out: there is no folder none: make it first"),
        ("folder", "cannot write folder: this is a folder"),
        ("data.csv/out", "cannot write data.csv/out: "),
        ("..", "cannot write ..: this is not the name of a file"),
        ("none/", "cannot write none/: this is the name of a folder"),
    ] {
        for option in ["--model", "--history"] {
            place.refuses(2, &[text], &train("data.csv", &[option, path]));
        }
        // Before anything else is looked at: there is no such model.
        place.refuses(2, &[text], &["predict", "--model", "none", "--data", "data.csv", "--out", path]);
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        place.write("locked", "old");
        fs::set_permissions(place.path("locked"), fs::Permissions::from_mode(0o444)).expect("a file of ours");
        place.refuses(
            2,
            &["cannot write locked: ", "write-protected"],
            &train("data.csv", &["--model", "locked"]),
        );
    }
}

fn output_over_the_input_is_refused() {
    let place = Place::with("data.csv", SMALL);
    place.succeeds(&train("data.csv", &["--model", "model"]));
    place.refuses(2, &["these are the data"], &train("data.csv", &["--model", "./data.csv"]));
    place.refuses(
        2,
        &["cannot go to the same file"],
        &train("data.csv", &["--model", "x", "--history", "./x"]),
    );
    for out in ["model", "data.csv"] {
        place.refuses(
            2,
            &["would be lost"],
            &["predict", "--model", "model", "--data", "data.csv", "--out", out],
        );
    }
}

fn a_full_disk_is_a_failure() {
    if !Path::new("/dev/full").exists() {
        return;
    }
    let place = Place::with("data.csv", SMALL);
    place.refuses(1, &["cannot write /dev/full: "], &train("data.csv", &["--model", "/dev/full"]));
    let full = fs::OpenOptions::new().write(true).open("/dev/full").expect("it is there");
    let arguments = train("data.csv", &[]);
    let output = place.command(&arguments).stdout(full).output().expect("the program starts");
    let run = Run::of(output, &arguments);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stderr.contains("error: cannot write to standard output: "), "{run:?}");
}

fn an_interrupted_training_leaves_nothing() {
    let place = Place::with("data.csv", SMALL);
    let before = place.snapshot();
    let arguments = words(
        "train linear --data data.csv --target y --device emulator --iterations 100000000 --model model --history history.csv",
    );
    let mut child = place.command(&arguments).spawn().expect("the program starts");
    std::thread::sleep(Duration::from_millis(300));
    child.kill().expect("it is still running");
    child.wait().expect("it has ended");
    assert!(before == place.snapshot());
}

fn predict_with(model: &str) -> [&str; 9] {
    ["predict", "--model", model, "--data", "data.csv", "--device", "cpu", "--out", "out.csv"]
}

fn a_missing_model_is_refused() {
    let place = Place::with("data.csv", SMALL);
    place.refuses(2, &["cannot read none: there is no such file"], &predict_with("none"));
    fs::create_dir(place.path("folder")).expect("a folder can be made");
    place.refuses(
        2,
        &["folder: this is not a file: give the file that training wrote"],
        &predict_with("folder"),
    );
}

fn a_model_that_is_none_is_refused() {
    let place = Place::with("data.csv", SMALL);
    place.refuses(2, &["data.csv: this is no model file"], &predict_with("./data.csv"));
    place.write("empty", "");
    place.refuses(2, &["empty: this is no model file"], &predict_with("empty"));
    // A safetensors file of somebody else's.
    place.write("other", [&2_u64.to_le_bytes()[..], b"{}"].concat());
    place.refuses(
        2,
        &["other: this is a safetensors file, but not one that tilegrad wrote"],
        &predict_with("other"),
    );
}

fn a_model_cut_short_is_refused() {
    let place = trained();
    place.write("data.csv", SMALL);
    let bytes = fs::read(place.path("model")).expect("the model is there");
    for length in (0..bytes.len()).step_by(bytes.len() / 40).chain([7, 8, 9, bytes.len() - 1]) {
        place.write("cut", &bytes[..length]);
        place.refuses(2, &["cut: "], &predict_with("cut"));
    }
}

fn a_model_with_flipped_bits_never_panics() {
    let place = trained();
    let bytes = fs::read(place.path("model")).expect("the model is there");
    let step = 8 * bytes.len() / 100 + 1;
    for bit in (0..8 * bytes.len()).step_by(step) {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        place.write("flipped", flipped);
        // A flip within a weight gives another weight: 0. All else is refused: 2. `run` looks for panics.
        let run = place.run(&words("predict --model flipped --data diabetes.csv --device loop"));
        assert!(run.code == 0 || run.code == 2, "{run:?}");
    }
}

fn a_model_of_another_version_is_refused() {
    let place = trained();
    place.write("data.csv", SMALL);
    let bytes = fs::read(place.path("model")).expect("the model is there");
    let (from, to) = (br#"\"version\":2"#, br#"\"version\":7"#);
    let at = bytes.windows(from.len()).position(|window| window == from).expect("the version is in the file");
    let newer = [&bytes[..at], &to[..], &bytes[at + from.len()..]].concat();
    place.write("newer", newer);
    place.refuses(
        2,
        &["newer: the model file has version 7, but tilegrad ", "reads version 2: train the model again"],
        &predict_with("newer"),
    );
}

fn data_that_do_not_fit_the_model_are_refused() {
    let place = trained();
    place.write("data.csv", "age,sex,BMI,bp,s1,s2,s3,s4,s5,s6\n1,2,3,4,5,6,7,8,9,10\n");
    place.refuses(
        2,
        &[
            "data.csv: there is no column \"bmi\" (did you mean \"BMI\"?)",
            "the model model needs age, sex, bmi, bp, s1, s2, s3, s4, s5, s6",
        ],
        &predict_with("model"),
    );
    place.write("data.csv", format!("{FEATURES}\n1,2,3,4,5,6,7,8,9,ten\n"));
    place.refuses(2, &["data.csv: line 2, column \"s6\": \"ten\" is not a number"], &predict_with("model"));
    place.write("data.csv", format!("{FEATURES}\n"));
    place.refuses(2, &["data.csv: there is a header but no data"], &predict_with("model"));
}

fn predictions_beyond_f32_are_refused() {
    let place = trained();
    place.write("data.csv", format!("{FEATURES}\n1,2,3,4,5,6,7,8,9,10\n1,2,3,4,5,6,7,8,3e38,10\n"));
    place.refuses(2, &["row 2: the prediction is beyond 32-bit floating point"], &predict_with("model"));
}

fn a_reader_that_goes_away_ends_it_quietly() {
    let place = Place::with("data.csv", SMALL);
    place.succeeds(&train("data.csv", &["--model", "model"]));
    place.write("long.csv", format!("a,b\n{}", "1,2\n".repeat(200_000)));
    let arguments = ["predict", "--model", "model", "--data", "long.csv", "--device", "cpu"];
    let mut child = place
        .command(&arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut first = String::new();
    let mut reader = BufReader::new(child.stdout.take().expect("it is piped"));
    reader.read_line(&mut first).expect("there is a line");
    drop(reader);
    let run = Run::of(child.wait_with_output().expect("it ends"), &arguments);
    assert_eq!((first.as_str(), run.code, run.stderr.as_str()), ("prediction\n", 0, ""), "{run:?}");
}

#[cfg(target_os = "linux")]
fn predictions_go_through_a_pipe_by_its_name() {
    let place = Place::with("data.csv", SMALL);
    place.succeeds(&train("data.csv", &["--model", "model"]));
    let predict = words("predict --model model --data data.csv --device cpu");
    let named = [&predict[..], &["--out", "/dev/stdout"]].concat();
    assert_eq!(place.succeeds(&named), place.succeeds(&predict));
    // Standard output is a pipe whose reader goes away.
    let mut command = place.command(&named);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = child.spawn().expect("the program starts");
    drop(child.stdout.take());
    let run = Run::of(child.wait_with_output().expect("it ends"), &named);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{run:?}");
}

fn compare_measures_every_engine() {
    let place = Place::new();
    let arguments = ["compare", "--samples", "3000", "--features", "100", "--iterations", "2"];
    let out = json(&place.succeeds(&[&arguments[..], &["--json"]].concat()));
    let engines = out["engines"].as_array().expect("engines");
    let names: Vec<&str> = engines.iter().filter_map(|row| row["engine"].as_str()).collect();
    assert_eq!(names, ["loop", "cpu", "emulator", "cuda"]);
    for row in engines {
        if row["engine"] == "cuda" && row["unusable"].is_string() {
            continue;
        }
        for work in ["descent", "dense"] {
            let figures = &row[work];
            assert!(figures["milliseconds"].as_f64().is_some_and(|time| time > 0.0), "{row}");
            assert!(figures["speed_up"].as_f64().is_some_and(|ratio| ratio > 0.0), "{row}");
            assert!(figures["difference"].as_f64().is_some_and(|difference| difference < 1e-5), "{row}");
            assert!(row["engine"] == "loop" || figures["difference"] != 0.0, "that cannot be: {row}");
        }
    }
    assert_eq!(out["precision"], "fp32");
    assert_eq!(engines[0]["size"], json(r#"{"samples": 3000, "features": 100, "units": 1000}"#));
    assert_eq!(engines[2]["size"], json(r#"{"samples": 2048, "features": 64, "units": 64}"#));

    let text = place.succeeds(&arguments);
    for line in ["loop                  3000 × 100", "emulator               2048 × 64", "  cpu ("] {
        assert!(text.contains(line), "no {line:?} in {text}");
    }
}

fn compare_without_the_loop_has_no_reference() {
    let place = Place::new();
    let arguments =
        ["compare", "--samples", "50", "--features", "7", "--iterations", "1", "--devices", " cpu"];
    let out = json(&place.succeeds(&[&arguments[..], &["--precision", "tf32", "--json"]].concat()));
    assert_eq!(out["precision"], "tf32");
    assert!(out["engines"][0]["descent"]["difference"].is_null());
    assert!(place.succeeds(&arguments).contains('–'));
}

fn compare_scales_as_train_does() {
    let place = Place::new();
    let arguments =
        ["compare", "--samples", "500", "--features", "30", "--iterations", "2", "--scale", "zscore"];
    let out = json(&place.succeeds(&[&arguments[..], &["--json"]].concat()));
    assert_eq!(out["scale"], "zscore");
    for row in out["engines"].as_array().expect("engines") {
        let difference = row["descent"]["difference"].as_f64();
        assert!(
            row["unusable"].is_string() || difference.is_some_and(|difference| difference < 1e-5),
            "{row}"
        );
    }
    let text = place.succeeds(&[&arguments[..], &["--devices", "loop,cpu"]].concat());
    assert!(text.contains("scales features by zscore"), "{text}");
}

fn compare_refuses_wrong_options() {
    let place = Place::new();
    place.refuses(2, &["'--samples <M>': there must be at least 1"], &["compare", "--samples", "0"]);
    place.refuses(2, &["'--features <N>'", "at least 1"], &["compare", "--features", "-3"]);
    place.refuses(2, &["'--iterations <N>'", "at least 1"], &["compare", "--iterations", "0"]);
    place.refuses(2, &["'--devices <DEVICES>': the devices are loop"], &["compare", "--devices", "loop,tpu"]);
    place.refuses(2, &["'--devices <DEVICES>': the devices are loop"], &["compare", "--devices", "auto"]);
    place.refuses(2, &["'half' for '--precision <PRECISION>'"], &["compare", "--precision", "half"]);
    place.refuses(2, &["the device cpu is listed twice"], &["compare", "--devices", "cpu,loop,cpu"]);
    let huge = ["compare", "--samples", "9999999999999", "--features", "9999999999"];
    place.refuses(2, &["there is no memory for 9999999999999 × 9999999999 numbers"], &huge);
}

fn doctor_lists_every_engine() {
    let out = Place::new().succeeds(&["doctor"]);
    for text in [
        "usable    loop (",
        "usable    cpu (",
        "usable    emulator (",
        "cuda",
        "auto takes ",
        "PTX of the kernels: ",
    ] {
        assert!(out.contains(text), "no {text:?} in {out}");
    }
    assert!(out.contains("Compilers for the kernels"), "{out}");
}

fn bench_counts_on_the_emulator() {
    let place = Place::new();
    let table = place.succeeds(&["bench", "--filter", "column_sums", "--json", "counts.json"]);
    let lines: Vec<&str> = table.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    assert_eq!(lines.len(), 3, "{table}");
    assert_eq!(
        lines[1].split_whitespace().collect::<Vec<_>>()[..6],
        ["column_sums", "1024×64", "2048", "8192", "100%", "8"]
    );
    let report = json(&place.read("counts.json"));
    assert_eq!(report["device"], "emulator");
    let kernel = &report["kernels"][0];
    assert_eq!((&kernel["kernel"], &kernel["shape"]), (&"column_sums".into(), &"1024×64".into()));
    for (name, count) in
        [("global_loads.requests", 2048), ("global_loads.bytes", 262_144), ("sectors_read", 8192)]
    {
        assert_eq!(kernel["counters"][name], count, "{name}");
    }
    assert_eq!(kernel["floor_read"], 262_144);
}

fn bench_times_operations_that_are_right() {
    let place = Place::new();
    for device in ["cpu", "loop"] {
        let table = place.succeeds(&[
            "bench",
            "--device",
            device,
            "--small",
            "--json",
            "times.json",
            "--plot",
            "roof.svg",
            "--commit",
            "abc123",
        ]);
        assert!(table.contains("descent step") && table.contains("nothing about speed"), "{table}");
        let report = json(&place.read("times.json"));
        assert_eq!((&report["device"], &report["commit"]), (&device.into(), &"abc123".into()));
        assert_eq!((&report["shapes"], &report["gpu"]), (&"counted".into(), &Value::Null));
        assert!(
            report["date"].as_str().is_some_and(|date| date.len() == 20 && date.ends_with('Z')),
            "{report}"
        );
        for limit in ["bandwidth", "arithmetic"] {
            assert!(report["limits"][limit].as_f64().is_some_and(|limit| limit > 1e6), "{report}");
        }
        let results = report["results"].as_array().expect("a list");
        assert_eq!(results.len(), 8, "{report}");
        for row in results {
            assert_eq!(row["kind"], "operation");
            let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("no number in {row}"));
            let seconds = &row["seconds"];
            assert!(number(&seconds["least"]) > 0.0, "{row}");
            assert!(number(&seconds["lower_quartile"]) <= number(&seconds["median"]), "{row}");
            assert!(number(&seconds["median"]) <= number(&seconds["upper_quartile"]), "{row}");
            assert!((0.0..=1.0).contains(&number(&row["error_over_bound"])), "{row}");
            let rate = number(&row["bytes"]) / number(&seconds["median"]);
            assert!((number(&row["bytes_per_second"]) / rate - 1.0).abs() < 1e-9, "{row}");
            let part = rate / number(&report["limits"]["bandwidth"]);
            assert!((number(&row["of_bandwidth"]) / part - 1.0).abs() < 1e-9, "{row}");
        }
        let picture = place.read("roof.svg");
        assert!(picture.starts_with("<svg") && picture.trim_end().ends_with("</svg>"), "{picture}");
        assert!(picture.contains("descent step") && !picture.contains("NaN"), "{picture}");
    }
    let one = place.succeeds(&["bench", "--device", "cpu", "--small", "--filter", "moments"]);
    assert!(one.contains("column moments") && !one.contains("descent step"), "{one}");
    let first = place.succeeds(&["bench", "--device", "cpu", "--small", "--headline"]);
    assert!(first.contains("descent step") && first.contains("dense sigmoid"), "{first}");
    assert!(!first.contains("network of 3 layers"), "{first}");
}

fn bench_refuses_what_it_cannot_do() {
    let place = Place::new();
    place.refuses(2, &["no kernel's name contains `convolution`"], &["bench", "--filter", "convolution"]);
    for (option, value) in [
        ("--plot", Some("p.svg")),
        ("--small", None),
        ("--headline", None),
        ("--rungs", None),
        ("--commit", Some("abc")),
    ] {
        let arguments: Vec<&str> = ["bench", option].into_iter().chain(value).collect();
        place.refuses(2, &[option, "the emulator counts", "choose another device"], &arguments);
    }
    let small = |more: &[&'static str]| [&["bench", "--device", "cpu", "--small"], more].concat();
    place.refuses(
        2,
        &["nothing that is timed on cpu has `convolution`"],
        &small(&["--filter", "convolution"]),
    );
    place.refuses(2, &["--rungs is for kernels on a GPU, and cpu has none"], &small(&["--rungs"]));
    place.refuses(2, &["cannot write", "nowhere"], &small(&["--plot", "nowhere/p.svg"]));
    place.refuses(2, &["cannot write", "nowhere"], &small(&["--json", "nowhere/p.json"]));
    place.refuses(
        2,
        &["--json and --plot name the same file", "give two"],
        &small(&["--json", "p.svg", "--plot", "./p.svg"]),
    );
    place.refuses(3, &["device cuda:99 cannot be used"], &["bench", "--device", "cuda:99"]);
    place.refuses(2, &["'--device <DEVICE>': the devices are"], &["bench", "--device", "tpu"]);
    place.refuses(
        2,
        &["cannot write", "nowhere"],
        &["bench", "--filter", "relu", "--json", "nowhere/counts.json"],
    );
}
