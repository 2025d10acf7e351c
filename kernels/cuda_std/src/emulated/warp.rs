//! The 32 threads that run together. All operations are made from one: every lane brings a value, and the last to
//! come works out every lane's answer.
//!
//! `mask` has a bit for each lane that takes part: all of them must come, to the same place in the source, with the
//! same mask. Lanes that the block does not have, because it is no multiple of 32, are left out.

use std::any::TypeId;
use std::cell::RefCell;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::panic::Location;

use super::count::{Access, Counters, Instruction};
use super::fault::fault;
use super::lane::{Lane, State, lane};
use super::release::{Known, join};
use super::warpgroup::Products;
use crate::word::Word;

pub use super::matrix::{
    ldmatrix_x1, ldmatrix_x1_transposed, ldmatrix_x2, ldmatrix_x2_transposed, ldmatrix_x4,
    ldmatrix_x4_transposed, mma_m16n8k8, mma_m16n8k16_bf16,
};

/// The operations of a warp that are under way.
#[derive(Default)]
pub(crate) struct Warp {
    /// The lanes that the block has.
    launched: u32,
    meetings: RefCell<Vec<Meeting>>,
    /// Those with other warps of a warpgroup.
    pub products: RefCell<Products>,
}

struct Meeting {
    what: &'static str,
    place: &'static Location<'static>,
    types: TypeId,
    members: u32,
    arrived: u32,
    inputs: [*const (); 32],
    outputs: [*mut (); 32],
}

impl Warp {
    /// The lanes that the block has.
    pub fn launched(&self) -> u32 {
        self.launched
    }

    /// Begins a block with this many threads from the warp's first on.
    pub fn reset(&mut self, threads: u16) {
        self.launched = if threads >= 32 { u32::MAX } else { (1 << threads) - 1 };
        self.meetings.get_mut().clear();
        self.products.take();
    }
}

/// What the lanes of an operation have brought.
pub(crate) struct Inputs<'a, I> {
    members: u32,
    pointers: [*const (); 32],
    values: PhantomData<&'a I>,
}

impl<I: Copy> Inputs<'_, I> {
    /// What a lane has brought, if it takes part.
    #[inline]
    pub fn get(&self, lane: u32) -> Option<I> {
        // SAFETY: a member has left a pointer to its value, and waits until it has its answer.
        ((self.members >> lane) & 1 == 1).then(|| unsafe { *self.pointers[lane as usize].cast::<I>() })
    }
}

/// Waits for all lanes of `mask`; gives each what `answer` says for it. `meet` is called when all are there.
#[track_caller]
pub(crate) fn collective<I: Copy + 'static, O: Copy + 'static>(
    what: &'static str,
    mask: u32,
    input: I,
    meet: impl FnOnce(&Lane, u32),
    answer: impl Fn(u32, &Inputs<'_, I>) -> O,
) -> O {
    let place = Location::caller();
    let lane = lane();
    let warp = lane.warp();
    let me = u32::from(lane.thread % 32);
    let members = mask & warp.launched;
    if (members >> me) & 1 == 0 {
        fault(format!("{what} with mask {mask:#010x}, which leaves out the calling lane {me}"));
    }
    let types = TypeId::of::<(I, O)>();
    let mut output = MaybeUninit::<O>::uninit();

    let mut meetings = warp.meetings.borrow_mut();
    let index = match meetings.iter().position(|meeting| meeting.members & members != 0) {
        Some(index) => {
            let meeting = &meetings[index];
            if meeting.members != members
                || meeting.place != place
                || meeting.what != what
                || meeting.types != types
            {
                let other = meeting.arrived.trailing_zeros();
                let text = format!(
                    "{what} of lanes {members:#010x}, but lane {other} waits in {} of lanes {:#010x} at {}",
                    meeting.what, meeting.members, meeting.place
                );
                drop(meetings);
                fault(text);
            }
            index
        }
        None => {
            meetings.push(Meeting {
                what,
                place,
                types,
                members,
                arrived: 0,
                inputs: [std::ptr::null(); 32],
                outputs: [std::ptr::null_mut(); 32],
            });
            meetings.len() - 1
        }
    };
    let meeting = &mut meetings[index];
    meeting.arrived |= 1 << me;
    meeting.inputs[me as usize] = (&raw const input).cast();
    meeting.outputs[me as usize] = output.as_mut_ptr().cast();
    if meeting.arrived != members {
        drop(meetings);
        lane.wait(State::Collective(what, place));
    } else {
        let meeting = meetings.swap_remove(index);
        drop(meetings);
        meet(lane, members);
        count_meeting(lane, members, place);
        let inputs = Inputs { members, pointers: meeting.inputs, values: PhantomData };
        for other in lanes_of(members) {
            let answer = answer(other, &inputs);
            // SAFETY: a member has left a pointer to where it wants an answer of this type, and waits for it.
            unsafe { meeting.outputs[other as usize].cast::<O>().write(answer) };
            neighbour(lane, other).state.set(State::Ready);
        }
    }
    // SAFETY: the last to come has written it, before anyone gets here.
    unsafe { output.assume_init() }
}

/// Counts what the lanes have done up to here, or notes that some of them met.
fn count_meeting(lane: &Lane, members: u32, place: &'static Location<'static>) {
    let block = lane.block();
    if !block.launch().counts() {
        return;
    }
    if members == lane.warp().launched {
        let first = usize::from(lane.thread / 32 * 32);
        block.count_warp(&block.lanes[first..block.lanes.len().min(first + 32)]);
        return;
    }
    let object = block.next_meeting();
    for other in lanes_of(members) {
        let meeting = Access { instruction: Instruction::Meeting, bytes: 0, place, object, offset: 0 };
        neighbour(lane, other).trace.borrow_mut().push(meeting);
    }
}

fn lanes_of(mask: u32) -> impl Iterator<Item = u32> {
    (0..32).filter(move |lane| (mask >> lane) & 1 == 1)
}

/// Another lane of the same warp.
fn neighbour(lane: &Lane, other: u32) -> &Lane {
    &lane.block().lanes[usize::from(lane.thread / 32 * 32) + other as usize]
}

/// This thread's place in its warp, 0 to 31.
#[inline]
pub fn lane_id() -> u32 {
    u32::from(lane().thread % 32)
}

/// This thread's warp in its block. Threads are numbered along x first, then y, then z.
#[inline]
pub fn warp_id() -> u32 {
    u32::from(lane().thread / 32)
}

/// Waits for the lanes of `mask`. What they read and wrote before is ordered before what any of them does after.
#[track_caller]
pub fn sync_warp(mask: u32) {
    collective("sync_warp", mask, (), order, |_, _| ());
}

/// Notes that some lanes have synchronised: each knows now what any of them knew.
fn order(lane: &Lane, members: u32) {
    lane.block().count(|counters| &mut counters.warp_barriers);
    lane.block().next_moment();
    let mut seen = [0; 32];
    let mut known = Known::new();
    for other in lanes_of(members) {
        let other = neighbour(lane, other);
        for (seen, other) in seen.iter_mut().zip(other.seen.get()) {
            *seen = other.max(*seen);
        }
        join(&mut known, &other.known.borrow());
    }
    for other in lanes_of(members) {
        let stamp = &neighbour(lane, other).stamp;
        seen[other as usize] = stamp.get();
        stamp.set(stamp.get() + 1);
    }
    for other in lanes_of(members) {
        let other = neighbour(lane, other);
        other.seen.set(seen);
        if !known.is_empty() {
            other.known.replace(known.clone());
        }
    }
}

/// Other operations order no memory: they are counted, that is all.
pub(crate) fn count(which: fn(&mut Counters) -> &mut u64) -> impl FnOnce(&Lane, u32) {
    move |lane, _| lane.block().count(which)
}

#[track_caller]
fn shuffle<T: Word>(what: &'static str, mask: u32, value: T, source: u32) -> T {
    // Each lane says whose value it takes, and finds out itself if there is none: the fault names the right thread.
    let bits = collective(
        what,
        mask,
        (value.to_bits(), source),
        count(|counters| &mut counters.shuffles),
        |lane, values| {
            let (_, source) = values.get(lane)?;
            values.get(source).map(|(bits, _)| bits)
        },
    );
    match bits {
        Some(bits) => T::from_bits(bits),
        None => fault(format!(
            "{what} takes the value of lane {source}, which mask {mask:#010x} leaves out or the block does not have"
        )),
    }
}

/// The value of the lane `delta` above this; this lane's own if there is none.
#[track_caller]
pub fn shuffle_down<T: Word>(mask: u32, value: T, delta: u32) -> T {
    let lane = lane_id();
    shuffle("shuffle_down", mask, value, if delta < 32 - lane { lane + delta } else { lane })
}

/// The value of the lane `delta` below this; this lane's own if there is none.
#[track_caller]
pub fn shuffle_up<T: Word>(mask: u32, value: T, delta: u32) -> T {
    let lane = lane_id();
    shuffle("shuffle_up", mask, value, lane.checked_sub(delta).unwrap_or(lane))
}

/// The value of the lane whose number is this lane's with `bits` (0 to 31) flipped.
#[track_caller]
pub fn shuffle_xor<T: Word>(mask: u32, value: T, bits: u32) -> T {
    shuffle("shuffle_xor", mask, value, lane_id() ^ (bits % 32))
}

/// The value of lane `source % 32`.
#[track_caller]
pub fn shuffle_idx<T: Word>(mask: u32, value: T, source: u32) -> T {
    shuffle("shuffle_idx", mask, value, source % 32)
}

/// The votes of the lanes of `mask`, lane 0 in bit 0; zeros for the others.
#[track_caller]
pub fn ballot(mask: u32, vote: bool) -> u32 {
    vote_of("ballot", mask, vote)
}

/// Whether all lanes of `mask` vote yes.
#[track_caller]
pub fn all(mask: u32, vote: bool) -> bool {
    vote_of("all", mask, !vote) == 0
}

/// Whether any lane of `mask` votes yes.
#[track_caller]
pub fn any(mask: u32, vote: bool) -> bool {
    vote_of("any", mask, vote) != 0
}

#[track_caller]
fn vote_of(what: &'static str, mask: u32, vote: bool) -> u32 {
    collective(what, mask, vote, count(|counters| &mut counters.votes), |_, votes| {
        lanes_of(u32::MAX)
            .filter(|&lane| votes.get(lane) == Some(true))
            .fold(0, |bits, lane| bits | (1 << lane))
    })
}
