//! How the tensor cores make a sum.

/// How a sum inside a product on the tensor cores is made, which the PTX ISA leaves to the hardware.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TensorCores {
    /// In `f64`, one after another by k, beginning with C, and rounded to `f32` once: hardly off at all.
    #[default]
    Exact,
    /// As the least accurate hardware that experiments have found, of compute capability 8.0 to 8.9 (Microsoft's MMA-Sim, a model of
    /// tensor cores to the bit), or worse: `mma` adds half of its products to C, and the others to that, `wgmma` all at once.
    /// Each of them is cut off one bit below the last of the largest one's 24, and their sum at its 24th.
    CutOff,
}

impl TensorCores {
    /// The sum of `first` and `products`, of which `at_once` are added together where terms are cut off.
    pub(super) fn sum(self, first: f32, products: &[f64], at_once: usize) -> f32 {
        match self {
            TensorCores::Exact => products.iter().fold(f64::from(first), |sum, product| sum + product) as f32,
            TensorCores::CutOff => {
                products.chunks(at_once).fold(first, |sum, products| cut_off_sum(f64::from(sum), products))
            }
        }
    }
}

/// The sum of terms that are cut off. What comes of them is exact: 25 bits for each, and some more for their sum. Beyond the largest
/// number it is infinite.
fn cut_off_sum(first: f64, products: &[f64]) -> f32 {
    let terms = || products.iter().copied().chain([first]);
    let largest = terms().fold(0.0, |largest, term| term.abs().max(largest));
    if largest == 0.0 || !terms().all(f64::is_finite) {
        return terms().sum::<f64>() as f32;
    }
    // 2^(e - 24) for a largest one from 2^e on. Products of numbers of 32 bits are normal numbers of 64.
    let unit = f64::from_bits(largest.to_bits() & f64::INFINITY.to_bits()) / f64::from(1 << 24);
    let sum = unit * terms().map(|term| (term / unit).trunc()).sum::<f64>();
    let nearest = sum as f32;
    if nearest.is_finite() && f64::from(nearest).abs() > sum.abs() {
        f32::from_bits(nearest.to_bits() - 1)
    } else {
        nearest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2^power
    fn power(power: i32) -> f64 {
        2.0_f64.powi(power)
    }

    #[test]
    fn exact_sums_are_rounded_once() {
        let sum = |first, products: &[f64]| TensorCores::Exact.sum(first, products, 4);
        assert_eq!(sum(1.0, &[power(-25), power(-25), power(-50)]), 1.0 + f32::EPSILON);
        assert_eq!(sum(1.0, &[power(-25), power(-25)]), 1.0, "half-way to the even one");
    }

    #[test]
    fn sums_are_cut_off() {
        let sum = |first, products: &[f64]| TensorCores::CutOff.sum(first, products, 4);
        // One bit more than the largest has is seen, and no further.
        assert_eq!(sum(1.0, &[power(-24), power(-24)]), 1.0 + f32::EPSILON);
        assert_eq!(sum(1.0, &[power(-25); 4]), 1.0);
        assert_eq!(sum(-1.0, &[-power(-25); 4]), -1.0, "towards zero");
        // Nothing is rounded up at the end.
        assert_eq!(sum(1.0, &[power(-24)]), 1.0);
        assert_eq!(sum(-1.0, &[-power(-24)]), -1.0);
        assert_eq!(sum(1.0, &[power(-23) + power(-24)]), 1.0 + f32::EPSILON);
        // The first four, and then the others to what that makes: 1 is away when small ones come.
        let apart = [1.0, -1.0, 0.0, 0.0, power(-30), power(-30)];
        assert_eq!(sum(0.0, &apart), power(-29) as f32);
        assert_eq!(TensorCores::CutOff.sum(0.0, &apart, 8), 0.0, "all at once");
        for first in [0.0, -0.0, 3.5, f32::MIN_POSITIVE / 8.0] {
            assert_eq!(sum(first, &[0.0; 8]), first);
        }
    }

    #[test]
    fn what_is_not_finite_stays() {
        for way in [TensorCores::Exact, TensorCores::CutOff] {
            assert_eq!(way.sum(1.0, &[f64::INFINITY, 2.0], 4), f32::INFINITY);
            assert_eq!(way.sum(1.0, &[power(200), 2.0], 4), f32::INFINITY);
            assert!(way.sum(1.0, &[f64::INFINITY, f64::NEG_INFINITY], 4).is_nan());
            assert!(way.sum(f32::NAN, &[1.0], 4).is_nan() && way.sum(1.0, &[f64::NAN], 4).is_nan());
        }
    }
}
