use cuda_std::prelude::*;

#[kernel(block = [32, 1, 1])]
unsafe fn doubles() {
    let tile = shared_array![f64; 32];
    tile.write(0, 1.0);
}

fn main() {}
