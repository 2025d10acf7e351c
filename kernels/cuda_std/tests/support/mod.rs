//! What the tests of the emulator have in common.

use cuda_std::{Emulator, Order};

/// The place of `call` in the line of `source` that ends with `// {mark}`, as a fault names it.
#[allow(dead_code)]
pub fn place(file: &str, source: &str, mark: &str, call: &str) -> String {
    let mark = format!("// {mark}");
    let mut lines = source.lines().enumerate().filter(|(_, line)| line.ends_with(&mark));
    let (number, line) = lines.next().unwrap_or_else(|| panic!("no line ends with {mark}"));
    assert!(lines.next().is_none(), "two lines end with {mark}");
    let method = line.find(&format!(".{call}")).map(|column| column + 1);
    let column = method.or(line.find(call)).unwrap_or_else(|| panic!("no {call} in line {number}"));
    format!("{file}:{}:{}", number + 1, column + 1)
}

/// The emulator in each of its orders, in parallel and not.
#[allow(dead_code)]
pub fn emulators() -> impl Iterator<Item = Emulator> {
    let orders: &[Order] = match cfg!(miri) {
        false => &[Order::Forward, Order::Backward, Order::Shuffled(1), Order::Shuffled(2)],
        true => &[Order::Shuffled(1)],
    };
    orders
        .iter()
        .flat_map(|&order| [false, true].map(|serial| Emulator { order, serial, ..Emulator::default() }))
}
