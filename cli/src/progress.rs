//! Progress on a terminal, and interruption by signals.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use at1w_container::Progress;
use indicatif::{ProgressBar, ProgressStyle};

use crate::failure::{Failure, Result, report_note, report_warning};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Lets Ctrl-C and requests to terminate set [`interrupted`] instead of ending the process, for
/// work that checks it and cleans up. Later calls do nothing.
pub(crate) fn catch_interrupts() -> Result<()> {
    static CAUGHT: AtomicBool = AtomicBool::new(false);
    if CAUGHT.swap(true, Ordering::Relaxed) {
        return Ok(());
    }
    ctrlc::set_handler(|| INTERRUPTED.store(true, Ordering::Relaxed))
        .map_err(|error| Failure::Other(format!("cannot handle signals: {error}")))
}

pub(crate) fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Work that can be interrupted, with a progress bar if standard error is a terminal.
pub(crate) struct Bar {
    bar: ProgressBar,
    quiet: bool,
    start: Instant,
    /// The number of bytes that are done.
    done: AtomicU64,
}

impl Bar {
    pub(crate) fn new(quiet: bool) -> Result<Self> {
        catch_interrupts()?;
        let bar = if quiet { ProgressBar::hidden() } else { ProgressBar::new(0) };
        let template = "{wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left ";
        let style = ProgressStyle::with_template(template);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Ok(Self { bar, quiet, start: Instant::now(), done: AtomicU64::new(0) })
    }

    pub(crate) fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

impl Progress for Bar {
    fn begin(&self, bytes: u64) {
        self.bar.set_length(bytes);
    }

    fn advance(&self, bytes: u64) {
        self.bar.inc(bytes);
        self.done.fetch_add(bytes, Ordering::Relaxed);
    }

    fn cancelled(&self) -> bool {
        interrupted()
    }

    fn warn(&self, message: &str) {
        self.bar.suspend(|| report_warning(message));
    }

    fn note(&self, message: &str) {
        if !self.quiet {
            self.bar.suspend(|| report_note(message));
        }
    }
}
