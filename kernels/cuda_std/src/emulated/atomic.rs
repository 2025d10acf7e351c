//! Atomic operations on global memory.

use std::panic::Location;
use std::sync::atomic::{AtomicU32, Ordering};

use super::count::Instruction;
use super::global::{GlobalMut, out_of_range, unwritten};
use super::lane::lane;
use super::shadow::Kind;
use crate::word::Word;

impl GlobalMut<f32> {
    /// Adds to an element and returns what it was. The order in which threads add is not determined, so neither are
    /// the last bits of a sum: nothing in this project that promises repeatable results uses it.
    ///
    /// # Safety
    /// `index` is in range and has been written. (The emulator checks.)
    #[track_caller]
    pub unsafe fn atomic_add(self, index: usize, value: f32) -> f32 {
        let old = self.atomic(index, Atomic::ADD, |cell| {
            let add = |bits: u32| Some((f32::from_bits(bits) + value).to_bits());
            match cell.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add) {
                Ok(old) | Err(old) => old,
            }
        });
        f32::from_bits(old)
    }
}

impl GlobalMut<u32> {
    /// Adds to an element, wrapping, and returns what it was. Orders nothing else.
    ///
    /// # Safety
    /// `index` is in range and has been written. (The emulator checks.)
    #[track_caller]
    pub unsafe fn atomic_add(self, index: usize, value: u32) -> u32 {
        self.add(index, value, Atomic::ADD)
    }

    /// Adds to an element, wrapping, and returns what it was. What this thread and (before a barrier) its block did
    /// before is visible to who acquires the element after, and the other way round.
    ///
    /// # Safety
    /// `index` is in range and has been written. (The emulator checks.)
    #[track_caller]
    pub unsafe fn atomic_add_acquire_release(self, index: usize, value: u32) -> u32 {
        self.add(index, value, Atomic::ADD_ACQUIRE_RELEASE)
    }

    /// The value of an element that other threads may write atomically. What was done before they released it is
    /// visible after.
    ///
    /// # Safety
    /// `index` is in range and has been written. (The emulator checks.)
    #[track_caller]
    pub unsafe fn load_acquire(self, index: usize) -> u32 {
        self.load(index, Atomic::LOAD_ACQUIRE)
    }

    /// The value of an element that other threads may write atomically. Orders nothing else.
    ///
    /// # Safety
    /// `index` is in range and has been written. (The emulator checks.)
    #[track_caller]
    pub unsafe fn load_relaxed(self, index: usize) -> u32 {
        self.load(index, Atomic::LOAD)
    }

    /// Sets an element that other threads may read atomically. What this thread and (before a barrier) its block did
    /// before is visible to who acquires the element after.
    ///
    /// # Safety
    /// `index` is in range. (The emulator checks.)
    #[track_caller]
    pub unsafe fn store_release(self, index: usize, value: u32) {
        self.atomic(index, Atomic::STORE_RELEASE, |cell| cell.store(value, Ordering::Relaxed));
    }

    /// Sets an element that other threads may read atomically. Orders nothing else.
    ///
    /// # Safety
    /// `index` is in range. (The emulator checks.)
    #[track_caller]
    pub unsafe fn store_relaxed(self, index: usize, value: u32) {
        self.atomic(index, Atomic::STORE, |cell| cell.store(value, Ordering::Relaxed));
    }

    #[track_caller]
    fn load(self, index: usize, atomic: Atomic) -> u32 {
        let value = self.atomic(index, atomic, |cell| cell.load(Ordering::Relaxed));
        lane().poll(Location::caller(), self.address(index), self.name, index, value);
        value
    }

    #[track_caller]
    fn add(self, index: usize, value: u32, atomic: Atomic) -> u32 {
        let old = self.atomic(index, atomic, |cell| cell.fetch_add(value, Ordering::Relaxed));
        if value == 0 {
            lane().poll(Location::caller(), self.address(index), self.name, index, old);
        }
        old
    }
}

/// An atomic operation: what it does to its element, and what it orders.
#[derive(Clone, Copy)]
struct Atomic {
    kind: Kind,
    reads: bool,
    acquire: bool,
    release: bool,
}

impl Atomic {
    const LOAD: Self = Atomic { kind: Kind::ATOMIC_READ, reads: true, acquire: false, release: false };
    const STORE: Self = Atomic { kind: Kind::ATOMIC_WRITE, reads: false, acquire: false, release: false };
    const ADD: Self = Atomic { kind: Kind::ATOMIC_WRITE, reads: true, acquire: false, release: false };
    const LOAD_ACQUIRE: Self = Atomic { acquire: true, ..Atomic::LOAD };
    const STORE_RELEASE: Self = Atomic { release: true, ..Atomic::STORE };
    const ADD_ACQUIRE_RELEASE: Self = Atomic { acquire: true, release: true, ..Atomic::ADD };

    fn instruction(self) -> Instruction {
        match (self.reads, self.kind) {
            (true, Kind::ATOMIC_READ) => Instruction::AtomicLoad,
            (true, _) => Instruction::AtomicAdd,
            (false, _) => Instruction::AtomicStore,
        }
    }
}

impl<T: Word> GlobalMut<T> {
    fn address(self, index: usize) -> usize {
        self.pointer.wrapping_add(index).addr()
    }

    #[track_caller]
    fn atomic<R>(self, index: usize, atomic: Atomic, operation: impl FnOnce(&AtomicU32) -> R) -> R {
        if index >= self.length {
            out_of_range("atomic access", index, self.name, self.length);
        }
        self.count(atomic.instruction(), index, 1);
        let lane = lane();
        if atomic.reads && !self.shadow().is_written(index) {
            unwritten(index, self.name);
        }
        self.shadow().set_written(index);
        // SAFETY: in range, aligned, and only reached atomically while the kernel has it.
        let cell = unsafe { AtomicU32::from_ptr(self.pointer.add(index).cast()) };
        let result = if atomic.acquire || atomic.release {
            let releases = &lane.block().launch().releases;
            releases
                .synchronise(lane, self.address(index), atomic.acquire, atomic.release, || operation(cell))
        } else {
            operation(cell)
        };
        self.note(lane, index, atomic.kind, Location::caller());
        result
    }
}
