//! OpenBLAS, opened at run time where there is one: what the products of the cpu engine are compared with.

use std::env;
use std::ffi::{CStr, c_char, c_int};

use libloading::Library;

/// Names the library where it is not found by its usual name.
const VARIABLE: &str = "TILEGRAD_OPENBLAS";
const USUAL: &str = "libopenblas.so.0";
/// What the wheels for Python put before each name.
const PREFIXES: [&str; 2] = ["", "scipy_"];

const ROW_MAJOR: c_int = 101;
const PLAIN: c_int = 111;
const TRANSPOSED: c_int = 112;

type Gemm = unsafe extern "C" fn(
    c_int,
    c_int,
    c_int,
    c_int,
    c_int,
    c_int,
    f32,
    *const f32,
    c_int,
    *const f32,
    c_int,
    f32,
    *mut f32,
    c_int,
);
type Gemv = unsafe extern "C" fn(
    c_int,
    c_int,
    c_int,
    c_int,
    f32,
    *const f32,
    c_int,
    *const f32,
    c_int,
    f32,
    *mut f32,
    c_int,
);

/// An OpenBLAS whose integers have 32 bits.
pub struct OpenBlas {
    gemm: Gemm,
    gemv: Gemv,
    /// Version and the processor that it takes this one for.
    pub about: String,
    _library: Library,
}

impl OpenBlas {
    /// The one that is named, or the system's; otherwise why there is none. It uses as many threads as the engine.
    pub fn open() -> Result<Self, String> {
        let name = env::var(VARIABLE).unwrap_or_else(|_| USUAL.to_owned());
        let remedy = format!(
            "install OpenBLAS (Debian: libopenblas0-pthread; Python: scipy-openblas32), or name it in {VARIABLE}"
        );
        // SAFETY: OpenBLAS starts its threads when it is loaded, and asks nothing of who loads it.
        let library = unsafe { Library::new(&name) }.map_err(|error| format!("{error}; {remedy}"))?;
        let prefix = PREFIXES.into_iter().find(|prefix| {
            // SAFETY: only looked for.
            unsafe { library.get::<Gemm>(format!("{prefix}cblas_sgemm")) }.is_ok()
        });
        let prefix = prefix.ok_or_else(|| format!("{name} has no cblas_sgemm; {remedy}"))?;
        let missing = |error: libloading::Error| format!("{name}: {error}; {remedy}");
        // SAFETY: the types are those of CBLAS with integers of 32 bits and of OpenBLAS' own functions. The pointers are
        // kept with the library. The text lives as long as it.
        unsafe {
            let gemm = *library.get::<Gemm>(format!("{prefix}cblas_sgemm")).map_err(missing)?;
            let gemv = *library.get::<Gemv>(format!("{prefix}cblas_sgemv")).map_err(missing)?;
            let config = library
                .get::<unsafe extern "C" fn() -> *const c_char>(format!("{prefix}openblas_get_config"))
                .map_err(missing)?;
            let about = CStr::from_ptr(config()).to_string_lossy().into_owned();
            let set_threads = library
                .get::<unsafe extern "C" fn(c_int)>(format!("{prefix}openblas_set_num_threads"))
                .map_err(missing)?;
            set_threads(rayon::current_num_threads() as c_int);
            Ok(OpenBlas { gemm, gemv, about, _library: library })
        }
    }

    /// C := A B + beta C for A m × k and B k × n.
    pub fn product(&self, [m, n, k]: [usize; 3], a: &[f32], b: &[f32], beta: f32, c: &mut [f32]) {
        assert!(a.len() == m * k && b.len() == k * n && c.len() == m * n);
        let [rows, columns, inner] = [m, n, k].map(|side| side as c_int);
        // SAFETY: the lengths are those of the sides, as was asserted, and rows follow each other.
        unsafe {
            (self.gemm)(
                ROW_MAJOR,
                PLAIN,
                PLAIN,
                rows,
                columns,
                inner,
                1.0,
                a.as_ptr(),
                inner,
                b.as_ptr(),
                columns,
                beta,
                c.as_mut_ptr(),
                columns,
            );
        }
    }

    /// out := op(X) v + beta out for X m × n, op(X) = Xᵀ if `transposed`.
    pub fn matrix_vector(
        &self,
        [m, n]: [usize; 2],
        x: &[f32],
        transposed: bool,
        v: &[f32],
        beta: f32,
        out: &mut [f32],
    ) {
        let (inner, outer) = if transposed { (m, n) } else { (n, m) };
        assert!(x.len() == m * n && v.len() == inner && out.len() == outer);
        let operation = if transposed { TRANSPOSED } else { PLAIN };
        let [rows, columns] = [m, n].map(|side| side as c_int);
        // SAFETY: as above.
        unsafe {
            (self.gemv)(
                ROW_MAJOR,
                operation,
                rows,
                columns,
                1.0,
                x.as_ptr(),
                columns,
                v.as_ptr(),
                1,
                beta,
                out.as_mut_ptr(),
                1,
            );
        }
    }
}
