//! What the emulator keeps beside a buffer's values.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

use super::fault::Fault;
use super::shadow::GlobalElement;

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

    /// Whether an element has been written since it was allocated.
    #[inline]
    pub fn is_written(&self, index: usize) -> bool {
        self.written.as_ref().is_none_or(|written| written[index].load(Ordering::Relaxed) == 1)
    }

    /// Notes that a kernel writes an element.
    #[inline]
    pub fn set_written(&self, index: usize) {
        if let Some(written) = &self.written {
            written[index].store(1, Ordering::Relaxed);
        }
    }

    /// The elements' shadows, if a launch has made them.
    #[inline]
    pub fn elements(&self) -> Option<&[GlobalElement]> {
        self.elements.get().map(|elements| &**elements)
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
    /// So many elements of a size, with their shadow.
    pub(crate) fn new(pointer: *mut u8, length: usize, size: usize, shadow: *const Shadow) -> Self {
        Writable { pointer, length, size, shadow }
    }

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
