//! One kernel for each fault that the emulator finds, with the fault's exact text; and beside it the kernel without
//! the mistake, which must run.

mod copies;
mod dynamic;
mod global_races;
mod host;
mod matrices;
mod meetings;
mod range;
mod shared_races;
mod spinning;
#[path = "../support/mod.rs"]
mod support;
mod unwritten;
mod warpgroups;

use cuda_std::{Buffer, Device, Emulator, Fault, Order, TensorCores, prelude::*};

const PARALLEL: Emulator = Emulator {
    races: true,
    order: Order::Forward,
    stack_bytes: 256 << 10,
    serial: false,
    tensor_cores: TensorCores::Exact,
};

/// The place of `call` in the line of a file that ends with `// {mark}`.
fn at((file, source): (&str, &str), mark: &str, call: &str) -> String {
    support::place(file, source, mark, call)
}

/// The text of what must be a fault, the same in parallel and serially.
#[track_caller]
fn text(run: impl Fn(Emulator) -> Result<(), Fault>) -> String {
    let parallel = run(PARALLEL).expect_err("a fault").to_string();
    let serial = run(Emulator { serial: true, ..PARALLEL }).expect_err("a fault").to_string();
    assert_eq!(parallel, serial);
    parallel
}

/// A buffer with 0, 1, 2, ….
fn counting(length: usize) -> Buffer<f32, Emulator> {
    PARALLEL.upload(&(0..length).map(|i| i as f32).collect::<Vec<_>>()).unwrap()
}

fn zeros(length: usize) -> Buffer<u32, Emulator> {
    PARALLEL.upload(&vec![0; length]).unwrap()
}

fn thread() -> usize {
    thread::thread_idx_x() as usize
}

/// The thread's number in the grid.
fn global() -> usize {
    (thread::block_idx_x() * thread::block_dim_x() + thread::thread_idx_x()) as usize
}
