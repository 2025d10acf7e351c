//! Shared memory.

use std::cell::UnsafeCell;
use std::marker::PhantomData;
use std::panic::Location;

use super::count::{Instruction, record};
use super::fault::{fault, fault_at};
use super::lane::{Lane, lane};
use super::shadow::{Element, Kind, Problem};
use crate::word::Word;

/// What a block may have of static shared memory, on every GPU.
const LIMIT: usize = 48 << 10;
/// What it may have of static and dynamic shared memory together, on a GPU of compute capability 8.0.
pub(crate) const LIMIT_IN_ALL: usize = 163 << 10;
/// Bytes of a word.
const WORD: usize = size_of::<u32>();

/// One `shared_array!` in the source.
#[doc(hidden)]
#[derive(Debug)]
pub struct SharedSite(&'static Location<'static>);

impl SharedSite {
    /// The place that calls.
    #[expect(clippy::new_without_default, reason = "each has its own place")]
    #[track_caller]
    pub const fn new() -> Self {
        SharedSite(Location::caller())
    }
}

/// The memory of one `shared_array!` in a block.
pub(crate) struct SharedBlock {
    site: &'static SharedSite,
    length: usize,
    /// The run of a block that it was last used by.
    serial: u64,
    data: Box<[UnsafeCell<u32>]>,
    elements: Box<[UnsafeCell<SharedElement>]>,
    /// For each element: until when reads need no look at its shadow; see `Block::quiet`.
    quiet: Box<[UnsafeCell<u64>]>,
}

/// The shadow of one element.
#[derive(bytemuck::Zeroable)]
#[repr(C)]
pub(crate) struct SharedElement {
    /// The run of a block that all this is of.
    serial: u64,
    element: Element,
    /// Products that read it and were not waited for.
    products: u32,
    /// The block's interval in which who wrote it has called a fence for `wgmma` since; 0 if there was none.
    fenced: u32,
}

/// An element that a thread has written and not called a fence for since.
pub(crate) struct Written(*mut SharedElement);

impl Written {
    /// Notes an element for the thread that has written it.
    fn note(element: *mut SharedElement, lane: &Lane) {
        if lane.block().launch().only_hopper {
            lane.written.borrow_mut().push(Written(element));
        }
    }

    /// The thread calls a fence.
    pub fn fence(self, lane: &Lane) {
        // SAFETY: the array lives as long as the block; only this CPU thread reaches it.
        let shadow = unsafe { &mut *self.0 };
        if shadow.element.written_by(lane) {
            shadow.fenced = lane.block().interval.get();
        }
    }
}

/// An element that a product reads.
pub(crate) struct Watched(*mut SharedElement);

impl Watched {
    /// The product was waited for: a read up to now.
    pub fn release(self, lane: &Lane, place: &'static Location<'static>) {
        // SAFETY: the array lives as long as the block; only this CPU thread reaches it.
        let shadow = unsafe { &mut *self.0 };
        shadow.products -= 1;
        // Nobody has written it meanwhile: that would have been a fault.
        let _ = shadow.element.access(lane, Kind::READ, place);
    }
}

/// A part of a tile in shared memory that `wgmma` takes.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<const N: usize> {
    array: SharedArray<f32, N>,
    tile: usize,
    k: usize,
}

/// Values of a line of such a tile, and the elements at whose multiples it begins.
const LINE: usize = 32;
const TILE_ALIGNMENT: usize = 256;

impl<const N: usize> Matrix<N> {
    /// The part from `k` on of the tile that begins at element `tile`.
    pub fn of(array: SharedArray<f32, N>, tile: usize, k: usize, place: &Location<'_>) -> Self {
        let block = lane().block();
        let arrays = block.shared.borrow();
        let mut dynamic = arrays.iter().filter(|array| std::ptr::eq(array.site, &raw const DYNAMIC));
        let offset = dynamic.find_map(|dynamic| {
            let bytes = array.data.addr().checked_sub(dynamic.data.as_ptr().addr())?;
            (bytes < WORD * dynamic.length).then_some(bytes / WORD)
        });
        let problem = match offset {
            None => Some("is not in dynamic shared memory, whose beginning is aligned"),
            Some(offset) if !(offset + tile).is_multiple_of(TILE_ALIGNMENT) => {
                Some("does not begin at a multiple of 256 elements of dynamic shared memory")
            }
            Some(_) if !k.is_multiple_of(8) || k >= LINE => Some("has no such part: k is 0, 8, 16 or 24"),
            Some(_) => None,
        };
        drop(arrays);
        if let Some(problem) = problem {
            fault_at(
                place,
                format!(
                    "wgmma of a tile at element {tile} of the array of {}, k = {k}: it {problem}",
                    array.place
                ),
            );
        }
        Matrix { array, tile, k }
    }

    fn index(self, line: usize, step: usize) -> usize {
        let k = self.k + step;
        self.tile + LINE * line + 4 * ((k / 4) ^ (line % 8)) + k % 4
    }

    /// Begins to read an element, in the name of `lane`; nothing to watch if races are not looked for.
    pub fn watch(
        self,
        lane: &Lane,
        line: usize,
        step: usize,
        place: &'static Location<'static>,
    ) -> Option<Watched> {
        let (array, index) = (self.array, self.index(line, step));
        if index >= N {
            array.out_of_range(Kind::READ, index, place);
        }
        let shadow = array.shadow(index)?;
        array.look(lane, index, Kind::READ, place);
        // SAFETY: in range; only this CPU thread reaches it.
        let element = unsafe { &mut *shadow };
        if element.fenced == 0 || element.fenced == lane.block().interval.get() {
            fault_at(
                place,
                format!(
                    "wgmma of element {index} of the array of {}, which was written without fence_proxy_async and a \
                     barrier after it",
                    array.place
                ),
            );
        }
        element.products += 1;
        Some(Watched(shadow))
    }

    /// The value of an element that is watched.
    pub fn value(self, line: usize, step: usize) -> f32 {
        // SAFETY: in range, as `watch` has checked.
        f32::from_bits(unsafe { self.array.data.add(self.index(line, step)).read() })
    }
}

/// An array of `N` values in the block's shared memory, made by [`shared_array!`](crate::shared_array).
///
/// Its values are undefined until they are written; the emulator refuses to read them.
pub struct SharedArray<T, const N: usize> {
    data: *mut u32,
    /// Null if races are not looked for.
    elements: *mut SharedElement,
    quiet: *mut u64,
    serial: u64,
    /// Where it was made, for faults.
    place: &'static Location<'static>,
    /// Whether the launch counts.
    counted: bool,
    element: PhantomData<T>,
}

impl<T, const N: usize> Clone for SharedArray<T, N> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T, const N: usize> Copy for SharedArray<T, N> {}

impl<T: Word, const N: usize> SharedArray<T, N> {
    /// For `shared_array!`: the array of this place in the block that is running.
    #[doc(hidden)]
    pub fn at(site: &'static SharedSite) -> Self {
        Self::view(site, N, 0, site.0)
    }

    /// For `dynamic_array`: the words from `first` on of the dynamic shared memory.
    pub(crate) fn dynamic(first: usize, place: &'static Location<'static>) -> Self {
        let words = lane().block().launch().shared_bytes / WORD;
        if first.checked_add(N).is_none_or(|end| end > words) {
            fault_at(
                place,
                format!(
                    "an array of {N} words from word {first} on, where the kernel has {words} words of dynamic shared \
                     memory: say `#[kernel(…, shared = …)]`, in bytes"
                ),
            );
        }
        if !first.is_multiple_of(4) {
            fault_at(place, format!("a dynamic array from word {first} on: not a multiple of 4"));
        }
        Self::view(&DYNAMIC, words, first, place)
    }

    /// The words from `first` on of what `site` has in the block that is running, `length` words.
    fn view(
        site: &'static SharedSite,
        length: usize,
        first: usize,
        place: &'static Location<'static>,
    ) -> Self {
        let block = lane().block();
        let mut arrays = block.shared.borrow_mut();
        let found = arrays.iter().position(|array| std::ptr::eq(array.site, site) && array.length == length);
        let array = match found {
            Some(found) => &mut arrays[found],
            None => {
                arrays.push(SharedBlock {
                    site,
                    length,
                    serial: 0,
                    data: (0..length).map(|_| UnsafeCell::new(0)).collect(),
                    elements: Box::default(),
                    quiet: Box::default(),
                });
                arrays.last_mut().expect("one was pushed")
            }
        };
        let (races, counted) = (block.launch().races, block.launch().counts());
        if races && array.elements.len() < length {
            array.elements = (0..length).map(|_| UnsafeCell::new(bytemuck::Zeroable::zeroed())).collect();
            array.quiet = (0..length).map(|_| UnsafeCell::new(0)).collect();
        }
        let elements: *mut SharedElement =
            if races { array.elements.as_ptr().cast_mut().cast() } else { std::ptr::null_mut() };
        let quiet: *mut u64 = array.quiet.as_ptr().cast_mut().cast();
        let data = array.data.as_ptr().cast_mut().cast::<u32>();
        if array.serial != block.serial {
            array.serial = block.serial;
            // All ones is NaN for floats: without the check for unwritten elements, they show.
            // SAFETY: `length` words that only this CPU thread reaches.
            unsafe { data.write_bytes(0xff, length) };
            check_limits(
                arrays.iter().filter(|array| array.serial == block.serial),
                block.launch().shared_bytes,
                place,
            );
        }
        SharedArray {
            data: data.wrapping_add(first),
            // Null stays null.
            elements: if races { elements.wrapping_add(first) } else { elements },
            quiet: quiet.wrapping_add(first),
            serial: block.serial,
            place,
            counted,
            element: PhantomData,
        }
    }

    /// The value of an element.
    ///
    /// # Safety
    /// `index` is in range, it has been written, and no thread writes it at the same time. (The emulator checks.)
    #[inline]
    #[track_caller]
    pub unsafe fn read(self, index: usize) -> T {
        self.count(Instruction::SharedLoad, index, 1);
        self.get(index)
    }

    /// The value of an element, checked but not counted.
    #[inline]
    #[track_caller]
    pub(crate) fn get(self, index: usize) -> T {
        self.access(index, Kind::READ);
        // SAFETY: in range, as `access` has checked.
        T::from_bits(unsafe { self.data.add(index).read() })
    }

    /// Sets an element.
    ///
    /// # Safety
    /// `index` is in range, and no other thread reads or writes it at the same time. (The emulator checks.)
    #[inline]
    #[track_caller]
    pub unsafe fn write(self, index: usize, value: T) {
        self.count(Instruction::SharedStore, index, 1);
        self.set(index, value);
    }

    /// Sets an element, checked but not counted.
    #[inline]
    #[track_caller]
    fn set(self, index: usize, value: T) {
        self.access(index, Kind::WRITE);
        // SAFETY: in range, as `access` has checked.
        unsafe { self.data.add(index).write(value.to_bits()) }
    }

    /// The values of four elements in one instruction.
    ///
    /// # Safety
    /// As [`SharedArray::read`] for each; `index` is a multiple of 4. (The emulator checks.)
    #[inline]
    #[track_caller]
    pub unsafe fn read4(self, index: usize) -> [T; 4] {
        self.aligned("read", index);
        self.count(Instruction::SharedLoad, index, 4);
        [self.get(index), self.get(index + 1), self.get(index + 2), self.get(index + 3)]
    }

    /// Sets four elements in one instruction.
    ///
    /// # Safety
    /// As [`SharedArray::write`] for each; `index` is a multiple of 4. (The emulator checks.)
    #[inline]
    #[track_caller]
    pub unsafe fn write4(self, index: usize, values: [T; 4]) {
        self.aligned("write", index);
        self.count(Instruction::SharedStore, index, 4);
        for (i, value) in values.into_iter().enumerate() {
            self.set(index + i, value);
        }
    }

    /// Counts an access to so many elements.
    #[inline]
    #[track_caller]
    pub(crate) fn count(self, instruction: Instruction, index: usize, elements: usize) {
        if self.counted {
            record(
                instruction,
                self.data.addr(),
                index.wrapping_mul(size_of::<u32>()),
                elements * size_of::<u32>(),
            );
        }
    }

    /// Checks an access and notes it.
    #[inline]
    #[track_caller]
    pub(crate) fn access(self, index: usize, kind: Kind) {
        if index >= N {
            self.out_of_range(kind, index, Location::caller());
        }
        if self.elements.is_null() {
            return;
        }
        let lane = lane();
        let place = Location::caller();
        if kind == Kind::READ {
            lane.count_read(place, self.pointer(index).addr());
        }
        // SAFETY: in range; only this CPU thread reaches it.
        let quiet = unsafe { &mut *self.quiet.add(index) };
        if kind != Kind::READ || !lane.is_quiet(*quiet) {
            *quiet = self.look(lane, index, kind, place);
        }
    }

    /// Looks at an element's shadow and notes an access there. Returns until when reads need not look.
    #[inline(never)]
    fn look(self, lane: &Lane, index: usize, kind: Kind, place: &'static Location<'static>) -> u64 {
        // SAFETY: in range; only this CPU thread reaches it, and `access` does not come here again.
        let shadow = unsafe { &mut *self.elements.add(index) };
        if shadow.serial != self.serial {
            let element = Element::new();
            *shadow = SharedElement { serial: self.serial, element, products: 0, fenced: 0 };
        }
        let result = if kind == Kind::READ && !shadow.element.written() {
            Err(Problem::Unwritten)
        } else if kind.writes() && shadow.products > 0 {
            Err(Problem::Multiplying)
        } else {
            shadow.element.access(lane, kind, place)
        };
        if kind.writes() {
            shadow.fenced = 0;
            Written::note(self.elements.wrapping_add(index), lane);
        }
        match result {
            Ok(quiet) => quiet,
            Err(problem) => self.report(lane, kind, index, place, &problem),
        }
    }

    /// The address of an element.
    pub(crate) fn pointer(self, index: usize) -> *mut u32 {
        self.data.wrapping_add(index)
    }

    /// The address of an element's shadow, if there is one.
    pub(crate) fn shadow(self, index: usize) -> Option<*mut SharedElement> {
        (!self.elements.is_null()).then(|| self.elements.wrapping_add(index))
    }

    #[inline]
    #[track_caller]
    pub(crate) fn aligned(self, what: &str, index: usize) {
        if !index.is_multiple_of(4) {
            fault(format!(
                "shared {what} of four elements at {index} of the array of {}: not a multiple of 4",
                self.place
            ));
        }
    }

    #[cold]
    #[inline(never)]
    fn out_of_range(self, kind: Kind, index: usize, place: &Location<'_>) -> ! {
        let what =
            format!("shared {} of element {index} of the array of {}, which has {N}", name(kind), self.place);
        fault_at(place, what)
    }

    #[cold]
    #[inline(never)]
    fn report(self, lane: &Lane, kind: Kind, index: usize, place: &Location<'_>, problem: &Problem) -> ! {
        let access = format!("shared {} of element {index} of the array of {}", name(kind), self.place);
        let what = match problem {
            Problem::Unwritten => format!("{access}, which nothing has written"),
            Problem::Copying(copy) => {
                format!("{access}, into which {} and has not waited for it", copy.describe(lane))
            }
            Problem::Multiplying => format!("{access}, which wgmma reads that was not waited for"),
            Problem::Race(other) => {
                format!("race: {access}, which {} with no barrier in between", other.describe(lane))
            }
        };
        fault_at(place, what)
    }
}

/// At the beginning of a loop's body: the loop is not to be unrolled. (The compiler unrolls one whose bound it knows:
/// see [`opaque`].)
#[inline(always)]
pub fn keep_loop() {}

/// The same index (below 2³²), of which the compiler knows nothing.
///
/// On the GPU this makes good addresses in unrolled code. `tile.read4(opaque(first) + 32 * i)` is one register and a
/// constant in the instruction. Without it the compiler may see that no bit of `first` overlaps with the constant, write
/// `or` for `+`, and need a register and an instruction for every address.
#[inline(always)]
pub fn opaque(index: usize) -> usize {
    index
}

/// Fails if a block's arrays, of which the one made at `place` is the latest, take more than it may have.
fn check_limits<'a>(arrays: impl Iterator<Item = &'a SharedBlock>, dynamic: usize, place: &Location<'_>) {
    // The dynamic one is there whether it is reached or not.
    let fixed = arrays.filter(|array| !std::ptr::eq(array.site, &raw const DYNAMIC));
    let bytes: usize = fixed.map(|array| (WORD * array.length).next_multiple_of(16)).sum();
    if bytes > LIMIT {
        fault_at(
            place,
            format!(
                "the block's shared arrays take {bytes} bytes with this one; a block may have {LIMIT}: use smaller \
                 tiles"
            ),
        );
    }
    if bytes + dynamic > LIMIT_IN_ALL {
        fault_at(
            place,
            format!(
                "the block's shared arrays take {bytes} bytes with this one and its dynamic shared memory {dynamic}; \
                 a block may have {LIMIT_IN_ALL}: use smaller tiles"
            ),
        );
    }
}

/// The dynamic shared memory of a block.
static DYNAMIC: SharedSite = SharedSite::new();

/// `N` words of the block's dynamic shared memory, from word `first` on, a multiple of 4: the memory that
/// `#[kernel(…, shared = BYTES)]` asks for, of which a block may have more than of arrays by `shared_array!`.
///
/// Arrays may overlap: what one writes the other reads, as bits.
#[track_caller]
pub fn dynamic_array<T: Word, const N: usize>(first: usize) -> SharedArray<T, N> {
    SharedArray::dynamic(first, Location::caller())
}

impl SharedElement {
    /// A copy into an element has arrived.
    ///
    /// # Safety
    /// The element is of a block that is running on this CPU thread.
    pub unsafe fn arrived(element: *mut SharedElement, lane: &Lane) {
        // SAFETY: the caller's promise.
        let shadow = unsafe { &mut *element };
        shadow.element.arrived(lane);
        shadow.fenced = 0;
        Written::note(element, lane);
    }
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::READ => "read",
        Kind::COPY => "copy",
        _ => "write",
    }
}
