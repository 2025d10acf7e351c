//! What training a network has beside products: rows of a batch, its error, gradients back through a layer, steps.

pub mod backward;
pub mod fours;
pub mod gather;
pub mod output_error;
pub mod softmax;
pub mod team;
pub mod update;
