//! Launches that are repeated: recorded once, as a CUDA graph, and then launched without the host's part in each.

use std::cell::RefCell;
use std::sync::Arc;

use cust::sys::{CUgraph, CUgraphExec, CUstream};

use super::api::{self, call};
use super::gpu::{Launched, Place, Session, Stream};
use super::{Error, Gpu, Version};

/// The CUDA version whose drivers have `cuGraphInstantiateWithFlags`, the youngest of the functions used here.
const GRAPHS_SINCE: Version = Version::new(11, 4);

/// About so many launches go into one graph, so that what the driver does for a graph is shared by many. An estimate,
/// not measured.
const LAUNCHES: usize = 64;

/// A graph that would be launched fewer times than this is not worth making. An estimate, not measured.
const FEWEST_GRAPHS: usize = 2;

thread_local! {
    static RECORDING: RefCell<Option<Recording>> = const { RefCell::new(None) };
}

/// Work that is repeated is being called on this thread.
struct Recording {
    /// The GPU that repeats it.
    session: Arc<Session>,
    /// Where its launches are captured; `None` while they run as they are queued.
    capture: Option<CUstream>,
    launches: usize,
    last: Option<Launched>,
    /// Memory that the work has dropped, which what was recorded may still use.
    kept: Vec<Place>,
}

/// Fails in work that is repeated.
pub(super) fn refuse(operation: &'static str) -> Result<(), Error> {
    RECORDING.with_borrow(|recording| match recording {
        Some(_) => Err(Error::Repeated { operation }),
        None => Ok(()),
    })
}

/// The stream for a launch.
pub(super) fn stream(session: &Arc<Session>) -> Result<CUstream, Error> {
    RECORDING.with_borrow(|recording| match recording {
        Some(recording) if !Arc::ptr_eq(&recording.session, session) => {
            Err(Error::Repeated { operation: "a launch on another Gpu" })
        }
        Some(Recording { capture: Some(stream), .. }) => Ok(*stream),
        _ => Ok(session.stream.handle()),
    })
}

/// Notes a launch that was queued.
pub(super) fn launched(session: &Session, launch: Launched) {
    let runs = RECORDING.with_borrow_mut(|recording| {
        recording.as_mut().is_none_or(|recording| {
            recording.launches += 1;
            recording.last = Some(launch);
            recording.capture.is_none()
        })
    });
    if runs {
        session.note(launch);
    }
}

/// Keeps memory whose owner was dropped in work that is repeated; gives it back elsewhere.
pub(super) fn keep(place: Place) -> Option<Place> {
    // In a thread that ends, nothing is repeated any more.
    let mut place = Some(place);
    let _ = RECORDING.try_with(|recording| {
        if let Some(recording) = recording.borrow_mut().as_mut() {
            recording.kept.extend(place.take());
        }
    });
    place
}

/// While this lives, launches of this thread are those of work that is repeated.
struct Scope;

impl Scope {
    fn begin(session: &Arc<Session>, capture: Option<CUstream>) -> Self {
        let recording =
            Recording { session: Arc::clone(session), capture, launches: 0, last: None, kept: Vec::new() };
        RECORDING.set(Some(recording));
        Scope
    }

    /// What was recorded.
    fn end(self) -> Option<Recording> {
        RECORDING.take()
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        // The memory in it is freed after this, when nothing is recorded any more.
        drop(RECORDING.take());
    }
}

/// A stream that is being captured: not the GPU's own, which other threads may use meanwhile.
struct Capture {
    /// Taken when the capture is ended.
    scope: Option<Scope>,
    stream: Stream,
    session: Arc<Session>,
}

impl Capture {
    fn begin(session: &Arc<Session>) -> Result<Self, Error> {
        let stream = Stream::new(&session.context, "for recording launches")?;
        // SAFETY: the stream was just made. The mode has the driver refuse what is unsafe on this thread alone.
        unsafe {
            call!(cuStreamBeginCapture_v2(stream.handle(), api::CAPTURE_THREAD_LOCAL), "recording launches")
        }?;
        let scope = Some(Scope::begin(session, Some(stream.handle())));
        Ok(Capture { scope, stream, session: Arc::clone(session) })
    }

    fn end(mut self) -> Result<(Captured, Option<Recording>), Error> {
        let recording = self.scope.take().and_then(Scope::end);
        Ok((self.captured()?, recording))
    }

    /// Ends the capture, whatever was captured.
    fn captured(&self) -> Result<Captured, Error> {
        let entered = self.session.enter();
        let mut captured = Captured { graph: std::ptr::null_mut(), session: Arc::clone(&self.session) };
        // SAFETY: this thread has begun the capture; `captured` is a place for the handle.
        unsafe {
            call!(cuStreamEndCapture(self.stream.handle(), &raw mut captured.graph), "recorded launches")
        }?;
        entered.map(|()| captured)
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        if self.scope.take().is_some() {
            // An error was met already: it is what has ended the work.
            let _ = self.captured();
        }
    }
}

/// A graph as it was captured; null if there is none.
struct Captured {
    graph: CUgraph,
    session: Arc<Session>,
}

impl Drop for Captured {
    fn drop(&mut self) {
        if !self.graph.is_null() {
            self.session.context.enter_to_give_back();
            // SAFETY: the driver gave the handle, in this context.
            unsafe { api::cuGraphDestroy(self.graph) };
        }
    }
}

/// Launches that were recorded, and can be launched together.
pub struct Graph {
    exec: CUgraphExec,
    launches: usize,
    last: Option<Launched>,
    session: Arc<Session>,
    /// Memory that the work has dropped: given back after the graph.
    _kept: Vec<Place>,
}

impl Graph {
    /// How many launches it is.
    #[must_use]
    pub fn launches(&self) -> usize {
        self.launches
    }

    /// Queues all of it, `times` times.
    ///
    /// # Errors
    /// As for a launch; or this is in work that is repeated.
    ///
    /// # Safety
    /// The buffers that were passed to the launches are there still, unless they were dropped while it was recorded.
    pub unsafe fn launch(&self, times: usize) -> Result<(), Error> {
        refuse("launching a graph")?;
        self.session.enter()?;
        for _ in 0..times {
            // SAFETY: the graph was made in the session's context. The caller answers for the kernels.
            unsafe {
                call!(
                    cuGraphLaunch(self.exec, self.session.stream.handle()),
                    "a graph of {} launches{}",
                    self.launches,
                    self.session.after_launches()
                )
            }?;
            if let Some(last) = self.last {
                self.session.note(last);
            }
        }
        Ok(())
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        self.session.context.enter_to_give_back();
        // SAFETY: the graph was made in this context. What runs of it goes on to its end.
        unsafe { api::cuGraphExecDestroy(self.exec) };
    }
}

impl Gpu {
    /// Records what `work` launches, called `times` times one after the other. Nothing of it runs. It needs a driver for
    /// CUDA 11.4 or later.
    ///
    /// # Errors
    /// Those of `work`, and what [`Device::repeat`](cuda_std::Device::repeat) refuses in it; a kernel that was never
    /// launched before, if the driver has to load it; the driver's. Nothing is left of the recording then.
    pub fn record<E: From<Error>>(
        &self,
        times: usize,
        mut work: impl FnMut(&Self) -> Result<(), E>,
    ) -> Result<Graph, E> {
        let session = self.session();
        refuse("recording a graph")?;
        session.enter()?;
        let capture = Capture::begin(session)?;
        for _ in 0..times {
            work(self)?;
        }
        let (captured, recording) = capture.end()?;
        let (launches, last, kept) =
            recording.map_or_else(Default::default, |of| (of.launches, of.last, of.kept));
        let mut exec: CUgraphExec = std::ptr::null_mut();
        // SAFETY: `exec` is a place for the handle; the graph is the one just captured.
        unsafe {
            call!(
                cuGraphInstantiateWithFlags(&raw mut exec, captured.graph, 0),
                "a graph of {launches} launches{}",
                last.map_or_else(String::new, |(kernel, grid)| format!(", the last of {kernel} on {grid:?}"))
            )
        }?;
        Ok(Graph { exec, launches, last, session: Arc::clone(session), _kept: kept })
    }

    /// Calls work that is repeated, and lets its launches run as they are queued; how many there were.
    fn queue<E: From<Error>>(&self, work: &mut impl FnMut(&Self) -> Result<(), E>) -> Result<usize, E> {
        let scope = Scope::begin(self.session(), None);
        work(self)?;
        Ok(scope.end().map_or(0, |recording| recording.launches))
    }

    /// [`Device::repeat`](cuda_std::Device::repeat): the first time as it is, so that the kernels are there and the
    /// launches counted, the rest in graphs where that is worth it.
    pub(super) fn repeat_work<E: From<Error>>(
        &self,
        times: usize,
        work: &mut impl FnMut(&Self) -> Result<(), E>,
    ) -> Result<(), E> {
        refuse("repeating within it")?;
        let Some(mut left) = times.checked_sub(1) else { return Ok(()) };
        let launches = self.queue(work)?;
        let each = (LAUNCHES / launches.max(1)).max(1);
        let graphs = left / each;
        if launches > 0 && graphs >= FEWEST_GRAPHS && self.info().driver >= GRAPHS_SINCE {
            let graph = self.record(each, &mut *work)?;
            if graph.launches != each * launches {
                return Err(Error::Uneven { first: launches, later: graph.launches, times: each }.into());
            }
            // SAFETY: who launched these kernels in `work` answers for them each time that it is repeated.
            unsafe { graph.launch(graphs) }?;
            left -= graphs * each;
        }
        for _ in 0..left {
            self.queue(work)?;
        }
        Ok(())
    }
}
