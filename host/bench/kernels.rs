//! The kernels on a GPU, by its clock.

use cuda_std::Device;
use kernel_suite::checks;
use kernel_suite::{Data, Kernels, Rig, Source, Tally};

use super::row::{Figures, Kind, Outcome, Row};
use super::{Case, Effort, Spread};
use crate::Result;
use crate::cuda::{Error, Gpu};

/// Elements behind each buffer of a check that no kernel may touch.
const GUARD: usize = 4096;

/// Checks a case and times it if it is right.
///
/// # Errors
/// The driver's. A wrong result is none: it stands in its row.
pub(super) fn time(gpu: &Gpu, case: &Case<Gpu>, effort: &Effort) -> Result<Row> {
    let outcome = match check(gpu, case) {
        Ok(worst) => {
            let spread = time_case(gpu, case, effort)?;
            Outcome::Right(Figures::new(spread, case.floor.bytes(), case.operations, Some(worst)))
        }
        Err(problem) => {
            // What is wrong may be the GPU.
            gpu.synchronize()?;
            Outcome::Wrong { problem }
        }
    };
    Ok(Row {
        kind: if case.is_sequence() { Kind::Sequence } else { Kind::Kernel },
        name: case.kernel.to_owned(),
        shape: case.shape.to_string(),
        sides: case.shape.sides(),
        outcome,
        against: Vec::new(),
    })
}

/// Whether the GPU has all its kernels.
pub(super) fn has(gpu: &Gpu, case: &Case<Gpu>) -> bool {
    case.kernels().iter().all(|(kernel, _)| gpu.has(kernel))
}

/// The kernels of the cases that this GPU does not have.
pub(super) fn missing(gpu: &Gpu, cases: &[Case<Gpu>]) -> Vec<&'static str> {
    let all = cases.iter().flat_map(Case::kernels).map(|(kernel, _)| kernel);
    let mut missing: Vec<_> = all.filter(|kernel| !gpu.has(kernel)).collect();
    missing.sort_unstable();
    missing.dedup();
    missing
}

/// What the suite says of the kernels at this shape: the largest error over its bound.
fn check(gpu: &Gpu, case: &Case<Gpu>) -> Result<f64, String> {
    let rig = Rig { device: gpu.clone(), guard: GUARD };
    let mut worst: f64 = 0.0;
    for (kernel, sides) in case.kernels() {
        let check = checks::all::<Gpu>().into_iter().find(|check| check.kernel == kernel);
        let check = check.ok_or_else(|| format!("the kernel suite has no check of {kernel}"))?;
        let (kernels, source) = (Kernels::ours(), Source::new(1));
        let (rig, kernels, tally) = (&rig, &kernels, Tally::default());
        let mut launches = checks::Case { rig, kernels, data: Data::Reals, source, tally };
        (check.at)(&mut launches, sides)?;
        worst = worst.max(launches.tally.worst);
    }
    Ok(worst)
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
