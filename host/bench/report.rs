//! What was timed on a machine: one object for JSON, one table for people.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::peers::Peers;
use super::roofline::Roofline;
use super::row::{Figures, Kind, Outcome, Row};
use super::{Effort, Limits, Scale, cases, kernels, operations, rungs};
use crate::cuda::{self, Cublas, Gpu, GpuInfo};
use crate::engine::{Cuda, Engine, Rungs};
use crate::report::Format;
use crate::report::{TextTable, significant};
use crate::{Error, Result};

/// Which of all that can be timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection {
    /// All.
    All,
    /// The few figures that one asks for first.
    Headline,
    /// On a GPU: the rungs of the product alone, at many shapes.
    Rungs,
}

/// What is to be timed, and how.
#[derive(Clone, Debug)]
pub struct Settings {
    /// At which shapes.
    pub scale: Scale,
    /// Which of it.
    pub selection: Selection,
    /// For how long.
    pub effort: Effort,
    /// Only what has this in its name.
    pub filter: String,
    /// The commit that the program was built from, as the report is to say it.
    pub commit: String,
}

impl Settings {
    fn takes(&self, name: &str, sides: [usize; 3]) -> bool {
        let is_selected =
            self.selection != Selection::Headline || cases::is_headline(name, sides, self.scale);
        is_selected && name.contains(&self.filter)
    }

    /// An error if that selects nothing.
    fn something_of(&self, count: usize, device: &str) -> Result<()> {
        match count {
            0 => Err(Error::Setting(format!(
                "nothing that is timed on {device} has `{}` in its name: without a filter all is listed",
                self.filter
            ))),
            _ => Ok(()),
        }
    }

    /// The operations of an engine that are asked for.
    fn operations(&self) -> Vec<operations::Operation> {
        let mut all = operations::operations(self.scale);
        all.retain(|operation| self.takes(operation.name, operation.sides));
        all
    }
}

/// All that was found out about a device.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The version of tilegrad.
    pub tilegrad: &'static str,
    /// The commit that it was built from, or that this is unknown.
    pub commit: String,
    /// Whether all that was asked for is in it.
    pub complete: bool,
    /// What ended it before, if something did.
    pub problem: Option<String>,
    /// Day and time, UTC, as in 2026-11-21T12:00:00Z.
    pub date: String,
    /// The device, as `--device` names it.
    pub device: String,
    /// What it runs on.
    pub description: String,
    /// What the driver says of the GPU, if it is one.
    pub gpu: Option<GpuFacts>,
    /// "timed", or "counted" for the small shapes.
    pub shapes: &'static str,
    /// How long was measured.
    pub effort: Effort,
    /// What the device can do at most.
    pub limits: Limits,
    /// Libraries that took part as peers, or why they did not.
    pub peers: Vec<String>,
    /// Kernels that this GPU does not have, as they are for another architecture alone.
    pub missing: Vec<&'static str>,
    /// What was measured.
    pub results: Vec<Row>,
    /// Of all rungs, if all are right: from which sizes on each is to be taken.
    pub rungs: Option<Rungs>,
    /// Of rungs: which is the fastest where, as text.
    #[serde(skip)]
    contests: Option<String>,
}

/// What the driver says of a GPU.
#[derive(Clone, Debug, Serialize)]
pub struct GpuFacts {
    name: String,
    compute_capability: String,
    driver_cuda: String,
    multiprocessors: u32,
    memory_bytes: usize,
    ecc: bool,
    clock_hz: Option<f64>,
    memory_clock_hz: Option<f64>,
    memory_bus_bits: Option<u32>,
    l2_bytes: Option<u32>,
}

impl GpuFacts {
    fn of(info: &GpuInfo) -> Self {
        let clocks = info.clocks().ok();
        GpuFacts {
            name: info.name.clone(),
            compute_capability: info.capability.to_string(),
            driver_cuda: info.driver.to_string(),
            multiprocessors: info.multiprocessors,
            memory_bytes: info.memory,
            ecc: info.ecc,
            clock_hz: clocks.map(|clocks| clocks.multiprocessor),
            memory_clock_hz: clocks.map(|clocks| clocks.memory),
            memory_bus_bits: clocks.map(|clocks| clocks.bus),
            l2_bytes: clocks.map(|clocks| clocks.cache),
        }
    }
}

/// Times the kernels on GPU `index` by its own clock, and the engine's operations on it by the host's. After each row `keep` is
/// given what there is so far.
///
/// # Errors
/// The GPU cannot be used, nothing is selected, `keep` fails, or the driver does before there is a row. When it fails later the
/// report says so and has the rows until then. A wrong result is no error here: its row says so, and [`Report::wrong`] counts
/// them.
pub fn time_gpu(index: usize, device: String, settings: &Settings, keep: Keep<'_>) -> Result<Report> {
    // What was measured before is to be measured again, so that it need not be right.
    let engine = match settings.selection {
        Selection::Rungs => Cuda::open_unmeasured(index)?,
        Selection::All | Selection::Headline => Cuda::open(index)?,
    };
    let gpu = Gpu::open(index)?;
    let Settings { scale, selection, effort, .. } = settings;
    let mut cases = match selection {
        Selection::Rungs => cases::rungs(*scale),
        _ => cases::cases(*scale).into_iter().chain(cases::sequences(*scale)).collect(),
    };
    cases.retain(|case| settings.takes(case.kernel, case.shape.sides()));
    let missing = kernels::missing(&gpu, &cases);
    cases.retain(|case| kernels::has(&gpu, case));
    let operations = if *selection == Selection::Rungs { Vec::new() } else { settings.operations() };
    settings.something_of(cases.len() + operations.len(), &device)?;
    let limits = Limits::of_gpu(&gpu, effort)?;
    let (mut peers, peer) = match Cublas::open(&gpu) {
        // Which rung is the fastest is between the rungs.
        _ if *selection == Selection::Rungs => (None, None),
        Ok(cublas) => {
            let description = cublas.description().to_owned();
            (Some(Peers::new(&gpu, cublas, effort)), Some(description))
        }
        Err(reason @ cuda::Error::Cublas { .. }) => {
            (None, Some(format!("none: cuBLAS takes no part, for {reason}")))
        }
        Err(reason) => return Err(reason.into()),
    };
    let mut report = Report {
        gpu: Some(GpuFacts::of(gpu.info())),
        peers: peer.into_iter().collect(),
        missing,
        ..Report::new(device, engine.description(), limits, settings)
    };
    let mut add = |report: &mut Report, mut row: Row| {
        let others = peers.as_mut().map_or(Ok(Vec::new()), |peers| peers.compare(&mut row))?;
        report.add([row].into_iter().chain(others), keep)
    };
    let all = cases.iter().try_for_each(|case| add(&mut report, kernels::time(&gpu, case, effort)?));
    let all = all.and_then(|()| {
        operations
            .iter()
            .try_for_each(|operation| add(&mut report, operations::time(&engine, operation, effort)?))
    });
    let mut report = report.ended(all)?;
    if *selection == Selection::Rungs {
        let (rungs, contests) = rungs::measured(&report.results, *scale);
        // All of them, and all right: what was checked at some shapes is used at others.
        let is_all = report.complete && settings.filter.is_empty() && report.wrong().is_empty();
        report.rungs = is_all.then_some(rungs);
        report.contests = Some(contests);
    }
    Ok(report)
}

/// Times the operations of an engine on this machine's cores by the clock. Those that ask for more than `most`
/// operations are left out.
///
/// # Errors
/// As [`time_gpu`].
pub fn time_engine<E: Engine>(
    engine: &E,
    device: String,
    settings: &Settings,
    most: Option<u64>,
    keep: Keep<'_>,
) -> Result<Report> {
    let mut operations = settings.operations();
    operations.retain(|operation| most.is_none_or(|most| operation.floor().1 <= most));
    settings.something_of(operations.len(), &device)?;
    let limits = Limits::of_cpu(&settings.effort)?;
    let mut report = Report::new(device, engine.description(), limits, settings);
    let all = operations.iter().try_for_each(|operation| {
        let row = operations::time(engine, operation, &settings.effort)?;
        report.add([row], keep)
    });
    report.ended(all)
}

/// What is given each report so far.
pub type Keep<'a> = &'a mut dyn FnMut(&Report) -> Result<()>;

impl Report {
    fn new(device: String, description: String, limits: Limits, settings: &Settings) -> Self {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Report {
            tilegrad: env!("CARGO_PKG_VERSION"),
            commit: settings.commit.clone(),
            complete: false,
            problem: None,
            date: date(seconds),
            device,
            description,
            gpu: None,
            shapes: match settings.scale {
                Scale::Counted => "counted",
                Scale::Timed => "timed",
            },
            effort: settings.effort,
            limits,
            peers: Vec::new(),
            missing: Vec::new(),
            rungs: None,
            contests: None,
            results: Vec::new(),
        }
    }

    fn add(&mut self, rows: impl IntoIterator<Item = Row>, keep: Keep<'_>) -> Result<()> {
        for mut row in rows {
            row.compare(&self.limits);
            self.results.push(row);
        }
        keep(self)
    }

    /// The report when all was done, or something failed.
    fn ended(mut self, all: Result<()>) -> Result<Self> {
        match all {
            Ok(()) => self.complete = true,
            Err(error) if self.results.is_empty() => return Err(error),
            Err(error) => self.problem = Some(error.to_string()),
        }
        Ok(self)
    }

    /// The names of what was wrong, with their shapes.
    #[must_use]
    pub fn wrong(&self) -> Vec<String> {
        let wrong = self.results.iter().filter(|row| row.figures().is_none());
        wrong.map(|row| format!("{} at {}", row.name, row.shape)).collect()
    }

    /// A picture of the results under the limits: a point for each kernel, operation and peer, at the shape at which
    /// it comes nearest to its limit.
    ///
    /// # Errors
    /// The picture cannot be drawn.
    pub fn roofline(&self, format: Format) -> Result<Vec<u8>> {
        format.bytes(&Roofline::of(self))
    }

    /// The report as text, which is Markdown too: what it was measured on, and a table for each kind of work.
    #[must_use]
    pub fn text(&self) -> String {
        let Limits { bandwidth, bandwidth_of, arithmetic, arithmetic_of } = &self.limits;
        let arithmetic = arithmetic.map_or_else(
            || arithmetic_of.clone(),
            |rate| format!("{} TFLOP/s ({arithmetic_of})", significant(1e-12 * rate, 4)),
        );
        let mut text = format!(
            "# {}\n\n{}; tilegrad {}, commit {}; {}\n\nBandwidth: {} GB/s ({bandwidth_of}). Arithmetic: {arithmetic}.\n",
            self.device,
            self.description,
            self.tilegrad,
            self.commit,
            self.date,
            significant(1e-9 * bandwidth, 4),
        );
        for peer in &self.peers {
            text += &format!("Peer: {peer}.\n");
        }
        if !self.missing.is_empty() {
            text += &format!("Not on this GPU, for which they have no PTX: {}.\n", self.missing.join(", "));
        }
        if let Some(problem) = &self.problem {
            text += &format!("\n**Not complete**, as this ended it: {problem}\n");
        }
        if self.shapes == "counted" {
            text += "\nAt small shapes, a few samples each: this says whether all is right, and nothing about speed.\n";
        }
        for (kind, title) in [
            (Kind::Kernel, "Kernels, by the GPU's clock"),
            (Kind::Sequence, "Kernels one after the other, by the GPU's clock"),
            (Kind::Operation, "Operations of the engine, by the host's clock"),
            (Kind::Peer, "Peers"),
        ] {
            let rows: Vec<&Row> = self.results.iter().filter(|row| row.kind == kind).collect();
            if !rows.is_empty() {
                text += &format!("\n## {title}\n\n```text\n{}```\n", table(&rows));
            }
        }
        text += self.contests.as_deref().unwrap_or_default();
        text + LEGEND
    }
}

fn table(rows: &[&Row]) -> TextTable {
    let mut table = TextTable::new([
        "",
        "shape",
        "median µs",
        "quartiles",
        "GB/s",
        "of bandwidth",
        "TFLOP/s",
        "of arithmetic",
        "error/bound",
        "peers",
    ]);
    for row in rows {
        let mut cells = vec![row.name.clone(), row.shape.clone()];
        match &row.outcome {
            Outcome::Right(figures) => cells.extend(figures.cells()),
            Outcome::Wrong { problem } => cells.push(format!("WRONG: {problem}")),
        }
        let against =
            |against: &super::Against| format!("{} {}", significant(against.ratio, 3), against.peer);
        cells.push(row.against.iter().map(against).collect::<Vec<_>>().join(", "));
        table.row(cells);
    }
    table
}

impl Figures {
    fn cells(&self) -> [String; 7] {
        let micros = |seconds: f64| significant(1e6 * seconds, 4);
        let percent =
            |part: Option<f64>| part.map_or("–".to_owned(), |part| format!("{:.1} %", 100.0 * part));
        let super::Spread { lower_quartile, median, upper_quartile, .. } = self.seconds;
        [
            micros(median),
            format!("{}–{}", micros(lower_quartile), micros(upper_quartile)),
            significant(1e-9 * self.bytes_per_second, 4),
            percent(self.of_bandwidth),
            significant(1e-12 * self.operations_per_second, 4),
            percent(self.of_arithmetic),
            self.error_over_bound.map_or("–".to_owned(), |part| significant(part, 2)),
        ]
    }
}

const LEGEND: &str = "
Times are medians over samples, each of as many repeats as fill it, after a warm-up; operands are random. Those of
kernels and peers take turns, as many sets of them as no cache holds; operations go over the same ones. GB/s: bytes that
have to be moved, each operand once, so that what is read again counts against it. error/bound: the largest error of the
check before, over what rounding explains; of large products some elements are checked. peers: how many times as long they take
for the same work, by the GPU's clock too; a kernel that does a part of it has none.
";

/// Day and time, UTC, so many seconds after 1970 began.
fn date(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let (mut year, mut day) = (1970, days);
    while day >= 365 + u64::from(leap(year)) {
        day -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if day < length {
            break;
        }
        day -= length;
        month += 1;
    }
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z", day + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each row is handed on when it was timed, of a report that is not complete; who cannot keep it ends the work.
    #[test]
    fn rows_are_kept_as_they_come() {
        use crate::engine::Loop;
        let settings = Settings {
            scale: Scale::Counted,
            selection: Selection::All,
            effort: Effort::LITTLE,
            filter: "m".to_owned(),
            commit: "unknown".to_owned(),
        };
        let mut seen = Vec::new();
        let keep = &mut |report: &Report| {
            seen.push((report.results.len(), report.complete));
            Ok(())
        };
        let report = time_engine(&Loop, "loop".to_owned(), &settings, None, keep).unwrap();
        assert!(report.complete && report.problem.is_none() && report.results.len() > 2);
        assert_eq!(seen, (1..=report.results.len()).map(|rows| (rows, false)).collect::<Vec<_>>());

        let mut rows = 0;
        let keep = &mut |report: &Report| {
            rows = report.results.len();
            if rows < 2 { Ok(()) } else { Err(Error::Setting("no room".to_owned())) }
        };
        let report = time_engine(&Loop, "loop".to_owned(), &settings, None, keep).unwrap();
        assert_eq!((report.results.len(), report.complete), (2, false));
        assert!(report.problem.is_some_and(|problem| problem.contains("no room")));
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_200, "2024-03-01T00:00:00Z"),
            (1_798_761_599, "2026-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(date(seconds), expected);
        }
    }
}
