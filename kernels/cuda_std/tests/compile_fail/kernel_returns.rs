use cuda_std::prelude::*;

#[kernel(block = [32, 1, 1])]
unsafe fn returns(x: Global<f32>) -> f32 {
    x.read(0)
}

fn main() {}
