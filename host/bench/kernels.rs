//! The kernels on a GPU, by its clock.

use cuda_std::Device;
use kernel_suite::checks::{self, Check};
use kernel_suite::{Data, Kernels, Rig, Source, Tally};

use super::row::{Figures, Kind, Outcome, Row};
use super::{Case, Effort, Spread};
use crate::Result;
use crate::cuda::{Error, Gpu};

/// Elements behind each buffer of a check that no kernel may touch.
const GUARD: usize = 4096;

/// Checks the cases whose kernels' names contain `filter` and that this GPU has, and times those that are right.
///
/// # Errors
/// The driver's. A wrong result is none: it stands in its row.
pub(super) fn time(gpu: &Gpu, cases: Vec<Case<Gpu>>, filter: &str, effort: &Effort) -> Result<Vec<Row>> {
    let rig = Rig { device: gpu.clone(), guard: GUARD };
    let checks = checks::all::<Gpu>();
    let mut rows = Vec::new();
    let chosen = |case: &Case<Gpu>| case.kernel.contains(filter) && gpu.has(case.kernel);
    for case in cases.into_iter().filter(chosen) {
        let outcome = match check(&rig, &checks, &case) {
            Ok(tally) => {
                let spread = time_case(gpu, &case, effort)?;
                Outcome::Right(Figures::new(spread, case.floor.bytes(), case.operations, tally.worst))
            }
            Err(problem) => {
                // What is wrong may be the GPU.
                gpu.synchronize()?;
                Outcome::Wrong { problem }
            }
        };
        let (name, shape) = (case.kernel.to_owned(), case.shape.to_string());
        rows.push(Row {
            kind: Kind::Kernel,
            name,
            shape,
            sides: case.shape.sides(),
            outcome,
            against: Vec::new(),
        });
    }
    Ok(rows)
}

/// The kernels whose names contain `filter` that this GPU does not have.
pub(super) fn missing(gpu: &Gpu, cases: &[Case<Gpu>], filter: &str) -> Vec<&'static str> {
    let all = cases.iter().map(|case| case.kernel);
    let mut missing: Vec<_> = all.filter(|kernel| kernel.contains(filter) && !gpu.has(kernel)).collect();
    missing.sort_unstable();
    missing.dedup();
    missing
}

/// What the suite says of the kernel at this shape.
fn check(rig: &Rig<Gpu>, checks: &[Check<Gpu>], case: &Case<Gpu>) -> Result<Tally, String> {
    let check = checks.iter().find(|check| check.kernel == case.kernel);
    let check = check.ok_or_else(|| "the kernel suite has no check of it".to_owned())?;
    let (kernels, source) = (Kernels::ours(), Source::new(1));
    let mut launches =
        checks::Case { rig, kernels: &kernels, data: Data::Reals, source, tally: Tally::default() };
    (check.at)(&mut launches, case.shape.sides())?;
    Ok(launches.tally)
}

/// Seconds of one launch: of graphs that go over all sets of operands.
fn time_case(gpu: &Gpu, case: &Case<Gpu>, effort: &Effort) -> Result<Spread, Error> {
    let sets = effort.sets(case.floor.bytes());
    let mut launches = (0..sets).map(|_| case.prepare(gpu)).collect::<Result<Vec<_>, Error>>()?;
    time_recorded(gpu, sets, effort, |gpu| launches.iter_mut().try_for_each(|launch| launch(gpu)))
}

/// Seconds of one of the `each` things that `work` launches: recorded, so that the host's part is not in it.
pub(super) fn time_recorded(
    gpu: &Gpu,
    each: usize,
    effort: &Effort,
    mut work: impl FnMut(&Gpu) -> Result<(), Error>,
) -> Result<Spread, Error> {
    // Once as it is: kernels are loaded when they are first launched.
    work(gpu)?;
    let graph = gpu.record(1, &mut work)?;
    // SAFETY: `work` still has the buffers that it has launched with.
    let spread = effort.measure(each, |times| gpu.time(|_| unsafe { graph.launch(times) }));
    // Before the buffers go.
    drop(graph);
    spread
}
