//! The order in which training sees samples.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::data::below;

/// The stream of random numbers for an epoch's order, after those for other uses.
const FIRST_STREAM: u64 = 2;

/// The samples that are trained on, and how many of them a step takes.
pub(super) struct Batches {
    rows: Vec<u32>,
    /// `None`: all of them.
    size: Option<usize>,
    seed: u64,
}

impl Batches {
    /// Batches of `size` of these rows; all, in their order, without one.
    pub(super) fn new(rows: Vec<u32>, size: Option<usize>, seed: u64) -> Self {
        Batches { rows, size, seed }
    }

    /// Steps of an epoch. The last takes what is left, be it fewer.
    pub(super) fn count(&self) -> usize {
        self.size.map_or(1, |size| self.rows.len().div_ceil(size))
    }

    /// Samples of a step, but for the last of an epoch.
    pub(super) fn size(&self) -> usize {
        self.size.unwrap_or(self.rows.len()).min(self.rows.len()).max(1)
    }

    /// Whether each step takes all samples.
    pub(super) fn is_full(&self) -> bool {
        self.size.is_none()
    }

    /// All rows.
    pub(super) fn rows(&self) -> &[u32] {
        &self.rows
    }

    /// The rows in the order of an epoch, counted from 0: shuffled (Durstenfeld's way) by ChaCha8 with the seed, stream
    /// `epoch` + 2, so that it is the same on every platform, and known without the epochs before.
    pub(super) fn order(&self, epoch: usize) -> Vec<u32> {
        let mut order = self.rows.clone();
        if self.is_full() {
            return order;
        }
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        random.set_stream(FIRST_STREAM.wrapping_add(epoch as u64));
        for i in (1..order.len()).rev() {
            order.swap(i, below(&mut random, i + 1));
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
        let batches = Batches::new(rows.clone(), Some(8), 7);
        assert_eq!((batches.count(), batches.size(), batches.is_full()), (7, 8, false));
        let orders = [0, 1, 2].map(|epoch| batches.order(epoch));
        for order in &orders {
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, rows);
        }
        assert!(orders[0] != orders[1] && orders[1] != orders[2] && orders[0] != rows);
        assert_eq!(orders[1], Batches::new(rows.clone(), Some(5), 7).order(1), "whatever the batches' size");
        assert_ne!(orders[0], Batches::new(rows, Some(8), 8).order(0));
    }

    #[test]
    fn a_seed_gives_the_same_order_everywhere() {
        // As drawn on x86-64 Linux.
        assert_eq!(Batches::new((0..8).collect(), Some(3), 0).order(0), ORDER);
    }

    const ORDER: [u32; 8] = [4, 1, 7, 5, 0, 6, 2, 3];

    #[test]
    fn the_full_batch_is_one_step_in_the_samples_order() {
        let batches = Batches::new(vec![4, 2, 9], None, 0);
        assert_eq!((batches.count(), batches.size(), batches.is_full()), (1, 3, true));
        assert_eq!(batches.order(5), [4, 2, 9]);
        assert_eq!(Batches::new(vec![4, 2, 9], Some(100), 0).count(), 1);
    }
}
