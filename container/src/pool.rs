//! The threads that work is spread over: rayon's, unless this process was forked from one that has
//! them.
//!
//! Threads do not survive a fork, and a child that handed work to the threads of its parent would
//! wait for ever. Data loaders fork after a model was opened, so a child gets a pool of its own.

use std::mem;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::{ArcSwapOption, Guard};
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::{Error, Result};

/// The process that uses rayon's own threads; 0 before there is one.
static OWNER: AtomicU32 = AtomicU32::new(0);

/// The reason why rayon's own threads could not be started. Rayon tries only once in a process.
static FAILURE: OnceLock<Option<String>> = OnceLock::new();

/// The pool of a forked process.
struct Child {
    process: u32,
    /// Made by the first thread that needs it; others wait. Both are of this process, so that a
    /// fork cannot leave anybody waiting for a thread that is not there.
    pool: OnceLock<Result<ThreadPool, String>>,
}

/// The pool of this process, or of one that it was forked from.
static CHILD: ArcSwapOption<Child> = ArcSwapOption::const_empty();

/// Runs `work` where it may spread over threads.
///
/// # Errors
/// [`Error::Threads`], and those of `work`.
pub(crate) fn run<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    // The thread is of a pool of the caller's choice.
    if rayon::current_thread_index().is_some() {
        return work();
    }
    let process = process::id();
    match OWNER.compare_exchange(0, process, Ordering::Relaxed, Ordering::Relaxed) {
        Err(owner) if owner != process => {
            let child = child(process);
            let start = || ThreadPoolBuilder::new().build().map_err(|error| error.to_string());
            match child.pool.get_or_init(start) {
                Ok(pool) => pool.install(work),
                Err(failure) => Err(Error::Threads(failure.clone())),
            }
        }
        _ => match FAILURE.get_or_init(start_global) {
            None => work(),
            Some(failure) => Err(Error::Threads(failure.clone())),
        },
    }
}

/// Starts rayon's own threads, unless the program has started them already.
fn start_global() -> Option<String> {
    let error = ThreadPoolBuilder::new().build_global().err()?;
    // Only a refusal of the operating system has a source.
    std::error::Error::source(&error).map(ToString::to_string)
}

/// Returns the one place for the pool of this forked process.
fn child(process: u32) -> Arc<Child> {
    let mut current = CHILD.load_full();
    loop {
        if let Some(child) = current.as_ref().filter(|child| child.process == process) {
            return child.clone();
        }
        let new = Arc::new(Child { process, pool: OnceLock::new() });
        let before = Guard::into_inner(CHILD.compare_and_swap(&current, Some(new)));
        // The pool of a parent is never dropped: dropping waits for threads that are not there.
        mem::forget(mem::replace(&mut current, CHILD.load_full()));
        drop(before);
    }
}
