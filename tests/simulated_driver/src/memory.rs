//! The GPU's memory: buffers of the emulator, which checks each access to them, at addresses where the host has
//! nothing.

use std::collections::BTreeMap;

use cuda_std::{Buffer, Device, Emulator, Global, GlobalMut};

/// The first address: no host memory is there.
const FIRST: u64 = 0x10_0000_0000_0000;
/// Addresses are multiples of this, as the driver's are, with as much between two allocations.
const ALIGNMENT: u64 = 256;

/// All allocations, by address.
pub struct Heap {
    blocks: BTreeMap<u64, Block>,
    next: u64,
    used: usize,
    /// What a kernel gets for an address where nothing begins: each access to it is out of range.
    nothing: Buffer<f32, Emulator>,
}

struct Block {
    buffer: Buffer<f32, Emulator>,
    bytes: usize,
}

impl Default for Heap {
    fn default() -> Self {
        let nothing = Emulator::default().allocate(0).expect("no values need no memory");
        Heap { blocks: BTreeMap::new(), next: FIRST, used: 0, nothing }
    }
}

impl Heap {
    /// Bytes in use.
    pub fn used(&self) -> usize {
        self.used
    }

    /// The address of new memory, never used before; `None` if the host has none.
    pub fn allocate(&mut self, bytes: usize) -> Option<u64> {
        let buffer = Emulator::default().allocate(bytes.div_ceil(size_of::<f32>())).ok()?;
        let address = self.next;
        self.next += (bytes as u64).next_multiple_of(ALIGNMENT) + ALIGNMENT;
        self.blocks.insert(address, Block { buffer, bytes });
        self.used += bytes;
        Some(address)
    }

    /// Frees the allocation that begins at `address`, if there is one.
    pub fn free(&mut self, address: u64) -> Option<()> {
        self.used -= self.blocks.remove(&address)?.bytes;
        Some(())
    }

    /// The allocation that holds `bytes` bytes at `address`, and the words before them.
    fn block(&mut self, address: u64, bytes: usize) -> Option<(&mut Block, usize)> {
        let (&start, block) = self.blocks.range_mut(..=address).next_back()?;
        let offset = (address - start) as usize;
        let fits = offset < block.bytes && bytes <= block.bytes - offset;
        fits.then_some((block, offset / size_of::<f32>()))
    }

    /// Whether `bytes` bytes at `address` are within one allocation.
    pub fn holds(&mut self, address: u64, bytes: usize) -> bool {
        self.block(address, bytes).is_some()
    }

    /// Copies whole words there; `None` if they are not within one allocation.
    pub fn write(&mut self, address: u64, words: &[f32]) -> Option<()> {
        let (block, offset) = self.block(address, size_of_val(words))?;
        Emulator::default().write(&mut block.buffer, offset, words).ok()
    }

    /// Copies whole words from there; `None` if they are not within one allocation.
    pub fn read(&mut self, address: u64, words: &mut [f32]) -> Option<()> {
        let (block, offset) = self.block(address, size_of_val(words))?;
        Emulator::default().read(&block.buffer, offset, words).ok()
    }

    /// A kernel's parameter for the allocation that begins at `address`.
    pub fn global(&mut self, address: u64) -> Global<f32> {
        Emulator::global(self.blocks.get(&address).map_or(&self.nothing, |block| &block.buffer).memory())
    }

    /// The same for one that it writes.
    pub fn global_mut(&mut self, address: u64) -> GlobalMut<f32> {
        let block = self.blocks.get_mut(&address);
        Emulator::global_mut(block.map_or(&mut self.nothing, |block| &mut block.buffer).memory_mut())
    }
}
