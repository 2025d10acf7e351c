//! The GPU's clock, and points in its streams.

use std::ffi::c_uint;
use std::sync::Arc;

use cust::sys::{CUevent, CUstream};

use super::api::{self, call};
use super::gpu::{Context, Session};
use super::{Error, Gpu, graph};

/// A point in a stream: whose time is taken, or that others wait for.
pub(super) struct Event {
    handle: CUevent,
    context: Arc<Context>,
}

// SAFETY: as for `Context`: handles are not tied to the thread that made them.
unsafe impl Send for Event {}

impl Event {
    /// An event of the context, which is current.
    fn new(context: &Arc<Context>, flags: c_uint, about: &str) -> Result<Self, Error> {
        let mut handle: CUevent = std::ptr::null_mut();
        // SAFETY: `handle` is a place for the handle.
        unsafe { call!(cuEventCreate(&raw mut handle, flags), "{about}") }?;
        Ok(Event { handle, context: Arc::clone(context) })
    }

    /// One that takes no time, only its place among the work. The context is current.
    pub(super) fn without_time(context: &Arc<Context>) -> Result<Self, Error> {
        Self::new(context, api::EVENT_WITHOUT_TIME, "an event")
    }

    /// Puts it into the session's stream.
    fn record(&self, session: &Session) -> Result<(), Error> {
        session.enter()?;
        self.record_in(session.stream.handle(), || format!(", taking the time{}", session.after_launches()))
    }

    /// Puts it behind what is in this stream, of the same context, which is current.
    pub(super) fn record_in(&self, stream: CUstream, about: impl Fn() -> String) -> Result<(), Error> {
        // SAFETY: the event and the stream are of the same context.
        unsafe { call!(cuEventRecord(self.handle, stream), "an event{}", about()) }
    }

    /// Waits until the work before it is done.
    pub(super) fn wait(&self) -> Result<(), Error> {
        // SAFETY: the event lives as long as this.
        unsafe { call!(cuEventSynchronize(self.handle), "waiting for an upload") }
    }

    /// Has what is queued in `stream` from now on wait for it, on the GPU.
    pub(super) fn hold_up(&self, stream: CUstream) -> Result<(), Error> {
        // SAFETY: the event and the stream are of the same context.
        unsafe { call!(cuStreamWaitEvent(stream, self.handle, 0), "ordering an upload") }
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
        let timer = || Event::new(&session.context, 0, "a timer");
        let (start, end) = (timer()?, timer()?);
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
