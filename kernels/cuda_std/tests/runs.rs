//! Kernels without mistakes: what they compute, in every order, and that the emulator has nothing to say about them.

mod support;

use cuda_std::memory::dynamic_array;
use cuda_std::{Buffer, Device, Emulator, Kernel, Order, prelude::*};
use proptest::prelude::{Just, Strategy, any, prop_assert_eq, prop_oneof, proptest};

const TILE: usize = 8;

/// C (m × n) = A (m × k) B (k × n)
#[kernel(block = [TILE as u32, TILE as u32, 1])]
unsafe fn matmul(m: u32, n: u32, k: u32, a: Global<f32>, b: Global<f32>, c: GlobalMut<f32>) {
    let a_tile = shared_array![f32; TILE * TILE];
    let b_tile = shared_array![f32; TILE * TILE];
    let (m, n, k) = (m as usize, n as usize, k as usize);
    let (x, y) = (thread::thread_idx_x() as usize, thread::thread_idx_y() as usize);
    let row = thread::block_idx_y() as usize * TILE + y;
    let column = thread::block_idx_x() as usize * TILE + x;
    let mut sum = 0.0;
    for start in (0..k).step_by(TILE) {
        let inside = row < m && start + x < k;
        a_tile.write(y * TILE + x, if inside { a.read(row * k + start + x) } else { 0.0 });
        let inside = start + y < k && column < n;
        b_tile.write(y * TILE + x, if inside { b.read((start + y) * n + column) } else { 0.0 });
        thread::sync_threads();
        for i in 0..TILE {
            sum = mul_add(a_tile.read(y * TILE + i), b_tile.read(i * TILE + x), sum);
        }
        thread::sync_threads();
    }
    if row < m && column < n {
        c.write(row * n + column, sum);
    }
}

proptest! {
    #[test]
    fn a_tiled_product(
        (m, n, k) in (0_usize..40, 0_usize..40, 0_usize..40),
        order in prop_oneof![Just(Order::Forward), Just(Order::Backward), any::<u64>().prop_map(Order::Shuffled)],
        serial: bool,
    ) {
        let emulator = Emulator { order, serial, ..Emulator::default() };
        let integers = |length: usize, step: usize| -> Vec<f32> {
            (0..length).map(|i| (i * step % 17) as f32 - 8.0).collect()
        };
        let (a, b) = (integers(m * k, 5), integers(k * n, 7));
        let mut expected = vec![0.0; m * n];
        for row in 0..m {
            for column in 0..n {
                expected[row * n + column] = (0..k).map(|i| a[row * k + i] * b[i * n + column]).sum();
            }
        }
        let (a, b) = (emulator.upload(&a).unwrap(), emulator.upload(&b).unwrap());
        let mut c = emulator.allocate(m * n).unwrap();
        let grid = [n.div_ceil(TILE) as u32, m.div_ceil(TILE) as u32, 1];
        emulator.launch(&MATMUL, grid, (m as u32, n as u32, k as u32, &a, &b, &mut c)).unwrap();
        prop_assert_eq!(emulator.download(&c).unwrap(), expected);
    }
}

/// Where each thread is: its index in the block, its block's in the grid, and the sides of both.
#[kernel(block = [2, 3, 4])]
unsafe fn places(y: GlobalMut<u32>) {
    use thread::*;
    let thread = thread_idx_x() + 2 * (thread_idx_y() + 3 * thread_idx_z());
    let block = block_idx_x() + 5 * (block_idx_y() + 2 * block_idx_z());
    let from = (24 * block + thread) as usize * 4;
    y.write(from, thread_idx_x() | thread_idx_y() << 8 | thread_idx_z() << 16);
    y.write(from + 1, block_idx_x() | block_idx_y() << 8 | block_idx_z() << 16);
    y.write(
        from + 2,
        block_dim_x()
            | block_dim_y() << 4
            | block_dim_z() << 8
            | grid_dim_x() << 12
            | grid_dim_y() << 16
            | grid_dim_z() << 20,
    );
    y.write(from + 3, warp::lane_id() | warp::warp_id() << 8);
}

#[test]
fn threads_know_their_places() {
    for emulator in support::emulators() {
        let mut y = emulator.allocate(24 * 30 * 4).unwrap();
        emulator.launch(&PLACES, [5, 2, 3], (&mut y,)).unwrap();
        let y = emulator.download(&y).unwrap();
        for (i, found) in y.chunks(4).enumerate() {
            let (thread, block) = (i as u32 % 24, i as u32 / 24);
            assert_eq!(found[0], (thread % 2) | ((thread / 2 % 3) << 8) | ((thread / 6) << 16));
            assert_eq!(found[1], (block % 5) | ((block / 5 % 2) << 8) | ((block / 10) << 16));
            assert_eq!(found[2], 2 | 3 << 4 | 4 << 8 | 5 << 12 | 2 << 16 | 3 << 20);
            assert_eq!(found[3], thread);
        }
    }
}

/// The order in which threads come by, one value a thread.
#[kernel(block = [64, 1, 1])]
unsafe fn queue(next: GlobalMut<u32>, turn: GlobalMut<u32>) {
    let i = thread::block_idx_x() * 64 + thread::thread_idx_x();
    turn.write(i as usize, next.atomic_add(0, 1));
}

#[test]
fn schedules() {
    let turns = |order| {
        let emulator = Emulator { order, serial: true, ..Emulator::default() };
        let mut turns = emulator.allocate(64 * 7).unwrap();
        emulator.launch(&QUEUE, [7, 1, 1], (&mut emulator.upload(&[0]).unwrap(), &mut turns)).unwrap();
        emulator.download(&turns).unwrap()
    };
    let forward: Vec<u32> = (0..64 * 7).collect();
    assert_eq!(turns(Order::Forward), forward);
    assert_eq!(turns(Order::Backward), forward.iter().copied().rev().collect::<Vec<_>>());
    let shuffled = turns(Order::Shuffled(3));
    assert_eq!(turns(Order::Shuffled(3)), shuffled);
    assert_ne!(turns(Order::Shuffled(4)), shuffled);
    assert_ne!(shuffled, forward);
    let mut sorted = shuffled;
    sorted.sort_unstable();
    assert_eq!(sorted, forward);
}

#[kernel(block = [32, 1, 1])]
unsafe fn counts(count: GlobalMut<u32>, sum: GlobalMut<f32>) {
    count.atomic_add(0, 2);
    sum.atomic_add(0, 0.5);
}

#[test]
fn atomics_lose_nothing() {
    for emulator in support::emulators() {
        let mut count = emulator.upload(&[u32::MAX]).unwrap();
        let mut sum = emulator.upload(&[1.0]).unwrap();
        emulator.launch(&COUNTS, [50, 1, 1], (&mut count, &mut sum)).unwrap();
        assert_eq!(emulator.download(&count).unwrap(), [3199]);
        assert_eq!(emulator.download(&sum).unwrap(), [801.0]);
    }
}

/// A sum whose last block adds up what the others have left. `mistakes` leaves out: 1 the barrier before the
/// release, 2 the release and acquire, 4 the barrier after.
unsafe fn sum_by_the_last_block<const MISTAKES: u32>(
    x: Global<f32>,
    partials: GlobalMut<f32>,
    finished: GlobalMut<u32>,
    total: GlobalMut<f32>,
) {
    let last = shared_array![u32; 1];
    let (thread, block) = (thread::thread_idx_x() as usize, thread::block_idx_x() as usize);
    // SAFETY: in range; what mistakes there are is for the emulator to find.
    unsafe {
        if thread % 32 == 0 {
            partials.write(2 * block + thread / 32, x.read(2 * block + thread / 32));
        }
        if MISTAKES & 1 == 0 {
            thread::sync_threads();
        }
        if thread == 0 {
            let before = if MISTAKES & 2 == 0 {
                finished.atomic_add_acquire_release(0, 1)
            } else {
                finished.atomic_add(0, 1)
            };
            last.write(0, u32::from(before + 1 == thread::grid_dim_x()));
        }
        if MISTAKES & 4 == 0 {
            thread::sync_threads();
        }
        if last.read(0) == 1 && thread == 1 {
            let mut sum = 0.0;
            for i in 0..2 * thread::grid_dim_x() as usize {
                sum += partials.read(i);
            }
            total.write(0, sum);
        }
    }
}

macro_rules! sums {
    ($($name:ident: $mistakes:literal)*) => { $(
        #[kernel(block = [64, 1, 1])]
        unsafe fn $name(x: Global<f32>, partials: GlobalMut<f32>, finished: GlobalMut<u32>, total: GlobalMut<f32>) {
            sum_by_the_last_block::<$mistakes>(x, partials, finished, total);
        }
    )* };
}
sums! { last_block_sum: 0 without_first_barrier: 1 without_release: 2 without_second_barrier: 4 }

type Sum = Kernel<(Global<f32>, GlobalMut<f32>, GlobalMut<u32>, GlobalMut<f32>)>;

fn sum(emulator: Emulator, kernel: &Sum, blocks: u32) -> Result<f32, cuda_std::Fault> {
    let x: Vec<f32> = (0..2 * blocks).map(|i| i as f32).collect();
    let mut total = emulator.allocate(1)?;
    let (mut partials, mut finished) = (emulator.allocate(x.len())?, emulator.upload(&[0])?);
    emulator.launch(
        kernel,
        [blocks, 1, 1],
        (&emulator.upload(&x)?, &mut partials, &mut finished, &mut total),
    )?;
    Ok(emulator.download(&total)?[0])
}

#[test]
fn the_last_block_sees_what_the_others_did() {
    for emulator in support::emulators() {
        assert_eq!(sum(emulator, &LAST_BLOCK_SUM, 1).unwrap(), 1.0);
        assert_eq!(sum(emulator, &LAST_BLOCK_SUM, 20).unwrap(), 780.0);
        for kernel in [&WITHOUT_FIRST_BARRIER, &WITHOUT_RELEASE, &WITHOUT_SECOND_BARRIER] {
            let text = sum(emulator, kernel, 20).unwrap_err().to_string();
            // Backwards, the flag that the missing barrier was for is read before anyone has written it.
            assert!(text.contains(" race: ") || text.contains("which nothing has written"), "{text}");
        }
    }
}

/// All blocks meet: `barrier` holds the arrivals and the number of the meeting.
unsafe fn sync_grid(barrier: GlobalMut<u32>) {
    thread::sync_threads();
    if thread::thread_idx_x() == 0 {
        // SAFETY: in range.
        unsafe {
            let meeting = barrier.load_relaxed(1);
            if barrier.atomic_add_acquire_release(0, 1) == thread::grid_dim_x() - 1 {
                barrier.store_relaxed(0, 0);
                barrier.store_release(1, meeting + 1);
            } else {
                while barrier.load_acquire(1) == meeting {}
            }
        }
    }
    thread::sync_threads();
}

/// Each round every block reads what its neighbour wrote in the round before.
#[kernel(block = [32, 1, 1], cooperative)]
unsafe fn rounds(count: u32, values: GlobalMut<u32>, barrier: GlobalMut<u32>) {
    let (thread, block, blocks) = (thread::thread_idx_x(), thread::block_idx_x(), thread::grid_dim_x());
    for _ in 0..count {
        let neighbour = values.read(((block + 1) % blocks * 32 + (thread ^ 1)) as usize);
        sync_grid(barrier);
        values.write((block * 32 + thread) as usize, neighbour + 1);
        sync_grid(barrier);
    }
}

/// The same without the second meeting.
#[kernel(block = [32, 1, 1], cooperative)]
unsafe fn hasty_rounds(count: u32, values: GlobalMut<u32>, barrier: GlobalMut<u32>) {
    let (thread, block, blocks) = (thread::thread_idx_x(), thread::block_idx_x(), thread::grid_dim_x());
    for _ in 0..count {
        let neighbour = values.read(((block + 1) % blocks * 32 + (thread ^ 1)) as usize);
        sync_grid(barrier);
        values.write((block * 32 + thread) as usize, neighbour + 1);
    }
}

#[test]
fn blocks_of_a_cooperative_kernel_meet() {
    for emulator in support::emulators() {
        let start: Vec<u32> = (0..32 * 6).collect();
        let mut values = emulator.upload(&start).unwrap();
        let mut barrier = emulator.upload(&[0, 0]).unwrap();
        emulator.launch(&ROUNDS, [6, 1, 1], (12, &mut values, &mut barrier)).unwrap();
        // Twelve steps round six blocks, and an even number of swaps: everybody is home again.
        assert_eq!(emulator.download(&values).unwrap(), start.iter().map(|v| v + 12).collect::<Vec<_>>());
        assert_eq!(emulator.download(&barrier).unwrap(), [0, 24]);
        let fault = emulator.launch(&HASTY_ROUNDS, [6, 1, 1], (2, &mut values, &mut barrier)).unwrap_err();
        assert!(fault.to_string().contains(" race: global "), "{fault}");
    }
}

/// Block i adds up to what block i − 1 has left; the order of the blocks is by ticket, not by index.
#[kernel(block = [1, 1, 1])]
unsafe fn chain(ticket: GlobalMut<u32>, flags: GlobalMut<u32>, sums: GlobalMut<u32>) {
    let i = ticket.atomic_add(0, 1) as usize;
    let before = if i == 0 {
        0
    } else {
        while flags.load_acquire(i - 1) == 0 {}
        sums.read(i - 1)
    };
    sums.write(i, before + i as u32);
    flags.store_release(i, 1);
}

#[test]
fn blocks_wait_for_earlier_ones() {
    for emulator in support::emulators() {
        let mut sums = emulator.allocate(100).unwrap();
        let (mut ticket, mut flags) = (emulator.upload(&[0]).unwrap(), emulator.upload(&[0; 100]).unwrap());
        emulator.launch(&CHAIN, [100, 1, 1], (&mut ticket, &mut flags, &mut sums)).unwrap();
        let expected: Vec<u32> = (0..100).map(|i| i * (i + 1) / 2).collect();
        assert_eq!(emulator.download(&sums).unwrap(), expected);
    }
}

/// One warp makes what another takes, with a flag between them and no barrier.
#[kernel(block = [64, 1, 1])]
unsafe fn producer_and_consumer(flag: GlobalMut<u32>, y: GlobalMut<f32>) {
    let thread = thread::thread_idx_x() as usize;
    if thread < 32 {
        y.write(thread, 1.0);
        warp::sync_warp(warp::FULL_MASK);
        if thread == 0 {
            flag.store_release(0, 1);
        }
    } else {
        if thread == 32 {
            while flag.load_acquire(0) == 0 {}
        }
        warp::sync_warp(warp::FULL_MASK);
        y.write(thread, y.read(thread - 32) + 1.0);
    }
}

#[test]
fn warps_wait_for_each_other() {
    for emulator in support::emulators() {
        let mut y = emulator.allocate(64).unwrap();
        emulator
            .launch(&PRODUCER_AND_CONSUMER, [1, 1, 1], (&mut emulator.upload(&[0]).unwrap(), &mut y))
            .unwrap();
        assert_eq!(emulator.download(&y).unwrap(), [[1.0; 32], [2.0; 32]].concat());
    }
}

/// Uses as much stack as it is told.
#[kernel(block = [2, 1, 1])]
unsafe fn deep(y: GlobalMut<f32>) {
    let mut values = [0.0_f32; 100_000];
    for (i, value) in std::hint::black_box(&mut values).iter_mut().enumerate() {
        *value = i as f32;
    }
    thread::sync_threads();
    y.write(thread::thread_idx_x() as usize, std::hint::black_box(&values)[99_999]);
}

#[test]
fn a_larger_stack() {
    let emulator = Emulator { stack_bytes: 1 << 20, ..Emulator::default() };
    let mut y = emulator.allocate(2).unwrap();
    emulator.launch(&DEEP, [1, 1, 1], (&mut y,)).unwrap();
    assert_eq!(emulator.download(&y).unwrap(), [99_999.0; 2]);
}

/// A device function with other element types than 32 bits.
#[kernel(block = [8, 1, 1])]
unsafe fn widen(x: Global<u8>, y: GlobalMut<u64>, z: GlobalMut<u16>) {
    let i = thread::thread_idx_x() as usize;
    y.write(i, u64::from(x.read(i)) << 40);
    z.write(i, (y.read(i) >> 38) as u16);
}

#[test]
fn elements_of_other_sizes() {
    let emulator = Emulator::default();
    let x: Vec<u8> = (0..8).collect();
    let (mut y, mut z) = (emulator.allocate(8).unwrap(), emulator.allocate(8).unwrap());
    emulator.launch(&WIDEN, [1, 1, 1], (&emulator.upload(&x).unwrap(), &mut y, &mut z)).unwrap();
    assert_eq!(emulator.download(&y).unwrap(), x.iter().map(|&x| u64::from(x) << 40).collect::<Vec<_>>());
    assert_eq!(emulator.download(&z).unwrap(), x.iter().map(|&x| u16::from(x) * 4).collect::<Vec<_>>());
}

/// The host's threads may launch at the same time, and a fault of one is no other's.
#[test]
fn launches_from_several_threads() {
    std::thread::scope(|scope| {
        for blocks in 1..8 {
            scope.spawn(move || {
                for _ in 0..20 {
                    let expected: f32 = (0..2 * blocks).map(|i| i as f32).sum();
                    assert_eq!(sum(Emulator::default(), &LAST_BLOCK_SUM, blocks).unwrap(), expected);
                    sum(Emulator::default(), &WITHOUT_SECOND_BARRIER, blocks).unwrap_err();
                }
            });
        }
    });
}

#[test]
fn a_buffer_knows_its_length() {
    let x: Buffer<f32, Emulator> = Emulator::default().upload(&[1.0; 5]).unwrap();
    assert_eq!((x.len(), x.is_empty()), (5, false));
}

/// 96 KiB of dynamic shared memory in two arrays, the second of them also seen as bits by a third.
#[kernel(block = [64, 1, 1], shared = 96 << 10)]
unsafe fn dynamic(y: GlobalMut<u32>) {
    const HALF: usize = 12 << 10;
    let (words, floats) = (dynamic_array::<u32, HALF>(0), dynamic_array::<f32, HALF>(HALF));
    let bits = dynamic_array::<u32, 64>(HALF);
    let i = thread::thread_idx_x() as usize;
    words.write(HALF - 1 - i, 7);
    floats.write(i, i as f32);
    thread::sync_threads();
    y.write(i, words.read(HALF - 64 + i) + bits.read(i ^ 1));
}

#[test]
fn dynamic_shared_memory() {
    assert_eq!(DYNAMIC.shared_bytes(), 96 << 10);
    for emulator in support::emulators() {
        let mut y = emulator.allocate(64).unwrap();
        emulator.launch(&DYNAMIC, [1, 1, 1], (&mut y,)).unwrap();
        let expected: Vec<u32> = (0..64).map(|i: u32| 7 + ((i ^ 1) as f32).to_bits()).collect();
        assert_eq!(emulator.download(&y).unwrap(), expected);
    }
}
