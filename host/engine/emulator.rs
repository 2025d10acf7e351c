//! The engine that emulates the kernels.

use super::DeviceEngine;

/// The kernels' own source, each GPU thread a coroutine, each access checked. Nothing is asked of the machine.
///
/// ```
/// use tilegrad::engine::{Emulator, Engine, Layout, Precision};
///
/// let engine = Emulator::new();
/// let a = engine.upload(2, 2, &[1.0, 2.0, 3.0, 4.0])?;
/// let b = engine.matmul(&a, Layout::Transposed, &a, Layout::Plain, Precision::Fp32)?;
/// assert_eq!(engine.read(&b)?, [10.0, 14.0, 14.0, 20.0]);
/// # Ok::<(), tilegrad::Error>(())
/// ```
pub type Emulator = DeviceEngine<cuda_std::Emulator>;

impl Emulator {
    /// An engine on the emulator with all its checks on.
    #[must_use]
    pub fn new() -> Self {
        Emulator::with(cuda_std::Emulator::default())
    }

    /// An engine on an emulator with the caller's own settings: its checks, its schedule, its stacks.
    #[must_use]
    pub fn with(emulator: cuda_std::Emulator) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let plural = if threads == 1 { "" } else { "s" };
        let description = format!("emulator (the kernels' own source, {threads} thread{plural})");
        DeviceEngine::on(emulator, description, "emulator".to_owned())
    }
}

impl Default for Emulator {
    fn default() -> Self {
        Emulator::new()
    }
}
