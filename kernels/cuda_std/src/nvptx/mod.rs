//! The API as PTX instructions. What each function promises is written on the emulator's side.

pub mod float;
pub mod memory;
pub mod thread;
pub mod warp;
pub mod warpgroup;

/// A panic stops the grid: the host sees an error of the launch. With immediate abort it is never called.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    // SAFETY: stops the grid.
    unsafe { core::arch::nvptx::trap() }
}
