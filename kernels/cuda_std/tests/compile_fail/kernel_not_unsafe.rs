use cuda_std::prelude::*;

#[kernel(block = [32, 1, 1])]
fn safe(x: Global<f32>) {}

fn main() {}
