use cuda_std::{Device, Emulator, prelude::*};

#[kernel(block = [32, 1, 1])]
unsafe fn axpy(n: u32, a: f32, x: Global<f32>, y: GlobalMut<f32>) {
    let i = thread::thread_idx_x() as usize;
    if i < n as usize {
        y.write(i, mul_add(a, x.read(i), y.read(i)));
    }
}

fn main() {
    let emulator = Emulator::default();
    let mut y = emulator.upload(&[1.0_f32; 32]).unwrap();
    emulator.launch(&AXPY, [1, 1, 1], (32_u32, 2.0_f32, &y, &mut y)).unwrap();
}
