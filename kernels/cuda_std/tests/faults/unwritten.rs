//! Reads of memory that nothing has written.

use super::*;

/// This file, for [`at`].
const HERE: (&str, &str) = (file!(), include_str!("unwritten.rs"));

#[kernel(block = [32, 1, 1])]
unsafe fn shared(all: u32) {
    let sums = shared_array![f32; 32]; // sums
    if thread().is_multiple_of(2) || all == 1 {
        sums.write(thread(), 0.0);
    }
    thread::sync_threads();
    sums.read(31 - thread()); // reads sums
}

#[test]
fn shared_memory() {
    let found = text(|emulator| emulator.launch(&SHARED, [2, 1, 1], (0,)));
    let (place, sums) = (at(HERE, "reads sums", "read("), at(HERE, "sums", "shared_array!"));
    assert_eq!(
        found,
        format!(
            "kernel faults::unwritten::shared block (0,0,0) thread (0,0,0) at {place}: shared read of element 31 \
             of the array of {sums}, which nothing has written"
        )
    );
    PARALLEL.launch(&SHARED, [2, 1, 1], (1,)).unwrap();
}

#[test]
fn shared_memory_of_another_block() {
    // The first block writes all; the second must not see what the first has left.
    #[kernel(block = [32, 1, 1])]
    unsafe fn leftover() {
        let left = shared_array![f32; 32]; // left
        if thread::block_idx_x() == 0 {
            left.write(thread(), 0.0);
        }
        left.read(thread()); // reads left
    }
    let found = text(|emulator| emulator.launch(&LEFTOVER, [2, 1, 1], ()));
    let (place, left) = (at(HERE, "reads left", "read("), at(HERE, "left", "shared_array!"));
    assert_eq!(
        found,
        format!(
            "kernel faults::unwritten::leftover block (1,0,0) thread (0,0,0) at {place}: shared read of element 0 of \
             the array of {left}, which nothing has written"
        )
    );
}

#[kernel(block = [32, 1, 1])]
unsafe fn reads(x: Global<f32>, y: GlobalMut<f32>) {
    y.write(thread(), x.read(thread())); // reads x
}

#[kernel(block = [32, 1, 1])]
unsafe fn adds(y: GlobalMut<f32>) {
    y.write(thread(), y.read(thread()) + 1.0); // reads y
}

#[test]
fn global_memory() {
    let found =
        text(|emulator| emulator.launch(&READS, [1, 1, 1], (&emulator.allocate(32)?, &mut counting(32))));
    let place = at(HERE, "reads x", "read(");
    assert_eq!(
        found,
        format!(
            "kernel faults::unwritten::reads block (0,0,0) thread (0,0,0) at {place}: global read of element 0 \
             of `x`, which nothing has written since it was allocated"
        )
    );
    let found = text(|emulator| {
        let mut y = emulator.allocate(32)?;
        emulator.write(&mut y, 0, &[0.0; 7])?;
        emulator.launch(&ADDS, [1, 1, 1], (&mut y,))
    });
    let place = at(HERE, "reads y", "read(");
    assert_eq!(
        found,
        format!(
            "kernel faults::unwritten::adds block (0,0,0) thread (7,0,0) at {place}: global read of element 7 of \
             `y`, which nothing has written since it was allocated"
        )
    );
}

#[test]
fn written_by_a_kernel_or_by_the_host() {
    for emulator in support::emulators() {
        let mut y = emulator.allocate(32).unwrap();
        emulator.launch(&READS, [1, 1, 1], (&counting(32), &mut y)).unwrap();
        emulator.launch(&ADDS, [1, 1, 1], (&mut y,)).unwrap();
        emulator.launch(&READS, [1, 1, 1], (&y, &mut counting(32))).unwrap();
        let mut x = emulator.allocate(32).unwrap();
        emulator.write(&mut x, 0, &[0.0; 16]).unwrap();
        emulator.write(&mut x, 16, &[0.0; 16]).unwrap();
        emulator.launch(&READS, [1, 1, 1], (&x, &mut y)).unwrap();
    }
}
