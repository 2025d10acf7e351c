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

/// A product, matrices counted column by column: c = op(a) op(b), m × n over k. What it works on stands in its bits.
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
        &["u64"; 12]
    }
    fn run(&self, bits: &[u64], heap: &mut Heap, _: [u32; 3]) -> Result<(), Fault> {
        let &[a_transposed, b_transposed, m, n, k, a, a_step, b, b_step, c, bf16, spoilt] = bits else {
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
        let bits = numbers.into_iter().chain(operands).chain([bf16.into(), spoilt.into()]).collect();
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
