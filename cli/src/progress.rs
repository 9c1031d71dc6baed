//! Progress on a terminal, and interruption by signals.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use at1w_container::{Observer, Progress};
use indicatif::{ProgressBar, ProgressStyle};

use crate::failure::{Failure, Result, report_warning};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// A progress bar on standard error if that is a terminal. While there is one, Ctrl-C and requests
/// to terminate do not end the process, but the work, which then cleans up.
pub(crate) struct Bar {
    bar: ProgressBar,
    start: Instant,
}

impl Bar {
    pub(crate) fn new(quiet: bool) -> Result<Self> {
        ctrlc::set_handler(|| INTERRUPTED.store(true, Ordering::Relaxed))
            .map_err(|error| Failure::Other(format!("cannot handle signals: {error}")))?;
        let bar = if quiet { ProgressBar::hidden() } else { ProgressBar::new(0) };
        let template = "{wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left ";
        bar.set_style(ProgressStyle::with_template(template).unwrap_or(ProgressStyle::default_bar()));
        Ok(Self { bar, start: Instant::now() })
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Prints what must not be mixed up with the bar.
    pub(crate) fn print(&self, print: impl FnOnce()) {
        self.bar.suspend(print);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

impl Progress for Bar {
    fn advance(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    fn cancelled(&self) -> bool {
        INTERRUPTED.load(Ordering::Relaxed)
    }
}

impl Observer for Bar {
    fn begin(&self, bytes: u64) {
        self.bar.set_length(bytes);
    }

    fn warn(&self, message: &str) {
        self.print(|| report_warning(message));
    }
}
