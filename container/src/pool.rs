//! The threads that work is spread over: rayon's, unless this process was forked from one that has
//! them.
//!
//! Threads do not survive a fork, and a child that handed work to those of its parent would wait
//! for ever. Data loaders fork after a model was opened, so a child gets a pool of its own.

use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use arc_swap::ArcSwapOption;
use rayon::ThreadPool;

/// The process that uses rayon's own threads; 0 before there is one.
static OWNER: AtomicU32 = AtomicU32::new(0);

/// The pool of a forked process, and which that is.
static CHILD: ArcSwapOption<(u32, ThreadPool)> = ArcSwapOption::const_empty();

/// Runs `work` where it may spread over threads.
///
/// # Panics
/// When no thread can be started, as rayon does.
pub(crate) fn run<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let process = process::id();
    match OWNER.compare_exchange(0, process, Ordering::Relaxed, Ordering::Relaxed) {
        // Not where the caller is in a pool already.
        Err(owner) if owner != process && rayon::current_thread_index().is_none() => {
            run_in_child(process, work)
        }
        _ => work(),
    }
}

fn run_in_child<T: Send>(process: u32, work: impl FnOnce() -> T + Send) -> T {
    let current = CHILD.load_full().filter(|pool| pool.0 == process);
    let pool = current.unwrap_or_else(|| {
        let pool = rayon::ThreadPoolBuilder::new().build();
        let pool = pool.unwrap_or_else(|e| panic!("no threads after a fork: {e}"));
        let pool = Arc::new((process, pool));
        // That of a parent is never dropped: it would wait for threads that are not there.
        std::mem::forget(CHILD.swap(Some(pool.clone())));
        pool
    });
    pool.1.install(work)
}
