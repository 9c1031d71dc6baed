//! Scrubs that are started through the server: one at a time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use at1w_container::Progress;
use at1w_registry::{ScrubOptions, Scrubbed};
use tracing::{error, info, warn};

use crate::error::{Answer, Problem};
use crate::hub::Hub;
use crate::token::now;
use crate::upkeep::signer;

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

    /// Starts a scrub of the whole store on a thread of its own.
    pub(crate) fn start(hub: &Arc<Hub>) -> Answer<()> {
        let running = Running { since: now(), work: Arc::default() };
        {
            let mut state = hub.scrubs.0.lock().unwrap_or_else(PoisonError::into_inner);
            if state.running.is_some() {
                return Err(Problem::conflict("A scrub is running"));
            }
            state.running = Some(running.clone());
        }
        let hub = Arc::clone(hub);
        tokio::task::spawn_blocking(move || {
            // Also after a panic another one can be started.
            let end = End(&hub);
            let signer = signer(&hub);
            let options = ScrubOptions::new().sign(signer.as_deref()).progress(&running);
            let outcome = hub.store.scrub(&options);
            let damaged = outcome.as_ref().map_or(0, |found| found.damaged.len());
            hub.metrics.refuted("scrub", damaged as u64);
            match &outcome {
                Ok(found) if found.damaged.is_empty() => info!(bytes = found.bytes, "scrubbed"),
                Ok(found) => warn!(damaged = found.damaged.len(), "scrubbed, and found damage"),
                Err(error) => error!(%error, "the scrub failed"),
            }
            end.with(outcome.map_err(|error| error.to_string()));
        });
        Ok(())
    }
}

/// The end of a scrub, whatever happens.
struct End<'a>(&'a Hub);

impl End<'_> {
    fn with(&self, outcome: Result<Scrubbed, String>) {
        let mut state = self.0.scrubs.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.last = Some((now(), outcome));
    }
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        let mut state = self.0.scrubs.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.running = None;
    }
}
