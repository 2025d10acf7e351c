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
    start::<T, N, 1>(to, index, from, source, true);
}

/// [`cp_async`] where `inside` is true; elsewhere a zero arrives, and nothing is read.
///
/// # Safety
/// As [`cp_async`]; where `inside` is false, `source` need not be in range. (The emulator checks.)
#[track_caller]
pub unsafe fn cp_async_or_zero<T: Word, const N: usize>(
    to: SharedArray<T, N>,
    index: usize,
    from: Global<T>,
    source: usize,
    inside: bool,
) {
    start::<T, N, 1>(to, index, from, source, inside);
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
    start::<T, N, 4>(to, index, from, source, true);
}

/// [`cp_async4`] where `inside` is true; elsewhere zeros arrive, and nothing is read.
///
/// # Safety
/// As [`cp_async4`]; where `inside` is false, `source` need not be in range. (The emulator checks.)
#[track_caller]
pub unsafe fn cp_async4_or_zero<T: Word, const N: usize>(
    to: SharedArray<T, N>,
    index: usize,
    from: Global<T>,
    source: usize,
    inside: bool,
) {
    to.aligned("copy", index);
    from.aligned(source);
    start::<T, N, 4>(to, index, from, source, inside);
}

/// Starts one instruction's copies of `ELEMENTS` elements, or of zeros in their places.
#[track_caller]
fn start<T: Word, const N: usize, const ELEMENTS: usize>(
    to: SharedArray<T, N>,
    index: usize,
    from: Global<T>,
    source: usize,
    inside: bool,
) {
    if inside {
        from.count(Instruction::Copy, source, ELEMENTS);
    }
    to.count(Instruction::SharedCopy, index, ELEMENTS);
    for i in 0..ELEMENTS {
        let bits = if inside { from.get(source + i).to_bits() } else { 0 };
        to.access(index + i, Kind::COPY);
        let mut copies = lane().copies.borrow_mut();
        let group = copies.committed;
        let (to, shadow) = (to.pointer(index + i), to.shadow(index + i));
        copies.pending.push(Copy { group, bits, to, shadow });
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
                    SharedElement::arrived(shadow, lane);
                }
            }
        }
        !arrives
    });
}
