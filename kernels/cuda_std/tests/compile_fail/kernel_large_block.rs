use cuda_std::prelude::*;

#[kernel(block = [64, 32, 1])]
unsafe fn large_block() {}

fn main() {}
