//! Four elements a thread: how a pass over all elements of some buffers goes in vectors.
//!
//! ```text
//! element   0 1 2 3 │ 4 5 6 7 │ …            count − 1
//! thread       0    │    1    │ …      last: up to four, one by one
//! ```
//!
//! Buffers begin at a multiple of 16 bytes, so every vector of a flat pass is aligned, whatever the matrix's sides. The last
//! thread may have less than a vector, and reads zeros behind it, which are not written.
//!
//! **Cost.** A quarter of the requests of one element a thread, for the same bytes.
//!
//! **Barriers.** None.
//!
//! **What it buys.** Against one element a thread: not measured yet.
//!
//! **Run it.** `cargo test --release --test kernels backward` (`update_adam`)

use cuda_std::prelude::*;

use crate::elementwise::{THREADS, element};

/// Elements of a vector.
pub const V: usize = 4;

/// The grid for `count` elements.
pub fn grid(count: usize) -> [u32; 3] {
    [count.div_ceil(V * THREADS as usize) as u32, 1, 1]
}

/// The first element of this thread.
#[inline(always)]
pub fn first() -> usize {
    V * element()
}

/// Memory that is read in vectors.
pub trait Source: Copy {
    /// An element.
    ///
    /// # Safety
    /// There is one at `index`.
    unsafe fn one(self, index: usize) -> f32;

    /// Four elements from `index`, a multiple of 4.
    ///
    /// # Safety
    /// There are four.
    unsafe fn four(self, index: usize) -> [f32; V];
}

impl Source for Global<f32> {
    #[inline(always)]
    unsafe fn one(self, index: usize) -> f32 {
        // SAFETY: the caller's promise.
        unsafe { self.read(index) }
    }
    #[inline(always)]
    unsafe fn four(self, index: usize) -> [f32; V] {
        // SAFETY: as above.
        unsafe { self.read4(index) }
    }
}

impl Source for GlobalMut<f32> {
    #[inline(always)]
    unsafe fn one(self, index: usize) -> f32 {
        // SAFETY: the caller's promise.
        unsafe { self.read(index) }
    }
    #[inline(always)]
    unsafe fn four(self, index: usize) -> [f32; V] {
        // SAFETY: as above.
        unsafe { self.read4(index) }
    }
}

/// The four elements from `first` of `count`; zeros behind the last.
///
/// # Safety
/// `source` has `count` elements, and `first` is a multiple of 4.
#[inline(always)]
pub unsafe fn read<S: Source>(source: S, first: usize, count: usize) -> [f32; V] {
    if first + V <= count {
        // SAFETY: four elements are there.
        return unsafe { source.four(first) };
    }
    let mut values = [0.0; V];
    for i in 0..V {
        if first + i < count {
            // SAFETY: in range.
            values[i] = unsafe { source.one(first + i) };
        }
    }
    values
}

/// Writes those of the four elements from `first` that are among `count`.
///
/// # Safety
/// As for [`read`]; the elements are this thread's alone.
#[inline(always)]
pub unsafe fn write(values: [f32; V], out: GlobalMut<f32>, first: usize, count: usize) {
    if first + V <= count {
        // SAFETY: four elements are there.
        return unsafe { out.write4(first, values) };
    }
    for i in 0..V {
        if first + i < count {
            // SAFETY: in range.
            unsafe { out.write(first + i, values[i]) };
        }
    }
}
