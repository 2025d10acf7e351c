//! Global memory, and the shared memory of a block: every access is checked.

/// Bytes of a word, the unit of all that is kept here.
const WORD: u64 = 4;

/// An allocation's addresses begin at its number times this, which no allocation is as long as.
const SPACING: u64 = 1 << 32;

/// What is in memory that nobody has written: a NaN, and no length or index that would do.
const UNKNOWN: u32 = 0x7fc0_dead;

/// Who reads or writes global memory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Party {
    /// The number of the launch, from 1.
    pub launch: u32,
    /// The number of the block in its grid.
    pub block: u32,
    /// Whether blocks may read what others have written in the same launch.
    pub cooperative: bool,
}

/// All global memory. Numbers of allocations are never used again.
#[derive(Default)]
pub struct Heap {
    allocations: Vec<Option<Allocation>>,
}

struct Allocation {
    words: Vec<u32>,
    /// The launch and the block that wrote last, for each word.
    writers: Vec<(u32, u32)>,
}

impl Heap {
    /// The address of so many new words, of unknown contents; nothing if they are too many.
    pub fn allocate(&mut self, words: usize) -> Option<u64> {
        if words as u64 >= SPACING / WORD {
            return None;
        }
        self.allocations.push(Some(Allocation { words: vec![UNKNOWN; words], writers: vec![(0, 0); words] }));
        Some(self.allocations.len() as u64 * SPACING)
    }

    /// Ends the allocation that begins at `address`.
    pub fn free(&mut self, address: u64) {
        if let Some(allocation) = self.allocations.get_mut((address / SPACING) as usize - 1) {
            *allocation = None;
        }
    }

    /// The words of the allocation that begins at `address`.
    pub fn words(&mut self, address: u64) -> Option<&mut [u32]> {
        let allocation = self.allocations.get_mut((address / SPACING).checked_sub(1)? as usize)?;
        allocation.as_mut().map(|allocation| &mut allocation.words[..])
    }

    /// Where a word is. Its address is a multiple of 4: the warp has seen to that.
    fn place(&mut self, what: &str, address: u64) -> Result<(&mut Allocation, usize), String> {
        let number = (address / SPACING).wrapping_sub(1) as usize;
        let offset = address % SPACING;
        let allocation = match self.allocations.get_mut(number) {
            Some(Some(allocation)) => allocation,
            Some(None) => return Err(format!("{what} of global memory that was freed, at {address:#x}")),
            None => return Err(format!("{what} of global memory at {address:#x}, where there is none")),
        };
        let bytes = allocation.words.len() as u64 * WORD;
        if offset >= bytes {
            return Err(format!("{what} of global memory at byte {offset} of an allocation of {bytes}"));
        }
        Ok((allocation, (offset / WORD) as usize))
    }

    /// Reads a word.
    ///
    /// # Errors
    /// It is in no allocation, or another block has written it in the same launch.
    pub fn load(&mut self, address: u64, party: Party) -> Result<u32, String> {
        let (allocation, index) = self.place("a read", address)?;
        let (launch, block) = allocation.writers[index];
        if launch == party.launch && block != party.block && !party.cooperative {
            return Err(format!("a read of global memory at {address:#x}, which block {block} writes"));
        }
        Ok(allocation.words[index])
    }

    /// Writes a word.
    ///
    /// # Errors
    /// As [`Heap::load`].
    pub fn store(&mut self, address: u64, value: u32, party: Party) -> Result<(), String> {
        let (allocation, index) = self.place("a write", address)?;
        let (launch, block) = allocation.writers[index];
        if launch == party.launch && block != party.block && !party.cooperative {
            return Err(format!("a write of global memory at {address:#x}, which block {block} writes too"));
        }
        allocation.words[index] = value;
        allocation.writers[index] = (party.launch, party.block);
        Ok(())
    }

    /// Changes a word in one step, and gives what it was.
    ///
    /// # Errors
    /// It is in no allocation.
    pub fn update(&mut self, address: u64, new: impl FnOnce(u32) -> u32) -> Result<u32, String> {
        let (allocation, index) = self.place("an atomic addition", address)?;
        let old = allocation.words[index];
        allocation.words[index] = new(old);
        Ok(old)
    }
}

/// Who read a word of shared memory since the last barrier.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Readers {
    Warp(u32),
    Several,
}

/// What is known of a word of shared memory.
#[derive(Clone, Copy)]
struct State {
    written: bool,
    /// A copy to it was begun, and not waited for.
    copying: bool,
    /// Who wrote it, and between which barriers.
    writer: u32,
    write_epoch: u32,
    /// Fences of the writer's before that.
    fences: u32,
    /// Who read it, and between which barriers.
    readers: Readers,
    read_epoch: u32,
}

impl State {
    /// Neither written nor read: there is no epoch 0.
    const NEW: State = State {
        written: false,
        copying: false,
        writer: 0,
        write_epoch: 0,
        fences: 0,
        readers: Readers::Several,
        read_epoch: 0,
    };
}

/// The shared memory of a block.
pub struct Shared {
    start: u32,
    words: Vec<u32>,
    states: Vec<State>,
    /// How many products on their way read each word.
    reading: Vec<u32>,
    /// When each warp had its fences for the tensor cores' way to read: between which barriers.
    fences: Vec<Vec<u32>>,
    /// Barriers so far, from 1.
    pub epoch: u32,
}

impl Shared {
    /// So many bytes from address `start` on, of unknown contents, for a block of so many warps.
    pub fn new(start: u32, bytes: u32, warps: u32) -> Shared {
        let words = bytes.div_ceil(4) as usize;
        Shared {
            start,
            words: vec![UNKNOWN; words],
            states: vec![State::NEW; words],
            reading: vec![0; words],
            fences: vec![Vec::new(); warps as usize],
            epoch: 1,
        }
    }

    fn place(&self, what: &str, address: u32) -> Result<usize, String> {
        let end = self.start + self.words.len() as u32 * 4;
        if address < self.start || address >= end {
            let (start, length) = (self.start, end - self.start);
            return Err(format!(
                "{what} of shared memory at {address}: the block has {length} bytes from {start} on"
            ));
        }
        Ok((address - self.start) as usize / 4)
    }

    /// Reads a word.
    ///
    /// # Errors
    /// It is not the block's; nobody has written it, or not to the end; another warp has, since the last barrier.
    pub fn load(&mut self, address: u32, warp: u32) -> Result<u32, String> {
        let index = self.place("a read", address)?;
        let epoch = self.epoch;
        let state = &mut self.states[index];
        if state.copying {
            return Err(format!("a read of shared memory at {address}, to where a copy was not waited for"));
        }
        if !state.written {
            return Err(format!("a read of shared memory at {address}, which nobody has written"));
        }
        if state.write_epoch == epoch && state.writer != warp {
            let writer = state.writer;
            return Err(format!(
                "a read of shared memory at {address}, which warp {writer} has written without a barrier between"
            ));
        }
        state.readers = match state.readers {
            _ if state.read_epoch != epoch => Readers::Warp(warp),
            Readers::Warp(other) if other == warp => Readers::Warp(warp),
            _ => Readers::Several,
        };
        state.read_epoch = epoch;
        Ok(self.words[index])
    }

    /// Writes a word, or begins a copy to it.
    fn claim(&mut self, address: u32, warp: u32) -> Result<usize, String> {
        let index = self.place("a write", address)?;
        if self.reading[index] > 0 {
            return Err(format!("a write of shared memory at {address}, which wgmma still reads"));
        }
        let epoch = self.epoch;
        let state = &mut self.states[index];
        if state.copying {
            return Err(format!("a write of shared memory at {address}, to where a copy was not waited for"));
        }
        if state.write_epoch == epoch && state.writer != warp {
            let writer = state.writer;
            return Err(format!(
                "a write of shared memory at {address}, which warp {writer} has written without a barrier between"
            ));
        }
        if state.read_epoch == epoch && state.readers != Readers::Warp(warp) {
            return Err(format!(
                "a write of shared memory at {address}, which another warp has read without a barrier between"
            ));
        }
        (state.writer, state.write_epoch, state.written) = (warp, epoch, true);
        state.fences = self.fences[warp as usize].len() as u32;
        Ok(index)
    }

    /// Writes a word.
    ///
    /// # Errors
    /// It is not the block's, another warp has read or written it since the last barrier, or a product reads it.
    pub fn store(&mut self, address: u32, value: u32, warp: u32) -> Result<(), String> {
        let index = self.claim(address, warp)?;
        self.words[index] = value;
        Ok(())
    }

    /// Begins a copy to a word: it may be read when the copy has been waited for.
    ///
    /// # Errors
    /// As [`Shared::store`].
    pub fn begin_copy(&mut self, address: u32, warp: u32) -> Result<(), String> {
        let index = self.claim(address, warp)?;
        self.states[index].copying = true;
        Ok(())
    }

    /// Ends a copy to a word.
    pub fn end_copy(&mut self, address: u32, value: u32, warp: u32) {
        let index = ((address - self.start) / 4) as usize;
        self.words[index] = value;
        let state = &mut self.states[index];
        (state.copying, state.writer, state.write_epoch) = (false, warp, self.epoch);
        state.fences = self.fences[warp as usize].len() as u32;
    }

    /// What the warp has written so far may, after a barrier, be read by the tensor cores.
    pub fn fence(&mut self, warp: u32) {
        self.fences[warp as usize].push(self.epoch);
    }

    /// Begins to read a word by the tensor cores' own way: until the end nobody may write it.
    ///
    /// # Errors
    /// As [`Shared::load`]; or its writer has had no fence since, or has had it since the last barrier.
    pub fn begin_read(&mut self, address: u32, warp: u32) -> Result<(), String> {
        self.load(address, warp)?;
        let index = self.place("a read", address)?;
        let State { writer, fences, .. } = self.states[index];
        let fault = match self.fences[writer as usize].get(fences as usize) {
            None => "which was written without fence.proxy.async",
            Some(&epoch) if epoch == self.epoch && writer != warp => {
                "which was written with fence.proxy.async, but without a barrier between"
            }
            Some(_) => {
                self.reading[index] += 1;
                return Ok(());
            }
        };
        Err(format!("a read by wgmma of shared memory at {address}, {fault}"))
    }

    /// Ends what [`Shared::begin_read`] has begun: the word is read up to now.
    ///
    /// # Errors
    /// As [`Shared::load`].
    pub fn end_read(&mut self, address: u32, warp: u32) -> Result<u32, String> {
        let index = self.place("a read", address)?;
        self.reading[index] -= 1;
        self.load(address, warp)
    }
}
