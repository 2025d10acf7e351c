//! Times of the same work, again and again.

use std::time::{Duration, Instant};

use serde::Serialize;

/// How long the same work takes: quartiles of samples, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The shortest sample.
    pub least: f64,
    /// A quarter of the samples are shorter.
    pub lower_quartile: f64,
    /// Half of the samples are shorter.
    pub median: f64,
    /// A quarter of the samples are longer.
    pub upper_quartile: f64,
    /// How many samples there are.
    pub samples: usize,
    /// How many times the work was done in a sample.
    pub repeats: usize,
}

impl Spread {
    /// Of samples, in which the work was done `repeats` times each. There must be one.
    #[must_use]
    pub fn of(mut samples: Vec<f64>, repeats: usize) -> Self {
        samples.sort_by(f64::total_cmp);
        for sample in &mut samples {
            *sample /= repeats as f64;
        }
        // Between two samples where the place is: quantile 0.5 of an even number lies half-way.
        let quantile = |q: f64| {
            let place = q * (samples.len() - 1) as f64;
            let below = samples[place as usize];
            below + place.fract() * (samples[place.ceil() as usize] - below)
        };
        Spread {
            least: samples[0],
            lower_quartile: quantile(0.25),
            median: quantile(0.5),
            upper_quartile: quantile(0.75),
            samples: samples.len(),
            repeats,
        }
    }
}

/// How much time is spent on one figure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Effort {
    /// Seconds of work before the first sample: clocks rise, pages come.
    pub warm_up: f64,
    /// A sample lasts at least so long: the work is repeated in it.
    pub sample: f64,
    /// Samples are taken for about so long, but not fewer than [`Effort::FEWEST`].
    pub samples: f64,
    /// Operands altogether, beyond which a cache is not believed to hold them: there are as many sets as that takes.
    pub rotation_bytes: u64,
}

impl Effort {
    /// For figures.
    pub const FULL: Effort = Effort { warm_up: 0.1, sample: 2e-3, samples: 0.4, rotation_bytes: 256 << 20 };
    /// For a choice among many.
    pub const SHORT: Effort = Effort { warm_up: 0.02, samples: 0.05, ..Effort::FULL };
    /// To see that everything works.
    pub const LITTLE: Effort = Effort { warm_up: 0.0, sample: 0.0, samples: 0.0, rotation_bytes: 1 << 17 };
    /// The fewest samples, and the most.
    pub const FEWEST: usize = 5;
    const MOST: usize = 200;
    /// The most sets of operands.
    const SETS: u64 = 64;
    /// The most repeats in a sample.
    const REPEATS: f64 = 10_000.0;

    /// How many sets of operands of so many bytes there are, so that none is in a cache when its turn comes.
    #[must_use]
    pub fn sets(&self, bytes: u64) -> usize {
        self.rotation_bytes.div_ceil(bytes.max(1)).clamp(1, Self::SETS) as usize
    }

    /// Samples of `work`, which is told how often to do it and answers the seconds that this took; once it does
    /// `each` of what is to be timed.
    ///
    /// # Errors
    /// Those of `work`.
    pub fn measure<E>(
        &self,
        each: usize,
        mut work: impl FnMut(usize) -> Result<f64, E>,
    ) -> Result<Spread, E> {
        let start = Instant::now();
        let mut once = work(1)?;
        while start.elapsed() < Duration::from_secs_f64(self.warm_up) {
            once = work(1)?;
        }
        let repeats = |once: f64| (self.sample / once.max(1e-9)).ceil().clamp(1.0, Self::REPEATS) as usize;
        // What is done once for all repeats makes one look longer than it is.
        let some = repeats(once);
        let repeats = if some > 1 { repeats(work(some)? / some as f64) } else { 1 };
        let (start, mut samples) = (Instant::now(), Vec::new());
        let budget = Duration::from_secs_f64(self.samples);
        while samples.len() < Self::FEWEST || (samples.len() < Self::MOST && start.elapsed() < budget) {
            samples.push(work(repeats)?);
        }
        Ok(Spread::of(samples, each * repeats))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_are_those_of_the_sorted_samples() {
        let spread = Spread::of(vec![5.0, 1.0, 3.0, 2.0, 4.0], 1);
        let quartiles = [spread.least, spread.lower_quartile, spread.median, spread.upper_quartile];
        assert_eq!(quartiles, [1.0, 2.0, 3.0, 4.0]);
        let spread = Spread::of(vec![4.0, 2.0], 2);
        assert_eq!((spread.median, spread.lower_quartile, spread.least), (1.5, 1.25, 1.0));
        assert_eq!((spread.samples, spread.repeats), (2, 2));
    }

    #[test]
    fn short_work_is_repeated_until_a_sample_is_long() {
        let effort = Effort { sample: 1e-2, ..Effort::LITTLE };
        let mut asked = Vec::new();
        let spread = effort.measure(3, |times| {
            asked.push(times);
            Ok::<f64, ()>(1e-3 * times as f64)
        });
        let spread = spread.unwrap();
        assert_eq!(asked, [1, 10, 10, 10, 10, 10, 10]);
        assert_eq!((spread.samples, spread.repeats), (5, 30));
        assert!((spread.median - 1e-3 / 3.0).abs() < 1e-12);
        let mut asked = Vec::new();
        let _ = effort.measure(1, |times| {
            asked.push(times);
            Ok::<f64, ()>(4e-3 + 1e-3 * times as f64)
        });
        assert_eq!(asked, [1, 2, 4, 4, 4, 4, 4], "4 ms of each call are not the work's");
        assert_eq!(effort.measure(1, |_| Err::<f64, _>("no")), Err("no"));
    }

    #[test]
    fn operands_are_in_as_many_sets_as_leave_a_cache() {
        assert_eq!(Effort::FULL.sets(1 << 30), 1);
        assert_eq!(Effort::FULL.sets(200 << 20), 2);
        assert_eq!(Effort::FULL.sets(4), 64);
        assert_eq!(Effort::FULL.sets(0), 64);
    }
}
