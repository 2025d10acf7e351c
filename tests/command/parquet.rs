//! Parquet files, where they are read and where they are not.

use super::*;

/// A folder with a file of tests/data/parquet in it.
fn with(name: &str) -> Place {
    let root =
        std::env::var_os("TILEGRAD_ROOT").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    let place = Place::with("data.csv", "");
    fs::copy(root.join("tests/data/parquet").join(name), place.path(name)).expect("the file is there");
    place
}

#[cfg(feature = "parquet")]
pub fn parquet_is_trained_on_as_the_same_csv_is() {
    let place = with("diabetes.parquet");
    let command = |data: &'static str, more: &[&'static str]| {
        let words = words("train linear --target progression --iterations 50 --device cpu --data");
        [&words[..], &[data], more].concat()
    };
    place.write("data.csv", data("diabetes.csv"));
    place.succeeds(&command("data.csv", &["--model", "csv"]));
    place.succeeds(&command("diabetes.parquet", &["--model", "auto"]));
    place.succeeds(&command("diabetes.parquet", &["--format", "parquet", "--model", "named"]));
    let model = |name| fs::read(place.path(name)).expect("it was written");
    assert!(model("csv") == model("auto") && model("csv") == model("named"));
    // Told by its contents.
    fs::rename(place.path("diabetes.parquet"), place.path("other.txt")).expect("the folder is ours");
    let of = |command: &str, data: &str| {
        place.succeeds(&words(&format!("{command} --model csv --data {data} --device cpu")))
    };
    assert_eq!(of("predict", "other.txt"), of("predict", "data.csv"));
    let json = |data| json(&of("evaluate --json", data));
    assert_eq!(json("other.txt")["metrics"], json("data.csv")["metrics"]);
    let blocks = command("other.txt", &["--stream", "--model", "stream"]);
    place.succeeds(&blocks);
}

#[cfg(feature = "parquet")]
pub fn parquet_that_cannot_be_used_is_refused() {
    let place = with("refused.parquet");
    let features = |features| {
        [
            &words("train linear --data refused.parquet --target target --device cpu --features")[..],
            &[features],
        ]
        .concat()
    };
    for (feature, text) in [
        ("list", "refused.parquet: column \"list\": it holds lists or records in each row"),
        ("date", "column \"date\": it holds dates, which are no numbers: leave it out"),
        ("text", "column \"text\": it holds text, where numbers are needed"),
        ("nothing", "row 1, column \"nothing\": the value is missing (null or NaN)"),
        ("large", "row 2, column \"large\""),
    ] {
        place.refuses(2, &[text], &features(feature));
    }
    place.refuses(
        2,
        &["it is to be read as CSV, but is Parquet"],
        &[&features("number")[..], &["--format", "csv"]].concat(),
    );
    let bytes = fs::read(place.path("refused.parquet")).expect("it is there");
    fs::write(place.path("refused.parquet"), &bytes[..bytes.len() - 1]).expect("the folder is ours");
    place.refuses(2, &["refused.parquet: the file is cut off"], &features("number"));
    // A page that is not what its header says: the decoder panics, which must not show.
    let mut damaged = bytes;
    damaged[4..300].fill(0xff);
    fs::write(place.path("refused.parquet"), damaged).expect("the folder is ours");
    let run = place.run(&features("number"));
    assert!(run.code == 2 && run.stderr.lines().count() == 1, "{run:?}");
}

#[cfg(not(feature = "parquet"))]
pub fn parquet_is_refused_by_a_build_without_it() {
    let place = with("diabetes.parquet");
    for format in ["auto", "parquet"] {
        place.refuses(
            2,
            &["diabetes.parquet: it is Parquet, which this tilegrad was built without: build it with `cargo build --release"],
            &words(&format!("train linear --data diabetes.parquet --target progression --format {format}")),
        );
    }
}
