//! What training adds to the operations: how predictions are judged, and how a step is made of a gradient.

use super::Activation;

/// What the last layer's z (m × k) is: how it becomes the prediction ŷ, and what J is beside y. In all of them J's
/// derivative by z is (ŷ − y) / m.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// Regression: ŷ = z, J = Σ(ŷ − y)² / (2m); y is m × k.
    Identity,
    /// Two classes, in each column: ŷ = 1 / (1 + e⁻ᶻ), J = −Σ(y ln ŷ + (1 − y) ln(1 − ŷ)) / m; y is m × k, from 0 to 1.
    Sigmoid,
    /// k classes: ŷ = eᶻ / Σeᶻ over each row, J = −Σ ln ŷ\[its class\] / m; y is m × 1 and holds the number of each
    /// sample's class, 0 to k − 1. In (ŷ − y) / m, y stands for the row with a 1 at that class and 0 elsewhere.
    Softmax,
}

impl Head {
    /// The columns of y for a z of `columns` columns.
    #[must_use]
    pub fn target_columns(self, columns: usize) -> usize {
        match self {
            Head::Identity | Head::Sigmoid => columns,
            Head::Softmax => 1,
        }
    }

    /// The class that `label` is the number of, of so many.
    pub(super) fn class(label: f64, classes: usize) -> Option<usize> {
        let class = label as usize;
        (class as f64 == label && class < classes).then_some(class)
    }
}

impl std::fmt::Display for Head {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Head::Identity => "identity",
            Head::Sigmoid => "sigmoid",
            Head::Softmax => "softmax",
        })
    }
}

impl std::fmt::Display for Activation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Activation::Identity => "identity",
            Activation::Relu => "relu",
            Activation::Sigmoid => "sigmoid",
        })
    }
}

/// How a step is made of a gradient, element by element: with g = gradient + λw, of parameters w.
///
/// λ (`l2`) is the derivative's factor of the penalty λ/2 · Σw²; it is 0 where there is none, as for biases.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Update {
    /// w := w − αg
    Descent {
        /// α
        learning_rate: f64,
        /// λ
        l2: f64,
    },
    /// v := μv + g, w := w − αv. (B. Polyak, "Some methods of speeding up the convergence of iteration methods", 1964.)
    Momentum {
        /// α
        learning_rate: f64,
        /// μ
        momentum: f64,
        /// λ
        l2: f64,
    },
    /// m := β₁m + (1 − β₁)g, v := β₂v + (1 − β₂)g², w := w − α · m̂ / (√v̂ + ε), with m̂ = m / (1 − β₁ᵗ) and
    /// v̂ = v / (1 − β₂ᵗ) at step t. (D. Kingma and J. Ba, "Adam: a method for stochastic optimization", 2015,
    /// algorithm 1.)
    Adam {
        /// α
        learning_rate: f64,
        /// β₁
        beta1: f64,
        /// β₂
        beta2: f64,
        /// ε
        epsilon: f64,
        /// t, counted from 1.
        step: u64,
        /// λ
        l2: f64,
    },
}

impl Update {
    /// The number of matrices that this keeps from step to step, each of the parameters' shape and of zeros before the
    /// first: none; v; m and v.
    #[must_use]
    pub fn states(self) -> usize {
        match self {
            Update::Descent { .. } => 0,
            Update::Momentum { .. } => 1,
            Update::Adam { .. } => 2,
        }
    }

    /// α′ and ε′ with which Adam's step is w − α′ · m / (√v + ε′): the same step without m̂ and v̂, as at the end of the
    /// paper's section 2. α′ = α√(1 − β₂ᵗ) / (1 − β₁ᵗ), ε′ = ε√(1 − β₂ᵗ).
    pub(super) fn corrected([learning_rate, beta1, beta2, epsilon]: [f64; 4], step: u64) -> (f64, f64) {
        let [first, second] = [beta1, beta2].map(|beta| 1.0 - beta.powf(step as f64));
        (learning_rate * second.sqrt() / first, epsilon * second.sqrt())
    }
}
