//! What the steps of descent go over.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::engine::Engine;

/// Values that a training goes over, below which it takes no time to speak of, whatever the method.
const LITTLE: f64 = 2e8;
/// Samples for each one of the few that are made, at least: so that these, and the sums they are made of, take little
/// memory beside X. AᵀA and the few samples take 12 p² bytes at a time, or AᵀA and its tiles, and X then 144 p².
const FEWER: usize = 36;

/// What each step of full-batch descent on a linear model goes over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// What takes less time: [`Method::Gram`] if
    ///
    /// k·m·n > m·p²/2 / c + k·p·n, and k·m·n is at least 2·10⁸, and m is at least 36 p,
    ///
    /// for k iterations on m samples of n features, p = n + 2, and an engine that takes the time of
    /// c = [products_per_value](Engine::products_per_value) products for a value of X; [`Method::Direct`] otherwise,
    /// and on engines whose c is not known. Training from a checkpoint goes on with the checkpoint's method.
    #[default]
    Auto,
    /// All m samples: 2mn products a step, and X is read once or twice.
    Direct,
    /// n + 2 samples made once of all, which have the same cost and gradient at all weights, because XᵀX/m, Xᵀy/m and the
    /// sums of the columns are the same: 2n(n + 2) products a step, after m(n + 2)²/2 for making them. That is done by the
    /// host's cores in `f64`, whatever the engine.
    ///
    /// The way down is that of [`Method::Direct`] but for rounding: the new samples are rounded to `f32`, which moves each
    /// component j of the gradient by no more than u·rms(xⱼ)·(rms(e) + Σ rms(xₗ)|wₗ| + rms(y)), u = 2⁻²⁴.
    Gram,
}

impl Method {
    /// The method that is meant, [`Method::Direct`] or [`Method::Gram`]. `resumed` is what a checkpoint says.
    pub(super) fn resolve<E: Engine>(
        self,
        engine: &E,
        shape: (usize, usize),
        iterations: usize,
        resumed: Option<&str>,
    ) -> Self {
        match (self, resumed) {
            (Method::Auto, Some("gram")) => Method::Gram,
            (Method::Auto, Some(_)) => Method::Direct,
            (Method::Auto, None) => Self::choose(engine.products_per_value(), shape, iterations),
            (method, _) => method,
        }
    }

    fn choose(products_per_value: Option<f64>, (m, n): (usize, usize), iterations: usize) -> Self {
        let Some(products_per_value) = products_per_value else { return Method::Direct };
        let few = n + 2;
        let (k, p) = (iterations as f64, few as f64);
        let direct = k * m as f64 * n as f64;
        let gram = m as f64 * p * p / 2.0 / products_per_value + k * p * n as f64;
        match direct >= LITTLE && direct > gram && m / FEWER >= few {
            true => Method::Gram,
            false => Method::Direct,
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Method::Auto => "auto",
            Method::Direct => "direct",
            Method::Gram => "gram",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Cpu, Emulator, Loop};

    #[test]
    fn auto_takes_what_takes_less_time() {
        let choose = |shape, iterations| Method::choose(Some(4.0), shape, iterations);
        assert_eq!(choose((100_000, 1000), 1000), Method::Gram);
        // m·p²/8 is about 125 steps of m·n.
        assert_eq!(choose((100_000, 1000), 120), Method::Direct);
        assert_eq!(choose((100_000, 1000), 135), Method::Gram);
        assert_eq!(choose((442, 10), 1000), Method::Direct, "that takes no time");
        assert_eq!(choose((442, 10), 1_000_000), Method::Gram);
        assert_eq!(choose((36 * 1002 - 1, 1000), 1_000_000), Method::Direct, "that takes too much memory");
        assert_eq!(choose((36 * 1002, 1000), 1_000_000), Method::Gram);
        assert_eq!(Method::choose(None, (100_000, 1000), 1000), Method::Direct);
    }

    #[test]
    fn what_was_asked_for_is_taken_and_a_checkpoint_is_followed() {
        let large = (100_000, 1000);
        for method in [Method::Direct, Method::Gram] {
            assert_eq!(method.resolve(&Cpu, large, 1000, None), method);
            assert_eq!(method.resolve(&Cpu, large, 1000, Some("gram")), method);
            assert_eq!(Method::Auto.resolve(&Cpu, large, 1, Some(&method.to_string())), method);
        }
        assert_eq!(Method::Auto.resolve(&Cpu, large, 1000, None), Method::Gram);
        assert_eq!(Method::Auto.resolve(&Loop, large, 1000, None), Method::Direct);
        assert_eq!(Method::Auto.resolve(&Emulator::new(), large, 1000, None), Method::Direct);
    }
}
