//! Which samples are held back for a test.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::{Error, Result};

/// How many of `samples` samples are held back: round(`share` · `samples`), but at least one, and not all.
pub(crate) fn share_of(samples: usize, share: f64) -> usize {
    ((share * samples as f64).round() as usize).max(1).min(samples.saturating_sub(1))
}

/// Which of `samples` samples are held back for a test: [`share_of`] them.
///
/// They are the first of a shuffle (Durstenfeld's) by ChaCha8 with the seed, so they are the same on every platform.
///
/// # Errors
/// [`Error::Setting`]: a share that is not above 0 and below 1. [`Error::Data`]: fewer than two samples.
pub(crate) fn held_back(samples: usize, share: f64, seed: u64) -> Result<Vec<bool>> {
    if !(share > 0.0 && share < 1.0) {
        return Err(Error::Setting(format!(
            "the share of samples for the test is {share}: it must be above 0 and below 1"
        )));
    }
    if samples < 2 {
        return Err(Error::Data(format!(
            "a share of the samples cannot be held back of {samples}: two are needed at least"
        )));
    }
    let count = share_of(samples, share);
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut order: Vec<usize> = (0..samples).collect();
    let mut held = vec![false; samples];
    for i in 0..count {
        order.swap(i, i + below(&mut random, samples - i));
        held[order[i]] = true;
    }
    Ok(held)
}

/// A number below `bound`, each as likely as any other.
pub(crate) fn below(random: &mut ChaCha8Rng, bound: usize) -> usize {
    let bound = bound as u64;
    // Numbers from the last, incomplete round of `bound` are drawn again.
    let limit = u64::MAX - u64::MAX % bound;
    loop {
        let drawn = random.next_u64();
        if drawn < limit {
            return (drawn % bound) as usize;
        }
    }
}

/// Takes the rows that are `held` out of `values`, `width` a row; the others move together in their order.
pub(super) fn take_out<T: Copy>(values: &mut Vec<T>, width: usize, held: &[bool]) -> Result<Vec<T>> {
    let count = held.iter().filter(|held| **held).count();
    let mut taken = Vec::new();
    taken.try_reserve_exact(count * width).map_err(|_| {
        Error::Data(format!("there is no memory for a test of {count} samples: take a smaller share"))
    })?;
    let mut kept = 0;
    for (row, &held) in held.iter().enumerate() {
        let from = row * width..(row + 1) * width;
        if held {
            taken.extend_from_slice(&values[from]);
        } else {
            values.copy_within(from, kept * width);
            kept += 1;
        }
    }
    values.truncate(kept * width);
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_rounded_and_leaves_one_on_each_side() {
        for (samples, share, count) in
            [(10, 0.2, 2), (10, 0.25, 3), (10, 0.01, 1), (10, 0.99, 9), (2, 0.5, 1), (1000, 0.333, 333)]
        {
            let held = held_back(samples, share, 0).unwrap();
            assert_eq!(held.iter().filter(|held| **held).count(), count, "{samples}, {share}");
        }
    }

    #[test]
    fn a_seed_gives_the_same_everywhere() {
        let held = |seed| -> Vec<usize> {
            let held = held_back(20, 0.2, seed).unwrap();
            (0..20).filter(|&i| held[i]).collect()
        };
        // As drawn on x86-64 Linux.
        assert_eq!(held(0), [4, 12, 15, 18]);
        assert_ne!(held(0), held(1));
    }

    #[test]
    fn every_sample_is_as_likely() {
        let mut counts = [0_u32; 10];
        for seed in 0..10_000 {
            let held = held_back(10, 0.3, seed).unwrap();
            counts.iter_mut().zip(held).for_each(|(count, held)| *count += u32::from(held));
        }
        // Binomial(10 000, 0.3): five standard deviations are 230.
        assert!(counts.iter().all(|count| count.abs_diff(3000) < 230), "{counts:?}");
    }

    #[test]
    fn rows_are_taken_out_in_order() {
        let mut values = vec![1, 2, 3, 4, 5, 6, 7, 8];
        assert_eq!(take_out(&mut values, 2, &[false, true, false, true]).unwrap(), [3, 4, 7, 8]);
        assert_eq!(values, [1, 2, 5, 6]);
    }

    #[test]
    fn shares_that_leave_nothing_are_refused() {
        for share in [0.0, 1.0, -0.1, 1.5, f64::NAN, f64::INFINITY] {
            assert!(held_back(10, share, 0).unwrap_err().to_string().contains("above 0 and below 1"));
        }
        assert!(held_back(1, 0.5, 0).unwrap_err().to_string().contains("two are needed"));
    }
}
