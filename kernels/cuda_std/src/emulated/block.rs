//! One block: what its threads share, and where they meet.

use std::cell::{Cell, RefCell, RefMut};

use super::count::{Access, Counters, Tally};
use super::fault::Fault;
use super::lane::{Lane, State};
use super::launch::Launch;
use super::release::{Known, join};
use super::run::Stop;
use super::shared::SharedBlock;
use super::warp::Warp;
use super::warpgroup::{self, Log};

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
    pub moment: Cell<u64>,
    pub shared: RefCell<Vec<SharedBlock>>,
    pub warps: Vec<Warp>,
    pub lanes: Vec<Lane>,
    /// What its warpgroups have done.
    pub warpgroups: RefCell<Vec<Log>>,
    /// What all its threads have acquired.
    pub known: RefCell<Known>,
    /// What it has counted, if the launch counts.
    pub tally: RefCell<Tally>,
    /// Counts meetings of a part of a warp, in all blocks that have used `shared`.
    pub meetings: Cell<usize>,
    pub launch: *const Launch,
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

    /// Adds one to a count, if the launch counts.
    pub fn count(&self, which: fn(&mut Counters) -> &mut u64) {
        self.add_counts(|counters| *which(counters) += 1);
    }

    /// Adds to several counts, if the launch counts.
    pub fn add_counts(&self, add: impl FnOnce(&mut Counters)) {
        if self.launch().counts() {
            add(&mut self.tally.borrow_mut().counters);
        }
    }

    /// A number that no other meeting has.
    pub fn next_meeting(&self) -> usize {
        self.meetings.update(|number| number + 1);
        self.meetings.get()
    }

    /// Counts what the lanes of a warp have done since they last met, if the launch counts.
    pub fn count_warp(&self, lanes: &[Lane]) {
        if !self.launch().counts() {
            return;
        }
        let mut lists: Vec<RefMut<'_, Vec<Access>>> =
            lanes.iter().map(|lane| lane.trace.borrow_mut()).collect();
        let slices: Vec<&[Access]> = lists.iter().map(|list| list.as_slice()).collect();
        self.tally.borrow_mut().add_warp(&slices);
        lists.iter_mut().for_each(|list| list.clear());
    }

    /// The same for all its warps.
    fn count_warps(&self) {
        self.lanes.chunks(32).for_each(|lanes| self.count_warp(lanes));
    }

    /// Adds what it has counted to the launch's counts, when it has finished.
    fn finish_counting(&self) {
        if self.launch().counts() {
            self.count_warps();
            let mut tally = self.tally.borrow_mut();
            tally.counters.blocks = 1;
            tally.counters.warps = self.warps.len() as u64;
            self.launch().add(&mut tally);
        }
    }

    /// A mark that reads of an element by one warp, or by all, add nothing to what is known, until the next moment.
    pub fn quiet(&self, warp: Option<u16>) -> u64 {
        (self.moment.get() << 8) | warp.map_or(0xff, u64::from)
    }
}

/// Who is at a common barrier, when no thread is ready.
pub(crate) enum Meeting {
    /// Nobody: all have returned.
    Finished,
    /// All threads: they are past it now.
    Everybody,
    /// Some threads poll, so others may still come.
    Nobody,
}

impl Block {
    /// No thread is ready: lets them past a common barrier, or says why they are stuck.
    pub fn meet(&self) -> Result<Meeting, Stop> {
        let states = || self.lanes.iter().map(|lane| lane.state.get());
        if states().all(|state| matches!(state, State::Returned)) {
            if let Some(fault) = warpgroup::unfinished(self) {
                return Err(Stop::Fault(fault));
            }
            self.finish_counting();
            return Ok(Meeting::Finished);
        }
        if let State::Barrier(place) = self.lanes[0].state.get()
            && states().all(|state| matches!(state, State::Barrier(other) if other == place))
        {
            self.interval.set(self.interval.get() + 1);
            self.next_moment();
            self.count_warps();
            self.count(|counters| &mut counters.barriers);
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
