//! Memory that was given back, kept for what asks for as much next: asking the driver for memory, and giving it back, may
//! wait for the GPU, and each step of a training asks for the same again.

use std::collections::HashMap;
use std::sync::Arc;

use cust::sys::CUdeviceptr;

use super::api;
use super::event::Event;
use super::gpu::Context;

/// The part of the GPU's memory that may lie on the shelf: one of so many.
const SHARE: usize = 8;

/// Memory that nobody has.
pub(super) struct Shelf {
    by_size: HashMap<usize, Vec<Kept>>,
    bytes: usize,
    most: usize,
    context: Arc<Context>,
}

/// Memory, and the point in the GPU's stream after which nothing uses it any more; that point may be to come.
pub(super) struct Kept {
    pub(super) address: CUdeviceptr,
    /// `None` where nobody will ask: what is used in the same stream comes after it in any case.
    pub(super) idle: Option<Event>,
}

impl Shelf {
    /// For a GPU with so many bytes of memory.
    pub(super) fn new(memory: usize, context: &Arc<Context>) -> Self {
        Shelf { by_size: HashMap::new(), bytes: 0, most: memory / SHARE, context: Arc::clone(context) }
    }

    /// Whether there is room for so many bytes more.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        bytes <= self.most.saturating_sub(self.bytes)
    }

    pub(super) fn put(&mut self, bytes: usize, kept: Kept) {
        self.bytes += bytes;
        self.by_size.entry(bytes).or_default().push(kept);
    }

    /// Memory of exactly so many bytes.
    pub(super) fn take(&mut self, bytes: usize) -> Option<Kept> {
        let kept = self.by_size.get_mut(&bytes)?.pop()?;
        self.bytes -= bytes;
        Some(kept)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Gives all of it back to the driver. Nothing that uses it runs or is queued.
    pub(super) fn clear(&mut self) {
        if self.is_empty() {
            return;
        }
        self.context.enter_to_give_back();
        for kept in self.by_size.drain().flat_map(|(_, kept)| kept) {
            // SAFETY: the address came from cuMemAlloc in this context, and nothing uses it.
            unsafe { api::cuMemFree_v2(kept.address) };
        }
        self.bytes = 0;
    }
}

impl Drop for Shelf {
    fn drop(&mut self) {
        // The stream went before.
        self.clear();
    }
}
