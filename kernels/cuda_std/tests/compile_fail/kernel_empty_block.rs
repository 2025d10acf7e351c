use cuda_std::prelude::*;

#[kernel(block = [32, 0, 1])]
unsafe fn empty_block() {}

fn main() {}
