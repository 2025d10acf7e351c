//! The tensor cores, and the loads that bring matrices to the lanes that need them.
//!
//! Where a lane's values stand in the matrices is fixed by the PTX ISA (chapters on `mma` and `ldmatrix`). Not fixed
//! are the order of the sums inside a product, their rounding, and what becomes of subnormal numbers: here the products
//! are exact, and [`TensorCores`](super::TensorCores) says how they are added.

use super::count::Instruction;
use super::fault::fault;
use super::lane::{Lane, lane};
use super::shared::SharedArray;
use super::warp::collective;
use crate::word::Word;

/// Bytes of a matrix's row, and 32-bit words: what one lane's address stands for.
const ROW_WORDS: usize = 4;

#[track_caller]
fn whole_warp(what: &str) {
    if lane().warp().launched() != u32::MAX {
        fault(format!("{what} in a warp of fewer than 32 threads"));
    }
}

/// D = A B + C, with `per` values in a register, of which `value` takes one.
#[track_caller]
fn multiply(
    what: &'static str,
    (a, b, c): ([u32; 4], [u32; 2], [f32; 4]),
    per: usize,
    value: impl Fn(u32, usize) -> f64,
) -> [f32; 4] {
    whole_warp(what);
    let tensor_cores = lane().block().launch().tensor_cores;
    let counted = |lane: &Lane, _: u32| {
        lane.block().add_counts(|counters| {
            counters.matrix_products += 1;
            counters.matrix_multiply_adds += (16 * 8 * 8 * per) as u64;
        });
    };
    collective(what, u32::MAX, (a, b, c), counted, |lane, inputs| {
        let fragment = |lane: usize| inputs.get(lane as u32).expect("all lanes take part");
        let (group, quad) = (lane as usize / 4, lane as usize % 4);
        let (_, _, c) = fragment(lane as usize);
        std::array::from_fn(|register| {
            let row = group + register / 2 * 8;
            let column = quad * 2 + register % 2;
            let mut products = [0.0; 16];
            let products = &mut products[..8 * per];
            for (k, product) in products.iter_mut().enumerate() {
                // Four lanes hold a row of A and a column of B, `per` values each, and then the next four registers.
                let (half, quad, within) = (k / (4 * per), k / per % 4, k % per);
                let (a, _, _) = fragment(row % 8 * 4 + quad);
                let (_, b, _) = fragment(column * 4 + quad);
                *product = value(a[row / 8 + half * 2], within) * value(b[half], within);
            }
            tensor_cores.sum(c[register], products, 4 * per)
        })
    })
}

/// D = A B + C with the tensor cores: A (16 × 8) and B (8 × 8) of tf32, C and D (16 × 8) of `f32`. All 32 lanes take
/// part; with g = lane / 4 and q = lane % 4 a lane holds
///
/// - `a`: A\[g]\[q], A\[g + 8]\[q], A\[g]\[q + 4], A\[g + 8]\[q + 4]
/// - `b`: B\[q]\[g], B\[q + 4]\[g]
/// - `c`, and what is returned: C\[g]\[2q], C\[g]\[2q + 1], C\[g + 8]\[2q], C\[g + 8]\[2q + 1]
///
/// Of `a` and `b` the last 13 bits are ignored; [`to_tf32`](crate::float::to_tf32) rounds. The order of the sums, and
/// their rounding inside, are the hardware's own: see [`TensorCores`](crate::TensorCores).
#[track_caller]
pub fn mma_m16n8k8(a: [f32; 4], b: [f32; 2], c: [f32; 4]) -> [f32; 4] {
    let bits = (a.map(f32::to_bits), b.map(f32::to_bits), c);
    multiply("mma_m16n8k8", bits, 1, |bits, _| f64::from(f32::from_bits(bits & !0x1fff)))
}

/// D = A B + C with the tensor cores: A (16 × 16) and B (16 × 8) of bf16, C and D (16 × 8) of `f32`. All 32 lanes take
/// part. Each `u32` holds two neighbours along k, the first in the low half, as
/// [`pack_bf16`](crate::float::pack_bf16) makes them; with g = lane / 4 and q = lane % 4 a lane holds
///
/// - `a`: A\[g]\[2q…], A\[g + 8]\[2q…], A\[g]\[2q + 8…], A\[g + 8]\[2q + 8…]
/// - `b`: B\[2q…]\[g], B\[2q + 8…]\[g]
/// - `c`, and what is returned: as in [`mma_m16n8k8`]
///
/// The order of the sums, and their rounding inside, are the hardware's own: see [`TensorCores`](crate::TensorCores).
#[track_caller]
pub fn mma_m16n8k16_bf16(a: [u32; 4], b: [u32; 2], c: [f32; 4]) -> [f32; 4] {
    multiply("mma_m16n8k16_bf16", (a, b, c), 2, |bits, half| {
        f64::from(f32::from_bits(if half == 0 { bits << 16 } else { bits & 0xffff_0000 }))
    })
}

/// Loads `COUNT` matrices of 8 rows of 16 bytes: lane 8 i + r brings where row r of matrix i begins.
#[track_caller]
fn load_matrices<T: Word, const N: usize, const COUNT: usize, const TRANSPOSED: bool>(
    what: &'static str,
    from: SharedArray<T, N>,
    index: usize,
) -> [T; COUNT] {
    whole_warp(what);
    let mut row = [0_u32; ROW_WORDS];
    // The addresses of the other lanes are not used.
    if usize::from(lane().thread % 32) < 8 * COUNT {
        from.aligned(what, index);
        from.count(Instruction::SharedLoad, index, ROW_WORDS);
        // A closure would not know the caller's place.
        for (word, bits) in row.iter_mut().enumerate() {
            *bits = from.get(index + word).to_bits();
        }
    }
    let words: [u32; COUNT] = collective(
        what,
        u32::MAX,
        row,
        |_, _| (),
        |lane, rows| {
            let (group, quad) = (lane as usize / 4, lane as usize % 4);
            std::array::from_fn(|matrix| {
                let row = |row: usize| rows.get((8 * matrix + row) as u32).expect("all lanes take part");
                if !TRANSPOSED {
                    return row(group)[quad];
                }
                let half = |row: [u32; ROW_WORDS]| row[group / 2] >> (group % 2 * 16) & 0xffff;
                half(row(2 * quad)) | half(row(2 * quad + 1)) << 16
            })
        },
    );
    words.map(T::from_bits)
}

macro_rules! loads {
    ($($name:ident $transposed_name:ident $count:literal $lanes:literal;)*) => { $(
        #[doc = concat!("Loads ", $count, " matrices of 8 rows of four elements (16 bytes, or eight halves).")]
        ///
        #[doc = concat!("`index` is where a row begins: lane 8 i + r, of the first ", $lanes, ", says where row r of matrix i")]
        /// does; the other lanes' are not used. Lane 4 r + c gets element c of row r of each matrix: what
        /// [`mma_m16n8k8`] and [`mma_m16n8k16_bf16`] want of matrices whose rows go along k.
        ///
        /// # Safety
        /// All 32 lanes come here. The rows are in range and written, `index` is a multiple of 4, and no thread writes
        /// there at the same time. (The emulator checks.)
        #[track_caller]
        pub unsafe fn $name<T: Word, const N: usize>(from: SharedArray<T, N>, index: usize) -> [T; $count] {
            load_matrices::<T, N, $count, false>(stringify!($name), from, index)
        }

        #[doc = concat!("[`", stringify!($name), "`] of 8 × 8 halves, transposed.")]
        ///
        /// Lane 4 r + c gets halves \[2c]\[r] and \[2c + 1]\[r] of each matrix, the first in the low half.
        ///
        /// # Safety
        #[doc = concat!("As [`", stringify!($name), "`].")]
        #[track_caller]
        pub unsafe fn $transposed_name<const N: usize>(from: SharedArray<u32, N>, index: usize) -> [u32; $count] {
            load_matrices::<u32, N, $count, true>(stringify!($transposed_name), from, index)
        }
    )* };
}
loads! {
    ldmatrix_x1 ldmatrix_x1_transposed 1 "8";
    ldmatrix_x2 ldmatrix_x2_transposed 2 "16";
    ldmatrix_x4 ldmatrix_x4_transposed 4 "32";
}
