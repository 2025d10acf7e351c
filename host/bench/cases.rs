//! The kernels with the shapes at which they are looked at: the one list of them.

use std::fmt;

use cuda_std::{Buffer, Device, Global, GlobalMut, Kernel};
use kernels::{dense, descent, elementwise, matmul, reduce, training};

use super::rungs;

type In = Global<f32>;

/// A kernel and a shape.
pub struct Case<D: Device> {
    /// The kernel's name in the PTX; those of a sequence have a + between them.
    pub kernel: &'static str,
    /// The kernels of a sequence, with the sizes at which each is checked.
    sequence: Vec<(&'static str, [usize; 3])>,
    /// Sizes, as the kernel's file names them.
    pub shape: Shape,
    /// What has to be moved, by the formula: each operand once.
    pub floor: Floor,
    /// What has to be computed, by the formula: additions, multiplications and whatever else there is an operation for.
    pub operations: u64,
    prepare: Prepare<D>,
}

/// Which shapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Small ones, at which the emulator counts: for each kernel one that fills its tiles and one that does not.
    Counted,
    /// Those at which kernels are timed: large ones, and such as are used.
    Timed,
}

impl Scale {
    fn pick<T: Copy>(self, counted: &[T], timed: &[T]) -> Vec<T> {
        match self {
            Scale::Counted => counted,
            Scale::Timed => timed,
        }
        .to_vec()
    }
}

/// The sides of a case, one to three.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape(Vec<usize>);

impl Shape {
    /// The sides with ones for those that are not there: m, n, k.
    #[must_use]
    pub fn sides(&self) -> [usize; 3] {
        std::array::from_fn(|i| self.0.get(i).copied().unwrap_or(1))
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    fn from(sides: [usize; N]) -> Self {
        Shape(sides.to_vec())
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sides: Vec<String> = self.0.iter().map(usize::to_string).collect();
        f.write_str(&sides.join("×"))
    }
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

impl Floor {
    /// Bytes that are read or written.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.read + self.written
    }
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

    /// Whether it is more than one kernel.
    pub(super) fn is_sequence(&self) -> bool {
        !self.sequence.is_empty()
    }

    /// Its kernels, with the sizes at which each is checked.
    pub(super) fn kernels(&self) -> Vec<(&'static str, [usize; 3])> {
        if self.is_sequence() { self.sequence.clone() } else { vec![(self.kernel, self.shape.sides())] }
    }
}

/// Random numbers on a device.
fn operand<D: Device>(device: &D, length: usize) -> Result<Buffer<f32, D>, D::Error> {
    device.upload(&super::operand(length))
}

/// A kernel on a grid, its buffers with their lengths, its arguments in order, and its operations. A buffer that is both
/// read and written stands under "changes"; what is neither operand nor result, with what makes it, under "has".
macro_rules! case {
    (
        $kernel:expr, $shape:expr, $grid:expr, $arguments:expr,
        reads { $($input:ident: $read:expr),* } writes { $($output:ident: $written:expr),* }
        $(changes { $($both:ident: $changed:expr),* })?
        $(has { $($extra:ident: $make:expr),* })?
        does $operations:expr
    ) => {{
        let bytes = |elements: usize| (size_of::<f32>() * elements) as u64;
        let changed: usize = 0 $($(+ $changed)*)?;
        Case {
            kernel: $kernel.entry(),
            sequence: Vec::new(),
            shape: Shape::from($shape),
            floor: Floor {
                read: bytes(changed $(+ $read)*),
                written: bytes(changed $(+ $written)*),
            },
            operations: ($operations) as u64,
            prepare: Box::new(move |device: &D| {
                $(let $input = operand(device, $read)?;)*
                $(let mut $output = operand(device, $written)?;)*
                $($(let mut $both = operand(device, $changed)?;)*)?
                $($(
                    #[allow(unused_mut, reason = "some are read only")]
                    let mut $extra = $make(device)?;
                )*)?
                let grid = $grid;
                // SAFETY: the buffers have the lengths that the kernel's file says, for this shape and its grid.
                Ok(Box::new(move |device: &D| unsafe { device.launch($kernel, grid, $arguments) }))
            }),
        }
    }};
}

/// The kernels with their shapes of this scale.
#[must_use]
pub fn cases<D: Device>(scale: Scale) -> Vec<Case<D>> {
    let mut cases = Vec::new();
    elementwise(scale, &mut cases);
    reductions(scale, &mut cases);
    descents(scale, &mut cases);
    products(&sizes(scale), scale, &mut cases);
    layers(scale, &mut cases);
    trainings(scale, &mut cases);
    cases
}

/// Elements of a vector that no cache holds.
const LONG: usize = 1 << 26;

/// Samples × features of what goes over all data.
const TABLE: [usize; 2] = [100_000, 1000];

/// m, n and k of the products, and batch, units and inputs of the layers.
fn sizes(scale: Scale) -> Vec<[usize; 3]> {
    scale.pick(
        &[[256, 256, 64], [100, 60, 50]],
        &[[4096, 4096, 4096], [2048, 2048, 2048], [1024, 1024, 1024], [64, 1000, 1000]],
    )
}

/// Parts of k, for a product that is split.
pub(super) fn parts_of(scale: Scale, [m, n, k]: [usize; 3]) -> usize {
    match scale {
        Scale::Counted => 2,
        Scale::Timed => matmul::split_k::splits(m, n, k),
    }
}

fn elementwise<D: Device>(scale: Scale, cases: &mut Vec<Case<D>>) {
    use elementwise::{DIVIDE, MULTIPLY, RELU, SIGMOID, UPDATE, grid};
    for n in scale.pick(&[16_384, 1_000], &[LONG]) {
        let size = n as u32;
        for kernel in [&MULTIPLY, &DIVIDE] {
            cases.push(case! {
                kernel, [n], grid(n), (size, &a, &b, &mut out),
                reads { a: n, b: n } writes { out: n } does n
            });
        }
        for (kernel, operations) in [(&RELU, 1), (&SIGMOID, 4)] {
            cases.push(case! {
                kernel, [n], grid(n), (size, &z, &mut out),
                reads { z: n } writes { out: n } does operations * n
            });
        }
        cases.push(case! {
            &UPDATE, [n], grid(n), (size, 0.5, &gradient, &mut weights),
            reads { gradient: n } writes {} changes { weights: n } does 2 * n
        });
    }
}

fn reductions<D: Device>(scale: Scale, cases: &mut Vec<Case<D>>) {
    use reduce::{block, column_moments, column_sums, dot, sum};
    for n in scale.pick(&[65_536, 1_000], &[LONG]) {
        let blocks = block::grid(n)[0] as usize;
        cases.push(case! {
            &sum::SUM, [n], block::grid(n), (n as u32, &x, &mut partials),
            reads { x: n } writes { partials: blocks } does n
        });
        cases.push(case! {
            &dot::DOT, [n], block::grid(n), (n as u32, &a, &b, &mut partials),
            reads { a: n, b: n } writes { partials: blocks } does 2 * n
        });
    }
    for [m, n] in scale.pick(&[[1024, 64], [100, 10]], &[TABLE]) {
        let (rows, columns) = (m as u32, n as u32);
        let blocks = column_sums::row_blocks(m, n);
        cases.push(case! {
            &column_sums::COLUMN_SUMS, [m, n], column_sums::grid(m, n), (rows, columns, &x, &mut partials),
            reads { x: m * n } writes { partials: blocks * n } does m * n
        });
        cases.push(case! {
            &column_moments::COLUMN_MOMENTS, [m, n], column_moments::grid(m, n),
            (rows, columns, &x, &mut means, &mut squares),
            reads { x: m * n } writes { means: blocks * n, squares: blocks * n } does 4 * m * n
        });
        cases.push(case! {
            &column_moments::COLUMN_MOMENTS_FINISH, [m, n], column_moments::finish_grid(n),
            (rows, columns, blocks as u32, &means, &squares, &mut mean, &mut deviation),
            reads { means: blocks * n, squares: blocks * n } writes { mean: n, deviation: n } does 8 * blocks * n
        });
    }
}

fn descents<D: Device>(scale: Scale, cases: &mut Vec<Case<D>>) {
    use descent::fused::{
        LOG_LOSS_STEP, LOG_LOSS_STEP_NARROW, SQUARED_ERROR_STEP, SQUARED_ERROR_STEP_NARROW, Teams,
    };
    use descent::{error, gradient, matrix_vector};
    for [m, n] in scale.pick(&[[1024, 128], [100, 10]], &[TABLE]) {
        let (rows, columns) = (m as u32, n as u32);
        let blocks = gradient::row_blocks(m, n);
        cases.push(case! {
            &matrix_vector::MATRIX_VECTOR, [m, n], matrix_vector::grid(m),
            (rows, columns, &x, &mean, &weights, &bias, &mut out),
            reads { x: m * n, mean: n, weights: n, bias: 1 } writes { out: m } does 3 * m * n + m
        });
        let sums = blocks * (n + 2);
        cases.push(case! {
            &gradient::GRADIENT, [m, n], gradient::grid(m, n),
            (rows, columns, &x, &mean, &error, &losses, &mut partials),
            reads { x: m * n, mean: n, error: m, losses: m } writes { partials: sums } does 3 * m * n + 2 * m
        });
    }
    type Of = fn(usize) -> Teams;
    type Sides<'a> = &'a [[usize; 2]];
    let steps: [(&'static Step, Of, Sides, Sides); _] = [
        (
            &SQUARED_ERROR_STEP,
            Teams::wide,
            &[[1000, 1000], [250, 1001], [120, 4096]],
            &[TABLE, [25_000, 4096]],
        ),
        (&LOG_LOSS_STEP, Teams::wide, &[[1000, 1000]], &[TABLE]),
        (
            &SQUARED_ERROR_STEP_NARROW,
            Teams::narrow,
            &[[4096, 128], [442, 10]],
            &[[1_000_000, 100], [1_000_000, 30]],
        ),
        (&LOG_LOSS_STEP_NARROW, Teams::narrow, &[[569, 30]], &[[1_000_000, 30]]),
    ];
    for (kernel, teams, counted, timed) in steps {
        for [m, n] in scale.pick(counted, timed) {
            let blocks = teams(n).blocks(m);
            let sums = blocks * (n + 2);
            cases.push(case! {
                kernel, [m, n, blocks], teams(n).grid(m),
                (m as u32, n as u32, &x, &y, &mean, &deviation, &weights, &bias, &mut partials),
                reads { x: m * n, y: m, mean: n, deviation: n, weights: n, bias: 1 } writes { partials: sums }
                does 5 * m * n + sums
            });
        }
    }
    for shape in scale.pick(&[[1000, 1000, 84], [442, 10, 1]], &[[TABLE[0], TABLE[1], 132]]) {
        cases.push(finish(shape));
    }
    for m in scale.pick(&[16_384, 1_000], &[TABLE[0]]) {
        for (kernel, operations) in [(&error::SQUARED_ERROR, 3), (&error::LOG_LOSS, 20)] {
            cases.push(case! {
                kernel, [m], error::grid(m), (m as u32, &z, &y, &mut errors, &mut losses),
                reads { z: m, y: m } writes { errors: m, losses: m } does operations * m
            });
        }
    }
}

/// The end of a step: beside numbers it has the step's number, which stays as it is with a full history.
fn finish<D: Device>([m, n, blocks]: [usize; 3]) -> Case<D> {
    use descent::finish::{DESCENT_FINISH, grid};
    let (sums, bytes) = (blocks * (n + 2), |elements: usize| (size_of::<f32>() * elements) as u64);
    let strips = grid(n)[0] as usize;
    Case {
        kernel: DESCENT_FINISH.entry(),
        sequence: Vec::new(),
        shape: Shape::from([m, n, blocks]),
        floor: Floor { read: bytes(sums + 2 * n + 1 + strips), written: bytes(n + 2 + 3 * strips) },
        operations: (sums + 10 * n) as u64,
        prepare: Box::new(move |device: &D| {
            let (partials, mut update) = (operand(device, sums)?, Update::new(device, n)?);
            Ok(Box::new(move |device: &D| update.launch(device, [m, n, blocks], [0.5, 0.25], &partials)))
        }),
    }
}

/// What the end of a step works on beside the partial sums.
struct Update<D: Device> {
    deviation: Buffer<f32, D>,
    weights: Buffer<f32, D>,
    bias: Buffer<f32, D>,
    history: Buffer<f32, D>,
    squares: Buffer<f32, D>,
    step: Buffer<u32, D>,
}

impl<D: Device> Update<D> {
    fn new(device: &D, n: usize) -> Result<Self, D::Error> {
        let strips = descent::finish::grid(n)[0] as usize;
        Ok(Update {
            deviation: operand(device, n)?,
            weights: operand(device, n)?,
            bias: operand(device, 1)?,
            history: operand(device, 1)?,
            squares: operand(device, 2 * strips)?,
            step: device.upload(&vec![0_u32; strips])?,
        })
    }

    fn launch(
        &mut self,
        device: &D,
        [m, n, blocks]: [usize; 3],
        [learning_rate, l2]: [f32; 2],
        partials: &Buffer<f32, D>,
    ) -> Result<(), D::Error> {
        use descent::finish::{DESCENT_FINISH, grid};
        let Update { deviation, weights, bias, history, squares, step } = self;
        let arguments = (
            m as u32,
            n as u32,
            blocks as u32,
            1,
            learning_rate,
            l2,
            partials,
            &*deviation,
            weights,
            bias,
            history,
            squares,
            step,
        );
        // SAFETY: the buffers have the lengths that the kernel's file says, for this shape and its grid.
        unsafe { device.launch(&DESCENT_FINISH, grid(n), arguments) }
    }
}

type Product = Kernel<(u32, u32, u32, Global<f32>, Global<f32>, GlobalMut<f32>)>;
type ProductGrid = fn(usize, usize) -> [u32; 3];
type Layer = Kernel<(u32, u32, u32, Global<f32>, Global<f32>, Global<f32>, GlobalMut<f32>)>;

/// The kernels of the rungs that a dispatcher chooses from, A and B as they are, at shapes that tell where each is the fastest.
pub(super) fn rungs<D: Device>(scale: Scale) -> Vec<Case<D>> {
    let mut cases = Vec::new();
    products(&rung_sizes(scale), scale, &mut cases);
    cases.extend(split_products(&rung_sizes(scale), scale));
    // A product that is split takes part as a whole.
    let is_whole = |case: &Case<D>| case.kernel != rungs::SPLIT || parts_of(scale, case.shape.sides()) == 1;
    cases.retain(|case| rungs::names().any(|name| case.kernel == name) && is_whole(case));
    cases
}

/// From one tile of 128 × 128 to 1024, near the numbers of multiprocessors closely; and narrow ones.
fn rung_sizes(scale: Scale) -> Vec<[usize; 3]> {
    if scale == Scale::Counted {
        return sizes(scale);
    }
    let tile = matmul::warp_tiled::TILE;
    let tiles = [
        [1, 1],
        [1, 2],
        [2, 2],
        [2, 4],
        [3, 4],
        [4, 4],
        [4, 5],
        [4, 6],
        [5, 7],
        [6, 8],
        [7, 9],
        [8, 10],
        [8, 12],
        [9, 12],
        [11, 12],
        [12, 14],
        [16, 16],
        [32, 32],
    ];
    let wide = tiles.iter().flat_map(|[a, b]| [512, 4096].map(|k| [a * tile, b * tile, k]));
    let narrow = [8, 16, 32, 33, 48, 64, 96].iter().flat_map(|&m| [[m, 1000, 1000], [m, 4096, 4096]]);
    // So short along k that they are not split: from which side on the tiled rung is not the fastest, and the warp-tiled is.
    let sides = [8, 16, 24, 32, 33, 48, 64, 96, 128, 256, 512];
    let shallow = sides.iter().flat_map(|&m| [[m, 1000, 64], [m, 4096, 100]]);
    let square = [64, 128, 256, 384, 512, 640, 768, 1024, 1536].map(|side| [side, side, 100]);
    wide.chain(narrow).chain(shallow).chain(square).collect()
}

/// What a caller's work is made of where one kernel does not do all of it: a step of descent, a layer whose product is split.
/// What the first kernel writes the second reads, so it is still in the cache.
pub(super) fn sequences<D: Device>(scale: Scale) -> Vec<Case<D>> {
    use descent::fused::{
        LOG_LOSS_STEP, LOG_LOSS_STEP_NARROW, SQUARED_ERROR_STEP, SQUARED_ERROR_STEP_NARROW, Teams,
    };
    let mut cases = Vec::new();
    for shape in scale.pick(&[[1000, 1000]], &[TABLE, [25_000, 4096]]) {
        cases.push(whole_step(
            "squared_error_step + descent_finish",
            &SQUARED_ERROR_STEP,
            Teams::wide,
            shape,
        ));
    }
    for shape in scale.pick(&[[1000, 1000]], &[TABLE]) {
        cases.push(whole_step("log_loss_step + descent_finish", &LOG_LOSS_STEP, Teams::wide, shape));
    }
    for shape in scale.pick(&[[442, 10]], &[[1_000_000, 100], [1_000_000, 30]]) {
        let name = "squared_error_step_narrow + descent_finish";
        cases.push(whole_step(name, &SQUARED_ERROR_STEP_NARROW, Teams::narrow, shape));
    }
    for shape in scale.pick(&[[569, 30]], &[[1_000_000, 30]]) {
        let name = "log_loss_step_narrow + descent_finish";
        cases.push(whole_step(name, &LOG_LOSS_STEP_NARROW, Teams::narrow, shape));
    }
    cases.extend(split_products(&sizes(scale), scale));
    for sides in sizes(scale) {
        let parts = parts_of(scale, sides);
        if parts > 1 {
            use dense::split_k::{DENSE_SPLIT_K_IDENTITY, DENSE_SPLIT_K_RELU, DENSE_SPLIT_K_SIGMOID};
            cases.extend([
                split_layer("matmul_split_k + dense_split_k_identity", &DENSE_SPLIT_K_IDENTITY, sides, parts),
                split_layer("matmul_split_k + dense_split_k_relu", &DENSE_SPLIT_K_RELU, sides, parts),
                split_layer("matmul_split_k + dense_split_k_sigmoid", &DENSE_SPLIT_K_SIGMOID, sides, parts),
            ]);
        }
    }
    cases
}

/// Whether it is one of the figures that a project is judged by: the step of descent, the moments, the largest product by each
/// precision, a small batch's layer, a small network.
pub(super) fn is_headline(name: &str, sides: [usize; 3], scale: Scale) -> bool {
    let is_large = scale == Scale::Counted || sides == [4096; 3];
    let is_small = scale == Scale::Counted || sides == [64, 1000, 1000];
    let is_table = scale == Scale::Counted || sides[..2] == TABLE;
    match name {
        "matmul_warp_tiled" | "matmul_tf32x3" | "matmul_wgmma" | "matmul_tf32" | "matmul_bf16" => is_large,
        "matmul_split_k + dense_split_k_sigmoid" | "network" | "dense sigmoid" => is_small,
        "squared_error_step + descent_finish" | "log_loss_step + descent_finish" => is_table,
        "squared_error_step" | "column_moments" | "descent step" | "column moments" => is_table,
        _ => false,
    }
}

type Step = Kernel<(u32, u32, In, In, In, In, In, In, GlobalMut<f32>)>;

/// A step of descent with the update, at a learning rate of 0: the weights stay as they are.
fn whole_step<D: Device>(
    name: &'static str,
    kernel: &'static Step,
    teams: fn(usize) -> descent::fused::Teams,
    [m, n]: [usize; 2],
) -> Case<D> {
    let (finish, blocks) = (descent::finish::DESCENT_FINISH.entry(), teams(n).blocks(m));
    let (sums, bytes) = (blocks * (n + 2), |elements: usize| (size_of::<f32>() * elements) as u64);
    Case {
        kernel: name,
        sequence: vec![(kernel.entry(), [m, n, blocks]), (finish, [m, n, blocks])],
        shape: Shape::from([m, n]),
        floor: Floor { read: bytes(m * n + m + 3 * n + 1), written: bytes(n + 2) },
        operations: (5 * m * n + 10 * n) as u64,
        prepare: Box::new(move |device: &D| {
            let (x, y, mean) = (operand(device, m * n)?, operand(device, m)?, operand(device, n)?);
            let (mut partials, mut update) = (operand(device, sums)?, Update::new(device, n)?);
            Ok(Box::new(move |device: &D| {
                let Update { deviation, weights, bias, .. } = &update;
                let arguments = (m as u32, n as u32, &x, &y, &mean, deviation, weights, bias, &mut partials);
                // SAFETY: the buffers have the lengths that the kernel's file says, for this shape and its grid.
                unsafe { device.launch(kernel, teams(n).grid(m), arguments) }?;
                update.launch(device, [m, n, blocks], [0.0, 0.0], &partials)
            }))
        }),
    }
}

/// Products that are split along k, in two launches.
fn split_products<D: Device>(sizes: &[[usize; 3]], scale: Scale) -> Vec<Case<D>> {
    use matmul::split_k::{MATMUL_SPLIT_K, MATMUL_SPLIT_K_FINISH, finish_grid, grid};
    let case = |&[m, n, k]: &[usize; 3]| {
        let parts = parts_of(scale, [m, n, k]);
        let (rows, columns) = (m as u32, n as u32);
        (parts > 1).then(|| Case {
            kernel: rungs::SPLIT_IN_TWO,
            sequence: vec![
                (MATMUL_SPLIT_K.entry(), [m, n, k]),
                (MATMUL_SPLIT_K_FINISH.entry(), [m, n, parts]),
            ],
            shape: Shape::from([m, n, k]),
            floor: Floor { read: 4 * (m * k + k * n) as u64, written: 4 * (m * n) as u64 },
            operations: (2 * m * n * k) as u64,
            prepare: Box::new(move |device: &D| {
                let (a, b) = (operand(device, m * k)?, operand(device, k * n)?);
                let (mut partials, mut c) = (operand(device, parts * m * n)?, operand(device, m * n)?);
                Ok(Box::new(move |device: &D| {
                    let arguments = (rows, columns, k as u32, &a, &b, &mut partials);
                    // SAFETY: the buffers have the lengths that the kernels' files say, for this shape and their grids.
                    unsafe { device.launch(&MATMUL_SPLIT_K, grid(m, n, parts), arguments) }?;
                    let arguments = (rows, columns, parts as u32, &partials, &mut c);
                    // SAFETY: as above.
                    unsafe { device.launch(&MATMUL_SPLIT_K_FINISH, finish_grid(m, n), arguments) }
                }))
            }),
        })
    };
    sizes.iter().filter_map(case).collect()
}

type LayerFinish = Kernel<(u32, u32, u32, Global<f32>, Global<f32>, GlobalMut<f32>)>;

/// A layer whose product is split along k, in two launches.
fn split_layer<D: Device>(
    name: &'static str,
    finish: &'static LayerFinish,
    [batch, units, inputs]: [usize; 3],
    parts: usize,
) -> Case<D> {
    use matmul::split_k::{MATMUL_SPLIT_K, finish_grid, grid};
    let bytes = |elements: usize| (size_of::<f32>() * elements) as u64;
    let (rows, columns) = (batch as u32, units as u32);
    Case {
        kernel: name,
        sequence: vec![
            (MATMUL_SPLIT_K.entry(), [batch, units, inputs]),
            (finish.entry(), [batch, units, parts]),
        ],
        shape: Shape::from([batch, units, inputs]),
        floor: Floor { read: bytes(batch * inputs + inputs * units + units), written: bytes(batch * units) },
        operations: (2 * batch * units * inputs) as u64,
        prepare: Box::new(move |device: &D| {
            let (input, weights) = (operand(device, batch * inputs)?, operand(device, inputs * units)?);
            let (bias, mut out) = (operand(device, units)?, operand(device, batch * units)?);
            let mut partials = operand(device, parts * batch * units)?;
            Ok(Box::new(move |device: &D| {
                let arguments = (rows, columns, inputs as u32, &input, &weights, &mut partials);
                // SAFETY: the buffers have the lengths that the kernels' files say, for this shape and their grids.
                unsafe { device.launch(&MATMUL_SPLIT_K, grid(batch, units, parts), arguments) }?;
                let arguments = (rows, columns, parts as u32, &partials, &bias, &mut out);
                // SAFETY: as above.
                unsafe { device.launch(finish, finish_grid(batch, units), arguments) }
            }))
        }),
    }
}

fn products<D: Device>(sizes: &[[usize; 3]], scale: Scale, cases: &mut Vec<Case<D>>) {
    use matmul::{
        bf16, naive, pipelined, register_tiled, split_k, tensor_core, tf32x3, tiled, vectorised, warp_tiled,
        wgmma,
    };
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
        (&tensor_core::MATMUL_TF32, tensor_core::grid),
        (&tensor_core::MATMUL_TF32_TN, tensor_core::grid),
        (&tensor_core::MATMUL_TF32_NT, tensor_core::grid),
        (&tensor_core::MATMUL_TF32_TT, tensor_core::grid),
        (&tf32x3::MATMUL_TF32X3, tensor_core::grid),
        (&tf32x3::MATMUL_TF32X3_TN, tensor_core::grid),
        (&tf32x3::MATMUL_TF32X3_NT, tensor_core::grid),
        (&tf32x3::MATMUL_TF32X3_TT, tensor_core::grid),
        (&wgmma::MATMUL_WGMMA, wgmma::grid),
        (&wgmma::MATMUL_WGMMA_TN, wgmma::grid),
        (&wgmma::MATMUL_WGMMA_NT, wgmma::grid),
        (&wgmma::MATMUL_WGMMA_TT, wgmma::grid),
        (&bf16::MATMUL_BF16, tensor_core::grid),
        (&bf16::MATMUL_BF16_TN, tensor_core::grid),
        (&bf16::MATMUL_BF16_NT, tensor_core::grid),
        (&bf16::MATMUL_BF16_TT, tensor_core::grid),
    ];
    let splits = [
        &split_k::MATMUL_SPLIT_K,
        &split_k::MATMUL_SPLIT_K_TN,
        &split_k::MATMUL_SPLIT_K_NT,
        &split_k::MATMUL_SPLIT_K_TT,
    ];
    for &[m, n, k] in sizes {
        let parts = parts_of(scale, [m, n, k]);
        for (kernel, grid) in rungs {
            cases.push(case! {
                kernel, [m, n, k], grid(m, n), (m as u32, n as u32, k as u32, &a, &b, &mut c),
                reads { a: m * k, b: k * n } writes { c: m * n } does 2 * m * n * k
            });
        }
        for kernel in splits {
            cases.push(case! {
                kernel, [m, n, k], split_k::grid(m, n, parts),
                (m as u32, n as u32, k as u32, &a, &b, &mut partials),
                reads { a: m * k, b: k * n } writes { partials: parts * m * n } does 2 * m * n * k
            });
        }
        cases.push(case! {
            &split_k::MATMUL_SPLIT_K_FINISH, [m, n, parts], split_k::finish_grid(m, n),
            (m as u32, n as u32, parts as u32, &partials, &mut c),
            reads { partials: parts * m * n } writes { c: m * n } does parts * m * n
        });
    }
}

fn layers<D: Device>(scale: Scale, cases: &mut Vec<Case<D>>) {
    use dense::{split_k, tensor_core, tiled, warp_tiled, wgmma};
    let rungs: [(&'static Layer, ProductGrid); _] = [
        (&tiled::DENSE_IDENTITY, tiled::grid),
        (&tiled::DENSE_RELU, tiled::grid),
        (&tiled::DENSE_SIGMOID, tiled::grid),
        (&warp_tiled::DENSE_WARP_TILED_IDENTITY, warp_tiled::grid),
        (&warp_tiled::DENSE_WARP_TILED_RELU, warp_tiled::grid),
        (&warp_tiled::DENSE_WARP_TILED_SIGMOID, warp_tiled::grid),
        (&tensor_core::DENSE_TF32_IDENTITY, tensor_core::grid),
        (&tensor_core::DENSE_TF32_RELU, tensor_core::grid),
        (&tensor_core::DENSE_TF32_SIGMOID, tensor_core::grid),
        (&tensor_core::DENSE_TF32X3_IDENTITY, tensor_core::grid),
        (&tensor_core::DENSE_TF32X3_RELU, tensor_core::grid),
        (&tensor_core::DENSE_TF32X3_SIGMOID, tensor_core::grid),
        (&wgmma::DENSE_WGMMA_IDENTITY, wgmma::grid),
        (&wgmma::DENSE_WGMMA_RELU, wgmma::grid),
        (&wgmma::DENSE_WGMMA_SIGMOID, wgmma::grid),
        (&tensor_core::DENSE_BF16_IDENTITY, tensor_core::grid),
        (&tensor_core::DENSE_BF16_RELU, tensor_core::grid),
        (&tensor_core::DENSE_BF16_SIGMOID, tensor_core::grid),
    ];
    let finishes =
        [&split_k::DENSE_SPLIT_K_IDENTITY, &split_k::DENSE_SPLIT_K_RELU, &split_k::DENSE_SPLIT_K_SIGMOID];
    for [batch, units, inputs] in sizes(scale) {
        let parts = parts_of(scale, [batch, units, inputs]);
        for (kernel, grid) in rungs {
            cases.push(case! {
                kernel, [batch, units, inputs], grid(batch, units),
                (batch as u32, units as u32, inputs as u32, &input, &weights, &bias, &mut out),
                reads { input: batch * inputs, weights: inputs * units, bias: units } writes { out: batch * units } does 2 * batch * units * inputs
            });
        }
        for kernel in finishes {
            cases.push(case! {
                kernel, [batch, units, parts], split_k::finish_grid(batch, units),
                (batch as u32, units as u32, parts as u32, &partials, &bias, &mut out),
                reads { partials: parts * batch * units, bias: units } writes { out: batch * units } does (parts + 1) * batch * units
            });
        }
    }
    for sides in scale.pick(&[[8, 32, 16], [33, 70, 30]], &[[64, 1000, 1000], [64, 128, 784], [1, 128, 784]])
    {
        cases.push(network(sides));
    }
}

/// Three layers in one launch, for the widths that the suite checks at these sides.
fn network<D: Device>(sides: [usize; 3]) -> Case<D> {
    use dense::network::BLOCKS;
    let on = move |device: &D| network_of(sides, BLOCKS.min(device.resident_blocks()));
    Case { prepare: Box::new(move |device: &D| on(device).prepare(device)), ..network_of(sides, BLOCKS) }
}

/// That by so many blocks at most.
fn network_of<D: Device>([batch, units, inputs]: [usize; 3], blocks: usize) -> Case<D> {
    use dense::network::{BARRIER, IDENTITY, NETWORK, RELU, grid, hidden_elements};
    let [n0, n1, n2, n3] = kernel_suite::checks::network_widths(units, inputs);
    let sizes = [batch, n0, n1, n2, n3].map(|side| side as u32);
    let [m, w0, w1, w2, w3] = sizes;
    case! {
        &NETWORK, [batch, units, inputs], grid(batch, [n1, n2, n3], blocks),
        (
            m, w0, w1, w2, w3, RELU | RELU << 8 | IDENTITY << 16, &input, &weights1, &bias1, &weights2, &bias2,
            &weights3, &bias3, &mut barrier, &mut hidden, &mut out,
        ),
        reads {
            input: batch * n0, weights1: n0 * n1, bias1: n1, weights2: n1 * n2, bias2: n2, weights3: n2 * n3, bias3: n3
        }
        writes { out: batch * n3 }
        has {
            hidden: |device: &D| device.allocate::<f32>(hidden_elements(batch, [n1, n2])),
            barrier: |device: &D| device.upload(&[0_u32; BARRIER])
        }
        does 2 * batch * (n0 * n1 + n1 * n2 + n2 * n3)
    }
}

/// What training adds. An operand that must be of a kind stands under "has", and `with` adds it to the floor.
fn trainings<D: Device>(scale: Scale, cases: &mut Vec<Case<D>>) {
    batches(scale, cases);
    heads(scale, cases);
    steps(scale, cases);
}

impl<D: Device> Case<D> {
    /// The same with so many more values to read and to write.
    fn with(mut self, read: usize, written: usize) -> Self {
        self.floor.read += (size_of::<f32>() * read) as u64;
        self.floor.written += (size_of::<f32>() * written) as u64;
        self
    }
}

/// Whole numbers below `below`, in no order that a cache could use.
fn scattered(count: usize, below: usize) -> impl Iterator<Item = usize> {
    (0..count as u64).map(move |i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize % below)
}

fn batches<D: Device>(scale: Scale, cases: &mut Vec<Case<D>>) {
    use training::gather::{GATHER, GATHER_SCALED, grid};
    for [m, n, of] in
        scale.pick(&[[256, 64, 1000], [100, 10, 300]], &[[60_000, 784, 60_000], [1_000_000, 20, 1_000_000]])
    {
        let rows = move |device: &D| {
            let rows: Vec<u32> = scattered(m, of).map(|row| row as u32).collect();
            device.upload(&rows)
        };
        let x = move |device: &D| operand(device, of * n);
        let (count, columns) = (m as u32, n as u32);
        let gather = case! {
            &GATHER, [m, n, of], grid(m, n), (count, columns, &x, &rows, &mut out),
            reads {} writes { out: m * n } has { x: x, rows: rows } does 0
        };
        let scaled = case! {
            &GATHER_SCALED, [m, n, of], grid(m, n), (count, columns, &x, &mean, &deviation, &rows, &mut out),
            reads { mean: n, deviation: n } writes { out: m * n } has { x: x, rows: rows } does 2 * m * n
        };
        // Of X the rows that are there, once.
        let mut different: Vec<usize> = scattered(m, of).collect();
        different.sort_unstable();
        different.dedup();
        let read = m + different.len() * n;
        cases.extend([gather.with(read, 0), scaled.with(read, 0)]);
    }
}

fn heads<D: Device>(scale: Scale, cases: &mut Vec<Case<D>>) {
    use training::output_error::{self, COST, OUTPUT_ERROR_IDENTITY, OUTPUT_ERROR_SIGMOID};
    use training::softmax::{self, OUTPUT_ERROR_SOFTMAX, SOFTMAX};
    for [m, n] in scale.pick(&[[1024, 16], [100, 10]], &[[1 << 20, 64]]) {
        let (rows, columns, grid) = (m as u32, n as u32, output_error::grid(m, n));
        let blocks = grid[0] as usize;
        cases.push(case! {
            &OUTPUT_ERROR_IDENTITY, [m, n], grid, (rows, columns, &mut z, &y, &mut partials),
            reads { y: m * n } writes { partials: blocks } changes { z: m * n } does 4 * m * n
        });
        let labels = move |device: &D| {
            let labels: Vec<f32> = scattered(m * n, 2).map(|label| label as f32).collect();
            device.upload(&labels)
        };
        let sigmoid = case! {
            &OUTPUT_ERROR_SIGMOID, [m, n], grid, (rows, columns, &mut z, &y, &mut partials),
            reads {} writes { partials: blocks } changes { z: m * n } has { y: labels } does 21 * m * n
        };
        cases.push(sigmoid.with(m * n, 0));
    }
    for [m, n] in scale.pick(&[[256, 64], [100, 10]], &[[1 << 20, 10], [65_536, 1000]]) {
        let (rows, columns, grid) = (m as u32, n as u32, softmax::grid(m, n));
        let blocks = grid[0] as usize;
        let classes = move |device: &D| {
            let classes: Vec<f32> = scattered(m, n).map(|class| class as f32).collect();
            device.upload(&classes)
        };
        let error = case! {
            &OUTPUT_ERROR_SOFTMAX, [m, n], grid, (rows, columns, &mut z, &y, &mut partials),
            reads {} writes { partials: blocks } changes { z: m * n } has { y: classes } does 7 * m * n
        };
        cases.push(error.with(m, 0));
        cases.push(case! {
            &SOFTMAX, [m, n], grid, (rows, columns, &mut z),
            reads {} writes {} changes { z: m * n } does 5 * m * n
        });
    }
    for [m, blocks] in scale.pick(&[[1024, 1024], [100, 10]], &[[1024, 1024]]) {
        cases.push(case! {
            &COST, [m, blocks], [1, 1, 1], (m as u32, blocks as u32, 0, &partials, &mut costs),
            reads { partials: blocks } writes { costs: 1 } does blocks + 1
        });
    }
}

fn steps<D: Device>(scale: Scale, cases: &mut Vec<Case<D>>) {
    use training::backward::{BACKWARD_RELU, BACKWARD_SIGMOID};
    use training::update::{UPDATE_ADAM, UPDATE_DESCENT, UPDATE_MOMENTUM, grid};
    for [m, n] in scale.pick(&[[256, 64], [101, 7]], &[[65_536, 1024]]) {
        for (kernel, operations) in [(&BACKWARD_RELU, 1), (&BACKWARD_SIGMOID, 3)] {
            cases.push(case! {
                kernel, [m, n], grid(m * n), (m as u32, n as u32, &output, &mut gradient),
                reads { output: m * n } writes {} changes { gradient: m * n } does operations * m * n
            });
        }
    }
    for [m, n] in scale.pick(&[[256, 64], [101, 7]], &[[4096, 4096], [784, 512]]) {
        let (rows, columns, count) = (m as u32, n as u32, m * n);
        cases.push(case! {
            &UPDATE_DESCENT, [m, n], grid(count), (rows, columns, 0.5, 0.5, &gradient, &mut weights),
            reads { gradient: count } writes {} changes { weights: count } does 4 * count
        });
        cases.push(case! {
            &UPDATE_MOMENTUM, [m, n], grid(count),
            (rows, columns, 0.5, 0.5, 0.5, &gradient, &mut weights, &mut velocity),
            reads { gradient: count } writes {} changes { weights: count, velocity: count } does 6 * count
        });
        let squares = move |device: &D| device.upload(&vec![0.5_f32; count]);
        let adam = case! {
            &UPDATE_ADAM, [m, n], grid(count),
            (
                rows, columns, 0.001, 0.9, 0.1, 0.999, 0.001, 1e-8, 0.5, &gradient, &mut weights, &mut mean,
                &mut square,
            ),
            reads { gradient: count } writes {} changes { weights: count, mean: count } has { square: squares }
            does 14 * count
        };
        cases.push(adam.with(count, count));
    }
}
