//! Gradient descent.
pub mod error;
pub mod gradient;
pub mod matrix_vector;
