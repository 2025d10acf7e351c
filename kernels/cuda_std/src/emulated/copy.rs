//! Copies from global to shared memory that run on while the thread does other things.

use super::count::Instruction;
use super::global::Global;
use super::lane::lane;
use super::shadow::Kind;
use super::shared::{SharedArray, SharedElement};
use crate::word::Word;

/// The copies that a thread has not waited for.
#[derive(Default)]
pub(crate) struct Copies {
    pending: Vec<Copy>,
    /// Groups that are closed.
    committed: u32,
}

struct Copy {
    group: u32,
    bits: u32,
    to: *mut u32,
    shadow: Option<*mut SharedElement>,
}

impl Copies {
    /// Forgets them all, for a new block.
    pub fn clear(&mut self) {
        self.pending.clear();
        self.committed = 0;
    }
}

/// Copies one element from global to shared memory. It is there once the thread has waited for it, and for the other
/// threads of the block after a barrier as well; until then nothing may touch it.
///
/// # Safety
/// Both indices are in range, and nothing touches `to[index]` before the copy has been waited for. (The emulator
/// checks.)
#[track_caller]
pub unsafe fn cp_async<T: Word, const N: usize>(
    to: SharedArray<T, N>,
    index: usize,
    from: Global<T>,
    source: usize,
) {
    count(to, index, from, source, 1);
    start(to, index, from, source);
}

/// Counts a copy of so many elements.
#[track_caller]
fn count<T: Word, const N: usize>(
    to: SharedArray<T, N>,
    index: usize,
    from: Global<T>,
    source: usize,
    elements: usize,
) {
    from.count(Instruction::Copy, source, elements);
    to.count(Instruction::SharedCopy, index, elements);
}

/// Starts a copy of one element.
#[track_caller]
fn start<T: Word, const N: usize>(to: SharedArray<T, N>, index: usize, from: Global<T>, source: usize) {
    let value = from.get(source);
    to.access(index, Kind::COPY);
    let mut copies = lane().copies.borrow_mut();
    let group = copies.committed;
    copies.pending.push(Copy {
        group,
        bits: value.to_bits(),
        to: to.pointer(index),
        shadow: to.shadow(index),
    });
}

/// [`cp_async`] of four elements in one instruction.
///
/// # Safety
/// As [`cp_async`] for each; both indices are multiples of 4. (The emulator checks.)
#[track_caller]
pub unsafe fn cp_async4<T: Word, const N: usize>(
    to: SharedArray<T, N>,
    index: usize,
    from: Global<T>,
    source: usize,
) {
    to.aligned("copy", index);
    from.aligned(source);
    count(to, index, from, source, 4);
    for i in 0..4 {
        start(to, index + i, from, source + i);
    }
}

/// Closes a group: the copies that this thread has started since the last.
pub fn cp_async_commit() {
    lane().copies.borrow_mut().committed += 1;
}

/// Waits until no more than the latest `N` closed groups of this thread are under way.
pub fn cp_async_wait_group<const N: u32>() {
    let committed = lane().copies.borrow().committed;
    wait_before(committed.saturating_sub(N));
}

/// Waits for all copies that this thread has started.
pub fn cp_async_wait_all() {
    cp_async_commit();
    cp_async_wait_group::<0>();
}

/// Lets the copies of the groups before `group` arrive.
fn wait_before(group: u32) {
    let lane = lane();
    lane.copies.borrow_mut().pending.retain(|copy| {
        let arrives = copy.group < group;
        if arrives {
            // SAFETY: the element is in range, as `cp_async` has checked, and its array lives as long as the block.
            unsafe {
                copy.to.write(copy.bits);
                if let Some(shadow) = copy.shadow {
                    (*shadow).arrived(lane);
                }
            }
        }
        !arrives
    });
}
