//! Gradient descent for the linear model, one launch a formula.
//!
//! ```text
//! matrix_vector   ŷ = Xw + b
//! linear_error    e = ŷ − y, and Σe², Σe of each block
//! linear_cost     J = Σe² / (2m), ∇b = Σe / m
//! gradient        ∇w = Xᵀe / m, in two launches
//! update          w := w − α∇w, b := b − α∇b          (elementwise)
//! ```

pub mod error;
pub mod gradient;
pub mod matrix_vector;
