use cuda_std::prelude::*;

#[kernel(block = [32, 1, 1], threads = 32)]
unsafe fn unknown_setting() {}

fn main() {}
