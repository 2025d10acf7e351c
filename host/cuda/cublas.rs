//! cuBLAS, NVIDIA's library of products, where there is one: for comparison, never for an engine's work.

use std::ffi::{OsString, c_int, c_void};

use cuda_std::{Buffer, Device};
use cust::sys::{CUdeviceptr, CUstream};
use libloading::Library;

use super::{Error, Gpu, graph};

/// The environment variable that names the library to load in place of the system's; empty, it names none.
pub const LIBRARY_VARIABLE: &str = "TILEGRAD_CUBLAS";

/// The library, as NVIDIA's toolkits install it: what the system's loader finds first is taken.
const LIBRARIES: [&str; 3] = ["libcublas.so.13", "libcublas.so.12", "libcublas.so.11"];

/// The oldest version of it that is taken: CUDA 11 has all that is used here.
const LEAST_VERSION: u32 = 11;

/// Bytes that it may work in: what NVIDIA's documentation asks for on Hopper. Without memory of ours it would ask the
/// driver for some, which cannot be recorded.
const WORKSPACE: usize = 32 << 20;

type Status = u32;
type Handle = *mut c_void;

/// Declares the functions: each is looked up by its name, and missing is told by that.
macro_rules! functions {
    ($($name:ident: fn($($argument:ty),*);)*) => {
        #[derive(Clone, Copy)]
        #[allow(non_snake_case)]
        struct Functions {
            $($name: unsafe extern "C" fn($($argument),*) -> Status,)*
        }

        impl Functions {
            fn of(library: &Library) -> Result<Self, &'static str> {
                Ok(Functions { $(
                    // SAFETY: these are the function's types, by NVIDIA's documentation of cuBLAS 11 to 13.
                    $name: *unsafe { library.get(concat!(stringify!($name), "\0").as_bytes()) }
                        .map_err(|_| stringify!($name))?,
                )* })
            }
        }
    };
}

functions! {
    cublasCreate_v2: fn(*mut Handle);
    cublasDestroy_v2: fn(Handle);
    cublasGetVersion_v2: fn(Handle, *mut c_int);
    cublasSetStream_v2: fn(Handle, CUstream);
    cublasSetWorkspace_v2: fn(Handle, *mut c_void, usize);
    cublasSgemm_v2: fn(
        Handle, c_int, c_int, c_int, c_int, c_int, *const f32, *const c_void, c_int, *const c_void, c_int,
        *const f32, *mut c_void, c_int
    );
    cublasSgemv_v2: fn(
        Handle, c_int, c_int, c_int, *const f32, *const c_void, c_int, *const c_void, c_int, *const f32,
        *mut c_void, c_int
    );
    cublasGemmEx: fn(
        Handle, c_int, c_int, c_int, c_int, c_int, *const c_void, *const c_void, c_int, c_int, *const c_void,
        c_int, c_int, *const c_void, *mut c_void, c_int, c_int, c_int, c_int
    );
    // Of cuBLASLt, which cuBLAS itself stands on: the system's loader finds them with it.
    cublasLtCreate: fn(*mut Handle);
    cublasLtDestroy: fn(Handle);
    cublasLtMatmulDescCreate: fn(*mut Handle, c_int, c_int);
    cublasLtMatmulDescDestroy: fn(Handle);
    cublasLtMatmulDescSetAttribute: fn(Handle, c_int, *const c_void, usize);
    cublasLtMatrixLayoutCreate: fn(*mut Handle, c_int, u64, u64, i64);
    cublasLtMatrixLayoutDestroy: fn(Handle);
    cublasLtMatmulPreferenceCreate: fn(*mut Handle);
    cublasLtMatmulPreferenceDestroy: fn(Handle);
    cublasLtMatmulPreferenceSetAttribute: fn(Handle, c_int, *const c_void, usize);
    cublasLtMatmulAlgoGetHeuristic: fn(
        Handle, Handle, Handle, Handle, Handle, Handle, Handle, c_int, *mut Found, *mut c_int
    );
    cublasLtMatmul: fn(
        Handle, Handle, *const f32, *const c_void, Handle, *const c_void, Handle, *const f32, *const c_void, Handle,
        *mut c_void, Handle, *const Found, *mut c_void, usize, CUstream
    );
}

/// `cublasLtMatmulHeuristicResult_t`, whose first part is the algorithm.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct Found {
    algorithm: [u64; 8],
    workspace: usize,
    status: Status,
    waves: f32,
    reserved: [c_int; 4],
}

/// `CUBLASLT_MATMUL_DESC_EPILOGUE` and `CUBLASLT_MATMUL_DESC_BIAS_POINTER`.
const EPILOGUE: c_int = 7;
const BIAS: c_int = 8;
/// `CUBLASLT_EPILOGUE_BIAS` and `CUBLASLT_EPILOGUE_RELU_BIAS`.
const EPILOGUES: [u32; 2] = [4, 6];
/// `CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES`
const MOST_WORKSPACE: c_int = 1;

/// `CUBLAS_OP_N` and `CUBLAS_OP_T`.
const OPERATIONS: [c_int; 2] = [0, 1];
/// `CUDA_R_32F` and `CUDA_R_16BF`: types of values.
const F32: c_int = 0;
const BF16: c_int = 14;
/// `CUBLAS_COMPUTE_32F`, and the same with products in TF32.
const COMPUTE_F32: c_int = 68;
const COMPUTE_TF32: c_int = 77;
/// `CUBLAS_GEMM_DEFAULT`
const DEFAULT_ALGORITHM: c_int = -1;

/// What a product is computed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    /// `cublasSgemm`, without TF32, which is its default.
    Fp32,
    /// `f32` that is rounded to TF32 for the tensor cores.
    Tf32,
    /// Operands in bf16, two in the place of a value, the first in its low half; the result is `f32`.
    Bf16,
}

/// cuBLAS on a GPU. What it computes goes to the GPU's stream, or into what is being recorded there.
pub struct Cublas {
    functions: Functions,
    handle: Handle,
    /// cuBLASLt's.
    layers: Handle,
    workspace: Buffer<f32, Gpu>,
    gpu: Gpu,
    description: String,
    /// Closed after the handle is gone.
    _library: Library,
}

impl Cublas {
    /// Opens the library that the environment variable `TILEGRAD_CUBLAS` names, else the system's.
    ///
    /// # Errors
    /// There is none, it is too old, or it fails.
    pub fn open(gpu: &Gpu) -> Result<Self, Error> {
        let named = std::env::var_os(LIBRARY_VARIABLE).filter(|path| !path.is_empty());
        let candidates: Vec<OsString> =
            named.map_or_else(|| LIBRARIES.map(OsString::from).to_vec(), |path| vec![path]);
        let mut reason = String::new();
        for path in &candidates {
            // SAFETY: the library is cuBLAS (or what the user named in its place), whose initialisers may run now.
            match unsafe { Library::new(path) } {
                Ok(library) => return Self::on(gpu, library, &path.to_string_lossy()),
                Err(error) => {
                    reason = std::error::Error::source(&error).map_or(error.to_string(), ToString::to_string);
                }
            }
        }
        let names: Vec<_> = candidates.iter().map(|path| path.to_string_lossy()).collect();
        Err(Error::Cublas {
            problem: format!("{} cannot be loaded: {reason}", names.join(", ")),
            remedy: "install it, or name its file in TILEGRAD_CUBLAS",
        })
    }

    fn on(gpu: &Gpu, library: Library, path: &str) -> Result<Self, Error> {
        let old = "install that of CUDA 11 or later, or name its file in TILEGRAD_CUBLAS";
        let functions = Functions::of(&library)
            .map_err(|name| Error::Cublas { problem: format!("{path} has no {name}"), remedy: old })?;
        gpu.session().enter()?;
        let workspace = gpu.allocate(WORKSPACE / size_of::<f32>())?;
        let mut handle = std::ptr::null_mut();
        // SAFETY: `handle` is a place for the handle; the GPU's context is current.
        check("cublasCreate", unsafe { (functions.cublasCreate_v2)(&raw mut handle) }, path)?;
        let mut cublas = Cublas {
            functions,
            handle,
            layers: std::ptr::null_mut(),
            workspace,
            gpu: gpu.clone(),
            description: path.to_owned(),
            _library: library,
        };
        let mut version: c_int = 0;
        // SAFETY: `version` is a place for the number.
        let answer = unsafe { (functions.cublasGetVersion_v2)(handle, &raw mut version) };
        check("cublasGetVersion", answer, path)?;
        // 10000 × major from CUDA 12 on, 1000 × major before.
        let version = version.unsigned_abs();
        let major = if version >= 100_000 { version / 10_000 } else { version / 1000 };
        if major < LEAST_VERSION {
            let problem =
                format!("{path} is version {version}, and {LEAST_VERSION} is the oldest that is used");
            return Err(Error::Cublas { problem, remedy: old });
        }
        // SAFETY: `layers` is a place for the handle.
        check("cublasLtCreate", unsafe { (functions.cublasLtCreate)(&raw mut cublas.layers) }, path)?;
        cublas.description = format!("cuBLAS, version {version}, from {path}");
        Ok(cublas)
    }

    /// Its version, and the file that it is from.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// Points it to the stream that launches go to now.
    fn prepare(&self) -> Result<(), Error> {
        let session = self.gpu.session();
        session.enter()?;
        let stream = graph::stream(session)?;
        let workspace = self.address("workspace", &self.workspace, WORKSPACE)?;
        // SAFETY: the stream is the GPU's or one that is being recorded; the memory is ours, as long as is said, and is
        // given back after the handle.
        unsafe {
            check("cublasSetStream", (self.functions.cublasSetStream_v2)(self.handle, stream), "")?;
            let answer = (self.functions.cublasSetWorkspace_v2)(self.handle, pointer(workspace), WORKSPACE);
            check("cublasSetWorkspace", answer, "")
        }
    }

    /// The address of a buffer of at least so many bytes.
    fn address(
        &self,
        operation: &'static str,
        buffer: &Buffer<f32, Gpu>,
        bytes: usize,
    ) -> Result<CUdeviceptr, Error> {
        buffer.memory().range(operation, &self.gpu, 0, bytes.div_ceil(size_of::<f32>()))
    }

    /// c = op(a) op(b), m × n over k, all row-major; either operand may be stored transposed.
    ///
    /// # Errors
    /// A buffer is too short or another GPU's, a side is beyond `i32`, or the library's.
    pub fn product(
        &self,
        arithmetic: Arithmetic,
        sides: [usize; 3],
        [a_transposed, b_transposed]: [bool; 2],
        (a, b): (&Buffer<f32, Gpu>, &Buffer<f32, Gpu>),
        c: &mut Buffer<f32, Gpu>,
    ) -> Result<(), Error> {
        let [m, n, k] = sides;
        let (kind, width) = if arithmetic == Arithmetic::Bf16 { (BF16, 2) } else { (F32, 4) };
        let a = pointer(self.address("product", a, width * m * k)?);
        let b = pointer(self.address("product", b, width * k * n)?);
        let c = pointer(self.address("product", c, 4 * m * n)?);
        let about = format!("a product of {m} × {n} over {k}");
        let [m, n, k] = integers(sides, &about)?;
        self.prepare()?;
        // It counts by columns: there our matrices are their transposes, and cᵀ = op(b)ᵀ op(a)ᵀ.
        let [a_operation, b_operation] =
            [a_transposed, b_transposed].map(|transposed| OPERATIONS[usize::from(transposed)]);
        let a_step = if a_transposed { m } else { k };
        let b_step = if b_transposed { k } else { n };
        let (one, zero) = (1.0_f32, 0.0_f32);
        let (alpha, beta) = (&raw const one, &raw const zero);
        // SAFETY: the buffers are as long as the sides say; the two factors are read before the call returns.
        let answer = unsafe {
            if arithmetic == Arithmetic::Fp32 {
                (self.functions.cublasSgemm_v2)(
                    self.handle,
                    b_operation,
                    a_operation,
                    n,
                    m,
                    k,
                    alpha,
                    b,
                    b_step,
                    a,
                    a_step,
                    beta,
                    c,
                    n,
                )
            } else {
                let compute = if arithmetic == Arithmetic::Tf32 { COMPUTE_TF32 } else { COMPUTE_F32 };
                (self.functions.cublasGemmEx)(
                    self.handle,
                    b_operation,
                    a_operation,
                    n,
                    m,
                    k,
                    alpha.cast(),
                    b,
                    kind,
                    b_step,
                    a,
                    kind,
                    a_step,
                    beta.cast(),
                    c,
                    F32,
                    n,
                    compute,
                    DEFAULT_ALGORITHM,
                )
            }
        };
        let name = if arithmetic == Arithmetic::Fp32 { "cublasSgemm" } else { "cublasGemmEx" };
        check(name, answer, &about)
    }

    /// out = Xv for X m × n, row-major; Xᵀv if `transposed`.
    ///
    /// # Errors
    /// As for [`Cublas::product`].
    pub fn matrix_vector(
        &self,
        transposed: bool,
        [m, n]: [usize; 2],
        x: &Buffer<f32, Gpu>,
        v: &Buffer<f32, Gpu>,
        out: &mut Buffer<f32, Gpu>,
    ) -> Result<(), Error> {
        let (inputs, outputs) = if transposed { (m, n) } else { (n, m) };
        let x = pointer(self.address("matrix_vector", x, 4 * m * n)?);
        let v = pointer(self.address("matrix_vector", v, 4 * inputs)?);
        let out = pointer(self.address("matrix_vector", out, 4 * outputs)?);
        let about = format!("a matrix of {m} × {n} and a vector");
        let [m, n] = integers([m, n], &about)?;
        self.prepare()?;
        let (one, zero) = (1.0_f32, 0.0_f32);
        // By columns X is Xᵀ.
        let operation = OPERATIONS[usize::from(!transposed)];
        // SAFETY: as in `product`.
        let answer = unsafe {
            (self.functions.cublasSgemv_v2)(
                self.handle,
                operation,
                n,
                m,
                &raw const one,
                x,
                n,
                v,
                1,
                &raw const zero,
                out,
                1,
            )
        };
        check("cublasSgemv", answer, &about)
    }
}

/// A dense layer's product as cuBLASLt is asked for it: out = A W + b, or max(A W + b, 0), with the algorithm that its
/// heuristic takes first.
pub struct BlasLayer<'a> {
    cublas: &'a Cublas,
    sides: [usize; 3],
    width: usize,
    product: Object,
    /// Of W, A and out.
    layouts: [Object; 3],
    found: Found,
}

/// A description that the library has made.
struct Object {
    handle: Handle,
    destroy: unsafe extern "C" fn(Handle) -> Status,
}

impl Object {
    fn new(
        call: &'static str,
        destroy: unsafe extern "C" fn(Handle) -> Status,
        make: impl FnOnce(*mut Handle) -> Status,
    ) -> Result<Self, Error> {
        let mut handle = std::ptr::null_mut();
        check(call, make(&raw mut handle), "")?;
        Ok(Object { handle, destroy })
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        // SAFETY: the library made it, and nothing uses it any more.
        unsafe { (self.destroy)(self.handle) };
    }
}

impl Cublas {
    /// Prepares layers of `batch` × `units` over `inputs`, with ReLU or without an activation.
    ///
    /// # Errors
    /// The library's, which may have no algorithm for this.
    pub fn layer(
        &self,
        arithmetic: Arithmetic,
        sides: [usize; 3],
        relu: bool,
    ) -> Result<BlasLayer<'_>, Error> {
        let functions = &self.functions;
        let [batch, units, inputs] = sides;
        let about = format!("a layer of {batch} × {units} over {inputs}");
        let (kind, width) = if arithmetic == Arithmetic::Bf16 { (BF16, 2) } else { (F32, 4) };
        let compute = if arithmetic == Arithmetic::Tf32 { COMPUTE_TF32 } else { COMPUTE_F32 };
        // SAFETY: the places are this function's own, and each attribute is of the type and size that it has by NVIDIA's
        // documentation.
        unsafe {
            let product =
                Object::new("cublasLtMatmulDescCreate", functions.cublasLtMatmulDescDestroy, |place| {
                    (functions.cublasLtMatmulDescCreate)(place, compute, F32)
                })?;
            let epilogue = EPILOGUES[usize::from(relu)];
            let place = (&raw const epilogue).cast();
            let answer = (functions.cublasLtMatmulDescSetAttribute)(
                product.handle,
                EPILOGUE,
                place,
                size_of_val(&epilogue),
            );
            check("cublasLtMatmulDescSetAttribute", answer, &about)?;
            // It counts by columns: there our matrices are their transposes, and outᵀ = Wᵀ Aᵀ, with the bias down a column.
            let layout = |kind: c_int, rows: usize, columns: usize| {
                Object::new("cublasLtMatrixLayoutCreate", functions.cublasLtMatrixLayoutDestroy, |place| {
                    let [rows, columns, step] = [rows as u64, columns as u64, rows as u64];
                    (functions.cublasLtMatrixLayoutCreate)(place, kind, rows, columns, step as i64)
                })
            };
            let layouts =
                [layout(kind, units, inputs)?, layout(kind, inputs, batch)?, layout(F32, units, batch)?];
            let preference = Object::new(
                "cublasLtMatmulPreferenceCreate",
                functions.cublasLtMatmulPreferenceDestroy,
                |place| (functions.cublasLtMatmulPreferenceCreate)(place),
            )?;
            let most = WORKSPACE as u64;
            let answer = (functions.cublasLtMatmulPreferenceSetAttribute)(
                preference.handle,
                MOST_WORKSPACE,
                (&raw const most).cast(),
                size_of_val(&most),
            );
            check("cublasLtMatmulPreferenceSetAttribute", answer, &about)?;
            let (mut found, mut count) = (Found::default(), 0);
            let [w, a, out] = [0, 1, 2].map(|at: usize| layouts[at].handle);
            let answer = (functions.cublasLtMatmulAlgoGetHeuristic)(
                self.layers,
                product.handle,
                w,
                a,
                out,
                out,
                preference.handle,
                1,
                &raw mut found,
                &raw mut count,
            );
            check("cublasLtMatmulAlgoGetHeuristic", answer, &about)?;
            if count < 1 {
                let problem = format!("cublasLtMatmulAlgoGetHeuristic has no algorithm for {about}");
                return Err(Error::Cublas { problem, remedy: "take other sides" });
            }
            check("cublasLtMatmulAlgoGetHeuristic", found.status, &about)?;
            Ok(BlasLayer { cublas: self, sides, width, product, layouts, found })
        }
    }
}

impl BlasLayer<'_> {
    /// Queues it: input is batch × inputs, weights inputs × units, bias (units), out batch × units, all row-major.
    ///
    /// # Errors
    /// A buffer is too short or another GPU's, or the library's.
    pub fn run(
        &self,
        input: &Buffer<f32, Gpu>,
        weights: &Buffer<f32, Gpu>,
        bias: &Buffer<f32, Gpu>,
        out: &mut Buffer<f32, Gpu>,
    ) -> Result<(), Error> {
        let Cublas { functions, workspace, gpu, .. } = self.cublas;
        let [batch, units, inputs] = self.sides;
        let address = |buffer, bytes| self.cublas.address("layer", buffer, bytes);
        let input = pointer(address(input, self.width * batch * inputs)?);
        let weights = pointer(address(weights, self.width * inputs * units)?);
        let bias = pointer(address(bias, 4 * units)?);
        let out = pointer(address(out, 4 * batch * units)?);
        let workspace = pointer(address(workspace, WORKSPACE)?);
        let session = gpu.session();
        session.enter()?;
        let stream = graph::stream(session)?;
        let about = format!("a layer of {batch} × {units} over {inputs}");
        let [w, a, layout] = [0, 1, 2].map(|at: usize| self.layouts[at].handle);
        let (one, zero) = (1.0_f32, 0.0_f32);
        // SAFETY: the attribute is an address; the buffers are as long as the layouts say, and the two factors are read before
        // the call returns.
        unsafe {
            let answer = (functions.cublasLtMatmulDescSetAttribute)(
                self.product.handle,
                BIAS,
                (&raw const bias).cast(),
                size_of_val(&bias),
            );
            check("cublasLtMatmulDescSetAttribute", answer, &about)?;
            let answer = (functions.cublasLtMatmul)(
                self.cublas.layers,
                self.product.handle,
                &raw const one,
                weights,
                w,
                input,
                a,
                &raw const zero,
                out,
                layout,
                out,
                layout,
                &raw const self.found,
                workspace,
                WORKSPACE,
                stream,
            );
            check("cublasLtMatmul", answer, &about)
        }
    }
}

impl Drop for Cublas {
    fn drop(&mut self) {
        self.gpu.session().context.enter_to_give_back();
        // SAFETY: the handles are the library's. What it has queued goes on; the workspace's drop waits for that.
        unsafe {
            if !self.layers.is_null() {
                (self.functions.cublasLtDestroy)(self.layers);
            }
            (self.functions.cublasDestroy_v2)(self.handle);
        }
    }
}

/// An address of the GPU in the library's type.
fn pointer(address: CUdeviceptr) -> *mut c_void {
    std::ptr::without_provenance_mut(address as usize)
}

fn integers<const N: usize>(sides: [usize; N], about: &str) -> Result<[c_int; N], Error> {
    let mut all = [0; N];
    for (place, side) in all.iter_mut().zip(sides) {
        *place = c_int::try_from(side).map_err(|_| Error::Cublas {
            problem: format!("{about} is beyond what it counts to"),
            remedy: "take smaller sides",
        })?;
    }
    Ok(all)
}

/// An error if `code` is one.
fn check(call: &'static str, code: Status, about: &str) -> Result<(), Error> {
    if code == 0 {
        return Ok(());
    }
    let name = match code {
        1 => "CUBLAS_STATUS_NOT_INITIALIZED",
        3 => "CUBLAS_STATUS_ALLOC_FAILED",
        7 => "CUBLAS_STATUS_INVALID_VALUE",
        8 => "CUBLAS_STATUS_ARCH_MISMATCH",
        11 => "CUBLAS_STATUS_MAPPING_ERROR",
        13 => "CUBLAS_STATUS_EXECUTION_FAILED",
        14 => "CUBLAS_STATUS_INTERNAL_ERROR",
        15 => "CUBLAS_STATUS_NOT_SUPPORTED",
        16 => "CUBLAS_STATUS_LICENSE_ERROR",
        _ => "a status without a name here",
    };
    let about = if about.is_empty() { String::new() } else { format!(" ({about})") };
    Err(Error::Cublas {
        problem: format!("{call} failed{about}: {name} ({code})"),
        remedy: "NVIDIA's documentation of cuBLAS explains the status",
    })
}
