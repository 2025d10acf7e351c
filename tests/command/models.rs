//! Models of any kind: trained, evaluated, and asked for predictions.

use std::fs;

use super::{DIABETES, Place, SMALL, close, column, data, json, train, words};
use serde_json::Value;

/// Two classes of names that a naive reader would trip over, told apart by a.
const FRUIT: &str =
    "a,b,kind\n1,5,\"apple, red\"\n2,3,\"apple, red\"\n3,4,\"apple, red\"\n7,4,pear\n8,5,pear\n9,3,pear\n";

fn logistic<'a>(options: &[&'a str]) -> Vec<&'a str> {
    [&["train", "logistic", "--data", "fruit.csv", "--target", "kind", "--device", "cpu"], options].concat()
}

fn fruit() -> Place {
    Place::with("fruit.csv", FRUIT)
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

pub fn logistic_regression_reaches_the_reference() {
    let reference = json(&data("reference.json"));
    let reference = &reference["breast_cancer_logistic"];
    let place = Place::with("cancer.csv", data("breast_cancer.csv"));
    for device in ["loop", "cpu"] {
        let out = json(&place.succeeds(&words(&format!(
            "train logistic --data cancer.csv --target benign --learning-rate 0.5 --iterations 1000 --device {device} --json"
        ))));
        assert_eq!((&out["model"], &out["classes"]), (&"logistic".into(), &json(r#"["0", "1"]"#)));
        close(&out["cost"], &reference["cost"]["1000"]);
        close(&out["weights_standardised"], &reference["weights_standardised"]);
        close(&out["bias_standardised"], &reference["bias_standardised"]);
        close(&out["train"]["accuracy"], &reference["accuracy"]);
    }
}

pub fn metrics_are_of_the_training_data_unless_others_were_held_back() {
    let place = Place::new();
    let all = json(&place.succeeds(&words(&format!("{DIABETES} --device cpu --json"))));
    assert_eq!(keys(&all["train"]), ["mae", "r2", "rmse", "samples"]);
    assert_eq!(all["train"]["samples"], 442);
    // J = Σ(ŷ − y)² / (2m)
    let rmse = number(&all["train"]["rmse"]);
    assert!((rmse * rmse / 2.0 - number(&all["cost"])).abs() <= 1e-4 * number(&all["cost"]));
    assert!(all.get("test").is_none());

    let shared = words("--device cpu --test-share 0.2 --seed 7");
    let shared = [words(DIABETES), shared].concat();
    let out = json(&place.succeeds(&[&shared[..], &["--json"]].concat()));
    assert_eq!((&out["train"]["samples"], &out["test"]["samples"]), (&354.into(), &88.into()));
    assert_eq!(out["samples"], 354);
    assert_ne!(out["weights"], all["weights"]);
    let text = place.succeeds(&shared);
    assert!(
        text.contains("\non the training share: R² ")
            && text.contains("\non the test share, 88 samples: R² ")
    );
    let text = place.succeeds(&words(&format!("{DIABETES} --device cpu")));
    assert!(
        text.contains("\non the training data (--test-share holds others back for a test): R² "),
        "{text}"
    );
}

pub fn the_seed_decides_what_is_held_back() {
    let place = Place::new();
    let test = |seed: &str| {
        let arguments = format!("{DIABETES} --device cpu --test-share 0.2 --seed {seed} --json");
        json(&place.succeeds(&words(&arguments)))["test"].clone()
    };
    assert_eq!(test("3"), test("3"));
    assert_ne!(test("3"), test("4"));
}

pub fn classes_are_told_apart_with_their_probabilities() {
    let place = fruit();
    let out = json(&place.succeeds(&logistic(&["--model", "model", "--json"])));
    assert_eq!(out["classes"], json(r#"["apple, red", "pear"]"#));
    assert_eq!(out["train"]["confusion"], json("[[3, 0], [0, 3]]"));
    assert_eq!((&out["train"]["accuracy"], &out["train"]["auc"]), (&1.0.into(), &1.0.into()));

    let csv = place.succeeds(&["predict", "--model", "model", "--data", "fruit.csv", "--device", "cpu"]);
    let mut lines = csv.lines();
    assert_eq!(lines.next(), Some("prediction,\"probability of apple, red\",probability of pear"));
    assert!(lines.next().is_some_and(|line| line.starts_with("\"apple, red\",0.9")), "{csv}");
    assert!(lines.nth(4).is_some_and(|line| line.starts_with("pear,0.0")), "{csv}");

    let arguments = ["predict", "--model", "model", "--data", "fruit.csv", "--device", "cpu", "--json"];
    let out = json(&place.succeeds(&arguments));
    assert_eq!(
        keys(&out),
        ["classes", "device", "model", "predictions", "probabilities", "samples", "target"]
    );
    assert_eq!(out["predictions"][0], "apple, red");
    for row in out["probabilities"].as_array().expect("a list") {
        assert!((number(&row[0]) + number(&row[1]) - 1.0).abs() < 1e-6, "{row}");
    }
}

pub fn predictions_are_json_if_asked_for() {
    let place = Place::with("data.csv", SMALL);
    place.succeeds(&train("data.csv", &["--model", "model"]));
    let arguments = ["predict", "--model", "model", "--data", "data.csv", "--device", "cpu"];
    let csv = place.succeeds(&arguments);
    let out = json(&place.succeeds(&[&arguments[..], &["--json", "--out", "p.csv"]].concat()));
    assert_eq!(keys(&out), ["device", "model", "predictions", "samples", "target"]);
    assert_eq!((&out["model"], &out["target"], &out["samples"]), (&"linear".into(), &"y".into(), &4.into()));
    assert_eq!(place.read("p.csv"), csv);
    let predictions = out["predictions"].as_array().expect("a list").iter().map(|p| number(p) as f32);
    let printed = column(&csv, "prediction").into_iter().map(|p| p as f32);
    assert!(predictions.eq(printed));
}

pub fn a_model_is_evaluated_on_other_data() {
    let place = fruit();
    place.succeeds(&logistic(&["--model", "model"]));
    // Two of three are right.
    place.write("other.csv", "kind,b,a\npear,4,1\npear,4,9\n\"apple, red\",4,2\n");
    let evaluate = ["evaluate", "--model", "model", "--data", "other.csv", "--device", "cpu"];
    let out = json(&place.succeeds(&[&evaluate[..], &["--json"]].concat()));
    assert_eq!(keys(&out), ["device", "dropped", "metrics", "model", "target"]);
    assert_eq!(out["metrics"]["confusion"], json("[[1, 0], [1, 1]]"));
    close(&out["metrics"]["accuracy"], &(2.0 / 3.0).into());
    let text = place.succeeds(&evaluate);
    assert!(text.contains("on other.csv, 3 samples: accuracy 66.67 %, log loss "), "{text}");
    assert!(text.contains("actual \\ predicted  apple, red  pear\n"), "{text}");

    let place = Place::with("data.csv", SMALL);
    let trained = json(&place.succeeds(&train("data.csv", &["--model", "model", "--json"])));
    let arguments = ["evaluate", "--model", "model", "--data", "data.csv", "--device", "cpu", "--json"];
    assert_eq!(json(&place.succeeds(&arguments))["metrics"], trained["train"]);
}

pub fn evaluation_refuses_what_does_not_fit() {
    let place = fruit();
    place.succeeds(&logistic(&["--model", "model"]));
    let refuses = |texts: &[&str], contents: &str, options: &[&str]| {
        place.write("data.csv", contents);
        let arguments = ["evaluate", "--model", "model", "--data", "data.csv", "--device", "cpu"];
        place.refuses(2, texts, &[&arguments[..], options].concat());
    };
    refuses(&["no column \"kind\"", "needs a, b, and its target kind"], "a,b\n1,2\n", &[]);
    refuses(&["no column \"b\"", "the model model needs a, b"], "a,kind\n1,pear\n", &[]);
    refuses(&["\"plum\""], "a,b,kind\n1,2,plum\n", &[]);
    refuses(&["line 2", "missing"], "a,b,kind\n,2,pear\n", &[]);
    refuses(&["--missing", "means are those"], "a,b,kind\n,2,pear\n", &["--missing", "mean"]);
    refuses(
        &["these are the data"],
        "a,b,kind\n1,2,pear\n",
        &["--plot", "data.csv.svg", "--report", "data.csv"],
    );
    refuses(&["end its name in .svg or .png"], "a,b,kind\n1,2,pear\n", &["--plot", "p.jpg"]);
    place.write("data.csv", "a,b,kind\n1,2,pear\n,2,pear\n");
    let arguments = words("evaluate --model model --data data.csv --device cpu --missing drop --json");
    let out = json(&place.succeeds(&arguments));
    assert_eq!((&out["dropped"], &out["metrics"]["samples"]), (&1.into(), &1.into()));
    assert_eq!(out["metrics"]["auc"], Value::Null);
}

pub fn columns_of_text_become_features() {
    let place = Place::with("data.csv", "size,colour,y\n1,red,1\n2,blue,2\n3,red,3\n4,blue,4\n");
    let out =
        json(&place.succeeds(&train("data.csv", &["--categorical", "colour", "--model", "m", "--json"])));
    assert_eq!(out["features"], json(r#"["size", "colour=blue", "colour=red"]"#));
    let csv = place.succeeds(&words("predict --model m --data data.csv --device cpu"));
    assert_eq!(column(&csv, "prediction").len(), 4);
    place.write("other.csv", "size,colour\n1,green\n");
    place.refuses(2, &["\"green\""], &words("predict --model m --data other.csv --device cpu"));
    place.refuses(2, &["no column \"weight\""], &train("data.csv", &["--categorical", "weight"]));
    place.refuses(
        2,
        &["\"colour\"", "is no feature"],
        &train("data.csv", &["--features", "size", "--categorical", "colour"]),
    );
}

pub fn missing_values_are_dealt_with_as_asked() {
    let place = Place::with("data.csv", "a,b,y\n1,2,3\n,1,5\n3,5,4\n4,4,9\n");
    place.refuses(2, &["line 3, column \"a\": the value is missing"], &train("data.csv", &[]));
    let dropped = json(&place.succeeds(&train("data.csv", &["--missing", "drop", "--json"])));
    assert_eq!(dropped["samples"], 3);
    let text = place.succeeds(&train("data.csv", &["--missing", "drop"]));
    assert!(text.contains("1 sample left out, as a value is missing\n"), "{text}");
    let filled = json(&place.succeeds(&train("data.csv", &["--missing", "mean", "--model", "m", "--json"])));
    assert_eq!(filled["samples"], 4);
    // The model knows the mean.
    let csv = place.succeeds(&words("predict --model m --data data.csv --device cpu"));
    assert_eq!(column(&csv, "prediction").len(), 4);
}

pub fn files_are_read_as_asked() {
    let place = Place::with("data.txt", "1:2:3\n2:1:5\n3:5:4\n4:4:9\n");
    let arguments = words("train linear --data data.txt --target c3 --device cpu --json");
    let options = ["--separator", ":", "--no-header"];
    let out = json(&place.succeeds(&[&arguments[..], &options].concat()));
    assert_eq!((&out["features"], &out["samples"]), (&json(r#"["c1", "c2"]"#), &4.into()));
    place.write("tabs.csv", "a\ty\n1\t2\n2\t3\n");
    for separator in ["tab", "\\t", "auto"] {
        place.succeeds(&train("tabs.csv", &["--separator", separator, "--format", "csv"]));
    }
    for (separator, text) in [
        ("ab", "one ASCII character"),
        ("", "one ASCII character"),
        ("5", "cannot separate"),
        (".", "cannot separate"),
    ] {
        place.refuses(2, &[text], &train("tabs.csv", &["--separator", separator]));
    }
    place.refuses(2, &["no column \"y\""], &train("tabs.csv", &["--separator", ";"]));
}

pub fn shares_that_make_no_sense_are_refused() {
    let place = Place::with("data.csv", SMALL);
    for option in ["--test-share", "--validation-share"] {
        for share in ["0", "1", "-0.1", "1.5", "20%", "NaN", ""] {
            place.refuses(2, &[option, "above 0 and below 1"], &train("data.csv", &[option, share]));
        }
    }
    place.write("one.csv", "a,y\n1,2\n");
    place.refuses(2, &["two are needed"], &train("one.csv", &["--test-share", "0.5"]));
}

pub fn settings_that_make_no_sense_are_refused() {
    let place = fruit();
    for (option, value, text) in [
        ("--batch-size", "0", "at least 1"),
        ("--batch-size", "some", "or all"),
        ("--momentum", "1", "below 1"),
        ("--momentum", "-0.5", "below 1"),
        ("--schedule", "step", "step:EVERY:FACTOR"),
        ("--schedule", "step:0:0.5", "at least 1 step"),
        ("--schedule", "step:10:1.5", "at most 1"),
        ("--schedule", "exponential:0", "above 0"),
        ("--schedule", "inverse-time:-1", "at least 0"),
        ("--l2", "-1", "at least 0"),
        ("--l2", "NaN", "at least 0"),
        ("--tolerance", "0", "above 0"),
        ("--tolerance", "inf", "above 0"),
        ("--patience", "0", "at least 1"),
        ("--patience", "3", "--validation-share"),
        ("--momentum", "0.9", "--optimiser momentum"),
        ("--method", "gram", "unexpected argument '--method'"),
        ("--layers", "3:relu", "unexpected argument '--layers'"),
    ] {
        place.refuses(2, &[text], &logistic(&[option, value, "--model", "m", "--history", "h.csv"]));
    }
    place.refuses(
        2,
        &["--momentum is for --optimiser momentum"],
        &logistic(&["--optimiser", "adam", "--momentum", "0.9"]),
    );
    for option in
        [["--learning-rate", "0.1"], ["--batch-size", "2"], ["--optimizer", "adam"], ["--checkpoint", "c"]]
    {
        let options = [&["--solver", "newton"], &option[..]].concat();
        place.refuses(2, &["does not descend", "leave one of them out"], &logistic(&options));
    }
    // The normal equations have no steps of any kind, not even Newton's.
    for option in ["--iterations 5", "--epochs 5", "--tolerance 1e-3", "--warm-start m"] {
        let normal = format!("{DIABETES} --device cpu --solver normal {option}");
        place.refuses(
            2,
            &["is for steps, and --solver normal takes none: leave one of them out"],
            &words(&normal),
        );
    }
    place.succeeds(&logistic(&words("--solver newton --l2 0.1 --iterations 50 --tolerance 1e-3")));
}

pub fn weights_of_many_classes_are_where_it_says() {
    let rows: String = (0..11).map(|i| format!("{i},class {i}\n")).collect();
    let place = Place::with("many.csv", format!("a,kind\n{rows}"));
    let train = "train logistic --data many.csv --target kind --device cpu --iterations 5";
    let without = place.succeeds(&words(train));
    assert!(
        without.contains("--model writes them to a file") && !without.contains("in the model's file"),
        "{without}"
    );
    let with = place.succeeds(&words(&format!("{train} --model m")));
    assert!(with.contains("The weights are in the model's file, and in what --json prints."), "{with}");
}

pub fn a_warm_start_goes_on_from_a_model() {
    let place = Place::with("data.csv", SMALL);
    place.succeeds(&train("data.csv", &["--iterations", "30", "--model", "half"]));
    let options = ["--iterations", "30", "--warm-start", "half", "--history", "h.csv", "--json"];
    let twice = json(&place.succeeds(&train("data.csv", &options)));
    let whole =
        json(&place.succeeds(&train("data.csv", &["--iterations", "60", "--history", "w.csv", "--json"])));
    close(&twice["weights"], &whole["weights"]);
    assert!(
        (column(&place.read("h.csv"), "cost")[0] / column(&place.read("w.csv"), "cost")[30] - 1.0).abs()
            < 1e-4
    );

    let with = |model: &'static str| train("data.csv", &["--warm-start", model]);
    place.refuses(2, &["cannot read none"], &with("none"));
    place.refuses(2, &["this is no model file"], &with("data.csv"));
    place.refuses(
        2,
        &["half", "which would be lost"],
        &train("data.csv", &["--warm-start", "half", "--model", "./half"]),
    );
    place.write("fruit.csv", FRUIT);
    place.refuses(
        2,
        &["of kind logistic cannot begin at a model of kind linear"],
        &logistic(&["--warm-start", "half"]),
    );
    place.write("other.csv", "a,c,y\n1,2,3\n2,1,5\n");
    place.refuses(2, &["feature"], &train("other.csv", &["--warm-start", "half"]));
}

pub fn early_stopping_shows_the_validation_cost_of_every_kind_of_model() {
    let place = fruit();
    place.write("data.csv", SMALL);
    for model in [
        "linear --data data.csv --target y",
        "logistic --data fruit.csv --target kind",
        "network --data fruit.csv --target kind --layers 1:sigmoid",
    ] {
        let options = "--validation-share 0.3 --epochs 4 --history h.csv --plot p.svg --device cpu";
        let text = place.succeeds(&words(&format!("train {model} {options}")));
        let csv = place.read("h.csv");
        assert!(csv.starts_with("iteration,cost,validation_cost\n0,"), "{model}: {csv}");
        let costs: Vec<&str> =
            csv.lines().skip(2).map(|line| line.rsplit(',').next().unwrap_or("")).collect();
        assert!(costs.len() == 4 && costs.iter().all(|cost| cost.parse::<f64>().is_ok()), "{model}: {csv}");
        assert!(place.read("p.svg").contains(">\nvalidation\n<"), "{model}");
        // The nearest number to 0.3 of 4 or 6 samples.
        let out = json(&place.succeeds(&words(&format!("train {model} {options} --json"))));
        let validation = &out["validation"];
        let (samples, said) = if out["samples"] == 4 { (1, "1 sample") } else { (2, "2 samples") };
        assert_eq!(validation["samples"], samples, "{model}: {out}");
        let costs: Vec<f64> = costs.iter().map(|cost| cost.parse().expect("a number")).collect();
        let lowest = costs.iter().copied().fold(f64::INFINITY, f64::min);
        assert_eq!(
            (number(&validation["cost"]), validation["iteration"].as_u64()),
            (lowest, costs.iter().position(|cost| *cost == lowest).map(|i| i as u64 + 1)),
            "{model}"
        );
        let kept = format!("\n{said} kept out of the steps for validation: cost ");
        assert!(text.contains(&kept) && text.contains(", the lowest, whose weights were kept\n"), "{text}");
        assert!(text.contains("on the training data, validation samples among it ("), "{text}");
    }
}

pub fn a_solver_without_steps_says_how_it_ended_and_no_learning_rate() {
    let place = fruit();
    let normal = format!("{DIABETES} --solver normal --device cpu");
    let out = json(&place.succeeds(&words(&format!("{normal} --json --report r.html"))));
    assert_eq!((&out["solver"], &out["ending"]), (&"normal".into(), &"cholesky".into()));
    assert!(out.get("learning_rate").is_none(), "{out}");
    let page = place.read("r.html");
    assert!(page.contains("<td>normal</td>") && !page.contains("learning rate"));
    let text = place.succeeds(&words(&normal));
    assert!(text.contains("10 features, by the normal equations in "), "{text}");
    assert!(text.contains("solved: the normal equations, by a Cholesky factorisation"), "{text}");

    let newton = words("--solver newton --l2 0.1 --json");
    let out = json(&place.succeeds(&logistic(&newton)));
    assert_eq!((&out["solver"], &out["ending"]), (&"newton".into(), &"converged".into()));
    assert!(out.get("learning_rate").is_none(), "{out}");
    let out = json(&place.succeeds(&logistic(&["--json"])));
    assert_eq!((&out["solver"], &out["ending"]), (&"descent".into(), &"epochs".into()));
    assert_eq!(out["learning_rate"], 0.1);
}

pub fn a_network_learns_digits() {
    let place = Place::with("digits.csv", data("digits.csv"));
    let out = json(&place.succeeds(&words(
        "train network --data digits.csv --target digit --layers 32:relu,10:softmax --epochs 20 --learning-rate 0.003 \
         --test-share 0.2 --validation-share 0.1 --history h.csv --model net --plot net.svg --report net.html \
         --device cpu --json",
    )));
    assert_eq!((&out["model"], &out["layers"]), (&"network".into(), &"32:relu,10:softmax".into()));
    assert!(number(&out["test"]["accuracy"]) > 0.9 && number(&out["train"]["accuracy"]) > 0.95, "{out}");
    assert_eq!(out["test"]["confusion"].as_array().map(Vec::len), Some(10));
    assert!(place.read("h.csv").starts_with("iteration,cost,validation_cost\n0,"));
    let svg = place.read("net.svg");
    assert!(
        svg.contains(">\nvalidation\n<")
            && svg.contains("confusion matrix of digit: test share, 359 samples")
    );
    assert!(place.read("net.html").contains("<td>32:relu,10:softmax</td>"));

    let evaluate = words("evaluate --model net --data digits.csv --device loop --json");
    let metrics = json(&place.succeeds(&evaluate));
    assert!(number(&metrics["metrics"]["accuracy"]) > 0.9, "{metrics}");
    let csv = place.succeeds(&words("predict --model net --data digits.csv --device cpu"));
    assert!(csv.starts_with("prediction,probability of 0,"), "{}", &csv[..80]);
    assert_eq!(csv.lines().count(), 1798);
}

pub fn networks_predict_numbers_and_two_classes() {
    let place = fruit();
    let options = "--epochs 50 --learning-rate 0.05 --device cpu --json";
    let out = json(&place.succeeds(&words(&format!(
        "train network --data fruit.csv --target kind --layers 4:sigmoid,1:sigmoid {options}"
    ))));
    assert_eq!(out["train"]["accuracy"], 1.0);
    place.write("data.csv", SMALL);
    let out = json(&place.succeeds(&words(&format!(
        "train network --data data.csv --target y --layers 4:relu,1:identity --batch-size all {options}"
    ))));
    assert_eq!(keys(&out["train"]), ["mae", "r2", "rmse", "samples"]);
    // With mini-batches the first cost is not that before the first step.
    let text = |batch: &str| {
        place.succeeds(&words(&format!(
            "train network --data data.csv --target y --layers 1:identity --device cpu --plot p.svg --batch-size {batch}"
        )))
    };
    assert!(text("2").contains(" in the first epoch, the mean of its batches before their steps\n"));
    assert!(place.read("p.svg").contains("batches before their steps, and cost at the end"));
    assert!(text("all").contains(" before the first step\n"));
    assert!(place.read("p.svg").contains("cost before each iteration, and after the last"));
    let refuses = |layers: &'static str, texts: &[&str]| {
        let arguments = ["train", "network", "--data", "fruit.csv", "--target", "kind", "--layers", layers];
        place.refuses(2, texts, &[&arguments[..], &["--device", "cpu"]].concat());
    };
    refuses("4:relu", &["the last layer"]);
    refuses("4:tanh,1:sigmoid", &["layer 1"]);
    refuses("0:relu,1:sigmoid", &["layer 1"]);
    refuses("", &["layer 1"]);
    refuses("4:relu,3:softmax", &["1:sigmoid"]);
}

pub fn a_file_is_trained_on_block_by_block() {
    let place = Place::new();
    let stream = words("--device cpu --stream --json");
    let streamed = json(&place.succeeds(&[words(DIABETES), stream.clone()].concat()));
    let whole = json(&place.succeeds(&words(&format!("{DIABETES} --device cpu --method gram --json"))));
    assert_eq!((&streamed["weights"], &streamed["method"]), (&whole["weights"], &"gram".into()));
    close(&streamed["train"]["r2"], &whole["train"]["r2"]);
    close(&streamed["train"]["rmse"], &whole["train"]["rmse"]);
    place.succeeds(&words(&format!(
        "{DIABETES} --device cpu --stream --report r.html --plot p.svg --history h.csv"
    )));
    assert_eq!(column(&place.read("h.csv"), "cost").len(), 1001);

    let refuses = |arguments: &str, text: &str| {
        place.refuses(2, &[text], &words(&format!("{arguments} --stream --device cpu --model m")));
    };
    refuses(&format!("{DIABETES} --test-share 0.2"), "--stream holds no samples back");
    refuses(&format!("{DIABETES} --checkpoint c"), "--stream has no checkpoints without mini-batches");
    refuses(&format!("{DIABETES} --method direct"), "take the method gram");
    refuses(&format!("{DIABETES} --optimiser adam"), "mini-batches of a file, with a batch size");
    refuses(&format!("{DIABETES} --batch-size 8 --validation-share 0.2"), "leave --validation-share out");
    refuses(&format!("{DIABETES} --batch-size 8 --shuffle-buffer 7"), "holds no batch of 8");
    refuses(&format!("{DIABETES} --shuffle-buffer 7"), "a shuffle buffer is for mini-batches");
    refuses(&format!("{DIABETES} --batch-size 8 --shuffle-buffer 0"), "--shuffle-buffer");
    refuses(&format!("{DIABETES} --batch-size 8 --shuffle-buffer -1"), "--shuffle-buffer");
    refuses(&format!("{DIABETES} --batch-size 8 --shuffle-buffer all"), "--shuffle-buffer");
    refuses(&format!("{DIABETES} --solver normal --shuffle-buffer 7"), "--shuffle-buffer is for descent");
    let logistic = "train logistic --data diabetes.csv --target sex";
    refuses(logistic, "give --batch-size");
    refuses(&format!("{logistic} --solver newton"), "take --solver descent with --batch-size");
    refuses(&format!("{logistic} --batch-size 8 --test-share 0.2"), "--stream holds no samples back");
    let network = "train network --data diabetes.csv --target sex --layers 1:sigmoid --batch-size all";
    refuses(network, "give --batch-size");
    refuses("train linear --data none.csv --target y", "cannot read none.csv");
}

pub fn the_normal_equations_take_one_pass() {
    let place = Place::new();
    let normal = format!("{DIABETES} --solver normal --device cpu --json");
    let whole = json(&place.succeeds(&words(&normal)));
    let streamed = json(&place.succeeds(&words(&format!("{normal} --stream"))));
    assert_eq!((&streamed["ending"], &streamed["weights"]), (&"cholesky".into(), &whole["weights"]));
    assert_eq!(keys(&streamed), keys(&whole));
}

/// Metrics of blocks are put together from those of each, whose predictions may be off by the rounding of sums of 65 products,
/// 65u = 4·10⁻⁶, and have no area under the curve.
pub fn mini_batches_of_a_file_that_is_not_kept_give_the_model_of_training_in_memory() {
    let place = Place::with("cancer.csv", data("breast_cancer.csv"));
    place.write("digits.csv", data("digits.csv"));
    let batches = "--batch-size 32 --shuffle-buffer 100 --epochs 3 --device cpu --json";
    for train in [
        DIABETES,
        "train logistic --data cancer.csv --target benign",
        "train logistic --data digits.csv --target digit",
        "train network --data diabetes.csv --target progression --layers 8:relu,1:identity",
        "train network --data digits.csv --target digit --layers 8:relu,10:softmax",
    ] {
        let of = |options: &str| {
            let mut out = json(&place.succeeds(&words(&format!("{train} {batches} {options}"))));
            let object = out.as_object_mut().expect("an object");
            assert!(object.remove("seconds").is_some());
            let metrics = object.remove("train").expect("they are there");
            (out, metrics, fs::read(place.path("m")).expect("it was written"))
        };
        let (whole, in_memory, model) = of("--model m");
        let (streamed, in_blocks, again) = of("--model m --stream");
        assert_eq!(streamed, whole, "{train}");
        assert!(again == model, "{train}: another model");
        assert_eq!(keys(&in_blocks), keys(&in_memory));
        for name in keys(&in_memory) {
            match (name, &in_memory[name]) {
                ("auc", _) => assert_eq!(in_blocks[name], Value::Null),
                (_, Value::Number(_)) => {
                    let (one, other) = (number(&in_blocks[name]), number(&in_memory[name]));
                    assert!((one - other).abs() <= 1e-5 * other.abs(), "{train}, {name}: {one}, {other}");
                }
                (_, value) => assert_eq!(&in_blocks[name], value),
            }
        }
    }
    // The block is what is shuffled, where nothing else is said: here all samples.
    let default =
        "train logistic --data cancer.csv --target benign --batch-size 32 --epochs 2 --device cpu --json";
    let [whole, streamed] = [default.to_owned(), format!("{default} --stream --report r.html")]
        .map(|line| json(&place.succeeds(&words(&line))));
    assert_eq!(whole["weights"], streamed["weights"]);
    assert!(place.read("r.html").contains("<td>65536</td>"));
}

pub fn streamed_training_goes_on_from_its_checkpoint() {
    let place = Place::with("cancer.csv", data("breast_cancer.csv"));
    let line =
        "train logistic --data cancer.csv --target benign --batch-size 32 --stream --device cpu --json";
    let whole = json(&place.succeeds(&words(&format!("{line} --epochs 6"))));
    place.succeeds(&words(&format!("{line} --epochs 2 --checkpoint c --every 1")));
    let resumed = json(&place.succeeds(&words(&format!("{line} --epochs 6 --checkpoint c --resume"))));
    assert_eq!((&resumed["weights"], &resumed["cost"]), (&whole["weights"], &whole["cost"]));
    let other = format!("{line} --epochs 6 --checkpoint c --resume --shuffle-buffer 64");
    place.refuses(2, &["the shuffle buffer was 65536, and is 64 now"], &words(&other));
}
