use cuda_std::prelude::*;

#[kernel]
unsafe fn no_block() {}

fn main() {}
