//! What a launch does, counted as the hardware would.
//!
//! | file | what it holds |
//! |---|---|
//! | `counters` | the counts, and what can be derived from them |
//! | `device` | the emulator as a device that counts |
//! | `trace` | from what each lane did to what its warp did |
//! | `tally` | from a warp's requests to counts |

mod counters;
mod device;
mod tally;
mod trace;

pub use counters::{Counters, GlobalRequests, SharedRequests};
pub use device::CountingEmulator;
pub(crate) use tally::Tally;
pub(crate) use trace::{Access, Instruction};

use std::cell::Cell;
use std::panic::Location;

use super::lane::lane;

thread_local! {
    static COUNTING: Cell<bool> = const { Cell::new(false) };
}

/// Whether the kernels that run on this CPU thread from now on are counted.
pub(crate) fn set_counting(counting: bool) {
    COUNTING.set(counting);
}

/// Adds one to a count of operations of single threads, if the kernel that runs is counted.
#[inline]
pub(crate) fn count_operation(which: fn(&mut Counters) -> &mut u64) {
    if COUNTING.get() {
        add_operation(which);
    }
}

#[cold]
#[inline(never)]
fn add_operation(which: fn(&mut Counters) -> &mut u64) {
    lane().block().count(which);
}

/// Notes an access of the running thread, for a kernel that is counted.
#[cold]
#[inline(never)]
#[track_caller]
pub(crate) fn record(instruction: Instruction, object: usize, offset: usize, bytes: usize) {
    let access = Access { instruction, bytes: bytes as u32, place: Location::caller(), object, offset };
    lane().trace.borrow_mut().push(access);
}
