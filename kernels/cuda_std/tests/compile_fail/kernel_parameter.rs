use cuda_std::prelude::*;

#[kernel(block = [32, 1, 1])]
unsafe fn parameter(x: &[f32]) {}

fn main() {}
