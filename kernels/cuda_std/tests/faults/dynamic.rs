//! Dynamic shared memory.

use cuda_std::memory::dynamic_array;

use super::*;

/// This file, for [`at`].
const HERE: (&str, &str) = (file!(), include_str!("dynamic.rs"));

#[kernel(block = [32, 1, 1], shared = 256)]
unsafe fn views(first: u32, reader: u32) {
    let words = dynamic_array::<u32, 32>(first as usize); // words
    let same = dynamic_array::<f32, 16>(16); // the same
    words.write(thread(), 1); // write
    if reader == 1 {
        same.read(thread() / 2); // read
    }
}

#[kernel(block = [32, 1, 1], shared = 164 << 10)]
unsafe fn too_much() {}

#[kernel(block = [32, 1, 1], shared = 160 << 10)]
unsafe fn too_much_with_more() {
    shared_array![u32; 1024]; // more
}

#[test]
fn views_that_do_not_fit() {
    let place = at(HERE, "words", "dynamic_array::");
    for (first, what) in [
        (
            36,
            "an array of 32 words from word 36 on, where the kernel has 64 words of dynamic shared memory: say \
             `#[kernel(…, shared = …)]`, in bytes",
        ),
        (2, "a dynamic array from word 2 on: not a multiple of 4"),
    ] {
        let found = text(|emulator| emulator.launch(&VIEWS, [1, 1, 1], (first, 0)));
        assert_eq!(
            found,
            format!("kernel faults::dynamic::views block (0,0,0) thread (0,0,0) at {place}: {what}")
        );
    }
    PARALLEL.launch(&VIEWS, [2, 1, 1], (0, 0)).unwrap();
    PARALLEL.launch(&VIEWS, [2, 1, 1], (32, 1)).unwrap_err();
}

#[test]
fn views_that_overlap() {
    let found = text(|emulator| emulator.launch(&VIEWS, [1, 1, 1], (0, 1)));
    let (read, same) = (at(HERE, "read", "read("), at(HERE, "the same", "dynamic_array::"));
    assert_eq!(
        found,
        format!(
            "kernel faults::dynamic::views block (0,0,0) thread (0,0,0) at {read}: shared read of element 0 of the array \
             of {same}, which nothing has written"
        )
    );
    let backward = Emulator { order: Order::Backward, ..PARALLEL };
    let found = backward.launch(&VIEWS, [1, 1, 1], (0, 1)).unwrap_err().to_string();
    let write = at(HERE, "write", "write(");
    assert!(
        found.contains("which nothing has written") || found.contains(&format!("wrote at {write}")),
        "{found}"
    );
}

#[test]
fn more_than_a_block_may_have() {
    let found = text(|emulator| emulator.launch(&TOO_MUCH, [1, 1, 1], ()));
    assert_eq!(
        found,
        "cannot launch kernel faults::dynamic::too_much: 167936 bytes of dynamic shared memory; a block may have 166912: \
         use smaller tiles"
    );
    let found = text(|emulator| emulator.launch(&TOO_MUCH_WITH_MORE, [1, 1, 1], ()));
    let place = at(HERE, "more", "shared_array![");
    assert_eq!(
        found,
        format!(
            "kernel faults::dynamic::too_much_with_more block (0,0,0) thread (0,0,0) at {place}: the block's shared arrays \
             take 4096 bytes with this one and its dynamic shared memory 163840; a block may have 166912: use smaller tiles"
        )
    );
}
