//! Who touched an element last, to find accesses that nothing orders.
//!
//! Two accesses of one element race if they are of different threads, at least one writes, not both are atomic,
//! and neither happens before the other. Order comes from the program, from `sync_threads`, from `sync_warp` and
//! from release and acquire.
//!
//! For each element it is enough to know the last writer and two of the readers since: readers of two blocks if
//! there are such, else of two warps, else of two threads. Whoever writes is unordered with one of the two if with
//! any. (With release and acquire a third reader may be missed.)

use std::cell::UnsafeCell;
use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering};

use super::fault::index;
use super::lane::Lane;

/// A place in the source, in 32 bits.
///
/// The places of one program lie together; one that is out of reach is shown as this file.
#[derive(Clone, Copy, PartialEq, Eq, bytemuck::Zeroable)]
pub(crate) struct Place(i32);

static BASE: &Location<'static> = Location::caller();

impl Place {
    #[inline]
    fn new(place: &'static Location<'static>) -> Self {
        let distance = (place as *const Location<'_>)
            .expose_provenance()
            .wrapping_sub((BASE as *const Location<'_>).addr());
        Place(i32::try_from(distance.cast_signed() / align_of::<Location<'_>>().cast_signed()).unwrap_or(0))
    }

    fn get(self) -> &'static Location<'static> {
        let distance = (self.0 as isize).wrapping_mul(align_of::<Location<'_>>().cast_signed());
        let address = (BASE as *const Location<'_>).expose_provenance().wrapping_add_signed(distance);
        // SAFETY: the address of a place that was given to `new`, or of `BASE`; both live for ever.
        unsafe { &*std::ptr::with_exposed_provenance(address) }
    }
}

/// One access of one element.
#[derive(Clone, Copy, bytemuck::Zeroable)]
pub(crate) struct Access {
    /// The block's number in the grid.
    pub block: u32,
    /// How many times the block had synchronised.
    pub interval: u32,
    /// How many times the thread had synchronised with others of its warp.
    pub stamp: u32,
    /// The thread's number in the block plus one; zero if there was no access.
    thread_plus_one: u16,
    kind: Kind,
    place: Place,
}

/// What an access does.
#[derive(Clone, Copy, PartialEq, Eq, bytemuck::Zeroable)]
pub(crate) struct Kind(u16);

impl Kind {
    pub const READ: Kind = Kind(0);
    pub const WRITE: Kind = Kind(1);
    pub const ATOMIC_READ: Kind = Kind(2);
    pub const ATOMIC_WRITE: Kind = Kind(3);
    /// A copy that has not been waited for.
    pub const COPY: Kind = Kind(5);

    pub const fn writes(self) -> bool {
        self.0 & 1 != 0
    }

    const fn atomic(self) -> bool {
        self.0 & 2 != 0
    }
}

impl Access {
    #[inline]
    fn new(lane: &Lane, kind: Kind, place: &'static Location<'static>) -> Self {
        Access {
            block: lane.block().number,
            interval: lane.block().interval.get(),
            stamp: lane.stamp.get(),
            thread_plus_one: lane.thread + 1,
            kind,
            place: Place::new(place),
        }
    }

    const fn none() -> Self {
        Access { block: 0, interval: 0, stamp: 0, thread_plus_one: 0, kind: Kind::READ, place: Place(0) }
    }

    const fn exists(&self) -> bool {
        self.thread_plus_one != 0
    }

    /// The thread's number in its block.
    pub const fn thread(&self) -> u16 {
        self.thread_plus_one - 1
    }

    /// Whether what `lane` does now comes after this access.
    #[inline]
    fn before(&self, lane: &Lane) -> bool {
        let block = lane.block();
        if self.block == block.number {
            if self.thread() == lane.thread || self.interval < block.interval.get() {
                return true;
            }
            if self.thread() / 32 == lane.thread / 32 && lane.has_seen(self.thread() % 32, self.stamp) {
                return true;
            }
        }
        block.launch().releases.cover(self, lane)
    }

    #[inline]
    fn conflicts(&self, kind: Kind, lane: &Lane) -> bool {
        self.exists()
            && (self.kind.writes() || kind.writes())
            && !(self.kind.atomic() && kind.atomic())
            && !self.before(lane)
    }

    /// "thread (1,0,0) wrote at file:line:column", for a fault of `lane`.
    pub fn describe(&self, lane: &Lane) -> String {
        let launch = lane.block().launch();
        let mut text = format!("thread {}", index(launch.thread_index(self.thread())));
        if self.block != lane.block().number {
            text += &format!(" of block {}", index(launch.block_index(self.block)));
        }
        let did = match self.kind {
            Kind::READ => "read",
            Kind::WRITE => "wrote",
            Kind::COPY => "copies with cp_async",
            _ => "accessed atomically",
        };
        format!("{text} {did} at {}", self.place.get())
    }
}

/// What is known of one element. All zero bytes: nothing.
#[derive(bytemuck::Zeroable)]
#[repr(C)]
pub(crate) struct Element {
    /// The last plain write, or the copy under way.
    writer: Access,
    /// Of the other accesses since, two as different as can be.
    others: [Access; 2],
}

/// What is wrong with an access.
pub(crate) enum Problem {
    /// Nothing has written the element.
    Unwritten,
    /// A copy into it is under way.
    Copying(Access),
    /// Nothing orders it with this one.
    Race(Access),
    /// A product that reads it was not waited for.
    Multiplying,
}

impl Element {
    pub const fn new() -> Self {
        Element { writer: Access::none(), others: [Access::none(); 2] }
    }

    /// Whether a kernel has written the element.
    #[inline]
    pub const fn written(&self) -> bool {
        self.writer.exists()
    }

    /// Notes an access, unless something is wrong with it. Returns which reads need no look, as [`Lane::is_quiet`]
    /// takes it.
    #[inline]
    pub fn access(
        &mut self,
        lane: &Lane,
        kind: Kind,
        place: &'static Location<'static>,
    ) -> Result<u64, Problem> {
        if self.writer.kind == Kind::COPY {
            return Err(Problem::Copying(self.writer));
        }
        if self.writer.conflicts(kind, lane) {
            return Err(Problem::Race(self.writer));
        }
        for other in &self.others {
            if other.conflicts(kind, lane) {
                return Err(Problem::Race(*other));
            }
        }
        if kind.writes() && !kind.atomic() {
            self.writer = Access::new(lane, kind, place);
            self.others = [Access::none(); 2];
        } else if let Some(slot) = self.slot(lane, kind) {
            self.others[slot] = Access::new(lane, kind, place);
        } else {
            return Ok(self.quiet(lane));
        }
        Ok(0)
    }

    /// Once a read has nothing to add to what is known, nor have those of its warp, until something is ordered; nor
    /// those of any warp, if readers of two warps are known.
    fn quiet(&self, lane: &Lane) -> u64 {
        let [first, second] = &self.others;
        let block = lane.block();
        let interval = block.interval.get();
        let current =
            |access: &Access| access.exists() && access.block == block.number && access.interval == interval;
        let settled = self.writer.block == block.number && self.writer.interval < interval;
        if !settled || !current(first) || !current(second) {
            0
        } else if first.thread() / 32 != second.thread() / 32 {
            block.quiet(None)
        } else {
            block.quiet(Some(lane.thread / 32))
        }
    }

    /// Whether this thread wrote it last.
    pub fn written_by(&self, lane: &Lane) -> bool {
        self.writer.exists() && self.writer.thread() == lane.thread
    }

    /// A copy has arrived: it counts as a write of the thread that waited for it.
    pub fn arrived(&mut self, lane: &Lane) {
        self.writer = Access {
            kind: Kind::WRITE,
            interval: lane.block().interval.get(),
            stamp: lane.stamp.get(),
            ..self.writer
        };
    }

    /// Which of the two others an access of `lane` takes the place of, so that they differ as much as they can.
    #[inline]
    fn slot(&self, lane: &Lane, kind: Kind) -> Option<usize> {
        let [first, second] = &self.others;
        let (block, interval) = (lane.block().number, lane.block().interval.get());
        let (warp, stamp) = (lane.thread / 32, lane.stamp.get());
        let current =
            |access: &Access| access.exists() && access.block == block && access.interval == interval;
        if !first.exists() || (kind.writes() && !first.kind.writes()) {
            return Some(0);
        }
        if first.block != block {
            let third = second.exists() && second.block != block && second.block != first.block;
            return (!third).then_some(1);
        }
        if !current(first) || (second.exists() && second.block != block) {
            return Some(0);
        }
        if first.thread() == lane.thread {
            return (first.stamp != stamp).then_some(0);
        }
        if !current(second) {
            return Some(1);
        }
        if second.thread() == lane.thread {
            return (second.stamp != stamp).then_some(1);
        }
        if first.thread() / 32 != second.thread() / 32 {
            return None;
        }
        if first.thread() / 32 != warp {
            return Some(1);
        }
        if lane.has_seen(first.thread() % 32, first.stamp) {
            return Some(0);
        }
        lane.has_seen(second.thread() % 32, second.stamp).then_some(1)
    }
}

/// The shadows of a buffer in global memory, which several blocks may touch at once.
#[derive(bytemuck::Zeroable)]
#[repr(C)]
pub(crate) struct GlobalElement {
    /// Twice the launch that the element is of, plus one while a thread is at it.
    launch: AtomicU64,
    element: UnsafeCell<Element>,
}

// SAFETY: the element is only reached by who holds the lock in `launch`.
unsafe impl Sync for GlobalElement {}

impl GlobalElement {
    /// Runs `operation` with nobody else at the element.
    #[inline]
    pub fn with<R>(&self, launch: u64, operation: impl FnOnce(&mut Element) -> R) -> R {
        let mut before = self.launch.load(Ordering::Relaxed) & !1;
        while let Err(now) =
            self.launch.compare_exchange_weak(before, before | 1, Ordering::Acquire, Ordering::Relaxed)
        {
            before = now & !1;
            std::hint::spin_loop();
        }
        // SAFETY: the lock is held, and `operation` cannot come here again.
        let element = unsafe { &mut *self.element.get() };
        if before >> 1 != launch {
            *element = Element::new();
        }
        let result = operation(element);
        self.launch.store(launch << 1, Ordering::Release);
        result
    }
}
