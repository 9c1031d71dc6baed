//! Work that nobody waits for, on threads that let all others go first.

use std::io;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use rayon::{ThreadPool, ThreadPoolBuilder};
use tracing::error;

use crate::error::{Error, Result};
use crate::hub::Hub;

/// The longest time between two runs.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// The least priority that a thread can have.
#[cfg(target_os = "linux")]
const LEAST: i32 = 19;

/// Does something again and again; a failure is logged, and it is tried again.
pub(crate) async fn each(
    hub: Arc<Hub>,
    every: Duration,
    work: impl FnMut(&Hub) -> Result<()> + Send + 'static,
) {
    let work = Arc::new(std::sync::Mutex::new(work));
    // No clock goes beyond that; nor does a server.
    let every = every.min(LONGEST);
    // Not at once: a server that something here ends can be reached, and told otherwise.
    let mut tick = tokio::time::interval_at(tokio::time::Instant::now() + every, every);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let (hub, work) = (Arc::clone(&hub), Arc::clone(&work));
        let done = tokio::task::spawn_blocking(move || {
            let mut work = work.lock().unwrap_or_else(PoisonError::into_inner);
            (*work)(&hub)
        });
        match done.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => error!(%error, "the upkeep of the store failed"),
            Err(error) => error!(%error, "the upkeep of the store ended"),
        }
    }
}

/// Starts threads for work that nobody waits for. Those of all others are the clients'.
pub(crate) fn threads(number: usize) -> Result<ThreadPool> {
    let threads = ThreadPoolBuilder::new().num_threads(number).start_handler(|_| give_way());
    threads.build().map_err(|error| Error::Io {
        what: "starting threads".into(),
        cause: io::Error::other(error),
    })
}

/// Has all other threads go before this one, where a thread has a priority of its own. Without it
/// the work holds clients up, and harms nothing.
fn give_way() {
    #[cfg(target_os = "linux")]
    let _ = rustix::process::setpriority_process(None, LEAST);
}
