use cuda_std::prelude::*;

#[kernel(block = [32, 1, 1])]
unsafe fn parameter(_x: f64) {}

fn main() {}
