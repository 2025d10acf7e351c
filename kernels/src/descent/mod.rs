//! Gradient descent for linear and logistic regression.
//!
//! ```text
//! one pass     fused           Σ e (x − μ), Σe, Σ loss of each block
//!              finish          w, b and the history from them
//!
//! two passes   matrix_vector   z = (X − μ)(w / σ) + b
//!              error           e and the loss of each sample
//!              gradient        Σ e (x − μ), Σe, Σ loss of each row block
//!              finish          as above
//! ```

pub mod error;
pub mod finish;
pub mod fused;
pub mod gradient;
pub mod loss;
pub mod matrix_vector;
