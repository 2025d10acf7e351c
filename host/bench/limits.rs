//! What a machine can do at most, measured in the same run as what is compared with it.

use std::hint::black_box;
use std::time::Instant;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;
use serde::Serialize;

use super::{Effort, Spread};
use crate::Result;
use crate::cuda::Gpu;
use cuda_std::Device;

/// Limits of a device.
#[derive(Clone, Debug, Serialize)]
pub struct Limits {
    /// Bytes a second: of a copy on a GPU, read and written; of reading with all threads on a CPU.
    pub bandwidth: f64,
    /// What that is.
    pub bandwidth_of: &'static str,
    /// Operations a second in `f32`, a fused multiply-add being two.
    pub arithmetic: Option<f64>,
    /// What that is, or why it is not there.
    pub arithmetic_of: String,
}

/// Bytes of the copy on a GPU, and of what a CPU reads: more than any cache has.
const BYTES: usize = 1 << 30;
/// The same where it is only to be seen that everything works.
const FEW_BYTES: usize = 1 << 20;

fn bytes(effort: &Effort) -> usize {
    if effort.samples > 0.0 { BYTES } else { FEW_BYTES }
}

impl Limits {
    /// Measures a GPU: a copy within its memory. Its arithmetic is what the driver says of it, not measured.
    ///
    /// # Errors
    /// The driver's.
    pub fn of_gpu(gpu: &Gpu, effort: &Effort) -> Result<Self> {
        let length = bytes(effort) / size_of::<f32>();
        let from = gpu.upload(&super::operand(length))?;
        let mut to = gpu.allocate(length)?;
        let spread = effort
            .measure(1, |times| gpu.time(|gpu| (0..times).try_for_each(|_| gpu.copy(&from, &mut to))))?;
        let cores = match (gpu.info().capability.major, gpu.info().capability.minor) {
            (8, 0) => Some(64),
            (8..=10 | 12, _) => Some(128),
            _ => None,
        };
        let clock = gpu.info().clocks().ok().map(|clocks| clocks.multiprocessor);
        let (arithmetic, arithmetic_of) = match (cores, clock) {
            (Some(cores), Some(clock)) => {
                let multiprocessors = gpu.info().multiprocessors;
                let rate = 2.0 * f64::from(multiprocessors) * f64::from(cores) * clock;
                let clock = (clock / 1e6).round();
                let text = format!(
                    "not measured: {multiprocessors} multiprocessors × {cores} fp32 lanes × 2 at {clock} MHz, the \
                     highest clock that the driver tells"
                );
                (Some(rate), text)
            }
            (None, _) => (None, "not known for this architecture".to_owned()),
            (_, None) => (None, "the driver does not tell the clock".to_owned()),
        };
        let bandwidth = 2.0 * (size_of::<f32>() * length) as f64 / spread.median;
        Ok(Limits {
            bandwidth,
            bandwidth_of: "copy on the GPU, bytes read and written",
            arithmetic,
            arithmetic_of,
        })
    }

    /// Measures this machine's cores: reading memory, and multiply-adds in registers.
    ///
    /// # Errors
    /// None, as it is.
    pub fn of_cpu(effort: &Effort) -> Result<Self> {
        let values = super::operand(bytes(effort) / size_of::<f32>());
        let read = timed(effort, || {
            black_box(read(&values));
        })?;
        let threads = rayon::current_num_threads();
        let arch = Arch::new();
        let mut operations = 0.0;
        let computed = timed(effort, || {
            operations = (0..threads).into_par_iter().map(|_| arch.dispatch(MultiplyAdds)).sum();
        })?;
        Ok(Limits {
            bandwidth: size_of_val(values.as_slice()) as f64 / read.median,
            bandwidth_of: "reading with all threads",
            arithmetic: Some(operations / computed.median),
            arithmetic_of: format!("multiply-adds in registers, {threads} threads"),
        })
    }
}

/// Seconds of some work on this machine.
pub(super) fn timed(effort: &Effort, mut work: impl FnMut()) -> Result<Spread> {
    effort.measure(1, |times| {
        let start = Instant::now();
        (0..times).for_each(|_| work());
        Ok(start.elapsed().as_secs_f64())
    })
}

/// Reads all of it, and gives a sum that says nothing.
fn read(values: &[f32]) -> f32 {
    /// Values that a thread takes at a time.
    const PIECE: usize = 1 << 18;
    struct Sum<'a>(&'a [f32]);
    impl WithSimd for Sum<'_> {
        type Output = f32;
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> f32 {
            const SUMS: usize = 8;
            let (vectors, _) = S::as_simd_f32s(self.0);
            let mut sums = [simd.splat_f32s(0.0); SUMS];
            for group in vectors.chunks_exact(SUMS) {
                for (sum, &vector) in sums.iter_mut().zip(group) {
                    *sum = simd.add_f32s(*sum, vector);
                }
            }
            sums.into_iter().map(|sum| simd.reduce_sum_f32s(sum)).sum()
        }
    }
    let arch = Arch::new();
    values.par_chunks(PIECE).map(|piece| arch.dispatch(Sum(piece))).sum()
}

/// Multiply-adds with nothing to wait for but each other; the operations done.
struct MultiplyAdds;

impl WithSimd for MultiplyAdds {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f64 {
        /// Enough to hide the latency of two units, few enough for 16 registers.
        const CHAINS: usize = 12;
        const STEPS: usize = 1 << 16;
        let factor = simd.splat_f32s(black_box(0.999));
        let term = simd.splat_f32s(black_box(0.001));
        let mut chains: [S::f32s; CHAINS] = std::array::from_fn(|i| simd.splat_f32s(black_box(i as f32)));
        for _ in 0..STEPS {
            for chain in &mut chains {
                *chain = simd.mul_add_e_f32s(*chain, factor, term);
            }
        }
        for chain in chains {
            black_box(simd.reduce_sum_f32s(chain));
        }
        (2 * S::F32_LANES * CHAINS * STEPS) as f64
    }
}
