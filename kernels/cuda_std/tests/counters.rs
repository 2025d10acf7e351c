//! What launches count, against counts made by hand.

mod support;

use cuda_std::memory::{cp_async, cp_async_wait_all, cp_async4, dynamic_array};
use cuda_std::warpgroup::{
    Accumulators, fence_proxy_async, wgmma_commit, wgmma_fence, wgmma_m64n128k8, wgmma_wait,
};
use cuda_std::{
    Buffer, Counters, CountingEmulator, Device, Emulator, GlobalRequests, Kernel, SharedRequests, prelude::*,
    warp::FULL_MASK,
};

const fn global(requests: u64, sectors: u64, bytes: u64) -> GlobalRequests {
    GlobalRequests { requests, sectors, bytes }
}

const fn shared(requests: u64, wavefronts: u64, ideal: u64) -> SharedRequests {
    SharedRequests { requests, wavefronts, ideal }
}

/// Counts a launch in each order, in parallel and not: always the same.
fn count(launch: impl Fn(&Emulator) -> Counters) -> Counters {
    let all: Vec<Counters> = support::emulators().map(|emulator| launch(&emulator)).collect();
    assert!(all.windows(2).all(|pair| pair[0] == pair[1]), "{all:#?}");
    all[0]
}

fn zeros(emulator: &Emulator, length: usize) -> Buffer<f32, Emulator> {
    emulator.upload(&vec![0.0; length]).unwrap()
}

/// Thread i reads element `first + stride · i`, of which the first `threads` take part.
#[kernel(block = [32, 1, 1])]
unsafe fn strided(first: u32, stride: u32, threads: u32, x: Global<f32>, y: GlobalMut<f32>) {
    let i = thread::thread_idx_x();
    if i < threads {
        y.write((first + stride * i) as usize, x.read((first + stride * i) as usize));
    }
}

#[test]
fn sectors_of_a_request() {
    // First element, stride, threads; sectors and bytes of the one request.
    for (first, stride, threads, sectors, bytes) in [
        (0, 1, 32, 4, 128),   // side by side
        (1, 1, 32, 5, 128),   // not from a sector's beginning
        (8, 1, 32, 4, 128),   // from the second sector on
        (0, 2, 32, 8, 128),   // every other: half of each sector
        (0, 32, 32, 32, 128), // a sector each
        (0, 1, 9, 2, 36),     // a part of the warp
        (5, 0, 1, 1, 4),      // one lane
        (0, 3, 32, 12, 128),  // 94 elements
        (0, 8, 32, 32, 128),  // a sector each, the least stride
    ] {
        let counters = count(|emulator| {
            let (x, mut y) = (zeros(emulator, 1024), emulator.allocate(1024).unwrap());
            emulator.count(&STRIDED, [1, 1, 1], (first, stride, threads, &x, &mut y)).unwrap()
        });
        let mut expected = Counters::default();
        (expected.blocks, expected.warps) = (1, 1);
        (expected.global_loads, expected.global_stores) =
            (global(1, sectors, bytes), global(1, sectors, bytes));
        (expected.sectors_of_blocks, expected.sectors_read, expected.sectors_written) =
            (sectors, sectors, sectors);
        assert_eq!(counters, expected, "first {first}, stride {stride}, {threads} threads");
        assert_eq!(counters.bytes_read(), 32 * sectors);
        assert_eq!(counters.global_loads.efficiency(), bytes as f64 / (32 * sectors) as f64);
    }
    let nothing = Counters::default();
    assert_eq!((nothing.global().sectors_per_request(), nothing.global().efficiency()), (0.0, 0.0));
}

/// All threads read one element; blocks of two warps, the second of them of one thread.
#[kernel(block = [33, 1, 1])]
unsafe fn broadcast(x: Global<f32>, y: GlobalMut<f32>) {
    let i = thread::block_idx_x() * 33 + thread::thread_idx_x();
    y.write(i as usize, x.read(7));
}

#[test]
fn one_value_for_all() {
    let counters = count(|emulator| {
        let (x, mut y) = (zeros(emulator, 8), emulator.allocate(132).unwrap());
        emulator.count(&BROADCAST, [4, 1, 1], (&x, &mut y)).unwrap()
    });
    assert_eq!((counters.blocks, counters.warps), (4, 8));
    assert_eq!(counters.global_loads, global(8, 8, 32));
    assert_eq!((counters.sectors_read, counters.sectors_of_blocks), (1, 4));
    // Warps begin at elements 0, 32, 33, 65, 66, 98, 99, 131 of 132: at sectors' beginnings only the first two.
    assert_eq!(counters.global_stores, global(8, 4 + 1 + 5 + 1 + 5 + 1 + 5 + 1, 4 * 132));
    assert_eq!(counters.sectors_written, 17);
}

/// 16 bytes a thread, in global and in shared memory; elements of 8 bytes and of one.
#[kernel(block = [32, 1, 1])]
unsafe fn vectors(x: Global<f32>, y: GlobalMut<f32>, wide: GlobalMut<u64>, narrow: Global<u8>) {
    let tile = shared_array![f32; 128];
    let i = thread::thread_idx_x() as usize;
    tile.write4(4 * i, x.read4(4 * i));
    warp::sync_warp(FULL_MASK);
    y.write4(4 * i, tile.read4(124 - 4 * i));
    warp::sync_warp(FULL_MASK);
    y.read4(4 * (i % 8));
    wide.write(i, u64::from(narrow.read(i)));
}

#[test]
fn accesses_of_other_sizes() {
    let counters = count(|emulator| {
        let (x, mut y) = (zeros(emulator, 128), emulator.allocate(128).unwrap());
        let mut wide = emulator.allocate(32).unwrap();
        let narrow = emulator.upload(&[1_u8; 32]).unwrap();
        emulator.count(&VECTORS, [1, 1, 1], (&x, &mut y, &mut wide, &narrow)).unwrap()
    });
    // 512 bytes in 16 sectors; of y, eight lanes' worth, 128 bytes; 32 bytes in one.
    assert_eq!(counters.global_loads, global(3, 16 + 4 + 1, 512 + 128 + 32));
    assert_eq!(counters.global_stores, global(2, 16 + 8, 512 + 256));
    assert_eq!((counters.sectors_read, counters.sectors_written), (16 + 4 + 1, 16 + 8));
    // Four parts of eight lanes, each of them 32 words side by side.
    assert_eq!((counters.shared_stores, counters.shared_loads), (shared(1, 4, 4), shared(1, 4, 4)));
    assert_eq!(counters.warp_barriers, 2);
}

/// A 32 × 32 tile with rows `PITCH` apart: written by rows, read by columns.
unsafe fn turn<const PITCH: usize>(tile: SharedArray<f32, 1056>, y: GlobalMut<f32>) {
    let (x, row) = (thread::thread_idx_x() as usize, thread::thread_idx_y() as usize);
    // SAFETY: in range.
    unsafe {
        tile.write(row * PITCH + x, 1.0);
        thread::sync_threads();
        y.write(row * 32 + x, tile.read(x * PITCH + row));
    }
}

#[kernel(block = [32, 32, 1])]
unsafe fn turn_plain(y: GlobalMut<f32>) {
    turn::<32>(shared_array![f32; 1056], y);
}

#[kernel(block = [32, 32, 1])]
unsafe fn turn_padded(y: GlobalMut<f32>) {
    turn::<33>(shared_array![f32; 1056], y);
}

#[test]
fn columns_of_a_tile() {
    for (kernel, wavefronts) in [(&TURN_PLAIN, 32 * 32), (&TURN_PADDED, 32)] {
        let counters = count(|emulator| {
            emulator.count(kernel, [1, 1, 1], (&mut emulator.allocate(1024).unwrap(),)).unwrap()
        });
        assert_eq!(counters.shared_stores, shared(32, 32, 32));
        assert_eq!(counters.shared_loads, shared(32, wavefronts, 32));
        assert_eq!(counters.shared_loads.conflicts(), wavefronts - 32);
        assert_eq!(counters.barriers, 1);
        assert_eq!(counters.shared(), shared(64, 32 + wavefronts, 64));
    }
}

/// Shared memory with some lanes, words and banks the same.
#[kernel(block = [32, 1, 1])]
unsafe fn banks(y: GlobalMut<f32>) {
    let tile = shared_array![f32; 1024];
    let i = thread::thread_idx_x() as usize;
    for start in (0..1024).step_by(32) {
        tile.write(start + i, 0.0); // 32 requests without conflicts
    }
    thread::sync_threads();
    let mut sum = tile.read(5); // one word for all: 1
    sum += tile.read(2 * i); // words 0 to 62, two of each even bank: 2
    sum += tile.read(i / 16 * 32); // two words of bank 0: 2
    sum += tile.read(31 - i); // another order: 1
    if i < 4 {
        sum += tile.read(32 * i); // four words of bank 0: 4
    }
    y.write(i, sum);
}

/// Vectors in shared memory.
#[kernel(block = [32, 1, 1])]
unsafe fn vector_banks(y: GlobalMut<f32>) {
    let tile = shared_array![f32; 1024];
    let i = thread::thread_idx_x() as usize;
    for start in (0..1024).step_by(128) {
        tile.write4(start + 4 * i, [0.0; 4]); // 8 requests of 4
    }
    thread::sync_threads();
    let mut sum = tile.read4(0)[0]; // one vector for all: 1 for each part
    sum += tile.read4(8 * i)[0]; // each part's vectors are 8 words apart, over 64 words: 2 for each part
    sum += tile.read4(32 * i)[0]; // eight vectors of the same four banks in each part: 8 for each
    if i < 9 {
        sum += tile.read4(4 * i)[0]; // a part and one lane of the next: 2 parts of 1
    }
    y.write(i, sum);
}

#[test]
fn banks_of_a_request() {
    let run = |kernel: &'static Kernel<(GlobalMut<f32>,)>| {
        count(|emulator| emulator.count(kernel, [1, 1, 1], (&mut emulator.allocate(32).unwrap(),)).unwrap())
    };
    let counters = run(&BANKS);
    assert_eq!(counters.shared_stores, shared(32, 32, 32));
    assert_eq!(counters.shared_loads, shared(5, 1 + 2 + 2 + 1 + 4, 5));
    let counters = run(&VECTOR_BANKS);
    assert_eq!(counters.shared_stores, shared(8, 32, 32));
    assert_eq!(counters.shared_loads, shared(4, 4 + 8 + 32 + 2, 4 + 4 + 4 + 2));
}

/// Lanes that go different ways, come together, and go round a loop as often as their number says.
#[kernel(block = [32, 1, 1])]
unsafe fn divergent(x: Global<f32>, y: GlobalMut<f32>) {
    let i = thread::thread_idx_x() as usize;
    let mut sum = x.read(i); // 1 request of 4 sectors
    if i & 1 == 0 {
        sum += x.read(i); // 16 lanes: 1 request of 4 sectors, half of them used
    } else {
        sum += x.read(i / 16 * 32); // 16 lanes: 1 request of 2 sectors, 8 bytes
    }
    for turn in 0..i / 8 {
        sum += x.read(32 * turn + i); // 24 lanes: 3 sectors; 16 lanes: 2; 8 lanes: 1
    }
    y.write(i, sum); // together again: 1 request of 4 sectors
}

#[test]
fn lanes_that_diverge() {
    let counters = count(|emulator| {
        let (x, mut y) = (zeros(emulator, 128), emulator.allocate(32).unwrap());
        emulator.count(&DIVERGENT, [1, 1, 1], (&x, &mut y)).unwrap()
    });
    assert_eq!(counters.global_loads, global(6, 4 + 4 + 2 + 3 + 2 + 1, 128 + 64 + 8 + 96 + 64 + 32));
    assert_eq!(counters.global_stores, global(1, 4, 128));
    // Sectors 0 to 3 in the first row, 6 and 7 in the second and 11 in the third, and sector 4 for the odd lanes.
    assert_eq!(counters.sectors_read, 4 + 1 + 2 + 1);
}

/// Two halves of a warp that meet apart.
#[kernel(block = [32, 1, 1])]
unsafe fn halves(x: Global<f32>, y: GlobalMut<f32>) {
    let i = thread::thread_idx_x() as usize;
    let mask = if i < 16 { 0xffff } else { 0xffff_0000 };
    let mut sum = 0.0;
    for turn in 0..4 {
        if i < 16 || turn % 2 == 1 {
            sum += x.read(i); // turns 0 and 2: 16 lanes; 1 and 3: all
        }
        sum += warp::shuffle_xor(mask, sum, 1); // once for each half
    }
    thread::sync_threads();
    if !warp::any(FULL_MASK, sum > 1.0) {
        y.write(32 * thread::block_idx_x() as usize + i, warp::shuffle_idx(FULL_MASK, sum, 0));
    }
}

#[test]
fn parts_of_a_warp_meet() {
    let counters = count(|emulator| {
        let (x, mut y) = (zeros(emulator, 32), emulator.allocate(96).unwrap());
        emulator.count(&HALVES, [3, 1, 1], (&x, &mut y)).unwrap()
    });
    assert_eq!((counters.shuffles, counters.votes), (3 * (8 + 1), 3));
    // Two turns of half a warp and two of the whole.
    assert_eq!(counters.global_loads, global(3 * 4, 3 * (2 + 4 + 2 + 4), 3 * (64 + 128 + 64 + 128)));
    assert_eq!(counters.global_stores.requests, 3);
}

/// Copies, atomics, arithmetic, and two barriers.
#[kernel(block = [64, 1, 1])]
unsafe fn others(x: Global<f32>, y: GlobalMut<f32>, z: GlobalMut<u32>) {
    let tile = shared_array![f32; 64];
    let i = thread::thread_idx_x() as usize;
    if i < 16 {
        cp_async4(tile, 4 * i, x, 64 - 4 * (i + 1));
    }
    cp_async_wait_all();
    thread::sync_threads();
    y.atomic_add(0, tile.read(i));
    z.atomic_add(thread::block_idx_x() as usize * 64 + i, 1);
    z.load_relaxed(thread::block_idx_x() as usize * 64 + i);
    thread::sync_threads();
    cp_async(tile, i, x, i);
    cp_async_wait_all();
    let mut value = mul_add(tile.read(i), 2.0, 1.0);
    if i == 3 {
        value = float::div(value, 3.0) + float::sqrt(value) + float::exp2_approx(float::rsqrt_approx(value));
        value += float::exp(float::to_tf32(value));
    }
    y.atomic_add(1, value);
}

#[test]
fn everything_else() {
    let counters = count(|emulator| {
        let (x, mut y) = (zeros(emulator, 64), zeros(emulator, 2));
        let mut z = emulator.upload(&[0; 192]).unwrap();
        emulator.count(&OTHERS, [3, 1, 1], (&x, &mut y, &mut z)).unwrap()
    });
    assert_eq!(counters.barriers, 3 * 2);
    assert_eq!(counters.copies, global(3 * 3, 3 * (8 + 4 + 4), 3 * 512));
    assert_eq!(counters.shared_copies, shared(3 * 3, 3 * (2 + 1 + 1), 3 * (2 + 1 + 1)));
    // Two warps: y[0], a word a lane of z, the same again, y[1].
    assert_eq!(counters.atomics, global(3 * 2 * 4, 3 * 2 * (1 + 4 + 4 + 1), 3 * 2 * (4 + 128 + 128 + 4)));
    assert_eq!((counters.sectors_read, counters.sectors_written), (8 + 1 + 24, 1 + 24));
    // `exp` has two.
    assert_eq!(counters.multiply_adds, 3 * (64 + 3));
    assert_eq!((counters.divisions, counters.approximations, counters.conversions), (3 * 2, 3 * 3, 3));
    let entries = counters.entries();
    assert!(
        entries.contains(&("copies.requests".to_string(), 9))
            && entries.contains(&("barriers".to_string(), 6))
    );
    let (all, requests) = (counters.global(), counters.atomics.requests + counters.copies.requests);
    assert_eq!(all.requests, requests);
}

/// Products of a warp.
#[kernel(block = [64, 1, 1])]
unsafe fn products_of_warps(y: GlobalMut<f32>) {
    let i = thread::thread_idx_x() as usize;
    let mut sums = warp::mma_m16n8k8([1.0; 4], [1.0; 2], [0.0; 4]);
    if i < 32 {
        sums = warp::mma_m16n8k16_bf16([0; 4], [0; 2], sums);
    }
    y.write4(256 * thread::block_idx_x() as usize + 4 * i, sums);
}

/// Two products of each of two warpgroups, from the same B.
#[kernel(block = [256, 1, 1], shared = 4 * 128 * 32, arch = "sm_90a")]
unsafe fn products_of_warpgroups(y: GlobalMut<f32>) {
    let tile = dynamic_array::<f32, { 128 * 32 }>(0);
    let i = thread::thread_idx_x() as usize;
    for start in (0..128 * 32).step_by(4 * 256) {
        tile.write4(start + 4 * i, [1.0; 4]); // 4 requests of a warp, of 4 wavefronts each
    }
    fence_proxy_async();
    thread::sync_threads();
    let mut sums = Accumulators::new();
    let a = [[1.0; 4]; 2];
    wgmma_fence(&mut sums, &[]);
    wgmma_m64n128k8(&mut sums, false, a[0], tile, 0, 0);
    wgmma_m64n128k8(&mut sums, true, a[1], tile, 0, 24);
    wgmma_commit();
    wgmma_wait(&mut sums, &a);
    y.write(256 * thread::block_idx_x() as usize + i, sums.values()[0][0]);
}

#[test]
fn products_of_matrices() {
    let run = |kernel: &'static Kernel<(GlobalMut<f32>,)>| {
        count(|emulator| emulator.count(kernel, [2, 1, 1], (&mut emulator.allocate(512).unwrap(),)).unwrap())
    };
    // Two blocks of two warps.
    let counters = run(&PRODUCTS_OF_WARPS);
    assert_eq!(counters.matrix_products, 2 * (2 + 1));
    assert_eq!(counters.matrix_multiply_adds, 2 * (2 * 16 * 8 * 8 + 16 * 8 * 16));
    assert_eq!((counters.multiply_adds, counters.shared()), (0, SharedRequests::default()));
    // Two blocks of two warpgroups of four warps.
    let counters = run(&PRODUCTS_OF_WARPGROUPS);
    assert_eq!(counters.matrix_products, 2 * 2 * 4 * 2);
    assert_eq!(counters.matrix_multiply_adds, 2 * 2 * 2 * 64 * 128 * 8);
    // Each reads the 8 × 128 values of B once, 128 bytes at a time.
    let reads = 2 * 2 * 2;
    assert_eq!(counters.shared_operands, shared(reads, reads * 32, reads * 32));
    assert_eq!(counters.shared_stores, shared(2 * 8 * 4, 2 * 8 * 16, 2 * 8 * 16));
    assert_eq!(counters.shared_loads, SharedRequests::default());
    assert_eq!(counters.shared(), shared(64 + reads, 256 + 32 * reads, 256 + 32 * reads));
}

#[test]
fn faults_are_reported_and_launches_add_up() {
    let device = CountingEmulator::default();
    let x = device.upload(&[1.0; 32]).unwrap();
    let mut y = device.upload(&[0.0; 33]).unwrap();
    // SAFETY: the emulator checks.
    unsafe {
        device.launch(&BROADCAST, [1, 1, 1], (&x, &mut y)).unwrap();
        device.launch(&BROADCAST, [2, 1, 1], (&x, &mut y)).unwrap_err();
        device.launch(&BROADCAST, [0, 1, 1], (&x, &mut y)).unwrap();
        device.launch(&BROADCAST, [1, 1, 1], (&x, &mut y)).unwrap();
    }
    device.synchronize().unwrap();
    let counters = device.take();
    assert_eq!((counters.blocks, counters.global_loads), (2, global(4, 4, 16)));
    assert_eq!(device.take(), Counters::default());
    assert_eq!(device.download(&y).unwrap(), [1.0; 33]);
    let mut part = [0.0; 2];
    device.read(&y, 31, &mut part).unwrap();
    assert_eq!((part, y.len()), ([1.0; 2], 33));
}

/// On two threads as on one.
#[test]
fn any_number_of_cores() {
    let all: Vec<Counters> = [1, 2]
        .map(|threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let emulator = Emulator::default();
                let (x, mut y) = (zeros(&emulator, 64), zeros(&emulator, 2));
                let mut z = emulator.upload(&[0; 64 * 40]).unwrap();
                emulator.count(&OTHERS, [40, 1, 1], (&x, &mut y, &mut z)).unwrap()
            })
        })
        .to_vec();
    assert_eq!(all[0], all[1]);
    assert_eq!(all[0].blocks, 40);
}
