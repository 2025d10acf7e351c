//! The tensor cores and the loads for them, against plain loops.

mod support;

use cuda_std::memory::dynamic_array;
use cuda_std::warpgroup::{
    Accumulators, fence_proxy_async, wgmma_commit, wgmma_fence, wgmma_m64n128k8, wgmma_wait,
};
use cuda_std::{Device, prelude::*};

/// Words of a row in the tests' shared memory: 36 and not 32, so that 8 rows lie in different banks.
const PITCH: usize = 36;
const WORDS: usize = 32 * PITCH;

/// Loads matrices from rows in shared memory; lane i's row is `rows[i]`, at word `column` of it.
#[kernel(block = [32, 1, 1])]
unsafe fn loads(column: u32, rows: Global<u32>, x: Global<u32>, y: GlobalMut<u32>) {
    let tile = shared_array![u32; WORDS];
    let lane = warp::lane_id() as usize;
    for i in (lane..WORDS).step_by(32) {
        tile.write(i, x.read(i));
    }
    thread::sync_threads();
    let index = rows.read(lane) as usize * PITCH + column as usize;
    let [a] = warp::ldmatrix_x1(tile, index);
    let [b, c] = warp::ldmatrix_x2(tile, index);
    let [d, e, f, g] = warp::ldmatrix_x4(tile, index);
    let [h] = warp::ldmatrix_x1_transposed(tile, index);
    let [i, j] = warp::ldmatrix_x2_transposed(tile, index);
    let [k, l, m, n] = warp::ldmatrix_x4_transposed(tile, index);
    for (slot, word) in [a, b, c, d, e, f, g, h, i, j, k, l, m, n].into_iter().enumerate() {
        y.write(14 * lane + slot, word);
    }
}

#[test]
fn loads_bring_words_to_their_lanes() {
    let x: Vec<u32> = (0..WORDS as u32).map(|i| i.wrapping_mul(0x9e37_79b9)).collect();
    let rows: Vec<u32> = (0..32).map(|lane| lane * 7 % 32).collect();
    for emulator in support::emulators() {
        for column in [0, 4, 28] {
            let (x, rows) = (emulator.upload(&x).unwrap(), emulator.upload(&rows).unwrap());
            let mut y = emulator.upload(&[0; 32 * 14]).unwrap();
            emulator.launch(&LOADS, [1, 1, 1], (column, &rows, &x, &mut y)).unwrap();
            let (x, y) = (emulator.download(&x).unwrap(), emulator.download(&y).unwrap());
            let word = |matrix: usize, row: usize, word: usize| {
                x[(8 * matrix + row) * 7 % 32 * PITCH + column as usize + word]
            };
            let half = |matrix: usize, row: usize, column: usize| {
                word(matrix, row, column / 2) >> (16 * (column % 2)) & 0xffff
            };
            for lane in 0..32 {
                let (r, c) = (lane / 4, lane % 4);
                let plain = |matrix| word(matrix, r, c);
                let turned = |matrix| half(matrix, 2 * c, r) | half(matrix, 2 * c + 1, r) << 16;
                let matrices = [0, 0, 1, 0, 1, 2, 3];
                let expected: Vec<u32> =
                    matrices.iter().map(|&i| plain(i)).chain(matrices.iter().map(|&i| turned(i))).collect();
                assert_eq!(y[14 * lane..14 * lane + 14], expected, "lane {lane}");
            }
        }
    }
}

/// C (16 × 8) += A (16 × 16) B (16 × 8) in bf16, all row-major, by way of shared memory.
#[kernel(block = [32, 1, 1])]
unsafe fn product_bf16(a: Global<f32>, b: Global<f32>, c: GlobalMut<f32>) {
    let a_tile = shared_array![u32; 16 * 8]; // (16 × 16 halves)
    let b_tile = shared_array![u32; 16 * 4]; // (16 × 8 halves)
    let lane = warp::lane_id() as usize;
    for i in (lane..16 * 8).step_by(32) {
        a_tile.write(i, float::pack_bf16(a.read(2 * i), a.read(2 * i + 1)));
    }
    for i in (lane..16 * 4).step_by(32) {
        b_tile.write(i, float::pack_bf16(b.read(2 * i), b.read(2 * i + 1)));
    }
    thread::sync_threads();
    // Matrices: rows 0 to 7 and 8 to 15 of the first 8 values along k, then of the others.
    let a = warp::ldmatrix_x4(a_tile, lane % 16 * 8 + lane / 16 * 4);
    let b = warp::ldmatrix_x2_transposed(b_tile, lane % 16 * 4);
    let place = |i: usize| (lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2;
    let c_old = core::array::from_fn(|i| c.read(place(i)));
    for (i, value) in warp::mma_m16n8k16_bf16(a, b, c_old).into_iter().enumerate() {
        c.write(place(i), value);
    }
}

/// C (16 × 8) += A (16 × 8) Bᵀ (8 × 8) in tf32, all row-major, by way of shared memory.
#[kernel(block = [32, 1, 1])]
unsafe fn product_tf32(a: Global<f32>, b: Global<f32>, c: GlobalMut<f32>) {
    let a_tile = shared_array![f32; 16 * 8];
    let b_tile = shared_array![f32; 8 * 8];
    let lane = warp::lane_id() as usize;
    for i in (lane..16 * 8).step_by(32) {
        a_tile.write(i, float::to_tf32(a.read(i)));
    }
    for i in (lane..8 * 8).step_by(32) {
        b_tile.write(i, float::to_tf32(b.read(i)));
    }
    thread::sync_threads();
    let a = warp::ldmatrix_x4(a_tile, lane % 16 * 8 + lane / 16 * 4);
    let b = warp::ldmatrix_x2(b_tile, lane % 8 * 8 + lane / 8 % 2 * 4);
    let place = |i: usize| (lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2;
    let c_old = core::array::from_fn(|i| c.read(place(i)));
    for (i, value) in warp::mma_m16n8k8(a, b, c_old).into_iter().enumerate() {
        c.write(place(i), value);
    }
}

/// Columns of what `wgmma` multiplies, and the values of k that a tile for it has.
const COLUMNS: usize = 128;
const TILE_K: usize = 32;
/// Two warpgroups, for 64 rows each.
const THREADS: usize = 256;
const ROWS: usize = THREADS / 2;
/// Of k, what one `wgmma` multiplies.
const STEP: usize = 8;
/// The first word of the tests' array in shared memory, and that of the last tile in the array: together a multiple of 256.
const FIRST: usize = 64;
const LAST_TILE: usize = 3 * 256 - FIRST;
const VALUES: usize = LAST_TILE + COLUMNS * TILE_K;

/// C (128 × 128) = A₀ B₀ + A₁ B₁, without the first product unless `accumulate` is 1. A₀ and A₁ (128 × 8) stand side by side in `a`,
/// B₀ and B₁ are of the tile Bᵀ (128 × 32) in `b`, from `first` and from `second` of k on.
#[kernel(block = [THREADS as u32, 1, 1], shared = 4 * (FIRST + VALUES), arch = "sm_90a")]
unsafe fn product_wgmma(
    tile: u32,
    first: u32,
    second: u32,
    accumulate: u32,
    a: Global<f32>,
    b: Global<f32>,
    c: GlobalMut<f32>,
) {
    let shared = dynamic_array::<f32, VALUES>(FIRST);
    let (tile, thread) = (tile as usize, thread::thread_idx_x() as usize);
    for i in (thread..COLUMNS * TILE_K).step_by(THREADS) {
        let (column, k) = (i / TILE_K, i % TILE_K);
        shared.write(tile + 32 * column + 4 * ((k / 4) ^ (column % 8)) + k % 4, b.read(i));
    }
    fence_proxy_async();
    thread::sync_threads();
    let (row, quad) = (thread / 32 * 16 + thread % 32 / 4, thread % 4);
    let a = [0, 1].map(|step| {
        [(0, 0), (8, 0), (0, 4), (8, 4)]
            .map(|(down, along)| a.read((row + down) * 2 * STEP + step * STEP + along + quad))
    });
    let mut sums = Accumulators::new();
    wgmma_fence(&mut sums, &[]);
    wgmma_m64n128k8(&mut sums, false, a[0], shared, tile, first as usize);
    wgmma_m64n128k8(&mut sums, accumulate == 1, a[1], shared, tile, second as usize);
    wgmma_commit();
    wgmma_wait(&mut sums, &a);
    for (j, four) in sums.values().into_iter().enumerate() {
        for (i, value) in four.into_iter().enumerate() {
            c.write((row + i / 2 * 8) * COLUMNS + 8 * j + 2 * quad + i % 2, value);
        }
    }
}

/// Numbers of either sign that are no integers, the same in every run.
fn fractions(length: usize, step: usize) -> Vec<f32> {
    (0..length).map(|i| ((i * step + 3) as f32 * 0.618).fract() * 4.0 - 2.0).collect()
}

fn integers(length: usize, step: usize) -> Vec<f32> {
    (0..length).map(|i| (i * step % 17) as f32 - 8.0).collect()
}

/// Fails unless `got` is C + A B, with A's and B's values rounded: integers exactly, others to 2 units of `f32`.
fn check(
    got: &[f32],
    (c, columns): (&[f32], usize),
    k: usize,
    a: impl Fn(usize, usize) -> f32,
    b: impl Fn(usize, usize) -> f32,
) {
    for (i, &got) in got.iter().enumerate() {
        let term = |l: usize| f64::from(a(i / columns, l)) * f64::from(b(l, i % columns));
        let exact = f64::from(c[i]) + (0..k).map(term).sum::<f64>();
        let size = f64::from(c[i]).abs() + (0..k).map(|l| term(l).abs()).sum::<f64>();
        let bound = if exact.fract() == 0.0 { 0.0 } else { size * f64::from(f32::EPSILON) };
        assert!((f64::from(got) - exact).abs() <= bound, "element {i}: {got}, not {exact}");
    }
}

#[test]
fn products() {
    let bf16 = |x: f32| float::unpack_bf16(float::pack_bf16(x, 0.0))[0];
    for emulator in support::emulators() {
        for numbers in [integers, fractions] {
            let (a, b, c) = (numbers(256, 5), numbers(128, 7), numbers(128, 11));
            let mut out = emulator.upload(&c).unwrap();
            let operands = (&emulator.upload(&a).unwrap(), &emulator.upload(&b).unwrap());
            emulator.launch(&PRODUCT_BF16, [1, 1, 1], (operands.0, operands.1, &mut out)).unwrap();
            let got = emulator.download(&out).unwrap();
            check(&got, (&c, 8), 16, |row, k| bf16(a[row * 16 + k]), |k, column| bf16(b[k * 8 + column]));

            let (a, b) = (numbers(128, 3), numbers(64, 13));
            let mut out = emulator.upload(&c).unwrap();
            let operands = (&emulator.upload(&a).unwrap(), &emulator.upload(&b).unwrap());
            emulator.launch(&PRODUCT_TF32, [1, 1, 1], (operands.0, operands.1, &mut out)).unwrap();
            let got = emulator.download(&out).unwrap();
            let (a, b) = (a.iter().map(|&x| float::to_tf32(x)), b.iter().map(|&x| float::to_tf32(x)));
            let (a, b): (Vec<f32>, Vec<f32>) = (a.collect(), b.collect());
            check(&got, (&c, 8), 8, |row, k| a[row * 8 + k], |k, column| b[column * 8 + k]);
        }
    }
}

#[test]
fn products_of_warpgroups() {
    // What the tensor cores see of a value: its last 13 bits are no part of tf32.
    let seen = |x: f32| f32::from_bits(x.to_bits() & !0x1fff);
    let zeros = [0.0; ROWS * COLUMNS];
    for emulator in support::emulators() {
        for numbers in [integers, fractions] {
            let (a, b) = (numbers(ROWS * 2 * STEP, 5), numbers(COLUMNS * TILE_K, 7));
            let operands = (&emulator.upload(&a).unwrap(), &emulator.upload(&b).unwrap());
            for (tile, first, second) in [(192, 0, 8), (LAST_TILE, 8, 24), (448, 16, 16), (LAST_TILE, 24, 0)]
            {
                for accumulate in [0, 1] {
                    let mut c = emulator.upload(&[f32::NAN; ROWS * COLUMNS]).unwrap();
                    let arguments = (
                        tile as u32,
                        first as u32,
                        second as u32,
                        accumulate as u32,
                        operands.0,
                        operands.1,
                        &mut c,
                    );
                    emulator.launch(&PRODUCT_WGMMA, [1, 1, 1], arguments).unwrap();
                    let got = emulator.download(&c).unwrap();
                    // Without the first product only the second step is left.
                    let skipped = STEP * (1 - accumulate);
                    check(
                        &got,
                        (&zeros, COLUMNS),
                        STEP * (1 + accumulate),
                        |row, l| seen(a[row * 2 * STEP + skipped + l]),
                        |l, column| {
                            let k = [first, second][(skipped + l) / STEP] + l % STEP;
                            seen(b[column * TILE_K + k])
                        },
                    );
                }
            }
        }
    }
}

#[test]
fn rounding_to_bf16() {
    let cases = [
        (1.0, 1.0),
        (-1.0, -1.0),
        (1.0 + 1.0 / 256.0, 1.0),                 // a tie, to even
        (1.0 + 3.0 / 256.0, 1.0 + 4.0 / 256.0),   // a tie, to even
        (1.0 + 1.001 / 256.0, 1.0 + 2.0 / 256.0), // above a tie
        (-1.0 - 0.999 / 256.0, -1.0),             // below a tie
        (f32::MAX, f32::INFINITY),                // beyond the largest
        (f32::NEG_INFINITY, f32::NEG_INFINITY),
        (f32::from_bits(0x0001_8000), f32::from_bits(0x0002_0000)), // subnormal, a tie
        (0.0, 0.0),
        (-0.0, -0.0),
    ];
    for (x, expected) in cases {
        for (low, high) in [(x, 7.0), (7.0, x)] {
            let [a, b] = float::unpack_bf16(float::pack_bf16(low, high));
            let (rounded, other) = if low == 7.0 { (b, a) } else { (a, b) };
            assert_eq!((rounded.to_bits(), other), (f32::to_bits(expected), 7.0), "{x}");
        }
    }
    assert_eq!(float::pack_bf16(f32::NAN, -f32::NAN), 0x7fff_7fff);
}

/// Rows of four words that lie `pitch` words apart.
#[kernel(block = [32, 1, 1])]
unsafe fn rows_apart(pitch: u32) {
    let tile = shared_array![f32; 1152];
    let lane = warp::lane_id() as usize;
    for i in (4 * lane..1152).step_by(128) {
        tile.write4(i, [0.0; 4]);
    }
    thread::sync_threads();
    warp::ldmatrix_x4(tile, lane * pitch as usize);
    warp::ldmatrix_x2(tile, lane % 16 * pitch as usize);
    warp::ldmatrix_x1(tile, lane % 8 * pitch as usize);
}

#[test]
fn banks_of_matrices() {
    for emulator in support::emulators() {
        // Each matrix is a part: 8 rows of 16 bytes, side by side; 128 bytes apart, so all in the same banks; padded.
        for (pitch, of_matrix) in [(4, 1), (32, 8), (36, 1), (16, 4)] {
            let counters = emulator.count(&ROWS_APART, [1, 1, 1], (pitch,)).unwrap();
            let loads = counters.shared_loads;
            assert_eq!((loads.requests, loads.ideal), (3, 4 + 2 + 1));
            assert_eq!(loads.wavefronts, of_matrix * loads.ideal, "rows {pitch} words apart");
        }
    }
}
