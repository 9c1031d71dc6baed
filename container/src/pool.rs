//! The threads that work is spread over: rayon's, unless this process was forked from one that has
//! them.
//!
//! Threads do not survive a fork, and a child that handed work to those of its parent would wait
//! for ever. Data loaders fork after a model was opened, so a child gets a pool of its own.

use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::{Error, Result};

/// The process that uses rayon's own threads; 0 before there is one.
static OWNER: AtomicU32 = AtomicU32::new(0);

/// Why rayon's own threads could not be started. Rayon tries only once in a process.
static FAILURE: OnceLock<Option<String>> = OnceLock::new();

/// The pool of a forked process, and which that is.
static CHILD: ArcSwapOption<(u32, ThreadPool)> = ArcSwapOption::const_empty();

/// Runs `work` where it may spread over threads.
///
/// # Errors
/// [`Error::Threads`], and those of `work`.
pub(crate) fn run<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    // The caller's own pool.
    if rayon::current_thread_index().is_some() {
        return work();
    }
    let process = process::id();
    match OWNER.compare_exchange(0, process, Ordering::Relaxed, Ordering::Relaxed) {
        Err(owner) if owner != process => child(process)?.1.install(work),
        _ => match FAILURE.get_or_init(start) {
            None => work(),
            Some(failure) => Err(Error::Threads(failure.clone())),
        },
    }
}

/// Starts rayon's own threads, unless the program has started them already.
fn start() -> Option<String> {
    let error = ThreadPoolBuilder::new().build_global().err()?;
    // Only a refusal of the operating system has a source.
    std::error::Error::source(&error).map(ToString::to_string)
}

/// The pool of this forked process.
fn child(process: u32) -> Result<Arc<(u32, ThreadPool)>> {
    if let Some(pool) = CHILD.load_full().filter(|pool| pool.0 == process) {
        return Ok(pool);
    }
    let pool = ThreadPoolBuilder::new().build().map_err(|e| Error::Threads(e.to_string()))?;
    let pool = Arc::new((process, pool));
    // That of a parent is never dropped: it would wait for threads that are not there.
    std::mem::forget(CHILD.swap(Some(pool.clone())));
    Ok(pool)
}
