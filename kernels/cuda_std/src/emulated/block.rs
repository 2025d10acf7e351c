//! A block's threads, each a coroutine, and the scheduler that resumes them in turn.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, Location, catch_unwind};

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};

use super::copy::Copies;
use super::emulator::Order;
use super::fault::Fault;
use super::launch::Launch;
use super::release::{Known, join};
use super::shared::SharedBlock;
use super::warp::Warp;

/// What a thread is about.
#[derive(Clone, Copy)]
pub(crate) enum State {
    /// It can run.
    Ready,
    /// It has found the same value again and lets others run.
    Polling(Poll),
    /// It waits in `sync_threads`.
    Barrier(&'static Location<'static>),
    /// It waits in a warp's operation.
    Collective(&'static str, &'static Location<'static>),
    /// It is done.
    Returned,
}

/// A look at memory that others may change.
#[derive(Clone, Copy)]
pub(crate) struct Poll {
    pub place: &'static Location<'static>,
    /// The parameter, the element and its value; none for reads that are not atomic.
    pub seen: Option<(&'static str, usize, u32)>,
}

/// After this many rounds in which nobody found anything new, threads that poll are stuck.
const FRUITLESS_ROUNDS: u32 = 100_000;
/// After this many plain reads with no wait in between, a thread lets others run.
const READS_IN_A_ROW: u32 = 1 << 20;
/// What such a round counts: they take longer.
const READS_IN_A_ROW_ROUNDS: u32 = FRUITLESS_ROUNDS / 500;
/// The values that a thread remembers to have polled.
const REMEMBERED: usize = 64;

/// One GPU thread.
pub(crate) struct Lane {
    /// Its number in the block.
    pub thread: u16,
    /// Its index in the block.
    pub index: [u32; 3],
    pub state: Cell<State>,
    /// One more than how many times it has synchronised with others of its warp.
    pub stamp: Cell<u32>,
    /// The stamps of its warp up to which it has synchronised with them.
    pub seen: Cell<[u32; 32]>,
    /// What it has acquired since the last barrier.
    pub known: RefCell<Known>,
    pub copies: RefCell<Copies>,
    polled: RefCell<Vec<(usize, u32)>>,
    /// It found something new since it was resumed.
    news: Cell<bool>,
    reads_left: Cell<u32>,
    block: *const Block,
    yielder: Cell<*const Yielder<(), ()>>,
}

/// One block. Its address stays the same while it runs.
pub(crate) struct Block {
    /// Its number in the grid.
    pub number: u32,
    /// Its index in the grid.
    pub index: [u32; 3],
    /// One more than how many times it has synchronised.
    pub interval: Cell<u32>,
    /// Counts the blocks that have used `shared`.
    pub serial: u64,
    /// Counts what orders accesses, in all blocks that have used `shared`.
    moment: Cell<u64>,
    pub shared: RefCell<Vec<SharedBlock>>,
    pub warps: Vec<Warp>,
    pub lanes: Vec<Lane>,
    /// What all its threads have acquired.
    pub known: RefCell<Known>,
    launch: *const Launch,
}

impl Block {
    #[inline]
    pub fn launch(&self) -> &Launch {
        // SAFETY: the launch outlives its blocks' runs, and only they come here.
        unsafe { &*self.launch }
    }

    /// Something orders accesses.
    pub fn next_moment(&self) {
        self.moment.set(self.moment.get() + 1);
    }

    /// A mark that reads of an element by one warp, or by all, add nothing to what is known, until the next moment.
    pub fn quiet(&self, warp: Option<u16>) -> u64 {
        (self.moment.get() << 8) | warp.map_or(0xff, u64::from)
    }
}

impl Lane {
    #[inline]
    pub fn block(&self) -> &Block {
        // SAFETY: set by `Run::begin` to the block that holds this lane.
        unsafe { &*self.block }
    }

    #[inline]
    pub fn warp(&self) -> &Warp {
        &self.block().warps[usize::from(self.thread / 32)]
    }

    /// Whether this thread has synchronised with lane `other` of its warp since that had `stamp`.
    #[inline]
    pub fn has_seen(&self, other: u16, stamp: u32) -> bool {
        // SAFETY: only this CPU thread touches the cell, and the reference ends here.
        unsafe { (&*self.seen.as_ptr())[usize::from(other)] >= stamp }
    }

    /// Whether a mark of [`Block::quiet`] is for this thread and this moment.
    #[inline]
    pub fn is_quiet(&self, mark: u64) -> bool {
        let warp = mark & 0xff;
        mark >> 8 == self.block().moment.get() && (warp == 0xff || warp == u64::from(self.thread / 32))
    }

    /// Lets others run until `state` has been changed to ready.
    #[inline]
    pub fn wait(&self, state: State) {
        self.reads_left.set(READS_IN_A_ROW);
        self.state.set(state);
        // SAFETY: the yielder lives as long as the coroutine, in which this runs.
        unsafe { (*self.yielder.get()).suspend(()) }
    }

    /// Lets others run after a look at an element by which threads wait for each other.
    pub fn poll(
        &self,
        place: &'static Location<'static>,
        address: usize,
        name: &'static str,
        element: usize,
        value: u32,
    ) {
        let mut polled = self.polled.borrow_mut();
        match polled.iter_mut().find(|(there, _)| *there == address) {
            Some((_, last)) if *last == value => {}
            Some((_, last)) => {
                *last = value;
                self.news.set(true);
            }
            None => {
                if polled.len() == REMEMBERED {
                    polled.remove(0);
                }
                polled.push((address, value));
                self.news.set(true);
            }
        }
        drop(polled);
        self.wait(State::Polling(Poll { place, seen: Some((name, element, value)) }));
    }

    /// Counts a read that is not atomic: whoever spins on such reads must not stop the others.
    #[inline]
    pub fn count_read(&self, place: &'static Location<'static>) {
        let left = self.reads_left.get() - 1;
        self.reads_left.set(left);
        if left == 0 {
            self.wait(State::Polling(Poll { place, seen: None }));
        }
    }
}

thread_local! {
    static CURRENT: Cell<*const Lane> = const { Cell::new(std::ptr::null()) };
}

/// The GPU thread that is running. A block never leaves the CPU thread it started on.
///
/// # Panics
/// No kernel is running on this CPU thread.
#[inline]
pub(crate) fn lane<'a>() -> &'a Lane {
    let lane = CURRENT.get();
    assert!(!lane.is_null(), "a function for kernels was called outside a kernel");
    // SAFETY: set while that lane's coroutine runs, which is where this is called.
    unsafe { &*lane }
}

type Fiber = Coroutine<(), (), (), DefaultStack>;

/// A block with all that it needs to run, kept from launch to launch.
pub(crate) struct Run {
    block: Box<Block>,
    fibers: Vec<Option<Fiber>>,
    stacks: Vec<DefaultStack>,
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
                known: RefCell::default(),
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
            self.stacks.push(DefaultStack::new(launch.stack_bytes).map_err(Stop::Stacks)?);
        }
        let block = &mut *self.block;
        block.number = number;
        block.index = launch.block_index(number);
        block.interval.set(1);
        block.serial += 1;
        block.next_moment();
        block.launch = launch;
        block.known.get_mut().clear();
        block.warps.resize_with(usize::from(threads.div_ceil(32)), Warp::default);
        for (warp, first) in block.warps.iter_mut().zip((0..threads).step_by(32)) {
            warp.reset(threads - first);
        }
        block.lanes.truncate(usize::from(threads));
        for thread in block.lanes.len() as u16..threads {
            block.lanes.push(Lane {
                thread,
                index: [0; 3],
                state: Cell::new(State::Ready),
                stamp: Cell::new(1),
                seen: Cell::new([0; 32]),
                known: RefCell::default(),
                copies: RefCell::default(),
                polled: RefCell::default(),
                news: Cell::new(false),
                reads_left: Cell::new(READS_IN_A_ROW),
                block: std::ptr::null(),
                yielder: Cell::new(std::ptr::null()),
            });
        }
        for lane in &mut block.lanes {
            lane.index = launch.thread_index(lane.thread);
            lane.state.set(State::Ready);
            lane.known.get_mut().clear();
            lane.copies.get_mut().clear();
            lane.polled.get_mut().clear();
            lane.reads_left.set(READS_IN_A_ROW);
        }
        let address: *const Block = &raw const *self.block;
        for lane in &mut self.block.lanes {
            lane.block = address;
        }
        self.fibers.resize_with(usize::from(threads), || None);
        launch.order.threads(number, threads, &mut self.order);
        Ok(())
    }

    /// Runs the block until it has finished, or its threads wait for what other blocks do.
    pub fn advance(&mut self, body: &(dyn Fn() + Sync)) -> Result<Advance, Stop> {
        let mut progressed = false;
        let mut rounds = 0;
        for lane in &self.block.lanes {
            if let State::Polling(poll) = lane.state.get() {
                lane.state.set(State::Ready);
                rounds = rounds.max(if poll.seen.is_some() { 1 } else { READS_IN_A_ROW_ROUNDS });
            }
        }
        loop {
            progressed |= self.pass(body).map_err(Stop::Fault)?;
            match self.block.meet()? {
                Meeting::Everybody => progressed = true,
                Meeting::Nobody if progressed => return Ok(Advance::Progressed),
                Meeting::Nobody => return Ok(Advance::Fruitless(rounds.max(1))),
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
            Coroutine::with_stack(stack, move |yielder: &Yielder<(), ()>, ()| {
                // SAFETY: as above; the lane stays where it is.
                unsafe { (*here).yielder.set(yielder) };
                body();
            })
        });
        lane.news.set(false);
        CURRENT.set(lane);
        let result = catch_unwind(AssertUnwindSafe(|| running.resume(())));
        CURRENT.set(std::ptr::null());
        match result {
            Ok(CoroutineResult::Yield(())) => {}
            Ok(CoroutineResult::Return(())) => {
                lane.state.set(State::Returned);
                self.stacks.extend(fiber.take().map(Fiber::into_stack));
            }
            Err(payload) => return Err(fault_of(lane, payload)),
        }
        Ok(lane.news.get() || !matches!(lane.state.get(), State::Polling(_)))
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

enum Meeting {
    Finished,
    Everybody,
    Nobody,
}

impl Block {
    /// No thread is ready: lets them past a common barrier, or says why they are stuck.
    fn meet(&self) -> Result<Meeting, Stop> {
        let states = || self.lanes.iter().map(|lane| lane.state.get());
        if states().all(|state| matches!(state, State::Returned)) {
            return Ok(Meeting::Finished);
        }
        if let State::Barrier(place) = self.lanes[0].state.get()
            && states().all(|state| matches!(state, State::Barrier(other) if other == place))
        {
            self.interval.set(self.interval.get() + 1);
            self.next_moment();
            let mut known = self.known.borrow_mut();
            for lane in &self.lanes {
                join(&mut known, &lane.known.take());
                lane.state.set(State::Ready);
            }
            return Ok(Meeting::Everybody);
        }
        if states().any(|state| matches!(state, State::Polling(_))) {
            return Ok(Meeting::Nobody);
        }
        Err(Stop::Fault(self.diverged()))
    }

    fn diverged(&self) -> Fault {
        let mut groups: Vec<(String, Vec<u16>)> = Vec::new();
        for lane in &self.lanes {
            let text = match lane.state.get() {
                State::Ready | State::Polling(_) => "run".to_string(),
                State::Barrier(place) => format!("wait in sync_threads at {place}"),
                State::Collective(what, place) => format!("wait in {what} at {place}"),
                State::Returned => "have returned".to_string(),
            };
            match groups.iter_mut().find(|(other, _)| *other == text) {
                Some((_, threads)) => threads.push(lane.thread),
                None => groups.push((text, vec![lane.thread])),
            }
        }
        let parts: Vec<String> =
            groups.iter().map(|(text, threads)| format!("threads {} {text}", ranges(threads))).collect();
        Fault::Kernel {
            kernel: self.launch().kernel,
            block: self.index,
            thread: None,
            place: None,
            what: format!("the threads diverged: {}", parts.join("; ")),
        }
    }
}

/// "0-15,17,20-31"
fn ranges(threads: &[u16]) -> String {
    let mut runs: Vec<(u16, u16)> = Vec::new();
    for &thread in threads {
        match runs.last_mut() {
            Some((_, end)) if *end + 1 == thread => *end = thread,
            _ => runs.push((thread, thread)),
        }
    }
    let more = if runs.len() > 6 { ",…" } else { "" };
    let text: Vec<String> = runs
        .iter()
        .take(6)
        .map(|(first, last)| if first == last { first.to_string() } else { format!("{first}-{last}") })
        .collect();
    text.join(",") + more
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
        place: super::launch::take_panic_place(),
        what: format!("panicked: {what}"),
    }
}

impl Order {
    /// The threads of a block in the order in which they are resumed: warp after warp.
    fn threads(self, block: u32, threads: u16, order: &mut Vec<u16>) {
        order.clear();
        match self {
            Order::Forward => order.extend(0..threads),
            Order::Backward => order.extend((0..threads).rev()),
            Order::Shuffled(seed) => {
                let mut random = Random(seed ^ u64::from(block).wrapping_mul(0x9e37_79b9_7f4a_7c15));
                let mut warps: Vec<u16> = (0..threads.div_ceil(32)).collect();
                random.shuffle(&mut warps);
                for warp in warps {
                    let first = order.len();
                    order.extend(warp * 32..(warp * 32 + 32).min(threads));
                    random.shuffle(&mut order[first..]);
                }
            }
        }
    }
}

/// SplitMix64.
pub(crate) struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn shuffle<T>(&mut self, values: &mut [T]) {
        for i in (1..values.len()).rev() {
            let j = (self.next() % (i as u64 + 1)) as usize;
            values.swap(i, j);
        }
    }
}
