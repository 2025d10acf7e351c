//! Races in global memory.

use super::*;

/// This file, for [`at`].
const HERE: (&str, &str) = (file!(), include_str!("global_races.rs"));

#[kernel(block = [32, 1, 1])]
unsafe fn same_output(stride: u32, y: GlobalMut<f32>) {
    y.write(thread() + (thread::block_idx_x() * stride) as usize, 1.0); // overlapping write
}

#[test]
fn two_blocks_write() {
    let found = text(|emulator| emulator.launch(&SAME_OUTPUT, [3, 1, 1], (31, &mut counting(96))));
    let place = at(HERE, "overlapping write", "write(");
    assert_eq!(
        found,
        format!(
            "kernel faults::global_races::same_output block (1,0,0) thread (0,0,0) at {place}: race: global write \
             of element 31 of `y`, which thread (31,0,0) of block (0,0,0) wrote at {place} and nothing orders the \
             two blocks"
        )
    );
    for emulator in support::emulators() {
        emulator.launch(&SAME_OUTPUT, [3, 1, 1], (31, &mut counting(96))).unwrap_err();
        emulator.launch(&SAME_OUTPUT, [3, 1, 1], (32, &mut counting(96))).unwrap();
    }
}

#[kernel(block = [32, 1, 1])]
unsafe fn in_place(y: GlobalMut<f32>) {
    let value = y.read((global() + 32) % 64); // in place read
    y.write(global(), value); // in place write
}

#[test]
fn one_block_reads_what_another_writes() {
    let found = text(|emulator| emulator.launch(&IN_PLACE, [2, 1, 1], (&mut counting(64),)));
    let (read, write) = (at(HERE, "in place read", "read("), at(HERE, "in place write", "write("));
    assert_eq!(
        found,
        format!(
            "kernel faults::global_races::in_place block (1,0,0) thread (0,0,0) at {read}: race: global read of \
             element 0 of `y`, which thread (0,0,0) of block (0,0,0) wrote at {write} and nothing orders the two \
             blocks"
        )
    );
    for emulator in support::emulators() {
        emulator.launch(&IN_PLACE, [2, 1, 1], (&mut counting(64),)).unwrap_err();
    }
}

#[kernel(block = [64, 1, 1])]
unsafe fn within_block(barrier: u32, y: GlobalMut<f32>) {
    y.write(global(), 1.0); // block write
    if barrier == 1 {
        thread::sync_threads();
    }
    y.read(global() ^ 63); // block read
}

#[test]
fn two_threads_of_a_block() {
    let found = text(|emulator| emulator.launch(&WITHIN_BLOCK, [2, 1, 1], (0, &mut counting(128))));
    let (read, write) = (at(HERE, "block read", "read("), at(HERE, "block write", "write("));
    assert_eq!(
        found,
        format!(
            "kernel faults::global_races::within_block block (0,0,0) thread (32,0,0) at {write}: race: global \
             write of element 32 of `y`, which thread (31,0,0) read at {read} with no barrier in between"
        )
    );
    for emulator in support::emulators() {
        emulator.launch(&WITHIN_BLOCK, [2, 1, 1], (1, &mut counting(128))).unwrap();
    }
}

#[kernel(block = [32, 1, 1])]
unsafe fn unordered_sum(y: GlobalMut<u32>, total: GlobalMut<u32>) {
    total.atomic_add(0, 1); // atomic sum
    if global() == 40 {
        y.write(0, total.read(0)); // plain look
    }
}

#[test]
fn an_atomic_and_a_plain_access() {
    let found = text(|emulator| emulator.launch(&UNORDERED_SUM, [2, 1, 1], (&mut zeros(1), &mut zeros(1))));
    let (read, add) = (at(HERE, "plain look", "read("), at(HERE, "atomic sum", "atomic_add("));
    assert_eq!(
        found,
        format!(
            "kernel faults::global_races::unordered_sum block (1,0,0) thread (8,0,0) at {read}: race: global read \
             of element 0 of `total`, which thread (0,0,0) of block (0,0,0) accessed atomically at {add} and \
             nothing orders the two blocks"
        )
    );
}

#[test]
fn launches_are_ordered() {
    for emulator in support::emulators() {
        let mut y = counting(128);
        emulator.launch(&SAME_OUTPUT, [2, 1, 1], (32, &mut y)).unwrap();
        emulator.launch(&SAME_OUTPUT, [2, 1, 1], (64, &mut y)).unwrap();
        emulator.launch(&WITHIN_BLOCK, [2, 1, 1], (1, &mut y)).unwrap();
    }
}
