//! Gradient descent for linear and logistic regression.
//!
//! ```text
//! one pass     fused           Σ e (x − μ), Σe, Σ loss of each block
//!              finish          w, b and the history from them
//!
//! a formula    matrix_vector   ŷ = Xw + b
//! a launch     linear_error    e = ŷ − y, and Σe², Σe of each block
//!              linear_cost     J = Σe² / (2m), ∇b = Σe / m
//!              gradient        ∇w = Xᵀe / m, in two launches
//!              update          w := w − α∇w, b := b − α∇b          (elementwise)
//! ```

pub mod error;
pub mod finish;
pub mod fused;
pub mod gradient;
pub mod loss;
pub mod matrix_vector;
