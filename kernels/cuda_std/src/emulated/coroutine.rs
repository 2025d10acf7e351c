//! The coroutines that run GPU threads: corosensei's, or threads of which one runs at a time.
//!
//! Threads are for Miri and the sanitizers, which do not follow a switch of stacks (`--cfg thread_coroutines` has them
//! elsewhere). They are much slower, and do the same: the turns come in the same order.

#[cfg(any(miri, thread_coroutines))]
pub(crate) use threads::{CoroutineResult, Fiber, Stack, Yielder};

#[cfg(not(any(miri, thread_coroutines)))]
pub(crate) use corosensei::CoroutineResult;
/// A coroutine with its stack.
#[cfg(not(any(miri, thread_coroutines)))]
pub(crate) type Fiber = corosensei::Coroutine<(), (), (), Stack>;
/// A stack, which can be used again.
#[cfg(not(any(miri, thread_coroutines)))]
pub(crate) type Stack = corosensei::stack::DefaultStack;
/// What a coroutine suspends itself with.
#[cfg(not(any(miri, thread_coroutines)))]
pub(crate) type Yielder = corosensei::Yielder<(), ()>;

#[cfg(any(miri, thread_coroutines))]
mod threads {
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
    use std::sync::{Arc, Condvar, Mutex, PoisonError};
    use std::thread;

    pub(crate) use corosensei::CoroutineResult;

    /// A thread of the host's, which runs one body after another.
    pub(crate) struct Stack(Arc<Line>);

    /// A body that runs, or waits for its turn.
    pub(crate) struct Fiber {
        stack: Stack,
        body: Option<Body>,
        ended: bool,
    }

    /// Suspends a body.
    pub(crate) struct Yielder(Arc<Line>);

    /// Between a thread and who resumes it. One of the two waits at any time.
    #[derive(Default)]
    struct Line {
        turn: Place<Turn>,
        back: Place<Back>,
    }

    /// What a thread waits for.
    enum Turn {
        Start(Body),
        Resume,
        /// The body is to unwind.
        Unwind,
        /// The thread is to end.
        End,
    }

    /// How the turn comes back.
    enum Back {
        Suspended,
        Ended(thread::Result<()>),
    }

    /// What a thread is to run.
    struct Body(Box<dyn FnOnce(&Yielder, ())>);

    // SAFETY: the thread and who resumes it never run at the same time, and the locks of a `Place` order what they do:
    // for what is in the body they are one thread.
    unsafe impl Send for Body {}

    /// The payload that unwinds a body.
    struct Unwind;

    /// Room for one value, from one thread to another.
    struct Place<T> {
        value: Mutex<Option<T>>,
        filled: Condvar,
    }

    impl<T> Default for Place<T> {
        fn default() -> Self {
            Place { value: Mutex::new(None), filled: Condvar::new() }
        }
    }

    impl<T> Place<T> {
        fn put(&self, value: T) {
            *self.value.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
            self.filled.notify_one();
        }

        fn take(&self) -> T {
            let mut value = self.value.lock().unwrap_or_else(PoisonError::into_inner);
            loop {
                match value.take() {
                    Some(value) => return value,
                    None => value = self.filled.wait(value).unwrap_or_else(PoisonError::into_inner),
                }
            }
        }
    }

    impl Stack {
        pub fn new(bytes: usize) -> std::io::Result<Self> {
            let line = Arc::new(Line::default());
            let yielder = Yielder(Arc::clone(&line));
            thread::Builder::new().stack_size(bytes).spawn(move || {
                while let Turn::Start(Body(body)) = yielder.0.turn.take() {
                    let result = catch_unwind(AssertUnwindSafe(|| body(&yielder, ())));
                    yielder.0.back.put(Back::Ended(result));
                }
            })?;
            Ok(Stack(line))
        }
    }

    impl Drop for Stack {
        fn drop(&mut self) {
            self.0.turn.put(Turn::End);
        }
    }

    impl Yielder {
        pub fn suspend(&self, (): ()) {
            self.0.back.put(Back::Suspended);
            if !matches!(self.0.turn.take(), Turn::Resume) {
                resume_unwind(Box::new(Unwind));
            }
        }
    }

    impl Fiber {
        pub fn with_stack(stack: Stack, body: impl FnOnce(&Yielder, ()) + 'static) -> Self {
            Fiber { stack, body: Some(Body(Box::new(body))), ended: false }
        }

        /// # Panics
        /// The body has panicked, or has ended before.
        pub fn resume(&mut self, (): ()) -> CoroutineResult<(), ()> {
            assert!(!self.ended, "a body that has ended is not resumed");
            self.stack.0.turn.put(self.body.take().map_or(Turn::Resume, Turn::Start));
            match self.stack.0.back.take() {
                Back::Suspended => CoroutineResult::Yield(()),
                Back::Ended(result) => {
                    self.ended = true;
                    match result {
                        Ok(()) => CoroutineResult::Return(()),
                        Err(payload) => resume_unwind(payload),
                    }
                }
            }
        }

        /// Ends the body, if it has begun and not ended.
        pub fn force_unwind(&mut self) {
            while self.body.is_none() && !self.ended {
                self.stack.0.turn.put(Turn::Unwind);
                self.ended = matches!(self.stack.0.back.take(), Back::Ended(_));
            }
        }

        pub fn into_stack(self) -> Stack {
            self.stack
        }
    }
}
