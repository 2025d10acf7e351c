//! `tilegrad compare`: the same work on every engine.

use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::Serialize;
use tilegrad::bench::symmetric;
use tilegrad::engine::{self, Activation, Device, Engine, Job, Loss, Samples};
use tilegrad::report::{TextTable, significant};
use tilegrad::{Error, Result};

use super::one_line;
use super::training::Scale;

/// Rows of the dense layer's input.
const BATCH: usize = 64;
/// Units of the dense layer.
const UNITS: usize = 1000;
/// The emulator follows every thread of the GPU, so it gets at most so many samples, features and units.
const EMULATOR: Size = Size { samples: 2048, features: 64, units: 64 };
/// How long a sample of the time lasts at least.
const SAMPLE: Duration = Duration::from_millis(20);
/// The most repeats of a sample.
const MOST_REPEATS: u128 = 1000;
/// All engines get the same numbers, in every run.
const SEED: u64 = 0;

#[derive(Args)]
#[command(
    after_help = "Times are medians over the iterations, each repeated until it lasts 20 ms, after a run that is not timed.
Data are random and the same in every run.

Examples:
  tilegrad compare
  tilegrad compare --samples 10000 --features 100 --devices loop,cpu --json"
)]
pub(super) struct Options {
    /// Samples of the descent step
    #[arg(long, value_name = "M", default_value = "100000", value_parser = super::at_least_1, allow_hyphen_values = true)]
    samples: usize,
    /// Features of the descent step, and inputs of the dense layer
    #[arg(long, value_name = "N", default_value = "1000", value_parser = super::at_least_1, allow_hyphen_values = true)]
    features: usize,
    /// Steps that are compared, and samples of the time that are taken
    #[arg(long, value_name = "N", default_value = "5", value_parser = super::at_least_1, allow_hyphen_values = true)]
    iterations: usize,
    /// How the features of the descent step are scaled, as by train: zscore or none
    #[arg(long, value_name = "HOW", default_value = "none")]
    scale: Scale,
    /// Engines to compare, separated by commas: loop, cpu, emulator, cuda, cuda:N [default: all that can run]
    #[arg(long, value_name = "DEVICES", value_delimiter = ',')]
    devices: Option<Vec<Device>>,
    /// The least accuracy of the layer's product: on a GPU large ones may go to the tensor cores
    #[arg(long, value_enum, value_name = "PRECISION", default_value_t = Precision::Fp32)]
    precision: Precision,
    /// Print one JSON object in place of a table
    #[arg(long)]
    json: bool,
}

/// The least accuracy of products.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
enum Precision {
    /// As accurate as 32-bit numbers allow
    Fp32,
    /// Operands rounded to 11 bits
    Tf32,
    /// Operands rounded to 8 bits
    Bf16,
}

impl From<Precision> for engine::Precision {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::Fp32 => engine::Precision::Fp32,
            Precision::Tf32 => engine::Precision::Tf32,
            Precision::Bf16 => engine::Precision::Bf16,
        }
    }
}

/// How large the work is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct Size {
    samples: usize,
    features: usize,
    units: usize,
}

impl Size {
    fn on(self, device: Device) -> Size {
        if device != Device::Emulator {
            return self;
        }
        Size {
            samples: self.samples.min(EMULATOR.samples),
            features: self.features.min(EMULATOR.features),
            units: self.units.min(EMULATOR.units),
        }
    }
}

/// What `--json` prints.
#[derive(Serialize)]
struct Comparison {
    iterations: usize,
    batch: usize,
    scale: String,
    precision: Precision,
    engines: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    engine: String,
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Outcome {
    Done { description: String, size: Size, descent: Figures, dense: Figures },
    Unusable { unusable: String },
}

/// What is said of one kind of work on one engine.
#[derive(Serialize)]
struct Figures {
    milliseconds: f64,
    /// Against the loop at the same size, if the loop takes part.
    speed_up: Option<f64>,
    /// Largest difference from the loop, over the loop's largest value.
    difference: Option<f64>,
}

impl Options {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let asked_for = self.devices.is_some();
        let devices = self
            .devices
            .unwrap_or_else(|| vec![Device::Loop, Device::Cpu, Device::Emulator, Device::Cuda(0)]);
        for (i, device) in devices.iter().enumerate() {
            if devices[..i].contains(device) {
                return Err(Error::Setting(format!("the device {device} is listed twice")).into());
            }
            if asked_for {
                device.check()?;
            }
        }
        let whole = Size { samples: self.samples, features: self.features, units: UNITS };
        let mut sizes: Vec<Size> = Vec::new();
        for device in &devices {
            if !sizes.contains(&whole.on(*device)) {
                sizes.push(whole.on(*device));
            }
        }
        let spinner = spinner();
        let mut rows: Vec<(usize, Row)> = Vec::new();
        // Size by size, so that no data lie about that are no longer needed.
        for size in sizes {
            let work = Work::new(size)?;
            let measure = |device: Device| {
                spinner.set_message(format!("{device}: {} × {}", size.samples, size.features));
                spinner.tick();
                device.run(Measure {
                    work: &work,
                    iterations: self.iterations,
                    scale: self.scale.into(),
                    precision: self.precision.into(),
                })
            };
            let reference = match devices.contains(&Device::Loop) {
                true => Some(measure(Device::Loop)?),
                false => None,
            };
            for (i, &device) in devices.iter().enumerate().filter(|(_, device)| whole.on(**device) == size) {
                let outcome = match device {
                    Device::Loop => {
                        reference.as_ref().map(|measured| measured.against(device, size, Some(measured)))
                    }
                    _ => match measure(device) {
                        Ok(measured) => Some(measured.against(device, size, reference.as_ref())),
                        Err(Error::Unusable { reason, .. }) if !asked_for => {
                            Some(Outcome::Unusable { unusable: one_line(&reason) })
                        }
                        Err(error) => return Err(error.into()),
                    },
                };
                rows.extend(outcome.map(|outcome| (i, Row { engine: device.to_string(), outcome })));
            }
        }
        spinner.finish_and_clear();
        rows.sort_by_key(|(i, _)| *i);
        let engines = rows.into_iter().map(|(_, row)| row).collect();
        let comparison = Comparison {
            iterations: self.iterations,
            batch: BATCH,
            scale: tilegrad::models::Scale::from(self.scale).to_string(),
            precision: self.precision,
            engines,
        };
        if self.json { super::print_json(&comparison) } else { super::print(&comparison.text()) }
    }
}

/// Data for one size, the same in every run.
struct Work {
    size: Size,
    learning_rate: f64,
    x: Vec<f32>,
    y: Vec<f32>,
    input: Vec<f32>,
    weights: Vec<f32>,
    bias: Vec<f32>,
}

impl Work {
    fn new(size: Size) -> Result<Self> {
        let Size { samples, features, units } = size;
        let mut random = ChaCha8Rng::seed_from_u64(SEED);
        let mut values = |rows: usize, columns: usize| -> Result<Vec<f32>> {
            let mut values = Vec::new();
            let count = rows.checked_mul(columns);
            if count.is_none_or(|count| values.try_reserve_exact(count).is_err()) {
                return Err(Error::Setting(format!(
                    "there is no memory for {rows} × {columns} numbers: choose fewer samples or features"
                )));
            }
            let count = count.unwrap_or(0);
            values.extend((0..count).map(|_| symmetric(random.next_u32())));
            Ok(values)
        };
        let x = values(samples, features)?;
        let truth = values(features, 1)?;
        let noise = values(samples, 1)?;
        let y = x
            .chunks_exact(features)
            .zip(noise)
            .map(|(row, noise)| row.iter().zip(&truth).map(|(x, w)| x * w).sum::<f32>() + 1.0 + noise);
        Ok(Work {
            size,
            // The largest eigenvalue of XᵀX/m is near (1 + √(n/m))² / 3, so that this rate converges at every shape.
            learning_rate: 1.0 / (1.0 + features as f64 / samples as f64),
            y: y.collect(),
            input: values(BATCH, features)?,
            weights: values(features, units)?,
            bias: values(1, units)?,
            x,
        })
    }
}

/// The measurement, on any engine.
struct Measure<'a> {
    work: &'a Work,
    iterations: usize,
    scale: tilegrad::models::Scale,
    precision: engine::Precision,
}

/// What one engine took, and what came out.
struct Measured {
    description: String,
    descent: Duration,
    weights: Vec<f64>,
    dense: Duration,
    output: Vec<f64>,
}

impl Job for Measure<'_> {
    type Output = Measured;

    fn run<E: Engine>(self, engine: &E) -> Result<Measured> {
        let Work { size: Size { samples, features, units }, learning_rate, .. } = *self.work;
        let x = engine.upload(samples, features, &self.work.x)?;
        let y = engine.upload(samples, 1, &self.work.y)?;
        let mut weights = engine.upload(features, 1, &vec![0.0; features])?;
        let mut bias = engine.upload(1, 1, &[0.0])?;
        // What is compared with the loop is the same steps on every engine, however many are timed.
        let scaling = match self.scale {
            tilegrad::models::Scale::ZScore => Some(engine.scaling(&engine.column_moments(&x)?)?),
            tilegrad::models::Scale::None => None,
        };
        let samples = Samples { x: &x, scaling: scaling.as_ref(), y: &y };
        let start = Instant::now();
        let loss = Loss::SquaredError;
        engine.descend(loss, &samples, &mut weights, &mut bias, learning_rate, self.iterations)?;
        engine.synchronize()?;
        let once = start.elapsed() / u32::try_from(self.iterations).unwrap_or(u32::MAX);
        let after = [engine.read(&weights)?, engine.read(&bias)?].concat();
        let mut descend = |steps: usize| -> Result<()> {
            engine.descend(loss, &samples, &mut weights, &mut bias, learning_rate, steps)?;
            engine.synchronize()
        };
        let descent = median(self.iterations, once, &mut descend)?;
        drop((x, y));

        let input = engine.upload(BATCH, features, &self.work.input)?;
        let layer = engine.upload(features, units, &self.work.weights)?;
        let layer_bias = engine.upload(1, units, &self.work.bias)?;
        let mut output = None;
        let mut forward = |times: usize| -> Result<()> {
            for _ in 0..times {
                output = Some(engine.dense(&input, &layer, &layer_bias, Activation::Relu, self.precision)?);
            }
            engine.synchronize()
        };
        forward(1)?;
        let start = Instant::now();
        forward(1)?;
        let dense = median(self.iterations, start.elapsed(), &mut forward)?;
        let output = output.map_or(Ok(Vec::new()), |output| engine.read(&output))?;
        Ok(Measured { description: engine.description(), descent, weights: after, dense, output })
    }
}

/// The median over `samples` of the time of one repeat. `work` does as many repeats as it is told and waits for them;
/// one takes about `once`, and a sample has as many as fill [`SAMPLE`], so that what a call costs is shared by them.
fn median(samples: usize, once: Duration, work: &mut impl FnMut(usize) -> Result<()>) -> Result<Duration> {
    let repeats = SAMPLE.as_nanos().div_ceil(once.as_nanos().max(1)).clamp(1, MOST_REPEATS);
    let mut times = Vec::new();
    for _ in 0..samples {
        let start = Instant::now();
        work(repeats as usize)?;
        times.push(start.elapsed() / repeats as u32);
    }
    times.sort();
    Ok((times[(samples - 1) / 2] + times[samples / 2]) / 2)
}

impl Measured {
    fn against(&self, device: Device, size: Size, reference: Option<&Measured>) -> Outcome {
        let figures = |time: Duration, theirs: Option<Duration>, difference: Option<f64>| Figures {
            milliseconds: 1e3 * time.as_secs_f64(),
            speed_up: theirs.map(|theirs| theirs.as_secs_f64() / time.as_secs_f64()),
            difference,
        };
        Outcome::Done {
            description: device.titled(&self.description),
            size,
            descent: figures(
                self.descent,
                reference.map(|reference| reference.descent),
                reference.map(|reference| difference(&self.weights, &reference.weights)),
            ),
            dense: figures(
                self.dense,
                reference.map(|reference| reference.dense),
                reference.map(|reference| difference(&self.output, &reference.output)),
            ),
        }
    }
}

/// The largest |ours − theirs| over the largest |theirs|; infinite if one of ours is not finite.
fn difference(ours: &[f64], theirs: &[f64]) -> f64 {
    // `f64::max` would pass over NaN.
    let largest = |a: f64, b: f64| if b.is_nan() || b > a { b } else { a };
    let scale = theirs.iter().map(|value| value.abs()).fold(0.0, largest);
    let most = ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, largest);
    match most {
        0.0 => 0.0,
        most if most.is_finite() => most / scale,
        _ => f64::INFINITY,
    }
}

impl Comparison {
    fn text(&self) -> String {
        let mut descent =
            TextTable::new(["descent step", "samples × features", "ms", "speed-up", "difference"]);
        let mut dense = TextTable::new(["dense layer", "inputs × units", "ms", "speed-up", "difference"]);
        let mut about = String::new();
        let cells = |engine: &str, size: String, figures: &Figures| {
            let or_dash =
                |value: Option<f64>, digits| value.map_or("–".to_owned(), |v| significant(v, digits));
            [
                engine.to_owned(),
                size,
                significant(figures.milliseconds, 3),
                or_dash(figures.speed_up, 3),
                or_dash(figures.difference, 2),
            ]
        };
        for Row { engine, outcome } in &self.engines {
            match outcome {
                Outcome::Done { description, size, descent: step, dense: layer } => {
                    descent.row(cells(engine, format!("{} × {}", size.samples, size.features), step));
                    dense.row(cells(engine, format!("{} × {}", size.features, size.units), layer));
                    about += &format!("  {description}\n");
                }
                Outcome::Unusable { unusable } => {
                    about += &format!("  {engine} cannot run: {unusable}\n");
                }
            }
        }
        format!(
            "{descent}\n{dense}\nEngines:\n{about}\n\
             ms: one step or layer, the median of {} samples of 20 ms or more. The layer has a batch of {} and ReLU.\n\
             speed-up: against the loop at the same size. difference: the largest from the loop in f64 (of the weights \
             after {} steps, of the layer's output), over the loop's largest value.{}\n",
            self.iterations,
            self.batch,
            self.iterations,
            match self.scale.as_str() {
                "none" => String::new(),
                scale => format!(" The step scales features by {scale} as it reads them."),
            }
        )
    }
}

/// Something that moves on a terminal, nothing elsewhere.
fn spinner() -> ProgressBar {
    if !super::shows_progress() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {msg} ({elapsed})");
    let spinner =
        ProgressBar::new_spinner().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_relative_to_the_largest_and_no_number_is_passed_over() {
        assert_eq!(difference(&[1.0, 4.0], &[1.0, 4.0]), 0.0);
        assert_eq!(difference(&[0.0, 3.0], &[0.0, -4.0]), 1.75);
        assert_eq!(difference(&[0.0], &[0.0]), 0.0);
        assert_eq!(difference(&[f64::NAN, 1.0], &[1.0, 1.0]), f64::INFINITY);
        assert_eq!(difference(&[1.0, f64::INFINITY], &[1.0, 1.0]), f64::INFINITY);
    }

    #[test]
    fn the_rate_converges_at_every_shape() {
        for (samples, features) in [(1, 1), (1, 50), (50, 1), (20, 300), (300, 20), (40, 40)] {
            let work = Work::new(Size { samples, features, units: 1 }).unwrap();
            let engine = tilegrad::engine::Loop;
            let x = engine.upload(samples, features, &work.x).unwrap();
            let y = engine.upload(samples, 1, &work.y).unwrap();
            let mut weights = engine.upload(features, 1, &vec![0.0; features]).unwrap();
            let mut bias = engine.upload(1, 1, &[0.0]).unwrap();
            let over = Samples { x: &x, scaling: None, y: &y };
            let rate = work.learning_rate;
            let costs =
                engine.descend(Loss::SquaredError, &over, &mut weights, &mut bias, rate, 50).unwrap().costs;
            assert!(costs.windows(2).all(|pair| pair[1] <= pair[0] * (1.0 + 1e-9)), "{samples} × {features}");
        }
    }

    #[test]
    fn random_numbers_fill_their_range() {
        assert_eq!((symmetric(0), symmetric(u32::MAX)), (-1.0, 1.0 - f32::EPSILON));
    }
}
