//! A kernel at any shape, on numbers of either kind, in any schedule, gives what the reference gives, and the emulator
//! has nothing to say against it.

use cuda_std::{Emulator, Order};
use kernel_suite::checks::{self, Case, Check, Shape};
use kernel_suite::{Data, Kernels, Rig, Source, Tally};

/// The most that the sides of a shape give when multiplied.
const WORK: usize = 30_000;
/// The longest side of a shape of one, two and three. A row may take a warp, and a block goes along all of k, however few
/// of its threads have work.
const LONGEST: [usize; 3] = [20_000, 2_000, 300];

/// The launch that the bytes describe passes its kernel's check.
pub fn launch(bytes: &[u8]) {
    let Launch { check, data, device, shape, seed } = Launch::from_bytes(bytes);
    let kernels = Kernels::ours();
    let rig = Rig { device, guard: 0 };
    let source = Source::new(seed);
    let mut case = Case { rig: &rig, kernels: &kernels, data, source, tally: Tally::default() };
    if let Err(failure) = (check.at)(&mut case, shape) {
        panic!("{} {shape:?}, {data:?}, seed {seed}, on {device:?}: {failure}", check.kernel);
    }
}

/// A launch: of which kernel, on what, and how.
pub struct Launch {
    /// The kernel, with its reference.
    pub check: Check<Emulator>,
    /// Its numbers.
    pub data: Data,
    /// The schedule.
    pub device: Emulator,
    /// Its size.
    pub shape: Shape,
    /// Decides about the numbers.
    pub seed: u64,
}

impl Launch {
    /// Of any bytes, the launch that they describe: the first chooses the kernel, the second the schedule and the kind of
    /// numbers, two each the sides, the rest is the seed. Bytes that are not there are 0.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut bytes = bytes.iter().copied().chain(std::iter::repeat(0));
        let mut next = || bytes.next().expect("there is no end of zeros");
        let checks = checks::all::<Emulator>();
        assert!(checks.len() <= 1 << 8, "one byte no longer chooses among all kernels: let two do it");
        let check = checks[usize::from(next()) % checks.len()];
        let schedule = next();
        let data = Data::ALL[usize::from(schedule & 1)];
        let mut shape = [1; 3];
        for side in &mut shape[..check.sides] {
            *side = length(next(), next()) % (LONGEST[check.sides - 1] + 1);
        }
        while shape.iter().product::<usize>() > WORK {
            *shape.iter_mut().max().expect("three sides") /= 2;
        }
        let seed = u64::from_le_bytes(std::array::from_fn(|_| next()));
        let order = match schedule >> 1 & 3 {
            0 => Order::Forward,
            1 => Order::Backward,
            _ => Order::Shuffled(seed),
        };
        let device = Emulator { order, serial: schedule & 8 != 0, ..Emulator::default() };
        Launch { check, data, device, shape, seed }
    }
}

/// Half of the pairs give up to three times a power of two, one less or one more, where tiles and blocks have their
/// edges; the others any number.
fn length(kind: u8, amount: u8) -> usize {
    let (kind, amount) = (usize::from(kind), usize::from(amount));
    if kind < 0x80 {
        (((amount & 3) << (kind % 12)) + (amount >> 2) % 3).saturating_sub(1)
    } else {
        kind << 8 | amount
    }
}
