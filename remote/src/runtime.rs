//! The threads that requests are sent from: one pool for a process, and another one for a process
//! that was forked from it, since threads do not survive a fork.

use std::io;
use std::mem;
use std::process;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::{Builder, Runtime};

/// The number of threads: they wait for answers, and copy bytes.
const THREADS: usize = 2;

static CURRENT: Mutex<Option<(u32, Arc<Runtime>)>> = Mutex::new(None);

/// Runs a future to its end on this thread.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> io::Result<T> {
    Ok(current()?.block_on(future))
}

/// Returns the pool of this process.
pub(crate) fn current() -> io::Result<Arc<Runtime>> {
    let mut current = CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
    let process = process::id();
    if let Some((owner, runtime)) = &*current
        && *owner == process
    {
        return Ok(runtime.clone());
    }
    let runtime = Builder::new_multi_thread().worker_threads(THREADS).enable_all().build()?;
    let runtime = Arc::new(runtime);
    // The pool of a parent is never dropped: dropping waits for threads that are not there.
    mem::forget(current.replace((process, runtime.clone())));
    Ok(runtime)
}

/// Chooses how connections are encrypted, unless the program has chosen: reqwest was built without
/// a choice of its own.
pub(crate) fn choose_encryption() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}
