//! One GPU thread, and what it waits for.

use std::cell::{Cell, RefCell};
use std::panic::Location;

use super::block::Block;
use super::copy::Copies;
use super::coroutine::Yielder;
use super::count::{Access, set_counting};
use super::release::Known;
use super::shared::Written;
use super::warp::Warp;

/// After this many plain reads with no wait in between, a thread lets others run.
const READS_IN_A_ROW: u32 = 1 << 16;
/// The values that a thread remembers to have polled.
const REMEMBERED: usize = 64;

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
    /// The elements of shared memory that it has written since its last fence for `wgmma`, where there may be one.
    pub written: RefCell<Vec<Written>>,
    /// What it has accessed since its warp last met, if the launch counts.
    pub trace: RefCell<Vec<Access>>,
    polled: RefCell<Vec<(usize, u32)>>,
    /// It found something new since it was resumed.
    news: Cell<bool>,
    reads_left: Cell<u32>,
    block: *const Block,
    yielder: Cell<*const Yielder>,
    /// Where it panicked.
    pub panic_place: Cell<Option<String>>,
}

impl Lane {
    /// The thread of this number, of no block.
    pub fn new(thread: u16) -> Self {
        Lane {
            thread,
            index: [0; 3],
            state: Cell::new(State::Ready),
            stamp: Cell::new(1),
            seen: Cell::new([0; 32]),
            known: RefCell::default(),
            copies: RefCell::default(),
            written: RefCell::default(),
            trace: RefCell::default(),
            polled: RefCell::default(),
            news: Cell::new(false),
            reads_left: Cell::new(READS_IN_A_ROW),
            block: std::ptr::null(),
            yielder: Cell::new(std::ptr::null()),
            panic_place: Cell::default(),
        }
    }

    /// Begins a block.
    pub fn begin(&mut self, index: [u32; 3]) {
        self.index = index;
        self.state.set(State::Ready);
        self.known.get_mut().clear();
        self.copies.get_mut().clear();
        self.written.get_mut().clear();
        self.trace.get_mut().clear();
        // What others had done in an earlier block, when there may have been others in their places.
        self.seen.set([0; 32]);
        self.polled.get_mut().clear();
        self.reads_left.set(READS_IN_A_ROW);
    }

    /// Tells the thread where its block is.
    pub fn set_block(&mut self, block: *const Block) {
        self.block = block;
    }

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
        self.remember(address, value);
        self.wait(State::Polling(Poll { place, seen: Some((name, element, value)) }));
    }

    /// Counts a read that is not atomic: whoever spins on such reads must not stop the others.
    #[inline]
    pub fn count_read(&self, place: &'static Location<'static>, address: usize) {
        let left = self.reads_left.get() - 1;
        self.reads_left.set(left);
        if left == 0 {
            // Reads of one element over and over are no news; those of a large array are.
            self.remember(address, 0);
            self.wait(State::Polling(Poll { place, seen: None }));
        }
    }

    /// Notes whether this value is news.
    fn remember(&self, address: usize, value: u32) {
        let mut polled = self.polled.borrow_mut();
        match polled.iter_mut().find(|(there, _)| *there == address) {
            Some((_, last)) if *last == value => return,
            Some((_, last)) => *last = value,
            None => {
                if polled.len() == REMEMBERED {
                    polled.remove(0);
                }
                polled.push((address, value));
            }
        }
        self.news.set(true);
    }

    /// Resumes this thread's coroutine with `resume`; true if it found something new, or has come further.
    pub fn run<R>(&self, resume: impl FnOnce() -> R) -> (R, bool) {
        self.news.set(false);
        CURRENT.set(self);
        let result = resume();
        CURRENT.set(std::ptr::null());
        (result, self.news.get() || !matches!(self.state.get(), State::Polling(_)))
    }

    /// For a coroutine's beginning: how to suspend it.
    pub fn start(&self, yielder: &Yielder) {
        self.yielder.set(yielder);
        // A coroutine that is a thread has these of its own.
        CURRENT.set(self);
        set_counting(self.block().launch().counts());
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
    running().expect("a function for kernels was called outside a kernel")
}

/// The GPU thread that is running, if one is.
#[inline]
pub(crate) fn running<'a>() -> Option<&'a Lane> {
    // SAFETY: set while that lane's coroutine runs, which is where this is called.
    unsafe { CURRENT.get().as_ref() }
}
