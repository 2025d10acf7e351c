//! What the emulator counts of each case, as a table.

use cuda_std::{Counters, CountingEmulator, Emulator, GlobalRequests};
use serde::{Serialize, Serializer};

use super::cases::{Scale, cases};
use crate::report::{TextTable, significant};
use crate::{Error, Result};

/// A case and what was counted of it. Its JSON has all of [`Counters::entries`].
#[derive(Clone, Debug, Serialize)]
pub struct Counted {
    /// The kernel's name in the PTX.
    pub kernel: &'static str,
    /// Sizes, as the kernel's file names them.
    pub shape: String,
    /// Bytes that have to be read: each operand once.
    pub floor_read: u64,
    /// Bytes that have to be written: each result once.
    pub floor_written: u64,
    /// What was counted.
    #[serde(serialize_with = "all_counts")]
    pub counters: Counters,
}

/// Counts all cases whose kernels' names contain `filter`, on an emulator with these settings.
///
/// # Errors
/// No kernel has such a name, or a kernel did something wrong.
pub fn count(emulator: Emulator, filter: &str) -> Result<Vec<Counted>> {
    let device = CountingEmulator::new(emulator);
    let mut counted = Vec::new();
    for case in
        cases::<CountingEmulator>(Scale::Counted).into_iter().filter(|case| case.kernel.contains(filter))
    {
        case.prepare(&device)?(&device)?;
        counted.push(Counted {
            kernel: case.kernel,
            shape: case.shape.to_string(),
            floor_read: case.floor.read,
            floor_written: case.floor.written,
            counters: device.take(),
        });
    }
    if counted.is_empty() {
        return Err(Error::Setting(format!(
            "no kernel's name contains `{filter}`: without a filter all are listed"
        )));
    }
    Ok(counted)
}

fn all_counts<S: Serializer>(counters: &Counters, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(counters.entries())
}

/// The counts as a table with a line for each case, and what its columns are. `kernels/counters.txt` is the table of
/// all cases.
#[must_use]
pub fn table(counted: &[Counted]) -> String {
    let mut table = TextTable::new([
        "kernel",
        "shape",
        "loads",
        "sectors",
        "used",
        "stores",
        "sectors",
        "used",
        "block bytes",
        "read",
        "floor",
        "written",
        "floor",
        "shared",
        "wavefronts",
        "conflicts",
        "barriers",
        "warp ops",
        "mul-adds",
        "per load",
        "products",
        "their mul-adds",
    ]);
    for Counted { kernel, shape, floor_read, floor_written, counters } in counted {
        let mut loads = counters.global_loads;
        loads += counters.copies;
        let mut stores = counters.global_stores;
        stores += counters.atomics;
        let shared = counters.shared();
        // In warps' instructions both, if all lanes take part.
        let multiply_adds = counters.multiply_adds as f64 / 32.0;
        let all_loads = (loads.requests + counters.shared_loads.requests) as f64;
        let warp_operations = counters.shuffles + counters.votes + counters.warp_barriers;
        let percent = |requests: GlobalRequests| format!("{:.0}%", 100.0 * requests.efficiency());
        table.row([
            (*kernel).to_owned(),
            shape.clone(),
            loads.requests.to_string(),
            loads.sectors.to_string(),
            percent(loads),
            stores.requests.to_string(),
            stores.sectors.to_string(),
            percent(stores),
            (32 * counters.sectors_of_blocks).to_string(),
            counters.bytes_read().to_string(),
            floor_read.to_string(),
            counters.bytes_written().to_string(),
            floor_written.to_string(),
            shared.requests.to_string(),
            shared.wavefronts.to_string(),
            shared.conflicts().to_string(),
            counters.barriers.to_string(),
            warp_operations.to_string(),
            counters.multiply_adds.to_string(),
            significant(multiply_adds / all_loads.max(1.0), 3),
            counters.matrix_products.to_string(),
            counters.matrix_multiply_adds.to_string(),
        ]);
    }
    format!("{LEGEND}\n{table}")
}

const LEGEND: &str = "\
# What the emulator counts of each kernel at fixed shapes. Not time: what a GPU is asked to do.
#
# loads, stores   requests to global memory, one a warp's instruction (copies are loads, atomics are stores)
# sectors, used   the pieces of 32 bytes that the requests touch, and the part of their bytes that is wanted
# block bytes     different bytes that each block reads, in sectors, added up: what leaves a perfect first cache
# read, written   different bytes in sectors: what a perfect cache leaves to be moved; floor: the formula's operands
# shared          requests to shared memory: loads, stores and copies of warps, and what wgmma reads, one for each product of a
#                 warpgroup; wavefronts that they take; conflicts: those that other banks would save
# barriers        once a block; warp ops: shuffles, votes and barriers of warps
# mul-adds        fused multiply-adds of all threads, none of matrix products; per load: 32 of them for each load of a warp,
#                 global or shared
# products        of matrices by tensor cores, once a warp (wgmma: four times); their mul-adds: those inside them
#
# Made by `cargo run --release -- bench --device emulator > kernels/counters.txt`; a test compares.
";
