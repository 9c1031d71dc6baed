//! The signals that end a command: it cleans up first, and its exit code tells which one it was.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};

/// The number of the signal that came last; 0 before there was one.
static CAUGHT: LazyLock<Arc<AtomicUsize>> = LazyLock::new(Arc::default);

/// The reason why signals cannot be caught.
#[derive(Clone)]
pub(crate) struct NoHandler(String);

impl fmt::Display for NoHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot handle signals: {}", self.0)
    }
}

/// Lets SIGHUP, SIGINT and SIGTERM set [`caught`] instead of ending the process, for work that
/// checks it and cleans up. Once is enough; further calls change nothing.
pub(crate) fn catch() -> Result<(), NoHandler> {
    static RESULT: OnceLock<Result<(), NoHandler>> = OnceLock::new();
    RESULT.get_or_init(|| install().map_err(|error| NoHandler(error.to_string()))).clone()
}

/// Whether a signal asked the command to end.
pub(crate) fn caught() -> bool {
    exit_code().is_some()
}

/// Returns the exit code for the signal that was caught: 128 and its number, as shells count.
pub(crate) fn exit_code() -> Option<u8> {
    match CAUGHT.load(Ordering::Relaxed) {
        0 => None,
        signal => Some(128 + signal as u8),
    }
}

#[cfg(unix)]
fn install() -> std::io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

    for signal in [SIGHUP, SIGINT, SIGTERM] {
        // nohup ignores SIGHUP for its command, and a shell SIGINT for jobs in the background.
        if !is_ignored(signal) {
            signal_hook::flag::register_usize(signal, CAUGHT.clone(), signal as usize)?;
        }
    }
    Ok(())
}

/// Whether the process was started with `signal` ignored. Only Linux says so without unsafe code.
#[cfg(unix)]
fn is_ignored(signal: i32) -> bool {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return false };
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << (signal - 1)) != 0)
}

#[cfg(not(unix))]
fn install() -> Result<(), ctrlc::Error> {
    const SIGINT: usize = 2;
    ctrlc::set_handler(|| CAUGHT.store(SIGINT, Ordering::Relaxed))
}
