//! The functions of cuBLAS that tilegrad compares itself with. Products go to streams, and into captures, as kernels do.
//!
//! In one library with the driver, because both have the same memory: `TILEGRAD_CUBLAS` names the same file.
#![allow(non_snake_case)]
#![allow(clippy::missing_safety_doc, reason = "NVIDIA's documentation says what each asks of its caller")]
#![allow(clippy::too_many_arguments, reason = "NVIDIA's functions have so many")]

use std::ffi::{c_int, c_void};

use cuda_std::Fault;

use crate::Needs::Context;
use crate::calls::put;
use crate::kernels::Run;
use crate::memory::Heap;
use crate::{Answer, Driver, INVALID_HANDLE, Kind, Launch, call, give_back};

/// `CUBLAS_STATUS_INVALID_VALUE`
const INVALID: u32 = 7;
/// `CUDA_R_16BF`
const BF16: c_int = 14;

/// A product, matrices counted column by column: c = op(a) op(b), m × n over k, to which a bias (m) may be added, and ReLU
/// applied. What it works on stands in its bits.
struct Product;

static PRODUCT: Product = Product;

impl Run for Product {
    fn entry(&self) -> &'static str {
        "cublas"
    }
    fn block(&self) -> [u32; 3] {
        [1, 1, 1]
    }
    fn shared_bytes(&self) -> usize {
        0
    }
    fn types(&self) -> &'static [&'static str] {
        &["u64"; 14]
    }
    fn run(&self, bits: &[u64], heap: &mut Heap, _: [u32; 3]) -> Result<(), Fault> {
        let &[a_transposed, b_transposed, m, n, k, a, a_step, b, b_step, c, bf16, spoilt, bias, relu] = bits
        else {
            unreachable!("`product` makes as many");
        };
        let [m, n, k, a_step, b_step] = [m, n, k, a_step, b_step].map(|side| side as usize);
        let outside = || Fault::Kernel {
            kernel: "cublas",
            block: [0; 3],
            thread: None,
            place: None,
            what: "global memory of a product, which has too little".to_owned(),
        };
        let mut read = |address: u64, values: usize| {
            let mut words = vec![0.0; if bf16 == 1 { values.div_ceil(2) } else { values }];
            heap.read(address, &mut words).ok_or_else(outside)?;
            let halves =
                |word: &f32| [word.to_bits() << 16, word.to_bits() & 0xffff_0000].map(f32::from_bits);
            Ok(if bf16 == 1 { words.iter().flat_map(halves).collect() } else { words })
        };
        let a: Vec<f32> = read(a, a_step * if a_transposed == 1 { m } else { k })?;
        let b: Vec<f32> = read(b, b_step * if b_transposed == 1 { k } else { n })?;
        // A result that is to be wrong is one too many, everywhere.
        let mut values = vec![spoilt as f32; m * n];
        for column in 0..n {
            for row in 0..m {
                for l in 0..k {
                    let a = if a_transposed == 1 { a[row * a_step + l] } else { a[l * a_step + row] };
                    let b = if b_transposed == 1 { b[l * b_step + column] } else { b[column * b_step + l] };
                    values[column * m + row] += a * b;
                }
            }
        }
        if bias != 0 {
            let mut terms = vec![0.0; m];
            heap.read(bias, &mut terms).ok_or_else(outside)?;
            values.iter_mut().zip(terms.iter().cycle()).for_each(|(value, term)| *value += term);
        }
        if relu == 1 {
            values.iter_mut().for_each(|value| *value = value.max(0.0));
        }
        heap.write(c, &values).ok_or_else(outside)
    }
}

impl Driver {
    /// The stream of a handle of the library.
    fn blas(&mut self, handle: u64) -> Result<&mut u64, u32> {
        match self.objects.get_mut(&handle).map(|object| &mut object.kind) {
            Some(Kind::Blas { stream }) => Ok(stream),
            _ => Err(INVALID_HANDLE),
        }
    }

    /// Queues a product of these sides in the stream of `handle`.
    fn product(
        &mut self,
        handle: usize,
        transposed: [c_int; 2],
        sides: [c_int; 3],
        [(a, a_step), (b, b_step), (c, c_step)]: [(usize, c_int); 3],
        bf16: bool,
    ) -> Answer {
        let stream = *self.blas(handle as u64)?;
        self.product_in(stream, transposed, sides, [(a, a_step), (b, b_step), (c, c_step)], bf16, (0, false))
    }

    /// Queues it in a stream, with a bias if there is one.
    fn product_in(
        &mut self,
        stream: u64,
        transposed: [c_int; 2],
        sides: [c_int; 3],
        [(a, a_step), (b, b_step), (c, c_step)]: [(usize, c_int); 3],
        bf16: bool,
        (bias, relu): (u64, bool),
    ) -> Answer {
        let [m, n, k] = sides;
        let least = [if transposed[0] == 1 { k } else { m }, if transposed[1] == 1 { n } else { k }];
        let is_right = sides.iter().all(|&side| side > 0)
            && transposed.iter().all(|&operation| operation == 0 || operation == 1)
            && a_step >= least[0]
            && b_step >= least[1]
            && c_step == m
            && ![a, b, c].contains(&0);
        if !is_right {
            return Err(INVALID);
        }
        self.products += 1;
        let spoilt = self.script.spoils(self.products);
        let numbers = [transposed[0], transposed[1], m, n, k].map(|number| number as u64);
        let operands = [a as u64, a_step as u64, b as u64, b_step as u64, c as u64];
        let bits = numbers
            .into_iter()
            .chain(operands)
            .chain([bf16.into(), spoilt.into(), bias, relu.into()])
            .collect();
        self.enqueue(stream, Launch { kernel: &PRODUCT, grid: [1, 1, 1], bits })
    }
}

/// A handle, on the current context.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasCreate_v2(handle: *mut usize) -> u32 {
    call("cublasCreate", Context, |driver| {
        driver.safe_in_capture()?;
        let made = driver.object(Kind::Blas { stream: 0 })?;
        // SAFETY: the caller gives a place for the handle.
        unsafe { put(handle, made as usize) }
    })
}

/// Gives a handle back.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasDestroy_v2(handle: *mut c_void) -> u32 {
    give_back("cublasDestroy", handle.addr() as u64, |driver| {
        driver.remove(handle.addr() as u64, |kind| matches!(kind, Kind::Blas { .. }))
    })
}

/// The version that the script says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasGetVersion_v2(handle: *mut c_void, version: *mut c_int) -> u32 {
    call("cublasGetVersion", Context, |driver| {
        driver.blas(handle.addr() as u64)?;
        // SAFETY: the caller gives a place for the number.
        unsafe { put(version, driver.script.cublas) }
    })
}

/// Chooses the stream, and forgets the workspace.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasSetStream_v2(handle: *mut c_void, stream: *mut c_void) -> u32 {
    call("cublasSetStream", Context, |driver| {
        driver.stream(stream.addr() as u64)?;
        *driver.blas(handle.addr() as u64)? = stream.addr() as u64;
        Ok(())
    })
}

/// Gives it memory to work in, which is not used here.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasSetWorkspace_v2(
    handle: *mut c_void,
    memory: *mut c_void,
    bytes: usize,
) -> u32 {
    call("cublasSetWorkspace", Context, |driver| {
        driver.blas(handle.addr() as u64)?;
        if driver.heap.holds(memory.addr() as u64, bytes) { Ok(()) } else { Err(INVALID) }
    })
}

/// Whether the factors are 1 and 0, the only ones that are used.
///
/// # Safety
/// Both are null or places of numbers.
unsafe fn plain(alpha: *const f32, beta: *const f32) -> Answer {
    // SAFETY: the caller's promise.
    let plain = unsafe { alpha.as_ref() == Some(&1.0) && beta.as_ref() == Some(&0.0) };
    if plain { Ok(()) } else { Err(INVALID) }
}

/// c = op(a) op(b) in `f32`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasSgemm_v2(
    handle: *mut c_void,
    a_operation: c_int,
    b_operation: c_int,
    m: c_int,
    n: c_int,
    k: c_int,
    alpha: *const f32,
    a: *const c_void,
    a_step: c_int,
    b: *const c_void,
    b_step: c_int,
    beta: *const f32,
    c: *mut c_void,
    c_step: c_int,
) -> u32 {
    call("cublasSgemm", Context, |driver| {
        // SAFETY: the caller gives two numbers.
        unsafe { plain(alpha, beta) }?;
        let operands = [(a.addr(), a_step), (b.addr(), b_step), (c.addr(), c_step)];
        driver.product(handle.addr(), [a_operation, b_operation], [m, n, k], operands, false)
    })
}

/// The same in other types: `f32` with sums in `f32` or in TF32, or bf16 with the result in `f32`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasGemmEx(
    handle: *mut c_void,
    a_operation: c_int,
    b_operation: c_int,
    m: c_int,
    n: c_int,
    k: c_int,
    alpha: *const c_void,
    a: *const c_void,
    a_type: c_int,
    a_step: c_int,
    b: *const c_void,
    b_type: c_int,
    b_step: c_int,
    beta: *const c_void,
    c: *mut c_void,
    c_type: c_int,
    c_step: c_int,
    compute: c_int,
    algorithm: c_int,
) -> u32 {
    call("cublasGemmEx", Context, |driver| {
        // SAFETY: the caller gives two numbers.
        unsafe { plain(alpha.cast(), beta.cast()) }?;
        let is_known = a_type == b_type
            && c_type == 0
            && algorithm == -1
            && matches!((a_type, compute), (0, 68 | 77) | (BF16, 68));
        if !is_known {
            return Err(INVALID);
        }
        let operands = [(a.addr(), a_step), (b.addr(), b_step), (c.addr(), c_step)];
        driver.product(handle.addr(), [a_operation, b_operation], [m, n, k], operands, a_type == BF16)
    })
}

/// y = op(a) x for a of m × n.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasSgemv_v2(
    handle: *mut c_void,
    operation: c_int,
    m: c_int,
    n: c_int,
    alpha: *const f32,
    a: *const c_void,
    a_step: c_int,
    x: *const c_void,
    x_step: c_int,
    beta: *const f32,
    y: *mut c_void,
    y_step: c_int,
) -> u32 {
    call("cublasSgemv", Context, |driver| {
        // SAFETY: the caller gives two numbers.
        unsafe { plain(alpha, beta) }?;
        if (x_step, y_step) != (1, 1) {
            return Err(INVALID);
        }
        let (inputs, outputs) = if operation == 1 { (m, n) } else { (n, m) };
        let operands = [(a.addr(), a_step), (x.addr(), inputs), (y.addr(), outputs)];
        driver.product(handle.addr(), [operation, 0], [outputs, 1, inputs], operands, false)
    })
}

/// What cuBLASLt is asked with.
pub(crate) enum Lt {
    Handle,
    Product {
        epilogue: u32,
        bias: u64,
    },
    /// Column by column, without gaps.
    Layout {
        bf16: bool,
        rows: u64,
        columns: u64,
    },
    Preference {
        workspace: u64,
    },
}

/// `CUBLASLT_EPILOGUE_BIAS` and `CUBLASLT_EPILOGUE_RELU_BIAS`
const EPILOGUE_BIAS: u32 = 4;
const EPILOGUE_RELU_BIAS: u32 = 6;

impl Driver {
    fn lt(&mut self, handle: *mut c_void) -> Result<&mut Lt, u32> {
        match self.objects.get_mut(&(handle.addr() as u64)).map(|object| &mut object.kind) {
            Some(Kind::Lt(lt)) => Ok(lt),
            _ => Err(INVALID_HANDLE),
        }
    }

    fn lt_layout(&mut self, handle: *mut c_void) -> Result<(bool, [c_int; 2]), u32> {
        match *self.lt(handle)? {
            Lt::Layout { bf16, rows, columns } => Ok((bf16, [rows as c_int, columns as c_int])),
            _ => Err(INVALID),
        }
    }

    /// The epilogue and the bias of a product, if the layouts are those of one: c = a b.
    fn lt_product(&mut self, product: *mut c_void, [a, b, c, d]: [*mut c_void; 4]) -> Result<LtProduct, u32> {
        let Lt::Product { epilogue, bias } = *self.lt(product)? else { return Err(INVALID) };
        let (bf16, [m, k]) = self.lt_layout(a)?;
        let (other, [inner, n]) = self.lt_layout(b)?;
        let fits = other == bf16
            && inner == k
            && [c, d].into_iter().all(|out| self.lt_layout(out) == Ok((false, [m, n])))
            && [EPILOGUE_BIAS, EPILOGUE_RELU_BIAS].contains(&epilogue);
        if fits { Ok(LtProduct { sides: [m, n, k], bf16, epilogue, bias }) } else { Err(INVALID) }
    }
}

struct LtProduct {
    sides: [c_int; 3],
    bf16: bool,
    epilogue: u32,
    bias: u64,
}

/// Makes an object of cuBLASLt.
///
/// # Safety
/// `place` is a place for its handle.
unsafe fn make(name: &'static str, place: *mut usize, lt: Lt) -> u32 {
    call(name, Context, |driver| {
        let made = driver.object(Kind::Lt(lt))?;
        // SAFETY: the caller's promise.
        unsafe { put(place, made as usize) }
    })
}

fn unmake(name: &'static str, handle: *mut c_void) -> u32 {
    give_back(name, handle.addr() as u64, |driver| {
        driver.remove(handle.addr() as u64, |kind| matches!(kind, Kind::Lt(_)))
    })
}

/// A handle of cuBLASLt, on the current context.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtCreate(handle: *mut usize) -> u32 {
    // SAFETY: the caller gives a place for the handle.
    unsafe { make("cublasLtCreate", handle, Lt::Handle) }
}

/// Gives a handle back.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtDestroy(handle: *mut c_void) -> u32 {
    unmake("cublasLtDestroy", handle)
}

/// A product with sums in `f32` or in TF32, scaled by an `f32`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtMatmulDescCreate(place: *mut usize, compute: c_int, scale: c_int) -> u32 {
    if !matches!((compute, scale), (68 | 77, 0)) {
        return INVALID;
    }
    // SAFETY: the caller gives a place for the handle.
    unsafe { make("cublasLtMatmulDescCreate", place, Lt::Product { epilogue: 1, bias: 0 }) }
}

/// Gives it back.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtMatmulDescDestroy(handle: *mut c_void) -> u32 {
    unmake("cublasLtMatmulDescDestroy", handle)
}

/// The epilogue (7), or the address of the bias (8).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtMatmulDescSetAttribute(
    handle: *mut c_void,
    attribute: c_int,
    value: *const c_void,
    bytes: usize,
) -> u32 {
    call("cublasLtMatmulDescSetAttribute", Context, |driver| {
        let Lt::Product { epilogue, bias } = driver.lt(handle)? else { return Err(INVALID) };
        // SAFETY: the caller gives a value of so many bytes.
        unsafe {
            match (attribute, bytes) {
                (7, 4) => *epilogue = value.cast::<u32>().read_unaligned(),
                (8, 8) => *bias = value.cast::<u64>().read_unaligned(),
                _ => return Err(INVALID),
            }
        }
        Ok(())
    })
}

/// How a matrix lies in memory: column by column without gaps, `f32` or bf16.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtMatrixLayoutCreate(
    place: *mut usize,
    kind: c_int,
    rows: u64,
    columns: u64,
    step: i64,
) -> u32 {
    if !matches!(kind, 0 | BF16) || step != rows as i64 || rows == 0 || columns == 0 {
        return INVALID;
    }
    // SAFETY: the caller gives a place for the handle.
    unsafe { make("cublasLtMatrixLayoutCreate", place, Lt::Layout { bf16: kind == BF16, rows, columns }) }
}

/// Gives it back.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtMatrixLayoutDestroy(handle: *mut c_void) -> u32 {
    unmake("cublasLtMatrixLayoutDestroy", handle)
}

/// What an algorithm may need.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtMatmulPreferenceCreate(place: *mut usize) -> u32 {
    // SAFETY: the caller gives a place for the handle.
    unsafe { make("cublasLtMatmulPreferenceCreate", place, Lt::Preference { workspace: 0 }) }
}

/// Gives it back.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtMatmulPreferenceDestroy(handle: *mut c_void) -> u32 {
    unmake("cublasLtMatmulPreferenceDestroy", handle)
}

/// The bytes that it may work in (1).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtMatmulPreferenceSetAttribute(
    handle: *mut c_void,
    attribute: c_int,
    value: *const c_void,
    bytes: usize,
) -> u32 {
    call("cublasLtMatmulPreferenceSetAttribute", Context, |driver| {
        let Lt::Preference { workspace } = driver.lt(handle)? else { return Err(INVALID) };
        if (attribute, bytes) != (1, 8) {
            return Err(INVALID);
        }
        // SAFETY: the caller gives a value of so many bytes.
        *workspace = unsafe { value.cast::<u64>().read_unaligned() };
        Ok(())
    })
}

/// `cublasLtMatmulHeuristicResult_t`: here the algorithm is the bytes that it works in.
#[repr(C)]
pub struct Algorithm {
    data: [u64; 8],
    workspace: usize,
    status: u32,
    waves: f32,
    reserved: [c_int; 4],
}

/// One algorithm, which works in all that it may.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtMatmulAlgoGetHeuristic(
    handle: *mut c_void,
    product: *mut c_void,
    a: *mut c_void,
    b: *mut c_void,
    c: *mut c_void,
    d: *mut c_void,
    preference: *mut c_void,
    asked: c_int,
    found: *mut Algorithm,
    count: *mut c_int,
) -> u32 {
    call("cublasLtMatmulAlgoGetHeuristic", Context, |driver| {
        let Lt::Handle = driver.lt(handle)? else { return Err(INVALID) };
        driver.lt_product(product, [a, b, c, d])?;
        let Lt::Preference { workspace } = *driver.lt(preference)? else { return Err(INVALID) };
        if asked != 1 {
            return Err(INVALID);
        }
        let (data, reserved) = ([workspace, 0, 0, 0, 0, 0, 0, 0], [0; 4]);
        // SAFETY: the caller gives places for one algorithm and for their number.
        unsafe {
            put(found, Algorithm { data, workspace: workspace as usize, status: 0, waves: 1.0, reserved })?;
            put(count, 1)
        }
    })
}

/// d = a b and the epilogue.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtMatmul(
    handle: *mut c_void,
    product: *mut c_void,
    alpha: *const f32,
    a: *const c_void,
    a_layout: *mut c_void,
    b: *const c_void,
    b_layout: *mut c_void,
    beta: *const f32,
    c: *const c_void,
    c_layout: *mut c_void,
    d: *mut c_void,
    d_layout: *mut c_void,
    algorithm: *const Algorithm,
    workspace: *mut c_void,
    bytes: usize,
    stream: *mut c_void,
) -> u32 {
    call("cublasLtMatmul", Context, |driver| {
        // SAFETY: the caller gives two numbers.
        unsafe { plain(alpha, beta) }?;
        let Lt::Handle = driver.lt(handle)? else { return Err(INVALID) };
        let asked = driver.lt_product(product, [a_layout, b_layout, c_layout, d_layout])?;
        // SAFETY: the caller gives an algorithm, or none.
        let wanted = unsafe { algorithm.as_ref() }.ok_or(INVALID)?.data[0];
        let has_room = bytes as u64 >= wanted && driver.heap.holds(workspace.addr() as u64, bytes);
        if !has_room || c.addr() != d.addr() || asked.bias == 0 {
            return Err(INVALID);
        }
        driver.stream(stream.addr() as u64)?;
        let LtProduct { sides: [m, n, k], bf16, epilogue, bias } = asked;
        let operands = [(a.addr(), m), (b.addr(), k), (d.addr(), m)];
        let stream = stream.addr() as u64;
        driver.product_in(stream, [0, 0], [m, n, k], operands, bf16, (bias, epilogue == EPILOGUE_RELU_BIAS))
    })
}
