//! Global memory: buffers as kernels see them.

use std::mem::MaybeUninit;
use std::panic::Location;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use super::block::{Lane, lane};
use super::fault::{Fault, fault};
use super::shadow::{GlobalElement, Kind, Problem};
use crate::word::Word;

/// What is known of a buffer's elements.
#[derive(Default)]
pub(crate) struct Shadow {
    /// Made by the first launch that may write the buffer.
    elements: OnceLock<Box<[GlobalElement]>>,
    /// A one for each element that has been written; none if all have.
    written: Option<Box<[AtomicU8]>>,
}

impl Shadow {
    /// The shadow of a new buffer, with nothing written.
    pub fn new(length: usize) -> Result<Self, ()> {
        let written = bytemuck::allocation::try_zeroed_slice_box(length)?;
        Ok(Shadow { elements: OnceLock::new(), written: Some(written) })
    }

    /// Notes that the host has written a range.
    pub fn write(&mut self, range: std::ops::Range<usize>) {
        if let Some(written) = &mut self.written {
            if range.len() == written.len() {
                self.written = None;
            } else {
                written[range].fill_with(|| AtomicU8::new(1));
            }
        }
    }

    /// Looks whether all has been written by now.
    pub fn settle(&mut self) {
        if let Some(written) = &self.written
            && written.iter().all(|element| element.load(Ordering::Relaxed) == 1)
        {
            self.written = None;
        }
    }
}

/// Global memory that a kernel reads. On a GPU it is a bare pointer; here it knows its length.
#[repr(C)]
pub struct Global<T> {
    pointer: *const T,
    length: usize,
    shadow: *const Shadow,
    name: &'static str,
}

/// Global memory that a kernel reads and writes. On a GPU it is a bare pointer; here it knows its length, and who
/// has touched which element.
#[repr(C)]
pub struct GlobalMut<T> {
    pointer: *mut T,
    length: usize,
    shadow: *const Shadow,
    name: &'static str,
}

impl<T> Clone for Global<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Global<T> {}
impl<T> Clone for GlobalMut<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for GlobalMut<T> {}

// SAFETY: what it points to is only read while a kernel has it.
unsafe impl<T: Sync> Sync for Global<T> {}
// SAFETY: what it points to is read and written atomically.
unsafe impl<T: Send> Sync for GlobalMut<T> {}

impl<T: Copy> Global<T> {
    /// Memory at an address of a GPU, for a launch there. Reading it here is not possible.
    pub const fn from_address(address: u64, length: usize) -> Self {
        Global {
            pointer: std::ptr::without_provenance(address as usize),
            length,
            shadow: std::ptr::null(),
            name: "",
        }
    }

    pub(crate) fn new(values: &[T], shadow: &Shadow) -> Self {
        Global { pointer: values.as_ptr(), length: values.len(), shadow, name: "" }
    }

    pub(crate) fn named(self, name: &'static str) -> Self {
        Global { name, ..self }
    }

    /// The value of an element.
    ///
    /// # Safety
    /// `index` is in range and has been written. (The emulator checks.)
    #[inline]
    #[track_caller]
    pub unsafe fn read(self, index: usize) -> T {
        if index >= self.length {
            out_of_range("read", index, self.name, self.length);
        }
        // SAFETY: the shadow lives as long as the buffer, which is borrowed for the launch.
        if let Some(written) = unsafe { &(*self.shadow).written }
            && written[index].load(Ordering::Relaxed) == 0
        {
            unwritten(index, self.name);
        }
        // SAFETY: in range, and nothing writes what a kernel has as `Global`.
        unsafe { self.pointer.add(index).read() }
    }

    #[track_caller]
    pub(crate) fn aligned(self, index: usize) {
        aligned("read", index, self.name);
    }
}

impl Global<f32> {
    /// The values of four elements in one instruction.
    ///
    /// # Safety
    /// As [`Global::read`] for each; `index` is a multiple of 4. (The emulator checks.)
    #[inline]
    #[track_caller]
    pub unsafe fn read4(self, index: usize) -> [f32; 4] {
        self.aligned(index);
        // SAFETY: the caller's promise.
        unsafe { [self.read(index), self.read(index + 1), self.read(index + 2), self.read(index + 3)] }
    }
}

impl<T: Copy> GlobalMut<T> {
    /// Memory at an address of a GPU, for a launch there. Reading or writing it here is not possible.
    pub const fn from_address(address: u64, length: usize) -> Self {
        GlobalMut {
            pointer: std::ptr::without_provenance_mut(address as usize),
            length,
            shadow: std::ptr::null(),
            name: "",
        }
    }

    pub(crate) fn new(values: &mut [T], shadow: &Shadow) -> Self {
        GlobalMut { pointer: values.as_mut_ptr(), length: values.len(), shadow, name: "" }
    }

    pub(crate) fn named(self, name: &'static str) -> Self {
        GlobalMut { name, ..self }
    }

    pub(crate) fn writable(&self) -> Writable {
        Writable {
            pointer: self.pointer.cast(),
            length: self.length,
            size: size_of::<T>(),
            shadow: self.shadow,
        }
    }

    /// The value of an element.
    ///
    /// # Safety
    /// `index` is in range, it has been written, and no other thread writes it at the same time. (The emulator
    /// checks.)
    #[inline]
    #[track_caller]
    pub unsafe fn read(self, index: usize) -> T {
        self.access(index, Kind::READ);
        // SAFETY: in range, as `access` has checked.
        unsafe { load(self.pointer.add(index)) }
    }

    /// Sets an element.
    ///
    /// # Safety
    /// `index` is in range, and no other thread reads or writes it at the same time. (The emulator checks.)
    #[inline]
    #[track_caller]
    pub unsafe fn write(self, index: usize, value: T) {
        self.access(index, Kind::WRITE);
        // SAFETY: in range, as `access` has checked.
        unsafe { store(self.pointer.add(index), value) }
    }

    /// Checks an access and notes it.
    #[inline]
    #[track_caller]
    fn access(self, index: usize, kind: Kind) {
        if index >= self.length {
            out_of_range(if kind == Kind::READ { "read" } else { "write" }, index, self.name, self.length);
        }
        let lane = lane();
        let place = Location::caller();
        // SAFETY: the shadow lives as long as the buffer, which is borrowed for the launch.
        let shadow = unsafe { &*self.shadow };
        if kind == Kind::READ {
            lane.count_read(place);
            if let Some(written) = &shadow.written
                && written[index].load(Ordering::Relaxed) == 0
            {
                unwritten(index, self.name);
            }
        } else if let Some(written) = &shadow.written {
            written[index].store(1, Ordering::Relaxed);
        }
        self.note(lane, shadow, index, kind, place);
    }

    #[inline]
    fn note(self, lane: &Lane, shadow: &Shadow, index: usize, kind: Kind, place: &'static Location<'static>) {
        let launch = lane.block().launch();
        if launch.races
            && let Some(elements) = shadow.elements.get()
            && let Err(problem) =
                elements[index].with(launch.epoch, |element| element.access(lane, kind, place))
        {
            self.report(lane, index, kind, place, &problem);
        }
    }

    #[cold]
    #[inline(never)]
    fn report(self, lane: &Lane, index: usize, kind: Kind, place: &Location<'_>, problem: &Problem) -> ! {
        let (Problem::Race(other) | Problem::Copying(other)) = problem else {
            unreachable!("global memory's unwritten elements are found by other means")
        };
        let remedy = if other.block == lane.block().number {
            "with no barrier in between"
        } else {
            "and nothing orders the two blocks"
        };
        let access = match kind {
            Kind::READ => "read",
            Kind::WRITE => "write",
            _ => "atomic access",
        };
        super::fault::fault_at(
            place,
            format!(
                "race: global {access} of element {index} of `{}`, which {} {remedy}",
                self.name,
                other.describe(lane)
            ),
        )
    }
}

impl GlobalMut<f32> {
    /// The values of four elements in one instruction.
    ///
    /// # Safety
    /// As [`GlobalMut::read`] for each; `index` is a multiple of 4. (The emulator checks.)
    #[inline]
    #[track_caller]
    pub unsafe fn read4(self, index: usize) -> [f32; 4] {
        aligned("read", index, self.name);
        // SAFETY: the caller's promise.
        unsafe { [self.read(index), self.read(index + 1), self.read(index + 2), self.read(index + 3)] }
    }

    /// Sets four elements in one instruction.
    ///
    /// # Safety
    /// As [`GlobalMut::write`] for each; `index` is a multiple of 4. (The emulator checks.)
    #[inline]
    #[track_caller]
    pub unsafe fn write4(self, index: usize, values: [f32; 4]) {
        aligned("write", index, self.name);
        for (i, value) in values.into_iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe { self.write(index + i, value) }
        }
    }

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
        let lane = lane();
        // SAFETY: the shadow lives as long as the buffer, which is borrowed for the launch.
        let shadow = unsafe { &*self.shadow };
        if let Some(written) = &shadow.written {
            if atomic.reads && written[index].load(Ordering::Relaxed) == 0 {
                unwritten(index, self.name);
            }
            written[index].store(1, Ordering::Relaxed);
        }
        // SAFETY: in range, aligned, and only reached atomically while the kernel has it.
        let cell = unsafe { AtomicU32::from_ptr(self.pointer.add(index).cast()) };
        let result = if atomic.acquire || atomic.release {
            let releases = &lane.block().launch().releases;
            releases
                .synchronise(lane, self.address(index), atomic.acquire, atomic.release, || operation(cell))
        } else {
            operation(cell)
        };
        self.note(lane, shadow, index, atomic.kind, Location::caller());
        result
    }
}

/// Global memory that a launch may write, whatever its type.
#[doc(hidden)]
#[derive(Debug)]
pub struct Writable {
    pointer: *mut u8,
    length: usize,
    size: usize,
    shadow: *const Shadow,
}

/// What memory held before a launch.
pub(crate) struct Saved {
    memory: Writable,
    values: Vec<u8>,
    written: Vec<u8>,
}

impl Writable {
    fn shadow(&self) -> &Shadow {
        // SAFETY: the shadow lives as long as the buffer, which is borrowed for the launch.
        unsafe { &*self.shadow }
    }

    /// Makes shadows for the elements, unless there are.
    pub(crate) fn prepare(&self) -> Result<(), Fault> {
        if self.shadow().elements.get().is_none() {
            let elements = bytemuck::allocation::try_zeroed_slice_box::<GlobalElement>(self.length)
                .map_err(|()| Fault::Memory { length: self.length, size: size_of::<GlobalElement>() })?;
            // Two launches cannot have the buffer at the same time.
            let _ = self.shadow().elements.set(elements);
        }
        Ok(())
    }

    /// Copies what the memory holds; none if there is no memory for that.
    pub(crate) fn save(self) -> Option<Saved> {
        let bytes = self.length * self.size;
        let mut values = Vec::new();
        values.try_reserve_exact(bytes).ok()?;
        // SAFETY: no kernel is running, and the buffer is borrowed for the launch.
        values.extend_from_slice(unsafe { std::slice::from_raw_parts(self.pointer, bytes) });
        let mut written = Vec::new();
        if let Some(elements) = &self.shadow().written {
            written.try_reserve_exact(elements.len()).ok()?;
            written.extend(elements.iter().map(|element| element.load(Ordering::Relaxed)));
        }
        Some(Saved { memory: self, values, written })
    }
}

impl Saved {
    /// Puts it back.
    pub fn restore(&self) {
        // SAFETY: as in `save`.
        unsafe { self.memory.pointer.copy_from_nonoverlapping(self.values.as_ptr(), self.values.len()) };
        if let Some(elements) = &self.memory.shadow().written {
            for (element, &written) in elements.iter().zip(&self.written) {
                element.store(written, Ordering::Relaxed);
            }
        }
    }
}

/// Reads a value that other threads may be writing: the bytes of a racy kernel are wrong, but not undefined.
///
/// # Safety
/// `pointer` is valid and aligned, and every bit pattern is a `T`.
#[inline]
unsafe fn load<T: Copy>(pointer: *mut T) -> T {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the caller's promise; the atomic has the size of `T` and no more than its alignment.
    unsafe {
        match size_of::<T>() {
            4 if align_of::<T>() >= 4 => {
                value
                    .as_mut_ptr()
                    .cast::<u32>()
                    .write(AtomicU32::from_ptr(pointer.cast()).load(Ordering::Relaxed));
            }
            8 if align_of::<T>() >= 8 => {
                value
                    .as_mut_ptr()
                    .cast::<u64>()
                    .write(AtomicU64::from_ptr(pointer.cast()).load(Ordering::Relaxed));
            }
            size => {
                for i in 0..size {
                    let byte = AtomicU8::from_ptr(pointer.cast::<u8>().add(i)).load(Ordering::Relaxed);
                    value.as_mut_ptr().cast::<u8>().add(i).write(byte);
                }
            }
        }
        value.assume_init()
    }
}

/// Writes a value that other threads may be reading or writing.
///
/// # Safety
/// `pointer` is valid and aligned, and `T` has no padding.
#[inline]
unsafe fn store<T: Copy>(pointer: *mut T, value: T) {
    let from = &raw const value;
    // SAFETY: the caller's promise; the atomic has the size of `T` and no more than its alignment.
    unsafe {
        match size_of::<T>() {
            4 if align_of::<T>() >= 4 => {
                AtomicU32::from_ptr(pointer.cast()).store(from.cast::<u32>().read(), Ordering::Relaxed);
            }
            8 if align_of::<T>() >= 8 => {
                AtomicU64::from_ptr(pointer.cast()).store(from.cast::<u64>().read(), Ordering::Relaxed);
            }
            size => {
                for i in 0..size {
                    AtomicU8::from_ptr(pointer.cast::<u8>().add(i))
                        .store(from.cast::<u8>().add(i).read(), Ordering::Relaxed);
                }
            }
        }
    }
}

#[inline]
#[track_caller]
fn aligned(what: &str, index: usize, name: &str) {
    if !index.is_multiple_of(4) {
        fault(format!("global {what} of four elements at {index} of `{name}`: not a multiple of 4"));
    }
}

#[cold]
#[inline(never)]
#[track_caller]
fn out_of_range(what: &str, index: usize, name: &str, length: usize) -> ! {
    fault(format!("global {what} of element {index} of `{name}`, which has {length}"))
}

#[cold]
#[inline(never)]
#[track_caller]
fn unwritten(index: usize, name: &str) -> ! {
    fault(format!(
        "global read of element {index} of `{name}`, which nothing has written since it was allocated"
    ))
}
