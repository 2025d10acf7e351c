//! Accesses out of range, and vectors that are not aligned.

use super::*;

/// This file, for [`at`].
const HERE: (&str, &str) = (file!(), include_str!("range.rs"));

#[kernel(block = [64, 1, 1])]
unsafe fn reads(n: u32, x: Global<f32>, y: GlobalMut<f32>) {
    if global() < n as usize {
        y.write(global(), x.read(global() + 1)); // reads past the end
    }
}

#[test]
fn global_read() {
    let x = counting(100);
    let found = text(|emulator| emulator.launch(&READS, [2, 1, 1], (100, &x, &mut emulator.allocate(100)?)));
    let place = at(HERE, "reads past the end", "read(");
    assert_eq!(
        found,
        format!(
            "kernel faults::range::reads block (1,0,0) thread (35,0,0) at {place}: global read of element 100 of \
             `x`, which has 100"
        )
    );
    PARALLEL.launch(&READS, [2, 1, 1], (99, &x, &mut counting(100))).unwrap();
}

#[kernel(block = [64, 1, 1])]
unsafe fn writes(n: u32, y: GlobalMut<f32>) {
    if global() <= n as usize {
        y.write(global(), 0.0); // writes past the end
    }
}

#[test]
fn global_write() {
    let found = text(|emulator| emulator.launch(&WRITES, [2, 1, 1], (100, &mut counting(100))));
    let place = at(HERE, "writes past the end", "write(");
    assert_eq!(
        found,
        format!(
            "kernel faults::range::writes block (1,0,0) thread (36,0,0) at {place}: global write of element 100 \
             of `y`, which has 100"
        )
    );
}

#[kernel(block = [64, 1, 1])]
unsafe fn atomics(y: GlobalMut<u32>) {
    y.atomic_add(thread(), 1); // adds past the end
}

#[test]
fn global_atomic() {
    let found = text(|emulator| emulator.launch(&ATOMICS, [1, 1, 1], (&mut zeros(63),)));
    let place = at(HERE, "adds past the end", "atomic_add(");
    assert_eq!(
        found,
        format!(
            "kernel faults::range::atomics block (0,0,0) thread (63,0,0) at {place}: global atomic access of \
             element 63 of `y`, which has 63"
        )
    );
}

#[kernel(block = [4, 4, 2])]
unsafe fn shared(read: u32) {
    let tile = shared_array![f32; 32]; // tile
    let i = (thread::thread_idx_x() + 4 * thread::thread_idx_y() + 16 * thread::thread_idx_z()) as usize;
    tile.write(i + 1 - read as usize, 0.0); // shared write
    thread::sync_threads();
    tile.read(i + read as usize); // shared read
}

#[test]
fn shared_write() {
    let found = text(|emulator| emulator.launch(&SHARED, [1, 1, 1], (0,)));
    let (place, tile) = (at(HERE, "shared write", "write("), at(HERE, "tile", "shared_array!"));
    assert_eq!(
        found,
        format!(
            "kernel faults::range::shared block (0,0,0) thread (3,3,1) at {place}: shared write of element 32 of \
             the array of {tile}, which has 32"
        )
    );
}

#[test]
fn shared_read() {
    let found = text(|emulator| emulator.launch(&SHARED, [1, 1, 1], (1,)));
    let (place, tile) = (at(HERE, "shared read", "read("), at(HERE, "tile", "shared_array!"));
    assert_eq!(
        found,
        format!(
            "kernel faults::range::shared block (0,0,0) thread (3,3,1) at {place}: shared read of element 32 of \
             the array of {tile}, which has 32"
        )
    );
}

#[kernel(block = [32, 1, 1])]
unsafe fn vectors(offset: u32, where_: u32, x: Global<f32>, y: GlobalMut<f32>) {
    let tile = shared_array![f32; 132]; // vectors
    let i = 4 * thread();
    let offset = |here| if where_ == here { offset as usize } else { 0 };
    y.write4(i + offset(1), x.read4(i + offset(0))); // global vectors
    tile.write4(i + offset(3), y.read4(i + offset(2))); // shared and global
    tile.read4(i + offset(4)); // shared vector
}

#[test]
fn alignment() {
    let x = counting(132);
    let run = |offset: u32, place: u32| {
        text(|emulator| emulator.launch(&VECTORS, [1, 1, 1], (offset, place, &x, &mut counting(132))))
    };
    let head = "kernel faults::range::vectors block (0,0,0) thread (0,0,0) at";
    let tile = at(HERE, "vectors", "shared_array!");
    for (place, mark, call, what) in [
        (0, "global vectors", "read4(", "global read of four elements at 2 of `x`".to_string()),
        (1, "global vectors", "write4(", "global write of four elements at 2 of `y`".to_string()),
        (2, "shared and global", "read4(", "global read of four elements at 2 of `y`".to_string()),
        (
            3,
            "shared and global",
            "write4(",
            format!("shared write of four elements at 2 of the array of {tile}"),
        ),
        (4, "shared vector", "read4(", format!("shared read of four elements at 2 of the array of {tile}")),
    ] {
        assert_eq!(run(2, place), format!("{head} {}: {what}: not a multiple of 4", at(HERE, mark, call)));
    }
    PARALLEL.launch(&VECTORS, [1, 1, 1], (0, 0, &x, &mut counting(132))).unwrap();
}
