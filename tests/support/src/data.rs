//! Numbers to compute with: random by seed, never symmetric, never all alike.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Which numbers a check computes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Data {
    /// Integers from −8 to 8: sums of products are exact in `f32`, so every order of additions gives the same bits.
    Integers,
    /// Reals from −1 to 1: each result is compared with a bound on its rounding errors.
    Reals,
}

impl Data {
    /// Both.
    pub const ALL: [Data; 2] = [Data::Integers, Data::Reals];

    /// Its name in the names of tests.
    pub fn name(self) -> &'static str {
        match self {
            Data::Integers => "integers",
            Data::Reals => "reals",
        }
    }
}

/// A stream of numbers that depends on its seed only.
pub struct Source(ChaCha8Rng);

impl Source {
    /// The stream of this seed.
    pub fn new(seed: u64) -> Self {
        Source(ChaCha8Rng::seed_from_u64(seed))
    }

    /// A whole number from `range`, both ends included.
    pub fn size(&mut self, smallest: usize, largest: usize) -> usize {
        smallest + self.0.next_u32() as usize % (largest - smallest + 1)
    }

    /// One number of the kind `data`.
    pub fn number(&mut self, data: Data) -> f32 {
        let bits = self.0.next_u32();
        match data {
            Data::Integers => (bits % 17) as f32 - 8.0,
            Data::Reals => (bits >> 8) as f32 / (1 << 23) as f32 - 1.0,
        }
    }

    /// `length` numbers of the kind `data`.
    pub fn numbers(&mut self, data: Data, length: usize) -> Vec<f32> {
        (0..length).map(|_| self.number(data)).collect()
    }
}
