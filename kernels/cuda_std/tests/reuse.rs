//! What a launch leaves behind is nothing to the next. One test, so that no other takes turns with it.

use cuda_std::{Emulator, Order, prelude::*, warp::FULL_MASK};

#[kernel(block = [32, 1, 1])]
unsafe fn meets_often() {
    for _ in 0..10 {
        warp::sync_warp(FULL_MASK);
    }
}

#[kernel(block = [1, 1, 1])]
unsafe fn small() {}

/// Thread 0 reads what thread 1 writes.
#[kernel(block = [32, 1, 1])]
unsafe fn race() {
    let value = shared_array![u32; 1];
    match thread::thread_idx_x() {
        0 => {
            value.read(0);
        }
        1 => value.write(0, 1),
        _ => {}
    }
}

#[test]
fn threads_of_other_launches_are_forgotten() {
    let emulator = Emulator { order: Order::Backward, serial: true, ..Emulator::default() };
    emulator.launch(&MEETS_OFTEN, [1, 1, 1], ()).unwrap();
    emulator.launch(&SMALL, [1, 1, 1], ()).unwrap();
    let fault = emulator.launch(&RACE, [1, 1, 1], ()).unwrap_err();
    assert!(fault.to_string().contains("race: shared read of element 0"), "{fault}");
}
