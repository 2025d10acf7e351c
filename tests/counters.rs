//! What the emulator counts of each kernel is what `kernels/counters.txt` says: a change for the worse fails, and one
//! for the better is committed with the kernel.

use std::collections::BTreeSet;
use std::path::Path;

use cuda_builder::Manifest;
use cuda_std::{CountingEmulator, Emulator, Order};
use tilegrad::bench;

const REMEDY: &str =
    "if the change is meant: cargo run --release -- bench --device emulator > kernels/counters.txt";

fn committed() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels/counters.txt");
    std::fs::read_to_string(path).unwrap().replace("\r\n", "\n")
}

/// The lines that only one of two texts has.
fn difference(old: &str, new: &str) -> String {
    let only = |sign: char, here: &str, there: &str| -> Vec<String> {
        let there: BTreeSet<&str> = there.lines().collect();
        here.lines().filter(|line| !there.contains(line)).map(|line| format!("{sign} {line}\n")).collect()
    };
    let titles = new.lines().find(|line| line.starts_with("kernel ")).unwrap_or_default();
    format!("  {titles}\n{}{}", only('-', old, new).concat(), only('+', new, old).concat())
}

/// Whichever order blocks and threads run in, and on however many cores.
#[test]
fn counts_are_those_of_the_table() {
    let settings = [
        Emulator::default(),
        Emulator { order: Order::Backward, serial: true, ..Emulator::default() },
        Emulator { order: Order::Shuffled(0x5eed), ..Emulator::default() },
    ];
    for emulator in settings {
        let counted = bench::count(emulator, "").unwrap();
        for bench::Counted { kernel, shape, floor_read, floor_written, counters } in &counted {
            let reads_all =
                counters.bytes_read() >= *floor_read && counters.bytes_written() >= *floor_written;
            assert!(reads_all, "{kernel} at {shape} moves less than its operands");
        }
        let counted = bench::table(&counted);
        let (order, committed) = (emulator.order, committed());
        assert!(
            counted == committed,
            "kernels/counters.txt (-) is not what is counted (+) in order {order:?}:\n{}\n{REMEDY}",
            difference(&committed, &counted)
        );
    }
}

#[test]
fn every_kernel_is_counted() {
    let counted: BTreeSet<&str> =
        bench::cases::<CountingEmulator>(bench::Scale::Counted).into_iter().map(|case| case.kernel).collect();
    let manifest = Manifest::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels/ptx")).unwrap();
    for entry in manifest.modules.iter().flat_map(|module| &module.entries) {
        assert!(
            counted.contains(entry.name.as_str()),
            "the kernel {} has no case in host/bench/cases.rs; then: {REMEDY}",
            entry.name
        );
    }
}
