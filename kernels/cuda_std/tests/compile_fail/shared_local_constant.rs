use cuda_std::prelude::*;

#[kernel(block = [32, 1, 1])]
unsafe fn local() {
    const LENGTH: usize = 32;
    let tile = shared_array![f32; LENGTH];
    tile.write(0, 1.0);
}

fn main() {}
