use cuda_std::Device;
use kernels::dense::network::{BARRIER, IDENTITY, LAYERS, RELU, SIGMOID, depth, grid, hidden_elements};

use super::dense::{relu, sigmoid};
use super::{Case, Shape};
use crate::{Data, Expected, Failure, Source, UNIT_ROUNDOFF, gamma};

/// Batch, hidden units, inputs.
pub fn shapes(source: &mut Source) -> Vec<Shape> {
    let mut shapes =
        vec![[1, 1, 1], [1, 64, 10], [7, 3, 4], [8, 32, 16], [9, 33, 17], [65, 5, 3], [2, 0, 3], [2, 3, 0]];
    shapes.push([0, 5, 4]);
    for _ in 0..4 {
        shapes.push([source.size(1, 40), source.size(1, 70), source.size(1, 50)]);
    }
    shapes
}

/// The widths of inputs and layers that are checked for these sides: all different, and no multiples of each other.
pub fn network_widths(units: usize, inputs: usize) -> [usize; LAYERS + 1] {
    [inputs, units, inputs + 3, units / 2 + 1]
}

/// Three layers, in all orders of the activations that the data allow.
pub fn network<D: Device>(case: &mut Case<D>, [batch, units, inputs]: Shape) -> Result<(), Failure> {
    let all: &[[u32; LAYERS]] = match case.data {
        Data::Integers => &[[IDENTITY, RELU, IDENTITY], [RELU, IDENTITY, RELU]],
        Data::Reals => &[[RELU, SIGMOID, IDENTITY], [SIGMOID, IDENTITY, RELU], [IDENTITY, RELU, SIGMOID]],
    };
    all.iter().try_for_each(|&activations| one(case, [batch, units, inputs], activations))
}

fn one<D: Device>(
    case: &mut Case<D>,
    [batch, units, inputs]: Shape,
    activations: [u32; LAYERS],
) -> Result<(), Failure> {
    let &mut Case { rig, kernels, data, ref mut source, ref mut tally, .. } = case;
    let widths = network_widths(units, inputs);
    // Integers stay small from layer to layer, so that no sum is rounded.
    let mut numbers = |length| {
        let mut numbers = source.numbers(data, length);
        if data == Data::Integers {
            numbers.iter_mut().for_each(|number| *number = number.clamp(-1.0, 1.0));
        }
        numbers
    };
    let input = numbers(batch * inputs);
    let mut layers = Vec::new();
    for pair in widths.windows(2) {
        layers.push((numbers(pair[0] * pair[1]), numbers(pair[1])));
    }
    let mut expected: Vec<Expected> = input.iter().map(|&value| Expected::exact(f64::from(value))).collect();
    for (l, (weights, bias)) in layers.iter().enumerate() {
        expected = layer(data, batch, [widths[l], widths[l + 1]], &expected, weights, bias, activations[l]);
    }
    let [n0, n1, n2, n3] = widths.map(|width| width as u32);
    let codes = activations.iter().rev().fold(0, |codes, code| codes << 8 | code);
    let mut buffers = Vec::new();
    for (weights, bias) in &layers {
        buffers.push((rig.upload(weights)?, rig.upload(bias)?));
    }
    let [(w1, b1), (w2, b2), (w3, b3)] = &buffers[..] else { return Err("not three layers".to_owned()) };
    let input = rig.upload(&input)?;
    let mut barrier = rig.device.upload(&[0; BARRIER]).map_err(|error| error.to_string())?;
    // The barrier can be used again, and blocks may have several tiles or none.
    for blocks in [1, 3, 12] {
        let mut hidden = rig.output(hidden_elements(batch, [widths[1], widths[2]]))?;
        let mut out = rig.output(batch * widths[3])?;
        let arguments = (
            batch as u32,
            n0,
            n1,
            n2,
            n3,
            codes,
            &input,
            w1,
            b1,
            w2,
            b2,
            w3,
            b3,
            &mut barrier,
            &mut hidden,
            &mut out,
        );
        rig.launch(kernels.network, grid(batch, [widths[1], widths[2], widths[3]], blocks), arguments)?;
        rig.download(&hidden)?;
        let place = format_args!("network batch {batch}, widths {widths:?}, activations {activations:?}");
        tally.compare(&place, &rig.download(&out)?, &expected)?;
    }
    Ok(())
}

/// g(A W + b) with A's own bounds: what A may be off by comes through the weights.
fn layer(
    data: Data,
    batch: usize,
    [inputs, units]: [usize; 2],
    a: &[Expected],
    weights: &[f32],
    bias: &[f32],
    activation: u32,
) -> Vec<Expected> {
    let mut out = Vec::new();
    for row in 0..batch {
        for column in 0..units {
            let b = f64::from(bias[column]);
            let (mut value, mut magnitude, mut inherited) = (0.0, b.abs(), 0.0);
            for k in 0..inputs {
                let (a, w) = (a[row * inputs + k], f64::from(weights[k * units + column]));
                value += a.value * w;
                magnitude += (a.value.abs() + a.bound) * w.abs();
                inherited += a.bound * w.abs();
            }
            value += b;
            let z = match data {
                Data::Integers => Expected::exact(value),
                Data::Reals => {
                    let bound =
                        inherited + gamma(depth(inputs) + 1) * magnitude + UNIT_ROUNDOFF * value.abs();
                    Expected { value, bound }
                }
            };
            out.push(match activation {
                RELU => relu(z),
                SIGMOID => sigmoid(z),
                _ => z,
            });
        }
    }
    out
}
