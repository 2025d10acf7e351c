use cuda_std::prelude::*;

#[kernel(block = [32, 1, 1])]
async unsafe fn waits() {}

fn main() {}
