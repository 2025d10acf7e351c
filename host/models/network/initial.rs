//! The weights that training begins with.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::DenseLayer;
use crate::engine::Activation;
use crate::{Error, Result};

/// The stream of random numbers for first weights.
const STREAM: u64 = 1;

/// Layers of these units and activations on so many inputs, with random weights and biases of 0.
///
/// Weights are drawn evenly from ±l: for ReLU l = √(6 / inputs), which has the variance 2 / inputs (K. He and others,
/// "Delving deep into rectifiers", 2015, equation 10); else l = √(6 / (inputs + units)) (X. Glorot and Y. Bengio,
/// "Understanding the difficulty of training deep feedforward neural networks", 2010, equation 16). They are drawn by
/// ChaCha8 with the seed, stream 1, layer by layer and row by row, l · (2r · 2⁻²⁴ − 1) of 24 random bits r, and rounded to
/// `f32`: no function is taken that platforms differ in, so the weights are the same on all of them and on every engine.
pub(super) fn layers(inputs: usize, units: &[(usize, Activation)], seed: u64) -> Result<Vec<DenseLayer>> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(STREAM);
    let mut inputs = inputs;
    let mut layers = Vec::new();
    for &(units, activation) in units {
        let limit = match activation {
            Activation::Relu => 6.0 / inputs as f64,
            Activation::Identity | Activation::Sigmoid => 6.0 / (inputs as f64 + units as f64),
        }
        .sqrt();
        let mut weights = room(inputs, units)?;
        weights.extend((0..inputs * units).map(|_| {
            let share = f64::from(random.next_u32() >> 8) / f64::from(1 << 24);
            (limit * (2.0 * share - 1.0)) as f32
        }));
        layers.push(DenseLayer::new(inputs, weights, vec![0.0; units], activation)?);
        inputs = units;
    }
    Ok(layers)
}

fn room(inputs: usize, units: usize) -> Result<Vec<f32>> {
    let mut weights = Vec::new();
    let reserved = inputs.checked_mul(units).is_some_and(|length| weights.try_reserve_exact(length).is_ok());
    match reserved {
        true => Ok(weights),
        false => Err(Error::Setting(format!(
            "there is no memory for a layer of {units} units on {inputs} inputs: take fewer units"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_fill_the_range_that_their_activation_asks_for() {
        let units = [(50, Activation::Relu), (40, Activation::Sigmoid), (30, Activation::Identity)];
        let made = layers(60, &units, 3).unwrap();
        let limits = [6.0 / 60.0, 6.0 / 90.0, 6.0 / 70.0].map(f64::sqrt);
        for ((layer, limit), (count, _)) in made.iter().zip(limits).zip(units) {
            let weights: Vec<f64> = layer.weights.iter().copied().map(f64::from).collect();
            assert_eq!((layer.units(), weights.len()), (count, layer.inputs() * count));
            let largest = weights.iter().fold(0.0_f64, |largest, w| largest.max(w.abs()));
            assert!(largest <= limit && largest > 0.98 * limit, "{largest}, {limit}");
            let variance = weights.iter().map(|w| w * w).sum::<f64>() / weights.len() as f64;
            // Of a uniform square, l²/3 with a deviation of 2l²/(3√(5n)): five of them are 0.2 of it.
            assert!((variance / (limit * limit / 3.0) - 1.0).abs() < 0.2, "{variance}");
            assert!(layer.bias.iter().all(|bias| *bias == 0.0));
        }
        assert_eq!(made, layers(60, &units, 3).unwrap());
        assert_ne!(made, layers(60, &units, 4).unwrap());
    }

    #[test]
    fn a_seed_gives_the_same_weights_everywhere() {
        let made = layers(2, &[(2, Activation::Relu)], 0).unwrap();
        // As drawn on x86-64 Linux.
        assert_eq!(made[0].weights, WEIGHTS);
    }

    const WEIGHTS: [f32; 4] = [0.985_514, 0.885_185_4, -0.225_515_34, 0.824_860_6];

    #[test]
    fn more_units_than_memory_are_refused() {
        let refused = layers(usize::MAX / 2, &[(3, Activation::Relu)], 0).unwrap_err().to_string();
        assert!(refused.contains("take fewer units"), "{refused}");
    }
}
