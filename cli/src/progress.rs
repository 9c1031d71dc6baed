//! Progress on a terminal.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use at1w_container::Progress;
use indicatif::{ProgressBar, ProgressStyle};

use crate::failure::{report_note, report_warning};
use crate::signals::{self, NoHandler};

/// Work that can be interrupted, with a progress bar if standard error is a terminal.
pub(crate) struct Bar {
    bar: ProgressBar,
    quiet: bool,
    start: Instant,
    /// The number of bytes that are done.
    done: AtomicU64,
}

impl Bar {
    pub(crate) fn new(quiet: bool) -> Result<Self, NoHandler> {
        signals::catch()?;
        let bar = if quiet { ProgressBar::hidden() } else { ProgressBar::new(0) };
        let template = "{wide_bar} {decimal_bytes} of {decimal_total_bytes}, \
                        {decimal_bytes_per_sec}, {eta} left ";
        let style = ProgressStyle::with_template(template);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Ok(Self { bar, quiet, start: Instant::now(), done: AtomicU64::new(0) })
    }

    /// Has `print` write while the bar is out of the way.
    pub(crate) fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bar.suspend(print)
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
        // After the work before, where there are several files.
        self.bar.set_length(self.done() + bytes);
    }

    fn advance(&self, bytes: u64) {
        self.bar.inc(bytes);
        self.done.fetch_add(bytes, Ordering::Relaxed);
    }

    fn cancelled(&self) -> bool {
        signals::caught()
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
