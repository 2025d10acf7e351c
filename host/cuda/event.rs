//! The GPU's clock.

use std::sync::Arc;

use cust::sys::CUevent;

use super::api::{self, call};
use super::gpu::{Context, Session};
use super::{Error, Gpu, graph};

/// A point in the stream whose time is taken.
struct Event {
    handle: CUevent,
    context: Arc<Context>,
}

impl Event {
    /// An event of the session's context, which is current.
    fn new(session: &Session) -> Result<Self, Error> {
        let mut handle: CUevent = std::ptr::null_mut();
        // SAFETY: `handle` is a place for the handle.
        unsafe { call!(cuEventCreate(&raw mut handle, 0), "a timer") }?;
        Ok(Event { handle, context: Arc::clone(&session.context) })
    }

    /// Puts it into the stream.
    fn record(&self, session: &Session) -> Result<(), Error> {
        session.enter()?;
        // SAFETY: the event and the stream are of the same context.
        unsafe {
            call!(
                cuEventRecord(self.handle, session.stream.handle()),
                "taking the time{}",
                session.after_launches()
            )
        }
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        self.context.enter_to_give_back();
        // SAFETY: the event was made in this context. One that the stream has yet to come to may be destroyed.
        unsafe { api::cuEventDestroy_v2(self.handle) };
    }
}

impl Gpu {
    /// The seconds that this GPU takes for what `work` queues, by its own clock, which counts in about half
    /// microseconds. If the GPU is done before the host has queued all of it, the waiting is in it: what is short is
    /// better [recorded](Gpu::record) before.
    ///
    /// # Errors
    /// Those of `work`; this is in work that is repeated; the driver's.
    pub fn time<E: From<Error>>(&self, work: impl FnOnce(&Self) -> Result<(), E>) -> Result<f64, E> {
        graph::refuse("taking the time")?;
        let session = self.session();
        session.enter()?;
        let (start, end) = (Event::new(session)?, Event::new(session)?);
        start.record(session)?;
        work(self)?;
        end.record(session)?;
        let mut milliseconds = 0.0;
        // SAFETY: both events are in the stream; `milliseconds` is a place for the number.
        unsafe {
            call!(cuEventSynchronize(end.handle), "taking the time{}", session.after_launches())?;
            call!(cuEventElapsedTime(&raw mut milliseconds, start.handle, end.handle), "taking the time")?;
        }
        Ok(1e-3 * f64::from(milliseconds))
    }
}
