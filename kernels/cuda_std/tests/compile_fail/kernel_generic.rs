use cuda_std::prelude::*;

#[kernel(block = [32, 1, 1])]
unsafe fn generic<T: Copy>(x: Global<T>) {}

fn main() {}
