//! The order in which training sees samples.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::data::below;

/// The stream of random numbers for an epoch's order, after those for other uses.
const FIRST_STREAM: u64 = 2;

/// Samples in their order, cut into stretches, and each stretch into batches: the last of a stretch takes what is left, be
/// it fewer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    samples: usize,
    stretch: usize,
    batch: usize,
}

impl Cut {
    pub(super) fn new(samples: usize, stretch: usize, batch: usize) -> Self {
        let stretch = stretch.min(samples).max(1);
        Cut { samples, stretch, batch: batch.min(stretch).max(1) }
    }

    /// Batches of all stretches.
    pub(super) fn count(self) -> usize {
        let last = self.samples % self.stretch;
        self.samples / self.stretch * self.of_a_stretch() + last.div_ceil(self.batch)
    }

    /// Batches of a stretch, but for the last.
    fn of_a_stretch(self) -> usize {
        self.stretch.div_ceil(self.batch)
    }

    /// Samples of batch `b`.
    fn samples_of(self, b: usize) -> usize {
        let (stretch, batch) = (b / self.of_a_stretch(), b % self.of_a_stretch());
        let samples = self.stretch.min(self.samples - stretch * self.stretch);
        self.batch.min(samples - batch * self.batch)
    }

    /// The mean over all samples of what has these means in each batch.
    pub(super) fn mean(self, of_batches: &[f64]) -> f64 {
        of_batches.iter().enumerate().map(|(b, mean)| self.share(b) * mean).sum()
    }

    /// The share of batch `b` among all samples.
    pub(super) fn share(self, b: usize) -> f64 {
        self.samples_of(b) as f64 / self.samples as f64
    }
}

/// How many samples a step takes, and in which order.
pub(super) struct Batches {
    cut: Cut,
    full: bool,
    seed: u64,
}

impl Batches {
    /// Batches of `size` of so many samples, shuffled within stretches of `buffer`; all, in their order, without a size.
    pub(super) fn new(samples: usize, buffer: usize, size: Option<usize>, seed: u64) -> Self {
        let buffer = if size.is_some() { buffer } else { samples };
        Batches { cut: Cut::new(samples, buffer, size.unwrap_or(samples)), full: size.is_none(), seed }
    }

    /// Steps of an epoch.
    pub(super) fn count(&self) -> usize {
        self.cut.count()
    }

    /// Samples of a step, but for the last of a stretch.
    pub(super) fn size(&self) -> usize {
        self.cut.batch
    }

    pub(super) fn cut(&self) -> Cut {
        self.cut
    }

    /// Whether each step takes all samples.
    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    /// The order of an epoch, counted from 0.
    pub(super) fn order(&self, epoch: usize) -> Order {
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        random.set_stream(FIRST_STREAM.wrapping_add(epoch as u64));
        Order { random, full: self.full }
    }
}

/// The order of an epoch: known without the epochs before.
pub(super) struct Order {
    random: ChaCha8Rng,
    full: bool,
}

impl Order {
    /// The rows of the next stretch in their order: shuffled (Durstenfeld's way) by ChaCha8 with the seed, stream
    /// `epoch` + 2, so that it is the same on every platform. The full batch has them as they are.
    pub(super) fn of(&mut self, rows: &[u32]) -> Vec<u32> {
        let mut order = rows.to_vec();
        if !self.full {
            for i in (1..order.len()).rev() {
                order.swap(i, below(&mut self.random, i + 1));
            }
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_has_every_row_once_in_an_order_of_its_own() {
        let rows: Vec<u32> = (0..50).map(|row| 3 * row).collect();
        let batches = Batches::new(50, 50, Some(8), 7);
        assert_eq!((batches.count(), batches.size(), batches.is_full()), (7, 8, false));
        let orders = [0, 1, 2].map(|epoch| batches.order(epoch).of(&rows));
        for order in &orders {
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, rows);
        }
        assert!(orders[0] != orders[1] && orders[1] != orders[2] && orders[0] != rows);
        let other = Batches::new(50, 50, Some(5), 7).order(1).of(&rows);
        assert_eq!(orders[1], other, "whatever the batches' size");
        assert_ne!(orders[0], Batches::new(50, 50, Some(8), 8).order(0).of(&rows));
    }

    #[test]
    fn a_seed_gives_the_same_order_everywhere() {
        // As drawn on x86-64 Linux.
        let rows: Vec<u32> = (0..8).collect();
        assert_eq!(Batches::new(8, 8, Some(3), 0).order(0).of(&rows), ORDER);
    }

    const ORDER: [u32; 8] = [4, 1, 7, 5, 0, 6, 2, 3];

    #[test]
    fn each_stretch_has_an_order_of_its_own() {
        let mut order = Batches::new(16, 8, Some(3), 0).order(0);
        let rows: Vec<u32> = (0..8).collect();
        assert_eq!(order.of(&rows), ORDER);
        assert_ne!(order.of(&rows), ORDER);
    }

    #[test]
    fn the_full_batch_is_one_step_in_the_samples_order() {
        let batches = Batches::new(3, 2, None, 0);
        assert_eq!((batches.count(), batches.size(), batches.is_full()), (1, 3, true));
        assert_eq!(batches.order(5).of(&[4, 2, 9]), [4, 2, 9]);
        assert_eq!(Batches::new(3, 3, Some(100), 0).count(), 1);
    }

    #[test]
    fn batches_end_with_their_stretch() {
        for (samples, stretch, batch, expected) in [
            (10, 10, 4, &[4, 4, 2][..]),
            (10, 4, 4, &[4, 4, 2]),
            (10, 5, 2, &[2, 2, 1, 2, 2, 1]),
            (10, 4, 3, &[3, 1, 3, 1, 2]),
            (10, 100, 3, &[3, 3, 3, 1]),
            (1, 1, 1, &[1]),
        ] {
            let cut = Cut::new(samples, stretch, batch);
            let sizes: Vec<usize> = (0..cut.count()).map(|b| cut.samples_of(b)).collect();
            assert_eq!(sizes, expected, "{samples}, {stretch}, {batch}");
            assert!((cut.mean(&vec![2.0; sizes.len()]) - 2.0).abs() < 1e-15);
        }
    }
}
