//! Runs one block: each GPU thread is a coroutine, resumed in turn until it waits or returns.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, Location, catch_unwind};

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};

use super::fault::Fault;
use super::launch::{Dims, Emulator, Order};
use super::memory_impl::{PendingCopy, SharedBlock};
use super::warp_impl::Warp;

#[derive(Clone, Copy)]
pub(crate) enum State {
    Ready,
    Barrier(&'static Location<'static>),
    Collective(&'static str, &'static Location<'static>),
    Returned,
}

/// One GPU thread.
pub(crate) struct Lane {
    pub thread: u32,
    pub thread_idx: [u32; 3],
    pub state: Cell<State>,
    pub copies: RefCell<Vec<PendingCopy>>,
    block: *const Block,
    yielder: Cell<*const Yielder<(), ()>>,
}

pub(crate) struct Block {
    pub kernel: &'static str,
    pub index: [u32; 3],
    pub dims: Dims,
    pub races: bool,
    /// Counts completed `sync_threads`.
    pub interval: Cell<u32>,
    pub shared: RefCell<Vec<SharedBlock>>,
    pub warps: Vec<Warp>,
}

impl Block {
    pub fn thread_idx(&self, thread: u32) -> [u32; 3] {
        let [x, y, _] = self.dims.block;
        [thread % x, thread / x % y, thread / (x * y)]
    }
}

impl Lane {
    #[inline]
    pub fn block(&self) -> &Block {
        unsafe { &*self.block }
    }

    #[inline]
    pub fn warp(&self) -> &Warp {
        &self.block().warps[self.thread as usize / 32]
    }

    #[inline]
    pub fn wait(&self, state: State) {
        self.state.set(state);
        unsafe { (*self.yielder.get()).suspend(()) }
    }
}

thread_local! {
    static CURRENT: Cell<*const Lane> = const { Cell::new(std::ptr::null()) };
    static STACKS: RefCell<(usize, Vec<DefaultStack>)> = const { RefCell::new((0, Vec::new())) };
}

/// The GPU thread that is running. A block never leaves the CPU thread it started on.
#[inline]
pub(crate) fn lane<'a>() -> &'a Lane {
    let lane = CURRENT.get();
    assert!(!lane.is_null(), "a device function was called outside a kernel");
    unsafe { &*lane }
}

type Fiber = Coroutine<(), (), (), DefaultStack>;

fn stack(bytes: usize) -> DefaultStack {
    STACKS.with_borrow_mut(|(size, stacks)| {
        if *size != bytes {
            stacks.clear();
            *size = bytes;
        }
        stacks.pop().unwrap_or_else(|| DefaultStack::new(bytes).expect("memory for a GPU thread's stack"))
    })
}

fn give_back(stack: DefaultStack) {
    STACKS.with_borrow_mut(|(_, stacks)| stacks.push(stack));
}

pub(crate) fn run_block(
    emulator: &Emulator,
    kernel: &'static str,
    dims: Dims,
    index: [u32; 3],
    body: &dyn Fn(),
) -> Result<(), Fault> {
    let threads = dims.block.iter().product::<u32>();
    let block = Block {
        kernel,
        index,
        dims,
        races: emulator.races,
        interval: Cell::new(1),
        shared: RefCell::default(),
        warps: (0..threads.div_ceil(32)).map(|warp| Warp::new(threads - warp * 32)).collect(),
    };
    let lanes: Vec<Lane> = (0..threads)
        .map(|thread| Lane {
            thread,
            thread_idx: block.thread_idx(thread),
            state: Cell::new(State::Ready),
            copies: RefCell::default(),
            block: &block,
            yielder: Cell::new(std::ptr::null()),
        })
        .collect();
    let mut fibers: Vec<Option<Fiber>> = (0..threads).map(|_| None).collect();
    // SAFETY: the fibers are finished or dropped before `body` goes out of scope.
    let body: &'static dyn Fn() = unsafe { std::mem::transmute(body) };

    let run = |lane: &Lane, fiber: &mut Option<Fiber>| -> Result<(), Fault> {
        let here: *const Lane = lane;
        let running = fiber.get_or_insert_with(|| {
            Coroutine::with_stack(stack(emulator.stack_bytes), move |yielder: &Yielder<(), ()>, ()| {
                unsafe { (*here).yielder.set(yielder) };
                body();
            })
        });
        CURRENT.set(lane);
        let result = catch_unwind(AssertUnwindSafe(|| running.resume(())));
        CURRENT.set(std::ptr::null());
        match result {
            Ok(CoroutineResult::Yield(())) => {}
            Ok(CoroutineResult::Return(())) => {
                lane.state.set(State::Returned);
                give_back(fiber.take().unwrap().into_stack());
            }
            Err(payload) => return Err(fault_of(lane, payload)),
        }
        Ok(())
    };

    let warp_order: Vec<usize> = emulator.order.warps(block.warps.len());
    let result = loop {
        let mut outcome = Ok(());
        'warps: for &warp in &warp_order {
            let range = warp * 32..(warp * 32 + 32).min(threads as usize);
            loop {
                let mut ran = false;
                for offset in 0..range.len() {
                    let thread = match emulator.order {
                        Order::Forward | Order::Shuffled(_) => range.start + offset,
                        Order::Backward => range.end - 1 - offset,
                    };
                    if let State::Ready = lanes[thread].state.get() {
                        ran = true;
                        outcome = run(&lanes[thread], &mut fibers[thread]);
                        if outcome.is_err() {
                            break 'warps;
                        }
                    }
                }
                if !ran {
                    break;
                }
            }
        }
        if outcome.is_err() {
            break outcome;
        }
        match next_interval(&block, &lanes) {
            Next::Finished => break Ok(()),
            Next::Released => block.interval.set(block.interval.get() + 1),
            Next::Stuck(fault) => break Err(fault),
        }
    };
    if result.is_err() {
        // Unwinds the threads that are still waiting, so their locals are dropped.
        for fiber in fibers.iter_mut() {
            if let Some(mut fiber) = fiber.take() {
                fiber.force_unwind();
                give_back(fiber.into_stack());
            }
        }
    }
    result
}

enum Next {
    Finished,
    Released,
    Stuck(Fault),
}

/// All threads wait or have returned: lets them past a common barrier, or says why they are stuck.
fn next_interval(block: &Block, lanes: &[Lane]) -> Next {
    let returned = lanes.iter().filter(|lane| matches!(lane.state.get(), State::Returned)).count();
    if returned == lanes.len() {
        return Next::Finished;
    }
    let first = lanes[0].state.get();
    if let State::Barrier(place) = first
        && lanes.iter().all(|lane| matches!(lane.state.get(), State::Barrier(other) if std::ptr::eq(other, place) || other == place))
    {
        for lane in lanes {
            lane.state.set(State::Ready);
        }
        return Next::Released;
    }
    let describe = |state| match state {
        State::Ready => "ready".to_string(),
        State::Barrier(place) => format!("wait in sync_threads at {place}"),
        State::Collective(what, place) => format!("wait in {what} at {place}"),
        State::Returned => "have returned".to_string(),
    };
    let mut groups: Vec<(String, Vec<u32>)> = Vec::new();
    for lane in lanes {
        let text = describe(lane.state.get());
        match groups.iter_mut().find(|(other, _)| *other == text) {
            Some((_, threads)) => threads.push(lane.thread),
            None => groups.push((text, vec![lane.thread])),
        }
    }
    let parts: Vec<String> =
        groups.iter().map(|(text, threads)| format!("threads {} {text}", ranges(threads))).collect();
    Next::Stuck(Fault {
        kernel: block.kernel,
        block: block.index,
        thread: None,
        place: None,
        what: format!("the threads diverged: {}", parts.join("; ")),
    })
}

fn ranges(threads: &[u32]) -> String {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for &thread in threads {
        match runs.last_mut() {
            Some((_, end)) if *end + 1 == thread => *end = thread,
            _ => runs.push((thread, thread)),
        }
    }
    let more = runs.len() > 6;
    let text: Vec<String> = runs
        .iter()
        .take(6)
        .map(|(a, b)| if a == b { a.to_string() } else { format!("{a}-{b}") })
        .collect();
    text.join(",") + if more { ",..." } else { "" }
}

fn fault_of(lane: &Lane, payload: Box<dyn Any + Send>) -> Fault {
    let what = match payload.downcast::<Fault>() {
        Ok(fault) => return *fault,
        Err(payload) => match payload.downcast::<String>() {
            Ok(text) => *text,
            Err(payload) => payload.downcast::<&str>().map_or("a panic".to_string(), |text| text.to_string()),
        },
    };
    Fault {
        kernel: lane.block().kernel,
        block: lane.block().index,
        thread: Some(lane.thread_idx),
        place: super::launch::take_panic_place(),
        what: format!("panicked: {what}"),
    }
}
