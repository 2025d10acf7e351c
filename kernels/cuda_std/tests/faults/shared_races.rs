//! Races in shared memory.

use super::*;

/// This file, for [`at`].
const HERE: (&str, &str) = (file!(), include_str!("shared_races.rs"));

#[kernel(block = [64, 1, 1])]
unsafe fn read_after_write(barrier: u32) {
    let tile = shared_array![f32; 64]; // raw tile
    tile.write(thread(), 1.0); // raw write
    if barrier == 1 {
        thread::sync_threads();
    }
    if thread() >= 32 {
        tile.read(thread() - 32); // raw read
    }
}

#[test]
fn a_read_after_a_write() {
    let found = text(|emulator| emulator.launch(&READ_AFTER_WRITE, [1, 1, 1], (0,)));
    let (read, write, tile) = (
        at(HERE, "raw read", "read("),
        at(HERE, "raw write", "write("),
        at(HERE, "raw tile", "shared_array!"),
    );
    assert_eq!(
        found,
        format!(
            "kernel faults::shared_races::read_after_write block (0,0,0) thread (32,0,0) at {read}: race: shared \
             read of element 0 of the array of {tile}, which thread (0,0,0) wrote at {write} with no barrier in \
             between"
        )
    );
    for emulator in support::emulators() {
        emulator.launch(&READ_AFTER_WRITE, [3, 1, 1], (1,)).unwrap();
    }
}

#[kernel(block = [64, 1, 1])]
unsafe fn write_after_read(rounds: u32, barrier: u32) {
    let tile = shared_array![f32; 64]; // war tile
    for _ in 0..rounds {
        tile.write(thread(), 1.0); // war write
        thread::sync_threads();
        tile.read((thread() + 31) % 64); // war read
        if barrier == 1 {
            thread::sync_threads();
        }
    }
}

#[test]
fn a_write_after_a_read() {
    let found = text(|emulator| emulator.launch(&WRITE_AFTER_READ, [1, 1, 1], (2, 0)));
    let (read, write, tile) = (
        at(HERE, "war read", "read("),
        at(HERE, "war write", "write("),
        at(HERE, "war tile", "shared_array!"),
    );
    assert_eq!(
        found,
        format!(
            "kernel faults::shared_races::write_after_read block (0,0,0) thread (31,0,0) at {write}: race: shared \
             write of element 31 of the array of {tile}, which thread (0,0,0) read at {read} with no barrier in \
             between"
        )
    );
    for emulator in support::emulators() {
        emulator.launch(&WRITE_AFTER_READ, [1, 1, 1], (1, 0)).unwrap();
        emulator.launch(&WRITE_AFTER_READ, [1, 1, 1], (5, 1)).unwrap();
        emulator.launch(&WRITE_AFTER_READ, [1, 1, 1], (2, 0)).unwrap_err();
    }
}

#[kernel(block = [64, 1, 1])]
unsafe fn write_after_write() {
    let total = shared_array![u32; 1]; // waw
    total.write(0, thread::thread_idx_x()); // waw write
}

#[test]
fn a_write_after_a_write() {
    let found = text(|emulator| emulator.launch(&WRITE_AFTER_WRITE, [1, 1, 1], ()));
    let (write, total) = (at(HERE, "waw write", "write("), at(HERE, "waw", "shared_array!"));
    assert_eq!(
        found,
        format!(
            "kernel faults::shared_races::write_after_write block (0,0,0) thread (1,0,0) at {write}: race: shared \
             write of element 0 of the array of {total}, which thread (0,0,0) wrote at {write} with no barrier in \
             between"
        )
    );
}

/// Each round the threads read what `reader` says, then one of them writes: any reader but the writer is a race.
#[kernel(block = [128, 1, 1])]
unsafe fn many_readers(reader: u32, writer: u32) {
    let value = shared_array![u32; 1];
    if thread() == 0 {
        value.write(0, 0);
    }
    thread::sync_threads();
    if reader == u32::MAX || thread() == reader as usize {
        value.read(0);
    }
    if thread() == writer as usize {
        value.write(0, 1);
    }
}

#[test]
fn no_reader_is_forgotten() {
    for emulator in support::emulators() {
        for writer in [0, 1, 31, 32, 63, 127] {
            for reader in [0, 1, 31, 32, 33, 64, 127] {
                let result = emulator.launch(&MANY_READERS, [1, 1, 1], (reader, writer));
                assert_eq!(result.is_ok(), reader == writer, "{reader} {writer} {emulator:?}");
            }
            emulator.launch(&MANY_READERS, [1, 1, 1], (u32::MAX, writer)).unwrap_err();
        }
    }
}

/// Threads of a warp exchange values through shared memory.
#[kernel(block = [64, 1, 1])]
unsafe fn warp_synchronous(sync: u32) {
    let tile = shared_array![f32; 64]; // warp tile
    let mirror = thread() ^ 31;
    tile.write(thread(), 0.0);
    thread::sync_threads();
    for _ in 0..3 {
        tile.write(thread(), 1.0); // warp write
        if sync & 1 != 0 {
            warp::sync_warp(warp::FULL_MASK);
        }
        tile.read(mirror); // warp read
        if sync & 2 != 0 {
            warp::sync_warp(warp::FULL_MASK);
        }
    }
}

#[test]
fn within_a_warp() {
    for emulator in support::emulators() {
        for sync in 0..3 {
            emulator.launch(&WARP_SYNCHRONOUS, [1, 1, 1], (sync,)).unwrap_err();
        }
        emulator.launch(&WARP_SYNCHRONOUS, [1, 1, 1], (3,)).unwrap();
    }
    let found = text(|emulator| emulator.launch(&WARP_SYNCHRONOUS, [1, 1, 1], (2,)));
    let (read, write, tile) = (
        at(HERE, "warp read", "read("),
        at(HERE, "warp write", "write("),
        at(HERE, "warp tile", "shared_array!"),
    );
    assert_eq!(
        found,
        format!(
            "kernel faults::shared_races::warp_synchronous block (0,0,0) thread (16,0,0) at {write}: race: \
             shared write of element 16 of the array of {tile}, which thread (15,0,0) read at {read} with no \
             barrier in between"
        )
    );
}

/// As above, each half of a warp for itself.
#[kernel(block = [32, 1, 1])]
unsafe fn half_warps(distance: u32) {
    let tile = shared_array![f32; 32];
    let half = if thread() < 16 { 0x0000_ffff } else { 0xffff_0000 };
    tile.write(thread(), 1.0);
    warp::sync_warp(half);
    tile.read(thread() ^ distance as usize);
}

#[test]
fn within_half_a_warp() {
    for emulator in support::emulators() {
        emulator.launch(&HALF_WARPS, [1, 1, 1], (15,)).unwrap();
        emulator.launch(&HALF_WARPS, [1, 1, 1], (16,)).unwrap_err();
    }
}

#[kernel(block = [32, 1, 1])]
unsafe fn shuffles_order_nothing() {
    let tile = shared_array![f32; 32];
    tile.write(thread(), 1.0);
    warp::shuffle_xor(warp::FULL_MASK, 1.0, 1);
    tile.read(thread() ^ 1);
}

#[test]
fn a_shuffle_is_no_barrier() {
    PARALLEL.launch(&SHUFFLES_ORDER_NOTHING, [1, 1, 1], ()).unwrap_err();
}

#[test]
fn not_looked_for() {
    let emulator = Emulator { races: false, ..PARALLEL };
    emulator.launch(&READ_AFTER_WRITE, [1, 1, 1], (0,)).unwrap();
}
