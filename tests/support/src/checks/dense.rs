use cuda_std::{Device, Global, GlobalMut, Kernel};
use kernels::dense::tiled::grid;

use super::elementwise::sigmoid_of;
use super::matmul::reference;
use super::{Case, Shape};
use crate::{Expected, Failure};

type Layer = Kernel<(u32, u32, u32, Global<f32>, Global<f32>, Global<f32>, GlobalMut<f32>)>;

/// The reference for σ(z) from that for z.
pub fn sigmoid(z: Expected) -> Expected {
    sigmoid_of(z.value, z.bound)
}

/// The reference for max(z, 0) from that for z: the nearer of the two cannot be farther off than z is.
pub fn relu(z: Expected) -> Expected {
    Expected { value: z.value.max(0.0), ..z }
}

/// `activation` gives the reference for g(z) from that for z.
pub fn layer<D: Device>(
    kernel: &Layer,
    activation: fn(Expected) -> Expected,
    case: &mut Case<D>,
    [batch, units, inputs]: Shape,
) -> Result<(), Failure> {
    let &mut Case { rig, data, ref mut source, ref mut tally, .. } = case;
    let (input, weights) = (source.numbers(data, batch * inputs), source.numbers(data, inputs * units));
    let bias = source.numbers(data, units);
    let expected: Vec<_> = reference([batch, units, inputs], [false, false], &input, &weights)
        .into_iter()
        .enumerate()
        .map(|(i, (value, magnitude))| {
            let b = f64::from(bias[i % units]);
            activation(Expected::rounded(data, value + b, magnitude + b.abs(), inputs + 1))
        })
        .collect();
    let mut out = rig.output(batch * units)?;
    let (input, weights, bias) = (rig.upload(&input)?, rig.upload(&weights)?, rig.upload(&bias)?);
    let arguments = (batch as u32, units as u32, inputs as u32, &input, &weights, &bias, &mut out);
    rig.launch(kernel, grid(batch, units), arguments)?;
    let place = format_args!("{} batch, units, inputs = {batch}, {units}, {inputs}", kernel.entry());
    tally.compare(&place, &rig.download(&out)?, &expected)
}
