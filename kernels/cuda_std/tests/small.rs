//! Blocks of a few threads, small enough for Miri, which looks for undefined behaviour in the emulator itself: in what
//! passes between coroutines, in shadows, shared memory, copies, and in what a fault leaves behind.
//!
//! ```sh
//! MIRIFLAGS=-Zmiri-permissive-provenance cargo +nightly miri test -p cuda_std --test small -- --skip parallel
//! ```
//!
//! Places in the source are kept in 32 bits, which takes permissive provenance. What runs on rayon's pool is told by its
//! name, and needs `-Zmiri-tree-borrows -Zmiri-ignore-leaks` as well, for the pool's own sake.

use cuda_std::warpgroup::{
    Accumulators, fence_proxy_async, wgmma_commit, wgmma_fence, wgmma_m64n128k8, wgmma_wait,
};
use cuda_std::{Buffer, Device, Emulator, Fault, Order, TensorCores, prelude::*};

const SERIAL: Emulator = Emulator {
    races: true,
    order: Order::Forward,
    stack_bytes: 256 << 10,
    serial: true,
    tensor_cores: TensorCores::Exact,
};

fn words(values: &[u32]) -> Buffer<u32, Emulator> {
    SERIAL.upload(values).unwrap()
}

/// What `launch` says is wrong.
#[track_caller]
fn text(launch: Result<(), Fault>) -> String {
    launch.expect_err("a fault").to_string()
}

/// Each thread leaves its number for its neighbour, twice.
#[kernel(block = [3, 1, 1])]
unsafe fn neighbours(x: Global<f32>, y: GlobalMut<f32>) {
    let tile = shared_array![f32; 4];
    let thread = thread::thread_idx_x() as usize;
    let i = thread::block_idx_x() as usize * 3 + thread;
    let mut value = x.read(i);
    for _ in 0..2 {
        tile.write(thread, value);
        thread::sync_threads();
        value += tile.read((thread + 1) % 3);
        thread::sync_threads();
    }
    y.write(i, value);
}

/// For blocks of 1, 2, 3: (1 + 2) + (2 + 3), and so on round.
const SUMS: [f32; 6] = [8.0, 9.0, 7.0, 8.0, 9.0, 7.0];

fn neighbours_on(emulator: Emulator) {
    let x = emulator.upload(&[1.0, 2.0, 3.0, 1.0, 2.0, 3.0]).unwrap();
    let mut y = emulator.allocate(6).unwrap();
    emulator.launch(&NEIGHBOURS, [2, 1, 1], (&x, &mut y)).unwrap();
    assert_eq!(emulator.download(&y).unwrap(), SUMS);
    let mut part = [0.0; 2];
    emulator.read(&y, 4, &mut part).unwrap();
    assert_eq!(part, SUMS[4..]);
}

#[test]
fn shared_memory_and_barriers() {
    for order in [Order::Forward, Order::Backward, Order::Shuffled(1)] {
        neighbours_on(Emulator { order, ..SERIAL });
    }
    neighbours_on(Emulator { races: false, ..SERIAL });
}

#[test]
fn parallel_blocks() {
    neighbours_on(Emulator::default());
}

/// Everything that a warp does together.
#[kernel(block = [3, 1, 1])]
unsafe fn together(y: GlobalMut<u32>) {
    let (mask, lane) = (warp::FULL_MASK, warp::lane_id());
    let next = warp::shuffle_idx(mask, 10 * lane, (lane + 1) % 3);
    let down = warp::shuffle_down(0b11 | mask << 2, lane as f32, u32::from(lane < 2));
    warp::sync_warp(mask);
    let votes = warp::ballot(mask, lane != 1) + 16 * u32::from(warp::any(mask, lane == 2));
    y.write(lane as usize, next + 1000 * down as u32 + 10_000 * votes);
}

#[test]
fn operations_of_a_warp() {
    let mut y = words(&[0; 3]);
    SERIAL.launch(&TOGETHER, [1, 1, 1], (&mut y,)).unwrap();
    assert_eq!(SERIAL.download(&y).unwrap(), [211_010, 212_020, 212_000]);
}

/// Copies that run on, and vectors.
#[kernel(block = [2, 1, 1])]
unsafe fn copies(x: Global<f32>, y: GlobalMut<f32>) {
    let tile = shared_array![f32; 8];
    let thread = thread::thread_idx_x() as usize;
    memory::cp_async4(tile, 4 * thread, x, 4 * thread);
    memory::cp_async_commit();
    memory::cp_async_wait_all();
    thread::sync_threads();
    y.write4(4 * thread, tile.read4(4 - 4 * thread));
}

#[test]
fn copies_and_vectors() {
    let x: Vec<f32> = (0..8).map(|i| i as f32).collect();
    let (x, mut y) = (SERIAL.upload(&x).unwrap(), SERIAL.allocate(8).unwrap());
    SERIAL.launch(&COPIES, [1, 1, 1], (&x, &mut y)).unwrap();
    assert_eq!(SERIAL.download(&y).unwrap(), [4.0, 5.0, 6.0, 7.0, 0.0, 1.0, 2.0, 3.0]);
}

/// A warpgroup multiplies, with no more of a tile than that takes: of each line 8 values of k.
#[kernel(block = [128, 1, 1], shared = 4 * 128 * 32, arch = "sm_90a")]
unsafe fn warpgroup(wait: u32, y: GlobalMut<f32>) {
    let tile = memory::dynamic_array::<f32, { 128 * 32 }>(0);
    let line = thread::thread_idx_x() as usize;
    for chunk in [0, 1] {
        tile.write4(32 * line + 4 * (chunk ^ (line % 8)), [line as f32; 4]);
    }
    fence_proxy_async();
    thread::sync_threads();
    let mut sums = Accumulators::new();
    let a = [[(line / 32 + 1) as f32; 4]];
    wgmma_fence(&mut sums, &[]);
    wgmma_m64n128k8(&mut sums, false, a[0], tile, 0, 0);
    wgmma_commit();
    if wait == 1 {
        wgmma_wait(&mut sums, &a);
        y.write(line, sums.values()[line % 16][1]);
    }
}

#[test]
#[cfg_attr(miri, ignore = "takes Miri more than five minutes: 128 threads, 65 536 products")]
fn products_of_a_warpgroup() {
    let mut y = SERIAL.allocate(128).unwrap();
    let left = text(SERIAL.launch(&WARPGROUP, [1, 1, 1], (0, &mut y)));
    assert!(left.ends_with("thread (0,0,0): ended before wgmma was waited for"), "{left}");
    SERIAL.launch(&WARPGROUP, [1, 1, 1], (1, &mut y)).unwrap();
    let expected = (0..128).map(|i| 8 * (i / 32 + 1) * (i % 16 * 8 + i % 4 * 2 + 1));
    assert!(SERIAL.download(&y).unwrap().into_iter().eq(expected.map(|sum| sum as f32)));
}

/// Elements of one, two and eight bytes.
#[kernel(block = [2, 1, 1])]
unsafe fn widths(x: Global<u8>, y: GlobalMut<u64>, z: GlobalMut<u16>) {
    let i = thread::thread_idx_x() as usize;
    y.write(i, u64::from(x.read(i)) << 40);
    z.write(i, (y.read(i) >> 38) as u16);
}

#[test]
fn elements_of_other_sizes() {
    let (mut y, mut z) = (SERIAL.allocate(2).unwrap(), SERIAL.allocate(2).unwrap());
    SERIAL.launch(&WIDTHS, [1, 1, 1], (&SERIAL.upload(&[3_u8, 5]).unwrap(), &mut y, &mut z)).unwrap();
    assert_eq!(SERIAL.download(&y).unwrap(), [3 << 40, 5 << 40]);
    assert_eq!(SERIAL.download(&z).unwrap(), [12, 20]);
}

/// A block adds what the one before it has left. Who is next goes by ticket.
#[kernel(block = [1, 1, 1])]
unsafe fn chain(ticket: GlobalMut<u32>, flags: GlobalMut<u32>, sums: GlobalMut<u32>) {
    let i = ticket.atomic_add(0, 1) as usize;
    let before = match i.checked_sub(1) {
        None => 0,
        Some(last) => {
            while flags.load_acquire(last) == 0 {}
            sums.read(last)
        }
    };
    sums.write(i, before + i as u32);
    flags.store_release(i, 1);
}

fn chain_on(emulator: Emulator) {
    let (mut ticket, mut flags, mut sums) = (words(&[0]), words(&[0; 4]), emulator.allocate(4).unwrap());
    emulator.launch(&CHAIN, [4, 1, 1], (&mut ticket, &mut flags, &mut sums)).unwrap();
    assert_eq!(emulator.download(&sums).unwrap(), [0, 1, 3, 6]);
}

#[test]
fn release_and_acquire() {
    chain_on(SERIAL);
}

#[test]
fn parallel_release_and_acquire() {
    chain_on(Emulator::default());
}

/// Blocks wait for each other, all resident.
#[kernel(block = [2, 1, 1], cooperative)]
unsafe fn meeting(count: GlobalMut<u32>, y: GlobalMut<u32>) {
    if thread::thread_idx_x() == 0 {
        count.atomic_add_acquire_release(0, 1);
        while count.load_acquire(0) < thread::grid_dim_x() {}
    }
    thread::sync_threads();
    y.write((thread::block_idx_x() * 2 + thread::thread_idx_x()) as usize, count.load_relaxed(0));
}

#[test]
fn blocks_meet() {
    let (mut count, mut y) = (words(&[0]), words(&[0; 4]));
    SERIAL.launch(&MEETING, [2, 1, 1], (&mut count, &mut y)).unwrap();
    assert_eq!(SERIAL.download(&y).unwrap(), [2; 4]);
}

/// One mistake or another; the other threads hold memory while they wait, and must give it back.
#[kernel(block = [3, 1, 1])]
unsafe fn mistakes(which: u32, x: Global<f32>, y: GlobalMut<f32>) {
    let tile = shared_array![f32; 4];
    let held = Box::new([1.0_f32; 5]);
    let thread = thread::thread_idx_x() as usize;
    let i = thread::block_idx_x() as usize * 3 + thread;
    y.write(i, -1.0);
    if which == 0 || thread < 2 {
        thread::sync_threads();
    }
    match which {
        1 if thread == 2 => y.write(y_end(), held[0]),
        2 if thread == 2 => panic!("on purpose"),
        3 if thread == 2 => _ = tile.read(thread),
        4 if thread == 2 => y.write(i - 2, x.read(0)),
        5 if thread == 2 => memory::cp_async(tile, 0, x, 99),
        _ => {}
    }
    tile.write(thread, held[4]);
}

fn y_end() -> usize {
    6
}

fn mistakes_on(emulator: Emulator) {
    let x = emulator.upload(&[1.0; 3]).unwrap();
    let mut y = emulator.upload(&[0.0; 6]).unwrap();
    emulator.launch(&MISTAKES, [2, 1, 1], (0, &x, &mut y)).unwrap();
    for (which, what) in [
        (1, "element 6 of `y`, which has 6"),
        (2, "panicked: on purpose"),
        (3, "which nothing has written"),
        (4, "race: global write of element 0 of `y`"),
        (5, "element 99 of `x`"),
        (6, "the threads diverged: threads 0-1 wait in sync_threads"),
    ] {
        let text = text(emulator.launch(&MISTAKES, [2, 1, 1], (which, &x, &mut y)));
        assert!(text.contains(what) && text.contains("block (0,0,0)"), "{which}: {text}");
        if which < 6 {
            assert!(text.contains("thread (2,0,0) at ") && text.contains("small.rs:"), "{which}: {text}");
        }
    }
}

#[test]
fn faults_unwind_all_threads() {
    mistakes_on(SERIAL);
}

#[test]
fn parallel_faults_put_everything_back() {
    mistakes_on(Emulator::default());
}

#[test]
fn parallel_launches_from_several_threads() {
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| neighbours_on(Emulator::default()));
            scope.spawn(|| neighbours_on(SERIAL));
        }
    });
}

#[test]
fn ranges_and_empty_buffers() {
    let mut buffer = SERIAL.upload(&[1.0_f32; 3]).unwrap();
    SERIAL.write(&mut buffer, 1, &[2.0, 3.0]).unwrap();
    assert_eq!(SERIAL.download(&buffer).unwrap(), [1.0, 2.0, 3.0]);
    assert!(SERIAL.write(&mut buffer, 2, &[0.0; 2]).is_err());
    assert!(SERIAL.read(&buffer, usize::MAX, &mut [0.0; 2]).is_err());
    let empty: Buffer<f32, Emulator> = SERIAL.allocate(0).unwrap();
    assert!(SERIAL.download(&empty).unwrap().is_empty());
}
