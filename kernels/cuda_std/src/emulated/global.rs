//! Global memory: buffers as kernels see them.

use std::mem::MaybeUninit;
use std::panic::Location;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use super::buffer::{Shadow, Writable};
use super::count::{Instruction, record};
use super::fault::{fault, fault_at};
use super::lane::{Lane, lane};
use super::shadow::{Kind, Problem};

/// Global memory that a kernel reads. On a GPU it is a bare pointer; here it knows its length.
#[repr(C)]
pub struct Global<T> {
    pointer: *const T,
    length: usize,
    shadow: *const Shadow,
    name: &'static str,
    /// How many elements are read with no other question: all, or none if the launch counts.
    plain: usize,
}

/// Global memory that a kernel reads and writes. On a GPU it is a bare pointer; here it knows its length, and who
/// has touched which element.
#[repr(C)]
pub struct GlobalMut<T> {
    pub(crate) pointer: *mut T,
    pub(crate) length: usize,
    shadow: *const Shadow,
    pub(crate) name: &'static str,
    /// Whether the launch counts.
    counted: bool,
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
            plain: length,
        }
    }

    pub(crate) fn new(values: &[T], shadow: &Shadow) -> Self {
        Global { pointer: values.as_ptr(), length: values.len(), shadow, name: "", plain: values.len() }
    }

    /// The parameter of this name in the kernel that is running.
    pub(crate) fn named(self, name: &'static str) -> Self {
        Global { name, plain: if lane().block().launch().counts() { 0 } else { self.length }, ..self }
    }

    /// The value of an element.
    ///
    /// # Safety
    /// `index` is in range and has been written. (The emulator checks.)
    #[inline]
    #[track_caller]
    pub unsafe fn read(self, index: usize) -> T {
        if index >= self.plain {
            self.check_and_count(index);
        }
        // SAFETY: in range.
        unsafe { self.fetch(index) }
    }

    /// The value of an element, checked but not counted.
    #[inline]
    #[track_caller]
    pub(crate) fn get(self, index: usize) -> T {
        self.check(index);
        // SAFETY: in range.
        unsafe { self.fetch(index) }
    }

    #[inline]
    #[track_caller]
    fn check(self, index: usize) {
        if index >= self.length {
            out_of_range("read", index, self.name, self.length);
        }
    }

    #[cold]
    #[inline(never)]
    #[track_caller]
    fn check_and_count(self, index: usize) {
        self.check(index);
        self.count(Instruction::Load, index, 1);
    }

    /// The value of an element.
    ///
    /// # Safety
    /// `index` is in range.
    #[inline]
    #[track_caller]
    unsafe fn fetch(self, index: usize) -> T {
        // SAFETY: the shadow lives as long as the buffer, which is borrowed for the launch.
        if !unsafe { (*self.shadow).is_written(index) } {
            unwritten(index, self.name);
        }
        // SAFETY: in range, and nothing writes what a kernel has as `Global`.
        unsafe { self.pointer.add(index).read() }
    }

    /// Counts an access to so many elements.
    #[inline]
    #[track_caller]
    pub(crate) fn count(self, instruction: Instruction, index: usize, elements: usize) {
        if self.plain < self.length {
            count::<T>(instruction, self.pointer, index, elements);
        }
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
        self.count(Instruction::Load, index, 4);
        [self.get(index), self.get(index + 1), self.get(index + 2), self.get(index + 3)]
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
            counted: false,
        }
    }

    pub(crate) fn new(values: &mut [T], shadow: &Shadow) -> Self {
        GlobalMut { pointer: values.as_mut_ptr(), length: values.len(), shadow, name: "", counted: false }
    }

    /// The parameter of this name in the kernel that is running.
    pub(crate) fn named(self, name: &'static str) -> Self {
        GlobalMut { name, counted: lane().block().launch().counts(), ..self }
    }

    pub(crate) fn writable(&self) -> Writable {
        Writable::new(self.pointer.cast(), self.length, size_of::<T>(), self.shadow)
    }

    /// The value of an element.
    ///
    /// # Safety
    /// `index` is in range, it has been written, and no other thread writes it at the same time. (The emulator
    /// checks.)
    #[inline]
    #[track_caller]
    pub unsafe fn read(self, index: usize) -> T {
        self.count(Instruction::Load, index, 1);
        self.get(index)
    }

    /// The value of an element, checked but not counted.
    #[inline]
    #[track_caller]
    fn get(self, index: usize) -> T {
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
        self.count(Instruction::Store, index, 1);
        self.set(index, value);
    }

    /// Sets an element, checked but not counted.
    #[inline]
    #[track_caller]
    fn set(self, index: usize, value: T) {
        self.access(index, Kind::WRITE);
        // SAFETY: in range, as `access` has checked.
        unsafe { store(self.pointer.add(index), value) }
    }

    /// Counts an access to so many elements.
    #[inline]
    #[track_caller]
    pub(crate) fn count(self, instruction: Instruction, index: usize, elements: usize) {
        if self.counted {
            count::<T>(instruction, self.pointer, index, elements);
        }
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
        let shadow = self.shadow();
        if kind == Kind::READ {
            lane.count_read(place, self.pointer.wrapping_add(index).addr());
            if !shadow.is_written(index) {
                unwritten(index, self.name);
            }
        } else {
            shadow.set_written(index);
        }
        self.note(lane, index, kind, place);
    }

    #[inline]
    pub(crate) fn shadow<'a>(self) -> &'a Shadow {
        // SAFETY: the shadow lives as long as the buffer, which is borrowed for the launch.
        unsafe { &*self.shadow }
    }

    /// Notes an access in the element's shadow, if races are looked for.
    #[inline]
    pub(crate) fn note(self, lane: &Lane, index: usize, kind: Kind, place: &'static Location<'static>) {
        let launch = lane.block().launch();
        if launch.races
            && let Some(elements) = self.shadow().elements()
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
        fault_at(
            place,
            format!(
                "race: global {access} of element {index} of `{}`, which {} {remedy}",
                self.name,
                other.describe(lane)
            ),
        )
    }
}

impl Global<f32> {
    /// For simulated drivers, whose memory has no types: the same elements as whole numbers.
    #[doc(hidden)]
    pub fn words(self) -> Global<u32> {
        let Global { pointer, length, shadow, name, plain } = self;
        Global { pointer: pointer.cast(), length, shadow, name, plain }
    }
}

impl GlobalMut<f32> {
    /// For simulated drivers, whose memory has no types: the same elements as whole numbers.
    #[doc(hidden)]
    pub fn words(self) -> GlobalMut<u32> {
        let GlobalMut { pointer, length, shadow, name, counted } = self;
        GlobalMut { pointer: pointer.cast(), length, shadow, name, counted }
    }

    /// The values of four elements in one instruction.
    ///
    /// # Safety
    /// As [`GlobalMut::read`] for each; `index` is a multiple of 4. (The emulator checks.)
    #[inline]
    #[track_caller]
    pub unsafe fn read4(self, index: usize) -> [f32; 4] {
        aligned("read", index, self.name);
        self.count(Instruction::Load, index, 4);
        [self.get(index), self.get(index + 1), self.get(index + 2), self.get(index + 3)]
    }

    /// Sets four elements in one instruction.
    ///
    /// # Safety
    /// As [`GlobalMut::write`] for each; `index` is a multiple of 4. (The emulator checks.)
    #[inline]
    #[track_caller]
    pub unsafe fn write4(self, index: usize, values: [f32; 4]) {
        aligned("write", index, self.name);
        self.count(Instruction::Store, index, 4);
        for (i, value) in values.into_iter().enumerate() {
            self.set(index + i, value);
        }
    }
}

/// Counts an access to so many elements of a buffer.
#[cold]
#[inline(never)]
#[track_caller]
fn count<T>(instruction: Instruction, buffer: *const T, index: usize, elements: usize) {
    record(instruction, buffer.addr(), index.wrapping_mul(size_of::<T>()), elements * size_of::<T>());
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
pub(crate) fn out_of_range(what: &str, index: usize, name: &str, length: usize) -> ! {
    fault(format!("global {what} of element {index} of `{name}`, which has {length}"))
}

#[cold]
#[inline(never)]
#[track_caller]
pub(crate) fn unwritten(index: usize, name: &str) -> ! {
    fault(format!(
        "global read of element {index} of `{name}`, which nothing has written since it was allocated"
    ))
}
