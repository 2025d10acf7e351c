//! The values that fill one register of the GPU.

#[diagnostic::on_unimplemented(
    message = "shared memory and shuffles are of `f32`, `u32` and `i32`, not of `{Self}`",
    label = "not of 32 bits"
)]
/// A 32-bit value: what shuffles exchange and shared memory holds. `f32`, `u32` and `i32`.
pub trait Word: sealed::Sealed + Copy + 'static {
    /// Its 32 bits.
    fn to_bits(self) -> u32;
    /// The value of these bits.
    fn from_bits(bits: u32) -> Self;
}

mod sealed {
    pub trait Sealed {}
}

impl sealed::Sealed for f32 {}
impl Word for f32 {
    #[inline(always)]
    fn to_bits(self) -> u32 {
        f32::to_bits(self)
    }
    #[inline(always)]
    fn from_bits(bits: u32) -> Self {
        f32::from_bits(bits)
    }
}

impl sealed::Sealed for u32 {}
impl Word for u32 {
    #[inline(always)]
    fn to_bits(self) -> u32 {
        self
    }
    #[inline(always)]
    fn from_bits(bits: u32) -> Self {
        bits
    }
}

impl sealed::Sealed for i32 {}
impl Word for i32 {
    #[inline(always)]
    fn to_bits(self) -> u32 {
        self.cast_unsigned()
    }
    #[inline(always)]
    fn from_bits(bits: u32) -> Self {
        bits.cast_signed()
    }
}
