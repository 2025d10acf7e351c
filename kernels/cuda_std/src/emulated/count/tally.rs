//! From a warp's requests to counts.

use std::collections::HashSet;

use super::counters::{Counters, GlobalRequests, SharedRequests};
use super::trace::{Access, Instruction, Request, requests};

const SECTOR: usize = 32;
/// Banks of shared memory, each a word wide.
const BANKS: usize = 32;
const WORD: usize = 4;
const LANES: usize = 32;

/// A buffer and a sector's number in it.
type Sector = (usize, usize);

/// The counts of some blocks, with what is needed to go on counting.
#[derive(Default)]
pub(crate) struct Tally {
    pub counters: Counters,
    read: HashSet<Sector>,
    written: HashSet<Sector>,
}

impl Tally {
    /// Counts what a warp did, from what each of its lanes did.
    pub fn add_warp(&mut self, lists: &[impl AsRef<[Access]>]) {
        for request in requests(lists) {
            self.add(&request, lists);
        }
    }

    fn add(&mut self, request: &Request, lists: &[impl AsRef<[Access]>]) {
        let counters = &mut self.counters;
        let (global, shared) = match request.instruction() {
            Instruction::Load => (Some(&mut counters.global_loads), None),
            Instruction::Store => (Some(&mut counters.global_stores), None),
            Instruction::AtomicLoad | Instruction::AtomicStore | Instruction::AtomicAdd => {
                (Some(&mut counters.atomics), None)
            }
            Instruction::Copy => (Some(&mut counters.copies), None),
            Instruction::SharedLoad => (None, Some(&mut counters.shared_loads)),
            Instruction::SharedStore => (None, Some(&mut counters.shared_stores)),
            Instruction::SharedCopy => (None, Some(&mut counters.shared_copies)),
            Instruction::Meeting => (None, None),
        };
        if let Some(shared) = shared {
            *shared += wavefronts(request.accesses(lists));
        }
        let Some(global) = global else { return };
        let (sectors, bytes) = sectors(request.accesses(lists).map(|(_, access)| access));
        *global += GlobalRequests { requests: 1, sectors: sectors.len() as u64, bytes };
        if !matches!(request.instruction(), Instruction::Store | Instruction::AtomicStore) {
            self.read.extend(&sectors);
        }
        if !matches!(request.instruction(), Instruction::Load | Instruction::AtomicLoad | Instruction::Copy) {
            self.written.extend(&sectors);
        }
    }

    /// Adds what a block has counted, and begins it anew.
    pub fn add_block(&mut self, block: &mut Tally) {
        block.counters.sectors_of_blocks = block.read.len() as u64;
        self.counters += block.counters;
        self.read.extend(block.read.drain());
        self.written.extend(block.written.drain());
        block.counters = Counters::default();
    }

    /// The counts of all that was added.
    pub fn total(self) -> Counters {
        Counters {
            sectors_read: self.read.len() as u64,
            sectors_written: self.written.len() as u64,
            ..self.counters
        }
    }
}

/// The different sectors that a request touches, and how many of their bytes it wants.
fn sectors(accesses: impl Iterator<Item = Access>) -> (Vec<Sector>, u64) {
    let mut ranges: Vec<_> = accesses
        .map(|access| (access.object, access.offset, access.offset + access.bytes as usize))
        .collect();
    ranges.sort_unstable();
    let (mut sectors, mut bytes) = (Vec::with_capacity(LANES), 0);
    let mut done = (0, 0);
    for (object, start, end) in ranges {
        // What an earlier range of the same buffer has covered counts once.
        let start = if done.0 == object { start.max(done.1) } else { start };
        if start < end {
            bytes += (end - start) as u64;
            sectors.extend((start / SECTOR..=(end - 1) / SECTOR).map(|sector| (object, sector)));
            done = (object, end);
        }
    }
    sectors.dedup();
    (sectors, bytes)
}

/// The wavefronts of a request to shared memory.
fn wavefronts(accesses: impl Iterator<Item = (usize, Access)>) -> SharedRequests {
    let mut request = SharedRequests { requests: 1, ..SharedRequests::default() };
    let mut accesses = accesses.peekable();
    while let Some(&(lane, access)) = accesses.peek() {
        let words = access.bytes as usize / WORD;
        let part = LANES / words;
        let mut wanted: Vec<(usize, usize)> = Vec::with_capacity(BANKS);
        while let Some((_, access)) = accesses.next_if(|(other, _)| other / part == lane / part) {
            wanted.extend((0..words).map(|word| (access.object, access.offset / WORD + word)));
        }
        wanted.sort_unstable();
        wanted.dedup();
        let mut of_bank = [0; BANKS];
        wanted.iter().for_each(|(_, word)| of_bank[word % BANKS] += 1);
        request.wavefronts += of_bank.into_iter().max().unwrap_or(0);
        request.ideal += 1;
    }
    request
}
