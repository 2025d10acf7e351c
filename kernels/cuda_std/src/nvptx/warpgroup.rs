//! The 128 threads that multiply matrices together. As in `warp`, none of this assembly is `pure`.

use core::arch::asm;

use crate::memory::SharedArray;

/// A thread's elements of a product (64 × 128).
pub struct Accumulators([f32; 64]);

/// Expands `$macro!` with its arguments and the numbers of the accumulators.
macro_rules! of_all {
    ($macro:ident $arguments:tt) => {
        $macro! { $arguments 0
            [1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39 40 41
             42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63] }
    };
}

/// Assembly whose operands 0 to 63 are the accumulators, as `{…}` between `$before` and `$after`.
macro_rules! with_accumulators {
    (($d:ident, [$($before:expr),*], $after:expr, $options:tt $(, $name:ident = $operand:expr)*) $i0:literal [$($i:literal)*]) => {
        with_accumulators!(@ $d, concat!($($before,)* "{{{", $i0, "}", $(", {", $i, "}",)* "}}", $after), $options,
            [$($name = $operand),*], $i0 [$($i)*])
    };
    (@ $d:ident, $text:expr, ($($option:ident),*), [$($name:ident = $operand:expr),*], $i0:literal [$($i:literal)*]) => {
        asm!(
            $text,
            inout(reg32) $d[$i0] $(, inout(reg32) $d[$i])*
            $(, $name = in(reg32) $operand)*,
            options($($option),*),
        )
    };
}

impl Accumulators {
    /// Zeros, in registers.
    #[inline(always)]
    pub fn new() -> Self {
        Accumulators([0.0; 64])
    }

    /// The elements.
    #[inline(always)]
    pub fn values(&self) -> [[f32; 4]; 16] {
        let mut values = [[0.0; 4]; 16];
        for j in 0..16 {
            for element in 0..4 {
                values[j][element] = self.0[4 * j + element];
            }
        }
        values
    }
}

impl Default for Accumulators {
    #[inline(always)]
    fn default() -> Self {
        Self::new()
    }
}

/// `wgmma.fence.sync.aligned`; the registers are named in comments, so that LLVM has all of them made by then.
#[inline(always)]
pub fn wgmma_fence(accumulators: &mut Accumulators, a: &[[f32; 4]]) {
    name(a);
    let d = &mut accumulators.0;
    // SAFETY: orders accesses to registers; as it is not `nomem`, no access moves past it.
    unsafe {
        of_all!(with_accumulators(d, ["wgmma.fence.sync.aligned; // "], "", (nostack, preserves_flags)))
    }
}

/// What a matrix descriptor says besides the address: rows of 128 bytes in that swizzle, 8 rows every 1024 bytes.
/// (Offsets are in units of 16 bytes; the first, along k, is not used with this swizzle, and 1 by custom.)
const LAYOUT: [u32; 2] = [1 << 16, 1024 / 16 | 1 << 30];

/// `wgmma.mma_async.sync.aligned.m64n128k8.f32.tf32.tf32`
///
/// # Safety
/// As on the emulator's side.
#[inline(always)]
pub unsafe fn wgmma_m64n128k8<const N: usize>(
    accumulators: &mut Accumulators,
    accumulate: bool,
    a: [f32; 4],
    b: SharedArray<f32, N>,
    tile: usize,
    k: usize,
) {
    let d = &mut accumulators.0;
    let address = b.element(tile).wrapping_add((k * size_of::<f32>()) as u32);
    let [low, high] = [address >> 4 & 0x3fff | LAYOUT[0], LAYOUT[1]];
    // SAFETY: the caller's promise.
    unsafe {
        of_all!(with_accumulators(
            d,
            [
                "{{ .reg .pred %add; .reg .b64 %b; setp.ne.u32 %add, {add}, 0; mov.b64 %b, {{{low}, {high}}}; ",
                "wgmma.mma_async.sync.aligned.m64n128k8.f32.tf32.tf32 "
            ],
            ", {{{a0}, {a1}, {a2}, {a3}}}, %b, %add, 1, 1; }}",
            (nostack, preserves_flags),
            add = u32::from(accumulate),
            low = low,
            high = high,
            a0 = a[0],
            a1 = a[1],
            a2 = a[2],
            a3 = a[3]
        ))
    }
}

/// `wgmma.commit_group.sync.aligned`
#[inline(always)]
pub fn wgmma_commit() {
    // SAFETY: orders products, touches no memory of Rust's.
    unsafe { asm!("wgmma.commit_group.sync.aligned;", options(nostack, preserves_flags)) }
}

/// `wgmma.wait_group.sync.aligned 0`; the registers that the products use are named in comments again.
#[inline(always)]
pub fn wgmma_wait(accumulators: &mut Accumulators, a: &[[f32; 4]]) {
    let d = &mut accumulators.0;
    // SAFETY: orders products; as it is not `nomem`, no access moves past it.
    unsafe {
        of_all!(with_accumulators(
            d,
            ["wgmma.wait_group.sync.aligned 0; // "],
            "",
            (nostack, preserves_flags)
        ))
    }
    name(a);
}

/// A comment with these registers: LLVM has made them before, and keeps them until here. (ptxas keeps what products use by itself.)
#[inline(always)]
fn name(a: &[[f32; 4]]) {
    for a in a {
        // SAFETY: a comment.
        unsafe {
            asm!(
                "// {} {} {} {}",
                in(reg32) a[0], in(reg32) a[1], in(reg32) a[2], in(reg32) a[3],
                options(nostack, preserves_flags),
            )
        }
    }
}

/// `fence.proxy.async.shared::cta`
#[inline(always)]
pub fn fence_proxy_async() {
    // SAFETY: orders accesses; as it is not `nomem`, none moves past it.
    unsafe { asm!("fence.proxy.async.shared::cta;", options(nostack, preserves_flags)) }
}
