//! A device for tests that runs the kernels' PTX itself, as NVIDIA's manual defines it ("PTX ISA").
//!
//! The emulator of `cuda_std` runs what the kernels' sources say. What a GPU runs is the PTX that a compiler made of them,
//! with assembly that the emulator never sees. Here that text is taken apart and run, so that the kernel suite
//! judges it on any machine: a wrong operand, a shuffle that the compiler has put into a branch, a store that it has moved
//! over a barrier are found without a GPU.
//!
//! The lanes of a warp run together as long as they are at the same instruction; of several groups the one that is foremost
//! in the text goes first, so that they meet again. What needs several lanes (`shfl.sync`, `bar.sync`, `mma`, `wgmma`, …) waits
//! until all of them are at that very instruction, and it is a fault if they never are. Warps take turns at barriers; those
//! of a warpgroup do not wait for each other at `wgmma`, but have to do the same one after another.
//!
//! Faults are: an access outside an allocation, or not aligned; shared memory that nobody has written, that
//! another warp has written or read since the last barrier, or to where a copy was not waited for; global memory that
//! another block writes in the same launch; threads that end while others wait for them; traps.
//!
//! Of `wgmma` besides: B in shared memory that its writer did not follow with `fence.proxy.async`, and a barrier for other
//! warps, or that is written before the product was waited for; no `wgmma.fence` since the last `wgmma.commit_group` or
//! `wgmma.wait_group`; registers of A or D that were changed between the fence and the product, or between it and the
//! wait; warps of a warpgroup that do not do the same; a warp that ends without a wait. D is a NaN from the product to the
//! wait, when the sums are made.
//!
//! # Not imitated
//! What ptxas makes of the text, and time. Only instructions that our kernels have, others that `cuda_std` has functions for,
//! and near relatives of these are known; another one is an error when the module is read. Copies arrive when they are waited
//! for, and no earlier. Memory has one order that all see: a release or an acquire that is missing does not
//! show, and in cooperative launches blocks may read what others write. Races on global memory within a block, and of plain and
//! atomic accesses, are not looked for; nor are reads of global memory that nobody has written, which give NaN. Within a warp, a
//! missing `bar.warp.sync` shows only where lanes are apart. A kernel's shared arrays stand side by side, as on a GPU: beyond
//! one there may be another. The tensor cores' sums are made in `f64`, approximate functions rounded to nearest, and NaNs have
//! the host's bits. That lanes have ended that others wait for is a fault here; of shuffles and warps' barriers the manual
//! allows it.
//!
//! Of `wgmma` there is `m64n128k8` of tf32 alone, with A in registers and B along k in the swizzle of 128 bytes. Every product
//! takes until the wait for it. That its registers are written meanwhile shows where it changes them; that those of A are
//! read, which the manual leaves open as well, does not. `fence.proxy.async` counts for all that its warp has written, whichever
//! lanes come to it, and only that of the warp that wrote, though the manual allows it to the one that reads as well.

mod instruction;
mod lanes;
mod memory;
mod module;
mod registers;
mod warp;
mod warpgroup;

use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cuda_std::{Arguments, Buffer, Device, Element, Global, GlobalMut, Kernel, Parameters};

use memory::{Heap, Party, Shared};
pub use module::Module;
use module::{Entry, SHARED_START};
use warp::{Around, Launch, Stop, Warp, Wrong};
use warpgroup::Warpgroups;

/// Instructions of a warp's turn, in a launch whose blocks wait for each other.
const TURN: u64 = 1 << 12;
/// Instructions of a warp after which a kernel is taken to run for ever.
const PATIENCE: u64 = 1 << 32;

/// What is wrong with a module, a launch or a kernel.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// Text that is not understood.
    #[error("line {line} of the PTX, `{text}`: {what}")]
    Text {
        /// The line's number, from 1.
        line: usize,
        /// The line.
        text: String,
        /// What is wrong with it.
        what: String,
    },
    /// A launch that does not fit the module.
    #[error("cannot launch kernel {kernel}: {what}")]
    Launch {
        /// The kernel's name.
        kernel: String,
        /// What is wrong.
        what: String,
    },
    /// A kernel did something wrong.
    #[error("kernel {kernel}, block {block:?}, thread {thread}, line {line}, `{text}`: {what}")]
    Kernel {
        /// The kernel's name.
        kernel: String,
        /// The block's place in the grid.
        block: [u32; 3],
        /// The thread's number in its block; of several the first of its warp.
        thread: u32,
        /// The number of the instruction's line in the PTX, from 1.
        line: usize,
        /// That line.
        text: String,
        /// What it did.
        what: String,
    },
    /// More memory than an allocation may have.
    #[error("no memory for {length} values: an allocation has less than 4 GiB")]
    Memory {
        /// The values that were asked for.
        length: usize,
    },
    /// A copy between host and device that does not fit.
    #[error("a copy of {count} values at element {offset} does not fit into a buffer of {length}")]
    Copy {
        /// The values to be copied.
        count: usize,
        /// Where it begins.
        offset: usize,
        /// The buffer's length.
        length: usize,
    },
}

/// In which order blocks, and a block's warps between barriers, take their turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// By number.
    Forward,
    /// By number, from the last.
    Backward,
}

impl Order {
    fn of(self, place: u32, all: u32) -> u32 {
        match self {
            Order::Forward => place,
            Order::Backward => all - 1 - place,
        }
    }
}

/// The device.
pub struct Interpreter {
    module: Arc<Module>,
    order: Order,
    patience: u64,
    heap: Arc<Mutex<Heap>>,
    launches: Mutex<u32>,
    /// Which instructions of each kernel have run.
    ran: Mutex<HashMap<String, Vec<bool>>>,
}

/// Values in the interpreter's memory.
pub struct Memory<T> {
    address: u64,
    length: usize,
    heap: Arc<Mutex<Heap>>,
    values: PhantomData<T>,
}

impl<T> Drop for Memory<T> {
    fn drop(&mut self) {
        lock(&self.heap).free(self.address);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Interpreter {
    /// A device that runs the kernels of this module.
    #[must_use]
    pub fn new(module: Arc<Module>, order: Order) -> Interpreter {
        let (heap, launches, ran) = (Arc::default(), Mutex::default(), Mutex::default());
        Interpreter { module, order, patience: PATIENCE, heap, launches, ran }
    }

    /// The lines of a kernel with instructions that no launch on this device has come to, and branches that none has taken, with
    /// their numbers from 1. Traps are left out: whoever comes to one has failed.
    #[must_use]
    pub fn never_ran(&self, kernel: &str) -> Vec<(usize, String)> {
        let ran = lock(&self.ran);
        let ran = ran.get(kernel).map_or(&[][..], |ran| &ran[..]);
        self.module.kernels.get(kernel).map_or_else(Vec::new, |entry| entry.never_ran(ran))
    }

    /// The same, where a kernel is taken to run for ever after so many instructions of a warp.
    #[must_use]
    pub fn with_patience(self, patience: u64) -> Interpreter {
        Interpreter { patience, ..self }
    }

    fn run(
        &self,
        (name, entry): (&str, &Entry),
        launch: &Launch,
        shared_bytes: u32,
        cooperative: bool,
    ) -> Result<(), Fault> {
        let number = {
            let mut launches = lock(&self.launches);
            *launches += 1;
            *launches
        };
        let mut heap = lock(&self.heap);
        let mut all_ran = lock(&self.ran);
        let ran = all_ran.entry(name.to_owned()).or_insert_with(|| vec![false; entry.code.len()]);
        let [x, y, z] = launch.grid;
        let blocks = x.checked_mul(y).and_then(|blocks| blocks.checked_mul(z));
        let too_many = || Fault::Launch { kernel: name.to_owned(), what: "2³² blocks and more".to_owned() };
        let blocks = blocks.ok_or_else(too_many)?;
        let mut running: Vec<Block> = Vec::new();
        let fault = |block: &Block, warp: u32, wrong: Wrong| {
            let (line, text) = entry.line(&entry.code[wrong.at as usize]);
            Fault::Kernel {
                kernel: name.to_owned(),
                block: block.index,
                thread: warp * 32 + wrong.lane.unwrap_or(0),
                line,
                text: text.to_owned(),
                what: wrong.what,
            }
        };
        let mut turn = |block: &mut Block, heap: &mut Heap, turn: u64| {
            let party = Party { launch: number, block: block.number, cooperative };
            let done = block.turn(entry, (heap, ran), party, self.order, turn);
            done.map_err(|(warp, wrong)| fault(block, warp, wrong))
        };
        for place in 0..blocks {
            let number = self.order.of(place, blocks);
            let index = [number % x, number / x % y, number / x / y];
            let mut block = Block::new(entry, launch, (shared_bytes, self.patience), index, number);
            if cooperative {
                running.push(block);
            } else {
                turn(&mut block, &mut heap, u64::MAX)?;
            }
        }
        // Those that wait for others have their turns with them.
        while !running.is_empty() {
            for block in &mut running {
                turn(block, &mut heap, TURN)?;
            }
            running.retain(|block| !block.has_ended());
        }
        Ok(())
    }
}

/// A block of threads.
struct Block {
    index: [u32; 3],
    number: u32,
    warps: Vec<(Warp, Stop)>,
    shared: Shared,
    warpgroups: Warpgroups,
}

impl Block {
    fn new(
        entry: &Entry,
        launch: &Launch,
        (shared_bytes, patience): (u32, u64),
        index: [u32; 3],
        number: u32,
    ) -> Block {
        let threads: u32 = launch.threads.iter().product();
        let count = threads.div_ceil(32);
        let warps = (0..count).map(|warp| (Warp::new(entry, launch, index, warp, patience), Stop::Turn));
        Block {
            index,
            number,
            warps: warps.collect(),
            shared: Shared::new(SHARED_START, shared_bytes, count),
            warpgroups: Warpgroups::new(threads),
        }
    }

    fn has_ended(&self) -> bool {
        self.warps.iter().all(|(_, stop)| *stop == Stop::Ended)
    }

    /// Lets each warp run for so many instructions, again and again as long as all have come to a barrier.
    fn turn(
        &mut self,
        entry: &Entry,
        (heap, ran): (&mut Heap, &mut [bool]),
        party: Party,
        order: Order,
        turn: u64,
    ) -> Result<(), (u32, Wrong)> {
        loop {
            let count = self.warps.len() as u32;
            for place in 0..count {
                let number = order.of(place, count);
                let (warp, stop) = &mut self.warps[number as usize];
                if *stop == Stop::Turn {
                    let (shared, warpgroups) = (&mut self.shared, &mut self.warpgroups);
                    let mut around = Around { shared, warpgroups, heap, party, ran };
                    *stop = warp.run(&entry.code, &mut around, turn).map_err(|wrong| (number, wrong))?;
                }
            }
            let at = |stop: Stop| self.warps.iter().position(|(_, other)| *other == stop);
            match (at(Stop::Barrier), at(Stop::Ended), at(Stop::Turn)) {
                (Some(_), None, None) => {
                    self.shared.epoch += 1;
                    self.warps.iter_mut().for_each(|(_, stop)| *stop = Stop::Turn);
                }
                (Some(waiting), Some(ended), _) => {
                    let what = format!("warp {waiting} waits at a barrier for warp {ended}, which has ended");
                    let at = self.warps[waiting].0.before();
                    return Err((waiting as u32, Wrong { at, lane: None, what }));
                }
                (None, Some(_), None) => return self.end(),
                _ => return Ok(()),
            }
        }
    }

    /// All warps have ended.
    fn end(&self) -> Result<(), (u32, Wrong)> {
        self.warpgroups.unfinished().map_or(Ok(()), |(warp, at)| {
            let what = "the warp has ended without this, which another of its warpgroup has done".to_owned();
            Err((warp, Wrong { at, lane: None, what }))
        })
    }
}

impl Device for Interpreter {
    type Memory<T: Element> = Memory<T>;
    type Error = Fault;

    fn allocate<T: Element>(&self, length: usize) -> Result<Buffer<T, Self>, Fault> {
        let words = length.saturating_mul(size_of::<T>()).div_ceil(4);
        let address = lock(&self.heap).allocate(words).ok_or(Fault::Memory { length })?;
        let heap = Arc::clone(&self.heap);
        Ok(Buffer::from_memory(Memory { address, length, heap, values: PhantomData }))
    }

    fn write<T: Element>(
        &self,
        buffer: &mut Buffer<T, Self>,
        offset: usize,
        values: &[T],
    ) -> Result<(), Fault> {
        let range = range(buffer.memory(), offset, values.len())?;
        let mut heap = lock(&self.heap);
        let words = heap.words(buffer.memory().address).unwrap_or_default();
        bytemuck::cast_slice_mut::<u32, u8>(words)[range].copy_from_slice(bytemuck::cast_slice(values));
        Ok(())
    }

    fn read<T: Element>(
        &self,
        buffer: &Buffer<T, Self>,
        offset: usize,
        values: &mut [T],
    ) -> Result<(), Fault> {
        let range = range(buffer.memory(), offset, values.len())?;
        let mut heap = lock(&self.heap);
        let words = heap.words(buffer.memory().address).unwrap_or_default();
        bytemuck::cast_slice_mut(values).copy_from_slice(&bytemuck::cast_slice::<u32, u8>(words)[range]);
        Ok(())
    }

    unsafe fn launch<P: Parameters, A: Arguments<P, Self>>(
        &self,
        kernel: &Kernel<P>,
        grid: [u32; 3],
        arguments: A,
    ) -> Result<(), Fault> {
        let name = kernel.entry();
        let refused = |what: String| Fault::Launch { kernel: name.to_owned(), what };
        let entry = self.module.kernels.get(name);
        let entry = entry.ok_or_else(|| refused("the module has no such kernel".to_owned()))?;
        if entry.threads != Some(kernel.block()) {
            return Err(refused(format!("blocks of {:?}, declared {:?}", kernel.block(), entry.threads)));
        }
        let widths: Vec<usize> = P::PTX_TYPES.iter().map(|name| if *name == "u64" { 8 } else { 4 }).collect();
        if widths != entry.parameters {
            return Err(refused(format!("parameters of {widths:?} bytes, declared {:?}", entry.parameters)));
        }
        if grid.contains(&0) {
            return Ok(());
        }
        let mut bound = arguments.bind();
        let pointers = bound.pointers();
        let parameters: Vec<u64> = pointers
            .iter()
            .zip(widths)
            .map(|(pointer, width)| {
                // SAFETY: a parameter's first bytes on the host are its bytes on the GPU, as many as its type in the PTX
                // has, and `bound` is there until the end of this function.
                unsafe {
                    match width {
                        8 => pointer.cast::<u64>().read(),
                        _ => u64::from(pointer.cast::<u32>().read()),
                    }
                }
            })
            .collect();
        let dynamic_shared = (SHARED_START + entry.static_shared).next_multiple_of(entry.dynamic_alignment);
        let shared_bytes = dynamic_shared - SHARED_START + kernel.shared_bytes() as u32;
        let launch = Launch { parameters: &parameters, grid, threads: kernel.block(), dynamic_shared };
        self.run((name, entry), &launch, shared_bytes, kernel.is_cooperative())
    }

    fn synchronize(&self) -> Result<(), Fault> {
        Ok(())
    }

    fn length<T: Element>(memory: &Memory<T>) -> usize {
        memory.length
    }

    fn global<T: Element>(memory: &Memory<T>) -> Global<T> {
        Global::from_address(memory.address, memory.length)
    }

    fn global_mut<T: Element>(memory: &mut Memory<T>) -> GlobalMut<T> {
        GlobalMut::from_address(memory.address, memory.length)
    }
}

/// The bytes of so many values from `offset` on.
fn range<T>(memory: &Memory<T>, offset: usize, count: usize) -> Result<std::ops::Range<usize>, Fault> {
    let length = memory.length;
    match offset.checked_add(count) {
        Some(end) if end <= length => Ok(offset * size_of::<T>()..end * size_of::<T>()),
        _ => Err(Fault::Copy { count, offset, length }),
    }
}
