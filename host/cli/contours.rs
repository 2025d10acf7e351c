//! `tilegrad contours`: descent's path over the cost of two features, as they are and scaled.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use tilegrad::data::Dataset;
use tilegrad::engine::{Choice, Engine, Job, Loss, Samples};
use tilegrad::report::{Contours, Panel, Picture, Plot, significant};
use tilegrad::{Error, Result};

use super::output;
use super::source::{Source, names};
use super::training::rate;

/// The learning rate, of the largest with which descent converges, if none is given: large enough that one sees the way
/// turn, and small enough that it settles.
const PART: f64 = 0.75;
/// 1 − r² below this, r being the features' correlation: the least cost is then no point that could be drawn.
const INDEPENDENT: f64 = 1e-6;
/// Per cent below which it does not matter how many.
const NOTHING: f64 = 0.001;
/// The most steps: the points of more than that lie on each other.
const MOST_STEPS: usize = 10_000;
/// Significant digits in words.
const DIGITS: usize = 3;

#[derive(Args)]
#[command(
    after_help = "Two pictures of linear regression, side by side, with the same unit on both axes: weights, contours of the cost (each
of half the height above the least cost of the one around it), and descent's steps from 0. Where features have
different units, the contours are long ellipses: a learning rate small enough for the steep way is far too small for the
flat one. Scaled to standard deviation 1 they are round, and descent goes straight down. Features and target are
centred in both, so that the best bias is 0 and nothing differs but the scale. The cross is the least cost.

Examples:
  tilegrad contours --data tests/data/diabetes.csv --target progression --features bmi,s1 --plot descent.svg
  tilegrad contours --data houses.csv --target price --features rooms,area --iterations 200 --plot descent.png --json"
)]
pub(super) struct Options {
    #[command(flatten)]
    source: Source,
    /// Column to predict
    #[arg(long, value_name = "COLUMN")]
    target: String,
    /// Two columns to predict from
    #[arg(long, value_name = "A,B")]
    features: Vec<String>,
    /// The picture, as SVG or PNG
    #[arg(long, value_name = "FILE.svg|png")]
    plot: PathBuf,
    /// Learning rate of both [default: three quarters of the largest that converges, for each]
    #[arg(long, value_name = "RATE", value_parser = rate, allow_hyphen_values = true)]
    learning_rate: Option<f64>,
    /// Descent steps: at least 1, at most 10000
    #[arg(long, value_name = "N", default_value = "50", value_parser = steps, allow_hyphen_values = true)]
    iterations: usize,
    /// Where to compute: auto, loop, cpu, emulator, cuda or cuda:N. auto takes cuda if there is a usable GPU, else cpu
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: Choice,
    /// Print one JSON object in place of text
    #[arg(long)]
    json: bool,
}

/// A number of steps whose path can be drawn and kept.
fn steps(text: &str) -> Result<usize, String> {
    match super::at_least_1(text)? {
        steps if steps > MOST_STEPS => {
            Err(format!("a path of more than {MOST_STEPS} steps is too long for a picture"))
        }
        steps => Ok(steps),
    }
}

/// What `--json` prints.
#[derive(Serialize)]
struct Summary<'a> {
    device: String,
    samples: usize,
    target: &'a str,
    features: &'a [String],
    iterations: usize,
    as_they_are: &'a Path,
    scaled: &'a Path,
}

/// Descent over one of the two.
#[derive(Serialize)]
struct Path {
    learning_rate: f64,
    /// Below this, descent converges.
    largest_rate: f64,
    /// The largest eigenvalue of the second derivatives over the smallest.
    condition: f64,
    /// What is left, after the last step, of the cost's height above the least.
    left: f64,
    /// The weights of least cost.
    least: [f64; 2],
    /// The weights before each step, and after the last.
    path: Vec<[f64; 2]>,
    #[serde(skip)]
    curvature: [[f64; 2]; 2],
}

impl Options {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let features: [String; 2] = names(&self.features).try_into().map_err(|named: Vec<String>| {
            let count = if named.len() == 1 { "1 is".to_owned() } else { format!("{} are", named.len()) };
            Error::Setting(format!(
                "--features: a picture has two features, and {count} given: name two, such as --features a,b"
            ))
        })?;
        let (output, format) = output::picture(&self.plot)?;
        output::check(&[("these are the data", &self.source.data)], &[("the plot", &output)])?;
        let device = super::chosen(self.device)?;
        let reader = self.source.reader().target(self.target.trim()).features(&features);
        let dataset = reader.read()?;
        let centred = Centred::of(&dataset)?;
        let descend = |scaled| {
            let centred = &centred;
            device.run(Descend { centred, scaled, rate: self.learning_rate, iterations: self.iterations })
        };
        let (raw, scaled) = (descend(false)?, descend(true)?);

        let panels =
            vec![raw.panel("features as they are"), scaled.panel("features scaled to standard deviation 1")];
        let title = format!("Descent over the cost of {}", dataset.target());
        let plot = Plot::Contours(Contours { features: features.clone(), panels });
        output.write(&Picture::new(title, vec![plot]).bytes(format)?)?;
        if self.json {
            return super::print_json(&Summary {
                device: device.to_string(),
                samples: dataset.samples(),
                target: dataset.target(),
                features: &features,
                iterations: self.iterations,
                as_they_are: &raw,
                scaled: &scaled,
            });
        }
        let line = |path: &Path| path.notes().join("; ");
        super::print(&format!("features as they are: {}\nscaled: {}\n", line(&raw), line(&scaled)))
    }
}

impl Path {
    fn panel(&self, title: &str) -> Panel {
        Panel {
            title: title.to_owned(),
            notes: self.notes(),
            curvature: self.curvature,
            least: self.least,
            path: self.path.clone(),
        }
    }

    fn notes(&self) -> Vec<String> {
        let number = |value| significant(value, DIGITS);
        vec![
            format!(
                "learning rate {}; it must be below {}",
                number(self.learning_rate),
                number(self.largest_rate)
            ),
            format!(
                "after {}, {} % of the excess cost is left",
                super::count(self.path.len() - 1, "step"),
                match 100.0 * self.left {
                    percent if percent < NOTHING => format!("less than {NOTHING}"),
                    percent => number(percent),
                }
            ),
        ]
    }
}

/// Two features and a target less their means, and their second moments.
struct Centred {
    x: Vec<f32>,
    y: Vec<f32>,
    /// E[xxᵀ]
    covariance: [[f64; 2]; 2],
    /// E[xy]
    with_target: [f64; 2],
}

impl Centred {
    fn of(dataset: &Dataset) -> Result<Self> {
        let m = dataset.samples() as f64;
        let rows = || {
            let rows = dataset.features().values().chunks_exact(2).zip(dataset.y());
            rows.map(|(x, &y)| [f64::from(x[0]), f64::from(x[1]), f64::from(y)])
        };
        let mut means = [0.0; 3];
        rows().for_each(|row| (0..3).for_each(|i| means[i] += row[i] / m));
        let mut moments = [[0.0; 3]; 3];
        let centred = || rows().map(|row| [row[0] - means[0], row[1] - means[1], row[2] - means[2]]);
        for row in centred() {
            for (i, line) in moments.iter_mut().enumerate() {
                (0..3).for_each(|j| line[j] += row[i] * row[j] / m);
            }
        }
        let [[a, b, c], [_, d, e], _] = moments;
        let names = dataset.features().columns();
        let values = dataset.features().values();
        for (j, name) in names.iter().enumerate() {
            if values.iter().skip(j).step_by(2).all(|value| *value == values[j]) {
                return Err(Error::Data(format!(
                    "the feature {name:?} has the same value in every sample, as 32-bit numbers, so its weight changes nothing: \
                     choose another"
                )));
            }
        }
        if dataset.y().iter().all(|value| *value == dataset.y()[0]) {
            return Err(Error::Data(format!(
                "the target {:?} has the same value in every sample, as 32-bit numbers, so the least cost is where descent \
                 begins, and there is no way to draw: choose another, or subtract a constant from it if it differs in the file",
                dataset.target()
            )));
        }
        if 1.0 - (b / a) * (b / d) < INDEPENDENT {
            return Err(Error::Data(format!(
                "the features {:?} and {:?} say the same, so the least cost is no point but a line: choose another",
                names[0], names[1]
            )));
        }
        if ![a, b, c, d, e].iter().all(|moment| moment.is_finite()) || (a * d).is_infinite() {
            return Err(Error::Data("the values are too large to compute with: use larger units".to_owned()));
        }
        Ok(Centred {
            x: centred().flat_map(|row| [row[0] as f32, row[1] as f32]).collect(),
            y: centred().map(|row| row[2] as f32).collect(),
            covariance: [[a, b], [b, d]],
            with_target: [c, e],
        })
    }

    /// The second derivatives of the cost and the weights of the least, of features divided by `scale`.
    fn quadratic(&self, scale: [f64; 2]) -> ([[f64; 2]; 2], [f64; 2]) {
        let [[a, b], [_, d]] = self.covariance;
        let (a, b, d) = (a / (scale[0] * scale[0]), b / (scale[0] * scale[1]), d / (scale[1] * scale[1]));
        let [c, e] = [self.with_target[0] / scale[0], self.with_target[1] / scale[1]];
        let determinant = a * d - b * b;
        ([[a, b], [b, d]], [(d * c - b * e) / determinant, (a * e - b * c) / determinant])
    }
}

/// The steps, on any engine.
struct Descend<'a> {
    centred: &'a Centred,
    scaled: bool,
    rate: Option<f64>,
    iterations: usize,
}

impl Job for Descend<'_> {
    type Output = Path;

    fn run<E: Engine>(self, engine: &E) -> Result<Path> {
        let Descend { centred, scaled, rate, iterations } = self;
        let samples = centred.y.len();
        let deviations = [centred.covariance[0][0].sqrt(), centred.covariance[1][1].sqrt()];
        let (curvature, least) = centred.quadratic(if scaled { deviations } else { [1.0; 2] });
        let [[a, b], [_, d]] = curvature;
        let largest = 0.5 * (a + d) + (0.5 * (a - d)).hypot(b);
        let smallest = (a * d - b * b) / largest;
        let largest_rate = 2.0 / largest;
        let learning_rate = rate.unwrap_or(PART * largest_rate);
        if learning_rate >= largest_rate {
            return Err(Error::Setting(format!(
                "--learning-rate {learning_rate} is too large {}: descent converges below {}; choose a smaller one, or \
                 leave it out, and each picture has one that fits",
                if scaled { "for the scaled features" } else { "for the features as they are" },
                significant(largest_rate, DIGITS)
            )));
        }

        let (x, y) = (engine.upload(samples, 2, &centred.x)?, engine.upload(samples, 1, &centred.y)?);
        let scaling = if scaled { Some(engine.scaling(&engine.column_moments(&x)?)?) } else { None };
        let over = Samples { x: &x, scaling: scaling.as_ref(), y: &y };
        let mut weights = engine.upload(2, 1, &[0.0; 2])?;
        let mut bias = engine.upload(1, 1, &[0.0])?;
        let mut path = vec![[0.0; 2]];
        for _ in 0..iterations {
            engine.descend(Loss::SquaredError, &over, &mut weights, &mut bias, learning_rate, 1)?;
            let now = engine.read(&weights)?;
            path.push([now[0], now[1]]);
        }
        let excess = |point: [f64; 2]| {
            let (x, y) = (point[0] - least[0], point[1] - least[1]);
            a * x * x + 2.0 * b * x * y + d * y * y
        };
        let (first, last) = (excess(path[0]), excess(path[iterations]));
        let left = if first > 0.0 { last / first } else { 0.0 };
        Ok(Path { learning_rate, largest_rate, condition: largest / smallest, left, least, path, curvature })
    }
}
