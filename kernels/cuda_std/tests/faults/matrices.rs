//! Loads of matrices from shared memory that go wrong.

use super::*;

/// This file, for [`at`].
const HERE: (&str, &str) = (file!(), include_str!("matrices.rs"));

/// Each lane loads a row at `distance` times its number, of `written` words, if it is below `lanes`.
#[kernel(block = [32, 1, 1])]
unsafe fn load(distance: u32, written: u32, lanes: u32) {
    let tile = shared_array![f32; 128]; // the tile
    if 4 * thread() < written as usize {
        tile.write4(4 * thread(), [1.0; 4]);
    }
    thread::sync_threads();
    if thread() < lanes as usize {
        warp::ldmatrix_x4(tile, thread() * distance as usize); // load
    }
}

#[kernel(block = [48, 1, 1])]
unsafe fn short_warp() {
    let tile = shared_array![u32; 128];
    tile.write(thread(), 0);
    if thread() >= 32 {
        warp::ldmatrix_x1_transposed(tile, 0); // short warp
    }
}

/// One lane writes the row that another loads.
#[kernel(block = [32, 1, 1])]
unsafe fn racy_load() {
    let tile = shared_array![f32; 32]; // raced for
    tile.write(thread(), 1.0);
    thread::sync_threads();
    if thread() == 31 {
        tile.write(6, 2.0); // write
    }
    warp::ldmatrix_x1(tile, thread() % 8 * 4); // raced load
}

#[test]
fn rows_that_are_not_there() {
    let load = |distance, written, lanes| {
        text(|emulator| emulator.launch(&LOAD, [1, 1, 1], (distance, written, lanes)))
    };
    let (place, tile) = (at(HERE, "load", "warp::ldmatrix_x4("), at(HERE, "the tile", "shared_array!["));
    for (found, thread, what) in [
        (
            load(5, 128, 32),
            1,
            format!("shared ldmatrix_x4 of four elements at 5 of the array of {tile}: not a multiple of 4"),
        ),
        (load(8, 128, 32), 16, format!("shared read of element 128 of the array of {tile}, which has 128")),
        (
            load(4, 100, 32),
            25,
            format!("shared read of element 100 of the array of {tile}, which nothing has written"),
        ),
    ] {
        assert_eq!(
            found,
            format!("kernel faults::matrices::load block (0,0,0) thread ({thread},0,0) at {place}: {what}")
        );
    }
    assert_eq!(
        load(4, 128, 30),
        format!(
            "kernel faults::matrices::load block (0,0,0): the threads diverged: threads 0-29 wait in ldmatrix_x4 at \
             {place}; threads 30-31 have returned"
        )
    );
    PARALLEL.launch(&LOAD, [1, 1, 1], (4, 128, 32)).unwrap();
    PARALLEL.launch(&LOAD, [1, 1, 1], (0, 4, 32)).unwrap();
}

#[test]
fn a_short_warp() {
    let found = text(|emulator| emulator.launch(&SHORT_WARP, [1, 1, 1], ()));
    let place = at(HERE, "short warp", "warp::ldmatrix_x1_transposed(");
    assert_eq!(
        found,
        format!(
            "kernel faults::matrices::short_warp block (0,0,0) thread (32,0,0) at {place}: ldmatrix_x1_transposed in \
             a warp of fewer than 32 threads"
        )
    );
}

#[test]
fn a_row_that_is_being_written() {
    let found = text(|emulator| emulator.launch(&RACY_LOAD, [1, 1, 1], ()));
    let (load, write) = (at(HERE, "raced load", "warp::ldmatrix_x1("), at(HERE, "write", "write("));
    let tile = at(HERE, "raced for", "shared_array![");
    assert_eq!(
        found,
        format!(
            "kernel faults::matrices::racy_load block (0,0,0) thread (31,0,0) at {write}: race: shared write of element 6 \
             of the array of {tile}, which thread (1,0,0) read at {load} with no barrier in between"
        )
    );
}
