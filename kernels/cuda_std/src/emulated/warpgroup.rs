//! The 128 threads, four warps one after the other, that multiply matrices together on GPUs of compute capability 9.0a.
//!
//! `wgmma` is asynchronous: it takes its operands, and gives its results, at any time up to the end of the wait for it. Here
//! each product is computed at once, and what must not be touched until then is watched: of shared memory each element,
//! of the results that nobody takes them.
//!
//! Checked besides: that the writes to the matrix in shared memory were followed by [`fence_proxy_async`] of who wrote and a barrier,
//! that a fence of the results is before their first product of a group, and that all warps of a warpgroup multiply the same,
//! one after another.
//! Not checked: that registers with values of A stay unchanged; the compiler sees to that, as [`wgmma_wait`] takes them.

use std::panic::Location;

use super::block::Block;
use super::count::SharedRequests;
use super::fault::{Fault, fault, fault_at};
use super::lane::{Lane, lane};
use super::shared::{Matrix, SharedArray, Watched};
use super::warp::collective;

/// Rows of B and of C that go along with a value of A.
const COLUMNS: usize = 128;
/// Values along k that are multiplied at once.
const DEPTH: usize = 8;
/// Warps of a warpgroup, and the rows of A and of C that each has.
const WARPS: usize = 4;
const ROWS: usize = 16;

/// What a product reads of shared memory: B, as A is in registers.
///
/// It is one request of the warpgroup. The PTX ISA (asynchronous warpgroup instructions) has one B for the four warps, each of
/// which has 16 rows of A. That it is read once for all four is derived, not documented: at the data sheet's peak, 1024
/// multiply-adds a cycle, the product takes 64 cycles, in which shared memory gives 8 KiB; B has 4 KiB, and four times that
/// would halve the peak.
///
/// A wavefront is 128 bytes. Of eight lines each has two of its eight chunks of 16 bytes here. The chunk c stands at c ^ (line mod 8),
/// so that the eight of one c are in all 32 banks: no conflicts.
const READ: SharedRequests = SharedRequests { requests: 1, wavefronts: WAVEFRONTS, ideal: WAVEFRONTS };
const WAVEFRONTS: u64 = (COLUMNS * DEPTH * size_of::<f32>() / 128) as u64;

/// The elements of a matrix of 64 × 128 that a thread of a warpgroup has in its registers: with g = lane / 4, q = lane % 4
/// and w the warp's number in the warpgroup, the four at j are
/// \[16 w + g]\[8 j + 2 q], \[16 w + g]\[8 j + 2 q + 1], \[16 w + g + 8]\[8 j + 2 q], \[16 w + g + 8]\[8 j + 2 q + 1].
pub struct Accumulators {
    values: [[f32; 4]; COLUMNS / 8],
    /// The group that a fence of them was for, if there was one.
    fenced: Option<u32>,
    /// The group of the last product that they are of, if it was not waited for.
    group: Option<u32>,
}

impl Accumulators {
    /// Zeros.
    pub fn new() -> Self {
        Accumulators { values: [[0.0; 4]; COLUMNS / 8], fenced: None, group: None }
    }

    /// The elements, after all products that they are of have been waited for. (The emulator checks.)
    #[track_caller]
    pub fn values(&self) -> [[f32; 4]; COLUMNS / 8] {
        if self.group.is_some() {
            fault("the results of wgmma before a wgmma_commit and a wgmma_wait for them".to_owned());
        }
        self.values
    }
}

impl Default for Accumulators {
    fn default() -> Self {
        Self::new()
    }
}

/// The products of a warp.
#[derive(Default)]
pub(crate) struct Products {
    /// Elements that those read which nobody has waited for, once for each that reads them; the first so many are of closed
    /// groups.
    watched: Vec<Watched>,
    closed: usize,
    /// Groups that were closed.
    committed: u32,
}

/// What the warps of a warpgroup did, one after another.
#[derive(Default)]
pub(crate) struct Log {
    steps: Vec<(&'static str, &'static Location<'static>)>,
    /// How many of these each warp has done.
    done: [usize; WARPS],
}

/// Fails in a kernel that is not for compute capability 9.0a alone.
fn only_hopper(lane: &Lane, what: &str, place: &Location<'_>) {
    if !lane.block().launch().only_hopper {
        fault_at(place, format!("{what} in a kernel for all GPUs: say `#[kernel(…, arch = \"sm_90a\")]`"));
    }
}

/// Notes what a warp does with its warpgroup: the first to come says what, the others do the same.
fn together(lane: &Lane, what: &'static str, place: &'static Location<'static>) {
    let block = lane.block();
    let warp = usize::from(lane.thread / 32);
    let (group, member) = (warp / WARPS, warp % WARPS);
    if block.lanes.len() < (group + 1) * WARPS * 32 {
        fault_at(place, format!("{what} in a warpgroup of fewer than 128 threads"));
    }
    only_hopper(lane, what, place);
    let mut logs = block.warpgroups.borrow_mut();
    if logs.len() <= group {
        logs.resize_with(group + 1, Log::default);
    }
    let log = &mut logs[group];
    let step = log.done[member];
    log.done[member] += 1;
    match log.steps.get(step) {
        None => log.steps.push((what, place)),
        Some(&(other, elsewhere)) if (other, elsewhere) != (what, place) => {
            let text =
                format!("{what} of one warp, but another of its warpgroup came to {other} at {elsewhere}");
            drop(logs);
            fault_at(place, text);
        }
        Some(_) => {}
    }
}

/// What is wrong with the warpgroups of a block that has ended.
pub(crate) fn unfinished(block: &Block) -> Option<Fault> {
    let of_warp = |warp: usize, place: Option<String>, what: String| Fault::Kernel {
        kernel: block.launch().kernel,
        block: block.index,
        thread: Some(block.lanes[32 * warp].index),
        place,
        what,
    };
    if let Some(warp) = block.warps.iter().position(|warp| !warp.products.borrow().watched.is_empty()) {
        return Some(of_warp(warp, None, "ended before wgmma was waited for".to_owned()));
    }
    let logs = block.warpgroups.borrow();
    logs.iter().enumerate().find_map(|(group, log)| {
        let member = log.done.iter().position(|&done| done < log.steps.len())?;
        let (what, place) = log.steps[log.done[member]];
        let text = format!("a warp ended where another of its warpgroup came to {what}");
        Some(of_warp(WARPS * group + member, Some(place.to_string()), text))
    })
}

/// A meeting of the warp about its products.
#[track_caller]
fn meet(what: &'static str, change: impl FnOnce(&Lane, &mut Products)) {
    let place = Location::caller();
    let change = |lane: &Lane, _: u32| {
        together(lane, what, place);
        change(lane, &mut lane.warp().products.borrow_mut());
    };
    collective(what, u32::MAX, (), change, |_, _| ());
}

/// Before the first product of a group into these results: whatever the threads have done with their registers and with `a`,
/// the values of A that the products take, is done by then. All threads of the warpgroup come here.
#[track_caller]
pub fn wgmma_fence(accumulators: &mut Accumulators, a: &[[f32; 4]]) {
    // On a GPU the registers are named.
    let _ = a;
    meet("wgmma_fence", |_, _| ());
    accumulators.fenced = Some(committed());
}

/// Groups of this warp that were closed.
fn committed() -> u32 {
    lane().warp().products.borrow().committed
}

/// D = A B, or D + A B if `accumulate`, with the tensor cores: A (64 × 8) and B (8 × 128) of tf32, D (64 × 128) of `f32`. All
/// threads of the warpgroup take part. `a` is as in [`mma_m16n8k8`](crate::warp::mma_m16n8k8), of the warp's 16 rows; D as
/// [`Accumulators`] tells.
///
/// B is 8 of k of a tile of 128 lines (columns of B) × 32 of k, from `k` on, a multiple of 8. The tile begins at element `tile` of `b`;
/// a line is 128 bytes, and its 8 chunks of four values stand in another order: (line, k) is at element
/// `32 * line + 4 * (k / 4 ^ line % 8) + k % 4` of the tile.
///
/// The product is under way until [`wgmma_wait`] returns. As of the other products the last 13 bits of operands are ignored,
/// and the order of the sums and their rounding are the hardware's own: see [`TensorCores`](crate::TensorCores).
///
/// # Safety
/// The tile is in range, written, and begins at a multiple of 256 elements of dynamic shared memory. Who has written it has
/// called [`fence_proxy_async`] since, before a barrier. Until the product has been waited for nobody writes there. A
/// [`wgmma_fence`] of the results is before their first product of a group. (The emulator checks.)
#[track_caller]
pub unsafe fn wgmma_m64n128k8<const N: usize>(
    accumulators: &mut Accumulators,
    accumulate: bool,
    a: [f32; 4],
    b: SharedArray<f32, N>,
    tile: usize,
    k: usize,
) {
    const WHAT: &str = "wgmma_m64n128k8";
    let place = Location::caller();
    let matrix = Matrix::of(b, tile, k, place);
    let group = committed();
    if accumulators.fenced != Some(group) {
        fault_at(place, format!("{WHAT} without a wgmma_fence of its results since the last group"));
    }
    accumulators.group = Some(group);
    let begin = |lane: &Lane, _: u32| {
        together(lane, WHAT, place);
        lane.block().add_counts(|counters| {
            counters.matrix_products += 1;
            counters.matrix_multiply_adds += (ROWS * COLUMNS * DEPTH) as u64;
            if usize::from(lane.thread / 32).is_multiple_of(WARPS) {
                counters.shared_operands += READ;
            }
        });
        let mut products = lane.warp().products.borrow_mut();
        for column in 0..COLUMNS {
            for step in 0..DEPTH {
                products.watched.extend(matrix.watch(lane, column, step, place));
            }
        }
    };
    // The two rows of A behind a lane's results.
    let rows: [[f32; DEPTH]; 2] = collective(WHAT, u32::MAX, a, begin, |lane, inputs| {
        std::array::from_fn(|half| {
            std::array::from_fn(|step| {
                let holder = inputs.get(lane / 4 * 4 + step as u32 % 4).expect("all lanes take part");
                holder[half + step / 4 * 2]
            })
        })
    });
    let seen = |value: f32| f64::from(f32::from_bits(value.to_bits() & !0x1fff));
    let rows = rows.map(|row| row.map(seen));
    let quad = usize::from(lane().thread % 4);
    let tensor_cores = lane().block().launch().tensor_cores;
    for (j, four) in accumulators.values.iter_mut().enumerate() {
        for next in 0..2 {
            let column: [f64; DEPTH] =
                std::array::from_fn(|step| seen(matrix.value(8 * j + 2 * quad + next, step)));
            for half in 0..2 {
                let d = &mut four[2 * half + next];
                let first = if accumulate { *d } else { 0.0 };
                // The products have 22 bits, so nothing is rounded before the addition.
                let products: [f64; DEPTH] = std::array::from_fn(|step| rows[half][step] * column[step]);
                *d = tensor_cores.sum(first, &products, DEPTH);
            }
        }
    }
}

/// Closes a group: the products of this warpgroup since the last.
#[track_caller]
pub fn wgmma_commit() {
    meet("wgmma_commit", |_, products| {
        products.closed = products.watched.len();
        products.committed += 1;
    });
}

/// Waits for all closed groups of this warpgroup: these results may be taken then. `a` are the values of A that their products
/// have taken from registers: they stay there until now.
#[track_caller]
pub fn wgmma_wait(accumulators: &mut Accumulators, a: &[[f32; 4]]) {
    // On a GPU the registers are named.
    let _ = a;
    let place = Location::caller();
    meet("wgmma_wait", |lane, products| {
        for element in products.watched.drain(..products.closed) {
            element.release(lane, place);
        }
        products.closed = 0;
    });
    accumulators.group = accumulators.group.filter(|group| *group >= committed());
}

/// What this thread has written to shared memory is seen, after a barrier, by what does not read as threads do: `wgmma`.
#[track_caller]
pub fn fence_proxy_async() {
    let lane = lane();
    only_hopper(lane, "fence_proxy_async", Location::caller());
    for element in lane.written.take() {
        element.fence(lane);
    }
}
