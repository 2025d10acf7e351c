use cuda_std::prelude::*;

#[kernel(block = [32, 1, 1])]
unsafe fn mutable(mut n: u32) {
    n += 1;
}

fn main() {}
