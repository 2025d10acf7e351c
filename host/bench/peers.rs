//! cuBLAS on the same work, on the same GPU, in the same run.

use cuda_std::{Buffer, Device};
use kernel_suite::{UNIT_ROUNDOFF, gamma};
use kernels::elementwise::{SIGMOID, SIGMOID_ERROR, grid};

use super::kernels::time_recorded;
use super::row::{Against, Figures, Kind, Outcome, Row};
use super::{Effort, operand};
use crate::Result;
use crate::cuda::{Arithmetic, BlasLayer, Cublas, Error, Gpu};
use crate::engine::Activation;

/// What cuBLAS can do of our work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    /// op(A) op(B), with either stored transposed.
    Product([bool; 2]),
    /// g(A W + b), by cuBLASLt; a sigmoid is our kernel, as it has none.
    Layer(Activation),
    /// Xw, or Xᵀe.
    Vector { transposed: bool },
    /// Both, one after the other: the products of a step of descent, without the error, the cost, the scaling and the
    /// update, which favours the peer.
    Step,
}

/// The same work as that of a row, with the sides that it has. A kernel that does a part of it has no peer.
fn work(row: &Row) -> Option<(Work, [usize; 3])> {
    let [m, n, _] = row.sides;
    let product = |name: &str| {
        let of = |suffix| name.ends_with(suffix);
        Work::Product([of("_tn") || of("_tt"), of("_nt") || of("_tt")])
    };
    let layer = |name: &str| {
        let of = |activation| name.ends_with(activation);
        Work::Layer(match () {
            () if of("sigmoid") => Activation::Sigmoid,
            () if of("relu") => Activation::Relu,
            () => Activation::Identity,
        })
    };
    let name = row.name.as_str();
    let is_part = name.ends_with("_finish") || name.contains("split_k");
    match row.kind {
        Kind::Kernel if is_part => None,
        Kind::Kernel if name.starts_with("matmul") => Some((product(name), row.sides)),
        Kind::Kernel if name.starts_with("dense") => Some((layer(name), row.sides)),
        Kind::Kernel if name == "matrix_vector" => Some((Work::Vector { transposed: false }, [m, n, 1])),
        Kind::Kernel if name == "gradient" => Some((Work::Vector { transposed: true }, [m, n, 1])),
        Kind::Sequence if name.contains("dense_split_k") => Some((layer(name), row.sides)),
        Kind::Sequence if name.starts_with("matmul") => Some((product(name), row.sides)),
        Kind::Sequence if name.contains("_step") => Some((Work::Step, [m, n, 1])),
        Kind::Operation if name == "descent step" => Some((Work::Step, [m, n, 1])),
        Kind::Operation if name == "matmul" => Some((Work::Product([false; 2]), row.sides)),
        Kind::Operation if name == "dense sigmoid" => Some((Work::Layer(Activation::Sigmoid), row.sides)),
        _ => None,
    }
}

/// cuBLAS, and what was measured of it.
pub(super) struct Peers<'a> {
    gpu: &'a Gpu,
    cublas: Cublas,
    effort: &'a Effort,
    measured: Vec<(Work, [usize; 3], Vec<Row>)>,
}

impl<'a> Peers<'a> {
    pub(super) fn new(gpu: &'a Gpu, cublas: Cublas, effort: &'a Effort) -> Self {
        Peers { gpu, cublas, effort, measured: Vec::new() }
    }

    /// Times cuBLAS on the work of `row`, if that was not done yet, adds the ratios to the row, and gives the peers' own new
    /// rows: right after what they are compared with, so that the GPU is as warm.
    ///
    /// # Errors
    /// The driver's. What cuBLAS itself fails in, or gets wrong, stands in its row.
    pub(super) fn compare(&mut self, row: &mut Row) -> Result<Vec<Row>> {
        let Some((work, sides)) = work(row) else { return Ok(Vec::new()) };
        let known = self.measured.iter().position(|(other, at, _)| (*other, *at) == (work, sides));
        let place = known.unwrap_or(self.measured.len());
        if known.is_none() {
            let rows = work.measure(self.gpu, &self.cublas, sides, self.effort)?;
            self.measured.push((work, sides, rows));
        }
        let peers = &self.measured[place].2;
        if let Some(ours) = row.figures().map(|figures| figures.seconds.median) {
            let ratio = |peer: &Row| {
                let theirs = peer.figures()?.seconds.median;
                Some(Against { peer: peer.name.clone(), ratio: theirs / ours })
            };
            row.against = peers.iter().filter_map(ratio).collect();
        }
        Ok(if known.is_none() { peers.clone() } else { Vec::new() })
    }
}

impl Work {
    /// The peers for this work: names, and for products what they compute in.
    fn ways(self) -> Vec<(String, Arithmetic)> {
        let all = [Arithmetic::Fp32, Arithmetic::Tf32, Arithmetic::Bf16];
        let named = |names: [&str; 3], suffix: &str| {
            names.into_iter().zip(all).map(|(name, way)| (format!("{name}{suffix}"), way)).collect()
        };
        let products = ["cublasSgemm", "cublasGemmEx TF32", "cublasGemmEx bf16"];
        let layers = ["cublasLtMatmul", "cublasLtMatmul TF32", "cublasLtMatmul bf16"];
        match self {
            Work::Product([false, false]) => named(products, ""),
            Work::Product([true, false]) => named(products, " tn"),
            Work::Product([false, true]) => named(products, " nt"),
            Work::Product([true, true]) => named(products, " tt"),
            Work::Layer(Activation::Identity) => named(layers, " bias"),
            Work::Layer(Activation::Relu) => named(layers, " bias ReLU"),
            Work::Layer(Activation::Sigmoid) => named(layers, " bias + our sigmoid"),
            Work::Vector { transposed: false } => vec![("cublasSgemv".to_owned(), Arithmetic::Fp32)],
            Work::Vector { transposed: true } => vec![("cublasSgemv t".to_owned(), Arithmetic::Fp32)],
            Work::Step => vec![("two cublasSgemv".to_owned(), Arithmetic::Fp32)],
        }
    }

    fn measure(self, gpu: &Gpu, cublas: &Cublas, sides: [usize; 3], effort: &Effort) -> Result<Vec<Row>> {
        let [m, n, k] = sides;
        let is_product = matches!(self, Work::Product(_) | Work::Layer(_));
        let shape = if is_product { format!("{m}×{n}×{k}") } else { format!("{m}×{n}") };
        let mut rows = Vec::new();
        for (name, arithmetic) in self.ways() {
            let (bytes, operations) = self.floor(arithmetic, sides);
            let outcome = match self.time(gpu, cublas, arithmetic, sides, bytes, effort) {
                Ok(Ok(spread)) => Outcome::Right(Figures::new(spread, bytes, operations, None)),
                Ok(Err(problem)) => Outcome::Wrong { problem },
                Err(error @ Error::Cublas { .. }) => {
                    // What is wrong may be the GPU.
                    gpu.synchronize()?;
                    Outcome::Wrong { problem: error.to_string() }
                }
                Err(error) => return Err(error.into()),
            };
            let shape = shape.clone();
            rows.push(Row { kind: Kind::Peer, name, shape, sides, outcome, against: Vec::new() });
        }
        Ok(rows)
    }

    /// Bytes that have to be moved, and operations.
    fn floor(self, arithmetic: Arithmetic, [m, n, k]: [usize; 3]) -> (u64, u64) {
        let width = if arithmetic == Arithmetic::Bf16 { 2 } else { 4 };
        let (bytes, operations) = match self {
            Work::Product(_) => (width * (m * k + k * n) + 4 * m * n, 2 * m * n * k),
            Work::Layer(_) => (width * (m * k + k * n) + 4 * (n + m * n), 2 * m * n * k),
            Work::Vector { .. } => (4 * (m * n + m + n), 2 * m * n),
            Work::Step => (4 * (m * n + 2 * m + 2 * n), 4 * m * n),
        };
        (bytes as u64, operations as u64)
    }

    /// Checks on small integers, which every arithmetic here has exactly, and times on random numbers.
    fn time(
        self,
        gpu: &Gpu,
        cublas: &Cublas,
        arithmetic: Arithmetic,
        sides: [usize; 3],
        bytes: u64,
        effort: &Effort,
    ) -> Result<Result<super::Spread, String>, Error> {
        let layer = match self {
            Work::Layer(activation) => {
                Some(cublas.layer(arithmetic, sides, activation == Activation::Relu)?)
            }
            _ => None,
        };
        let on = Peer { work: self, gpu, cublas, layer, arithmetic, sides };
        let [a, b, bias] = self.lengths(sides).map(integers);
        let mut set = self.set(gpu, arithmetic, sides, [&a, &b, &bias])?;
        set.run(&on)?;
        let is_activated = self == Work::Layer(Activation::Sigmoid);
        let got = gpu.download(if is_activated { &set.activated } else { &set.out })?;
        if let Err(problem) = self.check(sides, [&a, &b, &bias], &got) {
            return Ok(Err(problem));
        }
        drop(set);
        let [a, b, bias] = self.lengths(sides).map(operand);
        let count = effort.sets(bytes);
        let mut sets = (0..count)
            .map(|_| self.set(gpu, arithmetic, sides, [&a, &b, &bias]))
            .collect::<Result<Vec<_>, Error>>()?;
        time_recorded(gpu, count, effort, |_| sets.iter_mut().try_for_each(|set| set.run(&on))).map(Ok)
    }

    /// Values of the two operands, of a step X and w, and of the bias.
    fn lengths(self, [m, n, k]: [usize; 3]) -> [usize; 3] {
        match self {
            Work::Product(_) => [m * k, k * n, 0],
            Work::Layer(_) => [m * k, k * n, n],
            Work::Vector { transposed: true } => [m * n, m, 0],
            Work::Vector { transposed: false } | Work::Step => [m * n, n, 0],
        }
    }

    fn set(
        self,
        gpu: &Gpu,
        arithmetic: Arithmetic,
        [m, n, _]: [usize; 3],
        [a, b, bias]: [&[f32]; 3],
    ) -> Result<Set, Error> {
        let (between, out) = match self {
            Work::Product(_) | Work::Layer(_) => (0, m * n),
            Work::Vector { transposed: false } => (0, m),
            Work::Vector { transposed: true } => (0, n),
            Work::Step => (m, n),
        };
        let upload = |values: &[f32]| match arithmetic {
            Arithmetic::Bf16 => gpu.upload(&pairs(values)),
            _ => gpu.upload(values),
        };
        Ok(Set {
            a: upload(a)?,
            b: upload(b)?,
            bias: gpu.upload(bias)?,
            between: gpu.upload(&vec![f32::NAN; between])?,
            out: gpu.upload(&vec![f32::NAN; out])?,
            activated: gpu.upload(&vec![f32::NAN; if matches!(self, Work::Layer(_)) { out } else { 0 }])?,
        })
    }

    /// Whether some elements are what they must be.
    fn check(self, [m, n, k]: [usize; 3], [a, b, bias]: [&[f32]; 3], got: &[f32]) -> Result<(), String> {
        /// Elements that are looked at.
        const LOOKED_AT: usize = 64;
        let wide = |value: f32| f64::from(value);
        let sigmoid = |z: f64| 1.0 / (1.0 + (-z).exp());
        // X over all its rows: Xᵀ(Xw).
        let rows: Vec<f64> = match self {
            Work::Step => {
                a.chunks(n).map(|row| row.iter().zip(b).map(|(x, w)| wide(*x) * wide(*w)).sum()).collect()
            }
            _ => b.iter().copied().map(f64::from).collect(),
        };
        for number in 0..LOOKED_AT.min(got.len()) {
            // Spread over all of them, the first and the last among them.
            let i = number * (got.len() - 1) / (LOOKED_AT.min(got.len()) - 1).max(1);
            let (row, column) = (i / n.max(1), i % n.max(1));
            let terms: Box<dyn Iterator<Item = f64>> = match self {
                Work::Product([a_transposed, b_transposed]) => Box::new((0..k).map(move |l| {
                    let a = if a_transposed { a[l * m + row] } else { a[row * k + l] };
                    let b = if b_transposed { b[column * k + l] } else { b[l * n + column] };
                    wide(a) * wide(b)
                })),
                Work::Layer(_) => {
                    let products = (0..k).map(move |l| wide(a[row * k + l]) * wide(b[l * n + column]));
                    Box::new(products.chain([wide(bias[column])]))
                }
                Work::Vector { transposed: false } => Box::new((0..n).map(|j| wide(a[i * n + j]) * rows[j])),
                Work::Vector { transposed: true } | Work::Step => {
                    Box::new((0..m).map(|row| wide(a[row * n + i]) * rows[row]))
                }
            };
            let (sum, magnitude) = kernel_suite::sums(terms);
            // Below 2²⁴ sums of integers are exact in any order.
            let rounding =
                if magnitude * UNIT_ROUNDOFF < 1.0 { 0.0 } else { gamma(m.max(k) + 1) * magnitude };
            let (expected, bound) = match self {
                Work::Layer(Activation::Relu) => (sum.max(0.0), rounding),
                // As in kernels::elementwise.
                Work::Layer(Activation::Sigmoid) => {
                    let value = sigmoid(sum);
                    (value, rounding / 4.0 + f64::from(SIGMOID_ERROR) * value + f64::from(f32::from_bits(4)))
                }
                _ => (sum, rounding),
            };
            let error = (wide(got[i]) - expected).abs();
            // Not `error > bound`: NaN must fail.
            #[expect(clippy::neg_cmp_op_on_partial_ord)]
            if !(error <= bound) {
                return Err(format!("element {i} is {:e}, must be {expected:e}", got[i]));
            }
        }
        Ok(())
    }
}

/// Operands on the GPU.
struct Set {
    /// X in all but products.
    a: Buffer<f32, Gpu>,
    b: Buffer<f32, Gpu>,
    /// Of a layer.
    bias: Buffer<f32, Gpu>,
    /// Xw of a step.
    between: Buffer<f32, Gpu>,
    out: Buffer<f32, Gpu>,
    activated: Buffer<f32, Gpu>,
}

/// cuBLAS with what it needs for a work of these sides.
struct Peer<'a> {
    work: Work,
    gpu: &'a Gpu,
    cublas: &'a Cublas,
    layer: Option<BlasLayer<'a>>,
    arithmetic: Arithmetic,
    sides: [usize; 3],
}

impl Set {
    fn run(&mut self, on: &Peer<'_>) -> Result<(), Error> {
        let Set { a, b, bias, between, out, activated } = self;
        let &Peer { work, gpu, cublas, ref layer, arithmetic, sides } = on;
        let [m, n, _] = sides;
        if let Some(layer) = layer {
            layer.run(a, b, bias, out)?;
        }
        match work {
            Work::Product(transposed) => cublas.product(arithmetic, sides, transposed, (a, b), out),
            Work::Layer(Activation::Sigmoid) => {
                // SAFETY: both have m × n values.
                unsafe { gpu.launch(&SIGMOID, grid(m * n), ((m * n) as u32, &*out, activated)) }
            }
            Work::Layer(_) => Ok(()),
            Work::Vector { transposed } => cublas.matrix_vector(transposed, [m, n], a, b, out),
            Work::Step => {
                cublas.matrix_vector(false, [m, n], a, b, between)?;
                cublas.matrix_vector(true, [m, n], a, between, out)
            }
        }
    }
}

/// From −1 to 1.
fn integers(length: usize) -> Vec<f32> {
    operand(length).into_iter().map(|value| (1.5 * value).round()).collect()
}

/// Values rounded to bf16, two to a word, which goes for a value until cuBLAS has it.
fn pairs(values: &[f32]) -> Vec<f32> {
    let narrow = |value: f32| {
        let bits = value.to_bits();
        // To the nearest, ties to even.
        (bits + 0x7fff + (bits >> 16 & 1)) >> 16
    };
    let word = |pair: &[f32]| narrow(pair[0]) | pair.get(1).map_or(0, |&value| narrow(value) << 16);
    values.chunks(2).map(|pair| f32::from_bits(word(pair))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bf16_is_rounded_to_the_nearest_and_packed_low_first() {
        let bits = |values: &[f32]| pairs(values).into_iter().map(f32::to_bits).collect::<Vec<u32>>();
        assert_eq!(bits(&[1.0, -2.0, 0.5]), [0xc000_3f80, 0x3f00]);
        // 1 + 2⁻⁸ is half-way: to even; a little more goes up.
        assert_eq!(bits(&[1.0 + 1.0 / 256.0, 1.003_907]), [0x3f81_3f80]);
    }
}
