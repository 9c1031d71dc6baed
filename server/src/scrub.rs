//! Scrubs that are started through the server: one at a time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use at1w_container::Progress;
use at1w_registry::Scrubbed;

use crate::token::now;

/// The scrub that runs, and the outcome of the last one.
#[derive(Default)]
pub(crate) struct Scrubs(Mutex<State>);

#[derive(Clone, Default)]
pub(crate) struct State {
    pub(crate) running: Option<Running>,
    /// The end of the last scrub, in seconds since 1970, and what it found.
    pub(crate) last: Option<(u64, Result<Scrubbed, String>)>,
}

/// A scrub that runs.
#[derive(Clone)]
pub(crate) struct Running {
    /// When it began, in seconds since 1970.
    pub(crate) since: u64,
    /// The bytes that are proven, of those that will be.
    work: Arc<[AtomicU64; 2]>,
}

impl Running {
    /// Returns the bytes that are proven, and those that are to be proven in all namespaces that
    /// were looked at.
    pub(crate) fn work(&self) -> [u64; 2] {
        [0, 1].map(|place: usize| self.work[place].load(Ordering::Relaxed))
    }
}

impl Progress for Running {
    fn begin(&self, total: u64) {
        self.work[1].fetch_add(total, Ordering::Relaxed);
    }

    fn advance(&self, bytes: u64) {
        self.work[0].fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Scrubs {
    pub(crate) fn state(&self) -> State {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes that a scrub begins; `None` where one is running.
    pub(crate) fn begin(&self) -> Option<Running> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.running.is_some() {
            return None;
        }
        let running = Running { since: now(), work: Arc::default() };
        state.running = Some(running.clone());
        Some(running)
    }

    /// Returns what notes the end of the scrub that runs, whatever happens.
    pub(crate) fn end(&self) -> End<'_> {
        End(self)
    }
}

/// The end of a scrub: when this is dropped, another one can begin.
pub(crate) struct End<'a>(&'a Scrubs);

impl End<'_> {
    /// Notes the outcome.
    pub(crate) fn with(&self, outcome: Result<Scrubbed, String>) {
        let mut state = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.last = Some((now(), outcome));
    }
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        let mut state = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.running = None;
    }
}
