//! Threads that wait for what does not come.

use super::*;

/// This file, for [`at`].
const HERE: (&str, &str) = (file!(), include_str!("spinning.rs"));

#[kernel(block = [32, 1, 1])]
unsafe fn waits_for_a_flag(flag: GlobalMut<u32>) {
    if thread() == 3 || thread() == 5 {
        while flag.load_acquire(1) == 0 {} // waits
    }
    thread::sync_threads();
}

#[test]
fn for_what_never_comes() {
    let found = text(|emulator| emulator.launch(&WAITS_FOR_A_FLAG, [1, 1, 1], (&mut zeros(2),)));
    let place = at(HERE, "waits", "load_acquire(");
    assert_eq!(
        found,
        format!(
            "kernel faults::spinning::waits_for_a_flag block (0,0,0) thread (3,0,0) at {place}: spins on element \
             1 of `flag`, which stays 0; so do 1 more threads of the block: no thread of the block will change \
             it, and other blocks need not run at the same time; for a kernel whose blocks wait for each other \
             say `#[kernel(…, cooperative)]`"
        )
    );
}

/// Block 0 waits for block 1.
unsafe fn wait_for_the_next(flag: GlobalMut<u32>) {
    // SAFETY: in range.
    unsafe {
        if thread::block_idx_x() == 0 {
            while flag.load_acquire(0) == 0 {} // waits for the next block
        } else {
            flag.store_release(0, 1);
        }
    }
}

#[kernel(block = [1, 1, 1])]
unsafe fn ordinary(flag: GlobalMut<u32>) {
    wait_for_the_next(flag);
}

#[kernel(block = [1, 1, 1], cooperative)]
unsafe fn cooperating(flag: GlobalMut<u32>) {
    wait_for_the_next(flag);
}

#[test]
fn for_a_block_that_has_not_run() {
    let serial = Emulator { serial: true, ..PARALLEL };
    let place = at(HERE, "waits for the next block", "load_acquire(");
    assert_eq!(
        serial.launch(&ORDINARY, [2, 1, 1], (&mut zeros(1),)).unwrap_err().to_string(),
        format!(
            "kernel faults::spinning::ordinary block (0,0,0) thread (0,0,0) at {place}: spins on element 0 of \
             `flag`, which stays 0: no thread of the block will change it, and other blocks need not run at the \
             same time; for a kernel whose blocks wait for each other say `#[kernel(…, cooperative)]`"
        )
    );
    for emulator in support::emulators() {
        emulator.launch(&COOPERATING, [2, 1, 1], (&mut zeros(1),)).unwrap();
    }
    assert_eq!(
        PARALLEL.launch(&COOPERATING, [1, 1, 1], (&mut zeros(1),)).unwrap_err().to_string(),
        format!(
            "kernel faults::spinning::cooperating block (0,0,0) thread (0,0,0) at {place}: spins on element 0 of \
             `flag`, which stays 0: no thread of the grid will change it"
        )
    );
}

#[kernel(block = [64, 1, 1])]
unsafe fn spins_on_shared_memory() {
    let flag = shared_array![u32; 1];
    if thread() == 0 {
        flag.write(0, 0);
    }
    thread::sync_threads();
    while flag.read(0) == 0 {} // looks at shared memory
}

#[kernel(block = [1, 1, 1])]
unsafe fn spins_on_global_memory(flag: GlobalMut<u32>) {
    while flag.read(0) == 0 {} // looks at global memory
}

#[kernel(block = [1, 1, 1])]
unsafe fn reads_much(n: u32, x: GlobalMut<u32>, y: GlobalMut<u32>) {
    let mut sum = 0;
    for _ in 0..n {
        for i in 0..2048 {
            sum += x.read(i);
        }
    }
    y.write(0, sum);
}

#[test]
fn with_reads_that_are_not_atomic() {
    let serial = Emulator { serial: true, ..PARALLEL };
    let what = "spins on reads that are not atomic, whose values stay the same";
    let remedy = "no thread of the block will change it, and other blocks need not run at the same time; for a kernel \
                  whose blocks wait for each other say `#[kernel(…, cooperative)]`";
    let place = at(HERE, "looks at global memory", "read(");
    assert_eq!(
        serial.launch(&SPINS_ON_GLOBAL_MEMORY, [1, 1, 1], (&mut zeros(1),)).unwrap_err().to_string(),
        format!(
            "kernel faults::spinning::spins_on_global_memory block (0,0,0) thread (0,0,0) at {place}: {what}: {remedy}"
        )
    );
    let place = at(HERE, "looks at shared memory", "read(");
    let fault = serial.launch(&SPINS_ON_SHARED_MEMORY, [1, 1, 1], ()).unwrap_err().to_string();
    assert_eq!(
        fault,
        format!(
            "kernel faults::spinning::spins_on_shared_memory block (0,0,0) thread (0,0,0) at {place}: {what}; so do \
             63 more threads of the block: {remedy}"
        )
    );
    let mut y = zeros(1);
    serial.launch(&READS_MUCH, [1, 1, 1], (4096, &mut serial.upload(&[1; 2048]).unwrap(), &mut y)).unwrap();
    assert_eq!(serial.download(&y).unwrap(), [1 << 23]);
}
