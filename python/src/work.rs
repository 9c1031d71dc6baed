//! Long work: it runs without the interpreter's lock, can be interrupted, and reports progress.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{mem, thread};

use at1w_container::{Error, Progress, printable};
use pyo3::exceptions::PyUserWarning;
use pyo3::prelude::*;

use crate::errors::exception;

/// The time between two checks for signals and reports of progress.
const PERIOD: Duration = Duration::from_millis(50);

/// The size in bytes below which work ends before anybody would interrupt it.
const SHORT: u64 = 16 << 20;

/// The state that the working threads and the waiting one share.
#[derive(Default)]
pub(crate) struct Watch {
    done: AtomicU64,
    total: AtomicU64,
    cancelled: Arc<AtomicBool>,
    warnings: Mutex<Vec<String>>,
}

impl Progress for Watch {
    fn begin(&self, bytes: u64) {
        self.total.store(bytes, Ordering::Relaxed);
    }

    fn advance(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
    }

    fn cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    fn warn(&self, message: &str) {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).push(message.to_owned());
    }
}

impl Watch {
    /// Returns the question whether the work was interrupted, for those who wait on other threads.
    pub(crate) fn question(&self) -> impl Fn() -> bool + Send + Sync + use<> {
        let cancelled = self.cancelled.clone();
        move || cancelled.load(Ordering::Relaxed)
    }

    /// Returns the flag that interrupts the work.
    pub(crate) fn flag(&self) -> Arc<AtomicBool> {
        self.cancelled.clone()
    }

    /// Lets the interpreter handle signals, and passes on the progress since the last call.
    fn attend(&self, py: Python<'_>, callback: Option<&Py<PyAny>>) -> PyResult<()> {
        py.check_signals()?;
        let told = mem::take(&mut *self.warnings.lock().unwrap_or_else(PoisonError::into_inner));
        for message in told {
            let message = std::ffi::CString::new(&*printable(&message))?;
            PyErr::warn(py, &py.get_type::<PyUserWarning>(), &message, 1)?;
        }
        if let Some(callback) = callback {
            let [done, total] = [&self.done, &self.total].map(|n| n.load(Ordering::Relaxed));
            callback.call1(py, (done, total))?;
        }
        Ok(())
    }
}

/// Runs `work` on another thread, while this one handles signals and calls `callback` with the
/// bytes done and the bytes in total. An exception of either stops the work.
pub(crate) fn watched<T: Send>(
    py: Python<'_>,
    callback: Option<&Py<PyAny>>,
    work: impl FnOnce(&Watch) -> Result<T, Error> + Send,
) -> PyResult<T> {
    watched_by(py, callback, work, exception)
}

/// [`watched`] for work with errors of its own, which `raised` converts.
pub(crate) fn watched_by<T: Send, E: Send>(
    py: Python<'_>,
    callback: Option<&Py<PyAny>>,
    work: impl FnOnce(&Watch) -> Result<T, E> + Send,
    raised: impl Fn(E) -> PyErr + Send,
) -> PyResult<T> {
    run(py, callback, &Watch::default(), work, raised)
}

fn run<T: Send, E: Send>(
    py: Python<'_>,
    callback: Option<&Py<PyAny>>,
    watch: &Watch,
    work: impl FnOnce(&Watch) -> Result<T, E> + Send,
    raised: impl Fn(E) -> PyErr + Send,
) -> PyResult<T> {
    py.detach(|| {
        thread::scope(|scope| {
            let (sender, results) = mpsc::channel::<()>();
            let worker = thread::Builder::new().spawn_scoped(scope, move || {
                let result = work(watch);
                // Wakes the other end, which is its only purpose.
                drop(sender);
                result
            });
            let worker = worker.map_err(|error| exception(Error::Threads(error.to_string())))?;
            let mut attended = Ok(());
            while attended.is_ok() && results.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout)
            {
                attended = Python::attach(|py| watch.attend(py, callback));
            }
            if attended.is_err() {
                watch.cancelled.store(true, Ordering::Relaxed);
            }
            let result = worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            if attended.is_err() {
                // An open file can be read again.
                watch.cancelled.store(false, Ordering::Relaxed);
            }
            attended?;
            Python::attach(|py| watch.attend(py, callback))?;
            result.map_err(raised)
        })
    })
}

/// Runs `work` like [`watched`], but on this thread if it reads few bytes that nobody waits for.
/// `flag` is the one that interrupts waiting for a remote file.
pub(crate) fn reading<T: Send>(
    py: Python<'_>,
    bytes: u64,
    flag: Option<&Arc<AtomicBool>>,
    read: impl FnOnce(&dyn Progress) -> Result<T, Error> + Send,
) -> PyResult<T> {
    match flag {
        Some(flag) => {
            let watch = Watch { cancelled: flag.clone(), ..Watch::default() };
            run(py, None, &watch, |watch| read(watch), exception)
        }
        None if bytes < SHORT => py.detach(|| read(&())).map_err(exception),
        None => watched(py, None, |watch| read(watch)),
    }
}
