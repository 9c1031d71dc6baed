//! The process that a temporary file belongs to, as the name of the file tells it: for file systems
//! without locks that tell whether the process lives.

use std::fmt;

/// A process of some host.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Owner {
    /// The host; `None` where it is not known.
    host: Option<String>,
    process: u32,
}

/// The state of the owner of a temporary file, as far as this process can know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// The owner is of this host and runs, or another process has its number by now.
    Alive,
    /// The owner is of this host and has ended.
    Gone,
    /// The owner is of another host or container, or is not known.
    Elsewhere,
}

impl Owner {
    /// Returns this process.
    pub(super) fn current() -> Self {
        Self { host: host(), process: std::process::id() }
    }

    /// Reads the text that [`Display`](fmt::Display) writes, and ignores the rest after a hyphen.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let host = parts.next().filter(|host| !host.is_empty() && *host != UNKNOWN);
        let process = parts.next()?.parse().ok()?;
        Some(Self { host: host.map(str::to_owned), process })
    }

    pub(super) fn state(&self) -> State {
        if self.host.is_none() || self.host != host() {
            return State::Elsewhere;
        }
        match is_running(self.process) {
            true => State::Alive,
            false => State::Gone,
        }
    }

    /// Returns the first process of another host, for tests.
    #[cfg(test)]
    pub(super) fn elsewhere() -> Self {
        Self { host: Some("elsewhere".into()), process: 1 }
    }

    /// Returns a process of this host, for tests.
    #[cfg(test)]
    pub(super) fn here(process: u32) -> Self {
        Self { process, ..Self::current() }
    }
}

const UNKNOWN: &str = "unknown";

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.host.as_deref().unwrap_or(UNKNOWN), self.process)
    }
}

/// Names the kernel since it was started, and its container: both number processes. Containers may
/// share a host name, and each numbers its processes from 1.
#[cfg(target_os = "linux")]
fn host() -> Option<String> {
    let boot = std::fs::read("/proc/sys/kernel/random/boot_id").ok()?;
    let processes = std::fs::read_link("/proc/self/ns/pid").ok()?;
    Some(named(&[&boot, processes.as_os_str().as_encoded_bytes()]))
}

#[cfg(all(unix, not(target_os = "linux")))]
fn host() -> Option<String> {
    Some(named(&[]))
}

/// Processes can't be looked for here.
#[cfg(not(unix))]
fn host() -> Option<String> {
    None
}

/// Returns a short name for the host name and `parts`, without a hyphen.
#[cfg(unix)]
fn named(parts: &[&[u8]]) -> String {
    let system = rustix::system::uname();
    let name = [system.nodename().to_bytes(), &parts.join(&0)].join(&0);
    crate::digest::Digest::of(&name).to_string()[..16].to_owned()
}

/// Whether there is such a process. A process of another user counts, and one that nobody waited
/// for.
#[cfg(unix)]
fn is_running(process: u32) -> bool {
    use rustix::process::{Pid, test_kill_process};
    let pid = i32::try_from(process).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}

#[cfg(not(unix))]
fn is_running(_: u32) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_read_as_they_are_written() {
        let owner = Owner::current();
        assert_eq!(Owner::parse(&owner.to_string()), Some(owner));
        let owner = Owner { host: None, process: 7 };
        assert_eq!(Owner::parse(&format!("{owner}-a1B2")), Some(owner));
        for text in ["", "host", "host-", "host--1", "host-4294967296"] {
            assert_eq!(Owner::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn processes_of_others_are_not_looked_for() {
        assert_eq!(Owner::elsewhere().state(), State::Elsewhere);
        assert_eq!(Owner { host: None, process: 1 }.state(), State::Elsewhere);
    }

    #[cfg(unix)]
    #[test]
    fn processes_of_this_host_are_alive_or_gone() {
        assert_eq!(Owner::current().state(), State::Alive);
        // Not of this user, unless that is root.
        assert_eq!(Owner::here(1).state(), State::Alive);
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        assert_eq!(Owner::here(child.id()).state(), State::Gone);
        for process in [0, u32::MAX] {
            assert_eq!(Owner::here(process).state(), State::Gone);
        }
    }
}
