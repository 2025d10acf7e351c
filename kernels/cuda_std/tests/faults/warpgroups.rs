//! Products of warpgroups that go wrong: `wgmma` reads shared memory by another way than threads do, and works on while they do
//! other things.

use cuda_std::memory::{cp_async_wait_all, cp_async4, dynamic_array};
use cuda_std::warpgroup::{
    Accumulators, fence_proxy_async, wgmma_commit, wgmma_fence, wgmma_m64n128k8, wgmma_wait,
};

use super::*;

/// This file, for [`at`].
const HERE: (&str, &str) = (file!(), include_str!("warpgroups.rs"));

/// Values of a tile.
const TILE: usize = 128 * 32;
/// A thread's part of A.
const A: [f32; 4] = [1.0; 4];

/// A tile of ones.
unsafe fn fill<const N: usize>(tile: SharedArray<f32, N>) {
    let threads = thread::block_dim_x() as usize;
    for i in (4 * thread()..TILE).step_by(4 * threads) {
        // SAFETY: in range, and each is one thread's.
        unsafe { tile.write4(i, [1.0; 4]) };
    }
}

/// A tile of ones that `wgmma` may take.
unsafe fn ready<const N: usize>(tile: SharedArray<f32, N>) {
    // SAFETY: as there.
    unsafe { fill(tile) };
    fence_proxy_async();
    thread::sync_threads();
}

/// What a kernel of this file is said to have done.
fn fault(kernel: &str, thread: usize, place: &str, what: &str) -> String {
    format!("kernel faults::warpgroups::{kernel} block (0,0,0) thread ({thread},0,0) at {place}: {what}")
}

/// Writes and multiplies, with one of these mistakes.
#[kernel(block = [128, 1, 1], shared = 4 * TILE, arch = "sm_90a")]
unsafe fn written(mistake: u32) {
    let tile = dynamic_array::<f32, TILE>(0); // written tile
    fill(tile);
    if mistake != NO_FENCE && mistake != LATE_FENCE {
        fence_proxy_async();
    }
    if mistake == WRITTEN_AGAIN && thread() == 18 {
        tile.write(72, 2.0); // written again
    }
    thread::sync_threads();
    if mistake == NO_BARRIER && thread() == 18 {
        tile.write(72, 2.0); // no barrier after
        fence_proxy_async();
    }
    if mistake == ANOTHER_FENCE {
        if thread() == 18 {
            tile.write(72, 2.0);
        }
        thread::sync_threads();
        if thread() != 18 {
            fence_proxy_async();
        }
        thread::sync_threads();
    }
    if mistake == LATE_FENCE {
        fence_proxy_async();
    }
    let mut sums = Accumulators::new();
    wgmma_fence(&mut sums, &[]);
    wgmma_m64n128k8(&mut sums, false, A, tile, 0, 0); // takes what is written
    wgmma_commit();
    wgmma_wait(&mut sums, &[A]);
}

const NONE: u32 = 0;
const NO_FENCE: u32 = 1;
const WRITTEN_AGAIN: u32 = 2;
const NO_BARRIER: u32 = 3;
const ANOTHER_FENCE: u32 = 4;
const LATE_FENCE: u32 = 5;

#[test]
fn writes_that_a_product_does_not_see() {
    let tile = at(HERE, "written tile", "dynamic_array::");
    let product = at(HERE, "takes what is written", "wgmma_m64n128k8(");
    for (mistake, element) in [(NO_FENCE, 0), (WRITTEN_AGAIN, 72), (ANOTHER_FENCE, 72), (LATE_FENCE, 0)] {
        let what = format!(
            "wgmma of element {element} of the array of {tile}, which was written without fence_proxy_async and a barrier \
             after it"
        );
        let found = text(|emulator| emulator.launch(&WRITTEN, [1, 1, 1], (mistake,)));
        assert_eq!(found, fault("written", 30, &product, &what), "{mistake}");
    }
    let write = at(HERE, "no barrier after", "write(");
    let what = format!(
        "race: shared read of element 72 of the array of {tile}, which thread (18,0,0) wrote at {write} with no barrier in \
         between"
    );
    let found = text(|emulator| emulator.launch(&WRITTEN, [1, 1, 1], (NO_BARRIER,)));
    assert_eq!(found, fault("written", 30, &product, &what));
    for emulator in support::emulators() {
        emulator.launch(&WRITTEN, [2, 1, 1], (NONE,)).unwrap();
        for mistake in NO_FENCE..=LATE_FENCE {
            emulator.launch(&WRITTEN, [2, 1, 1], (mistake,)).unwrap_err();
        }
    }
}

/// Copies a tile, with a fence where `fence` says: 0 before the wait, 1 after it, 2 after the barrier.
#[kernel(block = [128, 1, 1], shared = 4 * TILE, arch = "sm_90a")]
unsafe fn copied(fence: u32, x: Global<f32>) {
    let tile = dynamic_array::<f32, TILE>(0); // copied tile
    for i in (4 * thread()..TILE).step_by(4 * 128) {
        cp_async4(tile, i, x, i);
    }
    if fence == 0 {
        fence_proxy_async();
    }
    cp_async_wait_all();
    if fence == 1 {
        fence_proxy_async();
    }
    thread::sync_threads();
    if fence == 2 {
        fence_proxy_async();
    }
    let mut sums = Accumulators::new();
    wgmma_fence(&mut sums, &[]);
    wgmma_m64n128k8(&mut sums, false, A, tile, 0, 0); // takes what is copied
    wgmma_commit();
    wgmma_wait(&mut sums, &[A]);
}

#[test]
fn copies_that_a_product_does_not_see() {
    let x = counting(TILE);
    let tile = at(HERE, "copied tile", "dynamic_array::");
    let product = at(HERE, "takes what is copied", "wgmma_m64n128k8(");
    let what = format!(
        "wgmma of element 0 of the array of {tile}, which was written without fence_proxy_async and a barrier after it"
    );
    for fence in [0, 2] {
        let found = text(|emulator| emulator.launch(&COPIED, [1, 1, 1], (fence, &x)));
        assert_eq!(found, fault("copied", 30, &product, &what), "{fence}");
    }
    PARALLEL.launch(&COPIED, [1, 1, 1], (1, &x)).unwrap();
}

/// Multiplies, and a thread writes to the tile again: before the wait, after it, or after a barrier after it. Or it copies before
/// the wait.
#[kernel(block = [128, 1, 1], shared = 4 * TILE, arch = "sm_90a")]
unsafe fn meanwhile(writer: u32, when: u32, x: Global<f32>) {
    let tile = dynamic_array::<f32, TILE>(0); // read tile
    let writes = thread() == writer as usize;
    ready(tile);
    let mut sums = Accumulators::new();
    wgmma_fence(&mut sums, &[]);
    wgmma_m64n128k8(&mut sums, false, A, tile, 0, 0);
    wgmma_commit();
    if writes && when == SOON {
        tile.write(4064, 2.0); // not read
        tile.write(35, 2.0); // before the wait
    }
    if writes && when == COPIED_SOON {
        cp_async4(tile, 36, x, 0); // copies before the wait
    }
    thread::sync_threads();
    if writes && when == BARRIER {
        tile.write(35, 2.0); // before the wait, after a barrier
    }
    wgmma_wait(&mut sums, &[A]); // waits
    if writes && when == WAIT {
        tile.write(35, 2.0); // with no barrier
    }
    thread::sync_threads();
    if writes && when == WAIT_AND_BARRIER {
        tile.write(35, 2.0);
    }
}

const SOON: u32 = 0;
const BARRIER: u32 = 1;
const WAIT: u32 = 2;
const WAIT_AND_BARRIER: u32 = 3;
const COPIED_SOON: u32 = 4;

#[test]
fn writes_to_what_a_product_reads() {
    let x = counting(4);
    let tile = at(HERE, "read tile", "dynamic_array::");
    let run = |writer, when| text(|emulator| emulator.launch(&MEANWHILE, [1, 1, 1], (writer, when, &x)));
    let what = |kind: &str, element: usize| {
        format!(
            "shared {kind} of element {element} of the array of {tile}, which wgmma reads that was not waited for"
        )
    };
    for (when, kind, element, mark, call) in [
        (SOON, "write", 35, "before the wait", "write("),
        (COPIED_SOON, "copy", 36, "copies before the wait", "cp_async4("),
        (BARRIER, "write", 35, "before the wait, after a barrier", "write("),
    ] {
        for writer in [0, 31, 127] {
            let found = run(writer, when);
            let place = at(HERE, mark, call);
            assert_eq!(found, fault("meanwhile", writer as usize, &place, &what(kind, element)), "{mark}");
        }
    }
    // Another warp may not have waited; if it has, nothing says so.
    let (write, wait) = (at(HERE, "with no barrier", "write("), at(HERE, "waits", "wgmma_wait("));
    let race = format!(
        "race: shared write of element 35 of the array of {tile}, which thread (31,0,0) read at {wait} with no barrier in \
         between"
    );
    assert_eq!(run(127, WAIT), fault("meanwhile", 127, &write, &race));
    assert_eq!(run(40, WAIT), fault("meanwhile", 40, &write, &what("write", 35)));
    for emulator in support::emulators() {
        for writer in [0, 31, 40, 127] {
            for when in [SOON, BARRIER, WAIT, COPIED_SOON] {
                emulator.launch(&MEANWHILE, [1, 1, 1], (writer, when, &x)).unwrap_err();
            }
            emulator.launch(&MEANWHILE, [1, 1, 1], (writer, WAIT_AND_BARRIER, &x)).unwrap();
        }
    }
}

/// Two groups of products, the first into two results, with one of these mistakes.
#[kernel(block = [128, 1, 1], shared = 4 * TILE, arch = "sm_90a")]
unsafe fn groups(mistake: u32) {
    let tile = dynamic_array::<f32, TILE>(0);
    ready(tile);
    let (mut sums, mut others) = (Accumulators::new(), Accumulators::new());
    if mistake != NOT_FENCED {
        wgmma_fence(&mut sums, &[]);
    }
    if mistake != OTHERS_NOT_FENCED {
        wgmma_fence(&mut others, &[]);
    }
    wgmma_m64n128k8(&mut sums, false, A, tile, 0, 0); // first
    wgmma_m64n128k8(&mut others, false, A, tile, 0, 8); // of others
    wgmma_m64n128k8(&mut sums, true, A, tile, 0, 16);
    if mistake != NOT_COMMITTED {
        wgmma_commit();
    }
    if mistake != NOT_FENCED_AGAIN {
        wgmma_fence(&mut sums, &[]);
    }
    wgmma_m64n128k8(&mut sums, true, A, tile, 0, 24); // second group
    if mistake != SECOND_NOT_COMMITTED && mistake != NOT_COMMITTED {
        wgmma_commit();
    }
    if mistake == NOT_WAITED_FOR {
        sums.values(); // too soon
    }
    wgmma_wait(&mut sums, &[A]);
    sums.values(); // after the wait
    if mistake == OTHERS_NOT_WAITED_FOR {
        others.values(); // not these
    }
    wgmma_wait(&mut others, &[A]);
    others.values();
}

const NOT_FENCED: u32 = 1;
const OTHERS_NOT_FENCED: u32 = 2;
const NOT_FENCED_AGAIN: u32 = 3;
const NOT_COMMITTED: u32 = 4;
const SECOND_NOT_COMMITTED: u32 = 5;
const NOT_WAITED_FOR: u32 = 6;
const OTHERS_NOT_WAITED_FOR: u32 = 7;

#[test]
fn groups_of_products() {
    let fence = "wgmma_m64n128k8 without a wgmma_fence of its results since the last group";
    let wait = "the results of wgmma before a wgmma_commit and a wgmma_wait for them";
    for (mistake, thread, mark, call, what) in [
        (NOT_FENCED, 31, "first", "wgmma_m64n128k8(", fence),
        (OTHERS_NOT_FENCED, 30, "of others", "wgmma_m64n128k8(", fence),
        (NOT_FENCED_AGAIN, 26, "second group", "wgmma_m64n128k8(", fence),
        (NOT_COMMITTED, 24, "after the wait", "values(", wait),
        (SECOND_NOT_COMMITTED, 23, "after the wait", "values(", wait),
        (NOT_WAITED_FOR, 23, "too soon", "values(", wait),
        (OTHERS_NOT_WAITED_FOR, 22, "not these", "values(", wait),
    ] {
        let found = text(|emulator| emulator.launch(&GROUPS, [1, 1, 1], (mistake,)));
        assert_eq!(found, fault("groups", thread, &at(HERE, mark, call), what));
    }
    for emulator in support::emulators() {
        emulator.launch(&GROUPS, [2, 1, 1], (NONE,)).unwrap();
        emulator.launch(&GROUPS, [2, 1, 1], (SECOND_NOT_COMMITTED,)).unwrap_err();
    }
}

/// Two warpgroups; one warp does something else than the others of its own.
#[kernel(block = [256, 1, 1], shared = 4 * TILE, arch = "sm_90a")]
unsafe fn apart(how: u32, warp: u32) {
    let tile = dynamic_array::<f32, TILE>(0);
    ready(tile);
    let other = thread() / 32 == warp as usize;
    let mut sums = Accumulators::new();
    wgmma_fence(&mut sums, &[]); // all fence
    if other && how == ENDS {
        return;
    }
    if other && how == WAITS {
        wgmma_wait(&mut sums, &[]); // waits too soon
    }
    if other && how == ELSEWHERE {
        wgmma_m64n128k8(&mut sums, false, A, tile, 0, 0); // one warp
    } else {
        wgmma_m64n128k8(&mut sums, false, A, tile, 0, 0); // the others
    }
    wgmma_commit();
    wgmma_wait(&mut sums, &[A]); // all wait
    if other && how == ONCE_MORE {
        wgmma_fence(&mut sums, &[]); // once more
    }
}

const ENDS: u32 = 1;
const WAITS: u32 = 2;
const ELSEWHERE: u32 = 3;
const ONCE_MORE: u32 = 4;

#[test]
fn warps_that_do_different_things() {
    let run = |how, warp| text(|emulator| emulator.launch(&APART, [1, 1, 1], (how, warp)));
    let product = at(HERE, "the others", "wgmma_m64n128k8(");
    for (how, mark, call, name) in [
        (WAITS, "waits too soon", "wgmma_wait(", "wgmma_wait"),
        (ELSEWHERE, "one warp", "wgmma_m64n128k8(", "wgmma_m64n128k8"),
    ] {
        let place = at(HERE, mark, call);
        // The first warp of a warpgroup says what the others do.
        let what =
            format!("{name} of one warp, but another of its warpgroup came to wgmma_m64n128k8 at {product}");
        assert_eq!(run(how, 3), fault("apart", 126, &place, &what));
        assert_eq!(run(how, 5), fault("apart", 190, &place, &what));
        let what =
            format!("wgmma_m64n128k8 of one warp, but another of its warpgroup came to {name} at {place}");
        assert_eq!(run(how, 4), fault("apart", 190, &product, &what));
    }
    let ended = "a warp ended where another of its warpgroup came to";
    for (warp, thread) in [(1, 32), (4, 128), (7, 224)] {
        assert_eq!(run(ENDS, warp), fault("apart", thread, &product, &format!("{ended} wgmma_m64n128k8")));
    }
    let more = at(HERE, "once more", "wgmma_fence(");
    for (warp, thread) in [(0, 32), (3, 0), (5, 128)] {
        assert_eq!(run(ONCE_MORE, warp), fault("apart", thread, &more, &format!("{ended} wgmma_fence")));
    }
    for emulator in support::emulators() {
        for how in [ENDS, WAITS, ELSEWHERE, ONCE_MORE] {
            emulator.launch(&APART, [1, 1, 1], (how, 6)).unwrap_err();
        }
        emulator.launch(&APART, [2, 1, 1], (NONE, 0)).unwrap();
    }
}

/// Ends before the wait, after the commit or not.
#[kernel(block = [128, 1, 1], shared = 4 * TILE, arch = "sm_90a")]
unsafe fn left(commit: u32, wait: u32) {
    let tile = dynamic_array::<f32, TILE>(0);
    ready(tile);
    let mut sums = Accumulators::new();
    wgmma_fence(&mut sums, &[]);
    wgmma_m64n128k8(&mut sums, false, A, tile, 0, 0);
    if commit == 1 {
        wgmma_commit();
    }
    if wait == 1 {
        wgmma_wait(&mut sums, &[A]);
    }
}

#[test]
fn ends_before_a_wait() {
    for (commit, wait) in [(0, 0), (0, 1), (1, 0)] {
        let found = text(|emulator| emulator.launch(&LEFT, [1, 1, 1], (commit, wait)));
        assert_eq!(
            found,
            "kernel faults::warpgroups::left block (0,0,0) thread (0,0,0): ended before wgmma was waited for"
        );
    }
    PARALLEL.launch(&LEFT, [1, 1, 1], (1, 1)).unwrap();
}

#[kernel(block = [224, 1, 1], shared = 4 * TILE, arch = "sm_90a")]
unsafe fn short_warpgroup(warps: u32) {
    if thread() < 32 * warps as usize {
        wgmma_fence(&mut Accumulators::new(), &[]); // short warpgroup
    }
}

#[kernel(block = [128, 1, 1])]
unsafe fn for_all_gpus(which: u32) {
    if which == 0 {
        fence_proxy_async(); // fences for all
    }
    wgmma_commit(); // commits for all
}

#[test]
fn a_short_warpgroup() {
    let found = text(|emulator| emulator.launch(&SHORT_WARPGROUP, [1, 1, 1], (7,)));
    let place = at(HERE, "short warpgroup", "wgmma_fence(");
    assert_eq!(
        found,
        fault("short_warpgroup", 159, &place, "wgmma_fence in a warpgroup of fewer than 128 threads")
    );
    PARALLEL.launch(&SHORT_WARPGROUP, [1, 1, 1], (4,)).unwrap();
}

#[test]
fn in_a_kernel_for_all_gpus() {
    let run = |which| text(|emulator| emulator.launch(&FOR_ALL_GPUS, [1, 1, 1], (which,)));
    let remedy = "in a kernel for all GPUs: say `#[kernel(…, arch = \"sm_90a\")]`";
    let fence = at(HERE, "fences for all", "fence_proxy_async(");
    assert_eq!(run(0), fault("for_all_gpus", 0, &fence, &format!("fence_proxy_async {remedy}")));
    let commit = at(HERE, "commits for all", "wgmma_commit(");
    assert_eq!(run(1), fault("for_all_gpus", 31, &commit, &format!("wgmma_commit {remedy}")));
}

/// A part of a tile, anywhere in an array that begins at word 128 and has 448 words more than a tile.
#[kernel(block = [128, 1, 1], shared = 4 * (128 + TILE + 448), arch = "sm_90a")]
unsafe fn tiles(tile: u32, k: u32) {
    let words = dynamic_array::<f32, { TILE + 448 }>(128); // words
    for i in (thread()..TILE + 448).step_by(128) {
        words.write(i, 1.0);
    }
    fence_proxy_async();
    thread::sync_threads();
    let mut sums = Accumulators::new();
    wgmma_fence(&mut sums, &[]);
    wgmma_m64n128k8(&mut sums, false, A, words, tile as usize, k as usize); // of a tile
    wgmma_commit();
    wgmma_wait(&mut sums, &[A]);
}

/// A tile in an array whose place the compiler chooses.
#[kernel(block = [128, 1, 1], shared = 1024, arch = "sm_90a")]
unsafe fn somewhere() {
    let tile = shared_array![f32; TILE]; // somewhere
    dynamic_array::<f32, 256>(0);
    ready(tile);
    let mut sums = Accumulators::new();
    wgmma_fence(&mut sums, &[]);
    wgmma_m64n128k8(&mut sums, false, A, tile, 0, 0); // of a tile somewhere
}

#[test]
fn tiles_that_wgmma_does_not_take() {
    let (place, words) = (at(HERE, "of a tile", "wgmma_m64n128k8("), at(HERE, "words", "dynamic_array::"));
    let aligned = "does not begin at a multiple of 256 elements of dynamic shared memory";
    let part = "has no such part: k is 0, 8, 16 or 24";
    for (tile, k, what) in
        [(0, 0, aligned), (256, 8, aligned), (132, 16, aligned), (128, 4, part), (384, 32, part)]
    {
        let found = text(|emulator| emulator.launch(&TILES, [1, 1, 1], (tile, k)));
        let what = format!("wgmma of a tile at element {tile} of the array of {words}, k = {k}: it {what}");
        assert_eq!(found, fault("tiles", 31, &place, &what));
    }
    // Lines from 122 on are not there.
    let found = text(|emulator| emulator.launch(&TILES, [1, 1, 1], (640, 24)));
    let what = format!("shared read of element 4560 of the array of {words}, which has 4544");
    assert_eq!(found, fault("tiles", 30, &place, &what));
    for emulator in support::emulators() {
        for (tile, k) in [(128, 0), (128, 8), (384, 16), (384, 24)] {
            emulator.launch(&TILES, [1, 1, 1], (tile, k)).unwrap();
        }
    }
    // So much is looked at without races, too.
    let no_races = Emulator { races: false, ..PARALLEL };
    no_races.launch(&TILES, [1, 1, 1], (128, 0)).unwrap();
    assert_eq!(
        no_races.launch(&TILES, [1, 1, 1], (640, 24)).unwrap_err().to_string(),
        fault("tiles", 30, &place, &what)
    );

    let found = text(|emulator| emulator.launch(&SOMEWHERE, [1, 1, 1], ()));
    let (place, tile) =
        (at(HERE, "of a tile somewhere", "wgmma_m64n128k8("), at(HERE, "somewhere", "shared_array!["));
    let what = format!(
        "wgmma of a tile at element 0 of the array of {tile}, k = 0: it is not in dynamic shared memory, whose beginning is \
         aligned"
    );
    assert_eq!(found, fault("somewhere", 31, &place, &what));
}
