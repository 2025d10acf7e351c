//! Panics in kernels, launches that are refused, and what the host does wrong.

use super::*;

/// This file, for [`at`].
const HERE: (&str, &str) = (file!(), include_str!("host.rs"));

#[kernel(block = [32, 1, 1])]
unsafe fn divides(d: u32, y: GlobalMut<u32>) {
    thread::sync_threads();
    y.write(thread(), 100 / (thread::thread_idx_x().abs_diff(d))); // divides
}

#[test]
fn become_faults() {
    let found = text(|emulator| emulator.launch(&DIVIDES, [1, 1, 1], (7, &mut zeros(32))));
    let place = at(HERE, "divides", "100 / ");
    assert_eq!(
        found,
        format!(
            "kernel faults::host::divides block (0,0,0) thread (7,0,0) at {place}: panicked: attempt to divide \
             by zero"
        )
    );
    PARALLEL.launch(&DIVIDES, [1, 1, 1], (32, &mut zeros(32))).unwrap();
}

#[kernel(block = [32, 1, 1])]
unsafe fn nothing() {}

#[test]
fn too_large_a_grid() {
    for (grid, what) in [
        (
            [1, 65536, 1],
            "a grid of (1,65536,1) blocks; a GPU runs at most (2147483647,65535,65535): give each thread more to do",
        ),
        (
            [1, 1, 65536],
            "a grid of (1,1,65536) blocks; a GPU runs at most (2147483647,65535,65535): give each thread more to do",
        ),
        (
            [1 << 31, 1, 1],
            "a grid of (2147483648,1,1) blocks; a GPU runs at most (2147483647,65535,65535): give each thread more to do",
        ),
        (
            [1 << 20, 1 << 12, 1],
            "a grid of (1048576,4096,1) blocks is too large to emulate: use smaller data",
        ),
    ] {
        assert_eq!(
            text(|emulator| emulator.launch(&NOTHING, grid, ())),
            format!("cannot launch kernel faults::host::nothing: {what}")
        );
    }
}

#[test]
fn too_large_a_block() {
    // What `#[kernel]` does not let pass.
    let kernel = cuda_std::Kernel::new("by_hand", "by_hand", [64, 32, 1], |_: &()| ());
    assert_eq!(
        text(|emulator| emulator.launch(&kernel, [1, 1, 1], ())),
        "cannot launch kernel by_hand: a block of (64,32,1) threads; a GPU runs 1 to 1024, at most 64 of them \
         along z"
    );
}

#[test]
fn an_empty_grid_does_nothing() {
    for grid in [[0, 1, 1], [1, 0, 1], [1, 1, 0], [0, u32::MAX, u32::MAX]] {
        PARALLEL.launch(&NOTHING, grid, ()).unwrap();
    }
}

#[kernel(block = [1, 1, 1])]
unsafe fn much_shared_memory(more: u32) {
    shared_array![f32; 12 * 1024];
    if more == 1 {
        shared_array![u32; 1]; // one more
    }
}

#[test]
fn too_much_shared_memory() {
    let found = text(|emulator| emulator.launch(&MUCH_SHARED_MEMORY, [1, 1, 1], (1,)));
    let place = at(HERE, "one more", "shared_array!");
    assert_eq!(
        found,
        format!(
            "kernel faults::host::much_shared_memory block (0,0,0) thread (0,0,0) at {place}: the block's \
             shared arrays take 49168 bytes with this one; a block may have 49152: use smaller tiles"
        )
    );
    PARALLEL.launch(&MUCH_SHARED_MEMORY, [1, 1, 1], (0,)).unwrap();
}

#[kernel(block = [1024, 1, 1], cooperative)]
unsafe fn cooperates() {}

#[test]
fn too_many_resident_threads() {
    assert_eq!(
        text(|emulator| emulator.launch(&COOPERATES, [17, 1, 1], ())),
        "cannot launch kernel faults::host::cooperates: a cooperative grid of 17 blocks of 1024 threads; the \
         emulator keeps at most 16384 threads resident: let each thread do more"
    );
}

#[test]
fn too_large_stacks() {
    let emulator = Emulator { stack_bytes: usize::MAX, ..PARALLEL };
    assert_eq!(
        emulator.launch(&NOTHING, [1, 1, 1], ()).unwrap_err().to_string(),
        format!(
            "cannot launch kernel faults::host::nothing: stacks of {} bytes; the most is 1073741824: set a \
             smaller `stack_bytes`",
            usize::MAX
        )
    );
}

#[test]
fn copies_that_do_not_fit() {
    let mut x = counting(10);
    assert_eq!(
        PARALLEL.write(&mut x, 8, &[0.0; 3]).unwrap_err().to_string(),
        "a copy of 3 values at element 8 does not fit into a buffer of 10"
    );
    assert_eq!(
        PARALLEL.read(&x, usize::MAX, &mut [0.0; 3]).unwrap_err().to_string(),
        format!("a copy of 3 values at element {} does not fit into a buffer of 10", usize::MAX)
    );
    PARALLEL.write(&mut x, 10, &[]).unwrap();
    PARALLEL.write(&mut x, 7, &[1.0; 3]).unwrap();
    let mut values = [0.0; 4];
    PARALLEL.read(&x, 6, &mut values).unwrap();
    assert_eq!(values, [6.0, 1.0, 1.0, 1.0]);
}

#[test]
fn memory_that_there_is_not() {
    for length in [usize::MAX, usize::MAX / 4, 1 << 60] {
        let Err(fault) = PARALLEL.allocate::<f32>(length) else { panic!("{length} values were allocated") };
        assert_eq!(
            fault.to_string(),
            format!(
                "the emulator has no memory for {length} values of 4 bytes: use smaller data or another engine"
            )
        );
    }
}

#[test]
fn empty_buffers() {
    let x = PARALLEL.allocate::<f32>(0).unwrap();
    assert!(x.is_empty());
    assert_eq!(PARALLEL.download(&x).unwrap(), []);
}
