//! Uploads that nobody waits for: through page-locked memory, from which the GPU copies while the host goes on.
//!
//! ```text
//! host's memory ──host copies──▶ half 0 │ half 1 ──GPU copies──▶ its memory
//!                                the host fills one while the GPU reads the other
//!
//! small   in the GPU's own stream                kernels ─ copy ─ kernels ─ copy ─ …
//! large   in a stream of its own, beside them    kernels of block i ──────────┬─ kernels of block i + 1
//!                                                        copy of block i + 1 ─┘
//! ```
//!
//! The driver must read memory that is not page-locked before it returns, or wait; this can be reused as soon as the
//! event behind its copy has come. A large copy goes to memory that nothing queued uses, so it waits for nothing but
//! the half, and what is launched after it waits for it, on the GPU.

use std::ffi::c_void;
use std::sync::Arc;

use cust::sys::{CUdeviceptr, CUstream};

use super::Error;
use super::api::{self, call};
use super::event::Event;
use super::gpu::{Context, Stream};

/// From so many bytes on, an upload is large. An estimate, not measured: some tens of microseconds over PCIe.
pub(super) const LARGE: usize = 1 << 20;
/// Bytes of each half, for small uploads and for large ones. Estimates, not measured.
const SMALL_HALF: usize = 1 << 20;
const LARGE_HALF: usize = 8 << 20;
/// Where in a half an upload begins: a multiple of this.
const ALIGNMENT: usize = 256;

/// Page-locked memory, and the stream into which copies from it go.
pub(super) struct Staging {
    stream: CUstream,
    halves: [Half; 2],
    current: usize,
    context: Arc<Context>,
    /// Destroyed last: the halves are read in it.
    _own: Option<Stream>,
}

// SAFETY: as for `Context`: its handles may be used on any thread.
unsafe impl Send for Staging {}

struct Half {
    memory: PageLocked,
    filled: usize,
    /// Behind the last copy from it.
    copied: Event,
}

impl Staging {
    /// In the stream of the kernels, which lives longer. The context is current.
    pub(super) fn small(context: &Arc<Context>, stream: CUstream) -> Result<Self, Error> {
        Self::new(context, stream, None, SMALL_HALF)
    }

    /// In a stream of its own. The context is current.
    pub(super) fn large(context: &Arc<Context>) -> Result<Self, Error> {
        let own = Stream::new(context, "for uploads")?;
        Self::new(context, own.handle(), Some(own), LARGE_HALF)
    }

    fn new(
        context: &Arc<Context>,
        stream: CUstream,
        own: Option<Stream>,
        bytes: usize,
    ) -> Result<Self, Error> {
        let half = || {
            Ok::<_, Error>(Half {
                memory: PageLocked::new(context, bytes)?,
                filled: 0,
                copied: Event::without_time(context)?,
            })
        };
        let halves = [half()?, half()?];
        Ok(Staging { stream, halves, current: 0, context: Arc::clone(context), _own: own })
    }

    /// Has the copies that follow wait for `event`, on the GPU.
    pub(super) fn wait_for(&self, event: &Event) -> Result<(), Error> {
        event.hold_up(self.stream)
    }

    /// Has `stream` wait for all copies up to now, on the GPU.
    pub(super) fn hold_up(&self, stream: CUstream) -> Result<(), Error> {
        self.halves[self.current].copied.hold_up(stream)
    }

    /// Queues a copy to `to`. The context is current; `from` is free again when this returns. After an error what was
    /// queued may still run: give this up.
    ///
    /// # Safety
    /// There are as many bytes at `to`, and they stay until the copy is done.
    pub(super) unsafe fn send(
        &mut self,
        from: &[u8],
        to: CUdeviceptr,
        after: impl Fn() -> String,
    ) -> Result<(), Error> {
        let mut sent = 0;
        while sent < from.len() {
            let half = self.half_with_room()?;
            let count = (half.memory.bytes - half.filled).min(from.len() - sent);
            // SAFETY: the half has room for them, and the GPU reads there no more: it has been waited for.
            let place = unsafe { half.memory.start.cast::<u8>().add(half.filled) };
            // SAFETY: as above; both are `count` bytes long and do not overlap.
            unsafe { place.copy_from_nonoverlapping(from.as_ptr().add(sent), count) };
            half.filled = (half.filled + count).next_multiple_of(ALIGNMENT);
            let stream = self.stream;
            // SAFETY: the half stays as it is until its event has come; for `to` the caller answers.
            unsafe {
                call!(
                    cuMemcpyHtoDAsync_v2(to + sent as CUdeviceptr, place.cast(), count, stream),
                    "{count} bytes{}",
                    after()
                )
            }?;
            self.halves[self.current].copied.record_in(stream, &after)?;
            sent += count;
        }
        Ok(())
    }

    /// The half to go on with: when one is full the other, as soon as it has been read.
    fn half_with_room(&mut self) -> Result<&mut Half, Error> {
        if self.halves[self.current].filled >= self.halves[self.current].memory.bytes {
            self.current = 1 - self.current;
            let half = &mut self.halves[self.current];
            if half.filled > 0 {
                half.copied.wait()?;
            }
            half.filled = 0;
        }
        Ok(&mut self.halves[self.current])
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        self.context.enter_to_give_back();
        // SAFETY: the stream is there still. Waiting lets the copies end before the halves go.
        unsafe { api::cuStreamSynchronize(self.stream) };
    }
}

/// Memory of the host that stays where it is, so that the GPU can read it by itself.
struct PageLocked {
    start: *mut c_void,
    bytes: usize,
    context: Arc<Context>,
}

impl PageLocked {
    fn new(context: &Arc<Context>, bytes: usize) -> Result<Self, Error> {
        let mut start = std::ptr::null_mut();
        // SAFETY: `start` is a place for the address.
        unsafe {
            call!(
                cuMemHostAlloc(&raw mut start, bytes, 0),
                "{bytes} bytes of page-locked memory of the host for uploads"
            )
        }?;
        Ok(PageLocked { start, bytes, context: Arc::clone(context) })
    }
}

impl Drop for PageLocked {
    fn drop(&mut self) {
        self.context.enter_to_give_back();
        // SAFETY: the driver gave it, and the copies from it were waited for.
        unsafe { api::cuMemFreeHost(self.start) };
    }
}
