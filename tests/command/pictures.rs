//! Pictures and pages.

use super::{DIABETES, Place, SMALL, json, train, words};

/// Width and height that a PNG says it has.
fn size(png: &[u8]) -> (u32, u32) {
    assert!(png.starts_with(b"\x89PNG\r\n\x1a\n"), "this is no PNG");
    let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().expect("four bytes"));
    (number(16), number(20))
}

pub fn training_is_drawn() {
    let place = Place::new();
    place.succeeds(&words(&format!("{DIABETES} --device cpu --test-share 0.2 --plot p.svg")));
    let svg = place.read("p.svg");
    assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"));
    for text in
        ["linear regression of progression", "cost J", "test share, 88 samples", "prefers-color-scheme: dark"]
    {
        assert!(svg.contains(text), "no {text:?}");
    }
    place.succeeds(&words(&format!("{DIABETES} --device cpu --plot p.PNG")));
    let png = std::fs::read(place.path("p.PNG")).expect("it is there");
    assert_eq!(size(&png).0, 1600);
    assert!(place.run(&words(&format!("{DIABETES} --device cpu --plot q.svg"))).code == 0);
    assert!(place.read("q.svg").contains("training data, 442 samples"));
}

pub fn evaluation_is_drawn() {
    let place = Place::with("fruit.csv", "a,kind\n1,apple\n2,apple\n8,pear\n9,pear\n");
    place.succeeds(&words("train logistic --data fruit.csv --target kind --model m --device cpu"));
    let evaluate = words("evaluate --model m --data fruit.csv --device cpu --plot p.svg --report r.html");
    place.succeeds(&evaluate);
    assert!(place.read("p.svg").contains("confusion matrix of kind: fruit.csv, 4 samples"));
    let page = place.read("r.html");
    assert!(
        page.contains("<h1>logistic regression of kind, evaluated</h1>") && page.contains("<svg "),
        "{page}"
    );
}

pub fn a_page_has_everything_and_fetches_nothing() {
    let place = Place::new();
    place.succeeds(&words(&format!(
        "{DIABETES} --device cpu --test-share 0.2 --iterations 77 --report page.html"
    )));
    let page = place.read("page.html");
    for text in [
        "<!DOCTYPE html>",
        "<h1>linear regression of progression</h1>",
        "<td>77</td>",
        "<td>diabetes.csv</td>",
        "<td>354</td>",
        "RMSE",
        "test share",
        "predicted against actual progression",
        concat!("tilegrad ", env!("CARGO_PKG_VERSION")),
        "prefers-color-scheme: dark",
    ] {
        assert!(page.contains(text), "no {text:?}");
    }
    assert_eq!(page.matches("<svg ").count(), 2);
    let page = page.replace("http://www.w3.org/2000/svg", "");
    for address in ["http:", "https:", "src=", "href=", "@import", "url("] {
        assert!(!page.contains(address), "{address}");
    }
}

pub fn hostile_names_stay_text() {
    let name = "<script>alert('&')</script>";
    let place = Place::with("data.csv", format!("{name},\"b\u{1b}[2J\",<i>y\n1,2,3\n2,1,5\n3,5,4\n4,4,9\n"));
    let options = ["--plot", "p.svg", "--report", "r.html", "--model", "m"];
    let arguments = ["train", "linear", "--data", "data.csv", "--target", "<i>y", "--device", "cpu"];
    let text = place.succeeds(&[&arguments[..], &options].concat());
    assert!(!text.contains('\u{1b}'), "{text:?}");
    for file in ["p.svg", "r.html"] {
        let contents = place.read(file);
        assert!(!contents.contains("<script") && !contents.contains("<i>"), "{file}");
        assert!(!contents.contains('\u{1b}') && contents.contains("&lt;i&gt;y"), "{file}");
    }
    assert!(place.read("r.html").contains("&lt;script&gt;alert(&#39;&amp;&#39;)"));
}

pub fn pictures_that_cannot_be_written_are_refused_before_the_work() {
    let place = Place::with("data.csv", SMALL);
    let refuses = |texts: &[&str], options: &[&str]| place.refuses(2, texts, &train("data.csv", options));
    for name in ["p", "p.jpg", "p.svg.gz", "svg"] {
        refuses(&["cannot write", "end its name in .svg or .png"], &["--plot", name, "--model", "m"]);
    }
    refuses(&["cannot write", "make it first"], &["--plot", "none/p.svg", "--model", "m"]);
    refuses(&["cannot write", "make it first"], &["--report", "none/p.html", "--model", "m"]);
    refuses(
        &["the plot and the report cannot go to the same file"],
        &["--plot", "p.svg", "--report", "./p.svg"],
    );
    refuses(
        &["the model and the plot cannot go to the same file"],
        &["--model", "p.svg", "--plot", "./p.svg"],
    );
    refuses(&["these are the data"], &["--report", "./data.csv"]);
}

pub fn contours_show_why_scaling_matters() {
    let place = Place::new();
    let arguments = "contours --data diabetes.csv --target progression --features bmi,s1 --plot";
    for device in ["loop", "cpu", "emulator"] {
        let out = json(
            &place.succeeds(&words(&format!("{arguments} p.svg --iterations 20 --device {device} --json"))),
        );
        let (raw, scaled) = (&out["as_they_are"], &out["scaled"]);
        assert_eq!(raw["path"].as_array().map(Vec::len), Some(21));
        // Standard deviations of 4.4 and 34.6, against 1 and 1.
        assert!(raw["condition"].as_f64().is_some_and(|condition| condition > 50.0), "{raw}");
        assert!(scaled["condition"].as_f64().is_some_and(|condition| condition < 2.0), "{scaled}");
        assert!(raw["left"].as_f64().is_some_and(|left| left > 0.1), "{raw}");
        assert!(scaled["left"].as_f64().is_some_and(|left| left < 1e-4), "{scaled}");
    }
    let svg = place.read("p.svg");
    for text in
        ["features as they are", "features scaled to standard deviation 1", "weight of bmi", "weight of s1"]
    {
        assert!(svg.contains(text), "no {text:?}");
    }
    let text = place.succeeds(&words(&format!("{arguments} p.png --device cpu")));
    assert!(text.contains("features as they are: learning rate ") && text.contains("\nscaled: "), "{text}");
    assert_eq!(size(&std::fs::read(place.path("p.png")).expect("it is there")), (1600, 1060));
}

pub fn contours_refuse_what_cannot_be_drawn() {
    let place = Place::with("data.csv", "a,b,c,d,y\n1,2,7,2,3\n2,1,7,4,5\n3,5,7,6,4\n4,4,7,8,9\n");
    let refuses = |texts: &[&str], options: &str| {
        let arguments = format!("contours --device cpu {options}");
        place.refuses(2, texts, &words(&arguments));
    };
    refuses(
        &["--features", "1 is given", "--features a,b"],
        "--data data.csv --target y --features a --plot p.svg",
    );
    refuses(&["3 are given"], "--data data.csv --target y --features a,b,c --plot p.svg");
    refuses(&["no column \"e\""], "--data data.csv --target y --features a,e --plot p.svg");
    refuses(&["listed twice"], "--data data.csv --target y --features a,a --plot p.svg");
    refuses(&["among the features"], "--data data.csv --target y --features a,y --plot p.svg");
    refuses(
        &["\"c\" has the same value", "choose another"],
        "--data data.csv --target y --features a,c --plot p.svg",
    );
    refuses(
        &["the target \"c\" has the same value", "there is no way to draw", "choose another"],
        "--data data.csv --target c --features a,b --plot p.svg",
    );
    refuses(&["\"a\" and \"d\" say the same"], "--data data.csv --target y --features a,d --plot p.svg");
    refuses(&["end its name in"], "--data data.csv --target y --features a,b --plot p.pdf");
    place.write("d.svg", place.read("data.csv"));
    refuses(&["these are the data"], "--data d.svg --target y --features a,b --plot ./d.svg");
    refuses(
        &["--learning-rate 5 is too large", "leave it out"],
        "--data data.csv --target y --features a,b --plot p.svg --learning-rate 5",
    );
    refuses(
        &["a learning rate is"],
        "--data data.csv --target y --features a,b --plot p.svg --learning-rate 0",
    );
    refuses(&["at least 1"], "--data data.csv --target y --features a,b --plot p.svg --iterations 0");
    refuses(&["required arguments were not provided"], "--data data.csv --target y --features a,b");
}
