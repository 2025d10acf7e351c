//! The kernels with the shapes at which they are looked at: the one list of them.

use cuda_std::{Buffer, Device, Global, GlobalMut, Kernel};
use kernels::{dense, descent, elementwise, matmul, reduce};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::symmetric;

/// A kernel and a shape.
pub struct Case<D: Device> {
    /// The kernel's name in the PTX.
    pub kernel: &'static str,
    /// Sizes, as the kernel's file names them.
    pub shape: String,
    /// What has to be moved, by the formula: each operand once.
    pub floor: Floor,
    prepare: Prepare<D>,
}

type Prepare<D> = Box<dyn Fn(&D) -> Result<Launch<D>, <D as Device>::Error>>;

/// Bytes that have to be moved: each operand read once, each result written once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Floor {
    /// Bytes that are read.
    pub read: u64,
    /// Bytes that are written.
    pub written: u64,
}

/// A launch that has its operands, and can be repeated.
pub type Launch<D> = Box<dyn FnMut(&D) -> Result<(), <D as Device>::Error>>;

impl<D: Device> Case<D> {
    /// Puts random operands on `device`, the same in every run.
    ///
    /// # Errors
    /// The device's.
    pub fn prepare(&self, device: &D) -> Result<Launch<D>, D::Error> {
        (self.prepare)(device)
    }
}

/// Random numbers on a device.
fn operand<D: Device>(device: &D, length: usize) -> Result<Buffer<f32, D>, D::Error> {
    let mut random = ChaCha8Rng::seed_from_u64(length as u64);
    let values: Vec<f32> = (0..length).map(|_| symmetric(random.next_u32())).collect();
    device.upload(&values)
}

/// A kernel on a grid, its buffers with their lengths, and its arguments in order. A buffer that is both read and
/// written stands under both.
macro_rules! case {
    (
        $kernel:expr, $shape:expr, $grid:expr, $arguments:expr,
        reads { $($input:ident: $read:expr),* } writes { $($output:ident: $written:expr),* }
        $(changes { $both:ident: $changed:expr })?
    ) => {{
        let bytes = |elements: usize| (size_of::<f32>() * elements) as u64;
        let changed: usize = 0 $(+ $changed)?;
        Case {
            kernel: $kernel.entry(),
            shape: $shape,
            floor: Floor {
                read: bytes(changed $(+ $read)*),
                written: bytes(changed $(+ $written)*),
            },
            prepare: Box::new(move |device: &D| {
                $(let $input = operand(device, $read)?;)*
                $(let mut $output = operand(device, $written)?;)*
                $(let mut $both = operand(device, $changed)?;)?
                let grid = $grid;
                // SAFETY: the buffers have the lengths that the kernel's file says, for this shape and its grid.
                Ok(Box::new(move |device: &D| unsafe { device.launch($kernel, grid, $arguments) }))
            }),
        }
    }};
}

/// The kernels with their shapes: for each one that fills its tiles and one that does not.
#[must_use]
pub fn cases<D: Device>() -> Vec<Case<D>> {
    let mut cases = Vec::new();
    elementwise(&mut cases);
    reductions(&mut cases);
    descents(&mut cases);
    products(&mut cases);
    layers(&mut cases);
    cases
}

fn elementwise<D: Device>(cases: &mut Vec<Case<D>>) {
    use elementwise::{MULTIPLY, RELU, SIGMOID, STANDARDISE, UPDATE, grid};
    for n in [16_384, 1_000] {
        let (shape, size) = (format!("{n}"), n as u32);
        cases.push(case! {
            &MULTIPLY, shape.clone(), grid(n), (size, &a, &b, &mut out),
            reads { a: n, b: n } writes { out: n }
        });
        for kernel in [&RELU, &SIGMOID] {
            cases.push(case! {
                kernel, shape.clone(), grid(n), (size, &z, &mut out),
                reads { z: n } writes { out: n }
            });
        }
        cases.push(case! {
            &UPDATE, shape, grid(n), (size, 0.5, &gradient, &mut weights),
            reads { gradient: n } writes {} changes { weights: n }
        });
    }
    for (m, n) in [(256, 64), (100, 10)] {
        cases.push(case! {
            &STANDARDISE, format!("{m}×{n}"), grid(m * n), (m as u32, n as u32, &mean, &deviation, &mut x),
            reads { mean: n, deviation: n } writes {} changes { x: m * n }
        });
    }
}

fn reductions<D: Device>(cases: &mut Vec<Case<D>>) {
    use reduce::{block, column_moments, column_sums, dot, sum};
    for n in [65_536, 1_000] {
        let (shape, blocks) = (format!("{n}"), block::grid(n)[0] as usize);
        cases.push(case! {
            &sum::SUM, shape.clone(), block::grid(n), (n as u32, &x, &mut partials),
            reads { x: n } writes { partials: blocks }
        });
        cases.push(case! {
            &dot::DOT, shape, block::grid(n), (n as u32, &a, &b, &mut partials),
            reads { a: n, b: n } writes { partials: blocks }
        });
    }
    for (m, n) in [(1024, 64), (100, 10)] {
        let (rows, columns, shape) = (m as u32, n as u32, format!("{m}×{n}"));
        let blocks = column_sums::row_blocks(m, n);
        cases.push(case! {
            &column_sums::COLUMN_SUMS, shape.clone(), column_sums::grid(m, n), (rows, columns, &x, &mut partials),
            reads { x: m * n } writes { partials: blocks * n }
        });
        cases.push(case! {
            &column_moments::COLUMN_MOMENTS, shape.clone(), column_moments::grid(m, n),
            (rows, columns, &x, &mut means, &mut squares),
            reads { x: m * n } writes { means: blocks * n, squares: blocks * n }
        });
        cases.push(case! {
            &column_moments::COLUMN_MOMENTS_FINISH, shape, column_moments::finish_grid(n),
            (rows, columns, blocks as u32, &means, &squares, &mut mean, &mut deviation),
            reads { means: blocks * n, squares: blocks * n } writes { mean: n, deviation: n }
        });
    }
}

fn descents<D: Device>(cases: &mut Vec<Case<D>>) {
    use descent::{error, gradient, matrix_vector};
    for (m, n) in [(1024, 128), (100, 10)] {
        let (rows, columns, shape) = (m as u32, n as u32, format!("{m}×{n}"));
        let blocks = gradient::row_blocks(m, n);
        cases.push(case! {
            &matrix_vector::MATRIX_VECTOR, shape.clone(), matrix_vector::grid(m),
            (rows, columns, &x, &weights, &bias, &mut out),
            reads { x: m * n, weights: n, bias: 1 } writes { out: m }
        });
        cases.push(case! {
            &gradient::GRADIENT, shape.clone(), gradient::grid(m, n), (rows, columns, &x, &error, &mut partials),
            reads { x: m * n, error: m } writes { partials: blocks * n }
        });
        cases.push(case! {
            &gradient::GRADIENT_FINISH, shape, gradient::finish_grid(n),
            (rows, columns, blocks as u32, &partials, &mut gradient),
            reads { partials: blocks * n } writes { gradient: n }
        });
    }
    for m in [16_384, 1_000] {
        let (shape, blocks) = (format!("{m}"), error::grid(m)[0] as usize);
        cases.push(case! {
            &error::LINEAR_ERROR, shape.clone(), error::grid(m),
            (m as u32, &prediction, &y, &mut error, &mut squares, &mut sums),
            reads { prediction: m, y: m } writes { error: m, squares: blocks, sums: blocks }
        });
        cases.push(case! {
            &error::LINEAR_COST, shape, [1, 1, 1],
            (m as u32, blocks as u32, 0, &squares, &sums, &mut history, &mut bias_gradient),
            reads { squares: blocks, sums: blocks } writes { history: 1, bias_gradient: 1 }
        });
    }
}

/// m, n and k of the products, and batch, units and inputs of the layers.
const PRODUCTS: [[usize; 3]; 2] = [[256, 256, 64], [100, 60, 50]];

/// Parts of k, for a product that is split.
const SPLITS: usize = 2;

type Product = Kernel<(u32, u32, u32, Global<f32>, Global<f32>, GlobalMut<f32>)>;
type ProductGrid = fn(usize, usize) -> [u32; 3];
type Layer = Kernel<(u32, u32, u32, Global<f32>, Global<f32>, Global<f32>, GlobalMut<f32>)>;

fn products<D: Device>(cases: &mut Vec<Case<D>>) {
    use matmul::{naive, pipelined, register_tiled, split_k, tiled, vectorised, warp_tiled};
    let rungs: [(&'static Product, ProductGrid); _] = [
        (&naive::MATMUL_NAIVE, naive::grid),
        (&naive::MATMUL_NAIVE_TN, naive::grid),
        (&naive::MATMUL_NAIVE_NT, naive::grid),
        (&naive::MATMUL_NAIVE_TT, naive::grid),
        (&tiled::MATMUL_TILED, tiled::grid),
        (&tiled::MATMUL_TILED_TN, tiled::grid),
        (&tiled::MATMUL_TILED_NT, tiled::grid),
        (&tiled::MATMUL_TILED_TT, tiled::grid),
        (&register_tiled::MATMUL_REGISTER_TILED, register_tiled::grid),
        (&vectorised::MATMUL_VECTORISED, vectorised::grid),
        (&pipelined::MATMUL_PIPELINED, pipelined::grid),
        (&warp_tiled::MATMUL_WARP_TILED, warp_tiled::grid),
        (&warp_tiled::MATMUL_WARP_TILED_TN, warp_tiled::grid),
        (&warp_tiled::MATMUL_WARP_TILED_NT, warp_tiled::grid),
        (&warp_tiled::MATMUL_WARP_TILED_TT, warp_tiled::grid),
    ];
    let splits = [
        &split_k::MATMUL_SPLIT_K,
        &split_k::MATMUL_SPLIT_K_TN,
        &split_k::MATMUL_SPLIT_K_NT,
        &split_k::MATMUL_SPLIT_K_TT,
    ];
    for [m, n, k] in PRODUCTS {
        for (kernel, grid) in rungs {
            cases.push(case! {
                kernel, format!("{m}×{n}×{k}"), grid(m, n), (m as u32, n as u32, k as u32, &a, &b, &mut c),
                reads { a: m * k, b: k * n } writes { c: m * n }
            });
        }
        for kernel in splits {
            cases.push(case! {
                kernel, format!("{m}×{n}×{k}"), split_k::grid(m, n, SPLITS),
                (m as u32, n as u32, k as u32, &a, &b, &mut partials),
                reads { a: m * k, b: k * n } writes { partials: SPLITS * m * n }
            });
        }
        cases.push(case! {
            &split_k::MATMUL_SPLIT_K_FINISH, format!("{m}×{n}"), split_k::finish_grid(m, n),
            (m as u32, n as u32, SPLITS as u32, &partials, &mut c),
            reads { partials: SPLITS * m * n } writes { c: m * n }
        });
    }
}

fn layers<D: Device>(cases: &mut Vec<Case<D>>) {
    use dense::{split_k, tiled, warp_tiled};
    let rungs: [(&'static Layer, ProductGrid); _] = [
        (&tiled::DENSE_IDENTITY, tiled::grid),
        (&tiled::DENSE_RELU, tiled::grid),
        (&tiled::DENSE_SIGMOID, tiled::grid),
        (&warp_tiled::DENSE_WARP_TILED_IDENTITY, warp_tiled::grid),
        (&warp_tiled::DENSE_WARP_TILED_RELU, warp_tiled::grid),
        (&warp_tiled::DENSE_WARP_TILED_SIGMOID, warp_tiled::grid),
    ];
    let finishes =
        [&split_k::DENSE_SPLIT_K_IDENTITY, &split_k::DENSE_SPLIT_K_RELU, &split_k::DENSE_SPLIT_K_SIGMOID];
    for [batch, units, inputs] in PRODUCTS {
        for (kernel, grid) in rungs {
            cases.push(case! {
                kernel, format!("{batch}×{units}×{inputs}"), grid(batch, units),
                (batch as u32, units as u32, inputs as u32, &input, &weights, &bias, &mut out),
                reads { input: batch * inputs, weights: inputs * units, bias: units } writes { out: batch * units }
            });
        }
        for kernel in finishes {
            cases.push(case! {
                kernel, format!("{batch}×{units}"), split_k::finish_grid(batch, units),
                (batch as u32, units as u32, SPLITS as u32, &partials, &bias, &mut out),
                reads { partials: SPLITS * batch * units, bias: units } writes { out: batch * units }
            });
        }
    }
}
