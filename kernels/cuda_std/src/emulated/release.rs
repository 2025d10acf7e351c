//! What release and acquire order: which accesses of one block are visible to another.
//!
//! A release leaves an entry in the log of the element that it wrote: all that its thread knows to be done. An
//! acquire of the same element makes the acquiring thread know what the log says so far. Barriers spread what one
//! thread knows over its block (or warp).
//!
//! Two approximations, both on the side of fewer reports: an acquire is taken to synchronise with every earlier
//! release of that element, whichever value it read; and what a thread does after a release, before the next
//! barrier, counts as done before it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::lane::Lane;
use super::shadow::Access;

/// The elements that were acquired, each with the length its log had.
pub(crate) type Known = Vec<(usize, usize)>;

/// Adds what `other` knows to `known`.
pub(crate) fn join(known: &mut Known, other: &Known) {
    for &(element, length) in other {
        match known.iter_mut().find(|(there, _)| *there == element) {
            Some((_, known)) => *known = length.max(*known),
            None => known.push((element, length)),
        }
    }
}

/// The releases of one launch.
#[derive(Default)]
pub(crate) struct Releases {
    any: AtomicBool,
    logs: Mutex<HashMap<usize, Log>>,
}

/// The releases of one element, in order.
#[derive(Default)]
struct Log {
    /// After each release: what is known to whoever acquires it.
    known: Vec<Known>,
    /// The releases of each block, with their places in the log.
    blocks: HashMap<u32, Vec<(usize, Released)>>,
}

/// A point in the life of a thread.
struct Released {
    interval: u32,
    thread: u16,
    /// The stamps up to which the other threads of its warp are known to have come.
    warp: [u32; 32],
}

impl Releases {
    /// Runs `operation` on the element at an address, as an acquire, a release, or both.
    pub fn synchronise<R>(
        &self,
        lane: &Lane,
        address: usize,
        acquire: bool,
        release: bool,
        operation: impl FnOnce() -> R,
    ) -> R {
        self.any.store(true, Ordering::Relaxed);
        let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        let result = operation();
        let log = logs.entry(address).or_default();
        let mut known = lane.known.borrow_mut();
        if acquire && let Some(last) = log.known.last() {
            join(&mut known, last);
            join(&mut known, &vec![(address, log.known.len())]);
        }
        if release {
            let mut all = log.known.last().cloned().unwrap_or_default();
            join(&mut all, &known);
            join(&mut all, &lane.block().known.borrow());
            let released = Released {
                interval: lane.block().interval.get(),
                thread: lane.thread,
                warp: lane.seen.get(),
            };
            log.blocks.entry(lane.block().number).or_default().push((log.known.len(), released));
            log.known.push(all);
        }
        result
    }

    /// Whether `lane` has acquired a release that came after `access`.
    #[cold]
    pub fn cover(&self, access: &Access, lane: &Lane) -> bool {
        if !self.any.load(Ordering::Relaxed) {
            return false;
        }
        let logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        let covers = |known: &Known| {
            known.iter().any(|&(element, length)| {
                let releases = logs.get(&element).and_then(|log| log.blocks.get(&access.block));
                releases.is_some_and(|releases| {
                    releases.iter().rev().any(|(place, released)| *place < length && released.covers(access))
                })
            })
        };
        covers(&lane.known.borrow()) || covers(&lane.block().known.borrow())
    }
}

impl Released {
    /// Whether `access`, of the same block, was before this.
    fn covers(&self, access: &Access) -> bool {
        let thread = access.thread();
        access.interval < self.interval
            || (access.interval == self.interval
                && (thread == self.thread
                    || (thread / 32 == self.thread / 32
                        && self.warp[usize::from(thread % 32)] >= access.stamp)))
    }
}
