//! A launch: all blocks of a grid, in parallel or one after another or, for a cooperative kernel, all at once.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, Once, PoisonError};

use rayon::prelude::*;

use super::buffer::Saved;
use super::count::{Counters, Tally, set_counting};
use super::emulator::Emulator;
use super::fault::{Fault, index};
use super::lane::running;
use super::order::Order;
use super::release::Releases;
use super::run::{Advance, Run, Stop, is_stuck};
use super::shared::LIMIT_IN_ALL;
use super::tensor_cores::TensorCores;
use crate::launch::{Kernel, Parameters, block_fits};

/// The most blocks of a grid, along each axis, on every GPU.
const GRID: [u32; 3] = [i32::MAX as u32, 65_535, 65_535];
/// The most threads that have a stack at the same time: Linux gives a process 65530 mappings, a stack takes two.
const RESIDENT: u32 = 1 << 14;
/// The largest stack.
const STACK: usize = 1 << 30;

/// What the blocks of a launch have in common.
pub(crate) struct Launch {
    pub kernel: &'static str,
    pub grid: [u32; 3],
    pub block: [u32; 3],
    /// Bytes of dynamic shared memory of a block.
    pub shared_bytes: usize,
    /// Whether the kernel is for compute capability 9.0a alone.
    pub only_hopper: bool,
    pub races: bool,
    pub order: Order,
    pub stack_bytes: usize,
    pub tensor_cores: TensorCores,
    /// Differs from launch to launch.
    pub epoch: u64,
    pub releases: Releases,
    /// What its blocks have counted, if they count.
    tally: Option<Mutex<Tally>>,
    blocks: u32,
}

impl Launch {
    /// Threads of a block.
    pub fn threads(&self) -> u16 {
        // `launch` refuses more than 1024.
        self.block.iter().product::<u32>() as u16
    }

    /// The index of a thread in its block.
    pub fn thread_index(&self, thread: u16) -> [u32; 3] {
        unravel(u32::from(thread), self.block)
    }

    /// The index of a block in the grid.
    pub fn block_index(&self, number: u32) -> [u32; 3] {
        unravel(number, self.grid)
    }

    /// Whether its blocks count what they do.
    pub fn counts(&self) -> bool {
        self.tally.is_some()
    }

    /// Adds what a block has counted.
    pub fn add(&self, block: &mut Tally) {
        if let Some(tally) = &self.tally {
            tally.lock().unwrap_or_else(PoisonError::into_inner).add_block(block);
        }
    }

    /// What was counted in the end.
    fn counters(self) -> Counters {
        let tally = self.tally.unwrap_or_default().into_inner();
        tally.unwrap_or_else(PoisonError::into_inner).total()
    }

    /// The same launch from the beginning.
    fn again(self) -> Self {
        let tally = self.tally.map(|_| Mutex::default());
        Launch { epoch: next_epoch(), releases: Releases::default(), tally, ..self }
    }

    /// The block that runs at a position of the order.
    pub fn number(&self, position: u32) -> u32 {
        self.order.block(position, self.blocks)
    }
}

fn unravel(number: u32, [x, y, _]: [u32; 3]) -> [u32; 3] {
    [number % x, number / x % y, number / x / y]
}

fn next_epoch() -> u64 {
    static EPOCH: AtomicU64 = AtomicU64::new(1);
    EPOCH.fetch_add(1, Ordering::Relaxed)
}

/// Runs a kernel, or says why not. The counters are all 0 unless it is `counted`.
pub(crate) fn launch<P: Parameters>(
    emulator: &Emulator,
    kernel: &Kernel<P>,
    grid: [u32; 3],
    parameters: &P,
    counted: bool,
) -> Result<Counters, Fault> {
    let refuse = |what| Err(Fault::Launch { kernel: kernel.path(), what });
    if grid.contains(&0) {
        return Ok(Counters::default());
    }
    if !block_fits(kernel.block()) {
        let block = index(kernel.block());
        return refuse(format!(
            "a block of {block} threads; a GPU runs 1 to 1024, at most 64 of them along z"
        ));
    }
    if (0..3).any(|axis| grid[axis] > GRID[axis]) {
        let (grid, most) = (index(grid), index(GRID));
        return refuse(format!(
            "a grid of {grid} blocks; a GPU runs at most {most}: give each thread more to do"
        ));
    }
    let blocks = grid.iter().try_fold(1_u32, |blocks, &side| blocks.checked_mul(side));
    let Some(blocks) = blocks else {
        return refuse(format!("a grid of {} blocks is too large to emulate: use smaller data", index(grid)));
    };
    if emulator.stack_bytes > STACK {
        let bytes = emulator.stack_bytes;
        return refuse(format!("stacks of {bytes} bytes; the most is {STACK}: set a smaller `stack_bytes`"));
    }
    if kernel.shared_bytes() > LIMIT_IN_ALL {
        let bytes = kernel.shared_bytes();
        return refuse(format!(
            "{bytes} bytes of dynamic shared memory; a block may have {LIMIT_IN_ALL}: use smaller tiles"
        ));
    }
    let launch = Launch {
        kernel: kernel.path(),
        grid,
        block: kernel.block(),
        shared_bytes: kernel.shared_bytes(),
        only_hopper: kernel.arch().is_some(),
        races: emulator.races,
        order: emulator.order,
        stack_bytes: emulator.stack_bytes,
        tensor_cores: emulator.tensor_cores,
        epoch: next_epoch(),
        releases: Releases::default(),
        tally: counted.then(Mutex::default),
        blocks,
    };
    if launch.races {
        parameters.writable().iter().try_for_each(|memory| memory.prepare())?;
    }
    note_panic_places();
    let body = || kernel.body()(parameters);
    let resident = RESIDENT / u32::from(launch.threads());
    if kernel.is_cooperative() {
        if blocks > resident {
            return refuse(format!(
                "a cooperative grid of {blocks} blocks of {} threads; the emulator keeps at most {RESIDENT} threads \
                 resident: let each thread do more",
                launch.threads()
            ));
        }
        return together(&launch, &body).map(|()| launch.counters());
    }
    let most = if emulator.serial { 1 } else { rayon::current_num_threads() as u32 };
    let workers = most.min(resident).min(blocks);
    if workers < 2 {
        return serially(&launch, &body).map(|()| launch.counters());
    }
    // Blocks in parallel, as long as all goes well. If not, what went wrong may depend on which ran first: everything
    // is put back, and the blocks run in order, which gives the same fault every time.
    let saved: Option<Vec<Saved>> = parameters.writable().into_iter().map(|memory| memory.save()).collect();
    let Some(saved) = saved else { return serially(&launch, &body).map(|()| launch.counters()) };
    let Err(stop) = in_parallel(&launch, workers, &body) else { return Ok(launch.counters()) };
    saved.iter().for_each(Saved::restore);
    let again = launch.again();
    match (serially(&again, &body), stop) {
        (Ok(()), Stop::Fault(fault)) => Err(fault),
        (result, _) => result.map(|()| again.counters()),
    }
}

/// A kernel with its arguments.
type Body<'a> = dyn Fn() + Sync + 'a;

fn serially(launch: &Launch, body: &Body<'_>) -> Result<(), Fault> {
    with_runs(1, |runs| (0..launch.blocks).try_for_each(|position| one(&mut runs[0], launch, position, body)))
        .map_err(|stop| fault_of(launch, stop))
}

fn in_parallel(launch: &Launch, workers: u32, body: &Body<'_>) -> Result<(), Stop> {
    let next = AtomicU32::new(0);
    // The earliest block that did something wrong.
    let stopped: Mutex<Option<(u32, Stop)>> = Mutex::new(None);
    (0..workers).into_par_iter().for_each(|_| {
        with_runs(1, |runs| {
            loop {
                let position = next.fetch_add(1, Ordering::Relaxed);
                if position >= launch.blocks {
                    break;
                }
                if let Err(stop) = one(&mut runs[0], launch, position, body) {
                    // Nobody takes another block.
                    next.store(launch.blocks, Ordering::Relaxed);
                    let mut stopped = stopped.lock().unwrap_or_else(PoisonError::into_inner);
                    if stopped.as_ref().is_none_or(|(earliest, _)| position < *earliest) {
                        *stopped = Some((position, stop));
                    }
                    break;
                }
            }
        });
    });
    let stopped = stopped.into_inner().unwrap_or_else(PoisonError::into_inner);
    stopped.map_or(Ok(()), |(_, stop)| Err(stop))
}

/// Runs one block to its end.
fn one(run: &mut Run, launch: &Launch, position: u32, body: &Body<'_>) -> Result<(), Stop> {
    run.begin(launch, position)?;
    set_counting(launch.counts());
    let mut rounds = 0;
    let result = loop {
        match run.advance(body) {
            Err(stop) => break Err(stop),
            Ok(Advance::Finished) => break Ok(()),
            Ok(Advance::Progressed) => rounds = 0,
            Ok(Advance::Fruitless(more)) => {
                rounds += more;
                if is_stuck(rounds) {
                    break Err(Stop::Stuck(run.stuck(
                        "no thread of the block will change it, and other blocks need not run at the same time; for \
                         a kernel whose blocks wait for each other say `#[kernel(…, cooperative)]`",
                    )));
                }
            }
        }
    };
    set_counting(false);
    run.end();
    result
}

/// Runs all blocks of a cooperative kernel in turn.
fn together(launch: &Launch, body: &Body<'_>) -> Result<(), Fault> {
    let result = with_runs(launch.blocks as usize, |runs| {
        for (run, position) in runs.iter_mut().zip(0..) {
            run.begin(launch, position)?;
        }
        set_counting(launch.counts());
        let result = take_turns(runs, body);
        set_counting(false);
        runs.iter_mut().for_each(Run::end);
        result
    });
    result.map_err(|stop| fault_of(launch, stop))
}

fn take_turns(runs: &mut [Run], body: &Body<'_>) -> Result<(), Stop> {
    let mut finished = vec![false; runs.len()];
    let mut rounds = 0;
    loop {
        let mut longest = Some(1);
        for (run, finished) in runs.iter_mut().zip(&mut finished).filter(|(_, finished)| !**finished) {
            match run.advance(body)? {
                Advance::Finished => {
                    *finished = true;
                    longest = None;
                }
                Advance::Progressed => longest = None,
                Advance::Fruitless(rounds) => longest = longest.map(|longest: u32| longest.max(rounds)),
            }
        }
        if finished.iter().all(|finished| *finished) {
            return Ok(());
        }
        rounds = longest.map_or(0, |longest| rounds + longest);
        if is_stuck(rounds) {
            let stuck = runs.iter().find(|run| run.polls()).expect("a block that has not finished polls");
            return Err(Stop::Stuck(stuck.stuck("no thread of the grid will change it")));
        }
    }
}

fn fault_of(launch: &Launch, stop: Stop) -> Fault {
    match stop {
        Stop::Fault(fault) | Stop::Stuck(fault) => fault,
        Stop::Stacks(error) => Fault::Launch {
            kernel: launch.kernel,
            what: format!(
                "no memory for its threads' stacks ({error}): set a smaller `stack_bytes`, now {}",
                launch.stack_bytes
            ),
        },
    }
}

/// Runs that are kept for later launches: one a core.
fn most_idle() -> usize {
    static CORES: LazyLock<usize> =
        LazyLock::new(|| std::thread::available_parallelism().map_or(1, usize::from));
    *CORES
}

/// Lends runs that earlier launches have used.
fn with_runs<R>(count: usize, work: impl FnOnce(&mut [Run]) -> R) -> R {
    static IDLE: Mutex<Vec<Run>> = Mutex::new(Vec::new());
    let mut runs = {
        let mut idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner);
        let from = idle.len().saturating_sub(count);
        idle.split_off(from)
    };
    runs.resize_with(count, Run::new);
    let result = work(&mut runs);
    let mut idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner);
    let room = most_idle().saturating_sub(idle.len());
    runs.truncate(room);
    idle.extend(runs);
    result
}

/// A panic in a kernel becomes a `Fault`: its place is kept and nothing is printed.
fn note_panic_places() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| match running() {
            Some(lane) => lane.panic_place.set(info.location().map(ToString::to_string)),
            None => previous(info),
        }));
    });
}
