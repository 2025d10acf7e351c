//! The scheduler: each thread of a block is a coroutine, resumed in turn until it waits or returns.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::block::{Block, Meeting};
use super::coroutine::{CoroutineResult, Fiber, Stack, Yielder};
use super::fault::Fault;
use super::lane::{Lane, Poll, State};
use super::launch::Launch;
use super::warp::Warp;

/// After this many rounds in which nobody found anything new, threads that poll are stuck.
const FRUITLESS_ROUNDS: u32 = 100_000;
/// What a thread's reads in a row that are not atomic count: they take longer.
const PLAIN_READS_ROUNDS: u32 = FRUITLESS_ROUNDS / 1000;

/// A block with all that it needs to run, kept from launch to launch.
pub(crate) struct Run {
    block: Box<Block>,
    fibers: Vec<Option<Fiber>>,
    stacks: Vec<Stack>,
    stack_bytes: usize,
    order: Vec<u16>,
}

// SAFETY: between runs there are no coroutines, no shared arrays are borrowed and all pointers are stale.
unsafe impl Send for Run {}

/// How far a block has come.
pub(crate) enum Advance {
    /// All its threads have returned.
    Finished,
    /// Some threads poll for what others must do; some have found something new.
    Progressed,
    /// The same, but nobody found anything new; counts as this many rounds.
    Fruitless(u32),
}

/// Why a block stopped.
pub(crate) enum Stop {
    /// The kernel did something wrong.
    Fault(Fault),
    /// Its threads wait for something that does not come, at least while no other block runs.
    Stuck(Fault),
    /// There is no memory for its threads' stacks.
    Stacks(std::io::Error),
}

impl Run {
    /// A run with nothing in it.
    pub fn new() -> Self {
        Run {
            block: Box::new(Block {
                number: 0,
                index: [0; 3],
                interval: Cell::new(1),
                serial: 0,
                moment: Cell::new(1),
                shared: RefCell::default(),
                warps: Vec::new(),
                lanes: Vec::new(),
                warpgroups: RefCell::default(),
                known: RefCell::default(),
                tally: RefCell::default(),
                meetings: Cell::default(),
                launch: std::ptr::null(),
            }),
            fibers: Vec::new(),
            stacks: Vec::new(),
            stack_bytes: 0,
            order: Vec::new(),
        }
    }

    /// Prepares to run the block at a position of a launch's order.
    pub fn begin(&mut self, launch: &Launch, position: u32) -> Result<(), Stop> {
        let threads = launch.threads();
        let number = launch.number(position);
        if self.stack_bytes != launch.stack_bytes {
            self.stacks.clear();
            self.stack_bytes = launch.stack_bytes;
        }
        while self.stacks.len() < usize::from(threads) {
            self.stacks.push(Stack::new(launch.stack_bytes).map_err(Stop::Stacks)?);
        }
        let block = &mut *self.block;
        block.number = number;
        block.index = launch.block_index(number);
        block.interval.set(1);
        block.serial += 1;
        block.next_moment();
        block.launch = launch;
        block.known.get_mut().clear();
        block.warpgroups.get_mut().clear();
        if launch.counts() {
            block.tally.take();
        }
        block.warps.resize_with(usize::from(threads.div_ceil(32)), Warp::default);
        for (warp, first) in block.warps.iter_mut().zip((0..threads).step_by(32)) {
            warp.reset(threads - first);
        }
        block.lanes.truncate(usize::from(threads));
        block.lanes.extend((block.lanes.len() as u16..threads).map(Lane::new));
        for lane in &mut block.lanes {
            lane.begin(launch.thread_index(lane.thread));
        }
        let address: *const Block = &raw const *self.block;
        for lane in &mut self.block.lanes {
            lane.set_block(address);
        }
        self.fibers.resize_with(usize::from(threads), || None);
        launch.order.threads(number, threads, &mut self.order);
        Ok(())
    }

    /// Runs the block until it has finished, or its threads wait for what other blocks do.
    pub fn advance(&mut self, body: &(dyn Fn() + Sync)) -> Result<Advance, Stop> {
        let mut progressed = false;
        let (mut atomic, mut plain) = (0, 0);
        for lane in &self.block.lanes {
            if let State::Polling(poll) = lane.state.get() {
                lane.state.set(State::Ready);
                match poll.seen {
                    Some(_) => atomic = 1,
                    None => plain += PLAIN_READS_ROUNDS,
                }
            }
        }
        let rounds = 1.max(atomic + plain);
        loop {
            progressed |= self.pass(body).map_err(Stop::Fault)?;
            match self.block.meet()? {
                Meeting::Everybody => progressed = true,
                Meeting::Nobody if progressed => return Ok(Advance::Progressed),
                Meeting::Nobody => return Ok(Advance::Fruitless(rounds)),
                Meeting::Finished => return Ok(Advance::Finished),
            }
        }
    }

    /// Resumes each thread that is ready, warp after warp, until none is. True if one of them found something new.
    fn pass(&mut self, body: &(dyn Fn() + Sync)) -> Result<bool, Fault> {
        let mut progressed = false;
        let order = std::mem::take(&mut self.order);
        let result = order.chunk_by(|a, b| a / 32 == b / 32).try_for_each(|warp| {
            loop {
                let mut ran = false;
                for &thread in warp {
                    if matches!(self.block.lanes[usize::from(thread)].state.get(), State::Ready) {
                        ran = true;
                        progressed |= self.resume(usize::from(thread), body)?;
                    }
                }
                if !ran {
                    return Ok(());
                }
            }
        });
        self.order = order;
        result.map(|()| progressed)
    }

    fn resume(&mut self, thread: usize, body: &(dyn Fn() + Sync)) -> Result<bool, Fault> {
        let lane = &self.block.lanes[thread];
        let fiber = &mut self.fibers[thread];
        let running = fiber.get_or_insert_with(|| {
            let here: *const Lane = lane;
            // SAFETY: the coroutine is finished or unwound before `body` and the lane go out of scope.
            let body: &'static (dyn Fn() + Sync) =
                unsafe { std::mem::transmute::<&(dyn Fn() + Sync), &'static (dyn Fn() + Sync)>(body) };
            let stack = self.stacks.pop().expect("`begin` has made a stack for each thread");
            Fiber::with_stack(stack, move |yielder: &Yielder, ()| {
                // SAFETY: as above; the lane stays where it is.
                unsafe { (*here).start(yielder) };
                body();
            })
        });
        let (result, progressed) = lane.run(|| catch_unwind(AssertUnwindSafe(|| running.resume(()))));
        match result {
            Ok(CoroutineResult::Yield(())) => {}
            Ok(CoroutineResult::Return(())) => {
                lane.state.set(State::Returned);
                self.stacks.extend(fiber.take().map(Fiber::into_stack));
                return Ok(true);
            }
            Err(payload) => return Err(fault_of(lane, payload)),
        }
        Ok(progressed)
    }

    /// Ends what still runs, so that threads' locals are dropped and their stacks can be used again.
    pub fn end(&mut self) {
        for fiber in &mut self.fibers {
            if let Some(mut fiber) = fiber.take() {
                fiber.force_unwind();
                self.stacks.push(fiber.into_stack());
            }
        }
    }

    /// Says who polls for what, when that does not come.
    pub fn stuck(&self, remedy: &str) -> Fault {
        let polls: Vec<(&Lane, Poll)> = self
            .block
            .lanes
            .iter()
            .filter_map(|lane| match lane.state.get() {
                State::Polling(poll) => Some((lane, poll)),
                _ => None,
            })
            .collect();
        let describe = |poll: &Poll| match poll.seen {
            Some((name, element, value)) => format!("on element {element} of `{name}`, which stays {value}"),
            None => "on reads that are not atomic, whose values stay the same".to_string(),
        };
        let (lane, first) = polls[0];
        let mut what = format!("spins {}", describe(&first));
        if polls.len() > 1 {
            what += &format!("; so do {} more threads of the block", polls.len() - 1);
        }
        Fault::Kernel {
            kernel: self.block.launch().kernel,
            block: self.block.index,
            thread: Some(lane.index),
            place: Some(first.place.to_string()),
            what: format!("{what}: {remedy}"),
        }
    }

    /// Whether some of its threads poll.
    pub fn polls(&self) -> bool {
        self.block.lanes.iter().any(|lane| matches!(lane.state.get(), State::Polling(_)))
    }
}

/// After so many fruitless rounds, those that poll are stuck.
pub(crate) const fn is_stuck(rounds: u32) -> bool {
    rounds >= FRUITLESS_ROUNDS
}

fn fault_of(lane: &Lane, payload: Box<dyn Any + Send>) -> Fault {
    let what = match payload.downcast::<Fault>() {
        Ok(fault) => return *fault,
        Err(payload) => match payload.downcast::<String>() {
            Ok(text) => *text,
            Err(payload) => {
                payload.downcast::<&str>().map_or("something".to_string(), |text| text.to_string())
            }
        },
    };
    Fault::Kernel {
        kernel: lane.block().launch().kernel,
        block: lane.block().index,
        thread: Some(lane.index),
        place: lane.panic_place.take(),
        what: format!("panicked: {what}"),
    }
}
