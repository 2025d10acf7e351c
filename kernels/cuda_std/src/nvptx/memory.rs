//! Global memory as thin pointers, which give `ld.global`; shared memory as 32-bit addresses.

use core::arch::asm;
use core::marker::PhantomData;

use crate::word::Word;

/// Global memory that a kernel reads.
#[repr(transparent)]
pub struct Global<T>(*const T);

/// Global memory that a kernel reads and writes.
#[repr(transparent)]
pub struct GlobalMut<T>(*mut T);

/// An array in shared memory.
pub struct SharedArray<T, const N: usize> {
    address: u32,
    element: PhantomData<T>,
}

macro_rules! copy {
    ($($t:ty [$($generics:tt)*])*) => { $(
        impl<$($generics)*> Clone for $t {
            #[inline(always)]
            fn clone(&self) -> Self {
                *self
            }
        }
        impl<$($generics)*> Copy for $t {}
    )* };
}
copy! { Global<T> [T] GlobalMut<T> [T] SharedArray<T, N> [T, const N: usize] }

/// `ld.global.v4.f32`. In assembly, as LLVM takes a load or a store of four values apart where one of them has a twin
/// in another branch.
///
/// # Safety
/// As for reading four values there, at a multiple of 16 bytes.
#[inline(always)]
unsafe fn read4(address: *const f32) -> [f32; 4] {
    let (a, b, c, d): (f32, f32, f32, f32);
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "ld.global.v4.f32 {{{a}, {b}, {c}, {d}}}, [{address}];",
            a = out(reg32) a,
            b = out(reg32) b,
            c = out(reg32) c,
            d = out(reg32) d,
            address = in(reg64) address,
            options(pure, readonly, nostack, preserves_flags),
        )
    };
    [a, b, c, d]
}

impl<T: Copy> Global<T> {
    /// `ld.global`
    ///
    /// # Safety
    /// `index` is in range, and no thread writes there at the same time.
    #[inline(always)]
    pub unsafe fn read(self, index: usize) -> T {
        // SAFETY: the caller's promise.
        unsafe { self.0.add(index).read() }
    }
}

impl Global<f32> {
    /// `ld.global.v4.f32`
    ///
    /// # Safety
    /// As `read`, for four elements; `index` is a multiple of 4.
    #[inline(always)]
    pub unsafe fn read4(self, index: usize) -> [f32; 4] {
        // SAFETY: the caller's promise; CUDA's allocations are aligned to 256 bytes.
        unsafe { read4(self.0.add(index)) }
    }
}

impl<T: Copy> GlobalMut<T> {
    /// `ld.global`
    ///
    /// # Safety
    /// `index` is in range, and no other thread writes there at the same time.
    #[inline(always)]
    pub unsafe fn read(self, index: usize) -> T {
        // SAFETY: the caller's promise.
        unsafe { self.0.add(index).read() }
    }

    /// `st.global`
    ///
    /// # Safety
    /// `index` is in range, and no other thread reads or writes there at the same time.
    #[inline(always)]
    pub unsafe fn write(self, index: usize, value: T) {
        // SAFETY: the caller's promise.
        unsafe { self.0.add(index).write(value) }
    }
}

impl GlobalMut<f32> {
    /// `ld.global.v4.f32`
    ///
    /// # Safety
    /// As `read`, for four elements; `index` is a multiple of 4.
    #[inline(always)]
    pub unsafe fn read4(self, index: usize) -> [f32; 4] {
        // SAFETY: the caller's promise; CUDA's allocations are aligned to 256 bytes.
        unsafe { read4(self.0.add(index)) }
    }

    /// `st.global.v4.f32`
    ///
    /// # Safety
    /// As `write`, for four elements; `index` is a multiple of 4.
    #[inline(always)]
    pub unsafe fn write4(self, index: usize, values: [f32; 4]) {
        let [a, b, c, d] = values;
        // SAFETY: the caller's promise; CUDA's allocations are aligned to 256 bytes.
        unsafe {
            asm!(
                "st.global.v4.f32 [{address}], {{{a}, {b}, {c}, {d}}};",
                address = in(reg64) self.0.add(index),
                a = in(reg32) a,
                b = in(reg32) b,
                c = in(reg32) c,
                d = in(reg32) d,
                options(nostack, preserves_flags),
            )
        }
    }

    /// `atom.relaxed.gpu.global.add.f32`
    ///
    /// # Safety
    /// `index` is in range.
    #[inline(always)]
    pub unsafe fn atomic_add(self, index: usize, value: f32) -> f32 {
        let old: f32;
        // SAFETY: the caller's promise.
        unsafe {
            asm!(
                "atom.relaxed.gpu.global.add.f32 {old}, [{address}], {value};",
                old = out(reg32) old,
                address = in(reg64) self.0.add(index),
                value = in(reg32) value,
                options(nostack, preserves_flags),
            )
        };
        old
    }
}

macro_rules! atomic_adds {
    ($($name:ident: $instruction:literal)*) => { $(
        /// The instruction of this name.
        ///
        /// # Safety
        /// `index` is in range.
        #[inline(always)]
        pub unsafe fn $name(self, index: usize, value: u32) -> u32 {
            let old: u32;
            // SAFETY: the caller's promise.
            unsafe {
                asm!(
                    concat!($instruction, " {old}, [{address}], {value};"),
                    old = out(reg32) old,
                    address = in(reg64) self.0.add(index),
                    value = in(reg32) value,
                    options(nostack, preserves_flags),
                )
            };
            old
        }
    )* };
}

// Not `core`'s atomics: rustc 1.96 compiles `fetch_add(AcqRel)` to a relaxed one for this target.
impl GlobalMut<u32> {
    atomic_adds! {
        atomic_add: "atom.relaxed.gpu.global.add.u32"
        atomic_add_acquire_release: "atom.acq_rel.gpu.global.add.u32"
    }

    /// `ld.acquire.gpu.global.u32`
    ///
    /// # Safety
    /// `index` is in range.
    #[inline(always)]
    pub unsafe fn load_acquire(self, index: usize) -> u32 {
        let value: u32;
        // SAFETY: the caller's promise.
        unsafe {
            asm!(
                "ld.acquire.gpu.global.u32 {value}, [{address}];",
                value = out(reg32) value,
                address = in(reg64) self.0.add(index),
                options(nostack, preserves_flags),
            )
        };
        value
    }

    /// `ld.relaxed.gpu.global.u32`
    ///
    /// # Safety
    /// `index` is in range.
    #[inline(always)]
    pub unsafe fn load_relaxed(self, index: usize) -> u32 {
        let value: u32;
        // SAFETY: the caller's promise.
        unsafe {
            asm!(
                "ld.relaxed.gpu.global.u32 {value}, [{address}];",
                value = out(reg32) value,
                address = in(reg64) self.0.add(index),
                options(nostack, preserves_flags),
            )
        };
        value
    }

    /// `st.release.gpu.global.u32`
    ///
    /// # Safety
    /// `index` is in range.
    #[inline(always)]
    pub unsafe fn store_release(self, index: usize, value: u32) {
        // SAFETY: the caller's promise.
        unsafe {
            asm!(
                "st.release.gpu.global.u32 [{address}], {value};",
                address = in(reg64) self.0.add(index),
                value = in(reg32) value,
                options(nostack, preserves_flags),
            )
        }
    }

    /// `st.relaxed.gpu.global.u32`
    ///
    /// # Safety
    /// `index` is in range.
    #[inline(always)]
    pub unsafe fn store_relaxed(self, index: usize, value: u32) {
        // SAFETY: the caller's promise.
        unsafe {
            asm!(
                "st.relaxed.gpu.global.u32 [{address}], {value};",
                address = in(reg64) self.0.add(index),
                value = in(reg32) value,
                options(nostack, preserves_flags),
            )
        }
    }
}

/// `N` words of the block's dynamic shared memory, from word `first` on. `#[kernel(…, shared = BYTES)]` declares it.
#[inline(always)]
pub fn dynamic_array<T: Word, const N: usize>(first: usize) -> SharedArray<T, N> {
    let address: u32;
    // SAFETY: takes an address, nothing else.
    unsafe {
        asm!(
            "mov.u32 {address}, dynamic_shared;",
            address = out(reg32) address,
            options(pure, nomem, nostack, preserves_flags),
        )
    };
    SharedArray {
        address: SharedArray::<T, N> { address, element: PhantomData }.element(first),
        element: PhantomData,
    }
}

impl<T: Word, const N: usize> SharedArray<T, N> {
    /// For `shared_array!`.
    #[doc(hidden)]
    #[inline(always)]
    pub fn from_address(address: u32) -> Self {
        SharedArray { address, element: PhantomData }
    }

    #[inline(always)]
    pub(super) fn element(self, index: usize) -> u32 {
        self.address.wrapping_add((index as u32).wrapping_mul(4))
    }

    /// `ld.shared.b32`
    ///
    /// # Safety
    /// `index` is in range, and no thread writes there at the same time.
    #[inline(always)]
    pub unsafe fn read(self, index: usize) -> T {
        let bits: u32;
        // SAFETY: the caller's promise.
        unsafe {
            asm!(
                "ld.shared.b32 {bits}, [{address}];",
                bits = out(reg32) bits,
                address = in(reg32) self.element(index),
                options(pure, readonly, nostack, preserves_flags),
            )
        };
        T::from_bits(bits)
    }

    /// `st.shared.b32`
    ///
    /// # Safety
    /// `index` is in range, and no other thread reads or writes there at the same time.
    #[inline(always)]
    pub unsafe fn write(self, index: usize, value: T) {
        // SAFETY: the caller's promise.
        unsafe {
            asm!(
                "st.shared.b32 [{address}], {bits};",
                address = in(reg32) self.element(index),
                bits = in(reg32) value.to_bits(),
                options(nostack, preserves_flags),
            )
        }
    }

    /// `ld.shared.v4.b32`
    ///
    /// # Safety
    /// As `read`, for four elements; `index` is a multiple of 4.
    #[inline(always)]
    pub unsafe fn read4(self, index: usize) -> [T; 4] {
        let (a, b, c, d): (u32, u32, u32, u32);
        // SAFETY: the caller's promise; shared arrays are aligned to 16 bytes.
        unsafe {
            asm!(
                "ld.shared.v4.b32 {{{a}, {b}, {c}, {d}}}, [{address}];",
                a = out(reg32) a,
                b = out(reg32) b,
                c = out(reg32) c,
                d = out(reg32) d,
                address = in(reg32) self.element(index),
                options(pure, readonly, nostack, preserves_flags),
            )
        };
        [a, b, c, d].map(T::from_bits)
    }

    /// `st.shared.v4.b32`
    ///
    /// # Safety
    /// As `write`, for four elements; `index` is a multiple of 4.
    #[inline(always)]
    pub unsafe fn write4(self, index: usize, values: [T; 4]) {
        let [a, b, c, d] = values.map(T::to_bits);
        // SAFETY: the caller's promise; shared arrays are aligned to 16 bytes.
        unsafe {
            asm!(
                "st.shared.v4.b32 [{address}], {{{a}, {b}, {c}, {d}}};",
                address = in(reg32) self.element(index),
                a = in(reg32) a,
                b = in(reg32) b,
                c = in(reg32) c,
                d = in(reg32) d,
                options(nostack, preserves_flags),
            )
        }
    }
}

/// `cp.async.ca.shared.global`, 4 bytes
///
/// # Safety
/// Both indices are in range, and nothing touches `to[index]` before the copy has been waited for.
#[inline(always)]
pub unsafe fn cp_async<T: Word, const N: usize>(
    to: SharedArray<T, N>,
    index: usize,
    from: Global<T>,
    source: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "cp.async.ca.shared.global [{to}], [{from}], 4;",
            to = in(reg32) to.element(index),
            from = in(reg64) from.0.add(source),
            options(nostack, preserves_flags),
        )
    }
}

/// `cp.async.cg.shared.global`, 16 bytes
///
/// # Safety
/// As `cp_async`, for four elements; both indices are multiples of 4.
#[inline(always)]
pub unsafe fn cp_async4<T: Word, const N: usize>(
    to: SharedArray<T, N>,
    index: usize,
    from: Global<T>,
    source: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "cp.async.cg.shared.global [{to}], [{from}], 16;",
            to = in(reg32) to.element(index),
            from = in(reg64) from.0.add(source),
            options(nostack, preserves_flags),
        )
    }
}

/// `cp.async.ca.shared.global`, 4 bytes, of which it reads none where `inside` is false
///
/// # Safety
/// As `cp_async`; where `inside` is false, `source` need not be in range.
#[inline(always)]
pub unsafe fn cp_async_or_zero<T: Word, const N: usize>(
    to: SharedArray<T, N>,
    index: usize,
    from: Global<T>,
    source: usize,
    inside: bool,
) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "cp.async.ca.shared.global [{to}], [{from}], 4, {bytes};",
            to = in(reg32) to.element(index),
            from = in(reg64) from.0.wrapping_add(source),
            bytes = in(reg32) if inside { 4 } else { 0 },
            options(nostack, preserves_flags),
        )
    }
}

/// `cp.async.cg.shared.global`, 16 bytes, of which it reads none where `inside` is false
///
/// # Safety
/// As `cp_async4`; where `inside` is false, `source` need not be in range.
#[inline(always)]
pub unsafe fn cp_async4_or_zero<T: Word, const N: usize>(
    to: SharedArray<T, N>,
    index: usize,
    from: Global<T>,
    source: usize,
    inside: bool,
) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "cp.async.cg.shared.global [{to}], [{from}], 16, {bytes};",
            to = in(reg32) to.element(index),
            from = in(reg64) from.0.wrapping_add(source),
            bytes = in(reg32) if inside { 16 } else { 0 },
            options(nostack, preserves_flags),
        )
    }
}

/// `cp.async.commit_group`
#[inline(always)]
pub fn cp_async_commit() {
    // SAFETY: orders copies, touches no memory of Rust's.
    unsafe { asm!("cp.async.commit_group;", options(nostack, preserves_flags)) }
}

/// `cp.async.wait_group`
#[inline(always)]
pub fn cp_async_wait_group<const N: u32>() {
    // SAFETY: orders copies; as it is not `nomem`, no access moves past it.
    unsafe { asm!("cp.async.wait_group {n};", n = const N, options(nostack, preserves_flags)) }
}

/// `cp.async.wait_all`
#[inline(always)]
pub fn cp_async_wait_all() {
    // SAFETY: orders copies; as it is not `nomem`, no access moves past it.
    unsafe { asm!("cp.async.wait_all;", options(nostack, preserves_flags)) }
}

/// `mov.b32`
#[inline(always)]
pub fn opaque(index: usize) -> usize {
    let result: u32;
    // SAFETY: copies a register.
    unsafe {
        asm!(
            "mov.b32 {result}, {index};",
            result = out(reg32) result,
            index = in(reg32) index as u32,
            options(nomem, nostack, preserves_flags),
        )
    };
    result as usize
}

/// `.pragma "nounroll"`
#[inline(always)]
pub fn keep_loop() {
    // SAFETY: says something to the assembler, nothing to the GPU.
    unsafe { core::arch::asm!(".pragma \"nounroll\";", options(nomem, nostack, preserves_flags)) }
}
