//! Threads that do not all come to where they must meet, or do not agree on who takes part.

use super::*;

/// This file, for [`at`].
const HERE: (&str, &str) = (file!(), include_str!("meetings.rs"));

#[kernel(block = [64, 1, 1])]
unsafe fn some_return(n: u32) {
    if thread() < n as usize {
        thread::sync_threads(); // some wait
    }
}

#[test]
fn at_a_barrier() {
    let found = text(|emulator| emulator.launch(&SOME_RETURN, [1, 2, 1], (40,)));
    let place = at(HERE, "some wait", "thread::sync_threads(");
    assert_eq!(
        found,
        format!(
            "kernel faults::meetings::some_return block (0,0,0): the threads diverged: threads 0-39 wait in \
             sync_threads at {place}; threads 40-63 have returned"
        )
    );
    PARALLEL.launch(&SOME_RETURN, [1, 2, 1], (64,)).unwrap();
    PARALLEL.launch(&SOME_RETURN, [1, 2, 1], (0,)).unwrap();
}

#[kernel(block = [64, 1, 1])]
unsafe fn two_barriers() {
    if thread().is_multiple_of(8) {
        thread::sync_threads(); // one barrier
    } else {
        thread::sync_threads(); // another barrier
    }
}

#[test]
fn at_two_barriers() {
    let found = text(|emulator| emulator.launch(&TWO_BARRIERS, [1, 1, 1], ()));
    let call = "thread::sync_threads(";
    let (one, another) = (at(HERE, "one barrier", call), at(HERE, "another barrier", call));
    assert_eq!(
        found,
        format!(
            "kernel faults::meetings::two_barriers block (0,0,0): the threads diverged: threads \
             0,8,16,24,32,40,… wait in sync_threads at {one}; threads 1-7,9-15,17-23,25-31,33-39,41-47,… wait in \
             sync_threads at {another}"
        )
    );
}

#[kernel(block = [64, 1, 1])]
unsafe fn shuffle_of_some(n: u32) {
    if thread() != n as usize {
        warp::shuffle_down(warp::FULL_MASK, 1.0, 1); // some shuffle
    }
}

#[test]
fn at_a_shuffle() {
    let found = text(|emulator| emulator.launch(&SHUFFLE_OF_SOME, [1, 1, 1], (5,)));
    let place = at(HERE, "some shuffle", "warp::shuffle_down(");
    assert_eq!(
        found,
        format!(
            "kernel faults::meetings::shuffle_of_some block (0,0,0): the threads diverged: threads 0-4,6-31 \
             wait in shuffle_down at {place}; threads 5,32-63 have returned"
        )
    );
    PARALLEL.launch(&SHUFFLE_OF_SOME, [1, 1, 1], (64,)).unwrap();
}

#[kernel(block = [32, 1, 1])]
unsafe fn leaves_out(mask: u32) {
    warp::ballot(mask, true); // ballot
}

#[test]
fn the_calling_lane_is_left_out() {
    let found = text(|emulator| emulator.launch(&LEAVES_OUT, [1, 1, 1], (0x7fff_ffff,)));
    let place = at(HERE, "ballot", "warp::ballot(");
    assert_eq!(
        found,
        format!(
            "kernel faults::meetings::leaves_out block (0,0,0) thread (31,0,0) at {place}: ballot with mask \
             0x7fffffff, which leaves out the calling lane 31"
        )
    );
}

#[kernel(block = [32, 1, 1])]
unsafe fn two_masks() {
    if thread() < 16 {
        warp::sync_warp(0x0001_ffff); // first mask
    } else {
        warp::sync_warp(0xffff_0000); // second mask
    }
}

#[test]
fn two_lanes_with_different_masks() {
    let found = text(|emulator| emulator.launch(&TWO_MASKS, [1, 1, 1], ()));
    let (first, second) =
        (at(HERE, "first mask", "warp::sync_warp("), at(HERE, "second mask", "warp::sync_warp("));
    assert_eq!(
        found,
        format!(
            "kernel faults::meetings::two_masks block (0,0,0) thread (16,0,0) at {second}: sync_warp of lanes \
             0xffff0000, but lane 0 waits in sync_warp of lanes 0x0001ffff at {first}"
        )
    );
}

#[kernel(block = [32, 1, 1])]
unsafe fn two_operations() {
    if thread() < 16 {
        warp::shuffle_down(warp::FULL_MASK, 1.0, 1); // down
    } else {
        warp::shuffle_xor(warp::FULL_MASK, 1.0, 1); // xor
    }
}

#[test]
fn two_lanes_in_different_operations() {
    let found = text(|emulator| emulator.launch(&TWO_OPERATIONS, [1, 1, 1], ()));
    let (down, xor) = (at(HERE, "down", "warp::shuffle_down("), at(HERE, "xor", "warp::shuffle_xor("));
    assert_eq!(
        found,
        format!(
            "kernel faults::meetings::two_operations block (0,0,0) thread (16,0,0) at {xor}: shuffle_xor of lanes \
             0xffffffff, but lane 0 waits in shuffle_down of lanes 0xffffffff at {down}"
        )
    );
}

#[kernel(block = [48, 1, 1])]
unsafe fn from_nowhere(delta: u32) {
    warp::shuffle_down(warp::FULL_MASK, 1.0, delta); // from nowhere
}

#[test]
fn a_value_of_a_lane_that_takes_no_part() {
    let found = text(|emulator| emulator.launch(&FROM_NOWHERE, [1, 1, 1], (8,)));
    let place = at(HERE, "from nowhere", "warp::shuffle_down(");
    assert_eq!(
        found,
        format!(
            "kernel faults::meetings::from_nowhere block (0,0,0) thread (47,0,0) at {place}: shuffle_down takes the \
             value of lane 23, which mask 0xffffffff leaves out or the block does not have"
        )
    );
    PARALLEL.launch(&FROM_NOWHERE, [1, 1, 1], (0,)).unwrap();
}

#[kernel(block = [16, 1, 1])]
unsafe fn short_warp() {
    warp::mma_m16n8k8([0.0; 4], [0.0; 2], [0.0; 4]); // short warp
}

#[test]
fn tensor_cores_need_a_whole_warp() {
    let found = text(|emulator| emulator.launch(&SHORT_WARP, [1, 1, 1], ()));
    let place = at(HERE, "short warp", "warp::mma_m16n8k8(");
    assert_eq!(
        found,
        format!(
            "kernel faults::meetings::short_warp block (0,0,0) thread (0,0,0) at {place}: mma_m16n8k8 in a warp of \
             fewer than 32 threads"
        )
    );
}
