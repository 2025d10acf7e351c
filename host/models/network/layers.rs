//! Dense layers and networks of them, forward.

use crate::engine::{Activation, Engine, Layer, Precision};
use crate::{Error, Result};

/// A dense layer's numbers: A_out = g(A_in W + b).
#[derive(Clone, Debug, PartialEq)]
pub struct DenseLayer {
    pub(super) inputs: usize,
    pub(super) weights: Vec<f32>,
    pub(super) bias: Vec<f32>,
    pub(super) activation: Activation,
}

impl DenseLayer {
    /// A layer of `bias.len()` units on `inputs` inputs; `weights` is inputs × units, row-major.
    ///
    /// # Errors
    /// No inputs, no units, weights of another length, or a value that is not finite.
    pub fn new(inputs: usize, weights: Vec<f32>, bias: Vec<f32>, activation: Activation) -> Result<Self> {
        let shape = |problem| Err(Error::Shape { operation: "dense layer", problem });
        let units = bias.len();
        if inputs == 0 || units == 0 {
            return shape(format!("{inputs} inputs and {units} units: there must be at least one of each"));
        }
        if inputs.checked_mul(units) != Some(weights.len()) {
            return shape(format!(
                "{inputs} inputs and {units} units need inputs × units weights, not {}",
                weights.len()
            ));
        }
        let layer = DenseLayer { inputs, weights, bias, activation };
        layer.check()?;
        Ok(layer)
    }

    /// Refuses values that are not finite.
    pub(super) fn check(&self) -> Result<()> {
        match self.weights.iter().chain(&self.bias).find(|value| !value.is_finite()) {
            None => Ok(()),
            Some(value) => {
                Err(Error::Data(format!("dense layer: {value} among the weights or biases is not finite")))
            }
        }
    }

    /// The number of inputs.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// The number of units: its outputs.
    pub fn units(&self) -> usize {
        self.bias.len()
    }

    /// W (inputs × units), row by row.
    pub fn weights(&self) -> &[f32] {
        &self.weights
    }

    /// b, one for each unit.
    pub fn bias(&self) -> &[f32] {
        &self.bias
    }

    /// g
    pub fn activation(&self) -> Activation {
        self.activation
    }
}

/// A network of dense layers on an engine, where its weights stay.
///
/// ```
/// use tilegrad::engine::{Activation, Engine, Loop};
/// use tilegrad::models::{DenseLayer, DenseNetwork};
///
/// let hidden = DenseLayer::new(2, vec![1.0, -1.0, 1.0, 1.0], vec![0.0, 0.5], Activation::Relu)?;
/// let output = DenseLayer::new(2, vec![1.0, 2.0], vec![-3.0], Activation::Sigmoid)?;
/// let network = DenseNetwork::new(&Loop, &[hidden, output])?;
/// let samples = Loop.upload(1, 2, &[1.0, 0.0])?;
/// let out = network.forward(&Loop, &samples)?;
/// assert_eq!(Loop.read(&out)?, [1.0 / (1.0 + 2.0_f64.exp())]);
/// # Ok::<(), tilegrad::Error>(())
/// ```
pub struct DenseNetwork<E: Engine> {
    inputs: usize,
    layers: Vec<Uploaded<E>>,
    precision: Precision,
}

struct Uploaded<E: Engine> {
    weights: E::Matrix,
    bias: E::Matrix,
    activation: Activation,
}

impl<E: Engine> Uploaded<E> {
    fn layer(&self) -> Layer<'_, E::Matrix> {
        Layer { weights: &self.weights, bias: &self.bias, activation: self.activation }
    }
}

impl<E: Engine> DenseNetwork<E> {
    /// Sends `layers` to `engine`. Each takes as many inputs as the one before has units.
    ///
    /// # Errors
    /// No layers, layers that do not fit together, or what the engine reports.
    pub fn new(engine: &E, layers: &[DenseLayer]) -> Result<Self> {
        let shape = |problem| Err(Error::Shape { operation: "dense network", problem });
        let Some(first) = layers.first() else {
            return shape("there must be at least one layer".to_owned());
        };
        for (l, pair) in layers.windows(2).enumerate() {
            if pair[0].units() != pair[1].inputs() {
                return shape(format!(
                    "layer {} has {} units, but layer {} takes {} inputs",
                    l + 1,
                    pair[0].units(),
                    l + 2,
                    pair[1].inputs()
                ));
            }
        }
        let upload = |layer: &DenseLayer| {
            Ok(Uploaded {
                weights: engine.upload(layer.inputs(), layer.units(), &layer.weights)?,
                bias: engine.upload(1, layer.units(), &layer.bias)?,
                activation: layer.activation,
            })
        };
        let layers = layers.iter().map(upload).collect::<Result<_>>()?;
        Ok(DenseNetwork { inputs: first.inputs(), layers, precision: Precision::Fp32 })
    }

    /// The same network with products that are at least as accurate as `precision`, not as fp32.
    #[must_use]
    pub fn with_precision(self, precision: Precision) -> Self {
        DenseNetwork { precision, ..self }
    }

    /// The output (batch × units of the last layer) for `input` (batch × inputs of the first), on the same engine.
    ///
    /// # Errors
    /// An input of another width, or what the engine reports.
    pub fn forward(&self, engine: &E, input: &E::Matrix) -> Result<E::Matrix> {
        let (_, columns) = engine.shape(input);
        if columns != self.inputs {
            return Err(Error::Shape {
                operation: "dense network",
                problem: format!(
                    "the input has {columns} columns, but the first layer takes {}",
                    self.inputs
                ),
            });
        }
        let layers: Vec<Layer<'_, E::Matrix>> = self.layers.iter().map(Uploaded::layer).collect();
        engine.network(input, &layers, self.precision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Cpu, Emulator, Loop};

    /// Values that differ, in [−1, 1).
    fn values(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|i| ((i + seed) as f32 * 0.618_034).fract() * 2.0 - 1.0).collect()
    }

    fn layer(inputs: usize, units: usize, seed: usize, activation: Activation) -> DenseLayer {
        DenseLayer::new(inputs, values(inputs * units, seed), values(units, seed + 7), activation).unwrap()
    }

    /// σ(W₂ · ReLU(W₁X + b₁) + b₂) with samples as columns, as textbooks write it: X is inputs × samples, W is
    /// units × inputs, the transposes of ours.
    fn samples_as_columns(layers: &[DenseLayer], x: &[f32], samples: usize) -> Vec<f64> {
        let mut a: Vec<Vec<f64>> = (0..layers[0].inputs())
            .map(|i| (0..samples).map(|s| f64::from(x[s * layers[0].inputs() + i])).collect())
            .collect();
        for layer in layers {
            a = (0..layer.units())
                .map(|u| {
                    (0..samples)
                        .map(|s| {
                            let z: f64 = (0..layer.inputs())
                                .map(|i| f64::from(layer.weights[i * layer.units() + u]) * a[i][s])
                                .sum::<f64>()
                                + f64::from(layer.bias[u]);
                            match layer.activation {
                                Activation::Identity => z,
                                Activation::Relu => z.max(0.0),
                                Activation::Sigmoid => 1.0 / (1.0 + (-z).exp()),
                            }
                        })
                        .collect()
                })
                .collect();
        }
        (0..samples).flat_map(|s| a.iter().map(move |unit| unit[s]).collect::<Vec<_>>()).collect()
    }

    /// Of `all` the first layers, one, two and so on: an engine may do some of them at once.
    fn agrees<E: Engine>(engine: &E) {
        let all = [
            layer(11, 19, 1, Activation::Relu),
            layer(19, 3, 5, Activation::Sigmoid),
            layer(3, 40, 2, Activation::Identity),
            layer(40, 6, 4, Activation::Relu),
            layer(6, 2, 3, Activation::Sigmoid),
        ];
        let x = values(23 * 11, 3);
        for count in 1..=all.len() {
            let layers = &all[..count];
            let network = DenseNetwork::new(engine, layers).unwrap();
            let output = network.forward(engine, &engine.upload(23, 11, &x).unwrap()).unwrap();
            assert_eq!(engine.shape(&output), (23, layers[count - 1].units()));
            let expected = samples_as_columns(layers, &x, 23);
            for (ours, theirs) in engine.read(&output).unwrap().iter().zip(expected) {
                let difference = (ours - theirs).abs();
                assert!(difference <= 1e-5, "{}, {count}: {ours} and {theirs}", engine.description());
            }
        }
    }

    #[test]
    fn samples_as_rows_give_what_samples_as_columns_do() {
        agrees(&Loop);
        agrees(&Cpu);
        agrees(&Emulator::new());
    }

    #[test]
    fn shapes_that_do_not_fit_are_refused() {
        let text = |result: Result<DenseLayer>| result.unwrap_err().to_string();
        assert!(text(DenseLayer::new(2, vec![1.0; 5], vec![0.0; 3], Activation::Relu)).contains("not 5"));
        assert!(text(DenseLayer::new(0, vec![], vec![0.0], Activation::Relu)).contains("at least one"));
        assert!(text(DenseLayer::new(1, vec![f32::NAN], vec![0.0], Activation::Relu)).contains("NaN"));

        let layers = [layer(4, 3, 1, Activation::Relu), layer(2, 1, 2, Activation::Relu)];
        let text = DenseNetwork::new(&Loop, &layers).map(|_| ()).unwrap_err().to_string();
        assert!(text.contains("layer 1 has 3 units, but layer 2 takes 2 inputs"), "{text}");
        assert!(DenseNetwork::new(&Loop, &[]).is_err());

        let network = DenseNetwork::new(&Loop, &layers[..1]).unwrap();
        let input = Loop.upload(1, 3, &[0.0; 3]).unwrap();
        assert!(network.forward(&Loop, &input).unwrap_err().to_string().contains("the first layer takes 4"));
    }
}
