//! The checker itself must fail where something is wrong.

use cuda_std::{Emulator, GlobalMut, Order, kernel, thread};
use kernel_suite::{Data, Expected, Rig, Source, Tally, UNIT_ROUNDOFF, gamma};
use libtest_mimic::{Failed, Trial};

pub fn trials() -> Vec<Trial> {
    vec![
        Trial::test("checker/accepts-rounding", accepts_rounding),
        Trial::test("checker/nan", nan),
        Trial::test("checker/one-element", one_element),
        Trial::test("checker/swapped-rows", swapped_rows),
        Trial::test("checker/beyond-bound", beyond_bound),
        Trial::test("checker/length", length),
        Trial::test("checker/guard-band", guard_band),
    ]
}

const ROWS: usize = 3;
const COLUMNS: usize = 4;

/// A matrix and its reference, as if each element were a sum of ten terms.
fn matrix(data: Data) -> (Vec<f32>, Vec<Expected>) {
    let got = Source::new(99).numbers(data, ROWS * COLUMNS);
    let expected =
        got.iter().map(|&x| Expected::rounded(data, f64::from(x), f64::from(x.abs()), 10)).collect();
    (got, expected)
}

fn accepts(got: &[f32], expected: &[Expected]) -> bool {
    Tally::default().compare(&"test", got, expected).is_ok()
}

fn ensure(holds: bool, what: &str) -> Result<(), Failed> {
    if holds { Ok(()) } else { Err(what.into()) }
}

fn accepts_rounding() -> Result<(), Failed> {
    for data in Data::ALL {
        let (got, expected) = matrix(data);
        ensure(accepts(&got, &expected), "the reference itself was refused")?;
    }
    let (mut got, expected) = matrix(Data::Reals);
    got[5] = got[5].next_up();
    ensure(
        accepts(&got, &expected),
        "one unit in the last place was refused, where ten roundings are allowed",
    )
}

fn nan() -> Result<(), Failed> {
    for data in Data::ALL {
        let (mut got, expected) = matrix(data);
        got[7] = f32::NAN;
        ensure(!accepts(&got, &expected), "a NaN was accepted")?;
    }
    Ok(())
}

fn one_element() -> Result<(), Failed> {
    for index in 0..ROWS * COLUMNS {
        let (mut got, expected) = matrix(Data::Integers);
        got[index] = got[index].next_up();
        ensure(!accepts(&got, &expected), "one changed bit was accepted on integers")?;
        let (mut got, expected) = matrix(Data::Reals);
        got[index] *= 1.0 + 1e-5;
        ensure(!accepts(&got, &expected), "one changed element was accepted on reals")?;
    }
    Ok(())
}

fn swapped_rows() -> Result<(), Failed> {
    for data in Data::ALL {
        let (mut got, expected) = matrix(data);
        let (first, second) = got.split_at_mut(COLUMNS);
        first.swap_with_slice(&mut second[..COLUMNS]);
        ensure(!accepts(&got, &expected), "two swapped rows were accepted")?;
    }
    Ok(())
}

fn beyond_bound() -> Result<(), Failed> {
    let expected = [Expected::rounded(Data::Reals, 1.0, 1.0, 3)];
    ensure(expected[0].bound == gamma(3) + UNIT_ROUNDOFF, "the bound is not γ_d |A||B| + u|c|")?;
    let just_inside = 1.0 + 4.0 * UNIT_ROUNDOFF as f32;
    let just_outside = 1.0 + 6.0 * UNIT_ROUNDOFF as f32;
    ensure(accepts(&[just_inside], &expected), "an error of 4 u was refused, where 4 u are allowed")?;
    ensure(!accepts(&[just_outside], &expected), "an error of 6 u was accepted, where 4 u are allowed")
}

fn length() -> Result<(), Failed> {
    let (got, expected) = matrix(Data::Integers);
    ensure(!accepts(&got[1..], &expected), "a missing element was accepted")
}

/// Writes one element more than it should.
#[kernel(block = [32, 1, 1])]
unsafe fn writes_too_far(n: u32, out: GlobalMut<f32>) {
    let i = thread::thread_idx_x() as usize;
    if i <= n as usize {
        out.write(i, 1.0);
    }
}

fn guard_band() -> Result<(), Failed> {
    let rig = Rig { guard: 8, ..Rig::<Emulator>::emulator(Order::Forward) };
    let mut out = rig.output(5)?;
    rig.launch(&WRITES_TOO_FAR, [1, 1, 1], (4, &mut out))?;
    ensure(rig.download(&out).is_ok(), "a band that nothing touched was reported")?;
    rig.launch(&WRITES_TOO_FAR, [1, 1, 1], (5, &mut out))?;
    ensure(rig.download(&out).is_err(), "a write to the band was not noticed")
}
