use cuda_std::{Device, Global, GlobalMut, Kernel};
use kernels::dense::{split_k, tensor_core};

use super::elementwise::sigmoid_of;
use super::matmul::{Accuracy, FP32, NotFinite, partial_sums, reference};
use super::{Case, Shape};
use crate::{Data, Expected, Failure, UNIT_ROUNDOFF};

type Layer = Kernel<(u32, u32, u32, Global<f32>, Global<f32>, Global<f32>, GlobalMut<f32>)>;
type Finish = Kernel<(u32, u32, u32, Global<f32>, Global<f32>, GlobalMut<f32>)>;

/// The reference for g(z) from that for z.
type Activation = fn(Expected) -> Expected;

/// The reference for σ(z) from that for z.
pub fn sigmoid(z: Expected) -> Expected {
    sigmoid_of(z.value, z.bound)
}

/// The reference for max(z, 0) from that for z: the nearer of the two cannot be farther off than z is.
pub fn relu(z: Expected) -> Expected {
    Expected { value: z.value.max(0.0), ..z }
}

/// g(Σ + b), each column with its own b.
fn expected(
    data: Data,
    sums: Vec<(f64, f64)>,
    bias: &[f32],
    (accuracy, depth): (Accuracy, usize),
    activation: Activation,
) -> Vec<Expected> {
    let biases = bias.iter().map(|&b| f64::from(b)).cycle();
    let with_bias = |((value, magnitude), b): ((f64, f64), f64)| {
        activation(accuracy.expected(data, (value + b, magnitude + b.abs()), depth, 1))
    };
    sums.into_iter().zip(biases).map(with_bias).collect()
}

/// A layer in one launch.
pub fn layer<D: Device>(
    kernel: &Layer,
    grid: fn(usize, usize) -> [u32; 3],
    accuracy: Accuracy,
    activation: Activation,
    case: &mut Case<D>,
    [batch, units, inputs]: Shape,
) -> Result<(), Failure> {
    let &mut Case { rig, data, ref mut source, ref mut tally, .. } = case;
    let (input, weights) = (source.numbers(data, batch * inputs), source.numbers(data, inputs * units));
    let bias = source.numbers(data, units);
    let sums = reference([batch, units, inputs], 0..inputs, [false, false], &input, &weights);
    let expected = expected(data, sums, &bias, (accuracy, inputs), activation);
    let mut out = rig.output(batch * units)?;
    let (input, weights, bias) = (rig.upload(&input)?, rig.upload(&weights)?, rig.upload(&bias)?);
    let arguments = (batch as u32, units as u32, inputs as u32, &input, &weights, &bias, &mut out);
    rig.launch(kernel, grid(batch, units), arguments)?;
    let place = format_args!("{} batch, units, inputs = {batch}, {units}, {inputs}", kernel.entry());
    tally.compare(&place, &rig.download(&out)?, &expected)
}

/// A layer by the tensor cores, whose product is of operands that are not finite, or nearly so: g of what fused multiply-adds
/// make of them, for g(z) of z that are no finite numbers as well.
pub fn not_finite<D: Device>(
    kernel: &Layer,
    (activation, of_others): (Activation, fn(f32) -> f32),
    case: &mut Case<D>,
) -> Result<(), Failure> {
    for k in NotFinite::DEPTHS {
        let NotFinite { shape: [batch, units, _], a, b, product } = NotFinite::of(k, [false, false]);
        let bias: Vec<f32> = (0..units).map(|unit| unit as f32 - 2.0).collect();
        let mut out = case.rig.output(batch * units)?;
        let (input, weights) = (case.rig.upload(&a)?, case.rig.upload(&b)?);
        let arguments =
            (batch as u32, units as u32, k as u32, &input, &weights, &case.rig.upload(&bias)?, &mut out);
        case.rig.launch(kernel, tensor_core::grid(batch, units), arguments)?;
        let got = case.rig.download(&out)?;
        for (i, (got, sum)) in got.into_iter().zip(product).enumerate() {
            let z = sum + bias[i % units];
            let fits = if z.is_finite() {
                let Expected { value, bound } =
                    activation(Expected { value: f64::from(z), bound: f64::from(z.abs()) * UNIT_ROUNDOFF });
                (f64::from(got) - value).abs() <= bound
            } else {
                got == of_others(z) || (got.is_nan() && of_others(z).is_nan())
            };
            if !fits {
                let (name, row, unit) = (kernel.entry(), i / units, i % units);
                return Err(format!(
                    "{name} not finite, inputs = {k}: {row}, {unit} is {got:e} for z = {z:e}"
                ));
            }
        }
    }
    Ok(())
}

/// The second launch of a layer whose product was split.
pub fn finish<D: Device>(
    kernel: &Finish,
    activation: Activation,
    case: &mut Case<D>,
    [batch, units, splits]: Shape,
) -> Result<(), Failure> {
    let &mut Case { rig, data, ref mut source, ref mut tally, .. } = case;
    let (partials, sums, depth) = partial_sums(source, data, [batch, units, splits]);
    let bias = source.numbers(data, units);
    let expected = expected(data, sums, &bias, (FP32, depth), activation);
    let mut out = rig.output(batch * units)?;
    let (partials, bias) = (rig.upload(&partials)?, rig.upload(&bias)?);
    let arguments = (batch as u32, units as u32, splits as u32, &partials, &bias, &mut out);
    rig.launch(kernel, split_k::finish_grid(batch, units), arguments)?;
    let place = format_args!("{} batch, units, splits = {batch}, {units}, {splits}", kernel.entry());
    tally.compare(&place, &rig.download(&out)?, &expected)
}
