use cuda_std::{Device, Global, GlobalMut, Kernel};
use kernels::dense::tiled::grid;

use super::elementwise::sigmoid_of;
use super::matmul::{reference, tile_shapes};
use crate::{Data, Expected, Failure, Rig, Source, Tally};

type Layer = Kernel<(u32, u32, u32, Global<f32>, Global<f32>, Global<f32>, GlobalMut<f32>)>;

pub fn identity<D: Device>(rig: &Rig<D>, kernel: &Layer, data: Data) -> Result<Tally, Failure> {
    layer(rig, kernel, data, |z| z)
}

pub fn relu<D: Device>(rig: &Rig<D>, kernel: &Layer, data: Data) -> Result<Tally, Failure> {
    // The nearer of the two cannot be farther off than z is.
    layer(rig, kernel, data, |z| Expected { value: z.value.max(0.0), ..z })
}

pub fn sigmoid<D: Device>(rig: &Rig<D>, kernel: &Layer, data: Data) -> Result<Tally, Failure> {
    layer(rig, kernel, data, |z| sigmoid_of(z.value, z.bound))
}

/// `activation` gives the reference for g(z) from that for z.
fn layer<D: Device>(
    rig: &Rig<D>,
    kernel: &Layer,
    data: Data,
    activation: fn(Expected) -> Expected,
) -> Result<Tally, Failure> {
    let (mut source, mut tally) = (Source::new(41), Tally::default());
    for [batch, units, inputs] in tile_shapes(&mut source) {
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
        tally.compare(&place, &rig.download(&out)?, &expected)?;
    }
    Ok(tally)
}
