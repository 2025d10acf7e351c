//! What the operations of a warp and of one thread compute, against plain models of them.

use cuda_std::{Device, Emulator, Order, prelude::*};

/// All shuffles and votes with each lane's own operands, for the lanes of a mask.
#[kernel(block = [32, 1, 1])]
unsafe fn shuffles(mask: u32, operand: u32, x: Global<f32>, words: GlobalMut<u32>, floats: GlobalMut<f32>) {
    let lane = thread::thread_idx_x() as usize;
    if mask >> lane & 1 == 1 {
        let value = x.read(lane);
        floats.write(lane, warp::shuffle_xor(mask, value, operand));
        words.write(4 * lane, warp::ballot(mask, value > 0.0));
        words.write(4 * lane + 1, u32::from(warp::all(mask, value > 0.0)));
        words.write(4 * lane + 2, u32::from(warp::any(mask, value > 0.0)));
        words.write(4 * lane + 3, warp::shuffle_xor(mask, lane as i32 - 16, operand).cast_unsigned());
    }
}

#[test]
fn shuffles_and_votes() {
    let emulator = Emulator::default();
    for positive in [0, 1, 0x00ff_00f0, 0xffff_0000, u32::MAX] {
        let x: Vec<f32> =
            (0..32).map(|i| if positive >> i & 1 == 1 { 1.0 + i as f32 } else { -1.0 - i as f32 }).collect();
        let buffer = emulator.upload(&x).unwrap();
        for (mask, operand) in
            [(u32::MAX, 0), (u32::MAX, 1), (u32::MAX, 16), (u32::MAX, 31), (0xffff_0000, 15), (0x0f, 3)]
        {
            let (mut words, mut floats) = (emulator.allocate(128).unwrap(), emulator.allocate(32).unwrap());
            emulator.launch(&SHUFFLES, [1, 1, 1], (mask, operand, &buffer, &mut words, &mut floats)).unwrap();
            let (words, floats) = (emulator.download(&words).unwrap(), emulator.download(&floats).unwrap());
            for lane in (0..32).filter(|lane| mask >> lane & 1 == 1) {
                let other = lane ^ operand as usize;
                assert_eq!(floats[lane], x[other]);
                let votes = positive & mask;
                let expected = [
                    votes,
                    u32::from(votes == mask),
                    u32::from(votes != 0),
                    (other as i32 - 16).cast_unsigned(),
                ];
                assert_eq!(words[4 * lane..4 * lane + 4], expected);
            }
        }
    }
}

#[kernel(block = [64, 1, 1])]
unsafe fn moves(operand: u32, y: GlobalMut<u32>) {
    let i = thread::thread_idx_x();
    for (kind, value) in [
        warp::shuffle_down(warp::FULL_MASK, i, operand),
        warp::shuffle_up(warp::FULL_MASK, i, operand),
        warp::shuffle_idx(warp::FULL_MASK, i, operand),
        warp::shuffle_idx(warp::FULL_MASK, i, operand + i),
    ]
    .into_iter()
    .enumerate()
    {
        y.write(kind * 64 + i as usize, value);
    }
}

#[test]
fn shuffles_that_move() {
    for order in [Order::Forward, Order::Backward, Order::Shuffled(5)] {
        let emulator = Emulator { order, ..Emulator::default() };
        for operand in [0, 1, 5, 31, 32, 40, u32::MAX - 100] {
            let mut y = emulator.allocate(256).unwrap();
            emulator.launch(&MOVES, [1, 1, 1], (operand, &mut y)).unwrap();
            let y = emulator.download(&y).unwrap();
            for i in 0..64_u32 {
                let (first, lane) = (i / 32 * 32, i % 32);
                let below = if operand <= lane { i - operand } else { i };
                let above = if operand < 32 - lane { i + operand } else { i };
                let expected = [above, below, first + operand % 32, first + (operand + i) % 32];
                for (kind, expected) in expected.into_iter().enumerate() {
                    assert_eq!(y[kind * 64 + i as usize], expected, "{kind} {operand} {i}");
                }
            }
        }
    }
}

/// One warp multiplies 16 × 8 by 8 × 8 with the tensor cores.
#[kernel(block = [32, 1, 1])]
unsafe fn mma(a: Global<f32>, b: Global<f32>, c: Global<f32>, d: GlobalMut<f32>) {
    let (group, quad) = ((warp::lane_id() / 4) as usize, (warp::lane_id() % 4) as usize);
    let a: [f32; 4] = core::array::from_fn(|i| a.read((group + i % 2 * 8) * 8 + quad + i / 2 * 4));
    let b: [f32; 2] = core::array::from_fn(|i| b.read((quad + i * 4) * 8 + group));
    let place = |i: usize| (group + i / 2 * 8) * 8 + quad * 2 + i % 2;
    let c: [f32; 4] = core::array::from_fn(|i| c.read(place(i)));
    for (i, value) in warp::mma_m16n8k8(a, b, c).into_iter().enumerate() {
        d.write(place(i), value);
    }
}

#[test]
fn tensor_cores() {
    let emulator = Emulator::default();
    let run = |a: &[f32], b: &[f32], c: &[f32]| {
        let mut d = emulator.allocate(128).unwrap();
        let [a, b, c] = [a, b, c].map(|x| emulator.upload(x).unwrap());
        emulator.launch(&MMA, [1, 1, 1], (&a, &b, &c, &mut d)).unwrap();
        emulator.download(&d).unwrap()
    };
    let product = |a: &[f32], b: &[f32], c: &[f32]| -> Vec<f64> {
        let element = |i: usize| {
            let products = (0..8).map(|k| f64::from(a[i / 8 * 8 + k]) * f64::from(b[k * 8 + i % 8]));
            f64::from(c[i]) + products.sum::<f64>()
        };
        (0..128).map(element).collect()
    };
    let integers = |length: usize, step: usize| -> Vec<f32> {
        (0..length).map(|i| (i * step % 17) as f32 - 8.0).collect()
    };
    let (a, b, c) = (integers(128, 5), integers(64, 7), integers(128, 11));
    assert_eq!(run(&a, &b, &c).iter().map(|&d| f64::from(d)).collect::<Vec<_>>(), product(&a, &b, &c));

    // Of fractions the first 10 bits count.
    let fractions =
        |length: usize| -> Vec<f32> { (0..length).map(|i| 1.0 + (i as f32 * 0.618).fract()).collect() };
    let cut = |x: &[f32]| -> Vec<f32> { x.iter().map(|x| f32::from_bits(x.to_bits() & !0x1fff)).collect() };
    let (a, b, c) = (fractions(128), fractions(64), fractions(128));
    for (d, expected) in run(&a, &b, &c).into_iter().zip(product(&cut(&a), &cut(&b), &c)) {
        assert!((f64::from(d) - expected).abs() <= expected * f64::from(f32::EPSILON), "{d} {expected}");
    }
}

#[test]
fn rounding_to_tf32() {
    let cases = [
        (1.0, 1.0),
        (1.0 + 1.0 / 2048.0, 1.0 + 1.0 / 1024.0),
        (-1.0 - 1.0 / 2048.0, -1.0 - 1.0 / 1024.0),
        (1.0 + 1.0 / 2049.0, 1.0),
        (f32::MAX, f32::INFINITY),
        (f32::INFINITY, f32::INFINITY),
        (0.0, 0.0),
    ];
    for (x, expected) in cases {
        assert_eq!(float::to_tf32(x), expected, "{x}");
    }
    assert!(float::to_tf32(f32::NAN).is_nan());
}

#[test]
fn exponentials() {
    let mut worst: f64 = 0.0;
    for i in -1_040_000..=890_000 {
        let x = i as f32 * 1e-4;
        let exact = f64::from(x).exp();
        let unit = f64::from((exact as f32).next_up()) - f64::from(exact as f32);
        if unit.is_finite() {
            worst = worst.max((f64::from(float::exp(x)) - exact).abs() / unit);
        }
    }
    // The GPU's `ex2.approx` may add 2 to what it is here.
    assert!(worst < 1.0, "{worst} units in the last place");
    assert_eq!(float::exp(0.0), 1.0);
    assert_eq!(float::exp(f32::INFINITY), f32::INFINITY);
    assert_eq!(float::exp(100.0), f32::INFINITY);
    assert_eq!(float::exp(f32::NEG_INFINITY), 0.0);
    assert_eq!(float::exp(-1000.0), 0.0);
    assert!(float::exp(f32::NAN).is_nan());
}

#[test]
fn fused_and_not_fused() {
    // Found by rounding: 1 + 2⁻²³ squared is 1 + 2⁻²² + 2⁻⁴⁶.
    let x = 1.0 + f32::EPSILON;
    let square = 1.0 + 2.0 * f32::EPSILON;
    assert_eq!(mul_add(x, x, -square), f32::EPSILON * f32::EPSILON);
    assert_eq!(std::hint::black_box(x) * x - square, 0.0);
}

#[test]
fn one_instruction_each() {
    assert_eq!(float::sqrt(2.0), std::f32::consts::SQRT_2);
    assert_eq!(float::div(1.0, 3.0), 1.0 / 3.0);
    assert_eq!(float::rsqrt_approx(4.0), 0.5);
    assert_eq!(float::rcp_approx(4.0), 0.25);
    assert_eq!(float::rcp_approx(3.0), 1.0 / 3.0);
    assert_eq!(float::exp2_approx(-3.0), 0.125);
}
