use cuda_std::{Device, Global, GlobalMut, Kernel};
use kernels::elementwise::{SIGMOID_ERROR, THREADS, grid};

use super::{Case, Shape};
use crate::{Data, Expected, Failure, Source};

const BLOCK: usize = THREADS as usize;

/// Around the edges of blocks, and four by seed.
pub fn sizes(source: &mut Source) -> Vec<Shape> {
    let mut sizes = vec![0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK];
    sizes.extend((0..4).map(|_| source.size(2, 2000)));
    sizes.into_iter().map(|n| [n, 1, 1]).collect()
}

/// What any rounding to nearest may do.
fn rounded(data: Data, value: f64) -> Expected {
    Expected::rounded(data, value, 0.0, 0)
}

pub fn multiply<D: Device>(case: &mut Case<D>, [n, ..]: Shape) -> Result<(), Failure> {
    let &mut Case { rig, kernels, data, ref mut source, ref mut tally } = case;
    let (a, b) = (source.numbers(data, n), source.numbers(data, n));
    let expected: Vec<_> =
        a.iter().zip(&b).map(|(&a, &b)| rounded(data, f64::from(a) * f64::from(b))).collect();
    let mut out = rig.output(n)?;
    rig.launch(kernels.multiply, grid(n), (n as u32, &rig.upload(&a)?, &rig.upload(&b)?, &mut out))?;
    tally.compare(&format_args!("multiply n = {n}"), &rig.download(&out)?, &expected)
}

pub fn divide<D: Device>(case: &mut Case<D>, [n, ..]: Shape) -> Result<(), Failure> {
    let &mut Case { rig, kernels, data, ref mut source, ref mut tally } = case;
    let a = source.numbers(data, n);
    // From 1 to 3, or powers of two.
    let b: Vec<f32> = match data {
        Data::Integers => (0..n).map(|_| (1 << source.size(0, 3)) as f32).collect(),
        Data::Reals => (0..n).map(|_| 2.0 + source.number(data)).collect(),
    };
    let expected: Vec<_> =
        a.iter().zip(&b).map(|(&a, &b)| rounded(data, f64::from(a) / f64::from(b))).collect();
    let mut out = rig.output(n)?;
    rig.launch(kernels.divide, grid(n), (n as u32, &rig.upload(&a)?, &rig.upload(&b)?, &mut out))?;
    tally.compare(&format_args!("divide n = {n}"), &rig.download(&out)?, &expected)
}

pub fn relu<D: Device>(case: &mut Case<D>, [n, ..]: Shape) -> Result<(), Failure> {
    let z = case.source.numbers(case.data, n);
    relu_at(case, &z)
}

/// The ends of the numbers, and what is none.
pub fn relu_special<D: Device>(case: &mut Case<D>) -> Result<(), Failure> {
    let ends = [f32::INFINITY, f32::NEG_INFINITY, f32::MIN_POSITIVE, -f32::MIN_POSITIVE, f32::MAX, f32::MIN];
    relu_at(case, &ends)?;
    keeps_nan(case, case.kernels.relu)
}

fn relu_at<D: Device>(case: &mut Case<D>, z: &[f32]) -> Result<(), Failure> {
    let Case { rig, kernels, tally, .. } = case;
    let n = z.len();
    let expected: Vec<_> = z.iter().map(|&z| Expected::exact(f64::from(relu_of(z)))).collect();
    let mut out = rig.output(n)?;
    rig.launch(kernels.relu, grid(n), (n as u32, &rig.upload(z)?, &mut out))?;
    tally.compare(&format_args!("relu n = {n}"), &rig.download(&out)?, &expected)
}

pub fn sigmoid<D: Device>(case: &mut Case<D>, [n, ..]: Shape) -> Result<(), Failure> {
    let z = case.source.numbers(case.data, n);
    sigmoid_at(case, &z)
}

/// Where e⁻ᶻ is tiny, huge, no longer normal, zero, infinite, and what is no number.
pub fn sigmoid_special<D: Device>(case: &mut Case<D>) -> Result<(), Failure> {
    sigmoid_at(case, &(-1100..=1100).map(|tenths| tenths as f32 * 0.1).collect::<Vec<_>>())?;
    sigmoid_at(case, &[1e30, -1e30, f32::MAX, f32::MIN, f32::MIN_POSITIVE, 1e-30, -1e-30])?;
    let Case { rig, kernels, tally, .. } = case;
    let special = [0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY];
    let expected = [0.5, 0.5, 1.0, 0.0].map(Expected::exact);
    let mut out = rig.output(4)?;
    rig.launch(kernels.sigmoid, grid(4), (4, &rig.upload(&special)?, &mut out))?;
    tally.compare(&"sigmoid of 0, -0, inf, -inf", &rig.download(&out)?, &expected)?;
    keeps_nan(case, case.kernels.sigmoid)
}

fn sigmoid_at<D: Device>(case: &mut Case<D>, z: &[f32]) -> Result<(), Failure> {
    let Case { rig, kernels, tally, .. } = case;
    let n = z.len();
    let expected: Vec<_> = z.iter().map(|&z| sigmoid_of(f64::from(z), 0.0)).collect();
    let mut out = rig.output(n)?;
    rig.launch(kernels.sigmoid, grid(n), (n as u32, &rig.upload(z)?, &mut out))?;
    tally.compare(&format_args!("sigmoid n = {n}"), &rig.download(&out)?, &expected)
}

/// σ(z) for a z that is off by at most `error`: σ is nowhere steeper than 1/4. Results that are not normal
/// numbers may be off by a few of the smallest steps.
pub fn sigmoid_of(z: f64, error: f64) -> Expected {
    let value = 1.0 / (1.0 + (-z).exp());
    let bound = error / 4.0 + f64::from(SIGMOID_ERROR) * value + f64::from(f32::from_bits(4));
    Expected { value, bound }
}

/// max(z, 0); what is no number stays none.
pub fn relu_of(z: f32) -> f32 {
    if z < 0.0 { 0.0 } else { z }
}

/// σ(z) of a z that is no finite number.
pub fn sigmoid_of_others(z: f32) -> f32 {
    if z.is_nan() { z } else { f32::from(z > 0.0) }
}

/// A NaN must come out as a NaN.
fn keeps_nan<D: Device>(
    case: &Case<D>,
    kernel: &Kernel<(u32, Global<f32>, GlobalMut<f32>)>,
) -> Result<(), Failure> {
    let rig = case.rig;
    let mut out = rig.upload(&[0.0])?;
    rig.launch(kernel, grid(1), (1, &rig.upload(&[f32::NAN])?, &mut out))?;
    let got = rig.download(&out)?[0];
    if got.is_nan() { Ok(()) } else { Err(format!("NaN became {got:e}")) }
}

pub fn update<D: Device>(case: &mut Case<D>, [n, ..]: Shape) -> Result<(), Failure> {
    let &mut Case { rig, kernels, data, ref mut source, ref mut tally } = case;
    let rate: f32 = if data == Data::Integers { 0.5 } else { 0.1 };
    let (gradient, weights) = (source.numbers(data, n), source.numbers(data, n));
    let expected: Vec<_> = (gradient.iter().zip(&weights))
        .map(|(&gradient, &weight)| rounded(data, f64::from(weight) - f64::from(rate) * f64::from(gradient)))
        .collect();
    let mut out = rig.upload(&weights)?;
    rig.launch(kernels.update, grid(n), (n as u32, rate, &rig.upload(&gradient)?, &mut out))?;
    tally.compare(&format_args!("update n = {n}"), &rig.download(&out)?, &expected)
}
