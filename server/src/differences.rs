//! Storing what clients have committed as differences, in the background: a commit waits for nobody
//! to look for bases.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use at1w_container::{Digest, Progress};
use tracing::{debug, error, info, warn};

use crate::background;
use crate::error::{Error, Result};
use crate::hub::Hub;

/// The number of threads.
const THREADS: usize = 1;

/// A pause is at least so many times as long as the work before it took: each time all recipes of a
/// namespace are read.
const PAUSE: u32 = 4;

/// Looks for bases as long as the server runs, so many seconds apart.
pub(crate) async fn run(hub: Arc<Hub>, every: u64) {
    let mut rest_until = Instant::now();
    background::each(hub, Duration::from_secs(every), move |hub| {
        if Instant::now() < rest_until {
            return Ok(());
        }
        let began = Instant::now();
        for namespace in hub.base_queue.namespaces() {
            let files = hub.base_queue.take(&namespace);
            match store(hub, &namespace, &files) {
                Ok(()) => hub.base_queue.note_tried(&namespace, files),
                // The server ends.
                Err(_) if hub.ending.load(Ordering::Relaxed) => break,
                Err(error) => {
                    // One that fails keeps no other one waiting.
                    error!(namespace, %error, "files stay stored by themselves for now");
                    let is_lasting = match &error {
                        Error::Store(error) => error.is_integrity() || error.is_not_found(),
                        _ => false,
                    };
                    if !is_lasting {
                        hub.base_queue.put_back(&namespace, &files);
                    }
                }
            }
        }
        rest_until = Instant::now() + began.elapsed() * PAUSE;
        Ok(())
    })
    .await;
}

/// Stores files of a namespace as differences, where that takes far less.
fn store(hub: &Hub, namespace: &str, files: &HashSet<Digest>) -> Result<()> {
    let (store, level) = (&hub.store, hub.config.level);
    let ending = Ending(&hub.ending);
    let done = background::threads(THREADS)?
        .install(|| store.rebase_files(namespace, files, level, &ending))?;
    let tensors = done.bases_lost;
    if tensors > 0 {
        warn!(namespace, tensors, "stored by themselves, for their bases are damaged: repair");
    }
    for (file, error) in &done.damaged {
        error!(namespace, %file, %error, "a damaged file stays as it is: repair");
    }
    match done.files {
        0 => debug!(namespace, "no file takes less as differences"),
        files => {
            info!(namespace, files, before = done.before, after = done.after, "differences")
        }
    }
    Ok(())
}

/// Ends the work when the server is asked to end.
struct Ending<'a>(&'a AtomicBool);

impl Progress for Ending<'_> {
    fn warn(&self, problem: &str) {
        warn!("{problem}");
    }

    fn cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
