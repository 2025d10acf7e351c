//! One kernel for each fault that the emulator finds, with the fault's exact text; and beside it the kernel without
//! the mistake, which must run.

mod support;

use cuda_std::{Buffer, Device, Emulator, Fault, Order, prelude::*};

const PARALLEL: Emulator =
    Emulator { races: true, order: Order::Forward, stack_bytes: 256 << 10, serial: false };

/// The place of `call` in the line that ends with `// {mark}`.
fn at(mark: &str, call: &str) -> String {
    support::place(file!(), include_str!("faults.rs"), mark, call)
}

/// The text of what must be a fault, the same in parallel and serially.
#[track_caller]
fn text(run: impl Fn(Emulator) -> Result<(), Fault>) -> String {
    let parallel = run(PARALLEL).expect_err("a fault").to_string();
    let serial = run(Emulator { serial: true, ..PARALLEL }).expect_err("a fault").to_string();
    assert_eq!(parallel, serial);
    parallel
}

/// A buffer with 0, 1, 2, ….
fn counting(length: usize) -> Buffer<f32, Emulator> {
    PARALLEL.upload(&(0..length).map(|i| i as f32).collect::<Vec<_>>()).unwrap()
}

fn zeros(length: usize) -> Buffer<u32, Emulator> {
    PARALLEL.upload(&vec![0; length]).unwrap()
}

fn thread() -> usize {
    thread::thread_idx_x() as usize
}

/// The thread's number in the grid.
fn global() -> usize {
    (thread::block_idx_x() * thread::block_dim_x() + thread::thread_idx_x()) as usize
}

mod range {
    use super::*;

    #[kernel(block = [64, 1, 1])]
    unsafe fn reads(n: u32, x: Global<f32>, y: GlobalMut<f32>) {
        if global() < n as usize {
            y.write(global(), x.read(global() + 1)); // reads past the end
        }
    }

    #[test]
    fn global_read() {
        let x = counting(100);
        let found =
            text(|emulator| emulator.launch(&READS, [2, 1, 1], (100, &x, &mut emulator.allocate(100)?)));
        let place = at("reads past the end", "read(");
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
        let place = at("writes past the end", "write(");
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
        let place = at("adds past the end", "atomic_add(");
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
        let (place, tile) = (at("shared write", "write("), at("tile", "shared_array!"));
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
        let (place, tile) = (at("shared read", "read("), at("tile", "shared_array!"));
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
        let tile = at("vectors", "shared_array!");
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
            (
                4,
                "shared vector",
                "read4(",
                format!("shared read of four elements at 2 of the array of {tile}"),
            ),
        ] {
            assert_eq!(run(2, place), format!("{head} {}: {what}: not a multiple of 4", at(mark, call)));
        }
        PARALLEL.launch(&VECTORS, [1, 1, 1], (0, 0, &x, &mut counting(132))).unwrap();
    }
}

mod unwritten {
    use super::*;

    #[kernel(block = [32, 1, 1])]
    unsafe fn shared(all: u32) {
        let sums = shared_array![f32; 32]; // sums
        if thread() % 2 == 0 || all == 1 {
            sums.write(thread(), 0.0);
        }
        thread::sync_threads();
        sums.read(31 - thread()); // reads sums
    }

    #[test]
    fn shared_memory() {
        let found = text(|emulator| emulator.launch(&SHARED, [2, 1, 1], (0,)));
        let (place, sums) = (at("reads sums", "read("), at("sums", "shared_array!"));
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
        let (place, left) = (at("reads left", "read("), at("left", "shared_array!"));
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
        let place = at("reads x", "read(");
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
        let place = at("reads y", "read(");
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
}

mod shared_races {
    use super::*;

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
        let (read, write, tile) =
            (at("raw read", "read("), at("raw write", "write("), at("raw tile", "shared_array!"));
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
        let (read, write, tile) =
            (at("war read", "read("), at("war write", "write("), at("war tile", "shared_array!"));
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
        let (write, total) = (at("waw write", "write("), at("waw", "shared_array!"));
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
        let (read, write, tile) =
            (at("warp read", "read("), at("warp write", "write("), at("warp tile", "shared_array!"));
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
}

mod global_races {
    use super::*;

    #[kernel(block = [32, 1, 1])]
    unsafe fn same_output(stride: u32, y: GlobalMut<f32>) {
        y.write(thread() + (thread::block_idx_x() * stride) as usize, 1.0); // overlapping write
    }

    #[test]
    fn two_blocks_write() {
        let found = text(|emulator| emulator.launch(&SAME_OUTPUT, [3, 1, 1], (31, &mut counting(96))));
        let place = at("overlapping write", "write(");
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
        let (read, write) = (at("in place read", "read("), at("in place write", "write("));
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
        let (read, write) = (at("block read", "read("), at("block write", "write("));
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
        let found =
            text(|emulator| emulator.launch(&UNORDERED_SUM, [2, 1, 1], (&mut zeros(1), &mut zeros(1))));
        let (read, add) = (at("plain look", "read("), at("atomic sum", "atomic_add("));
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
}

mod divergence {
    use super::*;

    #[kernel(block = [64, 1, 1])]
    unsafe fn some_return(n: u32) {
        if thread() < n as usize {
            thread::sync_threads(); // some wait
        }
    }

    #[test]
    fn at_a_barrier() {
        let found = text(|emulator| emulator.launch(&SOME_RETURN, [1, 2, 1], (40,)));
        let place = at("some wait", "thread::sync_threads(");
        assert_eq!(
            found,
            format!(
                "kernel faults::divergence::some_return block (0,0,0): the threads diverged: threads 0-39 wait in \
                 sync_threads at {place}; threads 40-63 have returned"
            )
        );
        PARALLEL.launch(&SOME_RETURN, [1, 2, 1], (64,)).unwrap();
        PARALLEL.launch(&SOME_RETURN, [1, 2, 1], (0,)).unwrap();
    }

    #[kernel(block = [64, 1, 1])]
    unsafe fn two_barriers() {
        if thread() % 8 == 0 {
            thread::sync_threads(); // one barrier
        } else {
            thread::sync_threads(); // another barrier
        }
    }

    #[test]
    fn at_two_barriers() {
        let found = text(|emulator| emulator.launch(&TWO_BARRIERS, [1, 1, 1], ()));
        let call = "thread::sync_threads(";
        let (one, another) = (at("one barrier", call), at("another barrier", call));
        assert_eq!(
            found,
            format!(
                "kernel faults::divergence::two_barriers block (0,0,0): the threads diverged: threads \
                 0,8,16,24,32,40,… wait in sync_threads at {one}; threads 1-7,9-15,17-23,25-31,33-39,41-47,… wait in \
                 sync_threads at {another}"
            )
        );
    }

    #[kernel(block = [64, 1, 1])]
    unsafe fn shuffle_of_some(n: u32) {
        if thread() != n as usize {
            warp::shuffle_down(warp::FULL_MASK, 1.0, 1); // some shuffle
        }
    }

    #[test]
    fn at_a_shuffle() {
        let found = text(|emulator| emulator.launch(&SHUFFLE_OF_SOME, [1, 1, 1], (5,)));
        let place = at("some shuffle", "warp::shuffle_down(");
        assert_eq!(
            found,
            format!(
                "kernel faults::divergence::shuffle_of_some block (0,0,0): the threads diverged: threads 0-4,6-31 \
                 wait in shuffle_down at {place}; threads 5,32-63 have returned"
            )
        );
        PARALLEL.launch(&SHUFFLE_OF_SOME, [1, 1, 1], (64,)).unwrap();
    }
}

mod masks {
    use super::*;

    #[kernel(block = [32, 1, 1])]
    unsafe fn leaves_out(mask: u32) {
        warp::ballot(mask, true); // ballot
    }

    #[test]
    fn the_calling_lane_is_left_out() {
        let found = text(|emulator| emulator.launch(&LEAVES_OUT, [1, 1, 1], (0x7fff_ffff,)));
        let place = at("ballot", "warp::ballot(");
        assert_eq!(
            found,
            format!(
                "kernel faults::masks::leaves_out block (0,0,0) thread (31,0,0) at {place}: ballot with mask \
                 0x7fffffff, which leaves out the calling lane 31"
            )
        );
    }

    #[kernel(block = [32, 1, 1])]
    unsafe fn two_masks() {
        if thread() < 16 {
            warp::sync_warp(0x0001_ffff); // first mask
        } else {
            warp::sync_warp(0xffff_0000); // second mask
        }
    }

    #[test]
    fn two_lanes_with_different_masks() {
        let found = text(|emulator| emulator.launch(&TWO_MASKS, [1, 1, 1], ()));
        let (first, second) = (at("first mask", "warp::sync_warp("), at("second mask", "warp::sync_warp("));
        assert_eq!(
            found,
            format!(
                "kernel faults::masks::two_masks block (0,0,0) thread (16,0,0) at {second}: sync_warp of lanes \
                 0xffff0000, but lane 0 waits in sync_warp of lanes 0x0001ffff at {first}"
            )
        );
    }

    #[kernel(block = [32, 1, 1])]
    unsafe fn two_operations() {
        if thread() < 16 {
            warp::shuffle_down(warp::FULL_MASK, 1.0, 1); // down
        } else {
            warp::shuffle_xor(warp::FULL_MASK, 1.0, 1); // xor
        }
    }

    #[test]
    fn two_lanes_in_different_operations() {
        let found = text(|emulator| emulator.launch(&TWO_OPERATIONS, [1, 1, 1], ()));
        let (down, xor) = (at("down", "warp::shuffle_down("), at("xor", "warp::shuffle_xor("));
        assert_eq!(
            found,
            format!(
                "kernel faults::masks::two_operations block (0,0,0) thread (16,0,0) at {xor}: shuffle_xor of lanes \
                 0xffffffff, but lane 0 waits in shuffle_down of lanes 0xffffffff at {down}"
            )
        );
    }

    #[kernel(block = [48, 1, 1])]
    unsafe fn from_nowhere(delta: u32) {
        warp::shuffle_down(warp::FULL_MASK, 1.0, delta); // from nowhere
    }

    #[test]
    fn a_value_of_a_lane_that_takes_no_part() {
        let found = text(|emulator| emulator.launch(&FROM_NOWHERE, [1, 1, 1], (8,)));
        let place = at("from nowhere", "warp::shuffle_down(");
        assert_eq!(
            found,
            format!(
                "kernel faults::masks::from_nowhere block (0,0,0) thread (47,0,0) at {place}: shuffle_down takes the \
                 value of lane 23, which mask 0xffffffff leaves out or the block does not have"
            )
        );
        PARALLEL.launch(&FROM_NOWHERE, [1, 1, 1], (0,)).unwrap();
    }

    #[kernel(block = [16, 1, 1])]
    unsafe fn short_warp() {
        warp::mma_m16n8k8([0.0; 4], [0.0; 2], [0.0; 4]); // short warp
    }

    #[test]
    fn tensor_cores_need_a_whole_warp() {
        let found = text(|emulator| emulator.launch(&SHORT_WARP, [1, 1, 1], ()));
        let place = at("short warp", "warp::mma_m16n8k8(");
        assert_eq!(
            found,
            format!(
                "kernel faults::masks::short_warp block (0,0,0) thread (0,0,0) at {place}: mma_m16n8k8 in a warp of \
                 fewer than 32 threads"
            )
        );
    }
}

mod copies {
    use super::*;
    use cuda_std::memory::{cp_async, cp_async_commit, cp_async_wait_all, cp_async_wait_group, cp_async4};

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
        let found =
            text(|emulator| emulator.launch(&COPY, [1, 1, 1], (0, 1, &x, &mut emulator.allocate(32)?)));
        let (read, copy, tile) = (
            at("reads a copy", "read("),
            at("starts a copy", "cp_async("),
            at("copied tile", "shared_array!"),
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
            at("reads a copy", "read("),
            at("starts a copy", "cp_async("),
            at("copied tile", "shared_array!"),
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
            at("reads a group", "read("),
            at("second group", "cp_async("),
            at("grouped tile", "shared_array!"),
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
        let (write, copy, tile) =
            (at("overwrites", "write("), at("copies", "cp_async("), at("overwritten tile", "shared_array!"));
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
        let (place, tile) = (at("copies past", "cp_async4("), at("copied past", "shared_array!"));
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
            format!(
                "{head} (0,0,0) at {place}: global read of four elements at 2 of `x`: not a multiple of 4"
            )
        );
        PARALLEL.launch(&PAST_THE_END, [1, 1, 1], (0, 0, &x)).unwrap();
    }
}

mod spinning {
    use super::*;

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
        let place = at("waits", "load_acquire(");
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
        let place = at("waits for the next block", "load_acquire(");
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
}

mod panics {
    use super::*;

    #[kernel(block = [32, 1, 1])]
    unsafe fn divides(d: u32, y: GlobalMut<u32>) {
        thread::sync_threads();
        y.write(thread(), 100 / (thread::thread_idx_x().abs_diff(d))); // divides
    }

    #[test]
    fn become_faults() {
        let found = text(|emulator| emulator.launch(&DIVIDES, [1, 1, 1], (7, &mut zeros(32))));
        let place = at("divides", "100 / ");
        assert_eq!(
            found,
            format!(
                "kernel faults::panics::divides block (0,0,0) thread (7,0,0) at {place}: panicked: attempt to divide \
                 by zero"
            )
        );
        PARALLEL.launch(&DIVIDES, [1, 1, 1], (32, &mut zeros(32))).unwrap();
    }
}

mod launches {
    use super::*;

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
                format!("cannot launch kernel faults::launches::nothing: {what}")
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
        let place = at("one more", "shared_array!");
        assert_eq!(
            found,
            format!(
                "kernel faults::launches::much_shared_memory block (0,0,0) thread (0,0,0) at {place}: the block's \
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
            "cannot launch kernel faults::launches::cooperates: a cooperative grid of 17 blocks of 1024 threads; the \
             emulator keeps at most 16384 threads resident: let each thread do more"
        );
    }

    #[test]
    fn too_large_stacks() {
        let emulator = Emulator { stack_bytes: usize::MAX, ..PARALLEL };
        assert_eq!(
            emulator.launch(&NOTHING, [1, 1, 1], ()).unwrap_err().to_string(),
            format!(
                "cannot launch kernel faults::launches::nothing: stacks of {} bytes; the most is 1073741824: set a \
                 smaller `stack_bytes`",
                usize::MAX
            )
        );
    }
}

mod host {
    use super::*;

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
            let Err(fault) = PARALLEL.allocate::<f32>(length) else {
                panic!("{length} values were allocated")
            };
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
}
