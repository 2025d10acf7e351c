//! Bad input for every option of every command.

use std::collections::BTreeSet;

use super::{COMMANDS, Place, SMALL, json, train, words};

/// Training on data.csv.
const LINEAR: &str = "train linear --data data.csv --target y --device cpu";
const LOGISTIC: &str = "train logistic --data data.csv --target y --device cpu";
const NETWORK: &str = "train network --data data.csv --target y --device cpu";
/// The other commands with what they need at least.
const PREDICT: &str = "predict --model m --data data.csv";
const EVALUATE: &str = "evaluate --model m --data data.csv";
const CONTOURS: &str = "contours --data data.csv --target y --features a,b --plot p.svg";

/// A command, an option with a value that it cannot take, and what the message says.
const BAD: &[(&str, &str, &str)] = &[
    ("train linear --target y", "--data none.csv", "cannot read none.csv: there is no such file"),
    ("train linear --target y", "--data .", "cannot read .: this is a folder: give the name of a file"),
    (LINEAR, "--format xls", "invalid value 'xls' for '--format <FORMAT>'"),
    (LINEAR, "--format npy", "read as NPY, but is CSV"),
    (LINEAR, "--separator §", "'--separator <CHAR>': a separator is one ASCII character"),
    ("train linear --data data.csv", "--target z", "no column \"z\"; the columns are: a, b, y"),
    (LINEAR, "--features a,z", "no column \"z\"; the columns are: a, b, y"),
    (
        LINEAR,
        "--categorical y",
        "the target \"y\" is listed as a category, which is for features: leave it out",
    ),
    (LINEAR, "--missing guess", "invalid value 'guess' for '--missing <POLICY>'"),
    (LINEAR, "--test-share 1", "'--test-share <SHARE>': a share is a number above 0 and below 1"),
    (LINEAR, "--seed -1", "'--seed <N>': a seed is a whole number from 0 to 18446744073709551615"),
    (LINEAR, "--learning-rate 0", "'--learning-rate <RATE>': a learning rate is a number above 0"),
    (LINEAR, "--iterations 0", "'--iterations <N>': there must be at least 1"),
    (
        LINEAR,
        "--iterations 18446744073709551615",
        "no memory for the costs of 18446744073709551615 iterations",
    ),
    (LINEAR, "--scale minmax", "invalid value 'minmax' for '--scale <HOW>'"),
    (LINEAR, "--batch-size 0", "'--batch-size <N>': there must be at least 1, or all"),
    (LINEAR, "--shuffle-buffer 0", "'--shuffle-buffer <SAMPLES>': there must be at least 1"),
    (LINEAR, "--optimiser magic", "invalid value 'magic' for '--optimiser <OPTIMISER>'"),
    (LINEAR, "--momentum 1", "'--momentum <SHARE>': a momentum is a number from 0 to below 1"),
    (
        LINEAR,
        "--schedule step:1",
        "'--schedule <SCHEDULE>': a schedule is constant, cosine, step:EVERY:FACTOR",
    ),
    (LINEAR, "--l2 -1", "'--l2 <LAMBDA>': a penalty is a number of at least 0"),
    (LINEAR, "--l2 1e300", "in range of 32-bit floating point, not 1e300"),
    (LINEAR, "--tolerance 0", "'--tolerance <LENGTH>': a tolerance is a number above 0"),
    (LINEAR, "--validation-share 0", "'--validation-share <SHARE>': a share is a number above 0 and below 1"),
    (LINEAR, "--patience 0", "'--patience <N>': there must be at least 1"),
    (LINEAR, "--warm-start none", "cannot read none: there is no such file"),
    (LINEAR, "--warm-start .", ".: this is not a file: give the file that training wrote"),
    (
        "train linear --data data.csv --target y",
        "--device tpu",
        "the devices are auto, loop, cpu, emulator, cuda",
    ),
    (LINEAR, "--method magic", "invalid value 'magic' for '--method <METHOD>'"),
    (LINEAR, "--solver newton", "invalid value 'newton' for '--solver <SOLVER>'"),
    (LOGISTIC, "--solver normal", "invalid value 'normal' for '--solver <SOLVER>'"),
    (NETWORK, "--layers -4:relu,1:identity", "layer 1 (\"-4:relu\"): the units are no whole number"),
    (NETWORK, "--layers 99999999999:relu,1:identity", "no memory for a layer of 99999999999 units"),
    (LINEAR, "--model none/m", "cannot write none/m: there is no folder none: make it first"),
    (LINEAR, "--history none/h", "cannot write none/h: there is no folder none: make it first"),
    (LINEAR, "--plot p.gif", "cannot write p.gif: a picture is an SVG or a PNG file"),
    (LINEAR, "--report none/r.html", "cannot write none/r.html: there is no folder none: make it first"),
    (LINEAR, "--checkpoint none/c", "cannot write none/c: there is no folder none: make it first"),
    (LINEAR, "--checkpoint data.csv", "cannot write data.csv: these are the data, which would be lost"),
    (LINEAR, "--checkpoint c --every 0", "'--every <N>': there must be at least 1"),
    (LINEAR, "--every 5", "required arguments were not provided"),
    (LINEAR, "--resume", "required arguments were not provided"),
    ("predict --data data.csv", "--model data.csv", "data.csv: this is no model file"),
    ("predict --model m", "--data none.csv", "cannot read none.csv: there is no such file"),
    (PREDICT, "--format npz", "read as NPZ, but is CSV"),
    (PREDICT, "--separator ab", "'--separator <CHAR>': a separator is one ASCII character"),
    (PREDICT, "--no-header", "no column \"a\"; the columns are: c1, c2, c3; the model m needs a, b"),
    (PREDICT, "--device tpu", "the devices are auto, loop, cpu, emulator, cuda"),
    (PREDICT, "--out none/p.csv", "cannot write none/p.csv: there is no folder none: make it first"),
    (PREDICT, "--out m", "cannot write m: this is the model, which would be lost"),
    ("evaluate --data data.csv", "--model none", "cannot read none: there is no such file"),
    ("evaluate --model m", "--data .", "cannot read .: this is a folder"),
    (EVALUATE, "--format npy", "read as NPY, but is CSV"),
    (EVALUATE, "--separator 5", "cannot separate values"),
    (EVALUATE, "--no-header", "the model m needs a, b, and its target y"),
    (EVALUATE, "--missing mean", "'--missing <POLICY>': this is refuse or drop"),
    (EVALUATE, "--device cuda:x", "the devices are auto, loop, cpu, emulator, cuda"),
    (EVALUATE, "--plot p.gif", "cannot write p.gif: a picture is an SVG or a PNG file"),
    (EVALUATE, "--report m", "cannot write m: this is the model, which would be lost"),
    (
        "contours --target y --features a,b --plot p.svg",
        "--data none",
        "cannot read none: there is no such file",
    ),
    (CONTOURS, "--format npz", "read as NPZ, but is CSV"),
    (CONTOURS, "--separator ab", "'--separator <CHAR>': a separator is one ASCII character"),
    ("contours --data data.csv --features a,b --plot p.svg", "--target z", "no column \"z\""),
    ("contours --data data.csv --target y --plot p.svg", "--features a", "name two, such as --features a,b"),
    (
        "contours --data data.csv --target y --features a,b",
        "--plot p.gif",
        "a picture is an SVG or a PNG file",
    ),
    (CONTOURS, "--learning-rate -1", "'--learning-rate <RATE>': a learning rate is a number above 0"),
    (CONTOURS, "--iterations 0", "'--iterations <N>': there must be at least 1"),
    (CONTOURS, "--iterations 10001", "a path of more than 10000 steps is too long for a picture"),
    (CONTOURS, "--device tpu", "the devices are auto, loop, cpu, emulator, cuda"),
    ("compare", "--samples 0", "'--samples <M>': there must be at least 1"),
    ("compare", "--features x", "'--features <N>': this must be a whole number, at least 1"),
    ("compare", "--iterations 1e3", "'--iterations <N>': this must be a whole number, at least 1"),
    ("compare", "--devices auto", "'--devices <DEVICES>': the devices are loop, cpu, emulator, cuda"),
    ("compare", "--precision fp8", "invalid value 'fp8' for '--precision <PRECISION>'"),
    ("compare", "--scale minmax", "invalid value 'minmax' for '--scale <HOW>'"),
    ("bench", "--device tpu", "the devices are loop, cpu, emulator, cuda"),
    ("bench", "--filter convolution", "no kernel's name contains `convolution`"),
    ("bench", "--json none/b.json", "cannot write none/b.json: there is no folder none: make it first"),
    ("bench --device cpu --small", "--plot p.gif", "a picture is an SVG or a PNG file"),
    ("bench", "--commit abc", "choose another device"),
    ("completions", "csh", "invalid value 'csh' for '<SHELL>'"),
];

pub fn every_option_refuses_what_it_cannot_take() {
    let place = Place::with("data.csv", SMALL);
    place.succeeds(&train("data.csv", &["--model", "m"]));
    for (command, option, text) in BAD {
        place.refuses(2, &[text], &words(&format!("{command} {option}")));
    }
}

/// The options that take a value, of the commands as they say themselves. What the kinds of models share is one option.
pub fn no_option_is_without_a_test_of_bad_input() {
    let place = Place::new();
    let first = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
    let tested: BTreeSet<(String, String)> = (BAD.iter())
        .flat_map(|(command, options, _)| {
            let options = options.split(' ').filter(|word| word.starts_with("--"));
            options.map(move |option| (first(command), option.to_owned()))
        })
        .collect();
    let mut options = 0;
    for command in COMMANDS.iter().filter(|command| !command.is_empty()) {
        let help = place.succeeds(&words(&format!("{command} --help")));
        for line in help.lines().map(str::trim_start).filter(|line| line.starts_with("--")) {
            let Some((option, _)) = line.split_once(" <") else { continue };
            let option = (first(command), option.to_owned());
            assert!(tested.contains(&option), "no bad input for {option:?} in tests/command/options.rs");
            options += 1;
        }
    }
    assert!(options > 60, "{options}: has the help another form?");
}

pub fn a_class_may_have_any_name() {
    let odd = "=\"\",€\u{1b}<b>";
    let contents = format!("a,kind\n1,\"x\ny\"\n2,\"x\ny\"\n8,\"{odd}\"\n9,\"{odd}\"\n");
    let place = Place::with("odd.csv", contents);
    let pictures = words("--plot p.svg --report r.html");
    let train = words("train logistic --data odd.csv --target kind --device cpu --model m");
    let evaluate = words("evaluate --data odd.csv --device cpu --model m");
    for command in [train, evaluate] {
        let text = place.succeeds(&[&command[..], &pictures].concat());
        assert!(text.contains("x\\ny") && !text.contains('\u{1b}'), "{text}");
        for file in ["p.svg", "r.html"] {
            let contents = place.read(file);
            assert!(contents.contains("&lt;b&gt;") && !contents.contains("<b>"), "{file}");
            assert!(!contents.contains('\u{1b}'), "{file}");
        }
    }
    let csv = place.succeeds(&words("predict --data odd.csv --device cpu --model m"));
    assert!(csv.contains(&format!("\n\"{odd}\",")) && csv.contains("\n\"x\ny\","), "{csv:?}");
    let out = json(&place.succeeds(&words("predict --data odd.csv --device cpu --model m --json")));
    assert_eq!(
        (&out["predictions"][0], &out["predictions"][3]),
        (&"x\ny".into(), &odd.replace("\"\"", "\"").into())
    );
}
