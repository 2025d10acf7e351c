use cuda_std::prelude::*;

#[kernel(block = [128, 1, 1], arch = "sm_90")]
unsafe fn another_arch() {}

fn main() {}
