//! The counts, and what can be derived from them.

use std::ops::AddAssign;

/// Bytes of a sector: what global memory is read and written in.
const SECTOR: u64 = 32;

/// What launches did, as the hardware would count it. [`Emulator::count`](crate::Emulator::count) makes them.
///
/// # Warp instructions
///
/// A GPU runs the 32 lanes of a warp together: one load of a warp is one request, however many lanes take part. The
/// emulator runs one lane after another and puts requests together afterwards. Between two points where the whole warp
/// meets (`sync_threads`, or a warp's operation of all its lanes) each lane has a list of accesses, each with its place in
/// the source. The lists are laid over each other so that as many accesses as can be of the same place, kind and size
/// fall together, in their order and as early as possible; what falls together is a request. So the k-th turn of a
/// loop is the same request for all lanes, the lanes that go another way have requests of their own, and those that
/// come back from it are together again with the others.
///
/// # What the counts leave out
///
/// - They are of the source, not of the PTX: a compiler may keep a value in a register that the source reads twice,
///   and adds nothing. `read4` is one access of 16 bytes.
/// - `+`, `-`, `*` and `/`, comparisons, indices and branches cannot be seen; [`mul_add`](crate::float::mul_add) and the
///   other functions of [`float`](crate::float) can.
/// - Lanes that go different ways are taken to be together again as soon as they can. A GPU may bring them together later,
///   and then has more requests. Two lists of accesses that differ over more than 2²⁴ pairs are compared in a simpler way,
///   which may see more requests.
/// - Threads that wait for others in a loop count each look, and how often they look depends on the order of the threads.
///   All other counts are the same in every [`Order`](crate::Order) and on any number of cores.
/// - No caches: `sectors` go to the first level of them. Each buffer begins at a sector, each shared array at bank 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Blocks that ran.
    pub blocks: u64,
    /// Warps that ran.
    pub warps: u64,
    /// Loads from global memory.
    pub global_loads: GlobalRequests,
    /// Stores to global memory.
    pub global_stores: GlobalRequests,
    /// Atomic operations on global memory, of which relaxed and acquiring loads and stores are some.
    pub atomics: GlobalRequests,
    /// `cp_async`: what it reads from global memory.
    pub copies: GlobalRequests,
    /// Loads from shared memory.
    pub shared_loads: SharedRequests,
    /// Stores to shared memory.
    pub shared_stores: SharedRequests,
    /// `cp_async`: what it writes to shared memory.
    pub shared_copies: SharedRequests,
    /// `wgmma`: what it reads of B from shared memory, a request for each product of a warpgroup.
    pub shared_operands: SharedRequests,
    /// Different sectors that each block reads, added up over the blocks: what leaves the second level of the caches if
    /// the first keeps all that a block reads.
    pub sectors_of_blocks: u64,
    /// Different sectors that are read: what has to come from memory once, however good the caches.
    pub sectors_read: u64,
    /// Different sectors that are written.
    pub sectors_written: u64,
    /// `sync_threads`, once a block.
    pub barriers: u64,
    /// `sync_warp`, once for the lanes that meet.
    pub warp_barriers: u64,
    /// Shuffles, once for the lanes that exchange.
    pub shuffles: u64,
    /// `ballot`, `all` and `any`, once for the lanes that vote.
    pub votes: u64,
    /// Products of the tensor cores, once a warp: one of a warpgroup counts four times.
    pub matrix_products: u64,
    /// Multiply-adds inside these products.
    pub matrix_multiply_adds: u64,
    /// `mul_add`, each thread's, without those of the tensor cores.
    pub multiply_adds: u64,
    /// `div` and `sqrt`, each thread's.
    pub divisions: u64,
    /// `exp2_approx` and `rsqrt_approx`, each thread's.
    pub approximations: u64,
    /// `to_tf32`, each thread's.
    pub conversions: u64,
}

/// Requests to global memory, one a warp's instruction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GlobalRequests {
    /// Requests.
    pub requests: u64,
    /// Sectors of 32 bytes that they touch, added up over the requests.
    pub sectors: u64,
    /// Bytes of these sectors that some lane asked for; one that several lanes of a request ask for counts once.
    pub bytes: u64,
}

/// Requests to shared memory, one a warp's instruction, and one for each `wgmma` of a warpgroup.
///
/// Shared memory has 32 banks of 4 bytes each; words that are 128 bytes apart are in the same bank. A wavefront gives
/// one word of each bank, to as many lanes as want it. Accesses of 16 bytes are served in four parts, lanes 0 to 7, 8
/// to 15, 16 to 23 and 24 to 31, those of 8 bytes in two; each part takes as many wavefronts as the bank with the most
/// different words has of them. (The parts: "cuTENSOR: High-performance tensor operations in CUDA", GTC 2019, S9593.)
/// Not modelled: some GPUs serve a 16-byte load in half the wavefronts where the addresses of lanes are equal in
/// pairs, n and n ^ 1 or n and n ^ 2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SharedRequests {
    /// Requests.
    pub requests: u64,
    /// Wavefronts that they take.
    pub wavefronts: u64,
    /// Wavefronts that they would take without conflicts.
    pub ideal: u64,
}

impl Counters {
    /// Bytes that have to come from memory, however good the caches.
    pub fn bytes_read(&self) -> u64 {
        SECTOR * self.sectors_read
    }

    /// Bytes that have to go to memory, however good the caches.
    pub fn bytes_written(&self) -> u64 {
        SECTOR * self.sectors_written
    }

    /// All counts with their names: "blocks", "global_loads.requests" and so on.
    pub fn entries(&self) -> Vec<(String, u64)> {
        let mut entries = Vec::new();
        self.list("", &mut entries);
        entries
    }

    /// All requests to global memory.
    pub fn global(&self) -> GlobalRequests {
        let mut all = self.global_loads;
        all += self.global_stores;
        all += self.atomics;
        all += self.copies;
        all
    }

    /// All requests to shared memory.
    pub fn shared(&self) -> SharedRequests {
        let mut all = self.shared_loads;
        all += self.shared_stores;
        all += self.shared_copies;
        all += self.shared_operands;
        all
    }
}

impl GlobalRequests {
    /// Sectors of a request, on average; 0 without requests. For 4 bytes a lane, 4 is best for distinct values.
    pub fn sectors_per_request(&self) -> f64 {
        ratio(self.sectors, self.requests)
    }

    /// The part of the sectors' bytes that is used, from 0 to 1.
    pub fn efficiency(&self) -> f64 {
        ratio(self.bytes, SECTOR * self.sectors)
    }
}

impl SharedRequests {
    /// Wavefronts that are needed because different words of a bank are wanted at the same time.
    pub fn conflicts(&self) -> u64 {
        self.wavefronts - self.ideal
    }
}

fn ratio(a: u64, b: u64) -> f64 {
    if b == 0 { 0.0 } else { a as f64 / b as f64 }
}

/// Counts that have names.
trait List {
    fn list(&self, name: &str, entries: &mut Vec<(String, u64)>);
}

impl List for u64 {
    fn list(&self, name: &str, entries: &mut Vec<(String, u64)>) {
        entries.push((name.to_string(), *self));
    }
}

macro_rules! fields {
    ($($type:ident { $($field:ident)* })*) => { $(
        impl AddAssign for $type {
            fn add_assign(&mut self, other: Self) {
                // Named in full, so that a field that is forgotten does not compile.
                let $type { $($field),* } = other;
                $(self.$field += $field;)*
            }
        }
        impl List for $type {
            fn list(&self, name: &str, entries: &mut Vec<(String, u64)>) {
                let dot = if name.is_empty() { "" } else { "." };
                $(self.$field.list(&format!("{name}{dot}{}", stringify!($field)), entries);)*
            }
        }
    )* };
}
fields! {
    Counters {
        blocks warps global_loads global_stores atomics copies shared_loads shared_stores shared_copies
        shared_operands sectors_of_blocks sectors_read sectors_written barriers warp_barriers shuffles votes
        matrix_products matrix_multiply_adds multiply_adds divisions approximations conversions
    }
    GlobalRequests { requests sectors bytes }
    SharedRequests { requests wavefronts ideal }
}
