use cuda_std::prelude::*;

#[kernel(block = [32, 1, 1])]
unsafe fn pattern((m, n): (u32, u32)) {}

fn main() {}
