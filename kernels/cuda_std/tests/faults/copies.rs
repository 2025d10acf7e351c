//! Copies that have not been waited for.

use super::*;

/// This file, for [`at`].
const HERE: (&str, &str) = (file!(), include_str!("copies.rs"));

use cuda_std::memory::{
    cp_async, cp_async_commit, cp_async_or_zero, cp_async_wait_all, cp_async_wait_group, cp_async4,
    cp_async4_or_zero, opaque,
};

#[kernel(block = [32, 1, 1])]
unsafe fn copy(wait: u32, barrier: u32, x: Global<f32>, y: GlobalMut<f32>) {
    let tile = shared_array![f32; 32]; // copied tile
    tile.write(thread(), 0.0);
    thread::sync_threads();
    cp_async(tile, thread(), x, thread()); // starts a copy
    if wait == 1 {
        cp_async_wait_all();
    }
    if barrier == 1 {
        thread::sync_threads();
    }
    y.write(thread(), tile.read(31 - thread())); // reads a copy
}

#[test]
fn not_waited_for() {
    let x = counting(32);
    let found = text(|emulator| emulator.launch(&COPY, [1, 1, 1], (0, 1, &x, &mut emulator.allocate(32)?)));
    let (read, copy, tile) = (
        at(HERE, "reads a copy", "read("),
        at(HERE, "starts a copy", "cp_async("),
        at(HERE, "copied tile", "shared_array!"),
    );
    assert_eq!(
        found,
        format!(
            "kernel faults::copies::copy block (0,0,0) thread (0,0,0) at {read}: shared read of element 31 of the \
             array of {tile}, into which thread (31,0,0) copies with cp_async at {copy} and has not waited for it"
        )
    );
    let mut y = counting(32);
    PARALLEL.launch(&COPY, [1, 1, 1], (1, 1, &x, &mut y)).unwrap();
    assert_eq!(PARALLEL.download(&y).unwrap(), (0..32).rev().map(|i| i as f32).collect::<Vec<_>>());
}

#[test]
fn waited_for_without_a_barrier() {
    let x = counting(32);
    let found = text(|emulator| emulator.launch(&COPY, [1, 1, 1], (1, 0, &x, &mut counting(32))));
    let (read, copy, tile) = (
        at(HERE, "reads a copy", "read("),
        at(HERE, "starts a copy", "cp_async("),
        at(HERE, "copied tile", "shared_array!"),
    );
    assert_eq!(
        found,
        format!(
            "kernel faults::copies::copy block (0,0,0) thread (16,0,0) at {copy}: race: shared copy of element 16 \
             of the array of {tile}, which thread (15,0,0) read at {read} with no barrier in between"
        )
    );
}

/// Copies in two groups, waits for all but the latest `PENDING`, reads the first or the second.
unsafe fn two_groups<const PENDING: u32>(second: u32, x: Global<f32>, y: GlobalMut<f32>) {
    let tile = shared_array![f32; 64]; // grouped tile
    // SAFETY: in range; the emulator finds out about the rest.
    unsafe {
        cp_async(tile, thread(), x, thread());
        cp_async_commit();
        cp_async(tile, thread() + 32, x, thread() + 32); // second group
        cp_async_commit();
        cp_async_wait_group::<PENDING>();
        thread::sync_threads();
        y.write(thread(), tile.read((31 - thread()) + 32 * second as usize)); // reads a group
    }
}

#[kernel(block = [32, 1, 1])]
unsafe fn wait_group_0(second: u32, x: Global<f32>, y: GlobalMut<f32>) {
    two_groups::<0>(second, x, y);
}
#[kernel(block = [32, 1, 1])]
unsafe fn wait_group_1(second: u32, x: Global<f32>, y: GlobalMut<f32>) {
    two_groups::<1>(second, x, y);
}
#[kernel(block = [32, 1, 1])]
unsafe fn wait_group_2(second: u32, x: Global<f32>, y: GlobalMut<f32>) {
    two_groups::<2>(second, x, y);
}

#[test]
fn groups() {
    let x = counting(64);
    let run = |kernel, second: u32| {
        let mut y = counting(32);
        PARALLEL.launch(kernel, [1, 1, 1], (second, &x, &mut y))?;
        let expected: Vec<f32> = (0..32).rev().map(|i| (i + 32 * second) as f32).collect();
        assert_eq!(PARALLEL.download(&y).unwrap(), expected);
        Ok::<_, Fault>(())
    };
    run(&WAIT_GROUP_0, 0).unwrap();
    run(&WAIT_GROUP_0, 1).unwrap();
    run(&WAIT_GROUP_1, 0).unwrap();
    run(&WAIT_GROUP_2, 0).unwrap_err();
    let (read, copy, tile) = (
        at(HERE, "reads a group", "read("),
        at(HERE, "second group", "cp_async("),
        at(HERE, "grouped tile", "shared_array!"),
    );
    assert_eq!(
        run(&WAIT_GROUP_1, 1).unwrap_err().to_string(),
        format!(
            "kernel faults::copies::wait_group_1 block (0,0,0) thread (0,0,0) at {read}: shared read of element \
             63 of the array of {tile}, into which thread (31,0,0) copies with cp_async at {copy} and has not \
             waited for it"
        )
    );
}

#[kernel(block = [32, 1, 1])]
unsafe fn overwritten(x: Global<f32>) {
    let tile = shared_array![f32; 32]; // overwritten tile
    cp_async(tile, thread(), x, thread()); // copies
    tile.write(thread(), 0.0); // overwrites
    cp_async_wait_all();
}

#[test]
fn written_while_under_way() {
    let found = text(|emulator| emulator.launch(&OVERWRITTEN, [1, 1, 1], (&counting(32),)));
    let (write, copy, tile) = (
        at(HERE, "overwrites", "write("),
        at(HERE, "copies", "cp_async("),
        at(HERE, "overwritten tile", "shared_array!"),
    );
    assert_eq!(
        found,
        format!(
            "kernel faults::copies::overwritten block (0,0,0) thread (0,0,0) at {write}: shared write of element \
             0 of the array of {tile}, into which thread (0,0,0) copies with cp_async at {copy} and has not \
             waited for it"
        )
    );
}

#[kernel(block = [32, 1, 1])]
unsafe fn past_the_end(offset: u32, source: u32, x: Global<f32>) {
    let tile = shared_array![f32; 128]; // copied past
    cp_async4(tile, 4 * thread() + offset as usize, x, 4 * thread() + source as usize); // copies past
    cp_async_wait_all();
}

#[test]
fn out_of_range() {
    let x = counting(128);
    let run = |offset: u32, source: u32| {
        text(|emulator| emulator.launch(&PAST_THE_END, [1, 1, 1], (offset, source, &x)))
    };
    let (place, tile) = (at(HERE, "copies past", "cp_async4("), at(HERE, "copied past", "shared_array!"));
    let head = "kernel faults::copies::past_the_end block (0,0,0) thread";
    assert_eq!(
        run(4, 0),
        format!(
            "{head} (31,0,0) at {place}: shared copy of element 128 of the array of {tile}, which has 128"
        )
    );
    assert_eq!(
        run(0, 4),
        format!("{head} (31,0,0) at {place}: global read of element 128 of `x`, which has 128")
    );
    assert_eq!(
        run(1, 0),
        format!(
            "{head} (0,0,0) at {place}: shared copy of four elements at 1 of the array of {tile}: not a multiple \
             of 4"
        )
    );
    assert_eq!(
        run(0, 2),
        format!("{head} (0,0,0) at {place}: global read of four elements at 2 of `x`: not a multiple of 4")
    );
    PARALLEL.launch(&PAST_THE_END, [1, 1, 1], (0, 0, &x)).unwrap();
}

/// Copies `count` values one by one and again in fours, and zeros behind them.
#[kernel(block = [32, 1, 1])]
unsafe fn padded(count: u32, wait: u32, x: Global<f32>, y: GlobalMut<f32>) {
    let tile = shared_array![f32; 160]; // padded tile
    let (count, fours) = (count as usize, opaque(32 + 4 * thread()));
    cp_async_or_zero(tile, thread(), x, thread(), thread() < count); // starts a padded copy
    cp_async4_or_zero(tile, fours, x, 4 * thread(), 4 * thread() < count); // starts four
    if wait == 1 {
        cp_async_wait_all();
    }
    thread::sync_threads();
    y.write(thread(), tile.read(31 - thread())); // reads a padded copy
    for i in 0..4 {
        y.write(fours + i, tile.read(fours + i));
    }
}

#[test]
fn zeros_where_nothing_is_read() {
    let run = |count: u32, wait: u32, length: usize| {
        let mut y = counting(160);
        PARALLEL.launch(&PADDED, [1, 1, 1], (count, wait, &counting(length), &mut y))?;
        Ok::<_, Fault>(PARALLEL.download(&y).unwrap())
    };
    // All of x is read, and nothing behind it.
    let value = |i: usize, count: usize| if i < count { i as f32 } else { 0.0 };
    for count in [0, 4, 20] {
        let single = (0..32).rev().map(|i| value(i, count));
        let fours = (0..128).map(|i| value(i, count));
        assert_eq!(run(count as u32, 1, count).unwrap(), single.chain(fours).collect::<Vec<_>>());
    }
    // A zero, too, has to be waited for.
    let (read, copy, tile) = (
        at(HERE, "reads a padded copy", "read("),
        at(HERE, "starts a padded copy", "cp_async_or_zero("),
        at(HERE, "padded tile", "shared_array!"),
    );
    assert_eq!(
        run(4, 0, 4).unwrap_err().to_string(),
        format!(
            "kernel faults::copies::padded block (0,0,0) thread (0,0,0) at {read}: shared read of element 31 of the \
             array of {tile}, into which thread (31,0,0) copies with cp_async at {copy} and has not waited for it"
        )
    );
    let four = at(HERE, "starts four", "cp_async4_or_zero(");
    assert_eq!(
        run(20, 1, 18).unwrap_err().to_string(),
        format!(
            "kernel faults::copies::padded block (0,0,0) thread (4,0,0) at {four}: global read of element 18 of `x`, \
             which has 18"
        )
    );
}
